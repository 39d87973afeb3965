//! How Tripline speaks to a cluster: shipped defaults, the first contact, and what errors mean.
//!
//! librdkafka retries nearly everything for ever in silence. For a person who has just mistyped a password that is the worst
//! answer, so the first contact is made on purpose: it ends in "all is well" or in one sentence that says what, where and what
//! to do. Errors are sorted into those that a retry can mend and those that need a person ([`fault_of`]).

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};

use super::config::KafkaConfig;
use crate::clock;
use crate::document::Options;
use crate::source::feed::{FeedError, FeedFault};

/// Defaults of the consumer. librdkafka's own stall a consumer that does any work: once its queue is full it waits a whole
/// second (`fetch.queue.backoff.ms`) and holds up to 64 MB. Cooperative rebalancing keeps the partitions that stay.
const CONSUMER_DEFAULTS: [(&str, &str); 9] = [
    ("auto.offset.reset", "earliest"),
    ("enable.auto.commit", "false"),
    ("enable.auto.offset.store", "false"),
    ("fetch.queue.backoff.ms", "1"),
    ("queued.min.messages", "20000"),
    ("queued.max.messages.kbytes", "16384"),
    // The ends of partitions come with the statistics: no extra request, and fresh enough for a lag that people look at.
    ("statistics.interval.ms", "1000"),
    // How soon partitions and topics that were added are noticed. librdkafka's own five minutes are long for a detector.
    ("topic.metadata.refresh.interval.ms", "30000"),
    ("client.id", "tripline"),
];

/// Options of the source that concern the connection rather than consuming, and so hold for producers as well.
const SHARED_PREFIXES: [&str; 10] =
    ["security.", "sasl.", "ssl.", "enable.sasl.", "enable.ssl.", "socket.", "broker.address.", "reconnect.", "https.", "client."];

/// One try of the first contact. Chosen: a TLS handshake over a bad line takes about a second; a person wants news within a few.
const CONTACT_TRY: Duration = Duration::from_secs(3);
/// How long an unknown topic is asked for again. A topic that was just created reaches every broker within a second or two.
const TOPIC_PATIENCE: Duration = Duration::from_secs(3);
/// Polls of the event queue between two tries. A poll yields one event, and log lines come between the complaints, so a single
/// poll would miss why a connection failed. Chosen: 25 polls of 10 ms see some dozen lines and add a quarter of a second to a try.
const DRAIN_POLLS: u32 = 25;
/// Longest wait of one poll.
const DRAIN_WAIT: Duration = Duration::from_millis(10);

/// Settings of a consumer: Tripline's defaults below the user's options.
///
/// # Errors
/// If a secret cannot be read.
pub fn consumer_config(config: &KafkaConfig, directory: &Path) -> Result<ClientConfig, FeedError> {
    let options = resolved(config, directory)?;
    let mut client = base(&config.brokers);
    for (name, value) in CONSUMER_DEFAULTS {
        client.set(name, value);
    }
    // The two protocols exclude each other's options.
    if options.get("group.protocol").is_none_or(|protocol| protocol != "consumer") {
        client.set("partition.assignment.strategy", "cooperative-sticky");
    }
    client.set("group.id", &config.group);
    for (name, value) in &options {
        client.set(name, value);
    }
    Ok(client)
}

/// Settings of a producer to the same cluster: idempotent, with the source's connection options and `extra` on top.
///
/// # Errors
/// If a secret cannot be read.
pub fn producer_config(config: &KafkaConfig, extra: &Options, directory: &Path) -> Result<ClientConfig, FeedError> {
    let mut client = base(&config.brokers);
    client.set("client.id", "tripline");
    // Retries inside the client must not write a verdict or a dead letter twice.
    client.set("enable.idempotence", "true");
    client.set("linger.ms", "5");
    // A dead letter is as large as what it came from; the broker's own limit decides, not the client's.
    client.set("message.max.bytes", "67108864");
    client.set("message.timeout.ms", "60000");
    let shared = |name: &str| SHARED_PREFIXES.iter().any(|prefix| name.starts_with(prefix));
    for (name, value) in resolved(config, directory)?.iter().filter(|(name, _)| shared(name)) {
        client.set(name, value);
    }
    let extra = extra.resolve(directory).map_err(|(name, what)| secret_fault("sink.kafka_options", &name, &what))?;
    for (name, value) in &extra {
        client.set(name, value);
    }
    Ok(client)
}

fn resolved(config: &KafkaConfig, directory: &Path) -> Result<BTreeMap<String, String>, FeedError> {
    config.options.resolve(directory).map_err(|(name, what)| secret_fault("source.kafka.options", &name, &what))
}

fn secret_fault(section: &str, name: &str, what: &str) -> FeedError {
    FeedError::new(FeedFault::Configuration, format!("{section}.{name}: {what}"))
}

fn base(brokers: &str) -> ClientConfig {
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", brokers);
    // Errors that matter come as events; librdkafka's informational lines would only repeat them.
    client.set_log_level(RDKafkaLogLevel::Warning);
    client
}

/// Makes a client, or says which option is wrong (without its value if that is a secret).
///
/// # Errors
/// If librdkafka refuses the options.
pub fn create<C: ClientContext, T: FromClientConfigAndContext<C>>(config: &ClientConfig, context: C) -> Result<T, FeedError> {
    config.create_with_context(context).map_err(|error: KafkaError| {
        let what = match &error {
            KafkaError::ClientConfig(_, why, name, _) => format!("the Kafka option '{name}' is refused: {why}"),
            other => format!("the Kafka options are refused: {other}"),
        };
        FeedError::new(FeedFault::Configuration, format!("{what}; correct source.kafka.options (or sink.kafka_options)"))
    })
}

/// A context that remembers what the cluster complained about.
pub trait Complaints {
    /// The latest complaint, with librdkafka's own words.
    fn latest(&self) -> Option<(RDKafkaErrorCode, String)>;
}

/// Waits until the cluster answers and knows the topics.
///
/// # Errors
/// Wrong credentials or permissions ([`FeedFault::Configuration`]), a topic that does not exist ([`FeedFault::Missing`]), or
/// silence for `patience` ([`FeedFault::Unreachable`]).
pub fn first_contact<C>(
    consumer: &BaseConsumer<C>,
    brokers: &str,
    topics: &[String],
    patience: Duration,
    stop: &dyn Fn() -> bool,
) -> Result<(), FeedError>
where
    C: ConsumerContext + Complaints,
{
    let begin = clock::instant();
    let mut unknown_since = None;
    while !stop() {
        // A bad password fails the connection and not the request, so complaints are looked at as well.
        let answer = names_or_cluster(consumer, topics);
        for _ in 0..if answer.as_ref().is_ok_and(Vec::is_empty) { 0 } else { DRAIN_POLLS } {
            drop(consumer.poll(DRAIN_WAIT));
        }
        let complaint = consumer.context().latest();
        match answer {
            Ok(unknown) if unknown.is_empty() => return Ok(()),
            Ok(unknown) => {
                let since = *unknown_since.get_or_insert_with(clock::instant);
                if clock::instant().duration_since(since) >= TOPIC_PATIENCE {
                    return Err(missing_topics(&unknown, brokers));
                }
            }
            Err(error) => {
                let code = error.rdkafka_error_code();
                if let Some(fault) = complaint.iter().map(|(code, _)| *code).chain(code).find_map(fault_of) {
                    let said = complaint.map_or_else(|| error.to_string(), |(_, said)| said);
                    return Err(FeedError::new(fault, explain(fault, brokers, &said)));
                }
                if clock::instant().duration_since(begin) >= patience {
                    let said = complaint.map_or_else(|| error.to_string(), |(_, said)| said);
                    return Err(FeedError::new(FeedFault::Unreachable, explain(FeedFault::Unreachable, brokers, &said)));
                }
            }
        }
    }
    Ok(())
}

/// Topics of the list that the cluster does not know.
fn names_or_cluster<C: ConsumerContext>(consumer: &BaseConsumer<C>, topics: &[String]) -> KafkaResult<Vec<String>> {
    let mut unknown = Vec::new();
    let plain: Vec<&String> = topics.iter().filter(|topic| !topic.starts_with('^')).collect();
    if plain.is_empty() {
        consumer.fetch_metadata(None, CONTACT_TRY)?;
    }
    for topic in plain {
        let metadata = consumer.fetch_metadata(Some(topic), CONTACT_TRY)?;
        for found in metadata.topics().iter().filter(|found| found.name() == topic.as_str()) {
            match found.error().map(RDKafkaErrorCode::from) {
                Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => unknown.push(topic.clone()),
                Some(error) => return Err(KafkaError::MetadataFetch(error)),
                None => {}
            }
        }
    }
    Ok(unknown)
}

fn missing_topics(unknown: &[String], brokers: &str) -> FeedError {
    let names = unknown.join("', '");
    let message = format!(
        "the topic '{names}' does not exist on {brokers}; create it, or correct source.kafka.topics (and check that this user may see it)"
    );
    FeedError::new(FeedFault::Missing, message)
}

/// What kind of end an error means; `None` if retrying may mend it.
pub fn fault_of(code: RDKafkaErrorCode) -> Option<FeedFault> {
    use RDKafkaErrorCode as Code;
    match code {
        Code::Authentication
        | Code::SaslAuthenticationFailed
        | Code::UnsupportedSASLMechanism
        | Code::IllegalSASLState
        | Code::SSL
        | Code::TopicAuthorizationFailed
        | Code::GroupAuthorizationFailed
        | Code::ClusterAuthorizationFailed
        | Code::InvalidGroupId
        | Code::InconsistentGroupProtocol
        | Code::UnsupportedAssignor
        | Code::FencedInstanceId
        | Code::Fatal => Some(FeedFault::Configuration),
        Code::UnknownTopic | Code::UnknownTopicOrPartition | Code::InvalidTopic | Code::AutoOffsetReset => Some(FeedFault::Missing),
        _ => None,
    }
}

/// The sentence for a person.
pub fn explain(fault: FeedFault, brokers: &str, said: &str) -> String {
    let said = said.trim().trim_end_matches('.');
    match fault {
        FeedFault::Configuration => format!(
            "Kafka at {brokers} refuses this client: {said}; check the credentials, permissions and protocol in source.kafka.options"
        ),
        FeedFault::Missing => format!("Kafka at {brokers} does not have what was asked for: {said}; check source.kafka.topics"),
        FeedFault::Unreachable => format!(
            "Kafka at {brokers} cannot be reached: {said}; check source.kafka.brokers, that the broker runs, and security.protocol"
        ),
    }
}
