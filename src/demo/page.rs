//! The live page of the demo, in the frame that all pages share.
//!
//! Everything is rendered here. The page is made of fixed places, each with an `id`, and of [`parts`] that fill them; the script
//! of the page does nothing but replace the parts that changed.

use maud::{Markup, html};

use super::traffic;
use super::view::{FlaggedCaller, View};
use crate::html::frame::{self, Delivery};
use crate::html::{svg, words};
use crate::judge::FeatureDrift;

/// The script of the page.
pub const SCRIPT: &str = include_str!("app.js");
/// Where the server offers it.
pub const SCRIPT_PATH: &str = "/app.js";
/// How the page reaches its reader.
pub const DELIVERY: Delivery = Delivery::Served { script: SCRIPT_PATH };

/// The gauges of drift end here at least: a PSI of 0.1 to 0.25 counts as a moderate shift by the usual rule of thumb, so a model
/// without any drift is not drawn as if it had much.
const LEAST_GAUGE: f64 = 0.12;
/// Campaigns shown; the largest. A demo has one attack.
const MAX_CAMPAIGNS: usize = 3;

/// What the words of the page mean, for somebody who has never heard of them.
const HELP: [(&str, &str); 4] = [
    (
        "Drift",
        "The world changes: many callers send other values than before. The model may need new training. It is nobody's attack.",
    ),
    (
        "Probing",
        "Somebody asks systematically, to copy the model (extraction), to find an input that fools it (evasion), or to learn who was in its training data.",
    ),
    (
        "Look-alikes",
        "A nightly batch job, hundreds of people behind one address, health checks, retries, a load test, a replay and people playing with a slider are all in this traffic. None of them may be flagged.",
    ),
    ("Confidence", "One less the bound on the chance that honest traffic looks like this."),
];

/// The page as HTML.
pub fn render(view: &View) -> String {
    let parts = parts(view);
    let part = |id: &str| html! { @if let Some((_, part)) = parts.iter().find(|(of, _)| *of == id) { (part) } };
    let lead = html! {
        p.lead {
            "A day in the life of the model " strong { (view.script.model) } ", in about two minutes. The callers are simulated; "
            "the broker, the service and the verdicts are real. Tripline sees the log alone."
        }
        p.lead id="clock" { (part("clock")) }
    };
    let body = html! {
        (frame::head("Tripline demo", &html! { "What happens, and what Tripline says" }, &lead))
        main {
            p.card id="ended" hidden { "The demo has ended. This page shows its last state." }
            div id="verdict" aria-live="polite" { (part("verdict")) }
            div id="facts" { (part("facts")) }
            div.live {
                section.wide {
                    h3 { "Traffic, what really happens, and what Tripline says" }
                    figure id="traffic" { (part("traffic")) }
                    (frame::legend(&[
                        ("k-other", "honest queries"), ("k-probing", "queries of the attack (only the simulator knows)"),
                        ("k-stable", "stable"), ("k-drift", "drift"), ("k-probing", "probing"), ("k-both", "drift and probing"),
                    ]))
                }
                section {
                    h3 { "Callers flagged" }
                    p.note { "Who asks systematically, and what gave them away." }
                    div id="campaigns" { (part("campaigns")) }
                    ol id="flagged" { (part("flagged")) }
                }
                section {
                    h3 { "Has the world changed?" }
                    p.note {
                        "How far each feature of the recent traffic lies from the training data (PSI). A bar beyond its tick is more than "
                        "chance; the hollow mark is what remains when the suspects are left out."
                    }
                    div id="features" { (part("features")) }
                }
                section.wide {
                    h3 { "What happened" }
                    ol id="events" { (part("events")) }
                }
                section.wide {
                    h3 { "What am I looking at?" }
                    dl.glossary { @for (term, meaning) in HELP { dt { (term) } dd { (meaning) } } }
                }
            }
            footer { p { "Served from this machine, to this machine. Press Ctrl-C in the terminal to end." } }
        }
    };
    frame::page("Tripline demo", DELIVERY, &body)
}

/// The parts of the page that change, by the `id` of their place.
pub fn parts(view: &View) -> Vec<(&'static str, Markup)> {
    vec![
        ("clock", clock(view)),
        ("verdict", verdict(view)),
        ("facts", facts(view)),
        ("traffic", traffic::draw(view)),
        ("campaigns", campaigns(view)),
        ("flagged", flagged(view)),
        ("features", features(view)),
        ("events", events(view)),
    ]
}

fn clock(view: &View) -> Markup {
    html! {
        strong { (words::minute(view.clock)) } " UTC, " (words::measured(view.script.speed)) " times faster than life"
        @if view.finished { "; the simulated world has ended" }
    }
}

fn verdict(view: &View) -> Markup {
    frame::verdict(view.answer().class, &html! { "Tripline says" }, view.headline(), &html! { p { (view.explained()) } })
}

fn facts(view: &View) -> Markup {
    let score = view.score;
    let [attackers, found, honest, accused] =
        [score.attackers, score.found, score.honest, score.accused].map(|number| words::count(number as u64));
    let callers = view.model.status.as_ref().map_or(score.honest as u64, |status| status.clients);
    let found_class = if score.attackers > 0 && score.found == score.attackers { "good" } else { "" };
    let accused_class = match (score.accused, score.honest) {
        (0, 0) => "",
        (0, _) => "good",
        _ => "bad",
    };
    html! {
        dl.facts {
            div { dt { "queries a second" } dd { (words::measured(view.rate.round())) } }
            div { dt { "callers remembered" } dd { (words::count(callers)) } }
            div {
                dt { "attackers' addresses found" }
                dd class=(found_class) { @if score.attackers == 0 { "no attack yet" } @else { (found) " of " (attackers) } }
            }
            div { dt { "honest callers accused" } dd class=(accused_class) { (accused) " of " (honest) } }
        }
    }
}

fn campaigns(view: &View) -> Markup {
    html! {
        @for campaign in view.campaigns.iter().take(MAX_CAMPAIGNS) {
            @let verdict = &campaign.verdict;
            p.note {
                (words::counted(verdict.members.len() as u64, "address belongs", "addresses belong")) " to one campaign ("
                (verdict.family.map_or("", words::family)) "), " (words::counted(verdict.queries_seen, "query", "queries")) "."
                @if let Some(common) = words::in_common(&verdict.features) { " It is a crowd; " (common) "." }
            }
        }
    }
}

fn flagged(view: &View) -> Markup {
    let callers = view.flagged_callers();
    html! {
        @for caller in &callers { (flagged_caller(caller)) }
        @if view.more_flagged() > 0 { li { "and " (words::count(view.more_flagged() as u64)) " more" } }
        @if callers.is_empty() { li.note { "Nobody so far." } }
    }
}

fn flagged_caller(caller: &FlaggedCaller) -> Markup {
    html! {
        li {
            @if caller.attacker { span.chip.right { "✓ really the attacker" } } @else { span.chip.wrong { "✗ honest in truth" } }
            strong.mono { (words::printable(&caller.who, 60)) @if let Some(account) = &caller.account { " (" (words::printable(account, 60)) ")" } }
            p {
                (caller.family) " – " (caller.explained) ". Flagged " (words::minute(caller.at)) " after "
                (words::counted(caller.queries, "query", "queries")) ", confidence " (words::percent(caller.confidence)) "."
            }
            ul { @for reason in &caller.why { li { (reason) } } }
        }
    }
}

fn features(view: &View) -> Markup {
    let drift: Vec<&FeatureDrift> = view.model.drift().collect();
    if drift.is_empty() {
        return html! { p.note { "The first window is still filling." } };
    }
    let drifting = view.model.drifting_now();
    let most = drift.iter().map(|one| one.psi.max(one.psi_without_suspects).max(one.critical)).fold(LEAST_GAUGE, f64::max);
    html! {
        table {
            tbody {
                @for one in drift {
                    tr {
                        td.drifting[drifting.contains(&one.name.as_str())] {
                            @if one.name == "prediction" { "the model's answer" } @else { (words::printable(&one.name, 40)) }
                        }
                        td.gauge { (svg::drift_gauge(one, most)) }
                        td.n { (words::measured(one.psi)) }
                    }
                }
            }
        }
    }
}

fn events(view: &View) -> Markup {
    html! {
        @for entry in &view.entries {
            li {
                time { (entry.at) }
                b class=(entry.class) { @if entry.kind == "truth" { "really happens" } @else { "Tripline" } }
                span { (words::printable(&entry.text, 300)) }
            }
        }
        @if view.entries.is_empty() { li.note { "Nothing yet: an ordinary morning." } }
    }
}
