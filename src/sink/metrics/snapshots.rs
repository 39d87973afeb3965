//! Numbers about snapshots: age, size, duration, pause, and what became of each.

use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use prometheus::{Gauge, GaugeVec, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGaugeVec, Registry};

use super::series::snapshots::{
    JUDGED_AGAIN, MISSING_RECORDS, SNAPSHOT_AGE, SNAPSHOT_BYTES, SNAPSHOT_DURATION, SNAPSHOT_PAUSE, SNAPSHOTS, STATE_RESTORE,
};
use super::{Metrics, counters, gauge, gauges, int_gauges};
use crate::event::EventTime;

/// From a tenth of a millisecond to a second; 0.2 s is the most that is promised.
const PAUSE_BUCKETS: [f64; 11] = [0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 1.0];

/// What became of a snapshot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SnapshotOutcome {
    /// It is in the store.
    Complete,
    /// It is not.
    Failed,
    /// Another process has taken the unit over.
    Fenced,
    /// State goes on from it.
    Restored,
    /// It is damaged.
    Skipped,
    /// It is whole and cannot be used.
    Refused,
}

/// The series of this file.
#[derive(Debug)]
pub(super) struct SnapshotMetrics {
    age: GaugeVec,
    bytes: IntGaugeVec,
    duration: GaugeVec,
    pause: Histogram,
    outcomes: IntCounterVec,
    restore: Gauge,
    judged_again: IntCounter,
    missing: IntCounterVec,
    /// When each unit's newest snapshot was taken; none before the first.
    taken: RwLock<BTreeMap<String, Option<EventTime>>>,
}

// === impl SnapshotOutcome ===

impl SnapshotOutcome {
    const ALL: [Self; 6] = [Self::Complete, Self::Failed, Self::Fenced, Self::Restored, Self::Skipped, Self::Refused];

    /// The label value.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Failed => "failed",
            Self::Fenced => "fenced",
            Self::Restored => "restored",
            Self::Skipped => "skipped",
            Self::Refused => "refused",
        }
    }
}

// === impl SnapshotMetrics ===

impl SnapshotMetrics {
    pub(super) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let options = HistogramOpts::new(SNAPSHOT_PAUSE.name, SNAPSHOT_PAUSE.help).buckets(PAUSE_BUCKETS.to_vec());
        let pause = Histogram::with_opts(options)?;
        registry.register(Box::new(pause.clone()))?;
        let judged_again = IntCounter::new(JUDGED_AGAIN.name, JUDGED_AGAIN.help)?;
        registry.register(Box::new(judged_again.clone()))?;
        let restore = gauge(registry, &STATE_RESTORE)?;
        restore.set(f64::NAN);
        Ok(Self {
            age: gauges(registry, &SNAPSHOT_AGE)?,
            bytes: int_gauges(registry, &SNAPSHOT_BYTES)?,
            duration: gauges(registry, &SNAPSHOT_DURATION)?,
            pause,
            outcomes: counters(registry, &SNAPSHOTS)?,
            restore,
            judged_again,
            missing: counters(registry, &MISSING_RECORDS)?,
            taken: RwLock::default(),
        })
    }

    /// Brings the ages up to date.
    pub(super) fn refresh(&self, now: EventTime) {
        for (unit, taken) in &*self.taken.read().unwrap_or_else(PoisonError::into_inner) {
            let age = taken.map_or(f64::NAN, |taken| now.seconds_since(taken).max(0.0));
            self.age.with_label_values(&[unit]).set(age);
        }
    }

    fn set_taken(&self, unit: &str, taken: EventTime) {
        if let Some(known) = self.taken.write().unwrap_or_else(PoisonError::into_inner).get_mut(unit) {
            *known = Some(taken);
        }
    }
}

// === impl Metrics, snapshots ===

impl Metrics {
    /// Makes the series of a unit exist.
    pub fn know_unit(&self, unit: &str) {
        let snapshots = &self.inner.snapshots;
        for outcome in SnapshotOutcome::ALL {
            snapshots.outcomes.with_label_values(&[unit, outcome.name()]);
        }
        snapshots.age.with_label_values(&[unit]).set(f64::NAN);
        snapshots.taken.write().unwrap_or_else(PoisonError::into_inner).insert(unit.to_owned(), None);
    }

    /// A snapshot that was taken at `taken` is complete.
    pub fn snapshot_complete(&self, unit: &str, taken: EventTime, bytes: u64, took: Duration) {
        let snapshots = &self.inner.snapshots;
        snapshots.bytes.with_label_values(&[unit]).set(i64::try_from(bytes).unwrap_or(i64::MAX));
        snapshots.duration.with_label_values(&[unit]).set(took.as_secs_f64());
        snapshots.set_taken(unit, taken);
        self.snapshot(unit, SnapshotOutcome::Complete);
    }

    /// What became of a snapshot.
    pub fn snapshot(&self, unit: &str, outcome: SnapshotOutcome) {
        self.inner.snapshots.outcomes.with_label_values(&[unit, outcome.name()]).inc();
    }

    /// The newest snapshots of these units hold their state of `at`.
    pub fn snapshots_current<'a>(&self, at: EventTime, units: impl IntoIterator<Item = &'a str>) {
        for unit in units {
            self.inner.snapshots.set_taken(unit, at);
        }
    }

    /// Judging stood still for a copy.
    pub fn snapshot_pause(&self, took: Duration) {
        self.inner.snapshots.pause.observe(took.as_secs_f64());
    }

    /// State was read back.
    pub fn restored(&self, took: Duration) {
        self.inner.snapshots.restore.set(took.as_secs_f64());
    }

    /// A record was judged again in silence.
    pub fn judged_again(&self) {
        self.inner.snapshots.judged_again.inc();
    }

    /// Records of a topic that are gone before they were judged.
    pub fn missing(&self, topic: &str, records: u64) {
        self.inner.snapshots.missing.with_label_values(&[topic]).inc_by(records);
    }
}
