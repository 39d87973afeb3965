//! A second decoder, written from the documentation alone and as plainly as possible: a `serde_json::Value`, and one look-up a field. It
//! says what a valid record means, or that it is not sure (forms that need more than a page of code). Where it is sure, the fast
//! decoder must agree, in what is refused and in every value.

use serde_json::{Map, Value};

use crate::event::{Address, Cell, EventTime, Prediction};

/// What a record means.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Meaning {
    /// These rows.
    Rows(Vec<Row>),
    /// It cannot be used.
    Refused,
    /// Too much for this decoder.
    Unsure,
}

/// One row. `None` in a field is "not sure".
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Row {
    pub time: EventTime,
    pub model: String,
    pub address: Option<Address>,
    pub account: Option<String>,
    pub request_id: Option<String>,
    pub version: Option<String>,
    pub label: Option<String>,
    pub latency: Option<f64>,
    pub cells: Vec<Cell>,
    pub prediction: Option<Prediction>,
}

/// The model of the tests: `age` is a number, `work` a category, `loud` a flag; its answers are scores.
const FEATURES: [&str; 3] = ["age", "work", "loud"];
const WORK: [&str; 3] = ["None", "Private", "State"];
/// Longest id.
const LONGEST: usize = 512;

/// What the fields of a record are; `get` finds one by its canonical name.
pub(super) fn decode<'a>(model: &str, get: impl Fn(&str) -> Option<&'a Value>) -> Meaning {
    let get = |name: &str| get(name).filter(|value| !value.is_null());
    let Some(time) = get("timestamp").and_then(time) else { return Meaning::Refused };
    let named = match get("model") {
        Some(Value::String(name)) => name.clone(),
        Some(Value::Number(number)) => number.to_string(),
        _ => return Meaning::Refused,
    };
    if named != model {
        return Meaning::Refused;
    }
    let Some(features) = get("features") else { return Meaning::Refused };
    let (rows, many) = match rows(features) {
        Ok(found) => found,
        Err(meaning) => return meaning,
    };
    let answers = answers(get("prediction"), rows.len(), many);
    let row = |(nth, cells): (usize, Vec<Cell>)| Row {
        time,
        model: named.clone(),
        address: address(get("source_ip")),
        account: text(get("client_id")),
        request_id: text(get("request_id")),
        version: text(get("model_version")),
        label: text(get("label")),
        latency: latency(get("latency_ms")),
        cells,
        prediction: answers.as_ref().map(|all| all[nth]),
    };
    Meaning::Rows(rows.into_iter().enumerate().map(row).collect())
}

fn time(value: &Value) -> Option<EventTime> {
    match value {
        Value::String(text) => EventTime::parse(text).ok(),
        Value::Number(number) => EventTime::from_epoch(number.as_f64()?).ok(),
        _ => None,
    }
}

fn address(value: Option<&Value>) -> Option<Address> {
    match value {
        None => Some(Address::Unknown),
        Some(Value::String(text)) if !text.contains(',') => Address::parse(text),
        Some(Value::String(_) | Value::Array(_)) => None,
        Some(_) => Some(Address::Unknown),
    }
}

/// An id; what is no single value is missing.
fn text(value: Option<&Value>) -> Option<String> {
    match value {
        Some(Value::String(text)) if text.len() > LONGEST => None,
        Some(Value::String(text)) => Some(text.clone()),
        Some(Value::Number(number)) if number.is_f64() => Some(number.as_f64()?.to_string()),
        Some(Value::Number(number)) => Some(number.to_string()),
        Some(Value::Bool(flag)) => Some(flag.to_string()),
        _ => Some(String::new()),
    }
}

fn latency(value: Option<&Value>) -> Option<f64> {
    value.and_then(number).filter(|latency| *latency >= 0.0)
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok().filter(|number: &f64| number.is_finite()),
        _ => None,
    }
}

/// The rows, and whether they are a batch.
fn rows(features: &Value) -> Result<(Vec<Vec<Cell>>, bool), Meaning> {
    match features {
        Value::Object(map) => named(map).map(|row| (vec![row], false)),
        Value::Array(elements) => match elements.first() {
            Some(Value::Object(_) | Value::Array(_)) => {
                let row = |element: &Value| match element {
                    Value::Object(map) => named(map),
                    Value::Array(values) => in_order(values),
                    _ => Err(Meaning::Unsure),
                };
                elements.iter().map(row).collect::<Result<_, _>>().map(|rows| (rows, true))
            }
            Some(_) => in_order(elements).map(|row| (vec![row], false)),
            None => Err(Meaning::Refused),
        },
        // A text may hold a row.
        Value::String(_) => Err(Meaning::Unsure),
        _ => Err(Meaning::Refused),
    }
}

fn named(map: &Map<String, Value>) -> Result<Vec<Cell>, Meaning> {
    // An object without a feature may be a wrapper; one of columns may hold several rows.
    let wrapper = !map.keys().any(|name| FEATURES.contains(&name.as_str()));
    if wrapper || map.values().all(|value| value.is_array() || value.is_object()) {
        return Err(Meaning::Unsure);
    }
    Ok(FEATURES.iter().enumerate().map(|(at, name)| map.get(*name).map_or(Cell::MISSING, |value| cell(at, value))).collect())
}

fn in_order(values: &[Value]) -> Result<Vec<Cell>, Meaning> {
    match values.len() {
        3 if !values[0].is_array() && !values[0].is_object() => {
            Ok(values.iter().enumerate().map(|(at, value)| cell(at, value)).collect())
        }
        _ => Err(Meaning::Unsure),
    }
}

fn cell(at: usize, value: &Value) -> Cell {
    let spelled = match value {
        Value::Null => return Cell::MISSING,
        Value::Array(_) | Value::Object(_) => return Cell::UNREADABLE,
        Value::Bool(flag) => flag.to_string(),
        Value::Number(number) => number.as_f64().unwrap_or_default().to_string(),
        Value::String(text) => text.clone(),
    };
    if spelled.trim().is_empty() {
        return Cell::MISSING;
    }
    if FEATURES[at] == "work" {
        return WORK.iter().position(|known| *known == spelled).map_or_else(|| Cell::unseen(&spelled), Cell::category);
    }
    match spelled.trim().to_ascii_lowercase().as_str() {
        "true" => Cell::number(1.0),
        "false" => Cell::number(0.0),
        text => text.parse().map_or(Cell::UNREADABLE, Cell::number),
    }
}

/// The answers; `None` if this decoder is not sure.
fn answers(value: Option<&Value>, rows: usize, many: bool) -> Option<Vec<Prediction>> {
    let score = |value: &Value| match value {
        Value::Null => Some(Prediction::Missing),
        Value::Bool(flag) => Some(Prediction::Score(f64::from(u8::from(*flag)))),
        Value::Number(number) => number.as_f64().map(Prediction::Score),
        _ => None,
    };
    match value {
        None => Some(vec![Prediction::Missing; rows]),
        Some(Value::String(text)) if !many && !text.contains([',', '{', '[', '"', '\n', '\r']) => {
            Some(vec![number(value?).map_or(Prediction::Missing, Prediction::Score)])
        }
        Some(Value::Array(all)) if many && all.len() == rows => all.iter().map(score).collect(),
        Some(one) if !many => score(one).map(|one| vec![one]),
        _ => None,
    }
}

/// Whether a name stands twice in one object of a JSON text; `serde_json::Value` keeps the last one in silence.
pub(super) fn has_repeated_names(text: &str) -> bool {
    struct Names(bool);
    impl<'de> serde::Deserialize<'de> for Names {
        fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            struct Any;
            impl<'de> serde::de::Visitor<'de> for Any {
                type Value = Names;

                fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    f.write_str("JSON")
                }

                fn visit_unit<E>(self) -> Result<Names, E> {
                    Ok(Names(false))
                }

                fn visit_bool<E>(self, _: bool) -> Result<Names, E> {
                    Ok(Names(false))
                }

                fn visit_i64<E>(self, _: i64) -> Result<Names, E> {
                    Ok(Names(false))
                }

                fn visit_u64<E>(self, _: u64) -> Result<Names, E> {
                    Ok(Names(false))
                }

                fn visit_f64<E>(self, _: f64) -> Result<Names, E> {
                    Ok(Names(false))
                }

                fn visit_str<E>(self, _: &str) -> Result<Names, E> {
                    Ok(Names(false))
                }

                fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut all: A) -> Result<Names, A::Error> {
                    let mut twice = false;
                    while let Some(Names(inner)) = all.next_element()? {
                        twice |= inner;
                    }
                    Ok(Names(twice))
                }

                fn visit_map<A: serde::de::MapAccess<'de>>(self, mut all: A) -> Result<Names, A::Error> {
                    let (mut twice, mut seen) = (false, std::collections::BTreeSet::new());
                    while let Some((name, Names(inner))) = all.next_entry::<String, Names>()? {
                        twice |= inner || !seen.insert(name);
                    }
                    Ok(Names(twice))
                }
            }
            deserializer.deserialize_any(Any)
        }
    }
    serde_json::from_str::<Names>(text).is_ok_and(|names| names.0)
}
