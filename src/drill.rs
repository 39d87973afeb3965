//! Proof on the user's own traffic: attacks planted in a copy of the log, and what became of them.
//!
//! An operator cannot know what his detector would miss until somebody tries. Here somebody does: published attacks
//! ([`attack`](crate::simulate::attack)) ask a surrogate that was fitted on the log ([`surrogate`]), are delivered in several
//! ways ([`injection`]), and are judged among the log's own callers by the engine that `run` uses ([`trial`]). What is said of the log
//! alone comes first ([`baseline`]) and is what the stated rate of false alarms turned into ([`calibration`]).
//!
//! How it stays cheap: every repeat has one instant of planting. The log is judged once up to it; each trial of the repeat goes
//! on from a clone of that engine. Trials are independent of each other and of which others are drilled: their seeds are functions
//! of the drill's seed, the repeat, the attack and the delivery. Threads take trials from a common list and put results back in
//! their places, so the same settings give the same bytes, however many threads there are.

pub mod baseline;
pub mod calibration;
pub mod card;
pub mod injection;
pub mod log;
pub mod outcome;
pub mod page;
mod picture;
pub mod statistics;
pub mod surrogate;
pub mod table;
pub mod trial;

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use crate::engine::{EngineConfig, Input, Outbox};
use crate::event::EventTime;
use crate::hash::{mix2, text};
use crate::judge::distribution::WARM_UP_SECONDS;
use crate::reference::{PredictionKind, Reference};
use crate::simulate::attack::{Accounts, AttackSpec, Family, Oracle, Pace};
use crate::simulate::callers::after;
use crate::simulate::victim::Victim as _;

use baseline::Baseline;
use injection::{Crowd, Delivery};
use log::Log;
use outcome::Outcome;
use surrogate::Answerer;
use trial::{Attack, GRACE_SECONDS, Recording, Trial, TrialStart};

/// A slow attack lasts at most this long: half a day is what "low and slow" needs to hide from hourly rates.
const SLOW_SECONDS: f64 = 12.0 * 3600.0;
/// Shortest slow attack that is worth the word.
const MIN_SLOW_SECONDS: f64 = 1800.0;
/// Shortest log in seconds: the judge's warm-up, a slow attack of an hour with as much room to start in, and the grace.
pub const MIN_SECONDS: f64 = WARM_UP_SECONDS as f64 + 2.0 * MIN_SLOW_SECONDS + GRACE_SECONDS;
/// Fewest callers. The judge compares callers with their peers, and false alarms among three callers say nothing.
pub const MIN_CALLERS: usize = 10;

/// What to drill.
#[derive(Clone, PartialEq, Debug)]
pub struct Settings {
    /// Attacks.
    pub families: Vec<Family>,
    /// Deliveries.
    pub deliveries: Vec<Delivery>,
    /// Own queries of each attack.
    pub budget: usize,
    /// Repeats of every attack and delivery.
    pub repeats: u32,
    /// Seed of everything.
    pub seed: u64,
    /// Settings of the engine.
    pub engine: EngineConfig,
}

/// Why a log cannot be drilled. Each says what to do.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum DrillError {
    /// Nothing usable in the log.
    #[error("the log has no event of model '{model}' that could be used{why}; there is nothing to plant attacks in")]
    Empty {
        /// Model of the reference.
        model: String,
        /// What was there instead.
        why: String,
    },
    /// Callers without names.
    #[error(
        "no event names its caller (source_ip or client_id), so nobody could be found or accused; log one of the two, or map it with decode.mapping"
    )]
    Nameless,
    /// Too few callers.
    #[error(
        "the log has {0} caller(s), fewer than the {MIN_CALLERS} that are needed: the judge compares callers with their peers, and alarms among so few say nothing; take a log of more callers"
    )]
    FewCallers(usize),
    /// Too short.
    #[error(
        "the log covers {covers}, and the judge needs {needs}: four hours of warm-up, and room to plant slow attacks in; take a longer log"
    )]
    Short {
        /// How long it is, in words.
        covers: String,
        /// How long it should be, in words.
        needs: String,
    },
    /// No answers.
    #[error(
        "none of the {events} events carries an answer of the kind that the profile knows, so no surrogate can be fitted to answer the attacks; log the prediction, or use the profile of this model"
    )]
    NoAnswers {
        /// Events looked at.
        events: usize,
    },
    /// Too few rows.
    #[error(
        "only {rows} different rows with an answer, fewer than the {least} that fitting and checking a surrogate needs; take a longer log",
        least = surrogate::MIN_ROWS
    )]
    FewRows {
        /// Different rows.
        rows: usize,
    },
    /// One answer.
    #[error(
        "every answer in this log is the same, so there is nothing that an attack could learn; take a log with different answers"
    )]
    OneAnswer,
    /// The surrogate could not be fitted.
    #[error("the surrogate could not be fitted: {0}")]
    Surrogate(String),
    /// Settings of the engine.
    #[error("{0}")]
    Settings(String),
}

/// Where a drill is, for a progress bar.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Progress {
    /// Judging the log alone: events done, of so many.
    Baseline(usize, usize),
    /// Fitting the surrogates.
    Surrogate,
    /// Trials done, of so many.
    Trials(usize, usize),
}

// === impl Settings ===

impl Default for Settings {
    fn default() -> Self {
        Self {
            families: Family::ALL.to_vec(),
            deliveries: deliveries(&[1, 50], None),
            budget: 500,
            repeats: 5,
            seed: 1,
            engine: EngineConfig::default(),
        }
    }
}

impl Settings {
    /// Events of a log kept unless told otherwise: a busy day, and minutes of work on a laptop.
    pub const fn default_events() -> usize {
        400_000
    }
}

/// Every delivery for the given numbers of addresses: fast, slow, and slow with cover, and one behind a NAT; `kinds` narrows to
/// some of `fast`, `slow`, `cover`, `nat`.
pub fn deliveries(addresses: &[usize], kinds: Option<&[String]>) -> Vec<Delivery> {
    let wanted = |kind: &str| kinds.is_none_or(|kinds| kinds.iter().any(|one| one == kind));
    let mut all = Vec::new();
    for &addresses in addresses {
        for (kind, slow, cover) in [("fast", false, false), ("slow", true, false), ("cover", true, true)] {
            if wanted(kind) {
                all.push(Delivery { addresses, slow, cover, nat: false });
            }
        }
    }
    if wanted("nat") {
        all.push(Delivery { addresses: 1, slow: true, cover: false, nat: true });
    }
    all
}

/// Checks that a log can say anything, judges it alone, and counts what the stated rate turned into.
///
/// # Errors
/// A log that is empty, nameless, too short or of too few callers, or settings out of range.
pub fn judge_alone(
    log: &Log,
    reference: &Arc<Reference>,
    config: &EngineConfig,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<Baseline, DrillError> {
    if log.is_empty() {
        return Err(DrillError::Empty { model: log.model.clone(), why: instead(log) });
    }
    let named = log.callers.iter().filter(|who| who.address != crate::event::Address::Unknown || !who.account.is_empty()).count();
    if named == 0 {
        return Err(DrillError::Nameless);
    }
    if named < MIN_CALLERS {
        return Err(DrillError::FewCallers(named));
    }
    let baseline = Baseline::of(log, reference, config, |done| progress(Progress::Baseline(done, log.len())))?;
    let seconds = baseline.span.map_or(0.0, |(first, last)| last.seconds_since(first));
    if seconds < MIN_SECONDS {
        let words = crate::html::words::duration;
        return Err(DrillError::Short { covers: words(seconds), needs: words(MIN_SECONDS) });
    }
    Ok(baseline)
}

/// What was in the log instead of usable events.
fn instead(log: &Log) -> String {
    let facts = &log.facts;
    match (&facts.first_rejection, facts.other_models) {
        _ if facts.read == 0 => ": it is empty".to_owned(),
        (Some(first), _) => format!(": {} events were read and none taken, the first because of {first}", facts.read),
        (None, 0) => String::new(),
        (None, others) => format!(": {others} events are of other models"),
    }
}

/// Runs the drill on a log that was judged alone.
///
/// # Errors
/// A log on which no surrogate can be fitted.
pub fn run(
    log: &Log,
    reference: &Arc<Reference>,
    settings: &Settings,
    baseline: &Baseline,
    threads: NonZeroUsize,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<Outcome, DrillError> {
    progress(Progress::Surrogate);
    let honest: Vec<bool> = log.callers.iter().map(|who| !baseline.accuses(&caller(who))).collect();
    let answerer = Answerer::fit(reference, log, |event| honest[log.caller(event)] && baseline.accepted[event], settings.seed)?;
    let mut notes = Vec::new();
    let families = applicable(&settings.families, &answerer, reference, &mut notes);
    let crowd = Crowd::of(log);
    let mut deliveries = settings.deliveries.clone();
    if !crowd.has_nat() && deliveries.iter().any(|delivery| delivery.nat) {
        deliveries.retain(|delivery| !delivery.nat);
        notes.push("No address of this log hides three accounts or more, so nothing was planted behind a NAT.".to_owned());
    }
    if !crowd.has_addresses() {
        notes.push("This log names no addresses, so attackers came as so many accounts instead.".to_owned());
    }
    let plan = Plan::new(baseline, settings);
    let total = families.len() * deliveries.len() * settings.repeats as usize;
    let done = AtomicUsize::new(0);
    let mut results: Vec<Option<Trial>> = Vec::new();
    let mut engine = baseline::engine(reference, &settings.engine)?;
    let (mut next, mut query, mut outbox) = (0, baseline::blank(log), Outbox::default());
    for (repeat, instant) in plan.in_order() {
        while next < log.len() && baseline.clock[next] < instant {
            log.fill(next, &mut query);
            outbox.verdicts.clear();
            engine.step(Input::Query(&query), &mut outbox);
            next += 1;
        }
        let stage = TrialStart { log, baseline, engine: &engine, next };
        let recordings = in_parallel(threads, families.len(), |at| record(families[at], &answerer, settings, repeat));
        let trials = in_parallel(threads, families.len() * deliveries.len(), |at| {
            let (family, delivery) = (at / deliveries.len(), deliveries[at % deliveries.len()]);
            let recording = &recordings[family];
            let seed = mix2(trial_seed(settings.seed, repeat, families[family]), 0xde11);
            let planted = injection::plant(delivery, recording.rows.len(), instant, plan.slow_seconds, log, &crowd, seed);
            let result = planted.map(|(senders, planted)| {
                trial::run(stage, &Attack { family: families[family], delivery, repeat, recording, senders, planted })
            });
            progress(Progress::Trials(done.fetch_add(1, Ordering::Relaxed) + 1, total));
            result
        });
        results.extend(trials);
    }
    let mut trials: Vec<Trial> = results.into_iter().flatten().collect();
    let place = |trial: &Trial| {
        let family = families.iter().position(|family| family.name() == trial.family);
        let delivery = deliveries.iter().position(|delivery| delivery.name() == trial.delivery);
        (family, delivery, trial.repeat)
    };
    trials.sort_by_key(place);
    Ok(Outcome::new(log, reference, settings, baseline, &answerer, &families, &deliveries, &plan, trials, notes))
}

/// The caller as verdicts name it.
pub fn caller(who: &log::Who) -> crate::judge::caller::Caller {
    let source_ip = match who.address {
        crate::event::Address::Ip(ip) => Some(ip.to_string()),
        crate::event::Address::Unknown => None,
    };
    baseline::caller(source_ip, (!who.account.is_empty()).then(|| who.account.to_string()))
}

/// The attacks that make sense against this model; notes which do not, or not quite, and why.
fn applicable(wanted: &[Family], answerer: &Answerer, reference: &Reference, notes: &mut Vec<String>) -> Vec<Family> {
    let names = |families: &[Family]| families.iter().map(|family| family.name()).collect::<Vec<_>>().join(", ");
    let (mut left_out, mut climbing) = (Vec::new(), Vec::new());
    let mut kept = Vec::new();
    for &family in wanted {
        let climbs = matches!(family, Family::Zoo | Family::SimBa | Family::Square);
        let walks = matches!(family, Family::LineSearch | Family::HopSkipJump | Family::Boundary | Family::Jacobian);
        if (climbs || walks) && answerer.rows.numeric().is_empty() {
            left_out.push(family);
            continue;
        }
        if climbs && reference.prediction.kind == PredictionKind::Label {
            climbing.push(family);
        }
        kept.push(family);
    }
    if !left_out.is_empty() {
        notes.push(format!("Left out, since they move numbers in small steps and this model has none: {}.", names(&left_out)));
    }
    if !climbing.is_empty() {
        let what = "This model answers with labels alone. Attacks that climb a score were planted and learn little";
        notes.push(format!("{what}: {}.", names(&climbing)));
    }
    kept
}

fn trial_seed(seed: u64, repeat: u32, family: Family) -> u64 {
    mix2(mix2(seed, u64::from(repeat)), text(family.name()))
}

/// Runs an attack against its surrogate.
fn record(family: Family, answerer: &Answerer, settings: &Settings, repeat: u32) -> Recording {
    let spec = AttackSpec {
        family,
        queries: settings.budget,
        addresses: 1,
        same_subnet: false,
        accounts: Accounts::None,
        start: 0.0,
        pace: Pace::Fast,
        rate: 0.0,
        cover: 0.0,
        nat: false,
        full_precision: false,
    };
    let victim = answerer.of(family);
    let rows = Oracle::record(&spec, victim, &answerer.rows, trial_seed(settings.seed, repeat, family));
    let answers = rows.iter().map(|row| surrogate::logged(&victim.answer(row))).collect();
    Recording { rows, answers }
}

/// When attacks are planted.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Instant of each repeat.
    pub instants: Vec<EventTime>,
    /// How long a slow attack lasts.
    pub slow_seconds: f64,
}

// === impl Plan ===

impl Plan {
    /// Draws the instants: after the judge's warm-up, and early enough for a slow attack and its grace to end within the log.
    pub fn new(baseline: &Baseline, settings: &Settings) -> Self {
        let (first, last) = baseline.span.unwrap_or_default();
        let room = last.seconds_since(first) - WARM_UP_SECONDS as f64 - GRACE_SECONDS;
        let slow_seconds = (room / 2.0).clamp(MIN_SLOW_SECONDS, SLOW_SECONDS);
        let open = (room - slow_seconds).max(0.0);
        let instants = (0..settings.repeats)
            .map(|repeat| {
                let mut rng = ChaCha8Rng::seed_from_u64(mix2(mix2(settings.seed, u64::from(repeat)), 0x9142));
                after(first, WARM_UP_SECONDS as f64 + open * rng.random::<f64>())
            })
            .collect();
        Self { instants, slow_seconds }
    }

    /// Repeats by instant, earliest first.
    fn in_order(&self) -> Vec<(u32, EventTime)> {
        let mut order: Vec<(u32, EventTime)> = (0..).zip(self.instants.iter().copied()).collect();
        order.sort_by_key(|&(repeat, instant)| (instant, repeat));
        order
    }
}

/// Does `count` pieces of work on several threads; the results are in order.
fn in_parallel<T: Send>(threads: NonZeroUsize, count: usize, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<(usize, T)>> = Mutex::new(Vec::with_capacity(count));
    std::thread::scope(|scope| {
        for _ in 0..threads.get().min(count) {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    if at >= count {
                        break;
                    }
                    let result = work(at);
                    done.lock().unwrap_or_else(PoisonError::into_inner).push((at, result));
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, result)| result).collect()
}
