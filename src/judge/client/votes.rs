//! What is remembered of one client's votes: which of its rows count as evidence about how its rows are distributed, and what
//! they said ([`crate::judge::distribution`] weighs them against everybody's).
//!
//! A row *votes* only if it is new to its client and no one-feature edit of a row that voted: health checks, retries, jittering
//! coordinates and what-if sliders have at most a vote or two, and edits are left to structure evidence.

use crate::event::EventTime;
use crate::hash;
use crate::judge::evidence::Detector;
use crate::prefetch;
use crate::signal::copula;
use crate::signal::density::{CUTS, Cells, Coder, Codes, STATISTICS};

/// Rows whose codes are kept per client for the vote gate.
const RECENT_VOTES: usize = 32;

/// What distribution evidence remembers of a client.
#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct ClientDistribution {
    /// Evidence.
    pub detector: Detector,
    /// Votes so far.
    pub votes: u32,
    /// Votes with p ≤ cut, by statistic and cut; read once, at the end of warm-up.
    pub(in crate::judge) exceeded: [[u16; CUTS.len()]; STATISTICS],
    recent: Vec<u16>,
    /// A hash of either half of each of them: rows that differ in one feature have a half in common.
    halves: Vec<[u16; 2]>,
    /// How near each of them is to the decision boundary: its p-value, in 65535ths.
    near: Vec<u16>,
    /// Their normal scores, a byte each, and where the newest one's go.
    scores: Vec<u8>,
    newest: usize,
    recent_next: usize,
    seen: [u64; 8],
    /// Votes before evidence first became suspicious.
    pub(in crate::judge) clean: u32,
    /// When evidence first became suspicious.
    pub suspicious_since: Option<EventTime>,
    pub(in crate::judge) held_since: Option<EventTime>,
    pub(in crate::judge) peer_votes: u8,
    /// Largest evidence so far.
    pub peak: f64,
    /// Cells of the newest vote.
    pub lowest: Cells,
    /// Whether one or two features explain the evidence, and at how many votes that was last asked.
    pub explained: Option<(bool, u32)>,
}

// === impl ClientDistribution ===

impl ClientDistribution {
    /// Asks for itself.
    #[inline]
    pub fn prefetch(&self) {
        prefetch::value(&self.detector);
        prefetch::value(&self.exceeded);
        prefetch::value(&self.seen);
        prefetch::value(&self.seen[7]);
        prefetch::value(&self.halves);
        prefetch::value(&self.scores);
        prefetch::value(&self.peak);
    }

    /// Asks for what lies elsewhere.
    #[inline]
    pub fn prefetch_rows(&self) {
        prefetch::slice(&self.halves);
        prefetch::slice(&self.near);
    }

    /// Whether this row, of a p-value of nearness to the boundary, may vote; if so it is remembered. `salt` must be the deployment's: who
    /// could compute which rows pass for seen would send no others.
    #[inline]
    pub(in crate::judge) fn may_vote(&mut self, codes: &Codes, near: f64, salt: u64) -> bool {
        let width = codes.fine.len();
        let (left, right) = codes.fine.split_at(width / 2);
        let (left, right) = (hash::codes(salt, left), hash::codes(salt, right));
        let (hash, halves) = (hash::mix2(left, right), [left as u16, right as u16]);
        let bits = [hash as usize & 511, (hash >> 20) as usize & 511];
        if bits.iter().all(|b| self.seen[b / 64] >> (b % 64) & 1 == 1) {
            return false;
        }
        // Sums in sixteen bits, and none that could overflow, are taken several at once.
        let differ = |row: &[u16]| row.iter().zip(&codes.fine).fold(0_u16, |n, (a, b)| n.wrapping_add(u16::from(a != b)));
        // So all but a few are told by their halves, which lie together, and not by their codes, which do not.
        let half_equal = |other: &[u16; 2]| (other[0] == halves[0]) | (other[1] == halves[1]);
        let mut rows = self.halves.iter().zip(self.recent.chunks_exact(width.max(1)));
        if rows.any(|(h, row)| half_equal(h) && differ(row) <= 1) {
            return false;
        }
        // A set that is half full says "seen" to a quarter of new rows: start it afresh, the recent rows remain.
        if self.seen.iter().map(|w| w.count_ones()).sum::<u32>() > 256 {
            self.seen = [0; 8];
        }
        bits.iter().for_each(|b| self.seen[b / 64] |= 1 << (b % 64));
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a p-value is at most 1")]
        let p = (near * f64::from(u16::MAX)).ceil() as u16;
        if self.recent.len() < RECENT_VOTES * width {
            self.newest = self.halves.len();
            self.recent.extend_from_slice(&codes.fine);
            self.halves.push(halves);
            self.near.push(p);
        } else {
            self.newest = self.recent_next;
            let at = self.recent_next * width;
            self.recent[at..at + width].copy_from_slice(&codes.fine);
            self.halves[self.recent_next] = halves;
            self.near[self.recent_next] = p;
            self.recent_next = (self.recent_next + 1) % RECENT_VOTES;
        }
        true
    }

    /// Keeps the normal scores of the row that was just let vote.
    pub(crate) fn keep_scores(&mut self, normal: &[f32]) {
        let at = self.newest * normal.len();
        if self.scores.len() < at + normal.len() {
            self.scores.resize(at + normal.len(), 0);
        }
        self.scores[at..at + normal.len()].iter_mut().zip(normal).for_each(|(byte, &score)| *byte = copula::to_byte(score));
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
            codes.normal.extend(self.scores.iter().skip(nth * scores).take(scores).map(|&byte| copula::from_byte(byte)));
            each(&codes, f64::from(near.max(1)) / f64::from(u16::MAX));
        }
    }

    /// Whether one or two features were found to explain the evidence.
    pub fn is_explained(&self) -> bool {
        self.explained.is_some_and(|(explained, _)| explained)
    }

    /// Share of votes with p ≤ [`CUTS`]\[2\] for a statistic, 0 to 1.
    pub fn exceedance(&self, statistic: usize) -> f64 {
        f64::from(self.exceeded[statistic][2]) / f64::from(self.votes.max(1))
    }

    /// Whether any statistic of the newest vote is in one of its two lowest cells.
    pub fn is_odd(&self) -> bool {
        self.lowest.iter().any(|&cell| cell <= 1)
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
        assert!(client.may_vote(&row(1), 1.0, 7));
        assert!(!client.may_vote(&row(1), 1.0, 7));
        for feature in 0..8 {
            let mut edited = row(1);
            edited.fine[feature] += 1;
            assert!(!client.may_vote(&edited, 1.0, 7), "feature {feature}");
            edited.fine[(feature + 3) % 8] += 1;
            assert!(client.clone().may_vote(&edited, 1.0, 7), "two features");
        }
    }

    #[test]
    fn rows_that_pass_for_seen_in_one_deployment_vote_in_another() {
        let voted = |salt| {
            let mut client = ClientDistribution::default();
            (0..60).for_each(|i| {
                client.may_vote(&row(i), 1.0, salt);
            });
            client
        };
        let (here, there) = (voted(1), voted(2));
        let refused: Vec<Codes> = (1_000..9_000).map(row).filter(|codes| !here.clone().may_vote(codes, 1.0, 1)).collect();
        let vote = refused.iter().filter(|codes| there.clone().may_vote(codes, 1.0, 2)).count();
        assert!(refused.len() > 50 && vote * 10 > refused.len() * 8, "{vote} of {}", refused.len());
    }
}
