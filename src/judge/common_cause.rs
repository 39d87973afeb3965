//! Is an oddity common to callers? A new release of a logger, a unit, a default or a spelling makes every row of many callers odd at once,
//! and nobody is probing.
//!
//! How a row is *written* is told apart from what it *asks*. A column is written in a way that the reference does not know when its value
//! is missing, unseen, unreadable or beyond the range of the reference. The newest row of each of the last [`CALLERS`] callers with a past
//! says how many callers write a column so. Where many do, the column is *common*, and rows that are written so are judged without it:
//! by statistics that were calibrated without it. Rows that are written as the reference knows are judged with all columns as before,
//! whatever others do.
//!
//! An attacker who wants a column to become common needs so many callers with a past that write it so, and gains that his own rows are
//! judged by the other columns. He does not blind the column for anybody else.
//!
//! A caller whose evidence rests on how its rows are written waits until [`WAIT_CALLERS`] other callers were seen since: the first caller
//! that a release reaches looks like an attacker until the second one does.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::window::clients::SlotRef;

/// Callers whose newest rows are compared. Chosen: a tenth of them is six callers, so that a share is no accident, and on usual traffic
/// they are the callers of some minutes.
const CALLERS: usize = 64;
/// Callers before anything is said of what is common. Chosen: a quarter of [`CALLERS`].
const ENOUGH: usize = 16;
/// Share of the callers from which a column is common. Chosen: a hundred honest rows have about one value that the reference does not
/// know; that 7 of 64 have one in the same column has then probability 64!/(7!·57!)·1e-14 = 6e-6.
const COMMON: f64 = 0.1;
/// The same during the warm-up, when nobody has a past. Chosen: a majority, so that an attacker who is there from the start needs most callers.
const COMMON_AT_START: f64 = 0.5;
/// Share below which a column is common no more: half of [`COMMON`], so that a share near it does not flicker.
const LEAVES: f64 = 0.05;
/// Other callers that are seen before evidence from writing alone accuses. Chosen: of a release that reaches a third of the callers, one
/// of 16 shows the same with probability 1 − (2/3)^16 = 0.998.
pub const WAIT_CALLERS: u32 = 16;

/// How the newest row of a caller is written.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Written {
    client: SlotRef,
    /// Number of the row among all rows noted.
    number: u64,
    /// Columns with a value that the reference does not know.
    unknown: Vec<u16>,
}

/// What is common to the callers of one model.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CommonColumns {
    /// Newest row by caller, the oldest first.
    recent: VecDeque<Written>,
    /// Callers by column whose newest row has a value there that the reference does not know.
    counts: Vec<u32>,
    common: Vec<bool>,
    /// Rows noted so far.
    noted: u64,
}

// === impl CommonColumns ===

impl CommonColumns {
    /// Nothing is known yet of `columns` columns.
    pub fn new(columns: usize) -> Self {
        Self { recent: VecDeque::new(), counts: vec![0; columns], common: vec![false; columns], noted: 0 }
    }

    /// Notes the columns of a caller's row that are written as the reference does not know; says whether a column has become common.
    /// `at_start` during the warm-up.
    pub fn note(&mut self, client: SlotRef, unknown: impl Iterator<Item = u16>, at_start: bool) -> bool {
        let known = self.recent.iter().position(|written| written.client == client);
        let mut written = known.and_then(|place| self.recent.remove(place)).unwrap_or_else(|| {
            let oldest = if self.recent.len() >= CALLERS { self.recent.pop_front() } else { None };
            oldest.unwrap_or(Written { client, number: 0, unknown: Vec::new() })
        });
        self.count(&written.unknown, false);
        written.unknown.clear();
        written.unknown.extend(unknown);
        self.count(&written.unknown, true);
        self.noted += 1;
        (written.client, written.number) = (client, self.noted);
        let grew = self.becomes_common(&written.unknown, at_start);
        self.recent.push_back(written);
        grew
    }

    fn count(&mut self, unknown: &[u16], came: bool) {
        for &column in unknown {
            let count = &mut self.counts[usize::from(column)];
            *count = if came { *count + 1 } else { count.saturating_sub(1) };
        }
    }

    /// Marks those of some columns that are common now; says whether there are any.
    fn becomes_common(&mut self, columns: &[u16], at_start: bool) -> bool {
        // The row that is being noted is not in the list.
        let callers = self.recent.len() + 1;
        if callers < ENOUGH {
            return false;
        }
        let least = (if at_start { COMMON_AT_START } else { COMMON }) * callers as f64;
        let mut grew = false;
        for &column in columns {
            let column = usize::from(column);
            if !self.common[column] && f64::from(self.counts[column]) >= least {
                self.common[column] = true;
                grew = true;
            }
        }
        grew
    }

    /// Lets columns go that are no longer written so by many; says whether there are any.
    pub fn release(&mut self) -> bool {
        let most = LEAVES * self.recent.len() as f64;
        let mut released = false;
        for (common, &count) in self.common.iter_mut().zip(&self.counts) {
            if *common && f64::from(count) < most {
                *common = false;
                released = true;
            }
        }
        released
    }

    /// Whether each column is common.
    pub fn common(&self) -> &[bool] {
        &self.common
    }

    /// Whether any of these columns is common.
    pub fn any_common(&self, mut columns: impl Iterator<Item = u16>) -> bool {
        columns.any(|column| self.common[usize::from(column)])
    }

    /// Rows noted so far: a mark to count from with [`CommonColumns::others_since`].
    pub fn mark(&self) -> u64 {
        self.noted
    }

    /// Other callers whose newest row was noted after a mark.
    pub fn others_since(&self, mark: u64, client: SlotRef) -> u32 {
        self.recent.iter().rev().take_while(|written| written.number > mark).filter(|written| written.client != client).count() as u32
    }

    /// Whether enough callers are known to say what is common.
    pub fn knows_enough(&self) -> bool {
        self.recent.len() >= ENOUGH
    }

    /// Callers whose newest row has an unknown value in a column, and callers.
    pub fn callers(&self, column: usize) -> (u32, u32) {
        (self.counts.get(column).copied().unwrap_or(0), self.recent.len() as u32)
    }
}
