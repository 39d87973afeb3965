//! Who is reported for unreadable records: one among readable peers, and nobody where the cause is common.

use super::*;
use crate::event::Provenance;
use crate::outcome::CallerFacts;

const START: EventTime = EventTime::from_micros(1_772_409_600_000_000);
const LEVEL: f64 = 1e-4;

/// Callers with numbers; each has (unreadable, readable) records.
struct World {
    callers: UnreadableCallers,
    readable: Vec<u64>,
}

impl World {
    fn new(counts: &[(u64, u64)]) -> Self {
        let mut world = Self { callers: UnreadableCallers::new(LEVEL, 1000), readable: counts.iter().map(|&(_, r)| r).collect() };
        world.callers.advance(START, 0, |_| 0);
        for (nth, &(unreadable, _)) in counts.iter().enumerate() {
            (0..unreadable).for_each(|_| world.note(nth, START, None));
        }
        world
    }

    fn note(&mut self, nth: usize, now: EventTime, time: Option<EventTime>) {
        let address = Address::parse(&format!("10.0.{}.{}", nth / 250, nth % 250)).unwrap();
        let caller = CallerFacts { address, time, ..CallerFacts::default() };
        let provenance = Provenance::default();
        let record = UnreadableRecord { caller: &caller, provenance: &provenance };
        let readable = self.readable[nth];
        self.callers.note(
            &record,
            now,
            Some(Key { address, account: nth as u64 + 1 }),
            Readable { all: readable, recent: [readable; 2] },
        );
    }

    /// The numbers of callers whose report changed, with what it is now.
    fn judge(&mut self, seconds: i64, end: bool) -> Vec<(bool, String)> {
        let all = self.readable.iter().sum();
        let (now, readable) = (START.plus_seconds(seconds), self.readable.clone());
        let of = |key: &Key| readable[key.account as usize - 1];
        self.callers.advance(now, all, of);
        let peers = Peers { active: self.readable.iter().filter(|&&r| r > 0).count() as u64, ..Peers::default() };
        let changed = self.callers.judge(now, end, all, &peers, |key| Some(of(key)));
        changed.into_iter().map(|(suspicious, caller, _)| (suspicious, caller.address.to_string())).collect()
    }
}

/// `like` callers of `one`, and then honest ones, 100 in all.
fn hundred(like: usize, one: (u64, u64)) -> Vec<(u64, u64)> {
    (0..100).map(|nth| if nth < like { one } else { (0, 50) }).collect()
}

#[test]
fn a_caller_without_readable_records_among_honest_ones_is_reported_once_and_cleared_when_it_is_over() {
    let mut world = World::new(&hundred(1, (3000, 0)));
    assert_eq!(world.judge(300, false), [], "the others may still show the same");
    assert_eq!(world.judge(900, false), [(true, "10.0.0.0".to_owned())]);
    assert_eq!((world.judge(1200, false), world.callers.suspicious()), (vec![], 1));
    assert_eq!(world.judge(7 * 3600, false), [(false, "10.0.0.0".to_owned())]);
    assert_eq!((world.judge(8 * 3600, false), world.callers.suspicious()), (vec![], 0));
}

#[test]
fn most_of_the_records_must_be_unreadable_and_there_must_be_enough() {
    assert_eq!(World::new(&hundred(1, (20, 19))).judge(900, false).len(), 1);
    assert_eq!(World::new(&hundred(1, (20, 20))).judge(900, false), []);
    assert_eq!(World::new(&hundred(1, (MIN_RECORDS, 0))).judge(900, false).len(), 1);
    assert_eq!(World::new(&hundred(1, (MIN_RECORDS - 1, 0))).judge(900, false), []);
}

#[test]
fn a_broken_writer_is_nobodys_fault_be_it_of_all_of_a_third_or_of_a_tenth() {
    for like in [100, 67, 34, 10, 6] {
        let mut world = World::new(&hundred(like, (200, 0)));
        for step in 1..20 {
            assert_eq!(world.judge(300 * step, step == 19), [], "{like} of a hundred");
        }
    }
    // Half of everybody's records.
    assert_eq!(World::new(&hundred(100, (60, 40))).judge(900, true), []);
    // Few callers, and a third of them.
    assert_eq!(World::new(&[(100, 0), (100, 0), (0, 100), (0, 100), (0, 100), (0, 100)]).judge(900, true), []);
    assert_eq!(World::new(&[(100, 0), (0, 100), (0, 100), (0, 100)]).judge(900, true).len(), 1);
}

#[test]
fn a_caller_that_others_turn_out_to_be_like_is_cleared() {
    let mut world = World::new(&hundred(1, (100, 0)));
    assert_eq!(world.judge(900, false).len(), 1);
    (1..40).for_each(|nth| (0..60).for_each(|_| world.note(nth, START.plus_seconds(900), None)));
    assert_eq!(world.judge(1200, false), [(false, "10.0.0.0".to_owned())]);
}

#[test]
fn an_honest_caller_whose_records_break_now_and_then_is_not_reported() {
    // One caller in seven loses a few records, as where ids have odd characters.
    let counts: Vec<(u64, u64)> = (0..100).map(|nth| if nth % 7 == 0 { (12, 400) } else { (0, 50) }).collect();
    assert_eq!(World::new(&counts).judge(900, true), []);
}

#[test]
fn a_time_that_is_not_recent_is_not_believed() {
    let mut world = World::new(&hundred(0, (0, 0)));
    for time in [None, Some(EventTime::default()), Some(START.plus_seconds(1_000_000_000))] {
        world.note(0, START, time);
    }
    assert_eq!(world.callers.totals.current.unreadable, 3);
    world.note(0, START, Some(START.plus_seconds(-3 * 3600)));
    assert_eq!(world.callers.totals.previous.unreadable, 1);
    assert!((world.callers.ratio(96) - 0.04).abs() < 1e-9);
    let largest = |readable| world.callers.largest_ratio(|_| Some(readable));
    assert_eq!((largest(50), largest(2_000), largest(5)), (4.0 / 54.0, 4.0 / 2004.0, 0.0));
}

#[test]
fn the_tail_is_the_binomials() {
    // scipy.stats.binom.sf(k - 1, n, p)
    for (n, k, p, expected) in
        [(10.0, 10.0, 0.01, 1e-20), (20.0, 11.0, 0.3, 0.017_144_816), (5.0, 1.0, 0.01, 0.049_009_95), (4.0, 0.0, 0.5, 1.0)]
    {
        let got: f64 = tail(n, k, p);
        assert!((got / expected - 1.0_f64).abs() < 1e-6, "{got} {expected}");
    }
}
