//! The verdict topic and the dead-letter topic.
//!
//! One idempotent producer serves both. Delivery reports are counted by receiver. A report of failure is remembered and ends the
//! service at the next flush, before anything behind it is committed. When the producer's queue is full the caller waits; this
//! backpressure reaches back to the consumer.

pub mod transaction;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::{ClientContext, DefaultClientContext};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, Message as _, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer as _, ProducerContext};

use super::dead_letter::HEADER_PREFIX;
use super::metrics::{DeliveryOutcome, Metrics};
use super::{DeadLetter, DeadLetterSink, Flushed, SinkError, VerdictSink};
use crate::clock::{self, Deadline};
use crate::judge::{Scope, Verdict};
use crate::source::feed::{FeedError, FeedFault};
use crate::source::kafka::{connect, context};

/// How long a full queue is waited for before the service gives up and restarts from its committed position. It equals
/// `message.timeout.ms` of the producer: after it the oldest message in the queue has failed anyway.
const QUEUE_LIMIT: Duration = Duration::from_secs(60);
/// One wait for a full queue. Chosen: longer than a broker nearby takes to acknowledge a batch, so one wait usually suffices.
const QUEUE_WAIT: Duration = Duration::from_millis(50);
/// Payload bytes kept when the dead-letter topic takes no larger message; a header tells the original size. Chosen: a fraction of
/// any usual `max.message.bytes` (1 MB by default), and enough to recognise the sender.
const CUT_BYTES: usize = 64 * 1024;
/// How long the cluster may take for making a topic. Chosen: a healthy controller takes well under a second.
const ADMIN_LIMIT: Duration = Duration::from_secs(10);

/// Names of the receivers in `alerts_sent_total`; a message carries the position of its own.
const RECEIVERS: [&str; 3] = ["kafka_verdicts", "kafka_dead_letters", "kafka_rows"];
const VERDICTS: usize = 0;
const DEAD_LETTERS: usize = 1;
const ROWS: usize = 2;

/// A producer shared by the sinks.
#[derive(Clone)]
pub struct KafkaProducer {
    producer: Arc<BaseProducer<Reports>>,
}

/// Verdicts to a topic.
pub struct VerdictTopic {
    producer: KafkaProducer,
    topic: String,
}

/// Dead letters to topics named after those they came from.
pub struct DeadLetterTopic {
    producer: KafkaProducer,
    /// Name with `{topic}` in place of the source's topic.
    pattern: String,
    /// Name of the dead-letter topic of [`DeadLetterTopic::of`], made once for a run of records of one topic.
    name: String,
    /// Source topic of the last dead letter.
    of: String,
}

/// What became of the messages.
struct Reports {
    metrics: Metrics,
    failure: Mutex<Option<String>>,
    /// Dead letters that were too large for the topic, to be sent again in part.
    too_large: Mutex<Vec<TooLarge>>,
    waiting: AtomicUsize,
}

struct TooLarge {
    topic: String,
    key: Option<Vec<u8>>,
    payload: Vec<u8>,
    size: usize,
    headers: OwnedHeaders,
}

// === impl Reports ===

impl ClientContext for Reports {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        context::log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        // Deliveries carry their own failures; this is the connection, which librdkafka mends.
        tracing::debug!(%error, reason, "the producer complains; librdkafka retries");
    }
}

impl ProducerContext for Reports {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, receiver: usize) {
        match result {
            Ok(_) => self.metrics.alert(RECEIVERS[receiver], DeliveryOutcome::Delivered),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::MessageSizeTooLarge), message)) if receiver == DEAD_LETTERS => {
                let payload = message.payload().unwrap_or_default();
                let cut = TooLarge {
                    topic: message.topic().to_owned(),
                    key: message.key().map(<[u8]>::to_vec),
                    payload: payload[..payload.len().min(CUT_BYTES)].to_vec(),
                    size: payload.len(),
                    headers: message.headers().map(rdkafka::message::BorrowedHeaders::detach).unwrap_or_default(),
                };
                self.too_large.lock().unwrap_or_else(PoisonError::into_inner).push(cut);
            }
            Err((error, message)) => {
                self.metrics.alert(RECEIVERS[receiver], DeliveryOutcome::Failed);
                let what = format!(
                    "the topic '{}' did not take a message: {error}; check that it exists, and this client's permissions",
                    message.topic()
                );
                *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(what);
            }
        }
        // Last, so that a reader of zero also sees what the report says.
        self.waiting.fetch_sub(1, Ordering::AcqRel);
    }
}

// === impl KafkaProducer ===

impl KafkaProducer {
    /// A producer with these options. Deliveries are counted in `metrics`.
    ///
    /// # Errors
    /// If librdkafka refuses the options.
    pub fn new(config: &ClientConfig, metrics: Metrics) -> Result<Self, FeedError> {
        let reports =
            Reports { metrics, failure: Mutex::new(None), too_large: Mutex::new(Vec::new()), waiting: AtomicUsize::new(0) };
        let producer: BaseProducer<Reports> = connect::create(config, reports)?;
        Ok(Self { producer: Arc::new(producer) })
    }

    fn send(&self, record: BaseRecord<'_, [u8], [u8], usize>) -> Result<(), SinkError> {
        let begin = clock::instant();
        let reports = self.producer.context();
        let mut record = record;
        reports.waiting.fetch_add(1, Ordering::AcqRel);
        loop {
            match self.producer.send(record) {
                Ok(()) => break,
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    if clock::instant().duration_since(begin) > QUEUE_LIMIT {
                        reports.waiting.fetch_sub(1, Ordering::AcqRel);
                        return Err(SinkError(format!(
                            "the topic '{}' has taken nothing for {} s; check that its brokers are up",
                            back.topic,
                            QUEUE_LIMIT.as_secs()
                        )));
                    }
                    record = back;
                    self.producer.poll(QUEUE_WAIT);
                }
                Err((error, back)) => {
                    reports.waiting.fetch_sub(1, Ordering::AcqRel);
                    return Err(SinkError(format!("the topic '{}' cannot be written: {error}", back.topic)));
                }
            }
        }
        // Serves delivery reports, so that they do not pile up.
        self.producer.poll(Duration::ZERO);
        reports.metrics.outbox_depth(reports.waiting.load(Ordering::Acquire));
        self.check()
    }

    fn check(&self) -> Result<(), SinkError> {
        let reports = self.producer.context();
        let failure = reports.failure.lock().unwrap_or_else(PoisonError::into_inner).clone();
        failure.map_or(Ok(()), |what| Err(SinkError(what)))
    }

    fn flush(&self, deadline: Deadline) -> Result<Flushed, SinkError> {
        let mut done = self.producer.flush(deadline.remaining()).is_ok();
        let reports = self.producer.context();
        let cut: Vec<TooLarge> = std::mem::take(&mut *reports.too_large.lock().unwrap_or_else(PoisonError::into_inner));
        for letter in cut {
            let size = letter.size.to_string();
            let name = format!("{HEADER_PREFIX}cut_from_bytes");
            let headers = letter.headers.insert(Header { key: &name, value: Some(size.as_bytes()) });
            let record = BaseRecord::with_opaque_to(&letter.topic, DEAD_LETTERS).payload(letter.payload.as_slice());
            let record = record.headers(headers);
            self.send(match &letter.key {
                Some(key) => record.key(key.as_slice()),
                None => record,
            })?;
            done = false;
        }
        reports.metrics.outbox_depth(reports.waiting.load(Ordering::Acquire));
        // In this order: a report may come at any time, and one that says "failed" or "too large" is no delivery.
        let delivered = done || reports.waiting.load(Ordering::Acquire) == 0;
        let all = delivered && reports.too_large.lock().unwrap_or_else(PoisonError::into_inner).is_empty();
        self.check()?;
        Ok(if all { Flushed::Done } else { Flushed::Pending })
    }
}

/// Makes the topics that do not exist yet, with the cluster's defaults, so that a first start does not fail on its outputs.
///
/// # Errors
/// If a topic does not exist and cannot be made; the message says what to do.
pub fn ensure_topics(config: &ClientConfig, topics: &BTreeSet<String>) -> Result<(), FeedError> {
    if topics.is_empty() {
        return Ok(());
    }
    let admin: AdminClient<DefaultClientContext> = connect::create(config, DefaultClientContext)?;
    // One partition keeps verdicts in order; -1 is the cluster's own replication factor.
    let new: Vec<NewTopic<'_>> = topics.iter().map(|topic| NewTopic::new(topic, 1, TopicReplication::Fixed(-1))).collect();
    let options = AdminOptions::new().operation_timeout(Some(ADMIN_LIMIT)).request_timeout(Some(ADMIN_LIMIT));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| FeedError::new(FeedFault::Unreachable, format!("no runtime for requests: {error}")))?;
    let made = runtime.block_on(admin.create_topics(&new, &options));
    let results =
        made.map_err(|error| FeedError::new(FeedFault::Unreachable, format!("the output topics cannot be made: {error}")))?;
    for result in results {
        match result {
            Ok(topic) => tracing::info!(topic, "made a topic"),
            Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((topic, error)) => {
                // Perhaps it exists and this user may merely not make topics; then writing to it works.
                let known = admin.inner().fetch_metadata(Some(&topic), ADMIN_LIMIT);
                let exists = known.is_ok_and(|known| known.topics().iter().any(|t| t.name() == topic && t.error().is_none()));
                if !exists {
                    let message = format!(
                        "the topic '{topic}' does not exist and cannot be made: {error}; create it, or correct [sink] in the configuration"
                    );
                    return Err(FeedError::new(FeedFault::Missing, message));
                }
            }
        }
    }
    Ok(())
}

// === impl VerdictTopic ===

impl VerdictTopic {
    /// Verdicts to `topic`.
    pub fn new(producer: KafkaProducer, topic: String, metrics: &Metrics) -> Self {
        metrics.know_receiver(RECEIVERS[VERDICTS]);
        Self { producer, topic }
    }
}

/// Key of a verdict: the case, so that its history stays in order, or the model.
fn key(verdict: &Verdict) -> &str {
    match (&verdict.case, verdict.scope) {
        (Some(case), _) => case,
        (None, Scope::Client | Scope::Campaign | Scope::Model) => &verdict.model,
    }
}

impl VerdictSink for VerdictTopic {
    fn deliver(&mut self, verdict: &Verdict) -> Result<(), SinkError> {
        let line =
            serde_json::to_vec(verdict).map_err(|error| SinkError(format!("a verdict cannot be written as JSON: {error}")))?;
        let record = BaseRecord::with_opaque_to(&self.topic, VERDICTS).payload(line.as_slice()).key(key(verdict).as_bytes());
        self.producer.send(record)
    }

    fn flush(&mut self, deadline: Deadline) -> Result<Flushed, SinkError> {
        self.producer.flush(deadline)
    }
}

// === impl DeadLetterTopic ===

impl DeadLetterTopic {
    /// Dead letters to the topics of `pattern`, in which `{topic}` stands for the source's topic.
    pub fn new(producer: KafkaProducer, pattern: String, metrics: &Metrics) -> Self {
        metrics.know_receiver(RECEIVERS[DEAD_LETTERS]);
        Self { producer, pattern, name: String::new(), of: String::new() }
    }

    /// The dead-letter topic of a source topic.
    pub fn name_of(pattern: &str, topic: &str) -> String {
        pattern.replace("{topic}", topic)
    }
}

/// Headers of a dead letter: the record's own, then why and where.
fn headers(letter: &DeadLetter<'_>) -> OwnedHeaders {
    let (provenance, own_headers) = (letter.provenance, letter.original.headers);
    let own = OwnedHeaders::new_with_capacity(own_headers.len() + 5);
    // A dead letter that is read again and fails again carries the latest reason only.
    let kept = own_headers.iter().filter(|(name, _)| !name.starts_with(HEADER_PREFIX));
    let headers = kept.fold(own, |headers, (name, value)| headers.insert(Header { key: name, value: value.as_deref() }));
    let (partition, offset) = (provenance.partition.to_string(), provenance.offset.to_string());
    let why = [
        ("reason", letter.reason),
        ("message", letter.message),
        ("topic", provenance.topic.name()),
        ("partition", &partition),
        ("offset", &offset),
    ];
    why.into_iter().fold(headers, |headers, (name, value)| {
        headers.insert(Header { key: &format!("{HEADER_PREFIX}{name}"), value: Some(value.as_bytes()) })
    })
}

impl DeadLetterSink for DeadLetterTopic {
    fn deliver(&mut self, letter: &DeadLetter<'_>) -> Result<(), SinkError> {
        let topic = letter.provenance.topic.name();
        if self.of != topic {
            topic.clone_into(&mut self.of);
            self.name = Self::name_of(&self.pattern, &self.of);
        }
        let mut record = BaseRecord::with_opaque_to(&self.name, DEAD_LETTERS).headers(headers(letter));
        if let Some(payload) = letter.original.payload {
            record = record.payload(payload);
        }
        if let Some(key) = letter.original.key {
            record = record.key(key);
        }
        self.producer.send(record)
    }

    fn flush(&mut self, deadline: Deadline) -> Result<Flushed, SinkError> {
        self.producer.flush(deadline)
    }
}

#[cfg(test)]
mod tests;
