//! The driver that independent callers share: a peer gives a [`Caller`], the driver makes the traffic.
//!
//! A peer whose one task owns the whole window cannot be expressed with callers and drives itself.

use std::future::Future;
use std::time::Instant;

use bytes::Bytes;
use tokio::task::JoinSet;

use crate::measure::{Outcome, Recorder, Run, Window, payload};
use crate::peers::PeerError;
use crate::workload::Pattern;

/// A client of one connection that many tasks may clone and use.
pub trait Caller: Clone + Send + Sync + 'static {
    /// Sends a request and waits for its reply, which must be the payload.
    fn call(&self, payload: Bytes) -> impl Future<Output = Result<Bytes, PeerError>> + Send;

    /// Sends a message that nobody answers; waits while there is no room to queue it.
    fn send(&self, payload: Bytes) -> impl Future<Output = Result<(), PeerError>> + Send;

    /// Waits until every message sent before has been received, and returns how many the server has counted on this
    /// connection.
    fn barrier(&self) -> impl Future<Output = Result<u64, PeerError>> + Send;
}

/// Makes the traffic of `run` and returns what was achieved.
///
/// # Errors
///
/// The first error of any caller; [`PeerError::Protocol`] when a reply is not as long as its request.
pub async fn drive<C: Caller>(caller: C, run: &Run) -> Result<Outcome, PeerError> {
    match run.workload.pattern() {
        Pattern::Echo => echo(caller, run).await,
        Pattern::OneWay => one_way(caller, run).await,
    }
}

async fn echo<C: Caller>(caller: C, run: &Run) -> Result<Outcome, PeerError> {
    let callers = run.workload.callers();
    let payload = payload(run.workload);
    let (window, closing) = run.open_window()?;
    let mut tasks = JoinSet::new();
    for _ in 0..callers {
        tasks.spawn(call_until_end(caller.clone(), payload.clone(), window, Recorder::new(window, callers)));
    }
    let mut total = Recorder::new(window, callers);
    while let Some(finished) = tasks.join_next().await {
        total.merge(&finished.map_err(|_| PeerError::ConnectionLost("a caller panicked"))??);
    }
    Ok(window.close(closing, &total))
}

async fn call_until_end<C: Caller>(
    caller: C,
    payload: Bytes,
    window: Window,
    mut recorder: Recorder,
) -> Result<Recorder, PeerError> {
    let mut started = Instant::now();
    while started < window.end {
        let reply = caller.call(payload.clone()).await?;
        if reply.len() != payload.len() {
            return Err(PeerError::Protocol("the reply is not as long as the request"));
        }
        let ended = Instant::now();
        recorder.record(started, ended);
        started = ended;
    }
    Ok(recorder)
}

/// Sends as fast as the peer takes it. The window opens and closes with a barrier, so what counts was delivered and
/// what filled the buffers before does not.
async fn one_way<C: Caller>(caller: C, run: &Run) -> Result<Outcome, PeerError> {
    let payload = payload(run.workload);
    send_until(&caller, &payload, Instant::now() + run.warm_up).await?;
    let delivered_before = caller.barrier().await?;
    let started = Instant::now();
    run.marks.started();
    send_until(&caller, &payload, started + run.length).await?;
    let delivered = caller.barrier().await?;
    let seconds = started.elapsed().as_secs_f64();
    run.marks.ended();
    Ok(Outcome { operations: delivered - delivered_before, seconds, latency: None })
}

async fn send_until<C: Caller>(caller: &C, payload: &Bytes, end: Instant) -> Result<(), PeerError> {
    let between_clock_readings = messages_between_clock_readings(payload.len());
    while Instant::now() < end {
        for _ in 0..between_clock_readings {
            caller.send(payload.clone()).await?;
        }
    }
    Ok(())
}

/// How many one-way messages to send before the clock is read again: some 64 KiB.
pub(crate) fn messages_between_clock_readings(payload_bytes: usize) -> usize {
    ((64 << 10) / payload_bytes.max(1)).max(1)
}
