//! Profiles of awkward datasets, and files that are nearly profiles.

use proptest::prelude::*;

use super::{Column, Dataset, FitError, FitOptions, Kind, PredictionKind, Raw, Reference, ReferenceError, Schema, code, fit};
use crate::event::{Cell, Prediction};
use crate::hash::mix;

fn column(name: &str, rows: usize, f: impl Fn(usize) -> Raw) -> Column {
    Column { name: name.into(), cells: (0..rows).map(f).collect() }
}

fn number(value: impl Into<f64>) -> Raw {
    Raw::Number(value.into())
}

fn text(text: &str) -> Raw {
    Raw::Text(text.into())
}

/// Scores between 0 and 1 that look random.
fn scores(rows: usize) -> Vec<Raw> {
    (0..rows).map(|i| number((mix(i as u64) % 10_007) as f64 / 10_007.0)).collect()
}

fn dataset(features: Vec<Column>) -> Dataset {
    let rows = features.first().map_or(0, |c| c.cells.len());
    Dataset { features, predictions: scores(rows), probabilities: Vec::new() }
}

fn learn(dataset: &Dataset) -> Result<Reference, FitError> {
    fit(dataset, &FitOptions { model: "m".into(), ..FitOptions::default() })
}

fn learn_as(dataset: &Dataset, kind: PredictionKind) -> Result<Reference, FitError> {
    fit(dataset, &FitOptions { model: "m".into(), prediction_kind: Some(kind), ..FitOptions::default() })
}

/// A profile with every kind of feature.
fn mixed() -> Reference {
    let rows = 400;
    let profile = learn(&dataset(vec![
        column("c", rows, |i| number((mix(i as u64) % 1000) as f64 / 8.0)),
        column("d", rows, |i| number((i % 7) as f64)),
        column("b", rows, |i| Raw::Boolean(i % 3 == 0)),
        column("t", rows, |i| if i % 10 == 0 { Raw::Missing } else { text(["x", "y", "z"][i % 3]) }),
    ]));
    profile.unwrap()
}

#[test]
fn two_hundred_features_make_a_profile_that_reads_back() {
    let rows = 1000;
    let features = (0..200).map(|j| column(&format!("f{j}"), rows, |i| number((mix((i * 200 + j) as u64) % 997) as f64))).collect();
    let profile = learn(&dataset(features)).unwrap();
    assert_eq!(profile.features.len(), 200);
    assert!(profile.pairs.len() < 10, "independent features have no dependence: {}", profile.pairs.len());
    assert_eq!(Reference::from_json(&profile.to_json().unwrap()).unwrap(), profile);
}

#[test]
fn a_hundred_thousand_rows_fill_the_bins_evenly_and_the_sample_stays_bounded() {
    let rows = 100_000;
    let profile = learn(&dataset(vec![column("x", rows, |i| number(mix(i as u64) as f64 / 1e10))])).unwrap();
    let feature = &profile.features[0];
    assert_eq!((profile.rows, profile.sample.len(), feature.bins()), (100_000, 8192, 10));
    // What lies above an edge by less than another way to write it counts as the edge.
    assert!(feature.counts[..10].iter().all(|&n| n.abs_diff(10_000) <= 2), "{:?}", feature.counts);
}

#[test]
fn a_constant_has_one_bin_and_every_other_value_is_outside_it() {
    let profile = learn(&dataset(vec![
        column("n", 200, |_| number(5)),
        column("t", 200, |_| text("only")),
        column("b", 200, |_| Raw::Boolean(false)),
    ]))
    .unwrap();
    let [n, t, b] = &profile.features[..] else { panic!() };
    assert_eq!((n.kind, n.bins(), t.bins(), b.kind, b.bins()), (Kind::Discrete, 1, 1, Kind::Boolean, 1));
    assert_eq!(n.code(Cell::number(5.0)), 0);
    assert_eq!(n.code(Cell::number(4.0)), n.bins() + code::BELOW);
    assert_eq!(n.code(Cell::number(6.0)), n.bins() + code::ABOVE);
    assert_eq!(t.code(Cell::unseen("other")), t.bins() + code::UNSEEN);
    assert_eq!(profile.pairs, []);
    assert_eq!(Reference::from_json(&profile.to_json().unwrap()).unwrap(), profile);
}

#[test]
fn a_value_written_with_more_or_fewer_digits_is_the_same_value() {
    // Logarithms of household sizes as a dataset has them, amounts of which many are nought, and two values that differ by less.
    let sizes = [1.0_f64, 2.0, 3.0, 4.0].map(|n| (n.ln() * 1e6).round() / 1e6);
    let profile = learn(&dataset(vec![
        column("size", 400, |i| number(sizes[i % 4])),
        column("amount", 400, |i| number(if i % 2 == 0 { 0.0 } else { (mix(i as u64) % 9_000) as f64 / 100.0 })),
        column("close", 400, |i| number([0.0, 1e-6, 1.0][i % 3])),
    ]))
    .unwrap();
    let code = |j: usize, value: f64| profile.features[j].code(Cell::number(value));
    assert_eq!((profile.features[0].kind, profile.features[1].kind), (Kind::Discrete, Kind::Continuous));
    for (bin, size) in sizes.into_iter().enumerate() {
        let jitter = [0.0, 3e-6, -3e-6, 4e-8].map(|off| code(0, size + off));
        assert_eq!(jitter, [bin; 4], "{size}");
        assert_eq!(code(0, size + 1e-3), if bin < 3 { 4 + code::UNSEEN } else { 4 + code::ABOVE });
    }
    let nought = code(1, 0.0);
    assert!([3e-6, -3e-6].into_iter().all(|value| code(1, value) == nought) && code(1, 1.0) > nought);
    assert_eq!(code(1, -0.1), profile.features[1].bins() + code::BELOW);
    assert_eq!([0.0, 1e-6, 2e-6, 4e-7].map(|value| code(2, value)), [0, 1, 1, 0], "the nearest, and a known value itself");
}

#[test]
fn a_column_without_a_value_is_refused_and_one_with_a_single_value_is_not() {
    let empty = learn(&dataset(vec![column("gone", 200, |_| Raw::Missing)])).unwrap_err();
    assert_eq!(empty.to_string(), "column 'gone' is empty in every row; leave it out with --drop gone");
    let rare = learn(&dataset(vec![column("rare", 200, |i| if i == 7 { number(1) } else { Raw::Missing })])).unwrap();
    let feature = &rare.features[0];
    assert_eq!(feature.counts[feature.bins() + code::MISSING], 199);
}

#[test]
fn slips_among_numbers_are_refused_and_real_categories_are_not() {
    let slip = learn(&dataset(vec![column("age", 200, |i| if i == 41 { text("forty") } else { number(i as f64) })]));
    let message = slip.unwrap_err().to_string();
    assert!(message.starts_with("row 42, column 'age': 'forty' is not a finite number, and 199 other values"), "{message}");
    for word in ["NaN", "N/A", "inf", "?"] {
        let holes = learn(&dataset(vec![column("x", 200, |i| if i % 3 == 0 { text(word) } else { number(i as f64) })]));
        assert!(matches!(holes, Err(FitError::Mixed { row: 1, .. })), "{word}: a third of holes is no category of numbers");
    }
    let rooms = learn(&dataset(vec![column("room", 200, |i| if i % 9 == 0 { text("12b") } else { number((i % 40) as f64) })]));
    assert_eq!(rooms.unwrap().features[0].kind, Kind::Categorical);
    let declared = FitOptions { kinds: vec![("x".into(), Kind::Categorical)], ..FitOptions::default() };
    let words = dataset(vec![column("x", 200, |i| if i == 0 { text("NaN") } else { number((i % 5) as f64) })]);
    assert_eq!(fit(&words, &declared).unwrap().features[0].values.len(), 6, "what was declared is believed");
}

#[test]
fn ids_are_refused_as_categories_and_as_classes() {
    let rows = 20_001;
    let ids = learn(&dataset(vec![column("id", rows, |i| text(&format!("u{i}")))])).unwrap_err();
    assert_eq!(ids, FitError::TooManyCategories { column: "id".into(), distinct: rows });
    let mut labels = dataset(vec![column("x", rows, |i| number(i as f64))]);
    labels.predictions = (0..rows).map(|i| text(&format!("u{i}"))).collect();
    assert_eq!(learn(&labels).unwrap_err(), FitError::TooManyClasses { distinct: rows });
}

#[test]
fn labels_alone_are_a_profile_without_threshold() {
    let mut labels = dataset(vec![column("x", 300, |i| number(i as f64))]);
    labels.predictions =
        (0..300).map(|i| if i == 5 { Raw::Missing } else { text(["late", "on_time"][usize::from(i % 4 > 0)]) }).collect();
    let profile = learn(&labels).unwrap();
    let prediction = &profile.prediction;
    assert_eq!((prediction.kind, prediction.threshold), (PredictionKind::Label, None));
    assert_eq!((&prediction.classes[..], &prediction.counts[..]), (&["late".into(), "on_time".into()][..], &[75, 224, 1][..]));
    let options = FitOptions { threshold: Some(0.5), ..FitOptions::default() };
    assert!(fit(&labels, &options).unwrap_err().to_string().contains("labels have no threshold"));
    let as_score = learn_as(&labels, PredictionKind::Score).unwrap_err();
    assert_eq!(as_score.to_string(), "row 1: the prediction 'late' is not a finite number");
    labels.predictions = vec![Raw::Missing; 300];
    assert_eq!(learn(&labels).unwrap_err(), FitError::NoAnswers);
}

#[test]
fn probabilities_are_counted_by_their_top_class() {
    let mut answers = dataset(vec![column("x", 300, |i| number(i as f64))]);
    answers.predictions.clear();
    answers.probabilities = (0..300)
        .map(|i| match i % 3 {
            0 => vec![("yes".into(), 0.9), ("no".into(), 0.1)],
            1 => vec![("no".into(), 0.8), ("yes".into(), 0.2)],
            _ => Vec::new(),
        })
        .collect();
    let profile = learn(&answers).unwrap();
    assert_eq!(profile.prediction.kind, PredictionKind::Probabilities);
    assert_eq!(
        (&profile.prediction.classes[..], &profile.prediction.counts[..]),
        (&["no".into(), "yes".into()][..], &[100, 100, 100][..])
    );
    let bound = Schema::new(&profile).bind_probabilities([("no", 0.3), ("yes", 0.7)].into_iter());
    assert!(matches!(bound, Prediction::Probabilities { top, .. } if top == Cell::category(1)));
    assert!(learn_as(&answers, PredictionKind::Label).unwrap_err().to_string().contains("probabilities by class"));
    let scalars = dataset(vec![column("x", 300, |i| number(i as f64))]);
    assert!(learn_as(&scalars, PredictionKind::Probabilities).unwrap_err().to_string().contains("single values"));
}

#[test]
fn whole_numbers_are_labels_until_they_are_declared_scores() {
    let mut counts = dataset(vec![column("x", 300, |i| number(i as f64))]);
    counts.predictions = (0..300).map(|i| number((i % 5) as f64)).collect();
    assert_eq!(learn(&counts).unwrap().prediction.classes, ["0", "1", "2", "3", "4"]);
    let profile = learn_as(&counts, PredictionKind::Score).unwrap();
    assert_eq!((profile.prediction.kind, profile.prediction.threshold), (PredictionKind::Score, None));
}

#[test]
fn too_few_rows_and_no_features_are_refused() {
    assert_eq!(learn(&dataset(vec![column("x", 99, |i| number(i as f64))])).unwrap_err(), FitError::TooFewRows { rows: 99 });
    let none = Dataset { predictions: scores(200), ..Dataset::default() };
    assert_eq!(learn(&none).unwrap_err(), FitError::NoFeatures);
}

#[test]
fn another_schema_version_is_refused_before_its_fields_are_looked_at() {
    for file in [r#"{"schema":2,"something":"new"}"#, r#"{"model":"m","schema":0}"#] {
        let message = Reference::from_json(file.as_bytes()).unwrap_err().to_string();
        assert!(message.ends_with("this program reads schema 1; fit it again"), "{message}");
    }
    for file in ["", "[]", "{}", "\"schema\"", "{\"schema\":-1}", "{\"schema\":1}"] {
        assert!(matches!(Reference::from_json(file.as_bytes()), Err(ReferenceError::Syntax(_))), "{file}");
    }
}

#[test]
fn contradictions_within_a_profile_are_named() {
    let spoil = |change: &dyn Fn(&mut Reference)| {
        let mut profile = mixed();
        change(&mut profile);
        profile.digest = profile.content_digest();
        Reference::from_json(&profile.to_json().unwrap()).unwrap_err().to_string()
    };
    type Change<'a> = &'a dyn Fn(&mut Reference);
    let cases: [(Change<'_>, &str); 11] = [
        (&|r| r.features.clear(), "no features"),
        (&|r| r.features[1].name = "c".into(), "two features 'c'"),
        (&|r| r.features[0].counts[0] += 1, "counts 401 rows of 400"),
        (&|r| r.features[0].counts[0] = u64::MAX, "rows of 400"),
        (&|r| r.features[0].edges.reverse(), "do not ascend"),
        (&|r| r.features[3].values.reverse(), "categories that do not ascend"),
        (&|r| r.features[0].support = vec![1.0], "bins of another kind"),
        (&|r| r.features[0].min = 1e9, "no range"),
        (&|r| r.sample[0].truncate(1), "a sample row has 1 cells for 4 features"),
        (&|r| r.prediction.counts.truncate(2), "the prediction has 2 counts"),
        (&|r| r.rows = 7, "rows of 7"),
    ];
    for (change, part) in cases {
        let message = spoil(change);
        assert!(message.contains("profile 'm' is inconsistent") && message.contains(part), "{part}: {message}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn no_bytes_panic_the_loading(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(Reference::from_json(&bytes).is_err());
    }

    #[test]
    fn one_changed_byte_is_always_noticed(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let profile = mixed();
        let mut bytes = profile.to_json().unwrap();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        // What still loads says the same: the same byte, or one beyond a number's precision. (Cells that are missing are NaN, so
        // the content is compared and not the cells.)
        if let Ok(read) = Reference::from_json(&bytes) {
            prop_assert_eq!(read.canonical_content(), profile.canonical_content());
            prop_assert_eq!(read.signature, None);
        }
    }

    #[test]
    fn a_forged_profile_is_refused_or_harmless(at in any::<prop::sample::Index>(), digit in b'0'..=b'9', value in any::<f64>()) {
        // Someone who can compute digests changes one digit anywhere: what still loads must serve every later stage.
        let mut bytes = mixed().to_json().unwrap();
        let digits: Vec<usize> = (0..bytes.len()).filter(|&i| bytes[i].is_ascii_digit()).collect();
        bytes[digits[at.index(digits.len())]] = digit;
        let Ok(mut forged) = serde_json::from_slice::<Reference>(&bytes) else { return Ok(()) };
        forged.digest = forged.content_digest();
        if let Ok(read) = Reference::from_json(&forged.to_json().unwrap()) {
            for feature in &read.features {
                for cell in [Cell::number(value), Cell::MISSING, Cell::UNREADABLE, Cell::unseen("q"), Cell::category(1)] {
                    prop_assert!(feature.code(cell) < feature.counts.len());
                }
            }
            let _ = Schema::new(&read);
        }
    }
}
