//! `cargo xtask ci-matrix`: what CI builds apart from each other, as one line of JSON for `strategy.matrix` of the workflow.
//!
//! The profiles of the manager and the crates of the workspace are known here and in the manifests; a workflow that listed
//! them again would miss the next one.

use serde::Serialize;

use crate::failure::{Failure, no_arguments};
use crate::features::PROFILES;
use crate::house::House;

/// The lists, each under the name that the workflow uses.
#[derive(Debug, Serialize)]
struct Matrix<'a> {
    /// Profiles of the manager: `cargo xtask features --profile NAME`.
    profile: Vec<&'a str>,
    /// Every package: `cargo check -p NAME`, `cargo xtask features --crate NAME`.
    #[serde(rename = "crate")]
    package: Vec<&'a str>,
}

/// Prints the lists.
pub(crate) fn run(house: &House, arguments: &[String]) -> Result<(), Failure> {
    no_arguments("ci-matrix", arguments)?;
    println!("{}", json(house));
    Ok(())
}

fn json(house: &House) -> String {
    let profile = PROFILES.iter().map(|profile| profile.name).collect();
    let package = house.members.iter().map(|member| member.name.as_str()).collect();
    serde_json::to_string(&Matrix { profile, package }).expect("lists of strings are JSON")
}

#[cfg(test)]
mod tests;
