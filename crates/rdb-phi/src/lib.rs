//! Phi accrual failure detector (Hayashibara, Défago, Yared, Katayama: "The φ accrual failure detector", SRDS 2004).
//!
//! A detector with a fixed time-out answers yes or no, and one time-out suits no two links. This one answers with a number
//! on a continuous scale: `phi = -log10(P)`, where `P` is the probability that a heartbeat comes even later than this one,
//! learnt from the intervals of the heartbeats that came. Phi 1 is wrong once in ten times, phi 8 once in a hundred million.
//! Several [`Listeners`] read one stream, each with its own threshold, and none has to poll: between two heartbeats
//! [`PhiDetector::deadline`] gives the very time at which a threshold will be reached.
//!
//! ```
//! use std::time::Duration;
//! use rdb_phi::{Config, PhiDetector};
//!
//! let second = Duration::from_secs(1);
//! let mut link = PhiDetector::new(Config::default(), Duration::ZERO);
//! for beat in 1..=60 {
//!     link.heartbeat(beat * second, Some(u64::from(beat)));
//! }
//! assert!(link.phi(61 * second) < 0.1);
//! let deadline = link.deadline(8.0).expect("every finite threshold is reached");
//! assert!((64 * second..65 * second).contains(&deadline));
//! assert!(link.phi(deadline) >= 8.0);
//! ```
//!
//! The detector declares nothing. It is worth its 700 bytes on links that carry regular traffic; on SWIM probes, where a pair
//! meets once in many minutes, its window would never fill.

mod config;
mod detector;
mod listeners;
mod normal;
mod window;

pub use config::{Config, Model};
pub use detector::{PhiDetector, Statistics};
pub use listeners::{Listeners, Notice};
