//! Who asks: a person with a session, a program with a key or a token, or anybody on this machine.

use std::collections::BTreeSet;

use super::permission::{Permission, Role};

/// Whoever sent a request, as far as it is known.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Principal {
    /// Its name in the audit.
    pub name: String,
    /// How it proved who it is.
    pub kind: PrincipalKind,
    /// What it may do.
    pub role: Role,
    /// Of which models it may know.
    pub models: ModelScope,
}

/// How a principal proved who it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PrincipalKind {
    /// A person with a local account, by a session's cookie. The values are the session's hash and the token of its forms.
    User {
        /// Hash of the session's token, which is its key in the database.
        session: String,
        /// What a form of this session must bring.
        form_token: String,
    },
    /// A program with an API key, by the key's id.
    Key(String),
    /// Whoever holds a token of the identity provider.
    Token,
    /// Anybody on this machine, where no credential is configured.
    Anonymous,
}

/// The models that somebody may know of.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum ModelScope {
    /// All of them.
    #[default]
    All,
    /// These alone.
    Only(BTreeSet<String>),
}

// === impl Principal ===

impl Principal {
    /// Whoever asks where no credential is configured: it may look, on this machine.
    pub fn anonymous() -> Self {
        Self { name: "anonymous".into(), kind: PrincipalKind::Anonymous, role: Role::Viewer, models: ModelScope::All }
    }

    /// Whether it may do this.
    pub fn may(&self, permission: Permission) -> bool {
        self.role.may(permission)
    }

    /// The session, of a person.
    pub fn session(&self) -> Option<&str> {
        match &self.kind {
            PrincipalKind::User { session, .. } => Some(session),
            _ => None,
        }
    }

    /// What a form must bring; none if the credential is not one that browsers send by themselves.
    pub fn form_token(&self) -> Option<&str> {
        match &self.kind {
            PrincipalKind::User { form_token, .. } => Some(form_token),
            _ => None,
        }
    }

    /// Its kind as a word, for the audit.
    pub fn kind_name(&self) -> &'static str {
        match self.kind {
            PrincipalKind::User { .. } => "user",
            PrincipalKind::Key(_) => "key",
            PrincipalKind::Token => "token",
            PrincipalKind::Anonymous => "anonymous",
        }
    }

    /// What its rate of requests is counted under. Names of different kinds are different callers.
    pub fn rate_key(&self) -> String {
        format!("{}:{}", self.kind_name(), self.name)
    }
}

// === impl ModelScope ===

impl ModelScope {
    /// The scope of a list; an empty one means all.
    pub fn of(models: &[String]) -> Self {
        if models.is_empty() { Self::All } else { Self::Only(models.iter().cloned().collect()) }
    }

    /// Whether a model is in it.
    pub fn has(&self, model: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only(models) => models.contains(model),
        }
    }

    /// The list; empty for all.
    pub fn list(&self) -> Vec<String> {
        match self {
            Self::All => Vec::new(),
            Self::Only(models) => models.iter().cloned().collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_list_is_all_models_and_any_other_is_just_that() {
        assert!(ModelScope::of(&[]).has("adult"));
        let some = ModelScope::of(&["adult".into()]);
        assert!(some.has("adult") && !some.has("flights") && !some.has(""));
        assert_eq!(some.list(), ["adult"]);
    }

    #[test]
    fn nobody_changes_anything_without_a_credential() {
        let nobody = Principal::anonymous();
        assert!(Permission::ALL.into_iter().filter(|one| nobody.may(*one)).all(|one| one.name().ends_with(":read")));
        assert_eq!((nobody.session(), nobody.form_token()), (None, None));
    }
}
