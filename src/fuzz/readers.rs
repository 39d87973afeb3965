//! Readers of files: references, configurations, manifests, snapshots, training tables, tables of logs. None panics, and what is accepted
//! is read the same when it is written again.

use std::path::PathBuf;

use serde_json::Value;

use super::{Random, cases, change, change_bytes};
use crate::checkpoint::manifest::Manifest;
use crate::config::{Config, EXAMPLE};
use crate::dataset::{ReadOptions, read_bytes};
use crate::decode::csv_records;
use crate::reference::number_style::NumberStyle;
use crate::reference::{Column, Dataset, FitOptions, Raw, Reference, fit};

/// The part of the usual number of cases that a slow reader gets.
const SLOW: u64 = 10;

fn reference() -> Vec<u8> {
    let column = |name: &str, cell: &dyn Fn(u32) -> Raw| Column { name: name.into(), cells: (0..120).map(cell).collect() };
    let dataset = Dataset {
        features: vec![
            column("age", &|row| Raw::Number(f64::from(row % 40))),
            column("work", &|row| Raw::Text(["a", "b"][row as usize % 2].into())),
        ],
        predictions: (0..120).map(|row| Raw::Number(f64::from(row) / 120.0)).collect(),
        probabilities: Vec::new(),
    };
    fit(&dataset, &FitOptions { model: "m".into(), ..FitOptions::default() }).unwrap().to_json().unwrap()
}

#[test]
fn a_changed_reference_is_refused_or_read_as_it_is_written() {
    let whole = reference();
    let tree: Value = serde_json::from_slice(&whole).unwrap();
    let names = ["features", "counts", "edges", "kind", "sample", "rows", "schema", "min", "values", "digest"];
    let (mut accepted, all) = (0, cases() / SLOW);
    for case in 0..all {
        let mut random = Random::of(1, case);
        let mut bytes = whole.clone();
        if random.once_in(2) {
            let mut tree = tree.clone();
            change(&mut tree, &names, &mut random);
            bytes = serde_json::to_vec(&tree).unwrap();
        } else {
            change_bytes(&mut bytes, &mut random);
        }
        if let Ok(read) = Reference::from_json(&bytes) {
            accepted += 1;
            let again = Reference::from_json(&read.to_json().unwrap()).unwrap();
            assert_eq!(again, read, "case {case}");
        }
    }
    println!("fuzz reference: {all} cases, {accepted} accepted");
    // The digest covers the content: what changes it is refused.
    assert!(accepted < all / 2, "{accepted}");
}

#[test]
fn a_changed_configuration_never_panics() {
    let (mut accepted, all) = (0, cases() / SLOW);
    for case in 0..all {
        let mut random = Random::of(2, case);
        let mut bytes = EXAMPLE.as_bytes().to_vec();
        change_bytes(&mut bytes, &mut random);
        accepted += u64::from(Config::from_text(&String::from_utf8_lossy(&bytes), PathBuf::new()).is_ok());
    }
    println!("fuzz configuration: {all} cases, {accepted} accepted");
    assert!(accepted > 0 && accepted < all, "{accepted}");
}

#[test]
fn a_changed_manifest_or_snapshot_never_panics() {
    let packed = include_bytes!("../../tests/data/snapshot/format_8.postcard.zst");
    let snapshot = zstd::decode_all(&packed[..]).unwrap();
    let all = cases() / SLOW / 10;
    let mut accepted = 0;
    for case in 0..all {
        let mut random = Random::of(3, case);
        let mut bytes = snapshot.clone();
        change_bytes(&mut bytes, &mut random);
        accepted += u64::from(postcard::from_bytes::<crate::engine::ModelSnapshot>(&bytes).is_ok());
        let mut manifest =
            br#"{"format":6,"model":"m","data":{"object":"a","bytes":1,"crc32":2},"offsets":{"t":{"0":5}}}"#.to_vec();
        change_bytes(&mut manifest, &mut random);
        let _ = Manifest::from_bytes(&manifest, "a manifest");
    }
    println!("fuzz snapshot: {all} cases, {accepted} accepted");
}

/// Cells as the `csv` crate quotes them.
fn table(random: &mut Random) -> (Vec<Vec<String>>, String) {
    const PIECES: [&str; 16] =
        ["a", "0", "1.5", "-", "3,5", "1.234,5", "\"", "\n", "\r\n", ";", "é", "true", "NaN", "2026-03-02", "{", "007"];
    let width = 1 + random.at(5);
    let rows: Vec<Vec<String>> = (0..=random.at(6))
        .map(|_| (0..width).map(|_| (0..random.at(4)).map(|_| *random.pick(&PIECES)).collect::<String>()).collect())
        .collect();
    let mut writer = csv::WriterBuilder::new().quote_style(csv::QuoteStyle::Always).from_writer(Vec::new());
    rows.iter().for_each(|row| writer.write_record(row).unwrap());
    let text = String::from_utf8(writer.into_inner().unwrap()).unwrap();
    (rows, text)
}

#[test]
fn quoted_csv_is_read_as_it_was_written() {
    for case in 0..cases() {
        let mut random = Random::of(4, case);
        let (rows, text) = table(&mut random);
        assert_eq!(csv_records(&text, ',').unwrap(), rows, "case {case}: {text}");
    }
    println!("fuzz csv: {} cases", cases());
}

#[test]
fn training_tables_never_panic_and_columns_are_whole() {
    let line = "{\"age\":1,\"work\":\"a\",\"prediction\":0.5}\n{\"age\":null,\"work\":\"b\",\"prediction\":NaN}\n";
    let all = cases();
    let mut accepted = 0;
    for case in 0..all {
        let mut random = Random::of(5, case);
        let (name, mut bytes) = if random.once_in(2) {
            let (_, text) = table(&mut random);
            ("t.csv", format!("age,work,prediction\n1,a,0.5\n{text}").into_bytes())
        } else {
            ("t.jsonl", line.as_bytes().to_vec())
        };
        change_bytes(&mut bytes, &mut random);
        let numbers = *random.pick(&[NumberStyle::Plain, NumberStyle::DecimalComma, NumberStyle::Thousands]);
        if let Ok(loaded) = read_bytes(name, &bytes, &ReadOptions { numbers, ..ReadOptions::default() }) {
            accepted += 1;
            let rows = loaded.rows_kept();
            assert!(loaded.dataset.features.iter().all(|column| column.cells.len() == rows), "case {case}");
            assert_eq!(loaded.dataset.rows(), rows, "case {case}");
        }
    }
    println!("fuzz training tables: {all} cases, {accepted} accepted");
    assert!(accepted > all / 50, "{accepted}");
}
