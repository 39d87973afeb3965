//! A crowd of strangers: every query comes from a new address. An attack is found and attributed by what its rows are; honest newcomers,
//! however many, are accused of nothing.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::support::data::{Cut, text};
use super::support::program;

/// Queries of an attack within which its model is said to be probed.
const SAID_WITHIN: usize = 100;

/// What a replay said.
struct Said {
    verdicts: Vec<Value>,
    summary: String,
    report: String,
}

// === impl Said ===

impl Said {
    /// Replays events against the profile of `cut`.
    fn of(cut: Cut, events: &[Value]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let [log, out, report] = ["events.jsonl", "verdicts.jsonl", "report.html"].map(|name| folder.path().join(name));
        std::fs::write(&log, events.iter().map(|event| format!("{event}\n")).collect::<String>()).unwrap();
        let profile = cut.fit(folder.path());
        let args = ["replay", text(&log), "--reference", text(&profile), "--verdicts", text(&out), "--report", text(&report)];
        let ended = program::run(&args);
        ended.must_succeed();
        let verdicts = std::fs::read_to_string(out).unwrap();
        Self {
            verdicts: verdicts.lines().map(|line| serde_json::from_str(line).unwrap()).collect(),
            summary: ended.out,
            report: std::fs::read_to_string(report).unwrap(),
        }
    }

    fn probing(&self, scope: &'static str) -> impl Iterator<Item = &Value> {
        let speaks = |line: &&Value| line["verdict"].as_str().is_some_and(|verdict| verdict.contains("probing"));
        self.verdicts.iter().filter(move |line| line["scope"] == scope).filter(speaks)
    }

    /// What was said of the model, one after the other.
    fn of_model(&self) -> Vec<&str> {
        let lines = self.verdicts.iter().filter(|line| line["scope"] == "model");
        lines.map(|line| line["verdict"].as_str().unwrap()).collect()
    }

    /// All that is named: addresses, and whatever else a line on a caller speaks of.
    fn named(&self) -> BTreeSet<String> {
        let callers = self.probing("client").flat_map(|line| ["source_ip", "client_id", "source_prefix"].map(|who| &line[who]));
        let members =
            self.probing("campaign").chain(self.probing("client")).filter_map(|line| line["members"].as_array()).flatten();
        callers.chain(members).filter_map(Value::as_str).map(str::to_owned).collect()
    }
}

fn events(cut: Cut) -> Vec<Value> {
    cut.lines().into_iter().map(|line| serde_json::from_str(&line).unwrap()).collect()
}

fn strings(list: &Value) -> BTreeSet<&str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

/// Gives a query an address of its own, in a network of its own, and takes its account away.
fn rotate(event: &mut Value, nth: usize) -> String {
    let address = format!("44.{}.{}.7", nth % 251, nth / 251);
    event["source_ip"] = json!(address);
    event["client_id"] = Value::Null;
    address
}

/// Lets every query of a recorded attack come from a new address: the model is said to be probed within [`SAID_WITHIN`] queries, the
/// `least` share of the queries is attributed, and nobody else is named.
fn is_found_behind_rotating_addresses(name: &'static str, least: f64) {
    let (cut, mut attack) = (Cut(name), BTreeMap::new());
    let truth = cut.truth();
    let attackers = strings(&truth["malicious_ips"]);
    let mut events = events(cut);
    assert!(events.iter().all(|event| !event["source_ip"].as_str().unwrap().starts_with("44.")));
    for event in events.iter_mut().filter(|event| attackers.contains(event["source_ip"].as_str().unwrap())) {
        let address = rotate(event, attack.len());
        attack.insert(address, event["timestamp"].as_str().unwrap().to_owned());
    }
    let said = Said::of(cut, &events);
    let named = said.named();
    let honest: Vec<&String> = named.iter().filter(|who| !attack.contains_key(*who)).collect();
    assert!(honest.is_empty(), "{name}: {honest:?}");
    #[expect(clippy::cast_precision_loss, reason = "counts of addresses")]
    let is_enough = named.len() as f64 >= least * attack.len() as f64;
    assert!(is_enough, "{name}: {} of {} queries are attributed", named.len(), attack.len());
    let first = said.probing("model").map(|line| line["at"].as_str().unwrap()).min().unwrap();
    let before = attack.values().filter(|at| at.as_str() <= first).count();
    assert!((1..=SAID_WITHIN).contains(&before), "{name}: said at query {before}");
    assert!(said.verdicts.iter().all(|line| line["scope"] != "model" || !line["verdict"].as_str().unwrap().contains("drift")));
    says_what_its_rows_have_in_common(&said);
}

/// A line speaks of the crowd and of the columns that its rows have in common; so do summary and report.
fn says_what_its_rows_have_in_common(said: &Said) {
    let is_of_strangers = |line: &&Value| line["signals"].as_array().unwrap().iter().any(|signal| signal["name"] == "strangers");
    let line = said.probing("campaign").filter(is_of_strangers).last().unwrap();
    let column = line["features"][0]["name"].as_str().unwrap();
    for (where_, text) in [("summary", &said.summary), ("report", &said.report)] {
        assert!(text.contains("addresses with a query or two each"), "{where_}");
        assert!(text.contains(&format!("their rows have in common: unusual values of {column}")), "{where_}: {column}");
    }
    assert!(said.report.contains("its row is one of a crowd of new callers"));
}

// The floors lie about a tenth below the shares that these tests measure.

#[test]
fn a_boundary_walk_with_a_new_address_for_every_query_is_found_and_attributed() {
    is_found_behind_rotating_addresses("10_hopskipjump_fast", 0.55);
}

#[test]
fn random_rows_with_a_new_address_for_every_query_are_found_and_attributed() {
    is_found_behind_rotating_addresses("23_uniform_heavy", 0.55);
}

#[test]
fn a_grid_and_an_analysis_with_a_new_address_for_every_query_are_found_and_attributed() {
    is_found_behind_rotating_addresses("22_grid_dist_ofat_jitter", 0.85);
}

#[test]
fn where_every_honest_query_has_a_new_address_nobody_is_named_and_the_model_is_judged() {
    let judged: [(&str, &[&str]); 3] = [
        ("01_stable_adult", &["stable"]),
        ("02_stable_flights_mobile", &["stable"]),
        ("05_drift_unit_flights", &["stable", "drift"]),
    ];
    for (name, model) in judged {
        let mut events = events(Cut(name));
        for (nth, event) in events.iter_mut().enumerate() {
            rotate(event, nth);
        }
        let said = Said::of(Cut(name), &events);
        assert_eq!(said.named(), BTreeSet::new(), "{name}");
        assert_eq!(said.probing("campaign").count(), 0, "{name}");
        assert_eq!(said.of_model(), model, "{name}: a row that is sent again is no further vote");
    }
}

#[test]
fn ordinary_rows_of_hundreds_of_new_addresses_within_half_an_hour_are_a_launch() {
    let (cut, other) = (Cut("01_stable_adult"), Cut("10_hopskipjump_fast"));
    let truth = other.truth();
    let attackers = strings(&truth["malicious_ips"]);
    let mut asked = BTreeSet::new();
    // What honest callers asked the same model on another day, each row once.
    let rows = events(other)
        .into_iter()
        .filter(|event| !attackers.contains(event["source_ip"].as_str().unwrap()) && asked.insert(event["features"].to_string()));
    let mut launch: Vec<Value> = rows.step_by(7).take(600).collect();
    for (nth, event) in launch.iter_mut().enumerate() {
        rotate(event, nth);
        let second = 3 * nth;
        event["timestamp"] = json!(format!("2026-03-02T10:{:02}:{:02}.050Z", second / 60, second % 60));
        event["request_id"] = json!(format!("launch-{nth}"));
    }
    assert_eq!(launch.len(), 600);
    let mut all = events(cut);
    all.append(&mut launch);
    all.sort_by(|a, b| a["timestamp"].as_str().cmp(&b["timestamp"].as_str()));
    let said = Said::of(cut, &all);
    assert_eq!(said.named(), BTreeSet::new());
    assert_eq!(said.of_model(), ["stable"]);
}
