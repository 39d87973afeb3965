//! A server that runs beside the service's loop.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::http::HttpError;

/// Completes when the server is to end.
pub(super) type End = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A server while it runs. Dropped, it ends as well, but nobody waits for its last answers.
#[derive(Debug)]
pub(super) struct Serving {
    close: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

// === impl Serving ===

impl Serving {
    /// Starts a server, which serves until the end that it is given.
    pub(super) fn start<F>(tokio: &Runtime, serve: impl FnOnce(End) -> F) -> Self
    where
        F: Future<Output = Result<(), HttpError>> + Send + 'static,
    {
        let (close, closed) = oneshot::channel::<()>();
        let serving = serve(Box::pin(async {
            // Sent or dropped: both mean the end.
            let _ = closed.await;
        }));
        let task = tokio.spawn(async {
            if let Err(error) = serving.await {
                tracing::error!("{error}");
            }
        });
        Self { close, task }
    }

    /// Closes the server after the answers under way, within a limit.
    pub(super) fn close(self, tokio: &Runtime, limit: Duration) {
        // The receiver is gone only if the server ended by itself.
        let _ = self.close.send(());
        // A server that does not end in time is dropped with the runtime.
        let _ = tokio.block_on(async { tokio::time::timeout(limit, self.task).await });
    }
}
