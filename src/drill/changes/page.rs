//! The page of `drill --changes --report`, in the frame that all pages share: who would be accused, and what would be said.

use maud::{Markup, html};

use super::outcome::{ChangeSums, ChangesOutcome};
use super::table::{EXPLAINED, HEADINGS, cells, notes, sum_cells, sums};
use super::trial::ChangeTrial;
use crate::drill::calibration::small;
use crate::html::frame::{self, Delivery};
use crate::html::svg::{WIDTH, bar, styled_text, svg, text};
use crate::html::words;
use crate::judge::Finding;
use crate::simulate::change::Extent;
use crate::simulate::change::kinds::ChangeKind;

/// Trials with an honest caller accused whose callers are named; the JSON has them all.
const MAX_LISTED: usize = 60;
/// Space for the names on the left of the picture.
const LEFT: f64 = 230.0;
/// Space for the extents' names above.
const ABOVE: f64 = 26.0;
/// Height of a row of the picture.
const ROW: f64 = 24.0;

/// The page of one drill of changes.
#[derive(Clone, Copy, Debug)]
pub struct ChangesPage<'a> {
    /// What the drill found.
    pub outcome: &'a ChangesOutcome,
    /// Name of the log for people.
    pub log: &'a str,
}

// === impl ChangesPage ===

impl ChangesPage<'_> {
    /// The page as HTML.
    pub fn render(self) -> String {
        let Self { outcome, log } = self;
        let body = html! {
            (head(outcome, log))
            main { (map(outcome)) (numbers(outcome)) (accused(outcome)) (how(outcome)) (footer(outcome)) }
        };
        frame::page(&format!("Tripline drill of changes: {}", words::printable(log, 80)), Delivery::File, &body)
    }
}

/// Sums as a finding, for their colour: calm, wrong about the model alone, or somebody honest accused.
fn rating(accused: u64, wrong: u64) -> Finding {
    match (accused, wrong) {
        (0, 0) => Finding::Stable,
        (0, _) => Finding::Drift,
        _ => Finding::Probing,
    }
}

fn head(outcome: &ChangesOutcome, log: &str) -> Markup {
    let sums = &outcome.all;
    let title = html! { "Model " (words::printable(&outcome.model, 60)) ": who is accused when the pipeline changes" };
    let headline = match sums.accused {
        0 => format!("Nobody honest is accused in {}", words::counted(sums.logs, "changed log", "changed logs")),
        accused => format!(
            "{} in {} of {} changed logs",
            words::counted(accused, "honest caller is accused", "honest callers are accused"),
            words::count(sums.with_accused),
            words::count(sums.logs)
        ),
    };
    let detail = html! {
        p { "What is said of the model is wrong in " (words::count(sums.wrong)) " of them. It is called probing in " (words::count(sums.called_probing)) ", where nobody probes it." }
    };
    let rest = html! {
        p.lead { "Honest changes in copies of " (words::printable(log, 120)) ", " (words::minute(outcome.log.from.0)) " to " (words::minute(outcome.log.to.0)) " UTC" }
        (frame::verdict(frame::class(rating(sums.accused, sums.wrong)), &html! { "honest changes" }, &headline, &detail))
        nav aria-label="Parts of this page" {
            a href="#map" { "Which changes" } a href="#numbers" { "All numbers" } a href="#accused" { "Who is accused" } a href="#how" { "How it was done" }
        }
    };
    frame::head("Tripline drill report", &title, &rest)
}

fn map(outcome: &ChangesOutcome) -> Markup {
    html! {
        section #map {
            h2 { "Which changes" }
            (frame::facts(&[
                ("queries in the log", words::count(outcome.log.accepted)),
                ("honest callers", words::count(outcome.honest)),
                ("changed logs", words::count(outcome.all.logs)),
                ("honest callers accused", words::count(outcome.all.accused)),
                ("model verdicts wrong", words::count(outcome.all.wrong)),
            ]))
            p { "Each field is one change that reaches so far: how many honest callers were accused. Changes whose names are not bold were kept aside: no constant of the judge was chosen by them." }
            figure { (picture(outcome)) }
            (frame::legend(&[
                ("k-stable-soft", "nobody accused, the model's verdict right"), ("k-drift-soft", "nobody accused, the model's verdict wrong"),
                ("k-probing-soft", "somebody honest accused"),
            ]))
        }
    }
}

/// Changes × extents, coloured by what went wrong.
#[expect(clippy::cast_precision_loss, reason = "counts of rows and columns")]
fn picture(outcome: &ChangesOutcome) -> Markup {
    let mut kinds: Vec<&'static str> = outcome.trials.iter().map(|trial| trial.change).collect();
    kinds.dedup();
    let extents: Vec<Extent> = outcome.extents.iter().map(|line| line.extent).collect();
    let width = (WIDTH - LEFT) / extents.len().max(1) as f64;
    let field = |kind: &str, extent| {
        outcome.trials.iter().find(|trial| trial.change == kind && trial.extent == extent && trial.changed > 0)
    };
    let body = html! {
        @for (column, extent) in extents.iter().enumerate() { (text(LEFT + (column as f64 + 0.5) * width, 16.0, "middle", &extent.name())) }
        @for (at, kind) in kinds.iter().enumerate() {
            @let y = ABOVE + at as f64 * ROW;
            @if ChangeKind::named(kind).is_some_and(|kind| kind.held_out) { (text(LEFT - 10.0, y + 16.0, "end", kind)) }
            @else { (styled_text("strong", LEFT - 10.0, y + 16.0, "end", kind)) }
            @for (column, &extent) in extents.iter().enumerate() {
                @if let Some(trial) = field(kind, extent) {
                    @let x = LEFT + column as f64 * width;
                    (bar(x + 2.0, y + 2.0, width - 4.0, ROW - 4.0, &colour(trial), &tip(trial)))
                    (text(x + width / 2.0, y + 16.0, "middle", &words::count(trial.accused)))
                }
            }
        }
    };
    let label = format!("Honest callers accused by change and extent: {} together", outcome.all.accused);
    svg(WIDTH, ABOVE + ROW * kinds.len() as f64, &label, &body)
}

fn colour(trial: &ChangeTrial) -> String {
    format!("var(--{}-soft)", frame::class(rating(trial.accused, u64::from(!trial.right))))
}

fn tip(trial: &ChangeTrial) -> String {
    let in_words = ChangeKind::named(trial.change).map_or("", |kind| kind.words);
    let who = words::counted(trial.accused, "honest caller accused", "honest callers accused");
    format!("{in_words}, {}: {who}, the model {}", trial.extent.name(), trial.model.name())
}

fn numbers(outcome: &ChangesOutcome) -> Markup {
    html! {
        section #numbers {
            h2 { "All numbers" }
            (sums_table(&sums(outcome)))
            div.card.scroll { table {
                thead { tr { @for name in HEADINGS { th { (name) } } th { "what it is" } th.n { "rows changed" } } }
                tbody { @for trial in &outcome.trials { tr {
                    @for cell in cells(trial, outcome.honest) { td { (cell) } }
                    td { (ChangeKind::named(trial.change).map_or("", |kind| kind.words)) } td.n { (words::count(trial.changed)) }
                } } }
            } }
            p.note { (EXPLAINED) }
        }
    }
}

fn sums_table(lines: &[(String, &ChangeSums)]) -> Markup {
    html! {
        div.card.scroll { table {
            thead { tr { th { "together" } th.n { "logs" } th.n { "with honest callers accused" } th.n { "accused" } th.n { "model's verdict wrong" } th.n { "called probing" } } }
            tbody { @for (name, sums) in lines { tr { td { (name) } @for cell in sum_cells(sums) { td.n { (cell) } } } } }
        } }
    }
}

fn accused(outcome: &ChangesOutcome) -> Markup {
    let bad: Vec<&ChangeTrial> = outcome.trials.iter().filter(|trial| trial.accused > 0).collect();
    html! {
        section #accused {
            h2 { "Who is accused" }
            @if bad.is_empty() {
                p { "Nobody who is not accused without the change." }
            } @else {
                div.card.scroll { table {
                    thead { tr { th { "change" } th { "extent" } th.n { "accused" } th { "the first of them" } } }
                    tbody { @for trial in bad.iter().take(MAX_LISTED) { tr {
                        td { (trial.change) } td { (trial.extent.name()) } td.n { (words::count(trial.accused)) }
                        td.wrap.mono { (words::printable(&trial.accused_names.join(", "), 200)) }
                    } } }
                } }
                @if bad.len() > MAX_LISTED { p.note { (bad.len() - MAX_LISTED) " more changes are in the JSON." } }
            }
        }
    }
}

fn how(outcome: &ChangesOutcome) -> Markup {
    html! {
        section #how {
            h2 { "How it was done, and how far to trust it" }
            p { "Each trial makes one change in a copy of the log, as a release, a logger or a client does, and judges the copy to its end. Nothing is sent anywhere. The answers are those of the log: "
                "a change alters what is logged and not what the model was asked." }
            p { "A third of the kinds was kept aside: constants of the judge were chosen without looking at them." }
            p { "Without any change: " (outcome.calibration.finding) }
            @let notes = notes(outcome);
            @if !notes.is_empty() { ul { @for note in notes { li { (note) } } } }
        }
    }
}

fn footer(outcome: &ChangesOutcome) -> Markup {
    html! {
        footer {
            p { "Made by tripline " (outcome.version) ", seed " (outcome.seed) "; at most " (small(outcome.engine.alarms_per_client_day))
                " false alarms expected per caller and day. The same log, profile and settings give the same page." }
            p.mono { "reference " (words::printable(&outcome.reference, 64)) ", log " (outcome.log.facts.digest) }
        }
    }
}
