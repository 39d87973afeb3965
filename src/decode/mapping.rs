//! Any other JSON, described by one JSON pointer (RFC 6901) a field.
//!
//! The message becomes a tree, and the pointers pick values from it. The values are read by the same rules as those of the canonical
//! layout. This costs a few times as much per event (measured by `cargo bench --bench decode`), so a log in the canonical layout
//! should not be mapped.
//!
//! A batch has one of two forms. Either `features` points to an array of rows and `prediction` to an array of as many answers, or
//! `rows` points to an array whose elements hold both; then `features`, `prediction` and `label` start from the row.

use serde::de::DeserializeSeed as _;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::answers::AnswersSeed;
use super::features::FeaturesSeed;
use super::fields;
use super::model::ModelLayout;
use super::token::Token;
use super::{Batch, MAX_ROWS, Models, RejectReason, Rejection, Scratch, canonical, excerpt, tree};

/// Where the fields of an event lie. A pointer that finds nothing is an absent field.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Mapping {
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
    /// The model's answer, or an array of answers.
    pub prediction: String,
    /// Duration of the call in milliseconds.
    pub latency_ms: String,
    /// Ground truth.
    pub label: String,
}

/// Why a mapping cannot work.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("decode.mapping.{setting}: {what}")]
pub struct MappingError {
    /// The setting.
    pub setting: &'static str,
    /// What is wrong with it, and what to do.
    pub what: String,
}

/// A checked mapping.
#[derive(Clone, Debug)]
pub(super) struct Compiled(Mapping);

impl Default for Mapping {
    /// The canonical layout.
    fn default() -> Self {
        Self {
            timestamp: "/timestamp".into(),
            model: "/model".into(),
            model_name: None,
            model_version: "/model_version".into(),
            source_ip: "/source_ip".into(),
            client_id: "/client_id".into(),
            request_id: "/request_id".into(),
            rows: None,
            features: "/features".into(),
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
        faults
    }

    pub(super) fn compile(&self) -> Result<Compiled, MappingError> {
        match self.faults().into_iter().next() {
            Some(fault) => Err(fault),
            None => Ok(Compiled(self.clone())),
        }
    }
}

/// The scalar a pointer finds; absent is null.
fn scalar<'a>(root: &'a Value, pointer: &str, name: &str, nested: RejectReason) -> Result<Token<'a>, Rejection> {
    let Some(value) = root.pointer(pointer) else { return Ok(Token::Null) };
    tree::token(value).ok_or_else(|| {
        let what = if value.is_array() { "an array" } else { "an object" };
        Rejection::new(nested, format_args!("{name} (at '{pointer}') is {what}, where one value belongs"))
    })
}

/// Reads one message into new queries at the end of `batch`.
pub(super) fn read(
    compiled: &Compiled,
    text: &str,
    models: &mut Models,
    scratch: &mut Scratch,
    batch: &mut Batch,
) -> Result<(), Rejection> {
    let mapping = &compiled.0;
    let root = tree::read(text)?;
    if !root.is_object() {
        return Err(Rejection::new(RejectReason::NotAnObject, "an event is a JSON object"));
    }
    let start = batch.len();
    let query = batch.push();
    let field = |pointer: &str, name: &str| scalar(&root, pointer, name, RejectReason::BadField);
    query.time = match scalar(&root, &mapping.timestamp, "timestamp", RejectReason::BadTimestamp)? {
        Token::Null => return Err(missing("timestamp", &mapping.timestamp)),
        token => fields::time(token)?,
    };
    query.address = fields::address(scalar(&root, &mapping.source_ip, "source_ip", RejectReason::BadAddress)?)?;
    query.latency_ms = fields::number(field(&mapping.latency_ms, "latency_ms")?, "latency_ms")?;
    fields::text(field(&mapping.model_version, "model_version")?, "model_version", &mut query.model_version)?;
    fields::text(field(&mapping.client_id, "client_id")?, "client_id", &mut query.account)?;
    fields::text(field(&mapping.request_id, "request_id")?, "request_id", &mut query.request_id)?;
    match &mapping.model_name {
        Some(name) => query.model.push_str(name),
        None => fields::text(field(&mapping.model, "model")?, "model", &mut query.model)?,
    }
    if query.model.is_empty() {
        return Err(missing("model", &mapping.model));
    }
    let model = match models.find(&query.model) {
        Some(at) => &mut models.all[at],
        None => return Err(canonical::unknown_model(&query.model)),
    };
    match &mapping.rows {
        None => read_part(mapping, &root, model, scratch, batch, start)?,
        Some(pointer) => {
            let rows = root.pointer(pointer).and_then(Value::as_array).filter(|rows| !rows.is_empty());
            let rows = rows.ok_or_else(|| {
                Rejection::new(RejectReason::MissingField, format_args!("there is no array of rows at '{pointer}'"))
            })?;
            for (nth, row) in rows.iter().enumerate() {
                if nth == MAX_ROWS {
                    return Err(Rejection::new(RejectReason::TooLarge, format_args!("more than {MAX_ROWS} rows in one message")));
                }
                if nth > 0 {
                    batch.push();
                }
                read_part(mapping, row, model, scratch, batch, start + nth)?;
                if batch.len() != start + nth + 1 {
                    return Err(Rejection::new(RejectReason::BadFeatures, format_args!("row {nth} holds several rows itself")));
                }
            }
        }
    }
    batch.share(start);
    Ok(())
}

/// Reads features, answer and label of the query at `at` from the message or from one of its rows.
fn read_part(
    mapping: &Mapping,
    part: &Value,
    model: &mut ModelLayout,
    scratch: &mut Scratch,
    batch: &mut Batch,
    at: usize,
) -> Result<(), Rejection> {
    let Scratch { fault, row, answers, .. } = scratch;
    let features = part.pointer(&mapping.features).ok_or_else(|| missing("features", &mapping.features))?;
    fields::text(scalar(part, &mapping.label, "label", RejectReason::BadField)?, "label", &mut batch.queries[at].label)?;
    let many = FeaturesSeed { model, scratch: row, fault, batch }.deserialize(features);
    let many = many.map_err(|error| fault.take().unwrap_or_else(|| Rejection::new(RejectReason::BadFeatures, error)))?;
    answers.clear();
    if let Some(answer) = part.pointer(&mapping.prediction) {
        let read = AnswersSeed { model, answers, fault }.deserialize(answer);
        read.map_err(|error| fault.take().unwrap_or_else(|| Rejection::new(RejectReason::BadPrediction, error)))?;
    }
    answers.give(model, batch.len() - at, many, |nth, answer| batch.queries[at + nth].prediction = answer)
}

fn missing(name: &str, pointer: &str) -> Rejection {
    Rejection::new(RejectReason::MissingField, format_args!("there is no '{name}' at '{pointer}'"))
}
