//! What really happened: queries by ten minutes, who attacks and who is honest. Only the simulator knows it; the service does not.

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::event::EventTime;
use crate::simulate::Event;

/// Width of a bar of the traffic picture, in microseconds: ten minutes, so that 144 bars make a day.
pub const BUCKET_MICROS: i64 = 600_000_000;
/// Buckets kept: two days. The oldest go.
pub const MAX_BUCKETS: usize = 288;
/// Times kept of the attack's queries, to say how many came before the first verdict: more than any shipped attack sends, and
/// less than a megabyte.
const MAX_TIMES: usize = 100_000;

/// What the simulator did, in bounded memory but for the addresses, of which the simulated world has a bounded number.
#[derive(Debug, Default)]
pub struct Truth {
    /// Latest event time that was sent.
    pub clock: EventTime,
    /// Queries over time, oldest first.
    pub buckets: Vec<Bucket>,
    /// Addresses that have sent honest queries.
    pub honest: BTreeSet<IpAddr>,
    /// Addresses that have sent queries of the attack.
    pub attackers: BTreeSet<IpAddr>,
    /// Event time of the attack's latest query.
    pub attack_until: Option<EventTime>,
    /// Whether the simulated world has ended.
    pub finished: bool,
    /// Event times of the attack's queries, in order, up to [`MAX_TIMES`].
    attack_times: Vec<EventTime>,
    /// Event time at which the service first flagged an attacker's address.
    first_flag: Option<EventTime>,
}

/// Queries of ten minutes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Bucket {
    /// Event time at which it begins, in microseconds.
    pub at: i64,
    /// Honest queries.
    pub honest: u32,
    /// Queries of the attack.
    pub attack: u32,
}

// === impl Truth ===

impl Truth {
    /// Nothing has happened yet; the clock shows `start`.
    pub fn new(start: EventTime) -> Self {
        Self { clock: start, ..Self::default() }
    }

    /// An event was sent.
    pub fn sent(&mut self, event: &Event) {
        self.clock = self.clock.max(event.at);
        let at = event.at.micros().div_euclid(BUCKET_MICROS) * BUCKET_MICROS;
        if self.buckets.last().is_none_or(|last| last.at < at) {
            if self.buckets.len() == MAX_BUCKETS {
                self.buckets.remove(0);
            }
            self.buckets.push(Bucket { at, ..Bucket::default() });
        }
        let attack = event.mark.is_some();
        if let Some(bucket) = self.buckets.last_mut() {
            *(if attack { &mut bucket.attack } else { &mut bucket.honest }) += 1;
        }
        if !attack {
            self.honest.insert(event.address);
            return;
        }
        self.attackers.insert(event.address);
        self.attack_until = Some(event.at);
        if self.attack_times.len() < MAX_TIMES {
            self.attack_times.push(event.at);
        }
    }

    /// The service flagged an address.
    pub fn flagged(&mut self, address: IpAddr, at: EventTime) {
        if self.attackers.contains(&address) {
            self.first_flag = Some(self.first_flag.map_or(at, |first| first.min(at)));
        }
    }

    /// The attack's queries up to the one at which the service first flagged one of its addresses. Counted in event time, so
    /// queries that were under way when the verdict was reached do not count.
    pub fn queries_to_first(&self) -> Option<u64> {
        self.first_flag.map(|at| self.attack_times.partition_point(|time| *time <= at) as u64)
    }
}
