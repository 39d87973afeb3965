//! What was really done in a simulation: the file that a score compares verdicts with.
//!
//! The format is that of the recorded traces' `truth.json`, so one scorer serves both.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::IpAddr;

use serde::Serialize;

use super::change::pipeline::TrueChange;
use super::{Event, SimulationSettings, World};
use crate::event::EventTime;
use crate::judge::At;

/// One attack as it was delivered.
#[derive(Clone, Debug, Serialize)]
pub struct Campaign {
    /// Number within the scenario.
    pub id: usize,
    /// Attack.
    pub name: &'static str,
    /// What it is for: extraction, evasion or membership.
    pub family: &'static str,
    /// How it was delivered.
    pub delivery: String,
    /// Whether it cannot be told from use with certainty.
    pub ambiguous: bool,
    /// First query.
    pub start: At,
    /// Last query.
    pub end: At,
    /// The attack's own queries.
    pub n_queries: u64,
    /// Cover queries between them.
    pub n_cover: u64,
    /// Addresses used.
    pub ips: BTreeSet<String>,
    /// Accounts used.
    pub clients: BTreeSet<String>,
}

/// A drift as it happened.
#[derive(Clone, Debug, Serialize)]
pub struct TrueDrift {
    /// Kind.
    pub kind: &'static str,
    /// When it began.
    pub start: At,
    /// Features that it touches.
    pub features: Vec<String>,
}

/// Everything that is true of a scenario.
#[derive(Clone, Debug, Serialize)]
pub struct Truth {
    /// Name.
    pub scenario: String,
    /// Model name.
    pub model: String,
    /// Seed.
    pub seed: u64,
    /// Whether the log names nobody. Then no address and no account is listed here, since no verdict could name one, and what can be
    /// right is the verdict on the model.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub without_callers: bool,
    /// Addresses used by attackers alone.
    pub malicious_ips: BTreeSet<String>,
    /// Accounts of attackers.
    pub malicious_clients: BTreeSet<String>,
    /// Addresses that attackers share with honest callers.
    pub shared_ips: BTreeSet<String>,
    /// Look-alikes by address.
    pub benign_hard_negatives: BTreeMap<String, &'static str>,
    /// Attacks.
    pub attacks: Vec<Campaign>,
    /// The first drift.
    pub drift: Option<TrueDrift>,
    /// Every drift.
    pub drifts: Vec<TrueDrift>,
    /// The first change of the pipeline.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub change: Option<TrueChange>,
    /// Every change of the pipeline.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<TrueChange>,
    /// Events.
    pub n_events: u64,
    /// Events of attacks, cover included.
    pub n_attack_queries: u64,
    /// Honest addresses that sent something.
    pub n_benign_ips: usize,
    /// First event.
    pub first_timestamp: At,
    /// Last event.
    pub last_timestamp: At,
    /// Length.
    pub hours: f64,
    /// What a model verdict should say.
    pub expected_model_verdict: &'static str,
    #[serde(skip)]
    benign: BTreeSet<IpAddr>,
    #[serde(skip)]
    nats: Vec<IpAddr>,
    /// The lines of `attack_events.csv`, without the header.
    #[serde(skip)]
    attack_lines: String,
}

/// What a model verdict should say.
const fn expected(drift: bool, attack: bool) -> &'static str {
    match (drift, attack) {
        (false, false) => "stable",
        (true, false) => "drift",
        (false, true) => "probing",
        (true, true) => "drift+probing",
    }
}

// === impl Truth ===

impl Truth {
    /// Starts from what is known before the first event.
    pub fn new(settings: &SimulationSettings, world: &World) -> Self {
        let drifts: Vec<TrueDrift> = world
            .drifts
            .iter()
            .map(|d| TrueDrift { kind: d.kind().name(), start: At(d.start), features: d.features(&world.rows) })
            .collect();
        // A drift that begins after the end never happened.
        let drifts: Vec<TrueDrift> = drifts.into_iter().filter(|d| d.start.0 < world.end).collect();
        let expected = expected(!drifts.is_empty(), !settings.attacks.is_empty());
        Self {
            scenario: settings.scenario.clone(),
            model: world.reference.model.clone(),
            seed: settings.seed,
            without_callers: settings.without_callers,
            malicious_ips: BTreeSet::new(),
            malicious_clients: BTreeSet::new(),
            shared_ips: BTreeSet::new(),
            benign_hard_negatives: BTreeMap::new(),
            attacks: Vec::new(),
            drift: drifts.first().cloned(),
            drifts,
            change: None,
            changes: Vec::new(),
            n_events: 0,
            n_attack_queries: 0,
            n_benign_ips: 0,
            first_timestamp: At(world.start),
            last_timestamp: At(world.start),
            hours: settings.hours,
            expected_model_verdict: expected,
            benign: BTreeSet::new(),
            nats: Vec::new(),
            attack_lines: String::new(),
        }
    }

    /// Notes a look-alike.
    pub fn look_alike(&mut self, address: IpAddr, kind: &'static str) {
        if !self.without_callers {
            self.benign_hard_negatives.insert(address.to_string(), kind);
        }
    }

    /// Notes the address of a NAT, behind which an attacker may hide.
    pub fn nat(&mut self, address: IpAddr) {
        self.nats.push(address);
    }

    /// An address with hundreds of honest users, if there is one.
    pub fn a_nat(&self) -> Option<IpAddr> {
        self.nats.first().copied()
    }

    /// Notes the changes that a pipeline made on the way to the log; those that changed nothing never happened.
    pub fn changed(&mut self, changes: Vec<TrueChange>) {
        self.changes.extend(changes.into_iter().filter(|change| change.rows > 0));
        self.change = self.changes.first().cloned();
        let drift = !self.drifts.is_empty() || !self.changes.is_empty();
        self.expected_model_verdict = expected(drift, !self.attacks.is_empty());
    }

    /// Notes an attack before it runs.
    pub fn campaign(&mut self, campaign: Campaign) {
        self.attacks.push(campaign);
    }

    /// Notes an event.
    pub fn note(&mut self, event: &Event) {
        if self.n_events == 0 {
            self.first_timestamp = At(event.at);
        }
        self.n_events += 1;
        self.last_timestamp = At(event.at);
        let Some(mark) = event.mark else {
            if event.names_caller && self.benign.insert(event.address) {
                self.n_benign_ips += 1;
            }
            return;
        };
        self.n_attack_queries += 1;
        let named = event.names_caller;
        let address = if named { event.address.to_string() } else { String::new() };
        let account = event.account.as_deref().filter(|_| named).unwrap_or("");
        // Writing to a String cannot fail.
        let _ = writeln!(
            self.attack_lines,
            "{},{},{},{},{address},{account}",
            event.line,
            mark.campaign,
            u8::from(mark.cover),
            event.at
        );
        if !named {
            // Nobody can be named.
        } else if self.nats.contains(&event.address) {
            self.shared_ips.insert(address.clone());
        } else {
            self.malicious_ips.insert(address.clone());
        }
        if !account.is_empty() {
            self.malicious_clients.insert(account.to_string());
        }
        if let Some(campaign) = self.attacks.get_mut(mark.campaign) {
            if campaign.n_queries + campaign.n_cover == 0 {
                campaign.start = At(event.at);
            }
            campaign.end = At(event.at);
            *(if mark.cover { &mut campaign.n_cover } else { &mut campaign.n_queries }) += 1;
            if named {
                campaign.ips.insert(address);
            }
            if !account.is_empty() {
                campaign.clients.insert(account.to_string());
            }
        }
    }

    /// `attack_events.csv`: line numbers of the attacks' events.
    pub fn attack_events(&self) -> String {
        format!("line,campaign,cover,timestamp,source_ip,client_id\n{}", self.attack_lines)
    }

    /// The instant from which a model verdict is expected to differ from stable.
    pub fn onset(&self) -> Option<EventTime> {
        self.attacks
            .iter()
            .map(|a| a.start.0)
            .chain(self.drifts.iter().map(|d| d.start.0))
            .chain(self.changes.iter().map(|c| c.start.0))
            .min()
    }
}

#[cfg(test)]
impl Default for Truth {
    /// The truth of an empty scenario.
    fn default() -> Self {
        let start = super::DEFAULT_START;
        Self {
            scenario: String::new(),
            model: String::new(),
            seed: 0,
            without_callers: false,
            malicious_ips: BTreeSet::new(),
            malicious_clients: BTreeSet::new(),
            shared_ips: BTreeSet::new(),
            benign_hard_negatives: BTreeMap::new(),
            attacks: Vec::new(),
            drift: None,
            drifts: Vec::new(),
            change: None,
            changes: Vec::new(),
            n_events: 0,
            n_attack_queries: 0,
            n_benign_ips: 0,
            first_timestamp: At(start),
            last_timestamp: At(start),
            hours: 0.0,
            expected_model_verdict: "stable",
            benign: BTreeSet::new(),
            nats: Vec::new(),
            attack_lines: String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::Mark;
    use crate::simulate::victim::Answer;

    fn event(line: u64, address: &str, account: Option<&str>, mark: Option<Mark>) -> Event {
        Event {
            line,
            at: super::super::DEFAULT_START.plus_seconds(line as i64),
            request: line,
            address: address.parse().unwrap(),
            account: account.map(Into::into),
            names_caller: true,
            row: Vec::new(),
            answer: Answer::Score(0.5),
            latency_ms: 8.0,
            mark,
        }
    }

    fn campaign() -> Campaign {
        let start = At(super::super::DEFAULT_START);
        Campaign {
            id: 0,
            name: "grid",
            family: "extraction",
            delivery: "fast".into(),
            ambiguous: false,
            start,
            end: start,
            n_queries: 0,
            n_cover: 0,
            ips: BTreeSet::new(),
            clients: BTreeSet::new(),
        }
    }

    #[test]
    fn cover_counts_as_cover_and_the_first_and_last_query_bound_the_campaign() {
        let mut truth = Truth::default();
        truth.campaign(campaign());
        let mark = |cover| Some(Mark { campaign: 0, cover });
        truth.note(&event(0, "198.18.0.2", None, None));
        truth.note(&event(1, "198.18.0.3", Some("acct-1"), mark(true)));
        truth.note(&event(2, "198.18.0.3", Some("acct-1"), mark(false)));
        truth.note(&event(3, "198.18.0.2", None, None));
        let attack = &truth.attacks[0];
        assert_eq!((attack.n_queries, attack.n_cover), (1, 1));
        assert_eq!((attack.start.0, attack.end.0), (event(1, "::1", None, None).at, event(2, "::1", None, None).at));
        assert_eq!((truth.n_events, truth.n_attack_queries, truth.n_benign_ips), (4, 2, 1));
        assert_eq!(truth.malicious_ips, BTreeSet::from(["198.18.0.3".to_owned()]));
        assert_eq!(truth.malicious_clients, BTreeSet::from(["acct-1".to_owned()]));
        let lines = truth.attack_events();
        assert_eq!(lines.lines().nth(1), Some("1,0,1,2026-03-02T00:00:01.000Z,198.18.0.3,acct-1"), "{lines}");
    }

    #[test]
    fn the_truth_of_a_log_without_callers_names_no_caller() {
        let mut truth = Truth { without_callers: true, ..Truth::default() };
        truth.campaign(campaign());
        truth.look_alike("198.18.0.4".parse().unwrap(), "batch");
        let nameless = |event: Event| Event { names_caller: false, ..event };
        truth.note(&nameless(event(0, "198.18.0.2", Some("acct-1"), None)));
        truth.note(&nameless(event(1, "198.18.0.3", Some("acct-2"), Some(Mark { campaign: 0, cover: false }))));
        let attack = &truth.attacks[0];
        assert_eq!((truth.n_events, truth.n_attack_queries, truth.n_benign_ips, attack.n_queries), (2, 1, 0, 1));
        assert!(truth.malicious_ips.is_empty() && truth.malicious_clients.is_empty() && attack.ips.is_empty());
        assert!(truth.benign_hard_negatives.is_empty() && attack.clients.is_empty());
        assert_eq!(truth.attack_events().lines().nth(1), Some("1,0,0,2026-03-02T00:00:01.000Z,,"));
        assert!(serde_json::to_string(&truth).unwrap().contains("\"without_callers\":true"));
        assert!(!serde_json::to_string(&Truth::default()).unwrap().contains("without_callers"));
    }

    #[test]
    fn an_attacker_behind_a_nat_shares_the_address_and_does_not_make_it_malicious() {
        let mut truth = Truth::default();
        truth.campaign(campaign());
        truth.nat("198.18.0.8".parse().unwrap());
        truth.note(&event(0, "198.18.0.8", Some("acct-2"), Some(Mark { campaign: 0, cover: false })));
        assert!(truth.malicious_ips.is_empty());
        assert_eq!(truth.shared_ips, BTreeSet::from(["198.18.0.8".to_owned()]));
        assert_eq!(truth.onset(), Some(super::super::DEFAULT_START));
    }
}
