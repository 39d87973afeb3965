//! What the changes of a drill led to, added up over kinds and extents: the source of the table, the page, the card and the JSON.

use std::sync::Arc;

use serde::Serialize;

use super::trial::ChangeTrial;
use super::{ChangeSettings, LeftOut};
use crate::drill::baseline::Baseline;
use crate::drill::calibration::Calibration;
use crate::drill::log::Log;
use crate::drill::outcome::{EngineSettings, LogSummary};
use crate::reference::Reference;
use crate::simulate::change::Extent;

/// A drill of changes.
#[derive(Clone, Debug, Serialize)]
pub struct ChangesOutcome {
    /// Version of this program.
    pub version: &'static str,
    /// Model name.
    pub model: String,
    /// Digest of the reference profile.
    pub reference: String,
    /// The log.
    pub log: LogSummary,
    /// Seed.
    pub seed: u64,
    /// The engine's settings, its salt left out.
    pub engine: EngineSettings,
    /// Honest callers in the log: those that it does not accuse by itself.
    pub honest: u64,
    /// Everything together.
    pub all: ChangeSums,
    /// Kinds that constants of the judge may have been chosen by; none if none was tried.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub development: Option<ChangeSums>,
    /// Kinds that were kept aside; none if none was tried.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held_out: Option<ChangeSums>,
    /// By extent.
    pub extents: Vec<ExtentSums>,
    /// Every change in every extent.
    pub trials: Vec<ChangeTrial>,
    /// Changes that do nothing to this model, and why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<LeftOut>,
    /// What the stated rate of false alarms turned into, without any change.
    pub calibration: Calibration,
}

/// Changes of one extent, together.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct ExtentSums {
    /// The extent.
    pub extent: Extent,
    /// Its sums.
    #[serde(flatten)]
    pub sums: ChangeSums,
}

/// Changes added up.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct ChangeSums {
    /// Logs judged, one for each kind and extent. Logs in which a change changed nothing do not count.
    pub logs: u64,
    /// Logs in which an honest caller was accused.
    pub with_accused: u64,
    /// Honest callers accused in all of them.
    pub accused: u64,
    /// Logs of whose model something wrong was said.
    pub wrong: u64,
    /// Logs in which the model was called `probing` and should not have been.
    pub called_probing: u64,
    /// Callers that the log alone accuses after the beginning of a change, in all of them.
    pub flagged_before: u64,
    /// Of those, accused with the change as well.
    pub flagged_still: u64,
}

// === impl ChangeSums ===

impl ChangeSums {
    fn of<'a>(trials: impl Iterator<Item = &'a ChangeTrial>) -> Self {
        let mut sums = Self::default();
        for trial in trials.filter(|trial| trial.changed > 0) {
            sums.logs += 1;
            sums.with_accused += u64::from(trial.accused > 0);
            sums.accused += trial.accused;
            sums.wrong += u64::from(!trial.right);
            sums.called_probing += u64::from(trial.called_probing());
            sums.flagged_before += trial.flagged_before;
            sums.flagged_still += trial.flagged_still;
        }
        sums
    }
}

// === impl ChangeTrial ===

impl ChangeTrial {
    /// Whether the model was called `probing` and should not have been.
    pub fn called_probing(&self) -> bool {
        use crate::judge::Finding;
        let probing = |finding: &Finding| matches!(finding, Finding::Probing | Finding::DriftAndProbing);
        probing(&self.model) && !self.expected.iter().any(probing)
    }
}

// === impl ChangesOutcome ===

impl ChangesOutcome {
    /// Adds up the trials.
    pub fn new(
        log: &Log,
        reference: &Arc<Reference>,
        settings: &ChangeSettings,
        baseline: &Baseline,
        trials: Vec<ChangeTrial>,
        left_out: Vec<LeftOut>,
    ) -> Self {
        let part = |held_out: bool| {
            let sums = ChangeSums::of(trials.iter().filter(|trial| trial.held_out == held_out));
            (sums.logs > 0).then_some(sums)
        };
        let extent =
            |extent: Extent| ExtentSums { extent, sums: ChangeSums::of(trials.iter().filter(|trial| trial.extent == extent)) };
        let accused = |who: &crate::drill::log::LogCaller| baseline.accuses(&crate::drill::caller(who));
        Self {
            version: env!("CARGO_PKG_VERSION"),
            model: log.model.clone(),
            reference: reference.digest.clone(),
            log: LogSummary::of(log, baseline),
            seed: settings.seed,
            engine: EngineSettings::of(&settings.engine),
            honest: log.callers.iter().take(log.named_callers()).filter(|who| !accused(who)).count() as u64,
            all: ChangeSums::of(trials.iter()),
            development: part(false),
            held_out: part(true),
            extents: Extent::ALL.map(extent).into_iter().filter(|line| line.sums.logs > 0).collect(),
            left_out,
            calibration: Calibration::of(log, baseline, settings.engine.alarms_per_client_day),
            trials,
        }
    }
}
