//! Grid scan: regular steps over a few numbers × all combinations of the switches, everything else held at one real row.
//!
//! The oldest way to copy a model on tabular data; the evaluation of Tramèr et al. (USENIX Security 2016, §6) uses it as the
//! non-adaptive baseline.

use super::Oracle;
use crate::event::Cell;
use crate::reference::Kind;
use rand::Rng as _;

/// Values of a number. Chosen: two numbers and two switches then make 576 queries, about the default budget.
const GRID_VALUES: usize = 12;

/// Runs the attack.
pub fn run(oracle: &mut Oracle<'_>) -> Option<()> {
    let numbers = oracle.movable();
    let switches: Vec<usize> = (0..oracle.width()).filter(|&j| oracle.rows.features[j].kind == Kind::Boolean).take(2).collect();
    loop {
        let base = oracle.real();
        let mut axes: Vec<(usize, Vec<Cell>)> = switches.iter().map(|&j| (j, vec![Cell::number(0.0), Cell::number(1.0)])).collect();
        // Two different numbers.
        let first = oracle.rng.random_range(0..numbers.len().max(1));
        for nth in 0..2.min(numbers.len()) {
            let j = numbers[(first + nth * oracle.rng.random_range(1..numbers.len().max(2))) % numbers.len()];
            let (low, high) = oracle.range(j);
            axes.push((
                j,
                (0..GRID_VALUES).map(|i| Cell::number(low + (high - low) * i as f64 / (GRID_VALUES - 1) as f64)).collect(),
            ));
        }
        if axes.is_empty() {
            // Categories alone: every value of two of them.
            for j in 0..2.min(oracle.width()) {
                axes.push((j, (0..oracle.rows.features[j].values.len()).map(Cell::category).collect()));
            }
        }
        let mut counter = vec![0; axes.len()];
        'product: loop {
            let mut row = base.clone();
            for ((j, values), &i) in axes.iter().zip(&counter) {
                row[*j] = values[i];
            }
            oracle.ask(&row)?;
            for (digit, (_, values)) in counter.iter_mut().zip(&axes).rev() {
                *digit += 1;
                if *digit < values.len() {
                    continue 'product;
                }
                *digit = 0;
            }
            break;
        }
    }
}
