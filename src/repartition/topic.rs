//! The rows topic: made with the partitions of the configuration, and checked if it exists.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use crate::clock::Deadline;
use crate::runtime::config::RepartitionConfig;
use crate::source::feed::{FeedError, FeedFault};
use crate::source::kafka::connect;

/// How long the cluster may take for making the topic, and for telling of it.
const LIMIT: Duration = Duration::from_secs(20);
/// Pause between two questions.
const PAUSE: Duration = Duration::from_millis(100);

/// Makes the topic unless it exists, and waits until the cluster tells of all its partitions.
///
/// # Errors
/// If it cannot be made, or has another number of partitions than the configuration says.
pub fn ensure(client: &ClientConfig, name: &str, config: &RepartitionConfig) -> Result<(), FeedError> {
    let admin: AdminClient<DefaultClientContext> = connect::create(client, DefaultClientContext)?;
    let deadline = Deadline::after(LIMIT);
    let mut made = false;
    loop {
        let count = partitions(&admin, name, deadline)?;
        if i32::try_from(count) == Ok(config.partitions) {
            return Ok(());
        }
        if count > 0 && !made {
            return Err(other_partitions(name, count, config));
        }
        if deadline.remaining().is_zero() {
            let what = format!("the topic '{name}' was made, and the cluster does not tell of it");
            return Err(FeedError::new(FeedFault::Unreachable, what));
        }
        if made {
            std::thread::sleep(PAUSE);
        } else {
            make(&admin, name, config)?;
            made = true;
        }
    }
}

/// What `check` says of the topic; nothing is made.
///
/// # Errors
/// As [`ensure`].
pub fn check(client: &ClientConfig, name: &str, config: &RepartitionConfig) -> Result<String, FeedError> {
    let admin: AdminClient<DefaultClientContext> = connect::create(client, DefaultClientContext)?;
    match partitions(&admin, name, Deadline::after(LIMIT))? {
        0 => Ok(format!("the topic {name} will be made with {} partitions", config.partitions)),
        count if i32::try_from(count) == Ok(config.partitions) => Ok(format!("the topic {name} has {count} partitions")),
        count => Err(other_partitions(name, count, config)),
    }
}

fn partitions(admin: &AdminClient<DefaultClientContext>, name: &str, deadline: Deadline) -> Result<usize, FeedError> {
    let known = admin
        .inner()
        .fetch_metadata(Some(name), deadline.remaining().max(PAUSE))
        .map_err(|error| FeedError::new(FeedFault::Unreachable, format!("Kafka does not tell of the topic '{name}': {error}")))?;
    let topic = known.topics().iter().find(|topic| topic.name() == name && topic.error().is_none());
    Ok(topic.map_or(0, |topic| topic.partitions().len()))
}

fn other_partitions(name: &str, count: usize, config: &RepartitionConfig) -> FeedError {
    let what = format!(
        "the topic '{name}' has {count} partitions and runtime.repartition.partitions is {}; write {count} there, or stop all processes, and \
         delete the topic when it is judged to its end",
        config.partitions
    );
    FeedError::new(FeedFault::Configuration, what)
}

fn make(admin: &AdminClient<DefaultClientContext>, name: &str, config: &RepartitionConfig) -> Result<(), FeedError> {
    let retention = config.retention.0.as_millis().to_string();
    let new = NewTopic::new(name, config.partitions, TopicReplication::Fixed(config.replication))
        .set("retention.ms", &retention)
        .set("cleanup.policy", "delete");
    let options = AdminOptions::new().operation_timeout(Some(LIMIT)).request_timeout(Some(LIMIT));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| FeedError::new(FeedFault::Unreachable, format!("no runtime for requests: {error}")))?;
    let failed = |error: KafkaError| {
        let what = format!("the topic '{name}' cannot be made: {error}; create it with {} partitions", config.partitions);
        FeedError::new(FeedFault::Missing, what)
    };
    let made = runtime.block_on(admin.create_topics([&new], &options)).map_err(failed)?;
    match made.into_iter().next() {
        Some(Err((_, error))) if error != RDKafkaErrorCode::TopicAlreadyExists => Err(failed(KafkaError::AdminOp(error))),
        _ => {
            tracing::info!(topic = name, partitions = config.partitions, "made the topic of rows");
            Ok(())
        }
    }
}
