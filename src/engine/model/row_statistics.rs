//! Density statistics of a model's rows, without the features that drifted, and without the few that a client's evidence rests on.

use super::profile::Profile;
use crate::judge::ablation::Ablation;
use crate::judge::client::votes::ClientDistribution;
use crate::judge::distribution::Population;
use crate::judge::evidence::{Detector, Factors};
use crate::signal::codes::Codes;
use crate::signal::density::statistic::Cells;
use crate::signal::density::{Density, Surprise};

/// Share of their weight below which recent votes have lost it. Chosen: one tenth, one of the decades in which evidence is counted.
const LOST: f64 = 0.1;

/// Density statistics under a mask.
#[derive(Clone, Debug)]
pub(super) struct RowStatistics {
    density: Density,
    masked: Vec<bool>,
    /// Statistics without the columns that are common, for rows that are written so.
    common: Option<Common>,
    ablation: Ablation,
}

/// Statistics without the common columns as well.
#[derive(Clone, Debug)]
struct Common {
    columns: Vec<bool>,
    /// The masked columns and the common ones.
    masked: Vec<bool>,
    density: Density,
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
        Self { density, masked, common: None, ablation: Ablation::default() }
    }

    /// Cells of a row, under the statistics that fit how it is written.
    pub(super) fn cells(&self, codes: &Codes, near: f64, profile: &Profile) -> Cells {
        self.of(codes, profile).cells(codes, near)
    }

    /// How surprising a row is, under the statistics that fit how it is written.
    pub(super) fn surprise(&self, codes: &Codes, near: f64, profile: &Profile) -> Surprise {
        self.of(codes, profile).surprise(codes, near)
    }

    /// How surprising the rows of the reference's sample are.
    pub(super) fn surprise_of_sample(&self, sample: &[Codes]) -> Vec<f32> {
        self.density.surprise_of_sample(sample)
    }

    /// The statistics that judge a row: without the common columns if it is written in one of them as the reference does not know.
    fn of(&self, codes: &Codes, profile: &Profile) -> &Density {
        let written_so = |_: &&Common| self.is_written_so(codes, profile);
        self.common.as_ref().filter(written_so).map_or(&self.density, |common| &common.density)
    }

    /// Whether a row is written in one of the common columns as the reference does not know.
    fn is_written_so(&self, codes: &Codes, profile: &Profile) -> bool {
        self.common.as_ref().is_some_and(|common| profile.coder.unknown(codes).any(|j| common.columns[usize::from(j)]))
    }

    /// From now on rows that are written in one of these columns as the reference does not know are judged without them.
    pub(super) fn set_common(&mut self, columns: &[bool], profile: &Profile) {
        self.common = columns.contains(&true).then(|| {
            let masked: Vec<bool> = columns.iter().zip(&self.masked).map(|(common, masked)| *common || *masked).collect();
            let density = Density::new(&profile.reference, &profile.coder, &profile.boundary, &masked);
            Common { columns: columns.to_vec(), masked, density }
        });
    }

    /// Evidence of a client's recent votes under the statistics and the bounds of now.
    pub(super) fn evidence(&self, state: &ClientDistribution, profile: &Profile, factors: &Factors) -> Detector {
        let mut detector = Detector::default();
        state.recent(&profile.coder, |codes, near| detector.update(self.cells(codes, near, profile), factors));
        detector
    }

    /// Whether the recent votes weigh less than a tenth, `now`, of what they would without peers and without common columns.
    pub(super) fn has_lost_weight(&self, state: &ClientDistribution, profile: &Profile, population: &Population, now: f64) -> bool {
        let (mut detector, factors) = (Detector::default(), population.factors_without_peers());
        state.recent(&profile.coder, |codes, near| detector.update(self.density.cells(codes, near), &factors));
        now < LOST * detector.total()
    }

    /// Evidence of a client's recent votes without the columns in which any of them is written as the reference does not know.
    pub(super) fn evidence_from_asking(&mut self, state: &ClientDistribution, profile: &Profile, factors: &Factors) -> f64 {
        let mut left_out = self.masked.clone();
        let mut is_known = true;
        state.recent(&profile.coder, |codes, _| {
            profile.coder.unknown(codes).for_each(|j| {
                left_out[usize::from(j)] = true;
                is_known = false;
            });
        });
        if is_known {
            return self.evidence(state, profile, factors).total();
        }
        self.ablation.evidence_without(&left_out, state, &profile.reference, (&profile.coder, &profile.boundary), factors)
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
        if let Some(Common { columns, .. }) = self.common.take() {
            self.set_common(&columns, profile);
        }
        true
    }

    /// Whether a client's evidence falls below `enough` when one or two features are left out.
    pub(super) fn explain(&mut self, state: &ClientDistribution, profile: &Profile, factors: &Factors, enough: f64) -> bool {
        let (coder, boundary) = (&profile.coder, &profile.boundary);
        let mut written_so = false;
        state.recent(coder, |codes, _| written_so |= self.is_written_so(codes, profile));
        let common = self.common.as_ref().filter(|_| written_so);
        let (density, masked) = common.map_or((&self.density, &self.masked), |common| (&common.density, &common.masked));
        self.ablation.explain(state, density, masked, &profile.reference, (coder, boundary), factors, enough)
    }
}
