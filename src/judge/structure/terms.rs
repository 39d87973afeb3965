//! What the parts of structure evidence speak of: accusations, neighbours, links, and the bars that more than one part uses.
//!
//! It imports none of them, so that each can import it.

use crate::judge::Family;
use crate::signal::similarity::Comparison;
use crate::window::clients::SlotRef;
use crate::window::history::RowId;

/// Closeness that counts, per query: ln 10⁶. A CUSUM of per-row p-values against a nominal link rate of a tenth (Page 1954).
pub(super) const CLOSENESS: f64 = 13.8;
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
/// A member's own share at which he is named.
pub(super) const MEMBER: f64 = 7.0;
/// Share of a member's own rows that lie in the component: an honest caller touches a search now and then, a searcher spends
/// most of his queries on it, or half under cover traffic.
pub(super) const MEMBER_ROWS: f64 = 0.25;

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
