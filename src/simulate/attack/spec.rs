//! An attack as asked for on the command line or by the scenario matrix: which one, how large, from whom, when and how fast.

use super::AttackKind;
use crate::simulate::SimulateError;
use crate::simulate::spec::{KeyedSpec, fault};

/// How queries follow each other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pace {
    /// Several a second, as a script does.
    Fast,
    /// Regular gaps, spread over the rest of the scenario.
    Slow,
    /// Irregular gaps like a person's, spread over the rest of the scenario.
    Jitter,
}

/// Which accounts the queries carry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Accounts {
    /// One per address.
    PerAddress,
    /// The same everywhere.
    Shared,
    /// None.
    None,
}

/// An attack as asked for.
#[derive(Clone, PartialEq, Debug)]
pub struct AttackSpec {
    /// Which.
    pub family: AttackKind,
    /// Its own queries, cover not counted.
    pub queries: usize,
    /// Addresses it comes from.
    pub addresses: usize,
    /// Whether the addresses lie in one /24 (in as many as needed) rather than anywhere.
    pub same_subnet: bool,
    /// Accounts.
    pub accounts: Accounts,
    /// Hours after the start.
    pub start: f64,
    /// Pace.
    pub pace: Pace,
    /// Queries per minute over all addresses; the pace decides when 0.
    pub rate: f64,
    /// Share of honest-looking cover among all its queries, 0 to 0.95.
    pub cover: f64,
    /// Whether it hides as one account behind a NAT of honest users.
    pub nat: bool,
    /// Whether every query comes from a new address without an account, as through rotating residential proxies.
    pub rotating: bool,
    /// Whether numbers keep all their digits instead of the feature's decimals.
    pub full_precision: bool,
}

// === impl AttackSpec ===

impl AttackSpec {
    /// Reads `FAMILY[:queries=N,ips=N,subnet=scatter|same24,account=per_ip|shared|none,start=H,pace=fast|slow|jitter,rate=PER_MINUTE,
    /// cover=SHARE,nat=no|yes,rotating=no|yes,precision=schema|full]`.
    pub fn parse(text: &str) -> Result<Self, SimulateError> {
        let mut spec = KeyedSpec::new(text)?;
        let Some(family) = AttackKind::ALL.into_iter().find(|f| f.name() == spec.name()) else {
            return Err(fault(
                text,
                format!("there is no such attack; attacks are {}", AttackKind::ALL.map(AttackKind::name).join(", ")),
            ));
        };
        let parsed = Self {
            family,
            queries: spec.number("queries", 600.0, 1.0, 1e6)? as usize,
            addresses: spec.number("ips", 1.0, 1.0, 1e5)? as usize,
            same_subnet: spec.word("subnet", &["scatter", "same24"])? == 1,
            accounts: [Accounts::PerAddress, Accounts::Shared, Accounts::None]
                [spec.word("account", &["per_ip", "shared", "none"])?],
            start: spec.number("start", 9.0, 0.0, 9000.0)?,
            pace: [Pace::Fast, Pace::Slow, Pace::Jitter][spec.word("pace", &["fast", "slow", "jitter"])?],
            rate: spec.number("rate", 0.0, 0.0, 1e6)?,
            cover: spec.number("cover", 0.0, 0.0, 0.95)?,
            nat: spec.word("nat", &["no", "yes"])? == 1,
            rotating: spec.word("rotating", &["no", "yes"])? == 1,
            full_precision: spec.word("precision", &["schema", "full"])? == 1,
        };
        spec.finish()?;
        if parsed.nat && parsed.addresses > 1 {
            return Err(fault(text, "nat=yes is one account behind one address; leave ips out".into()));
        }
        if parsed.rotating && (parsed.nat || parsed.addresses > 1 || parsed.same_subnet || parsed.accounts == Accounts::Shared) {
            let what =
                "rotating=yes sends every query from a new address without an account; leave ips, subnet, account and nat out";
            return Err(fault(text, what.into()));
        }
        Ok(parsed)
    }

    /// The delivery in a word or two, for the truth file.
    pub fn delivery(&self) -> String {
        let base = match (self.nat, self.addresses, self.pace) {
            _ if self.rotating => "rotating",
            (true, ..) => "behind_nat",
            (_, 1, Pace::Fast) => "fast",
            (_, 1, Pace::Slow) => "slow",
            (_, 1, Pace::Jitter) => "jitter",
            (_, 2..=5, _) => "few",
            _ if self.same_subnet => "dist24",
            _ => "dist",
        };
        if self.cover > 0.0 { format!("{base}_cover") } else { base.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_attack_can_be_named_and_read_back() {
        for family in AttackKind::ALL {
            assert_eq!(AttackSpec::parse(family.name()).map(|spec| spec.family), Ok(family));
        }
        assert!(AttackSpec::parse("telepathy").unwrap_err().to_string().contains("attacks are grid"));
        assert!(AttackSpec::parse("grid:nat=yes,ips=4").is_err());
    }

    #[test]
    fn a_rotating_attack_has_neither_a_number_of_addresses_nor_accounts() {
        let rotating = AttackSpec::parse("grid:rotating=yes,cover=0.5").unwrap();
        assert_eq!((rotating.rotating, rotating.delivery().as_str()), (true, "rotating_cover"));
        for also in ["ips=4", "nat=yes", "subnet=same24", "account=shared"] {
            let error = AttackSpec::parse(&format!("grid:rotating=yes,{also}")).unwrap_err().to_string();
            assert!(error.contains("a new address without an account"), "{also}: {error}");
        }
    }
}
