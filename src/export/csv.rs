//! A table of cases, a row a case. Texts that a spreadsheet would run as a formula get an apostrophe in front: accounts are chosen by strangers
//! (OWASP, "CSV injection").

use super::{CaseFile, ExportError};

const HEADER: [&str; 20] = [
    "id",
    "model",
    "scope",
    "actor",
    "verdict",
    "family",
    "confidence",
    "severity",
    "status",
    "owner",
    "feedback",
    "first_seen",
    "last_seen",
    "verdicts",
    "queries",
    "members",
    "addresses",
    "accounts",
    "techniques",
    "related",
];

pub(super) fn write(files: &[CaseFile]) -> Result<String, ExportError> {
    let failed = |error: csv::Error| ExportError(error.to_string());
    let mut table = csv::Writer::from_writer(Vec::new());
    table.write_record(HEADER).map_err(failed)?;
    for file in files {
        let case = &file.case;
        let techniques: Vec<&str> = file.techniques().into_iter().collect();
        let row = [
            case.id.clone(),
            case.model.clone(),
            case.scope.clone(),
            case.actor.clone(),
            case.verdict.clone(),
            case.family.clone(),
            case.confidence.to_string(),
            case.severity.name().to_owned(),
            case.status.name().to_owned(),
            case.owner.clone(),
            case.feedback.map_or("", crate::cases::Feedback::name).to_owned(),
            case.first_seen.0.to_string(),
            case.last_seen.0.to_string(),
            case.verdicts.to_string(),
            case.queries.to_string(),
            case.members.to_string(),
            file.members_of("address").join(" "),
            file.members_of("account").join(" "),
            techniques.join(" "),
            case.related.clone(),
        ];
        table.write_record(row.map(harmless)).map_err(failed)?;
    }
    let bytes = table.into_inner().map_err(|error| ExportError(error.to_string()))?;
    String::from_utf8(bytes).map_err(|error| ExportError(error.to_string()))
}

fn harmless(text: String) -> String {
    if text.starts_with(['=', '+', '-', '@', '\t', '\r']) { format!("'{text}") } else { text }
}
