//! Incomplete queries: which features matter is asked by leaving them out.
//!
//! Tramèr et al. (USENIX Security 2016, §4.2) search a tree top-down with rows that have few values set, where the service answers such
//! rows. Every other base row here is searched bottom-up: a complete row loses one value after the other as long as the answer
//! stays.

use super::{Cell, Oracle};

/// Runs the attack.
pub fn run(oracle: &mut Oracle<'_>) -> Option<()> {
    loop {
        let base = oracle.real();
        grow(oracle, &base)?;
        let base = oracle.real();
        shrink(oracle, &base)?;
    }
}

/// From nothing: each value is tried, and kept if it changes the answer.
fn grow(oracle: &mut Oracle<'_>, base: &[Cell]) -> Option<()> {
    let mut row = vec![Cell::MISSING; base.len()];
    let mut known = oracle.ask(&row)?.identity();
    loop {
        let before = known;
        for j in 0..base.len() {
            if !row[j].is_missing() {
                continue;
            }
            let mut tried = row.clone();
            tried[j] = base[j];
            let found = oracle.ask(&tried)?.identity();
            if found != known {
                (row, known) = (tried, found);
            }
        }
        if known == before {
            return Some(());
        }
    }
}

/// From everything: each value is taken away, for good if that changes nothing.
fn shrink(oracle: &mut Oracle<'_>, base: &[Cell]) -> Option<()> {
    let mut row = base.to_vec();
    let known = oracle.ask(&row)?.identity();
    for j in 0..base.len() {
        let mut tried = row.clone();
        tried[j] = Cell::MISSING;
        if oracle.ask(&tried)?.identity() == known {
            row = tried;
        }
    }
    Some(())
}
