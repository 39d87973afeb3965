//! "Nothing unusual" is the answer of a test: a log that cannot be judged is said to be undetermined, with what is missing, and a log
//! that is not in time order is refused, or sorted.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use serde_json::Value;
use tripline::event::EventTime;

use super::support::daemon::wait_for;
use super::support::data::{Cut, text};
use super::support::program::{self, Ended};

const CUT: Cut = Cut("01_stable_adult");

/// A profile of the recording, made once.
fn profile() -> &'static Path {
    static PROFILE: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    let (_, path) = PROFILE.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let path = CUT.fit(folder.path());
        (folder, path)
    });
    path
}

/// Replays lines with more arguments; the result and the summary as JSON.
fn replay(lines: &[String], more: &[&str]) -> (Ended, Value) {
    let folder = tempfile::tempdir().unwrap();
    let summary = folder.path().join("summary.json");
    let args = [&["replay", "-", "--reference", text(profile()), "--summary", text(&summary)], more].concat();
    let ended = program::run_with(&args, lines.join("\n").as_bytes());
    let document = std::fs::read(&summary).map_or(Value::Null, |bytes| serde_json::from_slice(&bytes).unwrap());
    (ended, document)
}

/// The lines of the recording's first hours, each changed.
fn lines(hours: f64, change: impl Fn(&mut Value)) -> Vec<String> {
    let events: Vec<Value> = CUT.lines().iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let time = |event: &Value| EventTime::parse(event["timestamp"].as_str().unwrap()).unwrap().micros();
    let start = time(&events[0]);
    let soon = events.into_iter().take_while(|event| (time(event) - start) as f64 <= hours * 3.6e9);
    soon.map(|mut event| {
        change(&mut event);
        event.to_string()
    })
    .collect()
}

/// The lines in an order that is none, the same every time.
fn shuffled(lines: &[String]) -> Vec<String> {
    let mut keyed: Vec<(u64, &String)> = lines.iter().enumerate().map(|(nth, line)| (mix(nth as u64), line)).collect();
    keyed.sort();
    keyed.into_iter().map(|(_, line)| line.clone()).collect()
}

/// Murmur3's finaliser, so that the order is no one's.
fn mix(number: u64) -> u64 {
    let number = (number ^ (number >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let number = (number ^ (number >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    number ^ (number >> 33)
}

#[test]
fn one_event_is_not_said_to_be_nothing_unusual() {
    let (ended, summary) = replay(&lines(0.0, |_| ()), &[]);
    ended.must_succeed();
    assert!(!ended.out.contains("Nothing unusual") && ended.out.contains("UNDETERMINED. Not judged yet."), "{}", ended.out);
    assert!(ended.out.contains("needs 2 h more of log and 199 more new rows"), "{}", ended.out);
    let model = &summary["models"][0];
    assert_eq!((&model["verdict"], &summary["judged"]), (&"undetermined".into(), &false.into()), "{summary}");
    assert_eq!(model["judged"]["drift"]["needs"]["new_rows"], 199);
    replay(&lines(0.0, |_| ()), &["--require-judged"]).0.must_fail(1, &["adult was not judged", "199 more new rows"]);
}

#[test]
fn two_hours_of_a_change_are_under_test_and_five_are_a_drift() {
    // Within the range of the reference, so that the values are known and their distribution alone has changed.
    let turned = |event: &mut Value| {
        let hours = event["features"]["hours_per_week"].as_f64().unwrap();
        event["features"]["hours_per_week"] = (100.0 - hours).clamp(1.0, 99.0).into();
    };
    let (ended, summary) = replay(&lines(2.2, turned), &[]);
    ended.must_succeed();
    assert!(ended.out.contains("UNDETERMINED. A change is under test."), "{}", ended.out);
    assert!(ended.out.contains("A change of hours_per_week") && ended.out.contains("it must last another 60 min"), "{}", ended.out);
    let pending = &summary["models"][0]["judged"]["drift"]["pending"][0];
    assert_eq!((&pending["column"], &pending["seconds_left"]), (&"hours_per_week".into(), &3600.into()), "{summary}");
    let (ended, summary) = replay(&lines(5.0, turned), &["--require-judged"]);
    ended.must_succeed();
    assert_eq!(summary["models"][0]["verdict"], "drift");
}

#[test]
fn two_hours_of_another_unit_are_not_said_to_be_nothing_unusual() {
    let unit = |event: &mut Value| {
        let hours = event["features"]["hours_per_week"].as_f64().unwrap();
        event["features"]["hours_per_week"] = (hours * 60.0).into();
    };
    let (ended, summary) = replay(&lines(2.2, unit), &[]);
    ended.must_succeed();
    assert!(!ended.out.contains("Nothing unusual") && summary["models"][0]["verdict"] != "stable", "{}", ended.out);
    let said = "hardly a value of hours_per_week is one that the reference knows";
    assert!(ended.err.contains(&format!("warning: adult: {said}")), "{}", ended.err);
    assert!(ended.out.contains(&format!("mismatch   {said}")), "{}", ended.out);
}

#[test]
fn a_log_that_does_not_say_who_asked_says_so() {
    let nameless = |event: &mut Value| {
        event.as_object_mut().unwrap().retain(|name, _| name != "source_ip" && name != "client_id");
    };
    let (ended, summary) = replay(&lines(6.0, nameless), &[]);
    ended.must_succeed();
    assert!(ended.out.contains("no record says who asked. To do: log source_ip or client_id"), "{}", ended.out);
    assert!(!ended.out.contains("Nothing unusual") && !ended.out.contains("0 callers found"), "{}", ended.out);
    let callers = &summary["models"][0]["judged"]["callers"];
    assert!(callers["named"] == 0 && callers["unnamed"].as_u64() > Some(1_000), "{summary}");
}

#[test]
fn a_window_with_too_few_votes_is_no_test() {
    // Ten callers have eighty votes in a window, however much they ask; an address with several accounts would be several callers.
    let mut known: Vec<String> = Vec::new();
    let no_accounts = |event: &mut Value| drop(event.as_object_mut().unwrap().remove("client_id"));
    let few: Vec<String> = lines(9.0, no_accounts)
        .into_iter()
        .filter(|line| {
            let event: Value = serde_json::from_str(line).unwrap();
            let address = event["source_ip"].as_str().unwrap_or_default().to_owned();
            if !known.contains(&address) && known.len() < 10 {
                known.push(address.clone());
            }
            known.contains(&address)
        })
        .collect();
    assert!(few.len() > 1_000, "{} lines", few.len());
    let (ended, summary) = replay(&few, &[]);
    ended.must_succeed();
    assert!(ended.out.contains("UNDETERMINED. Not judged yet."), "{}", ended.out);
    assert!(ended.out.contains("the first test needs 100 new rows within 6 h, at most 8 of one caller"), "{}", ended.out);
    let drift = &summary["models"][0]["judged"]["drift"];
    assert!(drift["tests_of_one_window"] == 0 && drift["too_thin"].as_u64() > Some(5), "{summary}");
}

#[test]
fn a_shuffled_log_is_refused_with_the_remedy() {
    let shuffled = shuffled(&CUT.lines());
    let (ended, summary) = replay(&shuffled, &[]);
    ended.must_fail(65, &["came more than 60 s after newer ones", "not in time order", "tripline replay --sort", "--max-late"]);
    assert!(ended.err.contains("of the first 1,000 records came"), "it is said at once, too: {}", ended.err);
    assert!(ended.out.contains("UNDETERMINED. The log is not in time order."), "{}", ended.out);
    assert_eq!(summary["models"][0]["verdict"], "undetermined");
    let (ended, _) = replay(&shuffled, &["--max-late", "100%"]);
    ended.must_succeed();
    assert!(!ended.out.contains("Nothing unusual"), "allowed, and still not tested: {}", ended.out);
}

/// Verdict lines without what names a place in the file: ids are made of it.
fn placeless(verdicts: &Path) -> Vec<Value> {
    let lines = std::fs::read_to_string(verdicts).unwrap();
    let strip = |line: &str| {
        let mut line: Value = serde_json::from_str(line).unwrap();
        line.as_object_mut().unwrap().remove("id");
        for query in line["queries"].as_array_mut().into_iter().flatten() {
            query.as_object_mut().unwrap().remove("offset");
        }
        line
    };
    lines.lines().map(strip).collect()
}

#[test]
fn a_sorted_log_and_a_shuffled_one_with_sort_say_the_same() {
    let cut = Cut("10_hopskipjump_fast");
    let folder = tempfile::tempdir().unwrap();
    let profile = cut.fit(folder.path());
    let mut lines = cut.lines();
    // In the order of the sort, so that equal times cannot be told apart by the shuffle.
    lines.sort_by_key(|line| serde_json::from_str::<Value>(line).unwrap()["timestamp"].as_str().unwrap().to_owned());
    lines.dedup_by_key(|line| serde_json::from_str::<Value>(line).unwrap()["timestamp"].as_str().unwrap().to_owned());
    let [plain, packed, temporary] = ["sorted.jsonl", "shuffled.jsonl.zst", "tmp"].map(|name| folder.path().join(name));
    let shuffled = shuffled(&lines);
    std::fs::write(&plain, lines.join("\n")).unwrap();
    std::fs::write(&packed, zstd::encode_all(shuffled.join("\n").as_bytes(), 1).unwrap()).unwrap();
    std::fs::create_dir(&temporary).unwrap();
    let expected = folder.path().join("expected.jsonl");
    program::run(&["replay", text(&plain), "--reference", text(&profile), "--verdicts", text(&expected)]).must_succeed();
    assert!(placeless(&expected).len() > 2, "the attack is found");
    for (nth, memory) in ["256M", "100K"].iter().enumerate() {
        let found = folder.path().join(format!("found-{nth}.jsonl"));
        let args = ["--reference", text(&profile), "--verdicts", text(&found), "--sort", "--sort-memory", memory];
        program::run(&[&["replay", text(&packed)], args.as_slice()].concat()).must_succeed();
        assert_eq!(placeless(&found), placeless(&expected), "with {memory}");
        program::run_with(&[&["replay", "-"], args.as_slice()].concat(), shuffled.join("\n").as_bytes()).must_succeed();
        assert_eq!(placeless(&found), placeless(&expected), "from standard input with {memory}");
    }
    // The offset is the line of the file as it is.
    let found: Vec<Value> = std::fs::read_to_string(folder.path().join("found-1.jsonl"))
        .unwrap()
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    let query = found.iter().flat_map(|line| line["queries"].as_array().into_iter().flatten()).next().unwrap();
    let line = &shuffled[usize::try_from(query["offset"].as_u64().unwrap()).unwrap()];
    assert_eq!(serde_json::from_str::<Value>(line).unwrap()["request_id"], query["request_id"]);
}

#[test]
fn an_interrupted_sort_leaves_no_file_behind() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_tripline"))
        .args(["replay", "-", "--reference", text(profile()), "--sort", "--sort-memory", "64K"])
        .env("TMPDIR", folder.path())
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    // The input stays open, so the sort waits for more with its runs written.
    let mut input = child.stdin.take().unwrap();
    std::io::Write::write_all(&mut input, CUT.lines().join("\n").as_bytes()).unwrap();
    let open_files = || {
        let links = std::fs::read_dir(format!("/proc/{}/fd", child.id())).unwrap();
        links.filter_map(|link| std::fs::read_link(link.unwrap().path()).ok()).filter(|to| to.starts_with(folder.path())).count()
    };
    wait_for("a temporary file", || (open_files() > 0).then_some(()));
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "files stayed behind");
}

#[test]
fn a_log_and_a_reference_of_other_columns_are_told_apart_at_once() {
    let renamed = lines(3.0, |event| {
        let features = event["features"].as_object_mut().unwrap();
        let hours = features.remove("hours_per_week").unwrap();
        features.insert("hours-per-week".into(), hours);
        features.remove("fnlwgt");
    });
    let (ended, summary) = replay(&renamed, &[]);
    for said in [
        "records have hours-per-week, the reference has hours_per_week: log it as hours_per_week",
        "the reference has the column fnlwgt, no record has a value for it: fit again with --drop fnlwgt, or log it",
    ] {
        assert!(
            ended.err.contains(&format!("warning: adult: {said}")) && ended.out.contains(&format!("mismatch   {said}")),
            "{ended:?}"
        );
    }
    assert_eq!(summary["models"][0]["mismatches"][0]["kind"], "other_spelling", "{summary}");
}

#[test]
fn fit_warns_of_columns_that_a_log_will_not_have() {
    let folder = tempfile::tempdir().unwrap();
    let (csv, out) = (folder.path().join("train.csv"), folder.path().join("reference.json"));
    let mut table = String::from("Unnamed: 0,age,price,label,site,prediction\n");
    for row in 0..600_u64 {
        let score = (mix(row) % 1_000) as f64 / 1_000.0;
        let label = u64::from(score >= 0.5) ^ u64::from(mix(row + 7_000).is_multiple_of(8));
        table += &format!("{row},{},\"${},{:03}\",{label},north,{score}\n", 20 + mix(row + 1_000) % 60, 1 + row % 9, row % 5 * 100);
    }
    std::fs::write(&csv, table).unwrap();
    let ended = program::run(&["fit", text(&csv), "--model", "m", "-o", text(&out)]);
    ended.must_succeed();
    for said in ["--drop 'Unnamed: 0'", "--drop label", "--kind price=categorical", "'site' has the same value in every row"] {
        assert!(ended.out.contains(said), "{said}: {}", ended.out);
    }
    let drops = ["--drop", "Unnamed: 0", "--drop", "label", "--drop", "site", "--kind", "price=categorical"];
    let mended = program::run(&[&["fit", text(&csv), "--model", "m", "-o", text(&out)], drops.as_slice()].concat());
    mended.must_succeed();
    assert!(!mended.out.contains("warning"), "{}", mended.out);
}
