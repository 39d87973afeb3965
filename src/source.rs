//! Where records come from: files, Kafka, memory. A source knows bytes and where they lay; what they mean is
//! [`decode`](crate::decode)'s business.
//!
//! The port is small on purpose: a [`Record`] borrows the source's buffer until the next one is asked for, so a log of any
//! size passes through a fixed amount of memory. `Record` is part of the pure core (decoding needs it); the sources that
//! touch the world are behind the `runtime` feature.

#[cfg(feature = "runtime")]
pub mod combined;
#[cfg(feature = "runtime")]
pub mod feed;
#[cfg(feature = "runtime")]
pub mod file;
#[cfg(feature = "runtime")]
pub mod http;
#[cfg(feature = "runtime")]
pub mod kafka;
#[cfg(feature = "runtime")]
mod line_form;
#[cfg(feature = "runtime")]
pub mod log;
#[cfg(feature = "runtime")]
pub mod memory;
#[cfg(feature = "runtime")]
pub mod registry;
#[cfg(feature = "runtime")]
pub mod sorted;
#[cfg(feature = "runtime")]
pub mod table;

use crate::event::Provenance;

/// A header as it came; Kafka allows a header without value.
pub type OwnedHeader = (Box<str>, Option<Box<[u8]>>);

/// One message or line, as it came: nothing has been read into it yet.
#[derive(Clone, Debug, Default)]
pub struct Record<'a> {
    /// Message key, if there is one.
    pub key: Option<&'a [u8]>,
    /// Message headers in order; empty for files.
    pub headers: &'a [(&'a str, &'a [u8])],
    /// The message or the line, without its line ending.
    pub payload: &'a [u8],
    /// Where it lay.
    pub provenance: Provenance,
}

/// A stream of records that ends, such as a file. (A Kafka topic never ends and is driven by the runtime instead.)
pub trait Source {
    /// Why the stream could not be read on.
    type Error;

    /// The next record, valid until the next call; `None` at the end. After an error there is nothing more to read.
    fn next(&mut self) -> Result<Option<Record<'_>>, Self::Error>;
}
