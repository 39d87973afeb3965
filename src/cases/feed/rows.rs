//! The last rows that were asked, so that the queries that a verdict lists can be kept with what they asked, redacted by policy before
//! anything is written.
//!
//! Bounded: the oldest row makes room. A query that a verdict lists and that is older, or from before a restart, is kept as a reference alone.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::cases::config::{PrivacyConfig, Redaction};
use crate::cases::seal::Seal;
use crate::event::{Cell, Prediction, Provenance, Query};
use crate::judge::QueryRef;
use crate::reference::{Feature, Kind, PredictionProfile, Reference};

/// Rows remembered, over all models. A row of fifteen features takes 250 bytes with its place, so 16 MB.
const MAX_ROWS: usize = 65_536;

/// A row as it was asked and answered.
#[derive(Debug)]
struct Remembered {
    /// Which reference it is bound to.
    model: usize,
    row: Box<[Cell]>,
    prediction: Prediction,
}

/// The last rows.
#[derive(Debug)]
pub struct Rows {
    references: Vec<Arc<Reference>>,
    privacy: PrivacyConfig,
    seal: Seal,
    rows: HashMap<Provenance, Remembered>,
    order: VecDeque<Provenance>,
    most: usize,
}

// === impl Rows ===

impl Rows {
    /// No rows yet, of these models.
    pub fn new(references: Vec<Arc<Reference>>, privacy: PrivacyConfig, seal: Seal) -> Self {
        Self { references, privacy, seal, rows: HashMap::new(), order: VecDeque::new(), most: MAX_ROWS }
    }

    /// Remembers a query.
    pub fn remember(&mut self, query: &Query) {
        let Some(model) = self.references.iter().position(|reference| reference.model == query.model) else { return };
        let remembered = Remembered { model, row: query.row.as_slice().into(), prediction: query.prediction };
        if self.rows.insert(query.provenance.clone(), remembered).is_none() {
            self.order.push_back(query.provenance.clone());
        }
        if self.order.len() > self.most
            && let Some(oldest) = self.order.pop_front()
        {
            self.rows.remove(&oldest);
        }
    }

    /// What a query asked, redacted; null if it is not remembered.
    pub fn content(&self, query: &QueryRef) -> Value {
        let Some(remembered) = self.rows.get(&query.provenance) else { return Value::Null };
        let Some(reference) = self.references.get(remembered.model) else { return Value::Null };
        let mut features = Map::new();
        for (feature, cell) in reference.features.iter().zip(&remembered.row) {
            let value = match self.privacy.of_feature(&feature.name) {
                Redaction::Drop => continue,
                Redaction::Keep => plain(feature, *cell),
                Redaction::Bucket => bucket(feature, *cell),
                // The configuration refuses hashes without a key.
                Redaction::Hash => {
                    self.seal.hash(&format!("{}={}", feature.name, plain(feature, *cell))).map_or(Value::Null, Value::from)
                }
            };
            features.insert(feature.name.clone(), value);
        }
        json!({"features": features, "prediction": answer(&reference.prediction, remembered.prediction)})
    }
}

/// A value as the log had it, as far as the reference knows it.
fn plain(feature: &Feature, cell: Cell) -> Value {
    if cell.is_missing() {
        return Value::Null;
    }
    if cell.is_unreadable() {
        return json!("unreadable");
    }
    match feature.kind {
        Kind::Categorical => category(&feature.values, cell).map_or_else(|| json!("unseen"), |text| json!(text)),
        Kind::Boolean => json!(cell.value() > 0.5),
        Kind::Continuous | Kind::Discrete => json!(cell.value()),
    }
}

/// The bin of a value: its two edges, a category, or that it lies outside.
fn bucket(feature: &Feature, cell: Cell) -> Value {
    let code = feature.code(cell);
    match feature.kind {
        _ if code >= feature.bins() && !cell.is_missing() => json!("outside the reference"),
        Kind::Continuous if !cell.is_missing() => {
            let edge = |at: Option<usize>| at.and_then(|at| feature.edges.get(at)).map_or(Value::Null, |edge| json!(edge));
            json!([edge(code.checked_sub(1)), edge(Some(code))])
        }
        _ => plain(feature, cell),
    }
}

fn category(values: &[String], cell: Cell) -> Option<&String> {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "saturates, and a place beyond the list has no value"
    )]
    let at = (cell.value() >= 0.0).then_some(cell.value() as usize)?;
    values.get(at)
}

fn answer(profile: &PredictionProfile, prediction: Prediction) -> Value {
    let class = |cell: Cell| category(&profile.classes, cell).map_or_else(|| json!("unseen"), |class| json!(class));
    match prediction {
        Prediction::Missing => Value::Null,
        Prediction::Score(score) => json!(score),
        Prediction::Label(cell) => class(cell),
        Prediction::Probabilities { top, probability, .. } => json!({"class": class(top), "probability": probability}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::At;

    fn rows(policy: &str) -> Rows {
        let bytes = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/models/adult/reference.json")).unwrap();
        let reference = Arc::new(Reference::from_json(&bytes).unwrap());
        let privacy: PrivacyConfig = toml::from_str(policy).unwrap();
        Rows::new(vec![reference], privacy, Seal::default())
    }

    fn asked(rows: &Rows, offset: i64, row: Vec<Cell>) -> (Query, QueryRef) {
        let provenance = Provenance { offset, ..Provenance::default() };
        let model = rows.references[0].model.clone();
        let query = Query { model, row, prediction: Prediction::Score(0.5), provenance: provenance.clone(), ..Query::default() };
        let reference = QueryRef { at: At(query.time), request_id: String::new(), provenance };
        (query, reference)
    }

    fn sample(rows: &Rows) -> Vec<Cell> {
        rows.references[0].sample[0].clone()
    }

    #[test]
    fn a_query_is_kept_with_its_values_and_redacted_by_policy() {
        let mut rows = rows("[features]\nage = \"drop\"\nhours_per_week = \"bucket\"\n");
        let (query, reference) = asked(&rows, 1, sample(&rows));
        assert_eq!(rows.content(&reference), Value::Null);
        rows.remember(&query);
        let content = rows.content(&reference);
        let features = content["features"].as_object().unwrap();
        assert!(!features.contains_key("age") && features.len() == rows.references[0].features.len() - 1, "{content}");
        assert_eq!(content["prediction"], 0.5);
        let text = rows.references[0].features.iter().find(|feature| feature.kind == Kind::Categorical).unwrap();
        let value = features[&text.name].as_str().unwrap();
        assert!(text.values.iter().any(|known| known == value), "{value}");
    }

    #[test]
    fn values_that_the_reference_does_not_know_are_said_to_be_so() {
        let mut rows = rows("other_features = \"bucket\"\n");
        let width = rows.references[0].features.len();
        for (offset, cell) in [(1, Cell::MISSING), (2, Cell::UNREADABLE), (3, Cell::unseen("x")), (4, Cell::number(1e12))] {
            let (query, reference) = asked(&rows, offset, vec![cell; width]);
            rows.remember(&query);
            let content = rows.content(&reference);
            let odd = |value: &Value| value.is_null() || value == "outside the reference";
            assert!(content["features"].as_object().unwrap().values().all(odd), "{content}");
        }
    }

    #[test]
    fn the_oldest_row_makes_room() {
        let mut rows = rows("");
        rows.most = 3;
        for offset in 0..10 {
            let (query, _) = asked(&rows, offset, sample(&rows));
            rows.remember(&query);
        }
        assert_eq!((rows.rows.len(), rows.order.len()), (3, 3));
        assert_eq!(rows.content(&asked(&rows, 6, Vec::new()).1), Value::Null);
        assert_ne!(rows.content(&asked(&rows, 7, Vec::new()).1), Value::Null);
    }
}
