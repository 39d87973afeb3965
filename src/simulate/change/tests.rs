use std::collections::BTreeSet;
use std::sync::Arc;

use super::columns::Columns;
use super::columns::tests::columns;
use super::kinds::KINDS;
use super::rewriter::{Change, EventLayout, Rewriter};
use super::row::Row;
use super::scene::{Memory, Scene};
use super::*;
use crate::decode::Mapping;
use crate::reference::{Column, Dataset, FitOptions, Raw, Reference, fit};

const ROW: &str = r#"{"job_title":"Café owner","age":40,"city":"New York","credit_score":62.25}"#;
const BEFORE: &str = r#"{"job_title":"Nurse","age":30,"city":"Bern","credit_score":55.5}"#;

/// What each kind makes of [`ROW`], with the chance 0 and [`BEFORE`] as the row before and the first row.
const EXPECTED: [(&str, &str); 48] = [
    ("space_before_text", r#"{"job_title":" Café owner","age":40,"city":" New York","credit_score":62.25}"#),
    ("space_after_text", r#"{"job_title":"Café owner ","age":40,"city":"New York ","credit_score":62.25}"#),
    ("text_in_lower_case", r#"{"job_title":"café owner","age":40,"city":"new york","credit_score":62.25}"#),
    ("text_in_upper_case", r#"{"job_title":"CAFÉ OWNER","age":40,"city":"NEW YORK","credit_score":62.25}"#),
    ("text_in_title_case", r#"{"job_title":"Café Owner","age":40,"city":"New York","credit_score":62.25}"#),
    ("quotes_around_text", r#"{"job_title":"\"Café owner\"","age":40,"city":"\"New York\"","credit_score":62.25}"#),
    (
        "text_in_other_unicode",
        "{\"job_title\":\"Cafe\u{301}\u{a0}owner\",\"age\":40,\"city\":\"New\u{a0}York\",\"credit_score\":62.25}",
    ),
    ("prefix_before_text", r#"{"job_title":"cat_Café owner","age":40,"city":"cat_New York","credit_score":62.25}"#),
    ("text_cut_short", r#"{"job_title":"Café","age":40,"city":"New ","credit_score":62.25}"#),
    ("text_as_codes", r#"{"job_title":0,"age":40,"city":1,"credit_score":62.25}"#),
    ("text_hashed", r#"{"job_title":"HASH","age":40,"city":"HASH","credit_score":62.25}"#),
    ("key_spelling", r#"{"job-title":"Café owner","age":40,"city":"New York","credit-score":62.25}"#),
    ("keys_in_camel_case", r#"{"jobTitle":"Café owner","age":40,"city":"New York","creditScore":62.25}"#),
    ("prefix_before_keys", r#"{"f_job_title":"Café owner","f_age":40,"f_city":"New York","f_credit_score":62.25}"#),
    ("keys_in_upper_case", r#"{"JOB_TITLE":"Café owner","AGE":40,"CITY":"New York","CREDIT_SCORE":62.25}"#),
    ("new_category_2_percent", r#"{"job_title":"Brand-new","age":40,"city":"New York","credit_score":62.25}"#),
    ("new_category_20_percent", r#"{"job_title":"Café owner","age":40,"city":"Brand-new","credit_score":62.25}"#),
    ("categories_merged", r#"{"job_title":"Other","age":40,"city":"New York","credit_score":62.25}"#),
    ("category_renamed", ROW),
    ("categories_swapped", ROW),
    ("one_unit", r#"{"job_title":"Café owner","age":40,"city":"New York","credit_score":747}"#),
    ("one_unit_thousandth", r#"{"job_title":"Café owner","age":40,"city":"New York","credit_score":0.06225}"#),
    ("everything_by_100", r#"{"job_title":"Café owner","age":0.4,"city":"New York","credit_score":0.6225}"#),
    ("logarithm", r#"{"job_title":"Café owner","age":40,"city":"New York","credit_score":4.1470951276076295}"#),
    ("standardised", r#"{"job_title":"Café owner","age":-1,"city":"New York","credit_score":1.225}"#),
    ("sign_flipped", r#"{"job_title":"Café owner","age":40,"city":"New York","credit_score":-62.25}"#),
    ("offset", r#"{"job_title":"Café owner","age":40,"city":"New York","credit_score":122.25}"#),
    ("rounded", r#"{"job_title":"Café owner","age":40,"city":"New York","credit_score":62}"#),
    ("single_precision", r#"{"job_title":"Café owner","age":40,"city":"New York","credit_score":62.249999046325684}"#),
    ("cut_to_integers", r#"{"job_title":"Café owner","age":40,"city":"New York","credit_score":62}"#),
    ("clipped", ROW),
    ("numbers_as_text", r#"{"job_title":"Café owner","age":"40","city":"New York","credit_score":"62.25"}"#),
    ("decimal_comma", r#"{"job_title":"Café owner","age":40,"city":"New York","credit_score":"62,25"}"#),
    ("min_max_scaled", r#"{"job_title":"Café owner","age":0.375,"city":"New York","credit_score":0.653125}"#),
    ("field_gone", r#"{"job_title":"Café owner","age":40,"city":"New York"}"#),
    ("field_null", r#"{"job_title":"Café owner","age":null,"city":"New York","credit_score":62.25}"#),
    ("default_zero", r#"{"job_title":"Café owner","age":40,"city":"New York","credit_score":0}"#),
    ("default_minus_999", r#"{"job_title":"Café owner","age":40,"city":"New York","credit_score":-999}"#),
    ("empty_text", r#"{"job_title":"","age":40,"city":"New York","credit_score":62.25}"#),
    ("mean_imputed", r#"{"job_title":"Café owner","age":40,"city":"New York","credit_score":50}"#),
    ("nan_text", r#"{"job_title":"Café owner","age":40,"city":"New York","credit_score":"NaN"}"#),
    ("swapped_columns", r#"{"job_title":"Café owner","age":62.25,"city":"New York","credit_score":40}"#),
    ("shifted_columns", r#"{"job_title":62.25,"age":"Café owner","city":40,"credit_score":"New York"}"#),
    ("extra_field", r#"{"job_title":"Café owner","age":40,"city":"New York","credit_score":62.25,"pipeline_release":"2"}"#),
    ("duplicated_column", r#"{"job_title":"Café owner","age":62.25,"city":"New York","credit_score":62.25}"#),
    ("constant_column", r#"{"job_title":"Café owner","age":40,"city":"New York","credit_score":55.5}"#),
    ("stale_by_one", r#"{"job_title":"Café owner","age":40,"city":"New York","credit_score":55.5}"#),
    ("jitter_1_percent", r#"{"job_title":"Café owner","age":NEAR,"city":"New York","credit_score":NEAR}"#),
];

fn edited(kind: &kinds::ChangeKind, json: &str, columns: &Columns, chance: u64) -> String {
    let targets = kind.targets(columns, None).unwrap();
    let mut row = Row::read(json, columns).unwrap();
    let before = Row::read(BEFORE, columns).unwrap();
    let values: Vec<Option<String>> = targets.iter().map(|&at| before.field(at).map(|field| field.json().to_owned())).collect();
    let mut memory = Memory { first: values.clone(), before: values };
    kind.edit(&mut row, &mut Scene { columns, targets: &targets, chance, memory: &mut memory });
    row.write()
}

#[test]
fn each_kind_changes_what_it_says_and_nothing_else() {
    let columns = columns();
    // A chance that lies below every share: the new categories and the imputed mean take this row.
    let chance = (0..1000).find(|&chance| edited(&KINDS[15], ROW, &columns, chance) != ROW).unwrap();
    for (kind, (name, expected)) in KINDS.iter().zip(EXPECTED) {
        assert_eq!(kind.name, name, "the tables have one order");
        let made = edited(kind, ROW, &columns, chance);
        match name {
            "text_hashed" => {
                let row: serde_json::Value = serde_json::from_str(&made).unwrap();
                for text in [&row["job_title"], &row["city"]] {
                    let text = text.as_str().unwrap();
                    assert!(text.len() == 8 && text.bytes().all(|digit| digit.is_ascii_hexdigit()), "{made}");
                }
                assert_ne!(row["job_title"], row["city"]);
                assert_eq!((&row["age"], &row["credit_score"]), (&40.into(), &62.25.into()));
            }
            "jitter_1_percent" => {
                let row: serde_json::Value = serde_json::from_str(&made).unwrap();
                for (number, was) in [(&row["age"], 40.0), (&row["credit_score"], 62.25)] {
                    let off = number.as_f64().unwrap() / was - 1.0;
                    assert!(off.abs() <= 0.01 && off.abs() > 1e-9, "{made}");
                }
                assert_eq!((&row["job_title"], &row["city"]), (&"Café owner".into(), &"New York".into()));
            }
            _ => assert_eq!(made, expected, "{name}"),
        }
    }
    let clerk = ROW.replace("Café owner", "Clerk-A");
    let renamed = ChangeKind::named("category_renamed").unwrap();
    assert_eq!(edited(renamed, &clerk, &columns, 0), clerk.replace("Clerk-A", "Clerk-A (new)"));
    let swapped = ChangeKind::named("categories_swapped").unwrap();
    assert_eq!(edited(swapped, &clerk, &columns, 0), clerk.replace("Clerk-A", "Pilot"));
    let clipped = ChangeKind::named("clipped").unwrap();
    assert_eq!(edited(clipped, &ROW.replace("62.25", "93.5"), &columns, 0), ROW.replace("62.25", "80"));
}

#[test]
fn names_are_unique_and_a_third_is_held_out_in_every_large_family() {
    assert_eq!(names().into_iter().collect::<BTreeSet<_>>().len(), KINDS.len());
    let held_out = KINDS.iter().filter(|kind| kind.held_out).count();
    assert_eq!(3 * held_out, KINDS.len());
    let families: BTreeSet<_> = KINDS.iter().filter(|kind| kind.held_out).map(|kind| kind.family).collect();
    assert!(families.len() >= 6, "{families:?}");
    let listed = list();
    assert!(names().iter().all(|name| listed.contains(&format!("  {name} "))), "{listed}");
}

/// A model `m` with the columns `job` and `age`.
fn reference() -> Reference {
    let cells = |text: bool| -> Vec<Raw> {
        (0..300_u32)
            .map(|nth| {
                if text {
                    Raw::Text(["Clerk", "Nurse", "Pilot"][nth as usize % 3].into())
                } else {
                    Raw::Number(f64::from(nth % 97))
                }
            })
            .collect()
    };
    let features = vec![Column { name: "job".into(), cells: cells(true) }, Column { name: "age".into(), cells: cells(false) }];
    let dataset = Dataset { features, predictions: cells(false), probabilities: Vec::new() };
    fit(&dataset, &FitOptions { model: "m".into(), ..FitOptions::default() }).unwrap()
}

fn change(text: &str, mapping: Option<&Mapping>) -> Change {
    let (reference, spec) = (reference(), ChangeSpec::parse(text).unwrap().0);
    let columns = Arc::new(Columns::new(&reference));
    Change::new(&spec, &reference, &columns, &Arc::new(EventLayout::new(mapping)), 7).unwrap()
}

fn line(nth: usize) -> String {
    format!(
        r#"{{"timestamp":"2026-03-02T00:00:{:02}Z","model":"m","source_ip":"10.0.0.{}","features":{{"job":"Clerk","age":{}.50}},"prediction":0.50}}"#,
        nth % 60,
        nth % 30,
        nth % 90
    )
}

#[test]
fn every_byte_outside_the_features_is_kept() {
    let change = change("space_before_text", None);
    let mut rewriter = Rewriter::new(change.clone());
    assert_eq!(rewriter.rewrite(&line(0), true).unwrap(), line(0).replace("\"Clerk\"", "\" Clerk\""));
    assert_eq!(rewriter.rewrite(&line(0), false), None, "before the beginning");
    assert_eq!(rewriter.rewrite(&line(0).replace("\"m\"", "\"other\""), true), None, "another model");
    assert_eq!(rewriter.rewrite("{\"model\":\"m\",", true), None, "no JSON");
    assert_eq!(rewriter.changed(), 1);
}

#[test]
fn batches_arrays_and_mapped_layouts_are_changed_as_single_events_are() {
    let rewrite = |change: &Change, line: &str| Rewriter::new(change.clone()).rewrite(line, true);
    let spaced = change("space_before_text", None);
    let batch = r#"{"model":"m","instances":[{"job":"Clerk","age":1},["Nurse",2],{"age":3}],"predictions":[1,2,3]}"#;
    let made = r#"{"model":"m","instances":[{"job":" Clerk","age":1},[" Nurse",2],{"age":3}],"predictions":[1,2,3]}"#;
    assert_eq!(rewrite(&spaced, batch).as_deref(), Some(made));
    assert_eq!(
        rewrite(&spaced, r#"{"features":["Clerk",1],"model":"m"}"#).as_deref(),
        Some(r#"{"features":[" Clerk",1],"model":"m"}"#)
    );
    let mapping =
        Mapping { rows: Some("/in/rows".into()), features: "/x".into(), model_name: Some("m".into()), ..Mapping::default() };
    let mapped = change("space_before_text", Some(&mapping));
    let event = r#"{"in":{"rows":[{"x":{"job":"Clerk"},"y":1},{"x":{"job":"Nurse"},"y":2}]}}"#;
    assert_eq!(rewrite(&mapped, event).as_deref(), Some(event.replace("Clerk", " Clerk").replace("Nurse", " Nurse").as_str()));
}

#[test]
fn some_changes_whole_callers_and_about_the_share_that_was_asked_for() {
    let change = change("one_unit:share=0.3:at=0", None);
    let mut rewriter = Rewriter::new(change.clone());
    let mut taken = vec![BTreeSet::new(); 30];
    for nth in 0..300 {
        taken[nth % 30].insert(rewriter.rewrite(&line(nth), true).is_some());
    }
    // A row with the age 0 is not changed by a factor, and there is none: every age ends with a half.
    assert!(taken.iter().all(|one| one.len() == 1), "a caller changes as a whole");
    let callers = taken.iter().filter(|one| one.contains(&true)).count();
    // 30 callers with probability 0.3: 9 ± 2.5; four deviations.
    assert!((1..=19).contains(&callers), "{callers}");
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    for kind in &KINDS {
        let Ok(targets) = kind.targets(&Columns::new(&reference()), None) else { continue };
        assert!(!targets.is_empty());
        let run = || {
            let change = change(kind.name, None);
            let mut rewriter = Rewriter::new(change.clone());
            (0..200).map(|nth| rewriter.rewrite(&line(nth), true).unwrap_or_default()).collect::<Vec<_>>()
        };
        assert!(run() == run(), "{}", kind.name);
    }
}

#[test]
fn a_stale_value_is_the_one_of_the_row_before_in_the_log_as_it_was() {
    let change = change("stale_by_one:at=0.1", None);
    let mut rewriter = Rewriter::new(change.clone());
    assert_eq!(rewriter.rewrite(&line(10), false), None);
    assert_eq!(rewriter.rewrite(&line(20), true).unwrap(), line(20).replace("20.50", "10.50"));
    assert_eq!(rewriter.rewrite(&line(30), true).unwrap(), line(30).replace("30.50", "20.50"), "not 10.50, which was handed on");
}

#[test]
fn an_extent_follows_from_a_share_or_a_beginning() {
    let read = |text| ChangeSpec::parse(text).map(|(spec, stated)| (spec.extent, spec.share, spec.at, stated)).unwrap();
    assert_eq!(read("rounded"), (Extent::All, 1.0, 0.0, false));
    assert_eq!(read("rounded:extent=some"), (Extent::Some, SOME, 0.5, true));
    assert_eq!(read("rounded:share=0.1:at=0.7"), (Extent::Some, 0.1, 0.7, true));
    assert_eq!(read("rounded:at=0.7"), (Extent::Mid, 1.0, 0.7, true));
    assert_eq!(ChangeSpec::parse("one_unit:column=age").unwrap().0.column.as_deref(), Some("age"));
}

#[test]
fn a_bad_spec_says_what_there_is() {
    let said = |text| ChangeSpec::parse(text).unwrap_err().to_string();
    assert!(
        said("space").contains("no change 'space'") && said("space").contains("space_before_text, space_after_text"),
        "{}",
        said("space")
    );
    assert!(said("rounded:where=x").contains("no key 'where'; keys are extent, share, at, column"));
    assert!(said("rounded:extent=half").contains("all, mid, some"));
    assert!(said("rounded:share=0").contains("share=0") && said("rounded:at=1").contains("at=1"));
    assert!(said("rounded:some").contains("not of the form key=value"));
    let kind = ChangeKind::named("one_unit").unwrap();
    let columns = Columns::new(&reference());
    assert!(kind.targets(&columns, Some("wage")).unwrap_err().contains("no column 'wage'; columns are job, age"));
    assert!(kind.targets(&columns, Some("job")).unwrap_err().contains("does not hold numbers; columns that do are age"));
}
