//! The drill's section of a model card: generated Markdown between two markers, with a stamp that tells when it is stale.
//!
//! The stamp names what the numbers depend on: this program's version, the profile, the log, the settings, and the text itself. A
//! check of the stamp costs a reading of the log, not a drill. It cannot see that the judge's code changed within a version;
//! for that, a drill of one attack must give that attack's line again, since trials do not depend on what else is drilled.

use std::fmt::Write as _;

use super::DrillSettings as Settings;
use super::outcome::{DrillOutcome, DrillRow, LogSummary, detectable};
use super::table::{cells, from_callers};
use crate::hash;
use crate::html::words;
use crate::reference::Reference;

/// What marks a generated section of a card.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Markers {
    /// What the first marker begins with.
    begin: &'static str,
    /// The last marker.
    end: &'static str,
    /// Heading of the section, where a card has none yet.
    heading: &'static str,
    /// What a reader calls the section.
    name: &'static str,
}

/// The section of the attacks.
pub const DRILL: Markers = Markers { begin: "<!-- drill:", end: "<!-- end of the drill -->", heading: "## Drill", name: "drill" };
/// The section of the attacks in a log without callers.
pub const WITHOUT_CALLERS: Markers = Markers {
    begin: "<!-- drill without callers:",
    end: "<!-- end of the drill without callers -->",
    heading: "## Drill without callers",
    name: "drill without callers",
};
/// The section of the honest changes.
pub const CHANGES: Markers =
    Markers { begin: "<!-- changes:", end: "<!-- end of the changes -->", heading: "## Honest changes", name: "changes" };
/// The section of the honest changes in a log without callers.
pub const CHANGES_WITHOUT_CALLERS: Markers = Markers {
    begin: "<!-- changes without callers:",
    end: "<!-- end of the changes without callers -->",
    heading: "## Honest changes without callers",
    name: "changes without callers",
};

/// Everything that the numbers of a section depend on but the judge's code, as a line of text.
pub fn stamp(reference: &Reference, log_digest: &str, settings: &Settings) -> String {
    let Settings { families, deliveries, budget, repeats, seed, engine } = settings;
    // The salt is a secret of the deployment, so nothing of it may be in a document, not even in a digest of few values.
    let engine = crate::engine::EngineConfig { salt: 0, ..engine.clone() };
    let what = serde_json::json!({
        "families": families.iter().map(|family| family.name()).collect::<Vec<_>>(),
        "deliveries": deliveries.iter().map(|delivery| delivery.name()).collect::<Vec<_>>(),
        "budget": budget,
        "repeats": repeats,
        "seed": seed,
        "engine": engine,
    });
    stamp_of(reference, log_digest, &what)
}

/// A stamp of a profile, a log and any settings.
pub fn stamp_of(reference: &Reference, log_digest: &str, settings: &serde_json::Value) -> String {
    let reference: String = reference.digest.chars().take(16).collect();
    let settings = hash::text(&settings.to_string());
    format!("tripline {}, reference {reference}, log {log_digest}, settings {settings:016x}", env!("CARGO_PKG_VERSION"))
}

/// A card with the section of this drill in place of the old one, or at the end. `log` is the name of the log for people.
pub fn updated(card: &str, outcome: &DrillOutcome, log: &str, stamp: &str) -> String {
    let markers = if outcome.log.facts.without_callers { WITHOUT_CALLERS } else { DRILL };
    markers.put(card, &markers.wrap(&body(outcome, log), stamp))
}

/// Why a card's section of the attacks cannot be believed, or nothing.
pub fn stale(card: &str, stamp: &str) -> Option<String> {
    DRILL.stale(card, stamp)
}

// === impl Markers ===

impl Markers {
    /// A text between its markers, with a stamp.
    pub fn wrap(&self, body: &str, stamp: &str) -> String {
        format!("{} {stamp}, text {:016x} -->\n\n{body}\n{}", self.begin, hash::text(body), self.end)
    }

    /// Puts a section into a card: in place of the old one, or at the end.
    pub fn put(&self, card: &str, section: &str) -> String {
        match self.split(card) {
            Some((before, _, after)) => format!("{before}{section}{after}"),
            None => format!("{}\n\n{}\n\n{section}\n", card.trim_end(), self.heading),
        }
    }

    /// Why a card's section cannot be believed, or nothing.
    pub fn stale(&self, card: &str, stamp: &str) -> Option<String> {
        let Self { name, begin, end, .. } = *self;
        let Some((_, section, _)) = self.split(card) else { return Some(format!("it has no {name} section")) };
        let (first, rest) = section.split_once('\n').unwrap_or((section, ""));
        let found = first.trim_start_matches(begin).trim_end_matches("-->").trim();
        let (found, text) = found.rsplit_once(", text ").unwrap_or((found, ""));
        if found != stamp {
            return Some(format!("its {name} section is of other things: it says '{found}', and should say '{stamp}'"));
        }
        let body = rest.trim_start_matches('\n').strip_suffix(end).unwrap_or(rest);
        let body = body.strip_suffix('\n').unwrap_or(body);
        (text != format!("{:016x}", hash::text(body))).then(|| format!("its {name} section was changed by hand"))
    }

    /// What is before, the section from marker to marker, and what is behind.
    fn split<'a>(&self, card: &'a str) -> Option<(&'a str, &'a str, &'a str)> {
        let from = card.find(self.begin)?;
        let to = from + card[from..].find(self.end)? + self.end.len();
        Some((&card[..from], &card[from..to], &card[to..]))
    }
}

/// A log as a section names it: its name, how much is in it, and from when to when.
pub(super) fn log_line(about: &LogSummary, log: &str) -> String {
    format!("{} ({}, {} to {} UTC)", escape(log), from_callers(about, "of"), words::minute(about.from.0), words::minute(about.to.0))
}

/// The line of an attack in the table of a card.
pub fn family_line(line: &DrillRow) -> String {
    row(&line.family, line)
}

fn body(outcome: &DrillOutcome, log: &str) -> String {
    let mut out = String::new();
    let (drill, about) = (&outcome.drill, &outcome.log);
    // Writing to a String cannot fail.
    let _ = writeln!(
        out,
        "Attacks injected into {}: {} trials of {} queries, {} of each attack and delivery, seed {}. A surrogate answered them, not the model.\n",
        log_line(about, log),
        words::count(outcome.trials.len() as u64),
        words::count(drill.budget),
        drill.repeats,
        drill.seed,
    );
    for fidelity in &outcome.surrogates {
        let explained = fidelity.explained.map_or(String::new(), |share| format!(", R² {share:.2}"));
        let _ = writeln!(
            out,
            "* Surrogate, {}: decides like the log on {} of {} rows that it did not learn from{explained}; always the commonest decision would get {}.",
            fidelity.surrogate,
            fidelity.agreement.value().map_or_else(|| "–".to_owned(), words::percent),
            words::count(fidelity.agreement.among),
            words::percent(fidelity.always_the_commonest)
        );
    }
    let _ = writeln!(out, "* Without any attack: {}", outcome.calibration.finding);
    for note in outcome.notes.iter().chain(&about.left_out()) {
        let _ = writeln!(out, "* {note}");
    }
    table(&mut out, "Attack", outcome.families.iter().filter(|line| detectable(&line.family)), |line| line.family.clone());
    let _ = writeln!(out, "{}", row("**all of these**", &outcome.all));
    if let Some(natural) = &outcome.undetectable {
        let _ = writeln!(out, "{}", row("*natural sampling, which cannot be told from use*", natural));
    }
    table(&mut out, "Delivery", outcome.deliveries.iter(), |line| line.delivery.clone());
    let legend = match about.facts.without_callers {
        true => {
            "Found: the model was said to be probed because of the attack, with the exact 95 % interval. Queries and time: to that verdict, median / ninth decile over all trials; – where fewer were found. Leaked: share of the queries that were answered before it, median. No query has a caller, so no caller can be named or accused."
        }
        false => {
            "Found: the attack was named, with the exact 95 % interval. Callers: of the attack, named. Queries and time: to the first verdict, median / ninth decile over all trials; – where fewer were found. Leaked: share of the queries that were answered before their caller was named, median. False alarms: trials in which somebody honest was accused."
        }
    };
    let _ = writeln!(out, "\n{legend}");
    out
}

fn table<'a>(out: &mut String, first: &str, lines: impl Iterator<Item = &'a DrillRow>, name: impl Fn(&DrillRow) -> String) {
    let _ = writeln!(out, "\n| {first} | Found | 95 % interval | Callers | Queries | Time | Leaked | False alarms |");
    let _ = writeln!(out, "|---|---:|---:|---:|---:|---:|---:|---:|");
    for line in lines {
        let _ = writeln!(out, "{}", row(&name(line), line));
    }
}

fn row(name: &str, line: &DrillRow) -> String {
    format!("| {name} | {} |", cells(line).join(" | "))
}

/// A name from the command line as Markdown text.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::new();
    for c in words::printable(text, 120).chars() {
        if matches!(c, '\\' | '`' | '*' | '_' | '<' | '>' | '[' | ']' | '|') {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marked(stamp: &str, body: &str) -> String {
        DRILL.wrap(body, stamp)
    }

    #[test]
    fn the_two_sections_of_a_card_do_not_touch_each_other() {
        let both = CHANGES.put(&DRILL.put("# m\n", &marked("a", "one\n")), &CHANGES.wrap("calm\n", "b"));
        assert_eq!((stale(&both, "a"), CHANGES.stale(&both, "b")), (None, None));
        let later = DRILL.put(&CHANGES.put(&both, &CHANGES.wrap("calmer\n", "c")), &marked("d", "two\n"));
        assert_eq!((stale(&later, "d"), CHANGES.stale(&later, "c")), (None, None));
        assert!(!later.contains("calm\n") && !later.contains("one\n"), "{later}");
    }

    #[test]
    fn the_drill_without_callers_has_a_section_of_its_own() {
        let both = WITHOUT_CALLERS.put(&DRILL.put("# m\n", &marked("a", "one\n")), &WITHOUT_CALLERS.wrap("nobody\n", "b"));
        assert_eq!((stale(&both, "a"), WITHOUT_CALLERS.stale(&both, "b")), (None, None));
        let later = DRILL.put(&both, &marked("c", "two\n"));
        assert_eq!((stale(&later, "c"), WITHOUT_CALLERS.stale(&later, "b")), (None, None), "{later}");
    }

    #[test]
    fn a_section_is_appended_once_and_replaced_ever_after() {
        let first = DRILL.put("# m\n\nText.\n", &marked("a", "one\n"));
        assert!(first.starts_with("# m\n\nText.\n\n## Drill\n\n<!-- drill: a, text "), "{first}");
        let second = DRILL.put(&format!("{first}\n## More\n"), &marked("b", "two\n"));
        assert!(second.contains("two") && !second.contains("one") && second.ends_with("\n## More\n"), "{second}");
        assert_eq!(second.matches(DRILL.begin).count(), 1);
    }

    #[test]
    fn another_log_another_profile_and_a_helping_hand_make_it_stale() {
        let card = DRILL.put("# m\n", &marked("reference 1, log 2", "| grid | 5/5 |\n"));
        assert_eq!(stale(&card, "reference 1, log 2"), None);
        assert!(stale(&card, "reference 1, log 3").is_some_and(|why| why.contains("of other things")));
        let mended = card.replace("5/5", "9/9");
        assert!(stale(&mended, "reference 1, log 2").is_some_and(|why| why.contains("by hand")));
        assert!(stale("# m\n", "reference 1, log 2").is_some_and(|why| why.contains("no drill section")));
    }
}
