//! Honest callers that look like attackers: each is a shape of traffic that real services have and a naive detector flags.

use std::net::IpAddr;
use std::sync::Arc;

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::{Caller, CallerQuery, CallerRow, Person, after, inner_address, next_busy, public_address};
use crate::event::{Cell, EventTime};
use crate::hash::mix2;
use crate::reference::Kind;
use crate::simulate::chance::{exponential, normal};
use crate::simulate::rows::{Rows, Subpopulation};
use crate::simulate::truth::Truth;
use crate::simulate::{SimulationSettings, World};

/// Clients for which the numbers of [`super::Mix`] are meant.
const PER_CLIENTS: usize = 400;
/// Decimals from which a number counts as a coordinate: a tenth of a metre on the ground.
const COORDINATE_DECIMALS: u8 = 5;

/// How often a day somebody plays with a case.
const PLAYS_PER_DAY: f64 = 2.5;

/// Sets out the look-alikes.
pub fn populate(settings: &SimulationSettings, world: &World, truth: &mut Truth, callers: &mut Vec<Box<dyn Caller>>) {
    let mut rng = ChaCha8Rng::seed_from_u64(mix2(settings.seed, 0x100c));
    let mix = &settings.mix;
    // Few clients still have their health check: round up.
    let scaled = |n: usize| (n * settings.clients).div_ceil(PER_CLIENTS);
    let mut id = 1 << 40;
    let mut fresh = |rng: &mut ChaCha8Rng| {
        id += 1;
        (id, ChaCha8Rng::seed_from_u64(mix2(settings.seed ^ rng.random::<u64>(), id)))
    };
    for _ in 0..scaled(mix.batch) {
        let (id, own) = fresh(&mut rng);
        let address = public_address(&mut rng);
        truth.look_alike(address, "batch");
        let (hour, size, gap) = (rng.random_range(0.5..4.5), rng.random_range(1500..4000), rng.random_range(0.15..0.6));
        callers.push(Box::new(Burst::nightly(id, own, address, world, hour, size, gap)));
    }
    for _ in 0..scaled(mix.loadtest) {
        let (id, own) = fresh(&mut rng);
        let address = inner_address(&mut rng, 2);
        truth.look_alike(address, "loadtest");
        let span = settings.hours.min(24.0);
        let (hour, size) = (rng.random_range(0.35 * span..0.75 * span), rng.random_range(1200..3000));
        callers.push(Box::new(Burst::once(id, own, address, world, hour, size, 0.05)));
    }
    for _ in 0..scaled(mix.nat) {
        let address = public_address(&mut rng);
        truth.look_alike(address, "nat");
        truth.nat(address);
        for _ in 0..rng.random_range(150..350) {
            let (id, _) = fresh(&mut rng);
            let mut user = Person::new(settings.seed, id, world, settings.heterogeneity, settings.volume / 3.0, 0.002);
            user.who.addresses = vec![address];
            callers.push(Box::new(user));
        }
    }
    for _ in 0..scaled(mix.retries) {
        let (id, _) = fresh(&mut rng);
        let user = Person::new(settings.seed, id, world, settings.heterogeneity, settings.volume * 3.0, 0.35);
        for address in &user.who.addresses {
            truth.look_alike(*address, "retries");
        }
        callers.push(Box::new(user));
    }
    for _ in 0..scaled(mix.health) {
        let (id, mut own) = fresh(&mut rng);
        let address = inner_address(&mut rng, 0);
        truth.look_alike(address, "health");
        let row = world.rows.sample[own.random_range(0..world.rows.len())].clone();
        callers.push(Box::new(Health {
            id,
            address,
            row,
            period: [15.0, 30.0, 60.0][own.random_range(0..3)],
            now: world.start,
            rng: own,
        }));
    }
    for _ in 0..scaled(mix.abreplay) {
        let (id, own) = fresh(&mut rng);
        let address = inner_address(&mut rng, 1);
        truth.look_alike(address, "abreplay");
        callers.push(Box::new(Replayer {
            id,
            address,
            now: world.start,
            rng: own,
            peak: settings.clients as f64 * settings.volume / 8.0 / 86_400.0,
        }));
    }
    for _ in 0..scaled(mix.whatif) {
        let (id, own) = fresh(&mut rng);
        let user = Person::new(settings.seed, id, world, settings.heterogeneity, settings.volume * 0.6, 0.002);
        for address in &user.who.addresses {
            truth.look_alike(*address, "whatif");
        }
        let slider = [Slider::Free, Slider::Notches, Slider::Pixels][(id % 3) as usize];
        callers.push(Box::new(WhatIf { user, rng: own, slider, edits: None }));
    }
    let coordinates: Vec<usize> =
        (0..world.rows.features.len()).filter(|&j| world.rows.features[j].decimals >= COORDINATE_DECIMALS).collect();
    if !coordinates.is_empty() {
        for _ in 0..scaled(mix.mobile) {
            let (id, own) = fresh(&mut rng);
            let user = Person::new(settings.seed, id, world, settings.heterogeneity, settings.volume, 0.0);
            for address in &user.who.addresses {
                truth.look_alike(*address, "mobile");
            }
            callers.push(Box::new(Mobile { user, rng: own, coordinates: coordinates.clone(), again: None }));
        }
    }
}

/// Many real rows in one go: a nightly batch (every day) or a load test (once).
struct Burst {
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
    fn nightly(id: u64, rng: ChaCha8Rng, address: IpAddr, world: &World, hour: f64, size: usize, gap: f64) -> Self {
        let mut burst = Self::once(id, rng, address, world, hour, size, gap);
        burst.daily = true;
        burst.account = Some("svc-batch".into());
        burst
    }

    fn once(id: u64, rng: ChaCha8Rng, address: IpAddr, world: &World, hour: f64, size: usize, gap: f64) -> Self {
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
struct Health {
    id: u64,
    rng: ChaCha8Rng,
    address: IpAddr,
    row: Vec<Cell>,
    period: f64,
    now: EventTime,
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
struct Replayer {
    id: u64,
    rng: ChaCha8Rng,
    address: IpAddr,
    now: EventTime,
    peak: f64,
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

/// A person in front of a what-if page: asks normally, then moves one slider 20 to 40 times, or edits one to three fields.
struct WhatIf {
    user: Person,
    rng: ChaCha8Rng,
    slider: Slider,
    edits: Option<(CallerQuery, Vec<usize>, usize)>,
}

/// How a page's sliders move.
#[derive(Clone, Copy)]
enum Slider {
    /// To and fro, anywhere near.
    Free,
    /// From one end to the other in round notches.
    Notches,
    /// To and fro by a few pixels of three hundred.
    Pixels,
}

impl WhatIf {
    fn edit(&mut self, world: &World, mut step: CallerQuery, fields: &[usize]) -> CallerQuery {
        step.at = after(step.at, 0.6 + 1.6 * exponential(&mut self.rng));
        if let CallerRow::Drawn(row) = &mut step.row {
            // One field at a time, now and then two.
            for _ in 0..1 + usize::from(fields.len() > 1 && self.rng.random::<f64>() < 0.25) {
                let j = fields[self.rng.random_range(0..fields.len())];
                let one = fields.len() == 1 && world.rows.features[j].kind == Kind::Continuous && row[j].value().is_finite();
                row[j] = match self.slider {
                    Slider::Notches if one => notch(&world.rows, j, row[j]),
                    Slider::Pixels if one => pixels(&mut self.rng, &world.rows, j, row[j]),
                    _ => moved(&mut self.rng, &world.rows, j, row[j]),
                };
            }
        }
        step
    }
}

/// The next round notch of a slider, of about thirty; after the last one the first.
fn notch(rows: &Rows, j: usize, cell: Cell) -> Cell {
    let feature = &rows.features[j];
    let about = ((feature.max - feature.min) / 30.0).max(f64::MIN_POSITIVE);
    let unit = 10_f64.powf(about.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|n| n * unit).find(|&step| step >= about).unwrap_or(about);
    let next = ((cell.value() / step).floor() + 1.0) * step;
    Cell::number(if next > feature.max { (feature.min / step).ceil() * step } else { (next * 1e9).round() / 1e9 })
}

/// A few pixels of a slider of three hundred, in the digits that the page keeps.
fn pixels(rng: &mut ChaCha8Rng, rows: &Rows, j: usize, cell: Cell) -> Cell {
    let feature = &rows.features[j];
    let pixel = (feature.max - feature.min) / 300.0;
    let at = ((cell.value() - feature.min) / pixel).round() + (4.0 * normal(rng)).round();
    rows.snap(j, feature.min + at.clamp(0.0, 300.0) * pixel)
}

/// Where a hand moves a slider or a list: near the present value, within what the page allows.
fn moved(rng: &mut ChaCha8Rng, rows: &Rows, j: usize, cell: Cell) -> Cell {
    let feature = &rows.features[j];
    match feature.kind {
        // People try what they know: mostly common values, sometimes anything on the list.
        Kind::Categorical if rng.random::<f64>() < 0.75 => rows.sample[rng.random_range(0..rows.len())][j],
        Kind::Categorical => Cell::category(rng.random_range(0..feature.values.len().max(1))),
        Kind::Boolean => Cell::number(if cell.value() > 0.5 { 0.0 } else { 1.0 }),
        Kind::Discrete => Cell::number(feature.support[rng.random_range(0..feature.support.len())]),
        Kind::Continuous => {
            let step = 0.3 * rows.spread(j) * normal(rng);
            let from = if cell.value().is_finite() { cell.value() } else { rows.quantile(j, 0.5) };
            rows.snap(j, (from + step).clamp(feature.p01, feature.p99.max(feature.p01)))
        }
    }
}

impl Caller for WhatIf {
    fn next(&mut self, world: &World) -> Option<CallerQuery> {
        if let Some((step, fields, left)) = self.edits.take() {
            let step = self.edit(world, step, &fields);
            self.user.now = self.user.now.max(step.at);
            if left > 1 {
                self.edits = Some((step.clone(), fields, left - 1));
            }
            return Some(step);
        }
        let step = self.user.next(world)?;
        if self.rng.random::<f64>() < self.user.sessions_per_query(PLAYS_PER_DAY) {
            let numeric = world.rows.numeric();
            let slider = self.rng.random::<f64>() < 0.6 && !numeric.is_empty();
            let width = world.rows.features.len();
            let (fields, times) = if slider {
                (vec![numeric[self.rng.random_range(0..numeric.len())]], self.rng.random_range(20..=40))
            } else {
                let n = self.rng.random_range(1..=3.min(width));
                let mut fields: Vec<usize> = (0..n).map(|_| self.rng.random_range(0..width)).collect();
                fields.dedup();
                (fields, self.rng.random_range(2..=8))
            };
            self.edits = Some((step.clone(), fields, times));
        }
        Some(step)
    }
}

/// A mobile app that asks again from the same place: the coordinates jitter in their last decimals.
struct Mobile {
    user: Person,
    rng: ChaCha8Rng,
    coordinates: Vec<usize>,
    again: Option<(CallerQuery, usize)>,
}

impl Caller for Mobile {
    fn next(&mut self, world: &World) -> Option<CallerQuery> {
        if let Some((mut step, left)) = self.again.take() {
            step.at = after(step.at, 5.0 + 25.0 * exponential(&mut self.rng));
            self.user.now = self.user.now.max(step.at);
            if let CallerRow::Drawn(row) = &mut step.row {
                for &j in &self.coordinates {
                    let unit = 10_f64.powi(-i32::from(world.rows.features[j].decimals));
                    row[j] = world.rows.snap(j, row[j].value() + 3.0 * unit * normal(&mut self.rng));
                }
            }
            if left > 1 {
                self.again = Some((step.clone(), left - 1));
            }
            return Some(step);
        }
        let step = self.user.next(world)?;
        if self.rng.random::<f64>() < 0.5 {
            self.again = Some((step.clone(), self.rng.random_range(1..=6)));
        }
        Some(step)
    }
}
