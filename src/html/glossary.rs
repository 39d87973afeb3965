//! The terms of the pages, explained to somebody who sees them for the first time.

use maud::{Markup, html};

use super::words;
use crate::judge::Family;

/// Terms with their meaning, in the order in which a reader meets them.
pub const TERMS: [(&str, &str); 20] = [
    ("Stable", "Callers and values look as they did when the reference was made."),
    ("Undetermined", "Nothing was found, but no drift test was made yet, or a change is still under test."),
    (
        "Drift",
        "The world changed: values of features or answers moved away from the reference, for many callers alike. The model may need care; nobody is to blame.",
    ),
    ("Probing", "Somebody asks systematically, in order to copy the model, to fool it, or to learn what it was trained on."),
    ("Suspect", "A caller that was found probing at some time in this log, or belongs to a campaign that was."),
    (
        "Caller",
        "Who asks: an address, an account wherever it is, or one account at one address (so that one attacker behind a shared address does not condemn all others there). A network prefix is named when three or more of its addresses, and at least half of them, were found probing; its other addresses are not meant.",
    ),
    ("Campaign", "Several callers whose queries belong together by what they ask, whatever their addresses."),
    (
        "Crowd",
        "A campaign of many new addresses with a query or two each, judged as one actor: no address gives enough evidence alone. Callers with a past do not send such rows.",
    ),
    (
        "Reference",
        "The profile of the model's input and answers, learned once from training rows. It does not learn from this log, so nobody can teach it.",
    ),
    (
        "Confidence",
        "One less a bound on how often honest traffic would show evidence this strong. 99.9 % does not mean that the caller is guilty with that probability; it means that chance is a poor explanation.",
    ),
    ("Evidence", "How strongly one statistic speaks against honest traffic, as a natural logarithm: 7 is about one in a thousand."),
    (
        "PSI",
        "Population stability index: how far the distribution of a feature moved from the reference. It grows by chance alone in small windows, so it is always shown with the value that chance explains.",
    ),
    (
        "Chance up to",
        "The value of the PSI that a window of this size exceeds by chance only rarely. Below it there is nothing to explain.",
    ),
    (
        "Without suspects",
        "The PSI when the suspects' queries are left out. If it falls below what chance explains, the suspects made the shift, not the world.",
    ),
    (
        "Sudden, gradual",
        "How long the change took, from the ramp that fits the quarters of an hour best. Up to an hour is sudden: a release, a new unit, a campaign. Longer is gradual: the world itself.",
    ),
    (
        "Broad, concentrated",
        "How many callers moved: those whose own rows are likelier now than under the reference. A third or more is broad. A change of few callers is a partial roll-out, or somebody's doing.",
    ),
    (
        "Vanishes without the suspects",
        "The share of the shift that is gone when the suspects' queries are left out. Near 100 %, they made it; near 0 %, the world did.",
    ),
    (
        "Distance",
        "In the pictures of features: the PSI between the suspects (or all callers, if there is no suspect) and the reference, over the whole log.",
    ),
    (
        "Late",
        "An event that arrived behind the allowed lateness. It is evidence about its sender, but the windows were already closed.",
    ),
    ("AML.… and ML0…", "Names of attack techniques in MITRE ATLAS, and entries of the OWASP Machine Learning Security Top 10."),
];

/// The terms and the families of probing with their meaning, as the last part of a page.
pub fn section() -> Markup {
    html! {
        section id="words" {
            h2 { "What the words mean" }
            dl.glossary {
                @for (term, meaning) in TERMS { dt { (term) } dd { (meaning) } }
                @for family in Family::ALL {
                    dt { (words::family(family)) }
                    dd { "Probing that " (words::family_explained(family)) "." }
                }
            }
        }
    }
}
