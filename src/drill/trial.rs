//! One trial: one attack, one delivery, injected once, judged by the engine, and scored.
//!
//! The engine is a clone of one that has judged the log up to the instant of injection. A full replay
//! of the copy with the attack would reach the same state: the engine's state is a function of its input. The trial then goes on through the log,
//! injected queries sorted in by time, until [`GRACE_SECONDS`] after the attack's last query. What the log holds later is not
//! judged again. No two attacks share a trial, so none can help find another.
//!
//! An attacker with rotating addresses is also found when a campaign is declared whose queries include one of his: a name says little
//! about somebody who never uses it twice.
//!
//! A log without callers has nobody to name. There an attack is found when the model is said to be probed, and is not without the
//! attack.
//!
//! A verdict counts as having named an attacker when it names its address (its own, never a NAT's), its account, or the
//! account at the address. Any other probing verdict, unless the log alone gives it too, accuses an honest caller.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;

use serde::Serialize;

use super::baseline::{Baseline, blank, caller, named, says_probing};
use super::injection::{Delivery, InjectedQuery, InjectedRow, Senders};
use super::log::{Log, LogCaller};
use crate::engine::{Engine, Outbox};
use crate::event::{Address, Cell, EventTime, Prediction, Query};
use crate::judge::caller::Caller;
use crate::judge::{At, Finding, Scope, Verdict};
use crate::observer::{self, Observer, Original};
use crate::simulate::attack::AttackKind;
use crate::simulate::callers::after;

/// Event time that goes on after an attack's last query: two evaluations of drift, and time for a campaign to be pieced together.
pub const GRACE_SECONDS: f64 = 1800.0;
/// Where an injected query lies: on no line of the log. No verdict of a drill is shown to anybody.
const INJECTED: i64 = i64::MAX;
/// Accused callers that are named in a report; the number is always exact.
const MAX_ACCUSED: usize = 20;

/// A recorded attack: what it asked and what it was told.
#[derive(Clone, Debug, Default)]
pub struct RecordedAttack {
    /// Rows, in order.
    pub rows: Vec<Vec<Cell>>,
    /// The surrogate's answers.
    pub answers: Vec<Prediction>,
}

/// What became of one injected attack.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Trial {
    /// The attack.
    pub family: &'static str,
    /// The delivery, in words.
    pub delivery: String,
    /// Number of the repeat; repeats differ in instant, rows and senders.
    pub repeat: u32,
    /// When its first query was injected.
    pub planted: At,
    /// Queries of the attack's own, cover not counted.
    pub queries: u64,
    /// Callers it used; none in a log without callers.
    pub callers: u64,
    /// Of those, named.
    pub named: u64,
    /// Own queries up to the first verdict that named any of its callers; none if there was none. In a log without callers, up to the
    /// first verdict that the model is probed.
    pub queries_to_detection: Option<u64>,
    /// Own queries up to the first verdict that the model is probed, which the log alone does not get; none if there was none.
    pub queries_to_model_verdict: Option<u64>,
    /// Seconds from its first query to that verdict.
    pub seconds_to_detection: Option<f64>,
    /// Share of its own queries that were answered before their caller had been named, 0 to 1: what would have
    /// leaked from a service that shuts out every named caller. In a log without callers, before it was found.
    pub leaked: f64,
    /// The shape that the first verdict gave it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub called: Option<&'static str>,
    /// Honest callers accused because of it.
    pub accused: u64,
    /// The first of them by name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub accused_names: Vec<String>,
    /// Events of the log that the trial judged.
    pub log_events: u64,
}

/// Where in the log and with what a trial starts.
#[derive(Clone, Copy, Debug)]
pub struct TrialStart<'a> {
    /// The log.
    pub log: &'a Log,
    /// What it says alone.
    pub baseline: &'a Baseline,
    /// An engine that has judged every event before `next`.
    pub engine: &'a Engine,
    /// First event that it has not judged.
    pub next: usize,
}

/// An attack, ready to be injected.
#[derive(Debug)]
pub struct InjectedAttack<'a> {
    /// Which.
    pub kind: AttackKind,
    /// How it arrives.
    pub delivery: Delivery,
    /// Number of the repeat.
    pub repeat: u32,
    /// What it asks, and what it is told.
    pub recording: &'a RecordedAttack,
    /// From whom.
    pub senders: Vec<LogCaller>,
    /// When, in order.
    pub queries: Vec<InjectedQuery>,
}

/// When an attack was found.
#[derive(Clone, Copy, Debug)]
struct Detection {
    /// The attack's own queries by then.
    queries: u64,
    at: EventTime,
    /// The shape that it was given.
    family: Option<crate::judge::Family>,
}

struct TrialScore<'a> {
    baseline: &'a Baseline,
    /// Callers of the attack by what a verdict may call them.
    attackers: BTreeMap<Caller, Vec<usize>>,
    named: Vec<bool>,
    sent: u64,
    first: Option<Detection>,
    /// The first verdict that the model is probed, if the log alone did not get it.
    model: Option<Detection>,
    from: Senders,
    accused: BTreeSet<Caller>,
}

// === impl TrialScore ===

impl<'a> TrialScore<'a> {
    fn new(senders: &[LogCaller], baseline: &'a Baseline, from: Senders) -> Self {
        let shared = from == Senders::Nat;
        let mut attackers: BTreeMap<Caller, Vec<usize>> = BTreeMap::new();
        for (index, who) in senders.iter().enumerate() {
            let source_ip = match who.address {
                Address::Ip(ip) => Some(ip.to_string()),
                Address::Unknown => None,
            };
            let client_id = (!who.account.is_empty()).then(|| who.account.to_string());
            let mut names = vec![caller(source_ip.clone(), client_id.clone()), caller(None, client_id)];
            if !shared {
                names.push(caller(source_ip, None));
            }
            names.retain(|name| *name != Caller::default());
            names.sort();
            names.dedup();
            names.into_iter().for_each(|name| attackers.entry(name).or_default().push(index));
        }
        Self {
            baseline,
            attackers,
            named: vec![false; senders.len()],
            sent: 0,
            first: None,
            model: None,
            from,
            accused: BTreeSet::new(),
        }
    }

    /// Whether nobody can be named, so that what is said of the model counts instead.
    fn is_unnamed(&self) -> bool {
        self.from == Senders::Unnamed
    }

    /// Whether the verdict declares a campaign of queries of which the attack sent one.
    fn lists_the_attack(&self, verdict: &Verdict) -> bool {
        self.from == Senders::Rotating && verdict.queries.iter().any(|query| query.provenance.offset == INJECTED)
    }

    /// When the attack was found.
    fn found(&self) -> Option<Detection> {
        if self.is_unnamed() { self.model } else { self.first }
    }

    /// Whether the query of this sender would be answered by a service that acts on what was found.
    fn answered(&self, sender: usize) -> bool {
        if self.is_unnamed() { self.model.is_none() } else { !self.named[sender] }
    }

    fn detection(&self, verdict: &Verdict) -> Detection {
        Detection { queries: self.sent, at: verdict.at.0, family: verdict.family }
    }

    fn take(&mut self, verdict: &Verdict) {
        if let Some(caller) = named(verdict) {
            self.name(caller, verdict);
        }
        if verdict.scope == Scope::Model && says_probing(verdict.verdict) && !self.baseline.model_is_probed_at(verdict.at.0) {
            let detection = self.detection(verdict);
            self.model.get_or_insert(detection);
        }
        if verdict.scope == Scope::Campaign && verdict.verdict == Finding::Probing {
            if self.lists_the_attack(verdict) {
                let detection = self.detection(verdict);
                self.first.get_or_insert(detection);
            }
            for member in &verdict.members {
                self.name(caller(Some(member.clone()), None), verdict);
            }
        }
    }

    fn name(&mut self, caller: Caller, verdict: &Verdict) {
        let detection = self.detection(verdict);
        match self.attackers.get(&caller) {
            Some(attackers) => {
                attackers.iter().for_each(|&attacker| self.named[attacker] = true);
                self.first.get_or_insert(detection);
            }
            None if caller == Caller::default() || self.baseline.accuses(&caller) => {}
            None => {
                self.accused.insert(caller);
            }
        }
    }
}

impl Observer for TrialScore<'_> {
    type Error = Infallible;

    fn verdict(&mut self, verdict: &Verdict) -> Result<(), Infallible> {
        self.take(verdict);
        Ok(())
    }
}

/// Runs a trial.
pub fn run(from: TrialStart<'_>, attack: &InjectedAttack<'_>) -> Trial {
    let InjectedAttack { recording, senders, queries, .. } = attack;
    let mut engine = from.engine.clone();
    let mut score = TrialScore::new(senders, from.baseline, attack.delivery.from);
    let mut outbox = Outbox::default();
    let mut query = blank(from.log);
    let (mut at, mut next, mut leaked) = (from.next, 0, 0);
    let start = queries.first().map_or(EventTime::default(), |query| query.time);
    let end = after(queries.last().map_or(start, |query| query.time), GRACE_SECONDS);
    loop {
        let log_time = (at < from.log.len()).then(|| from.baseline.clock[at]);
        match (queries.get(next), log_time) {
            (Some(one), time) if time.is_none_or(|time| one.time <= time) => {
                fill(from.log, recording, senders, one, &mut query);
                if let InjectedRow::Attack(_) = one.row {
                    leaked += u64::from(score.answered(one.sender));
                    score.sent += 1;
                }
                next += 1;
            }
            (_, Some(time)) if time <= end => {
                let Ok(()) = from.log.judge_lost(at, &mut engine, &mut outbox, &mut score);
                from.log.fill(at, &mut query);
                at += 1;
            }
            _ => break,
        }
        let Ok(()) = observer::judge(&mut engine, &query, Original::default(), &mut outbox, &mut score);
    }
    if at == from.log.len() {
        let Ok(()) = from.log.judge_lost(at, &mut engine, &mut outbox, &mut score);
    }
    let Ok(()) = observer::tick(&mut engine, end, &mut outbox, &mut score);
    let found = score.found();
    Trial {
        family: attack.kind.name(),
        delivery: attack.delivery.name(),
        repeat: attack.repeat,
        planted: At(start),
        queries: score.sent,
        callers: if score.is_unnamed() { 0 } else { senders.len() as u64 },
        named: score.named.iter().filter(|named| **named).count() as u64,
        queries_to_detection: found.map(|found| found.queries),
        queries_to_model_verdict: score.model.map(|found| found.queries),
        seconds_to_detection: found.map(|found| found.at.seconds_since(start).max(0.0)),
        leaked: if score.sent == 0 { 1.0 } else { leaked as f64 / score.sent as f64 },
        called: found.and_then(|found| found.family).map(crate::judge::Family::name),
        accused: score.accused.len() as u64,
        accused_names: score.accused.iter().take(MAX_ACCUSED).map(ToString::to_string).collect(),
        log_events: (at - from.next) as u64,
    }
}

/// Writes an injected query as the log would hold it.
fn fill(log: &Log, recording: &RecordedAttack, senders: &[LogCaller], one: &InjectedQuery, query: &mut Query) {
    let (row, answer): (&[Cell], Prediction) = match one.row {
        InjectedRow::Attack(nth) => (&recording.rows[nth], recording.answers[nth]),
        InjectedRow::Cover(event) => (log.row(event), log.answer(event)),
    };
    let who = &senders[one.sender];
    query.time = one.time;
    query.address = who.address;
    query.account.clear();
    query.account.push_str(&who.account);
    query.row.clear();
    query.row.extend_from_slice(row);
    query.prediction = answer;
    query.provenance.offset = INJECTED;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drill::baseline::Playback;
    use crate::judge::Verdict;

    fn verdict(source_ip: Option<&str>, client_id: Option<&str>, members: &[&str]) -> Verdict {
        let scope = if members.is_empty() { Scope::Client } else { Scope::Campaign };
        Verdict {
            source_ip: source_ip.map(str::to_owned),
            client_id: client_id.map(str::to_owned),
            queries_seen: 1,
            members: members.iter().map(|member| (*member).to_owned()).collect(),
            ..Verdict::new(EventTime::from_micros(1_772_409_600_000_000), scope, "m", Finding::Probing)
        }
    }

    fn silent() -> Baseline {
        Baseline::default()
    }

    fn who(address: &str, account: &str) -> LogCaller {
        LogCaller { address: Address::parse(address).unwrap(), account: account.into() }
    }

    #[test]
    fn an_attacker_is_named_by_address_by_account_or_by_both() {
        let baseline = silent();
        let said = [
            verdict(Some("192.0.2.1"), None, &[]),
            verdict(None, Some("a"), &[]),
            verdict(Some("192.0.2.1"), Some("a"), &[]),
            verdict(None, None, &["198.51.100.9", "192.0.2.1"]),
        ];
        for (nth, verdict) in said.iter().enumerate() {
            let mut score = TrialScore::new(&[who("192.0.2.1", "a"), who("192.0.2.2", "b")], &baseline, Senders::Addresses(1));
            score.take(verdict);
            assert_eq!(score.named, [true, false], "{nth}");
            // The last one names a stranger as well.
            assert_eq!(score.accused.len(), usize::from(nth == 3));
        }
    }

    #[test]
    fn behind_a_nat_only_the_account_counts_and_the_address_is_a_false_alarm() {
        let baseline = silent();
        let mut score = TrialScore::new(&[who("192.0.2.1", "a")], &baseline, Senders::Nat);
        score.take(&verdict(Some("192.0.2.1"), None, &[]));
        assert_eq!((score.named[0], score.accused.len()), (false, 1));
        score.take(&verdict(Some("192.0.2.1"), Some("a"), &[]));
        assert_eq!((score.named[0], score.accused.len()), (true, 1));
    }

    #[test]
    fn a_caller_accused_without_the_attack_is_no_alarm_of_the_attack() {
        let mut baseline = silent();
        baseline.members.insert("198.51.100.9".into());
        let mut score = TrialScore::new(&[who("192.0.2.1", "")], &baseline, Senders::Addresses(1));
        score.take(&verdict(Some("198.51.100.9"), None, &[]));
        assert_eq!((score.first.is_some(), score.accused.len()), (false, 0));
        score.take(&verdict(Some("198.51.100.10"), None, &[]));
        assert_eq!(score.accused.len(), 1);
    }

    #[test]
    fn a_suspicion_or_a_prefix_names_no_caller() {
        let baseline = silent();
        let mut score = TrialScore::new(&[who("192.0.2.1", "")], &baseline, Senders::Addresses(1));
        score.take(&Verdict { verdict: Finding::Suspicious, ..verdict(Some("192.0.2.1"), None, &[]) });
        score.take(&Verdict { source_prefix: Some("192.0.2.0/24".into()), ..verdict(None, None, &[]) });
        assert_eq!((score.named[0], score.accused.len()), (false, 0));
    }

    #[test]
    fn in_a_log_without_callers_what_is_said_of_the_model_counts_and_only_if_the_log_alone_does_not_get_it() {
        let model = |finding, second| {
            let at = EventTime::from_micros(1_772_409_600_000_000).plus_seconds(second);
            Verdict::new(at, Scope::Model, "m", finding)
        };
        let said = |baseline: &Baseline, verdict: &Verdict| {
            let mut score =
                TrialScore::new(&[LogCaller { address: Address::Unknown, account: "".into() }], baseline, Senders::Unnamed);
            score.take(verdict);
            (score.found().is_some(), score.answered(0), score.accused.len())
        };
        let mut baseline = silent();
        assert_eq!(said(&baseline, &model(Finding::Drift, 9)), (false, true, 0));
        assert_eq!(said(&baseline, &model(Finding::Probing, 9)), (true, false, 0));
        assert_eq!(said(&baseline, &model(Finding::DriftAndProbing, 9)), (true, false, 0));
        assert_eq!(said(&baseline, &verdict(None, None, &[])), (false, true, 0), "a verdict on nobody names nobody");
        baseline.model =
            vec![(model(Finding::Probing, 5).at.0, Finding::Probing), (model(Finding::Stable, 20).at.0, Finding::Stable)];
        assert_eq!(said(&baseline, &model(Finding::Probing, 9)), (false, true, 0), "the log alone gets it, too");
        assert_eq!(said(&baseline, &model(Finding::Probing, 30)), (true, false, 0), "no longer");
    }

    #[test]
    fn where_callers_are_named_what_is_said_of_the_model_is_noted_and_does_not_count_as_found() {
        let baseline = silent();
        let mut score = TrialScore::new(&[who("192.0.2.1", "")], &baseline, Senders::Rotating);
        score.take(&Verdict::new(EventTime::from_micros(1_772_409_600_000_000), Scope::Model, "m", Finding::Probing));
        assert!(score.found().is_none() && score.model.is_some() && score.answered(0));
    }

    #[test]
    fn a_campaign_of_rotating_addresses_is_found_by_its_queries_and_one_of_other_queries_is_not() {
        use crate::event::Provenance;
        use crate::judge::QueryRef;
        let baseline = silent();
        let campaign = |offset: i64| {
            let about = Verdict::new(EventTime::from_micros(1_772_409_600_000_000), Scope::Campaign, "m", Finding::Probing);
            let provenance = Provenance { offset, ..Provenance::default() };
            Verdict { queries: vec![QueryRef { at: about.at, request_id: String::new(), provenance }], ..about }
        };
        let found = |from: Senders, offset: i64| {
            let mut score = TrialScore::new(&[who("192.0.2.1", "")], &baseline, from);
            score.take(&campaign(offset));
            (score.found().is_some(), score.named[0], score.accused.len())
        };
        assert_eq!(found(Senders::Rotating, INJECTED), (true, false, 0));
        assert_eq!(found(Senders::Rotating, 17), (false, false, 0));
        assert_eq!(found(Senders::Addresses(50), INJECTED), (false, false, 0), "whoever comes back can be named");
    }

    #[test]
    fn a_trial_from_a_clone_ends_as_one_from_the_beginning_of_the_log() {
        use crate::drill::log::tests::of;
        use crate::engine::EngineConfig;
        use crate::reference::{Column, Dataset, FitOptions, Raw, Reference, fit};
        use std::sync::Arc;

        let cells: Vec<Raw> = (0..300_u32).map(|nth| Raw::Number(f64::from(nth % 97))).collect();
        let features = vec![Column { name: "x".into(), cells: cells.clone() }];
        let dataset = Dataset { features, predictions: cells, probabilities: Vec::new() };
        let reference: Arc<Reference> =
            Arc::new(fit(&dataset, &FitOptions { model: "m".into(), ..FitOptions::default() }).unwrap());
        let events: Vec<(i64, &str, &str)> = (0..600).map(|nth| (10 * nth, "10.0.0.1", "")).collect();
        let log = of(&events);
        let baseline = Baseline::of(&log, &reference, &EngineConfig::default(), |_| ()).unwrap();
        let rows: Vec<Vec<Cell>> = (0..50).map(|nth| vec![Cell::number(f64::from(nth) / 7.0)]).collect();
        let recording = RecordedAttack { answers: vec![Prediction::Score(0.5); rows.len()], rows };
        let first = log.time(300);
        let queries = (0..50)
            .map(|nth| InjectedQuery { time: after(first, 0.2 * nth as f64), sender: 0, row: InjectedRow::Attack(nth) })
            .collect();
        let delivery = Delivery { from: Senders::Addresses(1), slow: false, cover: false };
        let attack = InjectedAttack {
            kind: AttackKind::Uniform,
            delivery,
            repeat: 0,
            recording: &recording,
            senders: vec![who("192.0.2.1", "")],
            queries,
        };
        let mut playback = Playback::new(&log, &reference, &EngineConfig::default()).unwrap();
        let whole = run(TrialStart { log: &log, baseline: &baseline, engine: &playback.engine, next: playback.next }, &attack);
        playback.judge_while(|event| event < 300);
        let resumed = run(TrialStart { log: &log, baseline: &baseline, engine: &playback.engine, next: playback.next }, &attack);
        assert_eq!((whole.queries, whole.log_events - resumed.log_events), (50, 300));
        assert_eq!(Trial { log_events: whole.log_events, ..resumed }, whole);
    }
}
