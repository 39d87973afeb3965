//! Changes of the world: what happens to honest rows and answers, and from when on.
//!
//! A drift changes what callers send (or what the model answers) without anybody probing. Chances follow the draw of a row, not
//! the moment it is sent, so that a retry or an edit of one row drifts exactly as the row did.

use super::SimulateError;
use super::chance::stream;
use super::rows::Rows;
use super::spec::{KeyedSpec, fault};
use super::victim::Answer;
use crate::event::{Cell, EventTime};
use crate::hash::mix2;
use crate::reference::Kind;

/// Kinds of drift.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DriftKind {
    /// Numbers move slowly away from where they were.
    Gradual,
    /// One feature changes its unit for everybody at once.
    Unit,
    /// Values go missing, ever more.
    Missing,
    /// Some honest rows become likelier than others.
    Seasonal,
    /// A tenth of the clients changes the unit of one feature.
    Rollout,
    /// The same questions get other answers.
    Concept,
}

impl DriftKind {
    /// Every kind.
    pub const ALL: [Self; 6] = [Self::Gradual, Self::Unit, Self::Missing, Self::Seasonal, Self::Rollout, Self::Concept];

    /// The word on the command line and in the truth file.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gradual => "gradual",
            Self::Unit => "unit",
            Self::Missing => "missing",
            Self::Seasonal => "seasonal",
            Self::Rollout => "rollout",
            Self::Concept => "concept",
        }
    }

    /// What happens, in words that go before the features' names.
    pub const fn in_words(self) -> &'static str {
        match self {
            Self::Gradual => "slow change of",
            Self::Unit => "new unit of",
            Self::Missing => "more and more missing values of",
            Self::Seasonal => "another season, seen in",
            Self::Rollout => "a tenth of the clients changes the unit of",
            Self::Concept => "the same questions get other answers",
        }
    }
}

/// A drift as asked for.
#[derive(Clone, PartialEq, Debug)]
pub struct DriftSpec {
    /// Kind.
    pub kind: DriftKind,
    /// Hours after the start at which it begins.
    pub start: f64,
    /// Hours until it is complete; 0 for at once.
    pub span: f64,
    /// How strong, 1 being plain to see.
    pub strength: f64,
    /// Feature names; chosen by kind and seed when empty.
    pub features: Vec<String>,
    /// Factor of a change of unit.
    pub factor: f64,
}

// === impl DriftSpec ===

impl DriftSpec {
    /// Reads `KIND[:start=H,span=H,strength=S,features=a+b,factor=F]`.
    pub fn parse(text: &str) -> Result<Self, SimulateError> {
        let mut spec = KeyedSpec::new(text)?;
        let Some(kind) = DriftKind::ALL.into_iter().find(|k| k.name() == spec.name()) else {
            let known = DriftKind::ALL.map(DriftKind::name).join(", ");
            return Err(fault(text, format!("there is no such drift; kinds are {known}")));
        };
        let slow = matches!(kind, DriftKind::Gradual | DriftKind::Missing);
        let parsed = Self {
            kind,
            start: spec.number("start", 8.0, 0.0, 9000.0)?,
            span: spec.number("span", if slow { 8.0 } else { 0.0 }, 0.0, 9000.0)?,
            strength: spec.number("strength", 1.0, 0.01, 10.0)?,
            features: spec.text("features").map(|t| t.split('+').map(str::to_string).collect()).unwrap_or_default(),
            // Miles to kilometres for everybody; a tenth of the clients has to go from centimetres to millimetres to be seen at all.
            factor: spec.number("factor", if kind == DriftKind::Rollout { 10.0 } else { 1.609 }, -1e6, 1e6)?,
        };
        spec.finish()?;
        Ok(parsed)
    }
}

/// A drift bound to a world.
#[derive(Clone, Debug)]
pub struct Drift {
    spec: DriftSpec,
    features: Vec<usize>,
    /// When it begins.
    pub start: EventTime,
    salt: u64,
}

/// How a season prefers rows.
#[derive(Clone, Copy, Debug)]
pub struct Bias {
    /// Share of draws that are decided by preference, 0 to 1.
    pub strength: f64,
    feature: usize,
}

// === impl Bias ===

impl Bias {
    /// What the season prefers: high values of a feature (or categories that come late in the list).
    pub fn score(&self, rows: &Rows, row: &[Cell]) -> f64 {
        match rows.features[self.feature].kind {
            Kind::Categorical => row[self.feature].value(),
            _ => rows.rank(self.feature, row[self.feature]),
        }
    }
}

// === impl Drift ===

impl Drift {
    /// Binds a drift: finds its features, or chooses some that make sense for its kind.
    pub fn new(spec: &DriftSpec, rows: &Rows, start: EventTime, seed: u64) -> Result<Self, SimulateError> {
        let salt = mix2(seed, spec.kind as u64 ^ stream::DRIFT);
        let mut features = Vec::new();
        for name in &spec.features {
            match rows.features.iter().position(|f| f.name == *name) {
                Some(j) => features.push(j),
                None => return Err(fault(spec.kind.name(), format!("the profile has no feature '{name}'"))),
            }
        }
        if features.is_empty() {
            features = choose(spec.kind, rows, salt);
        }
        let needs_numbers = matches!(spec.kind, DriftKind::Gradual | DriftKind::Unit | DriftKind::Rollout);
        if needs_numbers && (features.is_empty() || features.iter().any(|&j| !rows.features[j].is_numeric())) {
            return Err(fault(spec.kind.name(), "needs a feature that holds numbers".into()));
        }
        let start = EventTime::from_micros(start.micros() + (spec.start * 3.6e9) as i64);
        Ok(Self { spec: spec.clone(), features, start, salt })
    }

    /// Kind.
    pub fn kind(&self) -> DriftKind {
        self.spec.kind
    }

    /// Names of the features it touches.
    pub fn features(&self, rows: &Rows) -> Vec<String> {
        self.features.iter().map(|&j| rows.features[j].name.clone()).collect()
    }

    /// How far it has come, 0 to 1.
    pub fn progress(&self, at: EventTime) -> f64 {
        let hours = at.seconds_since(self.start) / 3600.0;
        match hours {
            h if h < 0.0 => 0.0,
            h if self.spec.span > 0.0 => (h / self.spec.span).min(1.0),
            _ => 1.0,
        }
    }

    /// The preference of a season, if this is one and it has begun.
    pub fn bias(&self, at: EventTime) -> Option<Bias> {
        let strength = (0.7 * self.spec.strength * self.progress(at)).min(1.0);
        (self.spec.kind == DriftKind::Seasonal && strength > 0.0 && !self.features.is_empty())
            .then(|| Bias { strength, feature: self.features[0] })
    }

    /// Changes a row that was drawn at `drawn_at`; `draw` decides chances of rows, `client` those of clients.
    pub fn apply(&self, rows: &Rows, row: &mut [Cell], drawn_at: EventTime, draw: u64, client: u64) {
        let progress = self.progress(drawn_at);
        if progress <= 0.0 {
            return;
        }
        for &j in &self.features {
            let value = row[j].value();
            match self.spec.kind {
                DriftKind::Gradual if value.is_finite() => {
                    let moved = rows.snap(j, value + 0.8 * self.spec.strength * progress * rows.spread(j)).value();
                    row[j] = nearest_known(rows, j, moved);
                }
                DriftKind::Unit if value.is_finite() => row[j] = converted(rows, j, value * self.spec.factor),
                // The share of clients is the strength: a tenth by default.
                DriftKind::Rollout if value.is_finite() && share(self.salt, client) < 0.1 * self.spec.strength => {
                    row[j] = converted(rows, j, value * self.spec.factor);
                }
                DriftKind::Missing if share(self.salt ^ j as u64, draw) < 0.35 * self.spec.strength * progress => {
                    row[j] = Cell::MISSING;
                }
                _ => {}
            }
        }
    }

    /// Changes an answer.
    pub fn answer(&self, answer: &mut Answer, at: EventTime, row: &[Cell]) {
        if self.spec.kind != DriftKind::Concept || self.progress(at) <= 0.0 {
            return;
        }
        let amount = 0.35 * self.spec.strength * self.progress(at);
        match answer {
            Answer::Score(score) if (0.0..=1.0).contains(score) => {
                // Odds grow by the same factor everywhere.
                let odds = (*score / (1.0 - *score).max(1e-9)) * (3.0 * amount).exp();
                *score = (odds / (1.0 + odds) * 1e6).round() / 1e6;
            }
            Answer::Score(score) => *score *= 1.0 + amount,
            // The same question keeps its new answer: the chance follows the row.
            Answer::Label(label) => {
                let hash = row.iter().fold(self.salt, |h, cell| mix2(h, cell.bits()));
                if share(self.salt, hash) < amount {
                    *label = label.saturating_sub(1);
                }
            }
            Answer::Probabilities(p) => {
                if let Some(first) = p.first_mut() {
                    *first *= (3.0 * amount).exp();
                }
                let sum: f64 = p.iter().sum();
                p.iter_mut().for_each(|v| *v = (*v / sum * 1e6).round() / 1e6);
            }
        }
    }
}

fn share(salt: u64, key: u64) -> f64 {
    mix2(salt, key) as f64 / u64::MAX as f64
}

fn converted(rows: &Rows, j: usize, value: f64) -> Cell {
    // A new unit has digits of its own: one more than the old one.
    let scale = 10_f64.powi(i32::from(rows.features[j].decimals.min(5)) + 1);
    Cell::number((value * scale).round() / scale)
}

/// A discrete feature stays on its values: a shifted world has other counts, not values that do not exist.
fn nearest_known(rows: &Rows, j: usize, value: f64) -> Cell {
    let feature = &rows.features[j];
    if feature.kind == Kind::Continuous {
        return Cell::number(value);
    }
    let nearest = feature.support.iter().copied().min_by(|a, b| (a - value).abs().total_cmp(&(b - value).abs()));
    Cell::number(nearest.unwrap_or(value))
}

/// Features that make sense for a kind: numbers with many values for shifts, one of them for units, three of any kind for missing.
fn choose(kind: DriftKind, rows: &Rows, salt: u64) -> Vec<usize> {
    let continuous: Vec<usize> = (0..rows.features.len()).filter(|&j| rows.features[j].kind == Kind::Continuous).collect();
    let mut pool = match kind {
        DriftKind::Missing => (0..rows.features.len()).collect(),
        // A feature that is zero for most rows does not show a change of unit.
        _ if !continuous.is_empty() => {
            let varied: Vec<usize> =
                continuous.iter().copied().filter(|&j| rows.quantile(j, 0.25) < rows.quantile(j, 0.75)).collect();
            if varied.is_empty() { continuous } else { varied }
        }
        _ => rows.numeric(),
    };
    pool.sort_by_key(|&j| (mix2(salt, j as u64), j));
    pool.truncate(match kind {
        DriftKind::Gradual => 2,
        DriftKind::Missing => 3,
        DriftKind::Unit | DriftKind::Rollout | DriftKind::Seasonal => 1,
        DriftKind::Concept => 0,
    });
    pool
}
