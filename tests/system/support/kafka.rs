//! A real Apache Kafka (KRaft, one JVM) for the tests, and the few things that tests do with it.
//!
//! One broker serves the whole test binary: a start takes seconds. This process holds a pipe to the broker; the broker ends when
//! the pipe closes, however the tests end. The jars are those that `make setup` fetches; without them the tests fail and say so.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{Header, Headers as _, Message as _, OwnedHeaders, OwnedMessage};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::daemon::{TIMEOUT, free_port, wait_for};

/// User and password of the listener that asks for them.
pub const USER: (&str, &str) = ("tripline", "open sesame");
/// Time between two attempts to reach a broker that starts.
const SHORT: Duration = Duration::from_secs(2);
/// The version that `tests/kafka/pom.xml` pins; it names the folder in the cache.
const VERSION: &str = "4.3.0";

/// A running broker.
#[derive(Debug)]
pub struct Broker {
    child: Child,
    folder: PathBuf,
    /// `host:port` without credentials.
    pub address: String,
    /// `host:port` of the listener that asks for [`USER`].
    pub guarded: String,
}

// === impl Broker ===

impl Broker {
    /// The broker that all tests share.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Broker> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// Starts a broker on free ports and waits until it answers.
    pub fn start() -> Self {
        // It outlives this process by a moment, so the shell below removes the folder.
        let folder = tempfile::Builder::new().prefix("tripline-kafka-").tempdir().unwrap().keep();
        let [plain, guarded, controller] = [free_port(), free_port(), free_port()];
        std::fs::write(folder.join("server.properties"), settings(&folder, plain, guarded, controller)).unwrap();
        let child = launch(&folder);
        let broker = Self { child, folder, address: format!("127.0.0.1:{plain}"), guarded: format!("127.0.0.1:{guarded}") };
        broker.wait();
        broker
    }

    /// Kills the broker at any point of its work; its data stay.
    pub fn kill(&mut self) {
        std::fs::write(self.folder.join("keep"), "").unwrap();
        drop(self.child.stdin.take());
        self.child.wait().unwrap();
    }

    /// Starts the killed broker again, on the same ports and data.
    pub fn restart(&mut self) {
        std::fs::remove_file(self.folder.join("keep")).unwrap();
        self.child = launch(&self.folder);
        self.wait();
    }

    fn wait(&self) {
        let begun = tripline::clock::instant();
        loop {
            let consumer: BaseConsumer = self.client().create().unwrap();
            if consumer.fetch_metadata(None, SHORT).is_ok_and(|metadata| !metadata.brokers().is_empty()) {
                return;
            }
            let log = || std::fs::read_to_string(self.folder.join("kafka.log")).unwrap_or_default();
            assert!(begun.elapsed() < TIMEOUT, "Kafka did not start (is Java 17 or newer there? `make setup`):\n{}", log());
        }
    }

    /// Options of a client.
    pub fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.address);
        // Failed attempts before it listens are expected.
        config.set_log_level(rdkafka::config::RDKafkaLogLevel::Emerg);
        config
    }

    /// Makes a topic whose name begins with `name` and is new; returns the name.
    pub fn topic(&self, name: &str, partitions: i32) -> String {
        static NUMBER: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let topic = format!("{name}-{number}");
        self.make_topic(&topic, partitions, &[]);
        topic
    }

    /// Makes a topic of exactly this name.
    pub fn make_topic(&self, topic: &str, partitions: i32, options: &[(&str, &str)]) {
        let new = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
        let new = options.iter().fold(new, |new, (name, value)| new.set(name, value));
        self.admin(async |admin, options| admin.create_topics([&new], options).await)
            .into_iter()
            .for_each(|topic| drop(topic.unwrap()));
    }

    /// Deletes a topic.
    pub fn delete_topic(&self, topic: &str) {
        self.admin(async |admin, options| admin.delete_topics(&[topic], options).await)
            .into_iter()
            .for_each(|topic| drop(topic.unwrap()));
    }

    /// Gives a topic more partitions.
    pub fn add_partitions(&self, topic: &str, whole: usize) {
        let new = NewPartitions::new(topic, whole);
        self.admin(async |admin, options| admin.create_partitions([&new], options).await)
            .into_iter()
            .for_each(|topic| drop(topic.unwrap()));
    }

    /// Removes the messages of a partition before an offset, as retention does.
    pub fn remove_before(&self, topic: &str, partition: i32, offset: i64) {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition, Offset::Offset(offset)).unwrap();
        let removed = self.admin(async |admin, options| admin.delete_records(&list, options).await);
        assert!(removed.elements().iter().all(|element| element.error().is_ok()), "{removed:?}");
    }

    fn admin<R>(&self, ask: impl AsyncFnOnce(&AdminClient<DefaultClientContext>, &AdminOptions) -> KafkaResult<R>) -> R {
        let admin: AdminClient<DefaultClientContext> = self.client().create().unwrap();
        let options = AdminOptions::new().operation_timeout(Some(TIMEOUT)).request_timeout(Some(TIMEOUT));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(ask(&admin, &options)).unwrap()
    }

    /// A producer whose transactions have this name.
    pub fn transactions(&self, name: &str) -> BaseProducer {
        let producer: BaseProducer = self.client().set("transactional.id", name).create().unwrap();
        producer.init_transactions(TIMEOUT).unwrap();
        producer
    }

    /// Writes one message with everything that a message can have.
    pub fn produce_one(&self, record: BaseRecord<'_, [u8], [u8]>) {
        let producer: BaseProducer = self.client().create().unwrap();
        producer.send(record).unwrap_or_else(|(error, _)| panic!("{error}"));
        producer.flush(TIMEOUT).unwrap();
    }

    /// Writes messages with headers, in turn to the partitions.
    pub fn produce_with_headers(&self, topic: &str, partitions: usize, messages: &[(Vec<(String, String)>, String)]) {
        let producer: BaseProducer = self.client().set("linger.ms", "20").create().unwrap();
        for (nth, (headers, payload)) in messages.iter().enumerate() {
            let headers = headers
                .iter()
                .fold(OwnedHeaders::new(), |all, (key, value)| all.insert(Header { key, value: Some(value.as_bytes()) }));
            let partition = i32::try_from(nth % partitions).unwrap();
            let record = BaseRecord::<(), str>::to(topic).partition(partition).payload(payload).headers(headers);
            producer.send(record).unwrap_or_else(|(error, _)| panic!("{error}"));
            producer.poll(Duration::ZERO);
        }
        producer.flush(TIMEOUT).unwrap();
    }

    /// Writes messages, each to the partition that its number gives (modulo the partitions); returns when all are written.
    pub fn produce<'a>(&self, topic: &str, partitions: i32, messages: impl IntoIterator<Item = (usize, &'a [u8])>) -> u64 {
        let producer: BaseProducer = self.client().set("linger.ms", "20").set("message.max.bytes", "20000000").create().unwrap();
        let mut count = 0;
        for (number, payload) in messages {
            let partition = i32::try_from(number % usize::try_from(partitions).unwrap()).unwrap();
            let key = number.to_string();
            let mut record = BaseRecord::to(topic).partition(partition).key(&key).payload(payload);
            loop {
                match producer.send(record) {
                    Ok(()) => break,
                    Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                        record = back;
                        producer.poll(Duration::from_millis(10));
                    }
                    Err((error, _)) => panic!("{topic}: {error}"),
                }
            }
            count += 1;
        }
        producer.flush(TIMEOUT).unwrap();
        count
    }

    /// Every message of a topic, as it is now.
    pub fn read(&self, topic: &str) -> Vec<OwnedMessage> {
        let consumer: BaseConsumer = self.client().set("group.id", "unused").set("enable.auto.commit", "false").create().unwrap();
        let mut list = TopicPartitionList::new();
        let mut wanted = 0;
        for partition in 0..self.partitions(&consumer, topic) {
            let (low, high) = consumer.fetch_watermarks(topic, partition, TIMEOUT).unwrap();
            wanted += high - low;
            list.add_partition_offset(topic, partition, Offset::Beginning).unwrap();
        }
        consumer.assign(&list).unwrap();
        let mut messages = Vec::new();
        while i64::try_from(messages.len()).unwrap() < wanted {
            let next = wait_for("a message", || consumer.poll(SHORT));
            messages.push(next.unwrap().detach());
        }
        messages
    }

    /// Every committed message of a topic as it is now, as a consumer with `isolation.level=read_committed` sees them.
    pub fn read_committed(&self, topic: &str) -> Vec<OwnedMessage> {
        let mut config = self.client();
        config.set("group.id", "unused").set("enable.auto.commit", "false").set("enable.partition.eof", "true");
        let consumer: BaseConsumer = config.set("isolation.level", "read_committed").create().unwrap();
        let mut list = TopicPartitionList::new();
        let mut open = self.partitions(&consumer, topic);
        for partition in 0..open {
            list.add_partition_offset(topic, partition, Offset::Beginning).unwrap();
        }
        consumer.assign(&list).unwrap();
        let mut messages = Vec::new();
        while open > 0 {
            match wait_for("a message", || consumer.poll(SHORT)) {
                Ok(message) => messages.push(message.detach()),
                Err(KafkaError::PartitionEOF(_)) => open -= 1,
                Err(error) => panic!("{topic}: {error}"),
            }
        }
        messages
    }

    /// Committed position of a group in every partition of a topic, and the partition's end.
    pub fn committed(&self, group: &str, topic: &str) -> Vec<(i64, i64)> {
        let consumer: BaseConsumer = self.client().set("group.id", group).create().unwrap();
        let mut list = TopicPartitionList::new();
        let partitions = self.partitions(&consumer, topic);
        for partition in 0..partitions {
            list.add_partition(topic, partition);
        }
        let committed = consumer.committed_offsets(list, TIMEOUT).unwrap();
        let position = |partition| committed.find_partition(topic, partition).unwrap().offset().to_raw().unwrap_or(-1);
        let end = |partition| consumer.fetch_watermarks(topic, partition, TIMEOUT).unwrap().1;
        (0..partitions).map(|partition| (position(partition), end(partition))).collect()
    }

    fn partitions(&self, consumer: &BaseConsumer, topic: &str) -> i32 {
        let metadata = consumer.fetch_metadata(Some(topic), TIMEOUT).unwrap();
        i32::try_from(metadata.topics()[0].partitions().len()).unwrap()
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // Closes the pipe; the shell does the rest.
        drop(self.child.stdin.take());
        let _ = self.child.wait();
        // A test that failed between kill and restart told the shell to keep the data.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// A header of a message as text; empty if there is none.
pub fn header(message: &OwnedMessage, name: &str) -> String {
    let headers = message.headers().into_iter().flat_map(|headers| headers.iter());
    let found = headers.filter(|header| header.key == name).find_map(|header| header.value);
    String::from_utf8_lossy(found.unwrap_or_default()).into_owned()
}

/// Starts the broker of a folder. It ends when the pipe to it closes.
fn launch(folder: &Path) -> Child {
    let jars = jars();
    let script = r#"
        test -e "$2/data" || java -Xmx200m -cp "$1" kafka.tools.StorageTool format -t dHJpcGxpbmUtdGVzdHMtMQ -c "$2/server.properties" || exit 1
        java -Xmx400m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -cp "$1" kafka.Kafka "$2/server.properties" &
        broker=$!
        cat > /dev/null
        kill -9 $broker
        wait $broker
        test -e "$2/keep" || rm -rf "$2""#;
    let log = std::fs::File::options().create(true).append(true).open(folder.join("kafka.log")).unwrap();
    Command::new("sh")
        .args(["-c", script, "kafka", &format!("{}/*", jars.display())])
        .arg(folder)
        .env("LOG_DIR", folder)
        .stdin(Stdio::piped())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap_or_else(|error| panic!("sh cannot be started: {error}"))
}

fn jars() -> PathBuf {
    let cache = || {
        let home = std::env::var_os("HOME").unwrap_or_default();
        let base = std::env::var_os("TRIPLINE_CACHE").map_or_else(|| Path::new(&home).join(".cache/tripline"), PathBuf::from);
        base.join(format!("kafka-{VERSION}/lib"))
    };
    let folder = std::env::var_os("TRIPLINE_KAFKA_LIB").map_or_else(cache, PathBuf::from);
    let jar = folder.join(format!("kafka_2.13-{VERSION}.jar"));
    assert!(jar.exists(), "{} is not there; `make setup` fetches Kafka's jars (or set TRIPLINE_KAFKA_LIB)", jar.display());
    folder
}

fn settings(folder: &Path, plain: u16, guarded: u16, controller: u16) -> String {
    let (user, password) = USER;
    let data = folder.join("data");
    format!(
        "process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAIN://127.0.0.1:{plain},GUARDED://127.0.0.1:{guarded},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAIN://127.0.0.1:{plain},GUARDED://127.0.0.1:{guarded}
listener.security.protocol.map=PLAIN:PLAINTEXT,GUARDED:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=PLAIN
controller.listener.names=CONTROLLER
listener.name.guarded.sasl.enabled.mechanisms=PLAIN
listener.name.guarded.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_{user}=\"{password}\";
log.dirs={}
message.max.bytes=12000000
auto.create.topics.enable=false
group.initial.rebalance.delay.ms=0
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
transaction.abort.timed.out.transaction.cleanup.interval.ms=500
",
        data.display()
    )
}
