//! Learns a reference profile from a table of training (or early production) rows.
//!
//! Bins follow what goes wrong in usual PSI implementations: quantile edges that collapse on 0/1 features (so few-valued
//! features get a bin per value), values outside the training range that a histogram drops (so the outer bins are open and
//! below/above have codes of their own), and single values that hold a large share (so such an *atom* gets a bin of its own).

mod pairs;
mod prediction;

use std::borrow::Cow;
use std::sync::Arc;

pub use pairs::{coarse_codes, coarse_counts, coarse_map};

use super::{Feature, Kind, MOST_DECIMALS, PredictionKind, Reference, SCHEMA_VERSION, Schema};
use crate::event::Cell;
use crate::reference::schema::Scalar;

/// Quantile bins of a continuous feature: ten is the convention of PSI (deciles), and critical values assume no particular number.
const QUANTILE_BINS: usize = 10;
/// A number with at most this many distinct values is discrete. 24 keeps hours of a day, ages in bands and small counts exact.
const DISCRETE_LIMIT: usize = 24;

/// One value of a training table.
#[derive(Clone, PartialEq, Debug)]
pub enum Raw {
    /// Empty or null.
    Missing,
    /// A number.
    Number(f64),
    /// true or false.
    Boolean(bool),
    /// Text; shared, because a column of categories repeats a few of them.
    Text(Arc<str>),
}

/// A named column of a training table.
#[derive(Clone, PartialEq, Debug)]
pub struct Column {
    /// Name in the file.
    pub name: String,
    /// One value a row.
    pub cells: Vec<Raw>,
}

/// A training table, by columns.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Table {
    /// Feature columns in schema order.
    pub features: Vec<Column>,
    /// The model's answers, one a row: scalars.
    pub predictions: Vec<Raw>,
    /// Class probabilities by row, if the answers have that form; then `predictions` is empty.
    pub probabilities: Vec<Vec<(String, f64)>>,
}

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
    /// Rows kept as the sample.
    pub sample_rows: usize,
}

impl Default for FitOptions {
    fn default() -> Self {
        // 8192 rows give 33 million pairs for the similarity tail and stay near a megabyte at 15 features.
        Self { model: String::new(), kinds: Vec::new(), prediction_kind: None, threshold: None, sample_rows: 8192 }
    }
}

/// Why a table cannot become a profile.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum FitError {
    /// Too few rows to say anything.
    #[error("{rows} rows are too few for a reference; {MIN_ROWS} or more are needed")]
    TooFewRows {
        /// Rows in the table.
        rows: usize,
    },
    /// No feature column is left.
    #[error("the table has no feature column")]
    NoFeatures,
    /// Nothing but missing values.
    #[error("column '{column}' is empty in every row; leave it out with --drop {column}")]
    EmptyColumn {
        /// Name of the column.
        column: String,
    },
    /// A forced kind that the values contradict.
    #[error("row {row}, column '{column}': '{value}' is not a number, but the column was declared {kind}")]
    WrongKind {
        /// One-based data row.
        row: usize,
        /// Name of the column.
        column: String,
        /// The value.
        value: String,
        /// The declared kind.
        kind: &'static str,
    },
    /// A kind was given for a column that does not exist.
    #[error("there is no column '{column}' to be declared {kind}")]
    UnknownColumn {
        /// Name given.
        column: String,
        /// Kind given.
        kind: &'static str,
    },
    /// Two columns of one name.
    #[error("column '{column}' occurs twice")]
    DuplicateColumn {
        /// Name of the column.
        column: String,
    },
    /// Almost all values are numbers, and a few are not: more likely a slip than a category.
    #[error(
        "row {row}, column '{column}': '{value}' is not a finite number, and {numbers} other values of the column are; \
         correct it, say --missing '{value}' if it means no value, or --kind {column}=categorical"
    )]
    Mixed {
        /// One-based data row.
        row: usize,
        /// Name of the column.
        column: String,
        /// The value.
        value: String,
        /// How many values are numbers.
        numbers: u64,
    },
    /// So many different texts that they name rows rather than kinds of rows.
    #[error(
        "column '{column}' holds {distinct} different texts, more than {MAX_CATEGORIES}; if it is an id, leave it out with --drop {column}"
    )]
    TooManyCategories {
        /// Name of the column.
        column: String,
        /// Different texts.
        distinct: usize,
    },
    /// Not one answer of the model.
    #[error("the prediction is empty in every row")]
    NoAnswers,
    /// An answer that does not have the form that was declared or that the others have.
    #[error("row {row}: the prediction '{value}' is not {wanted}")]
    WrongAnswer {
        /// One-based data row.
        row: usize,
        /// The answer.
        value: String,
        /// What it should be.
        wanted: &'static str,
    },
    /// More classes than a label has.
    #[error(
        "the prediction has {distinct} different texts, more than {MAX_CLASSES} classes; \
         if it is a number with a few slips, --prediction-kind score finds them"
    )]
    TooManyClasses {
        /// Different texts.
        distinct: usize,
    },
    /// Declared forms or limits that do not go together.
    #[error("{0}")]
    Options(&'static str),
}

/// Most categories of a feature: airports, postal areas and product groups stay below, customer numbers do not.
const MAX_CATEGORIES: usize = 20_000;
/// Most classes of a label; the best known image models have 1,000.
const MAX_CLASSES: usize = 10_000;
/// Share of texts among numbers up to which they are slips rather than a category like room `12b`: one in a hundred.
const SLIP_SHARE: f64 = 0.01;
/// How programs write "no number" into text files, in lower case; among numbers such a word is never a category.
const NO_NUMBER: [&str; 12] = ["nan", "-nan", "na", "n/a", "null", "none", "nil", "?", "inf", "-inf", "infinity", "-infinity"];

/// Fewest rows from which deciles and their critical values mean anything: ten a bin.
const MIN_ROWS: usize = 100;

/// Learns a profile. Rows in any order give the same bins; the sample depends on the order of rows alone.
pub fn fit(table: &Table, options: &FitOptions) -> Result<Reference, FitError> {
    let rows = table.predictions.len().max(table.probabilities.len());
    if table.features.is_empty() {
        return Err(FitError::NoFeatures);
    }
    if rows < MIN_ROWS {
        return Err(FitError::TooFewRows { rows });
    }
    for (i, column) in table.features.iter().enumerate() {
        if table.features[..i].iter().any(|other| other.name == column.name) {
            return Err(FitError::DuplicateColumn { column: column.name.clone() });
        }
    }
    if options.threshold.is_some_and(|t| !t.is_finite()) {
        return Err(FitError::Options("the threshold is not a finite number"));
    }
    for (name, kind) in &options.kinds {
        if !table.features.iter().any(|c| c.name == *name) {
            return Err(FitError::UnknownColumn { column: name.clone(), kind: kind_name(*kind) });
        }
    }
    let mut features = Vec::with_capacity(table.features.len());
    for column in &table.features {
        let forced = options.kinds.iter().find(|(name, _)| *name == column.name).map(|(_, kind)| *kind);
        features.push(fit_feature(column, forced)?);
    }
    let prediction = prediction::fit_prediction(table, options)?;
    let mut reference = Reference {
        schema: SCHEMA_VERSION,
        model: options.model.clone(),
        rows: rows as u64,
        features,
        prediction,
        pairs: Vec::new(),
        sample: Vec::new(),
        sample_predictions: Vec::new(),
        digest: String::new(),
        signature: None,
    };
    take_sample(&mut reference, table, rows, options.sample_rows);
    reference.pairs = pairs::fit_pairs(&reference.features, &reference.sample);
    reference.digest = reference.content_digest();
    Ok(reference)
}

fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Continuous => "continuous",
        Kind::Discrete => "discrete",
        Kind::Boolean => "boolean",
        Kind::Categorical => "categorical",
    }
}

fn raw_number(raw: &Raw) -> Option<f64> {
    match raw {
        Raw::Number(number) => Some(*number).filter(|n| n.is_finite()),
        Raw::Boolean(flag) => Some(f64::from(u8::from(*flag))),
        Raw::Text(text) => match text.trim() {
            t if t.eq_ignore_ascii_case("true") => Some(1.0),
            t if t.eq_ignore_ascii_case("false") => Some(0.0),
            t => t.parse().ok().filter(|n: &f64| n.is_finite()),
        },
        Raw::Missing => None,
    }
}

fn raw_text(raw: &Raw) -> String {
    match raw {
        Raw::Missing => String::new(),
        Raw::Number(number) => number.to_string(),
        Raw::Boolean(flag) => flag.to_string(),
        Raw::Text(text) => text.to_string(),
    }
}

/// The different texts of the cells that have a value, ascending.
fn distinct_texts(cells: &[Raw]) -> Vec<String> {
    let mut seen: rustc_hash::FxHashSet<Cow<'_, str>> = rustc_hash::FxHashSet::default();
    for raw in cells.iter().filter(|raw| **raw != Raw::Missing) {
        seen.insert(match raw {
            Raw::Text(text) => Cow::Borrowed(text),
            other => Cow::Owned(raw_text(other)),
        });
    }
    let mut texts: Vec<String> = seen.into_iter().map(Cow::into_owned).collect();
    texts.sort_unstable();
    texts
}

fn is_boolean_word(raw: &Raw) -> bool {
    match raw {
        Raw::Boolean(_) => true,
        Raw::Text(text) => text.trim().eq_ignore_ascii_case("true") || text.trim().eq_ignore_ascii_case("false"),
        _ => false,
    }
}

/// Distinct numbers with their counts, ascending.
fn tally(mut numbers: Vec<f64>) -> Vec<(f64, u64)> {
    numbers.sort_by(f64::total_cmp);
    let mut tally: Vec<(f64, u64)> = Vec::new();
    for number in numbers {
        match tally.last_mut() {
            #[expect(clippy::float_cmp, reason = "runs of identical values")]
            Some((value, count)) if *value == number => *count += 1,
            _ => tally.push((number, 1)),
        }
    }
    tally
}

fn infer_kind(column: &Column, numbers: &[(f64, u64)]) -> Kind {
    let mut present = column.cells.iter().filter(|c| **c != Raw::Missing).peekable();
    let words = present.clone().all(is_boolean_word);
    let numeric = present.all(|c| raw_number(c).is_some() && !is_boolean_word(c));
    #[expect(clippy::float_cmp, reason = "0 and 1 are exact")]
    let binary = numbers.len() <= 2 && numbers.iter().all(|(v, _)| *v == 0.0 || *v == 1.0);
    match () {
        () if words || (numeric && binary) => Kind::Boolean,
        () if numeric && numbers.len() <= DISCRETE_LIMIT => Kind::Discrete,
        () if numeric => Kind::Continuous,
        () => Kind::Categorical,
    }
}

fn fit_feature(column: &Column, forced: Option<Kind>) -> Result<Feature, FitError> {
    if column.cells.iter().all(|c| *c == Raw::Missing) {
        return Err(FitError::EmptyColumn { column: column.name.clone() });
    }
    let numbers = tally(column.cells.iter().filter_map(raw_number).map(|n| n + 0.0).collect());
    let kind = forced.unwrap_or_else(|| infer_kind(column, &numbers));
    if kind != Kind::Categorical
        && let Some((row, cell)) = column.cells.iter().enumerate().find(|(_, c)| **c != Raw::Missing && raw_number(c).is_none())
    {
        return Err(FitError::WrongKind {
            row: row + 1,
            column: column.name.clone(),
            value: raw_text(cell),
            kind: kind_name(kind),
        });
    }
    if forced.is_none() && kind == Kind::Categorical {
        refuse_slips(column)?;
    }
    let mut feature = Feature {
        name: column.name.clone(),
        kind,
        values: Vec::new(),
        support: Vec::new(),
        edges: Vec::new(),
        counts: Vec::new(),
        min: 0.0,
        max: 0.0,
        p01: 0.0,
        p99: 0.0,
        decimals: 0,
    };
    if kind == Kind::Categorical {
        feature.values = distinct_texts(&column.cells);
        if feature.values.len() > MAX_CATEGORIES {
            return Err(FitError::TooManyCategories { column: column.name.clone(), distinct: feature.values.len() });
        }
    } else {
        let total: u64 = numbers.iter().map(|(_, count)| count).sum();
        feature.min = numbers.first().map_or(0.0, |n| n.0);
        feature.max = numbers.last().map_or(0.0, |n| n.0);
        feature.p01 = quantile(&numbers, total, 0.01);
        feature.p99 = quantile(&numbers, total, 0.99);
        feature.decimals = numbers.iter().map(|(v, _)| exact_decimals(*v)).max().unwrap_or(0);
        if kind == Kind::Continuous {
            feature.edges = continuous_edges(&numbers);
        } else {
            feature.support = numbers.iter().map(|(v, _)| *v).collect();
        }
    }
    feature.counts = vec![0; feature.codes()];
    let by_text: rustc_hash::FxHashMap<&str, usize> = feature.values.iter().enumerate().map(|(i, v)| (v.as_str(), i)).collect();
    let mut counts = feature.counts.clone();
    for raw in &column.cells {
        let cell = match (raw, kind) {
            (Raw::Missing, _) => Cell::MISSING,
            (Raw::Text(text), Kind::Categorical) => by_text.get(&**text).map_or(Cell::UNREADABLE, |&i| Cell::category(i)),
            (raw, Kind::Categorical) => by_text.get(raw_text(raw).as_str()).map_or(Cell::UNREADABLE, |&i| Cell::category(i)),
            (raw, _) => raw_number(raw).map_or(Cell::UNREADABLE, Cell::number),
        };
        counts[feature.code(cell)] += 1;
    }
    feature.counts = counts;
    Ok(feature)
}

/// Refuses a column of numbers that a few slips (or words for "no number") would turn into a category of numbers.
fn refuse_slips(column: &Column) -> Result<(), FitError> {
    let (mut numbers, mut words, mut others) = (0_u64, 0_u64, 0_u64);
    let mut first = None;
    for (i, raw) in column.cells.iter().enumerate().filter(|(_, raw)| **raw != Raw::Missing) {
        match raw_number(raw) {
            Some(_) if !is_boolean_word(raw) => numbers += 1,
            _ => {
                let word = NO_NUMBER.contains(&raw_text(raw).trim().to_ascii_lowercase().as_str());
                *if word { &mut words } else { &mut others } += 1;
                first = first.or(Some((i, raw)));
            }
        }
    }
    let few = others as f64 <= SLIP_SHARE * numbers as f64;
    match first {
        Some((i, raw)) if few && numbers > words => {
            Err(FitError::Mixed { row: i + 1, column: column.name.clone(), value: raw_text(raw), numbers })
        }
        _ => Ok(()),
    }
}

/// Decimals with which a number of the training table is written, 0 to 6; exact but for the float's own last digits, since the
/// number format of a column is learned from it.
fn exact_decimals(value: f64) -> u8 {
    (0..MOST_DECIMALS)
        .find(|&d| {
            let scaled = value * 10_f64.powi(i32::from(d));
            (scaled - scaled.round()).abs() <= 1e-9 * scaled.abs().max(1.0)
        })
        .unwrap_or(MOST_DECIMALS)
}

/// The smallest value with at least a share `q` at or below it.
fn quantile(tally: &[(f64, u64)], total: u64, q: f64) -> f64 {
    let mut seen = 0;
    for (value, count) in tally {
        seen += count;
        if seen as f64 >= q * total as f64 {
            return *value;
        }
    }
    tally.last().map_or(0.0, |t| t.0)
}

/// Inner edges: deciles, and around each value that holds a tenth of the rows or more an edge on both sides.
fn continuous_edges(tally: &[(f64, u64)]) -> Vec<f64> {
    let total: u64 = tally.iter().map(|(_, count)| count).sum();
    let is_atom = |count: u64| count * QUANTILE_BINS as u64 >= total;
    let rest: Vec<(f64, u64)> = tally.iter().filter(|(_, count)| !is_atom(*count)).copied().collect();
    let rest_total: u64 = rest.iter().map(|(_, count)| count).sum();
    let mut edges = Vec::new();
    if rest_total > 0 {
        let bins = ((QUANTILE_BINS as f64 * rest_total as f64 / total as f64).round() as usize).max(2);
        edges.extend((1..bins).map(|i| quantile(&rest, rest_total, i as f64 / bins as f64)));
    }
    for (i, (value, count)) in tally.iter().enumerate() {
        if is_atom(*count) {
            edges.push(*value);
            if i > 0 {
                edges.push(tally[i - 1].0);
            }
        }
    }
    edges.sort_by(f64::total_cmp);
    edges.dedup();
    // An edge at the maximum would leave an empty last bin.
    if let (Some(edge), Some((max, _))) = (edges.last(), tally.last())
        && edge >= max
    {
        edges.pop();
    }
    edges
}

/// Picks rows by the order of a fixed hash of their number: uniform, and the same on every machine.
fn take_sample(reference: &mut Reference, table: &Table, rows: usize, limit: usize) {
    let mut order: Vec<usize> = (0..rows).collect();
    order.sort_by_key(|&i| (crate::hash::mix(i as u64), i));
    order.truncate(limit.max(MIN_ROWS));
    let schema = Schema::new(reference);
    for &row in &order {
        let cells = table.features.iter().enumerate().map(|(j, column)| schema.bind(j, scalar(&column.cells[row]))).collect();
        let answer = match table.probabilities.get(row) {
            Some(classes) => schema.bind_probabilities(classes.iter().map(|(name, p)| (name.as_str(), *p))),
            None => schema.bind_prediction(scalar(&table.predictions[row])),
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
    use super::*;
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
        let table =
            Table { features: vec![column("age", cells)], predictions: numbers(150, |i| i as f64 / 150.0), probabilities: vec![] };
        let options = FitOptions { kinds: vec![("age".into(), Kind::Continuous)], ..FitOptions::default() };
        let error = fit(&table, &options).unwrap_err().to_string();
        assert_eq!(error, "row 42, column 'age': 'forty' is not a number, but the column was declared continuous");
    }

    #[test]
    fn a_profile_survives_its_file() {
        let table = Table {
            features: vec![
                column("x", numbers(400, |i| (i % 97) as f64 / 7.0)),
                column("c", (0..400).map(|i| Raw::Text(["a", "b", "c"][i % 3].into()))),
            ],
            predictions: numbers(400, |i| i as f64 / 400.0),
            probabilities: vec![],
        };
        let reference = fit(&table, &FitOptions { model: "m".into(), ..FitOptions::default() }).unwrap();
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
        let table = Table {
            features: vec![column("x", x), column("y", y), column("z", z)],
            predictions: numbers(3000, |i| i as f64 / 3e3),
            probabilities: vec![],
        };
        let reference = fit(&table, &FitOptions::default()).unwrap();
        assert_eq!(reference.pairs.iter().map(|p| (p.a, p.b)).collect::<Vec<_>>(), [(0, 1)]);
        // y has five values and is determined by x: H(y) = ln 5.
        assert!((reference.pairs[0].information - 5_f64.ln()).abs() < 0.01);
    }
}
