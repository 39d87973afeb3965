//! Settings of the Kafka source: section `[source.kafka]` of the configuration.

use std::path::Path;

use serde::Deserialize;

use crate::document::Faults;
use crate::document::Options;
use crate::document::Period;

/// Longest name of a topic: Kafka's own limit.
pub const MAX_TOPIC_NAME: usize = 249;

/// Options that the service sets itself, and why the user must not set them.
const OWN_OPTIONS: [(&str, &str); 5] = [
    ("bootstrap.servers", "write source.kafka.brokers instead"),
    ("metadata.broker.list", "write source.kafka.brokers instead"),
    ("group.id", "write source.kafka.group instead"),
    ("enable.auto.commit", "remove it: offsets are committed only after what they cover was delivered"),
    ("enable.auto.offset.store", "remove it: offsets are committed only after what they cover was delivered"),
];

/// A Kafka consumer group.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KafkaConfig {
    /// Brokers to begin at, `host:port`, separated by commas.
    pub brokers: String,
    /// Topics to read; a leading `^` makes a name a pattern.
    pub topics: Vec<String>,
    /// Consumer group; its members share the partitions.
    pub group: String,
    /// How long a cluster may stay silent at the start before the service gives up.
    pub connect_timeout: Period,
    /// Any option of librdkafka, by its own name; it goes before Tripline's defaults.
    pub options: Options,
}

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

// === impl KafkaConfig ===

impl KafkaConfig {
    /// Adds every fault of the section; relative paths of secrets begin at `directory`.
    pub fn validate(&self, faults: &mut Faults<'_>, directory: &Path) {
        let at = "source.kafka";
        if self.brokers.trim().is_empty() {
            faults.add(&format!("{at}.brokers"), "no broker is named", "write brokers = \"host:9092\"");
        }
        if self.topics.is_empty() {
            faults.add(&format!("{at}.topics"), "no topic is named", "write topics = [\"predictions\"]");
        }
        for topic in &self.topics {
            // librdkafka reads a leading '^' as a pattern.
            let pattern = topic.starts_with('^') && topic.len() <= MAX_TOPIC_NAME;
            if !pattern && !is_topic_name(topic) {
                let remedy = format!("use letters, digits, '.', '_' and '-', at most {MAX_TOPIC_NAME} of them");
                faults.add(&format!("{at}.topics"), format!("'{topic}' is no topic name"), remedy);
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

/// Whether Kafka takes `name` as the name of a topic.
pub fn is_topic_name(name: &str) -> bool {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    !name.is_empty() && name.len() <= MAX_TOPIC_NAME && name.chars().all(legal)
}

/// Adds the faults of librdkafka options under the setting `at`: secrets written into the file, and secrets that cannot be read.
pub fn validate_options(at: &str, options: &Options, faults: &mut Faults<'_>, directory: &Path) {
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
