//! Training data from files: CSV, JSON lines and Parquet, plain or compressed, into a
//! [`reference::Dataset`](crate::reference::Dataset).
//!
//! The three readers keep one promise: a dataset arrives whole and means what the file means, or the error names the file, the
//! line, the column and the value. A ragged row, a name that occurs twice or broken compression ends the reading, because a
//! reference is learned once and used for months.
//!
//! * [`open`] finds out compression and format by content, then by suffix.
//! * [`csv`], [`jsonl`] and [`parquet`] turn records into rows; [`cell`] decides what a text means.
//! * [`build`] collects the rows by column and keeps memory bounded with a uniform sample ([`reservoir`]).
//! * [`error`] is every fault with its place.

pub mod build;
mod cell;
pub mod csv;
pub mod error;
mod json;
pub mod jsonl;
pub mod open;
mod pandas;
pub mod parquet;
mod reservoir;

use std::path::Path;

use crate::reference::Dataset;
use crate::reference::number_style::NumberStyle;
use build::Builder;
pub use error::{DatasetError, Fault};
use open::{Format, Opened, Packing};

/// Longest record (CSV row, JSON line) in bytes: a kilobyte for each of 4,096 features. An unclosed quote takes more.
pub const MAX_RECORD: usize = 4 << 20;
/// Longest text of one cell in bytes. Chosen: categories are far shorter; longer text is prose or a payload.
pub const MAX_TEXT: usize = 4096;
/// Most feature columns. Chosen: wider than the inputs of tabular models, and few enough that a file of another kind is refused early.
pub const MAX_COLUMNS: usize = 4096;
/// Rows kept by default. With a million rows the share of a bin that holds a tenth is known to 0.3% of itself: √(0.9/(0.1·10^6)).
/// No drift test gains from more, because its critical value has (1/N + 1/M) in it and M is a window of live traffic.
pub const DEFAULT_MAX_ROWS: usize = 1_000_000;
/// Cells kept at most, whatever the number of columns: at 24 bytes a cell they take less than a gigabyte.
pub const MAX_CELLS: usize = 40_000_000;
/// Bytes of text kept at most, over all cells; texts that repeat are kept once. With [`MAX_CELLS`] it bounds the memory of `fit` to
/// two gigabytes.
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
    /// How texts write numbers; in a column that was declared categorical they stay texts.
    pub numbers: NumberStyle,
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
            numbers: NumberStyle::Plain,
            model: None,
            max_rows: DEFAULT_MAX_ROWS,
        }
    }
}

/// A dataset that was read, and where it came from.
#[derive(Clone, PartialEq, Debug)]
pub struct Loaded {
    /// The rows, by column.
    pub dataset: Dataset,
    /// Rows in the file (of this model). More than in the dataset if a sample was taken.
    pub rows_read: u64,
    /// Events of other models, left out.
    pub other_models: u64,
    /// Row indices that pandas saved, left out.
    pub left_out: Vec<String>,
    /// Layout of the file.
    pub format: Format,
    /// Compression of the file.
    pub packing: Packing,
    /// One-based line (for Parquet: row) of each row of the dataset.
    pub lines: Vec<u64>,
}

// === impl Loaded ===

impl Loaded {
    /// Rows in the dataset.
    pub fn rows_kept(&self) -> usize {
        self.lines.len()
    }
}

/// Reads a dataset. `path` may be `-` for standard input; `progress` is told of every chunk of bytes of the file.
///
/// # Errors
/// Everything of [`Fault`], with the place where it was found.
pub fn read(path: &Path, options: &ReadOptions, progress: &dyn Fn(u64)) -> Result<Loaded, DatasetError> {
    let named = |mut error: DatasetError| {
        error.file = open::display_name(path);
        error
    };
    let opened = open::open(path, progress).map_err(|fault| named(fault.into()))?;
    read_opened(opened, options).map_err(named)
}

/// Reads a dataset from bytes in memory, plain or compressed text (Parquet needs a file).
///
/// # Errors
/// As [`read`], with `name` for the file.
pub fn read_bytes(name: &str, bytes: &[u8], options: &ReadOptions) -> Result<Loaded, DatasetError> {
    let named = |mut error: DatasetError| {
        name.clone_into(&mut error.file);
        error
    };
    let opened = open::from_bytes(name, bytes).map_err(|fault| named(fault.into()))?;
    read_opened(opened, options).map_err(named)
}

fn read_opened(opened: Opened<'_>, options: &ReadOptions) -> Result<Loaded, DatasetError> {
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
