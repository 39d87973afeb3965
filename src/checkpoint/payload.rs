//! The data object of a snapshot: postcard, packed with zstd, encrypted if there is a key, with a sum over the bytes as they lie.

use std::io::BufWriter;

use serde::Serialize;
use zstd::stream::{read::Decoder, write::Encoder};

use super::CheckpointError;
use super::keys::{Key, Keys};
use super::manifest::DataInfo;
use crate::engine::ModelSnapshot;

/// Level of zstd. Chosen: the fastest one; it halves the object, and a higher one would cost seconds of a core for a few percent.
const LEVEL: i32 = 1;

/// Bytes of a block. Chosen: half of a second-level cache.
const BUFFER: usize = 256 * 1024;

/// Packs a snapshot. `belongs_to` is what an encrypted object is bound to. The name in the returned information is left empty.
///
/// # Errors
/// What went wrong; nothing that depends on the data is expected.
pub fn pack(snapshot: &impl Serialize, key: Option<&Key>, belongs_to: String) -> Result<(Vec<u8>, DataInfo), String> {
    let encoder = Encoder::new(Vec::new(), LEVEL).map_err(|error| error.to_string())?;
    // Postcard writes field by field; the buffer makes blocks of them.
    let buffer = BufWriter::with_capacity(BUFFER, Counting { writer: encoder, bytes: 0 });
    let buffer = postcard::to_io(snapshot, buffer).map_err(|error| error.to_string())?;
    let counted = buffer.into_inner().map_err(|error| error.to_string())?;
    let mut bytes = counted.writer.finish().map_err(|error| error.to_string())?;
    if let Some(key) = key {
        bytes = key.seal(bytes, &belongs_to)?;
    }
    let info = DataInfo {
        name: String::new(),
        belongs_to,
        bytes: bytes.len() as u64,
        crc32: crc32fast::hash(&bytes),
        unpacked_bytes: counted.bytes,
        key: key.map(|key| key.id.clone()),
    };
    Ok((bytes, info))
}

/// Whether the bytes are those that were written.
///
/// # Errors
/// [`CheckpointError::Damaged`] if not.
pub fn verify(bytes: &[u8], info: &DataInfo) -> Result<(), CheckpointError> {
    let damaged = |what: String| Err(CheckpointError::Damaged { object: info.name.clone(), what });
    if bytes.len() as u64 != info.bytes {
        return damaged(format!("it has {} bytes and should have {}", bytes.len(), info.bytes));
    }
    let crc32 = crc32fast::hash(bytes);
    if crc32 != info.crc32 {
        return damaged(format!("its sum is {crc32:08x} and should be {:08x}", info.crc32));
    }
    Ok(())
}

/// Unpacks a snapshot.
///
/// # Errors
/// [`CheckpointError::Damaged`] if the bytes are not those that were written; [`CheckpointError::Unusable`] if its key is missing.
pub fn unpack(bytes: Vec<u8>, info: &DataInfo, keys: &Keys) -> Result<ModelSnapshot, CheckpointError> {
    verify(&bytes, info)?;
    let plain = unpacked(bytes, info, keys)?;
    postcard::from_bytes(&plain).map_err(|error| CheckpointError::Damaged {
        object: info.name.clone(),
        what: format!("it holds no state of this format: {error}"),
    })
}

/// The bytes of the state, decrypted and unpacked.
fn unpacked(mut bytes: Vec<u8>, info: &DataInfo, keys: &Keys) -> Result<Vec<u8>, CheckpointError> {
    let damaged = |what: String| CheckpointError::Damaged { object: info.name.clone(), what };
    if let Some(id) = &info.key {
        let missing = || {
            CheckpointError::Unusable(format!(
                "{} is encrypted with key {id}, which is not given; add that key to state.old_keys",
                info.name
            ))
        };
        bytes = keys.named(id).ok_or_else(missing)?.open(bytes, &info.belongs_to).map_err(damaged)?;
    }
    let damaged = |what: String| CheckpointError::Damaged { object: info.name.clone(), what };
    let decoder = Decoder::new(bytes.as_slice()).map_err(|error| damaged(error.to_string()))?;
    let mut plain = Vec::with_capacity(usize::try_from(info.unpacked_bytes).unwrap_or_default());
    // One byte more than announced is enough to see that there are too many.
    let mut limited = std::io::Read::take(decoder, info.unpacked_bytes.saturating_add(1));
    std::io::Read::read_to_end(&mut limited, &mut plain).map_err(|error| damaged(error.to_string()))?;
    if plain.len() as u64 != info.unpacked_bytes {
        return Err(damaged(format!("it unpacks to {} bytes and should to {}", plain.len(), info.unpacked_bytes)));
    }
    Ok(plain)
}

/// Counts what is written.
struct Counting<W> {
    writer: W,
    bytes: u64,
}

impl<W: std::io::Write> std::io::Write for Counting<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.writer.write(bytes)?;
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.writer.flush()
    }
}
