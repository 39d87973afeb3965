//! The script of a demo: what will really happen, and when. The page tells it; the service does not know it.

use crate::event::EventTime;
use crate::judge::Finding;
use crate::simulate::{DEFAULT_START, Simulation, SimulationSettings};

/// The profile that is shown unless another is asked for: data about people, which everybody can picture.
pub const PROFILE: &[u8] = include_bytes!("../../models/adult/reference.json");
/// The shipped drift: callers who are older and work longer. Everybody understands the features, and it is slow enough to be a
/// drift rather than a step.
pub const DRIFT: &str = "gradual:features=age+hours_per_week,start=4.5,span=1.5,strength=1.2";
/// The drift of another profile, whose features the simulator chooses.
pub const DRIFT_OF_OTHER_PROFILE: &str = "gradual:start=4.5,span=1.5";
/// The shipped attack: a grid scan that hides its volume behind two dozen addresses, none of which asks more than its neighbours.
pub const ATTACK: &str = "grid:queries=900,ips=24,account=none,pace=jitter,start=13,rate=3.5";
/// The simulated day begins at this hour, so that its first hours are those of a busy day without anything unusual.
const FIRST_HOUR: i64 = 5;
/// Simulated hours in a real second: a whole day in two minutes.
pub const HOURS_PER_SECOND: f64 = 0.2;
/// Fastest pace: beyond it the service reads slower than the callers ask on a small machine, and the page lags behind.
pub const MAX_HOURS_PER_SECOND: f64 = 2.0;
/// Length of the simulated world, in hours: three days beyond the script, for those who keep looking.
pub const HOURS: f64 = 96.0;
/// Ordinary clients: enough for every kind of look-alike, and a traffic that the page can show by the minute.
pub const CLIENTS: usize = 700;
/// Fewest clients, so that a look-alike of each kind is among them, and most, which a small machine can still simulate at speed.
pub const CLIENT_RANGE: (usize, usize) = (20, 20_000);
/// Queries of an ordinary client in a day.
pub const VOLUME: f64 = 30.0;
/// Seed of the simulated world: chosen, any other shows the same script.
pub const SEED: u64 = 3;
/// Microseconds in an hour.
const HOUR_MICROS: f64 = 3.6e9;

/// What does not change during a demo.
#[derive(Clone, Debug, Default)]
pub struct Script {
    /// Model name.
    pub model: String,
    /// First event time.
    pub start: EventTime,
    /// Simulated seconds in a real one.
    pub speed: f64,
    /// What will really happen, in order.
    pub acts: Vec<Act>,
}

/// A drift or an attack of the script.
#[derive(Clone, Debug)]
pub struct Act {
    /// What the service should find: [`Finding::Drift`] or [`Finding::Probing`].
    pub finding: Finding,
    /// Event time at which it begins.
    pub from: EventTime,
    /// What happens, in words.
    pub words: String,
}

/// Event time at which the simulated day begins.
pub fn day_start() -> EventTime {
    DEFAULT_START.plus_seconds(FIRST_HOUR * 3600)
}

// === impl Script ===

impl Script {
    /// The script of a simulation.
    pub fn new(model: &str, speed: f64, settings: &SimulationSettings, simulation: &Simulation) -> Self {
        #[expect(clippy::cast_possible_truncation, reason = "hours of a few days")]
        let at = |hours: f64| EventTime::from_micros(settings.start.micros() + (hours * HOUR_MICROS) as i64);
        let world = simulation.world();
        let drifts = world.drifts.iter().zip(&settings.drifts).map(|(drift, spec)| {
            let words = format!("{} {}", spec.kind.in_words(), drift.features(&world.rows).join(", "));
            Act { finding: Finding::Drift, from: at(spec.start), words: words.trim_end().to_owned() }
        });
        let attacks = settings.attacks.iter().map(|spec| {
            let from = if spec.addresses > 1 { format!("{} addresses", spec.addresses) } else { "one address".to_owned() };
            let words = format!("from {from}: {}", spec.family.in_words());
            Act { finding: Finding::Probing, from: at(spec.start), words }
        });
        Self { model: model.to_owned(), start: settings.start, speed, acts: drifts.chain(attacks).collect() }
    }
}

// === impl Act ===

impl Act {
    /// Whether `finding` names what happens here.
    pub fn is_found_by(&self, finding: Finding) -> bool {
        finding == self.finding || finding == Finding::DriftAndProbing
    }

    /// What happens, as a sentence of its own.
    pub fn sentence(&self) -> String {
        let kind = if self.finding == Finding::Drift { "drift:" } else { "attack" };
        format!("{kind} {}", self.words)
    }
}
