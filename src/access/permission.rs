//! Roles, and what each may do. A permission is written `resource:action`, and each belongs to the least role that has it.
//!
//! Three roles that contain each other are enough for a team: one looks, one decides, one lets people in. The table is the whole policy;
//! a matrix test asks every route as every role.

use serde::{Deserialize, Serialize};

/// What a person or program may do in general. A later role may do all that an earlier one may.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Looks.
    Viewer,
    /// Looks and decides about cases.
    Analyst,
    /// Lets people and programs in, and reads the audit.
    Admin,
}

/// One thing to be done to one kind of thing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Permission {
    /// Models and their state.
    ModelsRead,
    /// Callers and their verdicts.
    CallersRead,
    /// Campaigns and their members.
    CampaignsRead,
    /// The stream of verdicts.
    VerdictsRead,
    /// Cases with their queries and notes.
    CasesRead,
    /// State, owner, notes and feedback of a case.
    CasesWrite,
    /// What is silenced, and until when.
    SuppressionsRead,
    /// To silence an address, a prefix or an account, and to end that.
    SuppressionsWrite,
    /// To take evidence out of the house.
    ExportRead,
    /// Who did what.
    AuditRead,
    /// API keys, without their secrets.
    KeysRead,
    /// To make and revoke API keys.
    KeysWrite,
    /// Local accounts.
    UsersRead,
    /// To make, change and remove local accounts, and to end their sessions.
    UsersWrite,
    /// How the service is configured.
    SettingsRead,
}

impl Role {
    /// Every role, least first.
    pub const ALL: [Self; 3] = [Self::Viewer, Self::Analyst, Self::Admin];

    /// The word in configuration, database and pages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Analyst => "analyst",
            Self::Admin => "admin",
        }
    }

    /// The role of a word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == word)
    }

    /// Whether the role has a permission.
    pub fn may(self, permission: Permission) -> bool {
        self >= permission.least_role()
    }
}

impl Permission {
    /// Every permission.
    pub const ALL: [Self; 15] = [
        Self::ModelsRead,
        Self::CallersRead,
        Self::CampaignsRead,
        Self::VerdictsRead,
        Self::CasesRead,
        Self::CasesWrite,
        Self::SuppressionsRead,
        Self::SuppressionsWrite,
        Self::ExportRead,
        Self::AuditRead,
        Self::KeysRead,
        Self::KeysWrite,
        Self::UsersRead,
        Self::UsersWrite,
        Self::SettingsRead,
    ];

    /// Its name, `resource:action`.
    pub const fn name(self) -> &'static str {
        self.row().0
    }

    /// The least role that has it.
    pub const fn least_role(self) -> Role {
        self.row().1
    }

    /// The policy.
    const fn row(self) -> (&'static str, Role) {
        match self {
            Self::ModelsRead => ("models:read", Role::Viewer),
            Self::CallersRead => ("callers:read", Role::Viewer),
            Self::CampaignsRead => ("campaigns:read", Role::Viewer),
            Self::VerdictsRead => ("verdicts:read", Role::Viewer),
            Self::CasesRead => ("cases:read", Role::Viewer),
            Self::CasesWrite => ("cases:write", Role::Analyst),
            Self::SuppressionsRead => ("suppressions:read", Role::Viewer),
            Self::SuppressionsWrite => ("suppressions:write", Role::Analyst),
            Self::ExportRead => ("export:read", Role::Analyst),
            // The audit names colleagues and what they looked at.
            Self::AuditRead => ("audit:read", Role::Admin),
            Self::KeysRead => ("keys:read", Role::Admin),
            Self::KeysWrite => ("keys:write", Role::Admin),
            Self::UsersRead => ("users:read", Role::Admin),
            Self::UsersWrite => ("users:write", Role::Admin),
            Self::SettingsRead => ("settings:read", Role::Admin),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_permission_has_a_name_of_its_own_of_two_parts() {
        let names: BTreeSet<_> = Permission::ALL.iter().map(|one| one.name()).collect();
        assert_eq!(names.len(), Permission::ALL.len());
        assert!(names.iter().all(|name| name.split(':').count() == 2), "{names:?}");
    }

    #[test]
    fn a_viewer_changes_nothing_and_an_analyst_lets_nobody_in() {
        let of = |role: Role| Permission::ALL.into_iter().filter(move |one| role.may(*one)).map(Permission::name);
        assert!(of(Role::Viewer).all(|name| name.ends_with(":read")));
        assert!(
            of(Role::Analyst).all(|name| !name.starts_with("users") && !name.starts_with("keys") && !name.starts_with("audit"))
        );
        assert_eq!(of(Role::Admin).count(), Permission::ALL.len());
    }

    #[test]
    fn a_role_is_read_by_its_name_alone() {
        assert!(Role::ALL.into_iter().all(|role| Role::parse(role.name()) == Some(role)));
        assert_eq!(Role::parse("root"), None);
    }
}
