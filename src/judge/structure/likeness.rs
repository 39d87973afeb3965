//! How alike live rows are, beyond what the reference's rows are: what drift has added to likeness is no evidence.
//!
//! A reservoir of rows that linked to nothing (copies, as it is small and they lie far apart in the history) is compared with each new such row; the 95% point of those comparisons, less the
//! reference's own, is the shift that every comparison is corrected by. Each client gives at most every fifth of its rows, so
//! that none dominates.

use crate::hash;
use crate::judge::client::rows::ClientStructure;
use crate::signal::similarity::{Probe, Similarity};
use crate::window::clients::SlotRef;

/// Rows in the reservoir that measures how alike live rows are, and comparisons kept.
const RESERVOIR: usize = 128;
const LIKENESSES: usize = 2048;
/// Rows in the reservoir before it is compared with, and comparisons a row.
const PARTNERS: usize = 32;
/// Comparisons between two looks at the quantile, and before the first.
const LOOK_EVERY: u64 = 128;
const ENOUGH: usize = 1024;
/// Nats of shift that are within the noise of the estimate.
const SLACK: f64 = 0.5;

/// Likeness of live rows.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub(super) struct Likenesses {
    /// Nats of likeness that drift explains.
    pub(super) shift: f64,
    /// The rows' clients, and their codes one after the other.
    clients: Vec<SlotRef>,
    codes: Vec<u16>,
    next: usize,
    recent: Vec<f32>,
    seen: u64,
    random: u64,
}

// === impl Likenesses ===

impl Likenesses {
    pub(super) fn new(salt: u64) -> Self {
        Self {
            shift: 0.0,
            clients: Vec::new(),
            codes: Vec::new(),
            next: 0,
            recent: Vec::new(),
            seen: 0,
            random: hash::mix(salt ^ 99),
        }
    }

    /// An unlinked row (its codes, and prepared as `probe`) measures how alike live rows are.
    pub(super) fn sample(
        &mut self,
        row: &[u16],
        at: SlotRef,
        state: &mut ClientStructure,
        (similarity, probe): (&Similarity, &Probe),
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
                    let g = similarity.likeness(probe, &self.codes[other * width..(other + 1) * width]);
                    self.note(g, similarity.g95);
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
        if self.recent.len() < LIKENESSES {
            self.recent.push(g);
        } else {
            self.recent[(self.seen % LIKENESSES as u64) as usize] = g;
        }
        self.seen += 1;
        if self.seen.is_multiple_of(LOOK_EVERY) && self.recent.len() >= ENOUGH {
            let mut sorted = self.recent.clone();
            let at95 = (sorted.len() as f64 * 0.95) as usize;
            let (_, g95, _) = sorted.select_nth_unstable_by(at95, f32::total_cmp);
            self.shift = (f64::from(*g95) - reference_g95 - SLACK).max(0.0);
        }
    }
}
