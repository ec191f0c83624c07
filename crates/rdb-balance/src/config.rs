//! How a balancer chooses: the strategy and its names in a configuration file.

use std::fmt;
use std::str::FromStr;

/// The rule by which one of the nodes that fit is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Strategy {
    /// One after the other, each as often as its weight says, evenly spread over time. The order starts at a random place
    /// that depends on the seed, so that many clients that start together do not all call the same node first.
    RoundRobin,
    /// The node with the least load for its weight: `(calls in flight + 1 + penalty) / weight`, ties at random. Exact over
    /// all nodes up to 64 of them; beyond, the better of two drawn by weight ("power of two choices", Mitzenmacher 2001).
    ///
    /// The penalty keeps a node that fails fast from looking idle. A failed call (no connection, no reply in time,
    /// overloaded) raises it to the larger of its double and itself + 8 calls; a reply halves it; and it halves with every
    /// `16 · n` picks that the balancer of `n` nodes makes, so that a node that has recovered is tried again. With all
    /// others healthy, a node that does nothing but fail gets less than a sixteenth of its share.
    #[default]
    LeastConnections,
}

impl Strategy {
    /// Every strategy of this build.
    pub const ALL: [Self; 2] = [Self::RoundRobin, Self::LeastConnections];

    /// Strategies that the specification names and this build lacks.
    const NOT_BUILT: [&'static str; 3] = ["consistent_hashing", "weighted", "locality"];

    /// The name in the configuration file.
    pub const fn name(self) -> &'static str {
        match self {
            Self::RoundRobin => "round_robin",
            Self::LeastConnections => "least_connections",
        }
    }
}

impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A name that gives no strategy. The configuration is at fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StrategyError {
    /// No strategy has this name.
    #[error("there is no balancing strategy {name:?}; known are {}", known())]
    Unknown {
        /// The refused name.
        name: String,
    },
    /// The strategy is part of the specification but not of this build.
    #[error("the balancing strategy {name:?} is not built yet; this build has {}", known())]
    NotBuilt {
        /// The name of the strategy.
        name: &'static str,
    },
}

fn known() -> String {
    Strategy::ALL.map(Strategy::name).join(", ")
}

impl FromStr for Strategy {
    type Err = StrategyError;

    fn from_str(name: &str) -> Result<Self, StrategyError> {
        if let Some(strategy) = Self::ALL.into_iter().find(|strategy| strategy.name() == name) {
            return Ok(strategy);
        }
        match Self::NOT_BUILT.into_iter().find(|later| *later == name) {
            Some(name) => Err(StrategyError::NotBuilt { name }),
            None => Err(StrategyError::Unknown { name: name.to_owned() }),
        }
    }
}

/// What a pick does when every node that fits is unhealthy or ejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum FailMode {
    /// It is refused. Right wherever a wrong node does harm: writes, transactions.
    #[default]
    Closed,
    /// It goes to one of them by weight, and says so: the health checks may be wrong, and all nodes down at once is more
    /// often an error of the observer than of the observed.
    Open,
}

/// Settings of a balancer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Config {
    /// The rule. Default: [`Strategy::LeastConnections`].
    pub strategy: Strategy,
    /// What to do when nothing healthy is left. Default: [`FailMode::Closed`].
    pub fail_mode: FailMode,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for strategy in Strategy::ALL {
            assert_eq!(strategy.name().parse(), Ok(strategy));
        }
    }

    #[test]
    fn a_wrong_name_is_told_the_right_ones() {
        let problem = |name: &str| name.parse::<Strategy>().expect_err("no strategy").to_string();
        let known = "round_robin, least_connections";
        assert_eq!(problem("rand"), format!("there is no balancing strategy \"rand\"; known are {known}"));
        assert_eq!(
            problem("locality"),
            format!("the balancing strategy \"locality\" is not built yet; this build has {known}")
        );
        for name in ["consistent_hashing", "weighted"] {
            assert!(matches!(name.parse::<Strategy>(), Err(StrategyError::NotBuilt { .. })));
        }
    }
}
