//! What the kernel knows of a connection's path: `TCP_INFO`, asked for over netlink.
//!
//! No crate gives `getsockopt(TCP_INFO)` without unsafe code of one's own, but the kernel tells the same structure to whoever
//! asks its socket diagnosis (sock_diag(7), `SOCK_DIAG_BY_FAMILY` with `INET_DIAG_INFO`) about the two addresses of a
//! connection. The answer is there when the question was sent; nothing waits. It costs two system calls, some 10 µs, and
//! only when somebody looks at the statistics.

use std::io::{self, Read};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rdb_net_transport::PathProbe;
use rdb_net_types::PathStatistics;
use socket2::{Domain, Protocol, Socket, Type};

const AF_NETLINK: i32 = 16;
const NETLINK_SOCK_DIAG: i32 = 4;
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const NLM_F_REQUEST: u16 = 1;
const IPPROTO_TCP: u8 = 6;
const INET_DIAG_INFO: u16 = 2;
/// No answer names a socket by a cookie that the kernel would have to compare.
const NO_COOKIE: [u8; 8] = [0xff; 8];

const HEADER_BYTES: usize = 16;
const REQUEST_BYTES: usize = HEADER_BYTES + 56;
/// An answer's fixed part, header included; attributes follow.
const ANSWER_BYTES: usize = HEADER_BYTES + 72;
const ATTRIBUTE_BYTES: usize = 4;
/// More answers than this are not waited for: one that was asked for before, and was not read, is passed over.
const ANSWERS_MAX: usize = 4;

/// Asks the kernel about connections, one question at a time. Opened when something is first asked.
#[derive(Debug, Default)]
pub(crate) struct Diagnosis {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    New,
    Open {
        socket: Socket,
        sequence: u32,
    },
    /// The system has no such thing, or does not let us.
    Unavailable,
}

impl Diagnosis {
    fn ask(&self, local: SocketAddr, remote: SocketAddr) -> Option<PathStatistics> {
        let mut state = self.state.lock().expect("no code panics while it holds this lock");
        if matches!(*state, State::New) {
            *state = match open() {
                Ok(socket) => State::Open { socket, sequence: 0 },
                Err(error) => {
                    tracing::info!(%error, "the kernel tells no path statistics");
                    State::Unavailable
                }
            };
        }
        let State::Open { socket, sequence } = &mut *state else { return None };
        *sequence = sequence.wrapping_add(1);
        socket.send(&request(*sequence, local, remote)).ok()?;
        let mut answer = [0; 4096];
        for _ in 0..ANSWERS_MAX {
            let length = socket.read(&mut answer).ok()?;
            if u32_at(&answer[..length], 8)? == *sequence {
                return path_of(&answer[..length]);
            }
        }
        None
    }
}

fn open() -> io::Result<Socket> {
    let socket = Socket::new(Domain::from(AF_NETLINK), Type::DGRAM, Some(Protocol::from(NETLINK_SOCK_DIAG)))?;
    // The kernel answers before the question's system call returns: what is not there then will not come.
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// A `nlmsghdr` and an `inet_diag_req_v2` (linux/netlink.h, linux/inet_diag.h).
fn request(sequence: u32, local: SocketAddr, remote: SocketAddr) -> Vec<u8> {
    let family = if local.is_ipv4() { 2 } else { 10 };
    let mut bytes = Vec::with_capacity(REQUEST_BYTES);
    bytes.extend((REQUEST_BYTES as u32).to_ne_bytes());
    bytes.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    bytes.extend(NLM_F_REQUEST.to_ne_bytes());
    bytes.extend(sequence.to_ne_bytes());
    bytes.extend([0; 4]);
    bytes.extend([family, IPPROTO_TCP, 1 << (INET_DIAG_INFO - 1), 0]);
    // Sockets in whichever state.
    bytes.extend(u32::MAX.to_ne_bytes());
    bytes.extend(local.port().to_be_bytes());
    bytes.extend(remote.port().to_be_bytes());
    bytes.extend(address_of(local.ip()));
    bytes.extend(address_of(remote.ip()));
    // On whichever interface.
    bytes.extend([0; 4]);
    bytes.extend(NO_COOKIE);
    bytes
}

fn address_of(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => {
            let mut bytes = [0; 16];
            bytes[..4].copy_from_slice(&address.octets());
            bytes
        }
        IpAddr::V6(address) => address.octets(),
    }
}

/// The path in an answer: an `inet_diag_msg` and the attribute that holds a `tcp_info`.
fn path_of(answer: &[u8]) -> Option<PathStatistics> {
    if u16_at(answer, 4)? != SOCK_DIAG_BY_FAMILY {
        return None;
    }
    let mut attributes = answer.get(ANSWER_BYTES..)?;
    loop {
        let (length, kind) = (usize::from(u16_at(attributes, 0)?), u16_at(attributes, 2)?);
        if kind == INET_DIAG_INFO {
            return path_of_info(attributes.get(ATTRIBUTE_BYTES..length)?);
        }
        // Each begins at a multiple of four.
        attributes = attributes.get(length.max(ATTRIBUTE_BYTES).next_multiple_of(4)..)?;
    }
}

/// A `tcp_info` (linux/tcp.h). Kernels only ever append to it; the delivery rate came with Linux 4.9.
fn path_of_info(info: &[u8]) -> Option<PathStatistics> {
    let microseconds = |offset| Some(Duration::from_micros(u32_at(info, offset)?.into()));
    let segment_bytes = u64::from(u32_at(info, 16)?);
    Some(PathStatistics {
        smoothed_rtt: microseconds(68)?,
        rtt_variance: microseconds(72),
        congestion_window_bytes: u64::from(u32_at(info, 80)?) * segment_bytes,
        retransmits: u32_at(info, 100)?.into(),
        dropped: None,
        unacknowledged: u32_at(info, 24).map(u64::from),
        delivery_rate_bytes: info
            .get(160..168)?
            .first_chunk()
            .copied()
            .map(u64::from_ne_bytes)
            .filter(|rate| *rate > 0),
        packet_bytes_max: segment_bytes,
    })
}

fn u16_at(bytes: &[u8], offset: usize) -> Option<u16> {
    bytes.get(offset..)?.first_chunk().copied().map(u16::from_ne_bytes)
}

fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    bytes.get(offset..)?.first_chunk().copied().map(u32::from_ne_bytes)
}

/// The path between two addresses.
#[derive(Debug)]
pub(crate) struct TcpPath {
    pub(crate) diagnosis: Arc<Diagnosis>,
    pub(crate) local: SocketAddr,
    pub(crate) remote: SocketAddr,
}

impl PathProbe for TcpPath {
    fn statistics(&self) -> Option<PathStatistics> {
        self.diagnosis.ask(self.local, self.remote)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(attributes: &[(u16, Vec<u8>)]) -> Vec<u8> {
        let mut bytes = vec![0; ANSWER_BYTES];
        bytes[4..6].copy_from_slice(&SOCK_DIAG_BY_FAMILY.to_ne_bytes());
        for (kind, value) in attributes {
            bytes.extend(((value.len() + ATTRIBUTE_BYTES) as u16).to_ne_bytes());
            bytes.extend(kind.to_ne_bytes());
            bytes.extend(value);
            bytes.resize(bytes.len().next_multiple_of(4), 0);
        }
        bytes
    }

    fn info(bytes: usize) -> Vec<u8> {
        let mut info = vec![0; bytes];
        for (offset, value) in [(16, 1448u32), (24, 7), (68, 250), (72, 30), (80, 10), (100, 3)] {
            info[offset..offset + 4].copy_from_slice(&value.to_ne_bytes());
        }
        if let Some(rate) = info.get_mut(160..168) {
            rate.copy_from_slice(&5000u64.to_ne_bytes());
        }
        info
    }

    #[test]
    fn the_path_is_found_behind_other_attributes() {
        let expected = PathStatistics {
            smoothed_rtt: Duration::from_micros(250),
            rtt_variance: Some(Duration::from_micros(30)),
            congestion_window_bytes: 14_480,
            retransmits: 3,
            dropped: None,
            unacknowledged: Some(7),
            delivery_rate_bytes: Some(5000),
            packet_bytes_max: 1448,
        };
        for length in [168, 232, 280] {
            let attributes = [(8, vec![1]), (15, vec![1, 2, 3, 4]), (INET_DIAG_INFO, info(length))];
            assert_eq!(path_of(&answer(&attributes)), Some(expected));
        }
    }

    #[test]
    fn an_answer_that_is_cut_off_tells_nothing() {
        let whole = answer(&[(8, vec![1]), (INET_DIAG_INFO, info(168))]);
        for length in 0..whole.len() {
            assert_eq!(path_of(&whole[..length]), None, "{length} bytes");
        }
        assert_eq!(path_of(&answer(&[(8, vec![1]), (INET_DIAG_INFO, info(104))])), None, "an info that is too short");
        let mut error = whole;
        error[4..6].copy_from_slice(&2u16.to_ne_bytes());
        assert_eq!(path_of(&error), None, "there is no such connection");
    }

    #[test]
    fn attributes_without_a_length_end() {
        let mut bytes = answer(&[]);
        bytes.extend([0; 64]);
        assert_eq!(path_of(&bytes), None);
    }
}
