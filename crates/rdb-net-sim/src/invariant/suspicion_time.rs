//! A suspect has the tolerated pause at the least, and is not suspected for ever.
//!
//! Source: Lifeguard (arXiv 1707.00788), section IV-B: the time of a suspect lies between a least and a greatest one, whatever is
//! confirmed; a pause of the observer moves it. Refused connections are evidence of their own, and need no suspicion.

use std::collections::BTreeMap;
use std::time::Duration;

use rdb_net_engine::{Engine, EngineEvent};
use rdb_net_types::{Incarnation, MembershipEvent, NodeId, NodeState};

use super::{Heard, Invariant, Stepped};

/// What an observer holds against one member.
#[derive(Debug, Clone, Copy)]
struct Case {
    incarnation: Incarnation,
    since: Duration,
    /// How long the observer had stood still until then.
    pauses: Duration,
}

#[derive(Debug, Default)]
pub(crate) struct SuspicionTime {
    cases: BTreeMap<usize, BTreeMap<NodeId, Case>>,
    /// Who was failed in this step, and for how long it was suspected before.
    verdicts: Vec<(NodeId, Duration)>,
    /// By observer: verdicts by refusal so far.
    refused: BTreeMap<usize, u64>,
}

impl Invariant for SuspicionTime {
    fn name(&self) -> &'static str {
        "suspicion-time"
    }

    fn started(&mut self, observer: usize, _engine: &Engine) {
        self.cases.remove(&observer);
        self.refused.remove(&observer);
    }

    fn heard(&mut self, heard: &Heard<'_>) -> Result<(), String> {
        let EngineEvent::Membership(change) = heard.event else { return Ok(()) };
        let (cases, node) = (self.cases.entry(heard.observer).or_default(), change.node());
        match change {
            MembershipEvent::NodeSuspected(_) => {
                let (since, pauses) = (heard.now, heard.scene.pauses(heard.observer));
                cases.insert(node.id.clone(), Case { incarnation: node.incarnation, since, pauses });
            }
            MembershipEvent::NodeUpdated(_) => {}
            _ => {
                let case = cases.remove(&node.id);
                if let (Some(case), MembershipEvent::NodeFailed(_)) = (case, change) {
                    self.verdicts.push((node.id.clone(), heard.now.saturating_sub(case.since)));
                }
            }
        }
        Ok(())
    }

    fn stepped(&mut self, stepped: &Stepped<'_>) -> Result<(), String> {
        let (observer, scene, now) = (stepped.observer, stepped.scene, stepped.now);
        let swim = stepped.engine.membership();
        if swim.local().state == NodeState::Left {
            // Whoever is leaving judges nobody any more, and its view stays as it is.
            return Ok(());
        }
        let verdicts = std::mem::take(&mut self.verdicts);
        let refused = swim.stats().failures_by_refusal;
        let is_by_refusal = self.refused.insert(observer, refused).unwrap_or(0) < refused;
        let least = swim.config().suspicion_pause;
        for (id, time) in verdicts {
            // The end of a life that is told with the next one is no verdict of this observer's.
            let is_held = swim.member(&id).is_some_and(|held| held.state == NodeState::Failed);
            if is_held && !is_by_refusal && time < least {
                return Err(format!("it failed {id} after {time:?} of suspicion"));
            }
        }
        let id = &scene.ids[stepped.turn];
        let Some(held) = swim.member(id).filter(|held| held.state == NodeState::Suspect) else { return Ok(()) };
        let pauses = scene.pauses(observer);
        let fresh = Case { incarnation: held.incarnation, since: now, pauses };
        let case = self.cases.entry(observer).or_default().entry(id.clone()).or_insert(fresh);
        if case.incarnation != held.incarnation {
            // A newer accusation gives a suspect all of its time again.
            *case = fresh;
        }
        let time = now.saturating_sub(case.since).saturating_sub(pauses.saturating_sub(case.pauses));
        let most = longest(swim.config(), scene.ids.len());
        if time > most { Err(format!("{id} is a suspect for {time:?}, more than {most:?}")) } else { Ok(()) }
    }
}

/// The longest that a suspect may wait for its verdict, being asked once more included.
pub(super) fn longest(config: &rdb_swim::Config, nodes: usize) -> Duration {
    config.suspicion_timeout(nodes) * config.lifeguard.stretch + config.refusal_window + config.probe_interval
}
