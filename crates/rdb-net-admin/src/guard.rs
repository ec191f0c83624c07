//! Who may ask: the checks that every request passes before a route sees it.
//!
//! A browser on this machine reaches loopback on behalf of any web page. Two attacks follow, and both are told by headers
//! that a page cannot forge. DNS rebinding: a page's own host name resolves to 127.0.0.1, so the page may read the answers;
//! its `Host` is that name and no loopback one. Cross-site requests: a page posts to 127.0.0.1 without reading the answer;
//! such a request carries the page's `Origin`, and `application/json` would need a permission that is never given.

use std::net::IpAddr;

use axum::extract::Request;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::problem::Problem;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Lets a request pass or answers it, and forbids caches and guessing of content types.
pub(crate) async fn guard(request: Request, next: Next) -> Response {
    let mut response = match judge(request.method(), request.uri(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    };
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// Whether a request may pass.
pub(crate) fn judge(method: &Method, uri: &Uri, headers: &HeaderMap) -> Result<(), Problem> {
    let host = host_of(uri, headers)?;
    if matches!(*method, Method::GET | Method::HEAD) {
        return Ok(());
    }
    check_origin(host, headers)?;
    if !is_json(headers) {
        return Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "a request that changes something needs `content-type: application/json`",
        ));
    }
    Ok(())
}

/// The host that the request is meant for, which must be this machine's own name for itself.
fn host_of<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> Result<&'a str, Problem> {
    let mut hosts = headers.get_all(header::HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else {
        return Err(Problem::new(StatusCode::BAD_REQUEST, "a request names its host once"));
    };
    let host = host.to_str().unwrap_or_default();
    let named = [Some(host), uri.authority().map(Authority::as_str)];
    if named.into_iter().flatten().all(is_loopback) {
        Ok(host)
    } else {
        Err(Problem::new(
            StatusCode::FORBIDDEN,
            "the host of a request must be localhost or a loopback address: this listener serves this machine only",
        ))
    }
}

/// `localhost`, `127.x.y.z` or `[::1]`, with a port or without.
fn is_loopback(authority: &str) -> bool {
    let Ok(authority) = authority.parse::<Authority>() else { return false };
    if authority.as_str().contains('@') {
        return false;
    }
    let host = authority.host();
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    host.eq_ignore_ascii_case("localhost") || address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// A page's request says from where the page came: from this listener, or it is refused.
fn check_origin(host: &str, headers: &HeaderMap) -> Result<(), Problem> {
    let is_own = |origin: &HeaderValue| {
        origin.to_str().ok().and_then(|origin| origin.strip_prefix("http://")).is_some_and(|origin| origin == host)
    };
    let is_same_site = |site: &HeaderValue| matches!(site.as_bytes(), b"same-origin" | b"none");
    if headers.get_all(header::ORIGIN).iter().all(is_own) && headers.get_all(SEC_FETCH_SITE).iter().all(is_same_site) {
        Ok(())
    } else {
        Err(Problem::new(StatusCode::FORBIDDEN, "a request that changes something may not come from another site"))
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()) else { return false };
    let essence = value.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/json")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The status of the refusal; 200 where the request may pass.
    fn judged(method: Method, uri: &str, headers: &[(&str, &str)]) -> u16 {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(HeaderName::from_bytes(name.as_bytes()).expect("legal"), value.parse().expect("legal"));
        }
        judge(&method, &uri.parse().expect("legal"), &map).map_or_else(|problem| problem.status.as_u16(), |()| 200)
    }

    #[test]
    fn only_loopback_hosts_pass() {
        for host in ["localhost", "LOCALHOST:7002", "127.0.0.1:7002", "127.9.9.9", "[::1]:7002", "[::1]"] {
            assert_eq!(judged(Method::GET, "/metrics", &[("host", host)]), 200, "{host}");
        }
        let foreign = [
            "evil.example",
            "evil.example:7002",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "10.0.0.1:7002",
            "0.0.0.0:7002",
            "[::]:7002",
            "127.0.0.1@evil.example",
            "evil@localhost",
            "",
        ];
        for host in foreign {
            assert_eq!(judged(Method::GET, "/metrics", &[("host", host)]), 403, "{host}");
        }
        assert_eq!(judged(Method::GET, "/metrics", &[]), 400);
        assert_eq!(judged(Method::GET, "/metrics", &[("host", "localhost"), ("host", "localhost")]), 400);
        assert_eq!(judged(Method::GET, "http://evil.example/metrics", &[("host", "localhost")]), 403);
    }

    #[test]
    fn what_changes_something_is_json_and_of_this_origin() {
        let own = ("host", "127.0.0.1:7002");
        let json = ("content-type", "application/json");
        let post = |headers: &[(&str, &str)]| judged(Method::POST, "/api/v1/network/leave", headers);
        assert_eq!(post(&[own, json]), 200);
        assert_eq!(post(&[own, ("content-type", "Application/JSON; charset=utf-8")]), 200);
        assert_eq!(post(&[own, json, ("origin", "http://127.0.0.1:7002"), ("sec-fetch-site", "same-origin")]), 200);
        assert_eq!(post(&[own]), 415);
        assert_eq!(post(&[own, ("content-type", "text/plain")]), 415);
        assert_eq!(post(&[own, ("content-type", "application/json-patch")]), 415);
        assert_eq!(post(&[own, json, ("origin", "http://evil.example")]), 403);
        assert_eq!(post(&[own, json, ("origin", "http://127.0.0.1:9999")]), 403);
        assert_eq!(post(&[own, json, ("origin", "https://127.0.0.1:7002")]), 403);
        assert_eq!(post(&[own, json, ("origin", "null")]), 403);
        assert_eq!(post(&[own, json, ("sec-fetch-site", "cross-site")]), 403);
        assert_eq!(post(&[own, json, ("sec-fetch-site", "same-site")]), 403);
        assert_eq!(judged(Method::DELETE, "/", &[own, ("content-type", "text/plain")]), 415);
    }
}
