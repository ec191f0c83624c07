//! Counters of one connection.

use std::collections::BTreeMap;
use std::time::Duration;

use rdb_net_types::{ClockOffset, LaneStatistics, MessageType};

/// How many different message types are counted by themselves; the rest is counted together.
const TYPES_MAX: usize = 64;

/// Counts by message type. A connection carries few types, so a short list beats a map.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TypeCounts {
    counts: Vec<(MessageType, u64)>,
    /// Messages of types beyond the first 64.
    pub others: u64,
}

impl TypeCounts {
    /// Counts messages of one type. What comes in bursts is found at once: the last type stands first.
    #[inline]
    pub fn add(&mut self, message_type: MessageType, count: u64) {
        if let Some((first, sum)) = self.counts.first_mut()
            && *first == message_type
        {
            *sum += count;
        } else if let Some(index) = self.counts.iter().position(|(counted, _)| *counted == message_type) {
            self.counts[index].1 += count;
            self.counts.swap(0, index);
        } else if self.counts.len() < TYPES_MAX {
            self.counts.push((message_type, count));
        } else {
            self.others += count;
        }
    }

    /// Adds the counts to a map.
    pub fn add_to(&self, sums: &mut BTreeMap<MessageType, u64>) {
        for (message_type, count) in &self.counts {
            *sums.entry(*message_type).or_default() += count;
        }
    }
}

const SUB_BUCKET_BITS: u32 = 3;
const SUB_BUCKETS: usize = 1 << SUB_BUCKET_BITS;
/// Powers of two of a microsecond that are told apart: up to some 70 minutes.
const OCTAVES: usize = 32;

/// Durations in buckets whose width is at most an eighth of their value, from 1 µs to 70 minutes. Up to 1 KiB: there is memory
/// for no longer durations than were counted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LatencyHistogram {
    /// Whole octaves.
    buckets: Vec<u32>,
    sum_us: u64,
}

impl LatencyHistogram {
    #[inline]
    fn index(us: u64) -> usize {
        if us < SUB_BUCKETS as u64 {
            return us as usize;
        }
        let octave = us.ilog2() - SUB_BUCKET_BITS;
        let within = (us >> octave) as usize & (SUB_BUCKETS - 1);
        ((octave as usize + 1) * SUB_BUCKETS + within).min(OCTAVES * SUB_BUCKETS - 1)
    }

    /// The largest duration of a bucket.
    fn upper_us(index: usize) -> u64 {
        if index < SUB_BUCKETS {
            return index as u64;
        }
        let octave = index / SUB_BUCKETS - 1;
        ((SUB_BUCKETS + index % SUB_BUCKETS + 1) as u64) * (1 << octave) - 1
    }

    #[inline]
    fn bucket(&mut self, index: usize) -> &mut u32 {
        if self.buckets.len() <= index {
            self.grow((index + 1).next_multiple_of(SUB_BUCKETS));
        }
        &mut self.buckets[index]
    }

    #[cold]
    fn grow(&mut self, length: usize) {
        self.buckets.reserve_exact(length.saturating_sub(self.buckets.len()));
        self.buckets.resize(length, 0);
    }

    /// Counts a duration.
    #[inline]
    pub fn record(&mut self, duration: Duration) {
        let us = duration.as_secs().saturating_mul(1_000_000).saturating_add(u64::from(duration.subsec_micros()));
        let bucket = self.bucket(Self::index(us));
        *bucket = bucket.saturating_add(1);
        self.sum_us = self.sum_us.saturating_add(us);
    }

    /// Counts several that took so long together, each as their average.
    pub fn record_many(&mut self, together: Duration, count: u32) {
        let Some(average) = together.checked_div(count) else { return };
        let bucket = self.bucket(Self::index(average.as_micros() as u64));
        *bucket = bucket.saturating_add(count);
        self.sum_us = self.sum_us.saturating_add(together.as_micros() as u64);
    }

    /// How many were counted.
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(|count| u64::from(*count)).sum()
    }

    /// Their sum.
    pub fn sum(&self) -> Duration {
        Duration::from_micros(self.sum_us)
    }

    /// How many were at most this long, to the width of a bucket.
    pub fn count_up_to(&self, limit: Duration) -> u64 {
        let last = Self::index(limit.as_micros() as u64);
        self.buckets.iter().take(last + 1).map(|count| u64::from(*count)).sum()
    }

    /// Adds another histogram's counts.
    pub fn merge(&mut self, other: &Self) {
        if self.buckets.len() < other.buckets.len() {
            self.grow(other.buckets.len());
        }
        self.buckets.iter_mut().zip(&other.buckets).for_each(|(sum, count)| *sum = sum.saturating_add(*count));
        self.sum_us = self.sum_us.saturating_add(other.sum_us);
    }

    /// What was counted since an earlier state of the same histogram.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let then = earlier.buckets.iter().copied().chain(std::iter::repeat(0));
        let buckets = self.buckets.iter().zip(then).map(|(now, then)| now.saturating_sub(then)).collect();
        Self { buckets, sum_us: self.sum_us.saturating_sub(earlier.sum_us) }
    }

    /// The duration that this share (0 to 1) of the counted ones does not exceed; `None` where nothing was counted.
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let count = self.count();
        if count == 0 {
            return None;
        }
        let rank = ((share.clamp(0.0, 1.0) * count as f64).ceil() as u64).max(1);
        let mut seen = 0;
        let index = self.buckets.iter().position(|bucket| {
            seen += u64::from(*bucket);
            seen >= rank
        });
        index.map(|index| Duration::from_micros(Self::upper_us(index)))
    }
}

/// What one connection has carried.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SessionStatistics {
    /// Bytes given to the socket.
    pub bytes_sent: u64,
    /// Bytes received.
    pub bytes_received: u64,
    /// Messages given to the socket, by type; the protocol's own included.
    pub sent: TypeCounts,
    /// Messages received, by type; the protocol's own included.
    pub received: TypeCounts,
    /// Requests that ended with a reply.
    pub replies: u64,
    /// Replies that came after their request had ended.
    pub late_replies: u64,
    /// Requests that were answered with an overload, because as many as were agreed were open.
    pub refused: u64,
    /// Messages that came after the last word of our drain. No handler saw them, and their sender knows.
    pub discarded: u64,
    /// Messages that no handler saw because there was no memory for them.
    pub out_of_memory: u64,
    /// What each lane has carried.
    pub lanes: [LaneStatistics; 4],
    /// Bytes of bodies that were compressed, or tried, before and after.
    pub compressed: (u64, u64),
    /// Frames of a type that this version does not know on its own side of the numbers; ignored.
    pub unknown_control: u64,
    /// Smoothed round-trip time of the keep-alive, once measured.
    pub round_trip: Option<Duration>,
    /// How far the other side's wall clock is ahead of ours, once measured.
    pub clock_offset: Option<ClockOffset>,
    /// From request to reply.
    pub latency: LatencyHistogram,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_within_an_eighth() {
        let mut histogram = LatencyHistogram::default();
        assert_eq!(histogram.quantile(0.5), None);
        (1..=10_000u64).for_each(|us| histogram.record(Duration::from_micros(us)));
        for (share, exact) in [(0.5, 5_000.0), (0.99, 9_900.0), (0.999, 9_990.0), (0.0, 1.0), (1.0, 10_000.0)] {
            let measured = histogram.quantile(share).expect("not empty").as_micros() as f64;
            assert!(measured >= exact && measured <= exact * 1.13, "{share}: {measured} against {exact}");
        }
        assert_eq!(histogram.count(), 10_000);
        assert_eq!(histogram.count_up_to(Duration::from_micros(7)), 7);
        histogram.record(Duration::from_secs(1_000_000));
        assert_eq!(histogram.count(), 10_001);
    }

    #[test]
    fn every_bucket_ends_where_the_next_begins() {
        for index in 0..OCTAVES * SUB_BUCKETS - 1 {
            let upper = LatencyHistogram::upper_us(index);
            assert_eq!((LatencyHistogram::index(upper), LatencyHistogram::index(upper + 1)), (index, index + 1));
        }
    }

    #[test]
    fn types_beyond_the_limit_are_counted_together() {
        let mut counts = TypeCounts::default();
        (0..70).for_each(|number| counts.add(MessageType(0x8000 + number), 1));
        counts.add(MessageType(0x8000), 1);
        assert_eq!((counts.others, counts.counts[0].1), (6, 2));
    }
}
