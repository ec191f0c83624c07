//! Bugs that others had, to be planted here: what checks a cluster must find each of them.
//!
//! A check that nothing has ever failed proves little. With the feature `mutations` one of these can be planted in a machine; the
//! simulator then shows which of its rules finds it. Without the feature none can, and the questions below are constants.

use crate::swim::Swim;

/// A bug that was found in the field, or in the code of others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(not(feature = "mutations"), expect(unreachable_pub, reason = "public with the feature"))]
pub enum Mutation {
    /// The counter of an incarnation ends and begins anew, so that a refutation loses against what it refutes
    /// (hashicorp/memberlist #358). Here it has one bit, so that a run is long enough for it.
    IncarnationWraps,
    /// What was dropped is taken in again on the word of whoever has not heard of it (hashicorp/memberlist #312).
    GhostsReturn,
    /// A newer statement that changes no state is dropped, with its incarnation (al8n/memberlist, pull request 197).
    EvidenceDropped,
    /// A relay waits for as long as a probe of its own takes before it sends a nack, which then comes after the probe is over: each probe of a
    /// member that is gone counts against the prober's own health (hashicorp/memberlist, `handleIndirectPing`).
    NacksLate,
    /// A probe's deadlines grow with the score of the own health and its schedule does not, so that probes overlap (al8n/memberlist
    /// #165).
    ProbesOverlap,
    /// An update is told for ever (hashicorp/consul #18078).
    RumoursNeverEnd,
    /// The score of the own health has no upper end: a sick member falls mute.
    HealthHasNoLimit,
    /// A suspect has the time that news takes, and none for a pause of its own.
    VerdictsAreHasty,
}

impl Swim {
    /// Plants a bug.
    #[cfg(feature = "mutations")]
    pub fn plant(&mut self, mutation: Mutation) {
        self.planted = Some(mutation);
    }

    #[cfg(feature = "mutations")]
    pub(crate) fn has(&self, mutation: Mutation) -> bool {
        self.planted == Some(mutation)
    }

    #[cfg(not(feature = "mutations"))]
    #[expect(clippy::unused_self, reason = "the same question as with the feature")]
    pub(crate) const fn has(&self, _: Mutation) -> bool {
        false
    }
}
