//! The keys of the chain. Entries name the key that they were made with, so a key can be replaced without a break in the chain.
//!
//! Without a configured key the chain is made with a constant: it then shows an accident or a careless hand, but not somebody who can
//! write to the database and knows this program.

use std::fmt;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;

use crate::document::secret::Secret;

/// Bytes of a key: the length of the hash, which RFC 2104 recommends.
const KEY_BYTES: usize = 32;
/// Hexadecimal digits by which an entry names its key. Chosen: a deployment has a handful of keys.
const ID_DIGITS: usize = 12;
/// The key of a chain without a configured one.
const PUBLIC: &[u8] = b"tripline audit chain without a key";
/// Its name.
pub(super) const PUBLIC_ID: &str = "none";

/// One key.
#[derive(Clone)]
struct AuditKey {
    id: String,
    key: hmac::Key,
}

/// The key for new entries, and those of older ones.
#[derive(Clone)]
pub struct AuditKeys {
    current: AuditKey,
    old: Vec<AuditKey>,
}

impl fmt::Debug for AuditKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AuditKeys({})", self.current.id)
    }
}

// === impl AuditKey ===

impl AuditKey {
    fn public() -> Self {
        Self { id: PUBLIC_ID.to_owned(), key: hmac::Key::new(hmac::HMAC_SHA256, PUBLIC) }
    }

    fn read(secret: &Secret, directory: &Path) -> Result<Self, String> {
        let text = secret.reveal(directory)?;
        let bytes = STANDARD.decode(text.trim()).map_err(|_| "it is no base64".to_owned())?;
        if bytes.len() != KEY_BYTES {
            return Err(format!("it has {} bytes; {KEY_BYTES} are needed", bytes.len()));
        }
        let key = hmac::Key::new(hmac::HMAC_SHA256, &bytes);
        // The name is made with the key, so it says nothing about it.
        let mut id = super::chain::hex(hmac::sign(&key, b"tripline audit key").as_ref());
        id.truncate(ID_DIGITS);
        Ok(Self { id, key })
    }
}

// === impl AuditKeys ===

impl Default for AuditKeys {
    fn default() -> Self {
        Self { current: AuditKey::public(), old: Vec::new() }
    }
}

impl AuditKeys {
    /// Reads the keys.
    ///
    /// # Errors
    /// The setting, and what is wrong with it.
    pub fn read(key: &Secret, old: &[Secret], directory: &Path) -> Result<Self, (String, String)> {
        let current = match key.is_empty() {
            true => AuditKey::public(),
            false => AuditKey::read(key, directory).map_err(|what| ("audit.key".to_owned(), what))?,
        };
        let read = |(at, secret): (usize, &Secret)| {
            AuditKey::read(secret, directory).map_err(|what| (format!("audit.old_keys.{at}"), what))
        };
        let mut old = old.iter().enumerate().map(read).collect::<Result<Vec<_>, _>>()?;
        // A chain may have begun before a key was set.
        old.push(AuditKey::public());
        Ok(Self { current, old })
    }

    /// Whether new entries are made with a secret.
    pub fn is_secret(&self) -> bool {
        self.current.id != PUBLIC_ID
    }

    /// The name of the key of new entries.
    pub fn id(&self) -> &str {
        &self.current.id
    }

    /// Signs a new entry.
    pub(super) fn sign(&self, message: &[u8]) -> String {
        super::chain::hex(hmac::sign(&self.current.key, message).as_ref())
    }

    /// Whether a message has this signature under the key of that name, compared in constant time; none if there is no such key.
    pub(super) fn verify(&self, id: &str, message: &[u8], mac: &str) -> Option<bool> {
        let key = std::iter::once(&self.current).chain(&self.old).find(|key| key.id == id)?;
        let Some(mac) = super::chain::unhex(mac) else { return Some(false) };
        Some(hmac::verify(&key.key, message, &mac).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_of_another_length_or_in_the_file_itself_is_refused_and_not_repeated() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("short"), "c2VjcmV0").unwrap();
        for text in ["${file:short}", "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0MTE="] {
            let (setting, what) = AuditKeys::read(&text.to_owned().into(), &[], folder.path()).unwrap_err();
            assert!(setting == "audit.key" && !what.contains("c2Vj"), "{what}");
        }
    }

    #[test]
    fn a_replaced_key_still_verifies_and_an_unknown_one_is_named() {
        let folder = tempfile::tempdir().unwrap();
        for (name, byte) in [("a", 1_u8), ("b", 2)] {
            std::fs::write(folder.path().join(name), STANDARD.encode([byte; KEY_BYTES])).unwrap();
        }
        let (a, b): (Secret, Secret) = ("${file:a}".to_owned().into(), "${file:b}".to_owned().into());
        let old = AuditKeys::read(&a, &[], folder.path()).unwrap();
        let new = AuditKeys::read(&b, &[a], folder.path()).unwrap();
        let mac = old.sign(b"entry");
        assert_eq!(new.verify(old.id(), b"entry", &mac), Some(true));
        assert_eq!(new.verify(old.id(), b"entrx", &mac), Some(false));
        assert_eq!(old.verify(new.id(), b"entry", &new.sign(b"entry")), None);
        assert!(old.is_secret() && !AuditKeys::default().is_secret());
    }
}
