//! What decoding promises: every kind of bad input has a clear outcome, and the details of layout in which logs differ do not change
//! what is read.

mod bad_records;
mod envelopes;
mod formats;
mod fuzz;
mod slow;

use proptest::prelude::*;

use super::*;
use crate::event::{Address, Cell, Prediction, Provenance, Query, Repair};
use crate::reference::{Column, Dataset, FitOptions, Raw, fit};

/// A model of three features (number, category, flag) whose answers have the given form.
fn model(name: &str, answers: &[Raw]) -> Arc<Reference> {
    named_model(name, ["age", "work", "loud"], answers)
}

fn named_model(name: &str, names: [&str; 3], answers: &[Raw]) -> Arc<Reference> {
    let rows = 400;
    let column = |name: &str, cell: &dyn Fn(usize) -> Raw| Column { name: name.into(), cells: (0..rows).map(cell).collect() };
    #[expect(clippy::cast_precision_loss, reason = "small test numbers")]
    let dataset = Dataset {
        features: vec![
            column(names[0], &|i| Raw::Number(17.0 + (i % 70) as f64)),
            column(names[1], &|i| Raw::Text(["Private", "State", "None"][i % 3].into())),
            column(names[2], &|i| Raw::Boolean(i % 2 == 0)),
        ],
        predictions: (0..rows).map(|i| answers[i % answers.len()].clone()).collect(),
        probabilities: Vec::new(),
    };
    let options = FitOptions { model: name.into(), ..FitOptions::default() };
    Arc::new(fit(&dataset, &options).unwrap())
}

fn score_model() -> Arc<Reference> {
    model("m", &[Raw::Number(0.11), Raw::Number(0.52), Raw::Number(0.93)])
}

fn label_model() -> Arc<Reference> {
    model("l", &[Raw::Text("no".into()), Raw::Text("yes".into())])
}

fn decoder() -> Decoder {
    Decoder::new(&[score_model(), label_model()], DecodeConfig::default()).unwrap()
}

fn decode_with(decoder: &mut Decoder, bytes: &[u8]) -> Result<Vec<Query>, Rejection> {
    let mut batch = Batch::default();
    let provenance = Provenance { partition: 3, offset: 41, ..Provenance::default() };
    let count = decoder.decode(&Record { payload: bytes, provenance, ..Record::default() }, &mut batch)?;
    assert_eq!(count, batch.len());
    Ok(batch.queries().to_vec())
}

fn decode(text: &str) -> Result<Vec<Query>, Rejection> {
    decode_with(&mut decoder(), text.as_bytes())
}

/// An event with `fields` behind the ones that every event has.
fn event(fields: &str) -> String {
    format!(r#"{{"timestamp":"2026-03-02T09:15:00Z","model":"m",{fields}}}"#)
}

const FEATURES: &str = r#""features":{"age":39,"work":"State","loud":true}"#;

fn one(text: &str) -> Query {
    let mut queries = decode(text).unwrap_or_else(|rejection| panic!("{rejection} in {text}"));
    assert_eq!(queries.len(), 1, "{text}");
    queries.remove(0)
}

#[track_caller]
fn refused(text: &str, reason: RejectReason, says: &str) {
    let rejection = decode(text).expect_err(text);
    assert_eq!(rejection.reason, reason, "{rejection}");
    assert!(rejection.message.contains(says), "'{}' does not say '{says}'", rejection.message);
}

fn cells(query: &Query) -> Vec<u64> {
    query.row.iter().map(|cell| cell.bits()).collect()
}

/// What was repaired in a query.
fn repairs(query: &Query) -> Vec<Repair> {
    query.repairs.iter().collect()
}

/// A faulty event is read all the same, and this was repaired.
#[track_caller]
fn repaired(text: &str, expected: &[Repair]) -> Query {
    let query = one(text);
    assert_eq!(repairs(&query), expected, "{text}");
    query
}

#[test]
fn texts_that_the_schema_does_not_know_are_kept_as_examples_unless_that_is_turned_off() {
    let kept = |config: &DecodeConfig, text: &str| -> Vec<(usize, String)> {
        let mut decoder = Decoder::new(&[score_model(), label_model()], config.clone()).unwrap();
        let query = &decode_with(&mut decoder, text.as_bytes()).unwrap()[0];
        query.unknown_texts.iter().map(|(column, text)| (column, text.to_owned())).collect()
    };
    let usual = DecodeConfig::default();
    let of = |fields: &str| kept(&usual, &event(fields));
    assert_eq!(of(r#""features":{"age":39,"work":"Private","loud":true},"prediction":0.5"#), []);
    let object = r#""features":{"work":" Private","age":"39 years","loud":true},"prediction":0.5"#;
    let expected = [(1, " Private".to_owned()), (0, "39 years".to_owned())];
    assert_eq!(of(object), expected);
    assert_eq!(of(r#""features":["39 years"," Private",true],"prediction":0.5"#), [(0, "39 years".into()), (1, " Private".into())]);
    assert_eq!(of(r#""features":{"age":39,"work":7,"loud":"loud"},"prediction":0.5"#), [(1, "7".into()), (2, "loud".into())]);
    // A fault elsewhere leads to the second reading.
    assert_eq!(of(r#""latency_ms":"soon","features":{"work":" Private","age":"39 years"},"prediction":0.5"#), expected);
    let repeated = format!(r#""features":{{{}"age":39}},"prediction":0.5"#, r#""work":"x","#.repeat(500));
    assert!(of(&repeated).len() <= 3, "at most one text for each feature of the model");
    let off = DecodeConfig { example_values: false, ..DecodeConfig::default() };
    assert_eq!(kept(&off, &event(object)), []);
}

#[test]
fn every_field_of_the_canonical_layout_arrives() {
    let query = one(
        r#"{"timestamp":"2026-03-02T09:15:00.123Z","request_id":"r-1","model":"m","model_version":"1","source_ip":"203.0.113.7",
        "client_id":"acct-42","features":{"age":39,"work":"State","loud":false},"prediction":0.83,"latency_ms":12.1,"label":"yes"}"#,
    );
    assert_eq!(query.time.to_string(), "2026-03-02T09:15:00.123Z");
    assert_eq!((query.request_id.as_str(), query.model.as_str(), query.model_version.as_str()), ("r-1", "m", "1"));
    assert_eq!((query.address.to_string().as_str(), query.account.as_str()), ("203.0.113.7", "acct-42"));
    let state = score_model().features[1].values.iter().position(|value| value == "State").unwrap();
    assert_eq!(query.row, [Cell::number(39.0), Cell::category(state), Cell::number(0.0)]);
    assert_eq!(query.prediction, Prediction::Score(0.83));
    assert_eq!((query.latency_ms, query.label.as_str()), (Some(12.1), "yes"));
    assert_eq!(query.provenance, Provenance { partition: 3, offset: 41, ..Provenance::default() });
    assert_eq!((query.extra_features, repairs(&query)), (0, vec![]));
}

#[test]
fn optional_fields_may_be_absent_or_null() {
    for fields in
        [FEATURES.to_owned(), format!(r#"{FEATURES},"client_id":null,"source_ip":null,"latency_ms":null,"prediction":null"#)]
    {
        let query = one(&event(&fields));
        assert_eq!((query.address, query.account.as_str(), query.latency_ms), (Address::Unknown, "", None));
        assert_eq!(query.prediction, Prediction::Missing);
    }
}

#[test]
fn the_order_of_fields_and_features_does_not_matter() {
    let expected = one(&event(&format!(r#"{FEATURES},"prediction":0.83"#)));
    let mut decoder = decoder();
    for text in [
        r#"{"prediction":0.83,"features":{"loud":true,"work":"State","age":39},"model":"m","timestamp":"2026-03-02T09:15:00Z"}"#,
        r#"{"features":{"work":"State","age":39,"loud":true},"timestamp":"2026-03-02T09:15:00Z","model":"m","prediction":0.83}"#,
        r#"{"model":"m","features":[39,"State",true],"prediction":[0.83],"timestamp":1772442900}"#,
        r#"{"model":"m","features":{"\u0061ge":39,"work":"St\u0061te","loud":true},"prediction":"0.83","timestamp":1772442900000}"#,
    ] {
        // Twice, since the second time the order is expected.
        for _ in 0..2 {
            let query = decode_with(&mut decoder, text.as_bytes()).unwrap().remove(0);
            assert_eq!(cells(&query), cells(&expected), "{text}");
            assert_eq!((query.time, query.prediction), (expected.time, expected.prediction), "{text}");
        }
    }
}

#[test]
fn models_may_alternate_in_one_log() {
    let mut decoder = decoder();
    for (name, answer) in [("m", "0.5"), ("l", r#""yes""#), ("m", "0.6"), ("l", r#""no""#)] {
        let text = format!(r#"{{"timestamp":1772442900,"model":"{name}",{FEATURES},"prediction":{answer}}}"#);
        let query = decode_with(&mut decoder, text.as_bytes()).unwrap().remove(0);
        assert_eq!(query.model, name);
        assert_eq!(matches!(query.prediction, Prediction::Label(_)), name == "l");
    }
}

#[test]
fn what_the_model_never_saw_is_evidence_and_not_a_fault() {
    let query = one(&event(r#""features":{"age":"forty","work":"Martian","weight":80,"colour":{"r":1}}"#));
    assert!(query.row[0].is_unreadable());
    assert_eq!(query.row[1], Cell::unseen("Martian"));
    assert!(query.row[2].is_missing());
    assert_eq!(query.extra_features, 2);
}

#[test]
fn nested_features_are_flattened_where_the_reference_has_such_names() {
    let reference = named_model("m", ["age", "job.class", "job.boss.loud"], &[Raw::Number(0.1), Raw::Number(0.9)]);
    let mut decoder = Decoder::new(&[reference], DecodeConfig::default()).unwrap();
    let nested = event(r#""features":{"age":39,"job":{"class":"State","boss":{"loud":true,"name":"x"},"since":[1,2]}}"#);
    let flat = event(r#""features":{"age":39,"job.class":"State","job.boss.loud":true,"a":1,"b":2}"#);
    let [nested, flat] = [nested, flat].map(|text| decode_with(&mut decoder, text.as_bytes()).unwrap().remove(0));
    assert_eq!(cells(&nested), cells(&flat));
    assert_eq!((nested.extra_features, flat.extra_features), (2, 2));
    let twice = event(r#""features":{"job.class":"Private","job":{"class":"State"},"age":39,"job.boss.loud":true}"#);
    let twice = decode_with(&mut decoder, twice.as_bytes()).unwrap().remove(0);
    assert_eq!((cells(&twice), repairs(&twice)), (cells(&flat), vec![Repair::NameRepeated]));
}

#[test]
fn a_nested_value_makes_its_feature_unreadable_and_no_other() {
    for nested in [r#"{"years":39}"#, "[39]", "[]"] {
        let query =
            repaired(&event(&format!(r#""features":{{"age":{nested},"work":"State","loud":true}}"#)), &[Repair::FeatureNested]);
        assert!(query.row[0].is_unreadable());
        assert_eq!(cells(&query)[1..], cells(&one(&event(FEATURES)))[1..]);
    }
    let query = repaired(&event(r#""features":[39,["State"],true]"#), &[Repair::FeatureNested]);
    assert!(query.row[1].is_unreadable());
    refused(&event(r#""features":39"#), RejectReason::BadFeatures, "where an object or an array belongs");
    refused(&event(r#""features":null"#), RejectReason::BadFeatures, "features is null");
}

#[test]
fn arrays_must_have_as_many_values_as_the_model_has_features() {
    refused(&event(r#""features":[39,"State"]"#), RejectReason::BadFeatures, "2 values, where the model 'm' has 3 features");
    refused(&event(r#""features":[39,"State",true,1]"#), RejectReason::BadFeatures, "4 values");
    refused(&event(r#""features":[]"#), RejectReason::BadFeatures, "0 values");
}

#[test]
fn of_a_name_that_stands_twice_the_last_value_counts() {
    let twice = &[Repair::NameRepeated];
    assert_eq!(repaired(&event(r#""features":{"age":39,"age":40}"#), twice).row[0], Cell::number(40.0));
    repaired(&event(&format!(r#"{FEATURES},"model":"m""#)), twice);
    repaired(&event(&format!(r#"{FEATURES},"\u006dodel":"m""#)), twice);
    assert_eq!(repaired(&event(&format!(r#"{FEATURES},"client_id":"a","client_id":"b""#)), twice).account, "b");
    assert_eq!(repaired(&event(&format!(r#""features":{{"age":1}},{FEATURES}"#)), twice).row[0], Cell::number(39.0));
    // The last model is the one that was asked, also if there is no reference for the first.
    assert_eq!(repaired(&format!(r#"{{"model":"x",{}"#, &event(FEATURES)[1..]), twice).model, "m");
    assert_eq!(repaired(&event(&format!(r#"{FEATURES},"\u006dodel":"x""#)), twice).model, "m", "the last one that can be used");
    refused(&event(FEATURES).replace(r#""model":"m""#, r#""model":"x","model":"y""#), RejectReason::UnknownModel, "'x'");
    let label = r#""model":"l","features":{},"prediction":{"yes":0.4,"no":0.4,"yes":0.6}"#;
    assert!(matches!(
        repaired(&format!(r#"{{"timestamp":1772442900,{label}}}"#), twice).prediction,
        Prediction::Probabilities { probability: 0.6, .. }
    ));
    // Names without a meaning may stand as often as they like.
    repaired(&event(r#""features":{"x":1,"x":2},"y":1,"y":2"#), &[]);
}

#[test]
fn numbers_that_are_none_cost_their_own_value() {
    let age = |value: &str, expected: &[Repair]| {
        repaired(&event(&format!(r#""features":{{"age":{value},"loud":true}}"#)), expected).row[0]
    };
    assert!(age("NaN", &[Repair::NumberNan]).is_missing());
    assert!(age("-Infinity", &[Repair::NumberInfinite]).is_unreadable());
    assert!(age("1e400", &[Repair::NumberOutOfRange]).is_unreadable());
    assert!(age("1e-400", &[]).value().abs() < f64::MIN_POSITIVE);
    let answer =
        |value: &str, expected: &[Repair]| repaired(&event(&format!(r#"{FEATURES},"prediction":{value}"#)), expected).prediction;
    assert_eq!(answer("NaN", &[Repair::NumberNan]), Prediction::Missing);
    assert_eq!(answer("Infinity", &[Repair::PredictionUnreadable, Repair::NumberInfinite]), Prediction::Missing);
    refused(r#"{"features":{"age":1},"model":"m","timestamp":1e400}"#, RejectReason::BadTimestamp, "'1e400'");
}

#[test]
fn garbage_is_told_apart() {
    assert_eq!(decode_with(&mut decoder(), b"\xff\xfe{}").unwrap_err().reason, RejectReason::NotUtf8);
    assert_eq!(decode_with(&mut decoder(), &[0_u8; 100]).unwrap_err().reason, RejectReason::NotJson);
    refused("", RejectReason::Truncated, "ends in the middle");
    refused("<xml/>", RejectReason::NotJson, "");
    refused("[1,2]", RejectReason::NotAnObject, "a JSON object");
    refused("\"text\"", RejectReason::NotAnObject, "a JSON object");
    repaired(&format!("{} x", event(FEATURES)), &[Repair::RecordSurrounded]);
    refused(&format!("{}{}", event(FEATURES), event(FEATURES)), RejectReason::NotJson, "trailing");
}

#[test]
fn json_cut_anywhere_is_truncated_unless_all_that_is_needed_stands_before_the_cut() {
    let text = event(&format!(r#"{FEATURES},"prediction":0.83,"source_ip":"203.0.113.7""#));
    let needed = text.find(FEATURES).unwrap() + FEATURES.len();
    let whole = cells(&one(&text));
    for end in 0..text.len() {
        if end < needed {
            refused(&text[..end], RejectReason::Truncated, "ends in the middle");
        } else {
            let query = repaired(&text[..end], &[Repair::RecordCut]);
            assert_eq!(cells(&query), whole, "{end}");
            assert!(matches!(query.prediction, Prediction::Missing | Prediction::Score(0.83)), "half a number is none");
        }
    }
}

#[test]
fn ten_thousand_levels_end_as_too_deep_or_are_skipped() {
    let deep = format!("{}1{}", "{\"a\":".repeat(10_000), "}".repeat(10_000));
    // A field without a meaning is skipped unread.
    assert_eq!(one(&event(&format!(r#"{FEATURES},"trace":{deep}"#))).extra_features, 0);
    assert_eq!(one(&event(&format!(r#""features":{{"age":1,"x":{deep}}}"#))).extra_features, 1);
    assert!(one(&event(&format!(r#""features":{{"age":{deep}}}"#))).row[0].is_unreadable());
    let reference = named_model("m", ["age", "a.a", "loud"], &[Raw::Number(0.1), Raw::Number(0.9)]);
    let mut dotted = Decoder::new(&[reference], DecodeConfig::default()).unwrap();
    let queries = decode_with(&mut dotted, event(&format!(r#""features":{deep}"#)).as_bytes()).unwrap();
    assert_eq!((queries[0].row[1].is_unreadable(), repairs(&queries[0])), (true, vec![Repair::FeatureNested]));
    let queries = decode_with(&mut dotted, event(&format!(r#""features":{{"b":{deep}}}"#)).as_bytes()).unwrap();
    assert_eq!(repairs(&queries[0]), [Repair::ValueTooDeep]);
    let mapped = DecodeConfig { mapping: Some(Mapping::default()), ..DecodeConfig::default() };
    let mut mapped = Decoder::new(&[score_model()], mapped).unwrap();
    assert_eq!(decode_with(&mut mapped, deep.as_bytes()).unwrap_err().reason, RejectReason::MissingField);
    let brackets = "[".repeat(10_000);
    assert_eq!(decode_with(&mut mapped, brackets.as_bytes()).unwrap_err().reason, RejectReason::TooDeep);
}

#[test]
fn of_ten_megabytes_the_beginning_is_read_and_the_limit_itself_is_no_fault() {
    let note = format!(r#""note":"{}""#, "x".repeat(10_000_000));
    repaired(&event(&format!("{FEATURES},{note}")), &[Repair::RecordCut, Repair::RecordLong]);
    refused(&event(&format!("{note},{FEATURES}")), RejectReason::TooLarge, "max_message_bytes");
    let exact = event(FEATURES);
    let config = |max_message_bytes| DecodeConfig { max_message_bytes, ..DecodeConfig::default() };
    let mut fits = Decoder::new(&[score_model()], config(exact.len())).unwrap();
    assert_eq!(repairs(&decode_with(&mut fits, exact.as_bytes()).unwrap()[0]), []);
    let mut tight = Decoder::new(&[score_model()], config(exact.len() - 2)).unwrap();
    assert_eq!(decode_with(&mut tight, exact.as_bytes()).unwrap_err().reason, RejectReason::TooLarge);
}

#[test]
fn an_object_of_endless_names_is_read() {
    let names: Vec<String> = (0..20_000).map(|i| format!(r#""x{i}":1"#)).collect();
    let names = names.join(",");
    assert_eq!(one(&event(&format!(r#""features":{{{names},"age":39}}"#))).extra_features, 20_000);
    assert_eq!(one(&event(&format!("{names},{FEATURES}"))).extra_features, 0);
}

#[test]
fn what_every_event_needs_is_asked_for() {
    refused(r#"{"model":"m","features":{}}"#, RejectReason::MissingField, "'timestamp'");
    refused(r#"{"timestamp":1772442900,"features":{}}"#, RejectReason::MissingField, "'model'");
    refused(r#"{"timestamp":1772442900,"model":"m"}"#, RejectReason::MissingField, "'features'");
    refused("{}", RejectReason::MissingField, "");
}

#[test]
fn times_outside_the_possible_are_refused() {
    let at = |time: &str| format!(r#"{{"timestamp":{time},"model":"m",{FEATURES}}}"#);
    refused(&at(r#""0001-01-01T00:00:00Z""#), RejectReason::TimestampOutOfRange, "2000 to 2099");
    refused(&at(r#""9999-12-31T23:59:59Z""#), RejectReason::TimestampOutOfRange, "2000 to 2099");
    refused(&at("0"), RejectReason::TimestampOutOfRange, "");
    refused(&at("-1"), RejectReason::TimestampOutOfRange, "");
    refused(&at(r#""yesterday""#), RejectReason::BadTimestamp, "'yesterday'");
    refused(&at("true"), RejectReason::BadTimestamp, "true");
    refused(&at(r#"{"seconds":1}"#), RejectReason::BadTimestamp, "an object");
    refused(&at("null"), RejectReason::MissingField, "timestamp");
    for unit in ["1772442900", "1772442900.0", "1772442900000", "1772442900000000", r#""2026-03-02T10:15:00+01:00""#] {
        assert_eq!(one(&at(unit)).time.to_string(), "2026-03-02T09:15:00.000Z", "{unit}");
    }
}

#[test]
fn addresses_have_one_spelling_or_are_unknown() {
    let from = |address: &str, expected: &[Repair]| {
        repaired(&event(&format!(r#"{FEATURES},"source_ip":{address}"#)), expected).address.to_string()
    };
    for (spelling, meaning) in [
        (r#""203.0.113.7""#, "203.0.113.7"),
        (r#""::ffff:203.0.113.7""#, "203.0.113.7"),
        (r#""2001:DB8::1""#, "2001:db8::1"),
        (r#""unknown""#, "unknown"),
        (r#""_hidden""#, "unknown"),
        (r#""""#, "unknown"),
        (r#""for=\"[2001:db8::1]:47011\";proto=http""#, "2001:db8::1"),
        (r#"["203.0.113.7"]"#, "203.0.113.7"),
    ] {
        assert_eq!(from(spelling, &[]), meaning);
    }
    assert_eq!(from(r#""10.0.0.256""#, &[Repair::AddressUnreadable]), "unknown");
    assert_eq!(from("17", &[Repair::AddressType]), "unknown");
    assert_eq!(from("{}", &[Repair::AddressType]), "unknown");
    assert_eq!(from("[]", &[Repair::AddressUnreadable]), "unknown");
    assert_eq!(from(r#""198.51.100.7, 203.0.113.7""#, &[Repair::AddressList]), "203.0.113.7");
    // Every form in which a list could be taken for one address.
    for spoofed in
        ["[::1]:80, 203.0.113.7:5678", "198.51.100.7:80,::ffff:203.0.113.7", "fe80::1%eth0, 203.0.113.7", ", 203.0.113.7,"]
    {
        let expected: &[Repair] = if spoofed.starts_with(',') { &[] } else { &[Repair::AddressList] };
        assert_eq!(from(&format!("\"{spoofed}\""), expected), "203.0.113.7", "{spoofed}");
    }
}

#[test]
fn the_address_before_the_trusted_proxies_is_the_callers() {
    let config = |trusted_proxies| DecodeConfig { trusted_proxies, ..DecodeConfig::default() };
    for (list, trusted, address, expected) in [
        (r#""198.51.100.7, 203.0.113.7, 10.0.0.1, 10.0.0.2""#, 2, "203.0.113.7", &[][..]),
        (r#"["198.51.100.7","203.0.113.7","10.0.0.1"]"#, 1, "203.0.113.7", &[]),
        (r#"["198.51.100.7, 203.0.113.7:41","[::1]:80"]"#, 1, "203.0.113.7", &[]),
        (r#""203.0.113.7""#, 2, "203.0.113.7", &[Repair::AddressListShort]),
        (r#""unknown, 10.0.0.1""#, 1, "unknown", &[]),
        (r#""_hidden, 10.0.0.1""#, 1, "unknown", &[]),
        (r#""198.51.100.7, nonsense, 10.0.0.1""#, 1, "unknown", &[Repair::AddressUnreadable]),
        (r#"["203.0.113.7",{},"10.0.0.1"]"#, 2, "203.0.113.7", &[]),
    ] {
        let mut decoder = Decoder::new(&[score_model()], config(trusted)).unwrap();
        let text = event(&format!(r#"{FEATURES},"source_ip":{list},"client_id":"a""#));
        let query = decode_with(&mut decoder, text.as_bytes()).unwrap().remove(0);
        assert_eq!((query.address.to_string().as_str(), repairs(&query).as_slice()), (address, expected), "{list}");
        assert_eq!(query.account, "a", "the account still names the caller");
    }
    assert_eq!(config(MAX_TRUSTED_PROXIES).proxies_fault(), None);
    assert!(config(MAX_TRUSTED_PROXIES + 1).proxies_fault().is_some());
}

#[test]
fn ids_are_exact_and_bounded() {
    let query = one(&event(&format!(r#"{FEATURES},"client_id":12345678901234567890,"request_id":true"#)));
    assert_eq!((query.account.as_str(), query.request_id.as_str()), ("12345678901234567890", "true"));
    let long = |end: &str| {
        let text = event(&format!(r#"{FEATURES},"client_id":"{}{end}""#, "ß".repeat(300)));
        repaired(&text, &[Repair::AccountLong]).account
    };
    let (a, b) = (long("a"), long("b"));
    assert!(a != b && a.starts_with("ßßß") && a.len() <= MAX_TEXT_BYTES && a == long("a"), "two long ids stay two: {a} {b}");
    assert_eq!(repaired(&event(&format!(r#"{FEATURES},"request_id":{{}}"#)), &[Repair::RequestIdType]).request_id, "");
    assert_eq!(repaired(&event(&format!(r#"{FEATURES},"latency_ms":"fast""#)), &[Repair::LatencyType]).latency_ms, None);
    assert_eq!(repaired(&event(&format!(r#"{FEATURES},"latency_ms":-0.5"#)), &[Repair::LatencyNegative]).latency_ms, None);
}

#[test]
fn a_model_without_reference_is_named() {
    let text = event(FEATURES).replace(r#""m""#, r#""other\nmodel""#);
    refused(&text, RejectReason::UnknownModel, r"'other\nmodel'");
}

#[test]
fn answers_come_as_scores_labels_or_probabilities() {
    let label =
        |answer: &str| one(&format!(r#"{{"timestamp":1772442900,"model":"l",{FEATURES},"prediction":{answer}}}"#)).prediction;
    let class = |name: &str| Cell::category(label_model().prediction.classes.iter().position(|class| class == name).unwrap());
    assert_eq!(label(r#""yes""#), Prediction::Label(class("yes")));
    assert_eq!(label(r#"["yes"]"#), Prediction::Label(class("yes")));
    assert_eq!(label(r#""maybe""#), Prediction::Label(Cell::unseen("maybe")));
    for answer in [r#"{"no":0.25,"yes":0.75}"#, r#"{"yes":0.75,"no":0.25}"#, r#"[{"yes":0.75,"no":0.25}]"#] {
        assert_eq!(label(answer), Prediction::Probabilities { top: class("yes"), probability: 0.75, margin: 0.5 }, "{answer}");
    }
    let by_position = if class("yes") == Cell::category(1) { "[0.25,0.75]" } else { "[0.75,0.25]" };
    assert_eq!(label(by_position), Prediction::Probabilities { top: class("yes"), probability: 0.75, margin: 0.5 });
    assert_eq!(label(&format!("[{by_position}]")), Prediction::Probabilities { top: class("yes"), probability: 0.75, margin: 0.5 });
}

#[test]
fn an_answer_of_the_wrong_form_is_missing() {
    let score = |answer: &str| event(&format!(r#"{FEATURES},"prediction":{answer}"#));
    let label = |answer: &str| score(answer).replace(r#""m""#, r#""l""#);
    for text in
        [score(r#""high""#), score("[]"), label(r#"{"no":7,"yes":0.8}"#), label(r#"{"no":{},"yes":0.8}"#), label("[0.1,0.2,0.7]")]
    {
        let query = repaired(&text, &[Repair::PredictionUnreadable]);
        assert_eq!((query.prediction, query.row[0]), (Prediction::Missing, Cell::number(39.0)), "{text}");
    }
}

#[test]
fn of_two_classes_without_names_of_their_own_the_second_is_the_score() {
    let score = |answer: &str| one(&event(&format!(r#"{FEATURES},"prediction":{answer}"#))).prediction;
    for answer in [r#"{"no":0.1,"yes":0.9}"#, r#"{"0":0.1,"1":0.9}"#, "[0.1,0.9]", "[[0.1,0.9]]", "[[[0.9]]]", r#"{"score":0.9}"#] {
        assert_eq!(score(answer), Prediction::Score(0.9), "{answer}");
    }
    let unnamed = repaired(&event(&format!(r#"{FEATURES},"prediction":{{"good":0.1,"bad":0.9}}"#)), &[Repair::PredictionClass]);
    assert_eq!(unnamed.prediction, Prediction::Missing);
    repaired(&event(&format!(r#"{FEATURES},"prediction":[0.3,0.9]"#)), &[Repair::PredictionClass]);
}

#[test]
fn a_batch_is_many_queries_of_one_caller_at_one_time() {
    for text in [
        r#"{"timestamp":1772442900,"model":"m","source_ip":"203.0.113.7","instances":[{"age":1},{"age":2},{"loud":false,"age":3}],"predictions":[0.1,0.2,0.3],"client_id":"a"}"#,
        r#"{"predictions":[0.1,0.2,0.3],"features":[[1,null,null],[2,null,null],[3,null,false]],"client_id":"a","timestamp":1772442900,"model":"m","source_ip":"203.0.113.7"}"#,
        r#"{"timestamp":1772442900,"model":"m","source_ip":"203.0.113.7","features":[{"age":1},{"age":2},{"loud":false,"age":3}],"prediction":[0.1,[0.2],0.3],"client_id":"a"}"#,
    ] {
        let queries = decode(text).unwrap();
        assert_eq!(queries.len(), 3, "{text}");
        for (row, query) in (0_u32..).zip(&queries) {
            assert_eq!(query.provenance, Provenance { partition: 3, offset: 41, row, ..Provenance::default() });
            assert_eq!(query.row[0], Cell::number(f64::from(row + 1)));
            assert_eq!(query.row[2].is_missing(), row < 2);
            assert_eq!(query.prediction, Prediction::Score(f64::from(row + 1) / 10.0));
            assert_eq!(
                (query.account.as_str(), query.address.to_string().as_str(), query.model.as_str()),
                ("a", "203.0.113.7", "m")
            );
            assert_eq!(query.time, queries[0].time);
        }
    }
    assert_eq!(decode(&event(r#""instances":[[1,"None",true]],"predictions":[0.1]"#)).unwrap().len(), 1);
}

#[test]
fn a_batch_whose_rows_do_not_add_up_is_refused_whole() {
    for answers in [r#""predictions":[0.1]"#, r#""prediction":0.1"#, r#""predictions":[0.1,"x"]"#] {
        let queries = decode(&event(&format!(r#""instances":[[1,"a",true],[2,"b",true]],{answers}"#))).unwrap();
        assert_eq!(queries.len(), 2, "the rows are sound");
        assert!(queries.iter().all(|query| query.prediction == Prediction::Missing), "{answers}");
        assert!(queries.iter().all(|query| repairs(query) == [Repair::PredictionUnreadable]), "{answers}");
    }
    refused(&event(r#""instances":[[1,"a",true],[2,"b"]]"#), RejectReason::BadFeatures, "2 values");
    refused(&event(r#""instances":[[1,"a",true],3]"#), RejectReason::BadFeatures, "among rows");
    refused(&event(r#""instances":[3,[1,"a",true]]"#), RejectReason::BadFeatures, "2 values");
    let rows = vec!["{}"; MAX_ROWS + 1].join(",");
    refused(&event(&format!(r#""instances":[{rows}]"#)), RejectReason::TooLarge, "rows in one message");
    // Nothing of a refused batch stays behind.
    let mut decoder = decoder();
    let mut batch = Batch::default();
    let mut feed = |text: &str, batch: &mut Batch| decoder.decode(&Record { payload: text.as_bytes(), ..Record::default() }, batch);
    assert_eq!(feed(&event(FEATURES), &mut batch), Ok(1));
    assert!(feed(&event(r#""instances":[{},{},3]"#), &mut batch).is_err());
    assert_eq!(batch.len(), 1);
    assert_eq!(feed(&event(r#""instances":[{},{}]"#), &mut batch), Ok(2));
    assert!(batch.queries()[1..].iter().all(|query| query.row.iter().all(|cell| cell.is_missing())));
}

fn mapped(mapping: Mapping) -> Decoder {
    Decoder::new(&[score_model()], DecodeConfig { mapping: Some(mapping), ..DecodeConfig::default() }).unwrap()
}

#[test]
fn any_layout_can_be_mapped() {
    let mapping = Mapping {
        timestamp: "/meta/when".into(),
        model_name: Some("m".into()),
        source_ip: "/http/headers/x~1real-ip".into(),
        client_id: "/auth/0/sub".into(),
        features: "/request/input".into(),
        prediction: "/response/score".into(),
        ..Mapping::default()
    };
    let text = r#"{"meta":{"when":1772442900000},"http":{"headers":{"x/real-ip":"203.0.113.7"}},"auth":[{"sub":12}],
        "request":{"input":{"age":39,"work":"State","loud":true}},"response":{"score":0.83}}"#;
    let query = decode_with(&mut mapped(mapping), text.as_bytes()).unwrap().remove(0);
    let plain = one(&event(FEATURES));
    assert_eq!((cells(&query), query.time), (cells(&plain), plain.time));
    assert_eq!((query.model.as_str(), query.account.as_str(), query.prediction), ("m", "12", Prediction::Score(0.83)));
    assert_eq!(query.address.to_string(), "203.0.113.7");
}

#[test]
fn flat_events_are_mapped_by_the_empty_pointer() {
    let mapping = Mapping { features: String::new(), ..Mapping::default() };
    let text = r#"{"timestamp":1772442900,"model":"m","prediction":0.1,"age":39,"work":"State","loud":true}"#;
    let query = decode_with(&mut mapped(mapping), text.as_bytes()).unwrap().remove(0);
    assert_eq!(cells(&query), cells(&one(&event(FEATURES))));
    assert_eq!(query.extra_features, 3);
}

#[test]
fn mapped_rows_are_numbered() {
    let mapping = Mapping { rows: Some("/rows".into()), features: "/x".into(), prediction: "/y".into(), ..Mapping::default() };
    let mut decoder = mapped(mapping);
    let text =
        r#"{"timestamp":1772442900,"model":"m","rows":[{"x":{"age":1},"y":0.1},{"x":[2,null,null],"y":0.2,"label":"late"}]}"#;
    let queries = decode_with(&mut decoder, text.as_bytes()).unwrap();
    assert_eq!(queries.iter().map(|query| query.provenance.row).collect::<Vec<_>>(), [0, 1]);
    assert_eq!(queries.iter().map(|query| query.prediction).collect::<Vec<_>>(), [Prediction::Score(0.1), Prediction::Score(0.2)]);
    assert_eq!(queries[1].label, "late");
    for (text, reason) in [
        (r#"{"timestamp":1772442900,"model":"m","rows":[]}"#, RejectReason::MissingField),
        (r#"{"timestamp":1772442900,"model":"m","rows":[{"x":[[1,2,3],[1,2,3]]}]}"#, RejectReason::BadFeatures),
        (r#"{"timestamp":1772442900,"model":"m","rows":[{"y":1}]}"#, RejectReason::MissingField),
        (r#"{"timestamp":1772442900,"model":"m","rows":[{"x":{}},{"x":{}"#, RejectReason::Truncated),
    ] {
        assert_eq!(decode_with(&mut decoder, text.as_bytes()).unwrap_err().reason, reason, "{text}");
    }
}

#[test]
fn a_mapping_that_cannot_work_is_refused_with_its_setting() {
    let faults = |mapping: Mapping| mapping.faults().iter().map(ToString::to_string).collect::<Vec<_>>();
    let wrong = Mapping { source_ip: "ip".into(), label: "/a~b".into(), model_name: Some(String::new()), ..Mapping::default() };
    let said = faults(wrong);
    assert_eq!(said.len(), 3, "{said:?}");
    assert!(said[0].starts_with("decode.mapping.source_ip: 'ip' is no JSON pointer"), "{said:?}");
    assert_eq!(faults(Mapping::default()), [""; 0]);
}

#[test]
fn reasons_have_distinct_words() {
    let words: std::collections::BTreeSet<_> = RejectReason::ALL.iter().map(|reason| reason.label()).collect();
    assert_eq!(words.len(), RejectReason::ALL.len());
}

/// JSON-like text: the pieces of an event in any order, so that the parser gets far before something is wrong.
fn pieces() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"",
        "\\u",
        "1e999",
        "-",
        "null",
        "true",
        "\"features\"",
        "\"timestamp\"",
        "\"model\"",
        "\"m\"",
        "\"l\"",
        "\"prediction\"",
        "\"instances\"",
        "\"age\"",
        "\"work\"",
        "1772442900",
        "0.5",
        "\"2026-03-02T09:15:00Z\"",
        " ",
        "{\"timestamp\":1772442900,\"model\":\"m\",",
        "\"features\":{\"age\":1}",
        "\"features\":[",
        "\"source_ip\":",
    ]);
    prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

proptest! {
    /// No bytes bring the decoder down, and what it takes it takes whole.
    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode_with(&mut decoder(), &bytes);
        let _ = decode_with(&mut mapped(Mapping::default()), &bytes);
    }

    /// The same for text that is nearly an event.
    #[test]
    fn no_near_miss_panics(text in pieces()) {
        let _ = decode_with(&mut decoder(), text.as_bytes());
        let _ = decode_with(&mut mapped(Mapping::default()), text.as_bytes());
    }

    /// The streaming reader and the mapped one read the same things.
    #[test]
    fn both_readers_agree(
        age in prop_oneof![Just("null".to_owned()), any::<f64>().prop_filter("finite", |x| x.is_finite()).prop_map(|x| format!("{x:?}")), any::<i64>().prop_map(|x| x.to_string())],
        work in "[a-zA-Zäß\\\\\"/ ]{0,8}",
        score in 0.0..1.0_f64,
        late in any::<bool>(),
    ) {
        let work = serde_json::to_string(&work).unwrap();
        let mut parts = [
            r#""timestamp":1772442900.25"#.to_owned(),
            r#""model":"m""#.to_owned(),
            format!(r#""features":{{"age":{age},"work":{work},"other":[{work}]}}"#),
            format!(r#""prediction":{score}"#),
        ];
        if late {
            parts.reverse();
        }
        let text = format!("{{{}}}", parts.join(","));
        let streamed = decode_with(&mut decoder(), text.as_bytes()).unwrap().remove(0);
        let mapped = decode_with(&mut mapped(Mapping::default()), text.as_bytes()).unwrap().remove(0);
        prop_assert_eq!(cells(&streamed), cells(&mapped));
        prop_assert_eq!((streamed.time, streamed.prediction, streamed.extra_features), (mapped.time, mapped.prediction, mapped.extra_features));
    }
}
