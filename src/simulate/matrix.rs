//! A matrix of scenarios: calm with every look-alike, every drift, every attack in every delivery, both at once, and some of each in
//! logs that name no caller.
//!
//! It is what a change of the detector is judged by, next to the recorded traces: other seeds, other clients, attacks that the
//! traces do not contain. Each scenario is one [`SimulationSettings`]; names sort by what happens.

use super::attack::{AttackKind, AttackSpec};
use super::drift::{DriftKind, DriftSpec};
use super::{SimulateError, SimulationSettings};

/// Deliveries that every attack is tried with: name, keys.
const DELIVERIES: [(&str, &str); 8] = [
    ("fast", "pace=fast"),
    ("slow", "pace=slow"),
    ("cover", "pace=jitter,cover=0.5"),
    ("few", "pace=jitter,ips=3,account=shared"),
    ("dist24", "pace=jitter,ips=40,subnet=same24"),
    ("dist", "pace=jitter,ips=100,account=none"),
    ("nat", "pace=jitter,nat=yes"),
    ("rotating", "pace=jitter,rotating=yes"),
];

/// What happens in the logs without callers: name, drift, attack. Chosen: calm, two drifts, and an attack of each kind that structure or
/// distribution can show, since from there on the delivery no longer matters but for its pace.
const WITHOUT_CALLERS: [(&str, Option<&str>, Option<&str>); 7] = [
    ("calm", None, None),
    ("gradual", Some("gradual"), None),
    ("unit", Some("unit"), None),
    ("uniform", None, Some("uniform:queries=3000,start=14,rate=200")),
    ("uniform_slow", None, Some("uniform:queries=800,start=14,pace=jitter")),
    ("line_search", None, Some("line_search:queries=800,start=14")),
    ("hopskipjump", None, Some("hopskipjump:queries=800,start=14,pace=jitter")),
];

/// The scenarios, smallest useful set or all of them. Client counts scale the honest traffic of each.
pub fn scenarios(all: bool, seed: u64, clients: usize) -> Result<Vec<SimulationSettings>, SimulateError> {
    let base = SimulationSettings { seed, clients, hours: 30.0, held_out: true, ..SimulationSettings::default() };
    let named = |name: String, n: u64| SimulationSettings { scenario: name, seed: seed.wrapping_add(n), ..base.clone() };
    let mut list = Vec::new();
    // Calm: 30,000 client-days when all is asked for (600 clients, ten worlds of five days), two otherwise.
    for n in 0..if all { 10 } else { 2 } {
        let mut settings = named(format!("a{n:02}_calm"), n);
        if all {
            settings.hours = 120.0;
            settings.clients = 600;
        }
        settings.heterogeneity = [0.2, 0.4, 0.6, 0.8][n as usize % 4];
        list.push(settings);
    }
    for (n, kind) in DriftKind::ALL.into_iter().enumerate() {
        let mut settings = named(format!("d{n:02}_{}", kind.name()), 100 + n as u64);
        settings.drifts.push(DriftSpec::parse(kind.name())?);
        list.push(settings);
    }
    for (n, family) in AttackKind::ALL.into_iter().enumerate() {
        for (m, (name, keys)) in DELIVERIES.iter().enumerate() {
            if !all && !in_the_small_set(n, m) {
                continue;
            }
            let mut settings = named(format!("p{n:02}_{}_{name}", family.name()), 200 + 10 * n as u64 + m as u64);
            settings.attacks.push(AttackSpec::parse(&format!("{}:queries=800,{keys}", family.name()))?);
            list.push(settings);
        }
    }
    for (n, (drift, attack)) in [
        ("gradual", "line_search:queries=500,start=14,ips=20,pace=jitter"),
        ("unit", "uniform:queries=800,start=14,ips=50,pace=jitter"),
        ("missing", "hopskipjump:queries=600,start=14"),
        ("seasonal", "active:queries=800,start=14,ips=3,account=shared"),
        ("rollout", "grid:queries=800,start=14,ips=100,pace=jitter"),
    ]
    .into_iter()
    .enumerate()
    {
        let mut settings = named(format!("x{n:02}_{drift}_and_attack"), 400 + n as u64);
        settings.drifts.push(DriftSpec::parse(drift)?);
        settings.attacks.push(AttackSpec::parse(attack)?);
        list.push(settings);
    }
    for (n, (name, drift, attack)) in WITHOUT_CALLERS.into_iter().enumerate() {
        let mut settings = named(format!("w{n:02}_without_callers_{name}"), 500 + n as u64);
        settings.without_callers = true;
        settings.drifts.extend(drift.map(DriftSpec::parse).transpose()?);
        settings.attacks.extend(attack.map(AttackSpec::parse).transpose()?);
        list.push(settings);
    }
    Ok(list)
}

/// The small set pairs each attack with two deliveries, and every fourth one with rotating addresses as well, so that every delivery
/// still occurs.
const fn in_the_small_set(attack: usize, delivery: usize) -> bool {
    const PAIRED: usize = DELIVERIES.len() - 1;
    match delivery {
        PAIRED => attack.is_multiple_of(4),
        _ => delivery == attack % PAIRED || delivery == (attack + 3) % PAIRED,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_small_matrix_still_has_every_attack_every_drift_and_every_delivery() {
        let list = scenarios(false, 1, 100).unwrap();
        for family in AttackKind::ALL {
            assert!(list.iter().any(|s| s.attacks.iter().any(|a| a.family == family)), "{}", family.name());
        }
        for kind in DriftKind::ALL {
            assert!(list.iter().any(|s| s.attacks.is_empty() && s.drifts.iter().any(|d| d.kind == kind)), "{}", kind.name());
        }
        for (name, _) in DELIVERIES {
            assert!(list.iter().any(|s| s.scenario.ends_with(name)), "{name}");
        }
        for without in [false, true] {
            assert!(list.iter().any(|s| s.without_callers == without && s.attacks.is_empty() && s.drifts.is_empty()), "{without}");
            assert!(list.iter().any(|s| s.without_callers == without && !s.attacks.is_empty()), "{without}");
        }
        let names: std::collections::BTreeSet<&str> = list.iter().map(|s| s.scenario.as_str()).collect();
        assert_eq!(names.len(), list.len(), "names are folders, so they must differ");
    }
}
