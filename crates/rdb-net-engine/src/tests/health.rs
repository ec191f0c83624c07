//! Health of others, and what the balancer makes of it.

use rdb_net_peer::LinkSide;
use rdb_net_session::CloseReason;
use rdb_net_types::{HealthStatus, NodeState, Reason, SelectionCriteria};

use super::lab::{Lab, address, id, ms, secs};
use crate::{Command, EngineConfig, EngineEvent};

/// Answers every ping of a node in this way, for some time.
fn run_pings(lab: &mut Lab, node: usize, time: std::time::Duration, answers: bool) -> usize {
    let end = lab.now + time;
    let mut pings = 0;
    while lab.now < end {
        let asked: Vec<Command> = lab.commands[node].drain(..).collect();
        for command in asked {
            if let Command::Ping { id, .. } = command {
                pings += 1;
                let result = if answers { Ok(ms(1)) } else { Err(Reason::ConnectionLost) };
                lab.act(node, |engine, now| engine.handle_pong(now, id, result));
            }
        }
        lab.run(ms(20));
    }
    pings
}

fn picks(lab: &Lab, node: usize, of: usize) -> bool {
    let balancer = lab.engines[node].balancer();
    (0..40).any(|_| balancer.select_node(&SelectionCriteria::default()) == Some(id(of)))
}

/// The same while the link with node 1 carries traffic.
fn run_busy(lab: &mut Lab, node: usize, time: std::time::Duration, answers: bool) -> usize {
    let end = lab.now + time;
    let mut pings = 0;
    while lab.now < end {
        lab.traffic(node, 1, LinkSide::Dialer);
        pings += run_pings(lab, node, secs(1).min(end - lab.now), answers);
    }
    pings
}

#[test]
fn links_of_ones_own_are_asked_about_while_they_carry_traffic() {
    let mut lab = Lab::cluster(3);
    assert_eq!(run_pings(&mut lab, 0, secs(3), true), 0, "no link, no ping");
    lab.up(0, 1, LinkSide::Dialer);
    lab.up(0, 2, LinkSide::Acceptor);
    assert_eq!(run_pings(&mut lab, 0, secs(1), true), 1, "once, since it is new");
    assert_eq!(lab.engines[0].health(&id(1)), HealthStatus::Healthy);
    assert_eq!(run_pings(&mut lab, 0, secs(60), true), 0, "an idle link costs nothing");
    lab.traffic(0, 2, LinkSide::Acceptor);
    assert_eq!(run_pings(&mut lab, 0, secs(5), true), 0, "the other side asks about its own link");
    let pings = run_busy(&mut lab, 0, secs(20), true);
    // Membership asks it every other second, and its answer puts off the next ping by an interval.
    assert!((10..=22).contains(&pings), "about one a second to one node, with those of membership: {pings}");
    assert_eq!(lab.engines[0].statistics().links_busy, 1);
    let pings = run_pings(&mut lab, 0, secs(30), true);
    assert!((5..=11).contains(&pings), "for ten seconds after the last traffic: {pings}");
    assert_eq!(lab.engines[0].statistics().links_busy, 0);
    run_busy(&mut lab, 0, secs(3), true);
    lab.down(0, 1, LinkSide::Dialer, CloseReason::Local);
    assert_eq!(run_pings(&mut lab, 0, secs(5), true), 0, "it is gone");
    lab.traffic(0, 1, LinkSide::Dialer);
    assert_eq!(run_pings(&mut lab, 0, secs(5), true), 0, "traffic that was told of late says nothing");
}

#[test]
fn two_that_do_not_reach_each_other_are_degraded_in_each_others_eyes_without_any_traffic() {
    let mut lab = Lab::cluster(5);
    lab.apart = Some((0, 1));
    // Each is asked at least once in two rounds of probes.
    lab.run(secs(8));
    for (node, other) in [(0, 1), (1, 0)] {
        assert!(lab.engines[node].health(&id(other)) >= HealthStatus::Degraded, "{node}");
        assert_eq!(lab.state(node, other), Some(NodeState::Alive), "the others reach both");
    }
    lab.run(secs(30));
    for (node, other) in [(0, 1), (1, 0)] {
        assert!(lab.engines[node].health(&id(other)) >= HealthStatus::Degraded, "as long as it lasts");
        assert!(lab.told(node, other).iter().all(|change| *change != "NodeFailed"));
    }
    lab.apart = Some((2, 2));
    lab.run(secs(11));
    for (node, other) in [(0, 1), (1, 0)] {
        assert_eq!(
            lab.engines[node].health(&id(other)),
            HealthStatus::Healthy,
            "asked again and again until it answers"
        );
    }
}

#[test]
fn membership_probes_count_as_answers() {
    let mut lab = Lab::cluster(3);
    lab.run(secs(5));
    assert_eq!(lab.engines[0].health(&id(1)), HealthStatus::Healthy, "though it was never pinged");
}

#[test]
fn an_unhealthy_node_is_not_picked_is_told_of_and_is_asked_after() {
    let mut lab = Lab::cluster(3);
    lab.up(0, 1, LinkSide::Dialer);
    run_pings(&mut lab, 0, secs(3), true);
    assert!(picks(&lab, 0, 1));
    let before = lab.urgent_probes(0);
    lab.forget();
    // Its gossip answers, its transport does not: between two probes' answers it falls.
    let mut fell = false;
    for _ in 0..200 {
        run_busy(&mut lab, 0, ms(20), false);
        fell |= lab.engines[0].health(&id(1)) == HealthStatus::Unhealthy && !picks(&lab, 0, 1);
    }
    assert!(fell, "and then it was not picked");
    let told = lab.events[0].iter().any(|event| {
        matches!(event, EngineEvent::Health(change) if change.node == id(1) && change.to == HealthStatus::Unhealthy)
    });
    assert!(told);
    assert!(lab.urgent_probes(0) > before, "membership asks it");
    assert_eq!(lab.state(0, 1), Some(NodeState::Alive), "and it answers there");
}

#[test]
fn the_balancer_holds_routable_members_but_not_this_node() {
    let mut lab = Lab::cluster(4);
    let held = |lab: &Lab| -> Vec<_> {
        lab.engines[0].balancer().statistics().nodes.into_iter().map(|node| node.node).collect()
    };
    assert_eq!(held(&lab), [id(1), id(2), id(3)]);
    lab.act(2, |engine, now| engine.leave(now));
    assert_eq!(held(&lab), [id(1), id(3)]);
}

#[test]
fn a_change_of_the_list_forgets_no_health() {
    let mut lab = Lab::cluster(3);
    assert!(lab.act(0, |engine, now| engine.set_application_health(now, &id(1), "replica", HealthStatus::Unhealthy)));
    assert!(!picks(&lab, 0, 1));
    lab.act(2, |engine, now| engine.leave(now));
    assert!(!picks(&lab, 0, 1), "the list was built anew");
    lab.act(0, |engine, now| engine.set_application_health(now, &id(1), "replica", HealthStatus::Healthy));
    assert!(picks(&lab, 0, 1));
}

#[test]
fn a_node_of_which_many_others_have_vanished_is_visibly_degraded() {
    let mut lab = Lab::cluster(5);
    let membership = |lab: &Lab| {
        let report = lab.engines[0].report();
        report.parts.into_iter().find(|(part, _, _)| part == "membership").expect("there is one").1
    };
    (1..5).for_each(|node| lab.cut[node] = true);
    assert_eq!(membership(&lab), HealthStatus::Healthy);
    lab.run(secs(30));
    assert_eq!(lab.engines[0].census().failed, 4);
    assert_eq!(membership(&lab), HealthStatus::Degraded);
    assert!(lab.engines[0].unhealthy().contains(&id(1)));
    assert_eq!(lab.engines[0].balancer().select_node(&SelectionCriteria::default()), None);
    assert_eq!(lab.engines[0].member(&id(1)).map(|member| member.address.clone()), Some(address(1)), "kept");
}

/// Pings are sent and nothing comes back, neither an answer nor a failure: the time-out is long.
#[test]
fn silence_on_a_link_with_traffic_takes_calls_away_and_brings_a_probe_forward_before_any_ping_has_failed() {
    let mut config = EngineConfig::default();
    config.health.timeout = secs(30);
    let mut lab = Lab::cluster_with(3, &config);
    lab.up(0, 1, LinkSide::Dialer);
    run_busy(&mut lab, 0, secs(30), true);
    let share = |lab: &Lab| {
        let balancer = lab.engines[0].balancer();
        (0..2_000).filter(|_| balancer.select_node(&SelectionCriteria::default()) == Some(id(1))).count()
    };
    let before = share(&lab);
    let phi = |lab: &Lab| lab.engines[0].phi(lab.now, &id(1)).expect("it carries traffic");
    assert!(phi(&lab) < 1.0, "{}", phi(&lab));
    lab.cut[1] = true;
    let urgent = lab.engines[0].statistics().swim.probes_urgent;
    lab.run(secs(4));
    assert!(phi(&lab) >= 8.0, "{}", phi(&lab));
    let statistics = lab.engines[0].statistics();
    assert_eq!(statistics.engine.phi_crossed, 1);
    assert!(statistics.swim.probes_urgent > urgent, "membership asks it at once");
    assert_eq!(lab.engines[0].health(&id(1)), HealthStatus::Healthy, "no ping has failed yet");
    assert!(share(&lab) < before / 3, "{} of {before}", share(&lab));
}
