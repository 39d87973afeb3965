//! Pictures as SVG that is written into the page: no script, no font, no file beside it.
//!
//! They are drawn by hand rather than by a chart library, so that colours come from the page's style (light and dark), every
//! mark has a tooltip, and a screen reader is told what a picture shows. All lengths are in the units of the view box; the page
//! scales it.

use std::fmt::Display;

use maud::{Markup, html};

use super::words;
use crate::judge::FeatureDrift;

/// Width of a picture that takes the whole column of a page, which is 1072 CSS pixels wide: a unit is about a pixel.
pub const WIDTH: f64 = 1040.0;
/// Height of a tick below an axis.
const TICK: f64 = 5.0;
/// From an axis down to the baseline of its labels, which are 11.5 units high.
const LABEL_DROP: f64 = 18.0;
/// From the middle of a line of text down to its baseline.
const BASELINE: f64 = 4.0;
/// Space between an axis and the labels on its left.
const LABEL_GAP: f64 = 6.0;

/// A figure with its picture. `label` is what a screen reader says.
pub fn svg(width: f64, height: f64, label: &str, body: &Markup) -> Markup {
    html! {
        svg viewBox={ "0 0 " (px(width)) " " (px(height)) } role="img" aria-label=(label) xmlns="http://www.w3.org/2000/svg" {
            title { (label) }
            (body)
        }
    }
}

/// A coordinate with one decimal: finer than a pixel, and the same text on every machine.
pub fn px(value: f64) -> String {
    let text = format!("{value:.1}");
    text.strip_suffix(".0").map_or_else(|| text.clone(), str::to_owned)
}

/// A filled rectangle with a tooltip.
pub fn bar(x: f64, y: f64, width: f64, height: f64, fill: &str, tip: &dyn Display) -> Markup {
    html! {
        rect x=(px(x)) y=(px(y)) width=(px(width.max(0.0))) height=(px(height.max(0.0))) fill=(fill) rx="1.5" { title { (tip) } }
    }
}

/// A straight line.
pub fn line(from: (f64, f64), to: (f64, f64), stroke: &str) -> Markup {
    html! { line x1=(px(from.0)) y1=(px(from.1)) x2=(px(to.0)) y2=(px(to.1)) stroke=(stroke) {} }
}

/// Text; `anchor` is start, middle or end.
pub fn text(x: f64, y: f64, anchor: &str, words: &dyn Display) -> Markup {
    html! { text x=(px(x)) y=(px(y)) text-anchor=(anchor) { (words) } }
}

/// Text of a class of the stylesheet: `strong`, or `within` a coloured bar.
pub fn styled_text(class: &str, x: f64, y: f64, anchor: &str, words: &dyn Display) -> Markup {
    html! { text class=(class) x=(px(x)) y=(px(y)) text-anchor=(anchor) { (words) } }
}

/// A line across the picture at a value of the vertical axis, from `left` to `right`, with its label on the left.
pub fn level(left: f64, right: f64, y: f64, label: &dyn Display) -> Markup {
    html! {
        (line((left, y), (right, y), "var(--line)"))
        (text(left - LABEL_GAP, y + BASELINE, "end", label))
    }
}

/// A tick of the horizontal axis at height `y`, with its label below.
pub fn tick(x: f64, y: f64, label: &dyn Display) -> Markup {
    html! {
        (line((x, y), (x, y + TICK), "var(--soft)"))
        (text(x, y + LABEL_DROP, "middle", label))
    }
}

/// Points as the path of a polygon or line.
pub fn path(points: &[(f64, f64)]) -> String {
    // Two coordinates of five characters each, a letter and a space.
    let mut text = String::with_capacity(points.len() * 12);
    for (nth, (x, y)) in points.iter().enumerate() {
        text.push_str(if nth == 0 { "M" } else { "L" });
        text.push_str(&px(*x));
        text.push(' ');
        text.push_str(&px(*y));
    }
    text
}

/// A bar for the evidence of one statistic, as a share of the heaviest one. The number stands beside it, so a screen reader
/// skips it.
pub fn evidence(value: f64, most: f64) -> Markup {
    let width = (value / most).clamp(0.0, 1.0) * 100.0;
    html! {
        svg.evidence viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true" {
            rect width="100" height="8" fill="var(--faint)" {}
            rect width=(format!("{width:.1}")) height="8" fill="var(--suspect)" {}
        }
    }
}

/// Width and height of a gauge's view box.
const GAUGE: (f64, f64) = (300.0, 16.0);
/// Space for half of the hollow mark at either end of a gauge.
const GAUGE_END: f64 = 4.0;

/// The drift of one feature: its PSI as a bar, what chance explains as a tick, and what is left without the suspects as a hollow
/// mark. `most` is the value at the right end. Lengths go with the square root, which keeps small values visible beside large
/// ones. The colour tells how the drift is to be read: an honest drift, the suspects' doing, or nothing beyond chance.
pub fn drift_gauge(drift: &FeatureDrift, most: f64) -> Markup {
    let (width, height) = GAUGE;
    let x = |value: f64| (value / most).clamp(0.0, 1.0).sqrt() * (width - 2.0 * GAUGE_END) + GAUGE_END;
    let FeatureDrift { psi, critical, psi_without_suspects, .. } = *drift;
    let [said, chance, without] = [psi, critical, psi_without_suspects].map(words::measured);
    let fill = match (psi > critical, psi_without_suspects > critical) {
        (_, true) => "var(--drift)",
        (true, false) => "var(--suspect)",
        (false, false) => "var(--reference)",
    };
    let body = html! {
        rect x=(px(GAUGE_END)) y="5" width=(px(width - 2.0 * GAUGE_END)) height="6" fill="var(--faint)" {}
        rect x=(px(GAUGE_END)) y="5" width=(px(x(psi) - GAUGE_END)) height="6" fill=(fill) {}
        line x1=(px(x(critical))) y1="1" x2=(px(x(critical))) y2="15" stroke="var(--ink)" stroke-width="1.6" {}
        circle cx=(px(x(psi_without_suspects))) cy="8" r="4.5" fill="var(--card)" stroke="var(--ink)" stroke-width="1.6" {}
    };
    svg(width, height, &format!("PSI {said}, chance up to {chance}, without suspects {without}"), &body)
}

/// The share of `part` in `whole`; 0 of nothing.
#[expect(clippy::cast_precision_loss, reason = "counts of queries")]
pub fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// The smallest number of the form 1, 2 or 5 times a power of ten that is not below `value`: where an axis ends.
pub fn round_up(value: f64) -> f64 {
    let unit = 10_f64.powf(value.max(1e-9).log10().floor());
    // A value that is round but for the last bits of its division counts as round.
    [1.0, 2.0, 5.0, 10.0].into_iter().map(|step| step * unit).find(|&round| round >= value * 0.999).unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_end_at_round_numbers() {
        assert_eq!([0.037, 0.2, 0.21, 3.0, 100.0].map(|value| px(round_up(value) * 100.0)), ["5", "20", "50", "500", "10000"]);
    }

    #[test]
    fn hostile_words_stay_words() {
        let drawn = text(1.0, 2.0, "end", &"</text><script>alert(1)</script>").into_string();
        assert!(!drawn.contains("<script>"), "{drawn}");
    }
}
