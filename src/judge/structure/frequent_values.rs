//! Values that many callers send now and the reference hardly has: a default, an imputed mean, a constant.
//!
//! Such a value is in the range of the reference, so it looks known. But rows are alike in it because a pipeline wrote it, and not because
//! somebody searches. So it is treated as an unknown value: two of them are no similarity.
//!
//! The newest row of each of the last [`CALLERS`] callers with a past is kept, and every [`EVERY`] rows the most frequent code of each
//! place is looked at. How many callers are compared, and from which share on a value is frequent, beyond [`TIMES`] its share of the
//! reference, is as for common columns ([`crate::judge::common_cause`]).

use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};

use crate::judge::common_cause::{CALLERS, COMMON, ENOUGH, LEAVES};
use crate::signal::quantise::MISSING;
use crate::window::clients::SlotRef;

/// Rows between two looks. Chosen: a look costs a sort of [`CALLERS`] codes for each place, so it is made for every half of them.
const EVERY: u32 = 32;
/// Rows without a look after the frequent values changed: what they change is calibrated anew, which takes a tenth of a second. Chosen: so
/// a value that comes and goes costs less than a fifth of a millisecond a row.
const PAUSE: u32 = 512;
/// Multiple of the reference's share that callers of some minutes may show: they differ from those of a year.
const TIMES: f64 = 3.0;
/// Shares of the reference that are remembered, so that a code is counted once.
const REMEMBERED: usize = 1024;

/// Frequent values of the columns, by place.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct FrequentValues {
    clients: Vec<SlotRef>,
    /// Codes of their newest rows, one row after the other.
    codes: Vec<u16>,
    /// Place of the next caller.
    next: usize,
    /// Rows until the next look.
    pause: u32,
    frequent: Vec<Option<u16>>,
    /// Shares of the reference by place and code; counted again when needed.
    #[serde(skip)]
    shares: FxHashMap<(usize, u16), f64>,
}

// === impl FrequentValues ===

impl FrequentValues {
    /// Nothing is known yet of so many places.
    pub(super) fn new(places: usize) -> Self {
        Self {
            clients: Vec::new(),
            codes: Vec::new(),
            next: 0,
            pause: EVERY,
            frequent: vec![None; places],
            shares: FxHashMap::default(),
        }
    }

    /// The frequent value of each place that has one.
    pub(super) fn values(&self) -> &[Option<u16>] {
        &self.frequent
    }

    /// Notes a caller's row; `reference` holds the rows of the reference, one after the other. Says whether the frequent values changed.
    pub(super) fn note(&mut self, client: SlotRef, row: &[u16], reference: &[u16]) -> bool {
        let width = row.len();
        let at = self.clients.iter().position(|&known| known == client).unwrap_or_else(|| {
            if self.clients.len() < CALLERS {
                self.clients.push(client);
                self.codes.resize(self.clients.len() * width, 0);
                return self.clients.len() - 1;
            }
            let at = self.next;
            self.next = (self.next + 1) % CALLERS;
            self.clients[at] = client;
            at
        });
        self.codes[at * width..(at + 1) * width].copy_from_slice(row);
        self.pause = self.pause.saturating_sub(1);
        if self.pause > 0 || self.clients.len() < ENOUGH {
            return false;
        }
        let changed = self.look(width, reference);
        self.pause = if changed { PAUSE } else { EVERY };
        changed
    }

    /// Finds the frequent values anew; says whether they changed. A missing value is none.
    fn look(&mut self, width: usize, reference: &[u16]) -> bool {
        let callers = self.clients.len() as f64;
        let mut column = Vec::with_capacity(CALLERS);
        let mut changed = false;
        for place in 0..self.frequent.len() {
            column.clear();
            column.extend(self.codes.iter().skip(place).step_by(width).filter(|&&code| code != MISSING));
            column.sort_unstable();
            let most = column.chunk_by(|a, b| a == b).max_by_key(|run| run.len()).map(|run| (run[0], run.len()));
            let Some((code, count)) = most else { continue };
            let known = self.frequent[place] == Some(code);
            let least = if known { LEAVES } else { COMMON };
            let share = count as f64 / callers;
            let is_frequent = share >= least && share >= least + TIMES * self.share_of_reference(place, code, width, reference);
            let now = is_frequent.then_some(code);
            changed |= self.frequent[place] != now;
            self.frequent[place] = now;
        }
        changed
    }

    /// Share of the rows of the reference with a code in a place.
    fn share_of_reference(&mut self, place: usize, code: u16, width: usize, reference: &[u16]) -> f64 {
        if self.shares.len() >= REMEMBERED {
            self.shares.clear();
        }
        *self.shares.entry((place, code)).or_insert_with(|| {
            let column = reference.iter().skip(place).step_by(width);
            column.clone().filter(|&&other| other == code).count() as f64 / column.count().max(1) as f64
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Notes a row of two places for each of `callers` callers, twice, so that a look is made; the first place holds what `value` says.
    fn note(values: &mut FrequentValues, callers: u32, value: impl Fn(u32) -> u16) {
        let reference: Vec<u16> = (0..200_u16).flat_map(|i| [i % 100, 7]).collect();
        for caller in (0..PAUSE / callers + 2).flat_map(|_| 0..callers) {
            values.note(SlotRef { slot: caller, generation: 1 }, &[value(caller), 7], &reference);
        }
    }

    #[test]
    fn a_value_that_many_callers_send_and_the_reference_hardly_has_is_frequent_until_few_do() {
        let mut values = FrequentValues::new(2);
        note(&mut values, 64, |caller| if caller % 11 == 0 { 50 } else { 100 + caller as u16 });
        assert_eq!(values.values(), [None, None], "six of 64");
        note(&mut values, 64, |caller| if caller % 3 == 0 { 50 } else { 100 + caller as u16 });
        assert_eq!(values.values(), [Some(50), None], "what everybody of the reference has is nothing new");
        note(&mut values, 64, |caller| 100 + caller as u16);
        assert_eq!(values.values(), [None, None]);
    }

    #[test]
    fn one_caller_makes_no_value_frequent() {
        let mut values = FrequentValues::new(2);
        note(&mut values, 40, |caller| 100 + caller as u16);
        for _ in 0..1_000 {
            assert!(!values.note(SlotRef { slot: 3, generation: 1 }, &[50, 7], &[1, 7, 2, 7]));
        }
    }
}
