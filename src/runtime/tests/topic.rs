//! What topics do beside holding records: messages without a value, marks of transactions, retention, a new log under an old name.

use super::*;

#[test]
fn a_message_without_a_value_is_counted_as_such_and_is_no_dead_letter() {
    let mut bench = Bench::new(config());
    let p = partition(0);
    bench.memory.assign(std::slice::from_ref(&p));
    bench.event(&p, "m", 0);
    bench.memory.append_tombstone(&p);
    bench.event(&p, "m", 1);
    bench.memory.append_tombstone(&p);
    bench.turns(10);
    let (memory, letters, metrics) = (bench.memory.clone(), bench.letters.clone(), bench.metrics.clone());
    assert_eq!(bench.finish(), OutcomeCounts { accepted: 2, ..OutcomeCounts::default() });
    assert_eq!(letters.0.lock().unwrap().0, []);
    assert_eq!(memory.committed(&p), 4, "the last one, too");
    assert!(metrics.render(None).unwrap().contains("tripline_tombstones_total{topic=\"t\"} 2\n"));
}

#[test]
fn marks_of_transactions_leave_no_lag_behind() {
    let mut bench = Bench::new(config());
    let p = partition(0);
    bench.memory.assign(std::slice::from_ref(&p));
    for second in 0..20 {
        bench.event(&p, "m", second);
        bench.memory.append_mark(&p);
    }
    bench.turns(10);
    let text = bench.metrics.render(None).unwrap();
    assert!(text.contains("tripline_skipped_records_total{topic=\"t\"} 0\n"), "{text}");
    let memory = bench.memory.clone();
    assert_eq!(bench.finish().accepted, 20);
    assert_eq!(memory.committed(&p), 40);
}

#[test]
fn what_retention_removed_is_counted_at_the_start_and_under_way() {
    let (mut memory, p) = (Memory::default(), partition(0));
    let skipped = |bench: &Bench, records: u64| {
        let text = bench.metrics.render(None).unwrap();
        assert!(text.contains(&format!("tripline_skipped_records_total{{topic=\"t\"}} {records}\n")), "{records}: {text}");
    };
    let mut bench = Bench::over(memory.clone(), vec![model("m")], config());
    memory.assign(std::slice::from_ref(&p));
    (0..10).for_each(|second| bench.event(&p, "m", second));
    bench.turns(10);
    skipped(&bench, 0);
    memory.pause(std::slice::from_ref(&p));
    (10..40).for_each(|second| bench.event(&p, "m", second));
    memory.expire(&p, 25);
    memory.resume(std::slice::from_ref(&p));
    bench.turns(10);
    skipped(&bench, 15);
    assert_eq!(bench.finish().accepted, 25);
    memory.die();
    // While nobody reads, the rest goes and more comes.
    let mut bench = Bench::over(memory.clone(), vec![model("m")], config());
    (40..60).for_each(|second| bench.event(&p, "m", second));
    memory.expire(&p, 50);
    memory.assign(std::slice::from_ref(&p));
    bench.turns(10);
    skipped(&bench, 10);
    assert_eq!(bench.finish().accepted, 10);
    assert_eq!(memory.committed(&p), 60);
}

#[test]
fn a_topic_that_is_made_anew_under_way_is_read_and_committed_from_its_beginning() {
    let mut bench = Bench::new(config());
    let p = partition(0);
    bench.memory.assign(std::slice::from_ref(&p));
    (0..40).for_each(|second| bench.event(&p, "m", second));
    bench.turns(10);
    assert_eq!(bench.memory.committed(&p), 40);
    bench.memory.restart(&p);
    (40..50).for_each(|second| bench.event(&p, "m", second));
    bench.turns(10);
    let (memory, metrics) = (bench.memory.clone(), bench.metrics.clone());
    assert_eq!(bench.finish().accepted, 50);
    assert_eq!(memory.committed(&p), 10, "the position of the new log");
    assert!(metrics.render(None).unwrap().contains("tripline_skipped_records_total{topic=\"t\"} 0\n"));
}
