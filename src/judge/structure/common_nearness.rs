//! Is nearness common to callers? A release that writes numbers on another scale makes the rows of all its callers near to each other, and
//! nobody searches.
//!
//! A row that is linked to an earlier one is compared with the newest row of each of some callers with a past. If as many of them are as
//! improbably near as make a column common ([`crate::judge::common_cause`]), the row counts as linked to nothing, and what its sender showed
//! before is no evidence any more. An attacker needs so many callers with a past whose newest rows are near his.
//!
//! Evidence that was added up before enough callers had been seen is asked again when it accuses ([`Structure::is_explained_now`]).

use super::Structure;
use super::thresholds::{LINKED, MULTIPLICITY};
use crate::event::EventTime;
use crate::judge::client::Client;
use crate::judge::client::rows::OWN_ROWS;
use crate::judge::common_cause::{COMMON, COMMON_AT_START};
use crate::signal::similarity::PreparedRow;
use crate::window::clients::SlotRef;
use crate::window::history::RowId;

/// Rows of the reference that callers' rows are compared with. Chosen: twice the callers, so that most of the chance lies with the callers.
const REFERENCE_ROWS: usize = 128;

/// Nats by which callers' rows are nearer by chance. Chosen: three standard deviations of the difference of the logarithms, which is
/// sqrt(1/7 + 1/13) for the seventh smallest p-value of 64 and the thirteenth of 128.
const CHANCE: f64 = 1.4;

/// The value below which a share of some values lies, the largest of them. The values must be there.
fn quantile(values: &mut [f64], share: f64) -> f64 {
    let nth = ((share * values.len() as f64).ceil() as usize).clamp(1, values.len()) - 1;
    *values.select_nth_unstable_by(nth, f64::total_cmp).1
}

// === impl Structure ===

impl Structure {
    /// Whether evidence against a client, which began then, is none by what is known now: as many rows of other callers are near to most of
    /// its rows since, or hardly a column tells them apart, or most of its own links would not be made any more.
    pub fn is_explained_now(&self, client: &Client, at: SlotRef, since: EventTime) -> bool {
        let is_near_to_many = |row: &PreparedRow| self.is_near_to_many(&self.log_p_of_callers(row, at));
        let is_none = |row: &PreparedRow| !self.could_be_linked(row, client) || is_near_to_many(row);
        self.are_most(client, since, is_none) || self.own_links_are_explained(client, at, since)
    }

    /// Whether a column is written as the reference does not know in most rows that a client has sent since evidence against it began. A
    /// pipeline writes a column so in every row; who tries values beyond the range does it in one column after the other.
    pub fn rests_on_writing(&self, client: &Client, since: EventTime) -> bool {
        let mut counts = vec![0_u32; self.common.len()];
        let mut rows = 0;
        for row in self.own_rows_since(client, since) {
            self.similarity.unknown(self.history.row(row)).for_each(|place| counts[place] += 1);
            rows += 1;
        }
        counts.iter().any(|&count| 2 * count > rows)
    }

    /// Whether something holds of most rows that a client has sent since then.
    fn are_most(&self, client: &Client, since: EventTime, holds: impl Fn(&PreparedRow) -> bool) -> bool {
        let mut prepared = PreparedRow::default();
        let (mut rows, mut holding) = (0_u32, 0_u32);
        for row in self.own_rows_since(client, since) {
            self.similarity.prepare(self.history.row(row), &mut prepared);
            rows += 1;
            holding += u32::from(holds(&prepared));
        }
        2 * holding > rows
    }

    /// A client's newest rows since then.
    fn own_rows_since<'a>(&'a self, client: &'a Client, since: EventTime) -> impl Iterator<Item = RowId> + 'a {
        // A row's time is known to the second.
        let since = since.plus_seconds(-1);
        client.structure.own.rows(&self.history).filter(move |&row| self.history.meta(row).time() >= since)
    }

    /// Whether most of the links between a client's own newest rows would not be made any more: without what is common, or since rows of
    /// other callers are hardly less near.
    pub(super) fn own_links_are_explained(&self, client: &Client, at: SlotRef, since: EventTime) -> bool {
        let linked = self.linked_at(client);
        let mut prepared = PreparedRow::default();
        let (mut links, mut explained) = (0_u32, 0_u32);
        for row in self.own_rows_since(client, since) {
            self.similarity.prepare_with_all_columns(self.history.row(row), &mut prepared);
            if self.nearest_of_own(&prepared, row, client) >= linked {
                continue;
            }
            self.similarity.prepare(self.history.row(row), &mut prepared);
            let nearest = self.nearest_of_own(&prepared, row, client);
            links += 1;
            let says_less = || self.common_nearness(&prepared, &mut self.log_p_of_callers(&prepared, at));
            explained += u32::from(nearest >= linked || nearest + says_less() >= linked);
        }
        2 * explained > links
    }

    /// ln p of the nearest of a client's newest rows other than this one.
    fn nearest_of_own(&self, prepared: &PreparedRow, row: RowId, client: &Client) -> f64 {
        let others = client.structure.own.rows(&self.history).filter(|&other| other != row);
        others.map(|other| self.log_p_of(prepared, self.history.row(other))).fold(0.0, f64::min)
    }

    /// ln p up to which a row is linked to one of its client's rows that are compared.
    fn linked_at(&self, client: &Client) -> f64 {
        let own_rows = f64::from(client.structure.rows.clamp(1, OWN_ROWS as u32));
        LINKED - (MULTIPLICITY * own_rows).ln()
    }

    /// Whether a row that is the same would be linked to it, among the rows of its client that are compared.
    fn could_be_linked(&self, prepared: &PreparedRow, client: &Client) -> bool {
        self.similarity.log_p_of_same(prepared, self.baseline.shift) < self.linked_at(client)
    }

    /// ln p of the newest row of each other caller with a past against a row, in no particular order.
    pub(super) fn log_p_of_callers(&self, prepared: &PreparedRow, sender: SlotRef) -> Vec<f64> {
        let others = self.frequent.rows().filter(|(at, _)| *at != sender);
        others.map(|(_, row)| self.log_p_of(prepared, row)).collect()
    }

    /// How much nearer `callers` ([`Structure::log_p_of_callers`], put in another order) are to a row than rows of the reference, in nats, or
    /// 0 if that may be chance. The nearest tenth of both are compared, or the nearer half during the warm-up. By so much a link says less.
    pub(super) fn common_nearness(&self, prepared: &PreparedRow, callers: &mut [f64]) -> f64 {
        if callers.is_empty() {
            return 0.0;
        }
        let share = self.common_share();
        let reference = self.reference_rows.chunks_exact(prepared.width()).take(REFERENCE_ROWS);
        let mut reference: Vec<f64> = reference.map(|row| self.log_p_of(prepared, row)).collect();
        let nearer = quantile(&mut reference, share) - quantile(callers, share);
        if nearer > CHANCE { nearer } else { 0.0 }
    }

    /// Share of the callers from which on what they show is common.
    fn common_share(&self) -> f64 {
        if self.is_start { COMMON_AT_START } else { COMMON }
    }

    /// ln P(two natural rows are as similar as these).
    fn log_p_of(&self, prepared: &PreparedRow, row: &[u16]) -> f64 {
        self.similarity.assess(prepared, row, self.baseline.shift).1
    }

    /// Whether many of these callers ([`Structure::log_p_of_callers`]) are improbably near to a row.
    pub(super) fn is_near_to_many(&self, callers: &[f64]) -> bool {
        let known = self.frequent.rows().len() as f64;
        let near = LINKED - (MULTIPLICITY * known).ln();
        known > 0.0 && callers.iter().filter(|&&log_p| log_p < near).count() as f64 >= known * self.common_share()
    }
}
