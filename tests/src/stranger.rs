//! A connection made by hand: any bytes to a node, and what comes back.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use bytes::Bytes;
use rdb_net_types::{BootId, ClusterId, Incarnation, NodeAddress, NodeId, ProtocolRange};
use rdb_net_wire::{Body, Close, CloseCode, FrameHead, FrameRules, Hello, Message, Reject, control_type, frame_length};

use crate::handmade::frame;

const FRAME_BYTES_MAX: u32 = 262_144;
const TIMEOUT: Duration = Duration::from_secs(10);

/// A hello that a node of the default cluster accepts.
pub fn hello(node: &str) -> Hello {
    Hello {
        cluster: ClusterId::new("rustydb").expect("legal"),
        node: NodeId::new(node).expect("legal"),
        target: None,
        incarnation: Incarnation::first_of(1),
        boot: BootId(7),
        address: NodeAddress::new("127.0.0.1", 9).expect("legal"),
        protocol: ProtocolRange::CURRENT,
        features: 0,
        codecs: Vec::new(),
        frame_bytes_max: 262_144,
        message_bytes_max: 262_144,
        requests_max: 16,
        credits: vec![1 << 20; 4],
        liveness_ms: 5000,
        checksum: true,
        channel_binding: Vec::new(),
        token: Vec::new(),
        software: "stranger".to_owned(),
        costs: Vec::new(),
    }
}

/// How a node ended a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It refused the hello, with this code.
    Rejected(u16),
    /// It closed for this reason.
    Closed(CloseCode),
    /// It ended the stream without a word.
    Silent,
}

/// A connection whose bytes are written by hand.
#[derive(Debug)]
pub struct Stranger<S = TcpStream> {
    stream: S,
    read: Vec<u8>,
}

impl Stranger {
    /// Connects, and says nothing.
    ///
    /// # Panics
    ///
    /// When nobody listens there.
    pub fn connect(address: SocketAddr) -> Self {
        Self::on(TcpStream::connect_timeout(&address, TIMEOUT).expect("the node listens"))
    }

    /// The stranger at this end of a connection that somebody else has made.
    ///
    /// # Panics
    ///
    /// When the connection is gone.
    pub fn on(stream: TcpStream) -> Self {
        stream.set_nodelay(true).expect("the connection is there");
        stream.set_read_timeout(Some(TIMEOUT)).expect("a time-out above zero");
        stream.set_write_timeout(Some(TIMEOUT)).expect("a time-out above zero");
        Self::over(stream)
    }

    /// Ends the stream on this side.
    ///
    /// # Panics
    ///
    /// When the connection is gone.
    pub fn shutdown(&mut self, how: Shutdown) {
        self.stream.shutdown(how).expect("the connection is there");
    }

    /// Waits until the node says or ends something, for so long at most. Returns whether it did.
    ///
    /// # Panics
    ///
    /// When the connection is gone.
    pub fn listen(&mut self, patience: Duration) -> bool {
        self.stream.set_read_timeout(Some(patience)).expect("a time-out above zero");
        let heard = self.stream.peek(&mut [0]).is_ok();
        self.stream.set_read_timeout(Some(TIMEOUT)).expect("a time-out above zero");
        heard
    }
}

impl<S: Read + Write> Stranger<S> {
    /// The stranger at this end of a stream, which may be inside TLS.
    pub const fn over(stream: S) -> Self {
        Self { stream, read: Vec::new() }
    }

    /// The stream.
    pub const fn stream(&mut self) -> &mut S {
        &mut self.stream
    }

    /// Sends these bytes, as far as the node takes them.
    pub fn send(&mut self, bytes: &[u8]) {
        // A node may end the connection at the first wrong byte.
        let _ = self.stream.write_all(bytes);
    }

    /// Sends a hello and waits for the node's own.
    ///
    /// # Panics
    ///
    /// When the node answers with something else.
    pub fn shake(&mut self, hello: &Hello) -> Hello {
        self.send(&frame(hello));
        let (head, body) = self.hear().expect("an answer");
        assert_eq!(head.message_type, control_type::HELLO);
        Hello::decode(&body).expect("a hello")
    }

    /// The next frame; `None` at the end of the stream.
    ///
    /// # Panics
    ///
    /// When the node sends something else than frames with a checksum, or is silent for ten seconds.
    pub fn hear(&mut self) -> Option<(FrameHead, Body)> {
        match self.try_hear() {
            Ok(heard) => heard,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => None,
            Err(error) => panic!("the node neither answered nor ended the connection: {error}"),
        }
    }

    /// The next frame; `None` at the end of the stream.
    ///
    /// # Errors
    ///
    /// What the stream says: that the other end has reset it, is silent, or that TLS has ended it.
    ///
    /// # Panics
    ///
    /// When the node sends something else than frames with a checksum.
    pub fn try_hear(&mut self) -> std::io::Result<Option<(FrameHead, Body)>> {
        loop {
            let length = frame_length(&self.read, FRAME_BYTES_MAX).expect("the node sends frames");
            if let Some(length) = length.filter(|length| self.read.len() >= *length) {
                let bytes: Vec<u8> = self.read.drain(..length).collect();
                let rules = FrameRules { streams: true, ..FrameRules::plain(true) };
                let decoded = rules.read(&bytes).expect("the node sends frames with a checksum");
                return Ok(Some((decoded.head, Body::of(&decoded, &Bytes::from(bytes)))));
            }
            let mut chunk = [0; 4096];
            match self.stream.read(&mut chunk)? {
                0 => return Ok(None),
                count => self.read.extend_from_slice(&chunk[..count]),
            }
        }
    }

    /// Reads until the node has ended the connection; other frames before that are passed over.
    ///
    /// # Panics
    ///
    /// When it does not end it, or says something behind its last word.
    pub fn end(mut self) -> End {
        let mut end = End::Silent;
        while let Some((FrameHead { message_type, .. }, body)) = self.hear() {
            assert_eq!(end, End::Silent, "nothing follows the last word");
            if message_type == control_type::REJECT {
                end = End::Rejected(Reject::decode(&body).expect("a refusal").code);
            } else if message_type == control_type::CLOSE {
                let code = Close::decode(&body).expect("a farewell").code;
                end = End::Closed(CloseCode::from_code(code).expect("a code of this version"));
            }
        }
        assert!(self.read.is_empty(), "the node ended in the middle of a frame");
        end
    }
}
