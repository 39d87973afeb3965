//! How much each caller asked over the whole log, and when last: a verdict says it up to the moment of the verdict alone.

use rustc_hash::FxHashMap;

use crate::event::{Address, EventTime, Query};
use crate::judge::caller::Caller;
use crate::judge::client::{Key, account_hash};

/// Callers counted for each model. Chosen: at 56 bytes each they stay below 100 MB; the queries of further ones are not counted
/// by caller.
const MAX_CALLERS: usize = 1_000_000;
/// Seconds before the end of the log within which a caller must have asked to be called active still.
const STILL_ACTIVE_SECONDS: f64 = 3_600.0;

/// What one caller asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Seen {
    /// Queries, late ones included.
    pub queries: u64,
    /// Its first query.
    pub first: EventTime,
    /// Its last query.
    pub last: EventTime,
}

/// Queries by address and account.
#[derive(Clone, Debug, Default)]
pub struct Activity {
    callers: FxHashMap<Key, Seen>,
    end: Option<EventTime>,
}

// === impl Seen ===

impl Seen {
    fn and(self, other: Self) -> Self {
        Self { queries: self.queries + other.queries, first: self.first.min(other.first), last: self.last.max(other.last) }
    }
}

// === impl Activity ===

impl Activity {
    /// Counts a query.
    pub fn take(&mut self, query: &Query) {
        self.end = self.end.max(Some(query.time));
        let now = Seen { queries: 1, first: query.time, last: query.time };
        let full = self.callers.len() >= MAX_CALLERS;
        let key = Key::of(query.address, &query.account);
        match self.callers.get_mut(&key) {
            Some(seen) => *seen = seen.and(now),
            None if full => {}
            None => {
                self.callers.insert(key, now);
            }
        }
    }

    /// What a caller asked; `None` if it was not counted.
    pub fn of(&self, caller: &Caller) -> Option<Seen> {
        let address = caller.source_ip.as_deref().and_then(Address::parse);
        let prefix = caller.source_prefix.as_deref().and_then(|text| Address::parse(text.split('/').next().unwrap_or(text)));
        if let (Some(address), Some(account)) = (address, &caller.client_id) {
            return self.callers.get(&Key::of(address, account)).copied();
        }
        let account = caller.client_id.as_deref().map(account_hash);
        self.sum(|of| match (address, account, prefix) {
            (Some(address), _, _) => of.address == address,
            (None, Some(account), _) => of.account == account,
            (None, None, Some(prefix)) => of.address.prefix().map(Address::Ip) == Some(prefix),
            (None, None, None) => false,
        })
    }

    /// What the addresses of a campaign asked together.
    pub fn of_members(&self, members: &[String]) -> Option<Seen> {
        let addresses: rustc_hash::FxHashSet<Address> = members.iter().filter_map(|member| Address::parse(member)).collect();
        self.sum(|of| of.address != Address::Unknown && addresses.contains(&of.address))
    }

    fn sum(&self, is_meant: impl Fn(&Key) -> bool) -> Option<Seen> {
        let meant = self.callers.iter().filter(|(key, _)| is_meant(key));
        meant.map(|(_, seen)| *seen).reduce(Seen::and)
    }

    /// Whether a caller asked within the last hour of the log.
    pub fn is_active(&self, seen: &Seen) -> bool {
        self.end.is_some_and(|end| end.seconds_since(seen.last) < STILL_ACTIVE_SECONDS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(second: i64, address: &str, account: &str) -> Query {
        let time = EventTime::default().plus_seconds(second);
        Query { time, address: Address::parse(address).unwrap(), account: account.into(), ..Query::default() }
    }

    #[test]
    fn queries_are_summed_as_a_verdict_names_the_caller() {
        let mut activity = Activity::default();
        for (second, address, account) in
            [(5, "203.0.113.7", "a"), (1, "203.0.113.7", "b"), (90, "203.0.113.8", "a"), (9_000, "198.51.100.1", "")]
        {
            activity.take(&query(second, address, account));
        }
        let caller = |ip: Option<&str>, id: Option<&str>, prefix: Option<&str>| {
            let own = |text: Option<&str>| text.map(str::to_owned);
            activity.of(&Caller { source_ip: own(ip), client_id: own(id), source_prefix: own(prefix) })
        };
        let seen = |queries, first, last| {
            let at = |second| EventTime::default().plus_seconds(second);
            Some(Seen { queries, first: at(first), last: at(last) })
        };
        assert_eq!(caller(Some("203.0.113.7"), None, None), seen(2, 1, 5));
        assert_eq!(caller(Some("203.0.113.7"), Some("a"), None), seen(1, 5, 5));
        assert_eq!(caller(None, Some("a"), None), seen(2, 5, 90));
        assert_eq!(caller(None, None, Some("203.0.113.0/24")), seen(3, 1, 90));
        assert_eq!(caller(Some("192.0.2.1"), None, None), None);
        assert_eq!(activity.of_members(&["203.0.113.8".into(), "198.51.100.1".into(), "x".into()]), seen(2, 90, 9_000));
        assert!(activity.is_active(&seen(1, 0, 5_401).unwrap()) && !activity.is_active(&seen(1, 0, 5_400).unwrap()));
    }
}
