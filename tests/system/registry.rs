//! Records with schemas of a registry, through a real Kafka: Avro, Protobuf and JSON are judged like the same records in JSON; a registry that
//! is away costs no record.

use apache_avro::types::{Record, Value as Avro};
use apache_avro::writer::datum::GenericDatumWriter;
use serde_json::{Value, json};

use super::kafka::{config, wait_until_seen};
use super::support::data::{Cut, text};
use super::support::kafka::Broker;
use super::support::program;
use super::support::registry::Registry;
use super::support::service::Service;

const CUT: Cut = Cut("10_hopskipjump_fast");

/// A record behind the id of its schema.
fn with_id(id: u32, record: &[u8]) -> Vec<u8> {
    [&[0], &id.to_be_bytes()[..], record].concat()
}

/// The recording's events.
fn events(count: usize) -> Vec<Value> {
    CUT.lines().iter().take(count).map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// An Avro schema of the recording's records: numbers are doubles, texts strings.
fn avro_schema(event: &Value) -> Value {
    let of = |value: &Value| if value.is_number() { "double" } else { "string" };
    let features: Vec<Value> =
        event["features"].as_object().unwrap().iter().map(|(name, value)| json!({"name":name,"type":["null",of(value)]})).collect();
    json!({"type":"record","name":"Event","fields":[
        {"name":"timestamp","type":"string"},{"name":"model","type":"string"},{"name":"source_ip","type":"string"},
        {"name":"features","type":{"type":"record","name":"Features","fields":features}},
        {"name":"prediction","type":of(&event["prediction"])}]})
}

fn avro_record(schema: &apache_avro::Schema, event: &Value) -> Vec<u8> {
    let scalar =
        |value: &Value| value.as_f64().map_or_else(|| Avro::String(value.as_str().unwrap_or_default().to_owned()), Avro::Double);
    let features = event["features"].as_object().unwrap().iter().map(|(name, value)| {
        let value = if value.is_null() { Avro::Union(0, Box::new(Avro::Null)) } else { Avro::Union(1, Box::new(scalar(value))) };
        (name.clone(), value)
    });
    let features = Avro::Record(features.collect());
    let mut record = Record::new(schema).unwrap();
    for name in ["timestamp", "model", "source_ip", "prediction"] {
        record.put(name, scalar(&event[name]));
    }
    record.put("features", features);
    GenericDatumWriter::builder(schema).build().unwrap().write_value_to_vec(record).unwrap()
}

/// A Protobuf schema of the same records; a field that was not sent is missing.
fn protobuf_schema(event: &Value) -> String {
    let of = |value: &Value| if value.is_number() { "double" } else { "string" };
    let features = event["features"].as_object().unwrap().iter().enumerate();
    let features: String =
        features.map(|(nth, (name, value))| format!("  optional {} {name} = {};\n", of(value), nth + 1)).collect();
    format!(
        "syntax = \"proto3\";\nmessage Event {{\n  string timestamp = 1;\n  string model = 2;\n  string source_ip = 3;\n  \
         Features features = 4;\n  {} prediction = 5;\n}}\nmessage Features {{\n{features}}}\n",
        of(&event["prediction"])
    )
}

/// The record, as the encoding of Protobuf is specified. Behind a zero, which stands for the first message of the schema.
fn protobuf_record(event: &Value) -> Vec<u8> {
    let varint = |mut value: usize| {
        let mut bytes = Vec::new();
        while value >= 0x80 {
            bytes.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        bytes.push(value as u8);
        bytes
    };
    let bytes = |number: usize, value: &[u8]| [varint(number << 3 | 2), varint(value.len()), value.to_vec()].concat();
    let field = |number: usize, value: &Value| match (value.as_f64(), value.as_str()) {
        (Some(double), _) => [varint(number << 3 | 1), double.to_le_bytes().to_vec()].concat(),
        (_, Some(text)) => bytes(number, text.as_bytes()),
        _ => Vec::new(),
    };
    let features = event["features"].as_object().unwrap().values().enumerate();
    let features: Vec<u8> = features.flat_map(|(nth, value)| field(nth + 1, value)).collect();
    let [time, model, address] = ["timestamp", "model", "source_ip"].map(|name| &event[name]);
    let outer = [field(1, time), field(2, model), field(3, address), bytes(4, &features), field(5, &event["prediction"])];
    [vec![0], outer.concat()].concat()
}

/// What the service finds in these messages: its accused callers.
fn judged(broker: &Broker, registry: &Registry, name: &str, messages: &[Vec<u8>]) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let topic = broker.topic(name, 1);
    let reference = CUT.fit(folder.path());
    let more = format!("[source.registry]\nurl = \"{}/\"\n[sink.verdicts]\nfile = \"verdicts.jsonl\"\n", registry.url());
    let produced = broker.produce(&topic, 1, messages.iter().map(|message| (0, message.as_slice())));
    let mut service = Service::start(folder.path(), "one", &config(&broker.address, &topic, &reference, &more)).ready();
    wait_until_seen(&mut [&mut service], produced);
    let counts = service.stop();
    assert_eq!((counts.sum(), counts.rejected), (produced, 0), "{name}");
    let verdicts = std::fs::read_to_string(folder.path().join("verdicts.jsonl")).unwrap_or_default();
    let verdicts = verdicts.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let accused = verdicts.filter(|verdict| verdict["scope"] == "client" && verdict["verdict"] == "probing");
    accused.map(|verdict| format!("{} {}", verdict["source_ip"], verdict["family"])).collect()
}

#[test]
fn an_attack_is_found_in_avro_and_protobuf_as_in_json() {
    let (broker, registry) = (Broker::shared(), Registry::listen());
    let events = events(usize::MAX);
    let schema = avro_schema(&events[0]);
    registry.put("/schemas/ids/17", 200, &json!({"schema": schema.to_string()}));
    registry.put("/schemas/ids/18", 200, &json!({"schema": "{}", "schemaType": "JSON"}));
    registry.put("/schemas/ids/19", 200, &json!({"schema": protobuf_schema(&events[0]), "schemaType": "PROTOBUF"}));
    let schema = apache_avro::Schema::parse_str(&schema.to_string()).unwrap();
    let plain: Vec<Vec<u8>> = events.iter().map(|event| event.to_string().into_bytes()).collect();
    let expected = judged(broker, &registry, "plain", &plain);
    assert!(!expected.is_empty());
    let avro: Vec<Vec<u8>> = events.iter().map(|event| with_id(17, &avro_record(&schema, event))).collect();
    assert_eq!(judged(broker, &registry, "avro", &avro), expected);
    let protobuf: Vec<Vec<u8>> = events.iter().map(|event| with_id(19, &protobuf_record(event))).collect();
    assert_eq!(judged(broker, &registry, "protobuf", &protobuf), expected);
    let behind_an_id: Vec<Vec<u8>> = plain.iter().map(|record| with_id(18, record)).collect();
    assert_eq!(judged(broker, &registry, "json-schema", &behind_an_id), expected);
    let asked = registry.asked();
    assert_eq!(asked.iter().filter(|(path, _)| path == "/schemas/ids/17").count(), 1, "a schema is asked for once: {asked:?}");
}

#[test]
fn while_the_registry_is_away_records_wait_and_none_is_rejected() {
    let (broker, registry, folder) = (Broker::shared(), Registry::listen(), tempfile::tempdir().unwrap());
    let topic = broker.topic("registry-away", 2);
    let reference = CUT.fit(folder.path());
    let events = events(100);
    let schema = avro_schema(&events[0]);
    let parsed = apache_avro::Schema::parse_str(&schema.to_string()).unwrap();
    registry.put("/schemas/ids/5", 503, &json!({"message":"starting"}));
    std::fs::write(folder.path().join("secret"), "open sesame\n").unwrap();
    let more = format!("[source.registry]\nurl = \"{}\"\nuser = \"tripline\"\npassword = \"${{file:secret}}\"\n", registry.url());
    let messages: Vec<Vec<u8>> = events.iter().map(|event| with_id(5, &avro_record(&parsed, event))).collect();
    broker.produce(&topic, 2, messages.iter().enumerate().map(|(nth, message)| (nth, message.as_slice())));
    let mut service = Service::start(folder.path(), "one", &config(&broker.address, &topic, &reference, &more));
    service.wait_for("the trouble to be said", |service| service.words().contains("does not answer").then_some(()));
    service.wait_for("readiness to be lost", |service| service.get("/readyz").filter(|(status, _)| *status == 503));
    assert!(service.seen() < 0.5, "nothing is judged or rejected");
    registry.put("/schemas/ids/5", 200, &json!({"schema": schema.to_string(), "schemaType": "AVRO"}));
    wait_until_seen(&mut [&mut service], 100);
    assert!(service.words().contains("answers again"));
    assert!(!service.words().contains("sesame"), "a secret was shown");
    // tripline:open sesame
    assert!(registry.asked().iter().all(|(_, credentials)| credentials == "Basic dHJpcGxpbmU6b3BlbiBzZXNhbWU="));
    // An id that nobody knows costs its record, and nothing else.
    let more: [&[u8]; 3] = [&with_id(404, b"x"), &messages[0], &with_id(5, b"\x02")];
    broker.produce(&topic, 1, more.iter().map(|message| (0, *message)));
    wait_until_seen(&mut [&mut service], 103);
    for (reason, count) in [("unknown_schema", 1.0), ("bad_encoding", 1.0)] {
        assert_eq!(service.metric("tripline_rejected_total", &format!("\"{reason}\"")), Some(count), "{reason}");
    }
    let counts = service.stop();
    assert_eq!((counts.sum(), counts.rejected), (103, 2));
}

#[test]
fn faults_of_the_registry_have_their_lines() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("c.toml");
    std::fs::write(&file, "[source.kafka]\nbrokers = \"b:9092\"\ntopics = [\"t\"]\n[source.registry]\nurl = \"ftp://x\"\npassword = \"hunter2\"\ntimeout = \"1h\"\n").unwrap();
    let ended = program::run(&["check", text(&file)]);
    ended.must_fail(64, &["line 5", "'ftp://' is no registry", "line 6", "a secret must not stand", "line 7"]);
    assert!(!ended.err.contains("hunter2"));
}
