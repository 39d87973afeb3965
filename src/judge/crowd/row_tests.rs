//! How improbable is a stranger's row? Three tests, before anything raises their p-values.

use crate::signal::density::Surprise;

/// Tests of one row before it is known what the crowd's rows have in common: surprise alone, and with nearness. Afterwards there is one.
pub(super) const TESTS: f64 = 2.0;

/// ln of the p-values of a row before anything raises them: by what the crowd's rows have in common and by the classifier, if these are known,
/// and by surprise.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tests {
    pub(super) by_shares: Option<f64>,
    pub(super) by_trees: Option<f64>,
    pub(super) by_surprise: f64,
}

// === impl Tests ===

impl Tests {
    /// Both tests together: the harmonic mean of their p-values (Wilson 2019); surprise while neither is known. `linked` is added to ln p for
    /// a link to a campaign. The trees' p-value is left alone: they learned how near a row is to the crowd's, and that is why it is linked.
    pub(super) fn log_p(&self, linked: f64) -> f64 {
        match (self.by_shares, self.by_trees) {
            (Some(by_shares), Some(by_trees)) => log_harmonic_mean(by_shares + linked, by_trees),
            (None, Some(by_trees)) => by_trees,
            (by_shares, None) => by_shares.unwrap_or(self.by_surprise) + linked,
        }
    }
}

/// Honest rows among those of these tests, as an estimate: twice those with a p-value above a half (Storey 2002).
pub(super) fn honest_among(tests: &[Tests]) -> f64 {
    2.0 * tests.iter().filter(|tests| tests.log_p(0.0) > -std::f64::consts::LN_2).count() as f64
}

/// ln of the harmonic mean of two numbers, given as their logarithms.
fn log_harmonic_mean(a: f64, b: f64) -> f64 {
    let (low, high) = (a.min(b), a.max(b));
    // 2 / (1/a + 1/b) = 2 · low / (1 + low/high)
    low + 2.0_f64.ln() - (low - high).exp().ln_1p()
}

/// ln of the p-value of a row by its surprise, alone or with nearness to the decision boundary.
pub(super) fn by_surprise(surprise: &Surprise) -> f64 {
    f64::from(surprise.log_p[0].min(surprise.log_p[1])) + TESTS.ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: f64 = std::f64::consts::LN_2;

    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-9
    }

    #[test]
    fn the_harmonic_mean_is_at_most_twice_the_lower_p_value() {
        assert!(close(log_harmonic_mean(-3.0, -3.0), -3.0));
        assert!(close(log_harmonic_mean(-3.0, 0.0), log_harmonic_mean(0.0, -3.0)));
        let (lower, far) = (-9.0, log_harmonic_mean(-9.0, -1.0));
        assert!(far > lower && far < lower + TWO, "{far}");
    }

    #[test]
    fn a_link_to_a_campaign_leaves_the_p_value_of_the_trees_alone() {
        let tests = Tests { by_shares: Some(-1.3), by_trees: Some(-6.0), by_surprise: -2.0 };
        // Evidence of the trees and of the link do not add up to −11.
        assert!(tests.log_p(-5.0) > -6.3, "{}", tests.log_p(-5.0));
        let untaught = Tests { by_trees: None, ..tests };
        assert!(close(untaught.log_p(-5.0), -6.3) && close(untaught.log_p(0.0), -1.3));
        let unknown = Tests { by_shares: None, ..untaught };
        assert!(close(unknown.log_p(-5.0), -7.0));
        assert!(close(Tests { by_shares: None, ..tests }.log_p(-5.0), -6.0));
    }

    #[test]
    fn honest_rows_are_twice_those_above_a_half() {
        let of = |log_p: f64| Tests { by_shares: Some(log_p), by_trees: None, by_surprise: 0.0 };
        assert!(close(honest_among(&[of(-0.1), of(-0.6), of(-0.7), of(-9.0)]), 4.0));
    }
}
