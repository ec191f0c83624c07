//! Asks the admin listener of a node: one request over one connection.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use rdb_net_admin::views::ProblemView;
use rdb_net_types::NodeAddress;
use serde::de::DeserializeOwned;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long a question may take, from the connect to the last byte.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(3);
/// A larger answer is none of ours: ten thousand members take less than 10 MiB.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// A question that had no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    /// Nobody listens there.
    #[error("cannot reach the admin listener at {address}: {cause}; is the node running? (--admin, RUSTYDB_ADMIN)")]
    Unreachable { address: NodeAddress, cause: io::Error },
    /// Somebody listens, and did not answer in time.
    #[error("the admin listener at {address} did not answer within {} s", TIMEOUT.as_secs())]
    Silent { address: NodeAddress },
    /// What answers there is no admin listener, or one of another version.
    #[error("what listens at {address} is no admin listener that this version understands: {problem}")]
    NotUnderstood { address: NodeAddress, problem: String },
    /// The node answered that it does not do this.
    #[error("the node at {address} refused: {detail}")]
    Refused { address: NodeAddress, detail: String },
}

/// Gets a view.
pub(crate) async fn get<T: DeserializeOwned>(address: &NodeAddress, path: &str) -> Result<T, ClientError> {
    let silent = || ClientError::Silent { address: address.clone() };
    let (status, body) = timeout(TIMEOUT, exchange(address, path)).await.map_err(|_| silent())??;
    let not_understood = |problem: String| ClientError::NotUnderstood { address: address.clone(), problem };
    if status.is_success() {
        return serde_json::from_slice(&body).map_err(|error| not_understood(error.to_string()));
    }
    match serde_json::from_slice::<ProblemView>(&body) {
        Ok(problem) => Err(ClientError::Refused { address: address.clone(), detail: problem.detail }),
        Err(_) => Err(not_understood(format!("it answered {status}"))),
    }
}

async fn exchange(address: &NodeAddress, path: &str) -> Result<(StatusCode, Bytes), ClientError> {
    let not_understood = |problem: String| ClientError::NotUnderstood { address: address.clone(), problem };
    let request = Request::get(path)
        .header(header::HOST, address.to_string())
        .header(header::ACCEPT, "application/json")
        .header(header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .expect("a path of ours and an address are legal in a request");
    let stream = TcpStream::connect((address.host(), address.port()));
    let stream = stream.await.map_err(|cause| ClientError::Unreachable { address: address.clone(), cause })?;
    let shaken = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = shaken.map_err(|error| not_understood(error.to_string()))?;
    let ask = async move {
        let response = sender.send_request(request).await.map_err(|error| error.to_string())?;
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
        Ok((status, body.map_err(|error| error.to_string())?.to_bytes()))
    };
    // The connection ends with the answer; what went wrong with it is in the answer too.
    let (answer, _) = tokio::join!(ask, connection);
    answer.map_err(not_understood)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    async fn listener() -> (TcpListener, NodeAddress) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound").into();
        (listener, address)
    }

    /// What a question gets that is answered like this.
    async fn answered(answer: &str) -> Result<Value, ClientError> {
        let (listener, address) = listener().await;
        let serve = async {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                request.push(stream.read_u8().await.expect("a request"));
            }
            stream.write_all(answer.as_bytes()).await.expect("takes the answer");
            String::from_utf8(request).expect("text")
        };
        let (got, request) = tokio::join!(get(&address, "/path"), serve);
        assert!(request.starts_with("GET /path HTTP/1.1\r\n"), "{request}");
        assert!(request.to_ascii_lowercase().contains(&format!("\r\nhost: {address}\r\n")), "{request}");
        got
    }

    #[tokio::test]
    async fn an_answer_is_read_with_a_length_or_in_chunks_or_to_the_end() {
        for answer in [
            "HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\n{\"a\":1}",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\n{\"a\r\n4\r\n\":1}\r\n0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{\"a\":1}",
        ] {
            assert_eq!(answered(answer).await.expect(answer), serde_json::json!({"a": 1}));
        }
    }

    #[tokio::test]
    async fn a_problem_document_is_a_refusal_with_its_detail() {
        let problem = r#"{"status":404,"title":"Not Found","detail":"no member has the node id n9"}"#;
        let length = problem.len();
        let error = answered(&format!("HTTP/1.1 404 Not Found\r\ncontent-length: {length}\r\n\r\n{problem}")).await;
        let refused =
            matches!(&error, Err(ClientError::Refused { detail, .. }) if detail == "no member has the node id n9");
        assert!(refused, "{error:?}");
    }

    #[tokio::test]
    async fn what_is_no_admin_listener_is_told_so() {
        for answer in [
            "RDBN\0\x01\0\x01\0\0\0\0\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n<html>",
            "HTTP/1.1 200 OK\r\ncontent-length: 60\r\n\r\n{\"a\":1}",
            "HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n",
            "",
        ] {
            let error = answered(answer).await;
            assert!(matches!(error, Err(ClientError::NotUnderstood { .. })), "{answer:?}: {error:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_listener_that_says_nothing_is_given_up_after_three_seconds() {
        let (_listener, address) = listener().await;
        let begun = tokio::time::Instant::now();
        let error = get::<Value>(&address, "/path").await;
        assert!(matches!(error, Err(ClientError::Silent { .. })), "{error:?}");
        assert_eq!(begun.elapsed().as_secs(), 3);
    }

    #[tokio::test]
    async fn where_nobody_listens_the_address_is_named() {
        let (listener, address) = listener().await;
        drop(listener);
        let error = get::<Value>(&address, "/path").await.expect_err("nobody listens");
        assert!(matches!(error, ClientError::Unreachable { .. }) && error.to_string().contains(&address.to_string()));
    }
}
