//! Which parts of Lifeguard a member has, and how far they go.
//!
//! Lifeguard (Dadgar, Phillips, Currey; arXiv 1707.00788), section IV: three parts, each of which works by itself, so that each
//! can be measured by itself.

/// What a member does about its own slowness, and about accusations that nobody confirms.
///
/// All of it is on by default. [`Lifeguard::OFF`] leaves what the SWIM paper has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifeguard {
    /// LHA-Probe: a member whose own probes fail, whose relays are silent, or that is accused itself, asks less often and waits
    /// longer: its intervals and time-outs grow with [`Swim::local_health`](crate::Swim::local_health).
    pub local_health: bool,
    /// The highest score of [`Swim::local_health`](crate::Swim::local_health), at most 15. Default 3, so that a period of a
    /// second becomes one of four; 8 in the paper. Higher spares the others more of a sick member's accusations, and leaves the
    /// smaller side of a partition longer in the dark: to it, silent relays look like an illness of its own.
    pub health_max: u32,
    /// A timer that fires late, and packets that have waited for this process, count against its own health.
    pub lateness: bool,
    /// LHA-Suspicion: a suspect has `stretch` times as long, unless others confirm the suspicion.
    pub confirmations: bool,
    /// So many confirmations by different members bring the time down to [`Config::suspicion_timeout`]. Default 3, at most 8.
    /// In a cluster that has fewer others, as many as there are.
    ///
    /// [`Config::suspicion_timeout`]: crate::Config::suspicion_timeout
    pub confirmations_needed: usize,
    /// How many times [`Config::suspicion_timeout`] an unconfirmed suspect has. Default 4, from 1 to 100; 6 in the
    /// paper.
    ///
    /// [`Config::suspicion_timeout`]: crate::Config::suspicion_timeout
    pub stretch: u32,
    /// Each member comes to verdicts by itself: that others hold a member for failed is taken for their suspicion, and who is
    /// about to fail a suspect asks it once more. Not in the paper, where whoever hears of a failure believes it.
    pub own_verdicts: bool,
    /// Buddy system: whatever is sent to a suspect tells it first that it is suspected, so that it can refute.
    pub buddy: bool,
}

impl Lifeguard {
    /// Everything.
    pub const ON: Self = Self {
        local_health: true,
        health_max: 3,
        lateness: true,
        confirmations: true,
        confirmations_needed: 3,
        stretch: 4,
        own_verdicts: true,
        buddy: true,
    };

    /// What the paper has and the signs of lateness, with the paper's numbers.
    pub const PAPER: Self = Self { health_max: 8, stretch: 6, own_verdicts: false, ..Self::ON };

    /// Nothing: SWIM as its paper has it.
    pub const OFF: Self = Self {
        local_health: false,
        lateness: false,
        confirmations: false,
        own_verdicts: false,
        buddy: false,
        ..Self::ON
    };
}

impl Default for Lifeguard {
    fn default() -> Self {
        Self::ON
    }
}
