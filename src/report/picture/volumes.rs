//! How much each address asks, busiest first, with the suspects marked. Both axes are logarithmic, since a few callers ask
//! thousands of times what most do, and a slow attacker stands among the many rather than at the top.

use std::collections::BTreeMap;

use maud::{Markup, html};

use crate::event::Address;
use crate::html::svg::{WIDTH, level, path, px, styled_text, svg, text, tick};
use crate::html::words;
use crate::report::sample::Sample;

/// View box and the frame of the curve within it.
const HEIGHT: f64 = 330.0;
const LEFT: f64 = 60.0;
const BOTTOM: f64 = 286.0;
const TOP: f64 = 14.0;
/// Addresses drawn as points, at about 100 bytes each; the line shows the rest.
const MAX_POINTS: usize = 600;
/// Suspects drawn as points: with half a point's width between them, this many fill the picture.
const MAX_MARKS: usize = 500;
/// Suspects named in the picture; more names would cover each other.
const MAX_NAMES: usize = 8;
/// Height of a name: a line of text of 11.5 units with its leading.
const NAME_HEIGHT: f64 = 15.0;

/// Width of a character of a name, for the widest digits of the font.
const CHARACTER: f64 = 7.0;

/// Addresses by number of queries.
#[derive(Clone, Debug)]
pub struct Volumes {
    /// Busiest first: address, queries, suspect.
    ranked: Vec<(Address, u64, bool)>,
}

// === impl Volumes ===

impl Volumes {
    /// Adds up the callers of each address; an address is marked if any caller there is a suspect.
    pub fn of(sample: &Sample, flags: &[bool]) -> Self {
        let mut by_address: BTreeMap<Address, (u64, bool)> = BTreeMap::new();
        for (caller, &suspect) in sample.callers().iter().zip(flags) {
            let entry = by_address.entry(caller.address).or_default();
            entry.0 += caller.queries;
            entry.1 |= suspect;
        }
        let mut ranked: Vec<_> = by_address.into_iter().map(|(address, (queries, suspect))| (address, queries, suspect)).collect();
        ranked.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        Self { ranked }
    }

    /// Number of addresses.
    pub fn addresses(&self) -> usize {
        self.ranked.len()
    }

    /// The picture; nothing without addresses.
    #[expect(clippy::cast_precision_loss, reason = "counts of queries and addresses")]
    pub fn draw(&self) -> Option<Markup> {
        let most = self.ranked.first()?.1.max(10) as f64;
        let last = (self.ranked.len() as f64).max(10.0);
        let x = |rank: usize| LEFT + ((rank + 1) as f64).log10() / last.log10() * (WIDTH - LEFT - 12.0);
        let y = |queries: f64| BOTTOM - queries.max(1.0).log10() / most.log10() * (BOTTOM - TOP);
        let all: Vec<(f64, f64)> = self.ranked.iter().enumerate().map(|(rank, one)| (x(rank), y(one.1 as f64))).collect();
        let curve = thin(&all);
        let marks: Vec<usize> = (0..self.ranked.len()).filter(|&rank| self.ranked[rank].2).take(MAX_MARKS).collect();
        let body = html! {
            @for power in 0..=(most.log10().floor() as u32) {
                @let queries = 10_f64.powf(f64::from(power));
                (level(LEFT, WIDTH, y(queries), &words::count(10_u64.pow(power))))
            }
            @for power in 0..=(last.log10().floor() as u32) {
                @let rank = 10_usize.pow(power);
                (tick(x(rank - 1), BOTTOM, &ordinal(rank)))
            }
            (text(WIDTH - 4.0, BOTTOM + 36.0, "end", &"addresses, busiest first →"))
            (text(LEFT - 46.0, TOP - 2.0, "start", &"queries"))
            path d=(path(&curve)) fill="none" stroke="var(--other)" stroke-width="1.6" {}
            @for (rank, one) in self.ranked.iter().enumerate().take(MAX_POINTS).filter(|(_, one)| !one.2) {
                circle cx=(px(all[rank].0)) cy=(px(all[rank].1)) r="3" fill="var(--other)" { title { (tip(*one)) } }
            }
            @for &rank in &marks {
                circle cx=(px(all[rank].0)) cy=(px(all[rank].1)) r="5.5" fill="var(--suspect)" stroke="var(--card)" stroke-width="1.2" {
                    title { (tip(self.ranked[rank])) }
                }
            }
            (self.names(&all, &marks))
        };
        Some(svg(WIDTH, HEIGHT, &self.label(marks.len()), &body))
    }

    /// Names beside the busiest suspects, as far as they do not cover each other.
    fn names(&self, places: &[(f64, f64)], marks: &[usize]) -> Markup {
        let mut taken: Vec<(f64, f64, f64)> = Vec::new();
        let mut names = Vec::new();
        for &rank in marks {
            let (x, y) = places[rank];
            let name = self.ranked[rank].0.to_string();
            let width = name.len() as f64 * CHARACTER;
            // Above the curve there is nothing; near the right edge the name goes to the left of its point.
            let (at, anchor) = if x + width + 12.0 > WIDTH { (x - 4.0, "end") } else { (x + 4.0, "start") };
            let left = if anchor == "end" { at - width } else { at };
            let high = y - 10.0;
            let free =
                |&(from, to, other): &(f64, f64, f64)| left > to || left + width < from || (high - other).abs() > NAME_HEIGHT;
            if names.len() < MAX_NAMES && high > TOP && taken.iter().all(free) {
                taken.push((left, left + width, high));
                names.push((at, high, anchor, name));
            }
        }
        html! {
            @for (x, y, anchor, name) in &names { (styled_text("strong", *x, *y, anchor, name)) }
        }
    }

    fn label(&self, marks: usize) -> String {
        let addresses = words::counted(self.ranked.len() as u64, "address", "addresses");
        let top = self.ranked.first().map_or(0, |one| one.1);
        let mut label = format!("Queries of {addresses}, busiest first. The busiest asked {} times", words::count(top));
        let first = self.ranked.iter().position(|one| one.2);
        if let Some(first) = first {
            let (address, queries, _) = self.ranked[first];
            let place = if first == 0 {
                "is the busiest of all".to_owned()
            } else {
                format!("stands at rank {}", words::count(first as u64 + 1))
            };
            let marked = words::counted(marks as u64, "address is marked as a suspect's", "addresses are marked as suspects'");
            label.push_str(&format!(". {marked}; the busiest of them, {address} with {} queries, {place}", words::count(queries)));
        }
        label
    }
}

fn tip(one: (Address, u64, bool)) -> String {
    let (address, queries, suspect) = one;
    format!("{address}: {}{}", words::counted(queries, "query", "queries"), if suspect { ", suspect" } else { "" })
}

fn ordinal(rank: usize) -> String {
    match rank {
        1 => "1st".to_owned(),
        rank => format!("{}th", words::count(rank as u64)),
    }
}

/// A curve without the points that lie within half a unit of the one before: a million addresses need no million points.
fn thin(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let mut kept: Vec<(f64, f64)> = Vec::new();
    for &(x, y) in points {
        if kept.last().is_none_or(|last| (x - last.0).abs() > 0.5 || (y - last.1).abs() > 0.5) {
            kept.push((x, y));
        }
    }
    kept
}
