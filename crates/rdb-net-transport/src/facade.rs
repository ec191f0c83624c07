//! The standard transport trait over the transport.

use std::sync::atomic::Ordering;
use std::time::Duration;

use rdb_net_types::{BoxFuture, ClusterMessage, Component, HealthStatus, NetworkError, NetworkTransport, NodeAddress};

use crate::options::CallOptions;
use crate::transport::Transport;

impl Component for Transport {
    fn initialize(&self) -> BoxFuture<'_, Result<(), NetworkError>> {
        Box::pin(async {
            let start = self.start().await;
            start.map_err(|error| NetworkError::Start {
                component: "transport",
                problem: format!("{error} (bind_address)"),
            })
        })
    }

    fn shutdown(&self) -> BoxFuture<'_, Result<(), NetworkError>> {
        Box::pin(async {
            if self.shutdown().await {
                return Ok(());
            }
            let problem = "connections were cut off: they did not drain in time".to_owned();
            Err(NetworkError::Backend { component: "transport", problem })
        })
    }

    fn health_check(&self) -> HealthStatus {
        if self.inner.is_stopping() {
            HealthStatus::Unhealthy
        } else if self.inner.config.bind.is_some() && self.local_address().is_none() {
            HealthStatus::Unknown
        } else {
            HealthStatus::Healthy
        }
    }
}

impl NetworkTransport for Transport {
    fn send<'a>(
        &'a self,
        address: &'a NodeAddress,
        message: &'a ClusterMessage,
    ) -> BoxFuture<'a, Result<(), NetworkError>> {
        Box::pin(async move { Ok(self.seed(address).send(message, CallOptions::default()).await?) })
    }

    fn receive(&self) -> BoxFuture<'_, Result<(NodeAddress, ClusterMessage), NetworkError>> {
        Box::pin(async {
            self.inner.is_receiving.store(true, Ordering::Relaxed);
            let mut unhandled = self.inner.unhandled_taken.lock().await;
            loop {
                let next = self.inner.cancel.run_until_cancelled(unhandled.recv()).await.flatten();
                let next = next.ok_or(NetworkError::NotRunning { component: "transport" })?;
                drop(next.duty);
                let message_type = next.request.message_type;
                match next.request.into_message() {
                    Ok(message) => return Ok((next.address, message)),
                    Err(error) => tracing::warn!(%message_type, %error, "a message that cannot be read was dropped"),
                }
            }
        })
    }

    fn ping<'a>(&'a self, address: &'a NodeAddress) -> BoxFuture<'a, Result<Duration, NetworkError>> {
        Box::pin(async move {
            let timeout = self.inner.config.request_timeout;
            Ok(self.seed(address).ping(timeout).await?)
        })
    }
}
