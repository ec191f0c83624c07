//! The simulator and its scenarios, one sentence a test.

mod hosts;
mod links;
#[cfg(feature = "mutations")]
mod mutations;
mod rules;
mod runs;
mod scenarios;
mod storms;
