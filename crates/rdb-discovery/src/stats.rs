//! The counters of a reconciler, pulled by whoever shows them.

/// What a reconciler has seen and done since it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReconcilerStats {
    /// Full answers, resyncs and unchanged answers included.
    pub answers: u64,
    /// Changes reported by a watched source.
    pub deltas: u64,
    /// Changes that came before the first full answer and were ignored.
    pub early_deltas: u64,
    /// Failures of the source.
    pub failures: u64,
    /// Answers given after a watch had broken.
    pub resyncs: u64,
    /// Nodes added after the first answer.
    pub added: u64,
    /// Updates of nodes.
    pub updated: u64,
    /// Nodes removed.
    pub removed: u64,
    /// Nodes that came and went between two steps, which nobody is told of.
    pub passed: u64,
    /// Steps in which removals were held.
    pub held_steps: u64,
    /// Removals that are held at this time.
    pub held_removals: usize,
    /// Entries that named a node a second time in one answer.
    pub duplicates: u64,
    /// Nodes refused because the list was full.
    pub refused: u64,
    /// Times that the driver left so many events unread that one snapshot replaced them.
    pub coalesced: u64,
    /// Nodes listed at this time.
    pub nodes: usize,
}
