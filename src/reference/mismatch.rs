//! Whether a log and a reference profile speak of the same columns, known after the first records.
//!
//! A profile that does not belong to the log judges everything, and everything it says is wrong: a column that is never logged counts
//! as missing in every row, and a renamed one twice. The first [`FIRST_ROWS`] rows of a model are compared with its profile once, and
//! what does not fit is said with its remedy. Memory is fixed: counts by feature, and a bounded number of unknown names.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, LazyLock};

use rustc_hash::FxHashSet;
use serde::Serialize;

use super::{Feature, Kind, Reference, code};
use crate::event::{Cell, EventTime, Query};

/// Unknown names of features that are noted for each model, by the decoder and here, so that a person can be told of them. Chosen: more
/// than a person reads; what a caller invents beyond it is counted, and not kept.
pub const MAX_NOTED_NAMES: usize = 32;
/// Rows after which a model is compared with its profile. Chosen: a value that a tenth of the rows have is missed by two hundred with
/// a probability of one in a billion, and a busy model sends as many within seconds.
pub const FIRST_ROWS: u64 = 200;
/// Rows that are enough when [`EARLY_SECONDS`] of event time have passed: a value that a third of the rows have is missed by twenty
/// with a probability of one in three thousand.
const EARLY_ROWS: u64 = 20;
/// Seconds of event time after which [`EARLY_ROWS`] are compared, so that a quiet model is not without a word for hours.
const EARLY_SECONDS: f64 = 600.0;
/// Probability of a column without a value in all rows, by the reference's own share of missing values, from which it is called
/// never logged. Chosen: one false note in a thousand columns.
const BY_CHANCE: f64 = 1e-3;
/// Share of a column's values that must be of the wrong kind. Chosen: half; a column with a few texts among numbers is evidence and no
/// mismatch.
const WRONG_KIND: f64 = 0.5;
/// Share of a column's values that the reference must not know. Chosen: nine tenths; a changed world keeps most of its values.
const UNKNOWN_VALUES: f64 = 0.9;
/// Values of a column that are needed to say something of its kind or range.
const LEAST_VALUES: u64 = 20;
/// Whole numbers that are tried as the spelling of unseen categories: codes of categories count from 0 or 1, and profiles have fewer
/// categories than this, as a rule.
const CODES: u32 = 1_000;
/// Names and values that are listed in one sentence.
const LISTED: usize = 6;

/// Compares the first rows of one model with its profile.
#[derive(Clone, Debug)]
pub struct Comparison {
    reference: Arc<Reference>,
    rows: u64,
    columns: Vec<ColumnCounts>,
    /// Features without a value in any row so far, by position.
    never: Vec<usize>,
    /// Names of fields that the profile does not know.
    unknown: BTreeSet<Box<str>>,
    /// Rows with such fields, of all rows.
    with_unknown: u64,
    first: Option<EventTime>,
    last: Option<EventTime>,
    /// Rows counted in `columns` when the comparison was made.
    compared: bool,
}

/// Values of one column among the first rows.
#[derive(Clone, Copy, Debug, Default)]
struct ColumnCounts {
    present: u64,
    /// Text where a number belongs.
    unreadable: u64,
    /// Values that the reference does not have.
    unknown: u64,
    /// Of these, categories that are spelled as whole numbers.
    codes: u64,
}

/// Something that does not fit.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Mismatch {
    /// A field of the log and a column of the reference differ in spelling.
    OtherSpelling {
        /// Name in the log.
        logged: String,
        /// Name in the reference.
        feature: String,
    },
    /// A column of the reference has no value in any record.
    NeverLogged {
        /// Name in the reference.
        feature: String,
    },
    /// Texts where the reference has numbers.
    TextForNumbers {
        /// Name in the reference.
        feature: String,
    },
    /// Numbers where the reference has texts.
    NumbersForText {
        /// Name in the reference.
        feature: String,
        /// Some of the texts.
        known: Vec<String>,
    },
    /// Values that the reference never saw.
    UnknownValues {
        /// Name in the reference.
        feature: String,
        /// What the reference has.
        known: Vec<String>,
    },
    /// Some columns are never logged, and some fields are unknown: they may be the same.
    PerhapsRenamed {
        /// A column of the reference without a value.
        feature: String,
        /// A field that the reference does not know.
        logged: String,
    },
    /// Fields that the reference does not know, without a similar name in it.
    UnknownFields {
        /// Their names, in order, bounded.
        names: Vec<String>,
    },
}

// === impl Comparison ===

impl Comparison {
    /// A comparison before the first row.
    pub fn new(reference: Arc<Reference>) -> Self {
        let width = reference.features.len();
        Self {
            reference,
            rows: 0,
            columns: vec![ColumnCounts::default(); width],
            never: (0..width).collect(),
            unknown: BTreeSet::new(),
            with_unknown: 0,
            first: None,
            last: None,
            compared: false,
        }
    }

    /// Name of the model.
    pub fn model(&self) -> &str {
        &self.reference.model
    }

    /// Takes a row; true when enough rows came to compare, which happens once.
    pub fn take(&mut self, query: &Query) -> bool {
        self.rows += 1;
        self.with_unknown += u64::from(query.extra_features > 0);
        for name in &query.new_names {
            if self.unknown.len() < MAX_NOTED_NAMES {
                self.unknown.insert(name.clone());
            }
        }
        // Empty after the first few rows, as a rule.
        self.never.retain(|&at| query.row.get(at).is_none_or(|cell| cell.is_missing()));
        if self.compared {
            return false;
        }
        for ((counts, feature), &cell) in self.columns.iter_mut().zip(&self.reference.features).zip(&query.row) {
            counts.take(feature, cell);
        }
        let first = *self.first.get_or_insert(query.time);
        let last = self.last.map_or(query.time, |last| last.max(query.time));
        self.last = Some(last);
        let early = self.rows >= EARLY_ROWS && last.seconds_since(first) >= EARLY_SECONDS;
        self.compared = self.rows >= FIRST_ROWS || early;
        self.compared
    }

    /// Rows so far.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Rows that have fields which the reference does not know.
    pub fn rows_with_unknown_fields(&self) -> u64 {
        self.with_unknown
    }

    /// What does not fit: of the first rows the kinds and values, of all rows so far the columns that never had a value.
    pub fn mismatches(&self) -> Vec<Mismatch> {
        if self.rows == 0 {
            return Vec::new();
        }
        let mut never: Vec<&Feature> = self.never.iter().map(|&at| &self.reference.features[at]).collect();
        never.retain(|feature| missing_by_chance(feature, self.reference.rows, self.rows) < BY_CHANCE);
        let mut found = Vec::new();
        let mut strange: Vec<&str> = self.unknown.iter().map(AsRef::as_ref).collect();
        never.retain(|feature| {
            let Some(at) = strange.iter().position(|name| is_alike(name, &feature.name)) else { return true };
            found.push(Mismatch::OtherSpelling { logged: strange.remove(at).to_owned(), feature: feature.name.clone() });
            false
        });
        found.extend(never.iter().map(|feature| Mismatch::NeverLogged { feature: feature.name.clone() }));
        found.extend(self.columns.iter().zip(&self.reference.features).filter_map(|(counts, feature)| counts.mismatch(feature)));
        let perhaps = never.first().zip(strange.first());
        let perhaps = perhaps
            .map(|(feature, logged)| Mismatch::PerhapsRenamed { feature: feature.name.clone(), logged: (*logged).to_owned() });
        if !strange.is_empty() {
            found.push(Mismatch::UnknownFields { names: strange.into_iter().map(str::to_owned).collect() });
        }
        found.extend(perhaps);
        found
    }
}

/// Probability that a column has no value in `rows` rows, by the share of missing values in the reference.
fn missing_by_chance(feature: &Feature, of: u64, rows: u64) -> f64 {
    let missing = feature.counts.get(feature.bins() + code::MISSING).copied().unwrap_or_default();
    // One more of each, so that a column without a missing value is not said to be certain (Laplace's rule of succession).
    let share = (missing + 1) as f64 / (of + 2) as f64;
    share.powf(rows as f64)
}

// === impl ColumnCounts ===

impl ColumnCounts {
    fn take(&mut self, feature: &Feature, cell: Cell) {
        if cell.is_missing() {
            return;
        }
        self.present += 1;
        if cell.is_unreadable() {
            self.unreadable += 1;
        } else if feature.code(cell) >= feature.bins() + code::UNSEEN {
            self.unknown += 1;
            self.codes += u64::from(feature.kind == Kind::Categorical && is_whole_number(cell));
        }
    }

    fn mismatch(&self, feature: &Feature) -> Option<Mismatch> {
        let share = |part: u64| part as f64 / self.present as f64;
        if self.present < LEAST_VALUES {
            return None;
        }
        let name = feature.name.clone();
        if share(self.unreadable) >= WRONG_KIND {
            return Some(Mismatch::TextForNumbers { feature: name });
        }
        if share(self.unknown) < UNKNOWN_VALUES {
            return None;
        }
        let known = known_values(feature);
        let codes =
            self.codes as f64 / self.unknown as f64 >= WRONG_KIND && !feature.values.iter().all(|v| v.parse::<f64>().is_ok());
        Some(if codes {
            Mismatch::NumbersForText { feature: name, known }
        } else {
            Mismatch::UnknownValues { feature: name, known }
        })
    }
}

/// Whether an unseen category is the spelling of a small whole number: a category keeps a hash of its text.
fn is_whole_number(cell: Cell) -> bool {
    /// The bits of their cells.
    static WHOLE: LazyLock<FxHashSet<u64>> =
        LazyLock::new(|| (0..CODES).map(|number| Cell::unseen(&number.to_string()).value().to_bits()).collect());
    WHOLE.contains(&cell.value().to_bits())
}

/// What a reference has of a column, for a person.
fn known_values(feature: &Feature) -> Vec<String> {
    match feature.kind {
        Kind::Categorical => feature.values.iter().take(LISTED).cloned().collect(),
        Kind::Continuous => vec![format!("{} to {}", feature.min, feature.max)],
        Kind::Discrete | Kind::Boolean => feature.support.iter().take(LISTED).map(f64::to_string).collect(),
    }
}

/// Whether two names are spellings of one: the same letters and digits in another case or with other signs between them, or one typing
/// error apart.
fn is_alike(a: &str, b: &str) -> bool {
    /// Fewest letters of a name in which one typing error is believed: `x1` and `x2` are two columns.
    const LONG: usize = 6;
    let plain = |name: &str| -> Vec<char> { name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect() };
    let (a, b) = (plain(a), plain(b));
    let digits = |name: &[char]| -> Vec<char> { name.iter().copied().filter(char::is_ascii_digit).collect() };
    !a.is_empty() && (a == b || (a.len().min(b.len()) >= LONG && digits(&a) == digits(&b) && is_one_edit(&a, &b)))
}

/// Whether one inserted, deleted or replaced letter, or two exchanged neighbours, make one word of the other.
fn is_one_edit(a: &[char], b: &[char]) -> bool {
    let (short, long) = if a.len() <= b.len() { (a, b) } else { (b, a) };
    let same = short.iter().zip(long).take_while(|(x, y)| x == y).count();
    let (short, long) = (&short[same..], &long[same..]);
    match long.len() - short.len() {
        0 if short.len() >= 2 && short[0] == long[1] && short[1] == long[0] => short[2..] == long[2..],
        0 => short.is_empty() || short[1..] == long[1..],
        1 => *short == long[1..],
        _ => false,
    }
}

// === impl Mismatch ===

impl Mismatch {
    /// A sentence that says what does not fit and what to do, with the model's names as `safe` makes them fit to print.
    pub fn sentence(&self, safe: impl Fn(&str) -> String) -> String {
        let list = |names: &[String]| {
            let more = if names.len() > LISTED { ", …" } else { "" };
            names.iter().take(LISTED).map(|name| safe(name)).collect::<Vec<_>>().join(", ") + more
        };
        match self {
            Self::OtherSpelling { logged, feature } => {
                let (logged, feature) = (safe(logged), safe(feature));
                format!(
                    "records have {logged}, the reference has {feature}: log it as {feature}, write \"{logged}\" = \"{feature}\" under [decode.rename], \
                     or name the column {logged} in the training data and fit again"
                )
            }
            Self::NeverLogged { feature } => {
                let feature = safe(feature);
                format!(
                    "the reference has the column {feature}, no record has a value for it: fit again with --drop {feature}, or log it"
                )
            }
            Self::TextForNumbers { feature } => {
                let feature = safe(feature);
                format!(
                    "records have text in {feature}, the reference has numbers: log the number, or fit again with --kind {feature}=categorical if the model takes text"
                )
            }
            Self::NumbersForText { feature, known } => {
                let feature = safe(feature);
                format!(
                    "records have numbers in {feature}, the reference has texts ({}): log what the training data have, or fit from data that are coded as the log is",
                    list(known)
                )
            }
            Self::UnknownValues { feature, known } => format!(
                "hardly a value of {} is one that the reference knows ({}): check unit, coding and spelling, and whether it is the right reference",
                safe(feature),
                list(known)
            ),
            Self::PerhapsRenamed { feature, logged } => {
                let (feature, logged) = (safe(feature), safe(logged));
                format!(
                    "if an unknown field is the new name of a column that no record has, say so: \"{logged}\" = \"{feature}\" under \
                     [decode.rename]"
                )
            }
            Self::UnknownFields { names } => {
                format!(
                    "records have fields that the reference does not know and that are left out: {}; fit again with them if the model uses them",
                    list(names)
                )
            }
        }
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence(str::to_owned))
    }
}

#[cfg(test)]
mod tests;
