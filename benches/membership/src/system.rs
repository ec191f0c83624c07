//! The systems: how their processes are started, and what their lines say.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::Command;

use clap::{Args, ValueEnum};

use crate::error::Error;
use crate::namespace::Namespace;

/// A system with one way to run it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// `rdbnet node` in plain text with default settings.
    Ours,
    /// The same with TLS and sealed gossip.
    OursTls,
    /// The example of `rdb-net-membership`: a member and nothing else.
    Alone,
    /// `serf agent` with its settings for a local network, which are its default.
    Serf,
    /// A plain program around foca, set up for a local network of this size.
    Foca,
}

/// What a line tells of a node, by its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Told {
    Up(usize),
    Down(usize),
}

impl Kind {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::OursTls => "ours, TLS and sealed",
            Self::Alone => "ours, membership alone",
            Self::Serf => "Serf",
            Self::Foca => "foca",
        }
    }

    const fn label(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::OursTls => "tls",
            Self::Alone => "alone",
            Self::Serf => "serf",
            Self::Foca => "foca",
        }
    }

    pub(crate) const fn is_ours(self) -> bool {
        matches!(self, Self::Ours | Self::OursTls | Self::Alone)
    }

    /// What a line of a process's log says of another node.
    pub(crate) fn parse(self, line: &str) -> Option<Told> {
        match self {
            Self::Ours | Self::OursTls => {
                let (_, fields) = line.split_once(" membership changed ")?;
                let field = |name: &str| fields.split_once(&format!("{name}=\""))?.1.split('"').next();
                let node = number(field("node")?)?;
                match field("event")? {
                    "NodeJoined" | "NodeRecovered" => Some(Told::Up(node)),
                    "NodeFailed" => Some(Told::Down(node)),
                    _ => None,
                }
            }
            Self::Alone => {
                let (who, what) = line.split_once(' ')?;
                let node = number(who)?;
                match what {
                    "failed" => Some(Told::Down(node)),
                    "is back" => Some(Told::Up(node)),
                    joined => joined.starts_with("joined, at ").then_some(Told::Up(node)),
                }
            }
            Self::Serf => {
                let (_, event) = line.split_once("serf: Event")?;
                let (what, rest) = event.split_once(": ")?;
                let node = number(rest.split(' ').next()?)?;
                match what {
                    "MemberJoin" => Some(Told::Up(node)),
                    "MemberFailed" => Some(Told::Down(node)),
                    _ => None,
                }
            }
            Self::Foca => {
                let (what, address) = line.split_once(' ')?;
                let address: SocketAddr = address.parse().ok()?;
                let node = number_of(address)?;
                match what {
                    "up" => Some(Told::Up(node)),
                    "down" => Some(Told::Down(node)),
                    _ => None,
                }
            }
        }
    }
}

/// `n7` is number 6.
fn number(id: &str) -> Option<usize> {
    id.strip_prefix('n')?.parse::<usize>().ok()?.checked_sub(1)
}

fn id(index: usize) -> String {
    format!("n{}", index + 1)
}

/// Each node has a loopback address of its own.
fn address(index: usize) -> Ipv4Addr {
    let [high, low] = u16::try_from(index + 1).unwrap_or(u16::MAX).to_be_bytes();
    Ipv4Addr::new(127, 1, high, low)
}

fn number_of(address: SocketAddr) -> Option<usize> {
    let SocketAddr::V4(v4) = address else { return None };
    let [_, _, high, low] = v4.ip().octets();
    usize::from(u16::from_be_bytes([high, low])).checked_sub(1)
}

/// Programs that are built beforehand.
#[derive(Debug, Args)]
pub(crate) struct Programs {
    /// The program `rdbnet`.
    #[arg(long, env = "RDB_NET_NODE_BIN")]
    pub(crate) rdbnet: Option<PathBuf>,
    /// The example `members` of `rdb-net-membership`.
    #[arg(long, env = "RDB_NET_MEMBERS_BIN")]
    pub(crate) members: Option<PathBuf>,
}

/// A system that can run here.
#[derive(Debug)]
pub(crate) struct Launcher {
    pub(crate) kind: Kind,
    program: PathBuf,
    folder: tempfile::TempDir,
}

impl Launcher {
    /// Looks for its program. What is missing is told.
    pub(crate) fn find(kind: Kind, programs: &Programs) -> Result<Self, String> {
        let program = match kind {
            Kind::Ours | Kind::OursTls => {
                programs.rdbnet.clone().ok_or("rdbnet is not named: --rdbnet, or RDB_NET_NODE_BIN")?
            }
            Kind::Alone => programs.members.clone().ok_or("members is not named: --members, or RDB_NET_MEMBERS_BIN")?,
            Kind::Serf => find_in_path("serf").ok_or("serf is not installed (Debian: serf)")?,
            Kind::Foca => std::env::current_exe().map_err(|error| error.to_string())?,
        };
        let program = program.canonicalize().map_err(|error| format!("{}: {error}", program.display()))?;
        let folder = tempfile::Builder::new().prefix("rdbnet-bench-").tempdir().map_err(|error| error.to_string())?;
        Ok(Self { kind, program, folder })
    }

    pub(crate) fn namespace(&self) -> Result<Namespace, Error> {
        Namespace::new(self.kind.label())
    }

    /// Makes what processes need before the first of them starts.
    pub(crate) fn prepare(&self, nodes: usize) -> Result<(), Error> {
        if self.kind != Kind::OursTls {
            return Ok(());
        }
        let ids: Vec<String> = (0..nodes).map(id).collect();
        self.pki("init", &[])?;
        self.pki("issue", &ids)
    }

    fn pki(&self, verb: &str, arguments: &[String]) -> Result<(), Error> {
        let mut command = Command::new(&self.program);
        command.args(["pki", verb, "--dir"]).arg(self.folder.path().join("pki")).args(arguments);
        let output = command.output().map_err(Error::io("rdbnet pki"))?;
        if output.status.success() {
            return Ok(());
        }
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        Err(Error::Tool { command: format!("rdbnet pki {verb}"), told })
    }

    /// The process of a node.
    pub(crate) fn command(&self, namespace: &Namespace, index: usize, nodes: usize) -> Result<Command, Error> {
        let mut command = namespace.command(&self.program);
        let (own, seed, id) = (address(index), address(0), id(index));
        match self.kind {
            Kind::Ours | Kind::OursTls => {
                let file = self.folder.path().join(format!("{id}.toml"));
                fs::write(&file, self.configuration(index)).map_err(Error::io(file.display().to_string()))?;
                command
                    .args(["node", "--output", "json", "--config"])
                    .arg(file)
                    .env("RUST_LOG", "info")
                    .env("NO_COLOR", "1");
            }
            Kind::Alone => {
                command.arg(id).arg(format!("{own}:7946"));
                if index > 0 {
                    command.arg(format!("{seed}:7946"));
                }
            }
            Kind::Serf => {
                command.arg("agent").arg(format!("-node={id}")).arg(format!("-bind={own}:7946"));
                command.arg(format!("-rpc-addr={own}:7373")).args(["-log-level=info"]);
                if index > 0 {
                    command.args([format!("-retry-join={seed}:7946"), "-retry-interval=1s".to_owned()]);
                }
            }
            Kind::Foca => {
                command.arg("foca").arg(format!("{own}:7946")).arg(format!("{seed}:7946")).arg(nodes.to_string());
            }
        }
        Ok(command)
    }

    fn configuration(&self, index: usize) -> String {
        let (own, seed, id) = (address(index), address(0), id(index));
        let issued = self.folder.path().join("pki/issued").join(format!("node-{id}"));
        let tls = match self.kind {
            Kind::OursTls => format!(
                "\n[networking.tls]\nenabled = true\ncert_path = \"{0}/cert.pem\"\nkey_path = \"{0}/key.pem\"\n\
                 ca_cert_path = \"{0}/ca.pem\"\n",
                issued.display()
            ),
            _ => String::new(),
        };
        format!(
            "[networking]\nnode_id = \"{id}\"\nbind_address = \"{own}:7000\"\n\n[networking.service_discovery]\n\
             seeds = [\"{seed}:7000\"]\n\n[networking.admin]\nbind_address = \"{own}:7002\"\n{tls}"
        )
    }
}

fn find_in_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_each_system_are_read() {
        let ours = "2026-11-22T23:15:33.500000Z  INFO rdb_net_manager::pump: membership changed node=\"n2\" state=\"failed\" \
                    address=127.1.0.2:7000 event=\"NodeFailed\"";
        assert_eq!(Kind::Ours.parse(ours), Some(Told::Down(1)));
        let serf = "2026/11/27 04:40:00 [INFO] serf: EventMemberJoin: n50 127.1.0.50";
        assert_eq!(Kind::Serf.parse(serf), Some(Told::Up(49)));
        assert_eq!(
            Kind::Serf.parse("    2026/11/27 04:40:00 [INFO] serf: EventMemberFailed: n1 127.1.0.1"),
            Some(Told::Down(0))
        );
        assert_eq!(Kind::Alone.parse("n3 joined, at 127.1.0.3:7946"), Some(Told::Up(2)));
        assert_eq!(Kind::Alone.parse("n3 failed"), Some(Told::Down(2)));
        assert_eq!(Kind::Alone.parse("n3 is back"), Some(Told::Up(2)));
        assert_eq!(Kind::Foca.parse("down 127.1.0.7:7946"), Some(Told::Down(6)));
        for (kind, line) in [
            (Kind::Ours, ""),
            (Kind::Alone, "n3 listens on 127.1.0.3:7946"),
            (Kind::Alone, "n3 left"),
            (Kind::Serf, "[INFO] agent: joining"),
            (Kind::Foca, "up nobody"),
        ] {
            assert_eq!(kind.parse(line), None, "{line}");
        }
    }

    #[test]
    fn every_node_has_an_address_of_its_own() {
        for index in [0, 49, 254, 255, 299] {
            assert_eq!(number_of(SocketAddr::from((address(index), 7946))), Some(index));
        }
    }
}
