//! Changed records, through every decoder: none panics, and where the second decoder ([`slow`](super::slow)) is sure, the fast one agrees.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::slow::{self, Meaning};
use super::*;
use crate::decode::kserve::{Limits, Pairs};
use crate::decode::lenient::parser::object_of;
use crate::decode::recognise::recognise;
use crate::decode::token::Token;
use crate::event::EventTime;
use crate::fuzz::{Random, cases, change, change_bytes};

const CANONICAL: &str = include_str!("../../../tests/data/fuzz/canonical.jsonl");
const MAPPED: &str = include_str!("../../../tests/data/fuzz/mapped.jsonl");
/// Names that mean something to one of the decoders.
const NAMES: [&str; 28] = [
    "timestamp",
    "model",
    "features",
    "instances",
    "prediction",
    "predictions",
    "source_ip",
    "client_id",
    "request_id",
    "latency_ms",
    "label",
    "age",
    "work",
    "loud",
    "columns",
    "data",
    "inputs",
    "ndarray",
    "names",
    "dataframe_split",
    "outputs",
    "score",
    "shape",
    "encoding",
    "call",
    "meta",
    "x",
    "id",
];
/// Where the fields of the mapped records lie.
const PLACES: [(&str, &str); 10] = [
    ("timestamp", "/meta/t"),
    ("model", "/meta/m"),
    ("model_version", "/meta/v"),
    ("request_id", "/meta/id"),
    ("source_ip", "/who/ip"),
    ("client_id", "/who/id"),
    ("features", "/call/x"),
    ("prediction", "/call/y"),
    ("latency_ms", "/meta/ms"),
    ("label", "/call/z"),
];

fn mapped() -> Mapping {
    let at = |name: &str| PLACES.iter().find(|(known, _)| *known == name).unwrap().1.to_owned();
    Mapping {
        timestamp: at("timestamp"),
        model: at("model"),
        model_version: at("model_version"),
        request_id: at("request_id"),
        source_ip: at("source_ip"),
        client_id: at("client_id"),
        features: at("features"),
        prediction: at("prediction"),
        latency_ms: at("latency_ms"),
        label: at("label"),
        ..Mapping::default()
    }
}

/// A changed record: half of them are valid JSON.
fn changed(seeds: &[&str], random: &mut Random) -> Vec<u8> {
    let mut tree: Value = serde_json::from_str(random.pick::<&str>(seeds)).unwrap();
    if !random.once_in(4) {
        change(&mut tree, &NAMES, random);
    }
    let mut bytes = serde_json::to_vec(&tree).unwrap();
    if random.once_in(2) {
        change_bytes(&mut bytes, random);
    }
    bytes
}

/// Counts of a fuzzer.
#[derive(Default)]
struct Counts {
    accepted: u64,
    refused: u64,
    compared: u64,
    rows: u64,
}

/// Compares a row with what the second decoder says of it.
fn compare(query: &Query, row: &slow::Row, at: &str) {
    let bits = |cells: &[Cell]| cells.iter().map(|cell| cell.bits()).collect::<Vec<_>>();
    assert_eq!((query.time, &query.model), (row.time, &row.model), "{at}");
    assert_eq!(bits(&query.row), bits(&row.cells), "{at}");
    assert_eq!(query.latency_ms, row.latency, "{at}");
    if let Some(address) = row.address {
        assert_eq!(query.address, address, "{at}");
    }
    for (found, expected) in [
        (&query.account, &row.account),
        (&query.request_id, &row.request_id),
        (&query.model_version, &row.version),
        (&query.label, &row.label),
    ] {
        assert!(expected.as_ref().is_none_or(|expected| expected == found), "{at}: {found:?}, not {expected:?}");
    }
    if let Some(prediction) = row.prediction {
        assert_eq!(query.prediction, prediction, "{at}");
    }
}

/// Runs a fuzzer over changed records; `meaning` is the second decoder.
fn run(fuzzer: u64, seeds: &str, decoder: &mut Decoder, meaning: impl Fn(&Value) -> Meaning) -> Counts {
    let seeds: Vec<&str> = seeds.lines().collect();
    let mut counts = Counts::default();
    let mut batch = Batch::default();
    for case in 0..cases() {
        let mut random = Random::of(fuzzer, case);
        let bytes = changed(&seeds, &mut random);
        let at = format!("fuzzer {fuzzer}, case {case}: {}", String::from_utf8_lossy(&bytes));
        // Now and then there are rows of an earlier record in the batch, which must stay as they are.
        let before = if random.once_in(3) { batch.len() } else { 0 };
        if before == 0 {
            batch.clear();
        }
        let outcome = decoder.decode(&Record { payload: &bytes, ..Record::default() }, &mut batch);
        match &outcome {
            Ok(rows) => {
                counts.accepted += 1;
                assert!(*rows > 0 && batch.len() == before + rows, "{at}");
                assert!(batch.queries()[before..].iter().all(|query| query.row.len() == 3), "{at}");
            }
            Err(rejection) => {
                counts.refused += 1;
                assert!(batch.len() == before && !rejection.message.is_empty(), "{at}");
            }
        }
        let text = std::str::from_utf8(&bytes).unwrap_or_default();
        let Ok(tree) = serde_json::from_str::<Value>(text) else { continue };
        if slow::has_repeated_names(text) {
            continue;
        }
        match meaning(&tree) {
            Meaning::Unsure => continue,
            Meaning::Refused => assert!(outcome.is_err(), "accepted: {at}"),
            Meaning::Rows(rows) => {
                assert!(outcome.is_ok(), "{}: {at}", outcome.unwrap_err());
                let queries = &batch.queries()[before..];
                assert_eq!(queries.len(), rows.len(), "{at}");
                queries.iter().zip(&rows).for_each(|(query, row)| compare(query, row, &at));
                counts.rows += rows.len() as u64;
            }
        }
        counts.compared += 1;
    }
    let Counts { accepted, refused, compared, rows } = counts;
    println!(
        "fuzz decoder {fuzzer}: {} cases, {accepted} accepted, {refused} refused, {compared} compared with the slow decoder, {rows} rows",
        cases()
    );
    assert!(accepted > cases() / 10 && refused > cases() / 10 && compared > cases() / 5 && rows > cases() / 20);
    counts
}

#[test]
fn the_canonical_decoder_agrees_with_the_slow_one() {
    let mut decoder = Decoder::new(&[score_model()], DecodeConfig::default()).unwrap();
    run(10, CANONICAL, &mut decoder, |root| {
        let Some(map) = root.as_object() else { return Meaning::Refused };
        if [["features", "instances"], ["prediction", "predictions"]]
            .iter()
            .any(|both| both.iter().all(|name| map.contains_key(*name)))
        {
            return Meaning::Unsure;
        }
        slow::decode("m", |name| match name {
            "features" => map.get("features").or(map.get("instances")),
            "prediction" => map.get("prediction").or(map.get("predictions")),
            name => map.get(name),
        })
    });
}

#[test]
fn the_mapped_decoder_agrees_with_the_slow_one() {
    let config = DecodeConfig { mapping: Some(mapped()), ..DecodeConfig::default() };
    let mut decoder = Decoder::new(&[score_model()], config).unwrap();
    run(11, MAPPED, &mut decoder, |root| {
        if !root.is_object() {
            return Meaning::Refused;
        }
        slow::decode("m", |name| PLACES.iter().find(|(known, _)| *known == name).and_then(|(_, pointer)| root.pointer(pointer)))
    });
}

#[test]
fn the_lenient_parser_reads_what_is_valid_as_it_is() {
    let seeds: Vec<&str> = CANONICAL.lines().chain(MAPPED.lines()).collect();
    let mut compared = 0;
    for case in 0..cases() {
        let mut random = Random::of(12, case);
        let bytes = changed(&seeds, &mut random);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let read = object_of(&text);
        let Ok(Value::Object(expected)) = serde_json::from_str::<Value>(&text) else { continue };
        if slow::has_repeated_names(&text) {
            continue;
        }
        let (found, repairs) = read.unwrap_or_else(|| panic!("case {case} is refused: {text}"));
        assert_eq!(found, expected, "case {case}: {text}");
        assert_eq!(repairs.iter().count(), 0, "case {case}: {text}");
        compared += 1;
    }
    println!("fuzz lenient parser: {} cases, {compared} compared", cases());
    assert!(compared > cases() / 4);
}

#[test]
fn no_format_panics_and_every_row_is_whole() {
    let row = json!({"age":39,"work":"State","loud":true});
    let seeds = [
        json!({"time":"2026-03-02T09:15:00Z","request":{"dataframe_split":{"columns":["loud","age","work"],"data":[[true,39,"State"]]}},"response":{"predictions":[0.8]}}),
        json!({"time":"2026-03-02T09:15:00Z","request":{"data":{"names":["age","work","loud"],"ndarray":[[39,"State",true]]}},"response":{"data":{"ndarray":[[0.2,0.8]]}}}),
        json!({"time":1_772_442_900,"request":{"inputs":[{"name":"age","shape":[2],"datatype":"INT64","data":[39,40]},{"name":"work","shape":[2,1],"datatype":"BYTES","data":["State","None"]}]},"response":{"outputs":[{"name":"p","shape":[2],"datatype":"FP64","data":[0.1,0.9]}]}}),
        json!({"captureData":{"endpointInput":{"data":"39,State,true","encoding":"CSV"},"endpointOutput":{"data":"0.8","encoding":"CSV"}},"eventMetadata":{"inferenceTime":"2026-03-02T09:15:00Z"}}),
        json!({"ts":"2026-03-02T09:15:00Z","score":{"type":1,"values":[0.2,0.8]},"age":39,"work":"State","loud":true}),
        json!({"log":"{\"timestamp\":\"2026-03-02T09:15:00Z\",\"features\":{\"age\":39},\"prediction\":0.5}","time":"2026-03-02T09:15:00Z"}),
        json!({"specversion":"1.0","id":"r","type":"org.kubeflow.serving.inference.request","source":"s","time":"2026-03-02T09:15:00Z","data":{"instances":[row]}}),
    ]
    .map(|seed| seed.to_string());
    let seeds: Vec<&str> = seeds.iter().map(String::as_str).collect();
    let reference = [score_model()];
    let mut decoders: Vec<Decoder> = Format::ALL
        .into_iter()
        .map(|format| Decoder::new(&reference, DecodeConfig { format: Some(format), ..DecodeConfig::default() }).unwrap())
        .collect();
    let within = Mapping { record: Some("/log".into()), model_name: Some("m".into()), ..Mapping::default() };
    decoders.push(Decoder::new(&reference, DecodeConfig { mapping: Some(within), ..DecodeConfig::default() }).unwrap());
    let (mut accepted, mut batch) = (0_u64, Batch::default());
    for case in 0..cases() {
        let mut random = Random::of(13, case);
        let bytes = changed(&seeds, &mut random);
        for decoder in &mut decoders {
            batch.clear();
            if decoder.decode(&Record { payload: &bytes, ..Record::default() }, &mut batch).is_ok() {
                accepted += 1;
                assert!(batch.queries().iter().all(|query| query.row.len() == 3), "case {case}");
            }
        }
        let _ = recognise(std::iter::once(&bytes[..]), &reference, None, &BTreeMap::new());
    }
    println!("fuzz formats: {} cases in {} decoders, {accepted} accepted", cases(), decoders.len());
    assert!(accepted > cases() / 10);
}

#[test]
fn halves_of_calls_are_given_back_once_whatever_they_are() {
    let half = |kind: &str, data: Value| {
        json!({"specversion":"1.0","id":"r-1","type":format!("org.kubeflow.serving.inference.{kind}"),"source":"s","time":"2026-03-02T09:15:00Z","data":data}).to_string()
    };
    let seeds = [half("request", json!({"instances":[{"age":39}]})), half("response", json!({"predictions":[0.5]}))];
    let seeds: Vec<&str> = seeds.iter().map(String::as_str).collect();
    let mut given = 0_u64;
    for case in 0..cases() / 20 {
        let mut random = Random::of(14, case);
        let mut pairs = Pairs::new(Limits { seconds: 30, halves: 4 }, None);
        let mut taken: u64 = 0;
        let mut back: u64 = 0;
        for offset in 0..20 {
            let payload = changed(&seeds, &mut random);
            pairs.push_record(&Record {
                payload: &payload,
                provenance: Provenance { offset, ..Provenance::default() },
                ..Record::default()
            });
            taken += 1;
            while pairs.pop().is_some() {
                back += 1;
            }
            assert!(taken - back <= 20, "case {case}");
        }
        pairs.end();
        while pairs.pop().is_some() {
            back += 1;
        }
        // Two halves become one, and nothing is lost or made up.
        assert!(back <= taken && back * 2 >= taken, "case {case}: {taken} halves, {back} records");
        given += back;
    }
    println!("fuzz halves: {} cases of 20 halves, {given} records", cases() / 20);
}

#[test]
fn times_are_read_the_same_by_the_short_way_the_general_way_and_the_library() {
    const SEEDS: [&str; 6] = [
        "2026-03-02T09:15:00.123Z",
        "2026-03-02T09:15:00Z",
        "2026-03-02 10:15:00,123456 +01:00",
        "1772442900.5",
        "02.03.2026 09:15:00",
        "Mon, 02 Mar 2026 09:15:00 GMT",
    ];
    let mut compared = 0;
    for case in 0..cases() {
        let mut random = Random::of(15, case);
        let mut bytes = random.pick(&SEEDS).as_bytes().to_vec();
        for _ in 0..=random.below(2) {
            let at = random.at(bytes.len());
            if random.once_in(4) {
                change_bytes(&mut bytes, &mut random);
            } else if let Some(byte) = bytes.get_mut(at) {
                *byte = *random.pick(b"0123456789-:.TZ+ ");
            }
        }
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let short = fields::time(Token::Text(&text), None).ok();
        assert_eq!(short, EventTime::parse(&text).ok(), "case {case}: {text}");
        if let Ok(stamp) = text.parse::<jiff::Timestamp>() {
            let whole = EventTime::from_micros(stamp.as_microsecond());
            let expected = (whole >= crate::event::EARLIEST && whole < crate::event::LATEST).then_some(whole);
            assert_eq!(short, expected, "case {case}: {text}");
            compared += 1;
        }
    }
    println!("fuzz times: {} cases, {compared} compared with the library", cases());
    assert!(compared > cases() / 50);
}
