//! The user's log in memory, compactly and within a bound.
//!
//! A drill judges the same log hundreds of times, so the log is decoded once and kept as columns. A day of a busy service does not
//! fit into memory. Dropping single events would tear patterns apart, so [`LogReader`] drops *whole callers*, by the hash of their
//! address: everything that a kept caller did is there, and a NAT keeps its users. `--last` drops older events instead.
//!
//! What was left out is part of [`Facts`], and of every report.

mod reader;

use std::sync::Arc;

use serde::Serialize;

use crate::engine::{Engine, Outbox};
use crate::event::{Address, Cell, EventTime, Prediction, Provenance, Query};
use crate::hash::{mix, mix2, text};
use crate::observer::{self, Observer, Original};
use crate::outcome::{RejectReason, Rejection};

pub use reader::{LogError, LogLimits, LogReader, MAX_VALUES};

/// Takes away who sent a record that could not be read.
pub fn take_caller_away(rejection: &mut Rejection) {
    if let Some(caller) = &mut rejection.caller {
        (caller.address, caller.account) = (Address::Unknown, String::new());
    }
}

#[cfg(test)]
pub(super) use reader::tests;

/// What was read and what of it is kept.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Facts {
    /// Messages and rows read.
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
    /// Whether the callers were taken away: no event says who asked.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub without_callers: bool,
    /// Digest of the kept events, whatever the packing of the file.
    pub digest: String,
}

/// Who asks: an account at an address.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct LogCaller {
    /// The address.
    pub address: Address,
    /// The account; empty for none.
    pub account: Arc<str>,
}

/// A record that could not be read: evidence about its sender, as in a replay.
#[derive(Clone, Debug)]
pub struct LostRecord {
    /// The event before which it came.
    pub before: usize,
    /// Where it lies.
    pub provenance: Provenance,
    /// Why it could not be read, and whose it is.
    pub rejection: Rejection,
}

/// A log of one model.
#[derive(Clone, Debug)]
pub struct Log {
    /// Model name.
    pub model: String,
    /// What was read.
    pub facts: Facts,
    /// Everybody who asks; events name them by index.
    pub callers: Vec<LogCaller>,
    width: usize,
    times: Vec<EventTime>,
    who: Vec<u32>,
    rows: Vec<Cell>,
    answers: Vec<Prediction>,
    lines: Vec<i64>,
    /// Records that could not be read, in their order.
    lost: Vec<LostRecord>,
}

// === impl Facts ===

impl Facts {
    /// Counts a record that could not be used; events of other models are counted apart, since they are no fault of the log.
    fn reject(&mut self, rejection: &Rejection, line: i64) {
        self.read += 1;
        let counter = if rejection.reason == RejectReason::UnknownModel { &mut self.other_models } else { &mut self.rejected };
        *counter += 1;
        self.first_rejection.get_or_insert_with(|| format!("line {}: {rejection}", line + 1));
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

    /// Zero-based line of the file in which an event stands.
    pub fn line(&self, event: usize) -> i64 {
        self.lines[event]
    }

    /// The records between an event and the one before it that could not be read; behind the last event, those at the end.
    pub fn lost_before(&self, event: usize) -> &[LostRecord] {
        let from = self.lost.partition_point(|lost| lost.before < event);
        let to = self.lost.partition_point(|lost| lost.before <= event);
        &self.lost[from..to]
    }

    /// The record of a line that could not be read.
    pub fn lost_line(&self, line: i64) -> Option<&LostRecord> {
        let at = self.lost.binary_search_by_key(&line, |lost| lost.provenance.offset).ok()?;
        self.lost.get(at)
    }

    /// Gives an engine the records that [`Log::lost_before`] an event could not be read.
    pub(super) fn judge_lost<O: Observer>(
        &self,
        event: usize,
        engine: &mut Engine,
        outbox: &mut Outbox,
        observer: &mut O,
    ) -> Result<(), O::Error> {
        let original = Original::default();
        let mut lost = self.lost_before(event).iter();
        lost.try_for_each(|one| observer::reject(engine, &one.provenance, &one.rejection, original, outbox, observer))
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

    /// Takes away what the log knows of its callers, as if nobody had logged addresses and accounts.
    pub fn take_callers_away(&mut self) {
        self.callers = vec![LogCaller { address: Address::Unknown, account: "".into() }];
        self.who.fill(0);
        self.lost.iter_mut().for_each(|lost| take_caller_away(&mut lost.rejection));
        self.facts.without_callers = true;
        self.facts.digest = format!("{:016x}", self.digest());
    }

    /// Number of callers that the log names; what is sent by nobody in particular counts as one more.
    pub fn named_callers(&self) -> usize {
        if self.facts.without_callers { 0 } else { self.callers.len() }
    }

    /// Leaves out the events whose flag is false.
    pub fn retain(&mut self, keep: &[bool]) {
        // Each lost record stays before the same event.
        let (mut kept, mut counted) = (0, 0);
        for lost in &mut self.lost {
            while counted < lost.before {
                kept += usize::from(keep.get(counted).copied().unwrap_or(true));
                counted += 1;
            }
            lost.before = kept;
        }
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
