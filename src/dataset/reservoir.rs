//! Which rows of a long file are kept: Algorithm R (Vitter 1985), with a hash of the row's number in place of random numbers. The
//! same file gives the same sample on every machine.

use crate::hash::mix2;

/// Keeps the choices of this sample apart from those of the sample that `fit` takes, which hashes row numbers too. Any number but
/// 0 would do.
const SALT: u64 = 0x7461_626c_6521;

/// A uniform sample of at most `limit` rows.
#[derive(Debug)]
pub(super) struct Reservoir {
    limit: usize,
    seen: u64,
}

// === impl Reservoir ===

impl Reservoir {
    /// An empty sample.
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, seen: 0 }
    }

    /// Lowers the limit, as long as no row was seen; at least one row is kept.
    pub(super) fn bound(&mut self, limit: usize) {
        if self.seen == 0 {
            self.limit = self.limit.min(limit).max(1);
        }
    }

    /// Rows seen so far.
    pub(super) fn seen(&self) -> u64 {
        self.seen
    }

    /// Where the next row goes when `kept` rows are held: behind the others, in place of one of them, or nowhere.
    pub(super) fn slot(&self, kept: usize) -> Option<usize> {
        if kept < self.limit {
            return Some(kept);
        }
        let chosen = mix2(SALT, self.seen) % (self.seen + 1);
        usize::try_from(chosen).ok().filter(|&chosen| chosen < self.limit)
    }

    /// Counts a row.
    pub(super) fn count(&mut self) {
        self.seen += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_kept_up_to_the_limit_and_later_ones_replace_earlier_ones() {
        let mut reservoir = Reservoir::new(100);
        let mut rows: Vec<u64> = Vec::new();
        for row in 0..10_000 {
            match reservoir.slot(rows.len()) {
                Some(at) if at == rows.len() => rows.push(row),
                Some(at) => rows[at] = row,
                None => {}
            }
            reservoir.count();
        }
        assert_eq!((rows.len(), reservoir.seen()), (100, 10_000));
        // The mean of 100 uniform draws from 0 to 9999 is 4999.5 ± 289; four standard errors.
        let mean = rows.iter().sum::<u64>() as f64 / 100.0;
        assert!((mean - 4999.5).abs() < 4.0 * 289.0, "{mean}");
    }

    #[test]
    fn a_limit_may_fall_before_the_first_row_and_never_to_nothing() {
        let mut reservoir = Reservoir::new(10);
        reservoir.bound(0);
        assert_eq!(reservoir.slot(0), Some(0));
        reservoir.count();
        reservoir.bound(5);
        assert_eq!(reservoir.limit, 1);
    }
}
