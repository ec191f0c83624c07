//! Queries in runs that a seed draws: nodes that are slow, cut off and killed, replies lost at every step, parts with replicas, and
//! readers that take their time. The rules of `check` must hold of each, and each planted bug must break the one that is named for it.
//!
//! | variable | meaning |
//! |---|---|
//! | `QUERY_RUNS` | how many runs, by default 2,000 |
//! | `QUERY_SEED` | the first of them; with `QUERY_RUNS=1` that run alone, with all that happened in it |

mod check;
mod history;
mod requests;
mod runs;
mod script;
mod world;
