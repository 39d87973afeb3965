//! What the simulator promises: the same seed the same bytes, honest traffic that stays honest, drifts that drift, attacks that
//! have the shape of their papers, and a truth that fits the log.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;

use super::attack::{AttackKind, AttackSpec, Oracle};
use super::drift::{DriftKind, DriftSpec};
use super::line::write_event;
use super::rows::{Rows, Subpopulation};
use super::victim::{Surrogate, Victim as _, VictimKind};
use super::{Event, Simulation, SimulationSettings};
use crate::event::Cell;
use crate::reference::{Kind, Reference};

fn shipped(model: &str) -> Arc<Reference> {
    let path = format!("{}/models/{model}/reference.json", env!("CARGO_MANIFEST_DIR"));
    Arc::new(Reference::from_json(&std::fs::read(path).unwrap()).unwrap())
}

fn settings(hours: f64, clients: usize) -> SimulationSettings {
    SimulationSettings { hours, clients, seed: 11, ..SimulationSettings::default() }
}

fn run(reference: &Arc<Reference>, settings: &SimulationSettings) -> (Vec<Event>, Simulation) {
    let mut simulation = Simulation::new(Arc::clone(reference), settings).unwrap();
    let events = simulation.by_ref().collect();
    (events, simulation)
}

/// Population stability index of a feature over events, with the counts' own prior.
fn psi<'a>(reference: &Reference, j: usize, events: impl Iterator<Item = &'a Event>) -> f64 {
    let feature = &reference.features[j];
    let mut counts = vec![0.5; feature.codes()];
    for event in events {
        counts[feature.code(event.row[j])] += 1.0;
    }
    let (now, then): (f64, f64) = (counts.iter().sum(), feature.counts.iter().map(|&c| c as f64 + 0.5).sum());
    counts.iter().zip(&feature.counts).map(|(a, &b)| (a / now, (b as f64 + 0.5) / then)).map(|(a, e)| (a - e) * (a / e).ln()).sum()
}

fn lines(reference: &Reference, events: &[Event]) -> String {
    let mut text = String::new();
    for event in events {
        write_event(&mut text, event, reference);
        text.push('\n');
    }
    text
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_seed_does_not() {
    let reference = shipped("adult");
    let mut one = settings(6.0, 60);
    one.attacks.push(AttackSpec::parse("hopskipjump:queries=100,start=2").unwrap());
    one.drifts.push(DriftSpec::parse("gradual:start=1").unwrap());
    let first = lines(&reference, &run(&reference, &one).0);
    assert_eq!(first, lines(&reference, &run(&reference, &one).0));
    let other = SimulationSettings { seed: 12, ..one };
    assert_ne!(first, lines(&reference, &run(&reference, &other).0));
}

#[test]
fn time_never_goes_back_and_every_line_is_read_back_as_it_was_meant() {
    let reference = shipped("flights");
    let mut plan = settings(12.0, 80);
    plan.drifts.push(DriftSpec::parse("missing:start=3").unwrap());
    let (events, _) = run(&reference, &plan);
    assert!(events.len() > 1000, "{}", events.len());
    assert!(events.windows(2).all(|pair| pair[0].at <= pair[1].at));
    let mut decoder = crate::decode::Decoder::new(&[Arc::clone(&reference)], crate::decode::DecodeConfig::default()).unwrap();
    let mut batch = crate::decode::Batch::default();
    let mut line = String::new();
    for event in &events {
        line.clear();
        batch.clear();
        write_event(&mut line, event, &reference);
        let record = crate::source::Record { payload: line.as_bytes(), ..crate::source::Record::default() };
        assert_eq!(decoder.decode(&record, &mut batch).unwrap(), 1, "{line}");
        let query = &batch.queries()[0];
        let bits = |row: &[Cell]| row.iter().map(|cell| cell.bits()).collect::<Vec<_>>();
        assert_eq!(bits(&query.row), bits(&event.row), "{line}");
        assert_eq!(query.time, event.at);
    }
}

#[test]
fn honest_traffic_keeps_the_reference_s_marginals_whatever_the_clients_live_in() {
    for model in ["adult", "flights", "magic"] {
        let reference = shipped(model);
        let mut plan = settings(30.0, 300);
        plan.mix = super::callers::Mix::none();
        plan.heterogeneity = 0.6;
        let (events, _) = run(&reference, &plan);
        for j in 0..reference.features.len() {
            let psi = psi(&reference, j, events.iter());
            // A tenth of what is commonly called a small shift.
            assert!(psi < 0.03, "{model} {}: {psi}", reference.features[j].name);
        }
    }
}

#[test]
fn every_drift_moves_what_it_says_it_moves() {
    let reference = shipped("adult");
    for kind in DriftKind::ALL {
        let mut plan = settings(16.0, 200);
        plan.drifts.push(DriftSpec::parse(&format!("{}:start=6,span=1", kind.name())).unwrap());
        let (events, simulation) = run(&reference, &plan);
        let drift = &simulation.world().drifts[0];
        let after = plan.start.plus_seconds(8 * 3600);
        if kind == DriftKind::Concept {
            let mean = |events: &mut dyn Iterator<Item = &Event>| {
                let (sum, n) = events.fold((0.0, 0.0), |(sum, n), e| (sum + e.answer.number(), n + 1.0));
                sum / n
            };
            let before = mean(&mut events.iter().filter(|e| e.at < drift.start));
            let later = mean(&mut events.iter().filter(|e| e.at > after));
            assert!(later > before + 0.05, "answers {before} then {later}");
            continue;
        }
        let names = drift.features(&simulation.world().rows);
        assert!(!names.is_empty(), "{}", kind.name());
        for name in names {
            let j = reference.features.iter().position(|f| f.name == name).unwrap();
            let before = psi(&reference, j, events.iter().filter(|e| e.at < drift.start));
            let later = psi(&reference, j, events.iter().filter(|e| e.at > after));
            assert!(later > before + 0.05, "{} {name}: {before} then {later}", kind.name());
        }
    }
}

#[test]
fn the_truth_fits_the_log() {
    let reference = shipped("adult");
    let mut plan = settings(20.0, 150);
    plan.attacks.push(AttackSpec::parse("grid:queries=200,ips=20,start=4,cover=0.5").unwrap());
    plan.attacks.push(AttackSpec::parse("equation:queries=150,start=6,nat=yes").unwrap());
    let (events, simulation) = run(&reference, &plan);
    let truth = simulation.truth();
    let marked: Vec<&Event> = events.iter().filter(|e| e.mark.is_some()).collect();
    assert_eq!(truth.n_events, events.len() as u64);
    assert_eq!(truth.n_attack_queries, marked.len() as u64);
    assert_eq!((truth.attacks[0].n_queries, truth.attacks[1].n_queries), (200, 150));
    assert!((100..400).contains(&truth.attacks[0].n_cover), "{}", truth.attacks[0].n_cover);
    assert_eq!(truth.malicious_ips.len(), 20);
    let honest: BTreeSet<String> = events.iter().filter(|e| e.mark.is_none()).map(|e| e.address.to_string()).collect();
    assert!(truth.malicious_ips.is_disjoint(&honest), "an attacker's own address never sends honest queries");
    assert_eq!(truth.shared_ips.len(), 1);
    assert!(truth.shared_ips.is_subset(&honest), "a NAT is shared with honest users");
    assert_eq!(truth.n_benign_ips, honest.len());
    assert_eq!(truth.attack_events().lines().count(), marked.len() + 1);
    let kinds: BTreeSet<&str> = truth.benign_hard_negatives.values().copied().collect();
    assert!(
        ["batch", "nat", "health", "retries", "whatif", "abreplay", "loadtest"].iter().all(|kind| kinds.contains(kind)),
        "{kinds:?}"
    );
}

#[test]
fn a_rotating_attack_never_comes_from_an_address_twice() {
    let reference = shipped("adult");
    let mut plan = settings(20.0, 150);
    plan.attacks.push(AttackSpec::parse("uniform:queries=400,start=4,rotating=yes,cover=0.3").unwrap());
    let (events, simulation) = run(&reference, &plan);
    let truth = simulation.truth();
    let marked: Vec<&Event> = events.iter().filter(|e| e.mark.is_some()).collect();
    assert!(marked.len() > 450, "{} with cover", marked.len());
    let addresses: BTreeSet<String> = marked.iter().map(|e| e.address.to_string()).collect();
    assert_eq!(addresses.len(), marked.len(), "each query from a new address");
    assert!(marked.iter().all(|e| e.account.is_none()));
    assert_eq!(truth.malicious_ips, addresses);
    assert_eq!((truth.attacks[0].delivery.as_str(), truth.attacks[0].ips.len()), ("rotating_cover", marked.len()));
    assert!(truth.malicious_clients.is_empty() && truth.shared_ips.is_empty());
    assert!(events.iter().filter(|e| e.mark.is_none()).all(|e| !addresses.contains(&e.address.to_string())));
}

#[test]
fn without_callers_only_the_callers_are_gone_from_the_log() {
    let reference = shipped("adult");
    let mut plan = settings(6.0, 60);
    plan.attacks.push(AttackSpec::parse("grid:queries=100,start=2,ips=5").unwrap());
    let nameless = SimulationSettings { without_callers: true, ..plan.clone() };
    let parsed = |plan: &SimulationSettings| -> Vec<serde_json::Value> {
        lines(&reference, &run(&reference, plan).0).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let (mut with, without) = (parsed(&plan), parsed(&nameless));
    assert!(with.iter().all(|event| event["source_ip"].is_string()) && with.iter().any(|event| event["client_id"].is_string()));
    for event in &mut with {
        let event = event.as_object_mut().unwrap();
        event.remove("source_ip");
        event.remove("client_id");
    }
    assert_eq!(with, without);
    let (_, simulation) = run(&reference, &nameless);
    let truth = simulation.truth();
    assert_eq!((truth.attacks[0].n_queries, truth.expected_model_verdict), (100, "probing"));
    assert!(truth.malicious_ips.is_empty() && truth.n_benign_ips == 0);
}

#[test]
fn volumes_are_heavy_tailed_and_follow_the_day() {
    let reference = shipped("adult");
    let mut plan = settings(24.0, 800);
    plan.mix = super::callers::Mix::none();
    let (events, _) = run(&reference, &plan);
    let mut by_address: BTreeMap<String, u32> = BTreeMap::new();
    for event in &events {
        *by_address.entry(event.address.to_string()).or_default() += 1;
    }
    let mut volumes: Vec<u32> = by_address.into_values().collect();
    volumes.sort_unstable();
    let (middle, top) = (volumes[volumes.len() / 2], volumes[volumes.len() - 1]);
    assert!((3..60).contains(&middle) && top > 12 * middle, "median {middle}, largest {top}");
    let hour = |h: u8| events.iter().filter(|e| e.at.hour_of_day() == h).count();
    assert!(hour(10) > 3 * hour(2), "{} at ten, {} at two", hour(10), hour(2));
}

fn ask(reference: &Reference, kind: VictimKind, spec: &str) -> Vec<Vec<Cell>> {
    let rows = Rows::new(reference, 3);
    let victim = Surrogate::fit(reference, &rows, kind, 3).unwrap();
    Oracle::record(&AttackSpec::parse(spec).unwrap(), &victim, &rows, 3)
}

#[test]
fn every_attack_spends_its_budget_on_any_model() {
    for model in ["adult", "flights", "magic"] {
        let reference = shipped(model);
        let rows = Rows::new(&reference, 3);
        let victim = Surrogate::fit(&reference, &rows, VictimKind::Tree, 3).unwrap();
        for family in AttackKind::ALL {
            let spec = AttackSpec::parse(&format!("{}:queries=300", family.name())).unwrap();
            let asked = Oracle::record(&spec, &victim, &rows, 3);
            assert_eq!(asked.len(), 300, "{model} {}", family.name());
            let sane = asked.iter().flatten().all(|cell| !cell.is_unreadable());
            assert!(sane, "{model} {}: a query carries a number that cannot be written", family.name());
        }
    }
}

/// Features in which two rows differ.
fn apart(a: &[Cell], b: &[Cell]) -> usize {
    a.iter().zip(b).filter(|(x, y)| x.bits() != y.bits()).count()
}

#[test]
fn a_line_search_moves_one_feature_and_homes_in() {
    let asked = ask(&shipped("magic"), VictimKind::Boosted, "line_search:queries=200");
    let single = asked.windows(2).filter(|w| apart(&w[0], &w[1]) <= 1).count();
    assert!(single > 150, "{single} of 199 steps move one feature");
    let halved = asked.windows(4).filter(|w| {
        (0..w[0].len()).any(|j| {
            let step = |i: usize| (w[i + 1][j].value() - w[i][j].value()).abs();
            step(1) > 0.0 && step(2) > 0.0 && (step(2) / step(1) - 0.5).abs() < 0.02
        })
    });
    assert!(halved.count() > 20, "bisection halves its steps");
}

#[test]
fn a_grid_has_regular_steps_and_holds_the_rest() {
    let reference = shipped("magic");
    let asked = ask(&reference, VictimKind::Boosted, "grid:queries=144");
    for j in 0..reference.features.len() {
        let levels: BTreeSet<u64> = asked.iter().map(|row| row[j].bits()).collect();
        assert!(levels.len() == 1 || levels.len() == 12, "{}: {} levels", reference.features[j].name, levels.len());
    }
}

#[test]
fn path_finding_learns_most_leaves_of_the_tree() {
    let reference = shipped("flights");
    let rows = Rows::new(&reference, 3);
    let victim = Surrogate::fit(&reference, &rows, VictimKind::Tree, 3).unwrap();
    let leaves: BTreeSet<u64> = rows.sample.iter().map(|row| victim.answer(row).identity()).collect();
    let asked = Oracle::record(&AttackSpec::parse("tree_path:queries=6000").unwrap(), &victim, &rows, 3);
    let found: BTreeSet<u64> = asked.iter().map(|row| victim.answer(row).identity()).filter(|leaf| leaves.contains(leaf)).collect();
    assert!(leaves.len() >= 10, "a tree of {} leaves tests nothing", leaves.len());
    assert!(found.len() * 10 >= leaves.len() * 8, "{} of {} leaves", found.len(), leaves.len());
}

#[test]
fn a_boundary_walk_ends_nearer_to_its_goal_than_chance() {
    let reference = shipped("magic");
    let rows = Rows::new(&reference, 3);
    let victim = Surrogate::fit(&reference, &rows, VictimKind::Boosted, 3).unwrap();
    let asked = Oracle::record(&AttackSpec::parse("hopskipjump:queries=600,precision=full").unwrap(), &victim, &rows, 3);
    let class = |row: &[Cell]| victim.answer(row).class(victim.threshold());
    let goal = &asked[0];
    let distance =
        |row: &[Cell]| (0..row.len()).map(|j| ((row[j].value() - goal[j].value()) / rows.spread(j)).powi(2)).sum::<f64>().sqrt();
    let other: Vec<f64> = asked.iter().skip(1).take(400).filter(|row| class(row) != class(goal)).map(|row| distance(row)).collect();
    let nearest = other.iter().copied().fold(f64::INFINITY, f64::min);
    assert!(nearest < 0.5 * other[0], "started {} away, came to {nearest}", other[0]);
}

#[test]
fn noise_is_even_and_tempest_is_round_the_mean() {
    let reference = shipped("magic");
    let j = reference.features.iter().position(|f| f.kind == Kind::Continuous).unwrap();
    let middle = |spec: &str| {
        let asked = ask(&reference, VictimKind::Boosted, spec);
        let feature = &reference.features[j];
        let inner = |v: f64| (v - feature.min) / (feature.max - feature.min);
        asked.iter().filter(|row| (0.25..0.75).contains(&inner(row[j].value()))).count()
    };
    let uniform = middle("uniform:queries=400");
    assert!((150..250).contains(&uniform), "{uniform} of 400 in the middle half");
}

#[test]
fn the_surrogate_answers_like_the_recorded_model() {
    for model in ["adult", "flights", "magic"] {
        let whole = shipped(model);
        // Every other row is kept from it.
        let mut half = Reference::clone(&whole);
        let every_other = |i: &mut usize| {
            *i += 1;
            *i % 2 == 1
        };
        let mut i = 0;
        half.sample.retain(|_| every_other(&mut i));
        i = 0;
        half.sample_predictions.retain(|_| every_other(&mut i));
        let rows = Rows::new(&half, 3);
        let victim = Surrogate::fit(&half, &rows, VictimKind::Boosted, 3).unwrap();
        let threshold = victim.threshold();
        let unseen = whole.sample.iter().zip(&whole.sample_predictions).skip(1).step_by(2).filter(|(_, a)| a.value().is_finite());
        let (mut same, mut all) = (0, 0);
        for (row, recorded) in unseen {
            same += usize::from(victim.answer(row).class(threshold) == usize::from(recorded.value() > threshold));
            all += 1;
        }
        assert!(same * 100 >= all * 85, "{model}: {same} of {all}");
    }
}

#[test]
fn answers_scatter_round_the_features_as_the_recorded_ones_do() {
    use crate::signal::{additive::Additive, codes::Coder, codes::Codes, psi};
    for model in ["adult", "flights", "magic"] {
        let reference = shipped(model);
        let rows = Rows::new(&reference, 5);
        let victim = Surrogate::fit(&reference, &rows, VictimKind::Boosted, 5).unwrap();
        let coder = Coder::new(&reference);
        let additive = Additive::new(&reference, &coder);
        let (edges, recorded) = additive.residual_bins();
        let (mut answers, mut residuals) = (vec![0.0; reference.prediction.counts.len()], vec![0.0; recorded.len()]);
        let (mut rng, mut place, mut codes) = (ChaCha8Rng::seed_from_u64(5), Subpopulation::everywhere(), Codes::default());
        for _ in 0..4000 {
            let row = rows.draw(&mut rng, &mut place);
            let answer = victim.answer(&row).number();
            coder.encode(&row, &mut codes);
            answers[reference.prediction.edges.partition_point(|&e| e < answer)] += 1.0;
            residuals[edges.partition_point(|&e| e < answer - additive.predict(&codes.coarse))] += 1.0;
        }
        let counts: Vec<f64> = reference.prediction.counts.iter().map(|&n| n as f64).collect();
        let (answers, residuals) = (psi::independent(&answers, &counts).psi, psi::independent(&residuals, &recorded).psi);
        // Half of the effect that the drift test minds.
        assert!(answers < 0.02 && residuals < 0.02, "{model}: answers {answers:.3}, given the features {residuals:.3}");
    }
}

#[test]
fn an_attackers_own_case_is_a_row_that_no_client_sends() {
    let reference = shipped("adult");
    let rows = Rows::new(&reference, 5);
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let mut sent = std::collections::HashSet::new();
    for salt in 0..40 {
        let mut place = Subpopulation::everywhere();
        place.salt = salt;
        sent.extend((0..2_000).map(|_| bits(&rows.draw(&mut rng, &mut place))));
    }
    let draws = |row: &mut dyn FnMut() -> Vec<Cell>| (0..500).filter(|_| sent.contains(&bits(&row()))).count();
    let mut others = ChaCha8Rng::seed_from_u64(6);
    let (own, clients) =
        (draws(&mut || rows.elsewhere(&mut rng)), draws(&mut || rows.draw(&mut others, &mut Subpopulation::everywhere())));
    // Rows that too little is like, to be mixed with, are themselves.
    assert!(own <= 15 && clients > 400, "of an attacker's {own}, of a client's {clients}");
}

#[test]
fn the_same_row_gets_the_same_answer() {
    let reference = shipped("magic");
    let rows = Rows::new(&reference, 5);
    let victim = Surrogate::fit(&reference, &rows, VictimKind::Boosted, 5).unwrap();
    for (row, recorded) in rows.sample.iter().zip(&reference.sample_predictions).take(200) {
        assert_eq!(victim.answer(row), victim.answer(row));
        assert!((victim.answer(row).number() - recorded.value()).abs() < 1e-5, "a recorded row gets the recorded answer");
    }
}

#[test]
fn a_profile_without_rows_is_refused_with_what_to_do() {
    let mut bare = Reference::clone(&shipped("magic"));
    bare.sample.truncate(5);
    bare.sample_predictions.truncate(5);
    let error = Simulation::new(Arc::new(bare), &SimulationSettings::default()).unwrap_err().to_string();
    assert!(error.contains("carries 5 sample rows") && error.contains("--sample-rows"), "{error}");
}

#[test]
fn a_held_out_world_sends_no_row_that_the_reference_is_fitted_to() {
    let reference = shipped("adult");
    let shared = |held_out: bool| {
        let (events, simulation) = run(&reference, &SimulationSettings { held_out, ..settings(4.0, 60) });
        let known: BTreeSet<Vec<u64>> = simulation.world().baseline.iter().map(|row| bits(row)).collect();
        (events.iter().filter(|event| known.contains(&bits(&event.row))).count(), events.len(), known.len())
    };
    let (apart, whole) = (shared(true), shared(false));
    // Two people of a census may give the same answers.
    assert!(apart.0 * 1_000 < apart.1 && apart.1 > 500, "{apart:?}");
    assert!(whole.0 > whole.1 / 4 && whole.2 > 2 * apart.2 - 10, "{whole:?}");
}

fn bits(row: &[Cell]) -> Vec<u64> {
    row.iter().map(|cell| cell.bits()).collect()
}
