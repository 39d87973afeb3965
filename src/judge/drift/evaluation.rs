//! The test of the windows that end at an instant.

use std::collections::BTreeSet;

use rustc_hash::FxHashMap;

use super::record::PendingColumn;
use super::{COLUMNS, Drift, DriftFinding, MIN_VOTES, NEWCOMERS_WAIT, PERSISTENCE, SHARED, STEP, VOTES_EACH, WINDOWS, exceeds};
use crate::event::EventTime;
use crate::signal::psi::{Clusters, Test};
use crate::window::clients::SlotRef;

/// Tests by column; `None` where a column has no votes.
type Tests = Vec<Option<Test>>;

/// Who asked, as the test must know it.
#[derive(Clone, Copy)]
struct Askers<S, F> {
    /// Whether a client is left out.
    suspect: S,
    /// When a client was first seen; `None` if it is forgotten.
    first: F,
}

/// Tests of one window.
struct WindowTests {
    /// Without the suspects.
    clean: Tests,
    /// With everybody; `None` if there are too few votes.
    everybody: Option<Tests>,
    /// With the callers that were known before a lasting change began; `None` where nothing lasts.
    known: Option<Tests>,
}

/// What the windows say of one column.
#[derive(Clone, Copy, Debug, Default)]
struct Column {
    /// It is above its critical value in a window.
    hit: bool,
    /// Newcomers brought the change.
    by_newcomers: bool,
}

// === impl Drift, the evaluation ===

impl Drift {
    /// Evaluates the windows that end at `now`. `suspect` tells which clients are left out, `first` when a client was first seen.
    /// While the model is being probed (`probed`), a change that only newcomers bring is not called drift before they are known
    /// callers: they may be members of a campaign that are not named yet.
    pub fn evaluate(
        &mut self,
        now: EventTime,
        probed: bool,
        suspect: impl Fn(SlotRef) -> bool,
        first: impl Fn(SlotRef) -> Option<EventTime>,
    ) -> DriftFinding {
        let longest = now.plus_seconds(-WINDOWS[1]);
        self.forget_before(longest);
        self.note_pane(now, &suspect);
        self.state.latest.iter_mut().chain(&mut self.state.latest_all).for_each(|test| *test = None);
        let askers = Askers { suspect: &suspect, first: &first };
        let mut columns = vec![Column::default(); self.columns.len()];
        let mut tested = 0;
        for seconds in WINDOWS {
            if let Some(tests) = self.test_window(now.plus_seconds(-seconds), longest, &askers) {
                self.take_window(tests, &mut columns);
                tested += 1;
            }
        }
        for (count, column) in self.state.persistent.iter_mut().zip(&columns) {
            *count = if column.hit { *count + 1 } else { 0 };
        }
        let changed = self.changed_answers(&suspect);
        let finding = DriftFinding { tested: tested > 0, ..self.finding(&columns, probed, changed) };
        self.note_test(now, tested, longest, &columns, probed, &finding, &suspect);
        finding
    }

    /// Notes what was tested, and what is undecided.
    #[expect(clippy::too_many_arguments, reason = "everything that an evaluation knows, in one place")]
    fn note_test(
        &mut self,
        now: EventTime,
        tested: usize,
        longest: EventTime,
        columns: &[Column],
        probed: bool,
        finding: &DriftFinding,
        suspect: impl Fn(SlotRef) -> bool,
    ) {
        let thin_votes = if tested == 0 { self.votes_by_client(longest, suspect).1 as u64 } else { 0 };
        let persistent = self.state.persistent.iter().zip(columns).enumerate();
        let undecided = persistent.filter(|(at, (count, _))| **count > 0 && !finding.drifted.contains(at));
        let pending = undecided.map(|(at, (&count, column))| PendingColumn::new(at, count, now, column.by_newcomers, probed));
        let pending = pending.collect();
        self.state.record.note(now, tested, thin_votes, pending);
    }

    /// Forgets votes and answers up to an instant.
    fn forget_before(&mut self, instant: EventTime) {
        let width = self.columns.len();
        let state = &mut self.state;
        while state.votes.front().is_some_and(|vote| vote.at <= instant) {
            state.votes.pop_front();
            state.codes.drain(..width);
        }
        state.codes.make_contiguous();
        while state.changed.front().is_some_and(|(at, _)| *at <= instant) {
            state.changed.pop_front();
        }
    }

    /// Tests the window since an instant; `None` if it has too few votes. `longest` is where the longest window begins.
    fn test_window<S, F>(&self, since: EventTime, longest: EventTime, askers: &Askers<S, F>) -> Option<WindowTests>
    where
        S: Fn(SlotRef) -> bool,
        F: Fn(SlotRef) -> Option<EventTime>,
    {
        let Askers { suspect, first } = askers;
        let mut left_out = false;
        let skip = |client| {
            let is_suspect = suspect(client);
            left_out |= is_suspect;
            is_suspect
        };
        let clean = self.window(since, skip)?;
        // As a rule nobody is left out, and the second count would be the first one.
        let everybody = if left_out { self.window(since, |_| false) } else { Some(clean.clone()) };
        // The third count costs as much as the test itself, so it is made only where it matters.
        let known = self.lasting(&clean).and_then(|steps| {
            let before = longest.plus_seconds(-STEP * i64::from(steps.min(PERSISTENCE + NEWCOMERS_WAIT)));
            self.window(since, |client| suspect(client) || first(client).is_none_or(|seen| seen > before))
        });
        Some(WindowTests { clean, everybody, known })
    }

    /// Evaluations for which the longest lasting change was above its critical value before this one; `None` if none lasts.
    fn lasting(&self, tests: &[Option<Test>]) -> Option<u32> {
        let lasts = |(test, persistent): &(&Option<Test>, &u32)| {
            **persistent + 1 >= PERSISTENCE && test.is_some_and(|test| exceeds(&test, self.level))
        };
        tests.iter().zip(&self.state.persistent).filter(lasts).map(|(_, persistent)| *persistent).max()
    }

    /// Takes the tests of a window: a column is reported in the window in which it stands out most.
    fn take_window(&mut self, tests: WindowTests, columns: &mut [Column]) {
        let WindowTests { clean, everybody, known } = tests;
        let excess = |test: &Test| test.psi - test.expected;
        for (at, test) in clean.into_iter().enumerate() {
            let Some(test) = test else { continue };
            columns[at].hit |= exceeds(&test, self.level);
            if self.state.latest[at].is_none_or(|latest| excess(&test) > excess(&latest)) {
                self.state.latest[at] = Some(test);
                self.state.latest_all[at] = everybody.as_ref().and_then(|all| all[at]);
                let known = known.as_ref().and_then(|known| known[at]);
                columns[at].by_newcomers = known.is_some_and(|known| excess(&known) < SHARED * excess(&test));
            }
        }
    }

    /// Repeated rows whose answers changed, and clients that saw it, without the suspects.
    fn changed_answers(&self, suspect: impl Fn(SlotRef) -> bool) -> (usize, usize) {
        let changed: Vec<SlotRef> =
            self.state.changed.iter().map(|(_, client)| *client).filter(|client| !suspect(*client)).collect();
        let clients: BTreeSet<SlotRef> = changed.iter().copied().collect();
        (changed.len(), clients.len())
    }

    /// The finding.
    fn finding(&self, columns: &[Column], probed: bool, changed: (usize, usize)) -> DriftFinding {
        let state = &self.state;
        let above = |test: Option<Test>| test.is_some_and(|test| exceeds(&test, self.level));
        let drifts = |&at: &usize| match (columns[at].by_newcomers, probed) {
            (true, true) => false,
            (true, false) => state.persistent[at] >= PERSISTENCE + NEWCOMERS_WAIT,
            (false, _) => state.persistent[at] >= PERSISTENCE,
        };
        DriftFinding {
            drifted: (0..columns.len()).filter(drifts).collect(),
            pending: state.persistent.iter().any(|&evaluations| evaluations > 0),
            tested: true,
            changed,
            suspects: (0..columns.len()).filter(|&at| above(state.latest_all[at]) && !above(state.latest[at])).collect(),
        }
    }

    /// Numbers of the votes since an instant by client, at most [`VOTES_EACH`] of each, the newest; `None` if there are too few.
    pub(super) fn by_client(&self, since: EventTime, skip: impl FnMut(SlotRef) -> bool) -> Option<Vec<Vec<u32>>> {
        let (order, kept) = self.votes_by_client(since, skip);
        (kept >= MIN_VOTES).then_some(order)
    }

    /// The same without a least number, with how many there are.
    fn votes_by_client(&self, since: EventTime, mut skip: impl FnMut(SlotRef) -> bool) -> (Vec<Vec<u32>>, usize) {
        /// Place of a client that is left out.
        const LEFT_OUT: u32 = u32::MAX;
        let mut by_client: FxHashMap<SlotRef, (u32, u32)> = FxHashMap::default();
        let mut order: Vec<Vec<u32>> = Vec::new();
        let mut kept = 0;
        for (number, vote) in self.state.votes.iter().enumerate().rev() {
            if vote.at <= since {
                break;
            }
            let (place, votes) = by_client.entry(vote.client).or_insert_with(|| {
                let place = if skip(vote.client) { LEFT_OUT } else { order.len() as u32 };
                if place != LEFT_OUT {
                    order.push(Vec::new());
                }
                (place, 0)
            });
            if *place != LEFT_OUT && *votes < VOTES_EACH {
                *votes += 1;
                order[*place as usize].push(number as u32);
                kept += 1;
            }
        }
        (order, kept)
    }

    /// Tests of every column over the votes since an instant; `None` if there are too few.
    fn window(&self, since: EventTime, skip: impl FnMut(SlotRef) -> bool) -> Option<Tests> {
        let width = self.columns.len();
        let (codes, _) = self.state.codes.as_slices();
        let order = self.by_client(since, skip)?;
        let mut clusters: [Clusters; COLUMNS] = Default::default();
        let mut tests = Vec::with_capacity(width);
        for from in (0..width).step_by(COLUMNS) {
            let columns = from..width.min(from + COLUMNS);
            let clusters = &mut clusters[..columns.len()];
            clusters.iter_mut().zip(&self.columns.sizes[columns.clone()]).for_each(|(cluster, &bins)| cluster.clear(bins));
            for votes in &order {
                clusters.iter_mut().for_each(Clusters::next_client);
                for &vote in votes {
                    let codes = &codes[vote as usize * width..][columns.clone()];
                    clusters.iter_mut().zip(codes).for_each(|(cluster, &code)| cluster.add(usize::from(code)));
                }
            }
            let counts = &self.columns.reference[columns];
            tests.extend(clusters.iter().zip(counts).map(|(cluster, counts)| cluster.test(counts)));
        }
        Some(tests)
    }
}
