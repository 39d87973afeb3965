//! The callers found probing as a list that a firewall or a gateway takes: one address a line, or CSV with an expiry.
//!
//! A list of this kind is pasted and forgotten, so it is careful. Addresses that no firewall should block (loopback, private, link-local
//! and the like) and those that the user spares are never in it. An account behind a shared address condemns nobody else there, so such
//! a verdict gives the account and not the address. Whoever was found benign later is out again.
//!
//! Plain lines are what ipset, nginx, HAProxy and `cscli decisions import --format values` take; the CSV has the columns of
//! `cscli decisions import` (`duration`, `scope`, `value`, `reason`).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use crate::event::Address;
use crate::judge::{Finding, Scope, Verdict};

/// Networks of one's own, and those that no caller on the internet has: RFC 1122, 1918, 3927, 6598, 4193, 4291.
const OWN: [Network; 10] = [
    Network::v4([0, 0, 0, 0], 8),
    Network::v4([10, 0, 0, 0], 8),
    Network::v4([100, 64, 0, 0], 10),
    Network::v4([127, 0, 0, 0], 8),
    Network::v4([169, 254, 0, 0], 16),
    Network::v4([172, 16, 0, 0], 12),
    Network::v4([192, 168, 0, 0], 16),
    // Unspecified and loopback.
    Network { address: IpAddr::V6(Ipv6Addr::UNSPECIFIED), bits: 127 },
    Network { address: IpAddr::V6(Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0)), bits: 7 },
    Network { address: IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0)), bits: 10 },
];
/// Bits of the prefixes that verdicts speak of: /24 and /64, as [`Address::prefix`].
const PREFIX_BITS: [u8; 2] = [24, 64];

/// A network in CIDR notation; an address alone is the smallest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

/// Whom the list names.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Entry {
    Network(Network),
    Account(String),
}

/// What is never in the list besides one's own networks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Spared {
    /// An address or a network.
    Network(Network),
    /// An account.
    Account(String),
}

/// Callers found probing, as the verdicts come.
#[derive(Clone, Debug, Default)]
pub struct Denylist {
    spared: Vec<Spared>,
    /// Each with the reason of every verdict that holds: by caller (empty) or by case.
    entries: BTreeMap<Entry, BTreeMap<String, String>>,
    left_out: BTreeSet<Entry>,
}

// === impl Network ===

impl Network {
    const fn v4([a, b, c, d]: [u8; 4], bits: u8) -> Self {
        Self { address: IpAddr::V4(Ipv4Addr::new(a, b, c, d)), bits }
    }

    /// Reads `203.0.113.7`, `203.0.113.0/24`, or the same in IPv6; `None` if it is neither.
    pub fn parse(text: &str) -> Option<Self> {
        let (address, bits) = match text.trim().split_once('/') {
            Some((address, bits)) => (address, Some(bits.parse::<u8>().ok()?)),
            None => (text.trim(), None),
        };
        let address: IpAddr = address.parse().ok()?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.unwrap_or(most);
        (bits <= most).then_some(Self { address, bits })
    }

    /// Whether the two have an address in common.
    fn meets(self, other: Self) -> bool {
        let bits = self.bits.min(other.bits);
        match (self.address, other.address) {
            (IpAddr::V4(a), IpAddr::V4(b)) => bits == 0 || (a.to_bits() ^ b.to_bits()) >> (32 - bits) == 0,
            (IpAddr::V6(a), IpAddr::V6(b)) => bits == 0 || (a.to_bits() ^ b.to_bits()) >> (128 - bits) == 0,
            _ => false,
        }
    }

    fn is_single(self) -> bool {
        self.bits == if self.address.is_ipv4() { 32 } else { 128 }
    }
}

impl std::fmt::Display for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.is_single() { self.address.fmt(f) } else { write!(f, "{}/{}", self.address, self.bits) }
    }
}

// === impl Spared ===

impl std::str::FromStr for Spared {
    type Err = String;

    /// An address or a network; anything else is an account.
    fn from_str(text: &str) -> Result<Self, String> {
        match Network::parse(text) {
            Some(network) => Ok(Self::Network(network)),
            None if text.trim().is_empty() => Err("write an address, a network such as 203.0.113.0/24, or an account".to_owned()),
            None => Ok(Self::Account(text.to_owned())),
        }
    }
}

impl Spared {
    fn spares(&self, entry: &Entry) -> bool {
        match (self, entry) {
            (Self::Network(spared), Entry::Network(network)) => spared.meets(*network),
            (Self::Account(spared), Entry::Account(account)) => spared == account,
            _ => false,
        }
    }
}

// === impl Denylist ===

impl Denylist {
    /// An empty list that never has `spared` in it.
    pub fn new(spared: Vec<Spared>) -> Self {
        Self { spared, ..Self::default() }
    }

    /// Takes a verdict on a caller or a campaign.
    pub fn take(&mut self, verdict: &Verdict) {
        let entries = entries(verdict);
        let by = if verdict.scope == Scope::Campaign { verdict.case.clone().unwrap_or_default() } else { String::new() };
        match verdict.verdict {
            Finding::Probing => {
                let family = verdict.family.map_or("probing", |family| family.name());
                let case = verdict.case.as_deref().unwrap_or_default();
                let reason = format!("tripline {} {family} {case}", verdict.model).trim_end().to_owned();
                for entry in entries {
                    if self.is_spared(&entry) {
                        self.left_out.insert(entry);
                    } else {
                        self.entries.entry(entry).or_default().insert(by.clone(), reason.clone());
                    }
                }
            }
            Finding::Benign => self.entries.retain(|entry, reasons| {
                let freed = if verdict.scope == Scope::Campaign { true } else { entries.contains(entry) };
                if freed {
                    reasons.remove(&by);
                }
                !reasons.is_empty()
            }),
            _ => {}
        }
    }

    fn is_spared(&self, entry: &Entry) -> bool {
        let own = matches!(entry, Entry::Network(network) if OWN.iter().any(|own| own.meets(*network)));
        own || self.spared.iter().any(|spared| spared.spares(entry))
    }

    /// The addresses and networks, one a line. Accounts are no addresses, and are left out.
    pub fn lines(&self) -> String {
        let mut text = String::new();
        for entry in self.entries.keys() {
            if let Entry::Network(network) = entry {
                // Writing to a String cannot fail.
                let _ = writeln!(text, "{network}");
            }
        }
        text
    }

    /// All of them, for so long, with a reason.
    pub fn csv(&self, duration: Duration) -> String {
        // Hours are the largest unit that Go knows.
        let seconds = duration.as_secs().max(1);
        let duration = if seconds.is_multiple_of(3_600) { format!("{}h", seconds / 3_600) } else { format!("{seconds}s") };
        let quoted = |text: &str| {
            let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
            if line.contains([',', '"']) { format!("\"{}\"", line.replace('"', "\"\"")) } else { line }
        };
        let mut text = "duration,scope,value,reason\n".to_owned();
        for (entry, reasons) in &self.entries {
            let (scope, value) = match entry {
                Entry::Network(network) if network.is_single() => ("ip", network.to_string()),
                Entry::Network(network) => ("range", network.to_string()),
                Entry::Account(account) => ("account", quoted(account)),
            };
            let reason = reasons.values().next().map(String::as_str).unwrap_or_default();
            let _ = writeln!(text, "{duration},{scope},{value},{}", quoted(reason));
        }
        text
    }

    /// How many addresses and networks, accounts, and spared ones there are.
    pub fn counts(&self) -> [u64; 3] {
        let accounts = self.entries.keys().filter(|entry| matches!(entry, Entry::Account(_))).count();
        [self.entries.len() - accounts, accounts, self.left_out.len()].map(|count| count as u64)
    }
}

/// Whom a verdict names.
fn entries(verdict: &Verdict) -> Vec<Entry> {
    let network = |text: &str| match Address::parse(text) {
        Some(Address::Ip(address)) => Network::parse(&address.to_string()).map(Entry::Network),
        _ => None,
    };
    let prefix = |text: &str| match Network::parse(text) {
        Some(one) if one.is_single() => {
            let bits = PREFIX_BITS[usize::from(one.address.is_ipv6())];
            Some(Entry::Network(Network { bits, ..one }))
        }
        other => other.map(Entry::Network),
    };
    match verdict.scope {
        Scope::Campaign => verdict.members.iter().filter_map(|member| network(member)).collect(),
        Scope::Client => match (&verdict.client_id, &verdict.source_ip, &verdict.source_prefix) {
            (Some(account), _, _) => vec![Entry::Account(account.clone())],
            (None, Some(address), _) => network(address).into_iter().collect(),
            // Its honest addresses are not meant: the flagged ones are its members.
            (None, None, Some(_)) if !verdict.members.is_empty() => {
                verdict.members.iter().filter_map(|member| network(member)).collect()
            }
            (None, None, Some(text)) => prefix(text).into_iter().collect(),
            (None, None, None) => Vec::new(),
        },
        Scope::Model => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::EventTime;
    use crate::judge::Family;

    fn verdict(scope: Scope, finding: Finding) -> Verdict {
        Verdict { family: Some(Family::Boundary), ..Verdict::new(EventTime::default(), scope, "m", finding) }
    }

    fn of(ip: &str, finding: Finding) -> Verdict {
        Verdict { source_ip: Some(ip.into()), ..verdict(Scope::Client, finding) }
    }

    #[test]
    fn it_has_who_was_found_probing_and_not_who_was_cleared() {
        let mut list = Denylist::default();
        for ip in ["203.0.113.7", "2001:db8::1", "198.51.100.4", "::ffff:203.0.113.9"] {
            list.take(&of(ip, Finding::Probing));
        }
        list.take(&of("192.0.2.1", Finding::Suspicious));
        list.take(&of("198.51.100.4", Finding::Benign));
        assert_eq!(list.lines(), "203.0.113.7\n203.0.113.9\n2001:db8::1\n");
        assert!(
            list.csv(Duration::from_secs(86_400)).contains("\n24h,ip,203.0.113.7,tripline m boundary\n"),
            "{}",
            list.csv(Duration::ZERO)
        );
    }

    #[test]
    fn a_campaign_gives_its_members_and_takes_back_its_own_alone() {
        let mut list = Denylist::default();
        let campaign = |finding| Verdict {
            members: vec!["203.0.113.7".into(), "203.0.113.8".into(), "no address".into()],
            case: Some("c-1".into()),
            ..verdict(Scope::Campaign, finding)
        };
        list.take(&campaign(Finding::Probing));
        list.take(&of("203.0.113.8", Finding::Probing));
        assert_eq!(list.counts(), [2, 0, 0]);
        list.take(&Verdict { members: Vec::new(), ..campaign(Finding::Benign) });
        assert_eq!(list.lines(), "203.0.113.8\n", "found by itself as well");
    }

    #[test]
    fn ones_own_networks_and_spared_ones_are_never_in_it() {
        let spared = ["203.0.113.0/24", "2001:db8:1::/48", "partner"].map(|text| text.parse().unwrap());
        let mut list = Denylist::new(spared.to_vec());
        let own = ["10.1.2.3", "127.0.0.1", "172.31.0.1", "192.168.1.1", "100.64.0.1", "169.254.1.1", "::1", "fd00::1", "fe80::1"];
        for ip in own.into_iter().chain(["203.0.113.200", "2001:db8:1:2::3"]) {
            list.take(&of(ip, Finding::Probing));
        }
        list.take(&Verdict { client_id: Some("partner".into()), ..verdict(Scope::Client, Finding::Probing) });
        assert_eq!((list.lines().as_str(), list.counts()), ("", [0, 0, 12]));
        // A prefix that holds a spared address is spared as a whole.
        list.take(&Verdict { source_prefix: Some("203.0.113.0".into()), ..verdict(Scope::Client, Finding::Probing) });
        assert_eq!(list.counts(), [0, 0, 13]);
        list.take(&of("172.32.0.1", Finding::Probing));
        assert_eq!(list.lines(), "172.32.0.1\n");
    }

    #[test]
    fn an_account_behind_an_address_is_listed_and_its_address_is_not() {
        let mut list = Denylist::default();
        let account = "eve, \"\n=cmd";
        list.take(&Verdict { client_id: Some(account.into()), ..of("203.0.113.7", Finding::Probing) });
        assert_eq!((list.lines().as_str(), list.counts()), ("", [0, 1, 0]));
        let csv = list.csv(Duration::from_secs(7_201));
        assert!(csv.contains("7201s,account,\"eve, \"\" =cmd\","), "{csv}");
        assert_eq!(csv.lines().count(), 2, "a name makes no line of its own");
    }

    #[test]
    fn networks_are_read_and_wrong_ones_refused() {
        for (text, shown) in [("203.0.113.7", "203.0.113.7"), (" 10.0.0.0/8", "10.0.0.0/8"), ("::/0", "::/0")] {
            assert_eq!(Network::parse(text).unwrap().to_string(), shown);
        }
        for wrong in ["", "10.0.0.0/33", "10.0.0/8", "x", "1.2.3.4/", "::/129"] {
            assert_eq!(Network::parse(wrong), None, "{wrong}");
        }
        assert!("".parse::<Spared>().is_err());
        assert!(Network::parse("0.0.0.0/0").unwrap().meets(Network::parse("8.8.8.8").unwrap()));
    }
}
