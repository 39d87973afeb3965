//! Small changes of one row in many directions: score-based evasion.
//!
//! * ZOO (Chen et al., AISec 2017): symmetric differences h per coordinate estimate the gradient, then a step along it.
//! * SimBA (Guo et al., ICML 2019): ±ε on one random coordinate at a time, kept when the score moves the right way.
//! * Square attack (Andriushchenko et al., ECCV 2020): a random block of features pushed to ±ε, kept when it helps.

use super::{Cell, Oracle};
use rand::Rng as _;
use rand::seq::SliceRandom as _;

/// Difference of ZOO in spreads: small against the model's steps, large against the log's decimals.
const DIFFERENCE: f64 = 0.05;
/// Length of a step of ZOO along the gradient, in spreads, and steps per case. Chosen: together they cross nearly two spreads.
const ZOO_STEP: f64 = 0.3;
const ZOO_STEPS: usize = 6;
/// Step of SimBA in spreads. Chosen: larger than the log's decimals, smaller than what an expert would notice.
const SIMBA_STEP: f64 = 0.15;
/// Rounds of the square attack per case, and rounds after which its block has halved. Chosen.
const SQUARE_ROUNDS: usize = 150;
const BLOCK_HALF_LIFE: usize = 30;
/// Radius of the square attack in spreads. Chosen: twice a step of SimBA.
const BLOCK_RADIUS: f64 = 0.3;

/// Proposals in a row without progress after which the square attack takes another case. Chosen: about a quarter of its rounds.
const MAX_PROPOSALS_IN_VAIN: usize = 40;

/// ZOO.
pub fn zoo(oracle: &mut Oracle<'_>) -> Option<()> {
    let movable = oracle.movable();
    if movable.is_empty() {
        return super::one_at_a_time::run(oracle);
    }
    loop {
        let mut here = start(oracle, &movable);
        let sign = towards(oracle, &here)?;
        for _ in 0..ZOO_STEPS {
            let mut gradient = Vec::with_capacity(movable.len());
            for &j in &movable {
                let mut pair = [0.0; 2];
                for (slot, side) in pair.iter_mut().zip([1.0, -1.0]) {
                    let mut row = here.clone();
                    row[j] = oracle.nudged(j, here[j], side * DIFFERENCE);
                    *slot = oracle.ask(&row)?.number();
                }
                gradient.push(sign * (pair[0] - pair[1]));
            }
            if gradient.iter().all(|&slope| slope == 0.0) {
                // A plateau: nothing to climb here.
                break;
            }
            here = oracle.moved(&here, &movable, &super::unit(&gradient), ZOO_STEP);
        }
    }
}

/// SimBA: coordinates are drawn without replacement, and a case is given up when none of them helps.
pub fn simba(oracle: &mut Oracle<'_>) -> Option<()> {
    let mut order = oracle.movable();
    if order.is_empty() {
        return super::one_at_a_time::run(oracle);
    }
    loop {
        let mut here = start(oracle, &order);
        let sign = towards(oracle, &here)?;
        let mut best = sign * oracle.ask(&here)?.number();
        let mut better = true;
        while better {
            better = false;
            order.shuffle(&mut oracle.rng);
            for &j in &order {
                for side in [1.0, -1.0] {
                    let mut row = here.clone();
                    row[j] = oracle.nudged(j, here[j], side * SIMBA_STEP);
                    let score = sign * oracle.ask(&row)?.number();
                    if score > best {
                        (here, best, better) = (row, score, true);
                        break;
                    }
                }
            }
        }
    }
}

/// The square attack on a row of features.
pub fn square(oracle: &mut Oracle<'_>) -> Option<()> {
    let movable = oracle.movable();
    if movable.is_empty() {
        return super::one_at_a_time::run(oracle);
    }
    loop {
        let origin = start(oracle, &movable);
        let sign = towards(oracle, &origin)?;
        let mut here = origin.clone();
        let mut best = sign * oracle.ask(&here)?.number();
        let mut in_vain = 0;
        for round in 0..SQUARE_ROUNDS {
            // The block shrinks as the attack goes on.
            let block = (movable.len() / (1 + round / BLOCK_HALF_LIFE)).max(1);
            let from = oracle.rng.random_range(0..movable.len());
            let side = if oracle.rng.random::<bool>() { 1.0 } else { -1.0 };
            let mut row = here.clone();
            for &j in movable.iter().cycle().skip(from).take(block) {
                row[j] = oracle.nudged(j, origin[j], side * BLOCK_RADIUS);
            }
            let score = sign * oracle.ask(&row)?.number();
            in_vain += 1;
            if score > best {
                (here, best, in_vain) = (row, score, 0);
            } else if in_vain >= MAX_PROPOSALS_IN_VAIN {
                break;
            }
        }
    }
}

fn start(oracle: &mut Oracle<'_>, movable: &[usize]) -> Vec<Cell> {
    let mut row = oracle.real();
    for &j in movable {
        if !row[j].value().is_finite() {
            row[j] = Cell::number(oracle.rows.quantile(j, 0.5));
        }
    }
    row
}

/// Which way the score has to go to leave the row's class.
fn towards(oracle: &mut Oracle<'_>, row: &[Cell]) -> Option<f64> {
    let answer = oracle.ask(row)?;
    Some(if oracle.class(&answer) == 0 { 1.0 } else { -1.0 })
}
