//! What the attacker does, and how it hides. It knows the source, the defaults and the profile, and lacks the salt.
//!
//! Queries come from the attack library of [`tripline::simulate`], asked through a [`DisguisingVictim`] that disguises each row before it is sent,
//! so that the attack works with the answers to what was really asked.

use std::cell::RefCell;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use tripline::event::{Cell, EventTime};
use tripline::hash::{mix, mix2};
use tripline::reference::Kind;
use tripline::signal::boundary::Boundary;
use tripline::signal::codes::{Coder, Codes};
use tripline::signal::density::Density;
use tripline::signal::density::statistic::{Cells, DensityStatistic};
use tripline::simulate::attack::{AttackKind, AttackSpec, Oracle};
use tripline::simulate::callers::after;
use tripline::simulate::chance::{exponential, normal};
use tripline::simulate::rows::Subpopulation;
use tripline::simulate::victim::{Answer, Victim};

use super::gain::Copy;
use super::scenario::{HOURS, Operation, Purpose, Scenario, Sender, SentQuery};

/// Where the attack's rows come from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RowSource {
    /// A published attack.
    Published(AttackKind),
    /// Active learning among rows that the attacker's own copy of the judge finds ordinary.
    Careful,
}

/// A plan. The default hides nothing.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct AttackPlan {
    /// Name in the table.
    pub name: &'static str,
    /// Rows.
    pub source: RowSource,
    /// Queries of the attack itself.
    pub budget: usize,
    /// Addresses, each with an account of its own.
    pub addresses: usize,
    /// Share of real rows among the queries.
    pub cover: f64,
    /// Hours over which they are spread; 0 is as fast as a script goes.
    pub hours: f64,
    /// Noise on every measurement of every row, in spreads.
    pub jitter: f64,
    /// Whether dependent features are made to agree again after each step.
    pub care: bool,
    /// Hours of honest use by the same callers before the attack.
    pub past: f64,
    /// Sham clients that send odd rows, so that odd becomes usual.
    pub shams: usize,
    /// Whether the attack and its shams write every second number below the range of the profile, so that these columns are common and are left
    /// out when such rows are judged.
    pub blind: bool,
    /// One-off callers sent after each ten queries of the attack, to be remembered instead of it.
    pub chaff: usize,
}

/// Hour of the first query of the attack.
pub const START: f64 = 9.0;
/// Seconds between the queries of a script.
const FAST: f64 = 0.2;
/// Queries of the attack between two bursts of chaff.
const CHAFF_EVERY: usize = 10;

impl AttackPlan {
    /// The undisguised attack.
    pub const fn plain(source: RowSource, budget: usize) -> Self {
        Self {
            name: "none",
            source,
            budget,
            addresses: 1,
            cover: 0.0,
            hours: 0.0,
            jitter: 0.0,
            care: false,
            past: 0.0,
            shams: 0,
            blind: false,
            chaff: 0,
        }
    }

    /// The rows asked, without cover, in order, with the answers.
    pub fn rows(&self, scenario: &Scenario, seed: u64) -> Vec<(Vec<Cell>, f64)> {
        match self.source {
            RowSource::Published(family) => {
                let tap = DisguisingVictim {
                    scenario,
                    jitter: self.jitter,
                    care: self.care.then(|| DependencyRepair::new(scenario)),
                    blind: self.blind,
                    rng: RefCell::new(ChaCha8Rng::seed_from_u64(mix2(seed, 3))),
                    sent: RefCell::default(),
                };
                let spec = AttackSpec::parse(&format!("{}:queries={}", family.name(), self.budget)).unwrap();
                Oracle::record(&spec, &tap, &scenario.world().rows, seed);
                tap.sent.into_inner()
            }
            RowSource::Careful => careful(scenario, self.budget, seed),
        }
    }

    /// Sets out who sends what when.
    pub fn operation(&self, scenario: &Scenario, rows: &[(Vec<Cell>, f64)], seed: u64) -> Operation {
        let mut rng = ChaCha8Rng::seed_from_u64(mix2(seed, 4));
        let mut operation = Operation::default();
        for _ in 0..self.addresses {
            operation.senders.push(sender(&mut rng));
        }
        self.past(scenario, &mut operation, &mut rng);
        self.seed_peers(scenario, &mut operation, &mut rng);
        let mut places: Vec<Subpopulation> =
            (0..self.addresses).map(|_| Subpopulation::random(&mut rng, &scenario.world().rows, 0.4, 24.0)).collect();
        let total = rows.len() as f64 / (1.0 - self.cover);
        let gap = if self.hours > 0.0 { self.hours * 3600.0 / total } else { FAST };
        let mut now = Scenario::hour(START);
        let mut turn = 0;
        let mut rows = rows.iter().enumerate().peekable();
        while let Some((nth, _)) = rows.peek().copied() {
            turn += 1 + usize::from(rng.random::<f64>() < 0.2);
            let sender = turn % self.addresses;
            let (row, part) = if rng.random::<f64>() < self.cover {
                (scenario.world().draw(&mut rng, &mut places[sender], now), Purpose::Cover)
            } else {
                if nth % CHAFF_EVERY == CHAFF_EVERY - 1 {
                    self.chaff(scenario, &mut operation, &mut now, &mut rng);
                }
                let Some((_, (row, _))) = rows.next() else { break };
                (row.clone(), Purpose::Attack)
            };
            operation.sent.push(SentQuery { at: now, sender, row, part });
            let noise = if self.hours > 0.0 { exponential(&mut rng) } else { 1.0 };
            now = after(now, gap * noise);
        }
        operation.sent.sort_by_key(|sent| sent.at);
        operation.sent.retain(|sent| sent.at < Scenario::hour(HOURS));
        operation
    }

    /// Honest use by the same callers before the attack: mimicry of a client's past.
    fn past(&self, scenario: &Scenario, operation: &mut Operation, rng: &mut ChaCha8Rng) {
        for sender in 0..if self.past > 0.0 { self.addresses } else { 0 } {
            let mut place = Subpopulation::random(rng, &scenario.world().rows, 0.4, 24.0);
            let mut now = after(Scenario::hour(START - self.past), 1800.0 * rng.random::<f64>());
            while now < Scenario::hour(START) {
                let row = scenario.world().draw(rng, &mut place, now);
                operation.sent.push(SentQuery { at: now, sender, row, part: Purpose::Cover });
                now = after(now, 1200.0 * exponential(rng));
            }
        }
    }

    /// Sham clients that are odd now and then, from the warm-up on, so that the threshold for all callers rises.
    fn seed_peers(&self, scenario: &Scenario, operation: &mut Operation, rng: &mut ChaCha8Rng) {
        let statistics = RowStatistics::new(scenario);
        for _ in 0..self.shams {
            operation.senders.push(sender(rng));
            let sham = operation.senders.len() - 1;
            let mut place = Subpopulation::random(rng, &scenario.world().rows, 0.4, 24.0);
            let mut now = after(Scenario::hour(0.5), 1800.0 * rng.random::<f64>());
            while now < Scenario::hour(HOURS) {
                let mut row = scenario.world().draw(rng, &mut place, now);
                // One row in four breaks what belongs together; more, and the shams would be named themselves.
                if self.blind {
                    blind(scenario, &mut row);
                } else if rng.random::<f64>() < 0.25 {
                    for _ in 0..30 {
                        let other = scenario.world().draw(rng, &mut place, now);
                        let j = rng.random_range(0..row.len());
                        row[j] = other[j];
                        if statistics.cells(&row)[DensityStatistic::BrokenDependence] == 0 {
                            break;
                        }
                    }
                }
                operation.sent.push(SentQuery { at: now, sender: sham, row, part: Purpose::Noise });
                now = after(now, 600.0 * exponential(rng));
            }
        }
    }

    fn chaff(&self, scenario: &Scenario, operation: &mut Operation, now: &mut EventTime, rng: &mut ChaCha8Rng) {
        let mut place = Subpopulation::everywhere();
        for _ in 0..self.chaff {
            *now = after(*now, 0.05);
            operation.senders.push(sender(rng));
            let row = scenario.world().draw(rng, &mut place, *now);
            operation.sent.push(SentQuery { at: *now, sender: operation.senders.len() - 1, row, part: Purpose::Noise });
        }
    }
}

/// A caller of the attacker; attackers' IPv4 addresses are odd in the simulator, honest ones even.
pub fn sender(rng: &mut ChaCha8Rng) -> Sender {
    let address = IpAddr::V4(Ipv4Addr::from_bits(0x6440_0000 | (rng.random::<u32>() & 0x3F_FFFF) | 1));
    Sender { address, account: Some(Arc::from(format!("guest-{:08x}", rng.random::<u32>()))) }
}

/// The attacker's own copy of the judge's statistics on single rows. They have no salt.
pub struct RowStatistics {
    coder: Coder,
    density: Density,
}

impl RowStatistics {
    /// From the profile.
    pub fn new(scenario: &Scenario) -> Self {
        let coder = Coder::new(&scenario.reference);
        let boundary = Boundary::new(&scenario.reference, &coder);
        let density = Density::new(&scenario.reference, &coder, &boundary, &[]);
        Self { coder, density }
    }

    /// How odd a row is by each statistic: 0 (most) to 4.
    pub fn cells(&self, row: &[Cell]) -> Cells {
        let mut codes = Codes::default();
        self.coder.encode(row, &mut codes);
        self.coder.score(row, &mut codes);
        self.density.cells(&codes, 1.0)
    }
}

/// Makes dependent features agree again, from what the profile says of pairs.
struct DependencyRepair {
    coder: Coder,
    /// By feature and coarse code: sample rows with it, a few.
    with: Vec<Vec<Vec<u32>>>,
}

/// Mutual information in nats from which a pair is made to agree.
const DEPENDENT: f64 = 0.3;

impl DependencyRepair {
    fn new(scenario: &Scenario) -> Self {
        let coder = Coder::new(&scenario.reference);
        let mut with: Vec<Vec<Vec<u32>>> = coder.sizes().iter().map(|&size| vec![Vec::new(); size]).collect();
        let mut codes = Codes::default();
        for (i, row) in scenario.reference.sample.iter().enumerate() {
            coder.encode(row, &mut codes);
            for (j, &code) in codes.coarse.iter().enumerate() {
                let rows = &mut with[j][usize::from(code)];
                if rows.len() < 40 {
                    rows.push(i as u32);
                }
            }
        }
        Self { coder, with }
    }

    fn mend(&self, scenario: &Scenario, row: &mut [Cell]) {
        let mut codes = Codes::default();
        for pair in scenario.reference.pairs.iter().filter(|pair| pair.information >= DEPENDENT) {
            self.coder.encode(row, &mut codes);
            let (a, b) = (usize::from(codes.coarse[pair.a]), usize::from(codes.coarse[pair.b]));
            if pair.counts[a * self.coder.sizes()[pair.b] + b] > 0 {
                continue;
            }
            // The same value always gets the same partner, so that an attack that holds a feature goes on holding it.
            let rows = &self.with[pair.a][a];
            if let Some(&donor) = rows.get((mix(row[pair.a].bits()) % rows.len().max(1) as u64) as usize) {
                row[pair.b] = scenario.reference.sample[donor as usize][pair.b];
            }
        }
    }
}

/// Writes every second number of a row below the range of the profile, where a model mostly answers as at the lower end: most numbers of
/// these profiles lie there, so that the other columns still decide.
fn blind(scenario: &Scenario, row: &mut [Cell]) {
    let numbers = scenario.reference.features.iter().zip(row).filter(|(feature, _)| feature.is_numeric());
    for (feature, cell) in numbers.step_by(2) {
        *cell = Cell::number(feature.min - 0.2 * (feature.max - feature.min));
    }
}

/// Between attack and victim: disguises what is sent, and notes it with its answer.
struct DisguisingVictim<'a> {
    scenario: &'a Scenario,
    jitter: f64,
    care: Option<DependencyRepair>,
    blind: bool,
    rng: RefCell<ChaCha8Rng>,
    sent: RefCell<Vec<(Vec<Cell>, f64)>>,
}

impl Victim for DisguisingVictim<'_> {
    fn answer(&self, row: &[Cell]) -> Answer {
        let mut row = row.to_vec();
        let rows = &self.scenario.world().rows;
        if let Some(care) = &self.care {
            care.mend(self.scenario, &mut row);
        }
        if self.jitter > 0.0 {
            let rng = &mut *self.rng.borrow_mut();
            for (j, cell) in row.iter_mut().enumerate() {
                let feature = &rows.features[j];
                if feature.kind == Kind::Continuous && cell.value().is_finite() {
                    let moved = cell.value() + self.jitter * rows.spread(j) * normal(rng);
                    *cell = rows.snap(j, moved.clamp(feature.min, feature.max));
                }
            }
        }
        if self.blind {
            blind(self.scenario, &mut row);
        }
        let answer = self.scenario.world().victim.answer(&row);
        self.sent.borrow_mut().push((row, answer.number()));
        answer
    }

    fn threshold(&self) -> f64 {
        self.scenario.world().victim.threshold()
    }
}

/// Rows asked before the copy is trained again.
const ROUND: usize = 80;
/// Candidates looked at per round.
const POOL: usize = 500;

/// Active learning (Cohn, Atlas and Ladner 1994) among mixtures of real rows that no statistic of single rows finds odd.
fn careful(scenario: &Scenario, budget: usize, seed: u64) -> Vec<(Vec<Cell>, f64)> {
    let world = scenario.world();
    let threshold = world.victim.threshold();
    let statistics = RowStatistics::new(scenario);
    let mut rng = ChaCha8Rng::seed_from_u64(mix2(seed, 5));
    let mut place = Subpopulation::everywhere();
    let mut asked: Vec<(Vec<Cell>, f64)> = Vec::new();
    while asked.len() < budget {
        let data: Vec<(&[Cell], f64)> = asked.iter().map(|(row, score)| (row.as_slice(), *score)).collect();
        let copy = Copy::train(&world.rows.features, &data, threshold);
        let mut pool: Vec<Vec<Cell>> = Vec::new();
        for _ in 0..POOL {
            let mut row = world.draw(&mut rng, &mut place, Scenario::hour(START));
            let other = world.draw(&mut rng, &mut place, Scenario::hour(START));
            for j in 0..row.len() {
                if rng.random::<f64>() < 0.3 {
                    row[j] = other[j];
                }
            }
            if statistics.cells(&row).iter().all(|&cell| cell == 4) {
                pool.push(row);
            }
        }
        let scores = copy.scores(pool.iter().map(Vec::as_slice));
        let mut order: Vec<usize> = (0..pool.len()).collect();
        order.sort_by(|&a, &b| (scores[a] - threshold).abs().total_cmp(&(scores[b] - threshold).abs()));
        for at in order.into_iter().take(ROUND.min(budget - asked.len())) {
            let score = world.victim.answer(&pool[at]).number();
            asked.push((pool[at].clone(), score));
        }
    }
    asked
}
