//! Honest changes of a pipeline: what releases, loggers and clients do to a log without any attack.
//!
//! A change is a named transformation of the features of an event: another spelling, another unit, a field that is gone. It is
//! seeded and deterministic, and it touches nothing else in the event: not a byte of any other field. `simulate --change` makes it
//! in simulated traffic, `drill --changes` in a copy of the user's own log, and nobody may be accused because of it.
//!
//! | file | what it does |
//! |---|---|
//! | [`kinds`] | the table of changes |
//! | `edits` | what each does to a text, a number, a name or a row |
//! | [`columns`] | what is known of the columns: the reference profile |
//! | [`pipeline`] | changes on the way from simulated callers to the log |
//! | [`row`] | a row of features with its bytes |
//! | [`rewriter`] | makes a change in the lines of a log: whose rows, and from when on |

pub mod columns;
mod edits;
pub mod kinds;
pub mod pipeline;
pub mod rewriter;
pub mod row;
pub mod scene;

use serde::{Serialize, Serializer};

use super::SimulateError;
use super::spec::fault;
use kinds::{ChangeKind, KINDS};

/// Share of the callers that `extent=some` changes: a roll-out of a client release in its middle.
const SOME: f64 = 1.0 / 3.0;
/// Where in the log `mid` and `some` begin: with as much before it as after it.
const MIDDLE: f64 = 0.5;

/// How far a change reaches.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Extent {
    /// The whole log.
    All,
    /// Everybody, from a moment on.
    Mid,
    /// A share of the callers, from a moment on.
    Some,
}

/// A change as asked for.
#[derive(Clone, PartialEq, Debug)]
pub struct ChangeSpec {
    /// Which.
    pub kind: &'static ChangeKind,
    /// How far it reaches.
    pub extent: Extent,
    /// Share of the callers whose rows change, above 0 to 1.
    pub share: f64,
    /// Share of the log that passes before it begins, 0 to less than 1.
    pub at: f64,
    /// The column, where one is named.
    pub column: Option<String>,
}

// === impl Extent ===

impl Extent {
    /// Every extent.
    pub const ALL: [Self; 3] = [Self::All, Self::Mid, Self::Some];

    /// The word on the command line and in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Mid => "mid",
            Self::Some => "some",
        }
    }

    /// The extent of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|extent| extent.name() == name)
    }
}

impl Serialize for Extent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

// === impl ChangeSpec ===

impl ChangeSpec {
    /// A change with the usual share and beginning of its extent.
    pub const fn new(kind: &'static ChangeKind, extent: Extent) -> Self {
        let share = if matches!(extent, Extent::Some) { SOME } else { 1.0 };
        let at = if matches!(extent, Extent::All) { 0.0 } else { MIDDLE };
        Self { kind, extent, share, at, column: None }
    }

    /// Reads `KIND[:extent=all|mid|some][:share=S][:at=A][:column=NAME]`; keys may be set apart by commas, too. A share alone
    /// means `some`, a beginning alone `mid`. The second value says whether the text names the extent, be it by a share or a
    /// beginning.
    ///
    /// # Errors
    /// A kind, a key or a value that does not exist, with those that do.
    pub fn parse(text: &str) -> Result<(Self, bool), SimulateError> {
        let mut parts = text.split([':', ',']).map(str::trim);
        let name = parts.next().unwrap_or_default();
        let Some(kind) = ChangeKind::named(name) else {
            return Err(fault(text, format!("there is no change '{name}'; changes are {}", names().join(", "))));
        };
        let (mut extent, mut share, mut at, mut column) = (None, None, None, None);
        for part in parts.filter(|part| !part.is_empty()) {
            let Some((key, value)) = part.split_once('=') else {
                return Err(fault(text, format!("'{part}' is not of the form key=value; keys are extent, share, at, column")));
            };
            let number = |what: &str, fits: &dyn Fn(f64) -> bool| {
                let number = value.parse::<f64>().ok().filter(|number| fits(*number));
                number.ok_or_else(|| fault(text, format!("{key}={value} is not {what}")))
            };
            match key {
                "extent" => {
                    let known =
                        || fault(text, format!("extent={value} is not one of {}", Extent::ALL.map(Extent::name).join(", ")));
                    extent = Some(Extent::named(value).ok_or_else(known)?);
                }
                "share" => share = Some(number("a share of the callers above 0, at most 1", &|n| n > 0.0 && n <= 1.0)?),
                "at" => at = Some(number("a share of the log from 0 to below 1", &|n| (0.0..1.0).contains(&n))?),
                "column" => column = Some(value.to_owned()),
                _ => return Err(fault(text, format!("there is no key '{key}'; keys are extent, share, at, column"))),
            }
        }
        let stated = extent.is_some() || share.is_some() || at.is_some();
        let implied = if share.is_some_and(|share| share < 1.0) {
            Extent::Some
        } else if at.is_some_and(|at| at > 0.0) {
            Extent::Mid
        } else {
            Extent::All
        };
        let usual = Self::new(kind, extent.unwrap_or(implied));
        Ok((Self { share: share.unwrap_or(usual.share), at: at.unwrap_or(usual.at), column, ..usual }, stated))
    }

    /// Whether a detector may say that nothing changed: the change is small, or only some callers make it.
    pub const fn may_go_unnoticed(&self) -> bool {
        self.kind.small || matches!(self.extent, Extent::Some)
    }
}

/// The names of all changes.
pub fn names() -> Vec<&'static str> {
    KINDS.iter().map(|kind| kind.name).collect()
}

/// Every change with what it does, as `--list` prints them.
pub fn list() -> String {
    let mut out = String::from("Changes of a pipeline; KIND[:extent=all|mid|some][:share=S][:at=A][:column=NAME]\n");
    let mut family = None;
    for kind in &KINDS {
        if family.replace(kind.family) != Some(kind.family) {
            out.push_str(&format!("{}\n", kind.family.name()));
        }
        let small = if kind.small { " (small: need not be noticed)" } else { "" };
        out.push_str(&format!("  {:<24}{}{small}\n", kind.name, kind.words));
    }
    out.push_str(
        "extent: all is the whole log; mid is everybody from half of the log on; some is a third of the callers from half of the log
on. share and at set that third and that half; column names the column that changes.\n",
    );
    out
}

#[cfg(test)]
mod tests;
