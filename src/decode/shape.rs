//! The many ways in which serving systems write rows, brought into the two that [`features`](super::features) reads: an object of
//! named values, or an array in the reference's order.
//!
//! | written by | form |
//! |---|---|
//! | pandas (`orient="split"`), MLflow `dataframe_split` | `{"columns":[..],"data":[[..]]}` |
//! | pandas (`orient="list"` and `"dict"`), TensorFlow Serving (columns), MLflow `inputs` | `{"age":[39,50]}`, `{"age":{"0":39}}` |
//! | MLflow `dataframe_records`, KServe V1 `instances` | `[{"age":39}]` |
//! | Seldon v1 (`SeldonMessage`, `DefaultData`) | `{"data":{"names":[..],"ndarray":[[..]]}}`, `"tensor":{"shape","values"}`, `jsonData`, `strData` |
//! | Open Inference Protocol V2 (KServe, Seldon v2, MLServer, Triton) | `{"inputs":[{"name","shape","datatype","data"}]}` ([`tensor`]) |
//! | SageMaker data capture | `{"observedContentType","data":"..","encoding":"CSV"}` ([`payload`]) |
//!
//! The contracts are those of the systems' own documentation: pandas `DataFrame.to_json`, MLflow "Local inference server
//! specification", Seldon Core `prediction.proto`, the KServe "Open Inference Protocol", and SageMaker "Data capture".
//!
//! Positional values never meet wrong names. Names that stand beside the values are used, whatever their order; names that contradict
//! the values or each other are a fault of the record. Only values without any names are in the order of the reference.

pub(super) mod answer;
pub(super) mod payload;
pub(super) mod tensor;

use std::borrow::Cow;
use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::model::ModelLayout;
use super::{MAX_ROWS, RejectReason, Rejection, excerpt};

/// Most wrappers around the rows. Chosen: real logs have four (envelope, capture, payload, `inputs`).
const MAX_WRAPPERS: usize = 8;
/// Names under which systems put the rows, outermost first.
const WRAPPERS: [&str; 15] = [
    "dataframe_split",
    "dataframe_records",
    "instances",
    "inputs",
    "jsonData",
    "strData",
    "data",
    "features",
    "rows",
    "values",
    "request",
    "payload",
    "body",
    "input",
    "instance",
];

/// What the reader of shapes knows: the model, and names that the mapping gives for values without any.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape<'a> {
    pub model: &'a ModelLayout,
    /// Names of the columns, by position; empty for the order of the reference.
    pub columns: &'a [String],
}

fn fault(message: impl std::fmt::Display) -> Rejection {
    Rejection::new(RejectReason::BadFeatures, message)
}

// === impl Shape ===

impl Shape<'_> {
    /// The rows of a value, in a form that the reader of features takes.
    ///
    /// # Errors
    /// Names and values that contradict each other, and payloads that cannot be read.
    pub(super) fn rows<'v>(&self, value: &'v Value) -> Result<Cow<'v, Value>, Rejection> {
        self.table(value, 0)
    }

    fn owned(&self, value: &Value, depth: usize) -> Result<Cow<'static, Value>, Rejection> {
        self.table(value, depth).map(|rows| Cow::Owned(rows.into_owned()))
    }

    fn table<'v>(&self, value: &'v Value, depth: usize) -> Result<Cow<'v, Value>, Rejection> {
        if depth > MAX_WRAPPERS {
            return Err(fault(format_args!("the features lie within more than {MAX_WRAPPERS} wrappers")));
        }
        match value {
            Value::Object(map) => self.object(value, map, depth),
            Value::Array(elements) => self.array(value, elements, depth),
            Value::String(text) => self.owned(&payload::read(text, |name| self.model.knows(name))?, depth + 1),
            _ => Ok(Cow::Borrowed(value)),
        }
    }

    fn object<'v>(&self, value: &'v Value, map: &'v Map<String, Value>, depth: usize) -> Result<Cow<'v, Value>, Rejection> {
        if self.is_row(map) {
            return Ok(columns_as_rows(map)?.map_or(Cow::Borrowed(value), |rows| Cow::Owned(Value::Array(rows))));
        }
        if let Some(text) = payload::captured(map)? {
            return self.owned(&text, depth + 1);
        }
        if let (Some(Value::Array(names)), Some(Value::Array(rows))) = (map.get("columns"), map.get("data")) {
            return self.named(names, rows).map(Cow::Owned);
        }
        if let Some(rows) = map.get("ndarray").and_then(Value::as_array) {
            return self.beside(map, rows).map(Cow::Owned);
        }
        if let Some(tensor) = map.get("tensor") {
            return self.beside(map, &tensor::seldon(tensor)?).map(Cow::Owned);
        }
        if tensor::is_one(map) {
            return self.tensors(std::slice::from_ref(value)).map(Cow::Owned);
        }
        match WRAPPERS.iter().find_map(|name| map.get(*name).filter(|inner| !inner.is_null())) {
            Some(inner) => self.table(inner, depth + 1),
            None => Ok(Cow::Borrowed(value)),
        }
    }

    /// Values with the names that stand beside them in the same object, if any do.
    fn beside(&self, map: &Map<String, Value>, rows: &[Value]) -> Result<Value, Rejection> {
        match map.get("names").and_then(Value::as_array).filter(|names| !names.is_empty()) {
            Some(names) => self.named(names, rows),
            None => self.positional(rows),
        }
    }

    fn array<'v>(&self, value: &'v Value, elements: &'v [Value], depth: usize) -> Result<Cow<'v, Value>, Rejection> {
        let Some(first) = elements.first() else { return Ok(Cow::Borrowed(value)) };
        match first {
            Value::Object(map) if tensor::is_one(map) && !self.is_row(map) => self.tensors(elements).map(Cow::Owned),
            Value::Object(map) if self.is_row(map) => Ok(Cow::Borrowed(value)),
            // Rows in wrappers of their own, as SageMaker's {"instances":[{"features":[..]}]}.
            Value::Object(_) => self.each(elements, depth).map(Cow::Owned),
            // A list around the list of rows.
            Value::Array(inner) if elements.len() == 1 && matches!(inner.first(), Some(Value::Array(_) | Value::Object(_))) => {
                self.table(first, depth + 1)
            }
            Value::Array(_) if self.columns.is_empty() => Ok(Cow::Borrowed(value)),
            // Rows that are texts themselves; a row of texts has as many values as the model has features.
            Value::String(text) if elements.len() != self.width() && payload::looks_like_one(text) => {
                self.each(elements, depth).map(Cow::Owned)
            }
            _ => self.positional(elements).map(Cow::Owned),
        }
    }

    /// Every element as one row.
    fn each(&self, elements: &[Value], depth: usize) -> Result<Value, Rejection> {
        let mut rows = Vec::with_capacity(elements.len().min(MAX_ROWS));
        for (nth, element) in elements.iter().enumerate() {
            if nth == MAX_ROWS {
                return Err(Rejection::new(RejectReason::TooLarge, format_args!("more than {MAX_ROWS} rows in one message")));
            }
            match self.table(element, depth + 1)?.into_owned() {
                Value::Array(inner) if matches!(inner.first(), Some(Value::Array(_) | Value::Object(_))) => {
                    match <[Value; 1]>::try_from(inner) {
                        Ok([row]) => rows.push(row),
                        Err(several) => return Err(fault(format_args!("row {nth} holds {} rows itself", several.len()))),
                    }
                }
                row => rows.push(row),
            }
        }
        Ok(Value::Array(rows))
    }

    /// Values per row when names come from the mapping, else the number of features.
    fn width(&self) -> usize {
        if self.columns.is_empty() { self.model.width() } else { self.columns.len() }
    }

    /// Values without names: those of the mapping, else the order of the reference.
    fn positional(&self, rows: &[Value]) -> Result<Value, Rejection> {
        if self.columns.is_empty() {
            return Ok(Value::Array(rows.to_vec()));
        }
        let names: Vec<&str> = self.columns.iter().map(String::as_str).collect();
        self.with_names(&names, rows)
    }

    /// Rows whose names stand beside them.
    fn named(&self, names: &[Value], rows: &[Value]) -> Result<Value, Rejection> {
        // pandas numbers columns that have no names: those are positions.
        let numbered = names
            .iter()
            .zip(0_u64..)
            .all(|(name, nth)| name.as_u64() == Some(nth) || name.as_str().is_some_and(|text| text.parse() == Ok(nth)));
        if numbered {
            return self.positional(rows);
        }
        let texts: Option<Vec<&str>> = names.iter().map(Value::as_str).collect();
        let texts = texts.ok_or_else(|| fault("a name beside the rows is no text"))?;
        if let Some(name) = self.contradicts(&texts) {
            let name = excerpt(name).escape_debug();
            return Err(fault(format_args!(
                "decode.mapping.columns and the names in the record differ: '{name}' stands in one alone"
            )));
        }
        self.with_names(&texts, rows)
    }

    /// A name that only one of the mapping and the record has.
    fn contradicts<'n>(&'n self, names: &[&'n str]) -> Option<&'n str> {
        if self.columns.is_empty() {
            return None;
        }
        let ours: BTreeSet<&str> = self.columns.iter().map(String::as_str).collect();
        let theirs: BTreeSet<&str> = names.iter().copied().collect();
        ours.symmetric_difference(&theirs).next().copied()
    }

    fn with_names(&self, names: &[&str], rows: &[Value]) -> Result<Value, Rejection> {
        let distinct: BTreeSet<&str> = names.iter().copied().collect();
        if distinct.len() != names.len() {
            return Err(fault("a name stands twice among the names of the columns"));
        }
        if !names.iter().any(|name| self.model.knows(name)) {
            let named = excerpt(names.first().unwrap_or(&"")).escape_debug();
            return Err(fault(format_args!(
                "the columns are called '{named}' and so on, and the model '{}' has no feature of these names; leave the names out of the \
                 log, or name the columns in decode.mapping.columns",
                self.model.name()
            )));
        }
        if let Some(Value::Object(_)) = rows.first() {
            return Ok(Value::Array(rows.to_vec()));
        }
        if !rows.is_empty() && rows.iter().all(|value| !value.is_array()) {
            return one(names, rows, 0).map(|row| Value::Array(vec![row]));
        }
        if rows.len() > MAX_ROWS {
            return Err(Rejection::new(RejectReason::TooLarge, format_args!("more than {MAX_ROWS} rows in one message")));
        }
        let rows = rows.iter().enumerate().map(|(nth, row)| {
            let values = row.as_array().ok_or_else(|| fault(format_args!("row {nth} is no array, as other rows are")))?;
            one(names, values, nth)
        });
        rows.collect::<Result<_, _>>().map(Value::Array)
    }

    /// Tensors of the Open Inference Protocol.
    fn tensors(&self, tensors: &[Value]) -> Result<Value, Rejection> {
        match tensor::read(tensors, |name| self.model.knows(name))? {
            tensor::Rows::Named(rows) => Ok(Value::Array(rows)),
            tensor::Rows::Positional(rows) => self.positional(&rows),
        }
    }

    /// Whether an object is a row: one of its names is a feature's.
    fn is_row(&self, map: &Map<String, Value>) -> bool {
        map.keys().any(|name| self.model.knows(name))
    }
}

/// One row with its names.
fn one(names: &[&str], values: &[Value], nth: usize) -> Result<Value, Rejection> {
    if names.len() != values.len() {
        return Err(fault(format_args!("row {nth} has {} values beside {} names", values.len(), names.len())));
    }
    Ok(Value::Object(names.iter().zip(values).map(|(name, value)| ((*name).to_owned(), value.clone())).collect()))
}

/// Columns as rows, if every value of the object is an array or an object of equal size. `None` for a row of single values.
fn columns_as_rows(map: &Map<String, Value>) -> Result<Option<Vec<Value>>, Rejection> {
    let values = |column: &Value| match column {
        Value::Array(values) => Some(values.to_vec()),
        // pandas' orient="dict": row number → value.
        Value::Object(values) if values.keys().all(|key| key.bytes().all(|b| b.is_ascii_digit())) => Some(in_order(values)),
        _ => None,
    };
    if !map.values().all(|column| column.is_array() || column.is_object()) {
        return Ok(None);
    }
    let Some(columns) = map.values().map(values).collect::<Option<Vec<_>>>() else { return Ok(None) };
    let rows = columns.first().map_or(0, Vec::len);
    if rows == 0 || columns.iter().any(|column| column.len() != rows) {
        // One row with values that are no scalars: each costs its feature and not the row.
        return Ok(None);
    }
    if rows > MAX_ROWS {
        return Err(Rejection::new(RejectReason::TooLarge, format_args!("more than {MAX_ROWS} rows in one message")));
    }
    let mut out: Vec<Map<String, Value>> = vec![Map::new(); rows];
    for (name, column) in map.keys().zip(columns) {
        for (row, value) in out.iter_mut().zip(column) {
            // Models with one input a feature write each value in a list of its own: {"age":[[39],[50]]}.
            let value = match value {
                Value::Array(mut one) if one.len() == 1 => one.remove(0),
                value => value,
            };
            row.insert(name.clone(), value);
        }
    }
    Ok(Some(out.into_iter().map(Value::Object).collect()))
}

/// The values of an object whose names are numbers, in the order of the numbers.
fn in_order(values: &Map<String, Value>) -> Vec<Value> {
    let mut all: Vec<(u64, &Value)> = values.iter().map(|(key, value)| (key.parse().unwrap_or(u64::MAX), value)).collect();
    all.sort_by_key(|(nth, _)| *nth);
    all.into_iter().map(|(_, value)| value.clone()).collect()
}
