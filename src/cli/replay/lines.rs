//! What a replay writes while it runs: files of JSON lines, and a progress bar on a terminal.

use std::io::{IsTerminal as _, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::cli::output::file::OutputFile;
use crate::cli::output::say;
use crate::exit::Failure;
use crate::source::log::LogSource;

/// A file of JSON lines; `-` is standard output.
pub(super) struct Output(OutputFile);

// === impl Output ===

impl Output {
    pub(super) fn create(path: &Path) -> Result<Self, Failure> {
        OutputFile::create(path).map(Self)
    }

    pub(super) fn line(&mut self, value: &impl Serialize) -> Result<(), Failure> {
        let written = serde_json::to_writer(&mut self.0, value).map_err(std::io::Error::from);
        written.and_then(|()| self.0.write_all(b"\n")).map_err(|error| self.0.failed(&error))
    }

    /// Whether nobody reads it any more.
    pub(super) fn is_closed(&self) -> bool {
        self.0.is_closed()
    }

    /// Gives the file its name.
    pub(super) fn finish(self) -> Result<(), Failure> {
        self.0.finish()
    }
}

/// A bar with the rate of events, on a terminal only: by bytes of the log, or by events when it is sorted and their number is known.
pub(super) struct Progress {
    bar: ProgressBar,
    /// Bytes of the log that were read; `None` when the bar goes by events.
    consumed: Option<Arc<AtomicU64>>,
    shown: u64,
}

/// Events between two moves of the bar of a sort. Chosen: some moves a second, at no cost that shows.
const SHOWN_EVERY: u64 = 4_096;

// === impl Progress ===

impl Progress {
    /// A bar by bytes of `source`; `what` is done with `events`.
    pub(super) fn of_bytes(what: &str, events: &Path, source: &LogSource) -> Self {
        let look = if source.size().is_some() {
            "{prefix} {wide_bar} {bytes}/{total_bytes} {msg} {eta}"
        } else {
            "{prefix} {spinner} {bytes} {msg}"
        };
        Self { bar: bar(what, events, source.size(), look), consumed: Some(source.consumed()), shown: 0 }
    }

    /// A bar by events, of which there are `number`.
    pub(super) fn of_events(what: &str, events: &Path, number: u64) -> Self {
        Self { bar: bar(what, events, Some(number), "{prefix} {wide_bar} {pos}/{len} {msg} {eta}"), consumed: None, shown: 0 }
    }

    /// One more event, for a caller that has no other moment to show it.
    pub(super) fn count(&mut self) {
        self.shown += 1;
        if self.shown.is_multiple_of(SHOWN_EVERY) {
            self.show(self.shown);
        }
    }

    /// So many events are done.
    pub(super) fn show(&self, events: u64) {
        if self.bar.is_hidden() {
            return;
        }
        self.bar.set_position(self.consumed.as_ref().map_or(events, |consumed| consumed.load(Ordering::Relaxed)));
        let seconds = self.bar.elapsed().as_secs_f64().max(0.001);
        #[expect(clippy::cast_precision_loss, reason = "a rate to look at")]
        self.bar.set_message(format!("{events} events, {:.0}/s", events as f64 / seconds));
    }

    /// A line for the person, above the bar.
    pub(super) fn say(&self, line: &str) {
        self.bar.suspend(|| say(&format!("tripline: {line}")));
    }

    /// Takes the bar away.
    pub(super) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

fn bar(what: &str, events: &Path, length: Option<u64>, look: &str) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = length.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
    // A template that does not parse leaves the default look.
    if let Ok(style) = ProgressStyle::with_template(look) {
        bar.set_style(style);
    }
    bar.set_prefix(format!("{what} {}", events.display()));
    bar
}
