//! An engine that is stopped, written to a snapshot and restored gives the verdicts that it would have given without the pause.
//!
//! The logs are recorded attacks: at the moment of the snapshot there are unfinished components, partial evidence, a burst
//! of newcomers, and a pending drift. The bytes of the verdicts are compared.

use std::sync::Arc;

use tripline::decode::{Batch, DecodeConfig, Decoder};
use tripline::engine::{Engine, EngineConfig, EngineSnapshot, Input, Outbox};
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

    /// Lines of the verdicts; the engine is written to a snapshot and restored before each of the `pauses` (line numbers). Also the
    /// bytes of the last snapshot.
    fn verdicts(&self, pauses: &[usize]) -> (Vec<String>, usize) {
        let mut engine = self.engine(EngineConfig::default());
        let mut decoder = Decoder::new(&[Arc::clone(&self.reference)], DecodeConfig::default()).unwrap();
        let (mut batch, mut outbox, mut lines, mut bytes) = (Batch::default(), Outbox::default(), Vec::new(), 0);
        for (number, line) in self.log.split(|&byte| byte == b'\n').enumerate() {
            if pauses.contains(&number) {
                let snapshot = postcard::to_stdvec(&engine.snapshot()).unwrap();
                bytes = snapshot.len();
                let state: EngineSnapshot = postcard::from_bytes(&snapshot).unwrap();
                let references = vec![Arc::clone(&self.reference)];
                engine = Engine::restore(EngineConfig::default(), references, state).unwrap();
            }
            batch.clear();
            let provenance = Provenance { offset: number as i64, ..Provenance::default() };
            if decoder.decode(&Record { payload: line, provenance, ..Record::default() }, &mut batch).is_ok() {
                batch.queries().iter().for_each(|query| engine.step(Input::Query(query), &mut outbox));
            }
            lines.extend(outbox.verdicts.drain(..).map(|verdict| serde_json::to_string(&verdict).unwrap()));
        }
        engine.step(Input::End, &mut outbox);
        lines.extend(outbox.verdicts.drain(..).map(|verdict| serde_json::to_string(&verdict).unwrap()));
        (lines, bytes)
    }
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
    let snapshot = postcard::to_stdvec(&recorded.engine(EngineConfig::default()).snapshot()).unwrap();
    let restore = |config, reference: Reference| {
        let state: EngineSnapshot = postcard::from_bytes(&snapshot).unwrap();
        Engine::restore(config, vec![Arc::new(reference)], state).map_err(|error| error.to_string())
    };
    let same = || Reference::clone(&recorded.reference);
    assert!(restore(EngineConfig::default(), same()).is_ok());
    let salted = restore(EngineConfig { salt: 1, ..EngineConfig::default() }, same());
    assert!(salted.unwrap_err().contains("another salt"));
    let other = restore(EngineConfig::default(), Reference { digest: "other".into(), ..same() });
    assert!(other.unwrap_err().contains("another reference"));
    assert!(postcard::from_bytes::<EngineSnapshot>(&snapshot[..snapshot.len() / 2]).is_err(), "half a snapshot is none");
}
