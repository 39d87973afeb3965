//! The service in the topology `repartition`: a front and an owner, each on a thread of its own, which join again when they must.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::stop::Stop;
use super::{Listeners, LogObserver, decoder, output_topics, sinks};
use crate::checkpoint::store::Store;
use crate::clock;
use crate::config::Config;
use crate::decode::Decoder;
use crate::exit::{Exit, Failure};
use crate::hash;
use crate::health::{Phase, Readiness};
use crate::outcome::OutcomeCounts;
use crate::reference::Reference;
use crate::repartition::front::Front;
use crate::repartition::owner::{Owner, OwnerParts};
use crate::repartition::{HalfError, Routes, owners_group, rows_topic, topic};
use crate::runtime::dispatcher::Dispatcher;
use crate::runtime::partition_merger::Now;
use crate::sink::kafka::{KafkaProducer, ensure_topics};
use crate::sink::metrics::Metrics;
use crate::source::kafka::config::KafkaConfig;
use crate::source::kafka::{KafkaFeed, connect};

/// Pause before a half joins again. Chosen: a rebalance takes about a second.
const PAUSE: Duration = Duration::from_millis(500);
/// Ends of partitions are asked for this often by the front: what is read to its end holds nothing up.
const STATISTICS: &str = "250";

/// What both halves need.
struct Setup<'a> {
    config: &'a Config,
    metrics: &'a Metrics,
    readiness: &'a Readiness,
    /// The service is to end: asked for, or because one half cannot go on.
    stop: &'a Stop,
    halt: &'a Stop,
    rows: String,
    routes: Routes,
    start: std::time::Instant,
}

/// Runs both halves until the end.
pub(super) fn consume(
    config: &Config,
    references: Vec<Arc<Reference>>,
    metrics: &Metrics,
    readiness: &Readiness,
    stop: &Stop,
    mut listeners: Listeners,
) -> Result<OutcomeCounts, Failure> {
    let decoders = (0..config.runtime.decoders()).map(|_| decoder(config, &references));
    let mut decoders = decoders.collect::<Result<Vec<_>, _>>()?;
    listeners.observers.push(Box::new(LogObserver::new(&references, readiness.clone())));
    readiness.set(Phase::Connecting);
    let group = &config.source.kafka.group;
    let repartition = &config.runtime.repartition;
    let halt = Stop::default();
    let setup = Setup {
        config,
        metrics,
        readiness,
        stop,
        halt: &halt,
        rows: rows_topic(group),
        routes: Routes::new(&references, repartition.partitions),
        start: clock::instant(),
    };
    setup.prepare()?;
    let parts = OwnerParts {
        references,
        routes: setup.routes.clone(),
        engine: config.engine.clone(),
        store: Store::open(&config.state, &config.directory)?,
        group: group.clone(),
        state: (config.state.clone(), config.directory.clone()),
        runtime: config.runtime.clone(),
        readiness: readiness.clone(),
    };
    let (front, owner) = std::thread::scope(|scope| {
        let front = scope.spawn(|| setup.halting(|| setup.front(&mut decoders)));
        let owner = setup.halting(|| setup.owner(&parts, listeners));
        (front.join(), owner)
    });
    let front = front.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
    let owner = owner?;
    Ok(OutcomeCounts {
        accepted: owner.accepted,
        late: owner.late,
        rejected: front.rejected + owner.rejected,
        verdicts: owner.verdicts,
    })
}

// === impl Setup ===

impl Setup<'_> {
    fn now(&self) -> Now {
        Now { wall: clock::now(), since_start: clock::instant().duration_since(self.start) }
    }

    fn ends(&self) -> bool {
        self.stop.asked() || self.halt.asked()
    }

    /// Runs a half, and lets the other one end with it.
    fn halting<T>(&self, half: impl FnOnce() -> T) -> T {
        let ended = half();
        self.halt.ask();
        ended
    }

    /// Makes the topics.
    fn prepare(&self) -> Result<(), Failure> {
        let Config { source, sink, directory, .. } = self.config;
        tracing::info!(brokers = source.kafka.brokers, topics = ?source.kafka.topics, rows = self.rows, "connecting to Kafka");
        let consumer = connect::consumer_config(&source.kafka, directory)?;
        let consumer = connect::create(&consumer, crate::source::kafka::context::Context::default())?;
        let kafka = &source.kafka;
        connect::first_contact::<crate::source::kafka::context::Context>(
            &consumer,
            &kafka.brokers,
            &kafka.topics,
            kafka.connect_timeout.0,
            &|| self.ends(),
        )?;
        let client = connect::producer_config(kafka, &sink.kafka_options, directory)?;
        topic::ensure(&client, &self.rows, &self.config.runtime.repartition)?;
        let topics: BTreeSet<String> = output_topics(self.config);
        Ok(ensure_topics(&client, &topics)?)
    }

    /// A producer with transactions for one half. A process with a `group.instance.id` ends its own unfinished transaction at its next start.
    fn producer(&self, half: &str) -> Result<KafkaProducer, Failure> {
        let Config { source, sink, directory, runtime, .. } = self.config;
        let options = source
            .kafka
            .options
            .resolve(directory)
            .map_err(|(name, what)| Failure::new(Exit::Usage, format!("source.kafka.options.{name}: {what}")))?;
        let instance = options.get("group.instance.id").cloned().unwrap_or_else(|| {
            let number = hash::mix2(clock::now().micros().unsigned_abs(), std::process::id().into());
            format!("{number:016x}")
        });
        let client = connect::producer_config(&source.kafka, &sink.kafka_options, directory)?;
        let id = format!("{}.{half}.{instance}", source.kafka.group);
        Ok(KafkaProducer::transactional(&client, &id, runtime.repartition.transaction_timeout.0, self.metrics.clone())?)
    }

    fn front(&self, decoders: &mut [Decoder]) -> Result<OutcomeCounts, Failure> {
        let mut kafka: KafkaConfig = self.config.source.kafka.clone();
        kafka.options.0.entry("statistics.interval.ms".into()).or_insert_with(|| STATISTICS.into());
        let letters = &self.config.sink.dead_letters;
        let keeps = letters.late && (letters.file.is_some() || !letters.topic.is_empty());
        let mut dispatcher: Option<Dispatcher> = None;
        while !self.ends() {
            let producer = self.producer("front")?;
            let mut fresh = sinks(self.config, self.metrics, self.readiness, Listeners::none(), Some(producer.clone()))?;
            fresh.must_deliver.clear();
            let dispatcher = replaced(&mut dispatcher, fresh);
            let feed = KafkaFeed::join(&kafka, &self.config.directory, &|| self.ends())?;
            let runtime = &self.config.runtime;
            let mut front = Front::new(feed, producer, decoders, dispatcher, runtime, &self.routes, &self.rows, keeps);
            match self.drive(|now| front.step(now)) {
                Ok(()) => front.finish(self.now())?,
                Err(HalfError::Again(why)) => {
                    tracing::warn!("{why}; the front joins again and reads from what is committed");
                    front.abandon();
                    std::thread::sleep(PAUSE);
                }
                Err(error) => {
                    front.abandon();
                    return Err(error.into());
                }
            }
        }
        Ok(dispatcher.map(|dispatcher| dispatcher.counts).unwrap_or_default())
    }

    fn owner(&self, parts: &OwnerParts, listeners: Listeners) -> Result<OutcomeCounts, Failure> {
        let group = owners_group(&self.config.source.kafka.group);
        let kafka = KafkaConfig { topics: vec![self.rows.clone()], group, ..self.config.source.kafka.clone() };
        let feed = listeners.feed;
        let mut observers = Some(listeners.observers);
        let mut dispatcher: Option<Dispatcher> = None;
        while !self.ends() {
            let producer = self.producer("owner")?;
            let listeners = Listeners { observers: observers.take().unwrap_or_default(), feed: feed.clone() };
            let fresh = sinks(self.config, self.metrics, self.readiness, listeners, Some(producer.clone()))?;
            let dispatcher = replaced(&mut dispatcher, fresh);
            let feed = KafkaFeed::join(&kafka, &self.config.directory, &|| self.ends())?;
            let mut owner = Owner::new(parts, feed, producer, dispatcher);
            match self.drive(|now| owner.step(now)) {
                Ok(()) => owner.finish(self.now())?,
                Err(HalfError::Again(why)) => {
                    tracing::warn!("{why}; the owner joins again and restores its models");
                    owner.abandon();
                    std::thread::sleep(PAUSE);
                }
                Err(error) => {
                    owner.abandon();
                    return Err(error.into());
                }
            }
        }
        Ok(dispatcher.map(|dispatcher| dispatcher.counts).unwrap_or_default())
    }

    fn drive(&self, mut step: impl FnMut(Now) -> Result<(), HalfError>) -> Result<(), HalfError> {
        while !self.ends() {
            step(self.now())?;
        }
        Ok(())
    }
}

/// Makes a dispatcher, or gives the one that is there sinks with a new producer.
fn replaced(dispatcher: &mut Option<Dispatcher>, fresh: crate::runtime::Sinks) -> &mut Dispatcher {
    let next = match dispatcher.take() {
        Some(mut known) => {
            known.sinks.must_deliver = fresh.must_deliver;
            known.sinks.dead_letters = fresh.dead_letters;
            known
        }
        None => Dispatcher::new(fresh),
    };
    dispatcher.insert(next)
}
