//! The log-lift of a joint cell: how much rarer, or commoner, a combination of values is than it would be by chance.
//!
//! L = ln((observed + prior) / (expected + prior)). The prior on both sides keeps small counts from being evidence: where next to
//! nothing is expected, L is next to 0 whatever is observed.

/// Pseudo-rows on each side of the ratio. Chosen: with two, an empty cell where two rows are expected is worth ln 2 and not infinity;
/// more would hide cells that are forbidden in a reference of thousands of rows, fewer would make evidence of sampling noise.
const PRIOR_ROWS: f64 = 2.0;

/// ln of observed over expected rows of a joint cell, in nats: below 0 for a combination that is rarer than expected.
#[inline]
pub fn log_lift(observed: f64, expected: f64) -> f32 {
    ((observed + PRIOR_ROWS) / (expected + PRIOR_ROWS)).ln() as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_cell_says_more_the_more_rows_were_expected_and_nothing_where_none_were() {
        assert!((log_lift(0.0, 2.0) + std::f32::consts::LN_2).abs() < 1e-6);
        assert!(log_lift(0.0, 0.0).abs() < 1e-6);
        assert!((1..100).all(|n| log_lift(0.0, f64::from(n)) > log_lift(0.0, f64::from(n + 1))));
    }
}
