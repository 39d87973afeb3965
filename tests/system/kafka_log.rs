//! What a real log does beside holding records: messages without a value, retention, transactions, new partitions, a topic made anew.

use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};

use super::kafka::{config, keyed, wait_until_seen};
use super::support::daemon::{TIMEOUT, wait_for};
use super::support::data::Cut;
use super::support::kafka::Broker;
use super::support::service::Service;

const CUT: Cut = Cut("10_hopskipjump_fast");

/// Waits until the group's position is the end of every partition that has records.
fn wait_until_committed(broker: &Broker, topic: &str) {
    wait_for("the commit of everything", || {
        broker.committed(topic, topic).iter().all(|(at, end)| at == end || *end == 0).then_some(())
    });
}

/// Sends lines in a transaction that is open.
fn send(producer: &BaseProducer, topic: &str, partition: i32, lines: &[String]) {
    for line in lines {
        producer
            .send(BaseRecord::<(), str>::to(topic).partition(partition).payload(line))
            .unwrap_or_else(|(error, _)| panic!("{error}"));
    }
    producer.flush(TIMEOUT).unwrap();
}

#[test]
fn messages_without_a_value_are_counted_and_committed_and_no_dead_letters() {
    let (broker, folder) = (Broker::shared(), tempfile::tempdir().unwrap());
    let topic = broker.topic("tombstones", 1);
    let reference = CUT.fit(folder.path());
    let produced = broker.produce(&topic, 1, keyed(&CUT.lines()[..100]));
    for _ in 0..3 {
        broker.produce_one(BaseRecord::to(&topic).partition(0).key(b"k"));
    }
    let mut service = Service::start(folder.path(), "one", &config(&broker.address, &topic, &reference, "")).ready();
    wait_until_seen(&mut [&mut service], produced);
    service.wait_for("the tombstones", |service| service.metric("tripline_tombstones_total", &topic).filter(|count| *count > 2.5));
    wait_until_committed(broker, &topic);
    let counts = service.stop();
    assert_eq!((counts.sum(), counts.rejected), (produced, 0));
    assert!(broker.read(&format!("{topic}.dlq")).is_empty());
}

#[test]
fn records_that_retention_removed_before_they_were_read_are_counted_and_said() {
    let (broker, folder) = (Broker::shared(), tempfile::tempdir().unwrap());
    let topic = broker.topic("retention", 1);
    let reference = CUT.fit(folder.path());
    let lines = CUT.lines();
    let text = config(&broker.address, &topic, &reference, "");
    let skipped = |service: &Service| service.metric("tripline_skipped_records_total", &topic);
    broker.produce(&topic, 1, keyed(&lines[..500]));
    let mut first = Service::start(folder.path(), "first", &text).ready();
    wait_until_seen(&mut [&mut first], 500);
    wait_until_committed(broker, &topic);
    assert_eq!(skipped(&first), Some(0.0));
    // While it reads nothing, records come and go again.
    first.signal("-STOP");
    // The first of them answers the request that is under way, so that the others are asked for only when they are gone.
    broker.produce(&topic, 1, keyed(&lines[500..501]));
    broker.produce(&topic, 1, keyed(&lines[501..1_500]));
    broker.remove_before(&topic, 0, 1_200);
    first.signal("-CONT");
    first.wait_for("the loss", |first| skipped(first).filter(|count| *count > 0.5));
    first.wait_for("the rest", |first| (first.seen() > 800.5).then_some(()));
    let counted = skipped(&first).unwrap();
    let seen = first.seen();
    assert!((counted + seen - 1_500.0).abs() < 0.5, "{counted} + {seen}: every record is read or counted");
    assert!(first.words().contains("removed records before they were read"), "{}", first.words());
    wait_until_committed(broker, &topic);
    first.stop();
    // The same while nobody is there.
    broker.produce(&topic, 1, keyed(&lines[1_500..2_000]));
    broker.remove_before(&topic, 0, 1_900);
    let mut second = Service::start(folder.path(), "second", &text).ready();
    second.wait_for("the rest", |second| (second.seen() > 99.5).then_some(()));
    assert_eq!(skipped(&second), Some(400.0));
    assert_eq!(second.stop().sum(), 100);
}

#[test]
fn transactions_that_end_or_abort_leave_no_lag_and_one_that_hangs_stops_no_other_partition() {
    let (broker, folder) = (Broker::shared(), tempfile::tempdir().unwrap());
    let topic = broker.topic("transactions", 2);
    let reference = CUT.fit(folder.path());
    let lines = CUT.lines();
    let producer = broker.transactions(&topic);
    let mut service = Service::start(folder.path(), "one", &config(&broker.address, &topic, &reference, "")).ready();
    for (nth, batch) in lines[..100].chunks(20).enumerate() {
        producer.begin_transaction().unwrap();
        send(&producer, &topic, 0, batch);
        if nth % 2 == 0 { producer.commit_transaction(TIMEOUT) } else { producer.abort_transaction(TIMEOUT) }.unwrap();
    }
    wait_until_seen(&mut [&mut service], 60);
    // Marks included: what tools outside read as lag is zero, too.
    wait_until_committed(broker, &topic);
    assert_eq!(broker.committed(&topic, &topic)[0].0, 105);

    let hanging = broker.transactions(&format!("{topic}-hanging"));
    hanging.begin_transaction().unwrap();
    send(&hanging, &topic, 0, &lines[100..110]);
    broker.produce(&topic, 1, lines[110..120].iter().map(|line| (0, line.as_bytes())));
    service.wait_for("the open transaction", |service| {
        service.metric("tripline_open_transaction_records", "partition=\"0\"").filter(|records| *records > 19.5)
    });
    broker.produce(&topic, 2, lines[120..200].iter().map(|line| (1, line.as_bytes())));
    // The other partition goes on, and what nobody may read is no lag.
    wait_until_seen(&mut [&mut service], 140);
    assert_eq!(service.metric("tripline_skipped_records_total", &topic), Some(0.0));
    hanging.commit_transaction(TIMEOUT).unwrap();
    wait_until_seen(&mut [&mut service], 160);
    wait_until_committed(broker, &topic);
    assert_eq!(service.metric("tripline_open_transaction_records", ""), Some(0.0));
    let counts = service.stop();
    assert_eq!((counts.sum(), counts.rejected), (160, 0));
}

#[test]
fn new_partitions_are_read_from_their_beginning_without_a_restart() {
    let (broker, folder) = (Broker::shared(), tempfile::tempdir().unwrap());
    let topic = broker.topic("growing", 1);
    let reference = CUT.fit(folder.path());
    let lines = CUT.lines();
    broker.produce(&topic, 1, keyed(&lines[..50]));
    let mut service = Service::start(folder.path(), "one", &config(&broker.address, &topic, &reference, "")).ready();
    wait_until_seen(&mut [&mut service], 50);
    broker.add_partitions(&topic, 3);
    broker.produce(&topic, 3, lines[50..110].iter().enumerate().map(|(nth, line)| (nth, line.as_bytes())));
    wait_until_seen(&mut [&mut service], 110);
    assert_eq!(service.stop().sum(), 110);
}

#[test]
fn a_topic_that_is_made_anew_is_waited_for_and_read_from_its_beginning() {
    let (broker, folder) = (Broker::shared(), tempfile::tempdir().unwrap());
    let topic = broker.topic("anew", 1);
    let reference = CUT.fit(folder.path());
    let lines = CUT.lines();
    broker.produce(&topic, 1, keyed(&lines[..200]));
    // Metadata are asked for often, so that the test need not wait for it.
    let options = "[source.kafka.options]\n\"topic.metadata.refresh.interval.ms\" = 1000\n";
    let mut service = Service::start(folder.path(), "one", &config(&broker.address, &topic, &reference, options)).ready();
    wait_until_seen(&mut [&mut service], 200);
    wait_until_committed(broker, &topic);
    broker.delete_topic(&topic);
    service.wait_for("the loss to be said", |service| service.words().contains("a topic is gone").then_some(()));
    broker.make_topic(&topic, 1, &[]);
    broker.produce(&topic, 1, keyed(&lines[200..250]));
    service.wait_for("the new log", |service| (service.seen() > 249.5).then_some(()));
    wait_until_committed(broker, &topic);
    assert_eq!(broker.committed(&topic, &topic), [(50, 50)]);
    service.wait_for("readiness", |service| service.get("/readyz").filter(|(status, _)| *status == 200));
    assert_eq!(service.stop().sum(), 250);
}
