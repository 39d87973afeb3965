//! Is a caller hiding in records that nobody can read?
//!
//! A record that cannot be read says nothing about what was asked, but it says something about its sender: a caller most of whose records
//! are unreadable, while its peers' are not, is either broken or hiding. Both are worth a look, so the verdict is *suspicious*.
//!
//! **Test.** Among its peers a share `p` of the records is unreadable. If a caller's `n` records were unreadable with the same
//! probability, `k` or more of them would be so with probability `P(Bin(n, p) ≥ k) = I_p(k, n − k + 1)`, the regularised incomplete beta
//! function (Clopper and Pearson 1934, "The use of confidence or fiducial limits illustrated in the case of the binomial").
//! The caller is tested every five minutes, so a test may fail with the stated rate of false alarms a day, divided by the tests of a day.
//!
//! **Common cause.** Unreadable records come in bulk when a writer is broken, and then the records of one caller are not independent. A
//! broken writer usually serves many callers. So a caller is named only if few others are like it, and only after enough time for
//! the others to show the same.

use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};
use statrs::distribution::{Beta, ContinuousCDF as _};

use super::client::{EvidenceTrail, Key};
use crate::event::{Address, EventTime, Query};
use crate::outcome::UnreadableRecord;
use crate::window::clients::Table;

/// Length of a pane in microseconds. Records count for one to two panes, so for three to six hours: the windows of drift are as long.
const PANE_MICROS: i64 = 3 * 3600 * 1_000_000;
/// Hours of the current pane, and of both.
pub const HOURS: [usize; 2] = [3, 6];
/// Seconds of event time between two tests. Chosen: an alert that is minutes late loses nothing, since such a caller learned nothing that
/// blocking in seconds would have kept from it.
const STEP_SECONDS: i64 = 300;
/// Records of a caller before it is judged, and before its share counts in metrics. Chosen: a client program that fails gives up after
/// fewer tries.
pub const MIN_RECORDS: u64 = 10;
/// Least share of unreadable records that peers are taken to have. Chosen: one percent is also what a replay tolerates by default.
const FLOOR: f64 = 0.01;
/// Seconds from a caller's first unreadable record to a verdict. Chosen: long enough that the other callers of a broken writer show the
/// same, short enough for an attack that lasts a quarter of an hour.
const SETTLE_SECONDS: f64 = 900.0;
/// Callers alike that are no cohort, whatever the number of callers. Chosen: an attacker and a broken client may come together.
const FEW: u64 = 2;
/// Otherwise one active caller in so many may be alike. Chosen: a release goes to more of the callers than that.
const FEW_ONE_IN: u64 = 20;
/// A third of the callers is a cohort, however few they are.
const COHORT_ONE_IN: u64 = 3;
/// Records that the test looks at, so that the beta function stays within its range. Scaling down only loses power where there is plenty.
const MOST_TESTED: f64 = 1000.0;
/// Least probability that evidence is computed from; below it a float has no logarithm to speak of.
const LEAST_TAIL: f64 = 1e-300;

/// Unreadable records of one pane, and what had been read when it began.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct Pane {
    unreadable: u64,
    /// Readable records of the same sender up to the beginning of the pane.
    readable_before: u64,
}

/// A sender's two panes.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct Panes {
    previous: Pane,
    current: Pane,
}

/// A caller with unreadable records.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct UnreadableCaller {
    /// The address.
    pub address: Address,
    /// The account; empty for none, or if it could not be read.
    pub account: Box<str>,
    /// Unreadable records since it is known.
    pub total: u64,
    /// The records that count as evidence.
    pub evidence: EvidenceTrail,
    /// Whether it was reported as suspicious.
    reported: bool,
    /// Time of its first unreadable record in the panes.
    since: EventTime,
    panes: Panes,
}

/// Readable records of a sender: all of them, and those within each of [`HOURS`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Readable {
    /// All.
    pub all: u64,
    /// Within the last hours.
    pub recent: [u64; 2],
}

/// What is known of the other callers when one is judged.
#[derive(Clone, Debug, Default)]
pub struct Peers {
    /// Callers that sent anything within the panes.
    pub active: u64,
    /// Readable records within the panes by address, for callers whose account could not be read.
    pub by_address: FxHashMap<Address, u64>,
}

/// How a caller's records compare with its peers'.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Comparison {
    /// Share of its records that cannot be read.
    pub share: f64,
    /// The same of its peers, at least one percent.
    pub peers: f64,
    /// Probability of so many by chance.
    pub tail: f64,
}

/// Unreadable records of one model, by caller.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct UnreadableCallers {
    callers: Table<Key, UnreadableCaller>,
    totals: Panes,
    /// Number of the current pane.
    pane: i64,
    /// Time of the next test; `None` before the first event.
    next_test: Option<EventTime>,
    /// Probability that one test of an honest caller fails.
    level: f64,
}

const fn pane_of(at: EventTime) -> i64 {
    at.micros().div_euclid(PANE_MICROS)
}

// === impl Panes ===

impl Panes {
    /// Panes of a sender that was heard of before.
    fn of(readable: Readable) -> Self {
        let [current, previous] =
            readable.recent.map(|recent| Pane { unreadable: 0, readable_before: readable.all.saturating_sub(recent) });
        Self { previous, current }
    }

    /// A new pane begins, or several, when a sender has `readable` records.
    fn rotate(&mut self, steps: i64, readable: u64) {
        let fresh = Pane { unreadable: 0, readable_before: readable };
        *self = Self { previous: if steps == 1 { self.current } else { fresh }, current: fresh };
    }

    fn unreadable(&self) -> u64 {
        self.previous.unreadable + self.current.unreadable
    }

    /// Readable records within the panes. A client that was forgotten meanwhile has begun to count anew.
    fn readable(&self, all: u64) -> u64 {
        all.checked_sub(self.previous.readable_before).unwrap_or(all)
    }
}

// === impl UnreadableCallers ===

impl UnreadableCallers {
    /// No callers yet, and room for `max_clients`; `alarms_per_client_day` is the stated rate of false alarms.
    pub fn new(alarms_per_client_day: f64, max_clients: usize) -> Self {
        let tests_per_day = 86_400.0 / STEP_SECONDS as f64;
        Self {
            callers: Table::new(max_clients),
            totals: Panes::default(),
            pane: 0,
            next_test: None,
            level: alarms_per_client_day / tests_per_day,
        }
    }

    /// Counts a record; `now` is the event time at which it came. `sent` are the readable records of its caller. Without a `key` nothing
    /// of its caller is known.
    pub fn note(&mut self, record: &UnreadableRecord<'_>, now: EventTime, key: Option<Key>, sent: Readable) {
        // Its own time is what a broken or hiding sender says; beyond the panes it is not believed.
        let at = record.caller.time.filter(|&at| at < now && pane_of(at) >= self.pane - 1).unwrap_or(now);
        let is_previous = pane_of(at) < self.pane;
        let count = |panes: &mut Panes| if is_previous { panes.previous.unreadable += 1 } else { panes.current.unreadable += 1 };
        count(&mut self.totals);
        let Some(key) = key else { return };
        let fresh = || UnreadableCaller {
            address: record.caller.address,
            account: record.caller.account.as_str().into(),
            total: 0,
            evidence: EvidenceTrail::default(),
            reported: false,
            since: at,
            panes: Panes::of(sent),
        };
        let (slot, ..) = self.callers.touch_sparing(&key, fresh, |caller| caller.reported);
        let Some(caller) = self.callers.get_mut(slot) else { return };
        if caller.panes.unreadable() == 0 {
            caller.since = at;
            caller.panes = Panes::of(sent);
        }
        caller.total += 1;
        count(&mut caller.panes);
        let (request_id, provenance) = (record.caller.request_id.clone(), record.provenance.clone());
        caller.evidence.keep(&Query { time: at, request_id, provenance, ..Query::default() });
    }

    /// Whether event time has reached the next test.
    #[inline]
    pub fn is_due(&self, now: EventTime) -> bool {
        self.next_test.is_none_or(|next| now >= next)
    }

    /// Moves event time to `now`: panes that are over leave. `all` are the readable records of the model, `readable_of` those of a caller.
    pub fn advance(&mut self, now: EventTime, all: u64, readable_of: impl Fn(&Key) -> u64) {
        self.next_test = Some(now.plus_seconds(STEP_SECONDS));
        let steps = pane_of(now) - self.pane;
        if steps <= 0 {
            return;
        }
        self.pane = pane_of(now);
        self.totals.rotate(steps, all);
        let of: Vec<u64> = self.callers.iter().map(|(_, key, _)| readable_of(key)).collect();
        for ((_, caller), readable) in self.callers.iter_mut().zip(of) {
            caller.panes.rotate(steps, readable);
        }
    }

    /// Whether anybody is to be judged: somebody has enough unreadable records, or was reported.
    pub fn has_candidates(&self) -> bool {
        self.callers.iter().any(|(_, _, caller)| caller.reported || caller.panes.unreadable() >= MIN_RECORDS)
    }

    /// Readable records of a caller within the panes.
    fn readable(caller: &UnreadableCaller, all: Option<u64>, peers: &Peers) -> u64 {
        match all {
            Some(all) => caller.panes.readable(all),
            // Its account could not be read, so its readable records stand under another name at the same address.
            None if caller.account.is_empty() => peers.by_address.get(&caller.address).copied().unwrap_or(0),
            None => 0,
        }
    }

    /// Judges every caller: those to be reported as suspicious (`true`), and those whose suspicion is over (`false`). `all` are the
    /// readable records of the model, `readable_of` those of a caller, if it is a known client. At the `end` of the input nobody's peers
    /// will show anything more.
    pub fn judge(
        &mut self,
        now: EventTime,
        end: bool,
        all: u64,
        peers: &Peers,
        readable_of: impl Fn(&Key) -> Option<u64>,
    ) -> Vec<(bool, UnreadableCaller, Comparison)> {
        let counts: Vec<(u64, u64)> = self
            .callers
            .iter()
            .map(|(_, key, caller)| (caller.panes.unreadable(), Self::readable(caller, readable_of(key), peers)))
            .collect();
        let mostly = |&(unreadable, readable): &(u64, u64)| unreadable > readable;
        let alike = counts.iter().filter(|counts| mostly(counts)).count() as u64;
        // Callers without one readable record are active, too.
        let active = peers.active + counts.iter().filter(|&&(unreadable, readable)| unreadable > 0 && readable == 0).count() as u64;
        let is_cohort = alike > FEW.max(active / FEW_ONE_IN) || alike * COHORT_ONE_IN >= active;
        let (totals, level) = (self.totals, self.level);
        let mut changed = Vec::new();
        for ((_, caller), counts) in self.callers.iter_mut().zip(counts) {
            let (unreadable, readable) = counts;
            let others = (totals.unreadable().saturating_sub(unreadable), totals.readable(all).saturating_sub(readable));
            let comparison = Comparison::of(counts, others);
            let settled = end || now.seconds_since(caller.since) >= SETTLE_SECONDS;
            let suspicious = mostly(&counts) && !is_cohort && (caller.reported || unreadable >= MIN_RECORDS);
            let report = match caller.reported {
                false => suspicious && settled && comparison.tail <= level,
                true => suspicious,
            };
            if report != caller.reported {
                caller.reported = report;
                changed.push((report, caller.clone(), comparison));
            }
        }
        changed
    }

    /// Share of the model's records within the panes that cannot be read; `all` are its readable records.
    pub fn ratio(&self, all: u64) -> f64 {
        share(self.totals.unreadable(), self.totals.readable(all))
    }

    /// The largest share of a caller with at least [`MIN_RECORDS`] records within the panes.
    pub fn largest_ratio(&self, readable_of: impl Fn(&Key) -> Option<u64>) -> f64 {
        let of = |(_, key, caller): (_, &Key, &UnreadableCaller)| {
            let readable = caller.panes.readable(readable_of(key).unwrap_or(0));
            let unreadable = caller.panes.unreadable();
            (unreadable + readable >= MIN_RECORDS).then(|| share(unreadable, readable))
        };
        self.callers.iter().filter_map(of).fold(0.0, f64::max)
    }

    /// Callers that are suspicious now.
    pub fn suspicious(&self) -> u64 {
        self.callers.iter().filter(|(_, _, caller)| caller.reported).count() as u64
    }
}

fn share(unreadable: u64, readable: u64) -> f64 {
    unreadable as f64 / (unreadable + readable).max(1) as f64
}

// === impl Comparison ===

impl Comparison {
    /// Compares the (unreadable, readable) records of a caller with those of the others.
    fn of((unreadable, readable): (u64, u64), others: (u64, u64)) -> Self {
        let peers = share(others.0, others.1).max(FLOOR);
        let share = share(unreadable, readable);
        let tested = ((unreadable + readable) as f64).min(MOST_TESTED);
        Self { share, peers, tail: tail(tested, (share * tested).floor(), peers) }
    }

    /// Natural logarithm of the evidence.
    pub fn evidence(&self) -> f64 {
        -self.tail.max(LEAST_TAIL).ln()
    }
}

/// Probability of `k` or more among `n` records if each has probability `p`.
fn tail(n: f64, k: f64, p: f64) -> f64 {
    if k < 1.0 || p >= 1.0 {
        return 1.0;
    }
    Beta::new(k, n - k + 1.0).map_or(1.0, |beta| beta.cdf(p))
}

#[cfg(test)]
mod tests;
