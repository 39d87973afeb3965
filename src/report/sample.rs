//! The queries of a replay as the report's pictures need them: all of them up to a bound of memory, beyond it an even sample.
//!
//! Who is a suspect is known only after the queries have passed, so they are kept until the end and grouped then. Memory is fixed
//! ([`BYTES`]). When it is full, the threshold on the hash of a query is halved and every query above it is dropped. What is kept
//! is therefore always an even sample of everything seen (1 in 2ⁿ). The hash is of the query's place in the log, so the sample is
//! the same in every replay. Counts per address and per minute are exact and separate.

use std::collections::BTreeMap;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::event::{Address, Cell, EventTime, Prediction, Provenance, Query};
use crate::hash;
use crate::reference::Reference;

/// Memory for the queries of one model: 128 MiB hold a million queries of fourteen features whole.
const BYTES: usize = 128 * 1024 * 1024;
/// Callers that are counted one by one, at about 100 bytes each; beyond it they share one entry.
const MAX_CALLERS: usize = 500_000;
/// The index of all callers that do not fit the table.
const SOMEBODY: u32 = u32::MAX;
/// Gap code of a caller's first query.
const NO_GAP: u8 = u8::MAX;
/// Bins of the gap histogram per factor of ten. Four show a machine's regular beat without breaking a person's into noise.
pub const BINS_PER_DECADE: usize = 4;
/// Decades of gaps, from a millisecond to beyond a day.
pub const DECADES: usize = 8;
/// Shortest gap that has a bin of its own, in seconds.
pub const SHORTEST_GAP: f64 = 0.001;
/// Slots of the course of time, more than the 140 columns of its picture. When there are more, the slots double in length.
const MAX_SLOTS: usize = 240;
/// Length of a slot at first, in microseconds: ten seconds.
const FIRST_SLOT: i64 = 10_000_000;

/// Kept queries of one model.
#[derive(Debug)]
pub struct Sample {
    reference: Arc<Reference>,
    rows: Vec<Row>,
    /// Cells of the kept rows, one behind the other.
    cells: Vec<Cell>,
    capacity: usize,
    /// A query is kept if its hash, shifted right by this, is 0… that is one in 2ⁿ.
    halvings: u32,
    callers: FxHashMap<(Address, Box<str>), u32>,
    names: Vec<CallerCount>,
    volume: Volume,
}

/// One kept query.
#[derive(Clone, Debug)]
pub struct Row {
    /// When.
    pub at: EventTime,
    /// Where it lay.
    pub provenance: Provenance,
    /// The model's answer.
    pub prediction: Prediction,
    caller: u32,
    gap: u8,
}

/// A caller and its exact number of queries.
#[derive(Clone, Debug)]
pub struct CallerCount {
    /// Address.
    pub address: Address,
    /// Account; empty if the log has none.
    pub account: Box<str>,
    /// Queries.
    pub queries: u64,
}

/// Queries over time, in slots of equal length.
#[derive(Clone, Debug, Default)]
struct Volume {
    slots: BTreeMap<i64, u64>,
    length: i64,
}

// === impl Sample ===

impl Sample {
    /// An empty sample for the model of `reference`.
    pub fn new(reference: Arc<Reference>) -> Self {
        Self::with_bytes(reference, BYTES)
    }

    fn with_bytes(reference: Arc<Reference>, bytes: usize) -> Self {
        let row = size_of::<Row>() + reference.features.len() * size_of::<Cell>();
        let volume = Volume { slots: BTreeMap::new(), length: FIRST_SLOT };
        let (callers, names) = (FxHashMap::default(), Vec::new());
        Self { reference, rows: Vec::new(), cells: Vec::new(), capacity: (bytes / row).max(2), halvings: 0, callers, names, volume }
    }

    /// The model's reference.
    pub fn reference(&self) -> &Reference {
        &self.reference
    }

    /// Takes a query, with the seconds since its caller's previous one.
    pub fn take(&mut self, query: &Query, gap_seconds: Option<f64>) {
        let caller = self.caller(query);
        self.volume.count(query.time);
        if !self.keeps(&query.provenance) || query.row.len() != self.reference.features.len() {
            return;
        }
        if self.rows.len() == self.capacity {
            self.halve();
            if !self.keeps(&query.provenance) {
                return;
            }
        }
        let gap = gap_seconds.map_or(NO_GAP, gap_bin);
        self.rows.push(Row { at: query.time, provenance: query.provenance.clone(), prediction: query.prediction, caller, gap });
        self.cells.extend_from_slice(&query.row);
    }

    fn caller(&mut self, query: &Query) -> u32 {
        // The key is built for the look-up; a report may cost one allocation a query.
        let key = (query.address, query.account.as_str().into());
        let at = match self.callers.get(&key) {
            Some(&at) => at,
            None if self.names.len() == MAX_CALLERS => return SOMEBODY,
            None => {
                let at = u32::try_from(self.names.len()).unwrap_or(SOMEBODY);
                self.names.push(CallerCount { address: query.address, account: query.account.as_str().into(), queries: 0 });
                self.callers.insert(key, at);
                at
            }
        };
        self.names[at as usize].queries += 1;
        at
    }

    fn keeps(&self, provenance: &Provenance) -> bool {
        let place = hash::mix2(u64::from(provenance.row), provenance.offset.cast_unsigned());
        let bits = hash::mix2(place, u64::from(provenance.partition.cast_unsigned()));
        self.halvings == 0 || bits >> (64 - self.halvings) == 0
    }

    /// Drops every second kept query.
    fn halve(&mut self) {
        let width = self.reference.features.len();
        // At 2⁻⁶³ there is nothing left to halve; the log would be longer than anything.
        self.halvings = (self.halvings + 1).min(63);
        let mut kept = 0;
        for at in 0..self.rows.len() {
            if self.keeps(&self.rows[at].provenance) {
                self.rows.swap(kept, at);
                self.cells.copy_within(at * width..(at + 1) * width, kept * width);
                kept += 1;
            }
        }
        self.rows.truncate(kept);
        self.cells.truncate(kept * width);
    }

    /// How many queries stand behind each kept one.
    pub fn one_in(&self) -> u64 {
        1 << self.halvings
    }

    /// The kept queries with their cells, in the order of the log.
    pub fn rows(&self) -> impl Iterator<Item = (&Row, &[Cell])> {
        self.rows.iter().zip(self.cells.chunks_exact(self.reference.features.len().max(1)))
    }

    /// The caller of a kept query; `None` if there were too many callers to tell.
    pub fn caller_of(&self, row: &Row) -> Option<&CallerCount> {
        self.names.get(row.caller as usize)
    }

    /// Index of a kept query's caller, for tables by [`Sample::callers`].
    pub fn caller_index(&self, row: &Row) -> Option<usize> {
        usize::try_from(row.caller).ok().filter(|&at| at < self.names.len())
    }

    /// Every caller, in order of appearance.
    pub fn callers(&self) -> &[CallerCount] {
        &self.names
    }

    /// Queries by slot of time: start in microseconds, length in microseconds, number.
    pub fn volume(&self) -> impl Iterator<Item = (i64, i64, u64)> {
        let length = self.volume.length;
        self.volume.slots.iter().map(move |(slot, number)| (slot * length, length, *number))
    }

    /// Kept queries at the given places.
    pub fn find(&self, wanted: &[Provenance]) -> BTreeMap<Provenance, (Row, Vec<Cell>)> {
        let wanted: std::collections::BTreeSet<_> = wanted.iter().collect();
        self.rows()
            .filter(|(row, _)| wanted.contains(&row.provenance))
            .map(|(row, cells)| (row.provenance.clone(), (row.clone(), cells.to_vec())))
            .collect()
    }
}

// === impl Row ===

impl Row {
    /// Bin of the gap before this query; none for a caller's first.
    pub fn gap_bin(&self) -> Option<usize> {
        (self.gap != NO_GAP).then_some(usize::from(self.gap))
    }
}

/// Bin of a gap: bin 0 is everything below [`SHORTEST_GAP`], the last everything beyond the last decade.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to the bins first")]
fn gap_bin(seconds: f64) -> u8 {
    let most = (BINS_PER_DECADE * DECADES) as f64;
    let place = ((seconds.max(0.0) / SHORTEST_GAP).log10() * BINS_PER_DECADE as f64).floor() + 1.0;
    // The logarithm of zero is -∞, which the clamp takes care of.
    place.clamp(0.0, most) as u8
}

// === impl Volume ===

impl Volume {
    fn count(&mut self, at: EventTime) {
        *self.slots.entry(at.micros().div_euclid(self.length)).or_default() += 1;
        while self.slots.len() > MAX_SLOTS {
            self.length *= 2;
            let mut coarser = BTreeMap::new();
            for (slot, number) in &self.slots {
                *coarser.entry(slot.div_euclid(2)).or_default() += number;
            }
            self.slots = coarser;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::{Column, Dataset, FitOptions, Raw, fit};

    fn sample(bytes: usize) -> Sample {
        let cells = (0..200).map(|i| Raw::Number((i % 50) as f64 * 1.5)).collect::<Vec<_>>();
        let dataset = Dataset {
            features: vec![Column { name: "x".into(), cells: cells.clone() }],
            predictions: cells,
            probabilities: vec![],
        };
        let reference = fit(&dataset, &FitOptions { model: "m".into(), ..FitOptions::default() }).unwrap();
        Sample::with_bytes(Arc::new(reference), bytes)
    }

    fn query(nth: i64) -> Query {
        Query {
            time: EventTime::from_micros(1_772_442_900_000_000 + nth * 1_000_000),
            account: format!("a{}", nth % 7),
            row: vec![Cell::number(1.0)],
            provenance: Provenance { offset: nth, ..Provenance::default() },
            ..Query::default()
        }
    }

    #[test]
    fn memory_is_bounded_and_the_sample_stays_even() {
        let mut sample = sample(64 * 1024);
        for nth in 0..100_000 {
            sample.take(&query(nth), None);
        }
        assert!(sample.rows.len() <= sample.capacity && sample.cells.len() == sample.rows.len());
        #[expect(clippy::cast_precision_loss, reason = "counts")]
        let estimate = (sample.rows.len() as u64 * sample.one_in()) as f64;
        assert!((estimate / 100_000.0 - 1.0).abs() < 0.2, "{estimate}");
        let early = sample.rows.iter().filter(|row| row.provenance.offset < 50_000).count();
        assert!(early * 3 > sample.rows.len() && early * 3 < sample.rows.len() * 2, "{early} of {}", sample.rows.len());
        assert_eq!(sample.callers().iter().map(|caller| caller.queries).sum::<u64>(), 100_000);
        assert_eq!(sample.volume().map(|(_, _, number)| number).sum::<u64>(), 100_000);
        assert!(sample.volume().count() <= MAX_SLOTS);
    }

    #[test]
    fn gaps_fall_into_bins_from_below_a_millisecond_to_beyond_a_day() {
        assert_eq!([0.0, 0.0005, 0.001, 0.0099, 0.01, 1.0].map(gap_bin), [0, 0, 1, 4, 5, 13]);
        assert_eq!([99_999.0, 1e5, 1e9].map(gap_bin), [32, 32, 32]);
    }
}
