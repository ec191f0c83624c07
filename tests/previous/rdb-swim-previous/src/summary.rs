//! A view in few bytes, by which another member finds what to tell: the hash of the whole, and of each bucket of members.
//!
//! Merkle trees do this in several round trips and send little; one level of buckets does it in one, and sends at most the members that
//! share a bucket with a difference. With sixteen members or so in a bucket, one difference among ten thousand costs 8 KiB one
//! way and about 1 KiB the other, where the whole view is half a megabyte.

use rdb_net_types::NodeId;

use crate::table::Table;
use crate::wire::{DecodeError, Reader, Write, fnv64};

/// A view of no more members than these is told whole: its buckets would cost as much.
const WHOLE_MAX: usize = 32;

/// How many members share a bucket, more or less.
const BUCKET_MEMBERS: usize = 16;

/// How many buckets there are at most: 8 KiB.
const BUCKETS_MAX: usize = 1_024;

/// What a request tells of the asker's view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Summary {
    pub(crate) digest: u64,
    /// The hash of each bucket; a power of two of them, or none where the whole view is wanted.
    buckets: Vec<u64>,
}

impl Summary {
    /// In O(n): a request is rare.
    pub(crate) fn of(table: &Table) -> Self {
        let count = if table.len() > WHOLE_MAX { (table.len() / BUCKET_MEMBERS).next_power_of_two() } else { 0 };
        Self { digest: table.digest(), buckets: hashes(table, count.min(BUCKETS_MAX)) }
    }

    /// Says of each member whether it may be held otherwise by whoever told this.
    pub(crate) fn differs(&self, table: &Table) -> impl Fn(&NodeId) -> bool + use<> {
        let is_equal = self.digest == table.digest();
        let own = if is_equal { Vec::new() } else { hashes(table, self.buckets.len()) };
        let differing: Vec<bool> = self.buckets.iter().zip(own).map(|(theirs, ours)| *theirs != ours).collect();
        // Hashes of buckets that are all equal say nothing where that of the whole differs.
        let is_whole = !is_equal && !differing.contains(&true);
        move |id| is_whole || differing.get(bucket_of(id, differing.len())).is_some_and(|differs| *differs)
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.digest.to_be_bytes());
        out.varint(self.buckets.len() as u64);
        self.buckets.iter().for_each(|hash| out.extend_from_slice(&hash.to_be_bytes()));
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let digest = reader.u64("digest")?;
        if reader.is_empty() {
            // A member of the time before there were buckets.
            return Ok(Self { digest, buckets: Vec::new() });
        }
        let count = reader.length(BUCKETS_MAX, "buckets")?;
        if count != 0 && !count.is_power_of_two() {
            return Err(DecodeError::Value { field: "buckets" });
        }
        let buckets = (0..count).map(|_| reader.u64("bucket")).collect::<Result<_, _>>()?;
        Ok(Self { digest, buckets })
    }
}

/// The hashes of so many buckets.
fn hashes(table: &Table, count: usize) -> Vec<u64> {
    let mut hashes = vec![0; count];
    if count > 0 {
        table.hashes().for_each(|(id, hash)| hashes[bucket_of(id, count)] ^= hash);
    }
    hashes
}

/// Part of the format: every member must find the same. `count` is a power of two.
fn bucket_of(id: &NodeId, count: usize) -> usize {
    // Fibonacci hashing takes the high bits, in which ids that count up differ as well.
    let mixed = fnv64(id.as_str().as_bytes()).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 32) as usize & count.wrapping_sub(1)
}
