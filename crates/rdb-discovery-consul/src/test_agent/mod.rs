//! A Consul agent for tests: one process's memory instead of a cluster of servers, spoken to by the same HTTP.
//!
//! It keeps services and checks, lets checks end by their time, answers blocking queries, and does on demand what makes a real one
//! hard to live with. It is written from Consul's documentation and not from this crate's client, and `py-consul` drives it as well,
//! so that the two do not share one misunderstanding. What it does not do: several agents, DNS, key and value, sessions, filters other
//! than by the id of a service.
//!
//! It runs in threads of its own, so that a test can count its tasks.

mod routes;
mod state;
mod wire;

use std::collections::BTreeMap;
use std::io::{self, BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use routes::{Route, route};
use state::State;
pub use wire::Stream;
use wire::{Answer, Request};

/// How often checks are looked at, and clients that have gone away are noticed.
const TICK: Duration = Duration::from_millis(20);

/// What is wrong with the agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// It answers with this status and text: 500 `No cluster leader`, 429.
    Status(u16, String),
    /// The head of an answer comes, and then nothing of its body.
    SlowBody,
    /// Nothing comes.
    Silence,
    /// Questions are answered although the servers have no leader.
    NoLeader,
    /// A proxy takes the header with the index out.
    NoIndex,
    /// A proxy answers in its stead.
    Page,
    /// A header is no ASCII.
    OddHeader,
}

/// What stands between a socket and HTTP: TLS, or nothing.
pub type Wrap = dyn Fn(TcpStream) -> io::Result<Box<dyn Stream>> + Send + Sync;

/// The agent. It ends when it is dropped.
pub struct TestAgent {
    shared: Arc<Shared>,
    address: SocketAddr,
}

impl std::fmt::Debug for TestAgent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TestAgent").field("address", &self.address).finish_non_exhaustive()
    }
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    started: Instant,
    ended: AtomicBool,
    trouble: Mutex<Option<(String, Trouble)>>,
    token: Mutex<Option<String>>,
    /// Open connections, by their number.
    sockets: Mutex<BTreeMap<usize, TcpStream>>,
    next: AtomicUsize,
    requests: Mutex<Vec<String>>,
    open: AtomicUsize,
    wrap: Box<Wrap>,
}

impl TestAgent {
    /// An agent at a free port of loopback.
    ///
    /// # Panics
    ///
    /// Where there is none.
    pub fn start() -> Self {
        Self::start_with("127.0.0.1:0", Box::new(|socket| Ok(Box::new(socket) as Box<dyn Stream>)))
    }

    /// An agent at this address, with this between the socket and HTTP.
    ///
    /// # Panics
    ///
    /// Where the address is taken.
    pub fn start_with(address: &str, wrap: Box<Wrap>) -> Self {
        let listener = TcpListener::bind(address).expect("a free address");
        let address = listener.local_addr().expect("bound");
        let shared = Arc::new(Shared {
            state: Mutex::new(State::new()),
            changed: Condvar::new(),
            started: Instant::now(),
            ended: AtomicBool::new(false),
            trouble: Mutex::default(),
            token: Mutex::default(),
            sockets: Mutex::default(),
            next: AtomicUsize::new(0),
            requests: Mutex::default(),
            open: AtomicUsize::new(0),
            wrap,
        });
        let (accepting, ticking) = (Arc::clone(&shared), Arc::clone(&shared));
        std::thread::spawn(move || accepting.accept(&listener));
        std::thread::spawn(move || ticking.tick());
        Self { shared, address }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its URL without TLS.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From here on, this is wrong with requests whose path begins like this.
    pub fn trouble(&self, path: &str, trouble: Trouble) {
        *lock(&self.shared.trouble) = Some((path.to_owned(), trouble));
        self.hang_up();
    }

    /// Nothing is wrong any more.
    pub fn heal(&self) {
        *lock(&self.shared.trouble) = None;
        self.hang_up();
    }

    /// Requests have to carry this token.
    pub fn want_token(&self, token: &str) {
        *lock(&self.shared.token) = Some(token.to_owned());
    }

    /// It is restarted without its data, as a client of servers that live on: its services are taken out of the catalog.
    pub fn restart_without_data(&self) {
        lock(&self.shared.state).forget();
        self.shared.changed.notify_all();
        self.hang_up();
    }

    /// It and its servers are restarted without their data.
    pub fn restart_with_nothing(&self) {
        let mut state = lock(&self.shared.state);
        let restores = state.restores;
        *state = State::new();
        state.restores = restores + 1;
        drop(state);
        self.shared.changed.notify_all();
        self.hang_up();
    }

    /// The servers go on from this index, as after the restore of a snapshot; questions that wait are answered.
    pub fn restore_index(&self, index: u64) {
        lock(&self.shared.state).restore_index(index);
        self.shared.changed.notify_all();
    }

    /// Requests so far, as `PUT /v1/agent/service/register`.
    pub fn requests(&self) -> Vec<String> {
        lock(&self.shared.requests).clone()
    }

    /// Connections that are open at this time.
    pub fn open(&self) -> usize {
        self.shared.open.load(Ordering::SeqCst)
    }

    /// Ends every connection.
    pub fn hang_up(&self) {
        for socket in std::mem::take(&mut *lock(&self.shared.sockets)).values() {
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for TestAgent {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        self.hang_up();
        self.shared.changed.notify_all();
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(self.address);
    }
}

impl Shared {
    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    fn has_ended(&self) -> bool {
        self.ended.load(Ordering::SeqCst)
    }

    fn accept(self: &Arc<Self>, listener: &TcpListener) {
        for socket in listener.incoming().flatten() {
            if self.has_ended() {
                return;
            }
            let Ok(watched) = socket.try_clone() else { continue };
            let _ = socket.set_nodelay(true);
            let number = self.next.fetch_add(1, Ordering::SeqCst);
            lock(&self.sockets).extend(socket.try_clone().ok().map(|socket| (number, socket)));
            let serving = Arc::clone(self);
            self.open.fetch_add(1, Ordering::SeqCst);
            std::thread::spawn(move || {
                if let Ok(stream) = (serving.wrap)(socket) {
                    serving.serve(BufReader::new(stream), &watched);
                }
                let _ = watched.shutdown(Shutdown::Both);
                lock(&serving.sockets).remove(&number);
                serving.open.fetch_sub(1, Ordering::SeqCst);
            });
        }
    }

    fn tick(&self) {
        while !self.has_ended() {
            std::thread::sleep(TICK);
            let now = self.now();
            if lock(&self.state).tick(now) {
                self.changed.notify_all();
            }
        }
    }

    fn serve(&self, mut stream: BufReader<Box<dyn Stream>>, socket: &TcpStream) {
        while let Some(request) = wire::read(&mut stream) {
            lock(&self.requests).push(format!("{} {}", request.method, request.path));
            let Some(answer) = self.answer(&request, socket) else { return };
            let (mut head, body) = answer.to_bytes();
            let trouble = self.trouble_of(&request);
            if trouble == Some(Trouble::OddHeader) {
                head.truncate(head.len() - 2);
                head.extend(b"X-Consul-LastContact: \xff\xfe\r\n\r\n");
            }
            let slow = trouble == Some(Trouble::SlowBody);
            let sent = stream.get_mut().write_all(&head).and_then(|()| match slow {
                true => stream.get_mut().flush(),
                false => stream.get_mut().write_all(&body).and_then(|()| stream.get_mut().flush()),
            });
            if sent.is_err() || self.has_ended() {
                return;
            }
        }
    }

    fn trouble_of(&self, request: &Request) -> Option<Trouble> {
        lock(&self.trouble)
            .as_ref()
            .filter(|(path, _)| request.path.starts_with(path))
            .map(|(_, trouble)| trouble.clone())
    }

    /// None where the client has gone, or shall not be answered.
    fn answer(&self, request: &Request, socket: &TcpStream) -> Option<Answer> {
        match self.trouble_of(request) {
            Some(Trouble::Status(code, text)) => return Some(Answer::text(code, text)),
            Some(Trouble::Page) => return Some(Answer::text(200, "<html>Login</html>")),
            Some(Trouble::Silence) => {
                while !self.has_ended() && !has_gone(socket) {
                    std::thread::sleep(TICK);
                }
                return None;
            }
            Some(Trouble::NoLeader) if request.path == "/v1/status/leader" => return Some(Answer::text(200, "\"\"")),
            _ => {}
        }
        let token = lock(&self.token).clone();
        if token.is_some() && request.token != token && request.path != "/v1/status/leader" {
            return Some(Answer::text(403, "Permission denied: token with AccessorID 'anonymous' lacks permission"));
        }
        let mut answer = self.carry_out(request, socket)?;
        match self.trouble_of(request) {
            Some(Trouble::NoIndex) => answer.headers.retain(|(name, _)| *name != "X-Consul-Index"),
            Some(Trouble::NoLeader) => {
                let leader = answer.headers.iter_mut().filter(|(name, _)| *name == "X-Consul-KnownLeader");
                leader.for_each(|(_, value)| *value = "false".to_owned());
            }
            Some(Trouble::OddHeader) => answer.headers.retain(|(name, _)| *name != "X-Consul-LastContact"),
            _ => {}
        }
        Some(answer)
    }

    fn carry_out(&self, request: &Request, socket: &TcpStream) -> Option<Answer> {
        let mut state = lock(&self.state);
        let (service, after, wait) = match route(&mut state, self.now(), request, false) {
            Route::Done(answer) => {
                drop(state);
                self.changed.notify_all();
                return Some(answer);
            }
            Route::Wait { service, after, wait } => (service, after, wait),
        };
        let (until, restores) = (self.now() + wait, state.restores);
        while state.index_of(&service) <= after && state.restores == restores && self.now() < until {
            let (woken, _) = self.changed.wait_timeout(state, TICK).unwrap_or_else(PoisonError::into_inner);
            state = woken;
            if self.has_ended() || has_gone(socket) {
                return None;
            }
        }
        match route(&mut state, self.now(), request, true) {
            Route::Done(answer) => Some(answer),
            Route::Wait { .. } => None,
        }
    }
}

/// Whether the client has closed its end.
fn has_gone(socket: &TcpStream) -> bool {
    let gone = |socket: &TcpStream| -> io::Result<bool> {
        socket.set_nonblocking(true)?;
        let read = socket.peek(&mut [0]);
        socket.set_nonblocking(false)?;
        match read {
            Ok(count) => Ok(count == 0),
            Err(error) => Ok(error.kind() != io::ErrorKind::WouldBlock),
        }
    };
    gone(socket).unwrap_or(true)
}

// A panic of one thread is not the others' business.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
