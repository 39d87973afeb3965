//! Population stability index, and what it is by chance in *this* window.
//!
//! PSI = Σ (a − e) ln(a/e) over bins, a the window's shares and e the reference's. Fixed bands such as 0.25 mean something else for
//! every window size, so each figure comes with its distribution without drift. Three things make that distribution right
//! (`tripline reference calibrate` measures it):
//!
//! * *Rows of one client resemble each other*, so the window counts for N_eff rows, not N: the design effect of cluster samples
//!   (Rao and Scott 1981) from how clients' shares differ, never below 1. It is itself an estimate from a bounded number of
//!   clients, hence an F distribution in place of χ² (Thomas and Rao 1987).
//! * *The prior pulls both sides to the same point.* Half a row is added to each bin of both histograms after both are scaled
//!   to n = 1/(1/N_eff + 1/M) rows, the size at which their difference is known. Adding half a row to 50 and to 8,000 rows instead
//!   makes every empty bin look like drift.
//! * *Small bins are not normal.* A bin of expected count μ = n·p contributes (W − μ) ln((W + ½)/(μ + ½)) with W about
//!   Poisson; its first three cumulants are functions of μ alone, tabulated once. Their sum over bins, each less its share p (the
//!   counts add up), is matched by a shifted gamma distribution. With large bins that is χ² with B − 1 degrees of freedom again.

use std::sync::LazyLock;

use statrs::distribution::{ChiSquared, ContinuousCDF as _, FisherSnedecor};

/// Half a row for every bin: Jeffreys' prior.
const PRIOR: f64 = 0.5;
/// Degrees of freedom of the scale beyond which F is χ² to four digits at the levels used.
const AS_GOOD_AS_KNOWN: f64 = 1e4;
/// Largest index in units of its expectation that is looked for, and halvings of the interval: 10⁶ to the last bit of a double.
const MOST_CRITICAL: f64 = 1e6;
const HALVINGS: usize = 60;
/// Least mean and variance of the index, and least share of a bin, that are divided by.
const LEAST_MOMENT: f64 = 1e-9;
const LEAST_PART: f64 = 1e-12;

/// Result for one feature in one window.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Test {
    /// Population stability index.
    pub psi: f64,
    /// Effective rows of the window.
    pub effective: f64,
    /// P(PSI this large without drift).
    pub p: f64,
    /// Expected PSI without drift.
    pub expected: f64,
    chance: Chance,
}

/// Distribution of the index without drift: psi·rows = shift + unit·F(freedom, known).
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
struct Chance {
    rows: f64,
    shift: f64,
    unit: f64,
    freedom: f64,
    /// Degrees of freedom with which the window's effective size is known.
    known: f64,
}

/// PSI of two distributions (shares or counts over the same bins) as known from `rows` rows.
pub fn index(window: &[f64], reference: &[f64], rows: f64) -> f64 {
    let (n, m) = (window.iter().sum::<f64>().max(f64::MIN_POSITIVE), reference.iter().sum::<f64>().max(f64::MIN_POSITIVE));
    let prior = PRIOR * window.len() as f64;
    window
        .iter()
        .zip(reference)
        .map(|(&w, &r)| {
            let a = (w / n * rows + PRIOR) / (rows + prior);
            let e = (r / m * rows + PRIOR) / (rows + prior);
            (a - e) * (a / e).ln()
        })
        .sum()
}

/// Points of the table of cumulants per factor of two. Chosen: linear interpolation then errs by less than a hundredth, as the test
/// `cumulants_of_a_bin_are_those_of_the_poisson_sum` shows.
const PER_OCTAVE: f64 = 8.0;
/// Smallest and largest expected count in the table; below, cumulants are proportional to μ, above, they are those of χ²(1).
const TABULATED: (f64, f64) = (1.0 / 1024.0, 512.0);

/// Counts that the Poisson sum runs over: up to twelve deviations above the mean, and thirty more where the mean is small. What is left out
/// is below 1e-20.
const POISSON_DEVIATIONS: f64 = 12.0;
const POISSON_MORE: f64 = 30.0;
/// Mean, variance and third cumulant of χ² with one degree of freedom.
const CHI_SQUARED: [f64; 3] = [1.0, 2.0, 8.0];

/// Mean, variance and third cumulant of a bin's contribution, by expected count.
static CUMULANTS: LazyLock<Vec<[f64; 3]>> = LazyLock::new(|| {
    let points = ((TABULATED.1 / TABULATED.0).log2() * PER_OCTAVE) as usize;
    (0..=points).map(|i| poisson_cumulants(TABULATED.0 * (i as f64 / PER_OCTAVE).exp2())).collect()
});

fn poisson_cumulants(mu: f64) -> [f64; 3] {
    let contribution = |k: f64| (k - mu) * ((k + PRIOR) / (mu + PRIOR)).ln();
    let most = (mu + POISSON_DEVIATIONS * mu.sqrt() + POISSON_MORE) as u32;
    let mut weights = Vec::with_capacity(most as usize + 1);
    // exp(−512) is far above the smallest double.
    let mut weight = (-mu).exp();
    for k in 0..=most {
        weights.push((weight, contribution(f64::from(k))));
        weight *= mu / f64::from(k + 1);
    }
    let mean: f64 = weights.iter().map(|(w, g)| w * g).sum();
    let central = |power| weights.iter().map(|(w, g)| w * (g - mean).powi(power)).sum();
    [mean, central(2), central(3)]
}

fn cumulants(mu: f64) -> [f64; 3] {
    if mu < TABULATED.0 {
        return CUMULANTS[0].map(|c| c * mu / TABULATED.0);
    }
    let at = (mu / TABULATED.0).log2() * PER_OCTAVE;
    let below = at as usize;
    let Some(pair) = CUMULANTS.get(below..below + 2) else { return CHI_SQUARED };
    let part = at - below as f64;
    std::array::from_fn(|i| pair[0][i] + part * (pair[1][i] - pair[0][i]))
}

// === impl Test ===

impl Test {
    /// The PSI that a window like this one exceeds with probability `alpha` without drift.
    pub fn critical(&self, alpha: f64) -> f64 {
        self.chance.critical(alpha)
    }
}

// === impl Chance ===

impl Chance {
    /// For bins of common shares `shares`, at `rows` = 1/(1/N_eff + 1/M), of whose variance the window makes up `part`; `None` if all
    /// rows lie in one bin.
    fn new(shares: &[f64], rows: f64, part: f64, clients: f64) -> Option<(Self, f64)> {
        let mut sum = [0.0; 3];
        for &p in shares {
            sum.iter_mut().zip(cumulants(rows * p)).for_each(|(s, c)| *s += c * (1.0 - p));
        }
        let [mean, variance, third] = sum;
        if mean < LEAST_MOMENT || variance < LEAST_MOMENT || third <= 0.0 {
            return None;
        }
        let scale = third / (4.0 * variance);
        let freedom = variance / (2.0 * scale * scale);
        let rows = rows + PRIOR * shares.len() as f64;
        // The window's size is estimated from `clients` clients in each of the dimensions, and makes up only a part of the variance.
        let known = 2.0 * mean * mean / variance * (clients - 1.0) / (part * part).max(LEAST_PART);
        let chance = Self { rows, shift: mean - scale * freedom, unit: scale * freedom, freedom, known };
        Some((chance, mean / rows))
    }

    fn exceeded(&self, psi: f64) -> f64 {
        let x = ((psi * self.rows - self.shift) / self.unit).max(0.0);
        if self.known >= AS_GOOD_AS_KNOWN {
            ChiSquared::new(self.freedom).map_or(1.0, |chi| chi.sf(x * self.freedom))
        } else {
            FisherSnedecor::new(self.freedom, self.known.max(1.0)).map_or(1.0, |f| f.sf(x))
        }
    }

    /// By bisection on the survival function: `inverse_cdf(1 − α)` loses every digit at α = 1e-7.
    fn critical(&self, alpha: f64) -> f64 {
        let (mut low, mut high) = (0.0, 1.0);
        while self.exceeded(high) > alpha && high < MOST_CRITICAL {
            high *= 2.0;
        }
        for _ in 0..HALVINGS {
            let middle = f64::midpoint(low, high);
            if self.exceeded(middle) > alpha { low = middle } else { high = middle }
        }
        high
    }
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

    /// Tests the window against reference counts of the same bins; `None` without rows of at least two clients: how much one
    /// client's rows resemble each other cannot be told from one.
    pub fn test(&self, reference: &[f64]) -> Option<Test> {
        let clients = (self.counts.len() / self.bins) as f64;
        let mut totals = vec![0.0; self.bins];
        for row in self.counts.chunks_exact(self.bins) {
            totals.iter_mut().zip(row).for_each(|(t, c)| *t += c);
        }
        let n: f64 = totals.iter().sum();
        let m: f64 = reference.iter().sum();
        if clients < 2.0 || n <= 0.0 || m <= 0.0 {
            return None;
        }
        let share: Vec<f64> = totals.iter().map(|t| t / n).collect();
        // Weights as in Pearson's statistic; the mean of both shares guards bins that are rare in one of them.
        let weight: Vec<f64> =
            share.iter().zip(reference).map(|(p, r)| 1.0 / (r / m).max(f64::midpoint(*p, r / m)).max(LEAST_MOMENT)).collect();
        let mut between = 0.0;
        for row in self.counts.chunks_exact(self.bins) {
            let own: f64 = row.iter().sum();
            between += row.iter().zip(&share).zip(&weight).map(|((c, p), w)| (c - own * p).powi(2) * w).sum::<f64>();
        }
        between *= clients / (clients - 1.0) / (n * n);
        let simple = share.iter().zip(&weight).map(|(p, w)| p * (1.0 - p) * w).sum::<f64>() / (n - 1.0).max(1.0);
        let effective = n / (between / simple.max(f64::MIN_POSITIVE)).max(1.0);
        Some(compare(&totals, reference, effective, clients))
    }
}

/// Tests a window whose rows are independent, one a client, against reference counts of the same bins.
pub fn independent(window: &[f64], reference: &[f64]) -> Test {
    let n: f64 = window.iter().sum();
    compare(window, reference, n, n)
}

fn compare(window: &[f64], reference: &[f64], effective: f64, clients: f64) -> Test {
    let (n, m): (f64, f64) = (window.iter().sum(), reference.iter().sum());
    let rows = 1.0 / (1.0 / effective + 1.0 / m);
    let psi = index(window, reference, rows);
    let common: Vec<f64> = window.iter().zip(reference).map(|(w, r)| (w + r) / (n + m)).collect();
    match Chance::new(&common, rows, rows / effective, clients) {
        Some((chance, expected)) => Test { psi, effective, p: chance.exceeded(psi), expected, chance },
        // All rows lie in one bin, in the window as in the reference.
        None => {
            let nothing = Chance { rows: 1.0, shift: 0.0, unit: 1.0, freedom: 1.0, known: AS_GOOD_AS_KNOWN };
            Test { psi: 0.0, effective, p: 1.0, expected: 0.0, chance: nothing }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_a_calculation_by_hand() {
        // scripts/reference_values.py psi_index
        let psi = index(&[30.0, 50.0, 20.0], &[400.0, 400.0, 200.0], 1.0 / 0.011);
        assert!((psi - 0.049_542_376_8).abs() < 1e-9, "{psi:.10}");
    }

    #[test]
    fn with_large_bins_chance_is_chi_square() {
        let flat = vec![1e6; 10];
        let test = independent(&flat, &flat);
        // scripts/reference_values.py chi_square_points; rows = 5e6
        assert!((test.critical(0.05) * 5e6 - 16.918_977_6).abs() < 0.01, "{}", test.critical(0.05) * 5e6);
        assert!((test.critical(1e-7) * 5e6 - 50.171_800_4).abs() < 0.05, "{}", test.critical(1e-7) * 5e6);
        assert!((test.expected * 5e6 - 9.0).abs() < 0.001);
    }

    #[test]
    fn cumulants_of_a_bin_are_those_of_the_poisson_sum() {
        // scripts/reference_values.py poisson_bin_cumulants: mean, variance, third central moment
        let known = [(0.5, [0.425_144_40, 0.226_377_03, 0.565_716_42]), (5.0, [1.001_905_06, 2.393_434_89, 13.018_650_59])];
        for (mu, expected) in known {
            for (got, want) in cumulants(mu).into_iter().zip(expected) {
                assert!((got / want - 1.0).abs() < 0.01, "{mu}: {got} {want}");
            }
        }
    }

    #[test]
    fn empty_bins_are_not_drift() {
        let few = independent(&[25.0, 25.0, 0.0, 0.0, 0.0, 0.0], &[4000.0, 4000.0, 0.0, 0.0, 0.0, 0.0]);
        assert!(few.psi < 1e-9, "{few:?}");
        assert!(index(&[100.0, 0.0], &[990.0, 10.0], 90.0) < 0.02, "an empty bin is not worth two");
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

    #[test]
    fn one_client_is_no_window() {
        let mut one = Clusters::default();
        one.clear(2);
        one.next_client();
        one.add(0);
        assert_eq!(one.test(&[10.0, 10.0]), None);
    }
}
