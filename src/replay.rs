//! A log judged in event time: the same engine as the service, and the same bytes out every time.
//!
//! Two threads, order kept: one reads and decodes, the other steps the engine. They pass [`Chunk`]s through a short bounded
//! queue and hand them back empty, so that a log of any size takes a fixed amount of memory and, once the buffers have grown,
//! allocates nothing. Who wants to know what happened on the way is an [`Observer`].

use std::ops::{ControlFlow, Range};
use std::sync::mpsc;

use crate::decode::{Batch, Decoder, Reason, Rejection};
use crate::engine::{Disposition, Engine, Input, Outbox};
use crate::event::{Provenance, Query};
use crate::judge::Verdict;
use crate::source::Source;

/// Messages in a chunk: enough that handing over does not show, few enough that verdicts and progress are fresh.
const CHUNK_MESSAGES: usize = 256;
/// Rows after which a chunk is closed early, so that batch messages do not multiply memory.
const CHUNK_ROWS: usize = 4_096;
/// Bytes of kept payload after which a chunk is closed early.
const CHUNK_BYTES: usize = 1024 * 1024;
/// Chunks under way: one being filled, one being judged, and slack for the moments when one thread waits for the system.
const CHUNKS: usize = 4;

/// The reason of a query that lies implausibly far in the future; only the engine can tell.
pub const FROM_THE_FUTURE: &str = "from_the_future";

/// A record that was not used, with what is needed to find and mend it.
#[derive(Clone, Copy, Debug)]
pub struct Rejected<'a> {
    /// One of a bounded set of words.
    pub reason: &'static str,
    /// What exactly is wrong.
    pub message: &'a str,
    /// Where the record lies.
    pub provenance: Provenance,
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

    /// A record was not used. Break ends the replay: there are too many.
    fn rejected(&mut self, record: Rejected<'_>) -> Result<ControlFlow<()>, Self::Error>;

    /// The engine said something; called after [`Observer::query`], and once more at the end of the log.
    fn verdict(&mut self, verdict: &Verdict) -> Result<(), Self::Error>;

    /// A chunk is done: a moment for progress bars.
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

/// Messages on their way from one thread to the other.
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
    let refused = |observer: &mut O, entry: &Entry, provenance, reason, message: &str| {
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
                refused(observer, entry, entry.provenance, rejection.reason.name(), &rejection.message)?;
                continue;
            }
        };
        for query in queries.by_ref().take(rows) {
            outbox.verdicts.clear();
            engine.step(Input::Query(query), outbox);
            if let Err(error) = observer.query(query, outbox) {
                return failed(error);
            }
            match outbox.disposition {
                Disposition::Accepted | Disposition::Late => {}
                Disposition::FromTheFuture => {
                    let message = "its time is implausibly far ahead of all others; is the caller's clock wrong?";
                    refused(observer, entry, query.provenance, FROM_THE_FUTURE, message)?;
                }
                Disposition::UnknownModel => {
                    refused(
                        observer,
                        entry,
                        query.provenance,
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
