//! How a sender edits, learned over all its chains of edits: what a machine would do next, as a probability.
//!
//! Half of the belief is in a machine that always does the thing, half in one whose rate is learned (Krichevsky and Trofimov 1981).
//! Rates belong to the sender and not to the chain: a machine that goes on from row to row, a dozen queries each, is learned once.

/// Probability with which a machine that always does something does it. Chosen: below 1, so that one exception in fifty steps (a
/// retry, a rounding) does not refute it.
const STEADY: f64 = 0.98;
/// Belief in "always", and counts of yes and no, before anything was seen: even odds, and half a count each (Krichevsky and Trofimov
/// 1981).
const EVEN_ODDS: f32 = 0.5;
/// The same for what few machines do. Chosen: one machine in twenty always does it, the others in a tenth of their steps.
const RARE: f32 = 0.05;
const RARE_RATE: f32 = 0.1;

/// Evidence of which only what the most machine-like chain shows is counted.
#[derive(Clone, Copy, Debug)]
pub(super) enum Capped {
    /// Even notches and ends of ranges, which a page's sliders may have.
    Notches,
    /// Equal steps that are not round.
    Unround,
    /// Items of a list tried one after the other.
    List,
    /// Tables of two features' values.
    Table,
}

/// How a sender edits, over all its chains.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct EditModel {
    /// Belief that it changes one feature at a time, from chains of some length.
    pub(super) one_at_a_time: f32,
    /// Whether it goes on to a field not touched before.
    pub(super) fresh: Bet,
    /// Whether values are exact midpoints.
    pub(super) midpoint: Bet,
    /// Whether steps equal the one before.
    pub(super) even: Bet,
    /// Whether more fields are left empty from row to row.
    pub(super) blank: Bet,
    /// Whether steps are as large as one taken elsewhere.
    pub(super) size: Bet,
    /// What the most machine-like chain showed, by [`Capped`], in nats.
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
        Self { always: EVEN_ODDS, yes: 0.5, no: 0.5 }
    }
}

impl Bet {
    /// A bet on what few machines do.
    fn rare() -> Self {
        Self { always: RARE, yes: RARE_RATE, no: 1.0 - RARE_RATE }
    }

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
    /// A table of a chain has got its `cells`-th cell; from `large` on it is one that people fill with probability `chance`. That the
    /// table before did not become large is known when the next one is begun.
    pub(super) fn table(&mut self, cells: u32, large: u32, chance: f64) -> f64 {
        if cells == large {
            self.begun = false;
            return self.tables.weigh(true, chance);
        }
        let small = cells == 1 && std::mem::replace(&mut self.begun, true);
        if small { self.tables.weigh(false, chance) } else { 0.0 }
    }

    /// What a chain adds to the most machine-like one before it.
    pub(super) fn beyond(&mut self, which: Capped, shown: f64) -> f64 {
        let most = &mut self.most[which as usize];
        let before = f64::from(*most);
        *most = shown.max(before) as f32;
        (shown - before).max(0.0)
    }
}
