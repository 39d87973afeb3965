//! Hints to the processor: load into the cache what will be read soon.
//!
//! The client of a query, its rows and the buckets of the index lie in a hundred places in memory. One cache miss after the other
//! would take as long as all arithmetic; hints overlap the misses with computation. Results do not depend on hints. Measured by
//! `cargo bench --bench engine`.

/// Bytes of a cache line on x86-64 and most ARM processors. Another size costs speed, not correctness.
pub const LINE: usize = 64;

/// Hints at the cache line in which a value begins.
#[inline]
pub fn value<T>(value: &T) {
    prefetch_index::prefetch_index(std::slice::from_ref(value), 0);
}

/// Hints at one item of a slice. An index behind the end is harmless: a hint reads nothing.
#[inline]
pub fn item<T>(slice: &[T], at: usize) {
    prefetch_index::prefetch_index(slice, at);
}

/// Hints at every cache line of a slice.
#[inline]
pub fn slice<T>(slice: &[T]) {
    (0..slice.len()).step_by((LINE / size_of::<T>().max(1)).max(1)).for_each(|at| item(slice, at));
}
