//! Halves that meet, halves that do not, and what waits for them.

use super::*;
use serde_json::json;

fn event(kind: &str, id: &str, second: u32, data: Value) -> String {
    json!({"specversion":"1.0","id":id,"type":format!("org.kubeflow.serving.inference.{kind}"),"time":format!("2026-03-02T00:{:02}:{:02}Z", second / 60, second % 60),
        "inferenceservicename":"m","metadata":"{\"X-Forwarded-For\":[\"203.0.113.7, 10.0.0.1\"]}","data":data})
    .to_string()
}

fn pairs(seconds: u32, halves: usize) -> Pairs {
    Pairs::new(Limits { seconds, halves }, None)
}

fn push(pairs: &mut Pairs, offset: i64, payload: &[u8]) {
    let provenance = Provenance { offset, ..Provenance::default() };
    pairs.push_record(&Record { payload, provenance, ..Record::default() });
}

fn drain(pairs: &mut Pairs) -> Vec<(i64, Value)> {
    std::iter::from_fn(|| pairs.pop()).map(|one| (one.provenance.offset, serde_json::from_slice(&one.payload).unwrap())).collect()
}

#[test]
fn a_request_and_its_response_are_one_record_in_either_order() {
    for order in [[0, 1], [1, 0]] {
        let halves =
            [event("request", "a", 1, json!({"instances":[[1]]})), event("response", "a", 2, json!({"predictions":[0.5]}))];
        let mut pairs = pairs(30, 100);
        for nth in order {
            push(&mut pairs, i64::try_from(nth).unwrap(), halves[nth].as_bytes());
        }
        let all = drain(&mut pairs);
        assert_eq!(all.len(), 1);
        let (offset, record) = &all[0];
        assert_eq!((*offset, &record["timestamp"], &record["model"]), (0, &json!("2026-03-02T00:00:01Z"), &json!("m")));
        assert_eq!((&record["features"], &record["prediction"]), (&json!({"instances":[[1]]}), &json!({"predictions":[0.5]})));
        assert_eq!(record["source_ip"], json!(["203.0.113.7, 10.0.0.1"]));
    }
}

#[test]
fn what_stays_alone_is_given_on_after_the_time_out_and_at_the_end() {
    let mut pairs = pairs(30, 100);
    push(&mut pairs, 0, event("request", "a", 0, json!([[1]])).as_bytes());
    push(&mut pairs, 1, event("response", "b", 0, json!([0.1])).as_bytes());
    push(&mut pairs, 2, event("request", "c", 30, json!([[1]])).as_bytes());
    assert_eq!(drain(&mut pairs), [], "nobody has waited longer than thirty seconds");
    push(&mut pairs, 3, event("request", "d", 31, json!([[1]])).as_bytes());
    let all = drain(&mut pairs);
    assert_eq!(all.iter().map(|(offset, _)| *offset).collect::<Vec<_>>(), [0, 1]);
    assert_eq!((&all[0].1[NO_RESPONSE], &all[1].1[NO_REQUEST]), (&json!(true), &json!(true)));
    pairs.end();
    assert_eq!(drain(&mut pairs).len(), 2);
}

#[test]
fn what_waits_is_bounded() {
    let mut pairs = pairs(3_000, 10);
    for nth in 0..100 {
        push(&mut pairs, nth, event("request", &nth.to_string(), 0, json!([[1]])).as_bytes());
        assert!(pairs.requests.len() <= 10 && pairs.order.len() <= 21);
    }
    assert_eq!(drain(&mut pairs).len(), 90);
}

#[test]
fn an_id_that_comes_again_does_not_wait_with_the_earlier_one() {
    let mut pairs = pairs(30, 100);
    push(&mut pairs, 0, event("request", "a", 0, json!([[1]])).as_bytes());
    push(&mut pairs, 1, event("request", "a", 1, json!([[2]])).as_bytes());
    push(&mut pairs, 2, event("response", "a", 2, json!([0.5])).as_bytes());
    let all = drain(&mut pairs);
    assert_eq!(all.iter().map(|(offset, _)| *offset).collect::<Vec<_>>(), [0, 1]);
    assert_eq!(all[1].1["prediction"], json!([0.5]));
}

#[test]
fn what_is_no_cloud_event_is_given_on_as_it_came() {
    let mut pairs = pairs(30, 100);
    for (nth, text) in ["garbage", "{}", r#"{"type":"x.inference.request"}"#].into_iter().enumerate() {
        push(&mut pairs, i64::try_from(nth).unwrap(), text.as_bytes());
        assert_eq!(pairs.pop().unwrap().payload, text.as_bytes());
    }
}

#[test]
fn attributes_in_headers_are_read_like_those_in_the_body() {
    for prefix in ["ce_", "ce-", "Ce-"] {
        let attributes = [
            ("type", "org.kubeflow.serving.inference.request"),
            ("id", "a"),
            ("time", "2026-03-02T00:00:01Z"),
            ("inferenceservicename", "m"),
            ("metadata", "{\"X-Forwarded-For\":[\"203.0.113.7\"]}"),
            ("specversion", "1.0"),
        ];
        let names: Vec<String> = attributes.iter().map(|(name, _)| format!("{prefix}{name}")).collect();
        let mut headers: Vec<(&str, &[u8])> =
            names.iter().zip(&attributes).map(|(name, (_, value))| (name.as_str(), value.as_bytes())).collect();
        let mut pairs = pairs(30, 100);
        pairs.push_record(&Record { headers: &headers, payload: br#"{"instances":[[1]]}"#, ..Record::default() });
        headers[0].1 = b"org.kubeflow.serving.inference.response";
        pairs.push_record(&Record { headers: &headers, payload: br#"{"predictions":[0.5]}"#, ..Record::default() });
        let all = drain(&mut pairs);
        assert_eq!(all.len(), 1, "{prefix}");
        let record = &all[0].1;
        assert_eq!((&record["timestamp"], &record["model"]), (&json!("2026-03-02T00:00:01Z"), &json!("m")));
        assert_eq!(record["features"], json!("{\"instances\":[[1]]}"), "a text is read like any payload in a text");
        assert_eq!(record["source_ip"], json!(["203.0.113.7"]));
    }
}

#[test]
fn one_wrong_clock_ends_no_wait_and_many_right_ones_do() {
    let mut pairs = pairs(30, 100);
    push(&mut pairs, 0, event("request", "a", 0, json!([[1]])).as_bytes());
    let ahead = |id: &str| event("request", id, 0, json!([[1]])).replace("2026-03-02", "2088-01-01");
    push(&mut pairs, 1, ahead("b").as_bytes());
    push(&mut pairs, 2, event("response", "a", 1, json!([0.5])).as_bytes());
    assert_eq!(drain(&mut pairs)[0].1["prediction"], json!([0.5]));
    (0..8).for_each(|nth| push(&mut pairs, 3 + nth, ahead(&format!("c{nth}")).as_bytes()));
    assert!(!drain(&mut pairs).is_empty(), "the clocks agree");
}

#[test]
fn what_waits_is_held_until_it_is_given_on_or_its_partition_goes() {
    let mut pairs = pairs(30, 100);
    let held = |pairs: &Pairs| {
        let mut held: Vec<i64> = pairs.held().map(|place| place.offset).collect();
        held.sort_unstable();
        held
    };
    for (offset, id) in [(3, "a"), (4, "b"), (7, "c")] {
        push(&mut pairs, offset, event("request", id, 0, json!([[1]])).as_bytes());
    }
    assert_eq!(held(&pairs), [3, 4, 7]);
    push(&mut pairs, 8, event("response", "a", 1, json!([0.5])).as_bytes());
    assert_eq!(held(&pairs), [4, 7]);
    pairs.advance(EventTime::parse_in("2026-03-02T00:00:31Z", None).unwrap());
    assert_eq!((held(&pairs), drain(&mut pairs).len()), (vec![], 3), "time went on");
    push(&mut pairs, 9, event("request", "d", 40, json!([[1]])).as_bytes());
    pairs.forget("other", 0);
    assert_eq!(held(&pairs), [9]);
    pairs.forget("", 0);
    assert_eq!((held(&pairs), pairs.bytes), (vec![], 0));
    pairs.end();
    assert_eq!(drain(&mut pairs), []);
}

#[test]
fn what_waits_is_bounded_in_bytes() {
    let mut pairs = pairs(3_000, 1_000);
    let long = "x".repeat(1_000_000);
    for nth in 0..100 {
        push(&mut pairs, nth, event("request", &nth.to_string(), 0, json!(long)).as_bytes());
        assert!(pairs.bytes <= MAX_BYTES);
    }
    assert!(drain(&mut pairs).len() >= 30);
}
