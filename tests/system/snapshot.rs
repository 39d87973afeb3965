//! An engine that is stopped, written to a snapshot and restored gives the verdicts that it would have given without the pause.
//!
//! The logs are recorded attacks: at the moment of the snapshot there are unfinished components, partial evidence, a burst
//! of newcomers, and a pending drift. The bytes of the verdicts are compared.

use std::sync::Arc;

use tripline::decode::{Batch, DecodeConfig, Decoder};
use tripline::engine::{Engine, EngineConfig, Input, ModelSnapshot, Outbox, SnapshotHeader};
use tripline::event::Provenance;
use tripline::reference::Reference;
use tripline::source::Record;

use super::support::data::Cut;

/// A recorded log and its profile.
struct Recorded {
    reference: Arc<Reference>,
    log: Vec<u8>,
}

impl Recorded {
    fn of(cut: Cut) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let profile = std::fs::read(cut.fit(folder.path())).unwrap();
        let log = std::fs::read(cut.path("events.jsonl.zst")).unwrap();
        Self { reference: Arc::new(Reference::from_json(&profile).unwrap()), log: zstd::decode_all(log.as_slice()).unwrap() }
    }

    fn engine(&self, config: EngineConfig) -> Engine {
        Engine::new(config, vec![Arc::clone(&self.reference)]).unwrap()
    }

    /// Model name.
    fn model(&self) -> &str {
        &self.reference.model
    }

    /// Steps an engine through the lines `from..to` of the log; the verdicts, as lines.
    fn judge(&self, engine: &mut Engine, from: usize, to: usize) -> Vec<String> {
        let mut decoder = Decoder::new(&[Arc::clone(&self.reference)], DecodeConfig::default()).unwrap();
        let (mut batch, mut outbox, mut lines) = (Batch::default(), Outbox::default(), Vec::new());
        let log = self.log.split(|&byte| byte == b'\n').enumerate();
        for (number, line) in log.take(to).skip(from) {
            batch.clear();
            let provenance = Provenance { offset: number as i64, ..Provenance::default() };
            if decoder.decode(&Record { payload: line, provenance, ..Record::default() }, &mut batch).is_ok() {
                batch.queries().iter().for_each(|query| engine.step(Input::Query(query), &mut outbox));
            }
        }
        if to == usize::MAX {
            engine.step(Input::End, &mut outbox);
        }
        lines.extend(outbox.verdicts.drain(..).map(|verdict| serde_json::to_string(&verdict).unwrap()));
        lines
    }

    /// A snapshot of an engine, in bytes.
    fn written(&self, engine: &Engine) -> Vec<u8> {
        postcard::to_stdvec(&engine.snapshot(self.model()).unwrap()).unwrap()
    }

    /// An engine that goes on from a snapshot.
    fn read(&self, snapshot: &[u8]) -> Engine {
        let mut engine = self.engine(EngineConfig::default());
        engine.restore(postcard::from_bytes(snapshot).unwrap()).unwrap();
        engine
    }

    /// Lines of the verdicts, the engine being written down and read back before each of the `pauses` (line numbers). Also the
    /// size of the last snapshot in bytes.
    fn verdicts(&self, pauses: &[usize]) -> (Vec<String>, usize) {
        let mut engine = self.engine(EngineConfig::default());
        let (mut lines, mut size, mut from) = (Vec::new(), 0, 0);
        for &pause in pauses {
            lines.extend(self.judge(&mut engine, from, pause));
            let snapshot = self.written(&engine);
            engine = self.read(&snapshot);
            (size, from) = (snapshot.len(), pause);
        }
        lines.extend(self.judge(&mut engine, from, usize::MAX));
        (lines, size)
    }
}

/// Line of the log before which the golden snapshot was written: a campaign is known then, and most of its members are not named yet.
const GOLDEN_LINE: usize = 3_000;

/// The golden snapshot pins the format. Where this fails after a change of a field, the format has changed: count `FORMAT` up, write the
/// golden snapshot anew with `TRIPLINE_UPDATE=1 cargo test --test system snapshot`, and say so in the CHANGELOG.
#[test]
fn a_snapshot_of_an_earlier_program_is_read_and_gone_on_from() {
    let recorded = Recorded::of(Cut("22_grid_dist_ofat_jitter"));
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/snapshot/format_8.postcard.zst");
    let mut unbroken = recorded.engine(EngineConfig::default());
    let before = recorded.judge(&mut unbroken, 0, GOLDEN_LINE);
    if std::env::var_os("TRIPLINE_UPDATE").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, zstd::encode_all(recorded.written(&unbroken).as_slice(), 19).unwrap()).unwrap();
    }
    let golden = zstd::decode_all(std::fs::read(&path).unwrap().as_slice()).unwrap();
    let (header, _) = postcard::take_from_bytes::<SnapshotHeader>(&golden).unwrap();
    assert_eq!((header.format, header.model.as_str()), (8, recorded.model()), "the header is read without the state");
    let mut restored = recorded.read(&golden);
    assert_eq!(restored.status(), unbroken.status());
    let (said, unbroken) =
        (recorded.judge(&mut restored, GOLDEN_LINE, usize::MAX), recorded.judge(&mut unbroken, GOLDEN_LINE, usize::MAX));
    assert!(said.len() > 5 && before.len() > 1, "{} and {} lines", before.len(), said.len());
    assert!(said == unbroken, "{} lines from the golden snapshot, {} without a pause", said.len(), unbroken.len());
}

#[test]
fn an_engine_that_was_read_back_says_the_same_bytes_as_one_that_never_stopped() {
    for cut in [Cut("22_grid_dist_ofat_jitter"), Cut("24_mixed_season_active")] {
        let recorded = Recorded::of(cut);
        let all = recorded.log.iter().filter(|&&byte| byte == b'\n').count();
        let (unbroken, _) = recorded.verdicts(&[]);
        let (broken, bytes) = recorded.verdicts(&[all / 7, all / 2, all / 2 + 1, all * 9 / 10]);
        assert!(unbroken.len() > 5 && bytes > 100_000, "{} lines, {bytes} bytes", unbroken.len());
        assert!(broken == unbroken, "{} lines with pauses, {} without", broken.len(), unbroken.len());
    }
}

#[test]
fn a_snapshot_of_other_settings_or_another_reference_is_refused_with_a_reason() {
    let recorded = Recorded::of(Cut("22_grid_dist_ofat_jitter"));
    let snapshot = recorded.written(&recorded.engine(EngineConfig::default()));
    let restore = |config, reference: Reference| {
        let mut engine = Engine::new(config, vec![Arc::new(reference)]).unwrap();
        engine.restore(postcard::from_bytes(&snapshot).unwrap()).map_err(|error| error.to_string())
    };
    let same = || Reference::clone(&recorded.reference);
    assert_eq!(restore(EngineConfig::default(), same()), Ok(()));
    let usual = EngineConfig::default();
    for (config, setting) in [
        (EngineConfig { salt: 1, ..usual.clone() }, "engine.salt"),
        (EngineConfig { alarms_per_client_day: 1e-3, ..usual.clone() }, "engine.alarms_per_client_day"),
        (EngineConfig { volume_alarms_per_client_day: 1e-3, ..usual.clone() }, "engine.volume_alarms_per_client_day"),
        (EngineConfig { allowed_lateness_seconds: 5, ..usual.clone() }, "engine.allowed_lateness_seconds"),
        (EngineConfig { max_clients: 10, ..usual.clone() }, "engine.max_clients"),
        (EngineConfig { max_history: 2048, ..usual.clone() }, "engine.max_history"),
    ] {
        let refused = restore(config, same()).unwrap_err();
        assert!(refused.contains(setting), "{refused}");
    }
    let other = restore(EngineConfig::default(), Reference { digest: "other".into(), ..same() });
    assert!(other.unwrap_err().contains("another reference"));
    let unknown = restore(EngineConfig::default(), Reference { model: "other".into(), ..same() });
    assert!(unknown.unwrap_err().contains("no reference for this model"));
    assert!(postcard::from_bytes::<ModelSnapshot>(&snapshot[..snapshot.len() / 2]).is_err(), "half a snapshot is none");
}

#[test]
fn a_model_that_is_restored_leaves_the_others_alone() {
    let recorded = Recorded::of(Cut("22_grid_dist_ofat_jitter"));
    let other = Arc::new(Reference { model: "other".into(), ..Reference::clone(&recorded.reference) });
    let mut engine = Engine::new(EngineConfig::default(), vec![Arc::clone(&recorded.reference), other]).unwrap();
    recorded.judge(&mut engine, 0, GOLDEN_LINE);
    let (snapshot, status) = (recorded.written(&engine), engine.status());
    recorded.judge(&mut engine, GOLDEN_LINE, 2 * GOLDEN_LINE);
    engine.restore(postcard::from_bytes(&snapshot).unwrap()).unwrap();
    assert_eq!(engine.status(), status);
}
