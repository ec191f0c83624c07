//! Requests under way to other members: each is queued in the order in which it was made.
//!
//! A request for a stream tells when it is queued, which one for a single reply does not: so that is what is asked for, and one reply is
//! given.

use std::collections::{BTreeMap, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_core::Stream;
use rdb_net_manager::{CallOptions, NetworkManager, ReplyStream, StreamOptions};
use rdb_net_types::{Application, BoxFuture, Lane, NodeId, ReplicationAck};
use rdb_net_wire::{EntryHead, EntryHeads, PackedReplicationLog};

use super::REQUEST_TIMEOUT;
use crate::replication::{AppendEntries, Entries, Message, RESUME_TYPE, Reply, Resumed};

/// How many bytes an answer may have before it is taken.
const REPLY_BYTES: u32 = 1024;

/// A request that has ended; `None` where there is no answer to it.
pub(super) struct Ended {
    pub(super) to: NodeId,
    pub(super) ticket: u64,
    pub(super) reply: Option<Reply>,
}

/// A follower's requests. Each is queued when the one before it is: so they keep their order, also where they wait for credits.
#[derive(Default)]
struct Peer {
    /// Not yet queued, the first of them on its way to be.
    waiting: VecDeque<(u64, Message)>,
    queueing: Option<(u64, BoxFuture<'static, Option<ReplyStream>>)>,
    /// Queued or sent, and not answered.
    asked: Vec<(u64, bool, ReplyStream)>,
    /// Whether a handshake is on its way to be queued.
    is_handshake: bool,
}

/// Requests under way. A follower has a few of them, as its window allows.
pub(super) struct Requests {
    manager: Arc<NetworkManager>,
    log_id: u64,
    peers: BTreeMap<NodeId, Peer>,
}

impl Requests {
    pub(super) fn new(manager: Arc<NetworkManager>, log_id: u64) -> Self {
        Self { manager, log_id, peers: BTreeMap::new() }
    }

    /// Adds a request; it begins when these are polled next.
    pub(super) fn push(&mut self, to: NodeId, ticket: u64, message: Message) {
        self.peers.entry(to).or_default().waiting.push_back((ticket, message));
    }

    /// Gives up what is under way to this node; its handlers are told.
    pub(super) fn give_up(&mut self, to: &NodeId) {
        self.peers.remove(to);
    }

    /// The first that has ended. All others have begun as far as they may.
    pub(super) fn poll_ended(&mut self, context: &mut Context<'_>) -> Poll<Ended> {
        let Self { manager, log_id, peers } = self;
        for (to, peer) in peers {
            let begin = |message| queue(Arc::clone(manager), to.clone(), *log_id, message);
            if let Poll::Ready((ticket, reply)) = peer.poll_ended(begin, context) {
                return Poll::Ready(Ended { to: to.clone(), ticket, reply });
            }
        }
        Poll::Pending
    }
}

impl Peer {
    fn poll_ended(
        &mut self,
        begin: impl Fn(Message) -> BoxFuture<'static, Option<ReplyStream>>,
        context: &mut Context<'_>,
    ) -> Poll<(u64, Option<Reply>)> {
        loop {
            if self.queueing.is_none() {
                let Some((ticket, message)) = self.waiting.pop_front() else { break };
                self.is_handshake = matches!(message, Message::Resume(_));
                self.queueing = Some((ticket, begin(message)));
            }
            let Some((ticket, queueing)) = &mut self.queueing else { break };
            let Poll::Ready(queued) = queueing.as_mut().poll(context) else { break };
            let ticket = *ticket;
            self.queueing = None;
            match queued {
                Some(stream) => self.asked.push((ticket, self.is_handshake, stream)),
                None => return Poll::Ready((ticket, None)),
            }
        }
        let ended = self.asked.iter_mut().enumerate().find_map(|(place, (_, is_handshake, stream))| {
            match Pin::new(stream).poll_next(context) {
                Poll::Ready(reply) => {
                    Some((place, reply.and_then(Result::ok).and_then(|reply| read(*is_handshake, reply))))
                }
                Poll::Pending => None,
            }
        });
        match ended {
            Some((place, reply)) => Poll::Ready((self.asked.remove(place).0, reply)),
            None => Poll::Pending,
        }
    }
}

/// Queues a request; ready when it is queued, with what its reply comes from.
fn queue(
    manager: Arc<NetworkManager>,
    to: NodeId,
    log_id: u64,
    message: Message,
) -> BoxFuture<'static, Option<ReplyStream>> {
    // The key keeps the messages of a log to a node on one connection. Taking entries twice is taking them once.
    let call = CallOptions {
        timeout: Some(REQUEST_TIMEOUT),
        lane: Some(Lane::Replication),
        idempotent: Some(true),
        key: Some(log_id),
    };
    let options = StreamOptions { call, window_bytes: REPLY_BYTES };
    Box::pin(async move {
        match message {
            Message::Append(append) => manager.stream(&to, &on_the_wire(append), options).await.ok(),
            Message::Resume(resume) => {
                let message = Application { message_type: RESUME_TYPE, payload: resume.to_bytes().into() };
                manager.stream(&to, &message, options).await.ok()
            }
        }
    })
}

/// The spec's message, with the data as they were put together for everybody.
fn on_the_wire(append: AppendEntries) -> PackedReplicationLog<Entries> {
    let AppendEntries { log_id, epoch, previous_index, previous_epoch, committed_index, entries } = append;
    let data = entries.data().clone();
    PackedReplicationLog { log_id, epoch, previous_index, previous_epoch, committed_index, heads: entries, data }
}

impl EntryHeads for Entries {
    fn heads(&self) -> impl ExactSizeIterator<Item = EntryHead> {
        let heads = Self::heads(self).iter().zip(self.lengths());
        heads.map(|(head, length)| EntryHead { index: head.index, epoch: head.epoch, length: length as u32 })
    }
}

/// The answer of a follower; `None` for what is none.
fn read(is_handshake: bool, reply: rdb_net_manager::Reply) -> Option<Reply> {
    if is_handshake {
        Resumed::from_bytes(&reply.into_payload().into_bytes()).ok().map(Reply::Resumed)
    } else {
        reply.decode::<ReplicationAck>().ok().map(Reply::Ack)
    }
}
