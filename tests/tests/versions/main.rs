//! The previous release beside today's: each reads what the other writes, and a connection between them behaves as one
//! between two of the first version. So does membership among nodes of both.
//!
//! The previous code is a frozen copy in `tests/previous`. Everything runs in virtual time in this process; a cluster of
//! processes of both versions is in `rolling.rs`.

mod encodings;
mod end;
mod gossip;
mod pair;
mod random;
mod sessions;
