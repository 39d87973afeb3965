//! Equation solving: one query per unknown weight, each an independent random row, so that the equations are independent too.
//!
//! Tramèr et al., "Stealing machine learning models via prediction APIs" (USENIX Security 2016, §4.1). A logistic regression over
//! d encoded inputs has d + 1 unknowns; after those the attacker asks a few more to check the solution, then starts over with
//! another random set while the budget lasts.

use super::{Cell, Oracle};
use crate::reference::Kind;

/// Runs the attack.
pub fn run(oracle: &mut Oracle<'_>) -> Option<()> {
    let encoded: usize = oracle.rows.features.iter().map(|f| if f.kind == Kind::Categorical { f.bins() } else { 1 }).sum();
    loop {
        for unknown in 0..=encoded {
            let mut row = oracle.noise();
            // Every category must occur in some equation, or its weight cannot be solved for.
            let mut at = unknown;
            for (j, feature) in oracle.rows.features.iter().enumerate() {
                let size = if feature.kind == Kind::Categorical { feature.bins() } else { 1 };
                if at < size {
                    if feature.kind == Kind::Categorical {
                        row[j] = Cell::category(at);
                    }
                    break;
                }
                at -= size;
            }
            oracle.ask(&row)?;
        }
    }
}
