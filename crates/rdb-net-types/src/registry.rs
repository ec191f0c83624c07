//! The table of message types: one row tells everything that the layers need to know of a type.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The number of a message type on the wire. 0x0000–0x00FF are the protocol's own, 0x0100–0x7FFF the cluster messages of
/// [`ClusterMessage`](crate::ClusterMessage), 0x8000–0xFFFF the application's.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct MessageType(pub u16);

impl MessageType {
    /// A node says that it is there.
    pub const HEARTBEAT: Self = Self(0x0100);
    /// A packet of the membership protocol, where it travels inside connections.
    pub const GOSSIP_PACKET: Self = Self(0x0102);
    /// Keys that seal gossip, and what is to be done with them. Inside TLS alone.
    pub const GOSSIP_KEYS: Self = Self(0x0103);
    /// A query or a fragment of one.
    pub const QUERY_REQUEST: Self = Self(0x0110);
    /// The answer to a query.
    pub const QUERY_RESPONSE: Self = Self(0x0111);
    /// Entries of a replicated log.
    pub const REPLICATION_LOG: Self = Self(0x0120);
    /// How far a replica has come.
    pub const REPLICATION_ACK: Self = Self(0x0121);
    /// Two-phase commit: prepare.
    pub const PREPARE_TRANSACTION: Self = Self(0x0130);
    /// Two-phase commit: a participant's vote.
    pub const TRANSACTION_VOTE: Self = Self(0x0131);
    /// Two-phase commit: commit.
    pub const COMMIT_TRANSACTION: Self = Self(0x0132);
    /// Two-phase commit: abort.
    pub const ABORT_TRANSACTION: Self = Self(0x0133);
    /// Two-phase commit: a decision was carried out.
    pub const TRANSACTION_ACK: Self = Self(0x0134);
    /// The first of the application's own types.
    pub const FIRST_APPLICATION: Self = Self(0x8000);

    /// One of the application's own types, numbered from 0 to 0x7FFF; `None` beyond.
    pub const fn application(number: u16) -> Option<Self> {
        if number < 0x8000 { Some(Self(0x8000 + number)) } else { None }
    }

    /// Whether the number belongs to the protocol itself.
    pub const fn is_control(self) -> bool {
        self.0 < 0x0100
    }

    /// Whether the number belongs to the application.
    pub const fn is_application(self) -> bool {
        self.0 >= 0x8000
    }

    /// What is known of this type; an unnamed row where the table has none.
    pub fn spec(self) -> MessageSpec {
        let unnamed = MessageSpec { message_type: self, ..MessageSpec::UNNAMED };
        if self.is_application() {
            return unnamed;
        }
        MessageSpec::TABLE
            .into_iter()
            .chain(MessageSpec::OPAQUE)
            .find(|row| row.message_type == self)
            .unwrap_or(unnamed)
    }

    /// The type's name, as metrics and logs show it.
    pub fn name(self) -> &'static str {
        self.spec().name
    }
}

impl fmt::Debug for MessageType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{:04x}", self.0)
    }
}

impl fmt::Display for MessageType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}(0x{:04x})", self.name(), self.0)
    }
}

/// A lane of a connection: messages of one lane keep their order, lanes do not wait for each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Lane {
    /// Heartbeats, membership, credits, cancellation: always first, never behind the others.
    System = 0,
    /// Queries and transactions: small and urgent.
    Interactive = 1,
    /// Log entries: steady and ordered.
    Replication = 2,
    /// Snapshots and repair: large and patient.
    Bulk = 3,
}

impl Lane {
    /// All lanes, the most urgent first.
    pub const ALL: [Self; 4] = [Self::System, Self::Interactive, Self::Replication, Self::Bulk];

    /// The lane of this number on the wire.
    pub const fn from_u8(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::System),
            1 => Some(Self::Interactive),
            2 => Some(Self::Replication),
            3 => Some(Self::Bulk),
            _ => None,
        }
    }

    /// The lane's name in lower case, as metrics and JSON show it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::Interactive => "interactive",
            Self::Replication => "replication",
            Self::Bulk => "bulk",
        }
    }
}

/// What is known of a message type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MessageSpec {
    /// The number on the wire.
    pub message_type: MessageType,
    /// The name in metrics and logs.
    pub name: &'static str,
    /// The lane it travels on.
    pub lane: Lane,
    /// Whether carrying it out twice is the same as once, so that it may be sent again after an unknown outcome.
    pub idempotent: bool,
    /// The largest encoded message, in bytes.
    pub bytes_max: u32,
    /// Whether it is worth trying to compress.
    pub compressible: bool,
    /// How many bytes of memory one byte of its struct can become when it is read, at most: a list of empty rows is far larger
    /// in memory than on the wire. Attachments are never copied and count as they are.
    pub bytes_per_struct_byte: u16,
}

const KIB: u32 = 1024;
const MIB: u32 = 1024 * KIB;

impl MessageSpec {
    const UNNAMED: Self = Self {
        message_type: MessageType::FIRST_APPLICATION,
        name: "application",
        lane: Lane::Interactive,
        idempotent: false,
        bytes_max: 64 * MIB,
        compressible: true,
        bytes_per_struct_byte: 1,
    };

    const fn row(message_type: MessageType, name: &'static str, lane: Lane, idempotent: bool, bytes_max: u32) -> Self {
        let compressible = bytes_max > 64 * KIB;
        Self { message_type, name, lane, idempotent, bytes_max, compressible, bytes_per_struct_byte: 1 }
    }

    /// The same row, of a type whose struct has lists.
    const fn costing(self, bytes_per_struct_byte: u16) -> Self {
        Self { bytes_per_struct_byte, ..self }
    }

    /// What nodes tell each other by themselves, in bytes that are the membership's own; by ascending number.
    pub const OPAQUE: [Self; 2] = [
        Self::row(MessageType::GOSSIP_PACKET, "gossip_packet", Lane::System, true, 2 * KIB),
        Self::row(MessageType::GOSSIP_KEYS, "gossip_keys", Lane::System, true, KIB),
    ];

    /// Every cluster message, by ascending number.
    pub const TABLE: [Self; 10] = [
        Self::row(MessageType::HEARTBEAT, "heartbeat", Lane::System, true, KIB),
        Self::row(MessageType::QUERY_REQUEST, "query_request", Lane::Interactive, false, 64 * MIB),
        Self::row(MessageType::QUERY_RESPONSE, "query_response", Lane::Interactive, true, 64 * MIB).costing(36),
        Self::row(MessageType::REPLICATION_LOG, "replication_log", Lane::Replication, true, 64 * MIB).costing(24),
        Self::row(MessageType::REPLICATION_ACK, "replication_ack", Lane::Replication, true, KIB),
        Self::row(MessageType::PREPARE_TRANSACTION, "prepare_transaction", Lane::Interactive, true, 64 * MIB)
            .costing(36),
        Self::row(MessageType::TRANSACTION_VOTE, "transaction_vote", Lane::Interactive, true, 64 * KIB),
        Self::row(MessageType::COMMIT_TRANSACTION, "commit_transaction", Lane::Interactive, true, KIB),
        Self::row(MessageType::ABORT_TRANSACTION, "abort_transaction", Lane::Interactive, true, 64 * KIB),
        Self::row(MessageType::TRANSACTION_ACK, "transaction_ack", Lane::Interactive, true, KIB),
    ];
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_names_are_unique() {
        let numbers: Vec<u16> = MessageSpec::TABLE.iter().map(|row| row.message_type.0).collect();
        assert!(numbers.is_sorted_by(|a, b| a < b));
        assert!(numbers.iter().all(|number| (0x0100..0x8000).contains(number)));
        let names: std::collections::BTreeSet<_> = MessageSpec::TABLE.iter().map(|row| row.name).collect();
        assert_eq!(names.len(), MessageSpec::TABLE.len());
    }

    #[test]
    fn unknown_types_have_an_unnamed_row() {
        let own = MessageType::application(7).expect("in range");
        assert_eq!((own.spec().message_type, own.name()), (own, "application"));
        assert_eq!(MessageType::application(0x8000), None);
        assert_eq!(MessageType::HEARTBEAT.spec().lane, Lane::System);
    }
}
