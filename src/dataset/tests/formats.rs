//! One dataset in many spellings.

use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DoubleType, FloatType, Int64Type};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;

use super::super::open::{Format, Packing};
use super::super::{ReadOptions, read, read_bytes};
use super::{cells, load, names, text};
use crate::reference::Raw;
use crate::reference::number_style::NumberStyle;

const CSV: &str = "age,job,member,prediction\n39,clerk,true,0.25\n,\"shop, own\",false,0.5\n41.5,clerk,true,1\n";

#[test]
fn csv_cells_are_numbers_booleans_texts_or_missing() {
    let loaded = load("t.csv", CSV).unwrap();
    assert_eq!(names(&loaded), ["age", "job", "member"]);
    assert_eq!(cells(&loaded, "age"), [Raw::Number(39.0), Raw::Missing, Raw::Number(41.5)]);
    assert_eq!(cells(&loaded, "job"), [text("clerk"), text("shop, own"), text("clerk")]);
    assert_eq!(cells(&loaded, "member"), [Raw::Boolean(true), Raw::Boolean(false), Raw::Boolean(true)]);
    assert_eq!(loaded.dataset.predictions, [Raw::Number(0.25), Raw::Number(0.5), Raw::Number(1.0)]);
    assert_eq!((loaded.format, loaded.packing, loaded.rows_read), (Format::Csv, Packing::Plain, 3));
}

#[test]
fn json_lines_flat_or_as_events_mean_the_same_dataset() {
    let flat = r#"{"age":39,"job":"clerk","member":true,"prediction":0.25}
{"job":"shop, own","member":false,"prediction":0.5,"age":null}

{"age":41.5,"job":"clerk","member":true,"prediction":1}
"#;
    let events = r#"{"timestamp":"2026-03-02T09:15:00Z","source_ip":"203.0.113.7","features":{"age":39,"job":"clerk","member":true},"prediction":0.25}
{"features":{"job":"shop, own","member":false},"prediction":0.5}
{"prediction":1,"features":{"age":41.5,"job":"clerk","member":true}}"#;
    let csv = load("t.csv", CSV).unwrap();
    for (name, content) in [("flat", flat), ("events", events)] {
        let loaded = load(name, content).unwrap();
        assert_eq!(loaded.format, Format::Jsonl, "{name}");
        assert_eq!(loaded.dataset, csv.dataset, "{name}");
    }
    assert_eq!(load("flat", flat).unwrap().lines, [1, 2, 4], "a blank line counts as a line");
}

#[test]
fn compression_is_found_by_content_and_looked_through() {
    let plain = load("t.csv", CSV).unwrap();
    let gzip = |text: &str| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    };
    let (head, tail) = CSV.split_at(30);
    let members = [gzip(head), gzip(tail)].concat();
    let frames = [zstd::encode_all(head.as_bytes(), 1).unwrap(), zstd::encode_all(tail.as_bytes(), 1).unwrap()].concat();
    for (bytes, packing) in [(gzip(CSV), Packing::Gzip), (members, Packing::Gzip), (frames, Packing::Zstd)] {
        let loaded = read_bytes("t", &bytes, &ReadOptions::default()).unwrap();
        assert_eq!((&loaded.dataset, loaded.packing), (&plain.dataset, packing));
    }
}

#[test]
fn dialects_of_csv_are_understood() {
    let plain = load("t.csv", CSV).unwrap();
    let marked = format!("\u{feff}{CSV}");
    let windows = CSV.replace('\n', "\r\n");
    let blanks = "age , job,member, prediction\n39, clerk , true, 0.25\n ,\"shop, own \", false, 0.5\n41.5,clerk,true,1\n";
    let semicolons = "age;job;member;prediction\n39;clerk;true;0.25\n;\"shop, own\";false;0.5\n41.5;clerk;true;1";
    let tabs = semicolons.replace(';', "\t").replace('"', "");
    for dialect in [&marked, &windows, blanks, semicolons, &tabs] {
        assert_eq!(load("t", dialect).unwrap().dataset, plain.dataset, "{dialect}");
    }
}

#[test]
fn a_number_that_would_print_differently_stays_the_text_it_is() {
    let loaded = load("t.csv", "zip,prediction\n00501,1\n1e3,1\n-0,1\n10.0,1\n12345678901234567890,1\n0.1,1\n").unwrap();
    let expected = [text("00501"), text("1e3"), text("-0"), text("10.0"), text("12345678901234567890"), Raw::Number(0.1)];
    assert_eq!(cells(&loaded, "zip"), expected);
    let options = ReadOptions { verbatim: vec!["zip".into()], ..ReadOptions::default() };
    let verbatim = read_bytes("t.csv", b"zip,prediction\n501,1\n", &options).unwrap();
    assert_eq!(cells(&verbatim, "zip"), [text("501")]);
}

#[test]
fn declared_words_mean_missing_in_features_and_predictions() {
    let options = ReadOptions { missing: vec!["NaN".into(), "?".into()], ..ReadOptions::default() };
    let loaded = read_bytes("t.csv", b"a,b,prediction\nNaN,?,0.5\n1,x,NaN\n", &options).unwrap();
    assert_eq!(cells(&loaded, "a"), [Raw::Missing, Raw::Number(1.0)]);
    assert_eq!(cells(&loaded, "b"), [Raw::Missing, text("x")]);
    assert_eq!(loaded.dataset.predictions, [Raw::Number(0.5), Raw::Missing]);
}

#[test]
fn probabilities_come_from_json_objects_in_lines_and_in_cells() {
    let expected = vec![vec![("no".into(), 0.25), ("yes".into(), 0.75)], Vec::new()];
    let lines = "{\"x\":1,\"prediction\":{\"no\":0.25,\"yes\":0.75}}\n{\"x\":2,\"prediction\":null}";
    let csv = "x,prediction\n1,\"{\"\"no\"\":0.25,\"\"yes\"\":0.75}\"\n2,\n";
    for content in [lines, csv] {
        let loaded = load("t", content).unwrap();
        assert_eq!(loaded.dataset.probabilities, expected);
        assert_eq!(loaded.dataset.predictions, []);
    }
}

#[test]
fn nested_features_are_flattened_with_dots_as_in_decoding() {
    let loaded = load("t", r#"{"features":{"who":{"age":3,"home":{"zip":"9"}},"x":1},"prediction":0.5}"#).unwrap();
    assert_eq!(names(&loaded), ["who.age", "who.home.zip", "x"]);
    let array = load("t", r#"{"features":[1,null,"a"],"prediction":0.5}"#).unwrap();
    assert_eq!(names(&array), ["f0", "f1", "f2"]);
}

#[test]
fn events_of_other_models_are_left_out_and_counted() {
    let log = "{\"model\":\"a\",\"features\":{\"x\":1},\"prediction\":1}\n{\"model\":\"b\",\"features\":{\"y\":1},\"prediction\":1}\n\
               {\"features\":{\"x\":2},\"prediction\":1}";
    let options = |model: &str| ReadOptions { model: Some(model.into()), ..ReadOptions::default() };
    let loaded = read_bytes("t", log.as_bytes(), &options("a")).unwrap();
    assert_eq!((loaded.rows_read, loaded.other_models, names(&loaded)), (2, 1, vec!["x"]));
    let log = log.lines().take(2).collect::<Vec<_>>().join("\n");
    let error = read_bytes("t", log.as_bytes(), &options("c")).unwrap_err();
    assert_eq!(error.to_string(), "t: the log has no event of model 'c'; it has events of: a, b");
}

#[test]
fn columns_are_left_out_before_they_can_do_harm() {
    let options = ReadOptions { drop: vec!["id".into(), "tags".into()], ..ReadOptions::default() };
    let line = br#"{"id":1,"x":2,"tags":{"a":[1,2]},"prediction":3}"#;
    assert_eq!(names(&read_bytes("t", line, &options).unwrap()), ["x"]);
}

/// Writes three rows as Parquet, the second without an age: what pandas or Spark would have written, and a list that no
/// feature can be.
fn write_parquet(path: &Path, ages: [f64; 2]) {
    let schema = "message t { optional double age; required float small; required binary job (UTF8); required boolean member;
                  required group prediction { required double no; required double yes; } repeated int64 tags; }";
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let mut file = SerializedFileWriter::new(std::fs::File::create(path).unwrap(), schema, Arc::default()).unwrap();
    let mut group = file.next_row_group().unwrap();
    let jobs: Vec<ByteArray> = ["clerk", "shop, own", "clerk"].map(ByteArray::from).to_vec();
    for position in 0.. {
        let Some(mut column) = group.next_column().unwrap() else { break };
        match position {
            0 => column.typed::<DoubleType>().write_batch(&ages, Some(&[1, 0, 1]), None),
            1 => column.typed::<FloatType>().write_batch(&[0.1, 0.2, 0.3], None, None),
            2 => column.typed::<ByteArrayType>().write_batch(&jobs, None, None),
            3 => column.typed::<BoolType>().write_batch(&[true, false, true], None, None),
            4 => column.typed::<DoubleType>().write_batch(&[0.75, 0.5, 0.0], None, None),
            5 => column.typed::<DoubleType>().write_batch(&[0.25, 0.5, 1.0], None, None),
            _ => column.typed::<Int64Type>().write_batch(&[7, 8, 9], Some(&[1, 1, 1]), Some(&[0, 0, 0])),
        }
        .unwrap();
        column.close().unwrap();
    }
    group.close().unwrap();
    file.close().unwrap();
}

#[test]
fn parquet_means_the_same_dataset() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.parquet");
    write_parquet(&path, [39.0, 41.5]);
    let options = ReadOptions { drop: vec!["tags".into()], ..ReadOptions::default() };
    let told = std::cell::Cell::new(0);
    let loaded = read(&path, &options, &|bytes| told.set(told.get() + bytes)).unwrap();
    let csv = load("t.csv", CSV).unwrap();
    assert_eq!(loaded.format, Format::Parquet);
    for column in ["age", "job", "member"] {
        assert_eq!(cells(&loaded, column), cells(&csv, column), "{column}");
    }
    assert_eq!(cells(&loaded, "small"), [0.1, 0.2, 0.3].map(Raw::Number), "a 32-bit float is what its spelling says");
    assert_eq!(loaded.dataset.probabilities[0], [("no".to_owned(), 0.75), ("yes".to_owned(), 0.25)]);
    assert_eq!(told.get(), std::fs::metadata(&path).unwrap().len(), "the bar ends full");
}

#[test]
fn what_parquet_holds_and_no_feature_can_be_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.parquet");
    write_parquet(&path, [39.0, f64::NAN]);
    let fault = |options: &ReadOptions| read(&path, options, &|_| ()).unwrap_err().to_string();
    let at = path.display();
    let list = fault(&ReadOptions::default());
    assert!(list.starts_with(&format!("{at}, line 1, column 'tags': the value is a list")), "{list}");
    let drop = ReadOptions { drop: vec!["tags".into()], ..ReadOptions::default() };
    let nan = fault(&drop);
    assert!(nan.starts_with(&format!("{at}, line 3, column 'age': 'NaN' is not a finite number")), "{nan}");
    let loaded = read(&path, &ReadOptions { missing: vec!["NaN".into()], ..drop }, &|_| ()).unwrap();
    assert_eq!(cells(&loaded, "age")[2], Raw::Missing);
}

#[test]
fn damaged_parquet_is_an_error_wherever_the_damage_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.parquet");
    write_parquet(&path, [39.0, 41.5]);
    let whole = std::fs::read(&path).unwrap();
    let options = ReadOptions { drop: vec!["tags".into()], ..ReadOptions::default() };
    let expected = read(&path, &options, &|_| ()).unwrap().dataset;
    let mut refused = 0;
    // Every byte in turn: pages, page headers, footer. The reader may not see each change, but it must come back.
    for at in 4..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 0xff;
        std::fs::write(&path, &bytes).unwrap();
        refused += usize::from(read(&path, &options, &|_| ()).map_or(true, |loaded| loaded.dataset != expected));
    }
    assert!(refused > whole.len() / 4, "{refused} of {}", whole.len());
    std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    let cut = read(&path, &options, &|_| ()).unwrap_err().to_string();
    assert!(cut.contains("not readable as Parquet"), "{cut}");
}

#[test]
fn numbers_are_read_as_the_country_of_the_file_writes_them_once_it_is_said() {
    let german = "income;share;code;prediction\n1.234,5;3,5;1,2;0,25\n7;4;1,3;0,5\n1.234.567;;x;1\n";
    let english = "income,share,code,prediction\n\"1,234.5\",3.5,\"1,2\",0.25\n7,4,\"1,3\",0.5\n\"1,234,567\",,x,1\n";
    for (content, numbers) in [(german, NumberStyle::DecimalComma), (english, NumberStyle::Thousands)] {
        let options = ReadOptions { numbers, verbatim: vec!["code".into()], ..ReadOptions::default() };
        let loaded = read_bytes("t.csv", content.as_bytes(), &options).unwrap();
        assert_eq!(cells(&loaded, "income"), [1234.5, 7.0, 1_234_567.0].map(Raw::Number), "{numbers:?}");
        assert_eq!(cells(&loaded, "share"), [Raw::Number(3.5), Raw::Number(4.0), Raw::Missing]);
        assert_eq!(cells(&loaded, "code"), [text("1,2"), text("1,3"), text("x")], "a declared category keeps its text");
        assert_eq!(loaded.dataset.predictions, [0.25, 0.5, 1.0].map(Raw::Number));
        let plain = load("t.csv", content).unwrap();
        assert_ne!(cells(&plain, "income")[0], Raw::Number(1234.5), "nothing is guessed");
    }
}

#[test]
fn infinity_in_json_lines_is_named_with_the_option_that_leaves_it_out() {
    let lines = "{\"x\":1,\"prediction\":0.5}\n{\"x\":-Infinity,\"prediction\":NaN}\n{\"x\":\"Infinity\",\"prediction\":1}\n";
    let message = load("t.jsonl", lines).unwrap_err().to_string();
    assert!(message.contains("t.jsonl, line 2") && message.contains("--missing=-Infinity"), "{message}");
    let options = ReadOptions { missing: vec!["-Infinity".into()], ..ReadOptions::default() };
    let loaded = read_bytes("t.jsonl", lines.as_bytes(), &options).unwrap();
    assert_eq!(cells(&loaded, "x"), [Raw::Number(1.0), Raw::Missing, text("Infinity")], "a text is no number");
    assert_eq!(loaded.dataset.predictions, [Raw::Number(0.5), Raw::Missing, Raw::Number(1.0)]);
}

/// A Parquet file of whole numbers with what pandas writes about them.
fn write_frame(path: &Path, columns: &[&str], about: &str) {
    let fields: String = columns.iter().map(|name| format!("required int64 {name}; ")).collect();
    let schema = Arc::new(parse_message_type(&format!("message schema {{ {fields} }}")).unwrap());
    let note = parquet::file::metadata::KeyValue::new("pandas".to_owned(), about.to_owned());
    let properties = parquet::file::properties::WriterProperties::builder().set_key_value_metadata(Some(vec![note])).build();
    let mut file = SerializedFileWriter::new(std::fs::File::create(path).unwrap(), schema, Arc::new(properties)).unwrap();
    let mut group = file.next_row_group().unwrap();
    while let Some(mut column) = group.next_column().unwrap() {
        column.typed::<Int64Type>().write_batch(&[3, 4, 5], None, None).unwrap();
        column.close().unwrap();
    }
    group.close().unwrap();
    file.close().unwrap();
}

#[test]
fn the_index_of_a_data_frame_is_no_column_and_its_durations_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.parquet");
    let about = r#"{"index_columns":["row"],"columns":[{"field_name":"took","numpy_type":"timedelta64[ns]"}]}"#;
    write_frame(&path, &["x", "took", "prediction", "row"], about);
    let fault = read(&path, &ReadOptions::default(), &|_| ()).unwrap_err().to_string();
    assert!(fault.contains("column 'took': the value is a duration") && fault.contains("--drop"), "{fault}");
    let options = ReadOptions { drop: vec!["took".into()], ..ReadOptions::default() };
    let loaded = read(&path, &options, &|_| ()).unwrap();
    assert_eq!((names(&loaded), &loaded.left_out), (vec!["x"], &vec!["row".to_owned()]));
    write_frame(&path, &["x", "prediction"], r#"{"index_columns":["prediction"]}"#);
    let kept = read(&path, &ReadOptions::default(), &|_| ()).unwrap();
    assert_eq!(kept.dataset.predictions.len(), 3, "the answer is one wherever it stands");
}
