//! Broken dependence: pairs of features that depend on each other, and rows whose values do not go together.
//!
//! For each such pair the log-lift L of its joint cell says how much rarer the combination is than it would be by chance. Two
//! statistics come of it: −Σ min(L, 0) over all pairs, and −(sum of the three smallest L) for rows that break few pairs badly. L has
//! a count prior on both sides ([`crate::signal::lift`]), so that two rare values meeting is no evidence.

use crate::reference::Reference;
use crate::signal::codes::{Coder, Codes};
use crate::signal::lift::log_lift;

/// Steps of a nat in which log-lifts are kept, in whole numbers of two bytes: ±32 nats, to a thousandth. A row looks into more places
/// than the processor's nearest memory has lines, so their size is what they cost.
const LIFT_STEPS: f32 = 1024.0;
/// Smallest log-lifts that are added up. Chosen: a row put together from two real ones breaks a few pairs, and one pair alone
/// may be an accident.
const WORST: usize = 3;

/// Where a pair's table lies among those of all pairs: a few dozen cells, of which a row's codes name one.
#[derive(Clone, Copy, Debug)]
struct Pair {
    a: u16,
    b: u16,
    /// First cell, and cells from one code of the first feature to the next.
    from: u32,
    width: u32,
}

/// The pairs of one reference, without masked features.
#[derive(Clone, Debug)]
pub(super) struct Pairs {
    pairs: Vec<Pair>,
    /// Joint count and expected count per cell of all pairs, for leave-one-out.
    joint: Vec<(f32, f32)>,
    /// Log-lift per cell, in [`LIFT_STEPS`] of a nat.
    lift: Vec<i16>,
}

// === impl Pairs ===

impl Pairs {
    /// The pairs that a reference knows to depend on each other and of which no feature is masked.
    pub(super) fn new(reference: &Reference, coder: &Coder, is_masked: impl Fn(usize) -> bool) -> Self {
        let (mut pairs, mut joint) = (Vec::new(), Vec::new());
        for p in reference.pairs.iter().filter(|p| !is_masked(p.a) && !is_masked(p.b)) {
            let width = coder.sizes()[p.b];
            pairs.push(Pair { a: p.a as u16, b: p.b as u16, from: joint.len() as u32, width: width as u32 });
            joint.extend(expected(&p.counts, width));
        }
        let lift = joint.iter().map(|&(n, e): &(f32, f32)| lift_steps(f64::from(n), f64::from(e))).collect();
        Self { pairs, joint, lift }
    }

    /// −Σ min(L, 0), and −(sum of the smallest L), in nats. With `LEAVE_ONE_OUT` the row is one of the sample's, and is judged without it.
    #[inline]
    pub(super) fn scores<const LEAVE_ONE_OUT: bool>(&self, codes: &Codes) -> [f32; 2] {
        let mut negative = 0_i32;
        let mut smallest = [0_i16; WORST];
        for pair in &self.pairs {
            let at = pair.cell(codes);
            let lift = if LEAVE_ONE_OUT {
                let (joint, expected) = self.joint[at];
                lift_steps(f64::from(joint) - 1.0, f64::from(expected))
            } else {
                self.lift[at]
            };
            negative = negative.wrapping_sub(i32::from(lift.min(0)));
            if lift < smallest[WORST - 1] {
                keep_smallest(&mut smallest, lift);
            }
        }
        [negative as f32 / LIFT_STEPS, -smallest.map(f32::from).iter().sum::<f32>() / LIFT_STEPS]
    }

    /// Adds half of each broken pair of a row to either of its features.
    pub(super) fn attribute(&self, codes: &Codes, contributions: &mut [f32]) {
        for pair in &self.pairs {
            let lift = f32::from(self.lift[pair.cell(codes)]) / LIFT_STEPS;
            if lift < 0.0 {
                contributions[usize::from(pair.a)] -= lift / 2.0;
                contributions[usize::from(pair.b)] -= lift / 2.0;
            }
        }
    }
}

// === impl Pair ===

impl Pair {
    /// The cell that a row falls into.
    #[inline]
    fn cell(self, codes: &Codes) -> usize {
        let code = |j: u16| u32::from(codes.coarse[usize::from(j)]);
        self.from.wrapping_add(code(self.a).wrapping_mul(self.width)).wrapping_add(code(self.b)) as usize
    }
}

/// Observed and expected count by cell of a table of `width` columns; expected is the product of the marginal shares.
fn expected(counts: &[u32], width: usize) -> impl Iterator<Item = (f32, f32)> + '_ {
    let height = counts.len() / width.max(1);
    let at = move |x: usize, y: usize| f64::from(counts[x * width + y]);
    let rows: Vec<f64> = (0..height).map(|x| (0..width).map(|y| at(x, y)).sum()).collect();
    let columns: Vec<f64> = (0..width).map(|y| (0..height).map(|x| at(x, y)).sum()).collect();
    let total = rows.iter().sum::<f64>().max(1.0);
    (0..counts.len()).map(move |i| (counts[i] as f32, (rows[i / width] * columns[i % width] / total) as f32))
}

/// Log-lift in [`LIFT_STEPS`] of a nat.
fn lift_steps(joint: f64, expected: f64) -> i16 {
    #[expect(clippy::cast_possible_truncation, reason = "a cast saturates, at 32 nats")]
    let lift = (log_lift(joint, expected) * LIFT_STEPS).round() as i16;
    lift
}

/// Puts a value that is less than the largest of three ascending ones in its place.
fn keep_smallest(smallest: &mut [i16; WORST], value: i16) {
    smallest[2] = value;
    if smallest[2] < smallest[1] {
        smallest.swap(1, 2);
    }
    if smallest[1] < smallest[0] {
        smallest.swap(0, 1);
    }
}
