//! The built program as a child process: arguments and input in, exit code and output out.

use std::io::Write as _;
use std::process::{Command, Stdio};

/// How a run ended.
#[derive(Debug)]
pub struct Ended {
    /// Exit code; none if a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

/// Runs the program with arguments and an empty standard input.
pub fn run(args: &[&str]) -> Ended {
    run_with(args, b"")
}

/// Runs the program with arguments and a standard input.
pub fn run_with(args: &[&str], input: &[u8]) -> Ended {
    let mut child = Command::new(env!("CARGO_BIN_EXE_tripline"))
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    // In a thread of its own: otherwise both sides would wait for each other when the pipes are full.
    let feeder = std::thread::spawn(move || {
        // The program may close its input early.
        let _ = stdin.write_all(&input);
    });
    let output = child.wait_with_output().unwrap();
    feeder.join().unwrap();
    Ended {
        code: output.status.code(),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

// === impl Ended ===

impl Ended {
    /// The run ended with 0.
    pub fn must_succeed(&self) -> &Self {
        assert_eq!(self.code, Some(0), "output:\n{}\nerrors:\n{}", self.out, self.err);
        self
    }

    /// The run ended with a documented code and a message that contains all of `words`, and did not panic.
    pub fn must_fail(&self, code: i32, words: &[&str]) -> &Self {
        assert_eq!(self.code, Some(code), "output:\n{}\nerrors:\n{}", self.out, self.err);
        self.must_not_panic();
        for word in words {
            assert!(self.err.contains(word), "'{word}' is not in the message:\n{}", self.err);
        }
        self
    }

    /// Nothing panicked, whatever the exit code.
    pub fn must_not_panic(&self) -> &Self {
        assert!(!self.err.contains("panicked"), "{}", self.err);
        self
    }
}
