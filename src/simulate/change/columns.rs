//! What a change knows of the columns: the reference profile's kinds, ranges, categories and moments.
//!
//! Changes are chosen as people make them, on columns that matter. Which column is the widest, and what is its mean, comes from
//! the profile's sample of training rows, so a change does not depend on the log that it is made in.

use rustc_hash::{FxHashMap, FxHashSet};

use crate::event::Cell;
use crate::reference::{Feature, Kind, Reference};

/// Distinct numbers above which a column has a spread: fewer are codes or flags, which nobody measures in units.
const FEW_NUMBERS: usize = 8;

/// One column.
#[derive(Clone, PartialEq, Debug)]
pub struct Column {
    /// Name as in the events.
    pub name: String,
    /// How the profile bins it.
    pub kind: Kind,
    /// Its categories in index order; empty for numbers.
    pub categories: Vec<String>,
    /// Indices of the categories, the commonest first.
    pub commonest: Vec<usize>,
    /// Decimals of its numbers, 0 to 6.
    pub decimals: u8,
    /// First percentile of its numbers.
    pub p01: f64,
    /// Ninety-ninth percentile of its numbers.
    pub p99: f64,
    /// Smallest number of the training data.
    pub min: f64,
    /// Largest number of the training data.
    pub max: f64,
    /// Mean over the profile's sample.
    pub mean: f64,
    /// Standard deviation over the profile's sample.
    pub deviation: f64,
    /// Distinct values in the profile's sample.
    pub distinct: usize,
}

/// The columns of a model.
#[derive(Clone, PartialEq, Debug)]
pub struct Columns {
    /// All, in schema order.
    pub all: Vec<Column>,
    /// Columns of text.
    pub text: Vec<usize>,
    /// Columns of numbers, flags included.
    pub numbers: Vec<usize>,
    /// Columns of numbers with a spread, the one with most distinct values first; where there is none, all columns of numbers.
    pub wide: Vec<usize>,
    /// Whether a name has a dot, so that nested objects are features.
    pub dotted: bool,
    positions: FxHashMap<String, usize>,
}

// === impl Column ===

impl Column {
    fn new(feature: &Feature, cells: &[Cell]) -> Self {
        let mut commonest: Vec<usize> = (0..feature.values.len()).collect();
        commonest.sort_by_key(|&at| (std::cmp::Reverse(feature.counts.get(at).copied().unwrap_or(0)), at));
        let known: Vec<f64> =
            cells.iter().filter(|cell| !cell.is_missing() && !cell.is_unreadable()).map(|cell| cell.value()).collect();
        let distinct = cells.iter().filter(|cell| !cell.is_missing()).map(|cell| cell.bits()).collect::<FxHashSet<_>>().len();
        #[expect(clippy::cast_precision_loss, reason = "the number of sample rows")]
        let rows = known.len().max(1) as f64;
        let mean = known.iter().sum::<f64>() / rows;
        let deviation = (known.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / rows).sqrt();
        Self {
            name: feature.name.clone(),
            kind: feature.kind,
            categories: feature.values.clone(),
            commonest,
            decimals: feature.decimals,
            p01: feature.p01,
            p99: feature.p99,
            min: feature.min,
            max: feature.max,
            mean,
            deviation,
            distinct,
        }
    }

    /// A category by its rank, the commonest being 0.
    pub fn common(&self, rank: usize) -> Option<&str> {
        self.commonest.get(rank).map(|&at| self.categories[at].as_str())
    }
}

// === impl Columns ===

impl Columns {
    /// The columns of a profile.
    pub fn new(reference: &Reference) -> Self {
        let column = |(at, feature): (usize, &Feature)| {
            let cells: Vec<Cell> = reference.sample.iter().filter_map(|row| row.get(at).copied()).collect();
            Column::new(feature, &cells)
        };
        Self::of(reference.features.iter().enumerate().map(column).collect())
    }

    fn of(all: Vec<Column>) -> Self {
        let which = |test: &dyn Fn(&Column) -> bool| -> Vec<usize> { (0..all.len()).filter(|&at| test(&all[at])).collect() };
        let text = which(&|column| column.kind == Kind::Categorical);
        let numbers = which(&|column| column.kind != Kind::Categorical);
        let mut wide = which(&|column| column.kind != Kind::Categorical && column.distinct > FEW_NUMBERS);
        wide.sort_by_key(|&at| std::cmp::Reverse(all[at].distinct));
        if wide.is_empty() {
            wide.clone_from(&numbers);
        }
        let dotted = all.iter().any(|column| column.name.contains('.'));
        let positions = all.iter().enumerate().map(|(at, column)| (column.name.clone(), at)).collect();
        Self { text, numbers, wide, dotted, positions, all }
    }

    /// Position of a column by name.
    pub fn position(&self, name: &str) -> Option<usize> {
        self.positions.get(name).copied()
    }
}

#[cfg(test)]
pub(in crate::simulate) mod tests {
    use super::*;

    fn text(name: &str, categories: &[&str]) -> Column {
        Column {
            name: name.into(),
            kind: Kind::Categorical,
            categories: categories.iter().map(|one| (*one).to_owned()).collect(),
            commonest: (0..categories.len()).collect(),
            decimals: 0,
            p01: 0.0,
            p99: 0.0,
            min: 0.0,
            max: 0.0,
            mean: 0.0,
            deviation: 0.0,
            distinct: categories.len(),
        }
    }

    fn number(name: &str, decimals: u8, distinct: usize) -> Column {
        let numbers = Column { kind: Kind::Continuous, decimals, distinct, ..text(name, &[]) };
        Column { p01: 20.0, p99: 80.0, min: 10.0, max: 90.0, mean: 50.0, deviation: 10.0, ..numbers }
    }

    /// A job, an age, a city and a score.
    pub(in crate::simulate) fn columns() -> Columns {
        Columns::of(vec![
            text("job_title", &["Clerk-A", "Café owner", "Nurse", "Pilot"]),
            number("age", 0, 60),
            text("city", &["Ulm", "New York", "Bern"]),
            number("credit_score", 2, 200),
        ])
    }

    #[test]
    fn the_widest_column_is_the_one_with_most_values() {
        let columns = columns();
        assert_eq!(columns.wide, [3, 1]);
        assert_eq!((columns.text.as_slice(), columns.numbers.as_slice()), ([0, 2].as_slice(), [1, 3].as_slice()));
        assert_eq!((columns.position("city"), columns.position("town")), (Some(2), None));
    }

    #[test]
    fn a_shipped_profile_gives_its_ranges_and_moments() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("models/adult/reference.json");
        let columns = Columns::new(&Reference::from_json(&std::fs::read(path).unwrap()).unwrap());
        let age = &columns.all[columns.position("age").unwrap()];
        assert!((35.0..42.0).contains(&age.mean) && (12.0..15.0).contains(&age.deviation), "{age:?}");
        assert_eq!(columns.all[columns.wide[0]].name, "fnlwgt");
        let sex = &columns.all[columns.position("sex").unwrap()];
        assert_eq!(sex.common(0), Some("Male"));
    }
}
