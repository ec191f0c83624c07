//! Fuzz targets for everything that reads a peer's bytes.
//!
//! A target takes any bytes and panics when a promise is broken: nothing panics, no more memory is held than what arrived
//! permits, what is encoded decodes to the same, and the way in which a stream is cut changes nothing. It is one file in
//! `targets/`, one row in [`Target::TABLE`] and one folder in `corpus/`.
//!
//! `cargo xtask fuzz` looks for new inputs, guided by coverage, on the stable toolchain. The corpora are replayed by the
//! ordinary tests, and `cargo run -p rdb-net-fuzz -- TARGET FILE` repeats a single input.

mod compressed;
mod corpus;
mod frames;
mod lanes;
mod memory;
mod messages;
mod script;
mod series;
mod sides;
mod target;
mod targets;
mod world;

pub use corpus::{Corpus, corpora};
pub use target::Target;
