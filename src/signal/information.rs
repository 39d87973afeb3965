//! Information budget: how much of the model could a client have learned from what it asked?
//!
//! Copying a model with rows like everybody's cannot be told from using it. What can be told is how far such a copy could have
//! got, which is what the extraction monitor of Kesarwani et al. ("Model extraction warning in MLaaS paradigm", ACSAC 2018, §3)
//! reports for one user and for users who may collude. Two figures, since models are learned in two ways:
//!
//! * *rows*: distinct informative rows against d + 1. A linear model over d encoded columns (a category is a column) has d + 1
//!   unknowns and falls to as many equations (Tramèr et al., "Stealing machine learning models via prediction APIs", USENIX
//!   Security 2016, §4.1); retraining from labels takes a multiple of that (§4.4). Rows whose values fall into the same bins are
//!   one row: a repeat teaches nothing, and a jittered repeat next to nothing.
//! * *coverage*: which regions of the model were visited, weighed by how much of the reference lies in them ([`tree`]). A copy
//!   knows nothing of a region where it never asked.
//!
//! Both must stay small and exact enough for every caller and must add up over a coalition. So distinct rows are counted by a
//! HyperLogLog sketch (Flajolet et al. 2007) of 64 registers, with linear counting while it is sparse (Whang et al. 1990), and
//! regions by a bitset: the union of two callers is the maximum of the registers and the or of the bits. Row hashes are salted: a
//! client that could compute them would choose rows that leave the sketch unmoved.

mod tree;

use crate::hash::{self, mix2};
use crate::prefetch;
use crate::reference::{Kind, Reference};
use crate::signal::codes::{Coder, Codes};
use tree::{AnswerTree, LEAVES};

/// Registers of the sketch: standard error 1.04/√64 = 13% (Flajolet et al. 2007), enough for a figure whose warnings compare multiples.
const REGISTERS: usize = 64;
/// Bits of a hash that choose the register.
const REGISTER_BITS: u32 = REGISTERS.trailing_zeros();
/// Bias correction of HyperLogLog for 64 registers (Flajolet et al. 2007, figure 3).
const ALPHA: f64 = 0.709;
/// Rows per register below which empty registers say more than the full ones (Flajolet et al. 2007, §4).
const SPARSE: f64 = 2.5;
/// Fewest leaves of which a coverage means anything: with fewer (no recorded answers, a constant model) none is stated. Chosen: a single
/// row would already cover an eighth.
const FEWEST_LEAVES: usize = 8;

/// 2 to the power of −r, for every rank r.
const POWERS: [f64; 64] = {
    let mut powers = [1.0; 64];
    let mut rank = 1;
    while rank < powers.len() {
        powers[rank] = powers[rank - 1] / 2.0;
        rank += 1;
    }
    powers
};

/// What one caller, or several together, could have learned. About a hundred bytes.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct Information {
    #[serde(with = "registers")]
    registers: [u8; REGISTERS],
    leaves: [u64; LEAVES / 64],
    rows: f32,
}

/// The model's regions as far as its reference shows them.
#[derive(Clone, Debug)]
pub struct Regions {
    salt: u64,
    unknowns: usize,
    tree: AnswerTree,
}

/// Registers in a snapshot: serde knows arrays up to 32.
mod registers {
    use serde::de::{Deserialize, Deserializer, Error};
    use serde::ser::{Serialize, Serializer};

    use super::REGISTERS;

    pub(super) fn serialize<S: Serializer>(registers: &[u8; REGISTERS], serializer: S) -> Result<S::Ok, S::Error> {
        registers.as_slice().serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[u8; REGISTERS], D::Error> {
        let found = Vec::<u8>::deserialize(deserializer)?;
        found.try_into().map_err(|found: Vec<u8>| D::Error::invalid_length(found.len(), &"64 registers"))
    }
}

// === impl Information ===

impl Default for Information {
    fn default() -> Self {
        Self { registers: [0; REGISTERS], leaves: [0; LEAVES / 64], rows: 0.0 }
    }
}

impl Information {
    /// Takes a row. O(1): a hash of its codes and one path of the tree.
    pub fn note(&mut self, codes: &Codes, regions: &Regions) {
        let leaf = regions.tree.leaf(codes);
        self.leaves[leaf / 64] |= 1 << (leaf % 64);
        let hash = regions.row_hash(codes);
        let register = &mut self.registers[(hash >> (64 - REGISTER_BITS)) as usize];
        // Leading zeros of the other bits, plus one; the bound is met only by a hash of zeros.
        let rank = ((hash << REGISTER_BITS).leading_zeros() + 1).min(64 - REGISTER_BITS + 1) as u8;
        if rank > *register {
            *register = rank;
            self.rows = self.estimate() as f32;
        }
    }

    /// Prefetches itself.
    #[inline]
    pub fn prefetch(&self) {
        prefetch::value(&self.registers);
        prefetch::value(&self.leaves);
        prefetch::value(&self.rows);
    }

    /// Adds what another caller could have learned.
    pub fn merge(&mut self, other: &Self) {
        self.registers.iter_mut().zip(&other.registers).for_each(|(own, theirs)| *own = (*own).max(*theirs));
        self.leaves.iter_mut().zip(&other.leaves).for_each(|(own, theirs)| *own |= theirs);
        self.rows = self.estimate() as f32;
    }

    /// Distinct informative rows, estimated to about 13%; nearly exact for a few.
    pub fn rows(&self) -> f64 {
        f64::from(self.rows)
    }

    fn estimate(&self) -> f64 {
        let m = REGISTERS as f64;
        let raw = ALPHA * m * m / self.registers.iter().map(|&r| POWERS[usize::from(r) & 63]).sum::<f64>();
        let empty = self.registers.iter().filter(|&&r| r == 0).count();
        if raw <= SPARSE * m && empty > 0 { m * (m / empty as f64).ln() } else { raw }
    }
}

// === impl Regions ===

impl Regions {
    /// The regions of a reference. `salt` must be the deployment's.
    pub fn new(reference: &Reference, coder: &Coder, salt: u64) -> Self {
        let columns: usize = reference.features.iter().map(|f| if f.kind == Kind::Categorical { f.bins() } else { 1 }).sum();
        Self { salt: mix2(salt, 0x1f0), unknowns: columns + 1, tree: AnswerTree::new(reference, coder) }
    }

    /// A row as a salted hash: rows whose values fall into the same bins are one row.
    #[inline]
    pub fn row_hash(&self, codes: &Codes) -> u64 {
        hash::codes(self.salt, &codes.fine)
    }

    /// d + 1: unknowns of a linear model over the encoded columns, one a number and one a category.
    pub fn unknowns(&self) -> usize {
        self.unknowns
    }

    /// Number of regions.
    pub fn len(&self) -> usize {
        self.tree.mass().len()
    }

    /// Whether there are too few regions for a coverage.
    pub fn is_empty(&self) -> bool {
        self.tree.mass().len() < FEWEST_LEAVES
    }

    /// Distinct rows over d + 1. From 1 on a linear model could be known.
    pub fn ratio(&self, information: &Information) -> f64 {
        information.rows() / self.unknowns as f64
    }

    /// Share of the reference that lies in visited regions, 0 to 1; `None` where the reference knows no regions.
    pub fn covered(&self, information: &Information) -> Option<f64> {
        (!self.is_empty()).then(|| {
            let visited = |leaf: usize| information.leaves[leaf / 64] >> (leaf % 64) & 1 == 1;
            self.tree
                .mass()
                .iter()
                .enumerate()
                .filter(|(leaf, _)| visited(*leaf))
                .map(|(_, &mass)| f64::from(mass))
                .sum::<f64>()
                .min(1.0)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::{Column, Dataset, FitOptions, Raw, fit};

    /// Two numbers and a category; the answer is a step of the first number within the category.
    fn reference() -> Reference {
        let n = 4000_u64;
        let x = |i: u64| (crate::hash::mix(i) % 1000) as f64;
        let y = |i: u64| (crate::hash::mix(i ^ 0xabc) % 1000) as f64;
        let kind = |i: u64| (i % 4) as usize;
        let dataset = Dataset {
            features: vec![
                Column { name: "x".into(), cells: (0..n).map(|i| Raw::Number(x(i))).collect() },
                Column { name: "y".into(), cells: (0..n).map(|i| Raw::Number(y(i))).collect() },
                Column { name: "kind".into(), cells: (0..n).map(|i| Raw::Text(["a", "b", "c", "d"][kind(i)].into())).collect() },
            ],
            predictions: (0..n).map(|i| Raw::Number(x(i) / 1000.0 * (kind(i) + 1) as f64 + y(i) / 3000.0)).collect(),
            probabilities: Vec::new(),
        };
        fit(&dataset, &FitOptions { model: "m".into(), ..FitOptions::default() }).unwrap()
    }

    struct World {
        reference: Reference,
        coder: Coder,
        regions: Regions,
    }

    impl World {
        fn new(salt: u64) -> Self {
            let reference = reference();
            let coder = Coder::new(&reference);
            let regions = Regions::new(&reference, &coder, salt);
            Self { reference, coder, regions }
        }

        fn ask(&self, information: &mut Information, row: usize) {
            let mut codes = Codes::default();
            self.coder.encode(&self.reference.sample[row], &mut codes);
            information.note(&codes, &self.regions);
        }
    }

    fn codes(a: u16, b: u16) -> Codes {
        Codes { fine: vec![a, b, 0], ..Codes::default() }
    }

    #[test]
    fn repeats_teach_nothing_and_other_rows_do() {
        let world = World::new(7);
        let mut information = Information::default();
        for _ in 0..1000 {
            world.ask(&mut information, 3);
        }
        assert!((information.rows() - 1.0).abs() < 0.1, "{}", information.rows());
        assert_eq!(world.regions.unknowns(), 2 + 4 + 1);
        let covered = world.regions.covered(&information).unwrap();
        assert!(covered > 0.0 && covered < 0.05, "one region of many: {covered}");
    }

    #[test]
    fn distinct_rows_are_counted_within_the_stated_error() {
        const SALTS: u64 = 24;
        let mut world = World::new(0).regions;
        for target in [4_u32, 16, 64, 256, 4096, 65_536] {
            let mut squares = 0.0;
            for salt in 0..SALTS {
                world.salt = crate::hash::mix(salt);
                let mut information = Information::default();
                (0..target).for_each(|i| information.note(&codes((i >> 10) as u16, (i & 1023) as u16), &world));
                squares += (information.rows() / f64::from(target) - 1.0).powi(2) / SALTS as f64;
            }
            // The standard error is 13%; estimated from 24 salts it is itself uncertain by a seventh, and the tail is skewed.
            assert!(squares.sqrt() < 0.19, "{target} rows are estimated with an error of {:.0}%", 100.0 * squares.sqrt());
        }
    }

    #[test]
    fn a_coalition_has_learned_what_its_members_together_have() {
        let world = World::new(1);
        let (mut a, mut b, mut both) = (Information::default(), Information::default(), Information::default());
        for row in 0..200 {
            world.ask(if row % 2 == 0 { &mut a } else { &mut b }, row);
            world.ask(&mut both, row);
        }
        a.merge(&b);
        assert_eq!((a.registers, a.leaves), (both.registers, both.leaves));
        assert!((a.rows() - both.rows()).abs() < 1e-6);
        let alone = b.rows();
        b.merge(&b.clone());
        assert!((b.rows() - alone).abs() < 1e-6, "the same caller twice has learned no more");
    }

    #[test]
    fn coverage_says_how_much_of_the_world_was_visited() {
        let world = World::new(1);
        assert!(world.regions.len() > 64, "{} regions", world.regions.len());
        let (mut wide, mut narrow) = (Information::default(), Information::default());
        let mut covered = Vec::new();
        for row in 0..2000 {
            world.ask(&mut wide, row);
            if [10, 100, 1999].contains(&row) {
                covered.push(world.regions.covered(&wide).unwrap());
            }
        }
        assert!(covered[0] < 0.15 && covered[1] > 2.0 * covered[0] && covered[2] > 0.95, "{covered:?}");
        // A thousand different rows from one corner of the world: many rows, little of the model.
        let x = world.coder.features()[0].edges[0];
        for row in (0..world.reference.sample.len()).filter(|&row| world.reference.sample[row][0].value() < x) {
            world.ask(&mut narrow, row);
        }
        let corner = world.regions.covered(&narrow).unwrap();
        assert!(corner < 0.3 && narrow.rows() > 30.0, "{corner} of the mass from {} rows", narrow.rows());
    }

    #[test]
    fn a_model_that_always_answers_the_same_has_no_regions_to_cover() {
        let mut reference = reference();
        reference.sample_predictions.iter_mut().for_each(|p| *p = crate::event::Cell::number(0.5));
        let coder = Coder::new(&reference);
        let regions = Regions::new(&reference, &coder, 0);
        assert_eq!((regions.len(), regions.covered(&Information::default())), (1, None));
    }

    #[test]
    fn a_caller_costs_about_a_hundred_bytes() {
        assert!(size_of::<Information>() <= 104, "{}", size_of::<Information>());
    }

    #[test]
    fn rows_chosen_against_another_salt_do_not_hide() {
        // An attacker that knows the algorithm picks rows that leave its own copy of the sketch unmoved.
        let (guessed, real) = (World::new(1).regions, World::new(2).regions);
        let mut copy = Information::default();
        let mut chosen = Vec::new();
        for i in 0..200_000_u32 {
            let row = codes((i >> 10) as u16, (i & 1023) as u16);
            let before = copy.registers;
            copy.note(&row, &guessed);
            if copy.registers == before {
                chosen.push(row);
            } else if chosen.len() > 64 {
                copy.registers = before;
            }
        }
        let mut information = Information::default();
        chosen.iter().take(5000).for_each(|row| information.note(row, &real));
        assert!(information.rows() > 3000.0, "{} of 5000", information.rows());
    }
}
