//! Queries in buffers that are used again: decoding allocates only until the buffers have grown.

use crate::event::{Address, Cell, EventTime, Prediction, Provenance, Query, Repairs};

/// Decoded queries, reused from batch to batch so that their buffers are allocated once.
#[derive(Debug, Default)]
pub struct Batch {
    pub(super) queries: Vec<Query>,
    pub(super) len: usize,
}

// === impl Batch ===

impl Batch {
    /// Forgets the queries and keeps their buffers.
    pub fn clear(&mut self) {
        self.len = 0;
    }

    /// The queries, in the order of the records and of the rows within them.
    pub fn queries(&self) -> &[Query] {
        &self.queries[..self.len]
    }

    /// How many queries there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// A blank query at the end, its buffers kept from before.
    pub(super) fn push(&mut self) -> &mut Query {
        if self.len == self.queries.len() {
            self.queries.push(Query::default());
        }
        let query = &mut self.queries[self.len];
        self.len += 1;
        // The buffers are emptied and not dropped, so that they are allocated once. Every field is named, so that the compiler
        // reports a new one.
        let Query {
            time,
            model,
            model_version,
            request_id,
            address,
            account,
            row,
            unknown_texts,
            prediction,
            latency_ms,
            label,
            extra_features,
            new_names,
            repairs,
            provenance,
        } = &mut *query;
        for text in [model, model_version, request_id, account, label] {
            text.clear();
        }
        row.clear();
        unknown_texts.begin(false);
        new_names.clear();
        (*time, *address, *prediction, *latency_ms) = (EventTime::default(), Address::Unknown, Prediction::Missing, None);
        (*extra_features, *repairs, *provenance) = (0, Repairs::default(), Provenance::default());
        query
    }

    /// Copies what all rows of a message share from its first query to the others.
    pub(super) fn share(&mut self, start: usize) {
        let Some((first, rest)) = self.queries[start..self.len].split_first_mut() else { return };
        for query in rest {
            query.time = first.time;
            query.address = first.address;
            query.latency_ms = first.latency_ms;
            query.model.push_str(&first.model);
            query.model_version.push_str(&first.model_version);
            query.request_id.push_str(&first.request_id);
            query.account.push_str(&first.account);
            if query.label.is_empty() {
                query.label.push_str(&first.label);
            }
        }
    }
}

/// A row of `width` missing values, in a kept buffer.
pub(super) fn blank_row(row: &mut Vec<Cell>, width: usize) {
    row.clear();
    row.resize(width, Cell::MISSING);
}
