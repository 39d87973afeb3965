//! What the parts of structure evidence speak of: detections, neighbours, links, and the bars that more than one part uses.
//!
//! It imports none of them, so that each can import it.

use crate::judge::Family;
use crate::signal::similarity::Comparison;
use crate::window::clients::SlotRef;
use crate::window::history::RowId;

/// Where closeness saturates, so that it can fall again.
pub(super) const CLOSENESS_MOST: f64 = 30.0;
/// Link rate that honest clients may have without closeness adding up.
pub(super) const LINK_RATE: f64 = 0.1;
/// One step's most, in nats: no single row convicts.
pub(super) const STEP_CAP: f64 = 3.912_023_005_428_146;
/// Rows compared of the bound on an own link: two, for two-sided nearness.
pub(super) const MULTIPLICITY: f64 = 2.0;
/// ln of the p-value at which a row counts as linked.
pub(super) const LINKED: f64 = -4.605_170_185_988_091;
/// Share of a member's own rows that lie in the component: an honest caller touches a search now and then, a searcher spends
/// most of his queries on it, or half under cover traffic.
pub(super) const MEMBER_ROWS: f64 = 0.25;

/// Queries of a usual client in a day: so many looks closeness has.
const QUERIES: f64 = 100.0;
/// Steps of a usual client's day that edit an earlier row: of a hundred clients three edit by hand, ten steps a day.
const EDITS: f64 = 0.3;
/// Rows that a new one is compared with at most: one a hash, its sender's last ones, those that he repeated, his account's.
const COMPARED: f64 = 65.0;
/// Honest clients that send a row near somebody's campaign in a day, of all.
const NEIGHBOURS: f64 = 0.1;
/// Coincidental components a filling of the memory is allowed to make, for each false alarm a client-day that is.
const COINCIDENCES: f64 = 100.0;

/// Evidence, in nats, at which structure speaks. Each is the logarithm of looks that a client's day has over the stated rate of false
/// alarms: evidence that is e^b or more at one of n looks is so by chance with probability n·e^(−b) at most (ADR 0007, ADR 0015).
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Thresholds {
    /// Of closeness, and of broken dependencies.
    pub(super) closeness: f64,
    /// Of habits, beside closeness.
    pub(super) habits: f64,
    /// Of a component: every row may start one with any that it is compared with.
    pub(super) campaign: f64,
    /// Of its links against coincidence, beyond the rows that could have started it.
    pub(super) coincidence: f64,
    /// Of a member's own share.
    pub(super) member: f64,
    /// Of a caller's rows inside campaigns being there by chance.
    pub(super) touches: f64,
}

// === impl Thresholds ===

impl Thresholds {
    /// For a stated rate of false alarms per client and day.
    pub(super) fn new(alarms_per_client_day: f64) -> Self {
        let looks = |n: f64| (n / alarms_per_client_day).ln();
        Self {
            closeness: looks(QUERIES),
            habits: looks(EDITS),
            campaign: looks(QUERIES * COMPARED),
            coincidence: looks(1.0 / COINCIDENCES).max(0.0),
            member: looks(NEIGHBOURS),
            touches: looks(1.0),
        }
    }
}

/// A statement by structure evidence.
#[derive(Clone, Debug, PartialEq)]
pub struct Detection {
    /// Who.
    pub client: SlotRef,
    /// Why.
    pub reason: Reason,
    /// Shape of the search.
    pub family: Family,
    /// The heaviest evidence in nats.
    pub evidence: f64,
    /// The component that it is part of.
    pub component: Option<SlotRef>,
}

/// Why a detection was made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reason {
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

/// One candidate neighbour: how it compares with the new row, ln p of being so near, and whether its sender is the same.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    pub(super) row: RowId,
    pub(super) comparison: Comparison,
    pub(super) log_p: f64,
    pub(super) own: bool,
}

/// A link of a new row.
pub(super) struct Link {
    pub(super) row: RowId,
    pub(super) target: Candidate,
    /// A second component that the row belongs to, if it is near both its sender's rows and another's.
    pub(super) other: Option<Candidate>,
    pub(super) at: SlotRef,
    /// Address and account, as hashes.
    pub(super) sender: (u32, u32),
    /// ln p of being this near to own rows, and to anybody's.
    pub(super) own_p: f64,
    pub(super) any_p: f64,
    pub(super) own_link: bool,
    pub(super) own_rows: f64,
    /// The nearest row, if it is somebody else's and nearer than any reference row.
    pub(super) crossed: Option<RowId>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenth_of_the_stated_rate_is_2_3_nats_more_of_all_evidence() {
        let (usual, calmer) = (Thresholds::new(1e-4), Thresholds::new(1e-5));
        let all = |thresholds: &Thresholds| {
            [
                thresholds.closeness,
                thresholds.habits,
                thresholds.campaign,
                thresholds.coincidence,
                thresholds.member,
                thresholds.touches,
            ]
        };
        for (usual, calmer) in all(&usual).into_iter().zip(all(&calmer)) {
            assert!((calmer - usual - 10_f64.ln()).abs() < 1e-9);
        }
        assert!((usual.closeness - 1e6_f64.ln()).abs() < 1e-9 && (usual.habits - 3e3_f64.ln()).abs() < 1e-9);
    }
}
