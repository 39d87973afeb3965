//! A column that many callers write as the reference does not know: a change of the pipeline, said with its kind.

use serde::Serialize;

use super::At;
use crate::event::EventTime;
use crate::reference::UnknownValue;

/// How a column is written now.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct ColumnChange {
    /// Feature name.
    pub name: String,
    /// What most of the values are that the reference does not know.
    pub kind: UnknownValue,
    /// Share of the last hour's queries with such a value, 0 to 1.
    #[serde(serialize_with = "super::rounded")]
    pub queries: f64,
    /// Share of the callers whose newest row has a value that the reference does not know, 0 to 1.
    #[serde(serialize_with = "super::rounded")]
    pub callers: f64,
    /// Since when.
    pub since: At,
    /// Values of this kind that several callers sent, shortened; none if values may not be shown, or if every caller has its own.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub examples: Vec<String>,
}

/// Column changes in a snapshot: verdict lines round them and write times as text, a snapshot must not.
pub(super) mod unrounded {
    use serde::{Deserialize, Deserializer, Serializer};

    use super::{At, ColumnChange, EventTime, UnknownValue};

    type Fields = (String, UnknownValue, f64, f64, EventTime, Vec<String>);

    pub(in crate::judge) fn serialize<S: Serializer>(changes: &[ColumnChange], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(changes.iter().map(|c| (&c.name, c.kind, c.queries, c.callers, c.since.0, &c.examples)))
    }

    pub(in crate::judge) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<ColumnChange>, D::Error> {
        let of = |(name, kind, queries, callers, since, examples)| ColumnChange {
            name,
            kind,
            queries,
            callers,
            since: At(since),
            examples,
        };
        Ok(Vec::<Fields>::deserialize(deserializer)?.into_iter().map(of).collect())
    }
}
