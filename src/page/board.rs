//! The board behind the page: what the simulator did and what the engine said, kept side by side in bounded memory.
//!
//! Two worlds meet only here. The simulator tells what really happens ([`DemoState::sent`]); the service, which sees nothing but the
//! log, tells what it found ([`DemoState::verdict`], [`DemoState::status`]). The page shows both, so that a newcomer can judge the judge.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;

use crate::engine::ModelStatus;
use crate::event::{Address, EventTime};
use crate::judge::{FeatureDrift, Finding, Scope, Verdict};
use crate::report::words;
use crate::simulate::Event;

/// Width of a bar of the traffic picture: 144 bars make a day.
const BUCKET_MICROS: i64 = 600_000_000;
/// Thresholds kept: two days; the oldest go.
const MAX_BUCKETS: usize = 288;
/// Lines of the timeline kept.
const MAX_LINES: usize = 60;
/// Flagged callers shown; the rest are counted.
const MAX_FLAGGED: usize = 40;
/// Changes of the verdict on the model that are kept; a lively day has a dozen.
const MAX_SAID: usize = 200;
/// Campaigns shown; the largest.
const MAX_CAMPAIGNS: usize = 3;
/// Times kept of the attack's queries, to say how many it took; more than any shipped attack sends.
const MAX_TIMES: usize = 100_000;
/// Evidence from which a reason is worth reading: odds of about three to one.
const MIN_EVIDENCE: f64 = 1.0;
/// Reasons shown of a verdict.
const MAX_REASONS: usize = 3;

/// What does not change during a demo.
#[derive(Clone, Debug, Default)]
pub struct Setting {
    /// Model name.
    pub model: String,
    /// First event time.
    pub start: EventTime,
    /// Event seconds in a second.
    pub speed: f64,
    /// What will really happen, in order.
    pub acts: Vec<Act>,
}

/// A part of the script.
#[derive(Clone, Debug, Serialize)]
pub struct Act {
    /// `drift` or `probing`.
    pub kind: &'static str,
    /// Event time at which it begins, in microseconds.
    pub from: i64,
    /// What happens, in words.
    pub words: String,
}

/// Shared by the simulator, the service and the page.
#[derive(Clone, Debug, Default)]
pub struct DemoState(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    setting: Setting,
    clock: EventTime,
    buckets: Vec<Bucket>,
    sent: u64,
    honest: BTreeSet<IpAddr>,
    attackers: BTreeSet<IpAddr>,
    attack_until: Option<EventTime>,
    /// Event times of the attack's queries, in order, up to [`MAX_TIMES`].
    attack_times: Vec<EventTime>,
    attack_queries: u64,
    first_flag: Option<EventTime>,
    counts: Counts,
    rate: f64,
    rate_from: Option<(f64, u64)>,
    status: Option<ModelStatus>,
    said: Vec<Said>,
    drifting: Vec<String>,
    flagged: BTreeMap<(String, String), Flagged>,
    campaigns: BTreeMap<String, Campaign>,
    lines: Vec<Line>,
    finished: bool,
}

/// What the service has read.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Counts {
    /// Counted in windows.
    pub accepted: u64,
    /// Behind the watermark.
    pub late: u64,
    /// Unusable.
    pub rejected: u64,
}

#[derive(Clone, Copy, Debug, Default, Serialize)]
struct Bucket {
    at: i64,
    honest: u32,
    attack: u32,
}

#[derive(Clone, Copy, Debug, Serialize)]
struct Said {
    from: i64,
    finding: Finding,
}

#[derive(Clone, Debug, Serialize)]
struct Flagged {
    who: String,
    account: String,
    family: &'static str,
    explained: &'static str,
    confidence: f64,
    queries: u64,
    at: String,
    why: Vec<String>,
    attacker: bool,
    #[serde(skip)]
    order: u64,
}

#[derive(Clone, Debug, Serialize)]
struct Campaign {
    family: &'static str,
    members: usize,
    queries: u64,
}

/// One line of the timeline.
#[derive(Clone, Debug, Serialize)]
pub struct Line {
    /// Event time, to the minute.
    pub at: String,
    /// `truth`, or the finding's word.
    pub kind: &'static str,
    /// What.
    pub text: String,
}

/// The state as the page reads it.
#[derive(Debug, Serialize)]
pub struct View {
    model: String,
    clock: String,
    clock_micros: i64,
    start_micros: i64,
    speed: f64,
    sent: u64,
    rate: f64,
    counts: Counts,
    clients: u64,
    finding: Finding,
    finished: bool,
    headline: &'static str,
    explained: String,
    acts: Vec<Act>,
    attack_until: Option<i64>,
    attack_queries: u64,
    buckets: Vec<Bucket>,
    said: Vec<Said>,
    score: Score,
    flagged: Vec<Flagged>,
    more_flagged: usize,
    campaigns: Vec<Campaign>,
    features: Vec<Feature>,
    lines: Vec<Line>,
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
    /// Honest callers that are flagged.
    pub accused: usize,
    /// The attack's queries up to the one at which the service first flagged one of its addresses.
    pub queries_to_first: Option<u64>,
}

#[derive(Debug, Serialize)]
struct Feature {
    name: String,
    psi: f64,
    critical: f64,
    without: f64,
    drifting: bool,
}

// === impl DemoState ===

impl DemoState {
    /// A board for a script.
    pub fn new(setting: Setting) -> Self {
        let inner = Inner { clock: setting.start, setting, ..Inner::default() };
        Self(Arc::new(Mutex::new(inner)))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A writer that panicked left plain data behind; showing it is better than dying too.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What does not change.
    pub fn setting(&self) -> Setting {
        self.lock().setting.clone()
    }

    /// The simulator sent an event.
    pub fn sent(&self, event: &Event) {
        let mut inner = self.lock();
        inner.sent += 1;
        let began: Vec<Act> = {
            let clock = inner.clock.micros();
            inner.setting.acts.iter().filter(|act| act.from > clock && act.from <= event.at.micros()).cloned().collect()
        };
        for act in began {
            inner.line(EventTime::from_micros(act.from), "truth", act.words);
        }
        inner.clock = inner.clock.max(event.at);
        let at = event.at.micros().div_euclid(BUCKET_MICROS) * BUCKET_MICROS;
        if inner.buckets.last().is_none_or(|last| last.at < at) {
            inner.buckets.push(Bucket { at, ..Bucket::default() });
            let excess = inner.buckets.len().saturating_sub(MAX_BUCKETS);
            inner.buckets.drain(..excess);
        }
        let attack = event.mark.is_some();
        if let Some(bucket) = inner.buckets.last_mut() {
            *(if attack { &mut bucket.attack } else { &mut bucket.honest }) += 1;
        }
        if attack {
            inner.attackers.insert(event.address);
            inner.attack_queries += 1;
            inner.attack_until = Some(event.at);
            if inner.attack_times.len() < MAX_TIMES {
                inner.attack_times.push(event.at);
            }
        } else {
            inner.honest.insert(event.address);
        }
    }

    /// The simulator has nothing more to send.
    pub fn finished(&self) {
        self.lock().finished = true;
    }

    /// The service reached a verdict. Returns what is worth a line on the terminal.
    pub fn verdict(&self, verdict: &Verdict) -> Option<Line> {
        self.lock().verdict(verdict)
    }

    /// The service's state, at `seconds` since the start of the process.
    pub fn status(&self, status: &[ModelStatus], counts: Counts, seconds: f64) {
        let mut inner = self.lock();
        if let Some((from, accepted)) = inner.rate_from
            && seconds > from
        {
            // A second of smoothing: the number should be readable, not nervous.
            let now = counts.accepted.saturating_sub(accepted) as f64 / (seconds - from);
            inner.rate = if inner.rate > 0.0 { 0.6 * inner.rate + 0.4 * now } else { now };
        }
        inner.rate_from = Some((seconds, counts.accepted));
        inner.counts = counts;
        let model = inner.setting.model.clone();
        if let Some(status) = status.iter().find(|s| s.model == model) {
            inner.status = Some(status.clone());
        }
    }

    /// How well the service does.
    pub fn score(&self) -> Score {
        self.lock().score()
    }

    /// What was said about the model, in order, with the event time.
    pub fn said(&self) -> Vec<(EventTime, Finding)> {
        self.lock().said.iter().map(|said| (EventTime::from_micros(said.from), said.finding)).collect()
    }

    /// Latest event time that was sent.
    pub fn clock(&self) -> EventTime {
        self.lock().clock
    }

    /// Queries that the service has read.
    pub fn accepted(&self) -> u64 {
        self.lock().counts.accepted
    }

    /// The state for the page.
    pub fn view(&self) -> View {
        self.lock().view()
    }
}

// === impl Inner ===

impl Inner {
    fn line(&mut self, at: EventTime, kind: &'static str, text: String) -> Line {
        let line = Line { at: words::minute(at), kind, text };
        self.lines.push(line.clone());
        let excess = self.lines.len().saturating_sub(MAX_LINES);
        self.lines.drain(..excess);
        line
    }

    fn verdict(&mut self, verdict: &Verdict) -> Option<Line> {
        let family = verdict.family.map_or("", words::family);
        match verdict.scope {
            Scope::Model => {
                self.said.push(Said { from: verdict.at.0.micros(), finding: verdict.verdict });
                let excess = self.said.len().saturating_sub(MAX_SAID);
                self.said.drain(..excess);
                let drifts = matches!(verdict.verdict, Finding::Drift | Finding::DriftAndProbing);
                // A verdict that only adds the probing does not name the features again.
                if !drifts || !verdict.features.is_empty() {
                    self.drifting = verdict.features.iter().map(|f| f.name.clone()).filter(|_| drifts).collect();
                }
                let mut text = words::headline(verdict.verdict).to_owned();
                if drifts && !self.drifting.is_empty() {
                    text = format!("{text}: {}", self.drifting.join(", "));
                }
                Some(self.line(verdict.at.0, verdict.verdict.name(), text))
            }
            Scope::Campaign => {
                let case = verdict.case.clone().unwrap_or_default();
                let known = self.campaigns.contains_key(&case);
                let members = verdict.members.len();
                self.campaigns.insert(case, Campaign { family, members, queries: verdict.queries_seen });
                if known || verdict.verdict != Finding::Probing {
                    return None;
                }
                Some(self.line(verdict.at.0, "probing", format!("{members} addresses work together: {family}")))
            }
            Scope::Client => self.client(verdict, family),
        }
    }

    fn client(&mut self, verdict: &Verdict, family: &'static str) -> Option<Line> {
        let who = verdict.source_ip.clone().unwrap_or_default();
        let account = verdict.client_id.clone().unwrap_or_default();
        let key = (who.clone(), account.clone());
        if verdict.verdict != Finding::Probing {
            self.flagged.remove(&key);
            return None;
        }
        let attacker = match Address::parse(&who) {
            Some(Address::Ip(ip)) => self.attackers.contains(&ip),
            _ => false,
        };
        if attacker {
            let at = verdict.at.0;
            self.first_flag = Some(self.first_flag.map_or(at, |first| first.min(at)));
        }
        let mut why: Vec<String> = verdict
            .signals
            .iter()
            .filter(|s| s.evidence >= MIN_EVIDENCE)
            .take(MAX_REASONS)
            .map(|s| {
                format!(
                    "{}: {} (honest callers: {})",
                    words::signal(s.name),
                    words::measured(s.value),
                    words::measured(s.reference)
                )
            })
            .collect();
        if why.is_empty() {
            // Nothing by itself: it is known by the company that it keeps.
            why.push("little by itself, but its queries continue those of other flagged addresses".to_owned());
        }
        let order = self.flagged.get(&key).map_or(self.flagged.len() as u64, |known| known.order);
        let name = if who.is_empty() { format!("account {account}") } else { who.clone() };
        let flagged = Flagged {
            who: name.clone(),
            account: if who.is_empty() { String::new() } else { account },
            family,
            explained: verdict.family.map_or("", words::family_explained),
            confidence: verdict.confidence.unwrap_or_default(),
            queries: verdict.queries_seen,
            at: words::minute(verdict.at.0),
            why,
            attacker,
            order,
        };
        let new = self.flagged.insert(key, flagged).is_none();
        new.then(|| {
            let text = format!("{name} flagged after {}: {family}", words::counted(verdict.queries_seen, "query", "queries"));
            self.line(verdict.at.0, "probing", text)
        })
    }

    fn score(&self) -> Score {
        let flagged: BTreeSet<IpAddr> = self
            .flagged
            .keys()
            .filter_map(|(who, _)| match Address::parse(who) {
                Some(Address::Ip(ip)) => Some(ip),
                _ => None,
            })
            .collect();
        Score {
            attackers: self.attackers.len(),
            found: flagged.intersection(&self.attackers).count(),
            honest: self.honest.len(),
            accused: flagged.difference(&self.attackers).count(),
            // In event time: what was under way when the verdict was reached does not count.
            queries_to_first: self.first_flag.map(|at| self.attack_times.partition_point(|t| *t <= at) as u64),
        }
    }

    fn view(&self) -> View {
        let finding = self.said.last().map_or(Finding::Stable, |said| said.finding);
        let mut flagged: Vec<Flagged> = self.flagged.values().cloned().collect();
        flagged.sort_by_key(|f| std::cmp::Reverse(f.order));
        let more_flagged = flagged.len().saturating_sub(MAX_FLAGGED);
        flagged.truncate(MAX_FLAGGED);
        let mut campaigns: Vec<Campaign> = self.campaigns.values().cloned().collect();
        campaigns.sort_by_key(|c| std::cmp::Reverse((c.members, c.queries)));
        campaigns.truncate(MAX_CAMPAIGNS);
        let drifting = self.drifting_now();
        let feature = |drift: &FeatureDrift| Feature {
            drifting: drifting.contains(&drift.name),
            name: drift.name.clone(),
            psi: drift.psi,
            critical: drift.critical,
            without: drift.psi_without_suspects,
        };
        let status = self.status.as_ref();
        // Before the first evaluation there is no critical value and nothing to show.
        let evaluated = |s: &&ModelStatus| s.features.iter().any(|f| f.critical > 0.0);
        let features =
            status.filter(evaluated).map(|s| s.features.iter().chain(&s.prediction).map(feature).collect()).unwrap_or_default();
        View {
            model: self.setting.model.clone(),
            clock: words::minute(self.clock),
            clock_micros: self.clock.micros(),
            start_micros: self.setting.start.micros(),
            speed: self.setting.speed,
            sent: self.sent,
            rate: self.rate,
            counts: self.counts,
            clients: status.map_or(0, |s| s.clients),
            finding,
            finished: self.finished,
            headline: match (self.said.is_empty(), self.counts.accepted) {
                (true, 0) => "Connecting",
                (true, _) => "Watching",
                _ => words::headline(finding),
            },
            explained: self.explained(finding),
            acts: self.setting.acts.clone(),
            attack_until: self.attack_until.map(EventTime::micros),
            attack_queries: self.attack_queries,
            buckets: self.buckets.clone(),
            said: self.said.clone(),
            score: self.score(),
            flagged,
            more_flagged,
            campaigns,
            features,
            lines: self.lines.iter().rev().cloned().collect(),
        }
    }

    /// Features that drift at this moment. A verdict names those of its own moment; more may have followed since.
    fn drifting_now(&self) -> Vec<String> {
        let finding = self.said.last().map(|said| said.finding);
        if !matches!(finding, Some(Finding::Drift | Finding::DriftAndProbing)) {
            return Vec::new();
        }
        let status = self.status.iter().flat_map(|s| s.features.iter().chain(&s.prediction));
        let beyond = |f: &&FeatureDrift| f.psi_without_suspects > f.critical || self.drifting.contains(&f.name);
        status.filter(beyond).map(|f| f.name.clone()).collect()
    }

    /// The verdict in a sentence or two for somebody who has never heard of either thing.
    fn explained(&self, finding: Finding) -> String {
        // The answers change with the questions; the features are what a person can look into.
        let features: Vec<String> = self.drifting_now().into_iter().filter(|name| !name.starts_with("prediction")).collect();
        let drift = || {
            let what = match features.len() {
                0 => "The model's answers have shifted, though no single feature stands out.".to_owned(),
                _ => format!("Many honest callers now send other values of {}.", list(&features)),
            };
            format!("{what} Nobody is to blame; look at where the data comes from and think of retraining.")
        };
        let flagged = words::counted(self.flagged.len() as u64, "caller asks", "callers ask");
        match finding {
            Finding::Drift => drift(),
            Finding::Probing => {
                format!("{flagged} in a way that makes no sense for use, but every sense for copying or fooling the model. Everybody else behaves as always.")
            }
            Finding::DriftAndProbing => format!("Two things at once. {} And {flagged} systematically, to copy or fool the model.", drift()),
            _ if self.counts.accepted == 0 => "The embedded broker and the service are starting.".to_owned(),
            _ if self.said.is_empty() => "The first windows are filling; the first word comes after two simulated hours, unless somebody stands out sooner.".to_owned(),
            _ => "Callers ask what they always ask. Batch jobs, retries, load tests and information_budgets people are among them; none of them is a reason for an alarm.".to_owned(),
        }
    }
}

fn list(names: &[String]) -> String {
    match names {
        [] => String::new(),
        [one] => one.clone(),
        [most @ .., last] => format!("{} and {last}", most.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::{Family, SignalValue};
    use crate::simulate::Mark;
    use crate::simulate::victim::Answer;

    fn event(minute: i64, host: u8, attack: bool) -> Event {
        Event {
            line: 0,
            at: at(minute),
            request: 0,
            address: IpAddr::from([100, 64, 0, host]),
            account: None,
            row: Vec::new(),
            answer: Answer::Score(0.5),
            latency_ms: 1.0,
            mark: attack.then_some(Mark { campaign: 0, cover: false }),
        }
    }

    fn at(minute: i64) -> EventTime {
        EventTime::from_micros(1_772_409_600_000_000 + minute * 60_000_000)
    }

    fn verdict(scope: Scope, finding: Finding, minute: i64, host: Option<u8>) -> Verdict {
        Verdict {
            source_ip: host.map(|host| format!("100.64.0.{host}")),
            family: host.map(|_| Family::Grid),
            confidence: Some(0.999),
            queries_seen: 3,
            signals: vec![SignalValue { name: "query_rate", value: 1.0, reference: 2.0, evidence: 0.0 }],
            ..Verdict::new(at(minute), scope, "m", finding)
        }
    }

    #[test]
    fn the_score_counts_attackers_found_and_honest_callers_accused() {
        let board = DemoState::new(Setting { model: "m".into(), start: at(0), ..Setting::default() });
        for (minute, host, attack) in [(1, 2, false), (2, 4, false), (3, 1, true), (4, 3, true), (5, 1, true)] {
            board.sent(&event(minute, host, attack));
        }
        assert!(board.verdict(&verdict(Scope::Client, Finding::Probing, 4, Some(1))).is_some());
        assert!(board.verdict(&verdict(Scope::Client, Finding::Probing, 5, Some(1))).is_none(), "said once is enough");
        assert!(board.verdict(&verdict(Scope::Client, Finding::Probing, 5, Some(2))).is_some());
        let score = Score { attackers: 2, found: 1, honest: 2, accused: 1, queries_to_first: Some(2) };
        assert_eq!(board.score(), score);
        board.verdict(&verdict(Scope::Client, Finding::Benign, 6, Some(2)));
        assert_eq!(board.score().accused, 0, "a verdict that is taken back no longer counts");
    }

    #[test]
    fn a_caller_without_a_reason_of_its_own_is_explained_by_its_company() {
        let board = DemoState::default();
        board.verdict(&verdict(Scope::Client, Finding::Probing, 1, Some(9)));
        let view = serde_json::to_value(board.view()).unwrap();
        assert!(view["flagged"][0]["why"][0].as_str().unwrap().contains("other flagged addresses"), "{view}");
    }

    #[test]
    fn what_is_kept_stays_bounded() {
        let board = DemoState::default();
        for minute in 0..20_000 {
            board.sent(&event(minute * 10, 2, false));
            board.verdict(&verdict(Scope::Model, Finding::Drift, minute, None));
        }
        let inner = board.lock();
        assert!(inner.buckets.len() <= MAX_BUCKETS && inner.lines.len() <= MAX_LINES && inner.said.len() <= MAX_SAID);
    }
}
