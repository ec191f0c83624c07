//! What goes wrong between members: a network in two parts, and members whose links lose what others' do not.

use rdb_net_types::SeededRandom;

use crate::fleet::Fleet;

/// Shares of datagrams that are lost on the way to and from one member, besides what the network loses of all.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct LinkLoss {
    /// On the way to it.
    pub ingress: f64,
    /// On the way from it.
    pub egress: f64,
}

impl Fleet {
    /// Cuts the network in two: from here on nothing passes between those of which this holds and the others.
    pub fn split(&mut self, is_far: impl Fn(usize) -> bool) {
        self.sides = (0..self.nodes.len()).map(is_far).collect();
    }

    /// Mends the network.
    pub fn mend(&mut self) {
        self.sides.clear();
    }

    /// Whether nothing passes between the two.
    pub fn is_cut(&self, one: usize, other: usize) -> bool {
        are_apart(&self.sides, one, other)
    }

    /// From here on this member's links are so. A whole exchange of views, which goes over connections, is lost as often as one
    /// datagram would be, each way.
    pub fn set_link_loss(&mut self, node: usize, loss: LinkLoss) {
        self.link_losses.resize(self.nodes.len(), LinkLoss::default());
        if let Some(held) = self.link_losses.get_mut(node) {
            *held = loss;
        }
    }
}

/// Whether two members are on different sides.
pub(crate) fn are_apart(sides: &[bool], one: usize, other: usize) -> bool {
    sides.get(one) != sides.get(other)
}

/// Whether something from one member to another is lost on their own links.
pub(crate) fn is_lost(losses: &[LinkLoss], random: &mut SeededRandom, from: usize, to: usize) -> bool {
    let Some((sender, receiver)) = losses.get(from).zip(losses.get(to)) else { return false };
    let passes = (1.0 - sender.egress) * (1.0 - receiver.ingress);
    passes < 1.0 && !random.chance(passes)
}
