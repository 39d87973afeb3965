//! The service on a real Apache Kafka: everything produced is counted once while members join and leave; rejected records are kept
//! with their reason; a fault of the setup is reported in one sentence.

use std::path::Path;
use std::time::Duration;

use rdkafka::message::Message as _;
use tripline::source::feed::{Feed as _, FeedEvent, Partition, RecordBatch, Start};
use tripline::source::kafka::KafkaFeed;
use tripline::source::kafka::config::KafkaConfig;

use super::support::daemon::wait_for;
use super::support::data::{Cut, text};
use super::support::kafka::{Broker, USER, header};
use super::support::program;
use super::support::service::{Counts, Service};

const CUT: Cut = Cut("10_hopskipjump_fast");

/// A configuration of the service; `more` goes to the end.
pub(super) fn config(broker: &str, topic: &str, reference: &Path, more: &str) -> String {
    format!(
        "[source.kafka]\nbrokers = \"{broker}\"\ntopics = [\"{topic}\"]\ngroup = \"{topic}\"\nconnect_timeout = \"2s\"\n\
         [[models]]\nreference = \"{}\"\n\
         [runtime]\ncommit_interval = \"500ms\"\nstatus_interval = \"500ms\"\nidle_after = \"2s\"\n{more}",
        reference.display()
    )
}

/// The lines with the partition that their caller's address gives.
pub(super) fn keyed(lines: &[String]) -> impl Iterator<Item = (usize, &[u8])> {
    lines.iter().map(|line| {
        let address = line.split(r#""source_ip":""#).nth(1).and_then(|rest| rest.split('"').next()).unwrap_or_default();
        (address.bytes().map(usize::from).sum(), line.as_bytes())
    })
}

/// Waits until so much went through the services together and nothing is left in the topic.
pub(super) fn wait_until_seen(services: &mut [&mut Service], produced: u64) {
    let (first, others) = services.split_first_mut().unwrap();
    first.wait_for(&format!("{produced} events"), |first| {
        let seen = first.seen() + others.iter().map(|other| other.seen()).sum::<f64>();
        #[expect(clippy::cast_precision_loss, reason = "counts of a test")]
        (seen >= produced as f64).then_some(())
    });
    for service in services {
        service.wait_for("no lag", |service| service.metric("tripline_consumer_lag_records", "").filter(|lag| *lag < 0.5));
    }
}

#[test]
fn what_was_produced_is_accepted_late_or_rejected_and_kept_with_its_reason() {
    let (broker, folder) = (Broker::shared(), tempfile::tempdir().unwrap());
    let topic = broker.topic("bad", 3);
    let reference = CUT.fit(folder.path());
    let lines = CUT.lines();
    let mut produced = broker.produce(&topic, 3, keyed(&lines));
    let mut service = Service::start(folder.path(), "one", &config(&broker.address, &topic, &reference, "")).ready();
    wait_until_seen(&mut [&mut service], produced);

    // One event long behind the watermark, and one of each kind of fault.
    let late: Vec<String> = lines[..50].to_vec();
    let unknown = lines[0].replace(r#""model":"adult""#, r#""model":"nobody""#);
    let future = lines[0].replace("2026-", "2088-");
    let huge = lines[0].replace(r#""model""#, &format!(r#""pad":"{}","model""#, "x".repeat(10_000_000)));
    let bad: [(&[u8], &str); 6] = [
        (b"\xff\xfe garbage", "not_utf8"),
        (b"{\"timestamp\":", "truncated"),
        (b"", "truncated"),
        (unknown.as_bytes(), "unknown_model"),
        (future.as_bytes(), "from_the_future"),
        (huge.as_bytes(), "too_large"),
    ];
    produced += broker.produce(&topic, 3, late.iter().map(|line| (0, line.as_bytes())));
    produced += broker.produce(&topic, 3, bad.iter().map(|(payload, _)| (1, *payload)));
    wait_until_seen(&mut [&mut service], produced);
    let rejected: Vec<f64> =
        bad.iter().map(|(_, reason)| service.metric("tripline_rejected_total", &format!("\"{reason}\"")).unwrap()).collect();
    let counts = service.stop();
    assert_eq!(counts.sum(), produced);
    assert_eq!((counts.late, counts.rejected), (50, 6), "{counts:?}");
    assert!(rejected.iter().all(|count| *count > 0.5), "{rejected:?}");
    for (position, end) in broker.committed(&topic, &topic) {
        assert_eq!(position, end, "everything is committed");
    }

    let letters = broker.read(&format!("{topic}.dlq"));
    assert_eq!(letters.len(), bad.len() + late.len());
    let kept: Vec<_> = letters.iter().filter(|letter| header(letter, "__tripline.errors.reason") == "late").collect();
    assert_eq!(kept.len(), late.len(), "late events were used, and are kept all the same");
    for (line, letter) in late.iter().zip(kept) {
        assert_eq!(letter.payload(), Some(line.as_bytes()));
        assert!(header(letter, "__tripline.errors.message").contains("behind the watermark"));
    }
    for (payload, reason) in bad {
        let letter = letters.iter().find(|letter| letter.payload().unwrap_or_default() == payload).expect(reason);
        assert_eq!(header(letter, "__tripline.errors.reason"), reason);
        assert_eq!(header(letter, "__tripline.errors.topic"), topic);
        assert_eq!(header(letter, "__tripline.errors.partition"), "1");
        assert!(!header(letter, "__tripline.errors.offset").is_empty() && !header(letter, "__tripline.errors.message").is_empty());
        assert_eq!(letter.key(), Some(b"1".as_slice()), "the original key");
    }
}

#[test]
fn a_second_instance_joins_and_leaves_and_everything_is_counted_once() {
    let (broker, folder) = (Broker::shared(), tempfile::tempdir().unwrap());
    let topic = broker.topic("members", 4);
    let reference = CUT.fit(folder.path());
    let lines = CUT.lines();
    let config = config(&broker.address, &topic, &reference, "keyed_by_model = true\n");
    let mut produced = 0;
    let quarter = lines.len() / 4;
    let parts: Vec<&[String]> = lines.chunks(quarter + 1).collect();

    let mut first = Service::start(folder.path(), "first", &config).ready();
    produced += broker.produce(&topic, 4, keyed(parts[0]));
    // The second member joins while the first works.
    let mut second = Service::start(folder.path(), "second", &config);
    produced += broker.produce(&topic, 4, keyed(parts[1]));
    second.wait_for("its share", |second| second.metric("tripline_consumer_lag_records", ""));
    produced += broker.produce(&topic, 4, keyed(parts[2]));
    wait_until_seen(&mut [&mut first, &mut second], produced);
    // It leaves while there is still a backlog.
    produced += broker.produce(&topic, 4, keyed(parts[3]));
    let left: Counts = second.stop();
    assert!(left.sum() > 0, "the second had a share of the work");
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts of a test")]
    first.wait_for("the rest", |first| (first.seen() as u64 + left.sum() >= produced).then_some(()));
    first.wait_for("all partitions and no lag", |first| {
        let (_, text) = first.get("/metrics")?;
        let lags = text.lines().filter(|line| line.starts_with("tripline_consumer_lag_records{"));
        let lags: Vec<&str> = lags.map(|line| line.rsplit(' ').next().unwrap_or_default()).collect();
        (lags == ["0"; 4]).then_some(())
    });
    let stayed = first.stop();
    assert_eq!(stayed.sum() + left.sum(), produced, "{stayed:?} {left:?}");
    assert_eq!(stayed.rejected + left.rejected, 0);
    for (position, end) in broker.committed(&topic, &topic) {
        assert_eq!(position, end, "everything is committed");
    }
}

#[test]
fn after_a_kill_nothing_is_lost() {
    let (broker, folder) = (Broker::shared(), tempfile::tempdir().unwrap());
    let topic = broker.topic("killed", 2);
    let reference = CUT.fit(folder.path());
    let lines = CUT.lines();
    // A short session, so that the group notices the death soon.
    let config = config(&broker.address, &topic, &reference, "[source.kafka.options]\n\"session.timeout.ms\" = 6000\n");
    let produced = broker.produce(&topic, 2, keyed(&lines));
    let mut first = Service::start(folder.path(), "first", &config).ready();
    first.wait_for("some work", |first| (first.seen() > 100.0).then_some(()));
    first.signal("-KILL");
    assert_eq!(first.ended(), None, "killed");
    let before: i64 = broker.committed(&topic, &topic).iter().map(|(position, _)| (*position).max(0)).sum();
    let mut second = Service::start(folder.path(), "second", &config);
    second.wait_for("the rest", |second| second.metric("tripline_consumer_lag_records", "").filter(|lag| *lag < 0.5));
    let counts = second.stop();
    // The second begins exactly at the offset that the first had committed.
    assert_eq!(i64::try_from(counts.sum()).unwrap(), i64::try_from(produced).unwrap() - before);
}

#[test]
fn a_broker_that_dies_and_comes_back_is_waited_for_and_nothing_is_lost() {
    let (mut broker, folder) = (Broker::start(), tempfile::tempdir().unwrap());
    let topic = broker.topic("restarted", 2);
    let reference = CUT.fit(folder.path());
    let lines = CUT.lines();
    let (before, after) = lines.split_at(lines.len() / 2);
    let mut produced = broker.produce(&topic, 2, keyed(before));
    let mut service = Service::start(folder.path(), "one", &config(&broker.address, &topic, &reference, "")).ready();
    wait_until_seen(&mut [&mut service], produced);
    service.wait_for("its commits", |_| broker.committed(&topic, &topic).iter().all(|(at, end)| at == end).then_some(()));
    broker.kill();
    service.wait_for("the loss to be noticed", |service| service.get("/readyz").filter(|(status, _)| *status == 503));
    assert_eq!(service.get("/livez").unwrap().0, 200, "a broker that is away is no reason to be restarted");
    broker.restart();
    service.wait_for("readiness", |service| service.get("/readyz").filter(|(status, _)| *status == 200));
    produced += broker.produce(&topic, 2, keyed(after));
    wait_until_seen(&mut [&mut service], produced);
    assert_eq!(service.stop().sum(), produced);
}

#[test]
fn the_group_protocol_of_kafka_4_works_as_well() {
    let (broker, folder) = (Broker::shared(), tempfile::tempdir().unwrap());
    let topic = broker.topic("protocol", 2);
    let reference = CUT.fit(folder.path());
    let more = "keyed_by_model = true\n[source.kafka.options]\n\"group.protocol\" = \"consumer\"\n";
    let config = config(&broker.address, &topic, &reference, more);
    let lines = CUT.lines();
    let (some, rest) = lines.split_at(5_000);
    let mut produced = broker.produce(&topic, 2, keyed(some));
    let mut first = Service::start(folder.path(), "first", &config).ready();
    let mut second = Service::start(folder.path(), "second", &config);
    second.wait_for("its share", |second| second.metric("tripline_consumer_lag_records", ""));
    produced += broker.produce(&topic, 2, keyed(rest));
    wait_until_seen(&mut [&mut first, &mut second], produced);
    assert_eq!(second.stop().sum() + first.stop().sum(), produced);
}

#[test]
fn a_dead_letter_that_is_too_large_for_its_topic_is_kept_in_part() {
    let (broker, folder) = (Broker::shared(), tempfile::tempdir().unwrap());
    let topic = broker.topic("large", 1);
    let letters = format!("{topic}.dlq");
    broker.make_topic(&letters, 1, &[("max.message.bytes", "200000")]);
    let reference = CUT.fit(folder.path());
    // Random letters do not compress, so the broker sees the full size.
    let garbage: Vec<u8> = (0_u64..1_000_000).map(|i| (tripline::hash::mix(i) >> 56) as u8).collect();
    let produced = broker.produce(&topic, 1, [(0, garbage.as_slice()), (0, b"small".as_slice())]);
    let mut service = Service::start(folder.path(), "one", &config(&broker.address, &topic, &reference, "")).ready();
    wait_until_seen(&mut [&mut service], produced);
    assert_eq!(service.stop().rejected, 2);
    let mut kept = broker.read(&letters);
    kept.sort_by_key(|letter| letter.payload().map(<[u8]>::len));
    assert_eq!(kept[0].payload(), Some(b"small".as_slice()));
    assert_eq!(kept[1].payload(), Some(&garbage[..64 * 1024]));
    assert_eq!(header(&kept[1], "__tripline.errors.cut_from_bytes"), "1000000");
    assert_eq!(header(&kept[1], "__tripline.errors.reason"), "not_utf8");
}

#[test]
fn a_feed_begins_at_the_offsets_that_answer_its_assignment() {
    let (broker, folder) = (Broker::shared(), tempfile::tempdir().unwrap());
    let topic = broker.topic("offsets", 2);
    let messages: Vec<String> = (0..20).map(|number| number.to_string()).collect();
    broker.produce(&topic, 2, messages.iter().enumerate().map(|(number, text)| (number, text.as_bytes())));
    let config = KafkaConfig {
        brokers: broker.address.clone(),
        topics: vec![topic.clone()],
        group: topic.clone(),
        ..KafkaConfig::default()
    };
    let mut feed = KafkaFeed::join(&config, folder.path(), &|| false).unwrap();
    let mut batch = RecordBatch::default();
    let assigned = wait_for("the assignment", || {
        feed.poll(&mut batch, 100, Duration::from_millis(100)).unwrap();
        std::iter::from_fn(|| feed.next_event()).find_map(|event| match event {
            FeedEvent::Assigned(partitions) => Some(partitions),
            _ => None,
        })
    });
    assert_eq!(assigned.len(), 2);
    for _ in 0..10 {
        feed.poll(&mut batch, 100, Duration::from_millis(100)).unwrap();
    }
    assert!(batch.is_empty(), "nothing is handed out before the answer");
    // The first partition begins in the middle; the other one, which is not listed, where the group is: at the beginning.
    let first = Partition::new(topic.as_str(), 0);
    feed.begin(&assigned, &Start::At(vec![(first.clone(), 7)])).unwrap();
    wait_for("the rest of both", || {
        feed.poll(&mut batch, 100, Duration::from_millis(100)).unwrap();
        while feed.next_event().is_some() {}
        (batch.len() >= 13).then_some(())
    });
    for _ in 0..10 {
        feed.poll(&mut batch, 100, Duration::from_millis(100)).unwrap();
    }
    let offsets = |number: i32| -> Vec<i64> {
        let of = (0..batch.len()).filter(|index| batch.partition(*index).number == number);
        of.map(|index| batch.offset(index)).collect()
    };
    assert_eq!(offsets(0), [7, 8, 9], "and not one message from before");
    assert_eq!(offsets(1), (0..10).collect::<Vec<i64>>());
    feed.close(Duration::from_secs(10));
}

#[test]
fn an_empty_topic_is_ready_without_lag_and_ends_in_order() {
    let (broker, folder) = (Broker::shared(), tempfile::tempdir().unwrap());
    let topic = broker.topic("empty", 2);
    let reference = CUT.fit(folder.path());
    let mut service = Service::start(folder.path(), "one", &config(&broker.address, &topic, &reference, "")).ready();
    service.wait_for("no lag", |service| service.metric("tripline_consumer_lag_records", "").filter(|lag| *lag < 0.5));
    assert_eq!(service.stop(), Counts::default());
}

#[test]
fn verdicts_go_to_the_topic_and_to_the_file() {
    let (broker, folder) = (Broker::shared(), tempfile::tempdir().unwrap());
    let (topic, verdicts) = (broker.topic("verdicts-of", 1), broker.topic("verdicts", 1));
    let reference = CUT.fit(folder.path());
    let more = format!("[sink.verdicts]\ntopic = \"{verdicts}\"\nfile = \"verdicts.jsonl\"\n");
    let produced = broker.produce(&topic, 1, keyed(&CUT.lines()));
    let mut service = Service::start(folder.path(), "one", &config(&broker.address, &topic, &reference, &more)).ready();
    wait_until_seen(&mut [&mut service], produced);
    let counts = service.stop();
    let lines = std::fs::read_to_string(folder.path().join("verdicts.jsonl")).unwrap();
    let messages = broker.read(&verdicts);
    assert_eq!(u64::try_from(messages.len()).unwrap(), counts.verdicts);
    let sent: Vec<&str> = messages.iter().map(|message| std::str::from_utf8(message.payload().unwrap()).unwrap()).collect();
    assert_eq!(sent, lines.lines().collect::<Vec<_>>());
    assert!(counts.verdicts > 0, "the attack in the recording is found");
    for message in &messages {
        let verdict: serde_json::Value = serde_json::from_slice(message.payload().unwrap()).unwrap();
        let key = verdict.get("case").unwrap_or(&verdict["model"]).as_str().unwrap();
        assert_eq!(message.key(), Some(key.as_bytes()));
    }
}

#[test]
fn wrong_credentials_are_said_and_right_ones_from_a_file_work() {
    let (broker, folder) = (Broker::shared(), tempfile::tempdir().unwrap());
    let topic = broker.topic("guarded", 1);
    let reference = CUT.fit(folder.path());
    let secret = folder.path().join("password");
    let options = format!(
        "[source.kafka.options]\n\"security.protocol\" = \"SASL_PLAINTEXT\"\n\"sasl.mechanism\" = \"PLAIN\"\n\
         \"sasl.username\" = \"{}\"\n\"sasl.password\" = \"${{file:password}}\"\n",
        USER.0
    );
    let file = folder.path().join("guarded.toml");
    let guarded = config(&broker.guarded, &topic, &reference, &options);
    std::fs::write(&file, format!("{guarded}\n[server]\nmetrics = \"127.0.0.1:0\"\n")).unwrap();
    std::fs::write(&secret, "open barley\n").unwrap();
    for arguments in [["run", "--config", text(&file)], ["check", "--connect", text(&file)]] {
        let ended = program::run(&arguments);
        ended.must_fail(64, &["refuses this client", "credentials", &broker.guarded]);
        assert!(!ended.err.contains("barley") && !ended.out.contains("barley"), "a secret was shown");
    }
    std::fs::write(&secret, USER.1).unwrap();
    program::run(&["check", "--connect", text(&file)]).must_succeed();
    let produced = broker.produce(&topic, 1, keyed(&CUT.lines()[..10]));
    let mut service = Service::start(folder.path(), "one", &guarded).ready();
    wait_until_seen(&mut [&mut service], produced);
    assert_eq!(service.stop().sum(), produced);
}

#[test]
fn a_missing_topic_is_said() {
    let (broker, folder) = (Broker::shared(), tempfile::tempdir().unwrap());
    let reference = CUT.fit(folder.path());
    let file = folder.path().join("missing.toml");
    std::fs::write(&file, config(&broker.address, "no-such-topic", &reference, "[server]\nmetrics = \"127.0.0.1:0\"\n")).unwrap();
    program::run(&["run", "--config", text(&file)]).must_fail(66, &["'no-such-topic' does not exist", &broker.address]);
    program::run(&["check", "--connect", text(&file)]).must_fail(66, &["'no-such-topic' does not exist"]);
}

#[test]
fn a_broker_that_is_not_there_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let reference = CUT.fit(folder.path());
    let nobody = format!("127.0.0.1:{}", super::support::daemon::free_port());
    let file = folder.path().join("nobody.toml");
    std::fs::write(&file, config(&nobody, "predictions", &reference, "[server]\nmetrics = \"127.0.0.1:0\"\n")).unwrap();
    program::run(&["run", "--config", text(&file)]).must_fail(74, &["cannot be reached", &nobody, "source.kafka.brokers"]);
    program::run(&["check", "--connect", text(&file)]).must_fail(74, &["cannot be reached", &nobody]);
}

#[test]
fn check_tells_every_fault_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("faulty.toml");
    std::fs::write(
        &file,
        "[source.kafka]\nbroker = \"b:9092\"\ntopics = []\n[source.kafka.options]\n\"sasl.password\" = \"x\"\n[runtime]\nidle_after = \"10\"\n",
    )
    .unwrap();
    let ended = program::run(&["check", text(&file)]);
    ended.must_fail(64, &["line 2", "did you mean 'brokers'?", "line 3", "line 5", "a secret must not stand", "line 7", "models"]);
    program::run(&["run", "--config", text(&file)]).must_fail(64, &["did you mean 'brokers'?"]);
    program::run(&["check", "/nowhere/tripline.toml"]).must_fail(66, &["/nowhere/tripline.toml"]);
    program::run(&["check", "--example"]).must_succeed();
}

#[test]
fn a_wrong_librdkafka_option_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let reference = CUT.fit(folder.path());
    let file = folder.path().join("option.toml");
    let options = "[source.kafka.options]\n\"fetch.wait.max.msec\" = 5\n";
    std::fs::write(&file, config("127.0.0.1:9", "t", &reference, options)).unwrap();
    program::run(&["check", "--connect", text(&file)]).must_fail(64, &["fetch.wait.max.msec", "source.kafka.options"]);
}

#[test]
fn a_reference_that_is_missing_or_damaged_is_said_before_anything_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("reference.toml");
    let missing = folder.path().join("missing.json");
    std::fs::write(&file, config("127.0.0.1:9", "t", &missing, "")).unwrap();
    program::run(&["run", "--config", text(&file)]).must_fail(66, &["missing.json"]);
    std::fs::write(&missing, "{\"schema\":99}").unwrap();
    program::run(&["check", text(&file)]).must_fail(64, &["missing.json", "99"]);
}
