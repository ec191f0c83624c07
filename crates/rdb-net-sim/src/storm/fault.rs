//! What goes wrong in a storm: each kind as it is drawn, begun and ended.
//!
//! A kind that a healthy cluster must bear without failing anybody excuses nobody: pauses up to the tolerated one, busy
//! processes, a link that passes one way only while others carry word between its ends, losses and disorder everywhere.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use rdb_net_faults::LinkFaults;
use rdb_net_types::SeededRandom;

use crate::config::Config;

/// The longest pause that must not make a process failed, less what a suspicion needs to begin and to be refuted.
const TOLERATED: Duration = Duration::from_secs(3);

/// Some nodes; `None` is all of them.
pub(crate) type Nodes = Option<BTreeSet<usize>>;

/// How a process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// It is killed: its address refuses.
    Kill,
    /// Its host loses its power: nothing answers.
    PowerLoss,
    /// It closes its connections and says no farewell.
    Stop,
    /// It leaves the cluster.
    Leave,
}

/// How a process that has ended comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Back {
    Never,
    /// It knows its seeds.
    Anew,
    /// Its clock is a day slow, and it has no generation stored.
    SlowClock,
    /// It knows whom its former life knew.
    Remembering,
}

/// What goes wrong.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Kind {
    /// Processes end, and come back afterwards or never.
    Down { nodes: Vec<usize>, end: End, back: Back },
    /// A process ends for good while another node is cut off; an operator drops it before that one is back.
    Ghost { node: usize, away: usize, by: usize },
    /// A process stands still.
    Pause { node: usize },
    /// A process stands still for some hundred milliseconds, again and again.
    Busy { node: usize, still: Duration, runs: Duration },
    /// Nothing passes between two groups.
    Split { left: Vec<usize>, right: Vec<usize> },
    /// Nothing passes from one node to another.
    OneWay { from: usize, to: usize },
    /// A node hears nobody, or is heard by nobody.
    HalfDeaf { node: usize, is_mute: bool },
    /// A node is cut off and back again, each second or so.
    Flap { node: usize, each: Duration },
    /// Most of what goes to a node, or comes from it, is lost.
    Lossy { node: usize, ingress: f64, egress: f64 },
    /// All links are so.
    Weather { faults: LinkFaults },
}

/// Something that goes wrong for a time.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Fault {
    pub(crate) from: Duration,
    pub(crate) to: Duration,
    pub(crate) kind: Kind,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1} to {:.1} s: {:?}", self.from.as_secs_f64(), self.to.as_secs_f64(), self.kind)
    }
}

impl Kind {
    /// Whether it ends processes: one node is meant by one such fault at most, since who is down cannot go down.
    pub(crate) fn ended(&self) -> &[usize] {
        match self {
            Self::Down { nodes, .. } => nodes,
            Self::Ghost { node, .. } => std::slice::from_ref(node),
            _ => &[],
        }
    }

    /// How who it ends comes back.
    pub(crate) fn back(&mut self) -> Option<&mut Back> {
        match self {
            Self::Down { back, .. } => Some(back),
            _ => None,
        }
    }

    /// Which nodes have reason to hold which others for failed: pairs of observers and subjects.
    pub(crate) fn excuses(&self, time: Duration) -> Vec<(Nodes, Nodes)> {
        let set = |nodes: &[usize]| Some(nodes.iter().copied().collect::<BTreeSet<usize>>());
        let both = |node: usize| vec![(None, set(&[node])), (set(&[node]), None)];
        match self {
            // Who leaves while others cannot hear it may be found gone. Who starts anew believes what it is told of everybody.
            Self::Down { nodes, .. } => vec![(None, set(nodes)), (set(nodes), None)],
            Self::Ghost { node, away, .. } => [vec![(None, set(&[*node]))], both(*away)].concat(),
            Self::Pause { node } if time > TOLERATED => vec![(None, set(&[*node]))],
            Self::Pause { .. } | Self::Busy { .. } | Self::OneWay { .. } | Self::Weather { .. } => Vec::new(),
            Self::Split { left, right } => vec![(set(left), set(right)), (set(right), set(left))],
            Self::HalfDeaf { node, .. } | Self::Flap { node, .. } | Self::Lossy { node, .. } => both(*node),
        }
    }
}

/// Draws a fault. Who is named in `ended` goes down by another one already; the seeds come back.
pub(crate) fn draw(random: &mut SeededRandom, config: &Config, ended: &BTreeSet<usize>, last_end: Duration) -> Fault {
    let second = Duration::from_secs(1);
    let from = random.duration(second * 15, last_end - second * 100);
    let kind = draw_kind(random, config, ended);
    let (least, most) = match kind {
        Kind::Pause { .. } if random.chance(0.5) => (second / 5, TOLERATED),
        Kind::Pause { .. } => (second * 4, second * 60),
        Kind::Ghost { .. } => (second * 50, second * 90),
        Kind::Down { .. } => (second / 20, second * 90),
        _ => (second, second * 90),
    };
    let to = from + random.duration(least, most);
    Fault { from, to, kind }
}

fn draw_kind(random: &mut SeededRandom, config: &Config, ended: &BTreeSet<usize>) -> Kind {
    let nodes = config.nodes;
    let node = random.index(nodes);
    let other = (node + 1 + random.index(nodes - 1)) % nodes;
    let ms = Duration::from_millis;
    match random.index(14) {
        0..=3 => {
            let most = if random.chance(0.3) { nodes.div_ceil(3) } else { 1 };
            let mut some: Vec<usize> = (0..nodes).filter(|node| !ended.contains(node)).collect();
            random.shuffle(&mut some);
            some.truncate(1 + random.index(most));
            let end = [End::Kill, End::Kill, End::PowerLoss, End::Stop, End::Leave][random.index(5)];
            let is_back = random.chance(0.6) || some.iter().any(|node| *node < config.seeds);
            let back = if random.chance(0.25) { Back::SlowClock } else { Back::Anew };
            Kind::Down { nodes: some, end, back: if is_back { back } else { Back::Never } }
        }
        4 if node >= config.seeds && !ended.contains(&node) && nodes > 3 => {
            let by = (0..nodes).find(|by| ![node, other].contains(by)).unwrap_or(0);
            Kind::Ghost { node, away: other, by }
        }
        4 | 5 => Kind::Pause { node },
        6 => Kind::Busy { node, still: random.duration(ms(50), ms(700)), runs: random.duration(ms(20), ms(500)) },
        7 => {
            let mut all: Vec<usize> = (0..nodes).collect();
            random.shuffle(&mut all);
            let right = all.split_off(1 + random.index(nodes - 1));
            Kind::Split { left: all, right }
        }
        8 => Kind::OneWay { from: node, to: other },
        9 => Kind::HalfDeaf { node, is_mute: random.chance(0.5) },
        10 => Kind::Flap { node, each: random.duration(ms(300), ms(3_000)) },
        11 => {
            let (share, is_in) = (0.5 + random.index(50) as f64 / 100.0, random.chance(0.5));
            Kind::Lossy { node, ingress: if is_in { share } else { 0.0 }, egress: if is_in { 0.0 } else { share } }
        }
        _ => {
            let share = |random: &mut SeededRandom, most: usize| random.index(most + 1) as f64 / 100.0;
            let faults = LinkFaults {
                loss: share(random, 20),
                duplication: share(random, 20),
                reordering: share(random, 30),
                reordering_delay: random.duration(ms(1), ms(50)),
                jitter: random.duration(ms(1), ms(20)),
                ..config.network
            };
            Kind::Weather { faults }
        }
    }
}
