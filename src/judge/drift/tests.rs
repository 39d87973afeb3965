//! What the drift test promises, on rows of a shipped profile: it minds the world and not who asks, holds for changed answers as
//! for changed inputs, and says what kind of change it saw.

use super::*;
use crate::event::Cell;
use crate::hash::mix2;
use crate::reference::fit::coarse_counts;
use crate::signal::codes::Codes;

/// Callers of the little world.
const CALLERS: u32 = 80;
/// Evaluations that span the first day.
const DAY: i64 = 96;

struct World {
    reference: Reference,
    coder: Coder,
    drift: Drift,
    codes: Codes,
    draws: u64,
    probed: bool,
}

fn at(step: i64) -> EventTime {
    EventTime::from_micros(1_772_409_600_000_000).plus_seconds(step * STEP)
}

fn caller(slot: u32) -> SlotRef {
    SlotRef { slot, generation: 1 }
}

impl World {
    fn new() -> Self {
        let path = format!("{}/models/magic/reference.json", env!("CARGO_MANIFEST_DIR"));
        let reference = Reference::from_json(&std::fs::read(path).unwrap()).unwrap();
        let coder = Coder::new(&reference);
        Self { drift: Drift::new(&reference, &coder), coder, reference, codes: Codes::default(), draws: 0, probed: false }
    }

    /// A caller sends a recorded row, changed on the way.
    fn send(&mut self, step: i64, slot: u32, change: &dyn Fn(&mut [Cell], &mut f64)) {
        self.draws += 1;
        let i = (mix2(self.draws, u64::from(slot)) % self.reference.sample.len() as u64) as usize;
        let (mut row, mut answer) = (self.reference.sample[i].clone(), self.reference.sample_predictions[i].value());
        change(&mut row, &mut answer);
        self.coder.encode(&row, &mut self.codes);
        self.drift.vote(at(step).plus_seconds(-1), caller(slot), &self.codes, Prediction::Score(answer));
    }

    /// Everybody in `slots` sends one row in the step that ends at `step`.
    fn everybody(&mut self, step: i64, slots: std::ops::Range<u32>, change: &dyn Fn(&mut [Cell], &mut f64)) {
        slots.for_each(|slot| self.send(step, slot, change));
    }

    fn evaluate(&mut self, step: i64, suspect: impl Fn(SlotRef) -> bool + Copy, newcomers_at: i64) -> DriftFinding {
        self.drift.evaluate(at(step), self.probed, suspect, |c| Some(if c.slot < CALLERS { at(0) } else { at(newcomers_at) }))
    }

    /// A calm stretch of evaluations, in which nothing may be said.
    fn calm(&mut self, steps: std::ops::Range<i64>) {
        for step in steps {
            self.everybody(step, 0..CALLERS, &|_, _| {});
            let finding = self.evaluate(step, |_| false, 0);
            assert!(finding.drifted.is_empty() && !finding.concept(), "calm, and {finding:?}");
        }
    }

    /// Steps from `from` on until something is said, at most a day.
    fn until_said(
        &mut self,
        from: i64,
        suspect: impl Fn(SlotRef) -> bool + Copy,
        act: &dyn Fn(&mut Self, i64),
    ) -> (i64, DriftFinding) {
        for step in from..from + DAY {
            act(self, step);
            let finding = self.evaluate(step, suspect, from);
            if !finding.drifted.is_empty() {
                return (step - from, finding);
            }
        }
        (DAY, DriftFinding::default())
    }
}

fn unit(row: &mut [Cell], _: &mut f64) {
    row[0] = Cell::number(row[0].value() * 2.0);
}

#[test]
fn a_change_of_all_callers_is_said_within_two_hours_with_its_kind() {
    let mut world = World::new();
    world.calm(0..DAY + 8);
    let nobody = |_: SlotRef| false;
    let (steps, finding) = world.until_said(DAY + 8, nobody, &|w, step| w.everybody(step, 0..CALLERS, &unit));
    assert!(steps <= 8 && finding.drifted.contains(&0), "after {steps} steps: {finding:?}");
    let kind = world.drift.attribute(&finding, at(DAY + 8 + steps), nobody).unwrap();
    assert!(kind.quarters.is_some_and(|q| q <= 2), "sudden: {kind:?}");
    assert!(kind.moved.0 * 3 > kind.moved.1 * 2 && kind.moved.1 == CALLERS as usize, "broad: {kind:?}");
    assert!(kind.vanishes < 0.05, "nobody to blame: {kind:?}");
    let (yesterday, reference) = kind.yesterday.unwrap();
    assert!(yesterday > 0.5 * reference, "yesterday was different: {kind:?}");
}

#[test]
fn a_new_unit_for_a_tenth_of_the_callers_is_drift_and_for_one_of_them_it_is_none() {
    let tenfold = |row: &mut [Cell], _: &mut f64| row[0] = Cell::number(row[0].value() * 10.0);
    let nobody = |_: SlotRef| false;
    let mut world = World::new();
    world.calm(0..24);
    let (steps, finding) = world.until_said(24, nobody, &|w, step| {
        w.everybody(step, 0..CALLERS / 10, &tenfold);
        w.everybody(step, CALLERS / 10..CALLERS, &|_, _| {});
    });
    assert!(steps <= 12 && finding.drifted == [0], "after {steps} steps: {finding:?}");
    let mut world = World::new();
    world.calm(0..24);
    let (steps, finding) = world.until_said(24, nobody, &|w, step| {
        w.everybody(step, 0..1, &tenfold);
        w.everybody(step, 1..CALLERS, &|_, _| {});
    });
    assert_eq!(steps, DAY, "{finding:?}");
}

#[test]
fn a_slow_change_is_told_from_a_sudden_one() {
    let mut world = World::new();
    world.calm(0..24);
    let nobody = |_: SlotRef| false;
    let slowly = |w: &mut World, step: i64| {
        let factor = 1.0 + (step - 24) as f64 / 40.0;
        w.everybody(step, 0..CALLERS, &|row, _| row[0] = Cell::number(row[0].value() * factor));
    };
    let (steps, _) = world.until_said(24, nobody, &slowly);
    // Some hours later the slope is long enough to be seen as one.
    let later = 24 + steps.max(24);
    let mut finding = DriftFinding::default();
    for step in 24 + steps + 1..=later + 8 {
        slowly(&mut world, step);
        finding = world.evaluate(step, nobody, 0);
    }
    let kind = world.drift.attribute(&finding, at(later + 8), nobody).unwrap();
    assert!(kind.quarters.is_some_and(|q| q >= 12), "{kind:?}");
}

#[test]
fn one_caller_has_no_more_than_eight_votes_however_much_he_sends() {
    let mut world = World::new();
    world.calm(0..12);
    for step in 12..36 {
        world.everybody(step, 0..CALLERS, &|_, _| {});
        (0..200).for_each(|_| world.send(step, 7, &unit));
        let finding = world.evaluate(step, |_| false, 0);
        assert!(finding.drifted.is_empty() && !finding.pending, "{finding:?}");
    }
}

#[test]
fn what_only_suspects_move_is_no_drift_and_its_share_is_known() {
    let mut world = World::new();
    world.calm(0..12);
    let suspect = |c: SlotRef| c.slot >= CALLERS;
    let mut finding = DriftFinding::default();
    for step in 12..24 {
        world.everybody(step, 0..CALLERS, &|_, _| {});
        world.everybody(step, CALLERS..CALLERS + 40, &unit);
        finding = world.evaluate(step, suspect, 0);
        assert!(finding.drifted.is_empty(), "{finding:?}");
    }
    assert_eq!(finding.suspects, [0], "seen all the same");
    let DriftReasons { features, signals, .. } = world.drift.reasons(&finding, None);
    assert!(features[0].psi > features[0].critical && features[0].psi_without_suspects < features[0].critical, "{features:?}");
    assert!(signals.iter().any(|s| s.signal == ModelSignal::VanishesWithoutSuspects && s.value > 0.8), "{signals:?}");
}

#[test]
fn a_change_that_newcomers_bring_waits_until_they_are_known() {
    let mut world = World::new();
    world.calm(0..30);
    let (steps, finding) = world.until_said(30, |_| false, &|w, step| {
        w.everybody(step, 0..CALLERS, &|_, _| {});
        w.everybody(step, CALLERS..CALLERS + 60, &unit);
    });
    assert!((16..40).contains(&steps) && finding.drifted.contains(&0), "after {steps} steps: {finding:?}");
}

#[test]
fn what_newcomers_bring_while_the_model_is_probed_waits_longer_and_what_everybody_brings_does_not() {
    let mut world = World::new();
    world.calm(0..30);
    world.probed = true;
    let (steps, _) = world.until_said(30, |_| false, &|w, step| {
        w.everybody(step, 0..CALLERS, &|_, _| {});
        w.everybody(step, CALLERS..CALLERS + 60, &unit);
    });
    assert!(steps > 48, "members who are not named yet, and no newcomers any more after {steps} steps");
    let mut world = World::new();
    world.calm(0..30);
    world.probed = true;
    let (steps, finding) = world.until_said(30, |_| false, &|w, step| w.everybody(step, 0..CALLERS, &unit));
    assert!(steps <= 12 && finding.drifted.contains(&0), "after {steps} steps: {finding:?}");
}

#[test]
fn other_answers_to_the_same_inputs_are_drift_of_the_answers_alone() {
    let mut world = World::new();
    world.calm(0..12);
    let (steps, finding) = world.until_said(12, |_| false, &|w, step| {
        // Every other answer is turned round: the shares of answers stay near what they were, their meaning does not.
        w.everybody(step, 0..CALLERS, &|row, answer| {
            if row[1].value().to_bits() % 2 == 0 {
                *answer = 1.0 - *answer;
            }
        });
    });
    let columns = world.drift.columns.features();
    assert!(steps <= 12 && finding.drifted.iter().all(|&c| c >= columns), "after {steps} steps: {finding:?}");
    assert!(finding.drifted.contains(&(columns + 1)), "given the features: {finding:?}");
}

#[test]
fn repeated_rows_with_other_answers_are_concept_drift_unless_one_caller_alone_says_so() {
    let mut world = World::new();
    let repeat = |world: &mut World, known: &mut [f32; 10], callers: u32, step: i64, score: f64| {
        for known in known {
            for slot in 0..callers {
                world.drift.answer(at(step), caller(slot), known, Prediction::Score(score));
            }
        }
    };
    let mut known = [f32::NAN; 10];
    repeat(&mut world, &mut known, 1, 0, 0.2);
    repeat(&mut world, &mut known, 1, 1, 0.6);
    assert!(!world.evaluate(2, |_| false, 0).concept(), "one caller");
    let mut world = World::new();
    let mut known = [f32::NAN; 10];
    (0..4).for_each(|step| repeat(&mut world, &mut known, 6, step, 0.2));
    assert_eq!(world.evaluate(4, |_| false, 0).changed, (0, 0), "the same answers");
    (0..).zip(&mut known).for_each(|(slot, known)| {
        world.drift.answer(at(5), caller(slot % 6), known, Prediction::Score(0.6));
    });
    assert!(world.evaluate(6, |_| false, 0).concept());
}

#[test]
fn towns_that_no_reference_knows_are_expected() {
    use crate::reference::{Column, Dataset, FitOptions, Raw, fit};
    use crate::signal::psi::independent;

    // A few towns in most rows, and a thousand others.
    let town = |row: u64| {
        let share = (mix2(row, 1) >> 11) as f64 / (1_u64 << 53) as f64;
        Raw::Text(format!("town {}", (share.powi(4) * 2_000.0) as u64).as_str().into())
    };
    let rows = 0..4_000_u64;
    let features = vec![Column { name: "town".into(), cells: rows.clone().map(town).collect() }];
    let predictions = rows.map(|row| Raw::Number((mix2(row, 2) % 1_000) as f64 / 1_000.0)).collect();
    let dataset = Dataset { features, predictions, probabilities: Vec::new() };
    let reference = fit(&dataset, &FitOptions { model: "m".into(), ..FitOptions::default() }).unwrap();
    let (feature, coder) = (&reference.features[0], Coder::new(&reference));
    let (as_seen, expected) =
        (coarse_counts(feature).iter().map(|&n| n as f64).collect::<Vec<_>>(), columns::expected_counts(feature));
    assert!((as_seen.iter().sum::<f64>() - expected.iter().sum::<f64>()).abs() < 1e-9);
    let unknown = expected.len() - 1;
    let mut window = vec![0.0; expected.len()];
    let mut codes = Codes::default();
    for row in 4_000..7_000 {
        let Raw::Text(name) = town(row) else { continue };
        let known = feature.values.iter().position(|value| **value == *name);
        coder.encode(&[known.map_or_else(|| Cell::unseen(&name), Cell::category)], &mut codes);
        window[usize::from(codes.coarse[0])] += 1.0;
    }
    assert!(
        window[unknown] > 100.0 && (window[unknown] / 3_000.0 - expected[unknown] / 4_000.0).abs() < 0.02,
        "{window:?} {expected:?}"
    );
    assert!(independent(&window, &as_seen).p < 1e-9 && independent(&window, &expected).p > 1e-3);
}
