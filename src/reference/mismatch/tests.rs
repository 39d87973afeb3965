//! Each kind of mismatch is found in the first rows, and a log that fits gives none.

use super::*;
use crate::reference::{Column, Dataset, FitOptions, Raw, Scalar, Schema, fit};

const TEXTS: [&str; 3] = ["Private", "Local-gov", "Self-emp"];

fn reference() -> Arc<Reference> {
    let numbers = |of: u32| (0..600_u32).map(|i| Raw::Number(f64::from(i * 7 % of))).collect::<Vec<_>>();
    let texts = (0..600).map(|i| Raw::Text(TEXTS[i % 3].into())).collect();
    let mostly_missing = (0..600_u32).map(|i| if i % 50 == 0 { Raw::Number(f64::from(i)) } else { Raw::Missing }).collect();
    let features = vec![
        Column { name: "age".into(), cells: numbers(97) },
        Column { name: "workclass".into(), cells: texts },
        Column { name: "hours_per_week".into(), cells: numbers(83) },
        Column { name: "rare".into(), cells: mostly_missing },
    ];
    let dataset = Dataset { features, predictions: numbers(101), probabilities: Vec::new() };
    Arc::new(fit(&dataset, &FitOptions { model: "m".into(), ..FitOptions::default() }).unwrap())
}

/// Compares `rows` rows with the reference; `change` changes each.
fn compare(rows: u64, change: impl Fn(&Schema, u64, &mut Query)) -> (Comparison, Vec<u64>) {
    let reference = reference();
    let schema = Schema::new(&reference);
    let mut comparison = Comparison::new(reference);
    let mut due = Vec::new();
    for nth in 0..rows {
        let number = |of: u64| schema.bind(0, Scalar::Number((nth * 7 % of) as f64));
        let text = schema.bind(1, Scalar::Text(TEXTS[nth as usize % 3]));
        let rare = if nth % 50 == 49 { Cell::number(50.0) } else { Cell::MISSING };
        let row = vec![number(97), text, number(83), rare];
        let mut query = Query { time: EventTime::from_micros(1_772_409_600_000_000 + nth as i64), row, ..Query::default() };
        change(&schema, nth, &mut query);
        if comparison.take(&query) {
            due.push(nth + 1);
        }
    }
    (comparison, due)
}

fn said(change: impl Fn(&Schema, u64, &mut Query)) -> Vec<String> {
    compare(FIRST_ROWS, change).0.mismatches().iter().map(ToString::to_string).collect()
}

#[test]
fn a_log_that_fits_gives_no_word_and_is_compared_once() {
    let (comparison, due) = compare(3 * FIRST_ROWS, |_, _, _| ());
    assert_eq!((comparison.mismatches(), due), (Vec::new(), vec![FIRST_ROWS]));
    assert_eq!(compare(40, |_, _, _| ()).0.mismatches(), [], "a column that is rarely there is not missed in a few rows");
}

#[test]
fn a_quiet_model_is_compared_when_minutes_have_passed() {
    let (_, due) = compare(100, |_, nth, query| query.time = query.time.plus_seconds(60 * nth as i64));
    assert_eq!(due, [EARLY_ROWS]);
}

#[test]
fn a_column_that_is_never_logged_is_named_with_the_remedy() {
    let said = said(|_, _, query| query.row[0] = Cell::MISSING);
    assert_eq!(said, ["the reference has the column age, no record has a value for it: fit again with --drop age, or log it"]);
    let later = compare(2 * FIRST_ROWS, |_, nth, query| {
        if nth < FIRST_ROWS {
            query.row[0] = Cell::MISSING;
        }
    });
    assert_eq!(later.0.mismatches(), [], "it was logged later");
}

#[test]
fn a_field_in_another_spelling_is_found() {
    let rename = |name: &'static str| {
        said(move |_, nth, query| {
            query.row[2] = Cell::MISSING;
            query.extra_features = 1;
            if nth == 0 {
                query.new_names = vec![name.into()];
            }
        })
    };
    for name in ["hours-per-week", "HoursPerWeek", "hours_per_weak", "hour_per_week"] {
        let expected = format!("records have {name}, the reference has hours_per_week: log it as hours_per_week");
        assert!(rename(name)[0].starts_with(&expected), "{:?}", rename(name));
    }
    let other = rename("minutes");
    assert!(
        other[0].contains("no record has a value")
            && other[1].ends_with("left out: minutes; fit again with them if the model uses them"),
        "{other:?}"
    );
}

#[test]
fn text_where_numbers_belong_and_the_reverse_are_told_apart() {
    let texts = said(|schema, _, query| query.row[0] = schema.bind(0, Scalar::Text("forty")));
    assert!(texts[0].starts_with("records have text in age, the reference has numbers"), "{texts:?}");
    let codes = said(|schema, nth, query| query.row[1] = schema.bind(1, Scalar::Number((nth % 3) as f64)));
    assert_eq!(codes.len(), 1);
    assert!(
        codes[0].starts_with("records have numbers in workclass, the reference has texts (Local-gov, Private, Self-emp)"),
        "{codes:?}"
    );
}

#[test]
fn values_that_the_reference_never_saw_are_said() {
    let other = said(|schema, _, query| query.row[1] = schema.bind(1, Scalar::Text("private")));
    assert!(other[0].starts_with("hardly a value of workclass is one that the reference knows (Local-gov"), "{other:?}");
    let unit = said(|schema, nth, query| query.row[0] = schema.bind(0, Scalar::Number(1000.0 + nth as f64)));
    assert!(unit[0].contains("(0 to 96): check unit"), "{unit:?}");
    let some = said(|schema, nth, query| {
        if nth % 2 == 0 {
            query.row[0] = schema.bind(0, Scalar::Number(1000.0));
        }
    });
    assert_eq!(some, Vec::<String>::new(), "a change of half the values is the drift test's matter");
}

#[test]
fn invented_names_do_not_grow_memory() {
    let (comparison, _) = compare(1_000, |_, nth, query| {
        query.extra_features = 1;
        query.new_names = vec![format!("invented-{nth}").into()];
    });
    let [Mismatch::UnknownFields { names }] = &comparison.mismatches()[..] else { panic!("{:?}", comparison.mismatches()) };
    assert_eq!((names.len(), comparison.rows_with_unknown_fields()), (MAX_NOTED_NAMES, 1_000));
}

#[test]
fn columns_that_differ_by_a_number_are_two_columns() {
    assert!(!is_alike("feature_1", "feature_2") && !is_alike("x1", "x2") && !is_alike("", "--"));
    assert!(is_alike("feature-1", "Feature_1") && is_alike("education", "eduaction") && !is_alike("capital_gain", "capital_loss"));
}
