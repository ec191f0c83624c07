//! Whether an urgent message is held up by large ones: pings on the System lane of a connection that carries as many 1 MiB
//! messages as it takes, against pings on the same connection while it carries nothing else.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rdb_net_types::Lane;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};

use crate::measure::{Caller, histogram, payload, quantiles};
use crate::peers::PeerError;
use crate::peers::ours::{OursCaller, backend};
use crate::probe::Reading;
use crate::workload::Workload;

const PINGS: Schedule = Schedule { count: 1500, interval: Duration::from_millis(1) };
/// For how long the large messages run before the first ping counts.
const FILLING: Duration = Duration::from_millis(300);

pub(crate) async fn measure(ports: &[u16]) -> Result<Vec<Reading>, PeerError> {
    let port = ports.first().copied().ok_or(PeerError::Protocol("no server"))?;
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let caller = OursCaller::connect(rdb_net_session::Config::default(), backend(None), address, Workload::W5);
    caller.ping(Lane::System).await?;
    let idle = quantiles(&pings(&caller, Lane::System, PINGS).await?);

    let filling = Filling::begin(&caller).await;
    let busy = quantiles(&pings(&caller, Lane::System, PINGS).await?);
    let rate = filling.end()?;
    Ok(vec![
        Reading::new("ping-idle-p99", idle.p99_us),
        Reading::new("ping-under-bulk-p50", busy.p50_us),
        Reading::new("ping-under-bulk-p99", busy.p99_us),
        Reading::new("ping-under-bulk-rate", rate),
        Reading::new("ping-under-bulk", busy.p99_us / idle.p99_us),
    ])
}

/// When pings are due.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Schedule {
    pub(crate) count: u32,
    pub(crate) interval: Duration,
}

/// 1 MiB messages, as many as the connection takes.
pub(crate) struct Filling {
    sent: Arc<AtomicU64>,
    sent_before: u64,
    started: Instant,
    sender: JoinHandle<()>,
}

impl Filling {
    /// Ready when the connection is full of them.
    pub(crate) async fn begin(caller: &OursCaller) -> Self {
        let sent = Arc::new(AtomicU64::new(0));
        let (caller, count) = (caller.clone(), Arc::clone(&sent));
        let sender = tokio::spawn(async move {
            while caller.send(payload(Workload::W5)).await.is_ok() {
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
        tokio::time::sleep(FILLING).await;
        Self { sent_before: sent.load(Ordering::Relaxed), sent, started: Instant::now(), sender }
    }

    /// Stops, and returns how many were taken in a second.
    pub(crate) fn end(self) -> Result<f64, PeerError> {
        let messages = (self.sent.load(Ordering::Relaxed) - self.sent_before) as f64;
        let rate = messages / self.started.elapsed().as_secs_f64();
        if self.sender.is_finished() {
            return Err(PeerError::ConnectionLost("the large messages ended"));
        }
        self.sender.abort();
        Ok(rate)
    }
}

/// One ping per interval, whether the last one was answered or not. A thread of its own says when, so that neither a timer's
/// millisecond nor a busy runtime moves the moment from which a ping counts.
pub(crate) async fn pings(caller: &OursCaller, lane: Lane, schedule: Schedule) -> Result<Histogram<u32>, PeerError> {
    let (due, mut is_due) = mpsc::channel(schedule.count as usize);
    let start = Instant::now();
    std::thread::Builder::new().name("pings".into()).spawn(move || {
        for number in 0..schedule.count {
            std::thread::sleep((start + schedule.interval * number).saturating_duration_since(Instant::now()));
            // Whoever asked may have failed meanwhile.
            let _told = due.try_send(Instant::now());
        }
    })?;
    let mut open = JoinSet::new();
    while let Some(began) = is_due.recv().await {
        let caller = caller.clone();
        open.spawn(async move { caller.ping(lane).await.map(|()| began.elapsed()) });
    }
    let mut latencies = histogram(3);
    while let Some(ended) = open.join_next().await {
        let latency = ended.map_err(|_| PeerError::ConnectionLost("a caller panicked"))??;
        latencies.saturating_record(u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX));
    }
    Ok(latencies)
}
