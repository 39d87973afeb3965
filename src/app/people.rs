//! Opens the server of people and programs beside the service's loop: API and console, with the database if there is one.

use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::access::accounts::Accounts;
use crate::api::config::ApiConfig;
use crate::api::feed::Feed;
use crate::cases::Cases;
use crate::config::Config;
use crate::exit::Failure;
use crate::surface::{Surface, offer_first};

/// The server while the service runs.
#[derive(Debug)]
pub(super) struct People {
    close: oneshot::Sender<()>,
    serving: JoinHandle<()>,
}

// === impl People ===

impl People {
    /// Opens the server that the configuration describes, and the observer that feeds it; none without the section `[api]`. `cases` are
    /// those of the database, which may be away.
    pub(super) fn open(config: &Config, cases: Option<&Cases>, tokio: &Runtime) -> Result<Option<(Self, Feed)>, Failure> {
        let Some(api) = &config.api else { return Ok(None) };
        let feed = Feed::new();
        let accounts = cases.map(|cases| Accounts::new(cases.database().clone()));
        let surface = tokio.block_on(Surface::bind(config, api, feed.reader(), cases.cloned()))?;
        tracing::info!("API and console at {}", surface.url());
        if let Some(accounts) = accounts {
            tokio.spawn(offer_first(accounts, ApiConfig::clone(api), config.directory.clone()));
        }
        let (close, closed) = oneshot::channel::<()>();
        let serving = tokio.spawn(async move {
            let end = async {
                // Sent or dropped: both mean the end.
                let _ = closed.await;
            };
            if let Err(error) = surface.serve(end).await {
                tracing::error!("{error}");
            }
        });
        Ok(Some((Self { close, serving }, feed)))
    }

    /// Closes the server after the answers under way, within a limit.
    pub(super) fn close(self, tokio: &Runtime, limit: Duration) {
        // The receiver is gone only if the server ended by itself.
        let _ = self.close.send(());
        // A server that does not end in time is dropped with the runtime.
        let _ = tokio.block_on(async { tokio::time::timeout(limit, self.serving).await });
    }
}
