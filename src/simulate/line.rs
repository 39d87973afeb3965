//! A simulated event as a line of the canonical log (DESIGN.md §2) and the profile's rows as a training file.

use std::fmt::Write as _;

use super::victim::{Answer, Victim as _};
use super::{Event, World};
use crate::event::Cell;
use crate::reference::{Kind, Reference};

/// Appends an event to `line`, without a line end; address and account only if the log names its callers. Nulls are written, so that
/// every event has every feature.
pub fn write_event(line: &mut String, event: &Event, reference: &Reference) {
    // Writing to a String cannot fail.
    let _ = write!(
        line,
        r#"{{"timestamp":"{}","request_id":"{:016x}","model":{},"model_version":"1""#,
        event.at,
        event.request,
        text(&reference.model)
    );
    if event.names_caller {
        let _ = write!(line, r#","source_ip":"{}""#, event.address);
    }
    if let Some(account) = event.account.as_ref().filter(|_| event.names_caller) {
        let _ = write!(line, r#","client_id":{}"#, text(account));
    }
    line.push_str(r#","features":{"#);
    for (j, (feature, cell)) in reference.features.iter().zip(&event.row).enumerate() {
        let _ = write!(line, "{}{}:", if j == 0 { "" } else { "," }, text(&feature.name));
        push_cell(line, *cell, feature.kind, &feature.values);
    }
    line.push_str(r#"},"prediction":"#);
    match &event.answer {
        Answer::Score(score) => {
            let _ = write!(line, "{score}");
        }
        Answer::Label(label) => line.push_str(&text(reference.prediction.classes.get(*label).map_or("", String::as_str))),
        Answer::Probabilities(p) => {
            line.push('{');
            for (k, (class, p)) in reference.prediction.classes.iter().zip(p).enumerate() {
                let _ = write!(line, "{}{}:{p}", if k == 0 { "" } else { "," }, text(class));
            }
            line.push('}');
        }
    }
    let _ = write!(line, r#","latency_ms":{:.1}}}"#, event.latency_ms);
}

fn push_cell(line: &mut String, cell: Cell, kind: Kind, values: &[String]) {
    let value = cell.value();
    if cell.is_missing() || cell.is_unreadable() {
        line.push_str("null");
    } else if kind == Kind::Categorical {
        line.push_str(&text(values.get(value.max(0.0) as usize).map_or("", String::as_str)));
    } else if kind == Kind::Boolean && (value.to_bits() == 0.0_f64.to_bits() || value.to_bits() == 1.0_f64.to_bits()) {
        line.push_str(if value > 0.5 { "true" } else { "false" });
    } else {
        let _ = write!(line, "{value}");
    }
}

/// A JSON string.
pub fn text(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Rows of the profile's sample as a training file (CSV with header), with the victim's answers: the input of `tripline fit` if the
/// victim were the model in production.
pub fn baseline(World { reference, baseline, victim, .. }: &World) -> String {
    let mut out = String::new();
    for feature in &reference.features {
        out.push_str(&quoted(&feature.name));
        out.push(',');
    }
    out.push_str("prediction\n");
    for row in baseline {
        for (feature, cell) in reference.features.iter().zip(row) {
            if !cell.is_missing() {
                let mut field = String::new();
                push_cell(&mut field, *cell, feature.kind, &[]);
                match feature.kind {
                    Kind::Categorical => {
                        out.push_str(&quoted(feature.values.get(cell.value().max(0.0) as usize).map_or("", String::as_str)))
                    }
                    _ => out.push_str(&field),
                }
            }
            out.push(',');
        }
        match victim.answer(row) {
            Answer::Score(score) => {
                let _ = write!(out, "{score}");
            }
            answer => out.push_str(&quoted(reference.prediction.classes.get(answer.class(0.5)).map_or("", String::as_str))),
        }
        out.push('\n');
    }
    out
}

fn quoted(field: &str) -> String {
    if field.contains([',', '"', '\n', '\r']) { format!("\"{}\"", field.replace('"', "\"\"")) } else { field.to_string() }
}
