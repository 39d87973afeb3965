//! The time between two queries of one caller. The gaps of people scatter over minutes and hours; those of a program pile up in
//! one or two places.

use maud::{Markup, html};

use crate::html::svg::{WIDTH, bar, level, path, px, round_up, share, svg, tick};
use crate::html::words;
use crate::report::sample::{BINS_PER_DECADE, DECADES, SHORTEST_GAP, Sample};

/// View box and the frame of the histogram within it.
const HEIGHT: f64 = 250.0;
const LEFT: f64 = 46.0;
const BOTTOM: f64 = 214.0;
const TOP: f64 = 12.0;
/// Bins: one below the shortest gap, then the decades, then one beyond.
const BINS: usize = BINS_PER_DECADE * DECADES + 1;

/// Labelled gaps in seconds: powers of ten, and above ten seconds the units in which people speak.
const TICKS: [(f64, &str); 10] = [
    (0.001, "1 ms"),
    (0.01, "10 ms"),
    (0.1, "0.1 s"),
    (1.0, "1 s"),
    (10.0, "10 s"),
    (60.0, "1 min"),
    (600.0, "10 min"),
    (3_600.0, "1 h"),
    (21_600.0, "6 h"),
    (86_400.0, "1 day"),
];
/// The axis ends here at least, so that a wide scatter of gaps is not drawn as tall bars.
const LEAST_SHARE: f64 = 0.01;

/// Gaps of the two groups by bin.
#[derive(Clone, Debug)]
pub struct Gaps {
    suspects: [u64; BINS],
    others: [u64; BINS],
}

// === impl Gaps ===

impl Gaps {
    /// Counts the gaps of a sample.
    pub fn of(sample: &Sample, flags: &[bool]) -> Self {
        let mut gaps = Self { suspects: [0; BINS], others: [0; BINS] };
        for (row, _) in sample.rows() {
            let Some(bin) = row.gap_bin() else { continue };
            let suspect = sample.caller_index(row).is_some_and(|at| flags[at]);
            let group = if suspect { &mut gaps.suspects } else { &mut gaps.others };
            group[bin.min(BINS - 1)] += 1;
        }
        gaps
    }

    /// The picture; nothing if nobody asked twice.
    pub fn draw(&self) -> Option<Markup> {
        let [suspects, others] = [self.suspects.iter().sum::<u64>(), self.others.iter().sum::<u64>()];
        if suspects + others == 0 {
            return None;
        }
        let shares = |bin: usize| (share(self.suspects[bin], suspects), share(self.others[bin], others));
        let most = round_up((0..BINS).map(|bin| shares(bin).0.max(shares(bin).1)).fold(LEAST_SHARE, f64::max));
        let step = (WIDTH - LEFT) / BINS as f64;
        let x = |bin: usize| LEFT + step * bin as f64;
        let y = |share: f64| BOTTOM - share / most * (BOTTOM - TOP);
        let outline: Vec<(f64, f64)> =
            (0..BINS).flat_map(|bin| [(x(bin), y(shares(bin).1)), (x(bin + 1), y(shares(bin).1))]).collect();
        let area = format!("{}L{} {BOTTOM}L{LEFT} {BOTTOM}Z", path(&outline), px(WIDTH));
        let body = html! {
            @for part in [0.0, 0.5, 1.0] {
                (level(LEFT, WIDTH, y(most * part), &words::percent(most * part)))
            }
            path d=(area) fill="var(--other-soft)" {}
            @for bin in 0..BINS {
                @if self.suspects[bin] > 0 {
                    (bar(x(bin) + step * 0.2, y(shares(bin).0), step * 0.6, BOTTOM - y(shares(bin).0), "var(--suspect)", &tip(bin, shares(bin), suspects > 0)))
                }
            }
            path d=(path(&outline)) fill="none" stroke="var(--other)" stroke-width="1.8" {}
            @for bin in 0..BINS {
                // An unseen target for the tooltip, as high as the picture.
                rect x=(px(x(bin))) y=(px(TOP)) width=(px(step)) height=(px(BOTTOM - TOP)) fill="transparent" {
                    title { (tip(bin, shares(bin), suspects > 0)) }
                }
            }
            @for (seconds, label) in TICKS {
                @let at = LEFT + step * (1.0 + (seconds / SHORTEST_GAP).log10() * BINS_PER_DECADE as f64);
                (tick(at, BOTTOM, &label))
            }
        };
        Some(svg(WIDTH, HEIGHT, &self.label(suspects, others), &body))
    }

    fn label(&self, suspects: u64, others: u64) -> String {
        let peak = |counts: &[u64; BINS]| (0..BINS).max_by_key(|&bin| (counts[bin], BINS - bin)).map_or_else(String::new, between);
        let mut label = format!(
            "Time between two queries of one caller. Everybody else ({} gaps) most often waits {}",
            words::count(others),
            peak(&self.others)
        );
        if suspects > 0 {
            label.push_str(&format!("; suspects ({} gaps) most often wait {}", words::count(suspects), peak(&self.suspects)));
        }
        label
    }
}

/// The bounds of a bin, in words.
fn between(bin: usize) -> String {
    let edge = |bin: usize| words::duration(SHORTEST_GAP * 10_f64.powf(bin as f64 / BINS_PER_DECADE as f64));
    match bin {
        0 => format!("less than {}", edge(0)),
        bin if bin == BINS - 1 => format!("more than {}", edge(BINS - 2)),
        bin => format!("{} to {}", edge(bin - 1), edge(bin)),
    }
}

fn tip(bin: usize, (suspects, others): (f64, f64), any_suspects: bool) -> String {
    let suspects = if any_suspects { format!("suspects {}, ", words::percent(suspects)) } else { String::new() };
    format!("{}: {suspects}everybody else {}", between(bin), words::percent(others))
}
