//! One row of cells, written while its object or array is parsed.
//!
//! Objects within features are flattened with dots (`{"customer":{"age":39}}` is the feature `customer.age`) when the reference
//! has such names; otherwise they count as one unknown feature. A nested value *in the place of a known feature* makes this feature
//! unreadable, which every statistic knows as a value of its own. Of a feature that stands twice the last value counts.

use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::batch::blank_row;
use super::model::ModelLayout;
use super::token::{Token, refuse, scalars_to_token};
use super::{RejectReason, Rejection};
use crate::event::{Cell, Repair, Repairs, UnknownTexts};

/// Buffers for reading a row, used again.
#[derive(Debug, Default)]
pub(super) struct RowScratch {
    /// One bit a feature that occurred.
    seen: Vec<u64>,
    /// Path to the object that is being flattened, with a dot behind each name.
    path: String,
}

/// Writes one row while it is parsed.
pub(super) struct Row<'a> {
    pub model: &'a mut ModelLayout,
    pub scratch: &'a mut RowScratch,
    pub fault: &'a mut Option<Rejection>,
    pub row: &'a mut Vec<Cell>,
    pub texts: &'a mut UnknownTexts,
    pub extra: &'a mut u32,
    pub new_names: &'a mut Vec<Box<str>>,
    pub repairs: &'a mut Repairs,
}

/// The cell of a value of feature `position`. A text that the schema has no value for is kept, so that it can be shown.
#[inline]
pub(super) fn bind(model: &ModelLayout, position: usize, token: Token<'_>, texts: &mut UnknownTexts) -> Cell {
    let schema = model.schema();
    let cell = schema.bind(position, token.scalar());
    if schema.is_unknown_text(position, cell) && texts.may_be_shown() {
        match token {
            Token::Text(text) => texts.push(position, text, model.width()),
            // A number or a flag where a category belongs.
            other => texts.push(position, &other.to_string(), model.width()),
        }
    }
    cell
}

// === impl Row ===

impl Row<'_> {
    /// Makes every cell missing and forgets the previous row.
    pub(super) fn begin(&mut self) {
        let width = self.model.width();
        blank_row(self.row, width);
        self.texts.begin(self.model.shows_values());
        self.scratch.seen.clear();
        self.scratch.seen.resize(width.div_ceil(64), 0);
        self.scratch.path.clear();
    }

    /// Marks feature `position` as present.
    fn mark(&mut self, position: usize) {
        let (word, bit) = (position / 64, 1 << (position % 64));
        if self.scratch.seen[word] & bit != 0 {
            self.repairs.add(Repair::NameRepeated);
        }
        self.scratch.seen[word] |= bit;
    }

    /// The position of the feature with this name, marked as present. `None` for an unknown one, whose full path is then in the
    /// scratch if the object under it may be opened.
    fn place(&mut self, name: &str, nth: usize) -> Option<usize> {
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
            Some(position) => self.mark(position),
            None => self.scratch.path.push_str(name),
        }
        position
    }

    /// The value of feature `position`.
    fn set(&mut self, position: usize, token: Token<'_>) {
        self.row[position] = bind(self.model, position, token, self.texts);
    }

    /// Whether objects under unknown names are opened.
    fn flattens(&self) -> bool {
        self.model.is_dotted()
    }

    /// Counts an unknown feature, and notes its name if it is new. The scratch has its full path.
    fn count_extra(&mut self) {
        *self.extra = self.extra.saturating_add(1);
        if self.model.note_unknown(&self.scratch.path) {
            self.new_names.push(self.scratch.path.as_str().into());
        }
    }

    /// Length of the path, to return to with [`Row::leave`].
    fn depth(&self) -> usize {
        self.scratch.path.len()
    }

    /// Goes into the object under the unknown name just placed.
    fn enter(&mut self) {
        self.scratch.path.push('.');
    }

    /// Returns to an outer object.
    fn leave(&mut self, depth: usize) {
        self.scratch.path.truncate(depth);
    }

    /// Whether `count` values make a row.
    fn check_width(&self, count: usize) -> Result<(), Rejection> {
        let width = self.model.width();
        if count == width {
            return Ok(());
        }
        let message = format_args!("an array of {count} values, where the model '{}' has {width} features", self.model.name());
        Err(Rejection::new(RejectReason::BadFeatures, message))
    }

    fn fault<E: de::Error>(&mut self, rejection: Rejection) -> E {
        refuse(self.fault, rejection)
    }

    pub(super) fn read_object<'de, A: MapAccess<'de>>(&mut self, mut map: A) -> Result<(), A::Error> {
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

    pub(super) fn read_array<'de, A: SeqAccess<'de>>(&mut self, mut seq: A) -> Result<(), A::Error> {
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

/// Reads the name of a feature, the `nth` of its object.
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
        Ok(self.row.place(name, self.nth))
    }
}

// === impl CellSeed ===

/// Reads the value of a known feature.
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

    /// The feature is an object or an array.
    fn nested(self) {
        self.row.row[self.position] = Cell::UNREADABLE;
        self.row.repairs.add(Repair::FeatureNested);
    }
}

impl<'de> Visitor<'de> for CellSeed<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a feature value")
    }

    scalars_to_token!();

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        self.nested();
        skip_elements(&mut seq)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        self.nested();
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(())
    }
}

/// Passes over the rest of an array.
pub(super) fn skip_elements<'de, A: SeqAccess<'de>>(seq: &mut A) -> Result<(), A::Error> {
    while seq.next_element::<IgnoredAny>()?.is_some() {}
    Ok(())
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
        skip_elements(&mut seq)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        self.row.enter();
        self.row.read_object(map)
    }
}
