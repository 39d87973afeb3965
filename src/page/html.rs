//! The page's frame. Everything that changes is filled in by the script, as text and never as markup.

use maud::{DOCTYPE, Markup, html};

use super::board::Setting;

/// The page for a setting.
pub fn page(setting: &Setting) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { "Tripline demo" }
                link rel="icon" href="data:,";
                link rel="stylesheet" href="/style.css";
                script src="/app.js" defer {}
            }
            body data-finding="stable" {
                header {
                    div {
                        h1 { span.wire aria-hidden="true" {} "Tripline" }
                        p {
                            "A day in the life of the model " strong { (setting.model) } ", in about two minutes. The callers are simulated; "
                            "the broker, the service and the verdicts are real. Tripline sees the log alone."
                        }
                    }
                    div.clock {
                        span #clock { "–" }
                        small { (format!("{:.0}", setting.speed)) " times faster than life" }
                    }
                }
                main {
                    section.hero aria-live="polite" {
                        div.verdict {
                            small { "Tripline says" }
                            h2 #headline { "Connecting" }
                            p #explained { "The embedded broker and the service are starting." }
                        }
                        dl.tiles {
                            (tile("rate", "queries a second"))
                            (tile("callers", "callers remembered"))
                            (tile("found", "attackers' addresses found"))
                            (tile("accused", "honest callers accused"))
                        }
                    }
                    section.wide {
                        h3 { "Traffic, what really happens, and what Tripline says" }
                        div #traffic role="img" aria-label="Thresholds of queries over the simulated day, with lanes for the true drift, the true attack, and what Tripline says" {}
                        ul.legend {
                            li.honest { "honest queries" }
                            li.attack { "queries of the attack (only the simulator knows)" }
                            li.mark-stable { "stable" }
                            li.mark-drift { "drift" }
                            li.mark-probing { "probing" }
                            li.mark-both { "drift and probing" }
                        }
                    }
                    section {
                        h3 { "Callers flagged" small #flagged-note {} }
                        p.hint { "Who asks systematically, and what gave them away." }
                        div #campaigns {}
                        ol #flagged {}
                    }
                    section {
                        h3 { "Has the world changed?" }
                        p.hint {
                            "How far each feature of the recent traffic lies from the training data (PSI). A bar beyond its "
                            span.critical-key { "tick" } " is more than chance; a hollow bar is what remains when the suspects are left out."
                        }
                        div #features {}
                    }
                    section.wide {
                        h3 { "What happened" }
                        ol #lines {}
                    }
                    section.wide.help {
                        h3 { "What am I looking at?" }
                        dl {
                            dt { "Drift" } dd { "The world changes: many callers send other values than before. The model may need new training. It is nobody's attack." }
                            dt { "Probing" } dd { "Somebody asks systematically, to copy the model (extraction), to find an input that fools it (evasion), or to learn who was in its training data." }
                            dt { "Look-alikes" } dd { "A nightly batch job, hundreds of people behind one address, health checks, retries, a load test, a replay and people playing with a slider are all in this traffic. None of them may be flagged." }
                            dt { "Confidence" } dd { "One less the bound on the chance that honest traffic looks like this." }
                        }
                    }
                }
                footer { p { "Served from this machine, to this machine. Press Ctrl-C in the terminal to end." } }
            }
        }
    }
}

fn tile(id: &str, label: &str) -> Markup {
    html! { div { dt { (label) } dd id=(id) { "–" } } }
}
