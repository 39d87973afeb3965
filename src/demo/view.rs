//! A demo at one moment, as the page shows it and as `/state.json` tells it.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use serde::Serialize;

use super::script::Script;
use super::truth::Bucket;
use crate::event::{Address, EventTime};
use crate::html::judged::Answer;
use crate::html::words;
use crate::judge::{Finding, Scope, Verdict};
use crate::outcome::OutcomeCounts;
use crate::readmodel::{Model, Subject};

/// Flagged callers shown; the rest are counted. The list scrolls, and nobody scrolls further.
const MAX_FLAGGED: usize = 40;
/// Evidence from which a reason is worth reading: odds of about three to one, as a natural logarithm.
const MIN_EVIDENCE: f64 = 1.0;
/// Reasons shown for a caller; the heaviest carry most of the evidence.
const MAX_REASONS: usize = 3;

/// Everything that the page shows.
#[derive(Debug)]
pub struct View {
    /// What will happen.
    pub script: Arc<Script>,
    /// Event time.
    pub clock: EventTime,
    /// Queries over time.
    pub buckets: Vec<Bucket>,
    /// Addresses of the attack.
    pub attackers: BTreeSet<IpAddr>,
    /// Event time of the attack's latest query.
    pub attack_until: Option<EventTime>,
    /// Whether the simulated world has ended.
    pub finished: bool,
    /// Queries a second.
    pub rate: f64,
    /// The timeline, latest first.
    pub entries: Vec<Entry>,
    /// How well the service does.
    pub score: Score,
    /// The model as the service sees it.
    pub model: Arc<Model>,
    /// Callers flagged now, the latest first.
    pub flagged: Vec<Arc<Subject>>,
    /// Campaigns, largest first.
    pub campaigns: Vec<Arc<Subject>>,
    /// What went through the service.
    pub counts: OutcomeCounts,
}

/// One line of the timeline.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Event time, to the minute.
    pub at: String,
    /// The word on a terminal: `truth`, or the finding's.
    pub kind: &'static str,
    /// The class of its colour.
    pub class: &'static str,
    /// What happened.
    pub text: String,
}

/// How well the service does, which only the simulator can tell.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct Score {
    /// Attackers' addresses that have sent something.
    pub attackers: usize,
    /// Those of them that are flagged.
    pub found: usize,
    /// Honest addresses that have sent something.
    pub honest: usize,
    /// Honest addresses that are flagged.
    pub accused: usize,
    /// The attack's queries up to the one at which the service first flagged one of its addresses.
    pub queries_to_first: Option<u64>,
}

/// A flagged caller in words.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct FlaggedCaller {
    /// Address, or account.
    pub who: String,
    /// Account at the address, if the verdict speaks of one.
    pub account: Option<String>,
    /// Family of the probing.
    pub family: &'static str,
    /// What the family does.
    pub explained: &'static str,
    /// 0 to 1.
    pub confidence: f64,
    /// Queries up to the verdict.
    pub queries: u64,
    /// Event time of the verdict.
    pub at: EventTime,
    /// What gave it away, heaviest first.
    pub why: Vec<String>,
    /// Whether it really is the attacker.
    pub attacker: bool,
}

// === impl View ===

impl View {
    /// What is said of the model.
    pub fn answer(&self) -> Answer {
        self.model.answer()
    }

    /// The verdict as a headline.
    pub fn headline(&self) -> &'static str {
        match (self.model.finding(), self.counts.accepted) {
            (None, 0) => "Connecting",
            (None, _) => "Watching",
            (Some(_), _) => self.answer().headline,
        }
    }

    /// The verdict in a sentence or two, for somebody who has never heard of drift or probing.
    pub fn explained(&self) -> String {
        let flagged = || words::counted(self.flagged.len() as u64, "caller asks", "callers ask");
        match self.model.finding() {
            Some(Finding::Drift) => self.drift_explained(),
            Some(Finding::Probing) => {
                format!("{} in a way that makes no sense for use, but every sense for copying or fooling the model. Everybody else behaves as always.", flagged())
            }
            Some(Finding::DriftAndProbing) => {
                format!("Two things at once. {} And {} systematically, to copy or fool the model.", self.drift_explained(), flagged())
            }
            None if self.counts.accepted == 0 => "The embedded broker and the service are starting.".to_owned(),
            None => format!("The first windows are filling; nothing is judged yet, unless somebody stands out. {}", self.answer().open.join(" ")),
            Some(_) if !self.answer().is_judged() => self.answer().open.join(" "),
            Some(_) => "Callers ask what they always ask. Batch jobs, retries, load tests and curious people are among them; none of them is a reason for an alarm.".to_owned(),
        }
    }

    fn drift_explained(&self) -> String {
        // The answers change with the questions; the features are what a person can look into.
        let features: Vec<&str> = self.model.drifting_now().into_iter().filter(|name| !name.starts_with("prediction")).collect();
        let what = match features.as_slice() {
            [] => "The model's answers have shifted, though no single feature stands out.".to_owned(),
            _ => format!("Many honest callers now send other values of {}.", list(&features)),
        };
        format!("{what} Nobody is to blame; look at where the data comes from and think of retraining.")
    }

    /// The flagged callers that are shown.
    pub fn flagged_callers(&self) -> Vec<FlaggedCaller> {
        self.flagged.iter().take(MAX_FLAGGED).map(|one| self.flagged_caller(&one.verdict)).collect()
    }

    /// Flagged callers that are not shown.
    pub fn more_flagged(&self) -> usize {
        self.flagged.len().saturating_sub(MAX_FLAGGED)
    }

    fn flagged_caller(&self, verdict: &Verdict) -> FlaggedCaller {
        FlaggedCaller {
            who: name_of(verdict),
            account: verdict.client_id.clone().filter(|_| verdict.source_ip.is_some()),
            family: verdict.family.map_or("", words::family),
            explained: verdict.family.map_or("", words::family_explained),
            confidence: verdict.confidence.unwrap_or_default(),
            queries: verdict.queries_seen,
            at: verdict.at.0,
            why: reasons(verdict),
            attacker: flagged_address(verdict).is_some_and(|ip| self.attackers.contains(&ip)),
        }
    }
}

/// What speaks against a caller, heaviest first, with what honest callers show.
fn reasons(verdict: &Verdict) -> Vec<String> {
    let heavy = verdict.signals.iter().filter(|signal| signal.evidence >= MIN_EVIDENCE).take(MAX_REASONS);
    let reasons: Vec<String> = heavy
        .map(|signal| {
            let [value, reference] = [signal.value, signal.reference].map(words::measured);
            format!("{}: {value} (honest callers: {reference})", words::signal(signal.name))
        })
        .collect();
    if reasons.is_empty() {
        // A member of a campaign is found by what the others ask.
        return vec!["little by itself, but its queries continue those of other flagged addresses".to_owned()];
    }
    reasons
}

/// Names as a list in a sentence.
fn list(names: &[&str]) -> String {
    match names {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [most @ .., last] => format!("{} and {last}", most.join(", ")),
    }
}

/// The address or account of a verdict on a caller, by its simplest name.
pub fn name_of(verdict: &Verdict) -> String {
    match (&verdict.source_ip, &verdict.client_id) {
        (Some(ip), _) => ip.clone(),
        (None, Some(account)) => format!("account {account}"),
        (None, None) => verdict.source_prefix.clone().unwrap_or_default(),
    }
}

/// The address that a verdict flags; none if it speaks of an account or a prefix, or flags nobody.
pub fn flagged_address(verdict: &Verdict) -> Option<IpAddr> {
    if verdict.scope != Scope::Client || verdict.verdict != Finding::Probing {
        return None;
    }
    match Address::parse(verdict.source_ip.as_deref()?) {
        Some(Address::Ip(ip)) => Some(ip),
        _ => None,
    }
}
