//! `tripline audit`: walks the chain of signatures, or lists entries.

use std::path::PathBuf;

use super::load;
use super::output;
use crate::audit::verify::Verified;
use crate::audit::{Audit, AuditConfig, AuditFilter, Head, MAX_ENTRIES};
use crate::exit::{Exit, Failure};
use crate::store::{Database, StoreConfig};

const EXAMPLES: &str = "\
Examples:
  tripline audit verify --config tripline.toml
      walk the chain of the database that the configuration names, with its keys
  tripline audit verify sqlite:///var/lib/tripline/tripline.db
      without a configuration: of entries with a key it can only be said that the key is missing
  tripline audit verify --config tripline.toml --head 1042:6f1e…
      also check that a head, which the service logged at a start, is still in the chain
  tripline audit export --config tripline.toml --action case > decisions.jsonl
      entries as JSON lines, the oldest first

Exit codes: 0 whole; 64 arguments, configuration or keys; 65 a broken entry, which is named; 74 the database cannot be read.";

/// Arguments of `tripline audit`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    action: Action,
}

/// What `tripline audit` does.
#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Walk the chain and name the first broken entry.
    Verify {
        /// Which database.
        #[command(flatten)]
        place: Place,
        /// A head that was kept elsewhere, as PLACE:SIGNATURE; it must still be in the chain.
        #[arg(long, value_name = "SEQ:MAC")]
        head: Option<String>,
        /// The finding as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Write entries as JSON lines, the oldest first.
    Export {
        /// Which database.
        #[command(flatten)]
        place: Place,
        /// Of this actor alone.
        #[arg(long, default_value = "")]
        actor: String,
        /// Of this action or area alone, such as case or case.change.
        #[arg(long = "action", default_value = "")]
        of_action: String,
        /// About this subject alone, such as case:c-0123456789ab.
        #[arg(long, default_value = "")]
        subject: String,
    },
}

/// Which database.
#[derive(Debug, clap::Args)]
struct Place {
    /// The database, as in store.url of a configuration, or a path of an SQLite file.
    #[arg(value_name = "DB", required_unless_present = "config")]
    url: Option<String>,
    /// Configuration file: its sections store and audit give the database and the keys.
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Runs `tripline audit`.
///
/// # Errors
/// With the documented exit codes.
pub fn run(args: Args) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::new(Exit::Internal, error.to_string()))?;
    runtime.block_on(async {
        match args.action {
            Action::Verify { place, head, json } => verify(&open(&place)?, head.as_deref(), json).await,
            Action::Export { place, actor, of_action, subject } => {
                export(&open(&place)?, AuditFilter { actor, action: of_action, subject, ..AuditFilter::default() }).await
            }
        }
    })
}

fn open(place: &Place) -> Result<Audit, Failure> {
    let (mut store, audit, directory) = match &place.config {
        Some(file) => {
            let config = load::config(file)?;
            (config.store, config.audit, config.directory)
        }
        None => (StoreConfig::default(), AuditConfig::default(), PathBuf::new()),
    };
    if let Some(url) = &place.url {
        store.url = if url.contains(':') { url.clone() } else { format!("sqlite://{url}") };
    }
    if !store.is_used() {
        return Err(Failure::new(Exit::Usage, "the configuration has no database; set [store] url, or give a database"));
    }
    let usage = |(setting, what): (String, String)| Failure::new(Exit::Usage, format!("{setting}: {what}"));
    // Opening makes a file; looking at one must not.
    let file = store.file(&directory).map_err(|(setting, what)| usage((setting.to_owned(), what)))?;
    if let Some(file) = file.filter(|file| !file.exists()) {
        return Err(Failure::new(Exit::NoInput, format!("there is no database {}; check the path", file.display())));
    }
    let keys = audit.keys(&directory).map_err(usage)?;
    Ok(Audit::new(Database::open(&store, &directory)?, keys))
}

async fn verify(audit: &Audit, head: Option<&str>, json: bool) -> Result<(), Failure> {
    let head = head.map(parsed).transpose()?;
    let found = audit.verify(head.as_ref()).await?;
    if json {
        let line = serde_json::to_string(&found).map_err(|error| Failure::new(Exit::Internal, error.to_string()))?;
        output::print(&format!("{line}\n"))?;
    } else {
        output::print(&words(&found))?;
    }
    match &found.broken {
        None => Ok(()),
        Some(broken) => {
            let remedy = "keep the database as it is for whoever looks into it, and compare with a backup";
            Err(Failure::new(Exit::Data, format!("audit entry {}: {}; {remedy}", broken.seq, broken.what)))
        }
    }
}

fn words(found: &Verified) -> String {
    let mut text = match &found.broken {
        None => format!("{} entries, whole\n", found.entries),
        Some(broken) => format!("{} entries are whole; entry {} is broken: {}\n", found.entries, broken.seq, broken.what),
    };
    if found.erased > 0 {
        text.push_str(&format!("    details of {} were erased, as the chain says\n", found.erased));
    }
    if found.without_key > 0 {
        text.push_str(&format!(
            "    {} were made without a key of your own: whoever can write to the database can forge them\n",
            found.without_key
        ));
    }
    text.push_str(&format!("    head {}:{}\n", found.head.seq, found.head.mac));
    text
}

fn parsed(text: &str) -> Result<Head, Failure> {
    let head = text.split_once(':').and_then(|(seq, mac)| Some(Head { seq: seq.parse().ok()?, mac: mac.to_owned() }));
    head.ok_or_else(|| Failure::new(Exit::Usage, format!("--head {text}: write PLACE:SIGNATURE, as 'audit verify' prints it")))
}

async fn export(audit: &Audit, filter: AuditFilter) -> Result<(), Failure> {
    // The latest come first, a page at a time; they are written the oldest first.
    let mut pages = Vec::new();
    let mut filter = AuditFilter { limit: MAX_ENTRIES, ..filter };
    loop {
        let page = audit.query(&filter).await?;
        let Some(last) = page.last() else { break };
        filter.before = last.seq;
        pages.push(page);
    }
    for record in pages.iter().rev().flat_map(|page| page.iter().rev()) {
        let line = serde_json::to_string(record).map_err(|error| Failure::new(Exit::Internal, error.to_string()))?;
        output::print(&format!("{line}\n"))?;
    }
    Ok(())
}
