//! What members tell each other of keys, inside their mTLS connection: keys at join and on demand, and the steps of a rotation.
//!
//! Bytes, all integers big-endian. An offer: version (1), kind (1), number of keys (1, from 1 to 8), place of the primary among
//! them (1), then 32 bytes a key. An order: version (1), kind (1), the key's name (4). Nothing may follow.

use std::fmt;
use std::time::Duration;

use crate::key::{GossipKey, KEY_BYTES, KeyId};
use crate::keyring::{KEYS_MAX, Keyring, KeyringError};
use crate::secret::SecretBytes;

const VERSION: u8 = 1;
const KIND_OFFER: u8 = 1;
const KIND_USE: u8 = 2;
const KIND_REMOVE: u8 = 3;

const OFFER_HEADER_BYTES: usize = 4;
/// The longest offer, in bytes.
pub const OFFER_BYTES_MAX: usize = OFFER_HEADER_BYTES + KEYS_MAX * KEY_BYTES;

/// A message about keys that cannot be read. The peer that sent it is at fault, or speaks a newer version; nothing was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MessageError {
    /// It is written in another version.
    #[error("a message about keys in version {version}, this build reads {VERSION}")]
    Version {
        /// The version that it names.
        version: u8,
    },
    /// It is another message than the one that was expected.
    #[error("a message about keys of kind {kind} where another was expected")]
    Kind {
        /// The kind that it names.
        kind: u8,
    },
    /// It is shorter or longer than what it says to hold.
    #[error("a message about keys with {bytes} bytes, which does not fit its content")]
    Length {
        /// Its length, in bytes.
        bytes: usize,
    },
    /// It holds no key or too many, or names a primary that it does not hold.
    #[error("an offer of {keys} keys with key {primary} as the primary one; from 1 to {KEYS_MAX} are legal")]
    Count {
        /// How many keys it says to hold.
        keys: u8,
        /// Which of them it says to be the primary.
        primary: u8,
    },
    /// It holds two keys of one name.
    #[error("an offer that holds key {id} twice")]
    Twice {
        /// The name.
        id: KeyId,
    },
}

/// Keys that one member hands to another: its whole keyring.
pub struct KeyringOffer {
    keys: Vec<GossipKey>,
    primary: KeyId,
}

impl fmt::Debug for KeyringOffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyringOffer").field("keys", &self.keys).field("primary", &self.primary).finish()
    }
}

impl KeyringOffer {
    /// All keys of a keyring; `None` where it has none.
    ///
    /// The bytes go into an mTLS connection to a node whose role is proved, and nowhere else. They are wiped when dropped; the
    /// buffers of the connection are not this crate's.
    pub fn encode(keyring: &Keyring) -> Option<SecretBytes> {
        let snapshot = keyring.snapshot();
        // The primary is the first of a snapshot.
        snapshot.primary()?;
        let mut bytes = Vec::with_capacity(OFFER_HEADER_BYTES + snapshot.keys().len() * KEY_BYTES);
        bytes.extend([VERSION, KIND_OFFER, snapshot.keys().len() as u8, 0]);
        snapshot.keys().iter().for_each(|key| bytes.extend_from_slice(key.key.bytes.expose()));
        Some(SecretBytes::new(bytes))
    }

    /// Reads an offer.
    ///
    /// # Errors
    ///
    /// [`MessageError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, MessageError> {
        let length = MessageError::Length { bytes: bytes.len() };
        let (header, keys) = bytes.split_at_checked(OFFER_HEADER_BYTES).ok_or(length)?;
        let &[version, kind, count, primary] = header else { return Err(length) };
        check_header(version, kind == KIND_OFFER, kind)?;
        if count == 0 || usize::from(count) > KEYS_MAX || primary >= count {
            return Err(MessageError::Count { keys: count, primary });
        }
        let (keys, rest) = keys.as_chunks::<KEY_BYTES>();
        if keys.len() != usize::from(count) || !rest.is_empty() {
            return Err(length);
        }
        let mut read: Vec<GossipKey> = Vec::with_capacity(keys.len());
        for key in keys {
            let key = GossipKey::take(&mut zeroize::Zeroizing::new(*key));
            if read.iter().any(|other| other.id() == key.id()) {
                return Err(MessageError::Twice { id: key.id() });
            }
            read.push(key);
        }
        let primary = read[usize::from(primary)].id();
        Ok(Self { keys: read, primary })
    }

    /// The names of the offered keys.
    pub fn ids(&self) -> impl Iterator<Item = KeyId> {
        self.keys.iter().map(GossipKey::id)
    }

    /// The name of the key that the offering member seals with.
    pub fn primary(&self) -> KeyId {
        self.primary
    }

    /// Installs what the keyring lacks. The offered primary becomes the primary where the keyring had none, or did not know
    /// that key: then this member has missed a rotation. A primary that it knew is not taken over: the one who offers may be
    /// the one who is behind.
    ///
    /// # Errors
    ///
    /// [`KeyringError`] of the first key that could not be installed. The ones before it were.
    pub fn accept(self, keyring: &Keyring, now: Duration) -> Result<Accepted, KeyringError> {
        let takes_primary = keyring.primary().is_none() || !keyring.contains(self.primary);
        let mut accepted = Accepted { installed: 0, primary: None };
        let (primary, mut keys) = (self.primary, self.keys);
        // The primary first: where there is no room for all, it is the one that is needed.
        keys.sort_by_key(|key| key.id() != primary);
        for key in keys {
            if !keyring.contains(key.id()) {
                accepted.installed += 1;
            }
            keyring.install(key, now)?;
            if takes_primary && accepted.primary.is_none() {
                keyring.use_key(primary)?;
                accepted.primary = Some(primary);
            }
        }
        Ok(accepted)
    }
}

/// What an offer changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accepted {
    /// How many keys were new.
    pub installed: usize,
    /// The primary, where the offer changed it.
    pub primary: Option<KeyId>,
}

impl Accepted {
    /// Whether anything is otherwise than before.
    pub fn is_news(self) -> bool {
        self.installed > 0 || self.primary.is_some()
    }
}

/// A step of a rotation that needs no key to be sent. The first step, to install a key, is sent as a [`KeyringOffer`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RotationOrder {
    /// Seal with this key.
    Use(KeyId),
    /// Forget this key.
    Remove(KeyId),
}

impl RotationOrder {
    /// Its bytes.
    pub fn encode(self) -> [u8; 6] {
        let (kind, id) = match self {
            Self::Use(id) => (KIND_USE, id),
            Self::Remove(id) => (KIND_REMOVE, id),
        };
        let [a, b, c, d] = id.as_u32().to_be_bytes();
        [VERSION, kind, a, b, c, d]
    }

    /// Reads an order.
    ///
    /// # Errors
    ///
    /// [`MessageError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, MessageError> {
        let &[version, kind, a, b, c, d] = bytes else { return Err(MessageError::Length { bytes: bytes.len() }) };
        check_header(version, matches!(kind, KIND_USE | KIND_REMOVE), kind)?;
        let id = KeyId::from_u32(u32::from_be_bytes([a, b, c, d]));
        Ok(if kind == KIND_USE { Self::Use(id) } else { Self::Remove(id) })
    }

    /// Does what is ordered. To remove a key that is not there is done already.
    ///
    /// # Errors
    ///
    /// [`KeyringError`]: this member does not have the key to be used, or still seals with the one to be removed. It is behind,
    /// and is told again from the first step.
    pub fn apply(self, keyring: &Keyring) -> Result<(), KeyringError> {
        match self {
            Self::Use(id) => keyring.use_key(id),
            Self::Remove(id) => match keyring.remove(id) {
                Err(KeyringError::Unknown { .. }) => Ok(()),
                result => result,
            },
        }
    }
}

fn check_header(version: u8, is_expected: bool, kind: u8) -> Result<(), MessageError> {
    match (version, is_expected) {
        (VERSION, true) => Ok(()),
        (VERSION, false) => Err(MessageError::Kind { kind }),
        _ => Err(MessageError::Version { version }),
    }
}
