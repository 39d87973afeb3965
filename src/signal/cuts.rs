//! The p-values at which evidence is counted: every conformal p-value is reduced to one of five cells.
//!
//! A test statistic that only looks at cells needs no assumption on the distribution between the cuts, and a client's vote is a
//! byte a statistic ([`crate::judge::evidence`]).

/// Upper ends of the p-value cells; a last cell holds everything above. Chosen: roughly logarithmic, since evidence is the logarithm of
/// a likelihood ratio. The smallest cut is still met by several rows of a reference sample of thousands, so it can be estimated.
pub const CUTS: [f64; 4] = [0.001, 0.005, 0.02, 0.1];

/// Cells of a p-value: one below each cut and one above all.
pub const P_CELLS: usize = CUTS.len() + 1;

/// The cut at which verdicts report a client's share of votes. Chosen: at p ≤ 0.02 an honest client shows a vote in fifty, so a share
/// can be read from a few dozen votes.
pub const REPORTED_CUT: usize = 2;

/// Cell of a p-value: 0 (p ≤ 0.001) to 4 (p > 0.1).
#[inline]
pub fn cell(p: f64) -> u8 {
    CUTS.iter().position(|&cut| p <= cut).unwrap_or(CUTS.len()) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_p_value_at_a_cut_lies_below_it_and_any_larger_one_above() {
        for (at, &cut) in CUTS.iter().enumerate() {
            assert_eq!((usize::from(cell(cut)), usize::from(cell(cut.next_up()))), (at, at + 1));
        }
        assert_eq!((cell(0.0), usize::from(cell(1.0))), (0, P_CELLS - 1));
    }
}
