//! The section of a model card about honest changes, beside that of the attacks and with a stamp of its own.

use std::fmt::Write as _;

use super::ChangeSettings;
use super::outcome::ChangesOutcome;
use super::table::{notes, sum_cells, sums};
use crate::drill::card::{self, CHANGES, CHANGES_WITHOUT_CALLERS, escape};
use crate::engine::EngineConfig;
use crate::html::words;
use crate::reference::Reference;

/// Everything that the numbers of a section depend on but the judge's code, as a line of text.
pub fn stamp(reference: &Reference, log_digest: &str, settings: &ChangeSettings) -> String {
    // The salt is a secret of the deployment, so nothing of it may be in a document, not even in a digest of few values.
    let engine = EngineConfig { salt: 0, ..settings.engine.clone() };
    let change = |spec: &crate::simulate::change::ChangeSpec| {
        serde_json::json!([spec.kind.name, spec.extent, spec.share, spec.at, spec.column])
    };
    card::stamp_of(
        reference,
        log_digest,
        &serde_json::json!({
            "changes": settings.changes.iter().map(change).collect::<Vec<_>>(),
            "seed": settings.seed,
            "engine": engine,
        }),
    )
}

/// A card with the section brought up to date. `log` is the name of the log for people.
pub fn updated(card: &str, outcome: &ChangesOutcome, log: &str, stamp: &str) -> String {
    let markers = if outcome.log.facts.without_callers { CHANGES_WITHOUT_CALLERS } else { CHANGES };
    markers.put(card, &markers.wrap(&body(outcome, log), stamp))
}

fn body(outcome: &ChangesOutcome, log: &str) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(
        out,
        "Honest changes of the pipeline in copies of {}, seed {}. {}\n",
        card::log_line(&outcome.log, log),
        outcome.seed,
        if outcome.log.facts.without_callers {
            "Nobody is named in them, so nobody can be accused."
        } else {
            "Nobody may be accused because of them."
        },
    );
    for note in notes(outcome) {
        let _ = writeln!(out, "* {}", escape(&note));
    }
    let _ = writeln!(out, "\n| Changes | Logs | With honest callers accused | Accused | Model's verdict wrong | Called probing |");
    let _ = writeln!(out, "|---|---:|---:|---:|---:|---:|");
    for (name, sums) in sums(outcome) {
        let _ = writeln!(out, "| {name} | {} |", sum_cells(sums).join(" | "));
    }
    let bad = || outcome.trials.iter().filter(|trial| trial.changed > 0 && (trial.accused > 0 || !trial.right));
    if bad().next().is_some() {
        let _ = writeln!(out, "\n| Not calm | Extent | Accused | Model |\n|---|---|---:|---|");
        for trial in bad() {
            let _ = writeln!(
                out,
                "| {} | {} | {} of {} | {} |",
                trial.change,
                trial.extent.name(),
                words::count(trial.accused),
                words::count(outcome.honest),
                trial.model.name()
            );
        }
    }
    let _ = writeln!(
        out,
        "\nall: the whole log; mid: everybody, from its middle on; some: a third of the callers, from its middle on. The model's verdict should be drift; stable is right, too, where a change is small or reaches only some callers; probing never is. Held out: kinds that no constant of the judge was chosen by."
    );
    out
}
