//! A log judged in event time: the same engine as the service, and the same bytes out every time.
//!
//! Two threads, order kept: one reads and decodes, the other steps the engine. They pass [`Chunk`]s through a short bounded
//! queue and hand them back empty, so that a log of any size takes a fixed amount of memory and, once the buffers have grown,
//! allocates nothing. Who wants to know what happened on the way is an [`Observer`].

use std::ops::{ControlFlow, Range};
use std::sync::mpsc;

use crate::decode::{Batch, Decoder, Reason, Rejection};
use crate::engine::{Disposition, Engine, Input, Outbox};
use crate::event::{EventTime, Provenance, Query};
use crate::judge::Verdict;
use crate::source::Source;

/// RecordBatch in a chunk: enough that handing over does not show, few enough that verdicts and progress are fresh.
const CHUNK_MESSAGES: usize = 256;
/// Rows after which a chunk is closed early, so that batch messages do not multiply memory.
const CHUNK_ROWS: usize = 4_096;
/// Bytes of kept payload after which a chunk is closed early.
const CHUNK_BYTES: usize = 1024 * 1024;
/// Chunks under way: one being filled, one being judged, and slack for the moments when one thread waits for the system.
const CHUNKS: usize = 4;

/// The reason of a query that lies implausibly far in the future; only the engine can tell.
pub const FROM_THE_FUTURE: &str = "from_the_future";
/// The reason of a query behind the watermark. It is kept among the dead letters, but counted as late, not as rejected.
pub const LATE: &str = "late";

/// What a person reads about a late query.
pub fn late_message(query: &Query, watermark: EventTime) -> String {
    format!("{} is behind the watermark of {watermark}: judged as evidence about its sender, left out of the windows", query.time)
}

/// A record that was not used, with what is needed to find and mend it.
#[derive(Clone, Copy, Debug)]
pub struct Rejected<'a> {
    /// One of a bounded set of words.
    pub reason: &'static str,
    /// What exactly is wrong.
    pub message: &'a str,
    /// Where the record lies.
    pub provenance: &'a Provenance,
    /// The record itself, if the observer keeps payloads; else empty.
    pub payload: &'a [u8],
}

/// Watches a replay, in the order of the log.
pub trait Observer {
    /// Why the observer could not go on, such as a full disk.
    type Error;

    /// Whether [`Rejected::payload`] is wanted.
    fn keeps_payloads(&self) -> bool {
        false
    }

    /// A query was judged; `outbox` has what the engine said to it.
    fn query(&mut self, query: &Query, outbox: &Outbox) -> Result<(), Self::Error>;

    /// A query came behind the watermark: its windows are closed, and a copy belongs where it can be audited. Comes before
    /// [`Observer::query`] of the same query.
    fn late(&mut self, record: Rejected<'_>) -> Result<(), Self::Error>;

    /// A record was not used. Break ends the replay: there are too many.
    fn rejected(&mut self, record: Rejected<'_>) -> Result<ControlFlow<()>, Self::Error>;

    /// The engine said something; called after [`Observer::query`], and once more at the end of the log.
    fn verdict(&mut self, verdict: &Verdict) -> Result<(), Self::Error>;

    /// A chunk is done: a moment for progress thresholds.
    fn pause(&mut self) {}
}

/// How a replay ended.
#[derive(Debug)]
pub enum Ended<S, O> {
    /// The whole log was judged.
    Whole,
    /// The source broke; what was read before was judged.
    Source(S),
    /// The observer broke off: too many rejections.
    Rejections,
    /// The observer failed.
    Observer(O),
}

/// RecordBatch on their way from one thread to the other.
#[derive(Debug, Default)]
struct Chunk {
    batch: Batch,
    entries: Vec<Entry>,
    payloads: Vec<u8>,
}

#[derive(Debug)]
struct Entry {
    provenance: Provenance,
    payload: Range<usize>,
    outcome: Result<usize, Rejection>,
}

/// Replays `source` through `engine` to `observer`.
///
/// The engine is told the end of the log even if the source broke, so that the verdicts on what was read are complete; after
/// too many rejections or a failed observer it is not, since nobody would believe or hear them.
pub fn replay<S, O>(source: S, decoder: Decoder, engine: &mut Engine, observer: &mut O) -> Ended<S::Error, O::Error>
where
    S: Source + Send,
    S::Error: Send,
    O: Observer,
{
    let keep = observer.keeps_payloads();
    let (filled_in, filled) = mpsc::sync_channel::<Chunk>(CHUNKS);
    let (emptied_in, emptied) = mpsc::channel::<Chunk>();
    for _ in 0..CHUNKS {
        // The receiver is in hand; sending cannot fail.
        let _ = emptied_in.send(Chunk::default());
    }
    std::thread::scope(|scope| {
        let reading = scope.spawn(move || fill(source, decoder, keep, &emptied, &filled_in));
        let mut outbox = Outbox::default();
        let mut stopped = None;
        for mut chunk in filled {
            if let ControlFlow::Break(ended) = judge(&chunk, engine, &mut outbox, observer) {
                stopped = Some(ended);
                break;
            }
            observer.pause();
            chunk.clear();
            // A reader that has ended wants no chunks back.
            let _ = emptied_in.send(chunk);
        }
        // Without chunks the reader stops at once.
        drop(emptied_in);
        let read = reading.join();
        if let Some(ended) = stopped {
            return ended;
        }
        outbox.verdicts.clear();
        engine.step(Input::End, &mut outbox);
        for verdict in &outbox.verdicts {
            if let Err(error) = observer.verdict(verdict) {
                return Ended::Observer(error);
            }
        }
        match read {
            Ok(Ok(())) => Ended::Whole,
            Ok(Err(error)) => Ended::Source(error),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

/// Reads and decodes until the log ends or nobody listens.
fn fill<S: Source>(
    mut source: S,
    mut decoder: Decoder,
    keep: bool,
    emptied: &mpsc::Receiver<Chunk>,
    filled: &mpsc::SyncSender<Chunk>,
) -> Result<(), S::Error> {
    loop {
        let Ok(mut chunk) = emptied.recv() else { return Ok(()) };
        let read = chunk.fill(&mut source, &mut decoder, keep);
        let more = matches!(read, Ok(true));
        if filled.send(chunk).is_err() || !more {
            return read.map(drop);
        }
    }
}

/// Steps the engine through a chunk.
fn judge<S, O: Observer>(
    chunk: &Chunk,
    engine: &mut Engine,
    outbox: &mut Outbox,
    observer: &mut O,
) -> ControlFlow<Ended<S, O::Error>> {
    let failed = |error| ControlFlow::Break(Ended::Observer(error));
    let refused = |observer: &mut O, entry: &Entry, provenance: &Provenance, reason, message: &str| {
        let payload = &chunk.payloads[entry.payload.clone()];
        match observer.rejected(Rejected { reason, message, provenance, payload }) {
            Ok(ControlFlow::Continue(())) => ControlFlow::Continue(()),
            Ok(ControlFlow::Break(())) => ControlFlow::Break(Ended::Rejections),
            Err(error) => ControlFlow::Break(Ended::Observer(error)),
        }
    };
    let mut queries = chunk.batch.queries().iter();
    for entry in &chunk.entries {
        let rows = match &entry.outcome {
            Ok(rows) => *rows,
            Err(rejection) => {
                refused(observer, entry, &entry.provenance, rejection.reason.name(), &rejection.message)?;
                continue;
            }
        };
        for query in queries.by_ref().take(rows) {
            outbox.verdicts.clear();
            engine.step(Input::Query(query), outbox);
            if let Disposition::Late(watermark) = outbox.disposition {
                let payload = &chunk.payloads[entry.payload.clone()];
                let message = late_message(query, watermark);
                let record = Rejected { reason: LATE, message: &message, provenance: &query.provenance, payload };
                if let Err(error) = observer.late(record) {
                    return failed(error);
                }
            }
            if let Err(error) = observer.query(query, outbox) {
                return failed(error);
            }
            match outbox.disposition {
                Disposition::Accepted | Disposition::Late(_) => {}
                Disposition::FromTheFuture => {
                    let message = "its time is implausibly far ahead of all others; is the caller's clock wrong?";
                    refused(observer, entry, &query.provenance, FROM_THE_FUTURE, message)?;
                }
                Disposition::UnknownModel => {
                    refused(
                        observer,
                        entry,
                        &query.provenance,
                        Reason::UnknownModel.name(),
                        "the engine has no reference for this model",
                    )?;
                }
            }
            for verdict in &outbox.verdicts {
                if let Err(error) = observer.verdict(verdict) {
                    return failed(error);
                }
            }
        }
    }
    ControlFlow::Continue(())
}

// === impl Chunk ===

impl Chunk {
    fn clear(&mut self) {
        self.batch.clear();
        self.entries.clear();
        self.payloads.clear();
    }

    /// Takes messages until the chunk is full (true) or the log ends (false).
    fn fill<S: Source>(&mut self, source: &mut S, decoder: &mut Decoder, keep: bool) -> Result<bool, S::Error> {
        while self.entries.len() < CHUNK_MESSAGES && self.batch.len() < CHUNK_ROWS && self.payloads.len() < CHUNK_BYTES {
            let Some(record) = source.next()? else { return Ok(false) };
            let outcome = decoder.decode(&record, &mut self.batch);
            let start = self.payloads.len();
            if keep {
                self.payloads.extend_from_slice(record.payload);
            }
            self.entries.push(Entry { provenance: record.provenance, payload: start..self.payloads.len(), outcome });
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::decode::DecodeConfig;
    use crate::engine::EngineConfig;
    use crate::reference::{Column, Dataset, FitOptions, Raw, Reference, fit};
    use crate::source::Record;

    /// Lines that end, or break off with an error.
    struct Lines {
        lines: std::vec::IntoIter<String>,
        line: String,
        offset: i64,
        broken: bool,
    }

    impl Source for Lines {
        type Error = &'static str;

        fn next(&mut self) -> Result<Option<Record<'_>>, &'static str> {
            let Some(line) = self.lines.next() else { return if self.broken { Err("broken") } else { Ok(None) } };
            self.line = line;
            self.offset += 1;
            let provenance = Provenance { offset: self.offset - 1, ..Provenance::default() };
            Ok(Some(Record { payload: self.line.as_bytes(), provenance, ..Record::default() }))
        }
    }

    /// Writes down what it sees, and breaks off where it is told to.
    #[derive(Default)]
    struct Notes {
        seen: Vec<(i64, u32, bool)>,
        payloads: Vec<String>,
        late: Vec<(i64, String)>,
        rejections_allowed: Option<usize>,
        fails_at: Option<usize>,
    }

    impl Observer for Notes {
        type Error = &'static str;

        fn keeps_payloads(&self) -> bool {
            true
        }

        fn query(&mut self, query: &Query, _: &Outbox) -> Result<(), &'static str> {
            self.seen.push((query.provenance.offset, query.provenance.row, true));
            if self.fails_at == Some(self.seen.len()) { Err("disk full") } else { Ok(()) }
        }

        fn late(&mut self, record: Rejected<'_>) -> Result<(), &'static str> {
            self.late.push((record.provenance.offset, String::from_utf8(record.payload.to_vec()).unwrap()));
            Ok(())
        }

        fn rejected(&mut self, record: Rejected<'_>) -> Result<ControlFlow<()>, &'static str> {
            self.seen.push((record.provenance.offset, record.provenance.row, false));
            self.payloads.push(String::from_utf8(record.payload.to_vec()).unwrap());
            let too_many = self.rejections_allowed.is_some_and(|allowed| self.payloads.len() > allowed);
            Ok(if too_many { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        }

        fn verdict(&mut self, _: &Verdict) -> Result<(), &'static str> {
            Ok(())
        }
    }

    fn reference() -> Arc<Reference> {
        let cells: Vec<_> = (0..300_u32).map(|i| Raw::Number(f64::from(i % 97))).collect();
        let features = vec![Column { name: "x".into(), cells: cells.clone() }];
        let dataset = Dataset { features, predictions: cells, probabilities: Vec::new() };
        Arc::new(fit(&dataset, &FitOptions { model: "m".into(), ..FitOptions::default() }).unwrap())
    }

    fn run(lines: Vec<String>, broken: bool, notes: &mut Notes) -> Ended<&'static str, &'static str> {
        let decoder = Decoder::new(&[reference()], DecodeConfig::default()).unwrap();
        let mut engine = Engine::new(EngineConfig::default(), vec![reference()]).unwrap();
        replay(Lines { lines: lines.into_iter(), line: String::new(), offset: 0, broken }, decoder, &mut engine, notes)
    }

    fn line(nth: usize) -> String {
        match nth % 10 {
            3 => format!("garbage {nth}"),
            7 => format!(r#"{{"timestamp":{},"model":"m","instances":[[1],[2],[3]]}}"#, 1_772_442_900 + nth),
            _ => format!(r#"{{"timestamp":{},"model":"m","features":[{nth}]}}"#, 1_772_442_900 + nth),
        }
    }

    #[test]
    fn everything_is_seen_once_and_in_order() {
        let mut notes = Notes::default();
        assert!(matches!(run((0..5_000).map(line).collect(), false, &mut notes), Ended::Whole));
        let expected = (0..5_000).flat_map(|nth: i64| {
            let rows = if nth % 10 == 7 { 3 } else { 1 };
            (0..rows).map(move |row| (nth, row, nth % 10 != 3))
        });
        assert!(notes.seen.iter().copied().eq(expected));
        assert_eq!(notes.payloads.len(), 500);
        assert_eq!((notes.payloads[0].as_str(), notes.payloads[499].as_str()), ("garbage 3", "garbage 4993"));
    }

    #[test]
    fn a_broken_source_is_judged_up_to_the_break() {
        let mut notes = Notes::default();
        assert!(matches!(run((0..1_000).map(line).collect(), true, &mut notes), Ended::Source("broken")));
        assert_eq!(notes.seen.last(), Some(&(999, 0, true)));
    }

    #[test]
    fn too_many_rejections_end_the_replay_at_once() {
        let mut notes = Notes { rejections_allowed: Some(2), ..Notes::default() };
        assert!(matches!(run((0..100_000).map(line).collect(), false, &mut notes), Ended::Rejections));
        assert_eq!(notes.seen.last(), Some(&(23, 0, false)));
    }

    #[test]
    fn a_failing_observer_ends_the_replay_at_once() {
        let mut notes = Notes { fails_at: Some(3), ..Notes::default() };
        assert!(matches!(run((0..100_000).map(line).collect(), false, &mut notes), Ended::Observer("disk full")));
        assert_eq!(notes.seen.len(), 3);
    }

    #[test]
    fn a_late_query_is_seen_and_kept_as_it_came() {
        let mut lines: Vec<String> = (0..200).map(|nth| line(10 * nth)).collect();
        lines.push(line(0));
        let mut notes = Notes::default();
        assert!(matches!(run(lines, false, &mut notes), Ended::Whole));
        assert_eq!(notes.late, [(200, line(0))]);
        assert_eq!((notes.seen.len(), notes.seen[200]), (201, (200, 0, true)), "accepted + late + rejected = read");
    }

    #[test]
    fn an_empty_log_ends_well() {
        let mut notes = Notes::default();
        assert!(matches!(run(Vec::new(), false, &mut notes), Ended::Whole));
        assert!(notes.seen.is_empty());
    }
}
