//! Random tokens: of sessions, of API keys, and of the first sign-in.
//!
//! A token has 256 bits of the operating system's randomness, so a plain SHA-256 of it is safe to keep: there is nothing to guess, and a
//! slow hash would only cost time at each request. What is kept is the hash. It is compared in constant time, so that an answer's delay
//! does not tell how much of a guess was right.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::{SecureRandom as _, SystemRandom};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

/// Random bytes of a token.
const BYTES: usize = 32;
/// Random bytes of an id: ids are looked up, not guessed, and must merely differ.
const ID_BYTES: usize = 9;
/// What an API key begins with, so that scanners of repositories and logs can find one that leaked.
pub const KEY_PREFIX: &str = "tlk";

/// A secret that is shown once.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretToken(String);

/// The operating system gives no random bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the system gives no random numbers; check that /dev/urandom can be read")]
pub struct NoRandomness;

/// An API key as its holder knows it: `tlk_<id>_<secret>`.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// Its id, which is no secret.
    pub id: String,
    /// The secret.
    pub secret: SecretToken,
}

// === impl SecretToken ===

impl SecretToken {
    /// A new one.
    ///
    /// # Errors
    /// [`NoRandomness`].
    pub fn new() -> Result<Self, NoRandomness> {
        random::<BYTES>().map(Self)
    }

    /// One that somebody sent.
    pub fn sent(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// The secret itself, to be shown once or sent to its holder.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// What is kept of it: `sha256:` and the hash in hexadecimal.
    pub fn hash(&self) -> String {
        hash(&self.0)
    }

    /// Whether it is the token of which this hash was kept. The time does not depend on where they differ.
    pub fn matches(&self, kept: &str) -> bool {
        same(&self.hash(), kept)
    }

    /// Another secret that only the holder of this one can know, for one purpose.
    pub fn derived(&self, purpose: &str) -> String {
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, self.0.as_bytes());
        URL_SAFE_NO_PAD.encode(ring::hmac::sign(&key, purpose.as_bytes()))
    }
}

impl std::fmt::Debug for SecretToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(not shown)")
    }
}

// === impl ApiKey ===

impl ApiKey {
    /// A new one.
    ///
    /// # Errors
    /// [`NoRandomness`].
    pub fn new() -> Result<Self, NoRandomness> {
        // The id stands between underscores, so it has none.
        let id = random::<ID_BYTES>()?.replace(['_', '-'], "x");
        Ok(Self { id, secret: SecretToken::new()? })
    }

    /// Reads a key that somebody sent; none if it has not the form of one.
    pub fn parse(text: &str) -> Option<Self> {
        let rest = text.trim().strip_prefix(KEY_PREFIX)?.strip_prefix('_')?;
        let (id, secret) = rest.split_once('_')?;
        let sound = |part: &str, most: usize| {
            (1..=most).contains(&part.len())
                && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
        };
        (sound(id, 32) && sound(secret, 64)).then(|| Self { id: id.to_owned(), secret: SecretToken::sent(secret) })
    }

    /// The whole key, to be shown once.
    pub fn reveal(&self) -> String {
        format!("{KEY_PREFIX}_{}_{}", self.id, self.secret.reveal())
    }
}

impl std::fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "API key {}", self.id)
    }
}

/// Whether two texts are equal; the time depends on their lengths alone.
pub fn same(a: &str, b: &str) -> bool {
    a.as_bytes().ct_eq(b.as_bytes()).into()
}

/// Whether a text has the form of a kept hash.
pub fn is_hash(text: &str) -> bool {
    let hex = |text: &str| text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    text.strip_prefix("sha256:").is_some_and(hex)
}

fn hash(text: &str) -> String {
    use std::fmt::Write as _;
    let mut out = String::from("sha256:");
    for byte in Sha256::digest(text) {
        // Writing to a string cannot fail.
        let _ = write!(out, "{byte:02x}");
    }
    out
}

fn random<const N: usize>() -> Result<String, NoRandomness> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).map_err(|_| NoRandomness)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_matches_its_own_hash_alone_and_is_never_shown() {
        let (one, other) = (SecretToken::new().unwrap(), SecretToken::new().unwrap());
        assert!(one.matches(&one.hash()) && !one.matches(&other.hash()) && !one.matches(""));
        assert!(is_hash(&one.hash()) && !is_hash("sha256:xyz") && !is_hash(one.reveal()));
        assert!(!format!("{one:?}").contains(one.reveal()));
        assert_eq!(one.reveal().len(), 43, "256 bits");
    }

    #[test]
    fn a_key_is_read_as_it_was_shown() {
        for _ in 0..64 {
            let key = ApiKey::new().unwrap();
            assert_eq!(ApiKey::parse(&key.reveal()).as_ref(), Some(&key), "{}", key.id);
        }
        for text in [
            "",
            "tlk",
            "tlk_",
            "tlk_a",
            "tlk_a_",
            "tlk__b",
            "xyz_a_b",
            "tlk_a_b\u{7f}",
            "tlk_ü_b",
            &format!("tlk_a_{}", "b".repeat(65)),
        ] {
            assert_eq!(ApiKey::parse(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_derived_differs_by_purpose_and_by_token() {
        let (one, other) = (SecretToken::sent("a"), SecretToken::sent("b"));
        assert_eq!(one.derived("form"), SecretToken::sent("a").derived("form"));
        assert_ne!(one.derived("form"), one.derived("other"));
        assert_ne!(one.derived("form"), other.derived("form"));
        assert!(same("abc", "abc") && !same("abc", "abd") && !same("abc", "ab"));
    }
}
