//! `tripline check`: every fault of a configuration file at once, with its line and what to do.
//!
//! The fastest checks come first: the file itself, then the files that it names, then (with `--connect`) the cluster and the store of the state. A later check
//! runs even if an earlier one found a fault, where that is possible, so one run reports every fault.

use std::path::PathBuf;
use std::time::Duration;

use super::load;
use crate::checkpoint::store::Store;
use crate::config::{Config, ConfigError};
use crate::decode::Decoder;
use crate::engine::Engine;
use crate::exit::{Exit, Failure};
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
        print!("{}", crate::config::EXAMPLE);
        return Ok(());
    }
    let config = match Config::load(&args.file) {
        Err(ConfigError::Faults { path, faults }) => {
            let error = ConfigError::Faults { path, faults };
            return Err(Failure::new(Exit::Usage, error.to_string()));
        }
        Err(_) => load::config(&args.file)?,
        Ok(config) => config,
    };
    println!("{}: no faults", args.file.display());
    let mut failures = Vec::new();
    match models(&config) {
        Ok(names) => println!("reference profiles: {}", names.join(", ")),
        Err(failure) => failures.push(failure),
    }
    if args.connect {
        match connect(&config) {
            Ok(()) => println!("Kafka at {}: answers, and knows {}", config.source.kafka.brokers, topics(&config)),
            Err(failure) => failures.push(failure),
        }
    }
    if !config.state.is_kept() {
        println!("state: none is kept ([state] url), so a restart begins with empty windows");
    } else if args.connect {
        match state(&config) {
            Ok(snapshots) => println!("state at {}: can be read and written, {snapshots} models have snapshots", config.state.url),
            Err(failure) => failures.push(failure),
        }
    }
    let Some(first) = failures.first() else { return Ok(()) };
    let exit = first.exit;
    Err(Failure::new(exit, failures.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")))
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

fn connect(config: &Config) -> Result<(), Failure> {
    let kafka = &config.source.kafka;
    let client = connect::consumer_config(kafka, &config.directory)?;
    let consumer = connect::create(&client, Context::default())?;
    let patience = kafka.connect_timeout.0.min(TIMEOUT);
    Ok(connect::first_contact::<Context>(&consumer, &kafka.brokers, &kafka.topics, patience, &|| false)?)
}
