//! The format of the rows topic: a frame is the next decoded rows of one source partition for the models of one rows partition, and a mark of
//! time.
//!
//! The first byte is the version. The rest is postcard, which writes numbers in as few bytes as they need; the values of a row are packed by
//! [`cells`]. Nothing in a frame is trusted: a damaged one is an error, and a row that does not fit the model is rejected by the owner.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::cells;
use crate::event::repairs::{Repair, Repairs};
use crate::event::{Address, EventTime, Prediction, Provenance, Query, Topic};
use crate::outcome::{CallerFacts, RejectReason, Rejection};
use crate::source::OwnedHeader;
use crate::source::feed::Partition;

/// Version of the format.
pub const FORMAT: u8 = 1;

/// Why a frame cannot be read.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FrameError {
    /// It has another version.
    #[error("it has format {0}, this program reads {FORMAT}; let all processes run the same version")]
    Version(u8),
    /// It is no frame.
    #[error("it is no frame of rows; nothing else may write to this topic")]
    Damaged,
}

/// What a frame says beside its rows.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Mark {
    /// Source topic.
    pub topic: String,
    /// Source partition.
    pub partition: i32,
    /// Event time that the source partition has reached, in microseconds; none before the first record that could be read.
    pub watermark: Option<i64>,
    /// Whether the writer has read the source partition to its end.
    pub caught_up: bool,
    /// Clock of the writer, in microseconds.
    pub wall: i64,
    /// Partitions of each source topic.
    pub sources: Vec<(String, i32)>,
}

/// A frame as it is written: messages are encoded one after the other, and never held as values.
#[derive(Debug, Default)]
pub struct FrameWriter {
    models: Vec<(String, u64)>,
    messages: Vec<u8>,
    count: u64,
}

/// A message of a source partition, for the models of one rows partition.
#[derive(Clone, Debug, Default)]
pub struct Message {
    /// Its offset.
    pub offset: i64,
    /// Its event time; none if it could not be read.
    pub time: Option<EventTime>,
    /// Its records.
    pub records: Vec<Row>,
    /// Its bytes, if late records are kept.
    pub original: Option<OwnedOriginal>,
}

/// A record of a message.
#[derive(Clone, Debug)]
pub enum Row {
    /// A query, and the beginning of the digest of the profile that its values are bound to.
    Query(Box<Query>, u64),
    /// A record that could not be read, as evidence about its sender. Its dead letter is written already.
    Evidence(Provenance, Rejection),
}

/// Bytes of a message.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct OwnedOriginal {
    /// Key.
    pub key: Option<Vec<u8>>,
    /// Payload.
    pub payload: Option<Vec<u8>>,
    /// Headers.
    pub headers: Vec<OwnedHeader>,
}

#[derive(Serialize, Deserialize)]
struct WireMessage<'a> {
    offset: i64,
    time: Option<i64>,
    #[serde(borrow)]
    rows: Vec<WireRow<'a>>,
    original: Option<OwnedOriginal>,
}

#[derive(Serialize, Deserialize)]
enum WireRow<'a> {
    #[serde(borrow)]
    Query(WireQuery<'a>),
    Evidence(WireEvidence<'a>),
}

#[derive(Serialize, Deserialize)]
struct WireQuery<'a> {
    /// Position of the model in the frame's list.
    model: u32,
    row: u32,
    /// Time, less that of the message.
    after: i64,
    version: &'a str,
    request: &'a str,
    address: Address,
    account: &'a str,
    cells: std::borrow::Cow<'a, [u8]>,
    may_be_shown: bool,
    texts: Vec<(u32, &'a str)>,
    prediction: WirePrediction,
    latency: Option<f64>,
    label: &'a str,
    extra: u32,
    new_names: Vec<&'a str>,
    repairs: u32,
}

#[derive(Serialize, Deserialize)]
struct WireEvidence<'a> {
    row: u32,
    reason: u8,
    address: Address,
    account: &'a str,
    request: &'a str,
    model: &'a str,
    time: Option<i64>,
}

#[derive(Serialize, Deserialize)]
enum WirePrediction {
    Missing,
    Score(f64),
    Label(f64),
    Probabilities(f64, f64, f64),
}

// === impl FrameWriter ===

impl FrameWriter {
    /// Bytes of the messages so far.
    pub fn bytes(&self) -> usize {
        self.messages.len()
    }

    /// Adds a message: the records of it that belong to this frame's models.
    pub fn push<'a>(
        &mut self,
        offset: i64,
        time: Option<EventTime>,
        records: impl Iterator<Item = Sent<'a>>,
        original: Option<OwnedOriginal>,
    ) {
        let base = time.map_or(0, EventTime::micros);
        let rows = records
            .map(|record| match record {
                Sent::Query(query, digest) => WireRow::Query(self.query(query, digest, base)),
                Sent::Evidence(provenance, rejection) => WireRow::Evidence(evidence(provenance, rejection)),
            })
            .collect();
        let message = WireMessage { offset, time: time.map(EventTime::micros), rows, original };
        // Plain values can always be written into memory.
        if postcard::to_io(&message, &mut self.messages).is_ok() {
            self.count += 1;
        }
    }

    fn query<'a>(&mut self, query: &'a Query, digest: u64, base: i64) -> WireQuery<'a> {
        let known = self.models.iter().position(|(name, known)| *name == query.model && *known == digest);
        let model = known.unwrap_or_else(|| {
            self.models.push((query.model.clone(), digest));
            self.models.len() - 1
        });
        let texts = query.unknown_texts.iter().map(|(column, text)| (u32::try_from(column).unwrap_or(u32::MAX), text));
        WireQuery {
            model: u32::try_from(model).unwrap_or(u32::MAX),
            row: query.provenance.row,
            after: query.time.micros().wrapping_sub(base),
            version: &query.model_version,
            request: &query.request_id,
            address: query.address,
            account: &query.account,
            cells: cells::packed(&query.row).into(),
            may_be_shown: query.unknown_texts.may_be_shown(),
            texts: texts.collect(),
            prediction: match query.prediction {
                Prediction::Missing => WirePrediction::Missing,
                Prediction::Score(score) => WirePrediction::Score(score),
                Prediction::Label(label) => WirePrediction::Label(label.value()),
                Prediction::Probabilities { top, probability, margin } => {
                    WirePrediction::Probabilities(top.value(), probability, margin)
                }
            },
            latency: query.latency_ms,
            label: &query.label,
            extra: query.extra_features,
            new_names: query.new_names.iter().map(AsRef::as_ref).collect(),
            repairs: query.repairs.iter().fold(0, |bits, repair| bits | 1 << repair as u8),
        }
    }

    /// The frame; the writer is empty then.
    pub fn finish(&mut self, mark: &Mark) -> Vec<u8> {
        let Self { models, messages, count } = std::mem::take(self);
        let mut bytes = vec![FORMAT];
        // Plain values can always be written into memory.
        let _ = postcard::to_io(&(mark, models, count), &mut bytes);
        bytes.extend_from_slice(&messages);
        bytes
    }
}

/// A record on its way into a frame.
#[derive(Clone, Copy, Debug)]
pub enum Sent<'a> {
    /// A query, and the beginning of the digest of its profile.
    Query(&'a Query, u64),
    /// A record that could not be read.
    Evidence(&'a Provenance, &'a Rejection),
}

fn evidence<'a>(provenance: &Provenance, rejection: &'a Rejection) -> WireEvidence<'a> {
    let reason = RejectReason::ALL.iter().position(|reason| *reason == rejection.reason);
    let caller = rejection.caller.as_deref();
    let text = |of: fn(&CallerFacts) -> &String| caller.map_or("", |caller| of(caller).as_str());
    WireEvidence {
        row: provenance.row,
        reason: reason.and_then(|reason| u8::try_from(reason).ok()).unwrap_or(u8::MAX),
        address: caller.map_or(Address::Unknown, |caller| caller.address),
        account: text(|caller| &caller.account),
        request: text(|caller| &caller.request_id),
        model: text(|caller| &caller.model),
        time: caller.and_then(|caller| caller.time).map(EventTime::micros),
    }
}

/// Reads a frame.
///
/// # Errors
/// If it has another version, or is no frame.
pub fn read(bytes: &[u8]) -> Result<(Mark, Vec<Message>), FrameError> {
    let damaged = |_| FrameError::Damaged;
    let (&format, rest) = bytes.split_first().ok_or(FrameError::Damaged)?;
    if format != FORMAT {
        return Err(FrameError::Version(format));
    }
    let ((mark, models, count), mut rest) = postcard::take_from_bytes::<(Mark, Vec<(String, u64)>, u64)>(rest).map_err(damaged)?;
    let topic: Arc<str> = mark.topic.as_str().into();
    let provenance = Provenance { topic: Topic::from(&topic), partition: mark.partition, offset: 0, row: 0 };
    let mut messages: Vec<Message> = Vec::new();
    for _ in 0..count {
        let (message, behind) = postcard::take_from_bytes::<WireMessage<'_>>(rest).map_err(damaged)?;
        rest = behind;
        if messages.last().is_some_and(|last| last.offset >= message.offset) {
            return Err(FrameError::Damaged);
        }
        messages.push(message.read(&models, &provenance)?);
    }
    if rest.is_empty() { Ok((mark, messages)) } else { Err(FrameError::Damaged) }
}

// === impl WireMessage ===

impl WireMessage<'_> {
    fn read(self, models: &[(String, u64)], provenance: &Provenance) -> Result<Message, FrameError> {
        let Self { offset, time, rows, original } = self;
        let place = |row| Provenance { offset, row, ..provenance.clone() };
        let record = |row: WireRow<'_>| match row {
            WireRow::Query(query) => query.read(time.unwrap_or(0), models, &place),
            WireRow::Evidence(evidence) => evidence.read(&place),
        };
        let records = rows.into_iter().map(record).collect::<Result<_, _>>()?;
        Ok(Message { offset, time: time.map(EventTime::from_micros), records, original })
    }
}

impl WireQuery<'_> {
    fn read(self, base: i64, models: &[(String, u64)], place: &impl Fn(u32) -> Provenance) -> Result<Row, FrameError> {
        let model = usize::try_from(self.model).ok().and_then(|at| models.get(at));
        let (model, digest) = model.ok_or(FrameError::Damaged)?;
        let time = EventTime::from_micros(base.wrapping_add(self.after));
        // The decoder lets no other time through, and arithmetic on times relies on it.
        if time < crate::event::EARLIEST || time >= crate::event::LATEST {
            return Err(FrameError::Damaged);
        }
        let mut query = Query {
            time,
            model: model.clone(),
            model_version: self.version.to_owned(),
            request_id: self.request.to_owned(),
            address: self.address,
            account: self.account.to_owned(),
            row: cells::unpacked(&self.cells).ok_or(FrameError::Damaged)?,
            prediction: match self.prediction {
                WirePrediction::Missing => Prediction::Missing,
                WirePrediction::Score(score) => Prediction::Score(score),
                WirePrediction::Label(label) => Prediction::Label(cells::cell(label)),
                WirePrediction::Probabilities(top, probability, margin) => {
                    Prediction::Probabilities { top: cells::cell(top), probability, margin }
                }
            },
            latency_ms: self.latency,
            label: self.label.to_owned(),
            extra_features: self.extra,
            new_names: self.new_names.into_iter().map(Box::from).collect(),
            repairs: repairs(self.repairs),
            provenance: place(self.row),
            ..Query::default()
        };
        query.unknown_texts.begin(self.may_be_shown);
        for (column, text) in self.texts {
            query.unknown_texts.push(usize::try_from(column).unwrap_or(usize::MAX), text, usize::MAX);
        }
        Ok(Row::Query(Box::new(query), *digest))
    }
}

impl WireEvidence<'_> {
    fn read(self, place: &impl Fn(u32) -> Provenance) -> Result<Row, FrameError> {
        let reason = RejectReason::ALL.get(usize::from(self.reason)).ok_or(FrameError::Damaged)?;
        let caller = CallerFacts {
            address: self.address,
            account: self.account.to_owned(),
            request_id: self.request.to_owned(),
            model: self.model.to_owned(),
            time: self.time.map(EventTime::from_micros),
        };
        let in_range = |time: EventTime| time >= crate::event::EARLIEST && time < crate::event::LATEST;
        if !caller.time.is_none_or(in_range) {
            return Err(FrameError::Damaged);
        }
        Ok(Row::Evidence(place(self.row), Rejection::new(*reason, "").sent_by(caller)))
    }
}

fn repairs(bits: u32) -> Repairs {
    let mut repairs = Repairs::default();
    Repair::ALL.into_iter().filter(|&repair| bits & 1 << repair as u8 != 0).for_each(|repair| repairs.add(repair));
    repairs
}

// === impl Mark ===

impl Mark {
    /// The source partition.
    pub fn source(&self) -> Partition {
        Partition::new(self.topic.as_str(), self.partition)
    }
}

#[cfg(test)]
mod tests;
