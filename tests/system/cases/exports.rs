//! Exports as their receivers read them: validated by py-ocsf-models and stix2-validator, which `make setup` keeps in the cache.

use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;
use tripline::audit::Actor;
use tripline::export::Format;

use super::super::support::data::text;
use super::super::support::program;
use super::{Place, attack, verdict};

/// Reads findings from standard input, and fails if one is not valid or has a field that the class has not.
const OCSF: &str = r#"
import json, sys
from py_ocsf_models.events.findings.detection_finding import DetectionFinding
def unknown(given, kept, at):
    if isinstance(given, dict) and isinstance(kept, dict):
        for name in given:
            if name not in kept:
                yield f"{at}.{name}"
            else:
                yield from unknown(given[name], kept[name], f"{at}.{name}")
    elif isinstance(given, list) and isinstance(kept, list):
        for i, (a, b) in enumerate(zip(given, kept)):
            yield from unknown(a, b, f"{at}[{i}]")
count = 0
for line in sys.stdin:
    given = json.loads(line)
    kept = json.loads(DetectionFinding.model_validate(given).model_dump_json(exclude_unset=True))
    extra = list(unknown(given, kept, "finding"))
    assert not extra, extra
    count += 1
print(count)
"#;

/// The Python environment that `make setup` makes.
fn validators() -> PathBuf {
    let cache = std::env::var("TRIPLINE_CACHE").map(PathBuf::from);
    let cache = cache.unwrap_or_else(|_| PathBuf::from(std::env::var("HOME").unwrap()).join(".cache/tripline"));
    let place = cache.join("validators/bin");
    assert!(place.join("python").exists(), "{} is missing; `make setup` makes it", place.display());
    place
}

#[tokio::test]
async fn exports_are_valid_for_their_receivers_and_told_to_the_audit() {
    let place = Place::sqlite();
    let folder = place.folder.path();
    let cases = place.cases("").await;
    cases.take(&attack()).await.unwrap();
    // What a stranger chose as its account.
    let mut hostile = verdict("v-x", "2026-03-02T08:00:00Z", "2001:db8::7", "boundary", "c-hostile");
    hostile.verdict["client_id"] = "a'] OR [x\\ \"\u{202e}=1+1\u{0}\n".into();
    hostile.verdict["technique"] = serde_json::json!(["AML.T0043.001"]);
    cases.take(&[hostile]).await.unwrap();
    let all = cases.count(&Default::default()).await.unwrap();
    std::fs::write(
        folder.join("tripline.toml"),
        format!(
            "[[models]]\nreference = \"{}\"\n[store]\nurl = \"sqlite://cases.db\"\n[source.kafka]\nbrokers = \"127.0.0.1:9\"\ntopics = [\"predictions\"]\n",
            concat!(env!("CARGO_MANIFEST_DIR"), "/models/adult/reference.json")
        ),
    )
    .unwrap();
    let config = folder.join("tripline.toml");
    let export = |format: &str| {
        let ended = program::run(&["cases", "export", "--config", text(&config), "--format", format]);
        let path = folder.join(format!("export.{format}.json"));
        std::fs::write(&path, &ended.must_succeed().out).unwrap();
        path
    };
    let findings = export("ocsf");
    let python = Command::new(validators().join("python"))
        .args(["-c", OCSF])
        .stdin(std::fs::File::open(&findings).unwrap())
        .output()
        .unwrap();
    assert!(python.status.success(), "{}", String::from_utf8_lossy(&python.stderr));
    assert_eq!(String::from_utf8_lossy(&python.stdout).trim(), all.to_string());
    let bundle = export("stix");
    let validated = Command::new(validators().join("stix2_validator")).args(["--version", "2.1", text(&bundle)]).output().unwrap();
    let words = String::from_utf8_lossy(&validated.stdout);
    assert!(
        validated.status.success() && words.contains("STIX JSON: Valid"),
        "{words}\n{}",
        String::from_utf8_lossy(&validated.stderr)
    );
    let alerts = std::fs::read_to_string(export("ecs")).unwrap();
    assert!(alerts.lines().all(|line| serde_json::from_str::<Value>(line).unwrap()["ecs"]["version"].is_string()));
    let table = std::fs::read(export("csv")).unwrap();
    assert_eq!(csv::Reader::from_reader(table.as_slice()).records().filter(|row| row.is_ok()).count() as i64, all);
    let lines = std::fs::read_to_string(export("json")).unwrap();
    let first: Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
    assert!(first["verdicts"][0]["id"].is_string() && first["timeline"].is_array());
    let exports = program::run(&["audit", "export", "--config", text(&config), "--action", "case.export"]);
    assert_eq!(exports.must_succeed().out.lines().count() as i64, 5 * all, "each export of each case is an entry");
    // As a handler would do it.
    let file = cases.export("c-hostile", &Actor::person("ana"), "json").await.unwrap();
    assert!(Format::Stix.write(&[file]).unwrap().contains("AML.T0043.001"));
    program::run(&["cases", "export", "--config", text(&config), "--id", "c-none"]).must_fail(66, &["c-none"]);
    program::run(&["cases", "export", "--config", text(&config), "--format", "pdf"]).must_fail(64, &["stix"]);
    // A person's rights, at a terminal.
    let subject = program::run(&["cases", "subject", "--config", text(&config), "2001:db8::7"]);
    assert!(subject.must_succeed().out.contains("c-hostile"));
    program::run(&["cases", "erase", "--config", text(&config), "2001:db8::7", "--reason", "asked for"]).must_succeed();
    let subject = program::run(&["cases", "subject", "--config", text(&config), "2001:db8::7"]);
    assert!(!subject.must_succeed().out.contains("c-hostile"), "{}", subject.out);
    program::run(&["audit", "verify", "--config", text(&config)]).must_succeed();
}
