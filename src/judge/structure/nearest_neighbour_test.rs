//! How much of "nearest" is coincidence: races of live rows against reference rows (ADR 0008).
//!
//! If new rows, the N live rows and the M reference rows are draws from one world, every one of them is equally likely to be
//! the nearest, whatever the local density: the live rows win with probability N/(N + M). That calibrates coincidence *locally*
//! where a tail of global likeness does not, and what is measured of it gives the effective M when the world has drifted away
//! from the reference.

use std::collections::VecDeque;

use rustc_hash::FxHashMap;

use crate::window::clients::SlotRef;
use crate::window::history::RowId;

/// Tests kept, and of one client among them: enough that a client or a small campaign cannot move the estimate far.
const RACES: usize = 512;
const RACES_EACH: u8 = 8;
/// Rows of traffic that race against the reference: few enough that all of them are of the present world, also just after it
/// changed.
pub(super) const RACE_SPAN: u64 = 2048;
/// Tests before the estimate is believed.
const MIN_RACES: usize = 64;

/// Tests that honest clients win with their own rows at most: of those with a dozen rows or more in the recorded calm logs the median
/// wins one in twenty, and all but people who edit one form less than three in ten.
const HONEST_WINS: f64 = 0.3;
/// How much denser an honest client's own part of the world may be than the world: it lives in a third of it, or less but evenly.
const PART_OF_THE_WORLD: f64 = 3.0;
/// Beyond this bound a won race says too little to add up.
const HONEST_WINS_MOST: f64 = 0.7;
/// Tests that a search wins: its clouds and bisections win nearly all, its jumps lose.
const SEARCH_WINS: f64 = 0.9;

/// How often does a live row, rather than a reference row, turn out to be the nearest to a new one?
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub(super) struct NearestNeighbourTest {
    reference: f64,
    recent: VecDeque<(SlotRef, bool)>,
    /// Tests in `recent` by client, so that no row scans them.
    each: FxHashMap<SlotRef, u8>,
    won: u32,
    effective: f64,
}

// === impl NearestNeighbourTest ===

impl NearestNeighbourTest {
    pub(super) fn new(reference: usize) -> Self {
        let reference = reference.max(1) as f64;
        Self { reference, recent: VecDeque::with_capacity(RACES + 1), each: FxHashMap::default(), won: 0, effective: reference }
    }

    /// Whether a race of this client would be noted.
    pub(super) fn open_to(&self, at: SlotRef) -> bool {
        self.each.get(&at).is_none_or(|&own| own < RACES_EACH)
    }

    /// Notes a race of a row that is no part of its sender's own trail, against `live` rows.
    pub(super) fn note(&mut self, at: SlotRef, won: bool, live: f64) {
        let own = self.each.entry(at).or_default();
        if *own >= RACES_EACH {
            return;
        }
        *own += 1;
        self.recent.push_back((at, won));
        self.won += u32::from(won);
        if self.recent.len() > RACES
            && let Some((gone, old)) = self.recent.pop_front()
        {
            self.won -= u32::from(old);
            self.forget(gone);
        }
        if self.recent.len() >= MIN_RACES {
            let n = self.recent.len() as f64;
            let share = f64::from(self.won) / n;
            // Two standard errors to the side of coincidence.
            let upper = (share + 2.0 * (share * (1.0 - share) / n).sqrt() + 1.0 / n).min(1.0 - 1.0 / n);
            self.effective = (live * (1.0 - upper) / upper).clamp(1.0, self.reference);
        }
    }

    /// One race of a client left; a client without any leaves the table.
    fn forget(&mut self, gone: SlotRef) {
        if let Some(count) = self.each.get_mut(&gone) {
            *count -= 1;
            if *count == 0 {
                self.each.remove(&gone);
            }
        }
    }

    /// ln P(one of `rows` given rows is this near by coincidence), from how near the nearest reference row is: the mass around
    /// a row within the distance of its nearest of M neighbours is about 1/M, and shrinks with likeness as the global tail does.
    pub(super) fn local_log_p(&self, link: f64, reference: f64, rows: f64) -> f64 {
        (rows / self.effective).ln() + link - reference.min(0.0)
    }

    /// Reference rows that live rows race against, as far as the present world is theirs.
    pub(super) fn effective(&self) -> f64 {
        self.effective
    }

    /// Evidence of a race of own rows against the reference's, in nats: for a search, whose next row is nearly always near to its last
    /// ones, against the bound on what honest clients win. `expected` is their share among the rows that race. They live in a part
    /// of the world, so a multiple of it is granted; and twice what peers win now, and three in ten at least.
    pub(super) fn own_evidence(&self, won: bool, expected: f64) -> f64 {
        if self.recent.len() < MIN_RACES {
            return 0.0;
        }
        let peers = f64::from(self.won) / self.recent.len() as f64;
        let honest = (2.0 * peers).max(PART_OF_THE_WORLD * expected).max(HONEST_WINS);
        if honest > HONEST_WINS_MOST {
            // The reference is far from everybody: the world has drifted, or it is too small to race.
            return 0.0;
        }
        if won { (SEARCH_WINS / honest).ln() } else { ((1.0 - SEARCH_WINS) / (1.0 - honest)).ln() }
    }

    /// Surprising links up to `row`, and the row that they are counted from: one more than `before`, or afresh since the row
    /// `nearest` if so they are less likely to be coincidence. The number of possible starts is in the bound that this is compared
    /// with (Page 1954).
    pub(super) fn link(&self, before: (u32, RowId), nearest: RowId, row: RowId) -> (u32, RowId) {
        let going_on = (before.0 + 1, before.1);
        let afresh = (1, nearest);
        let evidence = |(links, anchor): (u32, RowId)| self.together(links, row.saturating_sub(anchor));
        if evidence(afresh) > evidence(going_on) { afresh } else { going_on }
    }

    /// Evidence of `links` races won within `rows` rows of traffic against their being coincidence: each is won with
    /// probability N/(N + M), N counting only the rows since the component began.
    pub(super) fn together(&self, links: u32, rows: u64) -> f64 {
        let n = rows.max(1) as f64;
        f64::from(links) * ((n + self.effective) / n).ln()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(slot: u32) -> SlotRef {
        SlotRef { slot, generation: 1 }
    }

    #[test]
    fn one_client_cannot_move_the_estimate_alone() {
        let mut races = NearestNeighbourTest::new(4096);
        for i in 0..256 {
            races.note(client(i), false, 100.0);
        }
        let calm = races.effective;
        (0..10_000).for_each(|_| races.note(client(9_999), true, 100.0));
        assert_eq!(races.won, u32::from(RACES_EACH));
        assert!(races.effective < calm);
        (0..600).for_each(|i| races.note(client(20_000 + i), false, 100.0));
        assert_eq!((races.won, races.recent.len(), races.each.len()), (0, RACES, RACES), "what left is forgotten");
    }

    #[test]
    fn links_are_worth_less_the_longer_they_take() {
        let races = NearestNeighbourTest::new(4096);
        assert!(races.together(3, 10) > 3.0 * races.together(1, 1_000));
        assert!((races.together(1, 4096) - 2_f64.ln()).abs() < 1e-12, "as many live rows as reference rows: a coin");
    }

    #[test]
    fn own_races_accuse_who_wins_nearly_all_and_nobody_else() {
        let mut races = NearestNeighbourTest::new(8_000);
        let after = |races: &NearestNeighbourTest, wins: u32, of: u32, expected: f64| {
            let mut evidence = 0.0_f64;
            for nth in 0..of {
                evidence = (evidence + races.own_evidence(nth * wins / of != (nth + 1) * wins / of, expected)).max(0.0);
            }
            evidence
        };
        assert!(after(&races, 20, 20, 0.0) < 1e-9, "nothing is known of peers yet");
        // Peers win one race in twenty.
        (0..400_u32).for_each(|nth| races.note(SlotRef { slot: nth, generation: 1 }, nth % 20 == 0, 16.0));
        assert!(after(&races, 20, 20, 0.0) > 20.0, "a search");
        assert!(after(&races, 6, 20, 0.0) < 5.0, "an honest client in its part of the world");
        assert!(after(&races, 400, 400, 0.5) < 1e-9, "a client with as many rows as the reference");
        // The world drifts away: now everybody's own rows are nearer.
        (0..512_u32).for_each(|nth| races.note(SlotRef { slot: 1000 + nth, generation: 1 }, nth % 2 == 0, 16.0));
        assert!(after(&races, 20, 20, 0.0) < 1e-9, "in a drifted world nobody");
    }
}
