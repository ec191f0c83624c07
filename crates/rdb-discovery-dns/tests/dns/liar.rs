//! A name server that lies: it reads a question and answers whatever a test wants.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::address;

/// What it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lie {
    /// One address, with a time to live of a second.
    Truth,
    /// Only this response code.
    Code(u8),
    /// Cut by UDP, and one address by TCP.
    Cut,
    /// Cut by UDP, and nothing by TCP.
    CutAlways,
    /// The truth under another number than the question's.
    OtherNumber,
    /// An answer to another question.
    OtherQuestion,
    /// Bytes that are no message.
    Noise,
    /// Nothing.
    Silence,
}

pub(crate) struct Liar {
    pub(crate) address: SocketAddr,
    lie: Arc<Mutex<Lie>>,
    ended: Arc<AtomicBool>,
}

impl Liar {
    pub(crate) fn start() -> Self {
        let address = address();
        let (lie, ended) = (Arc::new(Mutex::new(Lie::Truth)), Arc::new(AtomicBool::new(false)));
        let udp = UdpSocket::bind(address).expect("it is free");
        let tcp = TcpListener::bind(address).expect("it is free");
        let (said, over) = (Arc::clone(&lie), Arc::clone(&ended));
        std::thread::spawn(move || {
            let mut question = [0; 1_024];
            while let Ok((length, from)) = udp.recv_from(&mut question)
                && !over.load(Ordering::SeqCst)
            {
                if let Some(answer) = answer(*said.lock().expect("no panic"), &question[..length], false) {
                    let _ = udp.send_to(&answer, from);
                }
            }
        });
        let (said, over) = (Arc::clone(&lie), Arc::clone(&ended));
        std::thread::spawn(move || {
            while let Ok((stream, _)) = tcp.accept()
                && !over.load(Ordering::SeqCst)
            {
                converse(stream, &said);
            }
        });
        Self { address, lie, ended }
    }

    pub(crate) fn says(&self, lie: Lie) {
        *self.lie.lock().expect("no panic") = lie;
    }
}

impl Drop for Liar {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        // Wakes the threads that wait for questions.
        let _ = TcpStream::connect(self.address);
        let _ = UdpSocket::bind((self.address.ip(), 0)).and_then(|socket| socket.send_to(&[], self.address));
    }
}

/// Answers what is asked by one connection.
fn converse(mut stream: TcpStream, said: &Mutex<Lie>) {
    let _ = stream.set_read_timeout(Some(Duration::from_millis(500)));
    let mut length = [0; 2];
    while stream.read_exact(&mut length).is_ok() {
        let mut question = vec![0; usize::from(u16::from_be_bytes(length))];
        if stream.read_exact(&mut question).is_err() {
            return;
        }
        let Some(answer) = answer(*said.lock().expect("no panic"), &question, true) else { return };
        let length = u16::try_from(answer.len()).expect("short").to_be_bytes();
        if stream.write_all(&[length.as_slice(), &answer].concat()).is_err() {
            return;
        }
    }
}

/// A message of RFC 1035 by hand: header, the question as it came, and one address or none.
fn answer(lie: Lie, question: &[u8], by_tcp: bool) -> Option<Vec<u8>> {
    let name = question.get(12..)?.iter().position(|byte| *byte == 0)?;
    let asked = question.get(12..12 + name + 5)?;
    let kind = u16::from_be_bytes([asked[name + 1], asked[name + 2]]);
    let cut = matches!(lie, Lie::Cut | Lie::CutAlways) && !by_tcp;
    let (code, has_address) = match lie {
        Lie::Silence => return None,
        Lie::CutAlways if by_tcp => return None,
        Lie::Noise => return Some(vec![0xa5; 40]),
        Lie::Code(code) => (code, false),
        _ => (0, kind == 1 && !cut),
    };
    let mut message = question.get(..2)?.to_vec();
    if lie == Lie::OtherNumber {
        message[0] ^= 0xff;
    }
    // A response, recursion wanted and to be had.
    message.extend([0x81 | if cut { 0x02 } else { 0 }, 0x80 | code]);
    message.extend([0, 1, 0, u8::from(has_address), 0, 0, 0, 0]);
    message.extend(asked);
    if lie == Lie::OtherQuestion {
        message[13] ^= 0x01;
    }
    if has_address {
        message.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4, 127, 0, 9, 1]);
    }
    Some(message)
}
