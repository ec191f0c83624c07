//! Members are asked in turn one after the other: no such probe begins before the one before it is over.
//!
//! Source: SWIM (DSN 2002), section 3.1: one probe a period. Broken in the field where Lifeguard's score made probes longer and
//! not rarer, so that a sick member had more to do than a healthy one (al8n/memberlist #165).

use super::{Invariant, Stepped};

#[derive(Debug)]
pub(crate) struct ProbesInTurn;

impl Invariant for ProbesInTurn {
    fn name(&self) -> &'static str {
        "probes-in-turn"
    }

    fn stepped(&mut self, stepped: &Stepped<'_>) -> Result<(), String> {
        match stepped.engine.membership().probes_in_turn() {
            0 | 1 => Ok(()),
            many => Err(format!("{many} members are asked at once because it is their turn")),
        }
    }
}
