//! Packets beside the streams (RFC 9221), sent by whoever has a handle. They wait for nothing that is lost, and are not sent again.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use bytes::Bytes;
use rdb_net_transport::Datagrams;

use crate::config::DATAGRAM_BYTES_MAX;

/// How many packets wait, however small they are.
const PACKETS_MAX: usize = 1024;

/// Packets on their way to the task of their connection.
#[derive(Debug, Default)]
pub(crate) struct Outgoing {
    /// What one may have at most.
    bytes_max: AtomicUsize,
    /// Some wait.
    has_some: AtomicBool,
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    packets: VecDeque<Bytes>,
    bytes: usize,
    is_over: bool,
    task: Option<Waker>,
}

impl Outgoing {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Which task sends them.
    pub(crate) fn register(&self, task: &Waker) {
        self.lock().task = Some(task.clone());
    }

    pub(crate) fn set_bytes_max(&self, bytes: usize) {
        self.bytes_max.store(bytes, Ordering::Relaxed);
    }

    /// The next that waits.
    pub(crate) fn take(&self) -> VecDeque<Bytes> {
        if !self.has_some.swap(false, Ordering::Acquire) {
            return VecDeque::new();
        }
        let mut waiting = self.lock();
        waiting.bytes = 0;
        std::mem::take(&mut waiting.packets)
    }

    /// The connection has ended.
    pub(crate) fn end(&self) {
        *self.lock() = Waiting { is_over: true, ..Waiting::default() };
        self.set_bytes_max(0);
    }

    pub(crate) fn is_over(&self) -> bool {
        self.lock().is_over
    }

    /// Has the task look at its connection.
    pub(crate) fn wake(&self) {
        let task = self.lock().task.clone();
        if let Some(task) = task {
            task.wake();
        }
    }
}

/// Sends packets over a connection, whoever has it.
#[derive(Debug)]
pub(crate) struct QuicDatagrams(pub(crate) Arc<Outgoing>);

impl Datagrams for QuicDatagrams {
    fn bytes_max(&self) -> usize {
        self.0.bytes_max.load(Ordering::Relaxed)
    }

    fn send(&self, packet: Bytes) -> bool {
        if packet.len() > self.bytes_max() {
            return false;
        }
        let mut waiting = self.0.lock();
        if waiting.is_over {
            return false;
        }
        waiting.bytes += packet.len();
        waiting.packets.push_back(packet);
        while waiting.bytes > DATAGRAM_BYTES_MAX || waiting.packets.len() > PACKETS_MAX {
            let Some(oldest) = waiting.packets.pop_front() else { break };
            waiting.bytes -= oldest.len();
        }
        let task = waiting.task.clone();
        self.0.has_some.store(true, Ordering::Release);
        drop(waiting);
        if let Some(task) = task {
            task.wake();
        }
        true
    }
}
