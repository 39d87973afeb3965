//! The course of a model: how much was asked, the model's verdict, and when callers were found probing.

use maud::{Markup, html};

use crate::event::EventTime;
use crate::html::frame;
use crate::html::svg::{WIDTH, line, px, styled_text, svg, text};
use crate::html::words;
use crate::judge::Finding;
use crate::report::sample::Sample;
use crate::report::verdict_history::VerdictHistory;

const HEIGHT: f64 = 190.0;
const LEFT: f64 = 46.0;
/// Foot of the volume.
const BOTTOM: f64 = 108.0;
const TOP: f64 = 10.0;
/// The band of verdicts.
const BAND: f64 = 118.0;
const BAND_HEIGHT: f64 = 22.0;
/// Columns of the volume: a day in steps of about ten minutes, seven units wide.
const COLUMNS: usize = 140;
/// Marks of callers found probing: as many as fit side by side with three units each.
const MAX_MARKS: usize = 300;

/// Width from which a band carries its word: the longest one, `drift+probing`, takes it.
const WORD_WIDTH: f64 = 90.0;
/// Verdicts that the label names; a listener remembers fewer.
const MAX_NAMED: usize = 20;

/// The picture of one model; nothing without queries.
#[expect(clippy::cast_precision_loss, reason = "microseconds of a log and counts of queries")]
pub fn draw(span: (EventTime, EventTime), sample: &Sample, history: &VerdictHistory) -> Option<Markup> {
    let (first, last) = (span.0.micros(), span.1.micros().max(span.0.micros() + 1_000_000));
    let x = |micros: i64| LEFT + (micros.clamp(first, last) - first) as f64 / (last - first) as f64 * (WIDTH - LEFT);
    let columns = columns(first, last, sample);
    let most = columns.iter().copied().fold(0.0, f64::max);
    if most <= 0.0 {
        return None;
    }
    let step = (WIDTH - LEFT) / COLUMNS as f64;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count of queries")]
    let peak = format!("≤ {}", words::count(most.ceil() as u64));
    let bands = bands(span, history);
    let marks: Vec<_> = history.probing().map(|(caller, subject)| (subject.at, caller.to_string())).take(MAX_MARKS).collect();
    let body = html! {
        @for (nth, queries) in columns.iter().enumerate() {
            @let height = queries / most * (BOTTOM - TOP);
            rect x=(px(LEFT + step * nth as f64)) y=(px(BOTTOM - height)) width=(px(step + 0.2)) height=(px(height)) fill="var(--reference)" {
                title { (words::measured(queries.round())) " queries in " (words::duration((last - first) as f64 / 1e6 / COLUMNS as f64)) }
            }
        }
        (line((LEFT, BOTTOM), (WIDTH, BOTTOM), "var(--line)"))
        (text(LEFT - 6.0, TOP + 8.0, "end", &"queries"))
        (text(LEFT - 6.0, TOP + 24.0, "end", &peak))
        (text(LEFT - 6.0, BAND + 15.0, "end", &"verdict"))
        @for (from, to, finding) in &bands {
            @let width = (x(to.micros()) - x(from.micros())).max(1.5);
            rect x=(px(x(from.micros()))) y=(px(BAND)) width=(px(width)) height=(px(BAND_HEIGHT)) fill=(format!("var(--{})", band_class(*finding))) rx="2" {
                title { (finding.name()) ", from " (words::minute(*from)) " to " (words::minute(*to)) " UTC" }
            }
            @if *finding == Finding::DriftAndProbing {
                rect x=(px(x(from.micros()))) y=(px(BAND)) width=(px(width)) height=(px(BAND_HEIGHT / 2.0)) fill="var(--drift)" rx="2" {}
            }
            @if width > WORD_WIDTH {
                (styled_text("within", x(from.micros()) + 8.0, BAND + 15.5, "start", &finding.name()))
            }
        }
        @for (at, name) in &marks {
            @let place = x(at.micros());
            path d={ "M" (px(place)) " " (px(BAND + BAND_HEIGHT + 3.0)) "l5 9h-10z" } fill="var(--suspect)" {
                title { (words::printable(name, 80)) " found probing at " (words::moment(*at)) " UTC" }
            }
        }
        @for (nth, at) in ticks(first, last).iter().enumerate() {
            (line((x(*at), BAND + BAND_HEIGHT + 14.0), (x(*at), BAND + BAND_HEIGHT + 19.0), "var(--soft)"))
            (text(x(*at), HEIGHT - 16.0, "middle", &tick_label(*at, first, last, nth == 0)))
        }
    };
    let mut label = "Course of the model's verdict: ".to_owned();
    let named: Vec<_> = bands
        .iter()
        .map(|(from, _, finding)| format!("{} from {}", finding.name(), words::minute(*from)))
        .take(MAX_NAMED)
        .collect();
    label.push_str(&named.join(", "));
    if !marks.is_empty() {
        label.push_str(&format!(". {} found probing", words::counted(marks.len() as u64, "caller was", "callers were")));
    }
    Some(svg(WIDTH, HEIGHT, &label, &body))
}

/// Queries by column of the picture; a slot of the sample is spread over the columns it covers.
#[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to the picture")]
fn columns(first: i64, last: i64, sample: &Sample) -> Vec<f64> {
    let mut columns = vec![0.0; COLUMNS];
    let place = |micros: i64| ((micros - first) as f64 / (last - first) as f64 * COLUMNS as f64).clamp(0.0, COLUMNS as f64 - 1e-6);
    for (start, length, number) in sample.volume() {
        let (from, to) = (place(start), place(start + length).max(place(start) + 1e-9));
        for (nth, column) in columns.iter_mut().enumerate().take(to as usize + 1).skip(from as usize) {
            let covered = (to.min(nth as f64 + 1.0) - from.max(nth as f64)).max(0.0);
            *column += number as f64 * covered / (to - from);
        }
    }
    columns
}

/// Stretches of one verdict. Before the first verdict nothing is known and nothing is drawn.
fn bands(span: (EventTime, EventTime), history: &VerdictHistory) -> Vec<(EventTime, EventTime, Finding)> {
    let ends = history.changes.iter().skip(1).map(|change| change.at).chain([span.1]);
    history.changes.iter().zip(ends).map(|(change, end)| (change.at, end.max(change.at), change.verdict)).collect()
}

/// The colour of a verdict's band. Drift and probing at once is two half bands, so its ground is that of probing.
fn band_class(finding: Finding) -> &'static str {
    frame::class(if finding == Finding::DriftAndProbing { Finding::Probing } else { finding })
}

/// Round instants within the span, four to nine of them.
fn ticks(first: i64, last: i64) -> Vec<i64> {
    const SECOND: i64 = 1_000_000;
    const STEPS: [i64; 18] =
        [1, 5, 15, 30, 60, 300, 900, 1_800, 3_600, 7_200, 14_400, 21_600, 43_200, 86_400, 172_800, 604_800, 2_592_000, 31_536_000];
    let step = STEPS.into_iter().map(|step| step * SECOND).find(|step| (last - first) / step <= 9).unwrap_or(STEPS[17] * SECOND);
    let begin = first.div_euclid(step) + i64::from(first.rem_euclid(step) != 0);
    (begin..).map(|nth| nth * step).take_while(|at| *at <= last).take(12).collect()
}

/// The hour, and the date where it is needed: at the first tick, at midnight, and in long logs.
fn tick_label(at: i64, first: i64, last: i64, leading: bool) -> String {
    let text = words::moment(EventTime::from_micros(at));
    let (date, time) = text.split_at_checked(10).unwrap_or((&text, ""));
    let date = date.get(5..).unwrap_or(date);
    let time = time.trim().get(..if last - first < 600_000_000 { 8 } else { 5 }).unwrap_or_default();
    match (time, leading) {
        ("00:00", _) => date.to_owned(),
        (_, true) => format!("{date} {time}"),
        _ => time.to_owned(),
    }
}
