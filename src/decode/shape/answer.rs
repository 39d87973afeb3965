//! The many ways in which serving systems write answers, one [`Prediction`] a row.
//!
//! | written by | form |
//! |---|---|
//! | scikit-learn `predict_proba`, Seldon v1 `ndarray` | `[p0, p1]` for each row |
//! | Hugging Face pipelines | `{"label":"x","score":0.9}`, or a list of them, one a class |
//! | Spark ML | `{"type":1,"values":[p0,p1]}` |
//! | SageMaker linear learner, XGBoost | `{"predictions":[{"score":0.9,"predicted_label":1}]}`, CSV |
//! | Open Inference Protocol V2 | `{"outputs":[tensor]}` |
//! | KServe V1, MLflow, TensorFlow Serving | `{"predictions":[..]}`, each value in a list of its own |
//!
//! A reference of scores has one number a row. From probabilities of two classes that are named like numbers or not at all, the second
//! is taken, as every library orders them. From named classes nobody but the operator knows which one is the score:
//! `decode.positive_class` says so, and without it the prediction is missing and the repair names the setting.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::super::model::ModelLayout;
use super::super::{MAX_CLASSES, tree};
use super::{MAX_WRAPPERS, payload, tensor};
use crate::event::{Prediction, Repair};
use crate::reference::PredictionKind;

/// How far a probability may lie outside 0 to 1, and two of them from the sum of 1: logs round.
const SLACK: f64 = 0.01;
/// Names under which systems put answers, outermost first.
const WRAPPERS: [&str; 14] = [
    "predictions",
    "prediction",
    "outputs",
    "output",
    "results",
    "result",
    "payload",
    "data",
    "jsonData",
    "strData",
    "response",
    "body",
    "probabilities",
    "scores",
];
/// Names of a score beside a label.
const SCORES: [&str; 6] = ["score", "probability", "prob", "confidence", "value", "prediction"];
/// Names of a label beside a score.
const LABELS: [&str; 6] = ["label", "predicted_label", "predicted_class", "class", "class_name", "category"];
/// Pairs of classes of which the second is the positive one in every library.
const ORDERED: [[&str; 2]; 4] = [["0", "1"], ["false", "true"], ["no", "yes"], ["negative", "positive"]];

/// The class whose probability is the score: its name, or its place in an array.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum PositiveClass {
    /// Zero-based place in an array of probabilities.
    Place(usize),
    /// Name of the class.
    Name(String),
}

/// What the reader of answers knows.
#[derive(Clone, Copy, Debug)]
pub(in crate::decode) struct AnswerShape<'a> {
    pub model: &'a ModelLayout,
    pub positive: Option<&'a PositiveClass>,
}

/// Whether a value is of a form that [`AnswerShape`] alone understands, though it could be taken for another.
pub(in crate::decode) fn is_special(value: &Value, model: &ModelLayout) -> bool {
    match value {
        Value::String(text) => text.trim_start().starts_with(['{', '[']),
        Value::Array(elements) => elements.first().is_some_and(|first| is_special(first, model)),
        Value::Object(map) => {
            let named = |names: &[&str]| names.iter().any(|name| map.contains_key(*name));
            (named(&SCORES) || named(&LABELS) || named(&WRAPPERS))
                && !map.keys().any(|key| model.classes().iter().any(|class| **class == **key))
        }
        _ => false,
    }
}

// === impl AnswerShape ===

impl AnswerShape<'_> {
    /// The answers to `rows` rows.
    ///
    /// # Errors
    /// The repair that the missing predictions are counted as.
    pub(in crate::decode) fn read(&self, value: &Value, rows: usize) -> Result<Vec<Prediction>, Repair> {
        self.answers(value, rows, &[], 0)
    }

    fn answers(&self, value: &Value, rows: usize, names: &[&str], depth: usize) -> Result<Vec<Prediction>, Repair> {
        if depth > MAX_WRAPPERS {
            return Err(Repair::PredictionUnreadable);
        }
        match value {
            Value::Object(map) => self.object(map, rows, depth),
            Value::String(text) => self.text(text, rows, depth),
            Value::Array(elements) => self.array(elements, rows, names, depth),
            _ => self.single(value, rows, names),
        }
    }

    fn single(&self, value: &Value, rows: usize, names: &[&str]) -> Result<Vec<Prediction>, Repair> {
        if rows == 1 { self.one(value, names).map(|one| vec![one]) } else { Err(Repair::PredictionUnreadable) }
    }

    fn array(&self, elements: &[Value], rows: usize, names: &[&str], depth: usize) -> Result<Vec<Prediction>, Repair> {
        if let [inner @ (Value::Array(_) | Value::Object(_))] = elements
            && (rows > 1 || matches!(inner, Value::Array(nested) if matches!(nested.first(), Some(Value::Array(_)))))
        {
            // A list around the list of answers.
            return self.answers(inner, rows, names, depth + 1);
        }
        if elements.len() == rows && !(rows == 1 && self.is_wrapper(&elements[0])) {
            return elements.iter().map(|element| self.one(element, names)).collect();
        }
        match elements {
            [inner] => self.answers(inner, rows, names, depth + 1),
            _ if rows == 1 => self.probabilities(elements, names).map(|one| vec![one]),
            _ => Err(Repair::PredictionUnreadable),
        }
    }

    fn object(&self, map: &Map<String, Value>, rows: usize, depth: usize) -> Result<Vec<Prediction>, Repair> {
        if let Ok(Some(text)) = payload::captured(map) {
            return self.answers(&text, rows, &[], depth + 1);
        }
        if let Some(Value::Array(tensors)) = map.get("outputs")
            && tensors.iter().all(|tensor| tensor.as_object().is_some_and(tensor::is_one))
        {
            return self.tensors(tensors, rows, depth);
        }
        let names =
            |key: &str| map.get(key).and_then(Value::as_array).map(|all| all.iter().filter_map(Value::as_str).collect::<Vec<_>>());
        if let Some(values) = map.get("ndarray") {
            return self.answers(values, rows, &names("names").unwrap_or_default(), depth + 1);
        }
        if let Some(inner) = map.get("tensor") {
            let inner = tensor::seldon(inner).map_err(|_| Repair::PredictionUnreadable)?;
            return self.answers(&Value::Array(inner), rows, &names("names").unwrap_or_default(), depth + 1);
        }
        if let Some(values) = vector(map) {
            return self.answers(&values, rows, &[], depth + 1);
        }
        if let (Some(columns), Some(data)) = (names("columns"), map.get("data")) {
            return self.answers(data, rows, &columns, depth + 1);
        }
        if let Ok(one) = self.single(&Value::Object(map.clone()), rows, &[]) {
            return Ok(one);
        }
        match WRAPPERS.iter().find_map(|name| map.get(*name).filter(|inner| !inner.is_null())) {
            Some(inner) => self.answers(inner, rows, &[], depth + 1),
            None if rows == 1 => self.by_name(map).map(|one| vec![one]),
            None => self.columns(map, rows),
        }
    }

    /// `{"score":[0.1,0.2]}`: a column of answers.
    fn columns(&self, map: &Map<String, Value>, rows: usize) -> Result<Vec<Prediction>, Repair> {
        let column = SCORES.iter().chain(&LABELS).find_map(|name| map.get(*name).and_then(Value::as_array));
        match column {
            Some(column) if column.len() == rows => column.iter().map(|value| self.one(value, &[])).collect(),
            _ => Err(Repair::PredictionUnreadable),
        }
    }

    fn tensors(&self, tensors: &[Value], rows: usize, depth: usize) -> Result<Vec<Prediction>, Repair> {
        let named = |tensor: &&Value, wanted: &[&str]| {
            let name = tensor.get("name").and_then(Value::as_str).unwrap_or_default().to_ascii_lowercase();
            wanted.iter().any(|one| name.contains(one))
        };
        // Several outputs: a reference of labels takes the label, any other the numbers.
        let wanted: &[&str] = if self.model.schema().prediction_kind() == PredictionKind::Label {
            &["label", "class", "predict"]
        } else {
            &["proba", "prob", "score"]
        };
        let chosen = match tensors {
            [one] => one,
            several => {
                several.iter().find(|tensor| named(tensor, wanted)).or(several.first()).ok_or(Repair::PredictionUnreadable)?
            }
        };
        let values = tensor::rows_of(chosen).map_err(|_| Repair::PredictionUnreadable)?;
        self.answers(&Value::Array(values), rows, &[], depth + 1)
    }

    fn text(&self, text: &str, rows: usize, depth: usize) -> Result<Vec<Prediction>, Repair> {
        let plain = text.trim();
        if plain.starts_with(['{', '[', '"'])
            && let Ok(inner) = tree::read(plain)
        {
            return self.answers(&inner, rows, &[], depth + 1);
        }
        if let Some(lines) = payload::json_lines(plain) {
            return self.array(&lines, rows, &[], depth + 1);
        }
        if rows == 1
            && let Ok(one) = self.one(&Value::String(plain.to_owned()), &[])
            && !(plain.contains(',') && self.model.schema().prediction_kind() != PredictionKind::Label)
        {
            return Ok(vec![one]);
        }
        let lines = payload::records(plain, ',').map_err(|_| Repair::PredictionUnreadable)?;
        let value = |field: String| {
            field.parse::<f64>().ok().and_then(serde_json::Number::from_f64).map_or(Value::String(field), Value::Number)
        };
        let mut lines: Vec<Value> = lines.into_iter().map(|line| Value::Array(line.into_iter().map(value).collect())).collect();
        match lines.as_mut_slice() {
            [Value::Array(line)] => {
                let line = std::mem::take(line);
                self.array(&line, rows, &[], depth + 1)
            }
            _ => self.array(&lines, rows, &[], depth + 1),
        }
    }

    /// Whether an element holds the answers and is none itself.
    fn is_wrapper(&self, value: &Value) -> bool {
        value.as_object().is_some_and(|map| {
            WRAPPERS.iter().any(|name| map.get(*name).is_some_and(|inner| inner.is_array() || inner.is_object()))
        })
    }

    /// The answer to one row.
    fn one(&self, value: &Value, names: &[&str]) -> Result<Prediction, Repair> {
        match value {
            Value::Array(inner) => match inner.as_slice() {
                [one] => self.one(one, &[]),
                several => self.probabilities(several, names),
            },
            Value::Object(map) => self.labelled(map).unwrap_or_else(|| self.by_name(map)),
            Value::Null => Ok(Prediction::Missing),
            Value::String(text) if text.trim_start().starts_with(['{', '[']) => {
                tree::read(text).map_err(|_| Repair::PredictionUnreadable).and_then(|inner| self.one(&inner, names))
            }
            scalar => {
                let token = tree::token(scalar).ok_or(Repair::PredictionUnreadable)?;
                match self.model.schema().bind_prediction(token.scalar()) {
                    Prediction::Missing => Err(Repair::PredictionUnreadable),
                    bound => Ok(bound),
                }
            }
        }
    }

    /// A label, a score, or both; `None` if the object has neither.
    fn labelled(&self, map: &Map<String, Value>) -> Option<Result<Prediction, Repair>> {
        let find = |names: &[&str]| {
            names.iter().find_map(|name| map.get(*name).filter(|value| !value.is_array() && !value.is_object() && !value.is_null()))
        };
        let (label, score) = (find(&LABELS), find(&SCORES));
        let is_score = self.model.schema().prediction_kind() == PredictionKind::Score;
        match (label, score) {
            (None, None) => None,
            (_, Some(score)) if is_score && (label.is_none() || map.contains_key("predicted_label")) => Some(self.one(score, &[])),
            (Some(label), Some(score)) if is_score => Some(self.score_of(label, score)),
            (Some(label), _) => Some(self.one(label, &[])),
            (None, Some(score)) => Some(self.one(score, &[])),
        }
    }

    /// The positive class's score from one class's.
    fn score_of(&self, label: &Value, score: &Value) -> Result<Prediction, Repair> {
        let score = number(score).ok_or(Repair::PredictionUnreadable)?;
        let label = label.as_str().map_or_else(|| label.to_string(), str::to_owned);
        match self.positive {
            Some(PositiveClass::Name(name)) if *name == label => Ok(Prediction::Score(score)),
            // Of two classes the other one has the rest.
            Some(PositiveClass::Name(_)) if (0.0..=1.0).contains(&score) => Ok(Prediction::Score(1.0 - score)),
            _ => Err(Repair::PredictionClass),
        }
    }

    /// Probabilities in an array.
    fn probabilities(&self, values: &[Value], names: &[&str]) -> Result<Prediction, Repair> {
        if let Some(Value::Object(_)) = values.first() {
            // One {label, score} a class.
            let pair = |value: &Value| {
                let map = value.as_object()?;
                let label = LABELS.iter().find_map(|name| map.get(*name)?.as_str())?;
                let score = SCORES.iter().find_map(|name| map.get(*name))?;
                Some((label.to_owned(), score.clone()))
            };
            let pairs: Option<Map<String, Value>> = values.iter().map(pair).collect();
            return self.by_name(&pairs.filter(|pairs| pairs.len() == values.len()).ok_or(Repair::PredictionUnreadable)?);
        }
        let numbers: Option<Vec<f64>> = values.iter().map(number).collect();
        let numbers = numbers.filter(|all| all.len() <= MAX_CLASSES && !all.is_empty()).ok_or(Repair::PredictionUnreadable)?;
        let schema = self.model.schema();
        if schema.prediction_kind() == PredictionKind::Score {
            return self.positive_of(&numbers, names);
        }
        let classes = self.model.classes();
        if numbers.iter().any(|number| !is_probability(*number)) || numbers.len() != classes.len() {
            return Err(Repair::PredictionUnreadable);
        }
        let known = names.len() == numbers.len() && names.iter().all(|name| classes.iter().any(|class| **class == **name));
        Ok(if known {
            schema.bind_probabilities(names.iter().copied().zip(numbers))
        } else {
            schema.bind_probabilities(classes.iter().map(|class| &**class).zip(numbers))
        })
    }

    /// The positive class's among probabilities in an array.
    fn positive_of(&self, numbers: &[f64], names: &[&str]) -> Result<Prediction, Repair> {
        let named = match self.positive {
            Some(PositiveClass::Place(place)) => Some(*place),
            Some(PositiveClass::Name(name)) => names.iter().position(|one| one == name),
            None => None,
        };
        // Without a name of its own (Seldon writes t:0 and t:1) the second of two classes is the positive one.
        let usual = match numbers {
            [first, second] if is_probability(*first) && is_probability(*second) => {
                ((first + second - 1.0).abs() <= SLACK).then_some(1)
            }
            _ => None,
        };
        let place = named.or(usual);
        place.and_then(|place| numbers.get(place)).map(|number| Prediction::Score(*number)).ok_or(Repair::PredictionClass)
    }

    /// An object of class → probability.
    fn by_name(&self, map: &Map<String, Value>) -> Result<Prediction, Repair> {
        let pairs: Option<Vec<(&str, f64)>> = map.iter().map(|(name, value)| Some((name.as_str(), number(value)?))).collect();
        let pairs = pairs.filter(|all| !all.is_empty() && all.len() <= MAX_CLASSES).ok_or(Repair::PredictionUnreadable)?;
        if self.model.schema().prediction_kind() != PredictionKind::Score {
            if pairs.iter().any(|(_, number)| !is_probability(*number)) {
                return Err(Repair::PredictionUnreadable);
            }
            return Ok(self.model.schema().bind_probabilities(pairs.into_iter()));
        }
        let value = |wanted: &str| pairs.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, number)| *number);
        let found = match self.positive {
            Some(PositiveClass::Name(name)) => value(name),
            Some(PositiveClass::Place(place)) => value(&place.to_string()),
            None => ORDERED.iter().find(|pair| pairs.len() == 2 && value(pair[0]).is_some()).and_then(|pair| value(pair[1])),
        };
        found.map(Prediction::Score).ok_or(Repair::PredictionClass)
    }
}

/// The values of a vector as Spark writes it: dense (type 1), or sparse (type 0) with size and indices. `None` for any other object.
fn vector(map: &Map<String, Value>) -> Option<Value> {
    let values = map.get("values")?.as_array()?;
    let kind = map.get("type")?.as_u64()?;
    if kind == 1 {
        return Some(Value::Array(values.clone()));
    }
    let size = usize::try_from(map.get("size")?.as_u64()?).ok().filter(|size| *size <= MAX_CLASSES)?;
    let mut dense = vec![Value::from(0.0); size];
    for (index, value) in map.get("indices")?.as_array()?.iter().zip(values) {
        let index = usize::try_from(index.as_u64()?).ok()?;
        *dense.get_mut(index)? = value.clone();
    }
    Some(Value::Array(dense))
}

fn is_probability(number: f64) -> bool {
    (-SLACK..=1.0 + SLACK).contains(&number)
}

/// A number, also from text or out of a list of its own.
fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Array(one) if one.len() == 1 => number(&one[0]),
        value => tree::token(value)?.number(),
    }
}
