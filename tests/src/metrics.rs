//! What a node and its process tell of themselves in numbers.

use std::net::SocketAddr;

use crate::http::get;

/// The counter `networking_connection_errors_total` of one kind of error, over all peers.
///
/// # Panics
///
/// When the listener does not answer with metrics.
pub fn connection_errors(admin: SocketAddr, error_type: &str) -> u64 {
    let (status, text) = get(admin, "/metrics").expect("the listener answers");
    assert_eq!(status, 200, "{text}");
    let label = format!("error_type=\"{error_type}\"");
    let samples = text.lines().filter(|line| line.starts_with("networking_connection_errors_total{"));
    let counts = samples.filter(|line| line.contains(&label)).map(|line| {
        let count = line.rsplit(' ').next().and_then(|count| count.parse::<f64>().ok());
        count.unwrap_or_else(|| panic!("no sample: {line}")) as u64
    });
    counts.sum()
}

/// How much memory a process holds, by `/proc/PID/status`; `None` where the system has no such file.
pub fn resident_bytes(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
}
