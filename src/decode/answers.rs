//! The model's answers: one or many, as scores, labels or probabilities by class.
//!
//! An array is ambiguous while it is parsed: `[0.2, 0.8]` is the probabilities of one row or the scores of two rows. The elements
//! are therefore collected, and [`Answers::give`] decides when the number of rows is known.

use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use super::model::{ClassNames, ModelLayout};
use super::token::{Field, Token, refuse, scalars_to_token};
use super::{MAX_CLASSES, MAX_ROWS, RejectReason, Rejection};
use crate::event::Prediction;
use crate::reference::PredictionKind;

/// How far a probability may lie outside 0 to 1: logs round to six decimals or more.
const PROBABILITY_SLACK: f64 = 1e-6;

/// Answers of one message, before it is known whether they belong to one row or to many.
#[derive(Debug, Default)]
pub(super) struct Answers {
    shape: Shape,
    one: Prediction,
    many: Vec<Given>,
    classes: Classes,
}

/// An element of an array of answers.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Given {
    /// A bare number: the answer to one row or the probability of one class, depending on the number of rows.
    Number(f64),
    /// An answer that is complete by itself.
    Bound(Prediction),
}

/// What was found in the place of the answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Shape {
    #[default]
    Absent,
    One,
    Many,
}

/// One object of class → probability, in buffers that are used again.
#[derive(Debug, Default)]
struct Classes {
    /// The names of the classes, one behind the other.
    text: String,
    /// Begin and end of each name in `text`, and its probability.
    spans: Vec<(usize, usize, f64)>,
    names: ClassNames,
    numbers: Vec<f64>,
}

/// Reads `prediction`: a scalar, an object of class → probability, or an array.
pub(super) struct AnswersSeed<'a> {
    pub model: &'a ModelLayout,
    pub answers: &'a mut Answers,
    pub fault: &'a mut Option<Rejection>,
}

/// Reads one element of an array of answers, or the object in place of one answer.
struct AnswerSeed<'a> {
    model: &'a ModelLayout,
    classes: &'a mut Classes,
    fault: &'a mut Option<Rejection>,
}

/// One scalar answer.
fn answer(model: &ModelLayout, token: Token<'_>) -> Result<Prediction, Rejection> {
    let bound = model.schema().bind_prediction(token.scalar());
    if bound == Prediction::Missing && token != Token::Null {
        let message = format_args!("prediction {token} is not a number, as the reference of '{}' says it is", model.name());
        return Err(Rejection::new(RejectReason::BadField, message));
    }
    Ok(bound)
}

/// A row's probabilities in the order of the reference's classes.
fn answer_in_class_order(
    model: &ModelLayout,
    numbers: impl ExactSizeIterator<Item = f64> + Clone,
) -> Result<Prediction, Rejection> {
    let classes = model.classes();
    if numbers.len() != classes.len() {
        let message =
            format_args!("{} numbers as the answer to one row, where the reference has {} classes", numbers.len(), classes.len());
        return Err(Rejection::new(RejectReason::BadField, message));
    }
    numbers.clone().try_for_each(|number| probability(number).map(drop))?;
    Ok(model.schema().bind_probabilities(classes.iter().map(|class| &**class).zip(numbers)))
}

/// An object of class → probability, collected in `classes`.
fn answer_by_class(model: &ModelLayout, classes: &Classes) -> Result<Prediction, Rejection> {
    if model.schema().prediction_kind() == PredictionKind::Score {
        let message = format_args!("probabilities by class, where the reference of '{}' has one number", model.name());
        return Err(Rejection::new(RejectReason::BadField, message));
    }
    Ok(model.schema().bind_probabilities(classes.spans.iter().map(|&(start, end, number)| (&classes.text[start..end], number))))
}

/// Refuses a number that is no probability.
fn probability(number: f64) -> Result<f64, Rejection> {
    if (-PROBABILITY_SLACK..=1.0 + PROBABILITY_SLACK).contains(&number) {
        Ok(number)
    } else {
        Err(Rejection::new(RejectReason::BadField, format_args!("probability {number} is outside 0 to 1")))
    }
}

// === impl Answers ===

impl Answers {
    /// Forgets the answers of the previous message.
    pub(super) fn clear(&mut self) {
        self.shape = Shape::Absent;
        self.one = Prediction::Missing;
        self.many.clear();
    }

    /// Gives each of `rows` rows its answer. `batch` says that the message holds an array of rows, be it of one.
    ///
    /// # Errors
    /// If there are not as many answers as rows, or an answer does not fit the reference.
    pub(super) fn give(
        &self,
        model: &ModelLayout,
        rows: usize,
        batch: bool,
        mut to: impl FnMut(usize, Prediction),
    ) -> Result<(), Rejection> {
        let fault = |message: fmt::Arguments<'_>| Err(Rejection::new(RejectReason::BadField, message));
        match self.shape {
            Shape::Absent => Ok(()),
            Shape::One if batch => fault(format_args!("one prediction for a batch of {rows} rows; give an array of as many")),
            Shape::One => {
                to(0, self.one);
                Ok(())
            }
            Shape::Many if !batch && self.many.len() > 1 => {
                if self.many.iter().any(|given| matches!(given, Given::Bound(_))) {
                    return fault(format_args!("{} predictions for one row", self.many.len()));
                }
                to(0, answer_in_class_order(model, self.many.iter().map(|given| given.number()))?);
                Ok(())
            }
            Shape::Many if self.many.len() != rows => fault(format_args!("{} predictions for {rows} rows", self.many.len())),
            Shape::Many => self.many.iter().enumerate().try_for_each(|(row, given)| {
                to(row, given.bind(model)?);
                Ok(())
            }),
        }
    }
}

impl Given {
    fn number(self) -> f64 {
        match self {
            Self::Number(number) => number,
            Self::Bound(_) => f64::NAN,
        }
    }

    fn bind(self, model: &ModelLayout) -> Result<Prediction, Rejection> {
        match self {
            Self::Number(number) => answer(model, Token::Float(number)),
            Self::Bound(bound) => Ok(bound),
        }
    }
}

impl<'de> DeserializeSeed<'de> for AnswersSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl AnswersSeed<'_> {
    fn token<E: de::Error>(self, token: Token<'_>) -> Result<(), E> {
        self.answers.one = answer(self.model, token).map_err(|rejection| refuse(self.fault, rejection))?;
        self.answers.shape = Shape::One;
        Ok(())
    }
}

impl<'de> Visitor<'de> for AnswersSeed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an answer")
    }

    scalars_to_token!();

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        let Self { model, answers, fault } = self;
        answers.one = AnswerSeed { model, classes: &mut answers.classes, fault: &mut *fault }
            .visit_map(map)?
            .bind(model)
            .map_err(|rejection| refuse(fault, rejection))?;
        answers.shape = Shape::One;
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let Self { model, answers, fault } = self;
        answers.shape = Shape::Many;
        while let Some(given) = seq.next_element_seed(AnswerSeed { model, classes: &mut answers.classes, fault: &mut *fault })? {
            if answers.many.len() == MAX_ROWS {
                return Err(refuse(
                    fault,
                    Rejection::new(RejectReason::TooLarge, format_args!("more than {MAX_ROWS} predictions")),
                ));
            }
            answers.many.push(given);
        }
        Ok(())
    }
}

// === impl AnswerSeed ===

impl AnswerSeed<'_> {
    fn token<E: de::Error>(self, token: Token<'_>) -> Result<Given, E> {
        match token {
            Token::Signed(_) | Token::Unsigned(_) | Token::Float(_) => Ok(Given::Number(token.number().unwrap_or(f64::NAN))),
            _ => answer(self.model, token).map(Given::Bound).map_err(|rejection| refuse(self.fault, rejection)),
        }
    }
}

impl<'de> DeserializeSeed<'de> for AnswerSeed<'_> {
    type Value = Given;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Given, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for AnswerSeed<'_> {
    type Value = Given;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an answer")
    }

    scalars_to_token!();

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Given, A::Error> {
        let Self { model, classes, fault } = self;
        classes.clear();
        while map.next_key_seed(ClassSeed { classes, fault })?.is_some() {
            let name = "the probability of a class";
            let read = |token: Token<'_>| {
                token.number().map_or_else(
                    || Err(Rejection::new(RejectReason::BadField, format_args!("probability {token} is not a number"))),
                    probability,
                )
            };
            let number = map.next_value_seed(Field { name, nested: RejectReason::BadField, fault, read })?;
            if let Some(span) = classes.spans.last_mut() {
                span.2 = number;
            }
        }
        answer_by_class(model, classes).map(Given::Bound).map_err(|rejection| refuse(fault, rejection))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Given, A::Error> {
        let Self { model, classes, fault } = self;
        classes.numbers.clear();
        let read = |token: Token<'_>| {
            token
                .number()
                .ok_or_else(|| Rejection::new(RejectReason::BadField, format_args!("probability {token} is not a number")))
        };
        let name = "the probability of a class";
        while let Some(number) = seq.next_element_seed(Field { name, nested: RejectReason::BadField, fault, read })? {
            if classes.numbers.len() == MAX_CLASSES {
                return Err(refuse(
                    fault,
                    Rejection::new(RejectReason::TooLarge, format_args!("more than {MAX_CLASSES} probabilities in one answer")),
                ));
            }
            classes.numbers.push(number);
        }
        let bound = match classes.numbers[..] {
            // A model with one output wraps it: [[0.83]].
            [number] => Ok(Given::Number(number)),
            _ => answer_in_class_order(model, classes.numbers.iter().copied()).map(Given::Bound),
        };
        bound.map_err(|rejection| refuse(fault, rejection))
    }
}

// === impl Classes ===

/// Takes a class name into [`Classes`].
struct ClassSeed<'a> {
    classes: &'a mut Classes,
    fault: &'a mut Option<Rejection>,
}

impl Classes {
    fn clear(&mut self) {
        self.text.clear();
        self.spans.clear();
        self.names.clear();
    }
}

impl<'de> DeserializeSeed<'de> for ClassSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for ClassSeed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a class name")
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<(), E> {
        self.classes.names.insert(name).map_err(|rejection| refuse(self.fault, rejection))?;
        let start = self.classes.text.len();
        self.classes.text.push_str(name);
        self.classes.spans.push((start, self.classes.text.len(), 0.0));
        Ok(())
    }
}
