//! Callers that have something in common: an address, a prefix (/24, /64), an account.
//!
//! A client is an account at an address. One that is flagged says nothing about its neighbours; several say something about what
//! they share. So who belongs together is counted as clients come, are flagged and are forgotten, and when the flagged are three
//! or more, and at least half of all that are known there, a verdict speaks of the account or the prefix as such. It never flags
//! the others there: honest people live in prefixes, too.
//!
//! All three maps hold only what has clients, so they are as bounded as the table of clients.

use std::net::IpAddr;

use rustc_hash::FxHashMap;

use super::client::Key;
use crate::event::Address;

/// Flagged addresses from which a verdict speaks of what they share: two may be one person's phone and desk. At the stated rate
/// of false alarms per client, three independent ones among the few clients of a company are out of the question.
const ENOUGH: u32 = 3;

/// Callers that share something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct SharedIdentity {
    /// Known members: accounts of an address, addresses of an account or prefix.
    pub members: u32,
    /// Members that are flagged.
    pub flagged: u32,
    /// Whether a verdict on it was given.
    said: bool,
}

/// Who shares what.
#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct SharedIdentities {
    /// Accounts of an address.
    addresses: FxHashMap<Address, SharedIdentity>,
    /// Addresses of a prefix.
    prefixes: FxHashMap<IpAddr, SharedIdentity>,
    /// Addresses of an account, by the hash of its name.
    accounts: FxHashMap<u64, SharedIdentity>,
}

/// What a newly flagged client makes to be said about its company.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ThresholdCrossed {
    /// Its account, with the figures.
    pub account: Option<SharedIdentity>,
    /// Its prefix, with the figures.
    pub prefix: Option<(IpAddr, SharedIdentity)>,
}

// === impl SharedIdentity ===

impl SharedIdentity {
    fn is_bad(self) -> bool {
        self.flagged >= ENOUGH && self.flagged * 2 >= self.members
    }

    /// Whether a verdict is due; it is given once.
    fn tips(&mut self) -> Option<Self> {
        let due = !self.said && self.is_bad();
        self.said |= due;
        due.then_some(*self)
    }

    fn leave(&mut self, flagged: bool) {
        self.members = self.members.saturating_sub(1);
        self.flagged = self.flagged.saturating_sub(u32::from(flagged));
    }
}

// === impl SharedIdentities ===

impl SharedIdentities {
    /// A client is new.
    pub fn join(&mut self, key: &Key) {
        let household = self.addresses.entry(key.address).or_default();
        household.members += 1;
        if household.members == 1
            && let Some(prefix) = key.address.prefix()
        {
            self.prefixes.entry(prefix).or_default().members += 1;
        }
        if key.account != 0 {
            self.accounts.entry(key.account).or_default().members += 1;
        }
    }

    /// A client is forgotten.
    pub fn leave(&mut self, key: &Key, flagged: bool) {
        if let Some(household) = self.addresses.get_mut(&key.address) {
            let was = household.flagged > 0;
            household.leave(flagged);
            let (empty, cleared) = (household.members == 0, was && household.flagged == 0);
            if empty {
                self.addresses.remove(&key.address);
            }
            if let Some(prefix) = key.address.prefix()
                && let Some(company) = self.prefixes.get_mut(&prefix)
            {
                company.flagged = company.flagged.saturating_sub(u32::from(cleared));
                company.members = company.members.saturating_sub(u32::from(empty));
                if company.members == 0 {
                    self.prefixes.remove(&prefix);
                }
            }
        }
        if let Some(company) = self.accounts.get_mut(&key.account) {
            company.leave(flagged);
            if company.members == 0 {
                self.accounts.remove(&key.account);
            }
        }
    }

    /// A client is flagged: what does that say about its company?
    pub fn flag(&mut self, key: &Key) -> ThresholdCrossed {
        let mut crossed_now = ThresholdCrossed::default();
        if let Some(household) = self.addresses.get_mut(&key.address) {
            household.flagged += 1;
            if household.flagged == 1
                && let Some(prefix) = key.address.prefix()
                && let Some(company) = self.prefixes.get_mut(&prefix)
            {
                company.flagged += 1;
                crossed_now.prefix = company.tips().map(|company| (prefix, company));
            }
        }
        if let Some(company) = self.accounts.get_mut(&key.account) {
            company.flagged += 1;
            crossed_now.account = company.tips();
        }
        crossed_now
    }

    /// Accounts known at an address; 1 if it never named any.
    pub fn accounts_at(&self, address: Address) -> u32 {
        self.addresses.get(&address).map_or(0, |household| household.members)
    }

    /// The company of an address in its prefix.
    pub fn neighbours(&self, address: Address) -> SharedIdentity {
        address.prefix().and_then(|prefix| self.prefixes.get(&prefix)).copied().unwrap_or_default()
    }
}

/// A prefix as people write it.
pub fn prefix_name(prefix: IpAddr) -> String {
    format!("{prefix}/{}", if prefix.is_ipv4() { 24 } else { 64 })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(ip: &str, account: u64) -> Key {
        Key { address: Address::parse(ip).unwrap(), account }
    }

    #[test]
    fn a_prefix_is_spoken_of_once_when_three_of_its_addresses_and_half_of_them_are_flagged() {
        let mut shared_identities = SharedIdentities::default();
        let keys: Vec<Key> = (1..=6).map(|host| key(&format!("198.51.100.{host}"), 0)).collect();
        keys.iter().for_each(|key| shared_identities.join(key));
        assert_eq!((shared_identities.flag(&keys[0]).prefix, shared_identities.flag(&keys[1]).prefix), (None, None));
        let (prefix, company) = shared_identities.flag(&keys[2]).prefix.unwrap();
        assert_eq!((prefix_name(prefix).as_str(), company.members, company.flagged), ("198.51.100.0/24", 6, 3));
        assert_eq!(shared_identities.flag(&keys[3]).prefix, None, "said once");
    }

    #[test]
    fn a_prefix_where_most_are_honest_is_not_spoken_of() {
        let mut shared_identities = SharedIdentities::default();
        let keys: Vec<Key> = (1..=20).map(|host| key(&format!("2001:db8::{host:x}"), 0)).collect();
        keys.iter().for_each(|key| shared_identities.join(key));
        assert!(keys[..9].iter().all(|key| shared_identities.flag(key).prefix.is_none()));
        assert_eq!(prefix_name(shared_identities.flag(&keys[9]).prefix.unwrap().0), "2001:db8::/64");
    }

    #[test]
    fn three_accounts_behind_one_address_are_one_address_of_the_prefix_and_none_of_each_other() {
        let mut shared_identities = SharedIdentities::default();
        let keys: Vec<Key> = (1..=3).map(|account| key("203.0.113.7", account)).collect();
        keys.iter().for_each(|key| shared_identities.join(key));
        assert!(keys.iter().all(|key| shared_identities.flag(key) == ThresholdCrossed::default()));
        assert_eq!(shared_identities.neighbours(keys[0].address), SharedIdentity { members: 1, flagged: 1, said: false });
        assert_eq!(shared_identities.accounts_at(keys[0].address), 3);
    }

    #[test]
    fn an_account_is_spoken_of_wherever_it_is() {
        let mut shared_identities = SharedIdentities::default();
        let keys: Vec<Key> = (1..=4).map(|net| key(&format!("203.0.{net}.7"), 42)).collect();
        keys.iter().for_each(|key| shared_identities.join(key));
        assert!(keys[..2].iter().all(|key| shared_identities.flag(key).account.is_none()));
        assert_eq!(shared_identities.flag(&keys[2]).account.map(|company| (company.members, company.flagged)), Some((4, 3)));
    }

    #[test]
    fn what_is_forgotten_leaves_nothing_behind() {
        let mut shared_identities = SharedIdentities::default();
        let keys: Vec<Key> = (0..50).map(|i| key(&format!("198.51.{}.{}", i % 3, i % 7), 1 + i % 5)).collect();
        let keys: std::collections::BTreeMap<_, _> = keys.into_iter().map(|k| (format!("{k:?}"), k)).collect();
        keys.values().for_each(|key| shared_identities.join(key));
        keys.values().step_by(2).for_each(|key| {
            shared_identities.flag(key);
        });
        keys.values().enumerate().for_each(|(i, key)| shared_identities.leave(key, i % 2 == 0));
        assert!(
            shared_identities.addresses.is_empty()
                && shared_identities.prefixes.is_empty()
                && shared_identities.accounts.is_empty()
        );
    }
}
