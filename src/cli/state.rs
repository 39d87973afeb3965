//! `tripline state`: what the snapshots in an object store are, and whether they are whole.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::load;
use super::output;
use crate::checkpoint::CheckpointError;
use crate::checkpoint::config::StateConfig;
use crate::checkpoint::keys::Keys;
use crate::checkpoint::manifest::{Manifest, SnapshotInfo};
use crate::checkpoint::payload;
use crate::checkpoint::store::Store;
use crate::checkpoint::unit::Unit;
use crate::clock;
use crate::exit::{Exit, Failure};

const EXAMPLES: &str = "\
Examples:
  tripline state show file:///var/lib/tripline
      every snapshot: model, age, size, offsets
  tripline state verify --config tripline.toml
      read every snapshot of the store that the configuration names, with its options and keys
  tripline state show s3://bucket/tripline --json
      as JSON lines, for scripts

Exit codes: 0 done; 64 arguments, configuration or a missing key; 65 a damaged snapshot; 74 the store cannot be read.";

/// Arguments of `tripline state`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// What to do with it.
    #[command(subcommand)]
    action: Action,
}

/// What `tripline state` does.
#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Say what there is.
    Show(Place),
    /// Read every snapshot and say whether it is whole.
    Verify(Place),
}

/// Where the snapshots are.
#[derive(Debug, clap::Args)]
struct Place {
    /// The store, as in `state.url` of a configuration.
    #[arg(value_name = "URL", required_unless_present = "config")]
    url: Option<String>,
    /// Configuration file: its section `state` gives options and keys, and the URL unless one is given.
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,
    /// As JSON lines, for scripts.
    #[arg(long)]
    json: bool,
}

/// A snapshot, as it is shown.
#[derive(Debug, Serialize)]
struct Line<'a> {
    unit: &'a str,
    number: u64,
    generation: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    age_seconds: Option<i64>,
    #[serde(flatten)]
    snapshot: Option<&'a SnapshotInfo>,
    #[serde(skip_serializing_if = "Option::is_none")]
    valid: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fault: Option<String>,
}

/// Runs `tripline state`.
///
/// # Errors
/// With the documented exit codes.
pub fn run(args: Args) -> Result<(), Failure> {
    let (place, verify) = match &args.action {
        Action::Show(place) => (place, false),
        Action::Verify(place) => (place, true),
    };
    let (config, directory) = config_of(place)?;
    let keys = config.keys(&directory).map_err(|(setting, what)| Failure::new(Exit::Usage, format!("{setting}: {what}")))?;
    exists(&config, &directory)?;
    let store = Store::open(&config, &directory)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::new(Exit::Internal, error.to_string()))?;
    runtime.block_on(list(&store, verify.then_some(&keys), place.json))
}

fn config_of(place: &Place) -> Result<(StateConfig, PathBuf), Failure> {
    let (mut config, directory) = match &place.config {
        Some(file) => {
            let config = load::config(file)?;
            (config.state, config.directory)
        }
        None => (StateConfig::default(), PathBuf::new()),
    };
    if let Some(url) = &place.url {
        config.url.clone_from(url);
    }
    if !config.is_kept() {
        return Err(Failure::new(Exit::Usage, "the configuration keeps no state; set [state] url, or give a URL"));
    }
    config.parsed_url(&directory).map_err(|what| Failure::new(Exit::Usage, format!("{}: {what}", config.url)))?;
    Ok((config, directory))
}

/// Opening a store makes its directory; looking at one must not.
fn exists(config: &StateConfig, directory: &Path) -> Result<(), Failure> {
    let folder = config.parsed_url(directory).ok().filter(|url| url.scheme() == "file").and_then(|url| url.to_file_path().ok());
    match folder {
        Some(folder) if !folder.is_dir() => {
            Err(Failure::new(Exit::NoInput, format!("there is no directory {}; check the URL", folder.display())))
        }
        _ => Ok(()),
    }
}

async fn list(store: &Store, verify: Option<&Keys>, json: bool) -> Result<(), Failure> {
    let units = store.units().await?;
    if units.is_empty() && !json {
        output::print(&format!("{}: no snapshots\n", store.url()))?;
    }
    let (mut damaged, mut unusable): (Vec<String>, Vec<String>) = (Vec::new(), Vec::new());
    for folder in units {
        let place = folder.place().to_owned();
        let unit = Unit::new(folder, &place);
        for number in unit.numbers().await?.into_iter().rev() {
            match unit.manifest(number).await {
                Ok(None) => {}
                Ok(Some(manifest)) => {
                    let fault = verified(&unit, &manifest, verify).await?;
                    match &fault {
                        Some(CheckpointError::Unusable(what)) => unusable.push(what.clone()),
                        Some(fault) => damaged.push(fault.to_string()),
                        None => {}
                    }
                    print(&place, &manifest, verify.is_some(), fault.as_ref(), json)?;
                }
                Err(error @ CheckpointError::Store { .. }) => return Err(error.into()),
                Err(error) => {
                    damaged.push(error.to_string());
                    let line = if json { faulty(&place, number, &error)? } else { format!("{place} #{number}: {error}") };
                    output::print(&format!("{line}\n"))?;
                }
            }
        }
    }
    match (damaged.first(), unusable.first()) {
        (None, None) => Ok(()),
        (None, Some(first)) => Err(Failure::new(Exit::Usage, format!("{} cannot be read: {first}", unusable.len()))),
        (Some(first), _) => {
            let remedy = "a service skips them for the ones before; restore the store from a backup, or wait for three new ones";
            Err(Failure::new(Exit::Data, format!("{} damaged: {first}; {remedy}", damaged.len())))
        }
    }
}

/// What is wrong with a snapshot; nothing is read unless there are keys.
async fn verified(unit: &Unit, manifest: &Manifest, keys: Option<&Keys>) -> Result<Option<CheckpointError>, Failure> {
    let (Some(info), Some(keys)) = (&manifest.snapshot, keys) else { return Ok(None) };
    let data = match unit.data(info).await {
        Ok(data) => data,
        Err(error @ CheckpointError::Store { .. }) => return Err(error.into()),
        Err(damaged) => return Ok(Some(damaged)),
    };
    // State of another format is read by the version that wrote it; that it is whole can be said all the same.
    if info.state_format != crate::engine::SNAPSHOT_FORMAT {
        return Ok(payload::verify(&data, &info.data).err());
    }
    Ok(payload::unpack(data, &info.data, keys).err())
}

fn print(place: &str, manifest: &Manifest, verify: bool, fault: Option<&CheckpointError>, json: bool) -> Result<(), Failure> {
    let Manifest { number, generation, snapshot, .. } = manifest;
    let age = snapshot.as_ref().map(|info| (clock::now().micros() - info.taken_micros) / 1_000_000);
    if json {
        let line = Line {
            unit: place,
            number: *number,
            generation: *generation,
            age_seconds: age,
            snapshot: snapshot.as_ref(),
            valid: (verify && snapshot.is_some()).then_some(fault.is_none()),
            fault: fault.map(ToString::to_string),
        };
        let line = serde_json::to_string(&line).map_err(|error| Failure::new(Exit::Internal, error.to_string()))?;
        return output::print(&format!("{line}\n"));
    }
    let claim = if number == generation { " (claim)" } else { "" };
    let Some(info) = snapshot else {
        return output::print(&format!("{place} #{number}{claim}: no snapshot yet\n"));
    };
    let (seconds, data) = (age.unwrap_or_default(), &info.data);
    let encrypted = data.key.as_ref().map_or(String::new(), |key| format!(", key {key}"));
    let mut text = format!(
        "{place} #{number}{claim}: {seconds} s old, {} queries, {} late, {} clients, {} bytes ({} unpacked{encrypted})\n",
        info.queries, info.late, info.clients, data.bytes, data.unpacked_bytes
    );
    for (topic, partitions) in &info.offsets {
        let offsets: Vec<String> = partitions.iter().map(|(partition, offset)| format!("{partition}:{offset}")).collect();
        text.push_str(&format!("    {topic} {}\n", offsets.join(" ")));
    }
    match fault {
        Some(fault) => text.push_str(&format!("    {fault}\n")),
        None if verify => text.push_str("    whole\n"),
        None => {}
    }
    output::print(&text)
}

fn faulty(place: &str, number: u64, error: &CheckpointError) -> Result<String, Failure> {
    let line = Line {
        unit: place,
        number,
        generation: 0,
        age_seconds: None,
        snapshot: None,
        valid: Some(false),
        fault: Some(error.to_string()),
    };
    serde_json::to_string(&line).map_err(|error| Failure::new(Exit::Internal, error.to_string()))
}
