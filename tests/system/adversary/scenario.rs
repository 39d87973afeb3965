//! A day of honest traffic round a shipped model, and the judge that watches it while an attacker follows its plan.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use tripline::engine::{Engine, EngineConfig, Input, Outbox};
use tripline::event::{Address, Cell, EventTime, Prediction, Provenance, Query};
use tripline::judge::{Finding, Scope, Verdict};
use tripline::reference::Reference;
use tripline::simulate::callers::Mix;
use tripline::simulate::victim::{Answer, Victim as _};
use tripline::simulate::{DEFAULT_START, Simulation, SimulationSettings, World};

/// Honest clients: few enough that a run takes a second, enough that peers and newcomers have company.
const CLIENTS: usize = 160;
/// Their queries per day, as in the recorded traffic.
const VOLUME: f64 = 24.0;
/// Hours of event time, a long working day. The judge warms up during the first four.
pub const HOURS: f64 = 16.0;

/// A caller as the log shows it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Sender {
    /// Address.
    pub address: IpAddr,
    /// Account, if it shows one.
    pub account: Option<Arc<str>>,
}

/// What a query of the attacker is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Purpose {
    /// To learn.
    Attack,
    /// To look honest.
    Cover,
    /// To disturb the judge.
    Noise,
}

/// A query that the attacker sends.
#[derive(Clone, Debug)]
pub struct SentQuery {
    /// When.
    pub at: EventTime,
    /// Who, by index.
    pub sender: usize,
    /// The row.
    pub row: Vec<Cell>,
    /// What for.
    pub part: Purpose,
}

/// Everything that the attacker does.
#[derive(Clone, Debug, Default)]
pub struct Operation {
    /// The attacker's callers.
    pub senders: Vec<Sender>,
    /// What they send, in order of time.
    pub sent: Vec<SentQuery>,
    /// Honest callers that a test adds to the day's traffic.
    pub bystanders: Vec<Query>,
}

/// What the judge made of it.
#[derive(Clone, Debug, Default)]
pub struct Judgement {
    /// Per query of the attacker: whether it was answered before its sender was named.
    pub answered: Vec<bool>,
    /// When each sender was named.
    pub named: BTreeMap<usize, EventTime>,
    /// Honest callers that were named.
    pub wronged: BTreeSet<String>,
    /// Callers in the judge's memory, bytes of them, rows of history, bytes of them, at the end.
    pub memory: (usize, usize, usize, usize),
    /// Callers that the judge says are flagged, at the end.
    pub flagged: u64,
    /// The largest information budget: whose (address or account), and how much.
    pub budget: Option<(String, f64)>,
}

/// The scene.
pub struct Scenario {
    /// The profile, which the attacker has too.
    pub reference: Arc<Reference>,
    simulation: Simulation,
    honest: Vec<Query>,
}

// === impl Scenario ===

impl Scenario {
    /// A model's day, by seed.
    pub fn new(model: &str, seed: u64) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("models/{model}/reference.json"));
        let reference = Arc::new(Reference::from_json(&std::fs::read(path).unwrap()).unwrap());
        // The look-alikes that matter here, and none that only adds volume.
        let mix = Mix { batch: 0, loadtest: 0, nat: 0, ..Mix::default() };
        let settings =
            SimulationSettings { seed, hours: HOURS, clients: CLIENTS, volume: VOLUME, mix, ..SimulationSettings::default() };
        let mut simulation = Simulation::new(Arc::clone(&reference), &settings).unwrap();
        let model = reference.model.clone();
        let honest = simulation
            .by_ref()
            .map(|event| query(&model, event.at, event.address, event.account.as_deref(), event.row, &event.answer, event.line))
            .collect();
        Self { reference, simulation, honest }
    }

    /// The world: rows to draw, the victim.
    pub fn world(&self) -> &World {
        self.simulation.world()
    }

    /// An honest caller's query.
    pub fn bystander(&self, at: EventTime, sender: &Sender, row: &[Cell]) -> Query {
        let answer = self.world().victim.answer(row);
        query(&self.reference.model, at, sender.address, sender.account.as_deref(), row.to_vec(), &answer, 1 << 50)
    }

    /// An instant, in hours from the start.
    pub fn hour(hours: f64) -> EventTime {
        EventTime::from_micros(DEFAULT_START.micros() + (hours * 3.6e9) as i64 / 1000 * 1000)
    }

    /// The honest queries.
    pub fn honest(&self) -> &[Query] {
        &self.honest
    }

    /// Lets the judge watch. `salt` is what the attacker does not know.
    pub fn judge(&self, operation: &Operation, config: EngineConfig) -> Judgement {
        assert!(operation.sent.is_sorted_by_key(|sent| sent.at), "a plan is in order of time");
        let mut engine = Engine::new(config, vec![Arc::clone(&self.reference)]).unwrap();
        let mut out = Outbox::default();
        let mut outcome = Judgement { answered: vec![false; operation.sent.len()], ..Judgement::default() };
        let mut crowd: Vec<&Query> = self.honest.iter().chain(&operation.bystanders).collect();
        crowd.sort_by_key(|query| query.time);
        let honest: BTreeSet<Address> = crowd.iter().map(|query| query.address).collect();
        let mut next = crowd.into_iter().peekable();
        for (nth, sent) in operation.sent.iter().enumerate() {
            while let Some(query) = next.next_if(|query| query.time <= sent.at) {
                engine.step(Input::Query(query), &mut out);
                outcome.take(&mut out, operation, &honest);
            }
            let sender = &operation.senders[sent.sender];
            let answer = self.world().victim.answer(&sent.row);
            let (address, account) = (sender.address, sender.account.as_deref());
            let query = query(&self.reference.model, sent.at, address, account, sent.row.clone(), &answer, 1 << 40 | nth as u64);
            // The answer goes out before the log is read: the query that tips the balance is still answered.
            outcome.answered[nth] = !outcome.named.contains_key(&sent.sender);
            engine.step(Input::Query(&query), &mut out);
            outcome.take(&mut out, operation, &honest);
        }
        for query in next {
            engine.step(Input::Query(query), &mut out);
            outcome.take(&mut out, operation, &honest);
        }
        engine.step(Input::End, &mut out);
        outcome.take(&mut out, operation, &honest);
        let memory = &engine.memory()[0];
        outcome.memory = (memory.1, memory.2, memory.3, memory.4);
        let status = &engine.status()[0];
        outcome.flagged = status.flagged.values().sum();
        outcome.budget = status
            .information_budgets
            .first()
            .map(|most| (most.source_ip.clone().or(most.client_id.clone()).unwrap_or_default(), most.ratio));
        outcome
    }
}

// === impl Judgement ===

impl Judgement {
    fn take(&mut self, out: &mut Outbox, operation: &Operation, honest: &BTreeSet<Address>) {
        for verdict in out.verdicts.drain(..).filter(|v| v.scope == Scope::Client && v.verdict == Finding::Probing) {
            let mut found = false;
            for (nth, _) in operation.senders.iter().enumerate().filter(|(_, sender)| speaks_of(&verdict, sender)) {
                found = true;
                self.named.entry(nth).or_insert(verdict.at.0);
            }
            // An address that honest callers share must not be condemned as a whole.
            let shared = verdict.client_id.is_none()
                && verdict.source_ip.as_deref().and_then(Address::parse).is_some_and(|address| honest.contains(&address));
            if !found || shared {
                let why: Vec<String> =
                    verdict.signals.iter().take(3).map(|signal| format!("{} {:.1}", signal.name, signal.evidence)).collect();
                let Verdict { source_ip, client_id, family, queries_seen, .. } = verdict;
                self.wronged.insert(format!("{source_ip:?} {client_id:?} {family:?} after {queries_seen}: {}", why.join(", ")));
            }
        }
    }
}

fn speaks_of(verdict: &Verdict, sender: &Sender) -> bool {
    let address = verdict.source_ip.as_ref().is_none_or(|ip| *ip == sender.address.to_string());
    let account = verdict.client_id.as_ref().is_none_or(|id| Some(id.as_str()) == sender.account.as_deref());
    address && account
}

fn query(model: &str, at: EventTime, address: IpAddr, account: Option<&str>, row: Vec<Cell>, answer: &Answer, line: u64) -> Query {
    let prediction = match answer {
        Answer::Score(score) => Prediction::Score(*score),
        Answer::Label(label) => Prediction::Label(Cell::category(*label)),
        Answer::Probabilities(p) => {
            let top = answer.class(0.5);
            Prediction::Probabilities { top: Cell::category(top), probability: p[top], margin: p[top] }
        }
    };
    Query {
        time: at,
        model: model.to_owned(),
        address: Address::Ip(address),
        account: account.unwrap_or_default().to_owned(),
        row,
        prediction,
        provenance: Provenance { offset: line as i64, ..Provenance::default() },
        ..Query::default()
    }
}
