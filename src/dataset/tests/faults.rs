//! Every fault says where it is and what to do.

use std::io::Write as _;
use std::path::Path;

use super::super::{DEFAULT_MAX_ROWS, MAX_RECORD, MAX_TEXT, ReadOptions, read, read_bytes};
use super::load;

/// The message of the fault that a text has.
fn fault(text: &str) -> String {
    load("t.csv", text).unwrap_err().to_string()
}

fn json_fault(text: &str) -> String {
    load("t.jsonl", text).unwrap_err().to_string()
}

#[test]
fn a_ragged_row_names_its_line_even_behind_a_quoted_line_break() {
    let message = fault("a,b,prediction\n1,\"x\ny\",1\n1,2\n");
    assert_eq!(message, "t.csv, line 4: 2 fields where the header has 3; look for a missing or extra delimiter or quote");
}

#[test]
fn a_missing_prediction_column_lists_the_columns_there_are() {
    let message = fault("age,score\n1,2\n");
    assert_eq!(
        message,
        "t.csv: there is no column 'prediction' for the prediction; the columns are: age, score; choose one with --prediction"
    );
    let lines = json_fault("{\"age\":1,\"score\":2}");
    assert!(lines.contains("the columns are: age, score"), "{lines}");
}

#[test]
fn names_that_occur_twice_or_not_at_all_are_refused() {
    assert!(fault("a,a,prediction\n1,2,3\n").starts_with("t.csv, line 1, column 'a': the name occurs twice"));
    assert!(fault("a,prediction,prediction\n1,2,3\n").starts_with("t.csv, line 1, column 'prediction': the name occurs twice"));
    assert!(fault("a,,prediction\n0,1,2\n").starts_with("t.csv, line 1: column 2 has no name"));
    assert!(
        json_fault("{\"a\":1,\"prediction\":1}\n{\"a\":1,\"a\":2,\"prediction\":1}").starts_with("t.jsonl, line 2, column 'a'")
    );
    assert!(json_fault("{\"features\":{\"a\":1},\"features\":{\"b\":1}}").contains("column 'features'"));
}

#[test]
fn a_column_to_leave_out_that_is_not_there_is_a_slip_and_not_ignored() {
    let options = ReadOptions { drop: vec!["ID".into()], ..ReadOptions::default() };
    let message = read_bytes("t.csv", b"id,prediction\n1,2\n", &options).unwrap_err().to_string();
    assert_eq!(message, "t.csv: there is no column 'ID' to leave out; the columns are: id");
}

#[test]
fn bad_json_names_line_and_place() {
    let good = "{\"a\":1,\"prediction\":1}\n";
    for (line, part) in [
        ("{\"a\":1", "EOF while parsing an object, at byte 6"),
        ("[1,2]", "the line is a list"),
        ("{\"a\":Infinity,\"prediction\":1}", "expected value, at byte 6"),
        ("{\"a\":1e400,\"prediction\":1}", "number out of range"),
        ("{\"a\":[1],\"prediction\":1}", "column 'a': the value is a list"),
        ("{\"a\":1,\"prediction\":[1]}", "column 'prediction': the value is a list"),
        ("{\"a\":1,\"prediction\":{\"x\":1.5}}", "the probability of class 'x' is 1.5"),
        ("{\"a\":1,\"prediction\":{\"x\":\"y\"}}", "the probability of class 'x' is a text"),
        ("{\"features\":{\"a\":1},\"prediction\":1}", "earlier lines were flat objects"),
    ] {
        let message = json_fault(&format!("{good}{line}\n"));
        assert!(message.starts_with("t.jsonl, line 2") && message.contains(part), "{line}: {message}");
    }
    let deep = format!("{{\"a\":{}", "[".repeat(10_000));
    assert!(json_fault(&deep).contains("recursion limit exceeded"));
    let array = load("t.json", "[{\"a\":1}]").unwrap_err().to_string();
    assert!(array.contains("jq -c"), "{array}");
}

#[test]
fn one_form_of_answer_is_kept_to_the_end() {
    let scalar = "{\"a\":1,\"prediction\":1}\n";
    let classes = "{\"a\":1,\"prediction\":{\"x\":1}}\n";
    let first = json_fault(&format!("{scalar}{classes}"));
    assert!(first.ends_with(
        "the prediction is probabilities by class here and a single value in earlier rows; all rows must have one form"
    ));
    assert!(json_fault(&format!("{classes}{scalar}")).starts_with("t.jsonl, line 2, column 'prediction'"));
}

#[test]
fn what_is_not_utf8_names_line_and_column() {
    let options = ReadOptions::default();
    let message = read_bytes("t.csv", b"a,b,prediction\n1,2,3\n1,\xff,3\n", &options).unwrap_err().to_string();
    assert_eq!(message, "t.csv, line 3, column 'b': not UTF-8 text; save the file as UTF-8");
    let wide: Vec<u8> = "a,prediction\n1,2\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert!(read_bytes("t.csv", &[b"\xff\xfe", &wide[..]].concat(), &options).unwrap_err().to_string().contains("UTF-8"));
}

#[test]
fn nothing_to_read_is_said_plainly() {
    assert_eq!(fault(""), "t.csv: the file is empty");
    assert_eq!(fault("a,prediction\n"), "t.csv: the file has no rows");
    assert_eq!(json_fault("\n\n"), "t.jsonl: the file has no rows");
    let empty = zstd::encode_all(&b""[..], 1).unwrap();
    assert_eq!(read_bytes("t", &empty, &ReadOptions::default()).unwrap_err().to_string(), "t: the file is empty");
    let gone = read(Path::new("/nonexistent/t.csv"), &ReadOptions::default(), &|_| ()).unwrap_err().to_string();
    assert_eq!(gone, "/nonexistent/t.csv: there is no such file");
    let folder = read(Path::new("/"), &ReadOptions::default(), &|_| ()).unwrap_err().to_string();
    assert_eq!(folder, "/: this is a folder; name one file in it");
}

#[test]
fn broken_compression_is_named_and_never_a_short_dataset() {
    let rows = "a,prediction\n".to_owned() + &(0..5000).map(|i| format!("{i},{}\n", i * 7 % 11)).collect::<String>();
    let zst = zstd::encode_all(rows.as_bytes(), 1).unwrap();
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(rows.as_bytes()).unwrap();
    let gz = encoder.finish().unwrap();
    for (name, packed) in [("zstd", zst), ("gzip", gz)] {
        let mut broken = packed.clone();
        let middle = broken.len() / 2;
        broken[middle] ^= 0xff;
        for bytes in [&packed[..packed.len() - 1], &packed[..packed.len() / 2], &broken] {
            let message = read_bytes("t.csv", bytes, &ReadOptions::default()).unwrap_err().to_string();
            // What a broken stream decodes to may be a ragged row before the checksum tells; both are refusals with a place.
            assert!(message.contains(&format!("the {name} data is damaged or cut off")) || message.contains("line"), "{message}");
        }
        let twice = zstd::encode_all(&packed[..], 1).unwrap();
        assert!(read_bytes("t", &twice, &ReadOptions::default()).unwrap_err().to_string().contains("compressed twice"));
    }
}

#[test]
fn an_unclosed_quote_ends_at_the_bound_and_not_at_the_end_of_memory() {
    let mut text = "a,prediction\n\"open".to_owned();
    text.push_str(&"x,1\n".repeat(MAX_RECORD / 2));
    assert!(fault(&text).contains("look for a quote that is not closed"));
    let line = format!("{{\"a\":\"{}\"}}", "x".repeat(MAX_RECORD));
    assert!(json_fault(&line).contains("the record is longer than"));
    let long = format!("a,prediction\n{},1\n", "x".repeat(MAX_TEXT + 1));
    assert_eq!(
        fault(&long),
        format!(
            "t.csv, line 2, column 'a': the text has {} bytes, more than {MAX_TEXT}; leave the column out with --drop",
            MAX_TEXT + 1
        )
    );
}

#[test]
fn too_many_columns_are_refused_before_they_are_held() {
    let header: Vec<String> = (0..5000).map(|i| format!("c{i}")).collect();
    assert!(fault(&format!("{},prediction\n", header.join(","))).contains("more than 4096 columns"));
    let growing: String = (0..5000).map(|i| format!("{{\"c{i}\":1,\"prediction\":1}}\n")).collect();
    assert!(json_fault(&growing).contains("more than 4096 columns"));
    assert_eq!(ReadOptions::default().max_rows, DEFAULT_MAX_ROWS);
}
