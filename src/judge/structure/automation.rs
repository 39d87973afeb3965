//! How automated is an edit? The step from an earlier row to the new one is weighed by [`crate::signal::edits`], once along the component
//! (whoever sent its rows) and once along the sender's own chain of edits.
//!
//! Several earlier rows may be linked to the new one. The step is taken from the one that makes it look most like a person's, so that the
//! choice favours the client.

use super::Structure;
use super::links::Link;
use super::query::ComparedRow;
use super::thresholds::Neighbour;
use crate::judge::campaign::Component;
use crate::judge::client::{Client, Key};
use crate::reference::Feature;
use crate::signal::edits::step::EditStep;
use crate::signal::perturbation::Scales;
use crate::signal::quantise::Quantiser;
use crate::window::clients::{SlotRef, Table};
use crate::window::history::History;

/// Evidence that a machine made an edit, in nats.
#[derive(Clone, Copy, Debug)]
pub(super) struct Automation {
    /// Along the component, whoever sent its rows.
    pub(super) component: f64,
    /// Along the sender's own chain; 0 for a row that is not linked to the sender's own.
    pub(super) own_chain: f64,
}

/// Rows among which a step's parent is looked for: those that are linked to the new one and in its component.
#[derive(Clone, Copy)]
struct Parents<'a> {
    link: &'a Link<'a>,
    component: SlotRef,
    own_only: bool,
}

/// The edit of an earlier row that made the new one.
#[derive(Clone, Copy)]
struct Edit {
    parent: Neighbour,
    /// Whether the new row is a one-feature edit of another linked row as well, along another feature.
    completes_rectangle: bool,
}

/// What describing an edit as a step needs.
#[derive(Clone, Copy)]
struct Steps<'a> {
    features: &'a [Feature],
    scales: &'a Scales,
    quantiser: &'a Quantiser,
    drifted: &'a [usize],
    history: &'a History,
}

// === impl Structure ===

impl Structure {
    /// Weighs the new row's edit.
    pub(super) fn weigh_edit(&mut self, link: &Link<'_>, component: SlotRef, clients: &mut Table<Key, Client>) -> Automation {
        let last = self.components.get(component).and_then(Component::last_feature);
        let edit = self.edit(Parents { link, component, own_only: false }, last);
        let steps = Steps {
            features: &self.features,
            scales: &self.scales,
            quantiser: &self.quantiser,
            drifted: &self.drifted,
            history: &self.history,
        };
        let along_component = self.components.get_mut(component).map_or(0.0, |c| c.step(steps.step(edit, link.new)));
        let mut automation = Automation { component: along_component, own_chain: 0.0 };
        if link.own_link
            && let Some(client) = clients.get_mut(link.new.sender.at)
        {
            let last = client.structure.edit_chain(component).last_feature();
            let edit = self.edit(Parents { link, component, own_only: true }, last);
            automation.own_chain = client.structure.step(component, steps.step(edit, link.new));
        }
        automation
    }

    /// The edit that made the new row; `last` is the feature that the step before changed.
    fn edit(&self, parents: Parents<'_>, last: Option<u16>) -> Edit {
        let parent = self.most_human(parents, last).unwrap_or(parents.link.target);
        Edit { parent, completes_rectangle: self.completes_rectangle(parents, parent) }
    }

    /// The possible parents.
    fn linked<'a>(&'a self, parents: Parents<'a>) -> impl Iterator<Item = &'a Neighbour> {
        let Parents { link, component, own_only } = parents;
        link.new
            .near
            .iter()
            .filter(move |n| n.log_p <= link.linked_at && (n.own || !own_only) && self.component_of(n.row) == Some(component))
    }

    /// Whether the row is a one-feature edit along two features: of its parent and of another linked row. Then it completes a rectangle.
    fn completes_rectangle(&self, parents: Parents<'_>, parent: Neighbour) -> bool {
        let single = |n: &Neighbour| n.comparison.changed == 1 && (n.own || !parents.own_only);
        single(&parent) && self.linked(parents).any(|n| single(n) && n.comparison.feature != parent.comparison.feature)
    }

    /// The parent that makes the step look most like a person's: with the fewest changed features, and of one-feature edits one of the
    /// feature that was edited last.
    fn most_human(&self, parents: Parents<'_>, last: Option<u16>) -> Option<Neighbour> {
        let mut chosen: Option<Neighbour> = None;
        for candidate in self.linked(parents) {
            let better = chosen.is_none_or(|c| {
                candidate.comparison.changed < c.comparison.changed
                    || (candidate.comparison.changed == c.comparison.changed
                        && candidate.comparison.changed == 1
                        && Some(candidate.comparison.feature) == last
                        && Some(c.comparison.feature) != last)
            });
            if better {
                chosen = Some(*candidate);
            }
        }
        chosen
    }
}

// === impl Steps ===

impl<'a> Steps<'a> {
    /// The step from the parent to the new row.
    fn step(&self, edit: Edit, new: &ComparedRow<'_>) -> EditStep<'a> {
        let Edit { parent, completes_rectangle } = edit;
        let j = usize::from(parent.comparison.feature);
        let (codes, remainders) = (self.history.row(parent.row), self.history.remainders(parent.row));
        let before = |j| self.quantiser.decode(j, codes, remainders);
        let (hashes, row) = (&new.encoded.hashes, &new.query.row);
        let several = parent.comparison.changed > 1;
        EditStep {
            changed: parent.comparison.changed,
            feature: parent.comparison.feature,
            from: before(j),
            to: row[j],
            line: hashes.whole ^ hashes.tokens[j],
            crossed: completes_rectangle,
            missing: row.iter().filter(|cell| cell.is_missing()).count() as u16,
            drifted: self.drifted.contains(&j),
            level: if several { self.scales.even((0..self.features.len()).map(before), row) } else { None },
            profile: &self.features[j],
            scales: self.scales,
            width: self.features.len(),
        }
    }
}
