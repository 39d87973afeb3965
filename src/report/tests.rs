//! What the summary and the page promise, over a small made-up log: that they say who, why and since when; that nothing in a
//! log can make them say or do something else; and that the same log gives the same bytes.

use std::sync::Arc;

use super::page::ReportPage;
use super::sample::Sample;
use super::summary::Summary;
use crate::engine::{EngineConfig, ModelStatus};
use crate::event::{Address, Cell, EventTime, Prediction, Provenance, Query};
use crate::judge::information_budget::InformationBudget;
use crate::judge::{At, Family, FeatureDrift, Finding, QueryRef, Scope, SignalValue, Verdict};
use crate::outcome::{RejectReason, Rejection};
use crate::reference::{Column, Dataset, FitOptions, Raw, Reference, fit};

/// A name that would do harm wherever it were not escaped.
const HOSTILE: &str = "</title><script>alert(1)</script>\"' onload=x \u{202e}\u{1b}[2J";

#[expect(clippy::cast_precision_loss, reason = "small test numbers")]
fn reference(model: &str) -> Arc<Reference> {
    let rows = 500;
    let column = |name: &str, cell: &dyn Fn(usize) -> Raw| Column { name: name.into(), cells: (0..rows).map(cell).collect() };
    let dataset = Dataset {
        features: vec![
            column("age", &|i| Raw::Number(17.0 + (i * 7 % 70) as f64)),
            column(HOSTILE, &|i| Raw::Text(["<b>Private</b>", "State", "None"][i % 3].into())),
        ],
        predictions: (0..rows).map(|i| Raw::Number((i % 100) as f64 / 100.0)).collect(),
        probabilities: Vec::new(),
    };
    Arc::new(fit(&dataset, &FitOptions { model: model.into(), ..FitOptions::default() }).unwrap())
}

fn at(second: i64) -> EventTime {
    EventTime::from_micros(1_772_442_000_000_000 + second * 1_000_000)
}

fn query(model: &str, nth: i64) -> Query {
    let attacker = nth % 5 == 0;
    Query {
        time: at(nth * 60),
        model: model.into(),
        address: Address::parse(if attacker { "203.0.113.7" } else { ["10.0.0.1", "10.0.0.2", "2001:db8::1"][nth as usize % 3] })
            .unwrap(),
        account: if nth % 4 == 0 { HOSTILE.into() } else { String::new() },
        #[expect(clippy::cast_precision_loss, reason = "small test numbers")]
        row: vec![
            if attacker { Cell::number(900.0 + nth as f64) } else { Cell::number(30.0 + (nth % 20) as f64) },
            Cell::unseen("x"),
        ],
        prediction: Prediction::Score(0.5),
        provenance: Provenance { offset: nth, ..Provenance::default() },
        ..Query::default()
    }
}

fn verdict(model: &str, scope: Scope, verdict: Finding, second: i64) -> Verdict {
    Verdict { confidence: Some(0.95), queries_seen: 9, ..Verdict::new(at(second), scope, model, verdict) }
}

/// What an engine might say of that log.
fn verdicts(model: &str) -> Vec<Verdict> {
    let drift = |psi, critical, psi_without_suspects| FeatureDrift { name: HOSTILE.into(), psi, critical, psi_without_suspects };
    let query_ref = |nth| QueryRef {
        at: At(at(nth * 60)),
        request_id: HOSTILE.into(),
        provenance: Provenance { offset: nth, ..Provenance::default() },
    };
    let attacker = Verdict {
        source_ip: Some("203.0.113.7".into()),
        source_prefix: None,
        family: Some(Family::Boundary),
        technique: Family::Boundary.techniques(),
        confidence: Some(0.999),
        case: Some(HOSTILE.into()),
        since: Some(At(at(300))),
        signals: vec![SignalValue { name: "odd_marginals", value: 0.8, reference: 0.02, evidence: 11.0 }],
        queries: vec![query_ref(5), query_ref(10), query_ref(100_000)],
        ..verdict(model, Scope::Client, Finding::Probing, 900)
    };
    let account = Verdict { source_ip: None, client_id: Some(HOSTILE.into()), ..attacker.clone() };
    let campaign = Verdict {
        scope: Scope::Campaign,
        source_ip: None,
        source_prefix: None,
        members: vec!["203.0.113.7".into(), HOSTILE.into()],
        ..attacker.clone()
    };
    vec![
        verdict(model, Scope::Model, Finding::Stable, 60),
        Verdict { source_ip: Some("203.0.113.7".into()), ..verdict(model, Scope::Client, Finding::Suspicious, 600) },
        attacker,
        account,
        campaign,
        verdict(model, Scope::Model, Finding::Probing, 900),
        Verdict {
            features: vec![drift(0.3, 0.04, 0.01)],
            signals: vec![
                SignalValue { name: "vanishes_without_suspects", value: 0.96, reference: 0.0, evidence: 0.0 },
                SignalValue { name: "moved_callers", value: 3.0, reference: 40.0, evidence: 0.0 },
            ],
            ..verdict(model, Scope::Model, Finding::DriftAndProbing, 1200)
        },
        Verdict { features: vec![drift(0.2, 0.04, 0.01)], ..verdict(model, Scope::Model, Finding::Drift, 1800) },
    ]
}

/// Summary and page of the log, with or without verdicts.
fn render(model: &str, queries: i64, verdicts: &[Verdict]) -> (String, String) {
    let reference = reference(model);
    let mut summary = Summary::new(std::slice::from_ref(&reference));
    let mut sample = Sample::new(reference);
    for nth in 0..queries {
        let query = query(model, nth);
        summary.accepted(&query);
        sample.take(&query, (nth > 10).then_some(0.5));
    }
    summary.reject(&Rejection::new(RejectReason::NotJson, HOSTILE), &Provenance::default());
    verdicts.iter().for_each(|verdict| summary.verdict(verdict));
    let page = ReportPage { events: HOSTILE, summary: &summary, samples: &[sample], config: &EngineConfig::default() }.render();
    (summary.to_string(), page)
}

#[test]
fn the_summary_says_who_what_why_and_since_when() {
    let (summary, _) = render("adult", 100, &verdicts("adult"));
    for said in [
        "accepted 100, late 0, rejected 1",
        "adult: DRIFT + PROBING",
        "203.0.113.7",
        "boundary walk, 99.9 % sure after 9 queries, since 2026-03-02 09:05",
        "because: rare or impossible values",
        "vanishes without the suspects",
        "change     concentrated: 3 of 40 callers moved; 96 % of it vanishes without the suspects",
        "1 group of callers",
        "not_json, first in line 1",
    ] {
        assert!(summary.contains(said), "'{said}' is not in:\n{summary}");
    }
}

#[test]
fn the_page_has_every_picture_with_words_for_those_who_cannot_see_it() {
    let (_, page) = render("adult", 100, &verdicts("adult"));
    for label in [
        "Course of the model",
        "Distribution of age",
        "Time between two queries",
        "Queries of 4 addresses",
        "PSI 0.30, chance up to 0.040",
    ] {
        assert!(page.contains(&format!("aria-label=\"{label}")), "no picture '{label}'");
    }
    assert!(
        page.contains("203.0.113.7: 20 queries, suspect")
            && page.contains("above all seen: suspects")
            && page.contains("not kept in the sample")
    );
    assert!(page.contains("AML.T0043.001"));
}

#[test]
fn nothing_in_a_log_becomes_markup_or_leaves_the_page() {
    for (summary, page) in [render(HOSTILE, 100, &verdicts(HOSTILE)), render(HOSTILE, 0, &[])] {
        assert!(!page.contains("<script") && !page.contains("<b>Private"), "markup from the log");
        for text in [&page, &summary] {
            assert!(!text.contains(['\u{202e}', '\u{1b}']), "control characters from the log");
        }
        let outside: Vec<_> =
            page.match_indices("://").map(|(at, _)| &page[at.saturating_sub(5)..(at + 20).min(page.len())]).collect();
        assert!(outside.iter().all(|address| address.contains("www.w3.org")), "{outside:?}");
        assert!(page.contains("default-src 'none'") && !page.contains(" src="));
    }
}

#[test]
fn a_quiet_log_is_said_to_be_quiet() {
    let (summary, page) = render("adult", 100, &verdicts("adult")[..1]);
    assert!(summary.contains("adult: STABLE. Nothing unusual."), "{summary}");
    assert!(summary.contains("0 callers found probing"), "{summary}");
    assert!(page.contains("Nobody. No caller gave enough evidence of probing."));
    assert!(!page.contains("k-suspect\"></i>suspects"));
}

#[test]
fn who_asked_most_is_named_without_an_accusation() {
    let spent = |ratio: f64| budget(HOSTILE, ratio);
    let with_budget = |ratio| {
        let mut summary = Summary::new(&[reference("adult")]);
        summary.accepted(&query("adult", 0));
        summary.status(vec![ModelStatus {
            model: "adult".into(),
            information_budgets: vec![spent(ratio)],
            ..ModelStatus::default()
        }]);
        let samples = [Sample::new(reference("adult"))];
        let page = ReportPage { events: "log", summary: &summary, samples: &samples, config: &EngineConfig::default() }.render();
        (summary.to_string(), page)
    };
    let (summary, page) = with_budget(3.0);
    assert!(
        summary.contains(
            "about 318 different rows, 3.00 times what a linear copy takes, in 71 % of the model's regions (no detection)"
        ),
        "{summary}"
    );
    assert!(page.contains("Who has asked most that could be learned from") && page.contains("71 %"));
    assert!(!page.contains("<script>"), "what comes from the log is no markup");
    assert!(!with_budget(0.1).0.contains("what a linear copy takes"), "a handful of rows is not worth a line");
}

fn budget(who: &str, ratio: f64) -> InformationBudget {
    InformationBudget {
        source_ip: Some(who.into()),
        client_id: None,
        case: None,
        callers: 1,
        queries: 1234,
        rows: 106.0 * ratio,
        ratio,
        covered: Some(0.714),
        since: At(at(0)),
        rows_per_day: 318.0,
        flagged: false,
    }
}

#[test]
fn what_an_accused_caller_learned_is_no_praise_beneath_those_that_nobody_accuses() {
    let busy = Verdict {
        source_ip: Some("10.0.0.1".into()),
        signals: vec![SignalValue { name: "distinct_rows", value: 900.0, reference: 90.0, evidence: 9.0 }],
        ..verdict("adult", Scope::Client, Finding::Suspicious, 600)
    };
    let busy = busy.with_family(Family::Volume);
    let member = Verdict {
        members: vec!["203.0.113.9".into()],
        case: Some("c-2".into()),
        ..verdict("adult", Scope::Campaign, Finding::Probing, 900)
    };
    let said = |who: &str| {
        let mut summary = Summary::new(&[reference("adult")]);
        summary.accepted(&query("adult", 0));
        verdicts("adult").iter().chain([&busy, &member]).for_each(|verdict| summary.verdict(verdict));
        let status = ModelStatus { model: "adult".into(), information_budgets: vec![budget(who, 3.0)], ..ModelStatus::default() };
        summary.status(vec![status]);
        summary.to_string()
    };
    let line = |text: &str| text.lines().find(|line| line.contains("learned")).unwrap().to_owned();
    assert!(said("203.0.113.7").contains("(no accusation)"), "{}", said("203.0.113.7"));
    for accused in ["203.0.113.7", "203.0.113.9"] {
        assert!(line(&said(accused)).ends_with("(found probing)"), "{accused}: {}", line(&said(accused)));
    }
    assert!(line(&said("10.0.0.1")).ends_with("(no detection)"), "{}", line(&said("10.0.0.1")));
}

#[test]
fn the_same_log_gives_the_same_bytes() {
    assert_eq!(render("adult", 300, &verdicts("adult")), render("adult", 300, &verdicts("adult")));
}

#[test]
fn a_reference_of_other_features_is_said() {
    let reference = reference("adult");
    let mut summary = Summary::new(&[Arc::clone(&reference)]);
    let strange: Box<[Box<str>]> = Box::new(["\u{1b}[2J".into(), "A-G-E".into()]);
    for _ in 0..5 {
        let row = vec![Cell::MISSING, Cell::number(0.0)];
        let query = Query { row, extra_features: 2, new_names: strange.to_vec(), ..query("adult", 1) };
        assert_eq!(summary.accepted(&query), [], "too early to say");
    }
    let text = summary.to_string();
    assert!(text.contains("mismatch   records have A-G-E, the reference has age: log it as age"), "{text}");
    assert!(text.contains("records have fields that the reference does not know and that are left out: \u{fffd}[2J"), "{text}");
    let page =
        ReportPage { events: "log", summary: &summary, samples: &[Sample::new(reference)], config: &EngineConfig::default() };
    assert!(page.render().contains("records have A-G-E, the reference has age"));
}

#[test]
fn a_model_that_was_not_tested_is_not_said_to_be_stable() {
    let (summary, page) = render("adult", 100, &[]);
    assert!(summary.contains("adult: UNDETERMINED. Not judged yet."), "{summary}");
    assert!(page.contains("Not judged yet") && !page.contains("Nothing unusual"));
}

#[test]
fn a_log_of_which_most_came_late_is_not_judged_but_who_was_found_is_named() {
    let disordered = |verdicts: &[Verdict]| {
        let mut summary = Summary::new(&[reference("adult")]);
        summary.accepted(&query("adult", 0));
        (1..10).for_each(|nth| drop(summary.late(&query("adult", nth))));
        verdicts.iter().for_each(|verdict| summary.verdict(verdict));
        assert_eq!(summary.note_disorder(60, |queries| queries), None, "so many are allowed");
        let why = summary.note_disorder(60, |queries| queries / 2).unwrap();
        assert!(
            why.starts_with("9 of 10 records came more than 60 s after newer ones: the log is not in time order. Sort it"),
            "{why}"
        );
        summary.to_string()
    };
    let quiet = disordered(&verdicts("adult")[..1]);
    assert!(quiet.contains("adult: UNDETERMINED. The log is not in time order."), "{quiet}");
    assert!(disordered(&verdicts("adult")).contains("PROBING"), "what was found stays found");
}

#[test]
fn a_crowd_is_shown_with_what_its_rows_have_in_common() {
    let signal = |name, value| SignalValue { name, value, reference: 0.0, evidence: 0.0 };
    let feature = |name: &str, psi| FeatureDrift { name: name.into(), psi, critical: 0.3, psi_without_suspects: 0.0 };
    let first = Verdict {
        confidence: Some(0.999),
        case: Some("c-1".into()),
        queries_seen: 56,
        since: Some(At(at(300))),
        features: vec![feature("age", 3.0)],
        signals: vec![signal("strangers", 56.0), signal("odd_rows_of_strangers", 0.3)],
        ..verdict("adult", Scope::Campaign, Finding::Probing, 600)
    };
    let first = first.with_family(Family::Random);
    let (summary, page) = render("adult", 100, std::slice::from_ref(&first));
    assert!(
        summary.contains("c-1  new addresses of which none can be named, random input, 99.9 % sure after 56 queries"),
        "{summary}"
    );
    assert!(page.contains("A crowd: new addresses of which none can be named, since"));
    let grown = Verdict {
        members: (0..2_386_u32).map(|nth| std::net::Ipv4Addr::from(nth).to_string()).collect(),
        queries_seen: 2_400,
        features: vec![feature("capital_gain", 6.3), feature(HOSTILE, 1.0)],
        signals: [vec![signal("campaign_members", 2_386.0)], first.signals.clone()].concat(),
        ..first.clone()
    };
    let (summary, page) = render("adult", 100, &[first, grown]);
    assert!(summary.contains("c-1  2,386 addresses with a query or two each, random input"), "{summary}");
    assert!(summary.contains("their rows have in common: unusual values of capital_gain, "), "{summary}");
    assert!(page.contains("since 2026-03-02 09:05 UTC; their rows have in common: unusual values of capital_gain, "));
    assert!(page.contains("<td class=\"n\">6.30</td>") && !page.contains("<script>"));
}

#[test]
fn everybody_accused_still_gives_a_page_that_opens() {
    let accuse = |nth: u32| Verdict {
        source_ip: Some(std::net::Ipv4Addr::from(nth).to_string()),
        source_prefix: None,
        signals: vec![SignalValue { name: "psi", value: 1.0, reference: 0.0, evidence: f64::from(nth) }],
        ..verdict("adult", Scope::Client, Finding::Probing, 900)
    };
    let many: Vec<_> = (0..5_000).map(accuse).collect();
    let (summary, page) = render("adult", 100, &many);
    assert!(page.len() < 2_000_000, "{} bytes", page.len());
    assert!(summary.lines().count() < 60, "{summary}");
    assert!(summary.contains("who        at least 2,000 callers found probing"), "{summary}");
    assert!(page.contains("At least 2,000 callers were found probing"));
}
