//! `cargo xtask bench`: the programs of the benches, built in release mode.
//!
//! A name is either a binary of `rdb-net-benches` (`race`), one of its bench targets (`micro`), or `membership`, which is a package of
//! its own: it needs nothing of the others, which take long to build.

use crate::failure::Failure;
use crate::house::{House, ProductKind};
use crate::process;
use crate::test::{self, servers};

const PACKAGE: &str = "rdb-net-benches";
const RACE: &str = "race";
const MEMBERSHIP: &str = "membership";
const MEMBERSHIP_PACKAGE: &str = "rdb-net-membership-benches";

/// Runs the program named first, or the race when none is named.
pub(crate) fn run(house: &House, arguments: &[String]) -> Result<(), Failure> {
    let (name, rest) = split(arguments);
    if name == MEMBERSHIP {
        return run_membership(house, rest);
    }
    let launch = launch(house, name)?;
    if name == RACE {
        if rest.iter().any(|argument| argument.starts_with("--loss")) {
            servers::provide_networks();
        }
        // The race also runs the binary that counts allocations, which lies beside it.
        process::run(&mut process::cargo(house, &["build", "--release", "-p", PACKAGE, "--bins"]))?;
    }
    process::run(process::cargo(house, &launch).args(rest))
}

/// Names the example that is a member and nothing else, built beforehand.
const MEMBERS_BINARY: &str = "RDB_NET_MEMBERS_BIN";

/// Clusters beside clusters: it starts `rdbnet`, a member alone and, where that is or can be installed, Serf.
fn run_membership(house: &House, rest: &[String]) -> Result<(), Failure> {
    servers::provide_serf();
    let node = test::build_node(house, &["--release"])?;
    let members = test::build_example(house, "rdb-net-membership", "members")?;
    let arguments = ["run", "--release", "-p", MEMBERSHIP_PACKAGE, "--"];
    let mut command = process::cargo(house, &arguments);
    process::run(command.env(test::NODE_BINARY, node).env(MEMBERS_BINARY, members).args(rest))
}

/// The program's name and its arguments; arguments alone are for the race.
fn split(arguments: &[String]) -> (&str, &[String]) {
    match arguments.split_first() {
        Some((name, rest)) if !name.starts_with('-') => (name, rest),
        _ => (RACE, arguments),
    }
}

/// The cargo command that starts the program `name`.
fn launch<'a>(house: &House, name: &'a str) -> Result<Vec<&'a str>, Failure> {
    let targets = house.member(PACKAGE).map(|member| member.targets.as_slice()).unwrap_or_default();
    match targets.iter().find(|target| target.name == name).map(|target| target.kind) {
        Some(ProductKind::Binary) => Ok(vec!["run", "--release", "-p", PACKAGE, "--bin", name, "--"]),
        Some(ProductKind::Bench) => Ok(vec!["bench", "-p", PACKAGE, "--bench", name, "--"]),
        _ => {
            let runnable = |kind| matches!(kind, ProductKind::Binary | ProductKind::Bench);
            let names = targets.iter().filter(|target| runnable(target.kind)).map(|target| target.name.as_str());
            let names: Vec<&str> = names.chain([MEMBERSHIP]).collect();
            Err(Failure::Usage(format!("{PACKAGE} has no program `{name}`; it has: [{}]", names.join(", "))))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::house::{Member, Target};

    fn words(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    fn house() -> House {
        let mut benches = Member::library(PACKAGE, 0, &[]);
        benches.targets.push(Target { name: "race".into(), kind: ProductKind::Binary });
        benches.targets.push(Target { name: "micro".into(), kind: ProductKind::Bench });
        House { members: vec![benches], ..House::default() }
    }

    #[test]
    fn the_race_is_run_when_no_name_is_given() {
        assert_eq!(split(&words("--peers tonic")), ("race", words("--peers tonic").as_slice()));
        assert_eq!(split(&words("")), ("race", [].as_slice()));
        assert_eq!(split(&words("micro codec")), ("micro", words("codec").as_slice()));
    }

    #[test]
    fn a_binary_is_run_and_a_bench_target_is_benched() {
        let race = launch(&house(), "race").unwrap();
        assert_eq!(race, ["run", "--release", "-p", PACKAGE, "--bin", "race", "--"]);
        let micro = launch(&house(), "micro").unwrap();
        assert_eq!(micro, ["bench", "-p", PACKAGE, "--bench", "micro", "--"]);
    }

    #[test]
    fn an_unknown_name_is_refused_with_the_names_there_are() {
        let refusal = launch(&house(), "rcae").unwrap_err();
        assert_eq!(refusal.to_string(), "rdb-net-benches has no program `rcae`; it has: [race, micro, membership]");
        assert_eq!(refusal.exit_code(), 2);
    }
}
