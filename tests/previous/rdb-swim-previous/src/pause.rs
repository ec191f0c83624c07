//! A process that did not run must not blame others for its own silence.
//!
//! Lifeguard (arXiv 1707.00788), section III: a slow member is the commonest false accuser. A timer that fires late shows that
//! this process, not its peers, was away; Cassandra guards its failure detector the same way.

use std::time::Duration;

use crate::schedule::Timer;
use crate::swim::Swim;

impl Swim {
    /// After a pause, probes under way prove nothing, and every deadline that condemns somebody moves by the pause.
    ///
    /// This comes before whatever has arrived meanwhile is acted on: a clock that starts with that has not stood still.
    pub(crate) fn forgive_pause(&mut self, now: Duration) {
        let away = now.saturating_sub(self.last_input);
        self.last_input = self.last_input.max(now);
        let Some(due) = self.schedule.next() else { return };
        let late = now.saturating_sub(due.max(self.awake_since));
        if late <= self.config.pause_threshold() {
            return;
        }
        self.note_delay(now, late);
        self.awake_since = now;
        // The pause began after the last input at the earliest: the upper bound of its length is the safe one. Where others have
        // kept this process from its timers only, it has heard who answered.
        if away <= self.config.pause_threshold() {
            return;
        }
        self.stats.local_pauses += 1;
        self.void_all_probes();
        for sequence in std::mem::take(&mut self.relays).into_keys() {
            self.schedule.cancel(Timer::Relay(sequence));
        }
        self.schedule.postpone_verdicts(away);
        self.postpone_doubts(away);
    }
}
