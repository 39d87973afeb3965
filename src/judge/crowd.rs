//! A crowd of strangers is one actor: many addresses with a query or two each.
//!
//! An attacker with a new address for every query gives no address enough evidence. So the first rows of all strangers are judged together.
//! The pool of newcomers ([`crate::judge::distribution`]) says *that* their rows are not the reference's. This file says whether a crowd
//! sends them, and which rows are the crowd's.
//!
//! **A crowd or a change?** A change of the pipeline reaches callers with a past as well. A crowd stands when their rows are odd far less
//! often, or when the strangers come in addition to the usual ones, far beyond their usual rate.
//!
//! **Whose row is the crowd's?** Each row is tested against the reference: by its surprise, by its surprise with nearness to the decision
//! boundary, and by what it has in common with the crowd's most improbable rows ([`content`]). A stranger is named when its
//! p-value is so small that among all the honest strangers of that time hardly one would have it. Where honest strangers have shown more
//! small p-values than they should, p-values are raised by that factor.

mod content;

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use statrs::distribution::{Binomial, DiscreteCDF as _, Poisson};

pub use self::content::ColumnShift;
use self::content::Content;
use super::arrivals::Arrivals;
use crate::event::EventTime;
use crate::reference::Reference;
use crate::signal::density::Surprise;
use crate::window::clients::SlotRef;

/// Rows of strangers that are kept while a crowd is possible: at fourteen columns a megabyte and a half.
const ROWS: usize = 32_768;
/// Honest strangers of one crowd's time that may be named, as an expectation: one in fifty crowds names one.
const NAMED_BY_CHANCE: f64 = 0.02;
/// Tests of one row: surprise, surprise with nearness, and content.
const TESTS: f64 = 3.0;
/// ln of the p-value below which a row teaches what the crowd's rows have in common: one honest row in a hundred.
const TEACHES: f32 = -4.605_170_2;
/// Levels at which the p-values of usual strangers are counted.
const LEVELS: [f64; 3] = [1e-2, 1e-3, 1e-4];
/// Expected rows at a level before their number is believed.
const LEAST_EXPECTED: f64 = 0.25;
/// Factor by which honest strangers may show more small p-values than the reference, at least: newcomers are not a random sample of
/// the callers. As for the pool of newcomers.
const LEAST_INFLATION: f64 = 2.5;
/// Rows of usual strangers after which their counts are halved, so that they follow the world.
const USUAL_ROWS: f64 = 20_000.0;
/// Multiple of the share of odd rows of callers with a past that strangers must exceed, and the probability with which chance may pretend
/// it. This is no test of innocence: the pool's alarm has passed already.
const TIMES_ESTABLISHED: f64 = 3.0;
const CHANCE_ESTABLISHED: f64 = 0.05;
/// Factor on the busiest quarter of the last hours that a usual crowd of newcomers may reach, and the probability of more by chance.
const TIMES_BUSIEST: f64 = 2.0;
const CHANCE_ARRIVALS: f64 = 1e-4;
/// Share of the strangers beyond the usual rate that must be odd, for these to be the ones that came in addition.
const ODD_ADDITIONAL: f64 = 0.5;
/// Odd rows before anything is said. Chosen: fewer have no pattern.
const FEWEST_ODD: u32 = 4;

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
    /// Coarse code by column.
    pub codes: Box<[u8]>,
    /// How surprising it is.
    pub surprise: Surprise,
    /// Whether it is impossible by a statistic of dependence.
    pub is_odd: bool,
    /// Whether it is linked to a campaign.
    pub in_campaign: bool,
}

/// A stranger that is named, and ln of the p-value of its row.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Named {
    /// The stranger.
    pub at: SlotRef,
    /// ln p, with the factors for several tests and for usual strangers.
    pub log_p: f64,
}

/// Small p-values of usual strangers.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct Usual {
    rows: f64,
    below: [f64; LEVELS.len()],
}

/// The strangers of one model since their rows were last usual.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Crowd {
    since: Option<EventTime>,
    strangers: Tally,
    established: Tally,
    rows: VecDeque<StrangersRow>,
    content: Content,
    usual: Usual,
    /// Usual strangers if it was no crowd.
    pending: Usual,
    stands: bool,
    named: u64,
}

// === impl Usual ===

impl Usual {
    fn note(&mut self, surprise: &Surprise) {
        self.rows += 1.0;
        let log_p = f64::from(surprise.log_p[0].min(surprise.log_p[1])) + 2_f64.ln();
        for (below, level) in self.below.iter_mut().zip(LEVELS) {
            *below += f64::from(u8::from(log_p <= level.ln()));
        }
    }

    fn add(&mut self, other: &Self) {
        self.rows += other.rows;
        self.below.iter_mut().zip(other.below).for_each(|(below, more)| *below += more);
        if self.rows > USUAL_ROWS {
            self.rows /= 2.0;
            self.below.iter_mut().for_each(|below| *below /= 2.0);
        }
    }

    /// How many times more often than they should usual strangers have shown small p-values.
    fn inflation(&self) -> f64 {
        let at = |(&below, level): (&f64, f64)| {
            let expected = self.rows * level;
            if expected < LEAST_EXPECTED { 1.0 } else { below / expected }
        };
        self.below.iter().zip(LEVELS).map(at).fold(LEAST_INFLATION, f64::max)
    }
}

// === impl Crowd ===

impl Crowd {
    /// No strangers yet.
    pub fn new(reference: &Reference) -> Self {
        Self {
            since: None,
            strangers: Tally::default(),
            established: Tally::default(),
            rows: VecDeque::new(),
            content: Content::new(reference),
            usual: Usual::default(),
            pending: Usual::default(),
            stands: false,
            named: 0,
        }
    }

    /// Notes a row of a caller with a past.
    pub fn note_established(&mut self, is_odd: bool) {
        if self.since.is_some() {
            self.established.add(is_odd);
        }
    }

    /// Notes a row of a caller of the warm-up, when nobody is a stranger.
    pub fn note_usual(&mut self, surprise: &Surprise) {
        let mut one = Usual::default();
        one.note(surprise);
        self.usual.add(&one);
    }

    /// Notes a stranger's row.
    pub fn note(&mut self, row: StrangersRow, now: EventTime) {
        self.since.get_or_insert(now);
        self.strangers.add(row.is_odd);
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
        (self.strangers, self.established, self.pending) = Default::default();
        self.rows.clear();
        self.content.clear();
        self.named = 0;
    }

    /// Whether a crowd stands.
    pub fn stands(&self) -> bool {
        self.stands
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

    /// Strangers whose rows are odd, in order.
    pub fn odd(&self) -> impl Iterator<Item = SlotRef> {
        self.rows.iter().filter(|row| row.is_odd).map(|row| row.at)
    }

    /// Columns by which the crowd's rows differ from the reference, the farthest first.
    pub fn shifts(&self) -> Vec<ColumnShift> {
        self.content.shifts()
    }

    /// Decides whether a crowd stands, now that the pool of newcomers is alarmed; true if it stands from now on.
    pub fn decide(&mut self, arrivals: &Arrivals, now: EventTime) -> bool {
        if self.stands || self.strangers.odd < FEWEST_ODD {
            return false;
        }
        self.stands = self.spares_established() || self.comes_in_addition(arrivals, now);
        self.stands
    }

    /// Whether callers with a past send odd rows far less often.
    fn spares_established(&self) -> bool {
        let share = self.strangers.share() / TIMES_ESTABLISHED;
        let Ok(chance) = Binomial::new(share, u64::from(self.established.rows)) else { return false };
        self.established.rows > 0 && chance.cdf(u64::from(self.established.odd)) <= CHANCE_ESTABLISHED
    }

    /// Whether more strangers came than ever come, and it is they who are odd.
    fn comes_in_addition(&self, arrivals: &Arrivals, now: EventTime) -> bool {
        let (Some((_, busiest)), Some(since)) = (arrivals.per_second(), self.since) else { return false };
        let usual = TIMES_BUSIEST * busiest * now.seconds_since(since).max(1.0) + 1.0;
        let additional = f64::from(self.strangers.rows) - usual;
        let improbable = || Poisson::new(usual).is_ok_and(|chance| chance.sf(u64::from(self.strangers.rows)) <= CHANCE_ARRIVALS);
        additional > 0.0 && f64::from(self.strangers.odd) >= ODD_ADDITIONAL * additional && improbable()
    }

    /// Whether the reference's rows must be ranked for [`Crowd::rank`].
    pub fn is_due(&self) -> bool {
        self.stands && self.content.is_due()
    }

    /// Ranks the reference's rows, given as their codes and surprise.
    pub fn rank<'a>(&mut self, sample: impl Iterator<Item = (&'a [u8], f32)>) {
        self.content.rank(sample);
    }

    /// Strangers to be named: of all the rows that are kept, or of the newest alone.
    pub fn name(&mut self, arrivals: &Arrivals, now: EventTime, newest_alone: bool) -> Vec<Named> {
        let most = self.level(arrivals, now);
        let factor = (TESTS * self.usual.inflation()).ln();
        let from = if newest_alone { self.rows.len().saturating_sub(1) } else { 0 };
        let rows = self.rows.range(from..);
        let named: Vec<Named> =
            rows.map(|row| Named { at: row.at, log_p: self.log_p(row) + factor }).filter(|named| named.log_p <= most).collect();
        self.named += named.len() as u64;
        named
    }

    /// ln of the least p-value of a row.
    fn log_p(&self, row: &StrangersRow) -> f64 {
        let surprise = f64::from(row.surprise.log_p[0].min(row.surprise.log_p[1]));
        surprise.min(self.content.log_p(&row.codes, row.surprise.nats, row.teaches()))
    }

    /// ln of the p-value that names: so small that of all the honest strangers since the crowd came hardly one has it.
    fn level(&self, arrivals: &Arrivals, now: EventTime) -> f64 {
        let seconds = self.since.map_or(0.0, |since| now.seconds_since(since).max(0.0));
        let usual = arrivals.per_second().map(|(rate, _)| rate * seconds);
        let honest = usual.unwrap_or_else(|| f64::from(self.strangers.rows - self.strangers.odd));
        (NAMED_BY_CHANCE / (1.0 + honest)).ln()
    }

    /// Bytes held beyond the struct itself.
    pub fn bytes(&self) -> usize {
        let row = self.rows.front().map_or(0, |row| size_of::<StrangersRow>() + row.codes.len());
        self.rows.capacity() * size_of::<StrangersRow>() + self.rows.len() * row
    }
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
    /// Whether it teaches what the crowd's rows have in common.
    fn teaches(&self) -> bool {
        self.in_campaign || self.surprise.log_p.iter().any(|&log_p| log_p <= TEACHES)
    }
}

#[cfg(test)]
mod tests;
