//! Density statistics of a model's rows, without the features that drifted, and without the few that a client's evidence rests on.

use super::profile::Profile;
use crate::judge::ablation::Ablation;
use crate::judge::client::votes::ClientDistribution;
use crate::judge::evidence::Factors;
use crate::signal::density::Density;

/// Density statistics under a mask.
#[derive(Clone, Debug)]
pub(super) struct RowStatistics {
    density: Density,
    masked: Vec<bool>,
    ablation: Ablation,
}

// === impl RowStatistics ===

impl RowStatistics {
    /// Statistics of all features.
    pub(super) fn new(profile: &Profile) -> Self {
        Self::under(vec![false; profile.reference.features.len()], profile)
    }

    /// Statistics without the features that are `masked`.
    pub(super) fn under(masked: Vec<bool>, profile: &Profile) -> Self {
        let density = Density::new(&profile.reference, &profile.coder, &profile.boundary, &masked);
        Self { density, masked, ablation: Ablation::default() }
    }

    /// The statistics in force.
    pub(super) fn density(&self) -> &Density {
        &self.density
    }

    /// Features that are left out.
    pub(super) fn masked(&self) -> &[bool] {
        &self.masked
    }

    /// Leaves more features out; says whether it did. At most half of the features go, since what is left must still tell rows
    /// apart.
    pub(super) fn mask(&mut self, drifted: &[usize], profile: &Profile) -> bool {
        let width = self.masked.len();
        let fresh: Vec<usize> = drifted.iter().copied().filter(|&j| j < width && !self.masked[j]).collect();
        let total = self.masked.iter().filter(|masked| **masked).count() + fresh.len();
        if fresh.is_empty() || total > (width / 2).max(1) {
            return false;
        }
        fresh.iter().for_each(|&j| self.masked[j] = true);
        self.density = Density::new(&profile.reference, &profile.coder, &profile.boundary, &self.masked);
        true
    }

    /// Whether a client's evidence falls below `enough` when one or two features are left out.
    pub(super) fn explain(&mut self, state: &ClientDistribution, profile: &Profile, factors: &Factors, enough: f64) -> bool {
        let (coder, boundary) = (&profile.coder, &profile.boundary);
        self.ablation.explain(state, &self.density, &self.masked, &profile.reference, (coder, boundary), factors, enough)
    }
}
