//! From a request to its answer.

use std::time::Duration;

use serde_json::{Value, json};

use super::state::{State, parse_time};
use super::wire::{Answer, Request};

/// What a request means for the state.
pub(super) enum Route {
    /// It is answered at once.
    Done(Answer),
    /// It waits until something of a service has changed.
    Wait { service: String, after: u64, wait: Duration },
}

/// The longest wait of a real agent, and the one of a question that names none.
const WAIT_MAX: Duration = Duration::from_secs(600);
const WAIT_DEFAULT: Duration = Duration::from_secs(300);

/// Carries out a request; a question that waits comes back when its wait is over, with `waited`.
pub(super) fn route(state: &mut State, now: Duration, request: &Request, waited: bool) -> Route {
    let path: Vec<&str> = request.path.trim_matches('/').split('/').collect();
    let asked = |key: &str| request.query.get(key).map(String::as_str);
    let done = |outcome: Result<(), (u16, String)>| match outcome {
        Ok(()) => Answer::text(200, ""),
        Err((code, text)) => Answer::text(code, text),
    };
    Route::Done(match (request.method.as_str(), path.as_slice()) {
        ("PUT", ["v1", "agent", "service", "register"]) => match serde_json::from_slice(&request.body) {
            Ok(body) => done(state.register(now, &body)),
            Err(error) => Answer::text(400, format!("Request decode failed: {error}")),
        },
        ("PUT", ["v1", "agent", "service", "deregister", id]) => done(state.deregister(id)),
        ("PUT", ["v1", "agent", "service", "maintenance", id]) => {
            done(state.maintain(now, id, asked("enable") == Some("true")))
        }
        ("PUT", ["v1", "agent", "check", "update", id]) => {
            let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
            let word = |key: &str| body[key].as_str().unwrap_or_default().to_owned();
            done(state.tell(now, id, &word("Status"), &word("Output")))
        }
        ("PUT", ["v1", "agent", "check", word @ ("pass" | "warn" | "fail"), id]) => {
            let status = match *word {
                "pass" => "passing",
                "warn" => "warning",
                _ => "critical",
            };
            done(state.tell(now, id, status, asked("note").unwrap_or_default()))
        }
        ("GET", ["v1", "agent", "service", id]) => match state.agent_service(id) {
            Some(service) => Answer::json(&service),
            None => Answer::text(404, format!("unknown service ID: {id}")),
        },
        ("GET", ["v1", "agent", "services"]) => Answer::json(&state.agent_services()),
        ("GET", ["v1", "agent", "checks"]) => Answer::json(&state.agent_checks()),
        ("GET", ["v1", "agent", "self"]) => {
            Answer::json(&json!({ "Config": { "NodeName": "test-agent", "Version": "1.0.0" } }))
        }
        ("GET", ["v1", "status", "leader"]) => Answer::json(&json!("127.0.0.1:8300")),
        ("GET", ["v1", kind @ ("health" | "catalog"), "service", name]) => {
            let after = asked("index").and_then(|index| index.parse().ok()).filter(|index| *index > 0);
            if let Some(after) = after.filter(|after| !waited && state.index_of(name) <= *after) {
                let wait = asked("wait").and_then(parse_time).unwrap_or(WAIT_DEFAULT).min(WAIT_MAX);
                return Route::Wait { service: (*name).to_owned(), after, wait };
            }
            let body = if *kind == "catalog" {
                state.catalog(name)
            } else {
                match only(asked("filter")) {
                    Ok(only) => state.health(name, request.query.contains_key("passing"), only.as_deref()),
                    Err(text) => return Route::Done(Answer::text(400, text)),
                }
            };
            with_index(Answer::json(&body), state.index_of(name))
        }
        _ => Answer::text(404, "Invalid URL path"),
    })
}

/// The one filter that this agent understands.
fn only(filter: Option<&str>) -> Result<Option<String>, String> {
    let Some(filter) = filter else { return Ok(None) };
    let id = filter.strip_prefix("Service.ID == \"").and_then(|rest| rest.strip_suffix('"'));
    id.map(|id| Some(id.to_owned())).ok_or_else(|| format!("Failed to create boolean expression evaluator: {filter}"))
}

fn with_index(mut answer: Answer, index: u64) -> Answer {
    let headers = [("X-Consul-Index", index.to_string()), ("X-Consul-KnownLeader", "true".to_owned())];
    answer.headers.extend(headers);
    answer.headers.push(("X-Consul-LastContact", "0".to_owned()));
    answer
}
