//! The manifest of a snapshot: a small JSON document that says what the data are, and that they are whole.
//!
//! `{"crc32":"89abcdef","manifest":{…}}`: the sum is over the bytes of the inner document as they stand, so a reader needs no agreement on
//! how numbers are written. The settings of the engine are not in the manifest but in the data, because the salt is one of them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{CheckpointError, Offsets};
use crate::event::EventTime;
use crate::repartition::order::Place;
use crate::source::feed::Partition;

/// Format of manifests and of the packing of the data. The state in the data has a format of its own.
pub const FORMAT: u32 = 1;

/// What a snapshot is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Manifest {
    /// Format of the manifest.
    pub format: u32,
    /// Model.
    pub model: String,
    /// Position in the log of manifests.
    pub number: u64,
    /// Number of the manifest with which its writer took the model over.
    pub generation: u64,
    /// Version of the program that wrote it.
    pub program: String,
    /// The snapshot; none in a claim of a model that has none.
    pub snapshot: Option<SnapshotInfo>,
}

/// What is known of a snapshot without opening its data.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SnapshotInfo {
    /// Wall-clock time of the cut, in microseconds since 1970.
    pub taken_micros: i64,
    /// Event time that is complete, in microseconds since 1970.
    pub watermark_micros: i64,
    /// SHA-256 of the model's reference.
    pub reference: String,
    /// Format of the state.
    pub state_format: u32,
    /// Next offsets: topic → partition → offset.
    pub offsets: BTreeMap<String, BTreeMap<i32, i64>>,
    /// Where in the rows topic it was taken, in the topology `repartition`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<Place>,
    /// Accepted queries in the state.
    pub queries: u64,
    /// Late queries in the state.
    pub late: u64,
    /// Clients in the state.
    pub clients: u64,
    /// The data object.
    pub data: DataInfo,
}

/// Where the data are.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct DataInfo {
    /// Name of the object in the folder `data`.
    pub name: String,
    /// What an encrypted object is bound to.
    pub belongs_to: String,
    /// Bytes of the object.
    pub bytes: u64,
    /// Sum over the object's bytes.
    pub crc32: u32,
    /// Bytes once decrypted and unpacked.
    pub unpacked_bytes: u64,
    /// Name of the key; none if the data are not encrypted.
    pub key: Option<String>,
}

#[derive(Serialize)]
struct Written<'a> {
    crc32: String,
    manifest: &'a RawValue,
}

#[derive(Deserialize)]
struct Read<'a> {
    crc32: String,
    #[serde(borrow)]
    manifest: &'a RawValue,
}

/// The field that every format has.
#[derive(Deserialize)]
struct AnyFormat {
    format: u32,
}

// === impl Manifest ===

impl Manifest {
    /// The document.
    ///
    /// # Errors
    /// If it cannot be written as JSON, which plain fields always can.
    pub fn to_bytes(&self) -> Result<Vec<u8>, serde_json::Error> {
        let manifest = serde_json::value::to_raw_value(self)?;
        let crc32 = format!("{:08x}", crc32fast::hash(manifest.get().as_bytes()));
        serde_json::to_vec(&Written { crc32, manifest: &manifest })
    }

    /// Reads a document; `object` is its name for messages.
    ///
    /// # Errors
    /// [`CheckpointError::Damaged`] if it is not whole, [`CheckpointError::Unusable`] if another version wrote it.
    pub fn from_bytes(bytes: &[u8], object: &str) -> Result<Self, CheckpointError> {
        let damaged = |what: String| CheckpointError::Damaged { object: object.to_owned(), what };
        let read: Read<'_> = serde_json::from_slice(bytes).map_err(|error| damaged(format!("no manifest: {error}")))?;
        let found = format!("{:08x}", crc32fast::hash(read.manifest.get().as_bytes()));
        if found != read.crc32 {
            return Err(damaged(format!("its sum is {found} and should be {}", read.crc32)));
        }
        let no_manifest = |error: serde_json::Error| damaged(format!("no manifest: {error}"));
        let AnyFormat { format } = serde_json::from_str(read.manifest.get()).map_err(no_manifest)?;
        if format != FORMAT {
            return Err(CheckpointError::Unusable(format!(
                "{object} has format {format}, this program reads {FORMAT}; run the version that wrote it, or start without it"
            )));
        }
        serde_json::from_str(read.manifest.get()).map_err(no_manifest)
    }
}

// === impl SnapshotInfo ===

impl SnapshotInfo {
    /// Next offsets by partition.
    pub fn offsets(&self) -> Offsets {
        let topics = self.offsets.iter();
        topics
            .flat_map(|(topic, partitions)| {
                let topic: std::sync::Arc<str> = topic.as_str().into();
                partitions.iter().map(move |(number, offset)| (Partition { topic: topic.clone(), number: *number }, *offset))
            })
            .collect()
    }

    /// When it was taken.
    pub fn taken(&self) -> EventTime {
        EventTime::from_micros(self.taken_micros)
    }

    /// Offsets in the form of the manifest.
    pub fn offsets_by_topic(offsets: &Offsets) -> BTreeMap<String, BTreeMap<i32, i64>> {
        let mut topics: BTreeMap<String, BTreeMap<i32, i64>> = BTreeMap::new();
        for (partition, offset) in offsets {
            topics.entry(partition.topic.to_string()).or_default().insert(partition.number, *offset);
        }
        topics
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        let offsets: Offsets = [(Partition::new("t", 0), 7), (Partition::new("t", 12), 9), (Partition::new("u.v", 1), 0)].into();
        Manifest {
            format: FORMAT,
            model: "adult".into(),
            number: 3,
            generation: 2,
            program: "0.1.0".into(),
            snapshot: Some(SnapshotInfo {
                taken_micros: 1,
                watermark_micros: 2,
                reference: "ab".into(),
                state_format: 6,
                offsets: SnapshotInfo::offsets_by_topic(&offsets),
                log: None,
                queries: 5,
                late: 1,
                clients: 2,
                data: DataInfo {
                    name: "d".into(),
                    belongs_to: "adult/3".into(),
                    bytes: 10,
                    crc32: 4,
                    unpacked_bytes: 20,
                    key: None,
                },
            }),
        }
    }

    #[test]
    fn a_manifest_is_read_as_it_was_written() {
        let bytes = manifest().to_bytes().unwrap();
        let read = Manifest::from_bytes(&bytes, "m").unwrap();
        assert_eq!(read, manifest());
        assert_eq!(read.snapshot.unwrap().offsets().get(&Partition::new("t", 12)), Some(&9));
    }

    #[test]
    fn every_changed_or_missing_byte_is_noticed() {
        let bytes = manifest().to_bytes().unwrap();
        for at in 0..bytes.len() {
            assert!(Manifest::from_bytes(&bytes[..at], "m").is_err(), "cut at {at}");
            for bit in 0..8 {
                let mut changed = bytes.clone();
                changed[at] ^= 1 << bit;
                // A letter of the sum may change its case; then it is another text and refused as well.
                assert!(Manifest::from_bytes(&changed, "m").is_err(), "byte {at} bit {bit}");
            }
        }
    }

    #[test]
    fn another_format_is_named_with_what_to_do() {
        let bytes = Manifest { format: FORMAT + 1, ..manifest() }.to_bytes().unwrap();
        let error = Manifest::from_bytes(&bytes, "m").unwrap_err();
        assert!(matches!(&error, CheckpointError::Unusable(what) if what.contains("run the version that wrote it")), "{error}");
    }
}
