//! What follows from a link: the component grows, evidence adds up for it and for the sender, and detections may follow.
//!
//! The phases of [`Structure::extend`]: join the components → weigh the edit ([`super::automation`]) → grow the component → credit the
//! sender's share → sender detected? → campaign? ([`super::members`]).

use super::Structure;
use super::automation::Automation;
use super::links::Link;
use super::thresholds::{Detection, LINK_RATE, MEMBER_ROWS, MOST_PROXIMITY, Reason, STEP_CAP, Thresholds};
use crate::event::EventTime;
use crate::judge::arrivals::NOBODY_STAYS;
use crate::judge::campaign::Component;
use crate::judge::client::rows::{ClientStructure, Membership};
use crate::judge::client::{Client, Key};
use crate::window::clients::{SlotRef, Table};
use crate::window::history::{RowId, SenderHashes};

/// Own links of a usual person's day with a what-if page. Beyond them the threshold of automation rises with the logarithm of the links,
/// so that the chance of an alarm does not grow with how long one watches. Chosen: twice the links of an editing client in
/// [`Thresholds`].
const USUAL_LINKS: f64 = 20.0;
/// Edits of one base row after which automation is no longer asked for. Chosen: nobody edits one form eighty times within memory by hand.
const EDIT_BUDGET: u32 = 80;
/// Rows of a component from which on it can be the search of one flagged client. Chosen: fewer rows have no majority.
const SEARCH_ROWS: u32 = 4;
/// Share of the component's rows that must then be the client's own. Chosen: a clear majority.
const SEARCH_SHARE: f64 = 0.6;
/// Share of rows that honest traffic may link into one component. Chosen: one in five hundred. It is also the evidence, in nats, that a
/// component loses with each row that is not its own.
const COMPONENT_RATE: f64 = 0.002;
/// Share of an honest client's rows that may be linked to a campaign. Chosen: one in twenty.
const CREDIT_RATE: f64 = 0.05;
/// Least and most that one row adds to its sender's share of a component, in nats. Chosen: a row that is near by chance takes back one
/// nat. One row may pass the member threshold (6.9 at the default rate) alone, but only in a component that has become a campaign.
const CREDIT: (f64, f64) = (-1.0, 10.0);
/// Rate at most at which an honest chain of edits changes its address: a phone that roams. Chosen: one row in fifty.
const ADDRESS_CHANGE: f64 = 0.02;
/// The same when the account stays: a person with several devices. Chosen: one row in ten.
const ADDRESS_CHANGE_SAME_ACCOUNT: f64 = 0.1;
/// Most that one own link adds to proximity, in nats. Chosen: the threshold at the default rate of false alarms then needs two links.
const PROXIMITY_STEP: f64 = 8.0;

/// A component that a link has joined or extended, as it was before the new row.
#[derive(Clone, Copy, Debug)]
struct Joined {
    component: SlotRef,
    was_flagged: bool,
}

/// Evidence of one link, in nats.
#[derive(Clone, Copy, Debug)]
struct LinkEvidence {
    automation: Automation,
    /// Proximity to the sender's own rows, of an own link.
    own_proximity: Option<f64>,
    /// Whether the row continues rows of the sender at the same address.
    continues_own: bool,
}

// === impl Structure ===

impl Structure {
    /// The component that a row is in now, if it is in one.
    pub(super) fn component_of(&self, row: RowId) -> Option<SlotRef> {
        if !self.history.holds(row) {
            return None;
        }
        let component = self.history.meta(row).component;
        if component.generation == 0 { None } else { self.components.resolve(component) }
    }

    /// The component of a row, made if it has none.
    fn component_at(&mut self, row: RowId) -> SlotRef {
        if let Some(at) = self.component_of(row) {
            return at;
        }
        let meta = *self.history.meta(row);
        let at = self.components.start(row, meta.time(), meta.sender);
        self.history.meta_mut(row).component = at;
        at
    }

    /// A row is linked: its component grows, automation and evidence are updated, and detections may follow.
    pub(super) fn extend(&mut self, link: &Link<'_>, clients: &mut Table<Key, Client>, out: &mut Vec<Detection>) {
        let component = self.join(link, clients);
        let automation = self.weigh_edit(link, component, clients);
        let evidence = LinkEvidence {
            automation,
            own_proximity: link.own_link.then(|| (LINK_RATE.ln() - link.own_p).max(0.0)),
            continues_own: self.continues_own_rows(link, component, clients),
        };
        let Some(joined) = self.grow(link, component, evidence) else { return };
        let Some(member) = self.credit(link, joined, clients) else { return };
        if let Some(proximity) = evidence.own_proximity
            && let (Some(client), Some(state)) = (clients.get_mut(link.new.sender.at), self.components.get_mut(component))
        {
            add_own_link(&mut client.structure, proximity, automation.own_chain);
            out.extend(detect_sender(link, component, (&mut client.structure, state), member, &self.thresholds));
        }
        self.flag_campaign(link, component);
        if joined.was_flagged {
            out.extend(self.name_member(component, link.new.sender.at, clients));
        } else {
            self.name_members(component, clients, out);
        }
    }

    /// The component that the new row belongs to, merged from two if it is near rows of both.
    fn join(&mut self, link: &Link<'_>, clients: &mut Table<Key, Client>) -> SlotRef {
        let mut component = self.component_at(link.target.row);
        if let Some(other) = link.other {
            let second = self.component_at(other.row);
            self.credit_before_merger(component, second, clients);
            component = self.components.merge(component, second);
        }
        self.components.extended(component);
        self.history.meta_mut(link.row).component = component;
        component
    }

    /// When one of two components that become one is a campaign, the other's members have their part in it from now on.
    fn credit_before_merger(&self, a: SlotRef, b: SlotRef, clients: &mut Table<Key, Client>) {
        let (Some(first), Some(second)) = (self.components.get(a), self.components.get(b)) else { return };
        let joining = match (first.flagged, second.flagged) {
            (Some(_), None) => second,
            (None, Some(_)) => first,
            _ => return,
        };
        if a != b {
            joining.credit_campaign_members(clients);
        }
    }

    /// Whether the row continues a row of the component that its sender sent or repeated, from the same address. That a stranger's row is
    /// even nearer does not matter: for a client behind a pool of addresses it always is.
    fn continues_own_rows(&self, link: &Link<'_>, component: SlotRef, clients: &Table<Key, Client>) -> bool {
        let sender = link.new.sender;
        let repeated = |row| clients.get(sender.at).is_some_and(|client| client.structure.repeated.contains(row));
        link.new.near.iter().any(|n| {
            n.own
                && n.log_p <= link.linked_at
                && self.component_of(n.row) == Some(component)
                && (!self.is_foreign(n.row, sender) || repeated(n.row))
        })
    }

    /// Adds the row and its evidence to the component.
    fn grow(&mut self, link: &Link<'_>, component: SlotRef, evidence: LinkEvidence) -> Option<Joined> {
        let sender = link.new.sender.hashes;
        let newcomer_share = self.newcomer_share;
        let state = self.components.get_mut(component)?;
        let was_flagged = state.flagged.is_some();
        state.rows += 1;
        let automation = evidence.automation.component;
        state.account_step(sender.account, automation.min(STEP_CAP));
        let moved = if evidence.continues_own { 0.0 } else { address_evidence(state, sender, newcomer_share) };
        state.last_sender = sender;
        state.sent_from(sender.address);
        if let Some(nearest) = link.unexplained {
            state.unexplained = self.nearest_neighbours.link(state.unexplained, nearest, link.row);
        }
        let anybodys = COMPONENT_RATE.ln() - link.any_p;
        let proximity = evidence.own_proximity.map_or(anybodys, |own| anybodys.max(own));
        let rows_since = link.row.saturating_sub(state.last_row) as f64;
        state.evidence =
            (state.evidence - COMPONENT_RATE * rows_since).max(0.0) + (automation + moved).min(STEP_CAP).min(proximity);
        state.last_row = link.row;
        Some(Joined { component, was_flagged })
    }

    /// Credits the row to its sender's share of the component, and of all campaigns if the component is one; returns the former.
    fn credit(&mut self, link: &Link<'_>, joined: Joined, clients: &mut Table<Key, Client>) -> Option<Membership> {
        let credit = (CREDIT_RATE.ln() - link.any_p).clamp(CREDIT.0, CREDIT.1);
        let at = link.new.sender.at;
        let member = self.components.credit(joined.component, at, credit)?;
        if joined.was_flagged
            && let Some(client) = clients.get_mut(at)
        {
            client.structure.campaigns.add(credit, 1);
        }
        Some(member)
    }
}

/// Adds an own link to its sender's evidence.
fn add_own_link(state: &mut ClientStructure, proximity: f64, automation: f64) {
    state.proximity = (state.proximity.max(0.0) + proximity.min(PROXIMITY_STEP)).min(MOST_PROXIMITY);
    state.automation = state.automation.max(0.0) + automation.min(STEP_CAP);
    state.own_links += 1;
    state.peak = state.peak.max(state.proximity());
}

/// Detects the sender of an own link, if both proximity and automation are there, or too many edits of one row.
fn detect_sender(
    link: &Link<'_>,
    component: SlotRef,
    (own, state): (&mut ClientStructure, &mut Component),
    member: Membership,
    thresholds: &Thresholds,
) -> Option<Detection> {
    let sender = link.new.sender;
    let family = own.edit_chain(component).family();
    let detection = |reason, evidence| Detection { client: sender.at, reason, family, evidence, component: Some(component) };
    // A search that one account alone makes is as automated as it is along all its rows, wherever they were sent from.
    let automation = own.automation.max(state.automation_of(sender.hashes.account));
    if own.proximity() > thresholds.proximity && automation > thresholds.automation + automation_surcharge(own) {
        own.automation = automation;
        flag_as_search(state, member, link.new.query.time);
        Some(detection(Reason::Search, own.proximity().max(automation)))
    } else if member.rows > EDIT_BUDGET {
        Some(detection(Reason::EditBudget, own.proximity()))
    } else {
        None
    }
}

/// What is added to the threshold of automation for the number of tests: ln of the own links over the usual ones. Where own links are fewer
/// than a searcher makes under cover ([`MEMBER_ROWS`] of the rows), that many are assumed: rows of a batch job are near by chance.
fn automation_surcharge(state: &ClientStructure) -> f64 {
    let tests = f64::from(state.own_links).max(MEMBER_ROWS * f64::from(state.rows));
    (tests / USUAL_LINKS).max(1.0).ln()
}

/// Flags a component as the search of a detected client, if most of its rows are the client's own.
fn flag_as_search(state: &mut Component, member: Membership, time: EventTime) {
    if state.rows >= SEARCH_ROWS && f64::from(member.rows) + 1.0 >= SEARCH_SHARE * f64::from(state.rows) {
        state.flagged.get_or_insert(time);
    }
}

/// Evidence from the sender's address, in nats: honest chains of edits stay where they are. Where most queries come from new addresses
/// anyway, an honest chain changes its address at that rate.
fn address_evidence(state: &mut Component, sender: SenderHashes, newcomer_share: f64) -> f64 {
    let same_account = sender.account != 0 && sender.account == state.last_sender.account;
    let bound = if same_account { ADDRESS_CHANGE_SAME_ACCOUNT } else { ADDRESS_CHANGE };
    let bound = if newcomer_share < NOBODY_STAYS { bound } else { newcomer_share };
    let changes = &mut state.address_changes;
    let total = f64::from(changes.changed + changes.unchanged);
    if state.last_sender.address != sender.address {
        let evidence = (f64::from(changes.changed) / total / bound).ln();
        changes.changed += 1.0;
        evidence
    } else {
        let evidence = (f64::from(changes.unchanged) / total).ln();
        changes.unchanged += 1.0;
        evidence
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::campaign::Components;

    fn component(components: &mut Components) -> &mut Component {
        let at = components.start(0, EventTime::default(), SenderHashes { address: 1, account: 7 });
        components.get_mut(at).unwrap()
    }

    #[test]
    fn a_chain_that_changes_its_address_every_time_is_evidence_and_one_that_stays_is_not() {
        let mut components = Components::default();
        let state = component(&mut components);
        let mut moved = 0.0;
        for address in 2..10 {
            let sender = SenderHashes { address, account: 0 };
            moved += address_evidence(state, sender, 0.0);
            state.last_sender = sender;
        }
        // Each change has a learned probability of more than a half, against one in fifty.
        assert!(moved > 7.0 * (0.5_f64 / ADDRESS_CHANGE).ln(), "{moved}");
        let mut stays = Components::default();
        let state = component(&mut stays);
        let stayed: f64 = (0..8).map(|_| address_evidence(state, SenderHashes { address: 1, account: 0 }, 0.0)).sum();
        assert!(stayed < 0.0, "{stayed}");
    }

    #[test]
    fn a_change_of_address_with_the_same_account_says_less() {
        let evidence = |account| {
            let mut components = Components::default();
            address_evidence(component(&mut components), SenderHashes { address: 2, account }, 0.0)
        };
        assert!((evidence(8) - evidence(7) - 5_f64.ln()).abs() < 1e-12, "one in fifty against one in ten");
    }

    #[test]
    fn where_most_addresses_are_new_a_change_of_address_is_no_evidence() {
        let evidence = |share| {
            let mut components = Components::default();
            let state = component(&mut components);
            let mut moved = 0.0;
            for address in 2..10 {
                let sender = SenderHashes { address, account: 0 };
                moved += address_evidence(state, sender, share);
                state.last_sender = sender;
            }
            moved
        };
        assert!((evidence(0.4) - evidence(0.0)).abs() < 1e-12, "most callers stay");
        assert!(evidence(0.95) < 0.0, "nobody stays: {}", evidence(0.95));
    }

    #[test]
    fn the_threshold_of_automation_rises_with_the_tests_and_not_before_a_usual_day() {
        let state = |own_links, rows| {
            let mut state = ClientStructure::default();
            (state.own_links, state.rows) = (own_links, rows);
            state
        };
        assert!(automation_surcharge(&state(20, 80)).abs() < 1e-12);
        assert!((automation_surcharge(&state(200, 200)) - 10_f64.ln()).abs() < 1e-12);
        assert!((automation_surcharge(&state(1, 800)) - 10_f64.ln()).abs() < 1e-12, "a batch job: a quarter of its rows");
    }

    #[test]
    fn a_component_is_a_clients_search_when_most_rows_are_its_own() {
        let flagged = |rows, own| {
            let mut components = Components::default();
            let state = component(&mut components);
            state.rows = rows;
            flag_as_search(state, Membership { share: 0.0, rows: own }, EventTime::default());
            state.flagged.is_some()
        };
        assert!(flagged(5, 2) && flagged(4, 3), "the first row counts for the client");
        assert!(!flagged(10, 4) && !flagged(3, 3));
    }

    #[test]
    fn one_own_link_adds_a_bounded_proximity() {
        let mut state = ClientStructure::default();
        add_own_link(&mut state, 100.0, -5.0);
        assert!((state.proximity - PROXIMITY_STEP).abs() < 1e-12 && state.own_links == 1);
        assert!((state.automation + 5.0).abs() < 1e-12, "what speaks for a person is kept until the next link");
        (0..10).for_each(|_| add_own_link(&mut state, 100.0, 100.0));
        assert!((state.proximity - MOST_PROXIMITY).abs() < 1e-12);
        assert!((state.automation - 10.0 * STEP_CAP).abs() < 1e-12);
    }
}
