//! Values that many callers send now and the reference hardly has: a default, an imputed mean, a constant, a category in another's
//! place, numbers on another scale.
//!
//! Such a value is in the range of the reference, so it looks known. But rows are alike in it because a pipeline wrote it, and not because
//! somebody searches. So it is treated as an unknown value: two of them are no similarity.
//!
//! The newest row of each of the last [`CALLERS`] callers with a past is kept. Every [`EVERY`] rows each place is looked at: which code,
//! or which range of a number's codes, do callers send most beyond [`TIMES`] its share of the reference? How many callers are compared,
//! and from which share on one code is frequent, is as for common columns ([`crate::judge::common_cause`]).

use serde::{Deserialize, Serialize};

use crate::judge::common_cause::{CALLERS, COMMON, ENOUGH, LEAVES};
use crate::signal::quantise::{CodeRange, MISSING};
use crate::window::clients::SlotRef;

/// Rows between two looks. Chosen: a look costs a sort of [`CALLERS`] codes for each place, so it is made for every half of them.
const EVERY: u32 = 32;
/// Most rows without a look after the frequent values changed: what they change is calibrated anew, which takes a tenth of a second. Chosen:
/// so a value that comes and goes costs less than a fifth of a millisecond a row. The first pauses are shorter, as a release changes
/// several columns and callers by and by.
const PAUSE: u32 = 512;
/// Multiple of the reference's share that callers of some minutes may show: they differ from those of a year.
const TIMES: f64 = 3.0;
/// Share beyond that from which a range of several codes is frequent. Chosen: the range with the largest excess of 64 honest callers
/// passes it with a probability below 1e-6 (7 of them or more in a range, Poisson, times the 64 callers that it may begin at).
const COMMON_RANGE: f64 = 0.15;

/// Frequent values of the columns, by place.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct FrequentValues {
    clients: Vec<SlotRef>,
    /// Codes of their newest rows, one row after the other.
    codes: Vec<u16>,
    /// Place of the next caller.
    next: usize,
    /// Rows until the next look, and rows between two looks now.
    pause: u32,
    between: u32,
    frequent: Vec<Option<CodeRange>>,
    /// Places that hold numbers; the others hold categories, whose codes have no order.
    numbers: usize,
    /// Codes of the reference by place, in order; made when first needed.
    #[serde(skip)]
    reference: Vec<Vec<u16>>,
}

/// A range of codes, and the share of the callers that send it beyond what the reference explains.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Excess {
    range: CodeRange,
    share: f64,
}

// === impl FrequentValues ===

impl FrequentValues {
    /// Nothing is known yet of so many places, of which the first `numbers` hold numbers.
    pub(super) fn new(places: usize, numbers: usize) -> Self {
        Self {
            clients: Vec::new(),
            codes: Vec::new(),
            next: 0,
            pause: EVERY,
            between: EVERY,
            frequent: vec![None; places],
            numbers,
            reference: Vec::new(),
        }
    }

    /// The frequent values of each place that has some.
    pub(super) fn values(&self) -> &[Option<CodeRange>] {
        &self.frequent
    }

    /// The newest rows of callers with a past, and who sent them; none before there are enough.
    pub(super) fn rows(&self) -> impl ExactSizeIterator<Item = (SlotRef, &[u16])> {
        let known = if self.clients.len() < ENOUGH { 0 } else { self.clients.len() };
        let width = self.codes.len() / self.clients.len().max(1);
        self.clients.iter().copied().zip(self.codes.chunks_exact(width.max(1))).take(known)
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
        // Each change doubles the pause, and each look without one halves it.
        self.between = if changed { (2 * self.between).min(PAUSE) } else { (self.between / 2).max(EVERY) };
        self.pause = self.between;
        changed
    }

    /// Finds the frequent values anew; says whether they changed. A missing value is none.
    fn look(&mut self, width: usize, reference: &[u16]) -> bool {
        if self.reference.is_empty() {
            self.reference = (0..self.frequent.len()).map(|place| sorted(place, width, reference)).collect();
        }
        let mut changed = false;
        for place in 0..self.frequent.len() {
            let column = sorted(place, width, &self.codes);
            let callers = Column { codes: &column, rows: self.clients.len() as f64 };
            let reference = &self.reference[place];
            let known = Column { codes: reference, rows: reference.len().max(1) as f64 };
            let most = if place < self.numbers { range_in_excess(callers, known) } else { code_in_excess(callers, known) };
            let now = choose(self.frequent[place].map(|range| excess_of(range, callers, known)), most);
            changed |= self.frequent[place] != now;
            self.frequent[place] = now;
        }
        changed
    }
}

/// The codes of one place, in order, without missing values; and the number of rows, missing values included.
#[derive(Clone, Copy)]
struct Column<'a> {
    codes: &'a [u16],
    rows: f64,
}

// === impl Column ===

impl Column<'_> {
    /// Rows with a code below this one.
    fn below(&self, code: u32) -> usize {
        self.codes.partition_point(|&other| u32::from(other) < code)
    }

    /// Share of the rows that so many are.
    fn share(&self, rows: usize) -> f64 {
        rows as f64 / self.rows
    }

    /// Number of rows with a code in a range.
    fn count(&self, range: CodeRange) -> usize {
        self.below(u32::from(range.high) + 1) - self.below(u32::from(range.low))
    }
}

/// The codes of a place, in order, of rows that lie one after the other.
fn sorted(place: usize, width: usize, rows: &[u16]) -> Vec<u16> {
    let mut column: Vec<u16> = rows.iter().skip(place).step_by(width).copied().filter(|&code| code != MISSING).collect();
    column.sort_unstable();
    column
}

/// Which values are frequent: those that were, as long as some callers still send them and no others are far more frequent; otherwise
/// those in excess, if they are enough.
fn choose(before: Option<Excess>, most: Option<Excess>) -> Option<CodeRange> {
    let enough = |excess: &Excess| excess.share >= if excess.range.is_one_code() { COMMON } else { COMMON_RANGE };
    let most = most.filter(enough);
    match before.filter(|before| before.share >= LEAVES) {
        Some(before) if most.is_none_or(|most| most.share < before.share + COMMON) => Some(before.range),
        _ => most.map(|most| most.range),
    }
}

/// How far a range is in excess.
fn excess_of(range: CodeRange, callers: Column<'_>, reference: Column<'_>) -> Excess {
    Excess { range, share: excess_share(callers.share(callers.count(range)), reference.share(reference.count(range))) }
}

/// What the reference does not explain of a share of the callers.
fn excess_share(callers: f64, reference: f64) -> f64 {
    callers - TIMES * reference
}

/// The single code that callers send most beyond what the reference explains.
fn code_in_excess(callers: Column<'_>, reference: Column<'_>) -> Option<Excess> {
    let codes = callers.codes.chunk_by(|a, b| a == b).filter_map(|run| run.first());
    let excesses = codes.map(|&code| excess_of(CodeRange { low: code, high: code }, callers, reference));
    excesses.reduce(|most, excess| if excess.share > most.share { excess } else { most })
}

/// The range of codes that callers send most beyond what the reference explains: the largest sum of consecutive differences, in one pass.
/// Between two codes of callers lie rows of the reference alone.
fn range_in_excess(callers: Column<'_>, reference: Column<'_>) -> Option<Excess> {
    let mut most: Option<Excess> = None;
    // The best range that ends with the last code, and rows of the reference up to that code.
    let mut open: Option<(Excess, usize)> = None;
    for run in callers.codes.chunk_by(|a, b| a == b) {
        let (code, sent) = (run[0], callers.share(run.len()));
        let (below, up_to) = (reference.below(u32::from(code)), reference.below(u32::from(code) + 1));
        let alone =
            Excess { range: CodeRange { low: code, high: code }, share: excess_share(sent, reference.share(up_to - below)) };
        let longer = open.map(|(open, before)| Excess {
            range: CodeRange { low: open.range.low, high: code },
            share: open.share + excess_share(sent, reference.share(up_to - before)),
        });
        let best = longer.filter(|longer| longer.share > alone.share).unwrap_or(alone);
        open = Some((best, up_to));
        if most.is_none_or(|most| best.share > most.share) {
            most = Some(best);
        }
    }
    most
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
        let mut values = FrequentValues::new(2, 0);
        note(&mut values, 64, |caller| if caller % 11 == 0 { 50 } else { 100 + caller as u16 });
        assert_eq!(values.values(), [None, None], "six of 64");
        note(&mut values, 64, |caller| if caller % 3 == 0 { 50 } else { 100 + caller as u16 });
        assert_eq!(
            values.values(),
            [Some(CodeRange { low: 50, high: 50 }), None],
            "what everybody of the reference has is nothing new"
        );
        note(&mut values, 64, |caller| 100 + caller as u16);
        assert_eq!(values.values(), [None, None]);
    }

    #[test]
    fn one_caller_makes_no_value_frequent() {
        let mut values = FrequentValues::new(2, 0);
        note(&mut values, 40, |caller| 100 + caller as u16);
        for _ in 0..1_000 {
            assert!(!values.note(SlotRef { slot: 3, generation: 1 }, &[50, 7], &[1, 7, 2, 7]));
        }
    }

    #[test]
    fn numbers_that_many_callers_send_in_a_narrow_range_are_frequent() {
        let mut values = FrequentValues::new(1, 1);
        let reference: Vec<u16> = (0..1_000).map(|i| 10_000 + 20 * i).collect();
        let mut send = |value: &dyn Fn(u32) -> u16| {
            for caller in (0..20).flat_map(|_| 0..64) {
                values.note(SlotRef { slot: caller, generation: 1 }, &[value(caller)], &reference);
            }
            values.values()[0]
        };
        let spread = |caller: u32| 10_000 + 311 * caller as u16;
        assert_eq!(send(&spread), None, "as in the reference");
        // A third of the callers divides by a hundred.
        let range = send(&|caller| if caller % 3 == 0 { 10_000 + 3 * caller as u16 } else { spread(caller) }).unwrap();
        assert!(range.low == 10_000 && (10_189..11_000).contains(&range.high), "{range:?}");
        assert_eq!(send(&spread), None);
    }

    #[test]
    fn the_range_with_the_largest_excess_is_what_trying_all_ranges_gives() {
        for seed in 0..200_u64 {
            let mut codes: Vec<u16> = (0..40).map(|i| crate::hash::mix2(seed, i) as u16 % 300).collect();
            let mut others: Vec<u16> = (0..90).map(|i| crate::hash::mix2(seed + 1_000, i) as u16 % 300).collect();
            codes.sort_unstable();
            others.sort_unstable();
            let (callers, reference) = (Column { codes: &codes, rows: 40.0 }, Column { codes: &others, rows: 90.0 });
            let found = range_in_excess(callers, reference).unwrap();
            let ranges = (0..40).flat_map(|i| (i..40).map(move |j| (i, j)));
            let best = ranges.map(|(i, j)| excess_of(CodeRange { low: codes[i], high: codes[j] }, callers, reference).share);
            assert!((found.share - best.fold(f64::MIN, f64::max)).abs() < 1e-12);
            assert!((found.share - excess_of(found.range, callers, reference).share).abs() < 1e-12);
        }
    }
}
