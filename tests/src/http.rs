//! Questions to the admin listener and to other servers, as any HTTP client would ask them.

use std::io::{self, BufRead, BufReader, Read, Write};
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
    ask(admin, "GET", path, "")
}

/// The status and the body of an answer to a request with this body. A server that keeps the connection is not waited for.
///
/// # Errors
///
/// What the socket tells, or that the answer is none of HTTP.
pub fn ask(server: SocketAddr, method: &str, path: &str, body: &str) -> io::Result<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&server, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    let length = body.len();
    let kind = if method == "POST" { "\r\ncontent-type: application/json" } else { "" };
    let head =
        format!("{method} {path} HTTP/1.1\r\nhost: {server}\r\nconnection: close\r\ncontent-length: {length}{kind}");
    stream.write_all(format!("{head}\r\n\r\n{body}").as_bytes())?;
    let (mut answer, mut head) = (BufReader::new(stream), String::new());
    while answer.read_line(&mut head)? > 2 {}
    let malformed = || io::Error::other(format!("no HTTP: {head:?}"));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or_else(malformed)?;
    let small = head.to_ascii_lowercase();
    let length = small.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
    let mut body = String::new();
    answer.take(length.unwrap_or(u64::MAX)).read_to_string(&mut body)?;
    Ok((status, body))
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
