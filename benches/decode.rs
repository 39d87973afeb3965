//! Decoding, compared with the simplest way to do it: one `serde_json::Value` per message, then one look-up per field.
//!
//! Compare the ratios of the three on the same recorded messages; absolute times depend on the machine. `streamed` is the
//! canonical layout as the service reads it, `mapped` the same messages through JSON pointers, `value` the baseline, which
//! does less than both (it neither bounds nor refuses anything).

use std::hint::black_box;
use std::sync::Arc;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use serde_json::Value;
use tripline::decode::{Batch, DecodeConfig, Decoder, Mapping};
use tripline::event::{Address, EventTime, Query};
use tripline::reference::{Reference, Scalar, Schema};
use tripline::source::Record;

/// Messages decoded per measurement: more than the caches hold, as in a real log.
const MESSAGES: usize = 4_096;

/// A shipped profile and recorded messages of its model.
fn recorded(model: &str, cut: &str) -> (Arc<Reference>, Vec<Vec<u8>>) {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let read =
        |path: std::path::PathBuf| std::fs::read(&path).unwrap_or_else(|error| fail(&format!("{}: {error}", path.display())));
    let profile = Reference::from_json(&read(root.join("models").join(model).join("reference.json")));
    let profile = profile.unwrap_or_else(|error| fail(&error.to_string()));
    let packed = read(root.join("tests/data").join(cut).join("events.jsonl.zst"));
    let text = zstd::decode_all(packed.as_slice()).unwrap_or_else(|error| fail(&error.to_string()));
    (Arc::new(profile), text.split(|&byte| byte == b'\n').take(MESSAGES).map(<[u8]>::to_vec).collect())
}

/// A bench without its data has nothing to measure.
#[expect(clippy::print_stderr, reason = "a bench has nobody else to tell")]
fn fail(what: &str) -> ! {
    eprintln!("cannot measure: {what}");
    std::process::exit(66)
}

fn decode_all(decoder: &mut Decoder, batch: &mut Batch, messages: &[Vec<u8>]) -> usize {
    let mut queries = 0;
    for payload in messages {
        batch.clear();
        let record = Record { payload, ..Record::default() };
        queries += decoder.decode(black_box(&record), batch).unwrap_or_else(|rejection| fail(&rejection.to_string()));
        black_box(batch.queries());
    }
    queries
}

/// The simplest way.
fn value(schema: &Schema, payload: &[u8]) -> Option<Query> {
    let event: Value = serde_json::from_slice(payload).ok()?;
    let text = |name: &str| event.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let mut query = Query {
        time: EventTime::parse(event.get("timestamp")?.as_str()?).ok()?,
        model: text("model"),
        model_version: text("model_version"),
        request_id: text("request_id"),
        account: text("client_id"),
        address: Address::parse(&text("source_ip"))?,
        row: vec![tripline::event::Cell::MISSING; schema.width()],
        latency_ms: event.get("latency_ms").and_then(Value::as_f64),
        ..Query::default()
    };
    for (name, value) in event.get("features")?.as_object()? {
        if let Some(position) = schema.position(name) {
            query.row[position] = schema.bind(position, scalar(value));
        }
    }
    query.prediction = schema.bind_prediction(scalar(event.get("prediction")?));
    Some(query)
}

fn scalar(value: &Value) -> Scalar<'_> {
    match value {
        Value::Bool(flag) => Scalar::Boolean(*flag),
        Value::Number(number) => Scalar::Number(number.as_f64().unwrap_or_default()),
        Value::String(text) => Scalar::Text(text),
        _ => Scalar::Null,
    }
}

fn decoding(criterion: &mut Criterion) {
    for (model, cut) in [("adult", "01_stable_adult"), ("magic", "23_uniform_heavy")] {
        let (reference, messages) = recorded(model, cut);
        let mut group = criterion.benchmark_group(format!("decode_{model}"));
        group.throughput(Throughput::Elements(messages.len() as u64));
        for (name, mapping) in [("streamed", None), ("mapped", Some(Mapping::default()))] {
            let config = DecodeConfig { mapping, ..DecodeConfig::default() };
            let mut decoder = Decoder::new(&[Arc::clone(&reference)], config).unwrap_or_else(|error| fail(&error.to_string()));
            let mut batch = Batch::default();
            group.bench_function(name, |bencher| bencher.iter(|| decode_all(&mut decoder, &mut batch, &messages)));
        }
        let schema = Schema::new(&reference);
        group.bench_function("value", |bencher| {
            bencher.iter_batched(
                || (),
                |()| {
                    messages
                        .iter()
                        .filter_map(|message| value(&schema, black_box(message)))
                        .map(|query| black_box(query).row.len())
                        .sum::<usize>()
                },
                BatchSize::LargeInput,
            );
        });
        group.finish();
    }
}

criterion_group!(benches, decoding);
criterion_main!(benches);
