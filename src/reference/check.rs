//! The consistency of a profile that was read: parts that contradict each other are refused.
//!
//! A digest only proves that a file was not changed after it was made. Whoever can compute digests can write any content, so every
//! length and range that a later stage relies on is checked here. No later stage then indexes out of bounds or divides by zero.

use super::{Feature, Kind, PredictionKind, PredictionProfile, Reference, ReferenceError, fit};

impl Reference {
    /// Finds the first part that contradicts another.
    pub(super) fn check(&self) -> Result<(), ReferenceError> {
        let inconsistent = |what: String| ReferenceError::Inconsistent { model: self.model.clone(), what };
        if self.features.is_empty() {
            return Err(inconsistent("it has no features".into()));
        }
        let mut names: Vec<&str> = self.features.iter().map(|f| f.name.as_str()).collect();
        names.sort_unstable();
        if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(inconsistent(format!("it has two features '{}'", twice[0])));
        }
        for feature in &self.features {
            feature.check(self.rows).map_err(|what| inconsistent(format!("feature '{}' {what}", feature.name)))?;
        }
        self.prediction.check(self.rows).map_err(|what| inconsistent(format!("the prediction {what}")))?;
        self.check_sample().map_err(inconsistent)
    }

    /// The sample and the pairs fit the features.
    fn check_sample(&self) -> Result<(), String> {
        let width = self.features.len();
        if let Some(row) = self.sample.iter().find(|row| row.len() != width) {
            return Err(format!("a sample row has {} cells for {width} features", row.len()));
        }
        if self.sample.len() != self.sample_predictions.len() {
            return Err(format!("{} sample rows with {} predictions", self.sample.len(), self.sample_predictions.len()));
        }
        let coarse: Vec<usize> = self.features.iter().map(fit::coarse_codes).collect();
        for pair in &self.pairs {
            let fits = pair.a < width && pair.b < width && pair.a != pair.b;
            if !fits || pair.counts.len() != coarse[pair.a] * coarse[pair.b] || !pair.information.is_finite() {
                return Err(format!("pair ({}, {}) does not fit the features", pair.a, pair.b));
            }
        }
        Ok(())
    }
}

impl Feature {
    /// Counts, bins and range agree with each other and with the number of rows.
    fn check(&self, rows: u64) -> Result<(), String> {
        if self.counts.len() != self.codes() {
            return Err(format!("has {} counts for {} codes", self.counts.len(), self.codes()));
        }
        if self.bins() == 0 {
            return Err("has no bins".into());
        }
        let foreign = match self.kind {
            Kind::Continuous => !self.support.is_empty() || !self.values.is_empty(),
            Kind::Discrete | Kind::Boolean => !self.edges.is_empty() || !self.values.is_empty(),
            Kind::Categorical => !self.edges.is_empty() || !self.support.is_empty(),
        };
        if foreign {
            return Err("has bins of another kind beside its own".into());
        }
        if !ascending(&self.edges) || !ascending(&self.support) {
            return Err("has edges that do not ascend".into());
        }
        if self.values.windows(2).any(|pair| pair[0] >= pair[1]) {
            return Err("has categories that do not ascend".into());
        }
        if [self.min, self.max, self.p01, self.p99].iter().any(|v| !v.is_finite()) || self.min > self.max {
            return Err("has no range from its smallest to its largest number".into());
        }
        check_total(&self.counts, rows)
    }
}

impl PredictionProfile {
    /// Counts and bins agree with each other and with the number of rows.
    fn check(&self, rows: u64) -> Result<(), String> {
        let bins = match self.kind {
            PredictionKind::Score => self.edges.len() + 1,
            PredictionKind::Label | PredictionKind::Probabilities => self.classes.len(),
        };
        if self.counts.len() != bins + 1 {
            return Err(format!("has {} counts for {} bins", self.counts.len(), bins + 1));
        }
        if !ascending(&self.edges) || self.classes.windows(2).any(|pair| pair[0] >= pair[1]) {
            return Err("has edges or classes that do not ascend".into());
        }
        check_total(&self.counts, rows)
    }
}

fn ascending(values: &[f64]) -> bool {
    values.iter().all(|v| v.is_finite()) && values.windows(2).all(|w| w[0] < w[1])
}

fn check_total(counts: &[u64], rows: u64) -> Result<(), String> {
    let total: u128 = counts.iter().map(|&n| u128::from(n)).sum();
    if total == u128::from(rows) { Ok(()) } else { Err(format!("counts {total} rows of {rows}")) }
}
