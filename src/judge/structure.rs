//! Structure evidence: rows that stand in a relation to earlier rows which nature does not produce.
//!
//! For each new row: is it improbably near to the sender's own rows (evidence `closeness`), and does the trail of near rows look
//! like a machine's (evidence `habits`, see [`crate::signal::edits`])? Both are needed to accuse a client, since a person with a
//! what-if page shows the first, and chance the second. Rows near to *anybody's* rows form components
//! ([`super::campaign`]); a component is accused when its habits and links, added up over its senders, leave no other account.
//!
//! None of it looks at where in feature space the rows lie, which is why drift leaves it alone. What drift does change is how
//! alike natural rows are; a reservoir of live unlinked rows measures that and is subtracted.
//!
//! | file | what it does |
//! |---|---|
//! | [`linking`] | what follows from a link: components, habits, accusations |
//! | [`races`] | how much of nearness is coincidence |
//! | [`likeness`] | how much of likeness is drift |
//! | [`dependencies`] | functional dependencies broken against the peers |

mod dependencies;
mod likeness;
mod linking;
mod races;

use super::campaign::Components;
use super::client::{Client, Key};
use crate::event::{Cell, Query};
use crate::judge::Family;
use crate::reference::{Feature, Reference};
use crate::signal::edits::EditProcess;
use crate::signal::neighbours::{Hasher, RowHashes};
use crate::signal::similarity::{Comparison, Similarity};
use crate::window::clients::{SlotRef, Table};
use crate::window::history::{History, RowId, RowMeta, Sightings};
use dependencies::{Breaks, Waiting};
use likeness::Likenesses;
use linking::Link;
use races::{RACE_SPAN, Races};

/// Own rows that a new row is compared with.
const OWN_ROWS: usize = 16;
/// Trails of edits kept per client, one per component.
const TRAILS: usize = 8;
/// Own rows of others that this client repeated, kept so that going on from them counts as its own trail.
const REPEATED: usize = 8;
/// Closeness that counts, per query: ln 10⁶. A CUSUM of per-row p-values against a nominal link rate of a tenth (Page 1954).
const CLOSENESS: f64 = 13.8;
/// Link rate that honest clients may have without closeness adding up.
const LINK_RATE: f64 = 0.1;
/// One step's most, in nats: no single row convicts.
const STEP_CAP: f64 = 3.912_023_005_428_146;
/// Rows compared of the bound on an own link: two, for two-sided nearness.
const MULTIPLICITY: f64 = 2.0;
/// ln of the p-value at which a row counts as linked.
const LINKED: f64 = -4.605_170_185_988_091;
/// ln of the p-value at which a row joins a component that exists.
const GROWS: f64 = -6.907_755_278_982_137;
/// A member's own share at which he is named.
const MEMBER: f64 = 7.0;

/// What structure evidence remembers of a client.
#[derive(Clone, Debug, Default)]
pub struct ClientStructure {
    closeness: f64,
    habits: f64,
    rows: u32,
    own: Vec<RowId>,
    own_next: usize,
    repeated: Vec<RowId>,
    trails: Vec<(SlotRef, EditProcess)>,
    repeats: f64,
    last_sampled: u32,
    /// Evidence from broken functional dependencies.
    broken: f64,
    /// Since when it waits for peers to break them too.
    waiting: Option<Waiting>,
    /// Strongest closeness so far, for the record.
    pub peak: f64,
}

/// A statement by structure evidence.
#[derive(Clone, Debug, PartialEq)]
pub struct Accusation {
    /// Who.
    pub client: SlotRef,
    /// On what grounds.
    pub grounds: Grounds,
    /// Shape of the search.
    pub family: Family,
    /// The heaviest evidence in nats.
    pub evidence: f64,
    /// The component that it is part of.
    pub component: Option<SlotRef>,
}

/// Grounds of an accusation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Grounds {
    /// Closeness and habits of one client.
    Search,
    /// Too many edits of one row.
    EditBudget,
    /// Membership in a component that several senders built.
    Campaign,
    /// Repeats rows of a campaign.
    Repeats,
    /// Breaks functional dependencies that its peers keep.
    BrokenDependency,
}
/// One candidate neighbour.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    row: RowId,
    comparison: Comparison,
    log_p: f64,
    own: bool,
}

/// Structure evidence of one model.
#[derive(Clone, Debug)]
pub struct Structure {
    features: Vec<Feature>,
    similarity: Similarity,
    breaks: Breaks,
    hasher: Hasher,
    reference_rows: Vec<Vec<Cell>>,
    reference_index: Sightings,
    history: History,
    index: Sightings,
    index_rows: usize,
    max_history: usize,
    /// Components.
    pub components: Components,
    accounts: Table<u64, (Vec<RowId>, usize)>,
    hashes: RowHashes,
    candidates: Vec<RowId>,
    near: Vec<Candidate>,
    likenesses: Likenesses,
    races: Races,
}

// === impl ClientStructure ===

impl ClientStructure {
    /// Bytes held beyond the struct itself.
    pub fn bytes(&self) -> usize {
        self.own.capacity() * 8 + self.repeated.capacity() * 8 + self.trails.capacity() * (size_of::<EditProcess>() + 8 + 256)
    }

    /// Closeness in nats, as it stands.
    pub fn closeness(&self) -> f64 {
        self.closeness
    }

    /// Habits in nats, as they stand.
    pub fn habits(&self) -> f64 {
        self.habits
    }

    fn remember(&mut self, row: RowId) {
        if self.own.len() < OWN_ROWS {
            self.own.push(row);
        } else {
            self.own[self.own_next] = row;
            self.own_next = (self.own_next + 1) % OWN_ROWS;
        }
    }

    fn trail(&mut self, component: SlotRef) -> &mut EditProcess {
        let at = self.trails.iter().position(|(c, _)| *c == component).unwrap_or_else(|| {
            if self.trails.len() >= TRAILS {
                self.trails.remove(0);
            }
            self.trails.push((component, EditProcess::default()));
            self.trails.len() - 1
        });
        &mut self.trails[at].1
    }
}

// === impl Structure ===

impl Structure {
    /// Structure evidence for a reference.
    pub fn new(reference: &Reference, salt: u64, max_history: usize, max_clients: usize) -> Self {
        let hasher = Hasher::new(reference, salt);
        let mut reference_index = Sightings::with_entries(2 * reference.sample.len() * hasher.keys_per_row());
        let mut hashes = RowHashes::default();
        for (i, row) in reference.sample.iter().enumerate() {
            hasher.hash(row, &mut hashes);
            hashes.note(&mut reference_index, i as u32);
        }
        let index_rows = 4096.min(max_history);
        Self {
            features: reference.features.clone(),
            similarity: Similarity::new(reference),
            breaks: Breaks::new(reference),
            index: Sightings::with_entries(2 * index_rows * hasher.keys_per_row()),
            index_rows,
            hasher,
            reference_rows: reference.sample.clone(),
            reference_index,
            history: History::new(reference.features.len(), max_history),
            max_history,
            components: Components::default(),
            accounts: Table::new(max_clients),
            hashes,
            candidates: Vec::new(),
            near: Vec::new(),
            likenesses: Likenesses::new(salt),
            races: Races::new(reference.sample.len()),
        }
    }

    /// Rows of history held, and bytes for them.
    pub fn memory(&self) -> (usize, usize) {
        (self.history.len(), self.history.bytes() + self.index.bytes())
    }

    /// Hash of the row of the last step.
    pub fn row_hash(&self) -> u64 {
        self.hashes.whole
    }

    /// Takes one row of a client; writes what follows to `out`.
    pub fn step(
        &mut self,
        query: &Query,
        at: SlotRef,
        sender: (u64, u64),
        clients: &mut Table<Key, Client>,
        out: &mut Vec<Accusation>,
    ) -> Option<RowId> {
        self.hasher.hash(&query.row, &mut self.hashes);
        if let Some(same) = self.same_row(&query.row) {
            self.repeated(same, at, clients, out);
            return None;
        }
        self.collect(at, sender, clients);
        let rows_in_memory = (self.history.len() as f64) + 1.0;
        if self.compare(query, at, sender, clients) {
            // Within tolerance of a known row: the same row for our purpose, so that jitter makes no trail.
            if let Some(same) = self.near.last() {
                self.hashes.note_same(&mut self.index, same.row as u32);
            }
            return None;
        }
        let reference_log_p = self.nearest_reference(&query.row);
        let row = self.add(query, at, sender);
        let Some(client) = clients.get_mut(at) else { return Some(row) };
        // A near edit of an own row is judged as an edit.
        if !self.breaks.is_empty() && !self.near.iter().any(|c| c.own && c.comparison.changed <= 2) {
            out.extend(self.breaks.check(&query.row, at, &mut client.structure));
        }
        let state = &mut client.structure;
        let own_rows = f64::from(state.rows.max(1));
        let best_own = best(&self.near, true);
        let best_any = best(&self.near, false);
        let own_p = best_own.map_or(0.0, |c| (c.log_p + (MULTIPLICITY * own_rows).ln()).min(0.0));
        let own_link = own_p < LINKED;
        let component_rows =
            best_any.and_then(|c| self.component_of(c.row)).and_then(|c| self.components.get(c)).map_or(1.0, |c| f64::from(c.rows));
        let any_p = best_any.map_or(0.0, |c| {
            let everywhere = c.log_p + (MULTIPLICITY * component_rows).ln();
            let here = self.races.local_log_p(c.log_p, reference_log_p, component_rows);
            everywhere.max(here).min(0.0)
        });
        let any_link = best_any.is_some_and(|c| {
            reference_log_p > c.log_p
                && (c.log_p + (MULTIPLICITY * rows_in_memory).ln() < LINKED
                    || (component_rows >= 2.0 && c.log_p + (MULTIPLICITY * component_rows).ln() < GROWS))
        });
        let crossed = best_any.is_some_and(|c| reference_log_p > c.log_p && self.history.meta(c.row).address != sender.0);
        if !own_link && let Some(nearest) = best_any {
            self.races.note(at, crossed && row - nearest.row <= RACE_SPAN, rows_in_memory.min(RACE_SPAN as f64));
        }
        let target = if own_link {
            best_own
        } else if any_link {
            best_any
        } else {
            None
        };
        if let Some(target) = target {
            let other = if own_link && any_link { best_any } else { None };
            self.extend(&Link { row, target, other, at, sender, own_p, any_p, own_link, own_rows, crossed }, query, clients, out);
        } else {
            state.closeness = (state.closeness + (1.0 - LINK_RATE).ln()).max(0.0);
            self.likenesses.sample(row, at, state, &self.history, &self.similarity);
        }
        if let Some(client) = clients.get_mut(at) {
            client.structure.rows += 1;
            client.structure.remember(row);
        }
        self.remember_for_account(sender.1, row);
        Some(row)
    }

    /// The row with exactly these cells, if it is remembered.
    fn same_row(&self, row: &[Cell]) -> Option<RowId> {
        let found = self.hashes.find_same(&self.index).and_then(|low| self.history.recall(low))?;
        let same = self.history.row(found).iter().zip(row).all(|(a, b)| a.bits() == b.bits());
        same.then_some(found)
    }

    /// A row that is remembered was sent again.
    fn repeated(&mut self, same: RowId, at: SlotRef, clients: &mut Table<Key, Client>, out: &mut Vec<Accusation>) {
        let owner = self.history.meta(same).client;
        let component = self.component_of(same);
        let flagged = component.and_then(|c| self.components.get(c)).filter(|c| c.flagged.is_some());
        let share = flagged.map_or(0.0, |c| (2.0 * f64::from(c.rows) / (self.history.added() as f64 + 1.0)).clamp(1e-3, 0.3));
        let family = flagged.map_or(Family::Unknown, |c| c.family());
        let is_flagged = flagged.is_some();
        let Some(client) = clients.get_mut(at) else { return };
        let state = &mut client.structure;
        state.rows += 1;
        if owner == (at.slot, at.generation) {
            return;
        }
        if !state.repeated.contains(&same) {
            if state.repeated.len() >= REPEATED {
                state.repeated.remove(0);
            }
            state.repeated.push(same);
        }
        state.repeats = state.repeats.max(0.0) + if is_flagged { (0.3 / share).ln().min(STEP_CAP) } else { 0.7_f64.ln() };
        if is_flagged && state.repeats > MEMBER {
            out.push(Accusation { client: at, grounds: Grounds::Repeats, family, evidence: state.repeats, component });
        }
    }

    /// Gathers candidates: own rows, rows gone on from, the account's rows, and whatever the index knows.
    fn collect(&mut self, at: SlotRef, sender: (u64, u64), clients: &Table<Key, Client>) {
        self.candidates.clear();
        if let Some(client) = clients.get(at) {
            self.candidates.extend(&client.structure.own);
            self.candidates.extend(&client.structure.repeated);
        }
        if sender.1 != 0
            && let Some(account) = self.accounts.find(&sender.1).and_then(|a| self.accounts.get(a))
        {
            self.candidates.extend(&account.0);
        }
        let (history, candidates) = (&self.history, &mut self.candidates);
        self.hashes.find(&self.index, |low| candidates.extend(history.recall(low)));
        self.candidates.retain(|&row| self.history.holds(row));
        self.candidates.sort_unstable_by(|a, b| b.cmp(a));
        self.candidates.dedup();
    }

    /// Compares with every candidate. True (with that candidate last) if one is the same within tolerance.
    fn compare(&mut self, query: &Query, at: SlotRef, sender: (u64, u64), clients: &Table<Key, Client>) -> bool {
        self.near.clear();
        let repeated: &[RowId] = clients.get(at).map_or(&[], |c| &c.structure.repeated);
        for &row in &self.candidates {
            let comparison = self.similarity.compare(&query.row, self.history.row(row));
            let meta = self.history.meta(row);
            let own =
                meta.client == (at.slot, at.generation) || (sender.1 != 0 && meta.account == sender.1) || repeated.contains(&row);
            let log_p = self.similarity.log_p(comparison, self.likenesses.shift);
            self.near.push(Candidate { row, comparison, log_p, own });
            if comparison.changed == 0 {
                return true;
            }
        }
        false
    }

    /// ln p of the nearest reference row that the index finds: a natural row as near as that explains any link.
    fn nearest_reference(&mut self, row: &[Cell]) -> f64 {
        let mut nearest = 1.0_f64;
        let (similarity, rows, shift) = (&self.similarity, &self.reference_rows, self.likenesses.shift);
        let mut compare = |i: u32| {
            if let Some(reference) = rows.get(i as usize) {
                nearest = nearest.min(similarity.log_p(similarity.compare(row, reference), shift));
            }
        };
        if let Some(same) = self.hashes.find_same(&self.reference_index) {
            compare(same);
        }
        self.hashes.find(&self.reference_index, compare);
        nearest
    }

    fn add(&mut self, query: &Query, at: SlotRef, sender: (u64, u64)) -> RowId {
        if self.history.len() >= self.index_rows && self.index_rows < self.max_history {
            self.grow();
        }
        let row = self.history.push(
            &query.row,
            RowMeta {
                client: (at.slot, at.generation),
                address: sender.0,
                account: sender.1,
                component: (0, 0),
                time: query.time,
                provenance: query.provenance,
            },
        );
        self.hashes.note(&mut self.index, row as u32);
        row
    }

    /// Doubles the index, so that a quiet model stays small. Rows are entered anew, oldest first.
    fn grow(&mut self) {
        self.index_rows = (self.index_rows * 2).min(self.max_history);
        self.index = Sightings::with_entries(2 * self.index_rows * self.hasher.keys_per_row());
        let mut hashes = RowHashes::default();
        let added = self.history.added();
        for row in added - self.history.len() as u64..added {
            self.hasher.hash(self.history.row(row), &mut hashes);
            hashes.note(&mut self.index, row as u32);
        }
    }
    fn remember_for_account(&mut self, account: u64, row: RowId) {
        if account == 0 {
            return;
        }
        let (at, _, _) = self.accounts.touch(&account, || (Vec::new(), 0));
        if let Some((rows, next)) = self.accounts.get_mut(at) {
            if rows.len() < OWN_ROWS {
                rows.push(row);
            } else {
                rows[*next] = row;
                *next = (*next + 1) % OWN_ROWS;
            }
        }
    }
}
/// Rows of a client that structure evidence has seen.
fn own_rows(clients: &Table<Key, Client>, at: SlotRef) -> u32 {
    clients.get(at).map_or(0, |c| c.structure.rows)
}

/// Whether a row is one of others' that this client repeated.
fn repeats(clients: &Table<Key, Client>, at: SlotRef, row: RowId) -> bool {
    clients.get(at).is_some_and(|c| c.structure.repeated.contains(&row))
}

fn best(near: &[Candidate], own_only: bool) -> Option<Candidate> {
    near.iter().filter(|c| !own_only || c.own).min_by(|a, b| a.log_p.total_cmp(&b.log_p)).copied()
}
