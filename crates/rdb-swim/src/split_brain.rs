//! Which side of a partition goes on, as a pure decision over what one side sees.
//!
//! Both sides of a partition hold the other for failed, and both could go on: a split brain. A strategy lets each side decide by
//! itself, from the same members, so that at most one goes on. It needs views that have come to rest: ask only once nothing has
//! changed for a while ([`Partition::changed`](crate::Partition::changed)), and where data is at stake rely on quorums of its own, since membership is a hint.

use std::fmt;

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
    /// smallest id. Where that member is alone and there are two others or more, those go on: one crash must not stop all.
    KeepOldest,
}

impl Strategy {
    /// Its name, as settings and metrics have it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::StaticQuorum { .. } => "static_quorum",
            Self::KeepMajority => "keep_majority",
            Self::KeepOldest => "keep_oldest",
        }
    }
}

/// What this side is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Go on.
    Stay,
    /// Stop serving: the other side goes on, or none may.
    Withdraw,
}

impl Decision {
    /// The decision in lower case, as documents and JSON show it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stay => "stay",
            Self::Withdraw => "withdraw",
        }
    }
}

/// Why a side decides so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Why {
    /// So many members are enough, or are not.
    Quorum,
    /// It is the larger side, or the smaller one.
    Size,
    /// Both are of one size, and it has the smallest id, or has not.
    SmallestId,
    /// It has the oldest member, or has not.
    Oldest,
    /// The oldest member is alone against several others.
    OldestIsAlone,
    /// Nobody is missing.
    Whole,
}

/// What a strategy says to one side's view, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// By which strategy.
    pub strategy: Strategy,
    /// What this side is to do.
    pub decision: Decision,
    /// Why.
    pub why: Why,
    /// How many members are seen, this one included.
    pub seen: usize,
    /// How many are not.
    pub unseen: usize,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { strategy, seen, unseen, .. } = self;
        write!(f, "{}: {seen} of {} members are seen, ", strategy.name(), seen + unseen)?;
        let stays = self.decision == Decision::Stay;
        match (self.why, stays, strategy) {
            (Why::Quorum, _, Strategy::StaticQuorum { members }) => write!(f, "{members} are needed"),
            (Why::Quorum | Why::Size, true, _) => f.write_str("the larger side"),
            (Why::Quorum | Why::Size, false, _) => f.write_str("not the larger side"),
            (Why::SmallestId, true, _) => f.write_str("half, and the smallest id is among them"),
            (Why::SmallestId, false, _) => f.write_str("half, and the smallest id is not among them"),
            (Why::Oldest, true, _) => f.write_str("the oldest is among them"),
            (Why::Oldest, false, _) => f.write_str("the oldest is not among them"),
            (Why::OldestIsAlone, true, _) => f.write_str("the oldest is missing alone"),
            (Why::OldestIsAlone, false, _) => f.write_str("the oldest is alone"),
            (Why::Whole, _, _) => f.write_str("nobody is missing"),
        }
    }
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
        self.judge(seen, unseen).decision
    }

    /// The same with the reason.
    pub fn judge(self, seen: &[Seat<'_>], unseen: &[Seat<'_>]) -> Verdict {
        let (stays, why) = match self {
            Self::StaticQuorum { members } => (seen.len() >= members.max(1), Why::Quorum),
            _ if unseen.is_empty() => (true, Why::Whole),
            Self::KeepMajority if seen.len() == unseen.len() => {
                (first(seen, |seat| seat.id) < first(unseen, |seat| seat.id), Why::SmallestId)
            }
            Self::KeepMajority => (seen.len() > unseen.len(), Why::Size),
            Self::KeepOldest => {
                let has_oldest = first(seen, age) < first(unseen, age) && !seen.is_empty();
                match (has_oldest, seen.len(), unseen.len()) {
                    (true, 1, 2..) => (false, Why::OldestIsAlone),
                    (false, 2.., 1) => (true, Why::OldestIsAlone),
                    _ => (has_oldest, Why::Oldest),
                }
            }
        };
        let decision = if stays { Decision::Stay } else { Decision::Withdraw };
        Verdict { strategy: self, decision, why, seen: seen.len(), unseen: unseen.len() }
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
        self.judge_split(strategy).decision
    }

    /// The same with the reason.
    pub fn judge_split(&self, strategy: Strategy) -> Verdict {
        let seats = |is_counted: fn(NodeState) -> bool| -> Vec<Seat<'_>> {
            let counted = self.table.iter().filter(|member| is_counted(member.state));
            counted.map(|Member { id, incarnation, .. }| Seat { id, incarnation }).collect()
        };
        strategy.judge(&seats(NodeState::is_routable), &seats(|state| state == NodeState::Failed))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert, proptest};

    use super::*;
    use crate::tests::network::{Network, id, secs};

    fn seats(members: &[(NodeId, u32)]) -> Vec<Seat<'_>> {
        members.iter().map(|(id, generation)| Seat { id, incarnation: Incarnation::first_of(*generation) }).collect()
    }

    proptest! {
        /// Whatever the cut, both sides decide from the same members.
        #[test]
        fn at_most_one_side_goes_on(
            generations in proptest::collection::vec(1u32..4, 1..12),
            sides in proptest::collection::vec(any::<bool>(), 12),
            spare in 0usize..4,
        ) {
            let all = generations.iter().enumerate().map(|(n, generation)| (id(n), *generation));
            let (left, right): (Vec<_>, Vec<_>) = all.zip(sides).partition(|(_, is_left)| *is_left);
            let side = |side: Vec<((NodeId, u32), bool)>| side.into_iter().map(|(member, _)| member).collect::<Vec<_>>();
            let (left, right) = (side(left), side(right));
            let (left, right) = (seats(&left), seats(&right));
            let quorum = Strategy::StaticQuorum { members: generations.len() / 2 + 1 + spare };
            for strategy in [quorum, Strategy::KeepMajority, Strategy::KeepOldest] {
                let stays = [strategy.decide(&left, &right), strategy.decide(&right, &left)];
                let staying = stays.iter().filter(|decision| **decision == Decision::Stay).count();
                prop_assert!(staying <= 1, "{strategy:?}: {stays:?}");
                // But for a quorum that neither has, exactly one goes on.
                prop_assert!(staying == 1 || strategy == quorum, "{strategy:?}: {stays:?}");
            }
        }
    }

    #[test]
    fn each_strategy_keeps_the_side_it_says() {
        let members: Vec<(NodeId, u32)> = [7, 5, 9, 9].into_iter().enumerate().map(|(n, age)| (id(n), age)).collect();
        let seats = seats(&members);
        let decide = |strategy: Strategy, cut: usize| strategy.decide(&seats[..cut], &seats[cut..]);
        assert_eq!(decide(Strategy::KeepMajority, 1), Decision::Withdraw);
        assert_eq!(decide(Strategy::KeepMajority, 2), Decision::Stay, "of equal sides that with the smallest id");
        assert_eq!(decide(Strategy::KeepOldest, 1), Decision::Withdraw, "the second is older");
        assert_eq!(Strategy::KeepOldest.decide(&seats[1..], &seats[..1]), Decision::Stay);
        assert_eq!(Strategy::KeepOldest.decide(&seats[1..2], &[seats[0], seats[2]]), Decision::Withdraw, "alone");
        assert_eq!(
            Strategy::KeepOldest.decide(&[seats[0], seats[2]], &seats[1..2]),
            Decision::Stay,
            "without it alone"
        );
        assert_eq!(Strategy::KeepOldest.decide(&seats[1..2], &seats[..1]), Decision::Stay, "of two the older");
        assert_eq!(decide(Strategy::KeepOldest, 2), Decision::Stay);
        assert_eq!(decide(Strategy::StaticQuorum { members: 3 }, 2), Decision::Withdraw);
        assert_eq!(decide(Strategy::StaticQuorum { members: 3 }, 3), Decision::Stay);
    }

    #[test]
    fn a_verdict_says_why() {
        let members: Vec<(NodeId, u32)> = [7, 5, 9, 9].into_iter().enumerate().map(|(n, age)| (id(n), age)).collect();
        let seats = seats(&members);
        let words = |strategy: Strategy, cut: usize| strategy.judge(&seats[..cut], &seats[cut..]).to_string();
        for (strategy, cut, told) in [
            (Strategy::KeepMajority, 1, "keep_majority: 1 of 4 members are seen, not the larger side"),
            (Strategy::KeepMajority, 3, "keep_majority: 3 of 4 members are seen, the larger side"),
            (
                Strategy::KeepMajority,
                2,
                "keep_majority: 2 of 4 members are seen, half, and the smallest id is among them",
            ),
            (Strategy::KeepMajority, 4, "keep_majority: 4 of 4 members are seen, nobody is missing"),
            (Strategy::KeepOldest, 1, "keep_oldest: 1 of 4 members are seen, the oldest is not among them"),
            (Strategy::StaticQuorum { members: 3 }, 2, "static_quorum: 2 of 4 members are seen, 3 are needed"),
        ] {
            assert_eq!(words(strategy, cut), told);
        }
    }

    #[test]
    fn after_a_cut_one_side_of_a_cluster_goes_on() {
        let mut net = Network::cluster_of(7, 800);
        let (left, right) = ([0, 1, 2], [3, 4, 5, 6]);
        net.part(&left, &right, true);
        let is_given_up = |net: &Network, by: usize, of: usize| {
            net.nodes[by].swim.member(&id(of)).is_some_and(|member| member.state == NodeState::Failed)
        };
        net.run_until(secs(60), "each side gives the other up", |net| {
            left.iter().all(|a| right.iter().all(|b| is_given_up(net, *a, *b) && is_given_up(net, *b, *a)))
        });
        let decided = |node: usize, strategy| net.nodes[node].swim.decide_split(strategy);
        assert!(left.iter().all(|node| decided(*node, Strategy::KeepMajority) == Decision::Withdraw));
        assert!(right.iter().all(|node| decided(*node, Strategy::KeepMajority) == Decision::Stay));
        // All have one generation, so the smallest id stands for the oldest.
        assert!(left.iter().all(|node| decided(*node, Strategy::KeepOldest) == Decision::Stay));
        assert!(right.iter().all(|node| decided(*node, Strategy::KeepOldest) == Decision::Withdraw));
    }
}
