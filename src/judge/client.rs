//! What is known of one client, and the verdict lines that speak of it.
//!
//! A client is an account at an address, the finest level that logs know. Whom a verdict names is decided when it is given: the
//! address, if it only ever showed one account (or none); otherwise the account at that address, so that an attacker behind a
//! NAT does not condemn the NAT.
//!
//! What follows from a client's state among all others' is no business of this file or of its parts; they import nothing that asks.
//!
//! | file | what it holds |
//! |---|---|
//! | [`votes`] | rows that vote on how its rows are distributed, and what they said |
//! | [`rows`] | its last rows, the trails between them, and its part in campaigns |

pub mod rows;
pub mod votes;

use std::collections::VecDeque;

use super::{At, Family, QueryRef};
use crate::event::{Address, EventTime, Provenance, Query};
use crate::prefetch;
use crate::signal::entropy::Histograms;
use crate::signal::gap::Gap;
use crate::signal::information::Information;
use crate::signal::rate::Rate;
use rows::ClientStructure;
use votes::ClientDistribution;

/// Queries kept as evidence per client: enough to show a person the pattern.
const TRAIL: usize = 12;

/// An account at an address.
#[derive(Clone, PartialEq, Eq, Hash, Debug, serde::Serialize, serde::Deserialize)]
pub struct Key {
    /// The address.
    pub address: Address,
    /// Hash of the account's name; 0 for none.
    pub account: u64,
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
    /// Whether it was said to be suspicious.
    pub suspicious: bool,
    /// Whether it is flagged.
    pub flag: Option<Flag>,
    /// Queries that count as evidence, oldest first; the very first is kept.
    #[serde(with = "trail")]
    pub trail: VecDeque<QueryRef>,
}

/// A trail in a snapshot: plain fields, since a verdict line's form leaves out what is empty.
mod trail {
    use std::collections::VecDeque;

    use serde::de::{Deserialize, Deserializer};
    use serde::ser::Serializer;

    use super::{At, QueryRef};
    use crate::event::{EventTime, Provenance, Topic};

    pub(super) fn serialize<S: Serializer>(trail: &VecDeque<QueryRef>, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(trail.iter().map(|q| {
            let Provenance { topic, partition, offset, row } = &q.provenance;
            (q.at.0, &q.request_id, (topic, partition, offset, row))
        }))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<VecDeque<QueryRef>, D::Error> {
        type Place = (Topic, i32, i64, u32);
        let found = Vec::<(EventTime, String, Place)>::deserialize(deserializer)?;
        let query = |(at, request_id, (topic, partition, offset, row))| QueryRef {
            at: At(at),
            request_id,
            provenance: Provenance { topic, partition, offset, row },
        };
        Ok(found.into_iter().map(query).collect())
    }
}

// === impl Client ===

impl Client {
    /// A client with its first query, seen now: a late first query does not make an old acquaintance of a newcomer.
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
            suspicious: false,
            flag: None,
            trail: VecDeque::new(),
        }
    }

    /// Whether it is flagged as probing.
    pub fn is_flagged(&self) -> bool {
        self.flag.is_some()
    }

    /// Asks for all that a query of this client will need, as far as it lies in one place.
    #[inline]
    pub fn prefetch(&self) {
        prefetch::value(&self.queries);
        prefetch::value(&self.rate);
        prefetch::value(&self.gap);
        prefetch::value(&self.values);
        prefetch::value(&self.trail);
        prefetch::value(&self.flag);
        self.information.prefetch();
        self.distribution.prefetch();
        self.structure.prefetch();
    }

    /// And for what lies elsewhere.
    #[inline]
    pub fn prefetch_rows(&self) {
        self.values.prefetch();
        self.distribution.prefetch_rows();
        self.structure.prefetch_rows();
    }

    /// Keeps a query as evidence: the first for ever, of the others the newest.
    pub fn keep(&mut self, query: &Query) {
        if self.trail.back().is_some_and(|q| q.provenance == query.provenance) {
            return;
        }
        if self.trail.len() >= TRAIL {
            self.trail.remove(1);
        }
        self.trail.push_back(QueryRef {
            at: At(query.time),
            request_id: query.request_id.clone(),
            provenance: query.provenance.clone(),
        });
    }

    /// Bytes held, the struct included.
    pub fn bytes(&self) -> usize {
        size_of::<Self>()
            + size_of::<Key>()
            + self.values.bytes()
            + self.distribution.bytes()
            + self.structure.bytes()
            + self.trail.capacity() * size_of::<QueryRef>()
    }
}

/// Whom a verdict names: (address, account).
pub fn subject(client: &Client, accounts_at_address: u32) -> (Option<String>, Option<String>) {
    let account = (!client.account.is_empty()).then(|| client.account.to_string());
    match client.address {
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
