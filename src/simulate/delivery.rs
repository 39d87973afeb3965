//! How an attack reaches the service: from which addresses, as whom, when, and between how much cover.
//!
//! The queries were recorded beforehand ([`super::attack`]); delivery only gives them times and senders. Slow deliveries spread
//! over what is left of the scenario, so that the attack's rate does not stand out among honest ones.

use std::collections::{BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::attack::{Accounts, AttackKind, AttackSpec, Oracle, Pace};
use super::callers::{self, Caller, CallerQuery, CallerRow, after, public_address};
use super::chance::{exponential, normal, stream};
use super::rows::Subpopulation;
use super::spec::fault;
use super::truth::{Campaign, Truth};
use super::{Mark, SimulateError, SimulationSettings, World};
use crate::event::{Cell, EventTime};
use crate::hash::mix2;
use crate::judge::At;

/// Queries per minute of a fast attack: what a plain script with one connection reaches against a 100 ms service.
pub const FAST_PER_MINUTE: f64 = 300.0;
/// A slow attack ends this share of the remaining time before the scenario does, so that all of it is delivered.
const SLACK: f64 = 0.05;

/// Chance that a sender is skipped in the round of senders. Chosen: enough that the round is not regular.
pub const SKIPPED_TURN: f64 = 0.2;
/// Spread of the logarithm of a script's gaps. Chosen: the noise of a network and of a service under load.
pub const SCRIPT_GAP_SIGMA: f64 = 0.4;
/// Spread of the logarithm of a timer's gaps: regular to three percent. Chosen.
const TIMER_GAP_SIGMA: f64 = 0.03;

/// An address and the account that it uses.
type Sender = (IpAddr, Option<Arc<str>>);

/// From whom an attack's queries come.
#[derive(Debug)]
enum SenderPlan {
    /// A fixed set of senders, in turn with a random start.
    InTurn {
        /// The senders.
        senders: Vec<Sender>,
        /// Whose turn it is, modulo their number.
        turn: usize,
    },
    /// A new address without an account for every query; the addresses that were used.
    Rotating(BTreeSet<IpAddr>),
}

/// An attack on its way.
pub struct AttackStream {
    rng: ChaCha8Rng,
    campaign: usize,
    rows: VecDeque<Vec<Cell>>,
    senders: SenderPlan,
    place: Subpopulation,
    pace: Pace,
    gap: f64,
    cover: f64,
    now: EventTime,
    sent: u64,
}

/// Runs the attack against the victim and sets out its delivery.
pub fn deliver(
    spec: &AttackSpec,
    campaign: usize,
    settings: &SimulationSettings,
    world: &mut World,
    truth: &mut Truth,
) -> Result<AttackStream, SimulateError> {
    let seed = mix2(settings.seed, stream::ATTACK + campaign as u64);
    let mut rng = ChaCha8Rng::seed_from_u64(mix2(seed, stream::ATTACK_DELIVERY));
    let start = after(world.start, spec.start * 3600.0);
    let remaining = world.end.seconds_since(start);
    if remaining <= 0.0 {
        let what = format!("starts at hour {}, but the scenario ends after {} hours", spec.start, settings.hours);
        return Err(fault(spec.family.name(), what));
    }
    let rows: VecDeque<Vec<Cell>> = Oracle::record(spec, &world.victim, &world.rows, seed).into();
    let total = rows.len() as f64 / (1.0 - spec.cover);
    let gap = match (spec.rate > 0.0, spec.pace) {
        (true, _) => 60.0 / spec.rate,
        (false, Pace::Fast) => 60.0 / FAST_PER_MINUTE,
        (false, Pace::Slow | Pace::Jitter) => remaining * (1.0 - SLACK) / total.max(1.0),
    };
    let senders = match spec.rotating {
        true => SenderPlan::Rotating(BTreeSet::new()),
        false => SenderPlan::InTurn { senders: senders(spec, &mut rng, truth)?, turn: 0 },
    };
    truth.campaign(Campaign {
        id: campaign,
        name: spec.family.name(),
        family: spec.family.purpose(),
        delivery: spec.delivery(),
        // Realistic rows are use as far as anybody can tell, and so is what hides among as much honest cover.
        ambiguous: spec.family == AttackKind::Natural,
        start: At(start),
        end: At(start),
        n_queries: 0,
        n_cover: 0,
        ips: Default::default(),
        clients: Default::default(),
    });
    Ok(AttackStream {
        place: Subpopulation::random(&mut rng, &world.rows, settings.heterogeneity, settings.volume),
        rng,
        campaign,
        rows,
        senders,
        pace: spec.pace,
        gap,
        cover: spec.cover,
        now: start,
        sent: 0,
    })
}

fn senders(spec: &AttackSpec, rng: &mut ChaCha8Rng, truth: &Truth) -> Result<Vec<Sender>, SimulateError> {
    if spec.nat {
        let Some(address) = truth.a_nat() else {
            return Err(fault(spec.family.name(), "nat=yes needs a NAT, but the look-alikes were turned off".into()));
        };
        return Ok(vec![(address, Some(callers::account(rng)))]);
    }
    let shared = callers::account(rng);
    let mut subnet = subnet(rng);
    let mut hosts: Vec<u8> = Vec::new();
    Ok((0..spec.addresses)
        .map(|_| {
            let address = if spec.same_subnet {
                if hosts.is_empty() {
                    // More than one /24 holds: the next one.
                    subnet = subnet.wrapping_add(256);
                    hosts = (1..=254).step_by(2).collect();
                }
                let host = hosts.swap_remove(rng.random_range(0..hosts.len()));
                IpAddr::V4(Ipv4Addr::from_bits(subnet | u32::from(host)))
            } else {
                odd(public_address(rng))
            };
            let account = match spec.accounts {
                Accounts::PerAddress => Some(callers::account(rng)),
                Accounts::Shared => Some(Arc::clone(&shared)),
                Accounts::None => None,
            };
            (address, account)
        })
        .collect())
}

fn subnet(rng: &mut ChaCha8Rng) -> u32 {
    0x6440_0000 | (rng.random::<u32>() & 0x3F_FF00)
}

/// Attackers' IPv4 addresses are odd, honest ones even; see [`public_address`].
fn odd(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(v4) => IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits() | 1)),
        IpAddr::V6(_) => address,
    }
}

// === impl SenderPlan ===

impl SenderPlan {
    /// The sender of the next query.
    fn next(&mut self, rng: &mut ChaCha8Rng) -> Sender {
        match self {
            Self::InTurn { senders, .. } if senders.len() == 1 => senders[0].clone(),
            // In turn with a random start, as a pool of proxies is used: no sender stands out by volume.
            Self::InTurn { senders, turn } => {
                *turn += 1 + usize::from(rng.random::<f64>() < SKIPPED_TURN);
                senders[*turn % senders.len()].clone()
            }
            // Two million addresses are free, and an attack has a million queries at most, so this ends.
            Self::Rotating(used) => loop {
                let address = odd(public_address(rng));
                if used.insert(address) {
                    return (address, None);
                }
            },
        }
    }
}

// === impl AttackStream ===

impl Caller for AttackStream {
    fn next(&mut self, world: &World) -> Option<CallerQuery> {
        let cover = !self.rows.is_empty() && self.rng.random::<f64>() < self.cover;
        let row = if cover { world.draw(&mut self.rng, &mut self.place, self.now) } else { self.rows.pop_front()? };
        let (address, account) = self.senders.next(&mut self.rng);
        self.sent += 1;
        let step = CallerQuery {
            at: self.now,
            address,
            account,
            row: CallerRow::Drawn(row),
            drawn_at: self.now,
            draw: mix2(self.campaign as u64 ^ stream::COVER_DRAW, self.sent),
            mark: Some(Mark { campaign: self.campaign, cover }),
        };
        let noise = match self.pace {
            Pace::Fast => (SCRIPT_GAP_SIGMA * normal(&mut self.rng)).exp(),
            // A timer: regular to a few percent.
            Pace::Slow => (TIMER_GAP_SIGMA * normal(&mut self.rng)).exp(),
            Pace::Jitter => exponential(&mut self.rng),
        };
        self.now = after(self.now, self.gap * noise);
        Some(step)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(spec: &str) -> Vec<Sender> {
        let spec = AttackSpec::parse(spec).unwrap();
        senders(&spec, &mut ChaCha8Rng::seed_from_u64(7), &Truth::default()).unwrap()
    }

    #[test]
    fn addresses_in_one_subnet_differ_and_go_on_in_the_next_one() {
        let senders = drawn("grid:ips=200,subnet=same24");
        let addresses: std::collections::BTreeSet<IpAddr> = senders.iter().map(|(address, _)| *address).collect();
        assert_eq!(addresses.len(), 200, "each address once");
        let subnets: std::collections::BTreeSet<Vec<u8>> = addresses
            .iter()
            .map(|address| match address {
                IpAddr::V4(v4) => v4.octets()[..3].to_vec(),
                IpAddr::V6(_) => Vec::new(),
            })
            .collect();
        assert_eq!(subnets.len(), 2, "127 odd hosts fit into one /24: {subnets:?}");
    }

    #[test]
    fn ipv4_addresses_of_attackers_are_odd() {
        for (address, _) in drawn("grid:ips=300") {
            if let IpAddr::V4(v4) = address {
                assert_eq!(v4.to_bits() % 2, 1, "{v4}");
            }
        }
    }

    #[test]
    fn accounts_are_one_per_address_one_for_all_or_none() {
        let accounts = |spec: &str| drawn(spec).into_iter().map(|(_, account)| account).collect::<std::collections::BTreeSet<_>>();
        assert!(accounts("grid:ips=50").len() > 45, "accounts are drawn from a million, so few coincide");
        assert_eq!(accounts("grid:ips=50,account=shared").len(), 1);
        assert_eq!(accounts("grid:ips=50,account=none"), std::collections::BTreeSet::from([None]));
    }

    #[test]
    fn a_rotating_attack_has_a_new_address_and_no_account_for_every_query() {
        let (mut plan, mut rng) = (SenderPlan::Rotating(BTreeSet::new()), ChaCha8Rng::seed_from_u64(7));
        let senders: Vec<Sender> = (0..5_000).map(|_| plan.next(&mut rng)).collect();
        let addresses: BTreeSet<IpAddr> = senders.iter().map(|(address, _)| *address).collect();
        assert_eq!(addresses.len(), 5_000, "each address once");
        assert!(senders.iter().all(|(_, account)| account.is_none()));
    }

    #[test]
    fn an_attack_behind_a_nat_needs_a_nat() {
        let spec = AttackSpec::parse("grid:nat=yes").unwrap();
        let mut truth = Truth::default();
        let mut rng = ChaCha8Rng::seed_from_u64(7);
        assert!(senders(&spec, &mut rng, &truth).unwrap_err().to_string().contains("needs a NAT"));
        let address = IpAddr::V4(Ipv4Addr::new(198, 18, 0, 4));
        truth.nat(address);
        assert_eq!(senders(&spec, &mut rng, &truth).unwrap()[0].0, address);
    }
}
