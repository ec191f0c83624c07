//! Sealing and opening.
//!
//! # Why no nonce repeats
//!
//! The keyring's key is shared by all members and seals nothing itself. What seals is derived from it by HKDF, salted with
//! *sender and epoch*: 64 bits that name the node and 128 random bits that a [`PacketSeal`] draws when it is made. Under a
//! derived key the nonce is a 64-bit counter that belongs to the same `PacketSeal`, only grows, and is refused at its end. So:
//!
//! - Within one life counters do not repeat; that several keys share the counter leaves gaps, nothing else.
//! - After a restart the counter begins anew under another epoch, hence another derived key: nothing has to be stored. Two
//!   lives of one node share an epoch once in 2¹²⁸ pairs; after a billion restarts the chance of any pair is 2⁻⁶⁹.
//! - A thousand members of one key are a thousand derived keys, each with its own 2⁶⁴ nonces. The same holds where two nodes
//!   claim one name: they draw different epochs.
//! - The epoch cannot be given or copied: there is no constructor that takes one, and a `PacketSeal` is not cloned.
//!
//! What this cannot see is a copy of the running process: a virtual machine that is cloned or set back to a snapshot with the
//! process in it. The time in the rest of the nonce makes a repetition unlikely then, not impossible: restart the process.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use aws_lc_rs::aead::{Aad, LessSafeKey, Nonce};
use rdb_net_types::{ClusterId, NodeId};

use super::config::SealConfig;
use super::header::{
    Cluster, Epoch, HEADER_BYTES, Header, Life, PACKET_OVERHEAD_BYTES, PLAINTEXT_BYTES_MAX, PacketKind, SenderId,
    VERSION,
};
use super::refused::{Refused, SealStatistics};
use super::senders::{DerivedKey, Senders};
use super::time::UnixTime;
use crate::cipher::{self, CipherError};
use crate::key::{KeyBytes, KeyId};
use crate::keyring::Keyring;

const LABEL: &[u8] = b"rdb-net-seal gossip v1";

/// A packet that was not sealed. Nothing was appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// The keyring is empty: this node has not joined, and nobody has given it a key yet. Try again once it has.
    #[error("the keyring holds no key to seal with; this node has not been given one yet")]
    NoKey,
    /// The plaintext is longer than any datagram. The caller is at fault.
    #[error("{bytes} bytes are too many for a packet, {PLAINTEXT_BYTES_MAX} is the limit")]
    TooLong {
        /// Its length, in bytes.
        bytes: usize,
    },
    /// All 2⁶⁴ counters of this life are used up. It never seals again; a new one starts afresh.
    #[error("all counters of this sender are used up; it has to start anew")]
    CountersExhausted,
    /// The cryptographic provider failed.
    #[error(transparent)]
    Cipher(#[from] CipherError),
}

/// A packet that was opened.
#[derive(PartialEq, Eq)]
pub struct Opened<'a> {
    /// What was inside, where the packet lay.
    pub plaintext: &'a mut [u8],
    /// What it is.
    pub kind: PacketKind,
    /// Who sealed it, as far as holders of the key do not lie.
    pub sender: SenderId,
    /// The key that it was sealed with.
    pub key: KeyId,
}

impl fmt::Debug for Opened<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opened")
            .field("bytes", &self.plaintext.len())
            .field("kind", &self.kind)
            .field("sender", &self.sender)
            .field("key", &self.key)
            .finish()
    }
}

/// Seals what one process sends, and opens what it receives. One for each gossip socket; the keyring may be shared.
pub struct PacketSeal {
    keyring: Arc<Keyring>,
    cluster: Cluster,
    config: SealConfig,
    life: Life,
    /// The last counter that was used.
    counter: u64,
    /// What was derived from the primary key to seal with.
    sealing: Option<DerivedKey>,
    senders: Senders,
    statistics: SealStatistics,
}

impl fmt::Debug for PacketSeal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PacketSeal")
            .field("sender", &self.life.sender)
            .field("keyring", &self.keyring)
            .field("statistics", &self.statistics())
            .finish_non_exhaustive()
    }
}

impl PacketSeal {
    /// Begins a life of this node: draws its epoch.
    ///
    /// # Errors
    ///
    /// [`CipherError`] when the machine gives no random bytes.
    pub fn new(
        keyring: Arc<Keyring>,
        cluster: &ClusterId,
        node: &NodeId,
        config: SealConfig,
        now: UnixTime,
    ) -> Result<Self, CipherError> {
        Ok(Self::with_epoch(keyring, cluster, node, config, now, Epoch::draw()?))
    }

    /// Only tests choose an epoch.
    pub(crate) fn with_epoch(
        keyring: Arc<Keyring>,
        cluster: &ClusterId,
        node: &NodeId,
        config: SealConfig,
        now: UnixTime,
        epoch: Epoch,
    ) -> Self {
        Self {
            keyring,
            cluster: Cluster::of(cluster),
            config,
            life: Life { sender: SenderId::of(node), epoch },
            counter: 0,
            sealing: None,
            senders: Senders::new(config.senders_max, now.earlier(config.before_start_max)),
            statistics: SealStatistics::default(),
        }
    }

    /// The keyring that it seals and opens with.
    pub fn keyring(&self) -> &Arc<Keyring> {
        &self.keyring
    }

    /// What its packets name as their sender.
    pub fn sender(&self) -> SenderId {
        self.life.sender
    }

    /// Seals with the primary key and appends the packet, which is [`PACKET_OVERHEAD_BYTES`] longer than the plaintext. `now`
    /// is the wall clock. Allocates nothing where `out` has room, but for the first packet under a key.
    ///
    /// # Errors
    ///
    /// [`SealError`]; `out` is as before.
    pub fn seal_into(
        &mut self,
        out: &mut Vec<u8>,
        kind: PacketKind,
        plaintext: &[u8],
        now: UnixTime,
    ) -> Result<(), SealError> {
        if plaintext.len() > PLAINTEXT_BYTES_MAX {
            return Err(SealError::TooLong { bytes: plaintext.len() });
        }
        let keyring = self.keyring.snapshot();
        let primary = keyring.primary().ok_or(SealError::NoKey)?;
        self.counter = self.counter.checked_add(1).ok_or(SealError::CountersExhausted)?;
        let header = Header { kind, key: primary.id(), life: self.life, counter: self.counter, sealed_at: now };
        let key = sealing_key(&mut self.sealing, primary.serial, &primary.key.bytes, self.life)?;
        let start = out.len();
        append(out, key, &header, &self.cluster, plaintext).inspect_err(|_| out.truncate(start))?;
        primary.packets_sealed.fetch_add(1, Ordering::Relaxed);
        primary.bytes_sealed.fetch_add(plaintext.len() as u64, Ordering::Relaxed);
        self.statistics.packets_sealed += 1;
        self.statistics.bytes_sealed += (plaintext.len() + PACKET_OVERHEAD_BYTES) as u64;
        Ok(())
    }

    /// Opens a packet where it lies. `now` is the wall clock. Allocates nothing for a sender and key that are known.
    ///
    /// # Errors
    ///
    /// [`Refused`]: it is counted, and nothing else has changed. The packet's bytes may be overwritten; they are to be dropped
    /// without an answer.
    pub fn open_in_place<'a>(&mut self, packet: &'a mut [u8], now: UnixTime) -> Result<Opened<'a>, Refused> {
        let bytes = packet.len() as u64;
        let opened = self.open(packet, now);
        match &opened {
            Ok(_) => {
                self.statistics.packets_opened += 1;
                self.statistics.bytes_opened += bytes;
            }
            Err(reason) => self.statistics.refused[*reason as usize] += 1,
        }
        opened
    }

    fn open<'a>(&mut self, packet: &'a mut [u8], now: UnixTime) -> Result<Opened<'a>, Refused> {
        if packet.len() < PACKET_OVERHEAD_BYTES {
            return Err(Refused::TooShort);
        }
        let (head, sealed) = packet.split_first_chunk_mut::<HEADER_BYTES>().ok_or(Refused::TooShort)?;
        if head[0] != VERSION {
            return Err(Refused::UnknownVersion);
        }
        let header = Header::decode(head);
        let keyring = self.keyring.snapshot();
        self.senders.follow(&keyring);
        let installed = keyring.find(header.key).ok_or(Refused::UnknownKey)?;

        let data = Aad::from(self.cluster.bind(head));
        let nonce = Nonce::assume_unique_for_key(header.nonce());
        let mut derived = None;
        let key = match self.senders.key(&header.life, installed.serial) {
            Some(key) => key,
            None => {
                self.statistics.keys_derived += 1;
                derived.insert(cipher::derive(&installed.key.bytes, &header.life.salt(), LABEL)?)
            }
        };
        let plaintext = key.open_in_place(nonce, data, sealed).map_err(|_| Refused::Forged)?;

        // From here on the packet is of a holder of the key, or a copy of such a one.
        if header.life == self.life {
            return Err(Refused::FromMyself);
        }
        if header.sealed_at < now.earlier(self.config.age_max.saturating_add(self.config.skew_max)) {
            return Err(Refused::TooOld);
        }
        if header.sealed_at > now.later(self.config.skew_max) {
            return Err(Refused::TooNew);
        }
        self.senders.admit(&header, derived.map(|key| (installed.serial, key)))?;
        installed.packets_opened.fetch_add(1, Ordering::Relaxed);
        Ok(Opened { plaintext, kind: header.kind, sender: header.life.sender, key: header.key })
    }

    /// Whether this process has sealed as much with the primary key as it should: a rotation is due.
    pub fn wants_rotation(&self) -> bool {
        self.keyring.snapshot().primary().is_some_and(|key| {
            key.packets_sealed.load(Ordering::Relaxed) >= self.config.packets_per_key_max
                || key.bytes_sealed.load(Ordering::Relaxed) >= self.config.bytes_per_key_max
        })
    }

    /// What was sealed, opened and refused.
    pub fn statistics(&self) -> SealStatistics {
        SealStatistics {
            senders: self.senders.len() as u64,
            senders_evicted: self.senders.evicted(),
            ..self.statistics
        }
    }

    #[cfg(test)]
    pub(crate) fn set_counter(&mut self, counter: u64) {
        self.counter = counter;
    }

    #[cfg(test)]
    pub(crate) fn senders(&self) -> &Senders {
        &self.senders
    }
}

/// The key that was derived from this one, derived now if it was not.
fn sealing_key<'a>(
    sealing: &'a mut Option<DerivedKey>,
    serial: u64,
    key: &KeyBytes,
    life: Life,
) -> Result<&'a LessSafeKey, CipherError> {
    sealing.take_if(|(of, _)| *of != serial);
    let derived = match sealing.take() {
        Some(derived) => derived,
        None => (serial, cipher::derive(key, &life.salt(), LABEL)?),
    };
    Ok(&sealing.insert(derived).1)
}

fn append(
    out: &mut Vec<u8>,
    key: &LessSafeKey,
    header: &Header,
    cluster: &Cluster,
    plaintext: &[u8],
) -> Result<(), CipherError> {
    let head = header.encode();
    out.reserve(plaintext.len() + PACKET_OVERHEAD_BYTES);
    out.extend_from_slice(&head);
    let start = out.len();
    out.extend_from_slice(plaintext);
    let nonce = Nonce::assume_unique_for_key(header.nonce());
    let tag = key
        .seal_in_place_separate_tag(nonce, Aad::from(cluster.bind(&head)), &mut out[start..])
        .map_err(|_| CipherError)?;
    out.extend_from_slice(tag.as_ref());
    Ok(())
}
