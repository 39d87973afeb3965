//! `tripline check`: every fault of a configuration file at once, with its line and what to do.
//!
//! The fastest checks come first: the file itself, then the files that it names, then (with `--connect`) the cluster and the store of the
//! state. A later check runs even if an earlier one found a fault, where that is possible, so one run reports every fault.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::output::paths::Paths;
use super::{load, output};
use crate::checkpoint::store::Store;
use crate::config::Config;
use crate::decode::Decoder;
use crate::engine::Engine;
use crate::exit::{Exit, Failure};
use crate::repartition::{rows_topic, topic};
use crate::runtime::config::Topology;
use crate::source::kafka::connect;
use crate::source::kafka::context::Context;

const EXAMPLES: &str = "\
Examples:
  tripline check tripline.toml
      every fault of the file, and of the reference profiles it names
  tripline check --connect tripline.toml
      also asks the brokers: are they there, are the credentials right, do the topics exist; and the store of the state: can it
      be read and written
  tripline check --example > tripline.toml
      a commented file to begin with

Exit codes: 0 sound; 64 faults; 66 a missing file or topic; 74 the cluster cannot be reached.";

/// Arguments of `tripline check`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Configuration file.
    #[arg(value_name = "FILE", default_value = "tripline.toml")]
    file: PathBuf,
    /// Also ask the Kafka cluster and the store of the state.
    #[arg(long)]
    connect: bool,
    /// Print a commented configuration with every default, and check nothing.
    #[arg(long)]
    example: bool,
}

/// Longest wait for the cluster. Chosen: a person waits for this command; a slow TLS connection takes a few seconds.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Runs `tripline check`.
///
/// # Errors
/// 64 with every fault; 66 for a missing file or topic; 74 for a cluster that does not answer.
pub fn run(args: Args) -> Result<(), Failure> {
    if args.example {
        return output::print(crate::config::EXAMPLE);
    }
    let config = if args.connect { load::config(&args.file)? } else { load::any_config(&args.file)? };
    let file = args.file.display();
    if config.names_a_source() {
        output::print(&format!("{file}: no faults\n"))?;
    } else {
        output::print(&format!(
            "{file}: no faults; it serves replay and drill. It has no section [source.kafka] or [source.http], which run needs\n"
        ))?;
    }
    let mut failures: Vec<Failure> = paths(&args.file, &config).check().err().into_iter().collect();
    if config.models.is_empty() && !config.names_a_source() {
        Decoder::new(&[], config.decode.clone()).map_err(|error| Failure::new(Exit::Usage, error.to_string()))?;
        output::print("reference profiles: none is named; give them to replay with --reference\n")?;
    } else {
        match models(&config) {
            Ok(names) => output::print(&format!("reference profiles: {}\n", names.join(", ")))?,
            Err(failure) => failures.push(failure),
        }
    }
    if args.connect && config.source.has_kafka() {
        match connect(&config) {
            Ok(()) => {
                output::print(&format!("Kafka at {}: answers, and knows {}\n", config.source.kafka.brokers, topics(&config)))?;
            }
            Err(failure) => failures.push(failure),
        }
        match topology(&config) {
            Ok(what) => output::print(&format!("topology: {what}\n"))?,
            Err(failure) => failures.push(failure),
        }
    }
    if !config.state.is_kept() {
        output::print("state: none is kept ([state] url), so a restart begins with empty windows\n")?;
    } else if args.connect {
        match state(&config) {
            Ok(snapshots) => {
                let url = &config.state.url;
                output::print(&format!("state at {url}: can be read and written, {snapshots} models have snapshots\n"))?;
            }
            Err(failure) => failures.push(failure),
        }
    }
    let Some(first) = failures.first() else { return Ok(()) };
    let exit = first.exit;
    Err(Failure::new(exit, failures.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")))
}

/// The files of the service, which must differ.
pub(super) fn paths(file: &Path, config: &Config) -> Paths {
    let at = |path: &PathBuf| config.path(path);
    let profiles: Vec<PathBuf> = config.models.iter().map(|model| at(&model.reference)).collect();
    let keys: Vec<PathBuf> = config.reference.trusted_keys.iter().map(at).collect();
    Paths::default()
        .reads("the configuration", file)
        .reads_all("a reference profile", &profiles)
        .reads_all("a trusted key", &keys)
        .writes("sink.verdicts.file", &config.sink.verdicts.file.as_ref().map(at))
        .writes("sink.dead_letters.file", &config.sink.dead_letters.file.as_ref().map(at))
}

fn topics(config: &Config) -> String {
    config.source.kafka.topics.join(", ")
}

fn models(config: &Config) -> Result<Vec<String>, Failure> {
    let references = load::references(config)?;
    let names = references.iter().map(|reference| reference.model.clone()).collect();
    let usage = |error: &dyn std::fmt::Display| Failure::new(Exit::Usage, error.to_string());
    Decoder::new(&references, config.decode.clone()).map_err(|error| usage(&error))?;
    Engine::new(config.engine.clone(), references).map_err(|error| usage(&error))?;
    Ok(names)
}

/// Writes an object into the store, lists, and deletes it again; the number of models that have snapshots.
fn state(config: &Config) -> Result<usize, Failure> {
    const PROBE: [&str; 1] = ["check"];
    let store = Store::open(&config.state, &config.directory)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::new(Exit::Internal, error.to_string()))?;
    runtime.block_on(async {
        let own = store.folder(&[&config.source.kafka.group]);
        own.put(&PROBE, b"tripline check".to_vec()).await?;
        let units = own.units().await?;
        own.delete(&PROBE).await?;
        Ok(units.len())
    })
}

/// What the topology means for this file.
fn topology(config: &Config) -> Result<String, Failure> {
    let kafka = &config.source.kafka;
    match config.runtime.topology {
        Topology::Direct if config.runtime.keyed_by_model => {
            Ok("direct; each model must be in one partition of its topic (runtime.keyed_by_model), and a process that finds one in two says so".into())
        }
        Topology::Direct => Ok("direct; one process has all partitions, and a second one of this group is refused (docs/scaling.md)".into()),
        Topology::Repartition => {
            let client = connect::producer_config(kafka, &config.sink.kafka_options, &config.directory)?;
            let rows = topic::check(&client, &rows_topic(&kafka.group), &config.runtime.repartition)?;
            Ok(format!("repartition; {rows}"))
        }
    }
}

fn connect(config: &Config) -> Result<(), Failure> {
    let kafka = &config.source.kafka;
    let client = connect::consumer_config(kafka, &config.directory)?;
    let consumer = connect::create(&client, Context::default())?;
    let patience = kafka.connect_timeout.0.min(TIMEOUT);
    Ok(connect::first_contact::<Context>(&consumer, &kafka.brokers, &kafka.topics, patience, &|| false)?)
}
