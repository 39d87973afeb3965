//! A log in the order of its event times, whatever order it was written in: an external merge sort.
//!
//! Records are collected up to the stated memory and sorted; what does not fit goes to temporary files, which are merged while they are
//! read (Knuth, The Art of Computer Programming, vol. 3, section 5.4). The sort is stable: records of the same time keep the order of
//! the log. A record whose time cannot be read stays behind the record that it followed in the log, so it is refused and counted where a
//! reader expects it. A record keeps its place in the log: the offset is that of the line in the file, not in the sorted order.
//!
//! The temporary files lie where the system keeps such (`TMPDIR`). They are packed, and have no name from the moment they are made, so
//! that they are gone when the program ends, however it ends.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek as _, Write as _};

use super::file::FileError;
use super::{Record, Source};
use crate::event::{EventTime, Provenance};

/// Files that are merged at once. Chosen: a reader with its decompressor takes about a megabyte, and processes may open a few hundred
/// files; 32 merges of the default memory are beyond eight gigabytes of log, and a second level reaches two hundred and fifty.
const FAN_IN: usize = 32;
/// Part of the memory that is filled: a buffer that grows takes up to twice what it holds.
const FILLED: usize = 2;
/// Level of compression of temporary files, the fastest: logs shrink tenfold, so packing costs less than the disk would.
const LEVEL: i32 = 1;
/// Bytes read or written at a time, as for the log itself.
const BUFFER: usize = 256 * 1024;
/// Bytes of an entry before its payload in a temporary file: time, line and length.
const HEADER: usize = 8 + 8 + 4;

/// A log, sorted.
pub struct SortedSource {
    order: Order,
    records: u64,
    /// What broke the reading of the log; said behind the records before it.
    broken: Option<FileError>,
}

/// Where the sorted records are.
enum Order {
    /// All in memory; the place of the next.
    Memory(Buffer, usize),
    Files(Merge),
}

/// Records in memory.
#[derive(Default)]
struct Buffer {
    bytes: Vec<u8>,
    entries: Vec<Entry>,
}

/// A record in a buffer. The order of the fields is the order of the sort.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    time: i64,
    line: i64,
    start: usize,
    length: u32,
}

/// Sorted runs in temporary files; those of a level are as many runs of the level below merged.
#[derive(Default)]
struct Runs(Vec<Vec<File>>);

/// Runs that are read as one.
struct Merge {
    readers: Vec<RunReader>,
    /// The next record of each run: time, line, and which run.
    next: BinaryHeap<Reverse<(i64, i64, usize)>>,
    /// The run whose record was given last; it goes on first.
    given: Option<usize>,
}

struct RunReader {
    file: BufReader<zstd::stream::read::Decoder<'static, BufReader<File>>>,
    time: i64,
    line: i64,
    payload: Vec<u8>,
}

// === impl SortedSource ===

impl SortedSource {
    /// Reads `log` to its end and sorts it in about `memory` bytes, besides a megabyte for each temporary file under way. `time_of`
    /// tells the time of a record, if it can be read; `progress` is told of every record.
    ///
    /// # Errors
    /// If a temporary file cannot be written or read. A log that breaks off is sorted up to there, and the error comes behind it.
    pub fn sort<S: Source<Error = FileError>>(
        mut log: S,
        mut time_of: impl FnMut(&Record<'_>) -> Option<EventTime>,
        memory: usize,
        mut progress: impl FnMut(),
    ) -> Result<Self, FileError> {
        let (mut buffer, mut runs, mut records) = (Buffer::default(), Runs::default(), 0);
        // Before the first readable time lies nothing.
        let mut last = i64::MIN;
        let broken = loop {
            let record = match log.next() {
                Ok(Some(record)) => record,
                Ok(None) => break None,
                Err(error) => break Some(error),
            };
            if let Some(time) = time_of(&record) {
                last = time.micros();
            }
            if buffer.size() + record.payload.len() > memory / FILLED && !buffer.entries.is_empty() {
                runs.add(buffer.write().map_err(temporary)?).map_err(temporary)?;
                buffer.clear();
            }
            buffer.push(last, record.provenance.offset, record.payload);
            records += 1;
            progress();
        };
        buffer.entries.sort_unstable();
        let order = if runs.0.is_empty() {
            Order::Memory(buffer, 0)
        } else {
            runs.add(buffer.write().map_err(temporary)?).map_err(temporary)?;
            drop(buffer);
            Order::Files(runs.into_merge().map_err(temporary)?)
        };
        Ok(Self { order, records, broken })
    }

    /// Records of the log.
    pub fn records(&self) -> u64 {
        self.records
    }

    /// Whether the log was larger than the memory.
    pub fn used_files(&self) -> bool {
        matches!(self.order, Order::Files(_))
    }
}

impl Source for SortedSource {
    type Error = FileError;

    fn next(&mut self) -> Result<Option<Record<'_>>, FileError> {
        let found = match &mut self.order {
            Order::Memory(buffer, at) => {
                let entry = buffer.entries.get(*at).copied();
                *at += 1;
                entry.map(|entry| (entry.line, buffer.payload(&entry)))
            }
            Order::Files(merge) => merge.next().map_err(temporary)?,
        };
        match (found, self.broken.take()) {
            (None, Some(error)) => Err(error),
            (None, None) => Ok(None),
            (Some((offset, payload)), broken) => {
                self.broken = broken;
                let provenance = Provenance { offset, ..Provenance::default() };
                Ok(Some(Record { payload, provenance, ..Record::default() }))
            }
        }
    }
}

impl std::fmt::Debug for SortedSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SortedSource")
            .field("records", &self.records)
            .field("used_files", &self.used_files())
            .finish_non_exhaustive()
    }
}

fn temporary(error: io::Error) -> FileError {
    FileError::Temporary { folder: std::env::temp_dir().display().to_string(), error }
}

// === impl Buffer ===

impl Buffer {
    /// Bytes that it holds.
    fn size(&self) -> usize {
        self.bytes.len() + self.entries.len() * size_of::<Entry>()
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.entries.clear();
    }

    fn push(&mut self, time: i64, line: i64, payload: &[u8]) {
        // The decoder's limit on a message is far below four gigabytes; a longer one would be cut, and refused for its length.
        let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
        self.entries.push(Entry { time, line, start: self.bytes.len(), length });
        self.bytes.extend_from_slice(&payload[..length as usize]);
    }

    fn payload(&self, entry: &Entry) -> &[u8] {
        &self.bytes[entry.start..entry.start + entry.length as usize]
    }

    /// Sorts the records and writes them to a temporary file.
    fn write(&mut self) -> io::Result<File> {
        self.entries.sort_unstable();
        write_run(self.entries.iter().map(|entry| Ok((entry.time, entry.line, self.payload(entry)))))
    }
}

/// Writes a run; the file is at its beginning again.
fn write_run<'a>(records: impl Iterator<Item = io::Result<(i64, i64, &'a [u8])>>) -> io::Result<File> {
    let mut out = run_writer()?;
    for record in records {
        let (time, line, payload) = record?;
        write_entry(&mut out, time, line, payload)?;
    }
    finish_run(out)
}

type RunWriter = BufWriter<zstd::stream::write::Encoder<'static, File>>;

fn run_writer() -> io::Result<RunWriter> {
    Ok(BufWriter::with_capacity(BUFFER, zstd::stream::write::Encoder::new(tempfile::tempfile()?, LEVEL)?))
}

fn write_entry(out: &mut RunWriter, time: i64, line: i64, payload: &[u8]) -> io::Result<()> {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    out.write_all(&time.to_le_bytes())?;
    out.write_all(&line.to_le_bytes())?;
    out.write_all(&length.to_le_bytes())?;
    out.write_all(payload)
}

fn finish_run(out: RunWriter) -> io::Result<File> {
    let mut file = out.into_inner().map_err(io::IntoInnerError::into_error)?.finish()?;
    file.rewind()?;
    Ok(file)
}

// === impl Runs ===

impl Runs {
    /// Takes a run, and merges those of a level when there are [`FAN_IN`].
    fn add(&mut self, mut run: File) -> io::Result<()> {
        for level in 0.. {
            if self.0.len() == level {
                self.0.push(Vec::new());
            }
            self.0[level].push(run);
            if self.0[level].len() < FAN_IN {
                break;
            }
            let mut merge = Merge::new(std::mem::take(&mut self.0[level]))?;
            let mut out = run_writer()?;
            while let Some((time, line, payload)) = merge.next_entry()? {
                write_entry(&mut out, time, line, payload)?;
            }
            run = finish_run(out)?;
        }
        Ok(())
    }

    fn into_merge(self) -> io::Result<Merge> {
        Merge::new(self.0.into_iter().flatten().collect())
    }
}

// === impl Merge ===

impl Merge {
    fn new(runs: Vec<File>) -> io::Result<Self> {
        let readers = runs.into_iter().map(RunReader::new).collect::<io::Result<Vec<_>>>()?;
        let mut merge = Self { readers, next: BinaryHeap::new(), given: None };
        for run in 0..merge.readers.len() {
            merge.go_on(run)?;
        }
        Ok(merge)
    }

    fn go_on(&mut self, run: usize) -> io::Result<()> {
        let reader = &mut self.readers[run];
        if reader.read()? {
            self.next.push(Reverse((reader.time, reader.line, run)));
        }
        Ok(())
    }

    fn next_entry(&mut self) -> io::Result<Option<(i64, i64, &[u8])>> {
        if let Some(run) = self.given.take() {
            self.go_on(run)?;
        }
        let Some(Reverse((time, line, run))) = self.next.pop() else { return Ok(None) };
        self.given = Some(run);
        Ok(Some((time, line, &self.readers[run].payload)))
    }

    fn next(&mut self) -> io::Result<Option<(i64, &[u8])>> {
        Ok(self.next_entry()?.map(|(_, line, payload)| (line, payload)))
    }
}

// === impl RunReader ===

impl RunReader {
    fn new(run: File) -> io::Result<Self> {
        let file = BufReader::with_capacity(BUFFER, zstd::stream::read::Decoder::new(run)?);
        Ok(Self { file, time: 0, line: 0, payload: Vec::new() })
    }

    /// Reads the next record; false at the end.
    fn read(&mut self) -> io::Result<bool> {
        let mut header = [0; HEADER];
        match self.file.read_exact(&mut header) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
            Err(error) => return Err(error),
        }
        let [time, line] = [0, 8].map(|at| i64::from_le_bytes(std::array::from_fn(|byte| header[at + byte])));
        (self.time, self.line) = (time, line);
        let length = u32::from_le_bytes(std::array::from_fn(|byte| header[16 + byte]));
        self.payload.resize(length as usize, 0);
        self.file.read_exact(&mut self.payload)?;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::source::file::FileSource;

    /// Lines `time text`, sorted in some memory: lines of the file and texts, in order.
    fn sorted(text: &str, memory: usize) -> (Vec<(i64, String)>, bool) {
        let log = FileSource::from_reader("test", io::Cursor::new(text.to_owned().into_bytes()), None, 1000).unwrap();
        let time = |record: &Record<'_>| {
            let text = std::str::from_utf8(record.payload).unwrap();
            text.split(' ').next().and_then(|time| time.parse().ok()).map(EventTime::from_micros)
        };
        let mut sorted = SortedSource::sort(log, time, memory, || ()).unwrap();
        let mut all = Vec::new();
        while let Some(record) = sorted.next().unwrap() {
            all.push((record.provenance.offset, String::from_utf8(record.payload.to_vec()).unwrap()));
        }
        assert_eq!(sorted.records(), all.len() as u64);
        (all, sorted.used_files())
    }

    #[test]
    fn equal_times_keep_the_order_of_the_log_and_a_record_without_time_stays_behind_the_one_before_it() {
        let text = "garbage first\n30 c\n10 a\nbad after a\n10 b\n\n20 x\n10 d\nlast\n";
        let expected = [
            (0, "garbage first"),
            (2, "10 a"),
            (3, "bad after a"),
            (4, "10 b"),
            (7, "10 d"),
            (8, "last"),
            (6, "20 x"),
            (1, "30 c"),
        ];
        let expected: Vec<(i64, String)> = expected.into_iter().map(|(line, text)| (line, text.to_owned())).collect();
        assert_eq!(sorted(text, 1 << 20), (expected.clone(), false));
        assert_eq!(sorted(text, 1), (expected, true), "the same through temporary files");
    }

    #[test]
    fn more_runs_than_are_merged_at_once_are_merged_by_levels() {
        let lines: Vec<String> = (0..3 * FAN_IN * FAN_IN).map(|i| format!("{} {i}", crate::hash::mix(i as u64) % 1_000)).collect();
        let (small, files) = sorted(&lines.join("\n"), 1);
        assert!(files && small == sorted(&lines.join("\n"), 1 << 24).0);
    }

    #[test]
    fn a_log_that_breaks_off_is_sorted_up_to_there_and_the_fault_is_said_behind() {
        let text: Vec<u8> = (0..200_000_u64).flat_map(|i| format!("{}\n", crate::hash::mix(i) >> 8).into_bytes()).collect();
        let mut packed = zstd::encode_all(text.as_slice(), 1).unwrap();
        packed.truncate(packed.len() / 2);
        let log = FileSource::from_reader("test", io::Cursor::new(packed), None, 1000).unwrap();
        let time = |record: &Record<'_>| std::str::from_utf8(record.payload).unwrap().parse().ok().map(EventTime::from_micros);
        let mut sorted = SortedSource::sort(log, time, 1 << 20, || ()).unwrap();
        let mut records = 0;
        let error = loop {
            match sorted.next() {
                Ok(Some(_)) => records += 1,
                Ok(None) => panic!("the fault was swallowed"),
                Err(error) => break error,
            }
        };
        assert!(records > 1_000 && error.to_string().contains("cut off"), "{records} {error}");
        assert!(matches!(sorted.next(), Ok(None)), "it is said once");
    }

    proptest! {
        #[test]
        fn files_and_memory_give_the_order_of_a_stable_sort(times in prop::collection::vec(0_i64..20, 0..200), memory in 1_usize..4_000) {
            let lines: Vec<String> = times.iter().enumerate().map(|(nth, time)| format!("{time} {nth}")).collect();
            let mut expected: Vec<(i64, i64)> = times.iter().zip(0..).map(|(&time, line)| (time, line)).collect();
            expected.sort_by_key(|(time, _)| *time);
            let found: Vec<i64> = sorted(&lines.join("\n"), memory).0.into_iter().map(|(line, _)| line).collect();
            prop_assert_eq!(found, expected.into_iter().map(|(_, line)| line).collect::<Vec<_>>());
        }
    }
}
