//! What a drill found, added up by attack, by delivery, by both, and over all. It is the JSON of `--json`, and the source of the
//! table, the page and the card.
//!
//! Waiting times count attacks that were never found as infinite, so that a median or a ninth decile is only given where that many
//! were found. Shares over several deliveries treat their trials as independent; those of one repeat share an instant of the log,
//! so the intervals over all are a little too narrow. The cells' are exact.

use std::sync::Arc;

use serde::Serialize;

use super::baseline::Baseline;
use super::calibration::Calibration;
use super::injection::Delivery;
use super::log::{Facts, Log};
use super::statistics::{CONFIDENCE, Quantile, Share, quantile};
use super::surrogate::{Fidelity, Surrogates};
use super::trial::{GRACE_SECONDS, Trial};
use super::{DrillSettings, InjectionPlan};
use crate::engine::EngineConfig;
use crate::judge::At;
use crate::reference::Reference;
use crate::simulate::attack::AttackKind;

/// A drill's result.
#[derive(Clone, Debug, Serialize)]
pub struct DrillOutcome {
    /// Version of this program.
    pub version: &'static str,
    /// Model name.
    pub model: String,
    /// Digest of the reference profile.
    pub reference: String,
    /// The log.
    pub log: LogSummary,
    /// What was drilled.
    pub drill: DrillParameters,
    /// How well the surrogates repeat the log, the one that answered most attacks first.
    pub surrogates: Vec<Fidelity>,
    /// Features with a single value in the whole log.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub constant_features: Vec<String>,
    /// What a reader should know before believing the numbers.
    pub notes: Vec<String>,
    /// Everything that can be detected, together.
    pub all: DrillRow,
    /// What cannot be detected, apart; none if it was not drilled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub undetectable: Option<DrillRow>,
    /// By attack, over deliveries.
    pub families: Vec<DrillRow>,
    /// By delivery, over the attacks that can be detected.
    pub deliveries: Vec<DrillRow>,
    /// By attack and delivery.
    pub cells: Vec<DrillRow>,
    /// What the stated rate of false alarms turned into.
    pub calibration: Calibration,
    /// Every trial.
    pub trials: Vec<Trial>,
}

/// The log that was drilled.
#[derive(Clone, Debug, Serialize)]
pub struct LogSummary {
    /// First accepted event.
    pub from: At,
    /// Last accepted event.
    pub to: At,
    /// Callers kept; none if they were taken away.
    pub callers: u64,
    /// Events that the engine took into account.
    pub accepted: u64,
    /// Clients that the engine forgot to keep within its memory.
    pub clients_forgotten: u64,
    /// What could not be judged of the log as it is, in sentences; left out if all was.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub not_judged: Vec<String>,
    /// What was read and kept.
    #[serde(flatten)]
    pub facts: Facts,
}

/// What was drilled.
#[derive(Clone, Debug, Serialize)]
pub struct DrillParameters {
    /// Attacks.
    pub families: Vec<&'static str>,
    /// Deliveries.
    pub deliveries: Vec<String>,
    /// Own queries of each attack.
    pub budget: u64,
    /// Repeats.
    pub repeats: u32,
    /// Seed.
    pub seed: u64,
    /// How long a slow attack lasts, in seconds.
    pub slow_seconds: f64,
    /// How long a trial goes on after the attack's last query, in seconds.
    pub grace_seconds: f64,
    /// Instants of injection, by repeat.
    pub instants: Vec<At>,
    /// Confidence of every interval.
    pub confidence: f64,
    /// The engine's settings, its salt left out.
    pub engine: EngineSettings,
}

/// The settings of the engine that decide what is found.
#[derive(Clone, Debug, Serialize)]
pub struct EngineSettings {
    /// As in the configuration.
    pub alarms_per_client_day: f64,
    /// As in the configuration.
    pub allowed_lateness_seconds: u32,
    /// As in the configuration.
    pub max_clients: usize,
    /// As in the configuration.
    pub max_history: usize,
}

/// Trials added up.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct DrillRow {
    /// The attack, or `all`.
    pub family: String,
    /// The delivery, or `all`.
    pub delivery: String,
    /// Trials in which the attack was found, among those injected: the power. Found is an attack one of whose callers was named; with
    /// rotating addresses also one whose queries were declared a campaign; in a log without callers, one because of which the model was said
    /// to be probed.
    pub power: Share,
    /// Trials in which the model was said to be probed and is not without the attack, whoever was named.
    pub model: Share,
    /// Callers named, among those used; none of none in a log without callers.
    pub callers: Share,
    /// Own queries to the first verdict: the median.
    pub queries_median: Quantile,
    /// The ninth decile.
    pub queries_p90: Quantile,
    /// Seconds to the first verdict: the median.
    pub seconds_median: Quantile,
    /// The ninth decile.
    pub seconds_p90: Quantile,
    /// Share of the queries that were answered before their caller was named: the median over trials, 0 to 1.
    pub leaked_median: Quantile,
    /// The ninth decile.
    pub leaked_p90: Quantile,
    /// Trials in which an honest caller was accused, among those in which one could be: none of none in a log without callers.
    pub false_alarms: Share,
    /// Honest callers accused in all of them.
    pub accused: u64,
}

// === impl EngineSettings ===

impl EngineSettings {
    /// Takes the settings over.
    pub fn of(config: &EngineConfig) -> Self {
        let EngineConfig { alarms_per_client_day, allowed_lateness_seconds, max_clients, max_history, .. } = *config;
        Self { alarms_per_client_day, allowed_lateness_seconds, max_clients, max_history }
    }
}

// === impl DrillRow ===

impl DrillRow {
    fn of<'a>(family: &str, delivery: &str, trials: impl Iterator<Item = &'a Trial>) -> Self {
        let trials: Vec<&Trial> = trials.collect();
        let count = |test: &dyn Fn(&Trial) -> bool| trials.iter().filter(|trial| test(trial)).count() as u64;
        let sum = |part: &dyn Fn(&Trial) -> u64| trials.iter().map(|trial| part(trial)).sum::<u64>();
        let values = |part: &dyn Fn(&Trial) -> Option<f64>| -> Vec<f64> {
            trials.iter().map(|trial| part(trial).unwrap_or(f64::INFINITY)).collect()
        };
        #[expect(clippy::cast_precision_loss, reason = "counts of queries")]
        let queries = values(&|trial| trial.queries_to_detection.map(|queries| queries as f64));
        let (seconds, leaked) = (values(&|trial| trial.seconds_to_detection), values(&|trial| Some(trial.leaked)));
        let both = |mut values: Vec<f64>| (quantile(&mut values, 0.5), quantile(&mut values, 0.9));
        let ((queries_median, queries_p90), (seconds_median, seconds_p90)) = (both(queries), both(seconds));
        let (leaked_median, leaked_p90) = both(leaked);
        Self {
            family: family.to_owned(),
            delivery: delivery.to_owned(),
            power: Share::new(count(&|trial| trial.queries_to_detection.is_some()), trials.len() as u64),
            model: Share::new(count(&|trial| trial.queries_to_model_verdict.is_some()), trials.len() as u64),
            callers: Share::new(sum(&|trial| trial.named), sum(&|trial| trial.callers)),
            queries_median,
            queries_p90,
            seconds_median,
            seconds_p90,
            leaked_median,
            leaked_p90,
            false_alarms: Share::new(count(&|trial| trial.accused > 0), count(&|trial| trial.callers > 0)),
            accused: sum(&|trial| trial.accused),
        }
    }
}

/// Whether this attack can be told from use at all.
pub fn detectable(family: &str) -> bool {
    family != AttackKind::Natural.name()
}

/// Stands for every attack or delivery in a [`DrillRow`].
pub const ALL: &str = "all";

// === impl DrillOutcome ===

impl DrillOutcome {
    /// Adds up the trials.
    #[expect(clippy::too_many_arguments, reason = "one call site; a struct would repeat the fields of the outcome")]
    pub fn new(
        log: &Log,
        reference: &Arc<Reference>,
        settings: &DrillSettings,
        baseline: &Baseline,
        answerer: &Surrogates,
        families: &[AttackKind],
        deliveries: &[Delivery],
        plan: &InjectionPlan,
        trials: Vec<Trial>,
        mut notes: Vec<String>,
    ) -> Self {
        let names: Vec<String> = deliveries.iter().map(|delivery| delivery.name()).collect();
        let mut cells = Vec::new();
        for family in families {
            for delivery in &names {
                let here = |trial: &&Trial| trial.family == family.name() && trial.delivery == *delivery;
                cells.push(DrillRow::of(family.name(), delivery, trials.iter().filter(here)));
            }
        }
        cells.retain(|cell| cell.power.among > 0);
        let by_family =
            |family: &AttackKind| DrillRow::of(family.name(), ALL, trials.iter().filter(|trial| trial.family == family.name()));
        let by_delivery = |delivery: &String| {
            DrillRow::of(ALL, delivery, trials.iter().filter(|trial| trial.delivery == *delivery && detectable(trial.family)))
        };
        let fidelity = answerer.fidelity();
        notes.extend(doubts(&fidelity, log));
        Self {
            version: env!("CARGO_PKG_VERSION"),
            model: log.model.clone(),
            reference: reference.digest.clone(),
            log: LogSummary::of(log, baseline),
            drill: DrillParameters {
                families: families.iter().map(|family| family.name()).collect(),
                deliveries: names.clone(),
                budget: settings.budget as u64,
                repeats: settings.repeats,
                seed: settings.seed,
                slow_seconds: plan.slow_seconds,
                grace_seconds: GRACE_SECONDS,
                instants: plan.instants.iter().map(|at| At(*at)).collect(),
                confidence: CONFIDENCE,
                engine: EngineSettings::of(&settings.engine),
            },
            surrogates: fidelity,
            constant_features: answerer.constant.clone(),
            notes,
            all: DrillRow::of(ALL, ALL, trials.iter().filter(|trial| detectable(trial.family))),
            undetectable: families
                .contains(&AttackKind::Natural)
                .then(|| DrillRow::of(AttackKind::Natural.name(), ALL, trials.iter().filter(|trial| !detectable(trial.family)))),
            families: families.iter().map(by_family).filter(|line| line.power.among > 0).collect(),
            deliveries: names.iter().map(by_delivery).filter(|line| line.power.among > 0).collect(),
            cells,
            calibration: Calibration::of(log, baseline, settings.engine.alarms_per_client_day),
            trials,
        }
    }
}

// === impl LogSummary ===

impl LogSummary {
    /// What there is to say of a log that was judged alone.
    pub fn of(log: &Log, baseline: &Baseline) -> Self {
        let (first, last) = baseline.span.unwrap_or_default();
        Self {
            from: At(first),
            to: At(last),
            callers: log.named_callers() as u64,
            accepted: baseline.accepted_events(),
            clients_forgotten: baseline.evicted,
            not_judged: baseline.not_judged.clone(),
            facts: log.facts.clone(),
        }
    }

    /// What of the log is not in the numbers, in words; empty if all is.
    pub fn left_out(&self) -> Vec<String> {
        let mut said = self.not_judged.clone();
        let mut say = |number: u64, words: &str| {
            if number > 0 {
                said.push(format!("{} {words}", crate::html::words::count(number)));
            }
        };
        say(self.facts.older, "events are older than --last and were left out.");
        say(self.facts.rejected, "messages could not be read and were left out.");
        say(self.facts.other_models, "events are of other models and were left out.");
        say(self.facts.kept - self.accepted, "events came too late or from the future; the judge does not count them.");
        if self.facts.one_caller_in > 1 {
            said.push(format!(
                "The log is larger than what is kept in memory: one caller in {} is here, with all of its events; {} events of others are not.",
                self.facts.one_caller_in,
                crate::html::words::count(self.facts.of_callers_left_out)
            ));
        }
        said
    }
}

/// Reasons to doubt the numbers.
fn doubts(fidelity: &[Fidelity], log: &Log) -> Vec<String> {
    let mut doubts = Vec::new();
    if let Some(best) = fidelity.first() {
        let agreement = best.agreement.value().unwrap_or(0.0);
        // Where it decides no better than a constant, attacks that follow the decision boundary follow one that is not there.
        if best.agreement.interval.low <= best.always_the_commonest && best.explained.is_none_or(|share| share < 0.5) {
            doubts.push(format!(
                "The surrogate decides like the log on {} of rows it did not learn from, hardly more than the commonest decision ({}). Attacks that follow the answers are drilled against a poor copy of the model.",
                crate::html::words::percent(agreement),
                crate::html::words::percent(best.always_the_commonest)
            ));
        }
    }
    if log.facts.one_caller_in > 1 {
        doubts.push(
            "Attackers hide among the callers that were kept; in the whole log there are more callers to hide among.".to_owned(),
        );
    }
    doubts
}
