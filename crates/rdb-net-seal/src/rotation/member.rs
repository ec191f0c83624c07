//! One member of a rotation.

use std::time::Duration;

use super::Step;

/// What a member waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Waiting {
    /// For the next phase.
    Idle,
    /// For its turn.
    Ready,
    /// For us to hear its answer.
    Answer {
        /// What it was told.
        step: Step,
        /// When it is told again.
        until: Duration,
    },
    /// For a while after a failure.
    Rest {
        /// When it is told again.
        until: Duration,
    },
}

#[derive(Debug)]
pub(super) struct Member {
    /// The last step that it has done.
    pub(super) done: Option<Step>,
    pub(super) waiting: Waiting,
    /// The last step that it was told.
    told: Option<Step>,
}

impl Member {
    pub(super) fn new() -> Self {
        Self { done: None, waiting: Waiting::Idle, told: None }
    }

    /// The step to be told, where it is not as far as the others are led.
    pub(super) fn next_step(&mut self, target: Step) -> Option<Step> {
        let step = self.next().filter(|step| *step <= target)?;
        self.told = self.told.max(Some(step));
        Some(step)
    }

    /// Takes note of an answer. `false` where it says nothing new, or answers what was not asked.
    pub(super) fn acknowledge(&mut self, step: Step) -> bool {
        let is_next = self.next() == Some(step) && self.told >= Some(step);
        if is_next {
            self.done = Some(step);
        }
        is_next
    }

    /// Begins again from the first step. Returns the last one that was done.
    pub(super) fn forget(&mut self) -> Option<Step> {
        self.told = None;
        self.done.take()
    }

    fn next(&self) -> Option<Step> {
        self.done.map_or(Some(Step::Install), Step::next)
    }
}
