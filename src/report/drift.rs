//! The table of drifted features: what moved, how far, and whether the suspects moved it.

use maud::{Markup, html};

use super::summary::ModelSummary;
use crate::html::{svg, words};

/// Columns that many callers write as the reference does not know; nothing without any.
pub fn columns(model: &ModelSummary) -> Markup {
    let columns = &model.history.columns;
    if columns.is_empty() {
        return html! {};
    }
    html! {
        h3 { "What changed: how columns are written" }
        p.lead { "Many callers send values that the reference does not know. Look at the pipeline first: a release, a unit, a default, a spelling. Nobody is accused for it." }
        div.card {
            ul { @for change in columns.values() { li.wrap { (words::column_change(change)) } } }
        }
    }
}

/// Drifted features, furthest beyond chance first; nothing without any.
pub fn section(model: &ModelSummary) -> Markup {
    let drifted = model.history.drifted_by_excess();
    if drifted.is_empty() {
        return html! {};
    }
    let most = drifted.iter().map(|one| one.worst.psi.max(one.worst.critical)).fold(1e-6, f64::max);
    html! {
        h3 { "What changed: drift by feature" }
        p.lead { "PSI at its highest, beside what chance explains in a window of that size. The hollow mark is the PSI without the suspects' queries." }
        div.card.scroll {
            table {
                thead { tr { th { "feature" } th.n { "PSI" } th.picture { "" } th.n { "chance up to" } th.n { "without suspects" } th { "reading" } th { "seen from (UTC)" } } }
                tbody {
                    @for one in drifted {
                        @let drift = &one.worst;
                        tr {
                            td.wrap { (words::printable(&drift.name, 40)) }
                            td.n { (words::measured(drift.psi)) }
                            td { (svg::drift_gauge(drift, most)) }
                            td.n { (words::measured(drift.critical)) }
                            td.n { (words::measured(drift.psi_without_suspects)) }
                            td { (words::drift_reading(drift)) }
                            td { (words::minute(one.since)) }
                        }
                    }
                }
            }
        }
    }
}
