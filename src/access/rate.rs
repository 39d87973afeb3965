//! How many requests a caller may send: a token bucket a caller (generic cell rate algorithm, ITU-T I.371), from the crate `governor`.

use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::{Clock as _, MonotonicClock};
use governor::middleware::NoOpMiddleware;
use governor::state::keyed::DashMapStateStore;
use governor::{Quota, RateLimiter};

/// Requests a second of somebody who is known. A person who clicks through pages makes a handful, a script that pages through all cases
/// some dozens.
const KNOWN: (u32, u32) = (50, 200);
/// Requests a second of an address, before anything is looked up for it. Many people may share one.
const ADDRESS: (u32, u32) = (200, 600);
/// Requests a second of an address before it is known who asks: the sign-in page with its style and script.
const UNKNOWN: (u32, u32) = (20, 100);
/// Callers after which the table is swept: an address in it takes about a hundred bytes.
const SWEEP: usize = 10_000;

type Limiter = RateLimiter<String, DashMapStateStore<String>, MonotonicClock, NoOpMiddleware<std::time::Instant>>;

/// The buckets of all callers.
#[derive(Debug)]
pub struct Rates {
    address: Limiter,
    known: Limiter,
    unknown: Limiter,
}

impl Default for Rates {
    fn default() -> Self {
        let limiter = |(rate, burst)| RateLimiter::dashmap_with_clock(quota(rate, burst), MonotonicClock);
        Self { address: limiter(ADDRESS), known: limiter(KNOWN), unknown: limiter(UNKNOWN) }
    }
}

fn quota(rate: u32, burst: u32) -> Quota {
    Quota::per_second(NonZeroU32::new(rate).unwrap_or(NonZeroU32::MIN))
        .allow_burst(NonZeroU32::new(burst).unwrap_or(NonZeroU32::MIN))
}

// === impl Rates ===

impl Rates {
    /// Counts a request of an address, whoever sends it; how long to wait if there were too many.
    pub fn address(&self, address: &str) -> Option<Duration> {
        check(&self.address, address)
    }

    /// Counts a request of somebody who is known; how long to wait if there were too many.
    pub fn known(&self, caller: &str) -> Option<Duration> {
        check(&self.known, caller)
    }

    /// Counts a request of an address that has not said who it is.
    pub fn unknown(&self, address: &str) -> Option<Duration> {
        check(&self.unknown, address)
    }
}

fn check(limiter: &Limiter, caller: &str) -> Option<Duration> {
    if limiter.len() > SWEEP {
        limiter.retain_recent();
    }
    limiter.check_key(&caller.to_owned()).err().map(|refused| refused.wait_time_from(MonotonicClock.now()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_beyond_its_burst_waits_and_another_does_not() {
        let rates = Rates::default();
        // The bucket fills while the test runs, so it takes at least its burst.
        let refused = (0..100_000).find_map(|nth| rates.unknown("192.0.2.1").map(|wait| (nth, wait)));
        let (nth, wait) = refused.unwrap();
        assert!(nth >= UNKNOWN.1 && wait <= Duration::from_secs(1), "{nth} {wait:?}");
        assert_eq!(rates.unknown("192.0.2.2"), None);
        assert_eq!(rates.known("192.0.2.1"), None, "who is known has a bucket of its own");
    }
}
