//! A growing sequence whose clones share what neither has changed.
//!
//! A snapshot needs the state as it was at one moment, and judging cannot wait until a gigabyte is copied. A clone of [`Chunks`] counts
//! references up and copies nothing.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use serde::de::{Deserializer, SeqAccess, Visitor};
use serde::ser::{SerializeSeq as _, Serializer};
use serde::{Deserialize, Serialize};

use crate::prefetch;

/// A growing sequence in chunks that clones share. Whoever changes an item copies its chunk first, if a clone has it, too.
#[derive(Clone, Debug)]
pub(super) struct Chunks<T> {
    full: Vec<Arc<[T]>>,
    /// The last items, fewer than a chunk.
    tail: Vec<T>,
}

/// Items of a chunk. Chosen: a chunk is copied for the first query of any of its clients while a clone shares it, so few clients should be in
/// one; and a clone counts every chunk up, which takes some milliseconds for the chunks of a million clients.
const CHUNK: usize = 2;

// === impl Chunks ===

impl<T> Chunks<T> {
    /// No items.
    pub(super) const fn new() -> Self {
        Self { full: Vec::new(), tail: Vec::new() }
    }

    /// An item. Panics if there are not so many.
    #[inline]
    pub(super) fn get(&self, at: u32) -> &T {
        let at = at as usize;
        self.full.get(at / CHUNK).map_or_else(|| &self.tail[at % CHUNK], |chunk| &chunk[at % CHUNK])
    }

    /// Appends an item.
    pub(super) fn push(&mut self, item: T) {
        if self.tail.capacity() == 0 {
            self.tail.reserve_exact(CHUNK);
        }
        self.tail.push(item);
        if self.tail.len() == CHUNK {
            self.full.push(std::mem::take(&mut self.tail).into());
        }
    }

    /// Prefetches an item.
    #[inline]
    pub(super) fn prefetch(&self, at: u32) {
        if let Some(chunk) = self.full.get(at as usize / CHUNK) {
            prefetch::item(chunk, at as usize % CHUNK);
        }
    }

    /// All items in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.full.iter().flat_map(|chunk| chunk.iter()).chain(&self.tail)
    }
}

impl<T: Clone> Chunks<T> {
    /// An item to be changed. Panics if there are not so many.
    #[inline]
    pub(super) fn get_mut(&mut self, at: u32) -> &mut T {
        let at = at as usize;
        match self.full.get_mut(at / CHUNK) {
            Some(chunk) => &mut Arc::make_mut(chunk)[at % CHUNK],
            None => &mut self.tail[at % CHUNK],
        }
    }

    /// Copies every chunk that a clone has, too.
    pub(super) fn unshare(&mut self) {
        for chunk in &mut self.full {
            Arc::make_mut(chunk);
        }
    }

    /// The same, to be changed: every chunk that a clone has, too, is copied.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.full.iter_mut().flat_map(Arc::make_mut).chain(&mut self.tail)
    }
}

impl<T> Chunks<T> {
    /// Number of chunks that are not the same memory in both.
    #[cfg(test)]
    pub(super) fn unshared(&self, other: &Self) -> usize {
        self.full.iter().zip(&other.full).filter(|(ours, theirs)| !Arc::ptr_eq(ours, theirs)).count()
    }
}

/// Written as one sequence, so the size of a chunk is no part of the format.
impl<T: Serialize> Serialize for Chunks<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut sequence = serializer.serialize_seq(Some(self.full.len() * CHUNK + self.tail.len()))?;
        self.iter().try_for_each(|item| sequence.serialize_element(item))?;
        sequence.end()
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Chunks<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Items<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Items<T> {
            type Value = Chunks<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a sequence")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Self::Value, A::Error> {
                let mut chunks = Chunks::new();
                while let Some(item) = sequence.next_element()? {
                    chunks.push(item);
                }
                Ok(chunks)
            }
        }
        deserializer.deserialize_seq(Items(PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_written_as_one_sequence_and_read_back_whatever_their_number() {
        for length in 0..=3 * CHUNK as u32 + 1 {
            let mut chunks = Chunks::new();
            (0..length).for_each(|item| chunks.push(item));
            assert!(chunks.iter().copied().eq(0..length));
            let bytes = postcard::to_stdvec(&chunks).unwrap();
            assert_eq!(bytes, postcard::to_stdvec(&(0..length).collect::<Vec<u32>>()).unwrap(), "as a plain sequence");
            let mut read: Chunks<u32> = postcard::from_bytes(&bytes).unwrap();
            read.push(length);
            assert!(read.iter().copied().eq(0..=length));
            assert_eq!(read.get(length), &length);
        }
    }

    #[test]
    fn after_unsharing_nothing_is_shared_and_nothing_is_copied_again() {
        let mut chunks = Chunks::new();
        (0..100).for_each(|item| chunks.push(item));
        let mut copy = chunks.clone();
        assert_eq!(chunks.unshared(&copy), 0);
        copy.unshare();
        assert_eq!(chunks.unshared(&copy), chunks.full.len());
        *chunks.get_mut(50) += 1;
        assert_eq!((chunks.get(50), copy.get(50)), (&51, &50));
        chunks.iter_mut().for_each(|item| *item = 0);
        assert!(copy.iter().copied().eq(0..100));
    }
}
