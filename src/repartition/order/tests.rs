use super::*;
use crate::hash;

const T0: i64 = 1_772_442_900_000_000;
const SECOND: i64 = 1_000_000;

fn settings() -> OrderSettings {
    OrderSettings {
        silent_after: Duration::from_secs(10),
        idle_after: Duration::from_secs(10),
        idle_advance: Duration::from_secs(300),
        capacity: 10_000,
    }
}

/// A frame of partition `partition`, with messages (offset, seconds), written at `wall` seconds.
#[derive(Clone, Debug)]
struct Sent {
    mark: Mark,
    messages: Vec<Message>,
}

fn sent(partition: i32, messages: &[(i64, i64)], caught_up: bool, wall: i64, of: i32) -> Sent {
    let time = |seconds: i64| EventTime::from_micros(T0 + seconds * SECOND);
    let message = |&(offset, seconds): &(i64, i64)| Message { offset, time: Some(time(seconds)), ..Message::default() };
    let mark = Mark {
        topic: "t".into(),
        partition,
        watermark: messages.iter().map(|(_, seconds)| T0 + seconds * SECOND).max(),
        caught_up,
        wall: T0 + wall * SECOND,
        sources: vec![("t".into(), of)],
    };
    Sent { mark, messages: messages.iter().map(message).collect() }
}

fn seconds(messages: &[Message]) -> Vec<i64> {
    messages.iter().map(|message| (message.time.unwrap().micros() - T0) / SECOND).collect()
}

/// What comes out of a log of frames, in order.
fn judged(order: &mut LogOrder, log: &[Sent], from: i64) -> Vec<Message> {
    let mut out = Vec::new();
    for (offset, sent) in (from..).zip(log) {
        order.take(offset, &sent.mark, sent.messages.clone());
        order.release(&mut out);
    }
    out
}

/// Four partitions of a log of `count` seconds in order, each in frames of a few messages, interleaved by chance.
fn interleaved(seed: u64, count: i64) -> Vec<Sent> {
    let mut queues: Vec<VecDeque<Sent>> = (0..4)
        .map(|partition: i32| {
            let mine = |second: &i64| hash::mix2(1, second.unsigned_abs()) % 4 == u64::from(partition.unsigned_abs());
            let own: Vec<(i64, i64)> = (0..).zip((0..count).filter(mine)).collect();
            let mut at = 0;
            let mut frames = VecDeque::from([sent(partition, &[], false, 10_000, 4)]);
            while at < own.len() {
                let size = 1 + (hash::mix2(seed, (at as u64) << 3 | u64::from(partition.unsigned_abs())) % 5) as usize;
                let end = (at + size).min(own.len());
                frames.push_back(sent(partition, &own[at..end], false, 10_000, 4));
                at = end;
            }
            frames.push_back(sent(partition, &[], true, 10_000, 4));
            frames
        })
        .collect();
    let mut log = Vec::new();
    let mut turn = 0;
    while queues.iter().any(|queue| !queue.is_empty()) {
        turn += 1;
        let at = (hash::mix2(seed ^ 77, turn) % 4) as usize;
        log.extend(queues[at].pop_front());
    }
    log
}

#[test]
fn whatever_the_interleaving_of_frames_the_order_is_that_of_time() {
    for seed in 0..50 {
        let out = judged(&mut LogOrder::new(settings()), &interleaved(seed, 200), 0);
        assert_eq!(seconds(&out), (0..200).collect::<Vec<_>>(), "seed {seed}");
    }
}

#[test]
fn a_restart_at_any_frame_goes_on_as_if_nothing_had_happened() {
    for seed in 0..5 {
        let log = interleaved(seed, 60);
        let whole = seconds(&judged(&mut LogOrder::new(settings()), &log, 0));
        for stop in 0..log.len() {
            let mut order = LogOrder::new(settings());
            let mut out = seconds(&judged(&mut order, &log[..stop], 0));
            let bytes = serde_json::to_vec(&order.place(stop as i64)).unwrap();
            let place: Place = serde_json::from_slice(&bytes).unwrap();
            let mut order = LogOrder::at(settings(), &place);
            for offset in place.first..place.consumed {
                let sent = &log[offset as usize];
                order.refill(offset, &sent.mark, sent.messages.clone());
            }
            assert_eq!(order.place(stop as i64), place, "seed {seed}, stop {stop}");
            out.extend(seconds(&judged(&mut order, &log[stop..], stop as i64)));
            assert_eq!(out, whole, "seed {seed}, stop {stop}");
        }
    }
}

#[test]
fn a_partition_that_nobody_has_spoken_of_is_waited_for_until_it_has_been_silent() {
    let mut order = LogOrder::new(settings());
    let log = [sent(0, &[(0, 0)], true, 100, 2), sent(0, &[], true, 109, 2), sent(0, &[], true, 110, 2)];
    assert!(judged(&mut order, &log[..2], 0).is_empty());
    assert_eq!(seconds(&judged(&mut order, &log[2..], 2)), [0], "by the clocks of the writers");
}

#[test]
fn equal_times_go_by_partition_whoever_comes_first() {
    let [zero, one] = [sent(0, &[(0, 5)], false, 100, 2), sent(1, &[(0, 5), (1, 9)], false, 100, 2)];
    let last = sent(0, &[(1, 9)], false, 100, 2);
    for log in [[zero.clone(), one.clone(), last.clone()], [one, zero, last]] {
        let out = judged(&mut LogOrder::new(settings()), &log, 0);
        assert_eq!(seconds(&out)[..2], [5, 5]);
        assert_eq!(out[1].offset, 0, "partition 0 has a later one only");
    }
}

#[test]
fn what_is_held_is_bounded() {
    let mut order = LogOrder::new(OrderSettings { capacity: 10, ..settings() });
    let messages: Vec<(i64, i64)> = (0..100).map(|at| (at, at)).collect();
    let out = judged(&mut order, &[sent(0, &messages, false, 100, 2)], 0);
    assert_eq!((out.len(), order.held(), order.forced()), (90, 10, 90));
}

#[test]
fn one_time_far_ahead_does_not_hold_its_partition_up() {
    let mut order = LogOrder::new(settings());
    let log = [
        sent(1, &[], true, 1_000, 2),
        sent(0, &[(0, 0), (1, 900), (2, 2), (3, 3)], false, 1_000, 2),
        sent(1, &[(0, 4)], true, 1_000, 2),
    ];
    assert_eq!(seconds(&judged(&mut order, &log, 0)), [0, 900, 2, 3, 4]);
}

#[test]
fn idle_time_moves_by_the_clocks_in_the_frames_and_no_further_than_allowed() {
    let mut order = LogOrder::new(settings());
    let mut ticks = Vec::new();
    let mut out = Vec::new();
    for (offset, wall) in (0..).zip([100, 105, 110, 111, 500, 600]) {
        let sent = sent(0, if offset == 0 { &[(0, 90)] } else { &[] }, true, wall, 1);
        order.take(offset, &sent.mark, sent.messages);
        order.release(&mut out);
        ticks.extend(order.tick().map(|time| (time.micros() - T0) / SECOND));
    }
    assert_eq!(ticks, [100, 101, 390]);
}
