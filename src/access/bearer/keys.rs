//! The public keys of an issuer: from a PEM file, from a file with a JSON web key set, or from the URL of one.
//!
//! Issuers exchange their keys now and then, so a set is read again at intervals, and once when a token names a key that is not known.
//! A token with an invented key id must not make this service ask the issuer again and again; at least [`LEAST_PAUSE`] lies between two
//! readings. While the issuer does not answer, the keys that are known stay in use.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey};
use tokio::sync::Mutex;

use crate::clock;

/// Keys are read again after so long.
const REFRESH: Duration = Duration::from_secs(600);
/// Between two readings lies at least so much.
const LEAST_PAUSE: Duration = Duration::from_secs(30);
/// Longest wait for the issuer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Longest key set in bytes; usual ones have some kilobytes.
const MAX_BYTES: usize = 1024 * 1024;
/// Most keys of a set that are used.
const MAX_KEYS: usize = 64;

/// Why there are no keys.
#[derive(Debug, thiserror::Error)]
#[error("api.jwt.keys: {0}")]
pub struct KeyError(pub String);

/// The keys of an issuer. Clones share them.
#[derive(Clone, Debug)]
pub struct IssuerKeys(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    place: Place,
    keys: RwLock<Vec<IssuerKey>>,
    /// When they were read last. Who holds it reads them; the others wait, so that one reading is enough.
    read: Mutex<Option<Instant>>,
}

#[derive(Debug)]
enum Place {
    File(PathBuf),
    Url(Box<reqwest::Client>, String),
}

#[derive(Clone)]
struct IssuerKey {
    id: Option<String>,
    key: DecodingKey,
}

impl std::fmt::Debug for IssuerKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "key {:?}", self.id)
    }
}

// === impl IssuerKeys ===

impl IssuerKeys {
    /// The keys of a place: a URL with `https`, or a path that begins at `directory`.
    ///
    /// # Errors
    /// If the place is a file that has no key. A URL is asked when the first token comes.
    pub fn open(place: &str, directory: &Path) -> Result<Self, KeyError> {
        let (place, keys) = if place.contains("://") {
            // It is refused if something else of this process has installed one, which is as good.
            let _ = rustls::crypto::ring::default_provider().install_default();
            let client = reqwest::Client::builder().timeout(PATIENCE).redirect(reqwest::redirect::Policy::none()).build();
            (Place::Url(Box::new(client.map_err(|error| KeyError(error.to_string()))?), place.to_owned()), Vec::new())
        } else {
            let path = directory.join(place);
            let bytes = std::fs::read(&path).map_err(|error| KeyError(format!("{}: {error}", path.display())))?;
            let keys = parse(&bytes).map_err(|what| KeyError(format!("{}: {what}", path.display())))?;
            (Place::File(path), keys)
        };
        Ok(Self(Arc::new(Shared { place, keys: RwLock::new(keys), read: Mutex::new(None) })))
    }

    /// The keys that a token with this key id and algorithm may be signed with.
    pub async fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Vec<DecodingKey> {
        let known = self.known(id, algorithm);
        let least = if known.is_empty() { LEAST_PAUSE } else { REFRESH };
        if !self.refresh(least).await {
            return known;
        }
        self.known(id, algorithm)
    }

    fn known(&self, id: Option<&str>, algorithm: Algorithm) -> Vec<DecodingKey> {
        let keys = self.0.keys.read().unwrap_or_else(PoisonError::into_inner);
        let fits = |one: &&IssuerKey| {
            // A key without an id, as in a PEM file, fits every token; a token without one fits every key.
            let named = match (id, &one.id) {
                (Some(id), Some(own)) => id == own,
                _ => true,
            };
            named && one.key.family() == algorithm.family()
        };
        keys.iter().filter(fits).map(|one| one.key.clone()).collect()
    }

    /// Reads the keys if that was not done within this time; whether there are other ones now.
    async fn refresh(&self, least: Duration) -> bool {
        let mut read = self.0.read.lock().await;
        if read.is_some_and(|at| at.elapsed() < least) {
            return false;
        }
        *read = Some(clock::instant());
        match self.fetch().await {
            Ok(keys) => {
                *self.0.keys.write().unwrap_or_else(PoisonError::into_inner) = keys;
                true
            }
            Err(what) => {
                tracing::warn!("the keys of the token issuer cannot be read: {what}; those known stay in use (api.jwt.keys)");
                false
            }
        }
    }

    async fn fetch(&self) -> Result<Vec<IssuerKey>, String> {
        match &self.0.place {
            Place::File(path) => parse(&tokio::fs::read(path).await.map_err(|error| error.to_string())?),
            Place::Url(client, url) => {
                let answer = client.get(url).send().await.and_then(reqwest::Response::error_for_status);
                let mut answer = answer.map_err(|error| error.to_string())?;
                let mut bytes = Vec::new();
                while let Some(chunk) = answer.chunk().await.map_err(|error| error.to_string())? {
                    bytes.extend_from_slice(&chunk);
                    if bytes.len() > MAX_BYTES {
                        return Err("the answer is too long".into());
                    }
                }
                parse(&bytes)
            }
        }
    }
}

/// The keys of a PEM text or of a JSON web key set.
fn parse(bytes: &[u8]) -> Result<Vec<IssuerKey>, String> {
    if bytes.trim_ascii_start().starts_with(b"-----BEGIN") {
        let key = DecodingKey::from_rsa_pem(bytes)
            .or_else(|_| DecodingKey::from_ec_pem(bytes))
            .or_else(|_| DecodingKey::from_ed_pem(bytes));
        let key = key.map_err(|_| "the PEM text holds no public key of RSA, P-256, P-384 or Ed25519")?;
        return Ok(vec![IssuerKey { id: None, key }]);
    }
    let set: JwkSet =
        serde_json::from_slice(bytes).map_err(|error| format!("it is neither PEM nor a JSON web key set: {error}"))?;
    // Keys for encryption, and shared secrets, are left out.
    let signs = |key: &&jsonwebtoken::jwk::Jwk| {
        key.common.public_key_use.as_ref().is_none_or(|of| *of == jsonwebtoken::jwk::PublicKeyUse::Signature)
            && !matches!(key.algorithm, jsonwebtoken::jwk::AlgorithmParameters::OctetKey(_))
    };
    let key =
        |key: &jsonwebtoken::jwk::Jwk| Some(IssuerKey { id: key.common.key_id.clone(), key: DecodingKey::from_jwk(key).ok()? });
    let keys: Vec<IssuerKey> = set.keys.iter().filter(signs).filter_map(key).take(MAX_KEYS).collect();
    if keys.is_empty() { Err("the set has no public key for signatures".into()) } else { Ok(keys) }
}
