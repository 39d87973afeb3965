//! Cases as one STIX 2.1 bundle: an indicator for each caller, and a grouping for each case.
//!
//! Ids are name-based UUIDs (RFC 9562, version 5) of what they name, so that an export that is imported twice makes no duplicates.

use std::collections::BTreeSet;

use ring::digest;
use serde_json::{Value, json};

use super::CaseFile;
use crate::audit::chain::hex;
use crate::cases::detail::Member;
use crate::cases::rules::Status;

/// Namespace of the ids: any fixed value that nobody else uses.
const NAMESPACE: [u8; 16] = *b"tripline stix id";
/// When the identity of this program was made up.
const BEGIN: &str = "2026-01-01T00:00:00.000Z";

pub(super) fn bundle(files: &[CaseFile]) -> Value {
    let identity = id("identity", "tripline");
    let mut objects = vec![json!({
        "type": "identity", "spec_version": "2.1", "id": identity, "created": BEGIN, "modified": BEGIN,
        "name": "Tripline", "identity_class": "system",
    })];
    let mut known = BTreeSet::new();
    for file in files {
        let indicators: Vec<Value> = file.members.iter().filter_map(|member| indicator(file, member, &identity)).collect();
        let refs: Vec<Value> = indicators.iter().map(|indicator| indicator["id"].clone()).collect();
        if refs.is_empty() {
            continue;
        }
        objects.extend(indicators.into_iter().filter(|one| known.insert(one["id"].as_str().unwrap_or_default().to_owned())));
        let case = &file.case;
        objects.push(json!({
            "type": "grouping", "spec_version": "2.1", "id": id("grouping", &case.id), "created_by_ref": identity,
            "created": time(case.first_seen), "modified": time(case.first_seen.max(case.changed_at)),
            "name": file.title(), "context": "suspicious-activity", "object_refs": refs,
            "labels": labels(file), "confidence": confidence(file), "revoked": case.status == Status::Dismissed,
        }));
    }
    let names: Vec<&str> = files.iter().map(|file| file.case.id.as_str()).collect();
    json!({"type": "bundle", "id": id("bundle", &names.join(" ")), "objects": objects})
}

fn indicator(file: &CaseFile, member: &Member, identity: &str) -> Option<Value> {
    let six = member.value.contains(':');
    let kind = if six { "ipv6-addr" } else { "ipv4-addr" };
    let value = member.value.replace('\\', "\\\\").replace('\'', "\\'");
    let pattern = match member.kind.as_str() {
        "address" => format!("[{kind}:value = '{value}']"),
        "prefix" => format!("[{kind}:value ISSUBSET '{value}']"),
        "account" => format!("[user-account:account_login = '{value}']"),
        _ => return None,
    };
    let case = &file.case;
    let mut indicator = json!({
        "type": "indicator", "spec_version": "2.1", "id": id("indicator", &format!("{} {} {}", case.id, member.kind, member.value)),
        "created_by_ref": identity, "created": time(member.first_seen), "modified": time(member.last_seen.max(member.first_seen)),
        "name": format!("{} {} queries the model {} systematically", member.kind, member.value, case.model),
        "indicator_types": ["malicious-activity"], "pattern": pattern, "pattern_type": "stix", "valid_from": time(member.first_seen),
        "labels": labels(file), "confidence": confidence(file), "revoked": case.status == Status::Dismissed,
    });
    let references: Vec<Value> =
        file.techniques().into_iter().map(|technique| json!({"source_name": "mitre-atlas", "external_id": technique})).collect();
    if !references.is_empty() {
        indicator["external_references"] = references.into();
    }
    Some(indicator)
}

fn labels(file: &CaseFile) -> Vec<&str> {
    let case = &file.case;
    [case.family.as_str(), case.severity.name(), case.status.name()].into_iter().filter(|label| !label.is_empty()).collect()
}

fn confidence(file: &CaseFile) -> i64 {
    #[expect(clippy::cast_possible_truncation, reason = "a share of one hundred")]
    let confidence = (file.case.confidence.clamp(0.0, 1.0) * 100.0).round() as i64;
    confidence
}

fn time(at: crate::judge::At) -> String {
    at.0.to_string()
}

/// `kind--UUID` of a name.
fn id(kind: &str, name: &str) -> String {
    let mut content = NAMESPACE.to_vec();
    content.extend_from_slice(format!("{kind} {name}").as_bytes());
    // Version 5 is defined with SHA-1; nothing depends on its strength.
    let hash = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, &content);
    let mut bytes = [0; 16];
    bytes.iter_mut().zip(hash.as_ref()).for_each(|(byte, from)| *byte = *from);
    bytes[6] = (bytes[6] & 0x0f) | 0x50;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    let digits = hex(&bytes);
    let part = |from: usize, to: usize| digits.get(from..to).unwrap_or_default();
    format!("{kind}--{}-{}-{}-{}-{}", part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32))
}
