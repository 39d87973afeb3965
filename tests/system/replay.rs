//! Replay keeps its promise: the same log and the same profile give the same bytes, whatever the packing, and the same bytes as
//! the service on a topic with that log.

use std::path::Path;

use super::support::data::{Cut, text};
use super::support::kafka::Broker;
use super::support::program;
use super::support::service::Service;

/// Verdicts of a replay of `log`.
fn verdicts(log: &Path, profile: &Path, folder: &Path) -> Vec<u8> {
    let out = folder.join("verdicts.jsonl");
    program::run(&["replay", text(log), "--reference", text(profile), "--verdicts", text(&out)]).must_succeed();
    std::fs::read(out).unwrap()
}

#[test]
fn two_replays_give_identical_bytes() {
    for cut in [Cut("10_hopskipjump_fast"), Cut("05_drift_unit_flights"), Cut("24_mixed_season_active")] {
        let folder = tempfile::tempdir().unwrap();
        let profile = cut.fit(folder.path());
        let log = cut.path("events.jsonl.zst");
        let first = verdicts(&log, &profile, folder.path());
        assert!(!first.is_empty(), "{}: nothing was said, so nothing was compared", cut.0);
        assert!(first == verdicts(&log, &profile, folder.path()), "{}: the second replay said something else", cut.0);
    }
}

#[test]
fn packing_and_pipes_do_not_change_what_is_said() {
    let cut = Cut("10_hopskipjump_fast");
    let folder = tempfile::tempdir().unwrap();
    let profile = cut.fit(folder.path());
    let packed = verdicts(&cut.path("events.jsonl.zst"), &profile, folder.path());
    let plain = folder.path().join("events.jsonl");
    std::fs::write(&plain, cut.events()).unwrap();
    assert!(packed == verdicts(&plain, &profile, folder.path()), "a plain file is judged otherwise than a packed one");
    let out = folder.path().join("piped.jsonl");
    program::run_with(&["replay", "-", "--reference", text(&profile), "--verdicts", text(&out)], &cut.events()).must_succeed();
    assert!(packed == std::fs::read(out).unwrap(), "standard input is judged otherwise than a file");
}

/// A log with what can go wrong in it: records that cannot be used, and records that come hours late.
fn troubled(cut: Cut) -> Vec<String> {
    let mut lines = cut.lines();
    let late = lines[0].clone();
    let unknown = lines[0].replace(r#""model":""#, r#""model":"not-"#);
    lines.insert(1_000, "garbage".into());
    lines.insert(2_000, unknown);
    lines.insert(3_000, late);
    lines.insert(4_000, lines[10].replace("2026-", "2088-"));
    lines
}

#[test]
fn the_service_on_a_broker_and_a_replay_of_the_same_log_say_the_same_bytes() {
    let (broker, cut) = (Broker::shared(), Cut("10_hopskipjump_fast"));
    let folder = tempfile::tempdir().unwrap();
    let (profile, topic) = (cut.fit(folder.path()), broker.topic("repeated", 1));
    let lines = troubled(cut);
    // Event time stays with the log: what moves it on while nothing arrives is the clock, which a replay does not have.
    let config = format!(
        "[source.kafka]\nbrokers = \"{}\"\ntopics = [\"{topic}\"]\ngroup = \"{topic}\"\n[[models]]\nreference = \"{}\"\n\
         [runtime]\ncommit_interval = \"500ms\"\nidle_advance = \"0s\"\n\
         [sink.verdicts]\nfile = \"run.jsonl\"\n[sink.dead_letters]\nfile = \"run-letters.jsonl\"\n",
        broker.address,
        profile.display()
    );
    let produced = broker.produce(&topic, 1, lines.iter().map(|line| (0, line.as_bytes())));
    let mut service = Service::start(folder.path(), "service", &config).ready();
    #[expect(clippy::cast_precision_loss, reason = "counts of a test")]
    service.wait_for("the whole log", |service| (service.seen() >= produced as f64).then_some(()));
    let counts = service.stop();
    assert_eq!((counts.sum(), counts.rejected, counts.late), (produced, 3, 1), "{counts:?}");

    let [log, verdicts, letters] = ["log.jsonl", "replay.jsonl", "replay-letters.jsonl"].map(|name| folder.path().join(name));
    std::fs::write(&log, lines.join("\n")).unwrap();
    let outputs = ["--verdicts", text(&verdicts), "--dead-letters", text(&letters), "--topic", &topic];
    program::run(&[&["replay", text(&log), "--reference", text(&profile)], outputs.as_slice()].concat()).must_succeed();
    let read = |path: &Path| std::fs::read_to_string(path).unwrap();
    let (ran, replayed) = (read(&folder.path().join("run.jsonl")), read(&verdicts));
    assert!(ran.contains("\"probing\"") && ran.contains(&format!("\"topic\":\"{topic}\"")), "the attack is found, with its topic");
    assert_eq!(ran.lines().count() as u64, counts.verdicts);
    if let Some(at) = ran.lines().zip(replayed.lines()).position(|(ran, replayed)| ran != replayed) {
        panic!("line {}:\n{}\n{}", at + 1, ran.lines().nth(at).unwrap(), replayed.lines().nth(at).unwrap());
    }
    assert!(ran == replayed, "one of them said more: {} and {} lines", ran.lines().count(), replayed.lines().count());

    // The same records are refused, with the same words; only a message of a topic has a key.
    let refused = |path: &Path| -> Vec<serde_json::Value> {
        let mut letters: Vec<serde_json::Value> = read(path).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        letters.iter_mut().for_each(|letter| drop(letter.as_object_mut().unwrap().remove("key")));
        letters
    };
    let letters = (refused(&folder.path().join("run-letters.jsonl")), refused(&letters));
    assert_eq!(letters.0, letters.1);
    let reasons: Vec<_> = letters.0.iter().map(|letter| letter["reason"].as_str().unwrap()).collect();
    assert_eq!(reasons, ["not_json", "unknown_model", "late", "from_the_future"]);
}

#[test]
fn a_topic_name_that_kafka_does_not_take_is_refused() {
    program::run_with(&["replay", "-", "--reference", "r.json", "--topic", "a b"], b"")
        .must_fail(64, &["--topic", "no topic name"]);
}
