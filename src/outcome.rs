//! What became of a record: it counts in the windows, it came too late for them, or it could not be used.
//!
//! Every record that is read ends in exactly one [`Outcome`], so accepted + late + rejected = read. The decoder and the engine
//! decide the outcome; `run`, `replay`, `drill` and `demo` learn it through an [`Observer`](crate::observer::Observer). Each
//! reason stands here once, with its words, its label and its remedy, so that the same fault reads the same everywhere.

use std::borrow::Cow;
use std::fmt;

use serde::Serialize;

use crate::event::{Address, EventTime, Provenance};

/// Label of a late record in dead letters. Late records have a counter of their own, so this is no [`RejectReason`].
pub const LATE: &str = "late";

/// What became of one record.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Outcome {
    /// It counts in the windows.
    #[default]
    Accepted,
    /// It came behind the watermark. It is judged as evidence about its sender, and left out of windows and drift.
    Late {
        /// Event time that was complete when the record came.
        watermark: EventTime,
    },
    /// It could not be read or used.
    Rejected(Rejection),
}

/// Why a record was rejected, for counters and for the person who reads the dead letter.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rejection {
    /// Kind of fault.
    pub reason: RejectReason,
    /// What exactly is wrong with this record, and where: a lower-case fragment.
    pub message: String,
    /// Whose record it is; `None` if nothing of that can be read.
    pub caller: Option<Box<CallerFacts>>,
}

/// Whose record was rejected, as far as that could be read. What could not be read is unknown or empty.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct CallerFacts {
    /// Caller's address.
    pub address: Address,
    /// Caller's account.
    pub account: String,
    /// Request id.
    pub request_id: String,
    /// Model that was asked.
    pub model: String,
    /// When it was asked.
    pub time: Option<EventTime>,
}

/// A record that could not be read, as evidence about its sender.
#[derive(Clone, Copy, Debug)]
pub struct UnreadableRecord<'a> {
    /// Whose it is.
    pub caller: &'a CallerFacts,
    /// Where it lies.
    pub provenance: &'a Provenance,
}

/// Kind of fault; a bounded set, so that it can be a metric label.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum RejectReason {
    /// The bytes are no UTF-8.
    NotUtf8,
    /// The text is no JSON.
    NotJson,
    /// The JSON ends in the middle.
    Truncated,
    /// Nested deeper than any honest event.
    TooDeep,
    /// Longer than the configured limit, with what is needed behind it, or more rows than one message may hold.
    TooLarge,
    /// JSON, but no object.
    NotAnObject,
    /// A field that every event needs is absent.
    MissingField,
    /// A field that every event needs is of the wrong kind.
    BadField,
    /// The time cannot be read.
    BadTimestamp,
    /// The time is outside 2000 to 2099.
    TimestampOutOfRange,
    /// The time states no zone, and no setting does.
    TimestampWithoutZone,
    /// The features have the wrong shape.
    BadFeatures,
    /// The schema registry has no schema for the record, or one that cannot be used.
    UnknownSchema,
    /// The bytes are no record of their schema.
    BadEncoding,
    /// A response that was logged apart from its request, which did not come.
    ResponseWithoutRequest,
    /// No reference for this model.
    UnknownModel,
    /// The time is implausibly far ahead of all other events; only the engine can tell.
    FromTheFuture,
}

/// How many records ended in which outcome, and how many verdicts followed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct OutcomeCounts {
    /// Records that count in the windows.
    pub accepted: u64,
    /// Records behind the watermark.
    pub late: u64,
    /// Records that could not be read or used.
    pub rejected: u64,
    /// Verdicts.
    pub verdicts: u64,
}

// === impl Outcome ===

impl Outcome {
    /// A record whose time is implausibly far ahead of all other events.
    pub fn from_the_future(time: EventTime) -> Self {
        let message = format!("{time} is implausibly far ahead of all other events; is the clock of its sender wrong?");
        Self::Rejected(Rejection::new(RejectReason::FromTheFuture, message))
    }

    /// A record of a model without a reference profile.
    pub fn unknown_model(model: &str) -> Self {
        Self::Rejected(Rejection::unknown_model(model))
    }

    /// Reason in dead letters: [`LATE`] or the label of the rejection. `None` for an accepted record, which is no dead letter.
    pub const fn dead_letter_reason(&self) -> Option<&'static str> {
        match self {
            Self::Accepted => None,
            Self::Late { .. } => Some(LATE),
            Self::Rejected(rejection) => Some(rejection.reason.label()),
        }
    }

    /// What a person reads about a record of this `time` (`None` if the time could not be read). Empty for an accepted record.
    pub fn message(&self, time: Option<EventTime>) -> Cow<'_, str> {
        match self {
            Self::Accepted => Cow::Borrowed(""),
            Self::Late { watermark } => {
                let time = time.map_or_else(|| "it".to_owned(), |time| time.to_string());
                let use_of_it = "judged as evidence about its sender, left out of the windows";
                Cow::Owned(format!("{time} is behind the watermark of {watermark}: {use_of_it}"))
            }
            Self::Rejected(rejection) => Cow::Borrowed(&rejection.message),
        }
    }
}

// === impl Rejection ===

impl Rejection {
    /// A rejection with a message.
    pub fn new(reason: RejectReason, message: impl fmt::Display) -> Self {
        Self { reason, message: message.to_string(), caller: None }
    }

    /// The rejection of a record of this caller.
    #[must_use]
    pub fn sent_by(self, caller: CallerFacts) -> Self {
        let known = caller != CallerFacts::default();
        Self { caller: known.then(|| Box::new(caller)), ..self }
    }

    /// The record as evidence about its sender; `None` if its model is watched by nobody.
    pub fn evidence<'a>(&'a self, provenance: &'a Provenance) -> Option<UnreadableRecord<'a>> {
        static NOBODY: CallerFacts = CallerFacts {
            address: Address::Unknown,
            account: String::new(),
            request_id: String::new(),
            model: String::new(),
            time: None,
        };
        let caller = self.caller.as_deref().unwrap_or(&NOBODY);
        (self.reason != RejectReason::UnknownModel).then_some(UnreadableRecord { caller, provenance })
    }

    /// A record of a model without a reference profile.
    pub fn unknown_model(model: &str) -> Self {
        let name = excerpt(model).escape_debug();
        Self::new(RejectReason::UnknownModel, format_args!("there is no reference for the model '{name}'"))
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.reason.label(), self.message)
    }
}

// === impl RejectReason ===

impl RejectReason {
    /// Every reason, for counters that must be present at zero.
    pub const ALL: [Self; 17] = [
        Self::NotUtf8,
        Self::NotJson,
        Self::Truncated,
        Self::TooDeep,
        Self::TooLarge,
        Self::NotAnObject,
        Self::MissingField,
        Self::BadField,
        Self::BadTimestamp,
        Self::TimestampOutOfRange,
        Self::TimestampWithoutZone,
        Self::BadFeatures,
        Self::UnknownSchema,
        Self::BadEncoding,
        Self::ResponseWithoutRequest,
        Self::UnknownModel,
        Self::FromTheFuture,
    ];

    /// The label in metrics and dead letters.
    pub const fn label(self) -> &'static str {
        match self {
            Self::NotUtf8 => "not_utf8",
            Self::NotJson => "not_json",
            Self::Truncated => "truncated",
            Self::TooDeep => "too_deep",
            Self::TooLarge => "too_large",
            Self::NotAnObject => "not_an_object",
            Self::MissingField => "missing_field",
            Self::BadField => "bad_field",
            Self::BadTimestamp => "bad_timestamp",
            Self::TimestampOutOfRange => "timestamp_out_of_range",
            Self::TimestampWithoutZone => "timestamp_without_zone",
            Self::BadFeatures => "bad_features",
            Self::UnknownSchema => "unknown_schema",
            Self::BadEncoding => "bad_encoding",
            Self::ResponseWithoutRequest => "response_without_request",
            Self::UnknownModel => "unknown_model",
            Self::FromTheFuture => "from_the_future",
        }
    }

    /// What the reason means, in one plain sentence.
    pub const fn words(self) -> &'static str {
        match self {
            Self::NotUtf8 => "The record is not UTF-8 text.",
            Self::NotJson => "The record is not JSON.",
            Self::Truncated => "The JSON ends in the middle.",
            Self::TooDeep => "The JSON is nested deeper than 127 levels.",
            Self::TooLarge => "The record is longer, or has more rows, than one record may have.",
            Self::NotAnObject => "The record is JSON, but not an object.",
            Self::MissingField => "A field that every event needs is missing.",
            Self::BadField => "A field that every event needs has the wrong type.",
            Self::BadTimestamp => "The timestamp cannot be read.",
            Self::TimestampOutOfRange => "The timestamp lies outside the years 2000 to 2099.",
            Self::TimestampWithoutZone => "The timestamp has no time zone, and decode.assume_zone does not say which one is meant.",
            Self::UnknownSchema => "The schema registry has no schema for the record, or one that cannot be used.",
            Self::BadEncoding => "The bytes are no record of the schema that they name.",
            Self::ResponseWithoutRequest => "The record is a response, and its request did not come in time.",
            Self::BadFeatures => "The features do not have the shape that the reference profile describes.",
            Self::UnknownModel => "There is no reference profile for the record's model.",
            Self::FromTheFuture => "The timestamp is more than two days ahead of all other events.",
        }
    }

    /// What to do about it: an imperative, lower-case fragment.
    pub const fn remedy(self) -> &'static str {
        match self {
            Self::NotUtf8 | Self::NotJson => "send one JSON object a record, as UTF-8",
            Self::Truncated => "check whether the sender or a proxy cuts long records",
            Self::TooDeep | Self::NotAnObject => "send the event itself, or describe its layout in [decode.mapping]",
            Self::TooLarge => "raise decode.max_message_bytes, or send smaller batches",
            Self::MissingField | Self::BadField => "correct the sender, or describe its layout in [decode.mapping]",
            Self::BadTimestamp => "send RFC 3339, or an epoch number in s, ms, µs or ns",
            Self::TimestampOutOfRange => "check the unit of the sender's epoch numbers, and its default values",
            Self::TimestampWithoutZone => {
                "write decode.assume_zone = \"UTC\" (or an offset, or a name such as Europe/Berlin), or log the zone"
            }
            Self::UnknownSchema => "check that source.registry.url is the registry that the sender uses",
            Self::BadEncoding => "correct the sender; the message says what does not fit",
            Self::ResponseWithoutRequest => "log requests as well, or raise decode.pair_timeout_seconds",
            Self::BadFeatures => "check whether the reference profile belongs to this model version",
            Self::UnknownModel => "fit a profile with 'tripline fit' and name it under [[models]], if the model is to be watched",
            Self::FromTheFuture => "correct the clock of the sender",
        }
    }
}

// === impl OutcomeCounts ===

impl OutcomeCounts {
    /// Counts one record.
    pub const fn record(&mut self, outcome: &Outcome) {
        match outcome {
            Outcome::Accepted => self.accepted += 1,
            Outcome::Late { .. } => self.late += 1,
            Outcome::Rejected(_) => self.rejected += 1,
        }
    }

    /// Records read, whatever became of them.
    pub const fn read(&self) -> u64 {
        self.accepted + self.late + self.rejected
    }
}

/// The beginning of a foreign text, for use inside a message.
pub(crate) fn excerpt(text: &str) -> &str {
    // Sixty bytes show what a value is without repeating a hostile one.
    let mut end = text.len().min(60);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_reason_has_a_label_of_its_own_a_sentence_and_a_remedy() {
        let labels: BTreeSet<&str> = RejectReason::ALL.iter().map(|reason| reason.label()).collect();
        assert_eq!(labels.len(), RejectReason::ALL.len());
        assert!(!labels.contains(LATE), "late is an outcome of its own and no rejection");
        for reason in RejectReason::ALL {
            let (label, words, remedy) = (reason.label(), reason.words(), reason.remedy());
            assert!(label.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'), "{label}");
            assert!(words.ends_with('.') && words.starts_with(char::is_uppercase), "{label}: {words}");
            assert!(remedy.starts_with(char::is_lowercase) && !remedy.ends_with('.'), "{label}: {remedy}");
        }
    }

    #[test]
    fn a_late_record_says_how_late_it_is_and_what_was_done_with_it() {
        let watermark = EventTime::from_micros(1_772_442_900_000_000);
        let message = Outcome::Late { watermark }.message(Some(watermark.plus_seconds(-60))).into_owned();
        assert!(message.contains(&watermark.to_string()) && message.contains("behind the watermark"), "{message}");
        assert!(message.starts_with(&watermark.plus_seconds(-60).to_string()), "{message}");
    }

    #[test]
    fn every_record_is_counted_exactly_once() {
        let mut counts = OutcomeCounts::default();
        let late = Outcome::Late { watermark: EventTime::default() };
        for outcome in [Outcome::Accepted, late, Outcome::unknown_model("m"), Outcome::from_the_future(EventTime::default())] {
            counts.record(&outcome);
        }
        assert_eq!((counts.accepted, counts.late, counts.rejected, counts.read()), (1, 1, 2, 4));
    }
}
