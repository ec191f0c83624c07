//! Whether an urgent message is held up by large ones: pings on the System lane of a connection that carries as many 1 MiB
//! messages as it takes, against pings on the same connection while it carries nothing else.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::measure::{Caller, histogram, payload, quantiles};
use crate::peers::PeerError;
use crate::peers::ours::{OursCaller, backend};
use crate::probe::Reading;
use crate::workload::Workload;

const PINGS: u32 = 1500;
const INTERVAL: Duration = Duration::from_millis(1);
/// For how long the large messages run before the first ping counts.
const FILLING: Duration = Duration::from_millis(300);

pub(crate) async fn measure(ports: &[u16]) -> Result<Vec<Reading>, PeerError> {
    let port = ports.first().copied().ok_or(PeerError::Protocol("no server"))?;
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let caller = OursCaller::connect(rdb_net_session::Config::default(), backend(None), address, Workload::W5);
    caller.ping().await?;
    let idle = quantiles(&pings(&caller).await?);

    let sent = Arc::new(AtomicU64::new(0));
    let (sender, count) = (caller.clone(), Arc::clone(&sent));
    let filling = tokio::spawn(async move {
        loop {
            let sending = sender.send(payload(Workload::W5)).await;
            if sending.is_err() {
                return;
            }
            count.fetch_add(1, Ordering::Relaxed);
        }
    });
    tokio::time::sleep(FILLING).await;
    let (started, sent_before) = (Instant::now(), sent.load(Ordering::Relaxed));
    let busy = quantiles(&pings(&caller).await?);
    let mebibytes = (sent.load(Ordering::Relaxed) - sent_before) as f64;
    let rate = mebibytes / started.elapsed().as_secs_f64();
    if filling.is_finished() {
        return Err(PeerError::ConnectionLost("the large messages ended"));
    }
    filling.abort();
    Ok(vec![
        Reading::new("ping-idle-p99", idle.p99_us),
        Reading::new("ping-under-bulk-p50", busy.p50_us),
        Reading::new("ping-under-bulk-p99", busy.p99_us),
        Reading::new("ping-under-bulk-rate", rate),
        Reading::new("ping-under-bulk", busy.p99_us / idle.p99_us),
    ])
}

/// One ping per interval, whether the last one was answered or not. A thread of its own says when, so that neither a timer's
/// millisecond nor a busy runtime moves the moment from which a ping counts.
async fn pings(caller: &OursCaller) -> Result<Histogram<u32>, PeerError> {
    let (due, mut is_due) = mpsc::channel(PINGS as usize);
    let start = Instant::now();
    std::thread::Builder::new().name("pings".into()).spawn(move || {
        for number in 0..PINGS {
            std::thread::sleep((start + INTERVAL * number).saturating_duration_since(Instant::now()));
            // Whoever asked may have failed meanwhile.
            let _told = due.try_send(Instant::now());
        }
    })?;
    let mut open = JoinSet::new();
    while let Some(began) = is_due.recv().await {
        let caller = caller.clone();
        open.spawn(async move { caller.ping().await.map(|()| began.elapsed()) });
    }
    let mut latencies = histogram(3);
    while let Some(ended) = open.join_next().await {
        let latency = ended.map_err(|_| PeerError::ConnectionLost("a caller panicked"))??;
        latencies.saturating_record(u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX));
    }
    Ok(latencies)
}
