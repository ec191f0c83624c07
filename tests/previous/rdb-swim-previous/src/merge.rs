//! Which of two statements about a member stands, and what a change of state means to the application.
//!
//! SWIM (DSN 2002), section 4.2: statements are ordered by incarnation, then Alive < Suspect < Failed < Left. Taking the
//! greater of two is commutative, associative and idempotent, so members agree in whatever order they hear.

use rdb_net_types::{Incarnation, NodeState};

/// A statement may name an incarnation at most this far above the known one of the same life. A subject raises its counter
/// by one per refutation, so a larger step is forged or broken, and taking it could bring the counter near its end.
const COUNTER_STEP_MAX: u32 = 1 << 20;

/// Generations from here on are refused. A generation is about the unix time of a start, so none of them is reached before
/// the year 2105, and there is always room to outbid one that was accepted.
const GENERATION_LIMIT: u32 = 0xffff_0000;

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
    incarnation.generation() < GENERATION_LIMIT
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
