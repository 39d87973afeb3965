//! Bins of numbers: deciles, with a bin of its own for a value that holds a large share.

use crate::reference::MOST_DECIMALS;

/// Quantile bins of a continuous feature: ten is the convention of PSI (deciles), and critical values assume no particular number.
const QUANTILE_BINS: usize = 10;
/// Fewest bins that continuous numbers get where most rows hold single values: two, so that low and high are told apart.
const FEWEST_BINS: usize = 2;
/// Relative error within which a scaled number counts as whole. Scaling by 10^6 loses some units of 2.2e-16; this is four
/// million of them, and less than a tenth of the last digit of a number with eight digits.
const WHOLE: f64 = 1e-9;

/// Distinct numbers with their counts, ascending.
pub(super) fn tally(mut numbers: Vec<f64>) -> Vec<(f64, u64)> {
    numbers.sort_by(f64::total_cmp);
    let mut tally: Vec<(f64, u64)> = Vec::new();
    for number in numbers {
        match tally.last_mut() {
            #[expect(clippy::float_cmp, reason = "runs of identical values")]
            Some((value, count)) if *value == number => *count += 1,
            _ => tally.push((number, 1)),
        }
    }
    tally
}

/// Decimals with which a number of the training data is written, 0 to [`MOST_DECIMALS`]. Exact but for the float's own last
/// digits, since the number format of a column is learned from it.
pub(super) fn exact_decimals(value: f64) -> u8 {
    (0..MOST_DECIMALS)
        .find(|&d| {
            let scaled = value * 10_f64.powi(i32::from(d));
            (scaled - scaled.round()).abs() <= WHOLE * scaled.abs().max(1.0)
        })
        .unwrap_or(MOST_DECIMALS)
}

/// The smallest value with at least a share `q` of the `total` at or below it.
pub(super) fn quantile(tally: &[(f64, u64)], total: u64, q: f64) -> f64 {
    let mut seen = 0;
    for (value, count) in tally {
        seen += count;
        if seen as f64 >= q * total as f64 {
            return *value;
        }
    }
    tally.last().map_or(0.0, |t| t.0)
}

/// Inner edges: deciles, and around each value that holds a tenth of the rows or more (an *atom*) an edge on both sides.
pub(super) fn continuous_edges(tally: &[(f64, u64)]) -> Vec<f64> {
    let total: u64 = tally.iter().map(|(_, count)| count).sum();
    let is_atom = |count: u64| count * QUANTILE_BINS as u64 >= total;
    let rest: Vec<(f64, u64)> = tally.iter().filter(|(_, count)| !is_atom(*count)).copied().collect();
    let rest_total: u64 = rest.iter().map(|(_, count)| count).sum();
    let mut edges = Vec::new();
    if rest_total > 0 {
        let bins = ((QUANTILE_BINS as f64 * rest_total as f64 / total as f64).round() as usize).max(FEWEST_BINS);
        edges.extend((1..bins).map(|i| quantile(&rest, rest_total, i as f64 / bins as f64)));
    }
    for (i, (value, count)) in tally.iter().enumerate() {
        if is_atom(*count) {
            edges.push(*value);
            if i > 0 {
                edges.push(tally[i - 1].0);
            }
        }
    }
    edges.sort_by(f64::total_cmp);
    edges.dedup();
    // An edge at the maximum would leave an empty last bin.
    if let (Some(edge), Some((max, _))) = (edges.last(), tally.last())
        && edge >= max
    {
        edges.pop();
    }
    edges
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_those_that_a_number_is_written_with() {
        for (value, decimals) in [(0.0, 0), (39.0, 0), (-1.5, 1), (0.1, 1), (0.123, 3), (1e-6, 6), (1.0 / 3.0, 6), (1e15, 0)] {
            assert_eq!(exact_decimals(value), decimals, "{value}");
        }
    }

    #[test]
    fn a_quantile_is_the_smallest_value_with_its_share_at_or_below_it() {
        let counts = tally(vec![3.0, 1.0, 1.0, 2.0]);
        assert_eq!(counts, [(1.0, 2), (2.0, 1), (3.0, 1)]);
        for (q, value) in [(0.01, 1.0), (0.5, 1.0), (0.51, 2.0), (0.75, 2.0), (0.99, 3.0)] {
            assert_eq!(quantile(&counts, 4, q).to_bits(), f64::to_bits(value), "{q}");
        }
    }

    #[test]
    fn an_atom_has_an_edge_on_both_sides_and_no_edge_lies_at_the_maximum() {
        // Half of the rows hold 50, the others are spread over 0 to 99.
        let spread = (0..100).map(f64::from);
        let edges = continuous_edges(&tally(spread.chain(std::iter::repeat_n(50.0, 99)).collect()));
        assert!(edges.contains(&50.0) && edges.contains(&49.0), "{edges:?}");
        assert!(edges.iter().all(|&edge| edge < 99.0), "{edges:?}");
        assert_eq!(continuous_edges(&tally(vec![7.0; 100])), [0.0; 0], "a constant has one bin");
    }
}
