//! What is made from the reference of a model and never changes: no part of a snapshot.

use std::sync::Arc;

use crate::reference::Reference;
use crate::reference::fit::coarse_counts;
use crate::signal::boundary::Boundary;
use crate::signal::codes::Coder;
use crate::signal::entropy;
use crate::signal::information::Regions;

/// A model as its reference describes it.
#[derive(Clone, Debug)]
pub(super) struct Profile {
    /// The reference.
    pub(super) reference: Arc<Reference>,
    /// Salt of hashes and case ids; the deployment's.
    pub(super) salt: u64,
    /// Codes of rows.
    pub(super) coder: Coder,
    /// Nearness to the decision boundary.
    pub(super) boundary: Boundary,
    /// Regions of the model that can be asked about.
    pub(super) regions: Regions,
    /// Mean entropy of the reference's features, in nats.
    pub(super) entropy: f64,
}

// === impl Profile ===

impl Profile {
    /// A profile of a reference.
    pub(super) fn new(reference: Arc<Reference>, salt: u64) -> Self {
        let coder = Coder::new(&reference);
        Self {
            boundary: Boundary::new(&reference, &coder),
            regions: Regions::new(&reference, &coder, salt),
            entropy: mean_entropy(&reference, &coder),
            coder,
            reference,
            salt,
        }
    }

    /// Model name.
    pub(super) fn model(&self) -> &str {
        &self.reference.model
    }
}

/// Mean entropy of the reference's features, in nats.
fn mean_entropy(reference: &Reference, coder: &Coder) -> f64 {
    let of_feature = |(feature, &size)| entropy::corrected(coarse_counts(feature), size);
    let sum: f64 = reference.features.iter().zip(coder.sizes()).map(of_feature).sum();
    sum / reference.features.len().max(1) as f64
}
