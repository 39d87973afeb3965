//! The two groups that the pictures compare: callers that were found probing at some time, and everybody else.

use std::collections::BTreeSet;

use super::sample::{CallerCount, Sample};
use super::verdict_history::VerdictHistory;
use crate::judge::caller::Caller;

/// Callers found probing, ready for look-ups.
#[derive(Debug, Default)]
pub struct Suspects<'a> {
    addresses: BTreeSet<&'a str>,
    accounts: BTreeSet<&'a str>,
    pairs: BTreeSet<(&'a str, &'a str)>,
}

// === impl Suspects ===

impl<'a> Suspects<'a> {
    /// The suspects of a model, campaign members included.
    pub fn of(history: &'a VerdictHistory) -> Self {
        let mut suspects = Self::default();
        // A prefix accuses nobody by itself; its flagged addresses have lines of their own.
        for (Caller { source_ip, client_id, .. }, _) in history.probing() {
            match (source_ip, client_id) {
                (Some(ip), None) => drop(suspects.addresses.insert(ip)),
                (None, Some(id)) => drop(suspects.accounts.insert(id)),
                (Some(ip), Some(id)) => drop(suspects.pairs.insert((ip, id))),
                (None, None) => {}
            }
        }
        let members = history.probing_campaigns().flat_map(|(_, campaign)| &campaign.members);
        suspects.addresses.extend(members.map(String::as_str));
        suspects
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.addresses.is_empty() && self.accounts.is_empty() && self.pairs.is_empty()
    }

    /// Whether a caller is one of them.
    pub fn contains(&self, caller: &CallerCount) -> bool {
        let address = caller.address.to_string();
        self.addresses.contains(address.as_str())
            || self.accounts.contains(&*caller.account)
            || self.pairs.contains(&(address.as_str(), &*caller.account))
    }

    /// One flag a caller of the sample, by [`Sample::caller_index`].
    pub fn flags(&self, sample: &Sample) -> Vec<bool> {
        sample.callers().iter().map(|caller| !self.is_empty() && self.contains(caller)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Address;

    #[test]
    fn a_verdict_on_an_account_at_an_address_speaks_of_nobody_else_there() {
        let at =
            |ip: &str, account: &str| CallerCount { address: Address::parse(ip).unwrap(), account: account.into(), queries: 1 };
        let suspects =
            Suspects { addresses: ["10.0.0.1"].into(), accounts: ["mallory"].into(), pairs: [("10.0.0.2", "eve")].into() };
        assert!(suspects.contains(&at("10.0.0.1", "anybody")) && suspects.contains(&at("10.9.9.9", "mallory")));
        assert!(suspects.contains(&at("10.0.0.2", "eve")) && !suspects.contains(&at("10.0.0.2", "bob")));
        assert!(!suspects.contains(&at("10.0.0.3", "eve")) && !suspects.contains(&at("10.0.0.3", "")));
    }
}
