//! Questions to the admin listener, as any HTTP client would ask them.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde::de::DeserializeOwned;

const TIMEOUT: Duration = Duration::from_secs(10);

/// The status and the body of a path.
///
/// # Errors
///
/// What the socket tells, or that the answer is none of HTTP.
pub fn get(admin: SocketAddr, path: &str) -> io::Result<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&admin, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    write!(stream, "GET {path} HTTP/1.1\r\nhost: {admin}\r\nconnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let malformed = || io::Error::other(format!("no HTTP: {answer:?}"));
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(malformed)?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or_else(malformed)?;
    Ok((status, body.to_owned()))
}

/// A view, read back from its JSON.
///
/// # Panics
///
/// When the listener does not answer with it.
pub fn get_json<T: DeserializeOwned>(admin: SocketAddr, path: &str) -> T {
    let (status, body) = get(admin, path).unwrap_or_else(|error| panic!("{admin}{path}: {error}"));
    serde_json::from_str(&body).unwrap_or_else(|error| panic!("{admin}{path}: {status}: {error}: {body}"))
}
