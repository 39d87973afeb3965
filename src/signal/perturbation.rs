//! How large is a step, in the feature's own scale? Programs take steps of one size.
//!
//! A search that perturbs rows works in scaled features: ±ε of a coordinate's standard deviation or of its range, the same for all
//! (finite differences, Chen et al. 2017; coordinate steps, Guo et al. 2019; sign gradients, Papernot et al. 2017). What is sent has
//! different sizes in different columns, and they are equal again once each is divided by its column's scale. Which scale the
//! attacker took is not known, so the three usual ones are looked at: standard deviation, p1–p99 range, whole range.
//!
//! Rounding leaves a doubt, which the comparison allows for. Where the doubt is large against the step, nothing is compared.

use crate::event::Cell;
use crate::reference::Reference;

/// Scales looked at: standard deviation, p1–p99 range, whole range.
const SCALES: usize = 3;
/// Units of the last digit that a step must have for its share to say anything. Chosen: below ten, rounding (half a unit at either end)
/// makes small steps equal.
const TELLING: f64 = 10.0;
/// Share of the telling features that must agree. Chosen below 1, since a step is cut short at the end of a range.
const AGREE: f64 = 2.0 / 3.0;
/// Relative difference of equal sizes beyond what rounding leaves open. Chosen: what single precision loses in a few operations, and far
/// less than two unrelated steps differ by.
const EXACT: f64 = 1e-4;

/// Scales of one reference's features; none for categories and constants.
#[derive(Clone, Debug)]
pub struct Scales(Vec<Option<Scale>>);

#[derive(Clone, Copy, Debug)]
struct Scale {
    units: [f64; SCALES],
    resolution: f64,
}

/// Size of one step of a feature.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Size {
    feature: u16,
    /// In units of the feature, and as shares of its scales.
    absolute: f32,
    shares: [f32; SCALES],
    /// What rounding leaves open of each.
    doubt: f32,
    doubts: [f32; SCALES],
}

// === impl Scales ===

impl Scales {
    /// Learns the scales of a reference's features.
    pub fn new(reference: &Reference) -> Self {
        let scale = |(j, feature): (usize, &crate::reference::Feature)| {
            let column = reference.sample.iter().map(|row| row[j].value()).filter(|value| value.is_finite());
            let (n, sum, squares) = column.fold((0.0, 0.0, 0.0), |(n, s, q): (f64, f64, f64), x| (n + 1.0, s + x, q + x * x));
            let deviation = (squares / n - (sum / n).powi(2)).max(0.0).sqrt();
            let units = [deviation, feature.p99 - feature.p01, feature.max - feature.min];
            let usable = feature.is_numeric() && units.iter().all(|unit| *unit > 0.0);
            usable.then(|| Scale { units, resolution: 10_f64.powi(-i32::from(feature.decimals)) })
        };
        Self(reference.features.iter().enumerate().map(scale).collect())
    }

    /// Size of a step of a feature from one value to another, written with a resolution; `None` if there is none, or if it is so
    /// small that rounding makes it like any other.
    pub fn size(&self, feature: usize, from: Cell, to: Cell, resolution: f64) -> Option<Size> {
        let scale = self.0.get(feature).copied().flatten()?;
        let (size, doubt) = ((to.value() - from.value()).abs(), resolution.max(scale.resolution));
        if !(size.is_finite() && size >= TELLING * doubt) {
            return None;
        }
        let shares = scale.units.map(|unit| (size / unit) as f32);
        let doubts = scale.units.map(|unit| (doubt / unit) as f32);
        Some(Size { feature: feature as u16, absolute: size as f32, shares, doubt: doubt as f32, doubts })
    }

    /// Whether a step of several features moves them by equal shares of one of the scales; with it, how many features tell. `None` if
    /// fewer than two do.
    pub fn even(&self, from: impl Iterator<Item = Cell>, to: &[Cell]) -> Option<(bool, usize)> {
        let sizes: Vec<Size> = from.zip(to).enumerate().filter_map(|(j, (from, to))| self.size(j, from, *to, 0.0)).collect();
        if sizes.len() < 2 {
            return None;
        }
        let needed = (AGREE * sizes.len() as f64).ceil().max(2.0) as usize;
        let even = (0..SCALES).any(|scale| {
            sizes.iter().any(|one| {
                let same = |other: &&Size| equal(one.shares[scale], other.shares[scale], one.doubts[scale] + other.doubts[scale]);
                sizes.iter().filter(same).count() >= needed
            })
        });
        Some((even, sizes.len()))
    }
}

// === impl Size ===

impl Size {
    /// The feature.
    pub fn feature(&self) -> u16 {
        self.feature
    }

    /// As a share of the p1–p99 range.
    pub fn of_usual_range(&self) -> f64 {
        f64::from(self.shares[1])
    }

    /// Whether two steps are of one size, or one is twice the other (from one side of a row to the other), as far as rounding tells.
    pub fn matches(&self, other: &Self) -> bool {
        let same = |a: f32, b: f32, doubt: f32| [1.0, 2.0, 0.5].iter().any(|factor| equal(a, factor * b, doubt * factor.max(1.0)));
        if self.feature == other.feature {
            return same(self.absolute, other.absolute, self.doubt + other.doubt);
        }
        (0..SCALES).any(|scale| same(self.shares[scale], other.shares[scale], self.doubts[scale] + other.doubts[scale]))
    }
}

fn equal(a: f32, b: f32, doubt: f32) -> bool {
    f64::from((a - b).abs()) <= f64::from(doubt) + EXACT * f64::from(a.max(b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::{Column, Dataset, FitOptions, Raw, fit};

    /// Three numbers of very different scale, with four decimals each.
    fn reference() -> Reference {
        let uniform = |i: u64, j: u64| (crate::hash::mix2(i, j) >> 11) as f64 / (1_u64 << 53) as f64;
        let column = |j: u64, scale: f64| Column {
            name: format!("x{j}"),
            cells: (0..2_000).map(|i| Raw::Number((uniform(i, j) * scale * 1e4).round() / 1e4)).collect(),
        };
        let features = vec![column(0, 1.0), column(1, 30.0), column(2, 7_000.0)];
        let predictions = (0..2_000).map(|i| Raw::Number(uniform(i, 9))).collect();
        let dataset = Dataset { features, predictions, probabilities: Vec::new() };
        fit(&dataset, &FitOptions { model: "m".into(), ..FitOptions::default() }).unwrap()
    }

    fn cells(values: [f64; 3]) -> Vec<Cell> {
        values.map(|value| Cell::number((value * 1e4).round() / 1e4)).to_vec()
    }

    #[test]
    fn equal_shares_of_any_usual_scale_are_seen_through_rounding_and_other_steps_are_not() {
        let reference = reference();
        let scales = Scales::new(&reference);
        let here = [0.31, 12.7, 3_111.0];
        for which in 0..SCALES {
            let unit = |j: usize| scales.0[j].unwrap().units[which];
            let there = cells([here[0] + 0.07 * unit(0), here[1] - 0.07 * unit(1), here[2] + 0.07 * unit(2)]);
            assert_eq!(scales.even(cells(here).into_iter(), &there), Some((true, 3)), "scale {which}");
        }
        let uneven = cells([here[0] + 0.03, here[1] + 1.7, here[2] + 801.0]);
        assert_eq!(scales.even(cells(here).into_iter(), &uneven), Some((false, 3)));
        assert_eq!(scales.even(cells(here).into_iter(), &cells([0.4, 12.7, 3_111.0])), None, "one feature alone");
    }

    #[test]
    fn a_step_to_the_other_side_is_of_the_same_size_and_tiny_ones_are_of_none() {
        let scales = Scales::new(&reference());
        let size = |j: usize, size: f64| scales.size(j, Cell::number(0.0), Cell::number(size), 1e-4);
        let unit = |j: usize| scales.0[j].unwrap().units[0];
        let (one, other) = (size(0, 0.05 * unit(0)).unwrap(), size(2, 0.1 * unit(2)).unwrap());
        assert!(one.matches(&other) && other.matches(&one));
        assert!(!one.matches(&size(2, 0.07 * unit(2)).unwrap()));
        assert_eq!(size(0, 0.0005), None, "five units of the last digit");
    }
}
