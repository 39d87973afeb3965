//! The loop with sinks and observers: order, failures of either kind, an abandoned run, bounded memory, given offsets.

use super::*;
use crate::judge::Verdict;
use crate::observer::ObservedRecord;
use crate::outcome::Outcome;
use crate::sink::VerdictSink;

/// What happened to the outputs, in order.
#[derive(Clone, Debug, Default)]
struct Journal(Arc<Mutex<Vec<String>>>);

/// A verdict sink that writes a journal, and fails when it is told to.
#[derive(Clone, Debug, Default)]
struct Recording {
    name: &'static str,
    journal: Journal,
    /// Verdicts that are taken before deliveries fail.
    fails_after: Option<usize>,
    taken: usize,
    fails_to_flush: bool,
}

/// An observer that writes the same journal.
struct RecordingObserver(Journal);

impl Journal {
    fn note(&self, line: String) {
        self.0.lock().unwrap().push(line);
    }

    fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

impl VerdictSink for Recording {
    fn deliver(&mut self, verdict: &Verdict) -> Result<(), SinkError> {
        if self.fails_after == Some(self.taken) {
            return Err(SinkError("the disk is full".into()));
        }
        self.taken += 1;
        self.journal.note(format!("{} verdict {}", self.name, verdict.at.0));
        Ok(())
    }

    fn flush(&mut self, _deadline: Deadline) -> Result<Flushed, SinkError> {
        if self.fails_to_flush { Err(SinkError("the receiver is away".into())) } else { Ok(Flushed::Done) }
    }
}

impl Observer for RecordingObserver {
    type Error = Infallible;

    fn record(&mut self, record: &ObservedRecord<'_>) -> Result<(), Infallible> {
        let outcome = match record.outcome {
            Outcome::Accepted => "accepted".to_owned(),
            other => format!("{} ({})", other.dead_letter_reason().unwrap(), record.message()),
        };
        self.0.note(format!("record {} {outcome}", record.provenance.offset));
        Ok(())
    }

    fn verdict(&mut self, verdict: &Verdict) -> Result<(), Infallible> {
        self.0.note(format!("observed verdict {}", verdict.at.0));
        Ok(())
    }
}

/// Verdicts by hand, as the engine would reach them after the records of these offsets.
fn judged(bench: &mut Bench, partition: &Partition, offsets: std::ops::Range<i64>) -> Result<(), RuntimeError> {
    let now = bench.now();
    for offset in offsets {
        let at = EventTime::from_micros((T0 + offset) * 1_000_000);
        let verdict = Verdict::new(at, crate::judge::Scope::Model, "m", crate::judge::Finding::Drift);
        bench.runtime.dispatcher.verdicts(&[verdict], now)?;
        bench.runtime.merger.done(partition, offset);
    }
    Ok(())
}

#[test]
fn an_observer_is_told_of_every_record_in_order_with_its_own_outcome() {
    let (journal, mut bench, p) = (Journal::default(), Bench::new(config()), partition(0));
    bench.runtime.dispatcher.sinks.observers.push(Box::new(RecordingObserver(journal.clone())));
    bench.memory.assign(std::slice::from_ref(&p));
    (0..500).for_each(|second| bench.event(&p, "m", second));
    bench.memory.append(&p, b"{");
    bench.event(&p, "nobody", 501);
    bench.event(&p, "m", 7);
    bench.event(&p, "m", 400_000_000);
    bench.event(&p, "m", 502);
    bench.turns(30);
    let lines: Vec<String> = journal.lines().into_iter().filter(|line| line.starts_with("record")).collect();
    assert_eq!(lines.len(), 505);
    let at = |offset: usize, outcome: &str| {
        let expected = format!("record {offset} {outcome}");
        assert!(lines[offset].starts_with(&expected), "{} is not {expected}", lines[offset]);
    };
    (0..500).for_each(|offset| at(offset, "accepted"));
    at(500, "truncated (the JSON ends in the middle");
    at(501, "unknown_model (there is no reference for the model 'nobody'");
    at(502, "late (2026-03-02T09:15:07.000Z is behind the watermark");
    at(503, "from_the_future (");
    at(504, "accepted");
}

#[test]
fn shards_that_judge_side_by_side_keep_every_outcome_with_its_record() {
    let runs = [1, 2].map(|engine_shards| {
        let journal = Journal::default();
        // More records a turn than are judged on one thread.
        let mut bench = Bench::new(RuntimeConfig { engine_shards, batch_records: 512, ..config() });
        bench.runtime.dispatcher.sinks.observers.push(Box::new(RecordingObserver(journal.clone())));
        let p = partition(0);
        bench.memory.assign(std::slice::from_ref(&p));
        for second in 0..900 {
            match second % 10 {
                3 => bench.event(&p, "n", second),
                5 => bench.memory.append(&p, b"garbage"),
                7 if second > 300 => bench.event(&p, "m", second - 300),
                _ => bench.event(&p, "m", second),
            }
        }
        bench.turns(20);
        journal.lines().into_iter().filter(|line| line.starts_with("record")).collect::<Vec<_>>()
    });
    assert_eq!(runs[0].len(), 900);
    assert!(runs[0].iter().any(|line| line.contains(" late (")) && runs[0].iter().any(|line| line.contains("not_json")));
    assert_eq!(runs[0], runs[1]);
}

#[test]
fn sinks_get_verdicts_in_order_those_that_must_deliver_first() {
    let (journal, mut bench, p) = (Journal::default(), Bench::new(config()), partition(0));
    bench.memory.assign(std::slice::from_ref(&p));
    bench.turn().unwrap();
    let sink = |name| Recording { name, journal: journal.clone(), ..Recording::default() };
    let best_effort = BestEffort::new("pager", sink("best effort"), bench.metrics.clone());
    let sinks = &mut bench.runtime.dispatcher.sinks;
    sinks.must_deliver = vec![MustDeliver::new(sink("first")), MustDeliver::new(sink("second"))];
    sinks.best_effort.push(best_effort);
    sinks.observers.push(Box::new(RecordingObserver(journal.clone())));
    judged(&mut bench, &p, 0..2).unwrap();
    let told =
        |at: &str| ["first verdict", "second verdict", "best effort verdict", "observed verdict"].map(|who| format!("{who} {at}"));
    let expected = [told("2026-03-02T09:15:00.000Z"), told("2026-03-02T09:15:01.000Z")].concat();
    assert_eq!(journal.lines(), expected);
}

#[test]
fn a_sink_that_fails_in_the_middle_leaves_the_position_before_the_undelivered_record() {
    let (mut bench, p) = (Bench::new(config()), partition(0));
    bench.memory.assign(std::slice::from_ref(&p));
    bench.turn().unwrap();
    for second in 0..10 {
        bench.event(&p, "m", second);
    }
    bench.memory.append(&p, b"garbage");
    (11..20).for_each(|second| bench.event(&p, "m", second));
    // The dead letter of offset 10 cannot be written.
    struct Full;
    impl DeadLetterSink for Full {
        fn deliver(&mut self, _: &DeadLetter<'_>) -> Result<(), SinkError> {
            Err(SinkError("the disk is full".into()))
        }

        fn flush(&mut self, _: Deadline) -> Result<Flushed, SinkError> {
            Ok(Flushed::Done)
        }
    }
    bench.runtime.dispatcher.sinks.dead_letters = Box::new(Full);
    let error = (0..5).find_map(|_| bench.turn().err()).expect("the failure ends the loop");
    assert_eq!(error, RuntimeError::Sink(SinkError("the disk is full".into())));
    assert_eq!(bench.runtime.merger.positions(), [(p.clone(), 10)], "what lies before it is done, it and what follows is not");
    let memory = bench.memory.clone();
    bench.runtime.abandon();
    assert!(memory.closed());
    assert_eq!(memory.committed(&p), 0, "an end after a failed delivery commits nothing more");
}

#[test]
fn a_must_deliver_sink_that_fails_stops_the_service_and_nothing_behind_it_is_committed() {
    let (mut bench, p) = (Bench::new(config()), partition(0));
    bench.memory.assign(std::slice::from_ref(&p));
    bench.turn().unwrap();
    bench.runtime.dispatcher.sinks.must_deliver.push(MustDeliver::new(Recording { fails_after: Some(3), ..Recording::default() }));
    assert!(judged(&mut bench, &p, 0..10).is_err());
    assert_eq!(bench.runtime.merger.positions(), [(p.clone(), 3)]);
    bench.runtime.dispatcher.sinks.must_deliver =
        vec![MustDeliver::new(Recording { fails_to_flush: true, ..Recording::default() })];
    let error = (0..20).find_map(|_| bench.turn().err()).expect("a failed flush ends the loop");
    assert_eq!(error, RuntimeError::Sink(SinkError("the receiver is away".into())));
    assert_eq!(bench.memory.committed(&p), 0);
}

#[test]
fn a_best_effort_sink_that_fails_is_counted_and_stops_no_commit() {
    let (mut bench, p) = (Bench::new(config()), partition(0));
    let broken = Recording { fails_after: Some(1), fails_to_flush: true, ..Recording::default() };
    let sink = BestEffort::new("pager", broken, bench.metrics.clone());
    bench.runtime.dispatcher.sinks.best_effort.push(sink);
    bench.memory.assign(std::slice::from_ref(&p));
    bench.turn().unwrap();
    for second in 0..10 {
        bench.event(&p, "m", second);
    }
    judged(&mut bench, &p, 0..3).unwrap();
    bench.turns(10);
    assert_eq!(bench.memory.committed(&p), 10);
    let text = bench.metrics.render(None).unwrap();
    let series = "tripline_alerts_sent_total{outcome=\"failed\",receiver=\"pager\"} ";
    let failed: f64 = text.lines().find_map(|line| line.strip_prefix(series)?.parse().ok()).unwrap();
    assert!(failed > 2.5, "two deliveries and at least one flush failed: {failed}");
}

#[test]
fn the_bytes_held_stay_bounded_while_a_partition_waits_for_another() {
    const BOUND: usize = 4_000;
    let mut bench = Bench::new(RuntimeConfig { buffer_bytes: BOUND, ..config() });
    let (p, q) = (partition(0), partition(1));
    bench.memory.assign(&[p.clone(), q.clone()]);
    // The feed hands out the first partition before it touches the second, and the first is hours ahead.
    for minute in 0..300 {
        bench.event(&p, "m", minute * 60);
        bench.event(&q, "m", minute * 60);
    }
    // One turn reads three blocks of sixteen messages of about 130 bytes.
    let turn = 3 * 16 * 200;
    let mut paused = 0;
    for _ in 0..200 {
        bench.turn().unwrap();
        paused += usize::from(bench.memory.paused(&p));
        let held = bench.runtime.blocks.held();
        assert!(held <= BOUND + turn, "{held} bytes are held");
    }
    assert!(paused > 0, "the bound was reached");
    let counts = bench.runtime.counts();
    assert_eq!((counts.accepted, counts.late), (600, 0), "and everything was read in the end");
    assert!(!bench.memory.paused(&p) && !bench.memory.paused(&q));
}

#[test]
fn a_runtime_that_is_told_where_to_begin_begins_there() {
    let p = partition(0);
    let mut bench = Bench::new(config());
    for second in 0..10 {
        bench.event(&p, "m", second);
    }
    let begin = p.clone();
    bench.runtime = bench.runtime.starting(Box::new(move |_| Start::At(vec![(begin.clone(), 6)])));
    bench.memory.assign(std::slice::from_ref(&p));
    bench.turns(10);
    assert_eq!((bench.runtime.counts().accepted, bench.memory.committed(&p)), (4, 10));
}

#[test]
fn all_sinks_of_a_flush_share_one_deadline() {
    #[derive(Clone, Default)]
    struct Waiting(Arc<Mutex<Vec<Deadline>>>);
    impl VerdictSink for Waiting {
        fn deliver(&mut self, _: &Verdict) -> Result<(), SinkError> {
            Ok(())
        }

        fn flush(&mut self, deadline: Deadline) -> Result<Flushed, SinkError> {
            self.0.lock().unwrap().push(deadline);
            Ok(Flushed::Done)
        }
    }
    let (mut bench, p) = (Bench::new(config()), partition(0));
    let (waiting, slow) = (Waiting::default(), Waiting::default());
    let best_effort = BestEffort::new("pager", slow.clone(), bench.metrics.clone());
    let sinks = &mut bench.runtime.dispatcher.sinks;
    sinks.must_deliver = vec![MustDeliver::new(waiting.clone()), MustDeliver::new(waiting.clone())];
    sinks.best_effort.push(best_effort);
    bench.memory.assign(std::slice::from_ref(&p));
    bench.turn().unwrap();
    [&waiting, &slow].iter().for_each(|sink| sink.0.lock().unwrap().clear());
    bench.memory.revoke(std::slice::from_ref(&p), false);
    bench.turn().unwrap();
    let deadlines = waiting.0.lock().unwrap().clone();
    assert!(deadlines.len() >= 2 && deadlines[0] == deadlines[1], "{deadlines:?}");
    assert_eq!(slow.0.lock().unwrap()[0], deadlines[0], "what must not be lost goes first, the rest gets what is left");
}
