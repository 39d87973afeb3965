//! Is a client odd, or is one column of its data odd?
//!
//! A changed unit, a new format or a column that stays empty makes every row of a client improbable, and if it is rolled out to a
//! tenth of the callers, a tenth of the callers look like attackers. But such rows are ordinary once that column is left out,
//! whereas a prober's are not: uniform noise, equation solving and substitute training are odd all over. So before distribution
//! evidence accuses, it is asked again without the one or two features that it blames most. What they explain is the world's
//! doing; the client stays in the drift test, where it belongs.

use rustc_hash::FxHashMap;

use super::client::votes::ClientDistribution;
use super::evidence::{Detector, Factors};
use crate::reference::Reference;
use crate::signal::boundary::Boundary;
use crate::signal::density::{Coder, Density};

/// Statistics kept without some features; each costs a pass over the sample to make.
const KEPT: usize = 64;
/// Features of a model from which two may be left out; with fewer, one.
const TWO_FROM: usize = 8;

/// Statistics with features left out, made when first asked for.
#[derive(Clone, Debug, Default)]
pub struct Ablation {
    made: FxHashMap<Vec<usize>, Density>,
}

// === impl Ablation ===

impl Ablation {
    #[expect(clippy::too_many_arguments, reason = "all of the model's statistics, which its judge owns in separate fields")]
    /// Whether a client's evidence falls below `enough` when the features that it blames most are left out.
    pub fn explain(
        &mut self,
        state: &ClientDistribution,
        density: &Density,
        masked: &[bool],
        reference: &Reference,
        (coder, boundary): (&Coder, &Boundary),
        factors: &Factors,
        enough: f64,
    ) -> bool {
        let width = masked.len();
        let mut blame = vec![0.0_f32; width];
        state.recent(coder, |codes, _| density.blame(codes, &mut blame));
        let mut order: Vec<usize> = (0..width).filter(|&j| !masked[j]).collect();
        order.sort_by(|&a, &b| blame[b].total_cmp(&blame[a]).then(a.cmp(&b)));
        let most = if width >= TWO_FROM { 2 } else { 1 };
        (1..=most.min(order.len())).any(|n| {
            let mut left_out: Vec<usize> = order[..n].to_vec();
            left_out.extend((0..width).filter(|&j| masked[j]));
            left_out.sort_unstable();
            self.evidence_without(left_out, state, reference, (coder, boundary), factors) < enough
        })
    }

    /// Evidence of the recent votes without some features.
    fn evidence_without(
        &mut self,
        left_out: Vec<usize>,
        state: &ClientDistribution,
        reference: &Reference,
        (coder, boundary): (&Coder, &Boundary),
        factors: &Factors,
    ) -> f64 {
        let width = reference.features.len();
        if self.made.len() >= KEPT && !self.made.contains_key(&left_out) {
            self.made.clear();
        }
        let density = self.made.entry(left_out).or_insert_with_key(|left_out| {
            let masked: Vec<bool> = (0..width).map(|j| left_out.contains(&j)).collect();
            Density::new(reference, coder, boundary, &masked)
        });
        let mut detector = Detector::default();
        state.recent(coder, |codes, near| detector.update(density.cells(codes, near), factors));
        detector.total()
    }
}
