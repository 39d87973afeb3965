//! What kind of change is it? Four questions that tell a changing world from an attack that moves the index.
//!
//! | Question | Measured as | A world | An attack |
//! |---|---|---|---|
//! | What remains without the suspects? | share of the index above chance that vanishes | near 0 | near 1 |
//! | Sudden or gradual? | length of the ramp that fits best, in quarters of an hour | either | 0 |
//! | Broad or concentrated? | callers whose own rows are likelier now than under the reference | many | few |
//! | Does it come every day? | index against the same hour yesterday | small, if it does | large |
//!
//! All four look along the direction of the change. A row scores ln(a/e): the logarithm of how much likelier its values are in the
//! window (a) than in the reference (e), summed over the drifted columns. A caller is scored with its own rows left out of a;
//! otherwise its own rows would make every caller look moved.

use super::{Drift, DriftFinding, STEP, WINDOWS};
use crate::event::EventTime;
use crate::judge::model_signal::{ModelSignal, ModelSignalValue};
use crate::signal::psi;
use crate::window::clients::SlotRef;

/// Panes of history: a day and an hour, so that the same hour of yesterday is complete.
const PANES: usize = 25 * 4;
/// Panes of a day.
const DAY: usize = 24 * 4;
/// Panes that make an hour.
const HOUR: usize = 4;
/// Fewest votes of an hour that is compared with the same hour of yesterday: five a bin of a numeric feature, the usual least
/// expectation of a chi-squared approximation.
const HOUR_VOTES: f64 = 50.0;
/// Lengths of ramps that are tried, in panes, up to half a day. They grow by about a third: the fit tells no finer lengths apart.
const RAMPS: [usize; 12] = [0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48];
/// How much better (in squared standard errors) a longer ramp must fit than a shorter one: two standard errors.
const BETTER: f64 = 4.0;
/// How much better (in squared standard errors) than no change the best ramp must fit to say when the change came: four standard errors.
const FITS: f64 = 16.0;
/// Rows added to each bin on both sides of a ratio (Jeffreys' prior), so that an empty bin is no infinite score.
const PRIOR: f64 = 0.5;
/// Keeps the weights finite where all rows score the same.
const LEAST_VARIANCE: f64 = 1e-9;

/// Counts of honest votes by column and bin, a quarter of an hour each, the newest last.
#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct Panes {
    counts: std::collections::VecDeque<Vec<u32>>,
}

/// What is known of the kind of a change.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Attribution {
    /// Share of the evidence that vanishes without the suspects, 0 to 1.
    pub vanishes: f64,
    /// Quarters of an hour that the change took; 0 is a step. `None` if it began before the history does.
    pub quarters: Option<usize>,
    /// Callers who moved, of so many.
    pub moved: (usize, usize),
    /// Mean index of the last hour against the same hour of yesterday, and against the reference.
    pub yesterday: Option<(f64, f64)>,
}

// === impl Panes ===

impl Panes {
    fn push(&mut self, counts: Vec<u32>) {
        if self.counts.len() == PANES {
            self.counts.pop_front();
        }
        self.counts.push_back(counts);
    }

    /// Counts of one column over the hour that ended `back` panes ago.
    fn hour(&self, back: usize, column: std::ops::Range<usize>) -> Vec<f64> {
        let mut sum = vec![0.0; column.len()];
        for pane in self.counts.iter().rev().skip(back).take(HOUR) {
            sum.iter_mut().zip(&pane[column.clone()]).for_each(|(s, &c)| *s += f64::from(c));
        }
        sum
    }
}

// === impl Attribution ===

impl Attribution {
    /// As signals of a verdict on the model.
    pub fn signals(&self) -> Vec<ModelSignalValue> {
        let mut signals = vec![
            ModelSignal::VanishesWithoutSuspects.describes(self.vanishes, 0.0),
            ModelSignal::MovedCallers.describes(self.moved.0 as f64, self.moved.1 as f64),
        ];
        if let Some(quarters) = self.quarters {
            signals.push(ModelSignal::ChangeQuarters.describes(quarters as f64, HOUR as f64));
        }
        if let Some((yesterday, reference)) = self.yesterday {
            signals.push(ModelSignal::PsiSameHourYesterday.describes(yesterday, reference));
        }
        signals
    }
}

// === impl Drift ===

impl Drift {
    /// Notes what honest callers asked in the step that ends at `now`.
    pub(super) fn note_pane(&mut self, now: EventTime, suspect: impl Fn(SlotRef) -> bool) {
        let since = now.plus_seconds(-STEP);
        let width = self.columns.len();
        let offsets = self.columns.offsets();
        let mut counts = vec![0; self.columns.sizes.iter().sum()];
        for (i, vote) in self.state.votes.iter().enumerate().rev() {
            if vote.at <= since {
                break;
            }
            if vote.at <= now && !suspect(vote.client) {
                let codes = self.state.codes.range(i * width..(i + 1) * width);
                for ((&code, &offset), &size) in codes.zip(&offsets).zip(&self.columns.sizes) {
                    counts[offset + usize::from(code).min(size - 1)] += 1;
                }
            }
        }
        self.state.panes.push(counts);
    }

    /// The kind of the change that a finding speaks of; `None` if no column drifted.
    pub fn attribute(&self, finding: &DriftFinding, now: EventTime, suspect: impl Fn(SlotRef) -> bool) -> Option<Attribution> {
        if finding.drifted.is_empty() {
            return None;
        }
        Some(Attribution {
            vanishes: self.vanishing(finding.drifted.iter().copied()),
            quarters: self.ramp(&finding.drifted),
            moved: self.moved(&finding.drifted, now, suspect),
            yesterday: self.yesterday(&finding.drifted),
        })
    }

    /// Share of the index above chance, summed over columns, that vanishes when the suspects are left out.
    pub(super) fn vanishing(&self, columns: impl Iterator<Item = usize>) -> f64 {
        let (mut all, mut without) = (0.0, 0.0);
        for column in columns {
            let excess = |test: Option<psi::Test>| test.map_or(0.0, |t| (t.psi - t.expected).max(0.0));
            let rest = excess(self.state.latest[column]);
            without += rest;
            // Suspects may also have hidden a drift: then nothing vanishes.
            all += excess(self.state.latest_all[column]).max(rest);
        }
        if all > 0.0 { 1.0 - without / all } else { 0.0 }
    }

    /// Score of each bin of a column: ln(a/e), with half a row a bin on the scale of the window.
    fn scores(&self, column: usize, window: &[f64]) -> Vec<f64> {
        let n: f64 = window.iter().sum();
        let m: f64 = self.columns.reference[column].iter().sum();
        let score = |(w, r): (&f64, &f64)| ((w + PRIOR) / (r / m.max(1.0) * n + PRIOR)).ln();
        window.iter().zip(&self.columns.reference[column]).map(score).collect()
    }

    /// Length in panes of the ramp that the drifted columns' score went through.
    fn ramp(&self, columns: &[usize]) -> Option<usize> {
        let offsets = self.columns.offsets();
        let ranges: Vec<std::ops::Range<usize>> = columns.iter().map(|&c| offsets[c]..offsets[c] + self.columns.sizes[c]).collect();
        let scores: Vec<Vec<f64>> =
            columns.iter().zip(&ranges).map(|(&c, range)| self.scores(c, &self.state.panes.hour(0, range.clone()))).collect();
        // A pane's mean score with its number of votes; panes without votes say nothing.
        let mut series: Vec<(f64, f64)> = Vec::with_capacity(self.state.panes.counts.len());
        let (mut squares, mut votes) = (0.0, 0.0);
        for pane in &self.state.panes.counts {
            let n: f64 = ranges.first().map_or(0.0, |range| pane[range.clone()].iter().map(|&c| f64::from(c)).sum());
            let mut sum = 0.0;
            for (range, scores) in ranges.iter().zip(&scores) {
                let (total, square) = pane[range.clone()]
                    .iter()
                    .zip(scores)
                    .fold((0.0, 0.0), |(t, q), (&c, s)| (t + f64::from(c) * s, q + f64::from(c) * s * s));
                sum += total;
                squares += square - if n > 0.0 { total * total / n } else { 0.0 };
            }
            votes += n;
            series.push((if n > 0.0 { sum / n } else { 0.0 }, n));
        }
        let variance = (squares / votes.max(1.0)).max(LEAST_VARIANCE);
        series.iter_mut().for_each(|point| point.1 /= variance);
        best_ramp(&series)
    }

    /// Callers in the short window (the long one if that is too thin) whose rows are likelier now than under the reference.
    fn moved(&self, columns: &[usize], now: EventTime, suspect: impl Fn(SlotRef) -> bool) -> (usize, usize) {
        let Some(order) = WINDOWS.iter().find_map(|&seconds| self.by_client(now.plus_seconds(-seconds), &suspect)) else {
            return (0, 0);
        };
        let width = self.columns.len();
        let code = |vote: u32, column: usize| {
            usize::from(self.state.codes[vote as usize * width + column]).min(self.columns.sizes[column] - 1)
        };
        let mut sums = vec![0.0; order.len()];
        for &column in columns {
            let mut totals = vec![0.0; self.columns.sizes[column]];
            order.iter().flatten().for_each(|&vote| totals[code(vote, column)] += 1.0);
            for (votes, sum) in order.iter().zip(&mut sums) {
                votes.iter().for_each(|&vote| totals[code(vote, column)] -= 1.0);
                let scores = self.scores(column, &totals);
                votes.iter().for_each(|&vote| {
                    totals[code(vote, column)] += 1.0;
                    *sum += scores[code(vote, column)];
                });
            }
        }
        (sums.iter().filter(|&&s| s > 0.0).count(), order.len())
    }

    fn yesterday(&self, columns: &[usize]) -> Option<(f64, f64)> {
        if self.state.panes.counts.len() < DAY + HOUR {
            return None;
        }
        let offsets = self.columns.offsets();
        let mut sums = (0.0, 0.0);
        for &column in columns {
            let range = offsets[column]..offsets[column] + self.columns.sizes[column];
            let (today, before) = (self.state.panes.hour(0, range.clone()), self.state.panes.hour(DAY, range));
            let (n, m): (f64, f64) = (today.iter().sum(), before.iter().sum());
            if n < HOUR_VOTES || m < HOUR_VOTES {
                return None;
            }
            sums.0 += psi::independent(&today, &before).psi;
            sums.1 += psi::independent(&today, &self.columns.reference[column]).psi;
        }
        let columns = columns.len() as f64;
        Some((sums.0 / columns, sums.1 / columns))
    }
}

/// Length of the shortest ramp that fits about as well as the best: weighted least squares of level and height over every start.
/// Points are (value, weight), the weight being one over the variance. `None` if nothing fits much better than no change.
fn best_ramp(series: &[(f64, f64)]) -> Option<usize> {
    let misfit = |height: &dyn Fn(usize) -> f64| {
        let mut s = [0.0; 6];
        for (t, &(y, w)) in series.iter().enumerate() {
            let x = height(t);
            s.iter_mut().zip([w, w * x, w * x * x, w * y, w * x * y, w * y * y]).for_each(|(s, v)| *s += v);
        }
        let [w, x, xx, y, xy, yy] = s;
        let flat = yy - y * y / w.max(1e-12);
        let spread = xx - x * x / w.max(1e-12);
        let slope = xy - x * y / w.max(1e-12);
        if spread > 1e-9 { flat - slope * slope / spread } else { flat }
    };
    let flat = misfit(&|_| 0.0);
    let best: Vec<(usize, f64)> = RAMPS
        .iter()
        .map(|&length| {
            let one = |start: usize| {
                misfit(&|t| {
                    let steps = (t + 1).saturating_sub(start) as f64;
                    (steps / (length + 1) as f64).min(1.0)
                })
            };
            (length, (1..series.len()).map(one).fold(f64::INFINITY, f64::min))
        })
        .collect();
    let least = best.iter().map(|b| b.1).fold(f64::INFINITY, f64::min);
    if flat - least < FITS {
        return None;
    }
    best.iter().find(|b| b.1 <= least + BETTER).map(|b| b.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values with a deterministic scatter of one standard error.
    fn scattered(shape: impl Fn(usize) -> f64) -> Vec<(f64, f64)> {
        (0..80)
            .map(|t| {
                let noise: f64 = (0..12).map(|k| (crate::hash::mix(t as u64 * 12 + k) % 1000) as f64 / 1000.0).sum::<f64>() - 6.0;
                (shape(t) + 0.1 * noise, 100.0)
            })
            .collect()
    }

    #[test]
    fn a_step_is_sudden_and_a_slope_is_as_long_as_it_was() {
        assert!(best_ramp(&scattered(|t| if t >= 70 { 1.0 } else { 0.0 })).is_some_and(|l| l <= 1));
        let slope = best_ramp(&scattered(|t| ((t as f64 - 40.0) / 24.0).clamp(0.0, 1.0)));
        assert!(slope.is_some_and(|l| (16..=32).contains(&l)), "{slope:?}");
    }

    #[test]
    fn without_a_change_there_is_no_moment_of_it() {
        assert_eq!(best_ramp(&scattered(|_| 0.7)), None);
    }
}
