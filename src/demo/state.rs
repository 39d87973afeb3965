//! The state of a demo: what really happened beside what the service found, and the lines that tell both in order.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::script::{Act, Script};
use super::truth::Truth;
use super::view::{Entry, Score, View, flagged_address, name_of};
use crate::event::EventTime;
use crate::html::{frame, words};
use crate::judge::{Scope, Verdict};
use crate::outcome::OutcomeCounts;
use crate::readmodel::{ReadModel, Recorded, Subject};
use crate::simulate::Event;

/// Lines of the timeline kept; a list that scrolls shows ten at a time.
pub const MAX_ENTRIES: usize = 60;
/// Weight of the newest half second in the shown rate. Chosen: the number settles within two seconds and does not flicker.
const RATE_WEIGHT: f64 = 0.4;

/// Shared by the simulator, the service's observer and the page. What the service found is in the read model, which this only
/// reads.
#[derive(Clone, Debug)]
pub struct DemoState {
    script: Arc<Script>,
    found: ReadModel,
    happened: Arc<Mutex<Happened>>,
}

#[derive(Debug, Default)]
struct Happened {
    truth: Truth,
    entries: Vec<Entry>,
    /// Queries a second, smoothed.
    rate: f64,
    /// Seconds since the start and queries read when the rate was last taken.
    rate_from: Option<(f64, u64)>,
}

// === impl DemoState ===

impl DemoState {
    /// The state of a demo of `script`, whose service is followed by `found`.
    pub fn new(script: Script, found: ReadModel) -> Self {
        let happened = Happened { truth: Truth::new(script.start), ..Happened::default() };
        Self { script: Arc::new(script), found, happened: Arc::new(Mutex::new(happened)) }
    }

    fn lock(&self) -> MutexGuard<'_, Happened> {
        // A writer that panicked left plain data behind; showing it is better than dying too.
        self.happened.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What does not change.
    pub fn script(&self) -> &Script {
        &self.script
    }

    /// The simulator sent an event.
    pub fn sent(&self, event: &Event) {
        let mut happened = self.lock();
        let clock = happened.truth.clock;
        for act in self.script.acts.iter().filter(|act| act.from > clock && act.from <= event.at) {
            happened.tell(act.from, "truth", "truth", act.sentence());
        }
        happened.truth.sent(event);
    }

    /// The simulator has nothing more to send.
    pub fn finished(&self) {
        self.lock().truth.finished = true;
    }

    /// The service reached a verdict, which the read model has already taken. Returns the line that tells it, if it is news.
    pub fn verdict(&self, verdict: &Verdict, recorded: Recorded) -> Option<Entry> {
        if let Some(address) = flagged_address(verdict) {
            self.lock().truth.flagged(address, verdict.at.0);
        }
        let family = verdict.family.map_or("", words::family);
        let text = match (verdict.scope, recorded) {
            (Scope::Model, _) => {
                let drifting = &self.found.model(&verdict.model).drifting;
                let headline = words::headline(verdict.verdict);
                if drifting.is_empty() { headline.to_owned() } else { format!("{headline}: {}", drifting.join(", ")) }
            }
            (Scope::Campaign, Recorded::NewlyFlagged) => {
                format!("{} work together: {family}", words::counted(verdict.members.len() as u64, "address", "addresses"))
            }
            (Scope::Client, Recorded::NewlyFlagged) => {
                format!("{} flagged after {}: {family}", name_of(verdict), words::counted(verdict.queries_seen, "query", "queries"))
            }
            _ => return None,
        };
        Some(self.lock().tell(verdict.at.0, verdict.verdict.name(), frame::class(verdict.verdict), text))
    }

    /// The service told its counts, at `seconds` since the start of the process.
    pub fn status(&self, counts: &OutcomeCounts, seconds: f64) {
        let mut happened = self.lock();
        if let Some((from, accepted)) = happened.rate_from
            && seconds > from
        {
            #[expect(clippy::cast_precision_loss, reason = "a count of queries")]
            let now = counts.accepted.saturating_sub(accepted) as f64 / (seconds - from);
            happened.rate = if happened.rate > 0.0 { (1.0 - RATE_WEIGHT) * happened.rate + RATE_WEIGHT * now } else { now };
        }
        happened.rate_from = Some((seconds, counts.accepted));
    }

    /// Queries that the service has read.
    pub fn accepted(&self) -> u64 {
        self.found.counts().accepted
    }

    /// How well the service does, which only the simulator can tell.
    pub fn score(&self) -> Score {
        score(&self.lock().truth, &self.found.flagged(&self.script.model))
    }

    /// Everything that the page shows, at one moment.
    pub fn view(&self) -> View {
        let model = self.found.model(&self.script.model);
        let flagged = self.found.flagged(&self.script.model);
        let campaigns = self.found.campaigns(&self.script.model);
        let counts = self.found.counts();
        let happened = self.lock();
        View {
            script: Arc::clone(&self.script),
            clock: happened.truth.clock,
            buckets: happened.truth.buckets.clone(),
            attackers: happened.truth.attackers.clone(),
            attack_until: happened.truth.attack_until,
            finished: happened.truth.finished,
            rate: happened.rate,
            entries: happened.entries.iter().rev().cloned().collect(),
            score: score(&happened.truth, &flagged),
            model,
            flagged,
            campaigns,
            counts,
        }
    }

    /// The last lines on the terminal: what was to be found, and what was.
    pub fn last_words(&self, counts: OutcomeCounts) -> String {
        let (score, clock) = (self.score(), self.lock().truth.clock);
        let mut out = String::new();
        // Writing to a String cannot fail.
        let [accepted, honest] = [counts.accepted, score.honest as u64].map(words::count);
        let _ = writeln!(out, "\nRead {accepted} queries ({} late, {} unusable).", words::count(counts.late), counts.rejected);
        for act in self.script.acts.iter().filter(|act| act.from <= clock) {
            let _ = writeln!(out, "  {}  {} – {}", words::minute(act.from), act.sentence(), self.answer(act));
        }
        if score.attackers > 0 {
            let first = score.queries_to_first.map_or(String::new(), |n| format!(", the first after {n} of the attack's queries"));
            let _ = writeln!(out, "  {} of {} attacking addresses were flagged{first}.", score.found, score.attackers);
        }
        let _ = writeln!(out, "  {} of {honest} honest addresses were flagged.", score.accused);
        out
    }

    /// When the service found an act.
    fn answer(&self, act: &Act) -> String {
        let model = self.found.model(&self.script.model);
        match model.timeline.iter().find(|change| change.at >= act.from && act.is_found_by(change.finding)) {
            Some(change) => format!("said after {} of simulated time", words::duration(change.at.seconds_since(act.from))),
            None => "not said so far".to_owned(),
        }
    }
}

fn score(truth: &Truth, flagged: &[Arc<Subject>]) -> Score {
    let flagged: BTreeSet<IpAddr> = flagged.iter().filter_map(|one| flagged_address(&one.verdict)).collect();
    Score {
        attackers: truth.attackers.len(),
        found: flagged.intersection(&truth.attackers).count(),
        honest: truth.honest.len(),
        accused: flagged.difference(&truth.attackers).count(),
        queries_to_first: truth.queries_to_first(),
    }
}

// === impl Happened ===

impl Happened {
    fn tell(&mut self, at: EventTime, kind: &'static str, class: &'static str, text: String) -> Entry {
        let entry = Entry { at: words::minute(at), kind, class, text };
        if self.entries.len() == MAX_ENTRIES {
            self.entries.remove(0);
        }
        self.entries.push(entry.clone());
        entry
    }
}
