//! A grid over ascending numbers: it says which few of them a value can lie among.
//!
//! A search by halves through thousands of numbers waits for memory at each step and guesses wrong at every second one. Here the
//! grid's cell is computed, and the search is among the numbers of that cell. The result is the same: since a larger number never
//! lies in a lower cell, whatever rounding does, all numbers of lower cells are smaller, and all of higher cells larger.

use std::ops::Range;

use wide::f32x8;

/// How many of a few ascending numbers come first: those of which `before` is true. All are compared, several at a time, without a
/// branch.
#[inline]
pub fn below<T: Copy>(ascending: &[T], before: impl Fn(T) -> bool) -> usize {
    ascending.iter().fold(0_u32, |n, &number| n.wrapping_add(u32::from(before(number)))) as usize
}

/// Numbers of a block, as many as a register of 256 bits holds, and blocks.
const BLOCK: usize = 8;
const BLOCKS: usize = 8;

/// A few ascending numbers, in blocks that are compared at once: first the last ones of all blocks, then those of one of them.
#[derive(Clone, Debug)]
pub struct Blocks {
    last: f32x8,
    /// The blocks, and one behind them for values above all numbers.
    blocks: [f32x8; BLOCKS + 1],
}

/// A grid over ascending numbers.
#[derive(Clone, Debug, Default)]
pub struct SearchGrid {
    lowest: f64,
    /// Cells per unit.
    per_unit: f64,
    /// Numbers below each cell, and below the end of the last one. Short, since all features' grids share the processor's nearest memory.
    below: Box<[u16]>,
}

// === impl Blocks ===

impl Blocks {
    /// Numbers that it has room for.
    pub const ROOM: usize = BLOCK * BLOCKS;

    /// Blocks of `ascending`, [`Blocks::ROOM`] numbers at most.
    pub fn new(ascending: &[f32]) -> Self {
        let number = |at: usize| ascending.get(at).copied().unwrap_or(f32::INFINITY);
        let block = |at: usize| if at < BLOCKS { std::array::from_fn(|i| number(at * BLOCK + i)) } else { [f32::INFINITY; BLOCK] };
        Self {
            last: f32x8::new(std::array::from_fn(|at| block(at)[BLOCK - 1])),
            blocks: std::array::from_fn(|at| f32x8::new(block(at))),
        }
    }

    /// How many of the numbers a finite value reaches.
    #[inline]
    pub fn reached(&self, value: f32) -> usize {
        let reached = |numbers: f32x8| numbers.simd_le(f32x8::splat(value)).to_bitmask().trailing_ones() as usize;
        let before = reached(self.last).min(BLOCKS);
        before * BLOCK + reached(self.blocks[before])
    }
}

// === impl SearchGrid ===

impl SearchGrid {
    /// A grid of `cells` over at most 65,535 `ascending` numbers.
    pub fn new<T: Copy + Into<f64>>(ascending: &[T], cells: usize) -> Self {
        let at = |number: Option<&T>| number.map_or(0.0, |&number| number.into());
        let lowest = at(ascending.first());
        let range = (at(ascending.last()) - lowest).max(f64::MIN_POSITIVE);
        let mut grid = Self { lowest, per_unit: cells as f64 / range, below: vec![0; cells + 2].into() };
        for &number in ascending {
            let cell = grid.cell(number.into());
            grid.below[cell + 1] += 1;
        }
        let mut sum = 0;
        for count in &mut grid.below {
            sum += *count;
            *count = sum;
        }
        grid
    }

    /// Cell of a value; the last one is for the greatest and all above. Never lower for a larger value.
    #[inline]
    fn cell(&self, value: f64) -> usize {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a cast saturates, at either end")]
        let cell = ((value - self.lowest) * self.per_unit) as u32;
        (cell as usize).min(self.below.len().saturating_sub(2))
    }

    /// The place of a value among the numbers: how many are smaller is within this range of positions.
    #[inline]
    fn around(&self, value: f64) -> Range<usize> {
        let cell = self.cell(value);
        match self.below.get(cell..cell + 2) {
            Some(&[from, to]) => usize::from(from)..usize::from(to),
            _ => 0..0,
        }
    }

    /// How many of `ascending`, the numbers that the grid was made of, come before a value: those of which `before` is true. They
    /// are the first ones, and few are in question.
    #[inline]
    pub fn count<T: Copy>(&self, ascending: &[T], value: f64, before: impl Fn(T) -> bool) -> usize {
        let Range { start, end } = self.around(value);
        let mut at = start;
        while at < end && ascending.get(at).is_some_and(|&number| before(number)) {
            at += 1;
        }
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_count_what_a_value_reaches() {
        for known in 0..=Blocks::ROOM {
            let numbers: Vec<f32> = (0..known).map(|i| (i as f32 / 1.5).floor()).collect();
            let blocks = Blocks::new(&numbers);
            for value in (-2..100).map(|i| i as f32 / 2.0).chain([f32::MIN, f32::MAX]) {
                assert_eq!(blocks.reached(value), numbers.partition_point(|&n| n <= value), "{known} numbers, {value}");
            }
        }
    }

    #[test]
    fn a_search_by_grid_finds_what_a_search_finds() {
        let spread: Vec<f32> = (0..5_000_u64).map(|i| (crate::hash::mix(i) % 900) as f32 / 7.0).collect();
        for mut numbers in [spread, vec![3.0; 40], vec![1.0, 1e30], Vec::new(), vec![-0.0, 0.0, 1e-30], vec![f32::MIN, f32::MAX]] {
            numbers.sort_by(f32::total_cmp);
            let grid = SearchGrid::new(&numbers, 64);
            let values = (0..2_000_u16).map(|i| f32::from(i) / 13.0 - 5.0).chain(numbers.iter().copied());
            for number in values.chain([f32::MAX, f32::MIN, f32::INFINITY, f32::NEG_INFINITY]) {
                let value = f64::from(number);
                assert_eq!(grid.count(&numbers, value, |n| n < number), numbers.partition_point(|&n| n < number));
                assert_eq!(grid.count(&numbers, value, |n| n <= number), numbers.partition_point(|&n| n <= number));
            }
        }
    }
}
