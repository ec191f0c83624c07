//! One slot: the connection that is up in it, and the dial that is under way for it.

use std::time::Duration;

use rdb_net_types::SeededRandom;

use crate::{Epoch, PeerConfig, Slot};

/// A connection that is up.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Up {
    pub(crate) epoch: Epoch,
    pub(crate) since: Duration,
    /// When it was last seen to carry something, and whether it ever was.
    pub(crate) used_at: Duration,
    was_used: bool,
    /// When it is looked at next. `None` where nobody wants to know.
    look_at: Option<Duration>,
    /// After how long without use it closes.
    idle_after: Option<Duration>,
    /// When another is to take its place.
    replace_at: Option<Duration>,
    /// Another peer's machine decides when it ends.
    pub(crate) is_lent: bool,
}

/// How often a connection is looked at within its idle time.
const LOOKS: u32 = 4;
/// How long it is not looked at, at most: that finely the least recently used is told from the others.
const LOOK_AFTER_MAX: Duration = Duration::from_secs(15);

/// After how long a connection closes that has never carried anything for the application: membership has made it for one
/// question, or it was kept for what its end tells and is kept no more. Nobody waits for it to be used again.
const UNUSED: Duration = Duration::from_secs(30);

/// How long after a look the next one is due.
fn look_after(idle_after: Option<Duration>) -> Duration {
    idle_after.map_or(LOOK_AFTER_MAX, |idle_after| (idle_after / LOOKS).min(LOOK_AFTER_MAX))
}

impl Up {
    /// Takes note of whether it was used since the last look. Returns whether it has been idle for its time.
    pub(crate) fn looked(&mut self, now: Duration, was_used: bool) -> bool {
        if was_used {
            (self.used_at, self.was_used) = (now, true);
        }
        self.look_at = self.look_at.map(|_| now + look_after(self.idle_after));
        let is_over = |idle_after: Duration| now.saturating_sub(self.used_at) >= idle_after;
        self.idle_after
            .is_some_and(|idle_after| is_over(if self.was_used { idle_after } else { idle_after.min(UNUSED) }))
    }
}

/// A slot of a peer.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) slot: Slot,
    /// Somebody waits for a connection here.
    pub(crate) is_wanted: bool,
    pub(crate) is_dialing: bool,
    epochs: u64,
    pub(crate) up: Option<Up>,
}

impl Place {
    pub(crate) fn new(slot: Slot) -> Self {
        Self { slot, is_wanted: false, is_dialing: false, epochs: 0, up: None }
    }

    /// A connection is up. Returns the one whose place it takes.
    pub(crate) fn come_up(&mut self, now: Duration, config: &PeerConfig, random: &mut SeededRandom) -> Option<Up> {
        let mut about = |time: Duration| random.duration(time * 4 / 5, time * 6 / 5);
        let idle_after = config.idle_timeout.map(&mut about);
        let replace_at = config.age_max.map(|age_max| now.saturating_add(about(age_max)));
        let look_at = Some(now + look_after(idle_after));
        self.enter(Up {
            epoch: Epoch(0),
            since: now,
            used_at: now,
            was_used: false,
            look_at,
            idle_after,
            replace_at,
            is_lent: false,
        })
    }

    /// The same for a connection that another peer's machine decides about.
    pub(crate) fn come_up_lent(&mut self, now: Duration) -> Option<Up> {
        let (look_at, idle_after, replace_at) = (None, None, None);
        self.enter(Up {
            epoch: Epoch(0),
            since: now,
            used_at: now,
            was_used: false,
            look_at,
            idle_after,
            replace_at,
            is_lent: true,
        })
    }

    fn enter(&mut self, up: Up) -> Option<Up> {
        self.is_wanted = false;
        self.epochs += 1;
        self.up.replace(Up { epoch: Epoch(self.epochs), ..up })
    }

    /// Another connection is to take this one's place now.
    pub(crate) fn renew(&mut self, now: Duration) {
        if let Some(up) = self.up.as_mut().filter(|up| !up.is_lent) {
            up.replace_at = Some(up.replace_at.map_or(now, |at| at.min(now)));
        }
    }

    /// Whether a new connection has something to do here.
    pub(crate) fn needs_connection(&self, now: Duration, is_kept: bool) -> bool {
        match self.up {
            Some(up) => up.replace_at.is_some_and(|at| at <= now),
            None => self.is_wanted || is_kept,
        }
    }

    /// Whether it is time to look whether the connection is idle.
    pub(crate) fn look_is_due(&self, now: Duration) -> bool {
        self.up.and_then(|up| up.look_at).is_some_and(|at| at <= now)
    }

    /// When something is due next of what waits for no dial.
    pub(crate) fn poll_timeout(&self) -> Option<Duration> {
        let up = self.up?;
        // A replacement that is under way is told of when it is there.
        let replace_at = up.replace_at.filter(|_| !self.is_dialing);
        [up.look_at, replace_at].into_iter().flatten().min()
    }
}
