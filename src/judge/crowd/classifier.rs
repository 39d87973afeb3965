//! Which rows are the crowd's? A classifier that learns to tell strangers' rows from the reference's.
//!
//! It learns from all rows of strangers, of which some are honest, and from one half of the reference's rows. It also learns from rows of
//! strangers that came before, so a segment that had already come is not the crowd's. The other half of the reference's rows ranks the scores, so a p-value is right whatever was learned: an honest row that is like the reference's is as likely to have a high score as
//! they are (adaptive novelty detection: Marandon, Lei, Mary and Roquain 2024, sections 2 and 3). Two classifiers learn from half of the
//! strangers each, and each weighs the rows of the others, so that no row speaks for itself.
//!
//! The trees see codes, nearness to the decision boundary and surprise. So they see which values go together in a crowd, which the shares of
//! single values ([`super::content`]) do not tell: a search around one row varies every column, though few at a time.

use serde::{Deserialize, Serialize};

use crate::hash;
use crate::signal::boosting::{Boosted, Table};
use crate::signal::ranks::Ranks;
use crate::window::clients::SlotRef;

/// Rows of strangers before it learns, and growth of their number after which it learns anew.
const FIRST_FITTED: u32 = 64;
const GROWTH: f64 = 1.25;
/// Rows of each kind that it learns from at most. Chosen: learning then takes some hundredths of a second at fourteen columns.
const ROWS: usize = 2_048;
/// Columns that it sees at most, beside nearness and surprise: those by which the crowd's rows differ most.
const COLUMNS: usize = 64;
/// A column is left out if more than one in so many rows has a code there that the reference does not have. Chosen: the share of most codes of a
/// column is larger.
const UNKNOWN_ONE_IN: usize = 32;
/// Most of surprise that is told apart, in nats.
const MOST_NATS: f32 = 40.0;

/// What was learned from half of the strangers.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Fold {
    trees: Boosted,
    ranks: Ranks,
}

/// A column, and what each of its codes is seen as. Of a code that the reference's rows do not have nobody knows how rare it is, so it is seen as
/// their most frequent one. Where it is sent often, the column is left out, since the most frequent one would be too frequent.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Column {
    place: u16,
    seen_as: Vec<u8>,
}

/// Two classifiers, each for the strangers that the other learned from.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Classifier {
    folds: [Fold; 2],
    /// Columns that it sees; the last is nearness.
    columns: Vec<Column>,
    /// Rows of strangers when it learned, and how often it did.
    fitted_at: u32,
    fits: u32,
}

// === impl Column ===

impl Column {
    fn new<'a>(place: u16, sample: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut counts = [0_u32; 1 << u8::BITS];
        sample.filter_map(|codes| codes.get(usize::from(place))).for_each(|&code| counts[usize::from(code)] += 1);
        let most = (0..=u8::MAX).rev().max_by_key(|&code| counts[usize::from(code)]).unwrap_or(0);
        let seen_as = (0..=u8::MAX).map(|code| if counts[usize::from(code)] > 0 { code } else { most });
        Self { place, seen_as: seen_as.collect() }
    }

    /// Whether nearly all rows have a code that the reference has.
    fn knows<'a>(&self, rows: impl Iterator<Item = &'a [u8]>) -> bool {
        let (mut all, mut unknown) = (0_usize, 0_usize);
        for codes in rows {
            all += 1;
            unknown += usize::from(codes.get(usize::from(self.place)).is_none_or(|&code| self.seen(codes) != code));
        }
        unknown * UNKNOWN_ONE_IN <= all
    }

    fn seen(&self, codes: &[u8]) -> u8 {
        let code = codes.get(usize::from(self.place)).copied().unwrap_or(0);
        self.seen_as.get(usize::from(code)).copied().unwrap_or(code)
    }
}

// === impl Classifier ===

impl Classifier {
    /// How often it has learned.
    pub(super) fn fits(&self) -> u32 {
        self.fits
    }

    /// Forgets what was learned.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Whether it is to learn (again), now that so many rows of strangers are known.
    pub(super) fn is_due(&self, rows: u32) -> bool {
        rows >= FIRST_FITTED && f64::from(rows) >= GROWTH * f64::from(self.fitted_at)
    }

    /// Learns to tell the rows of `strangers` from those of the reference's `sample` and of usual strangers `before`: codes and surprise. It
    /// sees the columns in `by_shift`, the most telling first, and nearness.
    pub(super) fn fit<'a, 'b: 'a>(
        &mut self,
        strangers: impl Iterator<Item = (SlotRef, &'a [u8], f32)> + Clone,
        before: impl Iterator<Item = (&'a [u8], f32)>,
        sample: impl Iterator<Item = (&'b [u8], f32)> + Clone,
        by_shift: impl Iterator<Item = usize>,
        rows: u32,
    ) {
        let nearness = sample.clone().next().map_or(0, |(codes, _)| codes.len().saturating_sub(1));
        let places = by_shift.take(COLUMNS).chain([nearness]).filter_map(|place| u16::try_from(place).ok());
        let columns = places.map(|place| Column::new(place, sample.clone().map(|(codes, _)| codes)));
        self.columns = columns.filter(|column| column.knows(strangers.clone().map(|(_, codes, _)| codes))).collect();
        (self.fitted_at, self.fits) = (rows, self.fits.saturating_add(1));
        let half = (self.fits & 1) as usize;
        let mut learned: Vec<(&'a [u8], f32)> = every(sample.clone().skip(half).step_by(2));
        learned.extend(before);
        let columns = &self.columns;
        self.folds = [0, 1].map(|fold| {
            // Each fold weighs its own strangers and learns from the others.
            let others = strangers.clone().filter(|(at, ..)| self.fold_of(*at) != fold).map(|(_, codes, nats)| (codes, nats));
            let others = every(others);
            let mut table = Table::new(columns.len() + 1);
            others.iter().chain(&learned).for_each(|&(codes, nats)| table.push(seen(columns, codes, nats)));
            let trees = Boosted::fit(&table, others.len());
            let scores =
                sample.clone().skip(1 - half).step_by(2).map(|(codes, nats)| score(&trees, columns, codes, nats)).collect();
            Fold { trees, ranks: Ranks::new(scores) }
        });
    }

    /// The fold that weighs the rows of a stranger. Each time it learns, the strangers fall into other halves.
    fn fold_of(&self, at: SlotRef) -> usize {
        (hash::mix2(u64::from(at.slot), u64::from(self.fits)) & 1) as usize
    }

    /// ln of the p-value of a row; `None` while nothing was learned.
    pub(super) fn log_p(&self, at: SlotRef, codes: &[u8], nats: f32) -> Option<f64> {
        let Fold { trees, ranks } = &self.folds[self.fold_of(at)];
        (self.fitted_at > 0).then(|| ranks.log_p(score(trees, &self.columns, codes, nats)))
    }
}

/// So many of some rows at most, evenly spread.
fn every<'a>(rows: impl Iterator<Item = (&'a [u8], f32)> + Clone) -> Vec<(&'a [u8], f32)> {
    let step = rows.clone().count().div_ceil(ROWS).max(1);
    rows.step_by(step).collect()
}

/// What the trees see of a row.
fn seen(columns: &[Column], codes: &[u8], nats: f32) -> impl Iterator<Item = u8> {
    columns.iter().map(|column| column.seen(codes)).chain([surprise_code(nats)])
}

fn score(trees: &Boosted, columns: &[Column], codes: &[u8], nats: f32) -> f32 {
    trees.score(|place| columns.get(place).map_or_else(|| surprise_code(nats), |column| column.seen(codes)))
}

fn surprise_code(nats: f32) -> u8 {
    nats.clamp(0.0, MOST_NATS) as u8
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::mix2;
    use crate::judge::crowd::nearness_code;
    use crate::reference::Reference;
    use crate::signal::codes::Coder;

    const ORDINARY: f32 = 2.0;

    /// Codes of the reference's rows.
    fn sample() -> Vec<Vec<u8>> {
        let path = format!("{}/models/adult/reference.json", env!("CARGO_MANIFEST_DIR"));
        let reference = Reference::from_json(&std::fs::read(path).unwrap()).unwrap();
        let coded = Coder::new(&reference).sample(&reference).into_iter();
        coded.map(|codes| [codes.coarse, vec![nearness_code(0.7)]].concat()).collect()
    }

    fn stranger(nth: u64) -> SlotRef {
        SlotRef { slot: nth as u32, generation: 1 }
    }

    /// A row of the reference in which two columns were drawn anew: the way of a search around many rows.
    fn mixed(sample: &[Vec<u8>], nth: u64) -> Vec<u8> {
        let pick = |salt| (mix2(nth, salt) % sample.len() as u64) as usize;
        let mut row = sample[pick(1)].clone();
        // Education and its number, marital status and relationship go together in the reference.
        row[4] = sample[pick(2)][4];
        row[7] = sample[pick(3)][7];
        row
    }

    fn fitted(sample: &[Vec<u8>], strangers: &[Vec<u8>]) -> Classifier {
        let mut classifier = Classifier::default();
        let of = |rows: &[Vec<u8>]| rows.iter().map(|row| (row.clone(), ORDINARY)).collect::<Vec<_>>();
        let sample = of(sample);
        let rows = (0..).zip(strangers).map(|(nth, row)| (stranger(nth), row.as_slice(), ORDINARY));
        classifier.fit(
            rows,
            std::iter::empty(),
            sample.iter().map(|(codes, nats)| (codes.as_slice(), *nats)),
            0..14,
            strangers.len() as u32,
        );
        classifier
    }

    /// Share of rows with a p-value of at most one in a hundred.
    fn improbable(classifier: &Classifier, rows: &[Vec<u8>], first: u64) -> f64 {
        let log_p = |(nth, row): (u64, &Vec<u8>)| classifier.log_p(stranger(nth), row, ORDINARY).unwrap();
        let below = (first..).zip(rows).map(log_p).filter(|&log_p| log_p <= 0.01_f64.ln()).count();
        below as f64 / rows.len() as f64
    }

    #[test]
    fn values_that_do_not_go_together_in_a_crowd_are_learned_and_honest_rows_have_their_p_values() {
        let sample = sample();
        // Every fifth row is kept from the reference, as that of an honest stranger.
        let (honest, reference): (Vec<_>, Vec<_>) = sample.iter().cloned().enumerate().partition(|(nth, _)| nth % 5 == 0);
        let strip = |rows: Vec<(usize, Vec<u8>)>| rows.into_iter().map(|(_, row)| row).collect::<Vec<_>>();
        let (honest, reference) = (strip(honest), strip(reference));
        let crowd: Vec<_> = (0..1_500).map(|nth| mixed(&reference, nth)).collect();
        let strangers = [crowd.clone(), honest[..500].to_vec()].concat();
        let classifier = fitted(&reference, &strangers);
        let (theirs, others) = (improbable(&classifier, &crowd, 0), improbable(&classifier, &honest[..500], 1_500));
        assert!(theirs > 0.3, "{theirs}");
        assert!(others < 0.025, "{others}");
    }

    #[test]
    fn a_value_that_the_reference_does_not_have_says_nothing() {
        let column = Column::new(1, [[9_u8, 3], [9, 3], [9, 5]].iter().map(<[u8; 2]>::as_slice));
        assert_eq!([3, 5, 4, 255].map(|code| column.seen(&[0, code])), [3, 5, 3, 3]);
        let knows = |unknown: usize| column.knows((0..64).map(|nth| if nth < unknown { [0_u8, 4].as_slice() } else { &[0, 5] }));
        assert!(knows(2) && !knows(3));
        let sample = sample();
        // All rows since the crowd came lack a column, those of honest strangers as well.
        let lacks = |row: &Vec<u8>| {
            let mut row = row.clone();
            row[0] = 200;
            row
        };
        let honest: Vec<_> = sample.iter().step_by(7).map(lacks).collect();
        let crowd: Vec<_> = (0..600).map(|nth| lacks(&mixed(&sample, nth))).collect();
        let classifier = fitted(&sample, &[crowd, honest.clone()].concat());
        let others = improbable(&classifier, &honest, 600);
        assert!(others < 0.05, "{others}");
    }

    #[test]
    fn it_learns_when_the_rows_have_grown_by_a_quarter() {
        let classifier = Classifier { fitted_at: 100, ..Classifier::default() };
        assert!(!classifier.is_due(124) && classifier.is_due(125));
        assert!(!Classifier::default().is_due(63) && Classifier::default().is_due(64));
        assert!(Classifier::default().log_p(stranger(1), &[0], ORDINARY).is_none());
    }
}
