//! How the nodes of the demo prove who they are: a CA of the demo's own and a certificate for each node, or not at all.

#[cfg(feature = "tls")]
use std::net::SocketAddr;
use std::path::Path;

use rdb_net_types::NodeId;

use super::cluster::Cluster;
use super::report::Report;
use crate::cli::DemoTransport;
use crate::exit::Failure;

/// What protects the connections of the demo's nodes.
#[derive(Debug)]
pub(crate) enum Security {
    /// Nothing.
    Plaintext,
    /// TLS, with a certificate for each node.
    #[cfg(feature = "tls")]
    Mutual(mutual::Authority),
}

impl Security {
    /// Prepares it in this folder. A build without TLS has plain text only, and says so.
    pub(crate) fn prepare(is_plaintext: bool, transport: DemoTransport, folder: &Path) -> Result<Self, Failure> {
        if is_plaintext {
            return Ok(Self::Plaintext);
        }
        #[cfg(feature = "tls")]
        return Ok(Self::Mutual(mutual::Authority::make(transport, folder)?));
        #[cfg(not(feature = "tls"))]
        {
            let _ = (transport, folder);
            crate::output::note("this build has no TLS: the nodes talk in plain text");
            Ok(Self::Plaintext)
        }
    }

    /// What a node's configuration says of it.
    pub(crate) fn configuration(&self, node: &NodeId) -> Result<String, Failure> {
        let _ = node;
        match self {
            Self::Plaintext => Ok(String::new()),
            #[cfg(feature = "tls")]
            Self::Mutual(authority) => authority.certify(node),
        }
    }

    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Plaintext => "plaintext",
            #[cfg(feature = "tls")]
            Self::Mutual(_) => "mtls",
        }
    }

    /// Asks every node for its proof, and notes what came.
    pub(crate) async fn check(&self, cluster: &Cluster, report: &mut Report) {
        let _ = (cluster, &report);
        match self {
            Self::Plaintext => {}
            #[cfg(feature = "tls")]
            Self::Mutual(authority) => authority.check(cluster, report).await,
        }
    }
}

#[cfg(feature = "tls")]
mod mutual {
    use std::time::Duration;

    use rdb_net_tls::pki::{Issued, Pki, PkiOptions};
    use rdb_net_tls::{Clock, Expected, Policy, Tls, TlsConfig, TlsOptions, TlsRefusal};
    use rdb_net_types::{ClusterId, Role};
    use tokio::io::AsyncReadExt;
    use tokio::net::TcpStream;
    use tokio::time::{Instant, timeout_at};

    use super::{Cluster, DemoTransport, Failure, NodeId, Path, Report, SocketAddr};
    use crate::demo::directory::CLUSTER;
    use crate::output::note;
    use crate::pki::lines::{Files, lines};

    /// How long a handshake may take.
    const LIMIT: Duration = Duration::from_secs(5);

    /// A CA of the demo's own.
    #[derive(Debug)]
    pub(crate) struct Authority {
        pki: Pki,
        transport: DemoTransport,
        /// Somebody who is no node: it can ask nodes for their proof, and gets no further.
        stranger: Tls,
    }

    impl Authority {
        pub(super) fn make(transport: DemoTransport, folder: &Path) -> Result<Self, Failure> {
            let cluster = ClusterId::new(CLUSTER).map_err(Failure::other)?;
            let pki = Pki::init(&folder.join("pki"), &PkiOptions::new(cluster.clone()), Clock::default());
            let pki = pki.map_err(Failure::other)?;
            let name = NodeId::new("demo").map_err(Failure::other)?;
            let Issued { certificate, key, ca, .. } = pki.issue(&name, Role::Admin, &[]).map_err(Failure::other)?;
            let config = TlsConfig {
                enabled: true,
                cert_path: certificate,
                key_path: key,
                ca_cert_path: Some(ca),
                crl_paths: vec![pki.list_path()],
                ..TlsConfig::default()
            };
            let stranger = Tls::load(config, TlsOptions::new(Policy::new(cluster))).map_err(Failure::other)?;
            Ok(Self { pki, transport, stranger })
        }

        /// A certificate for a node, as its configuration names it.
        pub(super) fn certify(&self, node: &NodeId) -> Result<String, Failure> {
            let Issued { certificate, key, ca, .. } = self.pki.issue(node, Role::Node, &[]).map_err(Failure::other)?;
            let lines = lines(&Files { certificate, key, ca, list: self.pki.list_path() })?;
            match self.transport {
                DemoTransport::Tcp => Ok(lines),
                other => Ok(format!("{lines}\n[networking.transport]\nprotocol = \"{}\"\n", other.name())),
            }
        }

        pub(super) async fn check(&self, cluster: &Cluster, report: &mut Report) {
            let mut problems = Vec::new();
            for place in 0..cluster.nodes().len() {
                let node = cluster.id(place);
                if let Err(problem) = self.ask(node, cluster.transport(place)).await {
                    problems.push(format!("{node}: {problem}"));
                }
            }
            let detail = match problems.is_empty() {
                true => "every node proves its name by its certificate, and lets in nobody who is no node".to_owned(),
                false => problems.join("; "),
            };
            note(&detail);
            report.assert("all nodes speak mTLS", problems.is_empty(), detail);
        }

        /// Connects as somebody who is no node: the node must prove its own name, and then hang up for that reason.
        async fn ask(&self, node: &NodeId, address: SocketAddr) -> Result<(), String> {
            let deadline = Instant::now() + LIMIT;
            #[cfg(feature = "quic")]
            if self.transport == DemoTransport::Quic {
                let asked = timeout_at(deadline, Box::pin(self.ask_over_quic(node, address))).await;
                return asked.unwrap_or_else(|_| Err("it does not answer".to_owned()));
            }
            let asking = async {
                let socket = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
                let expected = Expected::Node(node.clone());
                let dialed = self.stranger.connector().connect(socket, &expected, deadline).await;
                let mut stream = dialed.map_err(|refusal| refusal.to_string())?.stream;
                match stream.read_u8().await.map_err(TlsRefusal::from) {
                    // What it says is that a certificate of this role opens nothing.
                    Err(TlsRefusal::ByPeer { .. }) => Ok(()),
                    Err(other) => Err(format!("it hung up without saying why: {other}")),
                    Ok(_) => Err("it talks to somebody who is no node".to_owned()),
                }
            };
            timeout_at(deadline, asking).await.unwrap_or_else(|_| Err("it does not answer".to_owned()))
        }

        #[cfg(feature = "quic")]
        async fn ask_over_quic(&self, node: &NodeId, address: SocketAddr) -> Result<(), String> {
            use rdb_net_quic::{QuicBackend, QuicConfig};
            use rdb_net_transport::Backend;
            use tokio::io::AsyncWriteExt;

            let backend = QuicBackend::new(QuicConfig::default(), self.stranger.clone());
            // Whether it is refused while it dials or right behind that is a matter of microseconds.
            let mut dialled = match backend.dial(&address.into()).await {
                Ok(dialled) => dialled,
                Err(error) if error.failure.name() == "dial_untrusted" => return Ok(()),
                Err(error) => return Err(error.to_string()),
            };
            let proved = dialled.proof().and_then(|proof| proof.principal.clone());
            if proved.map(|principal| principal.node).as_ref() != Some(node) {
                return Err("it proves another name than its own".to_owned());
            }
            // An end is read as what it is, whatever became of the write.
            let _written = dialled.write_all(b"?").await;
            match dialled.read_u8().await {
                Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => Ok(()),
                Err(other) => Err(format!("it hung up without saying why: {other}")),
                Ok(_) => Err("it talks to somebody who is no node".to_owned()),
            }
        }
    }
}

#[cfg(all(test, feature = "tls"))]
mod tests {
    use rdb_net_manager::config::Loader;

    use super::*;
    use crate::demo::directory::{Directory, configuration, free_ports};

    #[test]
    fn a_node_can_run_with_its_certificate() {
        let directory = Directory::create().expect("a folder");
        let security = Security::prepare(false, DemoTransport::Tcp, directory.path()).expect("a CA");
        let ports = free_ports(1).expect("the kernel has ports");
        let node: NodeId = "n1".parse().expect("legal");
        let tls = security.configuration(&node).expect("a certificate");
        let text = configuration(&node, ports[0], &ports, &tls);
        let config = Loader::new().text("n1.toml", &text).load().expect("legal");
        config.check_runnable().expect("runnable");
        assert!(config.tls.enabled && config.tls.verify_client);
        assert_eq!(security.name(), "mtls");
        assert!(security.configuration(&node).is_err(), "nobody gets two");
    }

    #[cfg(feature = "quic")]
    #[test]
    fn a_node_can_run_over_quic_with_its_certificate() {
        let directory = Directory::create().expect("a folder");
        for (name, transport) in [("n1", DemoTransport::Quic), ("n2", DemoTransport::Auto)] {
            let folder = directory.path().join(name);
            std::fs::create_dir(&folder).expect("a folder");
            let security = Security::prepare(false, transport, &folder).expect("a CA");
            let (ports, node) = (free_ports(1).expect("the kernel has ports"), name.parse().expect("legal"));
            let text = configuration(&node, ports[0], &ports, &security.configuration(&node).expect("a certificate"));
            let config = Loader::new().text("node.toml", &text).load().expect("legal");
            config.check_runnable().expect("runnable");
            assert_eq!(config.value("networking.transport.protocol"), Some(format!("\"{}\"", transport.name())));
        }
    }

    #[test]
    fn plain_text_makes_no_file_and_no_setting() {
        let directory = Directory::create().expect("a folder");
        let security = Security::prepare(true, DemoTransport::Tcp, directory.path()).expect("nothing to do");
        let node: NodeId = "n1".parse().expect("legal");
        assert_eq!((security.configuration(&node).expect("nothing"), security.name()), (String::new(), "plaintext"));
        assert_eq!(std::fs::read_dir(directory.path()).expect("a folder").count(), 0);
    }
}
