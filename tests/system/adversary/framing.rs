//! Can the attacker have an innocent caller accused?

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use tripline::engine::EngineConfig;
use tripline::event::{Address, Cell, Query};
use tripline::reference::Kind;
use tripline::simulate::attack::AttackKind;
use tripline::simulate::callers::after;
use tripline::simulate::rows::Subpopulation;

use super::plan::{AttackPlan, RowSource, START, sender};
use super::scenario::{Operation, Purpose, Scenario, Sender, SentQuery};

/// Settings with a salt.
pub fn salted(salt: u64) -> EngineConfig {
    EngineConfig { salt, ..EngineConfig::default() }
}

/// Queries of a caller after the attack's start, and rows before it.
type Seen = (usize, Vec<Vec<Cell>>);

/// An honest caller of the scenario with an account, the busiest after the attack's start, and its last rows before it.
pub fn innocent(scenario: &Scenario) -> (Sender, Vec<Vec<Cell>>) {
    let mut by: BTreeMap<(IpAddr, &str), Seen> = BTreeMap::new();
    for query in scenario.honest().iter().filter(|query| !query.account.is_empty()) {
        if let Address::Ip(ip) = query.address {
            let (later, before) = by.entry((ip, &query.account)).or_default();
            if query.time > Scenario::hour(START) {
                *later += 1;
            } else {
                before.push(query.row.clone());
            }
        }
    }
    let busiest = by.into_iter().filter(|(_, (_, before))| before.len() >= 5).max_by_key(|(key, (later, _))| (*later, *key));
    let ((address, account), (_, before)) = busiest.unwrap();
    let last = before.len().saturating_sub(12);
    (Sender { address, account: Some(Arc::from(account)) }, before[last..].to_vec())
}

/// An attack from the innocent's own address, as another account: a NAT, a proxy, a shared host.
pub fn same_address(scenario: &Scenario, family: AttackKind, seed: u64) -> Operation {
    let plan = AttackPlan { hours: 3.0, ..AttackPlan::plain(RowSource::Published(family), 300) };
    let rows = plan.rows(scenario, seed);
    let mut operation = plan.operation(scenario, &rows, seed);
    operation.senders[0].address = innocent(scenario).0.address;
    operation
}

/// Rows round `base`: one or several fields changed, as searches do.
fn round(scenario: &Scenario, base: &[Cell], rng: &mut ChaCha8Rng) -> Vec<Cell> {
    let rows = &scenario.world().rows;
    let mut row = base.to_vec();
    for _ in 0..rng.random_range(1..4) {
        let j = rng.random_range(0..row.len());
        let feature = &rows.features[j];
        row[j] = match feature.kind {
            Kind::Categorical => Cell::category(rng.random_range(0..feature.values.len())),
            _ => rows.snap(j, rows.quantile(j, rng.random::<f64>())),
        };
    }
    row
}

/// Four callers search round each of the given rows, forty queries a row, from the attack's start on.
pub fn searches_round(scenario: &Scenario, bases: &[Vec<Cell>], with_base: bool, seed: u64) -> Operation {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let senders: Vec<Sender> = (0..4).map(|_| sender(&mut rng)).collect();
    let mut operation = Operation { senders, ..Operation::default() };
    let mut now = Scenario::hour(START);
    for base in bases {
        for nth in 0..40 {
            let row = if with_base && nth < 4 { base.clone() } else { round(scenario, base, &mut rng) };
            operation.sent.push(SentQuery { at: now, sender: nth % 4, row, part: Purpose::Attack });
            now = after(now, 3.0);
        }
    }
    operation
}

/// Several callers who all send the same few well-known rows (the examples of a manual, the rows of a health check), each hour.
pub fn senders_of_known_rows(scenario: &Scenario, known: &[Vec<Cell>], seed: u64) -> Vec<Query> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut queries = Vec::new();
    for _ in 0..6 {
        let who = sender(&mut rng);
        let mut place = Subpopulation::everywhere();
        for hour in 0..15 {
            let mut now = after(Scenario::hour(f64::from(hour)), 3000.0 * rng.random::<f64>());
            for row in known {
                queries.push(scenario.bystander(now, &who, row));
                now = after(now, 5.0);
            }
            let row = scenario.world().draw(&mut rng, &mut place, now);
            queries.push(scenario.bystander(now, &who, &row));
        }
    }
    queries
}
