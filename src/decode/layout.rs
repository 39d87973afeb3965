//! Reads JSON in any layout but the canonical one: a named format, a mapping, or both.
//!
//! The message becomes a tree, and pointers pick values from it. The values are read by the same rules as those of the canonical
//! layout; rows and answers may have any form that [`shape`](super::shape) knows. This costs a few times as much per event (measured
//! by `cargo bench --bench decode`), so a log in the canonical layout needs no mapping.

use std::borrow::Cow;

use serde::de::DeserializeSeed as _;
use serde_json::{Map, Value};

use super::answers::AnswersSeed;
use super::features::FeaturesSeed;
use super::fields;
use super::format::{Format, Places};
use super::mapping::{Columns, Mapping, MappingError};
use super::model::ModelLayout;
use super::shape::Shape;
use super::shape::answer::{AnswerShape, is_special};
use super::token::Token;
use super::{Batch, DecodeConfig, MAX_ROWS, Models, RejectReason, Rejection, Scratch, canonical, envelope, kserve, tree};
use crate::event::{Prediction, Query, Repair};

/// Where the fields of a record lie: for each field the pointers to try, in order.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    format: Format,
    /// The record within an envelope.
    pub record: Option<String>,
    pub timestamp: Vec<String>,
    pub model: Vec<String>,
    /// Model of records that name none.
    pub model_name: Option<String>,
    /// Whether `model_name` goes before what a record says.
    model_is_given: bool,
    model_version: Vec<String>,
    pub source_ip: Vec<String>,
    pub client_id: Vec<String>,
    pub request_id: Vec<String>,
    pub rows: Option<String>,
    pub features: Vec<String>,
    columns: Option<Columns>,
    prediction: Vec<String>,
    latency_ms: Vec<String>,
    label: Vec<String>,
}

// === impl Layout ===

impl Layout {
    /// The layout of a format with the places of a mapping. `only_model` is the model of records of a named format that name none.
    ///
    /// # Errors
    /// The first setting of the mapping that cannot work.
    pub(super) fn new(format: Format, mapping: Option<&Mapping>, only_model: Option<&str>) -> Result<Self, MappingError> {
        let default = Mapping::default();
        let mapping = mapping.unwrap_or(&default);
        if let Some(fault) = mapping.faults().into_iter().next() {
            return Err(fault);
        }
        let Places { timestamp, model, model_version, source_ip, client_id, request_id, features, prediction, latency_ms, label } =
            format.places();
        let pick = |set: &String, usual: &String, places: &[&str]| {
            if set == usual { places.iter().map(|place| (*place).to_owned()).collect() } else { vec![set.clone()] }
        };
        Ok(Self {
            format,
            record: mapping.record.clone(),
            timestamp: pick(&mapping.timestamp, &default.timestamp, timestamp),
            model: pick(&mapping.model, &default.model, model),
            model_name: mapping.model_name.clone().or_else(|| only_model.map(str::to_owned)),
            model_is_given: mapping.model_name.is_some(),
            model_version: pick(&mapping.model_version, &default.model_version, model_version),
            source_ip: pick(&mapping.source_ip, &default.source_ip, source_ip),
            client_id: pick(&mapping.client_id, &default.client_id, client_id),
            request_id: pick(&mapping.request_id, &default.request_id, request_id),
            rows: mapping.rows.clone(),
            features: pick(&mapping.features, &default.features, features),
            columns: mapping.columns.clone(),
            prediction: pick(&mapping.prediction, &default.prediction, prediction),
            latency_ms: pick(&mapping.latency_ms, &default.latency_ms, latency_ms),
            label: pick(&mapping.label, &default.label, label),
        })
    }

    /// Whether features stand beside the other fields.
    pub(super) fn is_flat(&self) -> bool {
        self.format == Format::Flat
    }

    /// Whether the halves of a call are logged apart.
    pub(super) fn is_in_halves(&self) -> bool {
        self.format == Format::Kserve
    }

    /// Reads one message into new queries at the end of `batch`.
    pub(super) fn read(
        &self,
        text: &str,
        settings: &DecodeConfig,
        models: &mut Models,
        scratch: &mut Scratch,
        batch: &mut Batch,
    ) -> Result<(), Rejection> {
        if self.format == Format::Flat && !text.trim_start().starts_with('{') {
            let message = "neither an object nor a row with as many values as the table has columns";
            return Err(Rejection::new(RejectReason::BadFeatures, message));
        }
        let root = tree::read(text)?;
        if !root.is_object() {
            return Err(Rejection::new(RejectReason::NotAnObject, "an event is a JSON object"));
        }
        self.read_tree(&root, settings, models, scratch, batch)
    }

    /// Reads one message from its tree. What a row can do without is repaired.
    pub(super) fn read_tree(
        &self,
        root: &Value,
        settings: &DecodeConfig,
        models: &mut Models,
        scratch: &mut Scratch,
        batch: &mut Batch,
    ) -> Result<(), Rejection> {
        let start = batch.len();
        if let Some(pointer) = &self.record {
            let (record, repairs) = envelope::open(root, pointer, |own, name| self.lacks(own, name))?;
            self.read_record(&record, settings, models, scratch, batch)?;
            batch.queries[start].repairs.merge(repairs);
            batch.share(start);
            return Ok(());
        }
        self.read_record(root, settings, models, scratch, batch)
    }

    /// Whether a record lacks every field that a name of its envelope stands for: what it has by another name counts.
    pub(super) fn lacks(&self, own: &Value, name: &str) -> bool {
        let lists = [
            &self.timestamp,
            &self.model,
            &self.model_version,
            &self.source_ip,
            &self.client_id,
            &self.request_id,
            &self.features,
            &self.prediction,
            &self.latency_ms,
            &self.label,
        ];
        let stands_for = |list: &&Vec<String>| list.iter().any(|pointer| pointer.split('/').nth(1) == Some(name));
        !lists.into_iter().filter(stands_for).any(|list| first(own, list).is_some())
    }

    fn read_record(
        &self,
        root: &Value,
        settings: &DecodeConfig,
        models: &mut Models,
        scratch: &mut Scratch,
        batch: &mut Batch,
    ) -> Result<(), Rejection> {
        let start = batch.len();
        if self.format == Format::Kserve {
            refuse_half(root)?;
        }
        let query = batch.push();
        let time = needed(root, &self.timestamp, "timestamp", RejectReason::BadTimestamp)?;
        query.time = fields::time(time, settings.assume_zone.as_ref())?;
        match (&self.model_name, first(root, &self.model)) {
            (Some(name), _) if self.model_is_given => query.model.push_str(name),
            (Some(name), None) => query.model.push_str(name),
            _ => fields::model(needed(root, &self.model, "model", RejectReason::BadField)?, &mut query.model),
        }
        if query.model.is_empty() {
            return Err(missing("model", &self.model));
        }
        let model = match models.find(&query.model) {
            Some(at) => &mut models.all[at],
            None => return Err(canonical::unknown_model(&query.model)),
        };
        let Query { address, latency_ms, model_version, account, request_id, repairs, .. } = query;
        *address = fields::address_of(first(root, &self.source_ip), settings.trusted_proxies, repairs);
        *latency_ms = fields::latency(scalar(root, &self.latency_ms), repairs);
        fields::text(scalar(root, &self.model_version), fields::VERSION, model_version, repairs);
        fields::text(scalar(root, &self.client_id), fields::ACCOUNT, account, repairs);
        fields::text(scalar(root, &self.request_id), fields::REQUEST_ID, request_id, repairs);
        let mut part = Part { layout: self, settings, model, scratch };
        match &self.rows {
            None => part.read(root, batch, start)?,
            Some(pointer) => part.rows(root, pointer, batch, start)?,
        }
        batch.share(start);
        Ok(())
    }
}

/// A CloudEvent that was not joined, or a response without its request, is no query.
fn refuse_half(root: &Value) -> Result<(), Rejection> {
    if root.get(kserve::NO_REQUEST).is_some() {
        let message = "a response whose request did not come within decode.pair_timeout_seconds";
        return Err(Rejection::new(RejectReason::ResponseWithoutRequest, message));
    }
    if kserve::is_half(root) {
        let message = "half of a call that was not joined: request and response are two CloudEvents";
        return Err(Rejection::new(RejectReason::BadFeatures, message));
    }
    Ok(())
}

/// The first value that one of the pointers finds; `null` counts as absent if another one finds something.
pub(super) fn first<'a>(root: &'a Value, pointers: &[String]) -> Option<&'a Value> {
    pointers.iter().find_map(|pointer| root.pointer(pointer).filter(|value| !value.is_null()))
}

/// The scalar that the pointers find; absent is null, and `None` is an object or an array.
fn scalar<'a>(root: &'a Value, pointers: &[String]) -> Option<Token<'a>> {
    first(root, pointers).map_or(Some(Token::Null), tree::token)
}

/// The scalar that a row cannot do without.
fn needed<'a>(root: &'a Value, pointers: &[String], name: &str, nested: RejectReason) -> Result<Token<'a>, Rejection> {
    match scalar(root, pointers) {
        Some(Token::Null) => Err(missing(name, pointers)),
        Some(token) => Ok(token),
        None => {
            let what = if first(root, pointers).is_some_and(Value::is_array) { "an array" } else { "an object" };
            let place = pointers.first().map_or("", String::as_str);
            Err(Rejection::new(nested, format_args!("{name} (at '{place}') is {what}, where one value belongs")))
        }
    }
}

fn missing(name: &str, pointers: &[String]) -> Rejection {
    let hint = if name == "model" { "; decode.mapping.model_name names it where the log does not" } else { "" };
    match pointers {
        [place] => Rejection::new(RejectReason::MissingField, format_args!("there is no '{name}' at '{place}'{hint}")),
        _ => {
            let places = pointers.join("', '");
            let message = format_args!("there is no '{name}' at '{places}'; decode.mapping.{name} says where it is{hint}");
            Rejection::new(RejectReason::MissingField, message)
        }
    }
}

/// Reads features, answers and label of a message, or of one of its rows.
struct Part<'a> {
    layout: &'a Layout,
    settings: &'a DecodeConfig,
    model: &'a mut ModelLayout,
    scratch: &'a mut Scratch,
}

// === impl Part ===

impl Part<'_> {
    /// Rows that are objects with features and prediction of their own.
    fn rows(&mut self, root: &Value, pointer: &str, batch: &mut Batch, start: usize) -> Result<(), Rejection> {
        let rows = root.pointer(pointer).and_then(Value::as_array).filter(|rows| !rows.is_empty());
        let rows = rows
            .ok_or_else(|| Rejection::new(RejectReason::MissingField, format_args!("there is no array of rows at '{pointer}'")))?;
        for (nth, row) in rows.iter().enumerate() {
            if nth == MAX_ROWS {
                return Err(Rejection::new(RejectReason::TooLarge, format_args!("more than {MAX_ROWS} rows in one message")));
            }
            if nth > 0 {
                batch.push();
            }
            self.read(row, batch, start + nth)?;
            if batch.len() != start + nth + 1 {
                return Err(Rejection::new(RejectReason::BadFeatures, format_args!("row {nth} holds several rows itself")));
            }
        }
        Ok(())
    }

    /// The query at `at`, and those behind it if the features are many rows.
    fn read(&mut self, part: &Value, batch: &mut Batch, at: usize) -> Result<(), Rejection> {
        let Query { label, repairs, .. } = &mut batch.queries[at];
        fields::text(scalar(part, &self.layout.label), fields::LABEL, label, repairs);
        if part.get(kserve::NO_RESPONSE).is_some() && self.layout.format == Format::Kserve {
            repairs.add(Repair::ResponseMissing);
        }
        let many = {
            let features = self.features(part)?;
            let Scratch { fault, row, .. } = &mut *self.scratch;
            let seed = FeaturesSeed { model: &mut *self.model, scratch: row, fault, batch };
            seed.deserialize(features.as_ref())
                .map_err(|error| fault.take().unwrap_or_else(|| Rejection::new(RejectReason::BadFeatures, error)))?
        };
        self.answers(part, &mut batch.queries[at..], many, batch.len - at);
        Ok(())
    }

    /// The rows in a form that the reader of features takes.
    fn features<'v>(&self, part: &'v Value) -> Result<Cow<'v, Value>, Rejection> {
        let place = &self.layout.features;
        let value = first(part, place).or_else(|| place.iter().find_map(|pointer| part.pointer(pointer)));
        let value = value.ok_or_else(|| missing("features", place))?;
        if self.layout.format == Format::Flat
            && let (Value::Object(map), [""]) = (value, &*place.iter().map(String::as_str).collect::<Vec<_>>())
        {
            return self.flat(map).map(Cow::Owned);
        }
        let named;
        let columns: &[String] = match &self.layout.columns {
            None => &[],
            Some(Columns::Names(names)) => names,
            Some(Columns::Pointer(pointer)) => {
                let texts = part.pointer(pointer).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
                named = texts.iter().filter_map(Value::as_str).map(str::to_owned).collect::<Vec<_>>();
                if named.is_empty() || named.len() != texts.len() {
                    let message = format_args!("there is no list of names at '{pointer}' (decode.mapping.columns)");
                    return Err(Rejection::new(RejectReason::BadFeatures, message));
                }
                &named
            }
        };
        Shape { model: self.model, columns }.rows(value)
    }

    /// The features out of an object that has other fields, too.
    fn flat(&self, map: &Map<String, Value>) -> Result<Value, Rejection> {
        let features: Map<String, Value> =
            map.iter().filter(|(name, _)| self.model.knows(name)).map(|(name, value)| (name.clone(), value.clone())).collect();
        if features.is_empty() {
            let message = format_args!("no feature of the model '{}' stands in the record", self.model.name());
            return Err(Rejection::new(RejectReason::BadFeatures, message));
        }
        Ok(Value::Object(features))
    }

    /// Gives the queries their answers. The answer says little about the caller, and the row much: one that cannot be read is missing.
    fn answers(&mut self, part: &Value, queries: &mut [Query], many: bool, rows: usize) {
        let queries = &mut queries[..rows];
        let mut repair = None;
        for pointer in &self.layout.prediction {
            let name = pointer.rsplit('/').next().unwrap_or_default();
            if self.layout.format == Format::Flat && self.model.knows(name) {
                continue;
            }
            let Some(value) = part.pointer(pointer).filter(|value| !value.is_null()) else { continue };
            match self.answer(value, queries, many) {
                Ok(()) => return,
                Err(found) => repair = repair.or(Some(found)),
            }
        }
        for query in queries {
            query.prediction = Prediction::Missing;
            if let Some(repair) = repair {
                query.repairs.add(repair);
            }
        }
    }

    fn answer(&mut self, value: &Value, queries: &mut [Query], many: bool) -> Result<(), Repair> {
        let Self { model, scratch: Scratch { fault, answers, .. }, settings, .. } = self;
        let model: &ModelLayout = model;
        if !is_special(value, model) {
            answers.clear();
            let read = AnswersSeed { model, answers, fault }.deserialize(value).is_ok();
            if read && answers.give(model, queries.len(), many, |nth, answer| queries[nth].prediction = answer).is_ok() {
                return Ok(());
            }
        }
        let shape = AnswerShape { model, positive: settings.positive_class.as_ref() };
        let found = shape.read(value, queries.len())?;
        for (query, prediction) in queries.iter_mut().zip(found) {
            query.prediction = prediction;
        }
        Ok(())
    }
}
