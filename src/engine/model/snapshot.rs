//! A model's state as plain data: what a log has taught it, written down and read back.
//!
//! A snapshot speaks of one model. It is one struct with named fields, generic over its large parts, so that the same definition
//! writes what is borrowed and reads what is owned: a field cannot be written in one place and forgotten in the other.
//! What is made from the reference or from the settings is left out and made anew.

use serde::{Deserialize, Serialize};

use super::row_statistics::RowStatistics;
use super::{Memory, ModelEngine};
use crate::engine::settings::EngineConfig;
use crate::judge::drift::DriftState;
use crate::judge::structure::StructureState;

/// Format of snapshots. It changes whenever a field does; a snapshot of another format is refused rather than guessed at.
pub const FORMAT: u32 = 8;

/// What a snapshot is of. It comes first and has the same fields in every format, so it can be read and checked before the state
/// is believed.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct SnapshotHeader {
    /// Format of the state.
    pub format: u32,
    /// Model name.
    pub model: String,
    /// SHA-256 of the model's reference.
    pub reference: String,
}

/// A snapshot of one model.
#[derive(Debug, Serialize, Deserialize)]
pub struct Snapshot<State> {
    /// What it is of.
    pub header: SnapshotHeader,
    /// Settings of the engine that wrote it, all of them: a state goes on only under the settings that it was made with.
    pub config: EngineConfig,
    /// What the log has taught.
    pub state: State,
}

/// State of one model.
#[derive(Debug, Serialize, Deserialize)]
struct Parts<M, S, D> {
    /// Features that are left out of the density statistics.
    masked: Vec<bool>,
    memory: M,
    structure: S,
    drift: D,
}

/// State of one model, read back.
#[derive(Debug, Deserialize)]
pub struct ModelState(Parts<Memory, StructureState, DriftState>);

/// A snapshot of one model, read back.
pub type ModelSnapshot = Snapshot<ModelState>;

// === impl ModelEngine ===

impl ModelEngine {
    /// Everything that is not made from the reference and the settings, for [`ModelEngine::restore`].
    pub fn snapshot(&self, config: &EngineConfig) -> Snapshot<impl Serialize + '_> {
        Snapshot {
            header: SnapshotHeader { format: FORMAT, model: self.name().to_owned(), reference: self.digest().to_owned() },
            config: config.clone(),
            state: Parts {
                masked: self.statistics.masked().to_vec(),
                memory: &self.memory,
                structure: self.structure.snapshot(),
                drift: self.drift.snapshot(),
            },
        }
    }

    /// Goes on from a state. It must have been made with the same reference and settings; [`crate::engine::Engine`] sees to it.
    pub fn restore(&mut self, ModelState(state): ModelState) {
        let Parts { masked, memory, structure, drift } = state;
        if masked != self.statistics.masked() {
            self.statistics = RowStatistics::under(masked, &self.profile);
        }
        self.crowd_sample = None;
        self.memory = Memory { crowd: memory.crowd.restored(&self.profile.reference), ..memory };
        self.structure.restore(structure);
        self.structure.set_newcomer_share(self.memory.arrivals.newcomer_share());
        self.leave_out_common();
        self.drift.restore(drift);
    }
}
