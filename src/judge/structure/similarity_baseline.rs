//! How alike live rows are, beyond what the reference's rows are: what drift has added to likeness is no evidence.
//!
//! A reservoir of rows that linked to nothing (copies, as it is small and they lie far apart in the history) is compared with each new such row; the 95% point of those comparisons, less the
//! reference's own, is the shift that every comparison is corrected by. Each client gives at most every fifth of its rows, so
//! that none dominates.

use crate::hash;
use crate::judge::client::rows::ClientStructure;
use crate::signal::similarity::{PreparedRow, Similarity};
use crate::window::clients::SlotRef;

/// Rows in the reservoir that measures how alike live rows are.
const RESERVOIR: usize = 128;
/// Comparisons a row, and rows in the reservoir before it is compared with.
const PARTNERS: usize = 16;
/// Comparisons kept: those of as many rows as the reservoir holds, so that both are of one time.
const LIKENESSES: usize = RESERVOIR * PARTNERS;
/// Comparisons before the first look at the quantile.
const ENOUGH: usize = 1024;
/// Share of the comparisons that lie above the quantile, and how far, as a part of that share, what is counted above the last one may
/// be from it before the next look: a tenth of an exponential tail's mass is a tenth of its scale, less than [`SLACK`].
const ABOVE: f64 = 0.05;
const STRAYED: f64 = 0.1;
/// Nats of shift that are within the noise of the estimate.
const SLACK: f64 = 0.5;

/// Likeness of live rows.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub(super) struct SimilarityBaseline {
    /// Nats of likeness that drift explains.
    pub(super) shift: f64,
    /// The rows' clients, and their codes one after the other.
    clients: Vec<SlotRef>,
    codes: Vec<u16>,
    next: usize,
    recent: Vec<f32>,
    seen: u64,
    /// The quantile at the last look, and how many of the comparisons lie above it now, and how many reach it.
    quantile: f32,
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
            seen: 0,
            quantile: f32::INFINITY,
            above: 0,
            reached: 0,
            random: hash::mix(salt ^ 99),
        }
    }

    /// An unlinked row (its codes, and prepared as `probe`) measures how alike live rows are.
    pub(super) fn sample(
        &mut self,
        row: &[u16],
        at: SlotRef,
        state: &mut ClientStructure,
        (similarity, probe): (&Similarity, &PreparedRow),
    ) {
        // At most every fifth row of a client, so that none dominates.
        if state.rows < state.last_sampled + 5 && state.last_sampled > 0 {
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
                    let g = similarity.score(probe, &self.codes[other * width..(other + 1) * width]);
                    self.note(g, similarity.g95());
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

    fn note(&mut self, g: f32, reference_g95: f64) {
        self.above += u32::from(g > self.quantile);
        self.reached += u32::from(g >= self.quantile);
        if self.recent.len() < LIKENESSES {
            self.recent.push(g);
        } else {
            let place = (self.seen % LIKENESSES as u64) as usize;
            let gone = std::mem::replace(&mut self.recent[place], g);
            self.above -= u32::from(gone > self.quantile);
            self.reached -= u32::from(gone >= self.quantile);
        }
        self.seen += 1;
        let wanted = self.recent.len() as f64 * ABOVE;
        let strayed = f64::from(self.above) > wanted * (1.0 + STRAYED) || f64::from(self.reached) < wanted * (1.0 - STRAYED);
        if self.recent.len() >= ENOUGH && strayed {
            let mut sorted = self.recent.clone();
            let at = sorted.len() - 1 - wanted as usize;
            let (_, &mut quantile, _) = sorted.select_nth_unstable_by(at, f32::total_cmp);
            let count = |within: fn(f32, f32) -> bool| self.recent.iter().filter(|&&g| within(g, quantile)).count() as u32;
            (self.quantile, self.above, self.reached) = (quantile, count(|g, q| g > q), count(|g, q| g >= q));
            self.shift = (f64::from(quantile) - reference_g95 - SLACK).max(0.0);
        }
    }
}
