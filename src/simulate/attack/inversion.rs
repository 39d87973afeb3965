//! Model inversion: a private attribute of a person is the value with which the model's answer to the known attributes fits best.
//!
//! Fredrikson et al. (USENIX Security 2014) ask for every value of the attributes sought, all else being known, and weigh the answers
//! by how common each value is. Two attributes at a time, for one real person after the other.

use super::{Cell, Oracle};
use crate::reference::Kind;
use rand::Rng as _;

/// Values tried of a number; what is sought is a range, not a digit. Chosen.
const NUMBER_LEVELS: usize = 5;
/// Values of an attribute beyond which it is not worth its queries. Chosen: two such attributes cost at most 81 queries a person.
const MAX_VALUES: usize = 9;

/// Runs the attack.
pub fn run(oracle: &mut Oracle<'_>) -> Option<()> {
    let width = oracle.width();
    let values: Vec<Vec<Cell>> = (0..width).map(|j| values(oracle, j)).collect();
    let sought: Vec<usize> = (0..width).filter(|&j| (2..=MAX_VALUES).contains(&values[j].len())).collect();
    let draw = |oracle: &mut Oracle<'_>| sought.get(oracle.rng.random_range(0..sought.len().max(1))).copied().unwrap_or(0);
    // The same two of everybody: a gene and a diagnosis, as in the paper.
    let first = draw(oracle);
    let second = (0..20).map(|_| draw(oracle)).find(|&j| j != first).unwrap_or(first);
    loop {
        let person = oracle.real();
        for &one in &values[first] {
            for &other in &values[second] {
                let mut row = person.clone();
                row[first] = one;
                row[second] = other;
                oracle.ask(&row)?;
            }
        }
    }
}

fn values(oracle: &Oracle<'_>, j: usize) -> Vec<Cell> {
    let feature = &oracle.rows.features[j];
    match feature.kind {
        Kind::Categorical => (0..feature.values.len()).map(Cell::category).collect(),
        Kind::Boolean => vec![Cell::number(0.0), Cell::number(1.0)],
        Kind::Discrete if feature.support.len() <= MAX_VALUES => feature.support.iter().map(|&v| Cell::number(v)).collect(),
        _ => (0..NUMBER_LEVELS).map(|i| Cell::number(oracle.rows.quantile(j, (i as f64 + 0.5) / NUMBER_LEVELS as f64))).collect(),
    }
}
