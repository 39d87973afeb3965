//! What is remembered of one client's votes: which of its rows count as evidence about how its rows are distributed, and what
//! they said ([`crate::judge::distribution`] weighs them against everybody's).
//!
//! A row *votes* only if it is new to its client and no one-feature edit of a row that voted. Health checks, retries, jittering
//! coordinates and what-if sliders so have a vote or two at most, and edits are left to structure evidence.

use crate::event::EventTime;
use crate::hash;
use crate::judge::common_cause::Wait;
use crate::judge::evidence::{Detector, Factors};
use crate::prefetch;
use crate::signal::codes::{Coder, Codes};
use crate::signal::cuts::{CUTS, REPORTED_CUT};
use crate::signal::density::statistic::{Cells, DensityStatistic, PerStatistic};
use crate::signal::normal_scores;

/// Rows whose codes are kept per client. Chosen: an edit follows soon after the row that it edits, and a client must cost a few kilobytes.
const RECENT_VOTES: usize = 32;
/// Words of the set of rows that were seen and its bits, of which a row sets two (a Bloom filter, Bloom 1970). Chosen: 64 bytes
/// hold up to 177 rows before half of the bits are set.
const SEEN_WORDS: usize = 8;
const SEEN_BITS: usize = SEEN_WORDS * 64;
/// Bits set at which the set is started afresh: a set that is half full says "seen" to a quarter of new rows (two bits a row).
const SEEN_FULL: u32 = SEEN_BITS as u32 / 2;
/// Features in which an edit differs from its row.
const EDIT: u16 = 1;
/// Highest cell of a p-value that is odd: p ≤ 0.005, five honest rows in a thousand for each statistic.
const ODD_CELL: u8 = 1;

/// A row that may vote, and its place among the recent rows. [`ClientDistribution::may_vote`] makes it and
/// [`ClientDistribution::keep_scores`] consumes it, so that scores are kept for a row that was admitted, and once.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "the scores of an admitted row are kept with `keep_scores`"]
pub struct AdmittedRow {
    place: usize,
}

/// What distribution evidence remembers of a client.
#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct ClientDistribution {
    /// Evidence.
    pub detector: Detector,
    /// Votes so far.
    pub votes: u32,
    /// Votes with p ≤ cut, by statistic and cut; read once, at the end of warm-up.
    pub(in crate::judge) exceeded: PerStatistic<[u16; CUTS.len()]>,
    /// Fine codes of the last [`RECENT_VOTES`] rows that voted, one row after the other, in a ring.
    recent: Vec<u16>,
    /// A hash of either half of each of these rows: rows that differ in one feature have a half in common.
    halves: Vec<[u16; 2]>,
    /// How near each row is to the decision boundary: its p-value, in 65535ths.
    near: Vec<u16>,
    /// Normal scores of each row, a byte each.
    scores: Vec<u8>,
    /// Place of the next row once the ring is full.
    recent_next: usize,
    seen: [u64; SEEN_WORDS],
    /// Votes before evidence first became suspicious.
    pub(in crate::judge) clean: u32,
    /// When evidence first became suspicious.
    pub suspicious_since: Option<EventTime>,
    /// Since when its detection waits for the model's drift test.
    pub(in crate::judge) held_since: Option<EventTime>,
    /// Its wait for what other callers show, if it ever had to ([`crate::judge::common_cause`]).
    pub(crate) wait: Option<Wait>,
    /// Its votes among those of the peers.
    pub(in crate::judge) peer_votes: u8,
    /// Largest evidence so far.
    pub peak: f64,
    /// Cells of the newest vote.
    pub newest_cells: Cells,
    /// Whether one or two features explain the evidence, and at how many votes that was last tested.
    pub explained: Option<(bool, u32)>,
}

// === impl ClientDistribution ===

impl ClientDistribution {
    /// Prefetches itself.
    #[inline]
    pub fn prefetch(&self) {
        prefetch::value(&self.detector);
        prefetch::value(&self.exceeded);
        prefetch::value(&self.seen);
        prefetch::value(&self.seen[SEEN_WORDS - 1]);
        prefetch::value(&self.halves);
        prefetch::value(&self.scores);
        prefetch::value(&self.peak);
    }

    /// Prefetches what lies elsewhere in memory.
    #[inline]
    pub fn prefetch_rows(&self) {
        prefetch::slice(&self.halves);
        prefetch::slice(&self.near);
    }

    /// Admits a row that may vote, and remembers it; `None` if it is a repeat or an edit. `near` is the p-value of its nearness to the boundary. `salt` must be the
    /// deployment's: a client that could compute which rows pass for seen would send no others.
    #[inline]
    pub(in crate::judge) fn may_vote(&mut self, codes: &Codes, near: f64, salt: u64) -> Option<AdmittedRow> {
        let width = codes.fine.len();
        let (left, right) = codes.fine.split_at(width / 2);
        let (left, right) = (hash::codes(salt, left), hash::codes(salt, right));
        let (hash, halves) = (hash::mix2(left, right), [left as u16, right as u16]);
        let bits = [hash as usize % SEEN_BITS, (hash >> 20) as usize % SEEN_BITS];
        if bits.iter().all(|b| self.seen[b / 64] >> (b % 64) & 1 == 1) || self.is_edit(codes, halves) {
            return None;
        }
        // The recent rows remain.
        if self.seen.iter().map(|w| w.count_ones()).sum::<u32>() > SEEN_FULL {
            self.seen = [0; SEEN_WORDS];
        }
        bits.iter().for_each(|b| self.seen[b / 64] |= 1 << (b % 64));
        Some(self.remember(codes, halves, near))
    }

    /// Whether a row is a recent one, or a one-feature edit of it.
    #[inline]
    fn is_edit(&self, codes: &Codes, halves: [u16; 2]) -> bool {
        // Sixteen-bit sums that need no overflow check are taken several at once.
        let differ = |row: &[u16]| row.iter().zip(&codes.fine).fold(0_u16, |n, (a, b)| n.wrapping_add(u16::from(a != b)));
        // The halves lie together in memory and rule out all but a few rows; the codes do not.
        let half_equal = |other: &[u16; 2]| (other[0] == halves[0]) | (other[1] == halves[1]);
        let mut rows = self.halves.iter().zip(self.recent.chunks_exact(codes.fine.len().max(1)));
        rows.any(|(h, row)| half_equal(h) && differ(row) <= EDIT)
    }

    /// Puts a row into the ring, in place of the oldest if it is full; returns its place.
    #[inline]
    fn remember(&mut self, codes: &Codes, halves: [u16; 2], near: f64) -> AdmittedRow {
        let width = codes.fine.len();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a p-value is at most 1")]
        let p = (near * f64::from(u16::MAX)).ceil() as u16;
        if self.recent.len() < RECENT_VOTES * width {
            let place = self.halves.len();
            self.recent.extend_from_slice(&codes.fine);
            self.halves.push(halves);
            self.near.push(p);
            AdmittedRow { place }
        } else {
            let place = self.recent_next;
            let at = place * width;
            self.recent[at..at + width].copy_from_slice(&codes.fine);
            self.halves[place] = halves;
            self.near[place] = p;
            self.recent_next = (place + 1) % RECENT_VOTES;
            AdmittedRow { place }
        }
    }

    /// Takes the cells of a vote; returns the evidence.
    pub(in crate::judge) fn note_vote(&mut self, cells: Cells, factors: &Factors) -> f64 {
        self.detector.update(cells, factors);
        self.newest_cells = cells;
        self.votes += 1;
        for (counts, &cell) in self.exceeded.iter_mut().zip(cells.iter()) {
            for count in counts.iter_mut().skip(usize::from(cell)) {
                *count = count.saturating_add(1);
            }
        }
        let total = self.detector.total();
        self.peak = self.peak.max(total);
        total
    }

    /// Keeps the normal scores of an admitted row.
    pub(crate) fn keep_scores(&mut self, AdmittedRow { place }: AdmittedRow, normal: &[f32]) {
        let at = place * normal.len();
        if self.scores.len() < at + normal.len() {
            self.scores.resize(at + normal.len(), 0);
        }
        self.scores[at..at + normal.len()].iter_mut().zip(normal).for_each(|(byte, &score)| *byte = normal_scores::to_byte(score));
    }

    /// Calls `each` with the codes of every recent vote, in no particular order, and the p-value of its nearness to the boundary.
    pub fn recent(&self, coder: &Coder, mut each: impl FnMut(&Codes, f64)) {
        let mut codes = Codes::default();
        let width = coder.features().len().max(1);
        let scores = self.scores.len() / self.halves.len().max(1);
        for (nth, (row, &near)) in self.recent.chunks_exact(width).zip(&self.near).enumerate() {
            codes.fine.clear();
            codes.fine.extend_from_slice(row);
            coder.coarsen(&mut codes);
            codes.normal.clear();
            codes.normal.extend(self.scores.iter().skip(nth * scores).take(scores).map(|&byte| normal_scores::from_byte(byte)));
            each(&codes, f64::from(near.max(1)) / f64::from(u16::MAX));
        }
    }

    /// Votes before evidence first became suspicious; all of them if it never did.
    pub fn clean_votes(&self) -> u32 {
        if self.suspicious_since.is_some() { self.clean } else { self.votes }
    }

    /// Starts its evidence afresh; its rows stay.
    pub fn restart(&mut self) {
        self.detector.reset();
        (self.suspicious_since, self.held_since, self.wait) = (None, None, None);
        self.explained = None;
    }

    /// Whether votes count in the evidence that are not among the recent ones.
    pub fn has_forgotten_votes(&self) -> bool {
        self.votes as usize > RECENT_VOTES
    }

    /// Whether one or two features were found to explain the evidence.
    pub fn is_explained(&self) -> bool {
        self.explained.is_some_and(|(explained, _)| explained)
    }

    /// Share of votes with p ≤ [`CUTS`]\[[`REPORTED_CUT`]\] for a statistic, 0 to 1.
    pub fn exceedance(&self, statistic: DensityStatistic) -> f64 {
        f64::from(self.exceeded[statistic][REPORTED_CUT]) / f64::from(self.votes.max(1))
    }

    /// Whether any statistic of the newest vote is in one of its two lowest cells.
    pub fn is_odd(&self) -> bool {
        self.newest_cells.iter().any(|&cell| cell <= ODD_CELL)
    }

    /// Bytes held beyond the struct itself.
    pub fn bytes(&self) -> usize {
        self.recent.capacity() * size_of::<u16>()
            + self.halves.capacity() * size_of::<[u16; 2]>()
            + self.near.capacity() * size_of::<u16>()
            + self.scores.capacity()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(i: u64) -> Codes {
        Codes { fine: (0..8).map(|j| (hash::mix2(i, j) % 20) as u16).collect(), ..Codes::default() }
    }

    #[test]
    fn a_repeat_and_an_edit_of_one_feature_do_not_vote() {
        let mut client = ClientDistribution::default();
        assert!(client.may_vote(&row(1), 1.0, 7).is_some());
        assert_eq!(client.may_vote(&row(1), 1.0, 7), None);
        for feature in 0..8 {
            let mut edited = row(1);
            edited.fine[feature] += 1;
            assert!(client.may_vote(&edited, 1.0, 7).is_none(), "feature {feature}");
            edited.fine[(feature + 3) % 8] += 1;
            assert!(client.clone().may_vote(&edited, 1.0, 7).is_some(), "two features");
        }
    }

    #[test]
    fn rows_that_pass_for_seen_in_one_deployment_vote_in_another() {
        let voted = |salt| {
            let mut client = ClientDistribution::default();
            (0..60).for_each(|i| {
                let _ = client.may_vote(&row(i), 1.0, salt);
            });
            client
        };
        let (here, there) = (voted(1), voted(2));
        let refused: Vec<Codes> = (1_000..9_000).map(row).filter(|codes| here.clone().may_vote(codes, 1.0, 1).is_none()).collect();
        let vote = refused.iter().filter(|codes| there.clone().may_vote(codes, 1.0, 2).is_some()).count();
        assert!(refused.len() > 50 && vote * 10 > refused.len() * 8, "{vote} of {}", refused.len());
    }
}
