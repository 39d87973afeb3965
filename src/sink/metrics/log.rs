//! Numbers about the log itself: what is no record, what is lost, what waits, and what was posted.

use prometheus::{IntCounterVec, IntGaugeVec, Registry};

use super::series::{OPEN_TRANSACTION, POSTS, SKIPPED_RECORDS, TOMBSTONES};
use super::{Metrics, counters, int_gauges};

/// What becomes of a posted record: it is taken in, or not.
const OUTCOMES_OF_POSTS: [&str; 2] = ["accepted", "refused"];

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
        let posts = counters(registry, &POSTS)?;
        // At zero from the start, so that a rate of them is 0 and not unknown.
        for outcome in OUTCOMES_OF_POSTS {
            posts.with_label_values(&[outcome]);
        }
        Ok(Self {
            tombstones: counters(registry, &TOMBSTONES)?,
            skipped: counters(registry, &SKIPPED_RECORDS)?,
            open_transaction: int_gauges(registry, &OPEN_TRANSACTION)?,
            posts,
        })
    }
}

// === impl Metrics, log ===

impl Metrics {
    /// Records of a partition that wait for a transaction to end.
    pub fn open_transaction(&self, topic: &str, partition: i32, records: i64) {
        self.inner.log.open_transaction.with_label_values(&[topic, &partition.to_string()]).set(records.max(0));
    }

    /// A record was posted, and taken in or not.
    pub fn posted(&self, is_taken: bool) {
        self.inner.log.posts.with_label_values(&[OUTCOMES_OF_POSTS[usize::from(!is_taken)]]).inc();
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
