//! Logs as people have them (`tests/data/cases`): each is replayed as its owner would, without a configuration or with the one setting
//! that the message names.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::support::data::{Cut, text};
use super::support::program::{self, Ended};

fn case(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/cases").join(name)
}

/// Replays a case with the settings of `[decode]`.
fn replay(name: &str, settings: &str) -> Ended {
    let folder = tempfile::tempdir().unwrap();
    let profile = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/adult/reference.json");
    let config = folder.path().join("replay.toml");
    std::fs::write(&config, format!("[decode]\n{settings}")).unwrap();
    let log = case(name);
    let mut args = vec!["replay", text(&log), "--reference", text(&profile)];
    if !settings.is_empty() {
        args.extend(["--config", text(&config)]);
    }
    program::run(&args)
}

/// Every call of the case is a row, and nothing had to be repaired.
#[track_caller]
fn is_read_whole(name: &str, settings: &str, rows: usize) -> Ended {
    let ended = replay(name, settings);
    ended.must_succeed();
    assert!(ended.out.contains(&format!("accepted {rows}, late 0, rejected 0")), "{name}:\n{}{}", ended.out, ended.err);
    for word in ["one field less", "mismatch"] {
        assert!(!ended.out.contains(word), "{name}: {word}\n{}", ended.out);
    }
    ended
}

#[test]
fn logs_of_serving_systems_are_recognised_in_one_line_and_read_whole() {
    for (name, recognised) in [
        ("kserve_request_response_pairs.jsonl.zst", "KServe"),
        ("open_inference_v2_named_columns.jsonl.zst", "Open Inference Protocol V2"),
        ("seldon_v1_names_ndarray.jsonl.zst", "Seldon"),
        ("sagemaker_capture_csv.jsonl.zst", "SageMaker"),
        ("sagemaker_capture_json.jsonl.zst", "SageMaker"),
        ("mlflow_dataframe_split_other_column_order.jsonl.zst", "dataframe_split"),
        ("two_class_probabilities.jsonl.zst", "object of named values at /x"),
        ("log.csv", "CSV"),
        ("log.parquet", "Parquet"),
    ] {
        let ended = is_read_whole(name, "", 40);
        let said: Vec<&str> = ended.err.lines().filter(|line| line.contains("recognised")).collect();
        assert!(said.len() == 1 && said[0].contains(recognised), "{name}: {said:?}");
    }
}

#[test]
fn named_formats_read_the_same_as_recognised_ones() {
    for (name, format) in [
        ("kserve_request_response_pairs.jsonl.zst", "kserve"),
        ("open_inference_v2_named_columns.jsonl.zst", "open_inference"),
        ("seldon_v1_names_ndarray.jsonl.zst", "seldon"),
        ("sagemaker_capture_csv.jsonl.zst", "sagemaker"),
        ("sagemaker_capture_json.jsonl.zst", "sagemaker"),
        ("mlflow_dataframe_split_other_column_order.jsonl.zst", "mlflow"),
        ("log.csv", "flat"),
        ("log.parquet", "auto"),
    ] {
        is_read_whole(name, &format!("format = \"{format}\"\n"), 40);
    }
}

#[test]
fn a_mapping_of_ones_own_reads_names_beside_the_rows() {
    let mapping = "[decode.mapping]\nmodel_name = \"adult\"\nsource_ip = \"/ip\"\nfeatures = \"/request/dataframe_split\"\nprediction = \"/response/predictions\"\n";
    is_read_whole("mlflow_dataframe_split_other_column_order.jsonl.zst", mapping, 40);
    let mapping = "[decode.mapping]\nmodel_name = \"adult\"\ntimestamp = \"/@timestamp\"\nfeatures = \"/request/data/ndarray\"\ncolumns = \"/request/data/names\"\nprediction = \"/response/data/ndarray\"\n";
    is_read_whole("seldon_v1_names_ndarray.jsonl.zst", mapping, 40);
}

#[test]
fn a_time_without_a_zone_names_the_setting_that_reads_it() {
    for name in ["clock_naive.jsonl.zst", "clock_space.jsonl.zst", "clock_comma.jsonl.zst", "bentoml_flat_no_time_zone.jsonl.zst"] {
        replay(name, "").must_fail(65, &["timestamp_without_zone", "decode.assume_zone = \"UTC\""]);
        for zone in ["UTC", "+02:00", "Europe/Berlin"] {
            is_read_whole(name, &format!("assume_zone = \"{zone}\"\n"), 40);
        }
    }
}

#[test]
fn a_label_with_its_score_names_the_setting_that_says_which_class_counts() {
    let ended = replay("label_and_score.jsonl.zst", "");
    assert!(ended.must_succeed().out.contains("decode.positive_class"), "{}", ended.out);
    is_read_whole("label_and_score.jsonl.zst", "positive_class = \">50K\"\n", 40);
}

#[test]
fn addresses_with_ports_and_proxies_are_read() {
    is_read_whole("address_with_port.jsonl.zst", "", 40);
    let ended = replay("address_forwarded_for_list.jsonl.zst", "");
    assert!(ended.must_succeed().out.contains("accepted 40") && ended.out.contains("decode.trusted_proxies"), "{}", ended.out);
    is_read_whole("address_forwarded_for_list.jsonl.zst", "trusted_proxies = 2\n", 40);
}

#[test]
fn a_parquet_column_of_times_without_a_zone_needs_one_as_well() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/first_hour");
    let made = tempfile::tempdir().unwrap();
    let profile = made.path().join("r.json");
    program::run(&["fit", text(&folder.join("train_pandas.csv")), "--model", "income", "--drop", "label", "-o", text(&profile)])
        .must_succeed();
    let log = folder.join("log_polars.parquet");
    program::run(&["replay", text(&log), "--reference", text(&profile)]).must_fail(65, &["timestamp_without_zone"]);
}

#[test]
fn a_sorted_log_is_recognised_as_well() {
    let profile = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/adult/reference.json");
    for name in ["log.csv", "log.parquet", "kserve_request_response_pairs.jsonl.zst"] {
        let ended = program::run(&["replay", text(&case(name)), "--reference", text(&profile), "--sort"]);
        assert!(ended.must_succeed().out.contains("accepted 40, late 0, rejected 0"), "{name}: {}", ended.out);
    }
}

#[test]
fn a_row_that_is_out_of_step_with_its_header_is_refused_and_the_others_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let table = std::fs::read_to_string(case("log.csv")).unwrap();
    let mut lines: Vec<String> = table.lines().map(str::to_owned).collect();
    lines[5].push_str(",surplus");
    lines[7] = lines[7].replacen(',', ",\"two\nlines, \"\"quoted\"\"\",", 1);
    let (log, letters) = (folder.path().join("log.csv"), folder.path().join("letters"));
    std::fs::write(&log, lines.join("\r\n")).unwrap();
    let profile = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/adult/reference.json");
    let ended = program::run(&[
        "replay",
        text(&log),
        "--reference",
        text(&profile),
        "--dead-letters",
        text(&letters),
        "--max-rejects",
        "5",
    ]);
    assert!(ended.must_succeed().out.contains("accepted 38, late 0, rejected 2"), "{}", ended.out);
    let letters = std::fs::read_to_string(letters).unwrap();
    assert!(letters.contains("as many values as the table has columns") && letters.contains("surplus"), "{letters}");
    let packed = program::run_with(&["replay", "-", "--reference", text(&profile)], table.as_bytes());
    assert!(packed.must_succeed().out.contains("accepted 40"), "a table through a pipe: {}", packed.out);
    program::run_with(&["replay", "-", "--reference", text(&profile)], &std::fs::read(case("log.parquet")).unwrap())
        .must_fail(74, &["Parquet cannot be read from a pipe"]);
}

/// A record of the recording in another layout, with the columns in another order.
fn in_layout(layout: &str, event: &Value) -> Value {
    let mut record = event.clone();
    let fields = record.as_object_mut().unwrap();
    let (features, prediction) = (fields.remove("features").unwrap(), fields.remove("prediction").unwrap());
    let columns = features.as_object().unwrap();
    let names: Vec<&String> = columns.keys().rev().collect();
    let values: Vec<&Value> = columns.values().rev().collect();
    let (request, response) = match layout {
        "mlflow" => (json!({"dataframe_split":{"columns":names,"data":[values]}}), json!({"predictions":[prediction]})),
        "seldon" => (json!({"data":{"names":names,"ndarray":[values]}}), json!({"data":{"names":["p"],"ndarray":[[prediction]]}})),
        "open_inference" => {
            let tensor = |name: &String, value: &Value| json!({"name":name,"shape":[1],"datatype":"BYTES","data":[value]});
            let inputs: Vec<Value> = names.iter().zip(values).map(|(name, value)| tensor(name, value)).collect();
            let output = json!({"name":"predict","shape":[1],"datatype":"FP64","data":[prediction]});
            (json!({"inputs":inputs}), json!({"model_name":"adult","outputs":[output]}))
        }
        _ => {
            fields.extend(columns.clone());
            fields.insert("score".to_owned(), prediction);
            return record;
        }
    };
    fields.insert("request".to_owned(), request);
    fields.insert("response".to_owned(), response);
    record
}

#[test]
fn an_attack_is_found_with_the_same_bytes_in_every_layout() {
    let cut = Cut("10_hopskipjump_fast");
    let folder = tempfile::tempdir().unwrap();
    let profile = cut.fit(folder.path());
    let lines = cut.lines();
    let verdicts = |name: &str, log: &[u8]| {
        let out = folder.path().join(name);
        program::run_with(&["replay", "-", "--reference", text(&profile), "--verdicts", text(&out)], log).must_succeed();
        std::fs::read(out).unwrap()
    };
    let canonical = verdicts("canonical", &cut.events());
    assert!(!canonical.is_empty());
    for layout in ["mlflow", "seldon", "open_inference", "flat"] {
        let records = lines.iter().map(|line| in_layout(layout, &serde_json::from_str(line).unwrap()).to_string());
        let log = records.collect::<Vec<_>>().join("\n");
        assert!(verdicts(layout, log.as_bytes()) == canonical, "{layout} is judged otherwise");
    }
}

#[test]
fn files_that_are_no_lines_are_named_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let profile = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/adult/reference.json");
    let log = folder.path().join("log");
    for (bytes, word) in [
        (&b"PK\x03\x04rest"[..], "zip archive"),
        (b"\x80\x04\x95rest", "pickle"),
        (b"ARROW1\0\0", "Feather"),
        (b"\xff\xfe{\0", "UTF-16"),
        (b"[{\"a\":1},{\"a\":2}]", "lines=True"),
        (b"{\n  \"a\": 1\n}\n", "several lines"),
    ] {
        std::fs::write(&log, bytes).unwrap();
        program::run(&["replay", text(&log), "--reference", text(&profile)]).must_fail(65, &[word]);
        if !bytes.starts_with(b"{") {
            program::run(&["fit", text(&log), "--model", "m", "-o", text(&folder.path().join("r.json"))]).must_not_panic();
        }
    }
}

#[test]
fn the_service_refuses_the_formats_of_files() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("c.toml");
    let profile = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/adult/reference.json");
    let written = |format: &str, more: &str| {
        let source = "[source.kafka]\nbrokers = \"b:9092\"\ntopics = [\"t\"]\n";
        let models = format!("[[models]]\nreference = \"{}\"\n", text(&profile));
        std::fs::write(&config, format!("{source}[decode]\nformat = \"{format}\"\n{more}{models}")).unwrap();
        program::run(&["check", text(&config)])
    };
    written("auto", "").must_fail(64, &["decode.format", "files alone"]);
    written("kserve", "").must_succeed();
    let owners = "[runtime]\ntopology = \"repartition\"\n[state]\nurl = \"file:///var/lib/tripline\"\n";
    written("kserve", owners).must_fail(64, &["decode.format", "does not read calls whose halves are logged apart yet"]);
    std::fs::write(&config, "[decode]\nformat = \"avro\"\n").unwrap();
    program::run(&["check", text(&config)]).must_fail(64, &["decode.format", "open_inference"]);
}
