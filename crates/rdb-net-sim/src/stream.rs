//! A connection between two hosts: two sessions over two ordered pipes of bytes.
//!
//! A [`Pipe`] holds what is sent across a cut, and to a host that is off. The connection is given up when that takes too long.

use bytes::BytesMut;
use rdb_net_faults::Pipe;
use rdb_net_session::{RequestId, Session};
use rdb_net_types::{BootId, NodeId};

use crate::delivery::{End, PeerKey};
use crate::host::Job;

/// One end.
#[derive(Debug)]
pub(crate) struct Socket {
    pub(crate) session: Session,
    pub(crate) input: BytesMut,
    /// Who is at the other end, once the hello was answered.
    pub(crate) peer: Option<(NodeId, BootId)>,
    /// Requests under way, in the order in which they were sent.
    pub(crate) jobs: Vec<(RequestId, Job)>,
}

impl Socket {
    pub(crate) fn new(session: Session) -> Self {
        Self { session, input: BytesMut::new(), peer: None, jobs: Vec::new() }
    }

    /// What a request that has ended was for.
    pub(crate) fn take_job(&mut self, request: RequestId) -> Option<Job> {
        let place = self.jobs.iter().position(|(id, _)| *id == request)?;
        Some(self.jobs.remove(place).1)
    }
}

/// A connection, from the dial on.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) dialer: usize,
    pub(crate) acceptor: usize,
    /// For whom the dialer has made it.
    pub(crate) key: PeerKey,
    dialer_socket: Option<Socket>,
    acceptor_socket: Option<Socket>,
    /// By the sending end.
    dialer_pipe: Pipe<Vec<u8>>,
    acceptor_pipe: Pipe<Vec<u8>>,
}

impl Stream {
    pub(crate) fn new(dialer: usize, acceptor: usize, key: PeerKey) -> Self {
        Self {
            dialer,
            acceptor,
            key,
            dialer_socket: None,
            acceptor_socket: None,
            dialer_pipe: Pipe::default(),
            acceptor_pipe: Pipe::default(),
        }
    }

    pub(crate) fn host(&self, end: End) -> usize {
        match end {
            End::Dialer => self.dialer,
            End::Acceptor => self.acceptor,
        }
    }

    pub(crate) fn socket(&mut self, end: End) -> &mut Option<Socket> {
        match end {
            End::Dialer => &mut self.dialer_socket,
            End::Acceptor => &mut self.acceptor_socket,
        }
    }

    pub(crate) fn pipe(&mut self, sender: End) -> &mut Pipe<Vec<u8>> {
        match sender {
            End::Dialer => &mut self.dialer_pipe,
            End::Acceptor => &mut self.acceptor_pipe,
        }
    }

    /// Whether neither end has a socket any more.
    pub(crate) fn is_gone(&self) -> bool {
        self.dialer_socket.is_none() && self.acceptor_socket.is_none()
    }
}
