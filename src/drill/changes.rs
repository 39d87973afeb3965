//! Honest changes of a pipeline instead of attacks: who would be accused, and what would be said of the model?
//!
//! Each trial makes one change ([`change`](crate::simulate::change)) in a copy of the user's log and judges the copy from the
//! beginning of the change to the end of the log ([`trial`]). Nobody may be accused because of it, and the model may be called
//! `drift` but never `probing` ([`outcome`]).
//!
//! The copy is never held: every trial reads the file again, changes each line, decodes it with the user's own settings and hands
//! it to an engine. So the bytes of the log, the change and the decoder are the real ones, and memory does not grow with the number
//! of trials. What was left out of the log to keep within memory is left out here as well. The engine before the change begins is
//! a clone, as in the drill of attacks; trials run in parallel, and the same settings give the same result on any number of threads.

pub mod card;
pub mod outcome;
pub mod page;
pub mod table;
pub mod trial;

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::baseline::{Baseline, Playback};
use super::log::Log;
use super::parallel::in_parallel;
use super::{DrillError, Progress};
use crate::decode::DecodeConfig;
use crate::engine::EngineConfig;
use crate::reference::Reference;
use crate::simulate::change::columns::Columns;
use crate::simulate::change::rewriter::{Change, EventLayout};
use crate::simulate::change::{ChangeSpec, Extent};

use outcome::ChangesOutcome;
use trial::{ChangeStart, ChangeTrial};

/// What to change, and how the log is read.
#[derive(Clone, PartialEq, Debug)]
pub struct ChangeSettings {
    /// The changes, each with its extent.
    pub changes: Vec<ChangeSpec>,
    /// Seed of chances and of the callers that change.
    pub seed: u64,
    /// The file; it is read once for each change.
    pub events: PathBuf,
    /// Settings of the decoder.
    pub decode: DecodeConfig,
    /// Settings of the engine.
    pub engine: EngineConfig,
}

/// A change that cannot be made in this model, and why.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize)]
pub struct LeftOut {
    /// The kind.
    pub change: &'static str,
    /// Why, in words.
    pub why: String,
}

/// Binds the changes to the model; those that would change nothing are listed with the reason.
pub fn bind(settings: &ChangeSettings, reference: &Reference) -> (Vec<Change>, Vec<LeftOut>) {
    let columns = Arc::new(Columns::new(reference));
    let layout = Arc::new(EventLayout::new(settings.decode.mapping.as_ref()));
    let (mut changes, mut left_out) = (Vec::new(), Vec::<LeftOut>::new());
    for spec in &settings.changes {
        match Change::new(spec, reference, &columns, &layout, settings.seed) {
            Ok(change) => changes.push(change),
            Err(why) => {
                let one = LeftOut { change: spec.kind.name, why };
                if !left_out.contains(&one) {
                    left_out.push(one);
                }
            }
        }
    }
    (changes, left_out)
}

/// The event of a log at which a change begins.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "a place in a log")]
pub fn begin(log: &Log, at: f64) -> usize {
    ((log.len() as f64 * at) as usize).min(log.len().saturating_sub(1))
}

/// Makes every change in the log and judges it.
///
/// # Errors
/// Settings out of range, a file that can no longer be read or has other lines than before.
pub fn run(
    log: &Log,
    reference: &Arc<Reference>,
    settings: &ChangeSettings,
    baseline: &Baseline,
    threads: NonZeroUsize,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<ChangesOutcome, DrillError> {
    let (changes, left_out) = bind(settings, reference);
    let mut order: Vec<usize> = (0..changes.len()).collect();
    // Trials with one beginning share an engine that has judged the log up to there; the log is gone through once.
    order.sort_by_key(|&at| (begin(log, changes[at].spec.at), at));
    let mut trials: Vec<(usize, ChangeTrial)> = Vec::with_capacity(changes.len());
    let done = AtomicUsize::new(0);
    let mut playback = Playback::new(log, reference, &settings.engine)?;
    for group in order.chunk_by(|&a, &b| begin(log, changes[a].spec.at) == begin(log, changes[b].spec.at)) {
        let from = group.first().map_or(0, |&at| begin(log, changes[at].spec.at));
        playback.judge_while(|event| event < from);
        let start = ChangeStart { log, reference, baseline, engine: &playback.engine, from, settings };
        let results = in_parallel(threads, group.len(), |nth| {
            let trial = trial::run(start, &changes[group[nth]]);
            progress(Progress::Changes(done.fetch_add(1, Ordering::Relaxed) + 1, changes.len()));
            trial
        });
        for (&at, trial) in group.iter().zip(results) {
            trials.push((at, trial?));
        }
    }
    trials.sort_by_key(|(at, _)| *at);
    let trials = trials.into_iter().map(|(_, trial)| trial).collect();
    Ok(ChangesOutcome::new(log, reference, settings, baseline, trials, left_out))
}

/// Name of the folder that holds a changed log.
pub fn folder(name: &str, spec: &ChangeSpec) -> String {
    let usual = ChangeSpec::new(spec.kind, spec.extent);
    let mut folder = format!("{name}__{}__{}", spec.kind.name, spec.extent.name());
    for (key, value, usual) in [("share", spec.share, usual.share), ("at", spec.at, usual.at)] {
        if (value - usual).abs() > f64::EPSILON {
            folder.push_str(&format!("__{key}_{value}"));
        }
    }
    if let Some(column) = &spec.column {
        folder.push_str("__column_");
        folder.extend(column.chars().map(|letter| if letter.is_alphanumeric() || letter == '_' { letter } else { '-' }));
    }
    folder
}

/// Every kind in every extent of `extents`.
pub fn every(
    kinds: impl Iterator<Item = &'static crate::simulate::change::kinds::ChangeKind>,
    extents: &[Extent],
) -> Vec<ChangeSpec> {
    kinds.flat_map(|kind| extents.iter().map(move |&extent| ChangeSpec::new(kind, extent))).collect()
}

/// Writes a change into a copy of the whole log, line by line.
///
/// # Errors
/// A file that cannot be read, or what `write` says.
pub fn copy(
    log: &Log,
    settings: &ChangeSettings,
    change: &Change,
    write: &mut dyn FnMut(&[u8]) -> std::io::Result<()>,
) -> Result<u64, CopyError> {
    trial::copy(log, settings, change, begin(log, change.spec.at), write)
}

/// Why a changed log could not be written.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// The log could not be read.
    #[error(transparent)]
    Read(DrillError),
    /// The copy could not be written.
    #[error("{0}")]
    Write(std::io::Error),
}

/// The truth about a changed copy, in the format of the recorded traces: nobody in it is malicious.
pub fn truth(outcome: &ChangesOutcome, trial: &ChangeTrial, name: &str) -> serde_json::Value {
    let spec = serde_json::json!({ "kind": trial.change, "start": trial.begins, "features": trial.columns });
    serde_json::json!({
        "scenario": name,
        "model": outcome.model,
        "seed": outcome.seed,
        "malicious_ips": [],
        "malicious_clients": [],
        "shared_ips": [],
        "attacks": [],
        "drift": spec,
        "drifts": [spec],
        "change": {
            "name": trial.change,
            "extent": trial.extent,
            "share": trial.share,
            "small": trial.small || trial.extent == Extent::Some,
            "rows": trial.changed,
        },
        "expected_model_verdict": trial.expected.first(),
    })
}

/// A path as people read it.
pub fn shown(path: &Path) -> String {
    path.display().to_string()
}
