//! Dead letters: what could not be read or used, kept whole, with its reason and where it lay.
//!
//! In a topic the record keeps its key, value and headers, so that it can be corrected and sent again, and gets headers that
//! say why. In a file it becomes a JSON line. Either way nothing is dropped in silence.

use std::path::Path;
use std::time::Duration;

use serde::Serialize;

use super::jsonl::JsonLines;
use super::{DeadLetter, DeadLetterSink, Flushed, SinkError};

/// Prefix of the headers that are added; the names behind it are `reason`, `message`, `topic`, `partition` and `offset`.
pub const HEADER_PREFIX: &str = "__tripline.errors.";

/// Dead letters as JSON lines.
#[derive(Debug)]
pub struct DeadLetterFile(JsonLines);

/// Dead letters that the operator does not want to keep. They are counted and logged all the same.
#[derive(Debug, Default)]
pub struct Discard;

/// A dead letter as a line of JSON, from a topic or from a log file.
#[derive(Debug, Default, Serialize)]
pub struct Line<'a> {
    /// One of a bounded set of words.
    pub reason: &'a str,
    /// What exactly is wrong.
    pub message: &'a str,
    /// Name of the topic, or of the log.
    pub topic: &'a str,
    /// Partition of the topic; 0 in a file.
    pub partition: i32,
    /// Position in the partition, or line in the file, from 0.
    pub offset: i64,
    /// Row within a batch message, from 0.
    pub row: u32,
    /// Key of the record.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<Bytes<'a>>,
    /// Headers of the record.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<(&'a str, Option<Bytes<'a>>)>,
    /// The record as text, if it is text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload: Option<&'a str>,
    /// The record in base64, if it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload_base64: Option<String>,
    /// Whether the payload is only the beginning of the record.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub cut: bool,
}

/// Bytes as text where they are text, else in base64.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Bytes<'a> {
    /// UTF-8.
    Text(&'a str),
    /// Anything else.
    Base64 {
        /// The bytes in the standard alphabet, padded.
        base64: String,
    },
}

/// Bytes in base64, in the standard alphabet, padded.
pub fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

// === impl Bytes ===

impl<'a> From<&'a [u8]> for Bytes<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        std::str::from_utf8(bytes).map_or_else(|_| Self::Base64 { base64: base64(bytes) }, Self::Text)
    }
}

// === impl DeadLetterFile ===

impl DeadLetterFile {
    /// Opens a file for appending.
    ///
    /// # Errors
    /// If it cannot be opened for writing.
    pub fn append(path: &Path) -> Result<Self, SinkError> {
        JsonLines::append(path).map(Self)
    }
}

impl DeadLetterSink for DeadLetterFile {
    fn deliver(&mut self, letter: &DeadLetter<'_>) -> Result<(), SinkError> {
        let text = letter.payload.and_then(|payload| std::str::from_utf8(payload).ok());
        let payload_base64 = letter.payload.filter(|_| text.is_none()).map(base64);
        self.0.line(&Line {
            reason: letter.reason,
            message: letter.message,
            topic: &letter.partition.topic,
            partition: letter.partition.number,
            offset: letter.offset,
            row: letter.row,
            key: letter.key.map(Bytes::from),
            headers: letter.headers.iter().map(|(name, value)| (name.as_ref(), value.as_deref().map(Bytes::from))).collect(),
            payload: text,
            payload_base64,
            cut: false,
        })
    }

    fn flush(&mut self, _limit: Duration) -> Result<Flushed, SinkError> {
        self.0.finish()
    }
}

impl DeadLetterSink for Discard {
    fn deliver(&mut self, letter: &DeadLetter<'_>) -> Result<(), SinkError> {
        let DeadLetter { partition, offset, reason, message, .. } = letter;
        tracing::info!(%partition, offset, reason, message, "a record was rejected and is not kept (sink.dead_letters is empty)");
        Ok(())
    }

    fn flush(&mut self, _limit: Duration) -> Result<Flushed, SinkError> {
        Ok(Flushed::Done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::feed::Partition;

    #[test]
    fn a_dead_letter_keeps_everything_that_came() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("dead.jsonl");
        let partition = Partition::new("predictions", 3);
        let headers = [("trace".into(), Some(b"\xff".as_slice().into())), ("empty".into(), None)];
        let letter = DeadLetter {
            partition: &partition,
            offset: 42,
            row: 0,
            key: Some(b"acct"),
            payload: Some(b"\x00\xff"),
            headers: &headers,
            reason: "not_utf8",
            message: "no text",
        };
        let mut file = DeadLetterFile::append(&path).unwrap();
        file.deliver(&letter).unwrap();
        file.deliver(&DeadLetter { payload: Some(b"{"), ..letter }).unwrap();
        file.flush(Duration::ZERO).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines[0]["payload_base64"], "AP8=");
        assert_eq!(lines[0]["key"], "acct");
        assert_eq!(lines[0]["headers"][0][1]["base64"], "/w==");
        assert_eq!(
            (&lines[0]["topic"], &lines[0]["partition"], &lines[0]["offset"]),
            (&"predictions".into(), &3.into(), &42.into())
        );
        assert_eq!(lines[1]["payload"], "{");
    }
}
