//! A case as an alert of the Elastic common schema.

use serde_json::{Value, json};

use super::CaseFile;

/// Version of the schema whose fields are used.
const VERSION: &str = "8.17.0";

pub(super) fn alert(file: &CaseFile) -> Value {
    let case = &file.case;
    let addresses = file.members_of("address");
    let mut alert = json!({
        "@timestamp": case.last_seen,
        "ecs": {"version": VERSION},
        "message": file.title(),
        "event": {
            "kind": "alert", "category": ["intrusion_detection"], "type": ["info"], "module": "tripline", "dataset": "tripline.case",
            "id": case.id, "severity": case.severity.rank(), "start": case.first_seen, "end": case.last_seen,
            "risk_score": case.confidence * 100.0, "reason": reason(file),
        },
        "observer": {"vendor": "Tripline", "product": "Tripline", "type": "ids", "version": env!("CARGO_PKG_VERSION")},
        "rule": {"id": case.family, "name": case.family, "ruleset": "tripline", "category": case.verdict},
        "threat": {"framework": "MITRE ATLAS", "technique": {"id": file.techniques()}},
        "related": {"ip": addresses, "user": file.members_of("account")},
        "labels": {
            "model": case.model, "scope": case.scope, "status": case.status.name(), "severity": case.severity.name(),
            "case": case.id, "queries": case.queries.to_string(),
        },
    });
    // A campaign has many sources; the field has one.
    if let [address] = addresses.as_slice() {
        alert["source"] = json!({"ip": address});
    }
    if !case.owner.is_empty() {
        alert["labels"]["owner"] = json!(case.owner);
    }
    alert
}

fn reason(file: &CaseFile) -> String {
    let weighty = file.evidence.iter().filter(|signal| signal.evidence > 0.0).take(5);
    let words: Vec<String> =
        weighty.map(|signal| format!("{} {} (usually {})", signal.name, signal.value, signal.reference)).collect();
    words.join("; ")
}
