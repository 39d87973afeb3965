//! Follows the service of a demo: feeds the read model, tells the demo's state, and prints what is news.

use std::convert::Infallible;
use std::time::Duration;

use super::script::Script;
use super::state::DemoState;
use crate::engine::ModelStatus;
use crate::html::words;
use crate::judge::Verdict;
use crate::observer::Observer;
use crate::outcome::OutcomeCounts;
use crate::readmodel::Recorder;
use crate::terminal::print;

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

impl Observer for DemoObserver {
    type Error = Infallible;

    fn verdict(&mut self, verdict: &Verdict) -> Result<(), Infallible> {
        let recorded = self.recorder.take_verdict(verdict);
        if let Some(entry) = self.state.verdict(verdict, recorded) {
            // The page shows the same; a terminal that is gone misses nothing else.
            let _ = print(&format!("  {}  {:14} {}\n", entry.at, entry.kind, words::printable(&entry.text, MAX_TEXT)));
        }
        Ok(())
    }

    fn status(&mut self, models: &[ModelStatus], counts: &OutcomeCounts, elapsed: Duration) -> Result<(), Infallible> {
        self.recorder.take_status(models, counts);
        self.state.status(counts, elapsed.as_secs_f64());
        Ok(())
    }
}
