//! `tripline replay`: a log file judged in event time, with verdicts as JSON lines and a summary that a person can read.
//!
//! Nothing here depends on the machine's clock but the progress bar: two replays of the same log give identical bytes.

mod lines;
mod recorder;
mod results;

use std::path::PathBuf;

use super::limit::{Limit, Size};
use super::output::paths::Paths;
use super::{load, output};
use crate::config::Config;
use crate::decode::{Batch, Decoder};
use crate::document::Period;
use crate::engine::Engine;
use crate::exit::{Exit, Failure};
use crate::html::words;
use crate::replay::{Ended, TopicCopy, replay};
use crate::report::denylist::{Denylist, Spared};
use crate::report::sample::Sample;
use crate::report::summary::Summary;
use crate::source::file::{FileError, STDIN};
use crate::source::kafka::config::is_topic_name;
use crate::source::log::LogSource;
use crate::source::sorted::SortedSource;
use crate::source::{Record, Source};
use lines::{Output, Progress};
use recorder::{Recorder, Stopped};
use results::Results;

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
  tripline replay shuffled.jsonl.gz --reference adult.json --sort
      a log that is not in time order
  tripline replay today.jsonl --reference adult.json --denylist deny.txt --spare 198.51.100.0/24
      who was found probing, one address a line, for a firewall
  tripline replay today.jsonl --reference adult.json --require-judged --summary -
      for a script: exit code 1 if the log was too short to judge, and the findings as JSON

The log may be plain, .gz or .zst. It need not be sorted, as long as nothing is later than engine.allowed_lateness_seconds; else
use --sort. \"Nothing unusual\" is said after a drift test alone; until then the summary says what is missing, and the verdict in
--summary is \"undetermined\".
Exit codes: 0 done; 1 a model was not judged (--require-judged); 64 usage or configuration; 65 more bad data than --max-rejects
allows, or more late records than --max-late allows; 66 a missing file; 74 reading or writing failed.";

/// Arguments of `tripline replay`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The log: one JSON event a line in any layout that docs/formats.md lists, plain or packed as .gz or .zst, or a table as CSV or
    /// Parquet; `-` is standard input.
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
    max_rejects: Limit,
    /// Records of a model that may come late: a number, or a share. With more, the log is not in time order and the model is not
    /// judged (exit code 65).
    #[arg(long, value_name = "N|N%", default_value = "50%")]
    max_late: Limit,
    /// Sort the log by event time first. What does not fit --sort-memory goes to temporary files in TMPDIR, packed and without a
    /// name. A record without a readable time stays behind the one before it. Offsets remain the lines of the log as it is.
    #[arg(long)]
    sort: bool,
    /// Memory of the sort in bytes, or with K, M or G.
    #[arg(long, value_name = "SIZE", default_value = SORT_MEMORY)]
    sort_memory: Size,
    /// Write what was found and what was judged as one JSON object; `-` is standard output.
    #[arg(long, value_name = "FILE")]
    summary: Option<PathBuf>,
    /// The same as --summary -, the findings as JSON on standard output.
    #[arg(long, conflicts_with = "summary")]
    json: bool,
    /// Write who was found probing: one address or network a line, as firewalls take them, or CSV (duration, scope, value, reason)
    /// with accounts, as 'cscli decisions import' takes it, if the name ends with .csv. Private networks are never in it.
    #[arg(long, value_name = "FILE")]
    denylist: Option<PathBuf>,
    /// An address, a network or an account that is never in the list (repeatable): your own, and those of partners.
    #[arg(long, value_name = "WHO", requires = "denylist")]
    spare: Vec<Spared>,
    /// How long each entry of a CSV list holds.
    #[arg(long, value_name = "DURATION", default_value = "24h", value_parser = Period::parse)]
    denylist_duration: Period,
    /// End with exit code 1 if a model could not be judged: `stable` then is the answer of a test.
    #[arg(long)]
    require_judged: bool,
}

/// Memory of a sort unless given. Chosen: two hundred thousand usual events, and little beside the engine's own memory.
const SORT_MEMORY: &str = "256M";

/// Characters of the sentence on the layout of the log: a few places of fields.
const MAX_RECOGNISED: usize = 600;

/// A log as it is, or sorted.
enum Log {
    AsItIs(Box<LogSource>),
    Sorted(SortedSource),
}

/// Runs `tripline replay`.
///
/// # Errors
/// Usage (64), too much bad data (65), a missing file (66), reading or writing that failed (74).
pub fn run(mut args: Args) -> Result<(), Failure> {
    args.summary = args.summary.or_else(|| args.json.then(|| STDIN.into()));
    let mut config = args.config.as_deref().map_or_else(|| Ok(Config::default()), load::partial_config)?;
    paths(&args, &config).check()?;
    let references = load::named_references(&args.reference, &config)?;
    let usage = |error: &dyn std::fmt::Display| Failure::new(Exit::Usage, error.to_string());
    config.decode = config.decode.of_topic(args.topic.as_deref().unwrap_or_default());
    let opened = LogSource::open(&args.events, &mut config.decode, &references);
    let (source, recognised) = opened.map_err(|error| source_failure(&error))?;
    let name = source.name().to_owned();
    if let Some(what) = recognised {
        output::say(&format!("tripline: {name}: {}", words::printable(&what, MAX_RECOGNISED)));
    }
    let decoder = Decoder::new(&references, config.decode.clone()).map_err(|error| usage(&error))?;
    let lateness_seconds = config.engine.allowed_lateness_seconds;
    let mut engine = Engine::new(config.engine, references.clone()).map_err(|error| usage(&error))?;
    // A path that cannot be written is said before the long work.
    let results = Results::create(&args)?;
    let (log, progress) = if args.sort {
        let decoder = Decoder::new(&references, config.decode).map_err(|error| usage(&error))?;
        let log = sort(source, decoder, &args)?;
        let progress = Progress::of_events("replaying", &args.events, log.records());
        (Log::Sorted(log), progress)
    } else {
        let progress = Progress::of_bytes("replaying", &args.events, &source);
        (Log::AsItIs(Box::new(source)), progress)
    };
    let mut recorder = Recorder {
        log: name,
        summary: Summary::new(&references),
        samples: if args.report.is_some() { references.into_iter().map(Sample::new).collect() } else { Vec::new() },
        max_rejects: args.max_rejects,
        max_late: args.max_late,
        lateness_seconds,
        require_judged: args.require_judged,
        disorder_said: false,
        denylist: args.denylist.is_some().then(|| Denylist::new(args.spare.clone())),
        verdicts: args.verdicts.as_deref().map(Output::create).transpose()?,
        dead_letters: args.dead_letters.as_deref().map(Output::create).transpose()?,
        has_results: results.any(),
        progress,
    };
    let log = TopicCopy::new(log, args.topic.as_deref().unwrap_or_default());
    let ended = replay(log, decoder, &mut engine, &mut recorder);
    recorder.progress.finish();
    if matches!(ended, Ended::Observer(Stopped::Closed)) {
        return Ok(());
    }
    if matches!(ended, Ended::Observer(_)) {
        // A replay that was ended early has had no last status.
        recorder.summary.status(engine.status());
    }
    recorder.note_stop(&ended);
    let max_late = args.max_late;
    let disorder = recorder.summary.note_disorder(lateness_seconds, |queries| max_late.allows(queries));
    keep_lines(&mut recorder, &ended)?;
    output::report(
        &recorder.summary.to_string(),
        [&args.verdicts, &args.dead_letters, &args.summary, &args.report, &args.denylist].into_iter().flatten(),
    )?;
    results.write(&args, &recorder, &engine, &ended)?;
    recorder.conclude(ended, disorder)
}

/// The files of a replay, which must differ.
fn paths(args: &Args, config: &Config) -> Paths {
    let profiles: Vec<PathBuf> = config.models.iter().map(|model| config.path(&model.reference)).collect();
    Paths::default()
        .reads("the log", &args.events)
        .reads_all("--reference", &args.reference)
        .reads_all("--config", &args.config)
        .reads_all("a reference of the configuration", &profiles)
        .writes("--verdicts", &args.verdicts)
        .writes("--dead-letters", &args.dead_letters)
        .writes("--report", &args.report)
        .writes("--summary", &args.summary)
        .writes("--denylist", &args.denylist)
}

/// Gives the files of lines their names if they are whole. Of a log that was not read to its end, dead letters alone are kept when
/// they say why it was not.
fn keep_lines(recorder: &mut Recorder, ended: &Ended<FileError, Stopped>) -> Result<(), Failure> {
    let (verdicts, letters) = (recorder.verdicts.take(), recorder.dead_letters.take());
    if matches!(ended, Ended::Whole) {
        verdicts.map_or(Ok(()), Output::finish)?;
    }
    if matches!(ended, Ended::Whole | Ended::Observer(Stopped::TooMuchBadData)) {
        letters.map_or(Ok(()), Output::finish)?;
    }
    Ok(())
}

/// The log in the order of event time.
fn sort(source: LogSource, mut decoder: Decoder, args: &Args) -> Result<SortedSource, Failure> {
    let mut progress = Progress::of_bytes("sorting", &args.events, &source);
    let mut batch = Batch::default();
    let time_of = |record: &Record<'_>| {
        batch.clear();
        decoder.decode(record, &mut batch).ok()?;
        batch.queries().first().map(|query| query.time)
    };
    let sorted = SortedSource::sort(source, time_of, args.sort_memory.0, || progress.count());
    progress.finish();
    sorted.map_err(|error| source_failure(&error))
}

fn topic_name(text: &str) -> Result<String, String> {
    let wrong = || format!("'{text}' is no topic name; Kafka takes letters, digits, '.', '_' and '-'");
    is_topic_name(text).then(|| text.to_owned()).ok_or_else(wrong)
}

pub(super) fn source_failure(error: &FileError) -> Failure {
    let exit = match error {
        FileError::Missing { .. } => Exit::NoInput,
        FileError::Foreign { .. } => Exit::Data,
        _ => Exit::Io,
    };
    Failure::new(exit, error.to_string())
}

// === impl Log ===

impl Source for Log {
    type Error = FileError;

    fn next(&mut self) -> Result<Option<Record<'_>>, FileError> {
        match self {
            Self::AsItIs(log) => log.next(),
            Self::Sorted(log) => log.next(),
        }
    }
}
