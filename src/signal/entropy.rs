//! Entropy of feature values: of a client or a window, against the reference's and against the uniform's.
//!
//! The plug-in estimate is biased down by (K − 1)/2N; the correction of Miller (1955) is added, with K the number of occupied
//! bins, and the result kept within [0, ln B]. Uniform probing raises entropy above the reference's; a line search, which holds
//! all features but one, lowers it.
//!
//! Description only: verdicts and metrics show it, and it is no evidence.

use crate::prefetch;

/// Bias-corrected entropy in nats of a histogram with `bins` possible bins; 0 for an empty one.
pub fn corrected(counts: impl IntoIterator<Item = u64>, bins: usize) -> f64 {
    let (mut total, mut sum, mut occupied) = (0.0_f64, 0.0_f64, 0_u32);
    for count in counts {
        if count > 0 {
            let n = count as f64;
            total += n;
            sum += n * n.ln();
            occupied += 1;
        }
    }
    if total <= 0.0 {
        return 0.0;
    }
    let plug_in = total.ln() - sum / total;
    (plug_in + f64::from(occupied.saturating_sub(1)) / (2.0 * total)).clamp(0.0, (bins.max(1) as f64).ln())
}

/// Counts of coarse codes per feature, side by side in one allocation, in a byte each. When one is full all are halved, so that
/// shares stay and the last few hundred rows outweigh what a client sent long ago.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Histograms {
    counts: Vec<u8>,
    rows: u32,
}

// === impl Histograms ===

impl Histograms {
    /// Adds a row of codes; `sizes` gives the codes per feature.
    pub fn add(&mut self, codes: &[u8], sizes: &[usize]) {
        if self.counts.is_empty() {
            self.counts = vec![0; sizes.iter().sum()];
        }
        let mut offset = 0;
        let mut full = false;
        for (&code, &size) in codes.iter().zip(sizes) {
            if let Some(count) = self.counts.get_mut(offset + usize::from(code)) {
                *count += 1;
                full |= *count == u8::MAX;
            }
            offset += size;
        }
        self.rows = self.rows.saturating_add(1);
        if full {
            self.counts.iter_mut().for_each(|c| *c /= 2);
            self.rows /= 2;
        }
    }

    /// Prefetches the counts.
    #[inline]
    pub fn prefetch(&self) {
        prefetch::slice(&self.counts);
    }

    /// Rows added.
    pub fn rows(&self) -> u32 {
        self.rows
    }

    /// Mean over features of corrected entropy, in nats.
    pub fn mean_entropy(&self, sizes: &[usize]) -> f64 {
        if self.counts.is_empty() {
            return 0.0;
        }
        let mut offset = 0;
        let mut sum = 0.0;
        for &size in sizes {
            sum += corrected(self.counts[offset..offset + size].iter().map(|&c| u64::from(c)), size);
            offset += size;
        }
        sum / sizes.len().max(1) as f64
    }

    /// Bytes held beyond the struct itself.
    pub fn bytes(&self) -> usize {
        self.counts.capacity()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_scipy_and_miller() {
        // scripts/reference_values.py histogram_entropy
        assert!((corrected([10, 20, 30, 40], 4) - (1.279_854_225_833_667_6 + 0.015)).abs() < 1e-12);
        assert!(corrected([0, 0], 2).abs() < 1e-12);
        // The correction cannot lift it over the uniform's.
        assert!((corrected([1, 1], 2) - 2_f64.ln()).abs() < 1e-12);
    }

    #[test]
    fn shares_outlive_a_full_count() {
        let (mut short, mut long) = (Histograms::default(), Histograms::default());
        (0..200_u32).for_each(|i| short.add(&[u8::from(i % 4 == 0)], &[2]));
        (0..100_000_u32).for_each(|i| long.add(&[u8::from(i % 4 == 0)], &[2]));
        assert!((short.mean_entropy(&[2]) - long.mean_entropy(&[2])).abs() < 0.02);
        assert!((160..=340).contains(&long.rows()), "{}", long.rows());
    }
}
