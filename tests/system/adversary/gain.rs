//! What an attacker has in the end: a copy that agrees with the model so often, or a case that fools it from so near.

use smartcore::linalg::basic::matrix::DenseMatrix;
use smartcore::xgboost::xgb_regressor::{XGRegressor, XGRegressorParameters};

use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;
use tripline::event::Cell;
use tripline::reference::{Feature, Kind};
use tripline::simulate::rows::Subpopulation;
use tripline::simulate::victim::Victim;

use super::scenario::Scenario;

/// Fewest answers from which a copy is trained; with fewer the attacker says what is most common.
const FEWEST: usize = 30;
/// Rows on which a copy is compared with the model: the agreement is then right to about one percent.
const HELD_OUT: usize = 1500;

/// The attacker's copy: boosted trees, the victim's own kind, on numbers and mean answers of categories.
pub struct Copy {
    model: Option<XGRegressor<f64, f64, DenseMatrix<f64>, Vec<f64>>>,
    codes: Vec<Vec<f64>>,
    fallback: f64,
}

/// Rows nobody asked, with the model's classes.
pub struct HeldOut {
    rows: Vec<Vec<Cell>>,
    classes: Vec<bool>,
    threshold: f64,
    common: f64,
}

// === impl Copy ===

impl Copy {
    /// Trains on rows and the scores that they were answered with. `fallback` is the score to state while there are too few.
    pub fn train(features: &[Feature], data: &[(&[Cell], f64)], fallback: f64) -> Self {
        let mean = data.iter().map(|d| d.1).sum::<f64>() / data.len().max(1) as f64;
        let codes: Vec<Vec<f64>> = features
            .iter()
            .enumerate()
            .map(|(j, feature)| {
                if feature.kind != Kind::Categorical {
                    return Vec::new();
                }
                let mut sums = vec![(5.0 * mean, 5.0); feature.values.len()];
                for (row, score) in data {
                    if let Some(sum) = sums.get_mut(row[j].value().max(0.0) as usize) {
                        sum.0 += score;
                        sum.1 += 1.0;
                    }
                }
                sums.iter().map(|(sum, n)| sum / n).collect()
            })
            .collect();
        let mut copy = Self { model: None, codes, fallback };
        if data.len() >= FEWEST {
            let x: Vec<Vec<f64>> = data.iter().map(|(row, _)| copy.encode(row)).collect();
            let y: Vec<f64> = data.iter().map(|d| d.1).collect();
            let parameters = XGRegressorParameters::default()
                .with_n_estimators(24)
                .with_max_depth(4)
                .with_learning_rate(0.3)
                .with_min_child_weight(3)
                .with_base_score(mean)
                .with_subsample(0.8)
                .with_seed(1);
            copy.model = XGRegressor::fit(&DenseMatrix::from_2d_vec(&x).unwrap(), &y, parameters).ok();
        }
        copy
    }

    fn encode(&self, row: &[Cell]) -> Vec<f64> {
        row.iter()
            .zip(&self.codes)
            .map(|(cell, codes)| match codes.len() {
                0 if cell.value().is_finite() => cell.value(),
                0 => -1e12,
                n => codes[(cell.value().max(0.0) as usize).min(n - 1)],
            })
            .collect()
    }

    /// Scores of rows.
    pub fn scores<'a>(&self, rows: impl Iterator<Item = &'a [Cell]>) -> Vec<f64> {
        let x: Vec<Vec<f64>> = rows.map(|row| self.encode(row)).collect();
        match &self.model {
            Some(model) if !x.is_empty() => model.predict(&DenseMatrix::from_2d_vec(&x).unwrap()).unwrap(),
            _ => vec![self.fallback; x.len()],
        }
    }
}

// === impl HeldOut ===

impl HeldOut {
    /// Rows of the scenario's world.
    pub fn new(scenario: &Scenario) -> Self {
        let world = scenario.world();
        let mut rng = ChaCha8Rng::seed_from_u64(0x4e1d);
        let mut place = Subpopulation::everywhere();
        let rows: Vec<Vec<Cell>> = (0..HELD_OUT).map(|_| world.rows.draw(&mut rng, &mut place)).collect();
        let threshold = world.victim.threshold();
        let classes: Vec<bool> = rows.iter().map(|row| world.victim.answer(row).number() > threshold).collect();
        let positive = classes.iter().filter(|&&c| c).count();
        let common = if 2 * positive > HELD_OUT { threshold + 1.0 } else { threshold - 1.0 };
        Self { rows, classes, threshold, common }
    }

    /// A score on the commoner side, which anybody can guess.
    pub fn common(&self) -> f64 {
        self.common
    }

    /// Share of rows on which a copy says what the model says, 0 to 1; what the guess of the commoner class reaches at least, since a
    /// copy that is worse is thrown away.
    pub fn agreement(&self, copy: &Copy) -> f64 {
        let scores = copy.scores(self.rows.iter().map(Vec::as_slice));
        let same = scores.iter().zip(&self.classes).filter(|(score, class)| (**score > self.threshold) == **class).count();
        let guess = self.classes.iter().filter(|&&class| class == (self.common > self.threshold)).count();
        same.max(guess) as f64 / HELD_OUT as f64
    }
}

/// How near to the chosen case (the attack's first row that has an opposite) a case of another class was found: in spreads of the
/// features, infinite while none was. `asked` is what was answered, in order.
pub fn distance(scenario: &Scenario, goal: &[Cell], asked: &[(&[Cell], f64)]) -> f64 {
    let world = scenario.world();
    let threshold = world.victim.threshold();
    let own = world.victim.answer(goal).number() > threshold;
    let movable = world.rows.numeric();
    asked
        .iter()
        .filter(|(row, score)| (*score > threshold) != own && same_elsewhere(row, goal, &movable))
        .map(|(row, _)| {
            let step = |&j: &usize| ((row[j].value() - goal[j].value()) / world.rows.spread(j)).powi(2);
            movable.iter().map(step).sum::<f64>().sqrt()
        })
        .fold(f64::INFINITY, f64::min)
}

fn same_elsewhere(row: &[Cell], goal: &[Cell], movable: &[usize]) -> bool {
    (0..row.len()).all(|j| movable.contains(&j) || row[j].bits() == goal[j].bits())
}
