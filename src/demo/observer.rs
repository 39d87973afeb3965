//! Follows the service of a demo: feeds the read model, tells the demo's state, and prints what is news.

use super::script::Script;
use super::state::DemoState;
use crate::engine::ModelStatus;
use crate::html::words;
use crate::judge::Verdict;
use crate::readmodel::Recorder;
use crate::runtime::partition_merger::Now;
use crate::runtime::{Counts, Watcher};

/// Longest text of a line on the terminal: two lines of a usual one.
const MAX_TEXT: usize = 160;

/// The demo's observer of the service. It runs on the service's own thread.
#[derive(Debug)]
pub struct DemoObserver {
    recorder: Recorder,
    state: DemoState,
}

// === impl DemoObserver ===

impl DemoObserver {
    /// An observer for a demo of `script`.
    pub fn new(script: Script) -> Self {
        let recorder = Recorder::default();
        let state = DemoState::new(script, recorder.read_model());
        Self { recorder, state }
    }

    /// The state that it keeps up to date.
    pub fn state(&self) -> DemoState {
        self.state.clone()
    }
}

impl Watcher for DemoObserver {
    fn verdict(&mut self, verdict: &Verdict) {
        let recorded = self.recorder.take_verdict(verdict);
        if let Some(entry) = self.state.verdict(verdict, recorded) {
            println!("  {}  {:14} {}", entry.at, entry.kind, words::printable(&entry.text, MAX_TEXT));
        }
    }

    fn status(&mut self, status: &[ModelStatus], counts: &Counts, now: Now) {
        self.recorder.take_status(status, counts);
        self.state.status(counts, now.since_start.as_secs_f64());
    }
}
