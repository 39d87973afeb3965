//! From the bytes of a record to queries bound to a schema, or to a reason why not.
//!
//! The canonical layout is read in one pass over the borrowed bytes, straight into reused [`Query`] buffers: once those have
//! grown, decoding allocates nothing ([`canonical`], [`features`]). Any other JSON is described by a [`Mapping`] of JSON
//! pointers and takes the longer way through a tree ([`mapping`]). Both refuse the same things with the same words.
//!
//! A message may hold many rows (a batch call); each becomes a query of its own, numbered in `provenance.row`. A message is
//! taken whole or refused whole, so that "accepted + rejected + late" counts every message's rows exactly once.
//!
//! What is refused and what is merely odd: a message is refused when trusting it would mean guessing (twice the same key, an
//! address that is none, a time in the year 1). A *value* the model never saw is evidence, not a fault: an unknown category,
//! text in a numeric feature or a missing feature is decoded as such and judged.

pub mod canonical;
pub mod features;
pub mod fields;
pub mod mapping;
pub mod model;
pub mod token;
pub mod tree;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use mapping::Mapping;
pub use model::Model;

use crate::event::{Address, Cell, EventTime, Prediction, Provenance, Query};
use crate::outcome::{RejectReason as Reason, Rejection, excerpt};
use crate::reference::Reference;
use crate::source::Record;

/// Rows that one message may hold. A batch call of this size is already a file upload; beyond it the message is a way to make
/// the detector allocate.
pub const MAX_ROWS: usize = 16_384;
/// Longest message in bytes unless configured otherwise: four times Kafka's default for `max.message.bytes`, for files.
pub const MAX_MESSAGE_BYTES: usize = 4 * 1024 * 1024;
/// Longest text of an id, model name or label, in bytes. Ids are kept in memory and repeated in verdicts, so they are bounded.
pub const MAX_TEXT_BYTES: usize = 512;
/// Unknown names that one object may hold; above it the object is not this model's input.
pub const MAX_UNKNOWN_NAMES: usize = 4_096;

/// Settings of the decoder.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DecodeConfig {
    /// Longest message in bytes; a longer one is rejected as `too_large`.
    pub max_message_bytes: usize,
    /// Where the fields lie; absent means the canonical layout.
    pub mapping: Option<Mapping>,
}

impl Default for DecodeConfig {
    fn default() -> Self {
        Self { max_message_bytes: MAX_MESSAGE_BYTES, mapping: None }
    }
}

/// Decoded queries, reused from batch to batch so that their buffers are allocated once.
#[derive(Debug, Default)]
pub struct Batch {
    queries: Vec<Query>,
    len: usize,
}

/// Reads records.
#[derive(Debug)]
pub struct Decoder {
    config: DecodeConfig,
    mapping: Option<mapping::Compiled>,
    models: Models,
    scratch: Scratch,
}

/// The models that are known, and the one that was asked for last.
#[derive(Debug)]
struct Models {
    all: Vec<Model>,
    last: usize,
}

/// Buffers that live from message to message.
#[derive(Debug, Default)]
struct Scratch {
    /// Why the current message is refused, set where the fault is found.
    fault: Option<Rejection>,
    row: features::RowScratch,
    answers: fields::Answers,
    /// Hashes of unknown top-level names.
    unknown: model::Names,
}

// === impl Decoder ===

impl Decoder {
    /// A decoder for the models of `references`.
    ///
    /// Fails when the mapping contradicts itself; says which setting.
    pub fn new(references: &[Arc<Reference>], config: DecodeConfig) -> Result<Self, mapping::MappingError> {
        let mapping = config.mapping.as_ref().map(Mapping::compile).transpose()?;
        let all = references.iter().map(|reference| Model::new(reference)).collect();
        Ok(Self { config, mapping, models: Models { all, last: 0 }, scratch: Scratch::default() })
    }

    /// Longest message in bytes that is not refused as too large.
    pub fn max_message_bytes(&self) -> usize {
        self.config.max_message_bytes
    }

    /// Appends the queries of `record` to `batch` and says how many they are. A refused record leaves `batch` as it was.
    pub fn decode(&mut self, record: &Record<'_>, batch: &mut Batch) -> Result<usize, Rejection> {
        let start = batch.len;
        self.scratch.fault = None;
        let read = self.read(record, batch);
        match read {
            Ok(()) => {
                for (row, query) in (0_u32..).zip(&mut batch.queries[start..batch.len]) {
                    query.provenance.clone_from(&record.provenance);
                    query.provenance.row = row;
                }
                Ok(batch.len - start)
            }
            Err(rejection) => {
                batch.len = start;
                Err(rejection)
            }
        }
    }

    fn read(&mut self, record: &Record<'_>, batch: &mut Batch) -> Result<(), Rejection> {
        let bytes = record.payload;
        if bytes.len() > self.config.max_message_bytes {
            let limit = self.config.max_message_bytes;
            return Err(Rejection::new(Reason::TooLarge, format_args!("longer than {limit} bytes (decode.max_message_bytes)")));
        }
        let text = std::str::from_utf8(bytes).map_err(|fault| {
            Rejection::new(Reason::NotUtf8, format_args!("the byte at position {} begins no UTF-8 character", fault.valid_up_to()))
        })?;
        match &self.mapping {
            None => canonical::read(text, &mut self.models, &mut self.scratch, batch),
            Some(mapping) => mapping::read(mapping, text, &mut self.models, &mut self.scratch, batch),
        }
    }
}

// === impl Models ===

impl Models {
    /// Position of the model called `name`. Logs rarely change the model from line to line, so the last one is tried first.
    fn find(&mut self, name: &str) -> Option<usize> {
        if self.all.get(self.last).is_none_or(|model| model.name() != name) {
            self.last = self.all.iter().position(|model| model.name() == name)?;
        }
        Some(self.last)
    }
}

// === impl Batch ===

impl Batch {
    /// Forgets the queries and keeps their buffers.
    pub fn clear(&mut self) {
        self.len = 0;
    }

    /// The queries, in the order of the records and of the rows within them.
    pub fn queries(&self) -> &[Query] {
        &self.queries[..self.len]
    }

    /// How many queries there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// A blank query at the end, its buffers kept from before.
    fn push(&mut self) -> &mut Query {
        if self.len == self.queries.len() {
            self.queries.push(Query::default());
        }
        let query = &mut self.queries[self.len];
        self.len += 1;
        // Emptied, not dropped: that is the whole point of the batch. Named one by one, so that a new field cannot be forgotten.
        let Query {
            time,
            model,
            model_version,
            request_id,
            address,
            account,
            row,
            prediction,
            latency_ms,
            label,
            extra_features,
            provenance,
        } = &mut *query;
        for text in [model, model_version, request_id, account, label] {
            text.clear();
        }
        row.clear();
        (*time, *address, *prediction, *latency_ms) = (EventTime::default(), Address::Unknown, Prediction::Missing, None);
        (*extra_features, *provenance) = (0, Provenance::default());
        query
    }

    /// Copies what all rows of a message share from its first query to the others.
    fn share(&mut self, start: usize) {
        let Some((first, rest)) = self.queries[start..self.len].split_first_mut() else { return };
        for query in rest {
            query.time = first.time;
            query.address = first.address;
            query.latency_ms = first.latency_ms;
            query.model.push_str(&first.model);
            query.model_version.push_str(&first.model_version);
            query.request_id.push_str(&first.request_id);
            query.account.push_str(&first.account);
            if query.label.is_empty() {
                query.label.push_str(&first.label);
            }
        }
    }
}

/// A row of `width` missing values, in a kept buffer.
fn blank_row(row: &mut Vec<Cell>, width: usize) {
    row.clear();
    row.resize(width, Cell::MISSING);
}

// === impl Rejection ===

impl Rejection {
    /// What `serde_json` found wrong with a text, in this program's words.
    fn from_json(error: &serde_json::Error, text: &str) -> Self {
        let place = format!("line {}, column {}", error.line(), error.column());
        let said = error.to_string();
        if error.is_eof() {
            return Self::new(Reason::Truncated, format_args!("the JSON ends in the middle, at {place}"));
        }
        if said.starts_with("recursion limit") {
            return Self::new(Reason::TooDeep, format_args!("nested deeper than 127 levels, at {place}"));
        }
        if said.starts_with("number out of range") {
            return Self::new(Reason::NumberOutOfRange, format_args!("a number that no 64-bit float holds, at {place}"));
        }
        if error.is_data() {
            return Self::new(Reason::NotAnObject, format_args!("an event is a JSON object: {said}"));
        }
        let at = text.lines().nth(error.line().saturating_sub(1)).unwrap_or_default();
        let near = at.get(error.column().saturating_sub(1)..).unwrap_or_default();
        if near.starts_with("NaN") || near.starts_with("Infinity") || near.starts_with("-Infinity") {
            return Self::new(Reason::NotJson, format_args!("NaN and Infinity are no JSON, at {place}; log null instead"));
        }
        Self::new(Reason::NotJson, format_args!("not JSON: {said}"))
    }
}

#[cfg(test)]
mod tests;
