//! Is somebody editing a row by hand, or is a machine searching?
//!
//! A person with a what-if page also sends nearly equal rows, so closeness alone accuses nobody. This process watches *how*
//! successive near rows differ and weighs, step by step, a machine's habits against the most machine-like person that one would
//! still call a person:
//! * how many features change at once (a form is edited one to three fields at a time),
//! * going on to one new feature after the other (people play with two or three fields),
//! * values: the range's extremes first, exact midpoints of values tried before (bisection), equal steps (a lattice), each
//!   category exactly once (enumeration), every combination of values (a product),
//! * one size of step wherever it is taken: the same feature elsewhere, the same share of another feature's scale, or equal shares in
//!   all features that move at once ([`super::perturbation`]),
//! * fields emptied one after the other, or filled in.
//!
//! What hands do is *round*: a notch of a slider, a step of an arrow key or a typed number has few digits. Equal coarse steps of
//! 97,994.5 are a program's, equal steps of 5 may be anybody's.
//!
//! Most habits are likelihood ratios: the probability that a machine would go on so, half of it a machine that always does and half
//! one whose rate is learned (Krichevsky and Trofimov 1981), over an upper bound on what a person does. Their sum is (the logarithm
//! of) a test martingale for every person within those bounds. A person's page may have even notches, though, and its user may go
//! through a list, or through a table; of such habits only what the most machine-like trail shows is counted.
//! And where real rows come again after the world has shifted, each pair of them is a step of one size: short trails say nothing of
//! sizes.
//!
//! Rates are a sender's and not a trail's: whoever goes on from row to row, a dozen queries each, is learned once ([`EditModel`]). Only how
//! many features change at once is learned anew on each trail, since rows that are near by chance, as a batch job of recycled rows
//! has them, differ in two or three features each time.
//!
//! Shapes: one-at-a-time and grids (Tramèr et al. 2016 §4), path finding and incomplete queries (ibid. §4.2), decision-based walks
//! (Chen, Jordan and Wainwright 2020), equal perturbations (Chen et al. 2017; Guo et al. 2019).

mod edit_model;

use crate::event::Cell;
use crate::hash::mix;
use crate::reference::Feature;
use crate::signal::perturbation::{Scales, Size};
use edit_model::Bet;
pub use edit_model::EditModel;

/// Chance that a person changes one field more before asking again; two fields at once are then 0.15·0.85, and so on.
const MORE_FIELDS: f64 = 0.15;
/// Chance at most that a person who leaves a field goes on to one not touched before, when two, three, or more were: a form user
/// plays with two or three fields, hardly ever with a fourth. After the first there is no other.
const NEW_FIELD: [f64; 3] = [0.5, 0.25, 0.12];
/// Chance that a person tries the very end of a range, if no more rows lie there.
const EXTREME: f64 = 0.05;
/// Chance that a person's step equals the one before: of coarse ones that are not round, of coarse round ones, and of fine ones,
/// where a slider's notch (a pixel of it) repeats.
const EQUAL_STEP: [f64; 3] = [0.05, 0.1, 0.3];
/// Steps of a lattice against the step before.
const RATIOS: [f64; 7] = [1.0, 2.0, 3.0, 0.5, 1.5, 1.0 / 3.0, 2.0 / 3.0];
/// Share of the steps on a machine's lattice that are the same as before, and not a multiple or a part.
const SAME_STEP: f64 = 0.75;
/// A step of this share of the range or more is coarse.
const COARSE_STEP: f64 = 0.04;
/// Chance that a person tries the middle between two values, of the many in between.
const MIDDLE: f64 = 0.05;
/// Places of a slider: it is about as wide as a hand. A gap of this share of the range or less between values that were tried is one
/// of its own places.
const PIXELS: f64 = 300.0;
const NOTCH: f64 = 0.02;
/// Digits up to which a number is round, as its largest value with so many.
const ROUND: f64 = 100.0;
/// Most that even notches and ends of ranges may say, in nats: a slider dragged end to end is one act, not twenty. The same for lists
/// gone through item by item.
const NOTCHES_CAP: f64 = 4.0;
const LIST_CAP: f64 = 6.0;
/// Most that even steps may say which no hand makes.
const UNROUND_CAP: f64 = 12.0;
/// Most that exact midpoints on one line may add: nobody bisects to five digits by hand.
const BISECTION_CAP: f64 = 10.0;
/// Cells of the tables that people fill: more than r with probability (1 + r/5)⁻², a tenth of them ten cells, a hundredth 45.
const TABLE: f64 = 5.0;
/// Cells of a large table: a ninth of people's are.
const LARGE: u32 = 10;
/// Chance at most that a step of a person leaves more fields empty than any row before, and more than one field more than at first,
/// or fewer.
const BLANK: f64 = 0.1;
/// Chance at most that a step of a person that is not round is as large as one taken elsewhere, in one of the scales looked at: of
/// coarse steps, and of fine ones, which are pixels.
const SAME_SIZE: (f64, f64) = (0.08, 0.4);
/// Steps up to which a trail may be one real row that came again, as the world shifted.
const PAIRS: u32 = 3;
/// Chance at most that a person changes two fields by equal shares of their scales, in one of the three looked at, and more than two.
const LEVEL: [f64; 2] = [0.08, 0.02];
/// Values remembered per line, and features whose last size of a step is remembered.
const VISITED: usize = 64;
const SIZES: usize = 32;

/// Habits of one trail of near rows.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct EditProcess {
    single: Bet,
    /// Steps of two, of three or four, of five to eight, and of more features.
    classes: [f32; 4],
    last_feature: Option<u16>,
    touched: Vec<u16>,
    line: u64,
    visited: Vec<f64>,
    previous: f64,
    before: f64,
    bisection_sum: f64,
    notches: f64,
    unround: f64,
    list: f64,
    /// The last step of each feature, and the line that it was on.
    sizes: Vec<(Size, u32)>,
    /// Fewest and most missing values of a row.
    missing: Option<(u16, u16)>,
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
    /// Rows that complete a rectangle of two features' values.
    pub products: u32,
    /// Steps of one feature that are as large as one taken elsewhere.
    pub sizes: u32,
    /// Steps that move several features by equal shares of their scales.
    pub level: u32,
    /// Rows with more fields empty than any before, or fewer.
    pub blanks: u32,
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
    /// Whether the new row is a one-feature edit of yet another row, along another feature: then it completes a rectangle.
    pub crossed: bool,
    /// Missing values of the new row.
    pub missing: u16,
    /// Whether the feature has drifted: in another unit no hand's numbers are round.
    pub drifted: bool,
    /// Of a step of several features: whether they move by equal shares of their scales, and how many of them tell.
    pub level: Option<(bool, usize)>,
    /// The feature's reference.
    pub profile: &'a Feature,
    /// Scales of all features.
    pub scales: &'a Scales,
    /// Number of features of the model.
    pub width: usize,
}

// === impl Tally ===

impl Tally {
    /// The habits by the names that verdicts give them.
    pub fn habits(&self) -> [(&'static str, u32); 8] {
        [
            ("one_feature_edits", self.single),
            ("bisections", self.midpoints),
            ("lattice_steps", self.lattice),
            ("completed_rectangles", self.products),
            ("ends_of_range", self.extremes),
            ("equal_sizes", self.sizes),
            ("equal_shares", self.level),
            ("growing_blanks", self.blanks),
        ]
    }
}

// === impl EditProcess ===

impl Default for EditProcess {
    fn default() -> Self {
        Self {
            single: Bet::default(),
            classes: [0.0; 4],
            last_feature: None,
            touched: Vec::new(),
            line: 0,
            visited: Vec::new(),
            previous: f64::NAN,
            before: f64::NAN,
            bisection_sum: 0.0,
            notches: 0.0,
            unround: 0.0,
            list: 0.0,
            sizes: Vec::new(),
            missing: None,
            decimals: 0,
            tally: Tally::default(),
        }
    }
}

impl EditProcess {
    /// Takes a step of somebody of an edit model; returns its evidence for a machine, in nats (may be negative).
    pub fn step(&mut self, step: Step<'_>, edit_model: &mut EditModel) -> f64 {
        self.tally.steps += 1;
        self.tally.broad += u32::from(step.changed >= 5);
        if self.tally.steps == 1 {
            self.single.always = self.single.always.max(edit_model.one_at_a_time);
        }
        let mut evidence = self.breadth(step.changed, step.width);
        if self.tally.steps > PAIRS {
            edit_model.one_at_a_time = self.single.always;
        }
        if step.changed != 1 {
            if let Some((level, telling)) = step.level {
                self.tally.level += u32::from(level);
                let weight = edit_model.level.weigh(level, LEVEL[usize::from(telling > 2)]);
                if self.tally.steps > PAIRS {
                    evidence += weight.clamp(-1.0, 3.0);
                }
            }
            return evidence;
        }
        self.tally.single += 1;
        if self.last_feature != Some(step.feature) {
            self.bisection_sum = 0.0;
        }
        evidence += self.field(step.feature, edit_model) + self.product(step.crossed, edit_model);
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
        evidence += self.blank(&step, edit_model);
        if step.from.is_missing() || step.to.is_missing() {
            return evidence;
        }
        let is_number = step.profile.is_numeric() && step.to.value().is_finite();
        evidence + if is_number { self.number(&step, line, edit_model) } else { self.category(&step, edit_model) }
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
            // A narrow model cannot show nine changes; the class then only needs a bound.
            _ if width < 9 => (3, 1e-9),
            _ => (3, m.powi(8)),
        };
        let all = 2.0 + self.classes.iter().sum::<f32>();
        let which = f64::from((self.classes[class] + 0.5) / all);
        self.classes[class] += 1.0;
        (self.single.learn(false) * which / person).ln()
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
        // To go to and fro between the fields that were touched is anybody's habit.
        (probability / if fresh { NEW_FIELD[(count - 2).min(NEW_FIELD.len() - 1)] } else { 1.0 }).ln()
    }

    /// Evidence of fields emptied one after the other, or filled. One field more or less than others have, as when a source of data
    /// fails now and then, is the world's doing.
    fn blank(&mut self, step: &Step<'_>, edit_model: &mut EditModel) -> f64 {
        let before = step.missing + u16::from(step.from.is_missing()) - u16::from(step.to.is_missing()).min(step.missing);
        let (fewest, most) = *self.missing.get_or_insert((before, before));
        let grows = (step.missing > most && step.missing >= fewest + 2) || (step.missing < fewest && step.missing + 2 <= most);
        self.missing = Some((fewest.min(step.missing), most.max(step.missing)));
        self.tally.blanks += u32::from(grows);
        edit_model.blank.weigh(grows, BLANK)
    }

    /// Evidence of tables being filled: of every table whether it grows large, and of the largest one its size. With p the share of
    /// people's tables that are as large, that says ln(½p^(−½)), which has expectation 1 whoever fills it (Vovk and Wang 2021).
    fn product(&mut self, crossed: bool, edit_model: &mut EditModel) -> f64 {
        self.tally.products += u32::from(crossed);
        let cells = f64::from(self.tally.products);
        let largest = ((1.0 + cells / TABLE).ln() - std::f64::consts::LN_2).max(0.0);
        let among =
            if crossed { edit_model.table(self.tally.products, LARGE, (1.0 + f64::from(LARGE) / TABLE).powi(-2)) } else { 0.0 };
        among + edit_model.beyond(3, largest)
    }

    /// Evidence of a number's value and of how far it lies from the one before.
    fn number(&mut self, step: &Step<'_>, line: u64, edit_model: &mut EditModel) -> f64 {
        let value = step.to.value();
        let profile = step.profile;
        #[expect(clippy::float_cmp, reason = "exactly the end of the range, and exactly a value tried before, is what is asked")]
        let (extreme, fresh) = (value == profile.min || value == profile.max, !self.visited.contains(&value));
        if fresh && self.visited.len() <= 3 {
            let chance = EXTREME.max(mass(profile, step.to)).min(0.3);
            self.notches += if extreme { (0.3 / chance).ln() } else { (0.7 / (1.0 - EXTREME)).ln() };
            self.tally.extremes += u32::from(extreme);
        }
        self.decimals = self.decimals.max(rough_decimals(value));
        // The coarser of the reference's and the trail's own number format: rounding makes midpoints and steps coincide.
        let resolution = 10_f64.powi(-i32::from(profile.decimals)).max(10_f64.powi(-i32::from(self.decimals)));
        let above = self.visited.partition_point(|&v| v <= value);
        let inside = self.visited.len() >= 2 && above > 0 && above < self.visited.len();
        let gap = if inside { self.visited[above] - self.visited[above - 1] } else { 0.0 };
        // A slider has no more places than pixels, however many digits it sends, and no finer ones than it showed.
        let range = profile.max - profile.min;
        let pixel = resolution.max(range / PIXELS);
        let finest = self.visited.windows(2).map(|pair| pair[1] - pair[0]).fold(f64::INFINITY, f64::min);
        let place = if finest <= NOTCH * range { pixel.max(finest) } else { pixel };
        let mut evidence = self.size(step, line, resolution, edit_model);
        if inside && gap > 4.0 * resolution {
            let middle = f64::midpoint(self.visited[above], self.visited[above - 1]);
            let hit = (value - middle).abs() <= (0.51 * resolution).max(1e-5 * gap);
            // Of the values in between one or two are in the middle, and a hand may like it half as much again.
            let (low, high) = (self.visited[above - 1], self.visited[above]);
            let listed = profile.support.iter().filter(|&&known| low < known && known < high).count() as f64;
            let places = if gap > 1.999 * place { gap / place } else { gap / pixel };
            let between = if profile.support.is_empty() { (places - 1.0).max(1.0) } else { listed.max(1.0) };
            let chance = (3.0 / between).clamp(MIDDLE, 0.9);
            let midpoint = edit_model.midpoint.weigh(hit, chance).max(-1.0);
            evidence += capped(&mut self.bisection_sum, midpoint, BISECTION_CAP);
            self.tally.midpoints += u32::from(hit);
        }
        // A sweep passes the value that it began with: what is inside may be a step of a lattice as well.
        if self.visited.len() >= 2 && self.before.is_finite() {
            self.stride(step, resolution, place, edit_model);
        }
        self.before = self.previous;
        self.previous = value;
        if self.visited.len() < VISITED {
            self.visited.insert(above, value);
        }
        self.notches = self.notches.clamp(0.0, NOTCHES_CAP);
        self.unround = self.unround.clamp(0.0, UNROUND_CAP);
        evidence + edit_model.beyond(0, self.notches) + edit_model.beyond(1, self.unround)
    }

    /// Evidence of a step's size against those taken elsewhere.
    fn size(&mut self, step: &Step<'_>, line: u64, resolution: f64, edit_model: &mut EditModel) -> f64 {
        // Whoever fills a table takes the same step again by filling it.
        if step.crossed || step.drifted || round(step.to.value() - step.from.value(), resolution) {
            return 0.0;
        }
        let Some(size) = step.scales.size(usize::from(step.feature), step.from, step.to, resolution) else { return 0.0 };
        let (line, mut evidence) = (line as u32, 0.0);
        let mut elsewhere = self.sizes.iter().filter(|(_, other)| *other != line).peekable();
        if elsewhere.peek().is_some() {
            let hit = elsewhere.any(|(other, _)| size.matches(other));
            self.tally.sizes += u32::from(hit);
            let chance = if size.of_usual_range() >= COARSE_STEP { SAME_SIZE.0 } else { SAME_SIZE.1 };
            let weight = edit_model.size.weigh(hit, chance);
            if self.tally.steps > PAIRS {
                evidence = weight.clamp(-1.0, 3.0);
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
    fn stride(&mut self, step: &Step<'_>, resolution: f64, place: f64, edit_model: &mut EditModel) {
        let (value, profile) = (step.to.value(), step.profile);
        let (stride, next) = (self.previous - self.before, value - self.previous);
        let coarse = stride.abs() >= COARSE_STEP * (profile.p99 - profile.p01);
        let by_hand = !coarse || step.drifted || !profile.support.is_empty() || round(stride, resolution);
        // Who shares a lattice with others takes one, two or three of its steps at once.
        let ratios: &[f64] = if by_hand { &RATIOS[..1] } else { &RATIOS };
        let tolerance = (1.01 * resolution).max(1e-5 * stride.abs());
        let is = |ratio: &f64| (next - ratio * stride).abs() <= tolerance * ratio.max(1.0);
        let (hit, same) = (ratios.iter().any(is), is(&1.0));
        let usual = EQUAL_STEP[if !coarse { 2 } else { usize::from(by_hand) }];
        let by_list = if profile.support.is_empty() { 0.0 } else { 2.0 / profile.support.len() as f64 };
        let by_chance = |ratios: usize| {
            let places = 1.5 * ratios as f64 * place / stride.abs().max(1e-12);
            usual.max(places).max(by_list).min(0.9)
        };
        let (chance_same, chance) = (by_chance(1), by_chance(ratios.len()));
        // Where a slider has few places, other ratios are likelier by chance, and the two are told apart.
        let share = if chance > chance_same { if same { SAME_STEP } else { 1.0 - SAME_STEP } } else { 1.0 };
        let evidence = edit_model.even.weigh(hit, if same { chance_same } else { chance }) + if hit { share.ln() } else { 0.0 };
        *if by_hand { &mut self.notches } else { &mut self.unround } += evidence.clamp(-1.0, 3.0);
        self.tally.lattice += u32::from(hit);
    }

    /// Evidence of a category's value: a machine tries each once, a person picks the popular ones and comes back.
    fn category(&mut self, step: &Step<'_>, edit_model: &mut EditModel) -> f64 {
        let value = step.to.value();
        let all = step.profile.bins().max(1);
        #[expect(clippy::float_cmp, reason = "category indices are exact")]
        let seen = self.visited.iter().any(|&v| v == value || (v.is_nan() && value.is_nan()));
        let left = all.saturating_sub(self.visited.len());
        if self.visited.len() < VISITED {
            self.visited.push(value);
        }
        let evidence = if seen || left == 0 {
            0.1_f64.ln()
        } else {
            self.tally.lattice += 1;
            (0.9 / left as f64 / (0.5 * mass(step.profile, step.to) + 0.5 / all as f64)).ln()
        };
        self.list = (self.list + evidence.clamp(-1.0, 2.3)).clamp(0.0, LIST_CAP);
        edit_model.beyond(2, self.list)
    }

    /// Bytes held beyond the struct itself.
    pub fn bytes(&self) -> usize {
        self.touched.capacity() * size_of::<u16>()
            + self.visited.capacity() * size_of::<f64>()
            + self.sizes.capacity() * size_of::<(Size, u32)>()
    }

    /// Feature that the last one-feature step changed.
    pub fn last_feature(&self) -> Option<u16> {
        self.last_feature
    }
}

/// Share of the reference's rows in the bin of a value, for a number only if the bin is the value alone: at the end of a range that
/// many rows lie at, as no gain or no loss does, anybody tries it.
fn mass(profile: &Feature, cell: Cell) -> f64 {
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
mod tests;
