//! The callers of a model: ordinary clients with a day rhythm, and the honest ones that look like attackers.
//!
//! Volumes are heavy-tailed (log-normal: most clients ask 1 to 50 times a day, a few thousands), people come in sessions during
//! the day of their time zone, machines in regular intervals. Every caller is lazy and has its own generator, so that the stream
//! of one does not depend on the others and memory does not depend on the length of the simulation.
//!
//! The look-alikes (nightly batch, NAT, health check, retries, A/B replay, load test, what-if users, mobile clients) are the
//! ones that a detector must never flag.

mod lookalike;
mod machines;
mod people;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::chance::{exponential, normal};
use super::rows::Subpopulation;
use super::truth::Truth;
use super::{Mark, SimulationSettings, World};
use crate::event::{Cell, EventTime};
use crate::hash::mix2;

/// The row that a caller sends.
#[derive(Clone, PartialEq, Debug)]
pub enum CallerRow {
    /// A row of its own.
    Drawn(Vec<Cell>),
    /// A row that somebody else sent a little earlier.
    Replay,
}

/// One query of a caller, before drifts and answer.
#[derive(Clone, PartialEq, Debug)]
pub struct CallerQuery {
    /// When.
    pub at: EventTime,
    /// From where.
    pub address: IpAddr,
    /// As whom.
    pub account: Option<Arc<str>>,
    /// The row.
    pub row: CallerRow,
    /// When the row was drawn; drifts follow this, so that a retry repeats its row exactly.
    pub drawn_at: EventTime,
    /// Which draw the row comes from; edits of one row share it, and the chances of a drift follow it.
    pub draw: u64,
    /// Campaign.
    pub mark: Option<Mark>,
}

/// A stream of queries whose times never go back.
pub trait Caller: Send {
    /// The next query, or `None` when the caller has gone for good.
    fn next(&mut self, world: &World) -> Option<CallerQuery>;
}

/// Which look-alikes are about, how many of each for every 400 clients.
#[derive(Clone, PartialEq, Debug)]
pub struct Mix {
    /// Nightly batch scoring from one address.
    pub batch: usize,
    /// NATs with hundreds of users.
    pub nat: usize,
    /// Health checks that send one row for ever.
    pub health: usize,
    /// Clients that retry.
    pub retries: usize,
    /// People who move a slider.
    pub whatif: usize,
    /// Replays of recent traffic to another version.
    pub abreplay: usize,
    /// Load tests with real rows.
    pub loadtest: usize,
    /// Mobile clients whose coordinates jitter (models with coordinates alone).
    pub mobile: usize,
}

impl Default for Mix {
    fn default() -> Self {
        Self { batch: 1, nat: 1, health: 1, retries: 4, whatif: 6, abreplay: 1, loadtest: 1, mobile: 10 }
    }
}

impl Mix {
    /// No look-alikes at all.
    pub fn none() -> Self {
        Self { batch: 0, nat: 0, health: 0, retries: 0, whatif: 0, abreplay: 0, loadtest: 0, mobile: 0 }
    }
}

/// Whom a caller appears as.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Addresses; ordinary clients have one, some roam between a few.
    pub addresses: Vec<IpAddr>,
    /// Account, if the service has one for it.
    pub account: Option<Arc<str>>,
}

// === impl Identity ===

impl Identity {
    /// An ordinary client: one address (a tenth roam between two or three), an account in about half of the cases.
    pub fn ordinary(rng: &mut ChaCha8Rng) -> Self {
        let n = if rng.random::<f64>() < 0.1 { rng.random_range(2..=3) } else { 1 };
        Self {
            addresses: (0..n).map(|_| public_address(rng)).collect(),
            account: (rng.random::<f64>() < 0.55).then(|| account(rng)),
        }
    }
}

/// An address that belongs to nobody: shared address space (RFC 6598) and the benchmarking range (RFC 2544) stand for the
/// public internet, documentation IPv6 (RFC 3849) for its newer part, so that no simulation ever names a real host.
pub fn public_address(rng: &mut ChaCha8Rng) -> IpAddr {
    // Honest IPv4 addresses are even and attackers' odd, so that an attacker never draws an honest caller's address by chance.
    let bits: u32 = rng.random::<u32>() & !1;
    match rng.random_range(0..20) {
        0 => IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, (bits >> 16) as u16, bits as u16, rng.random(), 0, 0, rng.random())),
        1..=3 => IpAddr::V4(Ipv4Addr::from_bits(0xC612_0000 | (bits & 0x1_FFFF))),
        _ => IpAddr::V4(Ipv4Addr::from_bits(0x6440_0000 | (bits & 0x3F_FFFF))),
    }
}

/// An address of the service's own network, in the given third octet.
pub fn inner_address(rng: &mut ChaCha8Rng, net: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, 0, net, rng.random_range(2..250)))
}

/// A new account name.
pub fn account(rng: &mut ChaCha8Rng) -> Arc<str> {
    format!("acct-{:06}", rng.random_range(1..1_000_000)).into()
}

/// Time zones of the callers, in hours from UTC: mostly one continent, some of the rest.
const ZONES: [i64; 10] = [0, 0, 1, 1, 1, 2, -5, -5, -8, 8];

/// How busy an hour of local time is, relative to the busiest; office hours with a smaller evening.
pub fn busy(at: EventTime, zone: i64) -> f64 {
    const DAY: [f64; 24] = [
        0.06, 0.04, 0.03, 0.03, 0.04, 0.08, 0.2, 0.45, 0.75, 0.95, 1.0, 0.95, 0.8, 0.9, 0.95, 0.9, 0.85, 0.75, 0.6, 0.5, 0.45,
        0.35, 0.2, 0.1,
    ];
    let local = at.plus_seconds(zone * 3600);
    // 1970-01-01 was a Thursday.
    let weekend = (local.micros().div_euclid(86_400_000_000) + 4).rem_euclid(7) % 6 == 0;
    DAY[usize::from(local.hour_of_day()) % 24] * if weekend { 0.4 } else { 1.0 }
}

/// Chance that an ordinary client repeats a query, such as after a timeout: one in 500. Chosen.
const RARE_RETRY: f64 = 0.002;

/// Mean of [`busy`] over a week, which turns a daily volume into a peak rate.
const MEAN_BUSY: f64 = 0.45;

/// An ordinary client: sessions in the daytime, a few queries each.
#[derive(Debug)]
struct Person {
    rng: ChaCha8Rng,
    id: u64,
    identity: Identity,
    place: Subpopulation,
    zone: i64,
    /// Sessions per second at the busiest hour.
    peak: f64,
    session: f64,
    per_day: f64,
    pace: f64,
    now: EventTime,
    left: usize,
    here: usize,
    draws: u64,
    retries: Option<(CallerQuery, usize)>,
    retry: f64,
}

// === impl Person ===

impl Person {
    fn new(seed: u64, id: u64, world: &World, heterogeneity: f64, median: f64, retry: f64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(mix2(seed, id));
        // Sigma 1.3: the busiest of a thousand clients asks about 60 times as often as the median.
        let per_day = (median * (1.3 * normal(&mut rng)).exp()).clamp(0.7, 4000.0);
        let session = (1.5 + 0.6 * per_day.sqrt()) * rng.random_range(0.6..1.4);
        Self {
            identity: Identity::ordinary(&mut rng),
            place: Subpopulation::random(&mut rng, &world.rows, heterogeneity, per_day),
            zone: ZONES[rng.random_range(0..ZONES.len())],
            peak: per_day / session / 86_400.0 / MEAN_BUSY,
            session,
            per_day,
            pace: 12.0 * (0.7 * normal(&mut rng)).exp(),
            now: world.start,
            left: 0,
            here: 0,
            draws: 0,
            retries: None,
            retry,
            id,
            rng,
        }
    }
}

impl Person {
    /// Chance per query of something that happens so often a day, at most one in eight.
    fn sessions_per_query(&self, per_day: f64) -> f64 {
        (per_day / self.per_day).min(0.125)
    }
}

impl Caller for Person {
    fn next(&mut self, world: &World) -> Option<CallerQuery> {
        if let Some((mut step, left)) = self.retries.take() {
            let at = after(step.at.max(self.now), 1.0 + 2.0 * exponential(&mut self.rng));
            step.at = at;
            self.now = self.now.max(at);
            if left > 1 {
                self.retries = Some((step.clone(), left - 1));
            }
            return Some(step);
        }
        if self.left == 0 {
            self.now = next_busy(&mut self.rng, self.now, world.end, self.peak, self.zone)?;
            self.left = 1 + (self.session * exponential(&mut self.rng)) as usize;
            self.here = self.rng.random_range(0..self.identity.addresses.len());
        } else {
            self.now = after(self.now, self.pace * (1.1 * normal(&mut self.rng)).exp().max(0.02));
        }
        self.left -= 1;
        self.draws += 1;
        let step = CallerQuery {
            at: self.now,
            address: self.identity.addresses[self.here],
            account: self.identity.account.clone(),
            row: CallerRow::Drawn(world.draw(&mut self.rng, &mut self.place, self.now)),
            drawn_at: self.now,
            draw: mix2(self.id, self.draws),
            mark: None,
        };
        if self.rng.random::<f64>() < self.retry {
            self.retries = Some((step.clone(), self.rng.random_range(1..=3)));
        }
        Some(step)
    }
}

/// `at` moved by seconds, at least a millisecond, which is the precision of the log.
pub fn after(at: EventTime, seconds: f64) -> EventTime {
    let micros = at.micros() + (seconds * 1e6) as i64;
    EventTime::from_micros((micros.max(at.micros() + 1000)) / 1000 * 1000)
}

/// The next arrival of a process whose rate follows the day: thinning (Lewis and Shedler 1979).
pub fn next_busy(rng: &mut ChaCha8Rng, mut now: EventTime, end: EventTime, peak: f64, zone: i64) -> Option<EventTime> {
    loop {
        now = after(now, (exponential(rng) / peak).min(1e7));
        if now >= end {
            return None;
        }
        if rng.random::<f64>() < busy(now, zone) {
            return Some(now);
        }
    }
}

/// Sets out all honest callers and notes the look-alikes in the truth.
pub fn populate(settings: &SimulationSettings, world: &World, truth: &mut Truth) -> Vec<Box<dyn Caller>> {
    let mut callers: Vec<Box<dyn Caller>> = Vec::with_capacity(settings.clients + 16);
    for id in 0..settings.clients {
        callers.push(Box::new(Person::new(settings.seed, id as u64, world, settings.heterogeneity, settings.volume, RARE_RETRY)));
    }
    lookalike::populate(settings, world, truth, &mut callers);
    callers
}
