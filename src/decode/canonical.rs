//! The canonical layout, read in one pass.
//!
//! Fields are written to the first query of the message as they come. Features and answers need the model's schema. If the model's
//! name stands before them, as in nearly every log, they are bound while they are parsed. If it stands behind them, their text is
//! kept by reference and parsed at the end.
//!
//! A batch call is `features` (or `instances`) as an array of rows with `prediction` (or `predictions`) as an array of as many
//! answers.
//!
//! This reader stops at the first fault, whatever it costs: [`lenient`](super::lenient) reads such a record again.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::answers::AnswersSeed;
use super::features::FeaturesSeed;
use super::fields::{self, TextField};
use super::model::duplicate;
use super::token::{Field, Token, refuse};
use super::{Batch, DecodeConfig, Models, RejectReason, Rejection, Scratch};
use crate::event::{Query, Repairs};

/// The names of the canonical layout.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Name {
    Timestamp,
    RequestId,
    Model,
    ModelVersion,
    SourceIp,
    ClientId,
    Features,
    Prediction,
    LatencyMs,
    Label,
    Unknown,
}

/// What was found while the object was read, and what is left to be parsed.
#[derive(Clone, Copy, Debug, Default)]
struct Progress<'de> {
    /// One bit a [`Name`] that occurred.
    seen: u32,
    /// Position of the model, once its name was read.
    model: Option<usize>,
    /// Whether the features were an array of rows.
    batch: bool,
    /// Features that stood before the model's name.
    features: Option<&'de RawValue>,
    /// Answers that stood before the model's name.
    prediction: Option<&'de RawValue>,
}

/// Reads the object; the first query of the message is at `start`.
struct EventSeed<'a> {
    start: usize,
    settings: &'a DecodeConfig,
    models: &'a mut Models,
    scratch: &'a mut Scratch,
    batch: &'a mut Batch,
}

/// Names of the forms that keep names beside the rows, or wrap them. They are looked for only where no feature was found.
const BESIDE: [&str; 7] =
    ["\"columns\"", "\"ndarray\"", "\"tensor\"", "\"inputs\"", "\"instances\"", "\"dataframe_split\"", "\"dataframe_records\""];

/// Reads one message into new queries at the end of `batch`.
pub(super) fn read(
    text: &str,
    settings: &DecodeConfig,
    models: &mut Models,
    scratch: &mut Scratch,
    batch: &mut Batch,
) -> Result<(), Rejection> {
    let start = batch.len();
    batch.push();
    scratch.answers.clear();
    let mut parser = serde_json::Deserializer::from_str(text);
    let outcome = EventSeed { start, settings, models, scratch, batch }
        .deserialize(&mut parser)
        .and_then(|progress| parser.end().map(|()| progress));
    let mut progress = outcome.map_err(|error| fault_of(scratch, &error, text))?;
    let has = |name: Name| progress.seen & name.bit() != 0;
    for (name, field) in [(Name::Timestamp, "timestamp"), (Name::Model, "model"), (Name::Features, "features")] {
        if !has(name) {
            return Err(Rejection::new(RejectReason::MissingField, format_args!("there is no '{field}'")));
        }
    }
    let Some(at) = progress.model else {
        return Err(Rejection::new(RejectReason::MissingField, "there is no 'model'"));
    };
    let Scratch { fault, row, answers, .. } = scratch;
    let model = &mut models.all[at];
    if let Some(raw) = progress.features {
        let seed = FeaturesSeed { model, scratch: row, fault, batch };
        let outcome = seed.deserialize(&mut serde_json::Deserializer::from_str(raw.get()));
        progress.batch = outcome.map_err(|error| fault.take().unwrap_or_else(|| Rejection::from_json(&error, raw.get())))?;
    }
    if let Some(raw) = progress.prediction {
        let outcome = AnswersSeed { model, answers, fault }.deserialize(&mut serde_json::Deserializer::from_str(raw.get()));
        outcome.map_err(|error| fault.take().unwrap_or_else(|| Rejection::from_json(&error, raw.get())))?;
    }
    let nothing_known = |query: &Query| query.extra_features > 0 && query.row.iter().all(|cell| cell.is_missing());
    if batch.queries[start..batch.len].first().is_some_and(nothing_known) && BESIDE.iter().any(|name| text.contains(name)) {
        // Names beside the rows (`{"columns":[..],"data":[..]}`) look like this; the second reading knows such forms.
        return Err(Rejection::new(RejectReason::BadFeatures, "no name in features is a feature of the model"));
    }
    let rows = batch.len() - start;
    answers.give(model, rows, progress.batch, |row, answer| batch.queries[start + row].prediction = answer)?;
    batch.share(start);
    Ok(())
}

/// The fault that stopped the parser: the one that was noted where it was found, else the parser's own.
fn fault_of(scratch: &mut Scratch, error: &serde_json::Error, text: &str) -> Rejection {
    scratch.fault.take().unwrap_or_else(|| Rejection::from_json(error, text))
}

// === impl Name ===

impl Name {
    fn of(text: &str) -> Self {
        match text {
            "timestamp" => Self::Timestamp,
            "request_id" => Self::RequestId,
            "model" => Self::Model,
            "model_version" => Self::ModelVersion,
            "source_ip" => Self::SourceIp,
            "client_id" => Self::ClientId,
            "features" | "instances" => Self::Features,
            "prediction" | "predictions" => Self::Prediction,
            "latency_ms" => Self::LatencyMs,
            "label" => Self::Label,
            _ => Self::Unknown,
        }
    }

    const fn bit(self) -> u32 {
        1 << self as u32
    }
}

// === impl EventSeed ===

impl EventSeed<'_> {
    /// Reads the value of a known field.
    #[expect(clippy::too_many_lines, reason = "one short arm for each field of an event, side by side")]
    fn value<'de, A: MapAccess<'de>>(&mut self, name: Name, progress: &mut Progress<'de>, map: &mut A) -> Result<(), A::Error> {
        let Scratch { fault, row, answers, .. } = &mut *self.scratch;
        let query = &mut self.batch.queries[self.start];
        match name {
            Name::Timestamp => {
                let zone = self.settings.assume_zone.as_ref();
                query.time = map.next_value_seed(Field {
                    name: "timestamp",
                    nested: RejectReason::BadTimestamp,
                    fault,
                    read: |token: Token<'_>| fields::time(token, zone),
                })?;
            }
            Name::SourceIp => {
                let (trusted, repairs) = (self.settings.trusted_proxies, &mut query.repairs);
                query.address =
                    map.next_value_seed(plain("source_ip", fault, |token| Ok(fields::address(Some(token), trusted, repairs))))?;
            }
            Name::LatencyMs => {
                let repairs = &mut query.repairs;
                query.latency_ms =
                    map.next_value_seed(plain("latency_ms", fault, |token| Ok(fields::latency(Some(token), repairs))))?;
            }
            Name::Model => {
                let into = &mut query.model;
                map.next_value_seed(plain("model", fault, |token| {
                    fields::model(token, into);
                    Ok(())
                }))?;
                if query.model.is_empty() {
                    return Err(refuse(fault, Rejection::new(RejectReason::MissingField, "there is no 'model'")));
                }
                let Some(at) = self.models.find(&query.model) else {
                    return Err(refuse(fault, unknown_model(&query.model)));
                };
                progress.model = Some(at);
            }
            Name::RequestId => {
                let text = text("request_id", fault, fields::REQUEST_ID, &mut query.request_id, &mut query.repairs);
                map.next_value_seed(text)?;
            }
            Name::ModelVersion => {
                let text = text("model_version", fault, fields::VERSION, &mut query.model_version, &mut query.repairs);
                map.next_value_seed(text)?;
            }
            Name::ClientId => {
                let text = text("client_id", fault, fields::ACCOUNT, &mut query.account, &mut query.repairs);
                map.next_value_seed(text)?;
            }
            Name::Label => {
                let text = text("label", fault, fields::LABEL, &mut query.label, &mut query.repairs);
                map.next_value_seed(text)?;
            }
            Name::Features => match progress.model {
                Some(at) => {
                    let seed = FeaturesSeed { model: &mut self.models.all[at], scratch: row, fault, batch: self.batch };
                    progress.batch = map.next_value_seed(seed)?;
                }
                None => progress.features = Some(map.next_value()?),
            },
            Name::Prediction => match progress.model {
                Some(at) => map.next_value_seed(AnswersSeed { model: &self.models.all[at], answers, fault })?,
                None => progress.prediction = Some(map.next_value()?),
            },
            Name::Unknown => {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}

/// A field whose wrong kind is a `bad_field`.
fn plain<'a, T, F>(name: &'a str, fault: &'a mut Option<Rejection>, read: F) -> Field<'a, F>
where
    F: FnOnce(Token<'_>) -> Result<T, Rejection>,
{
    Field { name, nested: RejectReason::BadField, fault, read }
}

/// A text that a row can do without.
fn text<'a>(
    name: &'a str,
    fault: &'a mut Option<Rejection>,
    field: TextField,
    into: &'a mut String,
    repairs: &'a mut Repairs,
) -> Field<'a, impl FnOnce(Token<'_>) -> Result<(), Rejection>> {
    let read = move |token: Token<'_>| {
        fields::text(Some(token), field, into, repairs);
        Ok(())
    };
    plain(name, fault, read)
}

/// The rejection of a model without a reference.
pub(super) fn unknown_model(name: &str) -> Rejection {
    Rejection::unknown_model(name)
}

impl<'de> DeserializeSeed<'de> for EventSeed<'_> {
    type Value = Progress<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Progress<'de>, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for EventSeed<'_> {
    type Value = Progress<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Progress<'de>, A::Error> {
        let mut progress = Progress::default();
        while let Some(name) = map.next_key_seed(NameSeed { seen: &mut progress.seen, scratch: self.scratch })? {
            self.value(name, &mut progress, &mut map)?;
        }
        Ok(progress)
    }
}

// === impl NameSeed ===

/// Reads a name and refuses the second of a kind.
struct NameSeed<'a> {
    seen: &'a mut u32,
    scratch: &'a mut Scratch,
}

impl<'de> DeserializeSeed<'de> for NameSeed<'_> {
    type Value = Name;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Name, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for NameSeed<'_> {
    type Value = Name;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field name")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Name, E> {
        let name = Name::of(text);
        // The second reading knows what to do with a name that stands twice. One without a meaning may do so.
        if name != Name::Unknown && *self.seen & name.bit() != 0 {
            return Err(refuse(&mut self.scratch.fault, duplicate(text)));
        }
        *self.seen |= name.bit();
        Ok(name)
    }
}
