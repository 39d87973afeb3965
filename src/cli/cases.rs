//! `tripline cases`: cases in the formats of other systems, and what is stored about a person.

use std::path::PathBuf;

use super::load;
use super::output;
use crate::audit::{Actor, ActorKind};
use crate::cases::list::MAX_PAGE;
use crate::cases::rules::Status;
use crate::cases::{CaseFilter, CaseSort, Cases};
use crate::exit::{Exit, Failure};
use crate::export::Format;
use crate::store::Database;

const EXAMPLES: &str = "\
Examples:
  tripline cases export --config tripline.toml --format stix --status confirmed > indicators.json
      confirmed cases as a STIX 2.1 bundle; also json, csv, ocsf and ecs
  tripline cases export --config tripline.toml --id c-0123456789ab
      one case with everything, as JSON
  tripline cases subject --config tripline.toml 203.0.113.7
      everything that is stored about an address or account
  tripline cases erase --config tripline.toml acct-42 --reason 'request of 2026-03-02'
      erase it; the audit's chain stays verifiable

Each is an entry of the audit. Exit codes: 0 done; 64 arguments or configuration; 66 no such case; 74 the database cannot be used.";

/// Arguments of `tripline cases`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    action: Action,
}

/// What `tripline cases` does.
#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Write cases in a format.
    Export {
        /// Configuration file, with the database and the keys.
        #[arg(long, short, value_name = "FILE")]
        config: PathBuf,
        /// Format: json, csv, ocsf, ecs or stix.
        #[arg(long, value_name = "FORMAT", default_value = "json")]
        format: String,
        /// Of this status alone; may be given several times.
        #[arg(long, value_name = "STATUS")]
        status: Vec<String>,
        /// Of this model alone.
        #[arg(long, default_value = "")]
        model: String,
        /// This case alone.
        #[arg(long)]
        id: Option<String>,
    },
    /// Write everything that is stored about an address or account, as JSON.
    Subject {
        /// Configuration file, with the database and the keys.
        #[arg(long, short, value_name = "FILE")]
        config: PathBuf,
        /// The address or account.
        subject: String,
    },
    /// Erase an address or account.
    Erase {
        /// Configuration file, with the database and the keys.
        #[arg(long, short, value_name = "FILE")]
        config: PathBuf,
        /// The address or account.
        subject: String,
        /// Why, for the audit; do not name the person.
        #[arg(long)]
        reason: String,
    },
}

/// Runs `tripline cases`.
///
/// # Errors
/// With the documented exit codes.
pub fn run(args: Args) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::new(Exit::Internal, error.to_string()))?;
    // Who sits at the terminal, as far as the system says.
    let user = std::env::var("SUDO_USER").or_else(|_| std::env::var("LOGNAME")).unwrap_or_else(|_| "unknown".into());
    let who = Actor { kind: ActorKind::Command, name: user };
    runtime.block_on(async {
        match args.action {
            Action::Export { config, format, status, model, id } => {
                let format = Format::read(&format)
                    .ok_or_else(|| Failure::new(Exit::Usage, format!("--format {format}: write json, csv, ocsf, ecs or stix")))?;
                let cases = open(&config).await?;
                let ids = match id {
                    Some(id) => vec![id],
                    None => listed(&cases, &status, model).await?,
                };
                export(&cases, &ids, format, &who).await
            }
            Action::Subject { config, subject } => {
                let export = open(&config).await?.export_subject(&subject, &who).await?;
                print(&export)
            }
            Action::Erase { config, subject, reason } => {
                let erased = open(&config).await?.erase_subject(&subject, &reason, &who).await?;
                print(&erased)
            }
        }
    })
}

async fn open(file: &std::path::Path) -> Result<Cases, Failure> {
    let config = load::config(file)?;
    if !config.store.is_used() {
        return Err(Failure::new(Exit::Usage, "the configuration has no database; set [store] url"));
    }
    let keys = config.audit.keys(&config.directory);
    let keys = keys.map_err(|(setting, what)| Failure::new(Exit::Usage, format!("{setting}: {what}")))?;
    let database = Database::connect(&config.store, &config.directory).await?;
    Ok(Cases::new(database, keys, &config.cases, &config.privacy, &config.directory)?)
}

async fn listed(cases: &Cases, status: &[String], model: String) -> Result<Vec<String>, Failure> {
    let read = |name: &String| {
        let fault = || format!("--status {name}: write open, acknowledged, confirmed, dismissed or closed");
        Status::read(name).ok_or_else(|| Failure::new(Exit::Usage, fault()))
    };
    let status = status.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    let filter = CaseFilter { status, model, ..CaseFilter::default() };
    let (mut ids, mut cursor) = (Vec::new(), None);
    loop {
        let page = cases.list(&filter, CaseSort::FirstSeen, cursor.as_deref(), MAX_PAGE).await?;
        ids.extend(page.cases.into_iter().map(|case| case.id));
        cursor = page.next;
        if cursor.is_none() {
            return Ok(ids);
        }
    }
}

/// Lines are written case by case, so that any number fits in memory; a table and a bundle are one document.
async fn export(cases: &Cases, ids: &[String], format: Format, who: &Actor) -> Result<(), Failure> {
    let mut files = Vec::new();
    for id in ids {
        let file = cases.export(id, who, format.name()).await?;
        if matches!(format, Format::Csv | Format::Stix) {
            files.push(file);
        } else {
            write(format, &[file])?;
        }
    }
    if matches!(format, Format::Csv | Format::Stix) { write(format, &files) } else { Ok(()) }
}

fn write(format: Format, files: &[crate::export::CaseFile]) -> Result<(), Failure> {
    let text = format.write(files).map_err(|error| Failure::new(Exit::Internal, error.to_string()))?;
    output::print(&text)
}

fn print(value: &impl serde::Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value).map_err(|error| Failure::new(Exit::Internal, error.to_string()))?;
    output::print(&format!("{text}\n"))
}
