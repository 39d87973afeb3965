//! The spool: verdicts on disk until the database has them. The service's loop appends; one reader takes them off in their order.
//!
//! Files `00000001.jsonl`, … of some megabytes each, one line a verdict. `position` says how far the reader came. It is written after the
//! database has the lines, so a crash between the two repeats some lines, and their ids make the repetition harmless. A file is removed when
//! it is read to its end and a later one exists. A line that a crash cut off was never promised: its record was not committed, and is judged
//! again.

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead as _, BufReader, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes after which a new file is begun: small enough that little is read again after a crash, large enough that a gigabyte has few files.
const SEGMENT_BYTES: u64 = 4 * 1024 * 1024;
/// Name of the file with the reader's place.
const POSITION: &str = "position";

/// Why the spool cannot be used: a lower-case fragment that says what, where, and what to do.
#[derive(Debug, thiserror::Error)]
#[error("the spool {path}: {what}")]
pub struct SpoolError {
    path: String,
    what: String,
}

/// The end that appends.
#[derive(Debug)]
pub struct SpoolWriter {
    folder: PathBuf,
    file: File,
    number: u64,
    bytes: u64,
    limit: u64,
    waiting: Arc<AtomicU64>,
    dirty: bool,
    /// Holds the lock of the folder, so that no second process appends.
    _lock: File,
}

/// The end that takes off.
#[derive(Debug)]
pub struct SpoolReader {
    folder: PathBuf,
    number: u64,
    offset: u64,
    waiting: Arc<AtomicU64>,
}

/// Lines that were read, and where the next ones begin.
#[derive(Debug, Default)]
pub struct Batch {
    /// Whole lines, without their ends.
    pub lines: Vec<String>,
    number: u64,
    offset: u64,
    bytes: u64,
}

/// Opens the spool in a folder, which is made if it does not exist, readable by this user alone. At most `limit` bytes wait in it.
///
/// # Errors
/// If the folder cannot be used, or another process uses it.
pub fn open(folder: &Path, limit: u64) -> Result<(SpoolWriter, SpoolReader), SpoolError> {
    let failed = |what: String| SpoolError { path: folder.display().to_string(), what };
    let io = |error: std::io::Error| failed(format!("{error}; correct cases.spool, or the permissions of the folder"));
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.recursive(true).create(folder).map_err(io)?;
    let lock = private(&folder.join("lock")).map_err(io)?;
    lock.try_lock().map_err(|_| failed("another process uses it; give each its own folder (cases.spool)".into()))?;
    let segments = segments(folder).map_err(io)?;
    let first = segments.first().copied().unwrap_or(1);
    let (number, offset) = position(folder).filter(|(number, _)| segments.contains(number)).unwrap_or((first, 0));
    for old in segments.iter().filter(|old| **old < number) {
        fs::remove_file(path(folder, *old)).map_err(io)?;
    }
    let size = |number: &u64| fs::metadata(path(folder, *number)).map_or(0, |file| file.len());
    let total: u64 = segments.iter().filter(|one| **one >= number).map(size).sum();
    let waiting = Arc::new(AtomicU64::new(total.saturating_sub(offset)));
    // A new file: the last one may end in a line that was cut off.
    let next = segments.last().map_or(1, |last| last + 1);
    let file = private(&path(folder, next)).map_err(io)?;
    let reader = SpoolReader { folder: folder.to_owned(), number: number.min(next), offset, waiting: Arc::clone(&waiting) };
    let writer = SpoolWriter { folder: folder.to_owned(), file, number: next, bytes: 0, limit, waiting, dirty: false, _lock: lock };
    Ok((writer, reader))
}

// === impl SpoolWriter ===

impl SpoolWriter {
    /// Appends a line, which holds no line end.
    ///
    /// # Errors
    /// If it does not fit, or cannot be written.
    pub fn append(&mut self, line: &str) -> Result<(), SpoolError> {
        let size = line.len() as u64 + 1;
        if self.waiting.load(Ordering::Acquire) + size > self.limit {
            return Err(self
                .failed(&format!("{} bytes wait already; see why the database is away, or raise cases.spool_bytes", self.limit)));
        }
        if self.bytes + size > SEGMENT_BYTES && self.bytes > 0 {
            self.rotate().map_err(|error| self.failed(&error.to_string()))?;
        }
        let mut bytes = Vec::with_capacity(line.len() + 1);
        bytes.extend_from_slice(line.as_bytes());
        bytes.push(b'\n');
        if let Err(error) = self.file.write_all(&bytes) {
            // Half a line may stand there; what follows must not be glued to it.
            let _ = self.rotate();
            return Err(self.failed(&format!("{error}; free some space or correct the permissions")));
        }
        (self.bytes, self.dirty) = (self.bytes + size, true);
        self.waiting.fetch_add(size, Ordering::AcqRel);
        Ok(())
    }

    /// Brings everything to the disk.
    ///
    /// # Errors
    /// If the system cannot.
    pub fn sync(&mut self) -> Result<(), SpoolError> {
        if self.dirty {
            self.file.sync_data().map_err(|error| self.failed(&error.to_string()))?;
            self.dirty = false;
        }
        Ok(())
    }

    fn rotate(&mut self) -> std::io::Result<()> {
        self.file.sync_data()?;
        let next = private(&path(&self.folder, self.number + 1))?;
        (self.file, self.number, self.bytes) = (next, self.number + 1, 0);
        Ok(())
    }

    fn failed(&self, what: &str) -> SpoolError {
        SpoolError { path: self.folder.display().to_string(), what: what.to_owned() }
    }
}

// === impl SpoolReader ===

impl SpoolReader {
    /// Bytes that wait.
    pub fn waiting(&self) -> u64 {
        self.waiting.load(Ordering::Acquire)
    }

    /// The next lines, `most` at most; none if nothing waits. They come again until [`SpoolReader::done`].
    ///
    /// # Errors
    /// If a file cannot be read.
    pub fn next(&mut self, most: usize) -> std::io::Result<Batch> {
        loop {
            let batch = self.read(most)?;
            if !batch.lines.is_empty() {
                return Ok(batch);
            }
            // The end of a file is its end only if a later one exists: then nobody appends to it.
            let Some(next) = segments(&self.folder)?.into_iter().find(|number| *number > self.number) else { return Ok(batch) };
            let again = self.read(most)?;
            if !again.lines.is_empty() {
                return Ok(again);
            }
            let rest = fs::metadata(path(&self.folder, self.number)).map_or(0, |file| file.len()).saturating_sub(self.offset);
            self.less(rest);
            let _ = fs::remove_file(path(&self.folder, self.number));
            (self.number, self.offset) = (next, 0);
            self.write_position()?;
        }
    }

    fn read(&self, most: usize) -> std::io::Result<Batch> {
        let mut batch = Batch { number: self.number, offset: self.offset, ..Batch::default() };
        let file = match File::open(path(&self.folder, self.number)) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(batch),
            Err(error) => return Err(error),
        };
        let mut reader = BufReader::new(file);
        reader.seek(SeekFrom::Start(self.offset))?;
        let mut line = Vec::new();
        while batch.lines.len() < most {
            line.clear();
            let read = reader.read_until(b'\n', &mut line)?;
            if read == 0 || line.pop() != Some(b'\n') {
                break;
            }
            batch.offset += read as u64;
            batch.bytes += read as u64;
            batch.lines.push(String::from_utf8_lossy(&line).into_owned());
        }
        Ok(batch)
    }

    /// The lines of a batch need not come again.
    ///
    /// # Errors
    /// If the place cannot be written; then they may come again after a crash.
    pub fn done(&mut self, batch: &Batch) -> std::io::Result<()> {
        (self.number, self.offset) = (batch.number, batch.offset);
        self.less(batch.bytes);
        self.write_position()
    }

    /// Puts a line aside that the database refuses.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn put_aside(&self, line: &str) -> std::io::Result<()> {
        let mut file = private(&self.folder.join("refused.jsonl"))?;
        file.write_all(format!("{line}\n").as_bytes())
    }

    fn less(&self, bytes: u64) {
        let less = |waiting: u64| Some(waiting.saturating_sub(bytes));
        // The closure always gives a value.
        let _ = self.waiting.fetch_update(Ordering::AcqRel, Ordering::Acquire, less);
    }

    fn write_position(&self) -> std::io::Result<()> {
        let fresh = self.folder.join("position.new");
        fs::write(&fresh, format!("{} {}\n", self.number, self.offset))?;
        fs::rename(fresh, self.folder.join(POSITION))
    }
}

fn private(path: &Path) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options.create(true).append(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

fn path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number:08}.jsonl"))
}

/// The numbers of the files, ascending.
fn segments(folder: &Path) -> std::io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        numbers.extend(name.to_str().and_then(|name| name.strip_suffix(".jsonl")).and_then(|name| name.parse::<u64>().ok()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

fn position(folder: &Path) -> Option<(u64, u64)> {
    let text = fs::read_to_string(folder.join(POSITION)).ok()?;
    let (number, offset) = text.trim().split_once(' ')?;
    Some((number.parse().ok()?, offset.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(reader: &mut SpoolReader) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            let batch = reader.next(3).unwrap();
            if batch.lines.is_empty() {
                return lines;
            }
            lines.extend(batch.lines.clone());
            reader.done(&batch).unwrap();
        }
    }

    #[test]
    fn lines_come_in_their_order_and_again_until_they_are_done() {
        let folder = tempfile::tempdir().unwrap();
        let (mut writer, mut reader) = open(folder.path(), 1_000).unwrap();
        for number in 0..5 {
            writer.append(&number.to_string()).unwrap();
        }
        writer.sync().unwrap();
        assert_eq!(reader.next(2).unwrap().lines, ["0", "1"]);
        let batch = reader.next(2).unwrap();
        assert_eq!(batch.lines, ["0", "1"]);
        reader.done(&batch).unwrap();
        drop((writer, reader));
        let (mut writer, mut reader) = open(folder.path(), 1_000).unwrap();
        assert_eq!(reader.waiting(), 6);
        writer.append("5").unwrap();
        assert_eq!(all(&mut reader), ["2", "3", "4", "5"]);
        assert_eq!(reader.waiting(), 0);
        assert_eq!(segments(folder.path()).unwrap().len(), 1, "what was read to its end is removed");
    }

    #[test]
    fn a_line_that_was_cut_off_is_left_out_and_nothing_is_glued_to_it() {
        let folder = tempfile::tempdir().unwrap();
        let (mut writer, reader) = open(folder.path(), 1_000).unwrap();
        writer.append("whole").unwrap();
        writer.file.write_all(b"{\"cut").unwrap();
        drop((writer, reader));
        let (mut writer, mut reader) = open(folder.path(), 1_000).unwrap();
        writer.append("next").unwrap();
        assert_eq!(all(&mut reader), ["whole", "next"]);
        assert_eq!(reader.waiting(), 0);
    }

    #[test]
    fn a_full_spool_takes_no_more_until_something_was_taken_off() {
        let folder = tempfile::tempdir().unwrap();
        let (mut writer, mut reader) = open(folder.path(), 10).unwrap();
        writer.append("12345678").unwrap();
        let error = writer.append("1").unwrap_err();
        assert!(error.to_string().contains("cases.spool_bytes"), "{error}");
        assert_eq!(all(&mut reader), ["12345678"]);
        writer.append("1").unwrap();
    }

    #[test]
    fn files_are_of_bounded_size_and_a_second_process_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (mut writer, mut reader) = open(folder.path(), 1 << 30).unwrap();
        let line = "x".repeat(1_500_000);
        for _ in 0..6 {
            writer.append(&line).unwrap();
        }
        assert_eq!(segments(folder.path()).unwrap().len(), 3);
        assert!(open(folder.path(), 10).unwrap_err().to_string().contains("another process"));
        assert_eq!(all(&mut reader).len(), 6);
        assert_eq!(segments(folder.path()).unwrap().len(), 1);
    }
}
