//! The simulator and its scenarios, one sentence a test.

mod hosts;
mod rules;
mod runs;
mod scenarios;
