//! One row of features as a log writes it, with every untouched value kept to the byte.
//!
//! A row is an object of named values or an array in schema order. Values stay the JSON text that the log has until a change
//! replaces them, so a change says exactly what it says and nothing else: no digit, no order of names moves elsewhere. Nested
//! objects become dotted names, which the decoder reads as the same features.

use std::fmt;

use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

use super::columns::Columns;

/// Depth of nested objects that are opened. Chosen: names of three or four levels exist; the bound keeps a hostile log from
/// deep recursion.
const MAX_DEPTH: usize = 16;

/// The members of an object, in order, each value as JSON text.
#[derive(Debug)]
pub struct Members<'a>(pub Vec<(String, &'a RawValue)>);

/// One value of a row.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Field {
    /// Name as in the log; empty in an array.
    pub name: String,
    /// Position among the profile's columns; none for a field that the profile does not know.
    pub column: Option<usize>,
    /// The value as JSON text.
    json: String,
}

/// One row of features.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Row {
    fields: Vec<Field>,
    /// Whether the row is an array in schema order: names and number of its values are fixed.
    positional: bool,
    changed: bool,
}

// === impl Members ===

impl<'de: 'a, 'a> serde::Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Ordered;
        impl<'de> Visitor<'de> for Ordered {
            type Value = Vec<(String, &'de RawValue)>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::with_capacity(map.size_hint().unwrap_or(16));
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(members)
            }
        }
        deserializer.deserialize_map(Ordered).map(Self)
    }
}

// === impl Field ===

impl Field {
    /// The value as JSON text.
    pub fn json(&self) -> &str {
        &self.json
    }

    /// The value if it is a JSON number.
    pub fn number(&self) -> Option<f64> {
        let first = self.json.bytes().next()?;
        if first == b'-' || first.is_ascii_digit() { self.json.parse().ok() } else { None }
    }

    /// The value if it is a JSON string.
    pub fn text(&self) -> Option<String> {
        if self.json.starts_with('"') { serde_json::from_str(&self.json).ok() } else { None }
    }
}

// === impl Row ===

impl Row {
    /// Reads a row; none if `json` is neither an object nor an array of single values.
    pub fn read(json: &str, columns: &Columns) -> Option<Self> {
        let mut fields = Vec::with_capacity(columns.all.len());
        let positional = json.trim_start().starts_with('[');
        if positional {
            let values: Vec<&RawValue> = serde_json::from_str(json).ok()?;
            if values.iter().any(|value| value.get().starts_with(['[', '{'])) {
                return None;
            }
            let field = |(at, value): (usize, &&RawValue)| Field {
                name: String::new(),
                column: (at < columns.all.len()).then_some(at),
                json: value.get().to_owned(),
            };
            fields.extend(values.iter().enumerate().map(field));
        } else {
            open(json, "", columns, &mut fields, MAX_DEPTH)?;
        }
        Some(Self { fields, positional, changed: false })
    }

    /// The row as JSON text.
    pub fn write(&self) -> String {
        let mut out = String::with_capacity(32 * self.fields.len());
        out.push(if self.positional { '[' } else { '{' });
        for (at, field) in self.fields.iter().enumerate() {
            if at > 0 {
                out.push(',');
            }
            if !self.positional {
                out.push_str(&quoted(&field.name));
                out.push(':');
            }
            out.push_str(&field.json);
        }
        out.push(if self.positional { ']' } else { '}' });
        out
    }

    /// Whether anything was changed.
    pub fn changed(&self) -> bool {
        self.changed
    }

    /// Its fields in order.
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// The field of a column.
    pub fn field(&self, column: usize) -> Option<&Field> {
        self.fields.iter().find(|field| field.column == Some(column))
    }

    /// Replaces the value of a column by JSON text; nothing happens where the row has no such field.
    pub fn set_json(&mut self, column: usize, json: &str) {
        if let Some(field) = self.fields.iter_mut().find(|field| field.column == Some(column))
            && field.json != json
        {
            json.clone_into(&mut field.json);
            self.changed = true;
        }
    }

    /// Replaces the value of a column by text.
    pub fn set_text(&mut self, column: usize, text: &str) {
        self.set_json(column, &quoted(text));
    }

    /// Replaces the value of a column by a number; a number that JSON cannot hold leaves it as it was.
    pub fn set_number(&mut self, column: usize, number: f64) {
        if let Some(json) = number_json(number) {
            self.set_json(column, &json);
        }
    }

    /// Takes the fields of some columns out. An array has a fixed number of values, so there the value becomes null.
    pub fn remove(&mut self, columns: &[usize]) {
        if self.positional {
            columns.iter().for_each(|&column| self.set_json(column, "null"));
            return;
        }
        let before = self.fields.len();
        self.fields.retain(|field| field.column.is_none_or(|column| !columns.contains(&column)));
        self.changed |= self.fields.len() != before;
    }

    /// Gives the fields of some columns other names. An array has none.
    pub fn rename(&mut self, columns: &[usize], name: impl Fn(&str) -> String) {
        if self.positional {
            return;
        }
        for field in &mut self.fields {
            if field.column.is_some_and(|column| columns.contains(&column)) {
                let other = name(&field.name);
                self.changed |= other != field.name;
                field.name = other;
            }
        }
    }

    /// Appends a field that the profile does not know. An array takes none: it would have the wrong length and be refused.
    pub fn append(&mut self, name: &str, json: &str) {
        if !self.positional {
            self.fields.push(Field { name: name.to_owned(), column: None, json: json.to_owned() });
            self.changed = true;
        }
    }
}

/// Reads the members of an object into fields; `path` is what leads to it, with a dot at its end.
fn open(json: &str, path: &str, columns: &Columns, fields: &mut Vec<Field>, depth: usize) -> Option<()> {
    let Members(members) = serde_json::from_str(json).ok()?;
    for (name, value) in members {
        let name = format!("{path}{name}");
        let column = columns.position(&name);
        if column.is_none() && columns.dotted && depth > 0 && value.get().starts_with('{') {
            open(value.get(), &format!("{name}."), columns, fields, depth - 1)?;
            continue;
        }
        fields.push(Field { name, column, json: value.get().to_owned() });
    }
    Some(())
}

/// A JSON string.
pub fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

/// A number as JSON writes it: whole numbers without a fraction, others in the shortest form that reads back.
pub fn number_json(number: f64) -> Option<String> {
    number.is_finite().then(|| (number + 0.0).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::change::columns::tests::columns;

    #[test]
    fn a_row_that_is_not_touched_is_written_as_it_was_read() {
        let columns = columns();
        for json in
            [r#"{"job_title":"Clerk","age":39.50,"extra":{"b":[1, 2]},"city":null,"x":1e3}"#, r#"["Clerk",39.50,null,-0.0]"#, "{}"]
        {
            let row = Row::read(json, &columns).unwrap();
            assert_eq!((row.write().as_str(), row.changed()), (json, false));
        }
    }

    #[test]
    fn setting_the_value_that_is_there_is_no_change() {
        let columns = columns();
        let mut row = Row::read(r#"{"age":39}"#, &columns).unwrap();
        row.set_number(columns.position("age").unwrap(), 39.0);
        assert!(!row.changed());
        row.set_number(columns.position("age").unwrap(), f64::NAN);
        assert!(!row.changed(), "JSON has no NaN");
        row.set_number(columns.position("age").unwrap(), 39.5);
        assert_eq!((row.write().as_str(), row.changed()), (r#"{"age":39.5}"#, true));
    }

    #[test]
    fn an_array_keeps_its_length_whatever_a_change_wants() {
        let columns = columns();
        let mut row = Row::read(r#"["Clerk",39,"Ulm",1.5]"#, &columns).unwrap();
        row.remove(&[1]);
        row.rename(&[0], str::to_uppercase);
        row.append("more", "1");
        assert_eq!(row.write(), r#"["Clerk",null,"Ulm",1.5]"#);
    }
}
