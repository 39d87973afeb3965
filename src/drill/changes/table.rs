//! The drill of changes as a table on a terminal.

use std::fmt::Write as _;

use super::outcome::{ChangeSums, ChangesOutcome};
use super::trial::ChangeTrial;
use crate::drill::table::{self, wrapped};
use crate::html::words;

/// Headings of the table.
pub const HEADINGS: [&str; 7] = ["change", "extent", "accused", "first after", "model", "right", "drift after"];
/// Width of running text: a terminal of 110 columns with its indent.
const TEXT_WIDTH: usize = 108;
/// Accused callers that are named for a change.
const MAX_NAMES: usize = 5;

/// The whole summary.
pub fn summary(outcome: &ChangesOutcome) -> String {
    let mut out = String::new();
    table::head(&mut out, &outcome.model, &outcome.log);
    // Writing to a String cannot fail.
    let _ = writeln!(
        out,
        "{}\n",
        wrapped(&in_words(outcome), TEXT_WIDTH).iter().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
    );
    let mut rows: Vec<Vec<String>> = vec![HEADINGS.map(str::to_owned).to_vec()];
    rows.extend(outcome.trials.iter().map(|trial| cells(trial, outcome.honest).to_vec()));
    aligned(&mut out, &rows, 2);
    out.push('\n');
    let mut rows =
        vec![["together", "logs", "with accused", "accused", "model wrong", "called probing"].map(str::to_owned).to_vec()];
    rows.extend(sums(outcome).iter().map(|(name, sums)| {
        let mut row = vec![name.clone()];
        row.extend(sum_cells(sums));
        row
    }));
    aligned(&mut out, &rows, 1);
    out.push('\n');
    for words in wrapped(EXPLAINED, TEXT_WIDTH) {
        let _ = writeln!(out, "{words}");
    }
    for trial in outcome.trials.iter().filter(|trial| trial.accused > 0) {
        let shown =
            trial.accused_names.iter().take(MAX_NAMES).map(|name| words::printable(name, 40)).collect::<Vec<_>>().join(", ");
        let more = trial.accused.saturating_sub(MAX_NAMES as u64);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let _ = writeln!(out, "  accused, {}, {}: {shown}{more}", trial.change, trial.extent.name());
    }
    for note in notes(outcome) {
        let _ = writeln!(out, "note: {note}");
    }
    out
}

/// What the columns mean.
pub const EXPLAINED: &str = "accused: honest callers of so many; first after: from the beginning of the change to the first of them; \
    model: everything that was said of it from then on; right: drift, or stable as well where a change is small (*) or reaches only \
    some callers, but never probing; drift after: from the beginning of the change to the first verdict of drift. \
    all: the whole log; mid: everybody, from its middle on; some: a third of the callers, from its middle on.";

/// What was done, in a sentence or two.
pub fn in_words(outcome: &ChangesOutcome) -> String {
    let sums = &outcome.all;
    let accused = if outcome.log.facts.without_callers {
        "Nobody is named in them, so nobody can be accused".to_owned()
    } else {
        let accused = words::counted(sums.accused, "honest caller was accused", "honest callers were accused");
        format!("{accused} in {} of them", words::count(sums.with_accused))
    };
    format!(
        "Honest changes of the pipeline in copies of this log: {}, seed {}. {accused}; the model's verdict is wrong in {}.",
        words::counted(sums.logs, "log", "logs"),
        outcome.seed,
        words::count(sums.wrong)
    )
}

/// The figures of a change in the order of [`HEADINGS`].
pub fn cells(trial: &ChangeTrial, honest: u64) -> [String; 7] {
    let time = |seconds: Option<f64>| seconds.map_or_else(|| "–".to_owned(), words::duration);
    let share =
        if trial.share < 1.0 && !is_third(trial.share) { format!(" {}", words::percent(trial.share)) } else { String::new() };
    [
        format!("{}{}", trial.change, if trial.small { "*" } else { "" }),
        format!("{}{share}", trial.extent.name()),
        if honest == 0 { "–".to_owned() } else { format!("{}/{}", words::count(trial.accused), words::count(honest)) },
        time(trial.seconds_to_accusation),
        trial.model.name().to_owned(),
        match (trial.changed, trial.right) {
            (0, _) => "changes nothing",
            (_, true) => "yes",
            (_, false) => "NO",
        }
        .to_owned(),
        time(trial.seconds_to_drift),
    ]
}

fn is_third(share: f64) -> bool {
    (share * 3.0 - 1.0).abs() < 1e-9
}

/// The sums with their names.
pub fn sums(outcome: &ChangesOutcome) -> Vec<(String, &ChangeSums)> {
    let extents = outcome.extents.iter().map(|line| (format!("extent {}", line.extent.name()), &line.sums));
    let parts = [("development", &outcome.development), ("held out", &outcome.held_out)];
    let parts = parts.into_iter().filter_map(|(name, sums)| Some((name.to_owned(), sums.as_ref()?)));
    extents.chain(parts).chain([("all of these".to_owned(), &outcome.all)]).collect()
}

/// The figures of a sum: logs, logs with accused, accused, model wrong, called probing.
pub fn sum_cells(sums: &ChangeSums) -> [String; 5] {
    [sums.logs, sums.with_accused, sums.accused, sums.wrong, sums.called_probing].map(words::count)
}

/// What a reader should know before believing the numbers.
pub fn notes(outcome: &ChangesOutcome) -> Vec<String> {
    let mut notes = outcome.log.left_out();
    for one in &outcome.left_out {
        notes.push(format!("{} was left out: {}.", one.change, one.why));
    }
    for trial in outcome.trials.iter().filter(|trial| trial.changed == 0) {
        notes.push(format!("{}, {}, changed no row of this log and counts nowhere.", trial.change, trial.extent.name()));
    }
    for trial in outcome.trials.iter().filter(|trial| trial.rejected > 0) {
        let messages = words::counted(trial.rejected, "message", "messages");
        notes.push(format!("{}, {}: {messages} could not be read after the change.", trial.change, trial.extent.name()));
    }
    for trial in outcome.trials.iter().filter(|trial| trial.flagged_still < trial.flagged_before) {
        notes.push(format!(
            "{}, {}: of {} that the log accuses by itself, {} were accused with the change.",
            trial.change,
            trial.extent.name(),
            words::counted(trial.flagged_before, "caller", "callers"),
            words::count(trial.flagged_still)
        ));
    }
    let sums = &outcome.all;
    if sums.flagged_before > 0 {
        notes.push(format!(
            "The log accuses callers by itself. They count as honest nowhere; {} of {} were accused with the change as well.",
            words::count(sums.flagged_still),
            words::count(sums.flagged_before)
        ));
    }
    notes
}

/// Rows in columns; the first `left` columns begin at the left, the others end at the right.
fn aligned(out: &mut String, rows: &[Vec<String>], left: usize) {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..rows.first().map_or(0, Vec::len)).map(width).collect();
    for row in rows {
        let mut text = String::new();
        for (at, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let _ = if at < left { write!(text, "  {cell:<width$}") } else { write!(text, "  {cell:>width$}") };
        }
        let _ = writeln!(out, "{}", text.trim_end());
    }
}
