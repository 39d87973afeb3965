//! A log file of any layout, as records: lines as they are, rows of a table as objects, and calls joined from their halves.
//!
//! The layout is known from the configuration or recognised from the first records ([`recognise`]). What was recognised is said in one
//! line.

use std::path::Path;
use std::sync::Arc;

use super::file::{FileError, FileSource};
use super::line_form::{LineForm, not_lines, not_whole_calls};
use super::table::{CsvRows, ParquetRows, has_decimal_commas, is_header};
use super::{Record, Source};
use crate::decode::kserve::{Joined, Pairs};
use crate::decode::recognise::{RECORDS, case_words, is_canonical_record, recognise};
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
    Lines(Box<Lines>),
    Csv(Box<CsvRows>),
    Parquet(Box<ParquetRows>),
}

/// Lines that hold records in some form.
struct Lines {
    lines: FileSource,
    form: LineForm,
    buffer: Vec<u8>,
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
        let is_canonical = is_canonical_record(&first);
        let free = free && !is_canonical;
        // A pipe may not have a second line for a long time, and one record says enough.
        let is_whole = is_canonical && serde_json::from_slice::<serde::de::IgnoredAny>(&first).is_ok();
        if !is_whole && matches!(first.trim_ascii_start().first(), Some(b'{' | b'[')) {
            lines.peek(2);
        }
        let second = lines.head().get(1).map(|(_, second)| second.as_slice()).unwrap_or_default();
        let words = not_lines(&first, second).or_else(|| if free { not_whole_calls(&first) } else { None });
        if let Some(words) = words {
            return Err(FileError::Foreign { path: name, words });
        }
        let mut said = None;
        let form = if first.starts_with(ParquetRows::MAGIC) {
            said = Some(table(settings, "Parquet", references, free));
            Form::Parquet(Box::new(ParquetRows::open(path, consumed.clone())?))
        } else if let Some(delimiter) = is_header(&first, references) {
            lines.peek(RECORDS);
            let rows = lines.head().iter().skip(1).map(|(_, row)| row.as_slice());
            let commas = has_decimal_commas(&first, rows, delimiter, references);
            said = Some(table(settings, if commas { "CSV, numbers with a decimal comma," } else { "CSV" }, references, free));
            settings.decimal_comma |= commas;
            let mut rows = CsvRows::new(lines, delimiter, settings.max_message_bytes)?;
            if let Some(other_case) = rows.use_case_of(references) {
                said = said.map(|said| format!("{said}; {}", case_words(&other_case)));
            }
            Form::Csv(Box::new(if settings.decimal_comma { rows.with_decimal_commas(references) } else { rows }))
        } else {
            if free {
                lines.peek(RECORDS);
            }
            let form = if free { LineForm::of(&first) } else { LineForm::Bare };
            let bare: Vec<Vec<u8>> = lines.head().iter().map(|(_, line)| form.record(line, &mut Vec::new()).to_vec()).collect();
            let records = bare.iter().map(Vec::as_slice);
            let found =
                if free { recognise(records, references, settings.positive_class.as_ref(), &settings.rename) } else { None };
            if form != LineForm::Bare {
                said = Some(format!("recognised Tripline's own layout{}", form.words()));
            }
            if let Some(found) = found {
                if settings.rename.is_empty() {
                    settings.rename = found.rename;
                }
                let mapping = match settings.mapping.take() {
                    Some(own) => own.completed_by(found.mapping),
                    None => found.mapping,
                };
                (settings.format, settings.mapping) = (Some(found.format), Some(mapping));
                said = Some(format!("recognised {}{}", found.sentence, form.words()));
            }
            Form::Lines(Box::new(Lines { lines, form, buffer: Vec::new() }))
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
        let form = Form::Lines(Box::new(Lines { lines, form: LineForm::Bare, buffer: Vec::new() }));
        Ok(Self { form, pairs: None, ended: false, broken: None, current, name, size, consumed })
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

// === impl Lines ===

impl Lines {
    fn next(&mut self) -> Result<Option<Record<'_>>, FileError> {
        let Self { lines, form, buffer } = self;
        let record = lines.next()?;
        Ok(record.map(|record| Record { payload: form.record(record.payload, buffer), ..record }))
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
