//! HTTP/1.1 as far as an agent speaks it: requests in, answers out.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};

/// What is read of a request at most.
const HEAD_LINES_MAX: usize = 100;
const BODY_BYTES_MAX: u64 = 1 << 20;

/// A stream of bytes to a client, whatever is between.
pub trait Stream: Read + Write + Send {}

impl<T: Read + Write + Send> Stream for T {}

/// A request.
#[derive(Debug, Default)]
pub(super) struct Request {
    pub(super) method: String,
    /// Decoded.
    pub(super) path: String,
    pub(super) query: BTreeMap<String, String>,
    pub(super) token: Option<String>,
    pub(super) body: Vec<u8>,
}

/// An answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) code: u16,
    pub(super) body: String,
    pub(super) headers: Vec<(&'static str, String)>,
}

impl Answer {
    pub(super) fn text(code: u16, body: impl Into<String>) -> Self {
        Self { code, body: body.into(), headers: Vec::new() }
    }

    pub(super) fn json(body: &serde_json::Value) -> Self {
        Self { headers: vec![("Content-Type", "application/json".to_owned())], ..Self::text(200, body.to_string()) }
    }

    /// The head and the body as bytes.
    pub(super) fn to_bytes(&self) -> (Vec<u8>, Vec<u8>) {
        let mut head = format!("HTTP/1.1 {} x\r\nContent-Length: {}\r\n", self.code, self.body.len());
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        (head.into_bytes(), self.body.clone().into_bytes())
    }
}

/// Reads the next request; none where the client has gone or speaks something else.
pub(super) fn read(stream: &mut BufReader<Box<dyn Stream>>) -> Option<Request> {
    let mut line = String::new();
    stream.read_line(&mut line).ok().filter(|read| *read > 0)?;
    let mut words = line.split_whitespace();
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let mut request = Request { method, path: decode(path), query: pairs(query), ..Request::default() };
    let mut length = 0_u64;
    for _ in 0..HEAD_LINES_MAX {
        let mut line = String::new();
        stream.read_line(&mut line).ok().filter(|read| *read > 0)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.trim().parse().ok()?,
            "x-consul-token" => request.token = Some(value.trim().to_owned()),
            "authorization" => request.token = value.trim().strip_prefix("Bearer ").map(str::to_owned),
            _ => {}
        }
    }
    stream.by_ref().take(length.min(BODY_BYTES_MAX)).read_to_end(&mut request.body).ok()?;
    (request.body.len() as u64 == length).then_some(request)
}

fn pairs(query: &str) -> BTreeMap<String, String> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (decode(name), decode(value)))
        .collect()
}

fn decode(text: &str) -> String {
    let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
    while let Some((&first, after)) = rest.split_first() {
        let hex = (first == b'%').then(|| after.get(..2)).flatten().and_then(|hex| std::str::from_utf8(hex).ok());
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = after.get(2..).unwrap_or_default();
            }
            None => {
                bytes.push(if first == b'+' { b' ' } else { first });
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_decoded() {
        let read = pairs("index=7&filter=Service.ID+%3D%3D+%22a%22&passing&wait=5s");
        assert_eq!(read["filter"], "Service.ID == \"a\"");
        assert_eq!((read["index"].as_str(), read["passing"].as_str()), ("7", ""));
        assert_eq!(decode("a%zz%"), "a%zz%");
    }
}
