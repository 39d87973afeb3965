//! What a snapshot costs: the pause for the copy, packing in the background, throughput with and without, and the time to judge again.
//!
//! One synthetic model with `CLIENTS` callers (default 1 000 000; set the variable for another number). The engine is filled with them first.
//! Then it judges queries of random callers at full speed, in rounds without and with a snapshot in the background, in turn. A round lasts
//! `SECONDS` (default 30, the default interval), so the ratio is that of a service at full load. Compare ratios; absolute times
//! depend on the machine.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a bench reports to the terminal")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use tripline::checkpoint::keys::Keys;
use tripline::checkpoint::payload;
use tripline::decode::{Batch, DecodeConfig, Decoder};
use tripline::engine::{Engine, EngineConfig, Input, Outbox};
use tripline::event::Query;
use tripline::hash::{mix, mix2};
use tripline::reference::{Column, Dataset, FitOptions, Raw, Reference, fit};
use tripline::source::Record;

/// Features of the model.
const WIDTH: usize = 14;
/// Rows that the reference is fitted on.
const TRAINING: u64 = 20_000;
/// Queries a second of event time while the callers come: a million callers in two and a half hours.
const RATE: u64 = 110;
/// First instant: 2026-03-02T00:00:00Z.
const START_MILLIS: u64 = 1_772_409_600_000;
/// Different queries of the measured rounds, decoded before.
const PREPARED: u64 = 100_000;
/// Queries between two looks at the clock.
const BLOCK: usize = 256;
/// Copies that are timed.
const COPIES: usize = 11;
/// Rounds of each kind.
const ROUNDS: usize = 3;

/// A bench without its data has nothing to measure.
fn fail(what: &str) -> ! {
    eprintln!("cannot measure: {what}");
    std::process::exit(66)
}

#[expect(clippy::disallowed_methods, reason = "a bench is there to measure time")]
fn now() -> Instant {
    Instant::now()
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

fn uniform(row: u64, column: usize) -> f64 {
    (mix2(row, column as u64) >> 11) as f64 / (1_u64 << 53) as f64
}

fn value(row: u64, column: usize) -> f64 {
    let mixed = 0.7 * uniform(row, 1_000 + column % 2) + 0.3 * uniform(row, column);
    if column.is_multiple_of(2) { (mixed * 1e4).round() / 100.0 } else { (mixed * 40.0).floor() }
}

fn reference() -> Arc<Reference> {
    let rows = || (0..TRAINING).map(|row| mix(row ^ 0xfeed));
    let features = (0..WIDTH)
        .map(|column| Column { name: format!("f{column:02}"), cells: rows().map(|row| Raw::Number(value(row, column))).collect() })
        .collect();
    let predictions = rows().map(|row| Raw::Number(uniform(row, 1_000))).collect();
    let dataset = Dataset { features, predictions, probabilities: Vec::new() };
    let options = FitOptions { model: "mixed".into(), ..FitOptions::default() };
    Arc::new(fit(&dataset, &options).unwrap_or_else(|error| fail(&error.to_string())))
}

/// Decodes the query of a caller.
fn query(decoder: &mut Decoder, batch: &mut Batch, number: u64, caller: u64, millis: u64) -> Query {
    let row = mix(number ^ 0xbeef);
    let features: Vec<String> = (0..WIDTH).map(|column| format!(r#""f{column:02}":{}"#, value(row, column))).collect();
    let [_, a, b, c] = (caller as u32).to_be_bytes();
    let text = format!(
        r#"{{"timestamp":{millis},"model":"mixed","source_ip":"10.{a}.{b}.{c}","client_id":"a-{caller}","features":{{{}}},"prediction":{:.4}}}"#,
        features.join(","),
        uniform(row, 1_000)
    );
    batch.clear();
    if let Err(rejection) = decoder.decode(&Record { payload: text.as_bytes(), ..Record::default() }, batch) {
        fail(&rejection.to_string());
    }
    batch.queries().first().cloned().unwrap_or_else(|| fail("a message without a query"))
}

/// A setting from the environment.
fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Processor time of this thread so far; what other programs take does not count. It is 0 where the system does not tell.
fn cpu_seconds() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split(' ').next().and_then(|nanos| nanos.parse::<f64>().ok()).unwrap_or_default() / 1e9
}

/// What a round showed.
#[derive(Debug, Default)]
struct Round {
    queries: u64,
    seconds: f64,
    cpu_seconds: f64,
    longest_block: Duration,
    pause: Duration,
}

/// Judges for a while; with `snapshot`, one is copied at the beginning and packed in the background.
fn round(engine: &mut Engine, queries: &[Query], duration: Duration, snapshot: bool) -> Round {
    let mut outbox = Outbox::default();
    let (begun, cpu) = (now(), cpu_seconds());
    let mut round = Round::default();
    let mut background = None;
    if snapshot {
        let mut copy = engine.copy_of("mixed").unwrap_or_else(|| fail("no model"));
        round.pause = begun.elapsed();
        background = Some(std::thread::spawn(move || {
            copy.unshare();
            let packed = copy.snapshot("mixed").map(|snapshot| payload::pack(&snapshot, None, String::new()));
            drop(copy);
            packed
        }));
    }
    while begun.elapsed() < duration {
        let block = now();
        for _ in 0..BLOCK {
            engine.step(Input::Query(&queries[(mix(round.queries) % PREPARED) as usize]), &mut outbox);
            outbox.verdicts.clear();
            round.queries += 1;
        }
        round.longest_block = round.longest_block.max(block.elapsed());
    }
    round.seconds = begun.elapsed().as_secs_f64();
    round.cpu_seconds = cpu_seconds() - cpu;
    if let Some(thread) = background {
        let waited = now();
        // A packing that outlasts the round would make rounds with snapshots look cheaper than they are.
        if thread.join().is_err() {
            fail("packing failed");
        }
        if waited.elapsed() > Duration::from_secs(1) {
            println!("packing outlasted the round by {:.1} s", waited.elapsed().as_secs_f64());
        }
    }
    round
}

/// A copy, packing and reading back, each on its own.
fn parts(engine: &Engine, config: EngineConfig, reference: Arc<Reference>) {
    let mut copies: Vec<Duration> = Vec::new();
    for _ in 0..COPIES {
        let (begun, copy) = (now(), engine.copy_of("mixed"));
        copies.push(begun.elapsed());
        drop(copy);
    }
    copies.sort_unstable();
    println!("copy: {:.1} ms in the middle, {:.1} ms at most", ms(copies[COPIES / 2]), ms(copies[COPIES - 1]));
    let mut copy = engine.copy_of("mixed").unwrap_or_else(|| fail("no model"));
    let begun = now();
    copy.unshare();
    println!("copying in the background: {:.1} ms", ms(begun.elapsed()));
    let begun = now();
    let packed = copy.snapshot("mixed").map(|snapshot| payload::pack(&snapshot, None, String::new()));
    let Some(Ok((data, info))) = packed else { fail("it cannot be packed") };
    println!("packing: {:.1} ms, {} bytes, {} packed", ms(begun.elapsed()), info.unpacked_bytes, info.bytes);
    drop(copy);
    let begun = now();
    let snapshot = payload::unpack(data, &info, &Keys::default()).unwrap_or_else(|error| fail(&error.to_string()));
    let mut restored = Engine::new(config, vec![reference]).unwrap_or_else(|error| fail(&error.to_string()));
    restored.restore(snapshot).unwrap_or_else(|error| fail(&error.to_string()));
    println!("restore: {:.1} ms", ms(begun.elapsed()));
}

/// Rounds without and with a snapshot, in turn.
fn rounds(engine: &mut Engine, queries: &[Query], seconds: u64) {
    let (mut without, mut with) = (Vec::new(), Vec::new());
    round(engine, queries, Duration::from_secs(seconds / 3), false);
    for _ in 0..ROUNDS {
        without.push(round(engine, queries, Duration::from_secs(seconds), false));
        with.push(round(engine, queries, Duration::from_secs(seconds), true));
    }
    let sum = |rounds: &[Round], of: fn(&Round) -> f64| rounds.iter().map(of).sum::<f64>();
    let rate = |rounds: &[Round]| sum(rounds, |r| r.queries as f64) / sum(rounds, |r| r.seconds);
    let by_cpu = |rounds: &[Round]| sum(rounds, |r| r.queries as f64) / sum(rounds, |r| r.cpu_seconds);
    let longest = |rounds: &[Round]| ms(rounds.iter().map(|r| r.longest_block).max().unwrap_or_default());
    let pause = ms(with.iter().map(|r| r.pause).max().unwrap_or_default());
    println!("without snapshots: {:.0} queries/s, longest block {:.1} ms", rate(&without), longest(&without));
    let (rate_with, block) = (rate(&with), longest(&with));
    println!("with one every {seconds} s: {rate_with:.0} queries/s, longest block {block:.1} ms, longest pause {pause:.1} ms");
    println!("ratio of throughput: {:.3}", rate_with / rate(&without));
    println!("ratio by processor time of the judging thread: {:.3}", by_cpu(&with) / by_cpu(&without));
}

fn main() {
    let (clients, seconds) = (setting("CLIENTS", 1_000_000), setting("SECONDS", 30));
    let reference = reference();
    let config = EngineConfig { max_clients: clients as usize, salt: 7, ..EngineConfig::default() };
    let engine = Engine::new(config.clone(), vec![Arc::clone(&reference)]);
    let mut engine = engine.unwrap_or_else(|error| fail(&error.to_string()));
    let decoder = Decoder::new(&[Arc::clone(&reference)], DecodeConfig::default());
    let mut decoder = decoder.unwrap_or_else(|error| fail(&error.to_string()));
    let (mut batch, mut outbox) = (Batch::default(), Outbox::default());
    // Each caller comes once, and every fourth a second time.
    let fill = clients + clients / 4;
    let time = |number: u64| START_MILLIS + number * 1_000 / RATE;
    for number in 0..fill {
        let query = query(&mut decoder, &mut batch, number, number % clients, time(number));
        engine.step(Input::Query(&query), &mut outbox);
        outbox.verdicts.clear();
    }
    let queries: Vec<Query> =
        (0..PREPARED).map(|i| query(&mut decoder, &mut batch, fill + i, mix(i) % clients, time(fill))).collect();
    for (_, held, bytes, rows, row_bytes) in engine.memory() {
        println!("{held} clients of {} bytes, {rows} rows of history of {} bytes", bytes / held.max(1), row_bytes / rows.max(1));
    }
    parts(&engine, config, reference);
    rounds(&mut engine, &queries, seconds);
}
