//! Which of two statements about a member stands, and what a change of state means to the application.
//!
//! SWIM (DSN 2002), section 4.2: statements are ordered by incarnation, then Alive < Suspect < Failed < Left. Taking the
//! greater of two is commutative, associative and idempotent, so members agree in whatever order they hear.

use rdb_net_types::{Incarnation, NodeState};

/// A statement may name an incarnation at most this far above the known one of the same life. A subject raises its counter
/// by one per refutation, so a larger step is forged or broken, and taking it could bring the counter near its end.
const COUNTER_STEP_MAX: u32 = 1 << 20;

/// The highest generation; what is beyond it is refused by everybody. A generation is about the unix time of a start, so none is that high
/// before the year 2105. A life takes no more, whatever it is told of a former one.
pub const GENERATION_MAX: u32 = 0xfffe_ffff;

/// How a member stands: the ordered part of a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) incarnation: Incarnation,
    pub(crate) state: NodeState,
}

impl Standing {
    pub(crate) fn new(incarnation: Incarnation, state: NodeState) -> Self {
        Self { incarnation, state }
    }

    /// Whether this statement replaces one that is held.
    pub(crate) fn beats(self, held: Self) -> bool {
        self.key() > held.key()
    }

    fn key(self) -> (Incarnation, u8) {
        (self.incarnation, rank(self.state))
    }
}

pub(crate) const fn rank(state: NodeState) -> u8 {
    match state {
        NodeState::Alive => 0,
        NodeState::Suspect => 1,
        NodeState::Failed => 2,
        NodeState::Left => 3,
    }
}

/// Whether any member may have this incarnation.
pub(crate) const fn is_possible(incarnation: Incarnation) -> bool {
    incarnation.generation() <= GENERATION_MAX
}

/// Whether an accusation of this incarnation can be meant for the life that is known.
///
/// A suspicion cannot introduce a life that nobody has introduced by an Alive record, nor leap ahead of it.
pub(crate) fn is_plausible(accused: Incarnation, known: Incarnation) -> bool {
    accused.generation() < known.generation()
        || (accused.generation() == known.generation()
            && accused.counter().saturating_sub(known.counter()) <= COUNTER_STEP_MAX)
}

/// Whether a word of a member's own would leap over more refutations of one life than it can have had.
pub(crate) fn is_leap(said: Incarnation, known: Incarnation) -> bool {
    said.generation() == known.generation() && said.counter().saturating_sub(known.counter()) > COUNTER_STEP_MAX
}

/// One change that the application is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transition {
    Joined,
    Left,
    Failed,
    Recovered,
    Suspected,
    Trusted,
}

/// What the application is told when a statement that beats the held one brings a member from one state to another.
///
/// A gap is filled: who stood as left and is now accused in a higher incarnation must have come back in between.
pub(crate) fn transitions(held: Option<NodeState>, next: NodeState, is_new_life: bool) -> &'static [Transition] {
    use NodeState::{Alive, Failed, Left, Suspect};
    match (held, next) {
        (None | Some(Left), Alive) => &[Transition::Joined],
        (None | Some(Left), Suspect) => &[Transition::Joined, Transition::Suspected],
        (None | Some(Alive | Suspect), Failed) => &[Transition::Failed],
        (None | Some(Alive | Suspect | Failed), Left) => &[Transition::Left],
        (Some(Alive | Suspect), Alive) if is_new_life => &[Transition::Failed, Transition::Recovered],
        (Some(Alive), Suspect) => &[Transition::Suspected],
        (Some(Suspect), Alive) => &[Transition::Trusted],
        (Some(Failed), Alive) => &[Transition::Recovered],
        (Some(Failed), Suspect) => &[Transition::Recovered, Transition::Suspected],
        (Some(Left), Failed) => &[Transition::Joined, Transition::Failed],
        (Some(Alive), Alive) | (Some(Suspect), Suspect) | (Some(Failed), Failed) | (Some(Left), Left) => &[],
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STATES: [NodeState; 4] = [NodeState::Alive, NodeState::Suspect, NodeState::Failed, NodeState::Left];

    fn merge(a: Standing, b: Standing) -> Standing {
        if b.beats(a) { b } else { a }
    }

    fn standing() -> impl Strategy<Value = Standing> {
        (0u64..4, 0usize..4).prop_map(|(raw, state)| Standing::new(Incarnation::from_u64(raw), STATES[state]))
    }

    proptest! {
        #[test]
        fn merging_is_commutative_associative_and_idempotent(a in standing(), b in standing(), c in standing()) {
            prop_assert_eq!(merge(a, b), merge(b, a));
            prop_assert_eq!(merge(merge(a, b), c), merge(a, merge(b, c)));
            prop_assert_eq!(merge(a, a), a);
        }

        #[test]
        fn merging_never_lowers_the_incarnation(a in standing(), b in standing()) {
            prop_assert!(merge(a, b).incarnation >= a.incarnation.max(b.incarnation));
        }
    }

    #[test]
    fn a_refutation_beats_every_accusation_but_a_farewell_needs_a_higher_incarnation() {
        let inc = Incarnation::first_of(3);
        for accused in [NodeState::Suspect, NodeState::Failed, NodeState::Left] {
            assert!(!Standing::new(inc, NodeState::Alive).beats(Standing::new(inc, accused)));
            assert!(Standing::new(inc.next(), NodeState::Alive).beats(Standing::new(inc, accused)));
        }
    }

    #[test]
    fn an_accusation_cannot_leap_ahead_of_its_subject() {
        let known = Incarnation::from_u64((7 << 32) + 5);
        let at = |generation: u64, counter: u64| Incarnation::from_u64((generation << 32) + counter);
        assert!(is_plausible(at(7, 5 + (1 << 20)), known));
        assert!(!is_plausible(at(7, 6 + (1 << 20)), known));
        assert!(!is_plausible(at(8, 0), known));
        assert!(is_plausible(at(6, u64::from(u32::MAX)), known), "stale, and left to the order");
        assert!(!is_possible(Incarnation::from_u64(u64::MAX)));
        assert!(is_possible(Incarnation::first_of(1_800_000_000)));
    }

    #[test]
    fn who_has_left_never_fails_without_having_come_back() {
        for next in STATES {
            let told = transitions(Some(NodeState::Left), next, false);
            let failed = told.iter().position(|t| *t == Transition::Failed);
            let joined = told.iter().position(|t| *t == Transition::Joined);
            assert!(failed.is_none() || joined < failed);
        }
    }

    /// Applying the told transitions to the held state gives the next state: nothing is skipped, nothing is told twice.
    #[test]
    fn transitions_lead_from_the_held_state_to_the_next() {
        for held in [None, Some(STATES[0]), Some(STATES[1]), Some(STATES[2]), Some(STATES[3])] {
            for next in STATES {
                for is_new_life in [false, true] {
                    let mut state = held;
                    for transition in transitions(held, next, is_new_life) {
                        let after = match transition {
                            Transition::Joined | Transition::Recovered | Transition::Trusted => NodeState::Alive,
                            Transition::Suspected => NodeState::Suspect,
                            Transition::Failed => NodeState::Failed,
                            Transition::Left => NodeState::Left,
                        };
                        assert_ne!(state, Some(after), "{held:?} -> {next:?}");
                        state = Some(after);
                    }
                    assert_eq!(state, Some(next), "{held:?} -> {next:?}");
                }
            }
        }
    }
}
