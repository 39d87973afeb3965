//! How many different rows were there? A count in 72 bytes, from one to hundreds of thousands.
//!
//! A bitmap: the hash of a row chooses a bit, and a repeat chooses the same one (linear counting, Whang et al. 1990). A full bitmap would
//! count nothing more, so from a half on a new bit is set only if the hash falls into a sample, which halves each time an eighth of the
//! other bits is set. The rate only ever falls, so a repeat of a row that was left out is left out again (Chen, Cao, Shepp and Nguyen 2011,
//! "Distinct counting with a self-learning bitmap"). Each bit that is set counts for the inverse of the probability that a new row sets
//! one; the sum is unbiased for any such rates (Ting 2014, "Streamed approximate counting of distinct elements").

/// Bits of the map. Chosen: the standard error is 4% for a hundred rows, a tenth for thousands and a sixth for a hundred thousand (the test measures
/// it), and a threshold that is a multiple of what peers ask needs no more.
const BITS: u32 = 512;
/// Words of the map.
const WORDS: usize = (BITS / u64::BITS) as usize;
/// Bits up to which every hash is in the sample: half of the map, below which one row in two at least sets a bit.
const FULL_RATE_BITS: u32 = BITS / 2;
/// Bits that halve the sample: eight halvings, and in each of them enough bits that their error (1/√32 of their part) stays small in the sum.
const BITS_PER_HALVING: u32 = FULL_RATE_BITS / 8;
/// Bits of a hash that choose the bit of the map. The sample is told from the others.
const PLACE_BITS: u32 = BITS.trailing_zeros();

/// Different rows of one window.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Distinct {
    map: [u64; WORDS],
    set: u32,
    rows: f32,
}

// === impl Distinct ===

impl Distinct {
    /// Takes the hash of a row. The hash must be well mixed and salted: a client that could compute it would choose rows that set no bit.
    #[inline]
    pub fn add(&mut self, hash: u64) {
        let place = hash % u64::from(BITS);
        let (word, bit) = ((place / 64) as usize, 1_u64 << (place % 64));
        let halvings = self.set.saturating_sub(FULL_RATE_BITS) / BITS_PER_HALVING;
        if self.map[word] & bit != 0 || (hash >> PLACE_BITS).trailing_zeros() < halvings {
            return;
        }
        self.map[word] |= bit;
        let free = f64::from(BITS - self.set) / f64::from(BITS);
        self.rows += (f64::from(1_u32 << halvings) / free) as f32;
        self.set += 1;
    }

    /// Different rows, estimated.
    #[inline]
    pub fn rows(&self) -> f64 {
        f64::from(self.rows)
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::mix2;

    fn of(seed: u64, rows: u64) -> f64 {
        let mut distinct = Distinct::default();
        (0..rows).for_each(|row| distinct.add(mix2(seed, row)));
        distinct.rows()
    }

    #[test]
    fn the_error_is_a_few_percent_for_hundreds_and_a_sixth_for_a_hundred_thousand() {
        for (rows, most) in [(1, 1e-6), (20, 0.04), (100, 0.04), (300, 0.05), (2_000, 0.1), (20_000, 0.15), (100_000, 0.18)] {
            let seeds = 60;
            let errors: Vec<f64> = (0..seeds).map(|seed| of(seed, rows) / rows as f64 - 1.0).collect();
            let mean = errors.iter().sum::<f64>() / f64::from(seeds as u32);
            let root = (errors.iter().map(|error| error * error).sum::<f64>() / f64::from(seeds as u32)).sqrt();
            assert!(root <= most, "{rows} rows: {root}");
            // Unbiased: the mean of sixty is within three of its standard errors.
            assert!(mean.abs() <= 3.0 * most / f64::from(seeds as u32).sqrt(), "{rows} rows: {mean}");
        }
    }

    #[test]
    fn repeats_never_count_whenever_they_come() {
        let mut distinct = Distinct::default();
        for rows in [10, 300, 5_000_u64] {
            (0..rows).for_each(|row| distinct.add(mix2(3, row)));
            let once = distinct.rows();
            (0..rows).for_each(|row| distinct.add(mix2(3, row)));
            assert!((distinct.rows() - once).abs() < 1e-9, "{rows}");
        }
    }

    #[test]
    fn a_full_map_stays_as_it_is() {
        let mut distinct = Distinct::default();
        (0..5_000_000).for_each(|row| distinct.add(mix2(1, row)));
        assert!(distinct.rows() > 1e5 && distinct.set <= BITS, "{}", distinct.rows());
        distinct.clear();
        assert_eq!(distinct, Distinct::default());
    }
}
