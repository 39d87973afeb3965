//! How many wrong passwords are allowed, and when. Pure: the time is an argument.
//!
//! Guessing is slowed at three places, each with its own count of failures in a row:
//!
//! * **a name from an address**: five, then a minute, doubled with each further failure up to an hour. This is the person who mistypes, and
//!   the attacker at one machine.
//! * **an address**, whatever the name: twenty. This is the attacker who tries one password with many names.
//! * **a name**, from wherever: fifty, then five minutes. This is the attacker with many addresses. It can keep a person from signing in for
//!   minutes at a time; sessions that are open, keys and tokens are not affected.
//!
//! The counts end with a success, or with an hour without a failure. Memory is bounded: when the table is full, the count that was touched
//! longest ago makes room. A stranger can fill it only by failing ten thousand times, and the limits by address and by name hold meanwhile
//! for whoever is counted last.

use std::collections::{BTreeSet, HashMap};

use crate::event::EventTime;

/// Counts kept.
const MAX_COUNTS: usize = 10_000;
/// Seconds without a failure after which a count is forgotten: as long as the longest lock.
const FORGET: f64 = 3_600.0;
/// Longest lock in seconds.
const LONGEST: i64 = 3_600;

/// What failures are counted under.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
enum Key {
    Pair(String, String),
    Address(String),
    Name(String),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Count {
    failures: u32,
    last: EventTime,
    locked_until: EventTime,
}

/// Failures in a row, by name and address.
#[derive(Debug, Default)]
pub struct Lockout {
    counts: HashMap<Key, Count>,
    /// By the time of the last failure.
    order: BTreeSet<(EventTime, Key)>,
}

// === impl Key ===

impl Key {
    fn all(name: &str, address: &str) -> [Self; 3] {
        let (name, address) = (name.to_lowercase(), address.to_owned());
        [Self::Pair(name.clone(), address.clone()), Self::Address(address), Self::Name(name)]
    }

    /// Failures that are allowed, and the seconds of the first lock.
    const fn limits(&self) -> (u32, i64) {
        match self {
            Self::Pair(..) => (5, 60),
            Self::Address(_) => (20, 60),
            Self::Name(_) => (50, 300),
        }
    }
}

// === impl Lockout ===

impl Lockout {
    /// Seconds until the name may try again from the address; none if it may now.
    pub fn wait(&self, name: &str, address: &str, now: EventTime) -> Option<i64> {
        let until = Key::all(name, address).iter().filter_map(|key| self.counts.get(key)).map(|count| count.locked_until).max()?;
        #[expect(clippy::cast_possible_truncation, reason = "at most an hour")]
        (until > now).then(|| until.seconds_since(now).ceil() as i64)
    }

    /// Notes a wrong password.
    pub fn failed(&mut self, name: &str, address: &str, now: EventTime) {
        for key in Key::all(name, address) {
            let mut count = self.counts.get(&key).copied().unwrap_or_default();
            self.order.remove(&(count.last, key.clone()));
            if now.seconds_since(count.last) > FORGET {
                count = Count::default();
            }
            count.failures = count.failures.saturating_add(1);
            count.last = now;
            let (allowed, first) = key.limits();
            if let Some(beyond) = count.failures.checked_sub(allowed) {
                let seconds = first.saturating_mul(1 << beyond.min(10)).min(LONGEST);
                // A lock on a name must not be made long by strangers.
                let seconds = if matches!(key, Key::Name(_)) { first } else { seconds };
                count.locked_until = now.plus_seconds(seconds);
            }
            self.order.insert((now, key.clone()));
            self.counts.insert(key, count);
        }
        while self.counts.len() > MAX_COUNTS {
            let Some((_, oldest)) = self.order.pop_first() else { return };
            self.counts.remove(&oldest);
        }
    }

    /// Notes a success: the failures of the name from this address are forgiven. Those of the address are not, or an attacker with one
    /// account of its own could go on for ever; nor are those of the name from elsewhere.
    pub fn succeeded(&mut self, name: &str, address: &str) {
        let [pair, ..] = Key::all(name, address);
        if let Some(count) = self.counts.remove(&pair) {
            self.order.remove(&(count.last, pair));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> EventTime {
        EventTime::from_micros(1_772_409_600_000_000).plus_seconds(seconds)
    }

    fn fail(lockout: &mut Lockout, times: i64, name: &str, address: &str) {
        (0..times).for_each(|_| lockout.failed(name, address, at(0)));
    }

    #[test]
    fn five_failures_lock_for_a_minute_and_more_for_longer() {
        let mut lockout = Lockout::default();
        fail(&mut lockout, 4, "ada", "192.0.2.1");
        assert_eq!(lockout.wait("ada", "192.0.2.1", at(0)), None);
        fail(&mut lockout, 1, "ADA", "192.0.2.1");
        assert_eq!(lockout.wait("ada", "192.0.2.1", at(0)), Some(60));
        assert_eq!(lockout.wait("ada", "192.0.2.1", at(60)), None);
        assert_eq!(lockout.wait("ada", "192.0.2.2", at(0)), None, "another address is not locked");
        fail(&mut lockout, 2, "ada", "192.0.2.1");
        assert_eq!(lockout.wait("ada", "192.0.2.1", at(0)), Some(240));
        fail(&mut lockout, 40, "ada", "192.0.2.1");
        assert_eq!(lockout.wait("ada", "192.0.2.1", at(0)), Some(3_600), "an hour at most");
    }

    #[test]
    fn one_password_for_many_names_locks_the_address() {
        let mut lockout = Lockout::default();
        for name in 0..20 {
            fail(&mut lockout, 1, &format!("name{name}"), "192.0.2.1");
        }
        assert!(lockout.wait("somebody else", "192.0.2.1", at(0)).is_some());
        lockout.succeeded("name1", "192.0.2.1");
        assert!(lockout.wait("somebody else", "192.0.2.1", at(0)).is_some(), "an account of its own does not help");
    }

    #[test]
    fn many_addresses_lock_the_name_for_minutes_and_no_longer() {
        let mut lockout = Lockout::default();
        for address in 0..200 {
            fail(&mut lockout, 1, "ada", &format!("192.0.2.{address}"));
        }
        assert_eq!(lockout.wait("ada", "198.51.100.1", at(0)), Some(300));
        assert_eq!(lockout.wait("bob", "198.51.100.1", at(0)), None);
    }

    #[test]
    fn a_success_and_an_hour_both_forgive() {
        let mut lockout = Lockout::default();
        fail(&mut lockout, 4, "ada", "192.0.2.1");
        lockout.succeeded("ada", "192.0.2.1");
        fail(&mut lockout, 4, "ada", "192.0.2.1");
        assert_eq!(lockout.wait("ada", "192.0.2.1", at(0)), None);
        lockout.failed("ada", "192.0.2.1", at(4_000));
        assert_eq!(lockout.wait("ada", "192.0.2.1", at(4_000)), None, "the count began anew");
    }

    #[test]
    fn its_memory_is_bounded() {
        let mut lockout = Lockout::default();
        for nth in 0..6_000 {
            lockout.failed(&format!("n{nth}"), &format!("a{nth}"), at(nth));
        }
        assert_eq!((lockout.counts.len(), lockout.order.len()), (MAX_COUNTS, MAX_COUNTS));
    }
}
