//! Why training data cannot become a profile: the row and column where there is one, and what to do.

use super::MIN_ROWS;
use super::column::MAX_CATEGORIES;
use super::prediction::MAX_CLASSES;

/// Why training data cannot become a profile.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum FitError {
    /// Too few rows to say anything.
    #[error("{rows} rows are too few for a reference; give {MIN_ROWS} or more")]
    TooFewRows {
        /// Rows in the dataset.
        rows: usize,
    },
    /// No feature column is left.
    #[error("the training data have no feature column; give at least one column besides the prediction")]
    NoFeatures,
    /// Nothing but missing values.
    #[error("column '{column}' is empty in every row; leave it out with --drop {column}")]
    EmptyColumn {
        /// Name of the column.
        column: String,
    },
    /// A forced kind that the values contradict.
    #[error("row {row}, column '{column}': '{value}' is not a number, but the column was declared {kind}")]
    WrongKind {
        /// One-based data row.
        row: usize,
        /// Name of the column.
        column: String,
        /// The value.
        value: String,
        /// The declared kind.
        kind: &'static str,
    },
    /// A kind was given for a column that does not exist.
    #[error("there is no column '{column}' to be declared {kind}; check the name given with --kind")]
    UnknownColumn {
        /// Name given.
        column: String,
        /// Kind given.
        kind: &'static str,
    },
    /// Two columns of one name.
    #[error("column '{column}' occurs twice; rename or remove one")]
    DuplicateColumn {
        /// Name of the column.
        column: String,
    },
    /// Almost all values are numbers, and a few are not: more likely a slip than a category.
    #[error(
        "row {row}, column '{column}': '{value}' is not a finite number, and {numbers} other values of the column are; \
         correct it, say --missing '{value}' if it means no value, or --kind {column}=categorical"
    )]
    Mixed {
        /// One-based data row.
        row: usize,
        /// Name of the column.
        column: String,
        /// The value.
        value: String,
        /// How many values are numbers.
        numbers: u64,
    },
    /// So many different texts that they name rows rather than kinds of rows.
    #[error(
        "column '{column}' holds {distinct} different texts, more than {MAX_CATEGORIES}; if it is an id, leave it out with --drop {column}"
    )]
    TooManyCategories {
        /// Name of the column.
        column: String,
        /// Different texts.
        distinct: usize,
    },
    /// Not one answer of the model.
    #[error("the prediction is empty in every row; name the column of the model's answers with --prediction")]
    NoAnswers,
    /// An answer that does not have the form that was declared or that the others have.
    #[error("row {row}: the prediction '{value}' is not {wanted}")]
    WrongAnswer {
        /// One-based data row.
        row: usize,
        /// The answer.
        value: String,
        /// What it should be.
        wanted: &'static str,
    },
    /// A number or a list that is written as text, and would pass as a label.
    #[error("row {row}: the prediction '{value}' is text, not a number; {remedy}, or say --prediction-kind label if it is a name")]
    AnswerAsText {
        /// One-based data row.
        row: usize,
        /// The answer.
        value: String,
        /// What to do.
        remedy: &'static str,
    },
    /// More classes than a label has.
    #[error(
        "the prediction has {distinct} different texts, more than {MAX_CLASSES} classes; \
         if it is a number with a few slips, --prediction-kind score finds them"
    )]
    TooManyClasses {
        /// Different texts.
        distinct: usize,
    },
    /// Declared forms or limits that do not go together.
    #[error("{0}")]
    Options(&'static str),
}
