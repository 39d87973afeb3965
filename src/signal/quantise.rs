//! Rows in two bytes a feature: what is remembered of a row for comparing it with later ones.
//!
//! Numbers lie on a linear grid whose cells are a quarter of the tolerance within which a value counts as unchanged
//! ([`TOLERANCE`] of the p1–p99 range), so differences of codes are differences of values, and comparing rows is arithmetic on
//! small integers ([`super::similarity`]). Where the reference's own number format is coarser than the grid, a code leads back to
//! the value itself; other numbers have a remainder beside it, since exact midpoints are evidence ([`super::edits`]). Categories are their index. The grid covers the reference's whole range and a
//! sixth of it on either side; what lies beyond is held at the end: it is the distribution's business, not this one's.

use crate::event::Cell;
use crate::reference::{Feature, Reference};

/// Share of a feature's p1–p99 range that counts as no change.
pub const TOLERANCE: f64 = 1e-3;
/// Grid cells per tolerance: codes that differ by fewer than this are within it.
pub const PER_TOLERANCE: u16 = 4;
/// Code of a missing value, and of one of the wrong kind.
const MISSING: u16 = 0;
const UNREADABLE: u16 = 1;
/// First code of a category; unseen ones follow from the middle, by hash.
const FIRST_CATEGORY: u16 = 2;
const UNSEEN: u16 = 0x8000;
/// Lowest code of a number, so far from [`MISSING`] that the two never look alike, and the middle of the grid.
const LOWEST: u16 = 4096;
const MIDDLE: f64 = 34_816.0;
/// Parts of a grid cell that a remainder tells apart, and the one in the middle.
const PARTS: f64 = 65_536.0;
const MIDDLE_OF_CELL: u16 = 1 << 15;
/// Cells that the reference's whole range may take at most: the rest of the codes is room on either side.
const RANGE: f64 = 45_000.0;

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

/// The grids of one reference's features.
#[derive(Clone, Debug)]
pub struct Quantiser {
    grids: Vec<Grid>,
    /// Features whose numbers are finer than their grid.
    remainders: usize,
}

// === impl Quantiser ===

impl Quantiser {
    /// Grids for the features of a reference.
    pub fn new(reference: &Reference) -> Self {
        let grids: Vec<Grid> = reference.features.iter().map(Grid::new).collect();
        Self { remainders: grids.iter().filter(|grid| grid.has_remainder()).count(), grids }
    }

    /// Codes of a row, in schema order; cells that a short row lacks count as missing.
    pub fn encode(&self, row: &[Cell], codes: &mut Vec<u16>) {
        codes.clear();
        codes.extend(self.grids.iter().enumerate().map(|(j, grid)| grid.code(row.get(j).copied().unwrap_or(Cell::MISSING)).0));
    }

    /// The same, and behind them a remainder for each number that is finer than its grid: the place within the cell, with which
    /// [`Quantiser::decode`] gives the value back to a few billionths of the range.
    pub fn encode_exactly(&self, row: &[Cell], codes: &mut Vec<u16>) {
        codes.clear();
        codes.resize(self.grids.len() + self.remainders, 0);
        let (codes, mut remainders) = codes.split_at_mut(self.grids.len());
        for ((code, grid), j) in codes.iter_mut().zip(&self.grids).zip(0..) {
            let remainder;
            (*code, remainder) = grid.code(row.get(j).copied().unwrap_or(Cell::MISSING));
            if grid.has_remainder()
                && let Some((first, rest)) = std::mem::take(&mut remainders).split_first_mut()
            {
                *first = remainder;
                remainders = rest;
            }
        }
    }

    /// Numbers that [`Quantiser::encode_exactly`] gives for a row.
    pub fn width(&self) -> usize {
        self.grids.len() + self.remainders
    }

    /// Codes of all rows of the reference's sample, one after the other.
    pub fn sample(&self, reference: &Reference) -> Vec<u16> {
        let mut row = Vec::new();
        let mut all = Vec::with_capacity(reference.sample.len() * self.grids.len());
        for cells in &reference.sample {
            self.encode(cells, &mut row);
            all.extend_from_slice(&row);
        }
        all
    }

    /// The value of feature `j` in a row that was encoded exactly.
    pub fn decode(&self, j: usize, row: &[u16]) -> Cell {
        let (Some(grid), Some(&code)) = (self.grids.get(j), row.get(j)) else { return Cell::MISSING };
        let place = self.grids[..j].iter().filter(|grid| grid.has_remainder()).count();
        grid.cell(code, row.get(self.grids.len() + place).copied().unwrap_or(MIDDLE_OF_CELL))
    }
}

// === impl Grid ===

impl Grid {
    fn new(feature: &Feature) -> Self {
        if !feature.is_numeric() {
            return Self::Category;
        }
        let unit = (TOLERANCE * scale(feature) / f64::from(PER_TOLERANCE)).max((feature.max - feature.min) / RANGE);
        let format = 10_f64.powi(i32::from(feature.decimals));
        Self::Number {
            middle: f64::midpoint(feature.min, feature.max),
            unit,
            format: (feature.decimals < 6 && 1.0 / format > 1.01 * unit).then_some(format),
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
                let at = ((value - middle) / unit + (MIDDLE + 0.5)).clamp(f64::from(LOWEST), f64::from(u16::MAX) + 0.99);
                let code = at as u16;
                (code, ((at - f64::from(code)) * PARTS) as u16)
            }
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "indices are below the unseen codes")]
            Self::Category if value >= 0.0 => (FIRST_CATEGORY + value.min(f64::from(UNSEEN - FIRST_CATEGORY - 1)) as u16, 0),
            Self::Category => (UNSEEN | (crate::hash::mix(cell.bits()) & 0x7fff) as u16, 0),
        }
    }

    fn cell(&self, code: u16, remainder: u16) -> Cell {
        match (code, self) {
            (MISSING, _) => Cell::MISSING,
            (UNREADABLE, _) => Cell::UNREADABLE,
            (_, Self::Category) if code < UNSEEN => Cell::category(usize::from(code - FIRST_CATEGORY)),
            (_, Self::Category) => Cell::unseen(&code.to_string()),
            (_, Self::Number { middle, unit, format }) => {
                let part = if format.is_some() { 0.0 } else { (f64::from(remainder) + 0.5) / PARTS - 0.5 };
                let value = middle + (f64::from(code) - MIDDLE + part) * unit;
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
mod tests {
    use super::*;
    use crate::reference::Kind;

    fn feature(decimals: u8, max: f64) -> Feature {
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
