//! Rows as codes: each row is mapped once, and every statistic shares the work.
//!
//! A *fine* code is the bin of a value ([`Feature::code`]); a *coarse* one merges bins so that tables of pairs and triples stay small
//! and their cells well filled. Beside them stand the normal scores of the numbers ([`super::normal_scores`]).

use crate::event::Cell;
use crate::reference::fit::{coarse_codes, coarse_map};
use crate::reference::{Feature, Kind, Reference, UnknownValue};
use crate::signal::normal_scores::NormalScores;
use crate::signal::search_grid::{self, SearchGrid};

/// Bounds up to which a bin is found by asking all of them, and cells of the grid over more of them. Chosen: two dozen comparisons
/// without a branch take about as long as one wrong guess of the processor; `cargo bench --bench engine` measures the whole.
const MOST_COMPARED: usize = 24;
const BOUND_CELLS: usize = 64;

/// Maps rows to codes once, so that every statistic shares the work.
#[derive(Clone, Debug)]
pub struct Coder {
    features: Vec<Feature>,
    bins: Vec<Bins>,
    coarse: Vec<Vec<u8>>,
    sizes: Vec<usize>,
    scores: NormalScores,
    /// First code of each feature that no row of the reference has, and number of own bins.
    unknown: Vec<u16>,
    own: Vec<u16>,
}

/// What tells the bins of a feature apart, in one place of memory: nearly every value lies in an ordinary bin.
#[derive(Clone, Debug)]
struct Bins {
    /// Ordinary values: numbers from the smallest to the largest of the reference, or indices of known categories.
    least: f64,
    most: f64,
    /// [`Feature::bounds`], and a grid over them.
    bounds: Box<[f64]>,
    grid: SearchGrid,
    /// [`Feature::slack`].
    slack: f64,
    kind: Kind,
}

/// Codes of one row, reused between rows.
#[derive(Clone, Debug, Default)]
pub struct Codes {
    /// [`Feature::code`] per feature.
    pub fine: Vec<u16>,
    /// Coarse code per feature.
    pub coarse: Vec<u8>,
    /// Normal scores of the numbers, by [`Coder::score`]; NaN for a missing number.
    pub normal: Vec<f32>,
}

// === impl Coder ===

impl Coder {
    /// A coder for a reference's features.
    pub fn new(reference: &Reference) -> Self {
        let small = |n: usize| u8::try_from(n).unwrap_or(u8::MAX);
        Self {
            coarse: reference.features.iter().map(|f| coarse_map(f).into_iter().map(small).collect()).collect(),
            sizes: reference.features.iter().map(coarse_codes).collect(),
            bins: reference.features.iter().map(Bins::new).collect(),
            features: reference.features.clone(),
            scores: NormalScores::new(reference),
            own: reference.features.iter().map(|f| small_code(f.bins())).collect(),
            unknown: reference.features.iter().map(|f| small_code(f.first_unknown_code())).collect(),
        }
    }

    /// Features of a row whose values the reference does not know: unseen, unreadable, beyond its range, or missing where it lacks none.
    pub fn unknown(&self, codes: &Codes) -> impl Iterator<Item = u16> {
        let is_unknown = |(_, (code, unknown)): &(u16, (&u16, &u16))| code >= unknown;
        (0..).zip(codes.fine.iter().zip(&self.unknown)).filter(is_unknown).map(|(feature, _)| feature)
    }

    /// Number of coarse codes of each feature.
    pub fn sizes(&self) -> &[usize] {
        &self.sizes
    }

    /// Features of a row that have no value, or one that the reference does not know, and why.
    #[inline]
    pub fn unknown_values<'a>(&'a self, row: &'a [Cell], codes: &'a Codes) -> impl Iterator<Item = (usize, UnknownValue)> + 'a {
        let extra = codes.fine.iter().zip(&self.own).enumerate().filter(|(_, (code, own))| code >= own);
        extra.filter_map(|(j, (&code, _))| {
            let cell = row.get(j).copied().unwrap_or(Cell::MISSING);
            Some((j, self.features[j].unknown_value(usize::from(code), cell)?))
        })
    }

    /// The normal scores of the numbers.
    pub fn normal_scores(&self) -> &NormalScores {
        &self.scores
    }

    /// The features, in schema order.
    pub fn features(&self) -> &[Feature] {
        &self.features
    }

    /// Fills in the coarse codes that belong to the fine ones.
    pub fn coarsen(&self, codes: &mut Codes) {
        codes.coarse.clear();
        codes.coarse.extend(codes.fine.iter().zip(&self.coarse).map(|(&fine, map)| map[usize::from(fine)]));
    }

    /// Fills in the normal scores of a row's numbers. Only rows that vote need them.
    pub fn score(&self, row: &[Cell], codes: &mut Codes) {
        self.scores.of_row(row, &mut codes.normal);
    }

    /// Codes and normal scores of a reference's sample, in order.
    pub fn sample(&self, reference: &Reference) -> Vec<Codes> {
        let of = |row: &Vec<Cell>| {
            let mut codes = Codes::default();
            self.encode(row, &mut codes);
            self.score(row, &mut codes);
            codes
        };
        reference.sample.iter().map(of).collect()
    }

    /// Codes of a row. A row that is too short counts as missing at its end.
    pub fn encode(&self, row: &[Cell], codes: &mut Codes) {
        codes.fine.clear();
        codes.coarse.clear();
        let cells = row.iter().copied().chain(std::iter::repeat(Cell::MISSING));
        codes.fine.extend(self.bins.iter().zip(&self.features).zip(cells).map(|((bins, feature), cell)| {
            let fine = bins.ordinary(cell.value()).unwrap_or_else(|| feature.code(cell));
            small_code(fine)
        }));
        self.coarsen(codes);
    }
}

/// A code in two bytes; references have fewer.
fn small_code(code: usize) -> u16 {
    u16::try_from(code).unwrap_or(u16::MAX)
}

// === impl Bins ===

impl Bins {
    fn new(feature: &Feature) -> Self {
        let (least, most) = if feature.is_numeric() { (feature.min, feature.max) } else { (0.0, feature.bins() as f64 - 1.0) };
        let bounds: Box<[f64]> = feature.bounds().into();
        Self { least, most, grid: SearchGrid::new(&bounds, BOUND_CELLS), bounds, slack: feature.slack(), kind: feature.kind }
    }

    #[inline]
    fn below(&self, value: f64) -> usize {
        let before = |known| known < value;
        if self.bounds.len() > MOST_COMPARED {
            self.grid.count(&self.bounds, value, before)
        } else {
            search_grid::below(&self.bounds, before)
        }
    }

    /// The bin of an ordinary value; `None` for any other, whose code the feature knows.
    #[inline]
    fn ordinary(&self, value: f64) -> Option<usize> {
        // False for a missing value (NaN), too.
        let within = value >= self.least && value <= self.most;
        if !within {
            return None;
        }
        match self.kind {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index, within the range")]
            Kind::Categorical => Some(value as u32 as usize),
            Kind::Continuous => Some(self.below(value - self.slack)),
            Kind::Discrete | Kind::Boolean => {
                let at = self.below(value);
                self.bounds.get(at).is_some_and(|&known| known <= value).then_some(at)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_the_features_codes_whatever_the_value() {
        for model in ["adult", "flights", "magic"] {
            let path = format!("{}/models/{model}/reference.json", env!("CARGO_MANIFEST_DIR"));
            let reference = Reference::from_json(&std::fs::read(path).unwrap()).unwrap();
            let (coder, mut codes) = (Coder::new(&reference), Codes::default());
            let numbers = reference.features.iter().flat_map(|f| f.bounds().iter().copied().chain([f.min, f.max]));
            let around = numbers.flat_map(|x| [x, x + 1e-10, x - 1e-10, x + 0.3, x - 0.3, x.next_up(), x.next_down(), -x, x * 1e9]);
            let odd = [Cell::MISSING, Cell::UNREADABLE, Cell::unseen("never"), Cell::category(0), Cell::category(9_999)];
            for cell in around.map(Cell::number).chain(odd) {
                coder.encode(&vec![cell; reference.features.len()], &mut codes);
                let expected: Vec<usize> = reference.features.iter().map(|f| f.code(cell)).collect();
                let found: Vec<usize> = codes.fine.iter().map(|&code| usize::from(code)).collect();
                assert_eq!(found, expected, "{model}: {cell:?}");
            }
            coder.encode(&[], &mut codes);
            assert!(codes.fine.iter().zip(&reference.features).all(|(&code, f)| usize::from(code) == f.code(Cell::MISSING)));
        }
    }
}
