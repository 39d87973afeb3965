//! Foreign programs as children of a test: started on free ports in a temporary folder, ended by their own handle.

use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tripline::clock;

/// Longest wait for another program. Chosen: the machine may be building at the same time, and a condition that holds ends the wait
/// at once.
pub const TIMEOUT: Duration = Duration::from_secs(90);

/// A running program; dropping it ends it.
#[derive(Debug)]
pub struct Daemon {
    name: &'static str,
    child: Child,
    log: PathBuf,
}

// === impl Daemon ===

impl Daemon {
    /// Starts a program whose output goes to a file in `folder`. A program that is not installed fails the test with the remedy.
    pub fn start(name: &'static str, folder: &Path, args: &[String]) -> Self {
        let log = folder.join(format!("{name}.log"));
        let output = File::create(&log).unwrap();
        let started = Command::new(name).args(args).stdin(Stdio::null()).stdout(output.try_clone().unwrap()).stderr(output).spawn();
        match started {
            Ok(child) => Self { name, child, log },
            Err(error) => panic!("{name} cannot be started: {error}; `make setup` installs it"),
        }
    }

    /// Waits for `condition`; fails with the program's output if it ends before, or at the timeout.
    pub fn wait_for<T>(&mut self, what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
        let begun = clock::instant();
        loop {
            if let Some(value) = condition() {
                return value;
            }
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("{} ended ({status}) before {what}:\n{}", self.name, self.words());
            }
            assert!(begun.elapsed() < TIMEOUT, "{}: waited in vain for {what}:\n{}", self.name, self.words());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// What the program wrote so far.
    pub fn words(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended by itself; either way no process is left.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits for `condition`, with a limit.
pub fn wait_for<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let begun = clock::instant();
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(begun.elapsed() < TIMEOUT, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A port of this machine that nobody listens on.
pub fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}

/// A file of the repository as text.
pub fn committed(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// `text` with `from` replaced. `from` must occur, so that a change of a committed file cannot change what a test tests.
pub fn replaced(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "'{from}' is not in:\n{text}");
    text.replace(from, to)
}
