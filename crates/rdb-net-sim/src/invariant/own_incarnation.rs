//! Within one life a node's own incarnation never falls, and each refutation raises it.
//!
//! Source: SWIM (DSN 2002), section 4.2: a member refutes by an incarnation above the one that it is accused in. Broken in the
//! field by counters that end and begin anew (hashicorp/memberlist #358): one packet takes a member out for good.

use std::collections::BTreeMap;

use rdb_net_engine::Engine;
use rdb_net_types::Incarnation;

use super::{Invariant, Stepped};

#[derive(Debug, Default)]
pub(crate) struct OwnIncarnation {
    /// By node: its incarnation, and how often it has refuted.
    held: BTreeMap<usize, (Incarnation, u64)>,
}

impl Invariant for OwnIncarnation {
    fn name(&self) -> &'static str {
        "own-incarnation"
    }

    fn started(&mut self, observer: usize, engine: &Engine) {
        self.held.insert(observer, said(engine));
    }

    fn stepped(&mut self, stepped: &Stepped<'_>) -> Result<(), String> {
        let next = said(stepped.engine);
        let Some((former, refuted)) = self.held.insert(stepped.observer, next) else { return Ok(()) };
        if next.0 < former {
            return Err(format!("it is at {} after {former}", next.0));
        }
        if next.1 > refuted && next.0 == former {
            return Err(format!("it has refuted, and is still at {former}"));
        }
        Ok(())
    }
}

fn said(engine: &Engine) -> (Incarnation, u64) {
    let swim = engine.membership();
    (swim.local().incarnation, swim.stats().refutations)
}
