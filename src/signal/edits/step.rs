//! One edit: what differs between a row and the earlier row that it is near to.

use crate::event::Cell;
use crate::reference::Feature;
use crate::signal::perturbation::Scales;

/// One step from an earlier row to a near new one.
#[derive(Clone, Copy, Debug)]
pub struct EditStep<'a> {
    /// Features that changed (beyond tolerance).
    pub changed: u16,
    /// The feature that changed, if it is one.
    pub feature: u16,
    /// Value of that feature in the earlier row.
    pub from: Cell,
    /// Value of that feature in the new row.
    pub to: Cell,
    /// Hash of the new row without that feature: the line that both rows lie on.
    pub line: u64,
    /// Whether the new row is a one-feature edit of yet another row, along another feature: then it completes a rectangle.
    pub crossed: bool,
    /// Missing values of the new row.
    pub missing: u16,
    /// Whether the feature has drifted: in a new unit the values that people enter are not round.
    pub drifted: bool,
    /// Of a step of several features: whether they move by equal shares of their scales, and how many of them are large enough to tell.
    pub level: Option<(bool, usize)>,
    /// The feature's reference.
    pub profile: &'a Feature,
    /// Scales of all features.
    pub scales: &'a Scales,
    /// Number of features of the model.
    pub width: usize,
}
