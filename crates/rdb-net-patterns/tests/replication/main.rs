//! A replicated log in runs that a seed draws: crashes, restarts, cuts, loss, delay and reordering at every step, and leaders that
//! are named one after the other. The rules of `replication::check` must hold of each.
//!
//! | variable | meaning |
//! |---|---|
//! | `REPLICATION_RUNS` | how many runs, by default 500 |
//! | `REPLICATION_SEED` | the first of them; with `REPLICATION_RUNS=1` that run alone, with all that happened in it |

mod application;
mod compacting;
mod deaths;
mod disk;
mod epochs;
mod mutations;
mod network;
mod refusing;
mod runs;
mod script;
mod steps;
mod world;
