//! `cargo xtask features`: what you do not use you do not compile.
//!
//! Each profile of the manager is built as its user would build it, and the crates that it promises to leave out must not
//! be in its dependency tree. Then every library is built by itself, because in a workspace build the features of one
//! crate lend missing ones to another; the pure ones must not reach a runtime with all their features on, and the others bring no
//! command line along.

use std::collections::BTreeSet;

use crate::failure::Failure;
use crate::house::{House, Member};
use crate::layers::RUNTIME;
use crate::process;

const MANAGER: &str = "rdb-net-manager";

/// What programs are made with, so that no library brings it along.
const OF_PROGRAMS: &[&str] = &["clap"];

/// A way in which the manager is used.
pub(crate) struct Profile {
    pub(crate) name: &'static str,
    /// The flags of cargo that select it.
    flags: &'static [&'static str],
    /// The crates that must not be compiled in it.
    forbidden: &'static [&'static str],
}

/// What users of the manager compile.
pub(crate) const PROFILES: &[Profile] = &[
    Profile {
        name: "core",
        flags: &["--no-default-features"],
        forbidden: &["rdb-net-tcp", "rustls", "aws-lc-rs", "ring", "quinn-proto", "hyper", "tonic", "axum"],
    },
    Profile {
        name: "embedded",
        flags: &["--no-default-features", "--features", "tcp,discovery-static"],
        forbidden: &["rustls", "aws-lc-rs", "ring", "quinn-proto", "hyper", "tonic"],
    },
    Profile {
        name: "quic-only",
        flags: &["--no-default-features", "--features", "quic,discovery-static"],
        forbidden: &["rdb-net-tcp", "ring", "hyper", "tonic"],
    },
    Profile {
        name: "dns",
        flags: &["--no-default-features", "--features", "tcp,dns"],
        forbidden: &["etcd-client", "tonic", "hyper", "notify", "ring", "quinn-proto"],
    },
    Profile {
        name: "etcd",
        flags: &["--no-default-features", "--features", "tcp,etcd"],
        forbidden: &["hickory-resolver", "notify", "ring", "quinn-proto"],
    },
    Profile {
        name: "consul",
        flags: &["--no-default-features", "--features", "tcp,consul"],
        forbidden: &["hickory-resolver", "etcd-client", "tonic", "notify", "quinn-proto"],
    },
    Profile {
        name: "default",
        flags: &[],
        forbidden: &[
            "ring",
            "quinn-proto",
            "hyper",
            "tonic",
            "hickory-resolver",
            "etcd-client",
            "consulrs",
            "async-graphql",
        ],
    },
];

/// Checks every profile and every library, or the one that is asked for; all of them, whatever happened to the one before.
pub(crate) fn run(house: &House, arguments: &[String]) -> Result<(), Failure> {
    let builds = chosen(house, arguments)?;
    let mut findings: Vec<String> = builds.iter().filter_map(|build| verify(house, build)).collect();
    if house.member(MANAGER).is_none() {
        findings.push(format!("{MANAGER} is not in the workspace: none of its profiles could be checked"));
    }
    println!("{} builds", builds.len());
    Failure::unless_empty("features", &findings)
}

/// One package with one set of features.
#[derive(Debug, PartialEq, Eq)]
struct Build<'a> {
    name: String,
    package: &'a str,
    /// The profile that it is, if it is one.
    profile: Option<&'a str>,
    flags: &'a [&'a str],
    forbidden: &'a [&'a str],
    /// Whether it is compiled, or only its dependency tree is looked at.
    compiled: bool,
}

/// The builds that the command line asks for.
fn chosen<'a>(house: &'a House, arguments: &[String]) -> Result<Vec<Build<'a>>, Failure> {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let builds = plan(house).into_iter();
    match arguments.as_slice() {
        [] => Ok(builds.collect()),
        ["--profile", name] if PROFILES.iter().any(|profile| profile.name == *name) => {
            Ok(builds.filter(|build| build.profile == Some(name)).collect())
        }
        // What is no library has no builds: it has nothing to lend or to miss.
        ["--crate", name] if house.member(name).is_some() => {
            Ok(builds.filter(|build| build.profile.is_none() && build.package == *name).collect())
        }
        _ => Err(Failure::Usage(format!(
            "`features` takes --profile NAME, --crate NAME, or nothing; it was given `{}`",
            arguments.join(" ")
        ))),
    }
}

/// Everything to be checked, profiles first.
fn plan(house: &House) -> Vec<Build<'_>> {
    let profiles = house.member(MANAGER).into_iter().flat_map(|manager| {
        PROFILES.iter().map(|profile| Build {
            name: format!("profile {}", profile.name),
            package: &manager.name,
            profile: Some(profile.name),
            flags: profile.flags,
            forbidden: profile.forbidden,
            compiled: true,
        })
    });
    let libraries = house.inside().filter(|member| member.has_library()).flat_map(alone);
    profiles.chain(libraries).collect()
}

/// The builds of one library by itself: bare, with what is on by default, and the tree of a pure one with everything on.
fn alone(member: &Member) -> Vec<Build<'_>> {
    let forbidden = if member.is_pure() { RUNTIME } else { OF_PROGRAMS };
    let build = |features: &str, flags, compiled| Build {
        name: format!("{} with {features}", member.name),
        package: &member.name,
        profile: None,
        flags,
        forbidden,
        compiled,
    };
    let mut builds = vec![build("no features", &["--no-default-features"], true)];
    if member.has_default_features {
        builds.push(build("default features", &[], true));
    }
    if member.is_pure() {
        builds.push(build("all features", &["--all-features"], false));
    }
    builds
}

/// Compiles a build and looks for forbidden crates in its tree; what is wrong with it, if anything.
fn verify(house: &House, build: &Build<'_>) -> Option<String> {
    let cargo =
        |subcommand: &[&str]| process::cargo(house, &[subcommand, &["-p", build.package], build.flags].concat());
    if build.compiled
        && let Err(failure) = process::run(&mut cargo(&["check", "--quiet"]))
    {
        return Some(format!("{}: {failure}", build.name));
    }
    if build.forbidden.is_empty() {
        return None;
    }
    let tree = match process::capture(&mut cargo(&["tree", "--edges", "normal", "--prefix", "none"])) {
        Ok(tree) => tree,
        Err(failure) => return Some(format!("{}: {failure}", build.name)),
    };
    let found = present(&String::from_utf8_lossy(&tree), build.forbidden);
    if found.is_empty() { None } else { Some(format!("{}: compiles {}", build.name, found.join(", "))) }
}

/// The forbidden crates that occur in the output of `cargo tree --prefix none`, which has one `name vVERSION` a line.
fn present<'a>(tree: &str, forbidden: &[&'a str]) -> Vec<&'a str> {
    let packages: BTreeSet<&str> = tree.lines().filter_map(|line| line.split_whitespace().next()).collect();
    forbidden.iter().copied().filter(|name| packages.contains(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::house::Place;

    fn names<'a>(builds: &'a [Build<'a>]) -> Vec<&'a str> {
        builds.iter().map(|build| build.name.as_str()).collect()
    }

    #[test]
    fn a_forbidden_crate_is_found_by_its_whole_name() {
        let tree = "rdb-net-manager v0.1.0 (/src/manager)\nhyper-util v0.1.21\nquinn v0.11.9\n  \nrustls v0.23.1 (*)\n";
        assert_eq!(present(tree, &["rustls", "quinn", "hyper", "tonic"]), ["rustls", "quinn"]);
        assert_eq!(present("rdb-net-manager v0.1.0\n", &["rustls"]), [""; 0]);
    }

    #[test]
    fn every_profile_and_every_library_is_planned() {
        let mut tls = Member::library("rdb-net-tls", 5, &[]);
        tls.has_default_features = true;
        let mut node = Member::library("rdb-net-node", 9, &[]);
        node.targets.clear();
        let mut benches = Member::library("rdb-net-benches", 0, &[]);
        benches.place = Place::Outside;
        let members = vec![benches, Member::library(MANAGER, 7, &[]), node, tls];
        let house = House { members, ..House::default() };
        assert_eq!(
            names(&plan(&house)),
            [
                "profile core",
                "profile embedded",
                "profile quic-only",
                "profile dns",
                "profile etcd",
                "profile consul",
                "profile default",
                "rdb-net-manager with no features",
                "rdb-net-tls with no features",
                "rdb-net-tls with default features",
            ]
        );
    }

    #[test]
    fn one_profile_or_one_crate_is_checked_alone() {
        let mut node = Member::library("rdb-net-node", 9, &[]);
        node.targets.clear();
        let house = House { members: vec![Member::library(MANAGER, 7, &[]), node], ..House::default() };
        let chosen = |line: &str| {
            let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
            chosen(&house, &words).map(|builds| builds.into_iter().map(|build| build.name).collect::<Vec<_>>())
        };
        assert_eq!(chosen("--profile embedded").unwrap(), ["profile embedded"]);
        assert_eq!(chosen("--crate rdb-net-manager").unwrap(), ["rdb-net-manager with no features"]);
        assert_eq!(chosen("--crate rdb-net-node").unwrap(), [""; 0]);
        for wrong in ["--profile vast", "--crate rdb-chi", "embedded", "--profile"] {
            assert_eq!(chosen(wrong).unwrap_err().exit_code(), 2, "{wrong}");
        }
    }

    #[test]
    fn a_pure_library_may_reach_no_runtime_with_any_of_its_features() {
        let phi = Member::library("rdb-phi", 1, &[]);
        let builds = alone(&phi);
        assert_eq!(names(&builds), ["rdb-phi with no features", "rdb-phi with all features"]);
        assert!(builds.iter().all(|build| build.forbidden == RUNTIME));
        assert_eq!(builds[1].flags, ["--all-features"]);
    }

    #[test]
    fn a_profile_takes_what_it_forbids_from_the_table() {
        for profile in PROFILES {
            assert!(!profile.forbidden.is_empty(), "{} promises nothing", profile.name);
        }
    }
}
