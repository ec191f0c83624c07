//! `cargo xtask deny`: licences, sources, banned crates and known vulnerabilities, by cargo-deny and `deny.toml`.
//!
//! cargo-deny takes minutes to build, so it is used where it is installed and its absence is said aloud. Advisories need the
//! RustSec database, which is fetched; where that does not succeed they are skipped, and everything else is checked.

use crate::failure::{Failure, only_deny_skips};
use crate::house::House;
use crate::process;

const NOT_INSTALLED: &str = "cargo-deny is not installed: cargo install --locked cargo-deny";
const NO_DATABASE: &str = "advisories: the RustSec database cannot be fetched";

/// Runs every check of cargo-deny that can run here.
pub(crate) fn run(house: &House, arguments: &[String]) -> Result<(), Failure> {
    let deny_skips = only_deny_skips("deny", arguments)?;
    if !process::succeeds(&mut process::cargo(house, &["deny", "--version"])) {
        return skip(NOT_INSTALLED, deny_skips);
    }
    // Owners are named in deny.toml before they exist, and a graph for each duplicate buries the findings.
    let check = ["deny", "check", "--allow", "unused-wrapper", "--hide-inclusion-graph"];
    let offline = process::run(process::cargo(house, &check).args(["bans", "licenses", "sources"]));
    if !process::succeeds(&mut process::cargo(house, &["deny", "fetch", "db"])) {
        return offline.and(skip(NO_DATABASE, deny_skips));
    }
    let advisories = process::run(&mut process::cargo(house, &["deny", "--offline", "check", "advisories"]));
    offline.and(advisories)
}

fn skip(reason: &str, deny_skips: bool) -> Result<(), Failure> {
    println!("SKIPPED: {reason}");
    verdict_of_skip(reason, deny_skips)
}

fn verdict_of_skip(reason: &str, deny_skips: bool) -> Result<(), Failure> {
    if deny_skips { Err(Failure::Check(format!("--deny-skips: {reason}"))) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::path::Path;

    use toml::Table;

    use super::*;
    use crate::layers::OWNERS;

    /// Crates with an owner that others bring along too, so that only direct dependencies on them can be looked at.
    const BROUGHT_ALONG: &[&str] =
        &["aws-lc-rs", "clap", "quinn-udp", "rustls", "socket2", "tokio-rustls", "tracing-subscriber", "x509-parser"];
    /// Who may have a client without owning it: what stands outside the house, peers of the benchmarks, what Consul's client
    /// is made of, and whose tests need certificates.
    const GUESTS: &[&str] = &[
        "rdb-net-tests",
        "rdb-net-benches",
        "quinn",
        "tonic",
        "consulrs",
        "rustify",
        "rdb-discovery-consul",
        "rdb-discovery-etcd",
    ];

    fn configuration() -> Table {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deny.toml");
        std::fs::read_to_string(path).unwrap().parse().unwrap()
    }

    fn strings(value: &toml::Value) -> BTreeSet<&str> {
        value.as_array().unwrap().iter().map(|value| value.as_str().unwrap()).collect()
    }

    /// The crates that only some may depend on, with those. What has something to be used instead is nobody's, whoever brings
    /// it along.
    fn owned(configuration: &Table) -> BTreeMap<&str, BTreeSet<&str>> {
        let rows = configuration["bans"]["deny"].as_array().unwrap().iter();
        let rows = rows.filter(|row| row.get("use-instead").is_none());
        let rows = rows.filter_map(|row| Some((row["crate"].as_str()?, strings(row.get("wrappers")?))));
        rows.filter(|(_, wrappers)| !wrappers.is_empty()).collect()
    }

    #[test]
    fn each_external_client_has_the_owners_that_the_layers_name() {
        let configuration = configuration();
        let owned = owned(&configuration);
        for (client, owners) in OWNERS.iter().filter(|(client, _)| !BROUGHT_ALONG.contains(client)) {
            let mut wrappers = owned.get(client).cloned().unwrap_or_default();
            wrappers.retain(|wrapper| owners.contains(wrapper) || !GUESTS.contains(wrapper));
            assert_eq!(wrappers, owners.iter().copied().collect(), "{client}");
        }
        for client in owned.keys() {
            assert!(OWNERS.iter().any(|(owned, _)| owned == client), "{client} is in deny.toml alone");
        }
    }

    #[test]
    fn nothing_comes_from_elsewhere_and_no_licence_demands_its_own() {
        let configuration = configuration();
        let sources = &configuration["sources"];
        for key in ["unknown-registry", "unknown-git"] {
            assert_eq!(sources[key].as_str(), Some("deny"), "{key}");
        }
        assert_eq!(strings(&sources["allow-registry"]).len(), 1);
        for licence in strings(&configuration["licenses"]["allow"]) {
            assert!(!licence.contains("GPL") && !licence.starts_with("MPL"), "{licence}");
        }
        assert_eq!(configuration["advisories"]["yanked"].as_str(), Some("deny"));
    }

    #[test]
    fn a_skip_fails_only_where_that_is_asked_for() {
        assert!(verdict_of_skip("no network", false).is_ok());
        assert_eq!(verdict_of_skip("no network", true).unwrap_err().exit_code(), 1);
    }
}
