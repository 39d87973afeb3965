//! What the read model promises: the latest verdict wins, memory is bounded, and lists have an order of their own.

use super::*;

fn at(minute: i64) -> EventTime {
    EventTime::from_micros(1_772_409_600_000_000 + minute * 60_000_000)
}

fn caller(host: usize, finding: Finding, minute: i64) -> Verdict {
    Verdict {
        source_ip: Some(format!("10.0.{}.{}", host / 256, host % 256)),
        ..Verdict::new(at(minute), Scope::Client, "m", finding)
    }
}

fn campaign(case: &str, members: usize, minute: i64) -> Verdict {
    Verdict {
        case: Some(case.into()),
        members: (0..members).map(|host| format!("10.0.0.{host}")).collect(),
        ..Verdict::new(at(minute), Scope::Campaign, "m", Finding::Probing)
    }
}

fn drift(name: &str, psi: f64) -> FeatureDrift {
    FeatureDrift { name: name.into(), psi, critical: 0.1, psi_without_suspects: psi }
}

fn flagged(read: &ReadModel) -> Vec<String> {
    read.flagged("m").iter().map(|one| one.caller().to_string()).collect()
}

#[test]
fn the_latest_verdict_on_a_caller_wins() {
    let mut recorder = Recorder::default();
    let read = recorder.read_model();
    assert_eq!(recorder.take_verdict(&caller(1, Finding::Suspicious, 1)), Recorded::NotFlagged);
    assert_eq!(recorder.take_verdict(&caller(1, Finding::Probing, 2)), Recorded::NewlyFlagged);
    let grown = Verdict { queries_seen: 70, ..caller(1, Finding::Probing, 3) };
    assert_eq!(recorder.take_verdict(&grown), Recorded::Renewed);
    let one = read.caller("m", &Caller::of(&grown)).unwrap();
    assert_eq!(one.verdict, grown);
    let course: Vec<_> = one.timeline.iter().map(|change| (change.at, change.finding)).collect();
    assert_eq!(course, [(at(1), Finding::Suspicious), (at(2), Finding::Probing)], "a renewed verdict is no change");
}

#[test]
fn a_cleared_caller_leaves_the_list_and_keeps_its_course() {
    let mut recorder = Recorder::default();
    let read = recorder.read_model();
    recorder.take_verdict(&caller(1, Finding::Probing, 1));
    recorder.take_verdict(&caller(1, Finding::Benign, 90));
    assert_eq!(flagged(&read), Vec::<String>::new());
    let cleared = read.caller("m", &Caller::of(&caller(1, Finding::Benign, 0))).unwrap();
    assert!(!cleared.is_flagged());
    assert_eq!(cleared.timeline.last(), Some(&Change { at: at(90), finding: Finding::Benign }));
    recorder.take_verdict(&caller(2, Finding::Benign, 91));
    assert!(read.caller("m", &Caller::of(&caller(2, Finding::Benign, 0))).is_none(), "nothing was ever found");
}

#[test]
fn flagged_callers_are_listed_latest_first_and_by_model() {
    let mut recorder = Recorder::default();
    let read = recorder.read_model();
    for host in [3, 1, 2] {
        recorder.take_verdict(&caller(host, Finding::Probing, 1));
    }
    recorder.take_verdict(&caller(3, Finding::Probing, 9));
    recorder.take_verdict(&Verdict { model: "other".into(), ..caller(4, Finding::Probing, 9) });
    assert_eq!(flagged(&read), ["10.0.0.2", "10.0.0.1", "10.0.0.3"], "a renewed verdict does not move its caller");
}

#[test]
fn campaigns_are_listed_largest_first() {
    let mut recorder = Recorder::default();
    let read = recorder.read_model();
    for (case, members) in [("b", 2), ("a", 2), ("c", 5)] {
        recorder.take_verdict(&campaign(case, members, 1));
    }
    recorder.take_verdict(&campaign("b", 7, 2));
    let cases: Vec<_> = read.campaigns("m").iter().filter_map(|one| one.verdict.case.clone()).collect();
    assert_eq!(cases, ["b", "c", "a"]);
}

#[test]
fn memory_is_bounded_and_cleared_callers_are_forgotten_first() {
    let mut recorder = Recorder::with_bounds(100, 2);
    let read = recorder.read_model();
    recorder.take_verdict(&caller(1_000, Finding::Probing, 0));
    for host in 0..500 {
        recorder.take_verdict(&caller(host, Finding::Probing, 1));
        recorder.take_verdict(&caller(host, Finding::Benign, 2));
    }
    assert_eq!(read.0.callers.len(), 100);
    assert_eq!((recorder.callers.order.len(), recorder.callers.places.len()), (100, 100));
    assert_eq!(flagged(&read), ["10.0.3.232"], "the flagged caller is kept though it was heard of longest ago");
    assert_eq!(read.forgotten(), 401);
    for host in 0..300 {
        recorder.take_verdict(&caller(host, Finding::Probing, 3));
    }
    assert_eq!(flagged(&read).len(), 100);
    assert_eq!(flagged(&read)[0], "10.0.1.43");
    for case in ["a", "b", "c"] {
        recorder.take_verdict(&campaign(case, 2, 1));
    }
    assert_eq!(read.campaigns("m").len(), 2);
}

#[test]
fn timelines_are_bounded_and_keep_the_latest() {
    let mut recorder = Recorder::default();
    let read = recorder.read_model();
    for minute in 0..1_001 {
        let finding = if minute % 2 == 0 { Finding::Probing } else { Finding::Suspicious };
        recorder.take_verdict(&caller(1, finding, minute));
        let finding = if minute % 2 == 0 { Finding::Drift } else { Finding::Stable };
        recorder.take_verdict(&Verdict::new(at(minute), Scope::Model, "m", finding));
    }
    let model = read.model("m");
    assert_eq!(model.timeline.len(), MAX_MODEL_TIMELINE);
    assert_eq!((model.finding(), model.since()), (Some(Finding::Drift), Some(at(1_000))));
    assert_eq!(read.flagged("m")[0].timeline.len(), MAX_SUBJECT_TIMELINE);
}

#[test]
fn a_model_has_its_verdict_its_state_and_what_drifts_now() {
    let mut recorder = Recorder::default();
    let read = recorder.read_model();
    assert_eq!(read.model("m").finding(), None, "a model without a verdict is not stable");
    let status =
        ModelStatus { model: "m".into(), features: vec![drift("age", 0.05), drift("fare", 0.4)], ..ModelStatus::default() };
    let counts = OutcomeCounts { accepted: 7, ..OutcomeCounts::default() };
    recorder.take_status(&[status, ModelStatus { model: "a".into(), ..ModelStatus::default() }], &counts);
    assert_eq!(read.models().iter().map(|one| one.name.clone()).collect::<Vec<_>>(), ["a", "m"]);
    assert_eq!(read.counts(), counts);
    assert!(read.model("m").drifting_now().is_empty(), "no verdict of drift");
    let named = Verdict { features: vec![drift("age", 0.3)], ..Verdict::new(at(1), Scope::Model, "m", Finding::Drift) };
    recorder.take_verdict(&named);
    recorder.take_verdict(&Verdict::new(at(2), Scope::Model, "m", Finding::DriftAndProbing));
    assert_eq!(read.model("m").drifting_now(), ["age", "fare"], "the features named before, and those beyond chance now");
    recorder.take_verdict(&Verdict::new(at(3), Scope::Model, "m", Finding::Stable));
    assert!(read.model("m").drifting_now().is_empty());
}

#[test]
fn readers_see_whole_entries_while_the_writer_goes_on() {
    let mut recorder = Recorder::with_bounds(50, 1);
    let read = recorder.read_model();
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut seen = 0;
            while seen < 2_000 {
                for one in read.flagged("m") {
                    // The writer sets both to the same number.
                    assert_eq!(one.verdict.queries_seen.to_string(), one.verdict.first_query.clone().unwrap());
                    seen += 1;
                }
            }
        });
        let mut number = 0;
        while !reader.is_finished() {
            number += 1;
            let verdict = caller(number as usize % 80, Finding::Probing, 1);
            recorder.take_verdict(&Verdict { queries_seen: number, first_query: Some(number.to_string()), ..verdict });
        }
        reader.join().unwrap();
    });
}
