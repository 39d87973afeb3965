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
//! that a release reaches looks like an attacker until the second one does. Where there are not so many callers it waits for
//! [`LONGEST_WAIT_SECONDS`].

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::event::{EARLIEST, EventTime};
use crate::window::clients::SlotRef;

/// Callers whose newest rows are compared. Chosen: a tenth of them is six callers, so that a share is no accident, and on usual traffic
/// they are the callers of some minutes.
pub(super) const CALLERS: usize = 64;
/// Callers before anything is said of what is common. Chosen: a quarter of [`CALLERS`].
pub(super) const ENOUGH: usize = 16;
/// Share of the callers from which a column is common. Chosen: a hundred honest rows have about one value that the reference does not
/// know; that 7 of 64 have one in the same column has then probability 64!/(7!·57!)·1e-14 = 6e-6.
pub(super) const COMMON: f64 = 0.1;
/// The same during the warm-up, when nobody has a past. Chosen: a majority, so that an attacker who is there from the start needs most callers.
pub(super) const COMMON_AT_START: f64 = 0.5;
/// Share below which a column is common no more: half of [`COMMON`], so that a share near it does not flicker.
pub(super) const LEAVES: f64 = 0.05;
/// Other callers that are seen before evidence from writing alone accuses. Chosen: of a release that reaches a third of the callers, one
/// of 16 shows the same with probability 1 − (2/3)^16 = 0.998.
pub(super) const WAIT_CALLERS: u32 = 16;

/// Seconds after which a caller waits no more. Chosen: where 16 callers do not come within half an hour, most callers never do.
pub(super) const LONGEST_WAIT_SECONDS: f64 = 1800.0;

/// A caller's wait for others: rows noted when it began, and the time.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Wait {
    mark: u64,
    since: EventTime,
}

// === impl Wait ===

impl Wait {
    /// A wait that is over.
    pub const OVER: Self = Self { mark: 0, since: EARLIEST };
}

/// How the newest row of a caller is written.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Written {
    client: SlotRef,
    at: EventTime,
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
    /// Since when a column is written so, for those that are common.
    since: Vec<Option<EventTime>>,
    /// Rows noted so far.
    noted: u64,
}

// === impl CommonColumns ===

impl CommonColumns {
    /// Nothing is known yet of `columns` columns.
    pub fn new(columns: usize) -> Self {
        Self {
            recent: VecDeque::new(),
            counts: vec![0; columns],
            common: vec![false; columns],
            since: vec![None; columns],
            noted: 0,
        }
    }

    /// Notes the columns of a caller's row that are written as the reference does not know; says whether a column has become common.
    /// `at_start` during the warm-up.
    pub fn note(&mut self, client: SlotRef, at: EventTime, unknown: impl Iterator<Item = u16>, at_start: bool) -> bool {
        let known = self.recent.iter().position(|written| written.client == client);
        let mut written = known.and_then(|place| self.recent.remove(place)).unwrap_or_else(|| {
            let oldest = if self.recent.len() >= CALLERS { self.recent.pop_front() } else { None };
            oldest.unwrap_or(Written { client, at, number: 0, unknown: Vec::new() })
        });
        self.count(&written.unknown, false);
        written.unknown.clear();
        written.unknown.extend(unknown);
        self.count(&written.unknown, true);
        self.noted += 1;
        (written.client, written.number, written.at) = (client, self.noted, at);
        self.recent.push_back(written);
        self.becomes_common(at_start)
    }

    fn count(&mut self, unknown: &[u16], came: bool) {
        for &column in unknown {
            let count = &mut self.counts[usize::from(column)];
            *count = if came { *count + 1 } else { count.saturating_sub(1) };
        }
    }

    /// Marks the columns of the newest row that are common now; says whether there are any.
    fn becomes_common(&mut self, at_start: bool) -> bool {
        let Self { recent, counts, common, since, .. } = self;
        let Some(newest) = recent.back().filter(|_| recent.len() >= ENOUGH) else { return false };
        let least = (if at_start { COMMON_AT_START } else { COMMON }) * recent.len() as f64;
        let mut grew = false;
        for &column in &newest.unknown {
            let at = usize::from(column);
            if !common[at] && f64::from(counts[at]) >= least {
                common[at] = true;
                since[at] = recent.iter().filter(|written| written.unknown.contains(&column)).map(|written| written.at).min();
                grew = true;
            }
        }
        grew
    }

    /// Lets columns go that are no longer written so by many; says whether there are any.
    pub fn release(&mut self) -> bool {
        let most = LEAVES * self.recent.len() as f64;
        let mut released = false;
        for (column, &count) in self.counts.iter().enumerate() {
            if self.common[column] && f64::from(count) < most {
                (self.common[column], self.since[column]) = (false, None);
                released = true;
            }
        }
        released
    }

    /// Whether each column is common.
    pub fn common(&self) -> &[bool] {
        &self.common
    }

    /// Since when a column is written so; `None` if it is not common.
    pub fn since(&self, column: usize) -> Option<EventTime> {
        self.since.get(column).copied().flatten()
    }

    /// A wait for other callers that begins now.
    pub fn wait(&self, now: EventTime) -> Wait {
        Wait { mark: self.noted, since: now }
    }

    /// Whether a caller has waited long enough: so many others were seen since, or so much time has passed.
    pub fn is_over(&self, wait: Wait, client: SlotRef, now: EventTime) -> bool {
        now.seconds_since(wait.since) >= LONGEST_WAIT_SECONDS || self.others_since(wait.mark, client) >= WAIT_CALLERS
    }

    /// Other callers whose newest row was noted after so many rows.
    fn others_since(&self, mark: u64, client: SlotRef) -> u32 {
        self.recent.iter().rev().take_while(|written| written.number > mark).filter(|written| written.client != client).count()
            as u32
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

#[cfg(test)]
mod tests {
    use super::*;

    fn client(slot: u32) -> SlotRef {
        SlotRef { slot, generation: 1 }
    }

    /// Notes one row of each of some callers; those for which `odd` holds write column 2 otherwise.
    fn note(common: &mut CommonColumns, callers: std::ops::Range<u32>, at_start: bool, odd: impl Fn(u32) -> bool) -> bool {
        let mut grew = false;
        for caller in callers {
            let unknown = odd(caller).then_some(2);
            grew |= common.note(client(caller), EventTime::from_micros(i64::from(caller)), unknown.into_iter(), at_start);
        }
        grew
    }

    #[test]
    fn a_column_is_common_when_a_tenth_of_the_callers_write_it_so_and_until_hardly_any_do() {
        let mut common = CommonColumns::new(4);
        assert!(!note(&mut common, 0..64, false, |caller| caller < 6), "six of 64");
        assert!(note(&mut common, 6..7, false, |_| true), "seven");
        assert_eq!(common.common(), [false, false, true, false]);
        assert!(!common.release(), "they still do");
        note(&mut common, 0..64, false, |caller| caller < 3);
        assert!(common.release() && !common.common()[2], "three of 64");
        assert_eq!(common.since(2), None);
    }

    #[test]
    fn one_caller_makes_nothing_common_however_much_it_sends() {
        let mut common = CommonColumns::new(4);
        note(&mut common, 0..40, false, |_| false);
        for _ in 0..1_000 {
            assert!(!note(&mut common, 7..8, false, |_| true));
        }
        assert_eq!(common.callers(2), (1, 40));
    }

    #[test]
    fn nothing_is_common_among_a_few_callers_and_at_the_start_it_takes_a_majority() {
        let mut common = CommonColumns::new(4);
        assert!(!note(&mut common, 0..ENOUGH as u32 - 1, false, |_| true));
        assert!(note(&mut common, 15..16, false, |_| true));
        let mut common = CommonColumns::new(4);
        assert!(!note(&mut common, 0..64, true, |caller| caller % 5 < 2), "two fifths");
        assert!(note(&mut common, 0..64, true, |caller| caller % 5 < 3), "three fifths");
    }

    #[test]
    fn the_counts_are_what_a_count_over_the_rows_gives() {
        let mut common = CommonColumns::new(8);
        for i in 0..5_000_u64 {
            let random = crate::hash::mix(i);
            let unknown = (0..8).filter(|column| random >> (8 * column) & 15 == 0);
            common.note(client((random >> 32) as u32 % 90), EventTime::default(), unknown, false);
            for column in 0..8_u16 {
                let held = common.recent.iter().filter(|written| written.unknown.contains(&column)).count();
                assert_eq!(common.callers(usize::from(column)).0 as usize, held);
            }
        }
        assert_eq!(common.recent.len(), CALLERS);
    }

    #[test]
    fn a_wait_ends_with_enough_other_callers_or_with_time() {
        let mut common = CommonColumns::new(4);
        note(&mut common, 0..10, false, |_| false);
        let wait = common.wait(EARLIEST);
        note(&mut common, 3..3 + WAIT_CALLERS, false, |_| false);
        note(&mut common, 3..4, false, |_| false);
        assert!(!common.is_over(wait, client(3), EARLIEST), "it is no other caller itself");
        assert!(common.is_over(wait, client(50), EARLIEST));
        let minutes = |minutes: i64| EARLIEST.plus_seconds(60 * minutes);
        assert!(!common.is_over(wait, client(3), minutes(29)) && common.is_over(wait, client(3), minutes(30)));
        assert!(common.is_over(Wait::OVER, client(3), minutes(30)));
    }

    #[test]
    fn a_common_column_says_since_when() {
        let mut common = CommonColumns::new(4);
        note(&mut common, 0..20, false, |_| true);
        assert_eq!(common.since(2), Some(EventTime::from_micros(0)));
    }
}
