//! The topology `repartition` (ADR 0031): every process decodes a share of the source partitions, and judges the models that it owns.
//!
//! ```text
//! source → decode → frames ─(transaction with the source offsets)→ <group>.rows → order → engines → verdicts ─(transaction with the offsets)
//! └──────────── front ────────────┘                                └─────────────────────── owner ───────────────────────┘
//! ```
//!
//! * [`frame`] and [`cells`] are the format of the topic, [`topic`] makes it.
//! * [`front`] decodes and writes. [`owner`] reads and judges, each rows partition by a [`unit`](mod@unit) of its own.
//! * [`order`] is the order of judging, as a function of the frames.

pub mod cells;
pub mod frame;
pub mod front;
pub mod order;
pub mod owner;
pub mod topic;
pub mod unit;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::checkpoint::CheckpointError;
use crate::hash;
use crate::reference::Reference;
use crate::sink::SinkError;
use crate::sink::kafka::transaction::Aborted;
use crate::source::feed::FeedError;

/// Why one half of a process cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum HalfError {
    /// A transaction did not come about, or the partitions were lost: join again, and go on from what is committed.
    #[error(transparent)]
    Again(#[from] Aborted),
    /// The source cannot go on.
    #[error(transparent)]
    Feed(#[from] FeedError),
    /// A sink cannot go on.
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// State cannot be had.
    #[error(transparent)]
    State(#[from] CheckpointError),
    /// The configuration does not allow it: what is wrong, and what to do.
    #[error("{0}")]
    Configuration(String),
}

/// What a member says that was too slow.
const LOST: &str = "the partitions were lost, because this member was too slow or cut off";

/// Name of the rows topic of a group.
pub fn rows_topic(group: &str) -> String {
    format!("{group}.rows")
}

/// Name of the group of owners.
pub fn owners_group(group: &str) -> String {
    format!("{group}.owners")
}

/// Where the rows of each model go. All processes must come to the same answer.
#[derive(Clone, Debug)]
pub struct Routes {
    of_model: BTreeMap<String, Route>,
}

/// Where the rows of a model go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Route {
    /// Partition of the rows topic.
    pub partition: i32,
    /// Beginning of the digest of its profile.
    pub digest: u64,
}

// === impl Routes ===

impl Routes {
    /// Routes to a rows topic with so many partitions. A model's name alone gives its partition, so another model changes nothing.
    pub fn new(references: &[Arc<Reference>], partitions: i32) -> Self {
        let count = u64::try_from(partitions).unwrap_or(1).max(1);
        let route = |reference: &Arc<Reference>| {
            let number = hash::mix(hash::text(&reference.model)) % count;
            let partition = i32::try_from(number).unwrap_or(0);
            (reference.model.clone(), Route { partition, digest: digest(reference) })
        };
        Self { of_model: references.iter().map(route).collect() }
    }

    /// The route of a model. An empty name is that of a record whose model could not be read: the first model stands for it.
    pub fn of(&self, model: &str) -> Option<Route> {
        if model.is_empty() { self.of_model.values().next().copied() } else { self.of_model.get(model).copied() }
    }

    /// Partitions that some model has.
    pub fn partitions(&self) -> Vec<i32> {
        let mut partitions: Vec<i32> = self.of_model.values().map(|route| route.partition).collect();
        partitions.sort_unstable();
        partitions.dedup();
        partitions
    }
}

/// Beginning of the digest of a profile.
pub fn digest(reference: &Reference) -> u64 {
    hash::text(&reference.digest)
}
