//! Asks the processor for what will be read soon.
//!
//! A query's client, its rows and the buckets of the index lie in a hundred places in memory; waited for one after the other they
//! would take as long as all arithmetic. Asked for early, they come while something else is computed. Nothing else follows from it.

/// Bytes that come together.
pub const LINE: usize = 64;

/// Where a value begins.
#[inline]
pub fn value<T>(value: &T) {
    prefetch_index::prefetch_index(std::slice::from_ref(value), 0);
}

/// One item of a slice; of an item that it does not have, whatever lies there.
#[inline]
pub fn item<T>(slice: &[T], at: usize) {
    prefetch_index::prefetch_index(slice, at);
}

/// All of a slice.
#[inline]
pub fn slice<T>(slice: &[T]) {
    (0..slice.len()).step_by((LINE / size_of::<T>().max(1)).max(1)).for_each(|at| item(slice, at));
}
