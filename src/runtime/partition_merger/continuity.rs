//! Whether the messages of a partition follow each other, and what is missing if they do not.
//!
//! Offsets have gaps for honest reasons: marks of transactions, aborted messages, compaction. What retention removed shows in the first
//! offset that there still is: a gap that lies before it is lost. The news of that offset is older than the messages by up to a report,
//! so a gap waits for two reports before it counts as honest.
//!
//! An offset that is not behind the last one is of another log under the same name: the topic was made anew, or a broker lost its end.

/// Gaps that wait for reports at most. Chosen: transactions make many small ones; when there are more, the smallest is taken for honest.
const MAX_GAPS: usize = 64;
/// Reports that a gap waits for. One may have been on its way when the message came.
const REPORTS: u8 = 2;

/// What a message's offset says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Arrival {
    /// It is behind the last message.
    Follows,
    /// It is not: this is the beginning of another log.
    BeginsAnew,
}

/// What has come of a partition, and what should.
#[derive(Debug, Default)]
pub struct Continuity {
    /// Offset of the last message that came.
    last: Option<i64>,
    /// Offset that should come next; none if we do not know where the partition begins.
    next: Option<i64>,
    /// Offsets that did not come: first, end, and reports seen since.
    gaps: Vec<(i64, i64, u8)>,
}

// === impl Continuity ===

impl Continuity {
    /// The first message should have this offset.
    pub fn begin(&mut self, offset: i64) {
        self.next = Some(offset);
    }

    /// A message came.
    pub fn arrived(&mut self, offset: i64) -> Arrival {
        if self.last.is_some_and(|last| offset <= last) {
            *self = Self { last: Some(offset), next: Some(offset + 1), gaps: Vec::new() };
            return Arrival::BeginsAnew;
        }
        if let Some(next) = self.next.filter(|next| offset > *next) {
            self.note_gap(next, offset);
        }
        (self.last, self.next) = (Some(offset), Some(offset + 1));
        Arrival::Follows
    }

    /// Everything before this offset was handed out.
    pub fn passed(&mut self, offset: i64) {
        self.next = self.next.max(Some(offset));
    }

    /// A report of the first offset that there still is. Returns how many messages were removed before they came. `drained` says that
    /// nothing is on its way to us.
    pub fn report(&mut self, low: i64, drained: bool) -> u64 {
        let mut lost = 0;
        self.gaps.retain_mut(|(first, end, reports)| {
            *reports += 1;
            let removed = low.min(*end) - *first;
            if removed > 0 {
                lost += removed;
            }
            removed <= 0 && *reports < REPORTS
        });
        if let Some(next) = self.next.filter(|next| drained && *next < low) {
            lost += low - next;
            self.next = Some(low);
        }
        lost.unsigned_abs()
    }

    fn note_gap(&mut self, first: i64, end: i64) {
        if self.gaps.len() == MAX_GAPS {
            let smallest = (0..self.gaps.len()).min_by_key(|at| self.gaps[*at].1 - self.gaps[*at].0).unwrap_or(0);
            self.gaps.swap_remove(smallest);
        }
        self.gaps.push((first, end, 0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(offsets: &[i64]) -> Continuity {
        let mut continuity = Continuity::default();
        continuity.begin(0);
        for offset in offsets {
            assert_eq!(continuity.arrived(*offset), Arrival::Follows);
        }
        continuity
    }

    #[test]
    fn a_gap_before_the_first_offset_that_there_is_is_lost_and_counted_once() {
        let mut continuity = after(&[0, 1, 100, 101]);
        assert_eq!(continuity.report(0, false), 0, "this report is from before");
        assert_eq!(continuity.report(100, false), 98);
        assert_eq!(continuity.report(100, true), 0);
    }

    #[test]
    fn what_retention_removed_is_counted_up_to_the_message_that_came() {
        let mut continuity = after(&[0, 10]);
        assert_eq!(continuity.report(500, false), 9, "the others are on their way");
        assert_eq!(continuity.report(500, true), 489, "or nothing is");
        assert_eq!(continuity.report(500, true), 0);
        assert_eq!(continuity.arrived(500), Arrival::Follows);
    }

    #[test]
    fn marks_of_transactions_and_compaction_are_no_loss() {
        let mut continuity = after(&[0, 1, 3, 5, 9]);
        continuity.passed(12);
        for low in [0, 0, 0, 5, 10, 12] {
            assert_eq!(continuity.report(low, true), 0, "{low}");
        }
    }

    #[test]
    fn an_offset_that_goes_back_begins_another_log() {
        let mut continuity = after(&[0, 1, 50]);
        assert_eq!(continuity.arrived(0), Arrival::BeginsAnew);
        assert_eq!(continuity.arrived(1), Arrival::Follows);
        assert_eq!(continuity.report(0, true), 0);
        assert_eq!(continuity.arrived(1), Arrival::BeginsAnew, "the same offset twice is no progress either");
    }

    #[test]
    fn where_the_beginning_is_unknown_nothing_is_missed() {
        let mut continuity = Continuity::default();
        assert_eq!(continuity.report(7, true), 0);
        assert_eq!(continuity.arrived(900), Arrival::Follows);
        assert_eq!(continuity.report(900, true), 0);
    }

    #[test]
    fn gaps_that_wait_are_bounded_and_the_large_ones_stay() {
        let mut continuity = after(&[0, 1_000]);
        for nth in 0..1_000 {
            continuity.arrived(1_002 + 2 * nth);
            assert!(continuity.gaps.len() <= MAX_GAPS);
        }
        assert_eq!(continuity.report(1_000, false), 999);
    }
}
