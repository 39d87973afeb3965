//! The protocol of a unit: what two writers, lost answers and damaged objects do to it.

use std::sync::Arc;

use super::*;
use crate::checkpoint::Offsets;
use crate::engine::{Engine, EngineConfig};
use crate::reference::{Column, Dataset, FitOptions, Raw, fit};
use crate::source::feed::Partition;

fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

fn engine() -> Engine {
    #[expect(clippy::cast_precision_loss, reason = "small test numbers")]
    let column = |name: &str, modulus: usize| Column {
        name: name.into(),
        cells: (0..300).map(|i| Raw::Number((i % modulus) as f64)).collect(),
    };
    let dataset = Dataset { features: vec![column("x", 97)], predictions: column("p", 2).cells, probabilities: Vec::new() };
    let reference = fit(&dataset, &FitOptions { model: "m".into(), ..FitOptions::default() }).unwrap();
    Engine::new(EngineConfig::default(), vec![Arc::new(reference)]).unwrap()
}

/// A snapshot whose first partition stands at `offset`.
fn snapshot(offset: i64) -> (Vec<u8>, SnapshotInfo) {
    let engine = engine();
    let (data, info) = payload::pack(&engine.snapshot("m").unwrap(), None, "m".into()).unwrap();
    let offsets: Offsets = [(Partition::new("t", 0), offset)].into();
    let info = SnapshotInfo {
        log: None,
        taken_micros: offset,
        watermark_micros: 0,
        reference: "r".into(),
        state_format: SNAPSHOT_FORMAT,
        offsets: SnapshotInfo::offsets_by_topic(&offsets),
        queries: 0,
        late: 0,
        clients: 0,
        data: info,
    };
    (data, info)
}

fn write(unit: &mut Unit, offset: i64) -> Written {
    let (data, info) = snapshot(offset);
    run(unit.write(data, info)).unwrap()
}

fn taken(store: &Store) -> Unit {
    let mut unit = Unit::new(store.clone(), "m");
    run(unit.take_over(&Keys::default())).unwrap();
    unit
}

/// Offset of the newest snapshot that can be read, how many were damaged, and whether it is unusable.
fn read(store: &Store) -> (Option<i64>, usize, bool) {
    let found = run(Unit::new(store.clone(), "m").read(&Keys::default())).unwrap();
    let offset = found.snapshot.map(|(info, _)| info.taken_micros);
    (offset, found.damaged.len(), found.unusable.is_some())
}

#[test]
fn the_newest_of_three_is_read_and_older_ones_are_deleted() {
    let store = Store::in_memory();
    assert_eq!(read(&store), (None, 0, false));
    let mut unit = taken(&store);
    for offset in 1..=10 {
        assert_eq!(write(&mut unit, offset), Written::Complete);
        assert_eq!(read(&store), (Some(offset), 0, false));
    }
    assert_eq!(run(store.list(&[MANIFESTS])).unwrap().len(), KEPT);
    assert_eq!(run(store.list(&[DATA])).unwrap().len(), KEPT);
}

#[test]
fn restarts_without_a_snapshot_push_none_out() {
    let store = Store::in_memory();
    let mut unit = taken(&store);
    for offset in 1..=3 {
        write(&mut unit, offset);
    }
    for _ in 0..10 {
        taken(&store);
    }
    let mut unit = taken(&store);
    write(&mut unit, 4);
    assert_eq!(run(store.list(&[DATA])).unwrap().len(), KEPT, "three different ones, however many claims");
    assert_eq!(read(&store), (Some(4), 0, false));
}

#[test]
fn the_owner_of_before_is_fenced_at_every_point_and_changes_nothing() {
    for written_before in 0..5 {
        let store = Store::in_memory();
        let mut old = taken(&store);
        for offset in 1..=written_before {
            write(&mut old, offset);
        }
        let mut new = taken(&store);
        assert_eq!(write(&mut old, 100), Written::Fenced);
        let before = (written_before > 0).then_some(written_before);
        assert_eq!(read(&store).0, before, "what the old one wrote last counts for nothing");
        assert_eq!(write(&mut new, 200), Written::Complete);
        assert_eq!(write(&mut old, 101), Written::Fenced);
        assert_eq!(read(&store).0, Some(200));
        assert!(!run(old.is_still_ours()).unwrap() && run(new.is_still_ours()).unwrap());
    }
}

#[test]
fn an_owner_that_slept_until_its_number_was_deleted_is_fenced_too() {
    let store = Store::in_memory();
    let mut old = taken(&store);
    write(&mut old, 1);
    let mut new = taken(&store);
    for offset in 10..20 {
        write(&mut new, offset);
    }
    assert!(run(store.get(&[MANIFESTS, &name_of(old.last + 1)])).unwrap().is_none(), "its number is free again");
    assert_eq!(write(&mut old, 2), Written::Fenced);
    assert_eq!(read(&store).0, Some(19));
    assert_eq!(write(&mut new, 20), Written::Complete);
    assert_eq!(read(&store).0, Some(20));
}

#[test]
fn an_answer_that_was_lost_is_no_fence() {
    let store = Store::in_memory();
    let mut unit = taken(&store);
    write(&mut unit, 1);
    // The store took the manifest, and the writer believes that it did not.
    let before = unit.last;
    write(&mut unit, 2);
    unit.last = before;
    assert_eq!(write(&mut unit, 3), Written::Complete);
    assert_eq!(read(&store), (Some(3), 0, false));
}

#[test]
fn data_without_their_manifest_are_nothing_and_go_with_the_next_snapshot() {
    let store = Store::in_memory();
    let mut unit = taken(&store);
    write(&mut unit, 1);
    let orphan = format!("{}-{}-00000000", name_of(unit.last + 1), name_of(1));
    run(store.put(&[DATA, &orphan], b"half".to_vec())).unwrap();
    assert_eq!(read(&store), (Some(1), 0, false));
    write(&mut unit, 2);
    write(&mut unit, 3);
    assert!(!run(store.list(&[DATA])).unwrap().contains(&orphan));
}

#[test]
fn a_damaged_snapshot_is_skipped_for_the_one_before_whatever_the_damage() {
    let data_name = |store: &Store| run(store.list(&[DATA])).unwrap().pop().unwrap();
    let manifest_name = |store: &Store| run(store.list(&[MANIFESTS])).unwrap().pop().unwrap();
    let damages: [&dyn Fn(&Store); 5] = [
        &|store| run(store.delete(&[DATA, &data_name(store)])).unwrap(),
        &|store| run(store.put(&[DATA, &data_name(store)], Vec::new())).unwrap(),
        &|store| {
            let name = data_name(store);
            let mut bytes = run(store.get(&[DATA, &name])).unwrap().unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 0x10;
            run(store.put(&[DATA, &name], bytes)).unwrap();
        },
        &|store| run(store.put(&[MANIFESTS, &manifest_name(store)], b"{\"crc32\":\"".to_vec())).unwrap(),
        &|store| run(store.put(&[MANIFESTS, &manifest_name(store)], vec![0xff; 100])).unwrap(),
    ];
    for (number, damage) in damages.iter().enumerate() {
        let store = Store::in_memory();
        let mut unit = taken(&store);
        for offset in 1..=3 {
            write(&mut unit, offset);
        }
        damage(&store);
        assert_eq!(read(&store), (Some(2), 1, false), "damage {number}");
        // Whoever goes on writes behind it, and it is gone in time.
        let mut next = taken(&store);
        assert_eq!(write(&mut next, 4), Written::Complete, "damage {number}");
        assert_eq!(read(&store), (Some(4), 0, false), "damage {number}");
        for offset in 5..=7 {
            write(&mut next, offset);
        }
        assert_eq!(run(store.list(&[MANIFESTS])).unwrap().len(), KEPT, "damage {number}");
    }
}

#[test]
fn state_of_another_format_is_not_guessed_at() {
    let store = Store::in_memory();
    let mut unit = taken(&store);
    let (data, info) = snapshot(1);
    run(unit.write(data, SnapshotInfo { state_format: SNAPSHOT_FORMAT + 1, ..info })).unwrap();
    assert_eq!(read(&store), (None, 0, true));
    let found = run(Unit::new(store, "m").read(&Keys::default())).unwrap();
    assert!(found.unusable.unwrap().contains(env!("CARGO_PKG_VERSION")), "it says which version reads it");
}
