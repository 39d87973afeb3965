//! `tripline replay`: a log file judged in event time, with verdicts as JSON lines and a summary that a person can read.
//!
//! Nothing here depends on the machine's clock but the progress bar: two replays of the same log give identical bytes.

use std::fs::File;
use std::io::{BufWriter, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use super::load;
use crate::config::Config;
use crate::decode::Decoder;
use crate::engine::{Engine, ModelStatus};
use crate::exit::{Exit, Failure};
use crate::judge::Verdict;
use crate::observer::{ObservedRecord, Observer};
use crate::outcome::{Outcome, OutcomeCounts, RejectReason};
use crate::replay::{Ended, TopicCopy, replay};
use crate::report::page::ReportPage;
use crate::report::sample::Sample;
use crate::report::summary::Summary;
use crate::sink::DeadLetter;
use crate::sink::dead_letter::DeadLetterLine;
use crate::source::file::{FileError, FileSource, STDIN};
use crate::source::kafka::config::is_topic_name;

const EXAMPLES: &str = "\
Examples:
  tripline replay events.jsonl.zst --reference models/adult/reference.json
      judge a log and read the summary
  tripline replay events.jsonl --reference adult.json --verdicts verdicts.jsonl --report report.html
      keep every verdict as a JSON line, and make a page with the pictures
  zcat day*.gz | tripline replay - --reference adult.json --reference flights.json --dead-letters bad.jsonl
      several models from one stream, and what could not be read in a file of its own
  tripline replay partition.jsonl --reference adult.json --topic predictions --verdicts verdicts.jsonl
      repeat what `run` said about a topic with one partition: the same verdicts, ids and query references

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
    /// The log is a copy of this topic, which has one partition: line 1 is offset 0. Verdicts then carry the same case ids and query
    /// references as those of `run` on the topic.
    #[arg(long, value_name = "NAME", value_parser = topic_name)]
    topic: Option<String>,
    /// Unreadable messages that are tolerated: a number, or a share such as 1% (of at least 1000 messages). Events of
    /// models without a reference are counted but do not count here.
    #[arg(long, value_name = "N|N%", default_value = "1%")]
    max_rejects: MaxRejects,
}

/// How much bad data is tolerated.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum MaxRejects {
    Number(u64),
    /// Part of the messages, 0 to 1.
    Share(f64),
}

/// A share of bad data is taken of at least this many messages. Chosen: of ten lines, one bad line says nothing about the log; a
/// thousand lines at the default of 1% tolerate ten.
const SHARE_FLOOR: u64 = 1_000;
/// Bytes of payload kept in a dead letter. A whole message is kept up to the size that Kafka takes by default.
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
    let mut recorder = Recorder {
        log: source.name().to_owned(),
        samples,
        summary,
        max_rejects: args.max_rejects,
        verdicts: args.verdicts.as_deref().map(Output::create).transpose()?,
        dead_letters: args.dead_letters.as_deref().map(Output::create).transpose()?,
        progress: Progress::new(&args.events, &source),
    };
    let source = TopicCopy::new(source, args.topic.as_deref().unwrap_or_default());
    let ended = replay(source, decoder, &mut engine, &mut recorder);
    recorder.progress.bar.finish_and_clear();
    for output in [&mut recorder.verdicts, &mut recorder.dead_letters].into_iter().flatten() {
        output.finish()?;
    }
    if matches!(ended, Ended::Observer(_)) {
        // A replay that was ended early has had no last status.
        recorder.summary.status(engine.status());
    }
    print!("{}", recorder.summary);
    if let Some(path) = &args.report {
        write_report(path, &args.events, &recorder, &engine)?;
    }
    recorder.conclude(ended)
}

fn write_report(path: &Path, events: &Path, recorder: &Recorder, engine: &Engine) -> Result<(), Failure> {
    // The name alone: a report is passed on, and where the log lay is nobody's business.
    let name = events.file_name().filter(|name| *name != STDIN);
    let events = name.map_or("standard input".into(), |name| name.to_string_lossy());
    let page = ReportPage { events: &events, summary: &recorder.summary, samples: &recorder.samples, config: engine.config() };
    super::output::write_atomically(path, page.render().as_bytes())
}

fn topic_name(text: &str) -> Result<String, String> {
    let wrong = || format!("'{text}' is no topic name; Kafka takes letters, digits, '.', '_' and '-'");
    is_topic_name(text).then(|| text.to_owned()).ok_or_else(wrong)
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

/// What a replay keeps: files, counts, samples for the report, the progress bar.
struct Recorder {
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

/// Why the recorder ends a replay.
#[derive(Debug)]
enum Stopped {
    /// There is more bad data than allowed.
    TooMuchBadData,
    /// A file cannot be written.
    Failed(Failure),
}

// === impl Recorder ===

impl Recorder {
    /// Whether there is more bad data than allowed; `whole` says that the log has ended. Before its end, most of it must be bad: that is a
    /// log in another layout. Otherwise the log is judged to its end, because who leaves many bad records may be hiding.
    fn is_too_much(&self, whole: bool) -> bool {
        let unknown = self.summary.rejected(RejectReason::UnknownModel.label());
        let rejected = self.summary.rejections() - unknown;
        let nothing_used = whole && self.summary.accepted + self.summary.late == 0 && rejected + unknown > 0;
        let is_other_layout = rejected > self.summary.messages() / 2;
        (rejected > self.max_rejects.allows(self.summary.messages()) && (whole || is_other_layout)) || nothing_used
    }

    fn dead_letter(&mut self, record: &ObservedRecord<'_>) -> Result<(), Stopped> {
        let message = record.message();
        match (&mut self.dead_letters, DeadLetter::of(record, &message)) {
            (Some(output), Some(letter)) => {
                output.line(&DeadLetterLine::new(&letter, &self.log, DEAD_LETTER_BYTES)).map_err(Stopped::Failed)
            }
            _ => Ok(()),
        }
    }

    /// What the command ends with.
    fn conclude(&self, ended: Ended<FileError, Stopped>) -> Result<(), Failure> {
        match ended {
            Ended::Observer(Stopped::Failed(failure)) => Err(failure),
            Ended::Source(error) => {
                let judged = format!("; the {} events before that were judged", self.summary.accepted + self.summary.late);
                let failure = source_failure(&error);
                Err(Failure::new(failure.exit, failure.message + &judged))
            }
            Ended::Observer(Stopped::TooMuchBadData) => Err(self.too_much_bad_data()),
            Ended::Whole if self.is_too_much(true) => Err(self.too_much_bad_data()),
            Ended::Whole => Ok(()),
        }
    }

    fn too_much_bad_data(&self) -> Failure {
        let Summary { accepted, late, .. } = self.summary;
        let why = match self.summary.first_rejection() {
            Some((reason, example)) => {
                let remedy = RejectReason::ALL.into_iter().find(|known| known.label() == reason).map(RejectReason::remedy);
                let to_do = remedy.map(|remedy| format!(" (to do: {remedy})")).unwrap_or_default();
                format!("; the first is {reason} in line {}: {}{to_do}", example.provenance.offset + 1, example.message)
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

impl Observer for Recorder {
    type Error = Stopped;

    fn keeps_originals(&self) -> bool {
        self.dead_letters.is_some()
    }

    fn record(&mut self, record: &ObservedRecord<'_>) -> Result<(), Stopped> {
        match (record.outcome, record.query) {
            (Outcome::Accepted, Some(query)) => self.summary.accepted(query),
            (Outcome::Late { .. }, Some(query)) => self.summary.late(query),
            (Outcome::Rejected(rejection), _) => self.summary.reject(rejection, record.provenance),
            // Only a decoded record is accepted or late.
            (Outcome::Accepted | Outcome::Late { .. }, None) => {}
        }
        if *record.outcome != Outcome::Accepted {
            self.dead_letter(record)?;
        }
        if let Outcome::Rejected(_) = record.outcome {
            return if self.is_too_much(false) { Err(Stopped::TooMuchBadData) } else { Ok(()) };
        }
        // Few models; a map would cost more than it saves.
        if let Some(query) = record.query
            && let Some(sample) = self.samples.iter_mut().find(|sample| sample.reference().model == query.model)
        {
            sample.take(query, record.gap_seconds);
        }
        Ok(())
    }

    fn verdict(&mut self, verdict: &Verdict) -> Result<(), Stopped> {
        self.summary.verdict(verdict);
        self.verdicts.as_mut().map_or(Ok(()), |output| output.line(verdict).map_err(Stopped::Failed))
    }

    fn status(&mut self, models: &[ModelStatus], _counts: &OutcomeCounts, _elapsed: Duration) -> Result<(), Stopped> {
        self.summary.status(models.to_vec());
        Ok(())
    }

    fn pause(&mut self) {
        self.progress.show(self.summary.accepted + self.summary.late);
    }
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
