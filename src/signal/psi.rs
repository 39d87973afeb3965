//! Population stability index with a critical value for *this* window.
//!
//! PSI = Σ (a − e) ln(a/e) over bins, a the window's shares and e the reference's, both with a Jeffreys prior of half a row a bin
//! so that an empty bin is not worth an arbitrary constant. Without drift PSI/(1/N + 1/M) is about χ² with B − 1 degrees of
//! freedom (N, M rows in window and reference), so fixed bands such as 0.25 mean something else for every window size.
//!
//! Rows of one client resemble each other, so N is an *effective* number: the design effect of cluster samples (Rao and Scott
//! 1981), estimated from how the clients' shares differ, and never more than the number of rows.

use statrs::distribution::{ChiSquared, ContinuousCDF as _};

/// Result for one feature in one window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Test {
    /// Population stability index.
    pub psi: f64,
    /// Effective rows of the window.
    pub effective: f64,
    /// P(PSI this large without drift).
    pub p: f64,
    /// Expected PSI without drift: (B − 1)(1/N + 1/M).
    pub expected: f64,
    /// Occupied bins less one.
    pub freedom: f64,
}

/// Plain PSI of two histograms over the same bins.
pub fn index(window: &[f64], reference: &[f64]) -> f64 {
    let bins = window.len() as f64;
    let (n, m) = (window.iter().sum::<f64>(), reference.iter().sum::<f64>());
    window
        .iter()
        .zip(reference)
        .map(|(&w, &r)| {
            let a = (w + 0.5) / (n + 0.5 * bins);
            let e = (r + 0.5) / (m + 0.5 * bins);
            (a - e) * (a / e).ln()
        })
        .sum()
}

/// Value that PSI exceeds with probability `alpha` without drift, at `n` and `m` (effective) rows and `freedom` degrees.
pub fn critical(alpha: f64, freedom: f64, n: f64, m: f64) -> f64 {
    let quantile = ChiSquared::new(freedom.max(1.0)).map_or(f64::INFINITY, |chi| upper_quantile(&chi, alpha));
    quantile * (1.0 / n.max(1.0) + 1.0 / m.max(1.0))
}

/// The point that a χ² variable exceeds with probability `alpha`, by bisection on the survival function: `inverse_cdf(1 − α)`
/// loses every digit at α = 1e-7.
fn upper_quantile(chi: &ChiSquared, alpha: f64) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    while chi.sf(high) > alpha && high < 1e6 {
        high *= 2.0;
    }
    for _ in 0..80 {
        let middle = f64::midpoint(low, high);
        if chi.sf(middle) > alpha { low = middle } else { high = middle }
    }
    high
}

/// Histograms of one feature by client, with which rows of a window are compared to the reference.
#[derive(Clone, Debug, Default)]
pub struct Clusters {
    bins: usize,
    /// Rows of counts, one per client.
    counts: Vec<f64>,
}

// === impl Clusters ===

impl Clusters {
    /// Empties it for a feature with `bins` bins.
    pub fn clear(&mut self, bins: usize) {
        self.bins = bins.max(1);
        self.counts.clear();
    }

    /// Starts the next client.
    pub fn next_client(&mut self) {
        self.counts.resize(self.counts.len() + self.bins, 0.0);
    }

    /// Counts one row of the current client.
    pub fn add(&mut self, bin: usize) {
        let start = self.counts.len().saturating_sub(self.bins);
        if let Some(count) = self.counts.get_mut(start + bin.min(self.bins - 1)) {
            *count += 1.0;
        }
    }

    /// Tests the window against reference counts of the same bins; `None` without rows.
    pub fn test(&self, reference: &[f64]) -> Option<Test> {
        let clients = (self.counts.len() / self.bins) as f64;
        let m: f64 = reference.iter().sum();
        let mut totals = vec![0.0; self.bins];
        for row in self.counts.chunks_exact(self.bins) {
            totals.iter_mut().zip(row).for_each(|(t, c)| *t += c);
        }
        let n: f64 = totals.iter().sum();
        if n <= 0.0 || m <= 0.0 {
            return None;
        }
        let p: Vec<f64> = totals.iter().map(|t| t / n).collect();
        let mut between = vec![0.0; self.bins];
        for row in self.counts.chunks_exact(self.bins) {
            let own: f64 = row.iter().sum();
            for ((v, c), p) in between.iter_mut().zip(row).zip(&p) {
                *v += ((c - own * p) / n).powi(2);
            }
        }
        let correction = if clients > 1.0 { clients / (clients - 1.0) } else { 1.0 };
        let (mut observed, mut binomial) = (0.0, 0.0);
        for (bin, p) in p.iter().enumerate() {
            // Weights as in Pearson's statistic; the mean of both shares guards bins that are rare in one of them.
            let e = (reference[bin] / m).max(f64::midpoint(*p, reference[bin] / m)).max(1e-9);
            let simple = p * (1.0 - p);
            observed += (between[bin] * correction).max(simple / n) / e;
            binomial += simple / e;
        }
        let inverse = (observed / binomial.max(1e-9)).max(1.0 / n);
        let effective = 1.0 / inverse;
        let scaled: Vec<f64> = p.iter().map(|p| p * effective).collect();
        let psi = index(&scaled, reference);
        let occupied = totals.iter().zip(reference).filter(|(t, r)| **t > 0.0 || **r > 0.0).count();
        let freedom = occupied.saturating_sub(1).max(1) as f64;
        let scale = inverse + 1.0 / m;
        let p = ChiSquared::new(freedom).map_or(1.0, |chi| chi.sf(psi / scale));
        Some(Test { psi, effective, p, expected: freedom * scale, freedom })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_a_calculation_by_hand() {
        // numpy: a=(np.array([30,50,20])+.5)/101.5; e=(np.array([400,400,200])+.5)/1001.5; ((a-e)*np.log(a/e)).sum() = 0.04975468440435
        assert!(
            (index(&[30.0, 50.0, 20.0], &[400.0, 400.0, 200.0]) - 0.049_754_684_404_35).abs() < 1e-12,
            "{}",
            index(&[30.0, 50.0, 20.0], &[400.0, 400.0, 200.0])
        );
        // scipy.stats.chi2.isf([.05, 1e-7], 9) = 16.918977604620448, 50.1718004…
        assert!((critical(0.05, 9.0, 2.0, 2.0) - 16.918_977_604_620_448).abs() < 1e-6);
        assert!((critical(1e-7, 9.0, 2.0, 2.0) - 50.171_800_4).abs() < 1e-4, "{}", critical(1e-7, 9.0, 2.0, 2.0));
    }

    #[test]
    fn an_empty_bin_is_not_worth_two() {
        assert!(index(&[100.0, 0.0], &[990.0, 10.0]) < 0.02);
    }

    #[test]
    fn rows_of_one_client_count_less() {
        let reference = [500.0, 500.0];
        let mut alike = Clusters::default();
        alike.clear(2);
        let mut apart = alike.clone();
        for client in 0..100 {
            alike.next_client();
            apart.next_client();
            for row in 0..8 {
                alike.add(client % 2);
                apart.add(row % 2);
            }
        }
        let (alike, apart) = (alike.test(&reference).unwrap(), apart.test(&reference).unwrap());
        assert!(alike.effective < 110.0, "{alike:?}");
        assert!((apart.effective - 800.0).abs() < 1.0, "{apart:?}");
    }
}
