//! Is a client odd, or is one column of its data odd? (Feature ablation.)
//!
//! A changed unit, a new format or a column that stays empty makes every row of a client improbable. If it is rolled out to a tenth of
//! the callers, a tenth of the callers look like attackers. Such rows are ordinary once that column is left out. A prober's are not:
//! uniform noise, equation solving and substitute training are odd in all columns. So before distribution evidence accuses a client, it
//! is computed again without the one or two features that contribute most. What they explain is a change of the world; the client
//! stays in the drift test.

use rustc_hash::FxHashMap;

use super::client::votes::ClientDistribution;
use super::evidence::{Detector, Factors};
use crate::reference::Reference;
use crate::signal::boundary::Boundary;
use crate::signal::codes::Coder;
use crate::signal::density::Density;

/// Sets of left-out features whose statistics are kept; each costs a pass over the sample to make and its tables' memory. Chosen: a
/// roll-out changes a few columns, so that few sets recur.
const KEPT: usize = 64;
/// Features of a model from which two may be left out; with fewer, one. Chosen: two of fewer than eight are most of what a row says.
const TWO_FROM: usize = 8;

/// Statistics with features left out, made when first needed.
#[derive(Clone, Debug, Default)]
pub struct Ablation {
    made: FxHashMap<Vec<usize>, Density>,
}

// === impl Ablation ===

impl Ablation {
    /// Whether a client's evidence falls below `enough` when the features that contribute most are left out.
    #[expect(clippy::too_many_arguments, reason = "all of the model's statistics, which its judge owns in separate fields")]
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
        let mut contributions = vec![0.0_f32; width];
        state.recent(coder, |codes, _| density.attribute(codes, &mut contributions));
        let mut order: Vec<usize> = (0..width).filter(|&j| !masked[j]).collect();
        order.sort_by(|&a, &b| contributions[b].total_cmp(&contributions[a]).then(a.cmp(&b)));
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
