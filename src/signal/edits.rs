//! Is a person editing a row by hand, or is a machine searching?
//!
//! A person with a what-if page also sends nearly equal rows, so proximity alone accuses nobody. This process watches *how*
//! successive near rows differ. Step by step it weighs what a machine does against the most machine-like person that one would still call
//! a person:
//! * how many features change at once (a form is edited one to three fields at a time),
//! * going on to one new feature after the other (people play with two or three fields),
//! * values ([`mod@line`]): the range's extremes first, exact midpoints of values tried before (bisection), equal steps (a lattice), each
//!   category exactly once (enumeration), every combination of values (a product),
//! * one size of step wherever it is taken: the same feature elsewhere, the same share of another feature's scale, or equal shares in
//!   all features that move at once ([`super::perturbation`]),
//! * fields emptied one after the other, or filled in.
//!
//! Most of these are likelihood ratios: the probability that a machine would go on so ([`edit_model`]) over an upper bound on what a
//! person does. Their sum is (the logarithm of) a test martingale for every person within those bounds. The bounds are chosen by hand; the
//! tests hold them against simulated people. Of lists, notches and tables only what the most machine-like chain shows is counted.
//!
//! Rates belong to a sender and not to a chain ([`EditModel`]). Only how many features change at once is learned anew on each chain,
//! since rows that are near by chance, as a batch job of recycled rows has them, differ in two or three features each time.
//!
//! Shapes: one-at-a-time and grids (Tramèr et al. 2016 §4), path finding and incomplete queries (ibid. §4.2), decision-based walks
//! (Chen, Jordan and Wainwright 2020), equal perturbations (Chen et al. 2017; Guo et al. 2019).

pub mod counts;
mod edit_model;
mod line;
pub mod step;

use crate::hash::mix;
use counts::EditCounts;
pub use edit_model::EditModel;
use edit_model::{Bet, Capped};
use line::{LineOfValues, SHORT_CHAIN, STEP_BOUNDS, VISITED};
use step::EditStep;

/// Chance that a person changes one field more before asking again; two fields at once are then 0.15·0.85, and so on. Chosen as an upper
/// bound.
const MORE_FIELDS: f64 = 0.15;
/// Features that a broad step changes at least, and those of the broadest class.
const BROAD: u16 = 5;
const BROADEST: usize = 9;
/// Bound on a person's chance of a step of the broadest class in a model too narrow to have one.
const NEVER: f64 = 1e-9;
/// Chance at most that a person who leaves a field goes on to one not touched before, when two, three, or more were. Chosen: a form user
/// plays with two or three fields, hardly ever with a fourth. After the first field there is no other.
const NEW_FIELD: [f64; 3] = [0.5, 0.25, 0.12];
/// Cells of the tables that people fill: more than r with probability (1 + r/5)⁻². Chosen heavy-tailed: a tenth of their tables have ten cells,
/// a hundredth 45.
const TABLE_SCALE: f64 = 5.0;
/// Cells of a large table: a ninth of people's are.
const LARGE_TABLE: u32 = 10;
/// Chance at most that a step of a person leaves more fields empty than any row before, and more than one field more than at first,
/// or fewer. Chosen.
const BLANK: f64 = 0.1;
/// Fields by which the number of empty ones must differ: one field more or less is a source of data that fails now and then.
const BLANKS_APART: u16 = 2;
/// Chance at most that a person changes two fields by equal shares of their scales, in one of the three looked at, and more than two.
/// Chosen.
const LEVEL: [f64; 2] = [0.08, 0.02];

/// The process of one chain of edits: near rows, each a step from an earlier one.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct EditProcess {
    single: Bet,
    /// Steps of two, of three or four, of five to eight, and of more features.
    classes: [f32; 4],
    last_feature: Option<u16>,
    touched: Vec<u16>,
    values: LineOfValues,
    /// Fewest and most missing values of a row.
    missing: Option<(u16, u16)>,
    /// What the shape looks like so far.
    pub counts: EditCounts,
}

// === impl EditProcess ===

impl EditProcess {
    /// Takes a step of the sender of an edit model; returns its evidence for a machine, in nats (may be negative).
    pub fn step(&mut self, step: EditStep<'_>, edit_model: &mut EditModel) -> f64 {
        self.counts.steps += 1;
        self.counts.broad += u32::from(step.changed >= BROAD);
        if self.counts.steps == 1 {
            self.single.always = self.single.always.max(edit_model.one_at_a_time);
        }
        let mut evidence = self.breadth(step.changed, step.width);
        if self.counts.steps > SHORT_CHAIN {
            edit_model.one_at_a_time = self.single.always;
        }
        if step.changed != 1 {
            return evidence + self.level(step.level, edit_model);
        }
        self.counts.single += 1;
        if self.last_feature != Some(step.feature) {
            self.values.change_feature();
        }
        evidence += self.field(step.feature, edit_model) + self.product(step.crossed, edit_model);
        self.last_feature = Some(step.feature);
        self.values.go_to(mix(step.line ^ u64::from(step.feature)), step.from);
        evidence += self.blank(&step, edit_model);
        if step.from.is_missing() || step.to.is_missing() {
            return evidence;
        }
        let is_number = step.profile.is_numeric() && step.to.value().is_finite();
        let (values, counts) = (&mut self.values, &mut self.counts);
        evidence + if is_number { values.number(&step, counts, edit_model) } else { values.category(&step, counts, edit_model) }
    }

    /// Evidence of how many features change at once.
    fn breadth(&mut self, changed: u16, width: usize) -> f64 {
        if changed <= 1 {
            return self.single.learn(true).ln();
        }
        let m = MORE_FIELDS;
        let (class, person) = match changed {
            2 => (0, m * (1.0 - m)),
            3 | 4 => (1, m.powi(2) * (1.0 - m.powi(2))),
            5..=8 => (2, m.powi(4) * (1.0 - m.powi(4))),
            // A narrow model cannot show so many changes; the class then only needs a bound.
            _ if width < BROADEST => (3, NEVER),
            _ => (3, m.powi(8)),
        };
        // Krichevsky and Trofimov's half a count for each of the four classes.
        let all = 2.0 + self.classes.iter().sum::<f32>();
        let which = f64::from((self.classes[class] + 0.5) / all);
        self.classes[class] += 1.0;
        (self.single.learn(false) * which / person).ln()
    }

    /// Evidence of a step of several features: do they move by equal shares of their scales?
    fn level(&mut self, level: Option<(bool, usize)>, edit_model: &mut EditModel) -> f64 {
        let Some((level, telling)) = level else { return 0.0 };
        self.counts.level += u32::from(level);
        let weight = edit_model.level.weigh(level, LEVEL[usize::from(telling > 2)]);
        if self.counts.steps > SHORT_CHAIN { weight.clamp(STEP_BOUNDS.0, STEP_BOUNDS.1) } else { 0.0 }
    }

    /// Evidence of which field a one-field step changes, when it is another than before.
    fn field(&mut self, feature: u16, edit_model: &mut EditModel) -> f64 {
        let fresh = !self.touched.contains(&feature);
        let count = self.touched.len();
        if fresh && count < VISITED {
            self.touched.push(feature);
        }
        if self.last_feature.is_none_or(|last| last == feature) || count < 2 {
            return 0.0;
        }
        let probability = edit_model.fresh.learn(fresh);
        // Anybody goes to and fro between fields that were touched.
        (probability / if fresh { NEW_FIELD[(count - 2).min(NEW_FIELD.len() - 1)] } else { 1.0 }).ln()
    }

    /// Evidence of fields emptied one after the other, or filled.
    fn blank(&mut self, step: &EditStep<'_>, edit_model: &mut EditModel) -> f64 {
        let before = step.missing + u16::from(step.from.is_missing()) - u16::from(step.to.is_missing()).min(step.missing);
        let (fewest, most) = *self.missing.get_or_insert((before, before));
        let grows = (step.missing > most && step.missing >= fewest + BLANKS_APART)
            || (step.missing < fewest && step.missing + BLANKS_APART <= most);
        self.missing = Some((fewest.min(step.missing), most.max(step.missing)));
        self.counts.blanks += u32::from(grows);
        edit_model.blank.weigh(grows, BLANK)
    }

    /// Evidence of tables being filled: of every table whether it grows large, and of the largest one its size. With p the share of
    /// people's tables that are as large, that says ln(½p^(−½)), which has expectation 1 whoever fills it (Vovk and Wang 2021).
    fn product(&mut self, crossed: bool, edit_model: &mut EditModel) -> f64 {
        self.counts.products += u32::from(crossed);
        let cells = f64::from(self.counts.products);
        let largest = ((1.0 + cells / TABLE_SCALE).ln() - std::f64::consts::LN_2).max(0.0);
        let people_fill = (1.0 + f64::from(LARGE_TABLE) / TABLE_SCALE).powi(-2);
        let among = if crossed { edit_model.table(self.counts.products, LARGE_TABLE, people_fill) } else { 0.0 };
        among + edit_model.beyond(Capped::Table, largest)
    }

    /// Bytes held beyond the struct itself.
    pub fn bytes(&self) -> usize {
        self.touched.capacity() * size_of::<u16>() + self.values.bytes()
    }

    /// Feature that the last one-feature step changed.
    pub fn last_feature(&self) -> Option<u16> {
        self.last_feature
    }
}

#[cfg(test)]
mod tests;
