//! Combinations of three features' values that the reference should show but does not: novelty beyond pairs.
//!
//! A row that is put together from two real ones, or that lies in the middle between them, may break no pair of features and still
//! be like nothing that was ever seen. For triples of features that depend on each other the joint cell is counted in the
//! reference's sample and compared with what its pairs let expect: the least of the three expectations under which
//! one of the three is independent of another given the third (a Markov chain), so that a broken pair is not counted again here.
//! The statistic is −Σ min(L, 0), L the log-lift with a count prior on both sides ([`super::lift`]).

use crate::reference::Reference;
use crate::signal::codes::{Coder, Codes};
use crate::signal::lift::log_lift;

/// Triples looked at. Chosen: a look-up each a row, in tables that stay in the processor's nearer memory.
const TRIPLES: usize = 16;
/// Cells of a triple's table at most. Chosen: with more, hardly any cell is expected twice in a sample of thousands, so that an empty one
/// says nothing.
const MOST_CELLS: usize = 4096;

/// One triple's table, the third feature's codes lying together.
#[derive(Clone, Debug)]
struct Triple {
    features: [usize; 3],
    sizes: [usize; 3],
    /// Count and expectation by cell, for leave-one-out.
    counts: Vec<(f32, f32)>,
    /// min(L, 0), negated.
    novelty: Vec<f32>,
}

/// The triples of one reference.
#[derive(Clone, Debug)]
pub struct Combinations(Vec<Triple>);

// === impl Combinations ===

impl Combinations {
    /// Counts triples of features that are not `masked`, in the codes of the sample: each strongest pair with the feature that depends most on both.
    pub fn new(reference: &Reference, coder: &Coder, sample: &[Codes], masked: &[bool]) -> Self {
        let width = reference.features.len();
        let mut strength = vec![0.0; width * width];
        for pair in &reference.pairs {
            strength[pair.a * width + pair.b] = pair.information;
            strength[pair.b * width + pair.a] = pair.information;
        }
        let open = |j: &usize| !masked.get(*j).copied().unwrap_or(false);
        let small = |features: &[usize; 3]| features.iter().map(|&j| coder.sizes()[j]).product::<usize>() <= MOST_CELLS;
        let mut chosen: Vec<[usize; 3]> = Vec::new();
        for pair in reference.pairs.iter().filter(|pair| open(&pair.a) && open(&pair.b)) {
            let with = |c: usize| strength[pair.a * width + c].min(strength[pair.b * width + c]);
            let third =
                (0..width).filter(open).filter(|&c| c != pair.a && c != pair.b).max_by(|&x, &y| with(x).total_cmp(&with(y)));
            let Some(third) = third.filter(|&c| with(c) > 0.0) else { continue };
            let mut features = [pair.a, pair.b, third];
            features.sort_unstable();
            if small(&features) && !chosen.contains(&features) && chosen.len() < TRIPLES {
                chosen.push(features);
            }
        }
        Self(chosen.into_iter().map(|features| Triple::new(features, coder.sizes(), sample)).collect())
    }

    /// How novel a row's combinations are, in nats; 0 for the most ordinary. `leave_one_out` judges a row of the sample without it.
    #[inline]
    pub fn novelty(&self, codes: &Codes, leave_one_out: bool) -> f32 {
        let of = |triple: &Triple| {
            let at = triple.cell(triple.features.map(|j| usize::from(codes.coarse[j])));
            if leave_one_out {
                let (count, expected) = triple.counts[at];
                (-log_lift(f64::from(count) - 1.0, f64::from(expected))).max(0.0)
            } else {
                triple.novelty[at]
            }
        };
        self.0.iter().map(of).sum()
    }
}

// === impl Triple ===

impl Triple {
    fn new(features: [usize; 3], all_sizes: &[usize], sample: &[Codes]) -> Self {
        let sizes = features.map(|j| all_sizes[j]);
        let mut triple = Self { features, sizes, counts: Vec::new(), novelty: Vec::new() };
        let mut joint = vec![0.0_f64; sizes.iter().product()];
        for codes in sample {
            joint[triple.cell(features.map(|j| usize::from(codes.coarse[j])))] += 1.0;
        }
        let [a, b, c] = sizes;
        let (mut ab, mut ac, mut bc) = (vec![0.0; a * b], vec![0.0; a * c], vec![0.0; b * c]);
        let (mut of_a, mut of_b, mut of_c) = (vec![0.0; a], vec![0.0; b], vec![0.0; c]);
        let cells = || (0..a * b * c).map(|at| (at, at / c / b, at / c % b, at % c));
        for (at, x, y, z) in cells() {
            let n = joint[at];
            ab[x * b + y] += n;
            ac[x * c + z] += n;
            bc[y * c + z] += n;
            of_a[x] += n;
            of_b[y] += n;
            of_c[z] += n;
        }
        let given = |one: f64, other: f64, between: f64| if between > 0.0 { one * other / between } else { 0.0 };
        for (at, x, y, z) in cells() {
            let (xy, xz, yz) = (ab[x * b + y], ac[x * c + z], bc[y * c + z]);
            let expected = given(xy, yz, of_b[y]).min(given(xy, xz, of_a[x])).min(given(xz, yz, of_c[z]));
            triple.counts.push((joint[at] as f32, expected as f32));
            triple.novelty.push((-log_lift(joint[at], expected)).max(0.0));
        }
        triple
    }

    #[inline]
    fn cell(&self, [x, y, z]: [usize; 3]) -> usize {
        (x * self.sizes[1] + y) * self.sizes[2] + z
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Cell;
    use crate::reference::{Column, Dataset, FitOptions, Raw, fit};

    #[test]
    fn a_combination_that_no_pair_forbids_is_novel_and_the_usual_ones_are_not() {
        // Of three switches that lean on each other, all pairs of values occur, but never all three on at once.
        let row = |i: u64| {
            let r = crate::hash::mix(i);
            match r % 10 {
                0..=3 => [0.0, 0.0, 0.0],
                4 | 5 => [1.0, 1.0, 0.0],
                6 | 7 => [1.0, 0.0, 1.0],
                _ => [0.0, 1.0, 1.0],
            }
        };
        let column = |j: usize| Column { name: format!("x{j}"), cells: (0..4_000).map(|i| Raw::Number(row(i)[j])).collect() };
        let predictions = (0..4_000_u64).map(|i| Raw::Number((crate::hash::mix(i ^ 7) % 997) as f64 / 997.0)).collect();
        let dataset = Dataset { features: (0..3).map(column).collect(), predictions, probabilities: Vec::new() };
        let reference = fit(&dataset, &FitOptions { model: "m".into(), ..FitOptions::default() }).unwrap();
        let coder = Coder::new(&reference);
        let sample = coder.sample(&reference);
        let combinations = Combinations::new(&reference, &coder, &sample, &[]);
        let novelty = |row: [f64; 3]| {
            let mut codes = Codes::default();
            coder.encode(&row.map(Cell::number), &mut codes);
            combinations.novelty(&codes, false)
        };
        assert!(novelty([1.0, 1.0, 1.0]) > 3.0, "{}", novelty([1.0, 1.0, 1.0]));
        for usual in [[0.0, 0.0, 0.0], [1.0, 1.0, 0.0], [1.0, 0.0, 1.0], [0.0, 1.0, 1.0]] {
            assert!(novelty(usual) < 0.1, "{usual:?}");
        }
        assert!(Combinations::new(&reference, &coder, &sample, &[true, false, false]).0.is_empty(), "what drifts says nothing");
    }
}
