//! One line per plan: how far the attacker got, and at which cost.

use std::collections::BTreeSet;

use tripline::engine::EngineConfig;
use tripline::event::Cell;
use tripline::simulate::attack::AttackKind;

use super::gain::{Copy, HeldOut, distance};
use super::plan::{AttackPlan, RowSource};
use super::scenario::{Judgement, Operation, Purpose, Scenario};
use tripline::simulate::victim::Victim as _;

/// What an attack is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Goal {
    /// A copy of the model.
    Copy,
    /// An input near a chosen one that the model takes for something else.
    Evasion,
}

/// A plan and what came of it.
#[derive(Clone, Debug)]
pub struct PlanResult {
    /// The plan.
    pub plan: AttackPlan,
    /// What it is for.
    pub goal: Goal,
    /// Everything that the attacker sends, with cover, shams and chaff.
    pub sent: usize,
    /// Queries of the attack itself.
    pub queries: usize,
    /// Those that were answered before their sender was named.
    pub answered: usize,
    /// Callers of the attack, and how many of them were named.
    pub callers: (usize, usize),
    /// Hours from the first query of the attack to the first verdict; `None` if there was none.
    pub hours: Option<f64>,
    /// Copy: agreement with nothing, with all answers, and with the answers before the verdict. Evasion: distance of the first opposite
    /// case, the nearest of all, and the nearest before the verdict.
    pub worth: [f64; 3],
    /// Honest callers named.
    pub wronged: BTreeSet<String>,
}

/// A scenario with what the measuring needs.
pub struct TestBed {
    /// The scenario.
    pub scenario: Scenario,
    held_out: HeldOut,
}

// === impl PlanResult ===

impl PlanResult {
    /// Part of what an undefended attack gains that this one gained, 0 to 1.
    pub fn share(&self) -> f64 {
        let [nothing, all, got] = self.worth;
        if !nothing.is_finite() || (all - nothing).abs() < 1e-9 {
            return 0.0;
        }
        if got.is_finite() { ((got - nothing) / (all - nothing)).clamp(0.0, 1.0) } else { 0.0 }
    }
}

// === impl TestBed ===

impl TestBed {
    /// A model's day, by seed.
    pub fn new(model: &str, seed: u64) -> Self {
        let scenario = Scenario::new(model, seed);
        let held_out = HeldOut::new(&scenario);
        Self { scenario, held_out }
    }

    /// Plays a plan against a judge with this salt.
    pub fn play(&self, plan: AttackPlan, goal: Goal, seed: u64, config: EngineConfig) -> PlanResult {
        let rows = plan.rows(&self.scenario, seed);
        let operation = plan.operation(&self.scenario, &rows, seed);
        let outcome = self.scenario.judge(&operation, config);
        self.line(plan, goal, &rows, &operation, &outcome)
    }

    fn line(
        &self,
        plan: AttackPlan,
        goal: Goal,
        rows: &[(Vec<Cell>, f64)],
        operation: &Operation,
        outcome: &Judgement,
    ) -> PlanResult {
        let own: Vec<(usize, &[Cell], f64)> = operation
            .sent
            .iter()
            .enumerate()
            .filter(|(_, sent)| sent.part == Purpose::Attack)
            .map(|(nth, sent)| (nth, sent.row.as_slice(), self.scenario.world().victim.answer(&sent.row).number()))
            .collect();
        let all: Vec<(&[Cell], f64)> = own.iter().map(|&(_, row, score)| (row, score)).collect();
        let got: Vec<(&[Cell], f64)> =
            own.iter().filter(|(nth, ..)| outcome.answered[*nth]).map(|&(_, row, score)| (row, score)).collect();
        let worth = match goal {
            Goal::Copy => {
                let agreement = |data: &[(&[Cell], f64)]| {
                    self.held_out.agreement(&Copy::train(&self.scenario.world().rows.features, data, self.held_out.common()))
                };
                [agreement(&[]), agreement(&all), agreement(&got)]
            }
            Goal::Evasion => self.fooled(rows, &all, &got),
        };
        let first = own.first().map(|(nth, ..)| operation.sent[*nth].at);
        let named = outcome.named.iter().filter(|(sender, _)| **sender < plan.addresses);
        let hours = named.clone().map(|(_, at)| *at).min().zip(first).map(|(at, first)| at.seconds_since(first) / 3600.0);
        PlanResult {
            plan,
            goal,
            sent: operation.sent.len(),
            queries: all.len(),
            answered: got.len(),
            callers: (plan.addresses, named.count()),
            hours,
            worth,
            wronged: outcome.wronged.clone(),
        }
    }

    fn fooled(&self, rows: &[(Vec<Cell>, f64)], all: &[(&[Cell], f64)], got: &[(&[Cell], f64)]) -> [f64; 3] {
        // The first case is the goal; an attack that finds no opposite of it goes on to the next one.
        for (nth, (goal, _)) in rows.iter().enumerate().take(40) {
            let first = (nth + 1..rows.len())
                .map(|to| distance(&self.scenario, goal, &[(&rows[to].0, rows[to].1)]))
                .find(|d| d.is_finite());
            let nearest = distance(&self.scenario, goal, all);
            if let Some(first) = first
                && nearest < 0.7 * first
            {
                return [first, nearest, distance(&self.scenario, goal, got)];
            }
        }
        [f64::INFINITY; 3]
    }
}

/// An attack, undisguised and in every disguise.
pub fn disguises(source: RowSource, budget: usize) -> Vec<AttackPlan> {
    let plain = AttackPlan::plain(source, budget);
    let hours = 5.0;
    if source == RowSource::Careful {
        // Its rows are ordinary, so there is nothing to hide but their number.
        return vec![
            plain,
            AttackPlan { name: "30 addresses", addresses: 30, hours, ..plain },
            AttackPlan { name: "an honest past", past: 8.5, hours, ..plain },
        ];
    }
    vec![
        plain,
        AttackPlan { name: "30 addresses", addresses: 30, hours, ..plain },
        AttackPlan { name: "cover, 3 of 4", cover: 0.75, hours, ..plain },
        AttackPlan { name: "jittered steps", jitter: 0.1, hours, ..plain },
        AttackPlan { name: "slow", hours: 6.5, ..plain },
        AttackPlan { name: "careful format", care: true, hours, ..plain },
        AttackPlan { name: "an honest past", past: 8.5, hours, ..plain },
        AttackPlan { name: "24 shams", shams: 24, hours, ..plain },
        AttackPlan { name: "blinded columns", shams: 24, blind: true, hours, ..plain },
        AttackPlan { name: "chaff", chaff: 400, hours: 6.5, ..plain },
        AttackPlan {
            name: "all but chaff",
            addresses: 30,
            cover: 0.75,
            hours: 6.5,
            jitter: 0.1,
            care: true,
            past: 8.5,
            shams: 24,
            ..plain
        },
    ]
}

/// Settings of the judge: the defaults, and a salt that the attacker does not know. Against chaff, a memory for 300 callers and
/// 2048 rows, which 400 strangers and their rows overflow as a hundred thousand would the default.
pub fn settings(plan: &AttackPlan, salt: u64) -> EngineConfig {
    let config = EngineConfig { salt, ..EngineConfig::default() };
    if plan.chaff > 0 { EngineConfig { max_clients: 300, max_history: 2048, ..config } } else { config }
}

/// An attack of the table: its name, what for, with which rows, how many.
pub type Attack = (&'static str, Goal, RowSource, usize);

/// The attacks of the table.
pub const ATTACKS: [Attack; 4] = [
    ("copy, active learning from noise", Goal::Copy, RowSource::Published(AttackKind::Active), 600),
    ("copy, uniform noise", Goal::Copy, RowSource::Published(AttackKind::Uniform), 600),
    ("copy, real rows remixed with care", Goal::Copy, RowSource::Careful, 600),
    ("evasion, HopSkipJump", Goal::Evasion, RowSource::Published(AttackKind::HopSkipJump), 400),
];
