//! Keys and token issuers of the configuration: parts of its section `[api]`.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::permission::Role;
use super::principal::ModelScope;
use super::secret_token::is_hash;
use crate::document::Faults;
use crate::event::EventTime;

/// An API key of the configuration. The key itself is not in it, only its hash; `tripline key` makes both.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyConfig {
    /// Name in the audit.
    pub name: String,
    /// The key's id: the part between its underscores.
    pub id: String,
    /// `sha256:` and the hash of the key's secret.
    pub hash: String,
    /// What it may do.
    pub role: Role,
    /// Models that it may know of; empty for all.
    #[serde(default)]
    pub models: Vec<String>,
    /// When it ends, as `2027-01-31` or `2027-01-31T12:00:00Z`; empty for never.
    #[serde(default)]
    pub expires: String,
}

/// Bearer tokens of an identity provider.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct JwtConfig {
    /// The claim `iss` that a token must have. Empty: tokens are not taken.
    pub issuer: String,
    /// The claim `aud` that a token must have.
    pub audience: String,
    /// Where the issuer's public keys are: the URL of a JSON web key set, or a file with one, or a PEM file.
    pub keys: String,
    /// JSON pointer to the claim with the roles: a list, or words in a text.
    pub role_claim: String,
    /// Words of that claim, and what they mean here.
    pub roles: BTreeMap<String, Role>,
    /// JSON pointer to the claim with the models that a token may know of; empty: all.
    pub models_claim: String,
}

impl Default for JwtConfig {
    fn default() -> Self {
        Self {
            issuer: String::new(),
            audience: String::new(),
            keys: String::new(),
            role_claim: "/roles".into(),
            roles: BTreeMap::new(),
            models_claim: String::new(),
        }
    }
}

// === impl KeyConfig ===

impl KeyConfig {
    /// When it ends; none for never, or if it is written wrongly (see [`KeyConfig::validate`]).
    pub fn ends(&self) -> Option<EventTime> {
        // A day alone is the first moment of the day.
        let text = if self.expires.contains('T') { self.expires.clone() } else { format!("{}T00:00:00Z", self.expires) };
        EventTime::parse(&text).ok()
    }

    /// The models that it may know of.
    pub fn scope(&self) -> ModelScope {
        ModelScope::of(&self.models)
    }

    /// Adds every fault of the key with this number in the file.
    pub fn validate(&self, faults: &mut Faults<'_>, nth: usize) {
        let mut add = |setting: &str, what: &str, remedy: &str| faults.add(&format!("api.keys.{nth}.{setting}"), what, remedy);
        if self.name.trim().is_empty() {
            add("name", "a key needs a name for the audit", "write what uses the key");
        }
        if self.id.is_empty() || self.id.contains('_') {
            add("id", "it is no id of a key", "copy it from the output of 'tripline key'");
        }
        if !is_hash(&self.hash) {
            add("hash", "it is no hash of a key", "copy it from the output of 'tripline key'; the key itself does not belong here");
        }
        if !self.expires.is_empty() && self.ends().is_none() {
            add("expires", "it is no date", "write 2027-01-31 or 2027-01-31T12:00:00Z");
        }
    }
}

// === impl JwtConfig ===

impl JwtConfig {
    /// Whether tokens are taken.
    pub fn is_used(&self) -> bool {
        !self.issuer.is_empty()
    }

    /// What a word of a token's roles means here.
    pub fn role_of(&self, word: &str) -> Option<Role> {
        self.roles.get(word).copied()
    }

    /// Adds every fault.
    pub fn validate(&self, faults: &mut Faults<'_>) {
        if !self.is_used() {
            if !self.keys.is_empty() || !self.audience.is_empty() {
                faults.add("api.jwt.issuer", "tokens need an issuer", "write the claim 'iss' of your tokens");
            }
            return;
        }
        let mut need = |setting: &str, is_wrong: bool, what: &str, remedy: &str| {
            if is_wrong {
                faults.add(&format!("api.jwt.{setting}"), what, remedy);
            }
        };
        let pointer = |text: &str| text.starts_with('/');
        let plain = self.keys.starts_with("http://") && !is_local(&self.keys);
        need(
            "audience",
            self.audience.is_empty(),
            "a token for another service would be taken",
            "write the claim 'aud' of tokens for Tripline",
        );
        need(
            "keys",
            self.keys.is_empty(),
            "signatures cannot be checked",
            "write the URL of the issuer's key set, or a file with it",
        );
        need("keys", plain, "keys that come over plain HTTP can be exchanged on the way", "write https://");
        need(
            "role_claim",
            !pointer(&self.role_claim),
            "it is no JSON pointer",
            "write, for example, /roles or /realm_access/roles",
        );
        need(
            "models_claim",
            !self.models_claim.is_empty() && !pointer(&self.models_claim),
            "it is no JSON pointer",
            "write, for example, /models",
        );
        need(
            "roles",
            self.roles.is_empty(),
            "no token would have a role",
            "write which word of the claim means viewer, analyst or admin",
        );
    }
}

/// Whether a URL points at this machine.
fn is_local(url: &str) -> bool {
    let host = url::Url::parse(url).ok().and_then(|url| url.host_str().map(str::to_owned));
    host.is_some_and(|host| matches!(host.as_str(), "127.0.0.1" | "localhost" | "[::1]"))
}
