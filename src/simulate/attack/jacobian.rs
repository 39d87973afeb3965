//! Jacobian augmentation: train a copy on a few seed rows, then add each row moved along the sign of the copy's gradient, ask, train
//! again.
//!
//! Papernot et al., "Practical black-box attacks against machine learning" (AsiaCCS 2017), Algorithm 1; λ alternates in sign as in
//! their periodic step size. When the set has grown beyond use, the attacker starts with fresh seeds.

use super::Oracle;
use super::substitute::Copy;

/// Seed rows: the paper's order of magnitude (100 to 150) would outlive small budgets.
const SEED_ROWS: usize = 40;
/// Step in spreads. Chosen: the paper's 0.1 of a pixel's range, on features of which a range is some four spreads.
const LAMBDA: f64 = 0.4;
/// Augmentation rounds, each of which doubles the set. Chosen: five make 1,280 rows of 40.
const AUGMENTATION_ROUNDS: i32 = 5;

/// Runs the attack.
pub fn run(oracle: &mut Oracle<'_>) -> Option<()> {
    let movable = oracle.movable();
    loop {
        let mut data = Vec::new();
        for _ in 0..SEED_ROWS {
            let row = oracle.real();
            let answer = oracle.ask(&row)?;
            data.push((row, f64::from(u8::from(oracle.class(&answer) > 0))));
        }
        for round in 0..AUGMENTATION_ROUNDS {
            let copy = Copy::train(oracle, &data);
            let lambda = if round % 2 == 0 { LAMBDA } else { -LAMBDA };
            for i in 0..data.len() {
                let (row, y) = data[i].clone();
                let towards: Vec<f64> = movable.iter().map(|&j| copy.slope(j) * if y > 0.5 { -1.0 } else { 1.0 }).collect();
                let mut moved = oracle.moved(&row, &movable, &towards, lambda);
                for &j in &movable {
                    if moved[j].is_unreadable() {
                        moved[j] = row[j];
                    }
                }
                let answer = oracle.ask(&moved)?;
                data.push((moved, f64::from(u8::from(oracle.class(&answer) > 0))));
            }
        }
    }
}
