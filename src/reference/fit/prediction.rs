//! The distribution of the model's answers, and what form they have.

use std::borrow::Cow;

use super::bins::{continuous_edges, exact_decimals, tally};
use super::{DISCRETE_LIMIT, FitError, FitOptions};
use crate::reference::number_style::{dressed, option_for};
use crate::reference::training::distinct_texts;
use crate::reference::{Dataset, PredictionKind, PredictionProfile, Raw};

/// Most classes of a label; the best known image models have 1,000.
pub(super) const MAX_CLASSES: usize = 10_000;
/// Score at which the decision changes when all scores lie in 0 to 1 and the user says nothing: the more probable class wins.
const DEFAULT_THRESHOLD: f64 = 0.5;

/// Learns the answers' profile: the declared form, or the one that all answers have.
pub(super) fn fit_prediction(dataset: &Dataset, options: &FitOptions) -> Result<PredictionProfile, FitError> {
    if !dataset.probabilities.is_empty() {
        return fit_probabilities(dataset, options);
    }
    if options.prediction_kind == Some(PredictionKind::Probabilities) {
        return Err(FitError::Options(
            "the answers are single values, not probabilities by class; write each as an object {\"class\":probability,..}",
        ));
    }
    if dataset.predictions.iter().all(|p| *p == Raw::Missing) {
        return Err(FitError::NoAnswers);
    }
    let numbers = tally(dataset.predictions.iter().filter_map(Raw::number).map(|n| n + 0.0).collect());
    let numeric = dataset.predictions.iter().filter(|p| **p != Raw::Missing).all(Raw::is_number);
    // Few whole numbers are classes; everything else that is a number is a score.
    let whole = numbers.len() <= DISCRETE_LIMIT && numbers.iter().all(|(v, _)| exact_decimals(*v) == 0);
    let kind = options.prediction_kind.unwrap_or(if numeric && !whole { PredictionKind::Score } else { PredictionKind::Label });
    if kind == PredictionKind::Score { fit_scores(dataset, options, &numbers) } else { fit_labels(dataset, options) }
}

/// Probabilities by class: rows are counted by their most probable class.
fn fit_probabilities(dataset: &Dataset, options: &FitOptions) -> Result<PredictionProfile, FitError> {
    if options.prediction_kind.is_some_and(|kind| kind != PredictionKind::Probabilities) {
        return Err(FitError::Options("the answers are probabilities by class; leave --prediction-kind out, or say probabilities"));
    }
    let mut classes: Vec<String> = dataset.probabilities.iter().flatten().map(|(name, _)| name.clone()).collect();
    classes.sort_unstable();
    classes.dedup();
    if classes.len() > MAX_CLASSES {
        return Err(FitError::TooManyClasses { distinct: classes.len() });
    }
    let tops = dataset
        .probabilities
        .iter()
        .map(|row| row.iter().max_by(|a, b| a.1.total_cmp(&b.1)).map(|(name, _)| Cow::Borrowed(name.as_str())));
    let counts = class_counts(&classes, tops);
    Ok(PredictionProfile { kind: PredictionKind::Probabilities, classes, edges: Vec::new(), counts, threshold: options.threshold })
}

/// Scores: rows are counted by quantile bin.
fn fit_scores(dataset: &Dataset, options: &FitOptions, numbers: &[(f64, u64)]) -> Result<PredictionProfile, FitError> {
    let wrong = dataset.predictions.iter().enumerate().find(|(_, p)| **p != Raw::Missing && p.number().is_none());
    if let Some((row, raw)) = wrong {
        return Err(FitError::WrongAnswer { row: row + 1, value: raw.text().into_owned(), wanted: "a finite number" });
    }
    let edges = continuous_edges(numbers);
    let mut counts = vec![0; edges.len() + 2];
    for raw in &dataset.predictions {
        let bin = raw.number().map_or(edges.len() + 1, |v| edges.partition_point(|&edge| edge < v));
        counts[bin] += 1;
    }
    let within_unit = numbers.iter().all(|(v, _)| (0.0..=1.0).contains(v));
    let threshold = options.threshold.or(within_unit.then_some(DEFAULT_THRESHOLD));
    Ok(PredictionProfile { kind: PredictionKind::Score, classes: Vec::new(), edges, counts, threshold })
}

/// Labels: rows are counted by class.
fn fit_labels(dataset: &Dataset, options: &FitOptions) -> Result<PredictionProfile, FitError> {
    if options.threshold.is_some() {
        return Err(FitError::Options("labels have no threshold; leave --threshold out, or say --prediction-kind score"));
    }
    let classes = distinct_texts(&dataset.predictions);
    if options.prediction_kind.is_none() {
        refuse_numbers_as_text(&dataset.predictions, &classes)?;
    }
    if classes.len() > MAX_CLASSES {
        return Err(FitError::TooManyClasses { distinct: classes.len() });
    }
    let texts = dataset.predictions.iter().map(|raw| (*raw != Raw::Missing).then(|| raw.text()));
    let counts = class_counts(&classes, texts);
    Ok(PredictionProfile { kind: PredictionKind::Label, classes, edges: Vec::new(), counts, threshold: None })
}

/// Refuses answers that would pass as labels and are numbers or lists in a text: `0,83`, `83 %`, `[0.17, 0.83]`.
fn refuse_numbers_as_text(answers: &[Raw], classes: &[String]) -> Result<(), FitError> {
    let is_list = |text: &str| text.starts_with('[') && text.ends_with(']');
    let first =
        |look: &dyn Fn(&str) -> bool| answers.iter().enumerate().find(|(_, raw)| **raw != Raw::Missing && look(raw.text().trim()));
    let all = |look: &dyn Fn(&str) -> bool| classes.iter().all(|class| look(class.trim()));
    let (look, remedy): (&dyn Fn(&str) -> bool, _) = if all(&is_list) {
        (&is_list, "write the score of one class into a column, or an object {\"class\":probability,..}")
    } else if all(&|text| dressed(text).is_some() || text.parse::<f64>().is_ok()) {
        let remedy = option_for(classes.iter().map(String::as_str));
        (&|text: &str| dressed(text).is_some(), remedy.unwrap_or("write plain numbers in the training data and in the log"))
    } else {
        return Ok(());
    };
    match first(look) {
        Some((row, raw)) => Err(FitError::AnswerAsText { row: row + 1, value: raw.text().into_owned(), remedy }),
        None => Ok(()),
    }
}

/// Rows per class, and behind them the rows without an answer of a known class.
fn class_counts<'a>(classes: &[String], answers: impl Iterator<Item = Option<Cow<'a, str>>>) -> Vec<u64> {
    let mut counts = vec![0; classes.len() + 1];
    for answer in answers {
        let index = answer.and_then(|a| classes.binary_search_by(|c| c.as_str().cmp(&a)).ok());
        counts[index.unwrap_or(classes.len())] += 1;
    }
    counts
}
