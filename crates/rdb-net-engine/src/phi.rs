//! Phi accrual over links that carry traffic: how unusual the silence of each is, before anybody has failed to answer.
//!
//! The heartbeats are the answers to health's pings, which a link with traffic is asked for on an interval, and whatever puts a ping
//! off because the node was heard of; SWIM's probes alone meet a pair too rarely to be a stream. Several thresholds read it: as phi rises a node gets less of the calls, and at the last one its
//! next ping and probe are brought forward. It declares nothing: the next answer gives all of it back.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rdb_net_types::NodeId;
use rdb_phi::{Listeners, Notice, PhiDetector};

/// At these parts of the threshold a node gets so much of its calls.
const STAGES: [(f64, f64); 4] = [(0.25, 0.75), (0.5, 0.5), (0.75, 0.25), (1.0, 0.1)];

/// When silence on a link with traffic becomes suspicious.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PhiConfig {
    /// The phi at which a node is asked at once. 8 is wrong once in a hundred million answers, if they are spread as before.
    /// Default 8; 0 switches the detectors off.
    pub threshold: f64,
    /// What each detector expects; the interval is that of health's pings. Defaults are those of [`rdb_phi::Config`], but for a tolerated pause of half a second: one lost
    /// ping is repeated within it.
    pub detector: rdb_phi::Config,
}

impl Default for PhiConfig {
    fn default() -> Self {
        let acceptable_pause = Duration::from_millis(500);
        Self { threshold: 8.0, detector: rdb_phi::Config { acceptable_pause, ..rdb_phi::Config::default() } }
    }
}

impl PhiConfig {
    /// The same for heartbeats that come about so often.
    pub(crate) fn of_interval(mut self, interval: Duration) -> Self {
        self.detector.first_interval = interval;
        self.detector.max_interval = self.detector.max_interval.max(interval * 4);
        self
    }
}

/// The silence of a node has reached a stage.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Silence {
    pub(crate) node: NodeId,
    /// The part of its calls that it still gets.
    pub(crate) trust: f64,
    /// It is the last stage.
    pub(crate) is_crossed: bool,
}

#[derive(Debug)]
struct Link {
    detector: PhiDetector,
    stages: Listeners<usize>,
    due: Option<Duration>,
}

/// The detectors of all links with traffic.
#[derive(Debug)]
pub(crate) struct LinkPhi {
    config: PhiConfig,
    links: BTreeMap<NodeId, Link>,
    due: BTreeSet<(Duration, NodeId)>,
}

impl LinkPhi {
    pub(crate) fn new(config: PhiConfig) -> Self {
        Self { config, links: BTreeMap::new(), due: BTreeSet::new() }
    }

    /// A link carries traffic from here on.
    pub(crate) fn watch(&mut self, now: Duration, node: &NodeId) {
        if self.config.threshold <= 0.0 || self.links.contains_key(node) {
            return;
        }
        let mut stages = Listeners::new();
        for (stage, (part, _)) in STAGES.iter().enumerate() {
            stages.set(stage, part * self.config.threshold);
        }
        let link = Link { detector: PhiDetector::new(self.config.detector, now), stages, due: None };
        self.links.insert(node.clone(), link);
        self.plan(node);
    }

    /// A link carries no traffic any more. Gives whether it was one.
    pub(crate) fn unwatch(&mut self, node: &NodeId) -> bool {
        let Some(link) = self.links.remove(node) else { return false };
        if let Some(due) = link.due {
            self.due.remove(&(due, node.clone()));
        }
        true
    }

    /// An answer came. Gives whether the node was mistrusted until now.
    pub(crate) fn heartbeat(&mut self, now: Duration, node: &NodeId) -> bool {
        let Some(link) = self.links.get_mut(node) else { return false };
        link.detector.heartbeat(now, None);
        let mut was_mistrusted = false;
        while let Some(notice) = link.stages.poll(&link.detector, now) {
            was_mistrusted |= matches!(notice, Notice::Trusted(_));
        }
        self.plan(node);
        was_mistrusted
    }

    /// The next silence that has reached a stage.
    pub(crate) fn poll(&mut self, now: Duration) -> Option<Silence> {
        while self.due.first().is_some_and(|(due, _)| *due <= now) {
            let (_, node) = self.due.pop_first()?;
            let link = self.links.get_mut(&node)?;
            link.due = None;
            let mut reached = None;
            while let Some(Notice::Suspected(stage)) = link.stages.poll(&link.detector, now) {
                reached = Some(stage);
            }
            self.plan(&node);
            if let Some(stage) = reached {
                return Some(Silence { node, trust: STAGES[stage].1, is_crossed: stage + 1 == STAGES.len() });
            }
        }
        None
    }

    pub(crate) fn poll_timeout(&self) -> Option<Duration> {
        self.due.first().map(|(due, _)| *due)
    }

    /// How suspicious the silence of a node is; `None` where its link carries no traffic.
    pub(crate) fn phi(&self, now: Duration, node: &NodeId) -> Option<f64> {
        self.links.get(node).map(|link| link.detector.phi(now))
    }

    fn plan(&mut self, node: &NodeId) {
        let Some(link) = self.links.get_mut(node) else { return };
        if let Some(due) = link.due.take() {
            self.due.remove(&(due, node.clone()));
        }
        link.due = link.stages.poll_timeout(&link.detector);
        self.due.extend(link.due.map(|due| (due, node.clone())));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn id() -> NodeId {
        NodeId::new("n1").expect("legal")
    }

    /// A link that was heard once a second for so long.
    fn heard(beats: u32) -> LinkPhi {
        let mut links = LinkPhi::new(PhiConfig::default());
        links.watch(Duration::ZERO, &id());
        for beat in 1..=beats {
            assert_eq!(links.poll(beat * SECOND), None, "it is regular");
            assert!(!links.heartbeat(beat * SECOND, &id()));
        }
        links
    }

    #[test]
    fn silence_takes_trust_in_stages_and_an_answer_gives_it_back() {
        let mut links = heard(60);
        let mut stages = Vec::new();
        while let Some(due) = links.poll_timeout() {
            let silence = links.poll(due).expect("a stage is reached when it is due");
            stages.push((due - 60 * SECOND, silence.trust, silence.is_crossed));
        }
        assert_eq!(stages.iter().map(|(_, trust, _)| *trust).collect::<Vec<_>>(), [0.75, 0.5, 0.25, 0.1]);
        assert_eq!(stages.iter().map(|(_, _, crossed)| *crossed).collect::<Vec<_>>(), [false, false, false, true]);
        let (first, last) = (stages[0].0, stages[3].0);
        assert!(first > SECOND * 3 / 2, "one lost ping is repeated by then: {first:?}");
        assert!(last < SECOND * 5 / 2, "{last:?}");
        assert!(links.heartbeat(63 * SECOND, &id()));
        assert!(!links.heartbeat(64 * SECOND, &id()));
    }

    #[test]
    fn a_late_look_reaches_the_last_stage_at_once() {
        let mut links = heard(20);
        let silence = links.poll(30 * SECOND).expect("a long silence");
        assert_eq!((silence.trust, silence.is_crossed), (0.1, true));
        assert_eq!(links.poll(30 * SECOND), None);
    }

    #[test]
    fn a_link_that_is_asked_seldom_is_given_its_time_from_the_start() {
        let mut links = LinkPhi::new(PhiConfig::default().of_interval(20 * SECOND));
        links.watch(Duration::ZERO, &id());
        for beat in 1..=10 {
            assert_eq!(links.poll(beat * 20 * SECOND), None);
            links.heartbeat(beat * 20 * SECOND, &id());
        }
    }

    #[test]
    fn a_link_without_traffic_is_nobodys_concern() {
        let mut links = heard(20);
        assert!(links.unwatch(&id()));
        assert_eq!((links.poll_timeout(), links.poll(90 * SECOND), links.phi(90 * SECOND, &id())), (None, None, None));
        let mut off = LinkPhi::new(PhiConfig { threshold: 0.0, ..PhiConfig::default() });
        off.watch(SECOND, &id());
        assert_eq!((off.poll_timeout(), off.unwatch(&id())), (None, false));
    }
}
