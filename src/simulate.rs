//! A simulated world around a model: its callers, the drifts of their world, and attackers that probe it.
//!
//! Why a simulator: recorded traffic is always too little, and an attack on the operator's own model is rarely on record. Everything is
//! drawn over a reference profile, whose bounded sample of real rows carries the marginals *and* the dependence of the real
//! world, and every query, honest or not, is really answered by a [`victim`] fitted to that sample.
//!
//! The mechanics: each caller is a lazy stream of steps in event time with its own seeded generator ([`callers`]), a heap merges
//! the streams, drifts change rows on the way ([`drift`]), and attacks ([`attack`]) are run against the victim first and then
//! delivered over addresses and time ([`delivery`]). A pipeline may change what the log says of all this ([`change`]). There is no clock and one seed; the same settings give the same bytes.
//! [`truth`] states what was done in the format that `score.py` of the recorded traces reads.

pub mod attack;
pub mod calibration;
pub mod callers;
pub mod chance;
pub mod change;
pub mod delivery;
pub mod drift;
pub mod line;
pub mod matrix;
pub mod rows;
pub mod spec;
pub mod truth;
pub mod victim;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use crate::event::{Cell, EventTime};
use crate::hash::{mix, mix2};
use crate::reference::Reference;

use attack::AttackSpec;
use callers::{Caller, CallerRow, Mix};
use drift::{Drift, DriftSpec};
use rows::{Rows, Subpopulation};
use truth::Truth;
use victim::{Answer, Surrogate, Victim, VictimKind};

/// 2026-03-02T00:00:00Z, a Monday: scenarios start on a working day unless told otherwise.
pub const DEFAULT_START: EventTime = EventTime::from_micros(1_772_409_600_000_000);

/// How far back an A/B replay reaches, in queries; enough for minutes of ordinary traffic.
const REPLAY_DEPTH: usize = 4096;

/// Median latency in milliseconds and spread of its logarithm. Chosen: what small tabular models behind HTTP show.
const LATENCY_MEDIAN_MS: f64 = 8.0;
const LATENCY_SIGMA: f64 = 0.35;

/// What to simulate.
#[derive(Clone, Debug)]
pub struct SimulationSettings {
    /// Name written to the truth file.
    pub scenario: String,
    /// Seed of everything.
    pub seed: u64,
    /// First instant.
    pub start: EventTime,
    /// Length in hours of event time.
    pub hours: f64,
    /// Ordinary clients.
    pub clients: usize,
    /// Median queries of an ordinary client per day.
    pub volume: f64,
    /// How much clients differ from each other, 0 (all draw from the whole world) to 1 (each from a narrow part of it).
    pub heterogeneity: f64,
    /// Which look-alikes of attacks are about.
    pub mix: Mix,
    /// Kind of model that answers.
    pub victim: Option<VictimKind>,
    /// Attacks.
    pub attacks: Vec<AttackSpec>,
    /// Drifts.
    pub drifts: Vec<DriftSpec>,
    /// Whether the callers' rows come from one half of the profile's sample, and what a reference is fitted to from the other, as in
    /// production, where no caller sends the rows that the model was trained on.
    pub held_out: bool,
    /// Whether the log names nobody: no record has an address or an account.
    pub without_callers: bool,
}

impl Default for SimulationSettings {
    fn default() -> Self {
        Self {
            scenario: "simulated".into(),
            seed: 1,
            start: DEFAULT_START,
            hours: 24.0,
            clients: 400,
            // The median of the recorded traces lies between 21 and 32 queries in a day and a half.
            volume: 20.0,
            heterogeneity: 0.4,
            mix: Mix::default(),
            victim: None,
            attacks: Vec::new(),
            drifts: Vec::new(),
            held_out: false,
            without_callers: false,
        }
    }
}

/// Why a scenario cannot be simulated.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SimulateError {
    /// The profile has no rows to draw from.
    #[error(
        "the reference profile of '{model}' carries {rows} sample rows; the simulator needs {MIN_SAMPLE} or more, and twice as many to hold half of them out: fit it with a larger --sample-rows"
    )]
    Sample {
        /// Model name.
        model: String,
        /// Rows in the sample.
        rows: usize,
    },
    /// The victim could not be fitted.
    #[error("the victim model could not be fitted to the profile's sample: {0}")]
    Victim(String),
    /// A setting out of range.
    #[error("{setting}: {what}")]
    Setting {
        /// Which one.
        setting: String,
        /// What is wrong and what to do.
        what: String,
    },
}

/// Fewest sample rows from which a world can be drawn; below that every client would repeat the same few people.
pub const MIN_SAMPLE: usize = 100;

/// What all callers share: rows to draw, the model, the drifts.
#[derive(Debug)]
pub struct World {
    /// The profile.
    pub reference: Arc<Reference>,
    /// Where rows come from.
    pub rows: Rows,
    /// Rows to fit a reference to.
    pub baseline: Vec<Vec<Cell>>,
    /// Who answers.
    pub victim: Surrogate,
    /// What changes.
    pub drifts: Vec<Drift>,
    /// First instant.
    pub start: EventTime,
    /// First instant after the end.
    pub end: EventTime,
}

/// A profile with every other row of its sample, from the `first` on: 0 is what a held-out world's reference has, 1 what its callers send.
/// Digest and signature speak of the whole.
pub fn half(reference: &Reference, first: usize) -> Reference {
    let mut half = reference.clone();
    half.sample = reference.sample.iter().skip(first).step_by(2).cloned().collect();
    half.sample_predictions = reference.sample_predictions.iter().skip(first).step_by(2).copied().collect();
    half
}

/// Which campaign an event belongs to, if any.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mark {
    /// Index of the attack.
    pub campaign: usize,
    /// Whether it is cover: an honest-looking row between the attack's own.
    pub cover: bool,
}

/// One simulated query with its answer.
#[derive(Clone, Debug)]
pub struct Event {
    /// Zero-based number, the line in the file.
    pub line: u64,
    /// When.
    pub at: EventTime,
    /// Request id.
    pub request: u64,
    /// Caller's address.
    pub address: IpAddr,
    /// Caller's account.
    pub account: Option<Arc<str>>,
    /// Whether the log says who called; otherwise address and account are known to the simulation alone.
    pub names_caller: bool,
    /// Feature values in schema order.
    pub row: Vec<Cell>,
    /// What the model answered.
    pub answer: Answer,
    /// Milliseconds that the model took.
    pub latency_ms: f64,
    /// Campaign.
    pub mark: Option<Mark>,
}

/// The simulation: an iterator over [`Event`]s in event time.
pub struct Simulation {
    world: World,
    callers: Vec<Box<dyn Caller>>,
    heap: BinaryHeap<Reverse<(EventTime, usize)>>,
    pending: Vec<Option<callers::CallerQuery>>,
    recent: VecDeque<Vec<Cell>>,
    rng: ChaCha8Rng,
    seed: u64,
    names_callers: bool,
    emitted: u64,
    truth: Truth,
}

// === impl World ===

impl World {
    /// Draws an honest row for a client at an instant, before the drifts that transform rows.
    pub fn draw(&self, rng: &mut ChaCha8Rng, place: &mut Subpopulation, at: EventTime) -> Vec<Cell> {
        let Some(bias) = self.drifts.iter().find_map(|drift| drift.bias(at)) else {
            return self.rows.draw(rng, place);
        };
        // A season favours some rows over others: of two honest rows, the likelier one is kept with the strength of the season.
        let first = self.rows.draw(rng, place);
        if rng.random::<f64>() >= bias.strength {
            return first;
        }
        let second = self.rows.draw(rng, place);
        if bias.score(&self.rows, &second) > bias.score(&self.rows, &first) { second } else { first }
    }
}

// === impl Simulation ===

impl Simulation {
    /// Prepares everything: fits the victim, runs the attacks against it, sets out the callers.
    pub fn new(reference: Arc<Reference>, settings: &SimulationSettings) -> Result<Self, SimulateError> {
        if reference.sample.len() < if settings.held_out { 2 * MIN_SAMPLE } else { MIN_SAMPLE } {
            return Err(SimulateError::Sample { model: reference.model.clone(), rows: reference.sample.len() });
        }
        if !(settings.hours > 0.0 && settings.hours <= 24.0 * 366.0) {
            return Err(SimulateError::Setting { setting: "hours".into(), what: "must be above 0 and at most a year".into() });
        }
        let wants_tree = settings.attacks.iter().any(|a| a.family == attack::AttackKind::TreePath);
        let kind = settings.victim.unwrap_or(if wants_tree { VictimKind::Tree } else { VictimKind::Boosted });
        let (baseline, rows) = if settings.held_out {
            (half(&reference, 0).sample, Rows::new(&half(&reference, 1), settings.seed))
        } else {
            (reference.sample.clone(), Rows::new(&reference, settings.seed))
        };
        let victim = Surrogate::fit(&reference, &rows, kind, settings.seed)?;
        let start = settings.start;
        let end = EventTime::from_micros(start.micros() + (settings.hours * 3.6e9) as i64);
        let drifts =
            settings.drifts.iter().map(|spec| Drift::new(spec, &rows, start, settings.seed)).collect::<Result<Vec<_>, _>>()?;
        let mut world = World { reference, rows, baseline, victim, drifts, start, end };
        let mut truth = Truth::new(settings, &world);
        let mut callers = callers::populate(settings, &world, &mut truth);
        for (index, spec) in settings.attacks.iter().enumerate() {
            let stream = delivery::deliver(spec, index, settings, &mut world, &mut truth)?;
            callers.push(Box::new(stream));
        }
        let mut simulation = Self {
            pending: Vec::new(),
            heap: BinaryHeap::with_capacity(callers.len()),
            callers,
            world,
            recent: VecDeque::with_capacity(REPLAY_DEPTH),
            rng: ChaCha8Rng::seed_from_u64(mix2(settings.seed, chance::stream::EVENTS)),
            seed: settings.seed,
            names_callers: !settings.without_callers,
            emitted: 0,
            truth,
        };
        for index in 0..simulation.callers.len() {
            simulation.pending.push(None);
            simulation.advance(index);
        }
        Ok(simulation)
    }

    /// The shared world.
    pub fn world(&self) -> &World {
        &self.world
    }

    /// What was done, complete once the iterator has ended.
    pub fn truth(&self) -> &Truth {
        &self.truth
    }

    /// Notes what a pipeline changed on the way to the log.
    pub fn note_changes(&mut self, changes: Vec<change::pipeline::TrueChange>) {
        self.truth.changed(changes);
    }

    fn advance(&mut self, index: usize) {
        let step = self.callers[index].next(&self.world).filter(|step| step.at < self.world.end);
        if let Some(step) = &step {
            self.heap.push(Reverse((step.at, index)));
        }
        self.pending[index] = step;
    }
}

impl Iterator for Simulation {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        loop {
            let Reverse((at, index)) = self.heap.pop()?;
            let step = self.pending[index].take();
            self.advance(index);
            let Some(step) = step else { continue };
            let row = match step.row {
                CallerRow::Drawn(mut row) => {
                    if step.mark.is_none_or(|mark| mark.cover) {
                        for drift in &self.world.drifts {
                            drift.apply(&self.world.rows, &mut row, step.drawn_at, step.draw, index as u64);
                        }
                    }
                    row
                }
                CallerRow::Replay => match self.recent.len() {
                    0 => continue,
                    n => self.recent[self.rng.random_range(0..n)].clone(),
                },
            };
            let mut answer = self.world.victim.answer(&row);
            for drift in &self.world.drifts {
                drift.answer(&mut answer, at, &row);
            }
            // A comparison of versions replays recorded honest use; an attack that is on would hardly be chosen for it.
            if step.mark.is_none() {
                if self.recent.len() == REPLAY_DEPTH {
                    self.recent.pop_front();
                }
                self.recent.push_back(row.clone());
            }
            let event = Event {
                line: self.emitted,
                at,
                request: mix(self.seed.wrapping_mul(0x9E37_79B9) ^ self.emitted),
                address: step.address,
                account: step.account,
                names_caller: self.names_callers,
                row,
                answer,
                latency_ms: LATENCY_MEDIAN_MS * (LATENCY_SIGMA * chance::normal(&mut self.rng)).exp(),
                mark: step.mark,
            };
            self.emitted += 1;
            self.truth.note(&event);
            return Some(event);
        }
    }
}

impl std::fmt::Debug for Simulation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Simulation").field("callers", &self.callers.len()).field("emitted", &self.emitted).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
