//! The model that the simulated callers ask: a surrogate fitted to the profile's sample rows and their recorded answers.
//!
//! The real model is not at hand, but an attack is only an attack if it learns something from true answers: a line search
//! bisects where the answer changes, path finding follows the leaves. So the surrogate is a real model, gradient boosting or one
//! decision tree (crate `smartcore`), and its raw output is mapped monotonically onto the recorded answers' distribution; without
//! that the shrinkage of trees alone would look like a drift of the predictions.
//!
//! The map restores the answers' distribution, but not how they scatter round what the features explain: a few small trees are
//! smoother than any recorded model, and a drift test that looks at answers *given* features would rightly say that this is
//! another model. So the boosted surrogate remembers by how much it missed each recorded answer, and adds the miss of the nearest
//! recorded row ([`Residuals`]). It then agrees with the record on recorded rows, scatters like it elsewhere, and still gives
//! the same answer to the same row. A single tree keeps its leaves pure, because path finding needs them; it is another model
//! than the recorded one, so score it against a profile fitted to its own answers (`baseline.csv`).

use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;
use smartcore::linalg::basic::matrix::DenseMatrix;
use smartcore::tree::decision_tree_regressor::{DecisionTreeRegressor, DecisionTreeRegressorParameters};
use smartcore::xgboost::xgb_regressor::{XGRegressor, XGRegressorParameters};

use super::SimulateError;
use super::chance::stream;
use super::rows::{Rows, Subpopulation};
use crate::event::Cell;
use crate::hash::mix2;
use crate::reference::{Kind, PredictionKind, Reference};

/// What the victim answers.
#[derive(Clone, PartialEq, Debug)]
pub enum Answer {
    /// A number.
    Score(f64),
    /// A class, by index.
    Label(usize),
    /// A probability by class.
    Probabilities(Vec<f64>),
}

// === impl Answer ===

impl Answer {
    /// The class that the answer stands for: label, most probable class, or on which side of the threshold a score lies.
    pub fn class(&self, threshold: f64) -> usize {
        match self {
            Self::Score(score) => usize::from(*score > threshold),
            Self::Label(label) => *label,
            Self::Probabilities(p) => (0..p.len()).fold(0, |best, i| if p[i] > p[best] { i } else { best }),
        }
    }

    /// One number that an attacker can climb: the score, the last class's probability, or the label itself.
    pub fn number(&self) -> f64 {
        match self {
            Self::Score(score) => *score,
            Self::Label(label) => *label as f64,
            Self::Probabilities(p) => p.last().copied().unwrap_or(0.0),
        }
    }

    /// Bits that tell answers apart exactly; the leaves of a tree differ in them.
    pub fn identity(&self) -> u64 {
        match self {
            Self::Score(score) => score.to_bits(),
            Self::Label(label) => *label as u64,
            Self::Probabilities(p) => p.iter().fold(0, |h, v| mix2(h, v.to_bits())),
        }
    }
}

/// A model that answers queries: the surrogate here, a real endpoint elsewhere.
pub trait Victim {
    /// The answer to a row in schema order. Any row has one, however strange.
    fn answer(&self, row: &[Cell]) -> Answer;

    /// Score at which the decision changes; half where the answers are labels.
    fn threshold(&self) -> f64;
}

/// Kind of model behind the surrogate.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum VictimKind {
    /// Gradient-boosted trees.
    Boosted,
    /// One decision tree: each leaf has an answer of its own, which is what path finding needs.
    Tree,
}

/// Rows that the surrogate learns from: a boundary as complex as 3000 rows support, fitted in about a second.
const TRAINING_ROWS: usize = 3000;
/// Trees of the boosted surrogate. Chosen: more change no answer that the drift test would notice, and cost each query.
const TREES: usize = 24;
/// Rows drawn to map raw outputs onto recorded answers; the map's steps are then a thousandth of the distribution.
const CALIBRATION_ROWS: usize = 2000;
/// Recorded rows whose misses are remembered; looking through them all is what an answer costs, some 50 µs.
const REMEMBERED_ROWS: usize = 10_000;
/// A model whose recorded scores repeat this often on average is made of steps, as trees are; its answers are those scores only.
const MIN_REPEATS_OF_STEPS: usize = 4;
/// Distance in one feature, in units of its spread, beyond which further is no further: one outlier must not choose the neighbour.
const MAX_FEATURE_DISTANCE: f32 = 2.0;

enum Model {
    Boosted(XGRegressor<f64, f64, DenseMatrix<f64>, Vec<f64>>),
    Tree(DecisionTreeRegressor<f64, f64, DenseMatrix<f64>, Vec<f64>>),
}

/// A model fitted to the sample of a profile.
pub struct Surrogate {
    /// One for a score; one per class otherwise.
    models: Vec<Model>,
    /// Encoded number of each category by feature: its mean answer.
    codes: Vec<Vec<f64>>,
    kind: PredictionKind,
    threshold: f64,
    /// Raw outputs, ascending, and the recorded scores at the same positions (score answers only).
    map: (Vec<f64>, Vec<f64>),
    /// The recorded scores in ascending order, if they are so few that the model must be made of steps; else empty.
    steps: Vec<f64>,
    /// Factor by class that restores the recorded class shares (labels and probabilities).
    weights: Vec<f64>,
    misses: Residuals,
}

/// By how much the fitted model missed the recorded answers, by recorded row.
#[derive(Default)]
struct Residuals {
    /// Recorded rows, one after the other, numbers in units of their spread.
    rows: Vec<f32>,
    /// Factor that brings a feature's numbers to those units; 0 for categories.
    scale: Vec<f32>,
    /// Recorded answer less the model's, by row and output.
    miss: Vec<Vec<f64>>,
    /// Recorded score by row, if the recorded model is made of steps; else empty.
    step: Vec<f64>,
    /// Root mean square of the misses.
    usual: f64,
}

// === impl Surrogate ===

impl Surrogate {
    /// Fits the surrogate; the same profile and seed give the same model.
    pub fn fit(reference: &Reference, rows: &Rows, kind: VictimKind, seed: u64) -> Result<Self, SimulateError> {
        let classes = match reference.prediction.kind {
            PredictionKind::Score => 0,
            PredictionKind::Label | PredictionKind::Probabilities => reference.prediction.classes.len(),
        };
        let answers: Vec<f64> = reference.sample_predictions.iter().map(|c| c.value()).collect();
        let usable: Vec<usize> = (0..answers.len()).filter(|&i| answers[i].is_finite()).take(TRAINING_ROWS).collect();
        let codes = category_codes(reference, &answers);
        let mut surrogate = Self {
            models: Vec::new(),
            codes,
            kind: reference.prediction.kind,
            threshold: reference.prediction.threshold.unwrap_or_else(|| median(&answers)),
            map: (Vec::new(), Vec::new()),
            steps: Vec::new(),
            weights: vec![1.0; classes],
            misses: Residuals::default(),
        };
        let x: Vec<Vec<f64>> = usable.iter().map(|&i| surrogate.encode(&reference.sample[i])).collect();
        let targets: Vec<Vec<f64>> = match classes {
            0 => vec![usable.iter().map(|&i| answers[i]).collect()],
            n => (0..n).map(|k| usable.iter().map(|&i| f64::from(u8::from(answers[i] as usize == k))).collect()).collect(),
        };
        let matrix = DenseMatrix::from_2d_vec(&x).map_err(|e| SimulateError::Victim(e.to_string()))?;
        for target in &targets {
            surrogate.models.push(fit_one(&matrix, target, kind, seed).map_err(|e| SimulateError::Victim(e.to_string()))?);
        }
        surrogate.calibrate(reference, rows, &answers, seed);
        if kind == VictimKind::Boosted {
            surrogate.remember(reference, rows, &answers);
        }
        Ok(surrogate)
    }

    fn encode(&self, row: &[Cell]) -> Vec<f64> {
        row.iter()
            .zip(&self.codes)
            .map(|(cell, codes)| {
                let value = cell.value();
                match codes.len() {
                    // Trees need finite numbers; missing lies below everything, as most libraries treat it.
                    0 if value.is_finite() => value,
                    0 => MISSING,
                    n if value >= 0.0 && value < n as f64 => codes[value as usize],
                    _ => MISSING,
                }
            })
            .collect()
    }

    fn raw(&self, row: &[Cell]) -> Vec<f64> {
        let x = vec![self.encode(row)];
        let Ok(matrix) = DenseMatrix::from_2d_vec(&x) else { return vec![0.0; self.models.len()] };
        self.models
            .iter()
            .map(|model| {
                let output = match model {
                    Model::Boosted(model) => model.predict(&matrix),
                    Model::Tree(model) => model.predict(&matrix),
                };
                output.ok().and_then(|v| v.first().copied()).unwrap_or(0.0)
            })
            .collect()
    }

    fn calibrate(&mut self, reference: &Reference, rows: &Rows, answers: &[f64], seed: u64) {
        let mut rng = ChaCha8Rng::seed_from_u64(mix2(seed, stream::CALIBRATION));
        let mut everywhere = Subpopulation::everywhere();
        let raw: Vec<Vec<f64>> = (0..CALIBRATION_ROWS).map(|_| self.raw(&rows.draw(&mut rng, &mut everywhere))).collect();
        if self.kind == PredictionKind::Score {
            let mut outputs: Vec<f64> = raw.iter().map(|r| r[0]).collect();
            let mut recorded: Vec<f64> = answers.iter().copied().filter(|v| v.is_finite()).collect();
            outputs.sort_by(f64::total_cmp);
            recorded.sort_by(f64::total_cmp);
            let at = |i: usize| recorded[i * (recorded.len() - 1) / (outputs.len() - 1).max(1)];
            let mut map: (Vec<f64>, Vec<f64>) = (Vec::new(), Vec::new());
            // Equal outputs are one leaf: they get one score, the middle of the recorded ones that they stand for.
            let mut i = 0;
            while i < outputs.len() {
                let end = outputs.partition_point(|&v| v <= outputs[i]);
                map.0.push(outputs[i]);
                map.1.push(at(usize::midpoint(i, end - 1)));
                i = end;
            }
            self.map = map;
            let rows = recorded.len();
            recorded.dedup();
            if recorded.len() * MIN_REPEATS_OF_STEPS <= rows {
                self.steps = recorded;
            }
            return;
        }
        // Labels: a few rounds of re-weighting bring the classes' shares to the recorded ones.
        let total: u64 = reference.prediction.counts.iter().sum();
        for _ in 0..30 {
            let mut counts = vec![0.0; self.weights.len()];
            for r in &raw {
                counts[best(&weigh(r, &self.weights))] += 1.0;
            }
            for (k, weight) in self.weights.iter_mut().enumerate() {
                let wanted = (reference.prediction.counts[k] as f64 + 0.5) / (total as f64 + 1.0);
                let got = (counts[k] + 0.5) / (raw.len() as f64 + 1.0);
                *weight *= (wanted / got).powf(0.3).clamp(0.5, 2.0);
            }
        }
    }

    /// Notes by how much the calibrated model misses each recorded answer.
    fn remember(&mut self, reference: &Reference, rows: &Rows, answers: &[f64]) {
        let scale = (0..reference.features.len())
            .map(|j| match rows.spread(j) {
                spread if reference.features[j].is_numeric() && spread > 0.0 => (1.0 / spread) as f32,
                _ => 0.0,
            })
            .collect();
        let mut misses = Residuals { scale, ..Residuals::default() };
        for (row, &answer) in reference.sample.iter().zip(answers).filter(|(_, a)| a.is_finite()).take(REMEMBERED_ROWS) {
            let own = self.outputs(row);
            let miss = match self.kind {
                PredictionKind::Score => vec![answer - own[0]],
                _ => own.iter().enumerate().map(|(k, p)| f64::from(u8::from(answer as usize == k)) - p).collect(),
            };
            let scaled = misses.scaled(row);
            misses.rows.extend(scaled);
            misses.miss.push(miss);
            if !self.steps.is_empty() {
                misses.step.push(answer);
            }
        }
        let squares: f64 = misses.miss.iter().flatten().map(|m| m * m).sum();
        misses.usual = (squares / misses.miss.len().max(1) as f64).sqrt();
        self.misses = misses;
    }

    /// Calibrated outputs: one score, or a probability by class.
    fn outputs(&self, row: &[Cell]) -> Vec<f64> {
        let raw = self.raw(row);
        if self.kind == PredictionKind::Score {
            return vec![self.score(raw[0])];
        }
        let weighed = weigh(&raw, &self.weights);
        let sum: f64 = weighed.iter().sum();
        weighed.iter().map(|v| v / sum.max(f64::MIN_POSITIVE)).collect()
    }

    fn score(&self, raw: f64) -> f64 {
        let (from, to) = &self.map;
        let at = from.partition_point(|&v| v < raw);
        match (at.checked_sub(1), at < from.len()) {
            (Some(below), true) => {
                let part = (raw - from[below]) / (from[at] - from[below]).max(f64::MIN_POSITIVE);
                to[below] + part * (to[at] - to[below])
            }
            (None, _) => to.first().copied().unwrap_or(raw),
            (Some(below), false) => to[below],
        }
    }
}

// === impl Residuals ===

impl Residuals {
    fn scaled(&self, row: &[Cell]) -> Vec<f32> {
        row.iter().zip(&self.scale).map(|(cell, &scale)| cell.value() as f32 * if scale > 0.0 { scale } else { 1.0 }).collect()
    }

    /// The recorded score of a near row, if the model is made of steps and does not know that a new score lies on another step:
    /// moves within twice its usual miss are not news.
    fn stay(&self, near: Option<usize>, score: f64) -> Option<f64> {
        let recorded = self.step.get(near?)?;
        ((score - recorded).abs() <= 2.0 * self.usual).then_some(*recorded)
    }

    /// The nearest recorded row; `None` if nothing is remembered.
    fn nearest(&self, row: &[Cell]) -> Option<usize> {
        let row = self.scaled(row);
        let mut best = (f32::INFINITY, 0);
        for (i, known) in self.rows.chunks_exact(self.scale.len().max(1)).enumerate() {
            let mut distance = 0.0;
            for ((a, b), &scale) in row.iter().zip(known).zip(&self.scale) {
                let apart = (a - b).abs();
                distance += match () {
                    // Categories and missing values are equal or not.
                    () if scale > 0.0 && apart.is_finite() => apart.min(MAX_FEATURE_DISTANCE),
                    () if a.to_bits() == b.to_bits() => 0.0,
                    () => 1.0,
                };
                if distance >= best.0 {
                    break;
                }
            }
            if distance < best.0 {
                best = (distance, i);
            }
        }
        (!self.miss.is_empty()).then_some(best.1)
    }
}

impl Victim for Surrogate {
    fn answer(&self, row: &[Cell]) -> Answer {
        let mut outputs = self.outputs(row);
        let near = self.misses.nearest(row);
        if let Some(miss) = near.and_then(|i| self.misses.miss.get(i)) {
            outputs.iter_mut().zip(miss).for_each(|(output, miss)| *output += miss);
        }
        match self.kind {
            // Six decimals are what services log; the map's ends are the recorded extremes.
            PredictionKind::Score => {
                let (low, high) = (self.map.1.first().copied(), self.map.1.last().copied());
                let score = outputs[0].clamp(low.unwrap_or(f64::MIN), high.unwrap_or(f64::MAX));
                let score = self.misses.stay(near, score).unwrap_or_else(|| nearest_step(&self.steps, score));
                Answer::Score((score * 1e6).round() / 1e6)
            }
            PredictionKind::Label => Answer::Label(best(&outputs)),
            PredictionKind::Probabilities => {
                let positive: Vec<f64> = outputs.iter().map(|v| v.max(0.0)).collect();
                let sum: f64 = positive.iter().sum::<f64>().max(f64::MIN_POSITIVE);
                Answer::Probabilities(positive.iter().map(|v| (v / sum * 1e6).round() / 1e6).collect())
            }
        }
    }

    fn threshold(&self) -> f64 {
        self.threshold
    }
}

impl std::fmt::Debug for Surrogate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Surrogate").field("models", &self.models.len()).field("kind", &self.kind).finish_non_exhaustive()
    }
}

/// Stands for a missing or unreadable value in the encoded row; far below any feature.
const MISSING: f64 = -1e12;

fn fit_one(x: &DenseMatrix<f64>, y: &Vec<f64>, kind: VictimKind, seed: u64) -> Result<Model, smartcore::error::Failed> {
    let mean = y.iter().sum::<f64>() / y.len().max(1) as f64;
    Ok(match kind {
        VictimKind::Boosted => {
            let parameters = XGRegressorParameters::default()
                .with_n_estimators(TREES)
                .with_max_depth(4)
                .with_learning_rate(0.3)
                .with_min_child_weight(5)
                .with_base_score(mean)
                .with_subsample(0.7)
                .with_seed(seed);
            Model::Boosted(XGRegressor::fit(x, y, parameters)?)
        }
        VictimKind::Tree => {
            let mut parameters = DecisionTreeRegressorParameters::default().with_max_depth(6).with_min_samples_leaf(20);
            parameters.seed = Some(seed);
            Model::Tree(DecisionTreeRegressor::fit(x, y, parameters)?)
        }
    })
}

/// Categories as numbers: the mean answer of their rows, which orders them by what they mean to the model.
fn category_codes(reference: &Reference, answers: &[f64]) -> Vec<Vec<f64>> {
    let overall = answers.iter().filter(|a| a.is_finite()).sum::<f64>() / answers.len().max(1) as f64;
    let mut codes = vec![Vec::new(); reference.features.len()];
    for (j, feature) in reference.features.iter().enumerate().filter(|(_, f)| f.kind == Kind::Categorical) {
        // Ten rows of prior keep rare categories near the mean.
        let mut sums = vec![(10.0 * overall, 10.0); feature.values.len()];
        for (row, answer) in reference.sample.iter().zip(answers).filter(|(_, a)| a.is_finite()) {
            if let Some(sum) = sums.get_mut(row[j].value().max(-1.0) as usize).filter(|_| row[j].value() >= 0.0) {
                sum.0 += answer;
                sum.1 += 1.0;
            }
        }
        codes[j] = sums.iter().map(|(sum, n)| sum / n).collect();
    }
    codes
}

fn median(values: &[f64]) -> f64 {
    let mut finite: Vec<f64> = values.iter().copied().filter(|v| v.is_finite()).collect();
    finite.sort_by(f64::total_cmp);
    finite.get(finite.len() / 2).copied().unwrap_or(0.5)
}

/// The step nearest to a score; the score itself if there are none.
fn nearest_step(steps: &[f64], score: f64) -> f64 {
    let above = steps.partition_point(|&s| s < score);
    match (above.checked_sub(1).and_then(|i| steps.get(i)), steps.get(above)) {
        (Some(&low), Some(&high)) => {
            if score - low <= high - score {
                low
            } else {
                high
            }
        }
        (Some(&only), None) | (None, Some(&only)) => only,
        (None, None) => score,
    }
}

fn weigh(raw: &[f64], weights: &[f64]) -> Vec<f64> {
    raw.iter().zip(weights).map(|(r, w)| r.clamp(1e-4, 1.0) * w).collect()
}

fn best(values: &[f64]) -> usize {
    (0..values.len()).fold(0, |best, i| if values[i] > values[best] { i } else { best })
}
