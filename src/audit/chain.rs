//! What is signed: the fields of an entry as bytes, each with its length, so that no two entries have the same bytes.
//!
//! `digest = SHA-256(salt, subject, detail)` and `mac = HMAC-SHA256(key, seq, at, actor kind, actor, action, digest, key id, previous mac)`.
//! Each entry carries the signature of the one before it (Schneier and Kelsey 1999, "Secure audit logs to support computer forensics",
//! without its evolving key). The detail may be erased later; its digest stays, and its salt, which went with it, keeps a short detail from
//! being guessed.

use sha2::{Digest, Sha256};

/// An entry of the chain as it is stored.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Link {
    /// Place in the chain, from 1.
    pub seq: i64,
    /// When it was made: microseconds since the Unix epoch.
    pub at: i64,
    /// Kind of the actor.
    pub actor_kind: String,
    /// Name of the actor.
    pub actor: String,
    /// What was done.
    pub action: String,
    /// Hash of what it was done to, and how.
    pub digest: String,
    /// Name of the key.
    pub key_id: String,
    /// Signature of the entry before; empty for the first.
    pub previous: String,
    /// Signature of this entry.
    pub mac: String,
}

// === impl Link ===

impl Link {
    /// The bytes that are signed.
    pub fn message(&self) -> Vec<u8> {
        let (seq, at) = (self.seq.to_be_bytes(), self.at.to_be_bytes());
        let texts = [&self.actor_kind, &self.actor, &self.action, &self.digest, &self.key_id, &self.previous];
        let mut bytes = Vec::with_capacity(256);
        field(&mut bytes, &seq);
        field(&mut bytes, &at);
        texts.into_iter().for_each(|text| field(&mut bytes, text.as_bytes()));
        bytes
    }
}

/// The hash of what may be erased.
pub fn digest(salt: &str, subject: &str, detail: &str) -> String {
    let mut bytes = Vec::with_capacity(64 + subject.len() + detail.len());
    [salt, subject, detail].into_iter().for_each(|text| field(&mut bytes, text.as_bytes()));
    hex(&Sha256::digest(&bytes))
}

fn field(bytes: &mut Vec<u8>, content: &[u8]) {
    bytes.extend_from_slice(&(content.len() as u64).to_be_bytes());
    bytes.extend_from_slice(content);
}

/// Bytes as lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The bytes of hexadecimal digits; none if they are none.
pub fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> =
        text.chars().map(|digit| digit.to_digit(16).and_then(|value| u8::try_from(value).ok())).collect::<Option<_>>()?;
    let (pairs, rest) = digits.as_chunks();
    rest.is_empty().then(|| pairs.iter().map(|&[high, low]| high << 4 | low).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_and_every_border_between_fields_changes_what_is_signed() {
        let link = Link {
            seq: 1,
            at: 2,
            actor_kind: "person".into(),
            actor: "a".into(),
            action: "b".into(),
            digest: "d".into(),
            key_id: "k".into(),
            previous: "p".into(),
            mac: String::new(),
        };
        let changed = [
            Link { seq: 2, ..link.clone() },
            Link { at: 3, ..link.clone() },
            Link { actor_kind: "key".into(), ..link.clone() },
            Link { actor: "ab".into(), action: String::new(), ..link.clone() },
            Link { digest: "e".into(), ..link.clone() },
            Link { key_id: "l".into(), ..link.clone() },
            Link { previous: "q".into(), ..link.clone() },
        ];
        assert!(changed.iter().all(|other| other.message() != link.message()));
        assert_ne!(digest("s", "ab", "c"), digest("s", "a", "bc"));
    }

    #[test]
    fn hexadecimal_digits_round_trip() {
        assert_eq!(hex(&[0, 15, 255]), "000fff");
        assert_eq!(unhex("000fff"), Some(vec![0, 15, 255]));
        assert!(unhex("0").is_none() && unhex("zz").is_none());
    }
}
