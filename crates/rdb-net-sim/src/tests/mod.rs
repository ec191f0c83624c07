//! The simulator and its scenarios, one sentence a test.

mod hosts;
mod runs;
mod scenarios;
