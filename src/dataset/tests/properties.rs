//! What holds for every file.

use proptest::prelude::*;

use super::super::{ReadOptions, read_bytes};
use super::{cells, load, text};
use crate::reference::{FitOptions, Raw, fit};

/// Names whose suffixes lead to each reader.
const NAMES: [&str; 4] = ["t", "t.csv", "t.tsv", "t.jsonl"];

/// Bytes that are nearly a dataset: fragments of the formats, in any order.
fn fragments() -> impl Strategy<Value = Vec<u8>> {
    let fragment = prop::sample::select(vec![
        &b"a,b,prediction\n"[..],
        &b"1,2,3\n"[..],
        &b"\"x\",,nan\n"[..],
        &b"\""[..],
        &b"\n"[..],
        &b"{\"features\":{\"a\":1,\"b\":\"x\"},\"prediction\":0.5}\n"[..],
        &b"{\"a\":1,\"prediction\":{\"x\":0.5,\"y\":0.5}}\n"[..],
        &b"{\"a\":"[..],
        &b"}"[..],
        &b"[1e999]"[..],
        &b"\xff\xfe"[..],
        &b"\xef\xbb\xbf"[..],
        &b"\x1f\x8b\x08\x00"[..],
        &b"\x28\xb5\x2f\xfd"[..],
        &b"PAR1"[..],
    ]);
    prop::collection::vec(fragment, 0..12).prop_map(|parts| parts.concat())
}

fn survives(bytes: &[u8]) {
    for name in NAMES {
        if let Ok(loaded) = read_bytes(name, bytes, &ReadOptions::default()) {
            let rows = loaded.rows_kept();
            assert!(loaded.dataset.features.iter().all(|c| c.cells.len() == rows));
            assert_eq!(loaded.dataset.predictions.len().max(loaded.dataset.probabilities.len()), rows);
            // Whatever was read can be handed on; whether it can be learned from is another question.
            let _ = fit(&loaded.dataset, &FitOptions::default());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn no_bytes_panic_a_reader(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        survives(&bytes);
    }

    #[test]
    fn nothing_that_is_nearly_a_dataset_panics_a_reader(bytes in fragments()) {
        survives(&bytes);
        survives(&zstd::encode_all(&bytes[..], 1).unwrap());
    }

    #[test]
    fn damage_to_compressed_data_never_panics(at in 0_usize..200, flip in 1_u8..=255) {
        let mut packed = zstd::encode_all("a,prediction\n1,2\n3,4\n".repeat(20).as_bytes(), 1).unwrap();
        let at = at % packed.len();
        packed[at] ^= flip;
        survives(&packed);
    }

    #[test]
    fn any_text_comes_back_from_csv_and_from_json(values in prop::collection::vec("[ -~äß\n]{0,12}", 1..20)) {
        let mut writer = ::csv::Writer::from_writer(Vec::new());
        writer.write_record(["v", "prediction"]).unwrap();
        let mut lines = String::new();
        for value in &values {
            writer.write_record([&format!("x{value}y"), "1"]).unwrap();
            lines.push_str(&serde_json::json!({"v": format!("x{value}y"), "prediction": 1}).to_string());
            lines.push('\n');
        }
        let csv = String::from_utf8(writer.into_inner().unwrap()).unwrap();
        let expected: Vec<Raw> = values.iter().map(|v| text(&format!("x{v}y"))).collect();
        for loaded in [load("t.csv", &csv).unwrap(), load("t.jsonl", &lines).unwrap()] {
            prop_assert_eq!(cells(&loaded, "v"), &expected[..]);
        }
    }

    #[test]
    fn every_number_comes_back_exactly(number in any::<f64>().prop_filter("finite", |n| n.is_finite())) {
        let loaded = load("t.csv", &format!("v,prediction\n{number},1\n{number:e},1\n")).unwrap();
        for raw in cells(&loaded, "v") {
            let value = match raw {
                Raw::Number(value) => *value,
                Raw::Text(text) => text.parse().unwrap(),
                other => panic!("{other:?}"),
            };
            prop_assert_eq!(value.to_bits(), number.to_bits());
        }
    }
}

#[test]
fn a_longer_file_gives_a_uniform_sample_that_is_the_same_every_time() {
    let rows = 50_000_u32;
    let file: String = "v,prediction\n".to_owned() + &(0..rows).map(|i| format!("{i},{}\n", i % 7)).collect::<String>();
    let options = ReadOptions { max_rows: 5_000, ..ReadOptions::default() };
    let loaded = read_bytes("t.csv", file.as_bytes(), &options).unwrap();
    assert_eq!((loaded.rows_read, loaded.rows_kept()), (u64::from(rows), 5_000));
    assert_eq!(read_bytes("t.csv", file.as_bytes(), &options).unwrap(), loaded);
    let mut tenths = [0_i32; 10];
    for (raw, line) in cells(&loaded, "v").iter().zip(&loaded.lines) {
        let Raw::Number(v) = raw else { panic!("{raw:?}") };
        assert_eq!(*line, *v as u64 + 2, "a row keeps its line");
        tenths[*v as usize * 10 / rows as usize] += 1;
    }
    // 500 are expected in each tenth; five standard deviations of the hypergeometric are 101.
    assert!(tenths.iter().all(|n| (n - 500).abs() < 101), "{tenths:?}");
}

#[test]
fn columns_that_come_and_go_in_json_keep_their_rows() {
    let lines: String = (0..300)
        .map(|i| match i % 3 {
            0 => format!("{{\"a\":{i},\"prediction\":1}}\n"),
            1 => format!("{{\"b\":{i},\"prediction\":1}}\n"),
            _ => "{\"prediction\":1}\n".to_owned(),
        })
        .collect();
    let loaded = load("t.jsonl", &lines).unwrap();
    for (i, (a, b)) in cells(&loaded, "a").iter().zip(cells(&loaded, "b")).enumerate() {
        let here = Raw::Number(i as f64);
        let expected = match i % 3 {
            0 => (here, Raw::Missing),
            1 => (Raw::Missing, here),
            _ => (Raw::Missing, Raw::Missing),
        };
        assert_eq!((a.clone(), b.clone()), expected, "row {i}");
    }
}
