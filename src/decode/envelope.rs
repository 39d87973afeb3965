//! Records within an envelope: a container's log line, a shipper's event, a hit of a search.
//!
//! The record is an object, or a text that holds one. Its own fields count; what it does not have, such as the time at which the line was
//! written, is taken from the envelope.

use serde_json::{Map, Value};

use super::lenient::parser::object_of;
use super::{RejectReason, Rejection, tree};
use crate::event::Repairs;

/// The record at `pointer`, with the envelope's other fields beside its own, as far as `is_wanted` says so of the record and a name.
///
/// # Errors
/// If there is no object at the pointer, and no text that holds one.
pub(super) fn open(root: &Value, pointer: &str, is_wanted: impl Fn(&Value, &str) -> bool) -> Result<(Value, Repairs), Rejection> {
    let (record, repairs) = match root.pointer(pointer) {
        None | Some(Value::Null) => {
            let message = format_args!("there is no record at '{pointer}' (decode.mapping.record)");
            return Err(Rejection::new(RejectReason::MissingField, message));
        }
        Some(Value::Object(map)) => (map.clone(), Repairs::default()),
        Some(Value::String(text)) => match tree::read(text.trim()) {
            Ok(Value::Object(map)) => (map, Repairs::default()),
            _ => object_of(text).ok_or_else(|| {
                Rejection::new(
                    RejectReason::NotJson,
                    format_args!("the text at '{pointer}' is no JSON object (decode.mapping.record)"),
                )
            })?,
        },
        Some(_) => {
            let message = format_args!("the record at '{pointer}' is neither an object nor a text (decode.mapping.record)");
            return Err(Rejection::new(RejectReason::NotAnObject, message));
        }
    };
    let place = pointer.split('/').nth(1).unwrap_or_default();
    let own = Value::Object(record);
    let is_kept = |name: &str| name != place && own.get(name).is_none() && is_wanted(&own, name);
    let outer = root.as_object().into_iter().flatten().filter(|(name, _)| is_kept(name));
    let outer: Map<String, Value> = outer.map(|(name, value)| (name.clone(), value.clone())).collect();
    let Value::Object(mut record) = own else { return Ok((own, repairs)) };
    record.extend(outer);
    Ok((Value::Object(record), repairs))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_records_own_fields_count_and_the_envelope_has_the_rest() {
        for inner in [json!({"a":1,"time":2}), json!(" {\"a\":1,\"time\":2}\n")] {
            let (record, repairs) = open(&json!({"log":inner,"time":9,"stream":"stdout"}), "/log", |_, _| true).unwrap();
            assert_eq!(record, json!({"a":1,"time":2,"stream":"stdout"}));
            assert_eq!(repairs.iter().count(), 0);
        }
        let (record, _) =
            open(&json!({"log":{"ts":1},"time":9,"ip":"x"}), "/log", |own, name| own.get("ts").is_none() || name != "time")
                .unwrap();
        assert_eq!(record, json!({"ts":1,"ip":"x"}), "of another name for what the record has, nothing");
        let (repaired, repairs) = open(&json!({"log":"{\"a\":NaN,\"a\":2}"}), "/log", |_, _| true).unwrap();
        assert_eq!(
            (repaired["a"].clone(), repairs.iter().count() > 0),
            (json!(2), true),
            "as a record that is none within another"
        );
    }

    #[test]
    fn what_holds_no_record_is_refused() {
        for (root, reason) in [
            (json!({"x":1}), RejectReason::MissingField),
            (json!({"log":null}), RejectReason::MissingField),
            (json!({"log":"Server started"}), RejectReason::NotJson),
            (json!({"log":"{\"a\":"}), RejectReason::NotJson),
            (json!({"log":[1]}), RejectReason::NotAnObject),
        ] {
            assert_eq!(open(&root, "/log", |_, _| true).unwrap_err().reason, reason, "{root}");
        }
    }
}
