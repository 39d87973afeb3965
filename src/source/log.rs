//! A log file of any layout, as records: lines as they are, rows of a table as objects, and calls joined from their halves.
//!
//! The layout is known from the configuration or recognised from the first records ([`recognise`]). What was recognised is said in one
//! line.

use std::path::Path;
use std::sync::Arc;

use super::file::{FileError, FileSource};
use super::table::{CsvRows, ParquetRows, is_header};
use super::{Record, Source};
use crate::decode::kserve::{Joined, Pairs};
use crate::decode::recognise::{RECORDS, is_canonical_record, recognise};
use crate::decode::{DecodeConfig, Format};
use crate::reference::Reference;

/// A log that is open.
pub struct LogSource {
    form: Form,
    /// Calls that are joined; `None` if they are logged whole.
    pairs: Option<Pairs>,
    ended: bool,
    /// Why reading broke off; given behind the calls that were waiting.
    broken: Option<FileError>,
    current: Joined,
    name: String,
    size: Option<u64>,
    consumed: Arc<std::sync::atomic::AtomicU64>,
}

/// What the file holds.
enum Form {
    Lines(FileSource),
    Csv(CsvRows),
    Parquet(Box<ParquetRows>),
}

// === impl LogSource ===

impl LogSource {
    /// Opens `path`. Settings that the file answers itself are completed in `settings`; the sentence is what was recognised.
    ///
    /// # Errors
    /// If the file is missing, cannot be opened, or its table cannot be read.
    pub fn open(
        path: &Path,
        settings: &mut DecodeConfig,
        references: &[Arc<Reference>],
    ) -> Result<(Self, Option<String>), FileError> {
        let mut lines = FileSource::open(path, settings.max_message_bytes)?;
        let (name, size, consumed) = (lines.name().to_owned(), lines.size(), lines.consumed());
        // A mapping without a format is a layout of its own; with `auto` it completes what is recognised.
        let free = settings.format == Some(Format::Auto) || (settings.format.is_none() && settings.mapping.is_none());
        lines.peek(1);
        let first = lines.head().front().map(|(_, first)| first.clone()).unwrap_or_default();
        let free = free && !is_canonical_record(&first);
        if matches!(first.trim_ascii(), b"{" | b"[") {
            lines.peek(2);
        }
        let second = lines.head().get(1).map(|(_, second)| second.as_slice()).unwrap_or_default();
        if let Some(words) = not_lines(&first, second) {
            return Err(FileError::Foreign { path: name, words });
        }
        let mut said = None;
        let form = if first.starts_with(ParquetRows::MAGIC) {
            said = Some(table(settings, "Parquet", references, free));
            Form::Parquet(Box::new(ParquetRows::open(path, consumed.clone())?))
        } else if let Some(delimiter) = is_header(&first, references) {
            said = Some(table(settings, "CSV", references, free));
            Form::Csv(CsvRows::new(lines, delimiter, settings.max_message_bytes)?)
        } else {
            if free {
                lines.peek(RECORDS);
            }
            let records = lines.head().iter().map(|(_, line)| line.as_slice());
            let found = if free { recognise(records, references, settings.positive_class.as_ref()) } else { None };
            if let Some(found) = found {
                let mapping = match settings.mapping.take() {
                    Some(own) => own.completed_by(found.mapping),
                    None => found.mapping,
                };
                (settings.format, settings.mapping) = (Some(found.format), Some(mapping));
                said = Some(format!("recognised {}", found.sentence));
            }
            Form::Lines(lines)
        };
        let pairs = settings.pairs();
        let current = Joined::default();
        Ok((Self { form, pairs, ended: false, broken: None, current, name, size, consumed }, said))
    }

    /// Opens the lines of `path` as they are: nothing is recognised or joined.
    ///
    /// # Errors
    /// If the file is missing or cannot be opened.
    pub fn lines(path: &Path, max_line: usize) -> Result<Self, FileError> {
        let lines = FileSource::open(path, max_line)?;
        let (name, size, consumed) = (lines.name().to_owned(), lines.size(), lines.consumed());
        let current = Joined::default();
        Ok(Self { form: Form::Lines(lines), pairs: None, ended: false, broken: None, current, name, size, consumed })
    }

    /// Size of the (packed) file in bytes, if known.
    pub fn size(&self) -> Option<u64> {
        self.size
    }

    /// Counter of (packed) bytes read so far; another thread may read it.
    pub fn consumed(&self) -> Arc<std::sync::atomic::AtomicU64> {
        Arc::clone(&self.consumed)
    }

    /// Name for messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The next joined call.
    fn next_joined(&mut self) -> Result<Option<Record<'_>>, FileError> {
        let Self { form, pairs: Some(pairs), ended, broken, current, .. } = self else { return Ok(None) };
        loop {
            if let Some(joined) = pairs.pop() {
                *current = joined;
                let provenance = current.provenance.clone();
                return Ok(Some(Record { payload: &current.payload, provenance, ..Record::default() }));
            }
            if *ended {
                return broken.take().map_or(Ok(None), Err);
            }
            match form.next() {
                Ok(Some(record)) => pairs.push_record(&record),
                end => {
                    (*ended, *broken) = (true, end.err());
                    pairs.end();
                }
            }
        }
    }
}

/// What is wrong with JSON that is not one object a line, by its first two lines.
fn not_lines(first: &[u8], second: &[u8]) -> Option<&'static str> {
    match first.trim_ascii() {
        // A name alone, or an object, begins the second line; a record that was cut has the next record there.
        b"{" | b"[" if second.first().is_some_and(u8::is_ascii_whitespace) => {
            Some("the objects go over several lines; write one JSON object a line (jq -c . does that)")
        }
        [b'[', rest @ ..] if rest.trim_ascii_start().starts_with(b"{") => Some(
            "the log is one JSON array; write one JSON object a line (pandas: to_json(orient=\"records\", lines=True), or jq -c '.[]')",
        ),
        _ => None,
    }
}

/// A table has the features beside the other fields.
fn table(settings: &mut DecodeConfig, what: &str, references: &[Arc<Reference>], free: bool) -> String {
    if free {
        settings.format = Some(Format::Flat);
    }
    let model = match references {
        [one] => format!("rows that name no model are taken for '{}'", one.model),
        _ => "each row names its model".to_owned(),
    };
    format!("recognised {what} with the columns named like the fields; {model}")
}

impl Source for LogSource {
    type Error = FileError;

    fn next(&mut self) -> Result<Option<Record<'_>>, FileError> {
        if self.pairs.is_some() { self.next_joined() } else { self.form.next() }
    }
}

impl std::fmt::Debug for LogSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogSource").field("name", &self.name).finish_non_exhaustive()
    }
}

// === impl Form ===

impl Form {
    fn next(&mut self) -> Result<Option<Record<'_>>, FileError> {
        match self {
            Self::Lines(lines) => lines.next(),
            Self::Csv(rows) => rows.next(),
            Self::Parquet(rows) => rows.next(),
        }
    }
}
