use serde_json::json;

use super::*;
use crate::cases::detail::Member;
use crate::cases::rules::{Severity, Status};
use crate::event::EventTime;
use crate::judge::At;

/// A case whose account was chosen by somebody who knows spreadsheets and patterns.
pub(super) fn file() -> CaseFile {
    let at = At(EventTime::parse("2026-03-02T08:12:43.247Z").unwrap());
    let member = |kind: &str, value: &str| Member {
        kind: kind.into(),
        value: value.into(),
        prefix: String::new(),
        first_seen: at,
        last_seen: at,
        verdicts: 1,
    };
    CaseFile {
        case: Case {
            id: "c-0123456789ab".into(),
            model: "adult".into(),
            scope: "client".into(),
            actor: "account==HYPERLINK(\"x\")'] OR [x".into(),
            verdict: "probing".into(),
            family: "grid".into(),
            confidence: 0.999,
            severity: Severity::High,
            severity_fixed: false,
            status: Status::Open,
            owner: String::new(),
            feedback: None,
            first_seen: at,
            last_seen: at,
            verdicts: 2,
            queries: 9,
            members: 3,
            related: String::new(),
            dismissed_until: None,
            changed_at: at,
            version: 1,
        },
        members: vec![
            member("account", "=HYPERLINK(\"x\")'] OR [x"),
            member("address", "203.0.113.7"),
            member("prefix", "2001:db8::/64"),
        ],
        evidence: vec![Signal { name: "lattice_steps".into(), value: 3.0, reference: 0.1, evidence: 9.0 }],
        queries: Vec::new(),
        timeline: Vec::new(),
        verdicts: vec![json!({"technique": ["AML.T0024.002"]})],
    }
}

#[test]
fn the_same_case_gives_the_same_bytes_in_every_format() {
    for format in Format::ALL {
        assert_eq!(Format::read(format.name()), Some(format));
        let text = format.write(&[file(), file()]).unwrap();
        assert_eq!(text, format.write(&[file(), file()]).unwrap());
        assert!(text.contains("203.0.113.7") && text.ends_with('\n'), "{format:?}: {text}");
    }
}

#[test]
fn a_table_runs_no_formula_of_a_stranger() {
    let mut hostile = file();
    hostile.case.owner = "=1+1".into();
    let text = Format::Csv.write(&[hostile]).unwrap();
    let mut table = ::csv::Reader::from_reader(text.as_bytes());
    let row = table.records().next().unwrap().unwrap();
    assert!(row.iter().all(|cell| !cell.starts_with(['=', '+', '-', '@'])), "{row:?}");
    assert!(row.iter().any(|cell| cell == "'=1+1"));
}

#[test]
fn a_pattern_holds_what_a_stranger_wrote_as_a_text() {
    let text = Format::Stix.write(&[file()]).unwrap();
    let bundle: Value = serde_json::from_str(&text).unwrap();
    let patterns: Vec<&str> = bundle["objects"].as_array().unwrap().iter().filter_map(|one| one["pattern"].as_str()).collect();
    assert_eq!(
        patterns,
        [
            "[user-account:account_login = '=HYPERLINK(\"x\")\\'] OR [x']",
            "[ipv4-addr:value = '203.0.113.7']",
            "[ipv6-addr:value ISSUBSET '2001:db8::/64']"
        ]
    );
}

#[test]
fn an_alert_has_one_source_or_a_list() {
    let alert = |file: CaseFile| serde_json::from_str::<Value>(&Format::Ecs.write(&[file]).unwrap()).unwrap();
    assert_eq!(alert(file())["source"]["ip"], "203.0.113.7");
    let mut campaign = file();
    campaign.members.push(Member { value: "203.0.113.8".into(), ..campaign.members[1].clone() });
    let alert = alert(campaign);
    assert!(alert.get("source").is_none());
    assert_eq!(alert["related"]["ip"], json!(["203.0.113.7", "203.0.113.8"]));
    assert_eq!(alert["event"]["kind"], "alert");
}
