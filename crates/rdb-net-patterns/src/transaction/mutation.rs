//! Bugs that two-phase commit is known for, to be planted here: what checks a run must find each of them.
//!
//! A check that nothing has ever failed proves little. With the feature `mutations` one of these can be planted in a machine; the
//! simulation then shows which of its checks finds it. Without the feature none can, and the questions are constants.

/// A bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(not(feature = "mutations"), expect(unreachable_pub, dead_code, reason = "public with the feature"))]
pub enum Mutation {
    /// The coordinator tells a commit before the record of it is durable.
    DecidedNotForced,
    /// A participant votes before the record that binds it is durable.
    PreparedNotForced,
    /// A participant acknowledges a commit, and lets it be done, before the record of it is durable.
    CommittedNotForced,
    /// A participant writes down that its resource has committed when it is told to, not when it has.
    AppliedBeforeEnd,
    /// The coordinator commits when all but one have voted.
    CommitBeforeVotes,
    /// A participant that has voted and waits too long aborts by itself.
    DoubtAborts,
    /// A participant in doubt waits to be told and does not ask.
    DoubtNeverAsks,
    /// The coordinator begins each life with the same epoch, so that ids are used again.
    EpochForgotten,
    /// The coordinator's next life knows nothing of a given-up participant's part in commits that it still tells to others.
    GivenUpIsNoMember,
    /// The coordinator goes on counting the votes of a participant that is given up.
    GiveUpLeavesVoting,
    /// The coordinator's next life does not know which commits were given up.
    GivenUpCommitsForgotten,
}
