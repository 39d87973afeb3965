//! The faults of a dataset: the file, the line, the column, what is wrong and what to do.

use super::open::Packing;
use super::{MAX_CELLS, MAX_COLUMNS, MAX_RECORD, MAX_TEXT, MAX_TEXT_TOTAL};

/// Why a dataset could not be read: where, and what.
#[derive(Debug)]
pub struct DatasetError {
    /// The file as the user named it.
    pub file: String,
    /// One-based line (for Parquet: row), if the fault has one.
    pub line: Option<u64>,
    /// Column, if the fault has one.
    pub column: Option<String>,
    /// What is wrong.
    pub fault: Fault,
}

/// What is wrong with a dataset.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// There is no such file.
    #[error("there is no such file")]
    NotFound,
    /// The operating system would not read it.
    #[error("cannot be read: {0}; make the file readable by this user, or give another")]
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
    /// A cell that is a date or a time.
    #[error(
        "the value is a date or time, and each new one is unknown to a reference; write what the model reads of it (an age in days, a \
         month) as a number in the training data and in the log, or leave it out with --drop"
    )]
    Time,
    /// An answer that is a list.
    #[error(
        "the value is {0}; write the score of one class into a column (scikit-learn: predict_proba(x)[:, 1]), or an object \
         {{\"class\":probability,..}}"
    )]
    NestedAnswer(&'static str),
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
    /// The dataset does not fit into the bounds of memory.
    #[error(
        "the training data need more than {MAX_CELLS} cells or {MAX_TEXT_TOTAL} bytes of text; read fewer rows with --max-rows"
    )]
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
    #[error("the probability of class '{class}' is {value}, not a number from 0 to 1; correct it, or leave the answer empty")]
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
    #[error("not readable as Parquet: {0}; write or fetch the file again")]
    Parquet(String),
}

// === impl DatasetError ===

impl std::error::Error for DatasetError {}

impl std::fmt::Display for DatasetError {
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
    /// The fault of an answer, which cannot be left out.
    pub(super) fn of_answer(self) -> Self {
        match self {
            Self::Nested(what) => Self::NestedAnswer(what),
            other => other,
        }
    }

    /// The fault with its line.
    pub(super) fn at(self, line: u64) -> DatasetError {
        DatasetError { file: String::new(), line: Some(line), column: None, fault: self }
    }

    /// The fault with its line and column.
    pub(super) fn at_column(self, line: u64, column: &str) -> DatasetError {
        DatasetError { file: String::new(), line: Some(line), column: Some(column.to_owned()), fault: self }
    }
}

impl From<Fault> for DatasetError {
    fn from(fault: Fault) -> Self {
        Self { file: String::new(), line: None, column: None, fault }
    }
}
