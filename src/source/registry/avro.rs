//! Avro records as JSON.
//!
//! Unions are taken off, enums become their symbols, bytes text (base64 if they are no UTF-8), and decimals numbers. Points in time stay the
//! numbers that they are, in the unit of the schema; a local time becomes a text without a zone, so that the decoder asks for one.
//! What a record may make us allocate is bounded: recursive types and arrays of nothing, whose length costs no bytes, are refused with the
//! schema.

use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::schema::{Name, Schema};
use apache_avro::types::Value as Avro;
use base64::Engine as _;
use serde_json::{Map, Number, Value};

/// Most bytes that one value may claim. Chosen: the longest message that is read by default.
const MAX_BYTES: usize = crate::decode::MAX_MESSAGE_BYTES;

/// A schema with those that it refers to.
#[derive(Debug)]
pub struct AvroSchema {
    schema: Schema,
    others: Vec<Schema>,
}

// === impl AvroSchema ===

impl AvroSchema {
    /// Reads a schema and those that it refers to.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn parse(text: &str, references: &[String]) -> Result<Self, String> {
        apache_avro::util::max_allocation_bytes(MAX_BYTES);
        let (schema, others) = Schema::parse_str_with_list(text, references).map_err(|error| error.to_string())?;
        let parsed = Self { schema, others };
        parsed.check(&parsed.schema, &mut Vec::new())?;
        Ok(parsed)
    }

    /// A record as JSON.
    ///
    /// # Errors
    /// Why the bytes are no record of this schema.
    pub fn read(&self, mut bytes: &[u8]) -> Result<Value, String> {
        // Names may be defined in the schema itself, too.
        let all = self.others.iter().chain([&self.schema]).collect();
        let reader = GenericDatumReader::builder(&self.schema)
            .writer_schemata(all)
            .and_then(|builder| builder.build())
            .map_err(|error| error.to_string())?;
        let value = reader.read_value(&mut bytes).map_err(|error| error.to_string())?;
        if !bytes.is_empty() {
            return Err(format!("{} bytes follow the record", bytes.len()));
        }
        Ok(self.json(value, &self.schema))
    }

    /// Refuses types that let few bytes become much.
    fn check(&self, schema: &Schema, within: &mut Vec<Name>) -> Result<(), String> {
        match schema {
            Schema::Record(record) => {
                if within.contains(&record.name) {
                    return Err(format!("the type '{}' contains itself", record.name));
                }
                within.push(record.name.clone());
                record.fields.iter().try_for_each(|field| self.check(&field.schema, within))?;
                within.pop();
                Ok(())
            }
            Schema::Ref { name } if within.contains(name) => Err(format!("the type '{name}' contains itself")),
            Schema::Ref { name } => self.named(name).map_or(Ok(()), |schema| self.check(schema, within)),
            Schema::Union(union) => union.variants().iter().try_for_each(|variant| self.check(variant, within)),
            Schema::Map(map) => self.check(&map.types, within),
            Schema::Array(array) => {
                if self.is_nothing(&array.items) {
                    return Err("an array holds values that take no bytes".to_owned());
                }
                self.check(&array.items, within)
            }
            _ => Ok(()),
        }
    }

    /// Whether a value takes no bytes.
    fn is_nothing(&self, schema: &Schema) -> bool {
        match schema {
            Schema::Null => true,
            Schema::Fixed(fixed) => fixed.size == 0,
            Schema::Record(record) => record.fields.iter().all(|field| self.is_nothing(&field.schema)),
            _ => false,
        }
    }

    /// The type of a name. Types that are named within this schema are found where they are defined, those of others in their own.
    fn named(&self, name: &Name) -> Option<&Schema> {
        std::iter::once(&self.schema).chain(&self.others).find_map(|schema| defined(schema, name))
    }

    fn json(&self, value: Avro, schema: &Schema) -> Value {
        if let Schema::Ref { name } = schema {
            return match self.named(name) {
                Some(schema) => self.json(value, schema),
                None => Value::Null,
            };
        }
        match (value, schema) {
            (Avro::Union(nth, inner), Schema::Union(union)) => {
                match usize::try_from(nth).ok().and_then(|nth| union.variants().get(nth)) {
                    Some(variant) => self.json(*inner, variant),
                    None => Value::Null,
                }
            }
            (Avro::Record(fields), Schema::Record(record)) => {
                let fields = fields.into_iter().zip(&record.fields);
                Value::Object(fields.map(|((name, value), field)| (name, self.json(value, &field.schema))).collect::<Map<_, _>>())
            }
            (Avro::Array(items), Schema::Array(array)) => {
                Value::Array(items.into_iter().map(|item| self.json(item, &array.items)).collect())
            }
            (Avro::Map(entries), Schema::Map(map)) => {
                Value::Object(entries.into_iter().map(|(name, value)| (name, self.json(value, &map.types))).collect())
            }
            (Avro::Decimal(decimal), Schema::Decimal(of)) => {
                let bytes = Vec::<u8>::try_from(&decimal).unwrap_or_default();
                number(unscaled(&bytes) / 10_f64.powi(i32::try_from(of.scale).unwrap_or(i32::MAX)))
            }
            (value, _) => scalar(value),
        }
    }
}

/// The definition of a named type within a schema.
fn defined<'a>(schema: &'a Schema, name: &Name) -> Option<&'a Schema> {
    if !matches!(schema, Schema::Ref { .. }) && schema.name() == Some(name) {
        return Some(schema);
    }
    match schema {
        Schema::Record(record) => record.fields.iter().find_map(|field| defined(&field.schema, name)),
        Schema::Union(union) => union.variants().iter().find_map(|variant| defined(variant, name)),
        Schema::Array(array) => defined(&array.items, name),
        Schema::Map(map) => defined(&map.types, name),
        _ => None,
    }
}

fn scalar(value: Avro) -> Value {
    match value {
        Avro::Boolean(flag) => Value::Bool(flag),
        Avro::Int(number) | Avro::TimeMillis(number) => number.into(),
        Avro::Long(number)
        | Avro::TimeMicros(number)
        | Avro::TimestampMillis(number)
        | Avro::TimestampMicros(number)
        | Avro::TimestampNanos(number) => number.into(),
        // The nearest decimal: 0.83 was 0.83 before it was a float.
        Avro::Float(value) => value.to_string().parse().map_or(Value::Null, number),
        Avro::Double(value) => number(value),
        Avro::String(text) | Avro::Enum(_, text) => Value::String(text),
        Avro::Bytes(bytes) | Avro::Fixed(_, bytes) => Value::String(
            String::from_utf8(bytes).unwrap_or_else(|error| base64::engine::general_purpose::STANDARD.encode(error.as_bytes())),
        ),
        Avro::Date(days) => local(i64::from(days).checked_mul(86_400_000_000), true),
        Avro::LocalTimestampMillis(millis) => local(millis.checked_mul(1_000), false),
        Avro::LocalTimestampMicros(micros) => local(Some(micros), false),
        Avro::LocalTimestampNanos(nanos) => local(Some(nanos.div_euclid(1_000)), false),
        Avro::Uuid(id) => Value::String(id.to_string()),
        Avro::BigDecimal(decimal) => decimal.to_string().parse().map_or(Value::Null, number),
        _ => Value::Null,
    }
}

fn number(value: f64) -> Value {
    Number::from_f64(value).map_or(Value::Null, Value::Number)
}

/// A date, or a time without a zone, from microseconds.
fn local(micros: Option<i64>, is_date: bool) -> Value {
    let time = micros.and_then(|micros| jiff::Timestamp::from_microsecond(micros).ok());
    let Some(time) = time.map(|time| jiff::tz::Offset::UTC.to_datetime(time)) else { return Value::Null };
    Value::String(if is_date { time.date().to_string() } else { time.to_string() })
}

/// A number from its big-endian two's complement.
fn unscaled(bytes: &[u8]) -> f64 {
    let negative = bytes.first().is_some_and(|first| first & 0x80 != 0);
    let digits = bytes.iter().map(|byte| if negative { !byte } else { *byte });
    let size = digits.fold(0.0, |sum, byte| sum * 256.0 + f64::from(byte));
    if negative { -size - 1.0 } else { size }
}
