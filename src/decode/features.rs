//! The model's input: an object of named values or an array in schema order, one row or many, written straight into rows of
//! cells ([`row`]).
//!
//! An array is ambiguous until its first element is read: scalars are the values of one row, objects and arrays are rows.

use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::model::ModelLayout;
use super::row::{self, Row, RowScratch, skip_elements};
use super::token::{Token, refuse, scalars_to_token};
use super::{Batch, MAX_ROWS, RejectReason, Rejection};
use crate::event::{Cell, Repair};

/// Reads `features` or `instances` into the last query of a batch and, for more rows, into further ones.
pub(super) struct FeaturesSeed<'a> {
    pub model: &'a mut ModelLayout,
    pub scratch: &'a mut RowScratch,
    pub fault: &'a mut Option<Rejection>,
    pub batch: &'a mut Batch,
}

// === impl FeaturesSeed ===

impl FeaturesSeed<'_> {
    /// A writer of the row of the last query of the batch, with every cell missing.
    fn row(&mut self) -> Result<Row<'_>, Rejection> {
        let Some(query) = self.batch.queries[..self.batch.len].last_mut() else {
            return Err(Rejection::new(RejectReason::BadFeatures, "no row to write to"));
        };
        let mut row = Row {
            model: &mut *self.model,
            scratch: &mut *self.scratch,
            fault: &mut *self.fault,
            row: &mut query.row,
            texts: &mut query.unknown_texts,
            extra: &mut query.extra_features,
            new_names: &mut query.new_names,
            repairs: &mut query.repairs,
        };
        row.begin();
        Ok(row)
    }

    fn token<E: de::Error>(self, token: Token<'_>) -> Result<bool, E> {
        let message = format_args!("features is {token}, where an object or an array belongs");
        Err(refuse(self.fault, Rejection::new(RejectReason::BadFeatures, message)))
    }
}

impl<'de> DeserializeSeed<'de> for FeaturesSeed<'_> {
    /// Whether the message holds a batch of rows (be it of one).
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for FeaturesSeed<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("features")
    }

    scalars_to_token!();

    fn visit_map<A: MapAccess<'de>>(mut self, map: A) -> Result<bool, A::Error> {
        match self.row() {
            Ok(mut row) => row.read_object(map).map(|()| false),
            Err(rejection) => Err(refuse(self.fault, rejection)),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<bool, A::Error> {
        if let Err(rejection) = self.row() {
            return Err(refuse(self.fault, rejection));
        }
        let start = self.batch.len - 1;
        let (mut count, mut shape) = (0, None);
        while let Some(element) = seq.next_element_seed(ElementSeed { features: &mut self, nth: count, shape })? {
            shape = Some(element);
            count += 1;
        }
        let done = match shape {
            Some(Element::Value) => self.batch.queries[start].row.len().cmp(&count),
            Some(Element::Row) => return Ok(true),
            None => std::cmp::Ordering::Less,
        };
        if done.is_eq() {
            return Ok(false);
        }
        let width = self.model.width();
        let message = format_args!("an array of {count} values, where the model '{}' has {width} features", self.model.name());
        Err(refuse(self.fault, Rejection::new(RejectReason::BadFeatures, message)))
    }
}

// === impl ElementSeed ===

/// What the elements of an array of features are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Element {
    /// Values of one row.
    Value,
    /// Rows.
    Row,
}

/// Reads an element of an array of features; `shape` is what the elements before it were.
struct ElementSeed<'a, 'b> {
    features: &'a mut FeaturesSeed<'b>,
    nth: usize,
    shape: Option<Element>,
}

impl ElementSeed<'_, '_> {
    fn fault<E: de::Error>(&mut self, reason: RejectReason, message: impl fmt::Display) -> E {
        refuse(self.features.fault, Rejection::new(reason, message))
    }

    fn token<E: de::Error>(mut self, token: Token<'_>) -> Result<Element, E> {
        if self.shape == Some(Element::Row) {
            return Err(self.fault(RejectReason::BadFeatures, format_args!("{token} among rows")));
        }
        let features = self.features;
        let at = features.batch.len - 1;
        // A surplus value has no cell; the count at the end refuses it.
        let query = &mut features.batch.queries[at];
        if let Some(cell) = query.row.get_mut(self.nth) {
            *cell = row::bind(features.model, self.nth, token, &mut query.unknown_texts);
        }
        Ok(Element::Value)
    }

    /// An array or an object among the values of one row: this feature is unreadable.
    fn nested(self) -> Element {
        let features = self.features;
        let query = &mut features.batch.queries[features.batch.len - 1];
        query.repairs.add(Repair::FeatureNested);
        // A surplus value has no cell; the count at the end refuses it.
        if let Some(cell) = query.row.get_mut(self.nth) {
            *cell = Cell::UNREADABLE;
        }
        Element::Value
    }

    /// Makes room for the next row.
    fn next_row<E: de::Error>(&mut self) -> Result<(), E> {
        if self.nth == MAX_ROWS {
            return Err(self.fault(RejectReason::TooLarge, format_args!("more than {MAX_ROWS} rows in one message")));
        }
        if self.nth > 0 {
            self.features.batch.push();
        }
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for ElementSeed<'_, '_> {
    type Value = Element;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Element, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ElementSeed<'_, '_> {
    type Value = Element;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value or a row")
    }

    scalars_to_token!();

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Element, A::Error> {
        if self.shape == Some(Element::Value) {
            while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            return Ok(self.nested());
        }
        self.next_row()?;
        match self.features.row() {
            Ok(mut row) => row.read_object(map).map(|()| Element::Row),
            Err(rejection) => Err(refuse(self.features.fault, rejection)),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<Element, A::Error> {
        if self.shape == Some(Element::Value) {
            skip_elements(&mut seq)?;
            return Ok(self.nested());
        }
        self.next_row()?;
        match self.features.row() {
            Ok(mut row) => row.read_array(seq).map(|()| Element::Row),
            Err(rejection) => Err(refuse(self.features.fault, rejection)),
        }
    }
}
