//! Counts of a replay and the summary printed at its end.

use std::collections::BTreeMap;
use std::fmt;

use crate::event::{Provenance, Query};
use crate::judge::Verdict;
use crate::replay::Rejected;

/// What was read, used and refused.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Queries counted in the windows.
    pub accepted: u64,
    /// Queries behind the watermark.
    pub late: u64,
    rejected: BTreeMap<&'static str, (u64, Example)>,
    first: Option<&'static str>,
    verdicts: u64,
}

/// The first record of its kind.
#[derive(Clone, Debug)]
pub struct Example {
    /// Where it lies.
    pub provenance: Provenance,
    /// What is wrong with it.
    pub message: String,
}

// === impl Tally ===

impl Tally {
    /// A query was counted.
    pub fn accepted(&mut self, _query: &Query) {
        self.accepted += 1;
    }

    /// A query came too late.
    pub fn late(&mut self, _query: &Query) {
        self.late += 1;
    }

    /// A record was refused.
    pub fn reject(&mut self, record: &Rejected<'_>) {
        self.first.get_or_insert(record.reason);
        let example = || Example { provenance: record.provenance, message: record.message.to_owned() };
        self.rejected.entry(record.reason).or_insert_with(|| (0, example())).0 += 1;
    }

    /// The engine said something.
    pub fn verdict(&mut self, _verdict: &Verdict) {
        self.verdicts += 1;
    }

    /// Records refused for `reason`.
    pub fn rejected(&self, reason: &str) -> u64 {
        self.rejected.get(reason).map_or(0, |(count, _)| *count)
    }

    /// Records refused for any reason.
    pub fn rejections(&self) -> u64 {
        self.rejected.values().map(|(count, _)| count).sum()
    }

    /// Everything that was read: used or refused.
    pub fn messages(&self) -> u64 {
        self.accepted + self.late + self.rejections()
    }

    /// Reason and example of the first refusal.
    pub fn first_rejection(&self) -> Option<(&'static str, &Example)> {
        let reason = self.first?;
        self.rejected.get(reason).map(|(_, example)| (reason, example))
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "accepted {}  late {}  rejected {}  verdicts {}", self.accepted, self.late, self.rejections(), self.verdicts)?;
        for (reason, (count, example)) in &self.rejected {
            writeln!(f, "  {count:>8}  {reason}: line {}: {}", example.provenance.offset + 1, example.message)?;
        }
        Ok(())
    }
}
