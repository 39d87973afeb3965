//! Examples of what callers write in a column that many of them write as the reference does not know: "for example ' Private'".
//!
//! An example travels into verdict lines, reports and what is made of them, so it must not give away what a single caller sent. A value is
//! shown only after [`CALLERS`] callers with a past have sent it, and only while its column is common. A column of names or ids, in which
//! every caller has a value of its own, shows none.
//!
//! Values that occur often are kept and values that do not make room, as in the summary of Metwally, Agrawal and El Abbadi (2005, "Space
//! Saving"): a new value takes the place of the rarest one and of its count. So memory is bounded, whatever is sent: [`KEPT`] short texts
//! for each common column.

use serde::{Deserialize, Serialize};

use crate::reference::UnknownValue;
use crate::window::clients::SlotRef;

/// Values that are shown for a column. Chosen: one shows what happened, three that it happened to every value; more is a list.
const SHOWN: usize = 3;
/// Values that are kept for a column. Any value that makes up more than one part in so many of the rows is kept (Metwally et al., theorem 2).
/// Chosen: an eighth of the rows is what a person would call an example of them.
const KEPT: usize = 8;
/// Callers who must have sent a value before it is shown. Chosen: two callers may be one person at two addresses; what three send is no
/// longer the value of one of them.
const CALLERS: usize = 3;

/// A value and who sent it.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct ExampleValue {
    text: Box<str>,
    kind: UnknownValue,
    /// Rows that had it; of a value that took the place of another one, at most so many.
    rows: u32,
    /// The first [`CALLERS`] callers that sent it.
    callers: Vec<SlotRef>,
}

/// Examples by column.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ExampleValues {
    columns: Vec<Vec<ExampleValue>>,
}

// === impl ExampleValues ===

impl ExampleValues {
    /// No examples yet of `columns` columns.
    pub fn new(columns: usize) -> Self {
        Self { columns: vec![Vec::new(); columns] }
    }

    /// Notes a value that a caller with a past sent in a common column.
    pub fn note(&mut self, column: usize, kind: UnknownValue, text: &str, caller: SlotRef) {
        let Some(values) = self.columns.get_mut(column) else { return };
        let known = values.iter().position(|value| value.kind == kind && *value.text == *text);
        let at = known.unwrap_or_else(|| {
            let rarest = (0..values.len()).filter(|_| values.len() >= KEPT).min_by_key(|&at| values[at].rows);
            let rows = rarest.map_or(0, |at| values.swap_remove(at).rows);
            values.push(ExampleValue { text: text.into(), kind, rows, callers: Vec::with_capacity(CALLERS) });
            values.len() - 1
        });
        let value = &mut values[at];
        value.rows = value.rows.saturating_add(1);
        if value.callers.len() < CALLERS && !value.callers.contains(&caller) {
            value.callers.push(caller);
        }
    }

    /// Forgets the examples of columns that are not common any more.
    pub fn retain(&mut self, common: &[bool]) {
        let gone = self.columns.iter_mut().zip(common).filter(|(_, common)| !**common);
        gone.for_each(|(values, _)| *values = Vec::new());
    }

    /// The values of a kind that may be shown for a column, the most frequent first.
    pub fn shown(&self, column: usize, kind: UnknownValue) -> Vec<String> {
        let all = self.columns.get(column).into_iter().flatten();
        let mut values: Vec<&ExampleValue> = all.filter(|value| value.kind == kind && value.callers.len() == CALLERS).collect();
        values.sort_by(|a, b| b.rows.cmp(&a.rows).then_with(|| a.text.cmp(&b.text)));
        values.into_iter().take(SHOWN).map(|value| value.text.to_string()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(slot: u32) -> SlotRef {
        SlotRef { slot, generation: 1 }
    }

    fn note(examples: &mut ExampleValues, text: &str, callers: std::ops::Range<u32>) {
        callers.for_each(|caller| examples.note(1, UnknownValue::Unseen, text, client(caller)));
    }

    #[test]
    fn a_value_is_shown_once_three_callers_sent_it() {
        let mut examples = ExampleValues::new(2);
        for _ in 0..100 {
            note(&mut examples, " Private", 0..2);
        }
        assert!(examples.shown(1, UnknownValue::Unseen).is_empty(), "two callers, whatever they send");
        note(&mut examples, " Private", 2..3);
        assert_eq!(examples.shown(1, UnknownValue::Unseen), [" Private"]);
        assert!(examples.shown(0, UnknownValue::Unseen).is_empty() && examples.shown(7, UnknownValue::Unseen).is_empty());
        assert!(examples.shown(1, UnknownValue::Unreadable).is_empty(), "another kind");
    }

    #[test]
    fn values_of_which_every_caller_has_its_own_are_never_shown_and_take_no_more_room() {
        let mut examples = ExampleValues::new(2);
        for caller in 0..10_000 {
            note(&mut examples, &format!("id-{caller}"), caller..caller + 1);
        }
        assert_eq!(examples.columns[1].len(), KEPT);
        assert!(examples.shown(1, UnknownValue::Unseen).is_empty());
    }

    #[test]
    fn frequent_values_are_kept_among_rare_ones_and_shown_in_order() {
        let mut examples = ExampleValues::new(2);
        for round in 0..500 {
            note(&mut examples, " Private", round % 40..round % 40 + 1);
            if round % 2 == 0 {
                note(&mut examples, " State-gov", round % 40..round % 40 + 1);
            }
            note(&mut examples, &format!("odd {round}"), 7..8);
        }
        assert_eq!(examples.shown(1, UnknownValue::Unseen), [" Private", " State-gov"]);
        for text in ["a", "b", "c"] {
            (0..40).for_each(|_| note(&mut examples, text, 0..40));
        }
        assert_eq!(examples.shown(1, UnknownValue::Unseen), ["a", "b", "c"], "the most frequent three; equals by name");
    }

    #[test]
    fn a_column_that_is_common_no_more_has_no_examples() {
        let mut examples = ExampleValues::new(2);
        note(&mut examples, "x", 0..5);
        examples.retain(&[false, true]);
        assert_eq!(examples.shown(1, UnknownValue::Unseen), ["x"]);
        examples.retain(&[false, false]);
        assert!(examples.shown(1, UnknownValue::Unseen).is_empty());
    }
}
