//! The composition root of the service: configuration and reference profiles in, a running loop out, and an orderly end.
//!
//! Order of the start: the operations endpoint, the engines, the group at the source, and the outputs. Records are taken only
//! then, so that nothing is consumed that could not be delivered. Order of the end, on SIGTERM or Ctrl-C: not ready → stop
//! polling → finish what was read → deliver → commit → leave the group → close the endpoint. Each part is bounded, and a second
//! signal ends at once.

mod cases;
mod log_observer;
mod people;
mod repartition;
mod serving;
pub mod stop;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use prometheus::Registry;

use crate::cases::feed::Feed;
use crate::checkpoint::keeper::Keeper;
use crate::checkpoint::store::Store;
use crate::clock;
use crate::config::Config;
use crate::decode::Decoder;
use crate::exit::{Exit, Failure};
use crate::health::{Phase, Readiness};
use crate::outcome::OutcomeCounts;
use crate::reference::Reference;
use crate::runtime::config::Topology;
use crate::runtime::joiner::Joiner;
use crate::runtime::partition_merger::Now;
use crate::runtime::shards::Shards;
use crate::runtime::snapshots::{ModelName, SnapshotSettings, Snapshots};
use crate::runtime::{Runtime, RuntimeError, ServiceObserver, Sinks};
use crate::sink::dead_letter::{DeadLetterFile, Discard};
use crate::sink::jsonl::JsonLines;
use crate::sink::kafka::{DeadLetterTopic, KafkaProducer, VerdictTopic, ensure_topics};
use crate::sink::metrics::Metrics;
use crate::sink::{DeadLetterSink, MustDeliver};
use crate::source::combined::Combined;
use crate::source::http::{HttpFeed, Inbox, Receiver};
use crate::source::kafka::{KafkaFeed, connect};
use crate::source::registry::Schemas;
use crate::telemetry::TelemetryServer;
use log_observer::LogObserver;
use serving::Serving;
use stop::Stop;

/// How long the endpoint may take to close: its own drain of 3 s, and some slack.
const ENDPOINT_LIMIT: Duration = Duration::from_secs(5);
/// How long tasks that were left behind may take to end; none should be left.
const TASKS_LIMIT: Duration = Duration::from_secs(1);

/// Who is told of records and verdicts beside the configured outputs.
struct Listeners {
    observers: Vec<ServiceObserver>,
    /// The feed of the cases; none without a database.
    feed: Option<Feed>,
}

// === impl Listeners ===

impl Listeners {
    /// Nobody.
    const fn none() -> Self {
        Self { observers: Vec::new(), feed: None }
    }
}

/// Runs the service, with the profiles of the models that it watches, until `stop` is asked for or a signal comes. `observers` are
/// told of every record and verdict.
///
/// # Errors
/// What no retry can mend, with the documented exit code.
pub fn run(
    config: &Config,
    references: Vec<Arc<Reference>>,
    stop: &Stop,
    mut observers: Vec<ServiceObserver>,
) -> Result<OutcomeCounts, Failure> {
    let registry = Registry::new();
    let internal = |error: &dyn std::fmt::Display| Failure::new(Exit::Internal, error.to_string());
    let metrics = Metrics::register(&registry).map_err(|error| internal(&error))?;
    for reference in &references {
        metrics.know_model(reference).map_err(|error| internal(&error))?;
    }
    let readiness = Readiness::default();
    // The endpoints and the signals are all that is asynchronous; two threads carry them beside the loop, so that a page that takes long
    // does not hold up a probe.
    let tokio = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let tokio = tokio.map_err(|error| internal(&error))?;
    let server = tokio.block_on(TelemetryServer::bind(config.server.metrics, metrics.clone(), readiness.clone()));
    let server = server.map_err(|error| Failure::new(Exit::Io, error.to_string()))?;
    tracing::info!("metrics at http://{}/metrics, health at /livez and /readyz", server.address());
    let receiver = receiver(config, &metrics, &tokio)?;
    let (inbox, receiving) = receiver.unzip();
    let cases = cases::open(config, &references, &metrics, &tokio)?;
    let (people, follower) = people::open(config, cases.as_ref().map(|cases| &cases.cases), &tokio)?.unzip();
    observers.extend(follower.map(|follower| -> ServiceObserver { Box::new(follower) }));
    let listeners = Listeners { observers, feed: cases.as_ref().map(|cases| cases.feed.clone()) };
    let (closed, close) = tokio::sync::oneshot::channel::<()>();
    let serving = tokio.spawn(server.serve(async move {
        // Sent, or dropped on an error: both mean the end.
        let _ = close.await;
    }));
    tokio.spawn(stop.clone().listen());
    let outcome = match config.runtime.topology {
        Topology::Direct => consume(config, references, &metrics, &readiness, stop, listeners, inbox),
        // Records cannot be posted there; the configuration is refused.
        Topology::Repartition => repartition::consume(config, references, &metrics, &readiness, stop, listeners),
    };
    readiness.set(Phase::Stopping);
    // Posts are refused since the loop ended, so nothing is cut off.
    drop(receiving);
    if let Some(people) = people {
        people.close(&tokio, ENDPOINT_LIMIT);
    }
    if let Some(cases) = cases {
        cases.finish(&tokio);
    }
    // The receiver is gone only if the endpoint broke by itself.
    let _ = closed.send(());
    if let Ok(Ok(Err(error))) = tokio.block_on(async { tokio::time::timeout(ENDPOINT_LIMIT, serving).await }) {
        tracing::warn!("{error}");
    }
    tokio.shutdown_timeout(TASKS_LIMIT);
    outcome
}

/// Opens the receiver of posted records, if there is one.
fn receiver(config: &Config, metrics: &Metrics, tokio: &tokio::runtime::Runtime) -> Result<Option<(Inbox, Serving)>, Failure> {
    let Some(address) = config.source.http.listen else { return Ok(None) };
    let inbox = Inbox::new(&config.source.http, metrics.clone());
    let receiver = tokio.block_on(Receiver::bind(address, config.decode.max_message_bytes, inbox.clone()));
    let receiver = receiver.map_err(|error| Failure::new(Exit::Io, error.to_string()))?;
    tracing::info!("records can be posted to http://{}/", receiver.address());
    Ok(Some((inbox, Serving::start(tokio, |end| receiver.serve(end)))))
}

fn consume(
    config: &Config,
    references: Vec<Arc<Reference>>,
    metrics: &Metrics,
    readiness: &Readiness,
    stop: &Stop,
    mut listeners: Listeners,
    inbox: Option<Inbox>,
) -> Result<OutcomeCounts, Failure> {
    let usage = |error: &dyn std::fmt::Display| Failure::new(Exit::Usage, error.to_string());
    let decoder = || decoder(config, &references);
    let decoders = (0..config.runtime.decoders()).map(|_| decoder()).collect::<Result<Vec<_>, _>>()?;
    let joiner = config.decode.pairs().map(|pairs| Ok::<_, Failure>(Joiner::new(pairs, decoder()?))).transpose()?;
    let lateness = Duration::from_secs(config.engine.allowed_lateness_seconds.into());
    listeners.observers.push(Box::new(LogObserver::new(&references, readiness.clone())));
    let snapshots = snapshots(config, &references, metrics)?;
    let shards = Shards::new(config.runtime.engine_shards, &config.engine, references).map_err(|error| usage(&error))?;
    readiness.set(Phase::Connecting);
    let kafka = if config.source.has_kafka() {
        tracing::info!(brokers = config.source.kafka.brokers, topics = ?config.source.kafka.topics, "connecting to Kafka");
        Some(KafkaFeed::join(&config.source.kafka, &config.directory, &|| stop.asked())?)
    } else {
        None
    };
    if stop.asked() {
        return Ok(OutcomeCounts::default());
    }
    let feed = Combined::new(kafka, inbox.map(HttpFeed::new));
    let sinks = sinks(config, metrics, readiness, listeners, producer(config, metrics)?)?;
    let mut runtime = Runtime::new(feed, config.runtime.clone(), decoders, shards, lateness, sinks);
    if let Some(snapshots) = snapshots {
        runtime = runtime.keeping(if joiner.is_some() { snapshots.in_halves() } else { snapshots });
    }
    if config.source.registry.is_used() {
        let schemas = Schemas::connect(&config.source.registry, &config.directory);
        runtime = runtime.with_schemas(schemas.map_err(|error| usage(&error))?);
    }
    if let Some(joiner) = joiner {
        runtime = runtime.joining(joiner);
    }
    let start = clock::instant();
    let mut now = || Now { wall: clock::now(), since_start: clock::instant().duration_since(start) };
    while !stop.asked() {
        if let Err(error) = runtime.step(now()) {
            match &error {
                // What was judged and delivered before is still worth committing; the first error is the one to tell.
                RuntimeError::Feed(_) => {
                    if let Err(second) = runtime.finish(&mut now) {
                        tracing::debug!("{second}");
                    }
                }
                // A delivery is missing, or state that is required, or half of the log: nothing more may be committed.
                RuntimeError::Sink(_) | RuntimeError::State(_) | RuntimeError::Split(_) => runtime.abandon(),
            }
            return Err(error.into());
        }
    }
    Ok(runtime.finish(&mut now)?)
}

/// A decoder for the records of these models.
fn decoder(config: &Config, references: &[Arc<Reference>]) -> Result<Decoder, Failure> {
    Decoder::new(references, config.decode.clone()).map_err(|error| Failure::new(Exit::Usage, error.to_string()))
}

/// Opens the state that the configuration names.
fn snapshots(config: &Config, references: &[Arc<Reference>], metrics: &Metrics) -> Result<Option<Snapshots>, Failure> {
    let state = &config.state;
    if !state.is_kept() {
        tracing::warn!(
            "no state is kept ([state] url): after a restart the windows are empty, and an attack that lasts is forgotten"
        );
        return Ok(None);
    }
    let keys = state.keys(&config.directory).map_err(|(setting, what)| Failure::new(Exit::Usage, format!("{setting}: {what}")))?;
    let store = Store::open(state, &config.directory)?;
    let mut models: Vec<ModelName> = references.iter().map(|reference| ModelName::of(reference)).collect();
    models.sort_by(|a, b| a.name.cmp(&b.name));
    let names: Vec<String> = models.iter().map(|model| model.name.clone()).collect();
    let keeper = Keeper::start(&store, &config.source.kafka.group, &names, keys)?;
    let settings = SnapshotSettings { interval: state.interval.0, required: state.required };
    Ok(Some(Snapshots::new(keeper, settings, models, metrics.clone())))
}

/// Opens the outputs that the configuration names.
fn sinks(
    config: &Config,
    metrics: &Metrics,
    readiness: &Readiness,
    listeners: Listeners,
    producer: Option<KafkaProducer>,
) -> Result<Sinks, Failure> {
    let sink = &config.sink;
    let Listeners { mut observers, feed } = listeners;
    let mut must_deliver = Vec::new();
    if let Some(feed) = feed {
        observers.push(Box::new(feed.observer()));
        must_deliver.push(MustDeliver::new(feed.sink()));
    }
    if let Some(path) = &sink.verdicts.file {
        must_deliver.push(MustDeliver::new(JsonLines::append(&config.path(path))?));
    }
    if let Some(producer) = producer.as_ref().filter(|_| !sink.verdicts.topic.is_empty()) {
        must_deliver.push(MustDeliver::new(VerdictTopic::new(producer.clone(), sink.verdicts.topic.clone(), metrics)));
    }
    let dead_letters: Box<dyn DeadLetterSink> = match (&sink.dead_letters.file, producer) {
        (Some(path), _) => Box::new(DeadLetterFile::append(&config.path(path))?),
        (None, Some(producer)) if !sink.dead_letters.topic.is_empty() => {
            Box::new(DeadLetterTopic::new(producer, sink.dead_letters.topic.clone(), metrics))
        }
        _ => Box::new(Discard),
    };
    Ok(Sinks {
        must_deliver,
        // The receivers of today are all evidence; none may be lost.
        best_effort: Vec::new(),
        dead_letters,
        keep_late: sink.dead_letters.late,
        observers,
        metrics: metrics.clone(),
        readiness: readiness.clone(),
    })
}

/// A producer for the topics that the configuration writes to, which are made; none if there are none.
fn producer(config: &Config, metrics: &Metrics) -> Result<Option<KafkaProducer>, Failure> {
    let topics = output_topics(config);
    if topics.is_empty() {
        return Ok(None);
    }
    let client = connect::producer_config(&config.source.kafka, &config.sink.kafka_options, &config.directory)?;
    ensure_topics(&client, &topics)?;
    Ok(Some(KafkaProducer::new(&client, metrics.clone())?))
}

/// Topics that the configuration writes to.
pub fn output_topics(config: &Config) -> BTreeSet<String> {
    let mut topics = BTreeSet::new();
    if !config.source.has_kafka() {
        return topics;
    }
    if !config.sink.verdicts.topic.is_empty() {
        topics.insert(config.sink.verdicts.topic.clone());
    }
    if config.sink.dead_letters.file.is_none() && !config.sink.dead_letters.topic.is_empty() {
        // Topics given by a pattern are known only when their first record fails; brokers then make the dead-letter topic, or
        // refuse it with a message.
        let named = config.source.kafka.topics.iter().filter(|topic| !topic.starts_with('^'));
        topics.extend(named.map(|topic| DeadLetterTopic::name_of(&config.sink.dead_letters.topic, topic)));
    }
    topics
}
