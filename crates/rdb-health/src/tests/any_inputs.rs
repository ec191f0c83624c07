//! Any inputs in any order: what must hold at every step, and of the run as a whole.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::{HealthEvent, Ping};

#[derive(Debug, Clone)]
enum Input {
    Watch(u32),
    Unwatch(u32),
    Member(u32, NodeState),
    Evidence(u32, EvidenceKind),
    Application(u32, HealthStatus),
    Answer(prop::sample::Index, u64),
    Fail(prop::sample::Index),
    Pass(u64),
}

fn any_input() -> impl Strategy<Value = Input> {
    let node = || 0u32..6;
    let state = prop::sample::select(vec![NodeState::Alive, NodeState::Suspect, NodeState::Failed, NodeState::Left]);
    let kind = prop::sample::select(vec![
        ALIVE,
        EvidenceKind::Refused,
        EvidenceKind::Reset,
        EvidenceKind::Silent,
        EvidenceKind::PhiCrossed,
    ]);
    let status = prop::sample::select(vec![Healthy, Unknown, Degraded, Unhealthy]);
    prop_oneof![
        2 => node().prop_map(Input::Watch),
        1 => node().prop_map(Input::Unwatch),
        1 => (node(), state).prop_map(|(node, state)| Input::Member(node, state)),
        2 => (node(), kind).prop_map(|(node, kind)| Input::Evidence(node, kind)),
        1 => (node(), status).prop_map(|(node, status)| Input::Application(node, status)),
        3 => (any::<prop::sample::Index>(), 0u64..2000).prop_map(|(which, rtt)| Input::Answer(which, rtt)),
        2 => any::<prop::sample::Index>().prop_map(Input::Fail),
        4 => (0u64..1500).prop_map(Input::Pass),
    ]
}

/// Everything that a run tells, and the statuses at its end; on the way, what must hold at every step.
fn trace(config: Config, seed: u64, polls_events_every: usize, inputs: &[Input]) -> (Vec<String>, Vec<HealthStatus>) {
    let mut health = Health::new(config, seed, Duration::ZERO);
    let mut now = Duration::ZERO;
    let (mut in_flight, mut told, mut log) = (Vec::<Ping>::new(), BTreeMap::new(), Vec::new());
    for (step, input) in inputs.iter().enumerate() {
        match input {
            Input::Watch(node) => drop(health.watch(now, &id(*node))),
            Input::Unwatch(node) => health.unwatch(&id(*node)),
            Input::Member(node, state) => health.handle_member(now, &id(*node), *state),
            Input::Evidence(node, kind) => health.handle_evidence(now, &seen(*node, *kind)),
            Input::Application(node, status) => drop(health.handle_application(now, &id(*node), "check", *status)),
            Input::Answer(which, rtt) if !in_flight.is_empty() => {
                let ping = in_flight.swap_remove(which.index(in_flight.len()));
                health.handle_pong(now, ping.id, ms(*rtt));
            }
            Input::Fail(which) if !in_flight.is_empty() => {
                let ping = in_flight.swap_remove(which.index(in_flight.len()));
                health.handle_ping_failed(now, ping.id, Reason::ConnectionLost);
            }
            Input::Answer(..) | Input::Fail(_) => {}
            Input::Pass(millis) => {
                now += ms(*millis);
                health.handle_timeout(now);
                assert!(health.poll_timeout().is_none_or(|next| next > now), "the next time is later");
            }
        }
        while let Some(ping) = health.poll_ping(now) {
            log.push(format!("{now:?} ping {} {:?}", ping.node, ping.id));
            in_flight.push(ping);
        }
        assert!(health.pings_in_flight() <= 6, "one per node");
        if step % polls_events_every == 0 || step + 1 == inputs.len() {
            while let Some(HealthEvent { node, from, to, cause, .. }) = health.poll_event() {
                log.push(format!("{now:?} {node} {from} {to} {cause}"));
                assert_ne!(from, to);
                assert_eq!(told.insert(node, to).unwrap_or_default(), from, "events follow one another");
            }
            for node in 0..6 {
                assert_eq!(told.get(&id(node)).copied().unwrap_or_default(), health.status(&id(node)), "node {node}");
            }
        }
    }
    (log, (0..6).map(|node| health.status(&id(node))).collect())
}

proptest! {
    /// The same inputs and the same seed give the same run; applying the events gives the statuses, however rarely they are
    /// polled, and that changes no status.
    #[test]
    fn a_run_is_a_function_of_its_inputs_and_events_fold_to_the_statuses(
        seed: u64,
        all: bool,
        thresholds in (1u32..4, 1u32..4),
        inputs in prop::collection::vec(any_input(), 1..200),
        every in 1usize..20,
    ) {
        let config = Config {
            scope: if all { Scope::All } else { Scope::Links },
            failure_threshold: thresholds.0,
            success_threshold: thresholds.1,
            degraded_latency: Some(ms(700)),
            ..Config::default()
        };
        let first = trace(config, seed, 1, &inputs);
        prop_assert_eq!(&first, &trace(config, seed, 1, &inputs));
        prop_assert_eq!(first.1.len(), 6);
        trace(config, seed, every, &inputs);
    }
}
