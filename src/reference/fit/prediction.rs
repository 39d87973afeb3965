//! The distribution of the model's answers, and what form they have.

use std::borrow::Cow;

use super::{DISCRETE_LIMIT, FitError, FitOptions, MAX_CLASSES, Raw, Table, continuous_edges, exact_decimals};
use super::{distinct_texts, is_boolean_word, raw_number, raw_text, tally};
use crate::reference::{PredictionKind, PredictionProfile};

/// Learns the answers' profile: the declared form, or the one that all answers have.
pub(super) fn fit_prediction(table: &Table, options: &FitOptions) -> Result<PredictionProfile, FitError> {
    if !table.probabilities.is_empty() {
        return fit_probabilities(table, options);
    }
    if options.prediction_kind == Some(PredictionKind::Probabilities) {
        return Err(FitError::Options(
            "the answers are single values, not probabilities by class; write each as an object {\"class\":probability,..}",
        ));
    }
    if table.predictions.iter().all(|p| *p == Raw::Missing) {
        return Err(FitError::NoAnswers);
    }
    let numbers = tally(table.predictions.iter().filter_map(raw_number).map(|n| n + 0.0).collect());
    let is_number = |p: &Raw| raw_number(p).is_some() && !is_boolean_word(p);
    let present = table.predictions.iter().filter(|p| **p != Raw::Missing);
    let numeric = present.clone().all(is_number);
    // Few whole numbers are classes; everything else that is a number is a score.
    let whole = numbers.len() <= DISCRETE_LIMIT && numbers.iter().all(|(v, _)| exact_decimals(*v) == 0);
    let kind = options.prediction_kind.unwrap_or(if numeric && !whole { PredictionKind::Score } else { PredictionKind::Label });
    if kind == PredictionKind::Score { fit_scores(table, options, &numbers) } else { fit_labels(table, options) }
}

fn fit_probabilities(table: &Table, options: &FitOptions) -> Result<PredictionProfile, FitError> {
    if options.prediction_kind.is_some_and(|kind| kind != PredictionKind::Probabilities) {
        return Err(FitError::Options("the answers are probabilities by class; leave --prediction-kind out, or say probabilities"));
    }
    let mut classes: Vec<String> = table.probabilities.iter().flatten().map(|(name, _)| name.clone()).collect();
    classes.sort_unstable();
    classes.dedup();
    if classes.len() > MAX_CLASSES {
        return Err(FitError::TooManyClasses { distinct: classes.len() });
    }
    let tops = table
        .probabilities
        .iter()
        .map(|row| row.iter().max_by(|a, b| a.1.total_cmp(&b.1)).map(|(name, _)| Cow::Borrowed(name.as_str())));
    let counts = class_counts(&classes, tops);
    Ok(PredictionProfile { kind: PredictionKind::Probabilities, classes, edges: Vec::new(), counts, threshold: options.threshold })
}

fn fit_scores(table: &Table, options: &FitOptions, numbers: &[(f64, u64)]) -> Result<PredictionProfile, FitError> {
    let wrong = table.predictions.iter().enumerate().find(|(_, p)| **p != Raw::Missing && raw_number(p).is_none());
    if let Some((row, raw)) = wrong {
        return Err(FitError::WrongAnswer { row: row + 1, value: raw_text(raw), wanted: "a finite number" });
    }
    let edges = continuous_edges(numbers);
    let mut counts = vec![0; edges.len() + 2];
    for raw in &table.predictions {
        let bin = raw_number(raw).map_or(edges.len() + 1, |v| edges.partition_point(|&edge| edge < v));
        counts[bin] += 1;
    }
    let within_unit = numbers.iter().all(|(v, _)| (0.0..=1.0).contains(v));
    let threshold = options.threshold.or(within_unit.then_some(0.5));
    Ok(PredictionProfile { kind: PredictionKind::Score, classes: Vec::new(), edges, counts, threshold })
}

fn fit_labels(table: &Table, options: &FitOptions) -> Result<PredictionProfile, FitError> {
    if options.threshold.is_some() {
        return Err(FitError::Options("labels have no threshold; leave --threshold out, or say --prediction-kind score"));
    }
    let classes = distinct_texts(&table.predictions);
    if classes.len() > MAX_CLASSES {
        return Err(FitError::TooManyClasses { distinct: classes.len() });
    }
    let texts = table.predictions.iter().map(|raw| match raw {
        Raw::Missing => None,
        Raw::Text(text) => Some(Cow::Borrowed(&**text)),
        other => Some(Cow::Owned(raw_text(other))),
    });
    let counts = class_counts(&classes, texts);
    Ok(PredictionProfile { kind: PredictionKind::Label, classes, edges: Vec::new(), counts, threshold: None })
}

fn class_counts<'a>(classes: &[String], answers: impl Iterator<Item = Option<Cow<'a, str>>>) -> Vec<u64> {
    let mut counts = vec![0; classes.len() + 1];
    for answer in answers {
        let index = answer.and_then(|a| classes.binary_search_by(|c| c.as_str().cmp(&a)).ok());
        counts[index.unwrap_or(classes.len())] += 1;
    }
    counts
}
