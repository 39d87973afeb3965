//! The named values of a record, and the common names by which their fields are known.

use serde_json::Value;

use crate::decode::model::ModelLayout;
use crate::decode::shape::Shape;
use crate::event::{Address, EventTime, TimeError};

/// Deepest place that is looked at. Chosen: envelope, capture, body, payload, rows.
const MAX_DEPTH: usize = 5;

/// Common names, most telling first; compared without case, separators and signs.
pub(super) const TIMES: [&str; 20] = [
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
    "asctime",
    "when",
    "date",
    "t",
];
pub(super) const ADDRESSES: [&str; 13] = [
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
pub(super) const ACCOUNTS: [&str; 11] =
    ["clientid", "userid", "accountid", "customerid", "account", "user", "apikeyid", "apikey", "principal", "tenant", "username"];
pub(super) const REQUESTS: [&str; 9] =
    ["requestid", "eventid", "inferenceid", "clientrequestid", "xrequestid", "traceid", "correlationid", "puid", "id"];
pub(super) const MODELS: [&str; 6] = ["model", "modelname", "modelid", "m", "inferenceservicename", "deployment"];
pub(super) const VERSIONS: [&str; 2] = ["modelversion", "version"];
pub(super) const LATENCIES: [&str; 4] = ["latencyms", "latency", "durationms", "elapsedms"];
pub(super) const ROWS: [&str; 12] =
    ["features", "instances", "inputs", "input", "x", "data", "row", "rows", "request", "req", "payload", "body"];
pub(super) const ANSWERS: [&str; 23] = [
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

/// Parts of a record that speak of the machines that carried it. An address there is not the caller's.
pub(super) const INFRASTRUCTURE: [&str; 11] =
    ["host", "agent", "server", "kubernetes", "cloud", "container", "docker", "node", "observer", "destination", "ecs"];
/// What search engines write beside a hit.
pub(super) const OF_A_SEARCH: [&str; 4] = ["_score", "_id", "_index", "_type"];

/// A place in a record.
#[derive(Clone, Debug)]
pub(super) struct Place<'a> {
    pub pointer: String,
    pub name: String,
    pub depth: usize,
    pub value: &'a Value,
}

/// Every named value, outermost first.
pub(super) fn collect<'a>(value: &'a Value, pointer: &str, name: &str, depth: usize, into: &mut Vec<Place<'a>>) {
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
pub(super) fn plain(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

/// The place of the rows, how many names of features it has, and whether they stand beside the other fields.
pub(super) fn rows(root: &Value, places: &[Place<'_>], model: &ModelLayout) -> Option<(String, usize, bool)> {
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

/// Where the rows of a record lie: their place, whether they stand beside the other fields, and of which model they are.
#[derive(Clone, Copy)]
pub(super) struct RowsAt<'a> {
    pub features: &'a str,
    pub flat: bool,
    pub model: &'a ModelLayout,
}

// === impl RowsAt ===

impl RowsAt<'_> {
    /// Whether a place is none of the rows, and neither the whole record.
    pub(super) fn is_beside(&self, place: &Place<'_>) -> bool {
        let Self { features, flat, model } = *self;
        let inside = !flat && (place.pointer == features || place.pointer.starts_with(&format!("{features}/")));
        let is_feature = flat && place.depth == 1 && model.knows(place.pointer.trim_start_matches('/'));
        place.depth > 0 && !inside && !is_feature
    }
}

/// How many features the first row at a place has, and whether they have names.
pub(super) fn known_names(place: &Place<'_>, model: &ModelLayout) -> Option<(usize, bool)> {
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

pub(super) fn is_time(value: &Value) -> bool {
    match value {
        Value::String(text) => matches!(EventTime::parse(text), Ok(_) | Err(TimeError::NoZone)),
        Value::Number(number) => number.as_f64().is_some_and(|number| EventTime::from_epoch(number).is_ok()),
        _ => false,
    }
}

pub(super) fn is_address(value: &Value) -> bool {
    let one = |text: &str| text.split(',').any(|hop| matches!(Address::parse(hop), Some(Address::Ip(_))));
    match value {
        Value::String(text) => one(text),
        Value::Array(all) => all.first().and_then(Value::as_str).is_some_and(one),
        _ => false,
    }
}
