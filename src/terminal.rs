//! Words for a person on standard output and standard error. A reader that has gone away (`| head`) is no fault: the program neither
//! panics nor complains.

use std::io::Write as _;

use crate::exit::{Exit, Failure};

/// Writes text to standard output. A reader that has gone away is no failure.
///
/// # Errors
/// 74 if the output cannot be written for another reason.
pub fn print(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::new(Exit::Io, format!("cannot write to standard output: {e}")))
        }
        _ => Ok(()),
    }
}

/// Writes a line to standard error. If nobody reads it, there is nobody to be told.
pub fn say(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}
