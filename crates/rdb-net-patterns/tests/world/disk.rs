//! A node's disk: records wait while a sync runs, and the next one takes all of them.

use std::collections::VecDeque;

use bytes::Bytes;
use rdb_net_patterns::storage::{Log, MemoryDisk, MemoryLog};
use rdb_net_types::SeededRandom;

use super::{Ahead, Host, Input, World};

enum Item {
    Append(Vec<u8>, Option<u64>),
    Replace(Vec<Vec<u8>>),
}

/// A disk with a node's log.
pub(super) struct Disk {
    disk: MemoryDisk,
    log: Option<MemoryLog>,
    waiting: VecDeque<Item>,
    /// Up to which ticket the running sync makes durable.
    syncing: Option<u64>,
}

impl Disk {
    pub(super) fn new() -> Self {
        Self { disk: MemoryDisk::new(), log: None, waiting: VecDeque::new(), syncing: None }
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

    pub(super) fn append(&mut self, record: Vec<u8>, ticket: Option<u64>) {
        self.waiting.push_back(Item::Append(record, ticket));
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
        for item in self.waiting.drain(..) {
            match item {
                Item::Append(record, ticket) => {
                    log.append(&record).expect("this disk takes everything");
                    forced = ticket.or(forced);
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
        let ticket = self.places[node].disk.synced();
        self.start_sync(node);
        if let Some(ticket) = ticket {
            self.give(node, Input::Synced { ticket });
        }
    }
}
