//! The routes: from a request to an operation of the control plane and back.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, FromRequest, Path, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router, middleware};
use rdb_net_manager::{ControlError, ControlPlane, Reloaded};
use rdb_net_types::{HealthStatus, NodeId};
use serde::de::DeserializeOwned;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::guard::guard;
use crate::metrics::{Format, Metrics};
use crate::problem::Problem;
use crate::views::{
    DiscoveryView, DoneView, ForgetRequest, HealthView, JoinRequest, LeaveRequest, NoArguments, PeerView, PeersView,
    ProbeView, ReloadedView, SecurityView, StatusView, TopologyView,
};

const BODY_BYTES_MAX: usize = 64 * 1024;
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
const OPERATIONS_MAX: usize = 8;
const OPERATION_TIMEOUT: Duration = Duration::from_secs(30);
const SEEDS_MAX: usize = 64;

/// What the routes share.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) control: Arc<dyn ControlPlane>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) tasks: TaskTracker,
    pub(crate) cancel: CancellationToken,
    operations: Arc<Semaphore>,
    origin: Instant,
}

impl Shared {
    pub(crate) fn new(control: Arc<dyn ControlPlane>) -> Self {
        Self {
            metrics: Arc::new(Metrics::new(Arc::clone(&control))),
            control,
            tasks: TaskTracker::new(),
            cancel: CancellationToken::new(),
            operations: Arc::new(Semaphore::new(OPERATIONS_MAX)),
            origin: Instant::now(),
        }
    }

    /// The time since the server was made.
    pub(crate) fn now(&self) -> Duration {
        self.origin.elapsed()
    }
}

/// All routes, behind their guard.
pub(crate) fn router(shared: Shared) -> Router {
    let network = Router::new()
        .route("/health", get(health))
        .route("/status", get(status))
        .route("/topology", get(topology))
        .route("/peers", get(peers))
        .route("/peers/{node_id}", get(peer))
        .route("/discovery", get(discovery))
        .route("/join", post(join))
        .route("/leave", post(leave))
        .route("/forget", post(forget))
        .route("/configuration/reload", post(reload_configuration))
        .route("/security", get(security))
        .route("/security/reload", post(reload_certificates))
        .route("/security/rotate-gossip-key", post(rotate_gossip_key));
    Router::new()
        .nest("/api/v1/network", network)
        .route("/metrics", get(metrics))
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .fallback(async || Problem::new(StatusCode::NOT_FOUND, "there is nothing under this path"))
        .method_not_allowed_fallback(async || {
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "this path does not take this method; see `allow`")
        })
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(middleware::from_fn(guard))
        .with_state(shared)
}

async fn health(State(shared): State<Shared>) -> (StatusCode, Json<HealthView>) {
    let view = HealthView::of(&*shared.control);
    let status = match view.status {
        HealthStatus::Unhealthy => StatusCode::SERVICE_UNAVAILABLE,
        HealthStatus::Healthy | HealthStatus::Unknown | HealthStatus::Degraded => StatusCode::OK,
    };
    (status, Json(view))
}

async fn status(State(shared): State<Shared>) -> Json<StatusView> {
    Json(StatusView::of(&*shared.control))
}

async fn topology(State(shared): State<Shared>) -> Json<TopologyView> {
    Json(TopologyView::of(&*shared.control))
}

async fn peers(State(shared): State<Shared>) -> Json<PeersView> {
    Json(PeersView::of(&*shared.control))
}

async fn peer(State(shared): State<Shared>, Path(node_id): Path<String>) -> Result<Json<PeerView>, Problem> {
    let node_id: NodeId =
        node_id.parse().map_err(|error| Problem::new(StatusCode::BAD_REQUEST, format!("{node_id:?}: {error}")))?;
    let found = shared.control.peers().into_iter().find(|peer| peer.info.id == node_id);
    let peer = found.ok_or(ControlError::UnknownNode(node_id))?;
    Ok(Json(PeerView::of(&peer)))
}

async fn metrics(State(shared): State<Shared>, headers: HeaderMap) -> Result<Response, Problem> {
    let accept = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let format = Format::negotiate(&accept.collect::<Vec<_>>().join(","));
    let (metrics, now) = (Arc::clone(&shared.metrics), shared.now());
    // Off the threads on which the node's own messages wait: a thousand peers are some megabytes of text.
    let rendered = shared.tasks.spawn_blocking(move || metrics.render(now, format)).await;
    let text = rendered.map_err(|error| internal(&error))?;
    Ok(([(header::CONTENT_TYPE, format.content_type())], text).into_response())
}

async fn livez() -> Json<ProbeView> {
    Json(ProbeView { ok: true, reason: String::new() })
}

async fn readyz(State(shared): State<Shared>) -> (StatusCode, Json<ProbeView>) {
    let withdrawn = || shared.control.topology().split_brain.filter(|split| split.withdraws);
    let reason = match shared.control.is_joined() {
        false => Some("joined: the node is not a member of its cluster".to_owned()),
        true => withdrawn().map(|split| format!("split brain: this side withdraws: {}", split.reason)),
    };
    let status = if reason.is_none() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(ProbeView { ok: reason.is_none(), reason: reason.unwrap_or_default() }))
}

async fn join(State(shared): State<Shared>, request: Request) -> Result<Json<DoneView>, Problem> {
    let JoinRequest { seeds } = read_json(request).await?;
    if seeds.is_empty() || seeds.len() > SEEDS_MAX {
        let detail = format!("seeds: 1 to {SEEDS_MAX} addresses, not {}", seeds.len());
        return Err(Problem::new(StatusCode::BAD_REQUEST, detail));
    }
    operate(&shared, "join", |control| Box::pin(async move { control.join(seeds).await })).await
}

async fn leave(State(shared): State<Shared>, request: Request) -> Result<Json<DoneView>, Problem> {
    let LeaveRequest {} = read_json(request).await?;
    operate(&shared, "leave", |control| Box::pin(async move { control.leave().await })).await
}

async fn forget(State(shared): State<Shared>, request: Request) -> Result<Json<DoneView>, Problem> {
    let ForgetRequest { node } = read_json(request).await?;
    operate(&shared, "forget", |control| Box::pin(async move { control.forget(&node) })).await
}

async fn discovery(State(shared): State<Shared>) -> Json<DiscoveryView> {
    Json(DiscoveryView::of(&*shared.control))
}

async fn security(State(shared): State<Shared>) -> Json<SecurityView> {
    Json(SecurityView::of(&*shared.control))
}

async fn reload_certificates(State(shared): State<Shared>, request: Request) -> Result<Json<DoneView>, Problem> {
    let NoArguments {} = read_json(request).await?;
    let reload = |control: Arc<dyn ControlPlane>| -> Operation<()> {
        Box::pin(async move { control.reload_certificates().await })
    };
    operate(&shared, "reload_certificates", reload).await
}

async fn reload_configuration(State(shared): State<Shared>, request: Request) -> Result<Json<ReloadedView>, Problem> {
    let NoArguments {} = read_json(request).await?;
    let reload = |control: Arc<dyn ControlPlane>| -> Operation<Reloaded> {
        Box::pin(async move { control.reload_configuration().await })
    };
    let reloaded = carry_out(&shared, "reload_configuration", reload).await?;
    Ok(Json(ReloadedView::from(reloaded)))
}

async fn rotate_gossip_key(State(shared): State<Shared>, request: Request) -> Result<Json<DoneView>, Problem> {
    let NoArguments {} = read_json(request).await?;
    operate(&shared, "rotate_gossip_key", |control| Box::pin(async move { control.rotate_gossip_key() })).await
}

/// A request's body. An empty one is an empty object.
async fn read_json<T: DeserializeOwned>(request: Request) -> Result<T, Problem> {
    let read = timeout(BODY_TIMEOUT, Bytes::from_request(request, &())).await;
    let body = match read {
        Ok(Ok(body)) => body,
        Ok(Err(rejection)) => return Err(Problem::new(rejection.status(), rejection.body_text())),
        Err(_) => return Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "the body did not arrive in time")),
    };
    let body: &[u8] = if body.is_empty() { b"{}" } else { &body };
    serde_json::from_slice(body).map_err(|error| Problem::new(StatusCode::BAD_REQUEST, format!("the body: {error}")))
}

type Operation<T> = std::pin::Pin<Box<dyn Future<Output = Result<T, ControlError>> + Send>>;

/// Carries an operation out whose end is all there is to tell.
async fn operate(
    shared: &Shared,
    operation: &'static str,
    start: impl FnOnce(Arc<dyn ControlPlane>) -> Operation<()>,
) -> Result<Json<DoneView>, Problem> {
    carry_out(shared, operation, start).await?;
    Ok(Json(DoneView { operation: operation.to_owned(), joined: shared.control.is_joined() }))
}

/// Carries an operation out in a task of its own: it goes on when the one who asked hangs up, and ends when the server does.
async fn carry_out<T: Send + 'static>(
    shared: &Shared,
    operation: &'static str,
    start: impl FnOnce(Arc<dyn ControlPlane>) -> Operation<T>,
) -> Result<T, Problem> {
    let Ok(permit) = Arc::clone(&shared.operations).try_acquire_owned() else {
        let detail = format!("{OPERATIONS_MAX} operations are under way; try again when one has ended");
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail));
    };
    tracing::info!(operation, "admin operation");
    let (run, cancel) = (start(Arc::clone(&shared.control)), shared.cancel.clone());
    let task = shared.tasks.spawn(async move {
        let _permit = permit;
        cancel.run_until_cancelled(run).await
    });
    match timeout(OPERATION_TIMEOUT, task).await {
        Ok(Ok(Some(Ok(done)))) => Ok(done),
        Ok(Ok(Some(Err(error)))) => Err(error.into()),
        Ok(Ok(None)) => Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the node is being shut down")),
        Ok(Err(error)) => Err(internal(&error)),
        Err(_) => {
            let detail = format!("{operation} did not end within {} s; it goes on", OPERATION_TIMEOUT.as_secs());
            Err(Problem::new(StatusCode::GATEWAY_TIMEOUT, detail))
        }
    }
}

/// A task that panicked: a bug of this program.
fn internal(error: &tokio::task::JoinError) -> Problem {
    tracing::error!(%error, "an admin request panicked");
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the request met a bug of this program; its log has more")
}
