//! Training data in memory: what [`fit`](super::fit()) learns from.
//!
//! A cell keeps what its file said. Whether a text such as `007` is a number or a category is decided by `fit`, which sees the
//! whole column. The readers of files are in [`dataset`](crate::dataset).

use std::borrow::Cow;
use std::sync::Arc;

/// One value of the training data.
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

/// A named column of the training data.
#[derive(Clone, PartialEq, Debug)]
pub struct Column {
    /// Name in the file.
    pub name: String,
    /// One value a row.
    pub cells: Vec<Raw>,
}

/// Training data, by columns.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Dataset {
    /// Feature columns in schema order.
    pub features: Vec<Column>,
    /// The model's answers, one a row: scalars.
    pub predictions: Vec<Raw>,
    /// Class probabilities by row, if the answers have that form; then `predictions` is empty.
    pub probabilities: Vec<Vec<(String, f64)>>,
}

// === impl Raw ===

impl Raw {
    /// The finite number that the value is or spells; true is 1 and false is 0.
    pub(super) fn number(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number).filter(|n| n.is_finite()),
            Self::Boolean(flag) => Some(f64::from(u8::from(*flag))),
            Self::Text(text) => match text.trim() {
                t if t.eq_ignore_ascii_case("true") => Some(1.0),
                t if t.eq_ignore_ascii_case("false") => Some(0.0),
                t => t.parse().ok().filter(|n: &f64| n.is_finite()),
            },
            Self::Missing => None,
        }
    }

    /// The value as a category is spelled; nothing for a missing one.
    pub(super) fn text(&self) -> Cow<'_, str> {
        match self {
            Self::Missing => Cow::Borrowed(""),
            Self::Number(number) => Cow::Owned(number.to_string()),
            Self::Boolean(flag) => Cow::Borrowed(if *flag { "true" } else { "false" }),
            Self::Text(text) => Cow::Borrowed(text),
        }
    }

    /// Whether the value is true or false, or spells one of them.
    pub(super) fn is_boolean(&self) -> bool {
        match self {
            Self::Boolean(_) => true,
            Self::Text(text) => text.trim().eq_ignore_ascii_case("true") || text.trim().eq_ignore_ascii_case("false"),
            _ => false,
        }
    }

    /// Whether the value is a number, not a boolean that stands for one.
    pub(super) fn is_number(&self) -> bool {
        self.number().is_some() && !self.is_boolean()
    }
}

// === impl Dataset ===

impl Dataset {
    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.predictions.len().max(self.probabilities.len())
    }
}

/// The different texts of the cells that have a value, ascending.
pub(super) fn distinct_texts(cells: &[Raw]) -> Vec<String> {
    let present = cells.iter().filter(|raw| **raw != Raw::Missing);
    let seen: rustc_hash::FxHashSet<Cow<'_, str>> = present.map(Raw::text).collect();
    let mut texts: Vec<String> = seen.into_iter().map(Cow::into_owned).collect();
    texts.sort_unstable();
    texts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_counts_as_a_number_in_every_spelling_of_one() {
        let text = |text: &str| Raw::Text(text.into());
        for (raw, number) in [(Raw::Number(4.5), 4.5), (text(" 4.5 "), 4.5), (Raw::Boolean(true), 1.0), (text("FALSE"), 0.0)] {
            assert_eq!(raw.number(), Some(number), "{raw:?}");
        }
        for raw in [Raw::Missing, text("forty"), text("inf"), Raw::Number(f64::NAN)] {
            assert_eq!(raw.number(), None, "{raw:?}");
        }
        assert!(text("4.5").is_number() && !Raw::Boolean(true).is_number(), "a boolean is no number of its own");
    }

    #[test]
    fn texts_are_distinct_sorted_and_spelled_as_categories() {
        let cells = [Raw::Text("b".into()), Raw::Number(1.5), Raw::Missing, Raw::Boolean(true), Raw::Text("b".into())];
        assert_eq!(distinct_texts(&cells), ["1.5", "b", "true"]);
    }
}
