//! What a message costs of the credits of its lane.

use rdb_net_types::{MessageSpec, MessageType};
use rdb_net_wire::TypeCost;

/// What a message costs beside its bytes: the slot or queue entry that the receiver needs for it.
pub(crate) const MESSAGE_CHARGE: u64 = 64;
/// How many types a peer may name.
const TYPES_MAX: usize = 64;

/// How many bytes of memory the structs of some types become, as their reader says; those of others count as they are.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Costs {
    types: Box<[TypeCost]>,
    /// The highest number among them; all above need not be looked for.
    last: u16,
}

impl Costs {
    /// What this side's own decoders need.
    pub(crate) fn own() -> Vec<TypeCost> {
        let rows = MessageSpec::TABLE.into_iter().filter(|row| row.bytes_per_struct_byte > 1);
        rows.map(|row| TypeCost { message_type: row.message_type.0, bytes_per_byte: row.bytes_per_struct_byte })
            .collect()
    }

    /// What a reader said; of an absurdly long list the first types.
    pub(crate) fn new(told: &[TypeCost]) -> Self {
        let types: Box<[TypeCost]> = told.iter().take(TYPES_MAX).copied().collect();
        let last = types.iter().map(|cost| cost.message_type).max().unwrap_or(0);
        Self { types, last }
    }

    #[inline]
    fn of(&self, message_type: MessageType) -> u64 {
        if message_type.0 > self.last {
            return 1;
        }
        let row = self.types.iter().find(|cost| cost.message_type == message_type.0);
        row.map_or(1, |cost| u64::from(cost.bytes_per_byte.max(1)))
    }

    /// What a message of this type needs in memory beyond the bytes of its body, once it is read.
    #[inline]
    pub(crate) fn beyond_bytes(&self, message_type: MessageType, structure_bytes: u32) -> u64 {
        (self.of(message_type) - 1).saturating_mul(u64::from(structure_bytes))
    }

    /// What the frame of a whole message costs: its bytes on the wire, what decompression adds to them, and what reading adds.
    #[inline]
    pub(crate) fn charge(&self, message_type: MessageType, sizes: Sizes) -> u64 {
        frame_charge(sizes) + self.beyond_bytes(message_type, sizes.structure_bytes)
    }
}

/// The sizes of a frame that matter for its cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sizes {
    pub(crate) wire_bytes: u32,
    /// How many bytes compression has saved.
    pub(crate) saved_bytes: u32,
    pub(crate) structure_bytes: u32,
}

/// What a frame costs by its bytes alone; of a fragment this is all, since the message is reserved as a whole.
#[inline]
pub(crate) const fn frame_charge(sizes: Sizes) -> u64 {
    sizes.wire_bytes as u64 + sizes.saved_bytes as u64 + MESSAGE_CHARGE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_struct_of_a_listed_type_costs_what_it_becomes() {
        let costs = Costs::new(&Costs::own());
        let sizes = Sizes { wire_bytes: 1000, saved_bytes: 500, structure_bytes: 10 };
        assert_eq!(costs.charge(MessageType::FIRST_APPLICATION, sizes), 1564);
        assert_eq!(costs.charge(MessageType::QUERY_RESPONSE, sizes), 1564 + 350);
        assert_eq!(Costs::default().charge(MessageType::QUERY_RESPONSE, sizes), 1564);
    }

    #[test]
    fn a_cost_of_nothing_counts_as_one() {
        let told = [TypeCost { message_type: 0x8000, bytes_per_byte: 0 }; 100];
        assert_eq!(Costs::new(&told).beyond_bytes(MessageType(0x8000), 9), 0);
        assert_eq!(Costs::new(&told).types.len(), TYPES_MAX);
    }
}
