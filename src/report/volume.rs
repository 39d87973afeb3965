//! The table of callers that ask far more than others: a suspicion, and no accusation.

use maud::{Markup, html};

use super::summary::ModelSummary;
use crate::html::words;
use crate::judge::{Family, Finding};

/// Callers listed. Chosen: a screenful; the verdict file has them all.
const LISTED: usize = 20;

/// The table; nothing if nobody asks so much.
pub fn table(model: &ModelSummary) -> Markup {
    let busy: Vec<_> = model.history.suspicious_of(Family::Volume).collect();
    if busy.is_empty() {
        return html! {};
    }
    html! {
        h3 { "Who asked far more than others" }
        p.lead {
            "Suspicious, and no accusation: the rows are like everybody's. A batch job, a mirror or a load test is as busy as somebody who copies the \
             model or asks for its training rows. Ask who runs it; it is said once, and known from then on."
        }
        div.card.scroll {
            table {
                thead { tr {
                    th { "who" } th { "how much" } th { "since (UTC)" } th { "found (UTC)" } th.n { "after queries" } th.n { "sure" } th { "" }
                } }
                tbody {
                    @for (caller, subject) in busy.iter().take(LISTED) {
                        tr {
                            td.mono.wrap { (words::printable(&caller.to_string(), 60)) }
                            td { (words::volume(&subject.signals)) }
                            td.t { (words::moment(subject.since.unwrap_or(subject.at))) }
                            td.t { (words::moment(subject.at)) }
                            td.n { (words::count(subject.queries_seen)) }
                            td.n.t { (words::percent(subject.confidence)) }
                            td { @if subject.latest == Finding::Benign { "over" } }
                        }
                    }
                }
            }
        }
        @if busy.len() > LISTED { p.note { (words::counted((busy.len() - LISTED) as u64, "more caller", "more callers")) " in the file of --verdicts." } }
    }
}
