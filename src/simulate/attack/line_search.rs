//! Line search: both extremes of one feature, then bisection to where the answer changes, all other features exactly equal.
//!
//! Lowd and Meek, "Adversarial learning" (KDD 2005), FindBoundary; also the inner loop of tree path finding and of attacks on
//! linear models by class labels alone.

use super::Oracle;

/// The search ends when the interval is this share of the feature's range, or less than the last decimal. Chosen: 14 bisections.
const RESOLUTION: f64 = 1e-4;

/// Runs the attack.
pub fn run(oracle: &mut Oracle<'_>) -> Option<()> {
    let movable = oracle.movable();
    if movable.is_empty() {
        return super::one_at_a_time::run(oracle);
    }
    loop {
        let base = oracle.real();
        for &j in &movable {
            let (low, high) = oracle.range(j);
            search(oracle, &base, j, low, high)?;
        }
    }
}

/// Bisects one feature between two values; returns where the class changes, if it does.
pub fn search(oracle: &mut Oracle<'_>, base: &[super::Cell], j: usize, low: f64, high: f64) -> Option<Option<f64>> {
    let at = |value: f64| {
        let mut row = base.to_vec();
        row[j] = super::Cell::number(value);
        row
    };
    let (mut low, mut high) = (low, high);
    let (first, last) = (oracle.ask(&at(low))?, oracle.ask(&at(high))?);
    let (first, last) = (oracle.class(&first), oracle.class(&last));
    if first == last {
        return Some(None);
    }
    let unit = 10_f64.powi(-i32::from(oracle.rows.features[j].decimals));
    let stop = (RESOLUTION * oracle.extent(j)).max(unit);
    while high - low > stop {
        let middle = f64::midpoint(low, high);
        let answer = oracle.ask(&at(middle))?;
        if oracle.class(&answer) == first {
            low = middle;
        } else {
            high = middle;
        }
    }
    Some(Some(f64::midpoint(low, high)))
}
