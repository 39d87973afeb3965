//! How a cell of the sample is written in a profile: `null` for a missing value, `"unreadable"` for one of the wrong kind, else a
//! number. Whole numbers are written without a decimal point, which keeps the file small.

use serde::{Deserialize, Serialize};

use crate::event::Cell;

/// The text that stands for a value of the wrong kind.
const UNREADABLE: &str = "unreadable";
/// Whole numbers below this are written as integers: all of them are exact in a 64-bit float (2^53 is 9e15).
const WHOLE_BELOW: f64 = 1e15;

impl Serialize for Cell {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let value = self.value();
        if self.is_missing() {
            serializer.serialize_none()
        } else if self.is_unreadable() {
            serializer.serialize_str(UNREADABLE)
        } else {
            #[expect(clippy::cast_possible_truncation, clippy::float_cmp, reason = "exact test for an integer that prints shorter")]
            if value.abs() < WHOLE_BELOW && value.trunc() == value {
                serializer.serialize_i64(value as i64)
            } else {
                serializer.serialize_f64(value)
            }
        }
    }
}

impl<'de> Deserialize<'de> for Cell {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form {
            Number(f64),
            Text(String),
            Null(()),
        }
        Ok(match Form::deserialize(deserializer)? {
            Form::Number(number) => Self::number(number),
            Form::Text(text) if text == UNREADABLE => Self::UNREADABLE,
            Form::Text(text) => return Err(serde::de::Error::custom(format_args!("cell '{text}' is neither a number nor null"))),
            Form::Null(()) => Self::MISSING,
        })
    }
}
