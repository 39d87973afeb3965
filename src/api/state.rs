//! What the handlers of the API and the console share.

use std::sync::Arc;

use serde_json::Value;
use tokio::sync::Semaphore;

use super::feed::FeedReader;
use crate::access::accounts::Accounts;
use crate::access::authenticate::Gate;
use crate::access::problem::Problem;
use crate::access::{ModelScope, Principal};
use crate::audit::{Actor, ActorKind, Audit, Entry};
use crate::cases::Cases;

/// Followers of the stream of verdicts at a time, of all callers. Each holds a connection.
const MAX_FOLLOWERS: usize = 16;

/// What the handlers share. Clones are cheap.
#[derive(Clone, Debug)]
pub struct ApiState(Arc<Shared>);

/// The parts of the state.
#[derive(Debug)]
pub struct Shared {
    /// Who may enter.
    pub gate: Arc<Gate>,
    /// What people look at.
    pub feed: FeedReader,
    /// The cases, with the audit; none without a database.
    cases: Option<Cases>,
    /// Settings that an admin may read, in the order in which they are shown.
    pub settings: Vec<(String, String)>,
    /// Places for followers of the stream.
    pub followers: Arc<Semaphore>,
}

impl std::ops::Deref for ApiState {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

// === impl ApiState ===

impl ApiState {
    /// The state of a service.
    pub fn new(gate: Arc<Gate>, feed: FeedReader, cases: Option<Cases>, settings: Vec<(String, String)>) -> Self {
        Self(Arc::new(Shared { gate, feed, cases, settings, followers: Arc::new(Semaphore::new(MAX_FOLLOWERS)) }))
    }

    /// The tables of accounts, keys and sessions.
    ///
    /// # Errors
    /// A problem without a database.
    pub fn accounts(&self) -> Result<&Accounts, Problem> {
        self.gate.accounts.as_ref().ok_or_else(Problem::no_store)
    }

    /// The cases.
    ///
    /// # Errors
    /// A problem without a database.
    pub fn cases(&self) -> Result<&Cases, Problem> {
        self.cases.as_ref().ok_or_else(Problem::no_store)
    }

    /// The audit.
    ///
    /// # Errors
    /// A problem without a database.
    pub fn audit(&self) -> Result<&Audit, Problem> {
        self.cases().map(Cases::audit)
    }

    /// Notes who did what in the audit, or in the log where there is none.
    ///
    /// # Errors
    /// A problem if the database cannot be written: what cannot be audited is not done.
    pub async fn note(&self, actor: Actor, action: &'static str, subject: String, detail: Value) -> Result<(), Problem> {
        tracing::info!(actor = actor.name, action, subject, "audit");
        if let Ok(audit) = self.audit() {
            audit.append(Entry { actor, action, subject, detail }).await?;
        }
        Ok(())
    }
}

/// A principal as the audit names it.
pub fn actor(who: &Principal) -> Actor {
    let kind = match who.kind_name() {
        "user" | "anonymous" => ActorKind::Person,
        _ => ActorKind::Key,
    };
    Actor { kind, name: who.name.clone() }
}

/// Whether somebody may know of a model; what it may not know of is not found.
///
/// # Errors
/// Not found.
pub fn within(scope: &ModelScope, model: &str) -> Result<(), Problem> {
    if scope.has(model) { Ok(()) } else { Err(Problem::not_found()) }
}
