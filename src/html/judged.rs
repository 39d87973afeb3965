//! The answer on a model in words, for the terminal, the report, the demo and the log of `run`: what was found, and what was not
//! judged. "Nothing unusual" is said of a model only if it was really tested.

use super::frame;
use super::words::{count, counted, duration, headline, minute, printable};
use crate::engine::judged::{DriftJudgement, Judged, PendingChange};
use crate::judge::Finding;

/// The name of a verdict that was not reached, in metrics and in `--summary`.
pub const UNDETERMINED: &str = "undetermined";
/// Characters of a feature's name that are shown, as in the tables of features.
const NAME: usize = 40;
/// Pending changes that are named; more would not fit a sentence.
const NAMED_CHANGES: usize = 3;
/// What to do if no record says who asked.
const NAME_CALLERS: &str =
    "log source_ip or client_id, or say where they lie: decode.mapping.source_ip and decode.mapping.client_id in --config";

/// What is said of a model.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    /// The verdict's name for programs: `stable`, `drift`, `probing`, `drift+probing` or [`UNDETERMINED`].
    pub name: &'static str,
    /// The word on a terminal.
    pub word: String,
    /// The class of its colour.
    pub class: &'static str,
    /// The headline, without a full stop.
    pub headline: &'static str,
    /// What was not judged, what it needs, and what to do; whole sentences.
    pub open: Vec<String>,
}

// === impl Answer ===

impl Answer {
    /// The answer on a model: the finding, if there is one, and what was judged, if it is known.
    pub fn of(finding: Option<Finding>, judged: Option<&Judged>) -> Self {
        let open = judged.map(open).unwrap_or_default();
        let found = |finding: Finding, headline| Self {
            name: finding.name(),
            word: finding.name().to_uppercase().replace('+', " + "),
            class: frame::class(finding),
            headline,
            // Of a model that is said to drift, more columns under test are no open question.
            open: judged.map(|judged| if drifts(finding) { tested(judged) } else { open.clone() }).unwrap_or_default(),
        };
        let undetermined = |headline| Self {
            name: UNDETERMINED,
            word: UNDETERMINED.to_uppercase(),
            class: UNDETERMINED,
            headline,
            open: open.clone(),
        };
        match (finding, judged) {
            (Some(finding), _) if finding != Finding::Stable => found(finding, headline(finding)),
            (_, Some(judged)) if !judged.drift.pending.is_empty() => undetermined("A change is under test"),
            (_, Some(judged)) if !judged.drift.cleared => undetermined("Not judged yet"),
            (None, None) => undetermined("Not judged yet"),
            (_, Some(judged)) if judged.callers.is_impossible() => {
                found(Finding::Stable, "No drift and no probing; nobody could be named")
            }
            (_, _) => found(Finding::Stable, headline(Finding::Stable)),
        }
    }

    /// An answer on a log that was not judged as a whole, whatever was found in parts of it.
    pub fn refused(headline: &'static str, why: String) -> Self {
        Self { name: UNDETERMINED, word: UNDETERMINED.to_uppercase(), class: UNDETERMINED, headline, open: vec![why] }
    }

    /// Whether the model was judged, with whatever result.
    pub fn is_judged(&self) -> bool {
        self.name != UNDETERMINED
    }
}

/// What was not judged, in sentences; empty if all was.
pub fn open(judged: &Judged) -> Vec<String> {
    let mut said: Vec<String> = pending(&judged.drift.pending).into_iter().collect();
    said.extend(tested(judged));
    said
}

fn drifts(finding: Finding) -> bool {
    matches!(finding, Finding::Drift | Finding::DriftAndProbing)
}

/// What was not judged, without the changes under test.
fn tested(judged: &Judged) -> Vec<String> {
    let Judged { drift, callers } = judged;
    let mut said: Vec<String> = needs(drift).into_iter().collect();
    if callers.warm_up_seconds > 0.0 && callers.named > 0 {
        said.push(format!(
            "Callers are judged by what they ask, but newcomers are not watched before the first 4 h of log have shown how callers differ: \
             that needs {} more of log.",
            duration(callers.warm_up_seconds)
        ));
    }
    if callers.is_impossible() {
        said.push(format!(
            "All queries are judged together, and nobody can be named: no record says who asked. To do: {NAME_CALLERS}."
        ));
    } else if callers.unnamed > 0 {
        said.push(format!(
            "The queries without a caller, {} of {}, are judged together, and nobody can be named for them. To do: {NAME_CALLERS}.",
            count(callers.unnamed),
            counted(callers.named + callers.unnamed, "query", "queries")
        ));
    }
    if callers.shared_addresses > 0 {
        said.push(format!(
            "{} without accounts: whoever asks behind them is judged together and cannot be named. To do: log the caller's own address \
             (X-Forwarded-For) or an account.",
            counted(u64::from(callers.shared_addresses), "address sends a large part of all rows", "addresses send a large part of all rows each")
        ));
    }
    said
}

/// The changes under test.
fn pending(changes: &[PendingChange]) -> Option<String> {
    let first = changes.first()?;
    let mut names: Vec<String> = changes.iter().take(NAMED_CHANGES).map(|change| printable(&change.column, NAME)).collect();
    if changes.len() > NAMED_CHANGES {
        names.push("others".into());
    }
    let names = match names.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        _ => names.concat(),
    };
    let wait = match changes.iter().filter_map(|change| change.seconds_left).min() {
        Some(seconds) => format!("it must last another {}", duration(seconds as f64)),
        None => "newcomers bring it while the model is being probed, so it must last until they are known callers".into(),
    };
    Some(format!("A change of {names}, seen since {} UTC, is under test: {wait}.", minute(first.since)))
}

/// What the drift test lacks: before the first test, or since the newest one.
fn needs(drift: &DriftJudgement) -> Option<String> {
    let Some(needs) = drift.needs else {
        let (rows, newest) = (drift.thin_rows?, drift.newest?);
        return Some(format!(
            "Drift was last tested at {} UTC; since then the windows held too few new rows to test ({}).",
            minute(newest),
            count(rows)
        ));
    };
    let mut lacks = Vec::new();
    if drift.too_thin == 0 && needs.seconds > 0.0 {
        lacks.push(format!("{} more of log", duration(needs.seconds)));
    }
    if needs.new_rows > 0 {
        lacks.push(format!(
            "{} (rows that their caller has not sent before)",
            counted(needs.new_rows, "more new row", "more new rows")
        ));
    }
    if let (Some(rows), true) = (drift.thin_rows, needs.new_rows == 0) {
        lacks.push(format!(
            "{} new rows within {}, at most {} of one caller; when the newest test was due there were {}",
            count(needs.rows_in_window),
            duration(needs.window_seconds as f64),
            count(needs.rows_of_one_caller),
            count(rows)
        ));
    }
    (!lacks.is_empty()).then(|| format!("Drift was not tested: the first test needs {}.", lacks.join(" and ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::judged::{CallerJudgement, DriftNeeds};
    use crate::event::EventTime;

    const NEEDS: DriftNeeds =
        DriftNeeds { seconds: 0.0, new_rows: 0, rows_in_window: 100, rows_of_one_caller: 8, window_seconds: 6 * 3600 };

    fn at(minutes: i64) -> EventTime {
        EventTime::from_micros(1_772_409_600_000_000).plus_seconds(60 * minutes)
    }

    fn judged(drift: DriftJudgement) -> Judged {
        Judged { drift, callers: CallerJudgement { named: 10, unnamed: 0, shared_addresses: 0, warm_up_seconds: 0.0 } }
    }

    #[test]
    fn stable_is_said_of_what_was_tested_alone() {
        let tested =
            judged(DriftJudgement { tests_of_one_window: 3, cleared: true, newest: Some(at(0)), ..DriftJudgement::default() });
        let answer = Answer::of(Some(Finding::Stable), Some(&tested));
        assert_eq!((answer.word.as_str(), answer.headline, answer.open.len()), ("STABLE", "Nothing unusual", 0));
        for finding in [None, Some(Finding::Stable)] {
            let untested = judged(DriftJudgement { needs: Some(NEEDS), ..DriftJudgement::default() });
            assert_eq!(Answer::of(finding, Some(&untested)).name, UNDETERMINED, "{finding:?}");
        }
        assert!(!Answer::of(None, None).is_judged());
        assert_eq!(Answer::of(Some(Finding::Probing), Some(&judged(DriftJudgement::default()))).word, "PROBING");
    }

    #[test]
    fn what_is_missing_is_said_in_numbers() {
        let needs = DriftNeeds { seconds: 7_140.0, new_rows: 199, ..NEEDS };
        let callers = CallerJudgement { named: 1, unnamed: 0, shared_addresses: 0, warm_up_seconds: 4.0 * 3600.0 };
        let one_event = Judged { drift: DriftJudgement { needs: Some(needs), ..DriftJudgement::default() }, callers };
        let said = open(&one_event).join(" ");
        assert!(said.contains("the first test needs 2 h more of log and 199 more new rows"), "{said}");
        assert!(said.contains("that needs 4 h more of log"), "{said}");
        let thin = DriftJudgement { needs: Some(NEEDS), too_thin: 5, thin_rows: Some(31), ..DriftJudgement::default() };
        let said = open(&judged(thin)).join(" ");
        assert!(
            said.contains("needs 100 new rows within 6 h, at most 8 of one caller; when the newest test was due there were 31"),
            "{said}"
        );
        let lull = DriftJudgement { thin_rows: Some(12), newest: Some(at(60)), cleared: true, ..DriftJudgement::default() };
        assert!(open(&judged(lull)).join(" ").starts_with("Drift was last tested at 2026-03-02 01:00 UTC"));
    }

    #[test]
    fn a_change_under_test_is_no_stable_model() {
        let change = |column: &str, left| PendingChange { column: column.into(), since: at(370), seconds_left: left };
        let drift = |pending| DriftJudgement { tests_of_one_window: 9, cleared: true, pending, ..DriftJudgement::default() };
        let one = judged(drift(vec![change("hours_per_week", Some(2_700))]));
        let answer = Answer::of(Some(Finding::Stable), Some(&one));
        assert_eq!((answer.name, answer.headline), (UNDETERMINED, "A change is under test"));
        assert_eq!(Answer::of(Some(Finding::Drift), Some(&one)).open, Vec::<String>::new(), "drift is drift");
        assert_eq!(
            answer.open,
            ["A change of hours_per_week, seen since 2026-03-02 06:10 UTC, is under test: it must last another 45 min."]
        );
        let many = ["a", "b", "c", "d", "e"].map(|name| change(name, None)).to_vec();
        let said = open(&judged(drift(many))).concat();
        assert!(said.contains("A change of a, b, c and others") && said.contains("until they are known callers"), "{said}");
    }

    #[test]
    fn callers_without_a_name_are_said_with_the_remedy() {
        let callers = CallerJudgement { named: 0, unnamed: 9, ..CallerJudgement::default() };
        let needs =
            DriftJudgement { needs: Some(DriftNeeds { seconds: 7_140.0, new_rows: 199, ..NEEDS }), ..DriftJudgement::default() };
        let nameless = Judged { callers, drift: needs };
        let said = open(&nameless).concat();
        assert!(said.contains("the first test needs 2 h more of log"), "{said}");
        assert!(said.contains("nobody can be named: no record says who asked. To do: log source_ip"), "{said}");
        let tested = DriftJudgement { tests_of_one_window: 1, cleared: true, ..DriftJudgement::default() };
        let answer = Answer::of(Some(Finding::Stable), Some(&Judged { drift: tested.clone(), ..nameless.clone() }));
        assert_eq!((answer.name, answer.headline), ("stable", "No drift and no probing; nobody could be named"));
        let some = Judged { callers: CallerJudgement { named: 1, ..callers }, drift: tested.clone() };
        assert!(open(&some).concat().starts_with("The queries without a caller, 9 of 10 queries, are judged together"));
        let proxies =
            Judged { callers: CallerJudgement { named: 9, shared_addresses: 2, ..CallerJudgement::default() }, drift: tested };
        assert!(open(&proxies).concat().starts_with("2 addresses send a large part of all rows each without accounts"));
    }
}
