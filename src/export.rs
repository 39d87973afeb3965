//! Cases in the formats of other systems: JSON, CSV, OCSF 1.8 detection findings, ECS alerts, STIX 2.1 bundles. Pure: a case with all that
//! belongs to it in, text out; the same case gives the same bytes.

mod csv;
mod ecs;
mod ocsf;
mod stix;

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::cases::Case;
pub use crate::cases::detail::CaseFile;
use crate::cases::line::Signal;

/// A format.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// JSON lines, a case a line, with everything.
    Json,
    /// A table of cases.
    Csv,
    /// OCSF 1.8 detection findings, JSON lines.
    Ocsf,
    /// Elastic common schema alerts, JSON lines.
    Ecs,
    /// One STIX 2.1 bundle.
    Stix,
}

/// A format that could not be written; this is a fault of the program.
#[derive(Debug, thiserror::Error)]
#[error("the export cannot be written: {0}")]
pub struct ExportError(String);

// === impl Format ===

impl Format {
    /// Every format.
    pub const ALL: [Self; 5] = [Self::Json, Self::Csv, Self::Ocsf, Self::Ecs, Self::Stix];

    /// The word on the command line and in the API.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Csv => "csv",
            Self::Ocsf => "ocsf",
            Self::Ecs => "ecs",
            Self::Stix => "stix",
        }
    }

    /// Reads the word.
    pub fn read(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.name() == name)
    }

    /// The media type.
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Json | Self::Ocsf | Self::Ecs => "application/x-ndjson",
            Self::Csv => "text/csv; charset=utf-8",
            Self::Stix => "application/stix+json;version=2.1",
        }
    }

    /// Writes cases.
    ///
    /// # Errors
    /// If the program is at fault.
    pub fn write(self, files: &[CaseFile]) -> Result<String, ExportError> {
        let failed = |error: serde_json::Error| ExportError(error.to_string());
        match self {
            Self::Json => lines(files.iter().map(|file| serde_json::to_value(file).map_err(failed))),
            Self::Csv => csv::write(files),
            Self::Ocsf => lines(files.iter().map(|file| Ok(ocsf::finding(file)))),
            Self::Ecs => lines(files.iter().map(|file| Ok(ecs::alert(file)))),
            Self::Stix => serde_json::to_string(&stix::bundle(files)).map(|text| text + "\n").map_err(failed),
        }
    }
}

fn lines(values: impl Iterator<Item = Result<Value, ExportError>>) -> Result<String, ExportError> {
    let mut text = String::new();
    for value in values {
        text.push_str(&value?.to_string());
        text.push('\n');
    }
    Ok(text)
}

// === impl CaseFile ===

impl CaseFile {
    /// One line on what it is.
    fn title(&self) -> String {
        let Case { model, family, scope, members, verdict, .. } = &self.case;
        let family = if family.is_empty() { "unnamed pattern" } else { family };
        match scope.as_str() {
            "campaign" => format!("{verdict}: campaign of {members} callers on the model {model} ({family})"),
            _ => format!("{verdict}: {} on the model {model} ({family})", self.case.actor),
        }
    }

    /// MITRE ATLAS techniques that its verdicts name.
    fn techniques(&self) -> BTreeSet<&str> {
        self.verdicts.iter().flat_map(|line| line["technique"].as_array().into_iter().flatten()).filter_map(Value::as_str).collect()
    }

    fn members_of(&self, kind: &str) -> Vec<&str> {
        self.members.iter().filter(|member| member.kind == kind).map(|member| member.value.as_str()).collect()
    }

    /// The reasons as name → measured and reference, without the ones that weigh nothing.
    fn reasons(&self) -> Vec<Value> {
        let weighty = self.evidence.iter().filter(|signal| signal.evidence > 0.0);
        let reason = |signal: &Signal| json!({"name": signal.name, "value": signal.value, "reference": signal.reference, "evidence": signal.evidence});
        weighty.map(reason).collect()
    }
}

/// Milliseconds of a time.
const fn millis(at: crate::judge::At) -> i64 {
    at.0.micros() / 1_000
}

#[cfg(test)]
mod tests;
