//! The score of a member's own health stays within its limits.
//!
//! Source: Lifeguard (arXiv 1707.00788), section IV-A: the local health multiplier saturates, so that a sick member is slow and
//! not mute.

use super::{Invariant, Stepped};

#[derive(Debug)]
pub(crate) struct LocalHealth;

impl Invariant for LocalHealth {
    fn name(&self) -> &'static str {
        "local-health"
    }

    fn stepped(&mut self, stepped: &Stepped<'_>) -> Result<(), String> {
        let swim = stepped.engine.membership();
        let (score, limit) = (swim.local_health(), swim.config().lifeguard.health_max);
        if score <= limit { Ok(()) } else { Err(format!("its score is {score}, above {limit}")) }
    }
}
