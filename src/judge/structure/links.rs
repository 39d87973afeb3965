//! Is a new row linked to an earlier one? First to one of its sender's own rows, then to anybody's.
//!
//! A link needs two things: the earlier row is improbably near by the tail of similarity between natural rows, and no reference row is as
//! near. What is near but not improbably so feeds the nearest-neighbour tests, which add up.

use super::Structure;
use super::nearest_neighbour_test::TEST_SPAN;
use super::query::{ComparedRow, Sender};
use super::thresholds::{LINKED, MOST_PROXIMITY, MULTIPLICITY, Neighbour, nearest};
use crate::judge::client::rows::ClientStructure;
use crate::window::history::RowId;

/// ln of the p-value at which a row joins a component that exists: ln 0.001. Chosen: a tenth of [`LINKED`], since a component grows for
/// ever and is compared with every row.
const JOINS: f64 = -6.907_755_278_982_137;
/// Rows of a component that exists: one row alone is none yet.
const COMPONENT_ROWS: f64 = 2.0;
/// ln of the share of natural pairs within which a reference row must lie for a test of own rows to be noted: ln 0.1. Chosen: where the
/// reference has no row in the nearest tenth, the nearest own row wins by default.
const NEAR: f64 = -std::f64::consts::LN_10;
/// Lead, in nats, with which an own row wins against a reference row. Chosen: a factor of e; the own rows of an honest client lead by
/// chance, those of a search by the size of its steps.
pub(super) const LEAD: f64 = 1.0;
/// Evidence of own tests from which on a won test counts as a link: ln 100, the complement of [`LINKED`].
const LINKING_EVIDENCE: f64 = 4.605_170_185_988_091;

/// The nearest earlier rows of a new row.
#[derive(Clone, Copy, Debug)]
pub(super) struct Nearest {
    /// The nearest of the sender's own rows, and of all.
    pub(super) own: Option<Neighbour>,
    pub(super) any: Option<Neighbour>,
    /// The sender's rows so far, at least one.
    pub(super) own_rows: f64,
    /// ln of the bound on P(one of the sender's rows is as near as `own`).
    pub(super) own_p: f64,
    /// Whether `own` or `any` is improbably near, so that a link is possible.
    pub(super) linkable: bool,
    /// Whether `any` is one of the last [`TEST_SPAN`] rows.
    pub(super) in_span: bool,
    /// ln p of the nearest reference row; −∞ where nothing depends on it.
    pub(super) reference: f64,
}

/// How a new row is related to anybody's rows.
#[derive(Clone, Copy, Debug)]
pub(super) struct AnyLink {
    /// ln of the bound on P(one of the component's rows is as near).
    pub(super) p: f64,
    pub(super) linked: bool,
    /// The nearest row, if it came from another address and is nearer than any reference row.
    pub(super) unexplained: Option<RowId>,
}

/// A link of a new row.
#[derive(Clone, Copy, Debug)]
pub(super) struct Link<'a> {
    pub(super) new: &'a ComparedRow<'a>,
    /// Number of the new row.
    pub(super) row: RowId,
    /// The row that it is linked to.
    pub(super) target: Neighbour,
    /// A row of a second component that the row belongs to, if it is near both its sender's rows and another's.
    pub(super) other: Option<Neighbour>,
    /// Whether it is linked to one of the sender's own rows.
    pub(super) own_link: bool,
    /// ln of the bound on P(one of the sender's rows is as near), and on P(one of the component's rows is).
    pub(super) own_p: f64,
    pub(super) any_p: f64,
    /// The nearest row, if it came from another address and is nearer than any reference row.
    pub(super) unexplained: Option<RowId>,
    /// ln p up to which another row counts as linked as well.
    pub(super) linked_at: f64,
}

// === impl Nearest ===

impl Nearest {
    /// The nearest own row, if it is near enough to be worth a test or a link.
    fn own_to_test(&self) -> Option<Neighbour> {
        self.own.filter(|own| self.own_linkable() || is_near(own))
    }

    /// Whether the nearest own row is improbably near.
    fn own_linkable(&self) -> bool {
        self.own_p < LINKED
    }

    /// The same if links say less by so many nats.
    pub(super) fn less(self, nats: f64) -> Self {
        let less = |neighbour: Neighbour| Neighbour { log_p: (neighbour.log_p + nats).min(0.0), ..neighbour };
        let (own, any) = (self.own.map(less), self.any.map(less));
        let own_p = (self.own_p + nats).min(0.0);
        Self { own, any, own_p, linkable: own_p < LINKED || any.is_some_and(|n| n.log_p < LINKED), ..self }
    }

    /// Whether the sender's row is still near after [`Nearest::less`], by its distance or by a test that it won.
    pub(super) fn still_links_own(&self) -> bool {
        self.own_linkable() || self.own.is_some_and(|own| own.log_p < self.reference - LEAD)
    }

    /// The link that follows, if any: own rows come first.
    pub(super) fn link<'a>(&self, new: &'a ComparedRow<'a>, row: RowId, own_link: bool, any: AnyLink) -> Option<Link<'a>> {
        let target = if own_link { self.own } else { self.any.filter(|_| any.linked) };
        target.map(|target| Link {
            new,
            row,
            target,
            other: self.any.filter(|_| own_link && any.linked),
            own_link,
            own_p: self.own_p,
            any_p: any.p,
            unexplained: any.unexplained,
            linked_at: LINKED - (MULTIPLICITY * self.own_rows).ln(),
        })
    }
}

// === impl Structure ===

impl Structure {
    /// The nearest earlier rows of a new row that is number `row` of the history. The reference is asked only where something depends on it.
    pub(super) fn nearest(&self, row: RowId, new: &ComparedRow<'_>, state: &ClientStructure) -> Nearest {
        let own_rows = f64::from(state.rows.max(1));
        let (own, any) = (nearest(new.near, true), nearest(new.near, false));
        let own_p = own.map_or(0.0, |n| (n.log_p + (MULTIPLICITY * own_rows).ln()).min(0.0));
        let own_linkable = own_p < LINKED;
        let linkable = own_linkable || any.is_some_and(|n| n.log_p < LINKED);
        let in_span = any.is_some_and(|n| row - n.row <= TEST_SPAN);
        let tested = !own_linkable
            && in_span
            && self.nearest_neighbours.is_open_to(new.sender.at)
            && any.is_some_and(|n| self.is_foreign(n.row, new.sender));
        let asked = linkable || tested || own.as_ref().is_some_and(is_near);
        let reference = if asked { self.nearest_reference(new.encoded, new.prepared) } else { f64::NEG_INFINITY };
        Nearest { own, any, own_rows, own_p, linkable, in_span, reference }
    }

    /// Whether a new row is linked to one of its sender's own rows: that row is improbably near and no reference row explains it, or the
    /// sender's own rows win so many tests against the reference that a won one counts.
    pub(super) fn own_link(&mut self, new: &ComparedRow<'_>, nearest: &Nearest, state: &mut ClientStructure) -> bool {
        if nearest.own.is_none() {
            return false;
        }
        let (own, reference) = (nearest.own_to_test(), nearest.reference);
        let won = self.test_own_rows(own.filter(is_near), reference, new.sender, state);
        // A row with many changed columns is no edit. It is near only because the distribution is dense there, if the reference is as near.
        let unexplained = |own: Neighbour| own.is_edit() || own.log_p < reference - LEAD;
        won || (nearest.own_linkable() && own.is_some_and(unexplained))
    }

    /// How a new row is related to anybody's rows; `live_rows` is the number of rows in memory.
    pub(super) fn anybodys_link(&self, nearest: &Nearest, sender: Sender, live_rows: f64) -> AnyLink {
        let component_rows = nearest
            .any
            .filter(|_| nearest.linkable)
            .and_then(|n| self.component_of(n.row))
            .and_then(|component| self.components.get(component))
            .map_or(1.0, |component| f64::from(component.rows));
        let Some(any) = nearest.any else { return AnyLink { p: 0.0, linked: false, unexplained: None } };
        let everywhere = any.log_p + (MULTIPLICITY * component_rows).ln();
        let here = self.nearest_neighbours.local_log_p(any.log_p, nearest.reference, component_rows);
        let unexplained = nearest.reference > any.log_p;
        AnyLink {
            p: everywhere.max(here).min(0.0),
            linked: unexplained
                && (any.log_p + (MULTIPLICITY * live_rows).ln() < LINKED
                    || (component_rows >= COMPONENT_ROWS && everywhere < JOINS)),
            unexplained: Some(any.row).filter(|&row| unexplained && self.is_foreign(row, sender)),
        }
    }

    /// Notes whether a stranger's row was nearer to a new row than the reference, of rows that are not linked to their sender's own.
    pub(super) fn note_nearest_neighbour(&mut self, nearest: &Nearest, any: AnyLink, sender: Sender, live_rows: f64) {
        if nearest.any.is_some() {
            let won = any.unexplained.is_some() && nearest.in_span;
            self.nearest_neighbours.note(sender.at, won, live_rows.min(TEST_SPAN as f64));
        }
    }

    /// A test of the nearest own row, if one is near at all, against the nearest reference row. True if it was won by a client that wins so
    /// many that it counts as a link. Where the distribution is dense, rows are near to each other anyway and no single one is improbably
    /// so; but of so many reference rows there, one should be nearer than the few rows of the sender.
    fn test_own_rows(&mut self, own: Option<Neighbour>, reference: f64, sender: Sender, state: &mut ClientStructure) -> bool {
        if own.is_some() && reference >= NEAR {
            return false;
        }
        let own_rows = f64::from(state.rows.max(1));
        let won = own.is_some_and(|n| n.log_p < reference - LEAD);
        let edited = own.is_some_and(|n| n.comparison.changed <= 1);
        self.own_nearest_neighbours.note(sender.at, won, own_rows);
        let expected = own_rows / (own_rows + self.nearest_neighbours.effective());
        let evidence = self.own_nearest_neighbours.own_evidence(won, expected);
        state.nearest_neighbour = (state.nearest_neighbour + evidence).clamp(0.0, MOST_PROXIMITY);
        let continues_session = edited && state.was_edit;
        state.was_edit = edited;
        if !continues_session {
            state.nearest_neighbour_by_session = (state.nearest_neighbour_by_session + evidence).clamp(0.0, MOST_PROXIMITY);
        }
        let so_far = if edited { state.nearest_neighbour } else { state.nearest_neighbour_by_session };
        won && so_far > LINKING_EVIDENCE
    }
}

/// Whether a neighbour lies so near that a reference row within [`NEAR`] can lose against it.
fn is_near(neighbour: &Neighbour) -> bool {
    neighbour.log_p < NEAR - LEAD
}
