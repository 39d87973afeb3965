//! From the bytes of a record to queries bound to a schema, or to a reason why not.
//!
//! The canonical layout is read in one pass over the borrowed bytes into the buffers of a [`Batch`]. Decoding allocates nothing once
//! these have grown ([`canonical`], [`features`], [`row`], [`answers`]). Any other JSON is described by a [`Mapping`] of JSON pointers
//! and goes through a tree, which costs more ([`mapping`]). Both ways refuse the same messages with the same words.
//!
//! A message may hold many rows (a batch call). Each becomes a query of its own, numbered in `provenance.row`. A message is taken
//! whole or refused whole, so that accepted + rejected + late counts every row of every message exactly once.
//!
//! Sound messages are read once. A message with a fault is read a second time ([`lenient`]), and a fault in a field that judging can do
//! without costs that field alone; `docs/bad-records.md` lists what is used instead. A message is refused when its time, its model or
//! its features cannot be read; the rejection then says whose message it was, as far as that can be read.
//!
//! A *value* that the model never saw is no fault but evidence: an unknown category, text in a numeric feature and a missing feature
//! are decoded as such and judged.

mod answers;
pub mod batch;
mod canonical;
mod features;
mod fields;
mod lenient;
pub mod mapping;
pub mod model;
mod row;
mod token;
mod tree;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use batch::Batch;
pub use mapping::Mapping;
pub use model::ModelLayout;

use crate::event::Query;
use crate::outcome::{RejectReason, Rejection, excerpt};
use crate::reference::Reference;
use crate::source::Record;
use lenient::Lenient;

/// Most rows of one message. Chosen: batch calls of serving systems are far smaller, and a message with more rows would make the
/// detector allocate without bound.
pub const MAX_ROWS: usize = 16_384;
/// Longest message in bytes unless configured otherwise: four times Kafka's default for `max.message.bytes`, because log files know
/// no such limit.
pub const MAX_MESSAGE_BYTES: usize = 4 * 1024 * 1024;
/// Longest text of an id, model name or label, in bytes. Chosen: ids are shorter (a UUID has 36), and they are kept in memory and
/// repeated in verdicts, so that longer ones would let a caller fill both.
pub const MAX_TEXT_BYTES: usize = 512;
/// Most classes of one answer. Chosen: as many as a dataset may have columns; an answer with more is not this model's.
pub const MAX_CLASSES: usize = 4_096;
/// Most trusted proxies. Chosen: more than any chain of proxies has, so that a larger number is a mistake.
pub const MAX_TRUSTED_PROXIES: usize = 32;

/// Settings of the decoder.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DecodeConfig {
    /// Longest message in bytes; a longer one is rejected as `too_large`.
    pub max_message_bytes: usize,
    /// How many addresses at the end of a list in `source_ip` are proxies of the operator's. They are skipped; the address before them is
    /// the caller's, because whoever is further away can only put addresses in front.
    pub trusted_proxies: usize,
    /// Whether the texts and numbers that many callers send and the reference does not know may be shown: a verdict on the model, the
    /// summary and the report then give an example.
    pub example_values: bool,
    /// Where the fields lie; absent means the canonical layout.
    pub mapping: Option<Mapping>,
}

impl Default for DecodeConfig {
    fn default() -> Self {
        Self { max_message_bytes: MAX_MESSAGE_BYTES, trusted_proxies: 0, example_values: true, mapping: None }
    }
}

impl DecodeConfig {
    /// What is wrong with the number of trusted proxies, if anything.
    pub fn proxies_fault(&self) -> Option<String> {
        let too_many = self.trusted_proxies > MAX_TRUSTED_PROXIES;
        too_many.then(|| format!("{} proxies are more than {MAX_TRUSTED_PROXIES}", self.trusted_proxies))
    }
}

/// Reads records.
#[derive(Debug)]
pub struct Decoder {
    config: DecodeConfig,
    mapping: Option<mapping::Compiled>,
    /// The canonical layout, for the second reading.
    canonical: mapping::Compiled,
    models: Models,
    scratch: Scratch,
}

/// The models with a reference.
#[derive(Debug)]
struct Models {
    all: Vec<ModelLayout>,
    /// Position of the model that was found last.
    last: usize,
}

/// Buffers that are used again for every message.
#[derive(Debug, Default)]
struct Scratch {
    /// Why the current message is refused; set where the fault is found, because the parser's own error has no room for it.
    fault: Option<Rejection>,
    row: row::RowScratch,
    answers: answers::Answers,
}

// === impl Decoder ===

impl Decoder {
    /// A decoder for the models of `references`.
    ///
    /// # Errors
    /// The first setting of the mapping that cannot work.
    pub fn new(references: &[Arc<Reference>], config: DecodeConfig) -> Result<Self, mapping::MappingError> {
        let mapping = config.mapping.as_ref().map(Mapping::compile).transpose()?;
        let all = references.iter().map(|reference| ModelLayout::new(reference, config.example_values)).collect();
        let canonical = Mapping::default().compile()?;
        Ok(Self { config, mapping, canonical, models: Models { all, last: 0 }, scratch: Scratch::default() })
    }

    /// Longest message in bytes that is not refused as too large.
    pub fn max_message_bytes(&self) -> usize {
        self.config.max_message_bytes
    }

    /// Appends the queries of `record` to `batch` and returns how many they are. A refused record leaves `batch` as it was.
    ///
    /// # Errors
    /// Why the record is refused.
    pub fn decode(&mut self, record: &Record<'_>, batch: &mut Batch) -> Result<usize, Rejection> {
        let start = batch.len;
        self.scratch.fault = None;
        let read = self.read(record, batch).or_else(|rejection| {
            batch.len = start;
            self.read_again(record, rejection, batch)
        });
        match read {
            Ok(()) => {
                for (row, query) in (0_u32..).zip(&mut batch.queries[start..batch.len]) {
                    query.provenance.clone_from(&record.provenance);
                    query.provenance.row = row;
                }
                Ok(batch.len - start)
            }
            Err(rejection) => {
                self.models.forget_names(&batch.queries[start..batch.len]);
                batch.len = start;
                Err(rejection)
            }
        }
    }

    /// Checks length and encoding, and reads the record in the configured layout.
    fn read(&mut self, record: &Record<'_>, batch: &mut Batch) -> Result<(), Rejection> {
        let bytes = record.payload;
        if bytes.len() > self.config.max_message_bytes {
            let limit = self.config.max_message_bytes;
            return Err(Rejection::new(
                RejectReason::TooLarge,
                format_args!("longer than {limit} bytes (decode.max_message_bytes)"),
            ));
        }
        let text = std::str::from_utf8(bytes).map_err(|fault| {
            Rejection::new(
                RejectReason::NotUtf8,
                format_args!("the byte at position {} begins no UTF-8 character", fault.valid_up_to()),
            )
        })?;
        let Self { models, scratch, config: DecodeConfig { trusted_proxies, .. }, .. } = self;
        match &self.mapping {
            None => canonical::read(text, *trusted_proxies, models, scratch, batch),
            Some(mapping) => mapping::read(mapping, text, *trusted_proxies, models, scratch, batch),
        }
    }

    /// Reads a record that was refused a second time, and saves what can be saved.
    fn read_again(&mut self, record: &Record<'_>, rejection: Rejection, batch: &mut Batch) -> Result<(), Rejection> {
        if rejection.reason == RejectReason::UnknownModel && (self.mapping.is_some() || names_one_model(record.payload)) {
            // No model is watched, so nobody can hide from it; logs of many models have many such records.
            return Err(rejection);
        }
        self.scratch.fault = None;
        let lenient = Lenient {
            mapping: self.mapping.as_ref().unwrap_or(&self.canonical),
            canonical: self.mapping.is_none(),
            trusted_proxies: self.config.trusted_proxies,
            max_message_bytes: self.config.max_message_bytes,
        };
        lenient.read(record.payload, rejection, &mut self.models, &mut self.scratch, batch)
    }
}

/// Whether the name `model` stands once in a record, and nothing is escaped that could be another.
fn names_one_model(payload: &[u8]) -> bool {
    let text = std::str::from_utf8(payload).unwrap_or_default();
    text.matches(r#""model""#).count() == 1 && !text.contains(r"\u")
}

// === impl Models ===

impl Models {
    /// Forgets the names that a refused record noted.
    fn forget_names(&mut self, queries: &[Query]) {
        let Some(model) = self.all.get_mut(self.last) else { return };
        queries.iter().flat_map(|query| &query.new_names).for_each(|name| model.forget_unknown(name));
    }

    /// Position of the model called `name`. Logs rarely change the model from line to line, so the last one is tried first.
    fn find(&mut self, name: &str) -> Option<usize> {
        if self.all.get(self.last).is_none_or(|model| model.name() != name) {
            self.last = self.all.iter().position(|model| model.name() == name)?;
        }
        Some(self.last)
    }
}

// === impl Rejection ===

impl Rejection {
    /// What `serde_json` found wrong with a text, in this program's words.
    fn from_json(error: &serde_json::Error, text: &str) -> Self {
        let place = format!("line {}, column {}", error.line(), error.column());
        let said = error.to_string();
        if error.is_eof() {
            return Self::new(RejectReason::Truncated, format_args!("the JSON ends in the middle, at {place}"));
        }
        if said.starts_with("recursion limit") {
            return Self::new(RejectReason::TooDeep, format_args!("nested deeper than 127 levels, at {place}"));
        }
        if said.starts_with("number out of range") {
            return Self::new(RejectReason::BadField, format_args!("a number that no 64-bit float holds, at {place}"));
        }
        if error.is_data() {
            return Self::new(RejectReason::NotAnObject, format_args!("an event is a JSON object: {said}"));
        }
        let at = text.lines().nth(error.line().saturating_sub(1)).unwrap_or_default();
        let near = at.get(error.column().saturating_sub(1)..).unwrap_or_default();
        if near.starts_with("NaN") || near.starts_with("Infinity") || near.starts_with("-Infinity") {
            return Self::new(RejectReason::NotJson, format_args!("NaN and Infinity are no JSON, at {place}; log null instead"));
        }
        Self::new(RejectReason::NotJson, format_args!("not JSON: {said}"))
    }
}

#[cfg(test)]
mod tests;
