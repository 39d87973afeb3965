//! The loop with snapshots: crashes at any turn, another owner, a store that fails, a log that is not the one of before.

use std::path::{Path, PathBuf};

use super::*;
use crate::checkpoint::config::StateConfig;
use crate::checkpoint::keeper::Keeper;
use crate::checkpoint::keys::Keys;
use crate::checkpoint::store::Store;
use crate::hash::mix2;
use crate::runtime::snapshots::{ModelName, SnapshotSettings};

/// Turns between two cuts; a turn is a second.
const INTERVAL: Duration = Duration::from_secs(4);

/// A service whose state lies in a folder.
pub(super) struct Kept {
    pub(super) bench: Bench,
}

impl Kept {
    /// A service that is given every partition. The one before it is dead, if there was one.
    pub(super) fn start(memory: &Memory, folder: &Path, references: Vec<Arc<Reference>>, required: bool) -> Self {
        memory.die();
        memory.assign(&memory.partitions());
        let store = StateConfig { url: format!("file://{}", folder.display()), ..StateConfig::default() };
        let store = Store::open(&store, Path::new("")).unwrap();
        let names = references.iter().map(|r| ModelName::of(r));
        let names: Vec<ModelName> = names.collect();
        let models: Vec<String> = names.iter().map(|name| name.name.clone()).collect();
        let keeper = Keeper::start(&store, "g", &models, Keys::default()).unwrap();
        let snapshots = SnapshotSettings { interval: INTERVAL, required };
        let mut bench = Bench::over(memory.clone(), references, settings());
        let snapshots = Snapshots::new(keeper, snapshots, names, bench.metrics.clone());
        bench.runtime = bench.runtime.keeping(snapshots);
        Self { bench }
    }

    fn turn(&mut self) {
        self.bench.turn().unwrap();
    }

    /// Turns, in each of which a snapshot that is under way is waited for.
    pub(super) fn turns(&mut self, count: usize) {
        for _ in 0..count {
            self.turn();
            let now = self.bench.now();
            self.bench.runtime.snapshots.as_mut().unwrap().take_report(Deadline::after(Duration::from_secs(60)), now);
        }
    }

    /// The whole state of the models, as it is shown.
    fn state(&self) -> String {
        format!("{:?}", self.bench.runtime.shards.status())
    }

    pub(super) fn queries(&self, model: &str) -> u64 {
        let status = self.bench.runtime.shards.status();
        status.iter().find(|status| status.model == model).map_or(0, |status| status.queries + status.late)
    }

    fn metric(&self, series: &str) -> u64 {
        let text = self.bench.metrics.render(None).unwrap();
        let line = text.lines().find(|line| line.starts_with(series));
        line.map_or(0, |line| line.rsplit(' ').next().unwrap().parse().unwrap())
    }
}

/// Event time stands still while nothing arrives: what it does then is not in the log, so a second run need not repeat it.
fn settings() -> RuntimeConfig {
    RuntimeConfig { idle_advance: crate::config::Period::seconds(0), ..config() }
}

fn models() -> Vec<Arc<Reference>> {
    vec![model("m"), model("n")]
}

fn log(memory: &Memory, bench: &Bench, partition: &Partition, from: i64, to: i64) {
    for second in from..to {
        if second % 50 == 17 {
            memory.append(partition, b"garbage");
        } else {
            bench.event(partition, if second % 3 == 0 { "n" } else { "m" }, second);
        }
    }
}

/// A log of one partition, assigned.
fn prepared(events: i64) -> (Memory, Partition, tempfile::TempDir) {
    let (memory, p, folder) = (Memory::default(), partition(0), tempfile::tempdir().unwrap());
    let bench = Bench::over(memory.clone(), models(), config());
    log(&memory, &bench, &p, 0, events);
    (memory, p, folder)
}

fn manifests(folder: &Path, model: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder.join("g").join(model).join("manifests")).unwrap();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

#[test]
fn after_crashes_at_any_turn_the_state_is_that_of_an_undisturbed_run() {
    const EVENTS: i64 = 600;
    let (memory, _, folder) = prepared(EVENTS);
    let mut undisturbed = Kept::start(&memory, folder.path(), models(), false);
    undisturbed.turns(60);
    let expected = undisturbed.state();
    assert_eq!(undisturbed.queries("m") + undisturbed.queries("n"), 588);
    for seed in 0..24_u64 {
        let (memory, p, folder) = prepared(EVENTS);
        let mut letters = Vec::new();
        for crash in 0..6 {
            let mut kept = Kept::start(&memory, folder.path(), models(), seed % 2 == 0);
            let turns = 1 + mix2(seed, crash) % 14;
            // Every second seed does not wait for the snapshot, so the crash comes while it is written.
            if seed % 4 < 2 {
                kept.turns(turns as usize)
            } else {
                (0..turns).for_each(|_| kept.turn())
            }
            letters.extend(kept.bench.letters.0.lock().unwrap().0.iter().map(|(offset, _)| *offset));
        }
        let mut last = Kept::start(&memory, folder.path(), models(), false);
        last.turns(60);
        letters.extend(last.bench.letters.0.lock().unwrap().0.iter().map(|(offset, _)| *offset));
        assert_eq!(last.state(), expected, "seed {seed}");
        assert_eq!(memory.committed(&p), EVENTS, "seed {seed}: everything is committed in the end");
        letters.sort_unstable();
        letters.dedup();
        assert_eq!(letters.len(), 12, "seed {seed}: every dead letter was delivered");
    }
}

#[test]
fn nothing_is_committed_that_is_in_no_complete_snapshot() {
    let (memory, p, folder) = prepared(600);
    let mut kept = Kept::start(&memory, folder.path(), models(), true);
    kept.turns(3);
    assert!(kept.queries("m") > 0);
    assert_eq!(memory.committed(&p), 0, "judged, delivered, and in no snapshot");
    kept.turns(40);
    assert_eq!(memory.committed(&p), 600);
    assert_eq!(kept.metric("tripline_snapshots_total{outcome=\"failed\""), 0);
}

#[test]
fn a_log_that_is_silent_for_long_makes_no_snapshots_and_is_no_fault() {
    let (memory, p, folder) = prepared(100);
    let mut kept = Kept::start(&memory, folder.path(), models(), true);
    kept.turns(20);
    let complete = "tripline_snapshots_total{outcome=\"complete\",unit=\"m\"}";
    let before = kept.metric(complete);
    kept.turns(100);
    assert_eq!(kept.metric(complete), before, "nothing has changed");
    log(&memory, &kept.bench, &p, 100, 110);
    // The report of the cut is not waited for: it is under way, and not overdue.
    for _ in 0..5 {
        kept.turn();
    }
    assert!(!kept.bench.runtime.snapshots.as_ref().unwrap().is_failing(kept.bench.now()));
    kept.turns(10);
    assert_eq!((kept.metric(complete), memory.committed(&p)), (before + 1, 110));
}

#[test]
fn an_orderly_end_leaves_nothing_to_judge_again() {
    let (memory, p, folder) = prepared(300);
    let mut kept = Kept::start(&memory, folder.path(), models(), false);
    kept.turns(2);
    let counts = kept.bench.finish();
    assert!(counts.accepted > 0 && counts.accepted < 300);
    let committed = memory.committed(&p);
    assert!(committed > 0, "what is judged is in a last snapshot");
    let mut kept = Kept::start(&memory, folder.path(), models(), false);
    kept.turns(40);
    assert_eq!(kept.metric("tripline_judged_again_total"), 0);
    let second = kept.bench.finish();
    assert_eq!(counts.accepted + counts.late + counts.rejected + second.accepted + second.late + second.rejected, 300);
}

#[test]
fn what_was_delivered_before_is_judged_again_in_silence() {
    let (memory, _, folder) = prepared(600);
    let mut kept = Kept::start(&memory, folder.path(), models(), false);
    kept.turns(40);
    let expected = kept.state();
    drop(kept);
    // The newest snapshot of one model is damaged: it begins at the one before, and everything since was delivered.
    let newest = manifests(folder.path(), "m").pop().unwrap();
    std::fs::write(newest, b"{").unwrap();
    let mut kept = Kept::start(&memory, folder.path(), models(), false);
    kept.turns(40);
    assert_eq!(kept.state(), expected);
    assert!(kept.metric("tripline_judged_again_total") > 0);
    assert_eq!(kept.metric("tripline_snapshots_total{outcome=\"skipped\",unit=\"m\"}"), 1);
    assert_eq!(kept.metric("tripline_snapshots_total{outcome=\"skipped\",unit=\"n\"}"), 0);
    assert_eq!(kept.bench.runtime.counts(), OutcomeCounts::default(), "nothing is counted twice");
    assert!(kept.bench.letters.0.lock().unwrap().0.is_empty(), "no dead letter is repeated");
}

#[test]
fn a_refit_an_added_and_a_removed_model_leave_the_others_alone() {
    let (memory, _, folder) = prepared(600);
    let mut kept = Kept::start(&memory, folder.path(), models(), false);
    kept.turns(40);
    let (m, n) = (kept.queries("m"), kept.queries("n"));
    assert!(m > 0 && n > 0);
    kept.bench.finish();
    let restart = |references: Vec<Arc<Reference>>| {
        let mut kept = Kept::start(&memory, folder.path(), references, true);
        kept.turns(10);
        kept
    };
    let kept = restart(vec![model("m"), refitted("n", 310)]);
    assert_eq!((kept.queries("m"), kept.queries("n")), (m, 0), "a refit costs its model alone, and is no fault");
    kept.bench.finish();
    let kept = restart(vec![model("m"), refitted("n", 310), model("o")]);
    assert_eq!(kept.queries("m"), m);
    kept.bench.finish();
    let kept = restart(vec![model("o")]);
    kept.bench.finish();
    let kept = restart(vec![model("m"), model("o")]);
    assert_eq!(kept.queries("m"), m, "it comes back with its state");
    assert_eq!(kept.metric("tripline_snapshots_total{outcome=\"restored\",unit=\"m\"}"), 1);
}

#[test]
fn a_model_that_was_away_reads_what_it_missed_in_silence() {
    let (memory, p, folder) = prepared(300);
    let mut kept = Kept::start(&memory, folder.path(), models(), false);
    kept.turns(30);
    kept.bench.finish();
    let mut kept = Kept::start(&memory, folder.path(), vec![model("m")], false);
    log(&memory, &kept.bench, &p, 300, 600);
    kept.turns(30);
    kept.bench.finish();
    assert_eq!(memory.committed(&p), 600);
    let mut kept = Kept::start(&memory, folder.path(), models(), false);
    kept.turns(60);
    assert_eq!(kept.queries("m") + kept.queries("n"), 588, "each query once, in either model");
    assert_eq!(kept.bench.runtime.counts(), OutcomeCounts::default());
}

#[test]
fn a_changed_setting_costs_the_state_or_the_start_and_says_which() {
    let (memory, _, folder) = prepared(100);
    let mut kept = Kept::start(&memory, folder.path(), models(), false);
    kept.turns(20);
    kept.bench.finish();
    for required in [false, true] {
        let mut kept = Kept::start(&memory, folder.path(), models(), required);
        let config = EngineConfig { salt: 7, ..EngineConfig::default() };
        kept.bench.runtime.shards = Shards::new(1, &config, models()).unwrap();
        if required {
            // It is not used up by the attempt before, which ended without a snapshot.
            let error = kept.bench.turn().unwrap_err().to_string();
            assert!(error.contains("engine.salt") && error.contains("put the setting back"), "{error}");
        } else {
            kept.turns(1);
            assert_eq!((kept.queries("m"), kept.queries("n")), (0, 0));
            assert_eq!(kept.metric("tripline_snapshots_total{outcome=\"refused\",unit=\"m\"}"), 1);
        }
    }
}

#[test]
fn of_two_owners_the_later_one_writes_and_the_other_says_so() {
    for required in [false, true] {
        let (memory, p, folder) = prepared(200);
        let mut first = Kept::start(&memory, folder.path(), models(), required);
        first.turns(3);
        let mut second = Kept::start(&memory, folder.path(), models(), required);
        second.turns(1);
        let before = memory.committed(&p);
        log(&memory, &first.bench, &p, 200, 300);
        first.turns(20);
        assert!(first.metric("tripline_snapshots_total{outcome=\"fenced\",unit=\"m\"}") > 0);
        assert_eq!(first.metric("tripline_snapshots_total{outcome=\"failed\",unit=\"m\"}"), 0);
        assert_eq!(memory.committed(&p) > before, !required, "it goes on, or it commits nothing");
    }
}

#[test]
fn a_store_that_is_away_stops_nothing_unless_state_is_required() {
    for required in [false, true] {
        let (memory, p, folder) = prepared(200);
        let mut kept = Kept::start(&memory, folder.path(), models(), required);
        kept.turns(1);
        // A file where the folder was: nothing can be written, whoever asks.
        let unit = folder.path().join("g");
        std::fs::rename(&unit, folder.path().join("away")).unwrap();
        std::fs::write(&unit, b"").unwrap();
        kept.turns(30);
        assert!(kept.metric("tripline_snapshots_total{outcome=\"failed\",unit=\"m\"}") > 0);
        assert_eq!(kept.queries("m") + kept.queries("n"), 196, "judging goes on");
        assert_eq!(memory.committed(&p), if required { 0 } else { 200 });
        std::fs::remove_file(&unit).unwrap();
        std::fs::rename(folder.path().join("away"), &unit).unwrap();
        kept.turns(12);
        assert!(kept.metric("tripline_snapshots_total{outcome=\"complete\",unit=\"m\"}") > 0, "it is tried again");
        assert_eq!(memory.committed(&p), 200);
    }
}

#[test]
fn a_store_that_is_away_at_the_start_costs_the_state_or_the_start() {
    let (memory, _, folder) = prepared(100);
    let mut kept = Kept::start(&memory, folder.path(), models(), false);
    kept.turns(20);
    kept.bench.finish();
    let unit = folder.path().join("g");
    std::fs::rename(&unit, folder.path().join("away")).unwrap();
    std::fs::write(&unit, b"").unwrap();
    for required in [true, false] {
        let mut kept = Kept::start(&memory, folder.path(), models(), required);
        if required {
            let error = kept.bench.turn().unwrap_err();
            assert!(matches!(error, RuntimeError::State(CheckpointError::Store { .. })), "{error}");
        } else {
            kept.turns(3);
            assert_eq!(kept.queries("m"), 0);
        }
    }
}

#[test]
fn records_that_the_log_lost_are_counted_and_the_rest_is_judged() {
    let (memory, p, folder) = prepared(200);
    let mut kept = Kept::start(&memory, folder.path(), models(), true);
    kept.turns(30);
    kept.bench.finish();
    let bench = Bench::over(memory.clone(), models(), config());
    log(&memory, &bench, &p, 200, 600);
    memory.expire(&p, 450);
    let mut kept = Kept::start(&memory, folder.path(), models(), true);
    kept.turns(40);
    assert_eq!(kept.metric("tripline_missing_records_total{topic=\"t\"}"), 250);
    assert_eq!(kept.queries("m") + kept.queries("n"), 196 + 147);
    assert_eq!(memory.committed(&p), 600);
}

#[test]
fn a_topic_that_was_made_anew_is_read_from_its_beginning() {
    let (memory, p, folder) = prepared(200);
    let mut kept = Kept::start(&memory, folder.path(), models(), true);
    kept.turns(30);
    kept.bench.finish();
    memory.recreate(&p);
    let bench = Bench::over(memory.clone(), models(), config());
    log(&memory, &bench, &p, 200, 250);
    let mut kept = Kept::start(&memory, folder.path(), models(), true);
    kept.turns(30);
    assert_eq!(kept.queries("m") + kept.queries("n"), 196 + 49, "old state, and every new record");
    assert_eq!(memory.committed(&p), 50);
}

#[test]
fn a_partition_that_goes_and_comes_back_goes_on_where_the_state_is() {
    let (memory, p, folder) = prepared(600);
    let q = partition(1);
    let bench = Bench::over(memory.clone(), models(), config());
    log(&memory, &bench, &q, 0, 600);
    let mut kept = Kept::start(&memory, folder.path(), models(), false);
    for round in 0..6 {
        kept.turns(3);
        let gone = if round % 2 == 0 { &p } else { &q };
        memory.revoke(std::slice::from_ref(gone), round == 3);
        kept.turns(2);
        memory.assign(std::slice::from_ref(gone));
    }
    kept.turns(80);
    assert_eq!(kept.queries("m") + kept.queries("n"), 2 * 588, "each query once");
    assert_eq!((memory.committed(&p), memory.committed(&q)), (600, 600));
}
