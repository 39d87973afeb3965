//! State that survives a restart: snapshots of models in an object store, and where in the log each was taken.
//!
//! The design and its alternatives are in ADR 0029. In short:
//!
//! * A *unit* is a model. It has a directory of its own, and a log of numbered manifests in it ([`mod@unit`]).
//! * A snapshot is a data object ([`payload`]) and then a small [`manifest`]. A manifest is only ever created, never replaced, so two
//!   writers cannot both have a number, and the one of the older generation finds out.
//! * [`keeper`] is the thread that reads and writes; the loop of the service hands it copies of its engines.
//! * [`store`] is a directory, S3, GCS or Azure.

pub mod config;
pub mod keeper;
pub mod keys;
pub mod manifest;
pub mod payload;
pub mod store;
pub mod unit;

use std::collections::BTreeMap;

use crate::source::feed::Partition;

/// Next offset of each partition: everything before is in the state.
pub type Offsets = BTreeMap<Partition, i64>;

/// Why a snapshot cannot be read.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The object store failed or does not answer. Trying again may help.
    #[error("the object store {url} failed: {what}; check [state] url, its options and permissions, and free space")]
    Store {
        /// The store, without credentials.
        url: String,
        /// What it said.
        what: String,
    },
    /// An object is damaged.
    #[error("{object} is damaged: {what}")]
    Damaged {
        /// Name of the object.
        object: String,
        /// What is wrong.
        what: String,
    },
    /// An object is whole, and this program or this configuration cannot use it.
    #[error("{0}")]
    Unusable(String),
}
