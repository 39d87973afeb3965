//! When a drill injects its attacks, and how long a slow attack lasts.

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::DrillSettings;
use super::baseline::Baseline;
use super::trial::GRACE_SECONDS;
use crate::event::EventTime;
use crate::hash::mix2;
use crate::judge::distribution::WARM_UP_SECONDS;
use crate::simulate::callers::after;
use crate::simulate::chance::stream;

/// A slow attack lasts at most this long: half a day hides from hourly rates. Chosen.
const SLOW_SECONDS: f64 = 12.0 * 3600.0;
/// Shortest slow attack: half an hour for 500 queries is one in four seconds, still slower than a script. Chosen.
const MIN_SLOW_SECONDS: f64 = 1800.0;
/// Shortest log in seconds: the judge's warm-up, a slow attack of an hour with as much room to start in, and the grace.
pub const MIN_SECONDS: f64 = WARM_UP_SECONDS as f64 + 2.0 * MIN_SLOW_SECONDS + GRACE_SECONDS;
/// When attacks are injected.
#[derive(Clone, Debug)]
pub struct InjectionPlan {
    /// Instant of each repeat.
    pub instants: Vec<EventTime>,
    /// How long a slow attack lasts.
    pub slow_seconds: f64,
}

// === impl InjectionPlan ===

impl InjectionPlan {
    /// Draws the instants: after the judge's warm-up, and early enough for a slow attack and its grace to end within the log.
    pub fn new(baseline: &Baseline, settings: &DrillSettings) -> Self {
        let (first, last) = baseline.span.unwrap_or_default();
        let room = last.seconds_since(first) - WARM_UP_SECONDS as f64 - GRACE_SECONDS;
        let slow_seconds = (room / 2.0).clamp(MIN_SLOW_SECONDS, SLOW_SECONDS);
        let open = (room - slow_seconds).max(0.0);
        let instants = (0..settings.repeats)
            .map(|repeat| {
                let mut rng = ChaCha8Rng::seed_from_u64(mix2(mix2(settings.seed, u64::from(repeat)), stream::INJECTION_INSTANT));
                after(first, WARM_UP_SECONDS as f64 + open * rng.random::<f64>())
            })
            .collect();
        Self { instants, slow_seconds }
    }

    /// Repeats by instant, earliest first.
    pub fn in_order(&self) -> Vec<(u32, EventTime)> {
        let mut order: Vec<(u32, EventTime)> = (0..).zip(self.instants.iter().copied()).collect();
        order.sort_by_key(|&(repeat, instant)| (instant, repeat));
        order
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> EventTime {
        EventTime::from_micros(1_772_409_600_000_000).plus_seconds(second)
    }

    fn baseline(hours: i64) -> Baseline {
        Baseline { span: Some((at(0), at(hours * 3600))), ..Baseline::default() }
    }

    #[test]
    fn every_slow_attack_fits_between_warm_up_and_the_end_of_the_log() {
        for hours in [6, 9, 24, 72] {
            let settings = DrillSettings { repeats: 50, ..DrillSettings::default() };
            let plan = InjectionPlan::new(&baseline(hours), &settings);
            assert_eq!(plan.instants.len(), 50);
            for &instant in &plan.instants {
                assert!(instant >= at(WARM_UP_SECONDS), "{hours} h: {instant} is within the warm-up");
                let end = after(instant, plan.slow_seconds + GRACE_SECONDS);
                assert!(end <= at(hours * 3600 + 1), "{hours} h: an attack from {instant} ends at {end}");
            }
            assert!((MIN_SLOW_SECONDS..=SLOW_SECONDS).contains(&plan.slow_seconds), "{hours} h: {} s", plan.slow_seconds);
        }
    }

    #[test]
    fn a_repeat_keeps_its_instant_however_many_repeats_follow() {
        let few = InjectionPlan::new(&baseline(24), &DrillSettings { repeats: 3, ..DrillSettings::default() });
        let many = InjectionPlan::new(&baseline(24), &DrillSettings { repeats: 9, ..DrillSettings::default() });
        assert_eq!(few.instants, many.instants[..3]);
        let order: Vec<EventTime> = many.in_order().into_iter().map(|(_, instant)| instant).collect();
        assert!(order.is_sorted());
    }
}
