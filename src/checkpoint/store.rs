//! The object store: a directory, or a bucket of S3, GCS or Azure, through the crate `object_store`.
//!
//! Four operations are needed: create an object that must not exist, put one, get one, list and delete. A directory is made readable by
//! this user alone, since snapshots hold what people sent: folders have mode 0700 and files 0600. In a bucket its policy decides.

use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::TryStreamExt as _;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt as _, PutMode, PutOptions, PutPayload};
use url::Url;

use super::CheckpointError;
use super::config::StateConfig;

/// Longest time for one operation. Chosen: a gigabyte over 100 Mbit/s takes 80 s; what takes longer than five minutes has failed.
const OPERATION_LIMIT: Duration = Duration::from_secs(300);
/// Options of the clients of cloud stores that are set unless the configuration has them: a large snapshot needs longer than the 30 s that
/// the crate allows for a request.
const CLIENT_DEFAULTS: [(&str, &str); 2] = [("timeout", "300s"), ("connect_timeout", "5s")];

/// A store. Clones speak of the same one.
#[derive(Clone, Debug)]
pub struct Store {
    objects: Arc<dyn ObjectStore>,
    base: Path,
    /// For messages; without credentials.
    url: String,
    /// The directory, if it is one.
    folder: Option<PathBuf>,
}

// === impl Store ===

impl Store {
    /// Opens the store of a configuration. A directory is made if it does not exist. Nothing is asked of a bucket yet.
    ///
    /// # Errors
    /// If the settings are refused, or the directory cannot be made.
    pub fn open(config: &StateConfig, directory: &FilePath) -> Result<Self, CheckpointError> {
        let fault = |what: String| CheckpointError::Store { url: config.url.clone(), what };
        let url = config.parsed_url(directory).map_err(fault)?;
        let options = config.options.resolve(directory).map_err(|(name, what)| fault(format!("{name}: {what}")))?;
        if url.scheme() == "file" { Self::local(&url) } else { Self::cloud(&url, options) }
    }

    fn local(url: &Url) -> Result<Self, CheckpointError> {
        let fault = |what: String| CheckpointError::Store { url: url.to_string(), what };
        let folder = url.to_file_path().map_err(|()| fault("this is no path".into()))?;
        make_private(&folder).map_err(|error| fault(format!("{} cannot be made: {error}", folder.display())))?;
        let objects = LocalFileSystem::new_with_prefix(&folder).map_err(|error| fault(error.to_string()))?.with_fsync(true);
        Ok(Self { objects: Arc::new(objects), base: Path::default(), url: url.to_string(), folder: Some(folder) })
    }

    fn cloud(url: &Url, options: std::collections::BTreeMap<String, String>) -> Result<Self, CheckpointError> {
        let fault = |error: Error| CheckpointError::Store { url: url.to_string(), what: error.to_string() };
        // It is refused if something else of this process has installed one, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        // The environment first, so that the configuration overrides it. Names that the provider does not have are ignored.
        let environment = std::env::vars().map(|(name, value)| (name.to_ascii_lowercase(), value));
        let defaults = CLIENT_DEFAULTS.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let all = defaults.chain(environment.filter(|(name, _)| is_of_a_store(name))).chain(options);
        let (objects, base) = object_store::parse_url_opts(url, all).map_err(fault)?;
        Ok(Self { objects: objects.into(), base, url: url.to_string(), folder: None })
    }

    /// A store in memory, for tests.
    #[cfg(test)]
    pub fn in_memory() -> Self {
        let objects = Arc::new(object_store::memory::InMemory::new());
        Self { objects, base: Path::default(), url: "memory:///".into(), folder: None }
    }

    /// The URL, for messages.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Creates an object; `false` if one of this name exists, and then nothing is changed.
    ///
    /// # Errors
    /// If the store does not do it.
    pub async fn create(&self, name: &[&str], bytes: Vec<u8>) -> Result<bool, CheckpointError> {
        match self.put_with(name, bytes, PutMode::Create).await {
            Ok(()) => Ok(true),
            Err(Some(Error::AlreadyExists { .. } | Error::Precondition { .. })) => Ok(false),
            Err(error) => Err(self.fault(error)),
        }
    }

    /// Puts an object.
    ///
    /// # Errors
    /// If the store does not do it.
    pub async fn put(&self, name: &[&str], bytes: Vec<u8>) -> Result<(), CheckpointError> {
        self.put_with(name, bytes, PutMode::Overwrite).await.map_err(|error| self.fault(error))
    }

    /// The error is none if time ran out.
    async fn put_with(&self, name: &[&str], bytes: Vec<u8>, mode: PutMode) -> Result<(), Option<Error>> {
        let path = self.path(name);
        self.make_folders(name).map_err(|source| Some(Error::Generic { store: "file", source: source.into() }))?;
        let put = self.objects.put_opts(&path, PutPayload::from(bytes), PutOptions { mode, ..PutOptions::default() });
        tokio::time::timeout(OPERATION_LIMIT, put).await.map_err(|_| None)?.map_err(Some)?;
        if let Some(folder) = &self.folder {
            restrict(&folder.join(path.as_ref()))
                .map_err(|source| Some(Error::Generic { store: "file", source: source.into() }))?;
        }
        Ok(())
    }

    /// An object; none if there is none of this name.
    ///
    /// # Errors
    /// If the store does not give it.
    pub async fn get(&self, name: &[&str]) -> Result<Option<Vec<u8>>, CheckpointError> {
        let path = self.path(name);
        let get = async {
            match self.objects.get(&path).await {
                Ok(found) => found.bytes().await.map(|bytes| Some(bytes.into())),
                Err(Error::NotFound { .. }) => Ok(None),
                Err(error) => Err(error),
            }
        };
        self.within(get).await
    }

    /// Names of the objects of a folder, in order.
    ///
    /// # Errors
    /// If the store does not tell.
    pub async fn list(&self, folder: &[&str]) -> Result<Vec<String>, CheckpointError> {
        let path = self.path(folder);
        let list = async { self.objects.list_with_delimiter(Some(&path)).await };
        let found = self.within(list).await?;
        let mut names: Vec<String> =
            found.objects.iter().filter_map(|object| object.location.filename()).map(str::to_owned).collect();
        names.sort();
        Ok(names)
    }

    /// The folders of all units of the store: folders that hold manifests.
    ///
    /// # Errors
    /// If the store does not tell.
    pub async fn units(&self) -> Result<Vec<Self>, CheckpointError> {
        let list = async { self.objects.list(Some(&self.base)).try_collect::<Vec<_>>().await };
        let mut bases: Vec<Path> = Vec::new();
        for object in self.within(list).await? {
            let parts: Vec<_> = object.location.parts().collect();
            if let [unit @ .., kind, _] = parts.as_slice()
                && kind.as_ref() == super::unit::MANIFESTS
            {
                bases.push(unit.iter().cloned().collect());
            }
        }
        bases.sort();
        bases.dedup();
        Ok(bases.into_iter().map(|base| Self { base, ..self.clone() }).collect())
    }

    /// A folder of this store, as a store.
    #[must_use]
    pub fn folder(&self, name: &[&str]) -> Self {
        Self { base: self.path(name), ..self.clone() }
    }

    /// Where it begins, for messages.
    pub fn place(&self) -> &str {
        self.base.as_ref()
    }

    /// Deletes an object; one that is not there is deleted already.
    ///
    /// # Errors
    /// If the store does not do it.
    pub async fn delete(&self, name: &[&str]) -> Result<(), CheckpointError> {
        let path = self.path(name);
        let delete = async {
            match self.objects.delete(&path).await {
                Err(Error::NotFound { .. }) => Ok(()),
                other => other,
            }
        };
        self.within(delete).await
    }

    async fn within<T>(&self, work: impl Future<Output = Result<T, Error>>) -> Result<T, CheckpointError> {
        match tokio::time::timeout(OPERATION_LIMIT, work).await {
            Ok(result) => result.map_err(|error| self.fault(Some(error))),
            Err(_) => Err(self.fault(None)),
        }
    }

    fn fault(&self, error: Option<Error>) -> CheckpointError {
        let late = || format!("no answer within {} s", OPERATION_LIMIT.as_secs());
        CheckpointError::Store { url: self.url.clone(), what: error.map_or_else(late, |error| error.to_string()) }
    }

    fn path(&self, name: &[&str]) -> Path {
        name.iter().fold(self.base.clone(), |path, part| path.join(*part))
    }

    /// Makes the folders of an object, private ones, if the store is a directory.
    fn make_folders(&self, name: &[&str]) -> std::io::Result<()> {
        let Some(folder) = &self.folder else { return Ok(()) };
        let path = self.path(name.get(..name.len().saturating_sub(1)).unwrap_or_default());
        make_private(&folder.join(path.as_ref()))
    }
}

/// Whether a variable of the environment is one of a store's.
fn is_of_a_store(name: &str) -> bool {
    ["aws_", "google_", "azure_"].iter().any(|prefix| name.starts_with(prefix))
}

#[cfg(unix)]
fn make_private(folder: &FilePath) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

#[cfg(unix)]
fn restrict(file: &FilePath) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o600))
}

#[cfg(not(unix))]
fn make_private(folder: &FilePath) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)
}

#[cfg(not(unix))]
fn restrict(_file: &FilePath) -> std::io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn run<T>(work: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
    }

    #[test]
    fn a_directory_is_readable_by_its_owner_alone_and_names_cannot_leave_it() {
        let outside = tempfile::tempdir().unwrap();
        let root = outside.path().join("state");
        let config = StateConfig { url: format!("file://{}", root.display()), ..StateConfig::default() };
        let store = Store::open(&config, FilePath::new("")).unwrap();
        for name in [["group", "model", "manifests", "1"], ["..", "..", "a/b c", "ü"]] {
            assert!(run(store.create(&name, b"x".to_vec())).unwrap());
            assert!(!run(store.create(&name, b"y".to_vec())).unwrap(), "it exists");
            assert_eq!(run(store.get(&name)).unwrap().as_deref(), Some(b"x".as_slice()));
        }
        let mut seen = 0;
        let mut folders = vec![root.clone()];
        while let Some(folder) = folders.pop() {
            assert_eq!(std::fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700, "{}", folder.display());
            for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
                if entry.file_type().unwrap().is_dir() {
                    folders.push(entry.path());
                } else {
                    assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600);
                    seen += 1;
                }
            }
        }
        assert_eq!(seen, 2);
        assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 1, "nothing beside it");
        run(store.delete(&["group", "model", "manifests", "1"])).unwrap();
        run(store.delete(&["group", "model", "manifests", "1"])).unwrap();
        assert_eq!(run(store.get(&["group", "model", "manifests", "1"])).unwrap(), None);
    }
}
