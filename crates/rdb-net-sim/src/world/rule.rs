//! What must hold in a world, and what it looks like where it does not.

use std::time::Duration;

use super::World;

/// Breaches that are kept; the first ones tell the most.
const BREACHES_MAX: usize = 50;

/// Something that must not have happened: with its seed, from which the same run follows again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("seed {seed}, at {:.6} s, {rule}: {what}", at.as_secs_f64())]
#[non_exhaustive]
pub struct Breach {
    /// The seed of the world.
    pub seed: u64,
    /// When, by the world's time.
    pub at: Duration,
    /// Which rule it goes against.
    pub rule: &'static str,
    /// What the rule said.
    pub what: String,
}

type Asked<M> = Box<dyn FnMut(&World<M>, usize) -> Result<(), String>>;

/// Rules, each asked at its time.
pub(crate) struct Rules<M> {
    each_step: Vec<(&'static str, Asked<M>)>,
    at_rest: Vec<(&'static str, Asked<M>)>,
    breaches: Vec<Breach>,
}

impl<M> Rules<M> {
    pub(crate) fn new() -> Self {
        Self { each_step: Vec::new(), at_rest: Vec::new(), breaches: Vec::new() }
    }
}

impl<M> World<M> {
    /// Adds a rule that is asked after each step, with the host that has taken it: what can go wrong there alone need not be looked
    /// for at all of them. An `Err` is a [`Breach`].
    pub fn always(
        &mut self,
        name: &'static str,
        rule: impl FnMut(&Self, usize) -> Result<(), String> + 'static,
    ) -> &mut Self {
        self.rules.each_step.push((name, Box::new(rule)));
        self
    }

    /// Adds a rule that is asked by [`World::check_at_rest`].
    pub fn at_rest(
        &mut self,
        name: &'static str,
        mut rule: impl FnMut(&Self) -> Result<(), String> + 'static,
    ) -> &mut Self {
        self.rules.at_rest.push((name, Box::new(move |world, _| rule(world))));
        self
    }

    /// Asks the rules about a world at rest: call it when nothing more is expected to happen.
    pub fn check_at_rest(&mut self) {
        let mut rules = std::mem::take(&mut self.rules.at_rest);
        self.ask(&mut rules, 0);
        self.rules.at_rest = rules;
    }

    /// What has gone against a rule so far; the first fifty.
    pub fn breaches(&self) -> &[Breach] {
        &self.rules.breaches
    }

    /// Whether every rule has held so far.
    ///
    /// # Errors
    ///
    /// The first [`Breach`].
    pub fn verdict(&self) -> Result<(), Breach> {
        self.rules.breaches.first().cloned().map_or(Ok(()), Err)
    }

    /// A host has taken a step.
    pub(crate) fn stepped(&mut self, host: usize) {
        if self.rules.each_step.is_empty() {
            return;
        }
        let mut rules = std::mem::take(&mut self.rules.each_step);
        self.ask(&mut rules, host);
        self.rules.each_step = rules;
    }

    pub(crate) fn note(&mut self, rule: &'static str, what: String) {
        if self.rules.breaches.len() < BREACHES_MAX {
            let breach = Breach { seed: self.config.seed, at: self.now, rule, what };
            self.rules.breaches.push(breach);
        }
    }

    fn ask(&mut self, rules: &mut [(&'static str, Asked<M>)], host: usize) {
        for (name, rule) in rules {
            if let Err(what) = rule(self, host) {
                self.note(name, what);
            }
        }
    }
}
