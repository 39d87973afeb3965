//! Path finding in a decision tree: each leaf answers with a value of its own, so a line search along every feature finds all
//! conditions on the way to a leaf, and the rows on the other side of each condition lead to new leaves.
//!
//! Tramèr et al. (USENIX Security 2016, §4.2, Algorithm 1).

use std::collections::VecDeque;

use super::{Cell, Oracle};
use crate::reference::Kind;
use rustc_hash::FxHashSet;

/// An interval shorter than this share of the range is not split further: the paper's ε.
const MIN_INTERVAL: f64 = 1e-3;

/// Known leaves after which all are forgotten, which bounds the memory. No tree of the simulator has so many.
const MAX_LEAVES: usize = 4096;

/// Runs the attack.
pub fn run(oracle: &mut Oracle<'_>) -> Option<()> {
    let mut seen = FxHashSet::default();
    loop {
        // Every leaf that can be reached from here; then another start, for what cannot.
        let mut queue: VecDeque<Vec<Cell>> = VecDeque::new();
        let start = oracle.real();
        queue.push_back(start);
        while let Some(row) = queue.pop_front() {
            let leaf = oracle.ask(&row)?.identity();
            if !seen.insert(leaf) {
                continue;
            }
            for j in 0..oracle.width() {
                let feature = &oracle.rows.features[j];
                match feature.kind {
                    Kind::Categorical => {
                        for value in 0..feature.values.len() {
                            try_value(oracle, &row, j, Cell::category(value), leaf, &mut queue)?;
                        }
                    }
                    Kind::Boolean => {
                        let other = Cell::number(1.0 - row[j].value().clamp(0.0, 1.0));
                        try_value(oracle, &row, j, other, leaf, &mut queue)?;
                    }
                    Kind::Discrete | Kind::Continuous => split(oracle, &row, j, leaf, &mut queue)?,
                }
            }
        }
        // A tree that is known whole is checked with rows at random, which is how the paper measures its copies.
        if seen.len() > MAX_LEAVES {
            seen.clear();
        }
    }
}

fn with(row: &[Cell], j: usize, value: Cell) -> Vec<Cell> {
    let mut row = row.to_vec();
    row[j] = value;
    row
}

fn try_value(
    oracle: &mut Oracle<'_>,
    row: &[Cell],
    j: usize,
    value: Cell,
    leaf: u64,
    queue: &mut VecDeque<Vec<Cell>>,
) -> Option<()> {
    let other = with(row, j, value);
    if oracle.ask(&other)?.identity() != leaf {
        queue.push_back(other);
    }
    Some(())
}

/// Finds every interval of one feature with another leaf by recursive halving.
fn split(oracle: &mut Oracle<'_>, row: &[Cell], j: usize, leaf: u64, queue: &mut VecDeque<Vec<Cell>>) -> Option<()> {
    let (low, high) = oracle.range(j);
    let unit = 10_f64.powi(-i32::from(oracle.rows.features[j].decimals));
    let stop = (MIN_INTERVAL * (high - low)).max(unit);
    let low_leaf = oracle.ask(&with(row, j, Cell::number(low)))?.identity();
    let high_leaf = oracle.ask(&with(row, j, Cell::number(high)))?.identity();
    for (value, found) in [(low, low_leaf), (high, high_leaf)] {
        if found != leaf {
            queue.push_back(with(row, j, Cell::number(value)));
        }
    }
    let mut intervals = vec![(low, low_leaf, high, high_leaf)];
    while let Some((low, low_leaf, high, high_leaf)) = intervals.pop() {
        if low_leaf == high_leaf || high - low <= stop {
            continue;
        }
        let middle = f64::midpoint(low, high);
        let found = oracle.ask(&with(row, j, Cell::number(middle)))?.identity();
        if found != leaf && found != low_leaf && found != high_leaf {
            queue.push_back(with(row, j, Cell::number(middle)));
        }
        intervals.push((low, low_leaf, middle, found));
        intervals.push((middle, found, high, high_leaf));
    }
    Some(())
}
