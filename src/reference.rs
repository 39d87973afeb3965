//! The reference profile: what a model's honest input looks like, learned once from training rows and then fixed.
//!
//! It is fixed (and may be signed) because a reference that learns from live traffic can be taught by the attacker
//! (DETECTION.md §4.4 of the design calls this contamination). It holds everything that later evidence needs: bins that cover
//! (−∞, ∞) with separate codes for missing and unseen, per-bin counts, pairwise dependence of coarse bins, the prediction's
//! histogram, and a bounded sample of rows.
//!
//! * [`fit`](mod@fit) learns a profile from a [`Table`].
//! * [`schema`] binds the values of an event to [`Cell`]s in schema order.
//! * [`sign`] signs and verifies a profile with Ed25519.

pub mod fit;
pub mod schema;
pub mod sign;

use serde::{Deserialize, Serialize};

pub use fit::{Column, FitError, FitOptions, Raw, Table, fit};
pub use schema::{Scalar, Schema};
pub use sign::require_signature;

use crate::event::Cell;

/// Version of the file format; another version is refused rather than guessed at.
pub const SCHEMA_VERSION: u32 = 1;

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

/// Extra bin codes behind a feature's own bins; see [`Feature::code`].
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

    /// What tells the bins of a number apart, ascending: the edges between them, or their values. Categories have none.
    pub fn bounds(&self) -> &[f64] {
        if self.kind == Kind::Continuous { &self.edges } else { &self.support }
    }

    /// Number of codes: own bins and the four extra ones.
    pub fn codes(&self) -> usize {
        self.bins() + code::EXTRA
    }

    /// Whether the feature holds numbers (so that differences mean something).
    pub fn is_numeric(&self) -> bool {
        self.kind != Kind::Categorical
    }

    /// The code of a value: its own bin, or one of [`code`]'s behind them. Every value has one; none is dropped.
    pub fn code(&self, cell: Cell) -> usize {
        let own = self.bins();
        let value = cell.value();
        if cell.is_missing() {
            return own + code::MISSING;
        }
        if cell.is_unreadable() {
            return own + code::UNSEEN;
        }
        let slack = self.slack();
        match self.kind {
            Kind::Categorical =>
            {
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "non-negative category indices are small integers"
                )]
                if value >= 0.0 && (value as usize) < own {
                    value as usize
                } else {
                    own + code::UNSEEN
                }
            }
            _ if self.is_beyond(value) => own + if value < self.min { code::BELOW } else { code::ABOVE },
            Kind::Continuous => {
                let value = value - slack;
                self.edges.partition_point(|&edge| edge < value)
            }
            Kind::Discrete | Kind::Boolean => {
                let near = self.support.partition_point(|&known| known < value - slack);
                let near = (near..own).take_while(|&at| self.support[at] <= value + slack);
                let off = |at: usize| (self.support[at] - value).abs();
                near.min_by(|&a, &b| off(a).total_cmp(&off(b))).unwrap_or(own + code::UNSEEN)
            }
        }
    }

    /// Difference between two numbers that are the same value, written in another way: training data are often rounded where logs are
    /// not, or the other way round, and single precision has seven digits. What a reference of fewer decimals tells apart are two values.
    pub fn slack(&self) -> f64 {
        let of_range = SAME_OF_RANGE * (self.p99 - self.p01);
        let unit = if self.decimals < MOST_DECIMALS { 10_f64.powi(-i32::from(self.decimals)) } else { f64::INFINITY };
        of_range.min(SAME_OF_UNIT * unit).max(SAME)
    }

    /// Whether a number lies outside the range that the reference has.
    pub fn is_beyond(&self, value: f64) -> bool {
        let slack = self.slack();
        value < self.min - slack || value > self.max + slack
    }
}

/// Two numbers nearer than this are the same value; log formats rarely keep more digits.
const SAME: f64 = 1e-9;
/// The same as a share of the usual range: a hundredth of what counts as no change when rows are compared.
const SAME_OF_RANGE: f64 = 1e-5;
/// And as a share of the last decimal: less than half, so that no number is near two of them.
const SAME_OF_UNIT: f64 = 0.4;
/// Decimals that a reference tells apart at most: its numbers may have more.
pub const MOST_DECIMALS: u8 = 6;

/// What form the model's answers have.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PredictionKind {
    /// A number.
    Score,
    /// A class label.
    Label,
    /// Probabilities by class.
    Probabilities,
}

/// Distribution of the model's answers over the reference rows.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PredictionProfile {
    /// Form of the answers.
    pub kind: PredictionKind,
    /// Class names in index order; empty for scores.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<String>,
    /// Inner edges of the score bins (or of the top probability's), as in [`Feature::edges`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub edges: Vec<f64>,
    /// Rows per bin: score bins or classes, then missing or unknown.
    pub counts: Vec<u64>,
    /// Score at which the decision changes; none for labels or where it is unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<f64>,
}

/// Joint distribution of two features' coarse codes; kept for the pairs that depend on each other most.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pair {
    /// Index of the first feature.
    pub a: usize,
    /// Index of the second feature.
    pub b: usize,
    /// Mutual information in nats, less its bias df/2M (Miller 1955).
    pub information: f64,
    /// Rows per (coarse a, coarse b), row by row.
    pub counts: Vec<u32>,
}

/// A detached statement by a key about a profile's content.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signature {
    /// Always `ed25519`.
    pub algorithm: String,
    /// Public key, base64.
    pub public_key: String,
    /// Signature over the canonical content, base64.
    pub value: String,
}

/// A reference profile, as in `models/<name>/reference.json`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reference {
    /// Format version, [`SCHEMA_VERSION`].
    pub schema: u32,
    /// Model name as in the events.
    pub model: String,
    /// Rows that the profile was learned from.
    pub rows: u64,
    /// Features in schema order.
    pub features: Vec<Feature>,
    /// The model's answers.
    pub prediction: PredictionProfile,
    /// Pairwise dependence, most informative first.
    pub pairs: Vec<Pair>,
    /// A bounded uniform sample of rows, in schema order.
    pub sample: Vec<Vec<Cell>>,
    /// Answer to each row of the sample: a score or top probability, or a class index.
    pub sample_predictions: Vec<Cell>,
    /// SHA-256 of everything above, hexadecimal.
    pub digest: String,
    /// Who vouches for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<Signature>,
}

/// Why a profile could not be used.
#[derive(Debug, thiserror::Error)]
pub enum ReferenceError {
    /// Not JSON, or not of this shape.
    #[error("not a reference profile: {0}; make one with `tripline fit`")]
    Syntax(#[from] serde_json::Error),
    /// Made by another version.
    #[error("reference profile of schema {found}, this program reads schema {SCHEMA_VERSION}; fit it again")]
    Version {
        /// Version in the file.
        found: u32,
    },
    /// Content and digest disagree: the file was edited or damaged.
    #[error("reference profile '{model}' was changed after it was made: its digest does not match; fit it again or restore it")]
    Digest {
        /// Model named in the file.
        model: String,
    },
    /// The parts contradict each other.
    #[error("reference profile '{model}' is inconsistent: {what}")]
    Inconsistent {
        /// Model named in the file.
        model: String,
        /// What does not fit.
        what: String,
    },
    /// A signature was required, or the one present is wrong.
    #[error("reference profile '{model}': {what}")]
    Signature {
        /// Model named in the file.
        model: String,
        /// What is wrong with the signature.
        what: String,
    },
}

// === impl Reference ===

impl Reference {
    /// Reads a profile and checks version, digest and consistency (not the signature: see [`sign`]).
    pub fn from_json(bytes: &[u8]) -> Result<Self, ReferenceError> {
        #[derive(Deserialize)]
        struct Version {
            schema: u32,
        }
        let version: Version = serde_json::from_slice(bytes)?;
        if version.schema != SCHEMA_VERSION {
            return Err(ReferenceError::Version { found: version.schema });
        }
        let reference: Self = serde_json::from_slice(bytes)?;
        reference.check()?;
        if reference.digest != reference.content_digest() {
            return Err(ReferenceError::Digest { model: reference.model });
        }
        Ok(reference)
    }

    /// The profile as a file: one line of JSON per top-level part would be prettier, one line is what tools expect.
    pub fn to_json(&self) -> Result<Vec<u8>, ReferenceError> {
        let mut bytes = serde_json::to_vec(self)?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// The bytes that digest and signature speak of: the profile without either.
    pub fn canonical_content(&self) -> Vec<u8> {
        let mut bare = self.clone();
        bare.digest.clear();
        bare.signature = None;
        // Serialising plain data to memory cannot fail; an empty content would never match a digest.
        serde_json::to_vec(&bare).unwrap_or_default()
    }

    /// SHA-256 of [`Reference::canonical_content`], hexadecimal.
    pub fn content_digest(&self) -> String {
        use sha2::Digest as _;
        use std::fmt::Write as _;
        sha2::Sha256::digest(self.canonical_content()).iter().fold(String::with_capacity(64), |mut text, byte| {
            // Writing to a String cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
    }

    /// Finds parts that contradict each other, so that no later stage indexes out of a table or divides by a count of none.
    fn check(&self) -> Result<(), ReferenceError> {
        let inconsistent = |what: String| ReferenceError::Inconsistent { model: self.model.clone(), what };
        if self.features.is_empty() {
            return Err(inconsistent("it has no features".into()));
        }
        let mut names: Vec<&str> = self.features.iter().map(|f| f.name.as_str()).collect();
        names.sort_unstable();
        if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(inconsistent(format!("it has two features '{}'", twice[0])));
        }
        for feature in &self.features {
            feature.check(self.rows).map_err(|what| inconsistent(format!("feature '{}' {what}", feature.name)))?;
        }
        self.prediction.check(self.rows).map_err(|what| inconsistent(format!("the prediction {what}")))?;
        self.check_sample().map_err(inconsistent)
    }

    fn check_sample(&self) -> Result<(), String> {
        let width = self.features.len();
        if let Some(row) = self.sample.iter().find(|row| row.len() != width) {
            return Err(format!("a sample row has {} cells for {width} features", row.len()));
        }
        if self.sample.len() != self.sample_predictions.len() {
            return Err(format!("{} sample rows with {} predictions", self.sample.len(), self.sample_predictions.len()));
        }
        let coarse: Vec<usize> = self.features.iter().map(fit::coarse_codes).collect();
        for pair in &self.pairs {
            let fits = pair.a < width && pair.b < width && pair.a != pair.b;
            if !fits || pair.counts.len() != coarse[pair.a] * coarse[pair.b] || !pair.information.is_finite() {
                return Err(format!("pair ({}, {}) does not fit the features", pair.a, pair.b));
            }
        }
        Ok(())
    }
}

impl Feature {
    fn check(&self, rows: u64) -> Result<(), String> {
        if self.counts.len() != self.codes() {
            return Err(format!("has {} counts for {} codes", self.counts.len(), self.codes()));
        }
        if self.bins() == 0 {
            return Err("has no bins".into());
        }
        let foreign = match self.kind {
            Kind::Continuous => !self.support.is_empty() || !self.values.is_empty(),
            Kind::Discrete | Kind::Boolean => !self.edges.is_empty() || !self.values.is_empty(),
            Kind::Categorical => !self.edges.is_empty() || !self.support.is_empty(),
        };
        if foreign {
            return Err("has bins of another kind beside its own".into());
        }
        if !ascending(&self.edges) || !ascending(&self.support) {
            return Err("has edges that do not ascend".into());
        }
        if self.values.windows(2).any(|pair| pair[0] >= pair[1]) {
            return Err("has categories that do not ascend".into());
        }
        if [self.min, self.max, self.p01, self.p99].iter().any(|v| !v.is_finite()) || self.min > self.max {
            return Err("has no range from its smallest to its largest number".into());
        }
        check_total(&self.counts, rows)
    }
}

impl PredictionProfile {
    fn check(&self, rows: u64) -> Result<(), String> {
        let bins = match self.kind {
            PredictionKind::Score => self.edges.len() + 1,
            PredictionKind::Label | PredictionKind::Probabilities => self.classes.len(),
        };
        if self.counts.len() != bins + 1 {
            return Err(format!("has {} counts for {} bins", self.counts.len(), bins + 1));
        }
        if !ascending(&self.edges) || self.classes.windows(2).any(|pair| pair[0] >= pair[1]) {
            return Err("has edges or classes that do not ascend".into());
        }
        check_total(&self.counts, rows)
    }
}

fn ascending(values: &[f64]) -> bool {
    values.iter().all(|v| v.is_finite()) && values.windows(2).all(|w| w[0] < w[1])
}

fn check_total(counts: &[u64], rows: u64) -> Result<(), String> {
    let total: u128 = counts.iter().map(|&n| u128::from(n)).sum();
    if total == u128::from(rows) { Ok(()) } else { Err(format!("counts {total} rows of {rows}")) }
}

impl Serialize for Cell {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let value = self.value();
        if self.is_missing() {
            serializer.serialize_none()
        } else if self.is_unreadable() {
            serializer.serialize_str("unreadable")
        } else {
            #[expect(clippy::cast_possible_truncation, clippy::float_cmp, reason = "exact test for an integer that prints shorter")]
            if value.abs() < 1e15 && value.trunc() == value {
                serializer.serialize_i64(value as i64)
            } else {
                serializer.serialize_f64(value)
            }
        }
    }
}

impl<'de> Deserialize<'de> for Cell {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form {
            Number(f64),
            Text(String),
            Null(()),
        }
        Ok(match Form::deserialize(deserializer)? {
            Form::Number(number) => Self::number(number),
            Form::Text(text) if text == "unreadable" => Self::UNREADABLE,
            Form::Text(text) => return Err(serde::de::Error::custom(format_args!("cell '{text}' is neither a number nor null"))),
            Form::Null(()) => Self::MISSING,
        })
    }
}

#[cfg(test)]
mod tests;
