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
    made: FxHashMap<Vec<bool>, Density>,
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
            let left_out: Vec<bool> = (0..width).map(|j| left_out.contains(&j)).collect();
            self.evidence_without(&left_out, state, reference, (coder, boundary), factors) < enough
        })
    }

    /// Evidence of the recent votes without the features that are `left_out`.
    pub fn evidence_without(
        &mut self,
        left_out: &[bool],
        state: &ClientDistribution,
        reference: &Reference,
        (coder, boundary): (&Coder, &Boundary),
        factors: &Factors,
    ) -> f64 {
        if self.made.len() >= KEPT && !self.made.contains_key(left_out) {
            self.made.clear();
        }
        let make = || Density::new(reference, coder, boundary, left_out);
        let density = self.made.entry(left_out.to_vec()).or_insert_with(make);
        let mut detector = Detector::default();
        state.recent(coder, |codes, near| detector.update(density.cells(codes, near), factors));
        detector.total()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Cell;
    use crate::hash::mix2;
    use crate::judge::evidence::CLIENT_BETS;
    use crate::signal::codes::Codes;
    use crate::signal::density::statistic::PerStatistic;

    /// Evidence from which the judge asks whether features explain it.
    const ENOUGH: f64 = crate::judge::distribution::SUSPICIOUS;

    struct World {
        reference: Reference,
        coder: Coder,
        boundary: Boundary,
        density: Density,
        masked: Vec<bool>,
        factors: Factors,
    }

    impl World {
        fn new() -> Self {
            let path = format!("{}/models/adult/reference.json", env!("CARGO_MANIFEST_DIR"));
            let reference = Reference::from_json(&std::fs::read(path).unwrap()).unwrap();
            let coder = Coder::new(&reference);
            let boundary = Boundary::new(&reference, &coder);
            let density = Density::new(&reference, &coder, &boundary, &[]);
            let masked = vec![false; reference.features.len()];
            let factors = Factors::new(&PerStatistic::all([0.025, 0.05, 0.18, 0.45]), CLIENT_BETS);
            Self { reference, coder, boundary, density, masked, factors }
        }

        /// A client that sent these rows, and its evidence.
        fn client(&self, rows: impl Iterator<Item = Vec<Cell>>) -> (ClientDistribution, f64) {
            let (mut client, mut codes) = (ClientDistribution::default(), Codes::default());
            for row in rows {
                self.coder.encode(&row, &mut codes);
                if let Some(admitted) = client.may_vote(&codes, 1.0, 7) {
                    self.coder.score(&row, &mut codes);
                    client.keep_scores(admitted, &codes.normal);
                    client.note_vote(self.density.cells(&codes, 1.0), &self.factors);
                }
            }
            let evidence = client.detector.total();
            (client, evidence)
        }

        fn explain(&self, client: &ClientDistribution) -> bool {
            let models = (&self.coder, &self.boundary);
            Ablation::default().explain(client, &self.density, &self.masked, &self.reference, models, &self.factors, ENOUGH)
        }

        /// A row of the sample, some of whose columns come from other rows.
        fn mixed(&self, seed: u64, from_elsewhere: impl Fn(usize) -> bool) -> Vec<Cell> {
            let sample = &self.reference.sample;
            let row = |seed: u64| &sample[mix2(seed, 1) as usize % sample.len()];
            let cell = |j: usize| if from_elsewhere(j) { row(mix2(seed, 100 + j as u64))[j] } else { row(seed)[j] };
            (0..self.reference.features.len()).map(cell).collect()
        }
    }

    #[test]
    fn one_changed_column_explains_the_evidence() {
        let world = World::new();
        let column = world.reference.features.iter().position(|f| f.name == "education_num").unwrap();
        let (client, evidence) = world.client((0..30).map(|seed| world.mixed(seed, |j| j == column)));
        assert!(evidence > ENOUGH, "{evidence}");
        assert!(world.explain(&client));
    }

    #[test]
    fn uniform_noise_is_not_explained() {
        let world = World::new();
        let even = |feature: &crate::reference::Feature, random: u64| {
            let share = (random >> 11) as f64 / (1_u64 << 53) as f64;
            if feature.is_numeric() {
                Cell::number((feature.min + share * (feature.max - feature.min)).round())
            } else {
                Cell::category((share * feature.bins() as f64) as usize)
            }
        };
        let row = |seed: u64| world.reference.features.iter().enumerate().map(|(j, f)| even(f, mix2(seed, j as u64))).collect();
        let (client, evidence) = world.client((0..30).map(row));
        assert!(evidence > ENOUGH, "{evidence}");
        assert!(!world.explain(&client));
    }

    #[test]
    fn ordinary_rows_leave_nothing_to_explain() {
        let world = World::new();
        let (client, evidence) = world.client((0..30).map(|seed| world.mixed(seed, |_| false)));
        assert!(evidence < ENOUGH, "{evidence}");
        assert!(world.explain(&client));
    }
}
