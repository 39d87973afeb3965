//! Calls that are logged in halves: joined over partitions, held in front of the commit, read again after a crash.

use super::snapshots::Kept;
use super::*;
use crate::decode::Format;

/// Lets a bench read KServe's CloudEvents.
fn read_halves(bench: &mut Bench) {
    let config = DecodeConfig { format: Some(Format::Kserve), ..DecodeConfig::default() };
    let decoder = || Decoder::new(&[model("m")], config.clone()).unwrap();
    bench.runtime.readers = (0..3).map(|_| decoder()).collect();
    bench.runtime.joiner = Some(Joiner::new(config.pairs().unwrap(), decoder()));
    bench.runtime.snapshots = bench.runtime.snapshots.take().map(Snapshots::in_halves);
}

fn bench(memory: Memory) -> Bench {
    let mut bench = Bench::over(memory, vec![model("m")], config());
    read_halves(&mut bench);
    bench
}

fn half(kind: &str, id: i64, seconds: i64) -> Vec<u8> {
    let time = EventTime::from_micros((T0 + seconds) * 1_000_000);
    let data = if kind == "request" { r#"{"instances":[{"x":3,"y":3}]}"# } else { r#"{"predictions":[1]}"# };
    format!(
        r#"{{"specversion":"1.0","type":"org.kubeflow.serving.inference.{kind}","id":"{id}","time":"{time}","inferenceservicename":"m",
            "metadata":{{"X-Forwarded-For":["10.0.0.1"]}},"data":{data}}}"#
    )
    .into_bytes()
}

fn repaired(bench: &Bench) -> String {
    let text = bench.metrics.render(None).unwrap();
    text.lines().find(|line| line.contains("no_response")).unwrap_or_default().to_owned()
}

#[test]
fn halves_in_two_partitions_are_one_call() {
    let mut bench = bench(Memory::default());
    let both = [partition(0), partition(1)];
    bench.memory.assign(&both);
    for id in 0..50 {
        bench.memory.append(&both[0], &half("request", id, id));
        bench.memory.append(&both[1], &half("response", id, id));
    }
    bench.turns(20);
    assert!(repaired(&bench).ends_with(" 0"));
    assert_eq!((bench.memory.committed(&both[0]), bench.memory.committed(&both[1])), (50, 50));
    assert_eq!(bench.finish(), OutcomeCounts { accepted: 50, ..OutcomeCounts::default() });
}

#[test]
fn a_request_is_committed_only_when_its_call_was_judged() {
    let (memory, p) = (Memory::default(), partition(0));
    let mut bench = bench(memory.clone());
    memory.assign(std::slice::from_ref(&p));
    for (kind, id) in [("request", 0), ("response", 0), ("request", 1), ("request", 2), ("response", 2)] {
        memory.append(&p, &half(kind, id, 0));
    }
    bench.turns(8);
    assert_eq!(bench.runtime.counts().accepted, 2);
    assert_eq!(memory.committed(&p), 2, "the request at 2 waits");
    // It crashes; the next one reads the request again, and then comes the response.
    drop(bench);
    memory.die();
    let mut bench = self::bench(memory.clone());
    memory.assign(std::slice::from_ref(&p));
    memory.append(&p, &half("response", 1, 1));
    bench.turns(8);
    assert!(repaired(&bench).ends_with(" 0"));
    assert_eq!(memory.committed(&p), 6);
    assert_eq!(bench.finish().accepted, 2, "the one that waited, and the one behind it a second time");
}

#[test]
fn a_request_without_a_response_is_used_after_the_time_out_also_when_nothing_more_comes() {
    let (memory, p) = (Memory::default(), partition(0));
    let mut bench = bench(memory.clone());
    memory.assign(std::slice::from_ref(&p));
    memory.append(&p, &half("request", 0, 0));
    memory.append(&p, &half("response", 9, 0));
    memory.append(&p, b"{\"no\":\"event\"}");
    bench.turns(3);
    assert_eq!((bench.runtime.counts().accepted, memory.committed(&p)), (0, 0));
    // The first call that is whole sets the clock; then nothing comes for a minute.
    memory.append(&p, &half("request", 1, 1));
    memory.append(&p, &half("response", 1, 1));
    bench.turns(70);
    assert_eq!(memory.committed(&p), 5);
    assert!(repaired(&bench).ends_with(" 1"));
    let letters = bench.letters.0.lock().unwrap().0.clone();
    assert_eq!(
        letters.iter().map(|(offset, reason)| (*offset, *reason)).collect::<std::collections::BTreeSet<_>>(),
        [(1, "response_without_request"), (2, "missing_field")].into()
    );
    assert_eq!(bench.finish(), OutcomeCounts { accepted: 2, rejected: 2, ..OutcomeCounts::default() });
}

#[test]
fn halves_of_a_partition_that_goes_are_the_next_owners() {
    let (memory, p) = (Memory::default(), partition(0));
    let mut bench = bench(memory.clone());
    memory.assign(std::slice::from_ref(&p));
    memory.append(&p, &half("request", 0, 0));
    bench.turns(5);
    memory.revoke(std::slice::from_ref(&p), false);
    bench.turns(2);
    assert_eq!(memory.committed(&p), 0);
    memory.assign(std::slice::from_ref(&p));
    memory.append(&p, &half("response", 0, 1));
    bench.turns(5);
    assert_eq!(memory.committed(&p), 2);
    assert_eq!(bench.finish(), OutcomeCounts { accepted: 1, ..OutcomeCounts::default() });
}

#[test]
fn with_state_every_call_is_in_it_once_whenever_the_service_crashes() {
    for crash in 1..14 {
        let (memory, folder) = (Memory::default(), tempfile::tempdir().unwrap());
        let both = [partition(0), partition(1)];
        let log = |from: i64, to: i64| {
            for id in from..to {
                memory.append(&both[0], &half("request", id, id));
                // Every answer comes when seven more calls were asked.
                if id >= 7 {
                    memory.append(&both[1], &half("response", id - 7, id));
                }
            }
        };
        log(0, 100);
        let start = || {
            let mut kept = Kept::start(&memory, folder.path(), vec![model("m")], false);
            read_halves(&mut kept.bench);
            kept
        };
        let mut first = start();
        first.turns(crash);
        log(100, 130);
        first.turns(1);
        drop(first);
        let mut second = start();
        log(130, 200);
        second.turns(40);
        assert_eq!(second.queries("m"), 193, "crash after {crash} turns");
        assert_eq!(memory.committed(&both[0]), 193, "the requests that wait are read again");
    }
}

#[test]
fn posted_halves_are_given_on_at_an_orderly_end_because_nobody_reads_them_again() {
    for (topic, accepted) in [("http", 1), ("kafka", 0)] {
        let (memory, p) = (Memory::default(), Partition::new(topic, 0));
        let mut bench = bench(memory.clone());
        memory.assign(std::slice::from_ref(&p));
        memory.append(&p, &half("request", 0, 0));
        bench.turns(5);
        assert_eq!(bench.finish().accepted, accepted, "{topic}");
    }
}
