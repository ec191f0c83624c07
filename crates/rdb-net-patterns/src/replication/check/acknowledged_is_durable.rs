//! What the application was told to be committed is on the disks of a quorum at that moment.
//!
//! Source: Raft, section 5.3: an entry is committed once it is stored on a majority. Broken in the field wherever an acknowledgement
//! overtakes the sync.

use super::{Fact, Rule};

#[derive(Debug)]
pub(super) struct AcknowledgedIsDurable {
    quorum: usize,
}

impl AcknowledgedIsDurable {
    pub(super) const fn new(members: usize) -> Self {
        Self { quorum: members / 2 + 1 }
    }
}

impl Rule for AcknowledgedIsDurable {
    fn name(&self) -> &'static str {
        "acknowledged-is-durable"
    }

    fn see(&mut self, fact: &Fact) -> Result<(), String> {
        match fact {
            Fact::Acknowledged { position, value, durable_at: Some(nodes) } if nodes.len() < self.quorum => {
                let index = position.index;
                Err(format!("{value} was acknowledged at {index}, and is durable at {nodes:?} alone"))
            }
            _ => Ok(()),
        }
    }
}
