//! Recognises the layout of a log from its first records: what holds the rows, the answers, the time, the caller.
//!
//! Rows are found by the names of the model's features, so nothing is guessed about a log that has none of them. The other fields
//! are found by the names that logs commonly give them, and only where the value is of the right kind. The result is a format and a
//! mapping, which read every record alike, and a sentence for the person who started the command.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::mapping::Mapping;
use super::model::ModelLayout;
use super::shape::{Shape, answer::AnswerShape, payload};
use super::{Format, PositiveClass, kserve, tree};
use crate::event::{Address, EventTime, Prediction, TimeError};
use crate::reference::Reference;

/// Records looked at. Chosen: the first may be broken or of another kind; twenty are not.
pub const RECORDS: usize = 20;
/// Deepest place that is looked at. Chosen: envelope, capture, body, payload, rows.
const MAX_DEPTH: usize = 5;

/// What was recognised.
#[derive(Clone, PartialEq, Debug)]
pub struct Recognised {
    /// The format.
    pub format: Format,
    /// Where its fields lie.
    pub mapping: Mapping,
    /// The same in a sentence.
    pub sentence: String,
}

/// Common names, most telling first; compared without case, separators and signs.
const TIMES: [&str; 19] = [
    "timestamp",
    "eventtime",
    "time",
    "ts",
    "datetime",
    "inferencetime",
    "requesttime",
    "requesttimeepoch",
    "receivedat",
    "createdat",
    "loggedat",
    "loggingtime",
    "requestedat",
    "starttime",
    "timestampms",
    "logtime",
    "when",
    "date",
    "t",
];
const ADDRESSES: [&str; 13] = [
    "sourceip",
    "clientip",
    "ip",
    "remoteaddr",
    "remoteip",
    "ipaddress",
    "xforwardedfor",
    "sourceaddress",
    "clientaddress",
    "httpclientip",
    "remotehost",
    "peer",
    "address",
];
const ACCOUNTS: [&str; 11] =
    ["clientid", "userid", "accountid", "customerid", "account", "user", "apikeyid", "apikey", "principal", "tenant", "username"];
const REQUESTS: [&str; 9] =
    ["requestid", "eventid", "inferenceid", "clientrequestid", "xrequestid", "traceid", "correlationid", "puid", "id"];
const MODELS: [&str; 6] = ["model", "modelname", "modelid", "m", "inferenceservicename", "deployment"];
const VERSIONS: [&str; 2] = ["modelversion", "version"];
const LATENCIES: [&str; 4] = ["latencyms", "latency", "durationms", "elapsedms"];
const ROWS: [&str; 12] =
    ["features", "instances", "inputs", "input", "x", "data", "row", "rows", "request", "req", "payload", "body"];
const ANSWERS: [&str; 23] = [
    "prediction",
    "predictions",
    "score",
    "probability",
    "response",
    "res",
    "output",
    "outputs",
    "result",
    "results",
    "y",
    "ypred",
    "yhat",
    "answer",
    "predictedprobability",
    "predictionscore",
    "predictproba",
    "proba",
    "probabilities",
    "prob",
    "responsepayload",
    "responsebody",
    "modeloutput",
];

/// A place in a record.
#[derive(Clone, Debug)]
struct Place<'a> {
    pointer: String,
    name: String,
    depth: usize,
    value: &'a Value,
}

/// Recognises the layout of `records` of one of the models; `None` if it is the canonical one, or unknown.
pub fn recognise<'a>(
    records: impl Iterator<Item = &'a [u8]>,
    references: &[Arc<Reference>],
    positive: Option<&PositiveClass>,
) -> Option<Recognised> {
    let models: Vec<ModelLayout> = references.iter().map(|reference| ModelLayout::new(reference, false)).collect();
    let roots: Vec<Value> = records
        .take(RECORDS)
        .filter_map(|record| tree::read(std::str::from_utf8(record).ok()?).ok())
        .filter(Value::is_object)
        .collect();
    if roots.iter().any(is_canonical) {
        return None;
    }
    roots.iter().find_map(|root| of_record(root, &models, positive))
}

/// Whether a record is of the canonical layout, so that no further one need be looked at.
pub fn is_canonical_record(record: &[u8]) -> bool {
    std::str::from_utf8(record).ok().and_then(|text| tree::read(text).ok()).is_some_and(|root| is_canonical(&root))
}

fn is_canonical(root: &Value) -> bool {
    let has = |name: &str| root.get(name).is_some();
    has("model")
        && has("timestamp")
        && (root.get("features").is_some_and(|features| features.is_object() || features.is_array()) || has("instances"))
}

fn of_record(root: &Value, models: &[ModelLayout], positive: Option<&PositiveClass>) -> Option<Recognised> {
    if kserve::is_half(root) {
        let sentence = "KServe's inference log; requests and responses are joined by their id".to_owned();
        return Some(Recognised { format: Format::Kserve, mapping: Mapping::default(), sentence });
    }
    if root.pointer("/captureData/endpointInput").is_some() {
        let sentence = format!("SageMaker data capture; {}", model_words(models, false));
        return Some(Recognised { format: Format::Sagemaker, mapping: Mapping::default(), sentence });
    }
    let mut places = Vec::new();
    collect(root, "", "", 0, &mut places);
    // The model that has most of the names.
    models
        .iter()
        .filter_map(|model| rows(root, &places, model).map(|(place, known, flat)| (model, place, known, flat)))
        .max_by_key(|(_, _, known, _)| *known)
        .map(|(model, place, _, flat)| describe(root, &places, models, model, &place, flat, positive))
}

/// Every named value, outermost first.
fn collect<'a>(value: &'a Value, pointer: &str, name: &str, depth: usize, into: &mut Vec<Place<'a>>) {
    into.push(Place { pointer: pointer.to_owned(), name: plain(name), depth, value });
    if let Value::Object(map) = value
        && depth < MAX_DEPTH
    {
        for (name, inner) in map {
            let pointer = format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1"));
            collect(inner, &pointer, name, depth + 1, into);
        }
    }
}

/// A name without case, separators and signs.
fn plain(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

/// The place of the rows, how many names of features it has, and whether they stand beside the other fields.
fn rows(root: &Value, places: &[Place<'_>], model: &ModelLayout) -> Option<(String, usize, bool)> {
    let enough = model.width().div_ceil(2);
    if let Value::Object(map) = root {
        let known = map.keys().filter(|name| model.knows(name)).count();
        if known >= enough {
            return Some((String::new(), known, true));
        }
    }
    // Names before mere positions, and the most of them; of wrappers around the same rows the innermost, which has nothing else in it.
    places
        .iter()
        .filter(|place| place.depth > 0)
        .filter_map(|place| known_names(place, model).map(|(known, named)| ((named, known, place.depth), place)))
        .filter(|((_, known, _), _)| *known >= enough)
        .max_by_key(|(rank, _)| *rank)
        .map(|((_, known, _), place)| (place.pointer.clone(), known, false))
}

/// How many features the first row at a place has, and whether they have names.
fn known_names(place: &Place<'_>, model: &ModelLayout) -> Option<(usize, bool)> {
    let shaped = Shape { model, columns: &[] }.rows(place.value).ok()?;
    let first = match shaped.as_ref() {
        Value::Array(rows) if matches!(rows.first(), Some(Value::Object(_) | Value::Array(_))) => rows.first()?,
        other => other,
    };
    match first {
        Value::Object(map) => Some((map.keys().filter(|name| model.knows(name)).count(), true)),
        // Values without names are rows where they are called so, and are as many as the features.
        Value::Array(values) => {
            (values.len() == model.width() && ROWS.contains(&place.name.as_str())).then_some((values.len(), false))
        }
        _ => None,
    }
}

/// The mapping of a record whose rows are at `features`.
fn describe(
    root: &Value,
    places: &[Place<'_>],
    models: &[ModelLayout],
    model: &ModelLayout,
    features: &str,
    flat: bool,
    positive: Option<&PositiveClass>,
) -> Recognised {
    let inside = |place: &&Place<'_>| !flat && (place.pointer == features || place.pointer.starts_with(&format!("{features}/")));
    let free: Vec<&Place<'_>> = places
        .iter()
        .filter(|place| {
            place.depth > 0 && !inside(place) && !(flat && place.depth == 1 && model.knows(place.pointer.trim_start_matches('/')))
        })
        .collect();
    let find = |names: &[&str], fits: &dyn Fn(&Value) -> bool| {
        let best = free.iter().filter(|place| fits(place.value)).filter_map(|place| {
            let rank = names.iter().position(|name| **name == place.name)?;
            Some((place.depth, rank, place.pointer.clone()))
        });
        best.min().map(|(_, _, pointer)| pointer)
    };
    let default = Mapping::default();
    let count = row_count(root, features, flat, model);
    let prediction = find(&ANSWERS, &|value| {
        AnswerShape { model, positive }.read(value, count).is_ok_and(|all| all.iter().all(|one| *one != Prediction::Missing))
    })
    .or_else(|| find(&ANSWERS, &|value| !value.is_null()));
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
    let place = |found: Option<&str>, name: &str| found.map_or_else(|| format!("no {name}"), |pointer| format!("{name} {pointer}"));
    let set = |pointer: &'_ str| root.pointer(pointer).is_some();
    let sentence = format!(
        "{form}{}; {}, {}, {}; {}",
        if flat { String::new() } else { format!(" at {features}") },
        place(Some(mapping.timestamp.as_str()).filter(|at| set(at)), "time"),
        place(Some(mapping.source_ip.as_str()).filter(|at| set(at)), "caller's address"),
        place(prediction.as_deref(), "prediction"),
        model_words(models, model_at.is_some())
    );
    Recognised { format, mapping, sentence }
}

fn model_words(models: &[ModelLayout], named: bool) -> String {
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
    value.as_array().and_then(|all| all.first()).and_then(Value::as_object).is_some_and(super::shape::tensor::is_one)
}

fn is_time(value: &Value) -> bool {
    match value {
        Value::String(text) => matches!(EventTime::parse(text), Ok(_) | Err(TimeError::NoZone)),
        Value::Number(number) => number.as_f64().is_some_and(|number| EventTime::from_epoch(number).is_ok()),
        _ => false,
    }
}

fn is_address(value: &Value) -> bool {
    let one = |text: &str| text.split(',').any(|hop| matches!(Address::parse(hop), Some(Address::Ip(_))));
    match value {
        Value::String(text) => one(text),
        Value::Array(all) => all.first().and_then(Value::as_str).is_some_and(one),
        _ => false,
    }
}
