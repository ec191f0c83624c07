//! Bugs that can be planted in a replica: what checks a run must find each of them.
//!
//! A check that nothing has ever failed proves little. With the feature `mutations` one of these can be planted; the simulation
//! then shows which of its rules finds it. Without the feature none can, and the question below is a constant.

#[cfg(feature = "mutations")]
use super::Replica;

/// A bug of a replicated log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(not(feature = "mutations"), expect(unreachable_pub, reason = "public with the feature"))]
pub enum Mutation {
    /// A follower acknowledges entries before they are durable.
    AckBeforeSync,
    /// A follower acknowledges entries and forgets to write those of every seventh message.
    AckBeforeAppend,
    /// A follower follows a leader whose log knows less than its own.
    GrantsAnybody,
    /// A follower takes entries of a leader that a newer one has replaced.
    EpochUnfenced,
    /// A leader counts replicas of entries of former epochs as if they were its own (Raft, section 5.4.2, figure 8).
    CountsFormerEpochs,
    /// A log is compacted behind what is committed.
    CompactsUncommitted,
    /// A replica that is restored forgets what it has promised.
    RestoreForgetsPromise,
}

#[cfg(feature = "mutations")]
impl<S> Replica<S> {
    /// Plants a bug.
    pub fn plant(&mut self, mutation: Mutation) {
        self.planted.mutation = Some(mutation);
    }
}
