//! A genetic search for an input that fools the model: small populations of mutants of one case, bred by their scores.
//!
//! GenAttack (Alzantot et al., GECCO 2019): the fittest survives, two parents drawn by fitness give each child some of their values,
//! and a few of the child's values are mutated within a radius round the original.

use super::{Cell, Oracle};
use crate::reference::Kind;
use rand::Rng as _;

/// Members of a population; GenAttack uses 6.
const POPULATION: usize = 8;
/// Generations before another case is taken. Chosen: two hundred queries a case.
const GENERATIONS: usize = 25;
/// Chance that a number mutates, radius of a mutation in spreads, and chance that a category changes. Chosen: one or two values of a
/// row of ten.
const MUTATE: f64 = 0.2;
const MUTATION_RADIUS: f64 = 0.5;
const SWAP: f64 = 0.05;

/// Runs the attack.
pub fn run(oracle: &mut Oracle<'_>) -> Option<()> {
    loop {
        let origin = oracle.real();
        let answer = oracle.ask(&origin)?;
        let sign = if oracle.class(&answer) == 0 { 1.0 } else { -1.0 };
        let mut members: Vec<(f64, Vec<Cell>)> = Vec::new();
        for _ in 0..POPULATION {
            let row = mutant(oracle, &origin, &origin);
            members.push((sign * oracle.ask(&row)?.number(), row));
        }
        for _ in 0..GENERATIONS {
            members.sort_by(|a, b| b.0.total_cmp(&a.0));
            members.truncate(POPULATION / 2);
            while members.len() < POPULATION {
                // The fitter of two, twice.
                let parent = |oracle: &mut Oracle<'_>| {
                    oracle.rng.random_range(0..POPULATION / 2).min(oracle.rng.random_range(0..POPULATION / 2))
                };
                let (a, b) = (parent(oracle), parent(oracle));
                let child: Vec<Cell> = (0..origin.len())
                    .map(|j| if oracle.rng.random::<bool>() { members[a].1[j] } else { members[b].1[j] })
                    .collect();
                let child = mutant(oracle, &child, &origin);
                members.push((sign * oracle.ask(&child)?.number(), child));
            }
        }
    }
}

/// A row with a few values changed, numbers within the radius of the original's.
fn mutant(oracle: &mut Oracle<'_>, row: &[Cell], origin: &[Cell]) -> Vec<Cell> {
    let mut mutant = row.to_vec();
    for j in 0..row.len() {
        let number = oracle.rows.features[j].is_numeric() && oracle.rows.features[j].kind != Kind::Boolean;
        if number && origin[j].value().is_finite() && oracle.rng.random::<f64>() < MUTATE {
            let step = MUTATION_RADIUS * (2.0 * oracle.rng.random::<f64>() - 1.0) * oracle.rows.spread(j);
            mutant[j] = oracle.clamp(j, origin[j].value() + step);
        } else if !number && oracle.rng.random::<f64>() < SWAP {
            mutant[j] = oracle.anything(j);
        }
    }
    mutant
}
