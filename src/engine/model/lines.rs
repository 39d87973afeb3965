//! What a model's judge says, and how it is put: flags on clients, the company they keep, campaigns, and the model's own state.

use super::{Asked, MOST_CERTAIN, ModelEngine, PROBING_SECONDS};
use crate::event::{Address, EventTime, Provenance};
use crate::hash;
use crate::judge::campaign::Component;
use crate::judge::client::{Client, Flag, Key, case_id, subject};
use crate::judge::distribution::SUSPICIOUS;
use crate::judge::shared_identity::{SharedIdentity, prefix_name};
use crate::judge::{At, Family, Finding, QueryRef, Scope, SignalValue, Verdict};
use crate::signal::cuts::{CUTS, REPORTED_CUT};
use crate::signal::density::statistic::DensityStatistic;
use crate::signal::rate::surprise;
use crate::window::clients::SlotRef;

/// Queries shown in a verdict on an account or a prefix: the first of each member, as many as of one client.
const COMPANY_TRAIL: usize = 12;
/// Share of the evidence of a wave's member that must remain without its two most blamed features.
const WAVE_SHARE: f64 = 0.1;

// === impl ModelEngine ===

impl ModelEngine {
    /// Case of the current wave of newcomers.
    pub(super) fn wave_case(&mut self, at: SlotRef) -> String {
        let since = self.population.newcomer_burst_since();
        if let Some((known, case)) = &self.pool_case
            && *known == since
        {
            return case.clone();
        }
        let case =
            self.clients.get(at).and_then(|c| c.trail.front()).map_or_else(String::new, |q| case_id(&self.name, self.salt ^ 7, q));
        self.pool_case = Some((since, case.clone()));
        case
    }

    /// Names the members of an alarmed wave of newcomers.
    pub(super) fn name_wave(&mut self, asked: &Asked<'_>, case: &str, out: &mut Vec<Verdict>) {
        let since = self.population.newcomer_burst_since().plus_seconds(-3600);
        let threshold = self.population.member_threshold();
        let members: Vec<SlotRef> = self
            .clients
            .iter()
            .filter(|(_, _, c)| {
                !c.is_flagged()
                    && c.first >= since
                    && self.population.is_newcomer(c.first)
                    && c.distribution.detector.total() >= threshold
            })
            .map(|(at, _, _)| at)
            .collect();
        for at in members {
            if self.explained(at, threshold * WAVE_SHARE) {
                continue;
            }
            let Some(state) = self.clients.get(at).map(|c| &c.distribution) else { continue };
            let family = Family::of_oddity(&state.detector);
            let confidence = (1.0 - f64::from(state.votes) / state.detector.total()).clamp(0.5, 0.999);
            self.flag(at, asked, family, confidence, Some(case.to_owned()), out);
        }
        self.announce(asked.now, case, out);
    }

    /// Says (again) who belongs to a case, when the number of its members has doubled.
    pub(super) fn announce(&mut self, now: EventTime, case: &str, out: &mut Vec<Verdict>) {
        let members: Vec<(SlotRef, &Client)> = self
            .clients
            .iter()
            .filter(|(_, _, c)| c.flag.as_ref().is_some_and(|f| f.case == case))
            .map(|(at, _, c)| (at, c))
            .collect();
        let said = self.campaigns.get(case).map_or(1, |c| c.0);
        if members.len() < 2 || members.len() < 2 * said {
            return;
        }
        let addresses = self.accused_addresses(members.iter().map(|(_, c)| *c));
        let strongest = members.iter().max_by(|a, b| a.1.distribution.peak.total_cmp(&b.1.distribution.peak));
        let family = strongest.and_then(|(_, c)| c.flag.as_ref()).map_or(Family::Unknown, |f| f.family);
        let first = members.iter().filter_map(|(_, c)| c.trail.front()).min_by_key(|q| q.at);
        let line = Verdict {
            at: At(now),
            scope: Scope::Campaign,
            model: self.name.clone(),
            source_ip: None,
            source_prefix: None,
            client_id: None,
            verdict: Finding::Probing,
            family: Some(family),
            technique: family.techniques(),
            owasp: Some(family.owasp()),
            confidence: MOST_CERTAIN.min(0.999),
            case: Some(case.to_owned()),
            queries_seen: members.iter().map(|(_, c)| c.queries).sum(),
            first_query: first.map(reference_of),
            since: first.map(|q| q.at),
            members: addresses,
            features: Vec::new(),
            signals: vec![SignalValue {
                name: "campaign_members",
                value: members.len() as f64,
                reference: 1.0,
                evidence: members.iter().map(|(_, c)| c.distribution.peak.max(1.0).ln() + c.structure.peak).sum(),
            }],
            queries: members.iter().filter_map(|(_, c)| c.trail.front().cloned()).take(12).collect(),
        };
        self.campaigns.insert(case.to_owned(), (members.len(), now));
        if !line.members.is_empty() {
            out.push(line);
        }
    }

    /// Flags a client and says so.
    pub(super) fn flag(
        &mut self,
        at: SlotRef,
        asked: &Asked<'_>,
        family: Family,
        confidence: f64,
        case: Option<String>,
        out: &mut Vec<Verdict>,
    ) {
        let now = asked.now;
        let signals = self.reasons(at, now);
        let Some(client) = self.clients.get_mut(at) else { return };
        if client.is_flagged() {
            return;
        }
        if at == asked.at {
            client.keep(asked.query);
        }
        let case = case.unwrap_or_else(|| client.trail.front().map_or_else(String::new, |q| case_id(&self.name, self.salt, q)));
        client.flag = Some(Flag { at: now, family, case: case.clone() });
        let accounts = self.shared_identities.accounts_at(client.address);
        out.push(client_line(&self.name, now, client, accounts, Finding::Probing, Some(family), confidence, Some(case), signals));
        let key = Key { address: client.address, account: if client.account.is_empty() { 0 } else { hash::text(&client.account) } };
        *self.flagged.entry(family.name()).or_default() += 1;
        let crossed_now = self.shared_identities.flag(&key);
        if let Some(company) = crossed_now.account {
            let same = |c: &Client| hash::text(&c.account) == key.account && !c.account.is_empty();
            let line = self.company_line(at, now, (family, confidence), "flagged_addresses_of_account", company, same);
            out.extend(line.map(|(line, client)| Verdict { client_id: Some(client.account.to_string()), ..line }));
        }
        if let Some((prefix, company)) = crossed_now.prefix {
            let near = |c: &Client| c.address.prefix() == Some(prefix);
            let line = self.company_line(at, now, (family, confidence), "flagged_addresses_in_prefix", company, near);
            out.extend(line.map(|(line, _)| Verdict { source_prefix: Some(prefix_name(prefix)), ..line }));
        }
        self.population.flagged(at);
        self.probing_until = Some(now.plus_seconds(PROBING_SECONDS));
        self.say(now, out);
    }

    /// A line that speaks of what flagged clients have in common, without naming it yet; `at` is the client that crossed_now it.
    pub(super) fn company_line(
        &self,
        at: SlotRef,
        now: EventTime,
        (family, confidence): (Family, f64),
        name: &'static str,
        company: SharedIdentity,
        belongs: impl Fn(&Client) -> bool,
    ) -> Option<(Verdict, &Client)> {
        let tipping = self.clients.get(at)?;
        let flagged: Vec<&Client> = self.clients.iter().map(|(_, _, c)| c).filter(|c| c.is_flagged() && belongs(c)).collect();
        let signals =
            vec![SignalValue { name, value: f64::from(company.flagged), reference: f64::from(company.members), evidence: 0.0 }];
        let case = tipping.flag.as_ref().map(|f| f.case.clone());
        let line = client_line(&self.name, now, tipping, 1, Finding::Probing, Some(family), confidence, case, signals);
        let first = flagged.iter().filter_map(|c| c.trail.front()).min_by_key(|q| q.at);
        let mut queries: Vec<_> = flagged.iter().filter_map(|c| c.trail.front().cloned()).collect();
        queries.sort_by(|a, b| (a.at, &a.provenance).cmp(&(b.at, &b.provenance)));
        queries.truncate(COMPANY_TRAIL);
        let line = Verdict {
            source_ip: None,
            client_id: None,
            queries_seen: flagged.iter().map(|c| c.queries).sum(),
            first_query: first.map(reference_of),
            since: first.map(|q| q.at),
            members: self.accused_addresses(flagged.iter().copied()),
            queries,
            ..line
        };
        Some((line, tipping))
    }

    /// Addresses of flagged clients, in order, without those that other accounts share: they are not condemned.
    pub(super) fn accused_addresses<'a>(&self, flagged: impl Iterator<Item = &'a Client>) -> Vec<String> {
        let alone = |c: &&Client| c.address != Address::Unknown && self.shared_identities.accounts_at(c.address) <= 1;
        let addresses: std::collections::BTreeSet<Address> = flagged.filter(alone).map(|c| c.address).collect();
        addresses.iter().map(ToString::to_string).collect()
    }

    /// Says that a client is suspicious, once, well before it is flagged.
    pub(super) fn maybe_suspicious(&mut self, at: SlotRef, now: EventTime, out: &mut Vec<Verdict>) {
        let Some(client) = self.clients.get(at) else { return };
        let evidence = client.distribution.detector.total();
        let said = client.suspicious;
        if client.is_flagged()
            || (said && evidence >= SUSPICIOUS)
            || (!said && evidence < self.population.member_threshold() * 10.0)
        {
            return;
        }
        let signals = self.reasons(at, now);
        let accounts = self.shared_identities.accounts_at(client.address);
        let finding = if said { Finding::Benign } else { Finding::Suspicious };
        let Some(client) = self.clients.get_mut(at) else { return };
        client.suspicious = !said;
        let confidence = (1.0 - f64::from(client.distribution.votes) / evidence.max(1.0)).clamp(0.0, 0.999);
        out.push(client_line(&self.name, now, client, accounts, finding, None, confidence, None, signals));
    }

    /// Signals of a client, heaviest first.
    pub(super) fn reasons(&self, at: SlotRef, now: EventTime) -> Vec<SignalValue> {
        let Some(client) = self.clients.get(at) else { return Vec::new() };
        let mut signals = Vec::with_capacity(24);
        let mut add = |name, value: f64, reference: f64, evidence: f64| {
            if value.is_finite() && reference.is_finite() && evidence.is_finite() {
                signals.push(SignalValue { name, value, reference, evidence });
            }
        };
        for statistic in DensityStatistic::ALL {
            let evidence = client.distribution.detector.of(statistic).max(1.0).ln();
            if evidence > 0.0 {
                add(statistic.name(), client.distribution.exceedance(statistic), CUTS[REPORTED_CUT], evidence);
            }
        }
        if client.structure.peak > 0.0 {
            add("proximity_to_earlier_rows", client.structure.closeness(), 0.0, client.structure.closeness());
            add("automation_of_edits", client.structure.habits(), 0.0, client.structure.habits());
            // What they are made of; their weight is in the sum.
            client.structure.tallies().for_each(|(name, steps)| add(name, f64::from(steps), 0.0, 0.0));
        }
        let hourly = f64::from(client.rate.queries(now, 1));
        let past = client.rate.own_past(now).unwrap_or(self.rate_p95).max(self.rate_p95);
        add("query_rate", hourly, self.rate_p95, surprise(hourly, past).min(3.0) * 0.1);
        if let (Some(mean), Some(variation)) = (client.gap.mean(), client.gap.variation()) {
            add("inter_query_gap_seconds", mean, 0.0, 0.0);
            add("gap_variation", variation, 1.0, 0.0);
        }
        if let Some(share) = client.gap.off_hours() {
            add("off_hours_share", share, 0.25, 0.0);
        }
        let neighbours = self.shared_identities.neighbours(client.address);
        if neighbours.flagged > 0 {
            add("flagged_neighbours_in_prefix", f64::from(neighbours.flagged), f64::from(neighbours.members), 0.0);
        }
        add("information_budget", self.regions.ratio(&client.information), 1.0, 0.0);
        if let Some(covered) = self.regions.covered(&client.information) {
            add("regions_covered", covered, 0.0, 0.0);
        }
        if client.values.rows() >= 8 {
            add("feature_entropy", client.values.mean_entropy(self.coder.sizes()), self.reference_entropy, 0.0);
        }
        signals.sort_by(|a, b| b.evidence.total_cmp(&a.evidence));
        signals
    }

    /// Says what is true of the model now, if it changed.
    pub(super) fn say(&mut self, now: EventTime, out: &mut Vec<Verdict>) {
        let probing = self.probing_until.is_some_and(|until| now < until);
        let finding = match (self.drifting, probing) {
            (false, false) => Finding::Stable,
            (true, false) => Finding::Drift,
            (false, true) => Finding::Probing,
            (true, true) => Finding::DriftAndProbing,
        };
        if self.said == Some(finding) {
            return;
        }
        self.said = Some(finding);
        let (features, mut signals) = if finding == Finding::Stable { Default::default() } else { self.why.clone() };
        if probing {
            let flagged = self.clients.iter().filter(|(_, _, c)| c.is_flagged()).count();
            signals.push(SignalValue { name: "flagged_clients", value: flagged as f64, reference: 0.0, evidence: 0.0 });
        }
        out.push(Verdict {
            at: At(now),
            scope: Scope::Model,
            model: self.name.clone(),
            source_ip: None,
            source_prefix: None,
            client_id: None,
            verdict: finding,
            family: None,
            technique: &[],
            owasp: None,
            confidence: if finding == Finding::Stable { 0.95 } else { 0.999 },
            case: None,
            queries_seen: self.queries,
            first_query: None,
            since: None,
            members: Vec::new(),
            features,
            signals,
            queries: Vec::new(),
        });
    }

    /// Case of a component's verdicts: a function of content, so that a replay repeats it.
    pub(super) fn component_case(&self, component: &Component) -> String {
        let model = hash::mix2(hash::text(&self.name), self.salt);
        let place = hash::mix2(component.first_row, component.since.micros() as u64);
        format!("c-{:012x}", hash::mix2(model, place) & 0xffff_ffff_ffff)
    }
}

fn reference_of(query: &QueryRef) -> String {
    if query.request_id.is_empty() {
        let Provenance { topic, partition, offset, .. } = &query.provenance;
        let within = if topic.is_empty() { "" } else { "/" };
        format!("{}{within}{partition}:{offset}", topic.name())
    } else {
        query.request_id.clone()
    }
}

#[expect(clippy::too_many_arguments, reason = "one call site per finding; a struct would repeat the line's own fields")]
fn client_line(
    model: &str,
    at: EventTime,
    client: &Client,
    accounts: u32,
    verdict: Finding,
    family: Option<Family>,
    confidence: f64,
    case: Option<String>,
    signals: Vec<SignalValue>,
) -> Verdict {
    let (source_ip, client_id) = subject(client, accounts);
    Verdict {
        at: At(at),
        scope: Scope::Client,
        model: model.to_owned(),
        source_ip,
        source_prefix: None,
        client_id,
        verdict,
        family,
        technique: family.map_or(&[], Family::techniques),
        owasp: family.map(Family::owasp),
        confidence,
        case,
        queries_seen: client.queries,
        first_query: client.trail.front().map(reference_of),
        since: client.trail.front().map(|q| q.at),
        members: Vec::new(),
        features: Vec::new(),
        signals,
        queries: client.trail.iter().cloned().collect(),
    }
}
