//! Encryption at rest: AES-256-GCM over the data object of a snapshot.
//!
//! A snapshot holds what people sent. With a key, only who has it can read the state; the manifest (offsets, sizes, counts) stays
//! readable. A key is named by the beginning of its own hash, so no name has to be kept, and the manifest says which key opens its data.
//! Rotation: make the new key `state.key`, and the one before an entry of `state.old_keys`, until three snapshots have been written.
//! What the data belong to (model, number, generation) is authenticated with them, so one object cannot stand in for another.

use std::fmt;
use std::path::Path;

use base64::Engine as _;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom as _, SystemRandom};
use sha2::{Digest as _, Sha256};

use crate::document::secret::Secret;

/// Length of a key in bytes.
const KEY_LEN: usize = 32;
/// Bytes of the hash that name a key. Chosen: eight tell any keys of one person apart and reveal nothing of the key.
const ID_LEN: usize = 8;

/// A key with its name.
#[derive(Clone)]
pub struct Key {
    /// Its name.
    pub id: String,
    key: LessSafeKey,
}

/// The key that writes, if there is one, and all that read.
#[derive(Clone, Debug, Default)]
pub struct Keys {
    newest: Option<Key>,
    old: Vec<Key>,
}

// === impl Key ===

impl Key {
    /// A key of 32 bytes in base64.
    ///
    /// # Errors
    /// What is wrong with it, without repeating it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let bytes = base64::engine::general_purpose::STANDARD.decode(text.trim()).map_err(|_| "the key is no base64".to_owned())?;
        let wrong = || format!("the key has {} bytes instead of {KEY_LEN}", bytes.len());
        let key = UnboundKey::new(&AES_256_GCM, &bytes).map_err(|_| wrong())?;
        let hash = Sha256::new().chain_update(b"tripline state key\0").chain_update(&bytes).finalize();
        let id = hash.iter().take(ID_LEN).fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
        Ok(Self { id, key: LessSafeKey::new(key) })
    }

    /// Encrypts in place: nonce, ciphertext, tag.
    ///
    /// # Errors
    /// If the system has no randomness to give.
    pub fn seal(&self, mut bytes: Vec<u8>, belongs_to: &str) -> Result<Vec<u8>, String> {
        let mut nonce = [0; NONCE_LEN];
        // Random nonces of 96 bits may be used 2^32 times with one key (NIST SP 800-38D, 8.3): a snapshot a second for 136 years.
        SystemRandom::new().fill(&mut nonce).map_err(|_| "the system gives no random bytes".to_owned())?;
        let aad = Aad::from(belongs_to.as_bytes());
        let sealed = self.key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad, &mut bytes);
        sealed.map_err(|_| "the snapshot is too large to be encrypted".to_owned())?;
        bytes.splice(0..0, nonce);
        Ok(bytes)
    }

    /// Decrypts in place.
    ///
    /// # Errors
    /// If the bytes were changed, or belong to something else.
    pub fn open(&self, mut bytes: Vec<u8>, belongs_to: &str) -> Result<Vec<u8>, String> {
        let wrong = || "it does not open with its key: it was changed, or belongs to another model".to_owned();
        let nonce: [u8; NONCE_LEN] = bytes.get(..NONCE_LEN).and_then(|nonce| nonce.try_into().ok()).ok_or_else(wrong)?;
        let aad = Aad::from(belongs_to.as_bytes());
        let plain = self.key.open_within(Nonce::assume_unique_for_key(nonce), aad, &mut bytes, NONCE_LEN..);
        let length = plain.map_err(|_| wrong())?.len();
        bytes.truncate(length);
        Ok(bytes)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "key {}", self.id)
    }
}

// === impl Keys ===

impl Keys {
    /// The keys of the settings `key` and `old_keys`; an empty `key` is none. Relative paths of secrets begin at `directory`.
    ///
    /// # Errors
    /// The setting, and what is wrong with it.
    pub fn read(key: &Secret, old_keys: &[Secret], directory: &Path) -> Result<Self, (String, String)> {
        let read = |setting: &str, secret: &Secret| {
            let key = secret.reveal(directory).and_then(|text| Key::parse(&text));
            key.map_err(|what| (setting.to_owned(), what))
        };
        let newest = (!key.is_empty()).then(|| read("state.key", key)).transpose()?;
        let old = old_keys.iter().enumerate();
        let old = old.map(|(at, secret)| read(&format!("state.old_keys.{at}"), secret)).collect::<Result<_, _>>()?;
        Ok(Self { newest, old })
    }

    /// The key that new snapshots are written with.
    pub fn newest(&self) -> Option<&Key> {
        self.newest.as_ref()
    }

    /// The key of a name.
    pub fn named(&self, id: &str) -> Option<&Key> {
        self.newest.iter().chain(&self.old).find(|key| key.id == id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> Key {
        Key::parse(&base64::engine::general_purpose::STANDARD.encode([byte; KEY_LEN])).unwrap()
    }

    #[test]
    fn what_is_sealed_opens_with_its_key_and_place_alone() {
        let sealed = key(1).seal(b"what people sent".to_vec(), "adult/7").unwrap();
        assert!(!sealed.windows(6).any(|window| window == b"people"));
        assert_eq!(key(1).open(sealed.clone(), "adult/7").unwrap(), b"what people sent");
        assert!(key(2).open(sealed.clone(), "adult/7").is_err());
        assert!(key(1).open(sealed.clone(), "adult/8").is_err(), "another number");
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(key(1).open(changed, "adult/7").is_err(), "byte {at}");
            assert!(key(1).open(sealed[..at].to_vec(), "adult/7").is_err(), "cut at {at}");
        }
    }

    #[test]
    fn no_two_seals_are_alike() {
        assert_ne!(key(1).seal(b"x".to_vec(), "").unwrap(), key(1).seal(b"x".to_vec(), "").unwrap());
    }

    #[test]
    fn a_key_is_named_by_its_hash_and_never_shown() {
        assert_ne!(key(1).id, key(2).id);
        assert_eq!(format!("{:?}", key(1)), format!("key {}", key(1).id));
        assert!(Key::parse("not base64!").unwrap_err().contains("base64"));
        assert!(Key::parse("aGVsbG8=").unwrap_err().contains("5 bytes"));
    }
}
