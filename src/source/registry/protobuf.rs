//! Protobuf records as JSON.
//!
//! In front of a record stand the indexes that say which message of the schema it is: their number and each of them as zigzag varints,
//! or a single zero for the first message. Fields keep the names of the schema, fields that were not set have their default, numbers of 64
//! bits stay numbers, and the library's well-known types are read (a `Timestamp` becomes RFC 3339).

use std::path::Path;

use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, SerializeOptions};
use protox::file::{ChainFileResolver, File, FileResolver, GoogleFileResolver};
use serde_json::Value;

/// Name of the schema's own file; imports have theirs.
const MAIN: &str = "tripline/record.proto";
/// Most indexes of one record: messages nested so deep are no log.
const MAX_INDEXES: usize = 16;
/// Longest varint of 64 bits.
const MAX_VARINT: usize = 10;

/// The messages of a schema.
#[derive(Debug)]
pub struct ProtobufSchema {
    pool: DescriptorPool,
}

/// The files of a schema, by name.
struct Files(Vec<(String, String)>);

impl FileResolver for Files {
    fn resolve_path(&self, path: &Path) -> Option<String> {
        path.to_str().map(|path| path.replace('\\', "/"))
    }

    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        match self.0.iter().find(|(known, _)| known == name) {
            Some((_, text)) => File::from_source(name, text),
            None => Err(protox::Error::file_not_found(name)),
        }
    }
}

// === impl ProtobufSchema ===

impl ProtobufSchema {
    /// Reads a schema and the files that it imports, by name.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn parse(text: &str, imports: Vec<(String, String)>) -> Result<Self, String> {
        let mut files = imports;
        files.push((MAIN.to_owned(), text.to_owned()));
        let mut resolver = ChainFileResolver::new();
        resolver.add(Files(files));
        resolver.add(GoogleFileResolver::new());
        let mut compiler = protox::Compiler::with_file_resolver(resolver);
        compiler.include_imports(true).open_file(MAIN).map_err(|error| error.to_string())?;
        Ok(Self { pool: compiler.descriptor_pool() })
    }

    /// A record as JSON; the indexes stand before it.
    ///
    /// # Errors
    /// Why the bytes are no record of this schema.
    pub fn read(&self, bytes: &[u8]) -> Result<Value, String> {
        let (indexes, record) = indexes(bytes)?;
        let message = self.message(&indexes).ok_or_else(|| format!("the schema has no message at {indexes:?}"))?;
        let message = DynamicMessage::decode(message, record).map_err(|error| error.to_string())?;
        let options =
            SerializeOptions::new().use_proto_field_name(true).stringify_64_bit_integers(false).skip_default_fields(false);
        message.serialize_with_options(serde_json::value::Serializer, &options).map_err(|error| error.to_string())
    }

    fn message(&self, indexes: &[usize]) -> Option<MessageDescriptor> {
        let (first, rest) = indexes.split_first()?;
        let main = self.pool.get_file_by_name(MAIN)?;
        let top = main.messages().nth(*first)?;
        rest.iter().try_fold(top, |message, index| message.child_messages().nth(*index))
    }
}

/// The indexes, and what follows them.
fn indexes(bytes: &[u8]) -> Result<(Vec<usize>, &[u8]), String> {
    let fault = || "the indexes of the message cannot be read".to_owned();
    let (count, mut rest) = varint(bytes).ok_or_else(fault)?;
    if count == 0 {
        return Ok((vec![0], rest));
    }
    let count = usize::try_from(count).ok().filter(|count| *count <= MAX_INDEXES).ok_or_else(fault)?;
    let mut all = Vec::with_capacity(count);
    for _ in 0..count {
        let (index, behind) = varint(rest).ok_or_else(fault)?;
        all.push(usize::try_from(index).map_err(|_| fault())?);
        rest = behind;
    }
    Ok((all, rest))
}

/// A zigzag varint, and what follows it.
fn varint(bytes: &[u8]) -> Option<(i64, &[u8])> {
    let mut value = 0_u64;
    for (nth, byte) in bytes.iter().take(MAX_VARINT).enumerate() {
        value |= u64::from(byte & 0x7f).checked_shl(u32::try_from(7 * nth).ok()?)?;
        if byte & 0x80 == 0 {
            let half = i64::try_from(value >> 1).ok()?;
            return Some((if value & 1 == 0 { half } else { -half - 1 }, &bytes[nth + 1..]));
        }
    }
    None
}
