//! Records as the specifications write them, byte by byte, and what a registry may say.

use serde_json::{Value, json};

use super::*;
use crate::fuzz::{Random, cases, change_bytes};
use crate::source::feed::Partition;

/// A whole number, as Avro and Protobuf's `sint` write it (zigzag varint).
fn zigzag(value: i64) -> Vec<u8> {
    varint(((value << 1) ^ (value >> 63)).cast_unsigned())
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

/// A text, as Avro writes it.
fn text(value: &str) -> Vec<u8> {
    [zigzag(i64::try_from(value.len()).unwrap()), value.as_bytes().to_vec()].concat()
}

fn avro(schema: &Value) -> AvroSchema {
    AvroSchema::parse(&schema.to_string(), &[]).unwrap()
}

/// Fenced texts of docs/formats.md.
fn on_the_page(kind: &str) -> String {
    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/formats.md")).unwrap();
    let (_, rest) = page.split_once(&format!("```{kind}\n")).unwrap();
    rest.split_once("\n```").unwrap().0.to_owned()
}

fn from_hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

#[test]
fn the_examples_of_the_page_are_the_call_of_the_other_formats() {
    let schemas = Schemas(Arc::default());
    let avro = AvroSchema::parse(&on_the_page("avro-schema"), &[]).unwrap();
    schemas.learn(17, Ok(Schema::Avro(Box::new(avro))));
    schemas.learn(18, Ok(Schema::Protobuf(ProtobufSchema::parse(&on_the_page("protobuf-schema"), Vec::new()).unwrap())));
    for (kind, time) in [("avro", json!(1_772_442_900_000_i64)), ("protobuf", json!("2026-03-02T09:15:00Z"))] {
        let record = from_hex(&on_the_page(&format!("{kind}-record")));
        let read: Value = serde_json::from_slice(&schemas.json(&record).unwrap().unwrap()).unwrap();
        let mut expected = call_json();
        expected["timestamp"] = time;
        assert_eq!(read, expected, "{kind}");
    }
}

/// The schema of a call.
fn call() -> Value {
    json!({"type":"record","name":"Call","namespace":"log","fields":[
        {"name":"timestamp","type":{"type":"long","logicalType":"timestamp-millis"}},
        {"name":"model","type":"string"},
        {"name":"source_ip","type":["null","string"]},
        {"name":"features","type":{"type":"record","name":"Features","fields":[
            {"name":"age","type":"int"},
            {"name":"job","type":{"type":"enum","name":"Job","symbols":["Private","State"]}},
            {"name":"owner","type":"boolean"}]}},
        {"name":"prediction","type":"double"}]})
}

fn call_bytes() -> Vec<u8> {
    [
        zigzag(1_772_442_900_000),
        text("credit"),
        zigzag(1),
        text("203.0.113.7"),
        zigzag(39),
        zigzag(1),
        vec![1],
        0.83_f64.to_le_bytes().to_vec(),
    ]
    .concat()
}

fn call_json() -> Value {
    json!({"timestamp":1_772_442_900_000_i64,"model":"credit","source_ip":"203.0.113.7",
        "features":{"age":39,"job":"State","owner":true},"prediction":0.83})
}

#[test]
fn an_avro_record_is_read_as_the_specification_writes_it() {
    assert_eq!(avro(&call()).read(&call_bytes()).unwrap(), call_json());
}

#[test]
fn every_kind_of_avro_value_has_its_json() {
    let schema = json!({"type":"record","name":"R","fields":[
        {"name":"map","type":{"type":"map","values":"float"}},
        {"name":"array","type":{"type":"array","items":["null","long"]}},
        {"name":"bytes","type":"bytes"},
        {"name":"decimal","type":{"type":"bytes","logicalType":"decimal","precision":8,"scale":2}},
        {"name":"date","type":{"type":"int","logicalType":"date"}},
        {"name":"local","type":{"type":"long","logicalType":"local-timestamp-micros"}},
        {"name":"first","type":{"type":"fixed","name":"F","size":2}},
        {"name":"second","type":"F"}]});
    let bytes = [
        // A block of one entry, and the end of the map.
        zigzag(1),
        text("a"),
        0.1_f32.to_le_bytes().to_vec(),
        zigzag(0),
        // A block of two items that states its size, as the specification allows with a negative count.
        zigzag(-2),
        zigzag(3),
        zigzag(0),
        zigzag(1),
        zigzag(-70),
        zigzag(0),
        zigzag(2),
        vec![0xff, 0xfe],
        zigzag(2),
        vec![0xff, 0x38],
        zigzag(20_514),
        zigzag(1_772_442_900_000_000),
        b"ab".to_vec(),
        b"cd".to_vec(),
    ];
    let read = avro(&schema).read(&bytes.concat()).unwrap();
    assert_eq!(
        read,
        json!({"map":{"a":0.1},"array":[null,-70],"bytes":"//4=","decimal":-2.0,"date":"2026-03-02","local":"2026-03-02T09:15:00",
            "first":"ab","second":"cd"})
    );
}

#[test]
fn bytes_that_are_no_record_of_the_schema_are_refused_and_end_no_thread() {
    let schema = avro(&call());
    let whole = call_bytes();
    for end in 0..whole.len() {
        assert!(schema.read(&whole[..end]).is_err(), "cut at {end}");
    }
    assert!(schema.read(&[whole.clone(), vec![0]].concat()).unwrap_err().contains("follow"));
    // A text that claims a terabyte, and every record of random bytes.
    assert!(schema.read(&[zigzag(0), zigzag(1 << 40)].concat()).is_err());
    for seed in 0..2_000_u64 {
        let bytes: Vec<u8> = (0..seed % 64).map(|nth| (crate::hash::mix(seed * 64 + nth) >> 56) as u8).collect();
        let _ = schema.read(&bytes);
    }
}

#[test]
fn schemas_that_let_few_bytes_become_much_are_refused() {
    let tree = json!({"type":"record","name":"T","fields":[{"name":"next","type":["null","T"]}]});
    assert!(AvroSchema::parse(&tree.to_string(), &[]).unwrap_err().contains("contains itself"));
    let empty = json!({"type":"array","items":{"type":"record","name":"E","fields":[{"name":"n","type":"null"}]}});
    assert!(AvroSchema::parse(&empty.to_string(), &[]).unwrap_err().contains("no bytes"));
    assert!(AvroSchema::parse("{\"type\":\"nonsense\"}", &[]).is_err());
}

#[test]
fn an_avro_schema_may_refer_to_another() {
    let main = json!({"type":"record","name":"Call","fields":[{"name":"caller","type":"log.Caller"},{"name":"again","type":"log.Caller"}]});
    let other = json!({"type":"record","name":"Caller","namespace":"log","fields":[{"name":"ip","type":"string"}]});
    let schema = AvroSchema::parse(&main.to_string(), &[other.to_string()]).unwrap();
    assert_eq!(schema.read(&[text("a"), text("b")].concat()).unwrap(), json!({"caller":{"ip":"a"},"again":{"ip":"b"}}));
}

const PROTO: &str = r#"
    syntax = "proto3";
    package log;
    import "google/protobuf/timestamp.proto";
    import "other/features.proto";
    message Unused {}
    message Call {
        google.protobuf.Timestamp timestamp = 1;
        string model = 2;
        string source_ip = 3;
        other.Features features = 4;
        double prediction = 5;
        message Inner { sint64 big = 1; }
    }"#;
const FEATURES: &str = r#"
    syntax = "proto3";
    package other;
    message Features { int32 age = 1; string job = 2; bool owner = 3; double capital_gain = 4; }"#;

fn proto() -> ProtobufSchema {
    ProtobufSchema::parse(PROTO, vec![("other/features.proto".to_owned(), FEATURES.to_owned())]).unwrap()
}

/// A field with a length, by its number.
fn field(number: u64, bytes: &[u8]) -> Vec<u8> {
    [varint(number << 3 | 2), varint(bytes.len() as u64), bytes.to_vec()].concat()
}

#[test]
fn a_protobuf_record_is_read_as_the_specification_writes_it() {
    let time = [vec![1 << 3], varint(1_772_442_900)].concat();
    let features = [vec![1 << 3, 39], field(2, b"State"), vec![3 << 3, 1]].concat();
    let record = [
        // One index: the second message of the schema.
        zigzag(1),
        zigzag(1),
        field(1, &time),
        field(2, b"credit"),
        field(3, b"203.0.113.7"),
        field(4, &features),
        vec![5 << 3 | 1],
        0.83_f64.to_le_bytes().to_vec(),
    ];
    assert_eq!(
        proto().read(&record.concat()).unwrap(),
        json!({"timestamp":"2026-03-02T09:15:00Z","model":"credit","source_ip":"203.0.113.7",
            "features":{"age":39,"job":"State","owner":true,"capital_gain":0.0},"prediction":0.83}),
        "what was not sent is its default, and names are those of the schema"
    );
    assert_eq!(proto().read(&[0]).unwrap(), json!({}), "a zero stands for the first message");
    let inner = [zigzag(2), zigzag(1), zigzag(0), vec![1 << 3], zigzag(-(1 << 60))].concat();
    assert_eq!(proto().read(&inner).unwrap(), json!({"big":-(1_i64 << 60)}));
}

#[test]
fn protobuf_that_does_not_fit_is_refused() {
    for bytes in [&b""[..], &[2], &[2, 20], &[1], &[0xff; 12], &[200, 1], &[0, 0xff]] {
        assert!(proto().read(bytes).is_err(), "{bytes:?}");
    }
    assert!(ProtobufSchema::parse(PROTO, Vec::new()).is_err(), "an import is missing");
    assert!(ProtobufSchema::parse("message", Vec::new()).is_err());
}

#[test]
fn changed_records_are_refused_or_read_and_never_panic() {
    let schemas = Schemas(Arc::default());
    schemas.learn(17, Ok(Schema::Avro(Box::new(AvroSchema::parse(&on_the_page("avro-schema"), &[]).unwrap()))));
    schemas.learn(18, Ok(Schema::Protobuf(ProtobufSchema::parse(&on_the_page("protobuf-schema"), Vec::new()).unwrap())));
    for (fuzzer, kind) in [(31, "avro-record"), (32, "protobuf-record")] {
        let whole = from_hex(&on_the_page(kind));
        let mut accepted = 0;
        for case in 0..cases() {
            let mut random = Random::of(fuzzer, case);
            let mut record = whole[5..].to_vec();
            change_bytes(&mut record, &mut random);
            let Some(Ok(json)) = schemas.json(&[&whole[..5], &record].concat()) else { continue };
            assert!(serde_json::from_slice::<Value>(&json).unwrap().is_object(), "{kind}, case {case}");
            accepted += 1;
        }
        println!("fuzz {kind}: {} cases, {accepted} accepted", cases());
        assert!(accepted > cases() / 100 && accepted < cases(), "{kind}: {accepted}");
    }
}

#[test]
fn changed_schemas_are_refused_or_read_and_never_panic() {
    let (avro, protobuf) = (on_the_page("avro-schema").into_bytes(), on_the_page("protobuf-schema").into_bytes());
    let record = from_hex(&on_the_page("avro-record"));
    let (mut accepted, all) = ([0, 0], cases() / 10);
    for case in 0..all {
        let mut random = Random::of(33, case);
        let changed = |whole: &[u8], random: &mut Random| {
            let mut text = whole.to_vec();
            change_bytes(&mut text, random);
            String::from_utf8_lossy(&text).into_owned()
        };
        if let Ok(schema) = AvroSchema::parse(&changed(&avro, &mut random), &[]) {
            accepted[0] += 1;
            let _ = schema.read(&record[5..]);
        }
        accepted[1] += u64::from(ProtobufSchema::parse(&changed(&protobuf, &mut random), Vec::new()).is_ok());
    }
    println!("fuzz schemas: {all} cases each, {accepted:?} accepted");
    assert!(accepted.iter().all(|&count| count > 0 && count < all), "{accepted:?}");
}

fn batch(payloads: &[&[u8]]) -> RecordBatch {
    let mut batch = RecordBatch::default();
    for payload in payloads {
        batch.push(Partition::new("t", 0), 0, None, Some(payload), Vec::new());
    }
    batch
}

#[test]
fn a_batch_waits_for_unknown_ids_and_for_nothing_else() {
    let schemas = Schemas(Arc::default());
    let with_id = [&[0, 0, 0, 0, 7][..], &call_bytes()].concat();
    assert!(!schemas.lack(&batch(&[b"{}", b"", b"\x00\x00"])));
    assert!(schemas.lack(&batch(&[b"{}", &with_id])));
    assert_eq!(schemas.next_wanted(), Some(7));
    schemas.learn(7, Ok(Schema::Avro(Box::new(avro(&call())))));
    assert!(!schemas.lack(&batch(&[&with_id])));
    let read: Value = serde_json::from_slice(&schemas.json(&with_id).unwrap().unwrap()).unwrap();
    assert_eq!(read, call_json());
    let rejection = schemas.json(&with_id[..20]).unwrap().unwrap_err();
    assert_eq!(rejection.reason, RejectReason::BadEncoding);
    assert!(schemas.json(b"{}").is_none());
}

#[test]
fn an_id_that_the_registry_does_not_have_costs_its_records_and_holds_up_none() {
    let schemas = Schemas(Arc::default());
    let record = [0, 0, 0, 1, 0, 1, 2];
    assert!(schemas.lack(&batch(&[&record])));
    schemas.learn(256, Err("the registry does not know it".to_owned()));
    assert!(!schemas.lack(&batch(&[&record])));
    let rejection = schemas.json(&record).unwrap().unwrap_err();
    assert_eq!(
        (rejection.reason, rejection.message.as_str()),
        (RejectReason::UnknownSchema, "schema id 256: the registry does not know it")
    );
    schemas.learn(256, Ok(Schema::Json));
    assert_eq!(schemas.json(&record).unwrap().unwrap(), [1, 2]);
}

#[test]
fn what_is_kept_is_bounded() {
    let schemas = Schemas(Arc::default());
    for id in 0..70_000 {
        schemas.learn(id, if id % 2 == 0 { Err("none".to_owned()) } else { Ok(Schema::Json) });
    }
    let known = schemas.0.known.read().unwrap();
    assert_eq!((known.schemas.len(), known.order.len()), (MAX_SCHEMAS, MAX_SCHEMAS));
    assert!(known.refused.len() <= MAX_UNKNOWN && known.refused_order.len() <= MAX_UNKNOWN);
}

#[test]
fn only_a_zero_byte_and_four_more_are_an_id() {
    assert_eq!(split(&[0, 0, 0, 0, 7, 9]), Some((7, &[9][..])));
    assert_eq!(split(b"{\"a\":1}"), None);
    assert_eq!(split(&[0, 0, 0, 7]), None);
}
