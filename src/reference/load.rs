//! Reads reference profiles and trusted keys from files: the one loader of every command.
//!
//! Reading is bounded, so that a wrong path does not fill the memory. Parsing and the check of signatures are pure
//! ([`Reference::from_trusted_json`]); this file only adds the path to what they say.

use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::sign::{self, KeyError};
use super::{Reference, ReferenceError, Trust};

/// Largest profile in bytes. A profile of 200 features with the default sample has a tenth of it.
const MAX_PROFILE_BYTES: u64 = 256 << 20;
/// Largest file of public keys in bytes. A PEM key has about 120.
const MAX_KEY_BYTES: u64 = 1 << 20;

/// Why a profile or a key could not be loaded: the file, what is wrong, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// There is no such file.
    #[error("{}: there is no such file; correct the path{}", .path.display(), .kind.origin())]
    Missing {
        /// The file as given.
        path: PathBuf,
        /// What it should hold.
        kind: FileKind,
    },
    /// The operating system would not read it.
    #[error("{}: cannot be read: {error}; make the file readable by this user, or correct the path", .path.display())]
    Read {
        /// The file as given.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// It is too large to be what it should be.
    #[error("{}: the file has more than {limit} bytes, which is no {kind}; correct the path", .path.display())]
    TooLarge {
        /// The file as given.
        path: PathBuf,
        /// What it should hold.
        kind: FileKind,
        /// Bytes allowed.
        limit: u64,
    },
    /// The profile is damaged, of another version, or not signed as asked.
    #[error("{}: {error}", .path.display())]
    Profile {
        /// The file as given.
        path: PathBuf,
        /// What is wrong with the profile.
        error: ReferenceError,
    },
    /// The file holds no public key.
    #[error("{}: {error}", .path.display())]
    Key {
        /// The file as given.
        path: PathBuf,
        /// What is wrong with the key.
        error: KeyError,
    },
}

/// What a file should hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FileKind {
    /// A reference profile.
    Profile,
    /// Public keys.
    PublicKey,
}

// === impl FileKind ===

impl FileKind {
    fn limit(self) -> u64 {
        match self {
            Self::Profile => MAX_PROFILE_BYTES,
            Self::PublicKey => MAX_KEY_BYTES,
        }
    }

    /// How such a file is made, as the end of a message.
    fn origin(self) -> &'static str {
        match self {
            Self::Profile => ", or make the profile with `tripline fit`",
            Self::PublicKey => ", or make the key with `openssl pkey -in KEY.pem -pubout`",
        }
    }
}

impl std::fmt::Display for FileKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Profile => "reference profile",
            Self::PublicKey => "public key",
        })
    }
}

/// Reads one profile and checks it, its signature included if `trust` asks for one.
///
/// # Errors
/// [`LoadError`], but never [`LoadError::Key`].
pub fn profile(path: &Path, trust: &Trust) -> Result<Reference, LoadError> {
    let bytes = read(path, FileKind::Profile)?;
    Reference::from_trusted_json(&bytes, trust).map_err(|error| LoadError::Profile { path: path.into(), error })
}

/// Reads several profiles as [`profile`] does; the first fault ends it.
///
/// # Errors
/// As [`profile`].
pub fn profiles<P: AsRef<Path>>(paths: &[P], trust: &Trust) -> Result<Vec<Arc<Reference>>, LoadError> {
    paths.iter().map(|path| profile(path.as_ref(), trust).map(Arc::new)).collect()
}

/// Reads the public keys of PEM files, one or several a file.
///
/// # Errors
/// [`LoadError`], but never [`LoadError::Profile`].
pub fn verifying_keys<P: AsRef<Path>>(paths: &[P]) -> Result<Vec<sign::VerifyingKey>, LoadError> {
    let mut keys = Vec::new();
    for path in paths.iter().map(AsRef::as_ref) {
        let fault = |error| LoadError::Key { path: path.into(), error };
        let text = String::from_utf8(read(path, FileKind::PublicKey)?).map_err(|_| fault(KeyError::NotPem))?;
        keys.extend(sign::verifying_keys(&text).map_err(fault)?);
    }
    Ok(keys)
}

/// A whole file, unless it is too large to be what it should be.
fn read(path: &Path, kind: FileKind) -> Result<Vec<u8>, LoadError> {
    let failed = |error: std::io::Error| match error.kind() {
        ErrorKind::NotFound => LoadError::Missing { path: path.into(), kind },
        _ => LoadError::Read { path: path.into(), error },
    };
    let limit = kind.limit();
    let mut bytes = Vec::new();
    File::open(path).map_err(failed)?.take(limit + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > limit { Err(LoadError::TooLarge { path: path.into(), kind, limit }) } else { Ok(bytes) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A profile, its key and a stranger's key in a folder.
    struct Folder(tempfile::TempDir);

    impl Folder {
        fn new() -> Self {
            let folder = Self(tempfile::tempdir().unwrap());
            std::fs::copy(shipped("models/adult/reference.json"), folder.path("profile.json")).unwrap();
            std::fs::copy(shipped("models/signing.pub"), folder.path("signing.pub")).unwrap();
            folder
        }

        fn path(&self, name: &str) -> PathBuf {
            self.0.path().join(name)
        }
    }

    fn shipped(path: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
    }

    #[test]
    fn a_shipped_profile_loads_with_its_key_and_without() {
        let folder = Folder::new();
        let keys = verifying_keys(&[folder.path("signing.pub")]).unwrap();
        assert_eq!(keys.len(), 1);
        for trust in [Trust::Anyone, Trust::SignedBy(keys)] {
            assert_eq!(profile(&folder.path("profile.json"), &trust).unwrap().model, "adult");
        }
        assert_eq!(profiles(&[folder.path("profile.json")], &Trust::Anyone).unwrap().len(), 1);
    }

    #[test]
    fn a_profile_that_no_trusted_key_signed_is_refused_with_its_path() {
        let folder = Folder::new();
        let error = profile(&folder.path("profile.json"), &Trust::SignedBy(Vec::new())).unwrap_err();
        assert!(matches!(error, LoadError::Profile { error: ReferenceError::Signature { .. }, .. }), "{error}");
        assert!(error.to_string().contains("profile.json: reference profile 'adult': it is signed by the key SHA256:"), "{error}");
    }

    #[test]
    fn a_missing_file_says_how_to_make_it() {
        let folder = Folder::new();
        let error = profile(&folder.path("none.json"), &Trust::Anyone).unwrap_err();
        assert!(matches!(error, LoadError::Missing { .. }), "{error}");
        assert!(
            error
                .to_string()
                .ends_with("none.json: there is no such file; correct the path, or make the profile with `tripline fit`")
        );
        assert!(verifying_keys(&[folder.path("none.pub")]).unwrap_err().to_string().contains("openssl pkey"));
    }

    #[test]
    fn what_cannot_be_read_or_is_something_else_is_told_apart() {
        let folder = Folder::new();
        assert!(matches!(profile(folder.0.path(), &Trust::Anyone), Err(LoadError::Read { .. })), "a folder");
        let swapped = verifying_keys(&[folder.path("profile.json")]);
        assert!(matches!(swapped, Err(LoadError::Key { error: KeyError::NotPem, .. } | LoadError::TooLarge { .. })), "{swapped:?}");
        let swapped = profile(&folder.path("signing.pub"), &Trust::Anyone);
        assert!(matches!(swapped, Err(LoadError::Profile { error: ReferenceError::Syntax(_), .. })), "{swapped:?}");
    }

    #[test]
    fn a_file_too_large_to_be_a_key_is_not_read_whole() {
        let folder = Folder::new();
        let path = folder.path("huge.pub");
        File::create(&path).unwrap().set_len(MAX_KEY_BYTES + 1).unwrap();
        assert!(matches!(verifying_keys(&[path]), Err(LoadError::TooLarge { limit: MAX_KEY_BYTES, .. })));
    }
}
