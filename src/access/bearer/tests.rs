//! Tokens that count, and every kind that does not. The tokens are signed here with `ring`, not with the library that reads them.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _};
use serde_json::{Value, json};

use super::*;
use crate::access::permission::Role;

const NOW: i64 = 1_772_409_600;

struct Issuer {
    ed: Ed25519KeyPair,
    ec: EcdsaKeyPair,
    folder: tempfile::TempDir,
}

impl Issuer {
    fn new() -> Self {
        let random = SystemRandom::new();
        let ed = Ed25519KeyPair::from_pkcs8(Ed25519KeyPair::generate_pkcs8(&random).unwrap().as_ref()).unwrap();
        let ec = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        let ec = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, ec.as_ref(), &random).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let part = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let point = ec.public_key().as_ref();
        let set = json!({"keys": [
            {"kty": "OKP", "crv": "Ed25519", "kid": "ed", "use": "sig", "x": part(ed.public_key().as_ref())},
            {"kty": "EC", "crv": "P-256", "kid": "ec", "x": part(&point[1..33]), "y": part(&point[33..])},
            {"kty": "oct", "kid": "shared", "k": part(b"a shared secret")},
        ]});
        std::fs::write(folder.path().join("jwks.json"), set.to_string()).unwrap();
        Self { ed, ec, folder }
    }

    fn bearer(&self) -> Bearer {
        let config = JwtConfig {
            issuer: "https://id.example".into(),
            audience: "tripline".into(),
            keys: "jwks.json".into(),
            roles: [("soc".into(), Role::Analyst), ("readers".into(), Role::Viewer)].into(),
            ..JwtConfig::default()
        };
        let keys = IssuerKeys::open(&config.keys, self.folder.path()).unwrap();
        Bearer::new(config, keys)
    }

    fn sign(&self, header: &Value, claims: &Value) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", part(header), part(claims));
        let signature = match header["kid"].as_str() {
            Some("ec") => self.ec.sign(&SystemRandom::new(), message.as_bytes()).unwrap().as_ref().to_vec(),
            _ => self.ed.sign(message.as_bytes()).as_ref().to_vec(),
        };
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

fn claims() -> Value {
    json!({"iss": "https://id.example", "aud": "tripline", "sub": "ada", "exp": NOW + 300, "roles": ["readers", "soc", "others"]})
}

fn with(change: impl FnOnce(&mut Value)) -> Value {
    let mut claims = claims();
    change(&mut claims);
    claims
}

fn now() -> EventTime {
    EventTime::from_micros(NOW * 1_000_000)
}

#[tokio::test]
async fn a_token_of_the_issuer_counts_with_the_highest_of_its_roles() {
    let issuer = Issuer::new();
    for header in [json!({"alg": "EdDSA", "kid": "ed"}), json!({"alg": "ES256", "kid": "ec"}), json!({"alg": "EdDSA"})] {
        let who = issuer.bearer().read(&issuer.sign(&header, &claims()), now()).await.unwrap();
        assert_eq!((who.name.as_str(), who.role, who.models), ("ada", Role::Analyst, ModelScope::All), "{header}");
    }
}

#[tokio::test]
async fn every_other_token_is_refused() {
    let issuer = Issuer::new();
    let bearer = issuer.bearer();
    let header = json!({"alg": "EdDSA", "kid": "ed"});
    for (wrong, fault) in [
        (with(|claims| claims["iss"] = "https://evil.example".into()), TokenFault::Refused),
        (with(|claims| claims["aud"] = "another service".into()), TokenFault::Refused),
        (with(|claims| drop(claims.as_object_mut().unwrap().remove("exp"))), TokenFault::Refused),
        (with(|claims| drop(claims.as_object_mut().unwrap().remove("sub"))), TokenFault::Refused),
        (with(|claims| claims["exp"] = (NOW - LEEWAY).into()), TokenFault::OutOfTime),
        (with(|claims| claims["exp"] = "never".into()), TokenFault::Refused),
        (with(|claims| claims["nbf"] = (NOW + LEEWAY + 1).into()), TokenFault::OutOfTime),
        (with(|claims| claims["roles"] = json!(["admin"])), TokenFault::NoRole),
        (with(|claims| claims["sub"] = "".into()), TokenFault::NoRole),
    ] {
        assert_eq!(bearer.read(&issuer.sign(&header, &wrong), now()).await, Err(fault), "{wrong}");
    }
    let good = issuer.sign(&header, &claims());
    assert_eq!(bearer.read(&good[..good.len() - 4], now()).await, Err(TokenFault::Refused));
    let stranger = Issuer::new().sign(&header, &claims());
    assert_eq!(bearer.read(&stranger, now()).await, Err(TokenFault::Refused));
    for text in ["", "a.b.c", "x", &"x".repeat(10_000)] {
        assert_eq!(bearer.read(text, now()).await, Err(TokenFault::Unreadable), "{text:.20}");
    }
}

#[tokio::test]
async fn neither_no_algorithm_nor_a_shared_secret_nor_another_family_is_taken() {
    let issuer = Issuer::new();
    let bearer = issuer.bearer();
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let none = format!("{}.{}.", part(&json!({"alg": "none"})), part(&claims()));
    assert!(bearer.read(&none, now()).await.is_err());
    // The classic confusion: the public key, used as the secret of an HMAC.
    let message = format!("{}.{}", part(&json!({"alg": "HS256", "kid": "ed"})), part(&claims()));
    let secret = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, issuer.ed.public_key().as_ref());
    let forged = format!("{message}.{}", URL_SAFE_NO_PAD.encode(ring::hmac::sign(&secret, message.as_bytes())));
    assert_eq!(bearer.read(&forged, now()).await, Err(TokenFault::Algorithm));
    let crossed = issuer.sign(&json!({"alg": "ES256", "kid": "ed"}), &claims());
    assert_eq!(bearer.read(&crossed, now()).await, Err(TokenFault::UnknownKey));
    let unknown = issuer.sign(&json!({"alg": "EdDSA", "kid": "other"}), &claims());
    assert_eq!(bearer.read(&unknown, now()).await, Err(TokenFault::UnknownKey));
}

#[tokio::test]
async fn a_scope_of_models_is_read_from_its_claim_and_missing_means_none() {
    let issuer = Issuer::new();
    let mut bearer = issuer.bearer();
    bearer.config.models_claim = "/models".into();
    let header = json!({"alg": "EdDSA", "kid": "ed"});
    let some = issuer.sign(&header, &with(|claims| claims["models"] = json!(["adult"])));
    assert!(bearer.read(&some, now()).await.unwrap().models.has("adult"));
    let none = bearer.read(&issuer.sign(&header, &claims()), now()).await.unwrap();
    assert!(!none.models.has("adult"));
}

#[test]
fn a_file_without_a_key_is_refused_with_its_name() {
    let folder = tempfile::tempdir().unwrap();
    for text in ["", "{}", "{\"keys\": []}", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"] {
        std::fs::write(folder.path().join("k"), text).unwrap();
        let error = IssuerKeys::open("k", folder.path()).unwrap_err().to_string();
        assert!(error.contains("api.jwt.keys"), "{text}: {error}");
    }
    assert!(IssuerKeys::open("none", Path::new("/nowhere")).is_err());
}
