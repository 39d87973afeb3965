//! From evidence to verdicts: who is probing, with what confidence, and why.
//!
//! This file holds what a verdict *is*: the line of `replay --verdicts`, of the verdict topic and of the API.
//!
//! | file | what it does |
//! |---|---|
//! | [`client`] | what is known of one client |
//! | [`distribution`] | are a client's rows distributed like the world's and its peers'? |
//! | [`evidence`] | sequential evidence with a bounded rate of false alarms |
//! | [`ablation`] | is a client odd, or one column of its data? |
//! | [`common_cause`] | is an oddity common to callers? |
//! | [`arrivals`] | how many queries come from callers that are new |
//! | [`accusation_limit`] | how many accusations are believable? |
//! | [`column_change`] | a column that many callers write otherwise |
//! | [`crowd`] | many strangers with a query or two each, as one actor |
//! | [`structure`] | do rows stand in a relation to earlier rows that nature does not produce? |
//! | [`campaign`] | components of linked rows, whoever sent them |
//! | [`shared_identity`] | what flagged clients have in common: address, prefix, account |
//! | [`information_budget`] | how much could have been learned from the answers |
//! | [`drift`] | does the world change? |
//! | [`unreadable`] | who hides in records that nobody can read |
//! | [`example_values`] | examples of what callers write in such a column |
//! | [`volume`] | who asks far more than callers do |
//! | [`model_state`] | the model's verdict as a state machine |
//! | [`model_signal`] | the signals of a verdict on a model |
//! | [`family`] | the shapes of probing and their names |

pub mod ablation;
pub mod accusation_limit;
pub mod arrivals;
pub mod caller;
pub mod campaign;
pub mod client;
pub mod column_change;
pub mod common_cause;
pub mod crowd;
pub mod distribution;
pub mod drift;
pub mod evidence;
pub mod example_values;
pub mod family;
pub mod information_budget;
pub mod model_signal;
pub mod model_state;
pub mod shared_identity;
pub mod structure;
pub mod unreadable;
pub mod volume;

use serde::{Serialize, Serializer};

pub use column_change::ColumnChange;
pub use family::Family;

use crate::event::{EventTime, Provenance};
use crate::hash;

/// Numbers in verdict lines have four decimals: more would claim a precision that statistics of a window do not have, and would
/// differ in the last bits between machines.
const DECIMALS: f64 = 1e4;

/// Whom a verdict speaks of.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// An address, an account, or an account at an address.
    Client,
    /// Several callers whose queries belong together.
    Campaign,
    /// All traffic of a model.
    Model,
}

/// What a verdict says.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord, Serialize, serde::Deserialize)]
pub enum Finding {
    /// Client: nothing against it (again).
    #[serde(rename = "benign")]
    Benign,
    /// Client: evidence, but not enough.
    #[serde(rename = "suspicious")]
    Suspicious,
    /// Model: nothing is happening.
    #[serde(rename = "stable")]
    Stable,
    /// Model: the world changed.
    #[serde(rename = "drift")]
    Drift,
    /// Somebody queries systematically.
    #[serde(rename = "probing")]
    Probing,
    /// Model: both at once.
    #[serde(rename = "drift+probing")]
    DriftAndProbing,
}

impl Finding {
    /// The word in verdict lines and metric labels.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Benign => "benign",
            Self::Suspicious => "suspicious",
            Self::Stable => "stable",
            Self::Drift => "drift",
            Self::Probing => "probing",
            Self::DriftAndProbing => "drift+probing",
        }
    }
}

/// One statistic's contribution to a verdict.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct SignalValue {
    /// Name of the statistic, as in the documentation.
    pub name: &'static str,
    /// What was measured.
    #[serde(serialize_with = "rounded")]
    pub value: f64,
    /// What honest traffic shows.
    #[serde(serialize_with = "rounded")]
    pub reference: f64,
    /// Natural logarithm of the evidence against honest traffic; verdict lines list the heaviest first.
    #[serde(serialize_with = "rounded")]
    pub evidence: f64,
}

/// Drift of one feature.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct FeatureDrift {
    /// Feature name; `prediction` for the model's answers.
    pub name: String,
    /// Population stability index of the window.
    #[serde(serialize_with = "rounded")]
    pub psi: f64,
    /// The value that this window exceeds by chance with the configured probability.
    #[serde(serialize_with = "rounded")]
    pub critical: f64,
    /// The index when the suspects' queries are left out.
    #[serde(serialize_with = "rounded")]
    pub psi_without_suspects: f64,
}

/// A query that led to a verdict.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct QueryRef {
    /// When it was asked.
    pub at: At,
    /// Request id; left out if the log has none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub request_id: String,
    /// Where it lies in the log.
    #[serde(flatten)]
    pub provenance: Provenance,
}

/// An event time that prints as RFC 3339.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct At(pub EventTime);

impl Serialize for At {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

/// One change of a finding, as a JSON line. Fields that do not apply are left out.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Verdict {
    /// Id: a hash of everything else in the line, so a replay repeats it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub id: String,
    /// Event time of the query (or window end) that led to the verdict.
    pub at: At,
    /// Whom it speaks of.
    pub scope: Scope,
    /// Model name.
    pub model: String,
    /// Client scope: the address, if the verdict speaks of an address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_ip: Option<String>,
    /// Client scope: the prefix (/24, /64), if the verdict speaks of a prefix as a whole; its honest addresses are not meant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_prefix: Option<String>,
    /// Client scope: the account, if the verdict speaks of an account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// What it says.
    pub verdict: Finding,
    /// Shape of the probing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub family: Option<Family>,
    /// MITRE ATLAS techniques.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub technique: &'static [&'static str],
    /// OWASP ML Top 10 entry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owasp: Option<&'static str>,
    /// Confidence, 0 to 1: one less the stated bound on the probability of this evidence from honest traffic. Left out where nothing
    /// bounds it, as for a model that is stable.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "rounded_if_any")]
    pub confidence: Option<f64>,
    /// Case that groups the verdicts of one incident; a function of content, so a replay repeats it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub case: Option<String>,
    /// Queries of this client (campaign, model) up to the verdict.
    pub queries_seen: u64,
    /// Request id (or log position) of the first query that counts as evidence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_query: Option<String>,
    /// Event time of that query.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<At>,
    /// The addresses of a campaign, or the flagged ones of a prefix or an account.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub members: Vec<String>,
    /// Model scope: the features that drifted. Campaign scope, of a crowd of strangers: the columns by which its rows differ from the
    /// reference, the farthest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub features: Vec<FeatureDrift>,
    /// Model scope: the columns that many callers write as the reference does not know.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<ColumnChange>,
    /// Why, heaviest first.
    pub signals: Vec<SignalValue>,
    /// The queries that led here, oldest first, bounded.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub queries: Vec<QueryRef>,
}

impl Verdict {
    /// The one constructor of verdict lines: a finding, and nothing more: no caller, no shape, no reason, no confidence.
    pub fn new(at: EventTime, scope: Scope, model: &str, verdict: Finding) -> Self {
        Self {
            id: String::new(),
            at: At(at),
            scope,
            model: model.to_owned(),
            source_ip: None,
            source_prefix: None,
            client_id: None,
            verdict,
            family: None,
            technique: &[],
            owasp: None,
            confidence: None,
            case: None,
            queries_seen: 0,
            first_query: None,
            since: None,
            members: Vec::new(),
            features: Vec::new(),
            columns: Vec::new(),
            signals: Vec::new(),
            queries: Vec::new(),
        }
    }

    /// Gives the line its id, once everything else is in it; `salt` is the deployment's.
    pub fn set_id(&mut self, salt: u64) {
        self.id.clear();
        // Whether examples are shown is a setting of the decoder, and the same finding has the same id under both.
        let examples: Vec<Vec<String>> = self.columns.iter_mut().map(|column| std::mem::take(&mut column.examples)).collect();
        // A line of plain fields can always be written; if it could not, the id would still name model and time.
        let content = serde_json::to_string(self).unwrap_or_else(|_| format!("{} {}", self.model, self.at.0));
        self.id = format!("v-{:016x}", hash::mix2(hash::text(&content), salt));
        self.columns.iter_mut().zip(examples).for_each(|(column, examples)| column.examples = examples);
    }

    /// The line with a shape of probing, and the techniques of ATLAS and OWASP that go with it.
    #[must_use]
    pub fn with_family(self, family: Family) -> Self {
        Self { family: Some(family), technique: family.techniques(), owasp: Some(family.owasp()), ..self }
    }

    /// The line with the queries that led to it; `first` is the first that counts as evidence.
    #[must_use]
    pub fn with_evidence(self, first: Option<&QueryRef>, queries: Vec<QueryRef>) -> Self {
        Self { first_query: first.map(QueryRef::name), since: first.map(|query| query.at), queries, ..self }
    }
}

// === impl QueryRef ===

impl QueryRef {
    /// The name by which a person finds the query: its request id, or else where it lies, as `topic/partition:offset`
    /// (`partition:offset` in a file).
    pub fn name(&self) -> String {
        if !self.request_id.is_empty() {
            return self.request_id.clone();
        }
        let Provenance { topic, partition, offset, .. } = &self.provenance;
        let within = if topic.is_empty() { "" } else { "/" };
        format!("{}{within}{partition}:{offset}", topic.name())
    }
}

fn rounded_if_any<S: Serializer>(value: &Option<f64>, serializer: S) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => rounded(value, serializer),
        None => serializer.serialize_none(),
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn rounded<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64((value * DECIMALS).round() / DECIMALS)
}
