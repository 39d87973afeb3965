//! What the engine is told: how often it may be wrong, how late is too late, and how much it may remember.
//!
//! One set of settings holds for all models. Every range is checked here, before anything is built from it.

use serde::{Deserialize, Serialize};

use crate::judge::structure::StructureSettings;

/// Most rows of history: the index keeps a row's number in 26 of an entry's 32 bits and a fingerprint in the others.
const MAX_HISTORY: usize = 1 << 26;

/// Settings of the core; every bound on memory and on false alarms is here.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EngineConfig {
    /// Stated rate of false alarms: expected false client alarms per client and day. The one knob of sensitivity.
    pub alarms_per_client_day: f64,
    /// Stated rate of false suspicions of sheer volume: expected honest clients per client and day, batch jobs, mirrors and load tests apart.
    /// They are warnings and accuse nobody, so they have a rate of their own.
    pub volume_alarms_per_client_day: f64,
    /// How late an event may be, in seconds of event time, before the windows do without it.
    pub allowed_lateness_seconds: u32,
    /// Clients kept per model; beyond that one of the least recently seen is forgotten (and counted).
    pub max_clients: usize,
    /// Rows of history kept per model for linking queries: own rows and components go back so far, strangers' rows a quarter of it.
    pub max_history: usize,
    /// Salt of the structure hashes. Set one per deployment, so that an attacker cannot compute collisions.
    pub salt: u64,
}

/// A setting out of range.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("engine.{setting}: {what}")]
pub struct SettingError {
    /// Name of the setting.
    pub setting: &'static str,
    /// What is wrong.
    pub what: String,
}

// === impl EngineConfig ===

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            alarms_per_client_day: 1e-4,
            volume_alarms_per_client_day: 1e-4,
            allowed_lateness_seconds: 60,
            max_clients: 100_000,
            max_history: 262_144,
            salt: 0,
        }
    }
}

impl EngineConfig {
    /// Names of the settings that differ from another configuration's.
    pub fn changed(&self, other: &Self) -> Vec<&'static str> {
        let Self { alarms_per_client_day, volume_alarms_per_client_day, allowed_lateness_seconds, max_clients, max_history, salt } =
            self;
        let differs = |ours: f64, theirs: f64| ours.to_bits() != theirs.to_bits();
        [
            ("engine.alarms_per_client_day", differs(*alarms_per_client_day, other.alarms_per_client_day)),
            ("engine.volume_alarms_per_client_day", differs(*volume_alarms_per_client_day, other.volume_alarms_per_client_day)),
            ("engine.allowed_lateness_seconds", *allowed_lateness_seconds != other.allowed_lateness_seconds),
            ("engine.max_clients", *max_clients != other.max_clients),
            ("engine.max_history", *max_history != other.max_history),
            ("engine.salt", *salt != other.salt),
        ]
        .into_iter()
        .filter_map(|(name, differs)| differs.then_some(name))
        .collect()
    }

    /// The part that structure evidence needs.
    pub(super) fn structure(&self) -> StructureSettings {
        StructureSettings {
            alarms_per_client_day: self.alarms_per_client_day,
            salt: self.salt,
            max_clients: self.max_clients,
            max_history: self.max_history,
        }
    }

    /// Checks ranges; the first fault is returned.
    pub fn check(&self) -> Result<(), SettingError> {
        let fault = |setting, what: &str| Err(SettingError { setting, what: what.to_owned() });
        let rates = [
            ("alarms_per_client_day", self.alarms_per_client_day),
            ("volume_alarms_per_client_day", self.volume_alarms_per_client_day),
        ];
        if let Some((setting, _)) = rates.into_iter().find(|(_, rate)| !(*rate > 1e-9 && *rate <= 0.1)) {
            return fault(setting, "must lie above 0.000000001 and at most 0.1");
        }
        if self.max_clients == 0 || self.max_clients > 50_000_000 {
            return fault("max_clients", "must lie between 1 and 50000000");
        }
        if self.max_history < 1024 || self.max_history > MAX_HISTORY {
            return fault("max_history", "must lie between 1024 and 67108864");
        }
        Ok(())
    }
}
