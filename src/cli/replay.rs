//! `tripline replay`: a log file judged in event time, with verdicts as JSON lines and a summary that a person can read.
//!
//! Nothing here depends on the machine's clock but the progress bar: two replays of the same log give identical bytes.

use std::fs::File;
use std::io::{BufWriter, IsTerminal as _, Write as _};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use super::load;
use crate::config::Config;
use crate::decode::{Decoder, Reason};
use crate::engine::{Disposition, Engine, Outbox};
use crate::event::Query;
use crate::exit::{Exit, Failure};
use crate::judge::Verdict;
use crate::replay::{Ended, Observer, Rejected, replay};
use crate::report::page::ReportPage;
use crate::report::sample::Sample;
use crate::report::summary::Summary;
use crate::sink::dead_letter::{Line, base64};
use crate::source::file::{FileError, FileSource, STDIN};

const EXAMPLES: &str = "\
Examples:
  tripline replay events.jsonl.zst --reference models/adult/reference.json
      judge a log and read the summary
  tripline replay events.jsonl --reference adult.json --verdicts verdicts.jsonl --report report.html
      keep every verdict as a JSON line, and make a page with the pictures
  zcat day*.gz | tripline replay - --reference adult.json --reference flights.json --dead-letters bad.jsonl
      several models from one stream, and what could not be read in a file of its own

The log may be plain, .gz or .zst. It need not be sorted, as long as nothing is later than engine.allowed_lateness_seconds.";

/// Arguments of `tripline replay`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The log: one JSON event a line, plain or packed as .gz or .zst; `-` is standard input.
    #[arg(value_name = "EVENTS")]
    events: PathBuf,
    /// Reference profile of a model, as `tripline fit` makes it (repeatable: one a model).
    #[arg(long, value_name = "FILE", required_unless_present = "config")]
    reference: Vec<PathBuf>,
    /// Configuration, as for `run`; its sections engine, decode, reference and, without --reference, models apply.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Write every verdict as a JSON line.
    #[arg(long, value_name = "FILE")]
    verdicts: Option<PathBuf>,
    /// Write every event that could not be used, or came too late for its windows, as a JSON line with the reason and where
    /// it lay.
    #[arg(long, value_name = "FILE")]
    dead_letters: Option<PathBuf>,
    /// Write a page with the findings and their pictures; it is one file and opens from disk.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Unreadable messages that are put up with: a number, or a share such as 1% (of at least 1000 messages). Events of
    /// models without a reference are counted but do not count here.
    #[arg(long, value_name = "N|N%", default_value = "1%")]
    max_rejects: MaxRejects,
}

/// How much bad data is put up with.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum MaxRejects {
    Number(u64),
    /// Part of the messages, 0 to 1.
    Share(f64),
}

/// Share of bad data is judged against at least this many messages: of ten lines, one bad one says nothing about the log.
const SHARE_FLOOR: u64 = 1_000;
/// Payload kept in a dead letter. A whole message is kept up to the size that Kafka takes by default.
const DEAD_LETTER_BYTES: usize = 1024 * 1024;

/// Runs `tripline replay`.
///
/// # Errors
/// Usage (64), too much bad data (65), a missing file (66), reading or writing that failed (74).
pub fn run(args: Args) -> Result<(), Failure> {
    let config = args.config.as_deref().map_or_else(|| Ok(Config::default()), load::partial_config)?;
    let references = load::named_references(&args.reference, &config)?;
    let usage = |error: &dyn std::fmt::Display| Failure::new(Exit::Usage, error.to_string());
    let source = FileSource::open(&args.events, config.decode.max_message_bytes).map_err(|error| source_failure(&error))?;
    let decoder = Decoder::new(&references, config.decode).map_err(|error| usage(&error))?;
    let mut engine = Engine::new(config.engine, references.clone()).map_err(|error| usage(&error))?;
    let summary = Summary::new(&references);
    let samples = if args.report.is_some() { references.into_iter().map(Sample::new).collect() } else { Vec::new() };
    let mut watch = Watch {
        log: source.name().to_owned(),
        samples,
        summary,
        max_rejects: args.max_rejects,
        verdicts: args.verdicts.as_deref().map(Output::create).transpose()?,
        dead_letters: args.dead_letters.as_deref().map(Output::create).transpose()?,
        progress: Progress::new(&args.events, &source),
    };
    let ended = replay(source, decoder, &mut engine, &mut watch);
    watch.progress.bar.finish_and_clear();
    for output in [&mut watch.verdicts, &mut watch.dead_letters].into_iter().flatten() {
        output.finish()?;
    }
    watch.summary.status(engine.status());
    print!("{}", watch.summary);
    if let Some(path) = &args.report {
        // The name alone: a report is passed on, and where the log lay is nobody's business.
        let name = args.events.file_name().filter(|name| *name != STDIN);
        let events = name.map_or("standard input".into(), |name| name.to_string_lossy());
        let page = ReportPage { events: &events, summary: &watch.summary, samples: &watch.samples, config: engine.config() };
        super::output::write_atomically(path, page.render().as_bytes())?;
    }
    match ended {
        Ended::Observer(failure) => Err(failure),
        Ended::Source(error) => {
            let judged = format!("; the {} events before that were judged", watch.summary.accepted + watch.summary.late);
            let failure = source_failure(&error);
            Err(Failure::new(failure.exit, failure.message + &judged))
        }
        Ended::Rejections => Err(watch.too_much_bad_data()),
        Ended::Whole if watch.is_too_much(true) => Err(watch.too_much_bad_data()),
        Ended::Whole => Ok(()),
    }
}

pub(super) fn source_failure(error: &FileError) -> Failure {
    let exit = if matches!(error, FileError::Missing { .. }) { Exit::NoInput } else { Exit::Io };
    Failure::new(exit, error.to_string())
}

// === impl MaxRejects ===

impl std::str::FromStr for MaxRejects {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("'{text}' is neither a number of messages nor a share such as 1%");
        match text.strip_suffix('%') {
            None => text.parse().map(Self::Number).map_err(|_| wrong()),
            Some(share) => {
                let percent = share.trim().parse().ok().filter(|share: &f64| (0.0..=100.0).contains(share));
                percent.map(|percent| Self::Share(percent / 100.0)).ok_or_else(wrong)
            }
        }
    }
}

impl MaxRejects {
    /// Rejections allowed among so many messages.
    #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts of lines")]
    pub(super) fn allows(self, messages: u64) -> u64 {
        match self {
            Self::Number(number) => number,
            Self::Share(share) => (share * messages.max(SHARE_FLOOR) as f64) as u64,
        }
    }
}

/// Everything that watches the replay: files, counts, the progress bar.
struct Watch {
    /// Name of the log.
    log: String,
    summary: Summary,
    /// One a model; empty without `--report`.
    samples: Vec<Sample>,
    max_rejects: MaxRejects,
    verdicts: Option<Output>,
    dead_letters: Option<Output>,
    progress: Progress,
}

// === impl Watch ===

impl Watch {
    /// Whether there is more bad data than allowed; `whole` says that the log has ended.
    fn is_too_much(&self, whole: bool) -> bool {
        let unknown = self.summary.rejected(Reason::UnknownModel.name());
        let rejected = self.summary.rejections() - unknown;
        // Counted against what was read so far, so that a log in another layout ends the replay at once.
        let nothing_used = whole && self.summary.accepted + self.summary.late == 0 && rejected + unknown > 0;
        rejected > self.max_rejects.allows(self.summary.messages()) || nothing_used
    }

    fn deliver(&mut self, record: &Rejected<'_>) -> Result<(), Failure> {
        self.dead_letters.as_mut().map_or(Ok(()), |output| output.line(&dead_letter(&self.log, record)))
    }

    fn too_much_bad_data(&self) -> Failure {
        let Summary { accepted, late, .. } = self.summary;
        let why = match self.summary.first_rejection() {
            Some((reason, example)) => {
                format!("; the first is {reason} in line {}: {}", example.provenance.offset + 1, example.message)
            }
            None => String::new(),
        };
        let count = self.summary.rejections();
        let hint =
            "see --dead-letters for all of them, --max-rejects to allow more, and [decode.mapping] in --config for other layouts";
        let message = if accepted + late == 0 {
            format!("none of {count} events could be used{why}; {hint}")
        } else {
            format!("{count} of {} events could not be used{why}; {hint}", count + accepted + late)
        };
        Failure::new(Exit::Data, message)
    }
}

impl Observer for Watch {
    type Error = Failure;

    fn keeps_payloads(&self) -> bool {
        self.dead_letters.is_some()
    }

    fn query(&mut self, query: &Query, outbox: &Outbox) -> Result<(), Failure> {
        match outbox.disposition {
            Disposition::Accepted => self.summary.accepted(query),
            Disposition::Late(_) => self.summary.late(query),
            // These come back as rejections.
            Disposition::UnknownModel | Disposition::FromTheFuture => return Ok(()),
        }
        // Few models; a map would cost more than it saves.
        if let Some(sample) = self.samples.iter_mut().find(|sample| sample.reference().model == query.model) {
            sample.take(query, outbox.gap_seconds);
        }
        Ok(())
    }

    fn late(&mut self, record: Rejected<'_>) -> Result<(), Failure> {
        self.deliver(&record)
    }

    fn rejected(&mut self, record: Rejected<'_>) -> Result<ControlFlow<()>, Failure> {
        self.summary.reject(&record);
        self.deliver(&record)?;
        Ok(if self.is_too_much(false) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    }

    fn verdict(&mut self, verdict: &Verdict) -> Result<(), Failure> {
        self.summary.verdict(verdict);
        self.verdicts.as_mut().map_or(Ok(()), |output| output.line(verdict))
    }

    fn pause(&mut self) {
        self.progress.show(self.summary.accepted + self.summary.late);
    }
}

/// An event that could not be used, as a line of `--dead-letters`; `log` is the name of the log.
fn dead_letter<'a>(log: &'a str, record: &Rejected<'a>) -> Line<'a> {
    let cut = record.payload.len() > DEAD_LETTER_BYTES;
    let kept = &record.payload[..record.payload.len().min(DEAD_LETTER_BYTES)];
    let payload = match std::str::from_utf8(kept) {
        Ok(text) => Some(text),
        // The cut may have split a character.
        Err(fault) if cut && fault.error_len().is_none() => std::str::from_utf8(&kept[..fault.valid_up_to()]).ok(),
        Err(_) => None,
    };
    let payload_base64 = payload.is_none().then(|| base64(kept));
    let (reason, message) = (record.reason, record.message);
    let &crate::event::Provenance { partition, offset, row, .. } = record.provenance;
    Line { reason, message, topic: log, partition, offset, row, payload, payload_base64, cut, ..Line::default() }
}

/// A file of JSON lines; `-` is standard output.
struct Output {
    path: PathBuf,
    writer: BufWriter<Box<dyn std::io::Write>>,
}

// === impl Output ===

impl Output {
    fn create(path: &Path) -> Result<Self, Failure> {
        let failed = |error: std::io::Error| Failure::new(Exit::Io, format!("{}: cannot be written: {error}", path.display()));
        let writer: Box<dyn std::io::Write> = match path.to_str() {
            Some(STDIN) => Box::new(std::io::stdout()),
            _ => Box::new(File::create(path).map_err(failed)?),
        };
        Ok(Self { path: path.to_owned(), writer: BufWriter::new(writer) })
    }

    fn line(&mut self, value: &impl Serialize) -> Result<(), Failure> {
        serde_json::to_writer(&mut self.writer, value).map_err(std::io::Error::from).map_err(|error| self.failed(&error))?;
        self.writer.write_all(b"\n").map_err(|error| self.failed(&error))
    }

    fn finish(&mut self) -> Result<(), Failure> {
        self.writer.flush().map_err(|error| self.failed(&error))
    }

    fn failed(&self, error: &std::io::Error) -> Failure {
        Failure::new(Exit::Io, format!("{}: cannot be written: {error}", self.path.display()))
    }
}

/// A bar by bytes with the rate of events, on a terminal only.
struct Progress {
    bar: ProgressBar,
    consumed: Arc<AtomicU64>,
}

// === impl Progress ===

impl Progress {
    fn new(events: &Path, source: &FileSource) -> Self {
        let consumed = source.consumed();
        if !std::io::stderr().is_terminal() {
            return Self { bar: ProgressBar::hidden(), consumed };
        }
        let (bar, look) = match source.size() {
            Some(size) => (ProgressBar::new(size), "{prefix} {wide_bar} {bytes}/{total_bytes} {msg} {eta}"),
            None => (ProgressBar::new_spinner(), "{prefix} {spinner} {bytes} {msg}"),
        };
        // A template that does not parse leaves the default look.
        if let Ok(style) = ProgressStyle::with_template(look) {
            bar.set_style(style);
        }
        bar.set_prefix(format!("replaying {}", events.display()));
        Self { bar, consumed }
    }

    fn show(&self, events: u64) {
        if self.bar.is_hidden() {
            return;
        }
        self.bar.set_position(self.consumed.load(Ordering::Relaxed));
        let seconds = self.bar.elapsed().as_secs_f64().max(0.001);
        #[expect(clippy::cast_precision_loss, reason = "a rate to look at")]
        self.bar.set_message(format!("{events} events, {:.0}/s", events as f64 / seconds));
    }
}
