//! The configuration file: composed of each stage's own settings, read once, and judged as a whole.
//!
//! Every fault is reported at once, with its line and what to do ([`document`]). Secrets come from the environment or from
//! files and are never printed ([`secret`]). Paths are relative to the file's own directory, so that a configuration can be
//! moved together with what it names.

pub mod document;
pub mod period;
pub mod secret;

use std::path::{Path, PathBuf};

use serde::Deserialize;

pub use document::{Fault, Faults};
pub use period::Period;
pub use secret::Options;

use crate::decode::DecodeConfig;
use crate::engine::{Engine, EngineConfig};
use crate::runtime::config::RuntimeConfig;
use crate::sink::config::SinkConfig;
use crate::source::kafka::config::KafkaConfig;
use crate::telemetry::ServerConfig;

/// The commented file with every default; a test keeps it in step with the code.
pub const EXAMPLE: &str = include_str!("../tripline.example.toml");

/// Everything that `tripline run` is told.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where records come from.
    pub source: SourceConfig,
    /// How records are read.
    pub decode: DecodeConfig,
    /// The models that are watched.
    pub models: Vec<ModelConfig>,
    /// What reference profiles are trusted.
    pub reference: ReferenceConfig,
    /// Windows and judging.
    pub engine: EngineConfig,
    /// Threads, buffers and timers of the service.
    pub runtime: RuntimeConfig,
    /// Where verdicts and rejected records go.
    pub sink: SinkConfig,
    /// Operations endpoint.
    pub server: ServerConfig,
    /// Directory that relative paths begin at; not a setting.
    #[serde(skip)]
    pub directory: PathBuf,
}

/// Sources; today there is one.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SourceConfig {
    /// Apache Kafka.
    pub kafka: KafkaConfig,
}

/// One model.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ModelConfig {
    /// Its reference profile, as `tripline fit` makes it.
    pub reference: PathBuf,
}

/// Trust in reference profiles.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReferenceConfig {
    /// Refuse profiles that no trusted key has signed.
    pub require_signature: bool,
    /// Files with Ed25519 public keys (PEM).
    pub trusted_keys: Vec<PathBuf>,
}

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file is not there or cannot be read.
    #[error("cannot read the configuration {path}: {source}")]
    Read {
        /// Path as given.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It has faults; all of them are listed.
    #[error("{path} has {} fault{}:\n{}", .faults.len(), if .faults.len() == 1 { "" } else { "s" }, listing(.faults))]
    Faults {
        /// Path as given.
        path: PathBuf,
        /// Every fault, by line.
        faults: Vec<Fault>,
    },
}

fn listing(faults: &[Fault]) -> String {
    faults.iter().map(|fault| format!("  {fault}")).collect::<Vec<_>>().join("\n")
}

// === impl Config ===

impl Config {
    /// Reads and judges a file.
    ///
    /// # Errors
    /// [`ConfigError::Read`] if it cannot be read, [`ConfigError::Faults`] with everything that is wrong with it.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.into(), source })?;
        let directory = path.parent().unwrap_or(Path::new("")).to_path_buf();
        Self::from_text(&text, directory).map_err(|faults| ConfigError::Faults { path: path.into(), faults })
    }

    /// Reads and judges a text; relative paths begin at `directory`.
    pub fn from_text(text: &str, directory: PathBuf) -> Result<Self, Vec<Fault>> {
        let (config, mut faults) = document::read::<Self>(text);
        let Some(mut config) = config else { return Err(faults.into_sorted()) };
        config.directory = directory;
        config.validate(&mut faults);
        let faults = faults.into_sorted();
        if faults.is_empty() { Ok(config) } else { Err(faults) }
    }

    /// A path of the file, made relative to the file's directory.
    pub fn path(&self, path: &Path) -> PathBuf {
        self.directory.join(path)
    }

    fn validate(&self, faults: &mut Faults<'_>) {
        self.source.kafka.validate(faults, &self.directory);
        if self.models.is_empty() {
            faults.add("models", "no model is named, so nothing would be watched", "add [[models]] with reference = \"…\"");
        }
        for (index, model) in self.models.iter().enumerate() {
            let setting = format!("models.{index}.reference");
            if model.reference.as_os_str().is_empty() {
                faults.add(&setting, "no reference profile is named", "make one with 'tripline fit' and name its path");
            }
        }
        if self.reference.require_signature && self.reference.trusted_keys.is_empty() {
            let remedy = "name the files of public keys in reference.trusted_keys";
            faults.add("reference.trusted_keys", "signatures are required, but no key is trusted", remedy);
        }
        if let Err(error) = Engine::new(self.engine.clone(), Vec::new()) {
            let text = error.to_string();
            let (setting, what) = text.split_once(": ").unwrap_or(("engine", &text));
            faults.add(setting, what, "see tripline.example.toml for the range");
        }
        if let Err(error) = crate::decode::Decoder::new(&[], self.decode.clone()) {
            faults.add("decode.mapping", error.to_string(), "see tripline.example.toml for how fields are mapped");
        }
        self.runtime.validate(faults);
        self.sink.validate(faults, &self.directory);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::config::DeadLetterConfig;

    #[test]
    fn the_example_file_is_sound_and_states_the_defaults() {
        let config = Config::from_text(EXAMPLE, PathBuf::new()).unwrap();
        let default = RuntimeConfig::default();
        assert_eq!(format!("{:?}", config.runtime), format!("{default:?}"));
        assert_eq!(config.engine, EngineConfig::default());
        assert_eq!(config.server.metrics, ServerConfig::default().metrics);
        assert_eq!(config.sink.dead_letters.topic, DeadLetterConfig::default().topic);
        assert_eq!(config.source.kafka.connect_timeout, KafkaConfig::default().connect_timeout);
    }

    #[test]
    fn all_faults_of_a_file_are_told_at_once() {
        let text = "[source.kafka]\nbrokers = \"\"\ntopics = [\"a b\"]\noptions = { \"sasl.password\" = \"x\", \"group.id\" = \"g\", \"statistics.interval.ms\" = 0 }\n\
                    [runtime]\nbatch_records = 0\nidle_after = \"soon\"\n[server]\nmetrics = \"nowhere\"\n[sinks]\n";
        let faults = Config::from_text(text, PathBuf::new()).unwrap_err();
        let found: Vec<_> = faults.iter().map(|fault| (fault.line, fault.setting.as_str())).collect();
        for wanted in [
            (0, "models"),
            (2, "source.kafka.brokers"),
            (3, "source.kafka.topics"),
            (4, "source.kafka.options.sasl.password"),
            (4, "source.kafka.options.group.id"),
            (4, "source.kafka.options.statistics.interval.ms"),
            (6, "runtime.batch_records"),
            (7, "runtime.idle_after"),
            (9, "server.metrics"),
            (10, "sinks"),
        ] {
            assert!(found.contains(&wanted), "{wanted:?} in {found:?}");
        }
        assert!(faults.iter().all(|fault| !fault.remedy.is_empty()), "{faults:#?}");
    }

    #[test]
    fn a_secret_is_never_shown() {
        let mut config = Config::default();
        config.source.kafka.options.0.insert("sasl.password".into(), "hunter2".into());
        assert!(!format!("{config:?}").contains("hunter2"));
    }
}
