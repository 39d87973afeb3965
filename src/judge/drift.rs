//! Is the world changing? Tests of feature and prediction distributions against the reference, robust against who is asking.
//!
//! * One vote per new row and at most eight per client and window: a health check, a batch job or a retry storm cannot move it.
//! * Clients that are flagged or suspicious are left out, and newcomers during an active campaign: what is left is the world. The
//!   index with everybody in it is reported beside, so that "how much of the drift are the suspects" is a number.
//! * A feature drifts when its index passes a critical value for the window's effective size *and* a floor on effect size, in
//!   evaluations that span an hour. The level per look is chosen so that all columns, windows and looks of a day together alarm by
//!   chance about once in a thousand days.
//! * A change that only newcomers brought waits for a window's length: a campaign moves the index before its members are named.
//! * Besides the features, the prediction is tested, and its residual against an additive model of the reference, which sees a
//!   changed concept under unchanged inputs.

pub mod attribution;

use std::collections::VecDeque;

use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};

use crate::event::{EventTime, Prediction};
use crate::judge::{FeatureDrift, SignalValue};
use crate::reference::fit::{coarse_counts, coarse_map};
use crate::reference::{Feature, Kind, PredictionKind, Reference, code};
use crate::signal::additive::Additive;
use crate::signal::codes::{Coder, Codes};
use crate::signal::psi::{Clusters, Test};
use crate::window::clients::SlotRef;
use attribution::Attribution;

/// Sliding windows of the test, in seconds: two hours to be quick, six to see what is slow.
const WINDOWS: [i64; 2] = [2 * 3600, 6 * 3600];
/// Seconds between evaluations.
pub const STEP: i64 = 15 * 60;
/// Evaluations in a row that must agree: they span an hour, longer than it takes to notice a campaign.
const PERSISTENCE: u32 = 5;
/// Share of the effect that callers must show who were known a long window before it began. If they do not, the change came
/// with newcomers: perhaps a campaign whose members are not named yet.
const SHARED: f64 = 0.25;
/// Evaluations for which such a change waits: as long as the long window. By then a campaign is named, and new customers are old.
/// Where one is named, it may have members who are not, so the change waits until they are old acquaintances, too.
const NEWCOMERS_WAIT: u32 = 24;
/// Votes of one client per window.
const VOTES_EACH: u32 = 8;
/// Probability of a false drift in a day, over all columns, windows and looks.
const LEVEL_PER_DAY: f64 = 1e-3;
/// Looks of a day that are independent of each other, at most: one a step.
const LOOKS: f64 = 96.0;
/// Smallest excess of the index over its expectation that matters to anybody; a tenth of it is invisible in a picture.
const EFFECT: f64 = 0.04;
/// Fewest votes on which a window is judged.
const MIN_VOTES: usize = 100;
/// Votes kept: bounds memory at high rates, where six hours hold more than any test needs.
const MAX_VOTES: usize = 65_536;
/// Repeats of rows whose answers changed, and clients that saw it, which mean that the model itself changed.
const CHANGED_ANSWERS: (usize, usize) = (8, 4);
/// Changed answers kept: far more than mean a changed model.
const MAX_CHANGED: usize = 4096;
/// Columns that are counted together, since their codes lie side by side.
const COLUMNS: usize = 8;
/// Difference of scores that is a different answer.
const SAME_ANSWER: f32 = 0.01;

/// A vote's codes, kept until it leaves the longest window.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
struct Vote {
    at: EventTime,
    client: SlotRef,
}

/// Drift test of one model.
#[derive(Clone, Debug)]
pub struct Drift {
    names: Vec<String>,
    sizes: Vec<usize>,
    /// First code of each feature that no row of the reference has, but for missing ones.
    unknown: Vec<u16>,
    /// Level of one look at one column in one window.
    level: f64,
    reference: Vec<Vec<f64>>,
    prediction: PredictionBins,
    additive: Additive,
    residual_edges: Vec<f64>,
    state: DriftState,
}

/// What a log leaves behind in a [`Drift`]: all that is not made from the reference.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DriftState {
    votes: VecDeque<Vote>,
    codes: VecDeque<u8>,
    persistent: Vec<u32>,
    latest: Vec<Option<Test>>,
    latest_all: Vec<Option<Test>>,
    /// Repeated rows whose answers changed: when, and who saw it.
    changed: VecDeque<(EventTime, SlotRef)>,
    panes: attribution::Panes,
}

/// Bins of the model's answers.
#[derive(Clone, Debug)]
struct PredictionBins {
    kind: PredictionKind,
    edges: Vec<f64>,
    bins: usize,
}

/// What an evaluation found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Finding {
    /// Features (by position; the prediction and its residual come behind them) that drifted for long enough.
    pub drifted: Vec<usize>,
    /// Whether anything is above its critical value without having lasted.
    pub pending: bool,
    /// Repeated rows whose answers changed, and callers who saw it.
    pub changed: (usize, usize),
    /// Columns above their critical value with everybody, and not without the suspects: their work.
    pub suspects: Vec<usize>,
}

// === impl Finding ===

impl Finding {
    /// Whether answers to repeated rows changed, often enough and for several callers.
    pub fn concept(&self) -> bool {
        self.changed.0 >= CHANGED_ANSWERS.0 && self.changed.1 >= CHANGED_ANSWERS.1
    }
}

// === impl PredictionBins ===

impl PredictionBins {
    fn bin(&self, prediction: Prediction) -> usize {
        let value = match (self.kind, prediction) {
            (PredictionKind::Score, Prediction::Score(score)) => return self.edges.partition_point(|&e| e < score),
            (_, other) => other.cell().value(),
        };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "class indices are small; all else is the last bin"
        )]
        if self.kind != PredictionKind::Score && value >= 0.0 && value < (self.bins - 1) as f64 {
            value as usize
        } else {
            self.bins - 1
        }
    }
}

// === impl Drift ===

impl Drift {
    /// A test against a reference.
    pub fn new(reference: &Reference, coder: &Coder) -> Self {
        let additive = Additive::new(reference, coder);
        let profile = &reference.prediction;
        let bins = profile.counts.len();
        let prediction = PredictionBins { kind: profile.kind, edges: profile.edges.clone(), bins };
        let mut counts: Vec<Vec<f64>> = reference.features.iter().map(expected_counts).collect();
        counts.push(profile.counts.iter().map(|&n| n as f64).collect());
        let (residual_edges, residual_counts) = additive.residual_bins();
        counts.push(residual_counts);
        let mut names: Vec<String> = reference.features.iter().map(|f| f.name.clone()).collect();
        names.extend(["prediction".to_owned(), "prediction_given_features".to_owned()]);
        let columns = names.len();
        Self {
            names,
            level: level(columns),
            sizes: counts.iter().map(Vec::len).collect(),
            unknown: reference.features.iter().map(|f| (f.bins() + code::UNSEEN) as u16).collect(),
            reference: counts,
            prediction,
            additive,
            residual_edges,
            state: DriftState::new(columns),
        }
    }

    /// What a log left behind, for [`Drift::restore`].
    pub fn snapshot(&self) -> impl Serialize + '_ {
        &self.state
    }

    /// Goes on from a snapshot of the same model.
    pub fn restore(&mut self, state: DriftState) {
        self.state = state;
    }

    /// Takes a row that voted. What no row of the reference has is in a bin of its own, numbers beyond its range, too: of a new unit
    /// for a few callers, tenths of the reference see little.
    pub fn vote(&mut self, at: EventTime, client: SlotRef, Codes { fine, coarse, .. }: &Codes, prediction: Prediction) {
        let width = self.names.len();
        if self.state.votes.len() >= MAX_VOTES {
            self.state.votes.pop_front();
            self.state.codes.drain(..width);
        }
        self.state.votes.push_back(Vote { at, client });
        let small = |n: usize| u8::try_from(n).unwrap_or(u8::MAX);
        let known = fine.iter().zip(coarse).zip(self.unknown.iter().zip(&self.sizes));
        self.state
            .codes
            .extend(known.map(|((&fine, &coarse), (&from, &size))| if fine >= from { small(size - 1) } else { coarse }));
        self.state.codes.push_back(small(self.prediction.bin(prediction)));
        let residual = match prediction {
            Prediction::Missing => self.residual_edges.len() + 1,
            other => {
                let residual = other.cell().value() - self.additive.predict(coarse);
                if residual.is_finite() {
                    self.residual_edges.partition_point(|&e| e < residual)
                } else {
                    self.residual_edges.len() + 1
                }
            }
        };
        self.state.codes.push_back(small(residual));
    }

    /// Notes the answer to a row, voting or not, in place of the one that it got before (not a number, if there is none): the
    /// same row must get the same answer while the model stays the same.
    pub fn answer(&mut self, at: EventTime, client: SlotRef, known: &mut f32, prediction: Prediction) {
        let value = prediction.cell().value() as f32;
        if value.is_nan() {
            return;
        }
        if (value - *known).abs() > SAME_ANSWER {
            let changed = &mut self.state.changed;
            if changed.len() >= MAX_CHANGED {
                changed.pop_front();
            }
            changed.push_back((at, client));
        }
        *known = value;
    }
}

// === impl DriftState ===

impl DriftState {
    fn new(columns: usize) -> Self {
        Self {
            votes: VecDeque::new(),
            codes: VecDeque::new(),
            persistent: vec![0; columns],
            latest: vec![None; columns],
            latest_all: vec![None; columns],
            changed: VecDeque::new(),
            panes: attribution::Panes::default(),
        }
    }
}

// === impl Drift, the evaluation ===

impl Drift {
    /// Evaluates the windows that end at `now`; `suspect` tells which clients are left out, `first` when a client was first seen.
    /// While the model is being probed (`probed`), a change that only newcomers bring is not called drift before they are old
    /// acquaintances: they may be members of a campaign who are not named yet.
    pub fn evaluate(
        &mut self,
        now: EventTime,
        probed: bool,
        suspect: impl Fn(SlotRef) -> bool,
        first: impl Fn(SlotRef) -> Option<EventTime>,
    ) -> Finding {
        let longest = now.plus_seconds(-WINDOWS[1]);
        let width = self.names.len();
        while self.state.votes.front().is_some_and(|v| v.at <= longest) {
            self.state.votes.pop_front();
            self.state.codes.drain(..width);
        }
        self.state.codes.make_contiguous();
        self.note_pane(now, &suspect);
        let mut hits = vec![false; width];
        let mut carried = vec![false; width];
        self.state.latest.iter_mut().chain(&mut self.state.latest_all).for_each(|t| *t = None);
        for seconds in WINDOWS {
            let since = now.plus_seconds(-seconds);
            let mut skipped = false;
            let skip = |client| {
                let is_suspect = suspect(client);
                skipped |= is_suspect;
                is_suspect
            };
            let Some(clean) = self.window(since, skip) else { continue };
            // As a rule nobody is left out.
            let everybody = if skipped { self.window(since, |_| false) } else { Some(clean.clone()) };
            // Only asked when it matters: it costs as much as the test itself.
            let lasted = clean
                .iter()
                .zip(&self.state.persistent)
                .filter(|(t, p)| **p + 1 >= PERSISTENCE && t.is_some_and(|t| self.exceeds(&t)))
                .map(|(_, p)| *p)
                .max();
            let established = lasted.and_then(|steps| {
                let before = longest.plus_seconds(-STEP * i64::from(steps.min(PERSISTENCE + NEWCOMERS_WAIT)));
                self.window(since, |c| suspect(c) || first(c).is_none_or(|t| t > before))
            });
            for (column, test) in clean.into_iter().enumerate() {
                let Some(test) = test else { continue };
                hits[column] |= self.exceeds(&test);
                // Report the window in which the feature stands out most.
                if self.state.latest[column].is_none_or(|t| test.psi - test.expected > t.psi - t.expected) {
                    self.state.latest[column] = Some(test);
                    let known = established.as_ref().and_then(|tests| tests[column]);
                    carried[column] = known.is_some_and(|k| k.psi - k.expected < SHARED * (test.psi - test.expected));
                    self.state.latest_all[column] = everybody.as_ref().and_then(|all| all[column]);
                }
            }
        }
        for (count, hit) in self.state.persistent.iter_mut().zip(&hits) {
            *count = if *hit { *count + 1 } else { 0 };
        }
        while self.state.changed.front().is_some_and(|(at, _)| *at <= longest) {
            self.state.changed.pop_front();
        }
        let changed: Vec<SlotRef> =
            self.state.changed.iter().map(|(_, client)| *client).filter(|client| !suspect(*client)).collect();
        let clients: std::collections::BTreeSet<SlotRef> = changed.iter().copied().collect();
        let above = |test: Option<Test>| test.is_some_and(|t| self.exceeds(&t));
        Finding {
            suspects: (0..width).filter(|&c| above(self.state.latest_all[c]) && !above(self.state.latest[c])).collect(),
            drifted: (0..width)
                .filter(|&c| match (carried[c], probed) {
                    (true, true) => false,
                    (true, false) => self.state.persistent[c] >= PERSISTENCE + NEWCOMERS_WAIT,
                    (false, _) => self.state.persistent[c] >= PERSISTENCE,
                })
                .collect(),
            pending: self.state.persistent.iter().any(|&p| p > 0),
            changed: (changed.len(), clients.len()),
        }
    }

    /// Votes since an instant by client, at most [`VOTES_EACH`] of each, the newest; `None` if there are too few of them.
    fn by_client(&self, since: EventTime, mut skip: impl FnMut(SlotRef) -> bool) -> Option<Vec<Vec<u32>>> {
        let mut by_client: FxHashMap<SlotRef, (u32, u32)> = FxHashMap::default();
        let mut order: Vec<Vec<u32>> = Vec::new();
        let mut kept = 0;
        for (i, vote) in self.state.votes.iter().enumerate().rev() {
            if vote.at <= since {
                break;
            }
            let entry = by_client.entry(vote.client).or_insert_with(|| {
                let at = if skip(vote.client) { u32::MAX } else { order.len() as u32 };
                if at != u32::MAX {
                    order.push(Vec::new());
                }
                (at, 0)
            });
            if entry.0 != u32::MAX && entry.1 < VOTES_EACH {
                entry.1 += 1;
                order[entry.0 as usize].push(i as u32);
                kept += 1;
            }
        }
        (kept >= MIN_VOTES).then_some(order)
    }

    /// Tests of every column over the votes since an instant.
    fn window(&self, since: EventTime, skip: impl FnMut(SlotRef) -> bool) -> Option<Vec<Option<Test>>> {
        let width = self.names.len();
        let (codes, _) = self.state.codes.as_slices();
        let order = self.by_client(since, skip)?;
        let mut clusters: [Clusters; COLUMNS] = Default::default();
        let mut tests = Vec::with_capacity(width);
        for from in (0..width).step_by(COLUMNS) {
            let columns = from..width.min(from + COLUMNS);
            let clusters = &mut clusters[..columns.len()];
            clusters.iter_mut().zip(&self.sizes[columns.clone()]).for_each(|(cluster, &bins)| cluster.clear(bins));
            for votes in &order {
                clusters.iter_mut().for_each(Clusters::next_client);
                for &vote in votes {
                    let codes = &codes[vote as usize * width..][columns.clone()];
                    clusters.iter_mut().zip(codes).for_each(|(cluster, &code)| cluster.add(usize::from(code)));
                }
            }
            tests.extend(clusters.iter().zip(&self.reference[columns.clone()]).map(|(cluster, counts)| cluster.test(counts)));
        }
        Some(tests)
    }

    /// The index above which a column drifts, for its window: significance and effect size in one number.
    fn critical_of(&self, test: &Test) -> f64 {
        test.critical(self.level).max(test.expected + EFFECT)
    }

    fn exceeds(&self, test: &Test) -> bool {
        exceeds(test, self.level)
    }

    /// Current figures of the columns for which `keep` says so.
    fn figures(&self, columns: impl Iterator<Item = usize>) -> Vec<FeatureDrift> {
        columns
            .map(|c| {
                let without = self.state.latest[c];
                let all = self.state.latest_all[c].or(without);
                FeatureDrift {
                    name: self.names[c].clone(),
                    psi: all.map_or(0.0, |t| t.psi),
                    critical: without.or(all).map_or(0.0, |t| self.critical_of(&t)),
                    psi_without_suspects: without.map_or(0.0, |t| t.psi),
                }
            })
            .collect()
    }

    /// Figures of every feature, in schema order.
    pub fn features(&self) -> Vec<FeatureDrift> {
        self.figures(0..self.names.len() - 2)
    }

    /// Figures of the prediction.
    pub fn prediction(&self) -> Option<FeatureDrift> {
        self.figures(std::iter::once(self.names.len() - 2)).pop()
    }

    /// What a verdict says of a finding: the columns that drifted with the kind of the change; without drift, the columns that
    /// only suspects move.
    pub fn reasons(&self, finding: &Finding, kind: Option<Attribution>) -> (Vec<FeatureDrift>, Vec<SignalValue>) {
        let columns = if finding.drifted.is_empty() { &finding.suspects } else { &finding.drifted };
        let features = self.figures(columns.iter().copied());
        let signal = |name, value, reference, evidence| SignalValue { name, value, reference, evidence };
        let mut signals: Vec<SignalValue> = features
            .iter()
            .map(|f| {
                let psi = if finding.drifted.is_empty() { f.psi } else { f.psi_without_suspects };
                signal("psi", psi, f.critical, (psi / f.critical.max(1e-9)).max(1.0).ln())
            })
            .collect();
        signals.sort_by(|a, b| b.evidence.total_cmp(&a.evidence));
        match kind {
            Some(kind) => signals.extend(kind.signals()),
            None if columns.is_empty() => {}
            None => signals.push(signal("vanishes_without_suspects", self.vanishing(columns.iter().copied()), 0.0, 0.0)),
        }
        if finding.concept() {
            signals.insert(0, signal("changed_answers", finding.changed.0 as f64, CHANGED_ANSWERS.0 as f64, 0.0));
        }
        (features, signals)
    }

    /// Number of features (without prediction and residual).
    pub fn width(&self) -> usize {
        self.names.len() - 2
    }
}

/// Counts of a feature's bins as new rows would have them: a value that the reference has once is as likely one that it does not have
/// (Good 1953). Of a column of towns or products every tenth row may be one that no reference knows, and nothing has changed.
fn expected_counts(feature: &Feature) -> Vec<f64> {
    let mut counts = coarse_counts(feature);
    if feature.kind != Kind::Continuous {
        let once = feature.counts.iter().take(feature.bins()).zip(coarse_map(feature)).filter(|&(&rows, _)| rows == 1);
        for (_, bin) in once {
            counts[bin] -= 1;
            counts.last_mut().into_iter().for_each(|unknown| *unknown += 1);
        }
    }
    counts.into_iter().map(|rows| rows as f64).collect()
}

/// Level of one look at one of `columns` columns in one window.
pub fn level(columns: usize) -> f64 {
    LEVEL_PER_DAY / (columns.max(1) as f64 * WINDOWS.len() as f64 * LOOKS)
}

/// Whether a window drifts at a level: it is no chance, and it matters.
pub fn exceeds(test: &Test, level: f64) -> bool {
    test.p <= level && test.psi - test.expected >= EFFECT
}

#[cfg(test)]
mod tests;
