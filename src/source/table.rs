//! Logs that are tables, CSV and Parquet: each row becomes a record, an object of column → value.
//!
//! Columns are named like the fields; a column of features may be called `features.NAME`. The decoder reads such records in the format
//! `flat`. Values of CSV stay text, and the reference decides what is a number.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ::parquet::basic::{LogicalType, TimeUnit};
use ::parquet::file::reader::{FileReader as _, SerializedFileReader};
use ::parquet::record::reader::RowIter;
use ::parquet::record::{Field, Row};
use serde_json::{Map, Number, Value};

use super::file::{FileError, FileSource, STDIN};
use super::{Record, Source};
use crate::dataset::parquet::{caught, shortest};
use crate::decode::csv_records;
use crate::decode::recognise::in_another_case;
use crate::event::Provenance;
use crate::reference::number_style::{Dressed, NumberStyle, dressed};
use crate::reference::{Feature, Reference};

/// Delimiters of tables as text.
const DELIMITERS: [char; 4] = [',', ';', '\t', '|'];
/// Nested columns are followed so deep. Chosen: what the decoder opens.
const MAX_DEPTH: usize = 16;

/// Rows of delimited text with a header.
#[derive(Debug)]
pub struct CsvRows {
    lines: FileSource,
    names: Vec<String>,
    /// How the numbers of each column are written; empty if they have a decimal point.
    commas: Vec<Commas>,
    delimiter: char,
    limit: usize,
    text: Vec<u8>,
    payload: Vec<u8>,
}

/// What a column of a table with decimal commas holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Commas {
    /// Numbers.
    Number,
    /// Names, which keep their text.
    Category,
    /// No feature: an answer, a time, an address. What has points alone is no number.
    Other,
}

/// Rows of a Parquet file.
pub struct ParquetRows {
    name: String,
    rows: RowIter<'static>,
    /// Columns of times without a zone, with their unit.
    naive: Vec<(String, TimeUnit)>,
    total: u64,
    size: u64,
    read: u64,
    consumed: Arc<AtomicU64>,
    payload: Vec<u8>,
}

/// The delimiter of a line that names columns: half the features of a model are among them, or more.
pub fn is_header(line: &[u8], references: &[Arc<Reference>]) -> Option<char> {
    // A line that has an object in it is a record, maybe behind words of a logger.
    let text = std::str::from_utf8(line).ok().filter(|text| !text.contains('{') && !text.trim_start().starts_with('['))?;
    DELIMITERS.into_iter().find(|&delimiter| {
        let names = names(text, delimiter);
        references.iter().any(|reference| {
            let is_known = |feature: &Feature| names.iter().any(|name| name.eq_ignore_ascii_case(&feature.name));
            let known = reference.features.iter().filter(|feature| is_known(feature)).count();
            known > 0 && known * 2 >= reference.features.len()
        })
    })
}

fn names(line: &str, delimiter: char) -> Vec<String> {
    let names = csv_records(line, delimiter).ok().and_then(|lines| lines.into_iter().next()).unwrap_or_default();
    names.into_iter().map(|name| feature_name(name.trim())).collect()
}

fn feature_name(name: &str) -> String {
    name.strip_prefix("features.").unwrap_or(name).to_owned()
}

/// Whether the first rows behind a header have decimal commas in columns of numbers. Between commas as delimiters nothing is guessed.
pub fn has_decimal_commas<'a>(
    header: &[u8],
    mut rows: impl Iterator<Item = &'a [u8]>,
    delimiter: char,
    references: &[Arc<Reference>],
) -> bool {
    let text = |line: &[u8]| String::from_utf8_lossy(line).into_owned();
    let commas: Vec<Commas> = names(&text(header), delimiter).iter().map(|name| Commas::of(name, references)).collect();
    delimiter != ','
        && rows.any(|row| {
            let values = csv_records(&text(row), delimiter).ok().and_then(|mut lines| lines.pop()).unwrap_or_default();
            commas.iter().zip(&values).any(|(commas, value)| {
                *commas == Commas::Number && dressed(value) == Some(Dressed::In(NumberStyle::DecimalComma)) && value.contains(',')
            })
        })
}

// === impl Commas ===

impl Commas {
    fn of(name: &str, references: &[Arc<Reference>]) -> Self {
        let mut features =
            references.iter().flat_map(|reference| &reference.features).filter(|feature| feature.name.eq_ignore_ascii_case(name));
        match features.next() {
            Some(feature) if feature.is_numeric() => Self::Number,
            Some(_) => Self::Category,
            None => Self::Other,
        }
    }
}

// === impl CsvRows ===

impl CsvRows {
    /// Rows of a file whose first line names the columns.
    ///
    /// # Errors
    /// If the file breaks off, or two columns have one name.
    pub fn new(mut lines: FileSource, delimiter: char, limit: usize) -> Result<Self, FileError> {
        let header = lines.next()?.map(|record| String::from_utf8_lossy(record.payload).into_owned()).unwrap_or_default();
        let names = names(&header, delimiter);
        if let Some(twice) = names.iter().enumerate().find(|(nth, name)| names[..*nth].contains(name)).map(|(_, name)| name) {
            let what = format!("two columns are called '{}'; rename one", twice.escape_debug());
            return Err(FileError::Broken { path: lines.name().to_owned(), lines: 1, what });
        }
        Ok(Self { lines, names, commas: Vec::new(), delimiter, limit, text: Vec::new(), payload: Vec::new() })
    }

    /// Gives columns in another case, as databases write them, the names of the features, and all others small letters. Returns what
    /// was changed, if anything.
    pub fn use_case_of(&mut self, references: &[Arc<Reference>]) -> Option<BTreeMap<String, String>> {
        let other_case = in_another_case(self.names.iter().map(String::as_str), references)?;
        for name in &mut self.names {
            *name = other_case.get(name).cloned().unwrap_or_else(|| name.to_ascii_lowercase());
        }
        Some(other_case)
    }

    /// The same rows, whose numbers have a decimal comma. Categories keep their text.
    #[must_use]
    pub fn with_decimal_commas(mut self, references: &[Arc<Reference>]) -> Self {
        self.commas = self.names.iter().map(|name| Commas::of(name, references)).collect();
        self
    }

    pub(super) fn next(&mut self) -> Result<Option<Record<'_>>, FileError> {
        self.text.clear();
        let mut offset = None;
        while let Some(record) = self.lines.next()? {
            offset = offset.or(Some(record.provenance.offset));
            if !self.text.is_empty() {
                self.text.push(b'\n');
            }
            self.text.extend_from_slice(record.payload);
            // A line break within quotation marks belongs to the value.
            let quotes = self.text.iter().filter(|&&byte| byte == b'"').count();
            if quotes.is_multiple_of(2) || self.text.len() > self.limit {
                break;
            }
        }
        let Some(offset) = offset else { return Ok(None) };
        self.payload.clear();
        match object(&self.text, &self.names, &self.commas, self.delimiter) {
            Some(text) => self.payload.extend_from_slice(text.as_bytes()),
            // The decoder refuses it, and the dead letter shows it as it stands.
            None => self.payload.extend_from_slice(&self.text),
        }
        let provenance = Provenance { offset, ..Provenance::default() };
        Ok(Some(Record { payload: &self.payload, provenance, ..Record::default() }))
    }
}

/// A row as an object; `None` if it has not one value for each column.
fn object(row: &[u8], names: &[String], commas: &[Commas], delimiter: char) -> Option<String> {
    let text = std::str::from_utf8(row).ok()?;
    let Ok(mut lines) = csv_records(text, delimiter) else { return None };
    let values = lines.pop().filter(|values| lines.is_empty() && values.len() == names.len())?;
    let value = |(nth, text): (usize, String)| {
        let number = match commas.get(nth) {
            Some(Commas::Number) => NumberStyle::DecimalComma.read(&text),
            Some(Commas::Other) if text.contains(',') => NumberStyle::DecimalComma.read(&text),
            _ => None,
        };
        match number {
            Some(number) => Value::String(number.to_string()),
            None if text.is_empty() => Value::Null,
            None => Value::String(text),
        }
    };
    let row: Map<String, Value> = names.iter().cloned().zip(values.into_iter().enumerate().map(value)).collect();
    Some(Value::Object(row).to_string())
}

// === impl ParquetRows ===

impl ParquetRows {
    /// The first bytes of a file.
    pub const MAGIC: &[u8] = b"PAR1";

    /// Opens a file; `consumed` is told how far it was read.
    ///
    /// # Errors
    /// If it cannot be opened, or is no whole Parquet file.
    pub fn open(path: &Path, consumed: Arc<AtomicU64>) -> Result<Self, FileError> {
        let name = path.display().to_string();
        if name == STDIN {
            let error = std::io::Error::other("Parquet cannot be read from a pipe; name the file");
            return Err(FileError::Open { path: "standard input".to_owned(), error });
        }
        let refuse = |error: std::io::Error| FileError::Open { path: name.clone(), error };
        let file = File::open(path).map_err(refuse)?;
        let size = file.metadata().map_err(refuse)?.len();
        let opened = caught(|| {
            let reader = SerializedFileReader::new(file)?;
            let metadata = reader.metadata().file_metadata();
            let total = u64::try_from(metadata.num_rows()).unwrap_or(0);
            let naive =
                metadata.schema().get_fields().iter().filter_map(|column| match column.get_basic_info().logical_type_ref()? {
                    LogicalType::Timestamp(time) if !time.is_adjusted_to_u_t_c => Some((column.name().to_owned(), time.unit)),
                    _ => None,
                });
            let naive = naive.collect();
            Ok((RowIter::from_file_into(Box::new(reader)), naive, total))
        });
        match opened {
            Ok((rows, naive, total)) => Ok(Self { name, rows, naive, total, size, read: 0, consumed, payload: Vec::new() }),
            Err(what) => Err(FileError::Broken { path: name, lines: 0, what }),
        }
    }

    pub(super) fn next(&mut self) -> Result<Option<Record<'_>>, FileError> {
        let rows = &mut self.rows;
        let row = caught(|| rows.next().transpose());
        let row = row.map_err(|what| FileError::Broken { path: self.name.clone(), lines: self.read, what })?;
        let Some(row) = row else { return Ok(None) };
        self.payload.clear();
        self.payload.extend_from_slice(self.object(row).to_string().as_bytes());
        let offset = i64::try_from(self.read).unwrap_or(i64::MAX);
        self.read += 1;
        let passed = u128::from(self.size) * u128::from(self.read) / u128::from(self.total.max(1));
        self.consumed.store(u64::try_from(passed).unwrap_or(self.size), Ordering::Relaxed);
        let provenance = Provenance { offset, ..Provenance::default() };
        Ok(Some(Record { payload: &self.payload, provenance, ..Record::default() }))
    }
}

impl ParquetRows {
    /// A row as an object. A time without a zone is written as one, so that the decoder asks for its zone.
    fn object(&self, row: Row) -> Value {
        let named = row.into_columns().into_iter().map(|(name, field)| {
            let value = match self.naive.iter().find(|(naive, _)| *naive == name) {
                Some((_, unit)) => naive_time(&field, *unit).unwrap_or_else(|| value(field, 1)),
                None => value(field, 1),
            };
            (feature_name(&name), value)
        });
        Value::Object(named.collect())
    }
}

/// A time as text without a zone.
fn naive_time(field: &Field, unit: TimeUnit) -> Option<Value> {
    let (Field::TimestampMillis(number) | Field::TimestampMicros(number) | Field::Long(number)) = field else { return None };
    let micros = match unit {
        TimeUnit::MILLIS => number.checked_mul(1_000)?,
        TimeUnit::MICROS => *number,
        TimeUnit::NANOS => number.div_euclid(1_000),
    };
    let stamp = jiff::Timestamp::from_microsecond(micros).ok()?;
    Some(Value::String(stamp.to_string().trim_end_matches('Z').to_owned()))
}

fn row_object(row: Row, depth: usize) -> Value {
    let named = row.into_columns().into_iter().map(|(name, field)| (feature_name(&name), value(field, depth + 1)));
    Value::Object(named.collect())
}

/// A value as JSON. What JSON has no word for is null.
fn value(field: Field, depth: usize) -> Value {
    if depth > MAX_DEPTH {
        return Value::Null;
    }
    let float = |number: f64| Number::from_f64(number).map_or(Value::Null, Value::Number);
    match field {
        Field::Null => Value::Null,
        Field::Bool(flag) => Value::Bool(flag),
        Field::Str(text) => Value::String(text),
        Field::Bytes(bytes) => Value::String(String::from_utf8_lossy(bytes.data()).into_owned()),
        Field::Byte(n) => n.into(),
        Field::Short(n) => n.into(),
        Field::Int(n) | Field::Date(n) | Field::TimeMillis(n) => n.into(),
        Field::Long(n) | Field::TimeMicros(n) => n.into(),
        Field::UByte(n) => n.into(),
        Field::UShort(n) => n.into(),
        Field::UInt(n) => n.into(),
        Field::ULong(n) => n.into(),
        Field::Double(n) => float(n),
        Field::Float(n) => float(shortest(n)),
        Field::Float16(n) => float(shortest(n.to_f32())),
        decimal @ Field::Decimal(_) => Value::String(decimal.to_string()),
        // An epoch number whose size tells its unit.
        Field::TimestampMillis(n) | Field::TimestampMicros(n) => n.into(),
        Field::Group(row) => row_object(row, depth),
        Field::ListInternal(list) => list.elements().iter().map(|element| value(element.clone(), depth + 1)).collect(),
        Field::MapInternal(map) => {
            let key = |key: &Field| match key {
                Field::Str(text) => text.clone(),
                other => other.to_string(),
            };
            Value::Object(map.entries().iter().map(|(name, inner)| (key(name), value(inner.clone(), depth + 1))).collect())
        }
    }
}
