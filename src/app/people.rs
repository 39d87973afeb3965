//! Opens the server of people and programs beside the service's loop: API and console, with the database if there is one.

use tokio::runtime::Runtime;

use super::serving::Serving;
use crate::access::accounts::Accounts;
use crate::api::config::ApiConfig;
use crate::api::feed::Feed;
use crate::cases::Cases;
use crate::config::Config;
use crate::exit::Failure;
use crate::surface::{Surface, offer_first};

/// Opens the server that the configuration describes, and the observer that feeds it; none without the section `[api]`. `cases` are those
/// of the database, which may be away.
pub(super) fn open(config: &Config, cases: Option<&Cases>, tokio: &Runtime) -> Result<Option<(Serving, Feed)>, Failure> {
    let Some(api) = &config.api else { return Ok(None) };
    let feed = Feed::new();
    let accounts = cases.map(|cases| Accounts::new(cases.database().clone()));
    let surface = tokio.block_on(Surface::bind(config, api, feed.reader(), cases.cloned()))?;
    tracing::info!("API and console at {}", surface.url());
    if let Some(accounts) = accounts {
        tokio.spawn(offer_first(accounts, ApiConfig::clone(api), config.directory.clone()));
    }
    Ok(Some((Serving::start(tokio, |end| surface.serve(end)), feed)))
}
