//! bind9 with one zone that is changed by updates (RFC 2136) alone.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command, Stdio};

use rdb_discovery_driver::conformance::{PATIENCE, found};

use crate::support::{comes_true, dig, free_at};

/// The name server of the zone `test.`.
pub(crate) struct Bind {
    _folder: tempfile::TempDir,
    pub(crate) address: SocketAddr,
    process: Child,
}

impl Bind {
    /// A server that answers, whose negative answers may be kept for so many seconds; `None`, with the reason told, where there is
    /// none.
    pub(crate) fn start(negative_s: u32, records: &str) -> Option<Self> {
        if !found(&[("named", "bind9"), ("dig", "bind9-dnsutils"), ("nsupdate", "bind9-dnsutils")]) {
            return None;
        }
        // It listens at addresses that interfaces have, and of 127.0.0.0/8 that is one, which everybody uses: its port may be taken
        // before it is there.
        let served = (0..3).find_map(|_| {
            let server = Self::launch(free_at(Ipv4Addr::LOCALHOST), negative_s, records);
            let is_served = || !dig(server.address, "test.", "SOA").is_empty();
            comes_true(PATIENCE / 3, is_served).then_some(server)
        });
        Some(served.expect("bind9 serves its zone"))
    }

    fn launch(address: SocketAddr, negative_s: u32, records: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let (root, ip, port) = (folder.path().display(), address.ip(), address.port());
        let settings = format!(
            "options {{ directory \"{root}\"; pid-file none; session-keyfile none; listen-on port {port} {{ {ip}; }}; \
             listen-on-v6 {{ none; }}; recursion no; dnssec-validation no; notify no; }};\ncontrols {{ }};\n\
             zone \"test\" {{ type primary; file \"zone\"; allow-update {{ 127.0.0.0/8; }}; }};\n"
        );
        let zone = format!(
            "$ORIGIN test.\n$TTL 1\n@ {negative_s} SOA ns hostmaster 1 3600 600 86400 {negative_s}\n@ NS ns\n\
             ns A 127.0.0.1\n{records}"
        );
        std::fs::write(folder.path().join("conf"), settings).expect("written");
        std::fs::write(folder.path().join("zone"), zone).expect("written");
        // A copy, because Debian's profile of AppArmor lets the program at its own path read nothing here; by another process, because
        // one that is written to cannot be started, and what other tests start meanwhile would hold it open.
        let copy = folder.path().join("named");
        let copied = Command::new("sh").args(["-c", "cp \"$(command -v named)\" \"$0\""]).arg(&copy).status();
        assert!(copied.is_ok_and(|status| status.success()), "named is copied");
        let mut command = Command::new(copy);
        command.args(["-f", "-n", "1", "-c"]).arg(folder.path().join("conf"));
        let process = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("named starts");
        Self { _folder: folder, address, process }
    }
}

impl Drop for Bind {
    fn drop(&mut self) {
        self.process.kill().expect("it is ours");
        self.process.wait().expect("it is ours");
    }
}
