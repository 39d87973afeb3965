//! The user's log in memory, compactly and within a bound.
//!
//! A drill judges the same log hundreds of times, so it is decoded once. A day of a busy service does not fit into memory, and
//! dropping single events would tear patterns apart: what is dropped beyond the bound is *whole callers*, by the hash of their
//! address, so that everything a kept caller did is there and a NAT keeps its users. The share kept is halved as often as needed
//! while reading, which takes one pass and gives the same callers every time. `--last` drops what is older instead.
//!
//! What was left out is part of [`Facts`], and of every report.

use std::sync::Arc;

use rustc_hash::FxHashMap;
use serde::Serialize;

use crate::decode::{Batch, Decoder};
use crate::event::{Address, Cell, EventTime, Prediction, Query};
use crate::hash::{mix, mix2, text};
use crate::outcome::RejectReason;
use crate::source::Source;
use crate::window::{Standing, Watermark};

/// Feature values kept at most, eight bytes each: 160 megabytes, a million and a half rows of fourteen features.
pub const MAX_VALUES: usize = 20_000_000;
/// Two days, as in the engine: a single event farther ahead does not move event time.
const MAX_JUMP_SECONDS: i64 = 2 * 86_400;
/// Halvings of the kept share after which one caller alone must be larger than the bound.
const MAX_HALVINGS: u32 = 24;

/// Bounds of what is kept.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Limits {
    /// Events kept at most.
    pub events: usize,
    /// Only what is not older than this, in seconds before the newest event; none keeps all.
    pub last_seconds: Option<f64>,
}

/// What was read and what of it is kept.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Facts {
    /// RecordBatch and rows read.
    pub read: u64,
    /// Events kept.
    pub kept: u64,
    /// Rejected, events of other models not counted.
    pub rejected: u64,
    /// Events of other models.
    pub other_models: u64,
    /// The first rejection in words, with its line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_rejection: Option<String>,
    /// Events older than `--last`.
    pub older: u64,
    /// Events of callers that were left out to keep within memory.
    pub of_callers_left_out: u64,
    /// Share of the callers kept: one in so many.
    pub one_caller_in: u64,
    /// Digest of the kept events, whatever the packing of the file.
    pub digest: String,
}

/// Who asks: an account at an address.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Who {
    /// The address.
    pub address: Address,
    /// The account; empty for none.
    pub account: Arc<str>,
}

/// A log of one model.
#[derive(Clone, Debug)]
pub struct Log {
    /// Model name.
    pub model: String,
    /// What was read.
    pub facts: Facts,
    /// Everybody who asks; events name them by index.
    pub callers: Vec<Who>,
    width: usize,
    times: Vec<EventTime>,
    who: Vec<u32>,
    rows: Vec<Cell>,
    answers: Vec<Prediction>,
    lines: Vec<i64>,
}

/// Why a log cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum LogError<E> {
    /// The source broke.
    #[error(transparent)]
    Source(E),
    /// One caller is larger than the bound.
    #[error(
        "one caller alone sends more than the {0} events that are kept in memory; give --last HOURS to look at less of the log, or a larger --max-events"
    )]
    OneCaller(usize),
}

/// Reads a log.
#[derive(Debug)]
pub struct Reader {
    log: Log,
    limits: Limits,
    known: FxHashMap<(Address, u64), u32>,
    watermark: Watermark,
    newest: Option<EventTime>,
    halvings: u32,
    /// Events before this one are older than `--last`.
    start: usize,
}

// === impl Reader ===

impl Reader {
    /// A reader for the events of a model with `width` features; `lateness_seconds` is the engine's.
    pub fn new(model: &str, width: usize, lateness_seconds: u32, limits: Limits) -> Self {
        let events = limits.events.min(MAX_VALUES / width.max(1)).max(1);
        Self {
            log: Log {
                model: model.to_owned(),
                facts: Facts::default(),
                callers: Vec::new(),
                width,
                times: Vec::new(),
                who: Vec::new(),
                rows: Vec::new(),
                answers: Vec::new(),
                lines: Vec::new(),
            },
            limits: Limits { events, ..limits },
            known: FxHashMap::default(),
            watermark: Watermark::new(i64::from(lateness_seconds), MAX_JUMP_SECONDS),
            newest: None,
            halvings: 0,
            start: 0,
        }
    }

    /// Reads a source to its end; `progress` is called now and then. Stops early if `too_much` says so of the facts so far.
    ///
    /// # Errors
    /// A source that breaks, or a single caller beyond the bound.
    pub fn read<S: Source>(
        mut self,
        source: &mut S,
        decoder: &mut Decoder,
        mut progress: impl FnMut(),
        too_much: impl Fn(&Facts) -> bool,
    ) -> Result<Log, LogError<S::Error>> {
        let mut batch = Batch::default();
        while let Some(record) = source.next().map_err(LogError::Source)? {
            batch.clear();
            let line = record.provenance.offset;
            match decoder.decode(&record, &mut batch) {
                Ok(rows) => {
                    self.log.facts.read += rows as u64;
                    for query in batch.queries() {
                        self.take(query).map_err(LogError::OneCaller)?;
                    }
                }
                Err(rejection) => {
                    let facts = &mut self.log.facts;
                    facts.read += 1;
                    let counter =
                        if rejection.reason == RejectReason::UnknownModel { &mut facts.other_models } else { &mut facts.rejected };
                    *counter += 1;
                    if facts.first_rejection.is_none() {
                        facts.first_rejection = Some(format!("line {}: {rejection}", line + 1));
                    }
                    if too_much(facts) {
                        break;
                    }
                }
            }
            if self.log.facts.read.is_multiple_of(4096) {
                progress();
            }
        }
        Ok(self.finish())
    }

    fn take(&mut self, query: &Query) -> Result<(), usize> {
        if query.model != self.log.model {
            self.log.facts.other_models += 1;
            return Ok(());
        }
        if self.watermark.observe(query.time) == Standing::OnTime {
            self.newest = Some(self.newest.map_or(query.time, |newest| newest.max(query.time)));
            self.forget_older();
        }
        if !self.keeps(query.address, &query.account, query.provenance.offset) {
            self.log.facts.of_callers_left_out += 1;
            return Ok(());
        }
        let who = self.intern(query);
        let log = &mut self.log;
        log.times.push(query.time);
        log.who.push(who);
        log.rows.extend_from_slice(&query.row);
        log.answers.push(query.prediction);
        log.lines.push(query.provenance.offset);
        while self.log.times.len() - self.start > self.limits.events {
            if self.halvings == MAX_HALVINGS {
                return Err(self.limits.events);
            }
            self.halvings += 1;
            self.thin();
        }
        Ok(())
    }

    fn intern(&mut self, query: &Query) -> u32 {
        let account = if query.account.is_empty() { 0 } else { text(&query.account) };
        let log = &mut self.log;
        *self.known.entry((query.address, account)).or_insert_with(|| {
            log.callers.push(Who { address: query.address, account: query.account.as_str().into() });
            log.callers.len() as u32 - 1
        })
    }

    /// Whether a caller is among those kept. Addresses are kept whole; who has none, by account; who has neither, by line.
    fn keeps(&self, address: Address, account: &str, line: i64) -> bool {
        let hash = match address {
            Address::Ip(std::net::IpAddr::V4(v4)) => mix2(4, u64::from(v4.to_bits())),
            Address::Ip(std::net::IpAddr::V6(v6)) => mix2(6, mix2((v6.to_bits() >> 64) as u64, v6.to_bits() as u64)),
            Address::Unknown if !account.is_empty() => mix2(1, text(account)),
            Address::Unknown => mix2(2, line as u64),
        };
        self.halvings == 0 || hash >> (64 - self.halvings) == 0
    }

    fn forget_older(&mut self) {
        let (Some(newest), Some(seconds)) = (self.newest, self.limits.last_seconds) else { return };
        while self.start < self.log.times.len() && newest.seconds_since(self.log.times[self.start]) > seconds {
            self.start += 1;
            self.log.facts.older += 1;
        }
        // Moving the rest to the front costs as much as it frees, so it is done by halves.
        if self.start > 4096 && self.start > self.log.times.len() / 2 {
            self.drop_front();
        }
    }

    fn drop_front(&mut self) {
        let (log, start) = (&mut self.log, std::mem::take(&mut self.start));
        log.times.drain(..start);
        log.who.drain(..start);
        log.rows.drain(..start * log.width);
        log.answers.drain(..start);
        log.lines.drain(..start);
    }

    /// Leaves out the callers that are no longer kept.
    fn thin(&mut self) {
        self.drop_front();
        let keep: Vec<bool> = (0..self.log.times.len())
            .map(|event| {
                let who = &self.log.callers[self.log.who[event] as usize];
                self.keeps(who.address, &who.account, self.log.lines[event])
            })
            .collect();
        self.log.facts.of_callers_left_out += keep.iter().filter(|keep| !**keep).count() as u64;
        self.log.retain(&keep);
        // Callers without events go, or the table would grow with everybody who ever asked.
        self.known = self.log.forget_callers().into_iter().collect();
    }

    fn finish(mut self) -> Log {
        self.drop_front();
        self.log.forget_callers();
        self.log.facts.kept = self.log.len() as u64;
        self.log.facts.one_caller_in = 1 << self.halvings;
        self.log.facts.digest = format!("{:016x}", self.log.digest());
        self.log
    }
}

// === impl Log ===

impl Log {
    /// Number of events.
    pub fn len(&self) -> usize {
        self.times.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.times.is_empty()
    }

    /// When an event happened.
    pub fn time(&self, event: usize) -> EventTime {
        self.times[event]
    }

    /// Who asked, as an index into [`Log::callers`].
    pub fn caller(&self, event: usize) -> usize {
        self.who[event] as usize
    }

    /// What was asked.
    pub fn row(&self, event: usize) -> &[Cell] {
        &self.rows[event * self.width..(event + 1) * self.width]
    }

    /// What was answered.
    pub fn answer(&self, event: usize) -> Prediction {
        self.answers[event]
    }

    /// Writes an event into a query, as the decoder did.
    pub fn fill(&self, event: usize, query: &mut Query) {
        let who = &self.callers[self.caller(event)];
        query.time = self.time(event);
        query.address = who.address;
        query.account.clear();
        query.account.push_str(&who.account);
        query.row.clear();
        query.row.extend_from_slice(self.row(event));
        query.prediction = self.answer(event);
        query.provenance.offset = self.lines[event];
    }

    /// Leaves out the events whose flag is false.
    pub fn retain(&mut self, keep: &[bool]) {
        let mut to = 0;
        for from in (0..self.times.len()).filter(|&event| keep.get(event).copied().unwrap_or(true)) {
            self.times[to] = self.times[from];
            self.who[to] = self.who[from];
            self.answers[to] = self.answers[from];
            self.lines[to] = self.lines[from];
            self.rows.copy_within(from * self.width..(from + 1) * self.width, to * self.width);
            to += 1;
        }
        self.times.truncate(to);
        self.who.truncate(to);
        self.answers.truncate(to);
        self.lines.truncate(to);
        self.rows.truncate(to * self.width);
    }

    /// Drops callers without events and returns the others with their new numbers.
    fn forget_callers(&mut self) -> Vec<((Address, u64), u32)> {
        let mut number: Vec<Option<u32>> = vec![None; self.callers.len()];
        let (mut callers, mut known) = (Vec::new(), Vec::new());
        for who in &mut self.who {
            let old = *who as usize;
            *who = *number[old].get_or_insert_with(|| {
                let caller = &self.callers[old];
                let account = if caller.account.is_empty() { 0 } else { text(&caller.account) };
                known.push(((caller.address, account), callers.len() as u32));
                callers.push(caller.clone());
                callers.len() as u32 - 1
            });
        }
        self.callers = callers;
        known
    }

    /// A digest of the events: the same log gives the same, however it was packed.
    fn digest(&self) -> u64 {
        let names: Vec<u64> = self.callers.iter().map(|who| mix2(text(&who.address.to_string()), text(&who.account))).collect();
        (0..self.len()).fold(self.len() as u64, |digest, event| {
            let row = self.row(event).iter().fold(digest, |hash, cell| mix(hash ^ cell.bits()));
            mix2(row ^ names[self.caller(event)], (self.time(event).micros() as u64) ^ self.answer(event).cell().bits())
        })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A log of (second, address, account) with one feature that counts the events.
    pub(in crate::drill) fn of(events: &[(i64, &str, &str)]) -> Log {
        let mut reader = Reader::new("m", 1, 60, Limits { events: usize::MAX, last_seconds: None });
        take(&mut reader, events);
        reader.finish()
    }

    fn take(reader: &mut Reader, events: &[(i64, &str, &str)]) {
        for (nth, &(second, address, account)) in events.iter().enumerate() {
            let query = Query {
                time: EventTime::from_micros(1_772_409_600_000_000).plus_seconds(second),
                model: "m".into(),
                address: Address::parse(address).unwrap(),
                account: account.into(),
                row: vec![Cell::number(nth as f64)],
                prediction: Prediction::Score(0.5),
                ..Query::default()
            };
            reader.log.facts.read += 1;
            reader.take(&query).unwrap();
        }
    }

    #[test]
    fn what_is_older_than_asked_for_is_counted_and_gone() {
        let mut reader = Reader::new("m", 1, 60, Limits { events: usize::MAX, last_seconds: Some(100.0) });
        let events: Vec<(i64, &str, &str)> = (0..1_000).map(|second| (second, "10.0.0.1", "")).collect();
        take(&mut reader, &events);
        let log = reader.finish();
        assert_eq!((log.len(), log.facts.older, log.callers.len()), (101, 899, 1));
        assert_eq!(log.row(0)[0].bits(), Cell::number(899.0).bits());
    }

    #[test]
    fn one_event_in_the_far_future_does_not_sweep_the_log_away() {
        let mut reader = Reader::new("m", 1, 60, Limits { events: usize::MAX, last_seconds: Some(100.0) });
        take(&mut reader, &[(0, "10.0.0.1", ""), (90_000_000, "10.0.0.1", ""), (10, "10.0.0.2", "")]);
        assert_eq!(reader.finish().len(), 3);
    }

    #[test]
    fn a_caller_that_does_not_fit_is_left_out_whole() {
        let mut reader = Reader::new("m", 1, 60, Limits { events: 10, last_seconds: None });
        // Its events do not fit, so it goes as a whole, and is counted.
        let events: Vec<(i64, &str, &str)> = (0..100).map(|second| (second, "10.0.0.1", "")).collect();
        take(&mut reader, &events);
        let log = reader.finish();
        assert!(log.len() <= 10);
        assert_eq!(log.len() as u64 + log.facts.of_callers_left_out, 100);
    }

    #[test]
    fn the_digest_tells_logs_apart() {
        let one = of(&[(0, "10.0.0.1", ""), (1, "10.0.0.2", "")]);
        assert_eq!(one.facts.digest, of(&[(0, "10.0.0.1", ""), (1, "10.0.0.2", "")]).facts.digest);
        for other in [of(&[(0, "10.0.0.1", ""), (1, "10.0.0.3", "")]), of(&[(0, "10.0.0.1", ""), (2, "10.0.0.2", "")])] {
            assert_ne!(one.facts.digest, other.facts.digest);
        }
    }
}
