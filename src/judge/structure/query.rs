//! A query on its way through structure evidence. Each phase takes the form that the phase before returned, so the order is a type.
//!
//! | form | made by | what is known |
//! |---|---|---|
//! | [`PreparedQuery`] | `Structure::prepare` | the row's hashes and codes; memory that will be read is prefetched |
//! | [`ComparedRow`] | `Structure::compare` | a new row, and how it compares with every earlier row that may be near |
//! | `Nearest` | `Structure::nearest` | the nearest rows, and whether the reference explains them |
//! | `Link` | `Structure::link` | the row that the new one is linked to |
//!
//! The vectors inside are reused: [`Buffers`] go into a form by value and come back when the query is done, so that a query allocates
//! nothing.

use super::thresholds::Neighbour;
use crate::event::{Address, Query};
use crate::hash;
use crate::signal::neighbours::RowHashes;
use crate::signal::quantise::Quantised;
use crate::signal::similarity::PreparedRow;
use crate::window::clients::SlotRef;
use crate::window::history::{RowId, SenderHashes};

/// Makes the hash of an address another one than other parts of the program compute.
const ADDRESS_SALT: u64 = 1;

/// Who sent a query.
#[derive(Clone, Copy, Debug)]
pub struct Sender {
    /// The client.
    pub(super) at: SlotRef,
    /// Hash of the account's name; 0 for none.
    pub(super) account: u64,
    /// What is remembered with each row.
    pub(super) hashes: SenderHashes,
    /// Whether it may speak for its peers.
    pub(super) is_established: bool,
}

/// A row in the two forms that finding and comparing need.
#[derive(Clone, Debug, Default)]
pub(super) struct EncodedRow {
    pub(super) hashes: RowHashes,
    pub(super) quantised: Quantised,
}

/// A row that a new one will be compared with: its number, and in the lowest bit whether it is known to be the sender's own. When a row is
/// found twice, the greater value is the one that knows. One number of eight bytes is sorted much faster than two fields.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct CandidateRow(u64);

/// Vectors that are reused from query to query.
#[derive(Clone, Debug, Default)]
pub(super) struct Buffers {
    pub(super) encoded: EncodedRow,
    pub(super) prepared: PreparedRow,
    pub(super) candidates: Vec<CandidateRow>,
    pub(super) near: Vec<Neighbour>,
}

/// A query whose row is hashed and encoded. [`super::Structure::step`] consumes it.
#[must_use = "a prepared query is judged by `Structure::step`"]
#[derive(Debug)]
pub struct PreparedQuery<'a> {
    pub(super) query: &'a Query,
    pub(super) sender: Sender,
    pub(super) encoded: EncodedRow,
}

/// A row that was not seen before, and the earlier rows that it was compared with.
#[derive(Clone, Copy, Debug)]
pub(super) struct ComparedRow<'a> {
    pub(super) query: &'a Query,
    pub(super) sender: Sender,
    pub(super) encoded: &'a EncodedRow,
    /// The same row, prepared for further comparisons.
    pub(super) prepared: &'a PreparedRow,
    pub(super) near: &'a [Neighbour],
}

// === impl Sender ===

impl Sender {
    /// The client `at`, with its address and the hash of its account (0 for none).
    pub fn new(at: SlotRef, address: Address, account: u64) -> Self {
        let address = hash::mix2(ADDRESS_SALT, address_bits(address)) as u32;
        Self { at, account, hashes: SenderHashes { address, account: account as u32 }, is_established: true }
    }

    /// The same sender, which may speak for its peers or not.
    pub fn established(self, is_established: bool) -> Self {
        Self { is_established, ..self }
    }

    /// The client.
    pub fn client(&self) -> SlotRef {
        self.at
    }
}

/// An address as a number.
fn address_bits(address: Address) -> u64 {
    match address {
        Address::Unknown => 0,
        Address::Ip(std::net::IpAddr::V4(v4)) => u64::from(v4.to_bits()),
        Address::Ip(std::net::IpAddr::V6(v6)) => {
            let bits = v6.to_bits();
            hash::mix2((bits >> 64) as u64, bits as u64)
        }
    }
}

// === impl CandidateRow ===

impl CandidateRow {
    pub(super) fn new(row: RowId, own: bool) -> Self {
        Self(row << 1 | u64::from(own))
    }

    pub(super) fn row(self) -> RowId {
        self.0 >> 1
    }

    pub(super) fn own(self) -> bool {
        self.0 & 1 == 1
    }
}
