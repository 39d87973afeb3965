//! The producer against a mock cluster that speaks Kafka's protocol within this process and fails on demand.

use prometheus::Registry;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{Headers as _, Message as _, OwnedMessage};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

use super::*;
use crate::event::{EventTime, Provenance};
use crate::judge::Finding;
use crate::observer::Original;

/// Longest wait for the mock cluster, which answers within milliseconds.
const PATIENCE: Duration = Duration::from_secs(30);

struct Bench {
    cluster: MockCluster<'static, DefaultProducerContext>,
    metrics: Metrics,
    producer: KafkaProducer,
}

impl Bench {
    fn new(topics: &[&str]) -> Self {
        let cluster = MockCluster::new(1).unwrap();
        topics.iter().for_each(|topic| cluster.create_topic(topic, 1, 1).unwrap());
        let metrics = Metrics::register(&Registry::new()).unwrap();
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", cluster.bootstrap_servers());
        config.set("enable.idempotence", "true").set("linger.ms", "0").set("reconnect.backoff.max.ms", "100");
        let producer = KafkaProducer::new(&config, metrics.clone()).unwrap();
        Self { cluster, metrics, producer }
    }

    fn sent(&self, receiver: &str, outcome: &str) -> u64 {
        let series = format!("tripline_alerts_sent_total{{outcome=\"{outcome}\",receiver=\"{receiver}\"}} ");
        let text = self.metrics.render(None).unwrap();
        text.lines().find_map(|line| line.strip_prefix(&series)?.parse().ok()).unwrap()
    }

    fn read(&self, topic: &str, count: usize) -> Vec<OwnedMessage> {
        let mut config = ClientConfig::new();
        let consumer: BaseConsumer =
            config.set("bootstrap.servers", self.cluster.bootstrap_servers()).set("group.id", "test").create().unwrap();
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, 0, Offset::Beginning).unwrap();
        consumer.assign(&list).unwrap();
        (0..count).map(|_| consumer.poll(PATIENCE).unwrap().unwrap().detach()).collect()
    }
}

fn soon() -> Deadline {
    Deadline::after(PATIENCE)
}

fn verdict(case: Option<&str>) -> Verdict {
    let at = EventTime::from_micros(1_772_442_900_000_000);
    Verdict { case: case.map(str::to_owned), ..Verdict::new(at, Scope::Model, "adult", Finding::Drift) }
}

#[test]
fn verdicts_arrive_in_order_keyed_by_case_or_model_and_are_counted() {
    let bench = Bench::new(&["verdicts"]);
    let mut sink = VerdictTopic::new(bench.producer.clone(), "verdicts".into(), &bench.metrics);
    sink.deliver(&verdict(Some("c-1"))).unwrap();
    sink.deliver(&verdict(None)).unwrap();
    assert_eq!(sink.flush(soon()).unwrap(), Flushed::Done);
    let messages = bench.read("verdicts", 2);
    let keys: Vec<_> = messages.iter().map(|message| message.key().unwrap()).collect();
    assert_eq!(keys, [b"c-1".as_slice(), b"adult"]);
    let line = serde_json::to_vec(&verdict(None)).unwrap();
    assert_eq!(messages[1].payload(), Some(line.as_slice()), "a message is the verdict's line");
    assert_eq!((bench.sent("kafka_verdicts", "delivered"), bench.sent("kafka_verdicts", "failed")), (2, 0));
}

#[test]
fn a_flush_whose_deadline_has_passed_waits_for_nobody_and_a_later_one_delivers() {
    let bench = Bench::new(&["verdicts"]);
    let mut sink = VerdictTopic::new(bench.producer.clone(), "verdicts".into(), &bench.metrics);
    bench.cluster.broker_down(1).unwrap();
    sink.deliver(&verdict(None)).unwrap();
    assert_eq!(sink.flush(Deadline::after(Duration::ZERO)).unwrap(), Flushed::Pending);
    assert_eq!(bench.sent("kafka_verdicts", "delivered"), 0);
    bench.cluster.broker_up(1).unwrap();
    assert_eq!(sink.flush(soon()).unwrap(), Flushed::Done);
    assert_eq!(bench.sent("kafka_verdicts", "delivered"), 1);
}

#[test]
fn a_refused_delivery_fails_every_flush_from_then_on_with_the_topic_and_a_remedy() {
    let bench = Bench::new(&["verdicts"]);
    let mut sink = VerdictTopic::new(bench.producer.clone(), "verdicts".into(), &bench.metrics);
    bench.cluster.request_errors(RDKafkaApiKey::Produce, &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED]);
    sink.deliver(&verdict(None)).unwrap();
    let error = sink.flush(soon()).unwrap_err().to_string();
    assert!(error.contains("'verdicts'") && error.contains("permissions"), "{error}");
    assert!(sink.flush(soon()).is_err(), "nothing behind a lost verdict is ever committed");
    assert!(sink.deliver(&verdict(None)).is_err());
    assert_eq!(bench.sent("kafka_verdicts", "failed"), 1);
}

#[test]
fn a_dead_letter_goes_to_the_topic_of_its_source_with_its_own_headers_and_why() {
    let bench = Bench::new(&["a.dlq", "b.dlq"]);
    let mut sink = DeadLetterTopic::new(bench.producer.clone(), "{topic}.dlq".into(), &bench.metrics);
    let headers = [("trace".into(), Some(b"1".as_slice().into())), (format!("{HEADER_PREFIX}reason").into(), None)];
    let original = Original { key: Some(b"k"), payload: Some(b"{"), headers: &headers };
    for topic in ["a", "b"] {
        let provenance = Provenance { topic: topic.into(), partition: 3, offset: 42, row: 0 };
        sink.deliver(&DeadLetter { provenance: &provenance, original, reason: "truncated", message: "it ends" }).unwrap();
    }
    assert_eq!(sink.flush(soon()).unwrap(), Flushed::Done);
    for topic in ["a", "b"] {
        let letter = bench.read(&format!("{topic}.dlq"), 1).remove(0);
        assert_eq!((letter.key(), letter.payload()), (Some(b"k".as_slice()), Some(b"{".as_slice())));
        let headers = letter.headers().unwrap();
        let value = |header: rdkafka::message::Header<'_, &[u8]>| String::from_utf8(header.value.unwrap().to_vec()).unwrap();
        let found: Vec<(String, String)> = headers.iter().map(|header| (header.key.to_owned(), value(header))).collect();
        let why = |name: &str, value: &str| (format!("{HEADER_PREFIX}{name}"), value.to_owned());
        let expected = [
            ("trace".to_owned(), "1".to_owned()),
            why("reason", "truncated"),
            why("message", "it ends"),
            why("topic", topic),
            why("partition", "3"),
            why("offset", "42"),
        ];
        assert_eq!(found, expected, "an older reason is replaced");
    }
}

#[test]
fn a_dead_letter_that_is_too_large_for_its_topic_is_sent_again_in_part() {
    let bench = Bench::new(&["t.dlq"]);
    let mut sink = DeadLetterTopic::new(bench.producer.clone(), "{topic}.dlq".into(), &bench.metrics);
    bench.cluster.request_errors(RDKafkaApiKey::Produce, &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE]);
    let payload = vec![b'x'; 2 * CUT_BYTES];
    let original = Original { payload: Some(&payload), ..Original::default() };
    let provenance = Provenance { topic: "t".into(), ..Provenance::default() };
    sink.deliver(&DeadLetter { provenance: &provenance, original, reason: "too_large", message: "long" }).unwrap();
    // The first flush sends the part, which may or may not have arrived when it returns.
    let flushes = (1..=2).find(|_| sink.flush(soon()).unwrap() == Flushed::Done);
    assert!(flushes.is_some(), "the part arrives");
    let letter = bench.read("t.dlq", 1).remove(0);
    assert_eq!(letter.payload().map(<[u8]>::len), Some(CUT_BYTES));
    let headers = letter.headers().unwrap();
    let cut = headers.iter().find(|header| header.key == format!("{HEADER_PREFIX}cut_from_bytes")).unwrap();
    assert_eq!(cut.value, Some((2 * CUT_BYTES).to_string().as_bytes()));
}
