//! The gossip keys of one member: one seals, all open.
//!
//! Keys come and go at run time. Those who seal and open see one whole keyring or the next one, and never wait: a change makes
//! a new list and swaps it in (`arc-swap`). The count of a key is no secret, the key is never shown.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;

use crate::key::{GossipKey, KeyId};

/// The most keys that a keyring holds. A rotation needs two; more are there while rotations overlap.
pub const KEYS_MAX: usize = 8;

/// A change of the keyring that was not made. The one who asked for it is at fault; the keyring is as before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyringError {
    /// There is no room for another key.
    #[error(
        "the keyring holds {KEYS_MAX} keys and has no room for {id}; remove one that no member seals with any more"
    )]
    Full {
        /// The key that was to be installed.
        id: KeyId,
    },
    /// Another key has the same name.
    #[error("another key of the keyring is named {id} already; generate a new key")]
    NameTaken {
        /// The name.
        id: KeyId,
    },
    /// No key has this name.
    #[error("the keyring holds no key {id}; install it first")]
    Unknown {
        /// The name.
        id: KeyId,
    },
    /// The primary key cannot be removed.
    #[error("key {id} is the primary key, which seals what this member sends; use another key before removing it")]
    IsPrimary {
        /// The name.
        id: KeyId,
    },
}

/// What a key is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyState {
    /// It seals and opens.
    Primary,
    /// It opens.
    Installed,
}

impl KeyState {
    /// The state in lower case.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Primary => "primary",
            Self::Installed => "installed",
        }
    }
}

/// A key of a keyring, as an operator sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyStatus {
    /// Its name.
    pub id: KeyId,
    /// What it is there for.
    pub state: KeyState,
    /// How long this member has had it.
    pub age: Duration,
    /// Packets that this member sealed with it.
    pub packets_sealed: u64,
    /// Bytes of the packets that this member sealed with it, before they were sealed.
    pub bytes_sealed: u64,
    /// Packets of others that it opened.
    pub packets_opened: u64,
}

/// A key in its place.
pub(crate) struct Installed {
    pub(crate) key: GossipKey,
    /// A number that no other key of this keyring has or had, whatever its name.
    pub(crate) serial: u64,
    /// When, by the clock of whoever installed it.
    at: Duration,
    pub(crate) packets_sealed: AtomicU64,
    pub(crate) bytes_sealed: AtomicU64,
    pub(crate) packets_opened: AtomicU64,
}

impl Installed {
    pub(crate) fn id(&self) -> KeyId {
        self.key.id()
    }
}

/// One state of the keyring. The primary is the first of the keys.
pub(crate) struct Snapshot {
    /// It grows with each change.
    pub(crate) version: u64,
    keys: Vec<Arc<Installed>>,
}

impl Snapshot {
    pub(crate) fn primary(&self) -> Option<&Arc<Installed>> {
        self.keys.first()
    }

    pub(crate) fn find(&self, id: KeyId) -> Option<&Arc<Installed>> {
        self.keys.iter().find(|key| key.id() == id)
    }

    pub(crate) fn keys(&self) -> &[Arc<Installed>] {
        &self.keys
    }
}

/// The gossip keys of one member, at most [`KEYS_MAX`].
pub struct Keyring {
    current: ArcSwap<Snapshot>,
    /// One change at a time. Readers do not know of it.
    changing: Mutex<()>,
}

impl std::fmt::Debug for Keyring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let snapshot = self.snapshot();
        f.debug_list().entries(snapshot.keys.iter().map(|key| key.id())).finish()
    }
}

impl Keyring {
    /// Without a key: nothing can be sealed or opened until one is installed. That is how a node begins that has not joined.
    pub fn empty() -> Self {
        let snapshot = Snapshot { version: 0, keys: Vec::new() };
        Self { current: ArcSwap::from_pointee(snapshot), changing: Mutex::new(()) }
    }

    /// With its first key, which is the primary. `now` is of the clock that [`install`](Self::install) and
    /// [`list`](Self::list) are told.
    pub fn with_key(key: GossipKey, now: Duration) -> Self {
        let keyring = Self::empty();
        // An empty keyring has room, and no other key to collide with.
        let _installed = keyring.install(key, now);
        keyring
    }

    /// Installs a key: from here on what others sealed with it is opened. The first key of all becomes the primary. A key that
    /// is there already stays as it is.
    ///
    /// # Errors
    ///
    /// [`KeyringError::Full`] and [`KeyringError::NameTaken`].
    pub fn install(&self, key: GossipKey, now: Duration) -> Result<KeyId, KeyringError> {
        let id = key.id();
        self.change(|keys, serial| {
            if let Some(present) = keys.iter().find(|present| present.id() == id) {
                let is_same = present.key.bytes.is_same(&key.bytes);
                return if is_same { Ok(()) } else { Err(KeyringError::NameTaken { id }) };
            }
            if keys.len() >= KEYS_MAX {
                return Err(KeyringError::Full { id });
            }
            keys.push(Arc::new(Installed {
                key,
                serial,
                at: now,
                packets_sealed: AtomicU64::new(0),
                bytes_sealed: AtomicU64::new(0),
                packets_opened: AtomicU64::new(0),
            }));
            Ok(())
        })?;
        Ok(id)
    }

    /// Makes an installed key the primary: from here on it seals. The former one still opens.
    ///
    /// # Errors
    ///
    /// [`KeyringError::Unknown`].
    pub fn use_key(&self, id: KeyId) -> Result<(), KeyringError> {
        self.change(|keys, _| {
            let place = keys.iter().position(|key| key.id() == id).ok_or(KeyringError::Unknown { id })?;
            keys[..=place].rotate_right(1);
            Ok(())
        })
    }

    /// Removes a key: from here on what was sealed with it is refused. It is wiped when the last packet under way is done
    /// with it, and what was derived from it when the next packet is sealed and opened.
    ///
    /// # Errors
    ///
    /// [`KeyringError::IsPrimary`] and [`KeyringError::Unknown`].
    pub fn remove(&self, id: KeyId) -> Result<(), KeyringError> {
        self.change(|keys, _| match keys.iter().position(|key| key.id() == id) {
            None => Err(KeyringError::Unknown { id }),
            Some(0) => Err(KeyringError::IsPrimary { id }),
            Some(place) => {
                keys.remove(place);
                Ok(())
            }
        })
    }

    /// The name of the key that seals.
    pub fn primary(&self) -> Option<KeyId> {
        self.snapshot().primary().map(|key| key.id())
    }

    /// Whether the key is installed.
    pub fn contains(&self, id: KeyId) -> bool {
        self.snapshot().find(id).is_some()
    }

    /// The keys, the primary first, then in the order in which they served and came.
    pub fn list(&self, now: Duration) -> Vec<KeyStatus> {
        let snapshot = self.snapshot();
        let status = |(place, key): (usize, &Arc<Installed>)| KeyStatus {
            id: key.id(),
            state: if place == 0 { KeyState::Primary } else { KeyState::Installed },
            age: now.saturating_sub(key.at),
            packets_sealed: key.packets_sealed.load(Ordering::Relaxed),
            bytes_sealed: key.bytes_sealed.load(Ordering::Relaxed),
            packets_opened: key.packets_opened.load(Ordering::Relaxed),
        };
        snapshot.keys.iter().enumerate().map(status).collect()
    }

    pub(crate) fn snapshot(&self) -> arc_swap::Guard<Arc<Snapshot>> {
        self.current.load()
    }

    fn change(
        &self,
        change: impl FnOnce(&mut Vec<Arc<Installed>>, u64) -> Result<(), KeyringError>,
    ) -> Result<(), KeyringError> {
        // The lock guards no data: whoever panicked under it has swapped in a whole list, or none.
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let current = self.current.load_full();
        let mut keys = current.keys.clone();
        let version = current.version + 1;
        change(&mut keys, version)?;
        self.current.store(Arc::new(Snapshot { version, keys }));
        Ok(())
    }
}
