//! What a model shows of itself: its state for metrics, pages and reports, and the memory that it holds.

use super::ModelEngine;
use crate::engine::status::ModelStatus;
use crate::judge::information_budget::Budgets;
use crate::judge::model_state::PROBING_SECONDS;
use crate::signal::entropy;

/// Window of the entropy ratio, in seconds.
const ENTROPY_SECONDS: i64 = 3600;

// === impl ModelEngine ===

impl ModelEngine {
    /// State for metrics, pages and reports.
    pub fn status(&self) -> ModelStatus {
        let memory = &self.memory;
        let (clients, shared_identities) = (&memory.callers.clients, &memory.callers.shared_identities);
        let watermark = memory.windows.watermark().unwrap_or_default();
        let information_budgets = Budgets { clients, shared_identities, regions: &self.profile.regions }.largest();
        let active = memory.cases.campaigns.values().filter(|campaign| watermark < campaign.at.plus_seconds(PROBING_SECONDS));
        let (unreadable_ratio, rejected_by_client_max_ratio) = self.unreadable_ratios();
        ModelStatus {
            unreadable_ratio,
            rejected_by_client_max_ratio,
            unreadable_clients: memory.unreadable.suspicious(),
            model: self.name().to_owned(),
            watermark,
            queries: memory.counts.queries,
            late: memory.counts.late,
            clients: clients.len() as u64,
            evicted_clients: clients.evicted(),
            verdict: memory.state.last_reported(),
            flagged: memory.callers.flagged().iter().map(|(family, &count)| (family.name(), count)).collect(),
            campaigns: active.count() as u64,
            client_rate_p95: memory.windows.rate_p95,
            feature_entropy_ratio: self.entropy_ratio(),
            information_budget_ratio: information_budgets.first().map_or(0.0, |most| most.ratio),
            information_budgets,
            columns: self.column_status(),
            column_changes: self.column_changes(),
            features: self.drift.features(),
            prediction: self.drift.prediction(),
        }
    }

    /// Entropy of the last hour's feature values over the reference's; 1 without traffic.
    fn entropy_ratio(&self) -> f64 {
        let sizes = self.profile.coder.sizes();
        let counts = self.memory.windows.counts(ENTROPY_SECONDS, sizes);
        let mut offset = 0;
        let mut total = 0.0;
        for &size in sizes {
            total += entropy::corrected(counts[offset..offset + size].iter().copied(), size);
            offset += size;
        }
        let mean = total / sizes.len().max(1) as f64;
        let nothing = counts.iter().all(|&count| count == 0);
        if nothing || self.profile.entropy <= 0.0 { 1.0 } else { mean / self.profile.entropy }
    }

    /// Memory held by clients and history: (clients, bytes of clients, rows of history, bytes of history).
    pub fn memory(&self) -> (usize, usize, usize, usize) {
        let (rows, bytes) = self.structure.memory();
        (self.memory.callers.clients.len(), self.memory.callers.bytes(), rows, bytes)
    }
}
