//! The settings of one member, and the formulas that scale with the size of the cluster.
//!
//! Defaults follow the practice of SWIM deployments (one probe a second, three indirect probes, gossip five times a second);
//! the suspicion time is not the usual multiple of log n but a tolerated pause plus one dissemination time.

use std::time::Duration;

use crate::lifeguard::Lifeguard;

/// The largest packet that is read, in bytes, whatever a peer's configuration says: one jumbo frame.
pub(crate) const PACKET_BYTES_LIMIT: usize = 9_000;

/// The largest metadata that is read, in bytes, whatever a peer's configuration says.
pub(crate) const META_BYTES_LIMIT: usize = 1_024;

/// Room that a packet needs besides one record's metadata, in bytes: header, sender, body, and the record's fixed part.
const PACKET_OVERHEAD_BYTES: usize = 300;

/// How a member probes, gossips, suspects and leaves. Every member of a cluster should have the same settings.
///
/// All of them change while a member runs ([`Swim::set_config`](crate::Swim::set_config)). A new value holds from then on; where
/// something of before keeps the old one, its field says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Time between two regular probes, and the time within which a probe is answered or has failed. Default 1 s (LAN).
    /// Shorter finds crashes sooner and costs two packets per member and interval. A probe under way keeps all of its times.
    pub probe_interval: Duration,
    /// Time after which an unanswered direct ping is followed by indirect ones, of a member whose round trip was not measured,
    /// and at the most. Below `probe_interval`; default 500 ms. About the 99th percentile of the round trip, and then some.
    pub probe_timeout: Duration,
    /// That time at the least. In between, each of its `probe_pings` pings has the time after which an answer is late by RFC
    /// 6298: the smoothed round trip and four mean deviations. Default 100 ms, for pauses that no round trip tells of; from
    /// `probe_timeout` on nothing is followed.
    pub probe_timeout_min: Duration,
    /// How often a silent member is pinged in each of the two stages of a probe, evenly over their time. Default 4, from 1 to 8;
    /// 1 in the SWIM paper. Costs nothing where the first ping is answered, and spares most suspicions where packets are lost.
    pub probe_pings: u32,
    /// How many other members are asked to ping a silent one. Default 3; 0 leaves direct pings only.
    pub indirect_probes: usize,
    /// Time between two gossip ticks while there is something to say. Default 200 ms.
    pub gossip_interval: Duration,
    /// How many members a gossip tick tells. Default 3, at most 16. At 0 there are no gossip ticks: news travels on probes and
    /// their answers alone, as in the SWIM paper, which costs no packets and takes periods instead of ticks.
    pub gossip_fanout: usize,
    /// An update is told `retransmit_factor · ⌈log10(n + 1)⌉` times by each member. Default 4, which suits 30 % loss.
    pub retransmit_factor: u32,
    /// The pause of a healthy process (garbage collection, a busy host) that must not make it failed. Default 3 s. Who is a suspect
    /// already keeps the time that it was given.
    pub suspicion_pause: Duration,
    /// Time between the last needed refusal and the verdict, in which the subject's answer stops it. Default 300 ms. In a window
    /// that has begun, what is left of it follows from its next third on.
    pub refusal_window: Duration,
    /// How many distinct members must have seen "connection refused" before the window starts. Default 2, from 1 to 8.
    pub refusal_observers: usize,
    /// By how many members a farewell must be acknowledged. Default 3. A farewell under way keeps to the former number and time.
    pub farewell_acks: usize,
    /// After this time a leaving member stops waiting for acknowledgements. Default 2 s.
    pub farewell_timeout: Duration,
    /// The largest packet that is sent, in bytes. Default 1400, which fits an Ethernet frame with a sealed envelope; from
    /// `meta_bytes_max` + 300 to 9000.
    pub packet_bytes_max: usize,
    /// The largest metadata of a member, in bytes. Default 512, at most 1024.
    pub meta_bytes_max: usize,
    /// The largest broadcast of the application, in bytes. Default 512, at most `packet_bytes_max` - 300. Longer ones that wait are
    /// dropped.
    pub broadcast_bytes_max: usize,
    /// How many bytes of broadcasts may wait to be told, 64 more counted for each. Default 64 KiB, at most 16 MiB. What waits
    /// already is told, however low this becomes.
    pub broadcast_queue_bytes: usize,
    /// How many members are held, this one and gone ones included. Default 20,000. At the limit the member that is gone for
    /// the longest time is forgotten; where none is gone, a new one is not taken in. Also how many tombstones stand. Below a new
    /// limit nobody is dropped, but nobody more is taken in.
    pub members_max: usize,
    /// Time between two anti-entropy exchanges in a cluster of up to 32 members; see [`Config::sync_interval_for`]. Default
    /// 30 s.
    pub sync_interval: Duration,
    /// Time between two draws whether to call on a failed member. Default 2 s. A draw succeeds with probability
    /// `3 · failed / alive`, so that each failed member gets about three calls per interval from the whole cluster.
    pub revisit_interval: Duration,
    /// Members that fail within this time have failed together; see [`Event::Partitioned`](crate::Event::Partitioned). Default
    /// 30 s: longer than the longest suspicion of a small cluster. A partition that was told of lasts until its members are back.
    pub partition_window: Duration,
    /// How long a member that has left is listed, and for how long thereafter its old records are refused. Default 24 h. Who is
    /// listed follows a new value; a tombstone that stands keeps the age that it was given.
    pub tombstone_age: Duration,
    /// Least time between two gossip ticks that news brings forward. Default 15 ms, at least 1 ms.
    pub news_gap: Duration,
    /// What is done about the own slowness, and about accusations that nobody confirms. Default: all of it.
    pub lifeguard: Lifeguard,
}

/// A configuration that no member can run with. The text names the field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{field} must be {rule}")]
pub struct ConfigError {
    /// The field of [`Config`].
    pub field: &'static str,
    /// What it must satisfy.
    pub rule: &'static str,
}

impl Default for Config {
    fn default() -> Self {
        Self::lan()
    }
}

impl Config {
    /// For one data centre: round trips of a few milliseconds.
    pub const fn lan() -> Self {
        Self {
            probe_interval: Duration::from_secs(1),
            probe_timeout: Duration::from_millis(500),
            probe_timeout_min: Duration::from_millis(100),
            probe_pings: 4,
            indirect_probes: 3,
            gossip_interval: Duration::from_millis(200),
            gossip_fanout: 3,
            retransmit_factor: 4,
            suspicion_pause: Duration::from_secs(3),
            refusal_window: Duration::from_millis(300),
            refusal_observers: 2,
            farewell_acks: 3,
            farewell_timeout: Duration::from_secs(2),
            packet_bytes_max: 1_400,
            meta_bytes_max: 512,
            broadcast_bytes_max: 512,
            broadcast_queue_bytes: 64 * 1_024,
            members_max: 20_000,
            sync_interval: Duration::from_secs(30),
            revisit_interval: Duration::from_secs(2),
            partition_window: Duration::from_secs(30),
            tombstone_age: Duration::from_secs(24 * 3600),
            news_gap: Duration::from_millis(15),
            lifeguard: Lifeguard::ON,
        }
    }

    /// For members on several continents: round trips of hundreds of milliseconds.
    pub const fn wan() -> Self {
        Self {
            probe_interval: Duration::from_secs(5),
            probe_timeout: Duration::from_secs(3),
            probe_timeout_min: Duration::from_millis(500),
            gossip_interval: Duration::from_millis(500),
            gossip_fanout: 4,
            suspicion_pause: Duration::from_secs(10),
            refusal_window: Duration::from_millis(1_500),
            farewell_timeout: Duration::from_secs(5),
            sync_interval: Duration::from_secs(60),
            revisit_interval: Duration::from_secs(5),
            partition_window: Duration::from_secs(120),
            news_gap: Duration::from_millis(50),
            ..Self::lan()
        }
    }

    /// For processes of one host: round trips below a millisecond.
    pub const fn local() -> Self {
        Self {
            probe_timeout: Duration::from_millis(200),
            probe_timeout_min: Duration::from_millis(50),
            indirect_probes: 1,
            gossip_interval: Duration::from_millis(100),
            retransmit_factor: 2,
            sync_interval: Duration::from_secs(15),
            revisit_interval: Duration::from_secs(1),
            news_gap: Duration::from_millis(10),
            ..Self::lan()
        }
    }

    /// Checks that a member can run with these settings.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] names the first field that is out of range.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let millisecond = Duration::from_millis(1);
        let rules = [
            ("probe_interval", "at least 1 ms", self.probe_interval >= millisecond),
            ("probe_timeout", "above 0", !self.probe_timeout.is_zero()),
            ("probe_timeout", "below probe_interval", self.probe_timeout < self.probe_interval),
            ("probe_pings", "from 1 to 8", (1..=8).contains(&self.probe_pings)),
            ("indirect_probes", "at most 16", self.indirect_probes <= 16),
            ("gossip_interval", "at least 1 ms", self.gossip_interval >= millisecond),
            ("gossip_fanout", "at most 16", self.gossip_fanout <= 16),
            ("retransmit_factor", "from 1 to 100", (1..=100).contains(&self.retransmit_factor)),
            ("refusal_window", "at least 1 ms", self.refusal_window >= millisecond),
            ("refusal_observers", "from 1 to 8", (1..=8).contains(&self.refusal_observers)),
            ("farewell_acks", "at most 16", self.farewell_acks <= 16),
            ("meta_bytes_max", "at most 1024", self.meta_bytes_max <= META_BYTES_LIMIT),
            (
                "packet_bytes_max",
                "from meta_bytes_max + 300 to 9000",
                (self.meta_bytes_max + PACKET_OVERHEAD_BYTES..=PACKET_BYTES_LIMIT).contains(&self.packet_bytes_max),
            ),
            (
                "broadcast_bytes_max",
                "at most packet_bytes_max - 300",
                self.broadcast_bytes_max + PACKET_OVERHEAD_BYTES <= self.packet_bytes_max,
            ),
            ("broadcast_queue_bytes", "at most 16 MiB", self.broadcast_queue_bytes <= 16 << 20),
            ("members_max", "from 1 to 1000000", (1..=1_000_000).contains(&self.members_max)),
            ("sync_interval", "at least 1 ms", self.sync_interval >= millisecond),
            ("revisit_interval", "at least 1 ms", self.revisit_interval >= millisecond),
            ("partition_window", "at least 1 ms", self.partition_window >= millisecond),
            ("news_gap", "at least 1 ms", self.news_gap >= millisecond),
            ("lifeguard.health_max", "at most 15", self.lifeguard.health_max <= 15),
            ("lifeguard.confirmations_needed", "at most 8", self.lifeguard.confirmations_needed <= 8),
            ("lifeguard.stretch", "from 1 to 100", (1..=100).contains(&self.lifeguard.stretch)),
        ];
        match rules.into_iter().find(|(_, _, holds)| !holds) {
            Some((field, rule, _)) => Err(ConfigError { field, rule }),
            None => Ok(()),
        }
    }

    /// How often one member tells one update in a cluster of `n`: `retransmit_factor · ⌈log10(n + 1)⌉`.
    ///
    /// SWIM (Das, Gupta, Motivala; DSN 2002), section 4.1: λ·log n tellings leave about n^−(2λ−2) members uninformed.
    pub fn retransmit_limit(&self, n: usize) -> u32 {
        // The number of decimal digits of n is ⌈log10(n + 1)⌉, exactly.
        self.retransmit_factor * (n.max(1).ilog10() + 1)
    }

    /// Gossip ticks until an update has reached all `n` members: `⌈log_{f+1} n + ln(n) / f + 1⌉` for fan-out `f`.
    ///
    /// Push gossip (Pittel, "On spreading a rumor", 1987) grows by the factor f + 1 a round, and then needs ln(n) / f rounds
    /// for the last ones. At fan-out 3: 7, 9 and 11 ticks at 128, 1000 and 10,000 members.
    pub fn dissemination_ticks(&self, n: usize) -> u32 {
        spread_rounds(n, self.gossip_fanout.max(1))
    }

    /// How long an update takes to reach all `n` members.
    fn dissemination_time(&self, n: usize) -> Duration {
        match self.gossip_fanout {
            // A member sends a ping and an ack in each period.
            0 => self.probe_interval * spread_rounds(n, 2),
            _ => self.gossip_interval * self.dissemination_ticks(n),
        }
    }

    /// How long a suspect in a cluster of `n` has for its refutation, at the least: the tolerated pause plus one dissemination
    /// time. One whose suspicion nobody confirms has [`Lifeguard::stretch`] times as long.
    pub fn suspicion_timeout(&self, n: usize) -> Duration {
        self.suspicion_pause + self.dissemination_time(n)
    }

    /// Time between two anti-entropy exchanges of one member in a cluster of `n`: the interval up to 32 members, then one
    /// more for each doubling, so that the load on the whole cluster grows slower than its size.
    pub fn sync_interval_for(&self, n: usize) -> Duration {
        let doublings = n.max(32).next_power_of_two().ilog2() - 5;
        self.sync_interval * (doublings + 1).min(32)
    }

    /// Lateness of a timer beyond which this process counts as having paused: half the probe timeout, at least 250 ms.
    pub(crate) fn pause_threshold(&self) -> Duration {
        (self.probe_timeout / 2).max(Duration::from_millis(250))
    }
}

/// `⌈log_{f+1} n + ln(n) / f + 1⌉`.
fn spread_rounds(n: usize, fanout: usize) -> u32 {
    let (n, fanout) = (n.max(1) as f64, fanout as f64);
    (n.ln() / (fanout + 1.0).ln() + n.ln() / fanout + 1.0).ceil() as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_are_legal() {
        for config in [Config::lan(), Config::wan(), Config::local(), Config::default()] {
            assert_eq!(config.validate(), Ok(()));
        }
    }

    #[test]
    fn formulas_give_the_figures_of_the_literature() {
        let config = Config::lan();
        let limits = [1, 9, 10, 32, 99, 128, 1000, 9999, 10_000].map(|n| config.retransmit_limit(n));
        assert_eq!(limits, [4, 4, 8, 8, 8, 12, 16, 16, 20]);
        assert_eq!([1, 5, 128, 1000, 10_000].map(|n| config.dissemination_ticks(n)), [1, 3, 7, 9, 11]);
        assert_eq!(config.suspicion_timeout(5), Duration::from_millis(3_600));
        let piggyback = Config { gossip_fanout: 0, ..Config::lan() };
        assert_eq!(piggyback.suspicion_timeout(10_000), Duration::from_secs(3 + 14));
        assert_eq!(
            [2, 32, 33, 128, 1000, 10_000].map(|n| config.sync_interval_for(n).as_secs()),
            [30, 30, 60, 90, 180, 300]
        );
    }

    /// al8n/memberlist #165: shorter intervals became none at all.
    #[test]
    fn an_interval_below_a_millisecond_is_refused() {
        let below = Duration::from_micros(999);
        for (field, config) in [
            ("probe_interval", Config { probe_interval: below, probe_timeout: below / 2, ..Config::lan() }),
            ("gossip_interval", Config { gossip_interval: below, ..Config::lan() }),
            ("refusal_window", Config { refusal_window: below, ..Config::lan() }),
            ("sync_interval", Config { sync_interval: below, ..Config::lan() }),
            ("revisit_interval", Config { revisit_interval: below, ..Config::lan() }),
            ("news_gap", Config { news_gap: below, ..Config::lan() }),
        ] {
            assert_eq!(config.validate().map_err(|error| error.field), Err(field));
        }
        // And above it nothing is cut off.
        let brief = Duration::from_micros(1_500);
        let config = Config { suspicion_pause: brief, gossip_interval: brief, ..Config::lan() };
        assert_eq!(config.suspicion_timeout(5), brief * 4);
    }

    #[test]
    fn an_illegal_field_is_named() {
        let config = Config { probe_timeout: Duration::from_secs(1), ..Config::lan() };
        assert_eq!(config.validate().map_err(|error| error.field), Err("probe_timeout"));
        let config = Config { packet_bytes_max: 800, ..Config::lan() };
        assert_eq!(config.validate().map_err(|error| error.field), Err("packet_bytes_max"));
        let config = Config { refusal_observers: 0, ..Config::lan() };
        assert_eq!(config.validate().map_err(|error| error.field), Err("refusal_observers"));
    }
}
