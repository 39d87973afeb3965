//! Linked rows: components grow, habits and evidence add up over them, and detections follow.

use super::Structure;
use super::thresholds::{
    CLOSENESS_MOST, Candidate, Detection, LINK_RATE, LINKED, Link, MEMBER_ROWS, MULTIPLICITY, Reason, STEP_CAP, Thresholds,
};
use crate::event::Query;
use crate::judge::Family;
use crate::judge::campaign::Component;
use crate::judge::client::rows::Member;
use crate::judge::client::{Client, Key};
use crate::reference::Feature;
use crate::signal::edits::step::EditStep;
use crate::signal::neighbours::RowHashes;
use crate::signal::perturbation::Scales;
use crate::signal::quantise::Quantiser;
use crate::window::clients::{SlotRef, Table};
use crate::window::history::{History, RowId};

/// Steps of a usual person's day with a what-if page. Beyond them the bar for habits rises with the logarithm of the steps, so that
/// the chance of an alarm does not grow with how long one watches. Where steps are fewer than a searcher makes under cover
/// ([`MEMBER_ROWS`] of the rows), as in a batch job, whose rows are near each other by chance, that many are assumed.
const USUAL_STEPS: f64 = 20.0;
/// Edits of one base row after which habits no longer matter: nobody edits one form eighty times within memory by hand.
const EDIT_BUDGET: u32 = 80;
/// Rows of a component, and the share of them that are a flagged client's own, from which the component is his search.
const SEARCH_ROWS: u32 = 4;
const SEARCH_SHARE: f64 = 0.6;
/// Link rate within components that honest traffic may have.
const COMPONENT_RATE: f64 = 0.002;
/// Rate at most at which an honest caller's rows fall into campaigns: fifteen times what callers of simulated days with distributed
/// searches showed (at most 0.03%).
const TOUCHES: f64 = 0.005;
/// What one row may add to, and take from, its sender's share of a component, in nats.
const CREDIT: (f64, f64) = (-1.0, 10.0);
/// Distinct addresses of a campaign.
const CAMPAIGN_ADDRESSES: usize = 3;
/// Rate at most at which an honest trail changes its address (a phone that roams), and with the same account.
const ADDRESS_CHANGE: f64 = 0.02;
const ADDRESS_CHANGE_SAME_ACCOUNT: f64 = 0.1;
/// Most that one own link adds to closeness.
const CLOSENESS_STEP: f64 = 8.0;

// === impl Structure ===

impl Structure {
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
        let at = self.components.start(row, meta.time(), meta.address, meta.account);
        self.history.meta_mut(row).component = at;
        at
    }

    /// A row is linked: its component grows, habits and evidence are updated, and detections may follow.
    pub(super) fn extend(&mut self, link: &Link, query: &Query, clients: &mut Table<Key, Client>, out: &mut Vec<Detection>) {
        let mut component = self.component_at(link.target.row);
        if let Some(other) = link.other {
            let second = self.component_at(other.row);
            self.enlist_before_merger(component, second, clients);
            component = self.components.merge(component, second);
        }
        self.components.extended(component);
        self.history.meta_mut(link.row).component = component;
        let linked_at = LINKED - (MULTIPLICITY * link.own_rows).ln();
        let (habits_all, habits_own) = self.habits(link, component, linked_at, query, clients);
        let own_here = self.goes_on_from_own(link, component, linked_at, clients);
        let Some(state) = self.components.get_mut(component) else { return };
        let was_flagged = state.flagged.is_some();
        state.rows += 1;
        state.account_step(link.sender.1, habits_all.min(STEP_CAP));
        let moved = if own_here { 0.0 } else { address_evidence(state, link.sender.0, link.sender.1) };
        state.last_sender = link.sender;
        state.sent_from(link.sender.0);
        if let Some(nearest) = link.crossed {
            (state.surprising, state.anchor) = self.races.link((state.surprising, state.anchor), nearest, link.row);
        }
        let closeness = if link.own_link { (LINK_RATE.ln() - link.own_p).max(0.0) } else { -99.0 };
        let together = (COMPONENT_RATE.ln() - link.any_p).max(closeness);
        let rows_since = link.row.saturating_sub(state.last_row) as f64;
        state.evidence = (state.evidence - COMPONENT_RATE * rows_since).max(0.0) + (habits_all + moved).min(STEP_CAP).min(together);
        state.last_row = link.row;
        let credit = (0.05_f64.ln() - link.any_p).clamp(CREDIT.0, CREDIT.1);
        let member = state.credit(link.at, credit);
        if was_flagged && let Some(client) = clients.get_mut(link.at) {
            client.structure.enlisted.add(credit, 1);
        }
        let family = state.family();
        if link.own_link {
            accuse_sender(link, (closeness, habits_own), &self.thresholds, component, state, &member, query, clients, out);
        }
        self.accuse_members(link, component, was_flagged, family, query, clients, out);
    }

    /// When one of two components that become one is a campaign, the other's members take part in it from now on.
    fn enlist_before_merger(&self, a: SlotRef, b: SlotRef, clients: &mut Table<Key, Client>) {
        let (Some(first), Some(second)) = (self.components.get(a), self.components.get(b)) else { return };
        let newcomers = match (first.flagged, second.flagged) {
            (Some(_), None) => second,
            (None, Some(_)) => first,
            _ => return,
        };
        if a != b {
            newcomers.enlist(clients);
        }
    }

    /// Evidence of the step's habits, along the component and along the sender's own trail.
    fn habits(
        &mut self,
        link: &Link,
        component: SlotRef,
        linked_at: f64,
        query: &Query,
        clients: &mut Table<Key, Client>,
    ) -> (f64, f64) {
        let step = |(parent, crossed)| {
            let known = (&*self.features, &self.scales, &self.quantiser, &*self.drifted);
            step_from(known, &self.hashes, &self.history, parent, crossed, query)
        };
        let last = self.components.get(component).and_then(Component::last_feature);
        let along_all = step(self.parent(link, component, last, linked_at, false));
        let all = self.components.get_mut(component).map_or(0.0, |c| c.step(along_all));
        if !link.own_link {
            return (all, 0.0);
        }
        let last = clients.get_mut(link.at).and_then(|c| c.structure.trail(component).last_feature());
        let along_own = step(self.parent(link, component, last, linked_at, true));
        (all, clients.get_mut(link.at).map_or(0.0, |c| c.structure.step(component, along_own)))
    }

    /// The row that a step is taken from, and whether the step completes a rectangle.
    fn parent(&self, link: &Link, component: SlotRef, last: Option<u16>, linked_at: f64, own_only: bool) -> (Candidate, bool) {
        let parent = self.most_human(component, last, linked_at, own_only).unwrap_or(link.target);
        (parent, self.crossed(parent, component, linked_at, own_only))
    }

    /// Whether the row goes on from a row of the component that its sender sent or repeated, from the same address. That a stranger's
    /// row is nearer yet does not matter: behind a pool of addresses it always is.
    fn goes_on_from_own(&self, link: &Link, component: SlotRef, linked_at: f64, clients: &Table<Key, Client>) -> bool {
        self.near.iter().any(|c| {
            c.own
                && c.log_p <= linked_at
                && self.component_of(c.row) == Some(component)
                && (self.history.meta(c.row).address == link.sender.0 || repeats(clients, link.at, c.row))
        })
    }

    /// Says that a component is a campaign, once it is one, and names members: all that belong then, and the sender later.
    #[expect(clippy::too_many_arguments, reason = "one call site; what it needs was just computed there")]
    fn accuse_members(
        &mut self,
        link: &Link,
        component: SlotRef,
        was_flagged: bool,
        family: Family,
        query: &Query,
        clients: &mut Table<Key, Client>,
        out: &mut Vec<Detection>,
    ) {
        let (shift, thresholds) = (self.baseline.shift, self.thresholds);
        let Some(state) = self.components.get_mut(component) else { return };
        let accuse =
            |client, share| Detection { client, reason: Reason::Campaign, family, evidence: share, component: Some(component) };
        let together = self.races.together(state.surprising, link.row - state.anchor);
        if state.flagged.is_none()
            && state.evidence > thresholds.campaign
            && state.addresses.len() >= CAMPAIGN_ADDRESSES
            && together > (self.history.len() as f64 + 1.0).ln() + thresholds.coincidence + shift
        {
            state.flagged = Some(query.time);
        }
        if was_flagged {
            out.extend(belongs(clients, link.at, shift, &thresholds).map(|share| accuse(link.at, share)));
        } else if state.flagged.is_some() {
            state.enlist(clients);
            let members = state.members.keys();
            out.extend(members.filter_map(|at| belongs(clients, *at, shift, &thresholds).map(|share| accuse(*at, share))));
        }
    }

    /// Whether the row is a one-feature edit along two features, of the parent and of another linked row: then it completes a rectangle.
    fn crossed(&self, parent: Candidate, component: SlotRef, linked_at: f64, own_only: bool) -> bool {
        let single = |c: &Candidate| c.comparison.changed == 1 && (c.own || !own_only);
        single(&parent)
            && self.near.iter().any(|c| {
                single(c)
                    && c.comparison.feature != parent.comparison.feature
                    && c.log_p <= linked_at
                    && self.component_of(c.row) == Some(component)
            })
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
}

/// Whether a row is one of others' that this client repeated.
fn repeats(clients: &Table<Key, Client>, at: SlotRef, row: RowId) -> bool {
    clients.get(at).is_some_and(|c| c.structure.repeated.contains(row))
}

/// Adds an own link to its sender's evidence, and accuses him if closeness and habits are both there.
#[expect(clippy::too_many_arguments, reason = "one call site; what it needs was just computed there")]
fn accuse_sender(
    link: &Link,
    (closeness, habits): (f64, f64),
    thresholds: &Thresholds,
    component: SlotRef,
    state: &mut Component,
    member: &Member,
    query: &Query,
    clients: &mut Table<Key, Client>,
    out: &mut Vec<Detection>,
) {
    let Some(client) = clients.get_mut(link.at) else { return };
    let own = &mut client.structure;
    own.closeness = (own.closeness.max(0.0) + closeness.min(CLOSENESS_STEP)).min(CLOSENESS_MOST);
    own.habits = own.habits.max(0.0) + habits.min(STEP_CAP);
    own.steps += 1;
    own.peak = own.peak.max(own.closeness());
    let family = own.trail(component).family();
    let accuse = |reason, evidence| Detection { client: link.at, reason, family, evidence, component: Some(component) };
    // A search that one account alone makes is as machine-like as it is along all its rows, wherever they were sent from.
    let own_habits = own.habits.max(state.habits_of(link.sender.1));
    let chances = f64::from(own.steps).max(MEMBER_ROWS * f64::from(own.rows));
    if own.closeness() > thresholds.closeness && own_habits > thresholds.habits + (chances / USUAL_STEPS).max(1.0).ln() {
        own.habits = own_habits;
        out.push(accuse(Reason::Search, own.closeness().max(own_habits)));
        if state.rows >= SEARCH_ROWS && f64::from(member.rows) + 1.0 >= SEARCH_SHARE * f64::from(state.rows) {
            state.flagged.get_or_insert(query.time);
        }
    } else if member.rows > EDIT_BUDGET {
        out.push(accuse(Reason::EditBudget, own.closeness()));
    }
}

/// A client's share of campaigns, if it and the part of its rows in them name it: much of what it sends, or more than chance.
fn belongs(clients: &Table<Key, Client>, at: SlotRef, shift: f64, thresholds: &Thresholds) -> Option<f64> {
    let state = &clients.get(at)?.structure;
    let Member { share, rows } = state.enlisted;
    let (inside, all) = (f64::from(rows), f64::from(state.rows));
    let much = inside >= MEMBER_ROWS * all || against_touches(inside, all) > thresholds.touches;
    (!state.looks_like_a_person() && share > thresholds.member + shift && much).then_some(share)
}

/// −ln of Chernoff's bound on the probability of so many rows inside campaigns, were each there with probability [`TOUCHES`].
fn against_touches(inside: f64, all: f64) -> f64 {
    let part = inside / all.max(inside).max(1.0);
    if part <= TOUCHES {
        return 0.0;
    }
    let outside = if part < 1.0 { (1.0 - part) * ((1.0 - part) / (1.0 - TOUCHES)).ln() } else { 0.0 };
    all.max(inside) * (part * (part / TOUCHES).ln() + outside)
}

/// The step from a parent to the new row.
fn step_from<'a>(
    (features, scales, quantiser, drifted): (&'a [Feature], &'a Scales, &Quantiser, &[usize]),
    hashes: &RowHashes,
    history: &History,
    parent: Candidate,
    crossed: bool,
    query: &Query,
) -> EditStep<'a> {
    let j = usize::from(parent.comparison.feature);
    let (codes, remainders) = (history.row(parent.row), history.remainders(parent.row));
    let before = |j| quantiser.decode(j, codes, remainders);
    let several = parent.comparison.changed > 1;
    EditStep {
        changed: parent.comparison.changed,
        feature: parent.comparison.feature,
        from: before(j),
        to: query.row[j],
        line: hashes.whole ^ hashes.tokens[j],
        crossed,
        missing: query.row.iter().filter(|cell| cell.is_missing()).count() as u16,
        drifted: drifted.contains(&j),
        level: if several { scales.even((0..features.len()).map(before), &query.row) } else { None },
        profile: &features[j],
        scales,
        width: features.len(),
    }
}

/// Evidence from the sender's address: honest trails stay where they are.
fn address_evidence(state: &mut Component, address: u32, account: u32) -> f64 {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_rows_of_many_in_campaigns_are_company_and_a_tenth_is_none() {
        let touches = Thresholds::new(1e-4).touches;
        assert!(against_touches(6.0, 7174.0) < 1e-9, "fewer than honest callers may touch");
        assert!(against_touches(2.0, 5.0) < touches);
        assert!(against_touches(4.0, 20.0) > touches && against_touches(10.0, 100.0) > touches);
        // Exactly: 200 to one, row by row, when all of them are inside.
        assert!((against_touches(3.0, 3.0) - 3.0 * 200_f64.ln()).abs() < 1e-9);
    }
}
