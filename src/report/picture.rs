//! The pictures, as SVG that is written into the page: no script, no font, no file beside it.
//!
//! Written by hand rather than by a chart library, so that colours come from the page's style (light and dark), every mark has
//! a tooltip, and a screen reader is told what a picture shows. All lengths are in the units of the view box; the page scales it.

pub mod features;
pub mod gaps;
pub mod timeline;
pub mod volumes;

use std::fmt::Display;

use maud::{Markup, html};

/// A figure with its picture: `label` is what somebody hears who cannot see it.
pub(crate) fn svg(width: f64, height: f64, label: &str, body: &Markup) -> Markup {
    html! {
        svg viewBox={ "0 0 " (px(width)) " " (px(height)) } role="img" aria-label=(label) xmlns="http://www.w3.org/2000/svg" {
            title { (label) }
            (body)
        }
    }
}

/// A coordinate with one decimal: finer than a pixel, and the same text on every machine.
pub(crate) fn px(value: f64) -> String {
    let text = format!("{value:.1}");
    text.strip_suffix(".0").map_or_else(|| text.clone(), str::to_owned)
}

/// A filled rectangle with a tooltip.
pub(crate) fn bar(x: f64, y: f64, width: f64, height: f64, fill: &str, tip: &dyn Display) -> Markup {
    html! {
        rect x=(px(x)) y=(px(y)) width=(px(width.max(0.0))) height=(px(height.max(0.0))) fill=(fill) rx="1.5" { title { (tip) } }
    }
}

/// A straight line.
pub(crate) fn line(from: (f64, f64), to: (f64, f64), stroke: &str) -> Markup {
    html! { line x1=(px(from.0)) y1=(px(from.1)) x2=(px(to.0)) y2=(px(to.1)) stroke=(stroke) {} }
}

/// Text; `anchor` is start, middle or end.
pub(crate) fn text(x: f64, y: f64, anchor: &str, words: &dyn Display) -> Markup {
    html! { text x=(px(x)) y=(px(y)) text-anchor=(anchor) { (words) } }
}

/// Points as the path of a polygon or line.
pub(crate) fn path(points: &[(f64, f64)]) -> String {
    let mut text = String::with_capacity(points.len() * 12);
    for (nth, (x, y)) in points.iter().enumerate() {
        text.push_str(if nth == 0 { "M" } else { "L" });
        text.push_str(&px(*x));
        text.push(' ');
        text.push_str(&px(*y));
    }
    text
}

/// The share of `part` in `whole`; 0 of nothing.
#[expect(clippy::cast_precision_loss, reason = "counts of queries")]
fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// The next "round" number (1, 2 or 5 times a power of ten) that is not below `value`.
fn round_up(value: f64) -> f64 {
    let unit = 10_f64.powf(value.max(1e-9).log10().floor());
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
