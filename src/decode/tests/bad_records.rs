//! The table of `docs/bad-records.md`, row by row: each row is a fault, and what becomes of a record that has it.
//!
//! `TRIPLINE_UPDATE=1 cargo test --release --lib bad_records` writes the table anew.

use super::*;

/// What becomes of the row.
enum Fate {
    /// It is used, after these repairs, and this holds of it.
    Used(&'static [Repair], fn(&Query) -> bool),
    /// It is rejected for this reason, and its caller is known or not.
    Rejected(RejectReason, bool),
}

/// A row of the table: what is wrong, a record with that fault, and what becomes of it.
struct Case(&'static str, Vec<u8>, Fate);

const BEFORE: &str = r#"{"timestamp":"2026-03-02T09:15:00Z","model":"m","source_ip":"203.0.113.7","client_id":"acct-42","#;

/// A record whose fields behind the caller are these.
fn behind(fields: &str) -> Vec<u8> {
    format!("{BEFORE}{fields}}}").into_bytes()
}

/// A sound record with one part replaced.
fn with(part: &str, other: &str) -> Vec<u8> {
    let sound =
        format!(r#"{BEFORE}{FEATURES},"prediction":0.83,"latency_ms":12.1,"request_id":"r-1","model_version":"1","label":"yes"}}"#);
    assert!(sound.contains(part), "{part}");
    sound.replacen(part, other, 1).into_bytes()
}

fn from_caller(query: &Query) -> bool {
    query.address.to_string() == "203.0.113.7" && query.account == "acct-42" && query.row[0] == Cell::number(39.0)
}

#[expect(clippy::too_many_lines, reason = "a table")]
fn cases() -> Vec<Case> {
    use Fate::{Rejected, Used};
    use Repair as R;
    let long = "x".repeat(MAX_TEXT_BYTES + 1);
    let long = |name: &str, value: &str| with(&format!(r#""{name}":"{value}""#), &format!(r#""{name}":"{long}""#));
    let nested = |name: &str, value: &str| with(&format!(r#""{name}":"{value}""#), &format!(r#""{name}":{{"x":["y"]}}"#));
    let bytes = |part: &str, other: &[u8]| {
        let marked = String::from_utf8(with(part, "\u{1}")).unwrap();
        let (start, end) = marked.split_once('\u{1}').unwrap();
        [start.as_bytes(), other, end.as_bytes()].concat()
    };
    vec![
        Case(
            "a field stands twice",
            with(r#""client_id":"#, r#""client_id":"x","client_id":"#),
            Used(&[R::NameRepeated], from_caller),
        ),
        Case("a feature stands twice", with(r#""age":39"#, r#""age":1,"age":39"#), Used(&[R::NameRepeated], from_caller)),
        Case(
            "`source_ip` is a list and `decode.trusted_proxies` is 0",
            with("203.0.113.7", "198.51.100.7, 203.0.113.7"),
            Used(&[R::AddressList], from_caller),
        ),
        Case(
            "`source_ip` is text and no address",
            with("203.0.113.7", "300.1.2.3"),
            Used(&[R::AddressUnreadable], |q| q.address == Address::Unknown && q.account == "acct-42"),
        ),
        Case(
            "`source_ip` is a number or an object",
            with(r#""203.0.113.7""#, "17"),
            Used(&[R::AddressType], |q| q.address == Address::Unknown && q.account == "acct-42"),
        ),
        Case(
            "`client_id` is an object or an array",
            nested("client_id", "acct-42"),
            Used(&[R::AccountType], |q| q.account.is_empty() && q.address != Address::Unknown),
        ),
        Case(
            "`client_id` is longer than 512 bytes",
            long("client_id", "acct-42"),
            Used(&[R::AccountLong], |q| q.account.len() <= MAX_TEXT_BYTES && q.account.starts_with("xxx")),
        ),
        Case("`request_id` is an object or an array", nested("request_id", "r-1"), Used(&[R::RequestIdType], from_caller)),
        Case("`request_id` is longer than 512 bytes", long("request_id", "r-1"), Used(&[R::RequestIdLong], from_caller)),
        Case("`model_version` is an object or an array", nested("model_version", "1"), Used(&[R::VersionType], from_caller)),
        Case("`model_version` is longer than 512 bytes", long("model_version", "1"), Used(&[R::VersionLong], from_caller)),
        Case("`label` is an object or an array", nested("label", "yes"), Used(&[R::LabelType], from_caller)),
        Case("`label` is longer than 512 bytes", long("label", "yes"), Used(&[R::LabelLong], from_caller)),
        Case(
            "`latency_ms` is not a number",
            with("12.1", r#""fast""#),
            Used(&[R::LatencyType], |q| from_caller(q) && q.latency_ms.is_none()),
        ),
        Case(
            "`latency_ms` is negative",
            with("12.1", "-12.1"),
            Used(&[R::LatencyNegative], |q| from_caller(q) && q.latency_ms.is_none()),
        ),
        Case(
            "`prediction` does not fit the reference",
            with("0.83", r#"{"no":[]}"#),
            Used(&[R::PredictionUnreadable], |q| from_caller(q) && q.prediction == Prediction::Missing),
        ),
        Case(
            "`prediction` has probabilities by class, the reference has scores, and `decode.positive_class` is not set",
            with("0.83", r#"{"bad":0.83,"good":0.17}"#),
            Used(&[R::PredictionClass], |q| from_caller(q) && q.prediction == Prediction::Missing),
        ),
        Case(
            "a feature is an object or an array",
            with(r#""State""#, r#"{"x":"State"}"#),
            Used(&[R::FeatureNested], |q| from_caller(q) && q.row[1].is_unreadable()),
        ),
        Case(
            "the word `NaN` where a number belongs",
            with(":true", ":NaN"),
            Used(&[R::NumberNan], |q| from_caller(q) && q.row[2].is_missing()),
        ),
        Case(
            "the word `Infinity` where a number belongs",
            with(":true", ":-Infinity"),
            Used(&[R::NumberInfinite], |q| from_caller(q) && q.row[2].is_unreadable()),
        ),
        Case(
            "a number such as `1e400`",
            with(":true", ":1e400"),
            Used(&[R::NumberOutOfRange], |q| from_caller(q) && q.row[2].is_unreadable()),
        ),
        Case(
            "a word or a number that is not JSON, such as `True` or `007`",
            with(":true", ":True"),
            Used(&[R::ValueNotJson], |q| from_caller(q) && q.row[2] == Cell::number(1.0)),
        ),
        Case(
            "a byte within a text that is no UTF-8",
            bytes("r-1", b"r\xff"),
            Used(&[R::TextNotUtf8], |q| from_caller(q) && q.request_id == "r\\xff"),
        ),
        Case(
            "half of a surrogate pair",
            with("r-1", r"r\ud800"),
            Used(&[R::TextSurrogate], |q| from_caller(q) && q.request_id == r"r\ud800"),
        ),
        Case(
            "a control character or an unknown escape within a text",
            with("r-1", "r\t\\q"),
            Used(&[R::TextEscape], |q| from_caller(q) && q.request_id == "r\t\\q"),
        ),
        Case(
            "values nested deeper than 64 levels, in a record with another fault",
            with("0.83", &format!("{}NaN{}", "[".repeat(90), "]".repeat(90))),
            Used(&[R::PredictionUnreadable, R::ValueTooDeep], from_caller),
        ),
        Case(
            "the record ends behind the features",
            behind(&format!(r#"{FEATURES},"prediction":0.8"#)).split_last().unwrap().1.to_vec(),
            Used(&[R::RecordCut], |q| from_caller(q) && q.prediction == Prediction::Missing),
        ),
        Case(
            "the record is longer than `decode.max_message_bytes`, with the features at its beginning",
            behind(&format!(r#"{FEATURES},"x":"{}""#, "x".repeat(MAX_MESSAGE_BYTES))),
            Used(&[R::RecordCut, R::RecordLong], from_caller),
        ),
        Case(
            "something behind the object that is no other object",
            [behind(FEATURES), b" (3 ms)".to_vec()].concat(),
            Used(&[R::RecordSurrounded], from_caller),
        ),
        Case(
            "a comma or a quotation mark too few or too many, outside the features",
            with("r-1", r#"r"1"#),
            Used(&[R::RecordDamaged], from_caller),
        ),
        Case(
            "an unknown name, however often, or thousands of them",
            with(r#""age""#, r#""x":1,"x":2,"age""#),
            Used(&[], |q| from_caller(q) && q.extra_features == 2),
        ),
        Case(
            "no time that can be read",
            with(r#""2026-03-02T09:15:00Z""#, r#""yesterday""#),
            Rejected(RejectReason::BadTimestamp, true),
        ),
        Case(
            "a time outside the years 2000 to 2099",
            with(r#""2026-03-02T09:15:00Z""#, "0"),
            Rejected(RejectReason::TimestampOutOfRange, true),
        ),
        Case(
            "a time without a zone, and `decode.assume_zone` is not set",
            with("2026-03-02T09:15:00Z", "2026-03-02 09:15:00,123"),
            Rejected(RejectReason::TimestampWithoutZone, true),
        ),
        Case("no time, no model or no features", behind(r#""prediction":0.83"#), Rejected(RejectReason::MissingField, true)),
        Case("a model that is an object or an array", with(r#""m""#, r#"["m"]"#), Rejected(RejectReason::BadField, true)),
        Case(
            "features that are neither an object nor an array, or an array of another length",
            behind(r#""features":[1]"#),
            Rejected(RejectReason::BadFeatures, true),
        ),
        Case(
            "the record ends before or within the features",
            with(r#","loud":true}"#, "").split_at(150).0.to_vec(),
            Rejected(RejectReason::Truncated, true),
        ),
        Case(
            "not JSON within the features, or a second object behind the first",
            [behind(FEATURES), behind(FEATURES)].concat(),
            Rejected(RejectReason::NotJson, true),
        ),
        Case(
            "more rows than one message may hold",
            behind(&format!(r#""instances":[{}]"#, vec!["{}"; MAX_ROWS + 1].join(","))),
            Rejected(RejectReason::TooLarge, true),
        ),
        Case(
            "an array around the object",
            [b"[".to_vec(), behind(FEATURES), b"]".to_vec()].concat(),
            Rejected(RejectReason::NotAnObject, true),
        ),
        Case("no object, and nothing that names a caller", b"GET / HTTP/1.1".to_vec(), Rejected(RejectReason::NotJson, false)),
        Case("no text", b"\xff\xfe\x00".to_vec(), Rejected(RejectReason::NotUtf8, false)),
        Case("a model without a reference", with(r#""m""#, r#""other""#), Rejected(RejectReason::UnknownModel, false)),
    ]
}

/// The table as the page shows it.
fn table(cases: &[Case]) -> String {
    let mut table = String::from("| What is wrong | The row | Used instead | Counted as |\n|---|---|---|---|\n");
    for Case(wrong, _, fate) in cases {
        let row = match fate {
            Fate::Used([], _) => format!("| {wrong} | is used | nothing is missing | features the reference does not know |\n"),
            Fate::Used(repairs, _) => {
                let counted: Vec<_> = repairs.iter().map(|repair| format!("`{}` `{}`", repair.field(), repair.fault())).collect();
                format!("| {wrong} | is used | {} | {} |\n", repairs[0].instead(), counted.join(", "))
            }
            Fate::Rejected(reason, known) => {
                let whose = if *known { "evidence about its caller" } else { "nothing" };
                format!("| {wrong} | is rejected | {whose} | rejected: `{}` |\n", reason.label())
            }
        };
        table.push_str(&row);
    }
    table
}

#[test]
fn every_row_of_the_table_of_bad_records_is_true() {
    for Case(wrong, bytes, fate) in cases() {
        match (decode_with(&mut decoder(), &bytes), fate) {
            (Ok(queries), Fate::Used(expected, holds)) => {
                assert_eq!((queries.len(), repairs(&queries[0]).as_slice()), (1, expected), "{wrong}");
                assert!(holds(&queries[0]), "{wrong}: {:?}", queries[0]);
            }
            (Err(rejection), Fate::Rejected(reason, known)) => {
                assert_eq!(rejection.reason, reason, "{wrong}: {rejection}");
                let caller = rejection.caller.map(|caller| (caller.address.to_string(), caller.account));
                let expected = known.then(|| ("203.0.113.7".to_owned(), "acct-42".to_owned()));
                assert_eq!(caller, expected, "{wrong}");
            }
            (became, _) => panic!("{wrong}: {became:?}"),
        }
    }
}

#[test]
fn the_page_shows_the_table_and_every_repair_is_in_it() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/bad-records.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let table = table(&cases());
    let (start, end) = ("<!-- table -->\n\n", "\n<!-- end of table -->");
    let (before, rest) = page.split_once(start).expect("the beginning of the table");
    let (shown, after) = rest.split_once(end).expect("the end of the table");
    if std::env::var_os("TRIPLINE_UPDATE").is_some() {
        return std::fs::write(&path, format!("{before}{start}{table}{end}{after}")).unwrap();
    }
    assert!(shown == table, "docs/bad-records.md is stale: TRIPLINE_UPDATE=1 writes it anew");
    let told: Vec<Repair> = cases()
        .iter()
        .flat_map(|Case(.., fate)| match fate {
            Fate::Used(repairs, _) => repairs.to_vec(),
            Fate::Rejected(..) => Vec::new(),
        })
        .collect();
    // A list that is too short and a call in two halves need another configuration; tests of their own have them.
    let untold = Repair::ALL
        .into_iter()
        .filter(|repair| !told.contains(repair) && ![Repair::AddressListShort, Repair::ResponseMissing].contains(repair));
    assert_eq!(untold.collect::<Vec<_>>(), []);
}

#[test]
fn of_two_values_the_last_that_can_be_used_counts() {
    for (part, twice) in [
        (r#""model":"m""#, r#""model":"m","model":"other""#),
        (r#""timestamp":"2026-03-02T09:15:00Z""#, r#""timestamp":"2026-03-02T09:15:00Z","timestamp":"never""#),
        (FEATURES, &format!(r#"{FEATURES},"features":7"#)),
    ] {
        let queries = decode_with(&mut decoder(), &with(part, twice)).unwrap_or_else(|rejection| panic!("{twice}: {rejection}"));
        assert!(from_caller(&queries[0]) && queries[0].repairs.contains(Repair::NameRepeated), "{twice}");
    }
}

#[test]
fn a_model_whose_name_holds_bytes_that_are_no_text_hides_nobody() {
    for name in [&br#""m\ud800""#[..], b"\"m\xff\"", b"null", b"[]"] {
        let sound = with(r#""m""#, "\u{1}");
        let at = sound.iter().position(|&byte| byte == 1).unwrap();
        let bytes = [&sound[..at], name, &sound[at + 1..]].concat();
        let rejection = decode_with(&mut decoder(), &bytes).unwrap_err();
        assert_ne!(rejection.reason, RejectReason::UnknownModel, "{rejection}");
        let caller = rejection.caller.expect("a caller");
        assert_eq!((caller.account.as_str(), caller.model.as_str(), caller.request_id.as_str()), ("acct-42", "", "r-1"));
        assert_eq!(caller.time.map(|time| time.to_string()).as_deref(), Some("2026-03-02T09:15:00.000Z"));
    }
}

#[test]
fn a_mapped_record_is_repaired_as_a_canonical_one() {
    let mapping = Mapping {
        source_ip: "/caller/ip".into(),
        features: "/call/in".into(),
        prediction: "/call/out".into(),
        ..Mapping::default()
    };
    let text = r#"{"timestamp":1772442900,"model":"m","caller":{"ip":["198.51.100.7","203.0.113.7"]},"call":{"in":{"age":39,"work":NaN,"loud":[1]},"out":{}}}"#;
    let queries = decode_with(&mut mapped(mapping.clone()), text.as_bytes()).unwrap();
    assert_eq!(repairs(&queries[0]), [Repair::AddressList, Repair::PredictionUnreadable, Repair::FeatureNested, Repair::NumberNan]);
    assert_eq!((queries[0].address.to_string().as_str(), queries[0].row[0]), ("203.0.113.7", Cell::number(39.0)));
    let rejection = decode_with(&mut mapped(mapping), &text.as_bytes()[..text.len() - 30]).unwrap_err();
    assert_eq!(rejection.caller.map(|caller| caller.address.to_string()).as_deref(), Some("203.0.113.7"));
}

proptest! {
    /// A sound record with any bytes put anywhere into it is used or rejected, and no repair makes an invalid query.
    #[test]
    fn any_bytes_within_a_record_end_in_something(at in 0_usize..300, bytes in prop::collection::vec(any::<u8>(), 0..12), cut in 0_usize..400) {
        let mut record = with("0.83", "0.84");
        let at = at.min(record.len());
        record.splice(at..at, bytes);
        record.truncate(record.len().saturating_sub(cut / 8));
        if let Ok(queries) = decode_with(&mut decoder(), &record) {
            for query in queries {
                prop_assert!(query.account.len() <= MAX_TEXT_BYTES && query.request_id.len() <= MAX_TEXT_BYTES);
                prop_assert!(query.latency_ms.is_none_or(|latency| latency >= 0.0));
                prop_assert_eq!((query.model.as_str(), query.row.len()), ("m", 3));
            }
        }
    }
}
