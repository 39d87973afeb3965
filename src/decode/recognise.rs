//! Recognises the layout of a log from its first records: what holds the rows, the answers, the time, the caller.
//!
//! Rows are found by the names of the model's features, so nothing is guessed about a log that has none of them. The other fields
//! are found by the names that logs commonly give them, and only where the value is of the right kind. The result is a format and a
//! mapping, which read every record alike, and a sentence for the person who started the command.

mod places;
mod record;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::mapping::Mapping;
use super::model::ModelLayout;
use super::{Format, PositiveClass, envelope, kserve, tree};
use crate::reference::Reference;
use places::{ADDRESSES, ANSWERS, RowsAt, TIMES, collect, is_address, is_time, rows};
pub use record::Recognised;
use record::{Record, model_words};

/// Records looked at. Chosen: the first may be broken or of another kind; twenty are not.
pub const RECORDS: usize = 20;

/// Recognises the layout of `records` of one of the models; `None` if it is the canonical one, or unknown.
pub fn recognise<'a>(
    records: impl Iterator<Item = &'a [u8]>,
    references: &[Arc<Reference>],
    positive: Option<&PositiveClass>,
    rename: &BTreeMap<String, String>,
) -> Option<Recognised> {
    let layouts = |rename: &BTreeMap<String, String>| -> Vec<ModelLayout> {
        references.iter().map(|reference| ModelLayout::new(reference, false, rename)).collect()
    };
    let models = layouts(rename);
    let roots: Vec<Value> = records
        .take(RECORDS)
        .filter_map(|record| tree::read(std::str::from_utf8(record).ok()?).ok())
        .filter(Value::is_object)
        .collect();
    if roots.iter().any(is_canonical) {
        return None;
    }
    let found =
        roots.iter().find_map(|root| in_envelope(root, &models, positive).or_else(|| of_record(root, &[], &models, positive)));
    found.or_else(|| {
        // Databases write names in capitals.
        let root = roots.first()?;
        let mut places = Vec::new();
        collect(root, "", "", 0, &mut places);
        let names = places.iter().filter_map(|place| place.value.as_object()).flat_map(|map| map.keys().map(String::as_str));
        let other_case = in_another_case(names, references)?;
        let models = layouts(&other_case);
        let found = roots.iter().find_map(|root| of_record(root, &[], &models, positive))?;
        let sentence = format!("{}; {}", found.sentence, case_words(&other_case));
        Some(Recognised { sentence, rename: other_case, ..found })
    })
}

/// Names of features in another case than the reference's, if half of a model's features are named so; `None` otherwise.
pub fn in_another_case<'a>(
    names: impl Iterator<Item = &'a str> + Clone,
    references: &[Arc<Reference>],
) -> Option<BTreeMap<String, String>> {
    references.iter().find_map(|reference| {
        let mut found = BTreeMap::new();
        for feature in &reference.features {
            let same = names.clone().any(|name| name == feature.name);
            let other = names.clone().find(|name| name.eq_ignore_ascii_case(&feature.name)).filter(|_| !same);
            found.extend(other.map(|other| (other.to_owned(), feature.name.clone())));
        }
        (found.len() * 2 >= reference.features.len() && !found.is_empty()).then_some(found)
    })
}

/// That names are in another case, with an example.
pub fn case_words(other_case: &BTreeMap<String, String>) -> String {
    let example = other_case.iter().next().map(|(other, own)| format!(" ({other} for {own})")).unwrap_or_default();
    format!("names of features are in another case{example}")
}

/// Recognises a record within an envelope; `None` if the record itself is the event.
fn in_envelope(root: &Value, models: &[ModelLayout], positive: Option<&PositiveClass>) -> Option<Recognised> {
    let mut places = Vec::new();
    collect(root, "", "", 0, &mut places);
    places.iter().filter(|place| place.depth > 0).find_map(|place| {
        let read;
        let inner = match place.value {
            Value::String(text) if text.trim_start().starts_with('{') => {
                read = tree::read(text.trim()).ok()?;
                &read
            }
            object @ Value::Object(_) => object,
            _ => return None,
        };
        if !is_event(inner, models, place.value.is_string()) {
            return None;
        }
        let (merged, _) = envelope::open(root, &place.pointer, |_, _| true).ok()?;
        let own: Vec<&str> = inner.as_object()?.keys().map(String::as_str).collect();
        let of_envelope: Vec<&str> = merged.as_object()?.keys().map(String::as_str).filter(|name| !own.contains(name)).collect();
        let found = if is_canonical(inner) {
            let sentence = "Tripline's own layout".to_owned();
            Recognised { format: Format::Canonical, mapping: Mapping::default(), rename: BTreeMap::new(), sentence }
        } else {
            of_record(&merged, &of_envelope, models, positive)?
        };
        let mapping = Mapping { record: Some(place.pointer.clone()), ..found.mapping };
        Some(Recognised { sentence: format!("a record within {}: {}", place.pointer, found.sentence), mapping, ..found })
    })
}

/// Whether an object is an event of its own: it has rows, and beside them what only an event has.
fn is_event(inner: &Value, models: &[ModelLayout], in_text: bool) -> bool {
    if is_canonical(inner) {
        return true;
    }
    let mut places = Vec::new();
    collect(inner, "", "", 0, &mut places);
    models.iter().any(|model| {
        let Some((features, _, flat)) = rows(inner, &places, model) else { return false };
        let rows = RowsAt { features: &features, flat, model };
        let has = |names: &[&str], fits: &dyn Fn(&Value) -> bool| {
            places.iter().any(|place| rows.is_beside(place) && names.contains(&place.name.as_str()) && fits(place.value))
        };
        let (time, answer) = (has(&TIMES, &is_time), has(&ANSWERS, &|value| !value.is_null()));
        // Pointers reach into an object, unless the features stand beside the other fields.
        if in_text { time || answer } else { flat && time && (answer || has(&ADDRESSES, &is_address)) }
    })
}

/// Whether a record is of the canonical layout, so that no further one need be looked at.
pub fn is_canonical_record(record: &[u8]) -> bool {
    std::str::from_utf8(record).ok().and_then(|text| tree::read(text).ok()).is_some_and(|root| is_canonical(&root))
}

fn is_canonical(root: &Value) -> bool {
    let has = |name: &str| root.get(name).is_some();
    has("model")
        && has("timestamp")
        && (root.get("features").is_some_and(|features| features.is_object() || features.is_array()) || has("instances"))
}

/// Recognises a record. The names of `of_envelope` are not its own, and count behind those that are.
fn of_record(root: &Value, of_envelope: &[&str], models: &[ModelLayout], positive: Option<&PositiveClass>) -> Option<Recognised> {
    if kserve::is_half(root) {
        let sentence = "KServe's inference log; requests and responses are joined by their id".to_owned();
        return Some(Recognised { format: Format::Kserve, mapping: Mapping::default(), rename: BTreeMap::new(), sentence });
    }
    if root.pointer("/captureData/endpointInput").is_some() {
        let sentence = format!("SageMaker data capture; {}", model_words(models, false));
        return Some(Recognised { format: Format::Sagemaker, mapping: Mapping::default(), rename: BTreeMap::new(), sentence });
    }
    let mut places = Vec::new();
    collect(root, "", "", 0, &mut places);
    // The model that has most of the names.
    models
        .iter()
        .filter_map(|model| rows(root, &places, model).map(|(place, known, flat)| (model, place, known, flat)))
        .max_by_key(|(_, _, known, _)| *known)
        .map(|(model, place, _, flat)| {
            let rows = RowsAt { features: &place, flat, model };
            Record { root, places: &places, of_envelope, rows }.describe(models, positive)
        })
}
