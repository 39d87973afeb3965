//! Pairwise dependence: which features depend on each other. A row of independent draws breaks these dependences, an honest row does
//! not.
//!
//! The measure is the mutual information of coarse codes, less the bias of its plug-in estimate (Miller 1955, "Note on the bias of
//! information estimates"). Codes are coarse because a joint table must fill up from a sample of a few thousand rows.

use crate::event::Cell;
use crate::reference::{Feature, Kind, Pair, code};

/// Most coarse codes of a feature, missing and unseen apart; rare categories share one. With 12 the joint table of a pair has at most
/// 14 · 14 = 196 cells, so that a few thousand rows fill it.
const COARSE_LIMIT: usize = 12;
/// Pairs kept per feature. Chosen: a tree of dependences has one pair per feature (Chow and Liu 1968); three leave room for cycles, at
/// a cost linear in the number of features.
const PAIRS_PER_FEATURE: usize = 3;
/// Least mutual information in nats of a pair that is kept. Chosen: 2M·I at 8192 rows is then 49, far beyond chance, yet a broken
/// dependence of this strength changes the log-likelihood of a row by 0.003 only.
const MIN_INFORMATION: f64 = 0.003;
/// Standard deviations of the estimate under independence that a pair must exceed. 2M·I is χ² with df degrees of freedom, so the
/// estimate less its bias deviates by √(2·df)/(2M). A hundred features have 5,000 pairs; five deviations keep chance pairs out.
const NOISE_DEVIATIONS: f64 = 5.0;

/// Coarse code of each code of a feature: few enough that joint tables fill up.
///
/// Numbers keep their bins, with everything outside the range in the outer ones; of many categories the most frequent keep
/// their own code and the others share one. Missing and unseen come last.
pub fn coarse_map(feature: &Feature) -> Vec<usize> {
    let own = feature.bins();
    let mut map: Vec<usize> = (0..own).collect();
    let mut codes = own;
    if feature.kind != Kind::Continuous && own > COARSE_LIMIT {
        let mut by_count: Vec<usize> = (0..own).collect();
        by_count.sort_by_key(|&i| (std::cmp::Reverse(feature.counts.get(i).copied().unwrap_or(0)), i));
        by_count.truncate(COARSE_LIMIT - 1);
        by_count.sort_unstable();
        map = (0..own).map(|i| by_count.binary_search(&i).unwrap_or(COARSE_LIMIT - 1)).collect();
        codes = COARSE_LIMIT;
    }
    map.resize(own + code::EXTRA, codes + 1);
    map[own + code::MISSING] = codes;
    if feature.kind == Kind::Continuous {
        map[own + code::BELOW] = 0;
        map[own + code::ABOVE] = codes - 1;
    }
    map
}

/// Rows per coarse code of a feature.
pub fn coarse_counts(feature: &Feature) -> Vec<u64> {
    let mut counts = vec![0; coarse_codes(feature)];
    feature.counts.iter().zip(coarse_map(feature)).for_each(|(&rows, code)| counts[code] += rows);
    counts
}

/// Number of coarse codes of a feature.
pub fn coarse_codes(feature: &Feature) -> usize {
    coarse_map(feature).iter().max().map_or(0, |m| m + 1)
}

/// The pairs of features that depend on each other most, with their joint counts.
pub(super) fn fit_pairs(features: &[Feature], sample: &[Vec<Cell>]) -> Vec<Pair> {
    let maps: Vec<Vec<usize>> = features.iter().map(coarse_map).collect();
    let sizes: Vec<usize> = features.iter().map(coarse_codes).collect();
    let columns: Vec<Vec<usize>> =
        features.iter().enumerate().map(|(j, f)| sample.iter().map(|row| maps[j][f.code(row[j])]).collect()).collect();
    let mut pairs = Vec::new();
    for a in 0..features.len() {
        for b in a + 1..features.len() {
            let mut counts = vec![0_u32; sizes[a] * sizes[b]];
            for (&x, &y) in columns[a].iter().zip(&columns[b]) {
                counts[x * sizes[b] + y] += 1;
            }
            let information = mutual_information(&counts, sizes[b], sample.len());
            let noise = NOISE_DEVIATIONS * (degrees(&counts, sizes[b]) / 2.0).sqrt() / sample.len().max(1) as f64;
            if information > MIN_INFORMATION.max(noise) {
                pairs.push(Pair { a, b, information, counts });
            }
        }
    }
    pairs.sort_by(|p, q| q.information.total_cmp(&p.information).then((p.a, p.b).cmp(&(q.a, q.b))));
    pairs.truncate(PAIRS_PER_FEATURE * features.len());
    pairs
}

/// Row and column sums of a joint table.
fn margins(counts: &[u32], width: usize) -> (Vec<f64>, Vec<f64>) {
    let height = counts.len() / width;
    let rows = (0..height).map(|x| counts[x * width..(x + 1) * width].iter().map(|&n| f64::from(n)).sum()).collect();
    let columns = (0..width).map(|y| (0..height).map(|x| f64::from(counts[x * width + y])).sum()).collect();
    (rows, columns)
}

/// Degrees of freedom of a joint table: codes that occur, less one, multiplied.
fn degrees(counts: &[u32], width: usize) -> f64 {
    let (rows, columns) = margins(counts, width);
    let occupied = |sums: &[f64]| sums.iter().filter(|&&s| s > 0.0).count().saturating_sub(1).max(1) as f64;
    occupied(&rows) * occupied(&columns)
}

/// Mutual information in nats, less its bias.
fn mutual_information(counts: &[u32], width: usize, rows: usize) -> f64 {
    let total = rows as f64;
    let (row_sums, column_sums) = margins(counts, width);
    let mut information = 0.0;
    for (i, &n) in counts.iter().enumerate() {
        if n > 0 {
            let n = f64::from(n);
            information += n / total * (n * total / (row_sums[i / width] * column_sums[i % width])).ln();
        }
    }
    information - degrees(counts, width) / (2.0 * total)
}
