//! The demo's broker: a cluster within this process that speaks the real Kafka protocol.
//!
//! librdkafka carries it for its own tests (`rdkafka_mock.h`). It keeps a bounded number of messages, serves consumer groups,
//! and needs no file and no other port than one on the loopback interface.

use rdkafka::error::KafkaError;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;

use crate::exit::{Exit, Failure};

/// Topic of the log.
pub const TOPIC: &str = "predictions";
/// Partitions of the topic: several, as in life, so that the service has to put event time in order again.
const PARTITIONS: i32 = 3;

/// The embedded broker. It stays on the thread that made it. It must be dropped after the service has left its group.
pub struct Broker(MockCluster<'static, DefaultProducerContext>);

/// A fault of the broker or of its client, for the person who runs the demo.
pub(super) fn failure(error: &KafkaError) -> Failure {
    Failure::new(Exit::Internal, format!("the embedded broker: {error}"))
}

// === impl Broker ===

impl Broker {
    /// Starts the broker with its topic.
    ///
    /// # Errors
    /// If no port can be had.
    pub fn start() -> Result<Self, Failure> {
        let cluster = MockCluster::new(1).map_err(|error| failure(&error))?;
        cluster.create_topic(TOPIC, PARTITIONS, 1).map_err(|error| failure(&error))?;
        Ok(Self(cluster))
    }

    /// Its address, as `bootstrap.servers` takes it.
    pub fn address(&self) -> String {
        self.0.bootstrap_servers()
    }
}
