//! Components: rows that are linked to each other more closely than natural rows are, whoever sent them.
//!
//! A component is one search. Its rows, senders, automation and evidence add up across addresses. So a search that is spread over many
//! clients is still seen when each client stays below every per-client threshold. Each member is named by its own share.
//!
//! Components live in a table of bounded size; one of the least recently extended is forgotten. A merged component leaves a
//! forwarding entry, so that rows which remember its number still find the one that is left.

use std::collections::BTreeMap;

use crate::event::EventTime;
use crate::judge::Family;
use crate::judge::client::rows::Membership;
use crate::judge::client::{Client, Key};
use crate::signal::edits::step::EditStep;
use crate::signal::edits::{EditModel, EditProcess};
use crate::window::clients::{SlotRef, Table};
use crate::window::history::{RowId, SenderHashes};

/// Components remembered per model. Chosen: a sixteenth of the rows that are remembered by default, since every component has two rows
/// or more and most rows are in none.
const MAX_COMPONENTS: usize = 16_384;
/// Members remembered per component: more than the largest campaign that is designed for, 20,000 accounts.
pub(super) const MAX_MEMBERS: usize = 32_768;
/// Members remembered in all components together: as many as rows are remembered by default, 12 MB. From then on only components with fewer
/// than [`FEW_MEMBERS`] take new ones, so whoever fills the memory with a large campaign does not hide a small one.
const MAX_ALL_MEMBERS: usize = 262_144;
const FEW_MEMBERS: usize = 16;
/// Distinct addresses of a campaign at least. Chosen: two may be one person's phone and desk.
const CAMPAIGN_ADDRESSES: usize = 3;
/// Forwarding entries followed at most. Mergers point from the smaller to the larger component, so a chain of n has at least 2ⁿ rows;
/// the bound only protects against corrupt state.
const MAX_FORWARDS: usize = 64;
/// Pseudo-count of each kind of step in [`AddressChanges`] (Krichevsky and Trofimov 1981).
const HALF_A_COUNT: f32 = 0.5;

/// How often the sender's address changed along a component, with half a pseudo-count each.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct AddressChanges {
    /// Rows whose address is another than that of the row before.
    pub changed: f32,
    /// Rows whose address is the same.
    pub unchanged: f32,
}

/// The one account that sent all rows of a component.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
struct SoleAccount {
    /// Hash of its name.
    account: u32,
    /// Automation along all rows, in nats.
    automation: f64,
}

/// Links that no reference row explains, and the row since which they are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct UnexplainedLinks {
    /// Number of links.
    pub count: u32,
    /// The start at which so many links are least likely to be coincidence.
    pub since: RowId,
}

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
    /// Chain of edits along the whole component, whoever sent the rows.
    process: EditProcess,
    edit_model: EditModel,
    /// The account that sent all of its rows; none if there were several.
    sole_account: Option<SoleAccount>,
    /// Sender of the last row.
    pub last_sender: SenderHashes,
    /// How often the sender's address changed from row to row.
    pub address_changes: AddressChanges,
    /// Distinct addresses, as hashes; no more than make a campaign.
    addresses: Vec<u32>,
    /// Members by client.
    pub members: BTreeMap<SlotRef, Membership>,
    /// Links that no reference row explains.
    pub unexplained: UnexplainedLinks,
    /// When it was flagged as a campaign (or as part of a flagged client's search).
    pub flagged: Option<EventTime>,
}

/// All components of one model.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct Components {
    table: Table<u64, Component>,
    next: u64,
    /// Members of all components.
    members: usize,
}

// === impl Component ===

impl Component {
    fn new(row: RowId, since: EventTime, sender: SenderHashes) -> Self {
        Self {
            forward: None,
            rows: 1,
            evidence: 0.0,
            last_row: row,
            first_row: row,
            since,
            process: EditProcess::default(),
            edit_model: EditModel::default(),
            sole_account: (sender.account != 0).then_some(SoleAccount { account: sender.account, automation: 0.0 }),
            last_sender: sender,
            address_changes: AddressChanges { changed: HALF_A_COUNT, unchanged: HALF_A_COUNT },
            addresses: vec![sender.address],
            members: BTreeMap::new(),
            unexplained: UnexplainedLinks { count: 0, since: row },
            flagged: None,
        }
    }

    /// Notes an address.
    pub fn sent_from(&mut self, address: u32) {
        if !self.has_many_addresses() && !self.addresses.contains(&address) {
            self.addresses.push(address);
        }
    }

    /// Whether its rows came from so many addresses that it may be a campaign.
    pub fn has_many_addresses(&self) -> bool {
        self.addresses.len() >= CAMPAIGN_ADDRESSES
    }

    /// Adds one row and its evidence to a member's share; returns the share. Of a client beyond `limit` members nothing is kept.
    fn credit(&mut self, client: SlotRef, share: f64, limit: usize) -> Membership {
        if self.members.len() >= limit && !self.members.contains_key(&client) {
            return Membership::default();
        }
        let member = self.members.entry(client).or_default();
        member.add(share, 1);
        *member
    }

    /// Adds the members' shares to their part in campaigns, now that the component is one.
    pub fn credit_campaign_members(&self, clients: &mut Table<Key, Client>) {
        for (at, member) in &self.members {
            if let Some(client) = clients.get_mut(*at) {
                client.structure.campaigns.add(member.share, member.rows);
            }
        }
    }

    /// Takes a step along the component; returns its evidence for a machine, in nats.
    pub fn step(&mut self, step: EditStep<'_>) -> f64 {
        self.process.step(step, &mut self.edit_model)
    }

    /// Adds a step's automation to that of the one account that sent all rows, if there is one.
    pub fn account_step(&mut self, account: u32, automation: f64) {
        let added = |sole: SoleAccount| SoleAccount { automation: sole.automation.max(0.0) + automation, ..sole };
        self.sole_account = self.sole_account.filter(|sole| sole.account == account).map(added);
    }

    /// Automation along all rows, in nats, if this account alone sent them; 0 otherwise.
    pub fn automation_of(&self, account: u32) -> f64 {
        self.sole_account.filter(|sole| sole.account == account).map_or(0.0, |sole| sole.automation)
    }

    /// Feature that the last one-feature step changed.
    pub fn last_feature(&self) -> Option<u16> {
        self.process.last_feature()
    }

    /// Shape of the search.
    pub fn family(&self) -> Family {
        self.process.family()
    }

    /// Takes in the component `gone`, which is the smaller one.
    fn absorb(&mut self, gone: Component) {
        self.rows += gone.rows;
        // The automation of the larger one stays and that of the smaller is not added: steps between the two were never taken.
        self.sole_account = self.sole_account.filter(|sole| gone.sole_account.is_some_and(|other| other.account == sole.account));
        self.evidence = self.evidence.max(gone.evidence);
        self.flagged = self.flagged.or(gone.flagged);
        self.unexplained.count += gone.unexplained.count;
        self.unexplained.since = self.unexplained.since.min(gone.unexplained.since);
        if gone.first_row < self.first_row {
            self.first_row = gone.first_row;
            self.since = gone.since;
        }
        gone.addresses.into_iter().for_each(|address| self.sent_from(address));
        for (client, member) in gone.members {
            if self.members.len() < MAX_MEMBERS || self.members.contains_key(&client) {
                self.members.entry(client).or_default().add(member.share, member.rows);
            }
        }
    }
}

// === impl Components ===

impl Default for Components {
    fn default() -> Self {
        Self { table: Table::new(MAX_COMPONENTS), next: 1, members: 0 }
    }
}

impl Components {
    /// The component that a row's reference leads to now, through mergers.
    pub fn resolve(&self, at: SlotRef) -> Option<SlotRef> {
        let mut at = at;
        for _ in 0..MAX_FORWARDS {
            match self.table.get(at)?.forward {
                Some(next) => at = next,
                None => return Some(at),
            }
        }
        None
    }

    /// Starts a component with one row.
    pub fn start(&mut self, row: RowId, since: EventTime, sender: SenderHashes) -> SlotRef {
        let id = self.next;
        self.next += 1;
        let (at, _, forgotten) = self.table.touch(&id, || Component::new(row, since, sender));
        self.members -= forgotten.map_or(0, |(_, forgotten)| forgotten.members.len());
        at
    }

    /// Adds one row and its evidence to a member's share of a component; returns the share. Of a client beyond the bounds nothing is kept.
    pub fn credit(&mut self, at: SlotRef, client: SlotRef, share: f64) -> Option<Membership> {
        let limit = if self.members < MAX_ALL_MEMBERS { MAX_MEMBERS } else { FEW_MEMBERS };
        let component = self.table.get_mut(at)?;
        let before = component.members.len();
        let member = component.credit(client, share, limit);
        self.members += component.members.len() - before;
        Some(member)
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
        // What stays behind is the forwarding entry.
        let forwarding = Component { forward: Some(into), ..Component::new(gone.first_row, gone.since, gone.last_sender) };
        let gone = std::mem::replace(gone, forwarding);
        self.members -= gone.members.len();
        if let Some(left) = self.table.get_mut(into) {
            let before = left.members.len();
            left.absorb(gone);
            self.members += left.members.len() - before;
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

    fn sender(address: u32, account: u32) -> SenderHashes {
        SenderHashes { address, account }
    }

    fn client(slot: u32) -> SlotRef {
        SlotRef { slot, generation: 1 }
    }

    #[test]
    fn a_row_of_a_merged_component_finds_the_one_that_is_left() {
        let mut components = Components::default();
        let a = components.start(1, EventTime::default(), sender(1, 0));
        let b = components.start(2, EventTime::default(), sender(2, 0));
        let c = components.start(3, EventTime::default(), sender(3, 0));
        components.get_mut(a).unwrap().rows = 5;
        let ab = components.merge(a, b);
        let abc = components.merge(c, ab);
        assert_eq!((ab, abc), (a, a));
        assert_eq!(components.resolve(b), Some(a));
        assert_eq!(components.resolve(c), Some(a));
        let left = components.get(a).unwrap();
        assert_eq!((left.rows, left.addresses.len(), left.first_row), (7, 3, 1));
    }

    #[test]
    fn a_merger_adds_shares_and_keeps_the_flag_and_the_first_row() {
        let mut components = Components::default();
        let (early, late) = (EventTime::from_micros(1), EventTime::from_micros(2));
        let small = components.start(1, early, sender(1, 0));
        let large = components.start(9, late, sender(2, 0));
        components.get_mut(large).unwrap().rows = 2;
        components.credit(large, client(1), 2.0).unwrap();
        components.credit(small, client(1), 3.0).unwrap();
        components.credit(small, client(2), 1.0).unwrap();
        assert_eq!(components.members, 3);
        components.get_mut(small).unwrap().flagged = Some(late);
        assert_eq!(components.merge(small, large), large);
        let left = components.get(large).unwrap();
        assert_eq!((left.first_row, left.since, left.flagged), (1, early, Some(late)));
        assert_eq!(left.members[&client(1)], Membership { share: 5.0, rows: 2 });
        assert_eq!(left.members[&client(2)], Membership { share: 1.0, rows: 1 });
        assert_eq!(components.members, 2);
        assert_eq!(left.unexplained, UnexplainedLinks { count: 0, since: 1 });
    }

    #[test]
    fn automation_counts_for_an_account_as_long_as_it_is_the_only_one() {
        let mut component = Component::new(1, EventTime::default(), sender(1, 7));
        component.account_step(7, 2.0);
        component.account_step(7, 1.5);
        assert!((component.automation_of(7) - 3.5).abs() < 1e-12);
        assert!(component.automation_of(8).abs() < 1e-12, "another account");
        component.account_step(8, 1.0);
        assert!(component.automation_of(7).abs() < 1e-12, "two accounts sent it");
        let nameless = Component::new(1, EventTime::default(), sender(1, 0));
        assert!(nameless.automation_of(0).abs() < 1e-12, "no account is no account");
    }

    #[test]
    fn the_members_of_a_component_are_bounded() {
        let mut components = Components::default();
        let large = components.start(1, EventTime::default(), sender(0, 0));
        for i in 0..2 * MAX_MEMBERS as u32 {
            components.get_mut(large).unwrap().sent_from(i);
            components.credit(large, client(i), 1.0).unwrap();
        }
        let component = components.get(large).unwrap();
        assert_eq!((component.addresses.len(), component.members.len()), (CAMPAIGN_ADDRESSES, MAX_MEMBERS));
        assert_eq!(components.credit(large, client(0), 1.0), Some(Membership { share: 2.0, rows: 2 }), "members go on");
        assert_eq!(components.credit(large, client(u32::MAX), 1.0), Some(Membership::default()));
    }

    #[test]
    fn large_components_do_not_take_the_place_of_small_ones() {
        let mut components = Components::default();
        let clients = (MAX_ALL_MEMBERS / MAX_MEMBERS + 1) as u32 * MAX_MEMBERS as u32;
        let mut large = components.start(0, EventTime::default(), sender(1, 0));
        for i in 0..clients {
            if i > 0 && i % MAX_MEMBERS as u32 == 0 {
                large = components.start(u64::from(i), EventTime::default(), sender(1, 0));
            }
            components.credit(large, client(i), 1.0).unwrap();
        }
        assert_eq!(components.members, MAX_ALL_MEMBERS + FEW_MEMBERS);
        let small = components.start(1, EventTime::default(), sender(2, 0));
        assert_eq!(components.credit(small, client(0), 1.0), Some(Membership { share: 1.0, rows: 1 }));
        // Components that are forgotten make room.
        for _ in 0..2 * MAX_COMPONENTS {
            components.start(1, EventTime::default(), sender(2, 0));
        }
        assert_eq!(components.members, 0);
        assert_eq!(components.table.iter().map(|(_, _, component)| component.members.len()).sum::<usize>(), 0);
    }
}
