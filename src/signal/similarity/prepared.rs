//! A row prepared for comparing it with many: what equality is worth in each column, and which columns the reference knows.

use super::learned::NOTHING;
use super::{Similarity, WithoutCommon};
use crate::event::Cell;
use crate::reference::{Feature, Reference};
use crate::signal::quantise::{FIRST_CATEGORY, LEAST_MEASURED, MISSING, MOST_MEASURED, Quantised, Quantiser};

/// A row, prepared to be compared with many; reused between rows.
#[derive(Clone, Debug, Default)]
pub struct PreparedRow {
    pub(super) codes: Vec<u16>,
    /// By place: bits that make any level [`NOTHING`], for numbers that are missing.
    pub(super) missing: Vec<u16>,
    /// By place: what equality is worth, for categories; in steps of a nat.
    pub(super) equal: Vec<u16>,
    /// How it is written.
    pub(super) written: Written,
    /// Similarity to itself, in nats.
    pub(super) most: f32,
}

/// How a row is written, which decides what its similarities are compared with.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum Written {
    /// The reference knows every value.
    #[default]
    Known,
    /// All values that it does not know are in common columns, so the row is compared without these.
    Commonly,
    /// Others are unknown, too. Their columns are worth nothing, and similarity is compared with that of whole rows, which is cautious.
    Oddly,
}

// === impl PreparedRow ===

impl PreparedRow {
    /// Places of a row, padding included.
    pub fn width(&self) -> usize {
        self.codes.len()
    }

    /// Makes some places worth nothing.
    pub(super) fn leave_out(&mut self, places: &[bool]) {
        for (place, _) in places.iter().enumerate().filter(|(_, left_out)| **left_out) {
            self.missing[place] = NOTHING;
            self.equal[place] = 0;
        }
    }
}

// === impl Similarity, preparing ===

impl Similarity {
    /// Prepares a row.
    pub fn prepare(&self, row: &[u16], prepared: &mut PreparedRow) {
        self.prepare_without(self.without_common.as_deref(), row, prepared);
    }

    /// Prepares a row to be compared with all its columns, whatever is common.
    pub fn prepare_with_all_columns(&self, row: &[u16], prepared: &mut PreparedRow) {
        self.prepare_without(None, row, prepared);
    }

    /// Prepares a row, if it is written so to be compared without what is common.
    fn prepare_without(&self, common: Option<&WithoutCommon>, row: &[u16], prepared: &mut PreparedRow) {
        self.weigh(row, prepared);
        let mut unknown = self.unknown_beside(common, row).peekable();
        prepared.written = match common {
            _ if unknown.peek().is_none() => Written::Known,
            Some(common) if unknown.all(|place| common.places[place]) => {
                prepared.leave_out(&common.places);
                Written::Commonly
            }
            Some(common) => {
                prepared.leave_out(&common.places);
                Written::Oddly
            }
            None => Written::Oddly,
        };
        prepared.most = self.score(prepared, row);
    }

    /// Places of a row whose values the reference does not know, or that many callers send now.
    pub fn unknown<'a>(&'a self, row: &'a [u16]) -> impl Iterator<Item = usize> + 'a {
        self.unknown_beside(self.without_common.as_deref(), row)
    }

    /// The same by what is common; without it, places whose values the reference does not know.
    fn unknown_beside<'a>(&'a self, common: Option<&'a WithoutCommon>, row: &'a [u16]) -> impl Iterator<Item = usize> + 'a {
        let is_frequent = move |place: usize, code: u16| {
            common.is_some_and(|common| common.frequent[place].is_some_and(|range| range.contains(code)))
        };
        let places = row.iter().take(self.features.len()).enumerate();
        places.filter(move |&(place, &code)| self.is_unknown(place, code) || is_frequent(place, code)).map(|(place, _)| place)
    }

    /// Whether a code is one of a value that the reference does not know.
    #[inline]
    pub(super) fn is_unknown(&self, place: usize, code: u16) -> bool {
        let is_known = match place.checked_sub(self.numbers) {
            None => (self.ranges[place].0..=self.ranges[place].1).contains(&code),
            Some(category) => code >= FIRST_CATEGORY && usize::from(code - FIRST_CATEGORY) < self.categories[category].len(),
        };
        let is_usual_gap = code == MISSING && self.lacks[place];
        !is_known && !is_usual_gap
    }

    /// Prepares a row with all its columns.
    pub(super) fn weigh(&self, row: &[u16], prepared: &mut PreparedRow) {
        let (numbers, categories) = row.split_at(self.numbers.min(row.len()));
        prepared.codes.clear();
        prepared.codes.extend_from_slice(row);
        // How rare a value is that the reference does not know, nobody knows: a new spelling, unit or default would make everybody similar.
        // So two such values are no similarity, and two missing ones are none.
        prepared.missing.clear();
        let is_known = |(&code, &(least, most)): (&u16, &(u16, u16))| (least..=most).contains(&code);
        prepared.missing.extend(numbers.iter().zip(&self.ranges).map(|at| if is_known(at) { 0 } else { NOTHING }));
        prepared.missing.resize(row.len(), 0);
        prepared.equal.clear();
        prepared.equal.resize(numbers.len(), 0);
        prepared.equal.extend(categories.iter().zip(&self.categories).map(|(&code, scores)| {
            let index = usize::from(code).checked_sub(usize::from(FIRST_CATEGORY));
            index.and_then(|index| scores.get(index)).copied().unwrap_or(0)
        }));
        prepared.equal.resize(row.len(), 0);
    }
}

/// Codes of the smallest and the largest number of each place, as far as they are measured.
pub(super) fn ranges(reference: &Reference) -> Vec<(u16, u16)> {
    let quantiser = Quantiser::new(reference);
    let codes = |end: fn(&Feature) -> f64| {
        let row: Vec<Cell> = reference.features.iter().map(|feature| Cell::number(end(feature))).collect();
        let mut quantised = Quantised::default();
        quantiser.encode(&row, &mut quantised);
        quantised.codes
    };
    let ends = codes(|f| f.min - f.slack()).into_iter().zip(codes(|f| f.max + f.slack()));
    ends.map(|(least, most)| (least.max(LEAST_MEASURED), most.min(MOST_MEASURED))).collect()
}
