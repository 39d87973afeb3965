//! What the population makes of the votes of its clients. Votes are given as cells: 0 is the oddest, 4 an ordinary row.

use super::*;
use crate::event::{Address, EARLIEST, Query};
use crate::signal::density::statistic::DensityStatistic;

/// Clients that vote during the warm-up, and votes of each.
const KNOWN: u64 = 60;
const KNOWN_VOTES: u64 = 20;
const ORDINARY: u8 = 4;
const ODD: u8 = 0;

struct World {
    population: Population,
    clients: Table<Key, Client>,
    now: EventTime,
}

impl World {
    /// A population that saw a warm-up in which each known client's votes had these cells, by number of the vote.
    fn warmed_up(cell: impl Fn(u64) -> u8) -> Self {
        let mut world = Self { population: Population::new(1e-4, 7), clients: Table::new(10_000), now: EARLIEST };
        for vote in 0..KNOWN_VOTES {
            (0..KNOWN).for_each(|client| {
                world.vote(client, cell(vote));
            });
        }
        world.now = EARLIEST.plus_seconds(WARM_UP_SECONDS + 60);
        // The first query after the warm-up ends it.
        world.vote(0, ORDINARY);
        world
    }

    fn slot(&mut self, client: u64) -> SlotRef {
        let address = Address::parse(&format!("10.0.{}.{}", client / 250, client % 250)).unwrap();
        let query = Query { address, time: self.now, ..Query::default() };
        self.clients.touch(&Key { address, account: 0 }, || Client::new(&query, query.time)).0
    }

    /// A vote of a client, ten seconds after the one before, with the drift test undecided or not.
    fn vote_while(&mut self, client: u64, cell: u8, drift_pending: bool) -> VoteOutcome {
        self.now = self.now.plus_seconds(10);
        let at = self.slot(client);
        let voter = Voter { at, first: self.clients.get(at).unwrap().first, flagged: false };
        self.population.vote(&mut self.clients, voter, Cells::all(cell), self.now, drift_pending)
    }

    fn vote(&mut self, client: u64, cell: u8) -> VoteOutcome {
        self.vote_while(client, cell, false)
    }

    /// Odd votes in a row that a client needs to be detected.
    fn odd_votes_to_detection(&mut self, client: u64) -> usize {
        (1..100).find(|_| self.vote(client, ODD) != VoteOutcome::Counted).unwrap()
    }

    fn bound(&self) -> f64 {
        self.population.heterogeneity.client[DensityStatistic::BrokenDependence][0]
    }
}

#[test]
fn unusual_clients_in_the_warm_up_raise_the_bound_up_to_a_cap() {
    let ordinary = World::warmed_up(|_| ORDINARY);
    let varied = World::warmed_up(|vote| if vote % 10 == 3 { ODD } else { ORDINARY });
    let wild = World::warmed_up(|_| ODD);
    // The floor is 0.025, the cap 0.15; clients that all show a tenth vary by sampling alone.
    assert!((ordinary.bound() - 0.025).abs() < 1e-12, "{}", ordinary.bound());
    assert!(varied.bound() > 0.1 && varied.bound() < 0.15, "{}", varied.bound());
    assert!((wild.bound() - 0.15).abs() < 1e-12, "{}", wild.bound());
}

#[test]
fn a_raised_bound_asks_for_more_votes_and_an_attacker_is_still_detected() {
    let mut ordinary = World::warmed_up(|_| ORDINARY);
    let mut varied = World::warmed_up(|vote| if vote % 10 == 3 { ODD } else { ORDINARY });
    let (soon, later) = (ordinary.odd_votes_to_detection(900), varied.odd_votes_to_detection(900));
    assert!(soon < later && later < 20, "{soon} {later}");
}

#[test]
fn too_few_clients_or_votes_leave_the_bound_at_its_floor() {
    let mut world = World { population: Population::new(1e-4, 7), clients: Table::new(100), now: EARLIEST };
    for vote in 0..KNOWN_VOTES {
        (0..10).for_each(|client| {
            world.vote(client, if vote % 2 == 0 { ODD } else { ORDINARY });
        });
    }
    world.now = EARLIEST.plus_seconds(WARM_UP_SECONDS + 60);
    world.vote(0, ORDINARY);
    assert!((world.bound() - 0.025).abs() < 1e-12, "{}", world.bound());
}

#[test]
fn a_burst_of_newcomers_lowers_the_threshold_of_newcomers_alone() {
    let mut world = World::warmed_up(|_| ORDINARY);
    let (quiet, full) = (world.now, world.population.threshold);
    assert!((world.population.threshold_for(true, world.now) - full).abs() < 1e-9);
    // An ordinary newcomer: the pool is quiet until the burst.
    world.vote(999, ORDINARY);
    // Two odd votes from each of many addresses: none is detected by its own evidence before the pool is alarmed.
    let mut before_alarm = 0;
    for newcomer in 1_000..1_200 {
        for _ in 0..2 {
            let active = world.population.newcomer_burst_active(world.now);
            let outcome = world.vote(newcomer, ODD);
            assert!(active || outcome == VoteOutcome::Counted || world.population.newcomer_burst_active(world.now));
        }
        before_alarm += u32::from(!world.population.newcomer_burst_active(world.now));
    }
    assert!((1..20).contains(&before_alarm), "{before_alarm} addresses were needed");
    assert!(world.population.newcomer_burst_active(world.now));
    assert!(world.population.newcomer_burst_since() >= quiet, "the burst began after the warm-up");
    assert!((world.population.threshold_for(true, world.now) - full / 1e3).abs() < 1e-9);
    assert!((world.population.threshold_for(false, world.now) - full).abs() < 1e-9, "known clients are as before");
    assert!(matches!(world.vote(1_150, ODD), VoteOutcome::Detected { threshold, .. } if threshold < full));
    world.now = world.now.plus_seconds(7 * 3600);
    assert!(!world.population.newcomer_burst_active(world.now), "it ends");
}

#[test]
fn flagged_clients_lower_the_threshold_of_newcomers_down_to_a_hundredth() {
    let mut world = World::warmed_up(|_| ORDINARY);
    let full = world.population.threshold;
    for flagged in 1..=200_u32 {
        let at = world.slot(5_000 + u64::from(flagged));
        world.population.flagged(at);
        let expected = full / f64::from(1 + flagged).min(100.0);
        assert!((world.population.threshold_for(true, world.now) / expected - 1.0).abs() < 1e-9, "{flagged}");
    }
}

#[test]
fn peers_that_drift_raise_the_bound_and_the_threshold_of_known_clients() {
    let mut world = World::warmed_up(|_| ORDINARY);
    assert!(world.population.peers_match_reference());
    let (before, full) = (world.population.factors().clone(), world.population.threshold);
    for _ in 0..2 {
        (0..KNOWN).for_each(|client| {
            world.vote(client, ODD);
        });
    }
    assert!(!world.population.peers_match_reference());
    assert!((world.population.threshold_for(false, world.now) / full - 100.0).abs() < 1e-9);
    let evidence = |factors: &Factors| {
        let mut detector = crate::judge::evidence::Detector::default();
        (0..5).for_each(|_| detector.update(Cells::all(ODD), factors));
        detector.total()
    };
    let (then, now) = (evidence(&before), evidence(world.population.factors()));
    assert!(now * 100.0 < then, "five odd votes are worth {now} after {then}");
}

#[test]
fn a_flagged_client_is_unlearned() {
    let mut world = World::warmed_up(|_| ORDINARY);
    let share = |world: &World| world.population.peers.bounds().unwrap().0[DensityStatistic::BrokenDependence][0];
    assert!(share(&world) < 1e-12);
    // Room for new votes.
    world.population.restart(&mut world.clients);
    let at = world.slot(17);
    (20..40).for_each(|client| {
        world.vote(client, ORDINARY);
    });
    world.vote(17, ODD);
    assert!(share(&world) > 0.0);
    world.population.flagged(at);
    assert!(share(&world) < 1e-12);
}

#[test]
fn clients_with_a_clean_past_that_turn_odd_together_wait_for_the_drift_test() {
    let mut alone = World::warmed_up(|_| ORDINARY);
    assert!(alone.odd_votes_to_detection(0) < 20, "one client alone does not wait");
    let mut world = World::warmed_up(|_| ORDINARY);
    for client in 1..=4 {
        let at = world.slot(client);
        world.population.turned_odd.push_back((world.now, at));
    }
    let outcomes: Vec<VoteOutcome> = (0..20).map(|_| world.vote_while(0, ODD, true)).collect();
    assert!(outcomes.iter().all(|&outcome| outcome == VoteOutcome::Counted), "{outcomes:?}");
    world.now = world.now.plus_seconds(3_500);
    assert_eq!(world.vote_while(0, ODD, true), VoteOutcome::Counted, "while the test is undecided");
    assert!(matches!(world.vote_while(0, ODD, false), VoteOutcome::Detected { .. }), "an hour later");
}
