//! What is known of one client, and the verdict lines that speak of it.
//!
//! A client is an account at an address, the finest level that logs know. The subject of a verdict is decided when the verdict is
//! given ([`subject`]): the address, if it only ever showed one account (or none); otherwise the account at that address. So an
//! attacker behind a NAT does not condemn the NAT.
//!
//! This file and its parts know one client alone. What follows from a client's state among all others is decided elsewhere, and
//! nothing here imports what decides it.
//!
//! | file | what it holds |
//! |---|---|
//! | [`votes`] | the rows that vote on how its rows are distributed, and their p-values |
//! | [`rows`] | its last rows, the chains of edits between them, and its membership in campaigns |
//! | [`volume`] | how many different rows it asks |
//! | [`evidence_trail`] | the queries that count as evidence |

pub mod evidence_trail;
pub mod rows;
pub mod volume;
pub mod votes;

use super::accusation_limit::PAST_SECONDS;
use super::{Family, QueryRef};
use crate::event::{Address, EventTime, Provenance, Query};
use crate::hash;
use crate::prefetch;
use crate::signal::entropy::Histograms;
use crate::signal::gap::Gap;
use crate::signal::information::Information;
use crate::signal::rate::Rate;
pub use evidence_trail::EvidenceTrail;
use rows::ClientStructure;
use volume::ClientVolume;
use votes::ClientDistribution;

/// Votes before evidence became suspicious that make a clean past: a usual day's.
pub const CLEAN_PAST: u32 = 10;

/// An account at an address.
#[derive(Clone, PartialEq, Eq, Hash, Debug, serde::Serialize, serde::Deserialize)]
pub struct Key {
    /// The address.
    pub address: Address,
    /// Hash of the account's name; 0 for none.
    pub account: u64,
}

// === impl Key ===

impl Key {
    /// The account of this name (none if it is empty) at an address.
    pub fn of(address: Address, account: &str) -> Self {
        Self { address, account: account_hash(account) }
    }
}

/// Hash of an account's name; 0 for none.
pub fn account_hash(account: &str) -> u64 {
    if account.is_empty() { 0 } else { hash::text(account) }
}

/// That a client was flagged.
#[derive(Clone, PartialEq, Debug, serde::Serialize, serde::Deserialize)]
pub struct Flag {
    /// When.
    pub at: EventTime,
    /// Shape of the probing.
    pub family: Family,
    /// Case id.
    pub case: String,
}

/// State of one client.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct Client {
    /// The address.
    pub address: Address,
    /// Account name; empty for none.
    pub account: Box<str>,
    /// First query.
    pub first: EventTime,
    /// Newest query.
    pub last: EventTime,
    /// Queries so far.
    pub queries: u64,
    /// Query rate.
    pub rate: Rate,
    /// Gaps between queries.
    pub gap: Gap,
    /// Feature values, from the eighth query on.
    pub values: Histograms,
    /// Distribution evidence.
    pub distribution: ClientDistribution,
    /// Structure evidence.
    pub structure: ClientStructure,
    /// What it could have learned: the information budget spent.
    pub information: Information,
    /// How many different rows it asks.
    pub volume: ClientVolume,
    /// Whether it is no caller, but a population: queries that do not say who asked, or an address that many share.
    pub is_shared: bool,
    /// Whether it was reported as suspicious.
    pub reported_suspicious: bool,
    /// Whether an accusation of it was counted by the limit on accusations ([`super::accusation_limit`]).
    pub counts_in_limit: bool,
    /// Evidence that a row of it belongs to a crowd of strangers, in nats; 0 if it was not named so.
    pub crowd_evidence: f32,
    /// Whether it is flagged.
    pub flag: Option<Flag>,
    /// Queries that count as evidence.
    pub evidence: EvidenceTrail,
}

// === impl Client ===

impl Client {
    /// A client with its first query, which arrives at `now`. The query may be late: its own time would make a newcomer look like
    /// a known client.
    pub fn new(query: &Query, now: EventTime) -> Self {
        Self {
            address: query.address,
            account: query.account.as_str().into(),
            first: now,
            last: now,
            queries: 0,
            rate: Rate::default(),
            gap: Gap::default(),
            values: Histograms::default(),
            distribution: ClientDistribution::default(),
            structure: ClientStructure::default(),
            information: Information::default(),
            volume: ClientVolume::default(),
            is_shared: false,
            reported_suspicious: false,
            counts_in_limit: false,
            crowd_evidence: 0.0,
            flag: None,
            evidence: EvidenceTrail::default(),
        }
    }

    /// Whether it is flagged as probing.
    pub fn is_flagged(&self) -> bool {
        self.flag.is_some()
    }

    /// Whether it was there before the evidence against it began, with a day's worth of ordinary rows: rows that were odd or linked to others
    /// make no past, so that a slow attacker has none.
    pub fn has_past(&self, began: EventTime) -> bool {
        let ordinary = self.distribution.clean_votes().min(self.structure.unlinked_rows());
        self.first.plus_seconds(PAST_SECONDS) < began && ordinary >= CLEAN_PAST
    }

    /// Prefetches what a query of this client will need, as far as it lies in one place.
    #[inline]
    pub fn prefetch(&self) {
        prefetch::value(&self.queries);
        prefetch::value(&self.rate);
        prefetch::value(&self.gap);
        prefetch::value(&self.values);
        prefetch::value(&self.evidence);
        prefetch::value(&self.flag);
        prefetch::value(&self.volume);
        self.information.prefetch();
        self.distribution.prefetch();
        self.structure.prefetch();
    }

    /// Prefetches what lies elsewhere; the pointers must have arrived.
    #[inline]
    pub fn prefetch_rows(&self) {
        self.values.prefetch();
        self.volume.prefetch();
        self.distribution.prefetch_rows();
        self.structure.prefetch_rows();
    }

    /// Bytes held, the struct included.
    pub fn bytes(&self) -> usize {
        size_of::<Self>()
            + size_of::<Key>()
            + self.values.bytes()
            + self.distribution.bytes()
            + self.structure.bytes()
            + self.volume.bytes()
            + self.evidence.bytes()
    }
}

/// Whom a verdict names: (address, account).
pub fn subject(client: &Client, accounts_at_address: u32) -> (Option<String>, Option<String>) {
    subject_of(client.address, &client.account, accounts_at_address)
}

/// The same of a caller that is no client: none of its records could be read.
pub fn subject_of(address: Address, account: &str, accounts_at_address: u32) -> (Option<String>, Option<String>) {
    let account = (!account.is_empty()).then(|| account.to_owned());
    match address {
        Address::Unknown => (None, account),
        Address::Ip(ip) if accounts_at_address <= 1 => (Some(ip.to_string()), None),
        Address::Ip(ip) => (Some(ip.to_string()), account),
    }
}

/// Case of a client's verdicts: a function of the model and of its first evidence, so that a replay repeats it.
pub fn case_id(model: &str, salt: u64, first: &QueryRef) -> String {
    use crate::hash::{mix2, text};
    let Provenance { topic, partition, offset, row } = &first.provenance;
    let mut place = mix2(*offset as u64, u64::from(*row) << 32 | u64::from(*partition as u32));
    if !topic.is_empty() {
        place = mix2(place, text(topic.name()));
    }
    format!("c-{:012x}", mix2(mix2(text(model), salt), mix2(first.at.0.micros() as u64, place)) & 0xffff_ffff_ffff)
}
