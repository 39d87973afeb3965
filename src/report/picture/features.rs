//! How the values of each feature are distributed: suspects, everybody else, and the reference, over the reference's own bins.

use maud::{Markup, html};

use crate::event::Cell;
use crate::html::svg::{bar, px, share, svg, text};
use crate::html::words;
use crate::reference::{Feature, Kind, code};
use crate::report::sample::Sample;

/// Rows of bins in one picture, so that cards stay of similar height; the rarest categories beyond it are drawn together.
const MAX_BARS: usize = 10;
/// Values rarer than this in every group are drawn together: their bars would be less than a unit long.
const RARE: f64 = 0.004;
/// View box of one feature: width, space for the labels, and height of a row.
const WIDTH: f64 = 320.0;
const LABELS: f64 = 106.0;
const ROW: f64 = 20.0;

/// Counts of one feature by code, in the groups that are compared.
#[derive(Clone, Debug)]
pub struct Spread<'a> {
    /// The feature.
    pub feature: &'a Feature,
    suspects: Vec<u64>,
    others: Vec<u64>,
    /// How far the suspects (or, without any, everybody) are from the reference: PSI with a count prior.
    pub distance: f64,
}

/// One row of bars.
struct Bin {
    label: String,
    reference: f64,
    suspects: f64,
    others: f64,
}

/// Counts the sample by feature and bin; features that differ most come first.
pub fn spreads<'a>(sample: &'a Sample, flags: &[bool]) -> Vec<Spread<'a>> {
    let empty = |feature: &'a Feature| {
        let none = vec![0; feature.codes()];
        Spread { feature, suspects: none.clone(), others: none, distance: 0.0 }
    };
    let mut spreads: Vec<_> = sample.reference().features.iter().map(empty).collect();
    for (row, cells) in sample.rows() {
        let suspect = sample.caller_index(row).is_some_and(|at| flags[at]);
        for (spread, &cell) in spreads.iter_mut().zip(cells) {
            spread.count(cell, suspect);
        }
    }
    for spread in &mut spreads {
        let shown = if spread.suspects.iter().any(|&count| count > 0) { &spread.suspects } else { &spread.others };
        spread.distance = count_psi(&spread.feature.counts, shown);
    }
    spreads.sort_by(|a, b| b.distance.total_cmp(&a.distance).then_with(|| a.feature.name.cmp(&b.feature.name)));
    spreads
}

/// Population stability index with half a count added to every bin, so that an empty bin does not decide alone.
#[expect(clippy::cast_precision_loss, reason = "counts of queries")]
fn count_psi(expected: &[u64], actual: &[u64]) -> f64 {
    let total = |counts: &[u64]| counts.iter().sum::<u64>() as f64 + counts.len() as f64 / 2.0;
    let (all_expected, all_actual) = (total(expected), total(actual));
    expected
        .iter()
        .zip(actual)
        .map(|(&e, &a)| {
            let (e, a) = ((e as f64 + 0.5) / all_expected, (a as f64 + 0.5) / all_actual);
            (a - e) * (a / e).ln()
        })
        .sum()
}

// === impl Spread ===

impl Spread<'_> {
    fn count(&mut self, cell: Cell, suspect: bool) {
        let at = self.feature.code(cell);
        let group = if suspect { &mut self.suspects } else { &mut self.others };
        group[at] += 1;
    }

    /// The picture, as a card.
    pub fn draw(&self) -> Markup {
        let (bins, left_out) = self.bins();
        let height = ROW * bins.len() as f64 + 16.0;
        let most = bins.iter().flat_map(|bin| [bin.reference, bin.suspects, bin.others]).fold(0.01, f64::max);
        let scale = |share: f64| share / most * (WIDTH - LABELS - 20.0);
        let any_suspects = self.suspects.iter().any(|&count| count > 0);
        let body = html! {
            @for (nth, bin) in bins.iter().enumerate() {
                @let y = ROW * nth as f64 + 2.0;
                @let tip = bin.tip(any_suspects);
                (text(LABELS - 6.0, y + 12.5, "end", &bin.label))
                (bar(LABELS, y, scale(bin.reference), ROW - 4.0, "var(--reference)", &tip))
                @if any_suspects {
                    (bar(LABELS, y + 1.5, scale(bin.others), 5.5, "var(--other)", &tip))
                    (bar(LABELS, y + 9.0, scale(bin.suspects), 5.5, "var(--suspect)", &tip))
                } @else {
                    (bar(LABELS, y + 4.5, scale(bin.others), 7.0, "var(--other)", &tip))
                }
            }
            line x1=(px(LABELS)) y1="0" x2=(px(LABELS)) y2=(px(height - 14.0)) stroke="var(--line)" {}
            (text(LABELS, height - 2.0, "start", &"0"))
            (text(LABELS + scale(most), height - 2.0, "end", &words::percent(most)))
        };
        let widest = bins.iter().max_by(|a, b| a.contrast(any_suspects).total_cmp(&b.contrast(any_suspects)));
        let label = match widest {
            Some(bin) => {
                format!("Distribution of {}. The largest difference is at {}: {}", self.name(), bin.label, bin.tip(any_suspects))
            }
            None => format!("Distribution of {}", self.name()),
        };
        html! {
            div.card {
                header { h4 { (self.name()) } span { "distance " (words::measured(self.distance)) } }
                (svg(WIDTH, height, &label, &body))
                @if left_out > 0 { p.note { (left_out) " rare values are drawn as “others”." } }
            }
        }
    }

    fn name(&self) -> String {
        words::printable(&self.feature.name, 40)
    }

    /// The rows of the picture, and how many values share the row of the rest.
    fn bins(&self) -> (Vec<Bin>, usize) {
        let (feature, own) = (self.feature, self.feature.bins());
        let sums = [&feature.counts, &self.suspects, &self.others].map(|counts| counts.iter().sum::<u64>());
        let bin = |at: usize, label: String| Bin {
            label,
            reference: share(feature.counts[at], sums[0]),
            suspects: share(self.suspects[at], sums[1]),
            others: share(self.others[at], sums[2]),
        };
        let mut bins: Vec<Bin> = (0..own).map(|at| bin(at, bin_label(feature, at))).collect();
        let mut left_out = 0;
        let folds = feature.kind != Kind::Continuous && bins.len() > 3;
        if folds && (bins.len() > MAX_BARS || bins.iter().filter(|bin| bin.largest() < RARE).count() > 1) {
            // The largest stay where they are; the rest share one row.
            let mut sizes: Vec<f64> = bins.iter().map(Bin::largest).collect();
            sizes.sort_by(|a, b| b.total_cmp(a));
            let least = sizes.get(MAX_BARS - 2).copied().unwrap_or(0.0).max(RARE);
            let mut rest = Bin { label: "others".into(), reference: 0.0, suspects: 0.0, others: 0.0 };
            let mut kept = Vec::new();
            for bin in bins {
                if bin.largest() >= least && kept.len() < MAX_BARS - 1 {
                    kept.push(bin);
                } else {
                    rest.reference += bin.reference;
                    rest.suspects += bin.suspects;
                    rest.others += bin.others;
                    left_out += 1;
                }
            }
            kept.push(rest);
            bins = kept;
        }
        let outside = [
            (code::BELOW, "below all seen"),
            (code::ABOVE, "above all seen"),
            (code::UNSEEN, "never seen"),
            (code::MISSING, "missing"),
        ];
        for (extra, label) in outside {
            let bin = bin(own + extra, label.into());
            if bin.largest() > 0.0 {
                if extra == code::BELOW { bins.insert(0, bin) } else { bins.push(bin) }
            }
        }
        (bins, left_out)
    }
}

/// What a bin holds, in as few characters as possible.
fn bin_label(feature: &Feature, at: usize) -> String {
    match feature.kind {
        Kind::Categorical => words::printable(&feature.values[at], 14),
        Kind::Discrete | Kind::Boolean => words::exact(feature.support[at]),
        Kind::Continuous => {
            let edge = |at: usize| short(feature.edges[at]);
            match (at, feature.edges.len()) {
                (_, 0) => "all".to_owned(),
                (0, _) => format!("to {}", edge(0)),
                (at, edges) if at == edges => format!("over {}", edge(edges - 1)),
                (at, _) => format!("{} – {}", edge(at - 1), edge(at)),
            }
        }
    }
}

/// An edge in at most about six characters.
fn short(value: f64) -> String {
    match value.abs() {
        size if size >= 1e6 => format!("{:.1}M", value / 1e6),
        size if size >= 1e4 => format!("{:.0}k", value / 1e3),
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 1.0 => words::exact((value * 10.0).round() / 10.0),
        _ => words::exact((value * 1e3).round() / 1e3),
    }
}

// === impl Bin ===

impl Bin {
    fn largest(&self) -> f64 {
        self.reference.max(self.suspects).max(self.others)
    }

    fn contrast(&self, suspects: bool) -> f64 {
        (if suspects { self.suspects } else { self.others } - self.reference).abs()
    }

    fn tip(&self, suspects: bool) -> String {
        let [reference, others, suspected] = [self.reference, self.others, self.suspects].map(words::percent);
        if suspects {
            format!("{}: suspects {suspected}, everybody else {others}, reference {reference}", self.label)
        } else {
            format!("{}: callers {others}, reference {reference}", self.label)
        }
    }
}
