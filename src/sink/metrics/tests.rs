//! What the metrics promise, checked on what a scrape returns.

use super::*;
use crate::judge::{FeatureDrift, Finding, Scope};
use crate::reference::{Column, Dataset, FitOptions, Raw, fit};

fn reference(model: &str) -> Reference {
    let ages = (0..200).map(|row| Raw::Number(f64::from(row))).collect();
    let scores = (0..200).map(|row| Raw::Number(f64::from(row) / 200.0)).collect();
    let features = vec![Column { name: "age".into(), cells: ages }];
    let dataset = Dataset { features, predictions: scores, probabilities: Vec::new() };
    fit(&dataset, &FitOptions { model: model.into(), ..FitOptions::default() }).unwrap()
}

fn metrics() -> Metrics {
    let metrics = Metrics::register(&Registry::new()).unwrap();
    metrics.know_model(&reference("adult")).unwrap();
    metrics
}

fn query(model: &str) -> Query {
    let prediction = Prediction::Score(0.83);
    Query { model: model.into(), prediction, latency_ms: Some(12.0), ..Query::default() }
}

fn status() -> ModelStatus {
    let drift = FeatureDrift { name: "age".into(), psi: 0.31, critical: 0.04, psi_without_suspects: 0.02 };
    ModelStatus {
        model: "adult".into(),
        watermark: EventTime::from_micros(1_772_442_900_000_000),
        verdict: Some(Finding::Probing),
        flagged: [("grid", 2)].into(),
        features: vec![drift],
        evicted_clients: 3,
        ..ModelStatus::default()
    }
}

fn value(metrics: &Metrics, series: &str) -> Option<f64> {
    let text = metrics.render(None).unwrap();
    text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
}

#[test]
fn every_series_of_the_contract_is_in_the_first_scrape_except_what_has_no_owner_yet() {
    let metrics = metrics();
    let text = metrics.render(None).unwrap();
    for series in series::ALL {
        let kind = format!("# TYPE {} {}\n", series.name, series.kind.name());
        // These appear with the first reason, partition, receiver or unit, which the configuration names, or with the first loss.
        let later = [
            series::REJECTED,
            series::CONSUMER_LAG,
            series::OPEN_TRANSACTION,
            series::TOMBSTONES,
            series::SKIPPED_RECORDS,
            series::ALERTS_SENT,
            series::snapshots::SNAPSHOT_AGE,
            series::snapshots::SNAPSHOT_BYTES,
            series::snapshots::SNAPSHOT_DURATION,
            series::snapshots::SNAPSHOTS,
            series::snapshots::MISSING_RECORDS,
        ];
        assert_eq!(text.contains(&kind), !later.contains(series), "{}", series.name);
    }
    metrics.know_reasons(["syntax"]);
    metrics.know_receiver("topic");
    metrics.lag("predictions", 0, 7);
    metrics.open_transaction("predictions", 0, 3);
    metrics.skipped("predictions", 0);
    metrics.know_unit("adult");
    metrics.snapshot_complete("adult", EventTime::from_micros(0), 1, std::time::Duration::from_secs(1));
    metrics.missing("predictions", 1);
    let text = metrics.render(None).unwrap();
    let exported = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).count();
    assert_eq!(exported, series::ALL.len(), "nothing is exported that the contract does not name");
}

#[test]
fn names_from_traffic_never_create_series() {
    let metrics = metrics();
    let before = metrics.render(None).unwrap().lines().count();
    for i in 0..1000 {
        let name = format!("invented-{i}");
        metrics.accepted(&query(&name), None);
        metrics.late(&name);
        let mut status = status();
        status.model = name;
        metrics.publish(&[status], None);
    }
    let after = metrics.render(None).unwrap().lines().count();
    assert_eq!(after, before + 2, "one line for accepted, one for late");
    assert_eq!(value(&metrics, "tripline_queries_total{model=\"other\"}"), Some(1000.0));
}

#[test]
fn a_query_counts_once_everywhere_it_should() {
    let metrics = metrics();
    metrics.accepted(&query("adult"), Some(3.0));
    assert_eq!(value(&metrics, "tripline_queries_total{model=\"adult\"}"), Some(1.0));
    assert_eq!(value(&metrics, "tripline_query_gap_seconds_bucket{model=\"adult\",le=\"2\"}"), Some(0.0));
    assert_eq!(value(&metrics, "tripline_query_gap_seconds_bucket{model=\"adult\",le=\"5\"}"), Some(1.0));
    assert_eq!(value(&metrics, "tripline_prediction_latency_seconds_sum{model=\"adult\"}"), Some(0.012));
    assert_eq!(value(&metrics, "tripline_prediction_value_sum{model=\"adult\"}"), Some(0.83));
}

#[test]
fn a_hostile_number_does_not_spoil_a_sum() {
    let metrics = metrics();
    let mut hostile = query("adult");
    hostile.prediction = Prediction::Score(f64::INFINITY);
    hostile.latency_ms = Some(f64::NAN);
    metrics.accepted(&hostile, Some(-1.0));
    assert_eq!(value(&metrics, "tripline_prediction_value_count{model=\"adult\"}"), Some(0.0));
    assert_eq!(value(&metrics, "tripline_prediction_latency_seconds_sum{model=\"adult\"}"), Some(0.0));
    assert_eq!(value(&metrics, "tripline_query_gap_seconds_count{model=\"adult\"}"), Some(0.0));
}

#[test]
fn measurements_are_not_a_number_until_measured_and_exactly_one_verdict_holds() {
    let metrics = metrics();
    assert!(value(&metrics, "tripline_psi{feature=\"age\",model=\"adult\"}").unwrap().is_nan());
    assert_eq!(value(&metrics, "tripline_model_verdict{model=\"adult\",verdict=\"stable\"}"), Some(0.0));
    let undetermined = "tripline_model_verdict{model=\"adult\",verdict=\"undetermined\"}";
    assert_eq!(value(&metrics, undetermined), Some(1.0));
    metrics.publish(&[ModelStatus { verdict: None, ..status() }], None);
    assert_eq!(value(&metrics, undetermined), Some(1.0), "a status without a verdict");
    metrics.publish(&[status()], None);
    assert_eq!(value(&metrics, undetermined), Some(0.0));
    assert_eq!(value(&metrics, "tripline_psi{feature=\"age\",model=\"adult\"}"), Some(0.31));
    assert_eq!(value(&metrics, "tripline_psi_without_suspects{feature=\"age\",model=\"adult\"}"), Some(0.02));
    assert_eq!(value(&metrics, "tripline_model_verdict{model=\"adult\",verdict=\"probing\"}"), Some(1.0));
    assert_eq!(value(&metrics, "tripline_model_verdict{model=\"adult\",verdict=\"drift+probing\"}"), Some(0.0));
    assert_eq!(value(&metrics, "tripline_flagged_clients{family=\"grid\",model=\"adult\"}"), Some(2.0));
    let calm = ModelStatus { flagged: std::collections::BTreeMap::new(), ..status() };
    metrics.publish(&[calm], None);
    assert_eq!(value(&metrics, "tripline_flagged_clients{family=\"grid\",model=\"adult\"}"), Some(0.0));
    assert_eq!(value(&metrics, "tripline_evicted_clients_total{model=\"adult\"}"), Some(3.0), "published twice, counted once");
}

#[test]
fn a_worker_that_hangs_is_seen_to_fall_behind() {
    let metrics = metrics();
    let start = EventTime::from_micros(1_772_442_900_000_000);
    metrics.publish(&[status()], Some(start.plus_seconds(2)));
    metrics.checkpoint(start);
    assert_eq!(value(&metrics, "tripline_watermark_lag_seconds"), Some(2.0));
    let text = metrics.render(Some(start.plus_seconds(90))).unwrap();
    assert!(text.contains("tripline_watermark_lag_seconds 90\n"), "nobody published in between");
    assert!(text.contains("tripline_checkpoint_age_seconds 90\n"));
}

#[test]
fn a_verdict_counts_with_its_delay_and_without_its_address() {
    let metrics = metrics();
    let at = EventTime::from_micros(1_772_442_900_000_000);
    let verdict = Verdict {
        source_ip: Some("203.0.113.7".into()),
        client_id: Some("acct-42".into()),
        family: Some(Family::Grid),
        members: vec!["198.51.100.9".into()],
        ..Verdict::new(at, Scope::Client, "adult", Finding::Probing)
    };
    metrics.verdict(&verdict, Some(at.plus_seconds(3)));
    let series = "tripline_verdicts_total{family=\"grid\",model=\"adult\",scope=\"client\",verdict=\"probing\"}";
    assert_eq!(value(&metrics, series), Some(1.0));
    assert_eq!(value(&metrics, "tripline_end_to_end_seconds_sum"), Some(3.0));
    let text = metrics.render(None).unwrap();
    for personal in ["203.0.113.7", "acct-42", "198.51.100.9"] {
        assert!(!text.contains(personal), "{personal} is in a label");
    }
}

#[test]
fn what_was_taken_away_leaves_no_stale_series() {
    let metrics = metrics();
    metrics.lag("predictions", 3, 12);
    assert_eq!(value(&metrics, "tripline_consumer_lag_records{partition=\"3\",topic=\"predictions\"}"), Some(12.0));
    metrics.forget_partition("predictions", 3);
    metrics.accepted(&query("adult"), Some(1.0));
    metrics.forget_model("adult");
    let text = metrics.render(None).unwrap();
    assert!(!text.contains("partition=\"3\""));
    assert!(!text.contains("model=\"adult\""), "{text}");
    metrics.know_model(&reference("adult")).unwrap();
    assert_eq!(value(&metrics, "tripline_queries_total{model=\"adult\"}"), Some(0.0), "it may come back");
}

#[test]
fn buckets_of_the_answers_are_the_bins_of_the_reference() {
    let metrics = metrics();
    let edges = reference("adult").prediction.edges;
    let text = metrics.render(None).unwrap();
    assert!(edges.len() > 2);
    for edge in edges {
        assert!(text.contains(&format!("tripline_prediction_value_bucket{{model=\"adult\",le=\"{edge}\"}}")), "{edge}");
    }
}
