//! Campaigns: when is a component one, and which clients are named as its members?
//!
//! A component is a campaign when its evidence, its addresses, and its links against coincidence all say so. A member is named by its own
//! share of all campaigns, when most of its recent rows are linked to campaigns or more of them than chance explains.

use super::Structure;
use super::links::Link;
use super::thresholds::{Detection, MEMBER_ROWS, Reason, Thresholds};
use crate::judge::client::rows::{ClientStructure, Membership};
use crate::judge::client::{Client, Key};
use crate::window::clients::{SlotRef, Table};

/// Rate at most at which an honest client's rows fall into campaigns: fifteen times the 0.03% that was the most of any client on simulated
/// days with distributed searches (measured by `make evaluate MATRIX=…` when it was set).
const TOUCHES: f64 = 0.005;

// === impl Structure ===

impl Structure {
    /// Flags a component that has become a campaign.
    pub(super) fn flag_campaign(&mut self, link: &Link<'_>, component: SlotRef) {
        let Some(state) = self.components.get_mut(component) else { return };
        let unexplained = self.nearest_neighbours.evidence(state.unexplained.count, link.row - state.unexplained.since);
        let possible_starts = self.history.len() as f64 + 1.0;
        if state.flagged.is_none()
            && state.evidence > self.thresholds.campaign
            && state.has_many_addresses()
            && unexplained > possible_starts.ln() + self.thresholds.coincidence + self.baseline.shift
        {
            state.flagged = Some(link.new.query.time);
        }
    }

    /// Names all members of a component that has just been flagged, if it has.
    pub(super) fn name_members(&self, component: SlotRef, clients: &mut Table<Key, Client>, out: &mut Vec<Detection>) {
        let Some(state) = self.components.get(component).filter(|state| state.flagged.is_some()) else { return };
        state.credit_campaign_members(clients);
        out.extend(state.members.keys().filter_map(|&member| self.name_member(component, member, clients)));
    }

    /// Names a client as a member of a flagged component, if its part in campaigns says so.
    pub(super) fn name_member(&self, component: SlotRef, at: SlotRef, clients: &Table<Key, Client>) -> Option<Detection> {
        let evidence = member_share(&clients.get(at)?.structure, self.baseline.shift, &self.thresholds)?;
        let family = self.components.get(component)?.family();
        Some(Detection { client: at, reason: Reason::Campaign, family, evidence, component: Some(component) })
    }
}

/// A client's share of campaigns, if it and the part of its rows in them name it: much of what it sends, or more than chance. `shift` is the
/// similarity that drift explains.
fn member_share(state: &ClientStructure, shift: f64, thresholds: &Thresholds) -> Option<f64> {
    let Membership { share, rows } = state.campaigns;
    let (inside, all) = (f64::from(rows), f64::from(state.rows));
    let much = inside >= MEMBER_ROWS * all || against_touches(inside, all) > thresholds.touches;
    (!state.looks_like_a_person() && share > thresholds.member + shift && much).then_some(share)
}

/// −ln of Chernoff's bound on the probability that `inside` of `all` rows are in campaigns, if each is there with probability [`TOUCHES`].
fn against_touches(inside: f64, all: f64) -> f64 {
    let part = inside / all.max(inside).max(1.0);
    if part <= TOUCHES {
        return 0.0;
    }
    let outside = if part < 1.0 { (1.0 - part) * ((1.0 - part) / (1.0 - TOUCHES)).ln() } else { 0.0 };
    all.max(inside) * (part * (part / TOUCHES).ln() + outside)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_rows_of_many_in_campaigns_are_chance_and_a_tenth_is_not() {
        let touches = Thresholds::new(1e-4).touches;
        assert!(against_touches(6.0, 7174.0) < 1e-9, "fewer than honest callers may touch");
        assert!(against_touches(2.0, 5.0) < touches);
        assert!(against_touches(4.0, 20.0) > touches && against_touches(10.0, 100.0) > touches);
        // Exactly: 200 to one, row by row, when all of them are inside.
        assert!((against_touches(3.0, 3.0) - 3.0 * 200_f64.ln()).abs() < 1e-9);
    }

    #[test]
    fn a_member_is_named_by_its_share_and_the_part_of_its_rows() {
        let thresholds = Thresholds::new(1e-4);
        let client = |share, inside, rows| {
            let mut state = ClientStructure::default();
            (state.campaigns, state.rows) = (Membership { share, rows: inside }, rows);
            state
        };
        let enough = thresholds.member + 1.0;
        assert_eq!(member_share(&client(enough, 10, 40), 0.0, &thresholds), Some(enough), "a quarter of its rows");
        assert_eq!(member_share(&client(enough, 2, 9), 0.0, &thresholds), None, "two rows of nine may be chance");
        assert_eq!(member_share(&client(enough, 10, 40), 1.5, &thresholds), None, "drift explains a part of the share");
        assert_eq!(member_share(&client(thresholds.member, 10, 40), 0.0, &thresholds), None, "too small a share");
        let mut person = client(enough, 10, 40);
        (person.own_links, person.automation) = (10, 0.0);
        assert_eq!(member_share(&person, 0.0, &thresholds), None, "its edits look like a person's");
    }
}
