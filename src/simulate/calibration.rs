//! How often does the drift test alarm when nothing drifts? Windows drawn from a profile itself, tested as the engine tests them.
//!
//! Reference and window are both draws from the profile's own shares, so a test at 1 % has to alarm in 1 % of the windows: for
//! every size of window, for one column, and for the smallest p-value of many (Šidák's correction). Rows come one from
//! each caller, or up to eight from callers that differ: then each caller's rows follow a Pólya urn, which repeats the caller's own
//! values with the stated correlation. Columns are the profile's features and answers, over again until there are enough, and
//! independent of each other, which is the worst case for the correction.

use std::sync::atomic::{AtomicUsize, Ordering};

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Binomial, Distribution as _};

use crate::hash::mix2;
use crate::judge::drift;
use crate::reference::{Reference, fit};
use crate::signal::psi::{Clusters, Test, independent};

/// Rows of the windows with one row a caller.
pub const ROWS: [u64; 6] = [50, 200, 1_000, 10_000, 100_000, 1_000_000];
/// Rows of the windows with several rows a caller; the engine keeps no more than the last.
pub const CLUSTERED_ROWS: [u64; 5] = [50, 200, 1_000, 10_000, 65_536];
/// Columns that are tested together.
pub const COLUMN_COUNTS: [usize; 4] = [1, 10, 32, 100];
/// Nominal share of false alarms.
pub const NOMINAL: f64 = 0.01;
/// Columns drawn per window, the largest family.
const COLUMNS: usize = 100;
/// Most rows of one caller, as in the engine.
const ROWS_EACH: u32 = 8;
/// Rows drawn one by one per line at most; beyond, there are fewer windows, and the standard error says so.
const MAX_DRAWS: u64 = 400_000_000;

/// What to draw.
#[derive(Clone, Copy, Debug)]
pub struct CalibrationPlan {
    /// Windows per line.
    pub windows: u64,
    /// Seed.
    pub seed: u64,
    /// Correlation of one caller's rows, above 0 and below 1.
    pub correlation: f64,
}

/// Alarms among trials.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, serde::Serialize)]
pub struct AlarmShare {
    /// Alarms.
    pub alarms: u64,
    /// Trials.
    pub trials: u64,
}

/// One line of the table.
#[derive(Clone, Debug, serde::Serialize)]
pub struct FalseAlarmRow {
    /// Rows of the window.
    pub rows: u64,
    /// Whether callers have several rows each.
    pub clustered: bool,
    /// Mean of rows over effective rows.
    pub design_effect: f64,
    /// False alarms at the nominal level, by [`COLUMN_COUNTS`].
    pub nominal: [AlarmShare; COLUMN_COUNTS.len()],
    /// Windows in which any of a hundred columns passes the level and the effect that the engine asks for in one look.
    pub as_used: AlarmShare,
}

// === impl AlarmShare ===

impl AlarmShare {
    /// Alarms over trials, 0 to 1; 0 without trials.
    pub fn rate(&self) -> f64 {
        self.alarms as f64 / self.trials.max(1) as f64
    }

    /// Standard error of the rate, as if the nominal one were true.
    pub fn error(&self) -> f64 {
        (NOMINAL * (1.0 - NOMINAL) / self.trials.max(1) as f64).sqrt()
    }

    fn note(&mut self, alarm: bool) {
        self.trials += 1;
        self.alarms += u64::from(alarm);
    }
}

/// Shares of a column's bins, with the reference's number of rows.
struct Column {
    shares: Vec<f64>,
    rows: u64,
}

/// Draws every line of the table; `done` is told how many lines are finished.
pub fn run(reference: &Reference, plan: &CalibrationPlan, done: &(dyn Fn(usize) + Sync)) -> Vec<FalseAlarmRow> {
    let mut counts: Vec<Vec<u64>> = reference.features.iter().map(fit::coarse_counts).collect();
    counts.push(reference.prediction.counts.clone());
    let columns: Vec<Column> = counts
        .iter()
        .filter(|c| c.iter().filter(|&&n| n > 0).count() > 1)
        .map(|c| {
            let rows: u64 = c.iter().sum();
            Column { shares: c.iter().map(|&n| n as f64 / rows as f64).collect(), rows }
        })
        .collect();
    let lines: Vec<(u64, bool)> =
        ROWS.iter().map(|&rows| (rows, false)).chain(CLUSTERED_ROWS.iter().map(|&rows| (rows, true))).collect();
    if columns.is_empty() {
        return Vec::new();
    }
    let (next, finished) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(lines.len());
    let mut drawn: Vec<(usize, FalseAlarmRow)> = std::thread::scope(|scope| {
        let work = || {
            let mut own = Vec::new();
            loop {
                // The dearest lines are last in the list and are begun first.
                let taken = next.fetch_add(1, Ordering::Relaxed);
                let Some(index) = (lines.len() - 1).checked_sub(taken) else { return own };
                own.push((index, line(&columns, lines[index], plan)));
                done(finished.fetch_add(1, Ordering::Relaxed) + 1);
            }
        };
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().filter_map(|worker| worker.join().ok()).flatten().collect()
    });
    drawn.sort_by_key(|(index, _)| *index);
    drawn.into_iter().map(|(_, line)| line).collect()
}

fn line(columns: &[Column], (rows, clustered): (u64, bool), plan: &CalibrationPlan) -> FalseAlarmRow {
    let windows = if clustered { plan.windows.min(MAX_DRAWS / (rows * COLUMNS as u64)).max(1) } else { plan.windows };
    let level = drift::level(COLUMNS);
    let mut line = FalseAlarmRow {
        rows,
        clustered,
        design_effect: 0.0,
        nominal: [AlarmShare::default(); COLUMN_COUNTS.len()],
        as_used: AlarmShare::default(),
    };
    for window in 0..windows {
        let mut rng = ChaCha8Rng::seed_from_u64(mix2(mix2(plan.seed, rows * 2 + u64::from(clustered)), window));
        let votes = if clustered { votes(&mut rng, rows) } else { Vec::new() };
        let mut tests = Vec::with_capacity(COLUMNS);
        for column in columns.iter().cycle().take(COLUMNS) {
            let known = multinomial(&mut rng, column.rows, &column.shares);
            let test = if clustered {
                urns(&mut rng, &votes, &column.shares, plan.correlation).test(&known)
            } else {
                Some(independent(&multinomial(&mut rng, rows, &column.shares), &known))
            };
            tests.extend(test);
        }
        line.design_effect += tests.iter().map(|t| rows as f64 / t.effective).sum::<f64>() / tests.len().max(1) as f64;
        note(&mut line, &tests, level);
    }
    line.design_effect /= windows as f64;
    line
}

fn note(line: &mut FalseAlarmRow, tests: &[Test], level: f64) {
    for (share, &family) in line.nominal.iter_mut().zip(&COLUMN_COUNTS) {
        let each = 1.0 - (1.0 - NOMINAL).powf(1.0 / family as f64);
        tests.chunks_exact(family).for_each(|tests| share.note(tests.iter().any(|t| t.p <= each)));
    }
    line.as_used.note(tests.iter().any(|t| drift::exceeds(t, level)));
}

/// Rows of each caller: one to eight, until there are enough.
fn votes(rng: &mut ChaCha8Rng, rows: u64) -> Vec<u32> {
    let mut left = u32::try_from(rows).unwrap_or(u32::MAX);
    let mut votes = Vec::new();
    while left > 0 {
        let own = rng.random_range(1..=ROWS_EACH).min(left);
        votes.push(own);
        left -= own;
    }
    votes
}

/// A window of callers whose rows resemble each other.
fn urns(rng: &mut ChaCha8Rng, votes: &[u32], shares: &[f64], correlation: f64) -> Clusters {
    let fresh = (1.0 - correlation) / correlation;
    let ends: Vec<f64> = shares
        .iter()
        .scan(0.0, |sum, share| {
            *sum += share;
            Some(*sum)
        })
        .collect();
    let mut clusters = Clusters::default();
    clusters.clear(shares.len());
    let mut own = [0_usize; ROWS_EACH as usize];
    for &rows in votes {
        clusters.next_client();
        for row in 0..rows as usize {
            own[row] = if rng.random::<f64>() * (fresh + row as f64) < fresh {
                let at = rng.random::<f64>();
                ends.partition_point(|&end| end < at).min(shares.len() - 1)
            } else {
                own[rng.random_range(0..row)]
            };
            clusters.add(own[row]);
        }
    }
    clusters
}

fn multinomial(rng: &mut ChaCha8Rng, rows: u64, shares: &[f64]) -> Vec<f64> {
    let (mut left, mut rest) = (rows, 1.0_f64);
    shares
        .iter()
        .map(|&share| {
            let part = if rest > 0.0 { (share / rest).clamp(0.0, 1.0) } else { 0.0 };
            let count = Binomial::new(left, part).map_or(0, |binomial| binomial.sample(rng));
            left -= count.min(left);
            rest -= share;
            count as f64
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A small run; three standard errors above the band of 0.3 points are not chance.
    #[test]
    fn the_test_alarms_in_one_percent_of_windows_without_drift() {
        let path = format!("{}/models/adult/reference.json", env!("CARGO_MANIFEST_DIR"));
        let reference = Reference::from_json(&std::fs::read(path).unwrap()).unwrap();
        let plan = CalibrationPlan { windows: 100, seed: 3, correlation: 0.1 };
        let counts = fit::coarse_counts(&reference.features[0]);
        let rows: u64 = counts.iter().sum();
        let columns = [Column { shares: counts.iter().map(|&n| n as f64 / rows as f64).collect(), rows }];
        for (rows, clustered) in [(50, false), (1_000, false), (1_000_000, false), (200, true), (1_000, true)] {
            let line = line(&columns, (rows, clustered), &plan);
            let single = line.nominal[0];
            assert_eq!(single.trials, 10_000);
            let off = (single.rate() - NOMINAL).abs();
            assert!(off <= 0.003 + 3.0 * single.error(), "{rows} rows, clustered {clustered}: {single:?}");
            assert_eq!(line.as_used.alarms, 0, "{rows} rows, clustered {clustered}");
        }
    }

    #[test]
    fn a_seed_gives_the_same_table() {
        let path = format!("{}/models/magic/reference.json", env!("CARGO_MANIFEST_DIR"));
        let reference = Reference::from_json(&std::fs::read(path).unwrap()).unwrap();
        let plan = CalibrationPlan { windows: 1, seed: 9, correlation: 0.2 };
        let table = || format!("{:?}", run(&reference, &plan, &|_| {}));
        assert_eq!(table(), table());
    }
}
