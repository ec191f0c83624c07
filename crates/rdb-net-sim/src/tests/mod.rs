//! The simulator and its scenarios, one sentence a test.

mod hosts;
#[cfg(feature = "mutations")]
mod mutations;
mod rules;
mod runs;
mod scenarios;
mod storms;
