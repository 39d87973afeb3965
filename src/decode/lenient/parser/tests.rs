//! The reader that goes on behind a fault: what it saves, what it counts, and that it always ends.

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn read(text: &str) -> Value {
    Value::Object(parse(text.as_bytes()).root)
}

#[test]
fn what_is_sound_is_read_as_the_strict_reader_does() {
    for text in [
        r#"{"a":1,"b":[true,false,null,-2.5e3,{"c":"d"}],"e":{}}"#,
        r#" { "a" : [ ] , "\u00e9\n\"\ud83d\ude00" : 18446744073709551615 } "#,
    ] {
        let parsed = parse(text.as_bytes());
        assert_eq!(Value::Object(parsed.root), serde_json::from_str::<Value>(text).unwrap());
        assert!(parsed.repairs.is_empty() && parsed.fault.is_none(), "{text}: {:?}", parsed.repairs);
    }
}

#[test]
fn one_fault_costs_one_value() {
    for (text, value) in [
        (r#"{"a":1,"a":2}"#, json!({"a": 2})),
        (r#"{"a":NaN,"b":2}"#, json!({"a": null, "b": 2})),
        (r#"{"a":-Infinity,"b":2}"#, json!({"a": "-Infinity", "b": 2})),
        (r#"{"a":1e400,"b":2}"#, json!({"a": "1e400", "b": 2})),
        (r#"{"a":None,"b":True}"#, json!({"a": null, "b": true})),
        (r#"{'a':'x','b':2,}"#, json!({"a": "x", "b": 2})),
        (r#"{"a":007,"b":.5}"#, json!({"a": 7, "b": 0.5})),
        (r#"{"a":"\ud800","b":"\udc00x"}"#, json!({"a": "\\ud800", "b": "\\udc00x"})),
        (r#"{"a":"\q\u12","b":2}"#, json!({"a": "\\q\\u12", "b": 2})),
        ("{\"a\":\"tab\there\",\"b\":2}", json!({"a": "tab\there", "b": 2})),
        (r#"{"a":"say "hi" now","b":2}"#, json!({"a": "say ", "b": 2})),
        (r#"{"a":1 "b":2,"c":3}"#, json!({"a": 1, "c": 3})),
        (r#"{"a" 1,"c":3}"#, json!({"c": 3})),
        (r#"{"a":,"c":3}"#, json!({"a": null, "c": 3})),
        (r#"{"a":[1,2,"c":3}"#, json!({"a": [1, 2, "c"]})),
        (r#"{"a":1} behind"#, json!({"a": 1})),
        ("\u{feff}{\"a\":1}", json!({"a": 1})),
    ] {
        let parsed = parse(text.as_bytes());
        assert_eq!(Value::Object(parsed.root), value, "{text}");
        assert!(!parsed.repairs.is_empty(), "{text}: nothing is counted");
    }
}

#[test]
fn bytes_that_are_no_utf8_are_written_out_so_that_two_ids_stay_two() {
    let [one, other] = [b"{\"a\":\"x\xff\"}", b"{\"a\":\"x\xfe\"}"].map(|bytes| parse(bytes).root);
    assert_eq!((&one["a"], &other["a"]), (&json!("x\\xff"), &json!("x\\xfe")));
}

#[test]
fn what_stands_before_a_cut_is_kept_and_what_is_cut_is_known() {
    let text = r#"{"id":{"ip":"10.0.0.1"},"features":{"age":39,"work":"Sta"#;
    let parsed = parse(text.as_bytes());
    assert_eq!(parsed.root["id"], json!({"ip": "10.0.0.1"}));
    assert_eq!(parsed.fault.as_ref().map(|fault| fault.reason), Some(RejectReason::Truncated));
    assert!(parsed.is_damaged("/features") && parsed.is_damaged("") && !parsed.is_damaged("/id"));
    assert!(!parse(br#"{"features":{"age":39},"note":"x"#).is_damaged("/features"));
}

#[test]
fn damage_behind_the_features_is_not_damage_to_them() {
    let parsed = parse(br#"{"features":{"age":39},"featuresx":"a"b","c":1}"#);
    assert!(!parsed.is_damaged("/features") && parsed.is_damaged(""));
    assert!(parse(br#"{"featuresx" 1,"features":{}}"#).is_damaged("/featuresx"));
    assert!(parse(br#"{"features":{"age":39 "x":1}}"#).is_damaged("/features"));
    assert!(parse(br#"{"features":{"age":39}}{"features":{"age":40}}"#).is_damaged("/features"));
    assert!(parse(br#"[{"features":{"age":39}}]"#).fault.is_some());
}

#[test]
fn ten_thousand_levels_are_skipped() {
    let deep = format!(r#"{{"a":{}1{},"b":2}}"#, "[".repeat(10_000), "]".repeat(10_000));
    assert_eq!(read(&deep)["b"], json!(2));
    assert!(parse(&b"{\"a\":".repeat(10_000)).repairs.contains(Repair::RecordCut));
}

proptest! {
    /// Whatever the bytes, the reader ends, and what is sound JSON is read without a repair.
    #[test]
    fn any_bytes_end_in_something(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        parse(&bytes);
    }

    #[test]
    fn any_bytes_that_look_like_json_end_in_something(text in r#"\{["'a-c:,\[\]{}0-9eE.\\ud8 NIn\x00-\x1f-]{0,200}"#) {
        parse(text.as_bytes());
    }

    #[test]
    fn a_text_comes_back_as_it_was(text in ".{0,40}", number in any::<i64>()) {
        let object = json!({"text": text, "nested": [{"number": number}]});
        let parsed = parse(object.to_string().as_bytes());
        prop_assert!(parsed.repairs.is_empty() && parsed.fault.is_none());
        prop_assert_eq!(Value::Object(parsed.root), object);
    }
}
