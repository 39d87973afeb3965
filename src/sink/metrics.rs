//! The one struct of metrics, registered on a registry that is passed in.
//!
//! What is exported is fixed in [`series`]; this file turns events and [`ModelStatus`]es into numbers. Three decisions:
//!
//! * **Known models only.** A model gets series when its reference is announced ([`Metrics::know_model`]); any other name that
//!   comes with traffic counts as [`OTHER`], because whoever writes to the log could otherwise invent a series with each query.
//! * **Present from the start.** Counters of a known model exist at zero before the first event, so that `increase()` sees the
//!   first one and a dashboard shows 0, not a gap. Measurements (PSI, entropy) are NaN until there is one: 0 would be a lie, and
//!   no comparison with NaN ever fires an alert.
//! * **Ages at the scrape.** Watermark lag and checkpoint age are computed when somebody looks ([`Metrics::render`]), since a
//!   worker that hangs cannot report that it hangs.
//!
//! Handles are shared: a clone speaks of the same numbers. Every method may be called from any thread.

pub mod cases;
mod log;
mod model_series;
pub mod series;
pub mod snapshots;

use std::sync::{Arc, PoisonError, RwLock};

use prometheus::{
    Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder,
};
use rustc_hash::FxHashMap;

use crate::engine::ModelStatus;
use crate::event::{EventTime, Prediction, Query, Repair, Repairs};
use crate::judge::{Family, Verdict};
use crate::reference::Reference;
use cases::CaseMetrics;
use log::LogMetrics;
use model_series::{prediction_histogram, scope_name};
use series::Series;
use snapshots::SnapshotMetrics;

/// Label value that stands for every model without a reference.
pub const OTHER: &str = "other";

/// Label value of `family` where a verdict has none.
const NO_FAMILY: &str = "none";

/// From a cached answer in process (1 ms) to a call that a user has given up on (10 s).
const LATENCY_BUCKETS: [f64; 13] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// From a tight loop (1 ms) over people (seconds to minutes) to a nightly job (a day); machine-regular gaps pile up in one.
const GAP_BUCKETS: [f64; 16] =
    [0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 14_400.0, 86_400.0];

/// From the commit interval of a producer (100 ms) to an hour, after which a verdict is history rather than an alarm.
const END_TO_END_BUCKETS: [f64; 15] = [0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0];

/// What became of a delivery.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DeliveryOutcome {
    /// The receiver has it.
    Delivered,
    /// The receiver refused it, or could not be reached within the retries.
    Failed,
}

/// Every series that Tripline exports.
#[derive(Clone, Debug)]
pub struct Metrics {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    registry: Registry,
    queries: IntCounterVec,
    rejected: IntCounterVec,
    repaired: IntCounterVec,
    unreadable: GaugeVec,
    rejected_by_client: GaugeVec,
    unreadable_clients: IntGaugeVec,
    volume_clients: IntGaugeVec,
    log: LogMetrics,
    late: IntCounterVec,
    latency: HistogramVec,
    psi: GaugeVec,
    psi_critical: GaugeVec,
    psi_without_suspects: GaugeVec,
    unseen: GaugeVec,
    missing: GaugeVec,
    column_changed: IntGaugeVec,
    prediction_psi: GaugeVec,
    prediction_psi_critical: GaugeVec,
    model_verdict: IntGaugeVec,
    clients: IntGaugeVec,
    evicted: IntCounterVec,
    flagged: IntGaugeVec,
    campaigns: IntGaugeVec,
    verdicts: IntCounterVec,
    rate_p95: GaugeVec,
    gap: HistogramVec,
    entropy: GaugeVec,
    budget: GaugeVec,
    lag: IntGaugeVec,
    watermark_lag: Gauge,
    end_to_end: Histogram,
    checkpoint_age: Gauge,
    snapshots: SnapshotMetrics,
    cases: CaseMetrics,
    alerts: IntCounterVec,
    outbox: IntGauge,
    models: RwLock<FxHashMap<Box<str>, Model>>,
    checkpoint: RwLock<Option<EventTime>>,
}

/// What is looked up once for a model, so that counting a query costs one hash look-up.
#[derive(Debug)]
struct Model {
    queries: IntCounter,
    prediction: Histogram,
    latency: Histogram,
    gap: Histogram,
    features: Vec<String>,
    watermark: EventTime,
    evicted: u64,
}

// === impl DeliveryOutcome ===

impl DeliveryOutcome {
    /// The label value.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Failed => "failed",
        }
    }
}

// === impl Metrics ===

impl Metrics {
    /// Registers every series.
    ///
    /// # Errors
    /// If the registry already holds a series of one of these names.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let build = int_gauges(registry, &series::BUILD_INFO)?;
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        let checkpoint_age = gauge(registry, &series::CHECKPOINT_AGE)?;
        checkpoint_age.set(f64::NAN);
        Ok(Self {
            inner: Arc::new(Inner {
                registry: registry.clone(),
                queries: counters(registry, &series::QUERIES)?,
                rejected: counters(registry, &series::REJECTED)?,
                repaired: {
                    let repaired = counters(registry, &series::REPAIRED)?;
                    for repair in Repair::ALL {
                        repaired.with_label_values(&[repair.field(), repair.fault()]);
                    }
                    repaired
                },
                unreadable: gauges(registry, &series::UNREADABLE_RATIO)?,
                rejected_by_client: gauges(registry, &series::REJECTED_BY_CLIENT)?,
                unreadable_clients: int_gauges(registry, &series::UNREADABLE_CLIENTS)?,
                volume_clients: int_gauges(registry, &series::VOLUME_CLIENTS)?,
                log: LogMetrics::register(registry)?,
                late: counters(registry, &series::LATE)?,
                latency: histograms(registry, &series::PREDICTION_LATENCY, &LATENCY_BUCKETS)?,
                psi: gauges(registry, &series::PSI)?,
                psi_critical: gauges(registry, &series::PSI_CRITICAL)?,
                psi_without_suspects: gauges(registry, &series::PSI_WITHOUT_SUSPECTS)?,
                unseen: gauges(registry, &series::UNSEEN)?,
                missing: gauges(registry, &series::MISSING)?,
                column_changed: int_gauges(registry, &series::COLUMN_CHANGED)?,
                prediction_psi: gauges(registry, &series::PREDICTION_PSI)?,
                prediction_psi_critical: gauges(registry, &series::PREDICTION_PSI_CRITICAL)?,
                model_verdict: int_gauges(registry, &series::MODEL_VERDICT)?,
                clients: int_gauges(registry, &series::CLIENTS)?,
                evicted: counters(registry, &series::EVICTED_CLIENTS)?,
                flagged: int_gauges(registry, &series::FLAGGED_CLIENTS)?,
                campaigns: int_gauges(registry, &series::CAMPAIGNS)?,
                verdicts: counters(registry, &series::VERDICTS)?,
                rate_p95: gauges(registry, &series::CLIENT_RATE_P95)?,
                gap: histograms(registry, &series::QUERY_GAP, &GAP_BUCKETS)?,
                entropy: gauges(registry, &series::ENTROPY_RATIO)?,
                budget: gauges(registry, &series::INFORMATION_BUDGET)?,
                lag: int_gauges(registry, &series::CONSUMER_LAG)?,
                watermark_lag: gauge(registry, &series::WATERMARK_LAG)?,
                end_to_end: histogram(registry, &series::END_TO_END, &END_TO_END_BUCKETS)?,
                checkpoint_age,
                snapshots: SnapshotMetrics::register(registry)?,
                cases: CaseMetrics::register(registry)?,
                alerts: counters(registry, &series::ALERTS_SENT)?,
                outbox: int_gauge(registry, &series::ALERT_OUTBOX)?,
                models: RwLock::default(),
                checkpoint: RwLock::default(),
            }),
        })
    }

    /// Makes the series of a model exist, at zero. A second announcement of the same model changes nothing.
    ///
    /// # Errors
    /// If the series cannot be registered, such as for a feature bin edge that is not finite.
    pub fn know_model(&self, reference: &Reference) -> Result<(), prometheus::Error> {
        let inner = &*self.inner;
        let name = reference.model.as_str();
        let mut models = inner.models.write().unwrap_or_else(PoisonError::into_inner);
        if models.contains_key(name) {
            return Ok(());
        }
        let prediction = prediction_histogram(reference)?;
        inner.registry.register(Box::new(prediction.clone()))?;
        let features: Vec<String> = reference.features.iter().map(|feature| feature.name.clone()).collect();
        inner.start_model(name, &features);
        models.insert(
            name.into(),
            Model {
                queries: inner.queries.with_label_values(&[name]),
                prediction,
                latency: inner.latency.with_label_values(&[name]),
                gap: inner.gap.with_label_values(&[name]),
                features,
                watermark: EventTime::default(),
                evicted: 0,
            },
        );
        Ok(())
    }

    /// Drops every series of a model whose reference was taken away.
    pub fn forget_model(&self, name: &str) {
        let inner = &*self.inner;
        let removed = inner.models.write().unwrap_or_else(PoisonError::into_inner).remove(name);
        if let Some(model) = removed {
            // It was registered when the model was announced.
            let _ = inner.registry.unregister(Box::new(model.prediction));
            inner.drop_model(name, &model.features);
        }
    }

    /// Makes the counter of every rejection reason exist, at zero.
    pub fn know_reasons(&self, reasons: impl IntoIterator<Item = &'static str>) {
        for reason in reasons {
            self.inner.rejected.with_label_values(&[reason]);
        }
    }

    /// An accepted query, and the seconds since the same client's previous one.
    pub fn accepted(&self, query: &Query, gap_seconds: Option<f64>) {
        let models = self.inner.models.read().unwrap_or_else(PoisonError::into_inner);
        let Some(model) = models.get(query.model.as_str()) else {
            return self.inner.queries.with_label_values(&[OTHER]).inc();
        };
        model.queries.inc();
        let value = match query.prediction {
            Prediction::Missing => None,
            Prediction::Score(score) => Some(score),
            Prediction::Label(label) => Some(label.value()),
            Prediction::Probabilities { probability, .. } => Some(probability),
        };
        // A sum that has once become NaN or infinite never recovers.
        if let Some(value) = value.filter(|value| value.is_finite()) {
            model.prediction.observe(value);
        }
        if let Some(latency) = query.latency_ms.filter(|latency| latency.is_finite() && *latency >= 0.0) {
            model.latency.observe(latency / 1e3);
        }
        if let Some(gap) = gap_seconds.filter(|gap| gap.is_finite() && *gap >= 0.0) {
            model.gap.observe(gap);
        }
    }

    /// A record that could not be read or used, by reason.
    pub fn rejected(&self, reason: &'static str) {
        self.inner.rejected.with_label_values(&[reason]).inc();
    }

    /// What was repaired in a query.
    pub fn repaired(&self, repairs: Repairs) {
        for repair in repairs.iter() {
            self.inner.repaired.with_label_values(&[repair.field(), repair.fault()]).inc();
        }
    }

    /// A query behind the watermark.
    pub fn late(&self, model: &str) {
        self.inner.late.with_label_values(&[self.label(model)]).inc();
    }

    /// A verdict, at wall-clock time `now` (none in replay).
    pub fn verdict(&self, verdict: &Verdict, now: Option<EventTime>) {
        let family = verdict.family.map_or(NO_FAMILY, Family::name);
        let labels = [self.label(&verdict.model), scope_name(verdict.scope), family, verdict.verdict.name()];
        self.inner.verdicts.with_label_values(&labels).inc();
        if let Some(now) = now {
            // Clocks of producer and service differ a little; a verdict cannot precede its query.
            self.inner.end_to_end.observe(now.seconds_since(verdict.at.0).max(0.0));
        }
    }

    /// State of the models, a few times a minute. Models that `status` does not name keep their numbers, so several shards may
    /// publish into the same metrics.
    pub fn publish(&self, status: &[ModelStatus], now: Option<EventTime>) {
        let mut models = self.inner.models.write().unwrap_or_else(PoisonError::into_inner);
        for status in status {
            if let Some(model) = models.get_mut(status.model.as_str()) {
                self.inner.publish_model(status, model);
            }
        }
        drop(models);
        if let Some(now) = now {
            self.refresh(now);
        }
    }

    /// Records not yet read of a partition.
    pub fn lag(&self, topic: &str, partition: i32, records: i64) {
        self.inner.lag.with_label_values(&[topic, &partition.to_string()]).set(records.max(0));
    }

    /// A partition was taken away: its series must vanish.
    pub fn forget_partition(&self, topic: &str, partition: i32) {
        for gauge in [&self.inner.lag, &self.inner.log.open_transaction] {
            // An error means that no number was ever known.
            let _ = gauge.remove_label_values(&[topic, &partition.to_string()]);
        }
    }

    /// Everything processed so far became durable at `now`.
    pub fn checkpoint(&self, now: EventTime) {
        *self.inner.checkpoint.write().unwrap_or_else(PoisonError::into_inner) = Some(now);
    }

    /// Makes the delivery counters of a receiver exist, at zero. The name comes from the configuration, never from data.
    pub fn know_receiver(&self, receiver: &str) {
        for outcome in [DeliveryOutcome::Delivered, DeliveryOutcome::Failed] {
            self.inner.alerts.with_label_values(&[receiver, outcome.name()]);
        }
    }

    /// A verdict was handed to a receiver, or could not be.
    pub fn alert(&self, receiver: &str, outcome: DeliveryOutcome) {
        self.inner.alerts.with_label_values(&[receiver, outcome.name()]).inc();
    }

    /// Verdicts that wait for delivery.
    pub fn outbox_depth(&self, waiting: usize) {
        self.inner.outbox.set(i64::try_from(waiting).unwrap_or(i64::MAX));
    }

    /// Everything in the Prometheus text format; ages are those at `now`, or as they were if there is no clock.
    ///
    /// # Errors
    /// If another collector on the same registry gives series that the format cannot express.
    pub fn render(&self, now: Option<EventTime>) -> Result<String, prometheus::Error> {
        if let Some(now) = now {
            self.refresh(now);
        }
        TextEncoder::new().encode_to_string(&self.inner.registry.gather())
    }

    fn refresh(&self, now: EventTime) {
        let models = self.inner.models.read().unwrap_or_else(PoisonError::into_inner);
        // A model that never saw a query has no watermark and holds nobody back.
        let slowest = models.values().map(|model| model.watermark).filter(|at| *at > EventTime::default()).min();
        self.inner.watermark_lag.set(slowest.map_or(0.0, |at| now.seconds_since(at).max(0.0)));
        let checkpoint = *self.inner.checkpoint.read().unwrap_or_else(PoisonError::into_inner);
        self.inner.checkpoint_age.set(checkpoint.map_or(f64::NAN, |at| now.seconds_since(at).max(0.0)));
        self.inner.snapshots.refresh(now);
    }

    fn label<'a>(&self, model: &'a str) -> &'a str {
        let models = self.inner.models.read().unwrap_or_else(PoisonError::into_inner);
        if models.contains_key(model) { model } else { OTHER }
    }
}

fn counters(registry: &Registry, series: &Series) -> Result<IntCounterVec, prometheus::Error> {
    let family = IntCounterVec::new(Opts::new(series.name, series.help), series.labels)?;
    registry.register(Box::new(family.clone()))?;
    Ok(family)
}

fn gauges(registry: &Registry, series: &Series) -> Result<GaugeVec, prometheus::Error> {
    let family = GaugeVec::new(Opts::new(series.name, series.help), series.labels)?;
    registry.register(Box::new(family.clone()))?;
    Ok(family)
}

fn int_gauges(registry: &Registry, series: &Series) -> Result<IntGaugeVec, prometheus::Error> {
    let family = IntGaugeVec::new(Opts::new(series.name, series.help), series.labels)?;
    registry.register(Box::new(family.clone()))?;
    Ok(family)
}

fn int_gauge(registry: &Registry, series: &Series) -> Result<IntGauge, prometheus::Error> {
    let gauge = IntGauge::new(series.name, series.help)?;
    registry.register(Box::new(gauge.clone()))?;
    Ok(gauge)
}

fn gauge(registry: &Registry, series: &Series) -> Result<Gauge, prometheus::Error> {
    let gauge = Gauge::new(series.name, series.help)?;
    registry.register(Box::new(gauge.clone()))?;
    Ok(gauge)
}

fn histogram(registry: &Registry, series: &Series, buckets: &[f64]) -> Result<Histogram, prometheus::Error> {
    let options = HistogramOpts::new(series.name, series.help).buckets(buckets.to_vec());
    let histogram = Histogram::with_opts(options)?;
    registry.register(Box::new(histogram.clone()))?;
    Ok(histogram)
}

fn histograms(registry: &Registry, series: &Series, buckets: &[f64]) -> Result<HistogramVec, prometheus::Error> {
    let options = HistogramOpts::new(series.name, series.help).buckets(buckets.to_vec());
    let family = HistogramVec::new(options, series.labels)?;
    registry.register(Box::new(family.clone()))?;
    Ok(family)
}

#[cfg(test)]
mod tests;
