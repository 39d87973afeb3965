//! What a person does after a replay: the list for a firewall, and the findings as JSON.

use serde_json::Value;

use super::support::data::{Cut, text};
use super::support::program;

/// A recording of one attacker from one address.
const ATTACK: Cut = Cut("10_hopskipjump_fast");

#[test]
fn who_was_found_probing_is_listed_as_firewalls_and_crowdsec_take_it() {
    let folder = tempfile::tempdir().unwrap();
    let profile = ATTACK.fit(folder.path());
    let (log, plain, csv) = (ATTACK.path("events.jsonl.zst"), folder.path().join("deny.txt"), folder.path().join("deny.csv"));
    let base = ["replay", text(&log), "--reference", text(&profile)];
    let run = |more: &[&str]| program::run(&[&base[..], more].concat());
    let ended = run(&["--denylist", text(&plain), "--json"]);
    ended.must_succeed();
    let found: Value = serde_json::from_str(&ended.out).unwrap();
    let callers = found["models"][0]["callers"].as_array().unwrap();
    let probing: Vec<&str> =
        callers.iter().filter(|one| one["verdict"] == "probing").map(|one| one["source_ip"].as_str().unwrap()).collect();
    assert_eq!(std::fs::read_to_string(&plain).unwrap(), probing.iter().map(|ip| format!("{ip}\n")).collect::<String>());
    assert!(probing.len() == 1 && ended.err.contains("the list has 1 address"), "{}", ended.err);

    let one = &callers[0];
    assert!(one["queries"].as_u64() > one["queries_seen"].as_u64() && !one["evidence"].as_array().unwrap().is_empty(), "{one}");
    assert!(one["last_seen"].as_str() > one["first_seen"].as_str() && one["still_active"] == false, "{one}");
    assert!(found["models"][0]["probing_since"].is_string(), "{found}");

    run(&["--denylist", text(&csv), "--denylist-duration", "90m"]).must_succeed();
    let lines = std::fs::read_to_string(&csv).unwrap();
    assert!(lines.starts_with(&format!("duration,scope,value,reason\n5400s,ip,{},tripline ", probing[0])), "{lines}");

    let spared = run(&["--denylist", text(&plain), "--spare", &format!("{}/24", probing[0])]);
    assert!(spared.must_succeed().err.contains("1 entry is private or spared"), "{}", spared.err);
    assert_eq!(std::fs::read_to_string(&plain).unwrap(), "", "the list is made anew, and is empty");
    assert!(spared.out.contains("in all: ") && spared.out.contains("queries, 2026-"), "{}", spared.out);

    run(&["--denylist", text(&log)]).must_fail(64, &["--denylist", "the log"]);
    run(&["--spare", "10.0.0.1"]).must_fail(64, &["--denylist"]);
    run(&["--json", "--summary", "-"]).must_fail(64, &["cannot be used with"]);
}

#[test]
fn a_reader_that_goes_away_is_no_fault() {
    use std::io::Read as _;
    use std::process::{Command, Stdio};
    let folder = tempfile::tempdir().unwrap();
    let profile = ATTACK.fit(folder.path());
    let log = ATTACK.path("events.jsonl.zst");
    for more in [&["--json"][..], &["--denylist", "-"], &["--verdicts", "-"], &["--report", "-"], &[]] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_tripline"))
            .args([&["replay", text(&log), "--reference", text(&profile)][..], more].concat())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // One byte, as `head -c 1` does, and the pipe is closed.
        let mut out = child.stdout.take().unwrap();
        let _ = out.read(&mut [0]);
        drop(out);
        let mut said = String::new();
        child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        assert!(child.wait().unwrap().success() && !said.contains("panicked") && !said.contains("roken pipe"), "{more:?}: {said}");
    }
}
