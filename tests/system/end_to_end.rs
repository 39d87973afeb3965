//! The whole pipeline: recorded traffic → Kafka → the service → Prometheus → Alertmanager → the people concerned.
//!
//! Everything between the log and the notification is real: Apache Kafka, `tripline run` as a child process, Debian's Prometheus with
//! the committed rules and Debian's Alertmanager with the committed routes. The traffic is recorded; its attacks were run against
//! real models. Only waiting times are shortened.

use std::fmt::Write as _;

use super::support::alertmanager::{Alertmanager, Webhooks};
use super::support::daemon::wait_for;
use super::support::dashboard;
use super::support::data::Cut;
use super::support::kafka::Broker;
use super::support::prometheus::Prometheus;
use super::support::service::Service;

/// Alerts about a model's traffic. The others are about the service, and reading a day's log in a few seconds triggers some of them.
const VERDICTS: [&str; 5] =
    ["TriplineCallerFlagged", "TriplineCampaign", "TriplineDrift", "TriplineDriftAndProbing", "TriplineProbing"];
/// Partitions of the topic: more than one, so that the clients of a model are spread over partitions.
const PARTITIONS: i32 = 3;

/// A recording up to an hour of its day, by the log's own clock.
struct Part {
    cut: Cut,
    until: &'static str,
}

/// Everything that runs, from Kafka to the people.
struct Pipeline {
    prometheus: Prometheus,
    hooks: Webhooks,
    produced: u64,
    // Dropped last, in this order.
    _alertmanager: Alertmanager,
    service: Service,
    _folder: tempfile::TempDir,
}

// === impl Part ===

impl Part {
    /// The lines with their times.
    fn lines(&self) -> Vec<(String, String)> {
        let lines = self.cut.lines().into_iter().map(|line| (field(&line, "timestamp").to_owned(), line));
        lines.filter(|(time, _)| time.as_str() < self.until).collect()
    }
}

// === impl Pipeline ===

impl Pipeline {
    /// Starts everything on an empty topic, then writes the recordings to it: in the order of time, a caller always to the same
    /// partition.
    fn start(name: &str, parts: &[Part]) -> Self {
        let (broker, folder) = (Broker::shared(), tempfile::tempdir().unwrap());
        let topic = broker.topic(name, PARTITIONS);
        let mut config = format!(
            "[source.kafka]\nbrokers = \"{}\"\ntopics = [\"{topic}\"]\ngroup = \"{topic}\"\n\
             [sink.verdicts]\ntopic = \"{topic}.verdicts\"\n\
             [runtime]\ncommit_interval = \"500ms\"\nstatus_interval = \"500ms\"\nidle_after = \"2s\"\n\
             [state]\nurl = \"file://{}/state\"\ninterval = \"500ms\"\n",
            broker.address,
            folder.path().display()
        );
        for part in parts {
            write!(config, "[[models]]\nreference = \"{}\"\n", part.cut.fit(folder.path()).display()).unwrap();
        }
        let hooks = Webhooks::listen();
        let alertmanager = Alertmanager::start(folder.path(), &hooks);
        let service = Service::start(folder.path(), "service", &config).ready();
        let mut prometheus = Prometheus::start(folder.path(), &service.target(), alertmanager.port);
        // The traffic starts last: nothing that happens before the first scrape is visible, in production as well.
        prometheus.wait_for("tripline_queries_total == 0", |samples| (!samples.is_empty()).then_some(()));
        let mut lines: Vec<(String, String)> = parts.iter().flat_map(Part::lines).collect();
        lines.sort();
        let caller = |line: &str| field(line, "source_ip").bytes().map(usize::from).sum::<usize>();
        let produced = broker.produce(&topic, PARTITIONS, lines.iter().map(|(_, line)| (caller(line), line.as_bytes())));
        Self { prometheus, hooks, produced, _alertmanager: alertmanager, service, _folder: folder }
    }

    /// Waits until the service has read everything, and the rules were evaluated on its final state.
    fn settle(&mut self) {
        let produced = self.produced;
        #[expect(clippy::cast_precision_loss, reason = "counts of a test")]
        self.service.wait_for("the whole log", |service| (service.seen() >= produced as f64).then_some(()));
        let all = "sum(tripline_queries_total) + sum(tripline_late_total) + sum(tripline_rejected_total)";
        let counted = format!("{all} >= {produced}");
        self.prometheus.wait_for(&counted, |samples| (!samples.is_empty()).then_some(()));
        // A rule sees the values of earlier scrapes; after two more scrapes it has seen the end.
        let scrapes = self.scrapes();
        wait_for("two more scrapes", || (self.scrapes() >= scrapes + 2.0).then_some(()));
    }

    fn scrapes(&self) -> f64 {
        let samples = self.prometheus.query("sum(count_over_time(up{job=\"tripline\"}[15m]))").unwrap();
        samples.first().map_or(0.0, |(_, value)| *value)
    }

    /// Every alert on a model's traffic that fired at any time, as (alert, model).
    fn ever_fired(&self) -> Vec<(String, String)> {
        let expr = "count by (alertname, model) (count_over_time(ALERTS{alertstate=\"firing\"}[15m]))";
        let samples = self.prometheus.query(expr).unwrap();
        let text = |value: Option<&serde_json::Value>| value.and_then(|value| value.as_str()).unwrap_or_default().to_owned();
        let fired = samples.iter().map(|(labels, _)| (text(labels.get("alertname")), text(labels.get("model"))));
        fired.filter(|(alert, _)| VERDICTS.contains(&alert.as_str())).collect()
    }
}

/// A text field of a line, without reading all of it.
fn field<'a>(line: &'a str, name: &str) -> &'a str {
    let rest = line.split_once(&format!("\"{name}\":\"")).map_or("", |(_, rest)| rest);
    rest.split('"').next().unwrap_or_default()
}

#[test]
fn of_three_models_the_attacked_one_alarms_security_the_drifting_one_the_sre_and_the_calm_one_nobody() {
    let parts = [
        // Equation solving on a logistic regression, from 50 addresses and from one account behind a NAT.
        Part { cut: Cut("20_tramer_dist24_and_behind_nat"), until: "2026-03-02T16:30" },
        // One feature changes its unit for everybody.
        Part { cut: Cut("05_drift_unit_flights"), until: "2026-03-02T16:30" },
        // The hours before the drift begins.
        Part { cut: Cut("23_uniform_heavy"), until: "2026-03-02T08:30" },
    ];
    let mut pipeline = Pipeline::start("three-models", &parts);
    let probing = pipeline.hooks.wait_for("security", "firing", "TriplineProbing", "adult");
    assert!(probing.json.contains("runbooks/TriplineProbing.md"), "{}", probing.json);
    pipeline.hooks.wait_for("sre", "firing", "TriplineDrift", "flights");
    pipeline.settle();
    let fired = pipeline.ever_fired();
    for (alert, model) in [("TriplineProbing", "adult"), ("TriplineDrift", "flights")] {
        assert!(fired.contains(&(alert.to_owned(), model.to_owned())), "{alert} on {model} is not in {fired:?}");
    }
    for (alert, model) in &fired {
        let expected = match model.as_str() {
            "adult" => alert != "TriplineDrift" && alert != "TriplineDriftAndProbing",
            "flights" => alert == "TriplineDrift",
            _ => false,
        };
        assert!(expected, "{alert} fired on {model}: {fired:?}\n{}", pipeline.service.words());
    }
    for (receiver, model) in [("security", "flights"), ("security", "magic"), ("sre", "adult"), ("sre", "magic")] {
        let told = pipeline.hooks.alerts(receiver, model);
        assert!(!told.iter().any(|alert| VERDICTS.contains(&alert.as_str())), "{receiver} heard of {model}: {told:?}");
    }
    // The long window contains the moment at which the log was read.
    for asked in dashboard::expressions("adult", "15m") {
        let samples = pipeline.prometheus.query(&asked).unwrap_or_else(|fault| panic!("{asked}: {fault}"));
        assert!(samples.iter().any(|(_, value)| value.is_finite()), "an empty panel during an attack: {asked}: {samples:?}");
    }
    let notified = format!("{:?}", pipeline.hooks.received());
    assert!(!notified.contains("151.185.152."), "an address of the attack is in a notification");
    let counts = pipeline.service.stop();
    assert_eq!((counts.sum(), counts.rejected), (pipeline.produced, 0), "{counts:?}");
}

#[test]
fn an_attack_within_a_drift_reaches_both_and_neither_hides_the_other() {
    // A real change of season, and active learning from three addresses that begins when the drift is known already.
    let parts = [Part { cut: Cut("24_mixed_season_active"), until: "2026-03-02T15:00" }];
    let mut pipeline = Pipeline::start("mixed", &parts);
    pipeline.hooks.wait_for("security", "firing", "TriplineProbing", "flights");
    pipeline.hooks.wait_for("sre", "firing", "TriplineDrift", "flights");
    pipeline.hooks.wait_for("security", "firing", "TriplineDriftAndProbing", "flights");
    pipeline.hooks.wait_for("sre", "firing", "TriplineDriftAndProbing", "flights");
    pipeline.settle();
    let firing = pipeline.prometheus.firing();
    for alert in ["TriplineProbing", "TriplineDrift", "TriplineDriftAndProbing"] {
        assert!(firing.contains(&(alert.to_owned(), "flights".to_owned())), "{alert} does not fire at the end: {firing:?}");
    }
    let counts = pipeline.service.stop();
    assert_eq!((counts.sum(), counts.rejected), (pipeline.produced, 0), "{counts:?}");
}
