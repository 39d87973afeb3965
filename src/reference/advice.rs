//! What looks wrong with training data though a profile can be learned from it: a saved row index, the true answer among the
//! features, numbers, dates, durations and lists written as text.
//!
//! Each is a column that the log of the model will not have, or will have in another form. It is found in the profile itself, and said
//! with the option that mends it; nothing but a row index that pandas saved is left out without being asked.

use std::collections::BTreeMap;

use super::number_style::{dressed, option_for};
use super::{Feature, Kind, PredictionKind, Reference};

/// Names that people give to the true answer. Chosen from the documentation of scikit-learn, XGBoost, pandas and OpenML.
const TARGET_NAMES: [&str; 14] = [
    "label",
    "labels",
    "target",
    "y",
    "class",
    "outcome",
    "truth",
    "groundtruth",
    "ytrue",
    "actual",
    "response",
    "dependent",
    "islabel",
    "answer",
];
/// Share of the errors of always guessing the commonest decision that a column must save for the prediction to repeat it. Chosen: a
/// feature that decides alone in 49 of 50 such cases makes the model needless.
const REPEATS: f64 = 0.98;
/// The same for a column that is named like an answer. Chosen: a model that is of any use saves a third of these errors.
const NAMED_REPEATS: f64 = 0.3;
/// Correlation with a score from which a column is taken for the answer, as REPEATS and NAMED_REPEATS for decisions.
const CORRELATES: f64 = 0.999;
const NAMED_CORRELATES: f64 = 0.5;
/// Different values up to which a column can stand for a decision: as many as discrete columns have.
const MOST_VALUES: usize = 24;
/// Fewest rows of the sample from which anything is said, and least share of rows with another decision than the commonest.
const LEAST_ROWS: usize = 100;
const LEAST_MINORITY: f64 = 0.02;
/// Share of a column's rows whose text must look like a number.
const NUMBERS: f64 = 0.9;

/// Something to look into.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Advice {
    /// The column.
    pub column: String,
    /// What is odd, and the option that mends it: a sentence without a full stop.
    pub what: String,
}

/// What looks wrong with the data of a profile, in schema order. `decided` says of which columns the user has named the kind: text that
/// is to be text is no fault.
pub fn advice(reference: &Reference, decided: impl Fn(&str) -> bool) -> Vec<Advice> {
    let mut all = Vec::new();
    for (at, feature) in reference.features.iter().enumerate() {
        let name = &feature.name;
        let option = quoted(name);
        let what = if is_saved_index(name) {
            format!("'{name}' is a row index that pandas saved; the log will not have it: --drop {option}")
        } else if let Some(how) = repeats_answer(reference, at) {
            format!("{how}; if '{name}' is the true answer, the log will not have it: --drop {option}")
        } else if let Some(example) = number_as_text(feature).filter(|_| !decided(name)) {
            let dressed = feature.values.iter().map(String::as_str);
            let mend = option_for(dressed).unwrap_or("write plain numbers in the training data and in the log");
            format!(
                "'{name}' is text that looks like numbers, such as '{example}'; {mend}, or keep it as names with --kind {}",
                quoted(&format!("{name}=categorical"))
            )
        } else if let Some(what) = other_text(feature).filter(|_| !decided(name)) {
            what
        } else {
            continue;
        };
        all.push(Advice { column: name.clone(), what });
    }
    all
}

/// A name as a shell takes it.
fn quoted(name: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '=');
    if !name.is_empty() && name.chars().all(plain) { name.to_owned() } else { format!("'{}'", name.replace('\'', r"'\''")) }
}

/// The names under which pandas writes and reads back an index without a name.
fn is_saved_index(name: &str) -> bool {
    name.is_empty() || name.starts_with("Unnamed: ") || name == "level_0" || name == "__index_level_0__"
}

/// Whether a column is called as answers are.
fn is_named_as_answer(name: &str) -> bool {
    let plain: String = name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect();
    TARGET_NAMES.contains(&plain.as_str())
}

/// How a column repeats the model's answers, in words; `None` if it does not, or if it is the only one.
fn repeats_answer(reference: &Reference, at: usize) -> Option<String> {
    let feature = &reference.features[at];
    if reference.features.len() < 2 || reference.sample.len() < LEAST_ROWS {
        return None;
    }
    let named = is_named_as_answer(&feature.name);
    let (decides, follows) = if named { (NAMED_REPEATS, NAMED_CORRELATES) } else { (REPEATS, CORRELATES) };
    let called = if named { " and is called like an answer" } else { "" };
    if saved_errors(reference, at).is_some_and(|saved| saved >= decides) {
        return Some(format!("'{}' goes with the model's decision{called}", feature.name));
    }
    let correlation = correlation(reference, at).unwrap_or_default();
    (correlation >= follows).then(|| format!("'{}' goes with the model's score{called}", feature.name))
}

/// Share of the errors of always guessing the commonest decision that knowing a column saves: Goodman and Kruskal's lambda (1954). `None`
/// if the answers are no decisions, or the column has many values.
fn saved_errors(reference: &Reference, at: usize) -> Option<f64> {
    let feature = &reference.features[at];
    if feature.bins() > MOST_VALUES || feature.kind == Kind::Continuous {
        return None;
    }
    let threshold = match (reference.prediction.kind, reference.prediction.threshold) {
        (PredictionKind::Label, _) => None,
        (PredictionKind::Score, Some(threshold)) => Some(threshold),
        (PredictionKind::Score, None) | (PredictionKind::Probabilities, _) => return None,
    };
    let mut decisions: BTreeMap<i64, u64> = BTreeMap::new();
    let mut by_value: BTreeMap<usize, BTreeMap<i64, u64>> = BTreeMap::new();
    let mut rows = 0;
    for (row, answer) in reference.sample.iter().zip(&reference.sample_predictions) {
        if answer.is_missing() || answer.is_unreadable() {
            continue;
        }
        #[expect(clippy::cast_possible_truncation, reason = "a class index")]
        let decision = threshold.map_or(answer.value() as i64, |threshold| i64::from(answer.value() >= threshold));
        *decisions.entry(decision).or_default() += 1;
        *by_value.entry(feature.code(row[at])).or_default().entry(decision).or_default() += 1;
        rows += 1;
    }
    let right = |counts: &BTreeMap<i64, u64>| counts.values().max().copied().unwrap_or_default();
    let guessing = rows - right(&decisions);
    let knowing = rows - by_value.values().map(right).sum::<u64>();
    (guessing as f64 >= LEAST_MINORITY * rows as f64 && guessing > 0).then(|| 1.0 - knowing as f64 / guessing as f64)
}

/// Size of Pearson's correlation of a numeric column with the scores; `None` if either has no numbers or no variance.
fn correlation(reference: &Reference, at: usize) -> Option<f64> {
    if reference.prediction.kind != PredictionKind::Score || !reference.features[at].is_numeric() {
        return None;
    }
    let pairs = reference.sample.iter().zip(&reference.sample_predictions).map(|(row, answer)| (row[at].value(), answer.value()));
    let pairs: Vec<(f64, f64)> = pairs.filter(|(x, y)| x.is_finite() && y.is_finite()).collect();
    if pairs.len() < LEAST_ROWS {
        return None;
    }
    let n = pairs.len() as f64;
    let (mx, my) = (pairs.iter().map(|p| p.0).sum::<f64>() / n, pairs.iter().map(|p| p.1).sum::<f64>() / n);
    let sum = |part: &dyn Fn(f64, f64) -> f64| pairs.iter().map(|&(x, y)| part(x - mx, y - my)).sum::<f64>();
    let size = (sum(&|x, _| x * x) * sum(&|_, y| y * y)).sqrt();
    (size > 0.0).then(|| (sum(&|x, y| x * y) / size).abs())
}

/// An example of a column of texts that look like numbers; `None` if it is none.
fn number_as_text(feature: &Feature) -> Option<&str> {
    if feature.kind != Kind::Categorical {
        return None;
    }
    let of = |look: &dyn Fn(&str) -> bool| -> u64 {
        feature.values.iter().zip(&feature.counts).filter(|(value, _)| look(value)).map(|(_, count)| count).sum()
    };
    let all = of(&|_| true);
    // Plain numbers among them were read as names on purpose, such as 007.
    let enough = of(&looks_like_number) as f64 >= NUMBERS * all as f64 && of(&|text| dressed(text).is_some()) > 0;
    let example = feature.values.iter().find(|value| dressed(value).is_some())?;
    enough.then_some(example.as_str())
}

fn looks_like_number(text: &str) -> bool {
    text.trim().parse::<f64>().is_ok() || dressed(text).is_some()
}

/// What a column of texts is besides names, with what to do; `None` if the texts are names.
fn other_text(feature: &Feature) -> Option<String> {
    if feature.kind != Kind::Categorical {
        return None;
    }
    let all: u64 = feature.values.iter().zip(&feature.counts).map(|(_, count)| count).sum();
    let share = |look: fn(&str) -> bool| {
        let rows: u64 = feature.values.iter().zip(&feature.counts).filter(|(value, _)| look(value)).map(|(_, count)| count).sum();
        rows as f64 >= NUMBERS * all as f64
    };
    let (name, option) = (&feature.name, quoted(&feature.name));
    let example = feature.values.first()?;
    if share(is_date) {
        return Some(format!(
            "'{name}' holds dates, such as '{example}', and each new day is a text that the reference does not know: write what the model \
             reads of them (an age in days, a month) as a number in the training data and in the log, or leave it out with --drop {option}"
        ));
    }
    if share(is_duration) {
        return Some(format!(
            "'{name}' holds durations, such as '{example}': write them as seconds in the training data and in the log, or leave it out \
             with --drop {option}"
        ));
    }
    share(is_list).then(|| {
        format!(
            "'{name}' holds lists or objects as text, such as '{example}': give each part a column of its own, or leave it out with --drop \
             {option}"
        )
    })
}

/// `2026-03-02`, `2026/03/02`, `02.03.2026`, `3/2/2026`, alone or before a time of day.
fn is_date(text: &str) -> bool {
    let text = text.trim();
    let day = text.split_once([' ', 'T']).map_or(text, |(day, _)| day);
    ['-', '/', '.'].into_iter().any(|sign| {
        let parts: Vec<&str> = day.split(sign).collect();
        let digits = parts.len() == 3 && parts.iter().all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()));
        digits && matches!((parts[0].len(), parts[1].len(), parts[2].len()), (4, 1..=2, 1..=2) | (1..=2, 1..=2, 4))
    })
}

/// `0 days 01:02:03`, as pandas writes a duration, `01:02:03`, or `PT3S`.
fn is_duration(text: &str) -> bool {
    let text = text.trim().trim_start_matches('-');
    let clock = text.split_once(" days").map_or(text, |(_, rest)| rest).trim().trim_start_matches('+');
    let parts: Vec<&str> = clock.split(':').collect();
    let is_clock = (parts.len() == 3 || text.len() > clock.len())
        && parts.iter().all(|part| part.chars().all(|c| c.is_ascii_digit() || c == '.'));
    let is_iso = text.strip_prefix('P').is_some_and(|rest| {
        rest.starts_with(|c: char| c.is_ascii_digit() || c == 'T')
            && rest.chars().all(|c| c.is_ascii_digit() || "YMWDTHS.".contains(c))
    });
    is_clock || is_iso
}

/// A list or an object of Python or JSON.
fn is_list(text: &str) -> bool {
    let text = text.trim();
    matches!((text.chars().next(), text.chars().last()), (Some('['), Some(']')) | (Some('{'), Some('}')))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash;
    use crate::reference::{Column, Dataset, FitOptions, Raw, fit};

    const ROWS: u64 = 400;

    fn score(row: u64) -> f64 {
        (hash::mix(row) % 1_000) as f64 / 1_000.0
    }

    /// The advice on a profile of an ordinary column and another.
    fn said(name: &str, cell: impl Fn(u64) -> Raw) -> Vec<String> {
        let column = |name: &str, cell: &dyn Fn(u64) -> Raw| Column { name: name.into(), cells: (0..ROWS).map(cell).collect() };
        let age = column("age", &|row| Raw::Number((hash::mix2(row, 1) % 60) as f64));
        let predictions = (0..ROWS).map(|row| Raw::Number(score(row))).collect();
        let dataset = Dataset { features: vec![age, column(name, &cell)], predictions, probabilities: Vec::new() };
        let reference = fit(&dataset, &FitOptions { model: "m".into(), ..FitOptions::default() }).unwrap();
        advice(&reference, |column| column == "decided").into_iter().map(|one| one.what).collect()
    }

    fn text(text: String) -> Raw {
        Raw::Text(text.into())
    }

    #[test]
    fn a_saved_index_is_named_with_the_option_as_a_shell_takes_it() {
        let said = said("Unnamed: 0", |row| Raw::Number(row as f64));
        assert!(said[0].ends_with("--drop 'Unnamed: 0'") && said.len() == 1, "{said:?}");
        assert_eq!((quoted("a_b"), quoted("it's")), ("a_b".into(), r"'it'\''s'".into()));
    }

    #[test]
    fn the_true_answer_among_the_features_is_found_by_name_or_by_what_it_says() {
        let flips = |row: u64, of: u64| u64::from(score(row) >= 0.5) ^ u64::from(hash::mix2(row, 7).is_multiple_of(of));
        let exact = said("bought", |row| Raw::Number(flips(row, 1_000_000) as f64));
        assert!(exact[0].contains("'bought' goes with the model's decision") && exact[0].ends_with("--drop bought"), "{exact:?}");
        let named = said("Y_true", |row| Raw::Number(flips(row, 6) as f64));
        assert!(named[0].contains("is called like an answer"), "{named:?}");
        assert!(said("member", |row| Raw::Number(flips(row, 6) as f64)).is_empty(), "a strong feature is no answer");
        assert!(said("label", |row| Raw::Number((hash::mix2(row, 3) % 2) as f64)).is_empty(), "nor is one that is only called so");
        let copy = said("score_copy", |row| Raw::Number(score(row) * 100.0));
        assert!(copy[0].contains("goes with the model's score"), "{copy:?}");
    }

    #[test]
    fn numbers_that_are_written_as_text_are_said_unless_they_are_meant() {
        let money = |row: u64| text(format!("${},{:03}", 1 + row % 7, row % 5 * 100));
        let said_of = said("price", money);
        assert!(
            said_of[0].contains("text that looks like numbers, such as '$1,0") && said_of[0].ends_with("--kind price=categorical"),
            "{said_of:?}"
        );
        assert!(said("decided", money).is_empty());
        assert!(said("city", |row| text(format!("city {}", row % 9))).is_empty());
        for (number, is) in [
            ("12 %", true),
            ("3,5", true),
            ("1 234", true),
            ("-€5", false),
            ("12", false),
            ("a,b", false),
            (",", false),
            ("1-2", false),
        ] {
            assert_eq!(dressed(number).is_some(), is, "{number}");
        }
    }

    #[test]
    fn dates_durations_and_lists_as_text_are_said_with_what_to_do() {
        type Write = fn(u64) -> String;
        let date: Write = |row| format!("{:02}.{:02}.2021", 1 + row % 28, 1 + row % 12);
        let time: Write = |row| format!("2021-03-{:02} 09:15:00", 1 + row % 28);
        let took: Write = |row| format!("0 days 00:{:02}:07", row % 60);
        let list: Write = |row| format!("['a', {}]", row % 9);
        for (write, words) in [(date, "holds dates"), (time, "holds dates"), (took, "holds durations"), (list, "holds lists")] {
            let said = said("opened", |row| text(write(row)));
            assert!(said[0].contains(words) && said[0].contains("--drop opened"), "{said:?}");
        }
        for name in ["12-34-56", "1.2.3", "a:b:c", "PS", "10:30", "[x"] {
            assert!(!is_date(name) && !is_duration(name) && !is_list(name), "{name}");
        }
        assert!(is_duration("P1DT2H") && is_duration("-1 days +23:59:59.5") && is_date("3/2/2026"));
    }
}
