//! Recorded days with a known truth, replayed: the model's verdict is right, the attackers are named, and nobody else is.
//!
//! A model's verdict is judged strictly: the union of the verdicts from the onset on must equal the truth, so one false verdict
//! fails, and an alarm before the onset fails. No honest caller may be flagged, look-alikes included. Each recording states what must
//! be found.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use super::support::data::{Cut, text};
use super::support::program;

/// Share of the attackers' addresses that must be named. It is the goal over all recordings; here each one must reach it.
const MIN_NAMED: f64 = 0.95;

/// The verdicts of a replay, compared with the truth.
#[derive(Debug, Default)]
struct Findings {
    /// Union of the verdicts on the model from the onset on.
    model: BTreeSet<String>,
    /// Verdicts on the model before the onset, other than stable.
    early: Vec<Value>,
    /// Honest addresses and accounts that were flagged as probing.
    wronged: BTreeSet<String>,
    /// Attackers' addresses that were flagged.
    named: BTreeSet<String>,
    /// Network prefixes that a verdict named as a whole.
    prefixes: BTreeSet<String>,
}

/// Strings of an array.
fn strings(value: &Value) -> BTreeSet<String> {
    value.as_array().into_iter().flatten().filter_map(|item| item.as_str().map(str::to_owned)).collect()
}

impl Findings {
    /// Replays `cut` and compares the verdicts with its truth.
    fn about(cut: Cut, truth: &Value) -> Self {
        Self::about_log(cut, truth, &cut.path("events.jsonl.zst"))
    }

    /// Replays another log against the profile and the truth of `cut`.
    fn about_log(cut: Cut, truth: &Value, log: &Path) -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self::replayed(&cut.fit(folder.path()), truth, log)
    }

    /// Replays a log against a profile and a truth.
    fn replayed(profile: &Path, truth: &Value, log: &Path) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("verdicts.jsonl");
        program::run(&["replay", text(log), "--reference", text(profile), "--verdicts", text(&out)]).must_succeed();
        let mut findings = Self::default();
        for line in std::fs::read_to_string(out).unwrap().lines() {
            findings.take(&serde_json::from_str(line).unwrap(), truth);
        }
        findings
    }

    fn take(&mut self, verdict: &Value, truth: &Value) {
        let (at, word) = (verdict["at"].as_str().unwrap(), verdict["verdict"].as_str().unwrap());
        if verdict["scope"] == "model" {
            let onsets = truth["attacks"].as_array().unwrap().iter().map(|attack| attack["start"].as_str().unwrap());
            // RFC 3339 in UTC with the same number of digits sorts as text. Without an onset every verdict counts.
            let onset = onsets.chain(truth["drift"]["start"].as_str()).min().unwrap_or_default();
            if at >= onset {
                self.model.extend(word.split('+').filter(|part| *part != "stable").map(str::to_owned));
            } else if word != "stable" {
                self.early.push(verdict.clone());
            }
            return;
        }
        if word != "probing" {
            return;
        }
        let (attackers, accounts) = (strings(&truth["malicious_ips"]), strings(&truth["malicious_clients"]));
        let shared = strings(&truth["shared_ips"]);
        let account = verdict["client_id"].as_str();
        self.prefixes.extend(verdict["source_prefix"].as_str().map(str::to_owned));
        for address in strings(&verdict["members"]).into_iter().chain(verdict["source_ip"].as_str().map(str::to_owned)) {
            if attackers.contains(&address) {
                self.named.insert(address);
            } else if !(shared.contains(&address) && account.is_some_and(|account| accounts.contains(account))) {
                self.wronged.insert(address);
            }
        }
        if let (Some(account), None) = (account, verdict["source_ip"].as_str())
            && !accounts.contains(account)
        {
            self.wronged.insert(account.to_owned());
        }
    }
}

/// Asserts that model, attackers and honest callers of a recording get the right verdicts.
fn is_judged_rightly(name: &'static str) {
    let cut = Cut(name);
    let truth = cut.truth();
    let findings = Findings::about(cut, &truth);
    let expected: BTreeSet<String> =
        truth["expected_model_verdict"].as_str().unwrap().split('+').filter(|part| *part != "stable").map(str::to_owned).collect();
    assert_eq!(findings.model, expected, "{name}: what was findings of the model from the onset on");
    assert!(findings.early.is_empty(), "{name}: an alarm before anything happened: {:?}", findings.early);
    assert!(findings.wronged.is_empty(), "{name}: honest callers are accused: {:?}", findings.wronged);
    let attackers = strings(&truth["malicious_ips"]);
    #[expect(clippy::cast_precision_loss, reason = "counts of addresses")]
    let enough = findings.named.len() as f64 >= MIN_NAMED * attackers.len() as f64;
    assert!(enough, "{name}: {} of {} attackers' addresses are named", findings.named.len(), attackers.len());
}

#[test]
fn a_day_without_attacks_with_batch_jobs_nats_and_health_checks_is_stable() {
    is_judged_rightly("01_stable_adult");
}

#[test]
fn clients_whose_coordinates_jitter_are_no_attackers() {
    is_judged_rightly("02_stable_flights_mobile");
}

#[test]
fn a_gradual_shift_of_all_callers_is_drift_and_nobodys_fault() {
    is_judged_rightly("04_drift_gradual_adult");
}

#[test]
fn a_feature_that_changes_its_unit_is_drift_and_nobodys_fault() {
    is_judged_rightly("05_drift_unit_flights");
}

#[test]
fn hopskipjump_from_one_address_is_found() {
    is_judged_rightly("10_hopskipjump_fast");
}

#[test]
fn equation_solving_is_found_over_a_prefix_and_behind_a_nat_that_stays_innocent() {
    is_judged_rightly("20_tramer_dist24_and_behind_nat");
}

#[test]
fn a_prefix_full_of_attackers_is_spoken_of_as_a_whole() {
    let cut = Cut("20_tramer_dist24_and_behind_nat");
    let truth = cut.truth();
    let attackers = strings(&truth["malicious_ips"]);
    let prefix = |address: &String| format!("{}.0/24", address.rsplit_once('.').unwrap().0);
    let theirs: BTreeSet<String> = attackers.iter().map(prefix).collect();
    let findings = Findings::about(cut, &truth);
    assert!(!findings.prefixes.is_empty() && findings.prefixes.is_subset(&theirs), "{:?} of {theirs:?}", findings.prefixes);
}

#[test]
fn an_attack_that_is_logged_an_hour_late_is_found_all_the_same() {
    let cut = Cut("10_hopskipjump_fast");
    let truth = cut.truth();
    let attackers = strings(&truth["malicious_ips"]);
    let time = |event: &Value| event["timestamp"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap().as_second();
    let mut lines: Vec<(i64, String)> = cut
        .lines()
        .into_iter()
        .map(|line| {
            let event: Value = serde_json::from_str(&line).unwrap();
            let hour = if attackers.contains(event["source_ip"].as_str().unwrap()) { 3600 } else { 0 };
            (time(&event) + hour, line)
        })
        .collect();
    lines.sort_by_key(|(logged, _)| *logged);
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("events.jsonl");
    std::fs::write(&log, lines.into_iter().map(|(_, line)| line + "\n").collect::<String>()).unwrap();
    let findings = Findings::about_log(cut, &truth, &log);
    assert!(findings.wronged.is_empty() && findings.early.is_empty(), "{findings:?}");
    assert_eq!(findings.named, attackers);
}

#[test]
fn a_grid_over_a_hundred_addresses_is_found() {
    is_judged_rightly("22_grid_dist_ofat_jitter");
}

#[test]
fn a_campaign_of_a_thousand_addresses_with_three_or_four_queries_each_is_named() {
    // Structure finds the one, distribution the other. Each address sends far fewer queries than the median honest one.
    for (model, attack) in [("magic", "one_at_a_time:queries=4000"), ("adult", "uniform:queries=3000")] {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let profile = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("models/{model}/reference.json"));
        let attack = format!("{attack},ips=1000,pace=jitter,start=9,account=none");
        let (log, facts) = (path("events.jsonl"), path("truth.json"));
        let world = ["simulate", "--reference", text(&profile), "--hours", "30", "--seed", "5", "--attack", &attack];
        program::run(&[&world[..], &["--out", text(&log), "--truth", text(&facts)]].concat()).must_succeed();
        let truth: Value = serde_json::from_str(&std::fs::read_to_string(facts).unwrap()).unwrap();
        let findings = Findings::replayed(&profile, &truth, &log);
        // Measured by this test: 933 and 918 addresses are named; with other seeds of honest callers 816.
        assert!(findings.named.len() >= 750, "{model}: {} of a thousand are named", findings.named.len());
        assert!(findings.wronged.is_empty(), "{model}: {:?}", findings.wronged);
        assert_eq!(findings.model, BTreeSet::from(["probing".to_owned()]), "{model}");
    }
}

#[test]
fn uniform_queries_that_are_half_of_the_traffic_are_an_attack_and_no_drift() {
    is_judged_rightly("23_uniform_heavy");
}

#[test]
fn active_learning_within_a_seasonal_drift_is_both() {
    is_judged_rightly("24_mixed_season_active");
}
