//! `tripline fit`: training data in, a reference profile out, and a summary that shows what was understood.

use std::path::{Path, PathBuf};

use indicatif::{ProgressBar, ProgressStyle};

use super::describe;
use super::output::paths::Paths;
use crate::dataset::open::Packing;
use crate::dataset::{self, DatasetError, Fault, Loaded, ReadOptions};
use crate::exit::{Exit, Failure};
use crate::html::words;
use crate::reference::advice::advice;
use crate::reference::number_style::NumberStyle;
use crate::reference::{Feature, FitError, FitOptions, Kind, PredictionKind, Reference, fit, sign};

const EXAMPLES: &str = "\
Examples:
  tripline fit train.csv --model adult --prediction score
      learn from CSV; writes models/adult/reference.json
  tripline fit train.parquet --model adult --drop customer_id --kind zip=categorical -o adult.json
      leave a column out, and say that a column of numbers holds names
  zcat events.jsonl.gz | tripline fit - --model adult -o adult.json
      learn from a log of events ({\"features\":{..},\"prediction\":..}) of a time without attacks

The file may be CSV, JSON lines or Parquet; CSV and JSON lines also packed as .gz or .zst.";

/// Arguments of `tripline fit`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Training rows: CSV, JSON lines or Parquet; `-` is standard input.
    #[arg(value_name = "FILE")]
    input: PathBuf,
    /// Model name, as in the events.
    #[arg(long, value_name = "NAME")]
    model: String,
    /// Column that holds the model's answer: a score, a label, or probabilities by class.
    #[arg(long, value_name = "COLUMN", default_value = "prediction")]
    prediction: String,
    /// Where to write the profile [default: models/NAME/reference.json].
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Leave a column out (repeatable): row numbers, ids, the true label.
    #[arg(long, value_name = "COLUMN")]
    drop: Vec<String>,
    /// Say what a column holds (repeatable): continuous, discrete, boolean or categorical.
    #[arg(long, value_name = "COLUMN=KIND", value_parser = parse_kind)]
    kind: Vec<(String, Kind)>,
    /// A text that means "no value", besides the empty one (repeatable), such as NaN or ?.
    #[arg(long, value_name = "TEXT")]
    missing: Vec<String>,
    /// Numbers in texts have a decimal comma: 3,5 and 1.234,5.
    #[arg(long, conflicts_with = "thousands")]
    decimal_comma: bool,
    /// Numbers in texts have signs between the thousands: 1,234.5.
    #[arg(long)]
    thousands: bool,
    /// Say what the answers are: score, label or probabilities.
    #[arg(long, value_name = "KIND", value_parser = parse_prediction_kind)]
    prediction_kind: Option<PredictionKind>,
    /// Score at which the decision changes [default: 0.5 if all scores lie in 0 to 1].
    #[arg(long, value_name = "SCORE", allow_negative_numbers = true)]
    threshold: Option<f64>,
    /// Rows kept in the profile as a sample. More rows compare finer, and make a larger file.
    #[arg(long, value_name = "ROWS", default_value_t = FitOptions::default().sample_rows, value_parser = parse_sample_rows)]
    sample_rows: usize,
    /// Sign the profile with this private key (PEM), as `tripline reference sign` does.
    #[arg(long, value_name = "FILE")]
    sign_key: Option<PathBuf>,
    /// Rows read into memory at most; of a longer file a uniform sample is taken.
    #[arg(long, value_name = "ROWS", default_value_t = dataset::DEFAULT_MAX_ROWS, value_parser = parse_max_rows)]
    max_rows: usize,
}

/// Characters of a warning: the words and two names of columns.
const MAX_ADVICE: usize = 400;
/// Fewest rows of the sample and of the data: `fit` needs ten rows for each of ten bins.
const MIN_ROWS: usize = 100;
/// Fewest and most rows of the sample. Chosen: above 200,000 no statistic gains, the file has some 25 MB at 15 features and every start is slower.
const SAMPLE_ROWS: std::ops::RangeInclusive<usize> = MIN_ROWS..=200_000;
/// Deviation from an even spread, as a share of the rows, up to which a column looks like a row number: a saved index differs from
/// even deciles by rounding alone, real quantities by more.
const ROW_NUMBER_UNEVENNESS: f64 = 0.02;

fn parse_kind(text: &str) -> Result<(String, Kind), String> {
    let (column, kind) = text.rsplit_once('=').ok_or("write COLUMN=KIND, such as zip=categorical")?;
    let found = Kind::ALL.into_iter().find(|known| known.name() == kind);
    let found = found.ok_or_else(|| format!("'{kind}' is none of {}", Kind::ALL.map(Kind::name).join(", ")))?;
    Ok((column.to_owned(), found))
}

fn parse_prediction_kind(text: &str) -> Result<PredictionKind, String> {
    let found = PredictionKind::ALL.into_iter().find(|known| known.name() == text);
    found.ok_or_else(|| format!("'{text}' is none of {}", PredictionKind::ALL.map(PredictionKind::name).join(", ")))
}

fn parse_sample_rows(text: &str) -> Result<usize, String> {
    let range = format!("write a number of rows from {} to {}", SAMPLE_ROWS.start(), SAMPLE_ROWS.end());
    text.parse().ok().filter(|n| SAMPLE_ROWS.contains(n)).ok_or(range)
}

fn parse_max_rows(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|&n| n >= MIN_ROWS).ok_or_else(|| format!("write a number of rows, {MIN_ROWS} or more"))
}

/// Runs `tripline fit`.
///
/// # Errors
/// Usage (64) for columns that are not there, data (65) for training data that cannot be learned from, 66 for a missing file,
/// 74 if reading or writing fails.
pub fn run(args: Args) -> Result<(), Failure> {
    let output = output_path(&args)?;
    Paths::default()
        .reads("the training data", &args.input)
        .reads_all("--sign-key", &args.sign_key)
        .writes("-o", &output)
        .check()?;
    // The key is read before the long work, so that a wrong one is found at once.
    let key = args.sign_key.as_deref().map(super::keys::signing_key).transpose()?;
    let loaded = load(&args)?;
    let options = FitOptions {
        model: args.model.clone(),
        kinds: args.kind.clone(),
        prediction_kind: args.prediction_kind,
        threshold: args.threshold,
        sample_rows: args.sample_rows,
    };
    let mut reference = fit(&loaded.dataset, &options).map_err(|e| explain(&e, &args.input, &loaded))?;
    if let Some(key) = &key {
        sign::sign(&mut reference, key);
    }
    let bytes = reference.to_json().map_err(|e| Failure::new(Exit::Internal, e.to_string()))?;
    super::output::write_atomically(&output, &bytes)?;
    super::output::report(&report(&reference, &loaded, &args, &output, bytes.len()), [&output])
}

fn output_path(args: &Args) -> Result<PathBuf, Failure> {
    if args.model.is_empty() {
        return Err(Failure::new(Exit::Usage, "the model's name is empty; give the name that the events have, --model NAME"));
    }
    if let Some(output) = &args.output {
        return Ok(output.clone());
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if !args.model.chars().all(plain) || args.model.starts_with('.') {
        let message = format!("'{}' cannot be a folder's name; say where to write the profile with -o FILE", args.model);
        return Err(Failure::new(Exit::Usage, message));
    }
    Ok(Path::new("models").join(&args.model).join("reference.json"))
}

fn load(args: &Args) -> Result<Loaded, Failure> {
    if args.drop.contains(&args.prediction) {
        let message = format!("column '{}' is the prediction and cannot be left out", args.prediction);
        return Err(Failure::new(Exit::Usage, message));
    }
    let options = ReadOptions {
        prediction: args.prediction.clone(),
        drop: args.drop.clone(),
        verbatim: args.kind.iter().filter(|(_, kind)| *kind == Kind::Categorical).map(|(name, _)| name.clone()).collect(),
        missing: args.missing.clone(),
        numbers: match (args.decimal_comma, args.thousands) {
            (true, _) => NumberStyle::DecimalComma,
            (false, true) => NumberStyle::Thousands,
            (false, false) => NumberStyle::Plain,
        },
        model: Some(args.model.clone()),
        max_rows: args.max_rows,
    };
    let bar = progress_bar(&args.input);
    let loaded = dataset::read(&args.input, &options, &|bytes| bar.inc(bytes));
    bar.finish_and_clear();
    loaded.map_err(|e| Failure::new(exit_of(&e), e.to_string()))
}

/// A bar by bytes, on a terminal only.
fn progress_bar(input: &Path) -> ProgressBar {
    use std::io::IsTerminal as _;
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let size = std::fs::metadata(input).ok().filter(std::fs::Metadata::is_file).map(|m| m.len());
    let (bar, template) = match size {
        Some(size) => (ProgressBar::new(size), "reading {wide_bar} {bytes}/{total_bytes} {eta}"),
        None => (ProgressBar::new_spinner(), "reading {spinner} {bytes}"),
    };
    // A template that does not parse leaves the default style.
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}

fn exit_of(error: &DatasetError) -> Exit {
    match error.fault {
        Fault::NotFound => Exit::NoInput,
        Fault::Io(_) => Exit::Io,
        Fault::NoPrediction { .. } | Fault::NothingToDrop { .. } | Fault::NoSuchModel { .. } | Fault::Unsupported(_) => Exit::Usage,
        _ => Exit::Data,
    }
}

/// A fault of the fit, with the line of the file that the row came from.
fn explain(error: &FitError, input: &Path, loaded: &Loaded) -> Failure {
    let exit = match error {
        FitError::UnknownColumn { .. } => Exit::Usage,
        _ => Exit::Data,
    };
    let row = match error {
        FitError::WrongKind { row, .. }
        | FitError::Mixed { row, .. }
        | FitError::WrongAnswer { row, .. }
        | FitError::AnswerAsText { row, .. } => Some(*row),
        _ => None,
    };
    let file = dataset::open::display_name(input);
    match row.and_then(|row| loaded.lines.get(row.saturating_sub(1))) {
        Some(line) => Failure::new(exit, format!("{file}, line {line}: {error}")),
        None => Failure::new(exit, format!("{file}: {error}")),
    }
}

fn report(reference: &Reference, loaded: &Loaded, args: &Args, output: &Path, bytes: usize) -> String {
    use std::fmt::Write as _;
    let mut text = describe::text(reference);
    let packing = if loaded.packing == Packing::Plain { String::new() } else { format!(", {}", loaded.packing) };
    // Writing to a String cannot fail.
    let _ = writeln!(text, "\nread     {} ({}{packing})", dataset::open::display_name(&args.input), loaded.format);
    let _ = writeln!(text, "written  {} ({} kB)", output.display(), bytes.div_ceil(1000));
    for one in advice(reference, |column| args.kind.iter().any(|(name, _)| name == column)) {
        let _ = writeln!(text, "warning  {}", words::printable(&one.what, MAX_ADVICE));
    }
    for note in notes(reference, loaded) {
        let _ = writeln!(text, "note     {note}");
    }
    text
}

/// What a person should know about the data, though it is no fault.
fn notes(reference: &Reference, loaded: &Loaded) -> Vec<String> {
    let mut notes = Vec::new();
    if loaded.rows_read > loaded.rows_kept() as u64 {
        notes.push(format!(
            "the file has {} rows; learned from a uniform sample of {} (bounded by --max-rows and by {} cells)",
            loaded.rows_read,
            loaded.rows_kept(),
            dataset::MAX_CELLS
        ));
    }
    if loaded.other_models > 0 {
        notes.push(format!("{} events of other models were left out", loaded.other_models));
    }
    for column in &loaded.left_out {
        notes.push(format!("{} was left out: it is a row index that pandas saved", words::printable(column, MAX_ADVICE)));
    }
    let unanswered = reference.prediction.counts.last().copied().unwrap_or(0);
    if unanswered > 0 {
        notes.push(format!("{unanswered} rows have no prediction"));
    }
    for feature in &reference.features {
        let present: u64 = feature.counts.iter().take(feature.bins()).sum();
        if feature.bins() == 1 {
            notes.push(format!(
                "'{0}' has the same value in every row; it is no evidence until it changes (--drop {0} leaves it out)",
                feature.name
            ));
        } else if feature.kind == Kind::Categorical && feature.values.len() as u64 * 2 > present {
            notes.push(format!("'{0}' has a text of its own in most rows; if it is an id, --drop {0}", feature.name));
        } else if looks_like_row_number(feature, present) {
            notes.push(format!("'{0}' counts the rows; if it is a row number, --drop {0}", feature.name));
        }
    }
    notes
}

/// Whole numbers from 0 or 1 up to about the number of rows, evenly spread: what a saved row index looks like.
fn looks_like_row_number(feature: &Feature, present: u64) -> bool {
    let rows = present as f64;
    let even = feature
        .counts
        .iter()
        .take(feature.bins())
        .all(|&n| (n as f64 * feature.bins() as f64 - rows).abs() <= ROW_NUMBER_UNEVENNESS * rows);
    feature.kind == Kind::Continuous
        && feature.decimals == 0
        && (0.0..=1.0).contains(&feature.min)
        && (feature.max - feature.min - rows).abs() <= 1.0
        && even
}
