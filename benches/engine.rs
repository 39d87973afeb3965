//! The cost of one query in the pure core, in time and in memory, compared with decoding it.
//!
//! Two synthetic models of mixed columns (14 and 32 features), made here from a fixed seed, so the bench needs no files. The
//! engine's memory of rows is filled to its default bound first; so the bench measures the state of a long-running service. Three
//! kinds of traffic: rows that are all new (`distinct`, the expensive case), rows that came before (`repeated`), and nine new rows
//! to one repeated (`mixture`). `decode` reads the same queries from JSON and is the yardstick: compare ratios; absolute times
//! depend on the machine. After each
//! measurement, bytes per client and per row of history are printed, as the engine counts them.

use std::fmt::Write as _;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tripline::decode::{Batch, DecodeConfig, Decoder};
use tripline::engine::{Engine, EngineConfig, Input, Outbox};
use tripline::event::Query;
use tripline::hash::{mix, mix2};
use tripline::reference::{Column, Dataset, FitOptions, Raw, Reference, fit};
use tripline::source::Record;

/// Features of the two models: a usual data set, and the one of the cost goal.
const WIDTHS: [usize; 2] = [14, 32];
/// Rows that the references are fitted on.
const TRAINING: u64 = 20_000;
/// Queries of one measurement.
const BLOCK: usize = 2_048;
/// Queries timed together: a few hundred microseconds, shorter than a time slice of the operating system.
const PIECE: usize = 32;
/// Callers, of whom the busier half sends two thirds.
const CALLERS: u64 = 4_000;
/// Queries a second of event time.
const RATE: u64 = 50;
/// First instant: 2026-03-02T00:00:00Z.
const START_MILLIS: u64 = 1_772_409_600_000;
/// Rows that `repeated` traffic goes through again and again.
const REPEATED: u64 = 4_096;

/// Which row comes next.
#[derive(Clone, Copy)]
enum Traffic {
    Distinct,
    Repeated,
    Mixture,
}

/// An endless log.
struct Log {
    width: usize,
    traffic: Traffic,
    next: u64,
    decoder: Decoder,
    batch: Batch,
}

/// A bench without its data has nothing to measure.
#[expect(clippy::print_stderr, reason = "a bench has nobody else to tell")]
fn fail(what: &str) -> ! {
    eprintln!("cannot measure: {what}");
    std::process::exit(66)
}

/// A number between 0 and 1 that belongs to (row, column).
fn uniform(row: u64, column: usize) -> f64 {
    (mix2(row, column as u64) >> 11) as f64 / (1_u64 << 53) as f64
}

/// Value of a column: every second one is a number with decimals, the others are counts, categories and flags in turn. All columns of a
/// row depend on two hidden factors, so they depend on each other as in real data.
fn value(row: u64, column: usize) -> Raw {
    let factor = uniform(row, 1_000 + column % 2);
    let own = uniform(row, column);
    let mixed = 0.7 * factor + 0.3 * own;
    match column % 6 {
        0 | 2 | 4 => Raw::Number(((mixed * mixed * 1e5).round()) / 100.0),
        1 => Raw::Number((mixed * 40.0).floor()),
        3 => Raw::Text(Arc::from(format!("c{}", (mixed * mixed * 9.0) as u32).as_str())),
        _ => Raw::Boolean(mixed > 0.6),
    }
}

fn reference(width: usize) -> Arc<Reference> {
    // Training rows and traffic are different rows of the same distribution.
    let rows = || (0..TRAINING).map(|row| mix(row ^ 0xfeed));
    let features = (0..width)
        .map(|column| Column { name: format!("f{column:02}"), cells: rows().map(|row| value(row, column)).collect() })
        .collect();
    let predictions = rows().map(|row| Raw::Number((uniform(row, 1_000) * 1e4).round() / 1e4)).collect();
    let dataset = Dataset { features, predictions, probabilities: Vec::new() };
    let options = FitOptions { model: format!("mixed{width}"), ..FitOptions::default() };
    Arc::new(fit(&dataset, &options).unwrap_or_else(|error| fail(&error.to_string())))
}

// === impl Log ===

impl Log {
    fn new(reference: &Arc<Reference>, traffic: Traffic) -> Self {
        let decoder = Decoder::new(&[Arc::clone(reference)], DecodeConfig::default());
        let decoder = decoder.unwrap_or_else(|error| fail(&error.to_string()));
        Self { width: reference.features.len(), traffic, next: 0, decoder, batch: Batch::default() }
    }

    /// The next message.
    fn message(&mut self) -> String {
        let i = self.next;
        self.next += 1;
        let row = match self.traffic {
            Traffic::Distinct => i,
            Traffic::Repeated => i % REPEATED,
            Traffic::Mixture => {
                if mix(i ^ 5).is_multiple_of(10) {
                    i % REPEATED
                } else {
                    i
                }
            }
        };
        let row = mix(row ^ 0xbeef);
        let caller = if mix(i).is_multiple_of(3) { mix(i ^ 1) % CALLERS } else { mix(i ^ 2) % (CALLERS / 2) };
        let millis = START_MILLIS + i * 1_000 / RATE;
        let mut text = format!(
            r#"{{"timestamp":{millis},"request_id":"r-{i}","model":"mixed{}","source_ip":"10.0.{}.{}","client_id":"a-{caller}","features":{{"#,
            self.width,
            caller / 250,
            caller % 250,
        );
        for column in 0..self.width {
            let comma = if column == 0 { "" } else { "," };
            // Writing to a String cannot fail.
            let _ = match value(row, column) {
                Raw::Text(category) => write!(text, r#"{comma}"f{column:02}":"{category}""#),
                Raw::Number(number) => write!(text, r#"{comma}"f{column:02}":{number}"#),
                Raw::Boolean(flag) => write!(text, r#"{comma}"f{column:02}":{flag}"#),
                Raw::Missing => write!(text, r#"{comma}"f{column:02}":null"#),
            };
        }
        let _ = write!(text, r#"}},"prediction":{:.4},"latency_ms":12.5}}"#, uniform(row, 1_000));
        text
    }

    fn messages(&mut self) -> Vec<String> {
        (0..BLOCK).map(|_| self.message()).collect()
    }

    fn queries(&mut self) -> Vec<Query> {
        (0..BLOCK)
            .map(|_| {
                let message = self.message();
                self.batch.clear();
                let record = Record { payload: message.as_bytes(), ..Record::default() };
                if let Err(rejection) = self.decoder.decode(&record, &mut self.batch) {
                    fail(&rejection.to_string());
                }
                self.batch.queries().first().cloned().unwrap_or_else(|| fail("a message without a query"))
            })
            .collect()
    }
}

fn feed(engine: &mut Engine, outbox: &mut Outbox, queries: &[Query]) -> usize {
    let mut verdicts = 0;
    for query in queries {
        engine.step(Input::Query(black_box(query)), outbox);
        verdicts += outbox.verdicts.len();
        outbox.verdicts.clear();
    }
    verdicts
}

/// Time for a block of work, from the median of its pieces: other programs interrupt some pieces, but fewer than half.
#[expect(clippy::disallowed_methods, reason = "a bench is there to measure time")]
fn timed<T>(block: &mut [T], mut work: impl FnMut(&mut [T])) -> Duration {
    let mut pieces: Vec<Duration> = block
        .chunks_mut(PIECE)
        .map(|piece| {
            let start = Instant::now();
            work(piece);
            start.elapsed()
        })
        .collect();
    pieces.sort_unstable();
    pieces[pieces.len() / 2] * (block.len() / PIECE) as u32
}

#[expect(clippy::print_stdout, reason = "criterion has no place for sizes")]
fn stepping(criterion: &mut Criterion) {
    for width in WIDTHS {
        let reference = reference(width);
        let config = EngineConfig { salt: 7, ..EngineConfig::default() };
        let mut group = criterion.benchmark_group(format!("engine_d{width}"));
        group.throughput(Throughput::Elements(BLOCK as u64));
        group.sample_size(20).warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(3));
        let mut log = Log::new(&reference, Traffic::Distinct);
        group.bench_function("decode", |bencher| {
            let mut decoder =
                Decoder::new(&[Arc::clone(&reference)], DecodeConfig::default()).unwrap_or_else(|error| fail(&error.to_string()));
            let mut batch = Batch::default();
            bencher.iter_custom(|blocks| {
                let mut read = |message: &mut String| {
                    batch.clear();
                    let record = Record { payload: message.as_bytes(), ..Record::default() };
                    black_box(decoder.decode(black_box(&record), &mut batch).unwrap_or_default());
                };
                let mut read_all = |piece: &mut [String]| piece.iter_mut().for_each(&mut read);
                (0..blocks).map(|_| timed(&mut log.messages(), &mut read_all)).sum()
            });
        });
        for (name, traffic) in [("distinct", Traffic::Distinct), ("repeated", Traffic::Repeated), ("mixture", Traffic::Mixture)] {
            let engine = Engine::new(config.clone(), vec![Arc::clone(&reference)]);
            let mut engine = engine.unwrap_or_else(|error| fail(&error.to_string()));
            let (mut log, mut outbox, mut verdicts) = (Log::new(&reference, traffic), Outbox::default(), 0);
            // Only rows that are new fill the memory.
            let fill = if matches!(traffic, Traffic::Repeated) { 2 * REPEATED as usize } else { config.max_history };
            while (log.next as usize) < fill {
                verdicts += feed(&mut engine, &mut outbox, &log.queries());
            }
            group.bench_function(name, |bencher| {
                bencher.iter_custom(|blocks| {
                    (0..blocks).map(|_| timed(&mut log.queries(), |piece| verdicts += feed(&mut engine, &mut outbox, piece))).sum()
                });
            });
            for (model, clients, client_bytes, rows, row_bytes) in engine.memory() {
                println!(
                    "{model}/{name}: {} B a client ({clients} clients), {} B a row of history ({rows} rows), {verdicts} verdicts",
                    client_bytes / clients.max(1),
                    row_bytes / rows.max(1),
                );
            }
        }
        group.finish();
    }
}

criterion_group!(benches, stepping);
criterion_main!(benches);
