//! The drill at a terminal: repeatability, bad input, and the sections of the shipped cards.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;

use tripline::decode::{DecodeConfig, Decoder};
use tripline::drill::card::{CHANGES, CHANGES_WITHOUT_CALLERS, WITHOUT_CALLERS};
use tripline::drill::changes::{self, ChangeSettings};
use tripline::drill::log::{Log, LogLimits, LogReader};
use tripline::drill::{DrillSettings, card, deliveries_without_callers};
use tripline::engine::EngineConfig;
use tripline::reference::Reference;
use tripline::simulate::change::Extent;
use tripline::simulate::change::kinds::KINDS;
use tripline::source::file::FileSource;

use super::support::data::{Cut, text};
use super::support::program::{self, Ended};

/// Shipped profiles, with the log of their drill; magic's is simulated. As in scripts/make_cards.sh.
const CARDS: [(&str, Option<Cut>); 3] =
    [("adult", Some(Cut("01_stable_adult"))), ("flights", Some(Cut("02_stable_flights_mobile"))), ("magic", None)];

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn profile(model: &str) -> PathBuf {
    repository("models").join(model).join("reference.json")
}

/// Drills `log` with more arguments.
fn drill(model: &str, log: &Path, more: &[&str]) -> Ended {
    let profile = profile(model);
    let args = [&["drill", text(log), "--reference", text(&profile)], more].concat();
    program::run(&args)
}

/// A small drill of the census cut without attacks: two attacks, all deliveries, one repeat.
const SMALL: [&str; 6] = ["--family", "uniform,zoo", "--addresses", "1,20", "--repeats", "1"];

fn calm() -> PathBuf {
    Cut("01_stable_adult").path("events.jsonl.zst")
}

/// Writes the census cut without attacks, with every event changed by `change`.
fn changed(folder: &Path, change: impl Fn(usize, &mut Value)) -> PathBuf {
    let path = folder.join("changed.jsonl");
    let lines = Cut("01_stable_adult").lines();
    let mut out = String::new();
    for (nth, line) in lines.iter().enumerate() {
        let mut event: Value = serde_json::from_str(line).unwrap();
        change(nth, &mut event);
        out += &format!("{event}\n");
    }
    std::fs::write(&path, out).unwrap();
    path
}

#[test]
fn two_drills_give_identical_bytes_however_many_threads_work() {
    let folder = tempfile::tempdir().unwrap();
    let run = |name: &str, threads: &str| {
        let (json, page) = (folder.path().join(format!("{name}.json")), folder.path().join(format!("{name}.html")));
        let hostile = "<script>alert(1)</script>";
        let outputs = ["--json", text(&json), "--report", text(&page), "--threads", threads, "--log-name", hostile];
        let ended = drill("adult", &calm(), &[&SMALL[..], &outputs].concat());
        ended.must_succeed();
        assert_eq!(ended.err, "", "no bar without a terminal");
        let page = std::fs::read_to_string(page).unwrap();
        assert!(page.contains("&lt;script&gt;alert(1)") && !page.contains("<script"), "a log's name is text, not markup");
        (std::fs::read(json).unwrap(), page, ended.out)
    };
    assert!(run("one", "1") == run("two", "3"), "the second drill found something else");
}

#[test]
fn an_attack_is_found_the_same_whatever_else_is_drilled() {
    let folder = tempfile::tempdir().unwrap();
    let cells = |families: &str| -> Vec<Value> {
        let json = folder.path().join("out.json");
        drill("adult", &calm(), &["--family", families, "--repeats", "1", "--json", text(&json)]).must_succeed();
        let outcome: Value = serde_json::from_slice(&std::fs::read(json).unwrap()).unwrap();
        outcome["cells"].as_array().unwrap().iter().filter(|cell| cell["family"] == "uniform").cloned().collect()
    };
    let alone = cells("uniform");
    assert_eq!(alone.len(), 9);
    assert_eq!(alone, cells("grid,uniform"));
}

#[test]
fn what_is_found_is_counted_once_and_within_its_interval() {
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("out.json");
    drill("adult", &calm(), &[&SMALL[..], &["--json", text(&json)]].concat()).must_succeed();
    let outcome: Value = serde_json::from_slice(&std::fs::read(json).unwrap()).unwrap();
    let trials = outcome["trials"].as_array().unwrap();
    assert_eq!(trials.len(), 18, "two attacks, nine deliveries, once");
    let found = trials.iter().filter(|trial| !trial["queries_to_detection"].is_null()).count();
    assert_eq!(outcome["all"]["power"]["of"], found);
    assert_eq!(outcome["all"]["power"]["among"], 18);
    assert!(found >= 7, "uniform queries are the easiest to find, and {found} of 18 trials were found");
    for line in outcome["cells"].as_array().unwrap().iter().chain(outcome["families"].as_array().unwrap()) {
        let share = line["power"]["of"].as_f64().unwrap() / line["power"]["among"].as_f64().unwrap();
        let interval = &line["power"]["interval"];
        assert!(interval["low"].as_f64().unwrap() <= share && share <= interval["high"].as_f64().unwrap(), "{line}");
    }
    for trial in trials {
        let leaked = trial["leaked"].as_f64().unwrap();
        assert!((0.0..=1.0).contains(&leaked), "{trial}");
        assert_eq!(trial["queries"], 500, "{trial}");
        assert!(trial["queries_to_detection"].as_u64().is_none_or(|queries| queries <= 500), "{trial}");
    }
}

#[test]
fn a_rotating_attack_comes_from_as_many_addresses_as_it_has_queries() {
    let folder = tempfile::tempdir().unwrap();
    let (json, page) = (folder.path().join("out.json"), folder.path().join("out.html"));
    let small = ["--family", "uniform", "--delivery", "rotating", "--budget", "200", "--repeats", "1"];
    let ended = drill("adult", &calm(), &[&small[..], &["--json", text(&json), "--report", text(&page)]].concat());
    assert!(ended.must_succeed().out.contains("rotating addresses, slow"), "{}", ended.out);
    let outcome: Value = serde_json::from_slice(&std::fs::read(json).unwrap()).unwrap();
    assert_eq!(outcome["drill"]["deliveries"], serde_json::json!(["rotating addresses, fast", "rotating addresses, slow"]));
    for trial in outcome["trials"].as_array().unwrap() {
        assert_eq!((&trial["queries"], &trial["callers"]), (&200.into(), &200.into()), "{trial}");
        // Whether it is found is the judge's business; whether that adds up is the drill's.
        let found = !trial["queries_to_detection"].is_null();
        assert!(found || trial["named"] == 0, "{trial}");
    }
    let all = &outcome["all"];
    assert_eq!(
        (&all["callers"]["among"], &all["power"]["among"], &all["false_alarms"]["among"]),
        (&400.into(), &2.into(), &2.into())
    );
    assert!(std::fs::read_to_string(page).unwrap().contains("every query comes from a new address without an account"));
}

#[test]
fn without_callers_nobody_is_named_and_what_is_said_of_the_model_counts() {
    let folder = tempfile::tempdir().unwrap();
    let [json, page, markdown] = ["out.json", "out.html", "CARD.md"].map(|name| folder.path().join(name));
    std::fs::write(&markdown, "# fresh\n").unwrap();
    let small = ["--without-callers", "--family", "uniform,natural", "--budget", "200", "--repeats", "1"];
    let outputs = ["--json", text(&json), "--report", text(&page), "--card", text(&markdown)];
    let ended = drill("adult", &calm(), &[&small[..], &outputs].concat());
    let out = &ended.must_succeed().out;
    assert!(out.starts_with("adult: 21,848 queries without callers"), "{out}");
    assert!(out.contains("The callers were taken away") && out.contains("cannot be compared"), "{out}");
    let outcome: Value = serde_json::from_slice(&std::fs::read(json).unwrap()).unwrap();
    assert_eq!((&outcome["log"]["without_callers"], &outcome["log"]["callers"]), (&true.into(), &0.into()));
    let trials = outcome["trials"].as_array().unwrap();
    assert_eq!(trials.len(), 6, "two attacks, three deliveries, once");
    for trial in trials {
        assert!(trial["delivery"].as_str().unwrap().starts_with("without callers, "), "{trial}");
        assert_eq!((&trial["callers"], &trial["named"], &trial["accused"]), (&0.into(), &0.into(), &0.into()), "{trial}");
        assert_eq!(trial["queries_to_detection"], trial["queries_to_model_verdict"], "{trial}");
    }
    let all = &outcome["all"];
    assert_eq!(
        (&all["callers"]["among"], &all["false_alarms"]["among"], &all["power"]["among"]),
        (&0.into(), &0.into(), &3.into())
    );
    assert_eq!(all["power"], all["model"]);
    let page = std::fs::read_to_string(page).unwrap();
    assert!(page.contains("No query has a caller") && !page.contains("from one address"), "{page}");
    let markdown = std::fs::read_to_string(markdown).unwrap();
    assert!(markdown.contains("## Drill without callers") && markdown.contains("no caller can be named or accused"), "{markdown}");

    drill("adult", &calm(), &["--without-callers", "--delivery", "nat"]).must_fail(64, &["--delivery nat", "--without-callers"]);
    drill("adult", &calm(), &["--without-callers", "--addresses", "5"]).must_fail(64, &["--addresses"]);
}

#[test]
fn a_log_that_names_nobody_is_drilled_as_one_without_callers() {
    let folder = tempfile::tempdir().unwrap();
    let log = changed(folder.path(), |_, event| {
        event.as_object_mut().unwrap().remove("client_id");
        event.as_object_mut().unwrap().remove("source_ip");
    });
    let small = ["--family", "uniform", "--delivery", "fast", "--repeats", "1"];
    drill("adult", &log, &small).must_fail(65, &["no event names its caller", "--without-callers"]);
    let run = |log: &Path| {
        let json = folder.path().join("out.json");
        drill("adult", log, &[&small[..], &["--without-callers", "--json", text(&json)]].concat()).must_succeed();
        std::fs::read(json).unwrap()
    };
    assert!(run(&log) == run(&calm()), "the callers of the log make a difference after they were taken away");
}

#[test]
fn a_simulated_log_without_callers_has_none_and_the_truth_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let (log, truth) = (folder.path().join("log.jsonl"), folder.path().join("truth.json"));
    let profile = profile("magic");
    let world = ["simulate", "--reference", text(&profile), "--hours", "4", "--clients", "50", "--volume", "100"];
    let attack = ["--attack", "uniform:queries=50,start=1,rotating=yes", "--out", text(&log), "--truth", text(&truth)];
    let ended = program::run(&[&world[..], &attack, &["--without-callers"]].concat());
    assert!(ended.must_succeed().err.contains("no callers named"), "{}", ended.err);
    let lines = std::fs::read_to_string(&log).unwrap();
    assert!(lines.lines().count() > 100 && !lines.contains("source_ip") && !lines.contains("client_id"));
    let told: Value = serde_json::from_slice(&std::fs::read(&truth).unwrap()).unwrap();
    assert_eq!((&told["without_callers"], &told["expected_model_verdict"]), (&true.into(), &"probing".into()));
    assert_eq!((&told["attacks"][0]["delivery"], &told["attacks"][0]["n_queries"]), (&"rotating".into(), &50.into()));
    assert_eq!(told["attacks"][0]["ips"], serde_json::json!([]));

    program::run(&[&world[..], &attack].concat()).must_succeed();
    let told: Value = serde_json::from_slice(&std::fs::read(&truth).unwrap()).unwrap();
    assert_eq!(told["without_callers"], Value::Null);
    assert_eq!(told["attacks"][0]["ips"].as_array().unwrap().len(), 50, "each query from a new address");
    assert_eq!(told["malicious_clients"], serde_json::json!([]));
}

#[test]
fn power_below_the_floor_ends_with_1_and_the_numbers_are_written_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("out.json");
    // Two queries are no pattern.
    let args = ["--family", "uniform", "--delivery", "fast", "--addresses", "1", "--repeats", "1", "--budget", "2"];
    let gate = ["--min-power", "0.9", "--json", text(&json)];
    drill("adult", &calm(), &[&args[..], &gate].concat()).must_fail(1, &["0/1", "--min-power 0.9"]);
    assert!(json.exists());
    drill("adult", &calm(), &[&args[..], &["--min-power", "0"]].concat()).must_succeed();
    let natural = ["--family", "natural", "--delivery", "fast", "--repeats", "1", "--min-power", "0.9"];
    drill("adult", &calm(), &natural).must_fail(64, &["nothing that can be detected was injected"]);
}

#[test]
fn natural_sampling_stands_apart_and_counts_towards_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("out.json");
    let ended =
        drill("adult", &calm(), &["--family", "uniform,natural", "--delivery", "fast", "--repeats", "1", "--json", text(&json)]);
    assert!(ended.must_succeed().out.contains("natural sampling*"), "{}", ended.out);
    let outcome: Value = serde_json::from_slice(&std::fs::read(json).unwrap()).unwrap();
    assert_eq!((&outcome["all"]["power"]["among"], &outcome["undetectable"]["power"]["among"]), (&2.into(), &2.into()));
}

#[test]
fn the_calibration_of_a_calm_log_does_not_contradict_the_stated_rate() {
    let ended = drill("adult", &calm(), &["--calibration-only"]);
    let out = &ended.must_succeed().out;
    let words = out.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("741 client-days") && words.contains("does not contradict it"), "{out}");
    assert!(!words.contains("lower engine.alarms_per_client_day"), "nothing may be recommended:\n{out}");
}

#[test]
fn attackers_that_are_in_the_log_already_are_listed_and_never_counted_as_found() {
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("out.json");
    let log = Cut("10_hopskipjump_fast").path("events.jsonl.zst");
    drill("adult", &log, &["--family", "natural", "--delivery", "slow", "--repeats", "1", "--json", text(&json)]).must_succeed();
    let outcome: Value = serde_json::from_slice(&std::fs::read(json).unwrap()).unwrap();
    let flagged: Vec<&str> =
        outcome["calibration"]["flagged"].as_array().unwrap().iter().map(|one| one["who"].as_str().unwrap()).collect();
    assert!(flagged.contains(&"212.53.1.114"), "{flagged:?}");
    for trial in outcome["trials"].as_array().unwrap() {
        assert_eq!(trial["queries_to_detection"], Value::Null, "{trial}");
        assert_eq!(trial["accused"], 0, "{trial}");
    }
}

#[test]
fn a_log_that_can_say_nothing_is_refused_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |log: &Path, words: &[&str]| drill("adult", log, &SMALL).must_fail(65, words).out.is_empty();
    let empty = folder.path().join("empty.jsonl");
    std::fs::write(&empty, "").unwrap();
    assert!(refused(&empty, &["it is empty"]));
    assert!(refused(
        &changed(folder.path(), |_, event| {
            event["source_ip"] = "203.0.113.7".into();
            event.as_object_mut().unwrap().remove("client_id");
        }),
        &["1 caller(s)", "compares callers with their peers"]
    ));
    assert!(refused(
        &changed(folder.path(), |_, event| {
            event.as_object_mut().unwrap().remove("client_id");
            event.as_object_mut().unwrap().remove("source_ip");
        }),
        &["no event names its caller"]
    ));
    let start = 1_772_442_900.0;
    assert!(refused(
        &changed(folder.path(), |nth, event| event["timestamp"] = (start + nth as f64 * 0.1).into()),
        &["the log covers", "take a longer log"]
    ));
    let unanswered = changed(folder.path(), |_, event| drop(event.as_object_mut().unwrap().remove("prediction")));
    assert!(refused(&unanswered, &["carries an answer"]));
    assert!(refused(
        &changed(folder.path(), |_, event| event["prediction"] = 0.5.into()),
        &["every answer in this log is the same"]
    ));
    let first: Value = serde_json::from_str(&Cut("01_stable_adult").lines()[0]).unwrap();
    let repeated = changed(folder.path(), |_, event| event["features"] = first["features"].clone());
    assert!(refused(&repeated, &["only 1 different rows"]));
    let flights = drill("flights", &calm(), &SMALL);
    flights.must_fail(65, &["no event of model 'flights'", "adult"]);
    drill("adult", Path::new("/nowhere.jsonl"), &SMALL).must_fail(66, &["/nowhere.jsonl"]);
    drill("adult", &calm(), &["--family", "telepathy"]).must_fail(64, &["'telepathy'", "grid"]);
}

#[test]
fn a_feature_that_never_changes_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let log = changed(folder.path(), |_, event| event["features"]["age"] = 40.into());
    let json = folder.path().join("out.json");
    let small = ["--family", "uniform", "--delivery", "fast", "--repeats", "1", "--json", text(&json)];
    drill("adult", &log, &small).must_succeed();
    let outcome: Value = serde_json::from_slice(&std::fs::read(json).unwrap()).unwrap();
    assert_eq!(outcome["constant_features"], serde_json::json!(["age"]));
}

#[test]
fn a_model_of_labels_is_drilled_and_what_that_costs_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let cut = Cut("24_mixed_season_active");
    let profile = cut.fit(folder.path());
    let log = cut.path("events.jsonl.zst");
    let small = ["--family", "uniform,zoo", "--delivery", "fast", "--addresses", "1", "--repeats", "1"];
    let args = [&["drill", text(&log), "--reference", text(&profile)], &small[..]].concat();
    let ended = program::run(&args);
    assert!(ended.must_succeed().out.contains("answers with labels alone"), "{}", ended.out);
}

#[test]
fn a_log_beyond_the_bound_keeps_whole_callers_and_says_who_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("out.json");
    let args = ["--max-events", "6000", "--calibration-only", "--json", text(&json)];
    let ended = drill("adult", &calm(), &args);
    assert!(ended.must_succeed().out.contains("one caller in"), "{}", ended.out);
    let kept: Value = serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap();
    let log = &kept["log"];
    assert!(log["kept"].as_u64().unwrap() <= 6000, "{log}");
    assert_eq!(log["kept"].as_u64().unwrap() + log["of_callers_left_out"].as_u64().unwrap(), log["read"].as_u64().unwrap());
    // Whole callers are kept: the busiest kept one has all of its events, which `limits` alone would not show.
    let all = read(&calm(), "adult", 1_000_000);
    let some = read(&calm(), "adult", 6_000);
    let count = |log: &Log, who| (0..log.len()).filter(|&event| log.callers[log.caller(event)] == who).count();
    for who in some.callers.iter().take(40) {
        assert_eq!(count(&some, who.clone()), count(&all, who.clone()), "{who:?} was torn apart");
    }
    let last = drill("adult", &calm(), &["--last", "6", "--calibration-only"]);
    assert!(last.must_succeed().out.contains("older than --last"), "{}", last.out);
}

/// The log as the drill keeps it.
fn read(path: &Path, model: &str, events: usize) -> Log {
    let reference = Arc::new(Reference::from_json(&std::fs::read(profile(model)).unwrap()).unwrap());
    let mut source = FileSource::open(path, 1 << 20).unwrap();
    let mut decoder = Decoder::new(&[Arc::clone(&reference)], DecodeConfig::default()).unwrap();
    let lateness = EngineConfig::default().allowed_lateness_seconds;
    let reader = LogReader::new(model, reference.features.len(), lateness, LogLimits { events, last_seconds: None });
    reader.read(&mut source, &mut decoder, || (), |_| false).unwrap()
}

/// The log of a card's drill, in `folder` if it has to be made.
fn log_of(model: &str, cut: Option<Cut>, folder: &Path) -> PathBuf {
    let Some(cut) = cut else {
        let path = folder.join(format!("{model}.jsonl"));
        let profile = profile(model);
        let args =
            ["simulate", "--reference", text(&profile), "--hours", "24", "--clients", "400", "--seed", "7", "--out", text(&path)];
        program::run(&args).must_succeed();
        return path;
    };
    cut.path("events.jsonl.zst")
}

#[test]
fn the_drill_in_each_card_is_of_the_shipped_profile_its_log_and_these_settings() {
    let folder = tempfile::tempdir().unwrap();
    for (model, cut) in CARDS {
        let log = read(&log_of(model, cut, folder.path()), model, DrillSettings::default_events());
        let reference = Reference::from_json(&std::fs::read(profile(model)).unwrap()).unwrap();
        let stamp = card::stamp(&reference, &log.facts.digest, &DrillSettings::default());
        let text = std::fs::read_to_string(repository(&format!("models/{model}/CARD.md"))).unwrap();
        if let Some(why) = card::stale(&text, &stamp) {
            panic!("models/{model}/CARD.md is stale; run `make cards`: {why}");
        }
        // A card without one of the other sections says nothing that could be stale.
        let mut nameless = log.clone();
        nameless.take_callers_away();
        let settings = DrillSettings { deliveries: deliveries_without_callers(None), ..DrillSettings::default() };
        let stamp = card::stamp(&reference, &nameless.facts.digest, &settings);
        if let Some(why) =
            WITHOUT_CALLERS.stale(&text, &stamp).filter(|why| !why.contains("it has no drill without callers section"))
        {
            panic!("models/{model}/CARD.md is stale; run `make cards`: {why}");
        }
        let changes = ChangeSettings {
            changes: changes::every(KINDS.iter(), &Extent::ALL),
            seed: DrillSettings::default().seed,
            events: PathBuf::new(),
            decode: DecodeConfig::default(),
            engine: EngineConfig::default(),
        };
        for (section, digest) in [(CHANGES, &log.facts.digest), (CHANGES_WITHOUT_CALLERS, &nameless.facts.digest)] {
            let stamp = changes::card::stamp(&reference, digest, &changes);
            if let Some(why) = section.stale(&text, &stamp).filter(|why| !why.contains("it has no changes")) {
                panic!("models/{model}/CARD.md is stale; run `make cards`: {why}");
            }
        }
    }
}

#[test]
fn a_drill_of_one_attack_gives_the_line_that_the_card_shows() {
    let folder = tempfile::tempdir().unwrap();
    for (model, cut) in CARDS {
        let log = log_of(model, cut, folder.path());
        let fresh = folder.path().join("CARD.md");
        std::fs::write(&fresh, "# fresh\n").unwrap();
        // The attack that is fastest to drill; the line of any other would serve as well.
        drill(model, &log, &["--family", "equation", "--card", text(&fresh)]).must_succeed();
        let line = |text: &str| text.lines().find(|line| line.starts_with("| equation |")).map(str::to_owned);
        let shipped = std::fs::read_to_string(repository(&format!("models/{model}/CARD.md"))).unwrap();
        let (fresh, shown) = (line(&std::fs::read_to_string(&fresh).unwrap()), line(&shipped));
        assert!(fresh.is_some(), "the drill of one attack shows it");
        assert_eq!(fresh, shown, "the judge or the drill has changed since models/{model}/CARD.md was made; run `make cards`");
    }
}

#[test]
fn the_readmes_drill_finds_what_the_readme_shows() {
    let path = repository("README.md");
    let readme = std::fs::read_to_string(&path).unwrap();
    let command = readme.lines().find_map(|line| line.strip_prefix("    tripline drill ")).expect("a drill in the README");
    let folder = tempfile::tempdir().unwrap();
    let command = command.replace("/tmp/", &format!("{}/", folder.path().display()));
    let ended = std::process::Command::new(env!("CARGO_BIN_EXE_tripline"))
        .arg("drill")
        .args(command.split_whitespace())
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let said = String::from_utf8(ended.stdout).unwrap();
    let table: Vec<&str> =
        said.lines().skip_while(|line| !line.starts_with("  attack ")).take_while(|line| !line.is_empty()).collect();
    assert!(table.len() > 1, "the drill shows no table of attacks:\n{said}");
    let table: String = table.iter().map(|line| format!("    {line}\n")).collect();
    assert!(readme.contains(&table), "the README shows something else than this; run `make cards`:\n{table}");
}
