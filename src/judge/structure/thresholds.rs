//! What the parts of structure evidence share: detections, neighbours, and the thresholds that more than one part uses.
//!
//! It imports none of them, so that each can import it.

use crate::judge::Family;
use crate::signal::similarity::Comparison;
use crate::window::clients::SlotRef;
use crate::window::history::RowId;

/// Where proximity saturates, in nats. Chosen: twice the threshold at the default rate of false alarms ([`Thresholds::new`]), so that
/// a client that stops searching falls below the threshold again after about 150 ordinary rows (one takes ln(1 − [`LINK_RATE`])).
pub(super) const MOST_PROXIMITY: f64 = 30.0;
/// Share of an honest client's rows that may be linked to its own rows without proximity adding up. Chosen: ten times the rate of
/// coincidental links ([`LINKED`]), and less than half of what a search under cover traffic has ([`MEMBER_ROWS`]).
pub(super) const LINK_RATE: f64 = 0.1;
/// Most evidence of one row: ln 50. Chosen: any threshold then needs at least two rows.
pub(super) const STEP_CAP: f64 = 3.912_023_005_428_146;
/// Factor on the number of rows compared in the bound on a link: two, since a row can be near on either side (Bonferroni).
pub(super) const MULTIPLICITY: f64 = 2.0;
/// ln of the p-value at which a row counts as linked: ln 0.01. Chosen: a tenth of [`LINK_RATE`].
pub(super) const LINKED: f64 = -4.605_170_185_988_091;
/// Share of a member's own rows that lie in campaigns. Chosen: an honest client's rows fall into a search now and then; a searcher
/// spends most of its queries on it, or half of them when it sends cover traffic. A quarter leaves a factor of two for rows of the
/// search that are linked to nothing.
pub(super) const MEMBER_ROWS: f64 = 0.25;
/// Changed columns of an edit at most; a row that changes more is another row. Chosen: people edit one field or two of a form (ADR 0014).
pub(super) const EDIT: u16 = 2;

/// Queries of a usual client in a day; each is one test of proximity. Chosen: the order of magnitude of an
/// interactive client.
const DAILY_QUERIES: f64 = 100.0;
/// Own links of a usual client in a day: three clients of a hundred edit by hand, ten links a day each.
const DAILY_EDITS: f64 = 0.3;
/// Rows that a new one is compared with at most: one for each hash (25), the sender's last rows (16), rows that it repeated (8), and its
/// account's (16).
const ROWS_COMPARED: f64 = 65.0;
/// Share of honest clients that send a row near a campaign in a day. Chosen: one in ten.
const DAILY_NEIGHBOURS: f64 = 0.1;
/// Coincidental components that one filling of the memory may make, for each false alarm per client and day. Chosen: a hundred, since a
/// component accuses nobody before a member's own share does.
const COINCIDENCES: f64 = 100.0;

/// Evidence, in nats, at which structure evidence detects. Each threshold is ln(n/α): n is the number of tests in a client's day, α the
/// stated rate of false alarms. Evidence of e^b or more in one of n tests has probability n·e^(−b) at most (ADR 0007, ADR 0015).
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Thresholds {
    /// Of proximity, and of broken dependencies.
    pub(super) proximity: f64,
    /// Of automation, beside proximity.
    pub(super) automation: f64,
    /// Of a component: every row may start one with any row that it is compared with.
    pub(super) campaign: f64,
    /// Of a component's links against coincidence, beyond the rows that could have started it.
    pub(super) coincidence: f64,
    /// Of a member's own share.
    pub(super) member: f64,
    /// Of a client's rows being inside campaigns by chance.
    pub(super) touches: f64,
}

// === impl Thresholds ===

impl Thresholds {
    /// For a stated rate of false alarms per client and day.
    pub(super) fn new(alarms_per_client_day: f64) -> Self {
        let for_tests = |n: f64| (n / alarms_per_client_day).ln();
        Self {
            proximity: for_tests(DAILY_QUERIES),
            automation: for_tests(DAILY_EDITS),
            campaign: for_tests(DAILY_QUERIES * ROWS_COMPARED),
            coincidence: for_tests(1.0 / COINCIDENCES).max(0.0),
            member: for_tests(DAILY_NEIGHBOURS),
            touches: for_tests(1.0),
        }
    }
}

/// A statement by structure evidence.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Detection {
    /// Whom it is about.
    pub client: SlotRef,
    /// Why it was made.
    pub reason: Reason,
    /// Shape of the search.
    pub family: Family,
    /// The largest evidence, in nats.
    pub evidence: f64,
    /// The component that it is part of.
    pub component: Option<SlotRef>,
}

/// Why a detection was made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub enum Reason {
    /// Proximity and automation of one client.
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

/// An earlier row that a new one was compared with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Neighbour {
    pub(super) row: RowId,
    pub(super) comparison: Comparison,
    /// ln P(two natural rows are at least this similar).
    pub(super) log_p: f64,
    /// Whether the new row's sender sent it: the same client, or the same account elsewhere.
    pub(super) own: bool,
}

// === impl Neighbour ===

impl Neighbour {
    /// Whether the new row is an edit of this one.
    pub(super) fn is_edit(&self) -> bool {
        self.comparison.changed <= EDIT
    }
}

/// The neighbour with the smallest p-value, of the sender's own rows or of all.
pub(super) fn nearest(near: &[Neighbour], own_only: bool) -> Option<Neighbour> {
    near.iter().filter(|n| !own_only || n.own).min_by(|a, b| a.log_p.total_cmp(&b.log_p)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenth_of_the_stated_rate_is_2_3_nats_more_of_all_evidence() {
        let (usual, calmer) = (Thresholds::new(1e-4), Thresholds::new(1e-5));
        let all = |thresholds: &Thresholds| {
            [
                thresholds.proximity,
                thresholds.automation,
                thresholds.campaign,
                thresholds.coincidence,
                thresholds.member,
                thresholds.touches,
            ]
        };
        for (usual, calmer) in all(&usual).into_iter().zip(all(&calmer)) {
            assert!((calmer - usual - 10_f64.ln()).abs() < 1e-9);
        }
        assert!((usual.proximity - 1e6_f64.ln()).abs() < 1e-9 && (usual.automation - 3e3_f64.ln()).abs() < 1e-9);
    }
}
