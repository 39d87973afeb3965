//! Strangers judged together ([`judge::crowd`](crate::judge::crowd)): their rows are noted, and when a crowd stands, they are named.

use super::lines::{Flagging, SHARED_CONFIDENCE};
use super::profile::Profile;
use super::row_statistics::RowStatistics;
use super::{Asked, CONFIDENCE, Memory, ModelEngine};
use crate::event::EventTime;
use crate::judge::client::Client;
use crate::judge::client::evidence_trail::EVIDENCE_QUERIES;
use crate::judge::crowd::{Named, StrangersRow, nearness_code};
use crate::judge::distribution::FIRST_VOTES;
use crate::judge::model_state::ModelEvent;
use crate::judge::structure::Seen;
use crate::judge::{Family, FeatureDrift, Finding, Scope, SignalValue, Verdict};
use crate::signal::codes::Codes;
use crate::signal::density::Surprise;
use crate::window::clients::SlotRef;

/// Columns of which a campaign line says that its rows differ there. Chosen: as many as a person reads.
const COLUMNS_NAMED: usize = 5;

/// The reference's sample as a crowd's rows are weighed. It is made when a crowd stands, and again when features are left out.
#[derive(Clone, Debug)]
pub(super) struct CrowdSample {
    /// Codes with nearness behind them, row after row, and their number for a row.
    codes: Vec<u8>,
    width: usize,
    surprise: Vec<f32>,
}

// === impl CrowdSample ===

impl CrowdSample {
    fn new(profile: &Profile, statistics: &RowStatistics) -> Self {
        let sample = profile.coder.sample(&profile.reference);
        let surprise = statistics.surprise_of_sample(&sample);
        let near = profile.boundary.sample().iter().map(|&near| nearness_code(f64::from(near)));
        let width = profile.reference.features.len() + 1;
        let codes = sample.iter().zip(near).flat_map(|(codes, near)| codes.coarse.iter().copied().chain([near])).collect();
        Self { codes, width, surprise }
    }

    fn rows(&self) -> impl Iterator<Item = (&[u8], f32)> + Clone {
        self.codes.chunks_exact(self.width).zip(self.surprise.iter().copied())
    }
}

// === impl ModelEngine ===

impl ModelEngine {
    /// A row that voted, in the light of what strangers and callers with a past send now. `seen` says whether somebody sent it before.
    pub(super) fn judge_in_crowd(&mut self, asked: &Asked<'_>, codes: &Codes, seen: Seen, out: &mut Vec<Verdict>) {
        let now = asked.now;
        let Some(client) = self.memory.callers.clients.get(asked.at) else { return };
        let population = &self.memory.population;
        let state = &client.distribution;
        let (is_warm, has_come) = (population.is_warm(now), state.votes <= FIRST_VOTES);
        let is_newcomer = population.is_newcomer(client.first) && has_come;
        let has_past = is_warm && !is_newcomer && population.is_established(Some(client), now);
        let is_odd = state.newest_cells.is_impossible();
        let is_first = state.votes == 1;
        let is_usual = population.newcomers_are_usual() && !self.memory.crowd.goes_on(now);
        if is_usual && self.memory.crowd.since().is_some() {
            self.review_crowd(now, true, out);
            self.announce_rest(now, out);
            self.memory.crowd.forget();
            self.memory.cases.set_of_crowd(None);
            self.crowd_sample = None;
        }
        if is_warm && is_newcomer {
            if let Some(row) = self.strangers_row(asked, codes, seen, (is_odd, is_first)) {
                self.note_stranger(asked, row, is_usual, out);
            }
        } else if has_past && self.memory.crowd.since().is_some() {
            let in_campaign = self.is_new_in_campaign(seen);
            let (codes, surprise) = self.weigh(asked, codes);
            self.memory.crowd.note_established(asked.voter, is_odd, in_campaign);
            self.memory.crowd.keep_established(asked.voter, codes, surprise);
        } else if !is_warm && !is_newcomer && has_come {
            let (_, surprise) = self.weigh(asked, codes);
            self.memory.crowd.note_usual(&surprise);
        }
    }

    /// A row that says nothing new about its caller and did not vote. A change makes the rows of a caller with a past alike; left out, they
    /// would hide that such callers have it, too.
    pub(super) fn compare_with_crowd(&mut self, asked: &Asked<'_>, codes: &mut Codes, seen: Seen) {
        let Memory { callers, population, crowd, .. } = &self.memory;
        if !crowd.wants_rows_of(asked.voter) || !population.is_warm(asked.now) {
            return;
        }
        if !population.is_established(callers.clients.get(asked.at), asked.now) {
            return;
        }
        self.profile.coder.score(&asked.query.row, codes);
        let near = self.profile.boundary.p(asked.query.prediction, codes);
        let is_odd = self.statistics.cells(codes, near, &self.profile).is_impossible();
        self.memory.crowd.note_established(asked.voter, is_odd, self.is_new_in_campaign(seen));
    }

    /// Whether a row is new and linked to a campaign.
    fn is_new_in_campaign(&self, seen: Seen) -> bool {
        matches!(seen, Seen::New(row) if self.structure.is_in_campaign(row))
    }

    /// Codes of a row with its nearness to the decision boundary, and how surprising it is.
    fn weigh(&self, asked: &Asked<'_>, codes: &Codes) -> (Box<[u8]>, Surprise) {
        let near = self.profile.boundary.p(asked.query.prediction, codes);
        let surprise = self.statistics.surprise(codes, near, &self.profile);
        (codes.coarse.iter().copied().chain([nearness_code(near)]).collect(), surprise)
    }

    /// A stranger's row; `None` if it was known before strangers' rows were odd.
    fn strangers_row(
        &self,
        asked: &Asked<'_>,
        codes: &Codes,
        seen: Seen,
        (is_odd, is_first): (bool, bool),
    ) -> Option<StrangersRow> {
        let (row, is_new) = match seen {
            Seen::New(row) => (row, true),
            Seen::Before(row) => (row, false),
            Seen::Nearly => return None,
        };
        // A row's time is known to the second.
        let began = |since: EventTime| self.structure.sent_at(row) >= since.plus_seconds(-1);
        if !is_new && !self.memory.crowd.since().is_some_and(began) {
            return None;
        }
        let in_campaign = self.structure.is_in_campaign(row);
        let (codes, surprise) = self.weigh(asked, codes);
        Some(StrangersRow {
            at: asked.at,
            sent: asked.now,
            codes,
            surprise,
            is_odd,
            is_new,
            is_first,
            in_campaign,
            reviewed: [0; 2],
        })
    }

    /// The case of a client that is found in a campaign: the crowd's, if the client is one of its strangers, or the campaign's.
    pub(super) fn case_of_component(&mut self, at: SlotRef, of_component: String) -> String {
        let is_stranger =
            |client: &Client| client.distribution.votes <= FIRST_VOTES && self.memory.population.is_newcomer(client.first);
        if self.memory.crowd.stands() && self.memory.callers.clients.get(at).is_some_and(is_stranger) {
            return self.burst_case(at);
        }
        of_component
    }

    /// Notes a stranger's row, and names strangers if their rows are not usual.
    fn note_stranger(&mut self, asked: &Asked<'_>, row: StrangersRow, is_usual: bool, out: &mut Vec<Verdict>) {
        if is_usual && !row.in_campaign {
            self.memory.crowd.note_lead(row);
        } else {
            self.memory.crowd.note(row);
            self.name_strangers(asked, out);
        }
    }

    /// Decides whether a crowd stands, and names its strangers.
    fn name_strangers(&mut self, asked: &Asked<'_>, out: &mut Vec<Verdict>) {
        let now = asked.now;
        let Memory { population, crowd, .. } = &self.memory;
        if !population.newcomer_burst_active(now) && !crowd.has_campaign() && !crowd.stands() {
            return;
        }
        let begins = self.memory.crowd.decide(&self.memory.arrivals, now);
        if !self.memory.crowd.stands() {
            return;
        }
        self.memory.arrivals.leave_out();
        if self.memory.crowd.is_due() {
            self.rank_for_crowd(now);
        }
        let case = self.burst_case(asked.at);
        if let Some(named) = self.memory.crowd.name_newest(now) {
            self.flag_stranger(named, &case, now, Some(asked), out);
        }
        if begins {
            self.report_crowd(asked, &case, out);
        }
        if self.memory.crowd.is_review_due(now) {
            self.review_crowd(now, false, out);
        }
        self.announce_crowd(&case, now, out);
    }

    /// Ranks the reference's rows as the crowd's are weighed.
    fn rank_for_crowd(&mut self, now: EventTime) {
        let Self { profile, statistics, memory, crowd_sample, .. } = self;
        let sample = crowd_sample.get_or_insert_with(|| CrowdSample::new(profile, statistics));
        memory.crowd.rank(now, sample.rows());
    }

    /// Names the strangers that a review of all of them names. `ends` says that the crowd is over, or the input.
    pub(super) fn review_crowd(&mut self, now: EventTime, ends: bool, out: &mut Vec<Verdict>) {
        if !self.memory.crowd.stands() {
            return;
        }
        self.review_once(now, ends, out);
        if self.memory.crowd.needs_second_opinion(now, ends) {
            self.rank_for_crowd(now);
            self.review_once(now, ends, out);
        }
    }

    fn review_once(&mut self, now: EventTime, ends: bool, out: &mut Vec<Verdict>) {
        let Memory { callers, crowd, .. } = &mut self.memory;
        let unflagged = |at| callers.clients.get(at).filter(|client| !client.is_flagged()).map(|client| client.distribution.votes);
        let named = crowd.review(now, ends, unflagged);
        let Some(first) = named.first() else { return };
        let case = self.burst_case(first.at);
        for named in named {
            self.flag_stranger(named, &case, now, None, out);
        }
        self.announce_crowd(&case, now, out);
    }

    fn flag_stranger(&mut self, named: Named, case: &str, now: EventTime, asked: Option<&Asked<'_>>, out: &mut Vec<Verdict>) {
        let Named { at, log_p } = named;
        let Some(client) = self.memory.callers.clients.get_mut(at).filter(|client| !client.is_flagged()) else { return };
        client.crowd_evidence = -log_p as f32;
        let family = Family::of_oddity(&client.distribution.detector);
        let confidence = (1.0 - log_p.exp()).clamp(CONFIDENCE.0, SHARED_CONFIDENCE);
        let began = self.memory.crowd.since();
        self.flag(now, asked, Flagging { at, family, confidence, case: Some(case.to_owned()), began, waits: false }, out);
    }

    /// Announces the members when the crowd is over, if there are more than were announced.
    pub(super) fn announce_rest(&mut self, now: EventTime, out: &mut Vec<Verdict>) {
        if let Some(case) = self.memory.cases.of_crowd().filter(|_| self.memory.crowd.stands()).map(str::to_owned) {
            self.announce_if(now, &case, |members, announced| members > announced && members > 1, out);
        }
    }

    /// Announces the members if their number has doubled.
    fn announce_crowd(&mut self, case: &str, now: EventTime, out: &mut Vec<Verdict>) {
        let members = usize::try_from(self.memory.crowd.named()).unwrap_or(usize::MAX);
        if self.memory.cases.is_due(case, members) {
            self.announce(now, case, out);
        }
    }

    /// Says that a crowd probes the model, whether or not any stranger was named.
    fn report_crowd(&mut self, asked: &Asked<'_>, case: &str, out: &mut Vec<Verdict>) {
        let now = asked.now;
        if let Some(finding) = self.memory.state.on(ModelEvent::Flagged { confidence: SHARED_CONFIDENCE }, now) {
            out.push(self.model_line(finding, now));
        }
        if self.memory.crowd.named() > 0 {
            return;
        }
        let crowd = &self.memory.crowd;
        let clients = crowd.odd().filter_map(|at| self.memory.callers.clients.get(at));
        let queries: Vec<_> =
            clients.filter_map(|client: &Client| client.evidence.first().cloned()).take(EVIDENCE_QUERIES).collect();
        let line = Verdict {
            confidence: Some(SHARED_CONFIDENCE),
            case: Some(case.to_owned()),
            queries_seen: u64::from(crowd.strangers()),
            features: self.crowd_features(),
            signals: self.crowd_signals(),
            ..Verdict::new(now, Scope::Campaign, self.name(), Finding::Probing)
        };
        let first = queries.first().cloned();
        out.push(line.with_family(Family::Random).with_evidence(first.as_ref(), queries));
    }

    /// What a crowd's rows have in common: the columns by which they differ from the reference.
    pub(super) fn crowd_features(&self) -> Vec<FeatureDrift> {
        let features = &self.profile.reference.features;
        let shifts = self.memory.crowd.shifts().into_iter().take(COLUMNS_NAMED);
        let named = shifts.filter_map(|shift| {
            let name = features.get(shift.column)?.name.clone();
            Some(FeatureDrift { name, psi: shift.psi, critical: shift.critical, psi_without_suspects: 0.0 })
        });
        named.collect()
    }

    /// How often strangers' rows are odd, against those of callers with a past.
    pub(super) fn crowd_signals(&self) -> Vec<SignalValue> {
        let crowd = &self.memory.crowd;
        let (strangers, established) = crowd.odd_shares();
        vec![
            SignalValue { name: "strangers", value: f64::from(crowd.strangers()), reference: 0.0, evidence: 0.0 },
            SignalValue { name: "odd_rows_of_strangers", value: strangers, reference: established, evidence: 0.0 },
        ]
    }
}
