//! Which side of a partition goes on: asked of a split-brain strategy once the view has come to rest, and told.
//!
//! A single crash is a split as well: whoever is alone has to find out the same way as half a cluster. So the strategy is asked
//! whenever somebody is failed, and not only in what is told of as a partition, of which the larger side may not know.

use std::time::Duration;

use rdb_net_types::MembershipEvent;
use rdb_swim::{Decision, Strategy, Verdict};

use crate::command::EngineEvent;
use crate::engine::{Engine, Phase};

/// A view that does not come to rest is decided upon as it is after this many times the time of rest.
const RESTLESS_TIMES: u32 = 4;

/// Whether and how a node decides which side of a partition goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SplitBrainConfig {
    /// By which strategy; `None`, the default, decides nothing.
    pub strategy: Option<Strategy>,
    /// For how long nobody must have come or gone before it is asked. Default 10 s: more than the two sides of a small cluster
    /// differ in how long they take to find each other gone. At most four times that is waited.
    pub stable_after: Duration,
}

impl Default for SplitBrainConfig {
    fn default() -> Self {
        Self { strategy: None, stable_after: Duration::from_secs(10) }
    }
}

/// The last verdict, and whether another one is due.
#[derive(Debug, Default)]
pub(crate) struct Split {
    /// When the view began to change since the last verdict, and when it changed last.
    unrest: Option<(Duration, Duration)>,
    verdict: Option<Verdict>,
}

impl Split {
    fn due(&self, config: &SplitBrainConfig) -> Option<Duration> {
        let (begun, changed) = self.unrest?;
        Some((changed + config.stable_after).min(begun + config.stable_after * RESTLESS_TIMES))
    }

    fn stir(&mut self, now: Duration) {
        let (_, changed) = self.unrest.get_or_insert((now, now));
        *changed = now;
    }
}

impl Engine {
    /// What the strategy has said to this node's view when that last came to rest; `None` where nobody is missing, before it is at
    /// rest, and without a strategy.
    pub fn split_verdict(&self) -> Option<Verdict> {
        self.split.verdict
    }

    /// Which strategy decides, if any.
    pub fn split_strategy(&self) -> Option<Strategy> {
        self.config.split_brain.strategy
    }

    /// Another strategy decides from here on. What the former one said holds until the new one has, and ends at once where there is
    /// none.
    pub(crate) fn set_split(&mut self, now: Duration, config: SplitBrainConfig) {
        let former = std::mem::replace(&mut self.config.split_brain, config);
        if former.strategy == config.strategy {
            return;
        }
        if config.strategy.is_none() {
            let ended = std::mem::take(&mut self.split);
            if ended.verdict.is_some() {
                self.tell(EngineEvent::SplitBrainEnded);
            }
        } else {
            self.split.stir(now);
        }
    }

    pub(crate) fn split_due(&self) -> Option<Duration> {
        let is_member = matches!(self.phase, Phase::Joining | Phase::Joined);
        self.config.split_brain.strategy.filter(|_| is_member).and_then(|_| self.split.due(&self.config.split_brain))
    }

    /// A quorum may be missing from the start, and what was said in a former membership, or was to be, is asked anew.
    pub(crate) fn begin_split(&mut self, now: Duration) {
        self.split.unrest = None;
        let Some(strategy) = self.config.split_brain.strategy else { return };
        let is_quorum = matches!(strategy, Strategy::StaticQuorum { .. });
        if is_quorum || self.split.verdict.is_some() || self.roster.census().failed > 0 {
            self.split.stir(now);
        }
    }

    /// Somebody has come or gone.
    pub(crate) fn stir_split(&mut self, now: Duration, change: &MembershipEvent) {
        let counts = matches!(
            change,
            MembershipEvent::NodeJoined(_)
                | MembershipEvent::NodeLeft(_)
                | MembershipEvent::NodeFailed(_)
                | MembershipEvent::NodeRecovered(_)
                | MembershipEvent::NodeForgotten(_)
        );
        let Some(strategy) = self.config.split_brain.strategy.filter(|_| counts) else { return };
        let census = self.roster.census();
        let are_enough = match strategy {
            Strategy::StaticQuorum { members } => census.routable() >= members,
            _ => true,
        };
        if census.failed > 0 || !are_enough {
            self.split.stir(now);
            return;
        }
        // There is no other side to agree with.
        self.split.unrest = None;
        if self.split.verdict.is_some() {
            self.take_verdict(strategy);
        }
    }

    pub(crate) fn decide_if_due(&mut self, now: Duration) {
        let Some(strategy) = self.config.split_brain.strategy else { return };
        if self.split_due().is_some_and(|due| due <= now) {
            self.split.unrest = None;
            self.take_verdict(strategy);
        }
    }

    /// Where everybody was there and is, there is nothing to tell.
    fn take_verdict(&mut self, strategy: Strategy) {
        let verdict = self.swim.judge_split(strategy);
        let is_whole = verdict.unseen == 0 && verdict.decision == Decision::Stay;
        let former = std::mem::replace(&mut self.split.verdict, (!is_whole).then_some(verdict));
        if !is_whole || former.is_some() {
            self.tell(EngineEvent::SplitBrain(verdict));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_come_to_rest_is_decided_all_the_same() {
        let config = SplitBrainConfig::default();
        let secs = Duration::from_secs;
        let mut split = Split::default();
        assert_eq!(split.due(&config), None);
        split.stir(secs(100));
        assert_eq!(split.due(&config), Some(secs(110)));
        for now in (105..=200).step_by(5) {
            split.stir(secs(now));
            assert_eq!(split.due(&config), Some(secs((now + 10).min(140))), "changed last at {now} s");
        }
    }
}
