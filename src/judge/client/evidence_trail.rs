//! The queries of a client that count as evidence against it: what a person looks at to check a verdict.

use std::collections::VecDeque;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::event::{EventTime, Provenance, Query, Topic};
use crate::judge::{At, QueryRef};

/// Queries kept per client. Chosen: a dozen rows are what a person reads, and they show the pattern of every family; each costs
/// about a hundred bytes for every client with evidence.
pub const EVIDENCE_QUERIES: usize = 12;

/// Queries that count as evidence, oldest first, at most [`EVIDENCE_QUERIES`]; the very first is kept for ever.
#[derive(Clone, Debug, Default)]
pub struct EvidenceTrail(VecDeque<QueryRef>);

/// A query in a snapshot: plain fields, since the form of verdict lines leaves out what is empty.
type Written<'a> = (EventTime, std::borrow::Cow<'a, str>, (Topic, i32, i64, u32));

// === impl EvidenceTrail ===

impl EvidenceTrail {
    /// Keeps a query. The first one stays; of the others the newest do.
    pub fn keep(&mut self, query: &Query) {
        if self.0.back().is_some_and(|kept| kept.provenance == query.provenance) {
            return;
        }
        if self.0.len() >= EVIDENCE_QUERIES {
            self.0.remove(1);
        }
        self.0.push_back(QueryRef {
            at: At(query.time),
            request_id: query.request_id.clone(),
            provenance: query.provenance.clone(),
        });
    }

    /// The first query that counts as evidence.
    pub fn first(&self) -> Option<&QueryRef> {
        self.0.front()
    }

    /// All of them, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &QueryRef> {
        self.0.iter()
    }

    /// Bytes held beyond the struct itself, texts apart.
    pub fn bytes(&self) -> usize {
        self.0.capacity() * size_of::<QueryRef>()
    }
}

impl Serialize for EvidenceTrail {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(|query| -> Written<'_> {
            let Provenance { topic, partition, offset, row } = &query.provenance;
            (query.at.0, query.request_id.as_str().into(), (topic.clone(), *partition, *offset, *row))
        }))
    }
}

impl<'de> Deserialize<'de> for EvidenceTrail {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let found = Vec::<Written<'static>>::deserialize(deserializer)?;
        let query = |(at, request_id, (topic, partition, offset, row)): Written<'static>| QueryRef {
            at: At(at),
            request_id: request_id.into_owned(),
            provenance: Provenance { topic, partition, offset, row },
        };
        Ok(Self(found.into_iter().map(query).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(offset: i64) -> Query {
        let provenance = Provenance { topic: "predictions".into(), partition: 3, offset, row: 1 };
        Query { time: EventTime::from_micros(offset), request_id: format!("r-{offset}"), provenance, ..Query::default() }
    }

    #[test]
    fn the_first_query_stays_and_of_the_others_the_newest() {
        let mut trail = EvidenceTrail::default();
        (0..30).for_each(|offset| trail.keep(&query(offset)));
        let kept: Vec<i64> = trail.iter().map(|q| q.provenance.offset).collect();
        assert_eq!((kept[0], kept[1], kept[11], kept.len()), (0, 19, 29, EVIDENCE_QUERIES));
        trail.keep(&query(29));
        assert_eq!(trail.iter().count(), EVIDENCE_QUERIES, "a query is kept once");
    }

    #[test]
    fn a_trail_that_was_written_down_is_the_same() {
        let mut trail = EvidenceTrail::default();
        (0..3).for_each(|offset| trail.keep(&query(offset)));
        let written = postcard::to_stdvec(&trail).unwrap();
        let read: EvidenceTrail = postcard::from_bytes(&written).unwrap();
        assert_eq!(read.0, trail.0);
    }
}
