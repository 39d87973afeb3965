//! Replay keeps its promise: the same log and the same profile give the same bytes, whatever the packing.

use std::path::Path;

use super::support::data::{Cut, text};
use super::support::program;

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
