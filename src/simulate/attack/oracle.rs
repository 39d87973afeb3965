//! What an attack can use: answers of the victim within a budget, public knowledge of the features, a few real rows, chance.
//!
//! The oracle writes every number as a client would write it before it asks, so that the victim answers what was sent. It records
//! what was asked; the recording is delivered later.

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::AttackSpec;
use crate::event::Cell;
use crate::reference::Kind;
use crate::simulate::chance::normal;
use crate::simulate::rows::Rows;
use crate::simulate::victim::{Answer, Victim};

/// What an attack has: answers, public knowledge of the features, a few rows of its own, chance.
pub struct Oracle<'a> {
    victim: &'a dyn Victim,
    /// Features and their public ranges.
    pub rows: &'a Rows,
    /// Chance.
    pub rng: ChaCha8Rng,
    /// What was asked, in order.
    pub asked: Vec<Vec<Cell>>,
    budget: usize,
    full_precision: bool,
}

// === impl Oracle ===

impl<'a> Oracle<'a> {
    /// Runs an attack and returns what it asked, in order.
    pub fn record(spec: &AttackSpec, victim: &'a dyn Victim, rows: &'a Rows, seed: u64) -> Vec<Vec<Cell>> {
        let mut oracle = Self {
            victim,
            rows,
            rng: ChaCha8Rng::seed_from_u64(seed),
            asked: Vec::with_capacity(spec.queries),
            budget: spec.queries,
            full_precision: spec.full_precision,
        };
        // `None` is the ordinary end: the budget is spent.
        let _ = spec.family.run(&mut oracle);
        oracle.asked
    }

    /// Asks the victim; `None` once the budget is spent. Numbers are written as the client would write them, so the answer is to
    /// what was sent, not to what was meant.
    pub fn ask(&mut self, row: &[Cell]) -> Option<Answer> {
        if self.asked.len() >= self.budget {
            return None;
        }
        let sent = self.written(row);
        let answer = self.victim.answer(&sent);
        self.asked.push(sent);
        Some(answer)
    }

    fn written(&self, row: &[Cell]) -> Vec<Cell> {
        row.iter()
            .enumerate()
            .map(|(j, cell)| {
                let feature = &self.rows.features[j];
                match feature.kind {
                    Kind::Categorical => *cell,
                    _ if !cell.value().is_finite() => *cell,
                    Kind::Boolean => Cell::number(f64::from(u8::from(cell.value() > 0.5))),
                    // Nine significant digits are what a script prints of a float.
                    _ if self.full_precision => Cell::number(format!("{:.8e}", cell.value()).parse().unwrap_or(0.0)),
                    _ => self.rows.snap(j, cell.value()),
                }
            })
            .collect()
    }

    /// The class that an answer stands for.
    pub fn class(&self, answer: &Answer) -> usize {
        answer.class(self.victim.threshold())
    }

    /// Number of features.
    pub fn width(&self) -> usize {
        self.rows.features.len()
    }

    /// A real row that the attacker has: from a public data set, or its own case.
    pub fn real(&mut self) -> Vec<Cell> {
        self.rows.elsewhere(&mut self.rng)
    }

    /// The lowest and highest value that an attacker expects of a numeric feature.
    pub fn range(&self, j: usize) -> (f64, f64) {
        let feature = &self.rows.features[j];
        (feature.min, feature.max.max(feature.min + f64::MIN_POSITIVE))
    }

    /// Width of that range.
    pub fn extent(&self, j: usize) -> f64 {
        let (low, high) = self.range(j);
        high - low
    }

    /// A value drawn evenly from a feature's range or categories.
    pub fn anything(&mut self, j: usize) -> Cell {
        let feature = &self.rows.features[j];
        match feature.kind {
            Kind::Categorical => Cell::category(self.rng.random_range(0..feature.values.len().max(1))),
            Kind::Boolean => Cell::number(f64::from(u8::from(self.rng.random::<bool>()))),
            Kind::Discrete | Kind::Continuous => {
                let (low, high) = self.range(j);
                Cell::number(low + self.rng.random::<f64>() * (high - low))
            }
        }
    }

    /// A row of such values.
    pub fn noise(&mut self) -> Vec<Cell> {
        (0..self.width()).map(|j| self.anything(j)).collect()
    }

    /// Features that can be moved by small steps.
    pub fn movable(&self) -> Vec<usize> {
        self.rows.numeric()
    }

    /// A number kept within the feature's range.
    pub fn clamp(&self, j: usize, value: f64) -> Cell {
        let (low, high) = self.range(j);
        Cell::number(value.clamp(low, high))
    }

    /// A number moved by `step` spreads, but by one unit of its last decimal at least: a smaller step would be none.
    pub fn nudged(&self, j: usize, cell: Cell, step: f64) -> Cell {
        let unit = if self.full_precision { 0.0 } else { 10_f64.powi(-i32::from(self.rows.features[j].decimals)) };
        let step = step * self.rows.spread(j);
        self.clamp(j, cell.value() + step.signum() * step.abs().max(unit))
    }

    /// A standard normal number.
    pub fn normal(&mut self) -> f64 {
        normal(&mut self.rng)
    }

    /// `row` moved by `step` (in spreads of each feature) along `direction` over the `movable` features.
    pub fn moved(&self, row: &[Cell], movable: &[usize], direction: &[f64], step: f64) -> Vec<Cell> {
        let mut moved = row.to_vec();
        for (&j, d) in movable.iter().zip(direction) {
            moved[j] = self.clamp(j, row[j].value() + step * d * self.rows.spread(j));
        }
        moved
    }

    /// A direction of unit length.
    pub fn direction(&mut self, n: usize) -> Vec<f64> {
        let raw: Vec<f64> = (0..n).map(|_| self.normal()).collect();
        unit(&raw)
    }
}

/// A vector scaled to length 1; a zero vector stays.
pub fn unit(raw: &[f64]) -> Vec<f64> {
    let length = raw.iter().map(|v| v * v).sum::<f64>().sqrt();
    if length > 0.0 { raw.iter().map(|v| v / length).collect() } else { raw.to_vec() }
}
