//! A case as a detection finding of the Open Cybersecurity Schema Framework 1.8 (class 2004).

use serde_json::{Value, json};

use super::{CaseFile, millis};
use crate::cases::rules::{Severity, Status};

/// Version of the schema.
const VERSION: &str = "1.8.0";
/// Class and category: detection finding, findings.
const CLASS: i64 = 2004;
const CATEGORY: i64 = 2;
/// Members and queries that a finding lists; all of them are in the JSON export.
const LISTED: usize = 100;

pub(super) fn finding(file: &CaseFile) -> Value {
    let case = &file.case;
    let (activity, activity_name) = match case.status {
        Status::Dismissed | Status::Closed => (3, "Close"),
        _ if case.version > 1 => (2, "Update"),
        _ => (1, "Create"),
    };
    let (status, status_name) = match case.status {
        Status::Open => (1, "New"),
        Status::Acknowledged | Status::Confirmed => (2, "In Progress"),
        Status::Dismissed => (3, "Suppressed"),
        Status::Closed => (4, "Resolved"),
    };
    let (severity, severity_name) = match case.severity {
        Severity::Low => (2, "Low"),
        Severity::Medium => (3, "Medium"),
        Severity::High => (4, "High"),
        Severity::Critical => (5, "Critical"),
    };
    let attacks: Vec<Value> =
        file.techniques().into_iter().map(|uid| json!({"version": "ATLAS 5.6", "technique": {"uid": uid, "name": uid}})).collect();
    let rule = if case.family.is_empty() { "unknown" } else { &case.family };
    #[expect(clippy::cast_possible_truncation, reason = "a share of one hundred")]
    let confidence = (case.confidence.clamp(0.0, 1.0) * 100.0).round() as i64;
    json!({
        "category_uid": CATEGORY, "category_name": "Findings", "class_uid": CLASS, "class_name": "Detection Finding",
        "activity_id": activity, "activity_name": activity_name,
        "type_uid": CLASS * 100 + activity, "type_name": format!("Detection Finding: {activity_name}"),
        "time": millis(case.last_seen), "start_time": millis(case.first_seen), "end_time": millis(case.last_seen), "count": case.verdicts,
        "severity_id": severity, "severity": severity_name, "status_id": status, "status": status_name, "status_detail": case.status.name(),
        "confidence_id": if confidence >= 90 { 3 } else { 2 }, "confidence_score": confidence,
        "message": file.title(),
        "metadata": {
            "version": VERSION, "uid": format!("{}-{}", case.id, case.version),
            "product": {"name": "Tripline", "vendor_name": "Tripline", "version": env!("CARGO_PKG_VERSION")},
        },
        "finding_info": {
            "uid": case.id, "title": file.title(), "types": [case.verdict, case.scope],
            "first_seen_time": millis(case.first_seen), "last_seen_time": millis(case.last_seen), "modified_time": millis(case.changed_at),
            "analytic": {"uid": rule, "name": rule, "type_id": 2, "type": "Behavioral"},
            "attacks": attacks,
        },
        "evidences": evidences(file),
        "observables": observables(file),
        "resources": [{"uid": case.model, "name": case.model, "type": "machine learning model"}],
        "unmapped": {"model": case.model, "owner": case.owner, "queries": case.queries, "members": case.members, "related_case": case.related},
    })
}

fn evidences(file: &CaseFile) -> Vec<Value> {
    let reasons = json!({"name": "reasons", "data": {"signals": file.reasons()}});
    let queries = file.queries.iter().take(LISTED).map(|query| json!({"name": "query", "data": query}));
    std::iter::once(reasons).chain(queries).collect()
}

fn observables(file: &CaseFile) -> Vec<Value> {
    let one = |member: &crate::cases::detail::Member| match member.kind.as_str() {
        "address" => json!({"name": "source_ip", "type_id": 2, "type": "IP Address", "value": member.value}),
        "account" => json!({"name": "client_id", "type_id": 4, "type": "User Name", "value": member.value}),
        _ => json!({"name": "source_prefix", "type_id": 99, "type": "Network", "value": member.value}),
    };
    file.members.iter().take(LISTED).map(one).collect()
}
