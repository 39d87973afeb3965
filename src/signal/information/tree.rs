//! The model's regions as far as its reference shows them: a decision tree of the recorded answers.
//!
//! The tree is grown on the reference's rows and the model's recorded answers, as the source tree of the extraction monitor is
//! (Kesarwani et al. 2018, §3), so each leaf is a region in which the model answers differently from its neighbours. Splits are those of
//! CART (Breiman et al. 1984): variance of scores, Gini impurity of classes.

use crate::reference::{Feature, PredictionKind, Reference};
use crate::signal::codes::{Coder, Codes};

/// Most leaves: as many as a bitset of 32 bytes holds.
pub(super) const LEAVES: usize = 256;
/// Fewest reference rows of a leaf. Chosen: below ten its mass would be an accident of the sample (a relative error of a third).
const LEAF_ROWS: usize = 10;
/// Deepest leaf, and so the most comparisons that a row costs. Chosen: twice the depth of a balanced tree of [`LEAVES`].
const DEPTH: u32 = 16;
/// Answer classes that the tree tells apart; further ones share the last. Chosen: sums are kept per class.
const CLASSES: usize = 16;
/// Least gain of a split, relative to the whole: below it is rounding, and the answers are all alike.
const LEAST_GAIN: f64 = 1e-9;

/// A tree of the answers.
#[derive(Clone, Debug)]
pub(super) struct AnswerTree {
    nodes: Vec<Node>,
    /// Share of the reference's rows by leaf.
    mass: Vec<f32>,
}

/// A node of the tree; `left` says which codes of the feature go left.
#[derive(Clone, Debug)]
enum Node {
    Split { feature: usize, left: Vec<bool>, children: [u32; 2] },
    Leaf(u32),
}

// === impl AnswerTree ===

impl AnswerTree {
    /// Grows the tree of a reference.
    pub(super) fn new(reference: &Reference, coder: &Coder) -> Self {
        let (nodes, counts) = Grower::new(reference, coder).grow();
        let total = counts.iter().sum::<usize>().max(1) as f64;
        Self { nodes, mass: counts.iter().map(|&n| (n as f64 / total) as f32).collect() }
    }

    /// Share of the reference's rows by leaf.
    pub(super) fn mass(&self) -> &[f32] {
        &self.mass
    }

    /// The leaf of a row.
    #[inline]
    pub(super) fn leaf(&self, codes: &Codes) -> usize {
        let mut at = 0;
        loop {
            match &self.nodes[at] {
                Node::Leaf(leaf) => return *leaf as usize,
                Node::Split { feature, left, children } => {
                    let goes_left = left.get(usize::from(codes.fine[*feature])).copied().unwrap_or(false);
                    at = children[usize::from(!goes_left)] as usize;
                }
            }
        }
    }
}

/// Grows the tree, best split first, so that a bounded number of leaves lies where answers differ most.
struct Grower {
    codes: Vec<Vec<u16>>,
    /// Per row: the score, or the class as one of [`CLASSES`].
    answers: Vec<f64>,
    classes: usize,
    sizes: Vec<usize>,
    ordered: Vec<bool>,
}

/// A leaf that may be split further.
struct Open {
    node: usize,
    depth: u32,
    rows: Vec<u32>,
    split: Option<Split>,
}

/// The best split of a leaf.
struct Split {
    gain: f64,
    feature: usize,
    left: Vec<bool>,
}

// === impl Grower ===

impl Grower {
    fn new(reference: &Reference, coder: &Coder) -> Self {
        let classes = match reference.prediction.kind {
            PredictionKind::Score => 1,
            PredictionKind::Label | PredictionKind::Probabilities => reference.prediction.classes.len().clamp(1, CLASSES),
        };
        let mut grower = Self {
            codes: Vec::new(),
            answers: Vec::new(),
            classes,
            sizes: reference.features.iter().map(Feature::codes).collect(),
            ordered: reference.features.iter().map(Feature::is_numeric).collect(),
        };
        let mut codes = Codes::default();
        for (row, answer) in reference.sample.iter().zip(&reference.sample_predictions) {
            if answer.value().is_finite() {
                coder.encode(row, &mut codes);
                grower.codes.push(codes.fine.clone());
                grower.answers.push(answer.value());
            }
        }
        grower
    }

    /// Components of a row's answer: the score itself, or an indicator of its class.
    fn class(&self, row: usize) -> (usize, f64) {
        if self.classes == 1 { (0, self.answers[row]) } else { ((self.answers[row].max(0.0) as usize).min(self.classes - 1), 1.0) }
    }

    /// The nodes, and the rows of each leaf.
    fn grow(&self) -> (Vec<Node>, Vec<usize>) {
        let all: Vec<u32> = (0..self.answers.len() as u32).collect();
        let split = self.best_split(&all);
        let mut nodes = vec![Node::Leaf(0)];
        let mut open = vec![Open { node: 0, depth: 0, rows: all, split }];
        while open.len() < LEAVES {
            let gain = |o: &Open| o.split.as_ref().map_or(f64::NEG_INFINITY, |s| s.gain);
            let best = (0..open.len()).max_by(|&a, &b| gain(&open[a]).total_cmp(&gain(&open[b])).then(b.cmp(&a)));
            let Some(at) = best else { break };
            let Some(split) = open[at].split.take() else { break };
            let (node, depth, rows) = (open[at].node, open[at].depth + 1, std::mem::take(&mut open[at].rows));
            let (left, right): (Vec<u32>, Vec<u32>) =
                rows.into_iter().partition(|&row| split.left[usize::from(self.codes[row as usize][split.feature])]);
            let children = [nodes.len() as u32, nodes.len() as u32 + 1];
            nodes.extend([Node::Leaf(0), Node::Leaf(0)]);
            nodes[node] = Node::Split { feature: split.feature, left: split.left, children };
            let mut halves = [left, right].into_iter().zip(children).map(|(rows, node)| {
                let split = if depth < DEPTH { self.best_split(&rows) } else { None };
                Open { node: node as usize, depth, rows, split }
            });
            if let Some(first) = halves.next() {
                open[at] = first;
            }
            open.extend(halves);
        }
        for (leaf, one) in open.iter().enumerate() {
            nodes[one.node] = Node::Leaf(leaf as u32);
        }
        (nodes, open.iter().map(|one| one.rows.len()).collect())
    }

    /// The split that leaves the answers least scattered (CART: variance of scores, Gini impurity of classes).
    fn best_split(&self, rows: &[u32]) -> Option<Split> {
        if rows.len() < 2 * LEAF_ROWS {
            return None;
        }
        let mut best: Option<Split> = None;
        for feature in 0..self.sizes.len() {
            let size = self.sizes[feature];
            let mut counts = vec![0.0; size];
            let mut sums = vec![0.0; size * self.classes];
            for &row in rows {
                let code = usize::from(self.codes[row as usize][feature]);
                let (class, value) = self.class(row as usize);
                counts[code] += 1.0;
                sums[code * self.classes + class] += value;
            }
            let mut order: Vec<usize> = (0..size).filter(|&code| counts[code] > 0.0).collect();
            if !self.ordered[feature] {
                // Categories in order of their mean answer: the best of all partitions is then among the cuts (Fisher 1958).
                let mean = |code: &usize| sums[code * self.classes] / counts[*code];
                order.sort_by(|a, b| mean(a).total_cmp(&mean(b)).then(a.cmp(b)));
            }
            let Some((gain, cut)) = self.best_cut(&order, &counts, &sums) else { continue };
            if best.as_ref().is_none_or(|b| gain > b.gain) {
                let mut left = vec![false; size];
                order[..cut].iter().for_each(|&code| left[code] = true);
                best = Some(Split { gain, feature, left });
            }
        }
        best
    }

    /// Gain and place of the best cut of codes in a given order.
    fn best_cut(&self, order: &[usize], counts: &[f64], sums: &[f64]) -> Option<(f64, usize)> {
        let k = self.classes;
        let total: Vec<f64> = (0..k).map(|c| order.iter().map(|code| sums[code * k + c]).sum()).collect();
        let n: f64 = order.iter().map(|&code| counts[code]).sum();
        let purity = |part: &[f64], n: f64| part.iter().map(|s| s * s).sum::<f64>() / n;
        let whole = purity(&total, n);
        let mut part = vec![0.0; k];
        let mut rest = total;
        let (mut here, mut best) = (0.0, None);
        for (i, &code) in order.iter().enumerate() {
            here += counts[code];
            for c in 0..k {
                part[c] += sums[code * k + c];
                rest[c] -= sums[code * k + c];
            }
            if here < LEAF_ROWS as f64 || n - here < LEAF_ROWS as f64 {
                continue;
            }
            let gain = purity(&part, here) + purity(&rest, n - here) - whole;
            if gain > LEAST_GAIN * whole.abs().max(LEAST_GAIN) && best.is_none_or(|(most, _)| gain > most) {
                best = Some((gain, i + 1));
            }
        }
        best
    }
}
