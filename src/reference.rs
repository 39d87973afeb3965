//! The reference profile: what a model's honest input looks like, learned once from training data and then fixed.
//!
//! It is fixed (and may be signed) because an attacker can teach a reference that learns from live traffic; the literature calls
//! this contamination. It holds everything that later evidence needs: bins that cover (−∞, ∞) with separate codes for missing and
//! unseen values, counts per bin, the pairwise dependence of coarse bins, the histogram of the predictions, and a bounded sample of
//! rows.
//!
//! * [`training`] is the data that a profile is learned from; [`fit`](mod@fit) learns it.
//! * [`advice`] says what looks wrong with the data.
//! * [`feature`] gives every value its code; [`schema`] binds the values of an event to [`Cell`]s in schema order.
//! * [`number_style`] reads numbers with decimal commas or signs between thousands.
//! * [`mismatch`] compares the first records of a log with a profile.
//! * [`check`](mod@check) refuses parts that contradict each other; [`sign`] signs and verifies a profile with Ed25519.
//! * `load` reads profiles and trusted keys from files for every command; `config` says which ones (both with the feature `runtime`).

pub mod advice;
mod cell;
mod check;
#[cfg(feature = "runtime")]
pub mod config;
pub mod feature;
pub mod fit;
#[cfg(feature = "runtime")]
pub mod load;
pub mod mismatch;
pub mod number_style;
pub mod schema;
pub mod sign;
pub mod training;

use serde::{Deserialize, Serialize};

pub use feature::{Feature, Kind, MOST_DECIMALS, UnknownValue, code};
pub use fit::{FitError, FitOptions, fit};
pub use schema::{Scalar, Schema};
pub use sign::{Trust, require_signature};
pub use training::{Column, Dataset, Raw};

use crate::event::Cell;
use crate::hash;

/// Version of the file format. Another version is refused: its fields may mean something else.
pub const SCHEMA_VERSION: u32 = 1;

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

// === impl PredictionKind ===

impl PredictionKind {
    /// Every form.
    pub const ALL: [Self; 3] = [Self::Score, Self::Label, Self::Probabilities];

    /// The word on the command line, in messages and in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Score => "score",
            Self::Label => "label",
            Self::Probabilities => "probabilities",
        }
    }
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

/// The signature of a profile's content by one key.
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
    /// Signature of the content, if somebody signed it.
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
    #[error("reference profile '{model}' is inconsistent: {what}; fit it again or restore it")]
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
    /// Reads a profile and checks version, consistency and digest, in this order. Signatures are the matter of
    /// [`Reference::from_trusted_json`].
    ///
    /// # Errors
    /// [`ReferenceError`], but never [`ReferenceError::Signature`].
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

    /// Reads a profile, checks it as [`Reference::from_json`] does, and checks that a trusted key signed it.
    ///
    /// # Errors
    /// As [`Reference::from_json`]; [`ReferenceError::Signature`] if the signature is not what `trust` asks for.
    pub fn from_trusted_json(bytes: &[u8], trust: &Trust) -> Result<Self, ReferenceError> {
        let reference = Self::from_json(bytes)?;
        trust.check(&reference)?;
        Ok(reference)
    }

    /// The profile as a file: one line of JSON and a line end, so that line-based tools can read it.
    ///
    /// # Errors
    /// Only if plain data could not be written to memory.
    pub fn to_json(&self) -> Result<Vec<u8>, ReferenceError> {
        let mut bytes = serde_json::to_vec(self)?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// The bytes that digest and signature cover: the profile without either.
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
        hash::hex(&sha2::Sha256::digest(self.canonical_content()))
    }
}

#[cfg(test)]
mod tests;
