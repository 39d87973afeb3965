//! The rules of cases, as functions of their arguments alone: to which case a verdict belongs, how severe it is, which status may follow
//! which, and when a dismissed pattern comes back.
//!
//! * A verdict belongs to the case of its incident (the engine's id, which a campaign and its members share), else to the running case of its
//!   actor on that model, else it opens a case. A case is *running* while it is open, acknowledged or confirmed and was heard of within
//!   [`Rules::join_micros`].
//! * A **dismissed** case stays dismissed while new verdicts show the same pattern: the same actor (or incident) on the same model, the same
//!   family, at most the severity that was dismissed, and before the end of the dismissal. Anything else brings it back.
//! * A **closed** case is opened again by new evidence of the same incident; a new incident of the same actor opens a case that names the old
//!   one as related.
//! * A benign verdict opens nothing and brings nothing back.

use serde::{Deserialize, Serialize};

use crate::judge::Finding;

/// Members from which a campaign is critical. Chosen: ten addresses are paid for or stolen; nobody has them by chance.
const CRITICAL_MEMBERS: usize = 10;
/// Information budget (different rows against the unknowns of a linear copy) from which a case is more severe: half of what a linear copy
/// needs, and all of it.
const HALF_A_COPY: f64 = 0.5;
const A_COPY: f64 = 1.0;

/// Where the work on a case stands.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Nobody has looked at it.
    Open,
    /// Somebody looks into it.
    Acknowledged,
    /// It is an attack.
    Confirmed,
    /// It is none, or none that matters; the same pattern stays quiet for a time.
    Dismissed,
    /// The work is done.
    Closed,
}

/// How urgent a case is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Suspicious.
    Low,
    /// One caller probes.
    Medium,
    /// Several callers probe together, or one has half of what a copy needs.
    High,
    /// Ten callers or more together, or enough for a linear copy.
    Critical,
}

/// What the rules need to know of a verdict.
#[derive(Clone, PartialEq, Debug)]
pub struct Facts<'a> {
    /// Its id.
    pub id: &'a str,
    /// Event time, in microseconds.
    pub at: i64,
    /// Whether it speaks of a caller or a campaign, and not of a model.
    pub has_actor: bool,
    /// What it says.
    pub finding: Finding,
    /// Its family; empty if it has none.
    pub family: &'a str,
    /// The engine's incident; empty if it has none.
    pub incident: &'a str,
    /// How severe it is by itself.
    pub severity: Severity,
}

/// What the rules need to know of a case.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CaseState {
    /// Its id.
    pub id: String,
    /// Its status.
    pub status: Status,
    /// Event time of its last verdict.
    pub last_seen: i64,
    /// What was dismissed.
    pub dismissed: Dismissed,
}

/// The pattern that was dismissed with a case.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Dismissed {
    /// Its family.
    pub family: String,
    /// Its severity, as [`Severity::rank`].
    pub severity: i64,
    /// Until when it stays dismissed, in microseconds.
    pub until: i64,
}

/// Times of the rules.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rules {
    /// A new incident joins the running case of its actor if that was heard of within this time, in microseconds.
    pub join_micros: i64,
}

/// Where a verdict belongs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Placement {
    /// To no case: it speaks of a model, or says that nothing is (any more) against a caller without a case.
    None,
    /// To a case that is there.
    Join {
        /// The case.
        case: String,
        /// Whether the case goes back to open.
        reopens: bool,
    },
    /// To a new case.
    Open {
        /// The id that it gets, unless there is such a case: then a function of this id and the verdict's.
        id: String,
        /// A case of the same actor that is over; empty if there is none.
        related: String,
    },
}

// === impl Status ===

impl Status {
    /// Every status, in the order of the work.
    pub const ALL: [Self; 5] = [Self::Open, Self::Acknowledged, Self::Confirmed, Self::Dismissed, Self::Closed];

    /// The word in the database, in the API and in metric labels.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Acknowledged => "acknowledged",
            Self::Confirmed => "confirmed",
            Self::Dismissed => "dismissed",
            Self::Closed => "closed",
        }
    }

    /// Reads the word.
    pub fn read(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.name() == name)
    }

    /// Whether somebody still has to do something.
    pub const fn is_running(self) -> bool {
        matches!(self, Self::Open | Self::Acknowledged | Self::Confirmed)
    }

    /// Whether a person may change this status to `next`. What is over can only be opened again, so that nothing is confirmed or closed
    /// by a slip in a list of old cases; everything else may follow.
    pub const fn may_become(self, next: Self) -> bool {
        match self {
            Self::Open | Self::Acknowledged | Self::Confirmed => true,
            Self::Dismissed | Self::Closed => matches!(next, Self::Open | Self::Dismissed | Self::Closed),
        }
    }
}

// === impl Severity ===

impl Severity {
    /// Every severity, the least first.
    pub const ALL: [Self; 4] = [Self::Low, Self::Medium, Self::High, Self::Critical];

    /// The word in the API and in metric labels.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }

    /// Its place, 1 to 4, by which cases are sorted.
    pub const fn rank(self) -> i64 {
        match self {
            Self::Low => 1,
            Self::Medium => 2,
            Self::High => 3,
            Self::Critical => 4,
        }
    }

    /// The severity of a place; the least or the most beyond the ends.
    pub const fn of_rank(rank: i64) -> Self {
        match rank {
            i64::MIN..=1 => Self::Low,
            2 => Self::Medium,
            3 => Self::High,
            _ => Self::Critical,
        }
    }

    /// How severe a verdict is: `members` callers together, with an information budget (different rows against the unknowns of a linear
    /// copy).
    pub fn of(finding: Finding, members: usize, budget: f64) -> Self {
        if !matches!(finding, Finding::Probing | Finding::DriftAndProbing) {
            return Self::Low;
        }
        if members >= CRITICAL_MEMBERS || budget >= A_COPY {
            Self::Critical
        } else if members >= 2 || budget >= HALF_A_COPY {
            Self::High
        } else {
            Self::Medium
        }
    }
}

// === impl Dismissed ===

impl Dismissed {
    /// Whether a verdict shows no more than what was dismissed.
    pub fn covers(&self, verdict: &Facts<'_>) -> bool {
        verdict.at < self.until && verdict.family == self.family && verdict.severity.rank() <= self.severity
    }
}

// === impl CaseState ===

impl CaseState {
    /// Whether a new verdict of the same incident brings the case back.
    fn is_brought_back_by(&self, verdict: &Facts<'_>) -> bool {
        verdict.finding != Finding::Benign
            && match self.status {
                Status::Open | Status::Acknowledged | Status::Confirmed => false,
                Status::Dismissed => !self.dismissed.covers(verdict),
                Status::Closed => true,
            }
    }
}

/// Where a verdict belongs, given the case of its incident and the latest case of its actor, if there are such.
pub fn place(verdict: &Facts<'_>, of_incident: Option<&CaseState>, of_actor: Option<&CaseState>, rules: Rules) -> Placement {
    if !verdict.has_actor {
        return Placement::None;
    }
    let join = |case: &CaseState| Placement::Join { case: case.id.clone(), reopens: case.is_brought_back_by(verdict) };
    if let Some(case) = of_incident {
        return join(case);
    }
    let Some(last) = of_actor else {
        return if verdict.finding == Finding::Benign { Placement::None } else { open(verdict, "") };
    };
    let recent = verdict.at.saturating_sub(last.last_seen) <= rules.join_micros;
    match last.status {
        // That there is nothing against it any more is told to the case, whatever its status.
        _ if verdict.finding == Finding::Benign => join(last),
        Status::Open | Status::Acknowledged | Status::Confirmed if recent => join(last),
        Status::Dismissed if last.dismissed.covers(verdict) => join(last),
        _ => open(verdict, &last.id),
    }
}

fn open(verdict: &Facts<'_>, related: &str) -> Placement {
    let id =
        if verdict.incident.is_empty() { format!("c-{}", verdict.id.trim_start_matches("v-")) } else { verdict.incident.into() };
    Placement::Open { id, related: related.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400_000_000;
    const RULES: Rules = Rules { join_micros: 30 * DAY };

    fn facts<'a>(incident: &'a str, family: &'a str) -> Facts<'a> {
        Facts { id: "v-1", at: 100 * DAY, has_actor: true, finding: Finding::Probing, family, incident, severity: Severity::Medium }
    }

    fn case(status: Status, last_seen: i64) -> CaseState {
        let dismissed = Dismissed { family: "grid".into(), severity: 2, until: 120 * DAY };
        CaseState { id: "c-old".into(), status, last_seen, dismissed }
    }

    fn joins(reopens: bool) -> Placement {
        Placement::Join { case: "c-old".into(), reopens }
    }

    #[test]
    fn a_verdict_on_a_model_and_a_benign_one_about_nobody_open_no_case() {
        let model = Facts { has_actor: false, ..facts("", "") };
        assert_eq!(place(&model, None, None, RULES), Placement::None);
        let benign = Facts { finding: Finding::Benign, ..facts("", "") };
        assert_eq!(place(&benign, None, None, RULES), Placement::None);
        assert_eq!(place(&benign, None, Some(&case(Status::Closed, 0)), RULES), joins(false));
    }

    #[test]
    fn the_incident_decides_before_the_actor() {
        let of_incident = CaseState { id: "c-campaign".into(), ..case(Status::Open, 0) };
        let placed = place(&facts("c-2", "grid"), Some(&of_incident), Some(&case(Status::Open, 99 * DAY)), RULES);
        assert_eq!(placed, Placement::Join { case: "c-campaign".into(), reopens: false });
    }

    #[test]
    fn a_new_incident_joins_the_running_case_of_its_actor_if_that_is_recent() {
        let verdict = facts("c-2", "grid");
        for status in [Status::Open, Status::Acknowledged, Status::Confirmed] {
            assert_eq!(place(&verdict, None, Some(&case(status, 70 * DAY)), RULES), joins(false), "{status:?}");
            let opened = Placement::Open { id: "c-2".into(), related: "c-old".into() };
            assert_eq!(place(&verdict, None, Some(&case(status, 69 * DAY)), RULES), opened, "{status:?}");
        }
        let opened = place(&facts("", "volume"), None, None, RULES);
        assert_eq!(opened, Placement::Open { id: "c-1".into(), related: String::new() });
    }

    #[test]
    fn a_dismissed_pattern_stays_dismissed_until_it_ends_or_grows() {
        let dismissed = case(Status::Dismissed, 99 * DAY);
        assert_eq!(place(&facts("c-2", "grid"), None, Some(&dismissed), RULES), joins(false), "another incident, same pattern");
        assert_eq!(place(&facts("c-old", "grid"), Some(&dismissed), None, RULES), joins(false), "the same incident");
        for other in [
            facts("c-old", "boundary"),
            Facts { severity: Severity::High, ..facts("c-old", "grid") },
            Facts { at: 120 * DAY, ..facts("c-old", "grid") },
        ] {
            assert_eq!(place(&other, Some(&dismissed), None, RULES), joins(true), "{other:?}");
            let opened = place(&Facts { incident: "c-2", ..other.clone() }, None, Some(&dismissed), RULES);
            assert_eq!(opened, Placement::Open { id: "c-2".into(), related: "c-old".into() }, "{other:?}");
        }
    }

    #[test]
    fn a_closed_case_comes_back_with_its_incident_and_not_with_another() {
        let closed = case(Status::Closed, 99 * DAY);
        assert_eq!(place(&facts("c-old", "grid"), Some(&closed), None, RULES), joins(true));
        let benign = Facts { finding: Finding::Benign, ..facts("c-old", "grid") };
        assert_eq!(place(&benign, Some(&closed), None, RULES), joins(false));
        let opened = place(&facts("c-2", "grid"), None, Some(&closed), RULES);
        assert_eq!(opened, Placement::Open { id: "c-2".into(), related: "c-old".into() });
    }

    #[test]
    fn severity_grows_with_callers_and_with_what_was_learned() {
        let of = |finding, members, budget| Severity::of(finding, members, budget);
        assert_eq!(of(Finding::Suspicious, 50, 9.0), Severity::Low);
        assert_eq!(of(Finding::Probing, 1, 0.1), Severity::Medium);
        assert_eq!(of(Finding::Probing, 2, 0.1), Severity::High);
        assert_eq!(of(Finding::Probing, 1, 0.5), Severity::High);
        assert_eq!(of(Finding::Probing, 10, 0.0), Severity::Critical);
        assert_eq!(of(Finding::Probing, 1, 1.0), Severity::Critical);
        assert!(Severity::ALL.into_iter().all(|severity| Severity::of_rank(severity.rank()) == severity));
    }

    #[test]
    fn what_is_over_can_only_be_opened_again() {
        assert!(Status::Open.may_become(Status::Confirmed) && Status::Confirmed.may_become(Status::Dismissed));
        assert!(!Status::Closed.may_become(Status::Confirmed) && Status::Closed.may_become(Status::Open));
        assert!(Status::ALL.into_iter().all(|status| Status::read(status.name()) == Some(status)));
    }
}
