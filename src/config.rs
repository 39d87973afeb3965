//! The configuration file: composed of each stage's own settings, read once, and validated as a whole.
//!
//! Every fault is reported at once, with its line and what to do ([`document`]). Secrets come from the environment or from files
//! and are never printed ([`secret`](crate::document::secret)). Relative paths begin at the file's own directory, so that a
//! configuration can be moved together with the files that it names.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;

pub use crate::document::{Fault, Faults, Options, Period};
pub use crate::reference::config::{ModelConfig, ReferenceConfig};

use crate::api;
use crate::decode::{DecodeConfig, Mapping};
use crate::document;
use crate::engine::{Engine, EngineConfig};

/// The commented file with every default; a test keeps it in step with the code.
pub const EXAMPLE: &str = include_str!("../tripline.example.toml");

/// Everything that `tripline run` can be told.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where records come from.
    pub source: SourceConfig,
    /// How records are read.
    pub decode: DecodeConfig,
    /// The models to watch.
    pub models: Vec<ModelConfig>,
    /// Which reference profiles are trusted.
    pub reference: ReferenceConfig,
    /// Windows and judging.
    pub engine: EngineConfig,
    /// Threads, buffers and timers of the service.
    pub runtime: RuntimeConfig,
    /// Where verdicts and rejected records go.
    pub sink: SinkConfig,
    /// Operations endpoint.
    pub server: ServerConfig,
    /// Directory at which relative paths begin; not a setting.
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

/// A Kafka consumer group.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KafkaConfig {
    /// Brokers to begin at, `host:port`, separated by commas.
    pub brokers: String,
    /// Topics to read.
    pub topics: Vec<String>,
    /// Consumer group; its members share the partitions.
    pub group: String,
    /// How long a cluster may stay silent at the start before the service gives up.
    pub connect_timeout: Period,
    /// Any option of librdkafka, by its own name; it goes before Tripline's defaults.
    pub options: Options,
}

/// How the service works.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RuntimeConfig {
    /// Threads that decode; 0 takes one per processor, at most eight.
    pub decode_threads: usize,
    /// Threads that judge; models are shared out among them, so more than there are models are idle.
    pub engine_shards: usize,
    /// Records taken from the source in one go.
    pub batch_records: usize,
    /// Records held while partitions wait for each other.
    pub buffer_records: usize,
    /// Bytes of messages held; beyond it reading pauses until half is worked off.
    pub buffer_bytes: usize,
    /// A partition that says nothing for this long no longer holds back the others.
    pub idle_after: Period,
    /// How far, at most, event time moves on past the last event while nothing arrives.
    pub idle_advance: Period,
    /// Time between commits.
    pub commit_interval: Period,
    /// Time between refreshes of the model metrics.
    pub status_interval: Period,
    /// How long a shutdown may take for finishing, delivering and committing.
    pub shutdown_timeout: Period,
}

/// Sinks.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SinkConfig {
    /// Verdicts.
    pub verdicts: VerdictConfig,
    /// Records that could not be read or used.
    pub dead_letters: DeadLetterConfig,
    /// librdkafka options of the producer of both; those of the source that concern the connection apply already.
    pub kafka_options: Options,
}

/// Where verdicts go; both, one or none.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct VerdictConfig {
    /// Topic; empty for none.
    pub topic: String,
    /// File that JSON lines are appended to.
    pub file: Option<PathBuf>,
}

/// Where rejected records go.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DeadLetterConfig {
    /// Topic; `{topic}` stands for the record's own. Empty for none.
    pub topic: String,
    /// File that JSON lines are appended to, instead of the topic.
    pub file: Option<PathBuf>,
    /// Whether late events are kept, too (they were used; the copy is for the audit).
    pub late: bool,
}

/// The operations endpoint.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServerConfig {
    /// Address of `/metrics`, `/livez` and `/readyz`.
    pub metrics: SocketAddr,
}

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file is not there or cannot be read.
    #[error("{}: the configuration cannot be read: {source}; correct the path, or make the file readable by this user", .path.display())]
    Read {
        /// Path as given.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It is not text.
    #[error("{}: the configuration is not UTF-8 text; save it as UTF-8", .path.display())]
    NotUtf8 {
        /// Path as given.
        path: PathBuf,
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

// === impl defaults ===

impl Default for KafkaConfig {
    fn default() -> Self {
        Self {
            brokers: String::new(),
            topics: Vec::new(),
            group: "tripline".into(),
            // A broker that restarts takes some ten seconds; an orchestrator waits about a minute.
            connect_timeout: Period::seconds(30),
            options: Options::default(),
        }
    }
}

impl Default for RuntimeConfig {
    fn default() -> Self {
        Self {
            decode_threads: 0,
            engine_shards: 1,
            // Some milliseconds of work: enough to share out among threads, little enough to stay responsive.
            batch_records: 2_048,
            // About 60 MB of typical events, and a few seconds of a fast catch-up.
            buffer_records: 65_536,
            // A quarter of a gigabyte: with the engine's own memory it fits the one gigabyte that a container usually has.
            buffer_bytes: 268_435_456,
            idle_after: Period::seconds(10),
            // Enough to close the panes that the last events fell into.
            idle_advance: Period::seconds(300),
            // Committing after every message starves heartbeats; five seconds is what librdkafka itself does.
            commit_interval: Period::seconds(5),
            status_interval: Period::seconds(5),
            // Kubernetes kills after 30 s.
            shutdown_timeout: Period::seconds(20),
        }
    }
}

impl Default for DeadLetterConfig {
    fn default() -> Self {
        Self { topic: "{topic}.dlq".into(), file: None, late: true }
    }
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self { metrics: api::DEFAULT_LISTEN }
    }
}

// === impl Config ===

impl Config {
    /// Reads and validates a file for the service.
    ///
    /// # Errors
    /// [`ConfigError::Read`] or [`ConfigError::NotUtf8`] if it cannot be read, [`ConfigError::Faults`] with every fault.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        Self::load_with(path, Self::validate)
    }

    /// Reads and validates a file for `replay` and `drill`: settings that only the service needs may be missing.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn load_partial(path: &Path) -> Result<Self, ConfigError> {
        Self::load_with(path, Self::validate_core)
    }

    fn load_with(path: &Path, validate: fn(&Self, &mut Faults<'_>)) -> Result<Self, ConfigError> {
        let bytes = std::fs::read(path).map_err(|source| ConfigError::Read { path: path.into(), source })?;
        let text = String::from_utf8(bytes).map_err(|_| ConfigError::NotUtf8 { path: path.into() })?;
        let directory = path.parent().unwrap_or(Path::new("")).to_path_buf();
        Self::parse(&text, directory, validate).map_err(|faults| ConfigError::Faults { path: path.into(), faults })
    }

    /// Reads and validates a text for the service; relative paths begin at `directory`.
    ///
    /// # Errors
    /// Every fault, in the order of lines.
    pub fn from_text(text: &str, directory: PathBuf) -> Result<Self, Vec<Fault>> {
        Self::parse(text, directory, Self::validate)
    }

    fn parse(text: &str, directory: PathBuf, validate: fn(&Self, &mut Faults<'_>)) -> Result<Self, Vec<Fault>> {
        let (config, mut faults) = document::read::<Self>(text);
        let Some(mut config) = config else { return Err(faults.into_sorted()) };
        config.directory = directory;
        validate(&config, &mut faults);
        let faults = faults.into_sorted();
        if faults.is_empty() { Ok(config) } else { Err(faults) }
    }

    /// A path of the file, made relative to the file's directory.
    pub fn path(&self, path: &Path) -> PathBuf {
        self.directory.join(path)
    }

    /// Notes every fault of the whole configuration.
    fn validate(&self, faults: &mut Faults<'_>) {
        self.source.kafka.validate(faults, &self.directory);
        ModelConfig::validate_all(&self.models, faults);
        self.validate_core(faults);
        self.runtime.validate(faults);
        self.sink.validate(faults, &self.directory);
    }

    /// Notes the faults of what every command uses: trust, decoding and the engine.
    fn validate_core(&self, faults: &mut Faults<'_>) {
        self.reference.validate(faults);
        for fault in self.decode.mapping.iter().flat_map(Mapping::faults) {
            let setting = format!("decode.mapping.{}", fault.setting);
            faults.add(&setting, fault.what, "see tripline.example.toml for how fields are mapped");
        }
        if let Err(error) = Engine::new(self.engine.clone(), Vec::new()) {
            let text = error.to_string();
            let (setting, what) = text.split_once(": ").unwrap_or(("engine", &text));
            faults.add(setting, what, "see tripline.example.toml for the range");
        }
    }
}

// === impl KafkaConfig ===

/// Options that the service sets itself, and why they are not the user's.
const OWN_OPTIONS: [(&str, &str); 5] = [
    ("bootstrap.servers", "write source.kafka.brokers instead"),
    ("metadata.broker.list", "write source.kafka.brokers instead"),
    ("group.id", "write source.kafka.group instead"),
    ("enable.auto.commit", "remove it: offsets are committed only after what they cover was delivered"),
    ("enable.auto.offset.store", "remove it: offsets are committed only after what they cover was delivered"),
];

impl KafkaConfig {
    fn validate(&self, faults: &mut Faults<'_>, directory: &Path) {
        let at = "source.kafka";
        if self.brokers.trim().is_empty() {
            faults.add(&format!("{at}.brokers"), "no broker is named", "write brokers = \"host:9092\"");
        }
        if self.topics.is_empty() {
            faults.add(&format!("{at}.topics"), "no topic is named", "write topics = [\"predictions\"]");
        }
        for topic in &self.topics {
            let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
            // librdkafka reads a leading '^' as a pattern; the rest is Kafka's own rule for names.
            if topic.is_empty() || topic.len() > 249 || !topic.starts_with('^') && !topic.chars().all(legal) {
                let what = format!("'{topic}' is no topic name");
                faults.add(&format!("{at}.topics"), what, "use letters, digits, '.', '_' and '-', at most 249 of them");
            }
        }
        if self.group.is_empty() {
            faults.add(&format!("{at}.group"), "the consumer group has no name", "write group = \"tripline\"");
        }
        for (name, remedy) in OWN_OPTIONS {
            if self.options.0.contains_key(name) {
                faults.add(&format!("{at}.options.{name}"), "this option is set by Tripline", remedy);
            }
        }
        if self.options.0.get("statistics.interval.ms").is_some_and(|value| value.trim() == "0") {
            let remedy = "remove it, or choose some thousand milliseconds: lag, readiness and the order of partitions come from it";
            faults.add(&format!("{at}.options.statistics.interval.ms"), "statistics cannot be turned off", remedy);
        }
        validate_options(&format!("{at}.options"), &self.options, faults, directory);
    }
}

fn validate_options(at: &str, options: &Options, faults: &mut Faults<'_>, directory: &Path) {
    for (name, value) in &options.0 {
        if Options::is_secret(name) && !value.contains("${") {
            let remedy = "write \"${env:NAME}\" or \"${file:/path}\" and keep the value there";
            faults.add(&format!("{at}.{name}"), "a secret must not stand in the configuration file", remedy);
        }
    }
    if let Err((name, what)) = options.resolve(directory) {
        faults.add(&format!("{at}.{name}"), what, "set the variable or create the file, readable by this user");
    }
}

// === impl RuntimeConfig ===

impl RuntimeConfig {
    fn validate(&self, faults: &mut Faults<'_>) {
        let mut number = |name: &str, value: usize, low: usize, high: usize| {
            if !(low..=high).contains(&value) {
                let what = format!("{value} is outside {low} to {high}");
                faults.add(&format!("runtime.{name}"), what, format!("choose a number from {low} to {high}"));
            }
        };
        number("decode_threads", self.decode_threads, 0, 64);
        number("engine_shards", self.engine_shards, 1, 64);
        number("batch_records", self.batch_records, 1, 65_536);
        number("buffer_records", self.buffer_records, self.batch_records.max(1), 16_777_216);
        number("buffer_bytes", self.buffer_bytes, 1_048_576, 1 << 40);
        let mut period = |name: &str, value: Period, low: Period, high: Period| {
            if value < low || value > high {
                let what = format!("{value} is outside {low} to {high}");
                faults.add(&format!("runtime.{name}"), what, format!("choose a duration from {low} to {high}"));
            }
        };
        period("idle_after", self.idle_after, Period::millis(100), Period::seconds(3_600));
        period("idle_advance", self.idle_advance, Period::seconds(0), Period::seconds(7 * 86_400));
        period("commit_interval", self.commit_interval, Period::millis(100), Period::seconds(300));
        period("status_interval", self.status_interval, Period::millis(100), Period::seconds(300));
        period("shutdown_timeout", self.shutdown_timeout, Period::seconds(1), Period::seconds(600));
    }

    /// Threads that decode.
    pub fn decoders(&self) -> usize {
        match self.decode_threads {
            // Decoding is a fraction of the work; above eight threads they wait for the engine.
            0 => std::thread::available_parallelism().map_or(1, std::num::NonZero::get).min(8),
            given => given,
        }
    }
}

// === impl SinkConfig ===

impl SinkConfig {
    fn validate(&self, faults: &mut Faults<'_>, directory: &Path) {
        let topic = self.dead_letters.topic.replace("{topic}", "t");
        for (setting, topic) in [("sink.dead_letters.topic", topic.as_str()), ("sink.verdicts.topic", &self.verdicts.topic)] {
            let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
            if topic.len() > 249 || !topic.chars().all(legal) {
                let remedy = "use letters, digits, '.', '_' and '-', at most 249 of them";
                faults.add(setting, format!("'{topic}' is no topic name"), remedy);
            }
        }
        validate_options("sink.kafka_options", &self.kafka_options, faults, directory);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn every_fault_of_a_mapping_has_its_line() {
        let text = "[decode.mapping]\nsource_ip = \"ip\"\nlabel = \"/a~b\"\n";
        let faults = Config::from_text(text, PathBuf::new()).unwrap_err();
        let found: Vec<_> = faults.iter().map(|fault| (fault.line, fault.setting.as_str())).collect();
        assert!(found.contains(&(2, "decode.mapping.source_ip")) && found.contains(&(3, "decode.mapping.label")), "{found:?}");
    }

    #[test]
    fn a_partial_file_may_lack_the_service_but_not_be_wrong() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("part.toml");
        let load = |text: &str| {
            std::fs::write(&path, text).unwrap();
            Config::load_partial(&path)
        };
        let config = load("[engine]\nmax_clients = 7\n").unwrap();
        assert_eq!((config.engine.max_clients, config.directory.as_path()), (7, folder.path()));
        let Err(ConfigError::Faults { faults, .. }) = load("[engine]\nmax_clients = 0\n[reference]\nrequire_signature = true\n")
        else {
            panic!("a partial file was not validated")
        };
        let found: Vec<_> = faults.iter().map(|fault| (fault.line, fault.setting.as_str())).collect();
        assert_eq!(found, [(2, "engine.max_clients"), (3, "reference.trusted_keys")]);
        std::fs::write(&path, b"\xff").unwrap();
        assert!(matches!(Config::load_partial(&path), Err(ConfigError::NotUtf8 { .. })));
    }

    #[test]
    fn a_secret_is_never_shown() {
        let mut config = Config::default();
        config.source.kafka.options.0.insert("sasl.password".into(), "hunter2".into());
        assert!(!format!("{config:?}").contains("hunter2"));
    }
}
