//! A crowd of strangers is one actor: many addresses with a query or two each.
//!
//! An attacker with a new address for every query gives no address enough evidence. So the first rows of all strangers are judged together.
//! The pool of newcomers ([`crate::judge::distribution`]) says *that* their rows are not the reference's. This file says whether a crowd
//! sends them, and which rows are the crowd's.
//!
//! **A crowd or a change?** A change of the pipeline reaches callers with a past as well. A crowd stands when their rows are odd far less
//! often, or when the strangers come in addition to the usual ones, far beyond their usual rate.
//!
//! **Whose row is the crowd's?** Each row is tested against the reference: first by its surprise, then by its surprise together with what
//! it has in common with the crowd's most improbable rows ([`content`]), nearness to the decision boundary among it. A row that is linked to
//! a campaign counts as much more as rows of callers with a past are rarely linked to one. A stranger is named at once when its p-value is
//! so small that among all the honest strangers of that time hardly one would have it. The others are reviewed: after ten minutes in which
//! a stranger sent little else, it is named at the level at which honest strangers are a small share of all that are named (Benjamini and
//! Hochberg 1995). Where usual strangers have shown more small p-values than they should, or callers with a past show them now, p-values are
//! raised by that factor: a change that everybody shares names nobody.
//!
//! Rows that were known before the crowd came (an example of the documentation, a health check) are nobody's evidence.

mod classifier;
mod content;
mod inflation;
mod row_tests;

use std::collections::{BTreeMap, VecDeque};

use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};
use statrs::distribution::{Binomial, DiscreteCDF as _, Poisson};

use self::classifier::Classifier;
use self::content::Content;
pub use self::content::{ColumnShift, nearness_code};
use self::inflation::{Usual, ascending, inflation};
use self::row_tests::{Tests, by_surprise, honest_among};
use super::arrivals::Arrivals;
use super::common_cause::{LONGEST_WAIT_SECONDS, WAIT_CALLERS};
use crate::event::EventTime;
use crate::reference::Reference;
use crate::signal::density::Surprise;
use crate::window::clients::SlotRef;

/// Usual rows of strangers that are kept, since a crowd's first rows come before there is evidence. Chosen: few, so that hardly an honest
/// stranger is among those that are judged again.
const LEAD: usize = 32;
/// Rows of strangers that are kept while a crowd is possible: at fourteen columns two megabytes.
const ROWS: usize = 32_768;
/// Honest strangers of one crowd's time that each of the two ways to be named may name, as an expectation: one in twenty-five crowds names one.
/// The share below is that of each way, too.
const NAMED_BY_CHANCE: f64 = 0.02;
/// Share of honest strangers among those that a review names, as an expectation: one in three thousand. It is a bound: p-values err towards
/// chance, most honest strangers send more rows, and cover rows of the crowd count as honest.
const HONEST_SHARE: f64 = 3e-4;
/// Levels that a review tries, from the least strict on, and the step from one to the next, in nats.
const LEAST_STRICT: f64 = -3.0;
const LEVEL_STEP: f64 = 0.25;
const LEVELS_TRIED: u32 = 60;
/// Seconds between two reviews, and from a stranger's last row until it is reviewed: honest strangers send more within that time.
const REVIEW_SECONDS: f64 = 300.0;
const SETTLE_SECONDS: f64 = 600.0;
/// Fits after the first by which a row is reviewed. Chosen: in so many the rows that they learn from have grown thirtyfold. Each is another chance
/// to be named by luck.
const MOST_FITS: u32 = 16;
/// Seconds after which the classifier learns anew because rows wait for it. Chosen: three reviews; learning costs as much as 10,000 queries.
const SECOND_OPINION_SECONDS: f64 = 900.0;
/// A stranger is the crowd's if more than one of so many of its rows is.
const MOSTLY: u32 = 2;
/// ln of the p-value below which a row teaches what the crowd's rows have in common: one honest row in a hundred.
const TEACHES: f32 = -4.605_170_2;
/// Levels at which the p-values of callers with a past are counted.
const LEVELS_NOW: [f64; 3] = [1e-1, 1e-2, 1e-3];
/// Rows of one caller with a past that are compared with a crowd, and such callers at most. Chosen: so few rows that no caller outvotes the
/// others, and so many callers that a share of them is known to one in a hundred.
const ROWS_OF_CALLER: u32 = 16;
const MAX_ESTABLISHED: usize = 4_096;
/// Callers with a past whose newest rows are kept. Chosen: at the smallest level a quarter of a row is expected among them.
const ROWS_OF_ESTABLISHED: usize = 256;
/// Rows of usual strangers that are kept. Chosen: a fifth of all honest rows that the classifier learns from.
const ROWS_OF_USUAL: usize = 1_024;
/// Seconds before a crowd within which rows are not taken for those of usual strangers, since some may be the crowd's, and the levels at which
/// the others are counted. Chosen: at lower levels a few rows that an attacker sent before would hide it.
const BEFORE_SECONDS: f64 = 3600.0;
const LEVELS_BEFORE: [f64; 2] = [1e-1, 1e-2];
/// Nats by which p-values of rows of one kind differ, since what is learned of the content grows from row to row. Chosen: e-fold.
const SAME_LOG_P: f64 = 1.0;
/// Multiple of the share of odd rows of callers with a past that strangers must exceed, and the probability with which chance may pretend
/// it. This is no test of innocence: the pool's alarm has passed already.
const TIMES_ESTABLISHED: f64 = 3.0;
const CHANCE_ESTABLISHED: f64 = 0.05;
/// Probability with which chance may make so many strangers odd at that multiple of the rate of callers with a past. The pool is alarmed when
/// its newest rows are odd, so their share is likely to be overstated.
const CHANCE_STRANGERS: f64 = 1e-3;
/// Share of callers with a past, [`FEWEST_ESTABLISHED`] at least, whose newest row is as improbable as a stranger's, from which on this is no
/// evidence.
/// Chosen: at any level at which strangers are named, one of a thousand honest callers is expected; a tenth of the callers of a release to
/// a third of them shows this much.
const SHARED: f64 = 0.03;
/// Factor on the busiest quarter of the last hours that a usual crowd of newcomers may reach, and the probability of more by chance.
const TIMES_BUSIEST: f64 = 2.0;
const CHANCE_ARRIVALS: f64 = 1e-4;
/// Seconds that are compared at least: a quarter of an hour, since where all callers get another address at once they come together.
const LEAST_SECONDS: f64 = 900.0;
/// Seconds that are compared at most: an hour. The busiest quarter of the last hours says nothing of half a day.
const MOST_SECONDS: f64 = 3600.0;
/// Rows of callers with a past that can say that they are odd as well, and callers whose newest row can.
const FEWEST_ESTABLISHED: u32 = 4;
/// Share of the strangers beyond the usual rate that must be odd, for these to be the ones that came in addition.
const ODD_ADDITIONAL: f64 = 0.5;
/// Odd rows before anything is said. Chosen: fewer have no pattern.
const FEWEST_ODD: u32 = 4;

/// ln of the p-value of a row that shows that the crowd is still there (one honest row in a thousand has it), and seconds after the newest
/// one within which the crowd goes on. Chosen: two quarters of an hour, so that a search may pause.
const CONTINUES: f64 = -6.907_755_3;
const GOES_ON_SECONDS: f64 = 1800.0;

/// Rows, and how many of them are odd.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Tally {
    rows: u32,
    odd: u32,
}

/// A row of a stranger.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StrangersRow {
    /// The stranger.
    pub at: SlotRef,
    /// When it was sent.
    pub sent: EventTime,
    /// Coarse code by column, and [`nearness_code`] behind them.
    pub codes: Box<[u8]>,
    /// How surprising it is.
    pub surprise: Surprise,
    /// Whether it is impossible by a statistic of dependence.
    pub is_odd: bool,
    /// Whether nobody sent it before.
    pub is_new: bool,
    /// Whether it is the stranger's first.
    pub is_first: bool,
    /// Whether it is linked to a campaign.
    pub in_campaign: bool,
    /// The fit of the classifier by which it was reviewed first, and that by which it was first improbable enough to name its sender, and has been
    /// since; 0 if there is none.
    pub reviewed: [u32; 2],
}

/// A stranger that is named, and ln of the p-value of its row.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Named {
    /// The stranger.
    pub at: SlotRef,
    /// ln p, lowered and raised as the head of this file says.
    pub log_p: f64,
}

/// A row of a caller with a past.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct EstablishedRow {
    at: SlotRef,
    codes: Box<[u8]>,
    surprise: Surprise,
}

/// A row of a usual stranger.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct UsualRow {
    at: SlotRef,
    sent: EventTime,
    codes: Box<[u8]>,
    surprise: Surprise,
}

/// The strangers of one model since their rows were last usual.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Crowd {
    since: Option<EventTime>,
    strangers: Tally,
    established: Tally,
    /// Rows of callers with a past that are linked to a campaign.
    established_linked: u32,
    /// Rows counted of each caller with a past. A batch job that sends most of the rows is one caller of many.
    established_callers: BTreeMap<SlotRef, u32>,
    /// Strangers, each counted once.
    came: u32,
    /// Rows of strangers that are less surprising than half of the reference's rows.
    ordinary: u32,
    rows: VecDeque<StrangersRow>,
    content: Content,
    classifier: Classifier,
    /// Rows noted since they are odd, and those of them that were linked to a campaign.
    noted: u32,
    linked: u32,
    usual: Usual,
    /// Usual strangers if it was no crowd.
    pending: Usual,
    /// The newest rows of strangers that came while strangers' rows were usual.
    before: VecDeque<UsualRow>,
    /// How many times more often than they should those rows have small p-values.
    inflation_before: f64,
    /// The newest row of each of some callers with a past, and how many times more often than they should they show small p-values.
    established_now: VecDeque<EstablishedRow>,
    inflation_now: f64,
    /// ln p of those rows, the smallest first, when they were last compared.
    log_p_now: Vec<f64>,
    stands: bool,
    named: u64,
    reviewed: Option<EventTime>,
    /// When the classifier learned last, and whether rows wait until it learns anew.
    fitted: Option<EventTime>,
    waiting: bool,
    /// Newest row that only the crowd explains.
    newest: Option<EventTime>,
}

/// Rows of usual strangers that came long before a crowd.
fn long_before(rows: &VecDeque<UsualRow>, since: Option<EventTime>) -> impl Iterator<Item = &UsualRow> {
    let came_before = move |row: &&UsualRow| since.is_some_and(|since| since.seconds_since(row.sent) >= BEFORE_SECONDS);
    rows.iter().filter(came_before)
}

// === impl Crowd ===

impl Crowd {
    /// No strangers yet.
    pub fn new(reference: &Reference) -> Self {
        Self {
            since: None,
            strangers: Tally::default(),
            established: Tally::default(),
            established_linked: 0,
            established_callers: BTreeMap::new(),
            came: 0,
            ordinary: 0,
            rows: VecDeque::new(),
            content: Content::new(reference),
            classifier: Classifier::default(),
            noted: 0,
            linked: 0,
            before: VecDeque::new(),
            inflation_before: 1.0,
            usual: Usual::default(),
            pending: Usual::default(),
            established_now: VecDeque::new(),
            inflation_now: 1.0,
            log_p_now: Vec::new(),
            stands: false,
            named: 0,
            reviewed: None,
            fitted: None,
            waiting: false,
            newest: None,
        }
    }

    /// A crowd that was read back; `reference` is that of its model.
    pub fn restored(self, reference: &Reference) -> Self {
        Self { content: self.content.restored(reference), ..self }
    }

    /// Notes a row of a caller with a past: whether it is impossible by a statistic of dependence, and whether it is linked to a campaign.
    pub fn note_established(&mut self, at: SlotRef, is_odd: bool, in_campaign: bool) {
        if self.wants_rows_of(at) {
            *self.established_callers.entry(at).or_default() += 1;
            self.established.add(is_odd || in_campaign);
            self.established_linked += u32::from(in_campaign);
        }
    }

    /// Whether another row of a caller with a past would be counted: strangers' rows are not usual, and few of it were counted.
    pub fn wants_rows_of(&self, at: SlotRef) -> bool {
        let has_room = self.established_callers.len() < MAX_ESTABLISHED;
        self.since.is_some() && self.established_callers.get(&at).map_or(has_room, |&counted| counted < ROWS_OF_CALLER)
    }

    /// Keeps the newest row of a caller with a past: its codes as those of a [`StrangersRow`], and how surprising it is.
    pub fn keep_established(&mut self, at: SlotRef, codes: Box<[u8]>, surprise: Surprise) {
        if let Some(known) = self.established_now.iter().position(|row| row.at == at) {
            self.established_now.remove(known);
        } else if self.established_now.len() >= ROWS_OF_ESTABLISHED {
            self.established_now.pop_front();
        }
        self.established_now.push_back(EstablishedRow { at, codes, surprise });
    }

    /// Notes a row of a caller of the warm-up, when nobody is a stranger.
    pub fn note_usual(&mut self, surprise: &Surprise) {
        let mut one = Usual::default();
        one.note(surprise);
        self.usual.add(&one);
    }

    /// Notes a stranger's row while strangers' rows are usual.
    pub fn note_lead(&mut self, row: StrangersRow) {
        self.note_usual(&row.surprise);
        if self.rows.len() >= LEAD
            && let Some(StrangersRow { at, sent, codes, surprise, .. }) = self.rows.pop_front()
        {
            if self.before.len() >= ROWS_OF_USUAL {
                self.before.pop_front();
            }
            self.before.push_back(UsualRow { at, sent, codes, surprise });
        }
        self.rows.push_back(row);
    }

    /// Notes a stranger's row while strangers' rows are not usual.
    pub fn note(&mut self, row: StrangersRow) {
        if self.since.is_none() {
            self.since = Some(row.sent);
            self.rows.iter().filter(|row| row.teaches()).for_each(|row| self.content.learn(&row.codes));
        }
        if row.is_new {
            self.strangers.add(row.is_odd || row.in_campaign);
        }
        self.linked = self.linked.saturating_add(u32::from(row.in_campaign));
        if row.in_campaign {
            self.newest = Some(row.sent);
        }
        self.noted = self.noted.saturating_add(1);
        self.came = self.came.saturating_add(u32::from(row.is_first));
        self.ordinary = self.ordinary.saturating_add(u32::from(row.surprise.log_p[0] > -std::f32::consts::LN_2));
        if !self.stands {
            self.pending.note(&row.surprise);
        }
        if row.teaches() {
            self.content.learn(&row.codes);
        }
        if self.rows.len() >= ROWS {
            self.rows.pop_front();
        }
        self.rows.push_back(row);
    }

    /// Strangers' rows are usual again: what was taken for a crowd is over.
    pub fn forget(&mut self) {
        if self.since.take().is_none() {
            return;
        }
        if !std::mem::take(&mut self.stands) {
            self.usual.add(&self.pending);
        }
        (self.strangers, self.established, self.established_linked, self.pending) = Default::default();
        (self.came, self.ordinary, self.noted, self.linked) = Default::default();
        self.rows.drain(..self.rows.len().saturating_sub(LEAD));
        // The next crowd has fits of its own.
        self.rows.iter_mut().for_each(|row| row.reviewed = [0; 2]);
        self.content.clear();
        self.classifier.clear();
        self.established_callers.clear();
        self.established_now.clear();
        (self.inflation_now, self.inflation_before) = (1.0, 1.0);
        self.log_p_now.clear();
        (self.named, self.reviewed, self.fitted, self.waiting, self.newest) = Default::default();
    }

    /// Whether a crowd stands.
    pub fn stands(&self) -> bool {
        self.stands
    }

    /// Whether a crowd goes on, although strangers' rows are usual for the pool: rows that only it explains keep coming, or rows that are linked
    /// to a campaign.
    pub fn goes_on(&self, now: EventTime) -> bool {
        self.newest.is_some_and(|newest| now.seconds_since(newest) < GOES_ON_SECONDS)
    }

    /// Since when strangers' rows are odd.
    pub fn since(&self) -> Option<EventTime> {
        self.since
    }

    /// Strangers named so far.
    pub fn named(&self) -> u64 {
        self.named
    }

    /// Shares of odd rows: of strangers, and of callers with a past.
    pub fn odd_shares(&self) -> (f64, f64) {
        (self.strangers.share(), self.established.share())
    }

    /// Strangers' rows since their rows are odd.
    pub fn strangers(&self) -> u32 {
        self.strangers.rows
    }

    /// Strangers, by their rows in order.
    pub fn senders(&self) -> impl Iterator<Item = SlotRef> {
        self.rows.iter().map(|row| row.at)
    }

    /// Strangers whose rows are odd, in order.
    pub fn odd(&self) -> impl Iterator<Item = SlotRef> {
        self.rows.iter().filter(|row| row.is_odd).map(|row| row.at)
    }

    /// Columns by which the crowd's rows differ from the reference, the farthest first.
    pub fn shifts(&self) -> Vec<ColumnShift> {
        self.content.shifts()
    }

    /// Whether a campaign has so many rows of strangers that they may be a crowd's.
    pub fn has_campaign(&self) -> bool {
        self.linked >= FEWEST_ODD
    }

    /// Decides whether a crowd stands, now that the pool of newcomers is alarmed or a campaign has rows of strangers; true if it stands from
    /// now on.
    pub fn decide(&mut self, arrivals: &Arrivals, now: EventTime) -> bool {
        if self.stands || self.strangers.odd < FEWEST_ODD {
            return false;
        }
        self.stands = self.spares_established() || self.comes_in_addition(arrivals, now);
        self.stands
    }

    /// Whether callers with a past send odd rows far less often: too few of them do for a third of the strangers' rate, and too many
    /// strangers for three times theirs (Laplace's rule adds one odd row).
    fn spares_established(&self) -> bool {
        let Tally { rows, odd } = self.established;
        let third = self.strangers.share() / TIMES_ESTABLISHED;
        let Ok(established) = Binomial::new(third, u64::from(rows)) else { return false };
        let triple = (TIMES_ESTABLISHED * f64::from(odd + 1) / f64::from(rows + 2)).min(1.0);
        let Ok(strangers) = Binomial::new(triple, u64::from(self.strangers.rows)) else { return false };
        rows > 0
            && established.cdf(u64::from(odd)) <= CHANCE_ESTABLISHED
            && strangers.sf(u64::from(self.strangers.odd.saturating_sub(1))) <= CHANCE_STRANGERS
    }

    /// Whether callers with a past send odd rows at a rate that is comparable.
    fn shows_in_established(&self) -> bool {
        self.established.rows >= FEWEST_ESTABLISHED && self.established.share() * TIMES_ESTABLISHED >= self.strangers.share()
    }

    /// Whether more strangers came than ever come, and it is they who are odd.
    fn comes_in_addition(&self, arrivals: &Arrivals, now: EventTime) -> bool {
        let (Some((_, busiest)), Some(since)) = (arrivals.per_second(), self.since) else { return false };
        let seconds = now.seconds_since(since);
        if seconds > MOST_SECONDS || self.shows_in_established() {
            return false;
        }
        let usual = TIMES_BUSIEST * busiest * seconds.max(LEAST_SECONDS) + 1.0;
        let additional = f64::from(self.came) - usual;
        let improbable = || Poisson::new(usual).is_ok_and(|chance| chance.sf(u64::from(self.came)) <= CHANCE_ARRIVALS);
        additional > 0.0 && f64::from(self.strangers.odd) >= ODD_ADDITIONAL * additional && improbable()
    }

    /// Whether the reference's rows must be ranked for [`Crowd::rank`].
    pub fn is_due(&self) -> bool {
        self.stands && (self.content.is_due() || self.is_classifier_due())
    }

    /// Whether the classifier is to learn. It sees any difference, so it waits until it is known what callers with a past show now.
    fn is_classifier_due(&self) -> bool {
        let lasts = |since: EventTime| self.rows.back().map_or(0.0, |newest| newest.sent.seconds_since(since));
        let knows = self.established_now.len() >= WAIT_CALLERS as usize;
        self.classifier.is_due(self.noted) && (knows || self.since.is_some_and(|since| lasts(since) >= LONGEST_WAIT_SECONDS))
    }

    /// Ranks the reference's rows, given as their codes and surprise.
    pub fn rank<'a>(&mut self, now: EventTime, sample: impl Iterator<Item = (&'a [u8], f32)> + Clone) {
        if self.content.is_due() {
            self.content.rank(sample.clone());
        }
        if self.is_classifier_due() || self.waiting {
            self.fitted = Some(now);
            self.waiting = false;
            let Self { rows, before, content, classifier, noted, since, .. } = self;
            let rows = rows.iter().map(|row| (row.at, &*row.codes, row.surprise.nats));
            let before = long_before(before, *since).step_by(2).map(|row| (&*row.codes, row.surprise.nats));
            let by_shift = content.by_shift().into_iter().map(|shift| shift.column);
            classifier.fit(rows, before, sample, by_shift, *noted);
        }
        let before = long_before(&self.before, self.since).skip(1).step_by(2);
        let before = before.map(|row| self.test(row.at, &row.codes, &row.surprise, false).log_p(0.0)).collect();
        self.inflation_before = inflation(&ascending(before), &LEVELS_BEFORE);
        self.compare_established();
    }

    /// Measures how many times more often than they should callers with a past show small p-values now.
    fn compare_established(&mut self) {
        let log_p = |row: &EstablishedRow| self.test(row.at, &row.codes, &row.surprise, false).log_p(0.0);
        self.log_p_now = ascending(self.established_now.iter().map(log_p).collect());
        self.inflation_now = inflation(&self.log_p_now, &LEVELS_NOW);
    }

    fn test(&self, at: SlotRef, codes: &[u8], surprise: &Surprise, learned: bool) -> Tests {
        Tests {
            by_shares: self.content.log_p(codes, surprise.nats, learned),
            by_trees: self.classifier.log_p(at, codes, surprise.nats),
            by_surprise: by_surprise(surprise),
        }
    }

    fn test_row(&self, row: &StrangersRow) -> Tests {
        self.test(row.at, &row.codes, &row.surprise, row.teaches())
    }

    /// The sender of the newest row, if the row alone names it. The trees have one opinion of it, so they are not asked.
    pub fn name_newest(&mut self, now: EventTime) -> Option<Named> {
        let row = self.rows.back()?;
        let tests = self.test_row(row);
        let log_p = self.raised(row, &Tests { by_trees: None, ..tests });
        if log_p <= CONTINUES {
            self.newest = Some(now);
        }
        let is_named = log_p <= (NAMED_BY_CHANCE / (1.0 + self.honest())).ln();
        self.named += u64::from(is_named);
        is_named.then_some(Named { at: row.at, log_p })
    }

    /// Whether the strangers are to be reviewed.
    pub fn is_review_due(&self, now: EventTime) -> bool {
        self.stands && self.reviewed.or(self.since).is_some_and(|last| now.seconds_since(last) >= REVIEW_SECONDS)
    }

    /// Whether rows that would name their senders wait for the classifier to learn anew: it has not for a while, or the crowd `ends`.
    pub fn needs_second_opinion(&self, now: EventTime, ends: bool) -> bool {
        let is_old = || self.fitted.is_some_and(|fitted| now.seconds_since(fitted) >= SECOND_OPINION_SECONDS);
        self.waiting && (ends || is_old())
    }

    /// Strangers most of whose rows are the crowd's, by the shares of values or by both tests in two fits of the classifier, in order; of those
    /// that sent something within the last minutes only when the crowd `ends`. `votes` are all the rows of a stranger, `None` if it is forgotten or named.
    pub fn review(&mut self, now: EventTime, ends: bool, votes: impl Fn(SlotRef) -> Option<u32>) -> Vec<Named> {
        self.reviewed = Some(now);
        self.compare_established();
        let tests: Vec<Tests> = self.rows.iter().map(|row| self.test_row(row)).collect();
        let both: Vec<f64> = self.rows.iter().zip(&tests).map(|(row, tests)| self.raised(row, tests)).collect();
        let untaught = tests.iter().map(|tests| Tests { by_trees: None, ..*tests });
        let by_shares: Vec<f64> = self.rows.iter().zip(untaught).map(|(row, tests)| self.raised(row, &tests)).collect();
        let fit = self.classifier.fits();
        let honest = honest_among(&tests);
        let level_of_shares = level_of_review(&by_shares, honest, (NAMED_BY_CHANCE, HONEST_SHARE));
        // Each fit is another chance.
        let level_of_both = level_of_review(&both, honest, (NAMED_BY_CHANCE / f64::from(fit.max(1)), HONEST_SHARE));
        self.waiting = false;
        let mut by_sender: FxHashMap<SlotRef, (u32, f64, EventTime)> = FxHashMap::default();
        for ((row, both), by_shares) in self.rows.iter_mut().zip(both).zip(by_shares) {
            let agrees = row.pass(both <= level_of_both, fit);
            let is_confirmed = by_shares <= level_of_shares || agrees;
            let log_p = both.min(by_shares);
            self.waiting |= row.reviewed[1] > 0 && !is_confirmed;
            let (rows, least, last) = by_sender.entry(row.at).or_insert((0, 0.0, row.sent));
            (*rows, *least, *last) = (*rows + u32::from(is_confirmed), least.min(log_p), (*last).max(row.sent));
        }
        let mut named: Vec<Named> = Vec::new();
        for (&at, &(rows, log_p, last)) in &by_sender {
            let has_settled = ends || now.seconds_since(last) >= SETTLE_SECONDS;
            if rows > 0 && has_settled && votes(at).is_some_and(|votes| MOSTLY * rows > votes) {
                named.push(Named { at, log_p });
            }
        }
        named.sort_by_key(|named| named.at);
        self.named += named.len() as u64;
        named
    }

    /// ln of the p-value of a row, lowered if it is linked to a campaign, and raised by what usual strangers and callers with a past show.
    fn raised(&self, row: &StrangersRow, tests: &Tests) -> f64 {
        let linked = f64::from(self.established_linked + 1) / f64::from(self.established.rows + 1);
        let log_p = tests.log_p(if row.in_campaign { linked.ln() } else { 0.0 });
        let raised = log_p + self.usual.inflation().max(self.inflation_now).max(self.inflation_before).ln();
        raised.max(self.log_share_of_established(tests.log_p(0.0)))
    }

    /// ln of the share of callers with a past whose newest row is at least as improbable, if many are; −∞ otherwise. Far in the tail a few
    /// rows say more than how often larger p-values occur.
    fn log_share_of_established(&self, log_p: f64) -> f64 {
        let below = self.log_p_now.partition_point(|&other| other <= log_p + SAME_LOG_P) as f64;
        let share = below / self.log_p_now.len().max(1) as f64;
        if below >= f64::from(FEWEST_ESTABLISHED) && share >= SHARED { share.ln() } else { f64::NEG_INFINITY }
    }

    /// Honest rows among the strangers', as an estimate: twice those that are less surprising than half of the reference's (Storey 2002). A
    /// review knows more ([`honest_among`]).
    fn honest(&self) -> f64 {
        2.0 * f64::from(self.ordinary)
    }

    /// Bytes held beyond the struct itself.
    pub fn bytes(&self) -> usize {
        let codes = self.rows.front().map_or(0, |row| row.codes.len());
        self.rows.capacity() * size_of::<StrangersRow>()
            + self.rows.len() * codes
            + self.established_callers.len() * size_of::<(SlotRef, u32)>()
    }
}

/// The least strict level at which, of so many `honest` strangers, hardly one is expected below it, or a small share of all rows there: these
/// two bounds.
fn level_of_review(log_p: &[f64], honest: f64, (by_chance, share): (f64, f64)) -> f64 {
    let honest = 1.0 + honest;
    let sorted = ascending(log_p.to_vec());
    let is_safe = |level: &f64| {
        let below = sorted.partition_point(|log_p| log_p <= level) as f64;
        honest * level.exp() <= by_chance.max(share * below)
    };
    let levels = (0..LEVELS_TRIED).map(|step| LEAST_STRICT - LEVEL_STEP * f64::from(step));
    levels.into_iter().find(is_safe).unwrap_or(f64::NEG_INFINITY)
}

// === impl Tally ===

impl Tally {
    fn add(&mut self, is_odd: bool) {
        self.rows = self.rows.saturating_add(1);
        self.odd = self.odd.saturating_add(u32::from(is_odd));
    }

    fn share(self) -> f64 {
        f64::from(self.odd) / f64::from(self.rows.max(1))
    }
}

// === impl StrangersRow ===

impl StrangersRow {
    /// Notes whether a review by this fit would name its sender for it, and says whether two fits would.
    fn pass(&mut self, passes: bool, fit: u32) -> bool {
        let [first, passed] = &mut self.reviewed;
        if *first == 0 {
            *first = fit;
        }
        *passed = match (passes, *passed) {
            (false, _) => 0,
            (true, 0) if fit.saturating_sub(*first) > MOST_FITS => 0,
            (true, 0) => fit,
            (true, before) => before,
        };
        // Before the classifier has learned there is one opinion.
        passes && (fit == 0 || (*passed > 0 && *passed != fit))
    }

    /// Whether it teaches what the crowd's rows have in common.
    fn teaches(&self) -> bool {
        self.in_campaign || self.surprise.log_p.iter().any(|&log_p| log_p <= TEACHES)
    }
}

#[cfg(test)]
mod tests;
