//! Sheer volume: who asks far more different rows than others is suspicious, once, and nobody is accused for it.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::support::data::{Cut, text};
use super::support::program;

/// A log with a batch job, a NAT, health checks, retries, what-if users, and a load test shortly before its end.
const CUT: Cut = Cut("01_stable_adult");
/// Where the rows of a campaign come from: what honest callers asked the same model on another day.
const ROWS: Cut = Cut("10_hopskipjump_fast");
/// Queries of a campaign before which all its addresses are to be named.
const NAMED_WITHIN: usize = 300;

/// What was said: the lines on callers, and the words on the model; and the summary.
struct Said {
    callers: Vec<Value>,
    model: Vec<String>,
    summary: String,
    report: String,
}

/// Replays lines against the profile of [`CUT`].
fn replay(lines: &[String]) -> Said {
    let folder = tempfile::tempdir().unwrap();
    let [log, out, report] = ["events.jsonl", "verdicts.jsonl", "report.html"].map(|name| folder.path().join(name));
    std::fs::write(&log, lines.join("\n")).unwrap();
    let profile = CUT.fit(folder.path());
    let args = ["replay", text(&log), "--reference", text(&profile), "--verdicts", text(&out), "--report", text(&report)];
    let ended = program::run(&args);
    ended.must_succeed();
    let verdicts = std::fs::read_to_string(out).unwrap();
    let verdicts: Vec<Value> = verdicts.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let (callers, model) = verdicts.into_iter().partition(|line| line["scope"] == "client");
    let model: Vec<Value> = model;
    let model = model.iter().map(|line| line["verdict"].as_str().unwrap().to_owned()).collect();
    Said { callers, model, summary: ended.out, report: std::fs::read_to_string(report).unwrap() }
}

impl Said {
    /// Lines of the family `volume` with a finding, by address.
    fn of_volume(&self, finding: &str) -> BTreeMap<String, Vec<&Value>> {
        let mut found: BTreeMap<String, Vec<&Value>> = BTreeMap::new();
        for line in self.callers.iter().filter(|line| line["family"] == "volume" && line["verdict"] == finding) {
            found.entry(line["source_ip"].as_str().unwrap().to_owned()).or_default().push(line);
        }
        found
    }
}

/// The log of [`CUT`] with a campaign of ordinary rows from ten o'clock on, one in 0.3 s, dealt in turn to so many addresses.
fn with_campaign(addresses: usize, queries: usize) -> Vec<String> {
    let truth = ROWS.truth();
    let attacker = truth["malicious_ips"][0].as_str().unwrap();
    let lines = ROWS.lines().into_iter().map(|line| serde_json::from_str::<Value>(&line).unwrap());
    let mut seen = std::collections::BTreeSet::new();
    let rows = lines.filter(|event| event["source_ip"] != attacker && seen.insert(event["features"].to_string()));
    let campaign: Vec<String> = rows
        .step_by(3)
        .take(queries)
        .enumerate()
        .map(|(nth, mut event)| {
            let tenths = nth * 3;
            let time = format!("2026-03-02T10:{:02}:{:02}.{}50Z", tenths / 600, tenths / 10 % 60, tenths % 10);
            event["timestamp"] = json!(time);
            event["request_id"] = json!(format!("campaign-{nth}"));
            event["source_ip"] = json!(format!("198.{}.100.7", 20 + nth % addresses));
            event["client_id"] = json!(format!("new-{}", nth % addresses));
            event.to_string()
        })
        .collect();
    assert_eq!(campaign.len(), queries);
    let time = |line: &String| serde_json::from_str::<Value>(line).unwrap()["timestamp"].as_str().unwrap().to_owned();
    let mut all: Vec<(String, String)> = CUT.lines().into_iter().chain(campaign).map(|line| (time(&line), line)).collect();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all.into_iter().map(|(_, line)| line).collect()
}

#[test]
fn ordinary_rows_of_one_to_five_fast_addresses_are_suspicious_within_three_hundred_queries() {
    for addresses in [1, 2, 3, 5] {
        let said = replay(&with_campaign(addresses, 1_200));
        let mut suspicious = said.of_volume("suspicious");
        suspicious.retain(|address, _| address.ends_with(".100.7"));
        assert_eq!(suspicious.len(), addresses, "{suspicious:?}");
        for (address, lines) in &suspicious {
            assert_eq!(lines.len(), 1, "{address} is said once");
            let asked = lines[0]["queries_seen"].as_u64().unwrap() as usize;
            assert!(asked * addresses <= NAMED_WITHIN + addresses, "{address}: {asked} of {addresses}");
            assert_eq!(lines[0]["technique"], json!(["AML.T0034.000"]));
            assert!(lines[0]["first_query"].as_str().unwrap().starts_with("campaign-"), "{}", lines[0]);
        }
        assert!(said.callers.iter().all(|line| line["verdict"] != "probing"), "{addresses}: nobody is accused");
        assert_eq!(said.model.iter().filter(|word| *word != "stable").count(), 0, "the model's verdict: {:?}", said.model);
        assert!(
            said.summary.contains("  volume     ") && said.summary.contains("different rows in five minutes"),
            "{}",
            said.summary
        );
        assert!(said.report.contains("Who asked far more than others"));
    }
}

#[test]
fn a_load_test_is_said_once_and_no_other_honest_caller() {
    let said = replay(&CUT.lines());
    let suspicious = said.of_volume("suspicious");
    assert_eq!(suspicious.keys().collect::<Vec<_>>(), ["10.0.2.183"], "{suspicious:?}");
    assert_eq!(suspicious["10.0.2.183"].len(), 1);
    let names: Vec<&str> =
        suspicious["10.0.2.183"][0]["signals"].as_array().unwrap().iter().filter_map(|s| s["name"].as_str()).collect();
    for name in ["different_rows_in_five_minutes", "query_rate", "gap_variation", "information_budget", "regions_covered"] {
        assert!(names.contains(&name), "{names:?}");
    }
}
