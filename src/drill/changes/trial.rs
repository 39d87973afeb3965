//! One change: made in the log line by line, judged, and scored.
//!
//! The lines before the change begins are read and not judged again, since the engine of the start has judged them. From there on
//! every line goes through the change and the user's decoder to the engine. A line that can no longer be read after the change is
//! counted.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::Serialize;

use super::{ChangeSettings, CopyError, shown};
use crate::decode::{Batch, Decoder};
use crate::drill::DrillError;
use crate::drill::baseline::Baseline;
use crate::drill::log::{Log, LogCaller, take_caller_away};
use crate::engine::{Engine, Outbox};
use crate::event::{Address, EventTime, Query};
use crate::judge::caller::Caller;
use crate::judge::{At, Finding, Verdict};
use crate::observer::{self, Observer, Original};
use crate::outcome::OutcomeCounts;
use crate::reference::Reference;
use crate::simulate::change::Extent;
use crate::simulate::change::rewriter::{Change, Rewriter};
use crate::source::Source as _;
use crate::source::file::FileSource;

/// Accused callers that are named in a report; the number is always exact.
const MAX_ACCUSED: usize = 20;

/// What a change led to.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct ChangeTrial {
    /// The kind.
    pub change: &'static str,
    /// What it is about.
    pub family: &'static str,
    /// Whether it is so small that nobody has to notice it.
    pub small: bool,
    /// Whether constants of the judge were chosen without it.
    pub held_out: bool,
    /// How far it reaches.
    pub extent: Extent,
    /// Share of the callers that change.
    pub share: f64,
    /// The columns that change.
    pub columns: Vec<String>,
    /// When it begins.
    pub begins: At,
    /// Rows that it changed.
    pub changed: u64,
    /// Messages that could no longer be read because of it.
    pub rejected: u64,
    /// Honest callers accused because of it.
    pub accused: u64,
    /// The first of them by name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub accused_names: Vec<String>,
    /// Callers that the log alone accuses from the beginning of the change on.
    pub flagged_before: u64,
    /// Of those, accused with the change as well.
    pub flagged_still: u64,
    /// What was said of the model, all of it together.
    pub model: Finding,
    /// What may be said of it; the first is what should be.
    pub expected: Vec<Finding>,
    /// Whether what was said may be said.
    pub right: bool,
    /// Seconds from the beginning of the change to the first verdict of drift.
    pub seconds_to_drift: Option<f64>,
    /// Seconds from the beginning of the change to the first honest caller accused.
    pub seconds_to_accusation: Option<f64>,
}

/// Where in the log a trial starts.
#[derive(Clone, Copy, Debug)]
pub struct ChangeStart<'a> {
    /// The log.
    pub log: &'a Log,
    /// The profile.
    pub reference: &'a Arc<Reference>,
    /// What the log says alone.
    pub baseline: &'a Baseline,
    /// An engine that has judged every event before `from`.
    pub engine: &'a Engine,
    /// First event that changes.
    pub from: usize,
    /// How the log is read.
    pub settings: &'a ChangeSettings,
}

/// Both findings together.
pub fn union(one: Finding, other: Finding) -> Finding {
    let has = |finding: Finding, part: Finding| finding == part || finding == Finding::DriftAndProbing;
    let part = |part| has(one, part) || has(other, part);
    match (part(Finding::Drift), part(Finding::Probing)) {
        (true, true) => Finding::DriftAndProbing,
        (true, false) => Finding::Drift,
        (false, true) => Finding::Probing,
        (false, false) => Finding::Stable,
    }
}

/// What the log alone says of the model from an instant on: the finding then, and all that follow.
pub fn model_alone(baseline: &Baseline, from: EventTime) -> Finding {
    let then = baseline.model.iter().rev().find(|(at, _)| *at < from).map_or(Finding::Stable, |(_, finding)| *finding);
    baseline.model.iter().filter(|(at, _)| *at >= from).fold(then, |all, (_, finding)| union(all, *finding))
}

/// What may be said of the model with a change, the best answer first: drift, beside the probing that the log has without it.
pub fn expected(alone: Finding, may_go_unnoticed: bool) -> Vec<Finding> {
    let best = union(alone, Finding::Drift);
    if may_go_unnoticed && alone != best { vec![best, alone] } else { vec![best] }
}

fn broken(error: impl std::fmt::Display) -> DrillError {
    DrillError::Reread(error.to_string())
}

/// Goes through the kept lines of the log; `each` gets the line as text, the record, and the first event that stands in it or behind it.
/// A line that could not be read, or is no text, comes without text.
fn lines(
    log: &Log,
    settings: &ChangeSettings,
    mut each: impl FnMut(Option<&str>, &crate::source::Record<'_>, usize),
) -> Result<(), DrillError> {
    let mut source = FileSource::open(&settings.events, settings.decode.max_message_bytes).map_err(broken)?;
    let mut next = 0;
    while next < log.len() || !log.lost_before(next).is_empty() {
        let Some(record) = source.next().map_err(broken)? else {
            if next == log.len() {
                break;
            }
            let what = format!("{} has fewer lines than before; drill a file that nobody writes to", shown(&settings.events));
            return Err(DrillError::Reread(what));
        };
        let line = record.provenance.offset;
        if next < log.len() && line == log.line(next) {
            each(std::str::from_utf8(record.payload).ok(), &record, next);
            while next < log.len() && log.line(next) == line {
                next += 1;
            }
        } else if log.lost_line(line).is_some() {
            each(None, &record, next);
        }
    }
    Ok(())
}

/// Runs a trial.
///
/// # Errors
/// A file that can no longer be read or has other lines than before.
pub fn run(start: ChangeStart<'_>, change: &Change) -> Result<ChangeTrial, DrillError> {
    let ChangeStart { log, reference, baseline, settings, from, .. } = start;
    let mut engine = start.engine.clone();
    let mut decoder = Decoder::new(&[Arc::clone(reference)], settings.decode.clone()).map_err(broken)?;
    let (mut batch, mut outbox, mut heard) = (Batch::default(), Outbox::default(), Baseline::default());
    let mut rewriter = Rewriter::new(change.clone());
    let mut rejected = 0;
    lines(log, settings, |text, record, event| {
        let changed = text.and_then(|text| rewriter.rewrite(text, event >= from));
        if event < from {
            return;
        }
        let payload = changed.as_deref().map_or(record.payload, str::as_bytes);
        batch.clear();
        if let Err(mut rejection) = decoder.decode(&crate::source::Record { payload, ..record.clone() }, &mut batch) {
            if log.facts.without_callers {
                take_caller_away(&mut rejection);
            }
            rejected += u64::from(text.is_some());
            let (provenance, original) = (&record.provenance, Original::default());
            let Ok(()) = observer::reject(&mut engine, provenance, &rejection, original, &mut outbox, &mut Heard(&mut heard));
            return;
        }
        for query in batch.queries() {
            let query = if log.facts.without_callers { &without_caller(query) } else { query };
            let Ok(()) = observer::judge(&mut engine, query, Original::default(), &mut outbox, &mut Heard(&mut heard));
        }
    })?;
    let Ok(()) = observer::end(&mut engine, &OutcomeCounts::default(), &mut outbox, &mut Heard(&mut heard));
    Ok(score(log, baseline, change, from, &heard, &Counted { changed: rewriter.changed(), rejected }))
}

/// A query of nobody in particular.
fn without_caller(query: &Query) -> Query {
    Query { address: Address::Unknown, account: "".into(), ..query.clone() }
}

/// Takes the verdicts of a trial as the baseline takes those of the log, without its table of events.
struct Heard<'a>(&'a mut Baseline);

impl Observer for Heard<'_> {
    type Error = std::convert::Infallible;

    fn verdict(&mut self, verdict: &Verdict) -> Result<(), Self::Error> {
        self.0.verdict(verdict)
    }
}

struct Counted {
    changed: u64,
    rejected: u64,
}

/// Whether a verdict accuses somebody of its own. One on an account that the log knows at addresses lists flagged addresses and
/// accuses nobody else, so it is not counted beside them.
fn accuses(log: &Log, caller: &Caller) -> bool {
    let at_an_address = |who: &LogCaller| who.address != Address::Unknown && caller.client_id.as_deref() == Some(&*who.account);
    caller.source_ip.is_some() || !log.callers.iter().any(at_an_address)
}

/// What became of a change.
fn score(log: &Log, baseline: &Baseline, change: &Change, from: usize, heard: &Baseline, counted: &Counted) -> ChangeTrial {
    let begins = log.time(from);
    let spec = &change.spec;
    let (mut names, mut first) = (BTreeSet::new(), None::<EventTime>);
    for (caller, flagged) in heard.flagged.iter().filter(|(caller, _)| accuses(log, caller) && !baseline.accuses(caller)) {
        first = Some(first.map_or(flagged.at.0, |first| first.min(flagged.at.0)));
        names.insert(caller.to_string());
    }
    let later = || baseline.flagged.iter().filter(|(caller, flagged)| accuses(log, caller) && flagged.at.0 >= begins);
    let still = later().filter(|(caller, _)| heard.accuses(caller)).count() as u64;
    let alone = model_alone(baseline, begins);
    let then = baseline.model.iter().rev().find(|(at, _)| *at < begins).map_or(Finding::Stable, |(_, finding)| *finding);
    let model = heard.model.iter().fold(then, |all, (_, finding)| union(all, *finding));
    let expected = expected(alone, spec.may_go_unnoticed());
    let drift = heard.model.iter().find(|(_, finding)| union(*finding, Finding::Drift) == *finding);
    let seconds = |at: EventTime| at.seconds_since(begins).max(0.0);
    ChangeTrial {
        change: spec.kind.name,
        family: spec.kind.family.name(),
        small: spec.kind.small,
        held_out: spec.kind.held_out,
        extent: spec.extent,
        share: spec.share,
        columns: change.column_names(),
        begins: At(begins),
        changed: counted.changed,
        rejected: counted.rejected,
        accused: names.len() as u64,
        accused_names: names.into_iter().take(MAX_ACCUSED).collect(),
        flagged_before: later().count() as u64,
        flagged_still: still,
        model,
        right: expected.contains(&model),
        expected,
        seconds_to_drift: drift.map(|(at, _)| seconds(*at)),
        seconds_to_accusation: first.map(seconds),
    }
}

/// Writes every line of the file, those of kept events as the change makes them; returns how many rows it changed.
pub(super) fn copy(
    log: &Log,
    settings: &ChangeSettings,
    change: &Change,
    from: usize,
    write: &mut dyn FnMut(&[u8]) -> std::io::Result<()>,
) -> Result<u64, CopyError> {
    let read = |error: crate::source::file::FileError| CopyError::Read(broken(error));
    let mut source = FileSource::open(&settings.events, settings.decode.max_message_bytes).map_err(read)?;
    let mut rewriter = Rewriter::new(change.clone());
    let first = log.line(from);
    while let Some(record) = source.next().map_err(read)? {
        let changed =
            std::str::from_utf8(record.payload).ok().and_then(|text| rewriter.rewrite(text, record.provenance.offset >= first));
        write(changed.as_deref().map_or(record.payload, str::as_bytes)).and_then(|()| write(b"\n")).map_err(CopyError::Write)?;
    }
    Ok(rewriter.changed())
}
