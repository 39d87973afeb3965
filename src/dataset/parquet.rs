//! Apache Parquet through its record interface, which needs no Arrow and takes one row at a time.
//!
//! Columns that are left out are not decoded. A 32-bit float becomes the number of its shortest decimal spelling (0.1 stays 0.1),
//! because logs of the same value have that spelling.

use std::cell::Cell;
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Once};

use ::parquet::file::reader::{FileReader as _, SerializedFileReader};
use ::parquet::record::{Field, Row};
use ::parquet::schema::types::Type;

use super::build::{Answer, Builder, Role};
use super::{DatasetError, Fault, pandas};
use crate::reference::Raw;

/// Reads every row into the builder.
///
/// # Errors
/// [`Fault`]s with row and column. Damage in the file that makes the Parquet library give up in a panic is an error too.
pub fn read(file: File, progress: &dyn Fn(u64), builder: &mut Builder<'_>) -> Result<(), DatasetError> {
    // The builder is dropped with the error, so that a state that a panic left half done is never used.
    quietly(|| catch_unwind(AssertUnwindSafe(|| read_rows(file, progress, builder))))
        .unwrap_or_else(|_| Err(Fault::Parquet("the file is damaged".into()).into()))
}

/// Runs the Parquet library, which panics on some damaged files: whatever is wrong comes back as words.
pub(crate) fn caught<T>(run: impl FnOnce() -> Result<T, ::parquet::errors::ParquetError>) -> Result<T, String> {
    match quietly(|| catch_unwind(AssertUnwindSafe(run))) {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => Err(format!("no whole Parquet file: {error}")),
        Err(_) => Err("the Parquet file is damaged".to_owned()),
    }
}

thread_local! {
    /// Whether a panic on this thread is expected, and caught.
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Runs something whose panics are caught, without the report of a panic at the terminal. Panics of other threads are reported as
/// before.
fn quietly<T>(run: impl FnOnce() -> T) -> T {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let report = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !QUIET.get() {
                report(info);
            }
        }));
    });
    QUIET.set(true);
    let result = run();
    QUIET.set(false);
    result
}

fn read_rows(file: File, progress: &dyn Fn(u64), builder: &mut Builder<'_>) -> Result<(), DatasetError> {
    let bytes = file.metadata().map_err(Fault::Io)?.len();
    let broken = |e: ::parquet::errors::ParquetError| Fault::Parquet(e.to_string());
    let reader = SerializedFileReader::new(file).map_err(broken)?;
    let metadata = reader.metadata().file_metadata();
    let frame = pandas::Frame::of(metadata);
    let rows = u64::try_from(metadata.num_rows()).unwrap_or(0).max(1);
    let root = metadata.schema();
    let mut wanted = Vec::new();
    let mut names = rustc_hash::FxHashSet::default();
    for field in root.get_fields() {
        if !names.insert(field.name()) {
            return Err(DatasetError { column: Some(field.name().to_owned()), ..Fault::DuplicateColumn.into() });
        }
        let is_index = frame.has_index(field.name()) && field.name() != builder.options().prediction;
        if is_index && !builder.drops(field.name()) {
            builder.leave_out(field.name());
            continue;
        }
        if frame.has_duration(field.name()) && !builder.drops(field.name()) {
            let fault = Fault::Nested("a duration, of which the file says no unit");
            return Err(DatasetError { column: Some(field.name().to_owned()), ..fault.into() });
        }
        if builder.role(field.name())? != Role::Dropped {
            wanted.push(Arc::clone(field));
        }
    }
    builder.check_columns()?;
    let projection = Type::group_type_builder(root.name()).with_fields(wanted).build().map_err(broken)?;
    let mut cells = Vec::new();
    let mut told = 0;
    for (row, line) in reader.get_row_iter(Some(projection)).map_err(broken)?.zip(1_u64..) {
        let row = row.map_err(|e| broken(e).at(line))?;
        let answer = read_row(line, row, &mut cells, builder)?;
        builder.push(line, &mut cells, answer)?;
        // The library reads ahead by row group. Progress is told by rows, so that the bar moves evenly.
        let passed = u64::try_from(u128::from(bytes) * u128::from(line.min(rows)) / u128::from(rows)).unwrap_or(bytes);
        progress(passed - told);
        told = passed;
    }
    Ok(())
}

/// Takes the cells of one row; returns its answer.
fn read_row(line: u64, row: Row, cells: &mut Vec<(usize, Raw)>, builder: &mut Builder<'_>) -> Result<Answer, DatasetError> {
    let mut answer = Answer::Scalar(Raw::Missing);
    for (name, field) in row.into_columns() {
        let fault = |fault: Fault| fault.at_column(line, &name);
        match builder.role(&name)? {
            Role::Dropped => (),
            Role::Feature(at) => cells.push((at, scalar(field, builder).map_err(fault)?)),
            Role::Prediction => answer = prediction(field, builder).map_err(Fault::of_answer).map_err(fault)?,
        }
    }
    Ok(answer)
}

/// The cell of a scalar.
fn scalar(field: Field, builder: &mut Builder<'_>) -> Result<Raw, Fault> {
    #[expect(clippy::cast_precision_loss, reason = "integers beyond 2^53 are ids; as features they are numbers like others")]
    let number = match field {
        Field::Null => return Ok(Raw::Missing),
        Field::Bool(flag) => return Ok(Raw::Boolean(flag)),
        Field::Str(text) => return builder.text(&text),
        Field::Bytes(bytes) => return builder.text(std::str::from_utf8(bytes.data()).map_err(|_| Fault::NotUtf8)?),
        Field::Byte(n) => f64::from(n),
        Field::Short(n) => f64::from(n),
        Field::Int(n) => f64::from(n),
        Field::Long(n) => n as f64,
        Field::UByte(n) => f64::from(n),
        Field::UShort(n) => f64::from(n),
        Field::UInt(n) => f64::from(n),
        Field::ULong(n) => n as f64,
        Field::Double(n) => n,
        Field::Float(n) => shortest(n),
        Field::Float16(n) => shortest(n.to_f32()),
        decimal @ Field::Decimal(_) => {
            let text = decimal.to_string();
            text.parse().map_err(|_| Fault::NotFinite(text))?
        }
        Field::Group(_) => return Err(Fault::Nested("a structure")),
        Field::ListInternal(_) => return Err(Fault::Nested("a list")),
        Field::MapInternal(_) => return Err(Fault::Nested("a map")),
        Field::Date(_) | Field::TimeMillis(_) | Field::TimeMicros(_) | Field::TimestampMillis(_) | Field::TimestampMicros(_) => {
            return Err(Fault::Time);
        }
    };
    builder.number(number)
}

/// The number that the shortest decimal spelling of a 32-bit float means.
pub(crate) fn shortest(narrow: f32) -> f64 {
    narrow.to_string().parse().unwrap_or(f64::from(narrow))
}

/// The answer: a scalar, or probabilities as a structure (a field a class) or a map.
fn prediction(field: Field, builder: &mut Builder<'_>) -> Result<Answer, Fault> {
    let classes: Vec<(String, Field)> = match field {
        Field::Group(row) => row.into_columns(),
        Field::MapInternal(map) => {
            let class = |key: &Field| match key {
                Field::Str(text) => text.clone(),
                other => other.to_string(),
            };
            map.entries().iter().map(|(key, value)| (class(key), value.clone())).collect()
        }
        other => return scalar(other, builder).map(Answer::Scalar),
    };
    let mut answer = Vec::with_capacity(classes.len());
    for (class, field) in classes {
        match scalar(field, builder)? {
            Raw::Number(p) if (0.0..=1.0).contains(&p) => answer.push((class, p)),
            Raw::Number(p) => return Err(Fault::BadProbability { class, value: p.to_string() }),
            _ => return Err(Fault::BadProbability { class, value: "no number".into() }),
        }
    }
    Ok(if answer.is_empty() { Answer::Scalar(Raw::Missing) } else { Answer::Classes(answer) })
}
