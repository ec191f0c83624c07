//! What a kernel says of a port where nobody listens.
//!
//! ICMP can be forged by whoever guesses two ports, and QUIC ends no connection by it. Here it does where it cannot be a mistake:
//! several times in a row, each after another packet of ours, while nothing came from the peer. A dial has nothing to lose, and
//! believes the first.

/// How many refusals in a row end a connection that was made.
const REFUSALS_OF_LOSS: u32 = 3;

/// The refusals of one socket.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    in_row: u32,
    has_sent: bool,
}

impl Refusals {
    /// A packet has left.
    pub(crate) fn sent(&mut self) {
        self.has_sent = true;
    }

    /// A packet has come.
    pub(crate) fn received(&mut self) {
        self.in_row = 0;
    }

    /// The system says that a packet was refused.
    pub(crate) fn refused(&mut self) {
        self.in_row += u32::from(std::mem::take(&mut self.has_sent));
    }

    /// Whether so many were refused in a row that nobody is there.
    pub(crate) fn are_enough(&self, is_connected: bool) -> bool {
        self.in_row >= if is_connected { REFUSALS_OF_LOSS } else { 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dial_believes_the_first_and_a_connection_the_third_in_a_row() {
        let mut refusals = Refusals::default();
        for _ in 0..2 {
            refusals.sent();
            refusals.refused();
        }
        assert!(refusals.are_enough(false) && !refusals.are_enough(true));
        refusals.sent();
        refusals.refused();
        assert!(refusals.are_enough(true));
    }

    #[test]
    fn what_comes_between_two_refusals_makes_the_first_forgotten() {
        let mut refusals = Refusals::default();
        refusals.sent();
        refusals.refused();
        refusals.received();
        assert!(!refusals.are_enough(false));
    }

    #[test]
    fn a_refusal_of_nothing_that_was_sent_is_not_believed() {
        let mut refusals = Refusals::default();
        refusals.refused();
        assert!(!refusals.are_enough(false));
    }
}
