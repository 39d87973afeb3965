//! The values that one feature is given while all others stay: does a person try them, or a machine?
//!
//! What people produce is *round*: a notch of a slider, a step of an arrow key or a typed number has few digits. Equal coarse steps of
//! 97,994.5 are a program's, equal steps of 5 may be anybody's. A page's sliders may have even notches, though, and its user may go
//! through a list; of such patterns only what the most machine-like chain shows is counted ([`Capped`]).

use crate::event::Cell;
use crate::reference::Feature;
use crate::signal::edits::counts::EditCounts;
use crate::signal::edits::edit_model::{Capped, EditModel};
use crate::signal::edits::step::EditStep;
use crate::signal::perturbation::Size;

/// Steps up to which a chain may be one real row that came again as the world shifted: then every pair of such rows is a step of one
/// size, and short chains say nothing of sizes.
pub(super) const SHORT_CHAIN: u32 = 3;
/// Least and most that one step may say, in nats (e³ = 20 to one). Chosen: no single step convicts, and no single step acquits.
pub(super) const STEP_BOUNDS: (f64, f64) = (-1.0, 3.0);
/// Chance that a person tries the very end of a range, if no more rows lie there. Chosen: one try in twenty.
const EXTREME: f64 = 0.05;
/// Chance that one of a machine's first values is an end of the range, and how many are looked at. Chosen: a bisection begins with both ends.
const MACHINE_EXTREME: f64 = 0.3;
const EXTREME_AMONG: usize = 3;
/// Chance that a person's step equals the one before: of coarse ones that are not round, of coarse round ones, and of fine ones,
/// where a slider's notch (a pixel of it) repeats. Chosen as upper bounds; the tests hold them against simulated people.
const EQUAL_STEP: [f64; 3] = [0.05, 0.1, 0.3];
/// Steps of a lattice against the step before. A machine that shares a lattice with others takes one, two or three of its steps at once.
const RATIOS: [f64; 7] = [1.0, 2.0, 3.0, 0.5, 1.5, 1.0 / 3.0, 2.0 / 3.0];
/// Share of the steps on a machine's lattice that are the same as before, and not a multiple or a part. Chosen.
const SAME_STEP: f64 = 0.75;
/// A step of this share of the range or more is coarse. Chosen: a dozen pixels of a slider of [`PIXELS`], too far to repeat by chance.
const COARSE_STEP: f64 = 0.04;
/// Chance that a person tries the middle between two values, of the many in between. Chosen: one try in twenty.
const MIDPOINT: f64 = 0.05;
/// Values within rounding of the middle, times how much more a person may like it than a neighbour: two values and half as much again.
const MIDPOINT_PLACES: f64 = 3.0;
/// Units of the last digit that a gap must span for its middle to be telling.
const TELLING_GAP: f64 = 4.0;
/// Places of a slider: about as many pixels as a page gives to one.
const PIXELS: f64 = 300.0;
/// A gap of this share of the range or less between values that were tried is one of the page's own places. Chosen: fifty notches.
const NOTCH: f64 = 0.02;
/// Places of a gap from which a slider's own notches say where its middle is: two.
const NOTCHES_OF_GAP: f64 = 1.999;
/// Digits up to which a number is round, as the smallest number with more of them: two digits.
const ROUND: f64 = 100.0;
/// Most that even notches and ends of ranges may say, in nats: a slider dragged end to end is one act, not twenty. The same for lists
/// gone through item by item. Chosen: below what the judge asks of edits (ln 3,000 = 8 nats).
const NOTCHES_CAP: f64 = 4.0;
const LIST_CAP: f64 = 6.0;
/// Most that equal steps may say which are not round, and exact midpoints on one line. Chosen above what the judge asks of edits: nobody
/// bisects to five digits by hand, but one line is one accident at most.
const UNROUND_CAP: f64 = 12.0;
const BISECTION_CAP: f64 = 10.0;
/// Chance at most that a person's step that is not round is as large as one taken elsewhere, in one of the scales looked at: of
/// coarse steps, and of fine ones, which are pixels. Chosen as upper bounds.
const SAME_SIZE: (f64, f64) = (0.08, 0.4);
/// Largest chance that is granted to a person: what everybody does is no evidence, but must not be a certainty either.
const MOST_LIKELY: f64 = 0.9;
/// Units of the last digit within which a midpoint or a step is exact: half a unit or one, and what binary fractions leave.
const EXACT_MIDPOINT: f64 = 0.51;
const EXACT_STEP: f64 = 1.01;
/// The same as a share of the gap or the step, for values with many digits.
const EXACT_SHARE: f64 = 1e-5;
/// Neighbouring places that a step can hit by chance, for each ratio of a lattice: one, and half a place of rounding.
const CHANCE_PLACES: f64 = 1.5;
/// Items of a list that a step from the last one can hit by chance: those on either side.
const CHANCE_ITEMS: f64 = 2.0;
/// Chance that a machine comes back to a category, and that it goes on to a new one; and the most that a new one says, in nats (ln 10).
const MACHINE_RETURNS: f64 = 0.1;
const MACHINE_GOES_ON: f64 = 0.9;
const CATEGORY_MOST: f64 = 2.3;
/// Share of a person's choices of categories that follows their popularity; the rest is even.
const POPULARITY: f64 = 0.5;
/// Values remembered per line, and features whose last size of a step is remembered: bounds on memory, far above what a verdict needs.
pub(super) const VISITED: usize = 64;
const SIZES: usize = 32;
/// Decimals looked for, and units of the last one within which a value lies on the grid: values that a program steps to miss it by more
/// than a table's numbers do.
const MOST_DECIMALS: u8 = 6;
const ON_GRID: f64 = 1e-4;

/// What was tried along the current line, and what the chain's values and sizes have shown.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub(super) struct LineOfValues {
    /// The line, and the values tried on it: of a number ascending.
    line: u64,
    visited: Vec<f64>,
    /// The last value, and the one before it.
    previous: f64,
    before: f64,
    /// Evidence of exact midpoints, up to [`BISECTION_CAP`].
    bisection_sum: f64,
    notches: f64,
    unround: f64,
    list: f64,
    /// The last step of each feature, and the line that it was on.
    sizes: Vec<(Size, u32)>,
    /// Most decimals of a value on this line.
    decimals: u8,
}

// === impl LineOfValues ===

impl Default for LineOfValues {
    fn default() -> Self {
        Self {
            line: 0,
            visited: Vec::new(),
            previous: f64::NAN,
            before: f64::NAN,
            bisection_sum: 0.0,
            notches: 0.0,
            unround: 0.0,
            list: 0.0,
            sizes: Vec::new(),
            decimals: 0,
        }
    }
}

impl LineOfValues {
    /// Another feature is edited than before: bisections begin anew.
    pub(super) fn change_feature(&mut self) {
        self.bisection_sum = 0.0;
    }

    /// Goes on to a line, if it is another one.
    pub(super) fn go_to(&mut self, line: u64, from: Cell) {
        if self.line == line {
            return;
        }
        self.line = line;
        self.visited.clear();
        self.visited.push(from.value());
        self.previous = from.value();
        self.before = f64::NAN;
        self.decimals = 0;
    }

    /// Evidence of a number's value and of how far it lies from the one before.
    pub(super) fn number(&mut self, step: &EditStep<'_>, counts: &mut EditCounts, model: &mut EditModel) -> f64 {
        let value = step.to.value();
        let profile = step.profile;
        self.extreme(step, counts);
        self.decimals = self.decimals.max(rough_decimals(value));
        // The coarser of the reference's and the chain's own number format: rounding makes midpoints and steps coincide.
        let resolution = 10_f64.powi(-i32::from(profile.decimals)).max(10_f64.powi(-i32::from(self.decimals)));
        // A slider has no more places than pixels, however many digits it sends, and no finer ones than it showed.
        let range = profile.max - profile.min;
        let pixel = resolution.max(range / PIXELS);
        let finest = self.visited.windows(2).map(|pair| pair[1] - pair[0]).fold(f64::INFINITY, f64::min);
        let place = if finest <= NOTCH * range { pixel.max(finest) } else { pixel };
        let above = self.visited.partition_point(|&v| v <= value);
        let mut evidence = self.size(step, resolution, counts, model);
        evidence += self.midpoint(step, above, (resolution, pixel, place), counts, model);
        // A sweep passes the value that it began with: what is inside may be a step of a lattice as well.
        if self.visited.len() >= 2 && self.before.is_finite() {
            self.stride(step, resolution, place, counts, model);
        }
        self.before = self.previous;
        self.previous = value;
        if self.visited.len() < VISITED {
            self.visited.insert(above, value);
        }
        self.notches = self.notches.clamp(0.0, NOTCHES_CAP);
        self.unround = self.unround.clamp(0.0, UNROUND_CAP);
        evidence + model.beyond(Capped::Notches, self.notches) + model.beyond(Capped::Unround, self.unround)
    }

    /// Whether one of the first values is an end of the range.
    fn extreme(&mut self, step: &EditStep<'_>, counts: &mut EditCounts) {
        let (value, profile) = (step.to.value(), step.profile);
        #[expect(clippy::float_cmp, reason = "exactly the end of the range, and exactly a value tried before, is what is asked")]
        let (extreme, fresh) = (value == profile.min || value == profile.max, !self.visited.contains(&value));
        if fresh && self.visited.len() <= EXTREME_AMONG {
            let chance = EXTREME.max(share_at(profile, step.to)).min(MACHINE_EXTREME);
            self.notches +=
                if extreme { (MACHINE_EXTREME / chance).ln() } else { ((1.0 - MACHINE_EXTREME) / (1.0 - EXTREME)).ln() };
            counts.extremes += u32::from(extreme);
        }
    }

    /// Evidence of a value between two tried ones, of which `above` is the place of the upper one: is it exactly in the middle?
    fn midpoint(
        &mut self,
        step: &EditStep<'_>,
        above: usize,
        (resolution, pixel, place): (f64, f64, f64),
        counts: &mut EditCounts,
        model: &mut EditModel,
    ) -> f64 {
        let inside = self.visited.len() >= 2 && above > 0 && above < self.visited.len();
        if !inside {
            return 0.0;
        }
        let (low, high) = (self.visited[above - 1], self.visited[above]);
        let gap = high - low;
        if gap <= TELLING_GAP * resolution {
            return 0.0;
        }
        let middle = f64::midpoint(high, low);
        let hit = (step.to.value() - middle).abs() <= (EXACT_MIDPOINT * resolution).max(EXACT_SHARE * gap);
        let support = &step.profile.support;
        let listed = support.iter().filter(|&&known| low < known && known < high).count() as f64;
        let places = if gap > NOTCHES_OF_GAP * place { gap / place } else { gap / pixel };
        let between = if support.is_empty() { (places - 1.0).max(1.0) } else { listed.max(1.0) };
        let chance = (MIDPOINT_PLACES / between).clamp(MIDPOINT, MOST_LIKELY);
        let midpoint = model.midpoint.weigh(hit, chance).max(STEP_BOUNDS.0);
        counts.midpoints += u32::from(hit);
        capped(&mut self.bisection_sum, midpoint, BISECTION_CAP)
    }

    /// Evidence of a step's size against those taken elsewhere.
    fn size(&mut self, step: &EditStep<'_>, resolution: f64, counts: &mut EditCounts, model: &mut EditModel) -> f64 {
        // A person who fills a table takes the same step again by filling it.
        if step.crossed || step.drifted || round(step.to.value() - step.from.value(), resolution) {
            return 0.0;
        }
        let Some(size) = step.scales.size(usize::from(step.feature), step.from, step.to, resolution) else { return 0.0 };
        let (line, mut evidence) = (self.line as u32, 0.0);
        let mut elsewhere = self.sizes.iter().filter(|(_, other)| *other != line).peekable();
        if elsewhere.peek().is_some() {
            let hit = elsewhere.any(|(other, _)| size.matches(other));
            counts.sizes += u32::from(hit);
            let chance = if size.of_usual_range() >= COARSE_STEP { SAME_SIZE.0 } else { SAME_SIZE.1 };
            let weight = model.size.weigh(hit, chance);
            if counts.steps > SHORT_CHAIN {
                evidence = weight.clamp(STEP_BOUNDS.0, STEP_BOUNDS.1);
            }
        }
        if let Some(known) = self.sizes.iter_mut().find(|(other, _)| other.feature() == size.feature()) {
            *known = (size, line);
        } else if self.sizes.len() < SIZES {
            self.sizes.push((size, line));
        }
        evidence
    }

    /// Whether a step on a line is as large as the one before.
    fn stride(&mut self, step: &EditStep<'_>, resolution: f64, place: f64, counts: &mut EditCounts, model: &mut EditModel) {
        let (value, profile) = (step.to.value(), step.profile);
        let (stride, next) = (self.previous - self.before, value - self.previous);
        let coarse = stride.abs() >= COARSE_STEP * (profile.p99 - profile.p01);
        let by_hand = !coarse || step.drifted || !profile.support.is_empty() || round(stride, resolution);
        let ratios: &[f64] = if by_hand { &RATIOS[..1] } else { &RATIOS };
        let tolerance = (EXACT_STEP * resolution).max(EXACT_SHARE * stride.abs());
        let is = |ratio: &f64| (next - ratio * stride).abs() <= tolerance * ratio.max(1.0);
        let (hit, same) = (ratios.iter().any(is), is(&1.0));
        let usual = EQUAL_STEP[if !coarse { 2 } else { usize::from(by_hand) }];
        let by_list = if profile.support.is_empty() { 0.0 } else { CHANCE_ITEMS / profile.support.len() as f64 };
        let by_chance = |ratios: usize| {
            let places = CHANCE_PLACES * ratios as f64 * place / stride.abs().max(1e-12);
            usual.max(places).max(by_list).min(MOST_LIKELY)
        };
        let (chance_same, chance) = (by_chance(1), by_chance(ratios.len()));
        // Where a slider has few places, other ratios are likelier by chance, and the two are told apart.
        let share = if chance > chance_same { if same { SAME_STEP } else { 1.0 - SAME_STEP } } else { 1.0 };
        let evidence = model.even.weigh(hit, if same { chance_same } else { chance }) + if hit { share.ln() } else { 0.0 };
        *if by_hand { &mut self.notches } else { &mut self.unround } += evidence.clamp(STEP_BOUNDS.0, STEP_BOUNDS.1);
        counts.lattice += u32::from(hit);
    }

    /// Evidence of a category's value: a machine tries each once, a person picks the popular ones and comes back.
    pub(super) fn category(&mut self, step: &EditStep<'_>, counts: &mut EditCounts, model: &mut EditModel) -> f64 {
        let value = step.to.value();
        let all = step.profile.bins().max(1);
        #[expect(clippy::float_cmp, reason = "category indices are exact")]
        let seen = self.visited.iter().any(|&v| v == value || (v.is_nan() && value.is_nan()));
        let left = all.saturating_sub(self.visited.len());
        if self.visited.len() < VISITED {
            self.visited.push(value);
        }
        let evidence = if seen || left == 0 {
            MACHINE_RETURNS.ln()
        } else {
            counts.lattice += 1;
            let person = POPULARITY * share_at(step.profile, step.to) + (1.0 - POPULARITY) / all as f64;
            (MACHINE_GOES_ON / left as f64 / person).ln()
        };
        self.list = (self.list + evidence.clamp(STEP_BOUNDS.0, CATEGORY_MOST)).clamp(0.0, LIST_CAP);
        model.beyond(Capped::List, self.list)
    }

    /// Bytes held beyond the struct itself.
    pub(super) fn bytes(&self) -> usize {
        self.visited.capacity() * size_of::<f64>() + self.sizes.capacity() * size_of::<(Size, u32)>()
    }
}

/// Share of the reference's rows in the bin of a value; for a number only if the bin is the value alone. At the end of a range that
/// many rows lie at, as no gain or no loss does, anybody tries it.
fn share_at(profile: &Feature, cell: Cell) -> f64 {
    let at = profile.code(cell);
    let own = profile.edges.is_empty() || (at == 0 && profile.edges.first().is_some_and(|edge| *edge <= profile.min));
    let total = profile.counts.iter().sum::<u64>().max(1) as f64;
    profile.counts.get(at).filter(|_| own).map_or(0.0, |&count| count as f64 / total)
}

/// Whether a size has few digits, in units of the last one that is written.
fn round(size: f64, resolution: f64) -> bool {
    let mut digits = (size.abs() / resolution).round();
    while digits >= ROUND && (digits / 10.0).fract() < 1e-9 {
        digits /= 10.0;
    }
    digits < ROUND
}

/// Adds to a sum that may not pass its cap; returns what was added.
fn capped(sum: &mut f64, evidence: f64, cap: f64) -> f64 {
    let evidence = if *sum + evidence > cap { (cap - *sum).max(0.0) } else { evidence };
    *sum += evidence;
    evidence
}

/// Decimals with which a chain's number is written, 0 to [`MOST_DECIMALS`], read generously.
fn rough_decimals(value: f64) -> u8 {
    (0..MOST_DECIMALS)
        .find(|&d| {
            let scaled = value * 10_f64.powi(i32::from(d));
            (scaled - scaled.round()).abs() <= ON_GRID
        })
        .unwrap_or(MOST_DECIMALS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_that_people_make_are_round() {
        for (size, resolution) in [(5.0, 1.0), (0.25, 0.01), (500.0, 0.01), (-40.0, 1.0), (99.0, 1.0), (1200.0, 1.0)] {
            assert!(round(size, resolution), "{size} in {resolution}");
        }
        for (size, resolution) in [(97_994.5, 0.5), (664.37, 0.01), (0.1247, 1e-4), (123.0, 1.0)] {
            assert!(!round(size, resolution), "{size} in {resolution}");
        }
    }
}
