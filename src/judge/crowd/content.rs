//! What the rows of a crowd have in common: how often each value occurs in them, against the reference.
//!
//! The rows that only the crowd explains teach the shares of values. A further row is then weighed by a naive Bayes likelihood ratio: is it
//! likelier among the crowd's rows than among the reference's? Columns that depend on each other are counted twice, so the ratio is no
//! probability; it is ranked among the rows of the reference, which are weighed in the same way.

use serde::{Deserialize, Serialize};

use crate::reference::Reference;
use crate::reference::fit::coarse_counts;
use crate::signal::ranks::Ranks;

/// Rows' worth of belief that the crowd's values are shared like the reference's. Chosen: two, so that a value needs to recur before it
/// counts as the crowd's.
const PRIOR_ROWS: f64 = 2.0;
/// Rows' worth of doubt about a share of the reference: half a row for each code (Jeffreys).
const REFERENCE_PRIOR: f64 = 0.5;
/// Most that one column says for or against, in nats. Chosen: a factor of 400, about one row of the reference's sample in 20.
const MOST: f64 = 6.0;
/// Learned rows before the ratio is used, and growth of their number after which it is ranked anew.
const FIRST_RANKED: u32 = 16;
const GROWTH: f64 = 1.25;
/// Standard deviations beyond the expected index that chance rarely exceeds. Chosen: an index of four degrees of freedom exceeds five with
/// probability 0.0012 (chi-squared), so among fourteen columns one is named by chance in sixty crowds.
const STANDARD_DEVIATIONS: f64 = 5.0;

/// Upper ends of the cells of nearness to the decision boundary, a p-value. Chosen: roughly logarithmic; the last holds half of the rows.
const NEARNESS: [f64; 5] = [0.01, 0.05, 0.2, 0.5, 1.0];

/// Cell of a nearness to the decision boundary. The crowd's rows may share that they are near to it, as they may share a value; it is one
/// more column, behind those of the reference.
pub fn nearness_code(near: f64) -> u8 {
    NEARNESS.iter().position(|&end| near <= end).unwrap_or(NEARNESS.len() - 1) as u8
}

/// The reference's shares of values: made from it, and no part of a snapshot.
#[derive(Clone, Debug, Default)]
struct Shares {
    /// First code of each column among all codes, and the number of all codes.
    offsets: Vec<u32>,
    /// ln of the reference's share of each code within its column; 0 for a code that no row of the reference has. How rare such a value
    /// is, nobody knows, so it says nothing.
    log_share: Vec<f32>,
    /// Rows of the reference.
    rows: f64,
}

/// Values of a crowd's rows.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Content {
    #[serde(skip)]
    reference: Shares,
    /// Learned rows by code, and their number.
    counts: Vec<u32>,
    pub(super) rows: u32,
    /// The same when the reference's rows were ranked: rows are weighed by what the ranks were made with.
    ranked_counts: Vec<u32>,
    /// What each code says by those counts, in nats, and what it says of a row that was learned. Made from them.
    #[serde(skip)]
    ratios: Vec<[f64; 2]>,
    /// Ranks of the reference's rows, and the learned rows at that time.
    ranks: Ranks,
    ranked_at: u32,
}

/// How far a column's values among the crowd's rows are from the reference's.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct ColumnShift {
    /// The column.
    pub column: usize,
    /// Population stability index.
    pub psi: f64,
    /// What chance rarely exceeds: the expected index of so many rows (Yurdakul 2018) and five standard deviations.
    pub critical: f64,
}

// === impl Shares ===

impl Shares {
    fn new(reference: &Reference) -> Self {
        let (mut offsets, mut log_share) = (vec![0], Vec::new());
        for feature in &reference.features {
            let counts = coarse_counts(feature);
            let all = counts.iter().sum::<u64>() as f64 + REFERENCE_PRIOR * counts.len() as f64;
            let log_share_of = |&count: &u64| if count == 0 { 0.0 } else { ((count as f64 + REFERENCE_PRIOR) / all).ln() as f32 };
            log_share.extend(counts.iter().map(log_share_of));
            offsets.push(log_share.len() as u32);
        }
        let mut below = 0.0;
        log_share.extend(NEARNESS.map(|end| ((end - std::mem::replace(&mut below, end)).ln()) as f32));
        offsets.push(log_share.len() as u32);
        let rows = reference.features.first().map_or(1.0, |f| f.counts.iter().sum::<u64>().max(1) as f64);
        Self { offsets, log_share, rows }
    }

    /// Places of a row's codes among all codes.
    fn places(&self, codes: &[u8]) -> impl Iterator<Item = usize> {
        self.offsets.iter().zip(codes).map(|(&offset, &code)| offset as usize + usize::from(code))
    }
}

// === impl Content ===

impl Content {
    /// Nothing is learned yet.
    pub(super) fn new(reference: &Reference) -> Self {
        let reference = Shares::new(reference);
        let codes = reference.log_share.len();
        let (counts, ranked_counts) = (vec![0; codes], vec![0; codes]);
        Self { reference, counts, ranked_counts, ratios: Vec::new(), rows: 0, ranks: Ranks::default(), ranked_at: 0 }
    }

    /// What was learned, read back.
    pub(super) fn restored(self, reference: &Reference) -> Self {
        let mut content = Self { reference: Shares::new(reference), ..self };
        content.weigh_codes();
        content
    }

    /// Forgets what was learned.
    pub(super) fn clear(&mut self) {
        self.counts.fill(0);
        self.ranked_counts.fill(0);
        (self.rows, self.ranked_at, self.ranks) = (0, 0, Ranks::default());
    }

    /// Learns from a row.
    pub(super) fn learn(&mut self, codes: &[u8]) {
        self.rows += 1;
        self.reference.places(codes).for_each(|place| self.counts[place] += 1);
    }

    /// Computes what each code says by the counts of the ranks.
    fn weigh_codes(&mut self) {
        let of = |place: usize, own: f64| {
            let log_share = f64::from(self.reference.log_share[place]);
            if log_share >= 0.0 {
                return 0.0;
            }
            let all = (f64::from(self.ranked_at) - own + PRIOR_ROWS).ln();
            let count = (f64::from(self.ranked_counts[place]) - own).max(0.0) + PRIOR_ROWS * log_share.exp();
            (count.ln() - all - log_share).clamp(-MOST, MOST)
        };
        self.ratios = (0..self.ranked_counts.len()).map(|place| [of(place, 0.0), of(place, 1.0)]).collect();
    }

    /// How much likelier a row is among the crowd's than among the reference's, in nats, by what was known when the reference was ranked.
    /// Of a row that was `learned`, what it taught is left out.
    fn ratio(&self, codes: &[u8], learned: bool) -> f64 {
        self.reference.places(codes).map(|place| self.ratios[place][usize::from(learned)]).sum()
    }

    /// Whether the reference's rows are to be ranked (again).
    pub(super) fn is_due(&self) -> bool {
        self.rows >= FIRST_RANKED && f64::from(self.rows) >= GROWTH * f64::from(self.ranked_at)
    }

    /// Ranks the reference's rows, given as their codes and surprise, by ratio and surprise together.
    pub(super) fn rank<'a>(&mut self, sample: impl Iterator<Item = (&'a [u8], f32)>) {
        self.ranked_counts.copy_from_slice(&self.counts);
        self.ranked_at = self.rows;
        self.weigh_codes();
        let scores = sample.map(|(codes, nats)| (self.ratio(codes, false) + f64::from(nats)) as f32).collect();
        self.ranks = Ranks::new(scores);
    }

    /// ln of the p-value of a row with this surprise; `None` while nothing was ranked.
    pub(super) fn log_p(&self, codes: &[u8], nats: f32, learned: bool) -> Option<f64> {
        (self.ranked_at > 0).then(|| self.ranks.log_p((self.ratio(codes, learned) + f64::from(nats)) as f32))
    }

    /// The columns by which the learned rows differ from the reference beyond chance, the farthest first.
    pub(super) fn shifts(&self) -> Vec<ColumnShift> {
        self.by_shift().into_iter().filter(|shift| shift.psi > shift.critical).collect()
    }

    /// All columns, those by which the learned rows differ most from the reference first.
    pub(super) fn by_shift(&self) -> Vec<ColumnShift> {
        let (rows, Shares { offsets, log_share, rows: reference_rows }) = (f64::from(self.rows.max(1)), &self.reference);
        let of = |(column, bounds): (usize, &[u32])| {
            let codes = bounds[0] as usize..bounds[1] as usize;
            let freedom = codes.len().saturating_sub(1).max(1) as f64;
            let psi = codes.filter(|&code| log_share[code] < 0.0).map(|code| {
                let expected = f64::from(log_share[code]).exp();
                let share = (f64::from(self.counts[code]) + PRIOR_ROWS * expected) / (rows + PRIOR_ROWS);
                (share - expected) * (share / expected).ln()
            });
            let scale = 1.0 / rows + 1.0 / reference_rows;
            let critical = scale * (freedom + STANDARD_DEVIATIONS * (2.0 * freedom).sqrt());
            ColumnShift { column, psi: psi.sum(), critical }
        };
        // Behind the columns lies nearness.
        let columns = offsets.len().saturating_sub(2);
        let mut shifts: Vec<ColumnShift> = offsets.windows(2).take(columns).enumerate().map(of).collect();
        shifts.sort_by(|a, b| b.psi.total_cmp(&a.psi).then(a.column.cmp(&b.column)));
        shifts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::mix2;
    use crate::signal::codes::{Coder, Codes};

    fn reference() -> Reference {
        let path = format!("{}/models/adult/reference.json", env!("CARGO_MANIFEST_DIR"));
        Reference::from_json(&std::fs::read(path).unwrap()).unwrap()
    }

    /// Codes of the sample's rows, none of which is near to the boundary.
    fn sample(reference: &Reference) -> Vec<Vec<u8>> {
        let coder = Coder::new(reference);
        coder.sample(reference).into_iter().map(|codes: Codes| [codes.coarse, vec![nearness_code(0.7)]].concat()).collect()
    }

    #[test]
    fn rows_around_one_row_are_told_from_all_others_and_what_they_share_is_named() {
        let reference = reference();
        let sample = sample(&reference);
        let mut content = Content::new(&reference);
        // Copies of one row with one column of another.
        let copy = |i: u64| {
            let mut codes = sample[40].clone();
            let at = (mix2(i, 1) % codes.len() as u64) as usize;
            codes[at] = sample[(mix2(i, 2) % sample.len() as u64) as usize][at];
            codes
        };
        (0..64).for_each(|i| content.learn(&copy(i)));
        assert!(content.is_due());
        let nats = vec![2.0_f32; sample.len()];
        content.rank(sample.iter().map(Vec::as_slice).zip(nats));
        assert!(!content.is_due(), "it has just been ranked");
        let improbable = (1_000..1_100).filter(|&i| content.log_p(&copy(i), 2.0, false).unwrap() < -8.0).count();
        assert!(improbable > 90, "{improbable} of 100");
        let honest = sample.iter().filter(|codes| content.log_p(codes, 2.0, false).unwrap() < -7.0).count();
        assert!(honest < 20, "{honest} of {}", sample.len());
        assert!(content.shifts().len() > 5 && content.shifts()[0].psi > content.shifts()[0].critical);
    }

    #[test]
    fn what_a_row_taught_does_not_speak_for_it() {
        let reference = reference();
        let sample = sample(&reference);
        let mut content = Content::new(&reference);
        let rare = &sample[9];
        content.learn(rare);
        content.rank(std::iter::once((rare.as_slice(), 0.0)));
        assert!(content.ratio(rare, true).abs() < 1e-6, "nothing else was learned");
        assert!(content.ratio(rare, false) > 1.0);
    }

    #[test]
    fn the_references_own_rows_differ_from_it_in_nothing() {
        let reference = reference();
        let sample = sample(&reference);
        let mut content = Content::new(&reference);
        sample[..400].iter().for_each(|codes| content.learn(codes));
        assert!(content.shifts().is_empty(), "{:?}", content.shifts());
        content.clear();
        assert!(!content.is_due() && content.log_p(&sample[0], 9.0, false).is_none());
    }
}
