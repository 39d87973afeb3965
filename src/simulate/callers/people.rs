//! People that look like attackers: one moves a slider or edits a few fields, one asks again from the same place.

use rand::Rng as _;
use rand_chacha::ChaCha8Rng;

use super::{Caller, CallerQuery, CallerRow, Person, after};
use crate::event::Cell;
use crate::reference::Kind;
use crate::simulate::World;
use crate::simulate::chance::{exponential, normal};
use crate::simulate::rows::Rows;

/// Times a day that a person edits one case again and again. Chosen: often enough that every simulated day has such sessions.
const EDIT_SESSIONS_PER_DAY: f64 = 2.5;

/// A person in front of a what-if page: asks normally, then moves one slider 20 to 40 times, or edits one to three fields.
pub struct WhatIf {
    pub user: Person,
    pub rng: ChaCha8Rng,
    pub slider: Slider,
    pub edits: Option<(CallerQuery, Vec<usize>, usize)>,
}

/// How a page's sliders move.
#[derive(Clone, Copy)]
pub enum Slider {
    /// To and fro, anywhere near.
    Free,
    /// From one end to the other in round notches.
    Notches,
    /// To and fro by a few pixels of three hundred.
    Pixels,
}

impl WhatIf {
    fn edit(&mut self, world: &World, mut step: CallerQuery, fields: &[usize]) -> CallerQuery {
        step.at = after(step.at, 0.6 + 1.6 * exponential(&mut self.rng));
        if let CallerRow::Drawn(row) = &mut step.row {
            // One field at a time, now and then two.
            for _ in 0..1 + usize::from(fields.len() > 1 && self.rng.random::<f64>() < 0.25) {
                let j = fields[self.rng.random_range(0..fields.len())];
                let one = fields.len() == 1 && world.rows.features[j].kind == Kind::Continuous && row[j].value().is_finite();
                row[j] = match self.slider {
                    Slider::Notches if one => notch(&world.rows, j, row[j]),
                    Slider::Pixels if one => pixels(&mut self.rng, &world.rows, j, row[j]),
                    _ => moved(&mut self.rng, &world.rows, j, row[j]),
                };
            }
        }
        step
    }
}

/// The next round notch of a slider, of about thirty; after the last one the first.
fn notch(rows: &Rows, j: usize, cell: Cell) -> Cell {
    let feature = &rows.features[j];
    let about = ((feature.max - feature.min) / 30.0).max(f64::MIN_POSITIVE);
    let unit = 10_f64.powf(about.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|n| n * unit).find(|&step| step >= about).unwrap_or(about);
    let next = ((cell.value() / step).floor() + 1.0) * step;
    Cell::number(if next > feature.max { (feature.min / step).ceil() * step } else { (next * 1e9).round() / 1e9 })
}

/// A few pixels of a slider of three hundred, in the digits that the page keeps.
fn pixels(rng: &mut ChaCha8Rng, rows: &Rows, j: usize, cell: Cell) -> Cell {
    let feature = &rows.features[j];
    let pixel = (feature.max - feature.min) / 300.0;
    let at = ((cell.value() - feature.min) / pixel).round() + (4.0 * normal(rng)).round();
    rows.snap(j, feature.min + at.clamp(0.0, 300.0) * pixel)
}

/// Where a hand moves a slider or a list: near the present value, within what the page allows.
fn moved(rng: &mut ChaCha8Rng, rows: &Rows, j: usize, cell: Cell) -> Cell {
    let feature = &rows.features[j];
    match feature.kind {
        // People try what they know: mostly common values, sometimes anything on the list.
        Kind::Categorical if rng.random::<f64>() < 0.75 => rows.sample[rng.random_range(0..rows.len())][j],
        Kind::Categorical => Cell::category(rng.random_range(0..feature.values.len().max(1))),
        Kind::Boolean => Cell::number(if cell.value() > 0.5 { 0.0 } else { 1.0 }),
        Kind::Discrete => Cell::number(feature.support[rng.random_range(0..feature.support.len())]),
        Kind::Continuous => {
            let step = 0.3 * rows.spread(j) * normal(rng);
            let from = if cell.value().is_finite() { cell.value() } else { rows.quantile(j, 0.5) };
            rows.snap(j, (from + step).clamp(feature.p01, feature.p99.max(feature.p01)))
        }
    }
}

impl Caller for WhatIf {
    fn next(&mut self, world: &World) -> Option<CallerQuery> {
        if let Some((step, fields, left)) = self.edits.take() {
            let step = self.edit(world, step, &fields);
            self.user.now = self.user.now.max(step.at);
            if left > 1 {
                self.edits = Some((step.clone(), fields, left - 1));
            }
            return Some(step);
        }
        let step = self.user.next(world)?;
        if self.rng.random::<f64>() < self.user.sessions_per_query(EDIT_SESSIONS_PER_DAY) {
            let numeric = world.rows.numeric();
            let slider = self.rng.random::<f64>() < 0.6 && !numeric.is_empty();
            let width = world.rows.features.len();
            let (fields, times) = if slider {
                (vec![numeric[self.rng.random_range(0..numeric.len())]], self.rng.random_range(20..=40))
            } else {
                let n = self.rng.random_range(1..=3.min(width));
                let mut fields: Vec<usize> = (0..n).map(|_| self.rng.random_range(0..width)).collect();
                fields.dedup();
                (fields, self.rng.random_range(2..=8))
            };
            self.edits = Some((step.clone(), fields, times));
        }
        Some(step)
    }
}

/// A mobile app that asks again from the same place: the coordinates jitter in their last decimals.
pub struct Mobile {
    pub user: Person,
    pub rng: ChaCha8Rng,
    pub coordinates: Vec<usize>,
    pub again: Option<(CallerQuery, usize)>,
}

impl Caller for Mobile {
    fn next(&mut self, world: &World) -> Option<CallerQuery> {
        if let Some((mut step, left)) = self.again.take() {
            step.at = after(step.at, 5.0 + 25.0 * exponential(&mut self.rng));
            self.user.now = self.user.now.max(step.at);
            if let CallerRow::Drawn(row) = &mut step.row {
                for &j in &self.coordinates {
                    let unit = 10_f64.powi(-i32::from(world.rows.features[j].decimals));
                    row[j] = world.rows.snap(j, row[j].value() + 3.0 * unit * normal(&mut self.rng));
                }
            }
            if left > 1 {
                self.again = Some((step.clone(), left - 1));
            }
            return Some(step);
        }
        let step = self.user.next(world)?;
        if self.rng.random::<f64>() < 0.5 {
            self.again = Some((step.clone(), self.rng.random_range(1..=6)));
        }
        Some(step)
    }
}
