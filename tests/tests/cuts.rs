//! Sources behind a network that loses every packet, by rules of the kernel's packet filter: nothing is refused and nothing ends, as
//! where a cable is out. The cases are those of the suite that every source passes, which cuts by other means.
//!
//! The source asks from one network namespace, and its server is in another. All of it runs side by side.

#[cfg(feature = "consul")]
#[path = "cuts/agent.rs"]
mod agent;
#[cfg(not(feature = "consul"))]
#[path = "cuts/no_agent.rs"]
mod agent;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rdb_discovery::{DiscoverySource, NodeDocument, RegistrationState};
use rdb_discovery_dns::{DnsConfig, DnsDiscovery, DnsName, Records};
use rdb_discovery_driver::conformance::{
    Kind, Reader, Scene, Traits, a_cut_keeps_the_list_and_is_told, a_registration_outlives_a_cut,
    a_start_without_the_source_succeeds_and_heals, node, run, soon, until, what_changed_during_a_cut_is_told_after_it,
};
use rdb_discovery_etcd::{EtcdConfig, EtcdDiscovery};
use rdb_net_tests::{Etcd, Knot, Lab, inside, port, skip};
use rdb_net_types::{BootId, BoxFuture, ClusterId, Component, NodeInfo, ServiceDiscovery};

/// A server, with the means to say what nodes there are. Everything here happens in its namespace.
trait Server: Send {
    fn source(&self) -> Arc<dyn DiscoverySource>;

    fn traits(&self) -> Traits {
        Traits::polled(Duration::from_secs(2))
    }

    /// Names these nodes and no others.
    fn write(&mut self, nodes: &[NodeInfo]);
}

/// Starts a server at this host.
type Start = fn(host: SocketAddr) -> Option<Box<dyn Server>>;

/// A source at host 0 of a laboratory, and its server at host 1.
struct Wired {
    // It ends before its network does.
    server: Mutex<Box<dyn Server>>,
    lab: Lab,
}

impl Scene for Wired {
    fn source(&self) -> Arc<dyn DiscoverySource> {
        self.server.lock().expect("no panic").source()
    }

    fn traits(&self) -> Traits {
        self.server.lock().expect("no panic").traits()
    }

    fn write<'a>(&'a self, nodes: &'a [NodeInfo]) -> BoxFuture<'a, ()> {
        inside(&self.lab.namespace(1), || self.server.lock().expect("no panic").write(nodes));
        Box::pin(std::future::ready(()))
    }

    fn cut(&self) -> BoxFuture<'_, ()> {
        self.lab.drop_what(&[0, 1].map(|host| format!("iifname {}", port(host))));
        Box::pin(std::future::ready(()))
    }

    fn heal(&self) -> BoxFuture<'_, ()> {
        assert!(self.lab.dropped() > 0, "the network has lost something");
        self.lab.heal();
        Box::pin(std::future::ready(()))
    }
}

struct Once(Mutex<Option<Wired>>);

impl Kind for Once {
    fn scene(&self) -> BoxFuture<'_, Option<Box<dyn Scene>>> {
        let scene = self.0.lock().expect("no panic").take().map(|scene| Box::new(scene) as Box<dyn Scene>);
        Box::pin(std::future::ready(scene))
    }
}

fn cluster() -> ClusterId {
    ClusterId::new("test").expect("legal")
}

/// etcd, by itself.
struct Keys(Etcd);

impl Keys {
    fn start(host: SocketAddr) -> Option<Box<dyn Server>> {
        let at = |port| SocketAddr::new(host.ip(), port);
        let mut etcd = Etcd::prepare_members(&[(at(2379), at(2380))])?.pop()?;
        etcd.launch();
        Some(Box::new(Self(etcd)))
    }
}

fn put(etcd: &Etcd, node: &NodeInfo) {
    let document = NodeDocument::new(node).to_json();
    etcd.ctl(&["put", &format!("/rustydb/test/nodes/{}", node.id), &document]).expect("written");
}

impl Server for Keys {
    fn source(&self) -> Arc<dyn DiscoverySource> {
        let config = EtcdConfig::new(cluster(), vec![self.0.url().to_owned()]);
        Arc::new(EtcdDiscovery::new(config).expect("a legal configuration"))
    }

    fn write(&mut self, nodes: &[NodeInfo]) {
        let listed = self.0.ctl(&["get", "--keys-only", "--prefix", "/rustydb/test/nodes/"]).expect("listed");
        let is_gone = |key: &&str| !key.is_empty() && !nodes.iter().any(|node| key.ends_with(node.id.as_str()));
        for key in listed.lines().filter(is_gone) {
            self.0.ctl(&["del", key]).expect("deleted");
        }
        nodes.iter().for_each(|node| put(&self.0, node));
    }
}

/// knot, with the nodes as services.
struct Zone(Knot);

impl Zone {
    fn start(host: SocketAddr) -> Option<Box<dyn Server>> {
        let mut knot = Knot::prepare_at(SocketAddr::new(host.ip(), 53))?;
        knot.write(&[]);
        knot.launch();
        Some(Box::new(Self(knot)))
    }
}

impl Server for Zone {
    fn source(&self) -> Arc<dyn DiscoverySource> {
        let name = DnsName { name: Knot::SERVICE.to_owned(), records: Records::Srv };
        let config = DnsConfig { servers: vec![self.0.address()], ..DnsConfig::new(vec![name]) };
        Arc::new(DnsDiscovery::new(config).expect("a legal configuration"))
    }

    fn write(&mut self, nodes: &[NodeInfo]) {
        let address = |node: &NodeInfo| node.address.to_string().parse().expect("an address");
        self.0.write(&nodes.iter().map(address).collect::<Vec<_>>());
    }
}

/// Runs a case in a laboratory of its own.
fn hold<F: Future<Output = ()>>(name: &str, start: Start, case: fn(Arc<dyn Scene>) -> F) {
    let lab = Lab::new(name, 2).unwrap_or_else(|told| panic!("{told}"));
    let host = lab.place(1).transport;
    let Some(server) = inside(&lab.namespace(1), || start(host)) else { return };
    let here = lab.namespace(0);
    let kind = Once(Mutex::new(Some(Wired { server: Mutex::new(server), lab })));
    inside(&here, || run(&kind, case));
}

/// Whether this process may make networks. The name tells tests that look at once apart.
fn has_networks(name: &str) -> bool {
    let made = Lab::new(name, 1);
    if let Err(reason) = &made {
        skip(&format!("no networks of its own: {reason}"));
    }
    made.is_ok()
}

#[test]
fn a_network_that_loses_every_packet_costs_no_source_a_node() {
    if !has_networks("try-every") {
        return;
    }
    let kinds: [(&str, Start); 4] =
        [("etcd", Keys::start), ("dns", Zone::start), ("consul", agent::start), ("both", agent::start_both)];
    std::thread::scope(|scope| {
        for (name, start) in kinds {
            scope.spawn(move || hold(&format!("{name}-kept"), start, a_cut_keeps_the_list_and_is_told));
            scope.spawn(move || hold(&format!("{name}-diff"), start, what_changed_during_a_cut_is_told_after_it));
            scope.spawn(move || hold(&format!("{name}-alone"), start, a_start_without_the_source_succeeds_and_heals));
            if name != "dns" {
                scope.spawn(move || hold(&format!("{name}-here"), start, a_registration_outlives_a_cut));
            }
        }
    });
}

/// Three members at the hosts 1 to 3, all of which answer, and which of them leads.
fn members(lab: &Lab) -> Option<(Vec<Etcd>, usize)> {
    let at = |host, port| SocketAddr::new(lab.place(host).transport.ip(), port);
    let mut members = Etcd::prepare_members(&[1, 2, 3].map(|host| (at(host, 2379), at(host, 2380))))?;
    for (index, member) in members.iter_mut().enumerate() {
        inside(&lab.namespace(index + 1), || member.start());
    }
    let leads = |index: usize| {
        let member: &Etcd = &members[index];
        let status = inside(&lab.namespace(index + 1), || {
            member.wait_answer();
            member.ctl(&["endpoint", "status", "--write-out", "json"]).expect("it answers")
        });
        let number = |name: &str| {
            let rest = status.split(&format!("\"{name}\":")).nth(1).expect("there");
            rest.chars().take_while(char::is_ascii_digit).collect::<String>()
        };
        number("member_id") == number("leader")
    };
    let leader = (0..3).find(|index| leads(*index)).expect("one leads");
    Some((members, leader))
}

#[test]
fn a_follower_without_its_cluster_and_the_death_of_the_leader_cost_nobody() {
    if !has_networks("try-members") {
        return;
    }
    let lab = Lab::new("members", 4).unwrap_or_else(|told| panic!("{told}"));
    let Some((mut members, leader)) = members(&lab) else { return };
    let [follower, other] = [1, 2].map(|after| (leader + after) % 3);
    let write = |members: &[Etcd], through: usize, number: u16| {
        inside(&lab.namespace(through + 1), || put(&members[through], &node(number, "1")));
    };
    (0..3).for_each(|number| write(&members, leader, number));
    // The follower is asked first.
    let urls = [follower, other, leader].map(|member| members[member].url().to_owned());
    inside(&lab.namespace(0), || {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        runtime.expect("a runtime").block_on(async {
            let source = EtcdDiscovery::new(EtcdConfig::new(cluster(), urls.to_vec())).expect("legal");
            soon("a start", source.initialize()).await.expect("it starts");
            let own = NodeInfo { boot: BootId(7), ..node(7, "1") };
            soon("a registration", source.register_node(&own)).await.expect("registered");
            let mut reader = Reader::of(&source);
            while reader.addresses().len() < 4 {
                reader.next().await.expect("it goes on");
            }

            // The way from here to the follower stays; those between the members are cut.
            let between = [leader, other].map(|member| [(follower, member), (member, follower)]).concat();
            let rule = |(from, to): &(usize, usize)| format!("iifname {} oifname {}", port(from + 1), port(to + 1));
            lab.drop_what(&between.iter().map(rule).collect::<Vec<_>>());
            // It ends the watch because it has no leader, and the next member is asked so soon that nothing was uncertain for long
            // enough to be told.
            reader.until("resynced").await;
            assert_eq!(source.statistics().watches_lost, 1);
            write(&members, leader, 4);
            reader.until(&format!("+{}", node(4, "").address)).await;
            assert!(lab.dropped() > 0);
            lab.heal();

            members[leader].kill();
            inside(&lab.namespace(other + 1), || members[other].wait_answer());
            write(&members, other, 5);
            reader.until(&format!("+{}", node(5, "").address)).await;
            let is_active = || matches!(source.registration(), Some(RegistrationState::Active { .. }));
            until("it is registered", is_active).await;
            let gone: Vec<_> = reader.log.iter().filter(|event| event.starts_with('-')).collect();
            assert_eq!(gone, [""; 0], "{:?}", reader.log);
            assert_eq!(reader.addresses().len(), 6, "{:?}", reader.log);
            soon("a shutdown", source.shutdown()).await.expect("everything ends");
        });
    });
}
