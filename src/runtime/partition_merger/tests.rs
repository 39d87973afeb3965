//! What the merge of the partitions promises.

use proptest::prelude::*;

use super::*;

const SETTINGS: MergeSettings =
    MergeSettings { slack: Duration::from_secs(30), idle_after: Duration::from_secs(10), capacity: 100_000 };

fn at(seconds: i64) -> EventTime {
    EventTime::from_micros(1_700_000_000_000_000 + seconds * 1_000_000)
}

fn now(seconds: u64) -> Now {
    Now { wall: at(1_000_000), since_start: Duration::from_secs(seconds) }
}

fn partition(number: i32) -> Partition {
    Partition::new("t", number)
}

fn fill(queues: &mut PartitionMerger, number: i32, seconds: &[i64]) {
    for (offset, second) in (0_i64..).zip(seconds) {
        let item = Item { block: usize::try_from(number).unwrap(), index: 0, offset, time: Some(at(*second)) };
        assert_ne!(queues.push(&partition(number), item, now(0)), Pushed::Gone);
    }
}

fn end(number: i32, drained: bool) -> End {
    End { partition: partition(number), low: None, high: 100, start: 0, position: None, drained, open: 0 }
}

fn release(queues: &mut PartitionMerger, now: Now) -> Vec<(usize, i64)> {
    let mut out = Vec::new();
    queues.release(now, usize::MAX, &mut out);
    out.iter().map(|item| (item.block, item.offset)).collect()
}

fn two() -> PartitionMerger {
    let mut queues = PartitionMerger::new(SETTINGS);
    queues.open(&[partition(0), partition(1)], now(0));
    queues
}

#[test]
fn partitions_are_merged_in_order_of_event_time() {
    let mut queues = two();
    fill(&mut queues, 0, &[0, 10, 20]);
    fill(&mut queues, 1, &[5, 15, 25]);
    queues.ends(&[]);
    assert_eq!(release(&mut queues, now(0)), [(0, 0), (1, 0), (0, 1), (1, 1), (0, 2), (1, 2)]);
}

#[test]
fn a_partition_that_lags_holds_back_the_others() {
    let mut queues = two();
    fill(&mut queues, 0, &[0, 3_600]);
    assert_eq!(release(&mut queues, now(0)), [], "before the first event of the other, anything could come");
    fill(&mut queues, 1, &[0]);
    assert_eq!(release(&mut queues, now(0)), [(0, 0), (1, 0)], "an hour ahead of the other is too far");
    queues.ends(&[end(1, true)]);
    assert_eq!(release(&mut queues, now(0)), [(0, 1)], "the other has no more");
}

#[test]
fn live_traffic_is_never_delayed_by_a_quieter_partition() {
    let mut queues = two();
    fill(&mut queues, 0, &[0]);
    fill(&mut queues, 1, &[0]);
    assert_eq!(release(&mut queues, now(0)).len(), 2);
    fill(&mut queues, 0, &[29]);
    assert_eq!(release(&mut queues, now(0)).len(), 1);
}

#[test]
fn a_silent_partition_is_left_out_after_a_while() {
    let mut queues = two();
    fill(&mut queues, 0, &[0, 3_600]);
    assert_eq!(release(&mut queues, now(9)), []);
    assert_eq!(release(&mut queues, now(10)).len(), 2);
}

#[test]
fn one_wrong_time_does_not_carry_a_partition_away() {
    let mut queues = two();
    fill(&mut queues, 0, &[900_000_000, 1, 2, 3]);
    fill(&mut queues, 1, &[10, 11, 12, 13]);
    let order: Vec<usize> = release(&mut queues, now(0)).iter().map(|(queue, _)| *queue).collect();
    assert_eq!(order, [0, 0, 0, 0, 1, 1, 1, 1]);
}

#[test]
fn a_partition_with_a_full_queue_pauses_until_half_is_worked_off() {
    let mut queues = PartitionMerger::new(MergeSettings { capacity: 512, ..SETTINGS });
    queues.open(&[partition(0), partition(1)], now(0));
    let seconds: Vec<i64> = (0..300).collect();
    fill(&mut queues, 0, &seconds);
    assert_eq!(queues.balance(false), (vec![partition(0)], vec![]));
    assert_eq!(queues.balance(false), (vec![], vec![]), "it is asked once");
    queues.ends(&[end(1, true)]);
    let mut out = Vec::new();
    queues.release(now(0), 200, &mut out);
    assert_eq!(queues.balance(false), (vec![], vec![partition(0)]));
}

#[test]
fn under_pressure_only_partitions_with_an_empty_queue_are_read() {
    let mut queues = two();
    fill(&mut queues, 0, &[0, 3_600]);
    assert_eq!(queues.balance(true), (vec![partition(0)], vec![]));
    queues.ends(&[end(1, true)]);
    assert_eq!(release(&mut queues, now(0)).len(), 2);
    assert_eq!(queues.balance(true), (vec![], vec![partition(0)]));
}

#[test]
fn a_position_is_behind_the_last_message_that_is_done_and_lag_counts_the_rest() {
    let mut queues = two();
    fill(&mut queues, 0, &[0, 1, 2]);
    queues.ends(&[end(0, false), end(1, true)]);
    let mut out = Vec::new();
    queues.release(now(0), 2, &mut out);
    assert_eq!(queues.positions(), [], "let out is not done");
    out.iter().for_each(|item| queues.done(&partition(0), item.offset));
    assert_eq!(queues.positions(), [(partition(0), 2)]);
    assert_eq!(queues.lags().collect::<Vec<_>>(), [(&partition(0), 98), (&partition(1), 0)]);
    queues.committed(&[(partition(0), 2)]);
    assert_eq!(queues.positions(), []);
    assert_eq!(queues.close(&partition(0)).len(), 1, "what was not processed comes back");
    assert_eq!(queues.buffered(), 0);
}

/// A report of a partition of which everything before `position` was handed out.
fn handed_out(number: i32, low: i64, position: i64) -> End {
    End { low: Some(low), position: Some(position), high: position, ..end(number, true) }
}

fn push(queues: &mut PartitionMerger, offset: i64) -> Pushed {
    queues.push(&partition(0), Item { block: 0, index: 0, offset, time: Some(at(offset)) }, now(0))
}

fn judge_all(queues: &mut PartitionMerger) {
    for (_, offset) in release(queues, now(20)) {
        queues.done(&partition(0), offset);
    }
}

#[test]
fn a_position_moves_behind_marks_of_transactions_once_everything_before_them_is_done() {
    let mut queues = two();
    queues.begin(&partition(0), 0);
    assert_eq!(push(&mut queues, 0), Pushed::Taken);
    queues.ends(&[handed_out(0, 0, 4), end(1, true)]);
    assert!(!queues.pass_marks(), "a message waits");
    assert_eq!(push(&mut queues, 2), Pushed::Taken);
    judge_all(&mut queues);
    assert_eq!(queues.position(&partition(0)), Some(3));
    assert!(queues.pass_marks());
    assert_eq!(queues.position(&partition(0)), Some(4), "behind the mark at 3");
    assert!(!queues.pass_marks());
    assert_eq!(queues.positions(), [(partition(0), 4)]);
    for _ in 0..3 {
        assert_eq!(queues.ends(&[handed_out(0, 0, 4)]), [], "marks are no loss");
    }
}

#[test]
fn what_retention_removed_is_reported_with_its_partition() {
    let mut queues = two();
    queues.begin(&partition(0), 0);
    push(&mut queues, 0);
    push(&mut queues, 100);
    let report = handed_out(0, 100, 101);
    assert_eq!(queues.ends(std::slice::from_ref(&report)), [(partition(0), 99)]);
    assert_eq!(queues.ends(&[report]), []);
}

#[test]
fn after_a_topic_was_made_anew_positions_are_those_of_the_new_log() {
    let mut queues = two();
    for offset in 0..50 {
        push(&mut queues, offset);
    }
    queues.ends(&[end(1, true)]);
    judge_all(&mut queues);
    queues.committed(&[(partition(0), 50)]);
    assert_eq!(push(&mut queues, 50), Pushed::Taken, "the last of the old log");
    assert_eq!(push(&mut queues, 0), Pushed::BeginsAnew);
    assert_eq!(queues.position(&partition(0)), None);
    judge_all(&mut queues);
    assert_eq!(queues.positions(), [(partition(0), 1)], "the old log's last message moved nothing");
}

proptest! {
    #[test]
    fn every_message_comes_out_once_and_in_the_order_of_its_partition(
        times in prop::collection::vec(prop::collection::vec(prop::option::of(0_i64..10_000), 0..50), 1..6),
        limit in 1_usize..20,
    ) {
        let mut queues = PartitionMerger::new(SETTINGS);
        let partitions: Vec<Partition> = (0..).take(times.len()).map(partition).collect();
        queues.open(&partitions, now(0));
        for (number, times) in times.iter().enumerate() {
            for (offset, time) in (0_i64..).zip(times) {
                let item = Item { block: number, index: 0, offset, time: time.map(at) };
                prop_assert_eq!(queues.push(&partitions[number], item, now(0)), Pushed::Taken);
            }
        }
        let mut next = vec![0_i64; times.len()];
        loop {
            let mut out = Vec::new();
            queues.release(now(60), limit, &mut out);
            prop_assert!(out.len() <= limit);
            if out.is_empty() {
                break;
            }
            for item in out {
                prop_assert_eq!(item.offset, next[item.block]);
                next[item.block] += 1;
            }
        }
        let whole: Vec<i64> = times.iter().map(|times| i64::try_from(times.len()).unwrap()).collect();
        prop_assert_eq!(next, whole);
        prop_assert!(queues.is_idle(now(60)));
    }
}
