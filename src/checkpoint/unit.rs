//! A unit (a model) in the store: a log of numbered manifests, and the data they refer to.
//!
//! ```text
//! <url>/<group>/<model>/manifests/00000000000000000041     claims and snapshots, one log
//! <url>/<group>/<model>/data/00000000000000000041-00000000000000000040-89abcdef
//! ```
//!
//! The rules that make it safe (each is a test below):
//! * A manifest is created and never replaced. Of two writers with the same number one is refused.
//! * To take a unit over is to write a claim. The number of the claim is the generation of what its writer writes after it, so a later
//!   owner always has the higher generation.
//! * A writer that is refused reads what is there. If a later generation wrote it, the writer is fenced and writes nothing more. If it
//!   was the writer itself (an answer was lost), it goes on behind it.
//! * A writer that succeeds looks whether a higher number exists. This can be so only when it slept until its number was deleted; it is
//!   fenced then, too.
//! * Data have a name that is never used again, and are put before their manifest.
//! * The last three snapshots are kept. What is older goes after the new one is complete.

use super::CheckpointError;
use super::keys::Keys;
use super::manifest::{FORMAT, Manifest, SnapshotInfo};
use super::payload;
use super::store::Store;
use crate::engine::{ModelSnapshot, SNAPSHOT_FORMAT};

/// Folder of the manifests.
pub const MANIFESTS: &str = "manifests";
/// Folder of the data.
const DATA: &str = "data";
/// Snapshots that are kept: the newest, one for when it is damaged, and one for when both are.
const KEPT: usize = 3;
/// Numbers that a writer tries whose own earlier manifests are in its way. Chosen: one lost answer leaves one manifest.
const ATTEMPTS: usize = 4;

/// A unit, as one process sees it.
#[derive(Debug)]
pub struct Unit {
    /// Its folder.
    store: Store,
    model: String,
    /// Number of our claim; none before.
    generation: Option<u64>,
    /// Highest number that we know.
    last: u64,
    /// A later owner has been seen.
    fenced: bool,
}

/// What was found when a unit was read.
#[derive(Debug, Default)]
pub struct Found {
    /// The newest snapshot that can be read, and what it is.
    pub snapshot: Option<(SnapshotInfo, ModelSnapshot)>,
    /// Newer ones that are damaged, and why.
    pub damaged: Vec<CheckpointError>,
    /// Why the newest whole one cannot be used, if it cannot.
    pub unusable: Option<String>,
    /// Number of the newest manifest, 0 if there is none.
    pub last: u64,
    /// The newest snapshot's description, readable or not, for a claim.
    newest: Option<SnapshotInfo>,
}

/// What became of a snapshot that was to be written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Written {
    /// It is complete.
    Complete,
    /// A later owner has taken the unit over.
    Fenced,
}

// === impl Unit ===

impl Unit {
    /// The unit of a folder; nothing is read yet.
    pub fn new(store: Store, model: &str) -> Self {
        Self { store, model: model.to_owned(), generation: None, last: 0, fenced: false }
    }

    /// Model.
    pub fn model(&self) -> &str {
        &self.model
    }

    /// Where it lies, for messages.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Whether a later owner has been seen.
    pub fn is_fenced(&self) -> bool {
        self.fenced
    }

    /// Whether this process has taken it over at some time.
    pub fn is_taken(&self) -> bool {
        self.generation.is_some()
    }

    /// Whether it was taken over by this process, and by nobody since.
    ///
    /// # Errors
    /// If the store does not tell.
    pub async fn is_still_ours(&self) -> Result<bool, CheckpointError> {
        Ok(self.generation.is_some() && !self.fenced && self.numbers().await?.last() == Some(&self.last))
    }

    /// Numbers of the manifests, in order.
    ///
    /// # Errors
    /// If the store does not tell.
    pub async fn numbers(&self) -> Result<Vec<u64>, CheckpointError> {
        Ok(self.store.list(&[MANIFESTS]).await?.iter().filter_map(|name| name.parse().ok()).collect())
    }

    /// A manifest; none if it was deleted meanwhile.
    ///
    /// # Errors
    /// As [`Manifest::from_bytes`], or of the store.
    pub async fn manifest(&self, number: u64) -> Result<Option<Manifest>, CheckpointError> {
        let name = name_of(number);
        let bytes = self.store.get(&[MANIFESTS, &name]).await?;
        let object = format!("{}/{MANIFESTS}/{name}", self.store.place());
        bytes.map(|bytes| Manifest::from_bytes(&bytes, &object)).transpose()
    }

    /// The data of a snapshot, as they lie.
    ///
    /// # Errors
    /// [`CheckpointError::Damaged`] if they are gone, or an error of the store.
    pub async fn data(&self, info: &SnapshotInfo) -> Result<Vec<u8>, CheckpointError> {
        let gone = || CheckpointError::Damaged {
            object: format!("{}/{DATA}/{}", self.store.place(), info.data.name),
            what: "it is not there".into(),
        };
        self.store.get(&[DATA, &info.data.name]).await?.ok_or_else(gone)
    }

    /// Reads the newest snapshot that is whole.
    ///
    /// # Errors
    /// Only of the store; what is damaged is skipped and reported.
    pub async fn read(&self, keys: &Keys) -> Result<Found, CheckpointError> {
        let numbers = self.numbers().await?;
        let mut found = Found { last: numbers.last().copied().unwrap_or(0), ..Found::default() };
        let mut seen: Vec<String> = Vec::new();
        for number in numbers.into_iter().rev() {
            let (info, program) = match self.manifest(number).await {
                Ok(Some(Manifest { snapshot: Some(info), program, .. })) => (info, program),
                Ok(_) => continue,
                Err(error @ CheckpointError::Store { .. }) => return Err(error),
                Err(CheckpointError::Unusable(what)) => {
                    found.unusable = Some(what);
                    return Ok(found);
                }
                Err(damaged) => {
                    found.damaged.push(damaged);
                    continue;
                }
            };
            // Claims refer to the data of the snapshot before them.
            if seen.contains(&info.data.name) {
                continue;
            }
            seen.push(info.data.name.clone());
            found.newest.get_or_insert_with(|| info.clone());
            if info.state_format != SNAPSHOT_FORMAT {
                found.unusable = Some(format!(
                    "{} holds state of format {}, this program reads {SNAPSHOT_FORMAT}; run version {program}, which wrote it, or start without it",
                    self.store.place(),
                    info.state_format
                ));
                return Ok(found);
            }
            let data = match self.data(&info).await {
                Ok(data) => payload::unpack(data, &info.data, keys),
                Err(error @ CheckpointError::Store { .. }) => return Err(error),
                Err(damaged) => Err(damaged),
            };
            match data {
                Ok(snapshot) => {
                    found.snapshot = Some((info, snapshot));
                    return Ok(found);
                }
                Err(CheckpointError::Unusable(what)) => {
                    found.unusable = Some(what);
                    return Ok(found);
                }
                Err(damaged) => found.damaged.push(damaged),
            }
        }
        Ok(found)
    }

    /// Takes the unit over: from now on earlier owners are refused. Returns what was found; if another process takes it over at the same
    /// time, it is read again.
    ///
    /// # Errors
    /// Only of the store.
    pub async fn take_over(&mut self, keys: &Keys) -> Result<Found, CheckpointError> {
        loop {
            let found = self.read(keys).await?;
            let number = found.last + 1;
            let snapshot = found.snapshot.as_ref().map(|(info, _)| info.clone()).or_else(|| found.newest.clone());
            let claim = self.manifest_of(number, number, snapshot);
            if self.create(&claim).await? {
                (self.generation, self.last, self.fenced) = (Some(number), number, false);
                return Ok(found);
            }
        }
    }

    /// Puts the data of a snapshot, then its manifest. `describe` gets what is known of the data.
    ///
    /// # Errors
    /// Of the store, or if the unit was not taken over before. The snapshot before remains the newest.
    pub async fn write(&mut self, data: Vec<u8>, mut info: SnapshotInfo) -> Result<Written, CheckpointError> {
        let Some(generation) = self.generation else {
            return Err(CheckpointError::Unusable(format!("{} was not taken over", self.store.place())));
        };
        if self.fenced {
            return Ok(Written::Fenced);
        }
        info.data.name = format!("{}-{}-{:08x}", name_of(self.last + 1), name_of(generation), info.data.crc32);
        self.store.put(&[DATA, &info.data.name], data).await?;
        for _ in 0..ATTEMPTS {
            let number = self.last + 1;
            if self.create(&self.manifest_of(number, generation, Some(info.clone()))).await? {
                self.last = number;
                return self.complete(&info).await;
            }
            match self.manifest(number).await {
                // Our own, whose answer was lost.
                Ok(Some(manifest)) if manifest.generation == generation => self.last = number,
                Err(error @ CheckpointError::Store { .. }) => return Err(error),
                _ => break,
            }
        }
        self.fenced = true;
        Ok(Written::Fenced)
    }

    /// Looks for later owners, and deletes what is not kept.
    async fn complete(&mut self, newest: &SnapshotInfo) -> Result<Written, CheckpointError> {
        let numbers = self.numbers().await?;
        if numbers.last().is_some_and(|number| *number > self.last) {
            self.fenced = true;
            return Ok(Written::Fenced);
        }
        // The snapshot is complete; what remains to be deleted can be deleted next time.
        if let Err(error) = self.delete_old(&numbers, &newest.data.name).await {
            tracing::warn!(model = self.model, "old snapshots could not be deleted: {error}");
        }
        Ok(Written::Complete)
    }

    async fn delete_old(&self, numbers: &[u64], newest: &str) -> Result<(), CheckpointError> {
        let mut kept: Vec<String> = vec![newest.to_owned()];
        let mut oldest_kept = self.last;
        for &number in numbers.iter().rev().filter(|number| **number < self.last) {
            match self.manifest(number).await {
                Ok(Some(Manifest { snapshot: Some(info), .. })) if !kept.contains(&info.data.name) => {
                    if kept.len() >= KEPT {
                        break;
                    }
                    kept.push(info.data.name);
                }
                Err(error @ CheckpointError::Store { .. }) => return Err(error),
                // Claims, and what is damaged, go with what is around them.
                _ => {}
            }
            oldest_kept = number;
        }
        for &number in numbers.iter().filter(|number| **number < oldest_kept) {
            self.store.delete(&[MANIFESTS, &name_of(number)]).await?;
        }
        // Data of a higher number may belong to a manifest that is being written.
        let highest = name_of(self.last + 1);
        for name in self.store.list(&[DATA]).await? {
            if name < highest && !kept.contains(&name) {
                self.store.delete(&[DATA, &name]).await?;
            }
        }
        Ok(())
    }

    async fn create(&self, manifest: &Manifest) -> Result<bool, CheckpointError> {
        let bytes = manifest.to_bytes().map_err(|error| CheckpointError::Unusable(error.to_string()))?;
        self.store.create(&[MANIFESTS, &name_of(manifest.number)], bytes).await
    }

    fn manifest_of(&self, number: u64, generation: u64, snapshot: Option<SnapshotInfo>) -> Manifest {
        let program = env!("CARGO_PKG_VERSION").to_owned();
        Manifest { format: FORMAT, model: self.model.clone(), number, generation, program, snapshot }
    }
}

/// A number as a name: in order of name is in order of number.
fn name_of(number: u64) -> String {
    format!("{number:020}")
}

#[cfg(test)]
mod tests;
