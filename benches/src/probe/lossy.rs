//! Whether requests are held up by what gets lost of others: requests on the Interactive lane of a connection whose Bulk lane
//! carries as many 1 MiB messages as it takes. Over TCP both lanes are one stream of bytes, over QUIC each has its own.
//!
//! Packets get lost where it is run: see [`race::loss`](crate::race::loss).

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use rdb_net_types::Lane;

use crate::certificates;
use crate::measure::quantiles;
use crate::peers::ours::{OursCaller, backend, quic_backend};
use crate::peers::{Peer, PeerError};
use crate::probe::Reading;
use crate::probe::urgent::{Filling, Schedule, pings};
use crate::workload::Workload;

const REQUESTS: Schedule = Schedule { count: 3000, interval: Duration::from_millis(1) };

pub(crate) async fn measure(peer: Peer, ports: &[u16], certificates: Option<&Path>) -> Result<Vec<Reading>, PeerError> {
    let port = ports.first().copied().ok_or(PeerError::Protocol("no server"))?;
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let tls = certificates::load(certificates, "client")?;
    let backend = if peer.is_quic() { quic_backend(tls) } else { backend(Some(tls)) };
    let caller = OursCaller::connect(rdb_net_session::Config::default(), backend, address, Workload::W5);
    caller.ping(Lane::Interactive).await?;
    let filling = Filling::begin(&caller).await;
    let busy = quantiles(&pings(&caller, Lane::Interactive, REQUESTS).await?);
    let rate = filling.end()?;
    let reading = |figure: &str, value| Reading::new(&format!("{figure}-{}", peer.name()), value);
    Ok(vec![
        reading("interactive-p50", busy.p50_us),
        reading("interactive-p99", busy.p99_us),
        reading("interactive-p99.9", busy.p999_us),
        reading("bulk-rate", rate),
    ])
}
