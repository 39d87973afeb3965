//! What the line promises, on a shipped profile: every query is counted once, and every detection becomes the lines that people read.

use super::*;
use crate::event::{Address, EARLIEST};
use crate::judge::{Finding, Scope};
use crate::outcome::RejectReason;

struct World {
    engine: ModelEngine,
    out: Vec<Verdict>,
    sent: i64,
}

impl World {
    fn new() -> Self {
        let path = format!("{}/models/adult/reference.json", env!("CARGO_MANIFEST_DIR"));
        let reference = Arc::new(Reference::from_json(&std::fs::read(path).unwrap()).unwrap());
        let config = EngineConfig { salt: 7, max_history: 4096, max_clients: 1000, ..EngineConfig::default() };
        Self { engine: ModelEngine::new(reference, &config), out: Vec::new(), sent: 0 }
    }

    /// A query of an ordinary row, `seconds` after the first instant.
    fn query(&mut self, address: &str, account: &str, seconds: i64) -> Query {
        self.sent += 1;
        let sample = &self.engine.profile.reference.sample;
        Query {
            time: EARLIEST.plus_seconds(seconds),
            address: Address::parse(address).unwrap(),
            account: account.into(),
            request_id: format!("r-{}", self.sent),
            row: sample[self.sent as usize % sample.len()].clone(),
            ..Query::default()
        }
    }

    fn ask(&mut self, address: &str, account: &str, seconds: i64) -> (Outcome, Option<f64>) {
        let query = self.query(address, account, seconds);
        self.engine.query(&query, &mut self.out)
    }

    /// Flags the sender of a query; the lines that this adds.
    fn flag(&mut self, address: &str, account: &str, case: Option<&str>, confidence: f64) -> Vec<Verdict> {
        let query = self.query(address, account, self.sent);
        self.engine.query(&query, &mut self.out);
        let at = self.engine.memory.callers.sender(&query, query.time).unwrap().client();
        let asked = Asked { query: &query, at, voter: at, drift_voter: at, now: query.time, late: false };
        let flagging = Flagging { at, family: Family::Grid, confidence, case: case.map(str::to_owned), began: None, waits: false };
        let mut lines = Vec::new();
        self.engine.flag(asked.now, Some(&asked), flagging, &mut lines);
        lines
    }
}

#[test]
fn every_query_is_counted_once_whatever_becomes_of_it() {
    let mut world = World::new();
    assert_eq!(world.ask("192.0.2.1", "", 0), (Outcome::Accepted, None));
    assert_eq!(world.ask("192.0.2.1", "", 100), (Outcome::Accepted, Some(100.0)));
    assert_eq!(world.ask("unknown", "", 101), (Outcome::Accepted, None), "nobody to judge, and a query all the same");
    let watermark = EARLIEST.plus_seconds(101 - 60);
    assert_eq!(world.ask("192.0.2.1", "", 0), (Outcome::Late { watermark }, None));
    let future = world.ask("192.0.2.1", "", 90 * 86_400).0;
    assert!(matches!(&future, Outcome::Rejected(rejection) if rejection.reason == RejectReason::FromTheFuture), "{future:?}");
    let status = world.engine.status();
    assert_eq!((status.queries, status.late, status.clients), (3, 1, 1));
    let clients: Vec<(bool, u64)> =
        world.engine.memory.callers.clients.iter().map(|(_, _, client)| (client.is_shared, client.queries)).collect();
    assert_eq!(
        clients,
        [(false, 3), (true, 1)],
        "a late query is one of its client's, and one without a caller is the population's"
    );
}

#[test]
fn a_population_that_is_forgotten_takes_no_account_with_it() {
    let mut callers = Callers::new(2);
    let named = |account: &str| Query { account: account.into(), ..Query::default() };
    callers.sender(&named("a"), EARLIEST);
    callers.anonymous(&Query::default(), EARLIEST);
    callers.sender(&named("a"), EARLIEST);
    assert_eq!((callers.known(), callers.clients.len()), (1, 2));
    callers.sender(&named("b"), EARLIEST);
    assert_eq!(callers.known(), 2, "the population was used longest ago");
    assert_eq!(callers.shared_identities.accounts_at(Address::Unknown), 2);
}

#[test]
fn rows_that_lost_all_their_values_are_not_one_row_that_got_other_answers() {
    let changed = |lose: bool| {
        let mut world = World::new();
        let row = world.engine.profile.reference.sample[0].clone();
        for nth in 0..40_i64 {
            let mut query = world.query(&format!("192.0.2.{}", nth % 8), "", nth);
            query.row = if lose { vec![Cell::MISSING; row.len()] } else { row.clone() };
            query.prediction = crate::event::Prediction::Score((nth % 10) as f64 / 10.0);
            world.engine.query(&query, &mut world.out);
        }
        world.engine.drift.evaluate(EARLIEST.plus_seconds(40), false, |_| false, |_| None).changed.0
    };
    assert!(changed(false) > 30, "an ordinary row that gets other answers speaks of another model: {}", changed(false));
    assert_eq!(changed(true), 0);
}

#[test]
fn a_flagged_client_is_reported_with_its_model_and_only_once() {
    let mut world = World::new();
    let lines = world.flag("192.0.2.1", "", None, 0.9);
    let [client, model] = &lines[..] else { panic!("{lines:?}") };
    assert_eq!((client.scope, client.verdict, client.source_ip.as_deref()), (Scope::Client, Finding::Probing, Some("192.0.2.1")));
    assert_eq!((client.family, client.owasp, client.confidence), (Some(Family::Grid), Some("ML05"), Some(0.9)));
    assert_eq!((client.first_query.as_deref(), client.queries_seen), (Some("r-1"), 1));
    assert!(client.case.as_ref().is_some_and(|case| case.starts_with("c-")) && client.technique == ["AML.T0024.002"]);
    assert_eq!((model.scope, model.verdict, model.confidence), (Scope::Model, Finding::Probing, Some(0.9)));
    assert_eq!(world.flag("192.0.2.1", "", None, 0.9), [], "it is flagged already");
    assert_eq!(world.flag("192.0.2.9", "", None, 0.8).len(), 1, "the model is probed already");
    assert_eq!(world.engine.status().flagged.get("grid"), Some(&2));
}

#[test]
fn an_account_at_three_flagged_addresses_gets_a_line_of_its_own() {
    let mut world = World::new();
    let [mut first, mut second] = [world.flag("192.0.2.1", "a", None, 0.9), world.flag("198.51.100.1", "a", None, 0.9)];
    let lines = world.flag("203.0.113.1", "a", None, 0.9);
    let [client, account] = &lines[..] else { panic!("{lines:?}") };
    assert_eq!((client.source_ip.as_deref(), client.client_id.as_deref()), (Some("203.0.113.1"), None));
    assert_eq!((account.source_ip.as_deref(), account.client_id.as_deref()), (None, Some("a")));
    assert_eq!(account.members, ["192.0.2.1", "198.51.100.1", "203.0.113.1"]);
    assert_eq!((account.queries_seen, account.first_query.as_deref()), (3, Some("r-1")));
    assert_eq!(account.signals[0].name, "flagged_addresses_of_account");
    first.append(&mut second);
    assert!(first.iter().all(|line| line.client_id.is_none()), "not before");
}

#[test]
fn a_nat_is_not_condemned_with_one_of_its_accounts() {
    let mut world = World::new();
    world.ask("192.0.2.1", "honest", 0);
    let lines = world.flag("192.0.2.1", "attacker", Some("c-1"), 0.9);
    assert_eq!((lines[0].source_ip.as_deref(), lines[0].client_id.as_deref()), (Some("192.0.2.1"), Some("attacker")));
    let flagged = world.engine.memory.callers.of_case("c-1");
    assert_eq!(world.engine.memory.callers.flagged_addresses(flagged.into_iter()), Vec::<String>::new());
}

#[test]
fn a_campaign_is_announced_with_its_members_and_their_first_queries() {
    let mut world = World::new();
    let now = EARLIEST.plus_seconds(10);
    for host in 1..=3 {
        world.flag(&format!("192.0.{host}.1"), "", Some("c-1"), 0.9);
        let mut lines = Vec::new();
        world.engine.announce(now, "c-1", &mut lines);
        assert_eq!(lines.len(), usize::from(host == 2), "at two members, and not yet again at three");
        if let Some(line) = lines.first() {
            assert_eq!(
                (line.scope, line.members.as_slice()),
                (Scope::Campaign, ["192.0.1.1".to_owned(), "192.0.2.1".to_owned()].as_slice())
            );
            assert_eq!((line.queries.len(), line.queries_seen, line.signals[0].value as u32), (2, 2, 2));
        }
    }
    assert_eq!(world.engine.status().campaigns, 1);
}

#[test]
fn a_forgotten_client_is_left_out_of_the_drift_test_and_an_ordinary_one_is_not() {
    let mut world = World::new();
    let query = world.query("192.0.2.1", "", 0);
    world.engine.query(&query, &mut world.out);
    let Memory { callers, population, .. } = &mut world.engine.memory;
    let at = callers.sender(&query, query.time).unwrap().client();
    assert!(!is_suspect(callers, population, at, query.time));
    assert!(is_suspect(callers, population, SlotRef { slot: 999, generation: 3 }, query.time));
    callers.flag(at, crate::judge::client::Flag { at: query.time, family: Family::Grid, case: "c-1".into() });
    assert!(is_suspect(callers, population, at, query.time));
}

#[test]
fn strangers_whose_values_do_not_go_together_are_a_crowd_and_ordinary_strangers_are_a_launch() {
    // Two hundred new addresses with a query each, after five hours of forty callers.
    let named = |mixed: bool| {
        let mut world = World::new();
        for nth in 0..2_000_i64 {
            world.ask(&format!("192.0.2.{}", nth % 40), "", 9 * nth);
        }
        for nth in 0..200_i64 {
            let mut query = world.query(&format!("198.18.{nth}.1"), "", 18_000 + 2 * nth);
            if mixed {
                query.row = mixed_row(&world.engine.profile.reference.sample, nth as u64);
            }
            world.engine.query(&query, &mut world.out);
        }
        world.engine.end(&mut world.out);
        let is_named = |line: &&Verdict| line.scope == Scope::Client && line.verdict == Finding::Probing;
        let addresses: Vec<&str> = world.out.iter().filter(is_named).filter_map(|line| line.source_ip.as_deref()).collect();
        assert!(addresses.iter().all(|address| address.starts_with("198.18.")), "{addresses:?}");
        let is_crowd = |line: &Verdict| line.scope == Scope::Campaign && line.signals.iter().any(|s| s.name == "strangers");
        (addresses.len(), world.out.iter().any(is_crowd), world.out.iter().any(|line| line.verdict == Finding::Probing))
    };
    let (crowd, is_crowd, _) = named(true);
    assert!(crowd >= 50 && is_crowd, "{crowd} of 200, {is_crowd}");
    assert_eq!(named(false), (0, false, false));
}

/// A row whose columns come from different rows of the sample: its values do not go together.
fn mixed_row(sample: &[Vec<Cell>], seed: u64) -> Vec<Cell> {
    (0..sample[0].len()).map(|column| sample[crate::hash::mix2(seed, column as u64) as usize % sample.len()][column]).collect()
}

#[test]
fn callers_with_a_past_that_repeat_an_odd_row_are_compared_with_strangers_that_send_odd_rows() {
    // A third of the strangers send odd rows. A third of the callers with a past send one again and again, or none.
    let stands = |shared: bool| {
        let mut world = World::new();
        for nth in 0..2_000_i64 {
            world.ask(&format!("192.0.2.{}", nth % 40), "", 9 * nth);
        }
        let sample = world.engine.profile.reference.sample.clone();
        for nth in 0..400_i64 {
            let at = 18_000 + 9 * nth;
            let mut query = world.query(&format!("192.0.2.{}", nth % 40), "", at);
            if shared && nth % 40 < 13 {
                query.row = mixed_row(&sample, 5);
            }
            world.engine.query(&query, &mut world.out);
            if nth % 4 == 0 {
                let mut query = world.query(&format!("198.18.{}.1", nth / 4), "", at + 1);
                if nth % 12 == 0 {
                    query.row = mixed_row(&sample, 1_000 + nth as u64);
                }
                world.engine.query(&query, &mut world.out);
            }
        }
        world.engine.memory.crowd.stands()
    };
    assert!(stands(false), "callers with a past are spared");
    assert!(!stands(true), "they are not");
}
