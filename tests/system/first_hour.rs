//! The guide `docs/your-own-log.md` is run: every command of it, in an empty folder with the files that it names.

use std::path::Path;
use std::process::{Command, Stdio};

use super::support::data::text;
use super::support::program;

/// The fenced blocks of a kind.
fn blocks(page: &str, kind: &str) -> Vec<String> {
    page.split(&format!("```{kind}\n")).skip(1).map(|rest| rest.split("```").next().unwrap().to_owned()).collect()
}

#[test]
fn parquet_is_read_however_its_columns_are_packed() {
    let folder = tempfile::tempdir().unwrap();
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/first_hour");
    for packing in ["lz4", "brotli"] {
        let train = data.join(format!("train_{packing}.parquet"));
        let out = folder.path().join(packing);
        let fitted = program::run(&["fit", text(&train), "--model", "m", "--drop", "label", "-o", text(&out)]);
        assert!(fitted.must_succeed().out.contains("row index that pandas saved"), "{packing}: {}", fitted.out);
    }
}

#[test]
fn every_command_of_the_guide_does_what_the_guide_says() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(root.join("docs/your-own-log.md")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(root.join("tests/data/first_hour")).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, folder.path().join(path.file_name().unwrap())).unwrap();
    }
    let settings = blocks(&page, "toml");
    assert_eq!(settings.len(), 1);
    std::fs::write(folder.path().join("replay.toml"), &settings[0]).unwrap();
    let mut commands = 0;
    for block in blocks(&page, "console") {
        for command in block.split("$ tripline ").skip(1) {
            let mut lines = command.lines();
            let arguments = lines.next().unwrap();
            let run = Command::new(env!("CARGO_BIN_EXE_tripline"))
                .args(arguments.split_whitespace())
                .current_dir(folder.path())
                .stdin(Stdio::null())
                .output()
                .unwrap();
            let said = format!("{}{}", String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
            let mut code = 0;
            for expected in lines {
                match expected.strip_prefix("exit ") {
                    Some(number) => code = number.parse().unwrap(),
                    None => assert!(said.contains(expected), "{arguments}: '{expected}' is not in\n{said}"),
                }
            }
            assert_eq!(run.status.code(), Some(code), "{arguments}:\n{said}");
            commands += 1;
        }
    }
    assert!(commands >= 9, "{commands} commands are no guide");
    assert!(folder.path().join("report.html").is_file() && folder.path().join("verdicts.jsonl").is_file());
}
