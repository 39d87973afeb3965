//! The committed recordings under `tests/data`, unpacked, and profiles fitted from their baselines.

use std::path::{Path, PathBuf};

use super::program;

/// A cut of recorded traffic: the name of its folder under `tests/data`.
#[derive(Clone, Copy, Debug)]
pub struct Cut(pub &'static str);

// === impl Cut ===

impl Cut {
    /// A file of the cut, as committed (packed).
    pub fn path(self, file: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(self.0).join(file)
    }

    /// The log, unpacked.
    pub fn events(self) -> Vec<u8> {
        self.unpack("events.jsonl.zst")
    }

    /// The log's lines, without their ends.
    pub fn lines(self) -> Vec<String> {
        String::from_utf8(self.events()).unwrap().lines().map(str::to_owned).collect()
    }

    /// The truth about the cut.
    pub fn truth(self) -> serde_json::Value {
        serde_json::from_slice(&std::fs::read(self.path("truth.json")).unwrap()).unwrap()
    }

    /// Fits the model's profile from the baseline with the built program, into `folder`; returns its path.
    pub fn fit(self, folder: &Path) -> PathBuf {
        let profile = folder.join(format!("{}.reference.json", self.0));
        let model = self.truth()["model"].as_str().unwrap().to_owned();
        let baseline = self.path("baseline.csv.zst");
        program::run(&["fit", text(&baseline), "--model", &model, "--prediction", "prediction", "-o", text(&profile)])
            .must_succeed();
        profile
    }

    fn unpack(self, file: &str) -> Vec<u8> {
        let path = self.path(file);
        let packed = std::fs::File::open(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        zstd::decode_all(packed).unwrap()
    }
}

/// A path as an argument.
pub fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
