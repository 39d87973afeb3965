//! KServe's inference logger as the service meets it: request and response as two CloudEvents, by Kafka or posted, in either mode.

use serde_json::{Value, json};

use super::kafka::{config, wait_until_seen};
use super::support::daemon::free_port;
use super::support::data::{Cut, text};
use super::support::kafka::Broker;
use super::support::program;
use super::support::service::Service;

const CUT: Cut = Cut("10_hopskipjump_fast");

/// Half of a call: its attributes, and its body.
struct Half {
    attributes: Vec<(&'static str, String)>,
    body: Value,
}

/// The recording as KServe would have logged it.
fn halves(lines: &[String]) -> Vec<Half> {
    let mut halves = Vec::new();
    for (nth, line) in lines.iter().enumerate() {
        let event: Value = serde_json::from_str(line).unwrap();
        let of = |kind: &str, body: Value| {
            let metadata = json!({"X-Forwarded-For": [event["source_ip"]]}).to_string();
            let attributes = vec![
                ("specversion", "1.0".to_owned()),
                ("id", format!("call-{nth}")),
                ("type", format!("org.kubeflow.serving.inference.{kind}")),
                ("source", "http://adult".to_owned()),
                ("time", event["timestamp"].as_str().unwrap().to_owned()),
                ("inferenceservicename", event["model"].as_str().unwrap().to_owned()),
                ("metadata", metadata),
            ];
            Half { attributes, body }
        };
        halves.push(of("request", json!({"instances": [event["features"]]})));
        halves.push(of("response", json!({"predictions": [event["prediction"]]})));
    }
    halves
}

impl Half {
    fn binary(&self, prefix: &str) -> (Vec<(String, String)>, String) {
        let mut headers: Vec<(String, String)> =
            self.attributes.iter().map(|(name, value)| (format!("{prefix}{name}"), value.clone())).collect();
        headers.push(("content-type".to_owned(), "application/json".to_owned()));
        (headers, self.body.to_string())
    }

    fn structured(&self) -> (Vec<(String, String)>, String) {
        let mut event: serde_json::Map<String, Value> =
            self.attributes.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
        event.insert("data".to_owned(), self.body.clone());
        (vec![("content-type".to_owned(), "application/cloudevents+json".to_owned())], Value::Object(event).to_string())
    }
}

/// Verdicts of a file, without what names where the records lay.
fn accused(verdicts: &str) -> Vec<(String, String)> {
    let verdicts = verdicts.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let clients = verdicts.filter(|verdict| verdict["scope"] == "client" && verdict["verdict"] == "probing");
    clients.map(|verdict| (verdict["source_ip"].to_string(), verdict["family"].to_string())).collect()
}

/// What a replay of the recording finds.
fn expected(folder: &std::path::Path, reference: &std::path::Path) -> Vec<(String, String)> {
    let out = folder.join("expected.jsonl");
    program::run_with(&["replay", "-", "--reference", text(reference), "--verdicts", text(&out)], &CUT.events()).must_succeed();
    let found = accused(&std::fs::read_to_string(out).unwrap());
    assert!(!found.is_empty());
    found
}

#[test]
fn calls_in_halves_are_joined_over_partitions_in_both_modes_and_an_attack_among_them_is_found() {
    let (broker, folder) = (Broker::shared(), tempfile::tempdir().unwrap());
    let topic = broker.topic("kserve", 3);
    let reference = CUT.fit(folder.path());
    let lines = CUT.lines();
    let halves = halves(&lines);
    let messages = halves.iter().enumerate().map(|(nth, half)| if nth % 4 < 2 { half.binary("ce_") } else { half.structured() });
    broker.produce_with_headers(&topic, 3, &messages.collect::<Vec<_>>());
    let more = "[decode]\nformat = \"kserve\"\n[sink.verdicts]\nfile = \"verdicts.jsonl\"\n";
    let mut service = Service::start(folder.path(), "one", &config(&broker.address, &topic, &reference, more)).ready();
    wait_until_seen(&mut [&mut service], lines.len() as u64);
    super::support::daemon::wait_for("the commit", || {
        broker.committed(&topic, &topic).iter().all(|(at, end)| at == end).then_some(())
    });
    assert_eq!(service.metric("tripline_repaired_fields_total", "no_response"), Some(0.0));
    let counts = service.stop();
    assert_eq!((counts.sum(), counts.rejected), (lines.len() as u64, 0), "a call is one record");
    let found = accused(&std::fs::read_to_string(folder.path().join("verdicts.jsonl")).unwrap());
    assert_eq!(found, expected(folder.path(), &reference));
}

#[test]
fn a_request_that_waits_survives_a_kill() {
    let (broker, folder) = (Broker::shared(), tempfile::tempdir().unwrap());
    let topic = broker.topic("kserve-killed", 1);
    let reference = CUT.fit(folder.path());
    let messages: Vec<_> = halves(&CUT.lines()[..100]).iter().map(|half| half.binary("ce_")).collect();
    let more = "[decode]\nformat = \"kserve\"\n[source.kafka.options]\n\"session.timeout.ms\" = 6000\n";
    let config = config(&broker.address, &topic, &reference, more);
    // All but the last response.
    broker.produce_with_headers(&topic, 1, &messages[..199]);
    let mut first = Service::start(folder.path(), "first", &config).ready();
    wait_until_seen(&mut [&mut first], 99);
    super::support::daemon::wait_for("the commit", || (broker.committed(&topic, &topic)[0].0 == 198).then_some(()));
    first.signal("-KILL");
    first.ended();
    broker.produce_with_headers(&topic, 1, &messages[199..]);
    let mut second = Service::start(folder.path(), "second", &config);
    second.wait_for("the call", |second| (second.seen() > 0.5).then_some(()));
    assert_eq!(second.metric("tripline_repaired_fields_total", "no_response"), Some(0.0));
    let counts = second.stop();
    assert_eq!((counts.sum(), counts.rejected), (1, 0));
}

#[test]
fn posted_calls_are_judged_without_any_broker_and_none_is_lost_in_an_orderly_end() {
    let folder = tempfile::tempdir().unwrap();
    let reference = CUT.fit(folder.path());
    let lines = CUT.lines();
    let port = free_port();
    let config = format!(
        "[source.http]\nlisten = \"127.0.0.1:{port}\"\nbuffer_records = 100\n[[models]]\nreference = \"{}\"\n\
         [sink.verdicts]\nfile = \"verdicts.jsonl\"\n[sink.dead_letters]\ntopic = \"\"\nfile = \"letters.jsonl\"\n",
        reference.display()
    );
    let file = folder.path().join("check.toml");
    std::fs::write(&file, &config).unwrap();
    program::run(&["check", "--connect", text(&file)]).must_succeed();
    let service = Service::start(folder.path(), "one", &config).ready();
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    for (nth, half) in halves(&lines).iter().enumerate() {
        let (headers, body) = if nth % 4 < 2 { half.binary("ce-") } else { half.structured() };
        // A logger that is refused comes again.
        loop {
            let request = agent.post(format!("http://127.0.0.1:{port}/logs"));
            let request = headers.iter().fold(request, |request, (name, value)| request.header(name, value));
            match request.send(&body).unwrap().status().as_u16() {
                202 => break,
                503 => std::thread::yield_now(),
                other => panic!("{other}"),
            }
        }
    }
    let accepted = service.metric("tripline_posts_total", "accepted").unwrap();
    #[expect(clippy::cast_precision_loss, reason = "counts of a test")]
    let posted = 2.0 * lines.len() as f64;
    assert!((accepted - posted).abs() < 0.5, "{accepted}");
    let counts = service.stop();
    assert_eq!((counts.sum(), counts.rejected), (lines.len() as u64, 0));
    let found = accused(&std::fs::read_to_string(folder.path().join("verdicts.jsonl")).unwrap());
    assert_eq!(found, expected(folder.path(), &reference));
    assert_eq!(
        std::fs::read_to_string(folder.path().join("letters.jsonl"))
            .unwrap_or_default()
            .lines()
            .filter(|line| !line.contains("\"late\""))
            .count(),
        0
    );
}

#[test]
fn outputs_that_need_a_broker_are_said_where_there_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let reference = CUT.fit(folder.path());
    let file = folder.path().join("c.toml");
    std::fs::write(
        &file,
        format!("[source.http]\nlisten = \"127.0.0.1:0\"\n[[models]]\nreference = \"{}\"\n", reference.display()),
    )
    .unwrap();
    program::run(&["check", text(&file)]).must_fail(64, &["sink.dead_letters.topic", "source.kafka.brokers names none"]);
}
