//! Sets out the honest callers that look like attackers. Each is a shape of traffic that real services have and a naive detector
//! flags: machines ([`machines`](super::machines)), people ([`people`](super::people)), NATs and clients that retry.
//!
//! All of them draw their seeds and addresses from one generator, kind after kind. The order of the kinds is therefore part of
//! what a seed means.

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::machines::{Burst, Health, Replayer};
use super::people::{Mobile, Slider, WhatIf};
use super::{Caller, Person, RARE_RETRY, inner_address, public_address};
use crate::hash::mix2;
use crate::simulate::chance::stream;
use crate::simulate::truth::Truth;
use crate::simulate::{SimulationSettings, World};

/// Clients for which the numbers of [`super::Mix`] are meant.
const PER_CLIENTS: usize = 400;
/// Decimals of degree from which a number counts as a coordinate: 1e-5 degrees are about a metre on the ground.
const COORDINATE_DECIMALS: u8 = 5;
/// First number of a look-alike; ordinary clients count from 0 and never reach it.
const FIRST_ID: u64 = 1 << 40;
/// Chance that a client with a bad connection repeats a query. Chosen: one query in three, against one in 500 of ordinary clients.
const FREQUENT_RETRY: f64 = 0.35;
/// Third octets of the service's own networks, by what runs there.
const HEALTH_NET: u8 = 0;
const COMPARISON_NET: u8 = 1;
const LOAD_TEST_NET: u8 = 2;
/// Share of the honest traffic that a comparison of two versions sends again, as one part in so many.
const REPLAYED_ONE_IN: f64 = 8.0;

/// Where the look-alikes go, and what they are drawn from.
struct Population<'a> {
    settings: &'a SimulationSettings,
    world: &'a World,
    truth: &'a mut Truth,
    callers: &'a mut Vec<Box<dyn Caller>>,
    rng: ChaCha8Rng,
    last_id: u64,
}

/// Sets out the look-alikes and notes each in the truth.
pub fn populate(settings: &SimulationSettings, world: &World, truth: &mut Truth, callers: &mut Vec<Box<dyn Caller>>) {
    let rng = ChaCha8Rng::seed_from_u64(mix2(settings.seed, stream::LOOK_ALIKES));
    let mut population = Population { settings, world, truth, callers, rng, last_id: FIRST_ID };
    population.batches();
    population.load_tests();
    population.nats();
    population.retries();
    population.health_checks();
    population.comparisons();
    population.what_if_users();
    population.mobile_clients();
}

// === impl Population ===

impl Population<'_> {
    /// How many there are of a kind, rounded up: a service with few clients still has its health check.
    fn count(&self, per_400_clients: usize) -> usize {
        (per_400_clients * self.settings.clients).div_ceil(PER_CLIENTS)
    }

    /// Number and generator of the next look-alike.
    fn next_id(&mut self) -> (u64, ChaCha8Rng) {
        self.last_id += 1;
        (self.last_id, ChaCha8Rng::seed_from_u64(mix2(self.settings.seed ^ self.rng.random::<u64>(), self.last_id)))
    }

    /// An ordinary client with `share` of the ordinary volume.
    fn person(&self, id: u64, share: f64, retry: f64) -> Person {
        Person::new(self.settings.seed, id, self.world, self.settings.heterogeneity, self.settings.volume * share, retry)
    }

    fn note(&mut self, user: &Person, kind: &'static str) {
        for address in &user.identity.addresses {
            self.truth.look_alike(*address, kind);
        }
    }

    /// Nightly batch scoring: thousands of rows before dawn, a few a second.
    fn batches(&mut self) {
        for _ in 0..self.count(self.settings.mix.batch) {
            let (id, own) = self.next_id();
            let rng = &mut self.rng;
            let address = public_address(rng);
            self.truth.look_alike(address, "batch");
            let (hour, size, gap) = (rng.random_range(0.5..4.5), rng.random_range(1500..4000), rng.random_range(0.15..0.6));
            self.callers.push(Box::new(Burst::nightly(id, own, address, self.world, hour, size, gap)));
        }
    }

    /// Load tests: real rows, twenty a second, once in the middle of the first day.
    fn load_tests(&mut self) {
        for _ in 0..self.count(self.settings.mix.loadtest) {
            let (id, own) = self.next_id();
            let rng = &mut self.rng;
            let address = inner_address(rng, LOAD_TEST_NET);
            self.truth.look_alike(address, "loadtest");
            let span = self.settings.hours.min(24.0);
            let (hour, size) = (rng.random_range(0.35 * span..0.75 * span), rng.random_range(1200..3000));
            self.callers.push(Box::new(Burst::once(id, own, address, self.world, hour, size, 0.05)));
        }
    }

    /// NATs: hundreds of people behind one address, each asking a third as often as an ordinary client.
    fn nats(&mut self) {
        for _ in 0..self.count(self.settings.mix.nat) {
            let address = public_address(&mut self.rng);
            self.truth.look_alike(address, "nat");
            self.truth.nat(address);
            for _ in 0..self.rng.random_range(150..350) {
                let (id, _) = self.next_id();
                let mut user = Person::new(
                    self.settings.seed,
                    id,
                    self.world,
                    self.settings.heterogeneity,
                    self.settings.volume / 3.0,
                    RARE_RETRY,
                );
                user.identity.addresses = vec![address];
                self.callers.push(Box::new(user));
            }
        }
    }

    /// Clients that ask three times as often as others and repeat many of their queries.
    fn retries(&mut self) {
        for _ in 0..self.count(self.settings.mix.retries) {
            let (id, _) = self.next_id();
            let user = self.person(id, 3.0, FREQUENT_RETRY);
            self.note(&user, "retries");
            self.callers.push(Box::new(user));
        }
    }

    /// Health checks: one row for ever, every 15, 30 or 60 seconds.
    fn health_checks(&mut self) {
        for _ in 0..self.count(self.settings.mix.health) {
            let (id, mut own) = self.next_id();
            let address = inner_address(&mut self.rng, HEALTH_NET);
            self.truth.look_alike(address, "health");
            let row = self.world.rows.sample[own.random_range(0..self.world.rows.len())].clone();
            let period = [15.0, 30.0, 60.0][own.random_range(0..3)];
            self.callers.push(Box::new(Health { id, address, row, period, now: self.world.start, rng: own }));
        }
    }

    /// Comparisons of two versions: a part of the recent honest rows, sent again.
    fn comparisons(&mut self) {
        for _ in 0..self.count(self.settings.mix.abreplay) {
            let (id, own) = self.next_id();
            let address = inner_address(&mut self.rng, COMPARISON_NET);
            self.truth.look_alike(address, "abreplay");
            let peak = self.settings.clients as f64 * self.settings.volume / REPLAYED_ONE_IN / 86_400.0;
            self.callers.push(Box::new(Replayer { id, address, now: self.world.start, rng: own, peak }));
        }
    }

    /// Users of a what-if page, with each of the three kinds of slider in turn.
    fn what_if_users(&mut self) {
        for _ in 0..self.count(self.settings.mix.whatif) {
            let (id, own) = self.next_id();
            let user = self.person(id, 0.6, RARE_RETRY);
            self.note(&user, "whatif");
            let slider = [Slider::Free, Slider::Notches, Slider::Pixels][(id % 3) as usize];
            self.callers.push(Box::new(WhatIf { user, rng: own, slider, edits: None }));
        }
    }

    /// Mobile clients, where the model has coordinates.
    fn mobile_clients(&mut self) {
        let features = &self.world.rows.features;
        let coordinates: Vec<usize> = (0..features.len()).filter(|&j| features[j].decimals >= COORDINATE_DECIMALS).collect();
        if coordinates.is_empty() {
            return;
        }
        for _ in 0..self.count(self.settings.mix.mobile) {
            let (id, own) = self.next_id();
            let user = self.person(id, 1.0, 0.0);
            self.note(&user, "mobile");
            self.callers.push(Box::new(Mobile { user, rng: own, coordinates: coordinates.clone(), again: None }));
        }
    }
}
