//! Cases: the ids that group the verdicts of one incident, and the campaigns that were announced.
//!
//! An id is a function of the model, the deployment's salt and the first evidence, so a replay repeats it.

use std::collections::BTreeMap;

use super::profile::Profile;
use crate::event::EventTime;
use crate::hash;
use crate::judge::QueryRef;
use crate::judge::campaign::Component;
use crate::judge::client::case_id;

/// Tells the case of a burst of newcomers from the case of the client whose query was its first.
const BURST_SALT: u64 = 7;
/// An id has twelve hexadecimal digits: two of a million cases meet by chance once in five hundred deployments.
const ID_BITS: u64 = 0xffff_ffff_ffff;

/// A campaign that was announced.
#[derive(Clone, Copy, Debug, serde::Serialize, serde::Deserialize)]
pub(super) struct Announced {
    /// Members at the last announcement.
    pub(super) members: usize,
    /// When that was.
    pub(super) at: EventTime,
}

/// Cases of one model.
#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
pub(super) struct Cases {
    /// Campaigns that were announced, by case.
    pub(super) campaigns: BTreeMap<String, Announced>,
    /// The case of the last burst of newcomers, with the start of that burst.
    burst: Option<(EventTime, String)>,
    /// The case of the crowd that stands.
    crowd: Option<String>,
}

// === impl Cases ===

impl Cases {
    /// The case of the burst of newcomers that began at `since`; `first` is the first evidence against the client that brings it up,
    /// and names the case if it is new.
    pub(super) fn of_burst(&mut self, since: EventTime, profile: &Profile, first: Option<&QueryRef>) -> String {
        if let Some((known, case)) = &self.burst
            && *known == since
        {
            return case.clone();
        }
        let case = first.map_or_else(String::new, |query| case_id(profile.model(), profile.salt ^ BURST_SALT, query));
        self.burst = Some((since, case.clone()));
        case
    }

    /// Whether so many members are announced when so many were announced before.
    pub(super) fn is_enough(members: usize, announced: usize) -> bool {
        members >= 2 && members >= 2 * announced
    }

    /// The case of the crowd that stands.
    pub(super) fn of_crowd(&self) -> Option<&str> {
        self.crowd.as_deref()
    }

    /// From now on this is the case of the crowd that stands.
    pub(super) fn set_of_crowd(&mut self, case: Option<String>) {
        self.crowd = case;
    }

    /// Members of a case when it was announced last; one if it was not.
    pub(super) fn announced(&self, case: &str) -> usize {
        self.campaigns.get(case).map_or(1, |campaign| campaign.members)
    }

    /// Whether a campaign of so many members is announced (again): when it has two, and whenever their number has doubled.
    pub(super) fn is_due(&self, case: &str, members: usize) -> bool {
        Self::is_enough(members, self.announced(case))
    }
}

/// Case of a client's verdicts.
pub(super) fn of_client(profile: &Profile, first: &QueryRef) -> String {
    case_id(profile.model(), profile.salt, first)
}

/// Case of a component's verdicts.
pub(super) fn of_component(profile: &Profile, component: &Component) -> String {
    let model = hash::mix2(hash::text(profile.model()), profile.salt);
    let place = hash::mix2(component.first_row, component.since.micros() as u64);
    format!("c-{:012x}", hash::mix2(model, place) & ID_BITS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_campaign_is_announced_at_two_members_and_whenever_they_have_doubled() {
        let mut cases = Cases::default();
        assert!(!cases.is_due("c-1", 1));
        assert!(cases.is_due("c-1", 2));
        cases.campaigns.insert("c-1".into(), Announced { members: 3, at: EventTime::default() });
        assert!(!cases.is_due("c-1", 5));
        assert!(cases.is_due("c-1", 6));
    }
}
