//! A model's judge as plain data: what a log has taught it, written down and read back.

use serde::{Deserialize, Serialize};

use super::{Campaigns, ModelEngine, ValuePane};
use crate::event::EventTime;
use crate::judge::client::{Client, Key};
use crate::judge::distribution::Population;
use crate::judge::drift::DriftState;
use crate::judge::shared_identity::SharedIdentities;
use crate::judge::structure::StructureState;
use crate::judge::{Family, FeatureDrift, Finding, SignalValue};
use crate::signal::density::Density;
use crate::window::clients::Table;
use crate::window::{Ring, Watermark};

/// Flagged clients by family.
type ByFamily = Vec<(Family, u64)>;

/// Three numbers under a name: a drift's figures, or a signal's, as a snapshot keeps them (verdict lines round).
type Figures = Vec<(String, [f64; 3])>;

/// Signals that a verdict on the model may carry, to find their names again when a snapshot is read.
const SIGNALS: [&str; 6] =
    ["psi", "changed_answers", "vanishes_without_suspects", "moved_callers", "change_quarters", "psi_same_hour_yesterday"];

/// A snapshot of a [`ModelEngine`], read back: windows and callers, evidence, what was said.
#[derive(Debug, Deserialize)]
pub struct ModelSnapshot(
    (Watermark, Ring<ValuePane>, Table<Key, Client>, SharedIdentities),
    (Vec<bool>, Population, StructureState, DriftState),
    (Option<EventTime>, bool, u32, bool, Option<EventTime>, Option<Finding>),
    (Figures, Figures),
    (u64, u64, u64, f64),
    (ByFamily, Campaigns, Option<(EventTime, String)>),
);

// === impl ModelEngine ===

impl ModelEngine {
    /// Everything that is not made from the reference and the settings, for [`ModelEngine::restore`].
    pub fn snapshot(&self) -> impl Serialize + '_ {
        let flagged: Vec<(Family, u64)> =
            Family::ALL.iter().filter_map(|f| self.flagged.get(f.name()).map(|&count| (*f, count))).collect();
        (
            (&self.watermark, &self.quarters, &self.clients, &self.shared_identities),
            (&self.masked, &self.population, self.structure.snapshot(), self.drift.snapshot()),
            (self.next_evaluation, self.drift_pending, self.drift_quiet, self.drifting, self.probing_until, self.said),
            (
                self.why.0.iter().map(|f| (&f.name, [f.psi, f.critical, f.psi_without_suspects])).collect::<Vec<_>>(),
                self.why.1.iter().map(|s| (s.name, [s.value, s.reference, s.evidence])).collect::<Vec<_>>(),
            ),
            (self.queries, self.votes, self.late, self.rate_p95),
            (flagged, &self.campaigns, &self.pool_case),
        )
    }

    /// Goes on from a snapshot. It must have been made with the same reference and settings; [`crate::engine::Engine`] sees to it.
    pub fn restore(&mut self, state: ModelSnapshot) {
        let ModelSnapshot(windows, evidence, said, (features, signals), counts, cases) = state;
        (self.watermark, self.quarters, self.clients, self.shared_identities) = windows;
        let (masked, population, structure, drift) = evidence;
        if masked != self.masked {
            self.density = Density::new(&self.reference, &self.coder, &self.boundary, &masked);
        }
        (self.masked, self.population) = (masked, population);
        self.structure.restore(structure);
        self.drift.restore(drift);
        (self.next_evaluation, self.drift_pending, self.drift_quiet, self.drifting, self.probing_until, self.said) = said;
        let known = |name: &str| SIGNALS.into_iter().find(|known| *known == name);
        self.why = (
            features
                .into_iter()
                .map(|(name, [psi, critical, psi_without_suspects])| FeatureDrift { name, psi, critical, psi_without_suspects })
                .collect(),
            signals
                .into_iter()
                .filter_map(|(name, [value, reference, evidence])| {
                    known(&name).map(|name| SignalValue { name, value, reference, evidence })
                })
                .collect(),
        );
        (self.queries, self.votes, self.late, self.rate_p95) = counts;
        let flagged;
        (flagged, self.campaigns, self.pool_case) = cases;
        self.flagged = flagged.into_iter().map(|(family, count)| (family.name(), count)).collect();
    }
}
