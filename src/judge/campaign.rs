//! Components: rows that are linked to each other more closely than natural rows are, whoever sent them.
//!
//! A component is one search. Its rows, senders, habits and evidence add up across addresses, which is how a search spread over
//! many callers, each below every per-client threshold, is still seen, and how its members are named: each by his own share.
//!
//! Components live in a table of bounded size; one of the least recently extended is forgotten. A merged component leaves a
//! forwarding entry, so that rows which remember its number still find their way.

use std::collections::BTreeMap;

use crate::event::EventTime;
use crate::judge::Family;
use crate::judge::client::rows::Member;
use crate::judge::client::{Client, Key};
use crate::signal::edits::step::EditStep;
use crate::signal::edits::{EditModel, EditProcess};
use crate::window::clients::{SlotRef, Table};
use crate::window::history::RowId;

/// Components remembered per model.
const MAX_COMPONENTS: usize = 16_384;
/// Members remembered per component: DETECTION.md's largest campaign has a thousand addresses.
const MAX_MEMBERS: usize = 4_096;

/// A component.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct Component {
    forward: Option<SlotRef>,
    /// Rows in it.
    pub rows: u32,
    /// Evidence for one machine behind it, in nats.
    pub evidence: f64,
    /// Number of the row that last extended it.
    pub last_row: RowId,
    /// Its first row.
    pub first_row: RowId,
    /// When that was sent.
    pub since: EventTime,
    /// Habits along the whole component, whoever sent the rows.
    process: EditProcess,
    edit_model: EditModel,
    /// The account that sent all of its rows, as a hash, and the habits along them in nats; none if there were several.
    account: Option<(u32, f64)>,
    /// Address and account of the last row, as hashes.
    pub last_sender: (u32, u32),
    /// Rows after which the sender's address changed, and did not (with half a pseudo-count each).
    pub senders: (f32, f32),
    /// Distinct addresses, as hashes, bounded.
    pub addresses: Vec<u32>,
    /// Members by client.
    pub members: BTreeMap<SlotRef, Member>,
    /// Links that no reference row explains, since `anchor`.
    pub surprising: u32,
    /// Number of the row from which surprising links are counted: the start at which they are least likely to be coincidence.
    pub anchor: RowId,
    /// When it was flagged as a campaign (or as part of a flagged client's search).
    pub flagged: Option<EventTime>,
    /// Whether a campaign verdict was given.
    pub announced: bool,
}

/// All components of one model.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct Components {
    table: Table<u64, Component>,
    next: u64,
}

// === impl Component ===

impl Component {
    fn new(row: RowId, since: EventTime, address: u32, account: u32) -> Self {
        Self {
            forward: None,
            rows: 1,
            evidence: 0.0,
            last_row: row,
            first_row: row,
            since,
            process: EditProcess::default(),
            edit_model: EditModel::default(),
            account: (account != 0).then_some((account, 0.0)),
            last_sender: (address, account),
            senders: (0.5, 0.5),
            addresses: vec![address],
            members: BTreeMap::new(),
            surprising: 0,
            anchor: row,
            flagged: None,
            announced: false,
        }
    }

    /// Notes an address.
    pub fn sent_from(&mut self, address: u32) {
        if self.addresses.len() < MAX_MEMBERS && !self.addresses.contains(&address) {
            self.addresses.push(address);
        }
    }

    /// Adds to a member's share.
    pub fn credit(&mut self, client: SlotRef, share: f64) -> Member {
        if self.members.len() >= MAX_MEMBERS && !self.members.contains_key(&client) {
            return Member::default();
        }
        let member = self.members.entry(client).or_default();
        member.add(share, 1);
        *member
    }

    /// Adds what its members did in it to their part in campaigns, now that it is one.
    pub fn enlist(&self, clients: &mut Table<Key, Client>) {
        for (at, member) in &self.members {
            if let Some(client) = clients.get_mut(*at) {
                client.structure.enlisted.add(member.share, member.rows);
            }
        }
    }

    /// Takes a step along the component; returns its evidence for a machine, in nats.
    pub fn step(&mut self, step: EditStep<'_>) -> f64 {
        self.process.step(step, &mut self.edit_model)
    }

    /// Adds a step's habits to those of the one account that sent all rows, if there is one.
    pub fn account_step(&mut self, account: u32, habits: f64) {
        self.account = self.account.filter(|(only, _)| *only == account).map(|(only, sum)| (only, sum.max(0.0) + habits));
    }

    /// Habits along all rows, in nats, if one account alone sent them; 0 for everybody else.
    pub fn habits_of(&self, account: u32) -> f64 {
        self.account.filter(|(only, _)| *only == account).map_or(0.0, |(_, sum)| sum)
    }

    /// Feature that the last one-feature step changed.
    pub fn last_feature(&self) -> Option<u16> {
        self.process.last_feature()
    }

    /// Shape of the search.
    pub fn family(&self) -> Family {
        self.process.family()
    }
}

// === impl Components ===

impl Default for Components {
    fn default() -> Self {
        Self { table: Table::new(MAX_COMPONENTS), next: 1 }
    }
}

impl Components {
    /// The component that a row's reference leads to now, through mergers.
    pub fn resolve(&self, at: SlotRef) -> Option<SlotRef> {
        let mut at = at;
        // Mergers point from the smaller to the larger, so chains are short; the bound is against corrupt state.
        for _ in 0..64 {
            match self.table.get(at)?.forward {
                Some(next) => at = next,
                None => return Some(at),
            }
        }
        None
    }

    /// Starts a component with one row.
    pub fn start(&mut self, row: RowId, since: EventTime, address: u32, account: u32) -> SlotRef {
        let id = self.next;
        self.next += 1;
        self.table.touch(&id, || Component::new(row, since, address, account)).0
    }

    /// A component.
    pub fn get(&self, at: SlotRef) -> Option<&Component> {
        self.table.get(at)
    }

    /// A component, to be changed.
    pub fn get_mut(&mut self, at: SlotRef) -> Option<&mut Component> {
        self.table.get_mut(at)
    }

    /// Makes one of two; returns what is left (the larger).
    pub fn merge(&mut self, a: SlotRef, b: SlotRef) -> SlotRef {
        if a == b {
            return a;
        }
        let rows = |at| self.table.get(at).map_or(0, |c: &Component| c.rows);
        let (into, from) = if rows(a) >= rows(b) { (a, b) } else { (b, a) };
        let Some(gone) = self.table.get_mut(from) else { return into };
        let addresses = std::mem::take(&mut gone.addresses);
        let members = std::mem::take(&mut gone.members);
        gone.forward = Some(into);
        let (rows, evidence, flagged, first, since) = (gone.rows, gone.evidence, gone.flagged, gone.first_row, gone.since);
        let (surprising, anchor) = (gone.surprising, gone.anchor);
        let account = gone.account;
        if let Some(left) = self.table.get_mut(into) {
            left.rows += rows;
            // The habits of the larger one stay, those of the smaller are not added: steps between the two were never taken.
            left.account = left.account.filter(|(only, _)| account.is_some_and(|(other, _)| other == *only));
            left.evidence = left.evidence.max(evidence);
            left.flagged = left.flagged.or(flagged);
            left.surprising += surprising;
            left.anchor = left.anchor.min(anchor);
            if first < left.first_row {
                left.first_row = first;
                left.since = since;
            }
            addresses.into_iter().for_each(|a| left.sent_from(a));
            for (client, member) in members {
                if left.members.len() < MAX_MEMBERS || left.members.contains_key(&client) {
                    let own = left.members.entry(client).or_default();
                    own.add(member.share, member.rows);
                }
            }
        }
        into
    }

    /// Components in memory (forwarding entries included).
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// Components forgotten.
    pub fn evicted(&self) -> u64 {
        self.table.evicted()
    }

    /// Keeps a component from being forgotten before those that nobody extends.
    pub fn extended(&mut self, at: SlotRef) {
        self.table.refresh(at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_of_a_merged_component_finds_the_one_that_is_left() {
        let mut components = Components::default();
        let a = components.start(1, EventTime::default(), 1, 0);
        let b = components.start(2, EventTime::default(), 2, 0);
        let c = components.start(3, EventTime::default(), 3, 0);
        components.get_mut(a).unwrap().rows = 5;
        let ab = components.merge(a, b);
        let abc = components.merge(c, ab);
        assert_eq!((ab, abc), (a, a));
        assert_eq!(components.resolve(b), Some(a));
        assert_eq!(components.resolve(c), Some(a));
        let left = components.get(a).unwrap();
        assert_eq!((left.rows, left.addresses.len(), left.first_row), (7, 3, 1));
    }
}
