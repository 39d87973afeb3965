//! What clients share: an address, a prefix (/24, /64), an account.
//!
//! A client is an account at an address. One flagged client says nothing about its neighbours; several say something about what they
//! share. Members are counted as clients come, are flagged and are forgotten. When the flagged members are [`MIN_FLAGGED`] or more,
//! and at least half of all that are known there, a verdict speaks of the account or the prefix as such. It never flags the other members:
//! honest people live in prefixes, too.
//!
//! All three maps hold only what has clients, so they are as bounded as the table of clients.

use std::net::IpAddr;

use rustc_hash::FxHashMap;

use super::client::Key;
use crate::event::Address;

/// Flagged members from which on a verdict speaks of what they share. Two may be one person's phone and desk. Three independent false
/// alarms among the n clients of an address or prefix in a day have probability (nα)³/6 at most; at the default rate α of 10⁻⁴ and a
/// hundred clients that is two in ten million.
const MIN_FLAGGED: u32 = 3;
/// One of so many members must be flagged: half of them. Chosen: a verdict on a whole must hold for most of it.
const FLAGGED_ONE_IN: u32 = 2;

/// What several clients share: an address, a prefix or an account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct SharedIdentity {
    /// Known members: accounts at an address, addresses of an account or of a prefix.
    pub members: u32,
    /// Members that are flagged.
    pub flagged: u32,
    /// Whether a verdict on it was given.
    reported: bool,
}

/// Everything that clients share, with its members.
#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct SharedIdentities {
    /// Accounts at an address.
    addresses: FxHashMap<Address, SharedIdentity>,
    /// Addresses of a prefix.
    prefixes: FxHashMap<IpAddr, SharedIdentity>,
    /// Addresses of an account, by the hash of its name.
    accounts: FxHashMap<u64, SharedIdentity>,
}

/// What crossed the threshold when a client was flagged: a verdict on each is due.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ThresholdCrossed {
    /// The client's account, with its counts.
    pub account: Option<SharedIdentity>,
    /// The client's prefix, with its counts.
    pub prefix: Option<(IpAddr, SharedIdentity)>,
}

// === impl SharedIdentity ===

impl SharedIdentity {
    /// Whether enough members are flagged for a verdict on all of them together.
    fn is_mostly_flagged(self) -> bool {
        self.flagged >= MIN_FLAGGED && self.flagged * FLAGGED_ONE_IN >= self.members
    }

    /// Its counts, if a verdict on it is due. It is due once.
    fn report_once(&mut self) -> Option<Self> {
        let due = !self.reported && self.is_mostly_flagged();
        self.reported |= due;
        due.then_some(*self)
    }

    /// A member is forgotten.
    fn remove(&mut self, flagged: bool) {
        self.members = self.members.saturating_sub(1);
        self.flagged = self.flagged.saturating_sub(u32::from(flagged));
    }
}

// === impl SharedIdentities ===

impl SharedIdentities {
    /// A client is new.
    pub fn join(&mut self, key: &Key) {
        let at_address = self.addresses.entry(key.address).or_default();
        at_address.members += 1;
        if at_address.members == 1
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
        if let Some(at_address) = self.addresses.get_mut(&key.address) {
            let was = at_address.flagged > 0;
            at_address.remove(flagged);
            let (empty, cleared) = (at_address.members == 0, was && at_address.flagged == 0);
            if empty {
                self.addresses.remove(&key.address);
            }
            if let Some(prefix) = key.address.prefix()
                && let Some(in_prefix) = self.prefixes.get_mut(&prefix)
            {
                in_prefix.flagged = in_prefix.flagged.saturating_sub(u32::from(cleared));
                in_prefix.members = in_prefix.members.saturating_sub(u32::from(empty));
                if in_prefix.members == 0 {
                    self.prefixes.remove(&prefix);
                }
            }
        }
        if let Some(account) = self.accounts.get_mut(&key.account) {
            account.remove(flagged);
            if account.members == 0 {
                self.accounts.remove(&key.account);
            }
        }
    }

    /// A client is flagged; returns what it shares with others that a verdict is now due on.
    pub fn flag(&mut self, key: &Key) -> ThresholdCrossed {
        let mut crossed = ThresholdCrossed::default();
        if let Some(at_address) = self.addresses.get_mut(&key.address) {
            at_address.flagged += 1;
            if at_address.flagged == 1
                && let Some(prefix) = key.address.prefix()
                && let Some(in_prefix) = self.prefixes.get_mut(&prefix)
            {
                in_prefix.flagged += 1;
                crossed.prefix = in_prefix.report_once().map(|counts| (prefix, counts));
            }
        }
        if let Some(account) = self.accounts.get_mut(&key.account) {
            account.flagged += 1;
            crossed.account = account.report_once();
        }
        crossed
    }

    /// Number of accounts known at an address; 1 if it never named any.
    pub fn accounts_at(&self, address: Address) -> u32 {
        self.addresses.get(&address).map_or(0, |at_address| at_address.members)
    }

    /// The prefix of an address, with its counts.
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
    fn a_prefix_is_reported_once_when_three_of_its_addresses_and_half_of_them_are_flagged() {
        let mut shared_identities = SharedIdentities::default();
        let keys: Vec<Key> = (1..=6).map(|host| key(&format!("198.51.100.{host}"), 0)).collect();
        keys.iter().for_each(|key| shared_identities.join(key));
        assert_eq!((shared_identities.flag(&keys[0]).prefix, shared_identities.flag(&keys[1]).prefix), (None, None));
        let (prefix, counts) = shared_identities.flag(&keys[2]).prefix.unwrap();
        assert_eq!((prefix_name(prefix).as_str(), counts.members, counts.flagged), ("198.51.100.0/24", 6, 3));
        assert_eq!(shared_identities.flag(&keys[3]).prefix, None, "reported once");
    }

    #[test]
    fn a_prefix_where_most_are_honest_is_not_reported() {
        let mut shared_identities = SharedIdentities::default();
        let keys: Vec<Key> = (1..=20).map(|host| key(&format!("2001:db8::{host:x}"), 0)).collect();
        keys.iter().for_each(|key| shared_identities.join(key));
        assert!(keys[..9].iter().all(|key| shared_identities.flag(key).prefix.is_none()));
        assert_eq!(prefix_name(shared_identities.flag(&keys[9]).prefix.unwrap().0), "2001:db8::/64");
    }

    #[test]
    fn three_accounts_behind_one_address_count_as_one_address_of_its_prefix() {
        let mut shared_identities = SharedIdentities::default();
        let keys: Vec<Key> = (1..=3).map(|account| key("203.0.113.7", account)).collect();
        keys.iter().for_each(|key| shared_identities.join(key));
        assert!(keys.iter().all(|key| shared_identities.flag(key) == ThresholdCrossed::default()));
        assert_eq!(shared_identities.neighbours(keys[0].address), SharedIdentity { members: 1, flagged: 1, reported: false });
        assert_eq!(shared_identities.accounts_at(keys[0].address), 3);
    }

    #[test]
    fn an_account_is_reported_wherever_its_addresses_are() {
        let mut shared_identities = SharedIdentities::default();
        let keys: Vec<Key> = (1..=4).map(|net| key(&format!("203.0.{net}.7"), 42)).collect();
        keys.iter().for_each(|key| shared_identities.join(key));
        assert!(keys[..2].iter().all(|key| shared_identities.flag(key).account.is_none()));
        assert_eq!(shared_identities.flag(&keys[2]).account.map(|counts| (counts.members, counts.flagged)), Some((4, 3)));
    }

    #[test]
    fn an_address_counts_as_flagged_in_its_prefix_as_long_as_one_of_its_accounts_is() {
        let mut shared_identities = SharedIdentities::default();
        let keys = [key("203.0.113.7", 1), key("203.0.113.7", 2), key("203.0.113.8", 3)];
        keys.iter().for_each(|key| shared_identities.join(key));
        shared_identities.flag(&keys[0]);
        shared_identities.flag(&keys[1]);
        let flagged = |shared: &SharedIdentities| shared.neighbours(keys[0].address).flagged;
        assert_eq!(flagged(&shared_identities), 1, "one address");
        shared_identities.leave(&keys[0], true);
        assert_eq!(flagged(&shared_identities), 1, "its other account is still flagged");
        shared_identities.leave(&keys[1], true);
        assert_eq!(shared_identities.neighbours(keys[0].address), SharedIdentity { members: 1, flagged: 0, reported: false });
    }

    #[test]
    fn addresses_that_leave_can_make_the_flagged_ones_a_majority_at_the_next_flag() {
        let mut shared_identities = SharedIdentities::default();
        let keys: Vec<Key> = (1..=8).map(|host| key(&format!("198.51.100.{host}"), 0)).collect();
        keys.iter().for_each(|key| shared_identities.join(key));
        assert!(keys[..3].iter().all(|key| shared_identities.flag(key).prefix.is_none()), "three of eight");
        keys[5..].iter().for_each(|key| shared_identities.leave(key, false));
        let counts = shared_identities.flag(&keys[3]).prefix.map(|(_, counts)| (counts.members, counts.flagged));
        assert_eq!(counts, Some((5, 4)));
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
