//! Values that may be secret: they come from the environment or from a file, and are never printed.
//!
//! A configuration file is copied into tickets and repositories, so a password written into it is refused. `${env:NAME}` and
//! `${file:/path}` stand for the value instead; both work within a longer text.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use serde::{Deserialize, Deserializer};

/// librdkafka options that carry a secret. Names that end in `password` or `secret` count as well, so that options of later
/// versions are covered.
const SECRET_OPTIONS: [&str; 6] = [
    "sasl.password",
    "ssl.key.password",
    "ssl.keystore.password",
    "ssl.key.pem",
    "sasl.oauthbearer.client.secret",
    "sasl.oauthbearer.config",
];

/// Longest secret file in bytes. A PEM chain has some kilobytes; a larger file is a wrong path.
const MAX_SECRET_BYTES: u64 = 1024 * 1024;

/// librdkafka options by name, as text.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Options(pub BTreeMap<String, String>);

/// A text that may be secret: it is never printed.
#[derive(Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

/// A scalar of the file; librdkafka takes all of them as text.
#[derive(Deserialize)]
#[serde(untagged)]
enum Scalar {
    Text(String),
    Integer(i64),
    Boolean(bool),
    Number(f64),
}

// === impl Secret ===

impl Secret {
    /// Whether nothing is given.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value, with `${env:…}` and `${file:…}` replaced. Relative paths begin at `directory`.
    ///
    /// # Errors
    /// If it stands in the file itself, or its source cannot be read. The error never repeats a value.
    pub fn reveal(&self, directory: &Path) -> Result<String, String> {
        if !self.0.contains("${") {
            return Err("a secret must not stand in the configuration file; write ${env:NAME} or ${file:/path}".into());
        }
        expand(&self.0, directory)
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(not shown)")
    }
}

// === impl Options ===

impl Options {
    /// Whether an option's value must never be shown or written into the file.
    pub fn is_secret(name: &str) -> bool {
        SECRET_OPTIONS.contains(&name) || name.ends_with("password") || name.ends_with("secret")
    }

    /// The options with `${env:…}` and `${file:…}` replaced, or the name of the option and what is wrong with it.
    pub fn resolve(&self, directory: &Path) -> Result<BTreeMap<String, String>, (String, String)> {
        let value = |(name, value): (&String, &String)| match expand(value, directory) {
            Ok(expanded) => Ok((name.clone(), expanded)),
            Err(what) => Err((name.clone(), what)),
        };
        self.0.iter().map(value).collect()
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |(name, value): (&String, &String)| {
            (name.clone(), if Self::is_secret(name) || value.contains("${") { "(not shown)".into() } else { value.clone() })
        };
        f.debug_map().entries(self.0.iter().map(shown)).finish()
    }
}

impl<'de> Deserialize<'de> for Options {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = BTreeMap::<String, Scalar>::deserialize(deserializer)?;
        let text = |scalar| match scalar {
            Scalar::Text(text) => text,
            Scalar::Integer(number) => number.to_string(),
            Scalar::Boolean(flag) => flag.to_string(),
            Scalar::Number(number) => number.to_string(),
        };
        Ok(Self(raw.into_iter().map(|(name, scalar)| (name, text(scalar))).collect()))
    }
}

/// Replaces every `${env:NAME}` and `${file:PATH}` in `text`. Relative paths begin at `directory`. The error never repeats a
/// value, only its source.
pub fn expand(text: &str, directory: &Path) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        out.push_str(&rest[..start]);
        let inner = &rest[start + 2..];
        let end = inner.find('}').ok_or("a '${' has no '}'; write ${env:NAME} or ${file:/path}")?;
        out.push_str(&lookup(&inner[..end], directory)?);
        rest = &inner[end + 1..];
    }
    out.push_str(rest);
    Ok(out)
}

fn lookup(reference: &str, directory: &Path) -> Result<String, String> {
    if let Some(name) = reference.strip_prefix("env:") {
        return std::env::var(name).map_err(|_| format!("the environment variable {name} is not set (or is no UTF-8)"));
    }
    if let Some(path) = reference.strip_prefix("file:") {
        return read_file(&directory.join(path));
    }
    Err(format!("'${{{reference}}}' is not known; write ${{env:NAME}} or ${{file:/path}}"))
}

/// A secret from a file, without the line ending that editors add.
pub fn read_file(path: &Path) -> Result<String, String> {
    let fault = |what: String| format!("the secret file {} cannot be read: {what}", path.display());
    let size = std::fs::metadata(path).map_err(|error| fault(error.to_string()))?.len();
    if size > MAX_SECRET_BYTES {
        return Err(fault(format!("it has {size} bytes, which is no secret")));
    }
    let text = std::fs::read_to_string(path).map_err(|error| fault(error.to_string()))?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_read_from_a_file_and_never_shown() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("password"), "s3cret\n").unwrap();
        let options = Options([("sasl.password".into(), "${file:password}".into())].into());
        assert_eq!(options.resolve(directory.path()).unwrap()["sasl.password"], "s3cret");
        let plain = Options([("sasl.password".into(), "s3cret".into()), ("x.y".into(), "shown".into())].into());
        let shown = format!("{plain:?}");
        assert!(!shown.contains("s3cret") && shown.contains("shown"), "{shown}");
    }

    #[test]
    fn a_missing_secret_names_its_source() {
        let directory = Path::new("/");
        assert!(expand("${env:TRIPLINE_TEST_NOT_SET}", directory).unwrap_err().contains("TRIPLINE_TEST_NOT_SET"));
        assert!(expand("${vault:x}", directory).is_err());
        assert!(expand("${env:X", directory).is_err());
        assert_eq!(expand("plain $5", directory).unwrap(), "plain $5");
    }
}
