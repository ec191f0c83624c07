//! A client of QUIC whose address changes, as behind a NAT that has forgotten it: in a network of its own, where the kernel's NAT
//! gives its packets another port.

use std::io;
use std::process::Command;
use std::time::Duration;

use rdb_net_quic::{QuicBackend, QuicConfig};
use rdb_net_tests::{Certificates, inside, skip};
use rdb_net_transport::{Backend, Connection};
use rdb_net_types::{NodeAddress, NodeId};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// A network with nothing but a NAT.
struct Nat(String);

impl Nat {
    fn new(name: &str) -> Result<Self, String> {
        let nat = Self(format!("rdbnet-{name}-{}", std::process::id()));
        run("ip", &["netns", "add", &nat.0])?;
        run("ip", &["-n", &nat.0, "link", "set", "lo", "up"])?;
        nat.give_ports("41000-41499")?;
        // It forgets who has not been heard of for a second.
        for time in ["nf_conntrack_udp_timeout", "nf_conntrack_udp_timeout_stream"] {
            nat.run(&["sysctl", "-q", "-w", &format!("net.netfilter.{time}=1")])?;
        }
        Ok(nat)
    }

    /// Whoever is new to it gets one of these ports.
    fn give_ports(&self, ports: &str) -> Result<(), String> {
        let rules = format!(
            "table ip moves; delete table ip moves; table ip moves {{ chain out {{ type nat hook postrouting priority 100; \
             ip protocol udp udp dport {SERVER} snat to 127.0.0.1:{ports}; }}; }}"
        );
        self.run(&["nft", &rules])
    }

    fn run(&self, command: &[&str]) -> Result<(), String> {
        run("ip", &[&["netns", "exec", &self.0], command].concat())
    }
}

impl Drop for Nat {
    fn drop(&mut self) {
        // What is left of it would only be a name.
        let _removed = run("ip", &["netns", "delete", &self.0]);
    }
}

fn run(program: &str, arguments: &[&str]) -> Result<(), String> {
    let output = Command::new(program).args(arguments).output().map_err(|error| format!("{program}: {error}"))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!("{program} {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr))),
    }
}

const SERVER: u16 = 7000;
const SOON: Duration = Duration::from_secs(10);

/// The ports that the server has seen before and after the move, and whether the connection went on.
struct Seen {
    before: u16,
    after: u16,
    went_on: bool,
}

/// Says something and has it said back.
async fn ask(dialed: &mut Box<dyn Connection>, accepted: &mut Box<dyn Connection>) -> io::Result<()> {
    let (asked, answered) = (vec![7; 20_000], vec![8; 20_000]);
    let (mut question, mut answer) = (vec![0; 20_000], vec![0; 20_000]);
    let ask = async {
        dialed.write_all(&asked).await?;
        dialed.read_exact(&mut answer).await
    };
    let reply = async {
        accepted.read_exact(&mut question).await?;
        accepted.write_all(&answered).await?;
        // What it has written leaves while it waits for more, which does not come.
        accepted.read_u8().await.map(drop)
    };
    tokio::select! {
        asked = ask => asked.map(drop)?,
        replied = reply => replied?,
    }
    assert!(question == asked && answer == answered);
    Ok(())
}

async fn play(nat: &Nat, config: QuicConfig) -> Seen {
    let certificates = Certificates::new();
    let [a, b] = ["a", "b"].map(|name| certificates.of(&NodeId::new(name).expect("legal")));
    let address: NodeAddress = format!("127.0.0.1:{SERVER}").parse().expect("legal");
    let mut listener = QuicBackend::new(config, b).listen(&address).await.expect("nobody else is here");
    let dialer = QuicBackend::new(config, a);
    let dial = async {
        let mut dialed = dialer.dial(&address).await.expect("somebody listens");
        dialed.write_all(b"?").await.expect("written");
        assert_eq!(dialed.read_u8().await.expect("answered"), b'!');
        dialed
    };
    let accept = async {
        let mut accepted = listener.accept().await.expect("a dial").establish().await.expect("of the same CA");
        assert_eq!(accepted.read_u8().await.expect("asked"), b'?');
        accepted.write_all(b"!").await.expect("written");
        accepted
    };
    let both = async { tokio::join!(dial, accept) };
    let (mut dialed, mut accepted) = tokio::time::timeout(SOON, both).await.expect("a connection");
    let before = accepted.remote().port();
    nat.give_ports("42000-42499").expect("as before");
    // Nobody moves a packet meanwhile, so that the NAT forgets the client.
    std::thread::sleep(Duration::from_millis(2500));
    let asked = tokio::time::timeout(SOON, ask(&mut dialed, &mut accepted)).await;
    Seen { before, after: accepted.remote().port(), went_on: matches!(asked, Ok(Ok(()))) }
}

/// What the server sees of a client that moves; nothing where no such network can be made.
fn moves(name: &str, config: QuicConfig) -> Option<Seen> {
    match Nat::new(name) {
        Ok(nat) => Some(inside(&nat.0.clone(), || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(play(&nat, config))
        })),
        Err(reason) => {
            skip(&format!("no network with a NAT: {reason}"));
            None
        }
    }
}

#[test]
fn a_client_whose_nat_gives_it_another_port_goes_on_where_moves_are_allowed() {
    let Some(seen) = moves("moves", QuicConfig { migration: true, ..QuicConfig::default() }) else { return };
    assert!((41_000..41_500).contains(&seen.before), "{}", seen.before);
    assert!(seen.went_on);
    assert!((42_000..42_500).contains(&seen.after), "{}", seen.after);
}

#[test]
fn a_client_whose_nat_gives_it_another_port_is_not_heard_where_moves_are_not_allowed() {
    let config = QuicConfig { idle_timeout: Duration::from_secs(4), ..QuicConfig::default() };
    let Some(seen) = moves("stays", config) else { return };
    assert!((41_000..41_500).contains(&seen.before), "{}", seen.before);
    assert!(!seen.went_on);
    assert_eq!(seen.after, seen.before);
}
