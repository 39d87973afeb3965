//! The last line against common causes: how many accusations of callers with a past are still believable?
//!
//! Honest callers are accused at the stated rate, `alarms_per_client_day`, at most. When more callers that were there *before* the
//! evidence began are accused within hours than that rate explains, their common cause is more likely than so many attackers who
//! waited. Further accusations of such callers are held back, and each of them is reported as suspicious instead. Newcomers are not
//! counted and not held back: an attacker's addresses come with the attack, however many they are.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::event::EventTime;

/// Seconds within which accusations are counted: a quarter of a day, as long as the model counts as probed.
const WITHIN_SECONDS: i64 = 6 * 3600;
/// Accusations that are always admitted. Chosen: an organisation's few stolen accounts are named; at the default rate a deployment of a
/// thousand callers sees a third one by chance once in 400,000 quarters of a day.
const ALWAYS: usize = 3;
/// Probability of more chance accusations than the limit, in a quarter of a day: once in 250 days.
const IMPROBABLE: f64 = 1e-3;
/// Seconds for which an accusation of such a caller by structure evidence waits for others. Chosen: two steps of the drift test. A release
/// reaches the callers that repeat their rows within that time, and somebody who has been there for hours can wait as long.
pub const WAIT_SECONDS: i64 = 1800;
/// Seconds before the evidence against a caller began from which on it is a caller with a past.
pub const PAST_SECONDS: i64 = 3600;
/// Accusations remembered: more than any limit that is reached in practice, so that a flood costs no memory.
const MOST: usize = 4096;

/// Accusations of callers with a past.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct AccusationLimit {
    /// Expected chance accusations of one caller within [`WITHIN_SECONDS`].
    rate: f64,
    /// When evidence first spoke against each caller with a past.
    recent: VecDeque<EventTime>,
    /// Callers held back so far.
    held: u64,
}

// === impl AccusationLimit ===

impl AccusationLimit {
    /// No accusations yet; the stated rate is `alarms_per_client_day`.
    pub fn new(alarms_per_client_day: f64) -> Self {
        Self { rate: alarms_per_client_day * WITHIN_SECONDS as f64 / 86_400.0, ..Self::default() }
    }

    /// Notes that evidence speaks against a caller with a past.
    pub fn note(&mut self, now: EventTime) {
        if self.recent.len() >= MOST {
            self.recent.pop_front();
        }
        self.recent.push_back(now);
    }

    /// Whether those that were noted within the last quarter of a day are few enough to be believed, among so many callers.
    pub fn admits(&mut self, now: EventTime, callers: usize) -> bool {
        let since = now.plus_seconds(-WITHIN_SECONDS);
        while self.recent.front().is_some_and(|&at| at < since) {
            self.recent.pop_front();
        }
        self.recent.len() <= limit(self.rate * callers as f64)
    }

    /// Counts a caller that is held back.
    pub fn hold(&mut self) {
        self.held += 1;
    }

    /// Callers held back so far.
    pub fn held(&self) -> u64 {
        self.held
    }
}

/// The least number of accusations, [`ALWAYS`] at least, that chance reaches with a probability below [`IMPROBABLE`] when `expected` are
/// expected (Poisson).
fn limit(expected: f64) -> usize {
    let (mut term, mut reached, mut number) = ((-expected).exp(), 1.0 - (-expected).exp(), 1);
    while (reached > IMPROBABLE || number < ALWAYS) && number < MOST {
        term *= expected / number as f64;
        reached -= term;
        number += 1;
    }
    number
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> EventTime {
        EventTime::from_micros(1_772_409_600_000_000).plus_seconds(seconds)
    }

    #[test]
    fn the_limit_is_the_poisson_quantile_and_three_at_least() {
        // Upper tails from SciPy: poisson.sf(k - 1, expected) <= 1e-3 first holds for these k.
        for (expected, least) in [(0.0, 3), (0.025, 3), (0.25, 4), (1.0, 6), (2.5, 10), (25.0, 43)] {
            assert_eq!(limit(expected), least, "{expected}");
        }
    }

    #[test]
    fn what_is_beyond_the_limit_is_not_admitted_until_it_is_quiet() {
        let mut accusations = AccusationLimit::new(1e-4);
        for second in 0..3 {
            accusations.note(at(second));
            assert!(accusations.admits(at(second), 1_000), "the {second}th");
        }
        accusations.note(at(3));
        assert!(!accusations.admits(at(3), 1_000) && !accusations.admits(at(3600), 1_000));
        assert!(accusations.admits(at(3 + 6 * 3600), 1_000), "quiet for six hours");
    }

    #[test]
    fn a_flood_is_remembered_within_a_bound() {
        let mut accusations = AccusationLimit::new(1e-4);
        (0..10_000).for_each(|_| accusations.note(at(0)));
        assert_eq!(accusations.recent.len(), MOST);
        assert!(!accusations.admits(at(0), 1_000));
    }
}
