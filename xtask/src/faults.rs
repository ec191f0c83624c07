//! `cargo xtask faults`: the table of faults in network namespaces, each for as long as the issue wants it: some six minutes. `cargo xtask
//! test` runs a shorter slice of it.

use crate::failure::{Failure, no_arguments};
use crate::house::House;
use crate::process;
use crate::test::{self, servers};

/// The binary of the tests with the table.
const TARGET: &str = "faults";
/// How long faults last.
const LENGTHS: &str = "RDB_FAULTS";
/// How many rows are played at a time.
const LABS: &str = "RDB_FAULT_LABS";

/// Plays the whole table, all rows side by side.
pub(crate) fn run(house: &House, arguments: &[String]) -> Result<(), Failure> {
    no_arguments(TARGET, arguments)?;
    servers::provide();
    let node = test::build_node(house, &[])?;
    let arguments = ["test", "-p", test::CLUSTER_PACKAGE, "--test", TARGET, "--", "--nocapture"];
    let mut command = process::cargo(house, &arguments);
    command.env(test::NODE_BINARY, node).env(LENGTHS, "whole");
    if std::env::var_os(LABS).is_none() {
        command.env(LABS, "14");
    }
    process::run(&mut command)
}
