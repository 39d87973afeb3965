//! The table as docs/adversary.md, and whether the committed one is still true.

use std::fmt::Write as _;
use std::path::PathBuf;

use super::plan::{AttackPlan, RowSource};
use super::table::{ATTACKS, Attack, Goal, PlanResult, TestBed, disguises, settings};

/// Models of the table.
pub const MODELS: [&str; 2] = ["adult", "flights"];
/// Seeds of the table: each is another day of honest traffic, another victim, another attack. The tests play the first.
pub const SEEDS: [u64; 3] = [11, 12, 13];
/// Salt that the attacker does not know, by seed.
pub fn salt(seed: u64) -> u64 {
    tripline::hash::mix(seed ^ 0x5a17)
}

/// One attack in one disguise on one model, over some seeds.
pub struct TableRow {
    attack: &'static str,
    model: &'static str,
    /// One line a seed.
    pub lines: Vec<PlanResult>,
}

/// Plays every attack in every disguise; models side by side.
pub fn play(models: &[&'static str], seeds: &[u64]) -> Vec<TableRow> {
    std::thread::scope(|scope| {
        let played: Vec<_> =
            models.iter().map(|&model| scope.spawn(move || play_model(model, seeds, &ATTACKS, disguises))).collect();
        played.into_iter().flat_map(|model| model.join().unwrap()).collect()
    })
}

fn play_model(
    model: &'static str,
    seeds: &[u64],
    attacks: &[Attack],
    plans: fn(RowSource, usize) -> Vec<AttackPlan>,
) -> Vec<TableRow> {
    let mut rows: Vec<TableRow> = Vec::new();
    for &seed in seeds {
        let bed = TestBed::new(model, seed);
        let mut nth = 0;
        for &(attack, goal, source, budget) in attacks {
            for plan in plans(source, budget) {
                let line = bed.play(plan, goal, seed, settings(&plan, salt(seed)));
                if nth == rows.len() {
                    rows.push(TableRow { attack, model, lines: Vec::new() });
                }
                rows[nth].lines.push(line);
                nth += 1;
            }
        }
    }
    rows
}

/// The first line of each table, played again with all seeds: attack, and how many of its queries are answered.
pub fn spot_check() -> Vec<(&'static str, f64)> {
    let plain = |source, budget| vec![AttackPlan::plain(source, budget)];
    let rows = play_model(MODELS[1], &SEEDS, &ATTACKS, plain);
    rows.iter().map(|row| (row.attack, row.median(|line| line.answered as f64))).collect()
}

/// How many queries of an undisguised attack are answered, as a committed page says.
pub fn stated(page: &str, attack: &str) -> Option<f64> {
    let section = page.split("\n### ").find(|section| section.to_lowercase().starts_with(&attack.to_lowercase()))?;
    let line = section.lines().find(|line| line.starts_with(&format!("| {} | none |", MODELS[1])))?;
    line.split('|').nth(4)?.trim().split(' ').next()?.parse().ok()
}

impl TableRow {
    /// The attack's name.
    pub fn attack(&self) -> &'static str {
        self.attack
    }

    /// The model's name.
    pub fn model(&self) -> &'static str {
        self.model
    }

    fn median(&self, of: impl Fn(&PlanResult) -> f64) -> f64 {
        let mut values: Vec<f64> = self.lines.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    }

    fn cells(&self) -> String {
        let first = &self.lines[0];
        let named = self.lines.iter().filter(|line| line.callers.1 > 0).count();
        let callers = self.median(|line| line.callers.1 as f64 / line.callers.0 as f64);
        let hours = match named {
            0 => "–".to_owned(),
            _ => format!("{:.2}", self.median(|line| line.hours.unwrap_or(f64::INFINITY))).replace("inf", "–"),
        };
        let worth = |nth: usize| {
            let value = self.median(|line| line.worth[nth]);
            match (first.goal, value.is_finite()) {
                (_, false) => "–".to_owned(),
                (Goal::Copy, _) => format!("{:.1}%", 100.0 * value),
                (Goal::Evasion, _) => format!("{value:.2}"),
            }
        };
        format!(
            "| {} | {} | {named} of {} | {:.0} of {:.0} | {:.0}% | {hours} | {} | {} | {} | {:.0}% | {:.0} |",
            self.model,
            first.plan.name,
            self.lines.len(),
            self.median(|line| line.answered as f64),
            self.median(|line| line.queries as f64),
            100.0 * callers,
            worth(0),
            worth(2),
            worth(1),
            100.0 * self.median(PlanResult::share),
            self.median(|line| line.sent as f64),
        )
    }
}

/// The generated part of the page.
pub fn render(rows: &[TableRow]) -> String {
    let mut page = String::new();
    for (attack, goal, ..) in ATTACKS {
        let (nothing, got, all) = match goal {
            Goal::Copy => ("guessing", "got", "undefended"),
            Goal::Evasion => ("first case", "got", "undefended"),
        };
        let what = match goal {
            Goal::Copy => "Worth: share of new rows on which the copy says what the model says.",
            Goal::Evasion => {
                "Worth: distance of the nearest case that fools the model, in spreads of the features; smaller is better for the attacker."
            }
        };
        let _ = write!(page, "\n### {}{}\n\n{what}\n\n", attack[..1].to_uppercase(), &attack[1..]);
        let _ = writeln!(
            page,
            "| model | disguise | named | answered before | callers named | hours to the first verdict | {nothing} | {got} | {all} | share of the gain | queries sent |"
        );
        page.push_str("|---|---|---|---|---|---|---|---|---|---|---|\n");
        for row in rows.iter().filter(|row| row.attack == attack) {
            page.push_str(&row.cells());
            page.push('\n');
        }
    }
    page
}

/// The committed page.
pub fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/adversary.md")
}

/// What comes before the tables.
pub const HEAD: &str = include_str!("page.txt");
