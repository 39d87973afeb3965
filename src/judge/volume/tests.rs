//! Who is reported among simulated callers, and who is not.

use super::*;
use crate::event::{Address, Query};
use crate::hash::{mix, mix2};
use crate::judge::client::volume::COUNTED_FROM;

/// A model with callers whose largest windows follow a power law, and what is said of them.
struct World {
    clients: Table<Key, Client>,
    volume: Volume,
    now: EventTime,
    rows: u64,
}

fn at(seconds: i64) -> EventTime {
    EventTime::from_micros(1_772_409_600_000_000).plus_seconds(seconds)
}

fn is_newcomer(first: EventTime) -> bool {
    first > at(4 * 3600)
}

impl World {
    /// `callers` with a past, and as many newcomers; a fit is made.
    fn new(callers: u64) -> Self {
        let mut world = Self { clients: Table::new(10_000), volume: Volume::new(1e-4), now: at(0), rows: 0 };
        assert!(!world.volume.is_due(at(0)));
        for caller in 0..2 * callers {
            let uniform = (mix(caller) >> 11) as f64 / (1_u64 << 53) as f64;
            let rows = (8.0 * (1.0 - uniform).powf(-0.25)).min(45.0) as u64;
            let start = if caller < callers { 0 } else { 5 * 3600 };
            world.ask(caller, start + caller as i64, rows, 3);
        }
        world.now = at(10 * 3600);
        assert!(world.volume.is_due(world.now));
        world.volume.fit(&world.clients, is_newcomer, world.now);
        assert!(!world.volume.is_due(world.now));
        world
    }

    /// `rows` different rows of a caller, one in `gap` seconds from `start` on; who is reported, after how many of them.
    fn ask(&mut self, caller: u64, start: i64, rows: u64, gap: i64) -> Vec<(u64, u64)> {
        (0..rows).flat_map(|row| self.query(caller, start + row as i64 * gap).into_iter().map(move |who| (who, row + 1))).collect()
    }

    fn query(&mut self, caller: u64, seconds: i64) -> Vec<u64> {
        self.rows += 1;
        self.row(caller, seconds, self.rows)
    }

    /// One row of a caller; who is reported.
    fn row(&mut self, caller: u64, seconds: i64, row: u64) -> Vec<u64> {
        let time = at(seconds);
        let address = Address::parse(&format!("10.{}.{}.{}", caller >> 16, caller >> 8 & 255, caller & 255)).unwrap();
        let query = Query { address, time, ..Query::default() };
        let (at, is_new, _) = self.clients.touch(&Key { address, account: 0 }, || Client::new(&query, time));
        let client = self.clients.get_mut(at).unwrap();
        if is_new && is_newcomer(time) {
            self.volume.arrived(client, time);
        }
        client.queries += 1;
        // Counting begins with the first row here.
        client.volume.note(&query, COUNTED_FROM, mix2(5, row));
        let newcomer = is_newcomer(client.first);
        let excess = self.volume.excess(client, newcomer);
        if client.volume.is_suspicious() {
            if excess.is_some() {
                client.volume.report(time);
            }
            return Vec::new();
        }
        let members = match excess {
            Some(excess) if excess.is_news() => vec![at],
            _ if newcomer => self.volume.judge_together(&self.clients, at, time).into_iter().map(|(at, _)| at).collect(),
            _ => Vec::new(),
        };
        let number = |client: &Client| match client.address {
            Address::Ip(std::net::IpAddr::V4(ip)) => u64::from(u32::from(ip)) & 0xff_ffff,
            _ => unreachable!(),
        };
        members
            .into_iter()
            .map(|at| {
                let client = self.clients.get_mut(at).unwrap();
                client.volume.report(time);
                number(client)
            })
            .collect()
    }

    /// As many rows, dealt in turn to newcomers; who is reported, and after how many rows of all.
    fn deal(&mut self, callers: u64, start: i64, rows: u64) -> Vec<(u64, u64)> {
        (0..rows)
            .flat_map(|row| {
                let found = self.query(100_000 + row % callers, start + row as i64 * 3 / 10);
                found.into_iter().map(move |who| (who, row + 1))
            })
            .collect()
    }
}

const LATER: i64 = 11 * 3600;

#[test]
fn a_fast_newcomer_is_reported_once_and_an_ordinary_one_never() {
    let mut world = World::new(200);
    assert_eq!(world.ask(5_000, LATER, 40, 5), []);
    let said = world.ask(5_001, LATER + 600, 1_500, 1);
    assert_eq!(said.len(), 1, "{said:?}");
    assert!((60..200).contains(&said[0].1), "{said:?}");
}

#[test]
fn one_to_five_newcomers_are_named_within_three_hundred_rows_of_all() {
    for callers in 1..=5 {
        let mut world = World::new(200);
        let said = world.deal(callers, LATER, 1_500);
        let named: std::collections::BTreeSet<u64> = said.iter().map(|(who, _)| *who).collect();
        assert_eq!((named.len() as u64, said.len() as u64), (callers, callers), "each once: {said:?}");
        assert!(said.iter().all(|(_, rows)| *rows <= 300), "{callers}: {said:?}");
    }
}

#[test]
fn a_class_that_starts_together_is_a_crowd() {
    let mut world = World::new(200);
    // Forty people come within two minutes and fill in a form as fast as busy people do.
    let mut said = Vec::new();
    for second in 0..300 {
        let asking = (0..40).filter(|person| second >= person * 3 && (second + person) % 9 == 0);
        said.extend(asking.flat_map(|person| world.query(200_000 + person as u64, LATER + second)).collect::<Vec<_>>());
    }
    assert!(said.is_empty(), "{said:?}");
}

#[test]
fn a_caller_with_a_past_must_exceed_it() {
    let mut world = World::new(200);
    // A NAT that has asked forty in five minutes every hour since the start.
    for hour in 0..9 {
        world.ask(7_000, hour * 3600 + 30, 40, 7);
    }
    assert_eq!(world.ask(7_000, LATER, 150, 2), [], "not four times as much as ever");
    assert_eq!(world.ask(7_000, LATER + 3600, 400, 1).len(), 1);
    assert!(world.volume.excess(world.clients.get(world.clients.find(&key(7_000)).unwrap()).unwrap(), false).is_some());
}

fn key(caller: u64) -> Key {
    Key { address: Address::parse(&format!("10.{}.{}.{}", caller >> 16, caller >> 8 & 255, caller & 255)).unwrap(), account: 0 }
}

#[test]
fn a_nightly_job_is_reported_in_the_first_night_only() {
    let mut world = World::new(200);
    let nights: Vec<usize> = (0..5)
        .map(|night| {
            let start = LATER + night * 86_400;
            for client in world.clients.iter_mut().map(|(_, client)| client) {
                client.volume.ends(at(start));
            }
            world.ask(9_000, start, 2_000, 1).len()
        })
        .collect();
    assert_eq!(nights, [1, 0, 0, 0, 0]);
}

#[test]
fn repeats_of_few_rows_are_no_volume() {
    let mut world = World::new(200);
    let said: Vec<u64> = (0..3_000).flat_map(|i| world.row(8_000, LATER + i, (1 << 40) | (i as u64 % 30))).collect();
    assert!(said.is_empty(), "health checks and retries ask the same again");
}

#[test]
fn nobody_is_judged_before_there_are_peers() {
    let mut world = World::new(10);
    assert_eq!(world.volume.tails, None);
    assert_eq!(world.ask(5_001, LATER, 1_500, 1), []);
}

#[test]
fn a_group_is_reported_by_its_size_and_not_by_one_large_member() {
    let world = World::new(200);
    let tail = world.volume.tails.unwrap()[0].newcomers;
    let of = |sizes: &[f64], arrivals| {
        let busy: Vec<(f64, SlotRef)> = sizes.iter().map(|&rows| (rows, SlotRef::default())).collect();
        world.volume.group(&busy, arrivals, &tail).map(|together| together.callers)
    };
    assert_eq!(of(&[60.0, 60.0, 60.0], 6), Some(3));
    assert_eq!(of(&[60.0, 60.0, 60.0], 10), None, "one in three of those that came");
    assert_eq!(of(&[500.0, 21.0], 2), None, "the second is ordinary");
    assert_eq!(of(&[60.0; 9], 9), None, "a crowd");
    assert!(of(&[22.0; 5], 6).is_some() && of(&[22.0; 2], 2).is_none());
}
