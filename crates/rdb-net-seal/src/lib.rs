//! What leaves the process outside its TLS connections, sealed: gossip packets, and files on disk.
//!
//! **Packets.** The members of a cluster share gossip keys. A [`PacketSeal`] seals packets with the primary key of a
//! [`Keyring`] and opens those of the others; what is forged, replayed, stale or of another cluster is refused with a
//! [`Refused`] that is counted and never answered. Keys are exchanged at run time: a [`Rotation`] leads all members from one
//! key to the next, a [`Recovery`] brings back the one that missed a step, and a [`KeyringOffer`] carries keys from member to
//! member, inside their mTLS connection.
//!
//! **Files.** A [`SealedFile`] replaces its content atomically and keeps the previous one; with a [`StoreKey`] what is on
//! disk is sealed as well.
//!
//! Everything here is pure: time is a parameter, and the files' I/O is a small trait. Entropy is drawn where a secret or a
//! salt must be: from the cryptographic provider, and nowhere else.
//!
//! ```
//! use std::sync::Arc;
//! use std::time::Duration;
//! use rdb_net_seal::{GossipKey, Keyring, PacketKind, PacketSeal, Refused, SealConfig, UnixTime};
//! use rdb_net_types::{ClusterId, NodeId};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let keyring = Arc::new(Keyring::with_key(GossipKey::generate()?, Duration::ZERO));
//! let cluster = ClusterId::new("rustydb")?;
//! let now = UnixTime::now();
//! let mut a = PacketSeal::new(Arc::clone(&keyring), &cluster, &NodeId::new("a")?, SealConfig::default(), now)?;
//! let mut b = PacketSeal::new(keyring, &cluster, &NodeId::new("b")?, SealConfig::default(), now)?;
//!
//! let mut packet = Vec::new();
//! a.seal_into(&mut packet, PacketKind::GOSSIP, b"ping", now)?;
//! let captured = packet.clone();
//! assert_eq!(b.open_in_place(&mut packet, now)?.plaintext, b"ping");
//! assert_eq!(b.open_in_place(&mut captured.clone(), now).err(), Some(Refused::Replayed));
//! # Ok(())
//! # }
//! ```
//!
//! # What is not protected
//!
//! - A member that holds the key may speak in any other member's name: one key is shared by all. Who may say what of whom is
//!   the membership protocol's to decide.
//! - A packet tells who sent it (by a hash), when, how many were sent before, and how long it is.
//! - Gossip has no forward secrecy within the life of a key: who gets the key reads what it sealed. Rotation ends that life.
//! - A file may be rolled back by whoever may write its folder: see [`SealedFile`].

mod cipher;
mod file;
mod key;
mod keyring;
mod offer;
mod packet;
mod recovery;
mod rotation;
mod secret;

pub use cipher::CipherError;
pub use file::{
    ClearFiles, DiskFiles, FileConfig, FileKind, FileOwner, FileStep, Files, Flaw, Loaded, LoadedFrom, Problem,
    SaveError, SealedFile,
};
pub use key::{GossipKey, KEY_BYTES, KeyError, KeyFault, KeyId, KeySource, StoreKey};
pub use keyring::{KEYS_MAX, KeyState, KeyStatus, Keyring, KeyringError};
pub use offer::{Accepted, KeyringOffer, MessageError, OFFER_BYTES_MAX, RotationOrder};
pub use packet::{
    Opened, PACKET_OVERHEAD_BYTES, PLAINTEXT_BYTES_MAX, PacketKind, PacketSeal, Refused, SealConfig, SealError,
    SealStatistics, SenderId, UnixTime, WINDOW_COUNTERS, plaintext_bytes_max,
};
pub use recovery::{Recovery, RecoveryAction, RecoveryConfig};
pub use rotation::{Phase, Rotation, RotationAction, RotationConfig, Step};
pub use secret::SecretBytes;

#[cfg(test)]
mod tests;
