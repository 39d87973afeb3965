//! What an edit of a whole row may look at.

use super::columns::Columns;

/// What an edit of a whole row may look at.
#[derive(Debug)]
pub struct Scene<'a> {
    /// The profile's columns.
    pub columns: &'a Columns,
    /// The columns that the change takes.
    pub targets: &'a [usize],
    /// A number of this row's own, uniform over all 64-bit numbers and the same in every run.
    pub chance: u64,
    /// Values of earlier rows, one for each of `targets`.
    pub memory: &'a mut Memory,
}

/// What a change remembers of earlier rows.
#[derive(Clone, Default, Debug)]
pub struct Memory {
    /// JSON of the first changed row's values.
    pub first: Vec<Option<String>>,
    /// JSON of the values that the row before had, as the log states it.
    pub before: Vec<Option<String>>,
}
