//! Records with a schema of a registry: Avro, Protobuf and JSON behind a Confluent schema id.
//!
//! The wire format is a zero byte, the id in four bytes, big-endian, and the record (Confluent Schema Registry, "Wire format"). The
//! registry says what the schema is written in, so no setting does. A record becomes JSON, and is read like any other: format and
//! mapping say where its fields lie.
//!
//! Schemas are fetched by a thread of their own ([`fetch`]) and kept. A batch with an unknown id waits for it, and everything behind the
//! batch waits, too, so the order stays. While the registry does not answer, nothing is rejected: it is asked again until it does, and that is
//! said. Only an id that the registry does not have, or a schema that cannot be read, costs its records.

pub mod avro;
pub mod config;
mod fetch;
pub mod protobuf;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use super::feed::RecordBatch;
use crate::clock;
use crate::outcome::{RejectReason, Rejection};
use avro::AvroSchema;
use config::RegistryConfig;
use protobuf::ProtobufSchema;

/// Most schemas that are kept. Chosen: a topic has one for each version of its records.
const MAX_SCHEMAS: usize = 1_024;
/// Most ids that are remembered as unknown: more than the batches of one turn can hold (eight of 2,048), so that each is asked for once.
const MAX_UNKNOWN: usize = 65_536;
/// How long an id counts as unknown. A registry's replicas learn of a new one within seconds.
const UNKNOWN_FOR: Duration = Duration::from_secs(60);

/// What a registry says of an id.
#[derive(Debug)]
pub enum Schema {
    /// The record is JSON.
    Json,
    /// The record is Avro.
    Avro(Box<AvroSchema>),
    /// The record is Protobuf.
    Protobuf(ProtobufSchema),
}

/// The schemas of a registry. Clones share them.
#[derive(Clone, Debug)]
pub struct Schemas(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    known: RwLock<Known>,
    wanted: Mutex<Wanted>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Known {
    schemas: HashMap<u32, Arc<Schema>>,
    order: VecDeque<u32>,
    refused: HashMap<u32, (Arc<str>, Instant)>,
    refused_order: VecDeque<u32>,
}

#[derive(Debug, Default)]
struct Wanted {
    ids: BTreeSet<u32>,
    is_closed: bool,
    /// What the registry has not answered, if it does not answer.
    trouble: Option<String>,
}

/// The id in front of a record, and the record.
pub fn split(payload: &[u8]) -> Option<(u32, &[u8])> {
    match payload {
        [0, a, b, c, d, record @ ..] => Some((u32::from_be_bytes([*a, *b, *c, *d]), record)),
        _ => None,
    }
}

// === impl Schemas ===

impl Schemas {
    /// Schemas of a registry, of which none is known yet; they are fetched by a thread from now on.
    ///
    /// # Errors
    /// If the settings cannot be used, or the thread cannot be started.
    pub fn connect(config: &RegistryConfig, directory: &Path) -> Result<Self, String> {
        let schemas = Self(Arc::default());
        fetch::start(config, directory, schemas.clone())?;
        Ok(schemas)
    }

    fn wanted(&self) -> MutexGuard<'_, Wanted> {
        // A set of ids is never half changed.
        self.0.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a batch holds ids that are not known; they are asked for.
    pub fn lack(&self, batch: &RecordBatch) -> bool {
        let now = clock::instant();
        let known = self.0.known.read().unwrap_or_else(PoisonError::into_inner);
        let ids = (0..batch.len()).filter_map(|index| Some(split(batch.payload(index)?)?.0));
        let missing: BTreeSet<u32> = ids.filter(|id| !known.has(*id, now)).collect();
        drop(known);
        if missing.is_empty() {
            return false;
        }
        self.wanted().ids.extend(missing);
        self.0.changed.notify_all();
        true
    }

    /// What is wrong with the registry, if it does not answer.
    pub fn trouble(&self) -> Option<String> {
        self.wanted().trouble.clone()
    }

    /// A record as JSON; `None` if no schema id stands in front of it.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub fn json(&self, payload: &[u8]) -> Option<Result<Vec<u8>, Rejection>> {
        let (id, record) = split(payload)?;
        let schema = self.0.known.read().unwrap_or_else(PoisonError::into_inner).get(id);
        let schema = match schema {
            Ok(schema) => schema,
            Err(why) => return Some(Err(Rejection::new(RejectReason::UnknownSchema, format_args!("schema id {id}: {why}")))),
        };
        let value = match &*schema {
            Schema::Json => return Some(Ok(record.to_vec())),
            Schema::Avro(schema) => schema.read(record),
            Schema::Protobuf(schema) => schema.read(record),
        };
        let fault = |what: String| Rejection::new(RejectReason::BadEncoding, format_args!("no record of schema id {id}: {what}"));
        Some(value.map(|value| value.to_string().into_bytes()).map_err(fault))
    }

    /// Takes what was found of an id.
    fn learn(&self, id: u32, found: Result<Schema, String>) {
        let now = clock::instant();
        self.0.known.write().unwrap_or_else(PoisonError::into_inner).insert(id, found, now);
        self.wanted().ids.remove(&id);
    }

    /// Ends the thread.
    pub fn close(&self) {
        self.wanted().is_closed = true;
        self.0.changed.notify_all();
    }

    /// A wanted id, once there is one; `None` at the end.
    fn next_wanted(&self) -> Option<u32> {
        let mut wanted = self.wanted();
        loop {
            if wanted.is_closed {
                return None;
            }
            if let Some(id) = wanted.ids.first() {
                return Some(*id);
            }
            wanted = self.0.changed.wait(wanted).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Notes whether the registry answers, and waits a while if it does not; `false` at the end.
    fn note_trouble(&self, trouble: Option<String>, pause: Duration) -> bool {
        let mut wanted = self.wanted();
        wanted.trouble = trouble;
        if !pause.is_zero() {
            let waited = self.0.changed.wait_timeout_while(wanted, pause, |wanted| !wanted.is_closed);
            wanted = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        !wanted.is_closed
    }
}

// === impl Known ===

impl Known {
    fn has(&self, id: u32, now: Instant) -> bool {
        self.schemas.contains_key(&id) || self.refused.get(&id).is_some_and(|(_, until)| now < *until)
    }

    fn get(&self, id: u32) -> Result<Arc<Schema>, Arc<str>> {
        let refused = || self.refused.get(&id).map_or_else(|| "it was not fetched in time".into(), |(why, _)| Arc::clone(why));
        self.schemas.get(&id).cloned().ok_or_else(refused)
    }

    fn insert(&mut self, id: u32, found: Result<Schema, String>, now: Instant) {
        match found {
            Ok(schema) => {
                self.refused.remove(&id);
                if self.schemas.insert(id, Arc::new(schema)).is_none() {
                    self.order.push_back(id);
                }
                if self.order.len() > MAX_SCHEMAS
                    && let Some(oldest) = self.order.pop_front()
                {
                    self.schemas.remove(&oldest);
                }
            }
            Err(why) => {
                if self.refused.insert(id, (why.into(), now + UNKNOWN_FOR)).is_none() {
                    self.refused_order.push_back(id);
                }
                if self.refused_order.len() > MAX_UNKNOWN
                    && let Some(oldest) = self.refused_order.pop_front()
                {
                    self.refused.remove(&oldest);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
