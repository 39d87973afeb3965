//! Learns a reference profile from training (or early production) rows.
//!
//! Bins avoid what goes wrong in usual PSI implementations. Quantile edges collapse on 0/1 features, so features with few values
//! get a bin per value ([`mod@column`]). A histogram drops values outside the training range, so the outer bins are open and values
//! below and above the range have codes of their own. A single value may hold a large share of the rows; such an *atom* gets a
//! bin of its own ([`bins`]).
//!
//! The result depends on the dataset and the options alone: the same input gives the same bytes on every machine.

mod bins;
mod column;
mod error;
mod pairs;
mod prediction;

pub use error::FitError;
pub use pairs::{coarse_codes, coarse_counts, coarse_map};

use super::{Column, Dataset, Feature, Kind, PredictionKind, Raw, Reference, SCHEMA_VERSION, Schema};
use crate::reference::schema::Scalar;

/// A number with at most this many distinct values is discrete. 24 keeps hours of a day, ages in bands and small counts exact.
const DISCRETE_LIMIT: usize = 24;
/// Fewest rows from which deciles and their critical values mean anything: ten a bin.
const MIN_ROWS: usize = 100;
/// Rows kept as the sample unless the user says otherwise: 8192 rows give 33 million pairs for the tail of the similarity
/// baseline, and the file stays near a megabyte at 15 features.
const SAMPLE_ROWS: usize = 8192;

/// What the user may decide instead of the inference.
#[derive(Clone, PartialEq, Debug)]
pub struct FitOptions {
    /// Model name as in the events.
    pub model: String,
    /// Kinds by feature name that override the inferred ones.
    pub kinds: Vec<(String, Kind)>,
    /// Form of the answers, if the inference would be wrong.
    pub prediction_kind: Option<PredictionKind>,
    /// Score at which the decision changes; inferred as 0.5 for scores within 0 to 1.
    pub threshold: Option<f64>,
    /// Rows kept as the sample; at least 100 are kept of a dataset that has them.
    pub sample_rows: usize,
}

// === impl FitOptions ===

impl Default for FitOptions {
    fn default() -> Self {
        Self { model: String::new(), kinds: Vec::new(), prediction_kind: None, threshold: None, sample_rows: SAMPLE_ROWS }
    }
}

/// Learns a profile. Rows in any order give the same bins; the sample depends on the order of rows alone.
///
/// # Errors
/// [`FitError`], with the row and column of the fault where it has them.
pub fn fit(dataset: &Dataset, options: &FitOptions) -> Result<Reference, FitError> {
    check(dataset, options)?;
    let kind_of = |column: &Column| options.kinds.iter().find(|(name, _)| *name == column.name).map(|(_, kind)| *kind);
    let features: Result<Vec<Feature>, FitError> =
        dataset.features.iter().map(|column| column::fit_feature(column, kind_of(column))).collect();
    let features = features?;
    let mut reference = Reference {
        schema: SCHEMA_VERSION,
        model: options.model.clone(),
        rows: dataset.rows() as u64,
        features,
        prediction: prediction::fit_prediction(dataset, options)?,
        pairs: Vec::new(),
        sample: Vec::new(),
        sample_predictions: Vec::new(),
        digest: String::new(),
        signature: None,
    };
    take_sample(&mut reference, dataset, options.sample_rows);
    reference.pairs = pairs::fit_pairs(&reference.features, &reference.sample);
    reference.digest = reference.content_digest();
    Ok(reference)
}

/// Refuses datasets and options that no profile can be made from.
fn check(dataset: &Dataset, options: &FitOptions) -> Result<(), FitError> {
    if dataset.features.is_empty() {
        return Err(FitError::NoFeatures);
    }
    if dataset.rows() < MIN_ROWS {
        return Err(FitError::TooFewRows { rows: dataset.rows() });
    }
    for (i, column) in dataset.features.iter().enumerate() {
        if dataset.features[..i].iter().any(|other| other.name == column.name) {
            return Err(FitError::DuplicateColumn { column: column.name.clone() });
        }
    }
    if options.threshold.is_some_and(|t| !t.is_finite()) {
        return Err(FitError::Options("the threshold is not a finite number; give one with --threshold, or leave it out"));
    }
    for (name, kind) in &options.kinds {
        if !dataset.features.iter().any(|c| c.name == *name) {
            return Err(FitError::UnknownColumn { column: name.clone(), kind: kind.name() });
        }
    }
    Ok(())
}

/// Picks rows by the order of a fixed hash of their number: uniform, and the same on every machine.
fn take_sample(reference: &mut Reference, dataset: &Dataset, limit: usize) {
    let mut order: Vec<usize> = (0..dataset.rows()).collect();
    order.sort_by_key(|&i| (crate::hash::mix(i as u64), i));
    order.truncate(limit.max(MIN_ROWS));
    let schema = Schema::new(reference);
    for &row in &order {
        let cells = dataset.features.iter().enumerate().map(|(j, column)| schema.bind(j, scalar(&column.cells[row]))).collect();
        let answer = match dataset.probabilities.get(row) {
            Some(classes) => schema.bind_probabilities(classes.iter().map(|(name, p)| (name.as_str(), *p))),
            None => schema.bind_prediction(scalar(&dataset.predictions[row])),
        };
        reference.sample.push(cells);
        reference.sample_predictions.push(answer.cell());
    }
}

fn scalar(raw: &Raw) -> Scalar<'_> {
    match raw {
        Raw::Missing => Scalar::Null,
        Raw::Number(number) => Scalar::Number(*number),
        Raw::Boolean(flag) => Scalar::Boolean(*flag),
        Raw::Text(text) => Scalar::Text(text),
    }
}

#[cfg(test)]
mod tests {
    use super::column::fit_feature;
    use super::*;
    use crate::event::Cell;
    use crate::reference::code;

    fn column(name: &str, cells: impl IntoIterator<Item = Raw>) -> Column {
        Column { name: name.into(), cells: cells.into_iter().collect() }
    }

    fn numbers(n: usize, f: impl Fn(usize) -> f64) -> Vec<Raw> {
        (0..n).map(|i| Raw::Number(f(i))).collect()
    }

    #[test]
    fn every_value_has_a_bin_even_outside_the_training_range() {
        let feature = fit_feature(&column("x", numbers(1000, |i| i as f64)), None).unwrap();
        assert_eq!((feature.kind, feature.bins()), (Kind::Continuous, 10));
        for value in [-1e300, -1.0, 0.0, 500.0, 999.0, 1e300] {
            assert!(feature.code(Cell::number(value)) < feature.codes());
        }
        assert_eq!(feature.code(Cell::number(-1.0)), feature.bins() + code::BELOW);
        assert_eq!(feature.code(Cell::MISSING), feature.bins() + code::MISSING);
        assert_eq!(feature.counts.iter().sum::<u64>(), 1000);
        assert!(feature.counts[..10].iter().all(|&c| c == 100), "{:?}", feature.counts);
    }

    #[test]
    fn a_binary_feature_gets_a_bin_per_value_and_an_atom_its_own() {
        let flag = fit_feature(&column("f", numbers(200, |i| f64::from(u8::from(i % 10 == 0)))), None).unwrap();
        assert_eq!((flag.kind, flag.counts[0], flag.counts[1]), (Kind::Boolean, 180, 20));
        let spiked = fit_feature(&column("g", numbers(1000, |i| if i % 2 == 0 { 0.0 } else { i as f64 })), None).unwrap();
        assert_eq!(spiked.code(Cell::number(0.0)), 0);
        assert_eq!(spiked.counts[0], 500, "{spiked:?}");
    }

    #[test]
    fn a_declared_kind_that_the_values_contradict_names_row_column_and_value() {
        let mut cells = numbers(150, |i| i as f64);
        cells[41] = Raw::Text("forty".into());
        let dataset = Dataset {
            features: vec![column("age", cells)],
            predictions: numbers(150, |i| i as f64 / 150.0),
            probabilities: vec![],
        };
        let options = FitOptions { kinds: vec![("age".into(), Kind::Continuous)], ..FitOptions::default() };
        let error = fit(&dataset, &options).unwrap_err().to_string();
        assert_eq!(error, "row 42, column 'age': 'forty' is not a number, but the column was declared continuous");
    }

    #[test]
    fn a_profile_survives_its_file() {
        let dataset = Dataset {
            features: vec![
                column("x", numbers(400, |i| (i % 97) as f64 / 7.0)),
                column("c", (0..400).map(|i| Raw::Text(["a", "b", "c"][i % 3].into()))),
            ],
            predictions: numbers(400, |i| i as f64 / 400.0),
            probabilities: vec![],
        };
        let reference = fit(&dataset, &FitOptions { model: "m".into(), ..FitOptions::default() }).unwrap();
        let read = Reference::from_json(&reference.to_json().unwrap()).unwrap();
        assert_eq!(read, reference);
        let mut forged = reference.clone();
        forged.features[0].edges[0] += 0.5;
        assert!(matches!(Reference::from_json(&forged.to_json().unwrap()), Err(super::super::ReferenceError::Digest { .. })));
    }

    #[test]
    fn dependence_is_found_and_independence_is_not() {
        let x = numbers(3000, |i| (crate::hash::mix(i as u64) % 10) as f64);
        let y = numbers(3000, |i| ((crate::hash::mix(i as u64) % 10) / 2) as f64);
        let z = numbers(3000, |i| (crate::hash::mix(i as u64 + 77_777) % 10) as f64);
        let dataset = Dataset {
            features: vec![column("x", x), column("y", y), column("z", z)],
            predictions: numbers(3000, |i| i as f64 / 3e3),
            probabilities: vec![],
        };
        let reference = fit(&dataset, &FitOptions::default()).unwrap();
        assert_eq!(reference.pairs.iter().map(|p| (p.a, p.b)).collect::<Vec<_>>(), [(0, 1)]);
        // y has five values and is determined by x: H(y) = ln 5.
        assert!((reference.pairs[0].information - 5_f64.ln()).abs() < 0.01);
    }
}
