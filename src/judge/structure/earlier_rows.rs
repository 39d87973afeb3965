//! Earlier rows: finding the same row, finding and comparing those that may be near, and remembering a new one.

use super::Structure;
use super::query::{CandidateRow, EncodedRow, Sender};
use super::thresholds::{LINKED, Neighbour};
use crate::event::Query;
use crate::judge::client::{Client, Key};
use crate::signal::quantise::padded;
use crate::signal::similarity::PreparedRow;
use crate::window::clients::Table;
use crate::window::history::{RowId, RowMeta};

/// What comparing a new row gave.
pub(super) enum Compared {
    /// An earlier row is the same within tolerance.
    Same(RowId),
    /// None is.
    New,
}

// === impl Structure ===

impl Structure {
    /// The row with exactly these cells (as far as its codes and a hash of its cells can tell), if it is remembered.
    pub(super) fn same_row(&self, encoded: &EncodedRow) -> Option<RowId> {
        let low = encoded.hashes.find_same(&self.index)?;
        let found = self.history.recall(low, self.index.row_mask())?;
        // The codes and the hash complement each other: what the codes leave out is in the hash.
        (self.history.row(found) == encoded.quantised.codes).then_some(found)
    }

    /// The rows that a new one is compared with, newest first: the client's own rows, rows that it repeated, its account's rows, and what
    /// the index finds. They are written into `buffer`.
    pub(super) fn candidates(
        &self,
        encoded: &EncodedRow,
        sender: Sender,
        clients: &Table<Key, Client>,
        mut buffer: Vec<CandidateRow>,
    ) -> Vec<CandidateRow> {
        let history = &self.history;
        buffer.clear();
        let own = |row| CandidateRow::new(row, true);
        if let Some(client) = clients.get(sender.at) {
            buffer.extend(client.structure.own.rows(history).map(own));
            buffer.extend(client.structure.repeated.rows(history).map(own));
        }
        self.accounts.rows_of_others(sender, clients, history, |row| buffer.push(own(row)));
        let mask = self.index.row_mask();
        let found = |low| history.recall(low, mask).map(|row| CandidateRow::new(row, false));
        encoded.hashes.find(&self.index, |low| buffer.extend(found(low)));
        // Most of them are a client's own rows, which are in order.
        buffer.sort_by(|a, b| b.cmp(a));
        buffer.dedup_by_key(|candidate| candidate.row());
        // The client's own rows were prefetched by `prepare`.
        buffer.iter().filter(|candidate| !candidate.own()).for_each(|candidate| history.prefetch(candidate.row()));
        buffer
    }

    /// A row prepared for comparing it with others, in the memory of `buffer`.
    pub(super) fn prepared(&self, codes: &[u16], mut buffer: PreparedRow) -> PreparedRow {
        self.similarity.prepare(codes, &mut buffer);
        buffer
    }

    /// Compares a row with every candidate, up to one that is the same within tolerance. The neighbours are written to `near`.
    pub(super) fn compare(
        &self,
        prepared: &PreparedRow,
        sender: Sender,
        candidates: &[CandidateRow],
        near: &mut Vec<Neighbour>,
    ) -> Compared {
        near.clear();
        for candidate in candidates {
            let row = candidate.row();
            let (comparison, log_p) = self.similarity.assess(prepared, self.history.row(row), self.baseline.shift);
            if comparison.changed == 0 {
                return Compared::Same(row);
            }
            // Whose row an ordinary neighbour is does not matter, and asking would read another place in memory.
            let mut neighbour = Neighbour { row, comparison, log_p, own: candidate.own() };
            if !neighbour.own && (log_p < LINKED || neighbour.is_edit()) {
                neighbour.own = self.is_own(row, sender);
            }
            near.push(neighbour);
        }
        Compared::New
    }

    /// Whether a row came from this client, or from its account.
    fn is_own(&self, row: RowId, sender: Sender) -> bool {
        let meta = self.history.meta(row);
        meta.client == sender.at || (sender.hashes.account != 0 && meta.sender.account == sender.hashes.account)
    }

    /// Whether a row came from another address.
    pub(super) fn is_foreign(&self, row: RowId, sender: Sender) -> bool {
        self.history.meta(row).sender.address != sender.hashes.address
    }

    /// ln p of the nearest reference row that the index finds: a natural row that is as near explains any link.
    pub(super) fn nearest_reference(&self, encoded: &EncodedRow, prepared: &PreparedRow) -> f64 {
        encoded.hashes.prefetch(&self.reference_index);
        let mut nearest = 1.0_f64;
        let width = padded(self.features.len());
        let compare = |i: u32| {
            let from = i as usize * width;
            if let Some(row) = self.reference_rows.get(from..from + width) {
                nearest = nearest.min(self.similarity.assess(prepared, row, self.baseline.shift).1);
            }
        };
        encoded.hashes.find(&self.reference_index, compare);
        nearest
    }

    /// Remembers a new row: in the history and in the index, which grows with the history, so that a quiet model stays small.
    pub(super) fn remember(&mut self, query: &Query, sender: Sender, encoded: &EncodedRow) -> RowId {
        if self.history.len() >= self.index_rows && self.index_rows < self.horizon {
            self.index_rows = (self.index_rows * 2).min(self.horizon);
            self.index.double();
            self.grown_at = Some(self.history.added());
        }
        if self.grown_at.is_some_and(|at| self.history.added() - at >= self.horizon as u64) {
            self.index.renewed();
            self.grown_at = None;
        }
        let meta = RowMeta::new(sender.at, sender.hashes, query.time);
        let row = self.history.push(&encoded.quantised.codes, &encoded.quantised.remainders, meta);
        encoded.hashes.note(&mut self.index, row as u32);
        row
    }

    /// Remembers that a client and its account sent a row.
    pub(super) fn remember_for_sender(&mut self, row: RowId, sender: Sender, clients: &mut Table<Key, Client>) {
        if let Some(client) = clients.get_mut(sender.at) {
            client.structure.rows += 1;
            client.structure.own.push(row);
        }
        self.accounts.remember(sender, row, clients);
    }
}
