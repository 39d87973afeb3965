//! The tail of the similarity of natural rows: how rarely are two of them this similar by chance?
//!
//! Within the reference's pairs it is counted; beyond the most similar few hundred it is extrapolated exponentially (peaks over
//! threshold; Pickands 1975). The scale is half as large again as fitted, so that the extrapolation errs to the side of chance.
//!
//! When columns are left out, many pairs are equally similar in what is left. Such ties are counted, however many they are: a similarity
//! that every second pair has is ordinary, even if no pair is more similar.

/// Extremes that the exponential tail is fitted to. Chosen: the error of its scale is then 1/√200 = 7%, and of the four million
/// pairs of a model of fourteen features they are one in 20,000.
const EXTREMES: usize = 200;
/// Extremes that are collected before the smaller ones are dropped: it makes sorting rare.
const COLLECTED: usize = 8 * EXTREMES;
/// Factor on the fitted scale. Chosen: seven times its standard error; see above.
const SCALE_MARGIN: f64 = 1.5;
/// Least mean excess of the extremes, in nats, so that equal extremes give no infinite rate.
const LEAST_EXCESS: f64 = 0.05;
/// Resolution of the histogram in cells per nat, and its cells. Chosen: 1,024 nats are 32 features
/// that are each as improbable as can be; the last cell holds what is beyond.
const PER_NAT: f64 = 4.0;
const CELLS: usize = 4096;
/// The share of pairs that are more similar than the yardstick of the drift correction.
const YARDSTICK: f64 = 0.05;

/// Similarities of pairs, counted.
#[derive(Clone, Debug)]
pub(super) struct TailCounts {
    histogram: Vec<u64>,
    extremes: Vec<f32>,
    /// What is less is no extreme, and pairs that are exactly so similar and are not among the extremes.
    floor: f32,
    tied: u64,
    pairs: u64,
}

/// ln P(two natural rows are at least this similar).
#[derive(Clone, Debug)]
pub(super) struct Tail {
    /// By cell of similarity.
    counted: Vec<f32>,
    /// From here on it is extrapolated: ln P there, just beyond, and how fast it falls per nat.
    start: f64,
    log_at_start: f64,
    log_beyond_start: f64,
    rate: f64,
    /// The 95% point of similarity over reference pairs, in nats.
    pub(super) g95: f64,
}

// === impl TailCounts ===

impl Default for TailCounts {
    fn default() -> Self {
        Self { histogram: vec![0; CELLS], extremes: Vec::new(), floor: f32::NEG_INFINITY, tied: 0, pairs: 0 }
    }
}

impl TailCounts {
    /// Counts a pair with a similarity in nats.
    #[inline]
    pub(super) fn add(&mut self, g: f32) {
        self.pairs += 1;
        let cell = ((f64::from(g) * PER_NAT) as usize).min(CELLS - 1);
        self.histogram[cell] += 1;
        if g > self.floor {
            self.extremes.push(g);
            if self.extremes.len() >= COLLECTED {
                self.keep_extremes();
            }
        } else {
            self.tied += u64::from(g >= self.floor);
        }
    }

    /// Drops all but the most extreme, and raises the floor to the least of these.
    fn keep_extremes(&mut self) {
        if self.extremes.len() <= EXTREMES {
            return;
        }
        self.extremes.sort_by(|x, y| y.total_cmp(x));
        let floor = self.extremes[EXTREMES - 1];
        let tied = self.extremes[EXTREMES..].iter().filter(|&&g| g >= floor).count() as u64;
        self.tied = if floor > self.floor { tied } else { self.tied + tied };
        self.floor = floor;
        self.extremes.truncate(EXTREMES);
    }

    /// The tail of what was counted.
    pub(super) fn fit(mut self) -> Tail {
        self.keep_extremes();
        let pairs = self.pairs.max(1) as f64;
        let mut above = 0_u64;
        let mut counted = vec![0.0; self.histogram.len()];
        for (log_p, count) in counted.iter_mut().zip(&self.histogram).rev() {
            above += count;
            *log_p = ((above.max(1)) as f64 / pairs).ln() as f32;
        }
        let start = self.extremes.iter().copied().reduce(f32::min).map_or(0.0, f64::from);
        let beyond: Vec<f64> = self.extremes.iter().map(|&g| f64::from(g) - start).filter(|&excess| excess > 0.0).collect();
        let excess = beyond.iter().sum::<f64>() / beyond.len().max(1) as f64;
        let at_start = self.extremes.len().max(1) as f64 + self.tied as f64;
        let yardstick = counted.iter().position(|&log_p| f64::from(log_p) <= YARDSTICK.ln()).unwrap_or(0);
        Tail {
            counted,
            start,
            log_at_start: (at_start / pairs).ln(),
            log_beyond_start: (beyond.len().max(1) as f64 / pairs).ln(),
            rate: 1.0 / (SCALE_MARGIN * excess.max(LEAST_EXCESS)),
            g95: yardstick as f64 / PER_NAT,
        }
    }
}

// === impl Tail ===

impl Tail {
    /// ln P of a similarity in nats.
    #[inline]
    pub(super) fn log_p(&self, g: f64) -> f64 {
        if g > self.start {
            return self.log_beyond_start - (g - self.start) * self.rate;
        }
        if g >= self.start {
            return self.log_at_start;
        }
        let cell = (g.max(0.0) * PER_NAT) as usize;
        f64::from(self.counted.get(cell).copied().unwrap_or(0.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::mix;

    #[test]
    fn an_exponential_tail_is_counted_where_there_are_pairs_and_extrapolated_with_caution() {
        let mut counts = TailCounts::default();
        let pairs = 1_000_000_u64;
        for i in 0..pairs {
            let uniform = ((mix(i) >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
            counts.add(-uniform.ln() as f32);
        }
        let tail = counts.fit();
        // Of unit-rate exponential similarities ln P(G ≥ g) = −g. Cells are a quarter of a nat wide.
        for g in [0.5, 1.0, 3.0, 6.0] {
            assert!((tail.log_p(g) + g).abs() < 0.1, "{g}: {}", tail.log_p(g));
        }
        assert!((tail.g95 - 20_f64.ln()).abs() < 0.3, "{}", tail.g95);
        // Beyond the 200 most similar pairs (8.5 nats) the slope is two thirds.
        let (near, far) = (tail.log_p(12.0), tail.log_p(15.0));
        assert!(near > -12.0 && far > -15.0 && ((near - far) / 3.0 - 1.0 / 1.5).abs() < 0.1, "{near} {far}");
    }

    #[test]
    fn pairs_that_are_equally_similar_are_counted_however_many_they_are() {
        // A tenth of a million pairs share the largest similarity but for 30, which are more similar.
        let mut counts = TailCounts::default();
        let pairs = 1_000_000_u64;
        for i in 0..pairs {
            counts.add(if i % 33_000 == 17 { 5.0 + (i % 7) as f32 } else { 2.0 * f32::from(u8::from(i % 10 == 3)) });
        }
        let tail = counts.fit();
        assert!((tail.log_p(2.0) - 0.1_f64.ln()).abs() < 0.01, "{}", tail.log_p(2.0));
        assert!((tail.log_p(2.000_001) - (30.0 / pairs as f64).ln()).abs() < 0.1, "{}", tail.log_p(2.000_001));
        assert!(tail.log_p(0.0).abs() < 1e-6);
    }

    #[test]
    fn pairs_without_any_similarity_are_no_rarity() {
        let mut counts = TailCounts::default();
        (0..100_000).for_each(|_| counts.add(0.0));
        assert!(counts.fit().log_p(0.0).abs() < 1e-12);
    }
}
