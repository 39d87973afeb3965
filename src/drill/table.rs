//! The drill as a table on a terminal.
//!
//! Shares are given with their interval. The intervals of times are on the page and in the JSON.

use std::fmt::Write as _;

use super::calibration::{Calibration, small};
use super::outcome::{DrillOutcome, DrillRow, LogSummary as About, detectable};
use super::statistics::{Quantile, Share};
use crate::html::words;

/// Width of the first column, so that all tables of a drill read as one: the longest name of an attack.
const NAME_WIDTH: usize = 24;
/// Least width of the other columns.
const CELL_WIDTH: usize = 7;
/// Width of running text: a terminal of 110 columns with its indent.
const TEXT_WIDTH: usize = 108;
/// Flagged callers that are listed, which is a screenful; the JSON has them all.
const MAX_FLAGGED: usize = 20;

/// The whole summary.
pub fn summary(outcome: &DrillOutcome) -> String {
    let mut out = String::new();
    head(&mut out, &outcome.model, &outcome.log);
    injected(&mut out, outcome);
    out.push('\n');
    table(&mut out, "attack", outcome.families.iter().filter(|line| detectable(&line.family)), |line| line.family.clone());
    out.push('\n');
    table(&mut out, "delivery", outcome.deliveries.iter(), |line| line.delivery.clone());
    out.push('\n');
    let apart = outcome.undetectable.as_ref();
    table(&mut out, "together", std::iter::once(&outcome.all).chain(apart), |line| match detectable(&line.family) {
        true => "all of these".to_owned(),
        false => "natural sampling*".to_owned(),
    });
    if apart.is_some() {
        let _ = writeln!(out, "* rows like everybody's: cannot be told from use, and counts towards nothing");
    }
    out.push('\n');
    for text in legend(outcome.log.facts.without_callers) {
        let _ = writeln!(out, "{text}");
    }
    for note in outcome.notes.iter().chain(&outcome.log.left_out()) {
        let _ = writeln!(out, "note: {note}");
    }
    out.push('\n');
    calibration_into(&mut out, &outcome.calibration);
    out
}

/// What the columns mean. Without callers nobody can be named, and the table says so.
const fn legend(without_callers: bool) -> [&'static str; 3] {
    if without_callers {
        return [
            "found: trials in which the model was said to be probed, with the exact 95 % interval; queries, time: to that verdict,",
            "median / 9th decile, – where fewer were found; leaked: share of queries answered before it, median; callers and false",
            "alarms: –, since no query has a caller who could be named or accused",
        ];
    }
    [
        "found: attacks named, with the exact 95 % interval; callers: of the attack, named; queries, time: to the first",
        "verdict, median / 9th decile, – where fewer were found; leaked: share of queries answered before their caller was",
        "named, median; false alarms: trials in which somebody honest was accused, who is not accused without the attack",
    ]
}

/// The calibration report alone.
pub fn calibration(model: &str, about: &About, calibration: &Calibration) -> String {
    let mut out = String::new();
    head(&mut out, model, about);
    for note in about.left_out() {
        let _ = writeln!(out, "  note: {note}");
    }
    out.push('\n');
    calibration_into(&mut out, calibration);
    out
}

/// What answered the attacks, and what was injected.
fn injected(out: &mut String, outcome: &DrillOutcome) {
    for fidelity in &outcome.surrogates {
        let explained = fidelity.explained.map_or(String::new(), |share| format!(", R² {share:.2}"));
        line(
            out,
            "surrogate",
            &format!(
                "{}: agrees with the log on {} of {} rows it did not learn from (always the commonest: {}){explained}",
                fidelity.surrogate,
                percent(fidelity.agreement),
                words::count(fidelity.agreement.among),
                words::percent(fidelity.always_the_commonest)
            ),
        );
    }
    let drill = &outcome.drill;
    line(
        out,
        "injected",
        &format!(
            "{} × {} × {} = {} trials of {} queries, seed {}; slow ones last {}",
            words::counted(drill.families.len() as u64, "attack", "attacks"),
            words::counted(drill.deliveries.len() as u64, "delivery", "deliveries"),
            drill.repeats,
            words::count(outcome.trials.len() as u64),
            words::count(drill.budget),
            drill.seed,
            words::duration(drill.slow_seconds)
        ),
    );
}

pub(super) fn head(out: &mut String, model: &str, about: &About) {
    let _ = writeln!(
        out,
        "{}: {}, {} to {} UTC",
        words::printable(model, 60),
        from_callers(about, "from"),
        words::minute(about.from.0),
        words::minute(about.to.0)
    );
}

/// How many queries of how many callers, or that there are none.
pub(super) fn from_callers(about: &About, preposition: &str) -> String {
    let queries = words::counted(about.accepted, "query", "queries");
    match about.facts.without_callers {
        true => format!("{queries} without callers"),
        false => format!("{queries} {preposition} {}", words::counted(about.callers, "caller", "callers")),
    }
}

fn line(out: &mut String, name: &str, value: &str) {
    let _ = writeln!(out, "  {name:<11}{value}");
}

/// Headings of the table; the first is given.
const HEADINGS: [&str; 6] = ["found", "95 % interval", "callers", "queries", "time", "leaked"];

fn table<'a>(out: &mut String, first: &str, lines: impl Iterator<Item = &'a DrillRow>, name: impl Fn(&DrillRow) -> String) {
    let mut rows: Vec<Vec<String>> =
        vec![std::iter::once(first).chain(HEADINGS).chain(["false alarms"]).map(str::to_owned).collect()];
    for line in lines {
        rows.push(std::iter::once(name(line)).chain(cells(line)).collect());
    }
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..rows[0].len()).map(width).collect();
    // The first column is as wide in every table, so that they read as one.
    let widths: Vec<usize> =
        widths.iter().enumerate().map(|(at, &width)| if at == 0 { width.max(NAME_WIDTH) } else { width.max(CELL_WIDTH) }).collect();
    for row in rows {
        let mut text = format!("  {:<1$}", row[0], widths[0]);
        for (cell, width) in row.iter().zip(&widths).skip(1) {
            let _ = write!(text, "  {cell:>width$}");
        }
        let _ = writeln!(out, "{}", text.trim_end());
    }
}

/// The figures of a line as a table shows them: found, its interval, callers, queries, time, leaked, false alarms.
pub fn cells(line: &DrillRow) -> [String; 7] {
    [
        fraction(line.power),
        interval(line.power),
        counted(line.callers),
        pair(&line.queries_median, &line.queries_p90, &whole),
        pair(&line.seconds_median, &line.seconds_p90, &words::duration),
        number(&line.leaked_median, &words::percent),
        counted(line.false_alarms),
    ]
}

/// `34 of 35`.
pub fn fraction(share: Share) -> String {
    format!("{}/{}", words::count(share.of), words::count(share.among))
}

/// `34 of 35`, or a dash where there was nothing to count.
pub fn counted(share: Share) -> String {
    if share.among == 0 { "–".to_owned() } else { fraction(share) }
}

/// `85 to 100 %`, rounded outwards so that it never claims more than it may.
pub fn interval(share: Share) -> String {
    let (low, high) = ((share.interval.low * 100.0).floor(), (share.interval.high * 100.0).ceil());
    format!("{low:.0}–{high:.0} %")
}

fn percent(share: Share) -> String {
    share.value().map_or_else(|| "–".to_owned(), words::percent)
}

/// A number of queries.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts of queries")]
pub fn whole(queries: f64) -> String {
    words::count(queries.round() as u64)
}

/// A median and a ninth decile.
pub fn pair(median: &Quantile, p90: &Quantile, words: &dyn Fn(f64) -> String) -> String {
    format!("{} / {}", number(median, words), number(p90, words))
}

/// A quantile, or a dash.
pub fn number(quantile: &Quantile, words: &dyn Fn(f64) -> String) -> String {
    quantile.value.map_or_else(|| "–".to_owned(), words)
}

/// Heading of what was said without any attack.
fn calibration_heading(calibration: &Calibration) -> &'static str {
    match calibration.callers {
        0 => "What is said without any attack",
        _ => "What the stated rate of false alarms turned into, without any attack",
    }
}

fn calibration_into(out: &mut String, calibration: &Calibration) {
    let _ = writeln!(out, "{}", calibration_heading(calibration));
    for words in wrapped(&calibration.finding, TEXT_WIDTH).iter() {
        let _ = writeln!(out, "  {words}");
    }
    if let Some(recommendation) = &calibration.recommendation {
        for words in wrapped(recommendation, TEXT_WIDTH).iter() {
            let _ = writeln!(out, "  {words}");
        }
    }
    if calibration.flagged.is_empty() {
        return;
    }
    let counts = |counts: &std::collections::BTreeMap<String, u64>| {
        counts.iter().map(|(name, count)| format!("{name} {count}")).collect::<Vec<_>>().join(", ")
    };
    line(out, "by signal", &counts(&calibration.by_signal));
    line(out, "by family", &counts(&calibration.by_family));
    let hours: Vec<String> = calibration
        .by_hour
        .iter()
        .filter(|hour| hour.alarms > 0)
        .map(|hour| format!("{:02}h {}", hour.hour, hour.alarms))
        .collect();
    line(out, "by hour", &format!("{} (UTC)", hours.join(", ")));
    for group in calibration.by_group.iter().filter(|group| group.rate.alarms > 0) {
        line(
            out,
            group.by,
            &format!(
                "{}: {} of {} callers, {} per client and day ({} to {})",
                group.name,
                group.rate.alarms,
                words::count(group.callers),
                small(group.rate.per_client_day),
                small(group.rate.interval.low),
                small(group.rate.interval.high)
            ),
        );
    }
    for flagged in calibration.flagged.iter().take(MAX_FLAGGED) {
        line(
            out,
            "flagged",
            &format!(
                "{} at {}, {} after {} ({})",
                words::printable(&flagged.who, 60),
                words::minute(flagged.at.0),
                flagged.family,
                words::counted(flagged.queries_seen, "query", "queries"),
                words::reason(flagged.signal)
            ),
        );
    }
    if calibration.flagged.len() > MAX_FLAGGED {
        line(out, "", &format!("and {} more, in the JSON", calibration.flagged.len() - MAX_FLAGGED));
    }
}

/// Text in lines of at most `width` characters.
pub(super) fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().filter(|line| line.is_empty() || line.chars().count() + 1 + word.chars().count() <= width);
        match line {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) => {
                line.push(' ');
                line.push_str(word);
            }
            None => lines.push(word.to_owned()),
        }
    }
    lines
}
