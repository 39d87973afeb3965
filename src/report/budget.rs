//! The callers that asked most that could be learned from: a line of the summary and a table of the page.
//!
//! Both say that it is no detection: a client that copies a model with honest-looking rows looks like a good customer.

use std::fmt;

use maud::{Markup, html};

use super::summary::ModelSummary;
use crate::html::words;
use crate::judge::caller::Caller;
use crate::judge::information_budget::InformationBudget;

/// Least share of what a linear copy takes that is worth a line. Chosen: below it, most callers of a busy model would have one.
const WORTH_SAYING: f64 = 0.2;

/// Who a holder is, in words fit for a page.
pub fn who(spent: &InformationBudget) -> String {
    let caller = Caller { source_ip: spent.source_ip.clone(), client_id: spent.client_id.clone(), source_prefix: None };
    match &spent.case {
        Some(case) => format!("campaign {}", words::printable(case, 60)),
        None if spent.callers > 1 => format!("account {}", words::printable(&caller.to_string(), 60)),
        None => words::printable(&caller.to_string(), 60),
    }
}

/// The summary's line, if anybody asked enough to be worth one.
pub fn line(model: &ModelSummary, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let most =
        model.status.as_ref().and_then(|status| status.information_budgets.first()).filter(|most| most.ratio >= WORTH_SAYING);
    let Some(most) = most else { return Ok(()) };
    // What is said of a caller that was found probing is no praise; the list of callers says it.
    let found = model.history.probing_by_evidence();
    let accused = found.iter().any(|(caller, _)| {
        (caller.source_ip.is_some() && caller.source_ip == most.source_ip)
            || (caller.client_id.is_some() && caller.client_id == most.client_id)
    });
    let accused = accused
        || most.source_ip.as_ref().is_some_and(|ip| model.history.probing_campaigns().any(|(_, one)| one.members.contains(ip)));
    let standing = if most.flagged || accused { "found probing" } else { "no detection" };
    let covered =
        most.covered.map_or_else(String::new, |share| format!(", in {} of the model's regions", words::percent(rounded(share))));
    writeln!(
        f,
        "  learned    most by {}: about {} different rows, {} times what a linear copy takes{covered} ({standing})",
        who(most),
        words::measured(most.rows.round()),
        words::measured(most.ratio),
    )
}

/// The page's table.
pub fn table(model: &ModelSummary) -> Markup {
    let information_budgets = model.status.as_ref().map_or(&[][..], |status| &status.information_budgets);
    if information_budgets.is_empty() {
        return html! {};
    }
    html! {
        h3 { "Who has asked most that could be learned from" }
        p.lead {
            "No detection: whoever copies a model with rows like everybody's cannot be told from a good customer. The table says how far a copy could \
             have got. A linear copy takes one row for each of its unknowns; other models take a multiple, and an answer from every region."
        }
        div.card.scroll {
            table {
                thead { tr {
                    th { "who" } th.n { "queries" } th.n { "different rows" } th.n { "times a linear copy" } th.n { "regions asked about" }
                    th.n { "rows a day" } th { "since (UTC)" } th { "" }
                } }
                tbody {
                    @for spent in information_budgets {
                        tr {
                            td.mono.wrap { (who(spent)) }
                            td.n { (words::count(spent.queries)) }
                            td.n { "about " (words::measured(spent.rows.round())) }
                            td.n { (words::measured(spent.ratio)) }
                            td.n { (spent.covered.map_or_else(|| "–".to_owned(), |share| words::percent(rounded(share)))) }
                            td.n { (words::measured(spent.rows_per_day.round())) }
                            td { (words::minute(spent.since.0)) }
                            td { @if spent.flagged { "found probing" } }
                        }
                    }
                }
            }
        }
    }
}

/// A share to whole percent: the regions are a sample's.
fn rounded(share: f64) -> f64 {
    (share * 100.0).round() / 100.0
}
