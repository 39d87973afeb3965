//! Outputs never destroy: what a command reads, or writes elsewhere, is refused as an output before anything is opened; a file
//! appears whole or not at all; and a reader that goes away ends the program quietly.

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::support::data::{Cut, text};
use super::support::program;

const CUT: Cut = Cut("01_stable_adult");

/// A folder with a log, training rows and a profile.
struct Folder {
    directory: tempfile::TempDir,
}

impl Folder {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let packed = |file: &str| std::fs::read(CUT.path(file)).unwrap();
        let lines = CUT.lines();
        std::fs::write(directory.path().join("log.jsonl"), lines[..300].join("\n")).unwrap();
        let train = zstd::decode_all(packed("baseline.csv.zst").as_slice()).unwrap();
        std::fs::write(directory.path().join("train.csv"), train).unwrap();
        std::fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join("models/adult/reference.json"), directory.path().join("r.json"))
            .unwrap();
        Self { directory }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Every file with its content.
    fn content(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let mut all: Vec<_> = std::fs::read_dir(self.directory.path())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.is_file())
            .map(|path| (path.clone(), std::fs::read(&path).unwrap()))
            .collect();
        all.sort();
        all
    }

    /// Runs the program in the folder.
    fn run(&self, args: &[&str]) -> program::Ended {
        let output = Command::new(env!("CARGO_BIN_EXE_tripline"))
            .args(args)
            .current_dir(self.directory.path())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        program::Ended { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }
}

#[test]
fn an_output_that_is_read_or_written_elsewhere_is_refused_and_nothing_changes() {
    let folder = Folder::new();
    std::os::unix::fs::symlink("log.jsonl", folder.at("soft")).unwrap();
    std::fs::hard_link(folder.at("log.jsonl"), folder.at("hard")).unwrap();
    std::fs::write(folder.at("c.toml"), "[[models]]\nreference = \"r.json\"\n").unwrap();
    let before = folder.content();
    let absolute = folder.at("log.jsonl");
    let cases: [&[&str]; 16] = [
        &["replay", "log.jsonl", "--reference", "r.json", "--verdicts", "log.jsonl"],
        &["replay", "log.jsonl", "--reference", "r.json", "--dead-letters", "./log.jsonl"],
        &["replay", "log.jsonl", "--reference", "r.json", "--report", "soft"],
        &["replay", "soft", "--reference", "r.json", "--summary", "hard"],
        &["replay", "log.jsonl", "--reference", "r.json", "--verdicts", text(&absolute)],
        &["replay", "log.jsonl", "--reference", "r.json", "--verdicts", "r.json"],
        &["replay", "log.jsonl", "--config", "c.toml", "--verdicts", "c.toml"],
        &["replay", "log.jsonl", "--config", "c.toml", "--report", "r.json"],
        &["replay", "log.jsonl", "--reference", "r.json", "--verdicts", "new", "--dead-letters", "./new"],
        &["replay", "log.jsonl", "--reference", "r.json", "--report", "new", "--summary", "new"],
        &["fit", "train.csv", "--model", "adult", "-o", "train.csv"],
        &["drill", "log.jsonl", "--reference", "r.json", "--json", "log.jsonl"],
        &["drill", "log.jsonl", "--reference", "r.json", "--report", "new", "--card", "new"],
        &["simulate", "--reference", "r.json", "--out", "r.json", "--hours", "0.1"],
        &["simulate", "--reference", "r.json", "--out", "new", "--truth", "new", "--hours", "0.1"],
        &["reference", "sign", "r.json", "--key", "c.toml", "-o", "c.toml"],
    ];
    for args in cases {
        folder.run(args).must_fail(64, &["is the same file as", "nothing was opened or changed"]);
        assert!(folder.content() == before, "{args:?} changed something");
    }
}

#[test]
fn a_failed_run_leaves_the_old_file_and_a_good_one_replaces_it() {
    let folder = Folder::new();
    for old in ["v", "report", "summary", "letters"] {
        std::fs::write(folder.at(old), "old").unwrap();
    }
    // A packed log that was cut off.
    let packed = std::fs::read(CUT.path("events.jsonl.zst")).unwrap();
    std::fs::write(folder.at("cut.zst"), &packed[..packed.len() / 2]).unwrap();
    let outputs = ["--verdicts", "v", "--report", "report", "--summary", "summary", "--dead-letters", "letters"];
    let before = folder.content();
    folder
        .run(&[&["replay", "cut.zst", "--reference", "r.json"], &outputs[..]].concat())
        .must_fail(74, &["no output file was written"]);
    assert!(folder.content() == before, "a failed run changed something, or left something behind");
    folder.run(&[&["replay", "log.jsonl", "--reference", "r.json"], &outputs[..]].concat()).must_succeed();
    for name in ["v", "report", "summary", "letters"] {
        assert_ne!(std::fs::read(folder.at(name)).unwrap(), b"old", "{name}");
    }
}

#[test]
fn a_killed_run_leaves_the_old_file() {
    let folder = Folder::new();
    std::fs::write(folder.at("v"), "old").unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_tripline"))
        .args(["replay", "-", "--reference", "r.json", "--verdicts", "v"])
        .current_dir(folder.directory.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // Something to read, so that it goes on to its outputs; the rest never comes.
    let line = CUT.lines()[0].clone() + "\n";
    child.stdin.as_mut().unwrap().write_all(line.as_bytes()).unwrap();
    let part = || {
        std::fs::read_dir(folder.directory.path())
            .unwrap()
            .any(|entry| entry.unwrap().path().extension().is_some_and(|e| e == "part"))
    };
    // It has opened its output once the unfinished file is there.
    for _ in 0..600 {
        if part() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    assert!(part(), "no unfinished file within half a minute");
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(std::fs::read(folder.at("v")).unwrap(), b"old");
}

#[test]
fn standard_output_pipes_and_devices_are_written_directly() {
    let folder = Folder::new();
    let whole = folder.run(&["replay", "log.jsonl", "--reference", "r.json", "--summary", "-"]);
    assert!(whole.must_succeed().out.starts_with('{') && whole.err.contains("accepted"), "{}", whole.err);
    for name in ["/dev/stdout", "/dev/fd/1"] {
        let ended = folder.run(&["replay", "log.jsonl", "--reference", "r.json", "--summary", name]);
        assert_eq!(ended.must_succeed().out, whole.out, "{name}");
    }
    folder
        .run(&["replay", "log.jsonl", "--reference", "r.json", "--verdicts", "/dev/null", "--report", "/dev/null"])
        .must_succeed();
    assert!(!std::fs::metadata("/dev/null").unwrap().is_file());
    let fitted = folder.run(&["fit", "train.csv", "--model", "adult", "-o", "-"]);
    assert!(fitted.must_succeed().out.starts_with('{') && fitted.err.contains("written"), "{}", fitted.err);
    assert!(Command::new("mkfifo").arg(folder.at("pipe")).status().unwrap().success());
    let reader = std::thread::spawn({
        let pipe = folder.at("pipe");
        move || std::fs::read_to_string(pipe).unwrap()
    });
    folder.run(&["replay", "log.jsonl", "--reference", "r.json", "--summary", "pipe"]).must_succeed();
    assert_eq!(reader.join().unwrap(), whole.out);
}

/// Starts the program, reads a few bytes of what it prints, goes away, and returns its end.
fn read_little(folder: &Folder, args: &[&str]) -> (Option<i32>, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_tripline"))
        .args(args)
        .current_dir(folder.directory.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut few = [0; 8];
    let mut out = child.stdout.take().unwrap();
    let _ = out.read(&mut few).unwrap();
    drop(out);
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    (child.wait().unwrap().code(), said)
}

#[test]
fn a_reader_that_goes_away_ends_the_program_quietly() {
    let folder = Folder::new();
    std::fs::write(folder.at("long.jsonl"), Cut("22_grid_dist_ofat_jitter").events()).unwrap();
    std::fs::write(folder.at("bad.jsonl"), "garbage\n".repeat(50_000)).unwrap();
    let cases: [&[&str]; 4] = [
        &["replay", "bad.jsonl", "--reference", "r.json", "--max-rejects", "100%", "--dead-letters", "-"],
        &["simulate", "--reference", "r.json", "--out", "-", "--hours", "24"],
        &["check", "--example"],
        &["reference", "show", "r.json", "--json"],
    ];
    for args in cases {
        let (code, said) = read_little(&folder, args);
        assert_eq!(code, Some(0), "{args:?}: {said}");
        assert!(!said.contains("panicked") && !said.contains("pipe"), "{args:?}: {said}");
    }
}

#[test]
fn a_closed_standard_error_is_no_panic() {
    let folder = Folder::new();
    let mut child = Command::new(env!("CARGO_BIN_EXE_tripline"))
        .args(["replay", "log.jsonl", "--reference", "r.json", "--verdicts", "-"])
        .current_dir(folder.directory.path())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stderr.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn reading_that_stops_early_says_so_and_why() {
    let folder = Folder::new();
    std::fs::write(folder.at("other.jsonl"), "{\"a\":1}\n".repeat(100)).unwrap();
    let ended = folder.run(&["replay", "other.jsonl", "--reference", "r.json"]);
    ended.must_fail(65, &["reading stopped after 11 events", "--max-rejects"]);
    assert!(ended.out.contains("11 events were read, none of them usable"), "{}", ended.out);
    assert!(ended.out.contains("reading stopped after 11 events: more than half"), "{}", ended.out);
}

#[test]
fn a_configuration_for_replay_is_sound_and_one_for_the_service_still_needs_its_source() {
    let folder = Folder::new();
    std::fs::write(folder.at("replay.toml"), "[decode]\ntrusted_proxies = 1\n").unwrap();
    let sound = folder.run(&["check", "replay.toml"]);
    assert!(sound.must_succeed().out.contains("serves replay and drill"), "{}", sound.out);
    std::fs::write(folder.at("models.toml"), "[[models]]\nreference = \"r.json\"\n").unwrap();
    assert!(folder.run(&["check", "models.toml"]).must_succeed().out.contains("reference profiles: adult"));
    std::fs::write(folder.at("wrong.toml"), "[decode]\ntrusted_proxies = 1000\n").unwrap();
    folder.run(&["check", "wrong.toml"]).must_fail(64, &["decode.trusted_proxies"]);
    std::fs::write(folder.at("service.toml"), "[source.kafka]\ntopics = [\"t\"]\n[[models]]\nreference = \"r.json\"\n").unwrap();
    folder.run(&["check", "service.toml"]).must_fail(64, &["source.kafka.brokers"]);
    let same = "[source.kafka]\nbrokers = \"b:9092\"\ntopics = [\"t\"]\n[sink.verdicts]\nfile = \"r.json\"\n[[models]]\nreference = \"r.json\"\n";
    std::fs::write(folder.at("same.toml"), same).unwrap();
    folder.run(&["check", "same.toml"]).must_fail(64, &["sink.verdicts.file", "is the same file as"]);
}
