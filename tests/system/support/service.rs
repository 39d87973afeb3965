//! `tripline run` as a child process: a configuration in, metrics from its endpoint, and the counts that it prints at its end.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde::Deserialize;
use tripline::clock;

use super::daemon::{TIMEOUT, free_port};

/// A running service.
#[derive(Debug)]
pub struct Service {
    child: Child,
    log: PathBuf,
    port: u16,
}

/// The counts that a service prints at its end.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
pub struct Counts {
    /// Queries counted in windows.
    pub accepted: u64,
    /// Queries behind the watermark.
    pub late: u64,
    /// What could not be used.
    pub rejected: u64,
    /// Verdicts.
    pub verdicts: u64,
}

// === impl Counts ===

impl Counts {
    /// Everything that went through.
    pub fn sum(self) -> u64 {
        self.accepted + self.late + self.rejected
    }
}

// === impl Service ===

impl Service {
    /// Starts the service with a configuration to which the endpoint's address is added. `name` keeps several apart.
    pub fn start(folder: &Path, name: &str, config: &str) -> Self {
        let port = free_port();
        let file = folder.join(format!("{name}.toml"));
        std::fs::write(&file, format!("{config}\n[server]\nmetrics = \"127.0.0.1:{port}\"\n")).unwrap();
        let log = folder.join(format!("{name}.log"));
        let child = Command::new(env!("CARGO_BIN_EXE_tripline"))
            .args(["run", "--config", file.to_str().unwrap()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        Self { child, log, port }
    }

    /// `host:port` of its endpoint.
    pub fn target(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// What it wrote so far.
    pub fn words(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// A page of its endpoint; none if it does not answer.
    pub fn get(&self, path: &str) -> Option<(u16, String)> {
        let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
        let mut response = agent.get(format!("http://{}{path}", self.target())).call().ok()?;
        let mut body = String::new();
        response.body_mut().as_reader().read_to_string(&mut body).ok()?;
        Some((response.status().as_u16(), body))
    }

    /// Sum over all series of a metric whose labels hold `label`; none while there is no such series.
    pub fn metric(&self, name: &str, label: &str) -> Option<f64> {
        let (_, text) = self.get("/metrics")?;
        let series = text.lines().filter(|line| !line.starts_with('#') && line.contains(label)).filter_map(|line| {
            let (series, value) = line.rsplit_once(' ')?;
            (series.split('{').next() == Some(name)).then(|| value.parse::<f64>().ok())?
        });
        series.reduce(|sum, value| sum + value)
    }

    /// Accepted, late and rejected so far, as its endpoint says.
    pub fn seen(&self) -> f64 {
        ["tripline_queries_total", "tripline_late_total", "tripline_rejected_total"]
            .iter()
            .filter_map(|name| self.metric(name, ""))
            .sum()
    }

    /// Waits for a condition; fails with the service's log if it ends before, or at the timeout.
    pub fn wait_for<T>(&mut self, what: &str, mut condition: impl FnMut(&Self) -> Option<T>) -> T {
        let begun = clock::instant();
        loop {
            if let Some(value) = condition(self) {
                return value;
            }
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("the service ended ({status}) before {what}:\n{}", self.words());
            }
            assert!(begun.elapsed() < TIMEOUT, "waited in vain for {what}:\n{}", self.words());
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    }

    /// Waits until the endpoint says that it is ready.
    pub fn ready(mut self) -> Self {
        self.wait_for("readiness", |service| service.get("/readyz").filter(|(status, _)| *status == 200));
        self
    }

    /// Ends it as an orchestrator does, and returns what went through it.
    pub fn stop(mut self) -> Counts {
        self.signal("-TERM");
        let status = self.ended();
        let words = self.words();
        assert_eq!(status, Some(0), "{words}");
        assert!(!words.contains("panicked"), "{words}");
        let last = words.lines().rev().find(|line| line.starts_with('{')).unwrap_or_else(|| panic!("no last words in:\n{words}"));
        serde_json::from_str(last).unwrap()
    }

    /// Sends a signal to it, and to nobody else.
    pub fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// Waits for its end; returns the exit code, none after a signal.
    pub fn ended(&mut self) -> Option<i32> {
        let begun = clock::instant();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(begun.elapsed() < TIMEOUT, "it does not end:\n{}", self.words());
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // It may have ended by itself; either way no process is left.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
