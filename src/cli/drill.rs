//! `tripline drill`: attacks injected into a copy of the user's own log, and what became of them.
//!
//! Arguments, files and the bar are here; the drill itself is [`crate::drill`]. Nothing that is written depends on the machine or
//! the moment but the bar: two drills with the same settings give the same bytes.

mod changes;

use std::io::IsTerminal as _;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use indicatif::{ProgressBar, ProgressStyle};

use super::limit::Limit;
use super::output::paths::Paths;
use super::replay::source_failure;
use super::{load, output};
use crate::config::Config;
use crate::decode::Decoder;
use crate::drill::calibration::Calibration;
use crate::drill::injection::Delivery;
use crate::drill::log::{Log, LogError, LogLimits, LogReader};
use crate::drill::outcome::{DrillOutcome, LogSummary};
use crate::drill::{DrillError, DrillSettings, Progress, card, deliveries, deliveries_without_callers, judge_alone, page, table};
use crate::exit::{Exit, Failure};
use crate::reference::Reference;
use crate::simulate::attack::AttackKind;
use crate::source::file::STDIN;
use crate::source::log::LogSource;

const EXAMPLES: &str = "\
Examples:
  tripline drill --reference models/adult/reference.json events.jsonl.zst
      would attacks in this log be found, how soon, and at which price in false alarms?
  tripline drill --reference adult.json events.jsonl --family grid,line_search --addresses 1,200 --report drill.html
      two attacks, from one address and from two hundred, as a page with pictures
  tripline drill --reference adult.json events.jsonl --delivery rotating
      every attack through rotating proxies: each query from a new address without an account
  tripline drill --reference adult.json events.jsonl --without-callers
      as if nobody had logged addresses and accounts: would the model be said to be probed?
  tripline drill --reference adult.json events.jsonl --min-power 0.9 --json drill.json
      in CI: ends with 1 if fewer than nine of ten attacks are found
  tripline drill --reference adult.json events.jsonl --calibration-only
      what the stated rate of false alarms turned into on this log
  tripline drill --reference adult.json events.jsonl --changes --max-accused 0 --max-wrong 0
      would a release of the pipeline (a space before every text, a unit, a field gone) make it accuse honest callers?

Nothing is sent anywhere and the real model is not asked: a surrogate fitted on the log answers. Attacks: grid, one_at_a_time,
line_search, hopskipjump, boundary, zoo, simba, square, uniform, tempest, jacobian, equation, tree_path, active, membership,
incomplete, inversion, genetic, natural. Natural sampling cannot be told from use; it is reported apart. The log must cover five and a half hours.";

/// Longest model card in bytes; they are written by people.
const MAX_CARD: u64 = 4 << 20;

/// Arguments of `tripline drill`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The log: one JSON event a line, plain or packed as .gz or .zst; `-` is standard input.
    #[arg(value_name = "EVENTS")]
    events: PathBuf,
    /// Reference profile of the model, as `tripline fit` makes it. Events of other models are left out.
    #[arg(long, value_name = "FILE")]
    reference: PathBuf,
    /// Configuration, as for `run`; its sections engine and decode apply.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Attacks to inject, separated by commas [default: all].
    #[arg(long, value_name = "NAME,..", value_delimiter = ',')]
    family: Vec<String>,
    /// Numbers of addresses that attacks come from, separated by commas.
    #[arg(long, value_name = "N,..", value_delimiter = ',', default_values_t = [1, 50], value_parser = clap::value_parser!(u32).range(1..=100_000))]
    addresses: Vec<u32>,
    /// Deliveries to try, separated by commas: fast, slow, cover (slow, every other query a real row), nat, rotating (every query from
    /// a new address without an account, fast and slow) [default: all].
    #[arg(long, value_name = "NAME,..", value_delimiter = ',', value_parser = ["fast", "slow", "cover", "nat", "rotating"])]
    delivery: Vec<String>,
    /// Take addresses and accounts out of the copy of the log. Then nobody can be named, and an attack is found when the model is said
    /// to be probed. Deliveries are fast, slow and cover. With --changes nobody can be accused, and what is said of the model counts.
    #[arg(long, conflicts_with = "addresses")]
    without_callers: bool,
    /// Queries of each attack, cover not counted.
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    budget: u32,
    /// How often each attack is injected in each delivery, at another moment and with other rows.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    repeats: u32,
    /// Seed: the same one gives the same drill.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// End with 1 if the share of attacks found, over all that can be detected, is below this (0 to 1).
    #[arg(long, value_name = "SHARE", value_parser = share)]
    min_power: Option<f64>,
    /// Drill only the last hours of the log.
    #[arg(long, value_name = "HOURS", value_parser = hours)]
    last: Option<f64>,
    /// Events kept in memory; beyond that whole callers are left out, and the report says how many.
    #[arg(long, value_name = "N", default_value_t = DrillSettings::default_events() as u64, value_parser = clap::value_parser!(u64).range(1_000..=100_000_000))]
    max_events: u64,
    /// Inject nothing: say only what the stated rate of false alarms turned into on this log.
    #[arg(long, conflicts_with_all = ["family", "delivery", "min_power", "report", "card"])]
    calibration_only: bool,
    /// Write everything as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write a page with the findings and their pictures; it is one file and opens from disk.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Bring the drill's section of this Markdown model card up to date; it is appended where there is none.
    #[arg(long, value_name = "FILE")]
    card: Option<PathBuf>,
    /// What page and card call the log [default: its file name].
    #[arg(long, value_name = "NAME")]
    log_name: Option<String>,
    /// Unreadable messages that are put up with: a number, or a share such as 1% (of at least 1000 messages).
    #[arg(long, value_name = "N|N%", default_value = "1%")]
    max_rejects: Limit,
    /// Changes instead of attacks.
    #[command(flatten)]
    change: changes::ChangeArgs,
    /// Threads [default: one per core].
    #[arg(long, value_name = "N")]
    threads: Option<NonZeroUsize>,
}

fn share(text: &str) -> Result<f64, String> {
    let fits = text.parse().ok().filter(|share: &f64| (0.0..=1.0).contains(share));
    fits.ok_or_else(|| format!("'{text}' is not a share from 0 to 1, such as 0.9"))
}

fn hours(text: &str) -> Result<f64, String> {
    let fits = text.parse().ok().filter(|hours: &f64| *hours > 0.0 && *hours <= 24.0 * 366.0);
    fits.ok_or_else(|| format!("'{text}' is not a number of hours"))
}

impl From<DrillError> for Failure {
    fn from(error: DrillError) -> Self {
        let exit = match error {
            DrillError::Settings(_) => Exit::Usage,
            DrillError::Reread(_) => Exit::Io,
            _ => Exit::Data,
        };
        Self::new(exit, error.to_string())
    }
}

/// Runs `tripline drill`.
///
/// # Errors
/// Power below the floor, or more accused or wrong than allowed (1), usage (64), a log that cannot be drilled or too much bad data (65), a missing file (66), reading or
/// writing that failed (74).
pub fn run(args: Args) -> Result<(), Failure> {
    let config = args.config.as_deref().map_or_else(|| Ok(Config::default()), load::partial_config)?;
    paths(&args).check()?;
    if let Some(which) = &args.change.changes {
        return changes::run(&args, which, &config);
    }
    let families = families(&args.family)?;
    let reference = Arc::new(load::profile(&args.reference)?);
    let settings = DrillSettings {
        families,
        deliveries: wanted_deliveries(&args)?,
        budget: args.budget as usize,
        repeats: args.repeats,
        seed: args.seed,
        engine: config.engine.clone(),
    };
    let bar = Bar::new();
    let mut log = read(&args, &config, &reference, &bar)?;
    if args.without_callers {
        log.take_callers_away();
    }
    let baseline = judge_alone(&log, &reference, &settings.engine, &|progress| bar.show(progress))?;
    if args.calibration_only {
        bar.clear();
        let calibration = Calibration::of(&log, &baseline, settings.engine.alarms_per_client_day);
        let about = LogSummary::of(&log, &baseline);
        if let Some(path) = &args.json {
            write_json(path, &serde_json::json!({ "model": log.model, "log": about, "calibration": calibration }))?;
        }
        return output::report(&table::calibration(&log.model, &about, &calibration), &args.json);
    }
    let outcome = crate::drill::run(&log, &reference, &settings, &baseline, threads(&args), &|progress| bar.show(progress))?;
    bar.clear();
    if let Some(path) = &args.json {
        write_json(path, &outcome)?;
    }
    let named = log_name(&args);
    if let Some(path) = &args.report {
        output::write_atomically(path, page::DrillPage { outcome: &outcome, log: &named }.render().as_bytes())?;
    }
    if let Some(path) = &args.card {
        let old = read_card(path)?;
        let stamp = card::stamp(&reference, &log.facts.digest, &settings);
        output::write_atomically(path, card::updated(&old, &outcome, &named, &stamp).as_bytes())?;
    }
    output::report(&table::summary(&outcome), args.json.iter().chain(&args.report).chain(&args.card))?;
    args.min_power.map_or(Ok(()), |floor| hold(&outcome, floor))
}

/// The files of a drill, which must differ. A card is read and brought up to date in place.
fn paths(args: &Args) -> Paths {
    Paths::default()
        .reads("the log", &args.events)
        .reads("--reference", &args.reference)
        .reads_all("--config", &args.config)
        .writes("--json", &args.json)
        .writes("--report", &args.report)
        .writes("--card", &args.card)
}

/// The deliveries that are asked for.
fn wanted_deliveries(args: &Args) -> Result<Vec<Delivery>, Failure> {
    let kinds = (!args.delivery.is_empty()).then_some(args.delivery.as_slice());
    if !args.without_callers {
        let addresses: Vec<usize> = args.addresses.iter().map(|&n| n as usize).collect();
        return Ok(deliveries(&addresses, kinds));
    }
    if let Some(kind) = args.delivery.iter().find(|kind| ["nat", "rotating"].contains(&kind.as_str())) {
        let what = format!("--delivery {kind} is about addresses, and a log --without-callers has none; leave one of the two out");
        return Err(Failure::new(Exit::Usage, what));
    }
    Ok(deliveries_without_callers(kinds))
}

/// The text of a model card.
fn read_card(path: &Path) -> Result<String, Failure> {
    String::from_utf8(output::read_file(path, MAX_CARD)?)
        .map_err(|_| Failure::new(Exit::Data, format!("{}: not UTF-8, so no model card", path.display())))
}

fn threads(args: &Args) -> NonZeroUsize {
    args.threads.or_else(|| std::thread::available_parallelism().ok()).unwrap_or(NonZeroUsize::MIN)
}

/// The name of a file alone: a report is passed on, and should not tell where the log lay.
fn file_name(path: &Path) -> Option<String> {
    path.file_name().filter(|name| *name != STDIN).map(|name| name.to_string_lossy().into_owned())
}

/// What page and card call the log.
fn log_name(args: &Args) -> String {
    args.log_name.clone().or_else(|| file_name(&args.events)).unwrap_or_else(|| "standard input".to_owned())
}

/// Whether enough was found.
fn hold(outcome: &DrillOutcome, floor: f64) -> Result<(), Failure> {
    match outcome.all.power.value() {
        None => Err(Failure::new(
            Exit::Usage,
            "--min-power: nothing that can be detected was injected, so there is no power to hold it against",
        )),
        Some(power) if power < floor => Err(Failure::new(
            Exit::Floor,
            format!(
                "{} of the attacks that can be detected were found, which is below the floor of --min-power {floor}",
                table::fraction(outcome.all.power)
            ),
        )),
        Some(_) => Ok(()),
    }
}

fn families(named: &[String]) -> Result<Vec<AttackKind>, Failure> {
    let find = |name: &String| {
        AttackKind::ALL.into_iter().find(|family| family.name() == name.trim()).ok_or_else(|| {
            let all = AttackKind::ALL.map(AttackKind::name).join(", ");
            Failure::new(Exit::Usage, format!("--family: there is no attack '{name}'; attacks are {all}"))
        })
    };
    if named.is_empty() {
        return Ok(AttackKind::ALL.to_vec());
    }
    let wanted: Vec<AttackKind> = named.iter().map(find).collect::<Result<_, _>>()?;
    // In the order of the list, whatever the order of asking, and each once.
    Ok(AttackKind::ALL.into_iter().filter(|family| wanted.contains(family)).collect())
}

/// Reads the log within its bounds.
fn read(args: &Args, config: &Config, reference: &Arc<Reference>, bar: &Bar) -> Result<Log, Failure> {
    let mut settings = config.decode.clone();
    let (mut source, recognised) = if args.change.changes.is_some() {
        // Its copies are made from the lines as they are.
        if settings.mapping.as_ref().is_some_and(|mapping| mapping.record.is_some()) || !settings.rename.is_empty() {
            let message = "--changes rewrites the log's own lines, and reads neither decode.mapping.record nor [decode.rename]; write the records \
                           themselves to a file first (jq -c), with the names of the reference";
            return Err(Failure::new(Exit::Usage, message));
        }
        LogSource::lines(&args.events, settings.max_message_bytes).map(|source| (source, None))
    } else {
        LogSource::open(&args.events, &mut settings, &[Arc::clone(reference)])
    }
    .map_err(|error| source_failure(&error))?;
    if let Some(what) = recognised {
        output::say(&format!("tripline: {}: {what}", name(&args.events)));
    }
    let mut decoder =
        Decoder::new(&[Arc::clone(reference)], settings).map_err(|error| Failure::new(Exit::Usage, error.to_string()))?;
    let limits = LogLimits {
        events: usize::try_from(args.max_events).unwrap_or(usize::MAX),
        last_seconds: args.last.map(|hours| hours * 3600.0),
    };
    let reader = LogReader::new(&reference.model, reference.features.len(), config.engine.allowed_lateness_seconds, limits);
    let (size, consumed) = (source.size(), source.consumed());
    let max_rejects = args.max_rejects;
    let log = reader
        .read(
            &mut source,
            &mut decoder,
            || bar.reading(consumed.load(Ordering::Relaxed), size),
            |facts| facts.rejected > max_rejects.allows_so_far(facts.read),
        )
        .map_err(|error| match error {
            LogError::Source(error) => source_failure(&error),
            LogError::OneCaller(_) => Failure::new(Exit::Data, error.to_string()),
        })?;
    let facts = &log.facts;
    if facts.rejected > max_rejects.allows_so_far(facts.read) {
        let first = facts.first_rejection.clone().unwrap_or_default();
        let message = format!(
            "{}: {} of {} messages could not be read, more than --max-rejects; the first is in {first}",
            name(&args.events),
            facts.rejected,
            facts.read
        );
        return Err(Failure::new(Exit::Data, message));
    }
    Ok(log)
}

fn name(path: &Path) -> String {
    if path.as_os_str() == STDIN { "standard input".to_owned() } else { path.display().to_string() }
}

fn write_json(path: &Path, value: &impl serde::Serialize) -> Result<(), Failure> {
    let mut bytes = serde_json::to_vec_pretty(value).map_err(|error| Failure::new(Exit::Internal, error.to_string()))?;
    bytes.push(b'\n');
    output::write_atomically(path, &bytes)
}

/// A bar on a terminal, and nothing elsewhere.
struct Bar(ProgressBar);

// === impl Bar ===

impl Bar {
    fn new() -> Self {
        let bar = if std::io::stderr().is_terminal() { ProgressBar::new(0) } else { ProgressBar::hidden() };
        // A template that does not parse leaves the default look.
        if let Ok(style) = ProgressStyle::with_template("{msg:24} {wide_bar} {percent:>3}%  {elapsed} elapsed, {eta} to go") {
            bar.set_style(style);
        }
        Self(bar)
    }

    fn set(&self, what: &'static str, done: u64, of: u64) {
        if self.0.is_hidden() {
            return;
        }
        if self.0.message() != what {
            self.0.reset();
            self.0.set_message(what);
        }
        self.0.set_length(of);
        self.0.set_position(done);
    }

    fn reading(&self, done: u64, of: Option<u64>) {
        self.set("reading the log", done, of.unwrap_or(done));
    }

    fn show(&self, progress: Progress) {
        match progress {
            Progress::Baseline(done, of) => self.set("judging the log alone", done as u64, of as u64),
            Progress::Surrogate => self.set("fitting the surrogates", 0, 1),
            Progress::Changes(done, of) => self.set("judging changed logs", done as u64, of as u64),
            Progress::Trials(done, of) => self.set("injecting attacks", done as u64, of as u64),
        }
    }

    fn clear(&self) {
        self.0.finish_and_clear();
    }
}
