//! Opens a training file: which compression, which format.
//!
//! Content decides first (magic bytes), because files are renamed more often than rewritten; the suffix decides where content
//! cannot, which is only between CSV dialects. One layer of compression is removed; a second one is refused.

use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use super::Fault;

/// Layout of a training file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// Comma (or tab, or semicolon) separated values with a header.
    Csv,
    /// One JSON object a line.
    Jsonl,
    /// Apache Parquet.
    Parquet,
}

/// Compression of a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Packing {
    /// None.
    Plain,
    /// gzip, one member or several.
    Gzip,
    /// Zstandard, one frame or several.
    Zstd,
}

/// An open file, ready for the reader of its format.
pub enum Opened<'a> {
    /// Delimited text.
    Csv {
        /// Delimiter that the file's suffix tells, if it tells one.
        delimiter_hint: Option<u8>,
        /// The text, decompressed, without byte order mark.
        source: Box<dyn BufRead + 'a>,
        /// Compression that was removed.
        packing: Packing,
    },
    /// JSON lines.
    Jsonl {
        /// The text, decompressed, without byte order mark.
        source: Box<dyn BufRead + 'a>,
        /// Compression that was removed.
        packing: Packing,
    },
    /// Parquet.
    Parquet {
        /// The file, which is read at random.
        file: File,
        /// Told of bytes as rows go by.
        progress: &'a dyn Fn(u64),
    },
}

/// Bytes read at a time. Chosen: large enough that system calls cost nothing beside parsing, small enough for the second-level cache.
const CHUNK: usize = 64 << 10;
const GZIP: &[u8] = &[0x1f, 0x8b];
const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];
const PARQUET: &[u8] = b"PAR1";
const BYTE_ORDER_MARK: &[u8] = &[0xef, 0xbb, 0xbf];

// === impl Format, Packing ===

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Csv => "CSV",
            Self::Jsonl => "JSON lines",
            Self::Parquet => "Parquet",
        })
    }
}

impl fmt::Display for Packing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plain => "plain",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        })
    }
}

// === impl Opened ===

impl Opened<'_> {
    /// The layout.
    pub fn format(&self) -> Format {
        match self {
            Self::Csv { .. } => Format::Csv,
            Self::Jsonl { .. } => Format::Jsonl,
            Self::Parquet { .. } => Format::Parquet,
        }
    }

    /// The compression.
    pub fn packing(&self) -> Packing {
        match self {
            Self::Csv { packing, .. } | Self::Jsonl { packing, .. } => *packing,
            Self::Parquet { .. } => Packing::Plain,
        }
    }
}

/// A reader that tells how many bytes went through it.
struct Counted<'a, R> {
    inner: R,
    progress: &'a dyn Fn(u64),
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        (self.progress)(n as u64);
        Ok(n)
    }
}

/// The name that messages use for a path.
pub fn display_name(path: &Path) -> String {
    if path == Path::new("-") { "standard input".into() } else { path.display().to_string() }
}

/// Opens a file, or standard input for `-`.
///
/// # Errors
/// If there is no such file, it cannot be read, is empty, or has a format that cannot be read this way.
pub fn open<'a>(path: &Path, progress: &'a dyn Fn(u64)) -> Result<Opened<'a>, Fault> {
    if path == Path::new("-") {
        return dispatch("", Box::new(BufReader::with_capacity(CHUNK, Counted { inner: io::stdin().lock(), progress })));
    }
    let mut file =
        File::open(path).map_err(|e| if e.kind() == io::ErrorKind::NotFound { Fault::NotFound } else { Fault::Io(e) })?;
    if file.metadata().is_ok_and(|m| m.is_dir()) {
        return Err(Fault::Unsupported("this is a folder; name one file in it"));
    }
    let mut magic = [0; 4];
    // Pipes cannot be rewound, and Parquet cannot be read from them: only regular files are looked into here.
    if file.metadata().is_ok_and(|m| m.is_file()) {
        let n = read_up_to(&mut file, &mut magic).map_err(Fault::Io)?;
        if magic[..n] == *PARQUET {
            return Ok(Opened::Parquet { file, progress });
        }
        io::Seek::rewind(&mut file).map_err(Fault::Io)?;
    }
    let name = path.file_name().map(|n| n.to_string_lossy().to_lowercase()).unwrap_or_default();
    dispatch(&name, Box::new(BufReader::with_capacity(CHUNK, Counted { inner: file, progress })))
}

/// Opens bytes in memory under a file name (whose suffix may tell the dialect).
///
/// # Errors
/// As [`open`].
pub fn from_bytes<'a>(name: &str, bytes: &'a [u8]) -> Result<Opened<'a>, Fault> {
    dispatch(&name.to_lowercase(), Box::new(bytes))
}

fn read_up_to(file: &mut File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read(&mut buffer[filled..])? {
            0 => break,
            n => filled += n,
        }
    }
    Ok(filled)
}

/// Files of other kinds, by their first bytes, with what to do.
const FOREIGN: [(&[u8], &str); 14] = [
    (
        b"PK\x03\x04",
        "this is a zip archive or an Excel workbook; unpack it (gzip and zstd are read packed), or save the sheet as CSV",
    ),
    (b"\xd0\xcf\x11\xe0", "this is an old Excel workbook; save the sheet as CSV"),
    (b"ARROW1", "this is a Feather (Arrow) file; write Parquet instead (pandas: to_parquet)"),
    (b"FEA1", "this is an old Feather file; write Parquet instead (pandas: to_parquet)"),
    (b"ORC", "this is an ORC file; write Parquet instead"),
    (b"Obj\x01", "this is an Avro file; write Parquet or JSON lines instead"),
    (b"\x89HDF", "this is an HDF5 file; write Parquet instead (pandas: to_parquet)"),
    (b"SQLite format 3", "this is a SQLite database; export the table as CSV"),
    (b"\xfd7zXZ", "this file is packed with xz; gzip and zstd are read packed"),
    (b"BZh", "this file is packed with bzip2; gzip and zstd are read packed"),
    (b"7z\xbc\xaf", "this is a 7z archive; unpack it (gzip and zstd are read packed)"),
    (b"\x04\x22\x4d\x18", "this file is packed with lz4; gzip and zstd are read packed"),
    (b"\xff\xfe", "this is UTF-16 text; save it as UTF-8"),
    (b"\xfe\xff", "this is UTF-16 text; save it as UTF-8"),
];
/// First bytes that are enough to tell them.
const FOREIGN_BYTES: usize = 16;

/// What a file is that is known and cannot be read, by its first bytes, and what to do.
pub fn foreign(head: &[u8]) -> Option<&'static str> {
    // Protocols 2 to 5, which all begin so; unpickling runs what the file says.
    if let [0x80, 2..=5, ..] = head {
        return Some("this is a Python pickle, and reading one runs code; write Parquet or CSV instead");
    }
    FOREIGN.iter().find(|(magic, _)| head.starts_with(magic)).map(|(_, words)| *words)
}

/// Removes compression and byte order mark, then tells the formats of text apart.
fn dispatch<'a>(name: &str, raw: Box<dyn BufRead + 'a>) -> Result<Opened<'a>, Fault> {
    let (head, raw) = peek(raw, FOREIGN_BYTES).map_err(Fault::Io)?;
    if let Some(words) = foreign(&head) {
        return Err(Fault::Unsupported(words));
    }
    let (head, mut raw) = peek(raw, ZSTD.len()).map_err(Fault::Io)?;
    if head.is_empty() {
        return Err(Fault::Empty);
    }
    let packing = if head.starts_with(GZIP) {
        raw = Box::new(BufReader::with_capacity(CHUNK, flate2::bufread::MultiGzDecoder::new(raw)));
        Packing::Gzip
    } else if head == ZSTD {
        let decoder = zstd::Decoder::with_buffer(raw).map_err(Fault::Io)?;
        raw = Box::new(BufReader::with_capacity(CHUNK, decoder));
        Packing::Zstd
    } else {
        Packing::Plain
    };
    let broken = |e: io::Error| match packing {
        Packing::Plain => Fault::Io(e),
        _ => Fault::Packed { packing, reason: e.to_string() },
    };
    let (head, mut source) = peek(raw, PARQUET.len()).map_err(broken)?;
    if head.is_empty() {
        return Err(Fault::Empty);
    }
    if head == PARQUET {
        return Err(Fault::Unsupported(
            "Parquet is read from its end and compresses inside: give an unpacked file, not a pipe and not a .gz or .zst",
        ));
    }
    if head.starts_with(GZIP) || head == ZSTD {
        return Err(Fault::Unsupported("the file is compressed twice; unpack it once"));
    }
    let mut start = head.as_slice();
    if let Some(rest) = start.strip_prefix(BYTE_ORDER_MARK) {
        start = rest;
        io::copy(&mut source.by_ref().take(BYTE_ORDER_MARK.len() as u64), &mut io::sink()).map_err(broken)?;
    }
    let stem = name.trim_end_matches(".gz").trim_end_matches(".zst");
    let is = |suffix: &str| stem.ends_with(suffix);
    let first = start.iter().find(|b| !b.is_ascii_whitespace());
    match first {
        Some(b'[') if !is(".csv") => Err(Fault::Unsupported(
            "the file is a JSON array; write one JSON object a line (jq -c '.[]' does that, or pandas: to_json(FILE, orient=\"records\", \
                 lines=True))",
        )),
        _ if is(".jsonl") || is(".ndjson") || is(".json") => Ok(Opened::Jsonl { source, packing }),
        Some(b'{') if !is(".csv") && !is(".tsv") => Ok(Opened::Jsonl { source, packing }),
        _ => Ok(Opened::Csv { delimiter_hint: is(".tsv").then_some(b'\t'), source, packing }),
    }
}

/// The first bytes (fewer only at the end of the data), and a reader that still has them.
fn peek<'a>(mut source: Box<dyn BufRead + 'a>, count: usize) -> io::Result<(Vec<u8>, Box<dyn BufRead + 'a>)> {
    let mut head = Vec::with_capacity(count);
    source.by_ref().take(count as u64).read_to_end(&mut head)?;
    Ok((head.clone(), Box::new(io::Cursor::new(head).chain(source))))
}
