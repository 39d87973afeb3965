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

// === impl Structure ===

impl Structure {
    /// Whether most rows that a client has sent since evidence against it began are no evidence by what is known now: as many rows of
    /// other callers are near to them, or hardly a column tells them apart.
    pub fn is_explained_now(&self, client: &Client, at: SlotRef, since: EventTime) -> bool {
        self.are_most(client, since, |row| !self.could_be_linked(row, client) || self.is_near_to_many(row, at))
    }

    /// Whether most rows that a client has sent since evidence against it began are written as the reference does not know.
    pub fn rests_on_writing(&self, client: &Client, since: EventTime) -> bool {
        self.are_most(client, since, |row| row.is_written_otherwise())
    }

    /// Whether something holds of most rows that a client has sent since then.
    fn are_most(&self, client: &Client, since: EventTime, holds: impl Fn(&PreparedRow) -> bool) -> bool {
        let mut prepared = PreparedRow::default();
        // A row's time is known to the second.
        let since = since.plus_seconds(-1);
        let (mut rows, mut holding) = (0_u32, 0_u32);
        for row in client.structure.own.rows(&self.history).filter(|&row| self.history.meta(row).time() >= since) {
            self.similarity.prepare(self.history.row(row), &mut prepared);
            rows += 1;
            holding += u32::from(holds(&prepared));
        }
        2 * holding > rows
    }

    /// Whether a row that is the same would be linked to it, among the rows of its client that are compared.
    fn could_be_linked(&self, prepared: &PreparedRow, client: &Client) -> bool {
        let own_rows = f64::from(client.structure.rows.clamp(1, OWN_ROWS as u32));
        self.similarity.log_p_of_same(prepared, self.baseline.shift) < LINKED - (MULTIPLICITY * own_rows).ln()
    }

    /// Whether the newest rows of many other callers with a past are improbably near to a row.
    pub(super) fn is_near_to_many(&self, prepared: &PreparedRow, sender: SlotRef) -> bool {
        let rows = self.frequent.rows();
        let callers = rows.len() as f64;
        let least = callers * if self.is_start { COMMON_AT_START } else { COMMON };
        let near = LINKED - (MULTIPLICITY * callers).ln();
        let is_near = |row: &[u16]| self.similarity.assess(prepared, row, self.baseline.shift).1 < near;
        callers > 0.0 && rows.filter(|&(at, row)| at != sender && is_near(row)).count() as f64 >= least
    }
}
