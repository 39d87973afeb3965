//! The loop, stepped by hand over a feed in memory: what is counted, delivered and committed at every point.

use std::sync::{Arc, Mutex};

use prometheus::Registry;

use super::*;
use crate::decode::DecodeConfig;
use crate::engine::EngineConfig;
use crate::event::EventTime;
use crate::reference::{Column, Dataset, FitOptions, Raw, Reference, fit};
use crate::sink::{DeadLetter, Flushed};
use crate::source::feed::FeedFault;
use crate::source::memory::Memory;

mod halves;
mod sinks;
mod snapshots;
mod topic;

/// Offsets and reasons of the dead letters, and whether deliveries are held up.
type LettersSeen = (Vec<(i64, &'static str)>, bool);

/// What a test sees of the dead letters, and whether deliveries get through.
#[derive(Clone, Debug, Default)]
struct Letters(Arc<Mutex<LettersSeen>>);

impl DeadLetterSink for Letters {
    fn deliver(&mut self, letter: &DeadLetter<'_>) -> Result<(), SinkError> {
        assert!(letter.original.payload.is_some(), "the original goes with it");
        self.0.lock().unwrap().0.push((letter.provenance.offset, letter.reason));
        Ok(())
    }

    fn flush(&mut self, _deadline: Deadline) -> Result<Flushed, SinkError> {
        Ok(if self.0.lock().unwrap().1 { Flushed::Pending } else { Flushed::Done })
    }
}

fn model(name: &str) -> Arc<Reference> {
    refitted(name, 300)
}

/// A profile of a model from so many rows.
fn refitted(name: &str, rows: usize) -> Arc<Reference> {
    #[expect(clippy::cast_precision_loss, reason = "small test numbers")]
    let column = |name: &str, modulus: usize| Column {
        name: name.into(),
        cells: (0..rows).map(|i| Raw::Number((i % modulus) as f64)).collect(),
    };
    let dataset =
        Dataset { features: vec![column("x", 97), column("y", 31)], predictions: column("p", 2).cells, probabilities: Vec::new() };
    Arc::new(fit(&dataset, &FitOptions { model: name.into(), ..FitOptions::default() }).unwrap())
}

struct Bench {
    memory: Memory,
    letters: Letters,
    metrics: Metrics,
    readiness: Readiness,
    runtime: Runtime<Memory>,
    clock: Duration,
}

const T0: i64 = 1_772_442_900;

impl Bench {
    fn new(config: RuntimeConfig) -> Self {
        Self::over(Memory::default(), vec![model("m"), model("n")], config)
    }

    /// A runtime over a feed that others may have read before.
    fn over(memory: Memory, references: Vec<Arc<Reference>>, config: RuntimeConfig) -> Self {
        let metrics = Metrics::register(&Registry::new()).unwrap();
        for reference in &references {
            metrics.know_model(reference).unwrap();
        }
        let letters = Letters::default();
        let readiness = Readiness::default();
        let sinks = Sinks {
            must_deliver: Vec::new(),
            best_effort: Vec::new(),
            dead_letters: Box::new(letters.clone()),
            keep_late: true,
            observers: Vec::new(),
            metrics: metrics.clone(),
            readiness: readiness.clone(),
        };
        let decoders = (0..3).map(|_| Decoder::new(&references, DecodeConfig::default()).unwrap()).collect();
        let shards = Shards::new(config.engine_shards, &EngineConfig::default(), references).unwrap();
        let runtime = Runtime::new(memory.clone(), config, decoders, shards, Duration::from_secs(60), sinks);
        Self { memory, letters, metrics, readiness, runtime, clock: Duration::ZERO }
    }

    fn now(&self) -> Now {
        Now { wall: EventTime::from_micros((T0 + 1_000_000) * 1_000_000), since_start: self.clock }
    }

    /// One turn, a second after the last.
    fn turn(&mut self) -> Result<(), RuntimeError> {
        self.clock += Duration::from_secs(1);
        self.runtime.step(self.now())
    }

    fn turns(&mut self, count: usize) {
        for _ in 0..count {
            self.turn().unwrap();
        }
    }

    fn event(&self, partition: &Partition, model: &str, seconds: i64) {
        let x = seconds % 90;
        let text = format!(
            r#"{{"timestamp":{},"model":"{model}","source_ip":"10.0.0.{}","features":{{"x":{x},"y":3}},"prediction":1}}"#,
            T0 + seconds,
            seconds % 7
        );
        self.memory.append(partition, text.as_bytes());
    }

    fn finish(self) -> OutcomeCounts {
        let now = self.now();
        self.runtime.finish(&mut || now).unwrap()
    }
}

fn partition(number: i32) -> Partition {
    Partition::new("t", number)
}

fn config() -> RuntimeConfig {
    // Partitions come and go here one by one, as with a topic that is keyed by model.
    RuntimeConfig { batch_records: 16, buffer_records: 1_024, keyed_by_model: true, ..RuntimeConfig::default() }
}

#[test]
fn everything_produced_is_accepted_late_or_rejected_and_then_committed() {
    let mut bench = Bench::new(config());
    let p = partition(0);
    bench.memory.assign(std::slice::from_ref(&p));
    for second in 0..100 {
        bench.event(&p, "m", second);
    }
    bench.memory.append(&p, b"\xff\xfe");
    bench.memory.append(&p, b"{\"timestamp\":");
    bench.event(&p, "nobody", 100);
    bench.turns(20);
    let counts = bench.runtime.counts();
    assert_eq!((counts.accepted + counts.late, counts.rejected), (100, 3));
    assert_eq!(bench.letters.0.lock().unwrap().0, [(100, "not_utf8"), (101, "truncated"), (102, "unknown_model")]);
    assert_eq!(bench.memory.committed(&p), 103);
    let text = bench.metrics.render(None).unwrap();
    assert!(text.contains(r#"tripline_rejected_total{reason="not_utf8"} 1"#), "{text}");
    assert!(text.contains(r#"tripline_consumer_lag_records{partition="0",topic="t"} 0"#), "{text}");
    assert_eq!(bench.runtime.blocks.in_use(), 0, "every block is used again");
}

#[test]
fn a_late_query_is_counted_as_late_and_kept_with_its_reason() {
    let mut bench = Bench::new(config());
    let p = partition(0);
    bench.memory.assign(std::slice::from_ref(&p));
    (0..500).for_each(|second| bench.event(&p, "m", second));
    bench.event(&p, "m", 7);
    bench.turns(20);
    let counts = bench.runtime.counts();
    assert_eq!((counts.accepted, counts.late, counts.rejected), (500, 1, 0));
    assert_eq!(bench.letters.0.lock().unwrap().0, [(500, "late")]);
    assert_eq!(bench.memory.committed(&p), 501);
}

#[test]
fn nothing_is_committed_before_it_is_delivered() {
    let mut bench = Bench::new(config());
    let p = partition(0);
    bench.memory.assign(std::slice::from_ref(&p));
    bench.memory.append(&p, b"garbage");
    bench.letters.0.lock().unwrap().1 = true;
    bench.turns(20);
    assert_eq!(bench.letters.0.lock().unwrap().0.len(), 1, "it was handed over");
    assert_eq!(bench.memory.committed(&p), 0, "and not delivered");
    bench.letters.0.lock().unwrap().1 = false;
    bench.turns(6);
    assert_eq!(bench.memory.committed(&p), 1);
}

#[test]
fn a_revocation_commits_what_was_judged_and_nothing_is_counted_twice_or_lost() {
    let mut bench = Bench::new(config());
    let (p, q) = (partition(0), partition(1));
    bench.memory.assign(&[p.clone(), q.clone()]);
    for second in 0..200 {
        bench.event(&p, "m", second);
        bench.event(&q, "m", second);
    }
    // The feed hands out the first partition whole before it begins the second.
    bench.turns(6);
    bench.memory.revoke(std::slice::from_ref(&q), false);
    bench.turn().unwrap();
    assert_eq!(bench.memory.releases(), 1);
    let text = bench.metrics.render(None).unwrap();
    assert!(!text.contains(r#"consumer_lag_records{partition="1""#), "the lag of a lost partition vanishes");
    let handed_over = bench.memory.committed(&q);
    assert!(handed_over > 0 && handed_over < 200, "{handed_over}");
    bench.turns(40);
    let counts = bench.runtime.counts();
    assert_eq!(counts.accepted + counts.late, 200 + u64::try_from(handed_over).unwrap());
    bench.memory.assign(std::slice::from_ref(&q));
    bench.turns(40);
    let counts = bench.runtime.counts();
    assert_eq!(counts.accepted + counts.late, 400, "it goes on exactly where it stopped");
}

#[test]
fn a_member_that_is_given_a_part_at_its_start_ends_and_has_judged_nothing() {
    let mut bench = Bench::new(RuntimeConfig { keyed_by_model: false, ..config() });
    let (p, q) = (partition(0), partition(1));
    bench.event(&p, "m", 0);
    bench.event(&q, "m", 0);
    bench.memory.assign(std::slice::from_ref(&p));
    let error = bench.turn().unwrap_err();
    assert!(
        matches!(&error, RuntimeError::Split(what) if what.contains("repartition") && what.contains("keyed_by_model")),
        "{error}"
    );
    assert_eq!((bench.runtime.counts().read(), bench.memory.committed(&p)), (0, 0));
}

#[test]
fn a_member_that_loses_a_part_judges_nothing_until_it_is_back() {
    let mut bench = Bench::new(RuntimeConfig { keyed_by_model: false, ..config() });
    let (p, q) = (partition(0), partition(1));
    for second in 0..100 {
        bench.event(&p, "m", second);
        bench.event(&q, "m", second);
    }
    bench.memory.assign(&[p.clone(), q.clone()]);
    bench.turns(2);
    bench.memory.revoke(std::slice::from_ref(&q), false);
    bench.turn().unwrap();
    let (counts, committed) = (bench.runtime.counts(), bench.memory.committed(&p));
    assert!(counts.read() < 200 && bench.readiness.phase() == Phase::Split, "{counts:?}");
    bench.turns(40);
    assert_eq!((bench.runtime.counts(), bench.memory.committed(&p)), (counts, committed), "it waits");
    bench.memory.assign(std::slice::from_ref(&q));
    bench.turns(40);
    assert!(bench.readiness.is_ready());
    let counts = bench.runtime.counts();
    assert_eq!((counts.accepted + counts.late, counts.rejected), (200, 0), "each once");
}

#[test]
fn a_lost_partition_is_not_committed() {
    let mut bench = Bench::new(RuntimeConfig { commit_interval: crate::config::Period::seconds(300), ..config() });
    let p = partition(0);
    bench.memory.assign(std::slice::from_ref(&p));
    bench.turn().unwrap();
    bench.event(&p, "m", 0);
    bench.turns(2);
    bench.memory.revoke(std::slice::from_ref(&p), true);
    bench.turn().unwrap();
    assert_eq!((bench.memory.committed(&p), bench.memory.releases()), (0, 1));
}

#[test]
fn a_partition_that_catches_up_makes_no_other_late() {
    let mut bench = Bench::new(config());
    let (p, q) = (partition(0), partition(1));
    bench.memory.assign(&[p.clone(), q.clone()]);
    // Five hours in each; the feed hands out the first partition before it touches the second.
    for minute in 0..300 {
        bench.event(&p, "m", minute * 60);
    }
    for minute in 0..300 {
        bench.event(&q, "m", minute * 60);
    }
    bench.turns(60);
    let counts = bench.runtime.counts();
    assert_eq!((counts.accepted, counts.late), (600, 0));
}

#[test]
fn shards_and_threads_change_nothing_in_the_counts() {
    let run = |engine_shards, batch_records| {
        let mut bench = Bench::new(RuntimeConfig { engine_shards, batch_records, buffer_records: 65_536, ..config() });
        let p = partition(0);
        bench.memory.assign(std::slice::from_ref(&p));
        for second in 0..2_000 {
            bench.event(&p, if second % 3 == 0 { "n" } else { "m" }, second);
        }
        bench.turns(200);
        assert_eq!(bench.memory.committed(&p), 2_000);
        bench.finish()
    };
    assert_eq!(run(1, 2_048), run(2, 512));
    assert_eq!(run(1, 2_048), run(2, 16));
}

#[test]
fn a_broker_that_refuses_commits_for_a_while_stops_nothing() {
    let mut bench = Bench::new(config());
    let p = partition(0);
    bench.memory.assign(std::slice::from_ref(&p));
    bench.event(&p, "m", 0);
    bench.memory.fail_commits(Some(FeedError::new(FeedFault::Unreachable, "the coordinator is away")));
    bench.turns(12);
    assert_eq!((bench.runtime.counts().accepted, bench.memory.committed(&p)), (1, 0));
    bench.memory.fail_commits(None);
    bench.turns(6);
    assert_eq!(bench.memory.committed(&p), 1);
}

#[test]
fn the_orderly_end_judges_delivers_commits_and_leaves() {
    let mut bench = Bench::new(RuntimeConfig { commit_interval: crate::config::Period::seconds(300), ..config() });
    let p = partition(0);
    bench.memory.assign(std::slice::from_ref(&p));
    for second in 0..10 {
        bench.event(&p, "m", second);
    }
    bench.turns(2);
    let memory = bench.memory.clone();
    let readiness = bench.runtime.dispatcher.sinks.readiness.clone();
    assert!(readiness.is_ready());
    assert_eq!(bench.finish().accepted, 10);
    assert_eq!(memory.committed(&p), 10);
    assert!(memory.closed() && !readiness.is_ready());
}

#[test]
fn idle_time_moves_on_a_little_and_then_waits() {
    let mut bench = Bench::new(config());
    let p = partition(0);
    bench.memory.assign(std::slice::from_ref(&p));
    bench.turns(30);
    assert_eq!(bench.runtime.dispatcher.tick(&config(), bench.now()), None, "before the first event there is no event time");
    bench.event(&p, "m", 0);
    bench.turn().unwrap();
    let last = EventTime::from_micros(T0 * 1_000_000);
    let mut moved = last;
    for _ in 0..1_000 {
        bench.clock += Duration::from_secs(1);
        let now = bench.now();
        moved = bench.runtime.dispatcher.tick(&config(), now).unwrap_or(moved);
    }
    assert!((moved.seconds_since(last) - 300.0).abs() < 0.5, "idle_advance is the limit: {moved}");
    bench.event(&p, "m", 400);
    bench.turn().unwrap();
    assert_eq!(bench.runtime.counts().late, 0, "a log that resumes is not late");
}

#[test]
fn an_empty_topic_is_ready_and_idle() {
    let mut bench = Bench::new(config());
    bench.memory.assign(&[partition(0)]);
    bench.turns(30);
    assert!(bench.runtime.dispatcher.sinks.readiness.is_ready());
    assert_eq!(bench.finish(), OutcomeCounts::default());
}
