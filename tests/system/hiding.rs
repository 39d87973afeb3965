//! Nobody hides in dead letters: an attacker whose own records carry a fault is named as without it, or, where its rows cannot be read,
//! is suspicious for its unreadable records. A fault that many callers share is nobody's.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::support::data::{Cut, text};
use super::support::program;

const CUT: Cut = Cut("10_hopskipjump_fast");

/// The text of the attacker's record, with a fault.
type Trick = fn(Value, &str) -> Vec<u8>;

/// The event with a field replaced.
fn set(mut event: Value, field: &str, value: Value) -> Vec<u8> {
    event[field] = value;
    event.to_string().into_bytes()
}

/// The line with a text put in front of its first `at`.
fn put(line: &str, at: &str, before: &str) -> Vec<u8> {
    let (start, end) = line.split_once(at).unwrap();
    format!("{start}{before}{at}{end}").into_bytes()
}

/// Faults that cost a field.
const FIELDS: [(&str, Trick); 12] = [
    ("a list of addresses", |event, _| {
        let list = format!("198.51.100.7, {}", event["source_ip"].as_str().unwrap());
        set(event, "source_ip", json!(list))
    }),
    ("a feature named twice", |_, line| put(line, r#""age":"#, r#""age":1,"#)),
    ("an address named twice", |_, line| put(line, r#""source_ip":"#, r#""source_ip":"198.51.100.7","#)),
    ("an account that is an object", |event, _| set(event, "client_id", json!({"id": [1]}))),
    ("an id without end", |event, _| set(event, "request_id", json!("x".repeat(5_000)))),
    ("a prediction that is NaN", |_, line| put(line, r#""prediction":"#, r#""prediction":NaN,"#)),
    ("a nested feature", |mut event, _| {
        event["features"]["native_country"] = json!({"code": 1});
        event.to_string().into_bytes()
    }),
    ("half a surrogate", |_, line| line.replacen(r#""request_id":""#, r#""request_id":"\ud800"#, 1).into_bytes()),
    ("a byte that is no UTF-8", |_, line| {
        let mut bytes = put(line, r#""request_id":"#, "\"note\":\"\u{1}\",");
        let at = bytes.iter().position(|&byte| byte == 1).unwrap();
        bytes[at] = 0xff;
        bytes
    }),
    ("a quotation mark in a header", |_, line| put(line, r#""request_id":"#, r#""agent":"a "b" c","#)),
    ("a cut behind the features", |_, line| line.split_once(r#""prediction""#).unwrap().0.as_bytes().to_vec()),
    ("thousands of names", |_, line| {
        let names: String = (0..4_200).map(|nth| format!(r#""x{nth}":1,"#)).collect();
        put(line, r#""request_id":"#, &names)
    }),
];

/// Faults that cost the row.
const ROWS: [(&str, Trick); 6] = [
    ("no time", |event, _| set(event, "timestamp", json!("yesterday"))),
    ("a time in the far future", |event, _| set(event, "timestamp", json!("2090-01-01T00:00:00Z"))),
    ("no features", |event, _| set(event, "features", Value::Null)),
    ("a model that cannot be read", |event, _| set(event, "model", json!(["adult"]))),
    ("a cut within the features", |_, line| line.split_once(r#""workclass""#).unwrap().0.as_bytes().to_vec()),
    ("no comma within the features", |_, line| line.replacen(r#","workclass""#, r#" "workclass""#, 1).into_bytes()),
];

/// The verdicts on callers, as (address, verdict, family), when the records for which `whose` holds carry the fault.
fn verdicts(whose: impl Fn(&str) -> bool, trick: Trick) -> (Vec<(String, String, Value)>, String) {
    let folder = tempfile::tempdir().unwrap();
    let (log, out) = (folder.path().join("events.jsonl"), folder.path().join("verdicts.jsonl"));
    let mut bytes = Vec::new();
    for line in CUT.lines() {
        let event: Value = serde_json::from_str(&line).unwrap();
        bytes.extend(if whose(event["source_ip"].as_str().unwrap()) { trick(event, &line) } else { line.into_bytes() });
        bytes.push(b'\n');
    }
    std::fs::write(&log, bytes).unwrap();
    let profile = CUT.fit(folder.path());
    let args = ["replay", text(&log), "--reference", text(&profile), "--verdicts", text(&out), "--max-rejects", "100%"];
    let ended = program::run(&args);
    ended.must_succeed();
    let lines = std::fs::read_to_string(out).unwrap();
    let lines = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()).filter(|line| line["scope"] == "client");
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    (lines.map(|line| (word(&line["source_ip"]), word(&line["verdict"]), line["family"].clone())).collect(), ended.out)
}

fn attacker() -> String {
    CUT.truth()["malicious_ips"][0].as_str().unwrap().to_owned()
}

#[test]
fn an_attacker_with_a_fault_in_a_field_is_named_as_without_it() {
    let attacker = attacker();
    let (without, _) = verdicts(|_| false, |_, line| line.as_bytes().to_vec());
    assert!(without.iter().any(|(address, verdict, _)| *address == attacker && verdict == "probing"), "{without:?}");
    for (name, trick) in FIELDS {
        let (with, summary) = verdicts(|address| address == attacker, trick);
        let named: BTreeSet<&String> =
            with.iter().filter(|(_, verdict, _)| verdict == "probing").map(|(address, ..)| address).collect();
        assert_eq!(named, BTreeSet::from([&attacker]), "{name}: {with:?}");
        assert!(summary.contains("rejected 0\n"), "{name}:\n{summary}");
    }
}

#[test]
fn an_attacker_whose_rows_cannot_be_read_is_suspicious_once_and_nobody_else_is() {
    let attacker = attacker();
    for (name, trick) in ROWS {
        let (said, summary) = verdicts(|address| address == attacker, trick);
        let suspicious: Vec<_> =
            said.iter().filter(|(_, verdict, family)| verdict == "suspicious" && family == "unreadable").collect();
        assert_eq!(suspicious.len(), 1, "{name}: {said:?}");
        assert_eq!(suspicious[0].0, attacker, "{name}");
        assert!(said.iter().all(|(address, ..)| *address == attacker), "{name}: {said:?}");
        assert!(summary.contains("  hidden     1 caller leaves"), "{name}:\n{summary}");
    }
}

#[test]
fn a_release_that_breaks_the_records_of_many_callers_is_nobodys_fault() {
    let hash = |address: &str| address.bytes().fold(7_u32, |hash, byte| hash.wrapping_mul(31).wrapping_add(u32::from(byte)));
    for one_in in [2, 3, 8] {
        let (said, _) = verdicts(|address| hash(address) % one_in == 0, ROWS[2].1);
        assert!(said.iter().all(|(.., family)| family != "unreadable"), "one in {one_in}: {said:?}");
    }
}
