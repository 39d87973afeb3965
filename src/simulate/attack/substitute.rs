//! The attacker's copy of the model: a logistic regression on standardised numbers and category means, trained by gradient descent.
//!
//! Small on purpose. Both attacks that train a copy only need its gradient and where it is unsure.

use super::{Cell, Oracle};
use crate::reference::Kind;

/// Passes over the data; enough for a few hundred rows to settle.
const EPOCHS: usize = 60;

/// A copy.
pub struct Copy {
    weights: Vec<f64>,
    bias: f64,
    codes: Vec<Vec<f64>>,
}

// === impl Copy ===

impl Copy {
    /// Trains on rows and the classes that the victim gave (0 or not 0).
    pub fn train(oracle: &Oracle<'_>, data: &[(Vec<Cell>, f64)]) -> Self {
        let width = oracle.width();
        let mut codes = vec![Vec::new(); width];
        for (j, feature) in oracle.rows.features.iter().enumerate().filter(|(_, f)| f.kind == Kind::Categorical) {
            let mut sums = vec![(0.5, 1.0); feature.values.len().max(1)];
            for (row, y) in data {
                if let Some(sum) = sums.get_mut(row[j].value().max(0.0) as usize) {
                    sum.0 += y;
                    sum.1 += 1.0;
                }
            }
            codes[j] = sums.iter().map(|(sum, n)| 2.0 * sum / n - 1.0).collect();
        }
        let mut copy = Self { weights: vec![0.0; width], bias: 0.0, codes };
        let encoded: Vec<(Vec<f64>, f64)> = data.iter().map(|(row, y)| (copy.encode(oracle, row), *y)).collect();
        for epoch in 0..EPOCHS {
            let rate = 0.3 / (1.0 + epoch as f64 / 10.0);
            for (x, y) in &encoded {
                let error = y - logistic(copy.dot(x));
                copy.bias += rate * error * 0.1;
                copy.weights.iter_mut().zip(x).for_each(|(w, v)| *w += rate * error * v * 0.1);
            }
        }
        copy
    }

    fn encode(&self, oracle: &Oracle<'_>, row: &[Cell]) -> Vec<f64> {
        (0..row.len())
            .map(|j| match self.codes[j].len() {
                0 if row[j].value().is_finite() => ((row[j].value() - oracle.rows.quantile(j, 0.5))
                    / oracle.rows.spread(j).max(f64::MIN_POSITIVE))
                .clamp(-4.0, 4.0),
                0 => 0.0,
                n => self.codes[j][(row[j].value().max(0.0) as usize).min(n - 1)],
            })
            .collect()
    }

    fn dot(&self, x: &[f64]) -> f64 {
        self.bias + self.weights.iter().zip(x).map(|(w, v)| w * v).sum::<f64>()
    }

    /// The copy's probability for a row.
    pub fn probability(&self, oracle: &Oracle<'_>, row: &[Cell]) -> f64 {
        logistic(self.dot(&self.encode(oracle, row)))
    }

    /// Sign of the copy's gradient along a feature.
    pub fn slope(&self, j: usize) -> f64 {
        self.weights[j].signum()
    }
}

fn logistic(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}
