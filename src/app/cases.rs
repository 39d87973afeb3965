//! The cases of the service: their database, the feed into it, and its task.

use std::sync::Arc;
use std::time::Duration;

use super::stop::Stop;
use crate::cases::Cases;
use crate::cases::feed::{self, Feed};
use crate::config::Config;
use crate::exit::{Exit, Failure};
use crate::reference::Reference;
use crate::sink::metrics::Metrics;
use crate::store::Database;

/// How long the task may write what waits, when the service ends. What is left becomes cases after the next start.
const DRAIN: Duration = Duration::from_secs(5);
/// How long the whole end may take: the drain, and a statement that hangs.
const END: Duration = Duration::from_secs(8);

/// The running cases.
pub(super) struct CaseService {
    /// For handlers of pages and of the API.
    pub(super) cases: Cases,
    /// The loop's end of the feed.
    pub(super) feed: Feed,
    task: tokio::task::JoinHandle<()>,
    ends: Stop,
}

/// Opens the cases, if there is a database. It may be away; then the service begins without it, and verdicts wait.
pub(super) fn open(
    config: &Config,
    references: &[Arc<Reference>],
    metrics: &Metrics,
    tokio: &tokio::runtime::Runtime,
) -> Result<Option<CaseService>, Failure> {
    if !config.store.is_used() {
        tracing::info!("there are no cases ([store] url): verdicts go to the outputs alone");
        return Ok(None);
    }
    // Connections are made and used on the threads of this runtime.
    let _guard = tokio.enter();
    let database = Database::open(&config.store, &config.directory)?;
    match tokio.block_on(database.migrate()) {
        Ok(()) => {}
        Err(error) if error.is_transient() => tracing::warn!("the service begins without its cases, verdicts wait: {error}"),
        Err(error) => return Err(error.into()),
    }
    let keys = config.audit.keys(&config.directory);
    let keys = keys.map_err(|(setting, what)| Failure::new(Exit::Usage, format!("{setting}: {what}")))?;
    if !keys.is_secret() {
        tracing::warn!("the audit has no key of its own ([audit] key): whoever can write to the database can forge it");
    }
    let cases = Cases::new(database, keys, &config.cases, &config.privacy, &config.directory)?;
    let settings = (&config.cases, &config.privacy, &config.store);
    let (feed, task) = feed::open(cases.clone(), settings, &config.directory, references, metrics)?;
    let ends = Stop::default();
    let asked = ends.clone();
    let task = tokio.spawn(task.starting_with(config.digest.clone()).run(move || asked.asked(), DRAIN));
    Ok(Some(CaseService { cases, feed, task, ends }))
}

// === impl CaseService ===

impl CaseService {
    /// Lets the task write what waits, and closes the database. Nothing is delivered any more.
    pub(super) fn finish(self, tokio: &tokio::runtime::Runtime) {
        self.ends.ask();
        let end = async {
            let ended = tokio::time::timeout(END, self.task).await;
            if ended.is_err() {
                tracing::warn!("the database of cases hangs; verdicts that wait become cases after the next start");
            }
            // A statement that hangs must not hold up the end either.
            let _ = tokio::time::timeout(Duration::from_secs(1), self.cases.database().close()).await;
        };
        tokio.block_on(end);
    }
}
