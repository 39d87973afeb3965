//! Rows that somebody sent before. A client that repeats a campaign's rows, and little else, belongs to it.
//!
//! Clients that replay real traffic repeat a prober's rows, too. So each repeated row is one observation of a likelihood ratio: does it fall
//! into a campaign as often as a prober's do, or as often as the rows of memory do?

use super::Structure;
use super::thresholds::{Detection, MEMBER_ROWS, Reason, STEP_CAP};
use crate::judge::Family;
use crate::judge::client::rows::ClientStructure;
use crate::judge::client::{Client, Key};
use crate::window::clients::{SlotRef, Table};
use crate::window::history::RowId;

/// Share of a prober's repeats that fall into a campaign. Chosen: three in ten; the others are cover traffic.
const PROBER_REPEATS: f64 = 0.3;
/// Factor on a campaign's share of the rows in memory, towards the client. Chosen: probes are repeated more often than other rows.
const SHARE_MARGIN: f64 = 2.0;
/// Least share that a campaign is taken to have. Chosen: one row in a thousand; [`STEP_CAP`] limits the evidence above it anyway.
const LEAST_SHARE: f64 = 1e-3;

/// The flagged component that a repeated row is in.
#[derive(Clone, Copy)]
struct RepeatedCampaign {
    component: SlotRef,
    family: Family,
    /// Upper estimate of its share of the rows in memory.
    share: f64,
}

// === impl Structure ===

impl Structure {
    /// A row that is remembered was sent again.
    pub(super) fn repeated(&self, same: RowId, at: SlotRef, clients: &mut Table<Key, Client>) -> Option<Detection> {
        let owner = self.history.meta(same).client;
        let campaign = self.campaign_of(same);
        let state = &mut clients.get_mut(at)?.structure;
        state.rows += 1;
        // A retry of an own row says nothing, and a second retry no more than the first.
        if owner == at || state.repeated.contains(same) {
            return None;
        }
        state.repeated.push(same);
        add_repeat(state, campaign.map(|campaign| campaign.share));
        let RepeatedCampaign { component, family, .. } = campaign?;
        let evidence = state.repeats;
        repeats_little_else(state, self.thresholds.member).then_some(Detection {
            client: at,
            reason: Reason::Repeats,
            family,
            evidence,
            component: Some(component),
        })
    }

    /// The flagged component that a row is in, if it is in one.
    fn campaign_of(&self, row: RowId) -> Option<RepeatedCampaign> {
        let component = self.component_of(row)?;
        let state = self.components.get(component).filter(|state| state.flagged.is_some())?;
        let rows = self.history.added() as f64 + 1.0;
        let share = (SHARE_MARGIN * f64::from(state.rows) / rows).clamp(LEAST_SHARE, PROBER_REPEATS);
        Some(RepeatedCampaign { component, family: state.family(), share })
    }
}

/// Adds the evidence of one repeated row, of a campaign with this share of the rows or of none. For a row outside campaigns the ratio is
/// (1 − [`PROBER_REPEATS`])/(1 − share); the share is left out, as it is small.
fn add_repeat(state: &mut ClientStructure, campaign_share: Option<f64>) {
    state.campaigns.rows += u32::from(campaign_share.is_some());
    state.repeats = state.repeats.max(0.0)
        + match campaign_share {
            Some(share) => (PROBER_REPEATS / share).ln().min(STEP_CAP),
            None => (1.0 - PROBER_REPEATS).ln(),
        };
}

/// Whether a client repeats rows of campaigns beyond the threshold, and hardly sends anything else.
fn repeats_little_else(state: &ClientStructure, threshold: f64) -> bool {
    !state.looks_like_a_person()
        && state.repeats > threshold
        && f64::from(state.campaigns.rows) >= MEMBER_ROWS * f64::from(state.rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::structure::thresholds::Thresholds;

    #[test]
    fn a_client_that_repeats_only_a_campaigns_rows_is_named_and_one_that_replays_traffic_is_not() {
        let threshold = Thresholds::new(1e-4).member;
        let mut prober = ClientStructure::default();
        (0..5).for_each(|_| {
            prober.rows += 1;
            add_repeat(&mut prober, Some(0.01));
        });
        assert!(repeats_little_else(&prober, threshold), "{}", prober.repeats);
        // Of the rows of memory one in a hundred is the campaign's.
        let mut replay = ClientStructure::default();
        for i in 0..1_000 {
            replay.rows += 1;
            add_repeat(&mut replay, (i % 100 == 0).then_some(0.02));
            assert!(!repeats_little_else(&replay, threshold), "row {i}");
        }
    }

    #[test]
    fn a_prober_under_a_cover_of_other_repeats_is_named_as_long_as_a_quarter_of_its_rows_are_the_campaigns() {
        let threshold = Thresholds::new(1e-4).member;
        let after = |cover: u32| {
            let mut state = ClientStructure::default();
            for i in 0..200 {
                state.rows += 1;
                add_repeat(&mut state, (i % cover == 0).then_some(0.01));
            }
            repeats_little_else(&state, threshold)
        };
        assert!(after(2) && after(4));
        assert!(!after(5));
    }
}
