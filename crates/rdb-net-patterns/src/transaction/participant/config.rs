//! A participant's limits and times, and its counts.

use std::time::Duration;

/// A participant's limits and times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParticipantConfig {
    /// How many transactions may be held at once, from their prepare until the resource is done with them; those resolved by hand
    /// included until their coordinators have said the same. Beyond it a prepare is
    /// refused, which its coordinator hears as "not started". Default 4,096.
    pub held_max: usize,
    /// How many bytes of work they may have together. Default 64 MiB.
    pub work_bytes_max: usize,
    /// Of how many coordinators is remembered one by one which of their transactions are over. Takes some 1,100 bytes for each. Of those
    /// that were not heard of for longest only the highest number is kept, for sixteen times as many. Default 4,096.
    pub coordinators_max: usize,
    /// How many answers to one transaction's messages may be waited for at once. Beyond it the message that has waited for longest is
    /// refused. Default 4.
    pub callers_max: usize,
    /// How long the decision is waited for, after the vote, before the coordinator is asked; doubles up to `ask_again_max`. Default
    /// 1 s.
    pub ask_after: Duration,
    /// The longest such time. It bounds how long after a coordinator's return a transaction stays in doubt. Default 5 s.
    pub ask_again_max: Duration,
    /// How long one question may take. Default 1 s.
    pub ask_timeout: Duration,
    /// After how long a commit or an abort that the resource has failed to do is given to it again; doubles up to
    /// `apply_again_max`. Default 1 s.
    pub apply_again: Duration,
    /// The longest such time. Default 30 s.
    pub apply_again_max: Duration,
}

impl Default for ParticipantConfig {
    fn default() -> Self {
        Self {
            held_max: 4096,
            work_bytes_max: 64 * 1024 * 1024,
            coordinators_max: 4096,
            callers_max: 4,
            ask_after: Duration::from_secs(1),
            ask_again_max: Duration::from_secs(5),
            ask_timeout: Duration::from_secs(1),
            apply_again: Duration::from_secs(1),
            apply_again_max: Duration::from_secs(30),
        }
    }
}

/// Why a message was refused. By it nothing was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// A limit of this participant is reached. Try later.
    #[error("the participant holds as many transactions as it may")]
    Full,
    /// Later copies of the message wait for its answer in its place, or an operator's decision is being written. What an earlier message
    /// began goes on, so its sender has to take the outcome for unknown. Try later.
    #[error("too many messages of this transaction wait for an answer, or it is being resolved by hand")]
    Busy,
    /// The sender does not decide about this transaction. Its mistake, or worse.
    #[error("the transaction is another coordinator's")]
    NotTheCoordinator,
    /// A commit came before this participant has voted. The coordinator's mistake.
    #[error("the participant has not voted")]
    NotVoted,
    /// The opposite was decided before. The coordinator's mistake, or its log was lost.
    #[error("the opposite was decided before")]
    Contradiction,
}

/// What a participant has counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ParticipantStats {
    /// Transactions held now.
    pub held: usize,
    /// Of these, those that wait for a decision.
    pub in_doubt: usize,
    /// Bytes of their work.
    pub work_bytes: usize,
    /// Transactions resolved by hand whose coordinators have not said the same. They count against `held_max`.
    pub resolved: usize,
    /// Transactions that were resolved by hand and forgotten while 1,024 others that were had not been heard of since. A decision against one
    /// of them is not noticed.
    pub resolved_uncompared: u64,
    /// Transactions that were resolved by hand in this life.
    pub resolved_by_hand: u64,
    /// Transactions prepared.
    pub prepared: u64,
    /// Votes to abort, and that nothing was changed.
    pub not_prepared: u64,
    /// Transactions committed.
    pub committed: u64,
    /// Transactions aborted after they were prepared.
    pub aborted: u64,
    /// How often the resource failed to commit or abort. It is given the same again; more than none is a fault that an operator
    /// should see.
    pub applies_failed: u64,
    /// Transactions that a former life left in doubt.
    pub recovered: u64,
    /// Questions sent to coordinators.
    pub questions: u64,
    /// Prepares of transactions that were over.
    pub late_prepares: u64,
    /// Coordinators of which only the highest number is remembered, because others were heard of later.
    pub windows_closed: u64,
    /// Coordinators of which nothing is remembered any more. A copy of one of their prepares that comes this late is carried out.
    pub coordinators_forgotten: u64,
    /// Messages that told a commit and were acknowledged although their transaction is over by presumption alone: it was done before, or was
    /// lost with the end of this node's log. Where that log has lost nothing, all of them were done. A commit that is told again counts again.
    pub presumed_acks: u64,
    /// Prepares refused because too much is held.
    pub refused_full: u64,
    /// Messages refused because too many of one transaction waited, or because it was being resolved by hand.
    pub refused_busy: u64,
    /// Messages of who does not decide.
    pub strangers: u64,
    /// Commits before the vote, and decisions against an earlier one, an operator's included. More than none is a fault that an operator should see.
    pub contradictions: u64,
}
