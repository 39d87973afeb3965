//! The information budget: which clients, accounts and campaigns have received the most answers that a model can be learned from?
//!
//! It flags nobody. A client that copies a model with rows like everybody's cannot be told from a good customer. The figures say how
//! far such a copy could have got, and a person decides (docs/threat-model.md). What a client learned adds up with what it learned
//! elsewhere: the clients of one campaign count as one holder, and so do the addresses of one account.
//!
//! The budgets are computed on request, in two passes over the clients: the first counts who shares a case or an account, the second
//! merges those. Of all other clients only the few largest are kept, so that names are made for those alone.

use rustc_hash::FxHashMap;
use serde::Serialize;

use super::At;
use super::client::{Client, Key, subject};
use super::shared_identity::SharedIdentities;
use crate::signal::information::{Information, Regions};
use crate::window::clients::Table;

/// Holders listed. Chosen: as many as a person asks about.
pub const LISTED: usize = 5;
/// Days over which the growth is averaged at least, so that one busy hour is not extrapolated to a day.
const LEAST_DAYS: f64 = 1.0;
/// Seconds in a day.
const DAY_SECONDS: f64 = 86_400.0;

/// What one holder (a client, an account at several addresses, or a campaign) could have learned.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct InformationBudget {
    /// Its address, if it has only one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_ip: Option<String>,
    /// Its account, if it has only one and the address alone does not name it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// Its case, if it is a campaign.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub case: Option<String>,
    /// Clients that it consists of.
    pub callers: u64,
    /// Queries, repeats included.
    pub queries: u64,
    /// Distinct informative rows, estimated to about 13%.
    pub rows: f64,
    /// Those rows over d + 1, the unknowns of a linear model of d columns.
    pub ratio: f64,
    /// Share of the reference that lies in the regions it asked about, 0 to 1; `None` where the reference knows no regions.
    pub covered: Option<f64>,
    /// Its first query.
    pub since: At,
    /// Growth: distinct rows per day since then, counting at least one day.
    pub rows_per_day: f64,
    /// Whether it is flagged as probing.
    pub flagged: bool,
}

/// What computing the budgets reads.
pub struct Budgets<'a> {
    /// The clients.
    pub clients: &'a Table<Key, Client>,
    /// Who shares an address.
    pub shared_identities: &'a SharedIdentities,
    /// Regions of the model.
    pub regions: &'a Regions,
}

/// Clients that count as one: those of a case, those of an account, or a single client.
struct Holder<'a> {
    case: Option<&'a str>,
    information: Information,
    first: &'a Client,
    last: &'a Client,
    callers: u64,
    queries: u64,
    flagged: bool,
}

// === impl Holder ===

impl<'a> Holder<'a> {
    fn new(client: &'a Client, case: Option<&'a str>) -> Self {
        Self {
            case,
            information: client.information.clone(),
            first: client,
            last: client,
            callers: 1,
            queries: client.queries,
            flagged: client.is_flagged(),
        }
    }

    fn add(&mut self, client: &'a Client) {
        self.information.merge(&client.information);
        self.callers += 1;
        self.queries += client.queries;
        self.flagged |= client.is_flagged();
        if client.first < self.first.first {
            self.first = client;
        }
        if client.last > self.last.last {
            self.last = client;
        }
    }
}

// === impl Budgets ===

impl Budgets<'_> {
    /// The holders with most distinct rows, largest first.
    pub fn largest(&self) -> Vec<InformationBudget> {
        let mut cases: FxHashMap<&str, u32> = FxHashMap::default();
        let mut accounts: FxHashMap<u64, u32> = FxHashMap::default();
        let callers = || self.clients.iter().filter(|(_, _, client)| !client.is_shared);
        for (_, key, client) in callers() {
            if let Some(flag) = &client.flag {
                *cases.entry(&flag.case).or_default() += 1;
            }
            if key.account != 0 {
                *accounts.entry(key.account).or_default() += 1;
            }
        }
        let mut by_case: FxHashMap<&str, usize> = FxHashMap::default();
        let mut by_account: FxHashMap<u64, usize> = FxHashMap::default();
        let mut joint: Vec<Holder<'_>> = Vec::new();
        let mut alone: Vec<&Client> = Vec::with_capacity(LISTED + 1);
        for (_, key, client) in callers() {
            let case = client.flag.as_ref().map(|flag| flag.case.as_str()).filter(|case| cases[case] > 1);
            let account = Some(key.account).filter(|account| accounts.get(account).is_some_and(|&n| n > 1));
            let place = match (case, account) {
                (Some(case), _) => Some(by_case.entry(case).or_insert(usize::MAX)),
                (None, Some(account)) => Some(by_account.entry(account).or_insert(usize::MAX)),
                (None, None) => None,
            };
            match place {
                Some(at) if *at == usize::MAX => {
                    *at = joint.len();
                    joint.push(Holder::new(client, case));
                }
                Some(at) => joint[*at].add(client),
                None => keep_largest(&mut alone, client),
            }
        }
        joint.extend(alone.into_iter().map(|client| Holder::new(client, None)));
        joint.sort_by(|a, b| b.information.rows().total_cmp(&a.information.rows()).then(a.first.first.cmp(&b.first.first)));
        joint.truncate(LISTED);
        joint.iter().map(|holder| self.budget(holder)).collect()
    }

    /// What one holder could have learned, with its names.
    fn budget(&self, holder: &Holder<'_>) -> InformationBudget {
        let accounts = self.shared_identities.accounts_at(holder.first.address);
        let (source_ip, client_id) = match (holder.case, holder.callers) {
            (Some(_), _) => (None, None),
            (None, 1) => subject(holder.first, accounts),
            (None, _) => (None, Some(holder.first.account.to_string())),
        };
        let days = holder.last.last.seconds_since(holder.first.first) / DAY_SECONDS;
        let rows = holder.information.rows();
        InformationBudget {
            source_ip,
            client_id,
            case: holder.case.map(str::to_owned),
            callers: holder.callers,
            queries: holder.queries,
            rows,
            ratio: self.regions.ratio(&holder.information),
            covered: self.regions.covered(&holder.information),
            since: At(holder.first.first),
            rows_per_day: rows / days.max(LEAST_DAYS),
            flagged: holder.flagged,
        }
    }
}

/// Keeps the clients with the most rows, [`LISTED`] at most; of equals the one that came first.
fn keep_largest<'a>(largest: &mut Vec<&'a Client>, client: &'a Client) {
    let at = largest.partition_point(|known| known.information.rows() >= client.information.rows());
    if at < LISTED {
        largest.insert(at, client);
        largest.truncate(LISTED);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Address, EventTime, Query};
    use crate::judge::Family;
    use crate::judge::client::Flag;
    use crate::reference::{Column, Dataset, FitOptions, Raw, fit};
    use crate::signal::codes::{Coder, Codes};

    struct World {
        coder: Coder,
        regions: Regions,
        clients: Table<Key, Client>,
        shared_identities: SharedIdentities,
    }

    impl World {
        fn new() -> Self {
            let n = 1000_u64;
            let column = |salt: u64| (0..n).map(move |i| (crate::hash::mix(i ^ salt) % 997) as f64);
            let features =
                (0..3_u64).map(|j| Column { name: format!("x{j}"), cells: column(j << 20).map(Raw::Number).collect() }).collect();
            let dataset = Dataset { features, predictions: column(0).map(Raw::Number).collect(), probabilities: Vec::new() };
            let reference = fit(&dataset, &FitOptions { model: "m".into(), ..FitOptions::default() }).unwrap();
            let coder = Coder::new(&reference);
            let regions = Regions::new(&reference, &coder, 1);
            Self { coder, regions, clients: Table::new(100), shared_identities: SharedIdentities::default() }
        }

        /// `rows` different rows, the first of them number `from`, by an account (or none) at an address.
        fn ask(&mut self, address: &str, account: &str, from: u64, rows: u64) {
            let address = Address::parse(address).unwrap();
            let query = Query { address, account: account.into(), time: EventTime::from_micros(1), ..Query::default() };
            let key = Key::of(address, account);
            let (at, fresh, _) = self.clients.touch(&key, || Client::new(&query, query.time));
            if fresh {
                self.shared_identities.join(&key);
            }
            let client = self.clients.get_mut(at).unwrap();
            let mut codes = Codes::default();
            for i in from..from + rows {
                let row: Vec<_> = (0..3).map(|j| crate::event::Cell::number((crate::hash::mix(i << 8 | j) % 997) as f64)).collect();
                self.coder.encode(&row, &mut codes);
                client.information.note(&codes, &self.regions);
                client.queries += 1;
            }
        }

        fn flag(&mut self, case: &str) {
            for (_, client) in self.clients.iter_mut() {
                client.flag = Some(Flag { at: EventTime::default(), family: Family::Grid, case: case.into() });
            }
        }

        fn largest(&self) -> Vec<InformationBudget> {
            Budgets { clients: &self.clients, shared_identities: &self.shared_identities, regions: &self.regions }.largest()
        }
    }

    #[test]
    fn an_account_at_many_addresses_is_one_holder() {
        let mut world = World::new();
        for i in 0..10_u64 {
            world.ask(&format!("192.0.2.{i}"), "a", i * 20, 20);
        }
        world.ask("198.51.100.1", "", 5000, 40);
        let largest = world.largest();
        assert_eq!((largest.len(), largest[0].callers, largest[0].queries), (2, 10, 200));
        assert_eq!((largest[0].client_id.as_deref(), largest[0].source_ip.as_deref()), (Some("a"), None));
        assert!(largest[0].ratio > 100.0 / 4.0, "{:?}", largest[0]);
        assert_eq!(largest[1].source_ip.as_deref(), Some("198.51.100.1"));
    }

    #[test]
    fn the_same_rows_at_two_addresses_are_learned_once() {
        let mut world = World::new();
        world.ask("192.0.2.1", "a", 0, 30);
        let alone = world.largest()[0].rows;
        world.ask("192.0.2.2", "a", 0, 30);
        assert!((world.largest()[0].rows - alone).abs() < 1e-6);
    }

    #[test]
    fn a_campaign_is_one_holder_whatever_its_accounts() {
        let mut world = World::new();
        for i in 0..10_u64 {
            world.ask(&format!("192.0.2.{i}"), &format!("account {i}"), i * 20, 20);
        }
        assert_eq!(world.largest().len(), LISTED);
        assert!(world.largest()[0].rows < 40.0);
        world.flag("c-1");
        let largest = world.largest();
        assert_eq!((largest.len(), largest[0].callers, largest[0].case.as_deref()), (1, 10, Some("c-1")));
        assert!(largest[0].flagged && largest[0].rows > 120.0, "{:?}", largest[0]);
    }

    #[test]
    fn the_few_largest_are_listed_in_order() {
        let mut world = World::new();
        for i in 0..20_u64 {
            world.ask(&format!("192.0.2.{i}"), "", i * 100, 2 + 3 * (i * 7 % 20));
        }
        let rows: Vec<f64> = world.largest().iter().map(|budget| budget.rows).collect();
        assert!(rows.len() == LISTED && rows.is_sorted_by(|a, b| a >= b) && rows[0] > 40.0, "{rows:?}");
    }
}
