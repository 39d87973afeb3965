//! Rows in two bytes a feature: what is remembered of a row for comparing it with later ones.
//!
//! Numbers lie on a linear grid whose cells are a quarter of the tolerance within which a value counts as unchanged
//! ([`TOLERANCE`] of the p1–p99 range), so differences of codes are differences of values, and comparing rows is arithmetic on
//! small integers ([`super::similarity`]). Where the reference's own number format is coarser than the grid, a code leads back to
//! the value itself; other numbers have a remainder, kept apart, since exact midpoints are evidence ([`super::edits`]). Categories
//! are their index. The grid covers the reference's whole range and a sixth of it on either side; a value
//! beyond is held at the end, since [`super::density`] looks at it.
//!
//! Codes lie in *places*: numbers first, then categories, each in the order of the schema. So rows are compared one kind at a time, and
//! zeros fill up the last [`LANES`].

use crate::event::Cell;
use crate::reference::{Feature, MOST_DECIMALS, Reference};

/// Share of a feature's p1–p99 range that counts as no change. Chosen: a jittering coordinate moves less, a step of a search that
/// learns anything moves more.
pub const TOLERANCE: f64 = 1e-3;
/// Grid cells per tolerance: codes that differ by fewer than this are within it. Chosen: rounding to the grid then errs by an eighth of
/// the tolerance at most.
pub const PER_TOLERANCE: u16 = 4;
/// Code of a missing value.
pub const MISSING: u16 = 0;
/// Code of a value of the wrong kind.
const UNREADABLE: u16 = 1;
/// First code of a category.
pub const FIRST_CATEGORY: u16 = 2;
/// First code of an unseen category: the upper half of the codes, by hash.
const UNSEEN: u16 = 0x8000;
const UNSEEN_HASH: u64 = 0x7fff;
/// Lowest code of a number. Chosen: so far from [`MISSING`] that the two never look similar.
const LOWEST: u16 = 4096;
/// Lowest code (and highest, [`MOST_MEASURED`]) of a number that says where on the grid it lies; one beyond is held at an end.
pub const LEAST_MEASURED: u16 = LOWEST + 1;
/// See [`LEAST_MEASURED`].
pub const MOST_MEASURED: u16 = u16::MAX - 1;
/// Code in the middle of the grid: halfway between [`LOWEST`] and 65,536.
const GRID_MIDDLE: f64 = 34_816.0;
/// Codes that are compared at once: rows are filled up to a multiple of it. Eight of sixteen bits fill a register of 128.
pub const LANES: usize = 8;
/// Fractions of a grid cell that a remainder tells apart: sixteen bits; and the remainder of the cell's middle.
const REMAINDERS: f64 = 65_536.0;
const MIDDLE_OF_CELL: u16 = 1 << 15;
/// Cells that the reference's whole range may take at most. Chosen: of the 61,440 codes of a number, a sixth of the range is left on
/// either side of it.
const MOST_CELLS_OF_RANGE: f64 = 45_000.0;
/// How much coarser than the grid a number format must be for a code to lead back to its value: more than rounding.
const COARSER: f64 = 1.01;

/// A range of codes, both ends included.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub struct CodeRange {
    /// Lowest code.
    pub low: u16,
    /// Highest code.
    pub high: u16,
}

// === impl CodeRange ===

impl CodeRange {
    /// Whether a code lies in it.
    pub fn contains(self, code: u16) -> bool {
        (self.low..=self.high).contains(&code)
    }

    /// Whether it is a single code.
    pub fn is_one_code(self) -> bool {
        self.low == self.high
    }
}

/// One feature's grid.
#[derive(Clone, Debug)]
enum Grid {
    Number {
        middle: f64,
        unit: f64,
        /// 10^decimals if the number format is coarser than the grid: then codes lead back to the exact value, and there is no
        /// remainder.
        format: Option<f64>,
    },
    Category,
}

/// The grids of one reference's features, by place.
#[derive(Clone, Debug)]
pub struct Quantiser {
    grids: Vec<Grid>,
    /// Feature that lies in each place, and the place of each feature.
    features: Vec<usize>,
    places: Vec<usize>,
    /// Which of the remainders belongs to each place, if its numbers are finer than the grid.
    remainders: Vec<Option<usize>>,
}

/// A row in codes, reused between rows.
#[derive(Clone, Debug, Default)]
pub struct Quantised {
    /// Codes by place.
    pub codes: Vec<u16>,
    /// Places within their grid cells of those numbers that are finer than their grid.
    pub remainders: Vec<u16>,
}

// === impl Quantiser ===

impl Quantiser {
    /// Grids for the features of a reference.
    pub fn new(reference: &Reference) -> Self {
        let features = places(reference);
        let grids: Vec<Grid> = features.iter().map(|&j| Grid::new(&reference.features[j])).collect();
        let mut places = vec![0; features.len()];
        features.iter().enumerate().for_each(|(place, &j)| places[j] = place);
        let mut finer = 0..;
        let remainders = grids.iter().map(|grid| if grid.has_remainder() { finer.next() } else { None }).collect();
        Self { grids, features, places, remainders }
    }

    /// Codes and remainders of a row; cells that a short row lacks count as missing.
    pub fn encode(&self, row: &[Cell], out: &mut Quantised) {
        out.codes.clear();
        out.remainders.clear();
        for ((grid, &feature), finer) in self.grids.iter().zip(&self.features).zip(&self.remainders) {
            let (code, remainder) = grid.code(row.get(feature).copied().unwrap_or(Cell::MISSING));
            out.codes.push(code);
            if finer.is_some() {
                out.remainders.push(remainder);
            }
        }
        out.codes.resize(padded(self.grids.len()), MISSING);
    }

    /// Codes and remainders of a row: how many of each there are.
    pub fn widths(&self) -> (usize, usize) {
        (padded(self.grids.len()), self.remainders.iter().flatten().count())
    }

    /// Codes of all rows of the reference's sample, one row after the other.
    pub fn sample(&self, reference: &Reference) -> Vec<u16> {
        let mut row = Quantised::default();
        let mut all = Vec::with_capacity(reference.sample.len() * padded(self.grids.len()));
        for cells in &reference.sample {
            self.encode(cells, &mut row);
            all.extend_from_slice(&row.codes);
        }
        all
    }

    /// The value of a feature in an encoded row, to a few billionths of its range.
    pub fn decode(&self, feature: usize, codes: &[u16], remainders: &[u16]) -> Cell {
        let Some(&place) = self.places.get(feature) else { return Cell::MISSING };
        let Some(&code) = codes.get(place) else { return Cell::MISSING };
        let remainder = self.remainders[place].and_then(|at| remainders.get(at)).copied();
        self.grids[place].cell(code, remainder.unwrap_or(MIDDLE_OF_CELL))
    }
}

/// Codes of a row of so many features, those included that only fill it up.
pub fn padded(features: usize) -> usize {
    features.next_multiple_of(LANES)
}

/// The features in the order of their places: numbers, then categories.
pub fn places(reference: &Reference) -> Vec<usize> {
    let of_kind = |numeric| (0..reference.features.len()).filter(move |&j| reference.features[j].is_numeric() == numeric);
    of_kind(true).chain(of_kind(false)).collect()
}

// === impl Grid ===

impl Grid {
    fn new(feature: &Feature) -> Self {
        if !feature.is_numeric() {
            return Self::Category;
        }
        let unit = (TOLERANCE * scale(feature) / f64::from(PER_TOLERANCE)).max((feature.max - feature.min) / MOST_CELLS_OF_RANGE);
        let format = 10_f64.powi(i32::from(feature.decimals));
        Self::Number {
            middle: f64::midpoint(feature.min, feature.max),
            unit,
            format: (feature.decimals < MOST_DECIMALS && 1.0 / format > COARSER * unit).then_some(format),
        }
    }

    fn has_remainder(&self) -> bool {
        matches!(self, Self::Number { format: None, .. })
    }

    /// Code of a value, and where in its grid cell it lies.
    #[inline]
    fn code(&self, cell: Cell) -> (u16, u16) {
        if cell.is_missing() {
            return (MISSING, 0);
        }
        if cell.is_unreadable() {
            return (UNREADABLE, 0);
        }
        let value = cell.value();
        match self {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to what a code can hold")]
            Self::Number { middle, unit, .. } => {
                let at = ((value - middle) / unit + (GRID_MIDDLE + 0.5)).clamp(f64::from(LOWEST), f64::from(u16::MAX) + 0.99);
                let code = at as u16;
                (code, ((at - f64::from(code)) * REMAINDERS) as u16)
            }
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "indices are below the unseen codes")]
            Self::Category if value >= 0.0 => (FIRST_CATEGORY + value.min(f64::from(UNSEEN - FIRST_CATEGORY - 1)) as u16, 0),
            Self::Category => (UNSEEN | (crate::hash::mix(cell.bits()) & UNSEEN_HASH) as u16, 0),
        }
    }

    fn cell(&self, code: u16, remainder: u16) -> Cell {
        match (code, self) {
            (MISSING, _) => Cell::MISSING,
            (UNREADABLE, _) => Cell::UNREADABLE,
            (_, Self::Category) if code < UNSEEN => Cell::category(usize::from(code - FIRST_CATEGORY)),
            (_, Self::Category) => Cell::unseen(&code.to_string()),
            (_, Self::Number { middle, unit, format }) => {
                let part = if format.is_some() { 0.0 } else { (f64::from(remainder) + 0.5) / REMAINDERS - 0.5 };
                let value = middle + (f64::from(code) - GRID_MIDDLE + part) * unit;
                Cell::number(format.map_or(value, |format| (value * format).round() / format))
            }
        }
    }
}

/// Range of a feature's usual values: p1 to p99, the whole range if that is nothing, 1 for a constant.
fn scale(feature: &Feature) -> f64 {
    [feature.p99 - feature.p01, feature.max - feature.min].into_iter().find(|&range| range > 0.0).unwrap_or(1.0)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::reference::Kind;

    /// A number from 0 to `max` with its p99 at 100, for tests of whatever looks at numbers.
    pub(in crate::signal) fn feature(decimals: u8, max: f64) -> Feature {
        Feature {
            name: "x".into(),
            kind: Kind::Continuous,
            values: vec![],
            support: vec![],
            edges: vec![50.0],
            counts: vec![500, 500, 0, 0, 0, 0],
            min: 0.0,
            max,
            p01: 0.0,
            p99: 100.0,
            decimals,
        }
    }

    fn both_ways(grid: &Grid, value: f64) -> f64 {
        let (code, remainder) = grid.code(Cell::number(value));
        grid.cell(code, remainder).value()
    }

    #[test]
    fn a_coarse_number_format_comes_back_exactly_and_a_fine_one_nearly() {
        let (coarse, fine) = (Grid::new(&feature(1, 130.0)), Grid::new(&feature(5, 130.0)));
        for i in 0..1_300 {
            let value = f64::from(i) / 10.0;
            assert!((both_ways(&coarse, value) - value).abs() < 1e-12);
            let off = (both_ways(&fine, value) - value).abs();
            assert!(off <= 2e-9 * 130.0, "{off}");
        }
    }

    #[test]
    fn the_whole_range_and_some_room_keep_their_order_however_long_the_tail() {
        for max in [100.0, 1e5, 1e9] {
            let grid = Grid::new(&feature(3, max));
            let codes: Vec<u16> = [-0.1, 0.0, 0.25, 0.5, 1.0, 1.1].iter().map(|x| grid.code(Cell::number(x * max)).0).collect();
            assert!(codes.windows(2).all(|pair| pair[0] < pair[1]), "{max}: {codes:?}");
            assert!(codes[0] > LOWEST, "{max}");
            assert_eq!(grid.code(Cell::number(1e30)).0, u16::MAX);
        }
    }

    #[test]
    fn what_is_no_number_is_told_apart() {
        let grid = Grid::Category;
        let cells =
            [Cell::MISSING, Cell::UNREADABLE, Cell::category(0), Cell::category(19_999), Cell::unseen("x"), Cell::unseen("y")];
        let codes: std::collections::BTreeSet<u16> = cells.iter().map(|&cell| grid.code(cell).0).collect();
        assert_eq!(codes.len(), cells.len());
        assert_eq!(grid.cell(grid.code(Cell::category(7)).0, 0), Cell::category(7));
    }
}
