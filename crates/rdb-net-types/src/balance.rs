//! What a balancer is asked, and what it is told afterwards.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};

use crate::{Capability, Locality, NodeId};

/// A weight that no balancer can work with. The caller's input is at fault.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[error("a weight is a finite number from 0 to 65536, not {value}")]
pub struct WeightError {
    /// The refused number.
    pub value: f64,
}

/// A node's share of traffic, relative to the other nodes: finite, from 0 to 65,536. 0 drains the node: no new picks.
#[derive(Clone, Copy, PartialEq, PartialOrd, Serialize)]
pub struct Weight(f64);

impl Weight {
    /// The heaviest weight.
    pub const MAX: f64 = 65_536.0;

    /// Checks the number.
    ///
    /// # Errors
    ///
    /// [`WeightError`] when it is NaN, infinite, negative or above 65,536.
    pub fn new(value: f64) -> Result<Self, WeightError> {
        if value.is_finite() && (0.0..=Self::MAX).contains(&value) {
            // Adding zero turns -0.0 into 0.0, so that equal weights are equal in every sense.
            Ok(Self(value + 0.0))
        } else {
            Err(WeightError { value })
        }
    }

    /// The number.
    pub const fn value(self) -> f64 {
        self.0
    }
}

impl Default for Weight {
    fn default() -> Self {
        Self(1.0)
    }
}

impl fmt::Debug for Weight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl<'de> Deserialize<'de> for Weight {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(f64::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

/// Which nodes may be picked, and by what the pick is steered. The default lets every routable node be picked.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SelectionCriteria {
    /// The key whose owner is wanted, for partition-aware strategies.
    pub key: Option<Vec<u8>>,
    /// This node if it may be picked at all.
    pub sticky: Option<NodeId>,
    /// Only nodes with all of these.
    pub capabilities: BTreeSet<Capability>,
    /// Only nodes that carry all of these labels with these values.
    pub labels: BTreeMap<String, String>,
    /// Where the caller stands, for strategies that prefer near nodes.
    pub locality: Option<Locality>,
    /// Never these: nodes already tried.
    pub exclude: Vec<NodeId>,
}

/// How a call to a picked node ended, as the balancer must be told. A node that fails fast is told apart from an idle one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CallOutcome {
    /// A reply came.
    Success,
    /// The handler gave an error of the application: the node works.
    ApplicationError,
    /// The node said that it has too much to do.
    Overloaded,
    /// The connection failed or was lost.
    TransportError,
    /// No reply within the deadline.
    TimedOut,
    /// The caller gave up; says nothing of the node.
    Cancelled,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_sane_weights_pass() {
        for value in [0.0, -0.0, 0.5, 65_536.0] {
            assert_eq!(Weight::new(value).map(Weight::value), Ok(value));
        }
        for value in [f64::NAN, f64::INFINITY, -0.1, 65_537.0] {
            assert!(Weight::new(value).is_err(), "{value}");
        }
    }
}
