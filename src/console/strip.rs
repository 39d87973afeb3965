//! The course of a verdict over time: a strip of colours with onset marks, and the same as a table.

use maud::{Markup, html};

use super::frame::time;
use crate::event::EventTime;
use crate::html::frame::class;
use crate::html::{svg, words};
use crate::readmodel::Change;

/// Height of the picture.
const HEIGHT: f64 = 46.0;
/// Width of the picture in a card and across a page: near that on the screen, so that its words keep their size.
pub const CARD: f64 = 300.0;
/// See [`CARD`].
pub const PAGE: f64 = 1_000.0;
/// Top and height of the strip.
const BAR: (f64, f64) = (4.0, 16.0);

/// The strip of the `hours` up to `until`, as wide as [`CARD`] or [`PAGE`], and a table of all changes.
pub fn draw(changes: &[Change], until: EventTime, hours: u32, width: f64) -> Markup {
    let seconds = f64::from(hours) * 3_600.0;
    let begin = until.plus_seconds(-i64::from(hours) * 3_600);
    let x = |at: EventTime| (at.seconds_since(begin) / seconds).clamp(0.0, 1.0) * width;
    let ends = changes.iter().skip(1).map(|change| change.at).chain(std::iter::once(until));
    let picture = html! {
        (svg::bar(0.0, BAR.0, width, BAR.1, "var(--faint)", &"not judged"))
        @for (change, end) in changes.iter().zip(ends) {
            @if end > begin {
                @let tip = format!("{} from {} UTC", change.finding.name(), words::minute(change.at));
                (svg::bar(x(change.at), BAR.0, x(end) - x(change.at), BAR.1, &format!("var(--{})", class(change.finding)), &tip))
                @if change.at > begin { (svg::line((x(change.at), 0.0), (x(change.at), BAR.0 + BAR.1 + 4.0), "var(--ink)")) }
            }
        }
        @for tick in 0..=2_u32 {
            @let at = begin.plus_seconds(i64::from(hours) * 1_800 * i64::from(tick));
            @let anchor = match tick { 0 => "start", 2 => "end", _ => "middle" };
            (svg::text(x(at), HEIGHT - 4.0, anchor, &words::minute(at).get(5..).unwrap_or_default()))
        }
    };
    let label = format!("Verdict over the last {hours} hours, {} changes; the table below says the same", changes.len());
    html! {
        figure { (svg::svg(width, HEIGHT, &label, &picture)) }
        details {
            summary { (words::counted(changes.len() as u64, "change", "changes")) " as a table" }
            table {
                thead { tr { th { "From" } th { "Verdict" } } }
                tbody { @for change in changes.iter().rev() { tr { td.t { (time(change.at)) } td { (change.finding.name()) } } } }
            }
        }
    }
}
