//! Nobody holds a higher incarnation of a member than that member has ever had.
//!
//! Source: SWIM (DSN 2002), section 4.2: only a member itself raises its incarnation. Where others could, a false accusation
//! would stand above every refutation.

use super::{Invariant, Stepped};

#[derive(Debug)]
pub(crate) struct NobodyKnowsBetter;

impl Invariant for NobodyKnowsBetter {
    fn name(&self) -> &'static str {
        "nobody-knows-better"
    }

    fn stepped(&mut self, stepped: &Stepped<'_>) -> Result<(), String> {
        let (id, reached) = (&stepped.scene.ids[stepped.turn], stepped.scene.reached[stepped.turn]);
        match stepped.engine.membership().member(id) {
            Some(held) if held.incarnation > reached => {
                Err(format!("it holds {id} at {}, which has never been above {reached}", held.incarnation))
            }
            _ => Ok(()),
        }
    }
}
