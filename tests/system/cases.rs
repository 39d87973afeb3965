//! Cases as people and programs meet them: on both databases, fed by the running service, with the database away, and in the hands of
//! somebody who forges.

mod databases;
mod feed;
mod people;

use std::path::Path;

use serde_json::{Value, json};
use tripline::audit::AuditKeys;
use tripline::cases::line::SpoolLine;
use tripline::cases::{Cases, CasesConfig, PrivacyConfig};
use tripline::store::{Database, StoreConfig};

use super::support::data::{Cut, text};
use super::support::postgres::Postgres;
use super::support::program;

/// An attack over many addresses, with an account and campaigns.
const ATTACK: Cut = Cut("22_grid_dist_ofat_jitter");

/// A database of a test; PostgreSQL lives as long as this value.
struct Place {
    folder: tempfile::TempDir,
    store: StoreConfig,
    _server: Option<Postgres>,
}

impl Place {
    fn sqlite() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), store: StoreConfig::at("sqlite://cases.db"), _server: None }
    }

    fn postgres() -> Self {
        let (folder, server) = (tempfile::tempdir().unwrap(), Postgres::start());
        Self { store: server.store(folder.path()), folder, _server: Some(server) }
    }

    async fn cases(&self, privacy: &str) -> Cases {
        let database = connect(&self.store, self.folder.path()).await;
        let privacy: PrivacyConfig = toml::from_str(privacy).unwrap();
        Cases::new(database, AuditKeys::default(), &CasesConfig::default(), &privacy, self.folder.path()).unwrap()
    }
}

/// Connects to a database that may have been started just now.
async fn connect(store: &StoreConfig, folder: &Path) -> Database {
    let mut last = None;
    for _ in 0..200 {
        match Database::connect(store, folder).await {
            Ok(database) => return database,
            Err(error) => last = Some(error),
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    panic!("{last:?}")
}

/// The verdict lines of a replay of the attack, as the spool has them.
fn attack() -> Vec<SpoolLine> {
    let folder = tempfile::tempdir().unwrap();
    let reference = ATTACK.fit(folder.path());
    let out = folder.path().join("verdicts.jsonl");
    program::run_with(&["replay", "-", "--reference", text(&reference), "--verdicts", text(&out)], &ATTACK.events()).must_succeed();
    let lines = std::fs::read_to_string(out).unwrap();
    let lines: Vec<SpoolLine> =
        lines.lines().map(|line| SpoolLine { verdict: serde_json::from_str(line).unwrap(), queries: Vec::new() }).collect();
    assert!(lines.len() > 50, "the attack is found");
    lines
}

/// A verdict line on an address.
fn verdict(id: &str, at: &str, address: &str, family: &str, incident: &str) -> SpoolLine {
    let verdict = json!({
        "id": id, "at": at, "scope": "client", "model": "adult", "source_ip": address, "verdict": "probing", "family": family,
        "confidence": 0.99, "case": incident, "queries_seen": 7,
        "signals": [{"name": "lattice_steps", "value": 3.0, "reference": 0.0, "evidence": 9.0}],
        "queries": [{"at": at, "request_id": format!("r-{id}"), "partition": 0, "offset": 1, "row": 0}],
    });
    SpoolLine { verdict, queries: vec![json!({"features": {"age": 39}, "prediction": 0.8})] }
}

/// A verdict line on a campaign.
fn campaign(id: &str, at: &str, members: &[&str], incident: &str) -> SpoolLine {
    let verdict = json!({
        "id": id, "at": at, "scope": "campaign", "model": "adult", "verdict": "probing", "family": "grid", "confidence": 0.999,
        "case": incident, "queries_seen": 31, "members": members, "signals": [],
    });
    SpoolLine { verdict, queries: Vec::new() }
}

/// A value as JSON, for comparing.
fn as_json(value: &impl serde::Serialize) -> Value {
    serde_json::to_value(value).unwrap()
}
