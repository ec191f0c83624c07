//! Where the demo keeps the configurations and the logs of its nodes: a fresh folder for temporary files.

use std::fs::DirBuilder;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use rdb_net_types::NodeId;

use super::protocol::unix_ms;

/// A folder that goes with its owner, unless it is kept.
#[derive(Debug)]
pub(crate) struct Directory {
    path: PathBuf,
    is_kept: bool,
}

impl Directory {
    /// A folder that nobody else has or looks into: there are keys in it.
    pub(crate) fn create() -> io::Result<Self> {
        static CREATED: AtomicU32 = AtomicU32::new(0);
        let (process, number) = (std::process::id(), CREATED.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(format!("rdbnet-demo-{process}-{}-{number}", unix_ms()));
        DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self { path, is_kept: false })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn keep(&mut self) {
        self.is_kept = true;
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        if !self.is_kept {
            // A folder that stays behind among temporary files harms nobody.
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}

/// Where a node listens: ports that the kernel chose.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ports {
    pub(crate) transport: SocketAddr,
    pub(crate) gossip: SocketAddr,
    pub(crate) admin: SocketAddr,
}

/// Free ports for so many nodes. All are held until the last is chosen, so that none is chosen twice.
pub(crate) fn free_ports(nodes: usize) -> io::Result<Vec<Ports>> {
    const ANY: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 0);
    let bind = |_| Ok((TcpListener::bind(ANY)?, UdpSocket::bind(ANY)?, TcpListener::bind(ANY)?));
    let held: Vec<_> = (0..nodes).map(bind).collect::<io::Result<_>>()?;
    let ports = held.iter().map(|(transport, gossip, admin)| {
        Ok(Ports { transport: transport.local_addr()?, gossip: gossip.local_addr()?, admin: admin.local_addr()? })
    });
    ports.collect()
}

/// The name of the demo's cluster.
pub(crate) const CLUSTER: &str = "demo";

/// The configuration file of a node, which ends with these lines on TLS.
pub(crate) fn configuration(node: &NodeId, ports: Ports, seeds: &[Ports], tls: &str) -> String {
    let Ports { transport, gossip, admin } = ports;
    let seeds: Vec<String> = seeds.iter().map(|seed| format!("\"{}\"", seed.transport)).collect();
    format!(
        "[networking]\n\
         cluster_id = \"{CLUSTER}\"\n\
         node_id = \"{node}\"\n\
         bind_address = \"{transport}\"\n\
         gossip_address = \"{gossip}\"\n\
         \n\
         [networking.admin]\n\
         bind_address = \"{admin}\"\n\
         \n\
         [networking.service_discovery]\n\
         seeds = [{}]\n\n{tls}",
        seeds.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rdb_net_manager::config::Loader;

    use super::*;

    #[test]
    fn a_node_can_run_with_its_configuration() {
        let ports = free_ports(3).expect("the kernel has ports");
        let node: NodeId = "n2".parse().expect("legal");
        let text = configuration(&node, ports[1], &ports, "");
        let config = Loader::new().text("n2.toml", &text).load().expect("legal");
        config.check_runnable().expect("runnable");
        assert_eq!(config.node_id, Some(node));
        assert_eq!(config.bind_address, ports[1].transport.into());
        assert_eq!(config.service_discovery.seeds.len(), 3);
    }

    #[test]
    fn no_port_is_given_out_twice() {
        let ports = free_ports(20).expect("the kernel has ports");
        let tcp: BTreeSet<_> = ports.iter().flat_map(|ports| [ports.transport, ports.admin]).collect();
        let udp: BTreeSet<_> = ports.iter().map(|ports| ports.gossip).collect();
        assert_eq!((tcp.len(), udp.len()), (40, 20));
    }

    #[test]
    fn a_directory_goes_with_its_owner_unless_it_is_kept() {
        let mut directory = Directory::create().expect("temporary files can be made");
        let path = directory.path().to_owned();
        std::fs::write(path.join("file"), "text").expect("writable");
        directory.keep();
        drop(directory);
        assert!(path.join("file").exists());
        drop(Directory { path: path.clone(), is_kept: false });
        assert!(!path.exists());
    }
}
