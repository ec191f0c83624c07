//! Whose packets were opened, up to which counter: the memory that refuses replays.
//!
//! It is bounded, and yet nothing that was opened can be opened again. When a sender's life is forgotten, the newest time that
//! any of its opened packets told becomes the *floor*, unless it is higher already. A life that is not remembered has to begin
//! with a packet that was sealed after the floor, and from then on is bound to the floor as it was when it began: should it have
//! been remembered and forgotten before, all that was opened then is not after that floor, and what was opened since is marked
//! in its window. A sender that is forgotten although it speaks is heard again with its next packet. The life that spoke
//! longest ago goes first, and most often that is the life of a process that has ended.
//!
//! A process begins with a floor: a while before its own start. Its former life remembered what this one does not.
//!
//! Only what was authenticated comes here.

use std::collections::HashMap;

use aws_lc_rs::aead::LessSafeKey;

use super::header::{Header, Life};
use super::refused::Refused;
use super::time::UnixTime;
use super::window::{Seen, Window};
use crate::keyring::Snapshot;

/// Derived keys remembered for each life: during a rotation packets under two keys cross each other.
const KEYS: usize = 2;

/// A derived key, and the serial number of the key that it was derived from.
pub(crate) type DerivedKey = (u64, LessSafeKey);

#[derive(Debug)]
struct Session {
    life: Life,
    /// The floor when it began: what was sealed no later may have been opened before that.
    floor: UnixTime,
    /// The latest time that an opened packet told.
    newest: UnixTime,
    window: Window,
    /// The last one used stands first.
    keys: [Option<DerivedKey>; KEYS],
}

#[derive(Debug)]
pub(crate) struct Senders {
    max: usize,
    places: HashMap<Life, usize>,
    sessions: Vec<Session>,
    floor: UnixTime,
    evicted: u64,
    /// Of which state of the keyring the derived keys are.
    keyring_version: u64,
}

impl Senders {
    pub(crate) fn new(max: usize, floor: UnixTime) -> Self {
        let max = max.max(1);
        Self { max, places: HashMap::new(), sessions: Vec::new(), floor, evicted: 0, keyring_version: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.sessions.len()
    }

    pub(crate) fn evicted(&self) -> u64 {
        self.evicted
    }

    /// Drops what was derived from keys that are not there any more.
    pub(crate) fn follow(&mut self, keyring: &Snapshot) {
        if self.keyring_version == keyring.version {
            return;
        }
        self.keyring_version = keyring.version;
        let is_there = |serial: u64| keyring.keys().iter().any(|key| key.serial == serial);
        for key in self.sessions.iter_mut().flat_map(|session| &mut session.keys) {
            key.take_if(|(serial, _)| !is_there(*serial));
        }
    }

    /// The key derived for this life, where it was derived before.
    pub(crate) fn key(&self, life: &Life, serial: u64) -> Option<&LessSafeKey> {
        let session = &self.sessions[*self.places.get(life)?];
        session.keys.iter().flatten().find(|(of, _)| *of == serial).map(|(_, key)| key)
    }

    /// Takes note of an authenticated packet, unless it was or may have been opened before. With it comes the key that was
    /// derived to open it, where it was not known yet.
    pub(crate) fn admit(&mut self, header: &Header, derived: Option<DerivedKey>) -> Result<(), Refused> {
        let place = match self.places.get(&header.life) {
            Some(place) => *place,
            None if header.sealed_at <= self.floor => return Err(Refused::TooOld),
            None => self.enter(header.life),
        };
        let session = &mut self.sessions[place];
        if header.sealed_at <= session.floor {
            return Err(Refused::TooOld);
        }
        if let Some(derived) = derived {
            session.keys.rotate_right(1);
            session.keys[0] = Some(derived);
        }
        match session.window.mark(header.counter) {
            Seen::New => {
                session.newest = session.newest.max(header.sealed_at);
                Ok(())
            }
            Seen::Before => Err(Refused::Replayed),
            Seen::Unknown => Err(Refused::TooOld),
        }
    }

    /// Makes a place for a life, if need be that of the one that spoke longest ago.
    fn enter(&mut self, life: Life) -> usize {
        let floor = self.floor;
        let session = Session { life, floor, newest: UnixTime::default(), window: Window::new(), keys: [None, None] };
        let oldest = self.sessions.iter().enumerate().min_by_key(|(_, session)| session.newest).map(|(place, _)| place);
        let place = match oldest.filter(|_| self.sessions.len() >= self.max) {
            Some(place) => {
                let former = std::mem::replace(&mut self.sessions[place], session);
                self.places.remove(&former.life);
                self.floor = self.floor.max(former.newest);
                self.evicted += 1;
                place
            }
            None => {
                self.sessions.push(session);
                self.sessions.len() - 1
            }
        };
        self.places.insert(life, place);
        place
    }

    #[cfg(test)]
    pub(crate) fn derived_keys(&self) -> usize {
        self.sessions.iter().flat_map(|session| &session.keys).flatten().count()
    }

    /// What is remembered, for tests that prove that nothing has changed.
    #[cfg(test)]
    pub(crate) fn windows(&self) -> Vec<(Life, UnixTime, Window)> {
        self.sessions.iter().map(|session| (session.life, session.newest, session.window.clone())).collect()
    }
}
