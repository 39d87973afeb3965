//! Is somebody editing a row by hand, or is a machine searching?
//!
//! A person with a what-if page also sends nearly equal rows, so closeness alone accuses nobody. This process watches *how*
//! successive near rows differ and weighs, step by step, a machine's habits against the most machine-like person that one would
//! still call a person:
//! * how many features change at once (a form is edited one to three fields at a time),
//! * touching one feature after another (people play with two or three fields),
//! * values: the range's extremes first, exact midpoints of values tried before (bisection), equal steps (a lattice), each
//!   category exactly once (enumeration).
//!
//! Each habit is a likelihood ratio: a Krichevsky–Trofimov estimate of what is observed (Krichevsky and Trofimov 1981) over an
//! upper bound on what a person does, so the sum is (the logarithm of) a test martingale for every person within those bounds.
//! Shapes: one-at-a-time and grids (Tramèr et al. 2016 §4), path finding (ibid. §4.2), decision-based walks (Chen, Jordan and
//! Wainwright 2020).

use crate::event::Cell;
use crate::hash::mix;
use crate::reference::Feature;

/// Chance that a person changes one field more before asking again; two fields at once are then 0.15·0.85, and so on.
const MORE_FIELDS: f64 = 0.15;
/// Chance at most with which a person's next step moves to a field not touched before, when one, two, or more were: a form user
/// plays with two or three fields, hardly ever with a fourth.
const NEW_FIELD: [f64; 3] = [0.3, 0.2, 0.05];
/// Chance at most of going back to a field touched before, while there are at most three, and beyond: going to and fro
/// between a few fields is what people do.
const KNOWN_FIELD: (f64, f64) = (0.9, 0.2);
/// Fields that a person plays with.
const FEW_FIELDS: usize = 3;
/// Chance that a person tries the very end of a range.
const EXTREME: f64 = 0.05;
/// Chance that a person's step equals the one before, for coarse and for fine steps (a slider's notch repeats).
const EQUAL_STEP: (f64, f64) = (0.1, 0.3);
/// A step of this share of the range or more is coarse.
const COARSE_STEP: f64 = 0.04;
/// Most that the values on one line may add, in nats: a slider dragged end to end in equal notches is one act, not twenty.
const LINE_CAP: f64 = 6.0;
/// Most that exact midpoints on one line may add: nobody bisects to five digits by hand, so it is larger.
const BISECTION_CAP: f64 = 10.0;
/// Values remembered per line.
const VISITED: usize = 64;

/// Habits observed so far along one trail of near rows.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct EditProcess {
    classes: [f32; 5],
    switches: f32,
    stays: f32,
    last_feature: Option<u16>,
    touched: Vec<u16>,
    line: u64,
    visited: Vec<f64>,
    previous: f64,
    before: f64,
    midpoints: (f32, f32),
    steps: (f32, f32),
    line_sum: f64,
    bisection_sum: f64,
    decimals: u8,
    /// What the shape looks like so far.
    pub tally: Tally,
}

/// Counts by habit, from which the judge names the shape of a search.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Tally {
    /// Steps that changed exactly one feature.
    pub single: u32,
    /// Steps that changed five features or more.
    pub broad: u32,
    /// Exact midpoints.
    pub midpoints: u32,
    /// Equal steps and fresh categories.
    pub lattice: u32,
    /// Ends of the range.
    pub extremes: u32,
    /// All steps.
    pub steps: u32,
}

/// One step from a parent row to a near new one.
#[derive(Clone, Copy, Debug)]
pub struct Step<'a> {
    /// Features that changed (beyond tolerance).
    pub changed: u16,
    /// The feature that changed, if it is one.
    pub feature: u16,
    /// Value of that feature in the parent.
    pub from: Cell,
    /// Value of that feature in the new row.
    pub to: Cell,
    /// Hash of the new row without that feature: the line that both lie on.
    pub line: u64,
    /// The feature's reference.
    pub profile: &'a Feature,
    /// Number of features of the model.
    pub width: usize,
}

// === impl EditProcess ===

impl Default for EditProcess {
    fn default() -> Self {
        Self {
            // One pseudo-step of the commonest kind and less of each other (Krichevsky–Trofimov, tilted to the person's side).
            classes: [1.0, 0.4, 0.4, 0.4, 0.4],
            switches: 0.5,
            stays: 0.5,
            last_feature: None,
            touched: Vec::new(),
            line: 0,
            visited: Vec::new(),
            previous: f64::NAN,
            before: f64::NAN,
            midpoints: (0.5, 0.5),
            steps: (0.5, 0.5),
            line_sum: 0.0,
            bisection_sum: 0.0,
            decimals: 0,
            tally: Tally::default(),
        }
    }
}

impl EditProcess {
    /// Takes a step; returns its evidence for a machine, in nats (may be negative).
    pub fn step(&mut self, step: Step<'_>) -> f64 {
        self.tally.steps += 1;
        let mut evidence = self.breadth(step.changed, step.width);
        if step.changed != 1 {
            return evidence;
        }
        self.tally.single += 1;
        if self.last_feature != Some(step.feature) {
            self.line_sum = 0.0;
            self.bisection_sum = 0.0;
        }
        evidence += self.field(step.feature);
        self.last_feature = Some(step.feature);
        let line = mix(step.line ^ u64::from(step.feature));
        if self.line != line {
            self.line = line;
            self.visited.clear();
            self.visited.push(step.from.value());
            self.previous = step.from.value();
            self.before = f64::NAN;
            self.decimals = 0;
        }
        let number = step.profile.is_numeric() && step.to.value().is_finite();
        let (values, midpoint) = if number { self.numbers(step) } else { (self.categories(step), 0.0) };
        evidence
            + capped(&mut self.line_sum, values.clamp(-1.0, 2.3), LINE_CAP)
            + capped(&mut self.bisection_sum, midpoint.max(-1.0), BISECTION_CAP)
    }

    /// Evidence of which field a one-field step changes.
    fn field(&mut self, feature: u16) -> f64 {
        let known = self.touched.contains(&feature);
        let count = self.touched.len();
        if !known && count < VISITED {
            self.touched.push(feature);
        }
        match self.last_feature {
            None => 0.0,
            Some(last) if last == feature => learn(&mut self.stays, &mut self.switches, 1.0),
            Some(_) => {
                let bound = match (known, count) {
                    (true, n) if n <= FEW_FIELDS => KNOWN_FIELD.0,
                    (true, _) => KNOWN_FIELD.1,
                    (false, n) => NEW_FIELD[n.clamp(1, NEW_FIELD.len()) - 1],
                };
                learn(&mut self.switches, &mut self.stays, bound)
            }
        }
    }

    fn breadth(&mut self, changed: u16, width: usize) -> f64 {
        let class = match changed {
            0 | 1 => 0,
            2 => 1,
            3 | 4 => 2,
            5..=8 => 3,
            _ => 4,
        };
        if class >= 3 {
            self.tally.broad += 1;
        }
        let m = MORE_FIELDS;
        let person = match class {
            0 => 1.0,
            1 => m * (1.0 - m),
            2 => m.powi(2) * (1.0 - m.powi(2)),
            3 => m.powi(4) * (1.0 - m.powi(4)),
            // A narrow model cannot show nine changes; the class then only needs a bound.
            _ if width < 9 => 1e-9,
            _ => m.powi(8),
        };
        let total: f32 = self.classes.iter().sum();
        let evidence = (f64::from(self.classes[class] / total) / person).ln();
        self.classes[class] += 1.0;
        evidence
    }

    /// Evidence of a number's value: (extremes and lattice, midpoints).
    fn numbers(&mut self, step: Step<'_>) -> (f64, f64) {
        let value = step.to.value();
        let profile = step.profile;
        let mut values = 0.0;
        let mut midpoint = 0.0;
        #[expect(clippy::float_cmp, reason = "exactly the end of the range, and exactly a value tried before, is what is asked")]
        let (extreme, fresh) = (value == profile.min || value == profile.max, !self.visited.contains(&value));
        if fresh && self.visited.len() <= 3 {
            values += if extreme { (0.3 / EXTREME).ln() } else { (0.7 / (1.0 - EXTREME)).ln() };
            self.tally.extremes += u32::from(extreme);
        }
        self.decimals = self.decimals.max(rough_decimals(value));
        // The coarser of the reference's and the trail's own number format: rounding makes midpoints and steps coincide.
        let resolution = 10_f64.powi(-i32::from(profile.decimals)).max(10_f64.powi(-i32::from(self.decimals)));
        let above = self.visited.partition_point(|&v| v <= value);
        let inside = self.visited.len() >= 2 && above > 0 && above < self.visited.len();
        let gap = if inside { self.visited[above] - self.visited[above - 1] } else { 0.0 };
        if inside && gap > 4.0 * resolution {
            let middle = f64::midpoint(self.visited[above], self.visited[above - 1]);
            let hit = (value - middle).abs() <= (0.51 * resolution).max(1e-5 * gap);
            let chance = (2.0 * resolution / gap).clamp(0.02, 0.5);
            midpoint = learn_hit(&mut self.midpoints, hit, chance);
            self.tally.midpoints += u32::from(hit);
        } else if self.visited.len() >= 2 && self.before.is_finite() {
            let stride = self.previous - self.before;
            let hit = (value - self.previous - stride).abs() <= (1.01 * resolution).max(1e-5 * stride.abs());
            let coarse = stride.abs() >= COARSE_STEP * (profile.p99 - profile.p01);
            let chance = if coarse { EQUAL_STEP.0 } else { EQUAL_STEP.1 }.max(1.5 * resolution / stride.abs().max(1e-12)).min(0.9);
            values += learn_hit(&mut self.steps, hit, chance);
            self.tally.lattice += u32::from(hit);
        }
        self.before = self.previous;
        self.previous = value;
        if self.visited.len() < VISITED {
            self.visited.insert(above, value);
        }
        (values, midpoint)
    }

    /// Evidence of a category's value: a machine tries each once, a person picks the popular ones and comes back.
    fn categories(&mut self, step: Step<'_>) -> f64 {
        let value = step.to.value();
        let all = step.profile.bins().max(1);
        #[expect(clippy::float_cmp, reason = "category indices are exact")]
        let seen = self.visited.iter().any(|&v| v == value || (v.is_nan() && value.is_nan()));
        let left = all.saturating_sub(self.visited.len());
        if self.visited.len() < VISITED {
            self.visited.push(value);
        }
        if seen || left == 0 {
            return 0.1_f64.ln();
        }
        self.tally.lattice += 1;
        let total = step.profile.counts.iter().sum::<u64>().max(1) as f64;
        let popularity = step.profile.counts.get(step.profile.code(step.to)).map_or(0.0, |&c| c as f64 / total);
        (0.9 / left as f64 / (0.5 * popularity + 0.5 / all as f64)).ln()
    }

    /// Bytes held beyond the struct itself.
    pub fn bytes(&self) -> usize {
        self.touched.capacity() * size_of::<u16>() + self.visited.capacity() * size_of::<f64>()
    }

    /// Feature that the last one-feature step changed.
    pub fn last_feature(&self) -> Option<u16> {
        self.last_feature
    }
}

/// Log-likelihood ratio of the event counted by `this` against a person's bound; then counts it.
fn learn(this: &mut f32, other: &mut f32, bound: f64) -> f64 {
    let evidence = (f64::from(*this / (*this + *other)) / bound).ln();
    *this += 1.0;
    evidence
}

fn learn_hit(counts: &mut (f32, f32), hit: bool, chance: f64) -> f64 {
    if hit { learn(&mut counts.0, &mut counts.1, chance) } else { learn(&mut counts.1, &mut counts.0, 1.0 - chance) }
}

/// Adds to a sum that may not pass its cap; returns what was added.
fn capped(sum: &mut f64, evidence: f64, cap: f64) -> f64 {
    let evidence = if *sum + evidence > cap { (cap - *sum).max(0.0) } else { evidence };
    *sum += evidence;
    evidence
}

/// Decimals with which a trail's number is written, 0 to 6, read generously: what lies within a ten-thousandth of a unit of the
/// last digit is on the grid, since values that a program steps to miss it by more than a table's numbers do.
fn rough_decimals(value: f64) -> u8 {
    (0..6_u8)
        .find(|&d| {
            let scaled = value * 10_f64.powi(i32::from(d));
            (scaled - scaled.round()).abs() <= 1e-4
        })
        .unwrap_or(6)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signal::quantise::tests::feature as number;

    fn feature() -> Feature {
        Feature { p01: 1.0, p99: 99.0, ..number(4, 100.0) }
    }

    fn edit(profile: &Feature, feature: u16, from: f64, to: f64) -> Step<'_> {
        // The line is the rest of the row: the same as long as only this feature moves.
        Step { changed: 1, feature, from: Cell::number(from), to: Cell::number(to), line: u64::from(feature), profile, width: 14 }
    }

    #[test]
    fn both_ends_and_exact_midpoints_are_a_machine_within_twelve_steps() {
        let profile = feature();
        let mut process = EditProcess::default();
        let (mut low, mut high) = (0.0, 100.0);
        // As the judge adds them up: a sum that starts afresh at zero.
        let mut sum = process.step(edit(&profile, 3, 37.5, low)).max(0.0);
        sum = (sum + process.step(edit(&profile, 3, low, high))).max(0.0);
        let mut most = sum;
        for step in 0..10 {
            let middle = (f64::midpoint(low, high) * 1e4_f64).round() / 1e4;
            sum = sum.max(0.0) + process.step(edit(&profile, 3, high, middle));
            most = most.max(sum);
            if step % 2 == 0 { low = middle } else { high = middle }
        }
        assert!(most > 8.0, "{most}");
        let Tally { midpoints, lattice, broad, .. } = process.tally;
        assert!(midpoints >= 8 && midpoints > lattice && broad == 0, "{:?}", process.tally);
    }

    #[test]
    fn a_person_who_plays_with_two_fields_is_none() {
        let profile = feature();
        let mut worst = f64::NEG_INFINITY;
        for person in 0..200_u64 {
            let mut process = EditProcess::default();
            let (mut sum, mut value) = (0.0_f64, [40.0, 60.0]);
            for step in 0..30_u64 {
                let random = crate::hash::mix(person * 1000 + step);
                let field = usize::from(random & 1 == 0);
                let to = (random >> 20) as f64 % 9_000.0 / 100.0 + 5.0;
                sum = sum.max(0.0) + process.step(edit(&profile, field as u16, value[field], to));
                value[field] = to;
                worst = worst.max(sum);
            }
        }
        assert!(worst < 8.0, "{worst}");
    }
}
