//! A network of its own for five nodes: a namespace for each, and between them a switch that loses what it is told to lose.
//!
//! Each laboratory has its own switch, so that several run side by side. Faults are rules of the kernel's packet filter in the switch;
//! the nodes know nothing of them. What a laboratory has made goes when it is dropped.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::binary::text;
use crate::ports::Place;

/// A switch with nodes on it.
#[derive(Debug)]
pub struct Lab {
    name: String,
    count: usize,
    shortage: Option<Shortage>,
}

/// A control group with too little processor time, and somebody in it who takes what there is.
#[derive(Debug)]
struct Shortage {
    group: PathBuf,
    eater: Child,
}

impl Lab {
    /// A network of so many nodes, numbered from 0. The name tells laboratories of one process apart.
    ///
    /// # Errors
    ///
    /// What does not work here: the tools are missing, or this process may not make networks.
    pub fn new(name: &str, count: usize) -> Result<Self, String> {
        let lab = Self { name: format!("rdbnet-{name}-{}", std::process::id()), count, shortage: None };
        let switch = lab.switch();
        run("ip", &["netns", "add", &switch])?;
        in_network(&switch, &["link", "add", "br0", "type", "bridge"])?;
        in_network(&switch, &["link", "set", "br0", "up"])?;
        for index in 0..count {
            let (node, port) = (lab.namespace(index), port(index));
            run("ip", &["netns", "add", &node])?;
            let pair = ["link", "add", "v0", "netns", &node, "type", "veth", "peer", "name", &port];
            in_network(&switch, &pair)?;
            in_network(&switch, &["link", "set", &port, "master", "br0", "up"])?;
            in_network(&node, &["addr", "add", &format!("{}/24", address(index)), "dev", "v0"])?;
            // Packets that leave as one for the system to cut are cut before they are judged, as on a wire.
            in_network(&node, &["link", "set", "v0", "up", "gso_max_segs", "1"])?;
            in_network(&node, &["link", "set", "lo", "up"])?;
        }
        Ok(lab)
    }

    /// The namespace of a node.
    pub fn namespace(&self, index: usize) -> String {
        format!("{}-{}", self.name, index + 1)
    }

    /// Where a node of it listens.
    pub fn place(&self, index: usize) -> Place {
        let at = |port| SocketAddr::from((address(index), port));
        Place { transport: at(7000), gossip: at(7001) }
    }

    /// From here on the switch drops what any of these rules matches, and nothing else.
    ///
    /// # Panics
    ///
    /// When the packet filter does not take them.
    pub fn drop_what(&self, matching: &[String]) {
        let rules: String = matching.iter().map(|rule| format!("{rule} counter drop; ")).collect();
        let table = format!(
            "table bridge faults; delete table bridge faults; \
             table bridge faults {{ chain passing {{ type filter hook forward priority 0; policy accept; {rules}}}; }}"
        );
        let applied = run("ip", &["netns", "exec", &self.switch(), "nft", &table]);
        applied.unwrap_or_else(|told| panic!("{told}"));
    }

    /// The switch drops nothing any more.
    pub fn heal(&self) {
        self.drop_what(&[]);
    }

    /// How many packets the switch has dropped since it was told what to drop.
    ///
    /// # Panics
    ///
    /// When the packet filter does not tell.
    pub fn dropped(&self) -> u64 {
        let listed = run("ip", &["netns", "exec", &self.switch(), "nft", "list", "table", "bridge", "faults"]);
        let listed = listed.unwrap_or_else(|told| panic!("{told}"));
        let counts = listed.split("counter packets ").skip(1);
        counts.filter_map(|rest| rest.split(' ').next()?.parse::<u64>().ok()).sum()
    }

    /// Gives a process only so much of one core, in percent, which it shares with another process that always wants more.
    ///
    /// # Errors
    ///
    /// What does not work here: there are no control groups of processor time, or this process may not make any.
    pub fn starve(&mut self, pid: u32, percent: u32) -> Result<(), String> {
        let told = |path: &Path, error: io::Error| format!("{}: {error}", path.display());
        let period_us = 100_000;
        let quota_us = period_us / 100 * percent;
        let (first, second) = (Path::new("/sys/fs/cgroup/cpu"), Path::new("/sys/fs/cgroup"));
        let (root, file, limit) = if first.join("cgroup.procs").exists() {
            (first, "cpu.cfs_quota_us", quota_us.to_string())
        } else {
            (second, "cpu.max", format!("{quota_us} {period_us}"))
        };
        let group = root.join(&self.name);
        fs::create_dir(&group).map_err(|error| told(&group, error))?;
        let eater = Command::new("sh").args(["-c", "while :; do :; done"]).spawn();
        let eater = eater.map_err(|error| told(Path::new("sh"), error))?;
        let both = [("cgroup.procs", eater.id().to_string()), ("cgroup.procs", pid.to_string())];
        self.shortage = Some(Shortage { group: group.clone(), eater });
        for (file, value) in [(file, limit)].into_iter().chain(both) {
            let path = group.join(file);
            fs::write(&path, value).map_err(|error| told(&path, error))?;
        }
        Ok(())
    }

    /// How often the starved process had to wait for its share.
    ///
    /// # Panics
    ///
    /// When the control group does not tell.
    pub fn shortages(&self) -> u64 {
        let group = &self.shortage.as_ref().expect("a process was starved").group;
        let told = fs::read_to_string(group.join("cpu.stat")).expect("a control group tells");
        let count = told.lines().find_map(|line| line.strip_prefix("nr_throttled "));
        count.and_then(|count| count.parse().ok()).expect("it counts")
    }

    /// Takes a process out of its shortage.
    ///
    /// # Panics
    ///
    /// When it cannot be.
    pub fn feed(&self, pid: u32) {
        let group = &self.shortage.as_ref().expect("a process was starved").group;
        let root = group.parent().expect("a group is in another one");
        fs::write(root.join("cgroup.procs"), pid.to_string()).expect("the process is there");
    }

    fn switch(&self) -> String {
        format!("{}-switch", self.name)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        // What is left of it would only be names; and where not all of it could be made, not all of it is there.
        for name in (0..self.count).map(|index| self.namespace(index)).chain([self.switch()]) {
            let _removed = run("ip", &["netns", "delete", &name]);
        }
        if let Some(Shortage { group, eater }) = &mut self.shortage {
            let _killed = eater.kill();
            let _ended = eater.wait();
            let _removed = fs::remove_dir(group);
        }
    }
}

/// The switch's port of a node, for rules: `iifname` is where packets come from, `oifname` where they go.
pub fn port(index: usize) -> String {
    format!("p{}", index + 1)
}

/// Does something in a namespace, on a thread of its own.
///
/// # Panics
///
/// When there is no such namespace, or it panics.
pub fn inside<T: Send>(namespace: &str, act: impl FnOnce() -> T + Send) -> T {
    let path = Path::new("/run/netns").join(namespace);
    let entered = || {
        let file = fs::File::open(&path)?;
        move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))?;
        io::Result::Ok(())
    };
    let act = || {
        entered().unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        act()
    };
    std::thread::scope(|scope| scope.spawn(act).join()).unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Every laboratory has the same addresses: nobody reaches from one into another.
fn address(index: usize) -> Ipv4Addr {
    let host = u8::try_from(index + 1).expect("a laboratory is small");
    Ipv4Addr::new(10, 77, 0, host)
}

fn in_network(namespace: &str, arguments: &[&str]) -> Result<String, String> {
    run("ip", &[&["-n", namespace], arguments].concat())
}

fn run(program: &str, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(program).args(arguments).output().map_err(|error| format!("{program}: {error}"))?;
    match output.status.success() {
        true => Ok(text(&output.stdout).to_owned()),
        false => Err(format!("{program} {}: {}{}", arguments.join(" "), text(&output.stdout), text(&output.stderr))),
    }
}
