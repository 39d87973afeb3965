//! People and machines at one form, and what the judge would conclude.

use super::*;
use crate::event::Cell;
use crate::hash::mix2;
use crate::reference::{Column, Dataset, FitOptions, Raw, Reference, fit};
use crate::signal::perturbation::Scales;

/// What the judge asks of the evidence for a machine, about.
const THRESHOLD: f64 = 8.0;

/// Two fine numbers of different scale, a coarse one with round notches, a list of values and a category.
struct World {
    reference: Reference,
    scales: Scales,
}

/// A sender that edits one row: the judge's sum, and the highest that it came to.
struct Editor<'a> {
    world: &'a World,
    process: EditProcess,
    edit_model: EditModel,
    row: Vec<Cell>,
    drifted: bool,
    sum: f64,
    most: f64,
}

impl World {
    fn new() -> Self {
        let n = 2_000_u64;
        let uniform = |i: u64, j: u64| (mix2(i, j) >> 11) as f64 / (1_u64 << 53) as f64;
        let number = |j: u64, to: &dyn Fn(f64) -> f64| Column {
            name: format!("x{j}"),
            cells: (0..n).map(|i| Raw::Number(to(uniform(i, j)))).collect(),
        };
        let features = vec![
            number(0, &|u| (u * 1.37 * 1e4).round() / 1e4),
            number(1, &|u| (u * 7_311.0 * 1e2).round() / 1e2),
            number(2, &|u| (u * 100.0).round()),
            number(3, &|u| [0.0, 0.06, 0.12, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 7.0, 10.0][(u * 13.0) as usize]),
            Column {
                name: "c".into(),
                cells: (0..n).map(|i| Raw::Text(format!("c{}", mix2(i, 4) % 12).as_str().into())).collect(),
            },
        ];
        let predictions = (0..n).map(|i| Raw::Number(uniform(i, 9))).collect();
        let dataset = Dataset { features, predictions, probabilities: Vec::new() };
        let reference = fit(&dataset, &FitOptions { model: "m".into(), ..FitOptions::default() }).unwrap();
        Self { scales: Scales::new(&reference), reference }
    }

    fn editor(&self) -> Editor<'_> {
        let row = self.reference.sample[17].clone();
        Editor {
            world: self,
            process: EditProcess::default(),
            edit_model: EditModel::default(),
            row,
            drifted: false,
            sum: 0.0,
            most: 0.0,
        }
    }
}

impl Editor<'_> {
    fn step(&mut self, feature: usize, to: Cell, crossed: bool) {
        let from = std::mem::replace(&mut self.row[feature], to);
        let line = self.row.iter().enumerate().filter(|(j, _)| *j != feature).fold(7, |h, (_, cell)| mix2(h, cell.bits()));
        let step = EditStep {
            changed: 1,
            feature: feature as u16,
            from,
            to,
            line,
            crossed,
            missing: self.row.iter().filter(|cell| cell.is_missing()).count() as u16,
            drifted: self.drifted,
            level: None,
            profile: &self.world.reference.features[feature],
            scales: &self.world.scales,
            width: self.row.len(),
        };
        self.add(step);
    }

    fn add(&mut self, step: EditStep<'_>) {
        self.sum = self.sum.max(0.0) + self.process.step(step, &mut self.edit_model);
        self.most = self.most.max(self.sum);
    }

    fn set(&mut self, feature: usize, to: f64) {
        self.step(feature, Cell::number(to), false);
    }
}

#[test]
fn both_ends_and_exact_midpoints_are_a_machine_within_ten_steps() {
    let world = World::new();
    let mut editor = world.editor();
    let feature = &world.reference.features[0];
    let (mut low, mut high) = (feature.min, feature.max);
    editor.set(0, low);
    editor.set(0, high);
    for step in 0..8 {
        let middle = (f64::midpoint(low, high) * 1e4).round() / 1e4;
        editor.set(0, middle);
        *if step % 2 == 0 { &mut low } else { &mut high } = middle;
    }
    assert!(editor.most > THRESHOLD, "{}", editor.most);
    let EditCounts { midpoints, lattice, broad, .. } = editor.process.counts;
    assert!(midpoints >= 6 && midpoints > lattice && broad == 0, "{:?}", editor.process.counts);
}

#[test]
fn a_lattice_that_no_person_makes_is_a_machine_within_seven_steps() {
    let world = World::new();
    let mut editor = world.editor();
    // Rounded like the data, in strides that are not round.
    (0..7).for_each(|i| editor.set(1, ((3.17 + 664.37 * f64::from(i)) * 1e2).round() / 1e2));
    assert!(editor.most > THRESHOLD, "{}", editor.most);
}

#[test]
fn two_sliders_dragged_end_to_end_in_round_notches_are_a_person() {
    let world = World::new();
    let mut editor = world.editor();
    (0..=20).for_each(|notch| editor.set(2, 5.0 * f64::from(notch)));
    (0..=13).for_each(|notch| editor.set(1, 500.0 * f64::from(notch)));
    assert!(editor.most < THRESHOLD, "{}", editor.most);
}

#[test]
fn a_slider_that_moves_by_pixels_is_a_person_however_many_digits_it_sends() {
    let world = World::new();
    let feature = &world.reference.features[1];
    let pixel = (feature.max - feature.min) / 300.0;
    let mut accused = 0;
    for person in 0..300_u64 {
        let (mut editor, mut at) = (world.editor(), (mix2(person, 99) % 300) as f64);
        for step in 0..40_u64 {
            let random = mix2(person, step);
            let by = ((random % 7) + (random >> 20) % 7 + (random >> 40) % 7) as f64 - 9.0;
            at = (at + by).clamp(0.0, 300.0);
            editor.set(1, ((feature.min + at * pixel) * 1e2).round() / 1e2);
        }
        accused += u32::from(editor.most > THRESHOLD);
    }
    assert_eq!(accused, 0);
}

#[test]
fn the_range_of_a_page_need_not_be_that_of_the_reference() {
    let world = World::new();
    let feature = &world.reference.features[1];
    let mut accused = 0;
    for person in 0..300_u64 {
        // Its own range, from a third to three times the reference's, and places of its own.
        let wide = 3_f64.powf((mix2(person, 5) % 201) as f64 / 100.0 - 1.0);
        let pixel = wide * (feature.max - feature.min) / 300.0;
        let (mut editor, mut at) = (world.editor(), 150.0);
        for step in 0..40_u64 {
            let random = mix2(person, step);
            at += ((random % 7) + (random >> 20) % 7 + (random >> 40) % 7) as f64 - 9.0;
            editor.set(1, ((feature.min + at * pixel) * 1e2).round() / 1e2);
        }
        accused += u32::from(editor.most > THRESHOLD);
    }
    assert!(accused <= 1, "{accused} of 300");
}

#[test]
fn round_notches_in_a_new_unit_are_a_person_where_the_unit_is_new() {
    let world = World::new();
    let dragged = |drifted: bool| {
        let mut editor = world.editor();
        editor.drifted = drifted;
        (0..=13).for_each(|notch| editor.set(1, (500.0 * 1.0936 * f64::from(notch) * 1e2).round() / 1e2));
        editor.most
    };
    assert!(dragged(true) < THRESHOLD && dragged(false) > THRESHOLD, "{} {}", dragged(true), dragged(false));
}

#[test]
fn a_person_who_plays_with_two_fields_is_none_whatever_the_fields_are() {
    let world = World::new();
    let mut accused = 0;
    for person in 0..300_u64 {
        let mut editor = world.editor();
        let fields = [(person % 5) as usize, (person / 5 % 5) as usize];
        for step in 0..40_u64 {
            let random = mix2(person, step);
            let field = fields[(random & 1) as usize];
            let sample = world.reference.sample[(random >> 20) as usize % 2_000][field];
            let near = editor.row[field].value() + ((random >> 40) % 41) as f64 - 20.0;
            let to = if field == 2 { Cell::number(near.clamp(0.0, 100.0)) } else { sample };
            editor.step(field, to, (random >> 8) & 7 == 0);
        }
        accused += u32::from(editor.most > THRESHOLD);
    }
    assert_eq!(accused, 0);
}

#[test]
fn fields_emptied_one_after_the_other_are_a_machine_and_one_that_fails_now_and_then_is_none() {
    let world = World::new();
    let mut walker = world.editor();
    (0..5).for_each(|j| walker.step(j, Cell::MISSING, false));
    assert!(walker.most > THRESHOLD && walker.process.counts.blanks == 4, "{} {:?}", walker.most, walker.process.counts);
    let mut failing = world.editor();
    for i in 0..20_u64 {
        failing.step(1, if i % 2 == 0 { Cell::MISSING } else { Cell::number(17.5) }, false);
    }
    assert!(failing.most < THRESHOLD && failing.process.counts.blanks == 0, "{}", failing.most);
}

#[test]
fn one_size_of_step_in_all_columns_is_a_machine() {
    let world = World::new();
    let mut editor = world.editor();
    let deviation = |j: usize| {
        let column: Vec<f64> = world.reference.sample.iter().map(|row| row[j].value()).collect();
        let mean = column.iter().sum::<f64>() / column.len() as f64;
        (column.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / column.len() as f64).sqrt()
    };
    let decimals = [1e4, 1e2];
    for i in 0..12_usize {
        let j = i % 2;
        let side = if i % 4 < 2 { 1.0 } else { -1.0 };
        let to = editor.row[j].value() + side * 0.153 * deviation(j);
        editor.set(j, (to * decimals[j]).round() / decimals[j]);
    }
    assert!(editor.most > THRESHOLD, "{}", editor.most);
}

#[test]
fn tables_say_more_the_larger_and_the_more_they_are() {
    let world = World::new();
    let shown = |tables: &[u32], crossed: bool| {
        let mut editor = world.editor();
        for &cells in tables {
            // Each round another row: the sender's edit model stays.
            editor.process = EditProcess::default();
            (0..cells).for_each(|i| editor.step(4, Cell::category((i % 12) as usize), crossed));
        }
        editor.most
    };
    let more = |tables: &[u32]| shown(tables, true) - shown(tables, false);
    assert!(more(&[4]) < 0.5 && more(&[10]) < 3.0 && more(&[40]) > 2.5, "{} {} {}", more(&[4]), more(&[10]), more(&[40]));
    assert!(more(&[16; 8]) > THRESHOLD, "an inversion: {}", more(&[16; 8]));
    assert!(more(&[4, 6, 3, 12, 5, 2, 4, 7]) < 3.0, "a person: {}", more(&[4, 6, 3, 12, 5, 2, 4, 7]));
}

#[test]
fn several_features_moved_by_equal_shares_are_a_machine() {
    let world = World::new();
    let several = |level: bool| {
        let mut editor = world.editor();
        for _ in 0..10 {
            let profile = &world.reference.features[0];
            let (from, to) = (Cell::number(0.1), Cell::number(0.2));
            let level = Some((level, 3));
            let scales = &world.scales;
            editor.add(EditStep {
                changed: 3,
                feature: 0,
                from,
                to,
                line: 1,
                crossed: false,
                missing: 0,
                drifted: false,
                level,
                profile,
                scales,
                width: 14,
            });
        }
        (editor.process.counts.level, editor.most)
    };
    let ((even, machine), (uneven, person)) = (several(true), several(false));
    assert_eq!((even, uneven), (10, 0));
    assert!(machine > person + THRESHOLD, "{machine} {person}");
}
