//! The documents are correct: the commands and configurations that they show work exactly as written.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::support::data::{Cut, text};
use super::support::program;

/// A committed file as text.
fn document(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The indented blocks of a Markdown document, without their indentation.
fn blocks(markdown: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut open = String::new();
    for line in markdown.lines() {
        match line.strip_prefix("    ") {
            Some(code) => open += &format!("{code}\n"),
            // A block may contain a blank line.
            None if line.is_empty() && !open.is_empty() => open.push('\n'),
            None if !open.is_empty() => blocks.push(std::mem::take(&mut open)),
            None => {}
        }
    }
    blocks.push(open);
    blocks
}

#[test]
fn the_first_configuration_of_the_readme_is_sound() {
    let readme = document("README.md");
    let config =
        blocks(&readme).into_iter().find(|block| block.starts_with("[source.kafka]")).expect("a configuration in the README");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tripline.toml");
    // Paths are relative to the file's folder; the README's reader works in the checkout.
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/adult/reference.json");
    std::fs::write(&path, config.replace("models/adult/reference.json", text(&model))).unwrap();
    program::run(&["check", text(&path)]).must_succeed();
}

#[test]
fn the_readmes_commands_on_recorded_traffic_work_as_they_stand() {
    let folder = tempfile::tempdir().unwrap();
    let readme = document("README.md").replace("/tmp/", &format!("{}/", folder.path().display()));
    let commands: Vec<String> = blocks(&readme)
        .iter()
        .flat_map(|block| {
            block
                .lines()
                .filter(|line| line.starts_with("tripline ") && line.contains("tests/data"))
                .map(str::to_owned)
                .collect::<Vec<_>>()
        })
        .collect();
    assert!(commands.len() >= 2, "the README shows no commands on recorded traffic: {commands:?}");
    for command in commands {
        let output = Command::new(env!("CARGO_BIN_EXE_tripline"))
            .args(command.split_whitespace().skip(1))
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output()
            .unwrap();
        assert!(output.status.success(), "{command}\n{}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn the_readmes_replay_says_what_the_readme_shows() {
    let folder = tempfile::tempdir().unwrap();
    let cut = Cut("10_hopskipjump_fast");
    let profile = cut.fit(folder.path());
    let verdicts = folder.path().join("verdicts.jsonl");
    let log = cut.path("events.jsonl.zst");
    let ended = program::run(&["replay", text(&log), "--reference", text(&profile), "--verdicts", text(&verdicts)]);
    ended.must_succeed();
    let shown = blocks(&document("README.md"));
    let summary = shown.iter().find(|block| block.starts_with("adult: PROBING")).expect("a summary in the README");
    assert!(ended.out.contains(summary.trim_end()), "the README shows another summary than:\n{}", ended.out);

    let example = shown.iter().find(|block| block.starts_with(r#"{"at""#)).expect("a verdict in the README");
    let example: Value = serde_json::from_str(example).unwrap();
    let said = std::fs::read_to_string(&verdicts).unwrap();
    let mut said = said.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let same = said.rfind(|verdict| verdict["at"] == example["at"] && verdict["scope"] == example["scope"]);
    let same = same.unwrap_or_else(|| panic!("the README shows a verdict that the replay does not give: {example}"));
    for (key, value) in example.as_object().unwrap() {
        // The example is shortened: it names the heaviest signals only.
        let matches = match (key.as_str(), value, &same[key]) {
            ("signals", Value::Array(shown), Value::Array(all)) => all.starts_with(shown),
            (_, shown, said) => shown == said,
        };
        assert!(matches, "the README shows {key} as {value}, the replay says {}", same[key]);
    }
}

#[test]
fn every_command_of_the_readme_exists() {
    let help = program::run(&["--help"]).out;
    for block in blocks(&document("README.md")) {
        for line in block.lines().filter(|line| line.starts_with("tripline ")) {
            let command = line.split_whitespace().nth(1).unwrap();
            assert!(help.contains(&format!("  {command}")), "{line}");
        }
    }
}

#[test]
fn every_target_that_the_documents_name_is_in_the_makefile() {
    let makefile = document("Makefile");
    for name in [
        "README.md",
        "CONTRIBUTING.md",
        "ARCHITECTURE.md",
        "SECURITY.md",
        "CHANGELOG.md",
        "models/README.md",
        "tests/data/README.md",
    ] {
        let text = document(name);
        for (at, _) in text.match_indices("make ") {
            // Only code spans and indented blocks: in prose, `make` is an English verb.
            if !(text[..at].ends_with('`') || text[..at].ends_with("\n    ")) {
                continue;
            }
            let target: String = text[at + 5..].chars().take_while(|c| c.is_ascii_lowercase() || *c == '-').collect();
            assert!(makefile.contains(&format!("\n{target}:")), "{name} names `make {target}`, which does not exist");
        }
    }
}

#[test]
fn every_room_of_the_source_is_listed_in_the_architecture_and_in_the_map() {
    let (architecture, map) = (document("ARCHITECTURE.md"), document("src/lib.rs"));
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut rooms = 0;
    for entry in std::fs::read_dir(source).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let Some(room) = name.strip_suffix(".rs").filter(|room| !["lib", "main"].contains(room)) else { continue };
        rooms += 1;
        assert!(architecture.contains(&format!("| [{room}](src/{room}.rs) | ")), "{room} is not in ARCHITECTURE.md");
        assert!(
            map.contains(&format!("//! | [`{room}`]")) || map.contains(&format!("//! | `{room}` |")),
            "{room} is not in src/lib.rs"
        );
    }
    assert!(rooms > 20, "{rooms} rooms");
}
