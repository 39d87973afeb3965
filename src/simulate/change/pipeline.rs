//! Changes on the way from simulated callers to the log, and the truth about them.
//!
//! A simulated model answers the rows that its callers sent; a change alters what the log says of them. So an attacker's rows are
//! changed like everybody's.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::Serialize;

use super::columns::Columns;
use super::rewriter::{Change, EventLayout, Rewriter};
use super::{ChangeSpec, Extent};
use crate::event::EventTime;
use crate::judge::At;
use crate::reference::Reference;
use crate::simulate::spec::fault;
use crate::simulate::{Event, SimulateError};

/// A change as it was made.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct TrueChange {
    /// Which.
    pub name: &'static str,
    /// How far it reached.
    pub extent: Extent,
    /// Whether a detector may say that nothing changed: the change is small, or only some callers made it.
    pub small: bool,
    /// When it began.
    pub start: At,
    /// The columns that it took.
    pub columns: Vec<String>,
    /// Rows that it changed.
    pub rows: u64,
    /// Addresses whose rows it changed, where it changed only some callers.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub ips: BTreeSet<String>,
    /// Accounts whose rows it changed, where it changed only some callers.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub clients: BTreeSet<String>,
}

/// The changes that every line goes through, in order.
#[derive(Debug, Default)]
pub struct Pipeline {
    stages: Vec<Stage>,
}

#[derive(Debug)]
struct Stage {
    rewriter: Rewriter,
    made: TrueChange,
}

// === impl Pipeline ===

impl Pipeline {
    /// Changes in a log of `reference`'s model from `start` to `end`.
    ///
    /// # Errors
    /// A change that would change nothing in this model, or a column that does not exist or does not fit.
    pub fn new(
        specs: &[ChangeSpec],
        reference: &Reference,
        seed: u64,
        start: EventTime,
        end: EventTime,
    ) -> Result<Self, SimulateError> {
        let (columns, layout) = (Arc::new(Columns::new(reference)), Arc::new(EventLayout::new(None)));
        let stage = |spec: &ChangeSpec| {
            let change = Change::new(spec, reference, &columns, &layout, seed).map_err(|why| fault(spec.kind.name, why))?;
            #[expect(clippy::cast_possible_truncation, reason = "whole seconds within a year")]
            let begins = start.plus_seconds((end.seconds_since(start) * spec.at) as i64);
            let made = TrueChange {
                name: spec.kind.name,
                extent: spec.extent,
                small: spec.may_go_unnoticed(),
                start: At(begins),
                columns: change.column_names(),
                rows: 0,
                ips: BTreeSet::new(),
                clients: BTreeSet::new(),
            };
            Ok(Stage { rewriter: Rewriter::new(change), made })
        };
        Ok(Self { stages: specs.iter().map(stage).collect::<Result<_, _>>()? })
    }

    /// Sends the line of an event through every change.
    pub fn pass(&mut self, line: &mut String, event: &Event) {
        for Stage { rewriter, made } in &mut self.stages {
            let Some(other) = rewriter.rewrite(line, event.at >= made.start.0) else { continue };
            *line = other;
            if rewriter.change().spec.share < 1.0 {
                made.ips.insert(event.address.to_string());
                made.clients.extend(event.account.as_deref().map(str::to_owned));
            }
        }
    }

    /// What was done.
    pub fn truth(&self) -> Vec<TrueChange> {
        self.stages.iter().map(|Stage { rewriter, made }| TrueChange { rows: rewriter.changed(), ..made.clone() }).collect()
    }
}
