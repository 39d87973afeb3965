//! From the running service to the database of cases. Detection never waits for the database, and no verdict is lost while it is away.
//!
//! The loop appends each verdict to a [`spool`] on disk, and a commit waits until the spool has reached the disk. One task takes verdicts off
//! the spool, in their order, and writes them in batches. While the database is away it tries again and the spool grows; when the spool is
//! full, verdicts are lost for the cases (not for the other outputs), counted and logged. A verdict that the database refuses is put aside, so
//! that it does not hold up the others. See ADR 0036.

pub mod rows;
pub mod spool;

use std::convert::Infallible;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use super::Cases;
use super::config::{CasesConfig, PrivacyConfig};
use super::intake::{CaseCounts, Taken};
use super::line::{SpoolLine, VerdictLine};
use super::rules::Status;
use crate::clock::{self, Deadline};
use crate::judge::Verdict;
use crate::observer::{ObservedRecord, Observer};
use crate::reference::Reference;
use crate::sink::metrics::Metrics;
use crate::sink::metrics::cases::CaseVerdict;
use crate::sink::{Flushed, SinkError, VerdictSink};
use crate::store::{StoreConfig, StoreError};
use rows::Rows;
use spool::{Batch, SpoolError, SpoolReader, SpoolWriter};

/// Verdicts of one transaction. Chosen: enough that a burst of a campaign is a few transactions, few enough that other writers get their turn.
const BATCH: usize = 200;
/// Pause when there is nothing to do: how soon a verdict is a case. A person does not notice it.
const IDLE: Duration = Duration::from_millis(200);
/// First and longest pause after the database failed.
const RETRY: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(15));
/// Time between readings of the numbers of cases.
const COUNTS: Duration = Duration::from_secs(10);
/// Time between sweeps of what is kept no longer.
const SWEEP: Duration = Duration::from_secs(3_600);

/// The service's end of the feed. Clones share it.
#[derive(Clone, Debug)]
pub struct Feed {
    rows: Arc<Mutex<Rows>>,
    writer: Arc<Mutex<SpoolWriter>>,
    metrics: Metrics,
}

/// The database's end of the feed.
#[derive(Debug)]
pub struct FeedTask {
    reader: SpoolReader,
    cases: Cases,
    metrics: Metrics,
    failing: bool,
    /// Digest of the configuration that the service started with, until the audit has it.
    start: Option<String>,
}

/// Observes the rows that were asked.
struct RowObserver(Arc<Mutex<Rows>>);

/// Takes verdicts into the spool.
struct SpoolSink {
    feed: Feed,
    failing: bool,
}

#[derive(Serialize)]
struct Line<'a> {
    verdict: &'a Verdict,
    queries: Vec<Value>,
}

/// Opens the feed; relative paths begin at `directory`.
///
/// # Errors
/// If the spool cannot be used.
pub fn open(
    cases: Cases,
    (config, privacy, store): (&CasesConfig, &PrivacyConfig, &StoreConfig),
    directory: &Path,
    references: &[Arc<Reference>],
    metrics: &Metrics,
) -> Result<(Feed, FeedTask), StoreError> {
    let folder = config.spool(store, directory).map_err(|(setting, what)| StoreError::Setting { setting, what })?;
    let setting = |error: SpoolError| StoreError::Setting { setting: "cases.spool", what: error.to_string() };
    let (writer, reader) = spool::open(&folder, config.spool_bytes).map_err(setting)?;
    metrics.case_spool(reader.waiting());
    let rows = Rows::new(references.to_vec(), privacy.clone(), cases.seal().clone());
    let feed = Feed { rows: Arc::new(Mutex::new(rows)), writer: Arc::new(Mutex::new(writer)), metrics: metrics.clone() };
    Ok((feed, FeedTask { reader, cases, metrics: metrics.clone(), failing: false, start: None }))
}

// === impl Feed ===

impl Feed {
    /// The observer that remembers rows.
    pub fn observer(&self) -> impl Observer<Error = Infallible> + Send + use<> {
        RowObserver(Arc::clone(&self.rows))
    }

    /// The sink that takes verdicts; a commit waits until they are on the disk.
    pub fn sink(&self) -> impl VerdictSink + use<> {
        SpoolSink { feed: self.clone(), failing: false }
    }

    fn append(&self, verdict: &Verdict) -> Result<(), String> {
        let queries = {
            let rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
            verdict.queries.iter().map(|query| rows.content(query)).collect()
        };
        let line = serde_json::to_string(&Line { verdict, queries }).map_err(|error| error.to_string())?;
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        writer.append(&line).map_err(|error| error.to_string())
    }
}

impl Observer for RowObserver {
    type Error = Infallible;

    fn record(&mut self, record: &ObservedRecord<'_>) -> Result<(), Infallible> {
        if let Some(query) = record.query {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).remember(query);
        }
        Ok(())
    }
}

impl VerdictSink for SpoolSink {
    /// A verdict that the spool does not take is counted and logged. The service goes on: its other outputs have the verdict.
    fn deliver(&mut self, verdict: &Verdict) -> Result<(), SinkError> {
        let appended = self.feed.append(verdict);
        if let Err(what) = &appended {
            self.feed.metrics.case_verdicts(CaseVerdict::Lost, 1);
            if !self.failing {
                tracing::error!("verdicts do not become cases: {what}");
            }
        }
        self.failing = appended.is_err();
        Ok(())
    }

    fn flush(&mut self, _deadline: Deadline) -> Result<Flushed, SinkError> {
        if let Err(error) = self.feed.writer.lock().unwrap_or_else(PoisonError::into_inner).sync() {
            tracing::error!("verdicts may be lost for the cases if this machine fails now: {error}");
        }
        Ok(Flushed::Done)
    }
}

// === impl FeedTask ===

impl FeedTask {
    /// The audit is told of a start with a configuration of this digest.
    #[must_use]
    pub fn starting_with(self, digest: String) -> Self {
        Self { start: Some(digest), ..self }
    }

    /// Writes verdicts into cases until `asked` says that the service ends, and then what still waits, at most until `limit` has passed.
    pub async fn run(mut self, asked: impl Fn() -> bool + Send, limit: Duration) {
        let mut retry = RETRY.0;
        let (mut next_counts, mut next_sweep) = (clock::instant(), clock::instant() + COUNTS);
        let mut deadline: Option<Deadline> = None;
        loop {
            if deadline.is_none() && asked() {
                deadline = Some(Deadline::after(limit));
            }
            if deadline.is_some_and(|deadline| deadline.remaining().is_zero()) {
                return self.leave();
            }
            match self.step().await {
                Ok(true) => retry = RETRY.0,
                // Nothing waits, and nothing more comes.
                Ok(false) if deadline.is_some() => return self.leave(),
                Ok(false) => {
                    self.housekeeping(&mut next_counts, &mut next_sweep).await;
                    tokio::time::sleep(IDLE).await;
                }
                Err(error) => {
                    self.failed(&error);
                    let pause = deadline.map_or(retry, |deadline| deadline.remaining().min(RETRY.0));
                    // In small steps, so that the end of the service is noticed.
                    let until = clock::instant() + pause;
                    while clock::instant() < until && (deadline.is_some() || !asked()) {
                        tokio::time::sleep(IDLE.min(pause)).await;
                    }
                    retry = (retry * 2).min(RETRY.1);
                }
            }
        }
    }

    fn leave(&self) {
        let waiting = self.reader.waiting();
        if waiting > 0 {
            tracing::warn!(waiting, "verdicts wait in the spool; they become cases after the next start");
        }
    }

    /// Writes the next verdicts; false if none wait.
    async fn step(&mut self) -> Result<bool, StoreError> {
        if !self.cases.database().is_migrated() {
            self.cases.database().migrate().await?;
        }
        if let Some(digest) = &self.start {
            self.cases.note_start(digest, env!("CARGO_PKG_VERSION")).await?;
            self.start = None;
        }
        let unreadable = |error: std::io::Error| StoreError::Unavailable(format!("the spool cannot be read: {error}"));
        let batch = self.reader.next(BATCH).map_err(unreadable)?;
        if batch.lines.is_empty() {
            return Ok(false);
        }
        let taken = self.take(&batch).await?;
        self.reader.done(&batch).map_err(unreadable)?;
        self.works();
        for (outcome, number) in [
            (CaseVerdict::Stored, taken.stored),
            (CaseVerdict::Repeated, taken.repeated),
            (CaseVerdict::Suppressed, taken.suppressed),
            (CaseVerdict::Refused, taken.refused),
        ] {
            self.metrics.case_verdicts(outcome, number);
        }
        Ok(true)
    }

    /// Takes a batch. If the database refuses it, one by one, and what it refuses is put aside.
    async fn take(&self, batch: &Batch) -> Result<Taken, StoreError> {
        let (mut all, mut good) = (Taken::default(), Vec::with_capacity(batch.lines.len()));
        for line in &batch.lines {
            match read(line) {
                Ok(read) => good.push(read),
                Err(what) => {
                    self.put_aside(line, &what)?;
                    all.refused += 1;
                }
            }
        }
        match self.cases.take(&good).await {
            Ok(taken) => return Ok(all.and(taken)),
            Err(error) if error.is_transient() => return Err(error),
            Err(error) => tracing::warn!("verdicts are written one by one: {error}"),
        }
        for line in &good {
            match self.cases.take(std::slice::from_ref(line)).await {
                Ok(taken) => all = all.and(taken),
                Err(error) if error.is_transient() => return Err(error),
                Err(error) => {
                    self.put_aside(&line.verdict.to_string(), &error.to_string())?;
                    all.refused += 1;
                }
            }
        }
        Ok(all)
    }

    fn put_aside(&self, line: &str, why: &str) -> Result<(), StoreError> {
        tracing::error!("a verdict does not become a case: {why}; it is in refused.jsonl beside the spool");
        self.reader.put_aside(line).map_err(|error| StoreError::Unavailable(format!("the spool cannot be written: {error}")))
    }

    fn works(&mut self) {
        self.metrics.case_store(true);
        self.metrics.case_spool(self.reader.waiting());
        if std::mem::take(&mut self.failing) {
            tracing::info!("the database of cases works again");
        }
    }

    fn failed(&mut self, error: &StoreError) {
        self.metrics.case_store(false);
        self.metrics.case_spool(self.reader.waiting());
        if !std::mem::replace(&mut self.failing, true) {
            tracing::error!("verdicts wait in the spool, detection goes on: {error}");
        }
    }

    async fn housekeeping(&mut self, next_counts: &mut std::time::Instant, next_sweep: &mut std::time::Instant) {
        let now = clock::instant();
        if now >= *next_counts {
            *next_counts = now + COUNTS;
            // This also shows a database that goes away while nothing waits.
            match self.cases.counts().await {
                Ok(counts) => self.publish(&counts),
                Err(error) => self.failed(&error),
            }
        }
        if now >= *next_sweep {
            *next_sweep = now + SWEEP;
            if let Err(error) = self.cases.sweep(clock::now().micros()).await {
                tracing::warn!("what is kept no longer could not be removed: {error}");
            }
        }
    }

    fn publish(&mut self, counts: &CaseCounts) {
        self.works();
        for status in Status::ALL {
            self.metrics.case_count(status, counts.by_status.get(status.name()).copied().unwrap_or(0));
        }
        for (family, (right, wrong)) in &counts.judged {
            self.metrics.case_precision(family, *right, *wrong);
        }
    }
}

/// A line of the spool, if cases can read it.
fn read(line: &str) -> Result<SpoolLine, String> {
    let read: SpoolLine = serde_json::from_str(line).map_err(|error| error.to_string())?;
    VerdictLine::read(&read.verdict)?;
    Ok(read)
}

// === impl Taken ===

impl Taken {
    /// Both together.
    pub(super) const fn and(self, other: Self) -> Self {
        Self {
            stored: self.stored + other.stored,
            repeated: self.repeated + other.repeated,
            suppressed: self.suppressed + other.suppressed,
            refused: self.refused + other.refused,
        }
    }
}
