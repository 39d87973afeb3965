//! Counts of what the steps of a chain of edits showed, from which the judge names the shape of a search.

/// Counts by pattern.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct EditCounts {
    /// Steps that changed exactly one feature.
    pub single: u32,
    /// Steps that changed five features or more.
    pub broad: u32,
    /// Exact midpoints of two values tried before.
    pub midpoints: u32,
    /// Equal steps and fresh categories.
    pub lattice: u32,
    /// Rows that complete a rectangle of two features' values.
    pub products: u32,
    /// Steps of one feature that are as large as one taken elsewhere.
    pub sizes: u32,
    /// Steps that move several features by equal shares of their scales.
    pub level: u32,
    /// Rows with more fields empty than any before, or fewer.
    pub blanks: u32,
    /// Ends of the range.
    pub extremes: u32,
    /// All steps.
    pub steps: u32,
}

// === impl EditCounts ===

impl EditCounts {
    /// The counts by the names that verdicts give them.
    pub fn named(&self) -> [(&'static str, u32); 8] {
        [
            ("one_feature_edits", self.single),
            ("bisections", self.midpoints),
            ("lattice_steps", self.lattice),
            ("completed_rectangles", self.products),
            ("ends_of_range", self.extremes),
            ("equal_sizes", self.sizes),
            ("equal_shares", self.level),
            ("growing_blanks", self.blanks),
        ]
    }
}
