//! Writes results: files as a whole or not at all ([`mod@file`]), never over what the command reads ([`paths`]), and text to standard
//! output. Reads small files whole.

pub mod file;
pub mod paths;

use std::io::Write as _;
use std::path::{Path, PathBuf};

use file::OutputFile;

use crate::exit::{Exit, Failure};
pub use crate::terminal::{print, say};

/// Writes a file as a whole; missing folders are made.
///
/// # Errors
/// 64 for a folder, 74 with the path and what the system said.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let mut file = create_with_folders(path)?;
    file.write_all(bytes).map_err(|error| file.failed(&error))?;
    file.finish()
}

/// Opens an output; missing folders are made.
///
/// # Errors
/// As [`write_atomically`].
pub fn create_with_folders(path: &Path) -> Result<OutputFile, Failure> {
    if !goes_to_stdout(path)
        && let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty())
    {
        let failed = |error| Failure::new(Exit::Io, format!("cannot make the folder for {}: {error}", path.display()));
        std::fs::create_dir_all(folder).map_err(failed)?;
    }
    OutputFile::create(path)
}

/// Whether an output is standard output.
pub fn goes_to_stdout(path: &Path) -> bool {
    paths::is_standard_output(path)
}

/// Prints what a person reads: to standard output, or to standard error if standard output has one of the `outputs`.
///
/// # Errors
/// As [`print()`].
pub fn report<'a>(text: &str, outputs: impl IntoIterator<Item = &'a PathBuf>) -> Result<(), Failure> {
    if outputs.into_iter().any(|path| goes_to_stdout(path)) {
        say(text.trim_end_matches('\n'));
        return Ok(());
    }
    print(text)
}

/// Reads a whole file of at most `limit` bytes.
///
/// # Errors
/// 66 if there is no such file, 65 if it is longer, 74 if it cannot be read.
pub fn read_file(path: &Path, limit: u64) -> Result<Vec<u8>, Failure> {
    use std::io::Read as _;
    let failed = |e: std::io::Error| match e.kind() {
        std::io::ErrorKind::NotFound => Failure::new(Exit::NoInput, format!("{}: there is no such file", path.display())),
        _ => Failure::new(
            Exit::Io,
            format!("{}: cannot be read: {e}; make the file readable by this user, or name another", path.display()),
        ),
    };
    let mut bytes = Vec::new();
    std::fs::File::open(path).map_err(failed)?.take(limit + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > limit {
        let message =
            format!("{}: the file is longer than {limit} bytes, more than any of its kind; correct the path", path.display());
        return Err(Failure::new(Exit::Data, message));
    }
    Ok(bytes)
}
