//! The files under `grafana/` against the program: every series they name is exported, every exported series is used, every alert
//! has its runbook, and the generated files are up to date.
//!
//! `TRIPLINE_UPDATE=1` writes the generated files instead of comparing them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tripline::sink::metrics::series;

use super::support::daemon::committed;
use super::support::dashboard;

const RULES: &str = "grafana/prometheus/tripline.rules.yml";

fn path(relative: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(relative)
}

/// Compares a generated text with the committed file, or writes it if `TRIPLINE_UPDATE` is set.
fn is_committed(made: &str, file: &str) {
    if std::env::var_os("TRIPLINE_UPDATE").is_some() {
        std::fs::create_dir_all(path(file).parent().unwrap()).unwrap();
        return std::fs::write(path(file), made).unwrap();
    }
    let differs = committed(file).lines().zip(made.lines()).position(|(a, b)| a != b);
    assert!(committed(file) == made, "{file} is stale from line {differs:?} on: TRIPLINE_UPDATE=1 writes it anew");
}

/// Every file under a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|entry| if entry.is_dir() { files(&entry) } else { vec![entry] }).collect()
}

/// Names of Tripline's series in a text, including recorded names (`model:…:sum`).
fn series_named_in(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':'));
    let words = words.map(|word| word.trim_matches(':')).filter(|word| word.contains("tripline_"));
    words.map(str::to_owned).collect()
}

/// An exported name as a query writes it, without the parts of a histogram.
fn base(name: &str) -> &str {
    let exported = |name: &&str| series::ALL.iter().any(|series| series.name == *name);
    let parts = ["_bucket", "_sum", "_count"];
    parts.iter().filter_map(|part| name.strip_suffix(part)).find(exported).unwrap_or(name)
}

/// The rules' alerts: name → the lines of its block.
fn alerts() -> BTreeMap<String, String> {
    let rules = committed(RULES);
    let blocks = rules.split("- alert: ").skip(1);
    blocks.map(|block| (block.lines().next().unwrap().to_owned(), block.to_owned())).collect()
}

/// Runs a checker that Debian ships; a missing one fails with the remedy.
fn checker(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).current_dir(path(".")).output();
    let output = output.unwrap_or_else(|error| panic!("{program} cannot be started: {error}; `make setup` installs it"));
    let words = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {args:?}:\n{words}");
    words
}

#[test]
fn every_series_named_under_grafana_is_exported_or_recorded() {
    let rules = committed(RULES);
    let exported: BTreeSet<&str> = series::ALL.iter().map(|series| series.name).collect();
    for file in files(&path("grafana")) {
        for name in series_named_in(&std::fs::read_to_string(&file).unwrap()) {
            let known = exported.contains(base(&name)) || rules.contains(&format!("- record: {name}\n"));
            assert!(known, "{}: nothing exports {name}", file.display());
        }
    }
}

#[test]
fn every_exported_series_is_looked_at_by_the_dashboard_or_a_rule() {
    let text = committed(RULES) + &dashboard::file();
    let named: BTreeSet<String> = series_named_in(&text).iter().map(|name| base(name).to_owned()).collect();
    for series in series::ALL {
        assert!(named.contains(series.name), "{} is exported and nobody looks at it", series.name);
    }
}

#[test]
fn the_documented_series_are_the_exported_ones() {
    is_committed(&series::markdown(), "docs/metrics.md");
}

#[test]
fn the_dashboard_is_the_one_that_the_code_describes() {
    is_committed(&dashboard::file(), "grafana/dashboards/tripline.json");
}

#[test]
fn every_panel_says_what_it_is_for_and_where_to_go_next() {
    let dashboard = dashboard::dashboard();
    assert_eq!((dashboard["uid"].as_str(), &dashboard["id"]), (Some("tripline"), &Value::Null));
    assert!(dashboard["annotations"]["list"][0]["expr"].as_str().unwrap().starts_with("ALERTS{"));
    let panels = dashboard["panels"].as_array().unwrap();
    assert_eq!(panels[0]["title"], "Is it drift or probing?", "the first row answers the first question");
    let mut taken = BTreeSet::new();
    for (index, panel) in panels.iter().enumerate() {
        assert_eq!(panel["id"], index + 1);
        let place = |name: &str| panel["gridPos"][name].as_u64().unwrap();
        for x in place("x")..place("x") + place("w") {
            for y in place("y")..place("y") + place("h") {
                assert!(x < 24 && taken.insert((x, y)), "{} lies over another panel", panel["title"]);
            }
        }
        if panel["type"] == "row" {
            continue;
        }
        let title = panel["title"].as_str().unwrap();
        assert!(panel["description"].as_str().unwrap().len() > 40, "{title} does not say why one looks at it");
        assert!(!panel["fieldConfig"]["defaults"]["unit"].as_str().unwrap().is_empty(), "{title} has no unit");
        let link = panel["fieldConfig"]["defaults"]["links"][0]["url"].as_str().unwrap();
        assert!(link.starts_with("${console}/"), "{title} leads nowhere");
        for target in panel["targets"].as_array().unwrap() {
            let expr = target["expr"].as_str().unwrap();
            assert_eq!(target["datasource"]["uid"], "${datasource}", "{title}");
            let windows = expr.matches("rate(").count() + expr.matches("increase(").count();
            assert_eq!(windows, expr.matches("[$__rate_interval]").count(), "{title}: {expr}");
        }
    }
}

#[test]
fn every_alert_says_who_what_and_what_to_do() {
    let alerts = alerts();
    assert!(alerts.len() >= 12);
    for (name, block) in &alerts {
        assert!(name.starts_with("Tripline"), "{name}");
        let severity = ["critical", "warning", "info"].iter().any(|s| block.contains(&format!("severity: {s}\n")));
        let team = ["security", "sre", "owners", "both"].iter().any(|t| block.contains(&format!("team: {t}\n")));
        assert!(severity && team, "{name} has no known severity or team");
        for annotation in ["summary: ", "description: ", "dashboard_url: https://grafana.example/d/tripline/"] {
            assert!(block.contains(annotation), "{name} lacks {annotation}");
        }
        assert!(block.contains(&format!("runbook_url: https://docs.example/tripline/runbooks/{name}.md\n")), "{name}");
        let runbook = committed(&format!("docs/runbooks/{name}.md"));
        assert!(runbook.starts_with(&format!("# {name}\n")), "the runbook of {name} has another title");
        for heading in ["## What it means", "## First five minutes", "## How to confirm", "## How to close"] {
            assert!(runbook.contains(&format!("\n{heading}\n")), "the runbook of {name} lacks '{heading}'");
        }
    }
    for file in files(&path("docs/runbooks")) {
        let name = file.file_stem().unwrap().to_str().unwrap();
        assert!(name == "README" || alerts.contains_key(name), "{name} is a runbook for no alert");
    }
}

#[test]
fn the_rules_pass_their_own_tests_and_each_alert_is_in_one() {
    checker("promtool", &["check", "rules", RULES]);
    checker("promtool", &["check", "config", "grafana/prometheus/prometheus.yml"]);
    let mut tests = String::new();
    for file in ["grafana/prometheus/tripline.rules.test.yml", "grafana/prometheus/tripline.budget.test.yml"] {
        checker("promtool", &["test", "rules", file]);
        tests += &committed(file);
    }
    for name in alerts().keys() {
        assert!(tests.contains(&format!("alertname=\"{name}\"")), "no rule test ever sees {name} fire");
    }
}

#[test]
fn alerts_are_routed_to_the_people_they_concern() {
    const CONFIG: &str = "grafana/alertmanager/alertmanager.yml";
    checker("amtool", &["check-config", CONFIG]);
    for (labels, receivers) in [
        (["team=security", "severity=critical"], "security"),
        (["team=security", "severity=warning"], "security"),
        (["team=sre", "severity=warning"], "sre"),
        (["team=owners", "severity=warning"], "owners"),
        (["team=both", "severity=warning"], "security,sre"),
        (["team=security", "severity=info"], "nobody"),
        (["team=sre", "severity=info"], "nobody"),
    ] {
        // amtool fails if the receivers differ.
        let expected = format!("--verify.receivers={receivers}");
        checker("amtool", &["config", "routes", "test", "--config.file", CONFIG, &expected, labels[0], labels[1]]);
    }
}

#[test]
fn provisioning_names_the_same_uids_as_the_alerts_and_the_dashboard() {
    let sources = committed("grafana/provisioning/datasources/tripline.yaml");
    let alerting = committed("grafana/provisioning/alerting/tripline.yaml");
    for file in ["datasources", "dashboards", "alerting"] {
        let text = committed(&format!("grafana/provisioning/{file}/tripline.yaml"));
        assert!(text.lines().any(|line| line == "apiVersion: 1"), "{file}");
    }
    assert!(sources.contains("uid: tripline-prometheus\n") && alerting.contains("datasourceUid: tripline-prometheus\n"));
    // Prometheus and Grafana would notify twice; Grafana's rules are for setups without rule files.
    assert_eq!(alerting.matches("isPaused: true").count(), alerting.matches("- uid: ").count());
}
