//! One feature of a profile: its bins, and the code that every value gets.
//!
//! Codes are what all later statistics count. A value that is missing, of the wrong kind, unseen or outside the training range has
//! a code of its own, so that nothing an attacker sends falls out of the counts.

use serde::{Deserialize, Serialize};

use crate::event::Cell;

/// Two numbers nearer than this are the same value. Log formats rarely keep more than nine decimals.
const SAME_VALUE: f64 = 1e-9;
/// The same as a share of the usual range (first to ninety-ninth percentile): a hundredth of
/// [`TOLERANCE`](crate::signal::quantise::TOLERANCE), below which row comparison sees no change. Chosen: a wider share would merge
/// values that the reference tells apart, a narrower one would split values that single precision rounds.
const SAME_VALUE_OF_RANGE: f64 = 1e-5;
/// The same as a share of the last decimal. It is less than half, so that no number is near two values.
const SAME_VALUE_OF_LAST_DECIMAL: f64 = 0.4;
/// Most decimals that a reference tells apart. Its numbers may have more.
pub const MOST_DECIMALS: u8 = 6;

/// What kind of values a feature holds; it decides how the feature is binned.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Many distinct numbers: quantile bins.
    Continuous,
    /// Few distinct numbers: one bin per value.
    Discrete,
    /// true/false or 0/1: one bin per value.
    Boolean,
    /// Text: one bin per value.
    Categorical,
}

/// Extra codes behind a feature's own bins: added to [`Feature::bins`] they give the code. See [`Feature::code`].
pub mod code {
    /// No value.
    pub const MISSING: usize = 0;
    /// A value that the reference never saw, or of the wrong kind.
    pub const UNSEEN: usize = 1;
    /// A number below the smallest seen.
    pub const BELOW: usize = 2;
    /// A number above the largest seen.
    pub const ABOVE: usize = 3;
    /// How many extra codes there are.
    pub const EXTRA: usize = 4;
}

/// Why the reference does not know a value.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnknownValue {
    /// There is none.
    Missing,
    /// The reference never saw it.
    Unseen,
    /// It is of the wrong kind.
    Unreadable,
    /// It is a number beyond the range of the reference.
    OutOfRange,
}

/// One feature of the model's input and its distribution in the reference.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Feature {
    /// Name as in the events.
    pub name: String,
    /// How it is binned.
    pub kind: Kind,
    /// Categories in index order; empty for numbers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
    /// Distinct numbers in ascending order, one bin each; empty unless discrete or boolean.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub support: Vec<f64>,
    /// Inner edges in ascending order; bin i holds (edge i−1, edge i], the last bin everything above the last edge. Empty
    /// unless continuous.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub edges: Vec<f64>,
    /// Rows per code: own bins, then missing, unseen, below, above (the last three are 0 in a fresh profile).
    pub counts: Vec<u64>,
    /// Smallest number seen; 0 for categories.
    pub min: f64,
    /// Largest number seen; 0 for categories.
    pub max: f64,
    /// First percentile of the numbers.
    pub p01: f64,
    /// Ninety-ninth percentile of the numbers.
    pub p99: f64,
    /// Decimals that the reference's numbers use, 0 to 6.
    pub decimals: u8,
}

// === impl UnknownValue ===

impl UnknownValue {
    /// Every kind, in the order of [`UnknownValue::index`].
    pub const ALL: [Self; 4] = [Self::Missing, Self::Unseen, Self::Unreadable, Self::OutOfRange];

    /// Place in a table of counts by kind.
    pub const fn index(self) -> usize {
        self as usize
    }
}

// === impl Kind ===

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Continuous, Self::Discrete, Self::Boolean, Self::Categorical];

    /// The word on the command line, in messages and in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Continuous => "continuous",
            Self::Discrete => "discrete",
            Self::Boolean => "boolean",
            Self::Categorical => "categorical",
        }
    }
}

// === impl Feature ===

impl Feature {
    /// Number of own bins (without missing, unseen, below, above).
    pub fn bins(&self) -> usize {
        match self.kind {
            Kind::Continuous => self.edges.len() + 1,
            Kind::Discrete | Kind::Boolean => self.support.len(),
            Kind::Categorical => self.values.len(),
        }
    }

    /// The numbers that separate the bins, ascending: the edges of continuous bins, or the values of discrete ones. Categories have
    /// none.
    pub fn bounds(&self) -> &[f64] {
        if self.kind == Kind::Continuous { &self.edges } else { &self.support }
    }

    /// Number of codes: own bins and the four extra ones.
    pub fn codes(&self) -> usize {
        self.bins() + code::EXTRA
    }

    /// Whether rows of the reference lack a value.
    pub fn lacks_values(&self) -> bool {
        self.counts.get(self.bins() + code::MISSING).is_some_and(|&rows| rows > 0)
    }

    /// First code that no row of the reference has: those of values that it does not know, and of missing ones if it lacks none.
    pub fn first_unknown_code(&self) -> usize {
        self.bins() + if self.lacks_values() { code::UNSEEN } else { code::MISSING }
    }

    /// Whether the feature holds numbers (so that differences mean something).
    pub fn is_numeric(&self) -> bool {
        self.kind != Kind::Categorical
    }

    /// The code of a value: its own bin, or one of the extra codes of [`code`](mod@code). Every value has a code; none is dropped.
    pub fn code(&self, cell: Cell) -> usize {
        let own = self.bins();
        let value = cell.value();
        if cell.is_missing() {
            return own + code::MISSING;
        }
        if cell.is_unreadable() {
            return own + code::UNSEEN;
        }
        match self.kind {
            Kind::Categorical => self.category_code(value),
            _ if self.is_beyond(value) => own + if value < self.min { code::BELOW } else { code::ABOVE },
            Kind::Continuous => {
                let value = value - self.slack();
                self.edges.partition_point(|&edge| edge < value)
            }
            Kind::Discrete | Kind::Boolean => self.nearest_support(value).unwrap_or(own + code::UNSEEN),
        }
    }

    /// Why the reference does not know a value, of which `code` is the code; `None` if it knows it.
    #[inline]
    pub fn unknown_value(&self, code: usize, cell: Cell) -> Option<UnknownValue> {
        Some(match code.checked_sub(self.bins())? {
            code::MISSING => UnknownValue::Missing,
            code::UNSEEN if cell.is_unreadable() => UnknownValue::Unreadable,
            code::UNSEEN => UnknownValue::Unseen,
            _ => UnknownValue::OutOfRange,
        })
    }

    /// The code of a category by its index; negative indices are categories that the reference never saw.
    fn category_code(&self, index: f64) -> usize {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "non-negative category indices are small integers"
        )]
        if index >= 0.0 && (index as usize) < self.bins() { index as usize } else { self.bins() + code::UNSEEN }
    }

    /// Position of the nearest known number that `value` may be another spelling of.
    fn nearest_support(&self, value: f64) -> Option<usize> {
        let slack = self.slack();
        let first = self.support.partition_point(|&known| known < value - slack);
        let near = (first..self.support.len()).take_while(|&at| self.support[at] <= value + slack);
        let distance = |at: usize| (self.support[at] - value).abs();
        near.min_by(|&a, &b| distance(a).total_cmp(&distance(b)))
    }

    /// Largest difference between two spellings of the same value. Training data are often rounded where logs are not, or the other
    /// way round, and single precision has seven digits. Numbers that a reference with few decimals tells apart stay two values.
    pub fn slack(&self) -> f64 {
        let of_range = SAME_VALUE_OF_RANGE * (self.p99 - self.p01);
        let unit = if self.decimals < MOST_DECIMALS { 10_f64.powi(-i32::from(self.decimals)) } else { f64::INFINITY };
        of_range.min(SAME_VALUE_OF_LAST_DECIMAL * unit).max(SAME_VALUE)
    }

    /// Whether a number lies outside the range that the reference has.
    pub fn is_beyond(&self, value: f64) -> bool {
        let slack = self.slack();
        value < self.min - slack || value > self.max + slack
    }
}
