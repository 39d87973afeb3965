//! Dead letters: records that were rejected or came late, kept whole, with the reason and where they lay.
//!
//! In a topic the record keeps its key, value and headers, so that it can be corrected and sent again, and gets headers that
//! say why. In a file it becomes a JSON line. Either way nothing is dropped in silence.

use std::path::Path;

use serde::Serialize;

use super::jsonl::JsonLines;
use super::{DeadLetter, DeadLetterSink, Flushed, SinkError};
use crate::clock::Deadline;

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
pub struct DeadLetterLine<'a> {
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

// === impl DeadLetterLine ===

impl<'a> DeadLetterLine<'a> {
    /// A dead letter as a line that keeps at most `limit` bytes of the payload. `log` is the name of the log, for records that lie
    /// in a file and not in a topic.
    pub fn new(letter: &DeadLetter<'a>, log: &'a str, limit: usize) -> Self {
        let DeadLetter { provenance, original, reason, message } = *letter;
        let cut = original.payload.is_some_and(|payload| payload.len() > limit);
        let kept = original.payload.map(|payload| &payload[..payload.len().min(limit)]);
        let payload = kept.and_then(|kept| match std::str::from_utf8(kept) {
            Ok(text) => Some(text),
            // The cut may have split a character.
            Err(fault) if cut && fault.error_len().is_none() => std::str::from_utf8(&kept[..fault.valid_up_to()]).ok(),
            Err(_) => None,
        });
        Self {
            reason,
            message,
            topic: if provenance.topic.is_empty() { log } else { provenance.topic.name() },
            partition: provenance.partition,
            offset: provenance.offset,
            row: provenance.row,
            key: original.key.map(Bytes::from),
            headers: original.headers.iter().map(|(name, value)| (name.as_ref(), value.as_deref().map(Bytes::from))).collect(),
            payload,
            payload_base64: kept.filter(|_| payload.is_none()).map(base64),
            cut,
        }
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
        // A record from a topic is kept whole: its size was bounded by the broker.
        self.0.line(&DeadLetterLine::new(letter, "", usize::MAX))
    }

    fn flush(&mut self, _deadline: Deadline) -> Result<Flushed, SinkError> {
        self.0.finish()
    }
}

impl DeadLetterSink for Discard {
    fn deliver(&mut self, letter: &DeadLetter<'_>) -> Result<(), SinkError> {
        let DeadLetter { provenance, reason, message, .. } = letter;
        let (topic, partition, offset) = (provenance.topic.name(), provenance.partition, provenance.offset);
        let what = "a record is a dead letter and is not kept (sink.dead_letters is empty)";
        tracing::info!(topic, partition, offset, reason, message, "{what}");
        Ok(())
    }

    fn flush(&mut self, _deadline: Deadline) -> Result<Flushed, SinkError> {
        Ok(Flushed::Done)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::event::Provenance;
    use crate::observer::Original;

    #[test]
    fn a_dead_letter_keeps_everything_that_came() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("dead.jsonl");
        let provenance = Provenance { topic: "predictions".into(), partition: 3, offset: 42, row: 0 };
        let headers = [("trace".into(), Some(b"\xff".as_slice().into())), ("empty".into(), None)];
        let original = Original { key: Some(b"acct"), payload: Some(b"\x00\xff"), headers: &headers };
        let letter = DeadLetter { provenance: &provenance, original, reason: "not_utf8", message: "no text" };
        let mut file = DeadLetterFile::append(&path).unwrap();
        file.deliver(&letter).unwrap();
        file.deliver(&DeadLetter { original: Original { payload: Some(b"{"), ..original }, ..letter }).unwrap();
        file.flush(Deadline::after(Duration::ZERO)).unwrap();
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

    #[test]
    fn a_long_record_of_a_log_is_cut_between_two_characters_and_says_so() {
        let provenance = Provenance { offset: 7, ..Provenance::default() };
        let original = Original { payload: Some("añb".as_bytes()), ..Original::default() };
        let letter = DeadLetter { provenance: &provenance, original, reason: "too_large", message: "long" };
        let line = DeadLetterLine::new(&letter, "events.jsonl", 2);
        assert_eq!((line.payload, line.payload_base64.as_deref(), line.cut), (Some("a"), None, true));
        assert_eq!((line.topic, line.offset), ("events.jsonl", 7));
        assert!(!DeadLetterLine::new(&letter, "events.jsonl", 4).cut);
    }
}
