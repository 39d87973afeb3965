//! JSON as a tree that refuses a name that occurs twice in one object. `serde_json::Value` keeps the last value in silence, so that
//! an attacker could show the model one value and the log another.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::Rejection;
use super::model::duplicate;
use super::token::{Token, refuse};

/// Reads a tree.
struct Tree<'a> {
    fault: &'a mut Option<Rejection>,
}

/// Reads a text as a tree.
pub(super) fn read(text: &str) -> Result<Value, Rejection> {
    let mut fault = None;
    let mut parser = serde_json::Deserializer::from_str(text);
    let outcome = Tree { fault: &mut fault }.deserialize(&mut parser).and_then(|value| parser.end().map(|()| value));
    outcome.map_err(|error| fault.take().unwrap_or_else(|| Rejection::from_json(&error, text)))
}

/// A scalar of a tree; `None` for arrays and objects.
pub(super) fn token(value: &Value) -> Option<Token<'_>> {
    match value {
        Value::Null => Some(Token::Null),
        Value::Bool(flag) => Some(Token::Boolean(*flag)),
        Value::String(text) => Some(Token::Text(text)),
        Value::Number(number) => number
            .as_i64()
            .map(Token::Signed)
            .or_else(|| number.as_u64().map(Token::Unsigned))
            .or_else(|| number.as_f64().map(Token::Float)),
        Value::Array(_) | Value::Object(_) => None,
    }
}

// === impl Tree ===

impl<'de> DeserializeSeed<'de> for Tree<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Tree<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = seq.next_element_seed(Tree { fault: &mut *self.fault })? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut values = Map::new();
        while let Some(name) = map.next_key::<String>()? {
            if values.contains_key(&name) {
                return Err(refuse(self.fault, duplicate(&name)));
            }
            let value = map.next_value_seed(Tree { fault: &mut *self.fault })?;
            values.insert(name, value);
        }
        Ok(Value::Object(values))
    }
}
