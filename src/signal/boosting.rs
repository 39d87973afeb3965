//! Boosted trees: is a row likelier in one sample of rows than in another?
//!
//! The score is a sum of small symmetric trees, fitted by gradient boosting of the logistic loss with second derivatives (Friedman 2001; Chen
//! and Guestrin 2016, equations 5 to 7). In a symmetric tree every node of a level asks the same question (Kohavi 1994, oblivious decision
//! graphs), so a row is scored by a few comparisons and one look at a table. The score is the log of a likelihood ratio as far as the trees can
//! express it: both samples weigh the same, however many rows they have.
//!
//! Rows are codes. A question is whether the code of a column lies in a range, which covers "at most" for ordered codes and "is" for names.

use serde::{Deserialize, Serialize};

/// Questions of a tree, and its leaves. Chosen: three, so that a tree sees how three columns go together.
const DEPTH: usize = 3;
const LEAVES: usize = 1 << DEPTH;
/// Trees, and the share of each step that is taken. Chosen: more and smaller steps gain little on samples of a few thousand rows.
const TREES: usize = 60;
const STEP: f32 = 0.2;
/// Rows' worth of doubt about a leaf (Chen and Guestrin's lambda).
const PRIOR: f32 = 1.0;

/// Codes of many rows, column by column.
#[derive(Clone, Debug, Default)]
pub struct Table {
    columns: Vec<Vec<u8>>,
    rows: usize,
}

/// Whether the code of a column lies between two codes, both included.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
struct Question {
    column: u16,
    least: u8,
    most: u8,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
struct Tree {
    questions: [Question; DEPTH],
    leaves: [f32; LEAVES],
}

/// A score that tells two samples apart.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Boosted {
    trees: Vec<Tree>,
}

/// First and second derivative of the loss, summed over some rows.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    first: f32,
    second: f32,
}

/// What fitting knows of the rows.
struct Fit<'a> {
    table: &'a Table,
    /// Codes of each column: one more than the highest.
    codes: Vec<usize>,
    /// Rows of the first sample come first.
    first: usize,
    /// Weight of a row of the first sample, and of another.
    weight: [f32; 2],
    score: Vec<f32>,
    sums: Vec<Sums>,
    leaf: Vec<u8>,
}

// === impl Table ===

impl Table {
    /// No rows of so many columns.
    pub fn new(columns: usize) -> Self {
        Self { columns: vec![Vec::new(); columns], rows: 0 }
    }

    /// Adds a row, which has a code for each column.
    pub fn push(&mut self, codes: impl Iterator<Item = u8>) {
        self.columns.iter_mut().zip(codes).for_each(|(column, code)| column.push(code));
        self.rows += 1;
    }

    /// Rows.
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }
}

// === impl Question ===

impl Question {
    fn holds(self, code: u8) -> bool {
        self.least <= code && code <= self.most
    }
}

// === impl Sums ===

impl Sums {
    fn add(&mut self, other: Self) {
        self.first += other.first;
        self.second += other.second;
    }

    fn without(self, other: Self) -> Self {
        Self { first: self.first - other.first, second: self.second - other.second }
    }

    /// How much a leaf of these rows lowers the loss, doubled (equation 6).
    fn gain(self) -> f32 {
        self.first * self.first / (self.second + PRIOR)
    }
}

// === impl Boosted ===

impl Boosted {
    /// Fits a score that is high for the first rows of a table and low for the others.
    ///
    /// The time is that of about 180 passes over all codes.
    pub fn fit(table: &Table, first: usize) -> Self {
        let first = first.min(table.rows);
        if first == 0 || first == table.rows {
            return Self::default();
        }
        let mut fit = Fit::new(table, first);
        Self { trees: (0..TREES).map(|_| fit.grow()).collect() }
    }

    /// The score of a row, in nats.
    pub fn score(&self, code: impl Fn(usize) -> u8) -> f32 {
        let of = |tree: &Tree| {
            let ask =
                |leaf: usize, question: &Question| leaf << 1 | usize::from(question.holds(code(usize::from(question.column))));
            tree.leaves[tree.questions.iter().fold(0, ask)]
        };
        self.trees.iter().map(of).sum()
    }
}

// === impl Fit ===

impl<'a> Fit<'a> {
    fn new(table: &'a Table, first: usize) -> Self {
        let (rows, others) = (table.rows, table.rows - first);
        let codes_of = |column: &Vec<u8>| usize::from(column.iter().copied().max().unwrap_or(0)) + 1;
        Self {
            table,
            codes: table.columns.iter().map(codes_of).collect(),
            first,
            weight: [first, others].map(|of_sample| rows as f32 / (2 * of_sample) as f32),
            score: vec![0.0; rows],
            sums: vec![Sums::default(); rows],
            leaf: vec![0; rows],
        }
    }

    /// Adds the tree that lowers the loss most, question by question.
    fn grow(&mut self) -> Tree {
        for (row, sums) in self.sums.iter_mut().enumerate() {
            let p = 1.0 / (1.0 + (-self.score[row]).exp());
            let (wanted, weight) = if row < self.first { (1.0, self.weight[0]) } else { (0.0, self.weight[1]) };
            *sums = Sums { first: weight * (p - wanted), second: weight * p * (1.0 - p) };
        }
        self.leaf.fill(0);
        let questions = std::array::from_fn(|depth| {
            let question = self.best_question(1 << depth);
            let column = &self.table.columns[usize::from(question.column)];
            self.leaf.iter_mut().zip(column).for_each(|(leaf, &code)| *leaf = *leaf << 1 | u8::from(question.holds(code)));
            question
        });
        let mut sums = [Sums::default(); LEAVES];
        self.leaf.iter().zip(&self.sums).for_each(|(&leaf, &of_row)| sums[usize::from(leaf)].add(of_row));
        let leaves = sums.map(|sums| -STEP * sums.first / (sums.second + PRIOR));
        self.score.iter_mut().zip(&self.leaf).for_each(|(score, &leaf)| *score += leaves[usize::from(leaf)]);
        Tree { questions, leaves }
    }

    /// The question that lowers the loss most if it is asked in each of so many nodes; the first of equally good ones.
    fn best_question(&self, nodes: usize) -> Question {
        let mut best = (f32::NEG_INFINITY, Question { column: 0, least: 0, most: 0 });
        let mut by_code = Vec::new();
        for ((place, column), &codes) in (0..).zip(&self.table.columns).zip(&self.codes) {
            by_code.clear();
            by_code.resize(nodes * codes, Sums::default());
            for ((&code, &leaf), &sums) in column.iter().zip(&self.leaf).zip(&self.sums) {
                by_code[usize::from(leaf) * codes + usize::from(code)].add(sums);
            }
            consider(&mut best, place, &by_code, codes);
        }
        best.1
    }
}

/// Compares all questions about a column with the best one so far. `by_code` has the sums of each node, code by code.
fn consider(best: &mut (f32, Question), column: u16, by_code: &[Sums], codes: usize) {
    let mut all: Vec<Sums> = Vec::with_capacity(by_code.len() / codes);
    for of_node in by_code.chunks_exact(codes) {
        let mut sum = Sums::default();
        of_node.iter().for_each(|&sums| sum.add(sums));
        all.push(sum);
    }
    let gain = |inside: &dyn Fn(usize) -> Sums| -> f32 {
        let of = |(node, &all): (usize, &Sums)| inside(node).gain() + all.without(inside(node)).gain();
        all.iter().enumerate().map(of).sum()
    };
    let mut up_to = vec![Sums::default(); all.len()];
    for (code, at) in (0..codes).zip(0..=u8::MAX) {
        let of_code = |node: usize| by_code[node * codes + code];
        up_to.iter_mut().enumerate().for_each(|(node, sum)| sum.add(of_code(node)));
        let candidates = [(gain(&|node| up_to[node]), 0), (gain(&of_code), at)];
        for (gain, least) in candidates {
            if gain > best.0 {
                *best = (gain, Question { column, least, most: at });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::mix2;

    /// Rows of three columns with eight codes. In the first sample the parity of the first two agrees; each column alone says nothing.
    fn row(nth: u64, is_first: bool) -> [u8; 3] {
        let code = |column| (mix2(nth, column) % 8) as u8;
        let (a, b, c) = (code(0), code(1), code(2));
        if is_first && (a < 4) != (b < 4) { [a, 7 - b, c] } else { [a, b, c] }
    }

    fn table(first: u64, others: u64) -> Table {
        let mut table = Table::new(3);
        (0..first).for_each(|nth| table.push(row(nth, true).into_iter()));
        (first..first + others).for_each(|nth| table.push(row(nth, false).into_iter()));
        table
    }

    #[test]
    fn what_only_two_columns_together_tell_is_learned() {
        let boosted = Boosted::fit(&table(400, 800), 400);
        let mean = |is_first| {
            let rows = (5_000..6_000).map(|nth| row(nth, is_first));
            rows.map(|row| f64::from(boosted.score(|column| row[column]))).sum::<f64>() / 1_000.0
        };
        // Half of the other rows agree by chance: the ratio is two for what agrees, and none for the rest.
        assert!(mean(true) > 0.4 && mean(false) < -0.5, "{} {}", mean(true), mean(false));
    }

    #[test]
    fn alike_samples_are_hardly_told_apart() {
        let mut table = Table::new(3);
        (0..4_000).for_each(|nth| table.push(row(nth, false).into_iter()));
        let boosted = Boosted::fit(&table, 2_000);
        let rows = (5_000..7_000).map(|nth| row(nth, false));
        let mean = rows.map(|row| boosted.score(|column| row[column]).abs()).sum::<f32>() / 2_000.0;
        assert!(mean < 0.5, "{mean}");
    }

    #[test]
    fn a_sample_without_rows_tells_nothing() {
        assert_eq!(Boosted::fit(&Table::new(3), 0), Boosted::default());
        assert_eq!(Boosted::fit(&table(9, 0), 9), Boosted::default());
        assert!(Boosted::default().score(|_| 0).abs() < 1e-9);
        assert!(table(0, 0).is_empty() && table(2, 3).len() == 5);
    }
}
