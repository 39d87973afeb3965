//! The formats of serving systems: every example of `docs/formats.md`, recognition, and what contradicts itself.

use serde_json::{Value, json};

use super::*;
use crate::decode::recognise::{Recognised, recognise};

pub(super) fn credit() -> Arc<Reference> {
    named_model("credit", ["age", "job", "owner"], &[Raw::Number(0.11), Raw::Number(0.52), Raw::Number(0.93)])
}

fn with_config(config: DecodeConfig) -> Decoder {
    Decoder::new(&[credit()], config).unwrap()
}

fn of(format: Format) -> DecodeConfig {
    DecodeConfig { format: Some(format), ..DecodeConfig::default() }
}

/// Every query of the lines.
pub(super) fn read(config: &DecodeConfig, lines: &[String]) -> Vec<Result<Query, Rejection>> {
    let mut decoder = with_config(config.clone());
    let mut records: Vec<Vec<u8>> = lines.iter().map(|line| line.clone().into_bytes()).collect();
    if let Some(mut pairs) = config.pairs() {
        records.iter().for_each(|payload| pairs.push_record(&Record { payload, ..Record::default() }));
        pairs.end();
        records = std::iter::from_fn(|| pairs.pop()).map(|joined| joined.payload).collect();
    }
    let decoded = records.iter().flat_map(|record| match decode_with(&mut decoder, record) {
        Ok(queries) => queries.into_iter().map(Ok).collect(),
        Err(rejection) => vec![Err(rejection)],
    });
    decoded.collect()
}

/// The call that every example shows.
#[track_caller]
fn is_the_call(query: &Query, text: &str) {
    let reference = credit();
    let schema = crate::reference::Schema::new(&reference);
    let expected =
        [crate::reference::Scalar::Number(39.0), crate::reference::Scalar::Text("State"), crate::reference::Scalar::Boolean(true)];
    let expected: Vec<u64> = expected.into_iter().enumerate().map(|(nth, value)| schema.bind(nth, value).bits()).collect();
    assert_eq!(cells(query), expected, "{text}");
    assert_eq!(query.prediction, Prediction::Score(0.83), "{text}");
    assert_eq!((query.model.as_str(), query.time.to_string().as_str()), ("credit", "2026-03-02T09:15:00.000Z"), "{text}");
    assert_eq!(query.address.to_string(), "203.0.113.7", "{text}");
    assert_eq!((repairs(query), query.extra_features), (vec![], 0), "{text}");
}

/// The examples of the page: title, settings, lines.
fn examples() -> Vec<(String, String, Vec<String>)> {
    let page = std::fs::read_to_string(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/formats.md")).unwrap();
    let fenced = |section: &str, kind: &str| {
        let rest = section.split_once(&format!("```{kind}\n")).map(|(_, rest)| rest.to_owned());
        rest.map(|rest| rest.split("```").next().unwrap().to_owned()).unwrap_or_default()
    };
    let sections = page.split("\n### ").skip(1).map(|section| {
        let title = section.lines().next().unwrap().to_owned();
        (title, fenced(section, "toml"), fenced(section, "json").lines().map(str::to_owned).collect())
    });
    sections.collect()
}

#[cfg(feature = "runtime")]
#[test]
fn every_example_of_the_page_is_the_same_call() {
    #[derive(serde::Deserialize, Default)]
    #[serde(default)]
    struct Settings {
        decode: DecodeConfig,
    }
    let mut shown = Vec::new();
    for (title, settings, lines) in examples() {
        let config = toml::from_str::<Settings>(&settings).unwrap_or_else(|error| panic!("{title}: {error}")).decode;
        let queries = read(&config, &lines);
        let calls = if title == "kserve" { lines.len() / 2 } else { lines.len() };
        assert_eq!(queries.len(), calls, "{title}");
        for (query, line) in queries.iter().zip(&lines) {
            is_the_call(query.as_ref().unwrap_or_else(|rejection| panic!("{title}: {rejection} in {line}")), line);
        }
        shown.push(title);
    }
    for format in Format::ALL.into_iter().filter(|format| *format != Format::Auto) {
        assert!(shown.contains(&format.name().to_owned()), "{format} has no example");
    }
}

fn recognised(line: &str) -> Option<Recognised> {
    recognise(std::iter::once(line.as_bytes()), &[credit()], Some(&PositiveClass::Name("bad".into())), &BTreeMap::new())
}

#[test]
fn every_example_but_the_canonical_one_is_recognised_and_then_read() {
    for (title, _, lines) in examples() {
        for line in &lines {
            let found = recognised(line);
            if title == "canonical" {
                assert_eq!(found, None);
                continue;
            }
            let found = found.unwrap_or_else(|| panic!("{title}: not recognised: {line}"));
            let config = DecodeConfig {
                assume_zone: Some("UTC".parse().unwrap()),
                positive_class: Some(PositiveClass::Name("bad".into())),
                mapping: Some(found.mapping),
                ..of(found.format)
            };
            let lines = if title == "kserve" { lines.as_slice() } else { std::slice::from_ref(line) };
            let query =
                read(&config, lines).remove(0).unwrap_or_else(|rejection| panic!("{title}: {rejection}: {}", found.sentence));
            assert_eq!(
                (query.row[0], query.prediction),
                (Cell::number(39.0), Prediction::Score(0.83)),
                "{title}: {}",
                found.sentence
            );
            assert_eq!(query.time.to_string(), "2026-03-02T09:15:00.000Z", "{title}");
        }
    }
}

#[test]
fn a_confluent_schema_id_before_json_is_skipped_and_before_anything_else_is_named() {
    let line = examples().remove(0).2.remove(0);
    let framed = [&b"\0\0\0\0\x07"[..], line.as_bytes()].concat();
    is_the_call(&decode_with(&mut with_config(DecodeConfig::default()), &framed).unwrap()[0], &line);
    let avro = decode_with(&mut with_config(DecodeConfig::default()), b"\0\0\0\0\x07\x0c203.0.113.7").unwrap_err();
    assert!(avro.reason == RejectReason::NotJson && avro.message.contains("Avro and Protobuf are not read"), "{avro}");
}

/// Kinds of logs that are no format of their own, after public documentation and bug reports.
#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn logs_of_other_systems_and_of_ones_own_are_recognised_by_the_names_of_the_features() {
    let features = json!({"age":39,"job":"State","owner":true});
    let tensor = |name: &str, data: Value, kind: &str| json!({"name":name,"shape":[1,1],"datatype":kind,"parameters":{"content_type":"pd"},"data":data});
    let time = "2026-03-02T09:15:00Z";
    let kinds = [
        (
            "Databricks inference table",
            json!({"databricks_request_id":"r-1","timestamp_ms":1_772_442_900_000_i64,"status_code":200,"execution_time_ms":7,
            "request":"{\"dataframe_split\":{\"columns\":[\"job\",\"owner\",\"age\"],\"data\":[[\"State\",true,39]]}}","response":"{\"predictions\":[0.83]}"}),
        ),
        (
            "Vertex AI request-response logging",
            json!({"endpoint":"e","logging_time":"2026-03-02 09:15:00 UTC","request_id":1,
            "request_payload":["{\"age\":39,\"job\":\"State\",\"owner\":true}"],"response_payload":["{\"score\":0.83}"]}),
        ),
        (
            "Seldon request logger",
            json!({"@timestamp":time,"RequestId":"r-1","request":{"dataType":"tabular","payload":{"data":{"names":["owner","job","age"],"ndarray":[[true,"State",39]]}}},
            "response":{"payload":{"data":{"names":["proba"],"ndarray":[[0.83]]}}}}),
        ),
        (
            "a web service",
            json!({"event":"prediction","datetime":time,"client":{"ip":"203.0.113.7"},"input":features,"output":{"probability":0.83}}),
        ),
        (
            "TensorFlow Serving, columns",
            json!({"time":time,"request":{"signature_name":"serving_default","inputs":{"age":[[39]],"job":[["State"]],"owner":[[true]]}},"response":{"outputs":[[0.83]]}}),
        ),
        (
            "MLServer, data frame",
            json!({"time":time,"request":{"parameters":{"content_type":"pd"},"inputs":[tensor("job", json!(["State"]), "BYTES"), tensor("age", json!([39]), "INT64"),
            tensor("owner", json!([true]), "BOOL")]},"response":{"outputs":[{"name":"predict","shape":[1,1],"datatype":"FP64","data":[0.83]}]}}),
        ),
        (
            "API Gateway and Lambda",
            json!({"requestContext":{"identity":{"sourceIp":"203.0.113.7"},"requestTimeEpoch":1_772_442_900_000_i64},
            "body":"{\"age\":39,\"job\":\"State\",\"owner\":true}","response":{"statusCode":200,"body":"{\"prediction\":0.83}"}}),
        ),
        (
            "a logger with nested fields",
            json!({"level":"info","ts":1_772_442_900.0,"msg":"scored","call":{"features":features,"score":0.83,"user_id":"u-1"}}),
        ),
        (
            "a structured log line",
            json!({"timestamp":time,"attributes":{"http.client_ip":"203.0.113.7"},"payload":{"rows":[features]},"result":[0.83]}),
        ),
        (
            "scikit-learn probabilities",
            json!({"created_at":"2026-03-02 09:15:00+00:00","x":[[39,"State",true]],"predict_proba":[[0.17,0.83]]}),
        ),
        (
            "pandas, orient dict",
            json!({"date":"2026-03-02T09:15:00.000Z","data":{"age":{"0":39},"job":{"0":"State"},"owner":{"0":true}},"y_pred":[0.83]}),
        ),
    ];
    for (kind, record) in kinds {
        let found = recognised(&record.to_string()).unwrap_or_else(|| panic!("{kind}: not recognised"));
        let config = DecodeConfig { mapping: Some(found.mapping), ..of(found.format) };
        let query = read(&config, &[record.to_string()])
            .remove(0)
            .unwrap_or_else(|rejection| panic!("{kind}: {rejection}: {}", found.sentence));
        assert_eq!((query.row[0], query.prediction), (Cell::number(39.0), Prediction::Score(0.83)), "{kind}: {}", found.sentence);
        assert!(query.row.iter().all(|cell| !cell.is_missing() && !cell.is_unreadable()), "{kind}: {}", found.sentence);
        assert_eq!((query.time.to_string().as_str(), query.repairs.is_empty()), ("2026-03-02T09:15:00.000Z", true), "{kind}");
    }
}

#[test]
fn a_mapping_completes_what_is_recognised() {
    let found = recognised(&request(&json!({"instances":[{"age":39,"job":"State","owner":true}]}))).unwrap().mapping;
    let own = Mapping { source_ip: "/caller".into(), ..Mapping::default() };
    let both = own.completed_by(found.clone());
    assert_eq!((both.source_ip.as_str(), &both.features, &both.prediction), ("/caller", &found.features, &found.prediction));
}

#[test]
fn what_is_no_log_of_the_model_is_not_recognised() {
    for line in
        ["garbage", "{}", "[1,2,3]", r#"{"a":1,"time":"2026-03-02T09:15:00Z"}"#, r#"{"request":{"columns":["x"],"data":[[1]]}}"#]
    {
        assert_eq!(recognised(line), None, "{line}");
    }
}

#[test]
fn names_beside_the_rows_count_within_the_canonical_envelope_as_well() {
    let text = |features: Value| {
        json!({"timestamp":"2026-03-02T09:15:00Z","model":"credit","source_ip":"203.0.113.7","features":features,"prediction":[0.83]}).to_string()
    };
    for features in [
        json!({"columns":["owner","job","age"],"data":[[true,"State",39]]}),
        json!({"dataframe_split":{"columns":["owner","job","age"],"data":[[true,"State",39]]}}),
        json!({"data":{"names":["owner","job","age"],"ndarray":[[true,"State",39]]}}),
    ] {
        let line = text(features);
        assert_eq!(recognised(&line), None);
        is_the_call(read(&DecodeConfig::default(), std::slice::from_ref(&line))[0].as_ref().unwrap(), &line);
    }
    // Names that nobody knows are evidence, and are noted once.
    let mut decoder = with_config(DecodeConfig::default());
    let noted: Vec<usize> =
        (0..2).map(|_| decode_with(&mut decoder, text(json!({"x":1,"y":2})).as_bytes()).unwrap()[0].new_names.len()).collect();
    assert_eq!(noted, [2, 0]);
}

/// A record of the format `mlflow` with this request.
fn request(request: &Value) -> String {
    json!({"timestamp":"2026-03-02T09:15:00Z","ip":"203.0.113.7","request":request,"response":{"predictions":[0.83]}}).to_string()
}

#[track_caller]
fn is_refused(config: &DecodeConfig, request_body: &Value, says: &str) {
    let read = read(config, &[request(request_body)]).remove(0);
    let rejection = read.expect_err(&request_body.to_string());
    assert_eq!(rejection.reason, RejectReason::BadFeatures, "{rejection}");
    assert!(rejection.message.contains(says), "'{}' does not say '{says}'", rejection.message);
    assert_eq!(rejection.caller.map(|caller| caller.address.to_string()).as_deref(), Some("203.0.113.7"));
}

#[test]
fn names_that_contradict_the_values_or_each_other_are_a_fault() {
    let config = of(Format::Mlflow);
    let split = |columns: Value, data: Value| json!({"dataframe_split":{"columns":columns,"data":data}});
    is_refused(&config, &split(json!(["age", "job"]), json!([[39, "State", true]])), "3 values beside 2 names");
    is_refused(&config, &split(json!(["age", "age", "job"]), json!([[39, 39, "State"]])), "stands twice");
    is_refused(&config, &split(json!(["x", "y", "z"]), json!([[39, "State", true]])), "has no feature of these names");
    is_refused(&config, &split(json!([0, 1]), json!([[39, "State"]])), "2 values");
    is_refused(&config, &json!({"instances":[[39, "State"]]}), "2 values");
    is_refused(&config, &json!("39,State"), "2 values");
    let mapped =
        Mapping { columns: Some(mapping::Columns::Names(vec!["job".into(), "age".into(), "x".into()])), ..Mapping::default() };
    let config = DecodeConfig { mapping: Some(mapped), ..config };
    is_refused(&config, &split(json!(["age", "job", "owner"]), json!([[39, "State", true]])), "decode.mapping.columns");
}

#[test]
fn names_of_the_mapping_and_numbered_columns_say_where_values_belong() {
    let mapped =
        Mapping { columns: Some(mapping::Columns::Names(vec!["owner".into(), "job".into(), "age".into()])), ..Mapping::default() };
    let config = DecodeConfig { mapping: Some(mapped), ..of(Format::Mlflow) };
    for body in [
        json!({"instances":[[true, "State", 39]]}),
        json!("true,State,39"),
        json!("owner,job,age\ntrue,State,39"),
        json!({"dataframe_split":{"columns":["age","job","owner"],"data":[[39,"State",true]]}}),
    ] {
        is_the_call(read(&config, &[request(&body)])[0].as_ref().unwrap(), &body.to_string());
    }
    let numbered = json!({"dataframe_split":{"columns":[0, 1, 2],"index":[0],"data":[[39,"State",true]]}});
    is_the_call(read(&of(Format::Mlflow), &[request(&numbered)])[0].as_ref().unwrap(), "numbered");
}

#[test]
fn a_batch_in_any_form_is_as_many_queries_with_their_own_answers() {
    let batch = |request: Value, response: Value| {
        json!({"timestamp":"2026-03-02T09:15:00Z","model":"credit","request":request,"response":response}).to_string()
    };
    let tensor = |name: &str, data: Value| json!({"name":name,"shape":[2],"datatype":"BYTES","data":data});
    let answers = [
        json!({"predictions":[0.1,0.2]}),
        json!({"predictions":[[0.9,0.1],[0.8,0.2]]}),
        json!([[[0.1], [0.2]]]),
        json!("0.1\n0.2"),
        json!("0.1,0.2"),
    ];
    let rows = [
        json!({"dataframe_split":{"columns":["job","age"],"data":[["State",1],["None",2]]}}),
        json!({"age":[1,2],"job":["State","None"]}),
        json!({"inputs":[tensor("age", json!([1,2])), tensor("job", json!(["State","None"]))]}),
        json!({"inputs":{"age":[[1],[2]],"job":[["State"],["None"]]}}),
        json!("age,job\n1,State\n2,None"),
        json!([{"age":1,"job":"State"},{"age":2,"job":"None"}]),
    ];
    for (rows, answers) in rows.iter().flat_map(|rows| answers.iter().map(move |answers| (rows, answers))) {
        let queries = read(&of(Format::Mlflow), &[batch(rows.clone(), answers.clone())]);
        let queries: Vec<Query> =
            queries.into_iter().collect::<Result<_, _>>().unwrap_or_else(|rejection| panic!("{rejection}: {rows}"));
        let seen: Vec<_> = queries.iter().map(|query| (query.row[0], query.prediction, query.provenance.row)).collect();
        let expected = [(Cell::number(1.0), Prediction::Score(0.1), 0), (Cell::number(2.0), Prediction::Score(0.2), 1)];
        assert_eq!(seen, expected, "{rows} {answers}");
    }
}

#[test]
fn a_call_in_two_halves_is_counted_when_a_half_stays_away() {
    let half = |kind: &str, id: &str, data: Value| {
        json!({"specversion":"1.0","id":id,"type":format!("org.kubeflow.serving.inference.{kind}"),"time":"2026-03-02T09:15:00Z","inferenceservicename":"credit","data":data}).to_string()
    };
    let lines =
        [half("request", "a", json!({"instances":[[39,"State",true]]})), half("response", "b", json!({"predictions":[0.1]}))];
    let read = read(&of(Format::Kserve), &lines);
    assert_eq!(repairs(read[0].as_ref().unwrap()), [Repair::ResponseMissing]);
    assert_eq!(read[1].as_ref().unwrap_err().reason, RejectReason::ResponseWithoutRequest);
    // What nobody joined is half of a call.
    let rejection = decode_with(&mut with_config(of(Format::Kserve)), lines[0].as_bytes()).unwrap_err();
    assert!(rejection.message.contains("half of a call"), "{rejection}");
}

#[test]
fn labels_with_scores_are_answers_of_a_reference_of_labels() {
    let config = DecodeConfig { format: Some(Format::Mlflow), ..DecodeConfig::default() };
    let mut decoder = Decoder::new(&[label_model()], config).unwrap();
    let class = |name: &str| Cell::category(label_model().prediction.classes.iter().position(|class| class == name).unwrap());
    let mut answer = |response: Value| {
        let text = json!({"timestamp":1_772_442_900,"request":{"instances":[[39,"State",true]]},"response":response}).to_string();
        decode_with(&mut decoder, text.as_bytes()).unwrap().remove(0).prediction
    };
    for response in [
        json!({"label":"yes","score":0.75}),
        json!([{"label":"yes","score":0.75}]),
        json!({"predictions":[{"predicted_label":"yes","score":0.75}]}),
    ] {
        assert_eq!(answer(response.clone()), Prediction::Label(class("yes")), "{response}");
    }
    let both = json!([[{"label":"no","score":0.25},{"label":"yes","score":0.75}]]);
    assert_eq!(answer(both), Prediction::Probabilities { top: class("yes"), probability: 0.75, margin: 0.5 });
    let named = json!({"data":{"names":["yes","no"],"ndarray":[[0.75,0.25]]}});
    assert_eq!(answer(named), Prediction::Probabilities { top: class("yes"), probability: 0.75, margin: 0.5 });
}

#[test]
fn a_topic_may_have_a_layout_of_its_own() {
    let own = TopicLayout { format: Some(Format::Mlflow), mapping: None };
    let config = DecodeConfig { topics: [("mlflow".to_owned(), own)].into_iter().collect(), ..DecodeConfig::default() };
    let mut decoder = with_config(config.clone());
    let mut read = |topic: &str, text: &str| {
        let provenance = Provenance { topic: topic.into(), ..Provenance::default() };
        decoder.decode(&Record { payload: text.as_bytes(), provenance, ..Record::default() }, &mut Batch::default())
    };
    let (mlflow, canonical) = (request(&json!({"instances":[[39,"State",true]]})), examples().remove(0).2.remove(0));
    assert_eq!((read("mlflow", &mlflow), read("other", &canonical)), (Ok(1), Ok(1)));
    assert!(read("other", &mlflow).is_err() && read("mlflow", "{}").is_err());
    assert_eq!(config.of_topic("mlflow").format, Some(Format::Mlflow));
}

fn any_json() -> impl Strategy<Value = Value> {
    let word = prop::sample::select(vec![
        "age",
        "job",
        "owner",
        "columns",
        "data",
        "names",
        "ndarray",
        "inputs",
        "outputs",
        "instances",
        "dataframe_split",
        "shape",
        "datatype",
        "name",
        "encoding",
        "CSV",
        "BASE64",
        "JSON",
        "label",
        "score",
        "predictions",
        "tensor",
        "values",
        "1,2,3",
        "State",
        "[1,2,3]",
        "{",
        "\"",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        (-3_i64..5).prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        word.clone().prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 64, 5, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec((word.clone(), inner), 0..5)
                .prop_map(|pairs| Value::Object(pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// Whatever stands in the place of rows and answers is read or refused, and rows are whole.
    #[test]
    fn any_json_in_the_place_of_rows_and_answers_ends_in_something(rows in any_json(), answers in any_json(), format in 1_usize..8) {
        let format = Format::ALL[format];
        let text = json!({"timestamp":1_772_442_900,"request":rows,"response":answers,"captureData":{"endpointInput":rows,"endpointOutput":answers},
            "eventMetadata":{"inferenceTime":1_772_442_900},"features":rows,"prediction":answers}).to_string();
        if let Ok(queries) = decode_with(&mut with_config(of(format)), text.as_bytes()) {
            prop_assert!(queries.iter().all(|query| query.row.len() == 3 && query.model == "credit"));
        }
        let _ = recognised(&text);
        let mut pairs = of(Format::Kserve).pairs().unwrap();
        pairs.push_record(&Record { payload: text.as_bytes(), ..Record::default() });
        pairs.end();
    }

    /// Names beside the rows give the same query in every order.
    #[test]
    fn the_order_of_named_columns_does_not_matter(order in Just(vec![0_usize, 1, 2]).prop_shuffle()) {
        let (names, values) = (["age", "job", "owner"], [json!(39), json!("State"), json!(true)]);
        let body = json!({"dataframe_split":{"columns":order.iter().map(|&nth| names[nth]).collect::<Vec<_>>(),"data":[order.iter().map(|&nth| values[nth].clone()).collect::<Vec<_>>()]}});
        is_the_call(read(&of(Format::Mlflow), &[request(&body)])[0].as_ref().unwrap(), &body.to_string());
    }
}
