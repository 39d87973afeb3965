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
//! | [`thresholds`] | what all of them speak of: detections, neighbours, links, bars |
//! | [`linking`] | what follows from a link: components, habits, detections |
//! | [`nearest_neighbour_test`] | how much of nearness is coincidence |
//! | [`similarity_baseline`] | how much of likeness is drift |
//! | [`accounts`] | the rows of one account at several addresses |
//! | [`dependencies`] | functional dependencies broken against the peers |

mod accounts;
mod dependencies;
mod linking;
mod nearest_neighbour_test;
mod similarity_baseline;
mod thresholds;

use serde::{Deserialize, Serialize};

use super::campaign::Components;
use super::client::{Client, Key};
use crate::event::Query;
use crate::judge::Family;
use crate::reference::{Feature, Reference};
use crate::signal::codes::{Coder, Codes};
use crate::signal::neighbours::{Hasher, RowHashes};
use crate::signal::perturbation::Scales;
use crate::signal::quantise::{MISSING, Quantised, Quantiser, padded};
use crate::signal::similarity::{PreparedRow, Similarity};
use crate::window::clients::{SlotRef, Table};
use crate::window::history::{History, RowId, RowMeta};
use crate::window::index::RowIndex;
use accounts::Accounts;
use dependencies::Breaks;
use nearest_neighbour_test::{NearestNeighbourTest, RACE_SPAN};
use similarity_baseline::SimilarityBaseline;
use thresholds::{CLOSENESS_MOST, Candidate, LINK_RATE, LINKED, Link, MEMBER_ROWS, MULTIPLICITY, STEP_CAP, Thresholds};
pub use thresholds::{Detection, Reason};

/// Rows of memory for one that the index finds: strangers' rows are looked for among the newest quarter, which is where a search
/// that goes on leaves them. Older rows are remembered for their sender and his account, and for the component that they are in.
/// The index, twice as large as all else, then takes a quarter of the room, and more of it stays near the processor.
const REMEMBERED: usize = 4;
/// ln of the p-value at which a row joins a component that exists.
const GROWS: f64 = -6.907_755_278_982_137;
/// ln of the share of natural pairs within which a reference row must lie for its race with own rows to be held: where the world is
/// empty, to be the nearest says nothing.
const NEAR: f64 = -std::f64::consts::LN_10;
/// Lead, in nats, with which an own row wins: an honest client's own rows are ahead by chance, a search's by its steps.
const LEAD: f64 = 1.0;
/// Changed columns of an edit at most; a row that changes more is another row.
const EDIT: u16 = 2;
/// Evidence of own races from which a won one counts as a link: a hundred to one.
const RACED: f64 = 4.605_170_185_988_091;

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
    /// It is remembered from now on.
    New(RowId),
    /// It is remembered: the same codes, and the same hash of its cells.
    Before(RowId),
    /// One is remembered that is the same within tolerance.
    Nearly,
}

/// A row to compare with: its number, and in the lowest bit whether it is known to be the sender's own. Of two finds of one row that
/// one is the greater. In eight bytes, which are sorted in a fraction of the time of two fields.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Found(u64);

/// Structure evidence of one model.
#[derive(Clone, Debug)]
pub struct Structure {
    thresholds: Thresholds,
    features: Vec<Feature>,
    similarity: Similarity,
    scales: Scales,
    breaks: Breaks,
    hasher: Hasher,
    quantiser: Quantiser,
    reference_rows: Vec<u16>,
    reference_index: RowIndex,
    history: History,
    index: RowIndex,
    index_rows: usize,
    /// Rows added when the index last grew, until the ring has turned over since.
    grown_at: Option<RowId>,
    /// Newest rows that the index finds.
    horizon: usize,
    /// Components.
    pub components: Components,
    accounts: Accounts,
    hashes: RowHashes,
    quantised: Quantised,
    probe: PreparedRow,
    candidates: Vec<Found>,
    near: Vec<Candidate>,
    baseline: SimilarityBaseline,
    races: NearestNeighbourTest,
    own_races: NearestNeighbourTest,
    /// Features that drifted.
    drifted: Vec<usize>,
}

/// A snapshot of [`Structure`], read back.
#[derive(Debug, Deserialize)]
pub struct StructureState(
    (History, RowIndex, usize, Option<RowId>),
    (Components, Accounts, SimilarityBaseline, Breaks),
    (NearestNeighbourTest, NearestNeighbourTest),
    Vec<usize>,
);

// === impl Structure ===

impl Structure {
    /// Structure evidence for a reference.
    pub fn new(reference: &Reference, coder: &Coder, settings: StructureSettings) -> Self {
        let StructureSettings { alarms_per_client_day, salt, max_clients, max_history } = settings;
        let hasher = Hasher::new(reference, salt);
        let quantiser = Quantiser::new(reference);
        let (reference_rows, widths) = (quantiser.sample(reference), quantiser.widths());
        let mut reference_index = RowIndex::new(reference.sample.len() * hasher.keys_per_row(), reference.sample.len());
        let (mut hashes, mut codes) = (RowHashes::default(), Codes::default());
        for (i, row) in reference.sample.iter().enumerate() {
            coder.encode(row, &mut codes);
            hasher.hash(row, &codes.fine, &mut hashes);
            hashes.note(&mut reference_index, i as u32);
        }
        let horizon = max_history.div_ceil(REMEMBERED);
        let index_rows = 4096.min(horizon);
        Self {
            thresholds: Thresholds::new(alarms_per_client_day),
            features: reference.features.clone(),
            similarity: Similarity::new(reference, &reference_rows),
            scales: Scales::new(reference),
            breaks: Breaks::new(reference),
            index: RowIndex::new(index_rows * hasher.keys_per_row(), max_history),
            index_rows,
            hasher,
            quantiser,
            reference_rows,
            reference_index,
            history: History::new(widths, max_history, horizon),
            grown_at: None,
            horizon,
            components: Components::default(),
            accounts: Accounts::new(max_clients),
            hashes,
            quantised: Quantised::default(),
            probe: PreparedRow::default(),
            candidates: Vec::new(),
            near: Vec::new(),
            baseline: SimilarityBaseline::new(salt),
            races: NearestNeighbourTest::new(reference.sample.len()),
            own_races: NearestNeighbourTest::new(reference.sample.len()),
            drifted: Vec::new(),
        }
    }

    /// Rows of history held, and bytes for them.
    pub fn memory(&self) -> (usize, usize) {
        (self.history.len(), self.history.bytes() + self.index.bytes())
    }

    /// Everything that is not made from the reference, for [`Structure::restore`].
    pub fn snapshot(&self) -> impl Serialize + '_ {
        (
            (&self.history, &self.index, self.index_rows, self.grown_at),
            (&self.components, &self.accounts, &self.baseline, &self.breaks),
            (&self.races, &self.own_races),
            &self.drifted,
        )
    }

    /// Goes on from a snapshot of the same model and settings.
    pub fn restore(&mut self, state: StructureState) {
        let StructureState(memory, (components, accounts, likenesses, breaks), races, drifted) = state;
        let (history, index, index_rows, grown_at) = memory;
        (self.history, self.index, self.index_rows, self.grown_at) = (history, index, index_rows, grown_at);
        (self.components, self.accounts, self.baseline) = (components, accounts, likenesses);
        (self.races, self.own_races) = races;
        self.breaks.restore(breaks);
        self.drifted(&drifted);
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

    /// Encodes the row of the next step, of which `codes` are the codes, and asks for what the index knows of it and for the rows of
    /// its client, with which it will be compared.
    pub fn prepare(&mut self, query: &Query, codes: &Codes, at: SlotRef, clients: &Table<Key, Client>) {
        self.hasher.hash(&query.row, &codes.fine, &mut self.hashes);
        self.hashes.prefetch(&self.index);
        self.quantiser.encode(&query.row, &mut self.quantised);
        if let Some(client) = clients.get(at) {
            client.structure.own.rows(&self.history).for_each(|row| self.history.prefetch(row));
            self.accounts.prefetch(client.structure.account);
        }
    }

    /// Takes one row of a client, for which [`Structure::prepare`] was called; writes what follows to `out`.
    pub fn step(
        &mut self,
        query: &Query,
        at: SlotRef,
        sender: (u64, u64),
        clients: &mut Table<Key, Client>,
        out: &mut Vec<Detection>,
    ) -> Seen {
        let sender_hashes = (sender.0 as u32, sender.1 as u32);
        if let Some(same) = self.same_row() {
            self.repeated(same, at, clients, out);
            return Seen::Before(same);
        }
        self.collect(at, sender.1, clients);
        self.similarity.prepare(&self.quantised.codes, &mut self.probe);
        let rows_in_memory = (self.history.len() as f64) + 1.0;
        if self.compare(at, sender_hashes) {
            // Within tolerance of a known row: the same row for our purpose, so that jitter makes no trail.
            if let Some(same) = self.near.last() {
                self.hashes.note_same(&mut self.index, same.row as u32);
            }
            return Seen::Nearly;
        }
        let row = self.add(query, at, sender_hashes);
        let Some(client) = clients.get_mut(at) else { return Seen::New(row) };
        // A near edit of an own row is judged as an edit.
        if !self.breaks.is_empty() && !self.near.iter().any(|c| c.own && c.comparison.changed <= EDIT) {
            out.extend(self.breaks.check(&query.row, at, &mut client.structure, self.thresholds.closeness));
        }
        let state = &mut client.structure;
        let own_rows = f64::from(state.rows.max(1));
        let best_own = best(&self.near, true);
        let best_any = best(&self.near, false);
        let own_p = best_own.map_or(0.0, |c| (c.log_p + (MULTIPLICITY * own_rows).ln()).min(0.0));
        let linked = own_p < LINKED;
        // Only what may be linked, or races, is worth a look at other rows.
        let linkable = linked || best_any.is_some_and(|c| c.log_p < LINKED);
        let in_span = best_any.is_some_and(|c| row - c.row <= RACE_SPAN);
        let foreign = |c: &Candidate| self.is_foreign(c.row, sender_hashes);
        let races = !linked && in_span && self.races.open_to(at) && best_any.as_ref().is_some_and(foreign);
        let near_own = best_own.is_some_and(|c| c.log_p < NEAR - LEAD);
        let asked = linkable || races || near_own;
        let reference_log_p = if asked { self.nearest_reference(&self.probe) } else { f64::NEG_INFINITY };
        let (fair_own, fair_reference) = self.on_equal_terms(query, best_own.filter(|_| near_own || linked), reference_log_p);
        let raced = best_own.is_some() && self.race_own(fair_own.filter(|c| c.log_p < NEAR - LEAD), fair_reference, at, clients);
        // A row with many changed columns is no edit: near only because the world is dense there, if the reference is as near.
        let unmatched = |c: Candidate| c.comparison.changed <= EDIT || c.log_p < fair_reference - LEAD;
        let linked = linked && fair_own.is_some_and(unmatched);
        let own_link = linked || raced;
        let Some(client) = clients.get_mut(at) else { return Seen::New(row) };
        let state = &mut client.structure;
        let component_rows = best_any
            .filter(|_| linkable)
            .and_then(|c| self.component_of(c.row))
            .and_then(|c| self.components.get(c))
            .map_or(1.0, |c| f64::from(c.rows));
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
        let crossed =
            best_any.filter(|c| reference_log_p > c.log_p && self.is_foreign(c.row, sender_hashes)).map(|nearest| nearest.row);
        if !own_link && best_any.is_some() {
            self.races.note(at, crossed.is_some() && in_span, rows_in_memory.min(RACE_SPAN as f64));
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
            let sender = sender_hashes;
            self.extend(&Link { row, target, other, at, sender, own_p, any_p, own_link, own_rows, crossed }, query, clients, out);
        } else {
            state.closeness = (state.closeness + (1.0 - LINK_RATE).ln()).max(0.0);
            self.baseline.sample(&self.quantised.codes, at, state, (&self.similarity, &self.probe));
        }
        if let Some(client) = clients.get_mut(at) {
            client.structure.rows += 1;
            client.structure.own.push(row);
        }
        self.accounts.remember(sender.1, at, row, clients);
        Seen::New(row)
    }

    /// Whether a row came from another address. That lies elsewhere in memory, and most who ask need not know.
    fn is_foreign(&self, row: RowId, (address, _): (u32, u32)) -> bool {
        self.history.meta(row).address != address
    }

    /// What the model answered when it was asked this row last.
    pub fn answer_mut(&mut self, row: RowId) -> &mut f32 {
        &mut self.history.meta_mut(row).answer
    }

    /// A race of the nearest own row, if one is near at all, against the nearest reference row; whether it was won by a client who wins
    /// so many that it counts as a link. In the midst of the world rows are near to each other anyway, and no single one is
    /// improbably so; but of so many reference rows there, one should be nearer than the few of its sender's own.
    fn race_own(&mut self, own: Option<Candidate>, reference: f64, at: SlotRef, clients: &mut Table<Key, Client>) -> bool {
        let Some(client) = clients.get_mut(at) else { return false };
        let state = &mut client.structure;
        if own.is_some() && reference >= NEAR {
            return false;
        }
        let own_rows = f64::from(state.rows.max(1));
        let won = own.is_some_and(|c| c.log_p < reference - LEAD);
        let edited = own.is_some_and(|c| c.comparison.changed <= 1);
        self.own_races.note(at, won, own_rows);
        let expected = own_rows / (own_rows + self.races.effective());
        let evidence = self.own_races.own_evidence(won, expected);
        state.raced = (state.raced + evidence).clamp(0.0, CLOSENESS_MOST);
        let goes_on_editing = edited && state.was_edit;
        state.was_edit = edited;
        if !goes_on_editing {
            state.raced_as_sessions = (state.raced_as_sessions + evidence).clamp(0.0, CLOSENESS_MOST);
        }
        won && if edited { state.raced > RACED } else { state.raced_as_sessions > RACED }
    }

    /// The row with exactly these cells (as far as its codes and a hash of its cells can tell), if it is remembered.
    fn same_row(&self) -> Option<RowId> {
        let found = self.hashes.find_same(&self.index).and_then(|low| self.history.recall(low, self.index.row_mask()))?;
        // What the codes leave out, the hash has seen.
        (self.history.row(found) == self.quantised.codes).then_some(found)
    }

    /// A row that is remembered was sent again.
    fn repeated(&mut self, same: RowId, at: SlotRef, clients: &mut Table<Key, Client>, out: &mut Vec<Detection>) {
        let owner = self.history.meta(same).client;
        let component = self.component_of(same);
        let flagged = component.and_then(|c| self.components.get(c)).filter(|c| c.flagged.is_some());
        let share = flagged.map_or(0.0, |c| (2.0 * f64::from(c.rows) / (self.history.added() as f64 + 1.0)).clamp(1e-3, 0.3));
        let family = flagged.map_or(Family::Unknown, |c| c.family());
        let is_flagged = flagged.is_some();
        let Some(client) = clients.get_mut(at) else { return };
        let state = &mut client.structure;
        state.rows += 1;
        if owner == at {
            return;
        }
        if state.repeated.contains(same) {
            // A retry says no more than the first time.
            return;
        }
        state.repeated.push(same);
        state.enlisted.rows += u32::from(is_flagged);
        state.repeats = state.repeats.max(0.0) + if is_flagged { (0.3 / share).ln().min(STEP_CAP) } else { 0.7_f64.ln() };
        // Whoever replays real traffic replays a prober's rows, too: named is who hardly sends anything else.
        if is_flagged
            && !state.looks_like_a_person()
            && state.repeats > self.thresholds.member
            && f64::from(state.enlisted.rows) >= MEMBER_ROWS * f64::from(state.rows)
        {
            out.push(Detection { client: at, reason: Reason::Repeats, family, evidence: state.repeats, component });
        }
    }

    /// Gathers candidates, newest first: own rows, rows gone on from, the account's rows, and whatever the index knows.
    fn collect(&mut self, at: SlotRef, account: u64, clients: &Table<Key, Client>) {
        let (history, candidates) = (&self.history, &mut self.candidates);
        candidates.clear();
        let known = |row| Found::new(row, true);
        if let Some(client) = clients.get(at) {
            candidates.extend(client.structure.own.rows(history).map(known));
            candidates.extend(client.structure.repeated.rows(history).map(known));
        }
        self.accounts.rows_of_others(account, at, clients, history, |row| candidates.push(known(row)));
        let mask = self.index.row_mask();
        let found = |low| history.recall(low, mask).map(|row| Found::new(row, false));
        self.hashes.find(&self.index, |low| candidates.extend(found(low)));
        // Most are a client's own, and in order.
        candidates.sort_by(|a, b| b.cmp(a));
        candidates.dedup_by_key(|found| found.row());
        // The client's own rows were asked for by `prepare`.
        candidates.iter().filter(|found| !found.own()).for_each(|found| history.prefetch(found.row()));
    }

    /// Compares with every candidate. True (with that candidate last) if one is the same within tolerance.
    fn compare(&mut self, at: SlotRef, sender: (u32, u32)) -> bool {
        self.near.clear();
        for found in &self.candidates {
            let (row, own) = (found.row(), found.own());
            let (comparison, log_p) = self.similarity.assess(&self.probe, self.history.row(row), self.baseline.shift);
            // Whose an ordinary neighbour is does not matter, and asking costs a look at another place in memory.
            let own = own
                || (log_p < LINKED || comparison.changed <= 2) && {
                    let meta = self.history.meta(row);
                    meta.client == at || (sender.1 != 0 && meta.account == sender.1)
                };
            self.near.push(Candidate { row, comparison, log_p, own });
            if comparison.changed == 0 {
                return true;
            }
        }
        false
    }

    /// An own row and the nearest reference row, compared by what the reference can know. After a change of unit for a few, their own
    /// rows are near each other and no reference row is, and neither was searched for.
    fn on_equal_terms(&self, query: &Query, own: Option<Candidate>, reference_log_p: f64) -> (Option<Candidate>, f64) {
        let mut strange = self.similarity.strange(&self.features, &query.row).peekable();
        let Some(own) = own.filter(|own| own.comparison.changed > EDIT && strange.peek().is_some()) else {
            return (own, reference_log_p);
        };
        let (mut codes, mut probe) = (self.quantised.codes.clone(), PreparedRow::default());
        strange.for_each(|place| codes[place] = MISSING);
        self.similarity.prepare(&codes, &mut probe);
        let (_, log_p) = self.similarity.assess(&probe, self.history.row(own.row), self.baseline.shift);
        (Some(Candidate { log_p, ..own }), self.nearest_reference(&probe))
    }

    /// ln p of the nearest reference row that the index finds: a natural row as near as that explains any link.
    fn nearest_reference(&self, probe: &PreparedRow) -> f64 {
        self.hashes.prefetch(&self.reference_index);
        let mut nearest = 1.0_f64;
        let width = padded(self.features.len());
        let compare = |i: u32| {
            let from = i as usize * width;
            if let Some(row) = self.reference_rows.get(from..from + width) {
                nearest = nearest.min(self.similarity.assess(probe, row, self.baseline.shift).1);
            }
        };
        self.hashes.find(&self.reference_index, compare);
        nearest
    }

    fn add(&mut self, query: &Query, at: SlotRef, sender: (u32, u32)) -> RowId {
        if self.history.len() >= self.index_rows && self.index_rows < self.horizon {
            // A quiet model stays small.
            self.index_rows = (self.index_rows * 2).min(self.horizon);
            self.index.double();
            self.grown_at = Some(self.history.added());
        }
        if self.grown_at.is_some_and(|at| self.history.added() - at >= self.horizon as u64) {
            self.index.renewed();
            self.grown_at = None;
        }
        let row = self.history.push(&self.quantised.codes, &self.quantised.remainders, RowMeta::new(at, sender, query.time));
        self.hashes.note(&mut self.index, row as u32);
        row
    }
}

// === impl Found ===

impl Found {
    fn new(row: RowId, own: bool) -> Self {
        Self(row << 1 | u64::from(own))
    }

    fn row(self) -> RowId {
        self.0 >> 1
    }

    fn own(self) -> bool {
        self.0 & 1 == 1
    }
}

fn best(near: &[Candidate], own_only: bool) -> Option<Candidate> {
    near.iter().filter(|c| !own_only || c.own).min_by(|a, b| a.log_p.total_cmp(&b.log_p)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Address, Cell};
    use crate::hash::mix2;

    const HISTORY: usize = 8_192;
    const HORIZON: u64 = (HISTORY / REMEMBERED) as u64;

    /// Structure evidence on a shipped profile, with callers who send rows that nobody else sends.
    struct World {
        reference: Reference,
        coder: Coder,
        codes: Codes,
        structure: Structure,
        clients: Table<Key, Client>,
        accused: Vec<Detection>,
        sent: u64,
    }

    impl World {
        fn new() -> Self {
            let path = format!("{}/models/adult/reference.json", env!("CARGO_MANIFEST_DIR"));
            let reference = Reference::from_json(&std::fs::read(path).unwrap()).unwrap();
            let settings = StructureSettings { alarms_per_client_day: 1e-4, salt: 7, max_clients: 1_000, max_history: HISTORY };
            let coder = Coder::new(&reference);
            let structure = Structure::new(&reference, &coder, settings);
            Self { structure, reference, coder, codes: Codes::default(), clients: Table::new(1_000), accused: Vec::new(), sent: 0 }
        }

        /// The same, with three hundred callers who sent two rows each.
        fn among_others() -> Self {
            let mut world = Self::new();
            for i in 0..600 {
                let row = world.mixed(i);
                world.send(i % 300, row);
            }
            world
        }

        /// A row whose columns come from different rows of the sample.
        fn mixed(&self, seed: u64) -> Vec<Cell> {
            let sample = &self.reference.sample;
            (0..self.reference.features.len()).map(|j| sample[mix2(seed, j as u64) as usize % sample.len()][j]).collect()
        }

        /// Sends a row; whether it was linked to one that stood alone.
        fn send(&mut self, caller: u64, row: Vec<Cell>) -> bool {
            let before = self.structure.components.len();
            self.accused.clear();
            self.sent += 1;
            let address = Address::parse(&format!("10.0.{}.{}", caller / 250, caller % 250)).unwrap();
            let query = Query { row, address, time: crate::event::EARLIEST.plus_seconds(self.sent as i64), ..Query::default() };
            let (at, ..) = self.clients.touch(&Key { address, account: 0 }, || Client::new(&query, query.time));
            self.coder.encode(&query.row, &mut self.codes);
            self.structure.prepare(&query, &self.codes, at, &self.clients);
            self.structure.step(&query, at, (caller, 0), &mut self.clients, &mut self.accused);
            self.structure.components.len() > before
        }

        /// Sends a row, others' rows, and then an edit of the first row by somebody else, or by its sender; whether that was linked.
        fn edited_after(&mut self, others: u64, by: u64) -> bool {
            let row = self.mixed(1_000_000 + self.sent);
            self.send(900, row.clone());
            for i in 0..others {
                let other = self.mixed(self.sent);
                self.send(i % 800, other);
            }
            let edited = Cell::number(if row[0].value() < 60.0 { row[0].value() + 9.0 } else { row[0].value() - 9.0 });
            self.send(by, std::iter::once(edited).chain(row.into_iter().skip(1)).collect())
        }
    }

    #[test]
    fn a_strangers_row_is_found_within_the_horizon_and_an_own_row_beyond_it() {
        let mut world = World::new();
        assert!(world.edited_after(HORIZON / 2, 901), "a stranger's, soon");
        assert!(!world.edited_after(3 * HORIZON, 901), "a stranger's, late");
        assert!(world.edited_after(3 * HORIZON, 900), "an own one, late");
    }

    /// Without accounts in the log, somebody whose network gives each request another address looks like as many callers, each
    /// of whom goes on from the others' rows.
    #[test]
    fn a_person_behind_a_pool_of_addresses_is_no_campaign() {
        let mut world = World::among_others();
        for person in 0..8_u64 {
            let case = world.mixed(3_000_000 + person);
            for edit in 0..25 {
                let random = |n: u64| mix2(person << 32 | edit, n) as usize;
                let mut row = case.clone();
                let j = random(1) % row.len();
                row[j] = world.reference.sample[random(2) % world.reference.sample.len()][j];
                world.send(500 + 4 * person + random(3) as u64 % 4, row);
                assert_eq!(world.accused, [], "person {person}, edit {edit}");
            }
        }
    }

    #[test]
    fn what_is_no_longer_filled_in_makes_no_trail() {
        let mut world = World::new();
        let hours = world.reference.features.iter().position(|f| f.name == "hours_per_week").unwrap();
        let forgotten = |world: &mut World, caller: u64| {
            let mut row = world.mixed(2_000_000 + world.sent);
            world.send(caller, row.clone());
            row[hours] = Cell::MISSING;
            world.send(caller + 1, row)
        };
        assert!(forgotten(&mut world, 10), "an edit like any other");
        world.structure.drifted(&[hours]);
        assert!(!forgotten(&mut world, 20), "the same row, once the world stops to fill the field");
        assert!(world.edited_after(5, 901), "other edits of the row are edits");
    }

    #[test]
    fn where_the_reference_knows_a_value_not_it_is_not_asked_for_it() {
        let mut world = World::new();
        let at = |name: &str| world.reference.features.iter().position(|f| f.name == name).unwrap();
        let usual = world.reference.sample.iter().find(|row| ["workclass", "race", "sex"].iter().all(|f| row[at(f)].value() > 0.0));
        let mut row = usual.unwrap().clone();
        // Somebody counts in months, and is otherwise, but for a list's choice, as one of the reference's people.
        row[at("age")] = Cell::number(row[at("age")].value() * 12.0);
        row[at("sex")] = Cell::category(0);
        let mut earlier = row.clone();
        ["workclass", "race", "native_country"].iter().for_each(|f| earlier[at(f)] = Cell::category(0));
        world.send(900, earlier);
        let query = Query { row, ..Query::default() };
        let structure = &mut world.structure;
        world.coder.encode(&query.row, &mut world.codes);
        structure.prepare(&query, &world.codes, SlotRef::default(), &world.clients);
        structure.similarity.prepare(&structure.quantised.codes, &mut structure.probe);
        let (comparison, log_p) = structure.similarity.assess(&structure.probe, structure.history.row(0), 0.0);
        let own = Candidate { row: 0, comparison, log_p, own: true };
        assert!(comparison.changed > EDIT, "{comparison:?}");
        let reference = structure.nearest_reference(&structure.probe);
        let (fair, fair_reference) = structure.on_equal_terms(&query, Some(own), reference);
        assert!(log_p < reference - LEAD, "with the months his own row wins: {log_p} {reference}");
        assert!(fair.unwrap().log_p > fair_reference - LEAD, "without them it does not: {fair:?} {fair_reference}");
    }

    #[test]
    fn rows_in_another_unit_are_not_alike_for_that() {
        let mut world = World::new();
        let gain = world.reference.features.iter().position(|f| f.name == "fnlwgt").unwrap();
        let mut alike = |factor: f64| {
            let (mut a, mut b) = (world.mixed(1), world.mixed(2));
            (a[gain], b[gain]) = (Cell::number(300_000.0 * factor), Cell::number(300_000.0 * factor));
            let structure = &mut world.structure;
            let mut codes = |row: &[Cell]| {
                structure.quantiser.encode(row, &mut structure.quantised);
                structure.quantised.codes.clone()
            };
            let (a, b) = (codes(&a), codes(&b));
            structure.similarity.prepare(&a, &mut structure.probe);
            structure.similarity.compare(&structure.probe, &b).g
        };
        assert!(alike(1.0) > alike(100.0) + 3.0, "where no row of the reference is, all are at the end of the grid");
    }

    #[test]
    fn edits_in_a_row_win_one_race() {
        let mut world = World::among_others();
        let form = world.mixed(4_000_000);
        let age = world.reference.features.iter().position(|f| f.name == "age").unwrap();
        world.send(900, form.clone());
        let mut raced = Vec::new();
        for step in 1..=8 {
            let mut row = form.clone();
            row[age] = Cell::number(form[age].value() + 4.0 * f64::from(step));
            world.send(900, row);
            let key = Key { address: Address::parse("10.0.3.150").unwrap(), account: 0 };
            let state = &world.clients.get(world.clients.find(&key).unwrap()).unwrap().structure;
            raced.push((state.raced, state.raced_as_sessions));
        }
        assert!(raced[0].0 > 0.0 && (raced[0].0 - raced[0].1).abs() < 1e-12, "{raced:?}");
        assert!(raced.windows(2).all(|pair| pair[1].0 > pair[0].0 && pair[1].1 <= pair[0].1), "{raced:?}");
    }

    #[test]
    fn a_row_takes_room_for_codes_sender_and_a_quarter_of_its_entries() {
        let mut world = World::new();
        for i in 0..2 * HISTORY as u64 {
            let row = world.mixed(i);
            world.send(i % 800, row);
        }
        let (rows, bytes) = world.structure.memory();
        let (codes, remainders) = world.structure.quantiser.widths();
        let entries = world.structure.hasher.keys_per_row() * 4 * 4 / 3;
        let expected = 2 * codes + 32 + (2 * remainders + entries) / REMEMBERED;
        assert_eq!(rows, HISTORY);
        assert!(bytes <= rows * (expected + 2), "{} bytes a row, {expected} expected", bytes / rows);
    }
}
