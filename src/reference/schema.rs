//! Binds the named, typed values of an event to [`Cell`]s in schema order.
//!
//! A schema is a reference prepared for look-ups: names and categories in hash maps. It is lenient where logs commonly differ from
//! training files (numbers written as text, `1` for `true`, categories written as numbers) and exact otherwise. A value that it
//! cannot read becomes [`Cell::UNREADABLE`], which has a code of its own in every statistic; nothing is guessed.

use rustc_hash::FxHashMap;

use super::{Kind, PredictionKind, Reference};
use crate::event::{Cell, Prediction};

/// A scalar of an event, borrowed from its text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Scalar<'a> {
    /// `null` or absent.
    Null,
    /// A number.
    Number(f64),
    /// `true` or `false`.
    Boolean(bool),
    /// Text.
    Text(&'a str),
}

/// Look-ups for one reference.
#[derive(Clone, Debug)]
pub struct Schema {
    names: FxHashMap<Box<str>, usize>,
    kinds: Vec<Kind>,
    categories: Vec<FxHashMap<Box<str>, usize>>,
    prediction: PredictionKind,
    classes: FxHashMap<Box<str>, usize>,
}

// === impl Schema ===

impl Schema {
    /// Prepares the look-ups of a reference.
    pub fn new(reference: &Reference) -> Self {
        Self {
            names: reference.features.iter().enumerate().map(|(i, f)| (f.name.as_str().into(), i)).collect(),
            kinds: reference.features.iter().map(|f| f.kind).collect(),
            categories: reference.features.iter().map(|f| category_index(&f.values)).collect(),
            prediction: reference.prediction.kind,
            classes: category_index(&reference.prediction.classes),
        }
    }

    /// Other names of features, each with the feature's own: a name that is itself a feature's keeps its meaning. What names no feature
    /// is left out.
    #[must_use]
    pub fn with_names<'a>(mut self, others: impl Iterator<Item = (&'a str, &'a str)>) -> Self {
        for (other, own) in others {
            if let Some(&position) = self.names.get(own) {
                self.names.entry(other.into()).or_insert(position);
            }
        }
        self
    }

    /// Number of features.
    pub fn width(&self) -> usize {
        self.kinds.len()
    }

    /// Position of a feature by name.
    pub fn position(&self, name: &str) -> Option<usize> {
        self.names.get(name).copied()
    }

    /// The cell for a value of feature `position`.
    pub fn bind(&self, position: usize, value: Scalar<'_>) -> Cell {
        let Some(kind) = self.kinds.get(position) else { return Cell::UNREADABLE };
        if *kind == Kind::Categorical {
            return bind_category(&self.categories[position], value);
        }
        match value {
            Scalar::Null => Cell::MISSING,
            Scalar::Number(number) => Cell::number(number),
            Scalar::Boolean(flag) => Cell::number(f64::from(u8::from(flag))),
            Scalar::Text(text) => number_from_text(text),
        }
    }

    /// Whether the cell of feature `position` is of a text that the reference does not know: an unseen category, or no number where one
    /// belongs.
    pub fn is_unknown_text(&self, position: usize, cell: Cell) -> bool {
        cell.is_unreadable() || (cell.value() < 0.0 && self.kinds.get(position) == Some(&Kind::Categorical))
    }

    /// The form of this model's answers.
    pub fn prediction_kind(&self) -> PredictionKind {
        self.prediction
    }

    /// The model's answer when the log gives one scalar: a score or a label, whichever the reference says.
    pub fn bind_prediction(&self, value: Scalar<'_>) -> Prediction {
        match (self.prediction, value) {
            (_, Scalar::Null) => Prediction::Missing,
            (PredictionKind::Score, Scalar::Number(number)) => Prediction::Score(number),
            (PredictionKind::Score, Scalar::Boolean(flag)) => Prediction::Score(f64::from(u8::from(flag))),
            (PredictionKind::Score, Scalar::Text(text)) => {
                text.trim().parse().ok().filter(|n: &f64| n.is_finite()).map_or(Prediction::Missing, Prediction::Score)
            }
            (PredictionKind::Label | PredictionKind::Probabilities, value) => {
                Prediction::Label(bind_category(&self.classes, value))
            }
        }
    }

    /// The model's answer when the log gives probabilities by class, in any order.
    pub fn bind_probabilities<'a>(&self, classes: impl Iterator<Item = (&'a str, f64)>) -> Prediction {
        let mut best: Option<(Cell, f64)> = None;
        let mut second = 0.0_f64;
        for (name, probability) in classes {
            match best {
                Some((_, top)) if probability <= top => second = second.max(probability),
                _ => {
                    second = best.map_or(second, |(_, top)| second.max(top));
                    best = Some((bind_category(&self.classes, Scalar::Text(name)), probability));
                }
            }
        }
        best.map_or(Prediction::Missing, |(top, probability)| Prediction::Probabilities {
            top,
            probability,
            margin: probability - second,
        })
    }
}

/// Categories by spelling, and by the other spellings that a log may have of the same value: training files write `1.0` and
/// `True` where JSON has the number 1 and `true`. A spelling that is itself a category keeps its own meaning.
fn category_index(values: &[String]) -> FxHashMap<Box<str>, usize> {
    let mut index: FxHashMap<Box<str>, usize> = values.iter().enumerate().map(|(i, v)| (v.as_str().into(), i)).collect();
    for (i, value) in values.iter().enumerate() {
        let other = match value.parse::<f64>() {
            Ok(number) if number.is_finite() => Some(number.to_string()),
            _ => Some(value.to_ascii_lowercase()).filter(|word| word == "true" || word == "false"),
        };
        if let Some(other) = other {
            index.entry(other.into()).or_insert(i);
        }
    }
    index
}

fn number_from_text(text: &str) -> Cell {
    match text.trim() {
        "" => Cell::MISSING,
        word if word.eq_ignore_ascii_case("true") => Cell::number(1.0),
        word if word.eq_ignore_ascii_case("false") => Cell::number(0.0),
        word => word.parse().map_or(Cell::UNREADABLE, Cell::number),
    }
}

fn bind_category(known: &FxHashMap<Box<str>, usize>, value: Scalar<'_>) -> Cell {
    let find = |text: &str| known.get(text).map_or_else(|| Cell::unseen(text), |&i| Cell::category(i));
    match value {
        Scalar::Null => Cell::MISSING,
        // As in a training file, where an empty field is no value.
        Scalar::Text(text) if text.trim().is_empty() => Cell::MISSING,
        Scalar::Text(text) => find(text),
        Scalar::Boolean(flag) => find(if flag { "true" } else { "false" }),
        // Rust prints the shortest form that reads back, which is how category codes are written in training files.
        Scalar::Number(number) => find(&number.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_category_keeps_its_identity() {
        let known = [("Private".into(), 0)].into_iter().collect();
        assert_eq!(bind_category(&known, Scalar::Text("Private")), Cell::category(0));
        assert_eq!(bind_category(&known, Scalar::Text("x")), bind_category(&known, Scalar::Text("x")));
        assert_ne!(bind_category(&known, Scalar::Text("x")), bind_category(&known, Scalar::Text("y")));
    }

    #[test]
    fn a_category_written_as_a_number_is_found_in_every_spelling() {
        let known = category_index(&["007".into(), "1.0".into(), "True".into(), "x".into()]);
        assert_eq!(bind_category(&known, Scalar::Number(1.0)), Cell::category(1));
        assert_eq!(bind_category(&known, Scalar::Text("1.0")), Cell::category(1));
        assert_eq!(bind_category(&known, Scalar::Number(7.0)), Cell::category(0));
        assert_eq!(bind_category(&known, Scalar::Boolean(true)), Cell::category(2));
        assert!(bind_category(&known, Scalar::Text("")).is_missing());
        let own = category_index(&["1".into(), "1.0".into()]);
        assert_eq!(bind_category(&own, Scalar::Number(1.0)), Cell::category(0));
    }

    #[test]
    fn text_in_a_numeric_feature_is_a_value_of_its_own_kind() {
        assert!(number_from_text("forty").is_unreadable());
        assert!(number_from_text("  ").is_missing());
        assert_eq!(number_from_text("4e1"), Cell::number(40.0));
    }
}
