//! Work on several threads with results in a fixed order, so that a drill does not depend on the number of threads.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// Does `count` pieces of work on several threads; the results are in order.
pub fn in_parallel<T: Send>(threads: NonZeroUsize, count: usize, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<(usize, T)>> = Mutex::new(Vec::with_capacity(count));
    std::thread::scope(|scope| {
        for _ in 0..threads.get().min(count) {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    if at >= count {
                        break;
                    }
                    let result = work(at);
                    done.lock().unwrap_or_else(PoisonError::into_inner).push((at, result));
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_in_the_order_of_the_work_for_any_number_of_threads() {
        for threads in 1..6 {
            let squares = in_parallel(NonZeroUsize::new(threads).unwrap(), 100, |nth| nth * nth);
            assert!(squares.into_iter().eq((0..100).map(|nth| nth * nth)), "{threads} threads");
        }
        assert!(in_parallel(NonZeroUsize::MIN, 0, |nth| nth).is_empty());
    }
}
