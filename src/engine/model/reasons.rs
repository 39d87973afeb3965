//! The signals of a verdict on a client, heaviest first.
//!
//! Density and structure signals carry the evidence that judged. Rate, gaps and entropy describe: operators expect them and compare
//! them by hand; their `evidence` is 0, or, for the rate, a number below one that only orders the list.

use super::ModelEngine;
use super::callers::VALUES_FROM;
use crate::event::EventTime;
use crate::judge::SignalValue;
use crate::judge::client::Client;
use crate::judge::client::volume::Span;
use crate::judge::volume::Excess;
use crate::signal::cuts::{CUTS, REPORTED_CUT};
use crate::signal::density::statistic::DensityStatistic;
use crate::signal::rate::surprise;
use crate::window::clients::SlotRef;

/// Hours of the day that count as off-hours, of 24: what traffic spread evenly over the day shows.
const EVEN_OFF_HOURS: f64 = 0.25;
/// Scale and bound of the number by which an unusual rate is ordered among the reasons: below every evidence that judged.
const RATE_ORDER: (f64, f64) = (0.1, 3.0);

/// Least probability that evidence is computed from; below it a float has no logarithm to speak of.
const LEAST_PROBABILITY: f64 = 1e-300;

/// Signals under way; figures that are not finite are left out.
#[derive(Default)]
struct Signals(Vec<SignalValue>);

// === impl Signals ===

impl Signals {
    /// A signal with evidence, in nats.
    fn judges(&mut self, name: &'static str, value: f64, reference: f64, evidence: f64) {
        if value.is_finite() && reference.is_finite() && evidence.is_finite() {
            self.0.push(SignalValue { name, value, reference, evidence });
        }
    }

    /// A signal that describes.
    fn describes(&mut self, name: &'static str, value: f64, reference: f64) {
        self.judges(name, value, reference, 0.0);
    }
}

// === impl ModelEngine ===

impl ModelEngine {
    /// Signals of a client, heaviest first; none if it is forgotten.
    pub(super) fn client_signals(&self, at: SlotRef, now: EventTime) -> Vec<SignalValue> {
        let Some(client) = self.memory.callers.clients.get(at) else { return Vec::new() };
        let mut signals = Signals::default();
        density_signals(client, &mut signals);
        structure_signals(client, &mut signals);
        if client.crowd_evidence > 0.0 {
            let evidence = f64::from(client.crowd_evidence);
            signals.judges("row_of_a_crowd", evidence, 0.0, evidence);
        }
        self.classic_signals(client, now, &mut signals);
        self.context_signals(client, &mut signals);
        let mut signals = signals.0;
        signals.sort_by(|a, b| b.evidence.total_cmp(&a.evidence));
        signals
    }

    /// Signals of a client that asks far more than others, heaviest first.
    pub(super) fn volume_signals(&self, client: &Client, excess: &Excess, now: EventTime) -> Vec<SignalValue> {
        let mut signals = Signals::default();
        let name = match excess.span {
            Span::FiveMinutes => "different_rows_in_five_minutes",
            Span::Hour => "different_rows_in_an_hour",
        };
        signals.judges(name, excess.rows, excess.peers, evidence(excess.tail));
        if let Some(together) = excess.together {
            signals.judges("busy_newcomers_together", f64::from(together.callers), together.expected, evidence(together.tail));
        }
        signals.describes("times_own_largest_past", excess.rows / excess.past.max(1.0), 1.0);
        self.classic_signals(client, now, &mut signals);
        self.context_signals(client, &mut signals);
        let mut signals = signals.0;
        signals.sort_by(|a, b| b.evidence.total_cmp(&a.evidence));
        signals
    }

    /// Rate, gaps and hours.
    fn classic_signals(&self, client: &Client, now: EventTime, signals: &mut Signals) {
        let rate_p95 = self.memory.windows.rate_p95;
        let hourly = f64::from(client.rate.queries(now, 1));
        let past = client.rate.own_past(now).unwrap_or(rate_p95).max(rate_p95);
        signals.judges("query_rate", hourly, rate_p95, surprise(hourly, past).min(RATE_ORDER.1) * RATE_ORDER.0);
        if let (Some(mean), Some(variation)) = (client.gap.mean(), client.gap.variation()) {
            signals.describes("inter_query_gap_seconds", mean, 0.0);
            signals.describes("gap_variation", variation, 1.0);
        }
        if let Some(share) = client.gap.off_hours() {
            signals.describes("off_hours_share", share, EVEN_OFF_HOURS);
        }
    }

    /// Neighbours, what could have been learned, and entropy.
    fn context_signals(&self, client: &Client, signals: &mut Signals) {
        let neighbours = self.memory.callers.shared_identities.neighbours(client.address);
        if neighbours.flagged > 0 {
            let (flagged, members) = (f64::from(neighbours.flagged), f64::from(neighbours.members));
            signals.describes("flagged_neighbours_in_prefix", flagged, members);
        }
        let regions = &self.profile.regions;
        signals.describes("information_budget", regions.ratio(&client.information), 1.0);
        if let Some(covered) = regions.covered(&client.information) {
            signals.describes("regions_covered", covered, 0.0);
        }
        if u64::from(client.values.rows()) >= VALUES_FROM {
            let entropy = client.values.mean_entropy(self.profile.coder.sizes());
            signals.describes("feature_entropy", entropy, self.profile.entropy);
        }
    }
}

/// Natural logarithm of the evidence of something that honest traffic shows with a probability.
fn evidence(probability: f64) -> f64 {
    -probability.max(LEAST_PROBABILITY).ln()
}

/// Density statistics with evidence against the client: the share of its votes beyond a cut.
fn density_signals(client: &Client, signals: &mut Signals) {
    for statistic in DensityStatistic::ALL {
        let evidence = client.distribution.detector.of(statistic).max(1.0).ln();
        if evidence > 0.0 {
            signals.judges(statistic.name(), client.distribution.exceedance(statistic), CUTS[REPORTED_CUT], evidence);
        }
    }
}

/// Proximity to earlier rows and automation of edits, and the counts that automation is made of; their weight is in the sum.
fn structure_signals(client: &Client, signals: &mut Signals) {
    if client.structure.peak > 0.0 {
        let (proximity, automation) = (client.structure.proximity(), client.structure.automation());
        signals.judges("proximity_to_earlier_rows", proximity, 0.0, proximity);
        signals.judges("automation_of_edits", automation, 0.0, automation);
        client.structure.edit_counts().for_each(|(name, edits)| signals.describes(name, f64::from(edits), 0.0));
    }
}
