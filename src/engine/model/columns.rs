//! Columns that many callers write as the reference does not know: since when, how many, and in which way.

use super::{Memory, ModelEngine};
use crate::engine::status::ColumnStatus;
use crate::event::texts::shortened;
use crate::event::{EventTime, Query};
use crate::judge::At;
use crate::judge::column_change::ColumnChange;
use crate::judge::drift::STEP;
use crate::reference::{Feature, Kind, UnknownValue};
use crate::signal::codes::Codes;
use crate::window::clients::SlotRef;

/// Window of the shares of queries, in seconds. Chosen: long enough for a share, short enough that a change shows within the hour.
const SHARE_SECONDS: i64 = 3600;
/// Columns that a verdict lists, those of most callers first. Chosen: the fields of a form; the metrics have all of them.
const LISTED: usize = 32;

// === impl ModelEngine ===

impl ModelEngine {
    /// The columns that are common, those of most callers first.
    pub(super) fn column_changes(&self) -> Vec<ColumnChange> {
        let memory = &self.memory;
        let common = memory.common.common().iter().enumerate().filter(|(_, common)| **common);
        let mut changes: Vec<ColumnChange> = common.map(|(column, _)| self.column_change(column)).collect();
        changes.sort_by(|a, b| b.callers.total_cmp(&a.callers));
        changes.truncate(LISTED);
        changes
    }

    /// Keeps what a row of a caller with a past has in the common columns, as examples of them, if it may be shown.
    pub(super) fn keep_examples(&mut self, caller: SlotRef, query: &Query, codes: &Codes) {
        let Memory { common, examples, .. } = &mut self.memory;
        let common = common.common();
        if !query.unknown_texts.may_be_shown() || !common.contains(&true) {
            return;
        }
        let is_common = |column: usize| common.get(column).copied().unwrap_or(false);
        for (column, text) in query.unknown_texts.iter().filter(|(column, _)| is_common(*column)) {
            let unreadable = query.row.get(column).is_some_and(|cell| cell.is_unreadable());
            examples.note(column, if unreadable { UnknownValue::Unreadable } else { UnknownValue::Unseen }, text, caller);
        }
        let coder = &self.profile.coder;
        let is_category = |column: usize| coder.features().get(column).is_none_or(|feature| feature.kind == Kind::Categorical);
        for (column, kind) in coder.unknown_values(&query.row, codes).filter(|(column, _)| is_common(*column)) {
            // A category is a text, and was noted as one.
            if let Some(cell) = query.row.get(column).filter(|cell| cell.value().is_finite() && !is_category(column)) {
                examples.note(column, kind, &shortened(&cell.value().to_string()), caller);
            }
        }
    }

    fn column_change(&self, column: usize) -> ColumnChange {
        let memory = &self.memory;
        let (queries, counts) = memory.windows.unknown_values(SHARE_SECONDS, column);
        let (callers, known) = memory.common.callers(column);
        let feature = &self.profile.reference.features[column];
        let is_meant = |kind: &UnknownValue| *kind != UnknownValue::Missing || !feature.lacks_values();
        // Of equally many the last kind is meant: a value of the wrong kind says more than one that is only new.
        let most = UnknownValue::ALL.into_iter().filter(is_meant).max_by_key(|kind| counts[kind.index()]);
        let kind = most.unwrap_or(UnknownValue::Unseen);
        ColumnChange {
            name: feature.name.clone(),
            kind,
            queries: share(counts[kind.index()], queries),
            callers: share(u64::from(callers), u64::from(known)),
            since: At(memory.common.since(column).unwrap_or_default()),
            examples: memory.examples.shown(column, kind),
        }
    }

    /// Whether columns have been common for a step of the drift test at least.
    pub(super) fn columns_have_changed(changes: &[ColumnChange], now: EventTime) -> bool {
        changes.iter().any(|change| now.seconds_since(change.since.0) >= STEP as f64)
    }

    /// Shares of missing and of unknown values by feature over the last hour.
    pub(super) fn column_status(&self) -> Vec<ColumnStatus> {
        let of = |(column, feature): (usize, &Feature)| {
            let (queries, counts) = self.memory.windows.unknown_values(SHARE_SECONDS, column);
            let missing = counts[UnknownValue::Missing.index()];
            ColumnStatus {
                name: feature.name.clone(),
                missing: share(missing, queries),
                unseen: share(counts.iter().sum::<u64>() - missing, queries),
                changed: self.memory.common.common()[column],
            }
        };
        self.profile.reference.features.iter().enumerate().map(of).collect()
    }
}

fn share(part: u64, whole: u64) -> f64 {
    part as f64 / whole.max(1) as f64
}
