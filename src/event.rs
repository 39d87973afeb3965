//! What a record of a prediction log says once it is read: who asked which model what and when, and what the model answered.
//!
//! Every later stage works on [`Query`], a flat value that is used again. Decoding writes into it and allocates nothing once its
//! buffers have grown; the engine only borrows it. Decoding binds feature values to the reference's schema, so a row is a slice of
//! [`Cell`]s in schema order and no later stage looks at a name.

pub mod repairs;
pub mod texts;
pub mod timestamp;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

pub use repairs::{Repair, Repairs};
pub use texts::UnknownTexts;
pub use timestamp::Zone;

/// Event time: microseconds since the Unix epoch, as the log states it. Never the machine's clock.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct EventTime(i64);

/// Earliest instant that a log may state: 2000-01-01. An earlier one is a wrong unit or a default value.
pub const EARLIEST: EventTime = EventTime(946_684_800_000_000);
/// First instant that a log may no longer state: 2100-01-01.
pub const LATEST: EventTime = EventTime(4_102_444_800_000_000);

/// Why a timestamp could not be taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TimeError {
    /// Neither RFC 3339 nor a number.
    #[error("is not an RFC 3339 time and not an epoch number")]
    Syntax,
    /// Readable, but outside 2000–2099, where only unit errors and defaults live.
    #[error("is outside the years 2000 to 2099")]
    Range,
    /// A date with slashes, in which the day or the month may stand first.
    #[error("may have the day or the month first; write the year first, as 2026-03-02 09:15:00")]
    DayOrMonth,
    /// A date and a time without a zone.
    #[error("has no time zone; decode.assume_zone says which one is meant, such as \"UTC\"")]
    NoZone,
}

impl EventTime {
    /// From microseconds since the Unix epoch.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Microseconds since the Unix epoch.
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// Reads a time that states its zone, or an epoch number written as text; [`timestamp`] lists the forms.
    ///
    /// # Errors
    /// Why it could not be taken.
    pub fn parse(text: &str) -> Result<Self, TimeError> {
        timestamp::parse(text, None)
    }

    /// Reads the same; a time that states no zone is in `zone`.
    ///
    /// # Errors
    /// Why it could not be taken.
    pub fn parse_in(text: &str, zone: Option<&Zone>) -> Result<Self, TimeError> {
        timestamp::parse(text, zone)
    }

    /// Reads an epoch number; its size tells the unit (s, ms, µs or ns), which is unambiguous for the years 2000 to 2099.
    pub fn from_epoch(number: f64) -> Result<Self, TimeError> {
        if !number.is_finite() {
            return Err(TimeError::Syntax);
        }
        // 1e11 s is the year 5138 and 1e11 ms is 1973: the units do not overlap within the accepted range.
        let micros = match number.abs() {
            n if n < 1e11 => number * 1e6,
            n if n < 1e14 => number * 1e3,
            n if n < 1e17 => number,
            _ => number / 1e3,
        };
        #[expect(clippy::cast_possible_truncation, reason = "saturates, and the range check refuses what saturated")]
        Self(micros.round() as i64).in_range()
    }

    fn in_range(self) -> Result<Self, TimeError> {
        if self >= EARLIEST && self < LATEST { Ok(self) } else { Err(TimeError::Range) }
    }

    /// Seconds from `earlier` to `self`; negative if `self` is the earlier one.
    #[expect(clippy::cast_precision_loss, reason = "differences of event times stay far below 2^53 microseconds")]
    pub fn seconds_since(self, earlier: Self) -> f64 {
        self.0.saturating_sub(earlier.0) as f64 / 1e6
    }

    /// `self` moved by whole seconds, saturating.
    pub const fn plus_seconds(self, seconds: i64) -> Self {
        Self(self.0.saturating_add(seconds.saturating_mul(1_000_000)))
    }

    /// Hour of the day in UTC, 0 to 23.
    pub const fn hour_of_day(self) -> u8 {
        (self.0.div_euclid(3_600_000_000).rem_euclid(24)) as u8
    }
}

impl fmt::Display for EventTime {
    /// RFC 3339 in UTC with milliseconds, or microseconds where the log had them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = if self.0 % 1_000 == 0 { 3 } else { 6 };
        match jiff::Timestamp::from_microsecond(self.0) {
            Ok(stamp) => write!(f, "{stamp:.digits$}"),
            Err(_) => write!(f, "{}us", self.0),
        }
    }
}

/// Where a query came from, normalised so that one caller has one spelling.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug, serde::Serialize, serde::Deserialize)]
pub enum Address {
    /// An IPv4 or IPv6 address; IPv4-mapped IPv6 has become IPv4.
    Ip(IpAddr),
    /// The log does not know it (`unknown`, `-`, empty or absent).
    #[default]
    Unknown,
}

impl Address {
    /// Reads an address as logs write it: bare, bracketed, with a port, with a zone, IPv4-mapped, or `unknown`.
    /// `None` when it is none of those.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        if text.is_empty() || text == "-" || text.eq_ignore_ascii_case("unknown") || text.eq_ignore_ascii_case("null") {
            return Some(Self::Unknown);
        }
        let bare = match text.strip_prefix('[') {
            Some(rest) => rest.split(']').next().unwrap_or(rest),
            // One colon is a port behind IPv4; several are IPv6.
            None if text.bytes().filter(|&b| b == b':').count() == 1 => text.split(':').next().unwrap_or(text),
            None => text,
        };
        let bare = bare.split('%').next().unwrap_or(bare);
        bare.parse::<IpAddr>().ok().map(|ip| Self::Ip(ip.to_canonical()))
    }

    /// The /24 of an IPv4 or the /64 of an IPv6 address, the level at which one subscriber usually owns everything.
    pub fn prefix(self) -> Option<IpAddr> {
        match self {
            Self::Ip(IpAddr::V4(v4)) => {
                let [a, b, c, _] = v4.octets();
                Some(IpAddr::V4(Ipv4Addr::new(a, b, c, 0)))
            }
            Self::Ip(IpAddr::V6(v6)) => Some(IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !((1 << 64) - 1)))),
            Self::Unknown => None,
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(ip) => ip.fmt(f),
            Self::Unknown => f.write_str("unknown"),
        }
    }
}

/// One feature value bound to its schema, in eight bytes.
///
/// Numbers and booleans are themselves; a category is its index in the reference's list of values. What the reference never
/// saw keeps an identity (a hash), so that two unseen values can still be told apart; NaN is missing.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd)]
pub struct Cell(f64);

impl Cell {
    /// No value: absent, `null` or empty.
    pub const MISSING: Self = Self(f64::NAN);
    /// A value of the wrong kind, such as text in a numeric feature.
    pub const UNREADABLE: Self = Self(f64::INFINITY);

    /// A number. Non-finite input becomes [`Cell::UNREADABLE`]; negative zero becomes zero, so equal values have equal bits.
    pub fn number(value: f64) -> Self {
        if value.is_finite() { Self(value + 0.0) } else { Self::UNREADABLE }
    }

    /// A category that the reference knows, by its index.
    pub fn category(index: usize) -> Self {
        Self(u32::try_from(index).map_or(f64::INFINITY, f64::from))
    }

    /// A category that the reference never saw; the same text always gives the same cell.
    pub fn unseen(text: &str) -> Self {
        let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0000_0100_0000_01b3));
        // 32 bits keep the value exactly representable and strictly negative.
        Self(-1.0 - f64::from((hash ^ (hash >> 32)) as u32))
    }

    /// The raw value: NaN if missing, infinite if unreadable, negative for unseen categories.
    pub const fn value(self) -> f64 {
        self.0
    }

    /// Whether there is no value.
    pub const fn is_missing(self) -> bool {
        self.0.is_nan()
    }

    /// Whether there was a value of the wrong kind.
    pub const fn is_unreadable(self) -> bool {
        self.0.is_infinite()
    }

    /// Bits for hashing and exact comparison: equal cells, and only they, have equal bits (all missing cells are equal).
    pub const fn bits(self) -> u64 {
        if self.0.is_nan() { u64::MAX } else { self.0.to_bits() }
    }
}

/// What the model answered.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Prediction {
    /// The log carries no answer.
    #[default]
    Missing,
    /// A single number: probability, score or regression value.
    Score(f64),
    /// A class label, as a cell of the reference's class list.
    Label(Cell),
    /// Class probabilities: the most probable class, its probability, and its lead over the runner-up.
    Probabilities {
        /// Most probable class.
        top: Cell,
        /// Its probability, 0 to 1.
        probability: f64,
        /// Lead over the runner-up, 0 to 1.
        margin: f64,
    },
}

impl Prediction {
    /// The answer as one cell: the score, the label, or the most probable class.
    pub const fn cell(self) -> Cell {
        match self {
            Self::Missing => Cell::MISSING,
            Self::Score(score) => Cell(score),
            Self::Label(label) | Self::Probabilities { top: label, .. } => label,
        }
    }
}

/// Name of a Kafka topic; empty for a file that is not a copy of one. A clone shares the text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct Topic(Arc<str>);

impl Topic {
    /// The name.
    pub fn name(&self) -> &str {
        &self.0
    }

    /// Whether the record lay in a file and not in a topic.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<&str> for Topic {
    fn from(name: &str) -> Self {
        Self(name.into())
    }
}

impl From<&Arc<str>> for Topic {
    fn from(name: &Arc<str>) -> Self {
        Self(Arc::clone(name))
    }
}

impl serde::Serialize for Topic {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> serde::Deserialize<'de> for Topic {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|name| Self(name.into()))
    }
}

/// Where a record lay, so that every piece of evidence leads back to its line.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug, serde::Serialize)]
pub struct Provenance {
    /// Kafka topic; empty (and left out of verdict lines) for a file.
    #[serde(skip_serializing_if = "Topic::is_empty")]
    pub topic: Topic,
    /// Kafka partition; 0 for a file.
    pub partition: i32,
    /// Kafka offset, or the zero-based line number of a file.
    pub offset: i64,
    /// Position within a batch message.
    pub row: u32,
}

/// One query to one model, ready for the engine.
#[derive(Clone, Debug, Default)]
pub struct Query {
    /// When the model was asked.
    pub time: EventTime,
    /// Model name, as the log states it.
    pub model: String,
    /// Model version; empty if the log has none.
    pub model_version: String,
    /// Caller's request id; empty if the log has none.
    pub request_id: String,
    /// Caller's address.
    pub address: Address,
    /// Caller's account; empty if the log has none.
    pub account: String,
    /// Feature values in schema order.
    pub row: Vec<Cell>,
    /// Beginnings of the texts in `row` that the schema has no value for.
    pub unknown_texts: UnknownTexts,
    /// The model's answer.
    pub prediction: Prediction,
    /// How long the model took, in milliseconds.
    pub latency_ms: Option<f64>,
    /// Ground truth that arrived with the event, as text; empty if none.
    pub label: String,
    /// Fields of the event's `features` that the schema does not know.
    pub extra_features: u32,
    /// Names of those of them that the decoder met for the first time, as full paths; bounded by
    /// [`MAX_NOTED_NAMES`](crate::reference::mismatch::MAX_NOTED_NAMES) over a whole log.
    pub new_names: Vec<Box<str>>,
    /// Faults of the record that cost a field and not the row.
    pub repairs: Repairs,
    /// Where the record lay.
    pub provenance: Provenance,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_caller_has_one_spelling() {
        let four = Address::parse("203.0.113.7");
        for spelling in ["::ffff:203.0.113.7", " 203.0.113.7 ", "203.0.113.7:55123", "[::ffff:203.0.113.7]:80"] {
            assert_eq!(Address::parse(spelling), four, "{spelling}");
        }
        assert_eq!(Address::parse("fe80::1%eth0"), Address::parse("fe80::1"));
        assert_eq!(Address::parse("unknown"), Some(Address::Unknown));
        assert_eq!(Address::parse("not an address"), None);
        assert_eq!(Address::parse("2001:db8:1:2:3::4").and_then(Address::prefix).unwrap().to_string(), "2001:db8:1:2::");
    }

    #[test]
    fn every_unit_of_epoch_time_means_the_same_instant() {
        let stated = EventTime::parse("2026-03-02T09:15:00.123Z").unwrap();
        for text in ["1772442900.123", "1772442900123", "1772442900123000", "2026-03-02T10:15:00.123+01:00"] {
            assert_eq!(EventTime::parse(text), Ok(stated), "{text}");
        }
        assert_eq!(stated.to_string(), "2026-03-02T09:15:00.123Z");
        assert_eq!(EventTime::parse("0001-01-01T00:00:00Z"), Err(TimeError::Range));
        assert_eq!(EventTime::parse("9999-12-31T23:59:59Z"), Err(TimeError::Range));
        assert_eq!(EventTime::parse("yesterday"), Err(TimeError::Syntax));
    }

    #[test]
    fn equal_cells_have_equal_bits() {
        assert_eq!(Cell::number(-0.0).bits(), Cell::number(0.0).bits());
        assert_eq!(Cell::unseen("Martian").bits(), Cell::unseen("Martian").bits());
        assert_ne!(Cell::unseen("Martian").bits(), Cell::unseen("Venusian").bits());
        assert!(Cell::number(f64::NAN).is_unreadable());
    }
}
