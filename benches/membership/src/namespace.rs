//! A network of its own for one system: loopback, with counters of what is sent on it.

use std::process::Command;

use crate::error::Error;

/// A network namespace, which goes with this.
#[derive(Debug)]
pub(crate) struct Namespace(String);

/// What was sent: packets and bytes with the IP header, by protocol. On loopback all that is sent is received.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Sent {
    pub(crate) udp_packets: u64,
    pub(crate) udp_bytes: u64,
    pub(crate) tcp_packets: u64,
    pub(crate) tcp_bytes: u64,
}

impl Sent {
    pub(crate) fn since(self, earlier: Self) -> Self {
        Self {
            udp_packets: self.udp_packets - earlier.udp_packets,
            udp_bytes: self.udp_bytes - earlier.udp_bytes,
            tcp_packets: self.tcp_packets - earlier.tcp_packets,
            tcp_bytes: self.tcp_bytes - earlier.tcp_bytes,
        }
    }
}

impl Namespace {
    pub(crate) fn new(name: &str) -> Result<Self, Error> {
        let name = format!("rdbnet-bench-{name}-{}", std::process::id());
        run("ip", &["netns", "add", &name])?;
        let namespace = Self(name);
        namespace.run(&["ip", "link", "set", "lo", "up"])?;
        let rules = "table inet sent { counter udp_out { }; counter tcp_out { }; chain out { type filter hook output priority 0; \
                     meta l4proto udp counter name udp_out; meta l4proto tcp counter name tcp_out; }; }";
        namespace.run(&["nft", rules])?;
        Ok(namespace)
    }

    /// A program inside.
    pub(crate) fn command(&self, program: &std::path::Path) -> Command {
        let mut command = Command::new("ip");
        // It becomes the program: the process is the node itself.
        command.args(["netns", "exec", &self.0]).arg(program);
        command
    }

    pub(crate) fn sent(&self) -> Result<Sent, Error> {
        let listed = self.run(&["nft", "list", "counters", "table", "inet", "sent"])?;
        let of = |name: &str| {
            let (_, rest) = listed.split_once(&format!("counter {name} {{")).unwrap_or_default();
            let mut numbers = rest.split_whitespace().filter_map(|word| word.parse::<u64>().ok());
            (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default())
        };
        let ((udp_packets, udp_bytes), (tcp_packets, tcp_bytes)) = (of("udp_out"), of("tcp_out"));
        Ok(Sent { udp_packets, udp_bytes, tcp_packets, tcp_bytes })
    }

    fn run(&self, command: &[&str]) -> Result<String, Error> {
        run("ip", &[&["netns", "exec", &self.0], command].concat())
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // What is left of it would only be a name.
        let _removed = run("ip", &["netns", "delete", &self.0]);
    }
}

fn run(program: &str, arguments: &[&str]) -> Result<String, Error> {
    let output = Command::new(program).args(arguments).output().map_err(Error::io(program))?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => {
            let told = String::from_utf8_lossy(&output.stderr).into_owned();
            Err(Error::Tool { command: format!("{program} {}", arguments.join(" ")), told })
        }
    }
}
