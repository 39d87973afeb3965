//! Debian's Prometheus with the committed configuration and rules, but scraping and evaluating every second.

use std::path::Path;

use serde_json::Value;

use super::daemon::{Daemon, committed, free_port, replaced};

/// A running Prometheus.
#[derive(Debug)]
pub struct Prometheus {
    daemon: Daemon,
    port: u16,
}

/// One result of an instant query: labels and value.
pub type Sample = (serde_json::Map<String, Value>, f64);

// === impl Prometheus ===

impl Prometheus {
    /// Starts it with a target to scrape and an Alertmanager to tell.
    pub fn start(folder: &Path, target: &str, alertmanager_port: u16) -> Self {
        let port = free_port();
        let config = committed("grafana/prometheus/prometheus.yml");
        let config = replaced(&config, "127.0.0.1:9464", target);
        let config = replaced(&config, "127.0.0.1:9093", &format!("127.0.0.1:{alertmanager_port}"));
        let config = replaced(&config, "_interval: 15s", "_interval: 1s");
        std::fs::write(folder.join("prometheus.yml"), config).unwrap();
        std::fs::write(folder.join("tripline.rules.yml"), hurried(&committed("grafana/prometheus/tripline.rules.yml"))).unwrap();
        let args = [
            format!("--config.file={}", folder.join("prometheus.yml").display()),
            format!("--storage.tsdb.path={}", folder.join("tsdb").display()),
            format!("--web.listen-address=127.0.0.1:{port}"),
            // An alert that is still firing is sent again after this; a minute by default.
            "--rules.alert.resend-delay=1s".to_owned(),
        ];
        let mut daemon = Daemon::start("prometheus", folder, &args);
        daemon.wait_for("ready", || ureq::get(format!("http://127.0.0.1:{port}/-/ready")).call().ok());
        Self { daemon, port }
    }

    /// The result of an instant query, or the error of Prometheus.
    pub fn query(&self, expr: &str) -> Result<Vec<Sample>, String> {
        ask(self.port, expr)
    }

    /// Waits until a query returns something that `condition` accepts.
    pub fn wait_for<T>(&mut self, expr: &str, mut condition: impl FnMut(&[Sample]) -> Option<T>) -> T {
        let port = self.port;
        self.daemon.wait_for(&format!("an answer to {expr}"), || condition(&ask(port, expr).ok()?))
    }

    /// The alerts that fire, as (name, model), in order.
    pub fn firing(&self) -> Vec<(String, String)> {
        let samples = self.query("ALERTS{alertstate=\"firing\"}").unwrap();
        let text = |labels: &serde_json::Map<String, Value>, name: &str| {
            labels.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        let mut firing: Vec<_> = samples.iter().map(|(labels, _)| (text(labels, "alertname"), text(labels, "model"))).collect();
        firing.sort();
        firing
    }
}

fn ask(port: u16, expr: &str) -> Result<Vec<Sample>, String> {
    let url = format!("http://127.0.0.1:{port}/api/v1/query");
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let mut response = agent.get(url).query("query", expr).call().map_err(|error| error.to_string())?;
    let answer: Value = response.body_mut().read_json().map_err(|error| error.to_string())?;
    if answer["status"] != "success" {
        return Err(answer["error"].as_str().unwrap_or("no reason").to_owned());
    }
    let results = answer["data"]["result"].as_array().cloned().unwrap_or_default();
    Ok(results
        .iter()
        .map(|result| {
            let value = result["value"][1].as_str().and_then(|value| value.parse().ok()).unwrap_or(f64::NAN);
            (result["metric"].as_object().cloned().unwrap_or_default(), value)
        })
        .collect())
}

/// The committed rules with every waiting time cut to a second. Conditions and windows stay as they are.
fn hurried(rules: &str) -> String {
    let hurried: Vec<String> = rules
        .lines()
        .map(|line| match line.split_once("for: ") {
            Some((before, _)) if before.trim().is_empty() || before.trim() == "keep_firing_" => format!("{before}for: 1s"),
            _ => line.to_owned(),
        })
        .collect();
    hurried.join("\n") + "\n"
}
