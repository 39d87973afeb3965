//! What is remembered of one client's rows: which were its last, how near they lie to each other, what the steps between them
//! look like, and its part in components and campaigns ([`crate::judge::structure`] says what follows).

use crate::prefetch;
use crate::signal::edits::counts::EditCounts;
use crate::signal::edits::step::EditStep;
use crate::signal::edits::{EditModel, EditProcess};
use crate::window::clients::SlotRef;
use crate::window::history::{History, RowId};

/// Trails of edits kept per client, one per component.
const TRAILS: usize = 8;
/// Own steps from which no evidence of a machine in them is evidence of a person.
const PERSON_STEPS: u32 = 6;

/// The newest `N` rows of something, by the low half of their numbers: a ring that grows as it is used.
#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
pub(in crate::judge) struct Recent<const N: usize> {
    rows: Vec<u32>,
    next: u8,
}

/// Own rows that a new row is compared with.
pub(in crate::judge) type OwnRows = Recent<16>;
/// Rows of others that a client repeated, kept so that going on from them counts as its own trail.
pub(in crate::judge) type RepeatedRows = Recent<8>;

/// One member's part in a component.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Member {
    /// Evidence that its rows belong here, in nats.
    pub share: f64,
    /// Its rows here.
    pub rows: u32,
}

/// Checks and breaks of functional dependencies by everybody when a client began to wait, moved along with its own.
pub(in crate::judge) type Waiting = (u32, u32);

/// What structure evidence remembers of a client.
#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct ClientStructure {
    pub(in crate::judge) closeness: f64,
    /// Evidence that its own rows are nearer than the world's, whatever the world's density there.
    pub(in crate::judge) raced: f64,
    /// The same, edits in a row being one: who edits a form wins by that, and his other rows may be as near to each other as the world's.
    pub(in crate::judge) raced_as_sessions: f64,
    /// Whether the last row was an edit.
    pub(in crate::judge) was_edit: bool,
    pub(in crate::judge) habits: f64,
    /// Rows linked to own rows: the looks that habits had.
    pub(in crate::judge) steps: u32,
    pub(in crate::judge) rows: u32,
    pub(in crate::judge) own: OwnRows,
    /// Where its account is remembered; generation 0 is not known yet.
    pub(in crate::judge) account: SlotRef,
    pub(in crate::judge) repeated: RepeatedRows,
    trails: Vec<(SlotRef, EditProcess)>,
    /// How it edits, whatever trail; most clients never do.
    edit_model: Option<Box<EditModel>>,
    /// Its part in all components that are campaigns: a search that goes on from many base rows makes many components, and its
    /// members spend little in each of them.
    pub(in crate::judge) enlisted: Member,
    pub(in crate::judge) repeats: f64,
    pub(in crate::judge) last_sampled: u32,
    /// Evidence from broken functional dependencies.
    pub(in crate::judge) broken: f64,
    /// Since when it waits for peers to break them too.
    pub(in crate::judge) waiting: Option<Waiting>,
    /// Strongest closeness so far, for the record.
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

// === impl Member ===

impl Member {
    /// Adds rows and what they say.
    #[inline]
    pub fn add(&mut self, share: f64, rows: u32) {
        self.share += share;
        self.rows += rows;
    }
}

// === impl ClientStructure ===

impl ClientStructure {
    /// Bytes held beyond the struct itself.
    pub fn bytes(&self) -> usize {
        let trails = self.trails.capacity() * size_of::<(SlotRef, EditProcess)>();
        let manner = self.edit_model.as_ref().map_or(0, |_| size_of::<EditModel>());
        let processes = self.trails.iter().map(|(_, process)| process.bytes()).sum::<usize>();
        self.own.bytes() + self.repeated.bytes() + trails + processes + manner
    }

    /// Asks for itself.
    #[inline]
    pub fn prefetch(&self) {
        prefetch::value(&self.closeness);
        prefetch::value(&self.own);
        prefetch::value(&self.trails);
        prefetch::value(&self.enlisted);
    }

    /// Asks for the numbers of its rows.
    #[inline]
    pub fn prefetch_rows(&self) {
        prefetch::slice(&self.own.rows);
    }

    /// Closeness in nats, as it stands, by whichever measure says more.
    pub fn closeness(&self) -> f64 {
        self.closeness.max(self.raced)
    }

    /// Habits in nats, as they stand.
    pub fn habits(&self) -> f64 {
        self.habits
    }

    /// Whether its own steps, enough of them, show nothing of a machine. Who edits a form that others begin to search round is then
    /// not taken for one of them.
    pub(in crate::judge) fn looks_like_a_person(&self) -> bool {
        self.habits <= 0.0 && self.steps >= PERSON_STEPS
    }

    /// The trail along a component; the oldest goes when there are too many.
    pub(in crate::judge) fn trail(&mut self, component: SlotRef) -> &mut EditProcess {
        let at = self.trails.iter().position(|(c, _)| *c == component).unwrap_or_else(|| {
            if self.trails.len() >= TRAILS {
                self.trails.remove(0);
            }
            self.trails.push((component, EditProcess::default()));
            self.trails.len() - 1
        });
        &mut self.trails[at].1
    }

    /// Counts of its habits, over the trails that are remembered: (name, steps with it), those that it has.
    pub fn tallies(&self) -> impl Iterator<Item = (&'static str, u32)> {
        let mut sums = EditCounts::default().named();
        for (_, process) in &self.trails {
            sums.iter_mut().zip(process.counts.named()).for_each(|((_, sum), (_, count))| *sum += count);
        }
        sums.into_iter().filter(|(_, sum)| *sum > 0)
    }

    /// Takes a step of the trail along a component; returns its evidence for a machine, in nats.
    pub(in crate::judge) fn step(&mut self, component: SlotRef, step: EditStep<'_>) -> f64 {
        let mut edit_model = self.edit_model.take().unwrap_or_default();
        let evidence = self.trail(component).step(step, &mut edit_model);
        self.edit_model = Some(edit_model);
        evidence
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_human_steps_make_no_person_yet_and_machine_like_ones_never_do() {
        let past = |steps, habits| ClientStructure { steps, habits, ..ClientStructure::default() };
        assert!(past(PERSON_STEPS, 0.0).looks_like_a_person());
        assert!(!past(PERSON_STEPS - 1, 0.0).looks_like_a_person());
        assert!(!past(100, 0.5).looks_like_a_person());
    }
}
