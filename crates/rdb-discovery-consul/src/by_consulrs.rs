//! The seam, by consulrs 0.1.
//!
//! consulrs registers services, keeps checks and removes them. What it lacks is asked through its own extension point: an
//! `Endpoint` of rustify that says which `Features` of consulrs it wants, run by `consulrs::api`. What of it would harm is held back
//! here: its panics over odd headers, its log lines for each request, its errors that show whole bodies, and that it waits for ever.

use std::any::type_name;
use std::collections::HashMap;
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use consulrs::api::check::common::AgentServiceCheck;
use consulrs::api::features::{Blocking, FeaturedEndpoint};
use consulrs::api::service::requests::RegisterServiceRequest;
use consulrs::api::{ApiResponse, Features, exec_with_result};
use consulrs::client::ConsulClient;
use consulrs::error::ClientError;
use consulrs::{check, service};
use rdb_discovery_driver::with_sources;
use rustify::endpoint::Endpoint;
use rustify::enums::{RequestMethod, RequestType, ResponseType};
use rustify::errors::ClientError as RestError;
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio::time::timeout;
use tracing::instrument::WithSubscriber;
use tracing::subscriber::NoSubscriber;

use crate::http::{Answer, Asked, ConsulHttp, Entry, Fault, Instance, Question, Service};

/// Characters of an agent's own words that are repeated in an error.
const WORDS_MAX: usize = 200;

/// One agent, by consulrs.
pub(crate) struct ConsulrsHttp {
    /// For the questions that follow each other, so that their connection is made anew only where it has ended.
    asking: ConsulClient,
    client: ConsulClient,
    dialled: watch::Receiver<u64>,
    request_timeout: Duration,
}

impl ConsulrsHttp {
    pub(crate) fn new(
        asking: ConsulClient,
        client: ConsulClient,
        dialled: watch::Receiver<u64>,
        request_timeout: Duration,
    ) -> Self {
        Self { asking, client, dialled, request_timeout }
    }

    async fn ask<T: Send>(
        &self,
        limit: Duration,
        request: impl Future<Output = Result<ApiResponse<T>, ClientError>> + Send,
    ) -> Result<ApiResponse<T>, Fault> {
        let caught = Caught(Box::pin(request)).with_subscriber(NoSubscriber::default());
        match timeout(limit, caught).await {
            Ok(Ok(answer)) => answer.map_err(|error| fault(&error)),
            Ok(Err(Panicked)) => Err(Fault::Nonsense("its answer has headers that the client cannot read".to_owned())),
            Err(_) => Err(Fault::Unreachable(format!("no answer within {limit:?}"))),
        }
    }

    async fn read<T: DeserializeOwned + Send + Sync>(
        &self,
        client: &ConsulClient,
        limit: Duration,
        get: Get<T>,
    ) -> Result<ApiResponse<T>, Fault> {
        self.ask(limit, exec_with_result(client, get)).await
    }
}

impl ConsulHttp for ConsulrsHttp {
    fn instances(&self, question: Question) -> Asked<'_, Answer> {
        Box::pin(async move {
            let wait = question.after.map_or(Duration::ZERO, |(_, wait)| wait);
            // The agent spreads the ends of waits over a sixteenth more.
            let limit = self.request_timeout + wait + wait / 16;
            let features = Features {
                blocking: question.after.map(|(index, wait)| Blocking { index, wait: Some(time(wait)) }),
                filter: question.only.map(|id| format!("Service.ID == \"{id}\"")),
                ..Features::default()
            };
            let path = format!("health/service/{}", question.service);
            let client = if question.in_line { &self.asking } else { &self.client };
            let answer = self.read(client, limit, Get::<Vec<Instance>>::of(path, features)).await?;
            let index = answer.index.as_deref().and_then(|index| index.parse().ok());
            let lacks = || {
                Fault::Nonsense("its answer lacks the header X-Consul-Index: something between takes it out".to_owned())
            };
            Ok(Answer {
                instances: answer.response,
                index: index.ok_or_else(lacks)?,
                known_leader: answer.known_leader.as_deref() != Some("false"),
            })
        })
    }

    fn register(&self, entry: Entry) -> Asked<'_, ()> {
        Box::pin(async move {
            let mut request = RegisterServiceRequest::builder();
            let promise = AgentServiceCheck {
                name: Some(format!("{} tells that it lives", entry.id)),
                ttl: Some(time(entry.time_to_live)),
                deregister_critical_service_after: Some(time(entry.deregister_after)),
                // Else it would be critical until the first word.
                status: Some("passing".to_owned()),
                ..AgentServiceCheck::default()
            };
            request.id(entry.id).address(entry.address).port(entry.port).check(promise);
            request.meta(entry.meta.into_iter().collect::<HashMap<_, _>>());
            let request = service::register(&self.client, &entry.service, Some(&mut request));
            self.ask(self.request_timeout, request).await.map(drop)
        })
    }

    fn pass(&self, id: String) -> Asked<'_, ()> {
        Box::pin(async move {
            // Not by the endpoint for passing checks: the note of a caller does not arrive there.
            let name = format!("service:{id}");
            self.ask(self.request_timeout, check::set_status(&self.client, &name, "passing", None)).await.map(drop)
        })
    }

    fn registered(&self, id: String) -> Asked<'_, Option<Service>> {
        Box::pin(async move {
            let get = Get::<Service>::of(format!("agent/service/{id}"), Features::default());
            match self.read(&self.client, self.request_timeout, get).await {
                Ok(answer) => Ok(Some(answer.response)),
                Err(fault) if fault.is_missing() => Ok(None),
                Err(fault) => Err(fault),
            }
        })
    }

    fn deregister(&self, id: String) -> Asked<'_, ()> {
        Box::pin(async move {
            match self.ask(self.request_timeout, service::deregister(&self.client, &id, None)).await {
                Err(fault) if !fault.is_missing() => Err(fault),
                _ => Ok(()),
            }
        })
    }

    fn leader(&self) -> Asked<'_, String> {
        Box::pin(async move {
            let get = Get::<String>::of("status/leader".to_owned(), Features::default());
            self.read(&self.client, self.request_timeout, get).await.map(|answer| answer.response)
        })
    }

    fn dialled(&self) -> watch::Receiver<u64> {
        self.dialled.clone()
    }
}

/// A `GET` that consulrs does not have.
struct Get<T> {
    path: String,
    features: Features,
    read: PhantomData<fn() -> T>,
}

impl<T> Get<T> {
    fn of(path: String, features: Features) -> Self {
        Self { path, features, read: PhantomData }
    }
}

impl<T> fmt::Debug for Get<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Get").field("path", &self.path).field("read", &type_name::<T>()).finish_non_exhaustive()
    }
}

impl<T: DeserializeOwned + Send + Sync> Endpoint for Get<T> {
    type Response = T;
    const REQUEST_BODY_TYPE: RequestType = RequestType::JSON;
    const RESPONSE_BODY_TYPE: ResponseType = ResponseType::JSON;

    fn path(&self) -> String {
        self.path.clone()
    }

    fn method(&self) -> RequestMethod {
        RequestMethod::GET
    }
}

impl<T> FeaturedEndpoint for Get<T> {
    fn features(&self) -> Option<Features> {
        Some(self.features.clone())
    }
}

/// consulrs takes every header of an answer for ASCII, and panics where it is not.
struct Panicked;

struct Caught<F>(Pin<Box<F>>);

impl<F: Future> Future for Caught<F> {
    type Output = Result<F::Output, Panicked>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        // Nothing of it is used after a panic.
        match catch_unwind(AssertUnwindSafe(|| self.0.as_mut().poll(context))) {
            Ok(polled) => polled.map(Ok),
            Err(_) => Poll::Ready(Err(Panicked)),
        }
    }
}

/// As Go reads durations.
fn time(duration: Duration) -> String {
    format!("{}ms", duration.as_millis())
}

fn fault(error: &ClientError) -> Fault {
    match error {
        ClientError::APIError { code, message } => {
            Fault::Status { code: *code, text: words(message.as_deref().unwrap_or_default()) }
        }
        ClientError::RestClientError { source: RestError::RequestError { source, .. } }
        | ClientError::RestClientError { source: RestError::ResponseError { source } } => {
            // The outermost repeats the whole URL, and then what it stands for.
            let error: &dyn Error = source.as_ref();
            let told = error.source().unwrap_or(error);
            Fault::Unreachable(with_sources(told.to_string(), told))
        }
        ClientError::RestClientError { source: RestError::ResponseParseError { source, .. } } => {
            Fault::Nonsense(format!("its answer is not what was asked for: {source}"))
        }
        other => Fault::Nonsense(with_sources(other.to_string(), other)),
    }
}

/// The beginning of an agent's own words, in one line.
fn words(text: &str) -> String {
    let line = text.trim().replace(char::is_control, " ");
    match line.char_indices().nth(WORDS_MAX) {
        Some((at, _)) => format!("{}…", line.get(..at).unwrap_or_default()),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agents_words_are_one_short_line() {
        assert_eq!(words(" No cluster\nleader\n"), "No cluster leader");
        let long = words(&"ä".repeat(500));
        assert_eq!(long.chars().count(), WORDS_MAX + 1);
    }

    #[tokio::test]
    async fn a_panic_of_the_client_is_an_answer_without_sense() {
        async fn panics() -> u8 {
            std::panic::resume_unwind(Box::new("odd header"))
        }
        assert!(Caught(Box::pin(panics())).await.is_err());
        assert!(matches!(Caught(Box::pin(std::future::ready(7))).await, Ok(7)));
    }
}
