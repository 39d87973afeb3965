//! How similar are live rows to each other, beyond what the reference's rows are? Similarity that drift has added is no evidence.
//!
//! A reservoir holds rows that were linked to nothing. It holds copies: they are few, and in the history they lie far apart. Each new
//! row of that kind is compared with some of them. The 95% point of those comparisons, less the reference's own 95% point, is the
//! shift by which every comparison is corrected. A client gives at most every fifth of its rows, so that no client dominates.

use crate::hash;
use crate::judge::client::rows::ClientStructure;
use crate::signal::similarity::{PreparedRow, Similarity};
use crate::window::clients::SlotRef;

/// Rows in the reservoir. Chosen: 16 kB of codes on a wide model, which stay in the processor's cache.
const RESERVOIR: usize = 128;
/// Comparisons of one row, and rows in the reservoir before there are any. Chosen: an eighth of the reservoir.
const PARTNERS: usize = 16;
/// Comparisons kept: those of as many rows as the reservoir holds, so that both are of one time.
const COMPARISONS: usize = RESERVOIR * PARTNERS;
/// Comparisons before the quantile is estimated: half of those that are kept. About fifty then lie above the 95% point.
const MIN_COMPARISONS: usize = COMPARISONS / 2;
/// Share of the comparisons that lie above the quantile.
const ABOVE: f64 = 0.05;
/// How far the share above the last quantile may move, relative to [`ABOVE`], before the quantile is estimated again. A tenth of an
/// exponential tail's mass is a tenth of its scale, which is less than [`SLACK`].
const STRAYED: f64 = 0.1;
/// Nats of shift that are within the noise of the estimate. Chosen: with a hundred comparisons above the quantile its standard error
/// is a tenth of the tail's scale, a few nats.
const SLACK: f64 = 0.5;
/// One of so many rows of a client is compared. Chosen.
const SAMPLE_EVERY: u32 = 5;
/// Makes the random numbers here others than those that the same salt gives elsewhere.
const SALT: u64 = 99;

/// Similarity of live rows that are linked to nothing.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub(super) struct SimilarityBaseline {
    /// Nats of similarity that drift explains.
    pub(super) shift: f64,
    /// Clients of the rows in the reservoir.
    clients: Vec<SlotRef>,
    /// Codes of those rows, one after the other.
    codes: Vec<u16>,
    /// Place in the reservoir of the next row.
    next: usize,
    /// The last comparisons, in a ring.
    recent: Vec<f32>,
    compared: u64,
    /// The quantile when it was last estimated.
    quantile: f32,
    /// Comparisons that lie above the quantile now, and that reach it.
    above: u32,
    reached: u32,
    random: u64,
}

// === impl SimilarityBaseline ===

impl SimilarityBaseline {
    pub(super) fn new(salt: u64) -> Self {
        Self {
            shift: 0.0,
            clients: Vec::new(),
            codes: Vec::new(),
            next: 0,
            recent: Vec::new(),
            compared: 0,
            quantile: f32::INFINITY,
            above: 0,
            reached: 0,
            random: hash::mix(salt ^ SALT),
        }
    }

    /// Takes an unlinked row of a client: its codes, and the same row prepared for comparing.
    pub(super) fn sample(
        &mut self,
        row: &[u16],
        at: SlotRef,
        state: &mut ClientStructure,
        (similarity, prepared): (&Similarity, &PreparedRow),
    ) {
        if state.rows < state.last_sampled + SAMPLE_EVERY && state.last_sampled > 0 {
            return;
        }
        state.last_sampled = state.rows.max(1);
        let (held, width) = (self.clients.len(), row.len());
        if held >= PARTNERS {
            for _ in 0..PARTNERS {
                self.random = hash::mix(self.random);
                // The upper half of the product is as even as a remainder, without a division.
                let other = (((self.random >> 32) * held as u64) >> 32) as usize;
                if self.clients[other] != at {
                    self.note(similarity.excess(prepared, &self.codes[other * width..(other + 1) * width]));
                }
            }
        }
        if held < RESERVOIR {
            self.clients.push(at);
            self.codes.extend_from_slice(row);
        } else {
            self.clients[self.next] = at;
            self.codes[self.next * width..(self.next + 1) * width].copy_from_slice(row);
            self.next = (self.next + 1) % RESERVOIR;
        }
    }

    /// Notes one comparison: similarity beyond the 95% point of the reference's own comparisons, in nats.
    fn note(&mut self, g: f32) {
        self.above += u32::from(g > self.quantile);
        self.reached += u32::from(g >= self.quantile);
        if self.recent.len() < COMPARISONS {
            self.recent.push(g);
        } else {
            let place = (self.compared % COMPARISONS as u64) as usize;
            let gone = std::mem::replace(&mut self.recent[place], g);
            self.above -= u32::from(gone > self.quantile);
            self.reached -= u32::from(gone >= self.quantile);
        }
        self.compared += 1;
        let wanted = self.recent.len() as f64 * ABOVE;
        let strayed = f64::from(self.above) > wanted * (1.0 + STRAYED) || f64::from(self.reached) < wanted * (1.0 - STRAYED);
        if self.recent.len() >= MIN_COMPARISONS && strayed {
            self.estimate(wanted);
        }
    }

    /// Estimates the quantile, above which `wanted` of the comparisons lie, and the shift.
    fn estimate(&mut self, wanted: f64) {
        let mut sorted = self.recent.clone();
        let at = sorted.len() - 1 - wanted as usize;
        let (_, &mut quantile, _) = sorted.select_nth_unstable_by(at, f32::total_cmp);
        let count = |within: fn(f32, f32) -> bool| self.recent.iter().filter(|&&g| within(g, quantile)).count() as u32;
        (self.quantile, self.above, self.reached) = (quantile, count(|g, q| g > q), count(|g, q| g >= q));
        self.shift = (f64::from(quantile) - SLACK).max(0.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the reference's own 95% point is in these tests.
    const REFERENCE: f32 = 2.0;

    /// A number between 0 and `scale` that belongs to `i`.
    fn uniform(i: u64, scale: f64) -> f32 {
        ((hash::mix(i) >> 40) as f64 / f64::from(1_u32 << 24) * scale) as f32
    }

    #[test]
    fn the_shift_is_how_far_the_quantile_lies_beyond_the_references() {
        let mut baseline = SimilarityBaseline::new(1);
        (0..MIN_COMPARISONS as u64 - 1).for_each(|i| baseline.note(uniform(i, 20.0) - REFERENCE));
        assert!(baseline.shift.abs() < 1e-12, "too few comparisons to say");
        (0..2 * COMPARISONS as u64).for_each(|i| baseline.note(uniform(1 << 20 | i, 20.0) - REFERENCE));
        // Uniform up to 20: the 95% point is 19.
        assert!((baseline.shift - (19.0 - f64::from(REFERENCE) - SLACK)).abs() < 0.4, "{}", baseline.shift);
        (0..2 * COMPARISONS as u64).for_each(|i| baseline.note(uniform(1 << 30 | i, 2.0) - REFERENCE));
        assert!(baseline.shift.abs() < 1e-12, "the drift is over: {}", baseline.shift);
    }

    #[test]
    fn the_counts_are_what_a_count_over_the_ring_gives() {
        let mut baseline = SimilarityBaseline::new(1);
        for i in 0..3 * COMPARISONS as u64 {
            baseline.note(uniform(i, 5.0) - REFERENCE);
            let count = |within: fn(f32, f32) -> bool| baseline.recent.iter().filter(|&&g| within(g, baseline.quantile)).count();
            assert_eq!(
                (baseline.above as usize, baseline.reached as usize),
                (count(|g, q| g > q), count(|g, q| g >= q)),
                "after {i}"
            );
        }
    }
}
