//! Honest changes of a pipeline: the drill that makes them in a log, its gates, and the simulator that makes them on the way.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::support::data::{Cut, text};
use super::support::program::{self, Ended};

fn profile() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("models/adult/reference.json")
}

fn calm() -> PathBuf {
    Cut("01_stable_adult").path("events.jsonl.zst")
}

fn drill(more: &[&str]) -> Ended {
    let (log, profile) = (calm(), profile());
    program::run(&[&["drill", text(&log), "--reference", text(&profile)], more].concat())
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

#[test]
fn two_changes_are_judged_in_three_extents_and_the_kept_logs_replay_to_the_same_verdicts() {
    let folder = tempfile::tempdir().unwrap();
    let run = |name: &str, threads: &str| {
        let (out, page) = (folder.path().join(format!("{name}.json")), folder.path().join(format!("{name}.html")));
        let (card, kept) = (folder.path().join(format!("{name}.md")), folder.path().join(name));
        std::fs::write(&card, "# adult\n").unwrap();
        let outputs = ["--json", text(&out), "--report", text(&page), "--card", text(&card), "--keep-logs", text(&kept)];
        let ended = drill(&[&["--changes=text_hashed,rounded", "--threads", threads], &outputs[..]].concat());
        ended.must_succeed();
        assert_eq!(ended.err, "", "no bar without a terminal");
        let read = |path: &Path| std::fs::read_to_string(path).unwrap();
        assert!(read(&page).contains("text_hashed") && !read(&page).contains("<script"), "the page shows the changes");
        assert!(read(&card).contains("## Honest changes") && read(&card).contains("<!-- end of the changes -->"));
        (read(&out), read(&page), read(&card), ended.out.clone())
    };
    let one = run("one", "1");
    assert!(one == run("two", "3"), "the second drill found something else");
    let outcome: Value = serde_json::from_str(&one.0).unwrap();
    let trials = outcome["trials"].as_array().unwrap();
    let named: Vec<(&str, &str)> =
        trials.iter().map(|trial| (trial["change"].as_str().unwrap(), trial["extent"].as_str().unwrap())).collect();
    let extents = |kind| ["all", "mid", "some"].map(|extent| (kind, extent));
    assert_eq!(named, [extents("text_hashed"), extents("rounded")].concat());
    assert_eq!((&outcome["all"]["logs"], &outcome["held_out"]["logs"]), (&6.into(), &3.into()));
    let small = &trials[3];
    assert_eq!((&small["accused"], &small["right"]), (&0.into(), &true.into()), "rounding is nothing to accuse anybody of");
    for trial in trials {
        replays_to_the_same(trial, folder.path());
    }
}

/// The log that was kept of a trial leads a replay to the callers and the model's verdict that the trial states.
fn replays_to_the_same(trial: &Value, folder: &Path) {
    let name = format!("events__{}__{}", trial["change"].as_str().unwrap(), trial["extent"].as_str().unwrap());
    let (kept, verdicts, profile) = (folder.join("one").join(name), folder.join("verdicts.jsonl"), profile());
    let log = kept.join("events.jsonl.zst");
    program::run(&["replay", text(&log), "--reference", text(&profile), "--verdicts", text(&verdicts)]).must_succeed();
    let (mut accused, mut model) = (BTreeSet::new(), BTreeSet::new());
    for line in std::fs::read_to_string(&verdicts).unwrap().lines() {
        let verdict: Value = serde_json::from_str(line).unwrap();
        let said = verdict["verdict"].as_str().unwrap();
        if verdict["scope"] == "model" {
            model.extend(said.split('+').filter(|part| *part != "stable").map(str::to_owned));
        }
        if verdict["scope"] == "client" && said == "probing" && !verdict["source_ip"].is_null() {
            accused.insert((verdict["source_ip"].to_string(), verdict["client_id"].to_string()));
        }
    }
    assert_eq!(trial["accused"], accused.len(), "{trial}");
    let said = if model.is_empty() { "stable".to_owned() } else { model.into_iter().collect::<Vec<_>>().join("+") };
    assert_eq!(trial["model"], said, "{trial}");
    let truth = json(&kept.join("truth.json"));
    assert_eq!((&truth["change"]["name"], &truth["change"]["extent"]), (&trial["change"], &trial["extent"]));
    assert_eq!(truth["drift"]["start"], trial["begins"]);
}

#[test]
fn a_gate_that_does_not_hold_ends_with_1_and_the_numbers_are_written_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out.json");
    // Nobody can say that a unit changed when the log ends minutes later, so stable is said and is wrong.
    let late = ["--changes=one_unit:at=0.99", "--json", text(&out)];
    drill(&[&late[..], &["--max-wrong", "0"]].concat()).must_fail(1, &["wrong in 1 of 1 logs", "--max-wrong 0"]);
    assert_eq!(json(&out)["all"]["wrong"], 1);
    drill(&[&late[..], &["--max-wrong", "1"]].concat()).must_succeed();
    drill(&["--changes=rounded", "--extent", "mid", "--max-accused", "--max-wrong"]).must_succeed();
    drill(&["--changes=decimal_comma", "--max-accused"]).must_fail(64, &["nothing to hold --max-accused"]);
}

#[test]
fn without_callers_a_change_is_told_from_probing_and_nobody_is_accused() {
    let folder = tempfile::tempdir().unwrap();
    let (out, card) = (folder.path().join("out.json"), folder.path().join("card.md"));
    std::fs::write(&card, "# adult\n").unwrap();
    let nameless = ["--changes=text_hashed", "--extent", "mid", "--without-callers"];
    let ended = drill(&[&nameless[..], &["--json", text(&out), "--card", text(&card)]].concat());
    ended.must_succeed();
    assert!(ended.out.contains("Nobody is named in them, so nobody can") && ended.out.contains("mid           –"), "{}", ended.out);
    let outcome = json(&out);
    let trial = &outcome["trials"][0];
    assert_eq!((&outcome["log"]["without_callers"], &outcome["honest"]), (&true.into(), &0.into()));
    assert_eq!((&trial["accused"], &trial["model"], &trial["right"]), (&0.into(), &"drift".into(), &true.into()), "{trial}");
    let card = std::fs::read_to_string(&card).unwrap();
    assert!(card.contains("## Honest changes without callers") && !card.contains("## Honest changes\n"), "{card}");
    drill(&[&nameless[..], &["--max-accused"]].concat()).must_fail(64, &["--max-accused", "--without-callers"]);
    drill(&[&nameless[..], &["--keep-logs", text(folder.path())]].concat()).must_fail(64, &["--keep-logs", "--without-callers"]);
}

#[test]
fn what_cannot_be_changed_is_refused_with_what_can() {
    drill(&["--changes=telepathy"]).must_fail(64, &["'telepathy'", "space_before_text", "development"]);
    drill(&["--changes=one_unit:column=wage"]).must_fail(64, &["no column 'wage'", "capital_gain"]);
    drill(&["--changes=one_unit:column=sex"]).must_fail(64, &["'sex' does not hold numbers", "age"]);
    drill(&["--changes=rounded", "--extent", "half"]).must_fail(64, &["'half'", "all, mid, some"]);
    let profile = profile();
    let piped = ["drill", "-", "--reference", text(&profile), "--changes"];
    program::run(&piped).must_fail(64, &["standard input only once"]);
    let simulate = ["simulate", "--reference", text(&profile), "--out", "-", "--hours", "0.1", "--change"];
    program::run(&[&simulate[..], &["rounded:where=x"]].concat()).must_fail(64, &["no key 'where'", "extent, share, at, column"]);
    program::run(&[&simulate[..], &["decimal_comma"]].concat()).must_fail(64, &["decimal_comma", "decimals"]);
    let listed = program::run(&["simulate", "--list"]);
    assert!(listed.must_succeed().out.contains("space_before_text       a space before every text"), "{}", listed.out);
}

#[test]
fn a_simulated_change_alters_the_features_alone_and_the_truth_says_what_when_and_who() {
    let folder = tempfile::tempdir().unwrap();
    let simulate = |name: &str, more: &[&str]| -> (Vec<Value>, Value) {
        let (out, truth, profile) = (folder.path().join(name), folder.path().join("truth.json"), profile());
        let base =
            ["simulate", "--reference", text(&profile), "--hours", "6", "--clients", "60", "--volume", "200", "--no-look-alikes"];
        let files = ["--out", text(&out), "--truth", text(&truth)];
        program::run(&[&base[..], &files, more].concat()).must_succeed();
        let lines = std::fs::read_to_string(&out).unwrap();
        (lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect(), json(&truth))
    };
    let (plain, calm) = simulate("plain.jsonl", &[]);
    assert_eq!((calm.get("changes"), &calm["expected_model_verdict"]), (None, &"stable".into()));
    let asked = ["--change", "one_unit:column=age:share=0.4:at=0.5", "--change", "extra_field:at=0.8"];
    let (changed, truth) = simulate("changed.jsonl", &asked);
    assert_eq!(truth["expected_model_verdict"], "drift");
    let [unit, extra] = truth["changes"].as_array().unwrap().as_slice() else { panic!("{truth}") };
    assert_eq!(
        (&unit["name"], &unit["extent"], &unit["start"]),
        (&"one_unit".into(), &"some".into(), &"2026-03-02T03:00:00.000Z".into())
    );
    assert_eq!((&extra["start"], &extra["small"], &truth["change"]), (&"2026-03-02T04:48:00.000Z".into(), &true.into(), unit));
    let (mut rows, mut ips) = (0, BTreeSet::new());
    assert_eq!(plain.len(), changed.len());
    for (before, after) in plain.iter().zip(&changed) {
        let mut restored = after.clone();
        if after["features"]["age"] != before["features"]["age"] {
            assert_eq!(after["features"]["age"].as_i64().unwrap(), 12 * before["features"]["age"].as_i64().unwrap());
            assert!(after["timestamp"].as_str() >= unit["start"].as_str());
            rows += 1;
            ips.insert(after["source_ip"].to_string());
            restored["features"]["age"] = before["features"]["age"].clone();
        }
        let added = restored["features"].as_object_mut().unwrap().remove("pipeline_release").is_some();
        assert_eq!(added, after["timestamp"].as_str() >= extra["start"].as_str(), "{after}");
        assert_eq!(&restored, before);
    }
    assert!(rows > 20, "{rows} changed rows test little");
    assert_eq!((&unit["rows"], ips), (&rows.into(), unit["ips"].as_array().unwrap().iter().map(Value::to_string).collect()));
}

#[test]
fn a_change_is_said_with_an_example_of_what_callers_send_now_unless_values_may_not_be_shown() {
    let folder = tempfile::tempdir().unwrap();
    let kept = folder.path().join("kept");
    drill(&["--changes=space_before_text,one_unit:column=hours_per_week", "--extent", "mid", "--keep-logs", text(&kept)])
        .must_succeed();
    let log = |kind: &str| kept.join(format!("events__{kind}__mid")).join("events.jsonl.zst");
    let config = folder.path().join("silent.toml");
    std::fs::write(&config, "[decode]\nexample_values = false\n").unwrap();
    let replay = |log: &Path, more: &[&str]| -> (String, String, String) {
        let (verdicts, report, profile) = (folder.path().join("v.jsonl"), folder.path().join("r.html"), profile());
        let outputs = ["--verdicts", text(&verdicts), "--report", text(&report)];
        let ended = program::run(&[&["replay", text(log), "--reference", text(&profile)], &outputs[..], more].concat());
        let read = |path: &Path| std::fs::read_to_string(path).unwrap();
        (ended.must_succeed().out.clone(), read(&verdicts), read(&report))
    };
    let (out, verdicts, report) = replay(&log("space_before_text"), &[]);
    assert!(out.contains("values of workclass that the reference does not know (for example ' Private'"), "{out}");
    assert!(report.contains("(for example ' Private'"));
    let columns = |verdicts: &str| -> Vec<Value> {
        let lines = verdicts.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines.flat_map(|verdict| verdict["columns"].as_array().cloned().unwrap_or_default()).collect()
    };
    let examples: Vec<Value> = columns(&verdicts).iter().map(|column| column["examples"].clone()).collect();
    assert!(
        examples.iter().any(|examples| examples.as_array().is_some_and(|some| some.contains(&" Private".into()))),
        "{verdicts}"
    );
    for example in examples.iter().filter_map(Value::as_array) {
        assert!(example.len() <= 3 && example.iter().all(|text| text.as_str().unwrap().len() <= 40), "{example:?}");
    }

    let (silent_out, silent, silent_report) = replay(&log("space_before_text"), &["--config", text(&config)]);
    assert!(!silent_out.contains("for example") && !silent_report.contains("for example") && !silent.contains("examples"));
    // Nothing else differs, ids included.
    let plain = |verdicts: &str| -> Vec<Value> {
        let lines = verdicts.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let without = |mut verdict: Value| {
            let columns = verdict["columns"].as_array_mut();
            columns.into_iter().flatten().for_each(|column| drop(column.as_object_mut().unwrap().remove("examples")));
            verdict
        };
        lines.map(without).collect()
    };
    assert_eq!(plain(&verdicts), plain(&silent));
}
