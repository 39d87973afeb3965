//! More kinds of logs and tables than `tests/data/cases` has, after public documentation: each is written here, and read or refused with a
//! remedy. `docs/formats.md` has the table.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::support::data::text;
use super::support::program::{self, Ended};

/// Forty calls of the model `adult`.
fn calls() -> Vec<Value> {
    let case = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/cases/address_with_port.jsonl.zst");
    let lines = String::from_utf8(zstd::decode_all(std::fs::File::open(case).unwrap()).unwrap()).unwrap();
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A call with its features beside the other fields.
fn flat(call: &Value) -> Value {
    let mut record = call["features"].clone();
    let fields = [("ts", &call["timestamp"]), ("client_ip", &call["source_ip"]), ("score", &call["prediction"])];
    record.as_object_mut().unwrap().extend(fields.map(|(name, value)| (name.to_owned(), value.clone())));
    record
}

struct Kinds {
    folder: tempfile::TempDir,
    profile: PathBuf,
}

// === impl Kinds ===

impl Kinds {
    fn new() -> Self {
        let profile = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/adult/reference.json");
        Self { folder: tempfile::tempdir().unwrap(), profile }
    }

    /// Replays a log of these bytes.
    fn replay(&self, name: &str, bytes: &[u8]) -> Ended {
        let log = self.folder.path().join(name);
        std::fs::write(&log, bytes).unwrap();
        program::run(&["replay", text(&log), "--reference", text(&self.profile)])
    }

    /// All forty calls are read, nothing had to be repaired, and the sentence has these words.
    #[track_caller]
    fn is_read(&self, name: &str, bytes: &[u8], words: &str) {
        let ended = self.replay(name, bytes);
        ended.must_succeed();
        assert!(ended.out.contains("accepted 40, late 0, rejected 0"), "{name}:\n{}{}", ended.out, ended.err);
        assert!(!ended.out.contains("mismatch") && !ended.out.contains("one field less"), "{name}:\n{}", ended.out);
        assert!(ended.err.contains(words), "{name}: '{words}' is not in {}", ended.err);
    }
}

fn lines(records: impl Iterator<Item = String>, end: &str) -> Vec<u8> {
    records.flat_map(|record| (record + end).into_bytes()).collect()
}

/// A table with the names of `flat`.
fn table(calls: &[Value], delimiter: &str, cell: impl Fn(&str, &Value) -> String) -> String {
    let first = flat(&calls[0]);
    let names: Vec<&String> = first.as_object().unwrap().keys().collect();
    let mut text = names.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(delimiter) + "\r\n";
    for call in calls {
        let row = flat(call);
        text += &(names.iter().map(|name| cell(name, &row[name.as_str()])).collect::<Vec<_>>().join(delimiter) + "\r\n");
    }
    text
}

fn plain(_: &str, value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[test]
fn lines_of_loggers_and_of_containers_are_read() {
    let (kinds, calls) = (Kinds::new(), calls());
    let all = || calls.iter();
    let stamped =
        |words: &'static str| lines(all().map(move |call| format!("{} {words}{call}", call["timestamp"].as_str().unwrap())), "\n");
    kinds.is_read("cri.log", &stamped("stdout F "), "what stands before each record is left out");
    kinds.is_read("cloudwatch.log", &stamped(""), "what stands before each record is left out");
    kinds.is_read("python.log", &lines(all().map(|call| format!("INFO:predict:{call}")), "\n"), "what stands before each record");
    kinds.is_read(
        "encoded.jsonl",
        &lines(all().map(|call| json!(call.to_string()).to_string()), "\n"),
        "a JSON text within a line",
    );
    kinds.is_read("windows.jsonl", &lines(all().map(Value::to_string), "\r\n"), "");
    let docker = |inner: &dyn Fn(&Value) -> Value| {
        lines(
            all().map(|call| json!({"log":format!("{}\n", inner(call)),"stream":"stdout","time":call["timestamp"]}).to_string()),
            "\n",
        )
    };
    kinds.is_read("docker.jsonl", &docker(&flat), "a record within /log");
    kinds.is_read("docker_canonical.jsonl", &docker(&Value::clone), "a record within /log: Tripline's own layout");
    let capitals = |call: &Value| -> Value {
        flat(call)
            .as_object()
            .unwrap()
            .iter()
            .map(|(name, value)| (name.to_uppercase(), value.clone()))
            .collect::<serde_json::Map<_, _>>()
            .into()
    };
    kinds.is_read("snowflake.jsonl", &lines(all().map(|call| capitals(call).to_string()), "\n"), "in another case (AGE for age)");
}

#[test]
fn tables_of_other_countries_and_databases_are_read() {
    let (kinds, calls) = (Kinds::new(), calls());
    kinds.is_read("bars.csv", table(&calls, "|", plain).as_bytes(), "recognised CSV");
    let excel = format!("\u{feff}{}", table(&calls, ";", plain));
    kinds.is_read("excel.csv", excel.as_bytes(), "recognised CSV");
    let capitals = table(&calls, ",", plain);
    let (header, rows) = capitals.split_once("\r\n").unwrap();
    kinds.is_read("capitals.csv", format!("{}\r\n{rows}", header.to_uppercase()).as_bytes(), "in another case");
    let german = table(&calls, ";", |name, value| match name {
        "age" => format!("{},0", value),
        "fnlwgt" => format!("{}.{:03},50", value.as_u64().unwrap() / 1000, value.as_u64().unwrap() % 1000),
        "score" => value.to_string().replace('.', ","),
        "ts" => {
            let iso = value.as_str().unwrap();
            format!("{}.{}.{} {} UTC", &iso[8..10], &iso[5..7], &iso[..4], &iso[11..19])
        }
        name => plain(name, value),
    });
    kinds.is_read("german.csv", german.as_bytes(), "numbers with a decimal comma");
    let american =
        table(&calls, ",", |name, value| if name == "ts" { "03/02/2026 09:15:00".to_owned() } else { plain(name, value) });
    kinds
        .replay("american.csv", american.as_bytes())
        .must_fail(65, &["may have the day or the month first", "2026-03-02 09:15:00"]);
}

#[test]
fn what_is_no_log_of_calls_is_refused_with_what_to_do() {
    let (kinds, calls) = (Kinds::new(), calls());
    let joined = |between: &str| calls.iter().map(Value::to_string).collect::<Vec<_>>().join(between);
    let rows: Vec<Value> = calls.iter().map(flat).collect();
    let by_row: Value =
        rows.iter().enumerate().map(|(nth, row)| (nth.to_string(), row.clone())).collect::<serde_json::Map<_, _>>().into();
    let azure = |kind: &str, data: Value| {
        json!({"specversion":"1.0","id":"i","type":format!("azureml.inference.{kind}"),"time":"2026-03-02T09:15:00Z","data":[data],"correlationid":"c"}).to_string()
    };
    for (name, bytes, word) in [
        ("firehose.json", joined(""), "several JSON objects stand in one line"),
        ("mac.json", joined("\r"), "several JSON objects stand in one line"),
        ("records.json", json!(rows).to_string(), "lines=True"),
        ("by_row.json", by_row.to_string(), "lines=True"),
        ("split.json", json!({"columns":["age"],"index":[0],"data":[[1]]}).to_string(), "lines=True"),
        (
            "azure.jsonl",
            azure("inputs", calls[0]["features"].clone()) + "\n" + &azure("outputs", json!({"p":0.5})),
            "correlationid",
        ),
    ] {
        kinds.replay(name, bytes.as_bytes()).must_fail(65, &[word]);
    }
}

/// A training table of six hundred rows.
fn training(prediction: impl Fn(u32) -> String, extra: impl Fn(u32) -> String) -> String {
    let row = |nth: u32| {
        let (age, spread) = (18 + nth * 7 % 60, nth.wrapping_mul(2_654_435_761) >> 16);
        format!("{age};{};{};{}\n", extra(nth), ["clerk", "sales"][(spread % 2) as usize], prediction(spread % 1000))
    };
    std::iter::once("age;extra;job;prediction\n".to_owned()).chain((0..600).map(row)).collect()
}

#[test]
fn training_tables_of_other_countries_are_read_with_the_option_that_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let (train, out) = (folder.path().join("train.csv"), folder.path().join("r.json"));
    let fit = |table: &str, options: &[&str]| {
        std::fs::write(&train, table).unwrap();
        let mut args = vec!["fit", text(&train), "--model", "m", "-o", text(&out)];
        args.extend(options);
        program::run(&args)
    };
    let comma = training(|p| format!("0,{p:03}"), |nth| format!("{}.{:03},5", 1 + nth % 9, nth));
    fit(&comma, &[]).must_fail(65, &["is text, not a number", "--decimal-comma"]);
    let read = fit(&comma, &["--decimal-comma"]);
    assert!(read.must_succeed().out.contains("prediction score") && !read.out.contains("warning"), "{}", read.out);
    let thousands = training(|p| format!("0.{p:03}"), |nth| format!("{},{:03}.50", 1 + nth % 9, nth));
    let said = fit(&thousands, &[]);
    assert!(said.must_succeed().out.contains("read them with --thousands"), "{}", said.out);
    let read = fit(&thousands, &["--thousands"]);
    assert!(!read.must_succeed().out.contains("warning") && read.out.contains("extra    continuous"), "{}", read.out);
    fit(&thousands, &["--thousands", "--decimal-comma"]).must_fail(64, &["cannot be used with"]);
    let dates = fit(&training(|p| format!("0.{p:03}"), |nth| format!("{:02}.{:02}.2021", 1 + nth % 28, 1 + nth % 12)), &[]);
    assert!(dates.must_succeed().out.contains("'extra' holds dates") && dates.out.contains("--drop extra"), "{}", dates.out);
    let leaked = fit(
        &training(|p| format!("0.{p:03}"), |nth| u32::from((nth.wrapping_mul(2_654_435_761) >> 16) % 1000 >= 500).to_string()),
        &[],
    );
    assert!(leaked.must_succeed().out.contains("goes with the model's decision"), "{}", leaked.out);
    fit(&training(|p| format!("\"[0.5, 0.{p:03}]\""), |nth| nth.to_string()), &[]).must_fail(65, &["score of one class"]);
}

#[test]
fn a_renamed_column_is_named_with_the_setting_and_read_with_it() {
    let kinds = Kinds::new();
    let mut records = calls();
    for record in &mut records {
        let features = record["features"].as_object_mut().unwrap();
        let hours = features.remove("hours_per_week").unwrap();
        features.insert("weekly_hours_worked".to_owned(), hours);
    }
    // Enough rows for a comparison.
    let bytes = lines(records.iter().flat_map(|record| std::iter::repeat_n(record.to_string(), 6)), "\n");
    let said = kinds.replay("renamed.jsonl", &bytes);
    let remedy = "\"weekly_hours_worked\" = \"hours_per_week\" under [decode.rename]";
    assert!(said.must_succeed().out.contains(remedy), "{}", said.out);
    let config = kinds.folder.path().join("c.toml");
    let mut file = std::fs::File::create(&config).unwrap();
    file.write_all(b"[decode.rename]\nweekly_hours_worked = \"hours_per_week\"\n").unwrap();
    let log = kinds.folder.path().join("renamed.jsonl");
    let args = ["replay", text(&log), "--reference", text(&kinds.profile), "--config", text(&config)];
    let read = program::run(&args);
    assert!(!read.must_succeed().out.contains("mismatch"), "{}", read.out);
    std::fs::write(&config, "[decode.rename]\nweekly_hours_worked = \"hours\"\n").unwrap();
    program::run(&args).must_fail(64, &["decode.rename", "'hours'"]);
}
