//! The demo's broker, and the simulator that sends to it at the pace of the compressed day.
//!
//! librdkafka carries a mock cluster that speaks the real protocol within this process. It keeps a bounded number of messages,
//! serves consumer groups, and needs no file and no other port than one on the loopback interface.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::error::KafkaError;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord, DefaultProducerContext, Producer as _};

use crate::app::stop::Stop;
use crate::clock;
use crate::exit::{Exit, Failure};
use crate::page::board::DemoState;
use crate::simulate::{Simulation, line};

/// Topic of the log.
pub const TOPIC: &str = "predictions";
/// Partitions: more than one, as in life, so that the service has to put event time in order again.
const PARTITIONS: i32 = 3;
/// Queries sent at once at the start; the day begins when the service has read one of them.
const OVERTURE: u64 = 50;
/// The service joins its group within seconds; after this long the day begins regardless, and the page shows that nothing is read.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long a full queue of the producer is waited for.
const QUEUE_WAIT: Duration = Duration::from_millis(20);
/// Longest sleep at a time, so that a stop is noticed at once.
const NAP: Duration = Duration::from_millis(50);
/// How long the last messages may take.
const FLUSH: Duration = Duration::from_secs(2);

/// The embedded broker. It stays on the thread that made it and ends when it is dropped, which must be after the service has left
/// its group.
pub struct Broker(MockCluster<'static, DefaultProducerContext>);

/// The callers, ready to call.
pub struct Callers {
    producer: BaseProducer,
    simulation: Simulation,
    board: DemoState,
    /// Event seconds in a second.
    speed: f64,
}

fn broken(error: &KafkaError) -> Failure {
    Failure::new(Exit::Internal, format!("the embedded broker: {error}"))
}

// === impl Broker ===

impl Broker {
    /// Starts the broker with its topic.
    pub fn start() -> Result<Self, Failure> {
        let cluster = MockCluster::new(1).map_err(|e| broken(&e))?;
        cluster.create_topic(TOPIC, PARTITIONS, 1).map_err(|e| broken(&e))?;
        Ok(Self(cluster))
    }

    /// Where it listens.
    pub fn address(&self) -> String {
        self.0.bootstrap_servers()
    }
}

// === impl Callers ===

impl Callers {
    /// Connects the callers of a simulation to a broker.
    pub fn new(broker: &Broker, simulation: Simulation, board: DemoState, speed: f64) -> Result<Self, Failure> {
        let producer: BaseProducer = ClientConfig::new()
            .set("bootstrap.servers", broker.address())
            .set("linger.ms", "5")
            .create()
            .map_err(|e| broken(&e))?;
        Ok(Self { producer, simulation, board, speed })
    }

    /// Lets them call, on a thread of their own, until `stop` is asked for.
    pub fn play(mut self, stop: Stop) -> JoinHandle<Result<(), Failure>> {
        std::thread::spawn(move || {
            let played = self.run(&stop);
            if played.is_err() {
                stop.ask();
            }
            played
        })
    }

    fn run(&mut self, stop: &Stop) -> Result<(), Failure> {
        let reference = Arc::clone(&self.simulation.world().reference);
        let mut text = String::new();
        // The instant at which an event time is due: known once the service reads.
        let mut began: Option<(Instant, crate::event::EventTime)> = None;
        while let Some(event) = self.simulation.next() {
            if event.line >= OVERTURE {
                let (instant, at) = *began.get_or_insert_with(|| {
                    self.await_reader(stop);
                    (clock::instant(), event.at)
                });
                let due = Duration::from_secs_f64((event.at.seconds_since(at) / self.speed).max(0.0));
                loop {
                    if stop.asked() {
                        return Ok(());
                    }
                    let passed = clock::instant().duration_since(instant);
                    if passed >= due {
                        break;
                    }
                    std::thread::sleep(NAP.min(due.saturating_sub(passed)));
                }
            }
            text.clear();
            line::write_event(&mut text, &event, &reference);
            self.send(&event.address.to_string(), &text, event.at.micros() / 1000)?;
            self.board.sent(&event);
        }
        self.board.finished();
        self.producer.flush(FLUSH).map_err(|e| broken(&e))
    }

    fn await_reader(&self, stop: &Stop) {
        let from = clock::instant();
        while self.board.accepted() == 0 && !stop.asked() && clock::instant().duration_since(from) < PATIENCE {
            self.producer.poll(NAP);
        }
    }

    fn send(&self, key: &str, text: &str, millis: i64) -> Result<(), Failure> {
        let mut record = BaseRecord::to(TOPIC).key(key).payload(text).timestamp(millis);
        while let Err((error, back)) = self.producer.send(record) {
            if error.rdkafka_error_code() != Some(rdkafka::types::RDKafkaErrorCode::QueueFull) {
                return Err(broken(&error));
            }
            self.producer.poll(QUEUE_WAIT);
            record = back;
        }
        self.producer.poll(Duration::ZERO);
        Ok(())
    }
}
