//! The drill's pictures: which attacks were found in which delivery, how soon, and at which hours alarms came without any attack.

use maud::{Markup, html};

use super::calibration::Calibration;
use super::outcome::{DrillOutcome, DrillRow};
use super::statistics::Share;
use super::table::fraction;
use super::trial::Trial;
use crate::html::frame;
use crate::html::svg::{WIDTH, bar, level, line, path, styled_text, svg, text, tick};
use crate::html::words;
use crate::judge::Finding;

/// Space for the names on the left.
const LEFT: f64 = 150.0;
/// Space for the deliveries' names above.
const ABOVE: f64 = 44.0;
/// Height of a row of the matrix.
const ROW: f64 = 30.0;

/// Attacks × deliveries, coloured by the share that was found.
#[expect(clippy::cast_precision_loss, reason = "counts of rows and columns")]
pub fn matrix(outcome: &DrillOutcome) -> Markup {
    let (families, deliveries) = (&outcome.drill.families, &outcome.drill.deliveries);
    let width = (WIDTH - LEFT) / deliveries.len().max(1) as f64;
    let height = ABOVE + ROW * families.len() as f64;
    let cell = |family: &str, delivery: &str| outcome.cells.iter().find(|line| line.family == family && line.delivery == delivery);
    let body = html! {
        @for (column, delivery) in deliveries.iter().enumerate() {
            @let x = LEFT + (column as f64 + 0.5) * width;
            @let (first, rest) = delivery.split_once(", ").unwrap_or((delivery, ""));
            (text(x, 16.0, "middle", &first))
            (text(x, 31.0, "middle", &rest))
        }
        @for (at, family) in families.iter().enumerate() {
            @let y = ABOVE + at as f64 * ROW;
            (styled_text("strong", LEFT - 10.0, y + 19.0, "end", family))
            @for (column, delivery) in deliveries.iter().enumerate() {
                @if let Some(cell) = cell(family, delivery) {
                    @let x = LEFT + column as f64 * width;
                    (bar(x + 2.0, y + 2.0, width - 4.0, ROW - 4.0, &colour(cell), &tip(cell)))
                    (text(x + width / 2.0, y + 19.0, "middle", &fraction(cell.power)))
                }
            }
        }
    };
    let label = format!("Attacks found by attack and delivery: {} of {} together", outcome.all.power.of, outcome.all.power.among);
    svg(WIDTH, height, &label, &body)
}

/// The colour of a field.
fn colour(cell: &DrillRow) -> String {
    format!("var(--{}-soft)", frame::class(field_rating(cell.power)))
}

/// A share of attacks found as a finding, for its colour: all, half or more, or fewer.
fn field_rating(found: Share) -> Finding {
    match found {
        Share { of, among, .. } if among > 0 && of == among => Finding::Stable,
        Share { of, among, .. } if of > 0 && 2 * of >= among => Finding::Drift,
        _ => Finding::Probing,
    }
}

fn tip(cell: &DrillRow) -> String {
    let interval = super::table::interval(cell.power);
    let after = cell.queries_median.value.map_or_else(
        || "not found in half of the trials".to_owned(),
        |queries| format!("median {} queries", super::table::whole(queries)),
    );
    format!("{}, {}: found {} ({interval}), {after}", cell.family, cell.delivery, fraction(cell.power))
}

/// One small picture per attack: the share found within so many queries, from one address and from many.
pub fn soon(outcome: &DrillOutcome, family: &str) -> Markup {
    const W: f64 = 330.0;
    const H: f64 = 150.0;
    const X: f64 = 34.0;
    const Y: f64 = 118.0;
    #[expect(clippy::cast_precision_loss, reason = "a number of queries")]
    let budget = (outcome.drill.budget.max(10)) as f64;
    let x = |queries: f64| X + queries.max(1.0).log10() / budget.log10() * (W - X - 10.0);
    let y = |share: f64| Y - share * (Y - 14.0);
    let nameless = outcome.log.facts.without_callers;
    let name = |many: bool| match (nameless, many) {
        (true, _) => "without callers",
        (false, true) => "many addresses",
        (false, false) => "one address",
    };
    let trials = |many: bool| -> Vec<&Trial> {
        outcome.trials.iter().filter(|trial| trial.family == family && (trial.callers > 1) == many).collect()
    };
    let body = html! {
        @for (share, name) in [(0.0, "0"), (0.5, "50 %"), (1.0, "all")] {
            (level(X, W - 6.0, y(share), &name))
        }
        @for power in 0..=(budget.log10().floor() as i32) {
            @let queries = 10_f64.powi(power);
            (tick(x(queries), Y, &super::table::whole(queries)))
        }
        (text(W - 6.0, Y + 31.0, "end", &"queries asked →"))
        @for (many, stroke) in [(false, "var(--other)"), (true, "var(--suspect)")] {
            @let trials = trials(many);
            @if !trials.is_empty() {
                path d=(path(&steps(&trials, budget, x, y))) fill="none" stroke=(stroke) stroke-width="2" {
                    title { (name(many)) ": " (said(&trials)) }
                }
            }
        }
    };
    let found = match nameless {
        true => format!("Without callers: {}", said(&trials(false))),
        false => format!("One address: {}. Many: {}", said(&trials(false)), said(&trials(true))),
    };
    let label = format!("{family}: share found by number of queries. {found}");
    svg(W, H, &label, &body)
}

fn said(trials: &[&Trial]) -> String {
    let found = trials.iter().filter(|trial| trial.queries_to_detection.is_some()).count();
    if trials.is_empty() { "not drilled".to_owned() } else { format!("found {found} of {}", trials.len()) }
}

/// A staircase: up by one trial wherever one was found.
#[expect(clippy::cast_precision_loss, reason = "counts of trials and queries")]
fn steps(trials: &[&Trial], budget: f64, x: impl Fn(f64) -> f64, y: impl Fn(f64) -> f64) -> Vec<(f64, f64)> {
    let mut found: Vec<f64> = trials.iter().filter_map(|trial| trial.queries_to_detection).map(|queries| queries as f64).collect();
    found.sort_by(f64::total_cmp);
    let all = trials.len() as f64;
    let mut points = vec![(x(1.0), y(0.0))];
    for (at, queries) in found.iter().enumerate() {
        points.push((x(*queries), y(at as f64 / all)));
        points.push((x(*queries), y((at + 1) as f64 / all)));
    }
    points.push((x(budget), y(found.len() as f64 / all)));
    points
}

/// Queries by hour of the day, and the alarms among them.
pub fn hours(calibration: &Calibration) -> Markup {
    const H: f64 = 190.0;
    const BOTTOM: f64 = 150.0;
    #[expect(clippy::cast_precision_loss, reason = "counts of queries")]
    let most = calibration.by_hour.iter().map(|hour| hour.queries).max().unwrap_or(0).max(1) as f64;
    let width = (WIDTH - 60.0) / 24.0;
    let body = html! {
        (line((50.0, BOTTOM), (WIDTH, BOTTOM), "var(--line)"))
        @for hour in &calibration.by_hour {
            @let x = 50.0 + f64::from(hour.hour) * width;
            @let height = hour.queries as f64 / most * (BOTTOM - 30.0);
            @let tip = format!("{:02}:00 UTC: {}, {}", hour.hour, words::counted(hour.queries, "query", "queries"), words::counted(hour.alarms, "alarm", "alarms"));
            (bar(x + 2.0, BOTTOM - height, width - 4.0, height, "var(--other-soft)", &tip))
            @if hour.alarms > 0 {
                (bar(x + 2.0, BOTTOM - height - 8.0, width - 4.0, 6.0, "var(--suspect)", &tip))
                (text(x + width / 2.0, BOTTOM - height - 12.0, "middle", &hour.alarms))
            }
            (text(x + width / 2.0, BOTTOM + 17.0, "middle", &format!("{:02}", hour.hour)))
        }
        (text(WIDTH - 4.0, BOTTOM + 35.0, "end", &"hour of the day, UTC →"))
    };
    let alarms: u64 = calibration.by_hour.iter().map(|hour| hour.alarms).sum();
    svg(WIDTH, H, &format!("Queries by hour of the day, with {}", words::counted(alarms, "alarm", "alarms")), &body)
}
