//! What a model's judge shows of itself: its state for metrics, pages and reports, and the memory that it holds.

use super::{ModelEngine, PROBING_SECONDS};
use crate::engine::status::ModelStatus;
use crate::judge::information_budget::Budgets;
use crate::reference::Reference;
use crate::reference::fit::coarse_counts;
use crate::signal::codes::Coder;
use crate::signal::entropy;

// === impl ModelEngine ===

impl ModelEngine {
    /// State for metrics, pages and reports.
    pub fn status(&self) -> ModelStatus {
        let watermark = self.watermark.at().unwrap_or_default();
        let information_budgets =
            Budgets { clients: &self.clients, shared_identities: &self.shared_identities, regions: &self.regions }.largest();
        ModelStatus {
            model: self.name.clone(),
            watermark,
            queries: self.queries,
            late: self.late,
            clients: self.clients.len() as u64,
            evicted_clients: self.clients.evicted(),
            verdict: self.said,
            flagged: self.flagged.clone(),
            campaigns: self.campaigns.values().filter(|(_, at)| watermark < at.plus_seconds(PROBING_SECONDS)).count() as u64,
            client_rate_p95: self.rate_p95,
            feature_entropy_ratio: self.entropy_ratio(),
            information_budget_ratio: information_budgets.first().map_or(0.0, |most| most.ratio),
            information_budgets,
            features: self.drift.features(),
            prediction: self.drift.prediction(),
        }
    }

    /// Entropy of the last hour's feature values over the reference's; 1 without traffic.
    fn entropy_ratio(&self) -> f64 {
        let sizes = self.coder.sizes();
        let mut sums = vec![0_u64; sizes.iter().sum()];
        for pane in self.quarters.window(3600) {
            sums.iter_mut().zip(&pane.counts).for_each(|(s, &c)| *s += u64::from(c));
        }
        let mut offset = 0;
        let mut total = 0.0;
        for &size in sizes {
            total += entropy::corrected(sums[offset..offset + size].iter().copied(), size);
            offset += size;
        }
        let mean = total / sizes.len().max(1) as f64;
        if sums.iter().all(|&s| s == 0) || self.reference_entropy <= 0.0 { 1.0 } else { mean / self.reference_entropy }
    }

    /// Memory held by clients and history: (clients, bytes of clients, rows of history, bytes of history).
    pub fn memory(&self) -> (usize, usize, usize, usize) {
        let (rows, bytes) = self.structure.memory();
        (self.clients.len(), self.clients.iter().map(|(_, _, c)| c.bytes()).sum(), rows, bytes)
    }

    /// Mean entropy of the reference's features, in nats.
    pub(super) fn reference_entropy(reference: &Reference, coder: &Coder) -> f64 {
        let sum: f64 = reference
            .features
            .iter()
            .zip(coder.sizes())
            .map(|(feature, &size)| entropy::corrected(coarse_counts(feature), size))
            .sum();
        sum / reference.features.len().max(1) as f64
    }
}
