//! The service's side of what people look at: an observer that keeps the read model, the latest verdicts, and whoever follows them live.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::broadcast;

use crate::engine::ModelStatus;
use crate::judge::Verdict;
use crate::observer::Observer;
use crate::outcome::OutcomeCounts;
use crate::readmodel::{ReadModel, Recorder};

/// Verdicts kept. A verdict takes some kilobytes, so this is a few megabytes.
const MAX_RECENT: usize = 1_000;
/// Verdicts that a slow follower may be behind before it misses some.
const BACKLOG: usize = 256;

/// A verdict with its place in the stream of this process.
#[derive(Clone, Debug)]
pub struct Numbered {
    /// Place, from 1.
    pub place: u64,
    /// The verdict.
    pub verdict: Arc<Verdict>,
}

/// The writer's side.
#[derive(Debug, Default)]
pub struct Feed {
    recorder: Recorder,
    reader: FeedReader,
    place: u64,
}

/// The readers' side. Clones share the same content.
#[derive(Clone, Debug)]
pub struct FeedReader {
    read_model: ReadModel,
    recent: Arc<RwLock<VecDeque<Numbered>>>,
    live: broadcast::Sender<Numbered>,
}

impl Default for FeedReader {
    fn default() -> Self {
        Self { read_model: ReadModel::default(), recent: Arc::default(), live: broadcast::channel(BACKLOG).0 }
    }
}

// === impl Feed ===

impl Feed {
    /// An empty one.
    pub fn new() -> Self {
        let recorder = Recorder::default();
        let reader = FeedReader { read_model: recorder.read_model(), ..FeedReader::default() };
        Self { recorder, reader, place: 0 }
    }

    /// The readers' side.
    pub fn reader(&self) -> FeedReader {
        self.reader.clone()
    }
}

impl Observer for Feed {
    type Error = Infallible;

    fn verdict(&mut self, verdict: &Verdict) -> Result<(), Infallible> {
        self.recorder.take_verdict(verdict);
        self.place += 1;
        let numbered = Numbered { place: self.place, verdict: Arc::new(verdict.clone()) };
        let mut recent = self.reader.recent.write().unwrap_or_else(PoisonError::into_inner);
        if recent.len() == MAX_RECENT {
            recent.pop_front();
        }
        recent.push_back(numbered.clone());
        drop(recent);
        // An error says that nobody follows.
        let _ = self.reader.live.send(numbered);
        Ok(())
    }

    fn status(&mut self, models: &[ModelStatus], counts: &OutcomeCounts, _elapsed: Duration) -> Result<(), Infallible> {
        self.recorder.take_status(models, counts);
        Ok(())
    }
}

// === impl FeedReader ===

impl FeedReader {
    /// Models, callers and campaigns.
    pub const fn read_model(&self) -> &ReadModel {
        &self.read_model
    }

    /// The latest verdicts, latest first.
    pub fn recent(&self) -> Vec<Numbered> {
        self.recent.read().unwrap_or_else(PoisonError::into_inner).iter().rev().cloned().collect()
    }

    /// Verdicts from now on.
    pub fn follow(&self) -> broadcast::Receiver<Numbered> {
        self.live.subscribe()
    }
}
