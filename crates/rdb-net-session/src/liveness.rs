//! Whether the other side is still there. Every received byte counts; silence is asked about, and only an unanswered question
//! ends the connection.

use std::time::Duration;

use rdb_net_types::ClockOffset;

use crate::Config;

#[derive(Debug)]
pub(crate) struct Liveness {
    idle: Duration,
    busy: Duration,
    patience: Duration,
    /// Whether the first question may get lost, so that it is asked again before the patience ends.
    asks_twice: bool,
    asked_again: bool,
    last_received: Duration,
    /// Since when requests are in flight without a pause.
    busy_since: Option<Duration>,
    asked_at: Option<Duration>,
    ping: Option<(u64, Duration)>,
    /// When the last question went out, whatever for.
    measured_at: Duration,
    next_token: u64,
    /// The wall clock, in microseconds since 1970, when this side's clock stood at 0; `None` where nobody told.
    wall_origin_us: Option<u64>,
    pub(crate) round_trip: Option<Duration>,
    pub(crate) clock_offset: Option<ClockOffset>,
}

/// How long a measured clock offset stands against a less exact one.
const OFFSET_STANDS: Duration = Duration::from_secs(60);

/// What the passing of time asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Due {
    Nothing,
    Ask,
    /// The first question, or its answer, may have got lost.
    AskAgain,
    Dead,
}

impl Liveness {
    pub(crate) fn new(config: &Config, peer_liveness: Duration, asks_twice: bool, now: Duration) -> Self {
        Self {
            // The other side also wants to hear something: ask often enough for the stricter of the two.
            idle: config.keep_alive_idle.min(peer_liveness.max(config.keep_alive_busy) * 12),
            busy: config.keep_alive_busy,
            patience: config.liveness,
            asks_twice,
            asked_again: false,
            last_received: now,
            busy_since: None,
            asked_at: None,
            ping: None,
            measured_at: now,
            next_token: 1,
            wall_origin_us: None,
            round_trip: None,
            clock_offset: None,
        }
    }

    pub(crate) fn received(&mut self, now: Duration) {
        self.last_received = now;
        self.asked_at = None;
        self.asked_again = false;
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
            (Some(asked_at), _) if self.asks_twice && !self.asked_again => asked_at + self.patience / 4,
            (Some(asked_at), _) => asked_at + self.patience,
            // A connection that is never silent is asked as well, to measure round trip and clocks.
            (None, Some(since)) => (self.last_received.max(since) + self.busy).min(self.measured_at + self.idle),
            (None, None) => self.last_received + self.idle,
        }
    }

    pub(crate) fn due(&self, now: Duration) -> Due {
        if now < self.timeout() {
            Due::Nothing
        } else if self.asked_at.is_some() {
            if self.asks_twice && !self.asked_again { Due::AskAgain } else { Due::Dead }
        } else {
            Due::Ask
        }
    }

    /// Notes that a question goes out, and returns its token.
    pub(crate) fn ask(&mut self, now: Duration) -> u64 {
        let token = self.next_token;
        self.next_token += 1;
        self.asked_again = self.asked_at.is_some();
        self.asked_at = self.asked_at.or(Some(now));
        self.ping = Some((token, now));
        self.measured_at = now;
        token
    }

    pub(crate) fn wall_origin(&self) -> Option<u64> {
        self.wall_origin_us
    }

    pub(crate) fn set_wall_origin(&mut self, origin_us: Option<u64>) {
        self.wall_origin_us = origin_us;
    }

    /// Tells the wall clock.
    pub(crate) fn set_wall(&mut self, now: Duration, wall: Duration) {
        self.wall_origin_us = Some((wall.saturating_sub(now)).as_micros() as u64);
    }

    /// The wall clock in microseconds since 1970; 0 where nobody told.
    pub(crate) fn wall_us(&self, now: Duration) -> u64 {
        self.wall_origin_us.map_or(0, |origin| origin.saturating_add(now.as_micros() as u64))
    }

    /// Notes the answer; the smoothed round trip moves by an eighth of the difference (RFC 6298, section 2).
    pub(crate) fn answered(&mut self, now: Duration, token: u64, their_clock_us: u64) {
        let Some((asked, at)) = self.ping else { return };
        if asked == token {
            self.ping = None;
            let sample = now.saturating_sub(at);
            self.round_trip = Some(self.round_trip.map_or(sample, |smoothed| (smoothed * 7 + sample) / 8));
            self.measure_offset(now, at, their_clock_us);
        }
    }

    /// How far the other side's wall clock is ahead of ours, if its answer was given half way between question and arrival
    /// (Cristian, "Probabilistic clock synchronization", 1989): wrong by at most half the round trip. A more exact measurement
    /// stands for a minute.
    fn measure_offset(&mut self, now: Duration, at: Duration, their_clock_us: u64) {
        let half = now.saturating_sub(at) / 2;
        let ours = self.wall_origin_us.and_then(|_| i64::try_from(self.wall_us(at + half)).ok());
        let (Some(ours), Ok(theirs)) = (ours, i64::try_from(their_clock_us)) else { return };
        if theirs == 0 {
            return;
        }
        let offset_us = theirs - ours;
        let measured = ClockOffset { offset_us, uncertainty: half, measured_at: now };
        let stands = self
            .clock_offset
            .is_some_and(|former| former.uncertainty < half && now.saturating_sub(former.measured_at) < OFFSET_STANDS);
        if !stands {
            self.clock_offset = Some(measured);
        }
    }
}
