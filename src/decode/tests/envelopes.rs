//! Records within what shippers, containers and databases put around them: the record's own fields count, and no address of a machine is
//! taken for the caller's.

use serde_json::{Value, json};

use super::formats::{credit, read};
use super::*;
use crate::decode::recognise::{Recognised, recognise};

const TIME: &str = "2026-03-02T09:15:00Z";

fn recognised(record: &Value) -> Recognised {
    let line = record.to_string();
    recognise(std::iter::once(line.as_bytes()), &[credit()], None, &BTreeMap::new())
        .unwrap_or_else(|| panic!("not recognised: {line}"))
}

/// Reads a record as it was recognised.
fn call(kind: &str, record: &Value) -> Query {
    let found = recognised(record);
    let config = DecodeConfig {
        format: Some(found.format),
        mapping: Some(found.mapping),
        rename: found.rename,
        assume_zone: Some("UTC".parse().unwrap()),
        ..DecodeConfig::default()
    };
    let mut queries = read(&config, &[record.to_string()]);
    queries.remove(0).unwrap_or_else(|rejection| panic!("{kind}: {rejection}: {}", found.sentence))
}

/// Kinds, after the public documentation of each.
fn kinds() -> Vec<(&'static str, Value)> {
    let flat = json!({"ts":TIME,"client_ip":"203.0.113.7","age":39,"job":"State","owner":true,"score":0.83});
    let event =
        json!({"event_time":TIME,"remote_addr":"203.0.113.7","features":{"age":39,"job":"State","owner":true},"prediction":0.83});
    let canonical = json!({"timestamp":TIME,"model":"credit","source_ip":"203.0.113.7","features":{"age":39,"job":"State","owner":true},"prediction":0.83});
    let later = "2026-03-02T09:15:07.5Z";
    let host = json!({"name":"web1","ip":["10.0.0.5","fe80::1"],"id":"abc"});
    vec![
        ("Docker's json-file", json!({"log":format!("{flat}\n"),"stream":"stdout","time":later})),
        ("Docker's json-file around Tripline's own layout", json!({"log":format!("{canonical}\n"),"stream":"stdout","time":later})),
        (
            "Fluent Bit in Kubernetes",
            json!({"date":1_772_442_907.5,"kubernetes":{"pod_ip":"10.1.2.3","host":"n1"},"log":flat.to_string()}),
        ),
        (
            "Filebeat, message",
            json!({"@timestamp":later,"host":host,"agent":{"id":"x","version":"8.1.0"},"message":event.to_string()}),
        ),
        (
            "Filebeat, fields",
            json!({"@timestamp":TIME,"host":host,"client_ip":"203.0.113.7","request":{"age":39,"job":"State","owner":true},"prediction":0.83}),
        ),
        ("an Elasticsearch hit", json!({"_index":"logs","_id":"a1","_score":1,"_source":flat})),
        (
            "an Elasticsearch hit, Elastic Common Schema",
            json!({"_index":"logs","_id":"a1","_source":{"@timestamp":TIME,"source":{"ip":"203.0.113.7"},"host":host,
            "model":{"features":{"age":39,"job":"State","owner":true},"score":0.83}}}),
        ),
        (
            "Datadog",
            json!({"id":"A1","content":{"timestamp":TIME,"host":"n1","attributes":{"network":{"client":{"ip":"203.0.113.7"}},
            "features":{"age":39,"job":"State","owner":true},"prediction":0.83}}}),
        ),
        (
            "Google Cloud Logging",
            json!({"insertId":"i","jsonPayload":{"client_ip":"203.0.113.7","time":TIME,"age":39,"job":"State","owner":true,"score":0.83},
            "timestamp":later,"receiveTimestamp":later}),
        ),
        (
            "Ray Serve",
            json!({"levelname":"INFO","asctime":"2026-03-02 09:15:07,500","component_name":"replica","message":event.to_string()}),
        ),
        (
            "Snowflake, names in capitals",
            json!({"TS":TIME,"CLIENT_IP":"203.0.113.7","AGE":39,"JOB":"State","OWNER":true,"SCORE":0.83}),
        ),
        (
            "BigQuery, numbers as text",
            json!({"event_time":"2026-03-02 09:15:00 UTC","client_ip":"203.0.113.7","age":"39","job":"State","owner":true,"prediction":"0.83"}),
        ),
        (
            "Spark ML, vectors and a decision",
            json!({"timestamp":"2026-03-02T10:15:00.000+01:00","client_ip":"203.0.113.7","age":39,"job":"State","owner":true,
            "rawPrediction":{"type":1,"values":[-1.5,1.5]},"probability":{"type":1,"values":[0.17,0.83]},"prediction":1.0}),
        ),
        (
            "Spark ML, a sparse vector",
            json!({"timestamp":TIME,"client_ip":"203.0.113.7","age":39,"job":"State","owner":true,
            "probability":{"type":0,"size":2,"indices":[0,1],"values":[0.17,0.83]},"prediction":1.0}),
        ),
    ]
}

#[test]
fn kinds_of_envelopes_are_recognised_and_their_records_are_the_same_call() {
    for (kind, record) in kinds() {
        let query = call(kind, &record);
        let sentence = recognised(&record).sentence;
        assert_eq!((query.row[0], query.prediction), (Cell::number(39.0), Prediction::Score(0.83)), "{kind}: {sentence}");
        assert!(query.row.iter().all(|cell| !cell.is_missing() && !cell.is_unreadable()), "{kind}: {sentence}");
        assert_eq!(query.time.to_string(), "2026-03-02T09:15:00.000Z", "{kind}: {sentence}");
        assert_eq!(query.address.to_string(), "203.0.113.7", "{kind}: {sentence}");
        assert!(query.repairs.is_empty(), "{kind}: {:?}", repairs(&query));
    }
}

#[test]
fn the_envelopes_time_counts_where_the_record_has_none() {
    let inner = json!({"features":{"age":39,"job":"State","owner":true},"prediction":0.83});
    let query = call("no time within", &json!({"log":inner.to_string(),"time":TIME,"host":{"ip":"10.0.0.5"}}));
    assert_eq!((query.time.to_string().as_str(), query.address), ("2026-03-02T09:15:00.000Z", Address::Unknown));
}

#[test]
fn features_within_a_text_are_no_envelope() {
    let body = json!({"age":39,"job":"State","owner":true});
    let found = recognised(&json!({"time":TIME,"request":body.to_string(),"response":"{\"predictions\":[0.83]}"}));
    assert_eq!((found.mapping.record, found.mapping.features.as_str()), (None, "/request"));
}

#[test]
fn a_line_that_is_no_record_within_its_envelope_is_rejected_and_its_sender_is_known() {
    let mapping =
        Mapping { record: Some("/log".into()), source_ip: "/ip".into(), model_name: Some("credit".into()), ..Mapping::default() };
    let config = DecodeConfig { mapping: Some(mapping), ..DecodeConfig::default() };
    let refused = |record: Value| read(&config, &[record.to_string()]).remove(0).unwrap_err();
    let rejection = refused(json!({"log":"Server started","ip":"203.0.113.7"}));
    assert!(rejection.reason == RejectReason::NotJson && rejection.message.contains("decode.mapping.record"), "{rejection}");
    let rejection = refused(json!({"log":"{\"ip\":\"203.0.113.7\",\"features\":{\"age\":1}}"}));
    assert_eq!(rejection.reason, RejectReason::MissingField);
    assert_eq!(rejection.caller.unwrap().address.to_string(), "203.0.113.7");
    // A fault within costs what it costs in a record of its own.
    let within = json!({"log":"{\"timestamp\":\"2026-03-02T09:15:00Z\",\"features\":{\"age\":39,\"age\":40},\"latency_ms\":NaN}"});
    let query = read(&config, &[within.to_string()]).remove(0).unwrap();
    assert_eq!((query.row[0], repairs(&query).len()), (Cell::number(40.0), 2), "{:?}", repairs(&query));
}

#[test]
fn renamed_features_are_read_under_their_new_names() {
    let rename: BTreeMap<String, String> =
        [("years", "age"), ("customer.job", "job")].map(|(new, old)| (new.to_owned(), old.to_owned())).into();
    let config = DecodeConfig { rename, ..DecodeConfig::default() };
    for features in [r#"{"years":39,"job":"State","owner":true}"#, r#"{"years":39,"customer":{"job":"State"},"owner":true}"#] {
        let line = format!(r#"{{"timestamp":"{TIME}","model":"credit","features":{features}}}"#);
        let query = read(&config, &[line]).remove(0).unwrap();
        assert!(query.row[0] == Cell::number(39.0) && query.row.iter().all(|cell| !cell.is_missing()), "{features}");
        assert_eq!(query.extra_features, 0, "{features}");
    }
    let wrong = DecodeConfig { rename: [("years".to_owned(), "agee".to_owned())].into(), ..DecodeConfig::default() };
    let error = Decoder::new(&[credit()], wrong).unwrap_err().to_string();
    assert!(error.starts_with("decode.rename: no reference has a feature 'agee'"), "{error}");
}

#[test]
fn lines_of_json_in_a_payload_are_rows_and_answers() {
    let capture =
        |data: &str, encoding: &str| json!({"observedContentType":"application/jsonlines","data":data,"encoding":encoding});
    let record = json!({"captureData":{
        "endpointInput":capture("{\"features\":[39,\"State\",true]}\n{\"features\":[40,\"None\",false]}\n", "JSON"),
        "endpointOutput":capture("{\"score\":0.83}\n{\"score\":0.1}", "JSON")},"eventMetadata":{"eventId":"e","inferenceTime":TIME}});
    let config = DecodeConfig { format: Some(Format::Sagemaker), ..DecodeConfig::default() };
    let queries: Vec<Query> = read(&config, &[record.to_string()]).into_iter().collect::<Result<_, _>>().unwrap();
    let seen: Vec<_> = queries.iter().map(|query| (query.row[0], query.prediction)).collect();
    assert_eq!(seen, [(Cell::number(39.0), Prediction::Score(0.83)), (Cell::number(40.0), Prediction::Score(0.1))]);
}
