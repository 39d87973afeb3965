//! The one struct of metrics, registered on a registry that is passed in.

use prometheus::Registry;

use crate::engine::ModelStatus;
use crate::event::{EventTime, Query};
use crate::judge::Verdict;

/// Every series that Tripline exports.
#[derive(Clone, Debug)]
pub struct Metrics {}

impl Metrics {
    /// Registers every series.
    pub fn register(_registry: &Registry) -> Result<Self, prometheus::Error> {
        Ok(Self {})
    }

    /// An accepted query, and the seconds since the same client's previous one.
    pub fn accepted(&self, _query: &Query, _gap_seconds: Option<f64>) {}

    /// A record that could not be read or used, by reason.
    pub fn rejected(&self, _reason: &'static str) {}

    /// A query behind the watermark.
    pub fn late(&self, _model: &str) {}

    /// A verdict, at wall-clock time `now` (none in replay).
    pub fn verdict(&self, _verdict: &Verdict, _now: Option<EventTime>) {}

    /// State of the models, a few times a minute.
    pub fn publish(&self, _status: &[ModelStatus], _now: Option<EventTime>) {}

    /// Records not yet read of a partition.
    pub fn lag(&self, _topic: &str, _partition: i32, _records: i64) {}

    /// A partition was taken away: its lag series must vanish.
    pub fn forget_partition(&self, _topic: &str, _partition: i32) {}
}
