//! A process that did not run must not blame others for its own silence.
//!
//! Lifeguard (arXiv 1707.00788), section III: a slow member is the commonest false accuser. A timer that fires late shows that
//! this process, not its peers, was away; Cassandra guards its failure detector the same way.

use std::time::Duration;

use crate::schedule::Timer;
use crate::swim::Swim;

impl Swim {
    /// After a pause, probes under way prove nothing, and every deadline that condemns somebody moves by the pause.
    pub(crate) fn forgive_pause(&mut self, now: Duration) {
        let Some(due) = self.schedule.next() else { return };
        let late = now.saturating_sub(due);
        if late <= self.config.pause_threshold() {
            return;
        }
        self.note_delay(now, late);
        self.stats.local_pauses += 1;
        self.void_all_probes();
        for sequence in std::mem::take(&mut self.relays).into_keys() {
            self.schedule.cancel(Timer::Relay(sequence));
        }
        // The pause began after the last call at the earliest: the upper bound of its length is the safe one.
        let pause = now - self.last_timeout;
        self.schedule.postpone_verdicts(pause);
        self.postpone_doubts(pause);
    }
}
