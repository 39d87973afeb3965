//! JSON values that keep the order of their keys and keys that occur twice, which `serde_json::Value` loses. The order of columns
//! and the refusal of duplicate names depend on both.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use super::Fault;

/// A JSON value that keeps the order of its keys, and keys that occur twice.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Json {
    Null,
    Boolean(bool),
    Number(f64),
    Text(String),
    Array(Vec<Json>),
    Object(Vec<(String, Json)>),
}

/// The first value of a name.
pub(super) fn find<'j>(fields: &'j [(String, Json)], name: &str) -> Option<&'j Json> {
    fields.iter().find(|(key, _)| key == name).map(|(_, value)| value)
}

/// Reads a JSON text, in which `NaN` means that a number is missing.
///
/// # Errors
/// [`Fault::Json`] with the byte at which the text stops being JSON.
pub(super) fn parse(text: &str) -> Result<Json, Fault> {
    parse_line(text, &[])
}

/// Reads one line, with the user's words for "no value" besides `NaN`. Python writes `NaN` where a number is missing, and `Infinity`
/// where one is infinite.
///
/// # Errors
/// As [`parse`].
pub(super) fn parse_line(text: &str, missing: &[String]) -> Result<Json, Fault> {
    let read = serde_json::from_str(text);
    let again = match &read {
        Err(_) if text.contains("NaN") || text.contains("Infinity") => serde_json::from_str(&without_words(text, missing)),
        _ => read,
    };
    again.map_err(|e| {
        // serde_json counts lines within the text, which is always one here; only its column helps.
        let whole = e.to_string();
        let reason = whole.rsplit_once(" at line ").map_or(whole.as_str(), |(reason, _)| reason);
        let (before, rest) = text.as_bytes().split_at_checked(e.column().saturating_sub(1)).unwrap_or_default();
        let hint = match before.last() {
            _ if !rest.starts_with(b"Infinity") => None,
            Some(b'-') => Some("-Infinity"),
            _ => Some("Infinity"),
        };
        let hint =
            hint.map(|word| format!("; leave the value empty if it is missing, or say --missing={word}")).unwrap_or_default();
        Fault::Json(format!("{reason}, at byte {}{hint}", e.column()))
    })
}

/// The text with `null` for every `NaN` outside of texts, and for `Infinity` and `-Infinity` if they mean "no value".
fn without_words(text: &str, missing: &[String]) -> String {
    let words: Vec<&str> = ["-Infinity", "Infinity"].into_iter().filter(|word| missing.iter().any(|m| m == word)).collect();
    let mut out = String::with_capacity(text.len() + 8);
    let (mut quoted, mut escaped) = (false, false);
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let word = ["NaN"].iter().chain(&words).find(|word| !quoted && rest.starts_with(**word));
        if let Some(word) = word {
            out.push_str("null");
            rest = &rest[word.len()..];
            continue;
        }
        (quoted, escaped) = match c {
            '"' if !escaped => (!quoted, false),
            '\\' => (quoted, !escaped),
            _ => (quoted, false),
        };
        out.push(c);
        rest = &rest[c.len_utf8()..];
    }
    out
}

// === impl Json ===

impl Json {
    /// What kind of value it is, for messages.
    pub(super) fn what(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Boolean(_) => "a boolean",
            Self::Number(_) => "a number",
            Self::Text(_) => "a text",
            Self::Array(_) => "a list",
            Self::Object(_) => "an object",
        }
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Json;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON value")
            }

            fn visit_unit<E>(self) -> Result<Json, E> {
                Ok(Json::Null)
            }

            fn visit_bool<E>(self, flag: bool) -> Result<Json, E> {
                Ok(Json::Boolean(flag))
            }

            #[expect(
                clippy::cast_precision_loss,
                reason = "integers beyond 2^53 are ids; as features they are numbers like others"
            )]
            fn visit_i64<E>(self, number: i64) -> Result<Json, E> {
                Ok(Json::Number(number as f64))
            }

            #[expect(
                clippy::cast_precision_loss,
                reason = "integers beyond 2^53 are ids; as features they are numbers like others"
            )]
            fn visit_u64<E>(self, number: u64) -> Result<Json, E> {
                Ok(Json::Number(number as f64))
            }

            fn visit_f64<E>(self, number: f64) -> Result<Json, E> {
                Ok(Json::Number(number))
            }

            fn visit_str<E>(self, text: &str) -> Result<Json, E> {
                Ok(Json::Text(text.to_owned()))
            }

            fn visit_string<E>(self, text: String) -> Result<Json, E> {
                Ok(Json::Text(text))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json, A::Error> {
                let mut list = Vec::new();
                while let Some(item) = items.next_element()? {
                    list.push(item);
                }
                Ok(Json::Array(list))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Json, A::Error> {
                let mut fields = Vec::new();
                while let Some(entry) = entries.next_entry()? {
                    fields.push(entry);
                }
                Ok(Json::Object(fields))
            }
        }
        deserializer.deserialize_any(Any)
    }
}
