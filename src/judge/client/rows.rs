//! What is remembered of one client's rows: its last rows, how near they lie to each other, the chains of edits between them, and its
//! part in components and campaigns ([`crate::judge::structure`] says what follows).

use crate::prefetch;
use crate::signal::edits::counts::EditCounts;
use crate::signal::edits::step::EditStep;
use crate::signal::edits::{EditModel, EditProcess};
use crate::window::clients::SlotRef;
use crate::window::history::{History, RowId};

/// Chains of edits kept per client, one for each component. Chosen: a search that goes back to more base rows than these starts them
/// afresh; what it has learned of the client's edits stays ([`EditModel`]).
const EDIT_CHAINS: usize = 8;
/// Own links from which on the absence of automation is evidence of a person. Chosen: fewer would excuse a search that has only begun.
const PERSON_LINKS: u32 = 6;

/// The newest `N` rows of something, by the low half of their numbers: a ring that grows as it is used.
#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
pub(in crate::judge) struct Recent<const N: usize> {
    rows: Vec<u32>,
    next: u8,
}

/// Own rows that a new row is compared with. Chosen: sixteen, since a search that continues an older row is found by the index.
pub(in crate::judge) const OWN_ROWS: usize = 16;
/// The newest of its rows.
pub(in crate::judge) type OwnRows = Recent<OWN_ROWS>;
/// Rows of others that a client repeated. They are kept so that edits of them continue its own chain. Chosen: half of [`OwnRows`].
pub(in crate::judge) type RepeatedRows = Recent<8>;

/// One client's part in a component, or in all components that are campaigns.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Membership {
    /// Evidence that its rows belong there, in nats.
    pub share: f64,
    /// Its rows there.
    pub rows: u32,
}

/// Number of checks of functional dependencies, and of those that broke one; both wrap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct CheckCounts {
    /// Checks.
    pub checks: u32,
    /// Checks that broke a dependency.
    pub broken: u32,
}

/// A client's chain of edits along one component.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
struct EditChain {
    component: SlotRef,
    process: EditProcess,
}

/// What structure evidence remembers of a client.
#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct ClientStructure {
    /// Evidence that its rows are nearer to its own rows than natural rows are to each other, in nats.
    pub(in crate::judge) proximity: f64,
    /// Evidence that its own rows are nearer than the reference's, whatever the local density, in nats: nearest-neighbour tests.
    pub(in crate::judge) nearest_neighbour: f64,
    /// The same, where successive edits of a form count as one test. A person who edits a form wins each of those tests, which says
    /// nothing about how near the person's other rows are.
    pub(in crate::judge) nearest_neighbour_by_session: f64,
    /// Whether the last row was an edit.
    pub(in crate::judge) was_edit: bool,
    /// Evidence that a machine makes its edits, in nats.
    pub(in crate::judge) automation: f64,
    /// Number of own-row links; each link is one sequential test of the automation score.
    pub(in crate::judge) own_links: u32,
    /// Its rows so far.
    pub(in crate::judge) rows: u32,
    pub(in crate::judge) own: OwnRows,
    /// Where its account is remembered; generation 0 is not known yet.
    pub(in crate::judge) account: SlotRef,
    pub(in crate::judge) repeated: RepeatedRows,
    edit_chains: Vec<EditChain>,
    /// How it edits, on all chains together; most clients never edit.
    edit_model: Option<Box<EditModel>>,
    /// Its part in all components that are campaigns. A search that starts from many base rows makes many components, and its members
    /// have few rows in each of them.
    pub(in crate::judge) campaigns: Membership,
    /// Evidence that it repeats rows of campaigns, in nats.
    pub(in crate::judge) repeats: f64,
    /// Its number of rows when one was last taken for the similarity baseline.
    pub(in crate::judge) last_sampled: u32,
    /// Evidence from broken functional dependencies, in nats.
    pub(in crate::judge) broken: f64,
    /// Checks of everybody when it began to wait for its peers, moved along with its own.
    pub(in crate::judge) waiting: Option<CheckCounts>,
    /// Strongest proximity so far, in nats.
    pub peak: f64,
}

// === impl Recent ===

impl<const N: usize> Recent<N> {
    /// Adds a row, in place of the oldest if there are `N`.
    pub(in crate::judge) fn push(&mut self, row: RowId) {
        if self.rows.len() < N {
            self.rows.push(row as u32);
        } else {
            self.rows[usize::from(self.next)] = row as u32;
            self.next = (self.next + 1) % N as u8;
        }
    }

    pub(in crate::judge) fn contains(&self, row: RowId) -> bool {
        self.rows.contains(&(row as u32))
    }

    /// The rows that are still held, the last added first.
    pub(in crate::judge) fn rows<'a>(&'a self, history: &'a History) -> impl Iterator<Item = RowId> + 'a {
        let (last, first) = self.rows.split_at(usize::from(self.next).min(self.rows.len()));
        last.iter().rev().chain(first.iter().rev()).filter_map(|&row| history.recall(row, u32::MAX))
    }

    fn bytes(&self) -> usize {
        self.rows.capacity() * size_of::<u32>()
    }
}

// === impl Membership ===

impl Membership {
    /// Adds rows and their evidence.
    #[inline]
    pub fn add(&mut self, share: f64, rows: u32) {
        self.share += share;
        self.rows += rows;
    }
}

// === impl CheckCounts ===

impl CheckCounts {
    /// Counts one check.
    pub(in crate::judge) fn add(&mut self, broken: bool) {
        *self = Self { checks: self.checks.wrapping_add(1), broken: self.broken.wrapping_add(u32::from(broken)) };
    }

    /// What was counted since an earlier state.
    pub(in crate::judge) fn since(self, earlier: Self) -> Self {
        Self { checks: self.checks.wrapping_sub(earlier.checks), broken: self.broken.wrapping_sub(earlier.broken) }
    }
}

// === impl ClientStructure ===

impl ClientStructure {
    /// Bytes held beyond the struct itself.
    pub fn bytes(&self) -> usize {
        let chains = self.edit_chains.capacity() * size_of::<EditChain>();
        let edit_model = self.edit_model.as_ref().map_or(0, |_| size_of::<EditModel>());
        let processes = self.edit_chains.iter().map(|chain| chain.process.bytes()).sum::<usize>();
        self.own.bytes() + self.repeated.bytes() + chains + processes + edit_model
    }

    /// Prefetches the struct itself.
    #[inline]
    pub fn prefetch(&self) {
        prefetch::value(&self.proximity);
        prefetch::value(&self.own);
        prefetch::value(&self.edit_chains);
        prefetch::value(&self.campaigns);
    }

    /// Prefetches the numbers of its rows.
    #[inline]
    pub fn prefetch_rows(&self) {
        prefetch::slice(&self.own.rows);
    }

    /// Proximity of its rows to its own earlier rows, in nats: the larger of the two measures, as it stands.
    pub fn proximity(&self) -> f64 {
        self.proximity.max(self.nearest_neighbour)
    }

    /// Starts its evidence afresh; its rows and its chains of edits stay.
    pub fn restart(&mut self) {
        (self.proximity, self.nearest_neighbour, self.nearest_neighbour_by_session) = (0.0, 0.0, 0.0);
        (self.automation, self.repeats, self.broken) = (0.0, 0.0, 0.0);
        self.campaigns = Membership::default();
        self.edit_model = None;
        self.edit_chains.clear();
    }

    /// Its rows that are linked to none of its own and lie in no campaign.
    pub fn unlinked_rows(&self) -> u32 {
        self.rows.saturating_sub(self.own_links).saturating_sub(self.campaigns.rows)
    }

    /// Automation of its edits, in nats, as it stands.
    pub fn automation(&self) -> f64 {
        self.automation
    }

    /// Whether it has enough own links, and they show no automation. A person who edits a form that others begin to search around is
    /// then not taken for one of them.
    pub(in crate::judge) fn looks_like_a_person(&self) -> bool {
        self.automation <= 0.0 && self.own_links >= PERSON_LINKS
    }

    /// Its chain of edits along a component; the oldest chain goes when there are too many.
    pub(in crate::judge) fn edit_chain(&mut self, component: SlotRef) -> &mut EditProcess {
        let at = self.edit_chains.iter().position(|chain| chain.component == component).unwrap_or_else(|| {
            if self.edit_chains.len() >= EDIT_CHAINS {
                self.edit_chains.remove(0);
            }
            self.edit_chains.push(EditChain { component, process: EditProcess::default() });
            self.edit_chains.len() - 1
        });
        &mut self.edit_chains[at].process
    }

    /// Counts over the chains of edits that are remembered: (name, steps of that kind), without zeros.
    pub fn edit_counts(&self) -> impl Iterator<Item = (&'static str, u32)> {
        let mut sums = EditCounts::default().named();
        for chain in &self.edit_chains {
            sums.iter_mut().zip(chain.process.counts.named()).for_each(|((_, sum), (_, count))| *sum += count);
        }
        sums.into_iter().filter(|(_, sum)| *sum > 0)
    }

    /// Takes a step of the chain of edits along a component; returns its evidence for a machine, in nats.
    pub(in crate::judge) fn step(&mut self, component: SlotRef, step: EditStep<'_>) -> f64 {
        let mut edit_model = self.edit_model.take().unwrap_or_default();
        let evidence = self.edit_chain(component).step(step, &mut edit_model);
        self.edit_model = Some(edit_model);
        evidence
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_human_steps_make_no_person_yet_and_machine_like_ones_never_do() {
        let past = |own_links, automation| ClientStructure { own_links, automation, ..ClientStructure::default() };
        assert!(past(PERSON_LINKS, 0.0).looks_like_a_person());
        assert!(!past(PERSON_LINKS - 1, 0.0).looks_like_a_person());
        assert!(!past(100, 0.5).looks_like_a_person());
    }

    #[test]
    fn the_last_rows_are_listed_newest_first_as_long_as_they_are_held() {
        let mut history = History::new((1, 0), 4, 4);
        let mut recent: Recent<3> = Recent::default();
        for _ in 0..5 {
            let row = history.push(&[0], &[], crate::window::history::RowMeta::default());
            recent.push(row);
        }
        assert_eq!(recent.rows(&history).collect::<Vec<_>>(), [4, 3, 2], "three are kept");
        assert!(recent.contains(3) && !recent.contains(1));
        (0..2).for_each(|_| {
            history.push(&[0], &[], crate::window::history::RowMeta::default());
        });
        assert_eq!(recent.rows(&history).collect::<Vec<_>>(), [4, 3], "the history has forgotten row 2");
    }

    #[test]
    fn check_counts_wrap_and_their_differences_stay_right() {
        let mut counts = CheckCounts { checks: u32::MAX, broken: u32::MAX };
        let before = counts;
        counts.add(true);
        counts.add(false);
        assert_eq!(counts.since(before), CheckCounts { checks: 2, broken: 1 });
    }
}
