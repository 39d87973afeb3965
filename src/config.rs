//! The configuration file: composed of each stage's own settings, read once, and validated as a whole.
//!
//! Every fault is reported at once, with its line and what to do ([`document`]). Secrets come from the environment or from files
//! and are never printed ([`secret`](crate::document::secret)). Relative paths begin at the file's own directory, so that a
//! configuration can be moved together with the files that it names.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use sha2::{Digest as _, Sha256};

pub use crate::document::{Fault, Faults, Options, Period};
pub use crate::reference::config::{ModelConfig, ReferenceConfig};

use crate::api::config::ApiConfig;
use crate::audit::AuditConfig;
use crate::cases::{CasesConfig, PrivacyConfig};
use crate::checkpoint::config::StateConfig;
use crate::decode::{DecodeConfig, Format, Mapping, TopicLayout};
use crate::document;
use crate::engine::{Engine, EngineConfig};
use crate::hash;
use crate::runtime::config::{RuntimeConfig, Topology};
use crate::sink::config::SinkConfig;
use crate::source::http::{self, config::HttpConfig};
use crate::source::kafka::config::KafkaConfig;
use crate::source::registry::config::RegistryConfig;
use crate::store::StoreConfig;
use crate::telemetry::ServerConfig;

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
    /// State that survives a restart.
    pub state: StateConfig,
    /// The database of cases, audit and access.
    pub store: StoreConfig,
    /// The keys of the audit.
    pub audit: AuditConfig,
    /// How verdicts become cases.
    pub cases: CasesConfig,
    /// What is kept of people, how, and for how long.
    pub privacy: PrivacyConfig,
    /// Where verdicts and rejected records go.
    pub sink: SinkConfig,
    /// Operations endpoint.
    pub server: ServerConfig,
    /// API and console; none without the section.
    pub api: Option<ApiConfig>,
    /// Directory at which relative paths begin; not a setting.
    #[serde(skip)]
    pub directory: PathBuf,
    /// SHA-256 of the file, hexadecimal; not a setting.
    #[serde(skip)]
    pub digest: String,
    /// Whether the file has a section `[source]`; not a setting.
    #[serde(skip)]
    has_source: bool,
}

/// Sources: one of them, or both.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SourceConfig {
    /// Apache Kafka.
    pub kafka: KafkaConfig,
    /// Posted records.
    pub http: HttpConfig,
    /// Schemas of the records of both.
    pub registry: RegistryConfig,
}

impl SourceConfig {
    /// Whether the service reads from Kafka: always, unless records are posted and no broker is named.
    pub fn has_kafka(&self) -> bool {
        self.http.listen.is_none() || !self.kafka.brokers.trim().is_empty()
    }
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

    /// Reads and validates a file for whatever it serves: without a section `[source]`, `replay` and `drill`.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn load_any(path: &Path) -> Result<Self, ConfigError> {
        Self::load_with(path, |config, faults| {
            if config.names_a_source() {
                return config.validate(faults);
            }
            if !config.models.is_empty() {
                ModelConfig::validate_all(&config.models, faults);
            }
            config.validate_core(faults);
            config.runtime.validate(faults);
            config.sink.validate(faults, &config.directory);
        })
    }

    /// Whether the file says where the service reads from.
    pub fn names_a_source(&self) -> bool {
        self.has_source
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
        config.digest = hash::hex(&Sha256::digest(text));
        config.has_source = toml::from_str::<toml::Table>(text).is_ok_and(|table| table.contains_key("source"));
        if config.source.http.listen.is_some() {
            // What posts records is KServe's logger, unless another format is set.
            let kserve = || TopicLayout { format: Some(Format::Kserve), mapping: None };
            config.decode.topics.entry(http::TOPIC.to_owned()).or_insert_with(kserve);
        }
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
        self.validate_sources(faults);
        self.validate_formats(faults);
        ModelConfig::validate_all(&self.models, faults);
        self.validate_core(faults);
        self.runtime.validate(faults);
        self.validate_topology(faults);
        self.state.validate(faults, &self.directory);
        self.store.validate(faults, &self.directory);
        self.audit.validate(faults, &self.directory);
        self.cases.validate(faults, &self.store, &self.directory);
        self.privacy.validate(faults, &self.directory);
        self.sink.validate(faults, &self.directory);
        if let Some(api) = &self.api {
            api.validate(faults, &self.directory, self.store.is_used());
        }
    }

    /// Notes the faults of the sources, and outputs that need Kafka where there is none.
    fn validate_sources(&self, faults: &mut Faults<'_>) {
        let SourceConfig { kafka, http, registry } = &self.source;
        http.validate(faults);
        registry.validate(faults, &self.directory);
        if !self.source.has_kafka() {
            let letters = &self.sink.dead_letters;
            let outputs = [
                (
                    "sink.dead_letters.topic",
                    letters.file.is_none() && !letters.topic.is_empty(),
                    "write topic = \"\", or name a file",
                ),
                ("sink.verdicts.topic", !self.sink.verdicts.topic.is_empty(), "name a file instead"),
            ];
            for (setting, _, remedy) in outputs.into_iter().filter(|(_, is_set, _)| *is_set) {
                faults.add(setting, "a topic needs brokers, and source.kafka.brokers names none", remedy);
            }
            return;
        }
        kafka.validate(faults, &self.directory);
        if http.listen.is_some() && kafka.topics.iter().any(|topic| topic == http::TOPIC) {
            let remedy = "turn source.http off, or name the topic otherwise";
            faults.add("source.kafka.topics", "'http' is the name of the records that are posted", remedy);
        }
    }

    /// Notes what the topology needs and the file lacks, and what it cannot read.
    fn validate_topology(&self, faults: &mut Faults<'_>) {
        if self.runtime.topology == Topology::Direct {
            return;
        }
        let unread = [
            ("source.http.listen", self.source.http.listen.is_some(), "posted records"),
            ("source.registry.url", self.source.registry.is_used(), "records with schemas of a registry"),
            ("decode.format", self.decode.pairs().is_some(), "calls whose halves are logged apart"),
        ];
        for (setting, _, what) in unread.into_iter().filter(|(_, is_set, _)| *is_set) {
            let what = format!("\"repartition\" does not read {what} yet");
            faults.add(setting, &what, "write topology = \"direct\" below [runtime]");
        }
        if !self.state.is_kept() {
            let remedy =
                "write [state] url: a store that all processes reach, because a model goes on where its last owner left it";
            faults.add("runtime.topology", "\"repartition\" needs a store for state", remedy);
        }
        if self.sink.dead_letters.file.is_some() {
            let remedy = "write sink.dead_letters.topic: both halves of the process have dead letters, in their transactions";
            faults.add("sink.dead_letters.file", "\"repartition\" writes dead letters to a topic alone", remedy);
        }
    }

    /// Notes formats that the service cannot read from a topic.
    fn validate_formats(&self, faults: &mut Faults<'_>) {
        let own = self.decode.topics.iter().map(|(topic, own)| (format!("decode.topics.{topic}.format"), own.format));
        for (setting, format) in std::iter::once(("decode.format".to_owned(), self.decode.format)).chain(own) {
            let what = match format {
                Some(Format::Auto) => "'auto' recognises files alone",
                _ => continue,
            };
            faults.add(&setting, what, "name the format of the topic, and map what differs in [decode.mapping]");
        }
    }

    /// Notes the faults of what every command uses: trust, decoding and the engine.
    fn validate_core(&self, faults: &mut Faults<'_>) {
        self.reference.validate(faults);
        if let Some(what) = self.decode.proxies_fault() {
            faults.add("decode.trusted_proxies", what, "count the proxies of your own that add an address behind the caller's");
        }
        let own = self.decode.topics.iter().map(|(topic, own)| (format!("decode.topics.{topic}.mapping"), &own.mapping));
        for (at, mapping) in std::iter::once(("decode.mapping".to_owned(), &self.decode.mapping)).chain(own) {
            for fault in mapping.iter().flat_map(Mapping::faults) {
                let setting = format!("{at}.{}", fault.setting);
                faults.add(&setting, fault.what, "see tripline.example.toml for how fields are mapped");
            }
        }
        if let Err(error) = Engine::new(self.engine.clone(), Vec::new()) {
            let text = error.to_string();
            let (setting, what) = text.split_once(": ").unwrap_or(("engine", &text));
            faults.add(setting, what, "see tripline.example.toml for the range");
        }
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
        let (state, kept) = (&config.state, StateConfig::default());
        assert_eq!((&state.url, state.interval, state.required), (&kept.url, kept.interval, kept.required));
        assert_eq!(format!("{:?}", config.store), format!("{:?}", StoreConfig::default()));
        assert_eq!(format!("{:?}", config.cases), format!("{:?}", CasesConfig::default()));
        assert_eq!(format!("{:?}", config.privacy), format!("{:?}", PrivacyConfig::default()));
        assert_eq!(config.decode, DecodeConfig::default());
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
    fn every_fault_of_the_state_has_its_line_and_no_secret_is_repeated() {
        let text = "[state]\nurl = \"file://state\"\ninterval = \"1ms\"\nkey = \"c2VjcmV0\"\n[state.options]\naws_secret_access_key = \"hunter2\"\n";
        let faults = Config::from_text(text, PathBuf::new()).unwrap_err();
        let found: Vec<_> = faults.iter().map(|fault| (fault.line, fault.setting.as_str())).collect();
        for wanted in [(2, "state.url"), (3, "state.interval"), (4, "state.key"), (6, "state.options.aws_secret_access_key")] {
            assert!(found.contains(&wanted), "{wanted:?} in {found:?}");
        }
        let shown = format!("{faults:?}");
        assert!(!shown.contains("hunter2") && !shown.contains("c2VjcmV0"), "{shown}");
        let faults = Config::from_text("[state]\nrequired = true\n", PathBuf::new()).unwrap_err();
        assert!(faults.iter().any(|fault| (fault.line, fault.setting.as_str()) == (2, "state.required")), "{faults:?}");
    }

    #[test]
    fn every_fault_of_a_mapping_has_its_line() {
        let text = "[decode.mapping]\nsource_ip = \"ip\"\nlabel = \"/a~b\"\n";
        let faults = Config::from_text(text, PathBuf::new()).unwrap_err();
        let found: Vec<_> = faults.iter().map(|fault| (fault.line, fault.setting.as_str())).collect();
        assert!(found.contains(&(2, "decode.mapping.source_ip")) && found.contains(&(3, "decode.mapping.label")), "{found:?}");
    }

    #[test]
    fn a_number_of_proxies_that_cannot_be_is_a_fault_with_its_line() {
        for text in
            ["[decode]\ntrusted_proxies = 1000\n", "[decode]\ntrusted_proxies = -1\n", "[decode]\ntrusted_proxies = \"all\"\n"]
        {
            let faults = Config::from_text(text, PathBuf::new()).unwrap_err();
            let fault = faults.iter().find(|fault| fault.setting == "decode.trusted_proxies");
            assert!(fault.is_some_and(|fault| fault.line == 2 && !fault.remedy.is_empty()), "{text}: {faults:#?}");
        }
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
