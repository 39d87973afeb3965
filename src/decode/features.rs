//! The model's input: an object of named values or an array in schema order, one row or many, written straight into rows of
//! cells.
//!
//! Objects within features are flattened with dots (`{"customer":{"age":39}}` is the feature `customer.age`) when the reference
//! has such names; otherwise they count as one unknown feature. A nested value *in the place of a known feature* is refused: it
//! is a layout that the configuration does not describe, and guessing would fill the windows with nonsense.

use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::model::{Model, Names, duplicate};
use super::token::{Token, refuse, scalars_to_token};
use super::{Batch, MAX_ROWS, Reason, Rejection, blank_row, excerpt};
use crate::event::Cell;

/// Buffers for reading a row.
#[derive(Debug, Default)]
pub(super) struct RowScratch {
    /// One bit a feature: has it a value yet?
    seen: Vec<u64>,
    unknown: Names,
    /// Path to the object being flattened, with a dot behind each name.
    path: String,
}

/// Reads `features` or `instances` into the last query of a batch and, for more rows, into further ones.
pub(super) struct FeaturesSeed<'a> {
    pub model: &'a mut Model,
    pub scratch: &'a mut RowScratch,
    pub fault: &'a mut Option<Rejection>,
    pub batch: &'a mut Batch,
}

/// Writes one row.
pub(super) struct Row<'a> {
    pub model: &'a mut Model,
    pub scratch: &'a mut RowScratch,
    pub fault: &'a mut Option<Rejection>,
    pub row: &'a mut Vec<Cell>,
    pub extra: &'a mut u32,
}

// === impl Row ===

impl Row<'_> {
    /// Makes the row blank.
    pub(super) fn begin(&mut self) {
        let width = self.model.width();
        blank_row(self.row, width);
        self.scratch.seen.clear();
        self.scratch.seen.resize(width.div_ceil(64), 0);
        self.scratch.unknown.clear();
        self.scratch.path.clear();
    }

    /// Marks feature `position` as present.
    pub(super) fn mark(&mut self, position: usize) -> Result<(), Rejection> {
        let (word, bit) = (position / 64, 1 << (position % 64));
        if self.scratch.seen[word] & bit != 0 {
            return Err(duplicate(self.model.feature(position)));
        }
        self.scratch.seen[word] |= bit;
        Ok(())
    }

    /// Where the name goes: the position of a feature, or `None` for an unknown one, whose full path is then in the scratch.
    pub(super) fn place(&mut self, name: &str, nth: usize) -> Result<Option<usize>, Rejection> {
        let position = if self.scratch.path.is_empty() {
            self.model.position(name, nth)
        } else {
            let length = self.scratch.path.len();
            self.scratch.path.push_str(name);
            let found = self.model.schema().position(&self.scratch.path);
            self.scratch.path.truncate(length);
            found
        };
        match position {
            Some(position) => self.mark(position)?,
            None => {
                self.scratch.path.push_str(name);
                self.scratch.unknown.insert(&self.scratch.path)?;
            }
        }
        Ok(position)
    }

    /// The value of feature `position`.
    pub(super) fn set(&mut self, position: usize, token: Token<'_>) {
        self.row[position] = self.model.schema().bind(position, token.scalar());
    }

    /// Whether objects under unknown names are opened.
    pub(super) fn flattens(&self) -> bool {
        self.model.is_dotted()
    }

    /// Counts an unknown feature.
    pub(super) fn count_extra(&mut self) {
        *self.extra = self.extra.saturating_add(1);
    }

    /// Length of the path, to return to with [`Row::leave`].
    pub(super) fn depth(&self) -> usize {
        self.scratch.path.len()
    }

    /// Goes into the object under the unknown name just placed.
    pub(super) fn enter(&mut self) {
        self.scratch.path.push('.');
    }

    /// Returns to an outer object.
    pub(super) fn leave(&mut self, depth: usize) {
        self.scratch.path.truncate(depth);
    }

    /// Whether `count` values make a row.
    pub(super) fn check_width(&self, count: usize) -> Result<(), Rejection> {
        let width = self.model.width();
        if count == width {
            return Ok(());
        }
        let message = format_args!("an array of {count} values, where the model '{}' has {width} features", self.model.name());
        Err(Rejection::new(Reason::BadFeatures, message))
    }

    fn fault<E: de::Error>(&mut self, rejection: Rejection) -> E {
        refuse(self.fault, rejection)
    }

    fn read_object<'de, A: MapAccess<'de>>(&mut self, mut map: A) -> Result<(), A::Error> {
        let depth = self.depth();
        let mut nth = 0;
        while let Some(placed) = map.next_key_seed(NameSeed { row: self, nth })? {
            match placed {
                Some(position) => map.next_value_seed(CellSeed { row: self, position })?,
                None => {
                    map.next_value_seed(UnknownSeed { row: self })?;
                    self.leave(depth);
                }
            }
            nth += 1;
        }
        Ok(())
    }

    fn read_array<'de, A: SeqAccess<'de>>(&mut self, mut seq: A) -> Result<(), A::Error> {
        let width = self.model.width();
        let mut count = 0;
        while count < width && seq.next_element_seed(CellSeed { row: self, position: count })?.is_some() {
            count += 1;
        }
        while seq.next_element::<IgnoredAny>()?.is_some() {
            count += 1;
        }
        self.check_width(count).map_err(|rejection| self.fault(rejection))
    }
}

// === impl NameSeed ===

struct NameSeed<'a, 'b> {
    row: &'a mut Row<'b>,
    nth: usize,
}

impl<'de> DeserializeSeed<'de> for NameSeed<'_, '_> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for NameSeed<'_, '_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a feature name")
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<Self::Value, E> {
        self.row.place(name, self.nth).map_err(|rejection| self.row.fault(rejection))
    }
}

// === impl CellSeed ===

struct CellSeed<'a, 'b> {
    row: &'a mut Row<'b>,
    position: usize,
}

impl<'de> DeserializeSeed<'de> for CellSeed<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl CellSeed<'_, '_> {
    #[expect(clippy::unnecessary_wraps, reason = "the shape that the visitor's macro calls")]
    fn token<E: de::Error>(self, token: Token<'_>) -> Result<(), E> {
        self.row.set(self.position, token);
        Ok(())
    }

    fn nested<E: de::Error>(self, what: &str) -> Result<(), E> {
        let rejection = nested(self.row.model.feature(self.position), what);
        Err(self.row.fault(rejection))
    }
}

/// The rejection of a feature that is an object or an array.
pub(super) fn nested(name: &str, what: &str) -> Rejection {
    Rejection::new(
        Reason::BadFeatures,
        format_args!("the feature '{}' is {what}, where one value belongs", excerpt(name).escape_debug()),
    )
}

impl<'de> Visitor<'de> for CellSeed<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a feature value")
    }

    scalars_to_token!();

    fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<(), A::Error> {
        self.nested("an array")
    }

    fn visit_map<A: MapAccess<'de>>(self, _: A) -> Result<(), A::Error> {
        self.nested("an object")
    }
}

// === impl UnknownSeed ===

/// Counts an unknown feature, or opens the object under it.
struct UnknownSeed<'a, 'b> {
    row: &'a mut Row<'b>,
}

impl<'de> DeserializeSeed<'de> for UnknownSeed<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        if self.row.flattens() {
            return deserializer.deserialize_any(self);
        }
        self.row.count_extra();
        deserializer.deserialize_ignored_any(IgnoredAny).map(drop)
    }
}

impl UnknownSeed<'_, '_> {
    #[expect(clippy::unnecessary_wraps, reason = "the shape that the visitor's macro calls")]
    fn token<E: de::Error>(self, _: Token<'_>) -> Result<(), E> {
        self.row.count_extra();
        Ok(())
    }
}

impl<'de> Visitor<'de> for UnknownSeed<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    scalars_to_token!();

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        self.row.count_extra();
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        self.row.enter();
        self.row.read_object(map)
    }
}

// === impl FeaturesSeed ===

impl FeaturesSeed<'_> {
    /// The row of the last query of the batch, made blank.
    fn row(&mut self) -> Result<Row<'_>, Rejection> {
        let Some(query) = self.batch.queries[..self.batch.len].last_mut() else {
            return Err(Rejection::new(Reason::BadFeatures, "no row to write to"));
        };
        let mut row = Row {
            model: &mut *self.model,
            scratch: &mut *self.scratch,
            fault: &mut *self.fault,
            row: &mut query.row,
            extra: &mut query.extra_features,
        };
        row.begin();
        Ok(row)
    }

    fn token<E: de::Error>(self, token: Token<'_>) -> Result<bool, E> {
        let message = format_args!("features is {token}, where an object or an array belongs");
        Err(refuse(self.fault, Rejection::new(Reason::BadFeatures, message)))
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
        Err(refuse(self.fault, Rejection::new(Reason::BadFeatures, message)))
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
    fn fault<E: de::Error>(&mut self, reason: Reason, message: impl fmt::Display) -> E {
        refuse(self.features.fault, Rejection::new(reason, message))
    }

    fn token<E: de::Error>(mut self, token: Token<'_>) -> Result<Element, E> {
        if self.shape == Some(Element::Row) {
            return Err(self.fault(Reason::BadFeatures, format_args!("{token} among rows")));
        }
        let features = self.features;
        let at = features.batch.len - 1;
        // One value too many is found out by the count at the end.
        if let Some(cell) = features.batch.queries[at].row.get_mut(self.nth) {
            *cell = features.model.schema().bind(self.nth, token.scalar());
        }
        Ok(Element::Value)
    }

    /// Makes room for the next row.
    fn next_row<E: de::Error>(&mut self) -> Result<(), E> {
        if self.shape == Some(Element::Value) {
            return Err(self.fault(Reason::BadFeatures, "a row among values"));
        }
        if self.nth == MAX_ROWS {
            return Err(self.fault(Reason::TooLarge, format_args!("more than {MAX_ROWS} rows in one message")));
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

    fn visit_map<A: MapAccess<'de>>(mut self, map: A) -> Result<Element, A::Error> {
        self.next_row()?;
        match self.features.row() {
            Ok(mut row) => row.read_object(map).map(|()| Element::Row),
            Err(rejection) => Err(refuse(self.features.fault, rejection)),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, seq: A) -> Result<Element, A::Error> {
        self.next_row()?;
        match self.features.row() {
            Ok(mut row) => row.read_array(seq).map(|()| Element::Row),
            Err(rejection) => Err(refuse(self.features.fault, rejection)),
        }
    }
}
