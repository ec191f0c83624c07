//! One seed is one run.

use std::time::Duration;

use rdb_net_faults::LinkFaults;

use crate::scenario::ALL;
use crate::{Config, Simulation};

#[test]
fn equal_seeds_give_equal_runs_and_others_do_not() {
    for scenario in ALL {
        let (first, again, other) = (scenario.run(6, 11), scenario.run(6, 11), scenario.run(6, 12));
        assert_eq!(first, again, "{}", scenario.name);
        assert_ne!(first.trace, other.trace, "{}", scenario.name);
    }
}

/// The same bytes at the same times on every machine: what a seed shows in one place can be looked into at another.
#[test]
fn a_run_does_not_depend_on_the_process_that_runs_it() {
    let handle = std::thread::spawn(|| ALL[0].run(8, 3).trace);
    assert_eq!(handle.join().expect("it ends"), ALL[0].run(8, 3).trace);
}

#[test]
fn a_network_that_loses_and_doubles_packets_is_no_reason_to_fail_anybody() {
    for seed in 1..=5 {
        let network = LinkFaults { loss: 0.05, duplication: 0.05, ..LinkFaults::lan() };
        let mut simulation = Simulation::new(Config { network, ..Config::lan(8, seed) });
        (0..8).for_each(|node| simulation.start(node).expect("legal settings"));
        assert!(simulation.run_until(Duration::from_secs(10), |simulation| simulation.agrees(8)).is_some());
        simulation.run_for(Duration::from_secs(60));
        simulation.set_loss(0.0);
        assert!(simulation.run_until(Duration::from_secs(60), |simulation| simulation.agrees(8)).is_some());
        simulation.check_at_rest();
        assert_eq!(simulation.violations(), [], "seed {seed}");
    }
}
