//! How detections become verdict lines: on a client, on what flagged clients share, on a campaign, and on the model.

use std::collections::BTreeSet;

use super::cases::{self, Announced, Cases};
use super::{Asked, CONFIDENCE, Memory, ModelEngine};
use crate::event::EventTime;
use crate::judge::client::evidence_trail::EVIDENCE_QUERIES;
use crate::judge::client::{Client, Flag, account_hash, subject};
use crate::judge::drift::LEVEL_PER_DAY;
use crate::judge::model_signal::ModelSignal;
use crate::judge::model_state::ModelEvent;
use crate::judge::shared_identity::{SharedIdentity, prefix_name};
use crate::judge::{Family, Finding, QueryRef, Scope, SignalValue, Verdict};
use crate::window::clients::SlotRef;

/// Share of the evidence of a member of a burst that must remain without its two most conspicuous features. Chosen: the burst vouches
/// for the rest.
const BURST_SHARE: f64 = 0.1;
/// Seconds before the start of a burst from which on its members may have come: they sent before their evidence added up.
const BURST_LEAD_SECONDS: i64 = 3600;
/// Largest confidence of a verdict that rests on what a client has in common with others. Chosen: with one chance in a thousand a
/// neighbour of a campaign is taken for a member, whatever its evidence.
pub(super) const SHARED_CONFIDENCE: f64 = 0.999;
/// Multiple of the members' threshold at which a client is reported as suspicious: a hundredth of what accuses it.
const SUSPICION: f64 = 10.0;

/// A client to flag.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub(super) struct Flagging {
    pub(super) at: SlotRef,
    pub(super) family: Family,
    /// Confidence of the verdict, 0 to 1.
    pub(super) confidence: f64,
    /// The case that it belongs to; a case of its own if there is none.
    pub(super) case: Option<String>,
    /// When what speaks against it began; `None` if that is not known.
    pub(super) began: Option<EventTime>,
    /// Whether it waits for others if the client has a past.
    pub(super) waits: bool,
}

/// What flagged clients share: which signal says so, and the figures.
struct Shared {
    signal: &'static str,
    identity: SharedIdentity,
}

// === impl ModelEngine ===

impl ModelEngine {
    /// The case of the burst of newcomers that a client brings up. While a crowd stands, it is the crowd's: that of the first stranger that
    /// was flagged before, or the burst's.
    pub(super) fn burst_case(&mut self, at: SlotRef) -> String {
        let Memory { callers, crowd, cases, population, .. } = &mut self.memory;
        let stands = crowd.stands();
        if let Some(case) = cases.of_crowd().filter(|_| stands) {
            return case.to_owned();
        }
        let case_of = |at| callers.clients.get(at).and_then(|client| client.flag.as_ref()).map(|flag| flag.case.clone());
        let known = stands.then(|| crowd.senders().find_map(case_of)).flatten();
        let since = crowd.since().filter(|_| stands).unwrap_or_else(|| population.newcomer_burst_since());
        let first = callers.clients.get(at).and_then(|client| client.evidence.first());
        let case = known.unwrap_or_else(|| cases.of_burst(since, &self.profile, first));
        if stands {
            cases.set_of_crowd(Some(case.clone()));
        }
        case
    }

    /// Flags the members of a burst of newcomers, and announces it.
    pub(super) fn flag_burst(&mut self, asked: &Asked<'_>, case: &str, out: &mut Vec<Verdict>) {
        let population = &self.memory.population;
        let since = population.newcomer_burst_since().plus_seconds(-BURST_LEAD_SECONDS);
        let threshold = population.member_threshold();
        let is_member = |c: &Client| {
            !c.is_flagged() && c.first >= since && population.is_newcomer(c.first) && c.distribution.detector.total() >= threshold
        };
        let members: Vec<SlotRef> =
            self.memory.callers.clients.iter().filter(|(_, _, c)| is_member(c)).map(|(at, _, _)| at).collect();
        for at in members {
            if self.is_explained(at, threshold * BURST_SHARE) {
                continue;
            }
            let Some(state) = self.memory.callers.clients.get(at).map(|c| &c.distribution) else { continue };
            let family = Family::of_oddity(&state.detector);
            let confidence = (1.0 - f64::from(state.votes) / state.detector.total()).clamp(CONFIDENCE.0, SHARED_CONFIDENCE);
            let began = state.suspicious_since;
            self.flag(
                asked.now,
                Some(asked),
                Flagging { at, family, confidence, case: Some(case.to_owned()), began, waits: false },
                out,
            );
        }
        self.announce(asked.now, case, out);
    }

    /// Flags a client, and reports it: the client, what it shares with other flagged clients, and the model.
    pub(super) fn flag(&mut self, now: EventTime, asked: Option<&Asked<'_>>, flagging: Flagging, out: &mut Vec<Verdict>) {
        self.note_shared(&flagging, now);
        if self.is_shared(flagging.at) {
            return self.report_anonymous(now, asked, &flagging, out);
        }
        if self.hold_back(&flagging, now, out) {
            return;
        }
        let Flagging { at, family, confidence, case, .. } = flagging;
        let signals = self.client_signals(at, now);
        let Some(client) = self.memory.callers.clients.get_mut(at).filter(|client| !client.is_flagged()) else { return };
        if let Some(asked) = asked.filter(|asked| asked.at == at) {
            client.evidence.keep(asked.query);
        }
        let own_case = || client.evidence.first().map_or_else(String::new, |query| cases::of_client(&self.profile, query));
        let case = case.unwrap_or_else(own_case);
        let crossed = self.memory.callers.flag(at, Flag { at: now, family, case: case.clone() });
        let Some(client) = self.memory.callers.clients.get(at) else { return };
        let line = self.client_line(client, now, Finding::Probing, signals).with_family(family);
        out.push(Verdict { confidence: Some(confidence), case: Some(case.clone()), ..line });
        let about = Verdict {
            confidence: Some(confidence),
            case: Some(case),
            ..Verdict::new(now, Scope::Client, self.name(), Finding::Probing)
        };
        let about = about.with_family(family);
        if let Some(identity) = crossed.account {
            let account = account_hash(&client.account);
            let same = self.memory.callers.at(self.memory.callers.flagged.of_account(account));
            let line = self.shared_line(&about, Shared { signal: "flagged_addresses_of_account", identity }, &same);
            out.push(Verdict { client_id: Some(client.account.to_string()), ..line });
        }
        if let Some((prefix, identity)) = crossed.prefix {
            let near = self.memory.callers.at(self.memory.callers.flagged.in_prefix(prefix));
            let line = self.shared_line(&about, Shared { signal: "flagged_addresses_in_prefix", identity }, &near);
            out.push(Verdict { source_prefix: Some(prefix_name(prefix)), ..line });
        }
        self.memory.population.flagged(at);
        if let Some(finding) = self.memory.state.on(ModelEvent::Flagged { confidence }, now) {
            out.push(self.model_line(finding, now));
        }
    }

    /// Reports once that a client is suspicious, well before it is flagged, and once that it no longer is.
    pub(super) fn report_suspicion(&mut self, asked: &Asked<'_>, out: &mut Vec<Verdict>) {
        let (at, now) = (asked.at, asked.now);
        let suspicious = self.memory.population.member_threshold() * SUSPICION;
        let unreported = |client: &Client| !client.reported_suspicious && !client.is_flagged() && !client.is_shared;
        if self.memory.callers.clients.get(at).is_some_and(|c| unreported(c) && c.distribution.detector.total() >= suspicious) {
            self.reassess(at);
        }
        let Some(client) = self.memory.callers.clients.get(at) else { return };
        let evidence = client.distribution.detector.total();
        let finding = match client.reported_suspicious {
            _ if client.is_flagged() || client.is_shared => return,
            false if evidence >= suspicious => Finding::Suspicious,
            true if evidence < crate::judge::distribution::SUSPICIOUS => Finding::Benign,
            _ => return,
        };
        let confidence = (1.0 - f64::from(client.distribution.votes) / evidence.max(1.0)).clamp(0.0, SHARED_CONFIDENCE);
        let line = self.client_line(client, now, finding, self.client_signals(at, now));
        out.push(Verdict { confidence: Some(confidence), ..line });
        if let Some(client) = self.memory.callers.clients.get_mut(at) {
            client.reported_suspicious = finding == Finding::Suspicious;
        }
    }

    /// Announces who belongs to a case, if that is due.
    pub(super) fn announce(&mut self, now: EventTime, case: &str, out: &mut Vec<Verdict>) {
        self.announce_if(now, case, Cases::is_enough, out);
    }

    /// Announces who belongs to a case if it `is_due`: asked with the number of members, and that of the last announcement.
    pub(super) fn announce_if(
        &mut self,
        now: EventTime,
        case: &str,
        is_due: impl Fn(usize, usize) -> bool,
        out: &mut Vec<Verdict>,
    ) {
        let members = self.memory.callers.flagged.of_case(case).map_or(0, BTreeSet::len);
        if !is_due(members, self.memory.cases.announced(case)) {
            return;
        }
        let members = self.memory.callers.of_case(case);
        let line = self.campaign_line(now, case, &members);
        let announced = Announced { members: members.len(), at: now };
        self.memory.cases.campaigns.insert(case.to_owned(), announced);
        if !line.members.is_empty() {
            out.push(line);
        }
    }

    /// A line that speaks of a campaign.
    fn campaign_line(&self, now: EventTime, case: &str, members: &[&Client]) -> Verdict {
        let is_crowd = self.memory.crowd.stands() && self.memory.cases.of_crowd() == Some(case);
        let strongest = members.iter().max_by(|a, b| a.distribution.peak.total_cmp(&b.distribution.peak));
        let family = strongest.and_then(|c| c.flag.as_ref()).map_or(Family::Unknown, |flag| flag.family);
        let family = search_of(members).filter(|_| is_crowd).unwrap_or(family);
        let first = members.iter().filter_map(|c| c.evidence.first()).min_by_key(|query| query.at);
        let evidence = members.iter().map(|c| c.distribution.peak.max(1.0).ln() + c.structure.peak).sum();
        let count = SignalValue { name: "campaign_members", value: members.len() as f64, reference: 1.0, evidence };
        let queries = members.iter().filter_map(|c| c.evidence.first().cloned()).take(EVIDENCE_QUERIES).collect();
        let line = Verdict {
            confidence: Some(SHARED_CONFIDENCE),
            case: Some(case.to_owned()),
            queries_seen: members.iter().map(|c| c.queries).sum(),
            members: self.memory.callers.flagged_addresses(members.iter().copied()),
            features: if is_crowd { self.crowd_features() } else { Vec::new() },
            signals: if is_crowd { [vec![count], self.crowd_signals()].concat() } else { vec![count] },
            ..Verdict::new(now, Scope::Campaign, self.name(), Finding::Probing)
        };
        line.with_family(family).with_evidence(first, queries)
    }

    /// A line that speaks of what `flagged` clients share, `about` the verdict that brought it up; what is shared is not named yet.
    fn shared_line(&self, about: &Verdict, shared: Shared, flagged: &[&Client]) -> Verdict {
        let first = flagged.iter().filter_map(|c| c.evidence.first()).min_by_key(|query| query.at);
        let mut queries: Vec<QueryRef> = flagged.iter().filter_map(|c| c.evidence.first().cloned()).collect();
        queries.sort_by(|a, b| (a.at, &a.provenance).cmp(&(b.at, &b.provenance)));
        queries.truncate(EVIDENCE_QUERIES);
        let Shared { signal: name, identity } = shared;
        let (value, reference) = (f64::from(identity.flagged), f64::from(identity.members));
        let line = Verdict {
            queries_seen: flagged.iter().map(|c| c.queries).sum(),
            members: self.memory.callers.flagged_addresses(flagged.iter().copied()),
            signals: vec![SignalValue { name, value, reference, evidence: 0.0 }],
            ..about.clone()
        };
        line.with_evidence(first, queries)
    }

    /// A line that speaks of a client.
    pub(super) fn client_line(&self, client: &Client, now: EventTime, finding: Finding, signals: Vec<SignalValue>) -> Verdict {
        let (source_ip, client_id) = subject(client, self.memory.callers.shared_identities.accounts_at(client.address));
        let line = Verdict {
            source_ip,
            client_id,
            queries_seen: client.queries,
            signals,
            ..Verdict::new(now, Scope::Client, self.name(), finding)
        };
        line.with_evidence(client.evidence.first(), client.evidence.iter().cloned().collect())
    }

    /// A line that speaks of the model.
    pub(super) fn model_line(&self, finding: Finding, now: EventTime) -> Verdict {
        let reasons = (finding != Finding::Stable).then_some(&self.memory.reasons);
        let mut signals: Vec<SignalValue> = reasons.iter().flat_map(|why| &why.signals).map(|&signal| signal.into()).collect();
        if self.memory.limit.held() > 0 {
            signals.push(ModelSignal::HeldAccusations.describes(self.memory.limit.held() as f64, 0.0).into());
        }
        if self.memory.state.is_probed(now) {
            let flagged = self.memory.callers.flagged.len();
            signals.push(ModelSignal::FlaggedClients.describes(flagged as f64, 0.0).into());
        }
        Verdict {
            confidence: self.memory.state.confidence(now, LEVEL_PER_DAY),
            queries_seen: self.memory.counts.queries,
            features: reasons.map(|why| why.features.clone()).unwrap_or_default(),
            columns: reasons.map(|why| why.columns.clone()).unwrap_or_default(),
            signals,
            ..Verdict::new(now, Scope::Model, self.name(), finding)
        }
    }
}

/// The search that most members were found by, if any were; of two that are as frequent the first in [`Family::ALL`]. A crowd's single rows
/// look like noise, whatever it searches for.
fn search_of(members: &[&Client]) -> Option<Family> {
    let of = |family: Family| members.iter().filter(|c| c.flag.as_ref().is_some_and(|flag| flag.family == family)).count();
    let searches = Family::ALL.into_iter().filter(|family| family.is_search()).map(|family| (family, of(family)));
    let most = searches.rev().max_by_key(|&(_, members)| members)?;
    (most.1 > 0).then_some(most.0)
}
