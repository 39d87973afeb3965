//! Metrics → scrape → rules → Alertmanager → web hook, with Debian's Prometheus and Alertmanager and the committed files.
//!
//! The service's own endpoint serves a state that a test sets; everything behind it is real. In the committed files only
//! waiting times, ports and the example hosts are changed.

use std::collections::BTreeMap;
use std::time::Duration;

use prometheus::Registry;
use tripline::clock;
use tripline::engine::ModelStatus;
use tripline::event::{EventTime, Prediction, Query, Repair, Repairs};
use tripline::health::Readiness;
use tripline::judge::{Family, FeatureDrift, Finding, Scope, Verdict};
use tripline::reference::{Column, Dataset, FitOptions, Raw, Reference, fit};
use tripline::sink::metrics::{DeliveryOutcome, Metrics};
use tripline::telemetry::TelemetryServer;

use super::support::alertmanager::{Alertmanager, Webhooks};
use super::support::dashboard;
use super::support::prometheus::Prometheus;

/// The line from the endpoint to the web hooks.
struct Line {
    metrics: Metrics,
    prometheus: Prometheus,
    hooks: Webhooks,
    // Dropped last: the endpoint and the neighbours live as long as the line.
    _alertmanager: Alertmanager,
    _runtime: tokio::runtime::Runtime,
    _folder: tempfile::TempDir,
}

// === impl Line ===

impl Line {
    fn start(states: &[ModelStatus]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let metrics = Metrics::register(&Registry::new()).unwrap();
        for state in states {
            metrics.know_model(&reference(&state.model)).unwrap();
        }
        metrics.publish(states, Some(clock::now()));
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let server =
            runtime.block_on(TelemetryServer::bind("127.0.0.1:0".parse().unwrap(), metrics.clone(), Readiness::default())).unwrap();
        let target = server.address().to_string();
        runtime.spawn(server.serve(std::future::pending()));
        let hooks = Webhooks::listen();
        let alertmanager = Alertmanager::start(folder.path(), &hooks);
        let prometheus = Prometheus::start(folder.path(), &target, alertmanager.port);
        Self { metrics, prometheus, hooks, _alertmanager: alertmanager, _runtime: runtime, _folder: folder }
    }

    fn publish(&self, state: ModelStatus) {
        self.metrics.publish(&[state], Some(clock::now()));
    }
}

fn reference(model: &str) -> Reference {
    let ages = (0..200).map(|row| Raw::Number(f64::from(row))).collect();
    let scores = (0..200).map(|row| Raw::Number(f64::from(row) / 200.0)).collect();
    let dataset =
        Dataset { features: vec![Column { name: "age".into(), cells: ages }], predictions: scores, probabilities: Vec::new() };
    fit(&dataset, &FitOptions { model: model.into(), ..FitOptions::default() }).unwrap()
}

/// A state with a verdict and the indices of its one feature: plain, and without suspects. The critical value is 0.04.
fn state(model: &str, verdict: Finding, psi: f64, psi_without_suspects: f64) -> ModelStatus {
    let drift = FeatureDrift { name: "age".into(), psi, critical: 0.04, psi_without_suspects };
    let flagged = matches!(verdict, Finding::Probing | Finding::DriftAndProbing);
    ModelStatus {
        model: model.into(),
        watermark: clock::now(),
        verdict: Some(verdict),
        flagged: if flagged { BTreeMap::from([(Family::Grid.name(), 2)]) } else { BTreeMap::new() },
        features: vec![drift.clone()],
        prediction: Some(FeatureDrift { name: "prediction".into(), ..drift }),
        clients: 40,
        client_rate_p95: 12.0,
        feature_entropy_ratio: 1.1,
        information_budget_ratio: 0.2,
        ..ModelStatus::default()
    }
}

#[test]
fn an_attack_reaches_security_and_a_drift_only_the_sre() {
    let mut line = Line::start(&[
        state("attacked", Finding::Probing, 0.3, 0.01),
        state("drifting", Finding::Drift, 0.3, 0.3),
        state("calm", Finding::Stable, 0.01, 0.01),
    ]);
    let probing = line.hooks.wait_for("security", "firing", "TriplineProbing", "attacked");
    assert_eq!(probing.authorization, "Bearer secret-of-security");
    assert!(probing.json.contains("grid 2") && probing.json.contains("runbooks/TriplineProbing.md"), "{}", probing.json);
    let drift = line.hooks.wait_for("sre", "firing", "TriplineDrift", "drifting");
    assert!(drift.json.contains("age (7.5 x critical)"), "{}", drift.json);

    // The info alert is the last one; when it fires, every rule has been evaluated.
    let explained = ("TriplineDriftExplainedBySuspects".to_owned(), "attacked".to_owned());
    let expr = "ALERTS{alertstate=\"firing\",alertname=\"TriplineDriftExplainedBySuspects\"}";
    line.prometheus.wait_for(expr, |samples| (!samples.is_empty()).then_some(()));
    let firing = line.prometheus.firing();
    let expected =
        [("TriplineDrift".to_owned(), "drifting".to_owned()), explained, ("TriplineProbing".to_owned(), "attacked".to_owned())];
    assert_eq!(firing, expected);
    assert_eq!(line.hooks.alerts("security", "attacked"), ["TriplineProbing"], "context is no notification");
    assert_eq!(line.hooks.alerts("sre", "drifting"), ["TriplineDrift"]);
    for (receiver, model) in [("security", "drifting"), ("sre", "attacked"), ("security", "calm"), ("sre", "calm")] {
        assert_eq!(line.hooks.alerts(receiver, model), [""; 0], "{receiver} heard of {model}");
    }
}

#[test]
fn drift_and_probing_at_once_shadow_neither_and_are_closed_when_over() {
    let line = Line::start(&[state("adult", Finding::Drift, 0.3, 0.3)]);
    line.hooks.wait_for("sre", "firing", "TriplineDrift", "adult");
    line.publish(state("adult", Finding::DriftAndProbing, 0.4, 0.3));
    line.hooks.wait_for("security", "firing", "TriplineProbing", "adult");
    line.hooks.wait_for("security", "firing", "TriplineDriftAndProbing", "adult");
    line.hooks.wait_for("sre", "firing", "TriplineDriftAndProbing", "adult");
    let resolved = |line: &Line| line.hooks.received().iter().any(|n| n.alert == "TriplineDrift" && n.status == "resolved");
    assert!(!resolved(&line), "the drift went on");
    line.publish(state("adult", Finding::Stable, 0.01, 0.01));
    line.hooks.wait_for("security", "resolved", "TriplineProbing", "adult");
    line.hooks.wait_for("sre", "resolved", "TriplineDrift", "adult");
}

#[test]
fn every_expression_of_the_dashboard_returns_data() {
    let mut line = Line::start(&[state("adult", Finding::Probing, 0.3, 0.01)]);
    let metrics = line.metrics.clone();
    metrics.know_receiver("topic");
    metrics.know_unit("adult");
    let (mut evicted, mut repairs) = (0, Repairs::default());
    repairs.add(Repair::AddressList);
    let mut feed = move || {
        let now = clock::now();
        let query = Query {
            model: "adult".into(),
            prediction: Prediction::Score(0.4),
            latency_ms: Some(9.0),
            time: now,
            ..Query::default()
        };
        metrics.accepted(&query, Some(2.0));
        metrics.late("adult");
        metrics.rejected("syntax");
        metrics.repaired(repairs);
        metrics.verdict(&verdict(now), Some(now.plus_seconds(2)));
        metrics.lag("predictions", 0, 12);
        metrics.checkpoint(now);
        metrics.alert("topic", DeliveryOutcome::Delivered);
        metrics.outbox_depth(1);
        metrics.snapshot_complete("adult", now, 4_096, Duration::from_millis(20));
        metrics.snapshot_pause(Duration::from_millis(1));
        metrics.restored(Duration::from_millis(30));
        metrics.judged_again();
        metrics.missing("predictions", 1);
        metrics.open_transaction("predictions", 0, 1);
        metrics.skipped("predictions", 1);
        metrics.tombstone("predictions");
        evicted += 1;
        metrics.publish(&[ModelStatus { evicted_clients: evicted, ..state("adult", Finding::Probing, 0.3, 0.01) }], Some(now));
    };
    for asked in dashboard::expressions("adult", "15s") {
        line.prometheus.query(&asked).unwrap_or_else(|fault| panic!("{asked}: {fault}"));
        line.prometheus.wait_for(&asked, |samples| {
            feed();
            samples.iter().any(|(_, value)| value.is_finite()).then_some(())
        });
    }
}

fn verdict(at: EventTime) -> Verdict {
    Verdict {
        source_ip: Some("203.0.113.7".into()),
        family: Some(Family::Grid),
        technique: Family::Grid.techniques(),
        owasp: Some(Family::Grid.owasp()),
        confidence: Some(0.99),
        queries_seen: 9,
        ..Verdict::new(at, Scope::Client, "adult", Finding::Probing)
    }
}
