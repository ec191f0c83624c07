//! A node's disk: records wait while a sync runs, and the next one takes all of them.

use std::collections::VecDeque;

use bytes::Bytes;
use rdb_net_patterns::storage::{Log, MemoryDisk, MemoryLog};
use rdb_net_types::SeededRandom;

use super::{Ahead, Host, Input, World};

thread_local! {
    /// Whether the nodes of this thread's runs take a sync that failed for one that did not: a bug, to be found.
    pub(crate) static LIES: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// A record whose sync something waits for.
pub(super) struct Awaited {
    pub(super) ticket: u64,
    /// How it is called where a node dies at its sync, and how much more likely it does.
    pub(super) name: String,
    pub(super) weight: f64,
}

enum Item {
    Append(Vec<u8>, Option<Awaited>),
    Replace(Vec<Vec<u8>>),
}

/// A disk with a node's log.
pub(super) struct Disk {
    disk: MemoryDisk,
    log: Option<MemoryLog>,
    waiting: VecDeque<Item>,
    /// Up to which ticket the running sync makes durable.
    syncing: Option<u64>,
    /// What it makes durable that is waited for.
    syncing_records: Vec<String>,
    /// How much more likely its node dies meanwhile.
    weight: f64,
}

impl Disk {
    pub(super) fn new() -> Self {
        Self {
            disk: MemoryDisk::new(),
            log: None,
            waiting: VecDeque::new(),
            syncing: None,
            syncing_records: Vec::new(),
            weight: 1.0,
        }
    }

    pub(super) fn open(&mut self) -> Vec<Vec<u8>> {
        let mut records = Vec::new();
        let opened = self.disk.open(&mut |record| records.push(record.to_vec()));
        let (log, _) = opened.expect("this disk loses only what was not synced");
        self.log = Some(log);
        records
    }

    pub(super) fn crash(&mut self, random: &mut SeededRandom) {
        self.waiting.clear();
        self.syncing = None;
        self.log = None;
        self.disk.crash(random);
    }

    pub(super) fn has_pending(&self) -> bool {
        self.syncing.is_some() || !self.waiting.is_empty()
    }

    pub(super) fn append(&mut self, record: Vec<u8>, awaited: Option<Awaited>) {
        self.waiting.push_back(Item::Append(record, awaited));
    }

    pub(super) fn replace(&mut self, records: Vec<Vec<u8>>) {
        self.waiting.push_back(Item::Replace(records));
    }

    /// Hands what waits to the disk, unless a sync runs. Whether one is to be started.
    fn take_waiting(&mut self) -> bool {
        if self.syncing.is_some() {
            return false;
        }
        let log = self.log.as_mut().expect("a node that lives has its log open");
        let mut forced = None;
        self.syncing_records.clear();
        self.weight = 1.0;
        for item in self.waiting.drain(..) {
            match item {
                Item::Append(record, awaited) => {
                    log.append(&record).expect("this disk takes everything");
                    if let Some(Awaited { ticket, name, weight }) = awaited {
                        self.weight = weight.max(self.weight);
                        forced = Some(ticket);
                        self.syncing_records.push(format!("the sync of {name}"));
                    }
                }
                Item::Replace(records) => {
                    let mut records = records.into_iter().map(Bytes::from);
                    log.replace(&mut records).expect("this disk takes everything");
                }
            }
        }
        self.syncing = forced;
        forced.is_some()
    }

    /// The sync fails, and the log takes nothing more.
    fn fails(&mut self) {
        self.disk.fail_syncs(true);
        let failed = self.log.as_mut().expect("a node that lives has its log open").sync();
        assert!(failed.is_err_and(|error| error.is_final()), "a second sync would prove nothing");
        self.disk.fail_syncs(false);
    }

    /// What the sync should have written is there or is not, and the log is written on as if it were.
    fn goes_on(&mut self, random: &mut SeededRandom) -> Option<u64> {
        self.disk.crash(random);
        self.open();
        self.syncing.take()
    }

    fn synced(&mut self) -> Option<u64> {
        self.log.as_mut().expect("a node that lives has its log open").sync().expect("this disk syncs");
        self.syncing.take()
    }
}

impl<H: Host> World<H> {
    pub(super) fn start_sync(&mut self, node: usize) {
        if self.places[node].disk.take_waiting() {
            let (low, high) = (self.faults.sync_min, self.faults.sync_max);
            let delay = if self.random.chance(0.02) { high * 10 } else { self.random.duration(low, high) };
            let life = self.places[node].life;
            self.after(delay, Ahead::Synced { node, life });
        }
    }

    pub(super) fn synced(&mut self, node: usize) {
        let Disk { syncing_records: records, weight, .. } = &self.places[node].disk;
        let (records, weight) = (records.clone(), *weight);
        let dies = self.dies_here(weight);
        if dies == Some(true) {
            return self.dies_at(node, true, &records);
        }
        if !self.is_healed && self.random.chance(self.faults.failed_sync * weight) {
            self.counts.failed_syncs += 1;
            self.places[node].disk.fails();
            if !LIES.get() {
                records.iter().for_each(|record| self.deaths.count(format!("failed: {record}")));
                return self.dies(node);
            }
            let Self { places, random, .. } = self;
            let ticket = places[node].disk.goes_on(random).expect("a sync runs");
            self.start_sync(node);
            return self.give(node, Input::Synced { ticket });
        }
        let ticket = self.places[node].disk.synced();
        if dies == Some(false) {
            return self.dies_at(node, false, &records);
        }
        self.start_sync(node);
        if let Some(ticket) = ticket {
            self.give(node, Input::Synced { ticket });
        }
    }
}
