//! The page of `drill --report`: one file that opens from disk, in the frame that all pages share.
//!
//! It explains itself to a reader who did not run the drill: what was done, what was found, what was not and why, and how far the
//! numbers can be trusted. Nothing on it depends on the machine or the moment, so two drills give the same page.

use maud::{Markup, html};

use super::calibration::{Calibration, Rate, small};
use super::outcome::{DrillOutcome, DrillRow, detectable};
use super::picture;
use super::statistics::{Quantile, Share, proportion};
use super::table::{counted, fraction, interval, number, whole};
use super::trial::Trial;
use crate::html::frame::{self, Delivery};
use crate::html::words;
use crate::judge::Finding;
use crate::simulate::attack::AttackKind;

/// Trials with an honest caller accused that are listed; a drill with more has another problem, and the JSON has them all.
const MAX_LISTED: usize = 40;
/// Flagged callers that are listed: three screenfuls; the JSON has them all.
const MAX_FLAGGED: usize = 60;

/// The page of one drill and what it is made of.
#[derive(Clone, Copy, Debug)]
pub struct DrillPage<'a> {
    /// What the drill found.
    pub outcome: &'a DrillOutcome,
    /// Name of the log for people.
    pub log: &'a str,
}

// === impl DrillPage ===

impl DrillPage<'_> {
    /// The page as HTML.
    pub fn render(self) -> String {
        let Self { outcome, log } = self;
        let body = html! {
            (head(outcome, log))
            main {
                (found(outcome))
                (soon(outcome))
                (numbers(outcome))
                (accused(outcome))
                (calibration(&outcome.calibration))
                (undetectable(outcome))
                (how(outcome))
                (footer(outcome))
            }
        };
        frame::page(&format!("Tripline drill: {}", words::printable(log, 80)), Delivery::File, &body)
    }
}

fn head(outcome: &DrillOutcome, log: &str) -> Markup {
    let power = outcome.all.power;
    let title = html! { "Model " (words::printable(&outcome.model, 60)) ": what would be found, and what would not" };
    let found = format!("{} of {} injected attacks were found", words::count(power.of), words::count(power.among));
    let detail = html! {
        p { "With 95 % confidence that is " (interval(power)) " of attacks like these on traffic like this. "
            @match outcome.all.queries_median.value {
                Some(queries) => { "Half of all were found within " (whole(queries)) " queries. " }
                None => { "Fewer than half were found. " }
            }
            @if nameless(outcome) { "No query has a caller: found means that the model was said to be probed, and nobody can be named or accused." }
            @else if outcome.all.accused == 0 { "Nobody honest was accused because of them." }
            @else { "In " (fraction(outcome.all.false_alarms)) " trials somebody honest was accused because of them." }
        }
    };
    let rest = html! {
        p.lead { "Attacks injected into a copy of " (words::printable(log, 120)) ", " (words::minute(outcome.log.from.0)) " to " (words::minute(outcome.log.to.0)) " UTC" }
        (frame::verdict(frame::class(rating(power)), &html! { "power" }, &found, &detail))
        nav aria-label="Parts of this page" {
            a href="#found" { "What is found" } a href="#soon" { "How soon" } a href="#numbers" { "All numbers" }
            a href="#false" { "False alarms" } a href="#rate" { "The stated rate" } a href="#not" { "What cannot be found" } a href="#how" { "How it was done" }
        }
    };
    frame::head("Tripline drill report", &title, &rest)
}

/// Share of attacks found from which the headline is green; a drill that misses one attack in ten is still one to rely on.
const GOOD_POWER: f64 = 0.9;
/// Share from which it is yellow.
const FAIR_POWER: f64 = 0.5;

/// The power of the whole drill as a finding, for its colour.
fn rating(power: Share) -> Finding {
    match power.value() {
        Some(share) if share >= GOOD_POWER => Finding::Stable,
        Some(share) if share >= FAIR_POWER => Finding::Drift,
        _ => Finding::Probing,
    }
}

/// Whether the callers were taken away from the log.
fn nameless(outcome: &DrillOutcome) -> bool {
    outcome.log.facts.without_callers
}

fn found(outcome: &DrillOutcome) -> Markup {
    let (about, repeats) = (&outcome.log, u64::from(outcome.drill.repeats));
    html! {
        section #found {
            h2 { "What is found" }
            (frame::facts(&[
                ("queries in the log", words::count(about.accepted)),
                ("callers", if nameless(outcome) { "–".to_owned() } else { words::count(about.callers) }),
                ("attacks injected", words::count(outcome.trials.len() as u64)),
                ("of the attacks' callers named", outcome.all.callers.value().map_or_else(|| "–".to_owned(), words::percent)),
                ("callers flagged without any attack", if nameless(outcome) { "–".to_owned() } else { words::count(outcome.calibration.measured.alarms) }),
            ]))
            p { "Each field is one attack in one delivery: how many of its trials were found. Green: all; yellow: half or more; red: fewer." }
            figure { (picture::matrix(outcome)) }
            (frame::legend(&[
                ("k-stable-soft", "all found"), ("k-drift-soft", "half or more"), ("k-probing-soft", "fewer than half"),
            ]))
            p.note {
                "A field has " (words::counted(repeats, "trial", "trials")) ", which is little: " (repeats) " of " (repeats)
                " still leaves room for a power of " (words::percent(proportion(repeats, repeats).low)) ". The sums below say more."
            }
        }
    }
}

fn soon(outcome: &DrillOutcome) -> Markup {
    html! {
        section #soon {
            h2 { "How soon" }
            @if nameless(outcome) {
                p { "The share of trials in which the model was said to be probed after so many of the attack's queries. The further left a line rises, the less was given away." }
            } @else {
                p { "The share of trials in which the attack had been named after so many of its own queries. The further left a line rises, the less was given away." }
                (frame::legend(&[("k-other", "from one address"), ("k-suspect", "from many addresses, rotating ones included")]))
            }
            div.grid {
                @for line in &outcome.families {
                    div.card {
                        header { h4 { (line.family) } span { (fraction(line.power)) " found" } }
                        (picture::soon(outcome, &line.family))
                        p.note { "It " (explained(&line.family)) "." }
                    }
                }
            }
        }
    }
}

fn explained(family: &str) -> &'static str {
    AttackKind::ALL.into_iter().find(|one| one.name() == family).map_or("", AttackKind::in_words)
}

fn numbers(outcome: &DrillOutcome) -> Markup {
    let families: Vec<&DrillRow> = outcome.families.iter().filter(|line| detectable(&line.family)).collect();
    let deliveries: Vec<&DrillRow> = outcome.deliveries.iter().collect();
    html! {
        section #numbers {
            h2 { "All numbers" }
            (table("attack, over all deliveries", &families, |line| line.family.clone()))
            (table("delivery, over all attacks that can be found", &deliveries, |line| line.delivery.clone()))
            (table("together", &[&outcome.all], |_| "everything that can be found".to_owned()))
            details {
                summary { "Every attack in every delivery" }
                (table("attack, delivery", &outcome.cells.iter().collect::<Vec<_>>(), |line| format!("{}, {}", line.family, line.delivery)))
            }
            p.note { "Intervals are exact at 95 %: of Clopper and Pearson for shares, between order statistics for medians. Attacks that were never found count as infinitely late, so a median is missing (–) where fewer than half were found. "
                "Leaked is the share of an attack's queries that were answered before their caller had been named: what somebody who shuts out whoever is named would have lost. "
                "Sums over deliveries and attacks share moments of the log, which makes their intervals a little too narrow." }
        }
    }
}

fn table(first: &str, lines: &[&DrillRow], name: impl Fn(&DrillRow) -> String) -> Markup {
    html! {
        div.card.scroll {
            table {
                thead { tr { th { (first) } th.n { "found" } th.n { "95 % interval" } th.n { "callers named" } th.n { "model said to be probed" } th.n { "queries, median" } th.n { "9th decile" }
                    th.n { "time, median" } th.n { "9th decile" } th.n { "leaked, median" } th.n { "9th decile" } th.n { "trials with a false alarm" } } }
                tbody {
                    @for line in lines {
                        tr {
                            td { (name(line)) } td.n { (fraction(line.power)) } td.n { (interval(line.power)) } td.n { (counted(line.callers)) } td.n { (fraction(line.model)) }
                            td.n { (with(&line.queries_median, &whole)) } td.n { (number(&line.queries_p90, &whole)) }
                            td.n { (with(&line.seconds_median, &words::duration)) } td.n { (number(&line.seconds_p90, &words::duration)) }
                            td.n { (number(&line.leaked_median, &words::percent)) } td.n { (number(&line.leaked_p90, &words::percent)) }
                            td.n { (counted(line.false_alarms)) @if line.false_alarms.among > 0 { " (" (interval(line.false_alarms)) ")" } }
                        }
                    }
                }
            }
        }
    }
}

/// A median with its interval.
fn with(quantile: &Quantile, words: &dyn Fn(f64) -> String) -> String {
    let value = number(quantile, words);
    let end = |end: Option<f64>| end.map_or_else(|| "?".to_owned(), words);
    match quantile.value {
        Some(_) if quantile.low.is_some() || quantile.high.is_some() => {
            format!("{value} ({} to {})", end(quantile.low), end(quantile.high))
        }
        _ => value,
    }
}

fn accused(outcome: &DrillOutcome) -> Markup {
    let bad: Vec<&Trial> = outcome.trials.iter().filter(|trial| trial.accused > 0).collect();
    html! {
        section #false {
            h2 { "False alarms that attacks caused" }
            @if nameless(outcome) {
                p { "No query has a caller, so nobody can be accused. What is said of the model as the log is stands below." }
            } @else if bad.is_empty() {
                p { "None. In no trial was an honest caller accused that is not accused without the attack." }
            } @else {
                p { "Honest callers of the log who were accused in a trial, and are not when the log is judged without the attack." }
                div.card.scroll { table {
                    thead { tr { th { "attack" } th { "delivery" } th { "injected (UTC)" } th.n { "accused" } th { "who" } } }
                    tbody { @for trial in bad.iter().take(MAX_LISTED) { tr {
                        td { (trial.family) } td { (trial.delivery) } td.t { (words::minute(trial.planted.0)) } td.n { (trial.accused) }
                        td.wrap.mono { (words::printable(&trial.accused_names.join(", "), 200)) }
                    } } }
                } }
                @if bad.len() > MAX_LISTED { p.note { (bad.len() - MAX_LISTED) " more trials are in the JSON." } }
            }
        }
    }
}

fn calibration(calibration: &Calibration) -> Markup {
    html! {
        section #rate {
            h2 { @if calibration.callers > 0 { "What the stated rate of false alarms turned into" } @else { "What is said without any attack" } }
            p { (calibration.finding) }
            @if let Some(recommendation) = &calibration.recommendation { p.card { strong { "What follows: " } (recommendation) } }
            @if calibration.callers > 0 {
                p.lead { "The log as it is, nothing injected. Whoever is flagged here is a real attacker or a false alarm; a drill cannot know which. They count neither as found nor as caused by an injected attack." }
            }
            figure { (picture::hours(calibration)) }
            @if calibration.callers > 0 { div.card.scroll { table {
                thead { tr { th { "callers" } th { "" } th.n { "how many" } th.n { "flagged" } th.n { "client-days" } th.n { "per client and day" } th.n { "95 % interval" } } }
                tbody {
                    @for group in &calibration.by_group { tr {
                        td { (group.by) } td { (group.name) } td.n { (words::count(group.callers)) } (rate(&group.rate))
                    } }
                    tr { td { strong { "everybody" } } td {} td.n { (words::count(calibration.callers)) } (rate(&calibration.measured)) }
                }
            } } }
            @if !calibration.flagged.is_empty() {
                div.card.scroll { table {
                    thead { tr { th { "flagged" } th { "at (UTC)" } th { "as" } th.n { "after queries" } th { "because of" } } }
                    tbody { @for one in calibration.flagged.iter().take(MAX_FLAGGED) { tr {
                        td.mono.wrap { (words::printable(&one.who, 80)) } td.t { (words::minute(one.at.0)) } td { (one.family) }
                        td.n { (words::count(one.queries_seen)) } td { (words::reason(one.signal)) }
                    } } }
                } }
            }
        }
    }
}

fn rate(rate: &Rate) -> Markup {
    html! {
        td.n { (words::count(rate.alarms)) } td.n { (words::count(rate.client_days)) } td.n { (small(rate.per_client_day)) }
        td.n { (small(rate.interval.low)) " to " (small(rate.interval.high)) }
    }
}

fn undetectable(outcome: &DrillOutcome) -> Markup {
    html! {
        section #not {
            h2 { "What cannot be found" }
            p { "Somebody who asks with realistic rows, at a realistic pace, does what users do. No detector that reads logs can tell the two apart, and one that says it can accuses users. "
                "Rate limits and prices bound what such a caller learns; Tripline shows how much that can be (the information budget)." }
            @if let Some(natural) = &outcome.undetectable {
                p { "Natural sampling was injected all the same, and is counted apart: named in " (fraction(natural.power)) " trials (" (interval(natural.power)) "). It is part of no sum above." }
            } @else {
                p { "Natural sampling was not injected in this drill." }
            }
        }
    }
}

fn how(outcome: &DrillOutcome) -> Markup {
    let drill = &outcome.drill;
    html! {
        section #how {
            h2 { "How it was done, and how far to trust it" }
            p { "Every trial is one attack in one delivery, alone in a copy of the log, so no attack can help find another. "
                "It starts at a random moment after the judge's warm-up. The judge has seen the whole log up to that moment and goes on until "
                (words::duration(drill.grace_seconds)) " after the attack's last query. Slow attacks last " (words::duration(drill.slow_seconds)) "; fast ones send five queries a second; "
                "cover is rows of the log, one for each query of the attack. "
                @if nameless(outcome) { "Addresses and accounts were taken out of the copies, and attacks have none. An attack counts as found when the model is said to be probed, and is not without the attack." }
                @else { "Behind a NAT, the attacker is one more account at a busy address of the log. With rotating addresses every query comes from a new address without an account." }
            }
            p { "The real model was not asked. Surrogates were fitted on the log, and judged on rows that they did not learn from:" }
            div.card.scroll { table {
                thead { tr { th { "surrogate" } th.n { "learned from" } th.n { "decides like the log" } th.n { "95 % interval" } th.n { "always the commonest" } th.n { "R²" } } }
                tbody { @for one in &outcome.surrogates { tr {
                    td { (one.surrogate) } td.n { (words::count(one.learned_from)) } td.n { (one.agreement.value().map_or_else(|| "–".to_owned(), words::percent)) }
                    td.n { (interval(one.agreement)) } td.n { (words::percent(one.always_the_commonest)) }
                    td.n { (one.explained.map_or_else(|| "–".to_owned(), |share| format!("{share:.3}"))) }
                } } }
            } }
            p.note { "The first one answered all attacks but path finding, which meets the tree." }
            @if !outcome.notes.is_empty() || !outcome.log.left_out().is_empty() || !outcome.constant_features.is_empty() {
                ul {
                    @for note in outcome.notes.iter().chain(&outcome.log.left_out()) { li { (note) } }
                    @if !outcome.constant_features.is_empty() {
                        li { "These features never change in the log: " (words::printable(&outcome.constant_features.join(", "), 400)) ". An attacker who changes them stands out more than elsewhere." }
                    }
                }
            }
            p { "The injected attacks are published algorithms at their usual settings. An attacker who knows this program can do better than they do." }
        }
    }
}

fn footer(outcome: &DrillOutcome) -> Markup {
    let drill = &outcome.drill;
    html! {
        footer {
            p { "Made by tripline " (outcome.version) ": " (drill.families.len()) " attacks, " (drill.deliveries.len()) " deliveries, " (drill.repeats) " repeats, "
                (words::count(drill.budget)) " queries each, seed " (drill.seed) "; at most " (small(drill.engine.alarms_per_client_day))
                " false alarms expected per caller and day. The same log, profile and settings give the same page." }
            p.mono { "reference " (words::printable(&outcome.reference, 64)) ", log " (outcome.log.facts.digest) }
        }
    }
}
