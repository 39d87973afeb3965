//! Who is flagged, by what verdicts speak of together: the case, the prefix, the account.
//!
//! A campaign has thousands of members. Each of them may bring up its prefix or its case, so neither may be looked for among all clients.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::judge::Family;
use crate::judge::client::{Client, Flag, account_hash};
use crate::window::clients::SlotRef;

/// Flagged clients of one model.
#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
pub(super) struct Flagged {
    by_family: BTreeMap<Family, u64>,
    by_case: BTreeMap<String, BTreeSet<SlotRef>>,
    by_prefix: BTreeSet<(IpAddr, SlotRef)>,
    by_account: BTreeSet<(u64, SlotRef)>,
    all: u64,
}

// === impl Flagged ===

impl Flagged {
    /// A client gets this flag.
    pub(super) fn add(&mut self, at: SlotRef, client: &Client, flag: &Flag) {
        self.all += 1;
        *self.by_family.entry(flag.family).or_default() += 1;
        self.by_case.entry(flag.case.clone()).or_default().insert(at);
        if let Some(prefix) = client.address.prefix() {
            self.by_prefix.insert((prefix, at));
        }
        if let account @ 1.. = account_hash(&client.account) {
            self.by_account.insert((account, at));
        }
    }

    /// A client is forgotten; nothing happens if it is not flagged.
    pub(super) fn remove(&mut self, at: SlotRef, client: &Client) {
        let Some(flag) = &client.flag else { return };
        self.all = self.all.saturating_sub(1);
        if let Some(count) = self.by_family.get_mut(&flag.family) {
            *count = count.saturating_sub(1);
        }
        if let Some(members) = self.by_case.get_mut(&flag.case) {
            members.remove(&at);
            if members.is_empty() {
                self.by_case.remove(&flag.case);
            }
        }
        if let Some(prefix) = client.address.prefix() {
            self.by_prefix.remove(&(prefix, at));
        }
        self.by_account.remove(&(account_hash(&client.account), at));
    }

    /// How many there are.
    pub(super) fn len(&self) -> u64 {
        self.all
    }

    /// How many there are, by family.
    pub(super) fn by_family(&self) -> &BTreeMap<Family, u64> {
        &self.by_family
    }

    /// Those of a case, in slot order.
    pub(super) fn of_case(&self, case: &str) -> Option<&BTreeSet<SlotRef>> {
        self.by_case.get(case)
    }

    /// Those whose address has this prefix, in slot order.
    pub(super) fn in_prefix(&self, prefix: IpAddr) -> impl Iterator<Item = SlotRef> {
        of(&self.by_prefix, prefix)
    }

    /// Those of an account, given as its hash, in slot order.
    pub(super) fn of_account(&self, account: u64) -> impl Iterator<Item = SlotRef> {
        of(&self.by_account, account)
    }
}

/// The clients of a key, in slot order.
fn of<K: Ord + Copy>(by: &BTreeSet<(K, SlotRef)>, key: K) -> impl Iterator<Item = SlotRef> {
    let first = SlotRef { slot: 0, generation: 0 };
    let last = SlotRef { slot: u32::MAX, generation: u32::MAX };
    by.range((key, first)..=(key, last)).map(|&(_, at)| at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Address, EventTime, Query};

    fn client(address: &str, account: &str, case: &str) -> Client {
        let query = Query { address: Address::Ip(address.parse().unwrap()), account: account.into(), ..Query::default() };
        let flag = Flag { at: EventTime::default(), family: Family::Grid, case: case.into() };
        Client { flag: Some(flag), ..Client::new(&query, EventTime::default()) }
    }

    fn at(slot: u32) -> SlotRef {
        SlotRef { slot, generation: 1 }
    }

    #[test]
    fn each_index_has_who_is_flagged_in_slot_order_until_it_is_forgotten() {
        let clients = [client("192.0.2.1", "a", "c-1"), client("198.51.100.1", "a", "c-2"), client("192.0.2.9", "b", "c-1")];
        let mut flagged = Flagged::default();
        for slot in [2, 0, 1] {
            let client = &clients[slot];
            flagged.add(at(slot as u32), client, client.flag.as_ref().unwrap());
        }
        let prefix = clients[0].address.prefix().unwrap();
        let account = account_hash("a");
        assert_eq!(flagged.in_prefix(prefix).collect::<Vec<_>>(), [at(0), at(2)]);
        assert_eq!(flagged.of_account(account).collect::<Vec<_>>(), [at(0), at(1)]);
        assert_eq!(flagged.of_case("c-1").unwrap().iter().copied().collect::<Vec<_>>(), [at(0), at(2)]);
        assert_eq!((flagged.len(), flagged.by_family()[&Family::Grid]), (3, 3));
        for (slot, client) in clients.iter().enumerate() {
            flagged.remove(at(slot as u32), client);
        }
        assert_eq!((flagged.len(), flagged.by_family()[&Family::Grid], flagged.of_case("c-1")), (0, 0, None));
        assert_eq!((flagged.in_prefix(prefix).count(), flagged.of_account(account).count()), (0, 0));
        let honest = Client { flag: None, ..client("192.0.2.1", "a", "c-1") };
        flagged.remove(at(0), &honest);
        assert_eq!(flagged.len(), 0);
    }
}
