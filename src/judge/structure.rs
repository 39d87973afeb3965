//! Structure evidence: rows that stand in a relation to earlier rows which nature does not produce.
//!
//! Two questions are asked of each new row. Is it improbably near to the sender's own rows (evidence `proximity`)? Does the chain of near
//! rows look like a machine's edits (evidence `automation`, see [`crate::signal::edits`])? A client is detected when both are answered
//! with yes: a person with a what-if page shows the first, and chance may show the second.
//! Rows near to *anybody's* rows form components ([`super::campaign`]). A component is detected when its automation and its links,
//! added up over its senders, leave no other account.
//!
//! None of it depends on where in feature space the rows lie, so drift leaves it alone. What drift changes is how similar natural rows are
//! to each other; a reservoir of live unlinked rows measures that, and it is subtracted.
//!
//! | file | what it does |
//! |---|---|
//! | this | the phases of a query |
//! | [`query`] | the forms that a query takes from phase to phase |
//! | [`earlier_rows`] | finds, compares and remembers rows |
//! | [`links`] | decides whether a row is linked to an earlier one |
//! | [`linking`] | what follows from a link: components and evidence grow, clients are detected |
//! | [`automation`] | how automated an edit is |
//! | [`members`] | when a component is a campaign, and who is named |
//! | [`repeats`] | rows that were sent before |
//! | [`dependencies`] | functional dependencies broken against the peers |
//! | [`nearest_neighbour_test`] | how much of nearness is coincidence |
//! | [`common_nearness`] | rows that are near to those of many callers |
//! | [`frequent_values`] | values that many callers send and the reference hardly has |
//! | [`similarity_baseline`] | how much of similarity is drift |
//! | [`accounts`] | the rows of one account at several addresses |
//! | [`thresholds`] | what all of them share: detections, neighbours, thresholds |

mod accounts;
mod automation;
mod common_nearness;
mod dependencies;
mod earlier_rows;
mod frequent_values;
mod linking;
mod links;
mod members;
mod nearest_neighbour_test;
mod query;
mod repeats;
mod similarity_baseline;
#[cfg(test)]
mod tests;
mod thresholds;

use serde::{Deserialize, Serialize};

use super::campaign::Components;
use super::client::rows::ClientStructure;
use super::client::{Client, Key};
use crate::event::{EARLIEST, EventTime, Query};
use crate::reference::{Feature, Reference};
use crate::signal::codes::{Coder, Codes};
use crate::signal::neighbours::{Hasher, RowHashes};
use crate::signal::perturbation::Scales;
use crate::signal::quantise::Quantiser;
use crate::signal::similarity::Similarity;
use crate::window::clients::{SlotRef, Table};
use crate::window::history::{History, RowId};
use crate::window::index::RowIndex;
use accounts::Accounts;
use dependencies::Breaks;
use earlier_rows::Compared;
use frequent_values::FrequentValues;
use nearest_neighbour_test::NearestNeighbourTest;
use query::{Buffers, ComparedRow, EncodedRow};
pub use query::{PreparedQuery, Sender};
use similarity_baseline::SimilarityBaseline;
pub use thresholds::{Detection, Reason};
use thresholds::{LINK_RATE, Thresholds};

/// Rows of memory for one row that the index finds. Strangers' rows are looked for among the newest quarter, which is where a search
/// that continues leaves them. Older rows are remembered for their sender, its account, and the component that they are in. Chosen: the
/// index takes twice as much room as everything else per row; at a quarter, more of it stays in the processor's cache.
const REMEMBERED: usize = 4;
/// Rows that the index has room for at first; it doubles with the history. Chosen: half a megabyte at 25 keys a row.
const FIRST_INDEX_ROWS: usize = 4096;

/// What structure evidence must be told.
#[derive(Clone, Copy, Debug)]
pub struct StructureSettings {
    /// Stated rate of false alarms: expected false alarms per client and day.
    pub alarms_per_client_day: f64,
    /// Salt of the row hashes.
    pub salt: u64,
    /// Clients (and accounts) remembered.
    pub max_clients: usize,
    /// Rows remembered.
    pub max_history: usize,
}

/// What is known of a row that was sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Seen {
    /// It is new, and remembered from now on.
    New(RowId),
    /// It was sent before: the same codes, and the same hash of its cells.
    Before(RowId),
    /// A row that is the same within tolerance was sent before.
    Nearly,
}

/// Structure evidence of one model.
#[derive(Clone, Debug)]
pub struct Structure {
    thresholds: Thresholds,
    features: Vec<Feature>,
    similarity: Similarity,
    scales: Scales,
    breaks: Breaks,
    frequent: FrequentValues,
    /// Columns that many callers write as the reference does not know.
    common: Vec<bool>,
    hasher: Hasher,
    quantiser: Quantiser,
    reference_rows: Vec<u16>,
    reference_index: RowIndex,
    history: History,
    index: RowIndex,
    /// Rows that the index has room for.
    index_rows: usize,
    /// Rows added when the index last grew, until the ring has turned over since.
    grown_at: Option<RowId>,
    /// Newest rows that the index finds.
    horizon: usize,
    /// Components.
    pub components: Components,
    accounts: Accounts,
    baseline: SimilarityBaseline,
    /// Tests of anybody's rows against the reference, and of senders' own rows.
    nearest_neighbours: NearestNeighbourTest,
    own_nearest_neighbours: NearestNeighbourTest,
    /// Features that drifted.
    drifted: Vec<usize>,
    /// Usual share of queries that are the first of their callers.
    newcomer_share: f64,
    /// Whether it is the warm-up, when nobody has a past.
    is_start: bool,
    /// Reused vectors; nothing is read from them before it was written for the same query ([`query`]).
    buffers: Buffers,
}

/// What a snapshot of [`Structure`] holds: everything that is not made from the reference.
#[derive(Serialize)]
struct StructureStateRef<'a> {
    history: &'a History,
    index: &'a RowIndex,
    index_rows: usize,
    grown_at: Option<RowId>,
    components: &'a Components,
    accounts: &'a Accounts,
    baseline: &'a SimilarityBaseline,
    breaks: &'a Breaks,
    frequent: &'a FrequentValues,
    nearest_neighbours: &'a NearestNeighbourTest,
    own_nearest_neighbours: &'a NearestNeighbourTest,
    drifted: &'a [usize],
}

/// A snapshot of [`Structure`], read back. Its fields are those of [`Structure::snapshot`], in the same order.
#[derive(Debug, Deserialize)]
pub struct StructureState {
    history: History,
    index: RowIndex,
    index_rows: usize,
    grown_at: Option<RowId>,
    components: Components,
    accounts: Accounts,
    baseline: SimilarityBaseline,
    breaks: Breaks,
    frequent: FrequentValues,
    nearest_neighbours: NearestNeighbourTest,
    own_nearest_neighbours: NearestNeighbourTest,
    drifted: Vec<usize>,
}

// === impl Structure ===

impl Structure {
    /// Structure evidence for a reference.
    pub fn new(reference: &Reference, coder: &Coder, settings: StructureSettings) -> Self {
        let StructureSettings { alarms_per_client_day, salt, max_clients, max_history } = settings;
        let hasher = Hasher::new(reference, salt);
        let quantiser = Quantiser::new(reference);
        let (reference_rows, widths) = (quantiser.sample(reference), quantiser.widths());
        let horizon = max_history.div_ceil(REMEMBERED);
        let index_rows = FIRST_INDEX_ROWS.min(horizon);
        Self {
            thresholds: Thresholds::new(alarms_per_client_day),
            features: reference.features.clone(),
            similarity: Similarity::new(reference, &reference_rows),
            scales: Scales::new(reference),
            breaks: Breaks::new(reference),
            frequent: FrequentValues::new(
                reference.features.len(),
                reference.features.iter().filter(|feature| feature.is_numeric()).count(),
            ),
            common: vec![false; reference.features.len()],
            index: RowIndex::new(index_rows * hasher.keys_per_row(), max_history),
            index_rows,
            reference_index: index_of_sample(reference, coder, &hasher),
            hasher,
            quantiser,
            reference_rows,
            history: History::new(widths, max_history, horizon),
            grown_at: None,
            horizon,
            components: Components::default(),
            accounts: Accounts::new(max_clients),
            baseline: SimilarityBaseline::new(salt),
            nearest_neighbours: NearestNeighbourTest::new(reference.sample.len()),
            own_nearest_neighbours: NearestNeighbourTest::new(reference.sample.len()),
            drifted: Vec::new(),
            newcomer_share: 0.0,
            is_start: true,
            buffers: Buffers::default(),
        }
    }

    /// Rows of history held, and bytes for them.
    pub fn memory(&self) -> (usize, usize) {
        (self.history.len(), self.history.bytes() + self.index.bytes())
    }

    /// Everything that is not made from the reference, for [`Structure::restore`].
    pub fn snapshot(&self) -> impl Serialize + '_ {
        StructureStateRef {
            history: &self.history,
            index: &self.index,
            index_rows: self.index_rows,
            grown_at: self.grown_at,
            components: &self.components,
            accounts: &self.accounts,
            baseline: &self.baseline,
            breaks: &self.breaks,
            frequent: &self.frequent,
            nearest_neighbours: &self.nearest_neighbours,
            own_nearest_neighbours: &self.own_nearest_neighbours,
            drifted: &self.drifted,
        }
    }

    /// Goes on from a snapshot of the same model and settings.
    pub fn restore(&mut self, state: StructureState) {
        self.history = state.history;
        self.index = state.index;
        self.index_rows = state.index_rows;
        self.grown_at = state.grown_at;
        self.components = state.components;
        self.accounts = state.accounts;
        self.baseline = state.baseline;
        self.breaks.restore(state.breaks);
        self.frequent = state.frequent;
        self.nearest_neighbours = state.nearest_neighbours;
        self.own_nearest_neighbours = state.own_nearest_neighbours;
        self.drifted(&state.drifted);
    }

    /// Features drift: whether they are filled in no longer tells rows apart.
    pub fn drifted(&mut self, features: &[usize]) {
        for &feature in features.iter().filter(|&&feature| feature < self.features.len()) {
            if !self.drifted.contains(&feature) {
                self.drifted.push(feature);
                self.similarity.ignore_blanks(feature);
            }
        }
    }

    /// Columns that many callers write as the reference does not know; rows that are written so are compared without them.
    pub fn set_common(&mut self, columns: &[bool], reference: &Reference) {
        self.common.copy_from_slice(columns);
        self.similarity.set_common(&self.common, self.frequent.values(), reference, &self.reference_rows);
    }

    /// So many of the queries are usually the first of their callers: where addresses change anyway, a change of address says less.
    pub fn set_newcomer_share(&mut self, share: f64) {
        self.newcomer_share = share;
    }

    /// Notes the row of a prepared query, whose sender may speak for its peers, for a `voter`: the sender, or a minute of a population.
    /// `is_start` during the warm-up.
    pub fn note_values(&mut self, prepared: &PreparedQuery<'_>, voter: SlotRef, is_start: bool, reference: &Reference) {
        self.is_start = is_start;
        let codes = &prepared.encoded.quantised.codes;
        if prepared.sender.is_established && self.frequent.note(voter, codes, &self.reference_rows) {
            self.similarity.set_common(&self.common, self.frequent.values(), reference, &self.reference_rows);
        }
    }

    /// Hashes and encodes the row of a query, of which `codes` are the [`Feature::code`]s, and prefetches what [`Structure::step`] will
    /// read: the row's buckets of the index, and the sender's own rows. Other work may be done in between. A query that is dropped
    /// instead costs the next one the allocation of its vectors.
    pub fn prepare<'a>(
        &mut self,
        query: &'a Query,
        codes: &Codes,
        sender: Sender,
        clients: &Table<Key, Client>,
    ) -> PreparedQuery<'a> {
        let mut encoded = std::mem::take(&mut self.buffers.encoded);
        self.hasher.hash(&query.row, &codes.fine, &mut encoded.hashes);
        encoded.hashes.prefetch(&self.index);
        self.quantiser.encode(&query.row, &mut encoded.quantised);
        if let Some(client) = clients.get(sender.at) {
            client.structure.own.rows(&self.history).for_each(|row| self.history.prefetch(row));
            self.accounts.prefetch(client.structure.account);
        }
        PreparedQuery { query, sender, encoded }
    }

    /// Judges a prepared query; adds what follows to `out`.
    pub fn step(&mut self, prepared: PreparedQuery<'_>, clients: &mut Table<Key, Client>, out: &mut Vec<Detection>) -> Seen {
        let PreparedQuery { query, sender, encoded } = prepared;
        let seen = if let Some(same) = self.same_row(&encoded) {
            out.extend(self.repeated(same, sender.at, clients));
            Seen::Before(same)
        } else {
            self.find_near_and_link(query, sender, &encoded, clients, out)
        };
        self.buffers.encoded = encoded;
        seen
    }

    /// A row that was not sent before: compares it with earlier rows that may be near, and links it.
    fn find_near_and_link(
        &mut self,
        query: &Query,
        sender: Sender,
        encoded: &EncodedRow,
        clients: &mut Table<Key, Client>,
        out: &mut Vec<Detection>,
    ) -> Seen {
        let Buffers { prepared, candidates, mut near, .. } = std::mem::take(&mut self.buffers);
        let candidates = self.candidates(encoded, sender, clients, candidates);
        let prepared = self.prepared(&encoded.quantised.codes, prepared);
        let seen = match self.compare(&prepared, sender, &candidates, &mut near) {
            // A jittered copy is the same row: it starts no chain of edits.
            Compared::Same(row) => {
                encoded.hashes.note_same(&mut self.index, row as u32);
                Seen::Nearly
            }
            Compared::New => {
                let new = ComparedRow { query, sender, encoded, prepared: &prepared, near: &near };
                Seen::New(self.remember_and_link(&new, clients, out))
            }
        };
        self.buffers = Buffers { prepared, candidates, near, ..Buffers::default() };
        seen
    }

    /// A new row: remembers it, links it to earlier rows or samples it, and notes it for its sender.
    fn remember_and_link(&mut self, new: &ComparedRow<'_>, clients: &mut Table<Key, Client>, out: &mut Vec<Detection>) -> RowId {
        let sender = new.sender;
        let live_rows = (self.history.len() as f64) + 1.0;
        let row = self.remember(new.query, sender, new.encoded);
        let Some(client) = clients.get_mut(sender.at) else { return row };
        let state = &mut client.structure;
        out.extend(self.check_dependencies(new, state));
        let nearest = self.nearest(row, new, state);
        let own_link = self.own_link(new, &nearest, state);
        let any_link = self.anybodys_link(&nearest, sender, live_rows);
        if !own_link {
            self.note_nearest_neighbour(&nearest, any_link, sender, live_rows);
        }
        let is_asked = client.flag.is_none() && (own_link || any_link.linked);
        let mut callers = if is_asked { self.log_p_of_callers(new.prepared, sender.at) } else { Vec::new() };
        let (nearest, own_link, any_link) = if is_asked {
            let less = nearest.less(self.common_nearness(new.prepared, &mut callers));
            (less, own_link && less.still_links_own(), self.anybodys_link(&less, sender, live_rows))
        } else {
            (nearest, own_link, any_link)
        };
        match nearest.link(new, row, own_link, any_link) {
            Some(_) if is_asked && self.is_near_to_many(&callers) => {
                state.restart();
                self.sample_unlinked(new, state);
            }
            Some(link) => self.extend(&link, clients, out),
            None => self.sample_unlinked(new, state),
        }
        self.remember_for_sender(row, sender, clients);
        row
    }

    /// Checks the row's functional dependencies. A near edit of an own row is judged as an edit and not here.
    fn check_dependencies(&mut self, new: &ComparedRow<'_>, state: &mut ClientStructure) -> Option<Detection> {
        if self.breaks.is_empty() || new.near.iter().any(|n| n.own && n.is_edit()) {
            return None;
        }
        self.breaks.check(&new.query.row, new.sender, state, self.thresholds.proximity)
    }

    /// A row that is linked to nothing lowers its sender's proximity, and measures how similar live rows are.
    fn sample_unlinked(&mut self, new: &ComparedRow<'_>, state: &mut ClientStructure) {
        state.proximity = (state.proximity + (1.0 - LINK_RATE).ln()).max(0.0);
        let row = (&self.similarity, new.prepared);
        self.baseline.sample(&new.encoded.quantised.codes, new.sender.at, state, row);
    }

    /// When a row was first sent, to the second; the earliest time if it is no longer remembered.
    pub fn sent_at(&self, row: RowId) -> EventTime {
        if self.history.holds(row) { self.history.meta(row).time() } else { EARLIEST }
    }

    /// Whether a row is linked to a campaign.
    pub fn is_in_campaign(&self, row: RowId) -> bool {
        self.component_of(row).and_then(|at| self.components.get(at)).is_some_and(|component| component.flagged.is_some())
    }

    /// What the model answered when it was asked this row last.
    pub fn answer_mut(&mut self, row: RowId) -> &mut f32 {
        &mut self.history.meta_mut(row).answer
    }
}

/// Index of the rows of a reference's sample, by their places in it.
fn index_of_sample(reference: &Reference, coder: &Coder, hasher: &Hasher) -> RowIndex {
    let mut index = RowIndex::new(reference.sample.len() * hasher.keys_per_row(), reference.sample.len());
    let (mut hashes, mut codes) = (RowHashes::default(), Codes::default());
    for (i, row) in reference.sample.iter().enumerate() {
        coder.encode(row, &mut codes);
        hasher.hash(row, &codes.fine, &mut hashes);
        hashes.note(&mut index, i as u32);
    }
    index
}
