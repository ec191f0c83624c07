//! A way to a server that can be cut or go silent.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The way. It forwards connections as long as it lives, in threads of its own, so that tests can count their tasks.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    to: SocketAddr,
    cut: AtomicBool,
    /// Bytes are taken and not passed on, as on a way that loses every packet.
    silent: AtomicBool,
    ended: AtomicBool,
    open: AtomicUsize,
    /// Both ends of each connection, by its number.
    sockets: Mutex<BTreeMap<usize, [TcpStream; 2]>>,
    next: AtomicUsize,
}

impl Proxy {
    /// A way to this URL's host and port.
    ///
    /// # Panics
    ///
    /// When that is no address, or loopback has no free port.
    pub fn to(url: &str) -> Self {
        let to = url.rsplit('/').next().expect("an address").parse().expect("an address");
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let address = listener.local_addr().expect("bound");
        let shared = Arc::new(Shared {
            to,
            cut: AtomicBool::new(false),
            silent: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            open: AtomicUsize::new(0),
            sockets: Mutex::default(),
            next: AtomicUsize::new(0),
        });
        let serving = Arc::clone(&shared);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if serving.ended.load(Ordering::SeqCst) {
                    return;
                }
                serving.take(client);
            }
        });
        Self { address, shared }
    }

    /// The URL of this end.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where this end listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends every connection, and refuses new ones.
    ///
    /// # Panics
    ///
    /// When a thread of it has panicked.
    pub fn cut(&self) {
        self.shared.cut.store(true, Ordering::SeqCst);
        let sockets = std::mem::take(&mut *self.shared.sockets.lock().expect("no panic"));
        for socket in sockets.values().flatten() {
            let _ = socket.shutdown(Shutdown::Both);
        }
    }

    /// Loses every byte from here on, without a word.
    pub fn silence(&self) {
        self.shared.silent.store(true, Ordering::SeqCst);
    }

    /// Lets new connections pass. Those that have lost bytes are beyond help and end.
    pub fn heal(&self) {
        if self.shared.silent.load(Ordering::SeqCst) {
            self.cut();
        }
        self.shared.silent.store(false, Ordering::SeqCst);
        self.shared.cut.store(false, Ordering::SeqCst);
    }

    /// Connections that are open at this time.
    pub fn open(&self) -> usize {
        self.shared.open.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        self.cut();
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(self.address);
    }
}

impl Shared {
    fn take(self: &Arc<Self>, client: TcpStream) {
        if self.cut.load(Ordering::SeqCst) {
            return;
        }
        let Ok(server) = TcpStream::connect_timeout(&self.to, Duration::from_secs(1)) else { return };
        let copy = |socket: &TcpStream| socket.try_clone().expect("a second handle");
        let number = self.next.fetch_add(1, Ordering::SeqCst);
        self.sockets.lock().expect("no panic").insert(number, [copy(&client), copy(&server)]);
        self.open.fetch_add(1, Ordering::SeqCst);
        let there = (copy(&client), copy(&server));
        let (shared, back) = (Arc::clone(self), Arc::clone(self));
        std::thread::spawn(move || {
            let forth = std::thread::spawn(move || back.pump(server, client));
            shared.pump(there.0, there.1);
            let _ = forth.join();
            shared.sockets.lock().expect("no panic").remove(&number);
            shared.open.fetch_sub(1, Ordering::SeqCst);
        });
    }

    fn pump(&self, mut from: TcpStream, mut to: TcpStream) {
        let mut buffer = [0; 16_384];
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            if !self.silent.load(Ordering::SeqCst) && to.write_all(&buffer[..count]).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Both);
        let _ = from.shutdown(Shutdown::Both);
    }
}
