//! The servers and tools that some tests need, installed from Debian's packages where this process may do that.
//!
//! Where it may not, the tests that need them say so and are counted as skipped.

use std::process::{Command, Stdio};

use crate::process;

/// Set to anything, nothing is installed.
const OPT_OUT: &str = "RDB_TESTS_INSTALL_NOTHING";

/// A program, or a file by its path, and Debian's package with it.
struct Tool {
    program: &'static str,
    package: &'static str,
}

const TOOLS: &[Tool] = &[
    Tool { program: "etcd", package: "etcd-server" },
    Tool { program: "etcdctl", package: "etcd-client" },
    Tool { program: "knotd", package: "knot" },
    Tool { program: "knotc", package: "knot" },
    Tool { program: "named", package: "bind9" },
    Tool { program: "dnsmasq", package: "dnsmasq-base" },
    Tool { program: "dig", package: "bind9-dnsutils" },
    Tool { program: "nsupdate", package: "bind9-dnsutils" },
    // With these, the client library of Consul is built.
    Tool { program: "pkg-config", package: "pkg-config" },
    Tool { program: "/usr/include/openssl/ssl.h", package: "libssl-dev" },
];

/// With these, networks are made that cut, lose and translate.
const NETWORKS: &[Tool] = &[Tool { program: "nft", package: "nftables" }, Tool { program: "ip", package: "iproute2" }];

/// Installs what is missing, if this is the root user of a system with apt. Whatever comes of it, the tests run.
pub(crate) fn provide() {
    install(TOOLS);
    provide_networks();
}

/// The same of what makes networks, for the benches that lose packets in one.
pub(crate) fn provide_networks() {
    install(NETWORKS);
}

/// Why Consul's part cannot be built here: its client library wants OpenSSL's headers, and asks pkg-config, or a variable, where they
/// are.
pub(crate) fn lack_of_consul() -> Option<String> {
    let is_named = std::env::vars_os().any(|(name, _)| name.to_string_lossy().ends_with("OPENSSL_DIR"));
    let is_found = || {
        let asked = Command::new("pkg-config").args(["--exists", "openssl"]).stderr(Stdio::null()).status();
        asked.is_ok_and(|status| status.success())
    };
    // On other systems it looks elsewhere too.
    let is_built = !cfg!(target_os = "linux") || is_named || is_found();
    (!is_built).then(|| {
        String::from("Consul's client library cannot be built without OpenSSL's headers: Debian has them in libssl-dev, and pkg-config")
    })
}

/// The same of an agent that the benches race against.
pub(crate) fn provide_serf() {
    install(&[Tool { program: "serf", package: "serf" }]);
}

fn install(tools: &[Tool]) {
    let missing = packages(tools, is_there);
    if missing.is_empty() {
        return;
    }
    let names = missing.join(" ");
    if let Some(reason) = why_not(std::env::var_os(OPT_OUT).is_some(), is_root(), is_there("apt-get")) {
        println!("not installed, so that what needs it is skipped: {names}: {reason}");
        return;
    }
    // The lists of a fresh machine are empty or old; a failure of their update is one of the installation at worst.
    let _ = process::run(&mut apt(&["update", "-qq"]));
    let install = [["install", "-y", "-qq", "--no-install-recommends"].as_slice(), &missing].concat();
    if let Err(failure) = process::run(&mut apt(&install)) {
        println!("not installed, so that what needs it is skipped: {names}: {failure}");
    }
}

fn apt(arguments: &[&str]) -> Command {
    let mut command = Command::new("apt-get");
    command.env("DEBIAN_FRONTEND", "noninteractive").args(arguments).stdin(Stdio::null()).stdout(Stdio::null());
    command
}

/// The packages of programs that are not there, each once.
fn packages(tools: &[Tool], is_there: impl Fn(&str) -> bool) -> Vec<&'static str> {
    let mut missing: Vec<_> = tools.iter().filter(|tool| !is_there(tool.program)).map(|tool| tool.package).collect();
    missing.dedup();
    missing
}

/// Why nothing is installed here.
fn why_not(opted_out: bool, root: bool, apt: bool) -> Option<&'static str> {
    match (opted_out, root, apt) {
        (true, _, _) => Some("RDB_TESTS_INSTALL_NOTHING is set"),
        (_, false, _) => Some("only root may install packages"),
        (_, _, false) => Some("there is no apt-get"),
        _ => None,
    }
}

/// Whether a folder of the path has this program. What is a path itself is no matter of folders.
fn is_there(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

fn is_root() -> bool {
    let output = Command::new("id").arg("-u").output();
    output.is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_missing_is_wanted() {
        assert_eq!(packages(TOOLS, |_| true), [""; 0]);
        assert_eq!(packages(TOOLS, |program| program != "etcdctl"), ["etcd-client"]);
        assert_eq!(
            packages(TOOLS, |program| !program.starts_with("knot")),
            ["knot"],
            "once, although two programs are missing"
        );
        assert!(packages(TOOLS, |_| false).contains(&"etcd-server"));
    }

    #[test]
    fn nothing_is_installed_without_leave() {
        assert_eq!(why_not(false, true, true), None);
        assert_eq!(why_not(false, false, true), Some("only root may install packages"));
        assert_eq!(why_not(false, true, false), Some("there is no apt-get"));
        assert_eq!(why_not(true, true, true), Some("RDB_TESTS_INSTALL_NOTHING is set"));
    }

    #[test]
    fn a_program_is_looked_for_in_the_path() {
        assert!(is_there("sh") && !is_there("no-such-program-as-this"));
        assert!(is_there("/etc/passwd") && !is_there("/etc/no-such-file"));
    }
}
