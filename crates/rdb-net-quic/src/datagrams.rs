//! Packets beside the streams (RFC 9221). They wait for nothing that is lost, and are not sent again.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use quinn::{Connection, ConnectionError};
use rdb_net_transport::Datagrams;

/// Sends packets over a connection, whoever has it.
#[derive(Debug)]
pub(crate) struct QuicDatagrams(pub(crate) Connection);

impl Datagrams for QuicDatagrams {
    fn bytes_max(&self) -> usize {
        self.0.max_datagram_size().unwrap_or(0)
    }

    fn send(&self, packet: Bytes) -> bool {
        self.0.send_datagram(packet).is_ok()
    }
}

type Reading = Pin<Box<dyn Future<Output = Result<Bytes, ConnectionError>> + Send>>;

/// Reads the packets of a connection, until it ends.
#[derive(Default)]
pub(crate) struct Received {
    reading: Option<Reading>,
    ended: bool,
}

impl Received {
    pub(crate) fn poll_next(&mut self, quic: &Connection, context: &mut Context<'_>) -> Poll<Bytes> {
        if self.ended {
            return Poll::Pending;
        }
        let reading = self.reading.get_or_insert_with(|| {
            let quic = quic.clone();
            Box::pin(async move { quic.read_datagram().await })
        });
        let read = ready!(reading.as_mut().poll(context));
        self.reading = None;
        match read {
            Ok(packet) => Poll::Ready(packet),
            Err(_) => {
                self.ended = true;
                Poll::Pending
            }
        }
    }
}

/// Throws packets away for as long as nobody may send any: without content they would wait without a bound.
pub(crate) async fn throw_away(quic: &Connection) -> Infallible {
    while quic.read_datagram().await.is_ok() {}
    // How the connection has ended is found out elsewhere.
    std::future::pending().await
}
