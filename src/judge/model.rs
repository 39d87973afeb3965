//! Judges the traffic of one model: takes queries in, gives verdict lines out.
//!
//! The order of work per query is the straight line itself: watermark → client → codes → distribution vote → structure →
//! accusations → lines. Drift is evaluated every quarter of an hour of event time, *after* the suspects are known, so that a
//! campaign is not mistaken for a change of the world.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::budget::Budgets;
use super::campaign::Component;
use super::client::{Client, Flag, Key, blame, case_id};
use super::company::{Companies, Company, prefix_name};
use super::culprit::Culprits;
use super::distribution::{Outcome, Population, SUSPICIOUS, Voter};
use super::drift::{self, Drift, DriftState};
use super::settings::EngineConfig;
use super::status::{Disposition, ModelStatus};
use super::structure::{Accusation, Grounds, Seen, Structure, StructureState};
use super::{At, Family, Finding, Scope, SignalValue, Verdict};
use crate::event::{Address, EventTime, Query};
use crate::hash;
use crate::reference::Reference;
use crate::signal::density::{Coder, Codes, Density};
use crate::signal::information::Regions;
use crate::signal::rate::{percentile, surprise};
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
/// Share of the evidence of a wave's member that must remain without its two most blamed features.
const WAVE_SHARE: f64 = 0.1;
/// Evidence that must remain against a client who breaks dependencies when its two most blamed features are left out: odds that
/// nobody calls chance, and far below what would accuse alone.
const ODD_ALL_OVER: f64 = 10.0;
/// A distribution alarm's most certain statement; arithmetic saturates beyond.
const MOST_CERTAIN: f64 = 0.999_999;

/// Counts of one minute.
#[derive(Clone, Copy, Debug, Default, serde::Serialize, serde::Deserialize)]
struct Pane {
    queries: u64,
}

/// Counts of a quarter of an hour by feature and coarse code.
#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
struct ValuePane {
    counts: Vec<u32>,
}

/// Queries shown in a verdict on an account or a prefix: the first of each member, as many as of one client.
const COMPANY_TRAIL: usize = 12;

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

/// Flagged clients by family.
type ByFamily = Vec<(Family, u64)>;

/// Three numbers under a name: a drift's figures, or a signal's, as a snapshot keeps them (verdict lines round).
type Figures = Vec<(String, [f64; 3])>;

/// Signals that a verdict on the model may carry, to find their names again when a snapshot is read.
const SIGNALS: [&str; 6] =
    ["psi", "changed_answers", "vanishes_without_suspects", "moved_callers", "change_quarters", "psi_same_hour_yesterday"];

/// Members that were named, and when last, by case.
type Campaigns = BTreeMap<String, (usize, EventTime)>;

/// Everything known about one model.
#[derive(Clone, Debug)]
pub struct ModelJudge {
    name: String,
    salt: u64,
    reference: std::sync::Arc<Reference>,
    coder: Coder,
    codes: Codes,
    density: Density,
    regions: Regions,
    masked: Vec<bool>,
    culprits: Culprits,
    watermark: Watermark,
    minutes: Ring<Pane>,
    quarters: Ring<ValuePane>,
    clients: Table<Key, Client>,
    companies: Companies,
    population: Population,
    structure: Structure,
    drift: Drift,
    next_evaluation: Option<EventTime>,
    accusations: Vec<Accusation>,
    drift_pending: bool,
    drift_quiet: u32,
    drifting: bool,
    /// Columns that drift (or that suspects move), and the kind of the change, as of the last evaluation.
    why: (Vec<super::FeatureDrift>, Vec<SignalValue>),
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

/// A snapshot of a [`ModelJudge`], read back: windows and callers, evidence, what was said.
#[derive(Debug, Deserialize)]
pub struct ModelState(
    (Watermark, Ring<Pane>, Ring<ValuePane>, Table<Key, Client>, Companies),
    (Vec<bool>, Population, StructureState, DriftState),
    (Option<EventTime>, bool, u32, bool, Option<EventTime>, Option<Finding>),
    (Figures, Figures),
    (u64, u64, u64, f64),
    (ByFamily, Campaigns, Option<(EventTime, String)>),
);

// === impl ModelJudge ===

impl ModelJudge {
    /// Everything that is not made from the reference and the settings, for [`ModelJudge::restore`].
    pub fn snapshot(&self) -> impl Serialize + '_ {
        let flagged: Vec<(Family, u64)> =
            Family::ALL.iter().filter_map(|f| self.flagged.get(f.name()).map(|&count| (*f, count))).collect();
        (
            (&self.watermark, &self.minutes, &self.quarters, &self.clients, &self.companies),
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
    pub fn restore(&mut self, state: ModelState) {
        let ModelState(windows, evidence, said, (features, signals), counts, cases) = state;
        (self.watermark, self.minutes, self.quarters, self.clients, self.companies) = windows;
        let (masked, population, structure, drift) = evidence;
        if masked != self.masked {
            self.density = Density::new(&self.reference, &self.coder, &masked);
        }
        (self.masked, self.population) = (masked, population);
        self.structure.restore(structure);
        self.drift.restore(drift);
        (self.next_evaluation, self.drift_pending, self.drift_quiet, self.drifting, self.probing_until, self.said) = said;
        let known = |name: &str| SIGNALS.into_iter().find(|known| *known == name);
        self.why = (
            features
                .into_iter()
                .map(|(name, [psi, critical, psi_without_suspects])| super::FeatureDrift {
                    name,
                    psi,
                    critical,
                    psi_without_suspects,
                })
                .collect(),
            signals
                .into_iter()
                .filter_map(|(name, [value, reference, evidence])| {
                    known(&name).map(|name| SignalValue { name, value, reference, evidence })
                })
                .collect(),
        );
        let flagged;
        (self.queries, self.votes, self.late, self.rate_p95) = counts;
        (flagged, self.campaigns, self.pool_case) = cases;
        self.flagged = flagged.into_iter().map(|(family, count)| (family.name(), count)).collect();
    }

    /// SHA-256 of the reference.
    pub fn digest(&self) -> &str {
        &self.reference.digest
    }

    /// A judge for a reference.
    pub fn new(reference: std::sync::Arc<Reference>, config: &EngineConfig) -> Self {
        let coder = Coder::new(&reference);
        let masked = vec![false; reference.features.len()];
        let reference_entropy = reference_entropy(&reference, &coder);
        Self {
            name: reference.model.clone(),
            salt: config.salt,
            density: Density::new(&reference, &coder, &masked),
            regions: Regions::new(&reference, &coder, config.salt),
            masked,
            culprits: Culprits::default(),
            codes: Codes::default(),
            watermark: Watermark::new(i64::from(config.allowed_lateness_seconds), MAX_JUMP_SECONDS),
            minutes: Ring::new(24 * 60, 60),
            quarters: Ring::new(24 * 4, 15 * 60),
            clients: Table::new(config.max_clients),
            companies: Companies::default(),
            population: Population::new(config.alarms_per_client_day, config.salt),
            structure: Structure::new(&reference, config.salt, config.max_history, config.max_clients),
            drift: Drift::new(&reference, &coder),
            next_evaluation: None,
            accusations: Vec::new(),
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
    pub fn query(&mut self, query: &Query, out: &mut Vec<Verdict>) -> (Disposition, Option<f64>) {
        match self.watermark.observe(query.time) {
            Standing::OnTime => {}
            Standing::Late => {
                self.late += 1;
                let mark = self.watermark.at().unwrap_or(query.time);
                self.late(query, mark, out);
                return (Disposition::Late(mark), None);
            }
            Standing::FromTheFuture => return (Disposition::FromTheFuture, None),
        }
        self.advance(out);
        self.queries += 1;
        if let Some(pane) = self.minutes.pane_mut(query.time) {
            pane.queries += 1;
        }
        self.coder.encode(&query.row, &mut self.codes);
        self.tally(query.time);
        let Some((at, account)) = self.sender(query, query.time) else { return (Disposition::Accepted, None) };
        let gap = self.note(at, query);
        let asked = Asked { query, at, now: query.time, late: false };
        self.vote(&asked, out);
        self.search(&asked, account, out);
        (Disposition::Accepted, gap)
    }

    /// A query behind the watermark. Its windows are closed, so it is left out of them and of drift; but what it tells of its
    /// sender does not age, and whoever's log is shipped late must not be out of sight. Said about it is said now.
    fn late(&mut self, query: &Query, now: EventTime, out: &mut Vec<Verdict>) {
        let Some((at, account)) = self.sender(query, now) else { return };
        self.coder.encode(&query.row, &mut self.codes);
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
        let accused: u64 = self.flagged.values().sum();
        let spare = accused * 2 <= self.clients.len() as u64;
        let (at, fresh, forgotten) =
            self.clients.touch_sparing(&key, || Client::new(query, now), |client| spare && client.is_flagged());
        if let Some(client) = self.clients.get(at) {
            client.warm();
        }
        if fresh {
            self.companies.join(&key);
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
        self.companies.leave(key, client.is_flagged());
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
        let Some(client) = self.clients.get(at) else { return };
        let voter = Voter { at, first: client.first, flagged: client.is_flagged() };
        let before = client.distribution.votes;
        let (density, codes) = (&self.density, &self.codes);
        let outcome = self.population.vote(&mut self.clients, voter, codes, || density.cells(codes), now, self.drift_pending);
        if outcome == Outcome::NoVote {
            return;
        }
        self.votes += 1;
        if !late {
            self.drift.vote(now, at, &self.codes.coarse, query.prediction);
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
        let explained = self.culprits.explain(
            state,
            &self.density,
            &self.masked,
            &self.reference,
            &self.coder,
            self.population.factors(),
            enough,
        );
        state.explained = Some((explained, state.votes));
        explained
    }

    /// Case of the current wave of newcomers.
    fn wave_case(&mut self, at: SlotRef) -> String {
        let since = self.population.pool_since;
        if let Some((known, case)) = &self.pool_case
            && *known == since
        {
            return case.clone();
        }
        let case =
            self.clients.get(at).and_then(|c| c.trail.front()).map_or_else(String::new, |q| case_id(&self.name, self.salt ^ 7, q));
        self.pool_case = Some((since, case.clone()));
        case
    }

    /// Names the members of an alarmed wave of newcomers.
    fn name_wave(&mut self, asked: &Asked<'_>, case: &str, out: &mut Vec<Verdict>) {
        let since = self.population.pool_since.plus_seconds(-3600);
        let threshold = self.population.member_threshold();
        let members: Vec<SlotRef> = self
            .clients
            .iter()
            .filter(|(_, _, c)| {
                !c.is_flagged()
                    && c.first >= since
                    && self.population.is_newcomer(c.first)
                    && c.distribution.detector.total() >= threshold
            })
            .map(|(at, _, _)| at)
            .collect();
        for at in members {
            if self.explained(at, threshold * WAVE_SHARE) {
                continue;
            }
            let Some(state) = self.clients.get(at).map(|c| &c.distribution) else { continue };
            let family = Family::of_oddity(&state.detector);
            let confidence = (1.0 - f64::from(state.votes) / state.detector.total()).clamp(0.5, 0.999);
            self.flag(at, asked, family, confidence, Some(case.to_owned()), out);
        }
        self.announce(asked.now, case, out);
    }

    /// Says (again) who belongs to a case, when the number of its members has doubled.
    fn announce(&mut self, now: EventTime, case: &str, out: &mut Vec<Verdict>) {
        let members: Vec<(SlotRef, &Client)> = self
            .clients
            .iter()
            .filter(|(_, _, c)| c.flag.as_ref().is_some_and(|f| f.case == case))
            .map(|(at, _, c)| (at, c))
            .collect();
        let said = self.campaigns.get(case).map_or(1, |c| c.0);
        if members.len() < 2 || members.len() < 2 * said {
            return;
        }
        let addresses = self.accused_addresses(members.iter().map(|(_, c)| *c));
        let strongest = members.iter().max_by(|a, b| a.1.distribution.peak.total_cmp(&b.1.distribution.peak));
        let family = strongest.and_then(|(_, c)| c.flag.as_ref()).map_or(Family::Unknown, |f| f.family);
        let first = members.iter().filter_map(|(_, c)| c.trail.front()).min_by_key(|q| q.at);
        let line = Verdict {
            at: At(now),
            scope: Scope::Campaign,
            model: self.name.clone(),
            source_ip: None,
            source_prefix: None,
            client_id: None,
            verdict: Finding::Probing,
            family: Some(family),
            technique: family.techniques(),
            owasp: Some(family.owasp()),
            confidence: MOST_CERTAIN.min(0.999),
            case: Some(case.to_owned()),
            queries_seen: members.iter().map(|(_, c)| c.queries).sum(),
            first_query: first.map(reference_of),
            since: first.map(|q| q.at),
            members: addresses,
            features: Vec::new(),
            signals: vec![SignalValue {
                name: "campaign_members",
                value: members.len() as f64,
                reference: 1.0,
                evidence: members.iter().map(|(_, c)| c.distribution.peak.max(1.0).ln() + c.structure.peak).sum(),
            }],
            queries: members.iter().filter_map(|(_, c)| c.trail.front().cloned()).take(12).collect(),
        };
        self.campaigns.insert(case.to_owned(), (members.len(), now));
        if !line.members.is_empty() {
            out.push(line);
        }
    }

    fn search(&mut self, asked: &Asked<'_>, account: u64, out: &mut Vec<Verdict>) {
        let Asked { query, at, now, late } = *asked;
        let sender = (hash::mix2(1, address_hash(query.address)), account);
        let mut accusations = std::mem::take(&mut self.accusations);
        accusations.clear();
        let seen = self.structure.step(query, at, sender, &mut self.clients, &mut accusations);
        if let Some(client) = self.clients.get_mut(at)
            && matches!(seen, Seen::New(_))
            && client.structure.closeness() > 0.0
        {
            client.keep(query);
        }
        if let (Seen::New(row) | Seen::Before(row), false) = (seen, late) {
            self.drift.answer(now, at, self.structure.answer_mut(row), query.prediction);
        }
        for accusation in &accusations {
            let Some(client) = self.clients.get(accusation.client) else { continue };
            if client.is_flagged() {
                continue;
            }
            // A dependency has two columns, and a client whose system changed one of them breaks it in every row.
            if accusation.grounds == Grounds::BrokenDependency && self.explained(accusation.client, ODD_ALL_OVER) {
                continue;
            }
            let confidence = (1.0 - (-accusation.evidence).exp()).clamp(0.5, MOST_CERTAIN);
            let case = accusation
                .component
                .and_then(|c| self.structure.components.get(c))
                .filter(|c| c.flagged.is_some())
                .map(|c| component_case(&self.name, self.salt, c));
            self.flag(accusation.client, asked, accusation.family, confidence, case.clone(), out);
            if let (Some(case), Grounds::Campaign) = (case, accusation.grounds) {
                self.announce(now, &case, out);
            }
        }
        self.accusations = accusations;
    }

    /// Flags a client and says so.
    fn flag(
        &mut self,
        at: SlotRef,
        asked: &Asked<'_>,
        family: Family,
        confidence: f64,
        case: Option<String>,
        out: &mut Vec<Verdict>,
    ) {
        let now = asked.now;
        let signals = self.reasons(at, now);
        let Some(client) = self.clients.get_mut(at) else { return };
        if client.is_flagged() {
            return;
        }
        if at == asked.at {
            client.keep(asked.query);
        }
        let case = case.unwrap_or_else(|| client.trail.front().map_or_else(String::new, |q| case_id(&self.name, self.salt, q)));
        client.flag = Some(Flag { at: now, family, case: case.clone() });
        let accounts = self.companies.accounts_at(client.address);
        out.push(client_line(&self.name, now, client, accounts, Finding::Probing, Some(family), confidence, Some(case), signals));
        let key = Key { address: client.address, account: if client.account.is_empty() { 0 } else { hash::text(&client.account) } };
        *self.flagged.entry(family.name()).or_default() += 1;
        let tipped = self.companies.flag(&key);
        if let Some(company) = tipped.account {
            let same = |c: &Client| hash::text(&c.account) == key.account && !c.account.is_empty();
            let line = self.company_line(at, now, (family, confidence), "flagged_addresses_of_account", company, same);
            out.extend(line.map(|(line, client)| Verdict { client_id: Some(client.account.to_string()), ..line }));
        }
        if let Some((prefix, company)) = tipped.prefix {
            let near = |c: &Client| c.address.prefix() == Some(prefix);
            let line = self.company_line(at, now, (family, confidence), "flagged_addresses_in_prefix", company, near);
            out.extend(line.map(|(line, _)| Verdict { source_prefix: Some(prefix_name(prefix)), ..line }));
        }
        self.population.flagged(at);
        self.probing_until = Some(now.plus_seconds(PROBING_SECONDS));
        self.say(now, out);
    }

    /// A line that speaks of what flagged clients have in common, without naming it yet; `at` is the client that tipped it.
    fn company_line(
        &self,
        at: SlotRef,
        now: EventTime,
        (family, confidence): (Family, f64),
        name: &'static str,
        company: Company,
        belongs: impl Fn(&Client) -> bool,
    ) -> Option<(Verdict, &Client)> {
        let tipping = self.clients.get(at)?;
        let flagged: Vec<&Client> = self.clients.iter().map(|(_, _, c)| c).filter(|c| c.is_flagged() && belongs(c)).collect();
        let signals =
            vec![SignalValue { name, value: f64::from(company.flagged), reference: f64::from(company.members), evidence: 0.0 }];
        let case = tipping.flag.as_ref().map(|f| f.case.clone());
        let line = client_line(&self.name, now, tipping, 1, Finding::Probing, Some(family), confidence, case, signals);
        let first = flagged.iter().filter_map(|c| c.trail.front()).min_by_key(|q| q.at);
        let mut queries: Vec<_> = flagged.iter().filter_map(|c| c.trail.front().cloned()).collect();
        queries.sort_by_key(|q| (q.at, q.provenance));
        queries.truncate(COMPANY_TRAIL);
        let line = Verdict {
            source_ip: None,
            client_id: None,
            queries_seen: flagged.iter().map(|c| c.queries).sum(),
            first_query: first.map(reference_of),
            since: first.map(|q| q.at),
            members: self.accused_addresses(flagged.iter().copied()),
            queries,
            ..line
        };
        Some((line, tipping))
    }

    /// Addresses of flagged clients, in order, without those that other accounts share: they are not condemned.
    fn accused_addresses<'a>(&self, flagged: impl Iterator<Item = &'a Client>) -> Vec<String> {
        let alone = |c: &&Client| c.address != Address::Unknown && self.companies.accounts_at(c.address) <= 1;
        let addresses: std::collections::BTreeSet<Address> = flagged.filter(alone).map(|c| c.address).collect();
        addresses.iter().map(ToString::to_string).collect()
    }

    /// Says that a client is suspicious, once, well before it is flagged.
    fn maybe_suspicious(&mut self, at: SlotRef, now: EventTime, out: &mut Vec<Verdict>) {
        let Some(client) = self.clients.get(at) else { return };
        let evidence = client.distribution.detector.total();
        let said = client.suspicious;
        if client.is_flagged()
            || (said && evidence >= SUSPICIOUS)
            || (!said && evidence < self.population.member_threshold() * 10.0)
        {
            return;
        }
        let signals = self.reasons(at, now);
        let accounts = self.companies.accounts_at(client.address);
        let finding = if said { Finding::Benign } else { Finding::Suspicious };
        let Some(client) = self.clients.get_mut(at) else { return };
        client.suspicious = !said;
        let confidence = (1.0 - f64::from(client.distribution.votes) / evidence.max(1.0)).clamp(0.0, 0.999);
        out.push(client_line(&self.name, now, client, accounts, finding, None, confidence, None, signals));
    }

    /// Signals of a client, heaviest first.
    fn reasons(&self, at: SlotRef, now: EventTime) -> Vec<SignalValue> {
        let Some(client) = self.clients.get(at) else { return Vec::new() };
        let mut signals = Vec::with_capacity(14);
        let mut add = |name, value: f64, reference: f64, evidence: f64| {
            if value.is_finite() && reference.is_finite() && evidence.is_finite() {
                signals.push(SignalValue { name, value, reference, evidence });
            }
        };
        for (statistic, name) in crate::signal::density::NAMES.iter().enumerate() {
            let evidence = client.distribution.detector.of(statistic).max(1.0).ln();
            if evidence > 0.0 {
                add(name, client.distribution.exceedance(statistic), crate::signal::density::CUTS[2], evidence);
            }
        }
        if client.structure.peak > 0.0 {
            add("closeness_to_earlier_rows", client.structure.closeness(), 0.0, client.structure.closeness());
            add("machine_like_edits", client.structure.habits(), 0.0, client.structure.habits());
        }
        let hourly = f64::from(client.rate.queries(now, 1));
        let past = client.rate.own_past(now).unwrap_or(self.rate_p95).max(self.rate_p95);
        add("query_rate", hourly, self.rate_p95, surprise(hourly, past).min(3.0) * 0.1);
        if let (Some(mean), Some(variation)) = (client.gap.mean(), client.gap.variation()) {
            add("inter_query_gap_seconds", mean, 0.0, 0.0);
            add("gap_variation", variation, 1.0, 0.0);
        }
        if let Some(share) = client.gap.off_hours() {
            add("off_hours_share", share, 0.25, 0.0);
        }
        let neighbours = self.companies.neighbours(client.address);
        if neighbours.flagged > 0 {
            add("flagged_neighbours_in_prefix", f64::from(neighbours.flagged), f64::from(neighbours.members), 0.0);
        }
        add("information_budget", self.regions.ratio(&client.information), 1.0, 0.0);
        if let Some(covered) = self.regions.covered(&client.information) {
            add("regions_covered", covered, 0.0, 0.0);
        }
        if client.values.rows() >= 8 {
            add("feature_entropy", client.values.mean_entropy(self.coder.sizes()), self.reference_entropy, 0.0);
        }
        signals.sort_by(|a, b| b.evidence.total_cmp(&a.evidence));
        signals
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
        let finding = self.drift.evaluate(now, suspect, |at| clients.get(at).map(|c| c.first));
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
        self.density = Density::new(&self.reference, &self.coder, &self.masked);
        self.population.restart(&mut self.clients);
    }

    fn rate_percentile(&self, now: EventTime) -> f64 {
        let mut rates: Vec<f64> =
            self.clients.iter().map(|(_, _, c)| f64::from(c.rate.queries(now, 1))).filter(|&r| r > 0.0).collect();
        percentile(&mut rates, 0.95)
    }

    /// Says what is true of the model now, if it changed.
    fn say(&mut self, now: EventTime, out: &mut Vec<Verdict>) {
        let probing = self.probing_until.is_some_and(|until| now < until);
        let finding = match (self.drifting, probing) {
            (false, false) => Finding::Stable,
            (true, false) => Finding::Drift,
            (false, true) => Finding::Probing,
            (true, true) => Finding::DriftAndProbing,
        };
        if self.said == Some(finding) {
            return;
        }
        self.said = Some(finding);
        let (features, mut signals) = if finding == Finding::Stable { Default::default() } else { self.why.clone() };
        if probing {
            let flagged = self.clients.iter().filter(|(_, _, c)| c.is_flagged()).count();
            signals.push(SignalValue { name: "flagged_clients", value: flagged as f64, reference: 0.0, evidence: 0.0 });
        }
        out.push(Verdict {
            at: At(now),
            scope: Scope::Model,
            model: self.name.clone(),
            source_ip: None,
            source_prefix: None,
            client_id: None,
            verdict: finding,
            family: None,
            technique: &[],
            owasp: None,
            confidence: if finding == Finding::Stable { 0.95 } else { 0.999 },
            case: None,
            queries_seen: self.queries,
            first_query: None,
            since: None,
            members: Vec::new(),
            features,
            signals,
            queries: Vec::new(),
        });
    }

    /// State for metrics, pages and reports.
    pub fn status(&self) -> ModelStatus {
        let watermark = self.watermark.at().unwrap_or_default();
        let curious = Budgets { clients: &self.clients, companies: &self.companies, regions: &self.regions }.largest();
        ModelStatus {
            model: self.name.clone(),
            watermark,
            queries: self.queries,
            late: self.late,
            clients: self.clients.len() as u64,
            evicted_clients: self.clients.evicted(),
            verdict: self.said,
            flagged: self.flagged.clone(),
            campaigns: self.campaigns.values().filter(|(_, at)| watermark < at.plus_seconds(PROBING_SECONDS)).count() as u64,
            client_rate_p95: self.rate_p95,
            feature_entropy_ratio: self.entropy_ratio(),
            information_budget_ratio: curious.first().map_or(0.0, |most| most.ratio),
            curious,
            features: self.drift.features(),
            prediction: self.drift.prediction(),
        }
    }

    /// Entropy of the last hour's feature values over the reference's; 1 without traffic.
    fn entropy_ratio(&self) -> f64 {
        let sizes = self.coder.sizes();
        let mut sums = vec![0_u64; sizes.iter().sum()];
        for pane in self.quarters.window(3600) {
            sums.iter_mut().zip(&pane.counts).for_each(|(s, &c)| *s += u64::from(c));
        }
        let mut offset = 0;
        let mut total = 0.0;
        for &size in sizes {
            total += crate::signal::entropy::corrected(sums[offset..offset + size].iter().copied(), size);
            offset += size;
        }
        let mean = total / sizes.len().max(1) as f64;
        if sums.iter().all(|&s| s == 0) || self.reference_entropy <= 0.0 { 1.0 } else { mean / self.reference_entropy }
    }

    /// Memory held by clients and history: (clients, bytes of clients, rows of history, bytes of history).
    pub fn memory(&self) -> (usize, usize, usize, usize) {
        let (rows, bytes) = self.structure.memory();
        (self.clients.len(), self.clients.iter().map(|(_, _, c)| c.bytes()).sum(), rows, bytes)
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

fn reference_of(query: &super::QueryRef) -> String {
    if query.request_id.is_empty() {
        format!("{}:{}", query.provenance.partition, query.provenance.offset)
    } else {
        query.request_id.clone()
    }
}

fn component_case(model: &str, salt: u64, component: &Component) -> String {
    format!(
        "c-{:012x}",
        hash::mix2(hash::mix2(hash::text(model), salt), hash::mix2(component.first_row, component.since.micros() as u64))
            & 0xffff_ffff_ffff
    )
}

#[expect(clippy::too_many_arguments, reason = "one call site per finding; a struct would repeat the line's own fields")]
fn client_line(
    model: &str,
    at: EventTime,
    client: &Client,
    accounts: u32,
    verdict: Finding,
    family: Option<Family>,
    confidence: f64,
    case: Option<String>,
    signals: Vec<SignalValue>,
) -> Verdict {
    let (source_ip, client_id) = blame(client, accounts);
    Verdict {
        at: At(at),
        scope: Scope::Client,
        model: model.to_owned(),
        source_ip,
        source_prefix: None,
        client_id,
        verdict,
        family,
        technique: family.map_or(&[], Family::techniques),
        owasp: family.map(Family::owasp),
        confidence,
        case,
        queries_seen: client.queries,
        first_query: client.trail.front().map(reference_of),
        since: client.trail.front().map(|q| q.at),
        members: Vec::new(),
        features: Vec::new(),
        signals,
        queries: client.trail.iter().cloned().collect(),
    }
}

fn reference_entropy(reference: &Reference, coder: &Coder) -> f64 {
    let sum: f64 = reference
        .features
        .iter()
        .zip(coder.sizes())
        .map(|(feature, &size)| crate::signal::entropy::corrected(crate::reference::fit::coarse_counts(feature), size))
        .sum();
    sum / reference.features.len().max(1) as f64
}
