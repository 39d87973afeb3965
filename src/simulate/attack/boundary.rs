//! Walking the decision boundary towards a chosen row, knowing labels alone.
//!
//! * HopSkipJump (Chen, Jordan and Wainwright, S&P 2020): bisect onto the boundary, estimate its normal from a cloud of small
//!   steps, jump along it, repeat.
//! * Boundary attack (Brendel, Rauber and Bethge, ICLR 2018): random steps orthogonal to the way home, then a step home, kept when
//!   the label stays wrong.
//!
//! Categories stay those of the starting row; numbers move in units of their spread.

use super::{Cell, Oracle, unit};

/// Bisection steps onto the boundary: a thousandth of the way.
const BISECTIONS: usize = 10;
/// Size of the first cloud that estimates the normal; it grows as B₀√t, the paper's schedule. Chosen: B₀ is 100 in the paper, for
/// images, and tables have fewer dimensions.
const CLOUD: f64 = 24.0;
/// Rounds of HopSkipJump per chosen row before the next one is taken. Chosen: the published attack runs on until it converges.
const HSJ_ROUNDS: usize = 12;

/// Steps of the Boundary attack per chosen row: about as many queries as HopSkipJump spends on one.
const WALK_STEPS: usize = 180;
/// First size of a step to the side and of a step towards the goal, as shares of the distance. Chosen, as are the factors by which
/// they adapt: a step grows after a success and shrinks after a failure (Brendel et al., section 2.3).
const FIRST_SIDEWAYS: f64 = 0.1;
const FIRST_HOMEWARD: f64 = 0.05;
/// Longest step towards the goal, as a share of the distance.
const MAX_HOMEWARD: f64 = 0.5;
/// Halvings of a jump along the normal before it is given up.
const JUMP_HALVINGS: usize = 8;
/// Random rows tried for a start of another class.
const STARTS: usize = 12;

/// HopSkipJump.
pub fn hop_skip_jump(oracle: &mut Oracle<'_>) -> Option<()> {
    let movable = oracle.movable();
    loop {
        let Some((goal, mut here, wanted)) = opposite(oracle, &movable)? else { continue };
        here = bisect(oracle, &goal, &here, &movable, wanted)?;
        for round in 1..=HSJ_ROUNDS {
            let distance = apart(oracle, &goal, &here, &movable).max(1e-3);
            let delta = distance / (movable.len() as f64).sqrt() / 4.0;
            let cloud = (CLOUD * (round as f64).sqrt()) as usize;
            let mut normal = vec![0.0; movable.len()];
            let mut signs = Vec::with_capacity(cloud);
            for _ in 0..cloud {
                let direction = oracle.direction(movable.len());
                let row = oracle.moved(&here, &movable, &direction, delta);
                let answer = oracle.ask(&row)?;
                signs.push((if oracle.class(&answer) == wanted { 1.0 } else { -1.0 }, direction));
            }
            let mean = signs.iter().map(|(s, _)| s).sum::<f64>() / cloud as f64;
            for (sign, direction) in &signs {
                normal.iter_mut().zip(direction).for_each(|(n, d)| *n += (sign - mean) * d);
            }
            let normal = unit(&normal);
            // Geometric search for a step that stays on the wrong side.
            let mut step = distance / (round as f64).sqrt();
            let mut jumped = here.clone();
            for _ in 0..JUMP_HALVINGS {
                let row = oracle.moved(&here, &movable, &normal, step);
                let answer = oracle.ask(&row)?;
                if oracle.class(&answer) == wanted {
                    jumped = row;
                    break;
                }
                step /= 2.0;
            }
            here = bisect(oracle, &goal, &jumped, &movable, wanted)?;
        }
    }
}

/// The Boundary attack.
pub fn boundary(oracle: &mut Oracle<'_>) -> Option<()> {
    let movable = oracle.movable();
    loop {
        let Some((goal, mut here, wanted)) = opposite(oracle, &movable)? else { continue };
        here = bisect(oracle, &goal, &here, &movable, wanted)?;
        let (mut sideways, mut homeward) = (FIRST_SIDEWAYS, FIRST_HOMEWARD);
        for _ in 0..WALK_STEPS {
            let distance = apart(oracle, &goal, &here, &movable);
            let direction = oracle.direction(movable.len());
            let aside = oracle.moved(&here, &movable, &direction, sideways * distance);
            let answer = oracle.ask(&aside)?;
            if oracle.class(&answer) != wanted {
                sideways *= 0.9;
                continue;
            }
            sideways *= 1.05;
            let closer = blend(&goal, &aside, &movable, 1.0 - homeward);
            let answer = oracle.ask(&closer)?;
            if oracle.class(&answer) == wanted {
                here = closer;
                homeward = (homeward * 1.1_f64).min(MAX_HOMEWARD);
            } else {
                here = aside;
                homeward *= 0.8;
            }
        }
    }
}

/// A row to imitate and a start of another class; the start takes over the goal's categories if that keeps it in its class.
/// The outer `None` is a spent budget, the inner one a goal without an opposite.
#[expect(clippy::type_complexity, reason = "read once, right here")]
fn opposite(oracle: &mut Oracle<'_>, movable: &[usize]) -> Option<Option<(Vec<Cell>, Vec<Cell>, usize)>> {
    let mut goal = oracle.real();
    for &j in movable {
        if !goal[j].value().is_finite() {
            goal[j] = Cell::number(oracle.rows.quantile(j, 0.5));
        }
    }
    let answer = oracle.ask(&goal)?;
    let own = oracle.class(&answer);
    for _ in 0..STARTS {
        let mut start = goal.clone();
        for &j in movable {
            start[j] = oracle.anything(j);
        }
        let answer = oracle.ask(&start)?;
        let class = oracle.class(&answer);
        if class != own {
            return Some(Some((goal, start, class)));
        }
    }
    Some(None)
}

fn blend(goal: &[Cell], far: &[Cell], movable: &[usize], share: f64) -> Vec<Cell> {
    let mut row = far.to_vec();
    for &j in movable {
        row[j] = Cell::number(goal[j].value() + share * (far[j].value() - goal[j].value()));
    }
    row
}

fn bisect(oracle: &mut Oracle<'_>, goal: &[Cell], far: &[Cell], movable: &[usize], wanted: usize) -> Option<Vec<Cell>> {
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..BISECTIONS {
        let middle = f64::midpoint(low, high);
        let answer = oracle.ask(&blend(goal, far, movable, middle))?;
        if oracle.class(&answer) == wanted {
            high = middle;
        } else {
            low = middle;
        }
    }
    Some(blend(goal, far, movable, high))
}

/// Distance in spreads.
fn apart(oracle: &Oracle<'_>, a: &[Cell], b: &[Cell], movable: &[usize]) -> f64 {
    movable.iter().map(|&j| ((a[j].value() - b[j].value()) / oracle.rows.spread(j)).powi(2)).sum::<f64>().sqrt()
}
