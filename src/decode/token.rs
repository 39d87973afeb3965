//! One value of a JSON text, before its meaning is known: every reader gets scalars as [`Token`]s.

use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use super::{RejectReason, Rejection, excerpt};
use crate::reference::Scalar;

/// A JSON scalar with its integers exact: a 64-bit account number would lose its last digits in a float.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Token<'a> {
    Null,
    Boolean(bool),
    Signed(i64),
    Unsigned(u64),
    Float(f64),
    Text(&'a str),
}

/// Reads one scalar with `read`; objects and arrays are refused for `nested`.
pub(super) struct Field<'a, F> {
    pub name: &'a str,
    pub nested: RejectReason,
    pub fault: &'a mut Option<Rejection>,
    pub read: F,
}

/// Notes why a message is refused and stops the parser. The text of the parser's own error is not used.
pub(super) fn refuse<E: de::Error>(fault: &mut Option<Rejection>, rejection: Rejection) -> E {
    *fault = Some(rejection);
    E::custom("refused")
}

/// The scalar half of a [`Visitor`]: every kind of scalar goes to the method `token`.
macro_rules! scalars_to_token {
    () => {
        fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<Self::Value, E> {
            self.token($crate::decode::token::Token::Boolean(value))
        }

        fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<Self::Value, E> {
            self.token($crate::decode::token::Token::Signed(value))
        }

        fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Self::Value, E> {
            self.token($crate::decode::token::Token::Unsigned(value))
        }

        fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Self::Value, E> {
            self.token($crate::decode::token::Token::Float(value))
        }

        fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<Self::Value, E> {
            self.token($crate::decode::token::Token::Text(value))
        }

        fn visit_unit<E: serde::de::Error>(self) -> Result<Self::Value, E> {
            self.token($crate::decode::token::Token::Null)
        }
    };
}
pub(super) use scalars_to_token;

// === impl Token ===

impl<'a> Token<'a> {
    /// The value as the schema takes it.
    #[expect(clippy::cast_precision_loss, reason = "feature values are floats from here on, as in the model itself")]
    pub(super) fn scalar(self) -> Scalar<'a> {
        match self {
            Self::Null => Scalar::Null,
            Self::Boolean(flag) => Scalar::Boolean(flag),
            Self::Signed(number) => Scalar::Number(number as f64),
            Self::Unsigned(number) => Scalar::Number(number as f64),
            Self::Float(number) => Scalar::Number(number),
            Self::Text(text) => Scalar::Text(text),
        }
    }

    /// The value as a finite number, also from text.
    pub(super) fn number(self) -> Option<f64> {
        match self.scalar() {
            Scalar::Number(number) => Some(number),
            Scalar::Text(text) => text.trim().parse().ok(),
            Scalar::Null | Scalar::Boolean(_) => None,
        }
        .filter(|number: &f64| number.is_finite())
    }
}

impl fmt::Display for Token<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Boolean(flag) => flag.fmt(f),
            Self::Signed(number) => number.fmt(f),
            Self::Unsigned(number) => number.fmt(f),
            Self::Float(number) => number.fmt(f),
            Self::Text(text) => write!(f, "'{}'", excerpt(text).escape_debug()),
        }
    }
}

// === impl Field ===

impl<'a, T, F: FnOnce(Token<'_>) -> Result<T, Rejection>> Field<'a, F> {
    fn token<E: de::Error>(self, token: Token<'_>) -> Result<T, E> {
        (self.read)(token).map_err(|rejection| refuse(self.fault, rejection))
    }

    fn nested<E: de::Error>(self, what: &str) -> Result<T, E> {
        let message = format_args!("{} is {what}, where one value belongs", excerpt(self.name).escape_debug());
        Err(refuse(self.fault, Rejection::new(self.nested, message)))
    }
}

impl<'de, T, F: FnOnce(Token<'_>) -> Result<T, Rejection>> DeserializeSeed<'de> for Field<'_, F> {
    type Value = T;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<T, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, T, F: FnOnce(Token<'_>) -> Result<T, Rejection>> Visitor<'de> for Field<'_, F> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a single value")
    }

    scalars_to_token!();

    fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<T, A::Error> {
        self.nested("an array")
    }

    fn visit_map<A: MapAccess<'de>>(self, _: A) -> Result<T, A::Error> {
        self.nested("an object")
    }
}
