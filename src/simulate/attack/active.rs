//! Adaptive retraining: train a copy, ask where it is least sure, train again.
//!
//! Tramèr et al. (USENIX Security 2016, §4.4, after Cohn, Atlas and Ladner 1994) and ActiveThief (Pal et al., AAAI 2020). Three
//! quarters of the queries lie near the copy's boundary, the rest keep it honest elsewhere.

use super::substitute::Copy;
use super::{Cell, Oracle};
use rand::Rng as _;

/// First rows, at random. Chosen, as are the next two: the rounds of the papers, cut to budgets of some hundred queries.
const FIRST: usize = 40;
/// Queries per round.
const BATCH: usize = 40;
/// Queries of a round that are noise, so that the copy stays right away from its boundary.
const NOISE: usize = BATCH / 4;
/// Candidates from which the least sure ones are taken.
const CANDIDATES: usize = 400;

/// Runs the attack.
pub fn run(oracle: &mut Oracle<'_>) -> Option<()> {
    let mut data: Vec<(Vec<Cell>, f64)> = Vec::new();
    for _ in 0..FIRST {
        let row = oracle.noise();
        keep(oracle, row, &mut data)?;
    }
    loop {
        let copy = Copy::train(oracle, &data);
        let mut candidates: Vec<(f64, Vec<Cell>)> = (0..CANDIDATES)
            .map(|_| {
                let row = candidate(oracle);
                ((copy.probability(oracle, &row) - 0.5).abs(), row)
            })
            .collect();
        candidates.sort_by(|a, b| a.0.total_cmp(&b.0));
        for (_, row) in candidates.into_iter().take(BATCH - NOISE) {
            keep(oracle, row, &mut data)?;
        }
        for _ in 0..NOISE {
            let row = oracle.noise();
            keep(oracle, row, &mut data)?;
        }
    }
}

/// Half noise, half the middle between two real rows: both kinds of pool are used in the literature.
fn candidate(oracle: &mut Oracle<'_>) -> Vec<Cell> {
    if oracle.rng.random::<bool>() {
        return oracle.noise();
    }
    let (mut a, b) = (oracle.real(), oracle.real());
    for (j, cell) in a.iter_mut().enumerate() {
        if oracle.rows.features[j].is_numeric() && cell.value().is_finite() && b[j].value().is_finite() {
            *cell = Cell::number(f64::midpoint(cell.value(), b[j].value()));
        } else if oracle.rng.random::<bool>() {
            *cell = b[j];
        }
    }
    a
}

fn keep(oracle: &mut Oracle<'_>, row: Vec<Cell>, data: &mut Vec<(Vec<Cell>, f64)>) -> Option<()> {
    let answer = oracle.ask(&row)?;
    data.push((row, f64::from(u8::from(oracle.class(&answer) > 0))));
    Some(())
}
