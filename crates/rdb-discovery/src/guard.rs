//! Whether a loss of nodes is believed: the pure decision behind empty answers and mass removals.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::{Cause, Confirmation, NodeKey, Policy};

/// Asking the source again comes at most this often, whatever the confirmation says.
const ASK_EVERY_MIN: Duration = Duration::from_millis(100);

/// What the reconciler would remove by its next step.
#[derive(Debug)]
pub(crate) struct Loss {
    /// Nodes that would be removed and that nobody meant to remove.
    pub(crate) missing: BTreeSet<NodeKey>,
    /// Nodes that are told at this time.
    pub(crate) told: usize,
    /// The source names no node at all.
    pub(crate) empty: bool,
    /// The source has given a full answer; else one of its changes has led here.
    pub(crate) answer: bool,
}

/// Remembers what is held, and since when.
#[derive(Debug, Default)]
pub(crate) struct Guard {
    hold: Option<Hold>,
}

#[derive(Debug)]
struct Hold {
    missing: BTreeSet<NodeKey>,
    base: usize,
    empty: bool,
    first: Duration,
    answers: u32,
    ask_every: Duration,
    ask_at: Duration,
}

impl Guard {
    /// Judges a loss; afterwards [`Guard::holds`] says which nodes stay.
    pub(crate) fn judge(&mut self, policy: &Policy, now: Duration, loss: Loss) {
        // Nodes that were added during a hold must not shrink the share that was lost, nor meant removals hide it.
        let base = self.hold.as_ref().map_or(loss.told, |hold| hold.base.min(loss.told));
        let Some(rule) = rule(policy, &loss, base) else {
            self.hold = None;
            return;
        };
        let steps = rule.answers.saturating_sub(1).max(1);
        let ask_every = (rule.over / steps).max(ASK_EVERY_MIN);
        let hold = match self.hold.take() {
            Some(hold) if loss.missing.is_subset(&hold.missing) => Hold {
                missing: loss.missing,
                empty: loss.empty,
                answers: hold.answers.saturating_add(u32::from(loss.answer)),
                ask_every,
                ask_at: if loss.answer { now.saturating_add(ask_every) } else { hold.ask_at },
                ..hold
            },
            _ => Hold {
                missing: loss.missing,
                base,
                empty: loss.empty,
                first: now,
                answers: 1,
                ask_every,
                ask_at: now.saturating_add(ask_every),
            },
        };
        let confirmed = loss.answer && hold.answers >= rule.answers && now.saturating_sub(hold.first) >= rule.over;
        self.hold = (!confirmed).then_some(hold);
    }

    /// Hears what the source names, before any step: a node that was named in between is not missing since the first time.
    pub(crate) fn hear(&mut self, named: impl Fn(&NodeKey) -> bool) {
        if let Some(hold) = &mut self.hold {
            hold.missing.retain(|key| !named(key));
        }
    }

    /// Whether this node stays though the source does not name it.
    pub(crate) fn holds(&self, key: &NodeKey) -> bool {
        self.hold.as_ref().is_some_and(|hold| hold.missing.contains(key))
    }

    /// How many nodes stay though the source does not name them.
    pub(crate) fn held(&self) -> usize {
        self.hold.as_ref().map_or(0, |hold| hold.missing.len())
    }

    /// Why the list is not what the source says.
    pub(crate) fn cause(&self) -> Option<Cause> {
        self.hold.as_ref().map(|hold| {
            let missing = hold.missing.len();
            if hold.empty {
                Cause::EmptyAnswer { kept: missing }
            } else {
                Cause::MassRemoval { missing, of: hold.base }
            }
        })
    }

    /// When the source should be asked again.
    pub(crate) fn ask_at(&self) -> Option<Duration> {
        self.hold.as_ref().map(|hold| hold.ask_at)
    }

    /// Whether the source should be asked now; then the next time is set.
    pub(crate) fn ask(&mut self, now: Duration) -> bool {
        match &mut self.hold {
            Some(hold) if hold.ask_at <= now => {
                hold.ask_at = now.saturating_add(hold.ask_every);
                true
            }
            _ => false,
        }
    }
}

fn rule(policy: &Policy, loss: &Loss, base: usize) -> Option<Confirmation> {
    if loss.missing.is_empty() {
        return None;
    }
    if loss.empty
        && let Some(rule) = policy.empty_answer
    {
        return Some(rule);
    }
    let mass = policy.mass_removal?;
    let missing = loss.missing.len();
    let large = missing.saturating_mul(100) > base.saturating_mul(usize::from(mass.share_percent));
    (large && missing >= mass.nodes_min).then_some(mass.confirmation)
}
