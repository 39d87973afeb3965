//! From the headers of a request to a principal.
//!
//! A request brings one credential: a bearer token, an API key, or a session's cookie, looked for in this order. One that is wrong is
//! refused; it does not fall back to another, so a client learns of its fault instead of acting as somebody else.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use axum::http::{HeaderMap, header};

use super::accounts::{AccountError, Accounts, SessionLimits};
use super::bearer::{Bearer, IssuerKeys, KeyError};
use super::config::{JwtConfig, KeyConfig};
use super::lockout::Lockout;
use super::password::Passwords;
use super::principal::{Principal, PrincipalKind};
use super::rate::Rates;
use super::secret_token::{ApiKey, SecretToken};
use crate::event::EventTime;

/// The header with an API key.
pub const KEY_HEADER: &str = "x-api-key";
/// Purpose of the token that forms bring.
const FORM: &str = "form";

/// Everything that says who may enter. It is shared by all requests.
#[derive(Debug)]
pub struct Gate {
    /// Accounts, keys and sessions; none without a database.
    pub accounts: Option<Accounts>,
    /// Keys of the configuration.
    keys: Vec<KeyConfig>,
    /// Reader of bearer tokens, if they are taken.
    bearer: Option<Bearer>,
    /// Passwords, a few at a time.
    pub passwords: Passwords,
    /// Wrong passwords.
    lockout: Mutex<Lockout>,
    /// How often callers ask.
    pub rates: Rates,
    /// How long sessions last.
    pub limits: SessionLimits,
    /// Whether browsers reach the server by TLS alone.
    pub is_secure: bool,
    /// Host names that requests may name; empty for all.
    hosts: Vec<String>,
    /// Where the service is open to this machine without a credential.
    is_open: bool,
}

/// What a gate is made of.
#[derive(Debug)]
pub struct GateSettings {
    /// Accounts, keys and sessions; none without a database.
    pub accounts: Option<Accounts>,
    /// Keys of the configuration.
    pub keys: Vec<KeyConfig>,
    /// Bearer tokens.
    pub jwt: JwtConfig,
    /// How long sessions last.
    pub limits: SessionLimits,
    /// Whether browsers reach the server by TLS alone.
    pub is_secure: bool,
    /// Host names that requests may name; empty for all.
    pub hosts: Vec<String>,
}

/// Why it is not known who asks.
#[derive(Debug)]
pub enum Unknown {
    /// No credential.
    Missing,
    /// A credential that is wrong, ended or revoked.
    Wrong,
    /// The database cannot say.
    Unavailable,
}

impl From<AccountError> for Unknown {
    fn from(error: AccountError) -> Self {
        tracing::warn!("a credential cannot be checked: {error}");
        Self::Unavailable
    }
}

// === impl Gate ===

impl Gate {
    /// A gate; relative paths begin at `directory`. Without any credential it is open to look.
    ///
    /// # Errors
    /// If the keys of the token issuer cannot be read.
    pub fn new(settings: GateSettings, directory: &Path) -> Result<Self, KeyError> {
        let GateSettings { accounts, keys, jwt, limits, is_secure, hosts } = settings;
        let is_open = accounts.is_none() && keys.is_empty() && !jwt.is_used();
        let bearer = if jwt.is_used() {
            let keys = IssuerKeys::open(&jwt.keys, directory)?;
            Some(Bearer::new(jwt, keys))
        } else {
            None
        };
        Ok(Self {
            accounts,
            keys,
            bearer,
            passwords: Passwords::default(),
            lockout: Mutex::default(),
            rates: Rates::default(),
            limits,
            is_secure,
            hosts,
            is_open,
        })
    }

    /// Whether anybody on this machine may look without a credential.
    pub const fn is_open(&self) -> bool {
        self.is_open
    }

    /// Name of the session's cookie. With the prefix, browsers take it by TLS alone, and from this very host (RFC 6265bis, section 4.1.3).
    pub const fn cookie_name(&self) -> &'static str {
        if self.is_secure { "__Host-tripline" } else { "tripline" }
    }

    /// The value of `Set-Cookie` for a session's token; an empty token takes the cookie away.
    pub fn cookie(&self, token: &str) -> String {
        let (name, secure) = (self.cookie_name(), if self.is_secure { "; Secure" } else { "" });
        let age = if token.is_empty() { 0 } else { self.limits.lifetime.as_secs() };
        format!("{name}={token}; Path=/; HttpOnly; SameSite=Lax; Max-Age={age}{secure}")
    }

    /// Whether a request may name this host. A page of another site whose name was made to point at this machine (DNS rebinding) names its
    /// own.
    pub fn serves(&self, host: Option<&str>) -> bool {
        let Some(host) = host else { return false };
        let name = match host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
            _ => host,
        };
        self.hosts.is_empty() || self.hosts.iter().any(|one| one.eq_ignore_ascii_case(name))
    }

    /// Who sent a request with these headers.
    ///
    /// # Errors
    /// [`Unknown`].
    pub async fn authenticate(&self, headers: &HeaderMap, now: EventTime) -> Result<Principal, Unknown> {
        if let Some(value) = headers.get(header::AUTHORIZATION) {
            let token = value.to_str().ok().and_then(|text| text.strip_prefix("Bearer ")).ok_or(Unknown::Wrong)?;
            return self.by_token(token.trim(), now).await;
        }
        if let Some(value) = headers.get(KEY_HEADER) {
            return self.by_key(value.to_str().ok().and_then(ApiKey::parse).ok_or(Unknown::Wrong)?, now).await;
        }
        match self.session_token(headers) {
            Some(token) => self.by_session(&token, now).await,
            None if self.is_open => Ok(Principal::anonymous()),
            None => Err(Unknown::Missing),
        }
    }

    /// The session's token in a request's cookies.
    pub fn session_token(&self, headers: &HeaderMap) -> Option<SecretToken> {
        let mut cookies =
            headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok()).flat_map(|text| text.split(';'));
        let value = cookies.find_map(|cookie| cookie.trim().split_once('=').filter(|(name, _)| *name == self.cookie_name()))?.1;
        (!value.is_empty()).then(|| SecretToken::sent(value))
    }

    async fn by_token(&self, token: &str, now: EventTime) -> Result<Principal, Unknown> {
        let bearer = self.bearer.as_ref().ok_or(Unknown::Wrong)?;
        bearer.read(token, now).await.map_err(|fault| {
            tracing::info!("a bearer token was refused: {fault}");
            Unknown::Wrong
        })
    }

    async fn by_key(&self, key: ApiKey, now: EventTime) -> Result<Principal, Unknown> {
        let ApiKey { id, secret } = key;
        if let Some(own) = self.keys.iter().find(|one| one.id == id) {
            let is_in_force = own.expires.is_empty() || own.ends().is_some_and(|end| now < end);
            if !secret.matches(&own.hash) || !is_in_force {
                return Err(Unknown::Wrong);
            }
            return Ok(Principal { name: own.name.clone(), kind: PrincipalKind::Key(id), role: own.role, models: own.scope() });
        }
        let accounts = self.accounts.as_ref().ok_or(Unknown::Wrong)?;
        let kept = accounts.key(&id).await?.ok_or(Unknown::Wrong)?;
        if !secret.matches(&kept.hash) || !kept.is_in_force(now) {
            return Err(Unknown::Wrong);
        }
        Ok(Principal { name: kept.name, kind: PrincipalKind::Key(id), role: kept.role, models: kept.models })
    }

    async fn by_session(&self, token: &SecretToken, now: EventTime) -> Result<Principal, Unknown> {
        let accounts = self.accounts.as_ref().ok_or(Unknown::Wrong)?;
        let session = accounts.session(token, self.limits, now).await?.ok_or(Unknown::Wrong)?;
        let kind = PrincipalKind::User { session: session.hash, form_token: token.derived(FORM) };
        Ok(Principal { name: session.user.name, kind, role: session.user.role, models: session.user.models })
    }

    /// Opens a session for a name and password. The outer error says to wait; `None` is a wrong name or password, and no caller may tell
    /// which.
    ///
    /// # Errors
    /// [`SignInFault`].
    pub async fn sign_in(
        &self,
        name: &str,
        password: &str,
        address: &str,
        now: EventTime,
    ) -> Result<Option<SecretToken>, SignInFault> {
        if !self.check_password(name, password, address, now).await? {
            return Ok(None);
        }
        let accounts = self.accounts.as_ref().ok_or(SignInFault::Unavailable)?;
        Ok(Some(accounts.open_session(name, self.limits, now).await?))
    }

    /// Whether a password is that of a name; failures are counted.
    ///
    /// # Errors
    /// [`SignInFault`].
    pub async fn check_password(&self, name: &str, password: &str, address: &str, now: EventTime) -> Result<bool, SignInFault> {
        let accounts = self.accounts.as_ref().ok_or(SignInFault::Unavailable)?;
        if let Some(seconds) = self.lockout().wait(name, address, now) {
            return Err(SignInFault::Wait(seconds.unsigned_abs()));
        }
        let hash = accounts.user(name).await?.map(|user| user.password);
        let is_right = self.passwords.check(password.to_owned(), hash).await;
        if is_right {
            self.lockout().succeeded(name, address);
        } else {
            self.lockout().failed(name, address, now);
        }
        Ok(is_right)
    }

    /// Counts a wrong token of the first sign-in like a wrong password; seconds to wait, if there were too many.
    pub fn first_failed(&self, address: &str, now: EventTime) {
        self.lockout().failed("", address, now);
    }

    /// Seconds until the first sign-in may be tried again.
    pub fn first_wait(&self, address: &str, now: EventTime) -> Option<u64> {
        self.lockout().wait("", address, now).map(i64::unsigned_abs)
    }

    fn lockout(&self) -> std::sync::MutexGuard<'_, Lockout> {
        // A count is changed as a whole, so a poisoned lock guards nothing broken.
        self.lockout.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why a sign-in was not tried.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SignInFault {
    /// Too many failures; seconds to wait.
    Wait(u64),
    /// The database cannot say, or there is none.
    Unavailable,
}

impl From<AccountError> for SignInFault {
    fn from(error: AccountError) -> Self {
        tracing::warn!("a sign-in cannot be checked: {error}");
        Self::Unavailable
    }
}
