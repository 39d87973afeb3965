//! One feature from one column: its kind, its bins, and how many rows fall into each.

use rustc_hash::FxHashMap;

use super::bins::{continuous_edges, exact_decimals, quantile, tally};
use super::{DISCRETE_LIMIT, FitError};
use crate::event::Cell;
use crate::reference::training::distinct_texts;
use crate::reference::{Column, Feature, Kind, Raw};

/// Most categories of a feature: airports, postal areas and product groups stay below, customer numbers do not.
pub(super) const MAX_CATEGORIES: usize = 20_000;
/// Share of texts among numbers up to which they count as slips: one in a hundred. Chosen: more would refuse real categories
/// such as room `12b`, less would let a damaged export pass as a category of numbers.
const SLIP_SHARE: f64 = 0.01;
/// How programs write "no number" into text files, in lower case; among numbers such a word is never a category.
const NO_NUMBER: [&str; 12] = ["nan", "-nan", "na", "n/a", "null", "none", "nil", "?", "inf", "-inf", "infinity", "-infinity"];
/// Share of rows below the lower and above the upper end of a feature's usual range: one in a hundred.
const TAIL: f64 = 0.01;

/// Learns one feature; `forced` is the kind that the user declared.
pub(super) fn fit_feature(column: &Column, forced: Option<Kind>) -> Result<Feature, FitError> {
    if column.cells.iter().all(|c| *c == Raw::Missing) {
        return Err(FitError::EmptyColumn { column: column.name.clone() });
    }
    // Adding 0 turns −0 into 0.
    let numbers = tally(column.cells.iter().filter_map(Raw::number).map(|n| n + 0.0).collect());
    let kind = forced.unwrap_or_else(|| infer_kind(column, &numbers));
    refuse_texts_among_numbers(column, kind)?;
    if forced.is_none() && kind == Kind::Categorical {
        refuse_slips(column)?;
    }
    let mut feature = if kind == Kind::Categorical { categories(column)? } else { bins(column, kind, &numbers) };
    feature.counts = counts(&feature, &column.cells);
    Ok(feature)
}

/// The kind that the values of a column suggest.
fn infer_kind(column: &Column, numbers: &[(f64, u64)]) -> Kind {
    let mut present = column.cells.iter().filter(|c| **c != Raw::Missing).peekable();
    let booleans = present.clone().all(Raw::is_boolean);
    let numeric = present.all(Raw::is_number);
    #[expect(clippy::float_cmp, reason = "0 and 1 are exact")]
    let binary = numbers.len() <= 2 && numbers.iter().all(|(v, _)| *v == 0.0 || *v == 1.0);
    match () {
        () if booleans || (numeric && binary) => Kind::Boolean,
        () if numeric && numbers.len() <= DISCRETE_LIMIT => Kind::Discrete,
        () if numeric => Kind::Continuous,
        () => Kind::Categorical,
    }
}

/// Refuses a text in a column that was declared numeric.
fn refuse_texts_among_numbers(column: &Column, kind: Kind) -> Result<(), FitError> {
    if kind == Kind::Categorical {
        return Ok(());
    }
    match column.cells.iter().enumerate().find(|(_, c)| **c != Raw::Missing && c.number().is_none()) {
        Some((row, cell)) => Err(FitError::WrongKind {
            row: row + 1,
            column: column.name.clone(),
            value: cell.text().into_owned(),
            kind: kind.name(),
        }),
        None => Ok(()),
    }
}

/// Refuses a column of numbers that a few slips (or words for "no number") would turn into a category of numbers.
fn refuse_slips(column: &Column) -> Result<(), FitError> {
    let (mut numbers, mut words, mut others) = (0_u64, 0_u64, 0_u64);
    let mut first = None;
    for (i, raw) in column.cells.iter().enumerate().filter(|(_, raw)| **raw != Raw::Missing) {
        if raw.is_number() {
            numbers += 1;
            continue;
        }
        let is_word = NO_NUMBER.contains(&raw.text().trim().to_ascii_lowercase().as_str());
        *if is_word { &mut words } else { &mut others } += 1;
        first = first.or(Some((i, raw)));
    }
    let few = others as f64 <= SLIP_SHARE * numbers as f64;
    match first {
        Some((i, raw)) if few && numbers > words => {
            Err(FitError::Mixed { row: i + 1, column: column.name.clone(), value: raw.text().into_owned(), numbers })
        }
        _ => Ok(()),
    }
}

/// A categorical feature, without its counts.
fn categories(column: &Column) -> Result<Feature, FitError> {
    let values = distinct_texts(&column.cells);
    if values.len() > MAX_CATEGORIES {
        return Err(FitError::TooManyCategories { column: column.name.clone(), distinct: values.len() });
    }
    Ok(Feature { values, ..blank(column, Kind::Categorical) })
}

/// A numeric feature, without its counts.
fn bins(column: &Column, kind: Kind, numbers: &[(f64, u64)]) -> Feature {
    let total: u64 = numbers.iter().map(|(_, count)| count).sum();
    let continuous = kind == Kind::Continuous;
    Feature {
        edges: if continuous { continuous_edges(numbers) } else { Vec::new() },
        support: if continuous { Vec::new() } else { numbers.iter().map(|(v, _)| *v).collect() },
        min: numbers.first().map_or(0.0, |n| n.0),
        max: numbers.last().map_or(0.0, |n| n.0),
        p01: quantile(numbers, total, TAIL),
        p99: quantile(numbers, total, 1.0 - TAIL),
        decimals: numbers.iter().map(|(v, _)| exact_decimals(*v)).max().unwrap_or(0),
        ..blank(column, kind)
    }
}

fn blank(column: &Column, kind: Kind) -> Feature {
    Feature {
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
    }
}

/// Rows per code.
fn counts(feature: &Feature, cells: &[Raw]) -> Vec<u64> {
    let index: FxHashMap<&str, usize> = feature.values.iter().enumerate().map(|(i, v)| (v.as_str(), i)).collect();
    let mut counts = vec![0; feature.codes()];
    for raw in cells {
        let cell = match (raw, feature.kind) {
            (Raw::Missing, _) => Cell::MISSING,
            (raw, Kind::Categorical) => index.get(&*raw.text()).map_or(Cell::UNREADABLE, |&i| Cell::category(i)),
            (raw, _) => raw.number().map_or(Cell::UNREADABLE, Cell::number),
        };
        counts[feature.code(cell)] += 1;
    }
    counts
}
