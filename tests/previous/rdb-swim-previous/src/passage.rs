//! Whether datagrams pass: where they do not but connections do, nobody is ill and nobody can confirm anything.
//!
//! A member that answers no ping is asked over a connection too, beside the relays, as hashicorp/memberlist does. Its answer
//! ends the probe as any other does. It also tells that the network is at fault, where no datagram comes besides: then relays
//! are silent for that reason and not because this member is slow (Lifeguard, arXiv 1707.00788, section IV-A), and a suspicion
//! need not wait for those whose word cannot come (section IV-B).

use std::time::Duration;

use crate::event::Event;
use crate::swim::Swim;
use crate::table::Slot;

/// After so many answers over connections with no datagram in between, none is waited for.
const UNHEARD_MIN: u32 = 2;

/// Probes that connections have answered since datagrams last did what they are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Passage {
    /// Since one answered this member.
    unanswered: u32,
    /// Since one came from any member.
    unheard: u32,
}

impl Swim {
    /// Whether members answer over connections, and no datagram of anybody comes: the network lets none pass, or none to here.
    pub fn is_unheard(&self) -> bool {
        self.passage.unheard >= UNHEARD_MIN
    }

    /// Takes the answer to an [`Event::StreamPingWanted`]. There is nothing to tell where none came in time.
    pub fn handle_stream_pong(&mut self, now: Duration, sequence: u32) {
        if self.end_probe(now, sequence).is_none() {
            return;
        }
        self.stats.probes_streamed += 1;
        self.passage.unanswered = self.passage.unanswered.saturating_add(1);
        self.passage.unheard = self.passage.unheard.saturating_add(1);
        if self.passage.unheard == UNHEARD_MIN {
            self.await_no_confirmations();
        }
    }

    /// Asks for a ping over a connection; what is left of the probe's time is the ping's.
    pub(crate) fn want_stream_ping(&mut self, slot: Slot, sequence: u32, timeout: Duration) {
        if let Some(node) = self.table.get(slot).map(|entry| entry.id.clone()) {
            self.advise(Event::StreamPingWanted { node, sequence, timeout });
        }
    }

    /// Relays that are silent show nothing where datagrams are not answered at all.
    pub(crate) fn blames_itself_for_silence(&self) -> bool {
        self.passage.unanswered == 0
    }

    pub(crate) fn datagram_answered(&mut self) {
        self.passage.unanswered = 0;
    }

    pub(crate) fn datagram_came(&mut self) {
        self.passage.unheard = 0;
    }
}
