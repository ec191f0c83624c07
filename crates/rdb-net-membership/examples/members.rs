//! A member of a cluster and nothing else: packets over UDP, views over TCP on the same port, one line for each change.
//!
//! ```text
//! cargo run --release -p rdb-net-membership --example members -- a 127.0.0.1:7001
//! cargo run --release -p rdb-net-membership --example members -- b 127.0.0.1:7002 127.0.0.1:7001
//! ```
//!
//! Ctrl-C says farewell. Nothing is sealed here: whoever reaches the port takes part.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "the changes are what it is for")]

use std::collections::BTreeMap;
use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use rdb_net_membership::{Gossip, InTheClear, bind};
use rdb_net_types::{BootId, ClusterId, Incarnation, NodeAddress, NodeId};
use rdb_swim::{Config, Event, LocalNode, Swim, SyncAnswer, SyncId};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long an exchange of views may take, and how long a node without a member waits before it asks again.
const PATIENCE: Duration = Duration::from_secs(2);
/// A view of ten thousand members, and more than that.
const VIEW_BYTES_MAX: u64 = 8 << 20;
/// A member introduces itself in less.
const REQUEST_BYTES_MAX: u64 = 64 << 10;
/// Exchanges at a time. Whoever comes beyond that asks again.
const EXCHANGES_MAX: usize = 64;
/// Events between the machine and whoever acts on them.
const EVENTS_MAX: usize = 1024;

const LOCKED: &str = "no code panics while it holds this lock";

/// Answers that the machine still owes.
type Owed = Arc<Mutex<BTreeMap<SyncId, oneshot::Sender<Vec<u8>>>>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("members: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(name), Some(address)) = (arguments.next(), arguments.next()) else {
        return Err("usage: members NAME ADDRESS [SEED]".into());
    };
    let (id, address): (NodeId, NodeAddress) = (NodeId::new(&name)?, address.parse()?);
    let seed = arguments.next().map(|seed| seed.parse::<SocketAddr>()).transpose()?;
    let socket = bind(&address).await?;
    let address = socket.local_addr()?;
    let listener = TcpListener::bind(address).await?;

    // A life is later than the last one, and has a number that no other has.
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    let boot = BootId(u64::try_from(since.as_nanos() & u128::from(u64::MAX))? ^ u64::from(std::process::id()));
    let incarnation = Incarnation::first_of(u32::try_from(since.as_secs())?);
    let local = LocalNode { id, boot, incarnation, address, meta: Bytes::new() };
    let swim = Swim::new(Config::lan(), &ClusterId::new("members")?, local, boot.0, Duration::ZERO);
    let gossip = Gossip::new(swim, Instant::now());

    let (tasks, cancel) = (TaskTracker::new(), CancellationToken::new());
    let (told, mut events) = mpsc::channel(EVENTS_MAX);
    tasks.spawn(gossip.clone().drive(socket, InTheClear, cancel.clone(), move |swim, _| {
        while told.capacity() > 0
            && let Some(event) = swim.poll_event()
        {
            // There was room a moment ago, and only this closure sends.
            let _taken = told.try_send(event);
        }
    }));
    println!("{name} listens on {address}");
    let owed = Owed::default();
    let (mut stopped, mut leaves) = (pin!(tokio::signal::ctrl_c()), false);
    if let Some(seed) = seed {
        tasks.spawn(join(gossip.clone(), seed));
    }
    loop {
        tokio::select! {
            Some(event) = events.recv() => match act(&gossip, event, &owed) {
                Act::Exchange(member) => drop(tasks.spawn(exchange_or_tell(gossip.clone(), member))),
                Act::End => break,
                Act::Nothing => {}
            },
            Ok((stream, _)) = listener.accept() => if tasks.len() < EXCHANGES_MAX {
                tasks.spawn(answer_or_tell(gossip.clone(), stream, Arc::clone(&owed)));
            },
            _ = &mut stopped, if !leaves => {
                leaves = true;
                gossip.with(|swim, now| swim.leave(now));
            }
        }
    }
    cancel.cancel();
    tasks.close();
    tasks.wait().await;
    Ok(())
}

/// What an event asks for.
enum Act {
    Nothing,
    Exchange(SocketAddr),
    End,
}

fn act(gossip: &Gossip<Swim>, event: Event, owed: &Owed) -> Act {
    match event {
        Event::Joined(member) => println!("{} joined, at {}", member.id, member.address),
        Event::Left(member) => println!("{} left", member.id),
        Event::Failed(member) => println!("{} failed", member.id),
        Event::Recovered(member) => println!("{} is back", member.id),
        Event::Conflict { id, address, .. } => println!("two processes claim to be {id}: this one and {address}"),
        Event::SyncWanted { node } => {
            let member = gossip.look(|swim, _| swim.member(&node).map(|member| member.address));
            return member.map_or(Act::Nothing, Act::Exchange);
        }
        Event::SyncAnswered { id, reply } => {
            if let Some(answer) = owed.lock().expect(LOCKED).remove(&id) {
                // Whoever asked may be gone.
                let _waiting = answer.send(reply);
            }
        }
        Event::Farewell { .. } => return Act::End,
        _ => {}
    }
    Act::Nothing
}

/// Exchanges views with the seed until there is a member.
async fn join(gossip: Gossip<Swim>, seed: SocketAddr) {
    while gossip.look(|swim, _| swim.members().count()) < 2 {
        exchange_or_tell(gossip.clone(), seed).await;
        tokio::time::sleep(PATIENCE).await;
    }
}

async fn exchange_or_tell(gossip: Gossip<Swim>, member: SocketAddr) {
    match tokio::time::timeout(PATIENCE, exchange(&gossip, member)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => println!("no view from {member}: {error}"),
        Err(_) => println!("no view from {member} in {PATIENCE:?}"),
    }
}

async fn exchange(gossip: &Gossip<Swim>, member: SocketAddr) -> io::Result<()> {
    let request = gossip.look(|swim, _| swim.sync_request());
    let mut stream = TcpStream::connect(member).await?;
    stream.write_all(&request).await?;
    stream.shutdown().await?;
    let mut reply = Vec::new();
    stream.take(VIEW_BYTES_MAX).read_to_end(&mut reply).await?;
    gossip.with(|swim, now| swim.handle_sync_reply(now, &reply)).map_err(io::Error::other)?;
    Ok(())
}

async fn answer_or_tell(gossip: Gossip<Swim>, stream: TcpStream, owed: Owed) {
    match tokio::time::timeout(PATIENCE, answer(&gossip, stream, &owed)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => println!("a request was not answered: {error}"),
        Err(_) => println!("a request was not answered in {PATIENCE:?}"),
    }
}

async fn answer(gossip: &Gossip<Swim>, mut stream: TcpStream, owed: &Owed) -> io::Result<()> {
    let mut request = Vec::new();
    (&mut stream).take(REQUEST_BYTES_MAX).read_to_end(&mut request).await?;
    let answer = gossip.with(|swim, now| swim.handle_sync_request(now, &request)).map_err(io::Error::other)?;
    let reply = match answer {
        SyncAnswer::Ready(reply) => reply,
        SyncAnswer::Pending(id) => {
            // There is one thread: the answer cannot come before somebody waits for it.
            let (send, answered) = oneshot::channel();
            owed.lock().expect(LOCKED).insert(id, send);
            answered.await.map_err(io::Error::other)?
        }
    };
    stream.write_all(&reply).await?;
    stream.shutdown().await
}
