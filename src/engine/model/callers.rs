//! The clients of one model, what they share, and who is flagged.

use std::collections::BTreeSet;

use super::Asked;
use super::flagged::Flagged;
use super::profile::Profile;
use crate::event::{Address, EventTime, Query};
use crate::judge::client::{Client, Flag, Key};
use crate::judge::shared_identity::{SharedIdentities, ThresholdCrossed};
use crate::judge::structure::Sender;
use crate::signal::codes::Codes;
use crate::signal::rate::percentile;
use crate::window::clients::{SlotRef, Table};

/// Queries of a client before its feature values are counted: with fewer an entropy is mostly the bias of its estimate.
pub(super) const VALUES_FROM: u64 = 8;
/// Percentile of the clients' rates that an unusual rate is compared with, the one that operators expect.
const RATE_PERCENTILE: f64 = 0.95;

/// Key of the population of all queries that do not say who asked.
const NOBODY: Key = Key { address: Address::Unknown, account: 0 };

/// Clients of one model.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub(super) struct Callers {
    /// State by client.
    pub(super) clients: Table<Key, Client>,
    /// What clients have in common.
    pub(super) shared_identities: SharedIdentities,
    /// Flagged clients.
    pub(super) flagged: Flagged,
}

// === impl Callers ===

impl Callers {
    /// No clients yet, and room for `max_clients`.
    pub(super) fn new(max_clients: usize) -> Self {
        Self { clients: Table::new(max_clients), shared_identities: SharedIdentities::default(), flagged: Flagged::default() }
    }

    /// The client that sent a query, made if it is new. `None` if the log does not say who asked: many callers taken for one would
    /// look odd together.
    pub(super) fn sender(&mut self, query: &Query, now: EventTime) -> Option<Sender> {
        if query.address == Address::Unknown && query.account.is_empty() {
            return None;
        }
        let key = Key::of(query.address, &query.account);
        let (at, is_new) = self.touch(&key, || Client::new(query, now));
        if let Some(client) = self.clients.get(at) {
            client.prefetch();
        }
        if is_new {
            self.shared_identities.join(&key);
        }
        Some(Sender::new(at, query.address, key.account))
    }

    /// The client of a key, made by `fresh` if it is new, and whether it is.
    fn touch(&mut self, key: &Key, fresh: impl FnOnce() -> Client) -> (SlotRef, bool) {
        // A flood of new clients must not make the engine forget whom it flagged, nor may flagged clients fill its memory.
        let (flagged, held) = (&self.flagged, self.clients.len() as u64);
        let spare = |client: &Client| client.is_flagged() && flagged.len() * 2 <= held;
        let (at, is_new, forgotten) = self.clients.touch_sparing(key, fresh, spare);
        if let Some((gone, client)) = forgotten {
            self.forget(at.before(), &gone, &client);
        }
        (at, is_new)
    }

    /// The population of all queries that do not say who asked, made if it is new.
    pub(super) fn anonymous(&mut self, query: &Query, now: EventTime) -> Sender {
        let (at, _) = self.touch(&NOBODY, || Client { is_shared: true, ..Client::new(query, now) });
        Sender::new(at, Address::Unknown, 0)
    }

    /// Callers that are known: a population is none.
    pub(super) fn known(&self) -> usize {
        self.clients.len() - usize::from(self.clients.find(&NOBODY).is_some())
    }

    /// Prefetches the rows of a client.
    pub(super) fn prefetch_rows(&self, at: SlotRef) {
        self.clients.get(at).into_iter().for_each(Client::prefetch_rows);
    }

    fn forget(&mut self, at: SlotRef, key: &Key, client: &Client) {
        // The population never joined.
        if *key != NOBODY {
            self.shared_identities.leave(key, client.is_flagged());
        }
        self.flagged.remove(at, client);
    }

    /// Counts a query of its client, with the classic signals if it is on time; returns the seconds since the client's previous
    /// query. A late query is out of its order, so it says nothing of rate and gaps.
    pub(super) fn note(&mut self, asked: &Asked<'_>, codes: &Codes, profile: &Profile) -> Option<f64> {
        let client = self.clients.get_mut(asked.at)?;
        client.queries += 1;
        client.information.note(codes, &profile.regions);
        if asked.late {
            return None;
        }
        client.last = client.last.max(asked.query.time);
        client.rate.add(asked.query.time);
        if client.queries >= VALUES_FROM {
            client.values.add(&codes.coarse, profile.coder.sizes());
        }
        client.gap.add(asked.query.time)
    }

    /// Flags a client; returns what that says of those who share an address, a prefix or an account with it.
    pub(super) fn flag(&mut self, at: SlotRef, flag: Flag) -> ThresholdCrossed {
        let Some(client) = self.clients.get_mut(at) else { return ThresholdCrossed::default() };
        let key = Key::of(client.address, &client.account);
        self.flagged.add(at, client, &flag);
        client.flag = Some(flag);
        self.shared_identities.flag(&key)
    }

    /// The clients at these places.
    pub(super) fn at(&self, places: impl Iterator<Item = SlotRef>) -> Vec<&Client> {
        places.filter_map(|at| self.clients.get(at)).collect()
    }

    /// Flagged clients of a case.
    pub(super) fn of_case(&self, case: &str) -> Vec<&Client> {
        self.at(self.flagged.of_case(case).into_iter().flatten().copied())
    }

    /// Addresses of flagged clients, in order. An address that several accounts share is left out: the others there are not meant.
    pub(super) fn flagged_addresses<'a>(&self, flagged: impl Iterator<Item = &'a Client>) -> Vec<String> {
        let alone = |c: &&Client| c.address != Address::Unknown && self.shared_identities.accounts_at(c.address) <= 1;
        let addresses: BTreeSet<Address> = flagged.filter(alone).map(|c| c.address).collect();
        addresses.iter().map(ToString::to_string).collect()
    }

    /// The 95th percentile over the clients that sent anything of their queries within the last hour.
    pub(super) fn rate_percentile(&self, now: EventTime) -> f64 {
        let rate = |client: &Client| f64::from(client.rate.queries(now, 1));
        let mut rates: Vec<f64> = self
            .clients
            .iter()
            .filter(|(_, _, client)| !client.is_shared)
            .map(|(_, _, client)| rate(client))
            .filter(|&rate| rate > 0.0)
            .collect();
        percentile(&mut rates, RATE_PERCENTILE)
    }

    /// Bytes held by the clients.
    pub(super) fn bytes(&self) -> usize {
        self.clients.iter().map(|(_, _, client)| client.bytes()).sum()
    }
}
