//! Calls of the application's code, of which a panic disturbs nothing else.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Poll;

use rdb_net_types::BoxFuture;

/// The application's code panicked. Its words are in what the panic hook has written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Panicked;

/// Calls it. Nothing of this crate is in its hands while it runs, so that nothing can be left half done.
pub(super) fn caught<T>(call: impl FnOnce() -> T) -> Result<T, Panicked> {
    catch_unwind(AssertUnwindSafe(call)).map_err(|_| Panicked)
}

/// Calls it, and waits for what it gives.
pub(super) async fn caught_later<T>(call: impl FnOnce() -> BoxFuture<'static, T>) -> Result<T, Panicked> {
    let mut future = caught(call)?;
    let result = poll_fn(|context| match caught(|| future.as_mut().poll(context)) {
        Ok(Poll::Pending) => Poll::Pending,
        Ok(Poll::Ready(value)) => Poll::Ready(Ok(value)),
        Err(panicked) => Poll::Ready(Err(panicked)),
    })
    .await;
    // What it drops is the application's as well.
    let dropped = caught(|| drop(future));
    result.and_then(|value| dropped.map(|()| value))
}
