//! Delimited text with a header row: RFC 4180 as the `csv` crate reads it, by comma, semicolon, tab or bar.
//!
//! The delimiter is the one of the four that the header holds most often. Blanks around a field are removed: the best known training
//! files have them after every comma, and logs do not repeat them.

use std::cell::Cell;
use std::io::{self, BufRead, Read};
use std::rc::Rc;

use super::build::{Answer, Builder, Role};
use super::{DatasetError, Fault, MAX_RECORD, jsonl};
use crate::reference::Raw;

/// Reads every row into the builder. `delimiter` is what the file's suffix tells; else the header decides.
///
/// # Errors
/// [`Fault`]s with line and column.
pub fn read<'a>(source: Box<dyn BufRead + 'a>, delimiter: Option<u8>, builder: &mut Builder<'_>) -> Result<(), DatasetError> {
    let (delimiter, source) = match delimiter {
        Some(delimiter) => (delimiter, source),
        None => guess_delimiter(source)?,
    };
    let allowance = Rc::new(Cell::new(MAX_RECORD));
    let mut reader = ::csv::ReaderBuilder::new()
        .delimiter(delimiter)
        .trim(::csv::Trim::All)
        .from_reader(Bounded { inner: source, allowance: Rc::clone(&allowance) });
    let header = reader.byte_headers().map_err(|e| translate(e, 1))?.clone();
    let (roles, names) = read_header(&header, builder)?;
    builder.check_columns()?;
    let mut record = ::csv::ByteRecord::new();
    let mut cells = Vec::with_capacity(roles.len());
    loop {
        allowance.set(MAX_RECORD);
        let line = reader.position().line();
        if !reader.read_byte_record(&mut record).map_err(|e| translate(e, line))? {
            return Ok(());
        }
        let line = record.position().map_or(line, ::csv::Position::line);
        if !builder.keeps_next() {
            let broken = record.iter().zip(&names).find(|(field, _)| std::str::from_utf8(field).is_err());
            match broken {
                Some((_, name)) => return Err(Fault::NotUtf8.at_column(line, name)),
                None => builder.skip(),
            }
            continue;
        }
        let mut answer = Answer::Scalar(Raw::Missing);
        for ((field, role), name) in record.iter().zip(&roles).zip(&names) {
            if *role == Role::Dropped {
                continue;
            }
            let text = std::str::from_utf8(field).map_err(|_| Fault::NotUtf8.at_column(line, name))?;
            match role {
                // Probabilities by class are written as a JSON object in the cell.
                Role::Prediction if text.starts_with('{') => {
                    answer = jsonl::probabilities(text).map_err(|f| f.of_answer().at_column(line, name))?;
                }
                _ => {
                    let raw = builder.cell(*role, text).map_err(|f| f.at_column(line, name))?;
                    match role {
                        Role::Feature(at) => cells.push((*at, raw)),
                        _ => answer = Answer::Scalar(raw),
                    }
                }
            }
        }
        builder.push(line, &mut cells, answer)?;
    }
}

/// Role and name of each column.
fn read_header(header: &::csv::ByteRecord, builder: &mut Builder<'_>) -> Result<(Vec<Role>, Vec<String>), DatasetError> {
    let mut roles = Vec::with_capacity(header.len());
    let mut names: Vec<String> = Vec::with_capacity(header.len());
    let mut seen = rustc_hash::FxHashSet::default();
    for (i, field) in header.iter().enumerate() {
        let name = std::str::from_utf8(field).map_err(|_| Fault::NotUtf8.at(1))?;
        if name.is_empty() && i == 0 {
            // pandas writes the row index into a first column without a name.
            if !builder.drops("") {
                builder.leave_out("the first column, which has no name");
            }
            roles.push(Role::Dropped);
            names.push(String::new());
            seen.insert(name);
            continue;
        }
        if name.is_empty() && !builder.options().drop.iter().any(String::is_empty) {
            return Err(Fault::NamelessColumn { position: i + 1 }.at(1));
        }
        if !seen.insert(name) {
            return Err(Fault::DuplicateColumn.at_column(1, name));
        }
        roles.push(builder.role(name).map_err(|f| f.at(1))?);
        names.push(name.to_owned());
    }
    Ok((roles, names))
}

/// The delimiter that the first line holds most often (comma if none), and a reader that still has that line.
fn guess_delimiter<'a>(mut source: Box<dyn BufRead + 'a>) -> Result<(u8, Box<dyn BufRead + 'a>), DatasetError> {
    let mut line = Vec::new();
    source.by_ref().take(MAX_RECORD as u64).read_until(b'\n', &mut line).map_err(|e| Fault::Io(e).at(1))?;
    let count = |delimiter: u8| line.iter().filter(|&&b| b == delimiter).count();
    let best = [b',', b';', b'\t', b'|'].into_iter().rev().max_by_key(|&d| count(d)).unwrap_or(b',');
    Ok((best, Box::new(io::Cursor::new(line).chain(source))))
}

/// A fault of the `csv` crate in the words of this program.
fn translate(error: ::csv::Error, line: u64) -> DatasetError {
    let line = error.position().map_or(line, ::csv::Position::line);
    match error.into_kind() {
        ::csv::ErrorKind::Io(e) if e.get_ref().is_some_and(|inner| inner.is::<TooLong>()) => Fault::LongRecord.at(line),
        ::csv::ErrorKind::Io(e) => Fault::Io(e).at(line),
        ::csv::ErrorKind::UnequalLengths { expected_len, len, .. } => Fault::Ragged { found: len, expected: expected_len }.at(line),
        _ => Fault::NotUtf8.at(line),
    }
}

/// Ends the reading when one record exceeds its allowance; the `csv` crate alone has no such bound.
struct Bounded<R> {
    inner: R,
    allowance: Rc<Cell<usize>>,
}

/// The record exceeds its allowance; found again in [`translate`].
#[derive(Debug, thiserror::Error)]
#[error("record too long")]
struct TooLong;

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.allowance.get() == 0 {
            return Err(io::Error::other(TooLong));
        }
        let n = self.inner.read(buffer)?;
        self.allowance.set(self.allowance.get().saturating_sub(n));
        Ok(n)
    }
}
