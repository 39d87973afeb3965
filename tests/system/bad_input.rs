//! Bad input, item by item. Each kind ends in a clear message, or in a dead letter with a reason and a count; never in a panic, and
//! never without a message.
//!
//! A log has good lines with bad ones between them, so each test also shows that lines after a bad one are still
//! read. `--dead-letters` shows the outcome of a line, and every line must have one: accepted, late or rejected.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use serde_json::Value;

use super::support::data::{Cut, text};
use super::support::program::{self, Ended};

/// Profile that the tests of this file share; fitted once.
fn profile() -> &'static Path {
    static PROFILE: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    let (_, path) = PROFILE.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let path = Cut("01_stable_adult").fit(folder.path());
        (folder, path)
    });
    path
}

/// A good event; the tests damage copies of it.
const GOOD: &str = r#"{"timestamp":"2026-03-02T09:15:00.123Z","request_id":"r-1","model":"adult","model_version":"1","source_ip":"203.0.113.7","client_id":"acct-42","features":{"age":39,"workclass":"Private","fnlwgt":77516,"education":"Bachelors","education_num":13,"marital_status":"Never-married","occupation":"Adm-clerical","relationship":"Not-in-family","race":"White","sex":"Male","capital_gain":0,"capital_loss":0,"hours_per_week":40,"native_country":"United-States"},"prediction":0.83,"latency_ms":12.1}"#;

/// The good event with one part replaced; the part must be there.
fn with(part: &str, other: &str) -> Vec<u8> {
    assert!(GOOD.contains(part), "{part} is not in the good event");
    GOOD.replacen(part, other, 1).into_bytes()
}

/// Result of a replay.
struct Replayed {
    ended: Ended,
    /// Rejected records.
    letters: Vec<Value>,
    /// Late records: used as evidence, but not in windows.
    late_letters: Vec<Value>,
    accepted: u64,
    late: u64,
}

// === impl Replayed ===

impl Replayed {
    /// Replays lines, with options.
    fn new(lines: &[Vec<u8>], options: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("events.jsonl");
        std::fs::write(&log, lines.join(&b'\n')).unwrap();
        let letters = folder.path().join("letters.jsonl");
        let mut args = vec!["replay", text(&log), "--reference", text(profile()), "--dead-letters", text(&letters)];
        args.extend(options);
        let ended = program::run(&args);
        ended.must_not_panic();
        let letters = std::fs::read_to_string(&letters).unwrap_or_default();
        let letters = letters.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let (late_letters, letters): (Vec<_>, Vec<_>) = letters.partition(|letter| letter["reason"] == "late");
        let (accepted, late) = (count(&ended.out, "accepted"), count(&ended.out, "late"));
        Self { ended, letters, late_letters, accepted, late }
    }

    /// Replays a spoiled line between two good ones and allows it.
    fn between_good_ones(spoiled: Vec<u8>) -> Self {
        let replayed = Self::new(&[GOOD.into(), spoiled, GOOD.into()], &["--max-rejects", "100%"]);
        replayed.ended.must_succeed();
        replayed
    }

    /// The reasons of the dead letters, in order.
    fn reasons(&self) -> Vec<&str> {
        self.letters.iter().map(|letter| letter["reason"].as_str().unwrap()).collect()
    }
}

/// The number that the summary prints for a word: `word 12` or `12 word`, with or without thousands separators.
fn count(summary: &str, word: &str) -> u64 {
    let words: Vec<&str> = summary.split_whitespace().collect();
    let number = |at: usize| words.get(at).and_then(|text| text.replace([',', '\u{202f}', ';'], "").parse().ok());
    let at = words.iter().position(|w| w.trim_end_matches([':', ',']) == word);
    let at = at.unwrap_or_else(|| panic!("no '{word}' in the summary:\n{summary}"));
    number(at + 1).or_else(|| number(at.wrapping_sub(1))).unwrap_or_else(|| panic!("no number with '{word}' in:\n{summary}"))
}

/// A damaged line becomes one dead letter with this reason and a message that contains `word`; the good lines are accepted.
fn becomes(spoiled: Vec<u8>, reason: &str, word: &str) {
    let shown = String::from_utf8_lossy(&spoiled[..spoiled.len().min(120)]).into_owned();
    let replayed = Replayed::between_good_ones(spoiled);
    assert_eq!(replayed.reasons(), [reason], "{shown}");
    let letter = &replayed.letters[0];
    assert!(letter["message"].as_str().unwrap().contains(word), "'{word}' is not in {letter}");
    assert_eq!(letter["offset"], 1, "{letter}");
    assert_eq!(replayed.accepted, 2, "{shown}\n{}", replayed.ended.out);
    assert!(replayed.ended.out.contains(reason), "the summary does not name {reason}:\n{}", replayed.ended.out);
}

/// A line with a fault in one field is accepted, and the summary counts the fault.
fn is_repaired(line: Vec<u8>, field: &str, fault: &str) {
    let shown = String::from_utf8_lossy(&line[..line.len().min(120)]).into_owned();
    let replayed = Replayed::between_good_ones(line);
    assert_eq!((replayed.reasons(), replayed.accepted), (vec![], 3), "{shown}\n{}", replayed.ended.out);
    let counted = format!("1  {field} {fault}, first in line 2: ");
    assert!(replayed.ended.out.contains(&counted), "'{counted}' is not in:\n{}", replayed.ended.out);
}

/// An unusual line is accepted.
fn is_accepted(line: Vec<u8>) {
    let shown = String::from_utf8_lossy(&line).into_owned();
    let replayed = Replayed::between_good_ones(line);
    assert_eq!(replayed.reasons(), [""; 0], "{shown}");
    assert_eq!(replayed.accepted, 3, "{shown}\n{}", replayed.ended.out);
}

#[test]
fn garbage_bytes_become_a_dead_letter() {
    becomes(vec![0xff, 0xfe, 0x00, 0x80, 0x01], "not_utf8", "");
    becomes(b"GET / HTTP/1.1".to_vec(), "not_json", "");
    becomes(b"[1,2,3]".to_vec(), "not_an_object", "object");
}

#[test]
fn truncated_json_becomes_a_dead_letter_unless_the_features_stand_before_the_cut() {
    let needed = GOOD.find(r#","prediction""#).unwrap();
    let lines: Vec<Vec<u8>> = (1..GOOD.len()).step_by(7).map(|end| GOOD.as_bytes()[..end].to_vec()).collect();
    let whole = lines.iter().filter(|line| line.len() >= needed).count();
    let replayed = Replayed::new(&lines, &["--max-rejects", "100%"]);
    assert!(replayed.reasons().iter().all(|&reason| reason == "truncated"), "{:?}", replayed.reasons());
    assert_eq!((replayed.letters.len(), replayed.accepted), (lines.len() - whole, whole as u64));
    assert!(replayed.ended.out.contains(&format!("{whole}  record truncated")), "{}", replayed.ended.out);
}

#[test]
fn of_a_key_that_comes_twice_the_last_value_that_can_be_used_counts() {
    is_repaired(with(r#""model":"adult","#, r#""model":"adult","model":"flights","#), "name", "repeated");
    is_repaired(with(r#""age":39,"#, r#""age":39,"age":40,"#), "name", "repeated");
    is_accepted(with(r#""age":39,"#, r#""shoe":39,"shoe":40,"age":39,"#));
}

#[test]
fn a_message_of_ten_megabytes_becomes_a_dead_letter_without_being_kept_whole() {
    let long = format!(r#""client_id":"{}""#, "x".repeat(10 * 1024 * 1024));
    let replayed = Replayed::between_good_ones(with(r#""client_id":"acct-42""#, &long));
    assert_eq!(replayed.reasons(), ["too_large"]);
    let kept = replayed.letters[0].to_string().len();
    assert!(kept < 5 * 1024 * 1024, "{kept} bytes of it are kept");
    assert_eq!(replayed.accepted, 2);
}

#[test]
fn nesting_of_depth_ten_thousand_is_survived_and_what_needs_it_becomes_a_dead_letter() {
    let deep = "[".repeat(10_000) + &"]".repeat(10_000);
    becomes(deep.clone().into_bytes(), "not_an_object", "object");
    // Skipping an unused value needs no stack, so depth alone is no fault. The fault is that fields are missing.
    let objects = r#"{"a":"#.repeat(10_000) + "1" + &"}".repeat(10_000);
    becomes(objects.into_bytes(), "missing_field", "");
    is_accepted(with(r#""latency_ms":12.1"#, &format!(r#""extra":{deep}"#)));
    is_repaired(with(r#""age":39"#, &format!(r#""age":{deep}"#)), "feature", "nested");
    let unfinished = Replayed::between_good_ones("[".repeat(10_000).into_bytes());
    assert_eq!(unfinished.letters.len(), 1);
}

#[test]
fn numbers_that_are_none_cost_their_own_field() {
    is_repaired(with(r#""age":39"#, r#""age":NaN"#), "number", "nan");
    is_repaired(with(r#""age":39"#, r#""age":Infinity"#), "number", "infinite");
    is_repaired(with(r#""age":39"#, r#""age":1e400"#), "number", "out_of_range");
    is_repaired(with(r#""prediction":0.83"#, r#""prediction":-1e400"#), "prediction", "unreadable");
}

#[test]
fn an_event_without_features_becomes_a_dead_letter_and_a_missing_feature_is_evidence() {
    let start = GOOD.find(r#""features""#).unwrap();
    let end = GOOD.find(r#""prediction""#).unwrap();
    becomes(with(&GOOD[start..end], ""), "missing_field", "features");
    becomes(with(r#""model":"adult","#, ""), "missing_field", "model");
    becomes(with(r#""timestamp":"2026-03-02T09:15:00.123Z","#, ""), "missing_field", "timestamp");
    is_accepted(with(r#""age":39,"#, ""));
    is_accepted(with(r#""age":39"#, r#""age":null"#));
    is_accepted(with(r#""age":39"#, r#""age":"thirty-nine""#));
    is_accepted(with(r#""workclass":"Private""#, r#""workclass":"Astronaut""#));
}

#[test]
fn features_of_the_wrong_shape_become_dead_letters() {
    let start = GOOD.find(r#"{"age""#).unwrap();
    let end = GOOD.find(r#","prediction""#).unwrap();
    let features = &GOOD[start..end];
    becomes(with(features, r#""none""#), "bad_features", "");
    becomes(with(features, "[1,2,3]"), "bad_features", "");
    is_repaired(with(r#""prediction":0.83"#, r#""prediction":[]"#), "prediction", "unreadable");
}

#[test]
fn an_unknown_model_is_counted_and_said_and_stops_nothing() {
    becomes(with(r#""model":"adult""#, r#""model":"someone-elses""#), "unknown_model", "someone-elses");
}

#[test]
fn a_log_of_unknown_models_alone_is_no_success() {
    let line = with(r#""model":"adult""#, r#""model":"someone-elses""#);
    let replayed = Replayed::new(&vec![line; 10], &[]);
    replayed.ended.must_fail(65, &["unknown_model", "someone-elses"]);
}

#[test]
fn times_outside_this_century_become_dead_letters() {
    for stamp in [r#""0001-01-01T00:00:00Z""#, r#""9999-12-31T23:59:59.999Z""#, "-62135596800", "253402300799", "0"] {
        becomes(with(r#""2026-03-02T09:15:00.123Z""#, stamp), "timestamp_out_of_range", "2000");
    }
    for stamp in [r#""yesterday""#, r#""2026-02-30T09:15:00Z""#, "true", "null", r#""""#] {
        let replayed = Replayed::between_good_ones(with(r#""2026-03-02T09:15:00.123Z""#, stamp));
        assert_eq!(replayed.letters.len(), 1, "{stamp}");
        assert!(["bad_timestamp", "missing_field"].contains(&replayed.reasons()[0]), "{stamp}: {:?}", replayed.reasons());
    }
}

#[test]
fn every_usual_spelling_of_an_address_is_accepted_and_nonsense_is_an_unknown_address() {
    for spelling in
        ["2001:db8::1", "::ffff:203.0.113.7", "unknown", "-", "", "203.0.113.7:443", "[2001:db8::1]:443", "fe80::1%eth0"]
    {
        is_accepted(with("203.0.113.7", spelling));
    }
    is_accepted(with(r#""203.0.113.7""#, "null"));
    is_accepted(with(r#""source_ip":"203.0.113.7","#, ""));
    for nonsense in ["300.1.2.3", "somewhere", "203.0.113.7, 10.0.0.1x"] {
        is_repaired(with("203.0.113.7", nonsense), "source_ip", "no_address");
    }
    is_repaired(with("203.0.113.7", "198.51.100.7, 203.0.113.7"), "source_ip", "list");
}

#[test]
fn every_line_of_a_hostile_log_becomes_something() {
    // Printable and unprintable bytes, cut and joined, from a generator with a fixed seed, so a failure can be repeated.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let good = GOOD.as_bytes();
    let lines: Vec<Vec<u8>> = (0..2_000)
        .map(|_| {
            let mut line = good.to_vec();
            for _ in 0..=next() % 4 {
                let at = usize::try_from(next()).unwrap() % line.len();
                // No line end: it would split the line in two.
                line[at] = match (next() % 256) as u8 {
                    b'\n' | b'\r' => b'"',
                    byte => byte,
                };
            }
            line
        })
        .collect();
    let replayed = Replayed::new(&lines, &["--max-rejects", "100%"]);
    let rejected = replayed.letters.len() as u64;
    assert_eq!(replayed.accepted + replayed.late + rejected, 2_000, "{}", replayed.ended.out);
    assert!(rejected > 100 && replayed.accepted > 100, "{}", replayed.ended.out);
}

#[test]
fn more_bad_data_than_allowed_ends_with_65_and_names_the_first_fault() {
    let mut lines = vec![GOOD.as_bytes().to_vec(); 20];
    lines.insert(3, b"{".to_vec());
    Replayed::new(&lines, &["--max-rejects", "0"]).ended.must_fail(65, &["truncated", "line 4", "--max-rejects"]);
    Replayed::new(&lines, &["--max-rejects", "1"]).ended.must_succeed();
}

#[test]
fn an_empty_log_says_that_it_is_empty() {
    let replayed = Replayed::new(&[], &[]);
    assert!(replayed.ended.code == Some(0) || replayed.ended.code == Some(65), "{:?}", replayed.ended);
    assert_eq!(replayed.accepted, 0);
    assert!(!(replayed.ended.out.clone() + &replayed.ended.err).trim().is_empty());
}

#[test]
fn an_unsorted_log_is_read_whole() {
    let mut lines = Cut("01_stable_adult").lines();
    lines.truncate(5_000);
    lines.reverse();
    let lines: Vec<Vec<u8>> = lines.into_iter().map(String::into_bytes).collect();
    let replayed = Replayed::new(&lines, &["--max-late", "100%"]);
    replayed.ended.must_succeed();
    assert_eq!(replayed.accepted + replayed.late, 5_000, "{}", replayed.ended.out);
    assert!(replayed.late > 0, "a log in reverse has late events:\n{}", replayed.ended.out);
    assert_eq!(replayed.late_letters.len() as u64, replayed.late);
    assert!(
        replayed.ended.out.contains("0 callers found probing"),
        "honest queries are honest in any order:\n{}",
        replayed.ended.out
    );
}

#[test]
fn a_damaged_zstd_file_says_how_far_it_was_read() {
    let folder = tempfile::tempdir().unwrap();
    let whole = std::fs::read(Cut("01_stable_adult").path("events.jsonl.zst")).unwrap();
    let cut = folder.path().join("cut.jsonl.zst");
    std::fs::write(&cut, &whole[..whole.len() / 2]).unwrap();
    program::run(&["replay", text(&cut), "--reference", text(profile())]).must_fail(74, &["cut.jsonl.zst", "lines", "events"]);
    let mut flipped = whole.clone();
    for byte in &mut flipped[whole.len() / 2..whole.len() / 2 + 64] {
        *byte ^= 0x55;
    }
    let damaged = folder.path().join("damaged.jsonl.zst");
    std::fs::write(&damaged, &flipped).unwrap();
    let ended = program::run(&["replay", text(&damaged), "--reference", text(profile())]);
    ended.must_not_panic();
    assert!(matches!(ended.code, Some(65 | 74)), "{ended:?}");
    assert!(ended.err.contains("damaged.jsonl.zst"), "{ended:?}");
}

#[test]
fn a_log_that_is_not_there_ends_with_66() {
    program::run(&["replay", "/nowhere/events.jsonl", "--reference", text(profile())]).must_fail(66, &["/nowhere/events.jsonl"]);
}

#[test]
fn a_profile_that_cannot_be_trusted_is_refused_with_a_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let good = std::fs::read_to_string(profile()).unwrap();
    let mut shorter = String::new();
    write!(shorter, "{}", &good[..good.len() / 2]).unwrap();
    let faults: [(&str, String, &str); 5] = [
        ("other_schema", good.replacen(r#""schema":1"#, r#""schema":2"#, 1), "schema 2"),
        ("edited", good.replacen(r#""threshold":0.5"#, r#""threshold":0.4"#, 1), "digest"),
        ("cut", shorter, "tripline fit"),
        ("empty", String::new(), "tripline fit"),
        ("no_profile", r#"{"hello":"world"}"#.to_owned(), "tripline fit"),
    ];
    for (name, content, word) in faults {
        let path = folder.path().join(format!("{name}.json"));
        std::fs::write(&path, content).unwrap();
        assert_ne!(std::fs::read_to_string(&path).unwrap(), good, "{name}: the profile was not spoiled");
        program::run_with(&["replay", "-", "--reference", text(&path)], GOOD.as_bytes()).must_fail(64, &[name, word]);
    }
    program::run(&["replay", "-", "--reference", "/nowhere/reference.json"]).must_fail(66, &["/nowhere/reference.json"]);
}

#[test]
fn a_profile_of_other_features_is_said_and_not_taken_for_an_attack() {
    let folder = tempfile::tempdir().unwrap();
    let flights = folder.path().join("flights.json");
    let baseline = Cut("05_drift_unit_flights").path("baseline.csv.zst");
    // The flights profile under the name of the census model: somebody took the wrong file.
    program::run(&["fit", text(&baseline), "--model", "adult", "-o", text(&flights)]).must_succeed();
    let verdicts = folder.path().join("verdicts.jsonl");
    let ended = program::run_with(
        &["replay", "-", "--reference", text(&flights), "--verdicts", text(&verdicts)],
        (GOOD.to_owned() + "\n").repeat(50).as_bytes(),
    );
    ended.must_not_panic();
    let said = ended.out.clone() + &ended.err;
    assert!(!said.trim().is_empty());
    assert!(!std::fs::read_to_string(&verdicts).unwrap().contains("\"probing\""), "{said}");
}

#[test]
fn a_training_file_that_is_not_text_is_refused_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("garbage.csv");
    std::fs::write(&file, b"a,prediction\n\xff\xfe\x00,1\n").unwrap();
    program::run(&["fit", text(&file), "--model", "m"]).must_fail(65, &["garbage.csv, line 2, column 'a'", "UTF-8"]);
}
