//! Whether the other side is still there. Every received byte counts; silence is asked about, and only an unanswered question
//! ends the connection.

use std::time::Duration;

use crate::Config;

#[derive(Debug)]
pub(crate) struct Liveness {
    idle: Duration,
    busy: Duration,
    patience: Duration,
    last_received: Duration,
    /// Since when requests are in flight without a pause.
    busy_since: Option<Duration>,
    asked_at: Option<Duration>,
    ping: Option<(u64, Duration)>,
    next_token: u64,
    pub(crate) round_trip: Option<Duration>,
}

/// What the passing of time asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Due {
    Nothing,
    Ask,
    Dead,
}

impl Liveness {
    pub(crate) fn new(config: &Config, peer_liveness: Duration, now: Duration) -> Self {
        Self {
            // The other side also wants to hear something: ask often enough for the stricter of the two.
            idle: config.keep_alive_idle.min(peer_liveness.max(config.keep_alive_busy) * 3),
            busy: config.keep_alive_busy,
            patience: config.liveness,
            last_received: now,
            busy_since: None,
            asked_at: None,
            ping: None,
            next_token: 1,
            round_trip: None,
        }
    }

    pub(crate) fn received(&mut self, now: Duration) {
        self.last_received = now;
        self.asked_at = None;
    }

    pub(crate) fn set_busy(&mut self, now: Duration, busy: bool) {
        match (busy, self.busy_since) {
            (true, None) => self.busy_since = Some(now),
            (false, Some(_)) => self.busy_since = None,
            (true, Some(_)) | (false, None) => {}
        }
    }

    pub(crate) fn timeout(&self) -> Duration {
        match (self.asked_at, self.busy_since) {
            (Some(asked_at), _) => asked_at + self.patience,
            (None, Some(since)) => self.last_received.max(since) + self.busy,
            (None, None) => self.last_received + self.idle,
        }
    }

    pub(crate) fn due(&self, now: Duration) -> Due {
        if now < self.timeout() {
            Due::Nothing
        } else if self.asked_at.is_some() {
            Due::Dead
        } else {
            Due::Ask
        }
    }

    /// Notes that a question goes out, and returns its token.
    pub(crate) fn ask(&mut self, now: Duration) -> u64 {
        let token = self.next_token;
        self.next_token += 1;
        self.asked_at = self.asked_at.or(Some(now));
        self.ping = Some((token, now));
        token
    }

    /// Notes the answer; the smoothed round trip moves by an eighth of the difference (RFC 6298, section 2).
    pub(crate) fn answered(&mut self, now: Duration, token: u64) {
        let Some((asked, at)) = self.ping else { return };
        if asked == token {
            self.ping = None;
            let sample = now.saturating_sub(at);
            self.round_trip = Some(self.round_trip.map_or(sample, |smoothed| (smoothed * 7 + sample) / 8));
        }
    }
}
