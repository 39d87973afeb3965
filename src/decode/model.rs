//! The input layout of one model: the names of its features, their positions, and the classes of its answers.
//!
//! A log writes the features of every event in the same order. A name is therefore compared first with the one that stood at its
//! place in the previous object; the hash table is asked only when that fails.

use std::collections::BTreeMap;

use rustc_hash::FxHashSet;

use super::{MAX_CLASSES, MAX_TEXT_BYTES, RejectReason, Rejection, excerpt};
use crate::hash;
use crate::reference::mismatch::MAX_NOTED_NAMES;
use crate::reference::{Reference, Schema};

/// Stands in the expected order where the last object had an unknown name.
const UNEXPECTED: usize = usize::MAX;

/// Places of an object whose order is remembered, as a multiple of the number of features. Chosen: logs may add as many fields as
/// the model has; beyond that the memory would grow with what a caller sends.
const REMEMBERED_PLACES: usize = 2;

/// The input layout of one model.
#[derive(Debug)]
pub struct ModelLayout {
    name: Box<str>,
    schema: Schema,
    names: Vec<Box<str>>,
    /// Other names of features.
    others: Vec<Box<str>>,
    classes: Vec<Box<str>>,
    /// Position of the feature that stood at each place of the last object.
    expected: Vec<usize>,
    /// Whether any feature's name has a dot, so that nested objects are flattened.
    dotted: bool,
    /// Hashes of the unknown names that were noted, at most [`MAX_NOTED_NAMES`].
    noted: FxHashSet<u64>,
    shows_values: bool,
}

/// The class names of one answer, as hashes: enough to find a name that occurs twice, in bounded memory. Two different names with
/// the same 64-bit hash count as the same; that harms only the sender of such an event.
#[derive(Debug, Default)]
pub(super) struct ClassNames(FxHashSet<u64>);

// === impl ModelLayout ===

impl ModelLayout {
    /// `shows_values` if values that callers sent may be shown to people.
    /// `renamed` has other names of features, each with the feature's own.
    pub(super) fn new(reference: &Reference, shows_values: bool, renamed: &BTreeMap<String, String>) -> Self {
        let boxed = |texts: &mut dyn Iterator<Item = &String>| texts.map(|text| text.as_str().into()).collect::<Vec<Box<str>>>();
        let names = boxed(&mut reference.features.iter().map(|feature| &feature.name));
        let others =
            boxed(&mut renamed.iter().filter(|(_, own)| names.iter().any(|name| **name == ***own)).map(|(other, _)| other));
        Self {
            name: reference.model.as_str().into(),
            schema: Schema::new(reference).with_names(renamed.iter().map(|(other, own)| (other.as_str(), own.as_str()))),
            classes: boxed(&mut reference.prediction.classes.iter()),
            expected: (0..names.len()).collect(),
            dotted: names.iter().chain(&others).any(|name| name.contains('.')),
            names,
            others,
            noted: FxHashSet::default(),
            shows_values,
        }
    }

    /// Whether values that callers sent may be shown to people.
    pub(super) fn shows_values(&self) -> bool {
        self.shows_values
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn schema(&self) -> &Schema {
        &self.schema
    }

    pub(super) fn classes(&self) -> &[Box<str>] {
        &self.classes
    }

    /// Number of features.
    pub(super) fn width(&self) -> usize {
        self.names.len()
    }

    /// Whether nested objects are flattened.
    pub(super) fn is_dotted(&self) -> bool {
        self.dotted
    }

    /// Whether a name is a feature's, or begins the name of nested ones.
    pub(super) fn knows(&self, name: &str) -> bool {
        let begins = |feature: &str| feature.strip_prefix(name).is_some_and(|rest| rest.starts_with('.'));
        self.schema.position(name).is_some()
            || (self.dotted && self.names.iter().chain(&self.others).any(|feature| begins(feature)))
    }

    /// Whether an unknown name is new, and is noted now.
    pub(super) fn note_unknown(&mut self, name: &str) -> bool {
        self.noted.len() < MAX_NOTED_NAMES && name.len() <= MAX_TEXT_BYTES && self.noted.insert(hash::text(name))
    }

    /// Forgets that an unknown name was noted: its record was refused, and nobody has heard of it.
    pub(super) fn forget_unknown(&mut self, name: &str) {
        self.noted.remove(&hash::text(name));
    }

    /// Position of the feature `name`, which stands at place `nth` of its object.
    pub(super) fn position(&mut self, name: &str, nth: usize) -> Option<usize> {
        let expected = self.expected.get(nth).copied().unwrap_or(UNEXPECTED);
        if self.names.get(expected).is_some_and(|known| **known == *name) {
            return Some(expected);
        }
        let found = self.schema.position(name);
        if nth < REMEMBERED_PLACES * self.names.len() {
            if self.expected.len() <= nth {
                self.expected.resize(nth + 1, UNEXPECTED);
            }
            self.expected[nth] = found.unwrap_or(UNEXPECTED);
        }
        found
    }
}

// === impl ClassNames ===

impl ClassNames {
    pub(super) fn clear(&mut self) {
        if !self.0.is_empty() {
            self.0.clear();
        }
    }

    /// Takes a name. Refuses a name that occurs twice, and more names than [`MAX_CLASSES`].
    pub(super) fn insert(&mut self, name: &str) -> Result<(), Rejection> {
        if self.0.len() == MAX_CLASSES {
            let message = format_args!("more than {MAX_CLASSES} classes in one answer");
            return Err(Rejection::new(RejectReason::TooLarge, message));
        }
        if self.0.insert(hash::text(name)) { Ok(()) } else { Err(duplicate(name)) }
    }
}

/// The rejection of a name that stands twice in one object.
pub(super) fn duplicate(name: &str) -> Rejection {
    Rejection::new(RejectReason::BadField, format_args!("'{}' stands twice in one object", excerpt(name).escape_debug()))
}
