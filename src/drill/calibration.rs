//! What the stated rate of false alarms turned into on this log.
//!
//! `alarms_per_client_day` promises something about honest traffic. Here the promise is held against the log as it is: callers
//! flagged, per client and day that it asked anything, with the exact interval of a Poisson count, and split by what flagged
//! them, by the hour, and by who they are. Whether a flagged caller is honest is not known, so the rate is an upper bound of the
//! false alarms. Something is recommended only if the interval excludes the stated rate; otherwise it is said how much
//! traffic it would take to know.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::baseline::{Baseline, Flagged};
use super::log::Log;
use super::statistics::{Interval, rate};
use crate::event::{Address, EventTime};
use crate::html::words;

/// The calibration report.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Calibration {
    /// `alarms_per_client_day` as configured.
    pub stated: f64,
    /// What was measured over everybody.
    pub measured: Rate,
    /// Callers (an account at an address) that were seen.
    pub callers: u64,
    /// What the two say together, in words.
    pub finding: String,
    /// What to do, if anything can be said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recommendation: Option<String>,
    /// Alarms by the heaviest signal.
    pub by_signal: BTreeMap<String, u64>,
    /// Alarms by shape of the probing.
    pub by_family: BTreeMap<String, u64>,
    /// Queries and alarms by hour of the day, UTC.
    pub by_hour: Vec<Hour>,
    /// Alarms by kind of caller.
    pub by_group: Vec<Group>,
    /// Everybody who was flagged, earliest first.
    pub flagged: Vec<Flagged>,
}

/// Alarms per client and day.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct Rate {
    /// Callers flagged.
    pub alarms: u64,
    /// Days (UTC) on which a caller asked anything, added up over callers.
    pub client_days: u64,
    /// Alarms per client and day.
    pub per_client_day: f64,
    /// Its interval.
    pub interval: Interval,
}

/// One hour of the day.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct Hour {
    /// 0 to 23, UTC.
    pub hour: u8,
    /// Queries in that hour, over all days.
    pub queries: u64,
    /// Callers flagged in that hour.
    pub alarms: u64,
}

/// A kind of caller.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Group {
    /// How the callers were divided.
    pub by: &'static str,
    /// Which part.
    pub name: String,
    /// Callers in it.
    pub callers: u64,
    /// Their alarms.
    pub rate: Rate,
}

/// What is known of a caller.
#[derive(Clone, Debug, Default)]
struct CallerActivity {
    queries: u64,
    days: BTreeSet<i64>,
    first: Option<EventTime>,
    flagged: bool,
}

/// The heaviest signal of a verdict on an account that is flagged at several addresses.
const ACCOUNT_SIGNAL: &str = "flagged_addresses_of_account";
const DAY_MICROS: i64 = 86_400_000_000;

// === impl Rate ===

impl Rate {
    fn new(alarms: u64, client_days: u64) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "counts of alarms and days")]
        let (count, days) = (alarms as f64, client_days as f64);
        Self { alarms, client_days, per_client_day: if days > 0.0 { count / days } else { 0.0 }, interval: rate(alarms, days) }
    }
}

// === impl Calibration ===

impl Calibration {
    /// Holds the stated rate against what was said of the log alone.
    pub fn of(log: &Log, baseline: &Baseline, stated: f64) -> Self {
        let calibration = Self::of_callers(log, baseline, stated);
        if !log.facts.without_callers {
            return calibration;
        }
        // There are no client-days, so there is nothing to compare; the queries by hour are all that is known.
        Self {
            measured: Rate { alarms: 0, client_days: 0, per_client_day: 0.0, interval: rate(0, 0.0) },
            callers: 0,
            finding: without_callers(baseline),
            recommendation: None,
            by_group: Vec::new(),
            ..calibration
        }
    }

    fn of_callers(log: &Log, baseline: &Baseline, stated: f64) -> Self {
        let mut callers = vec![CallerActivity::default(); log.callers.len()];
        let mut by_hour: Vec<Hour> = (0..24).map(|hour| Hour { hour, queries: 0, alarms: 0 }).collect();
        for event in (0..log.len()).filter(|&event| baseline.accepted[event]) {
            let (time, caller) = (log.time(event), &mut callers[log.caller(event)]);
            caller.queries += 1;
            caller.days.insert(time.micros().div_euclid(DAY_MICROS));
            caller.first = Some(caller.first.map_or(time, |first| first.min(time)));
            by_hour[usize::from(time.hour_of_day()) % 24].queries += 1;
        }
        let mut flagged: Vec<Flagged> = baseline.flagged.values().cloned().collect();
        flagged.sort_by(|a, b| a.at.cmp(&b.at).then_with(|| a.who.cmp(&b.who)));
        let (mut by_signal, mut by_family) = (BTreeMap::new(), BTreeMap::new());
        // A line on an account wherever it is repeats what was said of its addresses.
        let repeats = |one: &&Flagged| one.signal == ACCOUNT_SIGNAL;
        for one in flagged.iter().filter(|one| !repeats(one)) {
            *by_signal.entry(one.signal.to_owned()).or_default() += 1;
            *by_family.entry(one.family.to_owned()).or_default() += 1;
            by_hour[usize::from(one.at.0.hour_of_day()) % 24].alarms += 1;
        }
        // A verdict on an address or account is one alarm; which of its callers it counts for matters to the groups alone.
        for (who, caller) in log.callers.iter().zip(&mut callers) {
            caller.flagged = baseline.accuses(&super::caller(who));
        }
        let seen: Vec<usize> = (0..callers.len()).filter(|&at| callers[at].queries > 0).collect();
        let client_days: u64 = seen.iter().map(|&at| callers[at].days.len() as u64).sum();
        let measured = Rate::new(flagged.iter().filter(|one| !repeats(one)).count() as u64, client_days);
        let (finding, recommendation) = conclude(stated, &measured);
        Self {
            stated,
            measured,
            callers: seen.len() as u64,
            finding,
            recommendation,
            by_signal,
            by_family,
            by_hour,
            by_group: groups(log, baseline, &callers, &seen),
            flagged,
        }
    }
}

/// Alarms by how much callers ask, by whether they have accounts, by whether they share their address, and by whether they are new.
fn groups(log: &Log, baseline: &Baseline, callers: &[CallerActivity], seen: &[usize]) -> Vec<Group> {
    let part = |by: &'static str, name: String, members: &[usize]| {
        let days = members.iter().map(|&at| callers[at].days.len() as u64).sum();
        let alarms = members.iter().filter(|&&at| callers[at].flagged).count() as u64;
        Group { by, name, callers: members.len() as u64, rate: Rate::new(alarms, days) }
    };
    let mut groups = Vec::new();
    let mut by_volume = seen.to_vec();
    by_volume.sort_by_key(|&at| (callers[at].queries, at));
    let third = by_volume.len().div_ceil(3).max(1);
    for (name, members) in ["quietest third", "middle third", "busiest third"].iter().zip(by_volume.chunks(third)) {
        let range = |at: Option<&usize>| at.map_or(0, |&at| callers[at].queries);
        let name = format!("{name} ({} to {} queries)", words::count(range(members.first())), words::count(range(members.last())));
        groups.push(part("volume", name, members));
    }
    let split = |by: &'static str, yes: &str, no: &str, test: &dyn Fn(usize) -> bool| {
        let (members, others): (Vec<usize>, Vec<usize>) = seen.iter().partition(|&&at| test(at));
        [(yes, members), (no, others)].map(|(name, members)| part(by, name.to_owned(), &members))
    };
    groups.extend(split("account", "with an account", "address alone", &|at| !log.callers[at].account.is_empty()));
    let mut callers_at: BTreeMap<Address, u64> = BTreeMap::new();
    seen.iter().for_each(|&at| *callers_at.entry(log.callers[at].address).or_default() += 1);
    let alone = |at: usize| log.callers[at].address == Address::Unknown || callers_at.get(&log.callers[at].address) == Some(&1);
    groups.extend(split("address", "address of its own", "shared address", &alone));
    let warm = baseline.span.map(|(first, _)| first.plus_seconds(crate::judge::distribution::WARM_UP_SECONDS));
    let known = |at: usize| callers[at].first <= warm;
    groups.extend(split("age", "known (first seen in the first four hours)", "new (first seen later)", &known));
    groups.retain(|group| group.callers > 0);
    groups
}

/// What can be said of a log without callers: nothing of a rate per client, and what was said of the model.
fn without_callers(baseline: &Baseline) -> String {
    let said = match baseline.model_probed_since() {
        Some(at) => format!(
            "is said to be probed from {} UTC on: by a real attacker, or falsely. Attacks injected while it is said cannot be found",
            words::minute(at)
        ),
        None => "is never said to be probed".to_owned(),
    };
    format!(
        "No query has a caller, so the rate per client and day cannot be compared with this log. As the log is, the model {said}."
    )
}

/// What the numbers say, and what follows, if anything.
fn conclude(stated: f64, measured: &Rate) -> (String, Option<String>) {
    let Interval { low, high } = measured.interval;
    let days = words::count(measured.client_days);
    let alarms = words::counted(measured.alarms, "caller was flagged", "callers were flagged");
    let said = format!(
        "{alarms} in {days} client-days: {} per client and day, 95 % interval {} to {}; stated {}.",
        small(measured.per_client_day),
        small(low),
        small(high),
        small(stated)
    );
    if low > stated {
        let finding = format!(
            "{said} That is more than stated and more than chance: either some of these callers do probe, or the stated rate does not hold on this traffic."
        );
        let recommendation = format!(
            "Look at the {} listed here before anything else. Those that probe are findings. If all of them are honest, expect about {} alarms per client and day on traffic like this, and lower engine.alarms_per_client_day only after that has been looked into: it costs detection.",
            words::counted(measured.alarms, "caller", "callers"),
            small(measured.per_client_day)
        );
        return (finding, Some(recommendation));
    }
    if high < stated {
        return (
            format!("{said} That is less than stated, by more than chance: on this traffic the judge is calmer than it promises."),
            None,
        );
    }
    // Without alarms, the interval ends at about 3.69 over the client-days.
    let needed = (rate(0, 1.0).high / stated).ceil();
    let finding = format!(
        "{said} The interval holds the stated rate, so this log does not contradict it. To show that the rate is kept would take about {} client-days without an alarm.",
        words::measured(needed)
    );
    (finding, None)
}

/// A small rate as people write it: `0.0001`, not in powers of ten.
pub fn small(rate: f64) -> String {
    if (1e-5..0.001).contains(&rate) { words::exact((rate * 1e6).round() / 1e6) } else { words::measured(rate) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_recommended_that_the_interval_does_not_justify() {
        let (finding, recommendation) = conclude(1e-4, &Rate::new(0, 700));
        assert!(
            finding.contains("stated 0.0001.")
                && finding.contains("does not contradict it")
                && finding.contains("36,889 client-days"),
            "{finding}"
        );
        assert_eq!(recommendation, None);
        let (_, recommendation) = conclude(1e-4, &Rate::new(1, 700));
        assert_eq!(recommendation, None, "one alarm in 700 client-days is no proof against the stated rate: {:?}", rate(1, 700.0));
    }

    #[test]
    fn more_alarms_than_chance_lead_to_a_look_at_the_callers_first() {
        let (finding, recommendation) = conclude(1e-4, &Rate::new(5, 700));
        assert!(finding.contains("more than chance"), "{finding}");
        assert!(recommendation.is_some_and(|words| words.contains("Look at the 5 callers")));
    }

    #[test]
    fn without_callers_there_is_no_rate_and_what_is_said_of_the_model_stands_for_it() {
        use crate::drill::log::tests::of;
        use crate::judge::Finding;
        let mut log = of(&[(0, "10.0.0.1", "a"), (9, "10.0.0.2", "b")]);
        log.take_callers_away();
        let mut baseline = Baseline { accepted: vec![true; 2], ..Baseline::default() };
        let calm = Calibration::of(&log, &baseline, 1e-4);
        assert_eq!((calm.callers, calm.measured.client_days, calm.by_group.len(), calm.recommendation), (0, 0, 0, None));
        assert!(
            calm.finding.contains("cannot be compared") && calm.finding.contains("never said to be probed"),
            "{}",
            calm.finding
        );
        assert_eq!(calm.by_hour.iter().map(|hour| hour.queries).sum::<u64>(), 2);
        baseline.model.push((log.time(1), Finding::DriftAndProbing));
        assert!(Calibration::of(&log, &baseline, 1e-4).finding.contains("probed from 2026-03-02 00:00 UTC on"));
    }

    #[test]
    fn fewer_alarms_than_stated_are_said_and_change_nothing() {
        let (finding, recommendation) = conclude(1e-2, &Rate::new(0, 700));
        assert!(finding.contains("calmer"), "{finding}");
        assert_eq!(recommendation, None);
    }
}
