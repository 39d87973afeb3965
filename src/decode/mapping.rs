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
use crate::event::{Prediction, Query, Repair};

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
pub(super) struct Compiled(pub(super) Mapping);

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

/// The scalar a pointer finds; absent is null, and `None` is an object or an array.
fn scalar<'a>(root: &'a Value, pointer: &str) -> Option<Token<'a>> {
    root.pointer(pointer).map_or(Some(Token::Null), tree::token)
}

/// The scalar that a row cannot do without.
fn needed<'a>(root: &'a Value, pointer: &str, name: &str, nested: RejectReason) -> Result<Token<'a>, Rejection> {
    match scalar(root, pointer) {
        Some(Token::Null) => Err(missing(name, pointer)),
        Some(token) => Ok(token),
        None => {
            let what = if root.pointer(pointer).is_some_and(Value::is_array) { "an array" } else { "an object" };
            Err(Rejection::new(nested, format_args!("{name} (at '{pointer}') is {what}, where one value belongs")))
        }
    }
}

/// Reads one message into new queries at the end of `batch`.
pub(super) fn read(
    compiled: &Compiled,
    text: &str,
    trusted_proxies: usize,
    models: &mut Models,
    scratch: &mut Scratch,
    batch: &mut Batch,
) -> Result<(), Rejection> {
    let root = tree::read(text)?;
    if !root.is_object() {
        return Err(Rejection::new(RejectReason::NotAnObject, "an event is a JSON object"));
    }
    read_tree(compiled, &root, trusted_proxies, models, scratch, batch)
}

/// Reads one message from its tree. What a row can do without is repaired.
pub(super) fn read_tree(
    compiled: &Compiled,
    root: &Value,
    trusted_proxies: usize,
    models: &mut Models,
    scratch: &mut Scratch,
    batch: &mut Batch,
) -> Result<(), Rejection> {
    let mapping = &compiled.0;
    let start = batch.len();
    let query = batch.push();
    query.time = fields::time(needed(root, &mapping.timestamp, "timestamp", RejectReason::BadTimestamp)?)?;
    match &mapping.model_name {
        Some(name) => query.model.push_str(name),
        None => fields::model(needed(root, &mapping.model, "model", RejectReason::BadField)?, &mut query.model),
    }
    if query.model.is_empty() {
        return Err(missing("model", &mapping.model));
    }
    let model = match models.find(&query.model) {
        Some(at) => &mut models.all[at],
        None => return Err(canonical::unknown_model(&query.model)),
    };
    let Query { address, latency_ms, model_version, account, request_id, repairs, .. } = query;
    *address = fields::address_of(root.pointer(&mapping.source_ip), trusted_proxies, repairs);
    *latency_ms = fields::latency(scalar(root, &mapping.latency_ms), repairs);
    fields::text(scalar(root, &mapping.model_version), fields::VERSION, model_version, repairs);
    fields::text(scalar(root, &mapping.client_id), fields::ACCOUNT, account, repairs);
    fields::text(scalar(root, &mapping.request_id), fields::REQUEST_ID, request_id, repairs);
    match &mapping.rows {
        None => read_part(mapping, root, model, scratch, batch, start)?,
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
    let Scratch { fault, row, answers } = scratch;
    let features = part.pointer(&mapping.features).ok_or_else(|| missing("features", &mapping.features))?;
    let Query { label, repairs, .. } = &mut batch.queries[at];
    fields::text(scalar(part, &mapping.label), fields::LABEL, label, repairs);
    let many = FeaturesSeed { model, scratch: row, fault, batch }.deserialize(features);
    let many = many.map_err(|error| fault.take().unwrap_or_else(|| Rejection::new(RejectReason::BadFeatures, error)))?;
    answers.clear();
    let answer = part.pointer(&mapping.prediction).filter(|answer| !answer.is_null());
    let read = answer.is_none_or(|answer| AnswersSeed { model, answers, fault }.deserialize(answer).is_ok());
    let queries = &mut batch.queries[at..batch.len];
    if !read || answers.give(model, queries.len(), many, |nth, answer| queries[nth].prediction = answer).is_err() {
        // The answer says little about the caller, and the row much.
        for query in queries {
            query.prediction = Prediction::Missing;
            query.repairs.add(Repair::PredictionUnreadable);
        }
    }
    Ok(())
}

fn missing(name: &str, pointer: &str) -> Rejection {
    Rejection::new(RejectReason::MissingField, format_args!("there is no '{name}' at '{pointer}'"))
}
