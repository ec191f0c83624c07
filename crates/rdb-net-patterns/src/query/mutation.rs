//! Bugs that can be planted in a query: what checks a run must find each of them.
//!
//! A check that nothing has ever failed proves little. With the feature `mutations` one of these can be planted; the simulation
//! then shows which of its rules finds it. Without the feature none can, and the question below is a constant.

/// A bug of a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(not(feature = "mutations"), expect(unreachable_pub, reason = "public with the feature"))]
pub enum Mutation {
    /// The next node is asked where the one before it may have acted, though the query may not be carried out twice.
    AsksAfterUnknown,
    /// Nobody is told to stop when enough parts are complete.
    NoCancelAtFirst,
    /// A part counts as complete when its node has died in the middle of its rows.
    BrokenIsComplete,
    /// What has come by the deadline, and was not taken yet, is thrown away.
    DropsAtDeadline,
    /// The next node is asked when some rows of the one before it were given.
    MixesNodes,
    /// A node that was not reached by the deadline counts as one that may have acted.
    UnsentIsLate,
    /// A part that is late or broken does not say who was asked before.
    ForgetsTried,
    /// Rows are taken for as long as they come, the deadline or not.
    TakesOnBehindDeadline,
    /// A request that went at once counts as not sent until somebody looks at it.
    SentIsNotSeen,
    /// An end that waits behind a window's rows at the deadline is thrown away.
    ForgetsEnds,
}
