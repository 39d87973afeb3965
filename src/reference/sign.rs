//! Signs and verifies reference profiles with Ed25519 (RFC 8032).
//!
//! A profile decides who is called an attacker. Whoever can change it can blind the detector. The signature covers the canonical
//! content (everything but digest and signature). The content is computed anew from what was read; the digest in the file is not
//! believed. The public key in the file is not believed either: it only says which trusted key to try.
//!
//! Keys are PEM files as `openssl genpkey -algorithm ed25519` (PKCS#8) and `openssl pkey -pubout` make them. This file is
//! pure: the caller reads keys from disk or environment. No message ever holds a private key. Signing takes constant time in the
//! key (`ed25519-dalek`); verification compares public values only.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ed25519_dalek::Signer as _;
use ed25519_dalek::pkcs8::{DecodePrivateKey as _, DecodePublicKey as _};
pub use ed25519_dalek::{SigningKey, VerifyingKey};
use sha2::Digest as _;

use super::{Reference, ReferenceError, Signature};

/// The only algorithm that profiles are signed with.
const ALGORITHM: &str = "ed25519";

/// Whose profiles are believed.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Trust {
    /// Everybody's; signatures are not looked at.
    #[default]
    Anyone,
    /// Those that one of these keys signed. Without keys every profile is refused.
    SignedBy(Vec<VerifyingKey>),
}

/// Why a key could not be used. The messages never hold a part of the key.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum KeyError {
    /// No PEM block in the text.
    #[error("no PEM key in it; `openssl genpkey -algorithm ed25519` makes one")]
    NotPem,
    /// The private key is protected by a passphrase.
    #[error("the private key is encrypted; decrypt it with `openssl pkey`, and keep the result out of reach of others")]
    Encrypted,
    /// A public key where a private one is needed.
    #[error("this is a public key; signing needs the private one")]
    PublicForPrivate,
    /// A private key where a public one is enough, and better.
    #[error("this is a private key; verifying needs the public one only (`openssl pkey -in KEY.pem -pubout`)")]
    PrivateForPublic,
    /// A PEM block of another kind, or a damaged one.
    #[error("not an Ed25519 key; other kinds of keys are not supported (`openssl genpkey -algorithm ed25519` makes one)")]
    NotEd25519,
}

// === impl Trust ===

impl Trust {
    /// Refuses a profile that is not believed.
    ///
    /// # Errors
    /// As [`verify`], if a signature is asked for.
    pub fn check(&self, reference: &Reference) -> Result<(), ReferenceError> {
        match self {
            Self::Anyone => Ok(()),
            Self::SignedBy(keys) => require_signature(reference, keys),
        }
    }
}

// === keys ===

/// Reads a private key (PKCS#8 PEM).
///
/// # Errors
/// [`KeyError`], for anything but one unencrypted Ed25519 private key.
pub fn signing_key(pem: &str) -> Result<SigningKey, KeyError> {
    if pem.contains("BEGIN ENCRYPTED PRIVATE KEY") {
        return Err(KeyError::Encrypted);
    }
    if pem.contains("BEGIN PUBLIC KEY") && !pem.contains("PRIVATE KEY") {
        return Err(KeyError::PublicForPrivate);
    }
    let block = blocks(pem).next().ok_or(KeyError::NotPem)?;
    SigningKey::from_pkcs8_pem(block).map_err(|_| KeyError::NotEd25519)
}

/// Reads one or more public keys (SubjectPublicKeyInfo PEM), as a file of trusted keys holds them.
///
/// # Errors
/// [`KeyError`], for anything but Ed25519 public keys.
pub fn verifying_keys(pem: &str) -> Result<Vec<VerifyingKey>, KeyError> {
    if pem.contains("PRIVATE KEY") {
        return Err(KeyError::PrivateForPublic);
    }
    let keys: Result<Vec<_>, _> =
        blocks(pem).map(|block| VerifyingKey::from_public_key_pem(block).map_err(|_| KeyError::NotEd25519)).collect();
    keys.and_then(|keys| if keys.is_empty() { Err(KeyError::NotPem) } else { Ok(keys) })
}

// === PEM ===

/// The PEM blocks of a text. Other text around them is skipped.
fn blocks(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let start = rest.find("-----BEGIN ")?;
        let from = &rest[start..];
        let end = from.find("-----END ")?;
        // The end line's own dashes: five more after the label.
        let close = end + "-----END ".len() + from[end + "-----END ".len()..].find("-----")? + "-----".len();
        rest = &from[close..];
        Some(&from[..close])
    })
}

/// The name of a key in messages: SHA-256 of its 32 bytes, as `SHA256:` and unpadded base64, like OpenSSH does.
pub fn fingerprint(key: &VerifyingKey) -> String {
    let hash = sha2::Sha256::digest(key.as_bytes());
    format!("SHA256:{}", base64::engine::general_purpose::STANDARD_NO_PAD.encode(hash))
}

// === signatures ===

/// Signs a profile in place. An earlier signature is replaced, and the digest is brought up to date.
pub fn sign(reference: &mut Reference, key: &SigningKey) {
    let content = reference.canonical_content();
    reference.digest = reference.content_digest();
    reference.signature = Some(Signature {
        algorithm: ALGORITHM.into(),
        public_key: BASE64.encode(key.verifying_key().as_bytes()),
        value: BASE64.encode(key.sign(&content).to_bytes()),
    });
}

/// Checks the signature of a profile against the key in the file. It proves that the owner of that key signed the content, not
/// who the owner is. `None` if there is no signature.
///
/// # Errors
/// If there is a signature and it is malformed or does not match the content.
pub fn signer(reference: &Reference) -> Result<Option<VerifyingKey>, ReferenceError> {
    let fault = |what: String| ReferenceError::Signature { model: reference.model.clone(), what };
    let Some(signature) = &reference.signature else { return Ok(None) };
    if signature.algorithm != ALGORITHM {
        return Err(fault(format!("its signature is of kind '{}'; only {ALGORITHM} is known", signature.algorithm)));
    }
    let key = BASE64.decode(&signature.public_key).ok().and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
    let key = key.and_then(|bytes| VerifyingKey::from_bytes(&bytes).ok());
    let key = key.ok_or_else(|| fault("the public key of its signature is malformed; sign it again".into()))?;
    let value = BASE64.decode(&signature.value).ok().and_then(|bytes| ed25519_dalek::Signature::from_slice(&bytes).ok());
    let value = value.ok_or_else(|| fault("its signature is malformed; sign it again".into()))?;
    // Strict: refuses keys and signatures that several contents could share.
    key.verify_strict(&reference.canonical_content(), &value)
        .map_err(|_| fault("its signature does not match its content; restore it, or check it and sign it again".into()))?;
    Ok(Some(key))
}

/// Checks that one of the trusted keys signed a profile, and says which.
///
/// # Errors
/// If there is no signature, it does not match the content, or its key is not trusted.
pub fn verify(reference: &Reference, trusted: &[VerifyingKey]) -> Result<VerifyingKey, ReferenceError> {
    let fault = |what: String| ReferenceError::Signature { model: reference.model.clone(), what };
    let key = signer(reference)?
        .ok_or_else(|| fault("it is not signed, and a signature is required; sign it with `tripline reference sign`".into()))?;
    if trusted.contains(&key) {
        Ok(key)
    } else {
        Err(fault(format!(
            "it is signed by the key {}, which is not a trusted one; add the key to the trusted ones, or sign the profile with one of them",
            fingerprint(&key)
        )))
    }
}

/// Refuses a profile that none of the trusted keys signed: what `require_signature` in the configuration means.
///
/// # Errors
/// As [`verify`]; with no trusted keys at all every profile is refused.
pub fn require_signature(reference: &Reference, trusted: &[VerifyingKey]) -> Result<(), ReferenceError> {
    verify(reference, trusted).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::{Column, Dataset, FitOptions, Raw, fit};

    /// As `openssl genpkey -algorithm ed25519` writes it; a key of this test, for nothing else.
    const PRIVATE: &str = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIJg3HpxWRhycWspvy7fpdp5NvK6yFPihi31T7Q3Jkt+0\n-----END PRIVATE KEY-----\n";
    /// As `openssl pkey -pubout` writes its public half.
    const PUBLIC: &str =
        "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAdAelgiO8jAB2yD4VCTT8NWKj7LMmz8EESWGhxFgkPOY=\n-----END PUBLIC KEY-----\n";

    fn profile() -> Reference {
        let numbers = |f: &dyn Fn(u32) -> f64| (0..200).map(|i| Raw::Number(f(i))).collect::<Vec<_>>();
        let dataset = Dataset {
            features: vec![Column { name: "x".into(), cells: numbers(&|i| f64::from(i) / 7.0) }],
            predictions: numbers(&|i| f64::from(i) / 200.0),
            probabilities: Vec::new(),
        };
        fit(&dataset, &FitOptions { model: "m".into(), ..FitOptions::default() }).unwrap()
    }

    fn other_key() -> SigningKey {
        SigningKey::from_bytes(&[7; 32])
    }

    fn signed() -> Reference {
        let mut reference = profile();
        sign(&mut reference, &signing_key(PRIVATE).unwrap());
        reference
    }

    #[test]
    fn what_openssl_makes_signs_and_verifies_across_the_file() {
        let trusted = verifying_keys(PUBLIC).unwrap();
        let read = Reference::from_json(&signed().to_json().unwrap()).unwrap();
        assert_eq!(verify(&read, &trusted).unwrap(), trusted[0]);
        assert_eq!(read.digest, profile().digest, "a signature does not change the content");
        assert_eq!(signed(), signed(), "signing is deterministic");
    }

    #[test]
    fn only_a_trusted_signature_satisfies_require_signature() {
        let trusted = verifying_keys(PUBLIC).unwrap();
        assert!(require_signature(&signed(), &trusted).is_ok());
        let message =
            |reference: &Reference, trusted: &[VerifyingKey]| require_signature(reference, trusted).unwrap_err().to_string();
        assert!(message(&profile(), &trusted).contains("it is not signed"));
        let mut foreign = profile();
        sign(&mut foreign, &other_key());
        let refusal = message(&foreign, &trusted);
        assert!(refusal.contains(&fingerprint(&other_key().verifying_key())) && refusal.contains("not a trusted one"), "{refusal}");
        assert!(message(&signed(), &[]).contains("not a trusted one"), "no trusted key, no trust");
        let both = verifying_keys(&format!("my keys:\n{PUBLIC}\nand again\n{PUBLIC}")).unwrap();
        assert_eq!(both.len(), 2);
    }

    #[test]
    fn trust_is_checked_when_a_profile_is_read() {
        let keys = Trust::SignedBy(verifying_keys(PUBLIC).unwrap());
        let [plain, signed] = [profile(), signed()].map(|reference| reference.to_json().unwrap());
        assert!(Reference::from_trusted_json(&plain, &Trust::Anyone).is_ok());
        assert!(Reference::from_trusted_json(&signed, &keys).is_ok());
        let refused = |trust: &Trust, bytes: &[u8]| {
            matches!(Reference::from_trusted_json(bytes, trust), Err(ReferenceError::Signature { .. }))
        };
        assert!(refused(&keys, &plain) && refused(&Trust::SignedBy(Vec::new()), &signed));
    }

    #[test]
    fn a_changed_profile_with_a_fresh_digest_is_still_refused() {
        let mut forged = signed();
        forged.features[0].edges[0] -= 0.5;
        forged.digest = forged.content_digest();
        let read = Reference::from_json(&forged.to_json().unwrap()).unwrap();
        assert!(signer(&read).unwrap_err().to_string().contains("does not match its content"));
    }

    #[test]
    fn the_signature_of_one_key_under_the_name_of_another_is_refused() {
        let trusted = verifying_keys(PUBLIC).unwrap();
        let mut forged = profile();
        sign(&mut forged, &other_key());
        if let Some(signature) = &mut forged.signature {
            signature.public_key = BASE64.encode(trusted[0].as_bytes());
        }
        assert!(require_signature(&forged, &trusted).unwrap_err().to_string().contains("does not match its content"));
    }

    #[test]
    fn malformed_signatures_are_named_and_never_ignored() {
        let spoil = |change: &dyn Fn(&mut Signature)| {
            let mut reference = signed();
            reference.signature.iter_mut().for_each(change);
            signer(&reference).unwrap_err().to_string()
        };
        assert!(spoil(&|s| s.algorithm = "rsa".into()).contains("its signature is of kind 'rsa'"));
        assert!(spoil(&|s| s.public_key = "AAAA".into()).contains("public key of its signature is malformed"));
        assert!(spoil(&|s| s.value = "!".into()).contains("its signature is malformed"));
        assert!(spoil(&|s| s.value = BASE64.encode([0; 64])).contains("does not match"));
    }

    #[test]
    fn a_wrong_key_says_what_it_is_and_none_of_its_content() {
        assert_eq!(signing_key("hello").unwrap_err(), KeyError::NotPem);
        assert_eq!(signing_key(PUBLIC).unwrap_err(), KeyError::PublicForPrivate);
        assert_eq!(verifying_keys(PRIVATE).unwrap_err(), KeyError::PrivateForPublic);
        assert_eq!(verifying_keys("").unwrap_err(), KeyError::NotPem);
        let encrypted = PRIVATE.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
        assert_eq!(signing_key(&encrypted).unwrap_err(), KeyError::Encrypted);
        let damaged = PRIVATE.replace("MC4CAQ", "MC4CAA");
        assert_eq!(signing_key(&damaged).unwrap_err(), KeyError::NotEd25519);
        assert_eq!(signing_key(PRIVATE.trim_end_matches("-----\n")).unwrap_err(), KeyError::NotPem);
    }
}
