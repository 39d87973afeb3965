//! What a model shows of itself: its state for metrics, pages and reports, and the memory that it holds.

use super::{MIN_VOTES, ModelEngine};
use crate::engine::judged::{CallerJudgement, DriftJudgement, DriftNeeds, Judged, PendingChange};
use crate::engine::status::ModelStatus;
use crate::event::EventTime;
use crate::judge::distribution::WARM_UP_SECONDS;
use crate::judge::drift;
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
            volume_clients: memory.callers.suspicious_for_volume(),
            model: self.name().to_owned(),
            watermark,
            queries: memory.counts.queries,
            late: memory.counts.late,
            clients: memory.callers.known() as u64,
            evicted_clients: clients.evicted(),
            verdict: memory.state.finding(watermark).and_then(|_| memory.state.last_reported()),
            judged: self.judged(),
            flagged: memory.callers.flagged.by_family().iter().map(|(family, &count)| (family.name(), count)).collect(),
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

    /// What was judged, and what is missing.
    fn judged(&self) -> Judged {
        let memory = &self.memory;
        let record = self.drift.record();
        let watermark = memory.windows.watermark();
        let needs = DriftNeeds {
            seconds: memory.windows.seconds_to_next_test(),
            new_rows: MIN_VOTES.saturating_sub(memory.counts.votes),
            rows_in_window: drift::MIN_VOTES as u64,
            rows_of_one_caller: u64::from(drift::VOTES_EACH),
            window_seconds: drift::WINDOWS[1],
        };
        let change = |one: &drift::record::PendingColumn| PendingChange {
            column: self.drift.column_name(one.column).to_owned(),
            since: one.since,
            seconds_left: one.seconds_left,
        };
        let unnamed = memory.counts.unnamed;
        let warm_up = |at: EventTime| memory.population.warm_at().map(|warm| warm.seconds_since(at).max(0.0));
        Judged {
            drift: DriftJudgement {
                tests_of_one_window: record.one_window,
                tests_of_both_windows: record.both_windows,
                too_thin: record.too_thin,
                newest: record.newest,
                thin_rows: record.thin_votes,
                cleared: memory.state.is_cleared(),
                needs: (record.tests() == 0).then_some(needs),
                pending: record.pending.iter().map(change).collect(),
            },
            callers: CallerJudgement {
                named: (memory.counts.queries + memory.counts.late).saturating_sub(unnamed),
                unnamed,
                shared_addresses: memory.anonymous.shared(),
                warm_up_seconds: watermark.and_then(warm_up).unwrap_or(WARM_UP_SECONDS as f64),
            },
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

    /// Memory held by clients and history: (clients, bytes of clients and of a crowd's rows, rows of history, bytes of history).
    pub fn memory(&self) -> (usize, usize, usize, usize) {
        let (rows, bytes) = self.structure.memory();
        (self.memory.callers.clients.len(), self.memory.callers.bytes() + self.memory.crowd.bytes(), rows, bytes)
    }
}
