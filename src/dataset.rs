//! Training tables from files: CSV, JSON lines and Parquet, plain or compressed, into [`reference::fit::Table`](crate::reference::Table).
//!
//! The three readers share one promise: a table either arrives whole and meaning what the file means, or the error names the
//! file, the line, the column and the value. Nothing is guessed past: a ragged row, a name that occurs twice or broken
//! compression end the reading, because a reference is learned once and believed for months.
//!
//! * [`open`] finds out compression and format by content, then by suffix.
//! * [`csv`], [`jsonl`] and [`parquet`] turn records into rows.
//! * [`build`] collects the rows by column and keeps memory bounded with a uniform reservoir.

pub mod build;
pub mod csv;
pub mod jsonl;
pub mod open;
pub mod parquet;

use std::path::Path;

use crate::reference::Table;
use build::Builder;
use open::{Format, Opened, Packing};

/// Longest record (CSV row, JSON line) in bytes. A row of 4,096 features takes far less; an unclosed quote takes more.
pub const MAX_RECORD: usize = 4 << 20;
/// Longest text of one cell in bytes. Longer text is prose or a payload, not a category.
pub const MAX_TEXT: usize = 4096;
/// Most feature columns.
pub const MAX_COLUMNS: usize = 4096;
/// Rows kept by default: at a million the share of a tenth that a bin holds is known to 0.3% of itself, and no drift test gains
/// from more (its critical value has (1/N + 1/M) in it, and M is a window of live traffic).
pub const DEFAULT_MAX_ROWS: usize = 1_000_000;
/// Cells kept at most, whatever the number of columns: at 24 bytes a cell that is under a gigabyte.
pub const MAX_CELLS: usize = 40_000_000;
/// Bytes of text kept at most, over all cells; texts that repeat are kept once.
pub const MAX_TEXT_TOTAL: usize = 1 << 30;

/// What the caller decides about the reading.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReadOptions {
    /// Column that holds the model's answer.
    pub prediction: String,
    /// Columns to leave out.
    pub drop: Vec<String>,
    /// Columns whose text is kept as written, because the user declared them categorical.
    pub verbatim: Vec<String>,
    /// Texts that mean "no value", besides the empty one.
    pub missing: Vec<String>,
    /// In a log of events, the model whose events count; events without a model name always count.
    pub model: Option<String>,
    /// Rows kept at most; of more, a uniform sample.
    pub max_rows: usize,
}

// === impl ReadOptions ===

impl Default for ReadOptions {
    fn default() -> Self {
        Self {
            prediction: "prediction".into(),
            drop: Vec::new(),
            verbatim: Vec::new(),
            missing: Vec::new(),
            model: None,
            max_rows: DEFAULT_MAX_ROWS,
        }
    }
}

/// A table that was read, and what there is to say about it.
#[derive(Clone, PartialEq, Debug)]
pub struct Loaded {
    /// The rows, by column.
    pub table: Table,
    /// Rows in the file (of this model). More than in the table if a sample was taken.
    pub rows_read: u64,
    /// Events of other models, left out.
    pub other_models: u64,
    /// Layout of the file.
    pub format: Format,
    /// Compression of the file.
    pub packing: Packing,
    /// One-based line (for Parquet: row) of each row of the table.
    pub lines: Vec<u64>,
}

// === impl Loaded ===

impl Loaded {
    /// Rows in the table.
    pub fn rows_kept(&self) -> usize {
        self.lines.len()
    }
}

/// Why a table could not be read: where, and what.
#[derive(Debug)]
pub struct TableError {
    /// The file as the user named it.
    pub file: String,
    /// One-based line (for Parquet: row), if the fault has one.
    pub line: Option<u64>,
    /// Column, if the fault has one.
    pub column: Option<String>,
    /// What is wrong.
    pub fault: Fault,
}

/// What is wrong with a table.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// There is no such file.
    #[error("there is no such file")]
    NotFound,
    /// The operating system would not read it.
    #[error("cannot be read: {0}")]
    Io(std::io::Error),
    /// The compressed data is damaged or ends too early.
    #[error("the {packing} data is damaged or cut off ({reason}); fetch or pack the file again")]
    Packed {
        /// Compression of the file.
        packing: Packing,
        /// What the decompressor said.
        reason: String,
    },
    /// Not a byte in it.
    #[error("the file is empty")]
    Empty,
    /// A header, or nothing at all, but no row.
    #[error("the file has no rows")]
    NoRows,
    /// A format that is known but cannot be read this way.
    #[error("{0}")]
    Unsupported(&'static str),
    /// The text is not UTF-8.
    #[error("not UTF-8 text; save the file as UTF-8")]
    NotUtf8,
    /// A row with more or fewer fields than the header.
    #[error("{found} fields where the header has {expected}; look for a missing or extra delimiter or quote")]
    Ragged {
        /// Fields of the row.
        found: u64,
        /// Fields of the header.
        expected: u64,
    },
    /// Two columns of one name.
    #[error("the name occurs twice in one row or header; rename or remove one")]
    DuplicateColumn,
    /// A column without a name.
    #[error("column {position} has no name (a saved row index?); name it, or leave it out with --drop ''")]
    NamelessColumn {
        /// One-based position.
        position: usize,
    },
    /// The prediction's column is not there.
    #[error("there is no column '{wanted}' for the prediction; the columns are: {known}; choose one with --prediction")]
    NoPrediction {
        /// Name asked for.
        wanted: String,
        /// Names that there are.
        known: String,
    },
    /// A column to be left out is not there.
    #[error("there is no column '{wanted}' to leave out; the columns are: {known}")]
    NothingToDrop {
        /// Name asked for.
        wanted: String,
        /// Names that there are.
        known: String,
    },
    /// A line that is not the JSON that is expected.
    #[error("not a JSON object of features: {0}")]
    Json(String),
    /// A number that no statistic can take.
    #[error("'{0}' is not a finite number; leave the value empty if it is missing, or say --missing '{0}'")]
    NotFinite(String),
    /// A cell that is a list or an object.
    #[error("the value is {0}; features are numbers, booleans, texts or nothing (flatten it, or leave it out with --drop)")]
    Nested(&'static str),
    /// A cell too long to be a category.
    #[error("the text has {length} bytes, more than {MAX_TEXT}; leave the column out with --drop")]
    LongText {
        /// Bytes found.
        length: usize,
    },
    /// A record too long to be a row.
    #[error("the record is longer than {MAX_RECORD} bytes; look for a quote that is not closed, or a missing line end")]
    LongRecord,
    /// More columns than a model has features.
    #[error("more than {MAX_COLUMNS} columns; leave some out with --drop")]
    TooManyColumns,
    /// The table does not fit into the bounds of memory.
    #[error("the table needs more than {MAX_CELLS} cells or {MAX_TEXT_TOTAL} bytes of text; read fewer rows with --max-rows")]
    TooBig,
    /// Some answers are scalars and others probabilities.
    #[error("the prediction is {found} here and {before} in earlier rows; all rows must have one form")]
    MixedPrediction {
        /// Form here.
        found: &'static str,
        /// Form before.
        before: &'static str,
    },
    /// A class probability that is not a number between 0 and 1.
    #[error("the probability of class '{class}' is {value}, not a number from 0 to 1")]
    BadProbability {
        /// Class name.
        class: String,
        /// What was found.
        value: String,
    },
    /// A log of events without one of the wanted model.
    #[error("the log has no event of model '{wanted}'; it has events of: {known}")]
    NoSuchModel {
        /// Model asked for.
        wanted: String,
        /// Models that there are.
        known: String,
    },
    /// Parquet that cannot be read.
    #[error("not readable as Parquet: {0}")]
    Parquet(String),
}

// === impl TableError ===

impl std::error::Error for TableError {}

impl std::fmt::Display for TableError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(f, ", line {line}")?;
        }
        if let Some(column) = &self.column {
            write!(f, ", column '{column}'")?;
        }
        write!(f, ": {}", self.fault)
    }
}

// === impl Fault ===

impl Fault {
    /// The fault with its line.
    fn at(self, line: u64) -> TableError {
        TableError { file: String::new(), line: Some(line), column: None, fault: self }
    }

    /// The fault with its line and column.
    fn at_column(self, line: u64, column: &str) -> TableError {
        TableError { file: String::new(), line: Some(line), column: Some(column.to_owned()), fault: self }
    }
}

impl From<Fault> for TableError {
    fn from(fault: Fault) -> Self {
        Self { file: String::new(), line: None, column: None, fault }
    }
}

/// Reads a table. `path` may be `-` for standard input; `progress` is told of every chunk of bytes of the file.
///
/// # Errors
/// Everything of [`Fault`], with the place where it was found.
pub fn read(path: &Path, options: &ReadOptions, progress: &dyn Fn(u64)) -> Result<Loaded, TableError> {
    let named = |mut error: TableError| {
        error.file = open::display_name(path);
        error
    };
    let opened = open::open(path, progress).map_err(|fault| named(fault.into()))?;
    read_opened(opened, options).map_err(named)
}

/// Reads a table from bytes in memory, plain or compressed text (Parquet needs a file).
///
/// # Errors
/// As [`read`], with `name` for the file.
pub fn read_bytes(name: &str, bytes: &[u8], options: &ReadOptions) -> Result<Loaded, TableError> {
    let named = |mut error: TableError| {
        name.clone_into(&mut error.file);
        error
    };
    let opened = open::from_bytes(name, bytes).map_err(|fault| named(fault.into()))?;
    read_opened(opened, options).map_err(named)
}

fn read_opened(opened: Opened<'_>, options: &ReadOptions) -> Result<Loaded, TableError> {
    let mut builder = Builder::new(options);
    let (format, packing) = (opened.format(), opened.packing());
    match opened {
        Opened::Csv { delimiter_hint, source, .. } => csv::read(source, delimiter_hint, &mut builder),
        Opened::Jsonl { source, .. } => jsonl::read(source, &mut builder),
        Opened::Parquet { file, progress } => parquet::read(file, progress, &mut builder),
    }
    .map_err(|mut error| {
        // Damage inside compressed data surfaces as an I/O error of the reader above it.
        if let (Fault::Io(reason), false) = (&error.fault, packing == Packing::Plain) {
            error.fault = Fault::Packed { packing, reason: reason.to_string() };
        }
        error
    })?;
    builder.finish(format, packing)
}

#[cfg(test)]
mod tests;
