//! The floor of multiplexing: what independent callers over one connection cost at least.
//!
//! A call appends its frame to a write buffer that all callers share and waits on a oneshot under its correlation id.
//! One driver task owns the socket: it takes the whole buffer, writes it at once, and completes the calls of each
//! batch that it reads. A good implementation without the rest: no checksum, deadline, priority or metric.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};

use bytes::{Buf, Bytes, BytesMut};
use rdb_net_tls::Tls;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{Notify, oneshot};
use tokio::task::AbortHandle;

use crate::measure::Caller;
use crate::peers::PeerError;
use crate::peers::frame::{self, HEADER_BYTES, Kind};
use crate::peers::pump::{Outbox, Progress, poll_pump};
use crate::peers::tls;

/// Queued bytes beyond which a caller waits for room; the last frame may go over it.
const QUEUE_BYTES_MAX: usize = 256 << 10;

/// A client that many tasks share. The driver task ends with the last clone.
#[derive(Debug, Clone)]
pub struct MuxClient {
    connection: Arc<Connection>,
    _driver: Arc<AbortOnDrop>,
}

#[derive(Debug)]
struct AbortOnDrop(AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[derive(Debug, Default)]
struct Connection {
    shared: Mutex<Shared>,
    /// Told when the queue was taken and somebody waits for room.
    room: Notify,
}

#[derive(Debug, Default)]
struct Shared {
    queue: Vec<u8>,
    waiting: Waiting,
    /// Set while the driver sleeps with an empty queue.
    driver: Option<Waker>,
    someone_waits_for_room: bool,
    lost: bool,
}

/// Calls without an answer, by correlation id; freed places are used again.
#[derive(Debug, Default)]
struct Waiting {
    places: Vec<Option<oneshot::Sender<Bytes>>>,
    free: Vec<u32>,
}

impl MuxClient {
    /// Connects over TCP, inside TLS where there is one.
    ///
    /// # Errors
    ///
    /// The operating system's, or TLS's.
    pub async fn connect(address: SocketAddr, tls: Option<Tls>) -> Result<Self, PeerError> {
        if let Some(tls) = tls {
            return Ok(Self::over(tls::dial(&tls, address).await?));
        }
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self::over(stream))
    }

    /// Multiplexes over any stream whose other side is served by [`serve_connection`](crate::peers::serve_connection).
    pub fn over<S>(stream: S) -> Self
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let connection = Arc::new(Connection::default());
        let driver = tokio::spawn(run(stream, Arc::clone(&connection)));
        Self { connection, _driver: Arc::new(AbortOnDrop(driver.abort_handle())) }
    }

    async fn request(&self, kind: Kind, payload: &[u8]) -> Result<Bytes, PeerError> {
        let (sender, receiver) = oneshot::channel();
        let mut sender = Some(sender);
        self.connection
            .enqueue(|shared| {
                let id = shared.waiting.insert(sender.take());
                frame::encode(kind, id, payload, &mut shared.queue);
            })
            .await?;
        receiver.await.map_err(|_| PeerError::ConnectionLost("the call had no answer"))
    }
}

impl Caller for MuxClient {
    async fn call(&self, payload: Bytes) -> Result<Bytes, PeerError> {
        self.request(Kind::Echo, &payload).await
    }

    async fn send(&self, payload: Bytes) -> Result<(), PeerError> {
        self.connection.enqueue(|shared| frame::encode(Kind::OneWay, 0, &payload, &mut shared.queue)).await
    }

    async fn barrier(&self) -> Result<u64, PeerError> {
        let mut reply = self.request(Kind::Barrier, &[]).await?;
        reply.try_get_u64().map_err(|_| PeerError::Protocol("a barrier without a count"))
    }
}

impl Connection {
    /// Lets `append` write into the queue as soon as it has room, and wakes the driver if that sleeps.
    async fn enqueue(&self, mut append: impl FnMut(&mut Shared)) -> Result<(), PeerError> {
        loop {
            let room = self.room.notified();
            {
                let mut shared = self.lock();
                if shared.lost {
                    return Err(PeerError::ConnectionLost("the driver ended"));
                }
                if shared.queue.len() < QUEUE_BYTES_MAX {
                    append(&mut shared);
                    let driver = shared.driver.take();
                    drop(shared);
                    driver.into_iter().for_each(Waker::wake);
                    return Ok(());
                }
                shared.someone_waits_for_room = true;
            }
            // `notify_waiters` wakes every future made before it, polled or not: nothing is missed here.
            room.await;
        }
    }

    /// Exchanges the queue with the empty outbox; registers the driver where there is nothing to take.
    fn take_queue(&self, outbox: &mut Outbox, context: &Context<'_>) {
        if outbox.waiting_bytes() > 0 {
            return;
        }
        let mut shared = self.lock();
        if shared.queue.is_empty() {
            shared.driver = Some(context.waker().clone());
            return;
        }
        std::mem::swap(&mut shared.queue, &mut outbox.bytes);
        if std::mem::take(&mut shared.someone_waits_for_room) {
            drop(shared);
            self.room.notify_waiters();
        }
    }

    fn complete_batch(&self, inbox: &mut BytesMut) -> Result<(), PeerError> {
        let mut shared = self.lock();
        while let Some(header) = frame::decode(inbox)? {
            if inbox.len() < HEADER_BYTES + header.payload_bytes {
                break;
            }
            inbox.advance(HEADER_BYTES);
            let reply = inbox.split_to(header.payload_bytes).freeze();
            let sender = shared.waiting.remove(header.id).ok_or(PeerError::Protocol("an answer that nobody awaits"))?;
            // The caller may have given up.
            let _delivered = sender.send(reply);
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn insert(&mut self, sender: Option<oneshot::Sender<Bytes>>) -> u32 {
        if let Some(id) = self.free.pop() {
            self.places[id as usize] = sender;
            return id;
        }
        self.places.push(sender);
        u32::try_from(self.places.len() - 1).expect("invariant: the queue bounds the calls")
    }

    fn remove(&mut self, id: u32) -> Option<oneshot::Sender<Bytes>> {
        let sender = self.places.get_mut(id as usize)?.take()?;
        self.free.push(id);
        Some(sender)
    }
}

async fn run<S>(mut stream: S, connection: Arc<Connection>) -> Result<(), PeerError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let result = exchange(&mut stream, &connection).await;
    let mut shared = connection.lock();
    shared.lost = true;
    // Dropping the senders tells every caller.
    shared.waiting = Waiting::default();
    drop(shared);
    connection.room.notify_waiters();
    result
}

async fn exchange<S>(stream: &mut S, connection: &Connection) -> Result<(), PeerError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut inbox = BytesMut::new();
    let mut outbox = Outbox::default();
    loop {
        let progress = poll_fn(|context| {
            connection.take_queue(&mut outbox, context);
            poll_pump(stream, &mut inbox, &mut outbox, context)
        });
        match progress.await? {
            Progress::Moved => connection.complete_batch(&mut inbox)?,
            Progress::Closed => return Err(PeerError::ConnectionLost("the server closed it")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peers::serve_connection;

    #[tokio::test]
    async fn concurrent_calls_each_get_their_own_answer() {
        let (near, far) = tokio::io::duplex(1 << 10);
        let server = tokio::spawn(serve_connection(far));
        let client = MuxClient::over(near);
        let calls: Vec<_> = (0..200_usize)
            .map(|number| {
                let client = client.clone();
                tokio::spawn(async move {
                    let payload = Bytes::from(vec![number as u8; number * 37]);
                    assert_eq!(client.call(payload.clone()).await.unwrap(), payload);
                })
            })
            .collect();
        for call in calls {
            call.await.unwrap();
        }
        drop(client);
        server.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_barrier_counts_every_message_sent_before_it() {
        let (near, far) = tokio::io::duplex(1 << 10);
        let server = tokio::spawn(serve_connection(far));
        let client = MuxClient::over(near);
        // More than the queue holds, so the sender has to wait for room.
        for _ in 0..1_000 {
            client.send(Bytes::from_static(&[7; 1_000])).await.unwrap();
        }
        assert_eq!(client.barrier().await.unwrap(), 1_000);
        drop(client);
        server.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_lost_connection_ends_open_and_later_calls() {
        let (near, far) = tokio::io::duplex(1 << 10);
        let client = MuxClient::over(near);
        let open = tokio::spawn({
            let client = client.clone();
            async move { client.call(Bytes::from_static(b"x")).await }
        });
        tokio::task::yield_now().await;
        drop(far);
        assert!(matches!(open.await.unwrap(), Err(PeerError::ConnectionLost(_))));
        assert!(matches!(client.call(Bytes::new()).await, Err(PeerError::ConnectionLost(_))));
    }
}
