//! The picture of a demo's day: bars of traffic, two lanes for what really happens, and one for the service's verdict.

use maud::{Markup, html};

use super::truth::BUCKET_MICROS;
use super::view::View;
use crate::event::EventTime;
use crate::html::frame;
use crate::html::svg::{WIDTH, bar, level, line, round_up, styled_text, svg, text, tick};
use crate::html::words;
use crate::judge::Finding;

/// Space for the names of the lanes on the left.
const LEFT: f64 = 108.0;
/// Space for the numbers of bars that go beyond the scale.
const TOP: f64 = 16.0;
/// Foot of the bars.
const FOOT: f64 = 166.0;
/// First lane, below the hours.
const LANES: f64 = 190.0;
/// Height of a lane, and from one lane to the next.
const LANE: f64 = 24.0;
const LANE_STEP: f64 = 32.0;
/// Names of the lanes.
const NAMES: [&str; 3] = ["The world drifts", "An attack runs", "Tripline says"];
/// Height of the picture.
const HEIGHT: f64 = LANES + 3.0 * LANE_STEP;
/// An hour in microseconds.
const HOUR: i64 = 3_600_000_000;
/// Buckets in an hour: the axis shows queries an hour.
const PER_HOUR: f64 = (HOUR / BUCKET_MICROS) as f64;
/// The picture shows a whole day, and more after that.
const DAY: i64 = 24 * HOUR;
/// Hours between two labels of the axis.
const LABEL_HOURS: i64 = 3;
/// The scale ends at this quantile of the bars and so much beyond: a batch job or a load test towers over everything, and the
/// rest should not vanish beside it. What goes beyond carries its number.
const ORDINARY: f64 = 0.9;
const HEADROOM: f64 = 1.35;
/// The scale ends here at least, in queries of a bucket.
const LEAST_SCALE: f64 = 20.0;
/// Bars that are taller than the scale by less than this are cut without a number.
const CUT: f64 = 1.05;
/// Space that the number of a cut bar needs, and a character of a lane's word.
const NUMBER_WIDTH: f64 = 34.0;
const CHARACTER: f64 = 6.6;
/// Fewest characters of a shortened word that still say something.
const LEAST_CHARACTERS: usize = 6;

/// Event time to a place in the picture.
struct Axis {
    from: i64,
    span: i64,
}

/// The picture of a view.
pub fn draw(view: &View) -> Markup {
    let from = view.script.start.micros();
    let axis = Axis { from, span: DAY.max(view.clock.micros() - from) };
    let now = axis.x(view.clock.micros());
    let body = html! {
        (bars(view, &axis))
        (hours(&axis))
        (lanes(view, &axis))
        (line((now, TOP), (now, HEIGHT), "var(--soft)"))
    };
    svg(WIDTH, HEIGHT, &label(view), &body)
}

// === impl Axis ===

impl Axis {
    #[expect(clippy::cast_precision_loss, reason = "microseconds of a few days")]
    fn x(&self, micros: i64) -> f64 {
        LEFT + (micros - self.from).max(0) as f64 / self.span as f64 * (WIDTH - LEFT)
    }
}

/// Queries of each bucket, honest below and those of the attack on top.
fn bars(view: &View, axis: &Axis) -> Markup {
    let sums: Vec<f64> = view.buckets.iter().map(|one| f64::from(one.honest) + f64::from(one.attack)).collect();
    let peak = scale(&sums);
    let y = |queries: f64| FOOT - (queries / peak).min(1.0) * (FOOT - TOP);
    let width = (axis.x(axis.from + BUCKET_MICROS) - LEFT - 1.0).max(1.0);
    let unit = round_up(peak * PER_HOUR / 5.0);
    let levels = (0..5).map(|nth| f64::from(nth) * unit).take_while(|level| *level <= peak * PER_HOUR);
    let mut labelled = f64::NEG_INFINITY;
    let mut beyond = |x: f64, sum: f64| {
        let wanted = sum > CUT * peak && x > labelled + NUMBER_WIDTH;
        labelled = if wanted { x } else { labelled };
        wanted.then(|| format!("↑{:.0}k", sum * PER_HOUR / 1e3))
    };
    html! {
        @for hourly in levels { (level(LEFT, WIDTH, y(hourly / PER_HOUR), &words::measured(hourly))) }
        (text(0.0, TOP + 4.0, "start", &"queries"))
        (text(0.0, TOP + 19.0, "start", &"an hour"))
        @for (bucket, &sum) in view.buckets.iter().zip(&sums) {
            @let x = axis.x(bucket.at);
            @let honest = f64::from(bucket.honest);
            @let tip = tip(bucket.at, bucket.honest, bucket.attack);
            (bar(x, y(honest), width, FOOT - y(honest), "var(--other)", &tip))
            @if bucket.attack > 0 { (bar(x, y(sum), width, (y(honest) - y(sum)).max(1.5), "var(--probing)", &tip)) }
            @if let Some(number) = beyond(x, sum) { (styled_text("strong", x + width / 2.0, TOP - 3.0, "middle", &number)) }
        }
    }
}

/// The number of queries at which the scale ends.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "an index of a short list"
)]
fn scale(sums: &[f64]) -> f64 {
    let mut sorted = sums.to_vec();
    sorted.sort_by(f64::total_cmp);
    let ordinary = sorted.get((ORDINARY * sorted.len() as f64) as usize).copied().unwrap_or(0.0);
    sorted.last().copied().unwrap_or(0.0).min(HEADROOM * ordinary).max(LEAST_SCALE)
}

fn tip(at: i64, honest: u32, attack: u32) -> String {
    let [honest, attack] = [honest, attack].map(|number| words::count(number.into()));
    format!("ten minutes from {} UTC: {honest} honest, {attack} of the attack", words::minute(EventTime::from_micros(at)))
}

fn hours(axis: &Axis) -> Markup {
    let step = LABEL_HOURS * HOUR;
    let first = axis.from.div_euclid(step) + i64::from(axis.from.rem_euclid(step) != 0);
    let ticks = (first..).map(|nth| nth * step).take_while(|at| *at <= axis.from + axis.span);
    let hour = |at: i64| words::minute(EventTime::from_micros(at)).get(11..).unwrap_or_default().to_owned();
    html! { @for at in ticks { (tick(axis.x(at), FOOT, &hour(at))) } }
}

/// What really happens, and what the service says of it.
fn lanes(view: &View, axis: &Axis) -> Markup {
    let now = view.clock.micros();
    let acts = view.script.acts.iter().filter(|act| act.from.micros() < now).map(|act| {
        // A drift stays; an attack lasts until its last query.
        let attack = act.finding == Finding::Probing;
        let until = view.attack_until.filter(|_| attack).map_or(now, |at| at.micros().clamp(act.from.micros(), now));
        (usize::from(attack), act.from.micros(), until, act.finding, act.words.clone())
    });
    let timeline = &view.model.timeline;
    let ends = timeline.iter().skip(1).map(|change| change.at.micros()).chain([now]);
    let said = timeline.iter().zip(ends).map(|(change, end)| (2, change.at.micros(), end, change.finding, word(change.finding)));
    html! {
        @for (lane, name) in NAMES.iter().enumerate() {
            (text(0.0, lane_top(lane) + 16.0, "start", name))
            (bar(LEFT, lane_top(lane), axis.x(now) - LEFT, LANE, "var(--faint)", name))
        }
        @for (lane, from, until, finding, words) in acts.chain(said) {
            @let (x, width) = (axis.x(from), axis.x(until) - axis.x(from));
            @if width > 0.0 {
                (bar(x, lane_top(lane), width, LANE, &format!("var(--{})", frame::class(finding)), &words))
                (styled_text("within", x + 7.0, lane_top(lane) + 16.0, "start", &fitted(&words, width - 12.0)))
            }
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "one of three lanes")]
fn lane_top(lane: usize) -> f64 {
    LANES + lane as f64 * LANE_STEP
}

/// As much of a text as fits a width; nothing if that says nothing.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a number of characters")]
fn fitted(words: &str, width: f64) -> String {
    let most = (width / CHARACTER).max(0.0) as usize;
    match words.chars().count() {
        length if length <= most => words.to_owned(),
        _ if most <= LEAST_CHARACTERS => String::new(),
        _ => words.chars().take(most - 1).chain(['…']).collect(),
    }
}

/// The picture in words.
fn label(view: &View) -> String {
    let said: Vec<String> =
        view.model.timeline.iter().map(|change| format!("{} from {}", word(change.finding), words::minute(change.at))).collect();
    let said = if said.is_empty() { "nothing yet".to_owned() } else { said.join(", ") };
    format!("Queries over the simulated day, with the true drift and the true attack. Tripline says: {said}")
}

/// The word of a finding in the picture.
fn word(finding: Finding) -> String {
    finding.name().replace('+', " + ")
}
