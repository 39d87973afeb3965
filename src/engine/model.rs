//! One model: queries in, verdict lines out. This file is the straight line itself.
//!
//! ```text
//! watermark → client → codes → evidence → detections → verdict lines
//! ```
//!
//! | file | what it holds |
//! |---|---|
//! | this | the line, and the drift test that event time brings |
//! | [`profile`] | what is made from the reference and never changes |
//! | [`row_statistics`] | density statistics under the mask of drifted features |
//! | [`windows`] | watermark, quarters of an hour, the clock of the drift test |
//! | [`callers`] | the clients, what they share, and who is flagged |
//! | [`confirmation`] | is the oddity of a client common to callers? |
//! | [`crowd`] | strangers, judged together |
//! | [`columns`] | columns that many callers write otherwise |
//! | [`held`] | accusations that are held back |
//! | [`anonymous`] | queries that do not say who asked |
//! | [`cases`] | case ids, campaigns that were announced |
//! | [`reasons`] | the signals of a verdict on a client |
//! | [`lines`] | how detections become verdict lines |
//! | [`unreadable`] | records that could not be read, as evidence about their senders |
//! | [`volume`] | callers that ask far more than others |
//! | [`status`] | state for metrics, pages and reports |
//! | [`snapshot`] | state as plain data |
//!
//! Distribution evidence is judged before structure evidence is asked: a verdict line shows what was known when it was given.
//! Drift is tested every quarter of an hour of event time, *after* the suspects are known, so that a campaign is not mistaken for
//! a change of the world.

mod anonymous;
mod callers;
mod cases;
mod columns;
mod confirmation;
mod crowd;
mod flagged;
mod held;
mod lines;
mod profile;
mod reasons;
mod row_statistics;
pub(super) mod snapshot;
mod status;
mod unreadable;
mod volume;
mod windows;

use std::collections::VecDeque;
use std::sync::Arc;

use super::settings::EngineConfig;
use crate::event::{Cell, EARLIEST, EventTime, Query};
use crate::judge::Family;
use crate::judge::Verdict;
use crate::judge::accusation_limit::AccusationLimit;
use crate::judge::arrivals::Arrivals;
use crate::judge::common_cause::CommonColumns;
use crate::judge::crowd::Crowd;
use crate::judge::distribution::{Population, SUSPICIOUS, VoteOutcome, Voter};
use crate::judge::drift::{Drift, DriftReasons};
use crate::judge::example_values::ExampleValues;
use crate::judge::model_state::{DriftTest, ModelEvent, ModelState};
use crate::judge::structure::{Detection, PreparedQuery, Reason, Seen, Sender, Structure};
use crate::judge::unreadable::UnreadableCallers;
use crate::judge::volume::Volume;
use crate::outcome::Outcome;
use crate::prefetch;
use crate::reference::Reference;
use crate::signal::codes::Codes;
use crate::window::clients::SlotRef;
use anonymous::Anonymous;
use callers::Callers;
use cases::Cases;
use confirmation::Confirmation;
use crowd::CrowdSample;
use held::Waiting;
use lines::Flagging;
use profile::Profile;
use row_statistics::RowStatistics;
use windows::{Arrival, Windows};

/// Votes before the first drift test: twice the fewest that a window is judged on, so that both windows say something.
const MIN_VOTES: u64 = 200;
/// Evidence that must remain against a client which breaks dependencies when its two most conspicuous features are left out. Chosen:
/// odds of ten to one are no chance, and lie far below what would accuse alone.
const BROAD_EVIDENCE: f64 = 10.0;
/// Evidence from which a newcomer is left out of the drift test during a burst of newcomers. Chosen: by Markov's inequality every
/// fourth honest newcomer reaches it at most, and the test can spare them.
const BURST_SUSPECT: f64 = 4.0;
/// Seconds before the start of a burst of newcomers from which on they are left out of the drift test: its first queries come before
/// the evidence of all newcomers rises.
const BURST_LEAD_SECONDS: i64 = 1800;
/// Bounds of a confidence that is given: a verdict of probing is never less sure than a coin, and arithmetic saturates beyond one in a
/// million.
const CONFIDENCE: (f64, f64) = (0.5, 0.999_999);

/// A query under judgement.
#[derive(Clone, Copy)]
struct Asked<'a> {
    query: &'a Query,
    /// The client that sent it.
    at: SlotRef,
    /// What its rows vote as: the client, or the minute of a population.
    voter: SlotRef,
    /// What its rows vote as in the drift test: the same, or the minute for a caller's first row where no caller stays.
    drift_voter: SlotRef,
    /// Event time of what is said about it: its own, or the watermark if it is late.
    now: EventTime,
    /// Whether it came behind the watermark.
    late: bool,
}

/// Queries and votes so far.
#[derive(Clone, Copy, Debug, Default, serde::Serialize, serde::Deserialize)]
struct Counts {
    /// Queries on time.
    queries: u64,
    /// Rows that voted.
    votes: u64,
    /// Queries behind the watermark.
    late: u64,
    /// Queries, on time or late, that do not say who asked.
    unnamed: u64,
}

/// What a log taught about one model, in one place: with structure evidence and drift, all that a snapshot holds.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
struct Memory {
    windows: Windows,
    callers: Callers,
    population: Population,
    common: CommonColumns,
    examples: ExampleValues,
    limit: AccusationLimit,
    /// Accusations that wait, the longest first.
    held: Vec<Waiting>,
    /// Clients whose distribution evidence waits for what other callers show, the longest first.
    unconfirmed: VecDeque<SlotRef>,
    /// Structure evidence that waits for the same, the longest first.
    early: VecDeque<Detection>,
    state: ModelState,
    reasons: DriftReasons,
    counts: Counts,
    cases: Cases,
    unreadable: UnreadableCallers,
    arrivals: Arrivals,
    anonymous: Anonymous,
    crowd: Crowd,
    volume: Volume,
}

/// Everything known about one model.
#[derive(Clone, Debug)]
pub struct ModelEngine {
    profile: Profile,
    statistics: RowStatistics,
    memory: Memory,
    structure: Structure,
    drift: Drift,
    /// Made from the others while a crowd stands.
    crowd_sample: Option<CrowdSample>,
    /// Buffer of codes, in use while a query is judged.
    codes: Codes,
    /// Buffer of detections, in use while a query is judged.
    detections: Vec<Detection>,
}

// === impl ModelEngine, the line ===

impl ModelEngine {
    /// An engine for a reference.
    pub fn new(reference: Arc<Reference>, config: &EngineConfig) -> Self {
        let profile = Profile::new(reference, config.salt);
        Self {
            statistics: RowStatistics::new(&profile),
            memory: Memory {
                windows: Windows::new(config.allowed_lateness_seconds),
                callers: Callers::new(config.max_clients),
                population: Population::new(config.alarms_per_client_day, config.salt),
                common: CommonColumns::new(profile.reference.features.len()),
                examples: ExampleValues::new(profile.reference.features.len()),
                limit: AccusationLimit::new(config.alarms_per_client_day),
                held: Vec::new(),
                unconfirmed: VecDeque::new(),
                early: VecDeque::new(),
                state: ModelState::default(),
                reasons: DriftReasons::default(),
                counts: Counts::default(),
                cases: Cases::default(),
                unreadable: UnreadableCallers::new(config.alarms_per_client_day, config.max_clients),
                arrivals: Arrivals::default(),
                anonymous: Anonymous::default(),
                crowd: Crowd::new(&profile.reference),
                volume: Volume::new(config.volume_alarms_per_client_day),
            },
            structure: Structure::new(&profile.reference, &profile.coder, config.structure()),
            drift: Drift::new(&profile.reference, &profile.coder),
            crowd_sample: None,
            codes: Codes::default(),
            detections: Vec::new(),
            profile,
        }
    }

    /// Copies the clients that a clone still has, too.
    pub fn unshare(&mut self) {
        self.memory.callers.clients.unshare();
    }

    /// An engine of the same reference that has seen nothing.
    pub fn fresh(&self, config: &EngineConfig) -> Self {
        Self::new(Arc::clone(&self.profile.reference), config)
    }

    /// Model name.
    pub fn name(&self) -> &str {
        &self.profile.reference.model
    }

    /// SHA-256 of the reference.
    pub fn digest(&self) -> &str {
        &self.profile.reference.digest
    }

    /// Takes a query; returns what became of it, and the seconds since the client's previous query.
    ///
    /// A query behind the watermark is left out of windows and of drift, since they are closed. What it tells of its sender does not
    /// age, and a client whose log is shipped late must not be out of sight: it is judged, and what is said about it is said now.
    pub fn query(&mut self, query: &Query, out: &mut Vec<Verdict>) -> (Outcome, Option<f64>) {
        prefetch::slice(&query.row);
        let arrival = self.memory.windows.arrival(query.time);
        let (now, late) = match arrival {
            Arrival::OnTime => (query.time, false),
            Arrival::Late { watermark } => (watermark, true),
            Arrival::FromTheFuture => {
                self.note_future(query, out);
                return (Outcome::from_the_future(query.time), None);
            }
        };
        let outcome = self.count(arrival, out);
        self.decide_shared(now);
        let named = self.memory.callers.sender(query, now);
        self.memory.counts.unnamed += u64::from(named.is_none());
        let sender = named.unwrap_or_else(|| self.memory.callers.anonymous(query, now));
        let mut codes = self.encode(&query.row);
        if !late {
            let coder = &self.profile.coder;
            let unknown = coder.unknown_values(&query.row, &codes);
            self.memory.windows.count(query.time, &codes.coarse, coder.sizes(), unknown);
        }
        let at = sender.client();
        let voter = if self.is_shared(at) { anonymous::voter(now) } else { at };
        let drift_voter = if self.is_passing(at) { anonymous::voter(now) } else { voter };
        let gap = self.judge(&Asked { query, at, voter, drift_voter, now, late }, sender, &mut codes, out);
        self.codes = codes;
        // Between the queries of many callers there is no gap that says anything.
        (outcome, gap.filter(|_| voter == at))
    }

    /// Encodes a row into the buffer of codes, which is given back after the query.
    fn encode(&mut self, row: &[Cell]) -> Codes {
        let mut codes = std::mem::take(&mut self.codes);
        self.profile.coder.encode(row, &mut codes);
        codes
    }

    /// Judges a query of a sender: evidence of its distribution, then of its structure. Returns the seconds since the client's
    /// previous query.
    fn judge(&mut self, asked: &Asked<'_>, sender: Sender, codes: &mut Codes, out: &mut Vec<Verdict>) -> Option<f64> {
        self.memory.callers.prefetch_rows(asked.at);
        self.note_arrival(asked);
        let sender =
            sender.established(self.memory.population.is_established(self.memory.callers.clients.get(asked.at), asked.now));
        let prepared = self.structure.prepare(asked.query, codes, sender, &self.memory.callers.clients);
        let is_start = !self.memory.population.is_warm(asked.now);
        self.structure.note_values(&prepared, asked.voter, is_start, &self.profile.reference);
        let gap = self.memory.callers.note(asked, codes, &self.profile);
        let counted = self.count_volume(asked, codes);
        let vote = self.vote(asked, codes);
        let voted = vote.is_some();
        if let Some(vote) = vote {
            self.act_on_vote(asked, vote, out);
        }
        // Rows that lost what told them apart are not the same row, so their answers are not compared.
        let is_known = self.profile.coder.unknown(codes).next().is_none();
        let seen = self.judge_structure(asked, prepared, is_known, out);
        self.decide_early(asked.now, Some(asked), out);
        // What a caller that does not stay repeats was somebody's vote before.
        let is_news = asked.drift_voter == asked.voter || matches!(seen, Seen::New(_));
        if voted && !asked.late && is_news {
            self.drift.vote(asked.now, asked.drift_voter, codes, asked.query.prediction);
        }
        if voted {
            self.judge_in_crowd(asked, codes, seen, out);
        } else {
            self.compare_with_crowd(asked, codes, seen);
        }
        if counted {
            self.judge_volume(asked, out);
        }
        gap
    }

    /// Whether a client that sends its first query is one of many that do not stay, as behind a privacy relay. In the drift test a row that
    /// is sent again and again would otherwise have a vote each time.
    fn is_passing(&self, at: SlotRef) -> bool {
        self.memory.arrivals.nobody_stays() && self.is_first_query(at)
    }

    /// Whether a client is there with the query that is being judged, and had sent none before.
    fn is_first_query(&self, at: SlotRef) -> bool {
        self.memory.callers.clients.get(at).is_some_and(|client| client.queries == 0)
    }

    /// Counts a query of a caller that is new, or of one that is known.
    fn note_arrival(&mut self, asked: &Asked<'_>) {
        let is_first = self.is_first_query(asked.at);
        if self.memory.arrivals.note(asked.now, is_first) {
            self.structure.set_newcomer_share(self.memory.arrivals.newcomer_share());
        }
    }

    /// Counts a query, and moves event time on if it is on time.
    fn count(&mut self, arrival: Arrival, out: &mut Vec<Verdict>) -> Outcome {
        if let Arrival::Late { watermark } = arrival {
            self.memory.counts.late += 1;
            return Outcome::Late { watermark };
        }
        self.advance(out);
        self.memory.counts.queries += 1;
        Outcome::Accepted
    }

    /// Says what follows from a vote.
    fn act_on_vote(&mut self, asked: &Asked<'_>, vote: VoteOutcome, out: &mut Vec<Verdict>) {
        match vote {
            VoteOutcome::Detected { threshold } => match self.confirm(asked.at, threshold, asked.now) {
                Confirmation::Stands(evidence) => self.flag_odd(asked, asked.at, evidence.max(threshold), out),
                Confirmation::Held => self.memory.population.held(&mut self.memory.callers.clients, asked.at, asked.now),
            },
            VoteOutcome::Counted => self.report_suspicion(asked, out),
        }
        self.confirm_waiting(asked, out);
    }

    /// Distribution evidence: lets the row vote. `None` if it says nothing new about its client.
    fn vote(&mut self, asked: &Asked<'_>, codes: &mut Codes) -> Option<VoteOutcome> {
        let Asked { query, at, voter: speaker, now, .. } = *asked;
        let Memory { callers, population, common, state, counts, anonymous, .. } = &mut self.memory;
        let client = callers.clients.get_mut(at)?;
        let voter = Voter { at, first: client.first, flagged: client.is_flagged() };
        let is_first = client.distribution.votes == 0;
        let near = self.profile.boundary.p(query.prediction, codes);
        let admitted = population.admits(client, codes, near, now)?;
        self.profile.coder.score(&query.row, codes);
        client.distribution.keep_scores(admitted, &codes.normal);
        let cells = self.statistics.cells(codes, near, &self.profile);
        let outcome = population.vote(&mut callers.clients, voter, cells, now, state.is_drift_pending());
        counts.votes += 1;
        if speaker != at {
            anonymous.count(now, cells.is_impossible());
        }
        let is_established = population.is_established(callers.clients.get(at), now);
        if is_established {
            if common.note(speaker, now, self.profile.coder.unknown(codes), !population.is_warm(now)) {
                self.leave_out_common();
            }
            self.keep_examples(at, query, codes);
        }
        let client = self.memory.callers.clients.get_mut(at)?;
        if is_first || client.distribution.is_odd() {
            client.evidence.keep(query);
        }
        Some(outcome)
    }

    /// Flags a client whose rows are odd, and the burst of newcomers that it belongs to, if there is one.
    fn flag_odd(&mut self, asked: &Asked<'_>, at: SlotRef, evidence: f64, out: &mut Vec<Verdict>) {
        let Some(client) = self.memory.callers.clients.get(at) else { return };
        let votes = f64::from(client.distribution.votes);
        let family = Family::of_oddity(&client.distribution.detector);
        let confidence = (1.0 - votes / evidence).clamp(CONFIDENCE.0, CONFIDENCE.1);
        let burst = self.memory.population.newcomer_burst_active(asked.now);
        let began = client.distribution.suspicious_since;
        let case = burst.then(|| self.burst_case(at));
        self.flag(asked.now, Some(asked), Flagging { at, family, confidence, case: case.clone(), began, waits: false }, out);
        if let Some(case) = case {
            self.flag_burst(asked, &case, out);
        }
    }

    /// Structure evidence: the row is compared with earlier rows, and what is detected is said. `is_known` if the reference knows every
    /// value of the row. Says whether the row was sent before.
    fn judge_structure(&mut self, asked: &Asked<'_>, prepared: PreparedQuery<'_>, is_known: bool, out: &mut Vec<Verdict>) -> Seen {
        let Asked { query, at, drift_voter, now, late, .. } = *asked;
        let mut detections = std::mem::take(&mut self.detections);
        detections.clear();
        let clients = &mut self.memory.callers.clients;
        let seen = self.structure.step(prepared, clients, &mut detections);
        if let Some(client) = clients.get_mut(at)
            && matches!(seen, Seen::New(_))
            && client.structure.proximity() > 0.0
        {
            client.evidence.keep(query);
        }
        if let (Seen::New(row) | Seen::Before(row), false, true) = (seen, late, is_known) {
            self.drift.answer(now, drift_voter, self.structure.answer_mut(row), query.prediction);
        }
        for detection in &detections {
            self.flag_detected(now, Some(asked), detection, out);
        }
        self.detections = detections;
        seen
    }

    /// Flags a client that structure evidence speaks against.
    fn flag_detected(&mut self, now: EventTime, asked: Option<&Asked<'_>>, detection: &Detection, out: &mut Vec<Verdict>) {
        if self.memory.callers.clients.get(detection.client).is_none_or(|client| client.is_flagged()) {
            return;
        }
        // A dependency has two columns, and a client whose system changed one of them breaks it in every row.
        if detection.reason == Reason::BrokenDependency && self.is_explained(detection.client, BROAD_EVIDENCE) {
            return;
        }
        let confidence = (1.0 - (-detection.evidence).exp()).clamp(CONFIDENCE.0, CONFIDENCE.1);
        let component = detection.component.and_then(|c| self.structure.components.get(c));
        let began = component.map(|component| component.since);
        let of_component = component.filter(|c| c.flagged.is_some()).map(|c| cases::of_component(&self.profile, c));
        let case = of_component.map(|case| self.case_of_component(detection.client, case));
        let flagging =
            Flagging { at: detection.client, family: detection.family, confidence, case: case.clone(), began, waits: true };
        // Of a client whose accusation waits this is asked when the wait is over.
        let waits = self.memory.callers.clients.get(detection.client).is_some_and(|client| client.counts_in_limit);
        if !waits && (self.is_explained_by_others(&flagging) || self.waits_for_callers(detection, began, now)) {
            return;
        }
        self.flag(now, asked, flagging, out);
        if let (Some(case), Reason::Campaign) = (case, detection.reason) {
            self.announce(now, &case, out);
        }
    }

    /// Whether the rows of others explain what structure evidence has against a client since it began; then it is evidence no more.
    fn is_explained_by_others(&mut self, flagging: &Flagging) -> bool {
        let Some(client) = self.memory.callers.clients.get_mut(flagging.at) else { return false };
        let explained = flagging.began.is_some_and(|began| self.structure.is_explained_now(client, flagging.at, began));
        if explained {
            client.structure.restart();
            client.counts_in_limit = false;
        }
        explained
    }

    /// Whether one or two features explain what distribution evidence has against a client: it falls below `enough` without them.
    fn is_explained(&mut self, at: SlotRef, enough: f64) -> bool {
        let Some(client) = self.memory.callers.clients.get_mut(at) else { return false };
        let state = &mut client.distribution;
        let explained = self.statistics.explain(state, &self.profile, self.memory.population.factors(), enough);
        state.explained = Some((explained, state.votes));
        explained
    }
}

// === impl ModelEngine, event time ===

impl ModelEngine {
    /// Event time has reached `at` everywhere.
    pub fn tick(&mut self, at: EventTime, out: &mut Vec<Verdict>) {
        self.memory.windows.tick(at);
        self.advance(out);
    }

    /// The input has ended: nothing can be late any more, so windows up to the newest event are complete.
    pub fn end(&mut self, out: &mut Vec<Verdict>) {
        self.memory.windows.complete();
        self.advance(out);
        if let Some(now) = self.memory.windows.watermark() {
            self.decide_early(now, None, out);
            self.decide_held(now, true, out);
            self.review_crowd(now, true, out);
            self.announce_rest(now, out);
        }
        self.judge_unreadable(true, out);
    }

    /// Tests drift at every step that the watermark has passed, and judges the senders of unreadable records.
    fn advance(&mut self, out: &mut Vec<Verdict>) {
        self.judge_unreadable(false, out);
        self.learn_volume(out);
        while let Some(step) = self.memory.windows.next_step() {
            self.decide_held(step, false, out);
            if self.memory.counts.votes >= MIN_VOTES {
                self.test_drift(step, out);
            }
        }
    }

    /// Tests drift in the windows that end at `now`, without the suspects, and reports the model's finding if it changed.
    fn test_drift(&mut self, now: EventTime, out: &mut Vec<Verdict>) {
        if self.memory.common.release() {
            self.memory.examples.retain(self.memory.common.common());
            self.leave_out_common();
        }
        self.ask_for_explanations();
        let Memory { callers, population, state, anonymous, .. } = &self.memory;
        // What does not say who asked is left out during a burst of newcomers that probes, as the newcomers are. Behind a privacy relay
        // it is where the burst lies.
        let is_burst = state.is_probed(now) && population.newcomer_burst_active(now);
        let burst_began = is_burst.then(|| population.newcomer_burst_since().plus_seconds(-BURST_LEAD_SECONDS));
        let suspect = |at| match anonymous::minute_of(at) {
            Some(minute) => anonymous.is_attacked(minute) || burst_began.is_some_and(|began| minute >= began),
            None => is_suspect(callers, population, at, now),
        };
        // A minute is no newcomer: what it holds comes from callers that nobody knows.
        let first = |at| anonymous::minute_of(at).map(|_| EARLIEST).or_else(|| callers.clients.get(at).map(|c| c.first));
        let finding = self.drift.evaluate(now, state.is_probed(now), suspect, first);
        let attribution = self.drift.attribute(&finding, now, suspect);
        let columns = self.column_changes();
        let drifts = finding.drifts() || Self::columns_have_changed(&columns, now);
        let changed = self.memory.state.on(ModelEvent::Tested(DriftTest { drifts, ..finding.event() }), now);
        if drifts || !self.memory.state.is_drifting() {
            self.memory.reasons = self.drift.reasons(&finding, attribution).with_columns(columns);
        }
        if finding.drifts() {
            self.mask(&finding.drifted);
            self.structure.drifted(&finding.drifted);
        }
        self.memory.windows.rate_p95 = self.memory.callers.rate_percentile(now);
        if let Some(finding) = changed {
            out.push(self.model_line(finding, now));
        }
    }

    /// Asks of every suspicious client whether one or two features explain it: then it belongs in the drift test.
    fn ask_for_explanations(&mut self) {
        let suspicious: Vec<SlotRef> = self
            .memory
            .callers
            .clients
            .iter()
            .filter(|(_, _, c)| !c.is_flagged() && c.distribution.detector.total() >= SUSPICIOUS)
            .filter(|(_, _, c)| c.distribution.explained.is_none_or(|(_, votes)| votes != c.distribution.votes))
            .map(|(at, _, _)| at)
            .collect();
        for at in suspicious {
            if self.reassess(at) >= SUSPICIOUS {
                self.is_explained(at, SUSPICIOUS);
            }
        }
    }

    /// Tells density and structure evidence which columns are common.
    fn leave_out_common(&mut self) {
        let columns = self.memory.common.common();
        self.statistics.set_common(columns, &self.profile);
        self.structure.set_common(columns, &self.profile.reference);
    }

    /// Leaves drifted features out of the density statistics if peers do not match the reference because of them.
    fn mask(&mut self, drifted: &[usize]) {
        if !self.memory.population.peers_match_reference() && self.statistics.mask(drifted, &self.profile) {
            self.memory.population.restart(&mut self.memory.callers.clients);
            self.crowd_sample = None;
        }
    }
}

/// Whether a client is left out of the drift test: it is forgotten, flagged, suspicious without an explanation, or came with a
/// burst of newcomers.
fn is_suspect(callers: &Callers, population: &Population, at: SlotRef, now: EventTime) -> bool {
    let Some(client) = callers.clients.get(at) else { return true };
    let evidence = client.distribution.detector.total();
    let with_burst = || {
        population.newcomer_burst_active(now)
            && population.is_newcomer(client.first)
            && (evidence >= BURST_SUSPECT || client.first >= population.newcomer_burst_since().plus_seconds(-BURST_LEAD_SECONDS))
    };
    client.is_flagged() || (evidence >= SUSPICIOUS && !client.distribution.is_explained()) || with_burst()
}

#[cfg(test)]
mod tests;
