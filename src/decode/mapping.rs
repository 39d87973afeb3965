//! Any other JSON, described by one JSON pointer (RFC 6901) a field; [`layout`](super::layout) reads it.
//!
//! A mapping also completes a named format: what it sets is used, and the format's own places for the rest.
//!
//! A batch has one of two forms. Either `features` points to an array of rows and `prediction` to an array of as many answers, or
//! `rows` points to an array whose elements hold both; then `features`, `prediction` and `label` start from the row.

use serde::{Deserialize, Serialize};

use super::excerpt;

/// Where the fields of an event lie. A pointer that finds nothing is an absent field.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Mapping {
    /// The record within an envelope, such as a container's log line: an object, or a text that holds one. All other pointers start from
    /// it; what it does not have is looked for in the envelope.
    pub record: Option<String>,
    /// Event time.
    pub timestamp: String,
    /// Model name.
    pub model: String,
    /// Model name where the log does not state it, such as a topic of one model; `model` is then ignored.
    pub model_name: Option<String>,
    /// Model version.
    pub model_version: String,
    /// Caller's address.
    pub source_ip: String,
    /// Caller's account.
    pub client_id: String,
    /// Request id.
    pub request_id: String,
    /// Array of rows, if every row is an object with features and prediction of its own.
    pub rows: Option<String>,
    /// Features: an object, an array, or an array of either. The empty pointer is the whole message (or row).
    pub features: String,
    /// Names of values that have none beside them: a list of names, or a pointer to one in the record. Without it such values are in
    /// the order of the reference.
    pub columns: Option<Columns>,
    /// The model's answer, or an array of answers.
    pub prediction: String,
    /// Duration of the call in milliseconds.
    pub latency_ms: String,
    /// Ground truth.
    pub label: String,
}

/// The setting that gives features other names; it stands beside the mapping.
pub const RENAME: &str = "rename";

/// Names of the columns, by position.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Columns {
    /// JSON pointer to a list of names in the record.
    Pointer(String),
    /// The names.
    Names(Vec<String>),
}

/// Why a mapping cannot work.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("decode.{}{setting}: {what}", if *.setting == RENAME { "" } else { "mapping." })]
pub struct MappingError {
    /// The setting.
    pub setting: &'static str,
    /// What is wrong with it, and what to do.
    pub what: String,
}

impl Default for Mapping {
    /// The canonical layout.
    fn default() -> Self {
        Self {
            record: None,
            timestamp: "/timestamp".into(),
            model: "/model".into(),
            model_name: None,
            model_version: "/model_version".into(),
            source_ip: "/source_ip".into(),
            client_id: "/client_id".into(),
            request_id: "/request_id".into(),
            rows: None,
            features: "/features".into(),
            columns: None,
            prediction: "/prediction".into(),
            latency_ms: "/latency_ms".into(),
            label: "/label".into(),
        }
    }
}

// === impl Mapping ===

impl Mapping {
    /// Every fault of the mapping; none if it can be used.
    pub fn faults(&self) -> Vec<MappingError> {
        let pointers = [
            ("record", self.record.as_ref()),
            ("timestamp", Some(&self.timestamp)),
            ("model", Some(&self.model)),
            ("model_version", Some(&self.model_version)),
            ("source_ip", Some(&self.source_ip)),
            ("client_id", Some(&self.client_id)),
            ("request_id", Some(&self.request_id)),
            ("rows", self.rows.as_ref()),
            ("features", Some(&self.features)),
            ("prediction", Some(&self.prediction)),
            ("latency_ms", Some(&self.latency_ms)),
            ("label", Some(&self.label)),
            ("columns", self.columns.as_ref().and_then(Columns::pointer)),
        ];
        let wrong = |(setting, pointer): (&'static str, Option<&String>)| {
            let pointer = pointer?;
            let escapes = pointer.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
            let what = if !pointer.is_empty() && !pointer.starts_with('/') {
                format!("'{}' is no JSON pointer; it begins with a slash, such as '/{}'", excerpt(pointer), excerpt(pointer))
            } else if !escapes {
                format!("'{}' is no JSON pointer; write ~0 for ~ and ~1 for a slash within a name", excerpt(pointer))
            } else {
                return None;
            };
            Some(MappingError { setting, what })
        };
        let mut faults: Vec<_> = pointers.into_iter().filter_map(wrong).collect();
        if self.model_name.as_deref() == Some("") {
            faults.push(MappingError { setting: "model_name", what: "it is empty; name the model or leave it out".into() });
        }
        if let Some(Columns::Names(names)) = &self.columns
            && names.iter().enumerate().any(|(nth, name)| names[..nth].contains(name))
        {
            faults.push(MappingError { setting: "columns", what: "a name stands twice; name each column once".into() });
        }
        faults
    }
}

impl Mapping {
    /// This mapping, with the places of another for what it does not set.
    #[must_use]
    pub fn completed_by(self, other: Self) -> Self {
        let usual = Self::default();
        let pick = |own: String, usual: String, other: String| if own == usual { other } else { own };
        Self {
            record: self.record.or(other.record),
            timestamp: pick(self.timestamp, usual.timestamp, other.timestamp),
            model: pick(self.model, usual.model, other.model),
            model_name: self.model_name.or(other.model_name),
            model_version: pick(self.model_version, usual.model_version, other.model_version),
            source_ip: pick(self.source_ip, usual.source_ip, other.source_ip),
            client_id: pick(self.client_id, usual.client_id, other.client_id),
            request_id: pick(self.request_id, usual.request_id, other.request_id),
            rows: self.rows.or(other.rows),
            features: pick(self.features, usual.features, other.features),
            columns: self.columns.or(other.columns),
            prediction: pick(self.prediction, usual.prediction, other.prediction),
            latency_ms: pick(self.latency_ms, usual.latency_ms, other.latency_ms),
            label: pick(self.label, usual.label, other.label),
        }
    }
}

// === impl Columns ===

impl Columns {
    fn pointer(&self) -> Option<&String> {
        match self {
            Self::Pointer(pointer) => Some(pointer),
            Self::Names(_) => None,
        }
    }
}
