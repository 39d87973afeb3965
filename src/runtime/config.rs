//! Settings of the service's loop: section `[runtime]` of the configuration.

use serde::Deserialize;

use crate::document::Faults;
use crate::document::Period;

/// Threads, buffers and timers of the service.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RuntimeConfig {
    /// Threads that decode; 0 takes one per processor, at most eight.
    pub decode_threads: usize,
    /// Threads that judge; models are shared out among them, so more than there are models are idle.
    pub engine_shards: usize,
    /// Records taken from the source in one go.
    pub batch_records: usize,
    /// Records held while partitions wait for each other.
    pub buffer_records: usize,
    /// Bytes of messages held; beyond it reading pauses until half is worked off.
    pub buffer_bytes: usize,
    /// A partition that says nothing for this long no longer holds back the others.
    pub idle_after: Period,
    /// How far, at most, event time moves on past the last event while nothing arrives.
    pub idle_advance: Period,
    /// Time between commits.
    pub commit_interval: Period,
    /// Time between refreshes of the model metrics.
    pub status_interval: Period,
    /// How long a shutdown may take for finishing, delivering and committing.
    pub shutdown_timeout: Period,
    /// How the work is shared out among processes.
    pub topology: Topology,
    /// In `direct`: each model is in one partition of a topic, so several members judge whole models.
    pub keyed_by_model: bool,
    /// The topic of rows, in `repartition`.
    pub repartition: RepartitionConfig,
}

/// How the work is shared out among processes (ADR 0031).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Topology {
    /// A process judges what its partitions bring.
    #[default]
    Direct,
    /// Processes decode their share and judge the models that they own.
    Repartition,
}

/// The topic of rows, `<group>.rows`.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RepartitionConfig {
    /// Partitions of the topic: so many processes can judge.
    pub partitions: i32,
    /// Replicas of each partition; -1 is the cluster's default.
    pub replication: i32,
    /// How long rows are kept; longer than a snapshot gets old.
    pub retention: Period,
    /// A source partition whose reader has been silent for this long no longer holds back the others; longer than the session of the group.
    pub silent_after: Period,
    /// Time between transactions: how long a row is on its way.
    pub commit_interval: Period,
    /// After so long without an end the cluster ends a transaction, and with it the wait for a process that was killed.
    pub transaction_timeout: Period,
}

impl Default for RepartitionConfig {
    fn default() -> Self {
        Self {
            // More than anybody has processes for models, and few enough that marks of time cost nothing.
            partitions: 8,
            replication: -1,
            // A day: a store that is away over night costs nothing.
            retention: Period::seconds(86_400),
            // The group gives the partitions of a dead member away after 45 s by default; its successor needs some seconds.
            silent_after: Period::seconds(120),
            // Ten transactions a second cost a broker little, and people call a tenth of a second at once.
            commit_interval: Period::millis(100),
            // Longer than a broker needs to elect a leader.
            transaction_timeout: Period::seconds(15),
        }
    }
}

impl Default for RuntimeConfig {
    fn default() -> Self {
        Self {
            decode_threads: 0,
            engine_shards: 1,
            // Some milliseconds of work: enough to share out among threads, little enough to stay responsive.
            batch_records: 2_048,
            // About 60 MB of typical events, and a few seconds of a fast catch-up.
            buffer_records: 65_536,
            // A quarter of a gigabyte: with the engine's own memory it fits the one gigabyte that a container usually has.
            buffer_bytes: 268_435_456,
            idle_after: Period::seconds(10),
            // Enough to close the panes that the last events fell into.
            idle_advance: Period::seconds(300),
            // Committing after every message starves heartbeats; five seconds is what librdkafka itself does.
            commit_interval: Period::seconds(5),
            status_interval: Period::seconds(5),
            // Kubernetes kills after 30 s.
            shutdown_timeout: Period::seconds(20),
            topology: Topology::default(),
            keyed_by_model: false,
            repartition: RepartitionConfig::default(),
        }
    }
}

// === impl RuntimeConfig ===

impl RuntimeConfig {
    /// Adds every fault of the section.
    pub fn validate(&self, faults: &mut Faults<'_>) {
        let mut number = |name: &str, value: usize, low: usize, high: usize| {
            if !(low..=high).contains(&value) {
                let what = format!("{value} is outside {low} to {high}");
                faults.add(&format!("runtime.{name}"), what, format!("choose a number from {low} to {high}"));
            }
        };
        number("decode_threads", self.decode_threads, 0, 64);
        number("engine_shards", self.engine_shards, 1, 64);
        number("batch_records", self.batch_records, 1, 65_536);
        number("buffer_records", self.buffer_records, self.batch_records.max(1), 16_777_216);
        number("buffer_bytes", self.buffer_bytes, 1_048_576, 1 << 40);
        let repartition = &self.repartition;
        number("repartition.partitions", usize::try_from(repartition.partitions).unwrap_or(0), 1, 1_024);
        if repartition.replication != -1 && !(1..=16).contains(&repartition.replication) {
            let what = format!("{} is neither -1 nor 1 to 16", repartition.replication);
            faults.add("runtime.repartition.replication", what, "write -1 for the cluster's default, or a number of brokers");
        }
        if self.topology == Topology::Repartition && self.keyed_by_model {
            let remedy = "remove it: in the topology \"repartition\" keys do not matter";
            faults.add("runtime.keyed_by_model", "it is a setting of the topology \"direct\"", remedy);
        }
        let mut period = |name: &str, value: Period, low: Period, high: Period| {
            if value < low || value > high {
                let what = format!("{value} is outside {low} to {high}");
                faults.add(&format!("runtime.{name}"), what, format!("choose a duration from {low} to {high}"));
            }
        };
        period("idle_after", self.idle_after, Period::millis(100), Period::seconds(3_600));
        period("idle_advance", self.idle_advance, Period::seconds(0), Period::seconds(7 * 86_400));
        period("commit_interval", self.commit_interval, Period::millis(100), Period::seconds(300));
        period("status_interval", self.status_interval, Period::millis(100), Period::seconds(300));
        period("repartition.retention", repartition.retention, Period::seconds(60), Period::seconds(365 * 86_400));
        period("repartition.silent_after", repartition.silent_after, Period::seconds(1), Period::seconds(86_400));
        period("repartition.commit_interval", repartition.commit_interval, Period::millis(10), Period::seconds(60));
        // Brokers allow 15 minutes at most.
        period("repartition.transaction_timeout", repartition.transaction_timeout, Period::seconds(1), Period::seconds(900));
        period("shutdown_timeout", self.shutdown_timeout, Period::seconds(1), Period::seconds(600));
    }

    /// Threads that decode.
    pub fn decoders(&self) -> usize {
        match self.decode_threads {
            // Decoding is a fraction of the work; above eight threads they wait for the engine.
            0 => std::thread::available_parallelism().map_or(1, std::num::NonZero::get).min(8),
            given => given,
        }
    }
}
