//! A log judged in event time: the same engine as the service, and the same bytes out every time.
//!
//! Two threads, order kept: one reads and decodes, the other steps the engine. They pass [`Chunk`]s through a short bounded
//! queue and hand them back empty, so that a log of any size takes a fixed amount of memory and, once the buffers have grown,
//! allocates nothing. An [`Observer`] is told what happens on the way.
//!
//! A log that is a copy of a topic can be judged under the topic's name ([`TopicCopy`]). Then verdicts carry the same ids and
//! query references as those of the service that read the topic.

use std::ops::{ControlFlow, Range};
use std::sync::mpsc;

use crate::decode::{Batch, Decoder};
use crate::engine::{Engine, Outbox};
use crate::event::{Provenance, Topic};
use crate::observer::{self, Observer, Original};
use crate::outcome::{OutcomeCounts, Rejection};
use crate::source::{Record, Source};

/// Messages in a chunk. Chosen: handing a chunk over costs two wake-ups of a thread, which are lost in the judging of 256 queries;
/// and 256 queries are judged within milliseconds (`cargo bench --bench engine`), so progress is fresh.
const CHUNK_MESSAGES: usize = 256;
/// Rows after which a chunk is closed early, so that batch messages do not multiply memory: sixteen rows a message on average.
const CHUNK_ROWS: usize = 4_096;
/// Bytes of kept payload after which a chunk is closed early: 4 kB a message, four times a usual event.
const CHUNK_BYTES: usize = 1024 * 1024;
/// Chunks under way: one being filled, one being judged, and two for the moments when one thread waits for the system.
const CHUNKS: usize = 4;

/// How a replay ended.
#[derive(Debug)]
pub enum Ended<S, O> {
    /// The whole log was judged.
    Whole,
    /// The source broke; what was read before was judged.
    Source(S),
    /// The observer ended the replay: it failed, or had seen enough.
    Observer(O),
}

/// A log that is a copy of one partition of a topic: its records lie in the topic, and its lines are the offsets.
#[derive(Debug)]
pub struct TopicCopy<S> {
    log: S,
    /// Empty for a log that is a copy of no topic.
    topic: Topic,
}

/// Messages on their way from one thread to the other.
#[derive(Debug, Default)]
struct Chunk {
    batch: Batch,
    messages: Vec<Message>,
    payloads: Vec<u8>,
}

/// A message of a chunk.
#[derive(Debug)]
struct Message {
    provenance: Provenance,
    /// Its bytes, as a range of the chunk's.
    payload: Range<usize>,
    /// Its queries, as a range of the chunk's batch; or why it could not be decoded.
    decoded: Result<Range<usize>, Rejection>,
}

// === impl TopicCopy ===

impl<S> TopicCopy<S> {
    /// The records of `log` as those of `topic`, partition 0. An empty topic leaves them as they are.
    pub fn new(log: S, topic: &str) -> Self {
        Self { log, topic: topic.into() }
    }
}

impl<S: Source> Source for TopicCopy<S> {
    type Error = S::Error;

    fn next(&mut self) -> Result<Option<Record<'_>>, S::Error> {
        let Self { log, topic } = self;
        let record = log.next()?;
        Ok(record.map(|mut record| {
            record.provenance.topic.clone_from(topic);
            record
        }))
    }
}

/// Replays `source` through `engine` to `observer`.
///
/// The engine is told the end of the log even if the source broke, so that the verdicts on what was read are complete. It is not
/// told if the observer ended the replay, since nobody would hear the verdicts.
pub fn replay<S, O>(source: S, decoder: Decoder, engine: &mut Engine, observer: &mut O) -> Ended<S::Error, O::Error>
where
    S: Source + Send,
    S::Error: Send,
    O: Observer,
{
    let keep = observer.keeps_originals();
    let (filled_in, filled) = mpsc::sync_channel::<Chunk>(CHUNKS);
    let (emptied_in, emptied) = mpsc::channel::<Chunk>();
    for _ in 0..CHUNKS {
        // The receiver is in hand; sending cannot fail.
        let _ = emptied_in.send(Chunk::default());
    }
    std::thread::scope(|scope| {
        let reading = scope.spawn(move || fill(source, decoder, keep, &emptied, &filled_in));
        let (mut outbox, mut counts) = (Outbox::default(), OutcomeCounts::default());
        let mut judged = Ok(());
        for mut chunk in filled {
            judged = chunk.judge(engine, &mut outbox, &mut counts, observer);
            if judged.is_err() {
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
        if let Err(error) = judged.and_then(|()| observer::end(engine, &counts, &mut outbox, observer)) {
            return Ended::Observer(error);
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
        let more = matches!(read, Ok(ControlFlow::Continue(())));
        if filled.send(chunk).is_err() || !more {
            return read.map(drop);
        }
    }
}

// === impl Chunk ===

impl Chunk {
    fn clear(&mut self) {
        self.batch.clear();
        self.messages.clear();
        self.payloads.clear();
    }

    /// Takes messages until the chunk is full; breaks when the log ends.
    fn fill<S: Source>(&mut self, source: &mut S, decoder: &mut Decoder, keep: bool) -> Result<ControlFlow<()>, S::Error> {
        while self.messages.len() < CHUNK_MESSAGES && self.batch.len() < CHUNK_ROWS && self.payloads.len() < CHUNK_BYTES {
            let Some(record) = source.next()? else { return Ok(ControlFlow::Break(())) };
            let first = self.batch.len();
            let decoded = decoder.decode(&record, &mut self.batch).map(|rows| first..first + rows);
            let start = self.payloads.len();
            if keep {
                self.payloads.extend_from_slice(record.payload);
            }
            self.messages.push(Message { provenance: record.provenance, payload: start..self.payloads.len(), decoded });
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Judges every message of the chunk, and tells the observer.
    fn judge<O: Observer>(
        &self,
        engine: &mut Engine,
        outbox: &mut Outbox,
        counts: &mut OutcomeCounts,
        observer: &mut O,
    ) -> Result<(), O::Error> {
        for message in &self.messages {
            let payload = &self.payloads[message.payload.clone()];
            let original = Original { payload: Some(payload), ..Original::default() };
            match &message.decoded {
                Err(rejection) => {
                    observer::reject(engine, &message.provenance, rejection, original, outbox, observer)?;
                    counts.record(&outbox.outcome);
                    counts.verdicts += outbox.verdicts.len() as u64;
                }
                Ok(rows) => {
                    for query in &self.batch.queries()[rows.clone()] {
                        observer::judge(engine, query, original, outbox, observer)?;
                        counts.record(&outbox.outcome);
                        counts.verdicts += outbox.verdicts.len() as u64;
                    }
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::decode::DecodeConfig;
    use crate::engine::EngineConfig;
    use crate::observer::ObservedRecord;
    use crate::outcome::{Outcome, RejectReason};
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
        messages: Vec<String>,
        topics: Vec<String>,
        rejections_allowed: Option<usize>,
        fails_at: Option<usize>,
    }

    impl Observer for Notes {
        type Error = &'static str;

        fn keeps_originals(&self) -> bool {
            true
        }

        fn record(&mut self, record: &ObservedRecord<'_>) -> Result<(), &'static str> {
            let payload = String::from_utf8(record.original.payload.unwrap().to_vec()).unwrap();
            let rejected = matches!(record.outcome, Outcome::Rejected(_));
            self.seen.push((record.provenance.offset, record.provenance.row, !rejected));
            self.topics.push(record.provenance.topic.name().to_owned());
            self.messages.push(record.message().into_owned());
            match record.outcome {
                Outcome::Accepted => {}
                Outcome::Late { .. } => self.late.push((record.provenance.offset, payload)),
                Outcome::Rejected(_) => self.payloads.push(payload),
            }
            if self.rejections_allowed.is_some_and(|allowed| self.payloads.len() > allowed) {
                return Err("too many");
            }
            if self.fails_at == Some(self.seen.len()) { Err("disk full") } else { Ok(()) }
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
        assert!(matches!(run((0..100_000).map(line).collect(), false, &mut notes), Ended::Observer("too many")));
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

    #[test]
    fn the_outcome_of_each_record_comes_with_that_record() {
        // A far future row between good ones, within one message of many.
        let mut lines: Vec<String> = (0..40).map(|nth| line(10 * nth)).collect();
        lines.insert(20, line(5).replace("1772442905", "4070908800"));
        lines.insert(30, "garbage".into());
        let mut notes = Notes::default();
        assert!(matches!(run(lines, false, &mut notes), Ended::Whole));
        let refused: Vec<_> = notes.seen.iter().filter(|(_, _, used)| !used).collect();
        assert_eq!(refused, [&(20, 0, false), &(30, 0, false)]);
        assert!(notes.messages[20].contains("2099-01-01") && notes.messages[30].contains("not JSON"), "{:?}", notes.messages);
        assert!(notes.payloads[0].contains("4070908800") && notes.payloads[1] == "garbage");
    }

    #[test]
    fn a_copy_of_a_topic_is_judged_under_its_name() {
        let decoder = Decoder::new(&[reference()], DecodeConfig::default()).unwrap();
        let mut engine = Engine::new(EngineConfig::default(), vec![reference()]).unwrap();
        let lines = Lines { lines: vec![line(0), line(3)].into_iter(), line: String::new(), offset: 0, broken: false };
        let mut notes = Notes::default();
        assert!(matches!(replay(TopicCopy::new(lines, "predictions"), decoder, &mut engine, &mut notes), Ended::Whole));
        assert_eq!(notes.topics, ["predictions", "predictions"]);
        assert_eq!(notes.seen, [(0, 0, true), (1, 0, false)], "lines are the offsets");
    }

    #[test]
    fn a_model_without_a_reference_is_told_in_the_same_words_by_decoder_and_engine() {
        let mut notes = Notes::default();
        assert!(matches!(run(vec![line(0).replace("\"m\"", "\"n\"")], false, &mut notes), Ended::Whole));
        let mut engine = Engine::new(EngineConfig::default(), vec![reference()]).unwrap();
        let mut outbox = Outbox::default();
        let query = crate::event::Query { model: "n".into(), ..crate::event::Query::default() };
        engine.step(crate::engine::Input::Query(&query), &mut outbox);
        let Outcome::Rejected(rejection) = outbox.outcome else { panic!("{:?}", outbox.outcome) };
        assert_eq!((rejection.reason, &rejection.message), (RejectReason::UnknownModel, &notes.messages[0]));
    }
}
