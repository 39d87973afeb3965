//! Settings of the sinks: section `[sink]` of the configuration.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::document::Faults;
use crate::document::Options;
use crate::source::kafka::config::{MAX_TOPIC_NAME, is_topic_name, validate_options};

/// Sinks.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SinkConfig {
    /// Verdicts.
    pub verdicts: VerdictConfig,
    /// Records that were rejected or came late.
    pub dead_letters: DeadLetterConfig,
    /// librdkafka options of the producer of both; the connection options of the source apply already.
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
    /// Whether late records are kept, too. They were used; the copy is for the audit.
    pub late: bool,
}

impl Default for DeadLetterConfig {
    fn default() -> Self {
        Self { topic: "{topic}.dlq".into(), file: None, late: true }
    }
}

// === impl SinkConfig ===

impl SinkConfig {
    /// Adds every fault of the section; relative paths of secrets begin at `directory`.
    pub fn validate(&self, faults: &mut Faults<'_>, directory: &Path) {
        let topic = self.dead_letters.topic.replace("{topic}", "t");
        for (setting, topic) in [("sink.dead_letters.topic", topic.as_str()), ("sink.verdicts.topic", &self.verdicts.topic)] {
            if !topic.is_empty() && !is_topic_name(topic) {
                let remedy = format!("use letters, digits, '.', '_' and '-', at most {MAX_TOPIC_NAME} of them");
                faults.add(setting, format!("'{topic}' is no topic name"), remedy);
            }
        }
        validate_options("sink.kafka_options", &self.kafka_options, faults, directory);
    }
}
