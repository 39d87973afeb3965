//! Learns a reference profile from a table of training (or early production) rows.
//!
//! Bins follow what goes wrong in usual PSI implementations: quantile edges that collapse on 0/1 features (so few-valued
//! features get a bin per value), values outside the training range that a histogram drops (so the outer bins are open and
//! below/above have codes of their own), and single values that hold a large share (so such an *atom* gets a bin of its own).

use super::{Feature, Kind, Pair, PredictionKind, PredictionProfile, Reference, SCHEMA_VERSION, Schema, code};
use crate::event::Cell;
use crate::reference::schema::Scalar;

/// Quantile bins of a continuous feature: ten is the convention of PSI (deciles), and critical values assume no particular number.
const QUANTILE_BINS: usize = 10;
/// A number with at most this many distinct values is discrete. 24 keeps hours of a day, ages in bands and small counts exact.
const DISCRETE_LIMIT: usize = 24;
/// Categories that keep a coarse code of their own before the rest share one: with 12 the joint table of a pair stays under
/// 200 cells, so that a few thousand rows fill it.
const COARSE_LIMIT: usize = 12;
/// Pairs kept per feature: three neighbours per feature carry nearly all of the dependence of a tree-shaped dependence graph
/// (Chow and Liu 1968 need one), at a cost linear in the number of features.
const PAIRS_PER_FEATURE: usize = 3;
/// Mutual information in nats below which a pair says nothing that a row could break.
const MIN_INFORMATION: f64 = 0.003;

/// One value of a training table.
#[derive(Clone, PartialEq, Debug)]
pub enum Raw {
    /// Empty or null.
    Missing,
    /// A number.
    Number(f64),
    /// true or false.
    Boolean(bool),
    /// Text.
    Text(Box<str>),
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
}

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
    let prediction = fit_prediction(table, options);
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
    reference.pairs = fit_pairs(&reference.features, &reference.sample);
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
        let mut values: Vec<String> = column.cells.iter().filter(|c| **c != Raw::Missing).map(raw_text).collect();
        values.sort_unstable();
        values.dedup();
        feature.values = values;
    } else {
        let total: u64 = numbers.iter().map(|(_, count)| count).sum();
        feature.min = numbers.first().map_or(0.0, |n| n.0);
        feature.max = numbers.last().map_or(0.0, |n| n.0);
        feature.p01 = quantile(&numbers, total, 0.01);
        feature.p99 = quantile(&numbers, total, 0.99);
        feature.decimals = numbers.iter().map(|(v, _)| decimals(*v)).max().unwrap_or(0);
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
            (raw, Kind::Categorical) => by_text.get(raw_text(raw).as_str()).map_or(Cell::UNREADABLE, |&i| Cell::category(i)),
            (raw, _) => raw_number(raw).map_or(Cell::UNREADABLE, Cell::number),
        };
        counts[feature.code(cell)] += 1;
    }
    feature.counts = counts;
    Ok(feature)
}

/// Decimals with which a number is written, 0 to 6.
fn decimals(value: f64) -> u8 {
    (0..6_u8)
        .find(|&d| {
            let scaled = value * 10_f64.powi(i32::from(d));
            (scaled - scaled.round()).abs() <= 1e-9 * scaled.abs().max(1.0)
        })
        .unwrap_or(6)
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

fn fit_prediction(table: &Table, options: &FitOptions) -> PredictionProfile {
    if !table.probabilities.is_empty() {
        let mut classes: Vec<String> = table.probabilities.iter().flatten().map(|(name, _)| name.clone()).collect();
        classes.sort_unstable();
        classes.dedup();
        let tops =
            table.probabilities.iter().map(|row| row.iter().max_by(|a, b| a.1.total_cmp(&b.1)).map(|(name, _)| name.as_str()));
        let counts = class_counts(&classes, tops);
        return PredictionProfile {
            kind: PredictionKind::Probabilities,
            classes,
            edges: Vec::new(),
            counts,
            threshold: options.threshold,
        };
    }
    let numbers = tally(table.predictions.iter().filter_map(raw_number).collect());
    let present = table.predictions.iter().filter(|p| **p != Raw::Missing);
    let numeric = present.clone().all(|p| raw_number(p).is_some() && !is_boolean_word(p));
    // Few whole numbers are classes; everything else that is a number is a score.
    let whole = numbers.len() <= DISCRETE_LIMIT && numbers.iter().all(|(v, _)| decimals(*v) == 0);
    let kind = options.prediction_kind.unwrap_or(if numeric && !whole { PredictionKind::Score } else { PredictionKind::Label });
    if kind == PredictionKind::Score {
        let edges = continuous_edges(&numbers);
        let mut counts = vec![0; edges.len() + 2];
        for raw in &table.predictions {
            let bin = raw_number(raw).map_or(edges.len() + 1, |v| edges.partition_point(|&edge| edge < v));
            counts[bin] += 1;
        }
        let within_unit = numbers.iter().all(|(v, _)| (0.0..=1.0).contains(v));
        let threshold = options.threshold.or(within_unit.then_some(0.5));
        return PredictionProfile { kind, classes: Vec::new(), edges, counts, threshold };
    }
    let texts: Vec<String> = table.predictions.iter().map(raw_text).collect();
    let mut classes: Vec<String> = texts.iter().filter(|t| !t.is_empty()).cloned().collect();
    classes.sort_unstable();
    classes.dedup();
    let counts = class_counts(&classes, texts.iter().map(|t| Some(t.as_str()).filter(|t| !t.is_empty())));
    PredictionProfile { kind: PredictionKind::Label, classes, edges: Vec::new(), counts, threshold: None }
}

fn class_counts<'a>(classes: &[String], answers: impl Iterator<Item = Option<&'a str>>) -> Vec<u64> {
    let mut counts = vec![0; classes.len() + 1];
    for answer in answers {
        let index = answer.and_then(|a| classes.binary_search_by(|c| c.as_str().cmp(a)).ok());
        counts[index.unwrap_or(classes.len())] += 1;
    }
    counts
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

/// Coarse code of each code of a feature: few enough that joint tables fill up.
///
/// Numbers keep their bins, with everything outside the range in the outer ones; of many categories the most frequent keep
/// their own code and the others share one. Missing and unseen come last.
pub fn coarse_map(feature: &Feature) -> Vec<usize> {
    let own = feature.bins();
    let mut map: Vec<usize> = (0..own).collect();
    let mut codes = own;
    if feature.kind != Kind::Continuous && own > COARSE_LIMIT {
        let mut by_count: Vec<usize> = (0..own).collect();
        by_count.sort_by_key(|&i| (std::cmp::Reverse(feature.counts.get(i).copied().unwrap_or(0)), i));
        by_count.truncate(COARSE_LIMIT - 1);
        by_count.sort_unstable();
        map = (0..own).map(|i| by_count.binary_search(&i).unwrap_or(COARSE_LIMIT - 1)).collect();
        codes = COARSE_LIMIT;
    }
    map.resize(own + code::EXTRA, codes + 1);
    map[own + code::MISSING] = codes;
    if feature.kind == Kind::Continuous {
        map[own + code::BELOW] = 0;
        map[own + code::ABOVE] = codes - 1;
    }
    map
}

/// Number of coarse codes of a feature.
pub fn coarse_codes(feature: &Feature) -> usize {
    coarse_map(feature).iter().max().map_or(0, |m| m + 1)
}

/// The pairs of features that depend on each other most, with their joint counts.
fn fit_pairs(features: &[Feature], sample: &[Vec<Cell>]) -> Vec<Pair> {
    let maps: Vec<Vec<usize>> = features.iter().map(coarse_map).collect();
    let sizes: Vec<usize> = features.iter().map(coarse_codes).collect();
    let columns: Vec<Vec<usize>> =
        features.iter().enumerate().map(|(j, f)| sample.iter().map(|row| maps[j][f.code(row[j])]).collect()).collect();
    let mut pairs = Vec::new();
    for a in 0..features.len() {
        for b in a + 1..features.len() {
            let mut counts = vec![0_u32; sizes[a] * sizes[b]];
            for (&x, &y) in columns[a].iter().zip(&columns[b]) {
                counts[x * sizes[b] + y] += 1;
            }
            let information = mutual_information(&counts, sizes[b], sample.len());
            if information > MIN_INFORMATION {
                pairs.push(Pair { a, b, information, counts });
            }
        }
    }
    pairs.sort_by(|p, q| q.information.total_cmp(&p.information).then((p.a, p.b).cmp(&(q.a, q.b))));
    pairs.truncate(PAIRS_PER_FEATURE * features.len());
    pairs
}

fn mutual_information(counts: &[u32], width: usize, rows: usize) -> f64 {
    let total = rows as f64;
    let height = counts.len() / width;
    let row_sums: Vec<f64> = (0..height).map(|x| counts[x * width..(x + 1) * width].iter().map(|&n| f64::from(n)).sum()).collect();
    let column_sums: Vec<f64> = (0..width).map(|y| (0..height).map(|x| f64::from(counts[x * width + y])).sum()).collect();
    let mut information = 0.0;
    for (i, &n) in counts.iter().enumerate() {
        if n > 0 {
            let n = f64::from(n);
            information += n / total * (n * total / (row_sums[i / width] * column_sums[i % width])).ln();
        }
    }
    let occupied = |sums: &[f64]| sums.iter().filter(|&&s| s > 0.0).count().saturating_sub(1).max(1) as f64;
    information - occupied(&row_sums) * occupied(&column_sums) / (2.0 * total)
}

#[cfg(test)]
mod tests {
    use super::*;

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
