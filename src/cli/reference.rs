//! `tripline reference`: verify, show, calibrate or sign a reference profile.

use std::path::{Path, PathBuf};

use indicatif::ProgressBar;

use super::output::paths::Paths;
use super::{describe, keys, load, output};
use crate::exit::{Exit, Failure};
use crate::reference::load::verifying_keys;
use crate::reference::{ReferenceError, sign};
use crate::simulate::calibration::{self, CalibrationPlan, FalseAlarmRow};

const EXAMPLES: &str = "\
Examples:
  openssl genpkey -algorithm ed25519 -out tripline.pem      make a private key (once; keep it secret)
  openssl pkey -in tripline.pem -pubout -out tripline.pub   and its public half
  tripline reference sign models/adult/reference.json --key tripline.pem
  tripline reference verify models/adult/reference.json --public-key tripline.pub
  tripline reference show models/adult/reference.json
  tripline reference calibrate models/adult/reference.json  how often the drift test alarms when nothing drifts";

/// Arguments of `tripline reference`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// What to do with it.
    #[command(subcommand)]
    action: Action,
}

/// What `tripline reference` does.
#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Check that a profile is whole, unchanged and (with --public-key) signed by whom you trust.
    Verify {
        /// The profile.
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Trusted public key or keys (PEM; repeatable). Without it a signature is checked, but anybody may have made it.
        #[arg(long, value_name = "FILE")]
        public_key: Vec<PathBuf>,
    },
    /// Say what a profile holds.
    Show {
        /// The profile.
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// As JSON, for scripts.
        #[arg(long, conflicts_with = "markdown")]
        json: bool,
        /// As Markdown tables, for a model card.
        #[arg(long)]
        markdown: bool,
    },
    /// Measure how often the drift test alarms on windows drawn from the profile itself, where nothing drifts.
    Calibrate {
        /// The profile.
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Windows drawn for each line of the table. Lines with several rows a caller draw fewer where that takes too long.
        #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
        windows: u64,
        /// Seed; the same seed gives the same table.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// How much one caller's rows resemble each other (intra-class correlation), above 0 and below 1.
        #[arg(long, default_value_t = 0.1, value_parser = correlation)]
        correlation: f64,
        /// As JSON, for scripts.
        #[arg(long, conflicts_with = "markdown")]
        json: bool,
        /// As a Markdown table.
        #[arg(long)]
        markdown: bool,
    },
    /// Sign a profile with an Ed25519 key.
    Sign {
        /// The profile.
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Private key (PEM); without it the environment variable TRIPLINE_SIGNING_KEY holds the key itself.
        #[arg(long, value_name = "FILE")]
        key: Option<PathBuf>,
        /// Where to write the signed profile [default: in place].
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
}

/// Runs `tripline reference`.
///
/// # Errors
/// 64 for wrong keys, 65 for a profile that is damaged, changed or not signed as asked, 66 for a missing file, 74 if reading
/// or writing fails.
pub fn run(args: Args) -> Result<(), Failure> {
    match args.action {
        Action::Verify { file, public_key } => verify(&file, &public_key),
        Action::Show { file, json, markdown } => show(&file, json, markdown),
        Action::Calibrate { file, windows, seed, correlation, json, markdown } => {
            calibrate(&file, &CalibrationPlan { windows, seed, correlation }, json, markdown)
        }
        Action::Sign { file, key, output } => {
            // In place is what no -o means; the name of the profile itself behind -o is a mistake.
            let paths = Paths::default().reads_all("--key", &key).writes("-o", &output);
            if output.is_some() { paths.reads("the profile (leave -o out to sign in place)", &file) } else { paths }.check()?;
            sign_file(&file, key.as_deref(), output.as_ref().unwrap_or(&file))
        }
    }
}

fn wrong(file: &Path, error: &ReferenceError) -> Failure {
    Failure::new(Exit::Data, format!("{}: {error}", file.display()))
}

fn verify(file: &Path, public_keys: &[PathBuf]) -> Result<(), Failure> {
    let trusted = verifying_keys(public_keys).map_err(|error| load::failure(error, Exit::Usage))?;
    let reference = load::profile(file)?;
    let words = if trusted.is_empty() {
        match sign::signer(&reference).map_err(|e| wrong(file, &e))? {
            None => "not signed".to_owned(),
            Some(key) => {
                format!("signed by {}; give --public-key to check that this is a key you trust", sign::fingerprint(&key))
            }
        }
    } else {
        let key = sign::verify(&reference, &trusted).map_err(|e| wrong(file, &e))?;
        format!("signed by the trusted key {}", sign::fingerprint(&key))
    };
    output::print(&format!(
        "{}: model '{}', {} features, {} rows: whole and unchanged (sha256 {}); {words}\n",
        file.display(),
        reference.model,
        reference.features.len(),
        reference.rows,
        reference.digest
    ))
}

fn show(file: &Path, json: bool, markdown: bool) -> Result<(), Failure> {
    let reference = load::profile(file)?;
    let text = match (json, markdown) {
        (true, _) => format!("{:#}\n", describe::json(&reference)),
        (_, true) => describe::markdown(&reference),
        _ => describe::text(&reference),
    };
    output::print(&text)
}

fn correlation(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if value > 0.0 && value < 1.0 => Ok(value),
        _ => Err("must be a number above 0 and below 1".to_owned()),
    }
}

fn calibrate(file: &Path, plan: &CalibrationPlan, json: bool, markdown: bool) -> Result<(), Failure> {
    let reference = load::profile(file)?;
    let lines = calibration::ROWS.len() + calibration::CLUSTERED_ROWS.len();
    // Hidden unless standard error is a terminal.
    let bar = ProgressBar::new(lines as u64).with_message("lines");
    let table = calibration::run(&reference, plan, &|done| bar.set_position(done as u64));
    bar.finish_and_clear();
    if table.is_empty() {
        let message = format!("{}: every column of the profile has one value only; there is nothing to test", file.display());
        return Err(Failure::new(Exit::Data, message));
    }
    if json {
        let text = serde_json::to_string_pretty(&table).map_err(|e| Failure::new(Exit::Internal, e.to_string()))?;
        return output::print(&(text + "\n"));
    }
    let columns = reference.features.len() + 1;
    let mut text = format!(
        "False alarms of the drift test in percent, on windows drawn from the profile of '{}' ({columns} columns, over again up to 100).\n\
         Nominal is 1 %, for one column and for the most significant of several; ± is one standard error. The last column is\n\
         what the engine asks of one look: a level of {:.0e} for one column, and an effect that matters.\n\n",
        reference.model,
        crate::judge::drift::level(100)
    );
    let head = ["rows", "callers", "N/N_eff", "1 column", "10 columns", "32 columns", "100 columns", "as used"].map(String::from);
    let rows: Vec<[String; 8]> = std::iter::once(head).chain(table.iter().map(|line| cells(line, plan))).collect();
    for (nth, row) in rows.iter().enumerate() {
        if markdown {
            text.push_str(&format!("| {} |\n", row.join(" | ")));
            if nth == 0 {
                text.push_str("|---:|---|---:|---:|---:|---:|---:|---:|\n");
            }
        } else {
            let [a, b, c, d, e, f, g, h] = row;
            text.push_str(&format!("{a:>9}  {b:<14}  {c:>7}  {d:>12}  {e:>12}  {f:>12}  {g:>12}  {h:>12}\n"));
        }
    }
    output::print(&text)
}

fn cells(line: &FalseAlarmRow, plan: &CalibrationPlan) -> [String; 8] {
    let percent = |share: &calibration::AlarmShare| format!("{:.2} ± {:.2}", share.rate() * 100.0, share.error() * 100.0);
    let [one, ten, more, most] = &line.nominal;
    [
        crate::html::words::count(line.rows),
        if line.clustered { format!("1–8 rows, {}", plan.correlation) } else { "1 row each".to_owned() },
        format!("{:.2}", line.design_effect),
        percent(one),
        percent(ten),
        percent(more),
        percent(most),
        format!("{} of {}", line.as_used.alarms, line.as_used.trials),
    ]
}

fn sign_file(file: &Path, key: Option<&Path>, destination: &PathBuf) -> Result<(), Failure> {
    let key = match key {
        Some(path) => keys::signing_key(path)?,
        None => keys::signing_key_from_environment()?.ok_or_else(|| {
            let message = format!("no key to sign with; give --key FILE, or put the key into {}", keys::SIGNING_KEY_VARIABLE);
            Failure::new(Exit::Usage, message)
        })?,
    };
    let mut reference = load::profile(file)?;
    sign::sign(&mut reference, &key);
    let bytes = reference.to_json().map_err(|e| Failure::new(Exit::Internal, e.to_string()))?;
    output::write_atomically(destination, &bytes)?;
    let name = sign::fingerprint(&key.verifying_key());
    output::report(&format!("{}: model '{}' signed by {name}\n", destination.display(), reference.model), [destination])
}
