//! Following the nodes' prefix: list, watch from there, and list anew whenever something might have been lost.
//!
//! A watch of etcd can end without a word: where it starts behind a compaction, one frame says that it is cancelled, and the stream
//! stays open and silent. A server that was restored or wiped goes on with other data under the same address. So nothing here
//! resumes by revision: whatever ends a watch leads to a new list, whose difference to what is known is told.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use etcd_client::{Client, Event, EventType, GetOptions, KeyValue, ResponseHeader, WatchOptions, WatchResponse};
use rdb_discovery::{Cause, Delta, RemovalReason};
use rdb_discovery_driver::{Retry, Voice};
use rdb_net_types::NodeInfo;
use tokio::time::{MissedTickBehavior, interval_at, sleep};

use crate::config::EtcdConfig;
use crate::entries::{Entries, Entry};
use crate::link::{Link, MESSAGE_BYTES_MAX};

/// Leases that are asked for in one frame, to tell a node that left from one that expired. Of more, all count as expired.
const LEASES_ASKED_MAX: usize = 16;

/// What a source has counted beside its driver.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) lists: AtomicU64,
    pub(crate) watches_lost: AtomicU64,
    pub(crate) compacted: AtomicU64,
    pub(crate) cluster_changes: AtomicU64,
    pub(crate) revision_regressions: AtomicU64,
    pub(crate) garbage: AtomicU64,
}

/// Up to where the source was heard, and of which cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark {
    cluster: u64,
    revision: i64,
}

impl Mark {
    pub(crate) fn of(header: Option<&ResponseHeader>) -> Self {
        header.map_or(Self { cluster: 0, revision: 0 }, |header| Self {
            cluster: header.cluster_id(),
            revision: header.revision(),
        })
    }

    /// What it means that the source is now here and was there.
    pub(crate) fn since(self, before: Self) -> Step {
        if self.cluster != before.cluster {
            Step::OtherCluster
        } else if self.revision < before.revision {
            Step::WentBack
        } else {
            Step::Onward
        }
    }
}

/// How two marks of one source follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// As it should be.
    Onward,
    /// The data directory was wiped, or this is another cluster.
    OtherCluster,
    /// The cluster was restored from an older state.
    WentBack,
}

/// Follows the prefix.
pub(crate) struct Follower<'a> {
    config: &'a EtcdConfig,
    link: Link,
    voice: &'a Voice,
    counters: &'a Counters,
    entries: Entries,
    /// Where the last list or frame was.
    mark: Option<Mark>,
    /// Events up to here are part of the last list.
    listed: i64,
}

impl<'a> Follower<'a> {
    pub(crate) fn new(config: &'a Arc<EtcdConfig>, voice: &'a Voice, counters: &'a Counters) -> Self {
        let entries = Entries::new(config.nodes_prefix());
        Self { link: Link::new(Arc::clone(config), 0), config, voice, counters, entries, mark: None, listed: 0 }
    }

    /// Never ends.
    pub(crate) async fn run(&mut self) {
        let mut retry = Retry::new(self.config.retry_min, self.config.retry_max);
        loop {
            let began = Instant::now();
            let Err(cause) = self.round().await;
            self.counters.watches_lost.fetch_add(1, Ordering::Relaxed);
            self.voice.failure(cause);
            self.link.next();
            sleep(retry.wait_after(began.elapsed())).await;
        }
    }

    /// Lists and watches until that fails.
    async fn round(&mut self) -> Result<std::convert::Infallible, Cause> {
        let mut client = self.link.connect().await?;
        let nodes = self.list(&mut client).await?;
        if self.voice.has_answered() {
            self.voice.resync(nodes);
        } else {
            self.voice.full(nodes);
        }
        let options = WatchOptions::new()
            .with_prefix()
            .with_start_revision(self.listed + 1)
            .with_prev_key()
            .with_progress_notify();
        let mut watching = client.watch_client().max_decoding_message_size(MESSAGE_BYTES_MAX);
        let opened = watching.watch(self.config.nodes_prefix(), Some(options)).await;
        let mut stream = opened.map_err(|error| self.link.cause(&error))?;
        let every = self.config.probe_interval;
        let mut probes = interval_at(tokio::time::Instant::now() + every, every);
        probes.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut unanswered = false;
        loop {
            tokio::select! {
                frame = stream.message() => {
                    let frame = frame.map_err(|error| self.link.cause(&error))?;
                    let frame = frame.ok_or_else(|| self.link.unavailable(&"it has ended the watch"))?;
                    unanswered = false;
                    self.hear(&mut client, &frame).await?;
                }
                _ = probes.tick() => {
                    if unanswered {
                        return Err(self.link.unavailable(&format!("the watch is silent for {:?}", every * 2)));
                    }
                    stream.request_progress().await.map_err(|error| self.link.cause(&error))?;
                    unanswered = true;
                }
                () = self.voice.refresh_wanted() => {
                    let nodes = self.list(&mut client).await?;
                    self.voice.full(nodes);
                }
            }
        }
    }

    /// All nodes of this moment; from here on, only later events count.
    async fn list(&mut self, client: &mut Client) -> Result<Vec<NodeInfo>, Cause> {
        let mut reading = client.kv_client().max_decoding_message_size(MESSAGE_BYTES_MAX);
        let answer = reading.get(self.config.nodes_prefix(), Some(GetOptions::new().with_prefix())).await;
        let answer = answer.map_err(|error| self.link.cause(&error))?;
        self.counters.lists.fetch_add(1, Ordering::Relaxed);
        let mark = Mark::of(answer.header());
        if let Some(before) = self.mark {
            let (counter, change) = match mark.since(before) {
                Step::Onward => (None, ""),
                Step::OtherCluster => {
                    (Some(&self.counters.cluster_changes), "it is another cluster, or its data was wiped")
                }
                Step::WentBack => (Some(&self.counters.revision_regressions), "it was restored from an older state"),
            };
            if let Some(counter) = counter {
                counter.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(endpoint = self.link.endpoint(), change, "etcd does not go on from where it was");
            }
        }
        self.mark = Some(mark);
        self.listed = mark.revision;
        let nodes = self.entries.list(answer.kvs().iter().map(entry));
        self.counters.garbage.store(self.entries.garbage_count(), Ordering::Relaxed);
        Ok(nodes)
    }

    async fn hear(&mut self, client: &mut Client, frame: &WatchResponse) -> Result<(), Cause> {
        let ended = ended(frame.canceled(), frame.compact_revision(), frame.cancel_reason());
        if frame.compact_revision() > 0 {
            self.counters.compacted.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(problem) = ended {
            return Err(self.link.unavailable(&problem));
        }
        let mark = Mark::of(frame.header());
        if self.mark.is_some_and(|before| mark.since(before) == Step::OtherCluster) {
            return Err(self.link.unavailable(&"another cluster answers at this address"));
        }
        let reasons = self.reasons(client, frame.events()).await;
        let mut deltas = Vec::new();
        for (event, why) in frame.events().iter().zip(reasons) {
            deltas.extend(self.delta(event, why));
        }
        self.counters.garbage.store(self.entries.garbage_count(), Ordering::Relaxed);
        if !deltas.is_empty() {
            self.voice.delta(deltas);
        }
        if let Some(before) = &mut self.mark {
            before.revision = before.revision.max(mark.revision);
        }
        Ok(())
    }

    fn delta(&mut self, event: &Event, why: RemovalReason) -> Option<Delta> {
        let kv = event.kv().filter(|kv| kv.mod_revision() > self.listed)?;
        match event.event_type() {
            EventType::Put => self.entries.put(entry(kv)),
            EventType::Delete => self.entries.remove(kv.key(), why),
        }
    }

    /// Why the nodes of a frame are gone, one for each event. A key without a lease was taken out by somebody; one with a lease
    /// that still lives, too; else its lease has ended, and the key with it.
    async fn reasons(&self, client: &mut Client, events: &[Event]) -> Vec<RemovalReason> {
        let mut asked = 0;
        let mut reasons = Vec::new();
        for event in events {
            let lease = event.prev_kv().map_or(0, KeyValue::lease);
            reasons.push(match event.event_type() {
                EventType::Delete if event.prev_kv().is_none() => RemovalReason::Absent,
                EventType::Delete if lease == 0 => RemovalReason::Deregistered,
                EventType::Delete if asked < LEASES_ASKED_MAX => {
                    asked += 1;
                    match client.lease_time_to_live(lease, None).await {
                        Ok(left) if left.ttl() > 0 => RemovalReason::Deregistered,
                        _ => RemovalReason::Expired,
                    }
                }
                _ => RemovalReason::Expired,
            });
        }
        reasons
    }
}

/// Whether a frame says that nothing will follow it, and in which words. The stream does not end by it, and stays silent.
fn ended(canceled: bool, compact_revision: i64, reason: &str) -> Option<String> {
    match (compact_revision, canceled, reason) {
        (1.., _, _) => Some(format!("what was to be watched is compacted up to revision {compact_revision}")),
        (_, true, "") => Some(String::from("it has cancelled the watch without a reason")),
        (_, true, reason) => Some(format!("it has cancelled the watch: {reason}")),
        _ => None,
    }
}

fn entry(kv: &KeyValue) -> Entry<'_> {
    Entry { key: kv.key(), value: kv.value(), mod_revision: kv.mod_revision() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_that_does_not_go_on_is_found() {
        let mark = |cluster, revision| Mark { cluster, revision };
        assert_eq!(mark(1, 5).since(mark(1, 5)), Step::Onward);
        assert_eq!(mark(1, 6).since(mark(1, 5)), Step::Onward);
        assert_eq!(mark(1, 4).since(mark(1, 5)), Step::WentBack);
        assert_eq!(mark(2, 9).since(mark(1, 5)), Step::OtherCluster);
    }

    #[test]
    fn a_frame_after_which_the_stream_is_silent_is_known() {
        let told = |canceled, compacted, reason| ended(canceled, compacted, reason).unwrap_or_default();
        assert_eq!(told(false, 0, ""), "");
        assert_eq!(told(true, 14, ""), "what was to be watched is compacted up to revision 14");
        assert_eq!(told(true, 0, ""), "it has cancelled the watch without a reason");
        assert_eq!(told(true, 0, "no leader"), "it has cancelled the watch: no leader");
    }
}
