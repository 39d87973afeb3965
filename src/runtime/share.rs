//! What a member of the group has of the partitions, and whether it may judge: the topology `direct` of ADR 0031.
//!
//! A member that has some partitions and not all of them shares the work with others. Unless the topic is keyed by model, it would see a part of
//! each model and call it the whole. So it judges nothing: at its start it ends with the remedy, and later it waits until it has everything
//! again. If the operator says that the topic is keyed by model, that is believed, and checked against what arrives.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::source::feed::Partition;

/// What to do about members that share partitions.
pub const REMEDY: &str = "let one process have all partitions; or write runtime.topology = \"repartition\"; or key the topic by model and write \
                          runtime.keyed_by_model = true";

/// Models whose partition is remembered. Chosen: more than anybody watches; the name of a model is foreign text.
const MAX_MODELS: usize = 4_096;

/// What follows from an assignment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Share {
    /// It may judge.
    May,
    /// It has never had all partitions and has only some: it must leave.
    Refused,
    /// It had all of them and has lost some: it waits.
    Waits,
}

/// The partitions of a member.
#[derive(Debug)]
pub struct Shared {
    /// The operator says that each model is in one partition.
    keyed_by_model: bool,
    ours: BTreeSet<Partition>,
    /// It has had all partitions at some time.
    was_whole: bool,
    /// It waits for partitions of others.
    waits: bool,
    /// Partition of each model, by topic; kept only while partitions are shared.
    seen: BTreeMap<(Arc<str>, String), i32>,
    /// A model was found in two partitions, and said.
    contradicted: bool,
}

// === impl Shared ===

impl Shared {
    /// Before the first assignment.
    pub fn new(keyed_by_model: bool) -> Self {
        Self { keyed_by_model, ours: BTreeSet::new(), was_whole: false, waits: false, seen: BTreeMap::new(), contradicted: false }
    }

    /// These partitions came, of `all` that the topics have.
    pub fn assigned(&mut self, partitions: &[Partition], all: &[Partition]) -> Share {
        self.ours.extend(partitions.iter().cloned());
        let lacks = all.iter().any(|partition| !self.ours.contains(partition));
        self.waits = lacks && !self.keyed_by_model;
        self.was_whole |= !lacks;
        match (self.waits && !self.ours.is_empty(), self.was_whole) {
            (false, _) => Share::May,
            (true, false) => Share::Refused,
            (true, true) => Share::Waits,
        }
    }

    /// These partitions went. If some stay, others have what went.
    pub fn revoked(&mut self, partitions: &[Partition]) -> Share {
        for partition in partitions {
            self.ours.remove(partition);
        }
        self.waits = !self.keyed_by_model && !self.ours.is_empty();
        if self.waits { Share::Waits } else { Share::May }
    }

    /// Whether nothing may be judged until more partitions come.
    pub fn waits(&self) -> bool {
        self.waits
    }

    /// Whether records must be looked at with [`Shared::note`]: the operator has said that the topic is keyed by model.
    pub fn is_checked(&self) -> bool {
        self.keyed_by_model && !self.contradicted
    }

    /// A record of a model is in a partition. The other partition, the first time that a model is in two of one topic.
    pub fn note(&mut self, model: &str, partition: &Partition) -> Option<i32> {
        let known = self.seen.get(&(partition.topic.clone(), model.to_owned())).copied();
        match known {
            Some(known) if known != partition.number => {
                self.contradicted = true;
                Some(known)
            }
            Some(_) => None,
            None => {
                if self.seen.len() < MAX_MODELS {
                    self.seen.insert((partition.topic.clone(), model.to_owned()), partition.number);
                }
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partitions(numbers: &[i32]) -> Vec<Partition> {
        numbers.iter().map(|&number| Partition::new("t", number)).collect()
    }

    #[test]
    fn a_member_that_is_given_a_part_at_its_start_is_refused() {
        let all = partitions(&[0, 1, 2, 3]);
        assert_eq!(Shared::new(false).assigned(&partitions(&[0, 1]), &all), Share::Refused);
        assert_eq!(Shared::new(false).assigned(&all, &all), Share::May);
        assert_eq!(Shared::new(true).assigned(&partitions(&[0, 1]), &all), Share::May, "the operator says that it is keyed");
        assert_eq!(Shared::new(false).assigned(&[], &all), Share::May, "a member without partitions splits nothing");
    }

    #[test]
    fn a_member_that_loses_a_part_waits_until_it_is_back() {
        let all = partitions(&[0, 1, 2, 3]);
        let mut shared = Shared::new(false);
        assert_eq!(shared.assigned(&all, &all), Share::May);
        assert_eq!(shared.revoked(&partitions(&[2, 3])), Share::Waits);
        assert!(shared.waits());
        assert_eq!(shared.assigned(&partitions(&[2]), &all), Share::Waits);
        assert_eq!(shared.assigned(&partitions(&[3]), &all), Share::May);
        assert!(!shared.waits());
        assert_eq!(shared.revoked(&all), Share::May, "an eager rebalance takes all of them first");
        assert_eq!(shared.assigned(&partitions(&[0]), &all), Share::Waits);
    }

    #[test]
    fn a_model_in_two_partitions_contradicts_the_operator_once() {
        let mut shared = Shared::new(true);
        let [zero, one] = [Partition::new("t", 0), Partition::new("t", 1)];
        assert_eq!((shared.note("a", &zero), shared.note("b", &one), shared.note("a", &zero)), (None, None, None));
        assert_eq!(shared.note("a", &Partition::new("u", 5)), None, "another topic has partitions of its own");
        assert_eq!(shared.note("b", &zero), Some(1));
        assert!(!shared.is_checked());
    }
}
