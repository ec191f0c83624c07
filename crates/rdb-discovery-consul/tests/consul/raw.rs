//! Requests by hand, so that what the source's own client misunderstands is not confirmed by itself.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use rdb_discovery::NodeDocument;
use rdb_net_types::NodeInfo;
use serde_json::{Value, json};

/// Asks the agent at this address; the status and the body.
pub(crate) fn ask(address: SocketAddr, method: &str, path: &str, body: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).expect("the agent is there");
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a time-out");
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(format!("{head}{body}").as_bytes()).expect("sent");
    // An agent that does not close by itself is not waited for.
    let mut answer = Vec::new();
    let mut buffer = [0; 16_384];
    loop {
        let (head, length) = match parse(&answer) {
            Some(found) => found,
            None => (usize::MAX, 0),
        };
        if head != usize::MAX && answer.len() >= head + length {
            break;
        }
        match stream.read(&mut buffer).expect("an answer") {
            0 => break,
            count => answer.extend_from_slice(&buffer[..count]),
        }
    }
    let text = String::from_utf8(answer).expect("text");
    let (head, body) = text.split_once("\r\n\r\n").expect("a head");
    let code = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
    (code, body.to_owned())
}

/// Where the head ends, and how long the body is.
fn parse(answer: &[u8]) -> Option<(usize, usize)> {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&answer[..end]).to_ascii_lowercase();
    // A real agent may send chunks; then only the end of the connection ends it.
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
    Some((end + 4, length.unwrap_or(usize::MAX / 2)))
}

fn done(address: SocketAddr, method: &str, path: &str, body: &Value) {
    let (code, text) = ask(address, method, path, &body.to_string());
    assert_eq!(code, 200, "{method} {path}: {text}");
}

/// Registers a node as another process would, for ten minutes.
pub(crate) fn register(address: SocketAddr, cluster: &str, node: &NodeInfo) {
    let document = NodeDocument::new(node).to_json();
    let chunks = document.as_bytes().chunks(512).enumerate();
    let chunk = |(place, bytes): (usize, &[u8])| (format!("rdb_json_{place}"), json!(String::from_utf8_lossy(bytes)));
    let meta: serde_json::Map<_, _> = chunks.map(chunk).collect();
    let body = json!({ "ID": format!("{cluster}-{}", node.id), "Name": format!("rdb-{cluster}"), "Meta": meta,
        "Address": node.address.host(), "Port": node.address.port(), "Check": { "TTL": "600s", "Status": "passing" } });
    done(address, "PUT", "/v1/agent/service/register", &body);
}

/// What a node's check is when nobody has told of it in time.
pub(crate) fn expire(address: SocketAddr, cluster: &str, node: &NodeInfo) {
    let body = json!({ "Status": "critical", "Output": "TTL expired" });
    done(address, "PUT", &format!("/v1/agent/check/update/service:{cluster}-{}", node.id), &body);
}

/// Takes an instance out.
pub(crate) fn deregister(address: SocketAddr, id: &str) {
    let _ = ask(address, "PUT", &format!("/v1/agent/service/deregister/{id}"), "");
}

/// The instances of a service with their checks.
pub(crate) fn health(address: SocketAddr, cluster: &str) -> Vec<Value> {
    let (code, text) = ask(address, "GET", &format!("/v1/health/service/rdb-{cluster}"), "");
    assert_eq!(code, 200, "{text}");
    serde_json::from_str(&text).expect("a list")
}
