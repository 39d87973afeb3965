//! How often is the nearest row a live one by coincidence? A test of live rows against reference rows (ADR 0008, ADR 0014).
//!
//! Suppose that a new row, the N live rows and the M reference rows are draws from one distribution. Then each of the N + M rows is
//! equally likely to be the nearest to the new one, whatever the local density: a live row is nearest with probability N/(N + M). The
//! test is *won* when it is. Counting wins calibrates coincidence *locally*, where a tail of global similarity does not. When the
//! traffic has drifted away from the reference, live rows win more often; the observed share of wins then gives the effective M.
//!
//! The same class counts two tests: rows of anybody, and rows of the sender itself.

use std::collections::VecDeque;

use rustc_hash::FxHashMap;

use crate::judge::campaign::UnexplainedLinks;
use crate::window::clients::SlotRef;
use crate::window::history::RowId;

/// Tests kept. Chosen: the standard error of a share of wins is then 0.022 at most.
const TESTS: usize = 512;
/// Tests kept of one client: a 64th of all, so that a client or a small campaign cannot move the estimate far.
const TESTS_PER_CLIENT: u8 = 8;
/// Rows of traffic that are tested against the reference. Chosen: few enough that all of them come from the present distribution, also
/// soon after it changed.
pub(super) const TEST_SPAN: u64 = 2048;
/// Tests before the estimate is used. Chosen: eight clients' worth; the standard error is then 0.06 at most.
const MIN_TESTS: usize = 64;
/// Standard errors added to the observed share of wins, towards coincidence: an upper bound of about 97.5%.
const STANDARD_ERRORS: f64 = 2.0;

/// Share of tests that honest clients win with their own rows at most. Measured on the recorded calm logs (ADR 0014): of the clients with
/// a dozen rows or more the median wins one in twenty, and all but people who edit one form win less than three in ten.
const HONEST_WINS: f64 = 0.3;
/// Factor by which an honest client's region may be denser than the whole distribution. Chosen: the client lives in a third of it.
const REGION_DENSITY: f64 = 3.0;
/// Factor on the share of tests that peers win now. Chosen: an honest client may win twice as often as its peers.
const PEER_FACTOR: f64 = 2.0;
/// Above this bound on honest wins a won test counts for nothing. Chosen: ln([`SEARCH_WINS`]/0.7) is a quarter of a nat.
const MOST_HONEST_WINS: f64 = 0.7;
/// Share of tests that a search wins. Chosen: its clouds and bisections win nearly all tests, its jumps lose.
const SEARCH_WINS: f64 = 0.9;

/// One test's outcome.
#[derive(Clone, Copy, Debug, serde::Serialize, serde::Deserialize)]
struct TestResult {
    client: SlotRef,
    won: bool,
}

/// How often is a live row, rather than a reference row, the nearest to a new one?
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub(super) struct NearestNeighbourTest {
    /// Rows of the reference.
    reference: f64,
    recent: VecDeque<TestResult>,
    /// Number of tests in `recent` by client, so that no row has to scan them.
    per_client: FxHashMap<SlotRef, u8>,
    won: u32,
    /// Reference rows that live rows are tested against, as far as the traffic still follows the reference.
    effective: f64,
}

// === impl NearestNeighbourTest ===

impl NearestNeighbourTest {
    /// For a reference of so many rows.
    pub(super) fn new(reference: usize) -> Self {
        let reference = reference.max(1) as f64;
        Self {
            reference,
            recent: VecDeque::with_capacity(TESTS + 1),
            per_client: FxHashMap::default(),
            won: 0,
            effective: reference,
        }
    }

    /// Whether a test of this client would be noted.
    pub(super) fn is_open_to(&self, client: SlotRef) -> bool {
        self.per_client.get(&client).is_none_or(|&own| own < TESTS_PER_CLIENT)
    }

    /// Notes a test of a row that does not continue its sender's own rows, against `live` rows.
    pub(super) fn note(&mut self, client: SlotRef, won: bool, live: f64) {
        let own = self.per_client.entry(client).or_default();
        if *own >= TESTS_PER_CLIENT {
            return;
        }
        *own += 1;
        self.recent.push_back(TestResult { client, won });
        self.won += u32::from(won);
        if self.recent.len() > TESTS
            && let Some(gone) = self.recent.pop_front()
        {
            self.won -= u32::from(gone.won);
            self.forget(gone.client);
        }
        if self.recent.len() >= MIN_TESTS {
            let n = self.recent.len() as f64;
            let share = f64::from(self.won) / n;
            let upper = (share + STANDARD_ERRORS * (share * (1.0 - share) / n).sqrt() + 1.0 / n).min(1.0 - 1.0 / n);
            self.effective = (live * (1.0 - upper) / upper).clamp(1.0, self.reference);
        }
    }

    /// One test of a client is no longer kept; a client without any leaves the table.
    fn forget(&mut self, client: SlotRef) {
        if let Some(count) = self.per_client.get_mut(&client) {
            *count -= 1;
            if *count == 0 {
                self.per_client.remove(&client);
            }
        }
    }

    /// ln P(one of `rows` given rows is this near by coincidence), from how near the nearest reference row is. The mass within the
    /// distance of the nearest of M neighbours is about 1/M, and it shrinks with similarity as the global tail does.
    pub(super) fn local_log_p(&self, link: f64, reference: f64, rows: f64) -> f64 {
        (rows / self.effective).ln() + link - reference.min(0.0)
    }

    /// Reference rows that live rows are tested against, as far as the traffic still follows the reference.
    pub(super) fn effective(&self) -> f64 {
        self.effective
    }

    /// Evidence, in nats, of one test of a client's own rows: a search's share of wins against a bound on an honest client's.
    /// `expected` is the share of the client's rows among all rows tested. The bound is the largest of: a multiple of `expected`
    /// (clients live in a part of the distribution), a multiple of what peers win now, and [`HONEST_WINS`].
    pub(super) fn own_evidence(&self, won: bool, expected: f64) -> f64 {
        if self.recent.len() < MIN_TESTS {
            return 0.0;
        }
        let peers = f64::from(self.won) / self.recent.len() as f64;
        let honest = (PEER_FACTOR * peers).max(REGION_DENSITY * expected).max(HONEST_WINS);
        if honest > MOST_HONEST_WINS {
            // The reference is far from everybody's rows: the traffic has drifted, or the reference is too small for this test.
            return 0.0;
        }
        if won { (SEARCH_WINS / honest).ln() } else { ((1.0 - SEARCH_WINS) / (1.0 - honest)).ln() }
    }

    /// Counts one more unexplained link, that of `row` to the row `nearest`. The count goes on, or starts afresh at `nearest` if that
    /// is less likely to be coincidence (Page 1954). The bound that the evidence is compared with pays for the choice of the start.
    pub(super) fn link(&self, before: UnexplainedLinks, nearest: RowId, row: RowId) -> UnexplainedLinks {
        let continued = UnexplainedLinks { count: before.count + 1, ..before };
        let afresh = UnexplainedLinks { count: 1, since: nearest };
        let evidence = |links: UnexplainedLinks| self.evidence(links.count, row.saturating_sub(links.since));
        if evidence(afresh) > evidence(continued) { afresh } else { continued }
    }

    /// Evidence, in nats, against the coincidence of `links` won tests within `rows` rows of traffic: each is won with probability
    /// N/(N + M), where N counts only the rows since the first link.
    pub(super) fn evidence(&self, links: u32, rows: u64) -> f64 {
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
        let mut tests = NearestNeighbourTest::new(4096);
        for i in 0..256 {
            tests.note(client(i), false, 100.0);
        }
        let before = tests.effective;
        (0..10_000).for_each(|_| tests.note(client(9_999), true, 100.0));
        assert_eq!(tests.won, u32::from(TESTS_PER_CLIENT));
        assert!(tests.effective < before);
        (0..600).for_each(|i| tests.note(client(20_000 + i), false, 100.0));
        assert_eq!((tests.won, tests.recent.len(), tests.per_client.len()), (0, TESTS, TESTS), "what left is forgotten");
    }

    #[test]
    fn links_are_worth_less_the_longer_they_take() {
        let tests = NearestNeighbourTest::new(4096);
        assert!(tests.evidence(3, 10) > 3.0 * tests.evidence(1, 1_000));
        assert!((tests.evidence(1, 4096) - 2_f64.ln()).abs() < 1e-12, "as many live rows as reference rows: a coin");
    }

    #[test]
    fn own_rows_accuse_a_client_that_wins_nearly_all_tests_and_nobody_else() {
        let mut tests = NearestNeighbourTest::new(8_000);
        let after = |tests: &NearestNeighbourTest, wins: u32, of: u32, expected: f64| {
            let mut evidence = 0.0_f64;
            for nth in 0..of {
                evidence = (evidence + tests.own_evidence(nth * wins / of != (nth + 1) * wins / of, expected)).max(0.0);
            }
            evidence
        };
        assert!(after(&tests, 20, 20, 0.0) < 1e-9, "nothing is known of peers yet");
        // Peers win one test in twenty.
        (0..400_u32).for_each(|nth| tests.note(client(nth), nth % 20 == 0, 16.0));
        assert!(after(&tests, 20, 20, 0.0) > 20.0, "a search");
        assert!(after(&tests, 6, 20, 0.0) < 5.0, "an honest client in its part of the distribution");
        assert!(after(&tests, 400, 400, 0.5) < 1e-9, "a client with as many rows as the reference");
        // The traffic drifts away from the reference: now everybody's own rows are nearer.
        (0..512_u32).for_each(|nth| tests.note(client(1000 + nth), nth % 2 == 0, 16.0));
        assert!(after(&tests, 20, 20, 0.0) < 1e-9, "in drifted traffic nobody");
    }

    #[test]
    fn a_client_is_tested_until_its_share_of_the_tests_is_kept() {
        let mut tests = NearestNeighbourTest::new(4096);
        for nth in 0..TESTS_PER_CLIENT {
            assert!(tests.is_open_to(client(1)), "test {nth}");
            tests.note(client(1), true, 10.0);
        }
        assert!(!tests.is_open_to(client(1)) && tests.is_open_to(client(2)));
        (0..TESTS as u32).for_each(|i| tests.note(client(100 + i), false, 10.0));
        assert!(tests.is_open_to(client(1)), "its tests have left");
    }

    #[test]
    fn the_effective_reference_follows_the_share_of_wins() {
        let mut tests = NearestNeighbourTest::new(4096);
        (0..MIN_TESTS as u32 - 1).for_each(|i| tests.note(client(i), true, 1_000.0));
        assert!((tests.effective() - 4096.0).abs() < 1e-9, "too few tests to say");
        (0..TESTS as u32).for_each(|i| tests.note(client(1_000 + i), i % 2 == 0, 1_000.0));
        // Half of the tests won: as many reference rows as live ones, less two standard errors and one test.
        let upper: f64 = 0.5 + 2.0 * (0.25_f64 / 512.0).sqrt() + 1.0 / 512.0;
        assert!((tests.effective() - 1_000.0 * (1.0 - upper) / upper).abs() < 1e-6, "{}", tests.effective());
        (0..TESTS as u32).for_each(|i| tests.note(client(9_000 + i), false, 1_000_000.0));
        assert!((tests.effective() - 4096.0).abs() < 1e-9, "never more than there are");
    }

    #[test]
    fn a_late_burst_of_links_is_counted_from_its_own_start() {
        let tests = NearestNeighbourTest::new(4096);
        let old = UnexplainedLinks { count: 1, since: 0 };
        let afresh = tests.link(old, 99_990, 100_000);
        assert_eq!(afresh, UnexplainedLinks { count: 1, since: 99_990 });
        let continued = tests.link(afresh, 100_000, 100_010);
        assert_eq!(continued, UnexplainedLinks { count: 2, since: 99_990 });
    }
}
