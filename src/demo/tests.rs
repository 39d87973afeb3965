//! What the demo's state promises: it scores the service by the truth, explains what it shows, and stays bounded.

use std::net::IpAddr;

use super::page;
use super::script::{Act, Script};
use super::state::{DemoState, MAX_ENTRIES};
use super::truth::MAX_BUCKETS;
use super::view::Entry;
use super::view::Score;
use crate::event::EventTime;
use crate::judge::{Family, Finding, Scope, SignalValue, Verdict};
use crate::readmodel::Recorder;
use crate::simulate::victim::Answer;
use crate::simulate::{Event, Mark};

struct Demo {
    recorder: Recorder,
    state: DemoState,
}

// === impl Demo ===

impl Demo {
    fn new() -> Self {
        let acts = vec![Act { finding: Finding::Probing, from: at(2), words: "from one address".into() }];
        let recorder = Recorder::default();
        let script = Script { model: "m".into(), start: at(0), speed: 720.0, acts };
        let state = DemoState::new(script, recorder.read_model());
        Self { recorder, state }
    }

    fn verdict(&mut self, verdict: &Verdict) -> Option<Entry> {
        let recorded = self.recorder.take_verdict(verdict);
        self.state.verdict(verdict, recorded)
    }
}

fn event(minute: i64, host: u8, attack: bool) -> Event {
    Event {
        line: 0,
        at: at(minute),
        request: 0,
        address: IpAddr::from([100, 64, 0, host]),
        account: None,
        names_caller: true,
        row: Vec::new(),
        answer: Answer::Score(0.5),
        latency_ms: 1.0,
        mark: attack.then_some(Mark { campaign: 0, cover: false }),
    }
}

fn at(minute: i64) -> EventTime {
    EventTime::from_micros(1_772_409_600_000_000 + minute * 60_000_000)
}

fn verdict(scope: Scope, finding: Finding, minute: i64, host: Option<u8>) -> Verdict {
    Verdict {
        source_ip: host.map(|host| format!("100.64.0.{host}")),
        family: host.map(|_| Family::Grid),
        confidence: Some(0.999),
        queries_seen: 3,
        signals: vec![SignalValue { name: "query_rate", value: 1.0, reference: 2.0, evidence: 0.0 }],
        ..Verdict::new(at(minute), scope, "m", finding)
    }
}

#[test]
fn the_score_counts_attackers_found_and_honest_callers_accused() {
    let mut demo = Demo::new();
    for (minute, host, attack) in [(1, 2, false), (2, 4, false), (3, 1, true), (4, 3, true), (5, 1, true)] {
        demo.state.sent(&event(minute, host, attack));
    }
    assert!(demo.verdict(&verdict(Scope::Client, Finding::Probing, 4, Some(1))).is_some());
    assert!(demo.verdict(&verdict(Scope::Client, Finding::Probing, 5, Some(1))).is_none(), "said once is enough");
    assert!(demo.verdict(&verdict(Scope::Client, Finding::Probing, 5, Some(2))).is_some());
    let score = Score { attackers: 2, found: 1, honest: 2, accused: 1, queries_to_first: Some(2) };
    assert_eq!(demo.state.score(), score);
    demo.verdict(&verdict(Scope::Client, Finding::Benign, 6, Some(2)));
    assert_eq!(demo.state.score().accused, 0, "a verdict that is taken back no longer counts");
}

#[test]
fn a_caller_without_a_reason_of_its_own_is_explained_by_those_it_continues() {
    let mut demo = Demo::new();
    demo.verdict(&verdict(Scope::Client, Finding::Probing, 1, Some(9)));
    let flagged = demo.state.view().flagged_callers();
    assert!(flagged[0].why[0].contains("other flagged addresses"), "{flagged:?}");
}

#[test]
fn what_is_kept_stays_bounded() {
    let mut demo = Demo::new();
    for minute in 0..20_000 {
        demo.state.sent(&event(minute * 10, 2, false));
        demo.verdict(&verdict(Scope::Model, Finding::Drift, minute, None));
    }
    let view = demo.state.view();
    assert!(view.buckets.len() <= MAX_BUCKETS && view.entries.len() <= MAX_ENTRIES);
}

#[test]
fn the_last_words_say_what_was_to_be_found_and_what_was() {
    let mut demo = Demo::new();
    for (minute, host, attack) in [(1, 2, false), (3, 1, true)] {
        demo.state.sent(&event(minute, host, attack));
    }
    assert!(demo.state.last_words(crate::outcome::OutcomeCounts::default()).contains("attack from one address – not said so far"));
    demo.verdict(&verdict(Scope::Client, Finding::Probing, 4, Some(1)));
    demo.verdict(&verdict(Scope::Model, Finding::Probing, 5, None));
    let told = demo.state.last_words(crate::outcome::OutcomeCounts::default());
    assert!(told.contains("said after 3 min of simulated time"), "{told}");
    assert!(told.contains("1 of 1 attacking addresses were flagged, the first after 1 of the attack's queries."), "{told}");
    assert!(told.contains("0 of 1 honest addresses were flagged."), "{told}");
}

#[test]
fn the_page_has_a_place_for_every_part_and_runs_nothing_from_the_log() {
    let mut demo = Demo::new();
    demo.state.sent(&event(3, 1, true));
    let hostile = Some("<script>alert(1)</script>".to_owned());
    demo.verdict(&Verdict { client_id: hostile.clone(), ..verdict(Scope::Client, Finding::Probing, 4, Some(1)) });
    demo.verdict(&Verdict { client_id: hostile, ..verdict(Scope::Client, Finding::Probing, 4, None) });
    let view = demo.state.view();
    let whole = page::render(&view);
    for (id, part) in page::parts(&view) {
        assert!(whole.contains(&format!("id=\"{id}\"")), "no place for {id}");
        assert!(whole.contains(&part.into_string()), "{id} is not on the page");
    }
    assert!(whole.contains("✓ really the attacker") && whole.contains("aria-label=\"Queries over the simulated day"));
    assert!(!whole.contains("<script>") && !whole.contains("style="), "markup from the log, or a style that the policy forbids");
}
