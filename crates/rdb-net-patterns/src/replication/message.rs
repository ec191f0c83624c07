//! What leader and follower say to each other.
//!
//! Entries and acknowledgements are the spec's [`ReplicationLog`] and [`ReplicationAck`]. Before them comes a handshake that these
//! have no room for: an application message of a fixed layout, all numbers big-endian.
//!
//! ```text
//!  resume:   log_id u64 | epoch u64 | leader's last: index, epoch, digest u64 | question u8 (0 last, 1 at, 2 keep) | index u64
//!  granted:  0 u8 | epoch u64 | last: index, epoch, digest u64 | committed u64 | at: index, epoch, digest u64
//!  refused:  1 u8 | epoch u64 | last: index, epoch, digest u64 | reason u8
//! ```

use rdb_net_types::{MessageType, ReplicationAck, ReplicationLog};

use super::entries::Entries;
use super::log::Position;

/// The type of the handshake's message: the application's own number 0x7e20.
pub const RESUME_TYPE: MessageType = MessageType(0xfe20);

/// What a leader wants to know, or to have done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question {
    /// Where does your log end?
    Last,
    /// What does your log say at this index? Where it ends before, where does it end?
    At(u64),
    /// Your log differs from mine behind this index: remove what is behind it.
    Keep(u64),
}

/// A leader presents itself: it asks for the follower's allegiance in its epoch, and for the end of its log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resume {
    /// Which log.
    pub log_id: u64,
    /// The leader's epoch.
    pub epoch: u64,
    /// Where the leader's own log ends.
    pub leader_last: Position,
    /// What it asks.
    pub question: Question,
}

/// Why a follower does not follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// It knows a newer epoch, or this epoch with another leader.
    Fenced,
    /// Its log knows more than the leader's: entries might be lost that a quorum has acknowledged.
    Behind,
    /// It was asked to remove entries that a quorum has acknowledged. One of the two logs is damaged.
    Committed,
    /// It is not a replica of this log, or does not count the leader among its members.
    Stranger,
    /// Its storage has failed, or it has too much to do.
    Unable,
}

impl Refusal {
    const ALL: [Self; 5] = [Self::Fenced, Self::Behind, Self::Committed, Self::Stranger, Self::Unable];
}

/// What a follower answers to [`Resume`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resumed {
    /// It follows.
    Granted {
        /// In this epoch.
        epoch: u64,
        /// Where its log ends.
        last: Position,
        /// Up to where it knows its log to be committed.
        committed: u64,
        /// What its log says at the index that was asked for.
        at: Position,
    },
    /// It does not.
    Refused {
        /// The newest epoch that it knows.
        epoch: u64,
        /// Where its log ends.
        last: Position,
        /// Why.
        refusal: Refusal,
    },
}

/// Entries of a leader: the spec's [`ReplicationLog`], whose entries are shared by all followers that they go to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppendEntries {
    /// Which log.
    pub log_id: u64,
    /// The leader's epoch.
    pub epoch: u64,
    /// The index of the entry before them.
    pub previous_index: u64,
    /// That entry's epoch.
    pub previous_epoch: u64,
    /// Up to where the log is committed.
    pub committed_index: u64,
    /// The entries; none where only a commit is told.
    pub entries: Entries,
}

impl From<ReplicationLog> for AppendEntries {
    fn from(log: ReplicationLog) -> Self {
        let ReplicationLog { log_id, epoch, previous_index, previous_epoch, committed_index, entries } = log;
        Self { log_id, epoch, previous_index, previous_epoch, committed_index, entries: entries.into() }
    }
}

/// A message of a leader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// The handshake.
    Resume(Resume),
    /// Entries.
    Append(AppendEntries),
}

/// A follower's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// To the handshake.
    Resumed(Resumed),
    /// To entries.
    Ack(ReplicationAck),
}

/// The bytes of a handshake cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the message is no handshake of a replicated log")]
pub struct MessageError;

impl Resume {
    /// Its bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.numbers(&[self.log_id, self.epoch]).position(&self.leader_last);
        let (kind, index) = match self.question {
            Question::Last => (0, 0),
            Question::At(index) => (1, index),
            Question::Keep(index) => (2, index),
        };
        writer.byte(kind).numbers(&[index]);
        writer.0
    }

    /// Reads it.
    ///
    /// # Errors
    ///
    /// [`MessageError`] for anything but exactly one of it.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, MessageError> {
        let mut reader = Reader(bytes);
        let (log_id, epoch, leader_last) = (reader.number()?, reader.number()?, reader.position()?);
        let question = match (reader.byte()?, reader.number()?) {
            (0, _) => Question::Last,
            (1, index) => Question::At(index),
            (2, index) => Question::Keep(index),
            _ => return Err(MessageError),
        };
        reader.end(Self { log_id, epoch, leader_last, question })
    }
}

impl Resumed {
    /// Its bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        match self {
            Self::Granted { epoch, last, committed, at } => {
                writer.byte(0).numbers(&[*epoch]).position(last).numbers(&[*committed]).position(at);
            }
            Self::Refused { epoch, last, refusal } => {
                let code = Refusal::ALL.iter().position(|other| other == refusal).unwrap_or_default();
                writer.byte(1).numbers(&[*epoch]).position(last).byte(code as u8);
            }
        }
        writer.0
    }

    /// Reads it.
    ///
    /// # Errors
    ///
    /// [`MessageError`] for anything but exactly one of it.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, MessageError> {
        let mut reader = Reader(bytes);
        let (kind, epoch, last) = (reader.byte()?, reader.number()?, reader.position()?);
        let read = match kind {
            0 => Self::Granted { epoch, last, committed: reader.number()?, at: reader.position()? },
            1 => {
                let refusal = Refusal::ALL.get(usize::from(reader.byte()?)).ok_or(MessageError)?;
                Self::Refused { epoch, last, refusal: *refusal }
            }
            _ => return Err(MessageError),
        };
        reader.end(read)
    }
}

#[derive(Default)]
struct Writer(Vec<u8>);

impl Writer {
    fn byte(&mut self, byte: u8) -> &mut Self {
        self.0.push(byte);
        self
    }

    fn numbers(&mut self, numbers: &[u64]) -> &mut Self {
        numbers.iter().for_each(|number| self.0.extend_from_slice(&number.to_be_bytes()));
        self
    }

    fn position(&mut self, position: &Position) -> &mut Self {
        self.numbers(&[position.index, position.epoch, position.digest])
    }
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn byte(&mut self) -> Result<u8, MessageError> {
        let (byte, rest) = self.0.split_first().ok_or(MessageError)?;
        self.0 = rest;
        Ok(*byte)
    }

    fn number(&mut self) -> Result<u64, MessageError> {
        let (number, rest) = self.0.split_first_chunk().ok_or(MessageError)?;
        self.0 = rest;
        Ok(u64::from_be_bytes(*number))
    }

    fn position(&mut self) -> Result<Position, MessageError> {
        Ok(Position { index: self.number()?, epoch: self.number()?, digest: self.number()? })
    }

    fn end<T>(&self, read: T) -> Result<T, MessageError> {
        if self.0.is_empty() { Ok(read) } else { Err(MessageError) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: Position = Position { index: 1, epoch: 2, digest: u64::MAX };

    #[test]
    fn a_handshake_is_read_as_it_was_written_and_in_no_other_length() {
        for question in [Question::Last, Question::At(7), Question::Keep(u64::MAX)] {
            let resume = Resume { log_id: 3, epoch: 4, leader_last: HERE, question };
            let bytes = resume.to_bytes();
            assert_eq!(Resume::from_bytes(&bytes), Ok(resume));
            for end in 0..bytes.len() {
                assert_eq!(Resume::from_bytes(&bytes[..end]), Err(MessageError));
            }
            assert_eq!(Resume::from_bytes(&[bytes, vec![0]].concat()), Err(MessageError));
        }
        let refused = Refusal::ALL.map(|refusal| Resumed::Refused { epoch: 5, last: HERE, refusal });
        let granted = Resumed::Granted { epoch: 5, last: HERE, committed: 6, at: Position::START };
        for resumed in refused.into_iter().chain([granted]) {
            let bytes = resumed.to_bytes();
            assert_eq!(Resumed::from_bytes(&bytes), Ok(resumed));
            for end in 0..bytes.len() {
                assert_eq!(Resumed::from_bytes(&bytes[..end]), Err(MessageError));
            }
        }
    }

    #[test]
    fn what_is_unknown_is_no_handshake() {
        let mut bytes = Resume { log_id: 3, epoch: 4, leader_last: HERE, question: Question::Last }.to_bytes();
        bytes[40] = 3;
        assert_eq!(Resume::from_bytes(&bytes), Err(MessageError));
        let mut bytes = Resumed::Refused { epoch: 5, last: HERE, refusal: Refusal::Fenced }.to_bytes();
        *bytes.last_mut().expect("not empty") = 5;
        assert_eq!(Resumed::from_bytes(&bytes), Err(MessageError));
    }
}
