//! Proof on the user's own traffic: attacks injected into a copy of the log, and what became of them.
//!
//! An operator cannot know what a detector would miss until it is attacked. A drill attacks it: published attacks
//! ([`attack`](crate::simulate::attack)) ask a surrogate that was fitted on the log ([`surrogate`]), are delivered in several
//! ways ([`injection`]), and are judged among the log's own callers by the engine that `run` uses ([`trial`]). What is said of the log
//! alone comes first ([`baseline`]) and is what the stated rate of false alarms turned into ([`calibration`]).
//!
//! How it stays cheap: every repeat has one instant of injection. The log is judged once up to it. Each trial of the repeat goes
//! on from a clone of that engine. Trials are independent of each other and of which others are drilled: their seeds are functions
//! of the drill's seed, the repeat, the attack and the delivery. Threads take trials from a common list and put results back in
//! their places, so the same settings give the same bytes, however many threads there are.

pub mod baseline;
pub mod calibration;
pub mod card;
pub mod changes;
mod error;
pub mod injection;
pub mod log;
pub mod outcome;
pub mod page;
mod parallel;
mod picture;
pub mod plan;
pub mod statistics;
pub mod surrogate;
pub mod table;
pub mod trial;

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::engine::EngineConfig;
use crate::hash::{mix2, text};
use crate::reference::{PredictionKind, Reference};
use crate::simulate::attack::{Accounts, AttackKind, AttackSpec, Oracle, Pace};
use crate::simulate::chance::stream;
use crate::simulate::victim::Victim as _;

pub use error::DrillError;
pub use plan::{InjectionPlan, MIN_SECONDS};

use baseline::{Baseline, Playback};
use injection::{Delivery, SenderPool, Senders};
use log::Log;
use outcome::DrillOutcome;
use parallel::in_parallel;
use surrogate::Surrogates;
use trial::{InjectedAttack, RecordedAttack, Trial, TrialStart};

/// Fewest callers. The judge compares callers with their peers, and false alarms among three callers say nothing.
pub const MIN_CALLERS: usize = 10;

/// What to drill.
#[derive(Clone, PartialEq, Debug)]
pub struct DrillSettings {
    /// Attacks.
    pub families: Vec<AttackKind>,
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

/// Where a drill is, for a progress bar.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Progress {
    /// Judging the log alone: events done, of so many.
    Baseline(usize, usize),
    /// Fitting the surrogates.
    Surrogate,
    /// Trials done, of so many.
    Trials(usize, usize),
    /// Changes made and judged, of so many.
    Changes(usize, usize),
}

// === impl DrillSettings ===

impl Default for DrillSettings {
    fn default() -> Self {
        Self {
            families: AttackKind::ALL.to_vec(),
            deliveries: deliveries(&[1, 50], None),
            budget: 500,
            repeats: 5,
            seed: 1,
            engine: EngineConfig::default(),
        }
    }
}

impl DrillSettings {
    /// Events of a log kept unless told otherwise: a busy day, and minutes of work on a laptop.
    pub const fn default_events() -> usize {
        400_000
    }
}

/// The ways and paces of an attack: name, whether it is slow, whether it has cover.
const PACES: [(&str, bool, bool); 3] = [("fast", false, false), ("slow", true, false), ("cover", true, true)];

/// Every delivery for the given numbers of addresses: fast, slow, and slow with cover; one behind a NAT; and rotating addresses, fast
/// and slow. `kinds` narrows to some of `fast`, `slow`, `cover`, `nat`, `rotating`.
pub fn deliveries(addresses: &[usize], kinds: Option<&[String]>) -> Vec<Delivery> {
    let wanted = |kind: &str| kinds.is_none_or(|kinds| kinds.iter().any(|one| one == kind));
    let mut all = Vec::new();
    for &addresses in addresses {
        for (_, slow, cover) in PACES.into_iter().filter(|(kind, ..)| wanted(kind)) {
            all.push(Delivery { from: Senders::Addresses(addresses), slow, cover });
        }
    }
    if wanted("nat") {
        all.push(Delivery { from: Senders::Nat, slow: true, cover: false });
    }
    if wanted("rotating") {
        all.extend([false, true].map(|slow| Delivery { from: Senders::Rotating, slow, cover: false }));
    }
    all
}

/// Every delivery in a log without callers: only pace and cover are left. `kinds` narrows to some of `fast`, `slow`, `cover`.
pub fn deliveries_without_callers(kinds: Option<&[String]>) -> Vec<Delivery> {
    let wanted = |kind: &str| kinds.is_none_or(|kinds| kinds.iter().any(|one| one == kind));
    let paces = PACES.into_iter().filter(|(kind, ..)| wanted(kind));
    paces.map(|(_, slow, cover)| Delivery { from: Senders::Unnamed, slow, cover }).collect()
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
    // Without callers there are no peers to compare with, and nobody who could be accused.
    if !log.facts.without_callers {
        let named =
            log.callers.iter().filter(|who| who.address != crate::event::Address::Unknown || !who.account.is_empty()).count();
        match named {
            0 => return Err(DrillError::Nameless),
            1..MIN_CALLERS => return Err(DrillError::FewCallers(named)),
            _ => {}
        }
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
    settings: &DrillSettings,
    baseline: &Baseline,
    threads: NonZeroUsize,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<DrillOutcome, DrillError> {
    progress(Progress::Surrogate);
    let honest: Vec<bool> = log.callers.iter().map(|who| !baseline.accuses(&caller(who))).collect();
    let answerer = Surrogates::fit(reference, log, |event| honest[log.caller(event)] && baseline.accepted[event], settings.seed)?;
    let mut notes = Vec::new();
    let families = applicable(&settings.families, &answerer, reference, &mut notes);
    let crowd = SenderPool::of(log);
    let deliveries = possible(&settings.deliveries, log, &crowd, &mut notes);
    let plan = InjectionPlan::new(baseline, settings);
    let total = families.len() * deliveries.len() * settings.repeats as usize;
    let done = AtomicUsize::new(0);
    let mut results: Vec<Option<Trial>> = Vec::new();
    let mut playback = Playback::new(log, reference, &settings.engine)?;
    for (repeat, instant) in plan.in_order() {
        playback.judge_while(|event| baseline.clock[event] < instant);
        let start = TrialStart { log, baseline, engine: &playback.engine, next: playback.next };
        let recordings = in_parallel(threads, families.len(), |at| record(families[at], &answerer, settings, repeat));
        let trials = in_parallel(threads, families.len() * deliveries.len(), |at| {
            let (family, delivery) = (at / deliveries.len(), deliveries[at % deliveries.len()]);
            let recording = &recordings[family];
            let seed = mix2(trial_seed(settings.seed, repeat, families[family]), stream::INJECTION);
            let injected = injection::inject(delivery, recording.rows.len(), instant, plan.slow_seconds, log, &crowd, seed);
            let result = injected.map(|(senders, queries)| {
                trial::run(start, &InjectedAttack { kind: families[family], delivery, repeat, recording, senders, queries })
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
    Ok(DrillOutcome::new(log, reference, settings, baseline, &answerer, &families, &deliveries, &plan, trials, notes))
}

/// The caller as verdicts name it.
pub fn caller(who: &log::LogCaller) -> crate::judge::caller::Caller {
    let source_ip = match who.address {
        crate::event::Address::Ip(ip) => Some(ip.to_string()),
        crate::event::Address::Unknown => None,
    };
    baseline::caller(source_ip, (!who.account.is_empty()).then(|| who.account.to_string()))
}

/// The deliveries that this log allows; notes which it does not, and why.
fn possible(wanted: &[Delivery], log: &Log, crowd: &SenderPool, notes: &mut Vec<String>) -> Vec<Delivery> {
    let mut kept = wanted.to_vec();
    if log.facts.without_callers {
        // Nothing else can be delivered where nobody has an address.
        kept.retain(|delivery| delivery.from == Senders::Unnamed);
        notes.push(
            "The callers were taken away from the copy of the log: no query has an address or an account. Found means that the model was said to be probed, and no caller can be named or accused.".to_owned(),
        );
        return kept;
    }
    let mut leave_out = |from: Senders, why: &str| {
        if kept.iter().any(|delivery| delivery.from == from) {
            kept.retain(|delivery| delivery.from != from);
            notes.push(why.to_owned());
        }
    };
    if !crowd.has_nat() {
        leave_out(Senders::Nat, "No address of this log hides three accounts or more, so nothing was injected behind a NAT.");
    }
    if !crowd.has_addresses() {
        leave_out(Senders::Rotating, "This log names no addresses, so no attack came from rotating addresses.");
        notes.push("This log names no addresses, so attackers came as so many accounts instead.".to_owned());
    }
    kept
}

/// The attacks that make sense against this model; notes which do not, or not quite, and why.
fn applicable(wanted: &[AttackKind], answerer: &Surrogates, reference: &Reference, notes: &mut Vec<String>) -> Vec<AttackKind> {
    let names = |families: &[AttackKind]| families.iter().map(|family| family.name()).collect::<Vec<_>>().join(", ");
    let (mut left_out, mut climbing) = (Vec::new(), Vec::new());
    let mut kept = Vec::new();
    for &family in wanted {
        let climbs = matches!(family, AttackKind::Zoo | AttackKind::SimBa | AttackKind::Square);
        let walks =
            matches!(family, AttackKind::LineSearch | AttackKind::HopSkipJump | AttackKind::Boundary | AttackKind::Jacobian);
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
        let what = "This model answers with labels alone. Attacks that climb a score were injected and learn little";
        notes.push(format!("{what}: {}.", names(&climbing)));
    }
    kept
}

fn trial_seed(seed: u64, repeat: u32, family: AttackKind) -> u64 {
    mix2(mix2(seed, u64::from(repeat)), text(family.name()))
}

/// Runs an attack against its surrogate.
fn record(family: AttackKind, answerer: &Surrogates, settings: &DrillSettings, repeat: u32) -> RecordedAttack {
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
        rotating: false,
        full_precision: false,
    };
    let victim = answerer.of(family);
    let rows = Oracle::record(&spec, victim, &answerer.rows, trial_seed(settings.seed, repeat, family));
    let answers = rows.iter().map(|row| surrogate::logged(&victim.answer(row))).collect();
    RecordedAttack { rows, answers }
}
