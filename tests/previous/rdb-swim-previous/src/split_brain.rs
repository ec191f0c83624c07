//! Which side of a partition goes on, as a pure decision over what one side sees.
//!
//! Both sides of a partition hold the other for failed, and both could go on: a split brain. A strategy lets each side decide by
//! itself, from the same members, so that at most one goes on. It needs views that have come to rest: ask only once nothing has
//! changed for a while ([`Partition::changed`](crate::Partition::changed)), and where data is at stake rely on quorums of its own, since membership is a hint.

use rdb_net_types::{Incarnation, NodeId, NodeState};

use crate::entry::Member;
use crate::swim::Swim;

/// How a side decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Strategy {
    /// A side with at least so many members goes on. Safe where that is more than half of all members there will ever be.
    StaticQuorum {
        /// How many.
        members: usize,
    },
    /// The larger side goes on; of equal ones, that with the smallest id. Of three parts none may be the larger: of those that
    /// see less than half, none goes on.
    KeepMajority,
    /// The side goes on that has the member which runs for the longest time: of the lowest generation, of equal ones the
    /// smallest id.
    KeepOldest,
}

/// What this side is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Go on.
    Stay,
    /// Stop serving: the other side goes on, or none may.
    Withdraw,
}

/// A member that counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seat<'a> {
    /// Its id.
    pub id: &'a NodeId,
    /// Its newest incarnation.
    pub incarnation: Incarnation,
}

impl Strategy {
    /// Decides for the side that sees these members, itself included, and does not see those.
    pub fn decide(self, seen: &[Seat<'_>], unseen: &[Seat<'_>]) -> Decision {
        let stays = match self {
            Self::StaticQuorum { members } => seen.len() >= members.max(1),
            Self::KeepMajority if seen.len() == unseen.len() => {
                first(seen, |seat| seat.id) < first(unseen, |seat| seat.id)
            }
            Self::KeepMajority => seen.len() > unseen.len(),
            Self::KeepOldest => match (first(seen, age), first(unseen, age)) {
                (Some(own), Some(other)) => own < other,
                (own, _) => own.is_some(),
            },
        };
        if stays { Decision::Stay } else { Decision::Withdraw }
    }
}

fn age<'a>(seat: &Seat<'a>) -> (u32, &'a NodeId) {
    (seat.incarnation.generation(), seat.id)
}

fn first<'a, T: Ord>(seats: &[Seat<'a>], key: impl Fn(&Seat<'a>) -> T) -> Option<T> {
    seats.iter().map(key).min()
}

impl Swim {
    /// What a strategy says to this member's view: suspects still count as seen, failed members as unseen, and those that have
    /// left not at all. Looks at every member.
    pub fn decide_split(&self, strategy: Strategy) -> Decision {
        let seats = |is_counted: fn(NodeState) -> bool| -> Vec<Seat<'_>> {
            let counted = self.table.iter().filter(|member| is_counted(member.state));
            counted.map(|Member { id, incarnation, .. }| Seat { id, incarnation }).collect()
        };
        strategy.decide(&seats(NodeState::is_routable), &seats(|state| state == NodeState::Failed))
    }
}
