//! Counters of one member.

/// What happened since the start. Plain numbers, pulled by whoever shows them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Statistics {
    /// Packets given to the driver.
    pub packets_sent: u64,
    /// Bytes of them.
    pub bytes_sent: u64,
    /// Of the packets given to the driver, those of probes: pings, their answers, and requests for them.
    pub probe_packets_sent: u64,
    /// Packets taken from the driver.
    pub packets_received: u64,
    /// Bytes of them.
    pub bytes_received: u64,
    /// Packets dropped: not readable.
    pub dropped_malformed: u64,
    /// Packets dropped: of a version that is not understood here.
    pub dropped_version: u64,
    /// Nodes not taken in, and requests refused: of no version that is understood here, or at another member.
    pub refused_versions: u64,
    /// Packets dropped: of another cluster.
    pub dropped_cluster: u64,
    /// Packets dropped: pings meant for another node or another life.
    pub dropped_target: u64,
    /// Packets dropped: this node's own.
    pub dropped_echo: u64,
    /// Packets dropped: from another process with this node's id.
    pub dropped_conflict: u64,
    /// Packets dropped: this node has left.
    pub dropped_silent: u64,
    /// Answers that nobody waits for: late, or doubled.
    pub unexpected_answers: u64,
    /// Packets of senders that are not held as members.
    pub unknown_senders: u64,
    /// Records written into packets.
    pub updates_sent: u64,
    /// Records that changed something here.
    pub updates_taken: u64,
    /// Records that were known or outdated.
    pub updates_stale: u64,
    /// Accusations of members that are not held.
    pub updates_unknown: u64,
    /// Accusations of an incarnation that nobody has introduced.
    pub updates_implausible: u64,
    /// Alive records that a tombstone kept out.
    pub updates_entombed: u64,
    /// Members that another's view alone holds, and that were asked whether they are there.
    pub unverified_asked: u64,
    /// Those of them that did not answer: they were not taken in.
    pub unverified_silent: u64,
    /// Broadcasts of others that were heard, each once.
    pub broadcasts_heard: u64,
    /// Broadcasts of unknown processes, such as are longer than is allowed here, and such as come too late to tell whether they
    /// were heard.
    pub broadcasts_dropped: u64,
    /// Probes begun.
    pub probes_started: u64,
    /// Probes answered, in whichever way.
    pub probes_answered: u64,
    /// Of those, over a connection because no datagram answered.
    pub probes_streamed: u64,
    /// Probes that needed others.
    pub probes_indirect: u64,
    /// Probes without an answer.
    pub probes_failed: u64,
    /// Nacks received.
    pub nacks_received: u64,
    /// Relays of failed probes from which neither an ack nor a nack came.
    pub nacks_missed: u64,
    /// Points by which this member has thought worse of its own health.
    pub health_worsened: u64,
    /// Probes given up because this process had paused.
    pub probes_voided: u64,
    /// Probes brought forward by evidence.
    pub probes_urgent: u64,
    /// Pings relayed for others.
    pub pings_relayed: u64,
    /// Suspicions that this node began.
    pub suspicions_raised: u64,
    /// Suspicions of others that somebody confirmed, and that were told on.
    pub confirmations: u64,
    /// Verdicts of others that were taken for suspicions.
    pub verdicts_doubted: u64,
    /// Pings by which suspects were asked once more before their time was up.
    pub suspects_asked: u64,
    /// Members that this node declared failed, by suspicion or refusal.
    pub failures_declared: u64,
    /// Refusals by which this node declared a member failed.
    pub failures_by_refusal: u64,
    /// Refusal windows that proof of life has ended.
    pub refusals_stopped: u64,
    /// Times this node raised its incarnation against others' word.
    pub refutations: u64,
    /// Times this process had paused.
    pub local_pauses: u64,
    /// Exchanges of views that were asked for because an ack showed another view.
    pub syncs_by_difference: u64,
    /// Regular exchanges of views that were left out because the last ack showed this node's own view.
    pub syncs_spared: u64,
    /// Times that many members vanished together.
    pub partitions: u64,
    /// Times that most of those were back.
    pub partitions_healed: u64,
    /// Calls on failed members.
    pub revisits: u64,
    /// Limit hit: a new member was not taken in.
    pub limit_members: u64,
    /// Limit hit: a gone member was forgotten to make room.
    pub limit_members_evicted: u64,
    /// Limit hit: a tombstone was given up early, or that of a stranger found no room.
    pub limit_tombstones: u64,
    /// Limit hit: an urgent probe waits for its turn in the ring.
    pub limit_urgent_probes: u64,
    /// Limit hit: a suspect had to wait until it was asked once more.
    pub limit_inquiries: u64,
    /// Limit hit: a ping was not relayed.
    pub limit_relays: u64,
    /// Limit hit: a refusal's observer was not counted.
    pub limit_observers: u64,
    /// Limit hit: a joining node was told to come again.
    pub limit_verifications: u64,
    /// Members of another's view that were to be asked beyond the limit.
    pub limit_unverified: u64,
    /// Broadcasts of others that were heard and not told on, because too many wait.
    pub limit_broadcasts: u64,
    /// Limit hit: a packet was not sent because the driver does not fetch them.
    pub limit_outgoing: u64,
    /// Limit hit: a round trip or a failed probe was not told because the driver does not fetch events.
    pub limit_events: u64,
}
