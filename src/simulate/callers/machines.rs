//! Machines that look like attackers: a nightly batch, a load test, a health check, a comparison of two versions.

use std::net::IpAddr;
use std::sync::Arc;

use rand_chacha::ChaCha8Rng;

use super::{Caller, CallerQuery, CallerRow, after, next_busy};
use crate::event::{Cell, EventTime};
use crate::hash::mix2;
use crate::simulate::World;
use crate::simulate::chance::normal;
use crate::simulate::rows::Subpopulation;

/// Many real rows in one go: a nightly batch (every day) or a load test (once).
pub struct Burst {
    id: u64,
    rng: ChaCha8Rng,
    address: IpAddr,
    account: Option<Arc<str>>,
    place: Subpopulation,
    next_start: EventTime,
    daily: bool,
    size: usize,
    left: usize,
    gap: f64,
    now: EventTime,
    draws: u64,
}

impl Burst {
    pub fn nightly(id: u64, rng: ChaCha8Rng, address: IpAddr, world: &World, hour: f64, size: usize, gap: f64) -> Self {
        let mut burst = Self::once(id, rng, address, world, hour, size, gap);
        burst.daily = true;
        burst.account = Some("svc-batch".into());
        burst
    }

    pub fn once(id: u64, rng: ChaCha8Rng, address: IpAddr, world: &World, hour: f64, size: usize, gap: f64) -> Self {
        let next_start = after(world.start, hour * 3600.0);
        let place = Subpopulation::everywhere();
        Self { id, rng, address, account: None, place, next_start, daily: false, size, left: 0, gap, now: world.start, draws: 0 }
    }
}

impl Caller for Burst {
    fn next(&mut self, world: &World) -> Option<CallerQuery> {
        if self.left == 0 {
            if self.size == 0 || self.next_start >= world.end {
                return None;
            }
            self.now = self.now.max(self.next_start);
            self.left = self.size;
            if self.daily {
                self.next_start = self.next_start.plus_seconds(86_400);
            } else {
                self.size = 0;
            }
        }
        self.left -= 1;
        self.draws += 1;
        // A job sends as fast as the answers come: regular gaps with some network noise.
        self.now = after(self.now, self.gap * (0.25 * normal(&mut self.rng)).exp());
        Some(CallerQuery {
            at: self.now,
            address: self.address,
            account: self.account.clone(),
            row: CallerRow::Drawn(world.draw(&mut self.rng, &mut self.place, self.now)),
            drawn_at: self.now,
            draw: mix2(self.id, self.draws),
            mark: None,
        })
    }
}

/// One row for ever.
pub struct Health {
    pub id: u64,
    pub rng: ChaCha8Rng,
    pub address: IpAddr,
    pub row: Vec<Cell>,
    pub period: f64,
    pub now: EventTime,
}

impl Caller for Health {
    fn next(&mut self, world: &World) -> Option<CallerQuery> {
        self.now = after(self.now, self.period * (0.01 * normal(&mut self.rng)).exp());
        // A probe's row is written in its configuration: no drift reaches it, which the first instant says.
        let drawn_at = world.start;
        let row = CallerRow::Drawn(self.row.clone());
        Some(CallerQuery { at: self.now, address: self.address, account: None, row, drawn_at, draw: self.id, mark: None })
    }
}

/// Sends again what others sent, as a comparison of two versions does.
pub struct Replayer {
    pub id: u64,
    pub rng: ChaCha8Rng,
    pub address: IpAddr,
    pub now: EventTime,
    pub peak: f64,
}

impl Caller for Replayer {
    fn next(&mut self, world: &World) -> Option<CallerQuery> {
        self.now = next_busy(&mut self.rng, self.now, world.end, self.peak, 1)?;
        let account = Some("svc-abtest".into());
        Some(CallerQuery {
            at: self.now,
            address: self.address,
            account,
            row: CallerRow::Replay,
            drawn_at: self.now,
            draw: self.id,
            mark: None,
        })
    }
}
