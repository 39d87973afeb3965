//! JSON web tokens of an identity provider (RFC 7519), in `Authorization: Bearer …`.
//!
//! A token counts if its signature is right under a key of the issuer, it names the configured issuer and audience, it has a subject and
//! an end, and now lies within its time. Signatures are asymmetric alone: whoever could check a shared secret could also sign with it, and
//! a server that takes both kinds can be made to use a public key as a secret. The algorithm comes from the key's family, never from the
//! token alone. Tokens cannot be revoked here, so they should be short; the issuer ends them.

mod keys;
mod verifier;

use jsonwebtoken::{Algorithm, Validation, decode, decode_header};
use serde_json::Value;

pub use keys::{IssuerKeys, KeyError};

use super::config::JwtConfig;
use super::principal::{ModelScope, Principal, PrincipalKind};
use crate::event::EventTime;

/// What a signature may be made with.
const ALGORITHMS: [Algorithm; 9] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
];
/// Longest token in bytes; longer ones do not fit the headers anyway.
const MAX_BYTES: usize = 8 * 1024;
/// Seconds by which two clocks may differ.
const LEEWAY: i64 = 60;
/// Longest name of a subject that is taken into the audit.
const MAX_SUBJECT: usize = 200;

/// Reads tokens of one issuer.
#[derive(Clone, Debug)]
pub struct Bearer {
    config: JwtConfig,
    keys: IssuerKeys,
}

/// Why a token does not count. It goes to the log; its sender learns nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TokenFault {
    /// It is no token.
    #[error("it is no JSON web token")]
    Unreadable,
    /// Its algorithm is not taken.
    #[error("its algorithm is not accepted")]
    Algorithm,
    /// No key of the issuer has its name.
    #[error("no key of the issuer has its key id")]
    UnknownKey,
    /// Signature, issuer or audience is wrong.
    #[error("its signature, issuer or audience is wrong")]
    Refused,
    /// It has ended, or has not begun.
    #[error("it has ended, or has not begun")]
    OutOfTime,
    /// It names no subject, or no role that is known here.
    #[error("it names no subject, or no role of api.jwt.roles")]
    NoRole,
}

// === impl Bearer ===

impl Bearer {
    /// A reader of the tokens that the configuration describes.
    pub fn new(config: JwtConfig, keys: IssuerKeys) -> Self {
        verifier::install();
        Self { config, keys }
    }

    /// Who a token speaks of.
    ///
    /// # Errors
    /// [`TokenFault`].
    pub async fn read(&self, token: &str, now: EventTime) -> Result<Principal, TokenFault> {
        if token.len() > MAX_BYTES {
            return Err(TokenFault::Unreadable);
        }
        let header = decode_header(token).map_err(|_| TokenFault::Unreadable)?;
        if !ALGORITHMS.contains(&header.alg) {
            return Err(TokenFault::Algorithm);
        }
        let keys = self.keys.find(header.kid.as_deref(), header.alg).await;
        if keys.is_empty() {
            return Err(TokenFault::UnknownKey);
        }
        let mut validation = Validation::new(header.alg);
        // The time is an argument here, and the library asks the machine for it.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        validation.set_issuer(&[&self.config.issuer]);
        validation.set_audience(&[&self.config.audience]);
        let claims = keys.iter().find_map(|key| decode::<Value>(token, key, &validation).ok()).ok_or(TokenFault::Refused)?.claims;
        within_time(&claims, now)?;
        self.principal(&claims).ok_or(TokenFault::NoRole)
    }

    fn principal(&self, claims: &Value) -> Option<Principal> {
        let name = claims.get("sub")?.as_str().filter(|name| !name.is_empty() && name.len() <= MAX_SUBJECT)?;
        let words = words(claims.pointer(&self.config.role_claim));
        let role = words.iter().filter_map(|word| self.config.role_of(word)).max()?;
        let models = match self.config.models_claim.as_str() {
            "" => ModelScope::All,
            // A token without the claim may know of no model.
            claim => ModelScope::Only(self::words(claims.pointer(claim)).into_iter().collect()),
        };
        Some(Principal { name: name.to_owned(), kind: PrincipalKind::Token, role, models })
    }
}

/// The texts of a claim that is a text or a list of texts.
fn words(claim: Option<&Value>) -> Vec<String> {
    match claim {
        Some(Value::String(text)) => text.split_whitespace().map(str::to_owned).collect(),
        Some(Value::Array(list)) => list.iter().filter_map(|one| one.as_str().map(str::to_owned)).collect(),
        _ => Vec::new(),
    }
}

fn within_time(claims: &Value, now: EventTime) -> Result<(), TokenFault> {
    let at = |name: &str| claims.get(name).map(|value| value.as_f64().ok_or(TokenFault::OutOfTime)).transpose();
    #[expect(clippy::cast_precision_loss, reason = "seconds since 1970")]
    let (now, leeway) = ((now.micros() / 1_000_000) as f64, LEEWAY as f64);
    let ends = at("exp")?.ok_or(TokenFault::OutOfTime)?;
    let begins = at("nbf")?.unwrap_or(0.0);
    if now >= ends + leeway || now + leeway < begins { Err(TokenFault::OutOfTime) } else { Ok(()) }
}

#[cfg(test)]
mod tests;
