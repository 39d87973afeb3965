//! JSON lines appended to a file: verdicts, one a line.
//!
//! The file is opened for appending, so that a restart goes on where it was and a log shipper can follow it. A line is written
//! whole. When the disk is full the service stops; it does not go on without keeping its evidence.

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::{Flushed, SinkError, VerdictSink};
use crate::clock::Deadline;
use crate::judge::Verdict;

/// A file of JSON lines.
#[derive(Debug)]
pub struct JsonLines {
    path: PathBuf,
    writer: BufWriter<File>,
}

// === impl JsonLines ===

impl JsonLines {
    /// Opens a file for appending; it is made if it does not exist.
    ///
    /// # Errors
    /// If it cannot be opened for writing.
    pub fn append(path: &Path) -> Result<Self, SinkError> {
        let open = OpenOptions::new().create(true).append(true).open(path);
        let file =
            open.map_err(|error| SinkError(format!("cannot write to {}: {error}; check folder and permissions", path.display())))?;
        Ok(Self { path: path.to_owned(), writer: BufWriter::new(file) })
    }

    /// Appends a value as a line.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn line(&mut self, value: &impl Serialize) -> Result<(), SinkError> {
        let written = serde_json::to_writer(&mut self.writer, value).map_err(std::io::Error::from);
        written.and_then(|()| self.writer.write_all(b"\n")).map_err(|error| self.failed(&error))
    }

    /// Hands everything to the system.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn finish(&mut self) -> Result<Flushed, SinkError> {
        self.writer.flush().map_err(|error| self.failed(&error))?;
        Ok(Flushed::Done)
    }

    fn failed(&self, error: &std::io::Error) -> SinkError {
        SinkError(format!("cannot write to {}: {error}; free some space or correct the permissions", self.path.display()))
    }
}

impl VerdictSink for JsonLines {
    fn deliver(&mut self, verdict: &Verdict) -> Result<(), SinkError> {
        self.line(verdict)
    }

    fn flush(&mut self, _deadline: Deadline) -> Result<Flushed, SinkError> {
        self.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restart_appends() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lines.jsonl");
        for number in 0..2 {
            let mut lines = JsonLines::append(&path).unwrap();
            lines.line(&number).unwrap();
            lines.finish().unwrap();
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "0\n1\n");
    }

    #[test]
    fn a_file_that_cannot_be_made_is_named() {
        let error = JsonLines::append(Path::new("/nowhere/lines.jsonl")).unwrap_err();
        assert!(error.to_string().contains("/nowhere/lines.jsonl"));
    }
}
