//! The one async driver of discovery backends.
//!
//! A [`Backend`] knows one kind of source: how to follow it, and, where nodes register themselves, how to write, renew and withdraw
//! one. It tells what it hears to a [`Voice`]. Everything else is the same for all of them and lives here: [`Discovery`] is the
//! component with the standard traits, which starts although the source is away, keeps the last good list, in memory and through
//! a [`LastGoodStore`](rdb_discovery::LastGoodStore), drives the registration machine, and ends with nothing left.
//! [`CompositeDiscovery`] makes one source of several; [`wait_for`] waits until a number of nodes is there. What backends with a server
//! have in common is here too: its URL, the files for TLS ([`ServerUrl`], [`TlsFiles`]) and the waits between tries ([`Retry`]).
//!
//! With the feature `conformance`, the module `conformance` holds what every backend must do, as test cases.

mod backend;
mod composite;
mod config;
#[cfg(feature = "conformance")]
pub mod conformance;
mod delegate;
mod discovery;
mod gather;
mod last_good;
mod registering;
mod retry;
mod server;
mod voice;

pub use backend::{Backend, Registrar, RegistrationFault};
pub use composite::CompositeDiscovery;
pub use config::DriverConfig;
pub use discovery::{Discovery, DiscoveryStatistics};
pub use gather::{GatherError, wait_for};
pub use retry::{Retry, seed};
pub use server::{ServerUrl, TlsFile, TlsFileError, TlsFiles, TlsTexts, UrlError, shown_url, with_sources};
pub use voice::Voice;
