//! The documents do not lie: what they tell a newcomer to type works as it stands there.

use std::path::Path;
use std::process::Command;

use super::support::data::text;
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
            // A blank line may stand within a block.
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
    // Paths begin at the file's folder; the README's reader stands in the checkout.
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
            // Only what is set as code, or stands in a block of its own: `make x` in prose is an English verb.
            if !(text[..at].ends_with('`') || text[..at].ends_with("\n    ")) {
                continue;
            }
            let target: String = text[at + 5..].chars().take_while(|c| c.is_ascii_lowercase() || *c == '-').collect();
            assert!(makefile.contains(&format!("\n{target}:")), "{name} names `make {target}`, which does not exist");
        }
    }
}
