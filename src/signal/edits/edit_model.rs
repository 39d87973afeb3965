//! How somebody edits, learned over all his trails: what a machine would do next, as a probability.
//!
//! Half of the belief is in a machine that always does the thing, half in one whose rate is learned (Krichevsky and Trofimov 1981).
//! Whoever goes on from row to row, a dozen queries each, is learned once.

/// A machine that always does something does it so often.
const STEADY: f64 = 0.98;

/// How somebody edits, over all his trails.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct EditModel {
    /// Belief that it changes one feature at a time, from trails of some length.
    pub(super) one_at_a_time: f32,
    pub(super) fresh: Bet,
    pub(super) midpoint: Bet,
    pub(super) even: Bet,
    pub(super) blank: Bet,
    pub(super) size: Bet,
    /// What the most machine-like session showed: even notches, steps that no hand makes, lists, tables.
    most: [f32; 4],
    /// Whether steps of several features are equal shares of their scales.
    pub(super) level: Bet,
    /// Whether the tables that are begun grow large, and whether one is begun.
    tables: Bet,
    begun: bool,
}

/// A machine's yes or no: always yes, or at a rate that is learned.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub(super) struct Bet {
    /// Belief in "always".
    pub(super) always: f32,
    yes: f32,
    no: f32,
}

// === impl Bet ===

impl Default for Bet {
    fn default() -> Self {
        Self { always: 0.5, yes: 0.5, no: 0.5 }
    }
}

impl Bet {
    /// Probability that the machine does what was done; then learns it.
    pub(super) fn learn(&mut self, yes: bool) -> f64 {
        let steady = if yes { STEADY } else { 1.0 - STEADY };
        let learned = f64::from(if yes { self.yes } else { self.no } / (self.yes + self.no));
        let always = f64::from(self.always);
        let both = always * steady + (1.0 - always) * learned;
        self.always = (always * steady / both) as f32;
        *if yes { &mut self.yes } else { &mut self.no } += 1.0;
        both
    }

    /// Few machines do it.
    fn rare() -> Self {
        Self { always: 0.05, yes: 0.1, no: 0.9 }
    }

    /// Log-likelihood ratio against a person who does it with probability `chance` at most. A machine that does it less often than
    /// that is no evidence, either way.
    pub(super) fn weigh(&mut self, yes: bool, chance: f64) -> f64 {
        let happened = self.learn(yes);
        let rate = (if yes { happened } else { 1.0 - happened }).max(chance);
        if yes { (rate / chance).ln() } else { ((1.0 - rate) / (1.0 - chance)).ln() }
    }
}

// === impl EditModel ===

impl Default for EditModel {
    fn default() -> Self {
        let bet = Bet::default();
        Self {
            one_at_a_time: bet.always,
            fresh: bet,
            midpoint: bet,
            even: bet,
            blank: Bet::rare(),
            size: bet,
            most: [0.0; 4],
            level: bet,
            tables: bet,
            begun: false,
        }
    }
}

impl EditModel {
    /// A table of a trail has got its `cells`-th cell; from `large` on it is one that people fill with probability `chance`. That the one
    /// before did not become large is known when the next one is begun.
    pub(super) fn table(&mut self, cells: u32, large: u32, chance: f64) -> f64 {
        if cells == large {
            self.begun = false;
            return self.tables.weigh(true, chance);
        }
        let small = cells == 1 && std::mem::replace(&mut self.begun, true);
        if small { self.tables.weigh(false, chance) } else { 0.0 }
    }

    /// What a session adds to the most machine-like one before it.
    pub(super) fn beyond(&mut self, which: usize, shown: f64) -> f64 {
        let most = f64::from(self.most[which]);
        self.most[which] = shown.max(most) as f32;
        (shown - most).max(0.0)
    }
}
