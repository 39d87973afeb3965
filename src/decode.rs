//! From the bytes of a record to queries bound to a schema, or to a reason why not.
//!
//! The canonical layout is read in one pass over the borrowed bytes into the buffers of a [`Batch`]. Decoding allocates nothing once
//! these have grown ([`canonical`], [`features`], [`row`], [`answers`]). Any other JSON has a named [`Format`], is described by a
//! [`Mapping`] of JSON pointers, or both, and goes through a tree, which costs more ([`layout`], [`shape`]). Both ways refuse the same
//! messages with the same words. The layout of a file may also be recognised ([`recognise`]).
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
mod envelope;
mod features;
mod fields;
pub mod format;
pub mod kserve;
mod layout;
mod lenient;
pub mod mapping;
pub mod model;
pub mod recognise;
mod row;
mod shape;
mod token;
mod tree;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use batch::Batch;
pub use format::Format;
pub use mapping::Mapping;
pub use model::ModelLayout;
pub use shape::answer::PositiveClass;
#[cfg(feature = "runtime")]
pub(crate) use shape::payload::records as csv_records;

use crate::event::{Query, Zone};
use crate::outcome::{RejectReason, Rejection, excerpt};
use crate::reference::Reference;
use crate::source::Record;
use layout::Layout;
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
    /// The zone of times that state none: `UTC`, an offset such as `+02:00`, or a name such as `Europe/Berlin`. Without it such times
    /// are rejected as `timestamp_without_zone`.
    pub assume_zone: Option<Zone>,
    /// Whether tables as text (CSV) write numbers with a decimal comma: `3,5` and `1.234,5`.
    pub decimal_comma: bool,
    /// Whether the texts and numbers that many callers send and the reference does not know may be shown: a verdict on the model, the
    /// summary and the report then give an example.
    pub example_values: bool,
    /// Layout of the records, by name. Unset, a file's is recognised and a topic's is the canonical one, or the mapping's.
    pub format: Option<Format>,
    /// The class whose probability is the score, where the reference has scores and the log has probabilities by class: its name, or
    /// its place in an array.
    pub positive_class: Option<PositiveClass>,
    /// Names of features in the log that differ from those in the reference, each with the one in the reference.
    pub rename: BTreeMap<String, String>,
    /// Longest wait of a request for its response, in seconds of event time, where they are logged apart.
    pub pair_timeout_seconds: u32,
    /// Requests and responses that wait at most; beyond it the oldest is given up.
    pub max_waiting: usize,
    /// Where the fields lie; what it does not set is where the format has it.
    pub mapping: Option<Mapping>,
    /// Topics whose records have a layout of their own.
    pub topics: BTreeMap<String, TopicLayout>,
}

/// The layout of one topic's records, instead of `decode.format` and `decode.mapping`.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TopicLayout {
    /// As `decode.format`.
    pub format: Option<Format>,
    /// As `decode.mapping`.
    pub mapping: Option<Mapping>,
}

impl Default for DecodeConfig {
    fn default() -> Self {
        Self {
            max_message_bytes: MAX_MESSAGE_BYTES,
            trusted_proxies: 0,
            assume_zone: None,
            decimal_comma: false,
            example_values: true,
            format: None,
            positive_class: None,
            rename: BTreeMap::new(),
            // Half of what the engine lets queries be late, so that a request that was given up still counts in its windows.
            pair_timeout_seconds: 30,
            // A hundred calls under way for every second of the time-out take some 30 MB.
            max_waiting: 10_000,
            mapping: None,
            topics: BTreeMap::new(),
        }
    }
}

/// The format that is read through a tree; `None` for the canonical layout, which is streamed.
fn tree_format(format: Option<Format>, mapping: Option<&Mapping>) -> Option<Format> {
    match format {
        None | Some(Format::Auto | Format::Canonical) => mapping.map(|_| Format::Canonical),
        named => named,
    }
}

impl DecodeConfig {
    /// The settings for the records of one topic.
    #[must_use]
    pub fn of_topic(mut self, topic: &str) -> Self {
        if let Some(TopicLayout { format, mapping }) = self.topics.remove(topic) {
            (self.format, self.mapping) = (format.or(Some(Format::Canonical)), mapping);
        }
        self
    }

    /// How requests and responses are joined that are logged apart, in any topic; `None` if they are not.
    pub fn pairs(&self) -> Option<kserve::Pairs> {
        let limits = kserve::Limits { seconds: self.pair_timeout_seconds, halves: self.max_waiting };
        let mut formats = std::iter::once(self.format).chain(self.topics.values().map(|topic| topic.format));
        formats.any(|format| format == Some(Format::Kserve)).then(|| kserve::Pairs::new(limits, self.assume_zone.clone()))
    }

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
    /// `None` for the canonical layout, which is streamed.
    layout: Option<Layout>,
    /// Topics with a layout of their own.
    topics: Vec<(Box<str>, Option<Layout>)>,
    /// The canonical layout, for the second reading.
    canonical: Layout,
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
        let is_feature = |name: &String| references.iter().any(|one| one.features.iter().any(|feature| feature.name == *name));
        if let Some(wrong) = config.rename.values().find(|name| !references.is_empty() && !is_feature(name)) {
            let what =
                format!("no reference has a feature '{}'; write the name in the log = the name in the reference", excerpt(wrong));
            return Err(mapping::MappingError { setting: mapping::RENAME, what });
        }
        let compile = |format: Option<Format>, mapping: Option<&Mapping>| {
            let only = match references {
                [one] if format.is_some() => Some(one.model.as_str()),
                _ => None,
            };
            tree_format(format, mapping).map(|format| Layout::new(format, mapping, only)).transpose()
        };
        let layout = compile(config.format, config.mapping.as_ref())?;
        let topics =
            config.topics.iter().map(|(topic, own)| Ok((topic.as_str().into(), compile(own.format, own.mapping.as_ref())?)));
        let topics = topics.collect::<Result<_, mapping::MappingError>>()?;
        let all = references.iter().map(|reference| ModelLayout::new(reference, config.example_values, &config.rename)).collect();
        let canonical = Layout::new(Format::Canonical, None, None)?;
        Ok(Self { config, layout, topics, canonical, models: Models { all, last: 0 }, scratch: Scratch::default() })
    }

    /// Longest message in bytes that is not refused as too large.
    pub fn max_message_bytes(&self) -> usize {
        self.config.max_message_bytes
    }

    /// The half of a call that a record is, in a topic where the halves are logged apart. A joined call is decoded like any record.
    pub fn half(&self, record: &Record<'_>) -> Option<kserve::Half> {
        let fits = record.payload.len() <= self.config.max_message_bytes;
        let layout = layout_of(&self.topics, self.layout.as_ref(), record).filter(|layout| fits && layout.is_in_halves());
        layout.and_then(|_| kserve::Half::read(record, self.config.assume_zone.as_ref()))
    }

    /// Appends the queries of `record` to `batch` and returns how many they are. A refused record leaves `batch` as it was.
    ///
    /// # Errors
    /// Why the record is refused.
    pub fn decode(&mut self, record: &Record<'_>, batch: &mut Batch) -> Result<usize, Rejection> {
        let start = batch.len;
        self.scratch.fault = None;
        let payload = without_schema_id(record.payload);
        let read = self.read(record, payload, batch).or_else(|rejection| {
            self.models.forget_names(&batch.queries[start..batch.len]);
            batch.len = start;
            self.read_again(record, payload, rejection, batch)
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
    fn read(&mut self, record: &Record<'_>, bytes: &[u8], batch: &mut Batch) -> Result<(), Rejection> {
        if bytes.len() > self.config.max_message_bytes {
            let limit = self.config.max_message_bytes;
            return Err(Rejection::new(
                RejectReason::TooLarge,
                format_args!("longer than {limit} bytes (decode.max_message_bytes)"),
            ));
        }
        if let [0, _, _, _, _, _, ..] = bytes {
            let message = "the record begins with a Confluent schema id, and no JSON is behind it; Avro and Protobuf are not read without source.registry";
            return Err(Rejection::new(RejectReason::NotJson, message));
        }
        let text = std::str::from_utf8(bytes).map_err(|fault| {
            Rejection::new(
                RejectReason::NotUtf8,
                format_args!("the byte at position {} begins no UTF-8 character", fault.valid_up_to()),
            )
        })?;
        let Self { models, scratch, config, layout, topics, .. } = self;
        match layout_of(topics, layout.as_ref(), record) {
            None => canonical::read(text, config, models, scratch, batch),
            Some(layout) => layout.read(text, config, models, scratch, batch),
        }
    }

    /// Reads a record that was refused a second time, and saves what can be saved.
    fn read_again(
        &mut self,
        record: &Record<'_>,
        payload: &[u8],
        rejection: Rejection,
        batch: &mut Batch,
    ) -> Result<(), Rejection> {
        let layout = layout_of(&self.topics, self.layout.as_ref(), record);
        if rejection.reason == RejectReason::UnknownModel && (layout.is_some() || names_one_model(payload)) {
            // No model is watched, so nobody can hide from it; logs of many models have many such records.
            return Err(rejection);
        }
        if layout.is_some_and(Layout::is_flat) && !payload.trim_ascii_start().starts_with(b"{") {
            // A row of a table that is out of step: which value belongs to which name cannot be saved.
            return Err(rejection);
        }
        self.scratch.fault = None;
        let lenient = Lenient { layout: layout.unwrap_or(&self.canonical), canonical: layout.is_none(), settings: &self.config };
        lenient.read(payload, rejection, &mut self.models, &mut self.scratch, batch)
    }
}

/// The JSON behind a Confluent schema id: a zero byte, and four bytes of the id. The schema says nothing that the reference does not.
fn without_schema_id(payload: &[u8]) -> &[u8] {
    match payload {
        [0, _, _, _, _, json @ ..] if json.trim_ascii_start().starts_with(b"{") => json,
        _ => payload,
    }
}

/// The layout of a record: its topic's, or that of all others.
fn layout_of<'a>(topics: &'a [(Box<str>, Option<Layout>)], usual: Option<&'a Layout>, record: &Record<'_>) -> Option<&'a Layout> {
    let own = topics.iter().find(|(topic, _)| **topic == *record.provenance.topic.name());
    own.map_or(usual, |(_, layout)| layout.as_ref())
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
