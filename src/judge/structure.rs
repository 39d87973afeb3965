//! Structure evidence: rows that stand in a relation to earlier rows which nature does not produce.
//!
//! For each new row: is it improbably near to the sender's own rows (evidence `closeness`), and does the trail of near rows look
//! like a machine's (evidence `habits`, see [`crate::signal::edits`])? Both are needed to accuse a client, since a person with a
//! what-if page shows the first, and chance the second. Rows near to *anybody's* rows form components
//! ([`super::campaign`]); a component is accused when its habits and links, added up over its senders, leave no other account.
//!
//! None of it looks at where in feature space the rows lie, which is why drift leaves it alone. What drift does change is how
//! alike natural rows are; a reservoir of live unlinked rows measures that and is subtracted.

use super::campaign::{Components, Member};
use super::client::{Client, Key};
use crate::event::{Cell, Query};
use crate::hash;
use crate::judge::Family;
use crate::reference::{Feature, Reference};
use crate::signal::dependency::{Check, Dependencies};
use crate::signal::edits::{EditProcess, Step};
use crate::signal::neighbours::{Hasher, RowHashes};
use crate::signal::similarity::{Comparison, Similarity};
use crate::window::clients::{SlotRef, Table};
use crate::window::history::{History, RowId, RowMeta, Sightings};

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
/// Habits that count beside closeness: e⁸ ≈ 3000 to one against the most machine-like person.
const HABITS: f64 = 8.0;
/// Rows of a usual client's day. Beyond them the bar for habits rises with the logarithm of the rows, so that the chance of an
/// alarm does not grow with how long one watches: a batch job makes a hundred times as many steps as a person.
const USUAL_ROWS: f64 = 20.0;
/// One step's most, in nats: no single row convicts.
const STEP_CAP: f64 = 3.912_023_005_428_146;
/// Edits of one base row after which habits no longer matter: nobody edits one form eighty times within memory by hand.
const EDIT_BUDGET: u32 = 80;
/// Rows compared of the bound on an own link: two, for two-sided nearness.
const MULTIPLICITY: f64 = 2.0;
/// ln of the p-value at which a row counts as linked.
const LINKED: f64 = -4.605_170_185_988_091;
/// ln of the p-value at which a row joins a component that exists.
const GROWS: f64 = -6.907_755_278_982_137;
/// Link rate within components that honest traffic may have.
const COMPONENT_RATE: f64 = 0.002;
/// Evidence at which a component is a campaign.
const CAMPAIGN: f64 = 18.0;
/// −ln of the expected number of coincidental components per filling of the history, each row being a possible start: one
/// in a hundred. What drift has added to the likeness of live rows is added to it: by so much the links are in doubt.
const COINCIDENCE: f64 = 4.605_170_185_988_091;
/// A member's own share at which he is named.
const MEMBER: f64 = 7.0;
/// Share of a member's own rows that lie in the component: an honest caller touches a search now and then, a searcher spends
/// most of his queries on it, or half under cover traffic.
const MEMBER_ROWS: f64 = 0.25;
/// Distinct addresses of a campaign.
const CAMPAIGN_ADDRESSES: usize = 3;
/// Rate at most at which an honest trail changes its address (a phone that roams), and with the same account.
const ADDRESS_CHANGE: f64 = 0.02;
const ADDRESS_CHANGE_SAME_ACCOUNT: f64 = 0.1;
/// Rows in the reservoir that measures how alike live rows are, and comparisons kept.
const RESERVOIR: usize = 128;
const LIKENESSES: usize = 2048;

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
    /// Whether it waits for peers to break them too.
    pending: Option<(u32, u32)>,
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

/// How often does a live row, rather than a reference row, turn out to be the nearest to a new one?
///
/// If new rows, the N live rows and the M reference rows are draws from one world, every one of them is equally likely to be
/// the nearest, whatever the local density: the live rows win with probability N/(N + M). That calibrates coincidence *locally*
/// where a tail of global likeness does not, and what is measured of it gives the effective M when the world has drifted away
/// from the reference.
#[derive(Clone, Debug)]
struct Races {
    reference: f64,
    recent: std::collections::VecDeque<(SlotRef, bool)>,
    won: u32,
    effective: f64,
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
    dependencies: Dependencies,
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
    drift_shift: f64,
    reservoir: Vec<RowId>,
    reservoir_next: usize,
    likenesses: Vec<f32>,
    likenesses_seen: u64,
    random: u64,
    recent_checks: Vec<(SlotRef, bool)>,
    recent_next: usize,
    pending: Vec<SlotRef>,
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
            dependencies: Dependencies::new(reference),
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
            drift_shift: 0.0,
            reservoir: Vec::new(),
            reservoir_next: 0,
            likenesses: Vec::new(),
            likenesses_seen: 0,
            random: hash::mix(salt ^ 99),
            recent_checks: Vec::new(),
            recent_next: 0,
            pending: Vec::new(),
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
        self.check_dependencies(query, at, clients, out);
        let Some(client) = clients.get_mut(at) else { return Some(row) };
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
            self.extend(Link { row, target, other, at, sender, own_p, own_link, any_p, own_rows, crossed }, query, clients, out);
        } else {
            state.closeness = (state.closeness + (1.0 - LINK_RATE).ln()).max(0.0);
            self.sample_likeness(row, at, clients);
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
            let log_p = self.similarity.log_p(comparison, self.drift_shift);
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
        let (similarity, rows, shift) = (&self.similarity, &self.reference_rows, self.drift_shift);
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

    fn component_of(&self, row: RowId) -> Option<SlotRef> {
        if !self.history.holds(row) {
            return None;
        }
        let (slot, generation) = self.history.meta(row).component;
        if generation == 0 { None } else { self.components.resolve(SlotRef { slot, generation }) }
    }

    /// The component of a row, made if it has none.
    fn component_at(&mut self, row: RowId) -> SlotRef {
        if let Some(at) = self.component_of(row) {
            return at;
        }
        let meta = *self.history.meta(row);
        let at = self.components.start(row, meta.time, meta.address, meta.account);
        self.history.meta_mut(row).component = (at.slot, at.generation);
        at
    }

    /// A row is linked: its component grows, habits and evidence are updated, and accusations may follow.
    fn extend(&mut self, link: Link, query: &Query, clients: &mut Table<Key, Client>, out: &mut Vec<Accusation>) {
        let mut component = self.component_at(link.target.row);
        if let Some(other) = link.other {
            let second = self.component_at(other.row);
            component = self.components.merge(component, second);
        }
        self.components.extended(component);
        self.history.meta_mut(link.row).component = (component.slot, component.generation);
        let address = link.sender.0;
        let last_feature = |process: &EditProcess| process.last_feature();
        let linked_at = LINKED - (MULTIPLICITY * link.own_rows).ln();
        let component_feature = self.components.get(component).and_then(|c| last_feature(&c.process));
        let parent = self.most_human(component, component_feature, linked_at, false).unwrap_or(link.target);
        let step = step_from(&self.features, &self.hashes, &self.history, parent, query);
        let habits_all = self.components.get_mut(component).map_or(0.0, |c| c.process.step(step));
        let mut habits_own = 0.0;
        if link.own_link {
            let own_feature = clients.get_mut(link.at).and_then(|c| last_feature(c.structure.trail(component)));
            let parent = self.most_human(component, own_feature, linked_at, true).unwrap_or(link.target);
            let step = step_from(&self.features, &self.hashes, &self.history, parent, query);
            if let Some(client) = clients.get_mut(link.at) {
                habits_own = client.structure.trail(component).step(step);
            }
        }
        let own_here = self.near.iter().any(|c| {
            c.own
                && c.log_p <= linked_at
                && self.component_of(c.row) == Some(component)
                && (self.history.meta(c.row).address == address || repeats(clients, link.at, c.row))
        });
        let Some(state) = self.components.get_mut(component) else { return };
        state.rows += 1;
        let moved = if own_here { 0.0 } else { address_evidence(state, address, link.sender.1) };
        state.last_sender = link.sender;
        state.sent_from(address);
        if link.crossed {
            state.surprising += 1;
        }
        let closeness = if link.own_link { LINK_RATE.ln() - link.own_p } else { -99.0 };
        let together = (COMPONENT_RATE.ln() - link.any_p).max(closeness);
        let rows_since = link.row.saturating_sub(state.last_row) as f64;
        state.evidence = (state.evidence - COMPONENT_RATE * rows_since).max(0.0) + (habits_all + moved).min(STEP_CAP).min(together);
        state.last_row = link.row;
        let member = state.credit(link.at, (0.05_f64.ln() - link.any_p).clamp(-1.0, 10.0));
        let family = state.family();
        if link.own_link
            && let Some(client) = clients.get_mut(link.at)
        {
            let own = &mut client.structure;
            own.closeness = (own.closeness.max(0.0) + closeness.min(8.0)).min(30.0);
            own.habits = own.habits.max(0.0) + habits_own.min(STEP_CAP);
            own.peak = own.peak.max(own.closeness);
            let own_family = own.trail(component).family();
            let accuse = |grounds, evidence| Accusation {
                client: link.at,
                grounds,
                family: own_family,
                evidence,
                component: Some(component),
            };
            if own.closeness > CLOSENESS && own.habits > HABITS + (f64::from(own.rows) / USUAL_ROWS).max(1.0).ln() {
                out.push(accuse(Grounds::Search, own.closeness.max(own.habits)));
                if state.rows >= 4 && f64::from(member.rows) + 1.0 >= 0.6 * f64::from(state.rows) {
                    state.flagged.get_or_insert(query.time);
                }
            } else if member.rows > EDIT_BUDGET {
                out.push(accuse(Grounds::EditBudget, own.closeness));
            }
        }
        let shift = self.drift_shift;
        let together = self.races.together(state.surprising, link.row - state.first_row);
        if state.flagged.is_none()
            && state.evidence > CAMPAIGN
            && state.addresses.len() >= CAMPAIGN_ADDRESSES
            && together > (self.history.len() as f64 + 1.0).ln() + COINCIDENCE + self.drift_shift
        {
            state.flagged = Some(query.time);
            for (client, member) in state.members.iter().filter(|(at, m)| belongs(m, own_rows(clients, **at), shift)) {
                out.push(Accusation {
                    client: *client,
                    grounds: Grounds::Campaign,
                    family,
                    evidence: member.share,
                    component: Some(component),
                });
            }
        }
        if state.flagged.is_some() && belongs(&member, own_rows(clients, link.at), shift) {
            out.push(Accusation {
                client: link.at,
                grounds: Grounds::Campaign,
                family,
                evidence: member.share,
                component: Some(component),
            });
        }
    }

    /// Among linked rows of a component, the parent that makes the step look most like a person's: the fewest changed features,
    /// and the same one as before.
    fn most_human(&self, component: SlotRef, last: Option<u16>, linked_at: f64, own_only: bool) -> Option<Candidate> {
        let mut chosen: Option<Candidate> = None;
        for candidate in &self.near {
            if candidate.log_p > linked_at || (own_only && !candidate.own) || self.component_of(candidate.row) != Some(component) {
                continue;
            }
            let better = chosen.is_none_or(|c| {
                candidate.comparison.changed < c.comparison.changed
                    || (candidate.comparison.changed == c.comparison.changed
                        && candidate.comparison.changed == 1
                        && Some(candidate.comparison.feature) == last
                        && Some(c.comparison.feature) != last)
            });
            if better {
                chosen = Some(*candidate);
            }
        }
        chosen
    }

    /// Functional dependencies: broken by this client, kept by its peers?
    fn check_dependencies(&mut self, query: &Query, at: SlotRef, clients: &mut Table<Key, Client>, out: &mut Vec<Accusation>) {
        // A near edit of an own row is judged as an edit.
        if self.dependencies.is_empty() || self.near.iter().any(|c| c.own && c.comparison.changed <= 2) {
            return;
        }
        let broken = match self.dependencies.check(&query.row) {
            Check::Silent => return,
            Check::Kept => false,
            Check::Broken(..) => true,
        };
        let rate = self.dependency_rate(at);
        let mut still = Vec::with_capacity(self.pending.len() + 1);
        for &other in &self.pending {
            if let Some((peers, breaking)) = clients.get_mut(other).and_then(|c| c.structure.pending.as_mut()) {
                if other != at {
                    *peers += 1;
                    *breaking += u32::from(broken);
                }
                still.push(other);
            }
        }
        self.pending = still;
        let Some(client) = clients.get_mut(at) else { return };
        let state = &mut client.structure;
        if broken && state.pending.is_none() && self.pending.len() < 4096 {
            state.pending = Some((0, 0));
            self.pending.push(at);
        }
        let likelihood = if broken { 0.8 / rate.min(0.8) } else { 0.2 / (1.0 - rate.min(0.8)) };
        state.broken = state.broken.max(0.0) + likelihood.ln().clamp(-3.0, STEP_CAP);
        if state.broken <= 0.0 {
            state.pending = None;
        } else if state.broken > CLOSENESS
            && state.pending.is_some_and(|(peers, breaking)| peers >= 20 && f64::from(breaking) <= 0.6 * f64::from(peers))
        {
            out.push(Accusation {
                client: at,
                grounds: Grounds::BrokenDependency,
                family: Family::Random,
                evidence: state.broken,
                component: None,
            });
            state.pending = None;
        }
        if self.recent_checks.len() < 200 {
            self.recent_checks.push((at, broken));
        } else {
            self.recent_checks[self.recent_next] = (at, broken);
            self.recent_next = (self.recent_next + 1) % 200;
        }
    }

    /// Upper estimate of the rate at which peers break dependencies now: one vote a peer.
    fn dependency_rate(&self, at: SlotRef) -> f64 {
        let mut seen = rustc_hash::FxHashSet::default();
        let (mut peers, mut breaking) = (0.0, 0.0);
        for (peer, broken) in &self.recent_checks {
            if *peer != at && seen.insert(*peer) {
                peers += 1.0;
                breaking += f64::from(u8::from(*broken));
            }
        }
        let observed: f64 = if peers > 0.0 { (breaking + 1.0) / (peers + 2.0) * 1.5 } else { 0.0 };
        self.dependencies.rate.max(observed).max(if peers < 20.0 { 0.05 } else { 0.0 }).min(0.9)
    }

    /// An unlinked row measures how alike live rows are.
    fn sample_likeness(&mut self, row: RowId, at: SlotRef, clients: &mut Table<Key, Client>) {
        let Some(client) = clients.get_mut(at) else { return };
        let state = &mut client.structure;
        // At most every fifth row of a client, so that none dominates.
        if state.rows < state.last_sampled + 5 && state.last_sampled > 0 {
            return;
        }
        state.last_sampled = state.rows.max(1);
        if self.reservoir.len() >= 32 {
            for _ in 0..32 {
                self.random = hash::mix(self.random);
                let other = self.reservoir[(self.random % self.reservoir.len() as u64) as usize];
                if !self.history.holds(other) || self.history.meta(other).client == (at.slot, at.generation) {
                    continue;
                }
                let g = self.similarity.compare(self.history.row(row), self.history.row(other)).g;
                if self.likenesses.len() < LIKENESSES {
                    self.likenesses.push(g);
                } else {
                    self.likenesses[(self.likenesses_seen % LIKENESSES as u64) as usize] = g;
                }
                self.likenesses_seen += 1;
                if self.likenesses_seen.is_multiple_of(128) && self.likenesses.len() >= 1024 {
                    let mut sorted = self.likenesses.clone();
                    let at95 = (sorted.len() as f64 * 0.95) as usize;
                    let (_, g95, _) = sorted.select_nth_unstable_by(at95, f32::total_cmp);
                    self.drift_shift = (f64::from(*g95) - self.similarity.g95 - 0.5).max(0.0);
                }
            }
        }
        if self.reservoir.len() < RESERVOIR {
            self.reservoir.push(row);
        } else {
            self.reservoir[self.reservoir_next] = row;
            self.reservoir_next = (self.reservoir_next + 1) % RESERVOIR;
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

/// Races kept, and of one client among them: enough that a client or a small campaign cannot move the estimate far.
const RACES: usize = 512;
const RACES_EACH: usize = 8;
/// Rows of traffic that race against the reference: few enough that all of them are of the present world, also just after it
/// changed.
const RACE_SPAN: u64 = 2048;
/// Races before the estimate is believed.
const MIN_RACES: usize = 64;

// === impl Races ===

impl Races {
    fn new(reference: usize) -> Self {
        let reference = reference.max(1) as f64;
        Self { reference, recent: std::collections::VecDeque::with_capacity(RACES + 1), won: 0, effective: reference }
    }

    /// Notes a race of a row that is no part of its sender's own trail, against `live` rows.
    fn note(&mut self, at: SlotRef, won: bool, live: f64) {
        if self.recent.iter().filter(|(client, _)| *client == at).count() >= RACES_EACH {
            return;
        }
        self.recent.push_back((at, won));
        self.won += u32::from(won);
        if self.recent.len() > RACES
            && let Some((_, old)) = self.recent.pop_front()
        {
            self.won -= u32::from(old);
        }
        if self.recent.len() >= MIN_RACES {
            let n = self.recent.len() as f64;
            let share = f64::from(self.won) / n;
            // Two standard errors to the side of coincidence.
            let upper = (share + 2.0 * (share * (1.0 - share) / n).sqrt() + 1.0 / n).min(1.0 - 1.0 / n);
            self.effective = (live * (1.0 - upper) / upper).clamp(1.0, self.reference);
        }
    }

    /// ln P(one of `rows` given rows is this near by coincidence), from how near the nearest reference row is: the mass around
    /// a row within the distance of its nearest of M neighbours is about 1/M, and shrinks with likeness as the global tail does.
    fn local_log_p(&self, link: f64, reference: f64, rows: f64) -> f64 {
        (rows / self.effective).ln() + link - reference.min(0.0)
    }

    /// Evidence of `links` races won within `rows` rows of traffic against their being coincidence: each is won with
    /// probability N/(N + M), N counting only the rows since the component began.
    fn together(&self, links: u32, rows: u64) -> f64 {
        let n = rows.max(1) as f64;
        f64::from(links) * ((n + self.effective) / n).ln()
    }
}

/// A link of a new row.
struct Link {
    row: RowId,
    target: Candidate,
    other: Option<Candidate>,
    at: SlotRef,
    sender: (u64, u64),
    own_p: f64,
    own_link: bool,
    any_p: f64,
    own_rows: f64,
    /// Whether the nearest row is somebody else's and nearer than any reference row.
    crossed: bool,
}

/// Rows of a client that structure evidence has seen.
fn own_rows(clients: &Table<Key, Client>, at: SlotRef) -> u32 {
    clients.get(at).map_or(0, |c| c.structure.rows)
}

/// Whether a member's share and the part of its rows in the component name it.
fn belongs(member: &Member, rows: u32, shift: f64) -> bool {
    member.share > MEMBER + shift && f64::from(member.rows) >= MEMBER_ROWS * f64::from(rows)
}

fn step_from<'a>(features: &'a [Feature], hashes: &RowHashes, history: &History, parent: Candidate, query: &Query) -> Step<'a> {
    let j = usize::from(parent.comparison.feature);
    Step {
        changed: parent.comparison.changed,
        feature: parent.comparison.feature,
        from: history.row(parent.row)[j],
        to: query.row[j],
        line: hashes.whole ^ hashes.tokens[j],
        profile: &features[j],
        width: features.len(),
    }
}

/// Whether a row is one of others' that this client repeated.
fn repeats(clients: &Table<Key, Client>, at: SlotRef, row: RowId) -> bool {
    clients.get(at).is_some_and(|c| c.structure.repeated.contains(&row))
}

fn best(near: &[Candidate], own_only: bool) -> Option<Candidate> {
    near.iter().filter(|c| !own_only || c.own).min_by(|a, b| a.log_p.total_cmp(&b.log_p)).copied()
}

/// Evidence from the sender's address: honest trails stay where they are.
fn address_evidence(state: &mut super::campaign::Component, address: u64, account: u64) -> f64 {
    let moved = state.last_sender.0 != address;
    let bound = if account != 0 && account == state.last_sender.1 { ADDRESS_CHANGE_SAME_ACCOUNT } else { ADDRESS_CHANGE };
    let total = f64::from(state.senders.0 + state.senders.1);
    if moved {
        let evidence = (f64::from(state.senders.0) / total / bound).ln();
        state.senders.0 += 1.0;
        evidence
    } else {
        let evidence = (f64::from(state.senders.1) / total).ln();
        state.senders.1 += 1.0;
        evidence
    }
}
