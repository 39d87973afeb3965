//! What decoding promises: every kind of bad input has a clear outcome, and the details of layout in which logs differ do not change
//! what is read.

use proptest::prelude::*;

use super::*;
use crate::event::{Address, Cell, Prediction, Provenance, Query};
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
    assert_eq!(query.extra_features, 0);
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
    let twice = event(r#""features":{"job.class":"State","job":{"class":"State"}}"#);
    assert_eq!(decode_with(&mut decoder, twice.as_bytes()).unwrap_err().reason, RejectReason::DuplicateKey);
}

#[test]
fn a_nested_value_in_the_place_of_a_feature_is_refused() {
    refused(&event(r#""features":{"age":{"years":39}}"#), RejectReason::BadFeatures, "the feature 'age' is an object");
    refused(&event(r#""features":{"age":[39]}"#), RejectReason::BadFeatures, "the feature 'age' is an array");
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
fn the_same_key_twice_is_refused_wherever_it_stands() {
    refused(&event(r#""features":{"age":39,"age":40}"#), RejectReason::DuplicateKey, "'age' stands twice");
    refused(&event(r#""features":{"x":1,"x":2}"#), RejectReason::DuplicateKey, "'x'");
    refused(&event(&format!(r#"{FEATURES},"model":"m""#)), RejectReason::DuplicateKey, "'model'");
    refused(&event(&format!(r#"{FEATURES},"x":1,"x":1"#)), RejectReason::DuplicateKey, "'x'");
    refused(&event(&format!(r#"{FEATURES},"instances":[]"#)), RejectReason::DuplicateKey, "'instances'");
    refused(&event(&format!(r#"{FEATURES},"\u006dodel":"l""#)), RejectReason::DuplicateKey, "'model'");
    let label = r#""model":"l","features":{},"prediction":{"yes":0.4,"yes":0.6}"#;
    refused(&format!(r#"{{"timestamp":1772442900,{label}}}"#), RejectReason::DuplicateKey, "'yes'");
}

#[test]
fn numbers_that_are_none_are_refused_with_a_remedy() {
    refused(&event(r#""features":{"age":NaN}"#), RejectReason::NotJson, "log null instead");
    refused(&event(r#""features":{"age":-Infinity}"#), RejectReason::NotJson, "");
    refused(&event(r#""features":{"age":1e400}"#), RejectReason::NumberOutOfRange, "no 64-bit float");
    refused(r#"{"features":{"age":1e400},"model":"m","timestamp":1772442900}"#, RejectReason::NumberOutOfRange, "no 64-bit float");
    assert!(one(&event(r#""features":{"age":1e-400}"#)).row[0].value().abs() < f64::MIN_POSITIVE);
}

#[test]
fn garbage_is_told_apart() {
    assert_eq!(decode_with(&mut decoder(), b"\xff\xfe{}").unwrap_err().reason, RejectReason::NotUtf8);
    assert_eq!(decode_with(&mut decoder(), &[0_u8; 100]).unwrap_err().reason, RejectReason::NotJson);
    refused("", RejectReason::Truncated, "ends in the middle");
    refused("<xml/>", RejectReason::NotJson, "");
    refused("[1,2]", RejectReason::NotAnObject, "a JSON object");
    refused("\"text\"", RejectReason::NotAnObject, "a JSON object");
    refused(&format!("{} x", event(FEATURES)), RejectReason::NotJson, "trailing");
    refused(&format!("{}{}", event(FEATURES), event(FEATURES)), RejectReason::NotJson, "trailing");
}

#[test]
fn json_cut_anywhere_is_truncated_and_nothing_else() {
    let text = event(&format!(r#"{FEATURES},"prediction":0.83,"source_ip":"203.0.113.7""#));
    for end in 0..text.len() {
        refused(&text[..end], RejectReason::Truncated, "ends in the middle");
    }
}

#[test]
fn ten_thousand_levels_end_as_too_deep_or_are_skipped() {
    let deep = format!("{}1{}", "{\"a\":".repeat(10_000), "}".repeat(10_000));
    // A field without a meaning is skipped unread.
    assert_eq!(one(&event(&format!(r#"{FEATURES},"trace":{deep}"#))).extra_features, 0);
    assert_eq!(one(&event(&format!(r#""features":{{"age":1,"x":{deep}}}"#))).extra_features, 1);
    refused(&event(&format!(r#""features":{{"age":{deep}}}"#)), RejectReason::BadFeatures, "'age' is an object");
    let reference = named_model("m", ["age", "a.a", "loud"], &[Raw::Number(0.1), Raw::Number(0.9)]);
    let mut dotted = Decoder::new(&[reference], DecodeConfig::default()).unwrap();
    let rejection = decode_with(&mut dotted, event(&format!(r#""features":{deep}"#)).as_bytes()).unwrap_err();
    assert_eq!(rejection.reason, RejectReason::BadFeatures);
    let rejection = decode_with(&mut dotted, event(&format!(r#""features":{{"b":{deep}}}"#)).as_bytes()).unwrap_err();
    assert_eq!(rejection.reason, RejectReason::TooDeep);
    let mapped = DecodeConfig { mapping: Some(Mapping::default()), ..DecodeConfig::default() };
    let mut mapped = Decoder::new(&[score_model()], mapped).unwrap();
    assert_eq!(decode_with(&mut mapped, deep.as_bytes()).unwrap_err().reason, RejectReason::TooDeep);
    let brackets = "[".repeat(10_000);
    assert_eq!(decode_with(&mut mapped, brackets.as_bytes()).unwrap_err().reason, RejectReason::TooDeep);
}

#[test]
fn ten_megabytes_are_too_large_and_the_limit_itself_is_not() {
    let long = event(&format!(r#"{FEATURES},"note":"{}""#, "x".repeat(10_000_000)));
    refused(&long, RejectReason::TooLarge, "max_message_bytes");
    let exact = event(FEATURES);
    let config = |max_message_bytes| DecodeConfig { max_message_bytes, mapping: None };
    let mut fits = Decoder::new(&[score_model()], config(exact.len())).unwrap();
    assert!(decode_with(&mut fits, exact.as_bytes()).is_ok());
    let mut tight = Decoder::new(&[score_model()], config(exact.len() - 1)).unwrap();
    assert_eq!(decode_with(&mut tight, exact.as_bytes()).unwrap_err().reason, RejectReason::TooLarge);
}

#[test]
fn an_object_of_endless_names_is_refused() {
    let names: Vec<String> = (0..MAX_UNKNOWN_NAMES + 1).map(|i| format!(r#""x{i}":1"#)).collect();
    refused(&event(&format!(r#""features":{{{}}}"#, names.join(","))), RejectReason::TooLarge, "unknown names");
    refused(&event(&names.join(",")), RejectReason::TooLarge, "unknown names");
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
fn addresses_have_one_spelling_or_are_refused() {
    let from = |address: &str| event(&format!(r#"{FEATURES},"source_ip":{address}"#));
    for (spelling, meaning) in [
        (r#""203.0.113.7""#, "203.0.113.7"),
        (r#""::ffff:203.0.113.7""#, "203.0.113.7"),
        (r#""2001:DB8::1""#, "2001:db8::1"),
        (r#""unknown""#, "unknown"),
        (r#""""#, "unknown"),
    ] {
        assert_eq!(one(&from(spelling)).address.to_string(), meaning);
    }
    refused(&from(r#""10.0.0.256""#), RejectReason::BadAddress, "'10.0.0.256'");
    refused(&from(r#""203.0.113.7, 10.0.0.1""#), RejectReason::BadAddress, "not a list");
    refused(&from("17"), RejectReason::BadAddress, "not text");
    refused(&from("[]"), RejectReason::BadAddress, "an array");
}

#[test]
fn ids_are_exact_and_bounded() {
    let query = one(&event(&format!(r#"{FEATURES},"client_id":12345678901234567890,"request_id":true"#)));
    assert_eq!((query.account.as_str(), query.request_id.as_str()), ("12345678901234567890", "true"));
    refused(&event(&format!(r#"{FEATURES},"client_id":"{}""#, "x".repeat(513))), RejectReason::BadField, "client_id is 513 bytes");
    refused(&event(&format!(r#"{FEATURES},"request_id":{{}}"#)), RejectReason::BadField, "request_id is an object");
    refused(&event(&format!(r#"{FEATURES},"latency_ms":"fast""#)), RejectReason::BadField, "latency_ms");
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
fn answers_of_the_wrong_form_are_refused() {
    let score = |answer: &str| event(&format!(r#"{FEATURES},"prediction":{answer}"#));
    refused(&score(r#""high""#), RejectReason::BadPrediction, "not a number");
    refused(&score(r#"{"no":0.2,"yes":0.8}"#), RejectReason::BadPrediction, "one number");
    refused(&score("[0.1,0.9]"), RejectReason::BadPrediction, "2 numbers");
    refused(&score(r#"[[[0.1]]]"#), RejectReason::BadPrediction, "an array");
    refused(&score("[]"), RejectReason::BadPrediction, "0 predictions for 1 rows");
    let label = |answer: &str| score(answer).replace(r#""m""#, r#""l""#);
    refused(&label(r#"{"no":7,"yes":0.8}"#), RejectReason::BadPrediction, "outside 0 to 1");
    refused(&label(r#"{"no":{},"yes":0.8}"#), RejectReason::BadPrediction, "an object");
    refused(&label("[0.1,0.2,0.7]"), RejectReason::BadPrediction, "3 numbers");
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
fn a_batch_that_does_not_add_up_is_refused_whole() {
    refused(
        &event(r#""instances":[[1,"a",true],[2,"b",true]],"predictions":[0.1]"#),
        RejectReason::BadPrediction,
        "1 predictions for 2 rows",
    );
    refused(
        &event(r#""instances":[[1,"a",true],[2,"b",true]],"prediction":0.1"#),
        RejectReason::BadPrediction,
        "one prediction for a batch",
    );
    refused(&event(r#""instances":[[1,"a",true],[2,"b"]]"#), RejectReason::BadFeatures, "2 values");
    refused(&event(r#""instances":[[1,"a",true],3]"#), RejectReason::BadFeatures, "among rows");
    refused(&event(r#""instances":[3,[1,"a",true]]"#), RejectReason::BadFeatures, "a row among values");
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
        (r#"{"timestamp":1772442900,"model":"m","rows":[{"x":{},"x":{}}]}"#, RejectReason::DuplicateKey),
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
