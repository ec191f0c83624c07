//! `cargo xtask deny`: licences, sources and banned crates, by cargo-deny and `deny.toml`.
//!
//! cargo-deny takes minutes to build, so it is used where it is installed and its absence is said aloud. Advisories are
//! not part of it: they need the advisory database from the network (`cargo deny check advisories`).

use crate::failure::{Failure, no_arguments};
use crate::house::House;
use crate::process;

/// Runs `cargo deny check bans licenses sources`.
pub(crate) fn run(house: &House, arguments: &[String]) -> Result<(), Failure> {
    no_arguments("deny", arguments)?;
    if !process::succeeds(&mut process::cargo(house, &["deny", "--version"])) {
        println!("SKIPPED: cargo-deny is not installed");
        return Ok(());
    }
    // Owners are named in deny.toml before they exist, and a graph for each duplicate buries the findings.
    let options = ["--allow", "unused-wrapper", "--hide-inclusion-graph"];
    let checks = ["bans", "licenses", "sources"];
    process::run(process::cargo(house, &["deny", "check"]).args(options).args(checks))
}
