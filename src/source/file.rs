//! Log files and standard input, one record a line: plain, gzip or zstd.
//!
//! The first bytes tell the format, not the name, so that renamed files and pipes work alike. Several compressed members one behind
//! the other (as log rotation appends them) are one stream. A line is held up to the decoder's limit and one byte more; the rest is
//! skipped. The extra byte shows the decoder that the line was too long.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Record, Source};
use crate::dataset::open::foreign;
use crate::event::Provenance;

/// Bytes read at a time. Chosen: large enough that system calls and decompressor calls cost nothing beside decoding, small enough for
/// the second-level cache.
const BUFFER: usize = 256 * 1024;
/// The name that stands for standard input.
pub const STDIN: &str = "-";
/// What editors on Windows put before the first line.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Why a file could not be read (on).
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// There is no such file.
    #[error("{path}: there is no such file; check the name, or use - for standard input")]
    Missing {
        /// The file as given.
        path: String,
    },
    /// It exists and cannot be opened.
    #[error("{path}: cannot be opened: {error}; make the file readable by this user, or name another")]
    Open {
        /// The file as given.
        path: String,
        /// What the system says.
        error: io::Error,
    },
    /// It is a file of a kind that is not read.
    #[error("{path}: {words}")]
    Foreign {
        /// The file as given.
        path: String,
        /// What it is, and what to do.
        words: &'static str,
    },
    /// A temporary file of the sort failed.
    #[error("a temporary file in {folder} failed: {error}; make room there, or name another folder in the variable TMPDIR")]
    Temporary {
        /// Where temporary files lie.
        folder: String,
        /// What the system says.
        error: io::Error,
    },
    /// Reading broke off: a damaged or cut compressed file, or a failing disk.
    #[error("{path}: reading broke off after {lines} lines: {what}")]
    Broken {
        /// The file as given.
        path: String,
        /// Lines read before.
        lines: u64,
        /// What is wrong, with a remedy where there is one.
        what: String,
    },
}

/// How a file is packed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Packing {
    Plain,
    Gzip,
    Zstd,
}

/// Lines of a file.
pub struct FileSource {
    path: String,
    reader: Box<dyn BufRead + Send>,
    packing: Packing,
    line: Vec<u8>,
    limit: usize,
    lines: u64,
    failed: bool,
    consumed: Arc<AtomicU64>,
    size: Option<u64>,
    /// Lines that were read ahead, with their offsets.
    head: VecDeque<(i64, Vec<u8>)>,
    /// Why reading ahead broke off.
    broken: Option<FileError>,
}

/// Counts the bytes that pass, for progress bars.
struct Counted<R> {
    inner: R,
    consumed: Arc<AtomicU64>,
}

// === impl FileSource ===

impl FileSource {
    /// Opens `path`, or standard input for [`STDIN`]. `max_line` is the longest line, in bytes, that the decoder takes.
    pub fn open(path: &Path, max_line: usize) -> Result<Self, FileError> {
        let name = path.display().to_string();
        let refuse = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => FileError::Missing { path: name.clone() },
            _ => FileError::Open { path: name.clone(), error },
        };
        if name == STDIN {
            return Self::from_reader("standard input", io::stdin(), None, max_line);
        }
        let file = File::open(path).map_err(refuse)?;
        let about = file.metadata().map_err(refuse)?;
        if about.is_dir() {
            return Err(refuse(io::Error::new(io::ErrorKind::IsADirectory, "it is a directory")));
        }
        // A pipe or device has no size worth showing.
        let size = about.is_file().then_some(about.len());
        Self::from_reader(&name, file, size, max_line)
    }

    /// Lines of any reader; `size` is how many bytes it will give, if known.
    pub fn from_reader(
        name: &str,
        reader: impl Read + Send + 'static,
        size: Option<u64>,
        max_line: usize,
    ) -> Result<Self, FileError> {
        let consumed = Arc::new(AtomicU64::new(0));
        let mut packed = BufReader::with_capacity(BUFFER, Counted { inner: reader, consumed: Arc::clone(&consumed) });
        let refuse = |error| FileError::Open { path: name.to_owned(), error };
        let head = packed.fill_buf().map_err(refuse)?;
        if let Some(words) = foreign(head) {
            return Err(FileError::Foreign { path: name.to_owned(), words });
        }
        let packing = Packing::of(head);
        let reader: Box<dyn BufRead + Send> = match packing {
            Packing::Plain => Box::new(packed),
            Packing::Gzip => Box::new(BufReader::with_capacity(BUFFER, flate2::bufread::MultiGzDecoder::new(packed))),
            Packing::Zstd => {
                Box::new(BufReader::with_capacity(BUFFER, zstd::stream::read::Decoder::with_buffer(packed).map_err(refuse)?))
            }
        };
        let (path, line) = (name.to_owned(), Vec::new());
        Ok(Self {
            path,
            reader,
            packing,
            line,
            limit: max_line.saturating_add(1),
            lines: 0,
            failed: false,
            consumed,
            size,
            head: VecDeque::new(),
            broken: None,
        })
    }

    /// Size of the (packed) file in bytes, if known.
    pub fn size(&self) -> Option<u64> {
        self.size
    }

    /// Counter of (packed) bytes read so far; another thread may read it.
    pub fn consumed(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.consumed)
    }

    /// Name for messages.
    pub fn name(&self) -> &str {
        &self.path
    }

    /// Reads up to so many lines ahead; they come again as records.
    pub fn peek(&mut self, lines: usize) {
        while self.head.len() < lines {
            match self.read_next() {
                Ok(Some(offset)) => self.head.push_back((offset, self.line.clone())),
                Ok(None) => return,
                Err(error) => {
                    self.broken = Some(error);
                    return;
                }
            }
        }
    }

    /// The lines that were read ahead.
    pub fn head(&self) -> &VecDeque<(i64, Vec<u8>)> {
        &self.head
    }

    /// Reads the next line that is not blank into `self.line`; returns its offset.
    fn read_next(&mut self) -> Result<Option<i64>, FileError> {
        if self.failed {
            return Ok(None);
        }
        loop {
            match self.read_line() {
                Ok(true) => {}
                Ok(false) => return Ok(None),
                Err(error) => {
                    self.failed = true;
                    return Err(self.broken(&error));
                }
            }
            let offset = i64::try_from(self.lines).unwrap_or(i64::MAX);
            self.lines += 1;
            if offset == 0 && self.line.starts_with(BYTE_ORDER_MARK) {
                self.line.drain(..BYTE_ORDER_MARK.len());
            }
            if !self.line.trim_ascii().is_empty() {
                return Ok(Some(offset));
            }
        }
    }

    /// Reads one line into `self.line`, without its ending; false at the end of the file.
    fn read_line(&mut self) -> io::Result<bool> {
        self.line.clear();
        let limit = u64::try_from(self.limit).unwrap_or(u64::MAX);
        if (&mut self.reader).take(limit).read_until(b'\n', &mut self.line)? == 0 {
            return Ok(false);
        }
        if self.line.last() == Some(&b'\n') {
            self.line.pop();
            if self.line.last() == Some(&b'\r') {
                self.line.pop();
            }
        } else if self.line.len() == self.limit {
            self.reader.skip_until(b'\n')?;
        }
        Ok(true)
    }

    /// Why reading broke off, in words for the person who has the file.
    fn broken(&self, error: &io::Error) -> FileError {
        let what = match (self.packing, error.kind()) {
            (Packing::Gzip | Packing::Zstd, io::ErrorKind::UnexpectedEof) => {
                "the compressed file ends in the middle; it was cut off, fetch it again".to_owned()
            }
            (Packing::Gzip, _) => format!("the gzip data is damaged ({error}); fetch the file again"),
            (Packing::Zstd, _) => format!("the zstd data is damaged ({error}); fetch the file again"),
            (Packing::Plain, _) => error.to_string(),
        };
        FileError::Broken { path: self.path.clone(), lines: self.lines, what }
    }
}

impl Source for FileSource {
    type Error = FileError;

    /// The next line that is not blank. Its offset is the zero-based number of the line, blank ones counted.
    fn next(&mut self) -> Result<Option<Record<'_>>, FileError> {
        let offset = match self.head.pop_front() {
            Some((offset, line)) => {
                self.line = line;
                Some(offset)
            }
            None => match self.broken.take() {
                Some(error) => return Err(error),
                None => self.read_next()?,
            },
        };
        Ok(offset.map(|offset| {
            let provenance = Provenance { offset, ..Provenance::default() };
            Record { payload: &self.line, provenance, ..Record::default() }
        }))
    }
}

impl std::fmt::Debug for FileSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FileSource").field("path", &self.path).field("packing", &self.packing).field("lines", &self.lines).finish()
    }
}

// === impl Packing ===

impl Packing {
    /// By the first bytes: RFC 1952 for gzip; RFC 8878 for zstd, whose stream may also begin with a skippable frame.
    fn of(head: &[u8]) -> Self {
        match head {
            [0x1f, 0x8b, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstd,
            _ => Self::Plain,
        }
    }
}

// === impl Counted ===

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.consumed.fetch_add(u64::try_from(count).unwrap_or(u64::MAX), Ordering::Relaxed);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    fn lines(bytes: Vec<u8>, max_line: usize) -> Result<Vec<(i64, Vec<u8>)>, FileError> {
        let mut source = FileSource::from_reader("test", io::Cursor::new(bytes), None, max_line)?;
        let mut all = Vec::new();
        while let Some(record) = source.next()? {
            all.push((record.provenance.offset, record.payload.to_vec()));
        }
        Ok(all)
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn zstd(bytes: &[u8]) -> Vec<u8> {
        zstd::encode_all(bytes, 1).unwrap()
    }

    #[test]
    fn packing_does_not_change_the_lines() {
        let text = b"one\r\n\n  \ntwo\nthree";
        let expected = vec![(0, b"one".to_vec()), (3, b"two".to_vec()), (4, b"three".to_vec())];
        for packed in [text.to_vec(), gzip(text), zstd(text)] {
            assert_eq!(lines(packed, 100).unwrap(), expected);
        }
    }

    #[test]
    fn members_one_behind_the_other_are_one_stream() {
        for pack in [gzip as fn(&[u8]) -> Vec<u8>, zstd] {
            let joined = [pack(b"one\ntw"), pack(b"o\nthree\n")].concat();
            let texts: Vec<_> = lines(joined, 100).unwrap().into_iter().map(|(_, line)| line).collect();
            assert_eq!(texts, [b"one".to_vec(), b"two".to_vec(), b"three".to_vec()]);
        }
    }

    #[test]
    fn a_line_without_end_is_cut_one_byte_behind_the_limit_and_the_next_line_is_whole() {
        let text = [vec![b'x'; 10_000_000], b"\nnext\n".to_vec()].concat();
        let all = lines(text, 1000).unwrap();
        assert_eq!(all[0].1.len(), 1001);
        assert_eq!(all[1], (1, b"next".to_vec()));
    }

    #[test]
    fn a_line_of_exactly_the_limit_passes_whole() {
        let all = lines(b"12345\n12345\n".to_vec(), 5).unwrap();
        assert_eq!(all, [(0, b"12345".to_vec()), (1, b"12345".to_vec())]);
    }

    #[test]
    fn a_cut_archive_says_how_far_it_was_read() {
        let text: Vec<u8> = (0..200_000_u64).flat_map(|i| format!("{}\n", crate::hash::mix(i)).into_bytes()).collect();
        for mut packed in [gzip(&text), zstd(&text)] {
            packed.truncate(packed.len() / 2);
            let error = lines(packed, 100).unwrap_err();
            let FileError::Broken { lines, ref what, .. } = error else { panic!("{error}") };
            assert!(lines > 1000 && lines < 200_000, "{lines}");
            assert!(what.contains("cut off"), "{what}");
        }
    }

    #[test]
    fn a_damaged_archive_is_named_as_such() {
        let text: Vec<u8> = (0..100_000_u64).flat_map(|i| format!("{}\n", crate::hash::mix(i)).into_bytes()).collect();
        // With a check sum, as the zstd program writes it; without one, damaged text would have to be found by the decoder.
        let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
        encoder.include_checksum(true).unwrap();
        encoder.write_all(&text).unwrap();
        for mut packed in [gzip(&text), encoder.finish().unwrap()] {
            let middle = packed.len() / 2;
            for byte in &mut packed[middle..middle + 64] {
                *byte ^= 0x5a;
            }
            let Err(error) = lines(packed, 100) else { panic!("damage went unnoticed") };
            assert!(error.to_string().contains("data is damaged"), "{error}");
        }
    }

    #[test]
    fn a_missing_file_is_told_from_an_unreadable_one() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(FileSource::open(&dir.path().join("none"), 10), Err(FileError::Missing { .. })));
        assert!(matches!(FileSource::open(dir.path(), 10), Err(FileError::Open { .. })));
    }

    #[test]
    fn a_byte_order_mark_is_no_part_of_the_first_line() {
        assert_eq!(lines(b"\xef\xbb\xbf{}\n".to_vec(), 10).unwrap(), [(0, b"{}".to_vec())]);
    }

    #[test]
    fn an_empty_file_has_no_lines() {
        assert_eq!(lines(Vec::new(), 10).unwrap(), []);
    }
}
