//! Where the fields of a record lie, once its rows were found, and the words for it.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::places::{
    ACCOUNTS, ADDRESSES, ANSWERS, INFRASTRUCTURE, LATENCIES, MODELS, OF_A_SEARCH, Place, REQUESTS, RowsAt, TIMES, VERSIONS,
    is_address, is_time,
};
use crate::decode::mapping::Mapping;
use crate::decode::model::ModelLayout;
use crate::decode::shape::{Shape, answer::AnswerShape, payload, tensor};
use crate::decode::{Format, PositiveClass};
use crate::event::Prediction;
use crate::reference::PredictionKind;

/// What was recognised.
#[derive(Clone, PartialEq, Debug)]
pub struct Recognised {
    /// The format.
    pub format: Format,
    /// Where its fields lie.
    pub mapping: Mapping,
    /// Names of features that the records write in another case, each with the reference's.
    pub rename: BTreeMap<String, String>,
    /// The same in a sentence.
    pub sentence: String,
}

/// A record whose rows were found.
pub(super) struct Record<'a> {
    pub root: &'a Value,
    pub places: &'a [Place<'a>],
    /// Names that are not its own.
    pub of_envelope: &'a [&'a str],
    /// Its rows.
    pub rows: RowsAt<'a>,
}

// === impl Record ===

impl Record<'_> {
    /// Whether a place may hold a field of the call.
    fn is_free(&self, place: &Place<'_>) -> bool {
        let carried = place.pointer.split('/').skip(1).any(|part| INFRASTRUCTURE.contains(&part));
        let of_a_search = OF_A_SEARCH.contains(&place.pointer.trim_start_matches('/'));
        self.rows.is_beside(place) && !carried && !of_a_search
    }

    /// The best place of a field: the record's own before the envelope's, outer before inner, telling names before others.
    fn find(&self, names: &[&str], fits: &dyn Fn(&Value) -> bool) -> Option<String> {
        let free = self.places.iter().filter(|place| self.is_free(place) && fits(place.value));
        let best = free.filter_map(|place| {
            let rank = names.iter().position(|name| **name == place.name)?;
            let outer = place.pointer.split('/').nth(1).is_some_and(|name| self.of_envelope.contains(&name));
            Some((outer, place.depth, rank, place.pointer.clone()))
        });
        best.min().map(|(.., pointer)| pointer)
    }

    /// The place of the answers. Where the reference has scores, a decision (0 or 1) is none if there is another answer.
    fn prediction(&self, positive: Option<&PositiveClass>) -> Option<String> {
        let Self { root, rows: RowsAt { features, flat, model }, .. } = *self;
        let count = row_count(root, features, flat, model);
        let scores = model.schema().prediction_kind() == PredictionKind::Score;
        let reads = |value: &Value, decisions: bool| {
            let read = AnswerShape { model, positive }.read(value, count).unwrap_or_default();
            let is_decision = |one: &Prediction| matches!(one, Prediction::Score(score) if score.fract().to_bits() == 0);
            !read.is_empty() && read.iter().all(|one| *one != Prediction::Missing) && (decisions || !read.iter().all(is_decision))
        };
        let score = if scores { self.find(&ANSWERS, &|value| reads(value, false)) } else { None };
        score
            .or_else(|| self.find(&ANSWERS, &|value| reads(value, true)))
            .or_else(|| self.find(&ANSWERS, &|value| !value.is_null()))
    }

    /// The mapping, and its words.
    pub(super) fn describe(&self, models: &[ModelLayout], positive: Option<&PositiveClass>) -> Recognised {
        let Self { root, rows: RowsAt { features, flat, .. }, .. } = *self;
        let find = |names: &[&str], fits: &dyn Fn(&Value) -> bool| self.find(names, fits);
        let default = Mapping::default();
        let prediction = self.prediction(positive);
        let named = |value: &Value| value.as_str().is_some_and(|name| models.iter().any(|model| model.name() == name));
        let text = |value: &Value| value.is_string() || value.is_number();
        let model_at = find(&MODELS, &named);
        let mapping = Mapping {
            timestamp: find(&TIMES, &is_time).unwrap_or_else(|| default.timestamp.clone()),
            model: model_at.clone().unwrap_or_else(|| default.model.clone()),
            model_version: find(&VERSIONS, &text).unwrap_or_else(|| default.model_version.clone()),
            source_ip: find(&ADDRESSES, &is_address).unwrap_or_else(|| default.source_ip.clone()),
            client_id: find(&ACCOUNTS, &text).unwrap_or_else(|| default.client_id.clone()),
            request_id: find(&REQUESTS, &text).unwrap_or_else(|| default.request_id.clone()),
            features: if flat { default.features.clone() } else { features.to_owned() },
            prediction: prediction.clone().unwrap_or_else(|| default.prediction.clone()),
            latency_ms: find(&LATENCIES, &Value::is_number).unwrap_or_else(|| default.latency_ms.clone()),
            ..default
        };
        let (format, form) = if flat { (Format::Flat, "features beside the other fields") } else { form(root.pointer(features)) };
        let place =
            |found: Option<&str>, name: &str| found.map_or_else(|| format!("no {name}"), |pointer| format!("{name} {pointer}"));
        let set = |pointer: &'_ str| root.pointer(pointer).is_some();
        let sentence = format!(
            "{form}{}; {}, {}, {}; {}",
            if flat { String::new() } else { format!(" at {features}") },
            place(Some(mapping.timestamp.as_str()).filter(|at| set(at)), "time"),
            place(Some(mapping.source_ip.as_str()).filter(|at| set(at)), "caller's address"),
            place(prediction.as_deref(), "prediction"),
            model_words(models, model_at.is_some())
        );
        Recognised { format, mapping, rename: BTreeMap::new(), sentence }
    }
}

pub(super) fn model_words(models: &[ModelLayout], named: bool) -> String {
    match models {
        _ if named => "the records name the model".to_owned(),
        [one] => format!("no model is named, so all records are taken for '{}'", one.name()),
        _ => "no model is named: set decode.mapping.model_name".to_owned(),
    }
}

fn row_count(root: &Value, features: &str, flat: bool, model: &ModelLayout) -> usize {
    if flat {
        return 1;
    }
    let shaped = root.pointer(features).and_then(|value| Shape { model, columns: &[] }.rows(value).ok());
    match shaped.as_deref() {
        Some(Value::Array(rows)) if matches!(rows.first(), Some(Value::Object(_) | Value::Array(_))) => rows.len(),
        _ => 1,
    }
}

/// The format that the rows are written in, and its words.
fn form(value: Option<&Value>) -> (Format, &'static str) {
    let has = |map: &Map<String, Value>, name: &str| map.contains_key(name);
    match value {
        Some(Value::Object(map)) if has(map, "dataframe_split") => {
            (Format::Mlflow, "MLflow's dataframe_split, with names beside the rows,")
        }
        Some(Value::Object(map)) if has(map, "dataframe_records") => (Format::Mlflow, "MLflow's dataframe_records"),
        Some(Value::Object(map)) if has(map, "columns") && has(map, "data") => {
            (Format::Mlflow, "pandas' split form, with names beside the rows,")
        }
        Some(Value::Object(map)) if has(map, "ndarray") || has(map, "tensor") => (Format::Seldon, "Seldon's data"),
        Some(Value::Object(map))
            if map.get("data").is_some_and(|data| data.get("ndarray").is_some() || data.get("tensor").is_some()) =>
        {
            (Format::Seldon, "Seldon's message, with names beside the rows,")
        }
        Some(Value::Object(map)) if map.get("inputs").is_some_and(is_tensors) => {
            (Format::OpenInference, "Open Inference Protocol V2")
        }
        Some(inputs) if is_tensors(inputs) => (Format::OpenInference, "tensors of the Open Inference Protocol V2"),
        Some(Value::String(text)) if payload::looks_like_one(text) => (Format::Mlflow, "rows within a text"),
        Some(Value::Object(map)) if has(map, "instances") => (Format::Mlflow, "instances"),
        Some(Value::Object(_)) => (Format::Mlflow, "one object of named values"),
        _ => (Format::Mlflow, "rows"),
    }
}

fn is_tensors(value: &Value) -> bool {
    value.as_array().and_then(|all| all.first()).and_then(Value::as_object).is_some_and(tensor::is_one)
}
