//! Races and counts: how this workspace's request path compares with others, and what one operation costs.
//!
//! These binaries use this library.
//!
//! - `race` runs echo servers side by side in one run on loopback, client and server as two processes, repetitions
//!   interleaved over the peers so that a noisy minute hits all alike. Rates of a small virtual machine do not carry
//!   over to another one: the ratios of a run do, so a gate is always a ratio of pairs from the same run.
//! - `count` counts allocations and instructions per operation. Both are nearly free of noise, so they can be gated
//!   tightly where a rate cannot.
//! - `replication` and `scatter` measure a replicated log and a query over many nodes beside what they are built on, in one
//!   run: one-way messages, and one node alone.
//!
//! A race is read with its mode ([`workload::Mode`]). On one core it shows the software path and a context switch; free on two
//! cores it mostly shows what waking an idle core costs; on a multi-threaded runtime it shows wake-ups across threads.
//!
//! | module | purpose |
//! |---|---|
//! | [`workload`] | what is measured, and on which runtime and cores |
//! | [`peers`] | who takes part: each peer serves and drives |
//! | [`certificates`] | what peers with TLS prove who they are with |
//! | [`measure`] | window, latencies, processor time, pinning |
//! | [`race`] | child processes, schedule, statistics, gate, report |
//! | [`nodes`] | whole nodes as processes, for what is built on them |
//! | [`probe`] | what no race against others shows: frames, urgent messages, many peers, copies |
//! | [`count`] | operations, allocation counts, instruction counts |

pub mod certificates;
pub mod count;
pub mod measure;
pub mod nodes;
pub mod peers;
mod pipe;
pub mod probe;
pub mod race;
pub mod workload;
