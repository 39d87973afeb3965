//! Reads a log into memory within a bound: whole callers are left out, never single events.
//!
//! The share of callers kept is halved whenever the bound is passed. A caller is kept if the leading bits of the hash of its
//! address are zero, so each halving keeps a part of those kept before: one pass suffices, and the same log gives the same callers.

use rustc_hash::FxHashMap;

use super::{Facts, Log, LogCaller, LostRecord};
use crate::decode::{Batch, Decoder};
use crate::event::{Address, EventTime, Provenance, Query};
use crate::hash::{mix2, text};
use crate::outcome::{RejectReason, Rejection};
use crate::source::Source;
use crate::window::{Standing, Watermark};

/// Feature values kept at most, eight bytes each: 160 megabytes, a million and a half rows of fourteen features.
pub const MAX_VALUES: usize = 20_000_000;
/// Two days, as in the engine: a single event farther ahead does not move event time.
const MAX_JUMP_SECONDS: i64 = 2 * 86_400;
/// Halvings of the kept share after which one caller alone must be larger than the bound: 2^24 callers with distinct hashes leave
/// about one.
const MAX_HALVINGS: u32 = 24;
/// Records between two reports of progress. Chosen: some reports a second, at no cost that shows.
const PROGRESS_EVERY: u64 = 4096;
/// Old events below which nothing is moved to the front. Chosen: small against the bound, large against the cost of a call.
const COMPACT_FROM: usize = 4096;
/// Records kept that could not be read. Chosen: at some 200 bytes each they are small beside the events, and further ones add nothing to
/// what is known of their senders.
const MAX_LOST: usize = 200_000;
/// Kinds of caller in the hash, so that an account is never taken for an address.
const V4: u64 = 4;
const V6: u64 = 6;
const ACCOUNT: u64 = 1;
const LINE: u64 = 2;

/// Bounds of what is kept.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct LogLimits {
    /// Events kept at most.
    pub events: usize,
    /// Only what is not older than this, in seconds before the newest event; none keeps all.
    pub last_seconds: Option<f64>,
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

/// Reads a log within its bounds.
#[derive(Debug)]
pub struct LogReader {
    log: Log,
    limits: LogLimits,
    known: FxHashMap<(Address, u64), u32>,
    watermark: Watermark,
    newest: Option<EventTime>,
    halvings: u32,
    /// Events before this one are older than `--last`.
    start: usize,
}

// === impl LogReader ===

impl LogReader {
    /// A reader for the events of a model with `width` features; `lateness_seconds` is the engine's.
    pub fn new(model: &str, width: usize, lateness_seconds: u32, limits: LogLimits) -> Self {
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
                lost: Vec::new(),
            },
            limits: LogLimits { events, ..limits },
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
            let decoded = decoder.decode(&record, &mut batch).map(|_| batch.queries());
            self.record(decoded, line).map_err(LogError::OneCaller)?;
            if self.log.facts.rejected > 0 && too_much(&self.log.facts) {
                break;
            }
            if self.log.facts.read.is_multiple_of(PROGRESS_EVERY) {
                progress();
            }
        }
        Ok(self.finish())
    }

    /// Takes what became of one record: its queries, or its rejection. The only place where the drill interprets decoding.
    fn record(&mut self, decoded: Result<&[Query], Rejection>, line: i64) -> Result<(), usize> {
        match decoded {
            Ok(queries) => {
                self.log.facts.read += queries.len() as u64;
                queries.iter().try_for_each(|query| self.take(query))
            }
            Err(rejection) => {
                self.log.facts.reject(&rejection, line);
                self.lose(rejection, line);
                Ok(())
            }
        }
    }

    /// Keeps a record that could not be read, if its caller is kept.
    fn lose(&mut self, rejection: Rejection, line: i64) {
        let keeps = self.keeps_lost(&rejection, line);
        if rejection.reason == RejectReason::UnknownModel || self.log.lost.len() >= MAX_LOST || !keeps {
            return;
        }
        let provenance = Provenance { offset: line, ..Provenance::default() };
        let rejection = Rejection { message: String::new(), ..rejection };
        self.log.lost.push(LostRecord { before: self.log.times.len(), provenance, rejection });
    }

    fn keeps_lost(&self, rejection: &Rejection, line: i64) -> bool {
        match &rejection.caller {
            Some(caller) => self.keeps(caller.address, &caller.account, line),
            None => self.keeps(Address::Unknown, "", line),
        }
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
            log.callers.push(LogCaller { address: query.address, account: query.account.as_str().into() });
            log.callers.len() as u32 - 1
        })
    }

    /// Whether a caller is among those kept. The hash is of the address; without one, of the account; without either, of the line.
    fn keeps(&self, address: Address, account: &str, line: i64) -> bool {
        let hash = match address {
            Address::Ip(std::net::IpAddr::V4(v4)) => mix2(V4, u64::from(v4.to_bits())),
            Address::Ip(std::net::IpAddr::V6(v6)) => mix2(V6, mix2((v6.to_bits() >> 64) as u64, v6.to_bits() as u64)),
            Address::Unknown if !account.is_empty() => mix2(ACCOUNT, text(account)),
            Address::Unknown => mix2(LINE, line as u64),
        };
        self.halvings == 0 || hash >> (64 - self.halvings) == 0
    }

    fn forget_older(&mut self) {
        let (Some(newest), Some(seconds)) = (self.newest, self.limits.last_seconds) else { return };
        while self.start < self.log.times.len() && newest.seconds_since(self.log.times[self.start]) > seconds {
            self.start += 1;
            self.log.facts.older += 1;
        }
        // Moving the rest to the front costs as much as it frees. Done only when half is old, it costs each event one move at most.
        if self.start > COMPACT_FROM && self.start > self.log.times.len() / 2 {
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
        log.lost.retain(|lost| lost.before >= start);
        log.lost.iter_mut().for_each(|lost| lost.before -= start);
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
        let mut lost = std::mem::take(&mut self.log.lost);
        lost.retain(|one| self.keeps_lost(&one.rejection, one.provenance.offset));
        self.log.lost = lost;
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

#[cfg(test)]
pub(in crate::drill) mod tests {
    use super::*;
    use crate::event::{Cell, Prediction};

    /// A log of (second, address, account) with one feature that counts the events.
    pub(in crate::drill) fn of(events: &[(i64, &str, &str)]) -> Log {
        let mut reader = LogReader::new("m", 1, 60, LogLimits { events: usize::MAX, last_seconds: None });
        take(&mut reader, events);
        reader.finish()
    }

    fn take(reader: &mut LogReader, events: &[(i64, &str, &str)]) {
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
        let mut reader = LogReader::new("m", 1, 60, LogLimits { events: usize::MAX, last_seconds: Some(100.0) });
        let events: Vec<(i64, &str, &str)> = (0..1_000).map(|second| (second, "10.0.0.1", "")).collect();
        take(&mut reader, &events);
        let log = reader.finish();
        assert_eq!((log.len(), log.facts.older, log.callers.len()), (101, 899, 1));
        assert_eq!(log.row(0)[0].bits(), Cell::number(899.0).bits());
    }

    #[test]
    fn one_event_in_the_far_future_does_not_sweep_the_log_away() {
        let mut reader = LogReader::new("m", 1, 60, LogLimits { events: usize::MAX, last_seconds: Some(100.0) });
        take(&mut reader, &[(0, "10.0.0.1", ""), (90_000_000, "10.0.0.1", ""), (10, "10.0.0.2", "")]);
        assert_eq!(reader.finish().len(), 3);
    }

    #[test]
    fn a_caller_that_does_not_fit_is_left_out_whole() {
        let mut reader = LogReader::new("m", 1, 60, LogLimits { events: 10, last_seconds: None });
        // Its events do not fit, so it goes as a whole, and is counted.
        let events: Vec<(i64, &str, &str)> = (0..100).map(|second| (second, "10.0.0.1", "")).collect();
        take(&mut reader, &events);
        let log = reader.finish();
        assert!(log.len() <= 10);
        assert_eq!(log.len() as u64 + log.facts.of_callers_left_out, 100);
    }

    #[test]
    fn without_callers_the_events_stay_and_nobody_is_named() {
        let mut log = of(&[(0, "10.0.0.1", "a"), (1, "10.0.0.2", ""), (2, "10.0.0.1", "a")]);
        let (before, rows) = (log.facts.digest.clone(), log.rows.clone());
        log.take_callers_away();
        assert_eq!((log.len(), log.named_callers(), log.callers.len()), (3, 0, 1));
        assert!(log.callers[0].address == Address::Unknown && log.callers[0].account.is_empty());
        assert!((0..3).all(|event| log.caller(event) == 0) && log.facts.without_callers);
        assert!(log.rows.iter().zip(&rows).all(|(a, b)| a.bits() == b.bits()) && log.facts.digest != before);
    }

    #[test]
    fn records_that_cannot_be_read_stay_between_the_same_events() {
        use crate::outcome::CallerFacts;
        let lost = |line: i64, address: &str| {
            let caller = CallerFacts { address: Address::parse(address).unwrap(), ..CallerFacts::default() };
            (Rejection::new(RejectReason::NotJson, "x").sent_by(caller), line)
        };
        let mut reader = LogReader::new("m", 1, 60, LogLimits { events: usize::MAX, last_seconds: None });
        for (nth, address) in ["10.0.0.1", "10.0.0.2", "10.0.0.1"].into_iter().enumerate() {
            let (rejection, line) = lost(10 * nth as i64, address);
            reader.lose(rejection, line);
            take(&mut reader, &[(nth as i64, address, "")]);
        }
        let (rejection, line) = lost(30, "10.0.0.3");
        reader.lose(rejection, line);
        reader.lose(Rejection::new(RejectReason::UnknownModel, "x"), 31);
        let mut log = reader.finish();
        let before = |log: &Log| (0..=log.len()).map(|event| log.lost_before(event).len()).collect::<Vec<_>>();
        assert_eq!(before(&log), [1, 1, 1, 1], "those of other models are nobody's");
        assert_eq!(log.lost_line(20).map(|lost| lost.before), Some(2));
        assert!(log.lost_line(31).is_none());
        log.retain(&[true, false, true]);
        assert_eq!(before(&log), [1, 2, 1], "the second one's came before the third event");
        log.take_callers_away();
        assert!(log.lost.iter().all(|lost| lost.rejection.caller.as_ref().unwrap().address == Address::Unknown));
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
