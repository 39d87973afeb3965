//! Opens the server of people and programs beside the service's loop: API and console, with the database if there is one.

use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::access::accounts::Accounts;
use crate::api::config::ApiConfig;
use crate::api::feed::Feed;
use crate::audit::Audit;
use crate::config::Config;
use crate::exit::{Exit, Failure};
use crate::store::{Database, StoreError};
use crate::surface::{Surface, offer_first};

/// Pause before a database that is away is asked again.
const RETRY: Duration = Duration::from_secs(5);

/// The server while the service runs.
#[derive(Debug)]
pub(super) struct People {
    close: oneshot::Sender<()>,
    serving: JoinHandle<()>,
}

// === impl People ===

impl People {
    /// Opens the server that the configuration describes, and the observer that feeds it; none without the section `[api]`.
    pub(super) fn open(config: &Config, tokio: &Runtime) -> Result<Option<(Self, Feed)>, Failure> {
        let Some(api) = &config.api else { return Ok(None) };
        let feed = Feed::new();
        let store = store(config, tokio)?;
        let accounts = store.as_ref().map(|(database, _)| Accounts::new(database.clone()));
        let surface = tokio.block_on(Surface::bind(config, api, feed.reader(), store))?;
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

/// The database and its audit. One that is away is waited for beside the loop.
fn store(config: &Config, tokio: &Runtime) -> Result<Option<(Database, Audit)>, Failure> {
    if !config.store.is_used() {
        return Ok(None);
    }
    let usage = |what: String| Failure::new(Exit::Usage, what);
    let keys = config.audit.keys(&config.directory).map_err(|(setting, what)| usage(format!("{setting}: {what}")))?;
    let database =
        tokio.block_on(async { Database::open(&config.store, &config.directory) }).map_err(|error| usage(error.to_string()))?;
    match tokio.block_on(database.migrate()) {
        Ok(()) => {}
        Err(error @ StoreError::Unavailable(_)) => {
            tracing::error!("{error}; nobody can sign in until then");
            tokio.spawn(wait_for(database.clone()));
        }
        Err(error) => return Err(usage(error.to_string())),
    }
    Ok(Some((database.clone(), Audit::new(database, keys))))
}

async fn wait_for(database: Database) {
    while let Err(error) = database.migrate().await {
        tracing::debug!("{error}");
        tokio::time::sleep(RETRY).await;
    }
    tracing::info!("the database answers");
}
