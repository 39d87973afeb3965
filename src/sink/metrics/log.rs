//! Numbers about the log itself: what is no record, what is lost, what waits, and what was posted.

use prometheus::{IntCounterVec, IntGaugeVec, Registry};

use super::series::{OPEN_TRANSACTION, POSTS, SKIPPED_RECORDS, TOMBSTONES};
use super::{Metrics, counters, int_gauges};

/// The series of this file.
#[derive(Debug)]
pub(super) struct LogMetrics {
    tombstones: IntCounterVec,
    skipped: IntCounterVec,
    pub(super) open_transaction: IntGaugeVec,
    posts: IntCounterVec,
}

// === impl LogMetrics ===

impl LogMetrics {
    pub(super) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        Ok(Self {
            tombstones: counters(registry, &TOMBSTONES)?,
            skipped: counters(registry, &SKIPPED_RECORDS)?,
            open_transaction: int_gauges(registry, &OPEN_TRANSACTION)?,
            posts: counters(registry, &POSTS)?,
        })
    }
}

// === impl Metrics, log ===

impl Metrics {
    /// Records of a partition that wait for a transaction to end.
    pub fn open_transaction(&self, topic: &str, partition: i32, records: i64) {
        self.inner.log.open_transaction.with_label_values(&[topic, &partition.to_string()]).set(records.max(0));
    }

    /// Makes the counters of posted records exist, at zero.
    pub fn know_posts(&self) {
        for outcome in ["accepted", "refused"] {
            self.inner.log.posts.with_label_values(&[outcome]);
        }
    }

    /// A record was posted, and taken in or not.
    pub fn posted(&self, is_taken: bool) {
        self.inner.log.posts.with_label_values(&[if is_taken { "accepted" } else { "refused" }]).inc();
    }

    /// A message without a value.
    pub fn tombstone(&self, topic: &str) {
        self.inner.log.tombstones.with_label_values(&[topic]).inc();
    }

    /// Records of a topic were removed before they were read.
    pub fn skipped(&self, topic: &str, records: u64) {
        self.inner.log.skipped.with_label_values(&[topic]).inc_by(records);
        self.inner.log.tombstones.with_label_values(&[topic]);
    }
}
