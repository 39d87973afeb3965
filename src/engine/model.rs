//! Judges the traffic of one model: takes queries in, gives verdict lines out.
//!
//! | file | what it does |
//! |---|---|
//! | this | what is done with a query, and when drift is evaluated |
//! | [`lines`] | what is said, and how it is put |
//! | [`status`] | state for metrics, pages and reports |
//! | [`snapshot`] | state as plain data |
//!
//! The order of work per query is the straight line itself: watermark → client → codes → distribution vote → structure →
//! detections → lines. Drift is evaluated every quarter of an hour of event time, *after* the suspects are known, so that a
//! campaign is not mistaken for a change of the world.

mod lines;
pub(super) mod snapshot;
mod status;

use std::collections::BTreeMap;

use super::settings::EngineConfig;
use crate::event::{Address, EventTime, Query};
use crate::hash;
use crate::judge::ablation::Ablation;
use crate::judge::client::{Client, Key};
use crate::judge::distribution::{Outcome, Population, SUSPICIOUS, Voter};
use crate::judge::drift::{self, Drift};
use crate::judge::shared_identity::SharedIdentities;
use crate::judge::structure::{Detection, Reason, Seen, Structure};
use crate::judge::{Family, FeatureDrift, Finding, SignalValue, Verdict};
use crate::outcome;
use crate::prefetch;
use crate::reference::Reference;
use crate::signal::boundary::Boundary;
use crate::signal::density::{Coder, Codes, Density};
use crate::signal::information::Regions;
use crate::signal::rate::percentile;
use crate::window::clients::{SlotRef, Table};
use crate::window::{Ring, Standing, Watermark};

/// Largest jump of event time that one event may cause, in seconds: two days bridge a weekend's pause of a log.
const MAX_JUMP_SECONDS: i64 = 2 * 86_400;
/// Event time before the first drift evaluation.
const FIRST_EVALUATION_SECONDS: i64 = 2 * 3600;
/// Votes before the first drift evaluation.
const MIN_VOTES: u64 = 200;
/// Queries of a client before its feature values are tallied.
const TALLY_FROM: u64 = 8;
/// Seconds without new evidence after which the model is no longer said to be probed.
const PROBING_SECONDS: i64 = 6 * 3600;
/// Quiet drift evaluations after which the model is no longer said to drift: two hours.
const DRIFT_RELEASE: u32 = 8;
/// Evidence that must remain against a client who breaks dependencies when its two most blamed features are left out: odds that
/// nobody calls chance, and far below what would accuse alone.
const ODD_ALL_OVER: f64 = 10.0;
/// A distribution alarm's most certain statement; arithmetic saturates beyond.
const MOST_CERTAIN: f64 = 0.999_999;

/// Counts of a quarter of an hour by feature and coarse code.
#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
struct ValuePane {
    counts: Vec<u32>,
}

/// A query under judgement.
#[derive(Clone, Copy)]
struct Asked<'a> {
    query: &'a Query,
    /// Who sent it.
    at: SlotRef,
    /// Event time of what is said about it: its own, or the watermark if it is late.
    now: EventTime,
    /// Whether it came behind the watermark.
    late: bool,
}

/// Members that were named, and when last, by case.
type Campaigns = BTreeMap<String, (usize, EventTime)>;

/// Everything known about one model.
#[derive(Clone, Debug)]
pub struct ModelEngine {
    name: String,
    salt: u64,
    reference: std::sync::Arc<Reference>,
    coder: Coder,
    codes: Codes,
    boundary: Boundary,
    density: Density,
    regions: Regions,
    masked: Vec<bool>,
    ablation: Ablation,
    watermark: Watermark,
    quarters: Ring<ValuePane>,
    clients: Table<Key, Client>,
    shared_identities: SharedIdentities,
    population: Population,
    structure: Structure,
    drift: Drift,
    next_evaluation: Option<EventTime>,
    detections: Vec<Detection>,
    drift_pending: bool,
    drift_quiet: u32,
    drifting: bool,
    /// Columns that drift (or that suspects move), and the kind of the change, as of the last evaluation.
    why: (Vec<FeatureDrift>, Vec<SignalValue>),
    probing_until: Option<EventTime>,
    said: Option<Finding>,
    queries: u64,
    votes: u64,
    late: u64,
    flagged: BTreeMap<&'static str, u64>,
    campaigns: Campaigns,
    pool_case: Option<(EventTime, String)>,
    rate_p95: f64,
    reference_entropy: f64,
}

// === impl ModelEngine ===

impl ModelEngine {
    /// SHA-256 of the reference.
    pub fn digest(&self) -> &str {
        &self.reference.digest
    }

    /// A judge for a reference.
    pub fn new(reference: std::sync::Arc<Reference>, config: &EngineConfig) -> Self {
        let coder = Coder::new(&reference);
        let masked = vec![false; reference.features.len()];
        let boundary = Boundary::new(&reference, &coder);
        let reference_entropy = Self::reference_entropy(&reference, &coder);
        Self {
            name: reference.model.clone(),
            salt: config.salt,
            density: Density::new(&reference, &coder, &boundary, &masked),
            boundary,
            regions: Regions::new(&reference, &coder, config.salt),
            masked,
            ablation: Ablation::default(),
            codes: Codes::default(),
            watermark: Watermark::new(i64::from(config.allowed_lateness_seconds), MAX_JUMP_SECONDS),
            quarters: Ring::new(24 * 4, 15 * 60),
            clients: Table::new(config.max_clients),
            shared_identities: SharedIdentities::default(),
            population: Population::new(config.alarms_per_client_day, config.salt),
            structure: Structure::new(&reference, &coder, config.structure()),
            drift: Drift::new(&reference, &coder),
            next_evaluation: None,
            detections: Vec::new(),
            drift_pending: false,
            drift_quiet: 0,
            drifting: false,
            why: Default::default(),
            probing_until: None,
            said: None,
            queries: 0,
            votes: 0,
            late: 0,
            flagged: BTreeMap::new(),
            campaigns: BTreeMap::new(),
            pool_case: None,
            rate_p95: 0.0,
            reference_entropy,
            coder,
            reference,
        }
    }

    /// Model name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Takes a query; returns what became of it and the client's gap.
    pub fn query(&mut self, query: &Query, out: &mut Vec<Verdict>) -> (outcome::Outcome, Option<f64>) {
        prefetch::slice(&query.row);
        match self.watermark.observe(query.time) {
            Standing::OnTime => {}
            Standing::Late => {
                self.late += 1;
                let mark = self.watermark.at().unwrap_or(query.time);
                self.late(query, mark, out);
                return (outcome::Outcome::Late { watermark: mark }, None);
            }
            Standing::FromTheFuture => return (outcome::Outcome::from_the_future(query.time), None),
        }
        self.advance(out);
        self.queries += 1;
        let sender = self.sender(query, query.time);
        self.coder.encode(&query.row, &mut self.codes);
        self.tally(query.time);
        let Some((at, account)) = sender else { return (outcome::Outcome::Accepted, None) };
        self.clients.get(at).into_iter().for_each(Client::prefetch_rows);
        self.structure.prepare(query, &self.codes, at, &self.clients);
        let gap = self.note(at, query);
        let asked = Asked { query, at, now: query.time, late: false };
        self.vote(&asked, out);
        self.search(&asked, account, out);
        (outcome::Outcome::Accepted, gap)
    }

    /// A query behind the watermark. Its windows are closed, so it is left out of them and of drift; but what it tells of its
    /// sender does not age, and whoever's log is shipped late must not be out of sight. Said about it is said now.
    fn late(&mut self, query: &Query, now: EventTime, out: &mut Vec<Verdict>) {
        let Some((at, account)) = self.sender(query, now) else { return };
        self.coder.encode(&query.row, &mut self.codes);
        self.structure.prepare(query, &self.codes, at, &self.clients);
        if let Some(client) = self.clients.get_mut(at) {
            client.queries += 1;
            client.information.note(&self.codes, &self.regions);
        }
        let asked = Asked { query, at, now, late: true };
        self.vote(&asked, out);
        self.search(&asked, account, out);
    }

    /// The client that sent a query, made if it is new, and the hash of its account; `None` if the log does not say who asked:
    /// many callers mixed into one would only look odd together.
    fn sender(&mut self, query: &Query, now: EventTime) -> Option<(SlotRef, u64)> {
        if query.address == Address::Unknown && query.account.is_empty() {
            return None;
        }
        let account = if query.account.is_empty() { 0 } else { hash::text(&query.account) };
        let key = Key { address: query.address, account };
        // Chaff must not make the judge forget whom it accused, nor may the accused fill its memory.
        let (flagged, held) = (&self.flagged, self.clients.len() as u64);
        let spare = |client: &Client| client.is_flagged() && flagged.values().sum::<u64>() * 2 <= held;
        let (at, fresh, forgotten) = self.clients.touch_sparing(&key, || Client::new(query, now), spare);
        if let Some(client) = self.clients.get(at) {
            client.prefetch();
        }
        if fresh {
            self.shared_identities.join(&key);
        }
        if let Some((gone, client)) = forgotten {
            self.forget(&gone, &client);
        }
        Some((at, account))
    }

    /// Event time has reached `at` everywhere.
    pub fn tick(&mut self, at: EventTime, out: &mut Vec<Verdict>) {
        self.watermark.tick(at);
        self.advance(out);
    }

    /// The input has ended: nothing can be late any more, so windows up to the newest event are complete.
    pub fn end(&mut self, out: &mut Vec<Verdict>) {
        self.watermark.complete();
        self.advance(out);
    }

    fn forget(&mut self, key: &Key, client: &Client) {
        self.shared_identities.leave(key, client.is_flagged());
        if let Some(flag) = &client.flag
            && let Some(count) = self.flagged.get_mut(flag.family.name())
        {
            *count = count.saturating_sub(1);
        }
    }

    fn tally(&mut self, at: EventTime) {
        let sizes = self.coder.sizes();
        if let Some(pane) = self.quarters.pane_mut(at) {
            if pane.counts.is_empty() {
                pane.counts = vec![0; sizes.iter().sum()];
            }
            let mut offset = 0;
            for (&code, &size) in self.codes.coarse.iter().zip(sizes) {
                pane.counts[offset + usize::from(code)] += 1;
                offset += size;
            }
        }
    }

    /// The classic signals of a client.
    fn note(&mut self, at: SlotRef, query: &Query) -> Option<f64> {
        let client = self.clients.get_mut(at)?;
        client.queries += 1;
        client.last = client.last.max(query.time);
        client.rate.add(query.time);
        client.information.note(&self.codes, &self.regions);
        if client.queries >= TALLY_FROM {
            client.values.add(&self.codes.coarse, self.coder.sizes());
        }
        client.gap.add(query.time)
    }

    fn vote(&mut self, asked: &Asked<'_>, out: &mut Vec<Verdict>) {
        let Asked { query, at, now, late } = *asked;
        let Some(client) = self.clients.get_mut(at) else { return };
        let voter = Voter { at, first: client.first, flagged: client.is_flagged() };
        let before = client.distribution.votes;
        let near = self.boundary.p(query.prediction, &self.codes);
        if !self.population.admits(client, &self.codes, near, now) {
            return;
        }
        self.coder.score(&query.row, &mut self.codes);
        client.distribution.keep_scores(&self.codes.normal);
        let cells = self.density.cells(&self.codes, near);
        let outcome = self.population.vote(&mut self.clients, voter, cells, now, self.drift_pending);
        self.votes += 1;
        if !late {
            self.drift.vote(now, at, &self.codes, query.prediction);
        }
        let Some(client) = self.clients.get_mut(at) else { return };
        if client.distribution.lowest.iter().any(|&cell| cell <= 1) || before == 0 {
            client.keep(query);
        }
        match outcome {
            Outcome::Accused { .. } if self.explained(at, self.population.member_threshold()) => {}
            Outcome::Accused { evidence, threshold } => {
                let Some(client) = self.clients.get(at) else { return };
                let votes = f64::from(client.distribution.votes);
                let family = Family::of_oddity(&client.distribution.detector);
                let confidence = (1.0 - votes / evidence.max(threshold)).clamp(0.5, MOST_CERTAIN);
                let active = self.population.pool_active(now);
                let case = if active { Some(self.wave_case(at)) } else { None };
                self.flag(at, asked, family, confidence, case.clone(), out);
                if let Some(case) = case {
                    self.name_wave(asked, &case, out);
                }
            }
            _ => self.maybe_suspicious(at, now, out),
        }
    }

    /// Whether one or two features explain what distribution evidence has against a client.
    fn explained(&mut self, at: SlotRef, enough: f64) -> bool {
        let Some(client) = self.clients.get_mut(at) else { return false };
        let state = &mut client.distribution;
        let explained = self.ablation.explain(
            state,
            &self.density,
            &self.masked,
            &self.reference,
            (&self.coder, &self.boundary),
            self.population.factors(),
            enough,
        );
        state.explained = Some((explained, state.votes));
        explained
    }

    fn search(&mut self, asked: &Asked<'_>, account: u64, out: &mut Vec<Verdict>) {
        let Asked { query, at, now, late } = *asked;
        let sender = (hash::mix2(1, address_hash(query.address)), account);
        let mut detections = std::mem::take(&mut self.detections);
        detections.clear();
        let seen = self.structure.step(query, at, sender, &mut self.clients, &mut detections);
        if let Some(client) = self.clients.get_mut(at)
            && matches!(seen, Seen::New(_))
            && client.structure.closeness() > 0.0
        {
            client.keep(query);
        }
        if let (Seen::New(row) | Seen::Before(row), false) = (seen, late) {
            self.drift.answer(now, at, self.structure.answer_mut(row), query.prediction);
        }
        for detection in &detections {
            let Some(client) = self.clients.get(detection.client) else { continue };
            if client.is_flagged() {
                continue;
            }
            // A dependency has two columns, and a client whose system changed one of them breaks it in every row.
            if detection.reason == Reason::BrokenDependency && self.explained(detection.client, ODD_ALL_OVER) {
                continue;
            }
            let confidence = (1.0 - (-detection.evidence).exp()).clamp(0.5, MOST_CERTAIN);
            let case = detection
                .component
                .and_then(|c| self.structure.components.get(c))
                .filter(|c| c.flagged.is_some())
                .map(|c| self.component_case(c));
            self.flag(detection.client, asked, detection.family, confidence, case.clone(), out);
            if let (Some(case), Reason::Campaign) = (case, detection.reason) {
                self.announce(now, &case, out);
            }
        }
        self.detections = detections;
    }

    /// Evaluates drift for every step that the watermark has passed.
    fn advance(&mut self, out: &mut Vec<Verdict>) {
        let Some(mark) = self.watermark.at() else { return };
        let mut next = *self.next_evaluation.get_or_insert_with(|| mark.plus_seconds(FIRST_EVALUATION_SECONDS));
        if mark < next {
            return;
        }
        // After a long pause there is nothing to evaluate in between.
        if mark.seconds_since(next) > 86_400.0 {
            next = mark.plus_seconds(-drift::STEP);
        }
        while mark >= next {
            if self.votes >= MIN_VOTES {
                self.evaluate(next, out);
            }
            next = next.plus_seconds(drift::STEP);
        }
        self.next_evaluation = Some(next);
    }

    fn evaluate(&mut self, now: EventTime, out: &mut Vec<Verdict>) {
        self.ask_for_explanations();
        let (population, clients) = (&self.population, &self.clients);
        let active = population.pool_active(now);
        let wave = population.pool_since.plus_seconds(-1800);
        let suspect = |at: SlotRef| {
            clients.get(at).is_none_or(|c| {
                let evidence = c.distribution.detector.total();
                let newcomer = population.is_newcomer(c.first);
                c.is_flagged()
                    || (evidence >= SUSPICIOUS && !c.distribution.is_explained())
                    || (active && newcomer && (evidence >= 4.0 || c.first >= wave))
            })
        };
        let probed = self.probing_until.is_some_and(|until| now < until);
        let finding = self.drift.evaluate(now, probed, suspect, |at| clients.get(at).map(|c| c.first));
        let attribution = self.drift.attribute(&finding, now, suspect);
        self.drift_pending = finding.pending;
        self.drift_quiet = if finding.pending || finding.concept() { 0 } else { self.drift_quiet + 1 };
        let found = !finding.drifted.is_empty() || finding.concept();
        // What is gone as soon as its makers are left out was never the world's doing.
        let unmasked = !finding.pending && !finding.suspects.is_empty();
        self.drifting = found || (self.drifting && self.drift_quiet < DRIFT_RELEASE && !unmasked);
        if found || !self.drifting {
            self.why = self.drift.reasons(&finding, attribution);
        }
        if found {
            self.mask(&finding.drifted);
            self.structure.drifted(&finding.drifted);
        }
        self.rate_p95 = self.rate_percentile(now);
        self.say(now, out);
    }

    /// Asks of every suspicious client whether one or two features explain it: then it belongs in the drift test.
    fn ask_for_explanations(&mut self) {
        let suspicious: Vec<SlotRef> = self
            .clients
            .iter()
            .filter(|(_, _, c)| !c.is_flagged() && c.distribution.detector.total() >= SUSPICIOUS)
            .filter(|(_, _, c)| c.distribution.explained.is_none_or(|(_, votes)| votes != c.distribution.votes))
            .map(|(at, _, _)| at)
            .collect();
        for at in suspicious {
            self.explained(at, SUSPICIOUS);
        }
    }

    /// Leaves drifting features out of the dependence statistics, when peers are not calm because of them.
    fn mask(&mut self, drifted: &[usize]) {
        let width = self.masked.len();
        let fresh: Vec<usize> = drifted.iter().copied().filter(|&j| j < width && !self.masked[j]).collect();
        let total = self.masked.iter().filter(|m| **m).count() + fresh.len();
        if fresh.is_empty() || self.population.calm() || total > (width / 2).max(1) {
            return;
        }
        fresh.iter().for_each(|&j| self.masked[j] = true);
        self.density = Density::new(&self.reference, &self.coder, &self.boundary, &self.masked);
        self.population.restart(&mut self.clients);
    }

    fn rate_percentile(&self, now: EventTime) -> f64 {
        let mut rates: Vec<f64> =
            self.clients.iter().map(|(_, _, c)| f64::from(c.rate.queries(now, 1))).filter(|&r| r > 0.0).collect();
        percentile(&mut rates, 0.95)
    }
}

fn address_hash(address: Address) -> u64 {
    match address {
        Address::Unknown => 0,
        Address::Ip(std::net::IpAddr::V4(v4)) => u64::from(v4.to_bits()),
        Address::Ip(std::net::IpAddr::V6(v6)) => {
            let bits = v6.to_bits();
            hash::mix2((bits >> 64) as u64, bits as u64)
        }
    }
}
