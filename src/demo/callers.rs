//! The simulated callers: they send their queries to the broker at the pace of the compressed day.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rdkafka::types::RDKafkaErrorCode;

use super::broker::{Broker, TOPIC, failure};
use super::state::DemoState;
use crate::app::stop::Stop;
use crate::clock;
use crate::event::EventTime;
use crate::exit::Failure;
use crate::simulate::{Simulation, line};

/// Queries sent at once at the start. The day begins when the service has read one of them; fifty reach every partition.
const WARMUP_QUERIES: u64 = 50;
/// The service joins its group within seconds. After this time the day begins regardless, and the page shows that nothing is
/// read.
const READER_TIMEOUT: Duration = Duration::from_secs(20);
/// How long to wait for room in the producer's queue before trying again.
const QUEUE_WAIT: Duration = Duration::from_millis(20);
/// Longest sleep at a time: how soon a stop is noticed.
const POLL_INTERVAL: Duration = Duration::from_millis(50);
/// How long the last messages may take.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);
/// How long the producer gathers messages into one request: too short to be seen at any speed of the demo.
const LINGER_MILLIS: &str = "5";

/// The callers of a simulation, connected to a broker.
pub struct Callers {
    producer: BaseProducer,
    simulation: Simulation,
    state: DemoState,
    /// Simulated seconds in a real one.
    speed: f64,
}

// === impl Callers ===

impl Callers {
    /// Connects the callers of a simulation to a broker.
    ///
    /// # Errors
    /// If the client cannot be made.
    pub fn new(broker: &Broker, simulation: Simulation, state: DemoState, speed: f64) -> Result<Self, Failure> {
        let producer: BaseProducer = ClientConfig::new()
            .set("bootstrap.servers", broker.address())
            .set("linger.ms", LINGER_MILLIS)
            .create()
            .map_err(|error| failure(&error))?;
        Ok(Self { producer, simulation, state, speed })
    }

    /// Starts the calls on a thread of their own. They end with the simulation or when `stop` is asked for; a failure asks for
    /// it, too.
    pub fn start(mut self, stop: Stop) -> JoinHandle<Result<(), Failure>> {
        std::thread::spawn(move || {
            let called = self.run(&stop);
            if called.is_err() {
                stop.ask();
            }
            called
        })
    }

    fn run(&mut self, stop: &Stop) -> Result<(), Failure> {
        let reference = Arc::clone(&self.simulation.world().reference);
        let mut text = String::new();
        // The instant and the event time at which the day began: known once the service reads.
        let mut began: Option<(Instant, EventTime)> = None;
        while let Some(event) = self.simulation.next() {
            if event.line >= WARMUP_QUERIES {
                let (instant, at) = *began.get_or_insert_with(|| {
                    self.await_reader(stop);
                    (clock::instant(), event.at)
                });
                sleep_until(instant, Duration::from_secs_f64((event.at.seconds_since(at) / self.speed).max(0.0)), stop);
            }
            if stop.asked() {
                return Ok(());
            }
            text.clear();
            line::write_event(&mut text, &event, &reference);
            self.send(&event.address.to_string(), &text, event.at.micros() / 1000)?;
            self.state.sent(&event);
        }
        self.state.finished();
        self.producer.flush(FLUSH_TIMEOUT).map_err(|error| failure(&error))
    }

    fn await_reader(&self, stop: &Stop) {
        let from = clock::instant();
        while self.state.accepted() == 0 && !stop.asked() && clock::instant().duration_since(from) < READER_TIMEOUT {
            self.producer.poll(POLL_INTERVAL);
        }
    }

    fn send(&self, key: &str, text: &str, millis: i64) -> Result<(), Failure> {
        let mut record = BaseRecord::to(TOPIC).key(key).payload(text).timestamp(millis);
        while let Err((error, back)) = self.producer.send(record) {
            if error.rdkafka_error_code() != Some(RDKafkaErrorCode::QueueFull) {
                return Err(failure(&error));
            }
            self.producer.poll(QUEUE_WAIT);
            record = back;
        }
        self.producer.poll(Duration::ZERO);
        Ok(())
    }
}

/// Sleeps until `due` after `from`, or until a stop is asked for.
fn sleep_until(from: Instant, due: Duration, stop: &Stop) {
    while !stop.asked() {
        let left = due.saturating_sub(clock::instant().duration_since(from));
        if left.is_zero() {
            return;
        }
        std::thread::sleep(POLL_INTERVAL.min(left));
    }
}
