//! The models that answer the injected attacks: surrogates fitted on the log itself, and how faithful they are.
//!
//! The real model is not at hand, and asking it would be an attack on it. So gradient boosting and a single decision tree
//! (crate `smartcore`, by [`victim`](crate::simulate::victim)) learn rows → answers from the log. Both are then asked for rows
//! that they did not learn from, and the more faithful one answers; path finding always meets the tree, since it makes no
//! sense elsewhere. The fidelity is reported: an attack adapts to what it is told, so a poor surrogate makes a poor drill.
//!
//! Each different row counts once: health checks and retries must not teach the surrogate one row, nor put the same row on both
//! sides of the split.

use std::sync::Arc;

use rustc_hash::FxHashMap;
use serde::Serialize;

use super::DrillError;
use super::log::Log;
use super::statistics::Share;
use crate::event::{Cell, Prediction};
use crate::hash::{mix, mix2};
use crate::reference::{PredictionKind, Reference};
use crate::simulate::MIN_SAMPLE;
use crate::simulate::rows::Rows;
use crate::simulate::victim::{Answer, Surrogate, Victim, VictimKind};

/// Different rows used at most: what the surrogate learns from, and a quarter to hold it against.
const MAX_ROWS: usize = 4_000;
/// One row in so many is held out.
const HELD_OUT_EVERY: usize = 4;
/// Fewest different rows with an answer. Below that the held-out part is too small to say how faithful the surrogate is.
pub const MIN_ROWS: usize = 200;

/// How well a surrogate repeats the log's answers on rows that it did not learn from.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Fidelity {
    /// `boosted trees` or `decision tree`.
    pub surrogate: &'static str,
    /// Rows that it learned from.
    pub learned_from: u64,
    /// Held-out rows on which surrogate and log decide alike: same label, or same side of the threshold.
    pub agreement: Share,
    /// The same for a model that always gives the commonest decision.
    pub always_the_commonest: f64,
    /// Share of the variance of the answers that it explains (R²); none for labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub explained: Option<f64>,
}

/// The models that answer, and the rows that attackers start from.
#[derive(Debug)]
pub struct Surrogates {
    /// What is public about the features, and the real rows that attackers have.
    pub rows: Rows,
    /// The more faithful of the two, and its fidelity.
    pub best: (Surrogate, Fidelity),
    /// The tree, for path finding; none if it is the best anyway.
    pub tree: Option<(Surrogate, Fidelity)>,
    /// Features that have a single value in all of the log.
    pub constant: Vec<String>,
}

// === impl Surrogates ===

impl Surrogates {
    /// Fits both surrogates on the events of the log for which `honest` holds.
    ///
    /// # Errors
    /// A log without answers, with too few different rows, or with one answer alone.
    pub fn fit(reference: &Arc<Reference>, log: &Log, honest: impl Fn(usize) -> bool, seed: u64) -> Result<Self, DrillError> {
        let chosen = choose(reference, log, honest, seed)?;
        let held_out = |at: usize| at % HELD_OUT_EVERY == HELD_OUT_EVERY - 1;
        let part = |wanted: bool| -> (Vec<Vec<Cell>>, Vec<Cell>) {
            (0..chosen.len()).filter(|&at| held_out(at) == wanted).map(|at| (log.row(chosen[at].0).to_vec(), chosen[at].1)).unzip()
        };
        let constant = (0..reference.features.len())
            .filter(|&j| chosen.windows(2).all(|pair| log.row(pair[0].0)[j].bits() == log.row(pair[1].0)[j].bits()))
            .map(|j| reference.features[j].name.clone())
            .collect();
        // Attackers have real rows, but hardly those that others send on the same day, nor those that the judge compares with: they take
        // rows like the profile's.
        let rows = if reference.sample.len() >= MIN_SAMPLE {
            Rows::new(reference, seed)
        } else {
            let all = chosen.iter().map(|&(event, answer)| (log.row(event).to_vec(), answer)).unzip();
            Rows::new(&world(reference, all), seed)
        };
        let (learned, test) = (world(reference, part(false)), part(true));
        let fit = |kind: VictimKind, name: &'static str| -> Result<(Surrogate, Fidelity), DrillError> {
            let surrogate =
                Surrogate::fit(&learned, &rows, kind, seed).map_err(|error| DrillError::Surrogate(error.to_string()))?;
            let fidelity = measure(&surrogate, name, learned.sample.len() as u64, &test);
            Ok((surrogate, fidelity))
        };
        let boosted = fit(VictimKind::Boosted, "boosted trees")?;
        let tree = fit(VictimKind::Tree, "decision tree")?;
        let merit = |fidelity: &Fidelity| fidelity.explained.unwrap_or_else(|| fidelity.agreement.value().unwrap_or(0.0));
        Ok(if merit(&tree.1) > merit(&boosted.1) {
            Self { rows, best: tree, tree: None, constant }
        } else {
            Self { rows, best: boosted, tree: Some(tree), constant }
        })
    }

    /// The model that a family meets.
    pub fn of(&self, family: crate::simulate::attack::AttackKind) -> &Surrogate {
        match &self.tree {
            Some(tree) if family == crate::simulate::attack::AttackKind::TreePath => &tree.0,
            _ => &self.best.0,
        }
    }

    /// Fidelity of both, the one that answers most families first.
    pub fn fidelity(&self) -> Vec<Fidelity> {
        std::iter::once(&self.best).chain(&self.tree).map(|(_, fidelity)| fidelity.clone()).collect()
    }
}

/// An answer as the log would hold it.
pub fn logged(answer: &Answer) -> Prediction {
    match answer {
        Answer::Score(score) => Prediction::Score(*score),
        Answer::Label(label) => Prediction::Label(Cell::category(*label)),
        Answer::Probabilities(shares) => {
            let top = answer.class(0.5);
            let probability = shares.get(top).copied().unwrap_or(0.0);
            let next = shares.iter().enumerate().filter(|(k, _)| *k != top).map(|(_, p)| *p).fold(0.0, f64::max);
            Prediction::Probabilities { top: Cell::category(top), probability, margin: probability - next }
        }
    }
}

/// Different rows with a usable answer, evenly chosen by hash, as (event, answer).
fn choose(reference: &Reference, log: &Log, honest: impl Fn(usize) -> bool, seed: u64) -> Result<Vec<(usize, Cell)>, DrillError> {
    let mut different: FxHashMap<u64, (usize, Cell)> = FxHashMap::default();
    let mut answered = 0_u64;
    for event in (0..log.len()).filter(|&event| honest(event)) {
        let Some(answer) = usable(reference, log.answer(event)) else { continue };
        answered += 1;
        let hash = log.row(event).iter().fold(seed, |hash, cell| mix2(hash, cell.bits()));
        // The first answer to a row counts; a model that answers the same row differently is no function of it.
        different.entry(hash).or_insert((event, answer));
    }
    if answered == 0 {
        return Err(DrillError::NoAnswers { events: log.len() });
    }
    if different.len() < MIN_ROWS {
        return Err(DrillError::FewRows { rows: different.len() });
    }
    let mut chosen: Vec<(u64, (usize, Cell))> = different.into_iter().map(|(hash, one)| (mix(hash), one)).collect();
    chosen.sort_unstable_by_key(|(hash, (event, _))| (*hash, *event));
    chosen.truncate(MAX_ROWS);
    let first = chosen[0].1.1.bits();
    if chosen.iter().all(|(_, (_, answer))| answer.bits() == first) {
        return Err(DrillError::OneAnswer);
    }
    Ok(chosen.into_iter().map(|(_, one)| one).collect())
}

/// The answer as the profile's sample holds it: a finite score or a known class.
fn usable(reference: &Reference, answer: Prediction) -> Option<Cell> {
    let fits = matches!(
        (reference.prediction.kind, answer),
        (PredictionKind::Score, Prediction::Score(_))
            | (PredictionKind::Label | PredictionKind::Probabilities, Prediction::Label(_) | Prediction::Probabilities { .. })
    );
    let cell = answer.cell();
    let known = match reference.prediction.kind {
        PredictionKind::Score => cell.value().is_finite(),
        _ => cell.value() >= 0.0 && cell.value() < reference.prediction.classes.len() as f64,
    };
    (fits && known).then_some(cell)
}

/// The profile with other sample rows: features stay as they are known to everybody, rows and answers are the log's.
fn world(reference: &Reference, (sample, answers): (Vec<Vec<Cell>>, Vec<Cell>)) -> Reference {
    let mut world = reference.clone();
    if reference.prediction.kind != PredictionKind::Score {
        let mut counts = vec![0; reference.prediction.counts.len()];
        for answer in &answers {
            if let Some(count) = counts.get_mut(answer.value().max(0.0) as usize) {
                *count += 1;
            }
        }
        world.prediction.counts = counts;
    }
    world.sample = sample;
    world.sample_predictions = answers;
    world
}

fn measure(surrogate: &Surrogate, name: &'static str, learned_from: u64, test: &(Vec<Vec<Cell>>, Vec<Cell>)) -> Fidelity {
    let threshold = surrogate.threshold();
    let (mut alike, mut classes) = (0, std::collections::BTreeMap::<usize, u64>::new());
    let (mut residual, mut truth) = (0.0, Vec::new());
    let mut scores = false;
    for (row, said) in test.0.iter().zip(&test.1) {
        let answer = surrogate.answer(row);
        let decided = match &answer {
            Answer::Score(score) => {
                scores = true;
                residual += (score - said.value()).powi(2);
                truth.push(said.value());
                usize::from(said.value() > threshold)
            }
            _ => said.value() as usize,
        };
        alike += u64::from(answer.class(threshold) == decided);
        *classes.entry(decided).or_default() += 1;
    }
    let rows = test.0.len() as u64;
    let mean = truth.iter().sum::<f64>() / truth.len().max(1) as f64;
    let total: f64 = truth.iter().map(|value| (value - mean).powi(2)).sum();
    Fidelity {
        surrogate: name,
        learned_from,
        agreement: Share::new(alike, rows),
        always_the_commonest: classes.values().max().copied().unwrap_or(0) as f64 / rows.max(1) as f64,
        explained: (scores && total > 0.0).then(|| 1.0 - residual / total),
    }
}
