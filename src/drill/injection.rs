//! What is injected: how an attack is delivered, from which senders, when, and between which cover rows.
//!
//! The attack's queries were recorded beforehand against the surrogate. Here they get senders, times and cover. Attackers come from
//! addresses that no caller of the log has. They carry accounts if most callers of the log do, unless every query comes from another
//! address. In a log without callers they have neither. Cover rows are rows of the log, drawn
//! at random, with the answers that the log gives: an attacker with real rows would use them.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rustc_hash::FxHashSet;

use super::log::{Log, LogCaller};
use crate::event::{Address, EventTime};
use crate::hash::{mix2, text};
use crate::simulate::callers::after;
use crate::simulate::chance::{exponential, normal};
pub use crate::simulate::delivery::FAST_PER_MINUTE;
use crate::simulate::delivery::{SCRIPT_GAP_SIGMA, SKIPPED_TURN};

/// Share of cover among all queries of an attack with cover. Chosen: every other query, which doubles what the attacker pays.
pub const COVER: f64 = 0.5;
/// Accounts that an address must have shown before the attack to be a NAT. Chosen: two may be one person with two accounts.
const NAT_ACCOUNTS: usize = 3;
/// NATs among which one is drawn: the busiest, since an attacker hides best among many. Chosen.
const NATS: usize = 3;

/// From whom an attack comes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Senders {
    /// So many addresses that are not in the log.
    Addresses(usize),
    /// One more account at an address of honest users.
    Nat,
    /// A new address without an account for every query, as through rotating residential proxies.
    Rotating,
    /// Nobody whom the log could name: no address and no account.
    Unnamed,
}

/// How an attack arrives.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Delivery {
    /// From whom.
    pub from: Senders,
    /// Whether it is spread over hours rather than sent as fast as a script can.
    pub slow: bool,
    /// Whether every other query is honest-looking cover.
    pub cover: bool,
}

/// One injected query.
#[derive(Clone, Debug)]
pub struct InjectedQuery {
    /// When.
    pub time: EventTime,
    /// Who, as an index into the senders.
    pub sender: usize,
    /// What it asks.
    pub row: InjectedRow,
}

/// The row of an injected query.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum InjectedRow {
    /// The attack's next query, by number.
    Attack(usize),
    /// A row of the log, by event.
    Cover(usize),
}

/// Addresses of the log that hide many accounts, and whether callers have accounts at all.
#[derive(Clone, Debug)]
pub struct SenderPool {
    taken: FxHashSet<Address>,
    /// Addresses with their accounts' first appearances, most accounts first.
    shared: Vec<(IpAddr, Vec<EventTime>)>,
    accounts: bool,
    addresses: bool,
}

// === impl Delivery ===

impl Delivery {
    /// In a few words, for tables: `1 address, slow, cover`.
    pub fn name(self) -> String {
        let from = match self.from {
            Senders::Addresses(1) => "1 address".to_owned(),
            Senders::Addresses(many) => format!("{many} addresses"),
            Senders::Nat => "behind a NAT".to_owned(),
            Senders::Rotating => "rotating addresses".to_owned(),
            Senders::Unnamed => "without callers".to_owned(),
        };
        let pace = if self.slow { "slow" } else { "fast" };
        format!("{from}, {pace}{}", if self.cover { ", cover" } else { "" })
    }

    /// A number of its own, so that a trial does not depend on which other deliveries are drilled.
    fn key(self) -> u64 {
        text(&self.name())
    }
}

/// Gives senders and times to a recorded attack of `queries` queries from `start` on; slow ones last `slow_seconds`. None if the delivery needs a
/// NAT and the log had none by then. An attack with rotating addresses has no cover, so it has one sender for each of its queries.
pub fn inject(
    delivery: Delivery,
    queries: usize,
    start: EventTime,
    slow_seconds: f64,
    log: &Log,
    crowd: &SenderPool,
    seed: u64,
) -> Option<(Vec<LogCaller>, Vec<InjectedQuery>)> {
    let mut rng = ChaCha8Rng::seed_from_u64(mix2(seed, delivery.key()));
    let senders = crowd.senders(delivery, queries, start, &mut rng)?;
    let cover = if delivery.cover { COVER } else { 0.0 };
    let total = queries as f64 / (1.0 - cover);
    let gap = if delivery.slow { slow_seconds / total.max(1.0) } else { 60.0 / FAST_PER_MINUTE };
    let mut injected = Vec::with_capacity(total as usize + 16);
    let (mut now, mut turn, mut next) = (start, 0_usize, 0);
    while next < queries {
        let row = if rng.random::<f64>() < cover {
            InjectedRow::Cover(rng.random_range(0..log.len()))
        } else {
            next += 1;
            InjectedRow::Attack(next - 1)
        };
        let sender = if delivery.from == Senders::Rotating { injected.len() } else { turn };
        injected.push(InjectedQuery { time: now, sender: sender % senders.len(), row });
        // In turn with a random start, as a pool of proxies is used: no sender stands out by volume.
        turn += 1 + usize::from(rng.random::<f64>() < SKIPPED_TURN);
        // A script's gaps vary a little. A slow attack hides its regularity: its gaps are exponential.
        let noise = if delivery.slow { exponential(&mut rng) } else { (SCRIPT_GAP_SIGMA * normal(&mut rng)).exp() };
        now = after(now, gap * noise);
    }
    if delivery.slow {
        fit_within(&mut injected, start, slow_seconds);
    }
    Some((senders, injected))
}

/// Random gaps add up to more or less than was meant: stretches them to end exactly in time.
fn fit_within(injected: &mut [InjectedQuery], start: EventTime, seconds: f64) {
    let Some(last) = injected.last().map(|query| query.time.seconds_since(start)).filter(|&last| last > seconds) else { return };
    for query in injected {
        query.time = after(start, query.time.seconds_since(start) * seconds / last);
    }
}

// === impl SenderPool ===

impl SenderPool {
    /// Looks at who asks in the log.
    pub fn of(log: &Log) -> Self {
        let mut first: Vec<Option<EventTime>> = vec![None; log.callers.len()];
        for event in 0..log.len() {
            let at = first[log.caller(event)].get_or_insert(log.time(event));
            *at = (*at).min(log.time(event));
        }
        let mut by_address: std::collections::BTreeMap<IpAddr, Vec<EventTime>> = std::collections::BTreeMap::new();
        for (who, first) in log.callers.iter().zip(&first) {
            if let (Address::Ip(ip), Some(first), false) = (who.address, first, who.account.is_empty()) {
                by_address.entry(ip).or_default().push(*first);
            }
        }
        let mut shared: Vec<(IpAddr, Vec<EventTime>)> =
            by_address.into_iter().filter(|(_, accounts)| accounts.len() >= NAT_ACCOUNTS).collect();
        shared.sort_by(|a, b| b.1.len().cmp(&a.1.len()).then(a.0.cmp(&b.0)));
        let with_account = log.callers.iter().filter(|who| !who.account.is_empty()).count();
        Self {
            taken: log.callers.iter().map(|who| who.address).collect(),
            shared,
            // At half of the callers, a sender without an account would begin to stand out.
            accounts: with_account * 2 >= log.callers.len(),
            addresses: log.callers.iter().any(|who| who.address != Address::Unknown),
        }
    }

    /// Whether any address hides enough accounts at some time.
    pub fn has_nat(&self) -> bool {
        !self.shared.is_empty()
    }

    /// Whether the log names addresses at all.
    pub fn has_addresses(&self) -> bool {
        self.addresses
    }

    /// Who sends an attack of `queries` queries from `start` on.
    fn senders(&self, delivery: Delivery, queries: usize, start: EventTime, rng: &mut ChaCha8Rng) -> Option<Vec<LogCaller>> {
        match delivery.from {
            Senders::Addresses(many) => Some(self.strangers(many, true, rng)),
            Senders::Rotating => Some(self.strangers(queries.max(1), false, rng)),
            Senders::Unnamed => Some(vec![LogCaller { address: Address::Unknown, account: "".into() }]),
            Senders::Nat => {
                let by_then = |accounts: &[EventTime]| accounts.iter().filter(|&&first| first < start).count();
                let mut open: Vec<(usize, IpAddr)> =
                    self.shared.iter().map(|(ip, accounts)| (by_then(accounts), *ip)).filter(|(n, _)| *n >= NAT_ACCOUNTS).collect();
                open.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)));
                open.truncate(NATS);
                if open.is_empty() {
                    return None;
                }
                let (_, ip) = open[rng.random_range(0..open.len())];
                Some(vec![LogCaller { address: Address::Ip(ip), account: account(rng) }])
            }
        }
    }

    /// So many senders that are not in the log; with accounts, if they may have some and most callers of the log do.
    fn strangers(&self, many: usize, accounts: bool, rng: &mut ChaCha8Rng) -> Vec<LogCaller> {
        let mut used = FxHashSet::default();
        let mut senders = Vec::with_capacity(many);
        while senders.len() < many {
            let address = if self.addresses { Address::Ip(free_address(rng)) } else { Address::Unknown };
            if self.addresses && (self.taken.contains(&address) || !used.insert(address)) {
                continue;
            }
            let named = (accounts && self.accounts) || !self.addresses;
            senders.push(LogCaller { address, account: if named { account(rng) } else { "".into() } });
        }
        senders
    }
}

/// A new account of an attacker. The engine hashes account names, so another prefix would give every published drill other figures.
fn account(rng: &mut ChaCha8Rng) -> Arc<str> {
    format!("planted-{:08x}", rng.random::<u32>()).into()
}

/// An address of the ranges that no host on the internet has (RFC 6598 and RFC 2544), so that no report ever accuses a real
/// host that was not in the log. Together they hold four million.
fn free_address(rng: &mut ChaCha8Rng) -> IpAddr {
    let bits: u32 = rng.random();
    IpAddr::V4(Ipv4Addr::from_bits(if bits >> 29 == 0 {
        0xC612_0000 | (bits & 0x1_FFFF)
    } else {
        0x6440_0000 | (bits & 0x3F_FFFF)
    }))
}

#[cfg(test)]
mod tests {
    use super::super::log::tests::of;
    use super::*;

    const HOUR: f64 = 3600.0;

    fn at(second: i64) -> EventTime {
        EventTime::from_micros(1_772_409_600_000_000).plus_seconds(second)
    }

    fn slow(addresses: usize) -> Delivery {
        Delivery { from: Senders::Addresses(addresses), slow: true, cover: false }
    }

    #[test]
    fn a_slow_attack_is_delivered_in_order_and_in_time() {
        let log = of(&[(0, "10.0.0.1", ""), (9, "10.0.0.2", "")]);
        for seed in 0..20 {
            let (senders, injected) = inject(slow(7), 300, at(5), 2.0 * HOUR, &log, &SenderPool::of(&log), seed).unwrap();
            assert_eq!((senders.len(), injected.len()), (7, 300));
            assert!(injected.windows(2).all(|pair| pair[0].time <= pair[1].time));
            let last = injected[299].time.seconds_since(at(5));
            assert!(last > HOUR && last < 2.0 * HOUR + 1.0, "seed {seed}: {last} s");
            let asked: Vec<InjectedRow> = (0..300).map(InjectedRow::Attack).collect();
            assert!(injected.iter().map(|query| query.row).eq(asked), "each query once, in the attack's order");
        }
    }

    #[test]
    fn no_attacker_has_an_address_of_the_log() {
        let log = of(&[(0, "100.64.0.1", ""), (1, "198.18.0.9", "")]);
        let (senders, _) = inject(slow(5_000), 1, at(0), HOUR, &log, &SenderPool::of(&log), 3).unwrap();
        let addresses: FxHashSet<Address> = senders.iter().map(|who| who.address).collect();
        assert_eq!(addresses.len(), 5_000, "each address once");
        assert!(log.callers.iter().all(|who| !addresses.contains(&who.address)));
        assert!(senders.iter().all(|who| who.account.is_empty()), "no caller here has an account");
    }

    #[test]
    fn cover_is_rows_of_the_log_between_the_attacks_own() {
        let log = of(&[(0, "10.0.0.1", ""), (9, "10.0.0.2", "")]);
        let cover = Delivery { cover: true, ..slow(1) };
        let (_, injected) = inject(cover, 1_000, at(5), HOUR, &log, &SenderPool::of(&log), 1).unwrap();
        let covers = injected.iter().filter(|query| matches!(query.row, InjectedRow::Cover(event) if event < 2)).count();
        assert_eq!(injected.len() - covers, 1_000);
        assert!((800..1_200).contains(&covers), "{covers} for a thousand queries");
    }

    #[test]
    fn rotating_addresses_are_new_for_every_query_and_have_no_account() {
        let log = of(&[(0, "10.0.0.1", "a"), (9, "10.0.0.2", "b")]);
        for slow in [false, true] {
            let rotating = Delivery { from: Senders::Rotating, slow, cover: false };
            let (senders, injected) = inject(rotating, 900, at(5), HOUR, &log, &SenderPool::of(&log), 4).unwrap();
            let used: FxHashSet<Address> = injected.iter().map(|query| senders[query.sender].address).collect();
            assert_eq!((injected.len(), used.len()), (900, 900), "{}", rotating.name());
            assert!(senders.iter().all(|who| who.account.is_empty() && who.address != Address::Unknown));
        }
    }

    #[test]
    fn a_log_without_callers_gets_an_attack_without_callers() {
        let mut log = of(&[(0, "10.0.0.1", "a"), (9, "10.0.0.2", "b")]);
        log.take_callers_away();
        let unnamed = Delivery { from: Senders::Unnamed, slow: false, cover: true };
        assert_eq!(unnamed.name(), "without callers, fast, cover");
        let (senders, injected) = inject(unnamed, 50, at(5), HOUR, &log, &SenderPool::of(&log), 4).unwrap();
        assert_eq!(senders, [LogCaller { address: Address::Unknown, account: "".into() }]);
        assert!(injected.iter().all(|query| query.sender == 0));
    }

    #[test]
    fn a_nat_is_an_address_that_had_shown_three_accounts_by_then() {
        let log = of(&[(0, "10.0.0.1", "a"), (1, "10.0.0.1", "b"), (50, "10.0.0.1", "c"), (51, "10.0.0.2", "d")]);
        let (nat, crowd) = (Delivery { from: Senders::Nat, ..slow(1) }, SenderPool::of(&log));
        assert!(crowd.has_nat());
        assert!(inject(nat, 5, at(40), HOUR, &log, &crowd, 1).is_none(), "only two accounts were there");
        let (senders, _) = inject(nat, 5, at(60), HOUR, &log, &crowd, 1).unwrap();
        assert_eq!(senders[0].address.to_string(), "10.0.0.1");
        assert!(log.callers.iter().all(|who| who.account != senders[0].account));
        assert!(!SenderPool::of(&of(&[(0, "10.0.0.1", "a"), (1, "10.0.0.1", "b")])).has_nat());
    }
}
