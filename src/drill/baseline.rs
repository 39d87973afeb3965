//! The log as it is, judged before anything is injected.
//!
//! A caller that is flagged here is a real attacker or a false alarm. The drill cannot know which. It lists these callers, keeps
//! their rows from the surrogate, and never counts them as found or as an alarm that an injected attack caused.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::DrillError;
use super::log::Log;
use crate::engine::{Engine, EngineConfig, ModelStatus, Outbox};
use crate::event::{EventTime, Query};
use crate::html::judged;
use crate::judge::caller::Caller;
use crate::judge::{At, Family, Finding, Scope, Verdict};
use crate::observer::{self, ObservedRecord, Observer, Original};
use crate::outcome::{Outcome, OutcomeCounts};
use crate::reference::Reference;

/// Events between two reports of progress. Chosen: some reports a second, at no cost that shows.
const PROGRESS_EVERY: usize = 1024;

/// A caller that is flagged without anything injected.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Flagged {
    /// Who, as a verdict names it.
    pub who: String,
    /// When.
    pub at: At,
    /// Shape of the probing.
    pub family: &'static str,
    /// The heaviest signal.
    pub signal: &'static str,
    /// Its queries up to then.
    pub queries_seen: u64,
}

/// What the engine says of the log alone.
#[derive(Clone, Debug, Default)]
pub struct Baseline {
    /// Everybody flagged, by who they are.
    pub flagged: BTreeMap<Caller, Flagged>,
    /// Addresses that campaign lines name.
    pub members: BTreeSet<String>,
    /// Callers that are suspicious because most of their records cannot be read, as in a replay; no accusation.
    pub unreadable: BTreeSet<Caller>,
    /// What was said of the model, in order.
    pub model: Vec<(EventTime, Finding)>,
    /// Whether each event was accepted (not late, not from the future).
    pub accepted: Vec<bool>,
    /// Event time after each event: the newest accepted one so far.
    pub clock: Vec<EventTime>,
    /// First and last accepted event; none if nothing was accepted.
    pub span: Option<(EventTime, EventTime)>,
    /// Clients that the engine forgot to keep within its memory.
    pub evicted: u64,
    /// What the engine could not judge of the log alone, in sentences.
    pub not_judged: Vec<String>,
}

/// An engine for one model.
///
/// # Errors
/// Settings out of range.
fn engine(reference: &Arc<Reference>, config: &EngineConfig) -> Result<Engine, DrillError> {
    Engine::new(config.clone(), vec![Arc::clone(reference)]).map_err(|error| DrillError::Settings(error.to_string()))
}

/// A blank query of the log's model.
pub fn blank(log: &Log) -> Query {
    Query { model: log.model.clone(), ..Query::default() }
}

/// An engine that goes through a log, from instant to instant; a trial starts from a copy of it.
pub(super) struct Playback<'a> {
    log: &'a Log,
    /// The engine, which has judged every event before `next`.
    pub(super) engine: Engine,
    /// The next event.
    pub(super) next: usize,
    query: Query,
    outbox: Outbox,
}

/// Whom a verdict of probing speaks of, if it is one on a caller. A verdict on a whole prefix repeats what was said of its
/// addresses, and accuses no other caller.
pub fn named(verdict: &Verdict) -> Option<Caller> {
    let probing = verdict.scope == Scope::Client && verdict.verdict == Finding::Probing && verdict.source_prefix.is_none();
    probing.then(|| caller(verdict.source_ip.clone(), verdict.client_id.clone()))
}

/// Whether a finding about a model says that somebody probes it.
pub(super) const fn says_probing(finding: Finding) -> bool {
    matches!(finding, Finding::Probing | Finding::DriftAndProbing)
}

/// A caller as verdicts name it.
pub fn caller(source_ip: Option<String>, client_id: Option<String>) -> Caller {
    Caller { source_ip, client_id, source_prefix: None }
}

// === impl Playback ===

impl<'a> Playback<'a> {
    /// At the beginning of a log.
    ///
    /// # Errors
    /// Settings out of range.
    pub(super) fn new(log: &'a Log, reference: &Arc<Reference>, config: &EngineConfig) -> Result<Self, DrillError> {
        Ok(Self { log, engine: engine(reference, config)?, next: 0, query: blank(log), outbox: Outbox::default() })
    }

    /// Judges events as long as `goes_on` says so of the next one, up to the end of the log.
    pub(super) fn judge_while(&mut self, goes_on: impl Fn(usize) -> bool) {
        while self.next < self.log.len() && goes_on(self.next) {
            let Ok(()) = self.log.judge_lost(self.next, &mut self.engine, &mut self.outbox, &mut ());
            self.log.fill(self.next, &mut self.query);
            let Ok(()) = observer::judge(&mut self.engine, &self.query, Original::default(), &mut self.outbox, &mut ());
            self.next += 1;
        }
    }
}

// === impl Baseline ===

impl Baseline {
    /// Judges the whole log; `progress` is called with the number of events done.
    ///
    /// # Errors
    /// Settings out of range.
    pub fn of(
        log: &Log,
        reference: &Arc<Reference>,
        config: &EngineConfig,
        mut progress: impl FnMut(usize),
    ) -> Result<Self, DrillError> {
        let mut engine = engine(reference, config)?;
        let mut outbox = Outbox::default();
        let mut query = blank(log);
        let mut baseline =
            Self { accepted: Vec::with_capacity(log.len()), clock: Vec::with_capacity(log.len()), ..Self::default() };
        for event in 0..log.len() {
            let Ok(()) = log.judge_lost(event, &mut engine, &mut outbox, &mut baseline);
            log.fill(event, &mut query);
            let Ok(()) = observer::judge(&mut engine, &query, Original::default(), &mut outbox, &mut baseline);
            if event % PROGRESS_EVERY == 0 {
                progress(event);
            }
        }
        let Ok(()) = log.judge_lost(log.len(), &mut engine, &mut outbox, &mut baseline);
        let Ok(()) = observer::end(&mut engine, &OutcomeCounts::default(), &mut outbox, &mut baseline);
        Ok(baseline)
    }

    /// Notes what became of the next event of the log.
    fn count(&mut self, query: &Query, accepted: bool) {
        if accepted {
            let (first, last) = self.span.unwrap_or((query.time, query.time));
            self.span = Some((first.min(query.time), last.max(query.time)));
        }
        self.accepted.push(accepted);
        self.clock.push(self.span.map_or(query.time, |(_, last)| last));
    }

    fn take(&mut self, verdict: &Verdict) {
        match verdict.scope {
            Scope::Model => self.model.push((verdict.at.0, verdict.verdict)),
            Scope::Campaign if verdict.verdict == Finding::Probing => self.members.extend(verdict.members.iter().cloned()),
            _ => {}
        }
        if verdict.verdict == Finding::Suspicious && verdict.family == Some(Family::Unreadable) {
            self.unreadable.insert(Caller::of(verdict));
        }
        if let Some(caller) = named(verdict) {
            let flagged = Flagged {
                who: caller.to_string(),
                at: verdict.at,
                family: verdict.family.map_or("unknown", crate::judge::Family::name),
                signal: verdict.signals.first().map_or("", |signal| signal.name),
                queries_seen: verdict.queries_seen,
            };
            self.flagged.entry(caller).or_insert(flagged);
        }
    }

    /// Whether the log itself already accuses this caller, or its address.
    pub fn accuses(&self, caller: &Caller) -> bool {
        let known = |source_ip: &Option<String>, client_id: &Option<String>| {
            self.flagged.contains_key(&self::caller(source_ip.clone(), client_id.clone()))
        };
        known(&caller.source_ip, &caller.client_id)
            || (caller.source_ip.is_some() && known(&caller.source_ip, &None))
            || (caller.client_id.is_some() && known(&None, &caller.client_id))
            || caller.source_ip.as_ref().is_some_and(|ip| self.members.contains(ip))
    }

    /// Whether the log alone is said to be probed at an instant.
    pub fn model_is_probed_at(&self, at: EventTime) -> bool {
        self.model.iter().take_while(|(said, _)| *said <= at).last().is_some_and(|(_, finding)| says_probing(*finding))
    }

    /// Since when the log alone is said to be probed for the first time; none if it never is.
    pub fn model_probed_since(&self) -> Option<EventTime> {
        self.model.iter().find(|(_, finding)| says_probing(*finding)).map(|(at, _)| *at)
    }

    /// Number of events that the engine took into account.
    pub fn accepted_events(&self) -> u64 {
        self.accepted.iter().filter(|accepted| **accepted).count() as u64
    }
}

impl Observer for Baseline {
    type Error = Infallible;

    fn record(&mut self, record: &ObservedRecord<'_>) -> Result<(), Infallible> {
        if let Some(query) = record.query {
            self.count(query, *record.outcome == Outcome::Accepted);
        }
        Ok(())
    }

    fn verdict(&mut self, verdict: &Verdict) -> Result<(), Infallible> {
        self.take(verdict);
        Ok(())
    }

    fn status(&mut self, models: &[ModelStatus], _counts: &OutcomeCounts, _elapsed: Duration) -> Result<(), Infallible> {
        self.evicted = models.first().map_or(0, |model| model.evicted_clients);
        self.not_judged = models.first().map(|model| judged::open(&model.judged)).unwrap_or_default();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_is_accused_by_its_address_by_its_account_or_as_a_member_of_a_campaign() {
        let flagged = |source_ip: Option<&str>, client_id: Option<&str>| {
            let caller = caller(source_ip.map(str::to_owned), client_id.map(str::to_owned));
            let one =
                Flagged { who: caller.to_string(), at: At(EventTime::default()), family: "grid", signal: "", queries_seen: 1 };
            Baseline { flagged: BTreeMap::from([(caller, one)]), ..Baseline::default() }
        };
        let who = caller(Some("192.0.2.1".into()), Some("a".into()));
        assert!(flagged(Some("192.0.2.1"), None).accuses(&who));
        assert!(flagged(None, Some("a")).accuses(&who));
        assert!(flagged(Some("192.0.2.1"), Some("a")).accuses(&who));
        assert!(Baseline { members: BTreeSet::from(["192.0.2.1".to_owned()]), ..Baseline::default() }.accuses(&who));
        assert!(!flagged(Some("192.0.2.1"), Some("b")).accuses(&who), "another account at the same address");
        assert!(!flagged(Some("192.0.2.2"), None).accuses(&who) && !Baseline::default().accuses(&who));
    }
}
