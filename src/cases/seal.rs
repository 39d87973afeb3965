//! Pseudonyms at rest: texts that name a caller are sealed under a key, so that a copy of the database names nobody.
//!
//! The same text always has the same seal, so the database can compare and index it; whoever has the key reads it again. Construction: a
//! synthetic nonce (Rogaway and Shrimpton 2006, "Deterministic authenticated-encryption"): the nonce is the beginning of an HMAC of the text
//! under one half of the key material, and AES-256-GCM under the other half encrypts it. Equal texts can be told to be equal: that is the
//! purpose, and its price.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::aead::{self, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::hmac;

use crate::document::secret::Secret;

/// Bytes of a key.
const KEY_BYTES: usize = 32;
/// Beginning of a sealed text. An open text may begin like it: then it cannot be opened and stays as it is.
const MARK: &str = "sealed:";

/// One key.
struct SealKey {
    id: String,
    nonces: hmac::Key,
    cipher: LessSafeKey,
}

/// Seals and opens texts; without a key they stay as they are.
#[derive(Clone, Default)]
pub struct Seal(Arc<Vec<SealKey>>);

impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Seal({} keys)", self.0.len())
    }
}

// === impl SealKey ===

impl SealKey {
    fn new(bytes: &[u8]) -> Result<Self, String> {
        if bytes.len() != KEY_BYTES {
            return Err(format!("it has {} bytes; {KEY_BYTES} are needed", bytes.len()));
        }
        let root = hmac::Key::new(hmac::HMAC_SHA256, bytes);
        let part = |purpose: &[u8]| hmac::sign(&root, purpose);
        let cipher = UnboundKey::new(&aead::AES_256_GCM, part(b"tripline seal cipher").as_ref());
        let id = part(b"tripline seal id");
        Ok(Self {
            id: URL_SAFE_NO_PAD.encode(&id.as_ref()[..6]),
            nonces: hmac::Key::new(hmac::HMAC_SHA256, part(b"tripline seal nonces").as_ref()),
            cipher: LessSafeKey::new(cipher.map_err(|_| "it cannot be used".to_owned())?),
        })
    }

    fn seal(&self, text: &str) -> Option<String> {
        let mac = hmac::sign(&self.nonces, text.as_bytes());
        let nonce: [u8; aead::NONCE_LEN] = mac.as_ref().get(..aead::NONCE_LEN)?.try_into().ok()?;
        let mut bytes = text.as_bytes().to_vec();
        self.cipher.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::empty(), &mut bytes).ok()?;
        Some(format!("{MARK}{}:{}", self.id, URL_SAFE_NO_PAD.encode([nonce.as_slice(), &bytes].concat())))
    }

    fn open(&self, bytes: &[u8]) -> Option<String> {
        let (nonce, sealed) = bytes.split_at_checked(aead::NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut sealed = sealed.to_vec();
        let open = self.cipher.open_in_place(nonce, Aad::empty(), &mut sealed).ok()?;
        String::from_utf8(open.to_vec()).ok()
    }
}

// === impl Seal ===

impl Seal {
    /// Reads the key for new texts, and those of older ones. Without a key nothing is sealed.
    ///
    /// # Errors
    /// The setting, and what is wrong with it; no key is repeated.
    pub fn read(key: &Secret, old: &[Secret], directory: &Path) -> Result<Self, (String, String)> {
        if key.is_empty() {
            return match old.is_empty() {
                true => Ok(Self::default()),
                false => Err(("privacy.old_keys".into(), "there are keys of before, and none for now".into())),
            };
        }
        let read = |name: String, secret: &Secret| {
            let bytes =
                secret.reveal(directory).and_then(|text| STANDARD.decode(text.trim()).map_err(|_| "it is no base64".into()));
            bytes.and_then(|bytes| SealKey::new(&bytes)).map_err(|what| (name, what))
        };
        let mut keys = vec![read("privacy.key".into(), key)?];
        for (at, secret) in old.iter().enumerate() {
            keys.push(read(format!("privacy.old_keys.{at}"), secret)?);
        }
        Ok(Self(Arc::new(keys)))
    }

    /// Whether texts are sealed.
    pub fn is_active(&self) -> bool {
        !self.0.is_empty()
    }

    /// Seals a text under the newest key; an empty one stays empty.
    pub fn seal(&self, text: &str) -> String {
        match self.0.first() {
            // AES-GCM refuses only texts of 64 gigabytes.
            Some(key) if !text.is_empty() => key.seal(text).unwrap_or_default(),
            _ => text.to_owned(),
        }
    }

    /// Opens a text; one that is not sealed, or with a key that is not here, stays as it is.
    pub fn open(&self, text: &str) -> String {
        let opened = text.strip_prefix(MARK).and_then(|rest| {
            let (id, content) = rest.split_once(':')?;
            let bytes = URL_SAFE_NO_PAD.decode(content).ok()?;
            self.0.iter().find(|key| key.id == id)?.open(&bytes)
        });
        opened.unwrap_or_else(|| text.to_owned())
    }

    /// A hash of a text under the key, for values that nobody needs to read again; none without a key.
    pub fn hash(&self, text: &str) -> Option<String> {
        let mac = hmac::sign(&self.0.first()?.nonces, format!("hash\0{text}").as_bytes());
        Some(URL_SAFE_NO_PAD.encode(&mac.as_ref()[..12]))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A seal with a key made of one byte.
    pub fn seal(byte: u8, old: &[u8]) -> Seal {
        let keys = std::iter::once(&byte).chain(old).map(|byte| SealKey::new(&[*byte; KEY_BYTES]).unwrap()).collect();
        Seal(Arc::new(keys))
    }

    #[test]
    fn the_same_text_has_the_same_seal_and_only_the_key_opens_it() {
        let (one, other) = (seal(1, &[]), seal(2, &[]));
        let sealed = one.seal("203.0.113.7");
        assert_eq!(sealed, one.seal("203.0.113.7"));
        assert_ne!(sealed, one.seal("203.0.113.8"));
        assert_ne!(sealed, other.seal("203.0.113.7"));
        assert!(!sealed.contains("203"));
        assert_eq!(one.open(&sealed), "203.0.113.7");
        assert_eq!(other.open(&sealed), sealed, "without the key it stays sealed");
        assert_eq!(seal(2, &[1]).open(&sealed), "203.0.113.7", "an old key opens it");
        let mut broken = sealed.clone();
        broken.pop();
        assert_eq!(one.open(&broken), broken);
    }

    #[test]
    fn without_a_key_texts_stay_as_they_are() {
        let none = Seal::default();
        assert_eq!(none.seal("a"), "a");
        assert_eq!(none.open("sealed:x:y"), "sealed:x:y");
        assert!(none.hash("a").is_none() && !none.is_active());
        assert_eq!(seal(1, &[]).seal(""), "");
    }
}
