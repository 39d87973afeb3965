//! Does the world change? A test of the features' and the prediction's distributions against the reference, robust against who
//! is asking.
//!
//! * Only new rows vote, and a client has at most eight votes in a window: a health check, a batch job or a storm of retries cannot
//!   move the index.
//! * Flagged and suspicious clients are left out, and newcomers during a campaign. The index with everybody in it is reported
//!   beside, so that the suspects' share of a drift is a number.
//! * A feature drifts when its index passes the critical value for the window's effective size *and* a floor on effect size, in
//!   evaluations that span an hour. The level of one look is chosen so that all columns, windows and looks of a day together
//!   alarm by chance about once in a thousand days (ADR 0010).
//! * A change that only newcomers bring waits for the length of a window: a campaign moves the index before its members are named.
//! * The prediction is tested like a feature, and so is its residual against an additive model of the reference: that sees a changed
//!   concept under unchanged inputs.
//!
//! | file | what it does |
//! |---|---|
//! | this | votes and answers in, figures and reasons out |
//! | [`columns`] | the columns and their bins |
//! | [`evaluation`] | the test of the windows that end at an instant |
//! | [`attribution`] | what kind of change it is |
//! | [`finding`] | what was found, and why |
//! | [`record`] | which tests were really made |

pub mod attribution;
mod columns;
mod evaluation;
mod finding;
pub mod record;

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::event::{EventTime, Prediction};
use crate::judge::FeatureDrift;
use crate::judge::model_signal::{ModelSignal, ModelSignalValue};
use crate::reference::Reference;
use crate::signal::codes::{Coder, Codes};
use crate::signal::psi::Test;
use crate::window::clients::SlotRef;
use attribution::Attribution;
use columns::Columns;
pub use finding::{DriftFinding, DriftReasons};
use record::TestRecord;

/// Sliding windows of the test, in seconds, the shortest first. Chosen: two hours hold the hundred votes that a test needs on a quiet
/// model; six see a change that is too slow for two, within a shift.
pub const WINDOWS: [i64; 2] = [2 * 3600, 6 * 3600];
/// Seconds between evaluations: an eighth of the short window, so that a change waits little for the next look.
pub const STEP: i64 = 15 * 60;
/// Evaluations in a row that must agree: five span an hour, which is longer than it takes to notice a campaign.
const PERSISTENCE: u32 = 5;
/// Share of the effect that known callers must show: those that were there a long window before it began. If they show less, the
/// change came with newcomers, perhaps with a campaign whose members are not named yet. Chosen: a roll-out to a quarter of the
/// known callers passes.
const SHARED: f64 = 0.25;
/// Evaluations for which a change that newcomers bring waits: as long as the long window. By then a campaign is named, and new
/// customers are known callers. A named campaign may have members that are not named, so while the model is probed the change waits
/// until they are known callers, too.
const NEWCOMERS_WAIT: u32 = 24;
/// Votes of one client in a window: no client is more than eight hundredths of the smallest window that is judged ([`MIN_VOTES`]).
pub const VOTES_EACH: u32 = 8;
/// Probability of a false drift in a day, over all columns, windows and looks: one false alarm of a model in three years. The stated
/// rate of false drift; `docs/drift-calibration.md` measures it.
pub const LEVEL_PER_DAY: f64 = 1e-3;
/// Looks of a day that are independent of each other, at most: one at each [`STEP`].
const LOOKS: f64 = 96.0;
/// Smallest excess of the index over its expectation that is called drift. Chosen: two fifths of 0.1, the usual bound of "no
/// significant change"; a smaller excess shows in no histogram.
const EFFECT: f64 = 0.04;
/// Fewest votes on which a window is judged: ten a bin of a numeric feature, the usual condition of a chi-squared approximation.
pub const MIN_VOTES: usize = 100;
/// Votes kept. It bounds memory at high rates; with so many votes a test sees any excess of [`EFFECT`], so more would tell
/// nothing.
const MAX_VOTES: usize = 65_536;
/// Repeated rows whose answers changed, and clients that saw it, from which the model itself has changed. Chosen: one client's retries or
/// one experiment are not enough.
const CHANGED_ANSWERS: (usize, usize) = (8, 4);
/// Changed answers kept: five hundred times as many as mean a changed model.
const MAX_CHANGED: usize = 4096;
/// Columns that are counted together: their codes lie side by side, and eight sets of counts stay in the first-level cache.
const COLUMNS: usize = 8;
/// Keeps a division from failing where a window has no critical value; far below every index that matters ([`EFFECT`]).
const LEAST_CRITICAL: f64 = 1e-9;
/// Difference of scores from which an answer is another one: logs that round to two decimals differ by less.
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
    columns: Columns,
    /// Level of one look at one column in one window.
    level: f64,
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
    record: TestRecord,
}

// === impl Drift ===

impl Drift {
    /// A test against a reference.
    pub fn new(reference: &Reference, coder: &Coder) -> Self {
        let columns = Columns::new(reference, coder);
        Self { level: level(columns.len()), state: DriftState::new(columns.len()), columns }
    }

    /// What a log left behind, for [`Drift::restore`].
    pub fn snapshot(&self) -> impl Serialize + '_ {
        &self.state
    }

    /// Goes on from a snapshot of the same model.
    pub fn restore(&mut self, state: DriftState) {
        self.state = state;
    }

    /// Takes a row that voted.
    pub fn vote(&mut self, at: EventTime, client: SlotRef, codes: &Codes, prediction: Prediction) {
        let state = &mut self.state;
        if state.votes.len() >= MAX_VOTES {
            state.votes.pop_front();
            state.codes.drain(..self.columns.len());
        }
        state.votes.push_back(Vote { at, client });
        state.codes.extend(self.columns.feature_bins(codes));
        state.codes.push_back(self.columns.prediction_bin(prediction));
        state.codes.push_back(self.columns.residual_bin(&codes.coarse, prediction));
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
            record: TestRecord::default(),
        }
    }
}

// === impl Drift, its figures ===

impl Drift {
    /// The index above which a column drifts, for its window: significance and effect size in one number.
    fn critical_of(&self, test: &Test) -> f64 {
        test.critical(self.level).max(test.expected + EFFECT)
    }

    /// Current figures of some columns.
    fn figures(&self, columns: impl Iterator<Item = usize>) -> Vec<FeatureDrift> {
        columns
            .map(|c| {
                let without = self.state.latest[c];
                let all = self.state.latest_all[c].or(without);
                FeatureDrift {
                    name: self.columns.names[c].clone(),
                    psi: all.map_or(0.0, |t| t.psi),
                    critical: without.or(all).map_or(0.0, |t| self.critical_of(&t)),
                    psi_without_suspects: without.map_or(0.0, |t| t.psi),
                }
            })
            .collect()
    }

    /// Which tests were made so far.
    pub fn record(&self) -> &TestRecord {
        &self.state.record
    }

    /// Name of a column, as verdicts have it.
    pub fn column_name(&self, column: usize) -> &str {
        self.columns.names.get(column).map_or("", String::as_str)
    }

    /// Figures of every feature, in schema order.
    pub fn features(&self) -> Vec<FeatureDrift> {
        self.figures(0..self.columns.features())
    }

    /// Figures of the prediction.
    pub fn prediction(&self) -> Option<FeatureDrift> {
        self.figures(std::iter::once(self.columns.prediction())).pop()
    }

    /// What a verdict says of a finding: the columns that drifted with the kind of the change; without drift, the columns that
    /// only suspects move.
    pub fn reasons(&self, finding: &DriftFinding, kind: Option<Attribution>) -> DriftReasons {
        let columns = if finding.drifted.is_empty() { &finding.suspects } else { &finding.drifted };
        let features = self.figures(columns.iter().copied());
        let mut signals: Vec<ModelSignalValue> = features
            .iter()
            .map(|f| {
                let psi = if finding.drifted.is_empty() { f.psi } else { f.psi_without_suspects };
                let evidence = (psi / f.critical.max(LEAST_CRITICAL)).max(1.0).ln();
                ModelSignalValue { evidence, ..ModelSignal::Psi.describes(psi, f.critical) }
            })
            .collect();
        signals.sort_by(|a, b| b.evidence.total_cmp(&a.evidence));
        match kind {
            Some(kind) => signals.extend(kind.signals()),
            None if columns.is_empty() => {}
            None => {
                let vanishes = self.vanishing(columns.iter().copied());
                signals.push(ModelSignal::VanishesWithoutSuspects.describes(vanishes, 0.0));
            }
        }
        if finding.concept() {
            let (rows, enough) = (finding.changed.0 as f64, CHANGED_ANSWERS.0 as f64);
            signals.insert(0, ModelSignal::ChangedAnswers.describes(rows, enough));
        }
        DriftReasons { features, columns: Vec::new(), signals }
    }
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
